"""Which simulated steps an observed one covers, by their stamps; of a longer observed step the mean of them is taken."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import TimeAxisError, some
from xroute.gauges import GAUGE_DIMS, REACH_NAMES
from xroute.scores.months import month_windows, months_of
from xroute.scores.places import OBSERVED, SIMULATED, rows
from xroute.spacing import ROUNDED
from xroute.stamps import offsets, show, stamps
from xroute.step_match import is_point, match_steps, said_of, stamps_of
from xroute.time_dims import find_time_dim
from xroute.times import Clock, stamp_label, time_step
from xroute.wording import argument

__all__ = ["match_times", "series_dim", "series_times", "whole_along"]

Index = NDArray[np.int64]
MOST_GAPS = 50
"""How many steps a series with gaps may span, in times those that it has."""


def series_dim(array: xr.DataArray, dim: Hashable | None, what: str) -> Hashable:
    """Dimension that a series runs along.

    Raises
    ------
    TimeAxisError
        If it cannot be told.
    """
    if dim is not None:
        if dim not in array.dims:
            raise TimeAxisError(f"{what} has no dimension {dim!r}; it has {some(array.dims)}")
        return dim
    try:
        return find_time_dim(array)
    except TimeAxisError:
        if array.ndim == 1 and str(array.dims[0]).lower() not in (*REACH_NAMES, *GAUGE_DIMS):
            return array.dims[0]
        raise TimeAxisError(
            f"cannot tell along which dimension {what} runs in time: it has {some(array.dims)}. Give {argument('dim')}"
        ) from None


def whole_along(array: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """The array with one chunk along a dimension, if it is on Dask; others are split so that chunks stay small."""
    if array.chunks is None:
        return array
    sizes: dict[Hashable, Any] = {dim: -1, **{d: "auto" for d in array.dims if d != dim}}
    return array.copy(deep=False, data=array.variable.chunk(sizes).data)  # labels stay as they are, in memory


def series_times(array: xr.DataArray, dim: Hashable) -> tuple[NDArray[np.float64], bool]:
    """When each step is [s] from the first, and True; or its number, and False, where times are no dates."""
    values = stamps(array, dim, counted=True)
    if values is None or values.dtype.kind not in "mMO" or not values.size:
        return np.arange(float(array.sizes[dim])), False
    ticks, tick = offsets(values)
    return ticks / round(1 / tick), True  # hours that are whole come out whole


def match_times(
    simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on the observed times that they have in common; of longer observed steps the means of simulated ones."""
    simulated, observed = _in_order(simulated, dim, what), _in_order(observed, dim, OBSERVED)
    mine, its = stamps_of(simulated, dim, what), stamps_of(observed, dim, OBSERVED)
    by_months = [None if values is None else months_of(values) for values in (mine, its)]
    if by_months[0] is not None:
        _refuse_other_than_months(by_months, its, observed, what)
        return _same_stamps(simulated, observed, dim, what)
    regular = _without_gaps(simulated, dim, mine)
    if regular is None:
        _refuse_longer(simulated, observed, dim, what)
        return _same_stamps(simulated, observed, dim, what)
    clock = _clock(regular, dim)
    try:
        if by_months[1] is not None and not is_point(observed):
            kept, first, count = month_windows(observed, regular, clock, by_months[1])
        else:
            found = match_steps(observed, dim, regular, clock, what=OBSERVED)
            kept, first = found.source, found.first + found.step * found.every
            count = np.full(first.size, found.every)
    except TimeAxisError as error:
        text = str(error).replace("the runoff", f"the {what}").replace(" and runoff", f" and {what}")
        raise TimeAxisError(text) from error.__cause__
    observed = observed.isel({dim: rows(kept)})
    return _with_labels_of(observed, _means(regular, dim, first, count), dim), observed


def _means(simulated: xr.DataArray, dim: Hashable, first: Index, count: Index) -> xr.DataArray:
    """Means over steps ``first`` to ``first + count``, without the last; NaN where one of them is."""
    bare = simulated.drop_vars([n for n, c in simulated.coords.items() if dim in c.dims])
    if (count == 1).all():
        return bare.isel({dim: rows(first)})
    begin = np.cumsum(count) - count
    parts = bare.isel({dim: np.arange(count.sum()) + np.repeat(first - begin, count)})
    if (count == count[0]).all():
        parts = parts.astype(np.float64).coarsen({dim: int(count[0])}).construct({dim: (dim, "part of step")})
        return parts.mean("part of step", skipna=False, keep_attrs=True)
    found = xr.apply_ufunc(
        lambda values: np.add.reduceat(values, begin, axis=-1) / count, whole_along(parts, dim).astype(np.float64),
        input_core_dims=[[dim]], output_core_dims=[[dim]], exclude_dims={dim}, dask="parallelized", keep_attrs=True,
        output_dtypes=[np.float64], dask_gufunc_kwargs={"output_sizes": {dim: count.size}},
    )  # fmt: skip
    return found.transpose(*parts.dims)


