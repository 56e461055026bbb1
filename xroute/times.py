"""Time: which dimension is the time, and how long a step is."""

from __future__ import annotations

import datetime
import re
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import TimeAxisError, some

__all__ = ["dated_dims", "find_time_dim", "first_time", "next_time", "seconds", "time_step"]


def seconds(dt: Any) -> float:
    """Length of a step in seconds from a number (text or not), a timedelta, or text such as ``"3h"``.

    Raises
    ------
    TimeAxisError
        If it is not a time span, or not positive.
    """
    try:
        if isinstance(dt, str) and re.fullmatch(r"[-+.\de]+", dt.strip()):
            value = float(dt)
        elif isinstance(dt, (str, np.timedelta64, datetime.timedelta)):  # now: timedelta64 is an np.integer too
            value = pd.Timedelta(dt).total_seconds()
        elif isinstance(dt, (int, float, np.integer, np.floating)) and not isinstance(dt, bool):
            value = float(dt)
        else:
            raise TypeError(f"a {type(dt).__name__}")
    except (ValueError, TypeError) as error:
        raise TimeAxisError(
            f"dt is a number of seconds, a timedelta, or text like '3h', not {dt!r} ({error})"
        ) from error
    if not (np.isfinite(value) and value > 0):
        raise TimeAxisError(f"dt must be positive, not {dt!r}")
    return value


def find_time_dim(array: xr.DataArray, time_dim: Hashable) -> Hashable:
    """Name of the time dimension: the one given, or else the only one whose coordinate bears dates."""
    if time_dim in array.dims:
        return time_dim
    dated = dated_dims(array)
    if time_dim == "time" and len(dated) == 1:
        return dated[0]
    raise TimeAxisError(f"runoff has no dimension {time_dim!r}; it has {some(array.dims)}. Give time_dim=")


def dated_dims(array: xr.DataArray) -> list[Hashable]:
    """Dimensions whose coordinates bear dates."""
    return [d for d in array.dims if d in array.coords and _is_dated(array[d].values)]


def time_step(array: xr.DataArray, time_dim: Hashable, dt: Any = None) -> float | None:
    """Step of the time axis [s]; None if it has fewer than two times and ``dt`` is not given.

    Raises
    ------
    TimeAxisError
        For times that are missing, disordered, double or irregular (the place is named), for a ``dt`` that contradicts
        them, and for plain numbers without ``dt``.
    """
    given = None if dt is None else seconds(dt)
    if time_dim not in array.coords:
        if given is None and array.sizes[time_dim]:
            raise TimeAxisError(f"{time_dim!r} has no coordinate, so the step is unknown: give dt= (seconds, or '3h')")
        return given
    values = array[time_dim].values
    if values.size and isinstance(values.flat[0], pd.Period):
        raise TimeAxisError(
            f"{time_dim!r} holds periods, not times: assign_coords({time_dim}=runoff.indexes[{time_dim!r}].to_timestamp())"
        )
    if pd.isna(values).any():
        raise TimeAxisError(f"times are missing (NaT), first at position {int(np.flatnonzero(pd.isna(values))[0])}")
    dated = _is_dated(values)
    if not dated and given is None and values.size:
        since = " (undecoded: use xr.decode_cf)" if "since" in str(array[time_dim].attrs.get("units", "")) else ""
        raise TimeAxisError(f"{time_dim!r} is not dates but {values.dtype}{since}: decode it, or give dt=")
    if values.size < 2:
        return given
    steps = _steps(values)
    step = float(np.median(steps)) if not dated or given is None else given
    if step <= 0 and (steps <= 0).all():
        raise TimeAxisError(
            f"times {'decrease' if (steps < 0).any() else 'are all the same'}: runoff.sortby({time_dim!r})"
        )
    bad = np.flatnonzero(np.abs(steps - step) > 1e-6 * abs(step))
    if bad.size:
        i = int(bad[0])
        if dated and given is not None and bad.size == steps.size and np.ptp(steps) == 0:
            raise TimeAxisError(f"dt is {given:g} s, but times are {steps[0]:g} s apart")
        unit = " s" if dated else ""
        kinds = {-1: "a step back", 0: "a duplicate", 1: "a gap" if steps[i] > step else "a short step"}
        raise TimeAxisError(
            f"times are not regular: {kinds[int(np.sign(steps[i]))]} of {steps[i]:g}{unit} between {_show(values[i])} "
            f"and {_show(values[i + 1])} "
            f"(positions {i} and {i + 1}), where the step is {step:g}{unit}; {bad.size} such places. "
            "Fill or reindex the series first: no step is skipped silently"
        )
    return step if dated and given is None else given


def next_time(array: xr.DataArray, time_dim: Hashable, dt: float) -> str | None:
    """Time at the end of the last step, as text; None if times are not dates."""
    return _moment(array, time_dim, -1, dt)


def first_time(array: xr.DataArray, time_dim: Hashable) -> str | None:
    """First time, as `next_time` writes it."""
    return _moment(array, time_dim, 0, 0.0)


def _moment(array: xr.DataArray, time_dim: Hashable, position: int, later: float) -> str | None:
    if time_dim not in array.coords or not array.sizes[time_dim] or not _is_dated(array[time_dim].values):
        return None
    moment = array[time_dim].values[position]
    if isinstance(moment, np.datetime64):
        return (pd.Timestamp(moment) + pd.Timedelta(later, "s")).isoformat()
    if isinstance(moment, np.timedelta64):
        return (pd.Timedelta(moment) + pd.Timedelta(later, "s")).isoformat()
    return str((moment + datetime.timedelta(seconds=later)).isoformat())


def _is_dated(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "mM" or (
        values.dtype.kind == "O" and values.size > 0 and hasattr(values.flat[0], "year")
    )


def _steps(values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind in "mM":
        return np.diff(values).astype("timedelta64[ns]").astype(np.int64) / 1e9
    if values.dtype.kind == "O":  # cftime: microseconds are exact in its differences
        return np.array([d.total_seconds() for d in np.diff(values)])
    return np.diff(values).astype(np.float64)


def _show(value: Any) -> str:
    return pd.Timestamp(value).isoformat() if isinstance(value, np.datetime64) else str(value)
