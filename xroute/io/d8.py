"""Write a network of cells as a grid of flow directions: netCDF or Zarr that `Network.from_d8`, and other tools, read."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xroute.directions.cells import PERIOD
from xroute.directions.codes import CODES, EAST, NORTH, PIT, find_convention
from xroute.exceptions import NetworkError, some
from xroute.files.opening import PathLike
from xroute.files.writing import write
from xroute.io.layouts import downstream_of
from xroute.network_files import as_network
from xroute.request import NetworkLike
from xroute.settings import Convention

__all__ = ["write_network"]


def write_network(
    network: NetworkLike, path: PathLike, *, convention: Convention = "esri", overwrite: bool = False
) -> None:
    """Write a network as a grid of flow directions, on the grid that its reaches are cells of.

    Parameters
    ----------
    network
        That `Network.from_d8`, `Network.from_nextxy` or `Network.from_edges` made, or a part of it. Each of its cells drains to
        one of its eight neighbours, or nowhere.
    path
        ``*.nc`` or ``*.zarr``.
    convention : {"esri", "taudem", "grass", "ldd", "whitebox"}
        What the numbers mean: see `Network.from_d8`. Outlets get the number of what drains nowhere.
    overwrite
        Replace what is at the path.

    Raises
    ------
    NetworkError
        For a network that is no grid's, and for reaches that drain to several, or past their neighbours.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr, xroute
    >>> direction = xr.DataArray([[1, 4], [247, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
    >>> path = f"{tempfile.mkdtemp()}/directions.nc"
    >>> xroute.io.d8.write_network(xroute.Network.from_d8(direction), path)
    >>> xroute.io.open_dataset(path).direction.values
    array([[  1,   4],
           [247,   0]], dtype=int16)
    """
    river = as_network(network)
    codes = CODES[find_convention(convention)]
    below = downstream_of(river, "a direction grid")
    dataset = river.dataset
    lacking = [name for name in ("grid_y", "grid_x", "y_index", "x_index") if name not in dataset.variables]
    if lacking:
        raise NetworkError(f"the reaches of this network are no cells of a grid: it lacks {some(lacking)}")
    row, column = dataset["y_index"].values.astype(np.int64), dataset["x_index"].values.astype(np.int64)
    linked = below >= 0
    north, east = (np.where(linked, index[below] - index, 0) for index in (row, column))
    rising = dataset.sizes["grid_y"] > 1 and dataset["grid_y"].values[1] > dataset["grid_y"].values[0]
    north = north if rising else -north
    width = dataset.sizes["grid_x"]
    if dataset.sizes["grid_x"] > 1 and dataset["grid_x"].values[1] < dataset["grid_x"].values[0]:
        east = -east
    if PERIOD in dataset["grid_x"].attrs:  # over the date line
        east = np.where(np.abs(east) == width - 1, -np.sign(east), east) if width > 2 else east
    far = linked & ((np.abs(north) > 1) | (np.abs(east) > 1) | ((north == 0) & (east == 0)))
    if far.any():
        raise NetworkError(
            f"{int(far.sum())} reaches drain past their neighbours, which a direction cannot say: {some(river.ids[far])}. "
            "CaMa-Flood's nextxy can (xroute.io.cama_flood)"
        )
    numbers = np.array([*codes.ways, codes.pits[0]], np.int16)
    way = np.full(river.n_reaches, PIT)
    for index, (up, right) in enumerate(zip(NORTH[:PIT], EAST[:PIT], strict=True)):
        way[linked & (north == up) & (east == right)] = index
    nodata = next(number for number in (247, *codes.nodata, -9999) if number in codes.nodata)
    field: Any = river.to_grid(xr.DataArray(numbers[way], {"reach": river.ids}, name="direction"), fill=nodata)
    field = field.astype(np.int16).assign_attrs(
        long_name="flow direction", convention=convention, flag_values=numbers,
        flag_meanings="north northeast east southeast south southwest west northwest none", comment=f"{nodata}: no cell",
    )  # fmt: skip
    write(field.to_dataset(name="direction"), path, overwrite=overwrite)
