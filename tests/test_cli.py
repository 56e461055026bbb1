"""The command line on real rivers: what goes in, what comes out, what is said, and the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from conftest import find_data
from problems import write_hour, write_region

from xroute.cli import main
from xroute.io import open_dataset, rapid, write

RAPID_RECIPE = ["--lateral", "interval", "--substeps", "12", "--sampling", "start-mean"]


def run(*arguments: Any, code: int = 0) -> Result:
    """Run the command; a traceback is a failure whatever the exit code."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def converted(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The RAPID sample, converted by the command."""
    folder = tmp_path_factory.mktemp("rapid")
    source = shared_data("nasa_lis_4168")
    run("convert", "rapid", source, "--network", folder / "network.zarr", "--runoff", folder / "runoff.zarr")
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A Y of three reaches with five hours of runoff, in Zarr."""
    network = xr.Dataset(
        {
            "downstream": ("reach", [7, 7, 0]),
            "tau": ("reach", [2.0, 1.0, 3.0], {"units": "h"}),
        },
        coords={"reach": [5, 2**53 + 1, 7]},
        attrs={"scheme": "linear_storage"},
    )
    write(network, tmp_path / "network.zarr")
    runoff = xr.DataArray(
        np.arange(15.0).reshape(5, 3),
        dims=("time", "reach"),
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(5) * np.timedelta64(1, "h"),
            "reach": [7, 5, 2**53 + 1],
        },
        attrs={"units": "m3 s-1"},
        name="runoff",
    )
    write(runoff.to_dataset(), tmp_path / "runoff.zarr")
    return tmp_path


def change(path: Path, function: Any) -> None:
    with open_dataset(path) as dataset:
        changed = function(dataset.load())
    write(changed, path, overwrite=True)


# ── RAPID ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["zarr", "nc"])
def test_rapid_discharge_is_reproduced(
    shared_data: Callable[[str], Path], converted: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"discharge.{suffix}"
    result = run("route", converted / "runoff.zarr", converted / "network.zarr", output, *RAPID_RECIPE)
    assert "4,168 reaches x 16 steps" in result.stdout and "reach-steps/s" in result.stdout
    with open_dataset(output) as routed:
        discharge = routed["discharge"].load()
    fortran = rapid.read_discharge(shared_data("nasa_lis_4168"))
    assert discharge.sizes == {"time": 16, "reach": 4168}
    difference = abs(discharge.sel(reach=fortran["reach"].values) - fortran.values)
    assert float(difference.max()) < 5e-5
    assert discharge.attrs["units"] == "m3 s-1"


def test_any_chunks_give_the_same_bits(converted: Path, tmp_path: Path) -> None:
    arguments = ["route", converted / "runoff.zarr", converted / "network.zarr"]
    run(*arguments, tmp_path / "whole.zarr", *RAPID_RECIPE, "--time-chunk", 16)
    with open_dataset(tmp_path / "whole.zarr") as whole:
        for chunk, suffix in ((1, "zarr"), (3, "zarr"), (5, "nc"), (15, "zarr")):
            output = tmp_path / f"chunks{chunk}.{suffix}"
            run(*arguments, output, *RAPID_RECIPE, "--time-chunk", chunk)
            with open_dataset(output) as chunked:
                np.testing.assert_array_equal(chunked["discharge"].values, whole["discharge"].values)
                np.testing.assert_array_equal(chunked["time"].values, whole["time"].values)
                np.testing.assert_array_equal(chunked["time_bnds"].values, whole["time_bnds"].values)


def test_a_run_can_be_resumed_from_its_state(converted: Path, tmp_path: Path) -> None:
    with open_dataset(converted / "runoff.zarr") as runoff:
        write(runoff.isel(time=slice(0, 7)).load(), tmp_path / "first.nc")
        write(runoff.isel(time=slice(7, None)).load(), tmp_path / "second.nc")
    network = converted / "network.zarr"
    run("route", converted / "runoff.zarr", network, tmp_path / "whole.zarr", *RAPID_RECIPE)
    for state in ("state.nc", "state.zarr"):
        run("route", tmp_path / "first.nc", network, tmp_path / "a.nc", *RAPID_RECIPE,
            "--save-state", tmp_path / state, "--overwrite")  # fmt: skip
        run("route", tmp_path / "second.nc", network, tmp_path / "b.nc", *RAPID_RECIPE,
            "--initial-state", tmp_path / state, "--overwrite")  # fmt: skip
        with open_dataset(tmp_path / "whole.zarr") as whole, open_dataset(tmp_path / "b.nc") as second:
            np.testing.assert_array_equal(second["discharge"].values, whole["discharge"].values[7:])


@pytest.fixture(scope="module")
def lower_colorado(shared_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NWM's Lower Colorado as Zarr, its runoff chunked by hour."""
    folder = tmp_path_factory.mktemp("nwm")
    source = shared_data("LowerColorado_TX")
    run("convert", "nwm", source, "--network", folder / "network.zarr", "--runoff", folder / "runoff.nc")
    with open_dataset(folder / "runoff.nc") as runoff:
        runoff.drop_encoding().chunk(time=1).to_zarr(folder / "runoff.zarr")
    return folder


