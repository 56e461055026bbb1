"""The way back to mizuRoute: what is written is laid out as its manual says, and holds what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from mizuroute_files import BIG, DOWN, HRUS, hru_ids, make_folder, river, storms, write_hru_runoff, write_topology
from mizuroute_model import Queues, River, reach_runoff, simulate
from netCDF4 import Dataset

import xroute
from xroute.exceptions import AlignmentError, NetworkError, ParameterError, StateError, TimeAxisError, UnitsError
from xroute.io import mizuroute
from xroute.io.mizuroute.control import read_control

FLOWS = ("outflow", "inflow", "hillslope_outflow", "hillslope_inflow")
PARAMETERS = {"velo": 1.5, "diff": 5000.0, "fshape": 2.5, "tscale": 20_000.0}


@pytest.fixture
def network(tmp_path: Path) -> xr.Dataset:
    write_topology(tmp_path / "ntopo.nc")
    return mizuroute.read_network(tmp_path / "ntopo.nc", PARAMETERS)


def raw(path: Path) -> dict[str, Any]:
    """Values, dimensions and types of a file, as netCDF4 itself reads them."""
    with Dataset(path) as file:
        file.set_auto_maskandscale(False)
        return {n: (np.asarray(v[:]), v.dimensions, {k: v.getncattr(k) for k in v.ncattrs()}) for n, v in file.variables.items()}


def runoff_of(network: xr.Dataset, n: int = 40, freq: str = "h", **attrs: Any) -> xr.DataArray:
    values = np.random.default_rng(3).gamma(0.5, 2.0, (n, network.sizes["reach"])) * (network["area"].values > 0)
    times = pd.date_range("2001-02-03 04:00", periods=n, freq=freq)
    coords = {"time": times, "reach": network["reach"].values}
    return xr.DataArray(values, coords, ("time", "reach"), "runoff", {"units": "m3 s-1", **attrs})


def simulated(path: Path, names: dict[str, str], factor: float = 1.0) -> tuple[np.ndarray, list[int]]:
    """Discharge that mizuRoute's algorithm makes of a folder's files, read by netCDF4."""
    topology, runoff = raw(path / names["network"]), raw(path / names["runoff"])
    ids, down = (topology[n][0].tolist() for n in ("segId", "downSegId"))
    hrus: dict[int, list[tuple[int, float]]] = {}
    for h, s, a in zip(*(topology[n][0].tolist() for n in ("HRUid", "hruSegId", "area")), strict=True):
        if s > 0:
            hrus.setdefault(s, []).append((h, a))
    lengths = dict(zip(ids, topology["length"][0].tolist(), strict=True))
    own = River({i: d if d in ids else 0 for i, d in zip(ids, down, strict=True)}, lengths, hrus, tscale=20_000.0)
    rows = runoff["runoff"][0].astype(float)
    flows = [reach_runoff(own, dict(zip(runoff["hru"][0].tolist(), row, strict=True)), factor) for row in rows]
    return simulate(own, flows, 3600.0)[0], ids


def test_a_network_goes_there_and_back_without_loss(tmp_path: Path, network: xr.Dataset):
    mizuroute.write_network(network, tmp_path / "again.nc")
    xr.testing.assert_identical(
        mizuroute.read_network(tmp_path / "again.nc", PARAMETERS).drop_attrs(deep=False), network.drop_attrs(deep=False)
    )
    there, first = raw(tmp_path / "again.nc"), raw(tmp_path / "ntopo.nc")
    for name, (values, dims, _) in first.items():
        assert there[name][1] == dims
        np.testing.assert_array_equal(there[name][0], values, err_msg=name)
    assert there["segId"][0].dtype == np.int64  # beyond 2**31
    with pytest.raises(FileExistsError):
        mizuroute.write_network(network, tmp_path / "again.nc")


def test_small_ids_are_of_32_bits_and_reaches_without_hrus_are_their_own(tmp_path: Path):
    ds, _ = xroute.datasets.tutorial()
    ds = ds.assign(slope=("reach", np.full(ds.sizes["reach"], 1e-3)))
    mizuroute.write_network(ds, tmp_path / "n.nc")
    there = raw(tmp_path / "n.nc")
    assert there["segId"][0].dtype == there["HRUid"][0].dtype == np.int32
    np.testing.assert_array_equal(there["HRUid"][0], ds["reach"].values)
    np.testing.assert_allclose(there["area"][0], xroute.units.to_si(ds["area"], "m2", "area"))
    found = mizuroute.read_network(tmp_path / "n.nc")
    np.testing.assert_array_equal(found["downstream"], ds["downstream"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda ds: ds.drop_vars("slope"), "has no 'slope'"),
        (lambda ds: xr.Dataset({"downstream": ("reach", ["b", ""])}, {"reach": ["a", "b"]}), "whole numbers"),
        (lambda ds: ds.drop_vars(["hru_reach", "hru_area", "area"]), "no 'area'"),
    ],
)
def test_networks_that_it_cannot_have(tmp_path: Path, network: xr.Dataset, change: Any, text: str):
    with pytest.raises(NetworkError, match=text):
        mizuroute.write_network(change(network), tmp_path / "n.nc")
    assert not (tmp_path / "n.nc").exists()


def test_a_run_goes_home_and_gives_the_same_numbers(tmp_path: Path, network: xr.Dataset):
    network.attrs["routing_step"] = 3600.0
    runoff = runoff_of(network)
    control = mizuroute.write_setup(tmp_path / "home", network, runoff, case_name="brook")
    ours = runoff.route(network)
    theirs, ids = simulated(tmp_path / "home", {"network": "topology.nc", "runoff": "runoff.nc"})
    assert np.abs(ours.sel(reach=ids).transpose("time", "reach").values - theirs).max() < 1e-12 * theirs.max()
    setup = mizuroute.read_setup(control)  # and back again
    assert setup.runoff is not None
    again = setup.runoff["runoff"].route(setup.network)
    first = ours.sel(reach=ids).transpose("time", "reach")
    np.testing.assert_allclose(again.sel(reach=ids).values, first.values, rtol=1e-9, atol=1e-12)
    assert (again["time"].values == runoff["time"].values).all()
    text = control.read_text()
    for line in text.splitlines():  # as mizuRoute's own reader wants it
        assert line.startswith("!") or (line.startswith("<") and " !" in line and "\t" not in line and line.strip())
    said = read_control(control)
    assert said.text("sim_start") == "2001-02-03 04:00:00" and said.text("sim_end") == "2001-02-04 19:00:00"
    assert mizuroute.read_parameters(tmp_path / "home" / "param.nml") == PARAMETERS
    with pytest.raises(FileExistsError, match="overwrite=True"):
        mizuroute.write_setup(tmp_path / "home", network, runoff)
    with pytest.raises(AlignmentError, match="have no runoff"):  # then nothing is written
        mizuroute.write_setup(tmp_path / "none", network, runoff.isel(reach=slice(1, None)))
    assert not list((tmp_path / "none").iterdir())


@pytest.mark.parametrize("label", ["start", "end", "middle"])
def test_runoff_in_any_units_and_labels(tmp_path: Path, network: xr.Dataset, label: str):
    flow = runoff_of(network, 6, time_label=label)
    depth = flow / np.fmax(network["area"].values, 1.0) * 86_400e3  # none where there is no area
    depth.attrs = {"units": "mm d-1", "time_label": label}
    mizuroute.write_runoff(flow, tmp_path / "flow.nc", network)
    mizuroute.write_runoff(depth.isel(reach=slice(None, None, -1)), tmp_path / "depth.nc", network)
    one, other = raw(tmp_path / "flow.nc"), raw(tmp_path / "depth.nc")
    np.testing.assert_allclose(one["runoff"][0], other["runoff"][0], rtol=1e-12)
    assert one["runoff"][1] == ("time", "hru") and one["runoff"][2]["units"] == "m/s"
    late = {"start": 0.0, "middle": 1800.0, "end": 3600.0}[label]
    np.testing.assert_allclose(one["time"][0], np.arange(6) * 3600.0 - late)
    assert one["time"][2]["units"] == "seconds since 2001-02-03 04:00:00"
    own = dict(zip(one["hru"][0].tolist(), one["runoff"][0].T, strict=True))
    for reach, hrus in HRUS.items():
        np.testing.assert_allclose(sum(a * own[h] for h, a in hrus), flow.sel(reach=reach), rtol=1e-12)


def test_runoff_that_it_cannot_have(tmp_path: Path, network: xr.Dataset):
    flow = runoff_of(network, 6)
    days = xr.date_range("2001-01-01", periods=6, calendar="360_day", use_cftime=True)
    for bad, error, text in (
        (flow.expand_dims(member=2), AlignmentError, "choose one entry"),
        (flow.isel(reach=slice(1, None)), AlignmentError, "have no runoff"),
        (flow + 1.0, ParameterError, "1 reaches have runoff and no area.*: 5"),
        (flow.assign_coords(time=days), TimeAxisError, "360_day"),
    ):  # fmt: skip
        with pytest.raises(error, match=text):
            mizuroute.write_runoff(bad.assign_attrs(flow.attrs), tmp_path / "r.nc", network)
    assert not (tmp_path / "r.nc").exists()


@pytest.mark.parametrize("calendar", ["noleap", "proleptic_gregorian"])
def test_discharge_in_the_layout_of_its_history(tmp_path: Path, network: xr.Dataset, calendar: str):
    times = xr.date_range("2000-02-28 12:00", periods=12, freq="3h", calendar=calendar, use_cftime=calendar == "noleap")
    discharge = runoff_of(network, 12).assign_coords(time=times).rename("discharge").assign_attrs(time_label="end")
    mizuroute.write_discharge(discharge, tmp_path / "brook.h.nc")
    there = raw(tmp_path / "brook.h.nc")
    assert there["IRFroutedRunoff"][1] == ("time", "seg") and there["reachID"][1] == ("seg",)
    assert there["time_bounds"][1] == ("time", "tbound") and there["time"][2]["calendar"] == calendar
    np.testing.assert_allclose(there["time_bounds"][0][0], [-10_800.0, 0.0])
    found = mizuroute.read_discharge(tmp_path / "brook.h.nc", network)
    np.testing.assert_array_equal(found.values, discharge.values)
    assert found.attrs["time_label"] == "end" and (found["time"].values == discharge["time"].values).all()
    feet = (discharge / 0.028316846592).assign_attrs(discharge.attrs, units="ft3 s-1")
    mizuroute.write_discharge(feet, tmp_path / "feet.nc", variable="KWTroutedRunoff", dtype="float32")
    again = mizuroute.read_discharge(tmp_path / "feet.nc", network)
    assert again.dtype == np.float32 and again.attrs["source_variables"] == "KWTroutedRunoff"
    np.testing.assert_allclose(again, discharge, rtol=1e-6)
    with pytest.raises(UnitsError):
        mizuroute.write_discharge(discharge.assign_attrs(units="mm"), tmp_path / "no.nc")
    with pytest.raises(NetworkError, match="whole numbers"):
        mizuroute.write_discharge(discharge.assign_coords(reach=[f"r{i}" for i in range(6)]), tmp_path / "no.nc")


def test_weights_of_a_grid_and_of_units(tmp_path: Path, network: xr.Dataset):
    """Each HRU gets the overlaps of its reach's catchment; what is read again brings the same runoff to reaches."""
    rng = np.random.default_rng(6)
    axes = {"time": pd.date_range("2001", periods=5, freq="h"), "lat": [1.0, 2, 3], "lon": [1.0, 2, 3, 4]}
    grid = xr.DataArray(rng.gamma(0.5, 1e-7, (5, 3, 4)), axes, ("time", "lat", "lon"), "runoff", {"units": "m s-1"})
    reaches = [r for r in DOWN if r in HRUS]
    table = pd.DataFrame({"rivid": np.repeat(reaches, 2), "lon_index": rng.integers(0, 4, 10), "lat_index": np.tile([0, 2], 5)})
    table["area_sqm"] = np.repeat([sum(a for _, a in HRUS[r]) for r in reaches], 2) * np.tile([0.25, 0.75], 5)
    weights = xroute.grids.read_weights(table, grid=grid)
    mizuroute.write_weights(weights, tmp_path / "remap.nc", network)
    there = raw(tmp_path / "remap.nc")
    assert sorted(there["polyid"][0].tolist()) == sorted(hru_ids()) and there["overlaps"][0].tolist() == [2] * len(hru_ids())
    assert there["i_index"][0].max() <= 4 and there["j_index"][0].min() == 1 and there["weight"][1] == ("data",)
    control = make_folder(tmp_path, "<is_remap> T !\n<fname_remap> ../remap.nc !\n")
    control.write_text(control.read_text().replace("mm/s", "m/s"))
    grid.to_netcdf(tmp_path / "input" / "runoff.nc")
    found = mizuroute.read_runoff(control, mizuroute.read_network(control)).sel(reach=reaches)
    expected = xroute.grids.remap(grid, weights)
    assert expected.attrs["units"] == "m3 s-1"
    np.testing.assert_allclose(found.values, expected.sel(reach=reaches).transpose("time", "reach").values, rtol=1e-12)
    half = weights.assign(area=weights["area"] / 2)
    with pytest.warns(UserWarning, match="covers 8 HRUs in part.*fills the rest"):
        mizuroute.write_weights(half, tmp_path / "half.nc", network)
    with pytest.raises(AlignmentError, match="no reaches of the network"):
        mizuroute.write_weights(weights, tmp_path / "no.nc", network.isel(reach=slice(0, 2)).assign(downstream=("reach", [0, 0])))


