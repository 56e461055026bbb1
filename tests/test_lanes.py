"""Members that are routed after one another: the same bits, states and stores as of all of them together, and through kills."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import kills
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from kills import differences
from zarr.storage import MemoryStore

import xroute
from xroute.cli import main
from xroute.exceptions import StateError, TimeAxisError, XRouteError
from xroute.io import open_dataset, write
from xroute.request import StreamRequest
from xroute.streaming import Stream

N_TIME, MEMBERS = 48, 5
STATES = 4 * 8 * (120 + 120)
"""Bytes that the states of a member take."""
TWO = 2 * (STATES + 6 * 16 * 480) + 1000
"""Memory for two members and 16 steps of them."""


@pytest.fixture(scope="module")
def network() -> xroute.Network:
    return xroute.Network(xroute.datasets.scheidegger(12, 10, seed=1))


@pytest.fixture(scope="module")
def runoff(network: xroute.Network) -> xr.DataArray:
    values = np.random.default_rng(0).random((MEMBERS, N_TIME, network.n_reaches)).astype(np.float32)
    coords = {
        "number": np.arange(MEMBERS) + 1,
        "step": pd.timedelta_range("0h", periods=N_TIME, freq="h"),
        "reach": network.ids,
        "time": np.datetime64("2024-05-01", "ns"),
    }
    forecast = xr.DataArray(values, coords, ("number", "step", "reach"), "runoff", {"units": "m3 s-1"})
    forecast["time"].attrs["standard_name"] = "forecast_reference_time"
    return forecast


def stream(runoff: xr.DataArray, network: Any, store: Any, **options: Any) -> Any:
    return xroute.route_to_zarr(runoff, network, store, progress=False, **options)


def start_of(runoff: xr.DataArray, network: Any, of_members: bool = True) -> xr.Dataset:
    """A state at the forecast's start."""
    before = runoff if of_members else runoff.isel(number=0, drop=True)
    state = before.route(network, return_state=True)[1]
    return state.assign_attrs(time="2024-05-01T00:00:00")


def lanes_of(runoff: xr.DataArray, network: Any, **options: Any) -> int:
    return len(Stream.prepare(runoff, network, StreamRequest(**options)).lanes)


# ── the result ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("start", [None, "one", "each"])
def test_lanes_give_what_all_members_give(start, chunked, network, runoff, tmp_path):
    assert lanes_of(runoff, network) == 1 and lanes_of(runoff, network, memory=TWO) == 3
    initial = None if start is None else start_of(runoff, network, start == "each")
    expected, end = runoff.route(network, initial_state=initial, return_state=True)
    options = {"initial_state": initial, "return_state": True, "memory": TWO}
    given = runoff.chunk(number=1, step=20) if chunked else runoff
    found, state = stream(given, network, tmp_path / "q.zarr", **options)
    np.testing.assert_array_equal(found.values, expected.values)
    xr.testing.assert_equal(found.drop_attrs(), expected.drop_attrs())
    assert state["outflow"].chunksizes["number"] == (2, 2, 1)  # as the store holds it
    xr.testing.assert_identical(state.compute(), end)
    again, kept = stream(given, network, tmp_path / "q.zarr", **{**options, "memory": None})  # nothing is routed
    xr.testing.assert_identical(kept.compute(), end)
    np.testing.assert_array_equal(again.values, expected.values)


def test_lanes_along_two_dimensions(network, runoff):
    models = xr.concat([runoff, 2 * runoff.assign_attrs(units="m3 s-1"), 3 * runoff], "model", combine_attrs="override")
    models = models.transpose("step", "model", "reach", "number").assign_attrs(units="m3 s-1")
    for memory in (TWO, 3 * TWO, 7 * TWO):
        assert lanes_of(models, network, memory=memory) > 1
        found, state = stream(models, network, MemoryStore(), memory=memory, return_state=True)
        expected, end = models.route(network, return_state=True)
        np.testing.assert_array_equal(found.values, expected.values)
        xr.testing.assert_identical(state.compute(), end)