def test_workers(lower_colorado: Path, tmp_path: Path) -> None:
    """Four workers of a local cluster give what one process gives, to the bit; so do those of a scheduler elsewhere."""
    distributed = pytest.importorskip("distributed")
    network, runoff = (open_dataset(lower_colorado / f"{name}.zarr") for name in ("network", "runoff"))
    assert runoff["runoff"].encoding["chunks"][runoff["runoff"].dims.index("time")] == 1
    eager, end = runoff["runoff"].load().route(network, return_state=True)
    arguments = ("route", lower_colorado / "runoff.zarr", lower_colorado / "network.zarr")
    result = run(*arguments, tmp_path / "q.zarr", "--workers", 4, "--save-state", tmp_path / "state.zarr")
    assert "11,248 reaches x 28 steps" in result.stdout
    with open_dataset(tmp_path / "q.zarr") as routed, open_dataset(tmp_path / "state.zarr") as state:
        np.testing.assert_array_equal(routed["discharge"].values, eager.values)
        np.testing.assert_array_equal(routed["reach"].values, eager["reach"].values)
        np.testing.assert_array_equal(state["outflow"].values, end["outflow"].values)
    with distributed.LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster:
        address = cluster.scheduler.address
        run(*arguments, tmp_path / "p.zarr", "--scheduler", address, "--partitions", 5, "--time-chunk", 6)
        with open_dataset(tmp_path / "p.zarr") as routed:
            np.testing.assert_array_equal(routed["discharge"].values, eager.values)


def test_workers_of_this_machine_name_options_too(small: Path) -> None:
    pytest.importorskip("distributed")
    change(small / "runoff.zarr", lambda ds: ds.assign(runoff=ds["runoff"].where(ds["time"].dt.hour < 4)))
    arguments = ("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr", "--workers", 1)
    told = run(*arguments, code=1).stderr
    assert "take them as zero with --nan zero" in told and "nan=" not in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("q.nc", "--workers", 2), "workers write Zarr only"),
        (("q.nc", "--resume"), "resumed into Zarr only"),
        (("q.zarr", "--resume", "--overwrite"), "give one of them"),
        (("q.zarr", "--workers", 2, "--scheduler", "tcp://localhost:1"), "give one of them"),
    ],
)
def test_options_that_do_not_go_together(options: tuple[Any, ...], message: str, small: Path) -> None:
    output, *others = options
    assert (
        message in run("route", small / "runoff.zarr", small / "network.zarr", small / output, *others, code=2).stderr
    )


