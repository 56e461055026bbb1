"""Labels: which dimension is the reach, and which row is which reach.

Everything is aligned by id. The order of dimensions and of reaches is the runoff's own, in and out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, XRouteError, one_of, some
from xroute.ids import exact_ids, locate
from xroute.network import Network
from xroute.times import find_time_dim

__all__ = ["Layout", "align", "grid_dims", "require_array", "standard_names"]


@dataclass(frozen=True)
class Layout:
    """How an array's dimensions and rows relate to a network.

    Attributes
    ----------
    dims
        The array's own order of dimensions.
    reach_dim, time_dim, batch_dims
        Which is which; ``time_dim`` is None for a snapshot.
    row
        Row of each reach in the array, -1 if it has none; None when reaches are rows. int64 [reach]
    result_row
        Row of each reach in the result, in the same way.
    coords
        Coordinates of the result.
    sizes
        Sizes of the result's dimensions.
    """

    dims: tuple[Hashable, ...]
    reach_dim: Hashable
    time_dim: Hashable | None
    batch_dims: tuple[Hashable, ...]
    row: NDArray[np.int64] | None
    result_row: NDArray[np.int64] | None
    coords: Mapping[Hashable, Any]
    sizes: Mapping[Hashable, int]

    @property
    def engine_dims(self) -> tuple[Hashable, ...]:
        """Order of dimensions in the engine: batch, reach, time."""
        return (*self.batch_dims, self.reach_dim) + (() if self.time_dim is None else (self.time_dim,))

    @property
    def n_batch(self) -> int:
        """Number of series of a reach."""
        return math.prod(self.sizes[d] for d in self.batch_dims)

    def ordered(self, data: NDArray[Any]) -> NDArray[Any]:
        """``data`` [batch, row, time], for any number of steps, in the array's own order of dimensions (a view)."""
        shape = (*(self.sizes[d] for d in (*self.batch_dims, self.reach_dim)), *data.shape[2:])
        return data.reshape(shape).transpose([self.engine_dims.index(d) for d in self.dims])

    def array(self, data: NDArray[Any]) -> xr.DataArray:
        """Label ``data`` [batch, row, time] as the result."""
        return xr.DataArray(self.ordered(data), dims=self.dims, coords=self.coords)


def require_array(array: Any, what: str = "runoff") -> xr.DataArray:
    """The array; what is not a DataArray is refused."""
    if not isinstance(array, xr.DataArray):
        hint = f": choose one of {some(array.data_vars)}" if isinstance(array, xr.Dataset) else ""
        raise XRouteError(f"{what} is an xarray.DataArray, not a {type(array).__name__}{hint}")
    return array


