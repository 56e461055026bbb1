"""`route_to_zarr`: the same bits as `route`, through any blocks, crashes, full disks and unreadable runoff."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import kills
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as some
from kills import contents, differences
from strategies import DT, networks, runoffs
from zarr.storage import LocalStore, MemoryStore

import xroute
from xroute.checkpoint import Checkpoint, Progress
from xroute.exceptions import ParameterError, StateError, XRouteError
from xroute.fence import OwnStore
from xroute.request import StreamRequest
from xroute.streaming import Stream

N_TIME = 40


@pytest.fixture(scope="module")
def network() -> xroute.Network:
    return xroute.Network(xroute.datasets.scheidegger(12, 10, seed=1))


@pytest.fixture(scope="module")
def runoff(network: xroute.Network) -> xr.DataArray:
    rng = np.random.default_rng(0)
    return xr.DataArray(
        rng.random((N_TIME, network.n_reaches)).astype(np.float32),
        dims=("time", "reach"),
        coords={
            "time": np.datetime64("2001-01-01", "ns") + np.arange(N_TIME) * np.timedelta64(1, "h"),
            "reach": network.ids,
            "name": ("reach", [f"r{k}" for k in range(network.n_reaches)]),
        },
        attrs={"units": "m3 s-1"},
    )


def stream(runoff: xr.DataArray, network: Any, store: Any, **options: Any) -> Any:
    return xroute.route_to_zarr(runoff, network, store, progress=False, **options)


def assert_same(one: Path, two: Path) -> None:
    assert differences(one, two) == []


# ── the result ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25)
@given(some.data())
def test_any_blocks(data):
    dataset, _ = data.draw(networks(max_size=20))
    runoff = data.draw(runoffs(dataset["reach"].values))
    runoff = runoff.transpose(*data.draw(some.permutations(runoff.dims)))
    options = {
        "substeps": data.draw(some.sampled_from([1, 3])),
        "sampling": data.draw(some.sampled_from(["mean", "last", "start-mean"])),
        "dt": DT,
    }
    chunked = runoff.chunk(time=data.draw(some.integers(1, 7))) if data.draw(some.booleans()) else runoff
    partitions = data.draw(some.sampled_from([None, 1, 3])) if chunked.chunks else None
    time_chunk = data.draw(some.sampled_from([None, 1, 2, 5, 100]))
    _, start = runoff.route(dataset, return_state=True, **options)
    start = start.drop_attrs(deep=False).assign_attrs({k: v for k, v in start.attrs.items() if k != "time"})
    for initial in (None, start):
        store = MemoryStore()
        expected, end = runoff.route(dataset, initial_state=initial, return_state=True, **options)
        found, state = stream(
            chunked, dataset, store, time_chunk=time_chunk, partitions=partitions, initial_state=initial,
            return_state=True, **options,
        )  # fmt: skip
        assert found.dims == expected.dims and found.dtype == expected.dtype
        xr.testing.assert_equal(found.load(), expected)
        xr.testing.assert_identical(state, end)


def test_labels_and_attributes(runoff, network, tmp_path):
    expected = runoff.route(network)
    found = stream(runoff, network, tmp_path / "q.zarr", time_chunk=7)
    xr.testing.assert_equal(found, expected)
    assert {k: v for k, v in found.attrs.items() if k != "history"} == {
        k: v for k, v in expected.attrs.items() if k != "history"
    }
    assert "routed <xroute.Network" in found.attrs["history"]
    assert found["name"].values.tolist() == runoff["name"].values.tolist()
    with xr.open_zarr(tmp_path / "q.zarr") as opened:
        assert opened["discharge"].chunksizes["time"][0] == 7


@pytest.mark.parametrize("options", [{"missing": "zero", "extra": "drop"}, {"nan": "zero"}])
def test_other_reaches_and_missing_values(options, runoff, network, tmp_path):
    if "nan" in options:
        given = runoff.where(runoff > 0.2).assign_attrs(runoff.attrs)
    else:
        given = xr.concat([runoff[:, 30:], runoff[:, [0]].assign_coords(reach=[10**6])], "reach").drop_vars("name")
    xr.testing.assert_equal(
        stream(given, network, tmp_path / "q.zarr", time_chunk=9, **options), given.route(network, **options)
    )


@pytest.mark.parametrize("chunked", [False, True])
def test_shards_are_written_whole(chunked, runoff, network, tmp_path, monkeypatch):
    written: list[int] = []
    original = xr.Dataset.to_zarr

    def spy(self, *args, region=None, **kwargs):
        if region is not None:
            written.extend((region["time"].start, region["time"].stop))
        return original(self, *args, region=region, **kwargs)

    monkeypatch.setattr(xr.Dataset, "to_zarr", spy)
    encoding = {"discharge": {"chunks": (3, 40), "shards": (12, 120)}}
    given = runoff.chunk(time=5, reach=50) if chunked else runoff
    found = stream(
        given, network, tmp_path / "q.zarr", encoding=encoding, time_chunk=20, partitions=2 if chunked else None
    )
    xr.testing.assert_equal(found, runoff.route(network))
    assert written == [0, 12, 12, 24, 24, 36, 36, 40]
    assert zarr.open_array(tmp_path / "q.zarr", path="discharge").shards == (12, 120)


def test_blocks_follow_the_chunks_of_the_source(runoff, network, monkeypatch):
    monkeypatch.setattr("xroute.chunking.BLOCK_BYTES", 4 * network.n_reaches * 10)
    for chunk, block in ((3, 9), (10, 10), (25, 25), (40, 40)):
        assert Stream.prepare(runoff.chunk(time=chunk), network, StreamRequest()).block == block
    monkeypatch.setattr("xroute.chunking.BLOCK_BYTES", 4 * network.n_reaches * 5)
    assert Stream.prepare(runoff.chunk(time=40), network, StreamRequest()).block == 40  # rather than read eight times
    few = StreamRequest(memory=150 * 4 * network.n_reaches)  # too much to be held at once: a whole number of blocks to a chunk
    assert Stream.prepare(runoff.chunk(time=40), network, few).block == 5
    assert Stream.prepare(runoff, network, StreamRequest()).block == 5


def test_long_series_are_read_block_by_block(runoff, network, tmp_path, monkeypatch):
    """Each chunk of runoff is read once, and never more than two blocks ahead of what is kept."""
    read: list[tuple[int, int]] = []
    kept = [0]
    commit = Checkpoint.commit

    def spy(self: Checkpoint, progress: Progress, *args: Any, **options: Any) -> None:
        commit(self, progress, *args, **options)
        kept.append(progress.steps)

    def block(block_info: Any = None) -> np.ndarray:
        (first, last), _ = block_info[None]["array-location"]
        read.append((first, kept[-1]))
        return runoff.values[first:last]

    monkeypatch.setattr(Checkpoint, "commit", spy)
    chunks = ((4,) * (N_TIME // 4), (network.n_reaches,))
    lazy = runoff.copy(data=da.map_blocks(block, chunks=chunks, dtype="f4", meta=np.empty((0, 0), "f4")))
    xr.testing.assert_equal(stream(lazy, network, tmp_path / "q.zarr", time_chunk=4), runoff.route(network))
    assert sorted(first for first, _ in read) == list(range(0, N_TIME, 4))
    assert all(first - done <= 8 for first, done in read) and kept[-1] == N_TIME


def test_empty_and_unlabelled(runoff, network, tmp_path):
    none = runoff.isel(time=slice(0))
    xr.testing.assert_equal(stream(none, network, tmp_path / "none.zarr", dt=DT), none.route(network, dt=DT))
    bare = runoff.drop_vars(["time", "name"])
    xr.testing.assert_equal(
        stream(bare, network, tmp_path / "bare.zarr", dt=DT, time_chunk=11), bare.route(network, dt=DT)
    )


# ── interruptions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_finished_runs_are_left_alone(runoff, network, tmp_path):
    store = tmp_path / "q.zarr"
    _, state = stream(runoff, network, store, time_chunk=7, return_state=True)
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*")}

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("something was read")

    with dask.config.set(scheduler=fail):
        lazy = runoff.copy(data=da.from_array(runoff.values, chunks=(5, -1)))
        found, again = stream(lazy, network, store, return_state=True)
    xr.testing.assert_identical(again, state)
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*")} == before
    xr.testing.assert_equal(found, runoff.route(network))
    with pytest.raises(FileExistsError, match="this run already, or its beginning: resume it"):
        stream(runoff, network, store, resume=False)
    stream(runoff, network, store, mode="w", time_chunk=11)
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*")} != before


class Disk:
    """Makes the n-th change of a local store fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: float = np.inf
        self.full = False

        for name in ("set", "delete", "set_if_not_exists"):
            original = getattr(OwnStore, name)

            async def changed(store: Any, *args: Any, original: Any = original, **kwargs: Any) -> Any:
                self.left -= 1
                if self.left < 0:
                    self.full = True
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return await original(store, *args, **kwargs)

            monkeypatch.setattr(OwnStore, name, changed)


