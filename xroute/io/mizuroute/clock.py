"""When a run of mizuRoute steps: its simulation steps, and which records of runoff each of them takes.

Runoff is repeated where a simulation step is shorter than a step of runoff, and averaged where it is longer, as mizuRoute does
before anything else.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xroute.bounds import LABELS
from xroute.exceptions import ParameterError, TimeAxisError, one_of, warn
from xroute.io.mizuroute.control import Control
from xroute.stamps import is_dated, offsets, show
from xroute.times import time_step

__all__ = ["TIME_UNITS", "Steps", "on_steps", "repaired_units", "simulation_steps"]

logger = logging.getLogger(__name__)

TIME_UNITS = {
    "seconds": ("seconds", "second", "sec", "secs", "s"), "minutes": ("minutes", "minute", "min", "mins", "m"),
    "hours": ("hours", "hour", "hr", "hrs", "h"), "days": ("days", "day", "d"),
}  # fmt: skip
"""Units of time, and what mizuRoute lets them be called."""
WHOLE = 1e-6
"""How far from a whole number the ratio of two steps may be, in parts of it."""
DATE = re.compile(r"\s*(\d{1,4})-(\d{1,2})-(\d{1,2})(?:[ T]+(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2})(?:\.\d*)?)?)?\s*$")


@dataclass(frozen=True)
class Steps:
    """Simulation steps, and the records of runoff that they take.

    Attributes
    ----------
    step : float
        Length of a simulation step [s].
    first, n
        Position of the first record, and number of records of runoff.
    repeat, mean
        How many simulation steps a record serves; how many records a simulation step takes the mean of. One of them is 1.
    skip, count
        Simulation steps of the first record that are before the start; number of simulation steps.
    """

    step: float
    first: int
    n: int
    repeat: int
    mean: int
    skip: int
    count: int


def repaired_units(attrs: dict[str, Any], control: Control) -> dict[str, Any]:
    """Attributes of a time variable with units and calendar that can be decoded: mizuRoute takes short names, too."""
    fixed = dict(attrs)
    for name, tag in (("units", "ro_time_units"), ("calendar", "ro_calendar")):
        if not str(fixed.get(name, "")).strip() and control.values.get(tag):
            fixed[name] = control.values[tag]
    unit, since, rest = str(fixed.get("units", "")).strip().partition(" since ")
    full = next((full for full, names in TIME_UNITS.items() if unit.strip().lower() in names), None)
    if since and full is not None:
        fixed["units"] = f"{full} since {rest.strip()}"
    if "calendar" in fixed:
        fixed["calendar"] = str(fixed["calendar"]).strip().lower()
    return fixed


def simulation_steps(runoff: xr.DataArray, control: Control, what: str) -> Steps:
    """Simulation steps of a run with this runoff (time first), from ``<sim_start>`` to ``<sim_end>``.

    Raises
    ------
    TimeAxisError
        For times that are none, or not regular, and simulations that do not overlap with the runoff.
    ParameterError
        For a simulation step that neither divides that of runoff nor is a multiple of it.
    """
    label = (control.text("ro_time_stamp") or "start").strip().lower()
    one_of("<ro_time_stamp>", label, tuple(LABELS))
    if "time" not in runoff.coords or not runoff.sizes["time"] or not is_dated(runoff["time"]):
        raise TimeAxisError(f"{what} has no dates: its time needs units such as 'hours since 2000-01-01' (<ro_time_units>)")
    said = control.seconds("dt_ro")
    of_runoff = time_step(runoff, "time", None, said)
    if of_runoff is None:
        raise TimeAxisError(f"{what} holds a single time, so that its step cannot be told: <dt_ro> says it")
    if said is not None and abs(said - of_runoff) > WHOLE * of_runoff:
        warn(f"{control.path}: <dt_ro> is {said:g} s, and steps of {what} are {of_runoff:g} s long: these count")
    step = control.seconds("dt_qsim") or of_runoff
    repeat, mean = round(of_runoff / step) or 1, round(step / of_runoff) or 1
    if abs(step * repeat - of_runoff * mean) > WHOLE * max(step, of_runoff):
        raise ParameterError(
            f"a step of {step:g} s (<dt_qsim>) neither divides that of the runoff, {of_runoff:g} s, nor is a multiple of it, so "
            "that steps of runoff would be cut: give runoff on other steps"
        )
    begin = -LABELS[label] * of_runoff  # of the first record, seconds after its stamp
    end = begin + of_runoff * runoff.sizes["time"]
    start = _seconds_after(control, "sim_start", runoff, begin)
    if start < begin - WHOLE * step:
        logger.warning("<sim_start> is before the runoff of %s, which it begins with", what)
        start = begin
    last = _seconds_after(control, "sim_end", runoff, end - step)
    stop = min(last + step, end)
    if start >= end - WHOLE * step or stop <= start:
        raise TimeAxisError(
            f"{control.path}: from <sim_start> {control.text('sim_start')} to <sim_end> {control.text('sim_end')} there is no "
            f"runoff in {what}, which has {show(runoff['time'].values[0])} to {show(runoff['time'].values[-1])}"
        )
    first = int(np.floor((start - begin) / of_runoff + WHOLE))
    skip = (start - begin - first * of_runoff) / step
    if abs(skip - round(skip)) > WHOLE * repeat or (mean > 1 and round(skip * step / of_runoff) != 0):
        raise ParameterError(
            f"{control.path}: <sim_start> {control.text('sim_start')} is no whole number of steps of {step:g} s after the "
            f"beginning of a step of runoff, so that steps of runoff would be cut"
        )
    count = int(np.floor((stop - start) / step + WHOLE))
    skip = round(skip)
    n = count * mean if mean > 1 else -(-(skip + count) // repeat)
    return Steps(step, first, n, repeat, mean, skip, count)


def _seconds_after(control: Control, tag: str, runoff: xr.DataArray, default: float) -> float:
    """Seconds from the first stamp of runoff to a date of the control file, which is in runoff's calendar."""
    text = control.values.get(tag)
    if not text:
        return default
    match = DATE.match(text)
    if match is None:
        raise TimeAxisError(f"{control.path}: <{tag}> is a date such as 1990-01-01 00:00:00, not {text!r}")
    parts = [int(part or 0) for part in match.groups()]
    first = runoff["time"].values[:1]
    date: Any
    try:
        if first.dtype.kind == "M":
            date = np.array(["{:04d}-{:02d}-{:02d}T{:02d}:{:02d}:{:02d}".format(*parts)], first.dtype)
        else:
            date = np.array([first[0].replace(year=parts[0], month=parts[1], day=parts[2], hour=parts[3], minute=parts[4],
                                              second=parts[5], microsecond=0)], dtype=object)  # fmt: skip
    except ValueError as error:
        raise TimeAxisError(f"{control.path}: <{tag}> {text!r} is no date of the runoff's calendar ({error})") from error
    ticks, tick = offsets(np.concatenate([first, date]))
    return float(ticks[1]) * tick


