"""RAPID's series: runoff volumes, discharge, and the initial flow, with what is stored by position labelled by id."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, some
from xroute.ids import is_positional
from xroute.io.common import concatenate, file_ids
from xroute.io.decoding import is_id_name, mask_fill
from xroute.io.files import open_netcdf
from xroute.io.rapid_files import PATTERNS, find_file, find_namelist, namelist_seconds, read_floats, read_namelist
from xroute.recipe import stated_seconds
from xroute.times import time_step
from xroute.wording import argument

__all__ = ["decode_times", "read_discharge", "read_runoff", "read_state"]

PathLike = str | os.PathLike[str]
logger = logging.getLogger(__name__)


def read_runoff(
    path: PathLike | Sequence[PathLike],
    network: Any = None,
    *,
    dt: float | None = None,
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
        Step [s], for files without a usable time axis. By default the network's attribute ``runoff_step``, or ``ZS_TauR`` of
        a namelist in the same folder.
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
    """
    network = _dataset(network)
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    files = [_resolve(p, "runoff") for p in paths]
    if not files:
        raise XRouteError("no runoff file given")
    known = None if network is None else stated_seconds(network.attrs, "runoff_step")
    parts = [_read_series(file, variable, dt, start, known) for file in files]
    n_regions = 1 if network is None else np.atleast_1d(network.attrs.get("connect_rows", 1)).size
    if n_regions == 1 and len(parts) > 1:
        array = _with_ids(_join_times(parts, files, dt), network, files[0], 0, 1)
    elif n_regions > 1:
        _same_times(parts, files)
        labelled = [_with_ids(r, network, f, i, len(files)) for i, (r, f) in enumerate(zip(parts, files, strict=True))]
        array = xr.concat(labelled, "reach", join="exact", combine_attrs="drop_conflicts") if len(parts) > 1 else labelled[0]
    else:
        array = _with_ids(parts[0], network, files[0], 0, 1)
    if network is not None:
        array = _select(array, network, files)
    array.attrs = _runoff_attrs(array)
    return array.rename("runoff")


