"""Months: observations that follow the calendar, and the steps of a simulation that each of their months covers."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import LABELS
from xroute.exceptions import TimeAxisError, warn
from xroute.moments import places
from xroute.scores.places import OBSERVED
from xroute.spacing import ROUNDED, SHORTEST_MONTH
from xroute.stamps import offsets, show, stamps
from xroute.times import Clock

__all__ = ["month_windows", "months_of"]

Index = NDArray[np.int64]


def months_of(values: NDArray[Any]) -> int | None:
    """Of how many months the steps of ascending stamps are, with gaps or without; None where they are no months."""
    if values.dtype.kind not in "MO" or values.size < 2:
        return None
    ticks, tick = offsets(values)
    if np.diff(ticks).min() * tick < SHORTEST_MONTH:
        return None
    times = xr.DataArray(values, dims="t").dt
    if times.calendar == "360_day":
        return None  # whose months are steps of one length
    year, month, day, last = (np.asarray(getattr(times, n).values, np.int64) for n in ("year", "month", "day", "days_in_month"))
    if not ((day == 1).all() or (day == last).all() or (np.abs(day - last / 2 - 0.75) <= 1.5).all()):
        return None
    return int(np.gcd.reduce(np.diff(year * 12 + month))) or None


def month_windows(observed: xr.DataArray, simulated: xr.DataArray, clock: Clock, months: int) -> tuple[Index, Index, Index]:
    """Which steps of a simulation each observed month, or several, covers.

    Parameters
    ----------
    observed
        By months, in order. Stamps are the first day (which is that of the step, or with ``attrs["time_label"]`` of ``"end"``
        the day after it), the last day, or of single months the middle.
    simulated, clock
        Of regular steps.
    months
        How many months a step has.

    Returns
    -------
    kept, first, count : int64 [step]
        Observed steps that are wholly within the simulation, the first step of it that each covers, and how many.
    """
    its, mine = stamps(observed, clock.dim), stamps(simulated, clock.dim)
    assert its is not None and mine is not None
    if months > 1:
        warn(
            f"times of the {OBSERVED} are {months} months apart, and its values are taken as means of so long: if they are of "
            'single months, put those that are missing in, observed.resample(time="1MS").mean()'
        )
    begin = _first_month(its, observed.attrs.get("time_label"), months)
    part = LABELS[clock.label or "start"]
    at, end = (places(_moments(b, its), mine, clock.step, OBSERVED) + part for b in (begin, begin + months))
    inside = (at > -0.5) & (end < mine.size + 0.5)
    if not inside.any():
        raise TimeAxisError(
            f"the {OBSERVED} and the runoff have no month in common: {show(its[0])} to {show(its[-1])}, and {show(mine[0])} to "
            f"{show(mine[-1])}"
        )
    off = np.maximum(np.abs(at - np.rint(at)), np.abs(end - np.rint(end)))
    if (off[inside] > ROUNDED).any():
        raise TimeAxisError(
            f"months of the {OBSERVED} begin between steps of the runoff, first {show(its[inside][off[inside] > ROUNDED][0])}: "
            "bring both to the same steps first (resample)"
        )
    first, stop = (np.rint(v[inside]).astype(np.int64) for v in (at, end))
    if (stop <= first).any():
        raise TimeAxisError(f"the {OBSERVED} has steps of months, finer than the runoff's: take the means of its steps first")
    return np.flatnonzero(inside), first, stop - first


def _first_month(its: NDArray[Any], label: Any, months: int) -> Index:
    """The first month of each step, counted from the year 0."""
    times = xr.DataArray(its, dims="t").dt
    year, month, day = (np.asarray(getattr(times, n).values, np.int64) for n in ("year", "month", "day"))
    number = year * 12 + month - 1
    if (day == 1).all():
        return number - months if label == "end" else number
    if months == 1:
        return number  # of which the stamp is the middle, or the last day
    if (day >= 28).all():
        return number - months + 1
    raise TimeAxisError(
        f"the {OBSERVED} has steps of {months} months with stamps in the middle of months: give stamps of their first or last day"
    )


def _moments(number: Index, like: NDArray[Any]) -> NDArray[Any]:
    """When each month begins, as stamps of the same kind."""
    if like.dtype.kind == "M":
        return (number - 1970 * 12).astype("datetime64[M]").astype("datetime64[s]").astype(like.dtype)
    midnight = {"day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    return np.array([like[0].replace(year=int(n) // 12, month=int(n) % 12 + 1, **midnight) for n in number])
