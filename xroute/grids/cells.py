"""Cells of a grid, from its axes and their bounds: a lattice of meridians and parallels, or a mesh of polygons."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.earth import from_space, in_space
from xroute.exceptions import AlignmentError, some
from xroute.grid_axes import metres
from xroute.grids.coordinates import Axes, bounds_of, degrees
from xroute.grids.lattice import DIGITS, Lattice, make_lattice
from xroute.grids.mesh import Mesh, fixed_rings, nodes_between, projected_mesh

__all__ = ["as_cells"]

Float = NDArray[np.float64]
SUDDEN = 1.9
"""How many times as far apart as its neighbours two cells may be, where their bounds are not known."""
CYCLIC = 1.5
"""How many times as far apart the last and the first column of a grid around the globe may be as others."""


def as_cells(axes: Axes) -> Lattice | Mesh:
    """Cells of a grid.

    Raises
    ------
    AlignmentError
        Where bounds are needed and there are none, or they are not those of the cells.
    """
    if axes.x is None or axes.y is None:
        return _mesh(axes)
    if axes.crs is not None:
        return _projected(axes, axes.x, axes.y)
    lon, lat = degrees(axes.x), degrees(axes.y)
    if axes.x.dims != axes.y.dims:
        return _rectilinear(axes, axes.x, axes.y, lon, lat)
    _check_latitudes(lat, axes.y)
    return _curvilinear(axes, lon, lat) if lon.ndim == 2 else _mesh(axes)


# ── lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rectilinear(axes: Axes, x: xr.DataArray, y: xr.DataArray, lon: Float, lat: Float) -> Lattice:
    for values, coordinate in ((lon, x), (lat, y)):
        _check_finite(values, coordinate)
    _check_latitudes(lat, y)
    given = [bounds_of(axes, coordinate) for coordinate in (x, y)]
    lon_bounds = _circle(lon, x.dims[0]) if given[0] is None else _declared(given[0], lon, x, turn=360.0)
    lat_bounds = _line(lat, y.dims[0]) if given[1] is None else _declared(given[1], lat, y)
    return make_lattice(axes.dims, lon, lat, lon_bounds, np.clip(lat_bounds, -90, 90))  # beyond the poles there is nothing


def _projected(axes: Axes, x: xr.DataArray, y: xr.DataArray) -> Mesh:
    values, bounds = [], []
    for coordinate in (x, y):
        factor = _to_crs_units(coordinate, axes)
        centre = np.asarray(coordinate.values, np.float64) * factor
        _check_finite(centre, coordinate)
        given = bounds_of(axes, coordinate)
        low_high = _line(centre, coordinate.dims[0]) if given is None else _declared(given * factor, centre, coordinate)
        values.append(centre)
        bounds.append(low_high)
    return projected_mesh(axes.dims, values[0], values[1], bounds[0], bounds[1], axes.crs)


def _to_crs_units(coordinate: xr.DataArray, axes: Axes) -> float:
    """Factor from the units of a coordinate to those of the coordinate system."""
    size = metres(coordinate)
    unit = axes.crs.axis_info[0].unit_conversion_factor if axes.crs.axis_info else 1.0
    return 1.0 if size is None or axes.crs.is_geographic else size / unit


def _line(centre: Float, dim: Hashable) -> Float:
    """Bounds (n, 2) in the middle between centres; the first and the last cell reach as far out as in."""
    order = np.argsort(centre, kind="stable")
    ascending = centre[order]
    gap = np.diff(ascending)
    _check_gaps(gap, dim, centre.size)
    middle = (ascending[:-1] + ascending[1:]) / 2
    edge = np.concatenate([[ascending[0] - gap[0] / 2], middle, [ascending[-1] + gap[-1] / 2]])
    result = np.empty((centre.size, 2))
    result[order] = np.column_stack([edge[:-1], edge[1:]])
    return result


def _circle(lon: Float, dim: Hashable) -> Float:
    """Bounds (n, 2) of longitudes in whatever convention, wherever they begin."""
    around = np.round(lon % 360, DIGITS) % 360
    order = np.argsort(around, kind="stable")
    ascending = around[order]
    gap = np.diff(ascending, append=ascending[:1] + 360)
    if lon.size == 1:
        _check_gaps(gap[:0], dim, 1)
    last = int(gap.argmax())
    others = np.delete(gap, last)
    closed = gap[last] <= CYCLIC * others.max()
    turned = np.roll(np.arange(lon.size), -(last + 1))  # from the first cell eastwards to the last
    _check_gaps(gap[turned] if closed else gap[turned][:-1], dim, lon.size)
    width = gap[turned] / 2
    if not closed:
        width[-1] = width[-2]
    before = np.roll(width, 1)
    if not closed:
        before[0] = width[0]
    result = np.empty((lon.size, 2))
    # From the line in the middle to the next one: what is added to one cell is taken from its neighbour.
    result[order[turned]] = np.column_stack([ascending[turned] - before, ascending[turned] + width])
    return result


def _check_gaps(gap: Float, dim: Hashable, n: int) -> None:
    if n < 2:
        raise AlignmentError(
            f"the grid is one cell wide along {dim!r}: its cells' bounds are needed (CF's 'bounds', in a Dataset)"
        )
    if gap.min() <= 1e-6 * np.median(gap):
        at = int(gap.argmin())
        raise AlignmentError(
            f"{int((gap <= 1e-6 * np.median(gap)).sum())} cells along {dim!r} stand where another does, first the "
            f"{at + 1}th of them in ascending order. Where the first column is repeated at the end, leave it out: "
            f"isel({dim}=slice(0, -1))"
        )
    change = gap[1:] / gap[:-1]
    if change.size and max(change.max(), 1 / change.min()) > SUDDEN:
        raise AlignmentError(
            f"cells along {dim!r} are {gap.min():.6g} to {gap.max():.6g} apart, with a sudden change: how far each reaches "
            "cannot be told from their centres. Give their bounds (CF's 'bounds', in a Dataset), or a part of the grid without "
            "holes"
        )


def _declared(bounds: xr.DataArray, centre: Float, coordinate: xr.DataArray, turn: float | None = None) -> Float:
    """Bounds that a file has, checked against centres."""
    values = np.asarray(degrees(bounds) if bounds.ndim != 2 else _decimal(bounds), np.float64)
    if values.shape != (centre.size, 2):
        raise AlignmentError(
            f"bounds of {coordinate.name!r} have sizes {values.shape}, where {(centre.size, 2)} are wanted"
        )
    if not np.isfinite(values).all():
        raise AlignmentError(
            f"bounds of {coordinate.name!r} are missing in {int((~np.isfinite(values)).any(axis=1).sum())} cells"
        )
    low, high = values.min(axis=1), values.max(axis=1)
    if turn is None:
        outside = (centre < low - 1e-3 * (high - low)) | (centre > high + 1e-3 * (high - low))
    else:
        across = (high - low > turn / 2) & (centre.size > 1)
        low, high = np.where(across, high, low), np.where(across, low + turn, high)
        room = 1e-3 * (high - low)
        outside = (centre - low + room) % turn > high - low + 2 * room
    if outside.any():
        raise AlignmentError(
            f"{int(outside.sum())} cells have their {coordinate.name!r} outside of its bounds ({bounds.name!r}), first at "
            f"position {int(outside.argmax())}: they are not those of this grid"
        )
    return values


def _decimal(bounds: xr.DataArray) -> Float:
    """Bounds in degrees; what float32 holds of a decimal number is that number."""
    flat = bounds.variable.values.ravel()
    return degrees(xr.DataArray(flat, attrs=bounds.attrs)).reshape(bounds.shape)


def _check_finite(values: Float, coordinate: xr.DataArray) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        raise AlignmentError(
            f"{coordinate.name!r} of the grid is missing in {int(bad.sum())} places, first at {int(bad.argmax())}"
        )


def _check_latitudes(lat: Float, coordinate: xr.DataArray) -> None:
    beyond = np.abs(lat) > 90 + 1e-6
    if beyond.any():
        raise AlignmentError(
            f"latitudes of the grid ({coordinate.name!r}) lie beyond the poles: {some(lat[beyond][:10])}"
        )


# ── polygons ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _curvilinear(axes: Axes, lon: Float, lat: Float) -> Mesh:
    corners = _corners(axes)
    rings = nodes_between(lon, lat) if corners is None else fixed_rings(*corners)
    return Mesh(axes.dims, lon.shape, lon.ravel(), lat.ravel(), rings)


def _mesh(axes: Axes) -> Mesh:
    corners = _corners(axes) if axes.x is not None else None
    if corners is None and axes.mesh is not None:
        corners = _faces(axes)
    if corners is None and {"verticesOnCell", "nEdgesOnCell", "lonVertex", "latVertex"} <= set(axes.source.variables):
        corners = _corners_of_mpas(axes.source)
    if axes.x is not None and axes.y is not None:
        lon, lat = degrees(axes.x), degrees(axes.y)
    else:
        assert corners is not None
        lon, lat = from_space(np.nansum(in_space(*corners), axis=1))
    rings = None if corners is None else fixed_rings(*corners)
    return Mesh(axes.dims, lon.shape, lon, lat, rings)


def _corners(axes: Axes) -> tuple[Float, Float] | None:
    """Longitudes and latitudes [cell, corner] of cells, row by row."""
    assert axes.x is not None and axes.y is not None
    x, y = bounds_of(axes, axes.x), bounds_of(axes, axes.y.transpose(*axes.dims))
    if x is None or y is None:
        return None
    if x.shape != y.shape or x.shape[-1] < 3:
        raise AlignmentError(
            f"bounds of longitudes and latitudes have sizes {x.shape} and {y.shape}: corners of cells are wanted"
        )
    lon, lat = (degrees(b).reshape(-1, b.shape[-1]) for b in (x, y))
    return lon, lat


def _corners_of_mpas(source: xr.Dataset) -> tuple[Float, Float]:
    """Corners of the cells of MPAS, whose vertices are counted from 1."""
    index = np.asarray(source["verticesOnCell"].values, np.int64) - 1
    absent = np.arange(index.shape[1]) >= np.asarray(source["nEdgesOnCell"].values)[:, None]
    index = np.where(absent, 0, index)
    lon, lat = (np.where(absent, np.nan, degrees(source[name])[index]) for name in ("lonVertex", "latVertex"))
    return lon, lat


def _faces(axes: Axes) -> tuple[Float, Float]:
    """Corners of the faces of a mesh (UGRID)."""
    assert axes.mesh is not None
    source, mesh = axes.source, axes.mesh
    nodes = source[mesh.attrs["face_node_connectivity"]]
    nodes = nodes.transpose(axes.dims[0], ...)
    names = str(mesh.attrs.get("node_coordinates", "")).split()
    places = [source[name] for name in names if name in source.variables]
    x = next((p for p in places if p.attrs.get("standard_name") == "longitude" or "lon" in str(p.name).lower()), None)
    y = next((p for p in places if p.attrs.get("standard_name") == "latitude" or "lat" in str(p.name).lower()), None)
    if len(places) == 2 and (x is None or y is None):
        x, y = places
    if x is None or y is None:
        raise AlignmentError(f"the mesh {mesh.name!r} names no node_coordinates that are there: {some(names)}")
    start = int(nodes.attrs.get("start_index", nodes.encoding.get("start_index", 0)))
    fill = nodes.attrs.get("_FillValue", nodes.encoding.get("_FillValue", nodes.attrs.get("missing_value")))
    index = np.asarray(nodes.values)
    absent = ~np.isfinite(index.astype(np.float64)) | (index.astype(np.float64) < start)
    if fill is not None:
        absent |= index == fill
    index = np.where(absent, 0, index.astype(np.float64) - start).astype(np.int64)
    if (index >= x.size).any():
        raise AlignmentError(f"{nodes.name!r} names nodes up to {int(index.max()) + start}, and there are {x.size}")
    lon, lat = (np.where(absent, np.nan, degrees(place)[index]) for place in (x, y))
    return lon, lat
