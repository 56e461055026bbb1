"""Spacing: the one step of a series of stamps, or where it is not regular.

Stamps that are rounded in storage (days as a number with six decimals, whole minutes) deviate from a regular series by less than
a step; the step is then the plainest one that fits them all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import TimeAxisError
from xroute.stamps import offsets, show

__all__ = ["ROUNDED", "SHORTEST_MONTH", "calendar_steps", "find_step"]

#: By how much of a step stamps may deviate from a regular series.
ROUNDED = 0.01
#: Steps below this are no months [s]: stamps within a month may move by a day or two.
SHORTEST_MONTH = 25 * 86400.0
#: Steps that data have [s], the plainest first; whole numbers of them are tried, then whole parts of a day and an hour.
_PLAIN = (86400.0, 43200.0, 21600.0, 10800.0, 3600.0, 1800.0, 900.0, 600.0, 300.0, 60.0, 30.0, 10.0, 5.0, 1.0)
_ROUND_TO = ("D", "12h", "6h", "3h", "h", "30min", "15min", "10min", "5min", "min", "30s", "10s", "s")


def find_step(values: NDArray[Any], dim: Any, given: float | None = None) -> float:
    """Step [s] of two or more stamps; of plain numbers, the one given.

    Parameters
    ----------
    values : [n]
        datetime64, timedelta64, cftime, or numbers without units.
    dim
        Name of the dimension, for messages.
    given
        Step that the caller gives [s]; it must fit.

    Raises
    ------
    TimeAxisError
        For gaps, duplicates, disorder and all else that is not regular (the place is named), for months and years, and
        for a step given that does not fit.
    """
    ticks, tick = offsets(values)
    dated = values.dtype.kind in "mMO"
    steps = np.diff(ticks) * tick
    step = float(np.median(steps))
    if (steps <= 0).all():
        word = "decrease" if (steps < 0).any() else "are all the same"
        raise TimeAxisError(f"times {word}: " + (f"runoff.sortby({dim!r})" if word == "decrease" else "give each its own"))
    calendar = calendar_steps(values) if dated and step >= SHORTEST_MONTH else None
    if calendar is not None and (given is None or np.ptp(steps)):
        raise TimeAxisError(_not_constant(values, steps, dim, calendar))
    seconds = ticks * tick
    mean = float(seconds[-1] / steps.size)
    exact = bool((np.diff(ticks) == ticks[1] - ticks[0]).all())
    best = step if exact else _best_fit(seconds, mean)
    regular = bool((steps > 0).all()) and _deviation(seconds, best) <= ROUNDED * best
    if regular and (given is None or not dated):
        return _plainest(seconds, best) if dated or given is None else given
    if regular and given is not None:
        rounding = max(2 * _deviation(seconds, best), _grain(seconds, best) / 2 if best % 60 else 0.0)
        if _deviation(seconds, given) <= min(rounding + 1e-6 * given, ROUNDED * given):
            return given
        raise TimeAxisError(f"dt is {given:g} s, but times are {_plainest(seconds, best):g} s apart")
    raise TimeAxisError(_irregular(values, steps, step, dim, dated))


def _deviation(seconds: NDArray[np.float64], step: float) -> float:
    """Largest distance [s] of the stamps from the regular series of a step [s] that fits them best."""
    return float(np.ptp(seconds - step * np.arange(seconds.size))) / 2


def _best_fit(seconds: NDArray[np.float64], step: float) -> float:
    """Step near ``step``, their mean one, of the regular series from which the stamps deviate least."""
    n = seconds.size
    slope = float(np.polyfit(np.linspace(-1, 1, n), seconds - step * np.arange(n), 1)[0]) * 2 / (n - 1)
    return min((step, step + slope), key=lambda h: _deviation(seconds, h))


def _plainest(seconds: NDArray[np.float64], step: float) -> float:
    """The plainest step (hours rather than seconds) that fits the stamps as well as ``step`` does, but for rounding."""
    whole = abs(step - round(step)) < 1e-6 * step
    slack = max(2 * _deviation(seconds, step), 0.0 if whole else _grain(seconds, step) / 2) + 1e-9 * step
    coarse = [round(step / unit) * unit for unit in _PLAIN if unit >= 60]
    parts = [whole / k for whole, most in ((86400.0, 24), (3600.0, 12)) for k in [round(whole / step)] if 0 < k <= most]
    fine = [round(step / unit) * unit for unit in _PLAIN if unit < 60]
    return next((float(p) for p in (*coarse, *parts, *fine) if p and _deviation(seconds, p) <= slack), step)


def _grain(seconds: NDArray[np.float64], step: float) -> float:
    """Unit [s] to which stamps are rounded, where they are days or hours with two to six decimals; 0 where they are not.

    A few of them may be regular to the last digit all the same.
    """
    steps = np.diff(seconds)
    for grain in (unit * 10.0**-d for d in range(2, 7) for unit in (86400.0, 3600.0)):
        if grain <= 2 * ROUNDED * step and (np.abs(steps / grain - np.rint(steps / grain)) * grain < 3e-6).all():
            return grain
    return 0.0


def calendar_steps(values: NDArray[Any]) -> str | None:
    """``"months"`` or ``"years"``, where stamps follow the calendar and its steps are not of one length."""
    if values.dtype.kind == "m":
        return None
    times = xr.DataArray(values[:1000], dims="t").dt
    if times.calendar == "360_day":
        return None
    leaps = times.calendar not in ("noleap", "365_day", "all_leap", "366_day")
    year, month, day, last = (getattr(times, n).values for n in ("year", "month", "day", "days_in_month"))
    clock = times.hour.values * 3600 + times.minute.values * 60 + times.second.values
    months = np.diff(year.astype(np.int64) * 12 + month)
    middle = (np.abs(day - last / 2 - 0.75) <= 1.5).all()  # of months: the 15th to the 17th, at 00:00 or 12:00
    same = bool((day == day[0]).all() and (clock == clock[0]).all())
    if not (same or (day == last).all() or middle) or not months.size or (months != months[0]).any():
        return None
    count = int(months[0])
    if count <= 0 or (not leaps and count % 12 == 0):
        return None
    return "years" if count % 12 == 0 else "months"


def _not_constant(values: NDArray[Any], steps: NDArray[np.float64], dim: Any, what: str) -> str:
    days = steps / 86400
    length = f"{days.min():g} to {days.max():g} days" if np.ptp(days) else f"{days[0]:g} days here, and others elsewhere"
    made = "pd.date_range(first_day, last_day)"
    if values.dtype.kind == "O":  # pandas has one calendar
        calendar = xr.DataArray(values[:1], dims="t").dt.calendar
        made = f"xr.date_range(first_day, last_day, calendar={calendar!r}, use_cftime=True)"
    return (
        f"{dim!r} follows the calendar by {what} ({show(values[0])}, {show(values[1])}, ...), whose length is not constant "
        f"({length}). Make steps of days: each day takes the rate of its {what[:-1]} (an amount is divided by its number of "
        f"days first), e.g. runoff.reindex({dim}={made}, method='ffill') where stamps are the "
        f"{what}' starts, up to the last day of the last one"
    )


def _irregular(values: NDArray[Any], steps: NDArray[np.float64], step: float, dim: Any, dated: bool) -> str:
    """What is not regular, where, and what to do."""
    unit = " s" if dated else ""
    off = np.abs(steps - step)
    bad = np.flatnonzero(off > 2 * ROUNDED * abs(step))
    if not bad.size:
        bad = np.array([int(off.argmax())])
    i = int(bad[0])
    size = steps[i] / step
    way = _rounding(values, dim) if dated and (np.abs(steps / step - 1) < 0.5).all() else None
    if steps[i] < 0:
        kind, way = "a step back", f"runoff.sortby({dim!r}) puts them in order"
    elif steps[i] == 0:
        kind, way = "a duplicate", f"Keep one of them (runoff.drop_duplicates({dim!r}) keeps the first)"
    else:
        kind = "a gap" if size > 1.5 else "a long step" if size > 1 else "a short step"
        if way is None and abs(size - round(size)) <= 0.02 * size and size > 1.5:
            way = "Fill or reindex the series first: no step is skipped silently"
        elif way is None:
            way = "Bring the series to one step first (resample, or interp): no step is changed silently"
    return (
        f"times are not regular: {kind} of {steps[i]:g}{unit} between {show(values[i])} and {show(values[i + 1])} "
        f"(positions {i} and {i + 1}), where the step is {step:g}{unit}; {bad.size} such places. {way}"
    )


def _rounding(values: NDArray[Any], dim: Any) -> str | None:
    """Advice to round the stamps, where that makes them regular and moves none by a quarter of a step."""
    times = xr.DataArray(values, dims="t")
    before, tick = offsets(values)
    quarter = float(np.median(np.diff(before))) / 4
    for to in _ROUND_TO:
        rounded = times.dt.round(to).values
        after = offsets(rounded)[0]
        steps = np.diff(after)
        moved = offsets(np.concatenate([values[:1], rounded]))[0][1:]
        if steps[0] > 0 and (steps == steps[0]).all() and np.abs(moved - before).max() < quarter:
            return f"They look rounded in storage: runoff.assign_coords({dim}=runoff[{dim!r}].dt.round({to!r}))"
    return None
