"""What a grid says of itself: which variables are its longitudes and latitudes, its axes, its projection and its cells' bounds.

Told by CF's standard names, units and axes, then by usual names. `cells` makes cells of what is found here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, require, some
from xroute.grid_axes import GRID_AXES, LATITUDES, LONGITUDES, is_column, is_row
from xroute.wording import argument

__all__ = ["Axes", "bounds_of", "degrees", "find_axes"]

Float = NDArray[np.float64]
NAMES = {
    "longitude": LONGITUDES | {
        "lon", "longitude", "long", "loncell", "grid_center_lon", "mesh2d_face_x", "g0_lon_1", "g0_lon_2", "g0_lon_3",
    },
    "latitude": LATITUDES | {
        "lat", "latitude", "latcell", "grid_center_lat", "mesh2d_face_y", "g0_lat_0", "g0_lat_1", "g0_lat_2",
    },
}  # fmt: skip
"""Usual names, in small letters."""
UNITS = {
    "longitude": {"degrees_east", "degree_east", "degreese", "degreee", "degree_e", "degrees_e"},
    "latitude": {"degrees_north", "degree_north", "degreesn", "degreen", "degree_n", "degrees_n"},
}
ANGLES = {"radian", "radians", "rad"}
TOGETHER = ("_bnds", "_bounds", "_vertices", "_bnd", "_corners")
"""What the names of bounds end with, where no attribute names them."""


@dataclass(frozen=True)
class Axes:
    """Coordinates of a grid's cells.

    Attributes
    ----------
    dims
        Dimensions of the grid: rows, then columns; or that of its cells.
    x, y
        Coordinates: one along each dimension, or both along all of them; degrees, or in the units of ``crs``.
    crs
        Coordinate system, if they are no longitudes and latitudes.
    mesh
        Variable of the mesh's topology (UGRID), if there is one.
    source
        The Dataset that holds bounds.
    """

    dims: tuple[Hashable, ...]
    x: xr.DataArray | None
    y: xr.DataArray | None
    source: xr.Dataset
    crs: Any = None
    mesh: xr.DataArray | None = None


def find_axes(grid: xr.DataArray | xr.Dataset, crs: Any = None, dims: Sequence[Hashable] | None = None) -> Axes:
    """Find the axes of a grid.

    Parameters
    ----------
    grid
        A variable on the grid, or a Dataset of such.
    crs
        Coordinate system of ``x`` and ``y``, as pyproj takes it, where the grid names none.
    dims
        Dimensions of the grid, where they cannot be told.

    Raises
    ------
    AlignmentError
        If there are no coordinates, or it cannot be told which they are.
    """
    source, array = _source(grid)
    on = tuple(array.dims if array is not None else source.dims)
    if dims is not None:
        lacking = [d for d in dims if d not in on]
        if lacking:
            raise AlignmentError(f"the grid has no dimensions {some(lacking)}; it has {some(on)}")
        on = tuple(dims)
    projected = _crs(source, array, crs)
    if projected is not None and (not projected.is_geographic or projected.is_derived):
        x, y = _plane(source, on, require_both=crs is not None)
        counted = crs is None and _only_counts(x, y) and _degrees_on(source, on, "longitude") is not None
        if x is not None and y is not None and not counted:
            return Axes((y.dims[0], x.dims[0]), x, y, source, projected)
    mesh = _mesh(source, array, on)
    lon, lat = (_degrees_on(source, on, what) for what in ("longitude", "latitude"))
    if (lon is None or lat is None) and projected is not None:  # x and y of a system in degrees
        lon, lat = _plane(source, on, require_both=crs is not None)
    if lon is None or lat is None:
        if mesh is not None:
            return Axes((_face_dim(mesh, source, on),), None, None, source, mesh=mesh)
        raise AlignmentError(_nowhere(source, on))
    if lon.ndim == lat.ndim == 1 and lon.dims != lat.dims:
        return Axes((lat.dims[0], lon.dims[0]), lon, lat, source)
    if set(lon.dims) != set(lat.dims) or lon.ndim > 2:
        raise AlignmentError(
            f"longitudes are on {some(lon.dims)} and latitudes on {some(lat.dims)}: give the grid's dimensions, "
            f"{argument('dims')}"
        )
    return Axes(lon.dims, lon, lat.transpose(*lon.dims), source, mesh=mesh if lon.ndim == 1 else None)


def _source(grid: xr.DataArray | xr.Dataset) -> tuple[xr.Dataset, xr.DataArray | None]:
    """A Dataset with all coordinates, and the variable whose grid is wanted."""
    if isinstance(grid, xr.DataArray):
        return grid.coords.to_dataset(), grid
    if not isinstance(grid, xr.Dataset):
        raise ParameterError(f"a grid is an xarray.DataArray or Dataset, or the path of one, not {type(grid).__name__}")
    helpers = set(_helpers(grid))
    fields = [
        v for n, v in grid.data_vars.items()
        if n not in helpers and v.ndim and v.dtype.kind in "fiu" and not is_row(v) and not is_column(v)
    ]  # fmt: skip
    return grid, max(fields, key=lambda v: v.ndim, default=None)


def _helpers(grid: xr.Dataset) -> Iterator[Hashable]:
    """Variables that say something of others."""
    for name, variable in grid.variables.items():
        for key in ("bounds", "climatology", "grid_mapping", "mesh", "node_coordinates", "coordinates"):
            yield from str(_said(variable, key) or "").replace(":", " ").split()
        yield from (str(v) for k, v in variable.attrs.items() if str(k).endswith("_connectivity"))
        if str(name).lower().endswith(TOGETHER):
            yield name


def _said(variable: Any, key: str) -> Any:
    return variable.attrs.get(key, variable.encoding.get(key))


# ── which is which ────────────────────────────────────────────────────────────────────────────────────────────────────


def _degrees_on(source: xr.Dataset, on: Sequence[Hashable], what: str) -> xr.DataArray | None:
    """Longitudes or latitudes along the grid's dimensions, the surest first."""
    ranked = []
    helpers = set(_helpers(source)) - set(source.coords)
    for name, variable in source.variables.items():
        if variable.ndim == 0 or variable.dtype.kind not in "fiu" or not set(variable.dims) & set(on):
            continue
        units = str(variable.attrs.get("units", "")).strip().lower()
        standard = variable.attrs.get("standard_name")
        says = (standard == what) + (units in UNITS[what]) if standard in (None, what) else 0
        named = str(name).lower() in NAMES[what] and not (standard and standard != what)
        if not (says or named) or str(name).lower().endswith(TOGETHER):
            continue
        if not set(variable.dims) <= set(on) and variable.ndim < 3:
            continue
        apart = variable.ndim == 1 and variable.dims[0] == name  # the dimension's own
        ranked.append(
            (set(variable.dims) <= set(on), apart, says, named, name not in helpers, name in source.coords, name)
        )
    if not ranked:
        return None
    best = max(ranked, key=lambda rank: rank[:-1])
    return _still(source[best[-1]])


