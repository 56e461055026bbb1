"""Units: from whatever runoff comes in to a volume flux, and parameters to SI. Pint knows the units, through cf-xarray."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, UnitsError, some, warn

__all__ = ["DISCHARGE_UNITS", "flux_in_si", "flux_scale", "to_si"]

DISCHARGE_UNITS = "m3 s-1"
WATER_DENSITY = 1000.0
"""kg m-3; turns the mass fluxes of land-surface models into depths."""
ACCEPTED = "runoff is a volume flux (m3 s-1), a depth per time (mm d-1, kg m-2 s-1) or per step (mm), or a volume per step (m3)"

ALIASES = {
    "cms": "m3 s-1",
    "cumec": "m3 s-1",
    "cumecs": "m3 s-1",
    "cfs": "ft3 s-1",
    "cusec": "ft3 s-1",
    "cusecs": "ft3 s-1",
    "-": "1",
    "none": "1",
    "unitless": "1",
}
"""Spellings that hydrologists use and pint does not know."""

Float = NDArray[np.float64]


def _registry() -> Any:
    with warnings.catch_warnings():  # of no concern here: it says so wherever matplotlib is absent
        warnings.filterwarnings("ignore", message=r"Import\(s\) unavailable to set up matplotlib", category=UserWarning)
        from cf_xarray.units import units

    return units


def _canonical(units: str) -> str:
    return ALIASES.get(units.strip().lower(), units)


def _parse(units: str, what: str) -> Any:
    try:
        return _registry().parse_units(units)
    except Exception as error:  # pint raises many kinds, and so do the parsers under it
        accepted = f"; {ACCEPTED}" if what == "runoff" else ""
        raise UnitsError(f"{what}: units {units!r} are not known to pint ({error}){accepted}") from error


def _factor(parsed: Any, to: str) -> float:
    return float(_registry().Quantity(1.0, parsed).to(to).magnitude)


def flux_scale(
    units: str | None, dt: float | None, area: xr.DataArray | None, row: NDArray[np.int64] | None = None
) -> tuple[float | Float | None, str | None]:
    """Find what to multiply runoff with to have a volume flux, and the units of the result.

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
    units = _canonical(units)
    parsed = _parse(units, "runoff")
    dimensions = dict(parsed.dimensionality)
    length, time, mass = (dimensions.pop(f"[{name}]", 0) for name in ("length", "time", "mass"))
    density = WATER_DENSITY if mass else 1.0
    kg = " kg" if mass else ""
    kinds: dict[tuple[float, float, float], tuple[str, bool, bool]] = {  # SI units, is a depth, is an amount per step
        (3, -1, 0): ("m3 s-1", False, False),
        (0, -1, 1): ("kg s-1", False, False),
        (3, 0, 0): ("m3", False, True),
        (0, 0, 1): ("kg", False, True),
        (1, -1, 0): ("m s-1", True, False),
        (-2, -1, 1): ("kg m-2 s-1", True, False),
        (1, 0, 0): ("m", True, True),
        (-2, 0, 1): ("kg m-2", True, True),
    }
    if dimensions or (length, time, mass) not in kinds:
        raise UnitsError(f"runoff in {units!r} is no runoff; {ACCEPTED}")
    si, is_depth, per_step = kinds[length, time, mass]
    if si == "m3 s-1":
        return None, units
    if re.search("month|year|decade|century|millennium", str(parsed)):
        raise UnitsError(
            f"runoff in {units!r} is per month or year, which are not all of one length: give a rate per day (mm d-1), or "
            "an amount per step (mm)"
        )
    scale: float | Float = _factor(parsed, si) / density
    if per_step:
        if dt is None:
            raise UnitsError(
                f"runoff in {units!r} is an amount per step, and the step cannot be told from one time: give dt="
            )
        scale /= dt
    if is_depth:
        if area is None:
            raise UnitsError(
                f"runoff in {units!r} is a depth{' (of mass)' if kg else ''}: the network needs the catchment areas, "
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


def to_si(values: xr.DataArray, units: str, what: str) -> Float:
    """Values of a variable in SI units, as float64; without units they are SI already.

    Parameters
    ----------
    values
        A variable; timedelta64 is understood.
    units
        The SI units wanted.
    what
        Its name, for messages.

    Raises
    ------
    UnitsError
        If its units are unknown or of another kind.
    """
    data = values.values
    if data.dtype.kind == "m":
        if units != "s":
            raise UnitsError(f"{what} is a time span, where {units!r} is wanted")
        return np.where(np.isnat(data), np.nan, data / np.timedelta64(1, "ns") / 1e9)
    if data.dtype.kind not in "iufb":
        raise UnitsError(f"{what} is not a number but {data.dtype}")
    given = _canonical(str(values.attrs.get("units", "")))
    data = data.astype(np.float64)
    if given.strip() in ("", units):
        return data
    parsed = _parse(given, what)
    if parsed.dimensionality != _registry().parse_units(units).dimensionality:
        raise UnitsError(f"{what} is in {given!r}, where units like {units!r} are wanted")
    factor = _factor(parsed, units)
    return data if factor == 1.0 else data * factor


def flux_in_si(units: str, what: str) -> float:
    """One of a unit of volume flux, in m3 s-1.

    Raises
    ------
    UnitsError
        If the units are unknown, or not of a volume flux.
    """
    return float(to_si(xr.DataArray(1.0, attrs={"units": units}), DISCHARGE_UNITS, what))
