"""Known discharge and a run: which reach, time and member of the one is which of the other, all by label.

Nothing is read but labels. Values that are known are taken as they stand: none is filled, moved in time or interpolated.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.census import step_labels
from xroute.engine.arrays import compute_type
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, some, warn
from xroute.ids import positions_of, repeated
from xroute.known import WHAT, KnownDischarge
from xroute.labels import Layout
from xroute.moments import places, valid_times
from xroute.network import Network
from xroute.reach_ids import read_reach_ids
from xroute.spacing import ROUNDED
from xroute.stamps import is_dated, show, stamps
from xroute.time_dims import find_time_dim
from xroute.times import Clock
from xroute.units import flux_in_si, require_array
from xroute.wording import argument

__all__ = ["known_positions", "match_known"]

Index = NDArray[np.int64]


def match_known(
    known: Any, runoff: xr.DataArray, network: Network, layout: Layout, clock: Clock, units: str | None
) -> KnownDischarge | None:
    """Match known discharge with a run: reaches, times and members by label, units with those of the run's discharge.

    Returns
    -------
    KnownDischarge or None
        None where it is known on no reach.

    Raises
    ------
    AlignmentError
        For reaches that the network does not have or that stand twice, and for members that are not the runoff's.
    TimeAxisError
        For times between the runoff's, that stand twice, or of which the runoff has none.
    UnitsError
        For units that are none of a volume flux, or that the runoff lacks.
    """
    array = require_array(known, WHAT)
    try:
        compute_type(array.dtype)
    except ParameterError as error:
        raise ParameterError(str(error).replace("runoff", WHAT, 1)) from None
    for name in dict.fromkeys((layout.id_coordinate, layout.reach_dim, "reach")):  # the series of one reach
        if name in array.coords and array[name].ndim == 0 and name not in array.dims:
            array = array.expand_dims(name)
            break
    time_dim = _time_dim(array, layout, clock)
    named = layout.reach_dim if layout.reach_dim in array.dims else None
    reach_dim, name, ids = read_reach_ids(array, network.ids, named, time_dim, WHAT)
    reach = known_positions(ids, network, name)
    if not reach.size:
        return None
    array, batch = _match_members(array, layout, (reach_dim, time_dim))
    step = _match_times(array, time_dim, runoff, clock)
    factor = 1.0
    its = array.attrs.get("units")
    if its is not None and units is not None:
        factor = flux_in_si(its, WHAT) / flux_in_si(units, "discharge")
    elif its is not None:
        warn(f"the runoff has no units, and the {WHAT} is in {its!r}: its values are taken as they are")
    shape = {d: layout.sizes[d] for d in layout.batch_dims}
    times = step_labels(runoff, clock.dim)
    return KnownDischarge(array, reach, step, (batch, reach_dim, time_dim), shape, factor, ids, times)


def known_positions(ids: NDArray[Any], network: Network, name: Hashable = "reach") -> Index:
    """Positions in the network of ids on which discharge is known; ``name`` is that of their coordinate.

    Raises
    ------
    AlignmentError
        For ids that stand twice, or that the network does not have.
    """
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} ids of the {WHAT} ({name!r}) stand more than once: {some(twice)}")
    reach = positions_of(ids, network.ids)
    alien = ids[reach < 0]
    if alien.size:
        raise AlignmentError(
            f"{alien.size} ids of the {WHAT} ({name!r}) are not in the network: {some(alien)}. Leave them out, "
            f"known.sel({name}=known[{str(name)!r}].isin(network['reach'])), or check that this is the right network"
        )
    return reach


# ── members ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _match_members(
    array: xr.DataArray, layout: Layout, others: tuple[Hashable, Hashable | None]
) -> tuple[xr.DataArray, tuple[Hashable, ...]]:
    """The array with its members in the runoff's order, and the batch dimensions that it has, in that order."""
    strange = [d for d in array.dims if d not in layout.batch_dims and d not in others]
    if strange:
        raise AlignmentError(
            f"the {WHAT} has dimensions that runoff does not have beside reach and time: {some(strange)}. Choose one entry, "
            f"known.isel({strange[0]}=...), or give runoff of as many"
        )
    batch = tuple(d for d in layout.batch_dims if d in array.dims)
    for dim in batch:
        labels = xr.Coordinates(layout.coords).get(dim)
        if (labels is None) != (dim not in array.coords):
            has, lacks = (WHAT, "runoff") if labels is None else ("runoff", WHAT)
            raise AlignmentError(
                f"{dim!r} has labels in the {has} and none in the {lacks}, so that nobody knows which is which: "
                f"assign_coords({dim}=...)"
            )
        if labels is None:
            if array.sizes[dim] != layout.sizes[dim]:
                raise AlignmentError(
                    f"{dim!r} has {array.sizes[dim]} entries in the {WHAT}, and {layout.sizes[dim]} in the runoff"
                )
            continue
        its, mine = pd.Index(array[dim].values), pd.Index(labels.values)
        if its.has_duplicates:
            raise AlignmentError(f"labels of the {WHAT}'s {dim!r} stand more than once: {some(its[its.duplicated()])}")
        at = its.get_indexer(mine)
        if (at < 0).any() or its.size != mine.size:
            raise AlignmentError(
                f"the {WHAT}'s {dim!r} is {some(its)}, and the runoff's {some(mine)}: give it for the same, or without "
                f"{dim!r} for all"
            )
        array = array.isel({dim: at})
    return array, batch


