"""Which simulated value is compared with which observed one: gauges, times and members by label, units converted.

Only labels are read. Observed gauges are found among the reaches of the simulation by id (`xroute.gauges`), observed steps among
its steps (`xroute.step_match`); of a longer observed step the mean of the steps that it covers is compared.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.exceptions import AlignmentError, XRouteError, one_of, warn
from xroute.scores.places import OBSERVED, SIMULATED, match_places
from xroute.scores.steps import match_times, series_dim
from xroute.series import as_series, is_from_table
from xroute.settings import EXTRA, Extra
from xroute.units import unit_factor
from xroute.wording import argument

__all__ = ["Matched", "checked", "match", "tell_of_no_units"]


@dataclass(frozen=True, eq=False)
class Matched:
    """Simulated and observed discharge with the same times, gauges and members, in the same units.

    Where nothing was to be converted, they are the arrays that were given, or views of them, whatever their type.

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
        For values that are infinite, and observations that stand for what is missing (-999 and the like); on Dask when they are
        computed.
    """
    one_of("extra", extra, EXTRA, AlignmentError)
    tables = is_from_table(simulated), is_from_table(observed)
    simulated, observed = _numbers(simulated, what), _numbers(observed, OBSERVED)
    along = series_dim(simulated, dim, what)
    its = along if along in observed.dims else series_dim(observed, dim, OBSERVED)
    if its != along:
        if along in observed.coords:
            raise AlignmentError(f"the {OBSERVED} has a coordinate {str(along)!r} that is not its dimension of time")
        observed = observed.rename({its: along})
    if units is None:
        units = simulated.attrs.get("units")
        tell_of_no_units(observed, units, what)
    factors = [unit_factor(a.attrs.get("units"), units, w, what) for a, w in ((simulated, what), (observed, OBSERVED))]
    simulated, observed = match_places(simulated, observed, along, extra, what, tables)
    simulated, observed = match_times(simulated, observed, along, what)
    simulated, observed = checked(simulated, what, ()), checked(observed, OBSERVED, FILLS)
    both = zip((simulated, observed), factors, strict=True)
    found = [a if f == 1.0 else (a.astype(np.float64) * f).assign_attrs(a.attrs) for a, f in both]
    if units is not None:
        found = [a.assign_attrs(units=units) for a in found]
    return Matched(found[0], found[1], along)


def tell_of_no_units(observed: xr.DataArray, units: str | None, what: str) -> None:
    """Warn of observations without units beside a series that has them."""
    if units is None or str(observed.attrs.get("units", "")).strip():
        return
    how = argument("observed_units", python='observed.attrs["units"]')
    warn(f"the {OBSERVED} has no units: it is taken in {units!r}, as the {what} is. {how} says in which it is")


def _numbers(given: Any, what: str) -> xr.DataArray:
    array = as_series(given, what=what)
    if array.dtype.kind not in "iuf":
        raise XRouteError(f"{what} is not a number but {array.dtype}")
    # labels have to be known, and `chunk` makes Dask arrays of those that are no index: read here, in this thread
    lazy = {n: c for n, c in array.coords.items() if c.ndim < 2 and c.chunks is not None}
    return array.assign_coords({n: c.compute(scheduler="synchronous").variable for n, c in lazy.items()})


def checked(array: xr.DataArray, what: str, fills: tuple[float, ...]) -> xr.DataArray:
    """The array, without values that are infinite or stand for what is missing; on Dask that is seen when it is computed."""
    if array.dtype.kind != "f" and not fills:
        return array
    if array.chunks is None:
        _refuse(np.asarray(array.values), what, fills)
        return array
    checked = array.data.map_blocks(_refuse, what, fills, dtype=array.dtype, meta=array.data._meta)
    return array.copy(deep=False, data=checked)


def _refuse(values: NDArray[Any], what: str, fills: tuple[float, ...]) -> NDArray[Any]:
    for wrong in (np.inf, *fills):
        bad = np.isinf(values) if wrong == np.inf else values == wrong
        if bad.any():
            why = "infinite" if wrong == np.inf else f"{wrong:g}, which is no discharge"
            raise XRouteError(f"{int(bad.sum())} values of {what} are {why}: where it is not known, it is NaN")
    return values
