"""Labels that RAPID's series lack: ids for what is stored by position, and dates, of the file or made from a step and a start."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import bounds_name, read_bounds
from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, some
from xroute.files.decoding import is_id_name, mask_fill
from xroute.ids import is_positional
from xroute.io.common import file_ids
from xroute.io.rapid.folder import find_namelist, namelist_seconds, read_namelist
from xroute.stamps import decode_numbers, offsets
from xroute.wording import argument

__all__ = [
    "are_dates", "decode_dates", "label_of_bounds", "label_reaches", "select_reaches", "series_times", "with_ids",
]  # fmt: skip

logger = logging.getLogger(__name__)


def label_reaches(raw: xr.Dataset, array: xr.DataArray, file: Path) -> xr.DataArray:
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


def with_ids(array: xr.DataArray, network: xr.Dataset | None, file: Path, region: int, n_regions: int) -> xr.DataArray:
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


def select_reaches(array: xr.DataArray, network: xr.Dataset | None, files: Sequence[Path]) -> xr.DataArray:
    """The network's reaches in its order; without a network, all as they are."""
    if network is None:
        return array
    have, want = pd.Index(array["reach"].to_numpy()), network["reach"].to_numpy()
    names = ", ".join(map(str, files))
    if not have.is_unique:
        raise AlignmentError(f"duplicate reach ids in {names}: {some(have[have.duplicated()].unique())}")
    position = have.get_indexer(pd.Index(want))
    if (position < 0).any():
        missing = want[position < 0]
        raise AlignmentError(f"{missing.size} reaches of the network are not in {names}: {some(missing)}")
    if len(have) > want.size:
        logger.info("%d reaches of %s are not in the network and are left out", len(have) - want.size, names)
    if np.array_equal(position, np.arange(len(have))):
        return array
    return array.isel(reach=position)


def series_times(
    times: xr.DataArray | None, n: int, dt: float | None, start: Any, file: Path, network_step: float | None
) -> xr.Variable:
    """Times of a series of ``n`` steps: the file's own dates, or an axis made from a step and a start.

    Parameters
    ----------
    times
        The file's time variable as stored, if it has one.
    n
        Number of steps.
    dt, start
        Step [s] and start as the caller gives them.
    file
        For messages, and to look for a namelist beside it.
    network_step
        Step [s] that the network states, for files without dates where the caller gives none.
    """
    if times is not None and n and are_dates(times):
        written = mask_fill(times, zero_is_data=True)
        if not (written.dtype.kind == "f" and bool(written.isnull().any())):
            dates = decode_dates(times, file)
            if n > 1 and dt is not None:
                ticks, tick = offsets(dates[:2])
                if not np.isclose(ticks[1] * tick, dt, rtol=1e-9):
                    raise TimeAxisError(f"dt={dt:.10g} s was given, but the times of {file} are {ticks[1] * tick:.10g} s apart")
            return xr.Variable("time", dates, {k: v for k, v in times.attrs.items() if k == "standard_name"})
    step = network_step if dt is None else dt
    if step is None:
        namelist = find_namelist(file.parent)
        step = namelist_seconds(read_namelist(namelist), "ZS_TauR", namelist) if namelist else None
    if step is None:
        raise TimeAxisError(
            f"{file} has no usable time axis, and no namelist with ZS_TauR lies beside it; give the step: "
            f"{argument('dt')} (seconds)"
        )
    attrs = {"standard_name": "time", "long_name": "start of the step"}
    if start is None:
        attrs["comment"] = "the file has no dates: elapsed time, written as dates from 1970-01-01"
        logger.warning(
            "%s has no dates: time is counted from 1970-01-01 in steps of %.10g s; %s sets it", file, step, argument("start")
        )
    begin = _moment("1970-01-01" if start is None else start)
    offset = np.rint(np.arange(n) * float(step) * 1e9).astype("timedelta64[ns]")
    return xr.Variable("time", begin + offset, attrs)


def _moment(start: Any) -> np.datetime64:
    """A start as a date; text is ISO 8601 alone, since 03/04/2002 is two dates."""
    try:
        moment = np.datetime64(start, "ns")
        if np.isnat(moment):
            raise ValueError("not a time")
        return moment
    except (ValueError, TypeError) as error:
        raise TimeAxisError(
            f"the start is a date such as 2002-08-30 or 2002-08-30T06:00, not {start!r} ({argument('start')})"
        ) from error


def label_of_bounds(raw: xr.Dataset, times: xr.DataArray, file: Path) -> str | None:
    """What a stamp is of its step, by the file's bounds; None without bounds that were ever written, and that fit."""
    name = bounds_name(times) or "time_bnds"
    if name not in raw.variables or not times.size or not are_dates(times):
        return None
    bounds = mask_fill(raw[name].load())
    if bounds.isnull().any() or bounds.shape[-1:] != (2,) or (bounds[..., 0] == bounds[..., 1]).any():
        return None
    try:
        return read_bounds(bounds.variable, name, times, decode_dates(times, file), None)[0]
    except TimeAxisError as error:
        logger.warning("the bounds of the times of %s do not fit them, and are not read: %s", file, error)
        return None


def are_dates(times: xr.DataArray) -> bool:
    """Whether a time variable, as stored, counts from a date."""
    return "since" in str(times.attrs.get("units", ""))


def decode_dates(times: xr.DataArray, file: Path) -> NDArray[Any]:
    """Dates of a time variable as stored."""
    units, calendar = times.attrs["units"], times.attrs.get("calendar")
    try:
        return decode_numbers(times.to_numpy(), units, calendar)
    except TimeAxisError as error:
        raise TimeAxisError(
            f"the times of {file} ({times.name}, {units!r}, calendar {calendar!r}) cannot be read as dates: "
            f"{error.__cause__ or error}. Mend the units in the file, or remove the variable and give {argument('dt')} and "
            f"{argument('start')}"
        ) from error
