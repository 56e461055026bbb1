"""Write CaMa-Flood's maps, and read and write its discharge: ``outflw``, as netCDF or as maps of float32 after one another.

`xroute.Network.from_nextxy` reads the maps. A network that was read of them, or of a direction grid on longitude and latitude, is
written as ``nextxy.bin`` (two layers of int32, counted from 1 in the north-west), ``params.txt`` and the maps of its variables.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.directions.grads import read_control
from xroute.directions.nextxy import INLAND, MAPS, MOUTH, NOWHERE
from xroute.exceptions import NetworkError, TimeAxisError, XRouteError, require, some
from xroute.files.folders import filled_folder
from xroute.files.opening import PathLike, existing
from xroute.files.writing import replacing, write_netcdf, write_text
from xroute.io.common import concatenate, open_runoff
from xroute.io.layout_series import as_flux, epoch_seconds, series_of
from xroute.io.layouts import downstream_of
from xroute.network import Network
from xroute.network_files import as_network
from xroute.request import NetworkLike
from xroute.times import seconds
from xroute.units import to_si
from xroute.wording import argument

__all__ = ["read_discharge", "write_discharge", "write_network"]

SYSTEM = "CaMa-Flood"
UNDEFINED = 1e20
"""CaMa-Flood's number of what is missing."""
LAYERS = 10
"""Of the floodplain, which ``params.txt`` names, and of which networks know nothing."""


def write_network(network: NetworkLike, folder: PathLike, *, overwrite: bool = False) -> None:
    """Write CaMa-Flood's maps: ``nextxy.bin``, ``params.txt``, ``lonlat.bin``, and a map of each variable that it has a name for.

    Parameters
    ----------
    network
        Network whose reaches are cells of a grid on longitude and latitude, that `Network.from_nextxy` or `Network.from_d8`
        made, or a part of it. ``length`` becomes ``rivlen.bin``, ``area`` ``ctmare.bin``, ``upstream_area`` ``uparea.bin``,
        ``elevation`` ``elevtn.bin``, ``width`` ``rivwth.bin``, ``roughness`` ``rivman.bin``, ``distance`` ``nxtdst.bin``.
    folder
        Where to write; made if it is not there.
    overwrite
        Replace files of these names.

    Raises
    ------
    NetworkError
        For reaches that are no cells of such a grid, or drain to several.
    FileExistsError
        If one of the files is there already and ``overwrite`` is False; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr, xroute
    >>> direction = xr.DataArray([[1, 4], [247, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
    >>> folder = tempfile.mkdtemp()
    >>> xroute.io.cama_flood.write_network(xroute.Network.from_d8(direction), folder)
    >>> xroute.Network.from_nextxy(folder).dataset.downstream.values
    array([ 1,  3, -1])
    """
    with filled_folder(folder, overwrite) as draft:
        _write_maps(as_network(network), draft)


def read_discharge(
    paths: PathLike | Sequence[PathLike], network: NetworkLike, *, start: Any = None, dt: Any = None
) -> xr.DataArray:
    """Open CaMa-Flood's discharge (``outflw``) on the reaches of a network of its maps.

    Parameters
    ----------
    paths
        ``o_outflw*.nc``, one file or several, or a pattern; or ``outflw*.bin``, maps of float32 after one another from north to
        south; or a control file (``.ctl``) of such maps.
    network
        That `Network.from_nextxy` made of the maps, or a part of it.
    start, dt
        Start of the first step, and its length (seconds, or text like ``"1D"``), of binary maps without a control file.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1]: the mean of the step that ends at its time in netCDF, and of that which begins at it
        otherwise.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    XRouteError
        For files without the variable, of another size than the network's grid, or of which nobody knows the dates.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd, xarray as xr, xroute
    >>> direction = xr.DataArray([[1, 4], [247, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
    >>> network = xroute.Network.from_d8(direction)
    >>> coords = {"time": pd.date_range("2001", periods=1), "reach": [0, 1, 3]}
    >>> flow = xr.DataArray([[1.0, 2.0, 3.0]], coords, attrs={"units": "m3 s-1"})
    >>> path = f"{tempfile.mkdtemp()}/o_outflw2001.nc"
    >>> xroute.io.cama_flood.write_discharge(flow, path, network, dt="1D")
    >>> xroute.io.cama_flood.read_discharge(path, network).values
    array([[1., 2., 3.]], dtype=float32)
    """
    river = as_network(network)
    files = _files(paths)
    kinds = {file.suffix.lower() for file in files}
    if kinds <= {".nc", ".nc4"}:
        field = open_runoff(files, "outflw")
        field = field.where(field < UNDEFINED / 10)
        label = "end"
    elif kinds == {".ctl"} and len(files) == 1:
        field, label = _of_control(files[0]), "start"
    elif kinds == {".bin"}:
        field, label = _of_binaries(files, river, start, dt), "start"
    else:
        raise XRouteError(f"discharge is netCDF, binary maps or one control file, not {some(sorted(kinds))} together")
    found = river.to_reaches(field).transpose("time", "reach").rename("discharge")
    found.attrs = {"long_name": "river discharge", "units": "m3 s-1", "cell_methods": "time: mean", "time_label": label}
    return found


