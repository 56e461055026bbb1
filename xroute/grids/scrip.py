"""Weights as sparse matrices: files of SCRIP, ESMF and xESMF, whose rows and columns are counted from 1, longitudes first."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.grid_axes import grid_dims
from xroute.grids.raw import Raw, column
from xroute.ids import exact_ids
from xroute.wording import phrase

__all__ = ["RADIUS", "is_sparse_matrix", "read_sparse_matrix"]

RADIUS = 6_371_007.181
"""Radius [m] of the sphere that has the area of the ellipsoid WGS 84 (Moritz, 2000)."""


def is_sparse_matrix(table: Any) -> bool:
    """Whether a Dataset is a sparse matrix of weights."""
    return isinstance(table, xr.Dataset) and (
        all(column(table, n) for n in ("row", "col", "s"))
        or all(column(table, n) for n in ("src_address", "dst_address", "remap_matrix"))
    )


def read_sparse_matrix(table: xr.Dataset, name: str, *, ids: Any = None, grid: Any = None) -> Raw:
    """Read a sparse matrix: what each cell (column) gives to each catchment (row), as a part of the latter's area.

    Parameters
    ----------
    table, name
        The Dataset, and what it is called in messages.
    ids : [row]
        Ids of the catchments.
    grid
        Runoff on the grid, where the file does not say how large it is.
    """
    row, col, part = _entries(table, name)
    n_rows, sizes = _size(table, "dst", "b"), _sizes(table, grid, name)
    catchment = _ids(ids, n_rows, int(row.max(initial=0)), name)
    if row.size and (row.min() < 1 or row.max() > catchment.size):
        raise ParameterError(
            f"{name}: rows count catchments from 1 to {catchment.size}, and are from {row.min()} to {row.max()}"
        )
    n_cells = int(np.prod(sizes))
    if col.size and (col.min() < 1 or col.max() > n_cells):
        raise ParameterError(f"{name}: columns count cells from 1 to {n_cells}, and are from {col.min()} to {col.max()}")
    cell = col - 1
    index = (cell // sizes[1], cell % sizes[1]) if len(sizes) == 2 else (cell,)
    if _is_of_covered_area(table, name):
        covered = _values(table, "frac_b", "dst_grid_frac")
        if covered is None:
            raise ParameterError(
                f"{name}: its weights are parts of what is covered (fracarea), and it does not say what is (frac_b)"
            )
        part = part * covered[row - 1]
    attrs = {"method": "area", "title": "weights of SCRIP", "grid_sizes": list(sizes), **_places(table, sizes)}
    cell_area, catchment_area = (_areas(table, *names) for names in (("area_a", "src_grid_area"), ("area_b", "dst_grid_area")))
    of_cell = None if cell_area is None or not (cell_area[cell] > 0).all() else cell_area[cell]
    return Raw(
        catchment[row - 1], catchment, index, part=part, catchment_area=catchment_area, cell_area=of_cell, attrs=attrs
    )


def _entries(table: xr.Dataset, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows, columns (from 1) and values."""
    if column(table, "remap_matrix"):
        row, col, values = (np.asarray(table[column(table, n)].values) for n in ("dst_address", "src_address", "remap_matrix"))
        values = values[:, 0] if values.ndim == 2 else values  # the others are of second order
    else:
        row, col, values = (np.asarray(table[column(table, n)].values) for n in ("row", "col", "s"))
    method = str(table.attrs.get("map_method", table.attrs.get("regrid_method", ""))).lower()
    if "bilinear" in method or "patch" in method or "nearest" in method or "bicubic" in method:
        raise ParameterError(f"{name} interpolates ({method}), which conserves no water: make conservative weights")
    return row.astype(np.int64), col.astype(np.int64), values.astype(np.float64)


def _values(table: xr.Dataset, *names: str) -> NDArray[np.float64] | None:
    found = column(table, *names)
    return None if found is None else np.asarray(table[found].values, np.float64)