def align(
    array: xr.DataArray,
    network: Network,
    *,
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
    what: str = "runoff",
) -> Layout:
    """Find an array's rows in a network, by id.

    Raises
    ------
    AlignmentError
        If the reach dimension cannot be told or has no ids; for ids that stand twice, that the network does not have
        (``extra="raise"``), or that the array lacks (``missing="raise"``), of which the first ten are named; and for
        coordinates that cannot say that a value is unknown on reaches which are added.
    """
    one_of("missing", missing, ("raise", "zero"), AlignmentError)
    one_of("extra", extra, ("raise", "drop"), AlignmentError)
    dim = _find_reach_dim(array, network, reach_dim, time_dim, what)
    name = _id_coordinate(array, dim, what)
    ids = exact_ids(array[name].values, f"{what} {name!r}", AlignmentError)
    if ids.dtype.kind != network.ids.dtype.kind and ids.size and network.n_reaches:
        kinds = {"i": "integers", "U": "text"}
        raise AlignmentError(
            f"{what} ids are {kinds[ids.dtype.kind]} and the network's are {kinds[network.ids.dtype.kind]}: "
            f"convert one, e.g. {what}.assign_coords({name}={what}[{str(name)!r}].astype(...))"
        )
    batch_dims = tuple(d for d in array.dims if d not in (dim, time_dim))
    sizes = {d: array.sizes[d] for d in array.dims}
    if np.array_equal(ids, network.ids):
        return Layout(array.dims, dim, time_dim, batch_dims, None, None, array.coords, sizes)
    unique, count = np.unique(ids, return_counts=True)
    if unique.size < ids.size:
        raise AlignmentError(f"{int((count > 1).sum())} {what} ids stand more than once: {some(unique[count > 1])}")
    row = locate(network.ids, ids)
    kept = np.sort(row[row >= 0])
    lacking, alien = row < 0, ids.size - kept.size
    if alien and extra == "raise":
        stray = ids[np.setdiff1d(np.arange(ids.size), kept)]
        raise AlignmentError(
            f'{alien} {what} ids are not in the network: {some(stray)}. Leave them out with extra="drop", or check that '
            "this is the right network"
        )
    if lacking.any() and missing == "raise":
        raise AlignmentError(
            f"{int(lacking.sum())} reaches of the network have no {what}: {some(network.ids[lacking])}. "
            f'Take it as zero with missing="zero", or give it'
        )
    if not alien and not lacking.any():
        return Layout(array.dims, dim, time_dim, batch_dims, row, row, array.coords, sizes)
    place = np.full(ids.size, -1)
    place[kept] = np.arange(kept.size)
    result_row = np.where(lacking, kept.size + np.cumsum(lacking) - 1, place[row])
    sizes[dim] = kept.size + int(lacking.sum())
    coords = _other_rows(array, dim, name, kept, np.concatenate([ids[kept], network.ids[lacking]]))
    return Layout(array.dims, dim, time_dim, batch_dims, row, result_row, coords, sizes)


def standard_names(
    runoff: xr.DataArray,
    network: Network,
    *,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
    reach_dim: Hashable | None = None,
    time_dim: Hashable = "time",
) -> xr.DataArray:
    """Name the dimensions ``time`` and ``reach``, with the ids on the latter, before anything is read.

    Raises
    ------
    AlignmentError, TimeAxisError
        As `xroute.route`.
    """
    time_dim = find_time_dim(runoff, time_dim)
    dim = align(runoff, network, reach_dim=reach_dim, time_dim=time_dim, missing=missing, extra=extra).reach_dim
    along = [c for c in runoff.coords.values() if c.dims == (dim,) and c.attrs.get("cf_role") == "timeseries_id"]
    if along and dim not in [c.name for c in along]:
        runoff = runoff.drop_vars([along[0].name, dim], errors="ignore").assign_coords({dim: along[0].variable})
    names = {old: new for old, new in ((dim, "reach"), (time_dim, "time")) if old != new}
    renamed = runoff.rename(names)
    chunks = runoff.encoding.get("preferred_chunks")
    if chunks is not None:  # by which blocks are chosen
        renamed.encoding["preferred_chunks"] = {names.get(d, d): size for d, size in chunks.items()}
    return renamed


def _other_rows(
    array: xr.DataArray, dim: Hashable, name: Hashable, kept: NDArray[np.int64], ids: NDArray[Any]
) -> Mapping[Hashable, Any]:
    """Coordinates of the rows that are kept, and of rows that are added (unknown there but for ``ids``)."""
    table = array.coords.to_dataset().isel({dim: kept})
    n_added = ids.size - kept.size
    if not n_added:
        return table.coords
    whole = [n for n, c in table.coords.items() if n != name and dim in c.dims and c.dtype.kind in "iub"]
    if whole:
        raise AlignmentError(
            f"{n_added} reaches have none of the coordinates {some(whole)}, and {table[whole[0]].dtype} has no value for "
            f"unknown: drop_vars({whole!r}), or give these reaches too"
        )
    return table.pad({dim: (0, n_added)}).assign_coords({name: (dim, ids, table[name].attrs)}).coords


