"""`route` for runoff on Dask: a lazy array whose tasks each take one partition through one chunk of time and members.

Chunks of time follow one another through the state, partitions through the series at the links that were cut between them;
members are independent. Tasks are pure functions of their inputs, so that one that is lost with its worker is run again and
gives the same bits. What a partition needs (plan, filter, where its rows are) is one value in the graph, shared by its tasks.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from dask.sizeof import sizeof
from numpy.typing import NDArray

from xroute.block import RouteOptions, is_cupy, route_block
from xroute.block_state import BlockState
from xroute.census import overflow
from xroute.cluster import find_client
from xroute.engine.arrays import compute_type
from xroute.exceptions import StateError, XRouteError, some
from xroute.labels import Layout
from xroute.network import Network
from xroute.options import find_device, get_option, options_here
from xroute.partition import Part, make_parts, partition
from xroute.schemes import Filter
from xroute.watch import Watch
from xroute.wording import argument

__all__ = ["LazyState", "route_lazily"]

Index = NDArray[np.int64]
REACHES = 50_000
"""Reaches that a partition has at least, where their number is not asked for: fewer are routed faster than sent about."""


@dataclass(frozen=True)
class LazyState:
    """A state whose arrays may be on Dask: outflow [*batch, reach], and inflow [*batch, reach, lag] if any reach has lags."""

    outflow: Any
    inflow: Any


# ── what tasks do ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Piece:
    """A partition and how it is routed: all that its tasks have in common.

    Attributes
    ----------
    part, filter
        The partition, and the filter of its plan's reaches.
    ids
        Ids of its own reaches, for messages.
    scale
        Factor on runoff, one or [reach of the plan].
    axes
        Order of a block's axes that makes it [*batch, row, time].
    chunks : tuple of (number of the chunk along reach, rows in it)
        Where its runoff is.
    row : int64 [reach of the plan]
        Row of each reach among those that ``chunks`` name, -1 for none.
    discharge_row : int64 [reach of the plan]
        Row of each reach in its discharge: its own reaches, in the order of the result's rows.
    options, raise_missing, device, threads
        How it is routed, what happens to runoff that is not finite, and where.
    watch
        What looks for accumulated values.
    token, number
        Under what name the piece is kept in a process that meets it again.
    """

    part: Part
    filter: Filter
    ids: NDArray[Any]
    scale: Any
    axes: tuple[int, ...]
    chunks: tuple[tuple[int, Any], ...]
    row: Index
    discharge_row: Index
    options: RouteOptions
    raise_missing: bool
    device: str | None
    threads: int | None
    watch: Watch | None
    token: str
    number: int

    def __reduce__(self) -> Any:
        """Pickled as a call that gives the piece which this process knows already, with all that it has derived."""
        return _known_piece, (self.token, self.number, tuple(getattr(self, f) for f in self.__dataclass_fields__))


KNOWN_BYTES = 2**30
"""Pieces that a process keeps."""
_KNOWN: OrderedDict[tuple[str, int], Piece] = OrderedDict()


def _known_piece(token: str, number: int, values: tuple[Any, ...]) -> Piece:
    key = token, number
    piece = _KNOWN.get(key) or Piece(*values)
    _KNOWN[key] = piece
    _KNOWN.move_to_end(key)
    while len(_KNOWN) > 1 and sum(map(sizeof, _KNOWN.values())) > KNOWN_BYTES:
        _KNOWN.popitem(last=False)
    return piece


@dataclass(frozen=True)
class _Routed:
    """What a task gives: discharge [batch, own reach, time], series for other partitions, and the state."""

    discharge: Any
    kept: Any
    state: BlockState


@sizeof.register(_Routed)  # by which a scheduler knows what is better not sent about
def _(routed: _Routed) -> int:
    return sum(int(a.nbytes) for a in (routed.discharge, routed.kept, routed.state))


@sizeof.register(BlockState)
def _(state: BlockState) -> int:
    return state.nbytes


@sizeof.register(Piece)
def _(piece: Piece) -> int:
    arrays = (*vars(piece.part.plan).values(), *piece.filter.arrays(), piece.row, piece.discharge_row, piece.ids)
    return sum(int(a.nbytes) for a in arrays if isinstance(a, np.ndarray))


def _route_piece(
    piece: Piece,
    blocks: list[Any],
    passed: list[Any],
    state: BlockState | None,
    times: NDArray[Any],
    begin: int = 0,
    _looked: None = None,
) -> _Routed:
    part, options = piece.part, piece.options
    taken = [block.transpose(piece.axes)[..., rows, :] for block, (_, rows) in zip(blocks, piece.chunks, strict=True)]
    data = taken[0] if len(taken) == 1 else _concatenate(taken)
    n_batch, n_steps = int(np.prod(data.shape[:-2], dtype=np.int64)), data.shape[-1]
    data = data.reshape(n_batch, data.shape[-2], n_steps)
    if piece.watch is not None:
        piece.watch.at(begin).look(data, first=state is None)
    fine = n_steps * options.substeps
    given = np.concatenate(
        [np.empty((n_batch, 0, fine)), *(s[:, which] for s, (_, which) in zip(passed, part.source, strict=True))], 1
    )
    kept = np.empty((n_batch, part.plan.kept.size, fine))
    with options_here(threads=piece.threads):
        discharge, end, n_bad = route_block(
            data, part.plan, piece.filter, state, options, runoff_row=piece.row, discharge_row=piece.discharge_row,
            n_rows=part.reach.size, scale=piece.scale, device=find_device(piece.device), given=given, kept=kept,
        )  # fmt: skip
    if n_bad.runoff and piece.raise_missing:
        raise _not_finite(piece, data, n_bad.runoff, times)
    if n_bad.discharge:
        raise overflow(discharge, piece.ids, piece.discharge_row[: piece.ids.size], times)
    return _Routed(discharge, kept, end)


def _concatenate(arrays: list[Any]) -> Any:
    if is_cupy(arrays[0]):
        import cupy

        return cupy.concatenate(arrays, axis=-2)
    return np.concatenate(arrays, axis=-2)


def _not_finite(piece: Piece, data: Any, n_bad: int, times: NDArray[Any]) -> XRouteError:
    bad = ~np.isfinite(data.get() if is_cupy(data) else data)
    own = piece.row[: piece.ids.size]
    has_bad = bad.any(axis=(0, 2))
    ids = piece.ids[(own >= 0) & has_bad[own]]
    first = times[np.flatnonzero(bad.any(axis=(0, 1)))[0]]
    return XRouteError(
        f"{n_bad} values of runoff are NaN or infinite, on {ids.size} reaches: {some(ids)}; first at {first}. "
        f"Fill them, or take them as zero with {argument('nan', 'zero')}"
    )


def _kept_of(routed: _Routed) -> Any:
    return routed.kept


def _state_of(routed: _Routed) -> BlockState:
    return routed.state


def _start_piece(piece: Piece, outflow: Any, inflow: Any) -> BlockState:
    """A partition's part of the state of all reaches."""
    part = piece.part
    n_batch = int(np.prod(outflow.shape[:-1], dtype=np.int64))
    own = np.zeros((n_batch, part.plan.n_reaches))
    own[:, : part.reach.size] = outflow.reshape(n_batch, -1)[:, part.reach]
    n_lags = piece.filter.n_taps[: part.reach.size] - 1
    history = np.zeros((n_batch, int(n_lags.sum())))
    if history.size:
        lags = inflow.reshape(n_batch, *inflow.shape[-2:])[:, part.reach]
        history[:] = lags[:, np.arange(lags.shape[2]) < n_lags[:, None]]
    if not (np.isfinite(own).all() and np.isfinite(history).all()):
        bad = ~np.isfinite(own[:, : part.reach.size]).all(axis=0)
        raise StateError(f"the state is not finite: {some(piece.ids[bad]) if bad.any() else 'inflow of some reaches'}")
    return BlockState.of(history, own)


