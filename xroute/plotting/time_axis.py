"""Axes of time: series with dates, leads or dates of other calendars on one axis, and labels that fit them.

Dates of numpy are drawn as matplotlib draws them, leads of a forecast in hours, dates of cftime as days of their own calendar.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import LABELS
from xroute.exceptions import TimeAxisError
from xroute.moments import places, spacing, valid_times
from xroute.plotting.style import axis_label
from xroute.stamps import stamps
from xroute.step_match import said_of, stamps_of
from xroute.time_dims import find_time_dim

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "along_time", "dress_times", "drawn_times", "numbers_on_axis", "others_on_axis", "step_begins", "step_edges",
    "time_text",
]  # fmt: skip

Float = NDArray[np.float64]
#: What a unit of the axis is in seconds, by the kind of the times: days of dates, hours of leads.
_UNIT = {"M": 86400.0, "O": 86400.0, "m": 3600.0}


def along_time(series: xr.DataArray, time_dim: Hashable | None = None, what: str = "discharge") -> xr.DataArray:
    """The series with its time, or a forecast's leads, on a dimension ``time`` whose coordinate is decoded.

    Raises
    ------
    TimeAxisError
        If it cannot be told which dimension is the time.
    """
    with said_of(what):
        dim = find_time_dim(series, time_dim)
        values = stamps(series, dim, counted=True)
    renamed = series
    if dim != "time":
        begin = "forecast_reference_time"  # what forecasts call time beside their leads
        names = {} if "time" not in series.coords or begin in series.coords else {"time": begin}
        kept = series.rename(names) if names else series.drop_vars("time", errors="ignore")
        renamed = kept.rename({dim: "time"})
    if values is None:
        return renamed
    attrs = series[dim].attrs if dim in series.coords and values.dtype.kind not in "mMO" else {}
    return renamed.assign_coords(time=("time", values, attrs))


def drawn_times(time: xr.DataArray) -> Any:
    """Times as matplotlib takes them: durations in hours, dates of other calendars (cftime) as days since 1970 of their own."""
    values = time.to_numpy()
    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "h")
    if values.dtype.kind != "O" or not values.size:
        return values
    import cftime

    return cftime.date2num(values, "days since 1970-01-01", calendar=values.flat[0].calendar)


def numbers_on_axis(time: xr.DataArray) -> Float:
    """Times as numbers of the axis that `drawn_times` are drawn on."""
    from matplotlib import dates

    values = drawn_times(time)
    return np.asarray(dates.date2num(values) if values.dtype.kind == "M" else values, np.float64)


def others_on_axis(other: xr.DataArray, time: xr.DataArray, series: xr.DataArray, what: str) -> Float:
    """Where the times of another series lie on the axis of this one.

    Parameters
    ----------
    other
        A series along ``time``.
    time
        Times of the axis.
    series
        What they are of, whose coordinates may say when a forecast begins.
    what
        What the other series is called in messages.

    Raises
    ------
    TimeAxisError
        For times of another kind or calendar, and where one series has times and the other none.
    """
    with said_of("discharge"):
        mine = stamps(series, "time", counted=True)
    its = stamps_of(other, "time", what)
    if mine is None or its is None:
        if mine is None and its is None:
            return np.arange(float(other.sizes["time"]))
        has, lacks = (what, "discharge") if mine is None else ("discharge", what)
        raise TimeAxisError(f"the {has} has times, and the {lacks} has none, so that nobody knows which belong together")
    if not mine.size or not its.size:
        return np.empty(0)
    zero = numbers_on_axis(time[:1])[0]
    if mine.dtype.kind not in "mMO":
        return zero + places(its, mine, None, what) * spacing(mine)
    try:
        dates = valid_times(series, "time", mine, what) if (mine.dtype.kind, its.dtype.kind) == ("m", "M") else mine
        return zero + places(its, dates, 1.0, what) / _UNIT[mine.dtype.kind]
    except TimeAxisError as error:
        raise TimeAxisError(str(error).replace("the runoff", "the discharge")) from error


def time_text(series: xr.DataArray, j: int) -> str:
    """A time of a series as a title has it: a date to the minute, a lead in hours, or the number of the step."""
    if "time" not in series.coords:
        return f"step {j}"
    value, kind = series["time"].values[j], series["time"].dtype.kind
    if kind == "M":
        return str(np.datetime_as_string(value, unit="m")).replace("T", " ")
    if kind == "m":
        return f"{value / np.timedelta64(1, 'h'):g} h"
    return str(value.strftime("%Y-%m-%d %H:%M")) if kind == "O" else f"{value:g}"


def step_begins(series: xr.DataArray, at: Float) -> Float:
    """Where steps begin whose stamps are drawn at some places, as ``attrs["time_label"]`` says; else stamps are starts."""
    return at - LABELS.get(series.attrs.get("time_label", "start"), 0.0) * _usual(at)


def step_edges(begin: Float) -> Float:
    """Where each step begins, and where the last one ends."""
    return np.append(begin, begin[-1:] + _usual(begin))


def _usual(at: Float) -> float:
    """Length of most steps, on the axis; 1 of a single one."""
    return float(np.median(np.diff(at))) if at.size > 1 else 1.0


def dress_times(ax: Axes, time: xr.DataArray, which: str = "x") -> None:
    """Give an axis of times (see `drawn_times`) labels that fit them."""
    from matplotlib import dates

    kind, axis = time.dtype.kind, ax.xaxis if which == "x" else ax.yaxis
    if kind == "M":
        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        axis.set_major_locator(locator)
        short = which == "x"  # the part that all dates share stands at the axis' end, where a vertical one has the top edge
        axis.set_major_formatter(dates.ConciseDateFormatter(locator) if short else dates.AutoDateFormatter(locator))
    elif kind == "m":
        from xroute.plotting.calendar_axis import hour_locator

        axis.set_major_locator(hour_locator())
        axis.set_label_text("Lead time [h]")
    elif kind == "O" and time.size:
        from xroute.plotting.calendar_axis import CalendarFormatter, CalendarLocator

        places_of_ticks = CalendarLocator(time.to_numpy().flat[0].calendar)
        axis.set_major_locator(places_of_ticks)
        axis.set_major_formatter(CalendarFormatter(places_of_ticks))
    else:
        axis.set_label_text(axis_label(time) if "units" in time.attrs or "long_name" in time.attrs else "Time step")
