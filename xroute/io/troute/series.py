"""What t-route computed: its netCDF, CSV and Parquet of flow, and the flow that it adds to CHRTOUT files.

Velocity, depth and nudges are not read: xroute has no use for them. Values are those of the moment at the end of each step.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, require, some
from xroute.files.opening import PathLike, open_netcdf
from xroute.guards import reading
from xroute.ids import exact_ids, positions_of, repeated
from xroute.io.common import concatenate, dataset_of, expand_paths, file_ids
from xroute.io.nwm.series import read_discharge as read_chrtout
from xroute.io.nwm.time_columns import digits_of
from xroute.stamps import is_dated
from xroute.times import seconds
from xroute.wording import argument, phrase

__all__ = ["OUTPUTS", "find_outputs", "read_discharge"]

logger = logging.getLogger(__name__)

OUTPUTS = ("troute_output_*.nc", "troute_output_*.csv", "flowveldepth_*.csv", "flowveldepth_*.parquet")
FLOWPATH = "wb"
"""Type of rows that are flowpaths; others are nexuses."""
LONG = ("location_id", "value", "value_time", "variable_name")


def find_outputs(folder: Path) -> list[Path]:
    """Files of discharge in a folder: those of the first kind of which there are any."""
    return next((files for pattern in OUTPUTS if (files := sorted(folder.glob(pattern)))), [])


def read_discharge(
    files: PathLike | Sequence[PathLike],
    network: Any = None,
    *,
    variable: str | None = None,
    start: Any = None,
    dt: Any = None,
) -> xr.DataArray:
    """Read the discharge that t-route computed.

    Parameters
    ----------
    files
        ``troute_output_*.nc`` or ``*.csv`` (stream_output), ``flowveldepth_*.csv`` or ``*.parquet`` (csv_output, parquet_output),
        a file of gauges (chanobs_output), or CHRTOUT files with ``streamflow_troute``; one, several, a glob pattern, or a folder.
    network
        Network or its Dataset: the result takes its reaches in its order. t-route writes numbers: those of ``wb-11223`` are
        11223. By default the numbers of the first file.
    variable
        Name of the variable in netCDF; by default ``flow``, ``streamflow_troute`` or ``streamflow``, the first that is there.
    start, dt
        Start of the run and its step (seconds, or text like ``"5min"``), for ``flowveldepth_*.csv``, whose columns are counted.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], of the moment at the end of each step; ``time_label`` is ``"end"``.

    Raises
    ------
    AlignmentError
        Reaches of the network that the files lack, or files of different reaches.
    TimeAxisError
        Files that lie within one another; counted columns without ``start`` and ``dt``.
    XRouteError
        Files of another kind.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import troute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 3)).route(network)
    >>> path = tempfile.mkdtemp() + "/troute_output_202405010000.nc"
    >>> troute.write_discharge(discharge, path)
    >>> found = troute.read_discharge(path, network)
    >>> found.dims, found.attrs["units"], found.attrs["time_label"]
    (('time', 'reach'), 'm3 s-1', 'end')
    """
    one = files if isinstance(files, str | os.PathLike) else files[0] if len(files) == 1 else None
    paths = find_outputs(Path(one)) if one is not None and Path(one).is_dir() else expand_paths(files, "t-route")
    if not paths and one is not None:
        return read_chrtout(one, network, variable=variable or "streamflow_troute")
    rivers = dataset_of(network)
    wanted = None if rivers is None else exact_ids(rivers["reach"].values, "network reach")
    parts = [_select(_read_one(path, variable, start, dt), wanted, path) for path in paths]
    whole = concatenate(parts, paths, "time") if len(parts) > 1 else parts[0]
    whole.attrs = {"long_name": "discharge", "units": "m3 s-1", "cell_methods": "time: point", "time_label": "end"}
    return whole.rename("discharge")


def _read_one(path: Path, variable: str | None, start: Any, dt: Any) -> xr.DataArray:
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        raise XRouteError(f"{path} is a pickle, which runs code when it is read: let t-route write netCDF, CSV or Parquet")
    if suffix == ".parquet":
        return _parquet(path)
    if suffix == ".csv":
        return _csv(path, start, dt)
    return _netcdf(path, variable)


def _netcdf(path: Path, variable: str | None) -> xr.DataArray:
    """Flow (feature_id, time) of stream_output, or streamflow (time, feature_id) of gauges or CHRTOUT."""
    with open_netcdf(path) as dataset:
        if "feature_id" not in dataset.variables or "time" not in dataset.variables:
            raise XRouteError(f"{path} is none of t-route's files: feature_id or time is not in {some(dataset.variables)}")
        names = (variable,) if variable is not None else ("flow", "streamflow_troute", "streamflow")
        name = next((name for name in names if name in dataset.variables), None)
        if name is None:
            raise XRouteError(f"{path} has no {' or '.join(names)}; it has {some(dataset.data_vars)}")
        dim = dataset["feature_id"].dims[0]
        array = dataset[name].load()
        array = array if "time" in array.dims else array.expand_dims(time=np.atleast_1d(dataset["time"].values))
        if set(array.dims) != {"time", dim}:
            raise XRouteError(f"{name} of {path} has dimensions {some(array.dims)}, not time and {dim}")
        if not is_dated(dataset["time"]):
            raise TimeAxisError(f"the times of {path} are no dates ({dataset['time'].attrs.get('units', 'without units')})")
        ids, values = file_ids(dataset["feature_id"], path), array.transpose("time", dim).to_numpy()
        kind = _text(dataset["type"]) if "type" in dataset.variables else None
        times = np.atleast_1d(dataset["time"].values)
    if kind is not None:
        ids, values = _flowpaths(ids, values, kind, path)
    return _series(times, ids, values, path)


def _text(variable: xr.DataArray) -> NDArray[Any]:
    """Text that a netCDF file has as characters, or as strings."""
    values = variable.to_numpy()
    if values.dtype.kind == "S" and values.ndim == 2:
        values = np.array([b"".join(row) for row in values.tolist()])
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    return np.char.strip(values.astype(str), " \0")


def _flowpaths(ids: NDArray[Any], values: NDArray[Any], kind: NDArray[Any], path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns that are flowpaths: nexuses bear numbers of their own."""
    keep = kind == FLOWPATH
    if not keep.any():
        raise XRouteError(f"{path} holds no flowpaths ({FLOWPATH}), but {some(np.unique(kind))} alone")
    if not keep.all():
        logger.info("%d rows of %s are of nexuses, and are left out", int((~keep).sum()), path)
    return ids[keep], values[:, keep]


