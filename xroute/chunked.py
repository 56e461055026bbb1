"""Runoff on Dask: a lazy array whose tasks each take one partition of the network through one chunk of time and members.

Chunks of time follow one another through the state, partitions through the series at the links that were cut between them;
members are independent. What a task does stands in `xroute.tasks`; here their graph is made. What a partition needs (plan,
filter, where its rows are) is one value in the graph, shared by its tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from numpy.typing import NDArray

from xroute import tasks
from xroute.block_state import StageTable, StateTable, stored_name
from xroute.caches import keep
from xroute.census import step_labels
from xroute.cluster import find_client
from xroute.engine.arrays import Rows, compute_type
from xroute.engine.backends import backend_of_array
from xroute.known import KnownOnDask
from xroute.labels import Layout
from xroute.network import Network
from xroute.options import get_option
from xroute.partition import Partition, make_partitions, partition
from xroute.run import Run
from xroute.tasks import PartitionRun, ResultRows

__all__ = ["route_lazily"]

Index = NDArray[np.int64]
MemberChunk = tuple[int, ...]
"""Number of a chunk of members along each batch dimension."""
Tasks = dict[Any, Any]
"""Tasks of Dask, by key."""

MIN_REACHES = 50_000
"""Reaches that a partition has at least, where their number is not asked for: fewer are routed faster than sent about."""


def route_lazily(
    runoff: xr.DataArray,
    run: Run,
    start: StateTable | None,
    device: str | None = None,
    partitions: int | None = None,
    first: int = 0,
) -> tuple[xr.DataArray, StateTable]:
    """Route runoff on Dask, the whole series or a block of it that begins at step ``first``; nothing is computed.

    Parameters
    ----------
    start
        State at its start, as `Run.start` gives it; None is dry.
    device
        Where tasks compute; None leaves it to the options, and failing those to where they run.
    partitions
        Into how many partitions of tributaries the network is cut; None leaves it to the workers there are.

    Returns
    -------
    discharge
        Without name and attributes. Its chunks are those of ``runoff``.
    end
        State at its end, on Dask.
    """
    chunks = _Chunks(runoff.data, run.layout)
    n_partitions = partitions or _n_partitions(run.network.n_reaches, len(list(chunks.of_members)))
    device = device if device is not None else get_option("device")
    # what is done, whatever the runoff that it is done to
    slopes = () if run.slopes is None else run.slopes.arrays()
    known = None if run.known is None else run.known.reach
    how = tokenize(
        known, run.layout.dims, run.layout.row, run.layout.result_row, *run.filter.arrays(), run.network.ids, *run.network.links,
        run.scale, run.settings, run.watch, n_partitions, device, *slopes,
    )  # fmt: skip
    # by this name a partition is known again: in the next block of a stream too, which has the same chunks along reach
    name = tokenize(chunks.sizes[run.layout.reach_dim], how, get_option("threads"))
    runs = _partition_runs(run, chunks, n_partitions, device, name)
    tables = None if start is None else {stage: tuple(table) for stage, table in start.items()}
    lazy = None if run.known is None else run.known.on_dask(first, chunks.of_batch, chunks.sizes[run.layout.time_dim])
    graph = _Graph(
        run, chunks, runs, _result_rows(runs, run.layout, chunks.of_result), _on_dask(start, chunks), lazy,
        step_labels(runoff, run.clock.dim, first), first,
        tokenize(chunks.data.name, chunks.data.chunks, how, first, tables, None if lazy is None else lazy.array.name),
    )  # fmt: skip
    work = graph.shared()
    ends = {}
    for members in chunks.of_members:
        begin, state = _start_tasks(graph, members)
        steps, ends[members] = _routing_tasks(graph, members, state)
        work |= begin | steps
    whole = HighLevelGraph.from_collections(graph.name, work, dependencies=[chunks.data, *graph.other_arrays()])
    return _discharge(graph, whole), _end(graph, whole, ends)


@dataclass(frozen=True, eq=False)
class _Chunks:
    """How runoff on Dask is chunked."""

    data: Any
    layout: Layout

    @cached_property
    def sizes(self) -> Mapping[Hashable, tuple[int, ...]]:
        """Sizes of the chunks by dimension."""
        return dict(zip(self.layout.dims, self.data.chunks, strict=True))

    @property
    def of_batch(self) -> list[tuple[int, ...]]:
        """Sizes of the chunks along each batch dimension."""
        return [self.sizes[d] for d in self.layout.batch_dims]

    @property
    def of_result(self) -> tuple[int, ...]:
        """Sizes of the result's chunks along reach: the runoff's, cut or drawn out where reaches were dropped or added."""
        own, n = self.sizes[self.layout.reach_dim], int(self.layout.sizes[self.layout.reach_dim])
        if sum(own) == n:
            return own
        largest = max(1, *own)
        return tuple(min(largest, n - first) for first in range(0, n, largest)) or (0,)

    @property
    def of_members(self) -> Iterator[MemberChunk]:
        """All chunks of members."""
        return itertools.product(*(range(len(c)) for c in self.of_batch))

    def shape(self, members: MemberChunk) -> tuple[int, ...]:
        """How many members such a chunk has, along each batch dimension."""
        return tuple(c[i] for c, i in zip(self.of_batch, members, strict=True))

    @cached_property
    def edges(self) -> Index:
        """Steps between the chunks of time, the first and the last included."""
        return np.concatenate([[0], np.cumsum(self.sizes[self.layout.time_dim])])

    def number(self, members: MemberChunk, of_reach: int, of_time: int) -> tuple[int, ...]:
        """Number of a block along each of the array's own dimensions."""
        along = dict(zip(self.layout.engine_dims, (*members, of_reach, of_time), strict=True))
        return tuple(along[d] for d in self.layout.dims)

    def key(self, members: MemberChunk, of_reach: int, of_time: int) -> tuple[Any, ...]:
        """Key of a block of runoff."""
        return self.data.name, *self.number(members, of_reach, of_time)

    @property
    def axes(self) -> tuple[int, ...]:
        """Order of a block's axes that makes it [*batch, row, time]."""
        return tuple(self.layout.dims.index(d) for d in self.layout.engine_dims)


