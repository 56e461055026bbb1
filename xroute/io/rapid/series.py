"""RAPID's series: runoff volumes, discharge, and the initial flow, with what is stored by position labelled by id."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, some
from xroute.files.opening import PathLike, open_netcdf
from xroute.io.common import concatenate, dataset_of
from xroute.io.rapid.folder import PATTERNS, find_file
from xroute.io.rapid.labels import label_of_bounds, label_reaches, select_reaches, series_times, with_ids
from xroute.io.rapid.tables import read_floats
from xroute.recipe import stated_seconds
from xroute.times import seconds, time_step

__all__ = ["read_discharge", "read_runoff", "read_state"]

logger = logging.getLogger(__name__)


def read_runoff(
    path: PathLike | Sequence[PathLike],
    network: Any = None,
    *,
    dt: Any = None,
    start: Any = None,
    variable: str = "m3_riv",
) -> xr.DataArray:
    """Read RAPID's runoff volumes.

    Parameters
    ----------
    path
        A file, or a folder with one file of a usual name (``m3*.nc``); several when the network has several regions, in
        the order of the regions. Several files of a network of one region follow each other in time.
    network
        Network Dataset (of `read_network`) or Network. The runoff takes its reaches and order. Needed when the file
        names no ids, as old files do: their order is that of rapid_connect.csv.
    dt
        Step, as seconds, a timedelta or text such as ``"3h"``, for files without a usable time axis. By default the
        network's attribute ``runoff_step``, or ``ZS_TauR`` of a namelist in the same folder.
    start
        Start of the first step (anything that `numpy.datetime64` takes), for files without a usable time axis.
    variable
        Name of the variable.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach), ``m3`` per step unless the file says otherwise. Fill values are NaN, but a fill value
        of 0 (which old files declare) is taken for the zero that it is. A file without a usable time axis and without
        ``start`` gets dates that begin at 1970-01-01; the attributes of ``time`` say so and a warning is logged. Where the
        file has bounds of its times, the attribute ``time_label`` says what a time is of its step.

    Raises
    ------
    AlignmentError
        Reaches of the network that the file lacks, or a file without ids that does not fit rapid_connect.csv.
    TimeAxisError
        No usable time axis and no ``dt``, or a ``dt`` that contradicts the file; files that do not follow each other.
    XRouteError
        No such file, or one without the variable.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> runoff = rapid.read_runoff(folder, rapid.read_network(folder))
    >>> runoff.dims, runoff.attrs["units"]
    (('time', 'reach'), 'm3')
    """
    network, dt = dataset_of(network), None if dt is None else seconds(dt)
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    files = [_resolve(p, "runoff") for p in paths]
    if not files:
        raise XRouteError("no runoff file given")
    network_step = None if network is None else stated_seconds(network.attrs, "runoff_step")
    parts = [_read_series(file, variable, dt, start, network_step) for file in files]
    n_regions = 1 if network is None else np.atleast_1d(network.attrs.get("connect_rows", 1)).size
    if n_regions == 1 and len(parts) > 1:
        array = with_ids(_join_times(parts, files, dt), network, files[0], 0, 1)
    elif n_regions > 1:
        _same_times(parts, files)
        labelled = [with_ids(r, network, f, i, len(files)) for i, (r, f) in enumerate(zip(parts, files, strict=True))]
        array = xr.concat(labelled, "reach", join="exact", combine_attrs="drop_conflicts") if len(parts) > 1 else labelled[0]
    else:
        array = with_ids(parts[0], network, files[0], 0, 1)
    array = select_reaches(array, network, files)
    array.attrs = _runoff_attrs(array)
    return array.rename("runoff")


def read_discharge(
    path: PathLike, network: Any = None, *, dt: Any = None, start: Any = None, variable: str = "Qout"
) -> xr.DataArray:
    """Read RAPID's discharge (Qout).

    Parameters
    ----------
    path
        The file, or a folder with one of a usual name (``Qout*.nc``).
    network
        Network whose reaches and order the result takes, by id; by default those of the file.
    dt, start
        As in `read_runoff`: step and start for files whose time was never set.
    variable
        Name of the variable.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], the mean over each step.

    Raises
    ------
    AlignmentError
        Reaches of the network that the file lacks.
    TimeAxisError
        As `read_runoff`.
    XRouteError
        No such file, or one without the variable.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> network = rapid.read_network(folder)
    >>> reference = rapid.read_discharge(folder, network)
    >>> bool(abs(rapid.read_runoff(folder, network).route(network) - reference).max() < 1e-4 * reference.max())
    True
    """
    file, network = _resolve(path, "discharge"), dataset_of(network)
    stated = None if network is None else stated_seconds(network.attrs, "runoff_step")
    step = None if dt is None else seconds(dt)
    array = with_ids(_read_series(file, variable, step, start, stated), network, file, 0, 1)
    array = select_reaches(array, network, [file])
    label = {"time_label": array.attrs["time_label"]} if "time_label" in array.attrs else {}
    array.attrs = {
        "long_name": "discharge",
        "units": array.attrs.get("units") or "m3 s-1",
        "cell_methods": "time: mean",
        **label,
    }
    return array.rename("discharge")


def read_state(path: PathLike, network: Any = None, *, variable: str | None = None) -> xr.DataArray:
    """Read an initial or final flow (Qinit, Qfinal) as a snapshot for `xroute.initial_state`.

    Parameters
    ----------
    path
        netCDF with ids, of which the last time is taken, or a headerless csv in the order of rapid_connect.csv.
    network
        Network Dataset of `read_network`; needed for csv.
    variable
        Name in the netCDF file; by default the one of Qinit, Qfinal and Qout that it has.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (reach) [m3 s-1].

    Raises
    ------
    AlignmentError
        Reaches of the network that the file lacks, or a file without ids that does not fit rapid_connect.csv.
    XRouteError
        A file without such a variable, or one that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> rapid.read_state(next(folder.glob("Qout*.nc"))).dims
    ('reach',)
    """
    file, network = Path(path), dataset_of(network)
    if file.suffix.lower() == ".csv":
        array = xr.DataArray(read_floats(file), dims="reach", attrs={"units": "m3 s-1"})
    else:
        with open_netcdf(file, raw=True) as raw:
            names = [n for n in (variable, "Qinit", "Qfinal", "Qout") if n in raw.variables]
            if not names:
                raise XRouteError(f"{file} has no {variable or 'Qinit, Qfinal or Qout'}; it has {some(raw.data_vars)}")
            array = label_reaches(raw, raw[names[0]].load(), file)
        array = array.isel({dim: -1 for dim in array.dims if dim != "reach"})
        array = array.drop_vars([name for name in array.coords if name != "reach"])
    array = select_reaches(with_ids(array, network, file, 0, 1), network, [file])
    return array.rename("discharge").assign_attrs(units="m3 s-1", long_name="instantaneous discharge")


def _runoff_attrs(array: xr.DataArray) -> dict[str, Any]:
    flux = array.name == "Qext"
    units = array.attrs.get("units") or ("m3 s-1" if flux else "m3")
    attrs = {"long_name": "lateral inflow" if flux else "runoff volume of a step", "units": units}
    return attrs | ({"time_label": array.attrs["time_label"]} if "time_label" in array.attrs else {})


def _resolve(path: PathLike, role: str) -> Path:
    if not Path(path).is_dir():
        return Path(path)
    found = find_file(path, role)
    if found is None:
        raise FileNotFoundError(f"no {' or '.join(PATTERNS[role])} in {path}")
    return found


def _read_series(
    file: Path, variable: str, dt: float | None, start: Any, network_step: float | None = None
) -> xr.DataArray:
    """One variable as (time, reach), fill values masked, with dates; without reach ids when the file has none."""
    with open_netcdf(file, raw=True) as raw:
        if variable not in raw.variables:
            raise XRouteError(f"{file} has no variable {variable!r}; it has {some(raw.data_vars)}")
        array = label_reaches(raw, raw[variable].load(), file)
        if array.ndim != 2:
            raise XRouteError(
                f"{variable} of {file} has dimensions {raw[variable].dims}; it needs a time and a reach dimension"
            )
        time = next(dim for dim in array.dims if dim != "reach")
        times = raw[str(time)].load() if time in raw.variables else None
        label = None if times is None else label_of_bounds(raw, times, file)
    if label is not None:
        array.attrs["time_label"] = label
    array = array.drop_vars([name for name in array.coords if name != "reach"]).rename({time: "time"})
    axis = series_times(times, array.sizes["time"], dt, start, file, network_step)
    return array.transpose("time", "reach").assign_coords(time=axis)


def _join_times(parts: Sequence[xr.DataArray], files: Sequence[Path], dt: float | None) -> xr.DataArray:
    """Series of files that follow each other, in the order of their dates."""
    for part, file in zip(parts, files, strict=True):
        if "comment" in part["time"].attrs or not part.sizes["time"]:
            raise TimeAxisError(
                f"{file} has no dates, so nobody knows where it stands among {len(files)} files of one network: give one file "
                "at a time, or files with dates (with several regions, one file a region)"
            )
        if ("reach" in part.coords) != ("reach" in parts[0].coords):
            raise AlignmentError(f"one of {files[0]} and {file} names the ids of its reaches, and the other does not")
    joined = concatenate(parts, files, "time")
    names = ", ".join(files[k].name for k in sorted(range(len(parts)), key=lambda k: parts[k]["time"].values[0]))
    try:
        time_step(joined, "time", dt)
    except TimeAxisError as error:
        raise TimeAxisError(f"{names} do not follow each other in time: {error}") from error
    logger.info("joined in time: %s", names)
    return joined


def _same_times(arrays: Sequence[xr.DataArray], files: Sequence[Path]) -> None:
    for array, file in zip(arrays[1:], files[1:], strict=True):
        if not array["time"].equals(arrays[0]["time"]):
            raise TimeAxisError(f"the times of {files[0]} and {file} differ; regions are routed over the same steps")