def _csv(path: Path, start: Any, dt: Any) -> xr.DataArray:
    """A row a flowpath with counted columns (flowveldepth), or a row a flowpath and time (stream_output)."""
    with reading(path, "as a table"):
        table = pd.read_csv(path, dtype={0: "string"})
    columns = [str(name) for name in table.columns]
    flows = {k: int(match.group(1)) for k, name in enumerate(columns) if (match := re.fullmatch(r"\((\d+), 'q'\)", name.strip()))}
    if flows:
        if start is None or dt is None:
            raise TimeAxisError(
                f"columns of {path} are counted, not dated: give {argument('start')} of the run, and its step {argument('dt')}"
            )
        steps = np.array(list(flows.values())) + 1
        begin = np.datetime64(pd.Timestamp(str(start).replace("_", " ")), "ns")
        times = begin + (steps * round(seconds(dt) * 1e9)).astype("timedelta64[ns]")
        values = table.iloc[:, list(flows)].to_numpy(np.float64).T
        return _series(times, _ids(table.iloc[:, 0], path), values, path)
    lacking = [name for name in ("current_time", "flow") if name not in columns]
    if lacking:
        raise XRouteError(f"{path} is none of t-route's tables: it has no {some(lacking)}, but {some(columns)}")
    if "Type" in columns:
        nexuses = table["Type"] != FLOWPATH
        if nexuses.all():
            raise XRouteError(f"{path} holds no flowpaths ({FLOWPATH}), but {some(table['Type'].unique())} alone")
        if nexuses.any():
            logger.info("%d rows of %s are of nexuses, and are left out", int(nexuses.sum()), path)
        table = table[~nexuses]
    key = next((name for name in ("featureID", "feature_id") if name in columns), columns[0])
    return _from_rows(table[key], table["current_time"], table["flow"], path)