def test_a_disk_that_is_full_at_any_moment(runoff, network, tmp_path, monkeypatch):
    short = runoff.isel(time=slice(0, 12))
    stream(short, network, tmp_path / "whole.zarr", time_chunk=4)
    disk = Disk(monkeypatch)
    refused, n = 0, 0
    while True:
        store = tmp_path / f"q{n}.zarr"
        disk.left, disk.full = n, False
        try:
            stream(short, network, store, time_chunk=4)
        except OSError as error:
            assert error.errno == errno.ENOSPC and "could not write" in str(error) and "No space left" in str(error)
            refused += 1
        else:
            assert not disk.full
            break
        disk.left = np.inf
        stream(short, network, store, time_chunk=4)
        assert_same(store, tmp_path / "whole.zarr")
        n += 1 if n < 24 else 3
    assert refused > 20


@pytest.mark.parametrize("partitions", [None, 2])
def test_runoff_that_cannot_be_read(partitions, runoff, network, tmp_path):
    store = tmp_path / "q.zarr"

    def spoil(values: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info[0]["array-location"][0][0] == 24:
            raise OSError(errno.EIO, "the tape is torn")
        return values

    lazy = runoff.chunk(time=8)
    torn = lazy.copy(data=lazy.data.map_blocks(spoil, dtype="f4", meta=np.empty((0, 0), "f4")))
    options = {"time_chunk": 8, "partitions": partitions}
    with pytest.raises(
        (XRouteError, OSError), match=r"steps 24 to 31 \(2001-01-02T00.*the tape is torn.*run again to go on"
    ):
        stream(torn, network, store, **options)
    stream(lazy, network, store, **options)
    stream(lazy, network, tmp_path / "whole.zarr", **options)
    assert_same(store, tmp_path / "whole.zarr")


def test_runoff_that_is_not_finite(runoff, network, tmp_path):
    holed = runoff.copy(data=runoff.values.copy())
    holed[30, 5] = np.nan
    holed[31, 6] = np.inf
    with pytest.raises(XRouteError, match=r"^2 values.*NaN.*first at 2001-01-02T06"):
        stream(holed, network, tmp_path / "q.zarr", time_chunk=8)
    bare = holed.drop_vars(["time", "name"])
    for _ in range(2):  # steps are counted from the start of the series, after a resumption too
        with pytest.raises(XRouteError, match=r"^2 values.*first at 30\b"):
            stream(bare, network, tmp_path / "bare.zarr", time_chunk=10, dt=DT)
    stream(runoff, network, tmp_path / "q.zarr", time_chunk=8)
    stream(runoff, network, tmp_path / "whole.zarr", time_chunk=8)
    assert_same(tmp_path / "q.zarr", tmp_path / "whole.zarr")


@pytest.mark.parametrize("moment", [0, 16])
def test_another_that_is_still_at_work(moment, runoff, network, tmp_path, monkeypatch):
    """A run that has lost its store to a second one stops, and the second is not harmed."""
    store, whole = tmp_path / "q.zarr", runoff.route(network)
    original = Stream._read
    begun: list[int] = []

    def read(self: Stream, steps: slice) -> xr.DataArray:
        if steps.start == moment and not begun:
            begun.append(1)
            xr.testing.assert_equal(stream(runoff, network, store), whole)
        return original(self, steps)

    monkeypatch.setattr(Stream, "_read", read)
    with pytest.raises((XRouteError, OSError), match=r"another run writes to .* now|could not write"):
        stream(runoff, network, store, time_chunk=8)
    xr.testing.assert_equal(stream(runoff, network, store), whole)


def test_an_error_before_the_first_block_deletes_what_is_the_runs_own(runoff, network, tmp_path, monkeypatch):
    """Not the folder that was there, nor what somebody put there meanwhile; of an interrupted run it deletes nothing."""
    torn = runoff.copy(data=np.where(np.arange(N_TIME)[:, None] == 3, np.float32(np.nan), runoff.values))
    store, whole, original = tmp_path / "q.zarr", tmp_path / "whole.zarr", Stream._read
    stream(runoff, network, whole, time_chunk=8)
    for mode in ("w-", "w"):
        with pytest.raises(XRouteError, match="NaN"):
            stream(torn, network, store, time_chunk=8, mode=mode)
        assert not store.exists()
        store.mkdir()
        with pytest.raises(XRouteError, match="NaN"):
            stream(torn, network, store, time_chunk=8, mode=mode)
        assert list(store.iterdir()) == []
        store.rmdir()

    def noted(self: Stream, steps: slice) -> xr.DataArray:
        (store / "note.txt").write_text("mine")
        return original(self, steps)

    with monkeypatch.context() as patched, pytest.raises(XRouteError, match="NaN"):
        patched.setattr(Stream, "_read", noted)
        stream(torn, network, store, time_chunk=8)
    assert (store / "note.txt").read_text() == "mine"
    stream(runoff, network, store, time_chunk=8)  # it went on from what was left
    assert differences(store, whole) == ["note.txt"]
    for stop in (KeyboardInterrupt, SystemExit):
        with monkeypatch.context() as patched, pytest.raises(stop):
            patched.setattr(Stream, "_read", lambda *_, stop=stop: (_ for _ in ()).throw(stop))
            stream(runoff, network, store, time_chunk=8, mode="w")
        assert "unfinished" in xr.open_zarr(store).attrs
        stream(runoff, network, store, time_chunk=8)
        assert_same(store, whole)


def test_resumed_with_other_chunks(runoff, network, tmp_path):
    holed = runoff.copy(data=np.where(np.arange(N_TIME)[:, None] == 30, np.float32(np.nan), runoff.values))
    for chunked in (False, True):
        store, partitions = tmp_path / f"{chunked}.zarr", 2 if chunked else None
        with pytest.raises(XRouteError, match="NaN"):
            stream(holed.chunk(time=3) if chunked else holed, network, store, time_chunk=12, partitions=partitions)
        good = runoff.chunk(time=7) if chunked else runoff
        found = stream(good, network, store, time_chunk=5, encoding={"chunks": (2, 2)}, partitions=partitions)
        xr.testing.assert_equal(found, runoff.route(network))


def test_text_ids(runoff, network, tmp_path):
    names = {i: f"reach {i}" for i in network.ids.tolist()}
    dataset = network.dataset.assign_coords(reach=[names[i] for i in network.ids.tolist()])
    dataset["downstream"] = ("reach", [names.get(i, "") for i in network.dataset["downstream"].values.tolist()])
    named = runoff.drop_vars("name").assign_coords(reach=dataset["reach"].values)
    found = stream(named, dataset, tmp_path / "q.zarr", time_chunk=9)
    np.testing.assert_array_equal(found.values, runoff.route(network).values)
    again = found.rename("runoff").route(dataset)  # ids as they come back from Zarr
    np.testing.assert_array_equal(again.values, named.copy(data=found.values).route(dataset).values)


def _campaign(folder: Path, moments: list[list[dict[str, Any]]], mode: str = "w-") -> list[tuple[int, list[str]]]:
    return list(kills.campaign(folder, moments, mode=mode))


def _overtakings(folder: Path, moments: list[int], same: bool, began: bool) -> list[tuple[bool | None, list[str]]]:
    return list(kills.overtakings(folder, moments, same=same, began=began))


@pytest.fixture(scope="module")
def apart() -> Iterator[Callable[..., Any]]:
    """Does something in a process that has no threads, so that it can be forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xroute", "xroute.engine.cpu.backend", "zarr", "dask.array", "kills"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        yield lambda work, *arguments: pool.submit(work, *arguments).result()


@pytest.mark.parametrize("mode", ["w-", "w"])
def test_killed_while_it_begins(mode, apart, tmp_path):
    """Before each of its first changes of the disk; with "w", of those by which it replaces another run."""
    before = [*range(1, 9), *range(10, 42, 8)]
    found = apart(_campaign, tmp_path, [[{"before": k}] for k in before], mode)
    assert found == [(1, [])] * len(before)


@pytest.mark.parametrize(("same", "began"), [(True, False), (True, True), (False, False), (False, True)])
def test_stopped_and_overtaken(same, began, apart, tmp_path):
    """SIGSTOP before a change of the disk, while another run resumes or replaces it: the stopped one writes nothing more."""
    found = apart(_overtakings, tmp_path, [2, 11, 41], same, began)
    assert found == [(False, [])] * 3


def test_killed_again_and_again(apart, tmp_path):
    """At random moments, each time resumed: the store ends as that of a run that nobody disturbed."""
    rng = np.random.default_rng(5)
    moments = [[{"before": int(k)} for k in rng.integers(1, 60, 5)] for _ in range(3)]
    moments += [[{"after": float(t)} for t in rng.uniform(0, 0.3, 3)] for _ in range(2)]
    found = apart(_campaign, tmp_path, moments)
    assert [different for _, different in found] == [[]] * len(moments)
    assert sum(n for n, _ in found) >= 8


# ── stores of others ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "linear_storage"}, "scheme 'muskingum' instead of 'linear_storage'"),
        ({"substeps": 2}, "substeps 1 instead of 2"),
        ({"sampling": "last"}, "sampling 'mean' instead of 'last'"),
        ({"nan": "zero"}, "nan 'raise' instead of 'zero'"),
        ({"network": 2}, "another network"),
        ({"k": 2}, "other parameters"),
        ({"time": 1}, "other reaches, times, members or dimensions"),
        ({"state": 1}, "another initial state"),
    ],
    ids=str,
)
def test_another_run(change, message, runoff, network, tmp_path):
    store = tmp_path / "q.zarr"
    dataset = network.dataset.assign(tau=("reach", np.full(network.n_reaches, 5000.0)))
    stream(runoff, dataset, store, time_chunk=8, scheme="muskingum")
    before = contents(store)
    options: dict[str, Any] = {"scheme": "muskingum"} | change
    other = runoff
    if options.pop("network", None):
        dataset = dataset.assign(downstream=("reach", np.zeros(network.n_reaches, int)))
    if options.pop("k", None):
        dataset = dataset.assign(k=1.01 * dataset["k"])
    if options.pop("time", None):
        other = runoff.isel(time=slice(1, None))
    if options.pop("state", None):
        options["initial_state"] = xroute.steady_state(
            dataset, runoff.mean("time", keep_attrs=True), dt="1h", scheme="muskingum"
        )
    with pytest.raises(FileExistsError, match=f"holds another run, of .*{message}.*mode|{message}"):
        stream(other, dataset, store, **options)
    assert contents(store) == before
    stream(other, dataset, store, mode="w", **options)
    stream(other, dataset, tmp_path / "alone.zarr", **options)
    assert_same(store, tmp_path / "alone.zarr")


def test_what_is_no_run(runoff, network, tmp_path):
    foreign = tmp_path / "foreign.zarr"
    runoff.to_dataset(name="runoff").to_zarr(foreign)
    before = contents(foreign)
    with pytest.raises(
        FileExistsError, match="holds 'name', 'reach', 'runoff', 'time', which is not the beginning of a run"
    ):
        stream(runoff, network, foreign)
    assert contents(foreign) == before
    xr.testing.assert_equal(stream(runoff, network, foreign, mode="w"), runoff.route(network))
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    array = tmp_path / "array.zarr"
    zarr.create_array(array, shape=(3,), dtype="i4")[:] = 7
    for store in (folder, str(folder), LocalStore(folder), LocalStore(str(folder)), f"file://{folder}"):
        for mode in ("w-", "w"):
            with pytest.raises((FileExistsError, XRouteError), match="holds other files, and is no Zarr store"):
                stream(runoff, network, store, mode=mode)
    assert (folder / "thesis.txt").read_text() == "years of work"
    for store in (array, LocalStore(array)):
        with pytest.raises(FileExistsError, match="'an array', which is not the beginning of a run"):
            stream(runoff, network, store)
    assert zarr.open_array(array)[0] == 7
    memory = MemoryStore()
    zarr.create_array(memory, name="mine", shape=(3,), dtype="i4")
    with pytest.raises(FileExistsError, match="'mine', which is not the beginning of a run"):
        stream(runoff, network, memory)
    with pytest.raises(XRouteError, match="a path, a URL or a Zarr store, not None"):
        stream(runoff, network, None)
    (tmp_path / "file.zarr").write_text("")
    for mode in ("w-", "w"):
        with pytest.raises((FileExistsError, XRouteError), match=r"(is|and) no Zarr store"):
            stream(runoff, network, tmp_path / "file.zarr", mode=mode)
    (tmp_path / "empty.zarr").mkdir()
    xr.testing.assert_equal(stream(runoff, network, tmp_path / "empty.zarr"), runoff.route(network))


def test_errors_come_before_anything_is_written(runoff, network, tmp_path):
    store = tmp_path / "q.zarr"
    other = xroute.Network(xroute.datasets.scheidegger(3, 4))
    state = runoff.isel(reach=slice(12)).assign_coords(reach=other.ids).route(other, return_state=True)[1]
    for error, options in (
        (ParameterError, {"time_chunk": 0}),
        (ParameterError, {"time_chunk": 2.5}),
        (ParameterError, {"time_chunk": "auto"}),
        (ParameterError, {"encoding": {"discharge": {}, "time": {}}}),
        (ParameterError, {"encoding": {"chunks": 5}}),
        (ParameterError, {"encoding": {"chunks": (5, -1)}}),
        (ParameterError, {"mode": "a"}),
        (ParameterError, {"sampling": "median"}),
        (ParameterError, {"encoding": {"chunks": (1,)}}),
        (StateError, {"initial_state": state}),
        (TypeError, {"colour": "blue"}),
    ):
        with pytest.raises(error):
            stream(runoff, network, store, **options)
        assert not store.exists()
    for wrong in (runoff.assign_coords(checkpoint=1), runoff.to_dataset(name="runoff")):
        with pytest.raises(XRouteError, match=r"a name that the store needs|is an xarray.DataArray"):
            stream(wrong, network, store)
        assert not store.exists()


# ── workers ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_on_workers(runoff, network, tmp_path):
    distributed = pytest.importorskip("distributed")
    lazy = runoff.chunk(time=3, reach=50)
    expected, end = runoff.route(network, return_state=True)
    silent = logging.CRITICAL
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=silent
        ) as cluster,
        distributed.Client(cluster),
    ):
        with pytest.raises(XRouteError, match="workers cannot write to"):
            stream(lazy, network, MemoryStore())
        assert Stream.prepare(lazy, network, StreamRequest()).spread
        with pytest.raises((XRouteError, OSError), match="NaN"):
            stream(
                lazy.where(lazy["time"] < runoff["time"][30]).assign_attrs(runoff.attrs),
                network,
                tmp_path / "q.zarr",
                time_chunk=9,
                partitions=3,
            )
        found, state = stream(lazy, network, LocalStore(os.path.relpath(tmp_path / "q.zarr")), return_state=True)
    xr.testing.assert_equal(found, expected)
    xr.testing.assert_identical(state, end)
