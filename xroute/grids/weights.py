"""`grid_weights`: from a grid and catchments to the Dataset of weights that `xroute.remap` takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.attrs import append_history
from xroute.bars import progress_bar
from xroute.exceptions import AlignmentError, ParameterError, one_of, require, some, warn
from xroute.files.opening import open_dataset
from xroute.grids.catchments import Outlines, Points, read_catchments
from xroute.grids.cells import as_cells
from xroute.grids.coordinates import find_axes
from xroute.grids.form import grid_identity, weights_dataset
from xroute.grids.lattice import Lattice, lattice_overlaps
from xroute.grids.mesh import Mesh
from xroute.grids.nearest import nearest_cells, spacing
from xroute.network import Network
from xroute.settings import EDGES, UNCOVERED, WEIGHT_METHOD, Edges, Uncovered, WeightMethod
from xroute.wording import argument

__all__ = ["grid_weights"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
PathLike = str | os.PathLike[str]
ROUNDING = 1e-6
"""Part of a catchment that may be beyond the grid by rounding."""


def grid_weights(
    grid: xr.DataArray | xr.Dataset | PathLike,
    catchments: Any,
    *,
    method: WeightMethod = "area",
    reach: Hashable | None = None,
    edges: Edges = "straight",
    uncovered: Uncovered = "raise",
    variable: Hashable | None = None,
    crs: Any = None,
    dims: Sequence[Hashable] | None = None,
    layer: str | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Weights that bring what is on a grid to the catchments of reaches: how much area of which cell each has.

    They are made once for a grid and a set of catchments, and kept in a file (`xroute.io.write`). Cells between meridians and
    parallels are cut exactly; their area is that on the WGS 84 ellipsoid (Snyder 1987, eq. 3-12), as is that of all other cells.
    Edges of catchments are straight in their coordinate system, in longitude and latitude or in the plane of a projection,
    unless they are to be geodesics.
    The same numbers come of a grid whatever convention its longitudes follow, wherever it is cut open and whichever way its
    rows go.

    Parameters
    ----------
    grid : DataArray, Dataset or path
        A variable on the grid, such as (lat, lon) or (..., y, x), whatever its units, or a Dataset with such, which may
        hold the bounds of cells as well. No values are read but those of coordinates. Grids may be rectilinear (``lat``,
        ``lon``), curvilinear (``lat`` and ``lon`` on both dimensions), projected (``x``, ``y`` and a grid mapping, or
        ``crs``), or unstructured (``lat`` and ``lon`` on one dimension and bounds with the cells' corners, or a mesh by
        UGRID). Bounds are made from centres where there are none: in the middle between two of them, and as far out as in
        at the ends. Cells end at the poles, whatever their bounds say.
    catchments : GeoDataFrame, GeoSeries, Dataset, Network or path
        Polygons in any coordinate system, or points: of a GeoDataFrame, of a GeoSeries whose index bears the ids, or ``lon`` and
        ``lat`` of a network. Paths may lead to any file of polygons or points (``.gpkg``, ``.parquet``, ``.shp``,
        ``.geojson``), or of a network. Several rows of one id are one catchment; where they overlap, the area counts once.
        Polygons that cross the date line may be cut there or not: an edge of more than 180 degrees goes the other way round.
    method : {"area", "nearest"}
        ``"area"``: all cells that a catchment (a polygon) overlaps, by the area of the overlap. ``"nearest"``: the cell whose
        centre is nearest to it on the sphere, with the catchment's own area (column ``area`` of points [m2], of a
        network in its units, or that of known hydrographies; of polygons theirs).
    reach : str, optional
        Column of the reaches' ids; by default what a known hydrography calls it (``COMID``, ``LINKNO``, ``HYRIV_ID``,
        ``HYBAS_ID``, ...).
    edges : {"straight", "geodesic"}
        What edges of polygons are between vertices: ``"straight"`` in the polygons' coordinate system, as GeoJSON (RFC 7946) and
        geographic information systems take them, so that cells and catchments with edges along parallels fit; or the
        ``"geodesic"`` of WGS 84, as ``pyproj.Geod.geometry_area_perimeter`` takes them. Areas differ by less than a
        millionth where vertices are close together, and more where edges are long.
    uncovered : {"raise", "warn", "accept"}
        Catchments that lie beyond the grid by more than a millionth of their area, or (nearest) outside of the nearest cell.
    variable : str, optional
        Variable of a Dataset that has several grids.
    crs
        Coordinate system of the grid's ``x`` and ``y``, as pyproj takes it, where the grid names none.
    dims : (row dimension, column dimension), optional
        Dimensions of the grid, where they cannot be told.
    layer : str, optional
        Layer of a file that has several.
    progress
        Show a progress bar.

    Returns
    -------
    xarray.Dataset
        On ``overlap``: ``reach``, the cell (``y_index`` and ``x_index``, or ``cell``; positions from 0), ``area`` [m2] and
        ``cell_area`` [m2]. On ``catchment`` (ids, in the order in which they came): ``catchment_area`` [m2], and ``covered``,
        the part of it that lies on the grid. Attributes say which grid it is of.

    Raises
    ------
    AlignmentError
        If the grid's coordinates cannot be told or are wrong; for catchments that it does not cover.
    ParameterError
        For catchments without geometry, ids, areas or places; points where polygons are needed.
    NetworkError
        For ids that are missing, not exact, or (points) stand twice.
    ImportError
        Where shapely, geopandas or pyproj is needed and not installed.

    Warns
    -----
    UserWarning
        For polygons that are not valid, which are mended; catchments without a coordinate system; uncovered ones if so asked.

    Examples
    --------
    >>> import geopandas, shapely, xarray as xr, xroute
    >>> grid = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
    >>> polygon = shapely.box(7.5, 49.0, 8.0, 50.0)
    >>> catchments = geopandas.GeoDataFrame({"reach": [42]}, geometry=[polygon], crs="EPSG:4326")
    >>> weights = xroute.grid_weights(grid, catchments)
    >>> weights["y_index"].values, weights["x_index"].values, weights["covered"].values
    (array([1]), array([0]), array([1.]))
    """
    one_of("method", method, WEIGHT_METHOD)
    one_of("edges", edges, EDGES)
    one_of("uncovered", uncovered, UNCOVERED)
    grid = _opened(grid, variable)
    axes = find_axes(grid, crs, dims)
    found = read_catchments(catchments, reach, layer)
    cells = as_cells(axes)
    if method == "nearest":
        parts = _nearest(cells, found, edges)
    else:
        parts = _by_area(cells, found, edges, _is_of_network(catchments), progress)
    owner, cell, area, whole, ids, size, covered = parts
    _check_cover(ids, covered, uncovered, method)
    shape = cells.shape
    index = np.divmod(cell, shape[1]) if len(shape) == 2 else (cell,)
    how = f'xroute.grid_weights: method="{method}"' + (f', edges="{edges}"' if edges != "straight" else "")
    attrs = {
        "title": "weights from a grid to catchments", "method": method, "Conventions": "CF-1.11",
        **grid_identity(grid, axes.dims), "history": append_history(None, how),
    }  # fmt: skip
    return weights_dataset(
        ids[owner], index, area, catchment=ids, catchment_area=size, covered=covered, cell_area=whole, attrs=attrs
    )