def _find_reach_dim(
    array: xr.DataArray, network: Network, reach_dim: Hashable | None, time_dim: Hashable | None, what: str
) -> Hashable:
    if reach_dim is not None:
        if reach_dim not in array.dims:
            raise AlignmentError(f"{what} has no dimension {reach_dim!r}; it has {some(array.dims)}")
        return reach_dim
    if "reach" in array.dims:
        return "reach"
    grid = grid_dims(array)
    if grid:
        raise AlignmentError(
            f"{what} stands on a grid ({' x '.join(map(repr, grid))}), not on the reaches of the network. Bring it to their "
            "catchments first, each cell weighted by its area in the catchment: means of depths, sums of volumes (xroute "
            "has no function for that yet)"
        )
    fits = []
    for dim in array.dims:
        coordinates = [c for c in array.coords.values() if c.dims == (dim,)]
        if dim == time_dim or not coordinates:
            continue
        if any(c.attrs.get("cf_role") == "timeseries_id" for c in coordinates):
            return dim
        if dim in array.coords and array[dim].dtype.kind in "iufUSOT":
            index = pd.Index(array[dim].values)
            wanted = network.ids.astype(object) if network.ids.dtype.kind == "U" else network.ids
            if index.isin(wanted).any():
                fits.append(dim)
    if len(fits) == 1:
        return fits[0]
    raise AlignmentError(
        f"cannot tell which dimension of {what} is the reach: it has {some(array.dims)}"
        + (f", and ids of the network stand on {some(fits)}" if fits else ", none of which bears ids of the network")
        + ". Give reach_dim="
    )


#: Names of a grid's axes: rows, columns, and cells that are counted along one dimension.
GRID_AXES = (
    {"lat", "latitude", "rlat", "y", "yc", "nlat", "south_north", "northing", "nj", "row"},
    {"lon", "longitude", "rlon", "x", "xc", "nlon", "west_east", "easting", "ni", "column", "col"},
)
GRID_CELLS = {"cell", "cells", "ncell", "ncells", "ngrid", "gridcell", "grid_cell", "lndgrid", "landpoint", "nface", "ncol"}
_ROWS = {"latitude", "grid_latitude", "projection_y_coordinate", "degrees_north", "Y"}
_COLUMNS = {"longitude", "grid_longitude", "projection_x_coordinate", "degrees_east", "X"}


def grid_dims(array: xr.DataArray) -> tuple[Hashable, ...]:
    """Dimensions of a grid: its rows and columns, by name or by what their labels say of themselves, or its cells."""

    def axis(dim: Hashable, names: set[str], said: set[str]) -> bool:
        attrs = array[dim].attrs if dim in array.coords else {}
        return str(dim).lower() in names or bool(said & {attrs.get(a) for a in ("standard_name", "units", "axis")})

    rows = [d for d in array.dims if axis(d, GRID_AXES[0], _ROWS)]
    columns = [d for d in array.dims if axis(d, GRID_AXES[1], _COLUMNS)]
    if rows and columns:
        return rows[0], columns[0]
    # A cell's number may well be a reach's id: then the dimension bears labels.
    return tuple(d for d in array.dims if str(d).lower() in GRID_CELLS and d not in array.coords)


def _id_coordinate(array: xr.DataArray, dim: Hashable, what: str) -> Hashable:
    """Name of the ids: the coordinate that says so itself (``cf_role``), or else the dimension's own."""
    marked = [n for n, c in array.coords.items() if c.dims == (dim,) and c.attrs.get("cf_role") == "timeseries_id"]
    if dim in array.coords and (dim in marked or not marked):
        return dim
    if marked:
        return marked[0]
    raise AlignmentError(
        f"{what} has no ids along {dim!r}, and is never matched by position. If its rows are the network's, in order: "
        f"{what}.assign_coords({dim}=network.reach.values)"
    )
