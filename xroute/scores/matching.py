"""Which simulated value is compared with which observed one: gauges, times and members by label, units converted.

Only labels are read. Observed gauges are found among the reaches of the simulation by id (`xroute.gauges`), observed steps among
its steps (`xroute.step_match`); of a longer observed step the mean of the steps that it covers is compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, one_of, some, warn
from xroute.gauges import GAUGE_DIMS, REACH_NAMES, find_gauges
from xroute.ids import ID_KINDS, exact_ids, positions_of, repeated
from xroute.settings import EXTRA, Extra
from xroute.stamps import offsets, show, stamps, time_coordinate
from xroute.step_match import match_steps, said_of
from xroute.time_dims import find_time_dim
from xroute.times import Clock, stamp_label, time_step
from xroute.units import unit_factor, require_array
from xroute.wording import argument

__all__ = ["OBSERVED", "SIMULATED", "Matched", "match", "match_places", "series_dim", "series_times", "whole_along"]

Index = NDArray[np.int64]
SIMULATED, OBSERVED = "simulated discharge", "observed discharge"
"""What they are called in messages."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Simulated and observed discharge with the same times, gauges and members, as float64 in the same units.

    Attributes
    ----------
    dim
        Dimension of time.
    """

    simulated: xr.DataArray
    observed: xr.DataArray
    dim: Hashable


def match(
    simulated: Any, observed: Any, dim: Hashable | None = None, extra: Extra = "raise", what: str = SIMULATED,
    units: str | None = None,
) -> Matched:  # fmt: skip
    """Match simulated with observed discharge.

    Parameters
    ----------
    simulated : (time, ...)
        On reaches or gauges and whatever else it has, such as members.
    observed : (time, ...)
        On reaches, or on gauges with a coordinate of their reaches; or on gauges as ``simulated`` is.
    dim
        Dimension of time of both, where it cannot be told.
    extra
        Gauges that the simulation does not have: ``"raise"`` an error, or ``"drop"`` them, with a warning.
    what
        What the simulation is called in messages.
    units
        Units that both are brought to; by default those of the simulation.

    Returns
    -------
    Matched
        On the gauges and times of ``observed``.

    Raises
    ------
    AlignmentError
        For gauges that the simulation does not have, and dimensions whose labels are on one side only or differ.
    TimeAxisError
        For no time in common, times that stand twice, and observed steps that are finer than the simulated ones, or no multiple.
    UnitsError
        For units that cannot be converted.
    XRouteError
        For observations that are infinite, or stand for what is missing (-999 and the like), where they are in memory.
    """
    one_of("extra", extra, EXTRA, AlignmentError)
    simulated, observed = _numbers(simulated, what), _numbers(observed, OBSERVED)
    along = series_dim(simulated, dim, what)
    its = along if along in observed.dims else series_dim(observed, dim, OBSERVED)
    if its != along:
        if along in observed.coords:
            raise AlignmentError(f"the {OBSERVED} has a coordinate {str(along)!r} that is not its dimension of time")
        observed = observed.rename({its: along})
    units = simulated.attrs.get("units") if units is None else units
    factors = [unit_factor(a.attrs.get("units"), units, w, what) for a, w in ((simulated, what), (observed, OBSERVED))]
    _refuse_fills(observed)
    simulated, observed = match_places(simulated, observed, along, extra, what)
    simulated, observed = _match_times(simulated, observed, along, what)
    found = [a.astype(np.float64) if f == 1.0 else a.astype(np.float64) * f for a, f in zip((simulated, observed), factors, strict=True)]
    if units is not None:
        found = [a.assign_attrs(units=units) for a in found]
    return Matched(found[0], found[1], along)


def _numbers(array: Any, what: str) -> xr.DataArray:
    if isinstance(array, xr.Dataset) and len(array.data_vars) == 1:
        array = array[next(iter(array.data_vars))]
    array = require_array(array, what)
    if array.dtype.kind not in "iuf":
        raise XRouteError(f"{what} is not a number but {array.dtype}")
    return array


def _refuse_fills(observed: xr.DataArray) -> None:
    """Refuse what stands for missing values; on Dask nothing is looked at."""
    if observed.chunks is not None:
        return
    values = np.asarray(observed.values)
    for what, bad in (("infinite", np.isinf(values)), *((f"{f:g}, which is no discharge", values == f) for f in FILLS)):
        if bad.any():
            raise XRouteError(f"{int(bad.sum())} values of {OBSERVED} are {what}: where it is not known, it is NaN "
                              f"(observed.where(observed >= 0))")  # fmt: skip


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    if array.ndim == 1:
        return array.dims[0]
    try:
        return find_time_dim(array)
    except TimeAxisError:
        raise TimeAxisError(
            f"cannot tell along which dimension {what} runs in time: it has {some(array.dims)}. Give {argument('dim')}"
        ) from None


def whole_along(array: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """The array with one chunk along a dimension, if it is on Dask; others are split so that chunks stay small."""
    if array.chunks is None:
        return array
    return array.chunk({dim: -1, **{d: "auto" for d in array.dims if d != dim}})


def series_times(array: xr.DataArray, dim: Hashable) -> tuple[NDArray[np.float64], bool]:
    """When each step is [s] from the first, and True; or its number, and False, where times are no dates."""
    values = stamps(array, dim, counted=True)
    if values is None or values.dtype.kind not in "mMO" or not values.size:
        return np.arange(float(array.sizes[dim])), False
    ticks, tick = offsets(values)
    return ticks * tick, True


def _match_times(
    simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on the observed times that they have in common; of longer observed steps the means of simulated ones."""
    simulated = _in_order(simulated, dim, what)
    clock = _clock(simulated, dim)
    if clock is None or not _comparable(observed, dim):
        return _same_stamps(simulated, observed, dim, what)
    try:
        with said_of(OBSERVED):
            found = match_steps(observed, dim, simulated, clock, what=OBSERVED)
    except TimeAxisError as error:
        text = str(error).replace("the runoff", f"the {what}").replace("runoff", what)
        raise TimeAxisError(text) from error.__cause__
    observed = observed.isel({dim: found.source})
    steps = found.first + found.step * found.every
    if found.every == 1:
        simulated = simulated.isel({dim: steps})
    else:
        at = (steps[:, None] + np.arange(found.every)).ravel()
        bare = simulated.isel({dim: at}).drop_vars([n for n, c in simulated.coords.items() if dim in c.dims])
        simulated = bare.coarsen({dim: found.every}).mean(skipna=False, keep_attrs=True)
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
    from xroute.spacing import SHORTEST_MONTH, calendar_steps

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
    own = time_coordinate(observed, dim)
    return bare if own is None or dim not in observed.coords else bare.assign_coords({dim: observed[dim]})


