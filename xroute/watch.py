"""Watching a run for accumulated values: what its first blocks look like, before rivers are given too much water.

`Watch` sits in a run, looks at some series of each block, and refuses or warns of values that climb and begin again on a
clock. `xroute.accumulations` makes amounts per step of them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.accumulations import DAY, FALL, is_lead, says_in_words, time_of_day
from xroute.engine.backends import on_host
from xroute.exceptions import TimeAxisError, XRouteError, warn
from xroute.stamps import stamps
from xroute.times import seconds
from xroute.wording import argument

__all__ = ["SAMPLE", "STEPS", "Watch", "looks_accumulated", "says_accumulated", "watch"]

Float = NDArray[np.float64]

SAMPLE = 256
"""Series that are looked at, in each block."""
STEPS = 240
"""Steps that are looked at, in each block."""


@dataclass(frozen=True)
class Watch:
    """What a run looks for in its blocks: values that climb, and begin again on a clock.

    Attributes
    ----------
    declared
        Whether the runoff's attributes say that it accumulates; plain ERA5 says so too, and is per hour, so values decide.
    lead
        Whether its times are lead times of a forecast.
    step
        Its step [s].
    origin
        The first stamp: seconds since midnight or, of a forecast, since its start; None where that is not known. Values begin
        again at certain hours, while snow melts and storms fall off at any.
    """

    declared: bool
    lead: bool
    step: float
    origin: float | None = None
    in_words: bool = False
    """Whether a long name says that it accumulates, as WRF-Hydro's and Noah-MP's does: since the start of the model."""

    @property
    def ahead(self) -> int:
        """How many steps must be looked at together where blocks are shorter: two days; none where attributes say nothing."""
        return min(STEPS, int(-(-2 * DAY // self.step)) + 2) if self.declared else 0

    def at(self, begin: int) -> Watch:
        """The same, for a part of the series from step ``begin`` on."""
        return self if self.origin is None else replace(self, origin=self.origin + begin * self.step)

    def look(self, values: Any, *, at_start: bool = True) -> None:
        """Look at a block [batch, row, time], which may be ``at_start`` of the series."""
        if not (self.declared or at_start) or values.shape[-1] < 4:
            return
        taken = values.reshape(-1, values.shape[-1])
        taken = taken[:: max(1, -(-taken.shape[0] // SAMPLE)), :STEPS]
        taken = np.ascontiguousarray(on_host(taken).astype(np.float64))  # first read as it lies
        empty = int(np.isfinite(taken).any(axis=0).argmax())  # before the first hour of all (ERA5-Land's file of 1950, say)
        taken, origin = taken[:, empty:], self.at(empty).origin
        period = looks_accumulated(taken, self.step, 1 if self.declared else 2, origin)
        if period is not None:
            hours = f"begin again every {period / 3600:g} h"
            reset = "day" if period == DAY and not self.lead else "forecast"
        elif self.in_words and at_start and _only_climbs(taken):
            hours, reset = "never fall", "never"
        elif self.declared and at_start and self._whole(taken.shape[-1]) and _only_climbs(taken):
            hours = "never fall"
            longer = self.lead or self._days(taken.shape[-1]) >= 2
            reset = "forecast" if longer else "day"
        else:
            return
        remedy = argument("reset", reset, python=f'xroute.deaccumulate(runoff, reset="{reset}")')
        if self.declared:
            raise XRouteError(
                f"runoff accumulates: its attributes say so, and its values climb and {hours}. Make amounts per step of it "
                f"with {remedy}. If it is per step all the same, drop what says so (GRIB_stepType, "
                "the interval in cell_methods, a long name)"
            )
        warn(
            f"runoff looks accumulated: its values climb and {hours}. If it is (as ERA5-Land's is), it must not be routed as it "
            f"is: {remedy}"
        )

    def _whole(self, n: int) -> bool:
        """Whether n values that climb could be those since a forecast's start, or since the first hour of a day."""
        if self.lead:
            return True
        begins = self.origin is None or self.origin % DAY <= 1.01 * self.step
        return self._days(n) >= 2 or (begins and n >= 6 and self._days(n) >= 1)

    def _days(self, n: int) -> float:
        return n * self.step / DAY


def watch(runoff: xr.DataArray, time_dim: Hashable, step: float) -> Watch:
    """The `Watch` for runoff of a step [s], made of its labels and attributes; its values are not read."""
    lead = is_lead(runoff, time_dim)
    times = stamps(runoff, time_dim, counted=True)
    origin = None
    if times is not None and times.size and times.dtype.kind == "m":
        origin = float(times[0] / np.timedelta64(1, "ns")) / 1e9
    elif times is not None and times.size and times.dtype.kind in "MO":
        origin = float(time_of_day(times[:1])[0])
    in_words = says_in_words(runoff) and not lead
    return Watch(says_accumulated(runoff, time_dim, step), lead, step, origin, in_words)