def _still(array: xr.DataArray) -> xr.DataArray:
    """A coordinate without the times along which it stays the same (WRF's)."""
    while array.ndim > 2:
        along = str(next((d for d in array.dims if str(d).lower() in ("time", "t")), array.dims[0]))
        first = array.isel({along: 0})
        if array.sizes[along] > 1 and not bool((array == first).all()):
            raise AlignmentError(
                f"{array.name!r} is not the same all along {along!r}: the grid moves. Choose a part where it does not"
            )
        array = first.drop_vars(along, errors="ignore")
    return array


def _plane(
    source: xr.Dataset, on: Sequence[Hashable], require_both: bool
) -> tuple[xr.DataArray | None, xr.DataArray | None]:
    """Axes x and y of a projection: by what they say, by their names, or as the last of two dimensions."""
    found: list[xr.DataArray | None] = []
    for says, names in ((is_column, GRID_AXES[1]), (is_row, GRID_AXES[0])):
        own = [source[d] for d in on if d in source.coords and source[d].dtype.kind in "fiu"]
        others = [c for c in source.coords.values() if c.ndim == 1 and c.dims[0] in on and c.dtype.kind in "fiu"]
        fits = [c for c in (*own, *others) if says(c) or str(c.name).lower() in names]
        found.append(fits[0] if fits else None)
    x, y = found
    if require_both and (x is None or y is None or x.dims == y.dims):
        raise AlignmentError(
            f"the grid has no coordinates x and y along its dimensions {some(on)}, which {argument('crs')} is of: give it some"
        )
    return x, y


def _only_counts(*axes: xr.DataArray | None) -> bool:
    """Whether axes say nothing of what they are, and count cells (WRF's)."""
    said = ("units", "standard_name", "axis")
    return all(
        a is None
        or not any(k in a.attrs for k in said)
        and bool((np.diff(a.values) == 1).all())
        and a.values[0] in (0, 1)
        for a in axes
    )


def _nowhere(source: xr.Dataset, on: Sequence[Hashable]) -> str:
    x, y = _plane(source, on, False)
    if x is not None and y is not None and x.dims != y.dims:
        return (
            f"the grid has coordinates {x.name!r} and {y.name!r}, and neither says that it is a longitude or "
            "latitude, nor is there "
            f"a coordinate system: give it, {argument('crs', 'EPSG:4326')} for degrees"
        )
    return (
        f"the grid's longitudes and latitudes cannot be told; its dimensions are {some(on)}, its variables "
        f"{some(source.variables)}. Give the coordinates standard_name 'longitude' and 'latitude', or units 'degrees_east' and "
        "'degrees_north'"
    )


