"""Whether weights are of a grid: which of its dimensions are meant, and what is said where it is another grid."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, some, warn
from xroute.grid_axes import grid_dims
from xroute.grids.form import Identity, axis_values, grid_axes, grid_identity, identity_of, index_names
from xroute.ids import distinct, exact_ids, repeated, within
from xroute.wording import phrase

__all__ = ["find_spatial_dims", "unit_ids"]

NEAR = 1e-6
"""Of the values of coordinates: how far they may be from those that weights note, as float32 makes them."""


def find_spatial_dims(grid: xr.DataArray, weights: xr.Dataset) -> tuple[Hashable, ...]:
    """Dimensions of a grid that weights name cells by, in their order.

    Names may differ (``lat``, ``latitude``) where sizes and coordinates are the same.

    Raises
    ------
    AlignmentError
        If it has no such dimensions; or for a grid of other sizes, or other coordinates in the first, the middle or the last
        cell, than that which the weights are of.
    """
    if "cell_id" in weights:
        return _check_units(grid, weights)
    own, n = identity_of(weights.attrs), len(index_names(weights))
    named = {str(d): d for d in grid.dims}
    found = grid_dims(grid)
    if len(own.dims) == n and set(own.dims) <= set(named):
        dims: tuple[Hashable, ...] = tuple(named[d] for d in own.dims)
    elif len(found) == n:
        dims = found
        turned = found[::-1]
        if own.sizes and _sizes(grid, dims) != own.sizes == _sizes(grid, turned):
            dims = turned
    else:
        of = f"of the grid {_text(own)}" if own.dims else f"of a grid of {n} dimensions"
        raise AlignmentError(
            f"weights are {of}, and runoff has the dimensions {some(grid.dims)}"
            + ("" if own.dims else ", of which it cannot be told which are the grid's: name them as usual (lat and lon, y and x, "
               "cell), or give their coordinates units or standard names")
        )  # fmt: skip
    here = identity_of(grid_identity(grid, dims))
    if not own.sizes:
        _check_range(grid, dims, weights)
    elif here.sizes != own.sizes:
        raise _other(here, own, _part_of(here, own))
    elif here.first and own.first:
        _check_places(grid, dims, here, own)
    if "cell_x" in weights and here.first:
        _check_centres(grid, dims, weights)
    elif not (here.first and own.first):
        lacking = "weights do not say which grid they are of" if not own.first else "the grid bears no coordinates"
        compared = "the sizes of the grid are" if own.sizes else "the range of their cells is"
        warn(
            f"{lacking}, so that only {compared} compared with them. If rows or columns of the weights were counted in another "
            "order, catchments get the runoff of other places"
        )
    return dims


def _sizes(grid: xr.DataArray, dims: Sequence[Hashable]) -> tuple[int, ...]:
    return tuple(grid.sizes[d] for d in dims)


def _check_range(grid: xr.DataArray, dims: Sequence[Hashable], weights: xr.Dataset) -> None:
    for name, dim in zip(index_names(weights), dims, strict=True):
        largest = int(weights[name].max()) if weights[name].size else -1
        if largest >= grid.sizes[dim]:
            raise AlignmentError(
                f"weights name cells up to {largest} ({name}), and {str(dim)!r} of the grid has {grid.sizes[dim]} entries: they "
                "are of another grid, or count rows and columns the other way round"
            )


def _check_places(grid: xr.DataArray, dims: Sequence[Hashable], here: Identity, own: Identity) -> None:
    """Refuse coordinates that are not those which the weights note."""
    axes = grid_axes(grid, dims)
    wrong = []
    for k, axis in enumerate(axes):
        near = _near(grid[axis], here, k)
        pairs = ((here.first, own.first), (here.middle, own.middle), (here.last, own.last))
        if any(a and b and not _same(grid[axis], a[k], b[k], near) for a, b in pairs):
            wrong.append(k)
    if not wrong:
        return
    turned = [
        k for k in wrong
        if len(dims) == 2 and grid[axes[k]].ndim == 1
        and _same(grid[axes[k]], here.first[k], own.last[k], _near(grid[axes[k]], here, k))
        and _same(grid[axes[k]], here.last[k], own.first[k], _near(grid[axes[k]], here, k))
    ]  # fmt: skip
    advice = ""
    if turned == wrong:
        slices = ", ".join(f"{axes[k]}=slice(None, None, -1)" for k in turned)
        advice = f"It is the same grid the other way round: grid.isel({slices})"
    raise _other(here, own, advice)


def _near(axis: xr.DataArray, identity: Identity, k: int) -> float:
    """How far apart values of an axis may be and mean the same cell."""
    values = identity.first[k], identity.middle[k], identity.last[k]
    near = NEAR * max(100.0, *map(abs, values))
    if axis.ndim == 1 and axis.size > 2:
        half = axis.size // 2
        a_cell = min(abs(values[1] - values[0]) / half, abs(values[2] - values[1]) / (axis.size - 1 - half))
        near = min(max(near, 0.01 * a_cell), 0.25 * a_cell) if a_cell else near
    return near


def _same(axis: xr.DataArray, a: float, b: float, near: float) -> bool:
    apart = abs(a - b)
    if is_longitude(axis):
        apart = abs(math.remainder(a - b, 360.0))
    return apart <= near or (math.isnan(a) and math.isnan(b))


def is_longitude(axis: xr.DataArray) -> bool:
    """Whether a coordinate is a longitude, of which 360 degrees more are the same; not an x of a projection."""
    units, name = str(axis.attrs.get("units", "")), str(axis.name).lower()
    says = axis.attrs.get("standard_name") in ("longitude", "grid_longitude") or units.startswith("degree")
    return says or ("lon" in name and units in ("", "1"))


def _check_centres(grid: xr.DataArray, dims: Sequence[Hashable], weights: xr.Dataset) -> None:
    """Refuse weights that note the places of their cells, if cells of the grid are elsewhere."""
    index = [np.asarray(weights[name].values).astype(np.int64) for name in index_names(weights)]
    position = dict(zip(dims, index, strict=True))
    own = identity_of(grid_identity(grid, dims))
    axes = grid_axes(grid, dims)
    for k, (axis, name) in enumerate(zip(axes, ("cell_y", "cell_x"), strict=True)):
        coordinate = axis_values(grid, axis, dims)
        values = coordinate.values[tuple(position[d] for d in coordinate.dims)].astype(float)
        noted = np.asarray(weights[name].values, float)
        apart = values - noted
        if is_longitude(coordinate):
            apart = np.remainder(apart + 180.0, 360.0) - 180.0
        spacing = 4 * _near(coordinate, own, k) if coordinate.ndim > 1 or coordinate.size < 3 else _spacing(coordinate)
        wrong = ~(np.abs(apart) <= 0.5 * spacing) & np.isfinite(noted)
        if wrong.any():
            j = int(np.flatnonzero(wrong)[0])
            raise AlignmentError(
                f"weights are of another grid: {int(wrong.sum())} of {wrong.size} overlaps name cells that are elsewhere in this "
                f"one. The first has {name} {noted[j]:g}, where {str(axis)!r} is {values[j]:g}: are rows or columns counted in "
                "another order?"
            )


def _spacing(axis: xr.DataArray) -> float:
    return float(np.abs(np.diff(axis.values.astype(float))).max())


def _part_of(here: Identity, own: Identity) -> str:
    if len(here.sizes) != len(own.sizes) or not (here.first and own.first):
        return ""
    inside = all(a <= b for a, b in zip(here.sizes, own.sizes, strict=True)) and all(
        min(own.first[k], own.last[k]) <= v <= max(own.first[k], own.last[k])
        for k in range(len(here.first)) for v in (here.first[k], here.last[k])
    )  # fmt: skip
    return "It may be a part of that grid, whose cells are counted otherwise" if inside else ""


def _other(here: Identity, own: Identity, advice: str) -> AlignmentError:
    makes = phrase("make weights", "xroute.grid_weights")
    return AlignmentError(
        f"weights are of another grid: of {_text(own)}; runoff is on {_text(here)}. {f'{advice}. Or make' if advice else 'Make'} "
        f"weights for this grid with {makes}"
    )


# ── units with ids ────────────────────────────────────────────────────────────────────────────────────────────────────


def unit_ids(grid: xr.DataArray | xr.Dataset, wanted: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """The dimension of what is on a model's units, along which wanted ids stand, and all ids along it.

    Raises
    ------
    AlignmentError
        If no coordinate bears any of them.
    """
    best: tuple[int, Any, NDArray[Any]] | None = None
    variables = {**grid.coords, **(dict(grid.data_vars) if isinstance(grid, xr.Dataset) else {})}
    for variable in variables.values():
        numeric = variable.dtype.kind == "f" and "units" in variable.attrs
        if variable.ndim != 1 or variable.dtype.kind not in "iufUSOT" or numeric:
            continue
        try:
            ids = exact_ids(variable.values, "ids")
        except ValueError:
            continue
        n = int(within(distinct(wanted), ids).sum()) if ids.dtype.kind == wanted.dtype.kind and not repeated(ids).size else 0
        if n and (best is None or n > best[0]):
            best = n, variable.dims[0], ids
    if best is None:
        raise AlignmentError(f"no coordinate of the grid bears the ids of its units, such as {some(wanted, 3)}")
    return best[1:]


def _check_units(grid: xr.DataArray, weights: xr.Dataset) -> tuple[Hashable, ...]:
    """The dimension of units that weights name by ids, if these stand where the weights have them."""
    noted = exact_ids(weights["cell_id"].values, "cell_id of the weights", AlignmentError)
    dim, ids = unit_ids(grid, noted)
    position = weights["cell"].values.astype(np.int64)
    moved = (position >= ids.size) | (ids[np.minimum(position, ids.size - 1)] != noted)
    if moved.any():
        raise AlignmentError(
            f"{int(moved.sum())} of {noted.size} units that weights name are elsewhere along {str(dim)!r} of this runoff: "
            f"{some(distinct(noted[moved]))}. Read the weights again with grid= this runoff"
        )
    return (dim,)


def _text(grid: Identity) -> str:
    sizes = " x ".join(map(str, grid.sizes)) or "unknown size"
    places = ""
    if grid.first:
        names = f" ({', '.join(grid.coords)})" if grid.coords and grid.coords != grid.dims else ""
        first, last = (", ".join(f"{v:.8g}" for v in place) for place in (grid.first, grid.last))
        places = f" from ({first}) to ({last}){names}"
    return f"{' x '.join(grid.dims) or 'unnamed dimensions'}, {sizes}{places}"
