"""river-route's series of catchments: runoff and discharge, lazily, with their ids. `gridded` has runoff on a grid."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, UnitsError, XRouteError, some
from xroute.files.opening import PathLike, open_dataset
from xroute.io.common import concatenate, dataset_of, expand_paths, open_runoff
from xroute.io.river_route.config import Config, is_config, read_config, resolve
from xroute.io.river_route.gridded import open_gridded
from xroute.io.river_route.layout import LAYOUTS, STATE
from xroute.io.river_route.rows import on_reaches, to_network
from xroute.settings import GridNaN
from xroute.stamps import is_dated
from xroute.units import runoff_units, to_si
from xroute.wording import argument

__all__ = ["read_discharge", "read_runoff"]

logger = logging.getLogger(__name__)


def read_runoff(
    path: PathLike | Sequence[PathLike],
    network: Any = None,
    *,
    variable: str | None = None,
    units: str | None = None,
    weights: PathLike | xr.Dataset | None = None,
    ensemble: bool | None = None,
    nan: GridNaN = "raise",
) -> xr.DataArray:
    """Read runoff of river-route: of catchments, or on a grid.

    Parameters
    ----------
    path
        A configuration, a folder, a file, a glob pattern, or several files, which follow one another in time in any order.
    network
        Network Dataset (of `read_network`) or Network: the result takes its reaches and order. Needed where files have no ids.
    variable
        Name of the variable; by default ``qlateral`` (version 2) or ``catchment_runoff`` (version 3), and on grids what the
        configuration says, or ``ro``.
    units
        Units of the values, where the file names none. Version 2 has m3 per step then.
    weights
        Where the files are grids: weights (`xroute.grids.read_weights`), or the path of river-route's; by default the
        configuration's.
    ensemble
        Whether each file is a member, and the result gets a dimension ``member``; by default what the configuration says.
    nan
        Cells of a grid that are NaN, as for `xroute.remap`.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (member, time, reach) in m3 per step, or in the units that the file says, not read yet; depths with the
        areas that version 3 keeps beside them are made volumes. Fill values are NaN. A configuration without runoff, of channels
        that empty themselves, gives zeros for as long as it says (``dt_total``).

    Raises
    ------
    AlignmentError
        For reaches that a file lacks, files without ids that do not fit the network, and members of other times.
    TimeAxisError
        For files without dates, and such as do not follow one another.
    UnitsError
        For depths of version 3 without units or areas.
    FileNotFoundError, XRouteError
        No such file, or one without the variable.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from xroute.io import river_route
    >>> time = pd.date_range("2001-01-01", periods=2, freq="3h")
    >>> volume = xr.DataArray(np.ones((2, 2)), {"time": time, "river_id": [11, 12]}, name="qlateral")
    >>> path = tempfile.mkdtemp() + "/qlateral.nc"
    >>> volume.to_netcdf(path)
    >>> river_route.read_runoff(path).attrs["units"]
    'm3'
    """
    rivers, config = dataset_of(network), _config(path)
    if config is not None and config.is_dry and weights is None:
        return _nothing(config, rivers)
    gridded = weights is not None or (config is not None and config.is_gridded)
    files = _files(path, "grid" if gridded else "runoff")
    if weights is None and gridded:
        found = resolve(config.path, "weights") if config is not None else []
        weights = found[0] if found else None
    if gridded:
        parts = open_gridded(files, weights, config, variable, units, nan)
    else:
        parts = [_catchments(file, config, variable, units, rivers) for file in files]
    together = config is not None and config.is_ensemble if ensemble is None else ensemble
    array = _members(parts, files) if together else concatenate(parts, files, "time") if len(parts) > 1 else parts[0]
    array = to_network(array, rivers, ", ".join(map(str, files[:3])), "runoff")
    return array.rename("runoff")


def read_discharge(path: PathLike | Sequence[PathLike], network: Any = None, *, variable: str | None = None) -> xr.DataArray:
    """Read discharge that river-route has computed.

    Parameters
    ----------
    path
        netCDF or Zarr, several of them, which follow one another in time; or a folder or a configuration.
    network
        Network whose reaches and order the result takes, by id; by default those of the file. Ids beyond 2**31, of which
        version 2 writes 32 bits, are made whole by it.
    variable
        Name of the variable: by default ``Q``, or what the configuration says.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], not read yet: means of the steps of version 2, values at their ends of version 3.

    Raises
    ------
    AlignmentError, TimeAxisError, FileNotFoundError, XRouteError
        As `read_runoff`.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import river_route
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 24)).route(network, lateral="interval")
    >>> path = tempfile.mkdtemp() + "/discharge.nc"
    >>> river_route.write_discharge(discharge, path)
    >>> river_route.read_discharge(path, network).sizes["reach"]
    2312
    """
    rivers, config = dataset_of(network), _config(path)
    name = variable or (STATE if config is None else config.text("var_discharge", STATE))
    files = _files(path, "discharge")
    parts = [_discharge(file, name, rivers) for file in files]
    ensemble = config is not None and config.is_ensemble
    array = _members(parts, files) if ensemble else concatenate(parts, files, "time") if len(parts) > 1 else parts[0]
    return to_network(array, rivers, ", ".join(map(str, files[:3])), "discharge").rename("discharge")


def _config(path: Any) -> Config | None:
    """The configuration that a path is, or that lies in a folder."""
    if not isinstance(path, str | os.PathLike):
        return None
    if is_config(path):
        return read_config(path)
    found = resolve(path, "config") if Path(path).is_dir() else []
    return read_config(found[0]) if found and is_config(found[0]) else None


def _files(path: PathLike | Sequence[PathLike], part: str) -> list[Path]:
    """Files of a part, of the paths that were given."""
    given = [path] if isinstance(path, str | os.PathLike) else list(path)
    found: list[Path] = []
    for one in given:
        if not Path(one).exists():
            found += expand_paths(one, part)
            continue
        files = resolve(one, part)
        if not files:
            what = {"runoff": "runoff", "grid": "runoff on a grid", "discharge": "discharge"}[part]
            raise FileNotFoundError(f"no {what} of river-route in {one}: name its files")
        found += files
    return expand_paths(found, part)


def _catchments(
    file: Path, config: Config | None, variable: str | None, units: str | None, network: xr.Dataset | None
) -> xr.DataArray:
    """Runoff of catchments, of one file: a volume, or a depth of which no area is known."""
    with open_dataset(file) as dataset:
        fitting = [lay for lay in LAYOUTS.values() if lay.runoff in dataset.variables]
        layout = config.layout if config is not None else fitting[0] if fitting else LAYOUTS[2]
        name = variable or layout.runoff
        if name not in dataset.variables:
            named = " or ".join(lay.runoff for lay in LAYOUTS.values())
            raise XRouteError(f"{file} has no variable {name if variable else named!r}; it has {some(dataset.data_vars)}")
        area = dataset[layout.area].load() if layout.area in dataset.variables else None
    array = _dated(open_runoff(file, name, time_dim="time"), file)
    stated = units or array.attrs.get("units") or (None if layout.version == 3 else "m3")
    if stated is None:
        raise UnitsError(
            f"{name} of {file} has no units, m3 or those of a depth, which river-route 3 asks for: give {argument('units')}"
        )
    read = runoff_units(str(stated))
    places = None if area is None else area.reset_coords(drop=True)
    if read.is_depth and read.per_step and places is not None:
        if places.dims != tuple(d for d in array.dims if d != "time"):
            raise AlignmentError(f"{layout.area} of {file} has dimensions {places.dims}, and {name} {array.dims}")
        metres = xr.DataArray(to_si(places, "m2", f"{layout.area} of {file}") * read.in_si, dims=places.dims)
        array, stated = (array * metres.astype(array.dtype if array.dtype.kind == "f" else float)).assign_attrs(array.attrs), "m3"
    elif read.is_depth and layout.version == 3:
        raise UnitsError(f"{name} of {file} is a depth [{stated}], and the file has no areas, {layout.area} ({layout.reach})")
    label = {"time_label": array.attrs["time_label"]} if "time_label" in array.attrs else {}
    long_name = "runoff depth of a step" if read.is_depth else "runoff volume of a step" if read.per_step else "lateral inflow"
    return _with_attrs(on_reaches(array, file, network), units=str(stated), long_name=long_name, **label)


def _discharge(file: Path, name: str, network: xr.Dataset | None) -> xr.DataArray:
    array = _dated(open_runoff(file, name, time_dim="time"), file)
    newer = LAYOUTS[3].reach in (*array.dims, *array.coords)
    method = "time: point (comment: at the end of the step)" if newer else "time: mean"
    label = {"time_label": array.attrs["time_label"]} if "time_label" in array.attrs else {}
    units = array.attrs.get("units") or "m3 s-1"
    array = on_reaches(array, file, network)
    return _with_attrs(array, long_name="discharge", units=units, cell_methods=method, **label)


def _with_attrs(array: xr.DataArray, **attrs: Any) -> xr.DataArray:
    array = array.copy(deep=False)
    array.attrs = attrs
    return array


def _dated(array: xr.DataArray, file: Path) -> xr.DataArray:
    """A series whose times are dates."""
    coordinate = array.coords.get("time")
    if coordinate is None or not is_dated(coordinate) or coordinate.dtype.kind not in "MO":
        raise TimeAxisError(
            f"{file} has no dates along 'time', of which river-route knows the step: give it dates, "
            'ds.assign_coords(time=pandas.date_range("2001-01-01", periods=ds.sizes["time"], freq="3h"))'
        )
    return array


def _members(parts: Sequence[xr.DataArray], files: Sequence[Path]) -> xr.DataArray:
    """Members of an ensemble, named after their files; reaches in the order of the first."""
    first = parts[0]
    same = []
    for part, file in zip(parts, files, strict=True):
        if not np.array_equal(part["time"].values, first["time"].values):
            raise TimeAxisError(f"members have the same times, and those of {file} are others than those of {files[0]}")
        if part.attrs.get("units") != first.attrs.get("units"):
            raise UnitsError(f"units of {file} are {part.attrs.get('units')!r}, and of {files[0]} {first.attrs.get('units')!r}")
        same.append(to_network(part, first.to_dataset(name="runoff")[["reach"]], str(file), "member"))
        if part.sizes["reach"] != first.sizes["reach"]:
            raise AlignmentError(f"{file} has {part.sizes['reach']} rivers, and {files[0]} {first.sizes['reach']}")
    stems = [file.stem for file in files]
    names: Any = stems if len(set(stems)) == len(stems) else np.arange(len(stems))
    whole = xr.concat(
        same, pd.Index(names, name="member"), coords="minimal", compat="override", join="override", combine_attrs="override",
    )  # fmt: skip
    return whole.transpose("member", "time", "reach")


def _nothing(config: Config, network: xr.Dataset | None) -> xr.DataArray:
    """No runoff, for as long as a configuration of channels alone says."""
    if network is None:
        raise AlignmentError(f"{config.path} routes the channels alone, without runoff: give {argument('network')}")
    total, step = config.seconds("dt_total"), config.seconds("dt_discharge") or config.seconds("dt_routing")
    if total is None or step is None or total % step:
        raise TimeAxisError(
            f"{config.path} routes the channels alone: dt_total is a whole number of steps, dt_discharge or dt_routing, and they "
            f"are {total!r} and {step!r}"
        )
    try:
        start = pd.Timestamp(config.text("start_datetime", "1970-01-01"))
    except ValueError as error:
        raise TimeAxisError(f"{config.path}: start_datetime is a date, not {config.values['start_datetime']!r}") from error
    time = pd.date_range(start, periods=round(total / step), freq=pd.Timedelta(step, "s"))
    zeros = np.zeros((time.size, network.sizes["reach"]))
    coords: dict[Hashable, Any] = {"time": time, "reach": network["reach"].variable}
    attrs = {"units": "m3", "long_name": "runoff volume of a step", "time_label": "start", "time_step": step}
    return xr.DataArray(zeros, coords, ("time", "reach"), "runoff", attrs)
