"""Traps of errors and the command line: what happens to a user, and the value or the message that is right."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import xroute
from xroute.cli import main
from xroute.cli.messages import notes
from xroute.exceptions import XRouteError
from xroute.io import open_dataset, write

TIMES = pd.date_range("2001-01-01", periods=5, freq="h")


def make_network(**variables: Any) -> xr.Dataset:
    """Three reaches in a row: 1 -> 2 -> 3."""
    data = {"downstream": [2, 3, 0], "delay": [0.0, 0.0, 0.0], **variables}
    return xr.Dataset({n: ("reach", v) for n, v in data.items()}, {"reach": [1, 2, 3]}, {"scheme": "pure_lag"})


def make_runoff(values: Any = None, dims: tuple[str, ...] = ("time", "reach")) -> xr.DataArray:
    values = np.ones((5, 3)) if values is None else values
    coords = {"time": TIMES, "reach": [1, 2, 3]}
    return xr.DataArray(
        values, {d: coords[d] for d in dims if d in coords}, dims, "runoff", {"units": "m3 s-1"}
    )


def command(*arguments: Any, code: int = 0) -> str:
    """Run the command; its output is a single Error line where it fails."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output and "bug" not in result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network and runoff in files, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write(make_network(), "network.zarr")
    write(make_runoff().to_dataset(), "runoff.nc")
    return tmp_path


# ── files that are damaged, or something else ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "{garbage", "[]", "5", "null"])
def test_metadata_of_a_store_that_are_no_metadata(folder: Path, text: str) -> None:
    Path("network.zarr/zarr.json").write_text(text)
    with pytest.raises(XRouteError, match="network.zarr cannot be read as a Zarr store"):
        open_dataset("network.zarr")


def test_a_chunk_that_is_damaged(folder: Path) -> None:
    chunk = next(p for p in Path("network.zarr/downstream").rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.write_bytes(b"\0" * 32)
    with pytest.raises(XRouteError, match="cannot be read"):
        xroute.Network(open_dataset("network.zarr"))
    with pytest.raises(XRouteError, match="cannot be read"):
        xroute.Network(xr.open_zarr("network.zarr", chunks=None))


@pytest.mark.parametrize("size", [4, 8, 100, 1000, 4000])
def test_netcdf_that_was_cut(folder: Path, size: int) -> None:
    Path("cut.nc").write_bytes(Path("runoff.nc").read_bytes()[:size])
    with pytest.raises(XRouteError, match="cut.nc"):
        open_dataset("cut.nc")


def test_links_that_go_round_in_a_circle(folder: Path) -> None:
    Path("loop.nc").symlink_to("loop.nc")
    with pytest.raises(FileNotFoundError, match="loop.nc is a link to nothing"):
        open_dataset("loop.nc")


def test_a_table_in_utf_16(folder: Path) -> None:
    Path("network.csv").write_bytes("COMID,NextDownID\n1,0\n".encode("utf-16"))
    assert "1 (1 headwaters)" in command("info", "network.csv", code=1)  # which has no scheme


@pytest.mark.parametrize("content", [b"", b"PAR1junkPAR1", bytes(range(256))])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])
def test_tables_that_are_none(folder: Path, content: bytes, suffix: str) -> None:
    Path(f"network.{suffix}").write_bytes(content)
    output = command("info", f"network.{suffix}", code=1)
    assert output.startswith("Error: ") and len(output.splitlines()) == 2


def test_a_header_that_promises_more_than_memory(folder: Path) -> None:
    netCDF4 = pytest.importorskip("netCDF4")
    with netCDF4.Dataset("huge.nc", "w") as file:
        file.createDimension("time", 10**12)
        file.createDimension("reach", 3)
        file.createVariable("reach", "i8", ("reach",))[:] = [1, 2, 3]
        file.createVariable("runoff", "f4", ("time", "reach"), chunksizes=(10**6, 3), zlib=True)
    with pytest.raises(XRouteError, match=r"1,000,000,000,000 time x 3 reach takes 12,000 GB.*route_to_zarr"):
        xroute.route(open_dataset("huge.nc")["runoff"], make_network(), dt=3600)