# ── reaches, gauges, members ────────────────────────────────────────────────────────────────────────────────────────────


def match_places(
    simulated: xr.DataArray, observed: xr.DataArray, time: Hashable, extra: Extra, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on the observed gauges, and with members in the order of the simulated ones."""
    of_sim, of_obs = _gauge_dim(simulated, time), _gauge_dim(observed, time)
    if of_sim is None and of_obs is not None:
        of_sim = of_obs if of_obs in simulated.dims else _bearing(simulated, observed, of_obs, time)
    shared = [d for d in observed.dims if d in simulated.dims and d not in (time, of_sim)]
    if of_sim is not None and of_sim in observed.dims and _labelled(simulated, observed, of_sim):
        simulated, observed = _same_gauges(simulated, observed, of_sim, extra, what)
    elif of_sim is not None:
        simulated, observed = _gauges_on_reaches(simulated, observed, of_sim, (time, *shared), extra, what)
    elif of_obs is not None:
        observed = _the_one(observed, simulated, of_obs, what)
    for other in shared:
        observed = _same_labels(observed, simulated, other, what)
    stray = [n for n, c in simulated.coords.items() if n in observed.coords and n not in observed.dims and n not in c.dims]
    return simulated.drop_vars(stray), observed


def _gauge_dim(array: xr.DataArray, time: Hashable) -> Hashable | None:
    """The dimension of reaches or gauges: by its name, or by what lies along it; None where nothing says so."""
    dims = [d for d in array.dims if d != time]
    for names in (REACH_NAMES[:1], REACH_NAMES, GAUGE_DIMS):
        called = [d for d in dims if str(d).lower() in names]
        if called:
            return called[0]
    for d in dims:
        along = [c for c in array.coords.values() if c.dims == (d,)]
        if any(c.attrs.get("cf_role") == "timeseries_id" or str(c.name).lower() in REACH_NAMES for c in along):
            return d
    return None


def _bearing(
    simulated: xr.DataArray, observed: xr.DataArray, of_obs: Hashable, time: Hashable
) -> Hashable | None:
    """A dimension of the simulation, called whatever, that bears ids of the observed reaches."""
    names = [n for n, c in observed.coords.items() if c.dims == (of_obs,)]
    for d in simulated.dims:
        if d != time and d not in observed.dims and d in simulated.indexes:
            for name in names:
                if simulated.indexes[d].isin(observed[name].values).any():
                    return d
    return None


def _labelled(simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable) -> bool:
    return dim in simulated.indexes and dim in observed.indexes


def _same_gauges(
    simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, extra: Extra, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on gauges, or both on reaches: the same labels."""
    mine = exact_ids(simulated[dim].values, f"{what} {str(dim)!r}", AlignmentError)
    its = exact_ids(observed[dim].values, f"{OBSERVED} {str(dim)!r}", AlignmentError)
    for ids, of in ((mine, what), (its, OBSERVED)):
        if repeated(ids).size:
            raise AlignmentError(f"ids of the {of} ({str(dim)!r}) stand more than once: {some(repeated(ids))}")
    if its.size and mine.size and its.dtype.kind != mine.dtype.kind:
        raise AlignmentError(
            f"labels of {str(dim)!r} are {ID_KINDS[mine.dtype.kind]} in the {what} ({some(mine, 2)}), and "
            f"{ID_KINDS[its.dtype.kind]} in the {OBSERVED} ({some(its, 2)}): convert one of them"
        )
    at = positions_of(its, mine)
    alien = its[at < 0]
    if alien.size and (extra == "raise" or alien.size == its.size):
        way = (
            f"Leave them out with {argument('extra', 'drop')}"
            if alien.size < its.size
            else f"There is none in common; the {what} has {some(mine, 3)}"
        )
        raise AlignmentError(
            f"{alien.size} of {its.size} {str(dim)!r} of the {OBSERVED} are not in the {what}: {some(alien)}. {way}"
        )
    if not its.size:
        raise AlignmentError(f"the {OBSERVED} has no gauges: {str(dim)!r} is empty")
    if alien.size:
        warn(f"{alien.size} {str(dim)!r} of the {OBSERVED} are not in the {what} and left out: {some(alien)}")
        observed = observed.isel({dim: at >= 0})
    return _with_gauges_of(observed, simulated.isel({dim: at[at >= 0]}), dim), observed


def _gauges_on_reaches(
    simulated: xr.DataArray, observed: xr.DataArray, of_sim: Hashable, others: tuple[Hashable, ...], extra: Extra, what: str
) -> tuple[xr.DataArray, xr.DataArray]:  # fmt: skip
    """Observed gauges, or the one series that there is, found among the simulated reaches by id."""
    time = others[0]
    bare = observed.isel({d: 0 for d in others[1:]})
    own = [d for d in bare.dims if d != time]
    scalars = {str(n).lower() for n, c in observed.coords.items() if c.ndim == 0}
    if not own and not scalars & {*REACH_NAMES, *GAUGE_DIMS}:
        if simulated.sizes[of_sim] == 1:
            return simulated.isel({of_sim: 0}), observed
        raise AlignmentError(
            f"the {OBSERVED} is one series, and nothing says of which of the {simulated.sizes[of_sim]} {str(of_sim)!r} of the "
            f"{what} it is: observed.assign_coords({of_sim}=ID), or choose one of the simulated, simulated.sel({of_sim}=ID)"
        )
    named = [n for n, c in simulated.coords.items() if c.dims == (of_sim,) and str(n).lower() in REACH_NAMES]
    bearer = of_sim if str(of_sim).lower() in REACH_NAMES and of_sim in simulated.coords else next(iter(named), of_sim)
    if bearer not in simulated.coords:
        raise AlignmentError(f"{what} has no ids along {str(of_sim)!r}, and is never matched by position")
    ids = exact_ids(simulated[bearer].values, f"{what} {str(bearer)!r}", AlignmentError)
    if repeated(ids).size:
        raise AlignmentError(f"ids of the {what} ({str(bearer)!r}) stand more than once: {some(repeated(ids))}")
    dim = _gauge_dim(bare, time)
    with _said_of_simulation(what):
        batch = [d for d in own if dim is not None and d != dim]  # of the observations alone, such as their sources
        rows = find_gauges(bare.isel({d: 0 for d in batch}), ids, time, what=OBSERVED, extra=extra)
    if not own:
        return _with_gauges_of(observed, simulated.isel({of_sim: int(rows.reach[0])}), of_sim), observed
    if rows.dropped.size:
        keep = positions_of(bare[rows.dim].values, rows.array[rows.dim].values) >= 0
        observed = observed.isel({rows.dim: keep})
    if of_sim != rows.dim and rows.dim in simulated.coords:
        simulated = simulated.drop_vars(rows.dim)
    found = simulated.isel({of_sim: rows.reach})
    if of_sim != rows.dim:
        ids_along = found[of_sim].variable if of_sim in found.coords else None
        found = found.drop_vars(of_sim, errors="ignore").rename({of_sim: rows.dim})
        if ids_along is not None and of_sim not in observed.coords:
            observed = observed.assign_coords({of_sim: (rows.dim, ids_along.values, ids_along.attrs)})
    return _with_gauges_of(observed, found, rows.dim), observed


@contextmanager
def _said_of_simulation(what: str) -> Iterator[None]:
    """Errors of what looks for gauges in a network, said of a simulation."""
    try:
        yield
    except AlignmentError as error:
        text = str(error).replace("is this the right network", "is this the right simulation").replace("the right network", "the ids")
        raise AlignmentError(text.replace("the network's", f"those of the {what}").replace("the network", f"the {what}")) from None


def _with_gauges_of(observed: xr.DataArray, simulated: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """Simulated values with the coordinates along gauges of the observed ones, beside others of their own."""
    theirs = {n: c for n, c in observed.coords.items() if dim in c.dims and c.dims == (dim,)}
    bare = simulated.drop_vars([n for n in simulated.coords if n in theirs])
    return bare.assign_coords(theirs) if dim in simulated.dims else bare


def _the_one(observed: xr.DataArray, simulated: xr.DataArray, dim: Hashable, what: str) -> xr.DataArray:
    """Of several observed gauges the one that a single simulated series is of."""
    along = [n for n, c in observed.coords.items() if c.dims == (dim,)]
    for name in along:
        if name in simulated.coords and simulated[name].ndim == 0:
            at = np.flatnonzero(np.asarray(observed[name].values == simulated[name].values))
            if at.size == 1:
                return observed.isel({dim: int(at[0])})
            if at.size > 1:
                raise AlignmentError(f"{at.size} gauges of the {OBSERVED} are on {str(name)!r} {simulated[name].item()!r}")
    if observed.sizes[dim] == 1:
        return observed.isel({dim: 0})
    raise AlignmentError(
        f"the {what} is one series, and nothing says of which of the {observed.sizes[dim]} {str(dim)!r} of the {OBSERVED}: "
        f"choose one, observed.sel({dim}=...)"
    )


def _same_labels(observed: xr.DataArray, simulated: xr.DataArray, dim: Hashable, what: str) -> xr.DataArray:
    """Observations with members, or whatever else both have, in the order of the simulated ones."""
    if (dim in observed.indexes) != (dim in simulated.indexes):
        has, lacks = (OBSERVED, what) if dim in observed.indexes else (what, OBSERVED)
        raise AlignmentError(f"{str(dim)!r} has labels in the {has} and none in the {lacks}: assign_coords({dim}=...)")
    if dim not in observed.indexes:
        if observed.sizes[dim] != simulated.sizes[dim]:
            raise AlignmentError(
                f"{str(dim)!r} has {observed.sizes[dim]} entries in the {OBSERVED}, and {simulated.sizes[dim]} in the {what}"
            )
        return observed
    its, mine = observed.indexes[dim], simulated.indexes[dim]
    at = its.get_indexer(mine) if its.is_unique else np.full(mine.size, -1)
    if (at < 0).any() or its.size != mine.size:
        raise AlignmentError(f"{str(dim)!r} of the {OBSERVED} is {some(its)}, and of the {what} {some(mine)}: give the same")
    return observed.isel({dim: at})
