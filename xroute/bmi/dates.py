"""Dates of a model that counts seconds since its start: labels for states and messages, and when the run ends."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd

from xroute.exceptions import TimeAxisError, require
from xroute.times import seconds

__all__ = ["CALENDARS", "Dates"]

USUAL = ("standard", "gregorian", "proleptic_gregorian")
CALENDARS = (*USUAL, "noleap", "365_day", "360_day", "all_leap", "366_day", "julian")
"""Calendars of CF; the usual ones are those that pandas counts in."""
_DATE = re.compile(r"\s*(\d{1,4})-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?)?)?\s*Z?\s*")


class Dates:
    """Dates since a start, which may not be known.

    Parameters
    ----------
    start
        Date of time 0 as text, or None.
    calendar
        Calendar of CF.

    Raises
    ------
    TimeAxisError
        For a calendar that is none, and a date that its calendar does not have.

    Examples
    --------
    >>> from xroute.bmi.dates import Dates
    >>> str(Dates("2001-02-28", "noleap").at(86400.0))
    '2001-03-01 00:00:00'
    """

    def __init__(self, start: str | None, calendar: str = "standard") -> None:
        if calendar not in CALENDARS:
            raise TimeAxisError(f"calendar is one of {', '.join(CALENDARS)}, not {calendar!r}")
        self.calendar = calendar
        self.start = None if start is None else self._read(start, "start_time")

    def at(self, time: float) -> Any:
        """Date at a time [s]: datetime64, or a date of cftime; None without a start."""
        if self.start is None:
            return None
        if self.calendar in USUAL:
            return (self.start + pd.Timedelta(time, "s")).to_datetime64()
        return self.start + datetime.timedelta(seconds=time)

    def label(self, time: float) -> str:
        """A time [s] in words: its date, or seconds since the start."""
        date = self.at(time)
        if date is None:
            return f"{time:g} s"
        return str(pd.Timestamp(date).isoformat() if isinstance(date, np.datetime64) else date.isoformat())

    def until(self, end: Any, step: float) -> int:
        """How many steps [s] there are until an end: a date, or a span since the start.

        Raises
        ------
        TimeAxisError
            For an end that is neither, that comes before the first step is done, or where no step ends.
        """
        if isinstance(end, str) and _DATE.fullmatch(end) and not end.strip().isdigit():
            if self.start is None:
                raise TimeAxisError(f"end_time is the date {end!r}, and there is no start_time to count from: give both")
            span = (self._read(end, "end_time") - self.start).total_seconds()
        else:
            try:
                span = seconds(end)
            except TimeAxisError as error:
                raise TimeAxisError(
                    f"end_time is a date, or a span since the start in seconds or as text like '30D', not {end!r}"
                ) from error
        n = round(span / step)
        if n < 1 or abs(span - n * step) > 1e-6 * step:
            raise TimeAxisError(
                f"end_time, {end}, is {span:g} s after the start, which is not a whole number (at least one) of steps "
                f"of {step:g} s"
            )
        return n

    def _read(self, text: str, name: str) -> Any:
        if not re.match(r"\s*\d{4}(-\d|\s*$)", text):  # others are guessed at: month first, or now
            raise TimeAxisError(f"{name} is a date such as 2001-01-01T00:00, not {text!r}")
        if self.calendar in USUAL:
            try:
                date = pd.Timestamp(text)
            except (ValueError, TypeError) as error:
                raise TimeAxisError(f"{name} is a date such as 2001-01-01T00:00, not {text!r} ({error})") from error
            return date if date.tz is None else date.tz_convert("UTC").tz_localize(None)
        found = _DATE.fullmatch(text)
        if found is None:
            raise TimeAxisError(f"{name} is a date such as 2001-01-01T00:00, not {text!r}")
        cftime = require("cftime", feature=f"the calendar {self.calendar}", extra="io")
        year, month, *rest = (int(part or 0) for part in found.groups())
        try:
            return cftime.datetime(year, month, rest[0] or 1, *rest[1:], calendar=self.calendar)
        except ValueError as error:
            raise TimeAxisError(f"{name}, {text}, is no date of the calendar {self.calendar}: {error}") from error