def _clock(simulated: xr.DataArray, dim: Hashable) -> Clock:
    """Clock of a series of regular steps; without dates each is a step."""
    values = stamps(simulated, dim, counted=True)
    dated = values is not None and values.dtype.kind in "mMO"
    step = time_step(simulated, dim) if dated else 1.0
    with said_of(SIMULATED):
        return Clock(dim, step, stamp_label(simulated, dim, step) if "time_label" in simulated.attrs else None)


def _without_gaps(simulated: xr.DataArray, dim: Hashable, values: NDArray[Any] | None) -> xr.DataArray | None:
    """A series of one step, with NaN in gaps of whole steps; None for one that has no such step."""
    if values is None or values.dtype.kind not in "mMO" or values.size < 2:
        return simulated
    try:
        time_step(simulated, dim)
        return simulated
    except TimeAxisError:
        ticks, _ = offsets(values)
    apart = np.diff(ticks) / np.diff(ticks).min()
    if (np.abs(apart - np.rint(apart)) > ROUNDED).any() or apart.sum() > MOST_GAPS * values.size:
        return None
    place = np.concatenate([[0], np.cumsum(np.rint(apart)).astype(np.int64)])
    source = np.full(int(place[-1]) + 1, -1)
    source[place] = np.arange(values.size)
    times = values[0] + np.arange(source.size) * np.diff(values).min()
    times[place] = values
    bare = simulated.drop_vars([n for n, c in simulated.coords.items() if dim in c.dims]).astype(np.float64)
    known = xr.DataArray(source >= 0, dims=[dim])
    return bare.isel({dim: source}).where(known).assign_coords({dim: times}).assign_attrs(simulated.attrs)


def _refuse_other_than_months(
    by_months: list[int | None], its: NDArray[Any] | None, observed: xr.DataArray, what: str
) -> None:
    """Refuse observations of other steps than those of a simulation by months."""
    if by_months[1] == by_months[0] or its is None or its.size < 2 or is_point(observed):
        return
    advice = 'observed.resample(time="1MS").mean()' if by_months[0] == 1 else "resample"
    raise TimeAxisError(f"the {what} is by months, and the {OBSERVED} is not: take the same means of it first, {advice}")


def _refuse_longer(simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, what: str) -> None:
    """Refuse observed steps that are longer than those of a simulation of which no step is the step."""
    if observed.sizes[dim] < 2 or is_point(observed):
        return
    typical = []
    for array, name in ((simulated, what), (observed, OBSERVED)):
        values = stamps_of(array, dim, name)
        if values is None or values.dtype.kind not in "mMO":
            return
        ticks, tick = offsets(values)
        typical.append(float(np.median(np.diff(ticks))) * tick)
    if typical[1] > 1.5 * typical[0]:
        raise TimeAxisError(
            f"the {what} is not of one step ({typical[0]:g} s mostly), so that the means of longer observed steps "
            f"({typical[1]:g} s) cannot be told: bring it to one first (resample, or interp)"
        )


def _same_stamps(
    simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Steps with the same stamps, of series of which one is not regular."""
    mine, its = stamps_of(simulated, dim, what), stamps_of(observed, dim, OBSERVED)
    if mine is None or its is None or not its.size:
        raise TimeAxisError(f"the {what if mine is None else OBSERVED} has no times")
    at = pd.Index(mine).get_indexer(pd.Index(its))
    common = np.flatnonzero(at >= 0)
    if not common.size:
        raise TimeAxisError(
            f"the {OBSERVED} and the {what} have no time in common: {show(its[0])} to {show(its[-1])}, and {show(mine[0])} "
            f"to {show(mine[-1])}. They are not of regular steps, so that only the same stamps are the same steps: bring both to "
            "the same ones (resample)"
        )
    observed = observed.isel({dim: common})
    return _with_labels_of(observed, simulated.isel({dim: at[common]}), dim), observed


def _in_order(array: xr.DataArray, dim: Hashable, what: str) -> xr.DataArray:
    """The array in the order of its times, each of which stands once."""
    values = stamps_of(array, dim, what)
    if values is None:
        return array
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        raise TimeAxisError(f"{twice.size} times of the {what} stand more than once, first {show(ordered[twice[0]])}")
    return array if (np.diff(order) == 1).all() else array.isel({dim: order})


def _with_labels_of(observed: xr.DataArray, simulated: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """Simulated values with the coordinates of time of the observed ones."""
    bare = simulated.drop_vars([n for n, c in simulated.coords.items() if dim in c.dims])
    return bare.assign_coords({n: c for n, c in observed.coords.items() if c.dims == (dim,)})