@pytest.mark.parametrize("chunks", [(MEMBERS, 48, 40), (MEMBERS, 1, 120), (1, 48, 7), (3, 5, 60)])
def test_members_that_share_chunks(chunks, network, runoff):
    """Those are read together, and once, and wait in a scratch file for their turn."""
    from test_reads import lazy

    for time_chunk in (None, 7):
        given, counts = lazy(runoff, chunks)
        store = MemoryStore()
        found, state = stream(given, network, store, memory=TWO, time_chunk=time_chunk, return_state=True)
        expected, end = runoff.route(network, return_state=True)
        assert set(counts.reads.values()) == {1}
        np.testing.assert_array_equal(found.values, expected.values)
        xr.testing.assert_identical(state.compute(), end)


def test_states_are_read_by_lane(network, runoff, tmp_path):
    """From a path, or a Dataset that is not loaded: no array of all members' states is made."""
    start = start_of(runoff, network)
    expected, end = runoff.route(network, initial_state=start, return_state=True)
    shuffled = start.isel(number=[3, 0, 4, 2, 1], reach=np.random.default_rng(0).permutation(120))
    for suffix in ("nc", "zarr"):
        path = tmp_path / f"state.{suffix}"
        write(shuffled, path)
        found, state = stream(runoff, network, MemoryStore(), initial_state=path, memory=TWO, return_state=True)
        np.testing.assert_array_equal(found.values, expected.values)
        write(state, tmp_path / f"end.{suffix}")  # lane by lane
        with open_dataset(tmp_path / f"end.{suffix}") as stored:
            xr.testing.assert_identical(stored.drop_vars("checksum").load(), end)
        later = runoff.assign_coords(time=np.datetime64("2024-05-03", "ns"))
        later.route(network, initial_state=tmp_path / f"end.{suffix}")  # its checksum holds
    damaged = open_dataset(tmp_path / "state.nc").load()
    damaged["outflow"][2, 5] += 1.0
    damaged.to_netcdf(tmp_path / "damaged.nc")
    with pytest.raises(StateError, match="values of 1 of 5 members"):
        stream(runoff, network, MemoryStore(), initial_state=tmp_path / "damaged.nc", memory=TWO)
    bad = start.copy(deep=True)
    bad["outflow"][4, 7] = np.nan
    with pytest.raises(StateError, match="not finite on 1 reaches"):
        stream(runoff, network, tmp_path / "q.zarr", initial_state=bad, memory=TWO)
    assert not (tmp_path / "q.zarr").exists()


def test_memory_decides_nothing_but_lanes(network, runoff, tmp_path):
    """A run goes on in the lanes that it began in; another start is another run, in whatever lanes."""
    start = start_of(runoff, network)
    holed = runoff.copy(data=runoff.values.copy())
    holed[3, 30, 5] = np.nan
    with pytest.raises(XRouteError, match=r"NaN.*first at"):
        stream(holed, network, tmp_path / "q.zarr", initial_state=start, memory=TWO)
    found = stream(runoff, network, tmp_path / "q.zarr", initial_state=start, memory="1GB")
    whole = stream(runoff, network, tmp_path / "whole.zarr", initial_state=start, memory=TWO)
    np.testing.assert_array_equal(found.values, runoff.route(network, initial_state=start).values)
    assert differences(tmp_path / "q.zarr", tmp_path / "whole.zarr") == [] and whole.shape == found.shape
    with pytest.raises(FileExistsError, match="another initial state"):
        stream(
            runoff,
            network,
            tmp_path / "q.zarr",
            initial_state=start.isel(number=[0] * 5).assign_coords(number=runoff.number),
        )


def test_water_and_known_discharge_of_lanes(network, runoff, tmp_path):
    """The budget of all members, and known discharge that each has of its own, though they are routed after one another."""
    start = start_of(runoff, network)
    known = runoff.isel(reach=[100, 5]).astype(float) * 3
    options = {"initial_state": start, "known": known}
    expected, end = runoff.route(network, return_state=True, **options)
    found, state = stream(runoff, network, tmp_path / "q.zarr", memory=TWO, budget=True, return_state=True, **options)
    np.testing.assert_array_equal(found.values, expected.values)
    xr.testing.assert_identical(state.compute(), end)
    stream(runoff, network, tmp_path / "whole.zarr", budget=True, **options)
    one, all_of_them = (xr.open_zarr(tmp_path / f"{name}.zarr", group="budget") for name in ("q", "whole"))
    assert one.sizes["number"] == MEMBERS and float(one["storage_start"].min()) > 0
    xr.testing.assert_allclose(one.load(), all_of_them.load(), rtol=1e-9, atol=1e-3)