def test_a_state_goes_home(tmp_path: Path, network: xr.Dataset):
    network.attrs["routing_step"] = 3600.0
    runoff = runoff_of(network, 30)
    _, state = runoff.isel(time=slice(0, 20)).route(network, return_state=True)
    mizuroute.write_state(state, tmp_path / "r.nc", network)
    there = raw(tmp_path / "r.nc")
    dims = {"irf_qfuture": ("tdh_irf", "seg"), "qfuture": ("tdh", "seg"), "numQF": ("seg",)}
    assert {name: there[name][1] for name in dims} == dims
    assert there["restart_time"][2]["units"] == "seconds since 2001-02-04 00:00:00"
    later = runoff.isel(time=slice(20, 30))
    expected = later.route(network, initial_state=state)
    found = later.route(network, initial_state=mizuroute.read_state(tmp_path / "r.nc", network))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    own = river()
    order = there["reachID"][0].tolist()
    queues = Queues(
        {r: there["qfuture"][0][:, k].tolist() for k, r in enumerate(order)},
        {r: [v for v in there["irf_qfuture"][0][:, k].tolist() if v != -9999.0] for k, r in enumerate(order)},
    )
    flows = [dict(zip(later["reach"].values.tolist(), row, strict=True)) for row in later.values]
    theirs, _ = simulate(own, flows, 3600.0, queues)
    np.testing.assert_allclose(expected.sel(reach=list(DOWN)), theirs, rtol=1e-10, atol=1e-12)
    with pytest.raises(StateError, match="has members"):
        mizuroute.write_state(state.assign({n: state[n].expand_dims(member=2) for n in FLOWS}), tmp_path / "m.nc", network)
    with pytest.raises(StateError, match="give time="):
        mizuroute.write_state(state.assign_attrs(time=""), tmp_path / "m.nc", network)