def says_accumulated(runoff: xr.DataArray, time_dim: Hashable, step: float | None) -> bool:
    """Whether attributes say that values accumulate: GRIB's step type, a long name, or sums over more than a step."""
    if str(runoff.attrs.get("GRIB_stepType", "")).lower() == "accum" or says_in_words(runoff):
        return True
    methods = str(runoff.attrs.get("cell_methods", ""))
    found = re.search(rf"{re.escape(str(time_dim))}: sum [^:]*\(?interval: ([\d.]+ ?[A-Za-z]+)", methods)
    if found is None or step is None:
        return False
    try:
        return seconds(found[1]) > 1.01 * step
    except TimeAxisError:  # a text that is no time span says nothing
        return False


def looks_accumulated(values: Float, step: float, resets: int = 2, origin: float | None = None) -> float | None:
    """Period [s] after which series begin again, if between they do nothing but climb.

    Parameters
    ----------
    values : [series, time]
        Some series.
    step
        Their step [s].
    resets
        How many restarts must be seen.
    origin
        First stamp, in seconds since midnight or since a forecast's start; None where that is not known. Where it is, values
        begin again at whole periods: by days at midnight (where one restart is enough, at any quarter of a day).

    Returns
    -------
    float or None
        None where they fall at other times too (storms and their recession, a daily cycle), never, or hardly climb.
    """
    peak = np.maximum(values.max(axis=1, initial=0.0), -values.min(axis=1, initial=0.0))
    kept = np.isfinite(peak) & (peak > 1e-3 * peak[np.isfinite(peak)].max(initial=0.0))
    if not kept.any():
        return None
    if not kept.all():
        values, peak = values[kept], peak[kept]
    change = np.diff(values, axis=1)
    change /= peak[:, None]
    falls, rises = change < -FALL, change > FALL
    change *= falls
    down = -change.sum(axis=0)  # rounding of packed values falls often, and not far
    for hours in (24.0, 12.0, 6.0):
        period = hours * 3600.0 / step
        n = round(period)
        if not down.any() or abs(period - n) > 1e-6 or n < 3 or change.shape[1] + 1 < max(6 if resets < 2 else n, n // 2):
            continue
        phase = np.arange(change.shape[1]) % n
        at = int(np.bincount(phase, down, n).argmax())
        if origin is not None and not _may_restart(origin + at * step, hours * 3600.0, step, resets):
            continue
        clock = np.flatnonzero(phase == at)
        off = phase != at
        on_clock = int(falls[:, clock].sum())
        if down[clock].sum() < 0.95 * down.sum() or int(falls[:, clock].any(axis=0).sum()) < resets:
            continue
        climbing = np.unique(phase[off & rises.any(axis=0)]).size  # days of constant rates, single hours of rain: at one hour
        if int(rises[:, off].sum()) < (1 if resets < 2 else 2) * on_clock or climbing < 3:
            continue
        before, after = (np.where(falls[:, clock], values[:, clock + k], 0.0).sum() for k in (0, 1))
        if after > 0.4 * before:  # what begins again begins with the amount of one step
            continue
        climbed = [rises[:, max(0, c - n + 1) : c].any(axis=1) for c in clock]
        if sum(int((falls[:, c] & up).sum()) for c, up in zip(clock, climbed, strict=True)) >= 0.8 * sum(
            int(up.sum()) for up in climbed
        ):
            return hours * 3600.0
    return None


def _may_restart(last: float, period: float, step: float, resets: int) -> bool:
    """Whether values may begin again after a stamp, which is the start, the middle or the end of the last step before."""
    often = min(period, DAY / 4) if resets < 2 else period
    return any(abs((last + part * step + often / 2) % often - often / 2) < 0.02 * step for part in (0.0, 0.5, 1.0))


def _only_climbs(values: Float) -> bool:
    """Whether series never fall but for rounding, and climb to several times what they begin with: a block within a day."""
    values = values[np.isfinite(values).all(axis=1)]
    change = np.diff(values, axis=1)
    up, down = change.clip(min=0).sum(axis=1), -change.clip(max=0).sum(axis=1)
    wet = up > 1e-3 * up.max(initial=0.0)
    if not wet.any() or (down[wet] > 0.02 * up[wet]).mean() > 0.05 or (change[wet].sum(axis=0) > 0).mean() <= 0.5:
        return False
    return bool(values[wet, -1].sum() > 4 * abs(values[wet, 0]).sum())
