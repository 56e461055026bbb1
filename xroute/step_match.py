"""Steps of one series in another: which steps of runoff, or of simulated discharge, each step of observations covers.

Only labels are read. Observed steps are those of the series or a multiple of them, at any place, in any order, with gaps; what
lies between the series' steps, or is finer, is refused with the way out.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import LABELS
from xroute.exceptions import TimeAxisError, XRouteError, warn
from xroute.moments import places, spacing, valid_times
from xroute.spacing import ROUNDED, SHORTEST_MONTH, calendar_steps
from xroute.stamps import show, stamps
from xroute.times import Clock, seconds, stamp_label
from xroute.wording import argument, phrase

__all__ = ["StepMatch", "is_point", "match_steps", "said_of", "stamps_of"]

Index = NDArray[np.int64]
DAY = 86400.0


@dataclass(frozen=True, eq=False)
class StepMatch:
    """Observed steps, put on a regular grid, and the steps of a series that they cover.

    Attributes
    ----------
    first, every
        Step of the grid ``j`` covers the series' steps ``first + j * every`` to ``first + (j + 1) * every``, without the last.
    n_steps
        Steps of the grid, all of them within the series.
    source : int64 [value]
        Positions along the observations' time of those that are used, in order of time.
    step : int64 [value]
        Step of the grid of each of them.
    times : [step]
        Stamps of the grid, as the observations have them; those of gaps lie between.
    n_outside
        Observed steps that are not wholly within the series, and are not used.
    """

    first: int
    every: int
    n_steps: int
    source: Index
    step: Index
    times: NDArray[Any]
    n_outside: int


def match_steps(
    observed: xr.DataArray, time_dim: Hashable, series: xr.DataArray, clock: Clock, *, label: str | None = None,
    step: Any = None, what: str = "observed discharge",
) -> StepMatch:  # fmt: skip
    """Find the steps of a series that observed ones cover, by their labels.

    Parameters
    ----------
    observed, time_dim
        Observations, and their dimension of time. Values are not read.
    series, clock
        Runoff or simulated discharge, and its clock.
    label
        Whether an observed stamp is the ``"start"``, the ``"middle"`` or the ``"end"`` of its step, if it is said; else as CF
        bounds or ``attrs["time_label"]`` say (see `xroute.with_bounds`). Failing all, observations of the series' own step have
        the series' label, so that the same stamps are the same steps, and of a longer step stamps are starts.
    step
        Length of an observed step, where gaps hide it: seconds, a timedelta, or text like ``"1D"``.
    what
        What the observations are called in messages.

    Raises
    ------
    TimeAxisError
        For no time in common; stamps twice; steps that are finer than the series', that are no multiple of them, that begin
        between them, or that follow the calendar by months; kinds or calendars of times that cannot be compared.

    Notes
    -----
    Values of a moment (``cell_methods`` with ``time: point``) stand for the step of the series with their stamp, however far
    they are apart.
    """
    n = series.sizes[clock.dim]
    mine, its = stamps(series, clock.dim, counted=True), stamps_of(observed, time_dim, what)
    if (mine is None) != (its is None):
        has, lacks = (what, "runoff") if mine is None else ("runoff", what)
        raise TimeAxisError(f"the {has} has times, and the {lacks} has none, so that nobody knows which belong together")
    if mine is None or its is None:
        if observed.sizes[time_dim] != n:
            raise TimeAxisError(
                f"neither has times, and the {what} has {observed.sizes[time_dim]} steps where the runoff has {n}"
            )
        return StepMatch(0, 1, n, np.arange(n), np.arange(n), np.arange(n), 0)
    if not n or not its.size:
        raise TimeAxisError(f"the {'runoff' if not n else what} has no times")
    if mine.dtype.kind == "m" and its.dtype.kind == "M":
        mine = valid_times(series, clock.dim, mine, what)
    at = places(its, mine, clock.step, what)
    order = np.argsort(at, kind="stable")
    at, its = at[order], its[order]
    _refuse_twice(at, its, what)
    every = round(_step_of(observed, at, its, clock, step, what))
    with said_of(what):
        part = _label(observed, time_dim, every, clock, label)
    if part is None and every > 1:
        _warn_of_longer(its, every, clock, what)
    begin = at if part is None and (every == 1 or _is_of(observed, clock)) else _begin(at, part, every, clock)
    inside = _inside(begin, every, n, (its, mine), what)
    whole, source, its = np.rint(begin[inside]).astype(np.int64), order[inside], its[inside]
    first = int(whole[0])
    row = (whole - first) // every
    off = np.flatnonzero((whole - first) % every)
    if off.size:
        raise TimeAxisError(
            f"{off.size} times of the {what} are not those of steps of {_length(every, clock.step)} from {show(its[0])} "
            f"on, first {show(its[off[0]])}: bring them to one step first (resample)"
        )
    count = int(row[-1]) + 1
    return StepMatch(first, every, count, source, row, _grid(its, row, count, every, clock.step, mine), int((~inside).sum()))


@contextmanager
def said_of(what: str) -> Iterator[None]:
    """Errors of whatever reads labels of runoff, said of another series."""
    try:
        yield
    except XRouteError as error:
        text = str(error)
        if "runoff" not in text:
            raise
        text = text.replace("runoff.", "observed.").replace("runoff[", "observed[").replace("runoff", what)
        raise type(error)(text) from error.__cause__


def stamps_of(array: xr.DataArray, dim: Hashable, what: str) -> NDArray[Any] | None:
    """Stamps of a series, or None where it has no times; errors name the series."""
    with said_of(what):
        found = stamps(array, dim, counted=True)
    if found is not None and found.size > 1 and (found == found[0]).all():  # fill values, as in files of RAPID
        rapid = phrase("undated", "xroute.io.rapid.read_discharge(file, network, start=...) gives those of RAPID their dates")
        raise TimeAxisError(
            f"the times of the {what} were never set: all {found.size} are {show(found[0])}. Give them dates, "
            f"{str(dim)}=...; {rapid}"
        )
    return found


# ── how observed steps lie among those of the series ──────────────────────────────────────────────────────────────────────


def _refuse_twice(at: NDArray[np.float64], its: NDArray[Any], what: str) -> None:
    twice = np.flatnonzero(np.diff(at) < 1e-6)
    if twice.size:
        raise TimeAxisError(
            f"{twice.size} times of the {what} stand more than once, first {show(its[twice[0]])}: keep one of each "
            "(observed.drop_duplicates keeps the first)"
        )


def _step_of(
    observed: xr.DataArray, at: NDArray[np.float64], its: NDArray[Any], clock: Clock, given: Any, what: str
) -> float:
    """Length of an observed step, in steps of the series: a whole number of them."""
    mine = clock.step
    if is_point(observed):
        return 1.0
    noted = observed.attrs.get("time_step")  # of a single time
    if given is not None and mine is not None:
        size = seconds(given) / mine
    elif at.size > 1:
        size = _step_between(at, its, mine, what)
    else:
        size = float(noted) / mine if isinstance(noted, (int, float, np.number)) and mine is not None else 1.0
    if abs(size - round(size)) <= ROUNDED * max(size, 1.0) and round(size) >= 1:
        return size
    said, own = _length(size, mine), _length(1.0, mine)
    if size < 1:
        raise TimeAxisError(
            f"the {what} has steps of {said}, finer than the runoff's of {own}: take the means of its steps first, "
            f"{_resample(mine)}"
        )
    raise TimeAxisError(
        f"the {what} has steps of {said}, which are no multiple of the runoff's of {own}: bring it to one first, "
        f"{_resample(None if mine is None else mine * Fraction(size).limit_denominator(60).numerator)}"
    )


def _step_between(at: NDArray[np.float64], its: NDArray[Any], mine: float | None, what: str) -> float:
    """The step of stamps with gaps: the shortest way between two of them, of which all others are multiples."""
    apart = np.diff(at)
    shortest = float(apart.min())
    if mine is not None and its.dtype.kind in "MO" and shortest * mine >= SHORTEST_MONTH:
        kind = calendar_steps(its)
        if kind is not None:
            raise TimeAxisError(
                f"the {what} follows the calendar by {kind} ({show(its[0])}, {show(its[1])}, ...), whose length is not constant: "
                "observations are compared step by step, all of one length. Take daily ones, or weekly means of them"
            )
    ratio = apart / shortest
    if (np.abs(ratio - np.rint(ratio)) <= ROUNDED).all():
        return shortest
    if shortest < 1 - ROUNDED:
        i = int(apart.argmin())
        raise TimeAxisError(
            f"the {what} has times {_length(shortest, mine)} apart ({show(its[i])}, {show(its[i + 1])}), finer than the runoff's "
            f"step of {_length(1.0, mine)}: take the means of its steps first, {_resample(mine)}"
        )
    whole = np.rint(apart)
    values, count = np.unique(whole, return_counts=True)
    usual = float(values[count.argmax()])
    if (np.abs(apart - whole) <= ROUNDED).all() and (count.max() <= apart.size / 2 or apart.size < 3 or usual == 1.0):
        return float(np.gcd.reduce(whole.astype(np.int64)))  # few, far apart: of the longest step that fits them all
    off = np.abs(apart / usual - np.rint(apart / usual)) > ROUNDED
    i = int(np.flatnonzero(off)[0]) if off.any() else int(apart.argmin())
    raise TimeAxisError(
        f"times of the {what} are not regular: {_length(float(apart[i]), mine)} between {show(its[i])} and {show(its[i + 1])}, "
        f"where most are {_length(usual, mine)} apart; {int(off.sum())} such places. Bring them to one step first, "
        f"{_resample(None if mine is None else usual * mine)}"
    )


def is_point(observed: xr.DataArray) -> bool:
    """Whether values say that they are those of moments (CF ``cell_methods``)."""
    return "time: point" in " ".join(str(observed.attrs.get("cell_methods", "")).split())


def _label(observed: xr.DataArray, dim: Hashable, every: int, clock: Clock, label: str | None) -> str | None:
    """What observed stamps are of their steps, where anything says so; None where nothing does."""
    if is_point(observed) or (label is None and ("time_label" not in observed.attrs or _is_of(observed, clock))):
        return None
    return stamp_label(observed, dim, None if clock.step is None else every * clock.step, label)


def _is_of(observed: xr.DataArray, clock: Clock) -> bool:
    """Whether what is noted of stamps was said of the series' own steps: then values are of the steps from that stamp on.

    So it is for ``discharge.resample(time="1D").mean()``, which keeps the notes of discharge by the hour.
    """
    of = observed.attrs.get("time_label_step")
    if not isinstance(of, (int, float, np.number)) or clock.step is None or clock.label is None:
        return False
    return abs(float(of) / clock.step - 1) < ROUNDED and observed.attrs.get("time_label") == clock.label


def _begin(at: NDArray[np.float64], label: str | None, every: int, clock: Clock) -> NDArray[np.float64]:
    """Where observed steps begin, in steps of the series from the start of its first one."""
    return at - LABELS[label or "start"] * every + LABELS[clock.label or (label if every == 1 else None) or "start"]


def _warn_of_longer(its: NDArray[Any], every: int, clock: Clock, what: str) -> None:
    """Warn of steps of several days, which may be days with gaps, and of days stamped at noon, most likely their middles."""
    if clock.step is None or its.dtype.kind not in "MO":
        return
    if every * clock.step > 1.5 * DAY >= clock.step:
        warn(
            f"times of the {what} are {_length(every, clock.step)} apart, and its values are taken as means of so long: if they "
            f"are of days, with gaps, say so: {argument('observed_step', '1D', python=_resample(DAY))}"
        )
    if abs(every * clock.step - DAY) > 1:
        return
    times = xr.DataArray(its[:1000], dims="t").dt
    if bool(((times.hour == 12) & (times.minute == 0)).all()):
        warn(
            f"the {what} is daily, stamped at 12:00, which is taken as the start of its days: if it is their middle, say so: "
            + argument("observed_label", "middle", python="observed.attrs['time_label'] = 'middle'")
        )


def _inside(
    begin: NDArray[np.float64], every: int, n: int, times: tuple[NDArray[Any], NDArray[Any]], what: str
) -> NDArray[np.bool_]:
    """Which observed steps lie wholly within the series; one that begins between two of its steps is refused."""
    its, mine = times
    whole = np.rint(begin)
    inside = (whole >= 0) & (whole + every <= n)
    if not inside.any():
        raise TimeAxisError(
            f"the {what} and the runoff have no time in common: {show(its[0])} to {show(its[-1])}, and {show(mine.min())} to "
            f"{show(mine.max())}{_counted(mine)}"
        )
    between = inside & (np.abs(begin - whole) > ROUNDED)
    if between.any():
        i = int(np.flatnonzero(between)[0])
        raise TimeAxisError(
            f"{int(between.sum())} steps of the {what} begin between the runoff's, first that of {show(its[i])}, "
            f"{abs(begin[i] - whole[i]):.3g} of a step off: bring it to the same steps first (resample), or say what its stamps "
            "mean: " + argument("observed_label", python="observed.attrs['time_label']") + " (start, middle or end)"
        )
    return inside


def _counted(mine: NDArray[Any]) -> str:
    """What may be wrong with the runoff's dates, where they begin with 1970."""
    if mine.dtype.kind != "M" or mine.min() != np.datetime64("1970-01-01"):
        return ""
    return f". Files without dates are counted from 1970: their readers take the first one, {argument('start')}"