@dataclass(frozen=True)
class _Rows:
    """Rows of the result in one of its chunks: of which piece, its rows, and where they go."""

    n: int
    axes: tuple[int, ...]
    of: tuple[tuple[int, slice, Any], ...]


def _gather_discharge(rows: _Rows, shape: tuple[int, ...], routed: list[_Routed]) -> Any:
    """A block of the result, its axes in the result's own order."""
    if len(routed) == 1:
        block = routed[0].discharge[:, rows.of[0][1]]
    else:
        first = routed[0].discharge
        like = {"like": first} if is_cupy(first) else {}
        block = np.empty((first.shape[0], rows.n, first.shape[2]), first.dtype, **like)
        for (_, source, target), one in zip(rows.of, routed, strict=True):
            block[:, target] = one.discharge[:, source]
    return block.reshape(*shape, *block.shape[1:]).transpose(rows.axes)


def _gather_outflow(pieces: list[Piece], shape: tuple[int, ...], states: list[BlockState]) -> Any:
    n = sum(p.part.reach.size for p in pieces)
    whole = np.empty((states[0].channel.outflow.shape[0], n))
    for piece, state in zip(pieces, states, strict=True):
        whole[:, piece.part.reach] = state.channel.outflow[:, : piece.part.reach.size]
    return whole.reshape(*shape, n)