@dataclass(frozen=True, eq=False)
class _Graph:
    """What all tasks of a graph are made of.

    Attributes
    ----------
    run, chunks
        The run, and how its runoff is chunked.
    partition_runs
        The partitions of the network, and how each is routed.
    result_rows
        For each chunk of the result along reach, where its rows come from.
    start
        State at the start, on Dask in the chunks of the members; None is dry.
    known
        Discharge that is known, in the chunks of the members and of time; None where none is.
    times, first
        Labels of the steps, and the number of the first of them in the whole series.
    token
        What names of tasks end in: the same for the same work.
    """

    run: Run
    chunks: _Chunks
    partition_runs: list[PartitionRun]
    result_rows: list[ResultRows]
    start: StateTable | None
    known: KnownOnDask | None
    times: NDArray[Any]
    first: int
    token: str

    @property
    def name(self) -> str:
        """Name of the layer of all tasks, and of those that route."""
        return f"xroute-{self.token}"

    def shared(self) -> Tasks:
        """Values that several tasks share."""
        return {
            **{(f"partition-{self.token}", k): run for k, run in enumerate(self.partition_runs)},
            **{(f"rows-{self.token}", r): rows for r, rows in enumerate(self.result_rows)},
        }

    def other_arrays(self) -> list[Any]:
        """The arrays of the state at the start, and of what is known."""
        start = [array for table in (self.start or {}).values() for array in table if array is not None]
        return start if self.known is None else [*start, self.known.array]


# ── tasks, by members ───────────────────────────────────────────────────────────────────────────────────────────────────


def _start_tasks(graph: _Graph, members: MemberChunk) -> tuple[Tasks, list[Any]]:
    """Tasks that take each partition's part of the state at the start; and their keys, None for a dry one."""
    n = len(graph.partition_runs)
    if graph.start is None:
        return {}, [None] * n
    stages, arrays = list(graph.start), []
    for outflow, inflow in graph.start.values():
        arrays.append([(outflow.name, *members, 0), None if inflow is None else (inflow.name, *members, 0, 0)])
    keys = [(f"start-{graph.token}", k, *members) for k in range(n)]
    work: Tasks = {
        key: (tasks.start_partition, (f"partition-{graph.token}", k), stages, arrays) for k, key in enumerate(keys)
    }
    return work, keys


