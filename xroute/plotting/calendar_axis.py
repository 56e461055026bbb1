"""Ticks of axes in days of a calendar of cftime (noleap, 360_day, ...), at the starts of its years, months, days and hours.

It imports matplotlib, and is imported by whoever draws such an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cftime
import numpy as np
from matplotlib.ticker import Formatter, Locator, MaxNLocator

__all__ = ["CalendarFormatter", "CalendarLocator", "hour_locator"]

_DAYS = "days since 1970-01-01"
#: Units of ticks, from the smallest: how many make a step, how long one is [d], how many ticks fit, and how they are written.
_UNITS: tuple[tuple[str, tuple[int, ...], float, int, str], ...] = (
    ("minute", (1, 5, 15, 30), 1 / 1440, 6, "%m-%d %H:%M"),
    ("hour", (1, 3, 6, 12), 1 / 24, 5, "%m-%d %H:%M"),
    ("day", (1, 2, 5, 10), 1.0, 6, "%Y-%m-%d"),
    ("month", (1, 2, 3, 6), 30.4, 7, "%Y-%m"),
    ("year", (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000), 365.2, 9, "%Y"),
)


def hour_locator() -> Locator:
    """Ticks of leads in hours: at whole days, or at parts of one that divide it."""
    return _Hours(nbins=8, steps=[1, 2, 3, 4, 6, 10], integer=True)


class _Hours(MaxNLocator):
    """Ticks at multiples of hours that divide a day, or of days."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Ticks between two places [h]."""
        for n in (1, 2, 3, 6, 12, 24, 48, 120, 240, 480, 720):
            if vmax - vmin <= 8 * n and vmax - vmin >= 2 * n:
                first = np.ceil(vmin / n - 1e-9)
                return list(np.arange(first, np.floor(vmax / n + 1e-9) + 1) * n)
        return list(super().tick_values(vmin, vmax))


class CalendarLocator(Locator):
    """Where ticks stand on an axis in days since 1970 of a calendar."""

    def __init__(self, calendar: str) -> None:
        self.calendar = calendar
        self.form = "%Y-%m-%d"

    def __call__(self) -> Sequence[float]:
        """Ticks of the axis as it is."""
        assert self.axis is not None
        return self.tick_values(*sorted(self.axis.get_view_interval()))

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Ticks between two places [d], and how they are written from now on."""
        unit, n, self.form = self._unit(vmax - vmin)
        if unit in ("minute", "hour"):
            size = n / (1440 if unit == "minute" else 24)
            return list(np.arange(np.ceil(vmin / size - 1e-6), np.floor(vmax / size + 1e-6) + 1) * size)
        first, last = (self.date(day) for day in (vmin, vmax))
        years = range(first.year, last.year + 1)
        if unit == "year":
            found = [(year, 1, 1) for year in years if year % n == 0]
        elif unit == "month":
            found = [(year, month, 1) for year in years for month in range(1, 13, n)]
        else:
            months = [(year, month) for year in years for month in range(1, 13)]
            near = [m for m in months if (first.year, first.month) <= m <= (last.year, last.month)]
            found = [(*m, day) for m in near for day in range(1, 31 if n == 1 else 31 - n // 2, n)]
        ticks = [self._day(*date) for date in found]
        return [t for t in ticks if t is not None and vmin - 1e-6 <= t <= vmax + 1e-6]

    def date(self, day: float) -> Any:
        """Date of a place, to the minute."""
        return cftime.num2date(round(day * 1440) / 1440, _DAYS, calendar=self.calendar)

    def _day(self, year: int, month: int, day: int) -> float | None:
        """Place of a date; None of one that its calendar does not have."""
        try:
            return float(cftime.date2num(cftime.datetime(year, month, day, calendar=self.calendar), _DAYS))
        except ValueError:
            return None

    @staticmethod
    def _unit(span: float) -> tuple[str, int, str]:
        for unit, counts, size, most, form in _UNITS:
            for n in counts:
                if span <= most * n * size:
                    return unit, n, form
        return "year", int(10 ** np.ceil(np.log10(max(span, 1.0) / 365.2 / 9))), "%Y"


class CalendarFormatter(Formatter):
    """How ticks of a `CalendarLocator` are written."""

    def __init__(self, locator: CalendarLocator) -> None:
        self.locator = locator

    def __call__(self, day: float, _: int | None = None) -> str:
        """A tick as it is written."""
        return str(self.locator.date(day).strftime(self.locator.form))