def read_discharge(
    path: PathLike, network: Any = None, *, dt: float | None = None, start: Any = None, variable: str = "Qout"
) -> xr.DataArray:
    """Read RAPID's discharge (Qout).

    Parameters
    ----------
    path
        The file, or a folder with one of a usual name (``Qout*.nc``).
    network
        Network whose reaches and order the result takes, by id; by default those of the file.
    dt, start
        As in `read_runoff`: step [s] and start for files whose time was never set.
    variable
        Name of the variable.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], the mean over each step.
    """
    file = _resolve(path, "discharge")
    array = _with_ids(_read_series(file, variable, dt, start), _dataset(network), file, 0, 1)
    if network is not None:
        array = _select(array, _dataset(network), [file])
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
    """
    file, network = Path(path), _dataset(network)
    if file.suffix.lower() == ".csv":
        array = xr.DataArray(read_floats(file), dims="reach", attrs={"units": "m3 s-1"})
    else:
        with open_netcdf(file, raw=True) as raw:
            names = [n for n in (variable, "Qinit", "Qfinal", "Qout") if n in raw.variables]
            if not names:
                raise XRouteError(f"{file} has no {variable or 'Qinit, Qfinal or Qout'}; it has {some(raw.data_vars)}")
            array = _label_reaches(raw, raw[names[0]].load(), file)
        array = array.isel({dim: -1 for dim in array.dims if dim != "reach"})
        array = array.drop_vars([name for name in array.coords if name != "reach"])
    array = _with_ids(array, network, file, 0, 1)
    if network is not None:
        array = _select(array, network, [file])
    return array.rename("discharge").assign_attrs(units="m3 s-1", long_name="instantaneous discharge")


def _runoff_attrs(array: xr.DataArray) -> dict[str, Any]:
    flux = array.name == "Qext"
    units = array.attrs.get("units") or ("m3 s-1" if flux else "m3")
    attrs = {"long_name": "lateral inflow" if flux else "runoff volume of a step", "units": units}
    return attrs | ({"time_label": array.attrs["time_label"]} if "time_label" in array.attrs else {})


def _dataset(network: Any) -> xr.Dataset | None:
    return getattr(network, "dataset", network) if not isinstance(network, xr.Dataset) else network


def _resolve(path: PathLike, role: str) -> Path:
    if not Path(path).is_dir():
        return Path(path)
    found = find_file(path, role)
    if found is None:
        raise FileNotFoundError(f"no {' or '.join(PATTERNS[role])} in {path}")
    return found


def _read_series(
    file: Path, variable: str, dt: float | None, start: Any, known: float | None = None
) -> xr.DataArray:
    """One variable as (time, reach), fill values masked, with dates; without reach ids when the file has none."""
    with open_netcdf(file, raw=True) as raw:
        if variable not in raw.variables:
            raise XRouteError(f"{file} has no variable {variable!r}; it has {some(raw.data_vars)}")
        array = _label_reaches(raw, raw[variable].load(), file)
        if array.ndim != 2:
            raise XRouteError(
                f"{variable} of {file} has dimensions {raw[variable].dims}; it needs a time and a reach dimension"
            )
        time = next(dim for dim in array.dims if dim != "reach")
        times = raw[str(time)].load() if time in raw.variables else None
        label = None if times is None else _time_label(raw, times, file)
    if label is not None:
        array.attrs["time_label"] = label
    array = array.drop_vars([name for name in array.coords if name != "reach"]).rename({time: "time"})
    axis = _times(times, array.sizes["time"], dt, start, file, known)
    return array.transpose("time", "reach").assign_coords(time=axis)


def _label_reaches(raw: xr.Dataset, array: xr.DataArray, file: Path) -> xr.DataArray:
    """Name the reach dimension, attach the file's ids, and mask fill values other than zero."""
    dims = [d for d in array.dims if str(d).lower() != "time"]
    dims = [d for d in dims if is_id_name(d, xr.Variable((), 0))] or dims
    if len(dims) != 1:
        raise XRouteError(f"cannot tell the reach dimension of {array.name} in {file} among {array.dims}")
    dim = str(dims[0])
    masked = mask_fill(array, zero_is_data=True)
    masked = masked.drop_vars(list(masked.coords)).rename({dim: "reach"} if dim != "reach" else {})
    beside = [n for n, v in raw.variables.items() if v.dims == (dim,) and n != dim and is_id_name(n, v)]
    beside = [n for n in beside if raw[n].dtype.kind in "iufSUO"]
    if dim in raw.variables and (not beside or not is_positional(raw[dim].to_numpy())):
        name: Any = dim
    elif len(beside) > 1:
        raise AlignmentError(f"{file} has several variables that could be the ids of {dim!r}: {some(beside)}; keep one")
    elif beside:
        name = beside[0]
    else:
        return masked
    exact = file_ids(raw[name], file)
    return masked.assign_coords(reach=("reach", exact, {"cf_role": "timeseries_id", "long_name": "reach id"}))


def _time_label(raw: xr.Dataset, times: xr.DataArray, file: Path) -> str | None:
    """What a time is of its step, by the file's bounds; None without bounds that were ever written."""
    name = times.attrs.get("bounds", "time_bnds")
    if name not in raw.variables or raw[name].dims[:1] != times.dims or raw[name].shape[1:] != (2,) or not times.size:
        return None
    bounds = mask_fill(raw[name].load()).to_numpy().astype(np.float64)
    if not np.isfinite(bounds).all() or (bounds[:, 0] >= bounds[:, 1]).any():
        return None
    values = times.to_numpy().astype(np.float64)
    for label, moment in (("start", bounds[:, 0]), ("end", bounds[:, 1]), ("middle", bounds.mean(axis=1))):
        if np.array_equal(values, moment):
            return label
    logger.warning("the bounds of the times of %s do not fit them, and are not read", file)
    return None


