"""Which dimensions and coordinates of a field are a grid's: by their names, or by what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import xarray as xr

from xroute.exceptions import UnitsError
from xroute.unit_text import read_unit_text

__all__ = ["GRID_AXES", "LATITUDES", "LONGITUDES", "grid_dims", "is_column", "is_row", "metres"]

#: Names of a grid's axes: rows, columns, and cells that are counted along one dimension.
GRID_AXES = (
    {"lat", "latitude", "rlat", "y", "yc", "nlat", "south_north", "northing", "nj", "row"},
    {"lon", "longitude", "rlon", "x", "xc", "nlon", "west_east", "easting", "ni", "column", "col"},
)
GRID_CELLS = {"cell", "cells", "ncell", "ncells", "ngrid", "gridcell", "grid_cell", "lndgrid", "landpoint", "nface", "ncol"}
LATITUDES = {"xlat", "clat", "nav_lat", "lats", "lat2d", "tlat", "gridlat_0"}
LONGITUDES = {"xlon", "xlong", "clon", "nav_lon", "lons", "lon2d", "tlon", "tlong", "gridlon_0"}
_ROWS = {"latitude", "grid_latitude", "projection_y_coordinate", "degrees_north", "Y"}
_COLUMNS = {"longitude", "grid_longitude", "projection_x_coordinate", "degrees_east", "X"}


def grid_dims(array: xr.DataArray) -> tuple[Hashable, ...]:
    """Dimensions of a grid: its rows and columns, by name or by what their labels say of themselves, or its cells."""

    def axis(dim: Hashable, names: set[str], says: Callable[[xr.DataArray], bool]) -> bool:
        return str(dim).lower() in names or (dim in array.coords and says(array[dim]))

    rows = [d for d in array.dims if axis(d, GRID_AXES[0], is_row)]
    columns = [d for d in array.dims if axis(d, GRID_AXES[1], is_column)]
    if rows and columns:
        return rows[0], columns[0]
    # A cell's number may well be a reach's id: then the dimension bears labels.
    return tuple(d for d in array.dims if str(d).lower() in GRID_CELLS and d not in array.coords)


def is_row(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate places cells from south to north: by its name, or by what it says of itself."""
    return _places(coordinate, GRID_AXES[0] | LATITUDES, _ROWS)


def is_column(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate places cells from west to east, in the same way."""
    return _places(coordinate, GRID_AXES[1] | LONGITUDES, _COLUMNS)


def metres(coordinate: xr.DataArray) -> float | None:
    """One of a coordinate's units in metres; None where it does not say that it is a length."""
    try:
        read = read_unit_text(str(coordinate.attrs.get("units", "")), str(coordinate.name))
        return read.in_si if read.dimensions == {"[length]": 1} else None
    except UnitsError:
        return None


def _places(coordinate: xr.DataArray, names: set[str], said: set[str]) -> bool:
    attrs = coordinate.attrs
    return str(coordinate.name).lower() in names or bool(said & {attrs.get(a) for a in ("standard_name", "units", "axis")})