def test_convert_tells_what_it_found(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_data("nasa_lis_4168")
    result = run("convert", "rapid", source, "--network", tmp_path / "n.nc", "--runoff", tmp_path / "r.nc",
                 "--start", "2002-08-30")  # fmt: skip
    assert "connect rapid_connect.csv" in result.stdout and "m3_nasa_lis_3hr_20020830.nc" in result.stdout
    assert "(4,168 reach)" in result.stdout
    assert "note: 12 downstream ids are not routed" in result.stderr
    assert "1970" not in result.output
    with open_dataset(tmp_path / "r.nc") as runoff:
        assert runoff["time"].values[0] == np.datetime64("2002-08-30")
    again = run("convert", "rapid", source, "--network", tmp_path / "n.nc", code=1)
    assert "--overwrite" in again.output


def test_convert_several_regions(tmp_path: Path) -> None:
    upper = write_region(tmp_path / "upper", "1,2,0,0 2,10,1,1")
    lower = write_region(tmp_path / "lower", "10,11,1,2 11,0,1,10")
    for folder in (upper, lower):
        xr.Dataset({"m3_riv": (("Time", "DrainLnID"), np.ones((3, 2), "f4"))}).to_netcdf(
            folder / "m3.nc", engine="scipy"
        )
    network, runoff = tmp_path / "n.zarr", tmp_path / "r.zarr"
    run("convert", "rapid", upper, lower, "--network", network, "--runoff", runoff, "--dt", "1h")
    with open_dataset(network) as dataset, open_dataset(runoff) as series:
        assert dataset["downstream"].values.tolist() == [2, 10, 11, -1]
        assert series["reach"].values.tolist() == [1, 2, 10, 11]
    run("route", runoff, network, tmp_path / "q.zarr")


# ── National Water Model ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["muskingum", "linear_storage"])
def test_lower_colorado(shared_data: Callable[[str], Path], tmp_path: Path, scheme: str) -> None:
    network, runoff, output = (tmp_path / name for name in ("network.zarr", "runoff.zarr", "discharge.zarr"))
    result = run("convert", "nwm", shared_data("LowerColorado_TX"), "--network", network, "--runoff", runoff)
    assert "28 forcing files" in result.stdout
    if scheme == "linear_storage":
        change(network, lambda ds: ds.assign(tau=ds["k"]).assign_attrs(scheme=scheme))
    described = run("info", network, "--runoff", runoff).stdout
    for expected in (
        "11,248 (3,871 headwaters)",
        "649 reaches",  # 648 links
        "no problems found",
        "3600 s everywhere",
    ):
        assert expected in described, described

    run("route", runoff, network, output, "--save-state", tmp_path / "state.zarr")
    with (
        open_dataset(runoff) as r,
        open_dataset(output) as q,
        open_dataset(network) as n,
        open_dataset(tmp_path / "state.zarr") as state,
    ):
        assert r["reach"].values.tolist() == n["reach"].values.tolist()
        dt = 3600.0
        into = float(r["runoff"].sum(dtype="f8")) * dt
        outlets = n["downstream"].values == 0
        out = float(q["discharge"].values[:, outlets].sum(dtype="f8")) * dt
        y = state["outflow"].values.astype("f8").ravel()
        if scheme == "linear_storage":
            storage = float((n["tau"].values * y).sum())
        else:
            # S = k (x I + (1 - x) Q), McCarthy (1938); I is the last inflow
            inflow = state["inflow"].isel(lag=0).values.astype("f8").ravel()
            k, x = n["k"].values, n["x"].values
            storage = float((k * (x * inflow + (1 - x) * y)).sum())
            # The scheme is trapezoidal: half of the last step's inflow and outflow is still to be counted.
            storage += float(((inflow - y) * dt / 2).sum())
    assert out + storage == pytest.approx(into, rel=1e-5)
    assert 0 < out < into


def test_hurricane_laura(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shared_data("HurricaneLaura")
    route_link = next((folder / "domain").glob("RouteLink*.nc"))
    run("convert", "nwm", route_link, "--network", tmp_path / "n.nc", "--runoff", tmp_path / "r.nc",
        "--forcing", folder / "channel_forcing")  # fmt: skip
    run("route", tmp_path / "r.nc", tmp_path / "n.nc", tmp_path / "q.nc")
    with open_dataset(tmp_path / "q.nc") as routed:
        assert routed["discharge"].sizes == {"time": 24, "reach": 18} and "lon" in routed.coords
    run("convert", "nwm", route_link, folder / "channel_forcing", "--runoff", tmp_path / "again.nc")
    with open_dataset(tmp_path / "r.nc") as named, open_dataset(tmp_path / "again.nc") as beside:
        xr.testing.assert_equal(named.load(), beside.load())
    usage = run("convert", "nwm", route_link, "--runoff", tmp_path / "x.nc", code=2)
    assert "--forcing" in usage.output


# ── info ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_info_describes_a_network(converted: Path) -> None:
    result = run("info", converted / "network.zarr", "--dt", "3h", "--substeps", 12, "--steps", 1000)
    for expected in ("4,168", "outlets", "146", "Strahler", "37.6", "s, median", "no problems found", "33.3 MB"):
        assert expected in result.stdout, result.stdout
    assert "note: " in result.stdout and "2kx <= dt <= 2k(1-x)" in result.stdout  # some reaches are short for 900 s


def test_info_lists_every_problem(small: Path) -> None:
    def spoil(dataset: xr.Dataset) -> xr.Dataset:
        dataset = dataset.copy(deep=True)
        dataset["downstream"].values[0] = 99
        dataset["tau"].values[1:] = [np.nan, -1.0]
        return dataset

    change(small / "network.zarr", spoil)
    change(small / "runoff.zarr", lambda ds: ds.assign_coords(reach=[7, 5, 8]).isel(time=[0, 1, 3]))
    result = run("info", small / "network.zarr", "--runoff", small / "runoff.zarr", code=1)
    problems = [line for line in result.stdout.splitlines() if "problem:" in line]
    assert len(problems) == 6, result.stdout
    for expected in (
        "99",
        "'tau' is NaN",
        "'tau' must be",
        "not regular",
        f"1 reaches have no runoff (--missing zero): {2**53 + 1}",
        "1 runoff ids are not in the network (--extra drop): 8",
    ):
        assert any(expected in problem for problem in problems), (expected, problems)
    assert "3 (2 headwaters)" in result.stdout  # and goes on to describe what can be described


def test_info_and_route_agree_on_the_scheme(small: Path) -> None:
    """tau alone fits linear_storage and nash_cascade, whose other parameter has a default."""

    def unnamed(dataset: xr.Dataset) -> xr.Dataset:
        return dataset.drop_attrs(deep=False)

    change(small / "network.zarr", unnamed)
    told = run("info", small / "network.zarr", code=1).stdout
    refused = run("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr", code=1).stderr
    expected = "the network names no routing scheme, and its variables fit several"
    assert expected in told and expected in refused
    assert "Pass --scheme" in told and "Pass --scheme" in refused


def test_info_accepts_the_runoff_that_route_accepts(small: Path) -> None:
    """Time and reach under names of their own."""
    change(small / "runoff.zarr", lambda ds: ds.rename(time="valid", reach="station"))
    told = run("info", small / "network.zarr", "--runoff", small / "runoff.zarr").stdout
    assert "2001-01-01T00:00:00 to 2001-01-01T04:00:00" in told and "for 5 steps" in told
    run("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr")
    change(small / "runoff.zarr", lambda ds: ds.assign_coords(valid=np.arange(5)))
    run("info", small / "network.zarr", "--runoff", small / "runoff.zarr", "--dt", "1h", code=1)
    change(small / "runoff.zarr", lambda ds: ds.rename(valid="time"))
    run("info", small / "network.zarr", "--runoff", small / "runoff.zarr", "--dt", "1h")
    assert "give --dt" in run("info", small / "network.zarr", "--runoff", small / "runoff.zarr", code=1).stdout
    change(small / "runoff.zarr", lambda ds: ds.assign(runoff=ds["runoff"].where(ds["time"] > 0)))
    assert (
        "3 values of the runoff are missing"
        in run("info", small / "network.zarr", "--runoff", small / "runoff.zarr", "--dt", "1h", code=1).stdout
    )


def test_info_on_cycles_and_duplicates(small: Path) -> None:
    change(small / "network.zarr", lambda ds: ds.assign(downstream=("reach", [7, 7, 5])))
    told = run("info", small / "network.zarr", "--runoff", small / "runoff.zarr", code=1).stdout
    assert "cycle of 2 reaches" in told and "linear_storage on 3 reaches" in told and told.count("problem:") == 1
    change(small / "network.zarr", lambda ds: ds.assign_coords(reach=[5, 5, 7]))
    result = run("info", small / "network.zarr", code=1)
    assert "1 reach ids stand more than once: 5" in result.stdout and "cycle" in result.stdout


# ── route ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_route_equals_python(small: Path) -> None:
    import xroute

    result = run("route", small / "runoff.zarr", small / "network.zarr", small / "q.nc", "--dtype", "float32")
    with open_dataset(small / "runoff.zarr") as runoff, open_dataset(small / "network.zarr") as network:
        expected = xroute.route(runoff["runoff"].astype("f4", keep_attrs=True).load(), network.load())
    with open_dataset(small / "q.nc") as routed:
        np.testing.assert_array_equal(routed["discharge"].values, expected.values)
        assert routed["reach"].values.tolist() == [7, 5, 2**53 + 1] and routed["discharge"].dtype == np.float32
        assert routed.attrs["featureType"] == "timeSeries"
    volume = float(np.arange(15.0).sum()) * 3600
    assert f"in {volume:.6g} m3, out " in result.stdout and ", stored " in result.stdout


def test_members_and_policies(small: Path) -> None:
    def two_members(dataset: xr.Dataset) -> xr.Dataset:
        runoff = xr.concat([dataset["runoff"], 2 * dataset["runoff"]], "member").assign_attrs(units="m3 s-1")
        return runoff.isel(reach=[0, 1]).assign_coords(reach=[7, 12345]).to_dataset(name="runoff")

    change(small / "runoff.zarr", two_members)
    arguments = ("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr")
    assert "12345" in run(*arguments, "--missing", "zero", code=1).stderr
    assert "missing" in run(*arguments, "--extra", "drop", code=1).stderr
    run(*arguments, "--missing", "zero", "--extra", "drop", "--time-chunk", 2)
    with open_dataset(small / "q.zarr") as routed:
        assert dict(routed["discharge"].sizes)["member"] == 2


def test_depth_runoff_needs_area(small: Path) -> None:
    change(small / "runoff.zarr", lambda ds: ds.assign(runoff=ds["runoff"].assign_attrs(units="mm")))
    arguments = ("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr")
    assert "area" in run(*arguments, code=1).stderr
    change(small / "network.zarr", lambda ds: ds.assign(area=("reach", [1.0, 2.0, 3.0], {"units": "km2"})))
    result = run(*arguments)
    runoff = np.arange(15.0).reshape(5, 3).sum(axis=0)  # of 7, 5 and 2**53 + 1
    assert f"in {float(runoff @ [3, 1, 2]) * 1000:.6g} m3" in result.stdout


def test_outputs_are_not_overwritten(small: Path) -> None:
    arguments = ("route", small / "runoff.zarr", small / "network.zarr")
    run(*arguments, small / "q.zarr")
    assert "exists; --overwrite" in run(*arguments, small / "q.zarr", code=1).stderr
    run(*arguments, small / "q.zarr", "--overwrite")
    assert "exists" in run(*arguments, small / "p.nc", "--save-state", small / "q.zarr", code=1).stderr
    assert not (small / "p.nc").exists()  # refused before any work
    assert "same path" in run(*arguments, small / "p.nc", "--save-state", small / "p.nc", code=2).stderr


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("runoff.zarr", []),
        ("network.zarr", []),
        ("linked.zarr", []),  # a link to the runoff
        ("runoff.zarr/q.zarr", []),
        ("q.zarr", ["--save-state", "runoff.zarr"]),
        ("q.zarr", ["--initial-state", "state.zarr", "--save-state", "state.zarr"]),
    ],
)
def test_inputs_are_never_replaced(
    small: Path, monkeypatch: pytest.MonkeyPatch, output: str, options: list[str]
) -> None:
    monkeypatch.chdir(small)
    Path("linked.zarr").symlink_to("runoff.zarr")
    run("route", "runoff.zarr", "network.zarr", "first.zarr", "--save-state", "state.zarr")
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    told = run("route", "runoff.zarr", "network.zarr", output, "--overwrite", *options, code=2).stderr
    target = options[-1] if options else output
    assert f"the output {target} would replace the input {'state' if 'state.zarr' in options else ''}" in told
    assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before


