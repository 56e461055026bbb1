"""The water budget of each step: routed again, step by step, since what rivers store at every step nobody has kept.

Series on Dask are taken chunk by chunk of time and members, each a task that hands the state on to the next.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xroute.block_state import HILLSLOPE, BlockState, StageTable, StateTable
from xroute.budget.accounts import TERMS, Accounts, Sums, by_reach
from xroute.budget.task import Task
from xroute.eager import route_values
from xroute.engine.backends import on_host
from xroute.options import find_device
from xroute.run import Run
from xroute.state import load_state
from xroute.volumes import needs_means, stored_water

__all__ = ["budget_by_step"]


def budget_by_step(task: Task) -> dict[str, xr.DataArray]:
    """Terms (..., time, basin) of the budget of each step."""
    run, start, layout = task.run, task.start, task.run.layout
    runoff = task.runoff.transpose(*layout.engine_dims)
    discharge = task.discharge.transpose(*layout.batch_dims, ..., run.clock.dim)
    walk = _Walk(replace(run, watch=None), task.accounts, task.places.row, task.to_m3, task.request.device)
    if runoff.chunks is None and discharge.chunks is None:
        state = None if start is None else load_state(start, run.n_lags, run.network.ids)
        found, _ = walk(np.asarray(on_host(runoff.data)), np.asarray(on_host(discharge.data)), state)
    else:
        found = _lazily(walk, runoff, discharge, start)
    whole = xr.DataArray(found, dims=(*layout.batch_dims, "term", run.clock.dim, "basin"))
    return {name: whole.isel(term=k) for k, name in enumerate(TERMS)}


@dataclass(frozen=True, eq=False)
class _Walk:
    """Goes through a block step by step."""

    run: Run
    accounts: Accounts
    row: Any
    to_m3: float
    device: str | None

    def of_members(self, part: Mapping[Hashable, slice]) -> _Walk:
        """Of some of the members."""
        return self if self.run.known is None else replace(self, run=self.run.of_members(part))

    def __call__(self, runoff: Any, discharge: Any, state: BlockState | None, first: int = 0) -> tuple[Any, BlockState]:
        """Terms [*batch, term, time, basin] of a block of runoff and discharge [*batch, row, time], and the state at its end."""
        run, batch, n_steps = self.run, runoff.shape[:-2], runoff.shape[-1]
        runoff, discharge = (array.reshape(-1, *array.shape[-2:]) for array in (runoff, discharge))
        n_batch = runoff.shape[0]
        now = BlockState.dry(run.n_lags, n_batch) if state is None else state
        sizes: dict[Any, int] = {"series": n_batch, "row": run.layout.sizes[run.layout.reach_dim], "time": 1}
        layout = replace(
            run.layout, dims=("series", "row", "time"), batch_dims=("series",), reach_dim="row", time_dim="time", sizes=sizes
        )
        one = replace(run, layout=layout)
        result = np.empty((n_batch, len(TERMS), n_steps, self.accounts.n_basins))
        before = stored_water(run, now)
        for k in range(n_steps):
            sums, now, after = self._step(one, runoff[..., k : k + 1], discharge[..., k], now, first + k)
            result[:, :, k] = np.stack(list(self.accounts.close(sums, before, after).values()), axis=1)
            before = after
        return result.reshape(*batch, *result.shape[1:]), now

    def _step(self, run: Run, runoff: Any, discharge: Any, now: BlockState, first: int) -> tuple[Sums, BlockState, Any]:
        """Sums of a step, the state at its end, and what that stores."""
        settings, accounts, layout, to_m3 = run.settings, self.accounts, run.layout, self.to_m3
        means = replace(run, settings=replace(settings, sampling="mean"))
        block = xr.DataArray(runoff, dims=("series", "row", "time"))
        routed, end = route_values(block, means, now, find_device(self.device), first)
        came = runoff[..., 0].astype(np.float64)
        came = by_reach(np.where(np.isfinite(came), came, 0.0), layout.row)  # what is not finite was refused, or is zero
        came = came if run.scale is None else came * run.scale
        went = by_reach(discharge.astype(np.float64), self.row)
        below = np.where(went < 0, went, 0.0)
        late = np.zeros_like(went)
        if settings.sampling == "start-mean":
            late = (end.channel.outflow - now.channel.outflow) / settings.substeps
        elif needs_means(run):
            joins = came if run.hillslope is None else end.stages[HILLSLOPE].outflow
            last = end.channel.outflow + (joins if settings.lateral == "outlet" else 0.0)
            late = by_reach(on_host(routed)[..., 0].astype(np.float64), layout.result_row) - last
        held = went[:, accounts.known] + late[:, accounts.known]
        if run.known is not None:  # what is known is no sample
            known = run.known.block(first, 1).values[..., 0]
            there = np.isfinite(known)
            held = np.where(there, known, held)
            late[:, accounts.known] = np.where(there, 0.0, late[:, accounts.known])
        went = went + late
        sums = Sums(
            accounts.by_basin(came) * to_m3, came[:, accounts.known] * to_m3, went[:, accounts.counted] * to_m3,
            held * to_m3, accounts.by_basin((below < 0).astype(np.float64)),
            accounts.by_basin(-below * to_m3),
        )  # fmt: skip
        return sums, end, stored_water(self.run, end)


# ── on Dask ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _lazily(walk: _Walk, runoff: xr.DataArray, discharge: xr.DataArray, start: StateTable | None) -> Any:
    """Terms [*batch, term, time, basin] on Dask: a task for each chunk of members and time, with all reaches."""
    import dask
    import dask.array as da

    layout = walk.run.layout
    like = runoff if runoff.chunks is not None else discharge
    sizes = dict(zip(like.dims, like.chunks or (), strict=True))
    members = [sizes[d] for d in layout.batch_dims]
    times = sizes[walk.run.clock.dim]

    def blocks(array: xr.DataArray) -> Any:
        whole = (array.sizes[array.dims[-2]],)
        data = array.data if array.chunks is not None else da.from_array(array.data, chunks=(*members, whole, times))
        return data.rechunk((*members, whole, times)).to_delayed()

    pieces = [blocks(runoff), blocks(discharge)]
    shared, go, load = dask.delayed(walk, traverse=False), dask.delayed(_go, nout=2), dask.delayed(_load)
    edges = np.concatenate([[0], np.cumsum(times)])
    found: Any = np.empty([len(m) for m in members] + [1], dtype=object)
    for at in itertools.product(*(range(len(m)) for m in members)):
        shape = tuple(m[i] for m, i in zip(members, at, strict=True))
        state = None if start is None else load(shared, *_part(start, members, at))
        part = dask.delayed(walk.of_members(dict(zip(layout.batch_dims, _slices(members, at), strict=True))), traverse=False)
        row = []
        for c in range(len(times)):
            terms, state = go(part, *(piece[(*at, 0, c)] for piece in pieces), state, int(edges[c]))
            size = (*shape, len(TERMS), times[c], walk.accounts.n_basins)
            row.append(da.from_delayed(terms, size, np.float64))
        found[(*at, 0)] = da.concatenate(row, axis=len(shape) + 1)
    return _joined(found, 0)


def _slices(members: Any, at: tuple[int, ...]) -> list[slice]:
    """A chunk of members, as a slice along each batch dimension."""
    first = [int(np.sum(sizes[:i])) for sizes, i in zip(members, at, strict=True)]
    return [slice(f, f + sizes[i]) for f, sizes, i in zip(first, members, at, strict=True)]


def _go(walk: _Walk, runoff: Any, discharge: Any, state: Any, first: int) -> Any:
    return walk(np.asarray(on_host(runoff)), np.asarray(on_host(discharge)), state, first)


def _part(start: StateTable, members: Any, at: tuple[int, ...]) -> tuple[list[str], list[Any]]:
    """A chunk of members of a state's tables."""
    where = tuple(_slices(members, at))
    arrays = [[None if array is None else array[where] for array in table] for table in start.values()]
    return list(start), arrays


def _load(walk: _Walk, stages: list[str], arrays: list[Any]) -> BlockState:
    table = {stage: StageTable(*pair) for stage, pair in zip(stages, arrays, strict=True)}
    return load_state(table, walk.run.n_lags, walk.run.network.ids)


def _joined(found: Any, axis: int) -> Any:
    """One array of Dask, of chunks of members, dimension by dimension."""
    import dask.array as da

    if found.ndim == 1:
        return found[0]
    return da.concatenate([_joined(part, axis + 1) for part in found], axis=axis)