Found = tuple[Int, Int, Float, Float | None, NDArray[Any], Float, Float]


def _opened(grid: Any, variable: Hashable | None) -> xr.DataArray | xr.Dataset:
    """The grid, with nothing but the one variable that is meant and what is no field."""
    if isinstance(grid, (str, os.PathLike)):
        grid = open_dataset(grid)
    if variable is None:
        return grid
    if not isinstance(grid, xr.Dataset) or variable not in grid.variables:
        has = f"it has {some(grid.data_vars)}" if isinstance(grid, xr.Dataset) else "it is one variable already"
        raise ParameterError(f"the grid has no variable {str(variable)!r}: {has}")
    others = [n for n, v in grid.data_vars.items() if n != variable and set(v.dims) >= set(grid[variable].dims)]
    return grid.drop_vars(others)


def _is_of_network(catchments: Any) -> bool:
    return isinstance(catchments, (xr.Dataset, Network))


# ── the two methods ───────────────────────────────────────────────────────────────────────────────────────────────────


def _by_area(
    cells: Lattice | Mesh, catchments: Outlines | Points, edges: Edges, network: bool, progress: bool
) -> Found:
    """Overlaps with polygons, by catchment and then by cell."""
    if isinstance(catchments, Points):
        raise ParameterError(
            f"{'a network has' if network else 'points and lines have'} no outlines of catchments, which "
            f"{argument('method', 'area')} needs: give their polygons, or {argument('method', 'nearest')}"
        )
    if isinstance(cells, Mesh) and cells.rings is None:
        raise AlignmentError(
            f"the grid's cells along {some(cells.dims)} have centres and no corners, which "
            f"{argument('method', 'area')} needs: give a "
            f"Dataset that holds their bounds too, or {argument('method', 'nearest')}"
        )
    require("shapely", feature="weights from a grid to catchments", extra="geo")
    from xroute.grids.clip import mesh_overlaps
    from xroute.grids.polygons import as_parts

    parts, ids = as_parts(catchments.geometry, catchments.ids, catchments.crs, edges)
    with _ticking(parts.n, progress) as tick:
        if isinstance(cells, Lattice):
            found = lattice_overlaps(cells, parts, tick)
        else:
            found = mesh_overlaps(cells, parts, tick)
    owner, cell, area, whole = _summed(*found)
    covered = np.divide(np.bincount(owner, area, ids.size), parts.area, out=np.zeros(ids.size), where=parts.area > 0)
    covered[np.abs(covered - 1) < ROUNDING / 1000] = 1.0
    return owner, cell, area, whole, ids, parts.area, covered


