"""Networks from directions to one of eight neighbours, in the conventions that they are stored in."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import xarray as xr

from xroute.directions.cells import cell_ids, cell_network
from xroute.directions.codes import EAST, NONE, NORTH, PIT, decode, find_convention
from xroute.directions.raster import make_raster
from xroute.exceptions import NetworkError
from xroute.settings import Convention

__all__ = ["dataset_from_d8"]

logger = logging.getLogger("xroute")


def dataset_from_d8(
    direction: xr.DataArray,
    convention: Convention,
    ids: Any = None,
    nodata: Any = None,
    crs: Any = None,
    mask: Any = None,
) -> xr.Dataset:
    """Network Dataset of a direction grid, as `xroute.Network.from_d8` describes it."""
    convention = find_convention(convention)
    field, raster = make_raster(direction, crs)
    given = () if nodata is None else tuple(np.atleast_1d(nodata).tolist())
    ways = decode(field, convention, given)
    if mask is not None:
        taken = raster.values_of(mask, "mask")
        if taken.dtype.kind != "b":
            raise NetworkError(f"mask= is of bool, which cells to take, not {taken.dtype}")
        ways[~taken] = NONE
    n_rows, n_columns = raster.shape
    cell = np.flatnonzero(ways.ravel() != NONE)
    if not cell.size:
        raise NetworkError("the grid has no cell with a direction: the network is empty")
    way = ways.ravel()[cell]
    row, column = np.divmod(cell, n_columns)
    next_row, next_column = row + raster.north * NORTH[way], column + raster.east * EAST[way]
    there = raster.place(next_row, next_column)
    if raster.cyclic:
        next_column = next_column % n_columns
    inside = (next_row >= 0) & (next_row < n_rows) & (next_column >= 0) & (next_column < n_columns)
    position = np.full(n_rows * n_columns, -1, np.int64)
    position[cell] = np.arange(cell.size)
    to = np.full(cell.size, -1, np.int64)
    flows = inside & (way != PIT)
    to[flows] = position[next_row[flows] * n_columns + next_column[flows]]
    length = raster.distance(raster.place(row, column), there)
    own = raster.areas(row, column)
    length[way == PIT] = np.sqrt(own[way == PIT]) / 2
    n_pits, n_edge, n_none = int((way == PIT).sum()), int((~inside).sum()), int((flows & (to < 0)).sum())
    outlets = f"{n_pits} cells drain nowhere, {n_edge} off the grid, and {n_none} into cells without a direction"
    logger.info("%d cells with a direction; outlets: %s", cell.size, outlets)
    attrs = {"source": f"direction grid ({convention}) of {n_rows} x {n_columns} cells; outlets: {outlets}"}
    return cell_network(raster, cell, to, cell_ids(ids, raster, cell), length, attrs, own)
