"""Each chunk of runoff is read once, whatever its layout, within the memory that is stated; the result has the same bits."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as some
from xarray.backends.common import BackendArray
from xarray.core import indexing
from zarr.storage import MemoryStore, WrapperStore

import xroute
from xroute.exceptions import ParameterError
from xroute.grids.form import grid_identity, weights_dataset
from xroute.lanes import Lanes
from xroute.memory import available_memory, default_memory, memory_bytes
from xroute.reader import Reader
from xroute.reads import pieces_of, read_dtype, source_of
from xroute.request import StreamRequest
from xroute.scratch import Scratch, scratch_folder
from xroute.streaming import Stream

N_TIME = 96
STEP = 4 * 120
"""Bytes of a step of all reaches."""
LITTLE = 30_000
"""Bytes that hold some six steps, and no row of 24."""


@pytest.fixture(scope="module")
def network() -> xroute.Network:
    return xroute.Network(xroute.datasets.scheidegger(12, 10, seed=1))


@pytest.fixture(scope="module")
def runoff(network: xroute.Network) -> xr.DataArray:
    rng = np.random.default_rng(0)
    time = np.datetime64("2001-01-01", "ns") + np.arange(N_TIME) * np.timedelta64(1, "h")
    values = rng.random((N_TIME, network.n_reaches)).astype(np.float32)
    coords = {"time": time, "reach": network.ids}
    return xr.DataArray(values, coords, ("time", "reach"), "runoff", {"units": "m3 s-1"})


class Counting(WrapperStore[Any]):
    """A store that counts how often each chunk of runoff is read."""

    def __init__(self, store: Any, reads: Counter[str] | None = None) -> None:
        super().__init__(store)
        self.reads: Counter[str] = Counter() if reads is None else reads

    def _with_store(self, store: Any) -> Counting:
        return type(self)(store, self.reads)

    def with_read_only(self, read_only: bool = False) -> Counting:
        return self._with_store(self._store.with_read_only(read_only))

    async def get(self, key: str, *args: Any, **options: Any) -> Any:
        if key.startswith("runoff/c/"):
            self.reads[key] += 1
        return await self._store.get(key, *args, **options)


class CountingArray(BackendArray):
    """Values that are read in chunks, as a file of netCDF is: what touches a chunk decodes it."""

    def __init__(self, values: np.ndarray, chunks: tuple[int, ...]) -> None:
        self.values, self.chunks, self.reads = values, chunks, Counter[tuple[int, ...]]()
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        at = [np.unique(np.arange(n)[k] // size) for n, k, size in zip(self.shape, key, self.chunks, strict=True)]
        self.reads.update(map(tuple, np.stack(np.meshgrid(*at), -1).reshape(-1, len(at)).tolist()))
        return self.values[
            np.ix_(*(np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)))
        ].reshape(
            tuple(
                np.arange(n)[k].size
                for n, k in zip(self.shape, key, strict=True)
                if not isinstance(k, int | np.integer)
            )
        )


def test_what_is_opened_lazily_is_read_as_it_lies(network: xroute.Network, runoff: xr.DataArray) -> None:
    """Not cell by cell: what xarray makes of a file's variable that is transposed before it is read."""
    keys: list[indexing.ExplicitIndexer] = []

    class Noting(CountingArray):
        def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
            keys.append(key)
            return super().__getitem__(key)

    array = Noting(runoff.values, runoff.shape)
    variable = xr.Variable(runoff.dims, indexing.LazilyIndexedArray(array), runoff.attrs)
    opened = xr.DataArray(variable, runoff.coords, name="runoff")
    expected = runoff.route(network)
    found = opened.route(network)
    np.testing.assert_array_equal(found, expected)
    assert found.dims == expected.dims and len(keys) == 1
    streamed = stream(opened, network, time_chunk=20)
    np.testing.assert_array_equal(streamed.transpose(*expected.dims), expected)
    assert len(keys) > 1 and not any(isinstance(key, indexing.VectorizedIndexer) for key in keys)
    with pytest.raises(AssertionError):  # which xarray's own transposing does
        keys.clear()
        opened.transpose("reach", "time").values  # noqa: B018
        assert not any(isinstance(key, indexing.VectorizedIndexer) for key in keys)


def stored(
    runoff: xr.DataArray, chunks: tuple[int, ...], *, dask: bool = False, **encoding: Any
) -> tuple[xr.DataArray, Counting]:
    store = Counting(MemoryStore())
    encoding = {"runoff": {"chunks": chunks, **encoding}}
    runoff.to_dataset(name="runoff").to_zarr(store, encoding=encoding, consolidated=False)
    opened = xr.open_zarr(store, chunks={} if dask else None, consolidated=False)["runoff"]
    store.reads.clear()
    return opened, store