def on_steps(runoff: xr.DataArray, steps: Steps, label: str) -> xr.DataArray:
    """Runoff (time first) on simulation steps, whose stamps are their beginnings where they are not those of the file."""
    part = runoff.isel(time=slice(steps.first, steps.first + steps.n))
    if steps.repeat == steps.mean == 1:
        return part
    if steps.mean > 1:
        values = part.astype(np.float64).coarsen(time=steps.mean).mean()
    else:
        at = (np.arange(steps.count) + steps.skip) // steps.repeat
        values = part.isel(time=at)
    old = runoff["time"].values
    width = steps.step * steps.repeat / steps.mean
    shift = steps.first * width - LABELS[label] * width + steps.skip * steps.step
    return values.assign_coords(time=("time", _stamps(old[0], shift, steps.step, steps.count), dict(runoff["time"].attrs)))


def _stamps(first: Any, shift: float, step: float, n: int) -> Any:
    """Dates ``shift + k step`` seconds after the first."""
    ticks = np.round((shift + step * np.arange(n)) * 1e6).astype(np.int64)
    if isinstance(first, np.datetime64):
        return first.astype("datetime64[us]") + ticks.astype("timedelta64[us]")
    import datetime

    return np.array([first + datetime.timedelta(microseconds=int(t)) for t in ticks], dtype=object)