# ── coordinate systems and meshes ─────────────────────────────────────────────────────────────────────────────────────


def _crs(source: xr.Dataset, array: xr.DataArray | None, crs: Any) -> Any:
    """Coordinate system of the grid, as it is given or as a grid mapping says."""
    mapping = None
    if crs is None:
        named = "" if array is None else str(_said(array, "grid_mapping") or "")
        names: list[Hashable] = [name for name in named.replace(":", " ").split() if name in source.variables]
        names += [n for n, v in source.variables.items() if v.ndim == 0 and _is_mapping(v)]
        mapping = next((source[name].attrs for name in names if _is_mapping(source[name])), None)
        if mapping is None:
            return None
        if mapping.get("grid_mapping_name") == "latitude_longitude":
            return require("pyproj", feature="grids with a grid mapping", extra="geo").CRS("EPSG:4326")
    pyproj = require("pyproj", feature="grids in a projection", extra="geo")
    try:
        if mapping is None:
            return pyproj.CRS.from_user_input(crs)
        text = mapping.get("crs_wkt") or mapping.get("spatial_ref")
        return pyproj.CRS.from_wkt(text) if text else pyproj.CRS.from_cf(dict(mapping))
    except (pyproj.exceptions.CRSError, KeyError, TypeError) as error:
        what = f"{argument('crs')}{crs!r}" if mapping is None else f"the grid mapping {dict(mapping)}"
        raise ParameterError(f"{what} is no coordinate system that pyproj knows: {error}") from error


def _is_mapping(variable: Any) -> bool:
    return bool({"grid_mapping_name", "crs_wkt", "spatial_ref"} & set(variable.attrs))


def _mesh(source: xr.Dataset, array: xr.DataArray | None, on: Sequence[Hashable]) -> xr.DataArray | None:
    """Topology of a mesh, with its faces along a dimension of the grid."""
    named = None if array is None else _said(array, "mesh")
    found = [n for n, v in source.variables.items() if v.attrs.get("cf_role") == "mesh_topology"]
    name = named if named in source.variables else found[0] if len(found) == 1 else None
    if name is None or source[name].attrs.get("face_node_connectivity") not in source.variables:
        return None
    mesh = source[name]
    return mesh if _face_dim(mesh, source, on, default=None) is not None else None


def _face_dim(mesh: xr.DataArray, source: xr.Dataset, on: Sequence[Hashable], default: Any = ()) -> Any:
    nodes = source[mesh.attrs["face_node_connectivity"]]
    declared = mesh.attrs.get("face_dimension")
    along = declared if declared in nodes.dims else nodes.dims[0]
    if along in on:
        return along
    if default is None:
        return None
    raise AlignmentError(f"the faces of the mesh are along {along!r}, which is none of {some(on)}")


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def degrees(array: xr.DataArray | xr.Variable) -> Float:
    """Values of a coordinate in degrees, float64; what float32 holds of a decimal number is that number."""
    values = np.asarray(array.values)
    if values.dtype == np.float32 and values.ndim == 1:
        values = values.astype(str).astype(np.float64)  # 359.9, not 359.8999939
    values = values.astype(np.float64)
    units = str(array.attrs.get("units", "")).strip().lower()
    if units in ANGLES or (
        not units and getattr(array, "name", None) in ("lonCell", "latCell", "lonVertex", "latVertex")
    ):
        values = np.degrees(values)  # MPAS says nothing of its radians
    return np.asarray(values)


def bounds_of(axes: Axes, coordinate: xr.DataArray) -> xr.DataArray | None:
    """Bounds of a coordinate: its dimensions, and then a cell's vertices; None where there are none."""
    declared = _said(coordinate, "bounds")
    names = [declared] if declared else [f"{coordinate.name}{ending}" for ending in TOGETHER]
    names += [] if declared else [n for n in axes.source.variables if _is_vertices(str(n), str(coordinate.name))]
    for name in names:
        if name in axes.source.variables:
            bounds = axes.source[name]
            if bounds.ndim == coordinate.ndim + 1 and set(coordinate.dims) < set(bounds.dims):
                extra = next(d for d in bounds.dims if d not in coordinate.dims)
                bounds = bounds.transpose(*coordinate.dims, extra)
                if "units" not in bounds.attrs:  # they are those of the coordinate
                    bounds = bounds.assign_attrs(units=coordinate.attrs.get("units", ""))
                return bounds
    return None


def _is_vertices(name: str, of: str) -> bool:
    """Whether a name is one of CMIP's or SCRIP's for the vertices of a coordinate."""
    return name.lower() in (
        f"vertices_{of.lower()}",
        f"{of.lower()}_vertex",
        f"bounds_{of.lower()}",
        f"{of.lower()[:3]}_vertices",
        of.lower().replace("center", "corner") if "center" in of.lower() else "",
    )