def test_an_input_within_the_output_is_not_replaced(small: Path) -> None:
    folder = small / "all.zarr"
    folder.mkdir()
    (small / "runoff.zarr").rename(folder / "runoff.zarr")
    run("route", folder / "runoff.zarr", small / "network.zarr", folder, "--overwrite", code=2)
    assert (folder / "runoff.zarr").exists()


def test_conversion_does_not_replace_its_source(tmp_path: Path) -> None:
    folder = write_region(tmp_path / "rapid", "1,2,0,0 2,0,1,1")
    runoff = xr.Dataset({"m3_riv": (("Time", "DrainLnID"), np.ones((3, 2), "f4"))})
    runoff.to_netcdf(folder / "m3_riv.nc", engine="scipy")
    (tmp_path / "forcing").mkdir()
    hour = write_hour(tmp_path / "forcing" / "200001010000.CHRTOUT_DOMAIN1.nc", 0, [1, 2], q_lateral=[1.0, 1.0])
    before = (folder / "m3_riv.nc").read_bytes(), hour.read_bytes()
    rapid_options = ("--runoff", folder / "m3_riv.nc", "--dt", "1h", "--overwrite")
    for source in (folder, folder / "rapid_connect.csv"):
        assert "m3_riv.nc would replace the input" in run("convert", "rapid", source, *rapid_options, code=2).stderr
    nwm_options = ("--forcing", tmp_path / "forcing", "--runoff", hour, "--overwrite")
    assert "would replace the input" in run("convert", "nwm", tmp_path / "RouteLink.nc", *nwm_options, code=2).stderr
    assert ((folder / "m3_riv.nc").read_bytes(), hour.read_bytes()) == before
    for _ in range(2):  # but there is place beside the source, and again with --overwrite
        run("convert", "rapid", folder, "--network", folder / "network.nc", "--overwrite")


