"""Which simulated reach or gauge is which observed one, and which member which: by label, never by position."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, some, warn
from xroute.gauges import GAUGE_DIMS, REACH_NAMES, find_gauges, of_one_kind
from xroute.ids import ID_KINDS, exact_ids, positions_of, repeated
from xroute.settings import Extra
from xroute.wording import argument

__all__ = ["OBSERVED", "SIMULATED", "match_places", "rows"]

SIMULATED, OBSERVED = "simulated discharge", "observed discharge"
"""What they are called in messages."""


def match_places(
    simulated: xr.DataArray, observed: xr.DataArray, time: Hashable, extra: Extra, what: str,
    tables: tuple[bool, bool] = (False, False),
) -> tuple[xr.DataArray, xr.DataArray]:  # fmt: skip
    """Both on the observed gauges, and with members in the order of the simulated ones.

    ``tables`` says which of them comes from a table, whose ids are made text or numbers as those of the other are.
    """
    of_sim, of_obs = _gauge_dim(simulated, time), _gauge_dim(observed, time)
    if of_sim is None and of_obs is not None:
        of_sim = of_obs if of_obs in simulated.dims else _bearing(simulated, observed, of_obs, time)
    shared = [d for d in observed.dims if d in simulated.dims and d not in (time, of_sim)]
    if of_sim is not None and of_sim in observed.dims and _labelled(simulated, observed, of_sim):
        simulated, observed = _same_gauges(simulated, observed, of_sim, extra, what, tables)
    elif of_sim is not None:
        simulated, observed = _gauges_on_reaches(simulated, observed, of_sim, (time, *shared), extra, what, tables[1])
    elif of_obs is not None:
        observed = _the_one(observed, simulated, of_obs, what)
    else:
        _refuse_another(simulated, observed, what)
    for other in shared:
        observed = _same_labels(observed, simulated, other, what)
    both = [n for n in simulated.coords if n in observed.coords and n not in observed.dims]
    stray = [n for n in both if n not in simulated[n].dims and not simulated[n].variable.equals(observed[n].variable)]
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
    simulated: xr.DataArray, observed: xr.DataArray, dim: Hashable, extra: Extra, what: str, tables: tuple[bool, bool]
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both on gauges, or both on reaches: the same labels."""
    mine = exact_ids(simulated[dim].values, f"{what} {str(dim)!r}", AlignmentError)
    its = exact_ids(observed[dim].values, f"{OBSERVED} {str(dim)!r}", AlignmentError)
    if its.size and mine.size and its.dtype.kind != mine.dtype.kind:
        if tables[1]:
            its = of_one_kind(its, mine, OBSERVED)
            observed = observed.assign_coords({dim: (dim, its, observed[dim].attrs)})
        elif tables[0]:
            mine = of_one_kind(mine, its, what)
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
    return _with_gauges_of(observed, simulated.isel({dim: rows(at[at >= 0])}), dim), observed


def _gauges_on_reaches(
    simulated: xr.DataArray, observed: xr.DataArray, of_sim: Hashable, others: tuple[Hashable, ...], extra: Extra, what: str,
    convert: bool,
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
        gauges = find_gauges(
            bare.isel({d: 0 for d in batch}), ids, time, what=OBSERVED, extra=extra, convert=convert, where=f"the {what}"
        )
    if not own:
        return _with_gauges_of(observed, simulated.isel({of_sim: int(gauges.reach[0])}), of_sim), observed
    if gauges.dropped.size:
        keep = positions_of(bare[gauges.dim].values, gauges.array[gauges.dim].values) >= 0
        observed = observed.isel({gauges.dim: keep})
    if of_sim != gauges.dim and gauges.dim in simulated.coords:
        simulated = simulated.drop_vars([gauges.dim])
    found = simulated.isel({of_sim: rows(gauges.reach)})
    if of_sim != gauges.dim:
        ids_along = found[of_sim].variable if of_sim in found.coords else None
        found = found.drop_vars([of_sim], errors="ignore").rename({of_sim: gauges.dim})
        if ids_along is not None and of_sim not in observed.coords:
            observed = observed.assign_coords({of_sim: (gauges.dim, ids_along.values, ids_along.attrs)})
    return _with_gauges_of(observed, found, gauges.dim), observed


def rows(at: NDArray[np.int64]) -> Any:
    """Positions as a slice, if they follow one another: then nothing is copied."""
    if at.size and at[0] >= 0 and (np.diff(at) == 1).all():
        return slice(int(at[0]), int(at[-1]) + 1)
    return at


@contextmanager
def _said_of_simulation(what: str) -> Iterator[None]:
    """Errors of what looks for gauges in a network, said of a simulation."""
    try:
        yield
    except AlignmentError as error:
        text = str(error).replace("this is the right network", "these are the right ids")
        text = text.replace("is this the right network", "is this the right simulation")
        text = text.replace("the network's", f"those of the {what}").replace("the network", f"the {what}")
        raise AlignmentError(text) from None


def _with_gauges_of(observed: xr.DataArray, simulated: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """Simulated values with the coordinates along gauges of the observed ones, beside others of their own."""
    theirs = {n: c for n, c in observed.coords.items() if c.dims == (dim,)}
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


def _refuse_another(simulated: xr.DataArray, observed: xr.DataArray, what: str) -> None:
    """Refuse the series of one reach beside that of another."""
    for name in (*REACH_NAMES, *GAUGE_DIMS):
        if name in simulated.coords and name in observed.coords and simulated[name].ndim == observed[name].ndim == 0:
            mine, its = simulated[name].item(), observed[name].item()
            if mine != its and str(mine) != str(its):
                raise AlignmentError(f"the {what} is that of {name} {mine!r}, and the {OBSERVED} that of {its!r}")


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
