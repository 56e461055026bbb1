"""Values of networks that are grids: discharge on the grid again, and fields of it on the reaches."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xroute.network_files import as_network
from xroute.request import NetworkLike

__all__ = ["to_grid", "to_reaches"]


def to_grid(values: Any, network: NetworkLike, *, fill: Any = None) -> Any:
    """Put values on reaches onto the grid whose cells the reaches are: a direction grid's discharge on a map.

    Parameters
    ----------
    values : (..., reach, ...) DataArray, or Dataset
        On all reaches or some, matched by id. Of a Dataset, the variables on reaches are put on the grid.
    network
        That `Network.from_d8`, `Network.from_nextxy` or `Network.from_edges` made, or a part of it.
    fill
        Value of cells that are no reach; by default NaN, and ``""`` in text.

    Returns
    -------
    DataArray or Dataset
        On (..., rows, columns), with the grid's own names and coordinates; other dimensions, coordinates and attributes are kept,
        and what is lazy stays lazy. Numbers are those of the reaches, in their dtype where that has NaN.

    Raises
    ------
    NetworkError
        If the network is not of a grid.
    AlignmentError
        For ids that the network does not have, or that stand more than once.

    Examples
    --------
    >>> import xarray as xr, xroute
    >>> direction = xr.DataArray([[1, 4], [247, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
    >>> network = xroute.Network.from_d8(direction)
    >>> xroute.to_grid(network.n_upstream, network).values
    array([[ 1.,  2.],
           [nan,  3.]])
    """
    return as_network(network).to_grid(values, fill)


def to_reaches(field: xr.DataArray, network: NetworkLike) -> xr.DataArray:
    """Take a field on the grid whose cells the reaches are to these: runoff of the model that a direction grid belongs to.

    Cells are found by the coordinates' values, whichever way they run and in whichever convention of longitudes. For a grid of
    other cells there are `xroute.grid_weights` and `xroute.remap`.

    Parameters
    ----------
    field : (..., rows, columns)
        Values in any units on the network's grid, or on a larger one with the same cells.
    network
        That `Network.from_d8`, `Network.from_nextxy` or `Network.from_edges` made, or a part of it.

    Returns
    -------
    DataArray
        On (..., reach), in the units of the field; what is lazy stays lazy.

    Raises
    ------
    NetworkError
        If the network is not of a grid.
    AlignmentError
        If the field lacks cells of the network.

    Examples
    --------
    >>> import xarray as xr, xroute
    >>> direction = xr.DataArray([[1, 4], [247, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
    >>> network = xroute.Network.from_d8(direction)
    >>> field = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], {"lat": [49.5, 50.5], "lon": [7.5, 8.5]})
    >>> xroute.to_reaches(field, network).values
    array([3., 4., 2.])
    """
    return as_network(network).to_reaches(field)