def _gather_inflow(pieces: list[Piece], longest: int, shape: tuple[int, ...], states: list[BlockState]) -> Any:
    n = sum(p.part.reach.size for p in pieces)
    whole = np.zeros((states[0].channel.outflow.shape[0], n, longest))
    for piece, state in zip(pieces, states, strict=True):
        n_lags = piece.filter.n_taps[: piece.part.reach.size] - 1
        lags = np.zeros((whole.shape[0], n_lags.size, longest))
        lags[:, np.arange(longest) < n_lags[:, None]] = state.channel.history
        whole[:, piece.part.reach] = lags
    return whole.reshape(*shape, n, longest)


# ── the graph ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _look_ahead(watch: Watch, axes: tuple[int, ...], blocks: list[Any]) -> None:
    """Look at blocks that follow one another in time, each of which is too short to be told by itself."""
    data = np.concatenate([np.asarray(block.get() if is_cupy(block) else block).transpose(axes) for block in blocks], -1)
    watch.look(data.reshape(-1, *data.shape[-2:]))


def route_lazily(
    runoff: xr.DataArray,
    network: Network,
    layout: Layout,
    filter: Filter,
    start: LazyState | None,
    options: RouteOptions,
    *,
    scale: Any,
    raise_missing: bool,
    partitions: int | None,
    device: str | None,
    watch: Watch | None = None,
    begin: int = 0,
) -> tuple[xr.DataArray, LazyState]:
    """Route runoff on Dask; nothing is computed.

    Parameters
    ----------
    runoff, network, layout, filter, options, scale
        As `xroute.routing.route` has them.
    start
        State at the start, None for dry.
    raise_missing
        Whether a task that meets runoff which is not finite raises.
    partitions
        Into how many partitions the network is cut; None leaves it to the workers there are.
    device
        Where tasks compute; None leaves it to where they run.
    watch
        What looks for accumulated values in them.
    begin
        Step of the whole series that ``runoff`` begins at, where it is a part of it.

    Returns
    -------
    discharge
        Without name and attributes. Its chunks are those of ``runoff``.
    state
        The final state.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

    data = runoff.data
    dims = layout.dims
    sizes = dict(zip(dims, data.chunks, strict=True))
    batch_chunks = [sizes[d] for d in layout.batch_dims]
    n_members = int(np.prod([len(c) for c in batch_chunks], dtype=np.int64))
    if partitions is None:
        partitions = _partitions(network.n_reaches, n_members)
    name = device if device is not None else get_option("device")
    token = tokenize(
        data.name, data.chunks, dims, layout.row, layout.result_row, *filter.arrays(), network.ids, *network.links,
        scale, options, raise_missing, partitions, name, watch, begin, None if start is None else (start.outflow, start.inflow),
    )  # fmt: skip
    common = tokenize(
        sizes[layout.reach_dim], dims, layout.row, layout.result_row, *filter.arrays(), network.ids, *network.links, scale,
        options, raise_missing, partitions, name, watch, get_option("threads"),
    )  # fmt: skip
    pieces = _pieces(network, layout, filter, sizes, options, scale, raise_missing, partitions, name, watch, common)
    out_chunks = _result_chunks(layout, sizes)
    times = (
        runoff[layout.time_dim].values if layout.time_dim in runoff.coords else np.arange(runoff.sizes[layout.time_dim])
    )
    edges = np.concatenate([[0], np.cumsum(sizes[layout.time_dim])])
    states = _start_arrays(start, batch_chunks, da)

    core, result = f"xroute-{token}", f"xroute-discharge-{token}"
    tasks: dict[Any, Any] = {(f"piece-{token}", k): piece for k, piece in enumerate(pieces)}
    rows = _rows(pieces, layout, out_chunks)
    tasks |= {(f"rows-{token}", r): one for r, one in enumerate(rows)}
    blocks: dict[Any, Any] = {}
    ends: dict[tuple[int, ...], list[Any]] = {}

    def at(members: tuple[int, ...], chunk: int, c: int) -> tuple[int, ...]:
        """Number of a block along each of the array's own dimensions."""
        number = dict(zip(layout.engine_dims, (*members, chunk, c), strict=True))
        return tuple(number[d] for d in dims)

    for members in itertools.product(*(range(len(c)) for c in batch_chunks)):
        shape = tuple(c[i] for c, i in zip(batch_chunks, members, strict=True))
        state: list[Any] = [None] * len(pieces)
        if states is not None:
            outflow, inflow = states
            lags = None if inflow is None else (inflow.name, *members, 0, 0)
            for k in range(len(pieces)):
                state[k] = (f"start-{token}", k, *members)
                tasks[state[k]] = (_start_piece, (f"piece-{token}", k), (outflow.name, *members, 0), lags)
        looked = None
        if watch is not None and start is None and 0 < sizes[layout.time_dim][0] < watch.ahead:
            ahead = int(np.searchsorted(edges[1:], min(watch.ahead, int(edges[-1])))) + 1
            first_blocks = [(data.name, *at(members, 0, c)) for c in range(ahead)]
            axes = tuple(dims.index(d) for d in layout.engine_dims)
            looked = (f"looked-{token}", *members)
            tasks[looked] = (_look_ahead, watch.at(begin), axes, first_blocks)
        for c in range(len(sizes[layout.time_dim])):
            when = times[edges[c] : edges[c + 1]]
            for k, piece in enumerate(pieces):
                key = (core, k, *members, c)
                taken = [(data.name, *at(members, chunk, c)) for chunk, _ in piece.chunks]
                passed = [(f"kept-{token}", q, *members, c) for q, _ in piece.part.source]
                places = when, begin + int(edges[c]), None if c else looked
                tasks[key] = (_route_piece, (f"piece-{token}", k), taken, passed, state[k], *places)
                state[k] = (f"state-{token}", k, *members, c)
                tasks[state[k]] = (_state_of, key)
                if piece.part.plan.kept.size:
                    tasks[f"kept-{token}", k, *members, c] = (_kept_of, key)
            for r, one in enumerate(rows):
                routed = [(core, k, *members, c) for k, _, _ in one.of]
                blocks[result, *at(members, r, c)] = (_gather_discharge, (f"rows-{token}", r), shape, routed)
        ends[members] = state
    dependencies = [data, *(a for a in (states or ()) if a is not None)]
    graph = HighLevelGraph.from_collections(core, tasks, dependencies=dependencies)

    def array(name: str, keys: dict[Any, Any], chunks: Any, meta: Any) -> Any:
        whole = HighLevelGraph({**graph.layers, name: MaterializedLayer(keys)}, {**graph.dependencies, name: {core}})
        return da.Array(whole, name, chunks, meta=meta)

    meta = np.empty((0,) * len(dims), compute_type(data.dtype))
    if is_cupy(data._meta):
        meta = data._meta.astype(meta.dtype)
    chunks = tuple(out_chunks if d == layout.reach_dim else sizes[d] for d in dims)
    discharge = xr.DataArray(array(result, blocks, chunks, meta), dims=dims, coords=layout.coords)
    keys = [(f"piece-{token}", k) for k in range(len(pieces))]
    longest = int(filter.n_taps.max(initial=1)) - 1
    outflows, inflows = f"xroute-outflow-{token}", f"xroute-inflow-{token}"
    last: dict[Any, Any] = {}
    lag: dict[Any, Any] = {}
    for members, state in ends.items():
        shape = tuple(c[i] for c, i in zip(batch_chunks, members, strict=True))
        last[outflows, *members, 0] = (_gather_outflow, keys, shape, state)
        lag[inflows, *members, 0, 0] = (_gather_inflow, keys, longest, shape, state)
    whole = (*batch_chunks, (network.n_reaches,))
    nothing = np.empty((0,) * len(whole))
    outflow = array(outflows, last, whole, nothing)
    inflow = array(inflows, lag, (*whole, (longest,)), nothing[..., None]) if longest else None
    return discharge, LazyState(outflow, inflow)