def test_an_output_within_another_is_refused(small: Path) -> None:
    arguments = ("route", small / "runoff.zarr", small / "network.zarr")
    run(*arguments, small / "q.zarr")
    state = ("--save-state", small / "q.zarr" / "state.nc", "--overwrite")
    assert "lies in the other" in run(*arguments, small / "q.zarr", *state, code=2).stderr


def test_ids_may_stand_beside_an_unlabelled_dimension(small: Path) -> None:
    run("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr")

    def beside(dataset: xr.Dataset) -> xr.Dataset:
        ids = ("reach", dataset["reach"].to_numpy(), {"cf_role": "timeseries_id"})
        return dataset.drop_vars("reach").assign_coords(station=ids)

    change(small / "runoff.zarr", beside)
    run("info", small / "network.zarr", "--runoff", small / "runoff.zarr")
    run("route", small / "runoff.zarr", small / "network.zarr", small / "p.zarr")
    with open_dataset(small / "q.zarr") as expected, open_dataset(small / "p.zarr") as routed:
        xr.testing.assert_equal(routed["discharge"].reset_coords(drop=True), expected["discharge"])


def test_water_that_leaves_at_a_bifurcation_is_counted(small: Path) -> None:
    """Reach 5 hands on 0.6 of its water; all of it leaves within the series, by one way or the other."""
    network = xr.Dataset(
        {
            "upstream_reach": ("link", [5, 2**53 + 1]),
            "downstream_reach": ("link", [7, 7]),
            "fraction": ("link", [0.6, 1.0]),
            "delay": ("reach", [0.0, 0.0, 0.0]),
        },
        coords={"reach": [5, 2**53 + 1, 7]},
        attrs={"scheme": "pure_lag"},
    )
    write(network, small / "network.zarr", overwrite=True)
    told = run("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr").stdout
    assert "in 378000 m3, out 378000 m3 (100.0%), " in told and "m3 of it where fractions sum to less than one" in told


