"""The budget of a whole run: sums of runoff and discharge as they are given, and what the states at both ends store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xroute.block_state import BlockState, StageTable, StateTable
from xroute.budget.accounts import TERMS, Sums
from xroute.budget.task import Task
from xroute.eager import route_eagerly
from xroute.engine.backends import on_host
from xroute.exceptions import XRouteError, some
from xroute.labels import Layout
from xroute.run import Run
from xroute.volumes import needs_means, stored_water

__all__ = ["budget_of_run"]


def budget_of_run(task: Task) -> dict[str, xr.DataArray]:
    """Terms (..., basin) of the whole run."""
    run, layout, settings = task.run, task.run.layout, task.run.settings
    time: Any = run.clock.dim
    runoff = task.runoff
    if settings.nan_is_zero:
        runoff = runoff.where(np.isfinite(runoff), 0)
    came = _on_reaches(_sum(runoff, time), layout, layout.row)
    went = _of_discharge(_sum(task.discharge, time), task)
    below = task.discharge < 0
    negative = _of_discharge(below.sum(time).astype(np.float64), task)
    deep = _of_discharge(_sum(task.discharge.where(below, 0), time), task)
    shift, end = _missed(task)
    start = _stored(task.run, task.start)
    if start is None:
        start = xr.zeros_like(went)
    stored = _stored(task.run, end)

    def close(came: Any, went: Any, shift: Any, negative: Any, deep: Any, start: Any, end: Any, amiss: Any) -> Any:
        came, went, negative, deep = (on_host(a) for a in (came, went, negative, deep))
        _check_finite(came, run)
        accounts, to_m3 = task.accounts, task.to_m3
        came = came * (to_m3 if run.scale is None else to_m3 * np.asarray(run.scale))
        volume = went * to_m3 + on_host(shift)
        sums = Sums(
            accounts.by_basin(came), came[..., accounts.known], volume[..., accounts.counted],
            volume[..., accounts.known] + amiss[..., : accounts.known.size] * to_m3, accounts.by_basin(negative),
            accounts.by_basin(-deep * to_m3),
        )  # fmt: skip
        return np.stack(list(accounts.close(sums, start, end).values()), axis=-2)

    found = xr.apply_ufunc(
        close, came, went, shift, negative, deep, start, stored, _amiss(task),
        input_core_dims=[*[["reach"]] * 7, ["known"]],
        output_core_dims=[["term", "basin"]], dask="parallelized", output_dtypes=[np.float64],
        dask_gufunc_kwargs={
            "output_sizes": {"term": len(TERMS), "basin": task.accounts.n_basins}, "allow_rechunk": True,
        },
    )  # fmt: skip
    return {name: found.isel(term=k) for k, name in enumerate(TERMS)}


def _check_finite(came: Any, run: Run) -> None:
    bad = ~np.isfinite(came).reshape(-1, came.shape[-1]).all(axis=0)
    if bad.any():
        raise XRouteError(
            f"runoff is NaN or infinite on {int(bad.sum())} reaches: {some(run.network.ids[bad])}. Give the options that it was "
            'routed with: nan="zero" takes such values as zero'
        )


def _sum(array: xr.DataArray, dim: Any) -> xr.DataArray:
    """Sums over time in float64, NaN where a value is."""
    return array.sum(dim, dtype=np.float64, skipna=False)


def _on_reaches(array: xr.DataArray, layout: Layout, row: Any) -> xr.DataArray:
    """Values by the network's reaches (..., reach), without coordinates; zero on reaches that have no row."""
    found = array.drop_vars(list(array.coords)).transpose(*layout.batch_dims, layout.reach_dim)
    if row is not None:
        found = found.isel({layout.reach_dim: np.maximum(row, 0)}) if found.sizes[layout.reach_dim] else found
        has = xr.DataArray(row >= 0, dims=[layout.reach_dim])
        found = found.where(has, 0.0) if found.sizes[layout.reach_dim] == row.size else xr.zeros_like(has, float)
    return found.rename({layout.reach_dim: "reach"}) if layout.reach_dim != "reach" else found


