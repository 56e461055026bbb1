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
from xroute.scores.places import OBSERVED, SIMULATED
from xroute.spacing import SHORTEST_MONTH, calendar_steps
from xroute.stamps import offsets, show, stamps
from xroute.step_match import match_steps, said_of
from xroute.time_dims import find_time_dim
from xroute.times import Clock, stamp_label, time_step
from xroute.wording import argument

__all__ = ["match_times", "series_dim", "series_times", "whole_along"]



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
    return ticks * tick, True


def match_times(
    simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on the observed times that they have in common; of longer observed steps the means of simulated ones."""
    simulated = _in_order(simulated, dim, what)
    clock = _clock(simulated, dim)
    if clock is None or not _comparable(observed, dim):
        return _same_stamps(simulated, observed, dim, what)
    try:
        found = match_steps(observed, dim, simulated, clock, what=OBSERVED)
    except TimeAxisError as error:
        text = str(error).replace("the runoff", f"the {what}").replace(" and runoff", f" and {what}")
        raise TimeAxisError(text) from error.__cause__
    observed = observed.isel({dim: found.source})
    steps = found.first + found.step * found.every
    if found.every == 1:
        simulated = simulated.isel({dim: steps})
    else:
        at = (steps[:, None] + np.arange(found.every)).ravel()
        bare = simulated.isel({dim: at}).drop_vars([n for n, c in simulated.coords.items() if dim in c.dims])
        parts = bare.coarsen({dim: found.every}).construct({dim: (dim, "part of step")})
        simulated = parts.mean("part of step", skipna=False, keep_attrs=True)
    return _with_labels_of(observed, simulated, dim), observed


def _clock(simulated: xr.DataArray, dim: Hashable) -> Clock | None:
    """Clock of a regular series; None for one that is not, of which only the same stamps are the same steps."""
    try:
        step = time_step(simulated, dim)
    except TimeAxisError:
        values = stamps(simulated, dim, counted=True)
        if values is not None and values.dtype.kind in "mMO":
            return None
        step = 1.0  # no dates: each is a step
    with said_of(SIMULATED):
        return Clock(dim, step, stamp_label(simulated, dim, step) if "time_label" in simulated.attrs else None)


def _comparable(observed: xr.DataArray, dim: Hashable) -> bool:
    """Whether observed steps are of one length; months are not."""
    values = stamps(observed, dim, counted=True)
    if values is None or values.dtype.kind not in "MO" or values.size < 2:
        return True
    values = np.sort(values)
    ticks, tick = offsets(values)
    return float(np.median(np.diff(ticks)) * tick) < SHORTEST_MONTH or calendar_steps(values) is None


def _same_stamps(
    simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Steps with the same stamps, of series of which one is not regular."""
    mine, its = (stamps(a, dim, counted=True) for a in (simulated, observed))
    if mine is None or its is None:
        raise TimeAxisError(f"the {what if its is None else OBSERVED} has times, and the other none")
    observed = _in_order(observed, dim, OBSERVED)
    of_sim, of_obs = pd.Index(mine), pd.Index(np.sort(its))
    at = of_sim.get_indexer(of_obs)
    common = np.flatnonzero(at >= 0)
    if not common.size:
        raise TimeAxisError(
            f"the {OBSERVED} and the {what} have no time in common: {show(of_obs[0])} to {show(of_obs[-1])}, and {show(mine[0])} "
            f"to {show(mine[-1])}. They are not of regular steps, so that only the same stamps are the same steps: bring both to "
            'the same ones, for example simulated.resample(time="1MS").mean()'
        )
    observed = observed.isel({dim: common})
    return _with_labels_of(observed, simulated.isel({dim: at[common]}), dim), observed


def _in_order(array: xr.DataArray, dim: Hashable, what: str) -> xr.DataArray:
    """The array in the order of its times, each of which stands once."""
    with said_of(what):
        values = stamps(array, dim, counted=True)
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
