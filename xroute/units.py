"""Units: from whatever runoff comes in to a volume flux, parameters to SI, and units that pint has attached off and on again.

Pint knows the units, through cf-xarray. Arrays with a `pint.Quantity` inside are taken apart before routing and put together
after; pint-xarray is not needed. Left alone, numpy strips a Quantity of its units with no more than a warning of pint's.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, UnitsError, XRouteError, some, warn
from xroute.unit_text import UnitText, read_unit_text
from xroute.wording import argument

__all__ = [
    "ACCEPTED", "DISCHARGE_UNITS", "RunoffUnits", "dataset_without_pint", "flux_in_si", "flux_scale", "require_array",
    "runoff_units", "to_si", "unit_factor", "with_pint_of", "without_pint",
]  # fmt: skip

DISCHARGE_UNITS = "m3 s-1"
WATER_DENSITY = 1000.0
"""kg m-3; turns the mass fluxes of land-surface models into depths."""
ACCEPTED = "runoff is a volume flux (m3 s-1), a depth per time (mm d-1, kg m-2 s-1) or per step (mm), or a volume per step (m3)"

Float = NDArray[np.float64]


def flux_scale(
    units: str | None, dt: float | None, area: xr.DataArray | None, row: NDArray[np.int64] | None = None
) -> tuple[float | Float | None, str | None]:
    """Find what to multiply runoff by to have a volume flux, and the units of the result.

    Parameters
    ----------
    units
        Units of runoff: a volume or mass flux; depth or mass per area, each per time or per step; or volume per step.
    dt
        Step of runoff [s]; needed for amounts per step.
    area : (reach)
        Catchment areas; needed for depths.
    row : int64 [reach], optional
        Row of each reach in the runoff, negative for none (as in a `Layout`): such a reach needs no area.

    Returns
    -------
    scale : float or float64 [reach] or None
        None when runoff is a volume flux already.
    units : str or None

    Raises
    ------
    UnitsError
        For unknown units, units of another kind, depths without area, and amounts per month or year, whose length varies.
    ParameterError
        For areas that are NaN or negative.
    """
    if units is not None and not isinstance(units, str):
        raise UnitsError(f"units of runoff are text such as 'm3 s-1', not {units!r}")
    if units is None or not units.strip():
        warn(
            'runoff has no units: it is routed as a volume flux, and the discharge bears no units. Set runoff.attrs["units"]'
        )
        return None, None
    read = runoff_units(units)
    if read.is_flux:
        return None, read.short
    scale: float | Float = read.in_si
    if read.per_step:
        if dt is None:
            raise UnitsError(
                f"runoff in {units!r} is an amount per step, and the step cannot be told from one time: give {argument('dt')}"
            )
        scale /= dt
    if read.is_depth:
        if area is None:
            raise UnitsError(
                f"runoff in {units!r} is a depth{' (of mass)' if read.is_mass else ''}: the network needs the catchment areas, "
                "'area' (reach) with units"
            )
        size = to_si(area, "m2", "area")
        if row is not None:
            size = np.where(row >= 0, size, 0.0)
        bad = ~(np.isfinite(size) & (size >= 0))
        if bad.any():
            ids = area["reach"].values[bad]
            raise ParameterError(f"area is NaN, infinite or negative on {int(bad.sum())} reaches: {some(ids)}")
        scale = scale * size
    return scale, DISCHARGE_UNITS


class RunoffUnits(NamedTuple):
    """What units of runoff mean.

    Attributes
    ----------
    is_depth, is_mass, per_step
        Whether they are of a depth, and not of a volume; of a mass of water; of an amount in each step, and not of a rate.
    in_si
        One of them in m s-1, m, m3 s-1 or m3.
    is_flux, short
        Whether they are of a volume flux as discharge is, and how discharge bears them then.
    """

    is_depth: bool
    is_mass: bool
    per_step: bool
    in_si: float
    is_flux: bool
    short: str


def runoff_units(units: str) -> RunoffUnits:
    """Read units of runoff.

    Raises
    ------
    UnitsError
        For units that are not known, are of no runoff, or cannot be meant.
    """
    try:
        read = read_unit_text(units, "runoff")
    except UnitsError as error:
        raise UnitsError(f"{error}. {ACCEPTED[0].upper()}{ACCEPTED[1:]}") from error.__cause__
    dimensions = read.dimensions
    length, time, mass = (dimensions.pop(f"[{name}]", 0) for name in ("length", "time", "mass"))
    is_depth = (length, mass) in ((1, 0), (-2, 1))
    if dimensions or time not in (-1, 0) or not (is_depth or (length, mass) in ((3, 0), (0, 1))):
        raise UnitsError(f"runoff in {units!r} is no runoff; {ACCEPTED}")
    _refuse_unmeant(units, read)
    is_flux = (length, time, mass) == (3, -1, 0)
    in_si = read.in_si / (WATER_DENSITY if mass else 1.0)
    return RunoffUnits(is_depth, bool(mass), time == 0, in_si, is_flux, _short(read) if is_flux else DISCHARGE_UNITS)


def _refuse_unmeant(units: str, read: UnitText) -> None:
    """Refuse what can be computed and is not meant: months, whose length varies; depths in miles; cubic millimetres."""
    for name, days in (("month", "days_in_month"), ("year", "days_in_year")):
        if read.per(name):
            raise UnitsError(
                f"runoff in {units!r} is per {name}, and {name}s are not all of one length. If each value is the amount of its "
                f'{name}, divide it by that {name}\'s days, runoff / runoff["time"].dt.{days}, and name it a rate per day '
                '(mm d-1, or m3 d-1); then bring it to a regular step, runoff.resample(time="1D").ffill()'
            )
    for t in read.tokens:
        if t.exponent == 1 and (t.name == "mile" or (t.name == "meter" and t.power >= 2)):
            raise UnitsError(f"runoff in {units!r} would be a depth in miles or kilometres; {ACCEPTED}")
        if t.exponent == 3 and t.name == "meter" and t.power <= -3:
            raise UnitsError(
                f"runoff in {units!r} would be in cubic millimetres; millions of cubic metres are '1e6 m3'. {ACCEPTED}"
            )


def _short(read: UnitText) -> str:
    """Units of a volume flux as discharge bears them: one spelling of cubic metres and feet, else as they were given."""
    for units, size in ((DISCHARGE_UNITS, 1.0), ("ft3 s-1", 0.3048**3)):
        if math.isclose(read.in_si, size, rel_tol=1e-12):
            return units
    return read.plain


def to_si(values: xr.DataArray, units: str, what: str) -> Float:
    """Values of a variable (timedelta64 too) in SI units, as float64; without units they are SI already."""
    values = without_pint(values, what)
    data = values.values
    if data.dtype.kind == "m":
        if units != "s":
            raise UnitsError(f"{what} is a time span, where {units!r} is wanted")
        stated = values.attrs.get("units")
        if stated is not None and read_unit_text(stated, what).dimensions != {"[time]": 1.0}:
            raise UnitsError(
                f"{what} is a time span by its type (timedelta64), and in {stated!r} by its attributes: drop one"
            )
        return np.where(np.isnat(data), np.nan, data / np.timedelta64(1, "ns") / 1e9)
    if data.dtype.kind not in "iufb":
        raise UnitsError(f"{what} is not a number but {data.dtype}")
    given = values.attrs.get("units", "")
    data = data.astype(np.float64)
    if isinstance(given, str) and given.strip() in ("", units):
        return data
    read = read_unit_text(given, what)
    if read.dimensions != read_unit_text(units, what).dimensions:
        raise UnitsError(f"{what} is in {given!r}, where units like {units!r} are wanted")
    factor = read.in_si / read_unit_text(units, what).in_si
    return data if factor == 1.0 else data * factor


def flux_in_si(units: str | None, what: str) -> float:
    """One of a unit of volume flux, in m3 s-1; 1 where there are no units."""
    if units in (None, DISCHARGE_UNITS):
        return 1.0
    return float(to_si(xr.DataArray(1.0, attrs={"units": units}), DISCHARGE_UNITS, what))


def unit_factor(units: Any, wanted: Any, what: str, other: str) -> float:
    """What values are multiplied by to be in the units of others, whatever these are; of one that has none, in the same.

    Parameters
    ----------
    units, wanted
        Units of the values, and of the others, as text; None where there are none.
    what, other
        What both are, for messages.
    """
    if units is None or units == wanted:
        return 1.0
    if wanted is None:
        warn(f"units of {what} are {units!r}, and {other} has no units: they are taken to be the same")
        return 1.0
    its, mine = read_unit_text(units, what), read_unit_text(wanted, other)
    if its.dimensions != mine.dimensions:
        raise UnitsError(f"units of {what} are {units!r}, and of {other} {wanted!r}: they cannot be converted")
    return float(its.in_si / mine.in_si)


# ── pint's own ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_quantity(array: xr.DataArray | xr.Variable) -> bool:
    """Whether an array's data is a Quantity of pint; nothing is loaded."""
    data = array.variable._data if isinstance(array, xr.DataArray) else array._data
    return type(data).__module__.partition(".")[0] == "pint" and hasattr(data, "magnitude")


