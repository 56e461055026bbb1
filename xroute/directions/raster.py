"""Where the cells of a grid of rows and columns are: which way is north, what lies beyond the date line, lengths and areas.

On longitude and latitude, and in a projection that is known, these are true on the ellipsoid; in one that is not known they are
the plane's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.earth import distances, height_between
from xroute.exceptions import NetworkError, require, some
from xroute.grid_axes import grid_dims, metres
from xroute.wording import argument

__all__ = ["Raster", "make_raster", "plain_raster"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Raster:
    """A grid of rows and columns.

    Attributes
    ----------
    y, x
        Its two coordinates, each along its own dimension.
    crs
        Coordinate system (`pyproj.CRS`) of a projection; None on longitude and latitude, and where it is not known.
    geographic
        Whether the coordinates are degrees of latitude and longitude.
    cyclic
        Whether the last column has the first one for its neighbour.
    reference
        The scalar coordinate that says the coordinate system, if the grid has one.
    """

    y: xr.DataArray
    x: xr.DataArray
    crs: Any
    geographic: bool
    cyclic: bool
    reference: xr.DataArray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.y.size, self.x.size

    @property
    def north(self) -> int:
        """Rows to the next one northwards: 1 or -1."""
        return _sense(_numbers(self.y))

    @property
    def east(self) -> int:
        """Columns to the next one eastwards: 1 or -1."""
        return _sense(self._unwrapped)

    @property
    def _unwrapped(self) -> Float:
        """Values along the columns, longitudes without a jump at the date line."""
        return _unwrap(_numbers(self.x)) if self.geographic else _numbers(self.x)

    @property
    def _unit(self) -> float:
        """One of the units of the coordinate system, in metres."""
        return float(self.crs.axis_info[0].unit_conversion_factor) if self.crs is not None and self.crs.axis_info else 1.0

    @property
    def _metres(self) -> tuple[float, float]:
        """One of the units of ``x`` and of ``y`` in metres: what they say, or else what the coordinate system is in."""
        x, y = metres(self.x), metres(self.y)
        return self._unit if x is None else x, self._unit if y is None else y

    def values_of(self, given: Any, name: str) -> NDArray[Any]:
        """Values [row, column] of what is given for the cells: an array of this shape, or a labelled one, matched by its labels.

        Raises
        ------
        NetworkError
            For values of another grid.
        """
        if isinstance(given, xr.DataArray):
            axes = {c.dims[0]: c.values for c in (self.y, self.x)}
            given = given.squeeze([d for d in given.dims if d not in axes and given.sizes[d] == 1], drop=True)
            if set(given.dims) != set(axes):
                raise NetworkError(f"{name}= has dimensions {given.dims}, not those of the grid, {tuple(axes)}")
            for dim, values in axes.items():
                if dim in given.coords and not np.array_equal(given[dim].values, values):
                    if not given.indexes[dim].is_unique or set(given[dim].values.tolist()) != set(values.tolist()):
                        raise NetworkError(f"{name}= stands on another grid: its {dim!r} differs")
                    given = given.sel({dim: values})
            given = given.transpose(*axes).values
        given = np.asarray(given)
        if given.shape != self.shape:
            raise NetworkError(f"{name}= has the shape {given.shape}, and the grid {self.shape}")
        return given

    def place(self, row: Int, column: Int) -> tuple[Float, Float]:
        """Coordinates (x, y) of cells' centres, and of those that would be next beyond the grid's edges."""
        y, x = _extended(_numbers(self.y)), _extended(self._unwrapped)
        if self.geographic:
            y = np.clip(y, -90.0, 90.0)  # beyond a pole there is no next row
        return x[column + 1], y[row + 1]

    def lon_lat(self, x: Float, y: Float) -> tuple[Float, Float] | None:
        """Longitudes and latitudes [degree] of places; None where the coordinate system is not known."""
        if self.geographic:
            return (x + 180.0) % 360.0 - 180.0, y
        if self.crs is None:
            return None
        pyproj = require("pyproj", feature="a direction grid in a projection", extra="geo")
        to = pyproj.Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        lon, lat = to.transform(*(v * metre / self._unit for v, metre in zip((x, y), self._metres, strict=True)))
        return np.asarray(lon), np.asarray(lat)

    def distance(self, start: tuple[Float, Float], end: tuple[Float, Float]) -> Float:
        """Lengths [m] between places (x, y)."""
        a, b = self.lon_lat(*start), self.lon_lat(*end)
        if a is None or b is None:
            return np.hypot(*((e - s) * metre for s, e, metre in zip(start, end, self._metres, strict=True)))
        return distances(*(np.ascontiguousarray(v, np.float64) for v in (*a, *b)))

    def areas(self, row: Int, column: Int) -> Float:
        """Areas [m2] of cells."""
        y, x = _edges(_numbers(self.y), self.x), _edges(self._unwrapped, self.y)
        if self.geographic:
            y = np.clip(y, -90.0, 90.0)  # rows whose centres are the poles are half as high
            height = np.array([height_between(low, high) for low, high in zip(y[:-1], y[1:], strict=True)])
            return np.abs(height[row] * np.diff(x)[column])
        plane = np.abs(np.diff(y)[row] * np.diff(x)[column]) * math.prod(self._metres)
        if self.crs is None:
            return plane
        lon, lat = self.lon_lat(_numbers(self.x)[column], _numbers(self.y)[row])  # type: ignore[misc]
        pyproj = require("pyproj", feature="a direction grid in a projection", extra="geo")
        return plane / np.asarray(pyproj.Proj(self.crs).get_factors(lon, lat).areal_scale)


def make_raster(field: xr.DataArray, crs: Any = None, what: str = "the direction grid") -> tuple[xr.DataArray, Raster]:
    """A field with its rows and columns in this order, and the grid that it is on.

    Parameters
    ----------
    field
        With two dimensions that bear coordinates; others of one entry are dropped.
    crs
        Coordinate system, where the field does not say it: whatever pyproj takes.
    what
        What it is, for messages.

    Raises
    ------
    NetworkError
        If dimensions, coordinates or their kind cannot be told, or rows and columns go back and forth.
    """
    if not isinstance(field, xr.DataArray):
        raise NetworkError(f"{what} is an xarray.DataArray, not a {type(field).__name__}")
    dims = grid_dims(field)
    field = field.squeeze([d for d in field.dims if field.sizes[d] == 1 and d not in dims], drop=True)
    dims = grid_dims(field)
    if field.ndim != 2 or len(dims) != 2 or dims[0] == dims[1]:
        raise NetworkError(
            f"{what} has a dimension of rows and one of columns, called lat and lon, y and x, or alike; this one has "
            f"{some(map(str, field.dims))}. Rename or select them"
        )
    for dim in dims:
        if dim not in field.coords:
            raise NetworkError(
                f"{what} has no coordinate {dim!r}: without coordinates nobody knows which way is north, nor how long a cell is"
            )
    y, x = (field[d].reset_coords(drop=True) for d in dims)
    system, reference = _system(field, crs)
    geographic = system.is_geographic if system is not None else _in_degrees(y, x, what)
    return field.transpose(*dims), plain_raster(y, x, geographic, None if geographic else system, reference, what)


def plain_raster(
    y: xr.DataArray, x: xr.DataArray, geographic: bool, crs: Any = None, reference: xr.DataArray | None = None,
    what: str = "the grid",
) -> Raster:  # fmt: skip
    """A grid of two coordinates, checked."""
    for coordinate, unwrap in ((y, False), (x, geographic)):
        values = _numbers(coordinate)
        steps = np.diff(_unwrap(values) if unwrap else values)
        if not np.isfinite(values).all() or (steps.size and not ((steps > 0).all() or (steps < 0).all())):
            raise NetworkError(f"{what}: {coordinate.name!r} is missing in places, or does not rise or fall all along")
    cyclic = False
    if geographic:
        if (np.abs(_numbers(y)) > 90.0 + 1e-6).any():
            raise NetworkError(
                f"{what}: latitudes {coordinate_range(y)} are beyond the poles: is it in a projection ({argument('crs')})?"
            )
        steps = np.diff(_unwrap(_numbers(x)))
        turn = np.abs(steps).sum()
        if steps.size and turn >= 360.0 - 1e-3 * np.abs(steps).min():
            raise NetworkError(
                f"{what} goes more than once around the Earth along {x.name!r}: leave the repeated columns out"
            )
        cyclic = bool(steps.size) and abs(turn + np.abs(steps).mean() - 360.0) < 0.5 * np.abs(steps).mean()
    return Raster(y, x, crs, geographic, cyclic, reference)


def coordinate_range(coordinate: xr.DataArray) -> str:
    """First and last value."""
    return f"{float(coordinate[0]):g} to {float(coordinate[-1]):g}"


def _system(field: xr.DataArray, crs: Any) -> tuple[Any, xr.DataArray | None]:
    """The coordinate system, given or said by a scalar coordinate, and that coordinate."""
    found = [
        c
        for c in field.coords.values()
        if c.ndim == 0 and {"crs_wkt", "spatial_ref", "grid_mapping_name"} & set(c.attrs)
    ]
    reference = found[0].reset_coords(drop=True) if found else None
    if crs is None and reference is None:
        return None, None
    pyproj = require("pyproj", feature="a direction grid that says its coordinate system", extra="geo")
    try:
        if crs is not None:
            return pyproj.CRS.from_user_input(crs), reference
        assert reference is not None
        text = reference.attrs.get("crs_wkt", reference.attrs.get("spatial_ref"))
        return (pyproj.CRS.from_wkt(text) if text else pyproj.CRS.from_cf(reference.attrs)), reference
    except (pyproj.exceptions.CRSError, KeyError, TypeError) as error:
        raise NetworkError(
            f"the coordinate system of the grid is not understood ({error}): give {argument('crs')}"
        ) from error


def _in_degrees(y: xr.DataArray, x: xr.DataArray, what: str) -> bool:
    """Whether coordinates are latitude and longitude, as they say of themselves."""

    def says(coordinate: xr.DataArray, name: str) -> bool:
        units, standard = str(coordinate.attrs.get("units", "")), str(coordinate.attrs.get("standard_name", ""))
        return units.startswith("degree") or standard == name or str(coordinate.name).lower().startswith(name[:3])

    if says(y, "latitude") and says(x, "longitude"):
        return True
    lengths = [
        metres(c) is not None or "projection" in str(c.attrs.get("standard_name", "")) for c in (y, x)
    ]
    if not any(lengths) and np.abs(_numbers(y)).max(initial=0) <= 90 and np.abs(_numbers(x)).max(initial=0) <= 360:
        raise NetworkError(
            f"{what}: whether {y.name!r} ({coordinate_range(y)}) and {x.name!r} ({coordinate_range(x)}) are degrees or lengths "
            "cannot be told: give them units (degrees_north and degrees_east, or m), or the coordinate system, "
            f"{argument('crs', 'EPSG:4326')}"
        )
    return False


def _numbers(coordinate: xr.DataArray) -> Float:
    return np.asarray(coordinate.values, np.float64)


def _sense(values: Float) -> int:
    return -1 if values.size > 1 and values[1] < values[0] else 1


def _unwrap(lon: Float) -> Float:
    """Longitudes without a jump of a whole turn."""
    if lon.size < 2:
        return lon
    steps = (np.diff(lon) + 180.0) % 360.0 - 180.0
    return np.concatenate([lon[:1], lon[0] + np.cumsum(steps)])


def _extended(values: Float) -> Float:
    """Values with one more at either end."""
    if values.size < 2:
        return np.repeat(values, 3)
    return np.concatenate([[2 * values[0] - values[1]], values, [2 * values[-1] - values[-2]]])


def _edges(values: Float, other: xr.DataArray) -> Float:
    """Edges of cells, in the middle between centres; a single row or column is as wide as those of the other coordinate."""
    if values.size > 1:
        wide = _extended(values)
        return (wide[:-1] + wide[1:]) / 2
    across = np.diff(_numbers(other)[:2])
    if not across.size:
        raise NetworkError("a grid of one cell does not say how large it is")
    return values[0] + np.array([-0.5, 0.5]) * abs(float(across[0]))