def _parquet(path: Path) -> xr.DataArray:
    require("pyarrow", feature=f"reading {path.name}", extra="io")
    with reading(path, "as Parquet"):
        table = pd.read_parquet(path)
    lacking = [name for name in LONG if name not in table.columns]
    if lacking:
        raise XRouteError(f"{path} is none of t-route's tables: it has no {some(lacking)}, but {some(table.columns)}")
    flow = table[table["variable_name"] == "streamflow"]
    if flow.empty:
        raise XRouteError(f"{path} has no variable_name 'streamflow', but {some(table['variable_name'].unique())}")
    units = flow["units"].unique().tolist() if "units" in flow.columns else ["m3/s"]
    if units not in (["m3/s"], ["m3 s-1"], ["m^3/s"]):
        raise XRouteError(f"streamflow of {path} is in {some(units)}, not in m3/s")
    return _from_rows(flow["location_id"], flow["value_time"], flow["value"], path)


def _from_rows(ids: pd.Series, times: pd.Series, values: pd.Series, path: Path) -> xr.DataArray:
    """A value a row as (time, reach)."""
    try:
        stamps = pd.to_datetime(times, format=None if times.dtype.kind == "M" else "ISO8601").to_numpy("datetime64[ns]")
    except ValueError as error:
        raise TimeAxisError(f"{path} has times that are no dates: {error}") from error
    codes, names = pd.factorize(ids)
    known, when = np.unique(stamps, return_inverse=True)
    cells = when.astype(np.int64) * len(names) + codes
    if np.unique(cells).size < cells.size:
        twice = pd.Series(cells)[pd.Series(cells).duplicated()].iloc[0]
        raise AlignmentError(f"{path} has several values of {names[twice % len(names)]!r} at {known[twice // len(names)]}")
    table = np.full(known.size * len(names), np.nan)
    table[cells] = values.to_numpy(np.float64)
    return _series(known, _ids(pd.Series(names), path), table.reshape(known.size, len(names)), path)


def _ids(values: pd.Series, path: Path) -> NDArray[Any]:
    text = values.astype(object).to_numpy()
    if all(re.fullmatch(r"[-+]?\d{1,18}", str(one)) for one in text):
        return np.array([int(one) for one in text], np.int64)
    return exact_ids(text, f"ids of {path}", AlignmentError)


def _series(times: NDArray[Any], ids: NDArray[Any], values: NDArray[Any], path: Path) -> xr.DataArray:
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"duplicate ids in {path}: {some(twice)}")
    coords = {"time": ("time", times, {"standard_name": "time"}), "reach": ("reach", ids, {"cf_role": "timeseries_id"})}
    return xr.DataArray(values, dims=("time", "reach"), coords=coords, name="discharge")


def _select(array: xr.DataArray, wanted: NDArray[Any] | None, path: Path) -> xr.DataArray:
    """The reaches of a network: by id, or by the numbers of ids where the file has these alone."""
    if wanted is None:
        return array
    ids = array["reach"].values
    at = positions_of(wanted, ids)
    if (at < 0).all():
        own, theirs = np.array(digits_of(wanted)), np.array(digits_of(ids))
        if not repeated(own).size and not repeated(theirs).size:
            at = positions_of(own, theirs)
    if (at < 0).any():
        raise AlignmentError(
            f"{int((at < 0).sum())} of the {wanted.size} reaches of the network are not in {path}: {some(wanted[at < 0])}; "
            + ("no id is in both: is this the file's network?" if (at < 0).all()
               else phrase("part", "take a part of the network, or read without network="))
        )
    if ids.size > wanted.size:
        logger.info("%d features of %s are not in the network and are left out", ids.size - wanted.size, path)
    return array.isel(reach=at).assign_coords(reach=("reach", wanted, array["reach"].attrs))
