"""Dates of RAPID's series: those of the file where it has any, or else made from a step and a start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import bounds_name, read_bounds
from xroute.exceptions import TimeAxisError
from xroute.files.decoding import mask_fill
from xroute.io.rapid.folder import find_namelist
from xroute.io.rapid.namelist import namelist_seconds, read_namelist
from xroute.stamps import decode_numbers, offsets
from xroute.wording import argument

__all__ = ["are_dates", "decode_dates", "label_of_bounds", "series_times"]

logger = logging.getLogger(__name__)


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
                    raise TimeAxisError(f"dt={dt} s was given, but the times of {file} are {ticks[1] * tick:.10g} s apart")
            return xr.Variable("time", dates, {k: v for k, v in times.attrs.items() if k == "standard_name"})
    step = dt if dt is not None else network_step
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
            "%s has no dates: time is counted from 1970-01-01 in steps of %s s; %s sets it", file, step, argument("start")
        )
    offset = np.rint(np.arange(n) * float(step) * 1e9).astype("timedelta64[ns]")
    return xr.Variable("time", np.datetime64("1970-01-01" if start is None else start, "ns") + offset, attrs)


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