# ── times ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _time_dim(array: xr.DataArray, layout: Layout, clock: Clock) -> Hashable | None:
    """The dimension that known discharge runs along; None if it has none, and is the same in all steps."""
    if clock.dim in array.dims:
        return clock.dim
    if sum(d not in layout.batch_dims for d in array.dims) > 1:
        return find_time_dim(array)
    of_one = [n for n, c in array.coords.items() if c.ndim == 0 and (n == clock.dim or n == "time" or is_dated(c))]
    if of_one:
        raise TimeAxisError(
            f"the {WHAT} is that of one time ({some(of_one)}): give it a dimension of time, "
            f"known.expand_dims({str(of_one[0])!r}), or drop_vars({of_one!r}) if it is the same in all steps"
        )
    return None


def _match_times(array: xr.DataArray, time_dim: Hashable | None, runoff: xr.DataArray, clock: Clock) -> Index:
    """Position of each step of the runoff among the times of known discharge, -1 where it has none."""
    n = runoff.sizes[clock.dim]
    if time_dim is None:
        return np.zeros(n, np.int64)
    mine, its = stamps(runoff, clock.dim, counted=True), stamps(array, time_dim, counted=True)
    if (mine is None) != (its is None):
        has, lacks = (WHAT, "runoff") if mine is None else ("runoff", WHAT)
        raise TimeAxisError(f"the {has} has times, and the {lacks} has none, so that nobody knows which belong together")
    if mine is None or its is None:
        if array.sizes[time_dim] != n:
            raise TimeAxisError(
                f"neither has times, and the {WHAT} has {array.sizes[time_dim]} steps where the runoff has {n}"
            )
        return np.arange(n)
    _check_label(array, clock)
    if not n or not its.size:
        if n:
            raise TimeAxisError(f"the {WHAT} has no times")
        return np.full(n, -1)
    if mine.dtype.kind == "m" and its.dtype.kind == "M":
        mine = valid_times(runoff, clock.dim, mine, WHAT)
    at = places(its, mine, clock.step, WHAT)
    whole = np.rint(at)
    inside = (at > -0.5) & (at < n - 0.5)
    between = inside & (np.abs(at - whole) > ROUNDED)
    if between.any():
        apart = "" if clock.step is None else f", which are {clock.step:g} s apart"
        raise TimeAxisError(
            f"{int(between.sum())} times of the {WHAT} lie between the runoff's{apart}, first {show(its[between][0])}: bring it "
            'to the same steps first (known.resample(time="1h").mean(), or interp)'
        )
    if not inside.any():
        raise TimeAxisError(
            f"the {WHAT} and the runoff have no time in common: {show(its.min())} to {show(its.max())}, and "
            f"{show(mine[0])} to {show(mine[-1])}"
        )
    step = whole[inside].astype(np.int64)
    if np.unique(step).size < step.size:
        first = its[inside][pd.Index(step).duplicated()][0]
        raise TimeAxisError(f"times of the {WHAT} stand more than once, first {show(first)}")
    _warn_of_longer_steps(step)
    found = np.full(n, -1)
    found[step] = np.flatnonzero(inside)
    return found


def _check_label(array: xr.DataArray, clock: Clock) -> None:
    """Refuse stamps that are said to be another point of their steps than the runoff's."""
    its = array.attrs.get("time_label")
    if its is not None and clock.label is not None and its != clock.label:
        raise TimeAxisError(
            f"a time of the {WHAT} is the {its} of its step (attrs['time_label']), and one of the runoff its {clock.label}: "
            f"give the same, by moving its times, or say what the runoff's mean with {argument('label', str(its))}"
        )


def _warn_of_longer_steps(step: Index) -> None:
    """Warn of values that are known at regular times some steps apart: of longer means, most likely."""
    apart = np.diff(np.sort(step))
    if apart.size > 1 and apart[0] > 1 and (apart == apart[0]).all():
        warn(
            f"the {WHAT} has a value in one of {apart[0]} steps of runoff, and between them discharge is routed. If each "
            "value holds until the next one, say so: known.reindex(time=runoff['time'], method='ffill')"
        )