def write_discharge(
    discharge: xr.DataArray, path: PathLike, network: NetworkLike, *, dt: Any = None, overwrite: bool = False
) -> None:
    """Write discharge as CaMa-Flood does: ``outflw(time, lat, lon)`` [m3 s-1], float32, stamped at the end of its step.

    Parameters
    ----------
    discharge : (time, reach)
        Of all reaches or some, in any units of a volume flux.
    path
        ``o_outflw*.nc``; or ``outflw*.bin``, maps after one another, which say nothing of their dates.
    network
        The network, whose grid the maps are on.
    dt
        Length of a step [s], a timedelta, or text like ``"1D"``; for a single time.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, NetworkError
        For reaches, times, units and grids that the layout has no place for.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    `read_discharge` has one.

    >>> import tempfile
    >>> import pandas as pd, xarray as xr, xroute
    >>> direction = xr.DataArray([[1, 0]], {"lat": [50.5], "lon": [7.5, 8.5]})
    >>> coords = {"time": pd.date_range("2001", periods=2), "reach": [0, 1]}
    >>> flow = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], coords, attrs={"units": "m3 s-1"})
    >>> path = f"{tempfile.mkdtemp()}/outflw2001.bin"
    >>> xroute.io.cama_flood.write_discharge(flow, path, xroute.Network.from_d8(direction))
    """
    river = as_network(network)
    series = series_of(discharge, river, SYSTEM, dt=dt)
    flow = as_flux(series, river, "discharge").astype(np.float32)
    latitude, _ = _axes(river)
    field = river.to_grid(flow)
    rows, columns = (d for d in field.dims if d != "time")
    field = field.transpose("time", rows, columns)
    field = field.isel({rows: slice(None, None, -1)}) if latitude.size > 1 and latitude[1] > latitude[0] else field
    if Path(path).suffix.lower() == ".bin":
        with replacing(path, overwrite=overwrite) as draft, open(draft, "wb") as file:
            for step in range(field.sizes["time"]):
                np.nan_to_num(field.isel(time=step).values, nan=UNDEFINED).astype("<f4").tofile(file)
        return
    numbers, calendar = epoch_seconds(series.bounds[:, 1:], "discharge")
    time = {"long_name": "time", "units": "seconds since 1970-01-01 00:00", "calendar": calendar}
    attrs = {"long_name": "discharge (river+floodplain)", "units": "m3/s", "cell_method": "time: mean"}
    made = xr.Dataset(
        {"outflw": (("time", "lat", "lon"), field.variable.data, attrs)},
        {"time": ("time", numbers[:, 0].astype(np.float64), time),
         "lat": ("lat", field[rows].values.astype(np.float32), {"long_name": "latitude", "units": "degrees_north"}),
         "lon": ("lon", field[columns].values.astype(np.float32), {"long_name": "longitude", "units": "degrees_east"})},
    )  # fmt: skip
    encoding = {name: {"_FillValue": None} for name in ("time", "lat", "lon")} | {"outflw": {"_FillValue": np.float32(UNDEFINED)}}
    write_netcdf(made, path, encoding=encoding, unlimited=["time"], overwrite=overwrite)