def test_reaches_without_runoff_need_no_area(small: Path) -> None:
    area = ("reach", [1.0, np.nan, 3.0], {"units": "km2"})
    change(small / "network.zarr", lambda ds: ds.assign(area=area))
    change(
        small / "runoff.zarr",
        lambda ds: ds.assign(runoff=ds["runoff"].assign_attrs(units="mm")).isel(reach=[0, 1]),
    )
    told = run("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr", "--missing", "zero").stdout
    assert f"in {30 * 3000 + 35 * 1000:.6g} m3" in told


@pytest.mark.parametrize("dt", ["3600", "3600.0", "1h", "60min"])
def test_dt_is_seconds_or_a_duration(small: Path, dt: str) -> None:
    change(small / "runoff.zarr", lambda ds: ds.assign_coords(time=np.arange(5)))
    told = run("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr", "--dt", dt).stdout
    assert f"in {105 * 3600} m3" in told


@pytest.mark.parametrize("suffix", ["zarr", "nc"])
def test_a_series_without_steps(small: Path, suffix: str) -> None:
    change(small / "runoff.zarr", lambda ds: ds.isel(time=slice(0, 0)))
    arguments = ("route", small / "runoff.zarr", small / "network.zarr", small / f"q.{suffix}")
    assert "'time' has 0 entries, so the step cannot be told: give --dt" in run(*arguments, code=1).stderr
    assert "(--dt)" in run("info", small / "network.zarr", "--runoff", small / "runoff.zarr", code=1).stdout
    result = run(*arguments, "--dt", "1h", "--save-state", small / "state.nc")
    assert "3 reaches x 0 steps" in result.stdout and not result.stderr
    with open_dataset(small / f"q.{suffix}") as routed:
        assert dict(routed["discharge"].sizes) == {"time": 0, "reach": 3}