def require_array(array: Any, what: str = "runoff") -> xr.DataArray:
    """The array, without units that pint has attached (they are in its attributes then); what is not a DataArray is refused."""
    if not isinstance(array, xr.DataArray):
        hint = f": choose one of {some(array.data_vars)}" if isinstance(array, xr.Dataset) else ""
        raise XRouteError(f"{what} is an xarray.DataArray, not a {type(array).__name__}{hint}")
    return without_pint(array, what)


def without_pint(array: xr.DataArray, what: str = "runoff") -> xr.DataArray:
    """The array with plain data, lazy where it was, and the units in its attributes; itself where pint has no hand in it."""
    if not is_quantity(array):
        return array
    return array.copy(deep=False, data=array.data.magnitude).assign_attrs(units=_units(array.variable, what))


def dataset_without_pint(dataset: xr.Dataset, what: str = "network") -> xr.Dataset:
    """A Dataset with plain data, as `without_pint`."""
    found = {n: v for n, v in dataset.variables.items() if is_quantity(v)}
    if not found:
        return dataset
    plain = {
        n: (v.dims, v.data.magnitude, {**v.attrs, "units": _units(v, f"{what}: {n!r}")}, v.encoding)
        for n, v in found.items()
    }
    return dataset.assign(plain).set_coords([n for n in found if n in dataset.coords])


def with_pint_of(result: xr.DataArray, given: xr.DataArray) -> xr.DataArray:
    """The result as a Quantity of the registry of what was given, if that was one; the units leave the attributes."""
    if not is_quantity(given):
        return result
    own, is_flux = given.data._REGISTRY, given.data.check("[length]**3/[time]")
    units = given.data.units if is_flux else own.parse_units("meter**3/second")
    made = result.copy(deep=False, data=own.Quantity(result.data, units))
    made.attrs = {n: v for n, v in result.attrs.items() if n != "units"}
    return made


def _units(variable: xr.Variable, what: str) -> str:
    attached = format(variable.data.units, "D") or "1"
    stated = variable.attrs.get("units")
    if stated is None:
        return attached
    of_pint, of_attrs = read_unit_text(attached, what), read_unit_text(stated, what)
    same = of_pint.dimensions == of_attrs.dimensions and abs(of_pint.in_si / of_attrs.in_si - 1) < 1e-9
    if not same:
        raise UnitsError(f"{what} is in {attached!r} by pint, and in {stated!r} by its attributes: drop one of them")
    return attached
