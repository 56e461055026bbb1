"""What a task of Dask does: route one partition of a network through one chunk of time and members, and put results together.

Tasks are pure functions of what they are given, so that one that is lost with its worker is run again and gives the same
bits. `xroute.chunked` makes the graph of them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from numpy.typing import NDArray

from xroute.block import route_block
from xroute.block_state import BlockState, Lags, StageTable, lags_of
from xroute.census import check_finite
from xroute.engine.arrays import Exchange, Rows
from xroute.engine.backends import on_host
from xroute.known import KnownRows
from xroute.options import find_device, options_here
from xroute.partition import Partition
from xroute.schemes import Filter
from xroute.settings import RoutingSettings
from xroute.state import load_state
from xroute.watch import Watch

__all__ = [
    "PartitionRun", "ResultRows", "Routed", "gather_discharge", "gather_inflow", "gather_outflow", "look_ahead",
    "route_partition", "start_partition",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class PartitionRun:
    """A partition and how it is routed: all that its tasks have in common.

    Attributes
    ----------
    partition, filter, hillslope
        The partition, the filter of its plan's reaches, and that of their hillslopes, None where there are none.
    ids
        Ids of its own reaches, for messages.
    settings, device, threads
        How it is routed, and where; None leaves it to where its tasks run.
    watch
        What looks for accumulated values.
    axes
        Order of a block's axes that makes it [*batch, row, time].
    chunks : tuple of (number of the chunk along reach, rows in it)
        Where its runoff is.
    rows
        Row of each reach of the plan among those that ``chunks`` name; and in its discharge, which has its own reaches in the
        order of the result's rows.
    key : tuple of str and int
        Under what name it is kept in a process that meets it again.
    known
        Which of its reaches are known; None where none is.
    """

    partition: Partition
    filter: Filter
    hillslope: Filter | None
    ids: NDArray[Any]
    settings: RoutingSettings
    device: str | None
    threads: int | None
    watch: Watch | None
    axes: tuple[int, ...]
    chunks: tuple[tuple[int, Any], ...]
    rows: Rows
    key: tuple[str, int]
    known: KnownRows | None = None

    def __reduce__(self) -> Any:
        """Pickled as a call that gives what this process knows already, with all that was derived of it."""
        return _met_before, (self.key, tuple(getattr(self, name) for name in self.__dataclass_fields__))

    @property
    def n_lags(self) -> Lags:
        """Past inflows that each of its own reaches needs, by stage of the state."""
        return {stage: n_lags[: self.ids.size] for stage, n_lags in lags_of(self.filter, self.hillslope).items()}


MOST_BYTES = 2**30
"""Of partitions that a process keeps."""
_MET: OrderedDict[tuple[str, int], PartitionRun] = OrderedDict()


def _met_before(key: tuple[str, int], values: tuple[Any, ...]) -> PartitionRun:
    run = _MET.get(key) or PartitionRun(*values)
    _MET[key] = run
    _MET.move_to_end(key)
    while len(_MET) > 1 and sum(map(sizeof, _MET.values())) > MOST_BYTES:
        _MET.popitem(last=False)
    return run


@dataclass(frozen=True, eq=False)
class Routed:
    """What a task gives: discharge [batch, own reach, time], what other partitions need of it, and the state at its end.

    What they need is the series of the plan's kept reaches: `xroute.engine.arrays.Exchange`.
    """

    discharge: Any
    kept: Any
    state: BlockState


@dataclass(frozen=True, eq=False)
class ResultRows:
    """Rows of the result in one of its chunks.

    Attributes
    ----------
    n
        How many.
    axes
        Order of [*batch, row, time] that makes it the result's.
    sources : tuple of (partition, its rows, where they go)
        Where they come from.
    """

    n: int
    axes: tuple[int, ...]
    sources: tuple[tuple[int, slice, Any], ...]


@sizeof.register(Routed)  # by which a scheduler knows what is better not sent about
def _(routed: Routed) -> int:
    return sum(int(a.nbytes) for a in (routed.discharge, routed.kept, routed.state))


@sizeof.register(BlockState)
def _(state: BlockState) -> int:
    return state.nbytes


@sizeof.register(PartitionRun)
def _(run: PartitionRun) -> int:
    filters = (run.filter,) if run.hillslope is None else (run.filter, run.hillslope)
    arrays = (*vars(run.partition.plan).values(), *(a for f in filters for a in f.arrays()), *run.rows, run.ids)
    return sum(int(a.nbytes) for a in arrays if isinstance(a, np.ndarray))


def route_partition(
    run: PartitionRun,
    blocks: list[Any],
    kept_above: list[Any],
    state: BlockState | None,
    times: NDArray[Any],
    first: int = 0,
    _looked: None = None,
    known: Any = None,
    shape: tuple[int, ...] = (),
) -> Routed:
    """Route a partition through a chunk.

    Parameters
    ----------
    blocks
        Blocks of runoff, one for each of ``run.chunks``.
    kept_above
        Series that the partitions that drain to it kept, in the order of ``run.partition.source``.
    times, first
        Labels of the chunk's steps, for messages, and the number of the first of them in the whole series.
    _looked
        A task that must have been done before.
    known, shape
        The block of what is known, if some of it is the partition's, and how many members there are along each batch dimension.
    """
    part, settings = run.partition, run.settings
    taken = [block.transpose(run.axes)[..., rows, :] for block, (_, rows) in zip(blocks, run.chunks, strict=True)]
    data = taken[0] if len(taken) == 1 else np.concatenate(taken, axis=-2)
    n_batch, n_steps = math.prod(data.shape[:-2]), data.shape[-1]
    data = data.reshape(n_batch, data.shape[-2], n_steps)
    if run.watch is not None:
        run.watch.at(first).look(data, at_start=first == 0)
    n_substeps = n_steps * settings.substeps
    given = np.concatenate(
        [np.empty((n_batch, 0, n_substeps)), *(s[:, at] for s, (_, at) in zip(kept_above, part.source, strict=True))], 1
    )
    kept = np.empty((n_batch, part.plan.kept.size, n_substeps))
    with options_here(threads=run.threads):
        discharge, end, n_bad = route_block(
            data, part.plan, run.filter, state, settings, run.rows, device=find_device(run.device),
            exchange=Exchange(given, kept), hillslope=run.hillslope,
            known=None if run.known is None else run.known.of_block(known, shape, times),
        )  # fmt: skip
    own = Rows(run.rows.runoff[: run.ids.size], run.rows.discharge[: run.ids.size])
    check_finite(n_bad, settings, data, discharge, run.ids, own, lambda: times)
    return Routed(discharge, kept, end)


def look_ahead(watch: Watch, axes: tuple[int, ...], blocks: list[Any]) -> None:
    """Look for accumulated values in blocks that follow one another in time, each of which is too short to tell."""
    data = np.concatenate([on_host(block).transpose(axes) for block in blocks], -1)
    watch.look(data.reshape(-1, *data.shape[-2:]))


# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def start_partition(run: PartitionRun, stages: list[str], tables: list[list[Any]]) -> BlockState:
    """A partition's part of a state, of the outflow and inflow of each stage on all reaches; others' reaches hold nothing."""
    part = run.partition
    own = {stage: StageTable(*table).take(part.reach) for stage, table in zip(stages, tables, strict=True)}
    return load_state(own, run.n_lags, run.ids).pad(part.given.size)


def gather_outflow(runs: list[PartitionRun], stage: str, shape: tuple[int, ...], states: list[BlockState]) -> Any:
    """Outflow [*batch, reach] of a stage of the whole network's state."""
    n = sum(run.ids.size for run in runs)
    whole = np.empty((math.prod(shape), n))
    for run, state in zip(runs, states, strict=True):
        whole[:, run.partition.reach] = state.stages[stage].outflow[:, : run.ids.size]
    return whole.reshape(*shape, n)


def gather_inflow(
    runs: list[PartitionRun], stage: str, longest: int, shape: tuple[int, ...], states: list[BlockState]
) -> Any:
    """Inflow [*batch, reach, lag] of a stage of the whole network's state."""
    n = sum(run.ids.size for run in runs)
    whole = np.zeros((math.prod(shape), n, longest))
    for run, state in zip(runs, states, strict=True):
        inflow = state.stages[stage].inflow(run.n_lags[stage])
        if inflow is not None:
            whole[:, run.partition.reach, : inflow.shape[2]] = inflow
    return whole.reshape(*shape, n, longest)


# ── discharge ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def gather_discharge(rows: ResultRows, shape: tuple[int, ...], routed: list[Routed]) -> Any:
    """A block of the result, its axes in the result's own order."""
    if len(routed) == 1:
        block = routed[0].discharge[:, rows.sources[0][1]]
    else:
        first = routed[0].discharge
        block = np.empty((first.shape[0], rows.n, first.shape[2]), first.dtype, like=first)
        for (_, source, target), one in zip(rows.sources, routed, strict=True):
            block[:, target] = one.discharge[:, source]
    return block.reshape(*shape, *block.shape[1:]).transpose(rows.axes)