def lazy(runoff: xr.DataArray, chunks: tuple[int, ...]) -> tuple[xr.DataArray, CountingArray]:
    array = CountingArray(runoff.values, chunks)
    preferred = dict(zip(runoff.dims, chunks, strict=True))
    variable = xr.Variable(
        runoff.dims, indexing.LazilyIndexedArray(array), runoff.attrs, {"preferred_chunks": preferred}
    )
    opened = xr.DataArray(variable, runoff.coords, name="runoff")
    opened.encoding = {"preferred_chunks": preferred}
    return opened, array


def stream(runoff: xr.DataArray, network: Any, **options: Any) -> xr.DataArray:
    return xroute.route_to_zarr(runoff, network, MemoryStore(), progress=False, **options)


def reader_of(runoff: xr.DataArray, network: Any, **options: Any) -> Reader:
    return Stream.prepare(runoff, network, StreamRequest(**options))._reader(None)


# ── once ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

LAYOUTS = {"tiles": (24, 40), "series": (N_TIME, 5), "one reach": (N_TIME, 1), "steps": (7, 120), "odd": (31, 50)}


@pytest.mark.parametrize("memory", ["1GB", LITTLE])
@pytest.mark.parametrize("on_dask", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_chunk_is_read_once(layout, on_dask, memory, network, runoff):
    chunks = LAYOUTS[layout]
    opened, store = stored(runoff, chunks, dask=on_dask)
    for time_chunk in (None, 10):
        store.reads.clear()
        found = stream(opened, network, memory=memory, time_chunk=time_chunk)
        assert len(store.reads) == -(-N_TIME // chunks[0]) * -(-120 // chunks[1])
        assert set(store.reads.values()) == {1}
        np.testing.assert_array_equal(found.values, runoff.route(network).values)


@pytest.mark.parametrize("memory", ["1GB", LITTLE])
def test_a_part_of_a_file(memory, network, runoff):
    """Its first chunks are cut, and blocks do not begin where chunks do."""
    array, counts = lazy(runoff, (24, 40))
    part = array.isel(time=slice(10, 90))
    found = stream(part, network, memory=memory)
    assert set(counts.reads.values()) == {1} and len(counts.reads) == 4 * 3
    np.testing.assert_array_equal(found.values, runoff.isel(time=slice(10, 90)).route(network).values)
    shuffled = np.random.default_rng(1).permutation(120)
    counts.reads.clear()
    found = stream(array.isel(reach=shuffled), network)  # rows are then taken of all chunks together
    assert set(counts.reads.values()) == {1}
    np.testing.assert_array_equal(found.values, runoff.isel(reach=shuffled).route(network).values)


@settings(max_examples=40, deadline=None)
@given(some.data())
def test_any_layout_of_any_members(data):
    """Against the whole in memory: any chunks, parts, orders of dimensions, blocks and memory."""
    network = xroute.Network(xroute.datasets.scheidegger(4, 3, seed=data.draw(some.integers(0, 5))))
    n_time, members = data.draw(some.integers(1, 40)), data.draw(some.integers(1, 6))
    values = np.random.default_rng(0).random((n_time, members, network.n_reaches))
    coords = {"reach": network.ids}
    whole = xr.DataArray(values, coords, ("time", "member", "reach"), attrs={"units": "m3 s-1"})
    whole = whole.transpose(*data.draw(some.permutations(whole.dims)))
    chunks = tuple(data.draw(some.integers(1, n)) for n in whole.shape)
    array, counts = lazy(whole, chunks)
    begin = data.draw(some.integers(0, n_time - 1))
    part = {"time": slice(begin, None), "member": slice(data.draw(some.integers(0, members - 1)), None)}
    memory = data.draw(some.sampled_from([None, 3_000, 8_000, 20_000, 60_000]))
    time_chunk = data.draw(some.sampled_from([None, None, 1, 3, 7]))
    options = {"dt": 3600.0, "memory": memory, "time_chunk": time_chunk}
    found, state = stream(array.isel(part), network, return_state=True, **options)
    expected, end = whole.isel(part).route(network, dt=3600.0, return_state=True)
    np.testing.assert_array_equal(found.values, expected.values)
    xr.testing.assert_identical(state.compute(), end)
    touched = set(counts.reads.values())
    assert touched == {1}


def test_where_there_is_no_room_it_is_said(network, runoff, monkeypatch):
    monkeypatch.setattr("xroute.reader.scratch_folder", lambda *_: None)
    opened, store = stored(runoff, (N_TIME, 5))
    with pytest.warns(UserWarning, match=r"is read 16\.0 times: a block is 6 steps.*room for a row.*TMPDIR") as told:
        found = stream(opened, network, memory=LITTLE)
    assert set(store.reads.values()) == {16}
    np.testing.assert_array_equal(found.values, runoff.route(network).values)
    advised = re.search(r'memory="(\w+)"', str(told[0].message))
    assert advised is not None
    store.reads.clear()
    stream(opened, network, memory=advised[1])
    assert set(store.reads.values()) == {1}


def test_the_memory_to_give_for_packed_chunks_suffices(network, runoff, monkeypatch):
    """What decoding a large chunk takes is part of it: with too little for that, no disk would help."""
    monkeypatch.setattr("xroute.reads.PIECE_BYTES", 1)
    encoding = {"dtype": "i4", "scale_factor": 1 / 1024, "_FillValue": -1}
    opened, store = stored(runoff.astype("f8", keep_attrs=True), (48, 60), **encoding)
    expected = stream(opened, network, memory="1GB").values
    store.reads.clear()
    with pytest.warns(UserWarning, match=r"is read 8\.0 times.*no room for what reading one takes \(141 kB\)") as told:
        stream(opened, network, memory=2 * LITTLE, time_chunk=6)
    assert set(store.reads.values()) == {8}
    message = next(str(one.message) for one in told if "is read" in str(one.message))
    advised = re.search(r'memory="(\w+)"', message)
    assert advised is not None and "TMPDIR" not in message
    store.reads.clear()
    found = stream(opened, network, memory=advised[1], time_chunk=6)
    assert set(store.reads.values()) == {1}
    np.testing.assert_array_equal(found.values, expected)


def test_a_look_ahead_reads_nothing_twice(network, runoff):
    """Where attributes say that values accumulate, two days are looked at before an hour is routed."""
    told = runoff.assign_attrs(GRIB_stepType="accum")
    for chunks, memory, time_chunk in (((1, 120), None, 1), ((24, 40), None, 5), ((N_TIME, 5), LITTLE, 5)):
        array, counts = lazy(told, chunks)
        found = stream(array, network, memory=memory, time_chunk=time_chunk)
        assert set(counts.reads.values()) == {1}
        np.testing.assert_array_equal(found.values, runoff.route(network).values)
    hours = (np.arange(N_TIME) - 1) % 24 + 1.0  # the value of midnight is the whole day's
    climbing = told.copy(data=np.broadcast_to(hours[:, None], told.shape))
    for chunks, memory in (((1, 120), None), ((N_TIME, 5), LITTLE)):
        with pytest.raises(xroute.XRouteError, match="accumulates"):
            stream(lazy(climbing.astype("f4", keep_attrs=True), chunks)[0], network, memory=memory, time_chunk=5)


def test_a_run_that_is_cut_off_reads_what_is_left(network, runoff, tmp_path):
    opened, store = stored(runoff, (24, 40))
    holed = runoff.copy(data=np.where(np.arange(N_TIME)[:, None] == 50, np.float32(np.nan), runoff.values))
    for memory in (LITTLE, None):
        folder = tmp_path / f"{memory}.zarr"
        with pytest.raises(xroute.XRouteError, match="NaN"):
            xroute.route_to_zarr(
                stored(holed, (24, 40))[0], network, folder, memory=memory, time_chunk=8, progress=False
            )
        store.reads.clear()
        found = xroute.route_to_zarr(opened, network, folder, memory=memory, progress=False)
        assert set(store.reads.values()) == {1} and len(store.reads) == 2 * 3  # of four rows of chunks, the last two
        np.testing.assert_array_equal(found.values, runoff.route(network).values)


# ── packed ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("packed", "expected"), [("i2", "f4"), ("u1", "f4"), ("i4", "f4"), ("i8", "f8")])
@pytest.mark.parametrize("on_dask", [False, True])
def test_packed_numbers(packed, expected, on_dask, network, runoff):
    encoding = {"dtype": packed, "scale_factor": 1 / 128, "add_offset": 0.25, "_FillValue": 0}
    values = (1 + np.arange(N_TIME * 120).reshape(N_TIME, 120) % 100) / 128 + 0.25  # exact in float32
    exact = runoff.copy(data=values).astype(np.float64, keep_attrs=True)
    opened, _ = stored(exact, (24, 40), dask=on_dask, **encoding)
    assert opened.dtype == np.float64 and read_dtype(opened) == expected
    assert read_dtype(opened.load() if not on_dask else exact) == np.float64
    for memory in (None, 2 * LITTLE):
        opened, store = stored(exact, (24, 40), dask=on_dask, **encoding)
        found = stream(opened, network, memory=memory)
        assert found.dtype == expected and set(store.reads.values()) == {1}
        np.testing.assert_array_equal(found.values, exact.astype(expected, keep_attrs=True).route(network).values)


@pytest.mark.parametrize("on_dask", [False, True])
@pytest.mark.parametrize("chunks", [(24, 3, 4), (N_TIME, 2, 5), (N_TIME, 1, 1), (7, 8, 15)], ids=str)
def test_a_packed_grid(chunks, on_dask, network):
    """Each chunk of a grid is read once too, and packed numbers of it are float32 when they are routed."""
    rng = np.random.default_rng(1)
    values = rng.integers(1, 100, (N_TIME, 8, 15)) / 128 + 0.25  # exact in float32
    coords = {"time": np.datetime64("2001-01-01", "ns") + np.arange(N_TIME) * np.timedelta64(1, "h"),
              "lat": np.arange(8.0), "lon": np.arange(15.0)}  # fmt: skip
    grid = xr.DataArray(values, coords, ("time", "lat", "lon"), "runoff", {"units": "mm"})
    row, column = np.divmod(np.arange(network.n_reaches), 15)
    attrs = grid_identity(grid, ("lat", "lon"))
    weights = weights_dataset(network.ids, (row, column), np.full(row.size, 1e6), catchment=network.ids, attrs=attrs)
    encoding = {"dtype": "i4", "scale_factor": 1 / 128, "add_offset": 0.25, "_FillValue": 0}
    expected = grid.astype(np.float32, keep_attrs=True).route(network, weights=weights)
    for memory in (None, 3 * LITTLE):
        opened, store = stored(grid, chunks, dask=on_dask, **encoding)
        assert opened.dtype == np.float64
        found = stream(opened, network, weights=weights, memory=memory)
        assert found.dtype == np.float32 and set(store.reads.values()) == {1}
        np.testing.assert_allclose(found.values, expected.values, rtol=2e-6)


def test_chunks_of_a_grid_that_are_too_large_are_told(network, monkeypatch):
    """Read in parts, of which none takes of two chunks: as often as the warning says."""
    monkeypatch.setattr("xroute.grids.lazy.READ_BYTES", 1)
    monkeypatch.setattr("xroute.grids.lazy.MOST_BYTES", 10 * 120 * 4)
    dims, times = ("time", "lat", "lon"), np.datetime64("2001-01-01", "ns") + np.arange(N_TIME) * np.timedelta64(1, "h")
    values = np.random.default_rng(1).random((N_TIME, 8, 15)).astype(np.float32)
    coords = {"time": times, "lat": np.arange(8.0), "lon": np.arange(15.0)}
    grid = xr.DataArray(values, coords, dims, "runoff", {"units": "mm"})
    row, column = np.divmod(np.arange(network.n_reaches), 15)
    weights = weights_dataset(
        network.ids, (row, column), np.full(row.size, 1e6), catchment=network.ids, attrs=grid_identity(grid, dims[1:])
    )
    opened, store = stored(grid, (21, 4, 5))
    with pytest.warns(UserWarning, match=r"grid is read 3\.6 times: .* are 10 kB together, and at most 4\.8 kB"):
        found = xroute.remap(opened, weights).load()
    assert set(store.reads.values()) == {2, 4}  # the last chunk is shorter
    np.testing.assert_array_equal(found.values, xroute.remap(grid, weights).values)
    opened, store = stored(grid, (10, 4, 5))
    xroute.remap(opened, weights).load()  # of which a warning would be an error here
    assert set(store.reads.values()) == {1}


# ── what it takes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_memory_is_kept(network, runoff, monkeypatch):
    """No array of runoff that is larger than stated is made on the way: neither rows, nor pieces, nor blocks."""
    opened, _ = stored(runoff, (N_TIME, 5))
    reader = reader_of(opened, network, memory=LITTLE)
    assert not reader.direct and reader.folder is not None and reader.block == 6
    made: list[int] = []
    monkeypatch.setattr("xroute.reader.pieces_of", lambda *given: _noted(pieces_of(*given), made))
    stream(opened, network, memory=LITTLE)
    assert made and max(made) * 4 <= LITTLE // 3
    reader = reader_of(opened, network, memory=6 * N_TIME * STEP + LITTLE)
    assert reader.direct and reader.block == N_TIME  # a block of all steps, without a scratch file
    reader = reader_of(stored(runoff, (48, 40))[0], network, memory=105_000, time_chunk=12)
    assert not reader.direct and reader.folder is None and not reader.again  # rows in memory


def _noted(pieces: Any, made: list[int]) -> Any:
    for piece in pieces:
        made.append(int(np.prod([part.stop - part.start for part in piece.values()])))
        yield piece


def test_too_little_memory_is_said(network, runoff):
    with pytest.warns(UserWarning, match="is too little: a block of 1 steps of 1 members takes some 11 kB"):
        stream(runoff, network, memory=1000)


@pytest.mark.parametrize("memory", [0, -5, "8XB", "much", "", True, float("nan"), "1e400GB", [8]])
def test_memory_that_is_none(memory, network, runoff):
    with pytest.raises(ParameterError, match=r"memory= is a number of bytes, or text such as '8GB'"):
        stream(runoff, network, memory=memory)


def test_memory_in_words():
    assert [memory_bytes(m) for m in ("8GB", "8 gb", "500MiB", "1e3", 7, "2k", ".5G")] == [
        8 * 10**9, 8 * 10**9, 500 * 2**20, 1000, 7, 2000, 5 * 10**8,
    ]  # fmt: skip
    free = available_memory()
    assert memory_bytes(None) == default_memory() <= 4 * 10**9 and (free is None or free > 2**20)


# ── pieces and scratch files ────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=50, deadline=None)
@given(some.data())
def test_pieces_are_whole_chunks_and_make_the_part(data):
    shape = tuple(data.draw(some.integers(1, 12)) for _ in range(3))
    chunks = tuple(data.draw(some.integers(1, n)) for n in shape)
    array, _ = lazy(xr.DataArray(np.zeros(shape), dims=("a", "b", "c")), chunks)
    source = source_of(array)
    part = {}
    for dim in array.dims:
        edges = source.edges[dim].tolist()
        first = data.draw(some.integers(0, len(edges) - 2))
        part[dim] = slice(edges[first], edges[data.draw(some.integers(first + 1, len(edges) - 1))])
    most = data.draw(some.integers(1, 8 * 500))
    covered = np.zeros(shape, int)
    for piece in pieces_of(source, array.sizes, part, 8, most):
        covered[tuple(piece[d] for d in array.dims)] += 1
        assert all({piece[d].start, piece[d].stop} <= set(source.edges[d].tolist()) for d in array.dims)
        size = 8 * np.prod([piece[d].stop - piece[d].start for d in array.dims])
        assert size <= max(most, 8 * np.prod(chunks))
    expected = np.zeros(shape, int)
    expected[tuple(part[d] for d in array.dims)] = 1
    np.testing.assert_array_equal(covered, expected)


def test_a_scratch_file_leaves_nothing(tmp_path):
    file = Scratch(tmp_path, [(2, 3, 4), (2, 3, 1)], np.dtype("f4"))
    assert not list(tmp_path.iterdir())  # it has no name, so that it goes with the process
    values = np.random.default_rng(0).random((2, 3, 4)).astype("f4")
    for rows in (slice(2, 3), slice(0, 2)):
        file.put(0, [slice(0, 2)], rows, values[:, rows])
    file.put(1, [slice(1, 2)], slice(0, 3), values[1:, :, :1])
    np.testing.assert_array_equal(file.take(0), values)
    np.testing.assert_array_equal(file.take(0, slice(1, 3)), values[0, 1:])
    np.testing.assert_array_equal(file.take(1)[1], values[1, :, :1])
    file.close()
    assert scratch_folder(10**18) is None
    folder = scratch_folder(1000)
    assert folder is None or Path(folder) == Path(tempfile.gettempdir())


def test_lanes():
    lanes = Lanes(("model", "member"), (3, 5), (2, 2))
    assert len(lanes) == 6 and lanes.counts == (2, 3)
    numbers = np.concatenate([lanes.members(k) for k in range(6)])
    assert sorted(numbers.tolist()) == list(range(15)) and lanes.members(1).tolist() == [2, 3, 7, 8]
    assert len(Lanes((), (), ())) == 1 and Lanes((), (), ()).box(0) == {}


def test_the_scheduler_of_dask_reads_once_too(network, runoff):
    opened, store = stored(runoff, (24, 40), dask=True)
    with dask.config.set(scheduler="synchronous"):
        found = stream(opened, network, memory=LITTLE)
    assert set(store.reads.values()) == {1} and zarr.__version__
    np.testing.assert_array_equal(found.values, runoff.route(network).values)