def test_a_disk_that_is_full(folder: Path) -> None:
    """The limit on the size of files stands for the end of the disk; nothing is left of the file."""
    resource = pytest.importorskip("resource")
    wide = xr.Dataset({"a": ("reach", np.random.default_rng(0).random(50_000))}, {"reach": np.arange(50_000)})
    before = sorted(folder.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        for name in ("full.nc", "full.zarr"):
            with pytest.raises((OSError, XRouteError), match=f"could not write {name}"):
                write(wide, name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(folder.iterdir()) == before


# ── arguments that are something else ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("network", [None, {}, pd.DataFrame({"a": [1]}), 3, [], xr.Dataset(), np.ones(3)])
def test_networks_that_are_none(network: Any) -> None:
    with pytest.raises(XRouteError, match="network"):
        xroute.route(make_runoff(), network)


@pytest.mark.parametrize("runoff", [None, np.ones((5, 3)), make_runoff().to_dataset(), pd.DataFrame(), "runoff.nc"])
def test_runoff_that_is_none(runoff: Any) -> None:
    with pytest.raises(XRouteError, match="runoff is an xarray.DataArray, not a"):
        xroute.route(runoff, make_network())


def test_a_path_is_a_network(folder: Path) -> None:
    expected = xroute.route(make_runoff(), make_network())
    for path in ("network.zarr", folder / "network.zarr"):
        np.testing.assert_array_equal(xroute.route(make_runoff(), path).values, expected.values)  # type: ignore[arg-type]


def test_outlet_markers_of_another_kind() -> None:
    network = make_network()
    network["downstream"].attrs["outlet"] = [0, -1]
    assert xroute.Network(network).outlets.size == 1
    network["downstream"].attrs["outlet"] = "none"
    with pytest.raises(XRouteError, match="outlet"):
        xroute.Network(network)


@pytest.mark.parametrize("scheme", [["muskingum"], {}, 5, np.array(["a"])])
def test_schemes_that_are_no_name(scheme: Any) -> None:
    with pytest.raises(XRouteError, match="scheme is the name"):
        xroute.route(make_runoff(), make_network(), scheme=scheme)


@pytest.mark.parametrize(
    "dims", [("lat", "lon"), ("latitude", "longitude"), ("y", "x"), ("rlat", "rlon"), ("south_north", "west_east")]
)
def test_a_grid_is_told_that_it_is_one(dims: tuple[str, str]) -> None:
    with pytest.raises(XRouteError, match=f"stands on a grid \\('{dims[0]}' x '{dims[1]}'\\).*catchments"):
        xroute.route(make_runoff(np.ones((5, 3, 3)), ("time", *dims)), make_network())


def test_cells_are_a_grid_unless_they_bear_ids() -> None:
    runoff = make_runoff(dims=("time", "cell"))
    with pytest.raises(XRouteError, match="grid"):
        xroute.route(runoff, make_network())
    assert xroute.route(runoff.assign_coords(cell=[3, 2, 1]), make_network()).sel(cell=3)[0] == 3.0


# ── discharge that overflows ──────────────────────────────────────────────────────────────────────────────────────────


def test_sums_beyond_float32_are_an_error(tmp_path: Path) -> None:
    """Each reach has 2e38; two of them together are more than float32 holds, at reaches 2 and 3."""
    runoff, network = make_runoff(np.full((5, 3), 2e38, "f4")), make_network()
    message = "overflows float32 on 2 reaches: 2, 3; first at 2001-01-01T00"
    for route in (
        lambda: xroute.route(runoff, network),
        lambda: xroute.route(runoff.chunk(time=2), network).compute(),
        lambda: xroute.route_to_zarr(runoff, network, tmp_path / "q.zarr", progress=False),
    ):
        with pytest.raises(XRouteError, match=message):
            route()
    assert xroute.route(runoff.astype("f8"), network).sel(reach=3)[0] == pytest.approx(6e38, rel=1e-6)


def test_overflow_that_passes_is_found() -> None:
    """A single peak in the middle of the series, on the first reach of a chain, taken away again downstream."""
    values = np.ones((5, 3))
    values[2] = 1.5e308, 1.5e308, -1.5e308
    with pytest.raises(XRouteError, match="overflows float64 on 2 reaches: 2, 3; first at 2001-01-01T02"):
        xroute.route(make_runoff(values), make_network())


def test_negative_discharge_is_counted(folder: Path) -> None:
    """Runoff of -1 on reach 2 in two of the hours leaves reaches 2 and 3 at 0 and 1; of -5, both are negative."""
    values = np.ones((5, 3))
    values[1:3, 1] = -5.0
    write(make_runoff(values).to_dataset(), "negative.nc")
    assert "4 values of discharge negative" in command("route", "negative.nc", "network.zarr", "q.nc")
    assert "negative" not in command("route", "runoff.nc", "network.zarr", "p.nc")


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mistake_is_two_lines(folder: Path) -> None:
    Path("not\nnetcdf.nc").write_bytes(b"x")
    output = command("route", "not\nnetcdf.nc", "network.zarr", "q.nc", code=1)
    assert output == "Error: not netcdf.nc is not a netCDF file\n`xroute route --help` says what it takes\n"


def test_a_bug_says_that_it_is_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("something")

    monkeypatch.setattr("xroute.streaming.Stream.prepare", broken)
    result = CliRunner().invoke(main, ["route", "runoff.nc", "network.zarr", "q.nc"])
    assert result.exit_code == 1 and result.stderr.count("\n") == 2
    assert "this is a bug in xroute" in result.stderr and "--debug" in result.stderr


def test_several_files_and_a_pattern_are_one_series(folder: Path) -> None:
    runoff = make_runoff(np.arange(15.0).reshape(5, 3)).to_dataset()
    write(runoff, "whole.nc")
    write(runoff.isel(time=slice(0, 2)), "part_1.nc")
    write(runoff.isel(time=slice(2, None)), "part_2.nc")
    outputs = []
    for k, sources in enumerate((("whole.nc",), ("part_*.nc",), ("part_2.nc", "part_1.nc"))):
        command("route", *sources, "network.zarr", f"q{k}.nc")
        with open_dataset(f"q{k}.nc") as routed:
            outputs.append(routed["discharge"].values)
    np.testing.assert_array_equal(outputs[0][:, 2], np.arange(15.0).reshape(5, 3).sum(1))  # delays of 0: sums
    np.testing.assert_array_equal(outputs[1], outputs[0])
    np.testing.assert_array_equal(outputs[2], outputs[0])
    assert "part_9*.nc" in command("route", "part_9*.nc", "network.zarr", "q.nc", code=1)


def test_variables_add_up(folder: Path) -> None:
    both = xr.Dataset({"surface": make_runoff(), "base": 2 * make_runoff().assign_attrs(units="m3 s-1")})
    both["base"].attrs["units"] = "m3 s-1"
    write(both, "both.nc")
    command("route", "both.nc", "network.zarr", "q.nc", "--variable", "surface", "--variable", "base")
    with open_dataset("q.nc") as routed:
        assert routed["discharge"].values[0].tolist() == [3.0, 6.0, 9.0]
    assert "--variable" in command("route", "both.nc", "network.zarr", "p.nc", code=1)


def test_a_table_is_a_network(folder: Path) -> None:
    Path("network.csv").write_text("id,to,travel\n1,2,0\n2,3,0\n3,7,0\n")
    columns = ("--reach-column", "id", "--downstream-column", "to")
    assert "--reach-column and --downstream-column" in command("info", "network.csv", code=1)
    assert "--missing-downstream outlet" in command("info", "network.csv", *columns, code=1)
    table = "id,to,delay\n1,2,1\n2,3,0\n3,7,0\n"
    Path("network.csv").write_text(table)
    options = (*columns, "--missing-downstream", "outlet", "--scheme", "pure_lag", "--column-units", "delay=h")
    assert "no problems found" in command("info", "network.csv", *options)
    command("route", "runoff.nc", "network.csv", "q.nc", *options)
    with open_dataset("q.nc") as routed:  # what falls on reach 1 comes an hour later
        assert routed["discharge"].sel(reach=3).values.tolist() == [2.0, 3.0, 3.0, 3.0, 3.0]


def test_dimensions_by_name(folder: Path) -> None:
    write(make_runoff().rename(time="when", reach="basin").to_dataset(), "named.nc")
    command("route", "named.nc", "network.zarr", "q.nc", "--reach-dim", "basin", "--time-dim", "when")
    wrong = command("route", "named.nc", "network.zarr", "p.nc", "--reach-dim", "station", code=1)
    assert "no dimension 'station'; it has 'when', 'basin'" in wrong


def test_cycles_are_listed_all(folder: Path) -> None:
    downstream = ("reach", [2, 1, 4, 3, 0])
    rings = xr.Dataset({"downstream": downstream, "delay": ("reach", np.zeros(5))}, {"reach": [1, 2, 3, 4, 5]})
    write(rings.assign_attrs(scheme="pure_lag"), "rings.nc")
    output = command("info", "rings.nc", code=1)
    assert "a cycle of 2 reaches" in output and "2 cycles in all" in output and "np.int64" not in output


def test_an_empty_network_is_said(folder: Path) -> None:
    write(make_network().isel(reach=slice(0, 0)), "empty.zarr")
    assert "the network is empty" in command("info", "empty.zarr", code=1)


def test_a_cycle_is_not_converted(folder: Path) -> None:
    Path("rapid").mkdir()
    Path("rapid/rapid_connect.csv").write_text("1,2\n2,1\n")
    for name in ("k", "x"):
        Path(f"rapid/{name}.csv").write_text("0.1\n0.1\n")
    assert "cycle" in command("convert", "rapid", "rapid", "--network", "n.nc", code=1)
    assert not Path("n.nc").exists()


def test_neither_half_is_written_when_the_second_fails(folder: Path) -> None:
    Path("rapid").mkdir()
    Path("rapid/rapid_connect.csv").write_text("1,2,0,0\n2,0,1,1\n")
    for name in ("k", "x"):
        Path(f"rapid/{name}.csv").write_text("0.1\n0.1\n")
    Path("rapid/m3_riv.nc").write_bytes(b"junk")
    before = sorted(folder.rglob("*"))
    output = command("convert", "rapid", "rapid", "--network", "n.nc", "--runoff", "r.nc", "--dt", "1h", code=1)
    assert "m3_riv.nc is not a netCDF file" in output and sorted(folder.rglob("*")) == before


def test_info_says_what_other_files_are(folder: Path) -> None:
    command("route", "runoff.nc", "network.zarr", "q.nc", "--save-state", "state.nc")
    assert "runoff" in command("info", "runoff.nc")
    assert "holds  discharge" in " ".join(command("info", "q.nc").split("\n")).replace("holds      ", "holds  ")
    assert "a state" in command("info", "state.nc")
    assert "holds a runoff, and no network" in command("route", "runoff.nc", "runoff.nc", "p.nc", code=1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_signal_leaves_neither_noise_nor_drafts(folder: Path, number: signal.Signals, code: int, suffix: str) -> None:
    rivers = xroute.datasets.scheidegger(60, 60)
    long = np.datetime64("2001-01-01", "ns") + np.arange(5000) * np.timedelta64(1, "h")
    runoff = xr.DataArray(
        np.ones((5000, 3600), "f4"), {"time": long, "reach": rivers["reach"].values}, ("time", "reach"), "runoff"
    )
    write(rivers, "rivers.zarr")
    write(runoff.assign_attrs(units="m3 s-1").to_dataset(), "long.zarr")
    before = {path.name for path in folder.iterdir()}
    arguments = [sys.executable, "-m", "xroute", "route", "long.zarr", "rivers.zarr", f"q.{suffix}", "--time-chunk", "2"]
    done = _stopped(arguments, number, lambda: len(list(folder.iterdir())) > len(before))
    left = {path.name for path in folder.iterdir()} - before
    if done.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("note: ", "warning: "))]
    assert len(lines) == 1 and lines[0].startswith("interrupted: "), done.stderr
    assert left <= {"q.zarr"}
    assert ("--resume goes on with q.zarr" in lines[0]) == bool(left)


IN_A_DESTRUCTOR = """
class Dying:
    def __del__(self):
        come()

Dying()
"""
WHILE_A_LOCK_IS_TAKEN = """
import threading
from xarray.backends.locks import CombinedLock

class Lock:
    def __init__(self):
        self.lock = threading.Lock()
    def acquire(self, blocking=True):
        taken = self.lock.acquire(blocking)
        come()
        return taken
    def release(self):
        self.lock.release()

lock = CombinedLock([Lock()])
try:
    with lock:
        pass
finally:
    with lock:  # as xarray does with a file that it could not write
        pass
"""


@pytest.mark.parametrize("where", [IN_A_DESTRUCTOR, WHILE_A_LOCK_IS_TAKEN], ids=["destructor", "lock"])
def test_a_signal_ends_the_run_wherever_it_comes(where: str) -> None:
    """Dropped by Python in a destructor, the run would go on; raised while a lock is taken, it would wait for itself."""
    program = f"""
import signal, sys, time
from xroute.cli.signals import Interrupted, interruptible

sent = []

def come():
    if not sent:
        sent.append(1)
        signal.raise_signal(signal.SIGTERM)
        sum(range(10))

try:
    with interruptible():
        exec({where!r})
        time.sleep(60)
        print("went on")
except Interrupted as stopped:
    print(stopped.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["143"], done.stderr


def _stopped(arguments: list[str], number: signal.Signals, ready: Callable[[], bool]) -> Any:
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 600
    while not ready() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


# ── values that accumulate, on the command line ───────────────────────────────────────────────────────────────────────

HOURLY = np.array([[4.0, 0.0, 1.0], [1.0, 2.0, 0.0], [0.0, 0.5, 8.0]])  # amounts that are no fractions in binary


def era5_land(path: str, bounds: bool = False) -> xr.DataArray:
    """Write three days that accumulate from 00 UTC on, stamped 01, ..., 23, 00; return the amounts of each hour."""
    end = pd.date_range("2001-01-01T01", periods=72, freq="h")
    amounts = np.resize(HOURLY, (72, 3))
    since_midnight = amounts.reshape(3, 24, 3).cumsum(1).reshape(72, 3)
    ds = xr.Dataset(
        {"ro": (("time", "reach"), since_midnight, {"units": "m3", "GRIB_stepType": "accum"})},
        {"time": end, "reach": [1, 2, 3]},
    )
    if bounds:
        low = (end - pd.Timedelta("1h")).floor("D")
        ds = ds.assign(time_bnds=(("time", "nv"), np.stack([low, end], axis=1)))
        ds["time"].attrs["bounds"] = "time_bnds"
    ds["time"].encoding.update(units="hours since 1900-01-01", dtype="i4")
    ds.to_netcdf(path)
    return xr.DataArray(amounts, {"time": end, "reach": [1, 2, 3]}, ("time", "reach"))


@pytest.mark.parametrize("bounds", [False, True])
@pytest.mark.parametrize("chunk", [(), ("--time-chunk", "7")])
def test_era5_land_is_routed_as_amounts_per_hour(folder: Path, bounds: bool, chunk: tuple[str, ...]) -> None:
    amounts = era5_land("era.nc", bounds)
    refused = command("route", "era.nc", "network.zarr", "q.nc", *chunk, code=1)
    assert "--deaccumulate" in refused and "xroute.deaccumulate" not in refused and not Path("q.nc").exists()
    command("route", "era.nc", "network.zarr", "q.nc", "--deaccumulate", "day", *chunk)
    with open_dataset("q.nc") as q:  # no reach delays: what falls above each of them, within the hour
        assert np.allclose(q["discharge"].values, amounts.values.cumsum(1) / 3600.0, rtol=1e-12)
        assert q["time"].values[0] == np.datetime64("2001-01-01T01") and q["discharge"].attrs["time_label"] == "end"
        assert q["time_bnds"].values[0].tolist() == [t.value for t in pd.to_datetime(["2001-01-01T00", "2001-01-01T01"])]


@pytest.mark.parametrize("bounds", [False, True])
def test_info_finds_what_route_would_refuse(folder: Path, bounds: bool) -> None:
    era5_land("era.nc", bounds)
    output = command("info", "network.zarr", "--runoff", "era.nc", code=1)
    assert "problem: runoff accumulates" in output and "reaches" in output
    assert ("begin together" in output) == bounds
    write(make_runoff().assign_attrs(units="mm").to_dataset(), "depth.nc")
    assert "area" in command("info", "network.zarr", "--runoff", "depth.nc", code=1)


def test_a_forecast_that_begins_with_its_first_hour_loses_nothing(folder: Path) -> None:
    lead = pd.to_timedelta(np.arange(1, 10), "h")
    amounts = np.resize(HOURLY, (2, 9, 3))
    ds = xr.Dataset(
        {"ro": (("time", "step", "reach"), amounts.cumsum(1), {"units": "m3"})},
        {"time": pd.date_range("2001-01-01", periods=2), "step": lead, "reach": [1, 2, 3]},
    )
    ds.to_netcdf("forecast.nc")
    command("route", "forecast.nc", "network.zarr", "q.nc", "--deaccumulate", "forecast", "--time-dim", "step")
    with open_dataset("q.nc") as q:
        assert np.allclose(q["discharge"].transpose(..., "time", "reach").values, amounts.cumsum(2) / 3600.0, rtol=1e-12)


def test_wrong_bounds_are_a_problem_among_others(folder: Path) -> None:
    ds = make_runoff().to_dataset().isel(reach=[0, 1])
    low = TIMES.to_numpy()
    ds = ds.assign(time_bnds=(("time", "nv"), np.stack([low, low + np.timedelta64(2, "h")], axis=1)))
    ds["time"].attrs["bounds"] = "time_bnds"
    write(ds, "bounds.nc")
    output = command("info", "network.zarr", "--runoff", "bounds.nc", code=1)
    assert "intervals of 'time_bnds' are not of one step" in output and "1 reaches have no runoff" in output


def test_a_mistake_in_a_conversion_is_told_in_options(folder: Path) -> None:
    Path("empty").mkdir()
    output = command("convert", "rapid", "empty", "--network", "n.nc", code=1)
    assert "--basin-ids" in output and "read_network" not in output


def test_tables_are_there_after_one_import() -> None:
    code = "import xroute, sys; assert 'xroute.tables' not in sys.modules; xroute.tables.read_table; xroute.plotting; xroute.io"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cells_with_the_ids_of_reaches_beside_them_are_reaches(folder: Path) -> None:
    network = make_network().assign_coords(reach=[30, 10, 20]).assign(downstream=("reach", [10, 20, 0]))
    write(network, "ids.zarr")
    ds = make_runoff().drop_vars("reach").rename(reach="gridcell").to_dataset()
    write(ds.assign(reach=("gridcell", [20, 30, 10])), "cells.nc")
    command("route", "cells.nc", "ids.zarr", "q.nc")
    with open_dataset("q.nc") as q:
        assert q["discharge"].sel(reach=[30, 10, 20]).values[0].tolist() == [1.0, 2.0, 3.0]
    write(ds.assign(number=("gridcell", [1, 2, 3])), "cells.nc", overwrite=True)  # a count of cells is no id of a reach
    assert "grid" in command("route", "cells.nc", "network.zarr", "p.nc", code=1)


def test_an_option_is_said_once(folder: Path) -> None:
    Path("rapid").mkdir()
    Path("rapid/rapid_connect.csv").write_text("1,2,0,0\n2,0,1,1\n")
    for name in ("k", "x"):
        Path(f"rapid/{name}.csv").write_text("0.1\n0.1\n")
    bare = xr.Dataset({"m3_riv": (("time", "rivid"), np.ones((3, 2)), {"units": "m3"}), "rivid": ("rivid", [1, 2])})
    bare.to_netcdf("rapid/m3_riv.nc")
    output = command("convert", "rapid", "rapid", "--network", "n.nc", "--runoff", "r.nc", "--dt", "1h")
    assert "; --start sets it" in output and "start=" not in output


def test_warnings_of_libraries_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with notes():
        warnings.warn("Port 8787 is taken.\nPerhaps a cluster runs?\nAnother is used", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: Port 8787 is taken. Perhaps a cluster runs? Another is used\n"