def _routing_tasks(graph: _Graph, members: MemberChunk, state: list[Any]) -> tuple[Tasks, list[Any]]:
    """Tasks that route each partition through each chunk of time; and the keys of their states at the end."""
    chunks, token, state = graph.chunks, graph.token, list(state)
    work, looked = _look_task(graph, members)
    shape = chunks.shape(members)
    for c, (begin, end) in enumerate(itertools.pairwise(chunks.edges.tolist())):
        for k, run in enumerate(graph.partition_runs):
            key = graph.name, k, *members, c
            blocks = [chunks.key(members, chunk, c) for chunk, _ in run.chunks]
            kept_above = [(f"kept-{token}", q, *members, c) for q, _ in run.partition.source]
            known = () if graph.known is None or run.known is None else (graph.known.key(members, c), shape)
            work[key] = (
                tasks.route_partition, (f"partition-{token}", k), blocks, kept_above, state[k], graph.times[begin:end],
                graph.first + begin, None if c else looked, *known,
            )  # fmt: skip
            state[k] = (f"state-{token}", k, *members, c)
            work[state[k]] = (getattr, key, "state")
            if run.partition.plan.kept.size:
                work[f"kept-{token}", k, *members, c] = (getattr, key, "kept")
    return work, state


def _look_task(graph: _Graph, members: MemberChunk) -> tuple[Tasks, Any]:
    """A task that looks for accumulated values where the first chunk of time is too short to tell; and its key."""
    watch, chunks = graph.run.watch, graph.chunks
    if watch is None or graph.first or not 0 < chunks.edges[1] < watch.ahead:
        return {}, None
    n = int(np.searchsorted(chunks.edges[1:], min(watch.ahead, int(chunks.edges[-1])))) + 1
    blocks = [chunks.key(members, 0, c) for c in range(n)]
    key = (f"looked-{graph.token}", *members)
    return {key: (tasks.look_ahead, watch.at(graph.first), chunks.axes, blocks)}, key


# ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _discharge(graph: _Graph, whole: HighLevelGraph) -> xr.DataArray:
    """Discharge, whose blocks are gathered from the partitions that have rows in them."""
    layout, chunks = graph.run.layout, graph.chunks
    name = f"xroute-discharge-{graph.token}"
    blocks = {}
    for members in chunks.of_members:
        shape = chunks.shape(members)
        for c in range(chunks.edges.size - 1):
            for r, rows in enumerate(graph.result_rows):
                routed = [(graph.name, k, *members, c) for k, _, _ in rows.sources]
                blocks[name, *chunks.number(members, r, c)] = (
                    tasks.gather_discharge, (f"rows-{graph.token}", r), shape, routed
                )  # fmt: skip
    dtype = compute_type(chunks.data.dtype)
    on_device = backend_of_array(chunks.data._meta) is not None
    meta = chunks.data._meta.astype(dtype) if on_device else np.empty((0,) * len(layout.dims), dtype)
    sizes = tuple(chunks.of_result if d == layout.reach_dim else chunks.sizes[d] for d in layout.dims)
    return xr.DataArray(_array(graph, whole, name, blocks, sizes, meta), dims=layout.dims, coords=layout.coords)


def _end(graph: _Graph, whole: HighLevelGraph, ends: dict[MemberChunk, list[Any]]) -> StateTable:
    """State at the end, of all partitions together, in the chunks of the members."""
    keys = [(f"partition-{graph.token}", k) for k in range(len(graph.partition_runs))]
    sizes = (*graph.chunks.of_batch, (graph.run.network.n_reaches,))
    nothing = np.empty((0,) * len(sizes))
    found = {}
    for stage, n_lags in graph.run.n_lags.items():
        longest = int(n_lags.max(initial=0))
        outflow, inflow = (f"xroute-{stored_name(stage, name)}-{graph.token}" for name in ("outflow", "inflow"))
        outflows, inflows = {}, {}
        for members, states in ends.items():
            shape = graph.chunks.shape(members)
            outflows[outflow, *members, 0] = (tasks.gather_outflow, keys, stage, shape, states)
            inflows[inflow, *members, 0, 0] = (tasks.gather_inflow, keys, stage, longest, shape, states)
        found[stage] = StageTable(
            _array(graph, whole, outflow, outflows, sizes, nothing),
            _array(graph, whole, inflow, inflows, (*sizes, (longest,)), nothing[..., None]) if longest else None,
        )
    return found


def _array(graph: _Graph, whole: HighLevelGraph, name: str, blocks: Tasks, sizes: Any, meta: Any) -> Any:
    """An array of Dask whose blocks take what the graph's tasks give."""
    layers = {**whole.layers, name: MaterializedLayer(blocks)}
    return da.Array(HighLevelGraph(layers, {**whole.dependencies, name: {graph.name}}), name, sizes, meta=meta)