def _of_discharge(array: xr.DataArray, task: Task, *others: Any) -> xr.DataArray:
    return _on_reaches(array, replace(task.places, batch_dims=(*task.run.layout.batch_dims, *others)), task.places.row)


def _missed(task: Task) -> tuple[xr.DataArray, StateTable]:
    """Volume (..., reach) that left and is not in discharge's samples; and the state at the end."""
    run, end = task.run, task.end
    sampling = run.settings.sampling
    shift: Any = 0.0
    if needs_means(run):
        means, end = _again(task, "mean")
        own, _ = _again(task, sampling)
        shift = means - own
        end = task.end or end
    elif end is None:
        _, end = _again(task, sampling)
    assert end is not None
    if sampling == "start-mean" and not needs_means(run):
        last, first = (_outflow(run, table) for table in (end, task.start))
        assert run.settings.step is not None
        shift = (last - first) * (task.to_m3 / run.settings.substeps)
    if not isinstance(shift, xr.DataArray):
        shift = xr.DataArray(np.zeros(run.network.n_reaches), dims=["reach"])
    return shift, end


def _amiss(task: Task) -> xr.DataArray:
    """What known discharge (..., known) says more, where and when it is known, than discharge does: nothing, if all is well."""
    run, layout, time = task.run, task.run.layout, task.run.clock.dim
    if run.known is None:
        return xr.DataArray(np.zeros(1), dims=["known"])  # Dask does not take a dimension without entries
    array = task.runoff if task.runoff.chunks is not None else task.discharge
    sizes = {} if array.chunks is None else dict(zip(array.dims, array.chunks, strict=True))
    of_batch = [sizes[d] for d in layout.batch_dims] if sizes else None
    known = run.known.of_series(of_batch, sizes[time] if sizes else (array.sizes[time],)).rename(reach="known", time=time)
    said = _of_discharge(task.discharge, task, time).isel(reach=run.known.reach).rename(reach="known")
    return _sum((known - said).where(np.isfinite(known), 0.0), time)


def _again(task: Task, sampling: Any) -> tuple[xr.DataArray, StateTable]:
    """Volume (..., reach) of discharge, routed again with a sampling, and the state at the end."""
    run = replace(task.run, settings=replace(task.run.settings, sampling=sampling))
    device, layout = task.request.device, run.layout
    end: BlockState | StateTable
    if task.runoff.chunks is None:
        routed, end = route_eagerly(task.runoff, run, task.start, device)
    else:
        from xroute.chunked import route_lazily  # Dask is imported only where runoff is on it

        routed, end = route_lazily(task.runoff, run, task.start, device, task.request.partitions)
    if isinstance(end, BlockState):
        end = end.table(run.n_lags, layout.batch_shape)
    return _on_reaches(_sum(routed, run.clock.dim), layout, layout.result_row) * task.to_m3, end


def _outflow(run: Run, table: StateTable | None) -> Any:
    if table is None:
        return 0.0
    return xr.DataArray(table["channel"].outflow, dims=(*run.layout.batch_dims, "reach"))


def _stored(run: Run, table: StateTable | None) -> Any:
    """Water (..., reach) that a state's tables hold [m3], lazy where they are; None for a dry one."""
    if table is None:
        return None
    dims, names, arrays = (*run.layout.batch_dims, "reach"), [], []
    for stage, (outflow, inflow) in table.items():
        names.append((stage, inflow is not None))
        arrays.append(xr.DataArray(outflow, dims=dims))
        arrays += [] if inflow is None else [xr.DataArray(inflow, dims=(*dims, f"{stage} lag"))]

    def held(*values: Any) -> Any:
        shape = np.shape(values[0])
        return stored_water(run, BlockState.of_table(_tables(names, values), run.n_lags)).reshape(shape)

    cores = [["reach"] if array.dims == dims else ["reach", str(array.dims[-1])] for array in arrays]
    return xr.apply_ufunc(
        held, *arrays, input_core_dims=cores, output_core_dims=[["reach"]], dask="parallelized", output_dtypes=[np.float64],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )  # fmt: skip


def _tables(names: list[tuple[str, bool]], values: Any) -> StateTable:
    left = iter(values)
    return {stage: StageTable(next(left), next(left) if has else None) for stage, has in names}
