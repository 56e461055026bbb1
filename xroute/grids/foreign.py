"""`read_weights`: weights from files, our own and the tables of other systems, told by what they hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, get_args

import pandas as pd
import xarray as xr

from xroute.exceptions import XRouteError, one_of, some
from xroute.grids.form import check_weights, is_weights
from xroute.grids.mizuroute import is_mapping, is_topology, read_mapping, read_topology
from xroute.grids.opening import open_table
from xroute.grids.raw import Raw, finish
from xroute.grids.scrip import is_sparse_matrix, read_sparse_matrix
from xroute.grids.tables import is_rapid, is_river_route, read_rapid, read_river_route
from xroute.guards import reading
from xroute.settings import WeightsKind

__all__ = ["read_weights"]

_KINDS: tuple[tuple[WeightsKind, Callable[[Any], bool], Callable[..., Raw]], ...] = (
    ("rapid", is_rapid, read_rapid),
    ("river-route", is_river_route, read_river_route),
    ("mizuroute", is_mapping, read_mapping),
    ("hru", is_topology, read_topology),
    ("scrip", is_sparse_matrix, read_sparse_matrix),
)
"""Tables of others: their name, whether one is, and how it is read."""


def read_weights(
    source: Any,
    *,
    kind: WeightsKind | None = None,
    grid: xr.DataArray | xr.Dataset | None = None,
    areas: Any = None,
    segments: Any = None,
    ids: Any = None,
) -> xr.Dataset:
    """Read weights from a file: xroute's own, or another system's table.

    Parameters
    ----------
    source
        Path of a netCDF file, a Zarr store, or a table (csv, parquet); or what was opened of one: a Dataset or a DataFrame.
    kind
        Whose it is, where its contents do not tell:

        - ``"xroute"``: of `xroute.grid_weights`.
        - ``"rapid"``: the csv of RAPID's pre-processors (RAPIDpy, the RAPID toolbox): ids of reaches in the first column,
          ``area_sqm``, ``lon_index``, ``lat_index`` (from 0), ``npoints``, and perhaps ``lon`` and ``lat``. Rows of no area stand
          for reaches without cells.
        - ``"river-route"``: netCDF, csv or parquet with ``river_id`` or ``riverId``, ``x_index`` and ``y_index``, or of cells
          along one dimension ``cell_index`` (from 0), perhaps ``x`` and ``y``, and ``area_sqm``, or ``proportion``
          with ``area_sqm_total``.
        - ``"mizuroute"``: netCDF with ``polyid``, ``overlaps``, ``weight`` (parts of a catchment), and ``i_index`` and
          ``j_index`` (columns and rows in the order of the runoff's file, from 1), or ``overlapPolyId``, the ids of a model's
          units. Also the National Water Model's ``spatialweights``. Needs ``areas``, and with ids of units ``grid``.
        - ``"hru"``: mizuRoute's topology, netCDF with ``hruId``, ``hruToSegId`` and ``area``, for runoff on these units. Needs
          ``grid``.
        - ``"scrip"``: netCDF of SCRIP or ESMF (``col``, ``row``, ``S``, or ``src_address``, ``dst_address``, ``remap_matrix``;
          from 1, longitudes counted first), conservative, with the areas of its cells; or xESMF's, which has only the former,
          and needs ``grid`` and ``areas``. Needs ``ids``.
    grid : (..., row, column), optional
        Runoff, in any units, on the grid that the table is of. Then the weights know it again, and are refused for another.
    areas
        Areas of the catchments, where the table holds but parts of them: a network with ``area``, or the path of one; a DataArray
        with units or a Series by id; mizuRoute's topology; or a dict.
    segments
        Where catchments have other ids than reaches: the reach (segment) that each drains to. A table with ``hruId`` and
        ``hruToSegId``, or the path of one, or a dict. Several may drain to one; one to several, with a column ``fraction``.
    ids
        Ids of the reaches in the order of the table's rows (``"scrip"``), which has none.

    Returns
    -------
    xarray.Dataset
        As `xroute.grid_weights` makes it: areas [m2] of the overlaps of catchments with cells, in memory. Catchments stand in
        the order of the table. Where a table notes the places of cells, they are in ``cell_y`` and ``cell_x``, and compared
        with the grid that the weights are used for.

    Raises
    ------
    XRouteError
        What the file holds is no table of weights that is known, or is damaged.
    ParameterError
        The table does not hold all that is needed: which argument adds it is said.
    AlignmentError
        Ids that are in one table and not in the other, and cells beyond the grid.

    Notes
    -----
    Areas are those of the table: nothing is made anew, nor divided by the sum of the parts, as mizuRoute does with catchments
    that the grid does not cover wholly. SCRIP's areas are in steradians, and are taken on the sphere of the radius
    6,371,007.2 m that has the area of the ellipsoid WGS 84.

    Examples
    --------
    >>> import pandas as pd, xroute
    >>> table = pd.DataFrame({"rivid": [7, 7, 9], "area_sqm": [2e6, 1e6, 3e6], "lon_index": [0, 1, 1], "lat_index": 0})
    >>> weights = xroute.grids.read_weights(table)
    >>> weights.catchment_area.values
    array([3000000., 3000000.])
    """
    if kind is not None:
        one_of("kind", kind, get_args(WeightsKind))
    name = str(source) if isinstance(source, str | os.PathLike) else "the table"
    table = open_table(source) if isinstance(source, str | os.PathLike) else source
    if not isinstance(table, xr.Dataset | pd.DataFrame):
        raise XRouteError(f"weights are read from a path, a Dataset or a DataFrame, not a {type(table).__name__}")
    try:
        if kind == "xroute" or (kind is None and isinstance(table, xr.Dataset) and is_weights(table)):
            with reading(name):
                loaded: Any = table.load() if isinstance(table, xr.Dataset) else table
            check_weights(loaded)
            own: xr.Dataset = loaded
            return own
        found = [(n, read) for n, fits, read in _KINDS if (n == kind if kind else fits(table))]
        if not found:
            columns = some(table.columns if isinstance(table, pd.DataFrame) else table.variables)
            raise XRouteError(f"{name} holds no weights that are known: it has {columns}. kind= says whose they are, if any")
        with reading(name):
            raw = found[0][1](table, name, **({"ids": ids, "grid": grid} if found[0][0] == "scrip" else {}))
        return finish(raw, grid, areas, segments, name)
    finally:
        if isinstance(source, str | os.PathLike) and isinstance(table, xr.Dataset):
            table.close()
