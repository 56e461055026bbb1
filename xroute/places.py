"""Where the reaches of a network are: coordinates found by name or by what they say of themselves, wrapped, and checked.

Longitudes are taken round the network's middle, so that a river on the meridian of Greenwich or on the date line is in one
piece whichever way its longitudes are written. Coordinates that are none (NaN, fill values, degrees that do not exist) become
NaN and are counted; whoever draws says how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.grid_axes import metres
from xroute.ids import declared_fills

__all__ = ["Places", "find_places", "has_places", "wrapped"]

Float = NDArray[np.float64]

NAMES = (
    ("lon", "longitude", "long", "lons", "reach_lon", "centroid_lon", "lon_dd"),
    ("lat", "latitude", "lats", "reach_lat", "centroid_lat", "lat_dd"),
)
"""Names of longitudes and latitudes, the usual ones first."""
SAID = (
    ("longitude", "degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE"),
    ("latitude", "degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN"),
)
"""What longitudes and latitudes say of themselves, by the CF conventions: standard_name or units."""
PROJECTED = (
    ("projection_x_coordinate", ("x", "easting", "x_coord", "x_coordinate", "xcoord")),
    ("projection_y_coordinate", ("y", "northing", "y_coord", "y_coordinate", "ycoord")),
)
"""Standard names of coordinates in a projection, and names that count only with units of length: ``x`` is a parameter, too."""
FILLS = (-9999.0, -999.0, -99999.0, -32768.0)
"""Numbers that stand in files where there is no coordinate; metres they may be, so that there both coordinates must be one."""
LARGEST = 1e9
"""No coordinate on the Earth, in degrees or metres, is as large; undeclared fill values are (1e20, 9.96921e36)."""
WIDE_GAP = 10.0
"""Degrees without any reach that a map is cut in; a network without such a gap is drawn from 180 W to 180 E."""


@dataclass(frozen=True)
class Places:
    """Where reaches are.

    Attributes
    ----------
    x, y : float64 [reach]
        Longitude and latitude [degrees], or easting and northing [units]; NaN where a reach has none.
    degrees
        Whether they are longitude and latitude.
    units
        Units of coordinates in a projection.
    """

    x: Float
    y: Float
    degrees: bool = True
    units: str = ""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which reaches have a place [reach]."""
        return np.isfinite(self.x)


def has_places(dataset: xr.Dataset) -> bool:
    """Whether a network Dataset has coordinates to draw a map by; one of the two alone is a mistake, which counts as such."""
    return any(name is not None for name in _pair(dataset)[0])


def find_places(dataset: xr.Dataset, advice: str = "") -> Places:
    """Places of the reaches of a network Dataset.

    Parameters
    ----------
    dataset
        Network Dataset. Its coordinates are variables on ``reach`` called ``lon`` and ``lat`` (or ``longitude`` and
        ``latitude``), or that say that they are by ``standard_name`` or ``units``; or coordinates of a projection, which
        say so by ``standard_name``, or are called ``x`` and ``y`` and have units of length.
    advice
        What else to do where there are none, for the message.

    Raises
    ------
    ParameterError
        If there are no coordinates, if they are not numbers, or if no reach has a valid one.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.places import find_places
    >>> lon, lat = ("reach", [359.0, 1.0, -9999.0]), ("reach", [51.0, 52.0, 51.0])
    >>> found = find_places(xr.Dataset(coords={"reach": [1, 2, 3], "lon": lon, "lat": lat}))
    >>> found.x.tolist(), found.known.tolist()
    ([-1.0, 1.0, nan], [True, True, False])
    """
    (east, north), degrees = _pair(dataset)
    if east is None or north is None:
        missing = [name for name, found in (("lon", east), ("lat", north)) if found is None]
        raise ParameterError(
            f"a map needs the reaches' lon and lat; the network has no {' and no '.join(missing)}"
            + (f", only {north or east!r}" if len(missing) == 1 else "")
            + ". Give them: network.assign_coords(lon=('reach', ...), lat=('reach', ...))"
            + (f"; {advice}" if advice else "")
        )
    x, y = (_numbers(dataset[name]) for name in (east, north))
    known = np.isfinite(x) & np.isfinite(y) & (np.abs(x) < LARGEST) & (np.abs(y) < LARGEST)
    if degrees:
        known &= (np.abs(x) <= 540.0) & (np.abs(y) <= 90.0 + 1e-6)
    else:
        known &= ~(np.isin(x, FILLS) & (x == y))
    if known.size and not known.any():
        pairs = ", ".join(f"({a:g}, {b:g})" for a, b in zip(x[:3], y[:3], strict=True))
        raise ParameterError(
            f"none of the {known.size} reaches has a place: each {east!r} or {north!r} is NaN, a fill value or out of range "
            f"(the first are {pairs})" + (f"; {advice}" if advice else "")
        )
    x[~known] = y[~known] = np.nan
    if degrees:
        x[known] = wrapped(x[known])
    return Places(x, y, degrees, "" if degrees else str(dataset[east].attrs.get("units", "m")))