def test_a_grid_of_members_that_is_read_once(network, runoff):
    """A forecast on a grid that was opened lazily, and weights: its chunks are read once, and members go lane by lane."""
    from test_reads import lazy

    rng = np.random.default_rng(2)
    values = rng.random((MEMBERS, N_TIME, 6, 20)).astype(np.float32)
    dims, lat, lon = ("number", "step", "latitude", "longitude"), np.linspace(5, 0, 6), np.linspace(0, 19, 20)
    coords = {"number": runoff["number"], "step": runoff["step"], "latitude": lat, "longitude": lon}
    grid = xr.DataArray(values, coords, dims, "runoff", {"units": "mm"})
    cells = np.arange(120)
    weights = xr.Dataset(
        {
            "reach": ("overlap", network.ids, {"units": "1"}),
            "y_index": ("overlap", cells // 20), "x_index": ("overlap", cells % 20),
            "area": ("overlap", np.full(120, 1e6), {"units": "m2"}),
            "catchment_area": ("catchment", np.full(120, 1e6), {"units": "m2"}),
            "covered": ("catchment", np.ones(120), {"units": "1"}),
        },
        {"catchment": network.ids},
        {"grid_dims": "latitude longitude", "grid_sizes": [6, 20], "method": "area"},
    )  # fmt: skip
    expected = grid.route(network, weights=weights)
    for chunks in ((1, 48, 6, 20), (1, 12, 3, 20)):
        given, counts = lazy(grid, chunks)
        found = stream(given, network, MemoryStore(), weights=weights, memory=TWO)
        assert set(counts.reads.values()) == {1}
        np.testing.assert_array_equal(found.values, expected.values)


@pytest.mark.parametrize("damage", ["lane1.1", "lane1.0", "all"])
def test_a_lane_whose_checkpoint_is_damaged(damage, network, runoff, tmp_path):
    store = tmp_path / "q.zarr"
    stream(runoff, network, store, memory=TWO)
    expected = runoff.route(network, return_state=True)[1]
    slots = [p for p in (store / "checkpoint").glob("lane*") if damage == "all" or p.name == damage]
    for slot in slots:
        for chunk in (slot / "outflow" / "c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(b"\x01" + chunk.read_bytes()[1:])
    if slots:
        with pytest.warns(UserWarning, match="they are routed from their start"):
            found, state = stream(runoff, network, store, memory=TWO, return_state=True)
    else:
        found, state = stream(runoff, network, store, memory=TWO, return_state=True)
    xr.testing.assert_identical(state.compute(), expected)
    np.testing.assert_array_equal(found.values, runoff.route(network).values)
    chunk = next(p for p in (store / "discharge" / "c" / "3").rglob("*") if p.is_file())
    chunk.unlink()
    with pytest.raises(XRouteError, match="1 chunks of discharge that were written are gone"):
        stream(runoff, network, store, memory=TWO)


# ── kills ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _campaign(folder: Path, moments: list[list[dict[str, Any]]]) -> list[tuple[int, list[str]]]:
    return list(kills.campaign(folder, moments, lanes=True))


@pytest.fixture(scope="module")
def apart() -> Iterator[Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xroute", "xroute.engine.cpu.backend", "zarr", "dask.array", "kills"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        yield lambda work, *arguments: pool.submit(work, *arguments).result()


def test_killed_in_any_lane(apart, tmp_path):
    """Before changes of the disk, of those that end lanes and keep states too: the store ends as if nobody had disturbed it."""
    rng = np.random.default_rng(3)
    moments = [[{"before": int(k)} for k in rng.integers(1, 130, 4)] for _ in range(4)]
    found = apart(_campaign, tmp_path, moments)
    assert [different for _, different in found] == [[]] * len(moments)
    assert sum(n for n, _ in found) >= 8


# ── the state for tomorrow ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("memory", [None, TWO])
@pytest.mark.parametrize("moment", ["24h", "2024-05-02", np.timedelta64(1, "D"), pd.Timestamp("2024-05-02")])
def test_a_state_at_a_time(moment, memory, network, runoff):
    """It is the state of a run that ends there, whatever the blocks."""
    expected, end = runoff.isel(step=slice(0, 24)).route(network, return_state=True)
    assert end.attrs["time"] == "2024-05-02T00:00:00"
    for time_chunk in (None, 7, 24):
        store = MemoryStore()
        options = {"memory": memory, "time_chunk": time_chunk, "return_state": True, "state_time": moment}
        found, state = stream(runoff, network, store, **options)
        xr.testing.assert_identical(state.compute(), end)
        np.testing.assert_array_equal(found.values, runoff.route(network).values)
        xr.testing.assert_identical(stream(runoff, network, store, **options)[1].compute(), end)
        with pytest.raises(FileExistsError, match="another time of the state that is kept"):
            stream(runoff, network, store, **{**options, "state_time": None})


def test_times_at_which_no_state_is(network, runoff):
    dated = runoff.isel(number=0, drop=True).drop_vars("time").rename(step="time")
    dated = dated.assign_coords(time=pd.date_range("2001-01-01 01:00", periods=N_TIME, freq="h"))
    dated = dated.assign_attrs(time_label="end")
    clock = Stream.prepare(dated, network, StreamRequest(state_time="2001-01-02")).kept
    assert clock == 24 and Stream.prepare(dated, network, StreamRequest(state_time="24h")).kept == 24
    assert Stream.prepare(dated, network, StreamRequest(state_time="2 days")).kept == N_TIME
    for wrong in ("2001-01-02T00:30", "2001-01-01", "90min", "49h", "0h", "2002-01-01"):
        with pytest.raises(TimeAxisError, match=r"no step ends at .*begin at 2001-01-01T00:00:00.*ends at 2001-01-03"):
            Stream.prepare(dated, network, StreamRequest(state_time=wrong))
    for wrong in ("soon", 7.5j, "3 parsecs"):
        with pytest.raises(TimeAxisError, match="neither a date nor a duration"):
            Stream.prepare(dated, network, StreamRequest(state_time=wrong))
    noleap = dated.convert_calendar("noleap").assign_attrs(dated.attrs)
    assert Stream.prepare(noleap, network, StreamRequest(state_time="2001-01-02T12:00")).kept == 36


def test_a_forecast_after_another_on_the_command_line(network, runoff, tmp_path):
    """Yesterday's state at the time when today's forecast begins starts it, for all members or each of its own."""
    today = runoff.assign_coords(time=runoff["time"] + np.timedelta64(1, "D")).copy(data=runoff.values[:, ::-1])
    write(network.dataset, tmp_path / "network.zarr")
    write(runoff.to_dataset(), tmp_path / "yesterday.nc")
    write(today.to_dataset(), tmp_path / "today.nc")

    def run(*arguments: Any) -> str:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    for memory, suffix in (("1GB", "zarr"), (str(TWO), "zarr"), (str(TWO), "nc")):
        common = ["--memory", memory, "--overwrite"]
        run("route", tmp_path / "yesterday.nc", tmp_path / "network.zarr", tmp_path / f"a.{suffix}", *common,
            "--save-state", tmp_path / "state.nc", "--state-time", "24h")  # fmt: skip
        told = run("route", tmp_path / "today.nc", tmp_path / "network.zarr", tmp_path / f"b.{suffix}", *common,
                   "--initial-state", tmp_path / "state.nc", "--save-state", tmp_path / "state2.zarr")  # fmt: skip
        assert "warning: the state holds at" not in told and "120 reaches x 48 steps x 5 members" in told
        state = runoff.isel(step=slice(0, 24)).route(network, return_state=True)[1]
        expected, end = today.route(network, initial_state=state, return_state=True)
        with open_dataset(tmp_path / f"b.{suffix}") as found:
            np.testing.assert_array_equal(
                found["discharge"].transpose("number", "time", "reach").values, expected.values
            )
        with open_dataset(tmp_path / "state2.zarr") as found:
            np.testing.assert_array_equal(found["outflow"].values, end["outflow"].values)
            assert found.attrs["time"] == "2024-05-04T00:00:00" and zarr.__version__
    usage = CliRunner().invoke(main, ["route", *map(str, (tmp_path / "today.nc", tmp_path / "network.zarr", tmp_path / "c.zarr")),
                                      "--state-time", "24h"])  # fmt: skip
    assert usage.exit_code == 2 and "--state-time says when the state holds" in usage.output