def _summed(owner: Int, cell: Int, area: Float, whole: Float, rank: Int) -> tuple[Int, Int, Float, Float]:
    """Overlaps by catchment and rank of the cell, one of each pair."""
    order = np.lexsort((rank, owner))
    owner, cell, rank, area, whole = owner[order], cell[order], rank[order], area[order], whole[order]
    new = np.ones(owner.size, bool)
    new[1:] = (np.diff(owner) != 0) | (np.diff(rank) != 0)
    first = np.flatnonzero(new)
    if first.size < owner.size:
        area = np.add.reduceat(area, first)
        owner, cell, whole = owner[first], cell[first], whole[first]
    return owner, cell, np.where(np.abs(area - whole) <= 1e-12 * whole, whole, area), whole


def _nearest(cells: Lattice | Mesh, catchments: Outlines | Points, edges: Edges) -> Found:
    """The nearest cell of each catchment, with its own area."""
    places = catchments if isinstance(catchments, Points) else _middles(catchments, edges)
    if places.area is None:
        raise ParameterError(
            f"{argument('method', 'nearest')} needs the local area of each catchment, 'area' (reach) with units: assign it, or "
            "make it of upstream areas with xroute.local_area(network)"
        )
    wrong = ~(np.isfinite(places.area) & (places.area >= 0))
    if wrong.any():
        raise ParameterError(
            f"area is NaN, infinite or negative in {int(wrong.sum())} catchments: {some(places.ids[wrong])}"
        )
    lon, lat = cells.centres()
    if not (np.isfinite(lon) & np.isfinite(lat)).any():
        raise AlignmentError("the grid has no cell with a place")
    cell, far = nearest_cells(places.lon, places.lat, lon, lat)
    reaches = cells.widths()
    limit = spacing(lon, lat, cell) if reaches is None else reaches[cell]
    covered = np.where(far <= limit * (1 + 1e-3) + 1.0, 1.0, 0.0)
    return np.arange(cell.size), cell, places.area, _whole(cells, cell), places.ids, places.area, covered


def _whole(cells: Lattice | Mesh, cell: Int) -> Float | None:
    """Areas of whole cells, where their corners are known."""
    if isinstance(cells, Lattice):
        row, column = np.divmod(cell, cells.shape[1])
        place = [np.zeros(n, np.int64) for n in cells.shape]
        for to, of in zip(place, (cells.row, cells.column), strict=True):
            to[of[of >= 0]] = np.flatnonzero(of >= 0)
        return cells.areas(place[0][row], place[1][column])
    if cells.rings is None:
        return None
    require("shapely", feature="areas of cells that are polygons", extra="geo")
    from xroute.grids.clip import areas_of

    used, back = np.unique(cell, return_inverse=True)
    areas = areas_of(cells.polygons(used))[back]
    return None if (areas <= 0).any() else np.asarray(areas)


def _middles(catchments: Outlines, edges: Edges) -> Points:
    """Centroids of polygons, and their areas."""
    require("shapely", feature="catchments", extra="geo")
    import shapely

    from xroute.grids.clip import areas_of
    from xroute.grids.polygons import as_parts

    parts, ids = as_parts(catchments.geometry, catchments.ids, catchments.crs, edges)
    size, middle = areas_of(parts.geometry), shapely.centroid(parts.geometry)
    total = np.bincount(parts.catchment, size, ids.size)
    first = np.searchsorted(parts.catchment, np.arange(ids.size))
    lon, lat = shapely.get_x(middle), shapely.get_y(middle)
    of_first = lon[first[parts.catchment]]
    lon = of_first + (lon - of_first + 180) % 360 - 180  # parts on both sides of the date line
    mean_lon, mean_lat = (np.bincount(parts.catchment, v * size, ids.size) / total for v in (lon, lat))
    return Points(mean_lon, mean_lat, ids, parts.area)


# ── reports ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_cover(ids: NDArray[Any], covered: Float, policy: Uncovered, method: WeightMethod) -> None:
    """Raise or warn of catchments that lie beyond the grid, the worst by name."""
    short = np.flatnonzero(covered < 1 - ROUNDING)
    if not short.size or policy == "accept":
        return
    worst = short[np.argsort(covered[short], kind="stable")][:10]
    if method == "nearest":
        text = (
            f"{short.size} of {ids.size} catchments are farther from the nearest cell of the grid than its own corners are: "
            f"{some(ids[short])}"
        )
    else:
        n_out = int((covered[short] == 0).sum())
        parts = ", ".join(f"{ids[k].item()!r} ({100 * covered[k]:.4g} %)" for k in worst)
        text = (
            f"the grid does not cover {short.size} of {ids.size} catchments, {n_out} of them not at all; the worst, with the "
            f"part that it covers: {parts}"
        )
    if policy == "warn":
        warn(text)
        return
    raise AlignmentError(
        f"{text}. Take a larger grid or fewer catchments, or {argument('uncovered', 'accept')}, with which what is "
        "beyond has no runoff"
        if method == "area" else f"{text}. Take a larger grid or fewer catchments, or {argument('uncovered', 'accept')}"
    )  # fmt: skip


@contextmanager
def _ticking(n: int, progress: bool) -> Iterator[Callable[[int], object]]:
    with progress_bar(shown=progress, total=n, unit=" polygons", unit_scale=True) as bar:
        yield bar.update
