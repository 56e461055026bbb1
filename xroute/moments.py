"""Moments: which steps of a series labels mean, and where the stamps of one series lie among the regular ones of another."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.census import step_labels
from xroute.exceptions import TimeAxisError
from xroute.stamps import show

__all__ = ["places", "selected", "spacing", "valid_times"]


def places(its: NDArray[Any], mine: NDArray[Any], step: float | None, what: str) -> NDArray[np.float64]:
    """Where each stamp lies among regular ones, counted in their steps from 0; fractions lie between them.

    Parameters
    ----------
    its : [n]
        Stamps as `xroute.stamps.stamps` gives them.
    mine : [m]
        Regular stamps, of a run say.
    step
        Their step [s]; None for a single one, among which others lie nowhere (at -2).
    what
        What ``its`` are of, for messages.

    Raises
    ------
    TimeAxisError
        For stamps of different kinds or calendars.
    """
    its, mine = _one_calendar(its, mine)
    kinds = [("mM".find(t.dtype.kind), t.dtype.kind == "O") for t in (its, mine)]
    try:
        if kinds[0] != kinds[1]:
            raise TypeError(f"{its.dtype} and {mine.dtype}")
        if its.dtype.kind == "O":
            calendars = {its[0].calendar, mine[0].calendar}
            if len(calendars) > 1:
                raise TypeError(f"calendars {its[0].calendar!r} and {mine[0].calendar!r}")
            later = np.array([(t - mine[0]).total_seconds() for t in its])
        elif its.dtype.kind in "mM":
            later = (its - mine[0]) / np.timedelta64(1, "ns") / 1e9
        else:  # numbers that count steps in whatever way: the same ones are the same steps
            return np.asarray((its.astype(np.float64) - float(mine[0])) / spacing(mine))
    except TypeError as error:
        raise TimeAxisError(
            f"the times of the {what} and of the runoff are of different kinds or calendars ({error}): "
            f"{show(its[0])}, and {show(mine[0])}" + _other_calendar(its, mine)
        ) from error
    if step is None:
        return np.where(later == 0.0, 0.0, -2.0)
    return np.asarray(later / step, np.float64)


def valid_times(series: xr.DataArray, dim: Hashable, leads: NDArray[Any], what: str) -> NDArray[Any]:
    """Dates of a forecast's leads, by a coordinate that says them or from its only reference time."""
    beside = [c for n, c in series.coords.items() if n != dim and c.dims == (dim,) and c.dtype.kind == "M"]
    if len(beside) == 1:
        return np.asarray(beside[0].values)
    begin = [c for c in series.coords.values() if c.ndim == 0 and c.dtype.kind == "M"]
    if len(begin) == 1:
        return np.asarray(begin[0].values + leads)
    raise TimeAxisError(
        f"the {what} has dates, and the runoff leads ({dim!r}) without the one time that they begin at: give it as a "
        f"coordinate, or the {what} on leads too"
    )


def selected(series: xr.DataArray, dim: Hashable, labels: Any, what: str) -> NDArray[np.int64]:
    """Positions of the steps that labels mean, as `xarray.DataArray.sel` has it; maybe none.

    Parameters
    ----------
    series, dim
        A series, and its dimension of time; without coordinates steps are counted from 0.
    labels
        A slice of labels, both ends included, or what else ``sel`` takes.
    what
        What the labels are, for messages: ``"the window"``.

    Raises
    ------
    TimeAxisError
        For what are no labels of these times.
    """
    n = series.sizes[dim]
    number = xr.DataArray(np.arange(n), dims=[dim])
    if dim in series.coords:
        number = number.assign_coords({dim: series[dim].variable})
    try:
        return np.atleast_1d(number.sel({dim: labels}).values)
    except (KeyError, TypeError, ValueError, IndexError, pd.errors.InvalidIndexError) as error:
        span = " from {} to {}".format(*step_labels(series, dim)[[0, -1]]) if n else ", of which there are none"
        raise TimeAxisError(
            f"{what} {labels!r} cannot be found among times{span}: it is a slice of labels, slice(first, last) "
            f"({type(error).__name__}: {error})"
        ) from error


def spacing(numbers: NDArray[Any]) -> float:
    """Step of stamps that are numbers, in their own unit."""
    return float(numbers[1]) - float(numbers[0]) if numbers.size > 1 else 1.0


#: Calendars of cftime that are NumPy's own since the 15th of October 1582.
_REAL = ("standard", "gregorian", "proleptic_gregorian")


def _one_calendar(its: NDArray[Any], mine: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as datetime64, where one is and the other has the same days in objects of cftime."""
    if {its.dtype.kind, mine.dtype.kind} == {"M", "O"}:
        return _as_numpy(its), _as_numpy(mine)
    if its.dtype.kind == mine.dtype.kind == "O" and its[0].calendar != mine[0].calendar:
        return _as_numpy(its), _as_numpy(mine)
    return its, mine


def _as_numpy(times: NDArray[Any]) -> NDArray[Any]:
    """Dates of a calendar that is NumPy's as datetime64; others as they are."""
    first = times[0]
    if times.dtype.kind != "O" or getattr(first, "calendar", None) not in _REAL or min(t.year for t in times) < 1583:
        return times
    return np.array([t.isoformat() for t in times], "datetime64[us]")


def _other_calendar(its: NDArray[Any], mine: NDArray[Any]) -> str:
    """Advice where calendars differ."""
    if not {mine.dtype.kind, its.dtype.kind} <= {"M", "O"}:
        return ""
    calendar = mine[0].calendar if mine.dtype.kind == "O" else "standard"
    return f". Bring it to the runoff's calendar first, convert_calendar({calendar!r})"