def _size(table: xr.Dataset, grid: str, letter: str) -> int | None:
    """How many cells a side of the matrix has, if the file says so."""
    dims = column(table, f"{grid}_grid_dims")
    for name in (f"n_{letter}", f"{grid}_grid_size"):
        if name in table.sizes:
            return int(table.sizes[name])
    return None if dims is None else int(np.prod(table[dims].values))


def _sizes(table: xr.Dataset, grid: Any, name: str) -> tuple[int, ...]:
    """Sizes of the grid: of rows and columns, or of cells."""
    dims = column(table, "src_grid_dims")
    stated = None if dims is None else tuple(int(n) for n in np.asarray(table[dims].values)[::-1])
    if grid is None:
        if stated is None:
            raise ParameterError(
                f"{name} does not say how large its grid is: give grid={phrase('weights table', '')} runoff on it"
            )
        return stated
    fields = [grid] if isinstance(grid, xr.DataArray) else [grid[v] for v in grid.data_vars]
    found = next((d for f in fields if (d := grid_dims(f))), ())
    sizes = tuple(int(grid.sizes[d]) for d in found)
    n_cells = _size(table, "src", "a")
    if stated not in (None, sizes) and n_cells not in (None, int(np.prod(sizes))) or not sizes:
        raise AlignmentError(f"{name} is of a grid of {' x '.join(map(str, stated or ()))} cells, and the grid has {some(sizes)}")
    return sizes


def _ids(ids: Any, n: int | None, largest: int, name: str) -> NDArray[Any]:
    if ids is None:
        raise ParameterError(
            f"{name} counts catchments, and has no ids of them: give ids={phrase('weights table', '')} those of its "
            f"{n or largest} rows, in their order"
        )
    found = exact_ids(getattr(ids, "values", ids), "ids", AlignmentError)
    if n is not None and found.size != n:
        raise AlignmentError(f"{name} has {n} rows, and there are {found.size} ids")
    return found


def _is_of_covered_area(table: xr.Dataset, name: str) -> bool:
    """Whether weights are parts of what the grid covers of a catchment (fracarea), and not of its whole area (destarea)."""
    said = str(table.attrs.get("normalization", table.attrs.get("norm_type", "")))
    if said.lower() not in ("", "destarea", "fracarea"):
        raise ParameterError(f"{name}: its weights are normalised by {said!r}, where 'destarea' and 'fracarea' are known")
    return said.lower() == "fracarea"


def _areas(table: xr.Dataset, *names: str) -> NDArray[np.float64] | None:
    """Areas [m2] of cells, which files have in steradians unless their units say otherwise."""
    found = column(table, *names)
    if found is None:
        return None
    units = str(table[found].attrs.get("units", "steradian")).lower().replace("^", "")
    values = np.asarray(table[found].values, np.float64)
    if units in ("m2", "m**2", "square meters", "square metres"):
        return values
    if units in ("km2", "km**2"):
        return values * 1e6
    if units.startswith(("steradian", "sr", "square radian", "radian", "rad2", "square_radian", "1", "unitless")):
        return values * RADIUS**2
    raise ParameterError(f"{found} is in {units!r}, where steradians or square metres are known")


def _places(table: xr.Dataset, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Where the first, the middle and the last cell are, if the file says where its cells are."""
    y, x = column(table, "yc_a", "src_grid_center_lat"), column(table, "xc_a", "src_grid_center_lon")
    if y is None or x is None:
        return {}
    found: dict[str, Any] = {"grid_coords": "latitude longitude"}
    shape = (-1, sizes[-1]) if len(sizes) == 2 else (1, -1)
    values = []
    for name in (y, x):
        radians = "rad" in str(table[name].attrs.get("units", "degrees")).lower()
        places = np.asarray(table[name].values, np.float64).reshape(shape)
        values.append(np.degrees(places) if radians else places)
    n_rows, n_columns = values[0].shape
    for word, at in (("first", (0, 0)), ("middle", (n_rows // 2, n_columns // 2)), ("last", (n_rows - 1, n_columns - 1))):
        found[f"grid_{word}"] = [float(v[at]) for v in values]
    return found