def test_messages_name_options_of_the_command_line(small: Path) -> None:
    arguments = ("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr", "--overwrite")
    run(*arguments, "--save-state", small / "state.nc")
    told = run(*arguments, "--initial-state", small / "state.nc").stderr
    assert "runoff starts at 2001-01-01T00:00:00" in told and "attr" not in told
    muskingum = {"k": ("reach", [600.0, 600.0, 900.0]), "x": 0.1}
    change(small / "network.zarr", lambda ds: ds.assign(muskingum).assign_attrs(scheme="muskingum"))
    told = run(*arguments).stderr
    assert "--substeps 4" in told and "substeps=" not in told
    assert "--substeps 4" in run("info", small / "network.zarr", "--dt", "1h").stdout
    change(small / "runoff.zarr", lambda ds: ds.assign(runoff=ds["runoff"].where(ds["time"].dt.hour < 4)))
    assert "--nan zero" in run(*arguments, code=1).stderr
    change(small / "runoff.zarr", lambda ds: ds.assign_coords(reach=[7, 5, 8]))
    assert "--extra drop" in run(*arguments, code=1).stderr
    assert "--missing zero" in run(*arguments, "--extra", "drop", code=1).stderr
    change(small / "runoff.zarr", lambda ds: ds.rename(reach="x").assign_coords(x=[1, 2, 3]))
    assert "are not in the network: 1, 2, 3" in run(*arguments, code=1).stderr
    change(small / "runoff.zarr", lambda ds: ds.expand_dims(b=[1, 2]).rename(x="a").drop_vars(["a", "b"]))
    assert "Give --reach-dim" in run(*arguments, code=1).stderr


def test_help_offers_what_there_is() -> None:
    said = run("route", "--help").stdout
    assert "cuda:1" in said and "the GPU if there is one" in said


def test_a_failed_run_leaves_nothing_or_can_be_resumed(small: Path) -> None:
    whole = open_dataset(small / "runoff.zarr").load()
    change(small / "runoff.zarr", lambda ds: ds.assign(runoff=ds["runoff"].where(ds["time"].dt.hour < 4)))
    before = sorted(path.name for path in small.iterdir())
    arguments = ("route", small / "runoff.zarr", small / "network.zarr")
    assert "nan" in run(*arguments, small / "q.nc", "--time-chunk", 1, code=1).stderr.lower()
    assert sorted(path.name for path in small.iterdir()) == before
    told = run(*arguments, small / "q.zarr", "--time-chunk", 1, code=1).stderr.lower()
    assert "nan" in told
    assert "--resume goes on" in run(*arguments, small / "q.zarr", code=1).stderr
    assert "another run, of nan" in run(*arguments, small / "q.zarr", "--resume", "--nan", "zero", code=1).stderr
    change(small / "runoff.zarr", lambda ds: whole)
    assert "x 1 steps" in run(*arguments, small / "q.zarr", "--resume").stdout
    assert "holds the whole run already" in run(*arguments, small / "q.zarr", "--resume").stdout
    run(*arguments, small / "whole.zarr")
    xr.testing.assert_equal(open_dataset(small / "q.zarr").load(), open_dataset(small / "whole.zarr").load())


