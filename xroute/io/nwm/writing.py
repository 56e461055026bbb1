"""CHRTOUT files, written: a file for each time, stamped with the end of its step, as the National Water Model does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import edges
from xroute.exceptions import (
    AlignmentError,
    ParameterError,
    TimeAxisError,
    XRouteError,
    one_of,
    require,
    some,
)
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.ids import exact_ids, positions_of, repeated
from xroute.io.common import dataset_of
from xroute.io.layout_series import refuse_depth, units_of
from xroute.io.nwm.time_columns import write_columns
from xroute.settings import Label
from xroute.time_dims import find_time_dim
from xroute.times import read_clock
from xroute.units import DISCHARGE_UNITS, flux_in_si, flux_scale
from xroute.wording import argument

__all__ = ["series_to_write", "write_discharge", "write_runoff"]

SUFFIX = ".CHRTOUT_DOMAIN1"
BLOCK = 2**28
"""Bytes of what is read at a time, of a series that is not in memory."""
LAYOUTS = ("CHRTOUT", "csv", "parquet")
MISSING = -9999.0
PACKING: Mapping[str, tuple[float, float]] = {"streamflow": (0.01, 50_000.0), "q_lateral": (0.1, 20_000.0)}
"""In which units the model stores a variable as integers, and the top of its valid range."""
MEANINGS = {"streamflow": "River Flow", "q_lateral": "Runoff into channel reach"}
PLACES = {"lat": ("latitude", "degrees_north"), "lon": ("longitude", "degrees_east")}


def write_discharge(
    discharge: xr.DataArray,
    folder: PathLike,
    network: Any = None,
    *,
    packed: bool = False,
    dt: Any = None,
    label: Label | None = None,
    overwrite: bool = False,
) -> None:
    """Write discharge as CHRTOUT, a file for each time: ``streamflow`` by ``feature_id``.

    Parameters
    ----------
    discharge : (time, reach)
        In m3 s-1 or other units of volume flux, with integer ids.
    folder
        Where the files go, such as ``202405010100.CHRTOUT_DOMAIN1``; made if it is not there.
    network
        Network or its Dataset, for ``latitude`` and ``longitude``.
    packed
        Store integers in units of 0.01 m3 s-1, as the National Water Model does, and so round to them; by default reals of the
        discharge's own type.
    dt, label
        Step (seconds, or text like ``"1h"``), for a single time, and what a stamp is of it; by default what the discharge says.
        Files are stamped with the end of the step.
    overwrite
        Replace files of these names.

    Raises
    ------
    AlignmentError
        Text for ids, members, or reaches that the network does not have.
    TimeAxisError
        Times that are no dates, or not regular; steps that do not end at whole minutes.
    UnitsError, ParameterError
        Units of something else; values that are too large to be packed.
    FileExistsError
        Files are there and ``overwrite`` is False; nothing is written then.
    ImportError
        netCDF4 is not installed.

    Examples
    --------
    >>> import pathlib, tempfile, xroute
    >>> from xroute.io import nwm
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 2)).route(network)
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> nwm.write_discharge(discharge, folder, network, packed=True)
    >>> len(list(folder.iterdir()))
    2
    """
    array = series_to_write(discharge, "discharge", dt, label)
    _write_hours(array, Path(folder), "streamflow", network, packed, overwrite)


def write_runoff(
    runoff: xr.DataArray,
    path: PathLike,
    network: Any = None,
    *,
    layout: str = "CHRTOUT",
    packed: bool = False,
    dt: Any = None,
    label: Label | None = None,
    overwrite: bool = False,
) -> None:
    """Write lateral inflow as forcing of t-route: CHRTOUT files with ``q_lateral``, or a table of version 4.

    Parameters
    ----------
    runoff : (time, reach)
        In any units that `xroute.route` takes, with integer ids; it is written in m3 s-1.
    path
        A folder for CHRTOUT, made if it is not there; the file of a table.
    network, packed, dt, label, overwrite
        As for `write_discharge`; ``packed`` is in units of 0.1 m3 s-1, and the network's ``area`` makes volumes of depths.
    layout
        ``"CHRTOUT"``, stamped with the end of the step; ``"csv"`` or ``"parquet"``, a row a feature and a column a time, named
        by the start of its step, as t-route takes it.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, ParameterError, FileExistsError, ImportError
        As `write_discharge`.
    XRouteError
        A table whose suffix is not that of its layout.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import nwm
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/forcing.csv"
    >>> nwm.write_runoff(ds.runoff.isel(time=slice(0, 3)), path, network, layout="csv")
    >>> nwm.read_runoff(path).sizes["time"]
    3
    """
    one_of("layout", layout, LAYOUTS)
    if layout == "CHRTOUT":
        array = series_to_write(runoff, "runoff", dt, label, network=network)
        _write_hours(array, Path(path), "q_lateral", network, packed, overwrite)
        return
    if packed:
        raise ParameterError("tables are not packed: they hold numbers as they are")
    array = series_to_write(runoff, "runoff", dt, label, network=network, at="start")
    if Path(path).suffix.lower() != f".{layout}":
        raise XRouteError(f"a table of layout {layout!r} has the suffix .{layout}, and {path} has not")
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        write_columns(array, draft)


def series_to_write(
    array: xr.DataArray, what: str, dt: Any = None, label: Label | None = None, *, network: Any = None, at: str = "end",
    text: bool = False,
) -> xr.DataArray:  # fmt: skip
    """A series (time, reach) in m3 s-1, stamped with the starts or ends of its steps, as dates of whole seconds.

    Parameters
    ----------
    array, what
        The series, and what it is called in messages.
    dt, label
        Step and what a stamp is, as callers give them.
    network
        Network or its Dataset, whose ``area`` makes volumes of depths.
    at
        What stamps are to be: ``"start"`` or ``"end"``.
    text
        Whether ids may be text.
    """
    if "reach" not in array.coords or array["reach"].dims != ("reach",):
        raise AlignmentError(f"{what} has dimensions {some(array.dims)} and no coordinate 'reach' that names its reaches")
    dim = find_time_dim(array)
    if dim not in array.dims or set(array.dims) != {dim, "reach"}:
        raise AlignmentError(f"{what} has dimensions {some(array.dims)}: write a member at a time, on time and reach alone")
    times = array[dim].values if dim in array.coords else None
    if times is None or times.dtype.kind not in "MO":
        raise TimeAxisError(f"the times of {what} are no dates, and files are named by their dates")
    clock = read_clock(array, dim, dt, label)
    if clock.step is None or clock.label is None:
        raise TimeAxisError(f"{what} has a single time, so its step cannot be told; give {argument('dt')} (seconds)")
    if times.dtype.kind == "O":
        times = _dates(times, what)
    stamped = edges(times, clock.step, clock.label)
    bounds = stamped.astype("datetime64[ns]")
    if (bounds.astype(stamped.dtype) != stamped).any():
        raise TimeAxisError(f"{what} has dates before 1678 or after 2261, which these files do not get: {stamped[0, 0]}")
    ids = exact_ids(array["reach"].values, f"reach of {what}", AlignmentError)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} reaches stand more than once in the {what}: {some(twice)}")
    if ids.dtype.kind != "i" and not text:
        raise AlignmentError(f"ids are integers in these files, and {what} has text: {some(ids, 3)}. Give it the numbers first")
    values = array.transpose(clock.dim, "reach").drop_vars([n for n in array.coords if n not in (clock.dim, "reach")])
    units = units_of(array, what)
    if what == "discharge":
        refuse_depth(units, what)
    factor = _flux_factor(units, clock.step, ids, network, what)
    made = (values if factor is None else values * factor).rename({clock.dim: "time"} if clock.dim != "time" else {})
    made = made.assign_coords(time=bounds[:, 0 if at == "start" else 1], reach=ids)
    return made.assign_attrs(units=DISCHARGE_UNITS, begin=bounds[0, 0], step=clock.step)


def _dates(moments: NDArray[Any], what: str) -> NDArray[Any]:
    """Dates of another calendar by their names, which the standard calendar must have."""
    try:
        return np.array([np.datetime64(moment.isoformat(), "us") for moment in moments])
    except ValueError as error:
        calendar = getattr(moments[0], "calendar", "another")
        raise TimeAxisError(f"{what} has dates of the calendar {calendar!r} that the standard one lacks: {error}") from error


def _flux_factor(units: str, step: float, ids: NDArray[Any], network: Any, what: str) -> Any:
    """What values in these units are multiplied by to be in m3 s-1; None for nothing."""
    rivers, area = dataset_of(network), None
    if rivers is not None and "area" in rivers.variables:
        area = rivers["area"].isel(reach=_positions(ids, rivers))
    scale, flux = flux_scale(units, step, area)
    factor = (1.0 if scale is None else scale) * flux_in_si(flux, what)
    return None if np.ndim(factor) == 0 and factor == 1.0 else factor


def _positions(ids: NDArray[Any], rivers: xr.Dataset) -> NDArray[np.int64]:
    at = positions_of(ids, exact_ids(rivers["reach"].values, "network reach"))
    if (at < 0).any():
        raise AlignmentError(f"{int((at < 0).sum())} reaches are not in the network: {some(ids[at < 0])}")
    return at


def _write_hours(array: xr.DataArray, folder: Path, name: str, network: Any, packed: bool, overwrite: bool) -> None:
    """All files, or none: they get their names when the last is complete."""
    require("netCDF4", feature="writing CHRTOUT", extra="io")
    stamps = pd.DatetimeIndex(array["time"].values)
    if (stamps != stamps.floor("min")).any():
        raise TimeAxisError(f"files are named by the minute, and steps end at {stamps[stamps != stamps.floor('min')][0]}")
    base, begin = _places(array["reach"].values, network), array.attrs["begin"]
    own = not folder.exists()
    if not own and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, where a folder for a file an hour is expected")
    if own:
        if not folder.parent.is_dir():
            raise FileNotFoundError(f"no folder {folder.parent} to make {folder.name} in")
        folder.mkdir()
    try:
        with ExitStack() as stack, writing(f"write {folder}", target=folder):
            targets = [folder / f"{stamp:%Y%m%d%H%M}{SUFFIX}" for stamp in stamps]
            drafts = [stack.enter_context(replacing(target, overwrite=overwrite)) for target in targets]
            for first, block in _blocks(array):
                for k, values in enumerate(block, first):
                    _hour(base, values, stamps, k, name, packed, begin).to_netcdf(drafts[k], engine="netcdf4")
    except BaseException:
        if own and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _blocks(array: xr.DataArray) -> Iterator[tuple[int, NDArray[Any]]]:
    """Values (time, reach) of a few steps at a time, with the first of them: each chunk of what is on Dask is computed once."""
    length = max(1, BLOCK // max(1, array.sizes["reach"] * array.dtype.itemsize))
    n = array.sizes["time"]
    sizes = [min(length, n - first) for first in range(0, n, length)] if array.chunks is None else array.chunksizes["time"]
    first = 0
    for size in sizes:
        yield first, array.isel(time=slice(first, first + size)).to_numpy()
        first += size


def _places(ids: NDArray[Any], network: Any) -> xr.Dataset:
    """What all files share: ids, and where they are."""
    about = {"long_name": "Reach ID", "comment": "ids of RouteLink", "cf_role": "timeseries_id"}
    base = xr.Dataset(coords={"feature_id": ("feature_id", ids, about)})
    rivers = dataset_of(network)
    if rivers is None:
        return base
    at = _positions(ids, rivers)
    for ours, (theirs, units) in PLACES.items():
        if ours in rivers.variables and rivers[ours].dims == ("reach",):
            about = {"long_name": f"Feature {theirs}", "standard_name": theirs, "units": units}
            base[theirs] = ("feature_id", rivers[ours].to_numpy()[at].astype(np.float32), about)
    return base


def _hour(
    base: xr.Dataset, values: NDArray[Any], stamps: pd.DatetimeIndex, k: int, name: str, packed: bool, begin: np.datetime64
) -> xr.Dataset:
    """One file: a time, and values by feature."""
    unit, top = PACKING[name]
    attrs: dict[str, Any] = {"long_name": MEANINGS[name], "units": "m3 s-1"}
    if not ((values < 0) | (values > top)).any():  # what is outside, netCDF4 would mask; of integers, the range is of integers
        attrs["valid_range"] = np.array([0, round(top / unit)], np.int32) if packed else np.array([0, top], np.float32)
    if {"latitude", "longitude"} <= set(base.variables):
        attrs["coordinates"] = "latitude longitude"
    hour = base.assign({name: ("feature_id", values, attrs)})
    if packed:
        fill = round(MISSING / unit)
        whole = np.rint(np.where(np.isnan(values), 0.0, values.astype(np.float64)) / unit)
        if not (np.abs(whole) < np.iinfo(np.int32).max).all() or (whole == fill).any():
            raise ParameterError(
                f"{name} at {stamps[k]} is up to {np.nanmax(np.abs(values)):g} m3 s-1, which 32 bits in units of {unit:g} do not "
                "hold: write reals, not packed"
            )
        hour[name].encoding = {
            "dtype": "int32", "scale_factor": np.float32(unit), "add_offset": np.float32(0.0), "_FillValue": np.int32(fill),
        }  # fmt: skip
    else:
        hour[name].encoding = {"_FillValue": values.dtype.type(MISSING) if values.dtype.kind == "f" else None}
    for which, moment, standard, meaning in (
        ("time", stamps.values[k], "time", "valid output time"),
        ("reference_time", begin, "forecast_reference_time", "model initialization time"),
    ):
        hour[which] = (which, np.array([moment]), {"standard_name": standard, "long_name": meaning})
        hour[which].encoding = {"dtype": "int32", "units": "minutes since 1970-01-01 00:00:00", "_FillValue": None}
    hour["feature_id"].encoding = {"_FillValue": None}
    valid = f"{stamps[k]:%Y-%m-%d_%H:%M:%S}"
    hour.attrs = {
        "TITLE": "OUTPUT FROM xroute", "featureType": "timeSeries", "Conventions": "CF-1.6", "station_dimension": "feature_id",
        "model_output_type": "channel_rt", "model_initialization_time": f"{pd.Timestamp(begin):%Y-%m-%d_%H:%M:%S}",
        "model_output_valid_time": valid, "model_total_valid_times": len(stamps),
    }  # fmt: skip
    return hour