# ── partitions, and where their rows are ────────────────────────────────────────────────────────────────────────────────


def _n_partitions(n_reaches: int, n_members: int) -> int:
    """Partitions where nobody asks for a number: one, or on a cluster as many as give each worker something to do."""
    client = find_client()
    if client is None:
        return 1
    workers = len(client.nthreads())
    return max(1, min(-(-workers // max(1, n_members)), n_reaches // MIN_REACHES))


def _cut(network: Network, n: int) -> list[Partition]:
    """Partitions of a network, none of them empty; the last are kept with it, for one block after another."""

    def make() -> list[Partition]:
        return make_partitions(network.plan, np.unique(partition(network.plan, n), return_inverse=True)[1])

    return keep(network, ("partitions", n), make, most=1)


def _partition_runs(run: Run, chunks: _Chunks, n: int, device: str | None, name: str) -> list[PartitionRun]:
    """The network's n partitions, and where the rows of each are in the chunks of runoff and in its own discharge."""
    layout, n_reaches = run.layout, run.network.n_reaches
    row, result_row = (np.arange(n_reaches) if r is None else r for r in (layout.row, layout.result_row))
    edges = np.concatenate([[0], np.cumsum(chunks.sizes[layout.reach_dim])])
    runs = []
    for number, part in enumerate(_cut(run.network, n)):
        wanted = row[part.reach]
        rows = np.sort(wanted[wanted >= 0])  # no row is two reaches'
        taken = []
        for chunk in np.unique(np.searchsorted(edges, rows, side="right") - 1):
            inside = rows[(rows >= edges[chunk]) & (rows < edges[chunk + 1])] - edges[chunk]
            taken.append((int(chunk), _as_slice(inside)))
        if not taken:  # no runoff at all, but a block tells how many steps there are
            taken = [(0, slice(0, 0))]
        none = np.full(part.given.size, -1)
        own_row = np.empty(part.reach.size, np.int64)  # its discharge has its reaches in the order of the result
        own_row[np.argsort(result_row[part.reach])] = np.arange(part.reach.size)
        scale = run.scale
        if scale is not None and np.ndim(scale):
            scale = np.concatenate([np.broadcast_to(scale, n_reaches)[part.reach], np.ones(none.size)])
        own_rows = Rows(
            np.concatenate([np.where(wanted >= 0, np.searchsorted(rows, wanted), -1), none]),
            np.concatenate([own_row, none]), part.reach.size, scale,
        )  # fmt: skip
        slopes = None if run.slopes is None else part.filter(run.slopes)
        runs.append(PartitionRun(
            part, part.filter(run.filter), slopes, run.network.ids[part.reach], run.settings, device, get_option("threads"),
            run.watch, chunks.axes, tuple(taken), own_rows, (name, number),
            None if run.known is None else run.known.rows_of(part.reach),
        ))  # fmt: skip
    return runs


def _result_rows(runs: list[PartitionRun], layout: Layout, sizes: tuple[int, ...]) -> list[ResultRows]:
    """For each chunk of the result's rows, where they come from."""
    axes = tuple(layout.engine_dims.index(d) for d in layout.dims)
    row = layout.result_row
    ranked = [np.sort(p.partition.reach if row is None else row[p.partition.reach]) for p in runs]
    result = []
    for first, last in itertools.pairwise(np.concatenate([[0], np.cumsum(sizes)])):
        sources: list[tuple[int, slice, Any]] = []
        for k, targets in enumerate(ranked):
            begin, end = np.searchsorted(targets, [first, last])
            if end > begin or (last == first and not sources):
                sources.append((k, slice(int(begin), int(end)), _as_slice(targets[begin:end] - first)))
        result.append(ResultRows(int(last - first), axes, tuple(sources)))
    return result


def _as_slice(rows: Index) -> Any:
    """The same rows as a slice, if they are one: then nothing is copied."""
    if rows.size and rows[-1] - rows[0] == rows.size - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _on_dask(state: StateTable | None, chunks: _Chunks) -> StateTable | None:
    """A state on Dask, in the chunks of the members, all reaches together."""

    def chunked(array: Any) -> Any:
        if array is None or array.shape[-1] == 0:
            return None
        sizes = (*chunks.of_batch, *((size,) for size in array.shape[len(chunks.of_batch) :]))
        return array.rechunk(sizes) if isinstance(array, da.Array) else da.from_array(array, sizes)

    return None if state is None else {name: StageTable(*map(chunked, table)) for name, table in state.items()}