def test_an_interrupted_run_says_how_to_go_on(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xroute.lane_run import LaneRun

    route = LaneRun.route
    arguments = ("route", small / "runoff.zarr", small / "network.zarr", small / "q.zarr", "--time-chunk", 2)

    def interrupted(self: LaneRun, block: Any, state: Any, steps: slice) -> Any:
        if steps.start == 2:
            raise KeyboardInterrupt
        return route(self, block, state, steps)

    with monkeypatch.context() as patch:
        patch.setattr(LaneRun, "route", interrupted)
        assert "with --resume goes on" in run(*arguments, code=130).stderr
    assert "x 3 steps" in run(*arguments, "--resume").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("route", "absent.zarr", "network.zarr", "q.zarr"), 1, "absent.zarr"),
        (("route", "runoff.zarr", "absent.nc", "q.zarr"), 1, "absent.nc"),
        (("route", "runoff.zarr", "network.zarr", "q.txt"), 2, "use .zarr for Zarr or .nc for netCDF"),
        (("route", "runoff.zarr", "network.zarr", "absent/q.nc"), 1, "no folder"),
        (("route", "runoff.zarr", "network.zarr", "q.nc", "--substeps", "0"), 2, "positive whole number, or auto"),
        (("route", "runoff.zarr", "network.zarr", "q.nc", "--sampling", "median"), 2, "median"),
        (("route", "runoff.zarr", "network.zarr", "q.nc", "--dt", "soon"), 2, "neither seconds nor a duration"),
        (("route", "runoff.zarr", "network.zarr", "q.nc", "--dt", "2h"), 1, "7200"),
        (
            ("route", "runoff.zarr", "network.zarr", "q.nc", "--variable", "rain"),
            1,
            "no variable 'rain'; it has 'runoff'",
        ),
        (("route", "network.zarr", "network.zarr", "q.nc"), 1, "name the runoff: --variable"),
        (("route", "runoff.zarr", "network.zarr", "q.nc", "--scheme", "kinematic"), 1, "kinematic"),
        (("route", "runoff.zarr", "network.zarr", "q.nc", "--scheme", "muskingum"), 1, "'k'"),
        (("route", "runoff.zarr"), 2, "Missing argument"),
        (("info", "text.nc"), 1, "not a netCDF file"),
        (("convert", "rapid", ".", "--network", "x.nc"), 1, "rapid_connect"),
        (("convert", "rapid", "."), 2, "nothing to write"),
        (("convert", "nwm", "absent", "--network", "x.nc"), 1, "absent"),
        (("disembogue",), 2, "disembogue"),
    ],
)
def test_messages_and_exit_codes(
    small: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(small)
    Path("text.nc").write_text("this is not netCDF")
    assert message in run(*arguments, code=code).stderr


def test_debug_shows_the_traceback(small: Path) -> None:
    arguments = ["route", str(small / "absent.zarr"), str(small / "network.zarr"), str(small / "q.zarr")]
    result = CliRunner().invoke(main, ["--debug", *arguments])
    assert isinstance(result.exception, FileNotFoundError)


def test_missing_libraries_are_named(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xroute.files import opening as files

    def absent(module: str, feature: str, extra: str) -> Any:
        raise ImportError(f'{feature} needs {module}: pip install "xroute[{extra}]"')

    monkeypatch.setattr(files, "require", absent)
    assert "reading Zarr needs zarr: pip install" in run("info", small / "network.zarr", code=1).stderr


def test_help_and_version_are_light() -> None:
    """Nothing heavy is imported for a line of text (numba comes with the package itself)."""
    code = (
        "import sys; from xroute.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'matplotlib', 'dask', 'pint', 'zarr', 'netCDF4'} & set(sys.modules)))"
    )
    repository = Path(__file__).resolve().parent.parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "convert" in done.stdout and "From runoff on a grid" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    assert "xroute" in run("--version").stdout


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run("demo", tmp_path / "demo")
    assert any((tmp_path / "demo").glob("*.png"))


def test_absent_data_fail_on_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each data set for itself, wherever the others are."""
    (tmp_path / "nasa_lis_4168").mkdir()
    monkeypatch.setenv("XROUTE_TEST_DATA", str(tmp_path))
    assert find_data("nasa_lis_4168") == tmp_path / "nasa_lis_4168"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="LowerColorado_TX"):
        find_data("LowerColorado_TX")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="LowerColorado_TX"):
        find_data("LowerColorado_TX")
    monkeypatch.setenv("XROUTE_TEST_DATA", "none")  # a machine that has none, and says so
    with pytest.raises(pytest.skip.Exception, match="XROUTE_TEST_DATA=none"):
        find_data("nasa_lis_4168")