def wrapped(lon: Float) -> Float:
    """Longitudes [degrees] with whole turns taken off, so that they lie together, around a middle between 180 W and 180 E.

    The circle is cut in the middle of the widest gap between them. Where no gap is as wide as `WIDE_GAP` they go all round the
    Earth, and the cut is the date line.

    Examples
    --------
    >>> import numpy as np
    >>> wrapped(np.array([359.0, 0.5, 2.0])).tolist(), wrapped(np.array([179.0, -179.0, -178.0])).tolist()
    ([-1.0, 0.5, 2.0], [-181.0, -179.0, -178.0])
    """
    if not lon.size:
        return lon
    turned = (lon + 180.0) % 360.0 - 180.0
    around = np.sort(turned)
    gap = np.diff(around, append=around[0] + 360.0)
    widest = int(gap.argmax())
    if gap[widest] < WIDE_GAP:
        return turned
    cut = around[widest] + gap[widest] / 2  # the first longitude of the map is the next one round from here
    turns = np.where(turned < cut, 360.0, 0.0)
    placed = turned + turns
    middle = 0.5 * (placed.min() + placed.max())
    # Whole turns are taken off the given numbers, so that those that lie right stay as they are, bit for bit.
    shift = 360.0 * np.round((placed - 360.0 * np.floor((middle + 180.0) / 360.0) - lon) / 360.0)
    return lon + shift


def _pair(dataset: xr.Dataset) -> tuple[tuple[str | None, str | None], bool]:
    """Names of the two coordinates, or None, and whether they are degrees."""
    on_reach = [str(name) for name, variable in dataset.variables.items() if variable.dims == ("reach",) and name != "reach"]
    lower: dict[str, str] = {}
    for name in on_reach:
        lower.setdefault(name.lower(), name)

    def find(names: tuple[str, ...], says: Callable[[dict[Any, Any]], bool]) -> str | None:
        named = next((lower[n] for n in names if n in lower), None)
        return named or next((n for n in on_reach if says(dataset[n].attrs)), None)

    def degrees(said: tuple[str, ...]) -> Callable[[dict[Any, Any]], bool]:
        return lambda attrs: attrs.get("standard_name") in said or attrs.get("units") in said

    east, north = (find(names, degrees(said)) for names, said in zip(NAMES, SAID, strict=True))
    if east is None and north is None:
        plane = [_projected(dataset, on_reach, lower, *of) for of in PROJECTED]
        if None not in plane:
            return (plane[0], plane[1]), False
    return (east, north), True


def _projected(
    dataset: xr.Dataset, on_reach: list[str], lower: dict[str, str], standard: str, names: tuple[str, ...]
) -> str | None:
    for name in on_reach:
        if dataset[name].attrs.get("standard_name") == standard:
            return name
    return next((lower[n] for n in names if n in lower and metres(dataset[lower[n]]) is not None), None)


def _numbers(variable: xr.DataArray) -> Float:
    """Values of a coordinate as float64, a copy; NaN for the fill values that it declares."""
    values = variable.to_numpy()
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"the reaches' {variable.name} are no numbers: {some(values[:3])}") from error
    for fill in declared_fills(variable):
        numbers[values == fill] = np.nan
    if str(variable.attrs.get("units", "")).lower() in ("radian", "radians", "rad"):
        numbers = np.degrees(numbers)
    return numbers
