"""The network Dataset of cells of a grid, one reach a cell: ids, links, places, lengths and areas, and the grid itself.

The grid's coordinates stay in the Dataset as ``grid_y`` and ``grid_x``, each with its own name in its attribute ``dim``; where a
reach is among them is in ``y_index`` and ``x_index``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.directions.raster import Raster
from xroute.engine import plan as _plan
from xroute.ids import exact_ids

__all__ = ["OWN_NAME", "PERIOD", "cell_ids", "cell_network"]

OWN_NAME, PERIOD = "dim", "period"
"""Attributes of ``grid_y`` and ``grid_x``: their names in the grid, and after how many degrees longitudes begin again."""

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def cell_ids(given: Any, raster: Raster, cell: Int) -> NDArray[Any]:
    """Ids of cells: those of an array on the grid, or their numbers from 0, row by row.

    Raises
    ------
    NetworkError
        For ids on another grid.
    """
    return cell if given is None else exact_ids(raster.values_of(given, "ids").ravel()[cell], "ids of cells")


def cell_network(
    raster: Raster,
    cell: Int,
    to: Int,
    ids: NDArray[Any],
    length: Float,
    attrs: dict[str, Any],
    area: Float | None = None,
) -> xr.Dataset:
    """Network Dataset of cells.

    Parameters
    ----------
    raster
        The grid.
    cell : int64 [reach]
        Numbers of the cells, from 0, row by row.
    to : int64 [reach]
        Positions of the reaches downstream; negative at outlets.
    ids : [reach]
        Ids of the reaches.
    length : float64 [reach]
        Lengths [m].
    attrs
        Of the Dataset.
    area : float64 [reach], optional
        Areas [m2]; by default those of the cells.
    """
    row, column = np.divmod(cell, raster.shape[1])
    marker: Any = "" if ids.dtype.kind == "U" else int(min(ids.min(initial=0), 0)) - 1
    downstream = np.full(ids.size, marker, np.result_type(ids, np.asarray(marker)))
    downstream[to >= 0] = ids[to[to >= 0]]
    area = raster.areas(row, column) if area is None else area
    variables: dict[str, Any] = {
        "downstream": ("reach", downstream, {"long_name": "id of the reach downstream", "outlet": marker}),
        "length": ("reach", length, {"units": "m", "long_name": "reach length"}),
        "area": (
            "reach",
            area,
            {"units": "m2", "standard_name": "area", "long_name": "area of the reach's own catchment"},
        ),
        "y_index": ("reach", row, {"units": "1", "long_name": "row of the grid, from 0"}),
        "x_index": ("reach", column, {"units": "1", "long_name": "column of the grid, from 0"}),
    }
    upstream = upstream_sum(to, area)
    if upstream is not None:
        variables["upstream_area"] = (
            "reach",
            upstream,
            {"units": "m2", "long_name": "area upstream, the reach's own included"},
        )
    coords: dict[str, Any] = {"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "reach id"})}
    places = raster.lon_lat(*raster.place(row, column))
    if places is not None:
        coords["lon"] = "reach", places[0], {"standard_name": "longitude", "units": "degrees_east"}
        coords["lat"] = "reach", places[1], {"standard_name": "latitude", "units": "degrees_north"}
    for name, axis in (("grid_y", raster.y), ("grid_x", raster.x)):
        period = {PERIOD: 360.0} if raster.geographic and name == "grid_x" else {}
        coords[name] = name, axis.values, {**axis.attrs, OWN_NAME: str(axis.dims[0]), **period}
    if raster.reference is not None:
        coords[str(raster.reference.name)] = raster.reference.variable
        attrs = {**attrs, "grid_mapping": str(raster.reference.name)}
    return xr.Dataset(variables, coords, attrs)


def upstream_sum(to: Int, values: Float) -> Float | None:
    """Sum of values upstream of each reach, itself included; None if links go round, which `Network` says by name."""
    linked = np.flatnonzero(to >= 0)
    order = _plan.topological_order(linked, to[linked], to.size)
    return None if order.size < to.size else _plan.accumulate(order, to, values)