def _times(
    times: xr.DataArray | None, n: int, dt: float | None, start: Any, file: Path, known: float | None
) -> xr.Variable:
    """Use the file's dates when it has them, else an axis made from dt and start."""
    if times is not None and n and "since" in str(times.attrs.get("units", "")):
        values = mask_fill(times, zero_is_data=True)
        if not (values.dtype.kind == "f" and bool(values.isnull().any())):
            decoded = decode_times(times, file)
            if n > 1 and dt is not None:
                step = (decoded[1] - decoded[0]).item()
                seconds = step / 1e9 if isinstance(step, int) else step.total_seconds()
                if seconds != dt:
                    raise TimeAxisError(f"dt={dt} s was given, but the times of {file} are {seconds} s apart")
            return decoded.variable
    if dt is None:
        dt = known
    if dt is None:
        namelist = find_namelist(file.parent)
        dt = namelist_seconds(read_namelist(namelist), "ZS_TauR", namelist) if namelist else None
        if dt is None:
            raise TimeAxisError(
                f"{file} has no usable time axis, and no namelist with ZS_TauR lies beside it; "
                f"give the step: dt=<seconds>"
            )
    attrs = {"standard_name": "time", "long_name": "start of the step"}
    if start is None:
        attrs["comment"] = "the file has no dates: elapsed time, written as dates from 1970-01-01"
        logger.warning(
            "%s has no dates: time is counted from 1970-01-01 in steps of %s s; %s sets it", file, dt, argument("start")
        )
    offset = np.rint(np.arange(n) * float(dt) * 1e9).astype("timedelta64[ns]")
    return xr.Variable("time", np.datetime64("1970-01-01" if start is None else start, "ns") + offset, attrs)


def decode_times(times: xr.DataArray, file: Path) -> xr.DataArray:
    """Dates of a time variable that was opened raw.

    Raises
    ------
    TimeAxisError
        If its units or calendar are not known, or its dates are out of range.
    """
    try:
        return xr.decode_cf(xr.Dataset(coords={"time": ("time", times.to_numpy(), _time_attrs(times))}))["time"]
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        raise TimeAxisError(
            f"the times of {file} ({times.name}, {times.attrs.get('units')!r}, calendar {times.attrs.get('calendar')!r}) cannot "
            f"be read as dates: {error}. Mend the units in the file, or remove the variable and give "
            f"{argument('dt')} and {argument('start')}"
        ) from error


def _time_attrs(times: xr.DataArray) -> dict[str, Any]:
    return {name: value for name, value in times.attrs.items() if name in ("units", "calendar", "standard_name")}


def _with_ids(array: xr.DataArray, network: xr.Dataset | None, file: Path, region: int, n_regions: int) -> xr.DataArray:
    """Give a file without ids those of rapid_connect.csv, for the reaches of its region that the network has."""
    if "reach" in array.coords:
        return array
    if network is None:
        raise AlignmentError(f"{file} names no reach ids (its order is that of rapid_connect.csv); give the network")
    if "connect_row" not in network or "connect_rows" not in network.attrs:
        raise AlignmentError(
            f"{file} names no reach ids, and the network does not know the order of rapid_connect.csv; "
            f"give the Dataset of xroute.io.rapid.read_network"
        )
    n_rows = np.atleast_1d(network.attrs["connect_rows"])
    if n_regions != n_rows.size:
        raise AlignmentError(
            f"the network has {n_rows.size} regions, and {n_regions} files without reach ids were given"
        )
    if array.sizes["reach"] != n_rows[region]:
        raise AlignmentError(
            f"{file} names no reach ids and has {array.sizes['reach']} columns, "
            f"but rapid_connect.csv has {n_rows[region]} rows"
        )
    mine = network["region"].to_numpy() == region if "region" in network else np.ones(network.sizes["reach"], bool)
    rows = network["connect_row"].to_numpy()[mine]
    return array.isel(reach=rows).assign_coords(reach=network["reach"][mine].variable)


def _select(array: xr.DataArray, network: xr.Dataset | None, files: Sequence[Path]) -> xr.DataArray:
    """Return the network's reaches in its order."""
    assert network is not None
    have, want = pd.Index(array["reach"].to_numpy()), network["reach"].to_numpy()
    where = ", ".join(map(str, files))
    if not have.is_unique:
        raise AlignmentError(f"duplicate reach ids in {where}: {some(have[have.duplicated()].unique())}")
    position = have.get_indexer(pd.Index(want))
    if (position < 0).any():
        missing = want[position < 0]
        raise AlignmentError(f"{missing.size} reaches of the network are not in {where}: {some(missing)}")
    if len(have) > want.size:
        logger.info("%d reaches of %s are not in the network and are left out", len(have) - want.size, where)
    if np.array_equal(position, np.arange(len(have))):
        return array
    return array.isel(reach=position)


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