# ── maps ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _axes(network: Network) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latitudes and longitudes of the network's grid.

    Raises
    ------
    NetworkError
        If it has none.
    """
    dataset = network.dataset
    lacking = [name for name in ("grid_y", "grid_x", "y_index", "x_index") if name not in dataset.variables]
    if lacking:
        raise NetworkError(
            f"maps of CaMa-Flood are of a grid, and the reaches of this network are no cells of one: it lacks {some(lacking)}"
        )
    units = [str(dataset[name].attrs.get("units", "")) for name in ("grid_y", "grid_x")]
    if "period" not in dataset["grid_x"].attrs and not all(unit.startswith("degree") for unit in units):
        raise NetworkError("maps of CaMa-Flood are on longitude and latitude, and the network's grid is in a projection")
    return dataset["grid_y"].values.astype(np.float64), dataset["grid_x"].values.astype(np.float64)


def _write_maps(network: Network, folder: Path) -> None:
    latitude, longitude = _axes(network)
    below = downstream_of(network, SYSTEM)
    dataset = network.dataset
    n_rows, n_columns = latitude.size, longitude.size
    row, column = dataset["y_index"].values, dataset["x_index"].values
    if n_rows > 1 and latitude[1] > latitude[0]:  # rows count from the north
        row, latitude = n_rows - 1 - row, latitude[::-1]
    inland = dataset["inland"].values.astype(bool) if "inland" in dataset.variables else np.zeros(network.n_reaches, bool)
    ends = np.where(inland, INLAND, MOUTH)
    following = [np.where(below >= 0, index[below] + 1, ends) for index in (column, row)]

    def plane(values: NDArray[Any], missing: float, dtype: str) -> NDArray[Any]:
        made = np.full((n_rows, n_columns), missing, dtype)
        made[row, column] = values
        return made

    np.stack([plane(index, NOWHERE, "<i4") for index in following]).tofile(folder / "nextxy.bin")
    size = _step(longitude, latitude)
    west, north = longitude[0] - size / 2, latitude[0] + size / 2
    numbers = (n_columns, n_rows, LAYERS, size, west, west + n_columns * size, north - n_rows * size, north)
    texts = ("grid number (east-west)", "grid number (north-south)", "floodplain layer", "grid size [deg]", "west  edge [deg]",
             "east  edge [deg]", "south edge [deg]", "north edge [deg]")  # fmt: skip
    lines = (f"{number!r:>24}    !! {text}" for number, text in zip(map(_plain, numbers), texts, strict=True))
    write_text(lines, folder / "params.txt")
    written = set()
    for name, of in MAPS.items():
        if of.variable in dataset.variables and of.variable not in written and name not in ("rivwth_gwdlr", "grdare"):
            values = np.nan_to_num(to_si(dataset[of.variable], of.units, of.variable), nan=NOWHERE)
            plane(values, NOWHERE, "<f4").tofile(folder / f"{name}.bin")
            written.add(of.variable)
    if {"lon", "lat"} <= set(dataset.variables):
        both = [plane(dataset[name].values, NOWHERE, "<f4") for name in ("lon", "lat")]
        np.stack(both).tofile(folder / "lonlat.bin")


def _plain(number: Any) -> Any:
    return number if isinstance(number, int) else float(np.round(number, 10))


def _step(longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> float:
    steps = [abs(float(axis[-1] - axis[0])) / (axis.size - 1) for axis in (longitude, latitude) if axis.size > 1]
    if not steps or max(steps) - min(steps) > 1e-6 * max(steps):
        raise NetworkError(f"cells of CaMa-Flood are as wide as they are high, and those of the grid are {some(steps)} degrees")
    return steps[0]


# ── discharge ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _files(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found = [Path(p) for path in given for p in (sorted(glob.glob(os.fspath(path))) or [os.fspath(path)])]
    if not found:
        raise FileNotFoundError("no files of discharge are given")
    return [existing(path) for path in found]


def _maps(file: Path, shape: tuple[int, int], dtype: str) -> NDArray[Any]:
    """Maps of a file [time, row, column], not read yet."""
    each = 4 * shape[0] * shape[1]
    size = file.stat().st_size
    if not size or size % each:
        raise XRouteError(f"{file} has {size:,} bytes, which are not maps of {shape[0]} x {shape[1]} numbers of 4 bytes")
    return np.memmap(file, dtype, "r", shape=(size // each, *shape))


def _field(
    values: NDArray[Any], times: Any, lat: NDArray[np.float64], lon: NDArray[np.float64], undefined: float
) -> xr.DataArray:
    values = np.where(np.abs(values) < abs(undefined) / 10, values, np.float32(np.nan)).astype(np.float32)
    attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    coords = {"time": ("time", times), "lat": ("lat", lat, attrs[0]), "lon": ("lon", lon, attrs[1])}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), "outflw", {"units": "m3 s-1"})


def _of_control(path: Path) -> xr.DataArray:
    control = read_control(path)
    if len(control.variables) > 1 or max(control.variables.values(), default=0) > 1:
        raise XRouteError(f"{path} has the variables {some(control.variables)}, and discharge is one on one level")
    if not control.times.size:
        raise TimeAxisError(f"{path} says nothing of dates (tdef)")
    maps = np.concatenate([_maps(existing(f), (control.lat.size, control.lon.size), control.dtype) for f in control.files()])
    if maps.shape[0] != control.times.size:
        raise TimeAxisError(f"{path} names {control.times.size} times, and there are {maps.shape[0]} maps")
    undefined = control.undefined if control.undefined else UNDEFINED
    return _field(maps, control.times, control.lat, control.lon, undefined)


def _of_binaries(files: Sequence[Path], network: Network, start: Any, dt: Any) -> xr.DataArray:
    pandas = require("pandas", feature="dates of maps", extra="io")
    if start is None or dt is None:
        raise TimeAxisError(f"binary maps say nothing of their dates: give {argument('start')} and {argument('dt')}")
    latitude, longitude = _axes(network)
    falling = latitude if latitude.size == 1 or latitude[0] > latitude[1] else latitude[::-1]
    parts, begin = [], pandas.Timestamp(start)
    for file in files:
        maps = _maps(file, (latitude.size, longitude.size), "<f4")
        times = begin + pandas.to_timedelta(np.arange(maps.shape[0]) * seconds(dt), "s")
        parts.append(_field(maps, times, falling, longitude, UNDEFINED))
        begin = times[-1] + pandas.Timedelta(seconds(dt), "s")
    return parts[0] if len(parts) == 1 else concatenate(parts, files, "time")