def test_parameters_that_its_namelist_cannot_have(tmp_path: Path, network: xr.Dataset):
    varied = network.assign(celerity=("reach", np.linspace(1, 2, 6), {"units": "m s-1"}))
    with pytest.raises(ParameterError, match="'celerity' has 6 values.*one velo for all"):
        mizuroute.write_parameters(varied, tmp_path / "p.nml")
    with pytest.raises(ParameterError, match="needs 'celerity'"):
        mizuroute.write_parameters(network.drop_vars("celerity"), tmp_path / "p.nml")
    with pytest.raises(ParameterError, match="gamma distributions, and the network's 'hillslope' is 'scs'"):
        mizuroute.write_control(network.assign_attrs(hillslope="scs"), tmp_path / "c.control", runoff=runoff_of(network))


def test_a_file_that_lists_its_own_runoff_twice_is_refused(tmp_path: Path):
    control = make_folder(tmp_path)
    write_hru_runoff(tmp_path / "input" / "a.nc", storms(5, 8), hru_ids(), np.arange(5.0))
    (tmp_path / "input" / "list.txt").write_text("a.nc\na.nc\n")
    control.write_text(control.read_text().replace("runoff.nc ", "list.txt "))
    with pytest.raises(TimeAxisError, match="is in .*a.nc and in"):
        mizuroute.read_runoff(control, mizuroute.read_network(control))
    assert BIG > 2**31