def _grid(
    its: NDArray[Any], row: Index, count: int, every: int, step: float | None, mine: NDArray[Any]
) -> NDArray[Any]:
    """Stamps of all steps of a grid, of which those of ``row`` are known."""
    if count == row.size:
        return its
    if its.dtype.kind in "mM":
        unit = np.datetime_data(its.dtype)[0]
        size = pd.Timedelta((step or 0.0) * every, "s").to_timedelta64()
        if unit in ("D", "h", "m") or size.astype(f"timedelta64[{unit}]") != size:
            unit, its = "ns", its.astype(f"{its.dtype.kind}8[ns]")
        times = its[0] + np.arange(count) * size.astype(f"timedelta64[{unit}]")
    elif its.dtype.kind == "O":
        one = datetime.timedelta(seconds=(step or 0.0) * every)
        times = np.array([its[0] + k * one for k in range(count)])
    else:
        times = its[0] + np.arange(count) * (spacing(mine) * every)
    times[row] = its
    return times


def _length(steps: float, mine: float | None) -> str:
    """A number of steps of a series as a length of time, in words."""
    if mine is None:
        return f"{steps:g}"
    length = steps * mine
    for unit, size in (("d", DAY), ("h", 3600.0), ("min", 60.0)):
        if length >= size * (1 - 1e-9) and abs(length / size - round(length / size, 3)) < 1e-6:
            return f"{round(length / size, 3):g} {unit}"
    return f"{length:g} s"


def _resample(step: float | None) -> str:
    """Advice to make means of a step [s]."""
    length = "1D" if step is None else "".join(_length(1.0, step).replace(" d", "D").split())
    return f"observed.resample(time={length!r}).mean()"
