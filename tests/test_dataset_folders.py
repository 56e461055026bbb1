"""Whole set-ups made in code: what is in their files, read here by hand, and that the readers find the same in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xroute.datasets import nwm_folder, rapid_folder, tutorial
from xroute.exceptions import ParameterError
from xroute.io import nwm, rapid, rapid2

netCDF4 = pytest.importorskip("netCDF4")

STEP, ROUTING_STEP = 10800, 900
WORTH_A_READ = 1e-6  # of a peak, in float32


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rapid_folder(tmp_path_factory.mktemp("one") / "rapid", days=2)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow")
    return rapid_folder(tmp_path_factory.mktemp("two"), version=2, days=2)


@pytest.fixture(scope="module")
def national(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nwm_folder(tmp_path_factory.mktemp("nwm"), hours=4)


def by_hand(folder: Path, steps: int) -> dict[int, list[float]]:
    """Discharge by id [m3 s-1], reach after reach and routing step after routing step, from a folder's own tables."""
    links = [[int(cell) for cell in line.split(",")] for line in (folder / "rapid_connect.csv").read_text().splitlines()]
    k, x = ([float(line) for line in (folder / f"{name}.csv").read_text().splitlines()] for name in "kx")
    order = [int(line) for line in (folder / "riv_bas_id.csv").read_text().splitlines()]
    row = {link[0]: at for at, link in enumerate(links)}
    with netCDF4.Dataset(next(folder.glob("m3_riv*.nc"))) as file:
        assert file["rivid"][:].tolist() == [link[0] for link in links] and file["m3_riv"].units == "m3"
        inflow = file["m3_riv"][:steps].filled() / STEP
    flow, found = dict.fromkeys(order, 0.0), {one: [] for one in order}
    for step in range(steps):
        total = dict.fromkeys(order, 0.0)
        for _ in range(STEP // ROUTING_STEP):
            was = dict(flow)
            for one in order:  # which has headwaters first
                link, at, half = links[row[one]], row[one], ROUTING_STEP / 2
                above = link[3 : 3 + link[2]]
                into, into_was = (sum(q[up] for up in above) + float(inflow[step, at]) for q in (flow, was))
                now = (half - k[at] * x[at]) * into + (half + k[at] * x[at]) * into_was
                flow[one] = (now + (k[at] * (1 - x[at]) - half) * was[one]) / (k[at] * (1 - x[at]) + half)
                total[one] += was[one]
        for one in order:
            found[one].append(total[one] / (STEP // ROUTING_STEP))
    return found


def test_discharge_of_a_rapid_folder_is_that_of_its_tables(one: Path) -> None:
    expected = by_hand(one, 3)
    with netCDF4.Dataset(next(one.glob("Qout*.nc"))) as file:
        ids, values, bounds = file["rivid"][:].tolist(), file["Qout"][:3].filled(), file["time_bnds"][:]
        assert file["Qout"].units == "m3 s-1" and file["time"][:].tolist() == bounds[:, 0].tolist()
        assert (np.diff(bounds, axis=1) == STEP).all() and len(bounds) == 16
    assert ids == list(expected)
    np.testing.assert_allclose(values, np.transpose(list(expected.values())), rtol=1e-6)


def test_readers_of_rapid_find_it_and_route_gives_its_discharge(one: Path) -> None:
    network = rapid.read_network(one)
    assert network.sizes["reach"] == 2312 and network.attrs["n_outlets"] == 1 and {"lon", "lat"} <= set(network.variables)
    assert (network.attrs["routing_step"], network.attrs["runoff_step"]) == (ROUTING_STEP, STEP)
    assert not np.array_equal(network["connect_row"], np.arange(2312))  # riv_bas_id has another order
    runoff, fortran = rapid.read_runoff(one, network), rapid.read_discharge(one, network)
    assert runoff["time"].values[0] == np.datetime64("2024-05-01")
    discharge = runoff.route(network)  # without a warning: pytest makes errors of them
    assert float(fortran.max()) > 100 and float(abs(discharge - fortran).max()) < WORTH_A_READ * float(fortran.max())


def test_rivers_and_water_are_those_of_the_tutorial(one: Path) -> None:
    _, weather = tutorial()
    network = rapid.read_network(one)
    area = tutorial()[0]["area"]
    hourly = (weather["runoff"][:48] * area).sum("reach") * 1e3  # mm h-1 of km2 is 1000 m3 h-1
    volumes = rapid.read_runoff(one, network).sum("reach")
    np.testing.assert_allclose(volumes, hourly.values.reshape(16, 3).sum(1), rtol=1e-5)


def test_a_rapid2_folder_holds_the_same(one: Path, two: Path) -> None:
    network = rapid2.read_network(two)
    first = rapid.read_network(one)
    xr.testing.assert_equal(network["downstream"], first["downstream"])
    xr.testing.assert_equal(network["k"], first["k"])
    theirs, fortran = rapid2.read_discharge(two, network), rapid.read_discharge(one, network)
    np.testing.assert_array_equal(theirs, fortran)
    runoff = rapid2.read_runoff(two, network)
    assert runoff.attrs["units"] == "m3 s-1"
    discharge, state = runoff.route(network, return_state=True)
    assert float(abs(discharge - theirs).max()) < WORTH_A_READ * float(theirs.max())
    last = rapid2.read_state(rapid2.find_files(two)["final"], network)
    np.testing.assert_allclose(state["outflow"].sel(reach=last.reach), last, rtol=1e-9)
    assert float(rapid2.read_state(two, network).max()) == 0.0  # it starts dry


def test_a_folder_of_the_national_water_model_has_its_traps(national: Path) -> None:
    files = sorted((national / "channel_forcing").iterdir())
    assert [file.name for file in files] == [f"202405010{hour}00.CHRTOUT_DOMAIN1" for hour in (1, 2, 3, 4)]
    network = nwm.read_network(national)
    with netCDF4.Dataset(files[0]) as file:
        features = file["feature_id"][:]
        assert not np.array_equal(features, network["reach"]) and set(features) == set(network["reach"].values)
        parts = file["qSfcLatRunoff"][:] + file["qBucket"][:]
        whole = file["q_lateral"][:]
        assert file["qBucket"].dtype == np.int32
        assert abs(whole - parts).max() > 0.03 and abs(whole.sum() / parts.sum() - 1) > 0.2  # so coarsely is q_lateral packed
    runoff = nwm.read_forcing(national, network)
    assert runoff["time"].values[0] == np.datetime64("2024-05-01T01:00")
    np.testing.assert_array_equal(runoff[0], parts[np.argsort(features)][np.searchsorted(np.sort(features), network["reach"])])
    one, weather = tutorial()
    np.testing.assert_allclose(runoff.sum("reach"), (weather["runoff"][:4] * one["area"]).sum("reach") / 3.6, rtol=1e-4)


def test_a_route_link_is_not_calibrated_and_has_gauges(national: Path) -> None:
    network = nwm.read_network(national)
    assert set(network["k"].values) == {3600.0} and "estimated" not in network.attrs
    gauged = network["gage"].values[network["gage"].values != ""]
    assert sorted(gauged) == ["00000001", "00000002", "00000003"]
    (mouth,) = network["reach"].values[network["downstream"].values == 0]
    assert network["gage"].sel(reach=mouth) == "00000001"
    assert bool((network["slope"] > 0).all()) and bool((network["top_width"] > network["bottom_width"]).all())


def test_nothing_is_replaced_unasked_and_nothing_is_left_half(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "nwm"
    assert nwm_folder(folder, hours=1) == folder
    before = (folder / "domain" / "RouteLink.nc").read_bytes()
    with pytest.raises(FileExistsError, match=r"RouteLink\.nc.*overwrite=True"):
        nwm_folder(str(folder), hours=2, seed=4)
    assert len(list(folder.rglob("*.CHRTOUT*"))) == 1 and (folder / "domain" / "RouteLink.nc").read_bytes() == before
    nwm_folder(folder, hours=2, seed=4, overwrite=True)
    assert len(list(folder.rglob("*.CHRTOUT*"))) == 2 and (folder / "domain" / "RouteLink.nc").read_bytes() != before
    nwm_folder(folder, hours=1, overwrite=True)
    assert len(list(folder.rglob("*.CHRTOUT*"))) == 1  # the hour of the other river is gone
    assert [path.name for path in folder.parent.iterdir()] == ["nwm"]  # no draft


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (rapid_folder, {"version": 3}, "version=3 is neither 1"),
        (rapid_folder, {"days": 0}, "days=0 must be from 1 to 10"),
        (rapid_folder, {"days": 11}, "days=11"),
        (rapid_folder, {"days": 1.5}, "days"),
        (rapid_folder, {"seed": -1}, "seed"),
        (nwm_folder, {"hours": 0}, "hours=0 must be from 1 to 240"),
        (nwm_folder, {"hours": 241}, "hours=241"),
    ],
)
def test_arguments_out_of_range_write_nothing(make, arguments, message, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=message):
        make(tmp_path / "folder", **arguments)
    assert not list(tmp_path.iterdir())