def _partitions(n_reaches: int, n_members: int) -> int:
    """Partitions where nobody asks for a number: one, or on a cluster as many as give each worker something to do."""
    client = find_client()
    if client is None:
        return 1
    workers = len(client.nthreads())
    return max(1, min(-(-workers // max(1, n_members)), n_reaches // REACHES))


def _pieces(
    network: Network,
    layout: Layout,
    filter: Filter,
    sizes: Mapping[Hashable, tuple[int, ...]],
    options: RouteOptions,
    scale: Any,
    raise_missing: bool,
    partitions: int,
    device: str | None,
    watch: Watch | None,
    token: str,
) -> list[Piece]:
    edges = np.concatenate([[0], np.cumsum(sizes[layout.reach_dim])])
    own = np.arange(network.n_reaches)
    row = own if layout.row is None else layout.row
    result_row = own if layout.result_row is None else layout.result_row
    axes = tuple(layout.dims.index(d) for d in layout.engine_dims)
    pieces = []
    for number, part in enumerate(_parts(network, partitions)):
        wanted = row[part.reach]
        rows = np.sort(wanted[wanted >= 0])  # no row is two reaches'
        chunks = []
        for chunk in np.unique(np.searchsorted(edges, rows, side="right") - 1):
            inside = rows[(rows >= edges[chunk]) & (rows < edges[chunk + 1])] - edges[chunk]
            chunks.append((int(chunk), _as_slice(inside)))
        if not chunks:  # no runoff at all, but a block tells how many steps there are
            chunks = [(0, slice(0, 0))]
        none = np.full(part.given.size, -1)
        place = np.empty(part.reach.size, np.int64)
        place[np.argsort(result_row[part.reach])] = np.arange(part.reach.size)
        factor = scale
        if scale is not None and np.ndim(scale):
            factor = np.concatenate([np.broadcast_to(scale, own.size)[part.reach], np.ones(none.size)])
        pieces.append(Piece(
            part, part.filter(filter), network.ids[part.reach], factor, axes, tuple(chunks),
            np.concatenate([np.where(wanted >= 0, np.searchsorted(rows, wanted), -1), none]),
            np.concatenate([place, none]), options, raise_missing, device, get_option("threads"), watch, token,
            number,
        ))  # fmt: skip
    return pieces


def _parts(network: Network, partitions: int) -> list[Part]:
    """Partitions of a network, none of them empty; the last are kept with it, for one block after another."""
    known: dict[int, list[Part]] = network.__dict__.setdefault("_parts", {})
    if partitions not in known:
        known.clear()
        label = np.unique(partition(network.plan, partitions), return_inverse=True)[1]
        known[partitions] = make_parts(network.plan, label)
    return known[partitions]


def _as_slice(rows: Index) -> Any:
    """The same rows as a slice, if they are one: then nothing is copied."""
    if rows.size and rows[-1] - rows[0] == rows.size - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _rows(pieces: list[Piece], layout: Layout, chunks: tuple[int, ...]) -> list[_Rows]:
    """For each chunk of the result's rows, where they come from."""
    axes = tuple(layout.engine_dims.index(d) for d in layout.dims)
    edges = np.concatenate([[0], np.cumsum(chunks)])
    result = []
    ranked = []
    for piece in pieces:
        reach = piece.part.reach
        ranked.append(np.sort(reach if layout.result_row is None else layout.result_row[reach]))
    for first, last in itertools.pairwise(edges):
        of: list[tuple[int, slice, Any]] = []
        for k, targets in enumerate(ranked):
            begin, end = np.searchsorted(targets, [first, last])
            if end > begin or (last == first and not of):
                of.append((k, slice(int(begin), int(end)), _as_slice(targets[begin:end] - first)))
        result.append(_Rows(int(last - first), axes, tuple(of)))
    return result


def _result_chunks(layout: Layout, sizes: Mapping[Hashable, tuple[int, ...]]) -> tuple[int, ...]:
    """Chunks of the result along reach: the runoff's own, cut or drawn out where reaches were dropped or added."""
    given, n = sizes[layout.reach_dim], int(layout.sizes[layout.reach_dim])
    if sum(given) == n:
        return given
    largest = max(1, *given)
    return tuple(min(largest, n - first) for first in range(0, n, largest)) or (0,)


def _start_arrays(start: LazyState | None, batch_chunks: list[tuple[int, ...]], da: Any) -> tuple[Any, Any] | None:
    """The initial state on Dask, in the chunks of the members, all reaches together."""
    if start is None:
        return None
    n = len(batch_chunks)
    arrays: list[Any] = []
    for array in (start.outflow, start.inflow):
        if array is None or array.shape[-1] == 0:
            arrays.append(None)
            continue
        chunks = (*batch_chunks, *((size,) for size in array.shape[n:]))
        arrays.append(array.rechunk(chunks) if isinstance(array, da.Array) else da.from_array(array, chunks))
    return arrays[0], arrays[1]
