"""Accumulations: values that climb since a start and begin again, as ERA5-Land's runoff does every day and forecasts do.

They are not amounts per step, and routed as if they were they give ERA5-Land's rivers some eleven times their water.
`deaccumulate` makes amounts of them; `Watch` sits in a run and refuses them by their shape.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.attrs import append_history
from xroute.block import is_cupy
from xroute.exceptions import ParameterError, TimeAxisError, UnitsError, XRouteError, one_of, warn
from xroute.quantities import without_pint
from xroute.stamps import axis, is_dated, stamps
from xroute.times import REFERENCE, find_time_dim, seconds, time_step
from xroute.unit_text import read_unit_text
from xroute.wording import argument, phrase

__all__ = ["Watch", "deaccumulate", "is_lead", "looks_accumulated", "says_accumulated", "watch"]

DAY = 86400.0
FALL = 1e-3
"""Of the largest value: a fall between restarts that no packing explains."""

Float = NDArray[np.float64]


def deaccumulate(
    runoff: xr.DataArray,
    reset: Literal["day", "forecast", "never"],
    *,
    first: Literal["drop", "nan"] = "drop",
    negative: Literal["keep", "zero"] = "keep",
    hour: float = 0.0,
    time_dim: Hashable | None = None,
    dt: Any = None,
) -> xr.DataArray:
    """Amounts per step, of values that accumulate.

    Parameters
    ----------
    runoff : (time, ...)
        Accumulated amounts (``m``, ``mm``, ``kg m-2``, ``m3``). A stamp is the end of its step, unless
        ``runoff.attrs["time_label"]`` is ``"start"`` or ``"middle"``.
    reset
        When values begin again. ``"day"``: each day at ``hour`` UTC, so that the value at 00 UTC is the whole of the day
        before (ERA5-Land). ``"forecast"``: at the start of the forecast, along its lead times (durations, or dates with a
        coordinate ``forecast_reference_time``). ``"never"``: not within the series (a model run that accumulates on).
    first
        A first value that holds more than its own step, of which the share of that step cannot be told (ERA5-Land's file that
        begins at 00 UTC): ``"drop"`` the step, with a warning, or make it ``"nan"``. A forecast's lead time zero is no step,
        and is left out. Where the series begins with the first step after a restart, nothing is lost.
    negative
        Differences below zero, which packing leaves where next to nothing flowed: ``"keep"`` them (the sum stays
        right), or set them to ``"zero"``. They are counted in a warning for runoff in memory.
    hour
        Hour of the day [UTC] at which ``"day"`` begins.
    time_dim, dt
        As for `route`. For a forecast the lead dimension, where it is not the only one with dates or durations.

    Returns
    -------
    xarray.DataArray
        Amounts per step in the same units, lazy where ``runoff`` is; ready for `route`.

    Raises
    ------
    XRouteError
        For values that fall between restarts by more than packing explains (when they are computed, where they are lazy).
    TimeAxisError
        For steps that do not fit into a day.
    UnitsError
        For rates, which do not accumulate.

    Notes
    -----
    ERA5-Land's convention: Muñoz-Sabater et al. (2021), and ECMWF, "ERA5-Land: data documentation", "Accumulations".

    Examples
    --------
    >>> import pandas as pd, xarray as xr, xroute
    >>> time = pd.date_range("2001-01-01T06:00", periods=5, freq="6h")  # the fourth is 00 UTC of the next day
    >>> ro = xr.DataArray([1.0, 3.0, 6.0, 10.0, 2.0], {"time": time}, attrs={"units": "mm"})
    >>> xroute.deaccumulate(ro, "day").values.tolist()
    [1.0, 2.0, 3.0, 4.0, 2.0]
    """
    one_of("reset", reset, ("day", "forecast", "never"))
    one_of("first", first, ("drop", "nan"))
    one_of("negative", negative, ("keep", "zero"))
    if not isinstance(runoff, xr.DataArray):
        raise XRouteError(f"runoff is an xarray.DataArray, not a {type(runoff).__name__}")
    if not 0 <= hour < 24:
        raise ParameterError(f"hour is an hour of the day, from 0 to under 24, not {hour!r}")
    runoff = without_pint(runoff)
    if runoff.dtype.kind not in "fiu":
        raise ParameterError(f"accumulated runoff is numbers, not {runoff.dtype}")
    units = runoff.attrs.get("units")
    if units is not None and read_unit_text(units, "runoff").dimensions.get("[time]"):
        raise UnitsError(f"runoff in {units!r} is a rate, and rates do not accumulate: check its units")
    dim = _lead_dim(runoff, time_dim) if reset == "forecast" else find_time_dim(runoff, time_dim)
    label = str(runoff.attrs.get("time_label", "end"))
    one_of("time_label", label, ("start", "middle", "end"), TimeAxisError)
    age = _ages(runoff, dim, reset, hour, dt, label)
    if not age.size:
        return runoff
    step = age[1] - age[0] if age.size > 1 and np.isfinite(age[:2]).all() and age[1] > age[0] else np.nan
    if reset == "day":
        step = _step(runoff, dim, dt)
    restarts = np.isclose(age, step, rtol=1e-2) if reset == "day" else np.zeros(age.size, bool)
    restarts[0] = bool(np.isclose(age[0], step, rtol=1e-2)) if np.isfinite(step) else False
    result = runoff.copy(deep=False, data=_amounts(runoff, dim, restarts, negative))
    result.encoding = {}
    result.attrs = _attrs(runoff, dim, label, reset)
    if restarts[0]:
        return result
    if reset == "forecast" and age[0] == 0:
        return result.isel({dim: slice(1, None)})
    if first == "nan":
        return result.where(xr.DataArray(np.arange(age.size) > 0, dims=(dim,)))
    warn(
        f"the first value, of {_show(runoff, dim)}, holds more than its own step, and how much of it fell in that step cannot be "
        "told: the step is left out"
        + phrase("first", ' (first="nan" keeps it, as NaN)')
        + ". To have it, begin with the last value before it"
    )
    return result.isel({dim: slice(1, None)})


def _lead_dim(runoff: xr.DataArray, time_dim: Hashable | None) -> Hashable:
    """The dimension of lead times: the one asked for, or else the only one of durations, or of dates."""
    leads = [d for d in runoff.dims if is_lead(runoff, d)]
    return leads[0] if time_dim is None and len(leads) == 1 else find_time_dim(runoff, time_dim)


def _step(runoff: xr.DataArray, dim: Hashable, dt: Any) -> float:
    step = time_step(runoff, dim, dt)
    if step is None:
        raise TimeAxisError(f"{dim!r} has one entry, so the step cannot be told: give {argument('dt')} (seconds, or '3h')")
    if abs(DAY / step - round(DAY / step)) > 1e-6 or step > DAY:
        raise TimeAxisError(f"a step of {step:g} s does not fit into a day, at whose turn values would begin again")
    return step


def _ages(runoff: xr.DataArray, dim: Hashable, reset: str, hour: float, dt: Any, label: str) -> Float:
    """Seconds from the last restart to the end of each step (time); NaN where that cannot be told."""
    unknown = np.full(runoff.sizes[dim], np.nan)
    if reset == "never" or not unknown.size:
        return unknown
    values = stamps(runoff, dim, counted=True)
    if reset == "day":
        if values is not None and values.dtype.kind == "m":
            raise TimeAxisError(
                f"{str(dim)!r} holds lead times of a forecast, which know no turn of the day: {argument('reset', 'forecast')} "
                f"where values climb since its start, or {argument('time_dim')} if they climb along another dimension"
            )
        step = _step(runoff, dim, dt)
        if values is None or values.dtype.kind not in "MO":
            raise TimeAxisError(f"{dim!r} has no dates, by which {argument('reset', 'day')} knows the turn of the day")
        after = _of_the_day(values) + {"end": 0.0, "middle": step / 2, "start": step}[label] - 3600.0 * hour
        age = after % DAY
        age = np.where(age < 0.01 * step, age + DAY, age)
        off = np.abs(age / step - np.round(age / step)) > 0.01
        if off.any():
            at = values[np.flatnonzero(off)[0]]
            raise TimeAxisError(
                f"the step that ends at {at} is not one of {DAY / step:g} from {hour:g} UTC on: shift the times"
                + phrase("hour", ", or give hour=")
            )
        return age
    if values is not None and values.dtype.kind == "m":
        return values.astype("timedelta64[ns]").astype(np.int64) / 1e9
    for name, start in runoff.coords.items():
        says = name in REFERENCE or start.attrs.get("standard_name") == "forecast_reference_time"
        if says and start.ndim == 0 and values is not None and values.dtype.kind == start.dtype.kind == "M":
            return np.asarray((values - start.values).astype("timedelta64[ns]").astype(np.int64) / 1e9)
    return unknown


def _of_the_day(values: NDArray[Any]) -> Float:
    if values.dtype.kind == "M":
        return (values - values.astype("datetime64[D]")).astype("timedelta64[ns]").astype(np.int64) / 1e9
    return np.array([3600.0 * t.hour + 60.0 * t.minute + t.second + t.microsecond / 1e6 for t in values])


def _amounts(runoff: xr.DataArray, dim: Hashable, restarts: NDArray[np.bool_], negative: str) -> Any:
    axis: int = runoff.get_axis_num(dim)
    data: Any = runoff.data
    mask = restarts.reshape([-1 if k == axis else 1 for k in range(runoff.ndim)])
    if runoff.chunks is None:
        result = _differences(data, _shifted(data, axis), mask, axis=axis, zero=False)
        below = int((result < 0).sum())
        if below:
            what = "set to zero" if negative == "zero" else 'kept (negative="zero" sets them to zero)'
            warn(f"{below} of {result.size} amounts are below zero by the rounding of packed values, and are {what}")
        return result.clip(min=0) if negative == "zero" else result
    import dask.array as da

    index = [slice(None)] * data.ndim
    head, rest = list(index), list(index)
    head[axis], rest[axis] = slice(0, 1), slice(0, -1)
    before = da.concatenate([data[tuple(head)], data[tuple(rest)]], axis).rechunk(data.chunks)
    chunks = tuple(data.chunks[k] if k == axis else (1,) for k in range(data.ndim))
    dtype = data.dtype if data.dtype.kind == "f" else np.dtype(np.float64)
    return da.map_blocks(
        _differences, data, before, da.from_array(mask, chunks), axis=axis, zero=negative == "zero", dtype=dtype,
        meta=data._meta.astype(dtype),
    )  # fmt: skip


def _shifted(data: Any, axis: int) -> Any:
    moved = data.copy()
    rest, shifted = [slice(None)] * data.ndim, [slice(None)] * data.ndim
    rest[axis], shifted[axis] = slice(0, -1), slice(1, None)
    moved[tuple(shifted)] = data[tuple(rest)]
    return moved


def _differences(data: Any, before: Any, restarts: NDArray[np.bool_], *, axis: int, zero: bool) -> Any:
    """Value minus the value before, or the value itself where it is the first after a restart; of numpy or cupy."""
    if data.dtype.kind != "f":
        data, before = data.astype(np.float64), before.astype(np.float64)
    if is_cupy(data):
        import cupy

        restarts = cupy.asarray(restarts)
    amounts = data - np.where(restarts, data.dtype.type(0), before)
    falls = _unexplained_falls(np.moveaxis(amounts, axis, -1), abs(data[np.isfinite(data)]).max(initial=0.0))
    if falls:
        raise XRouteError(
            f"{falls} of {amounts.size} values are lower than the ones before them where they should have climbed: the values "
            f"do not begin again when {argument('reset')} says, or are amounts per step already"
        )
    return amounts.clip(min=0) if zero else amounts


def _unexplained_falls(amounts: Any, largest: Any) -> int:
    """How many fall by more than packing makes them, in steps where most that change do.

    What is packed changes by multiples of a smallest change, here and there by one or two of them downwards.
    """
    changes = abs(amounts[np.isfinite(amounts) & (amounts != 0)])
    if not changes.size:
        return 0
    falls = amounts < -max(float(largest) * FALL, 3 * float(changes.min()))
    over = tuple(range(amounts.ndim - 1))
    most = falls.sum(axis=over) > 0.5 * (amounts != 0).sum(axis=over)
    return int(falls[..., most].sum())


def _attrs(runoff: xr.DataArray, dim: Hashable, label: str, reset: str) -> dict[str, Any]:
    attrs = {
        n: v
        for n, v in runoff.attrs.items()
        if not re.fullmatch(r"GRIB_(stepType|stepRange|startStep|endStep)", str(n))
    }
    attrs["cell_methods"] = f"{dim}: sum"
    attrs["time_label"] = label
    attrs["history"] = append_history(attrs.get("history"), f"xroute: amounts per step of accumulated values, {reset=}")
    return attrs


def _show(runoff: xr.DataArray, dim: Hashable) -> str:
    if dim not in runoff.coords:
        return f"{dim} 0"
    value = runoff[dim].values[0]
    return pd.Timestamp(value).isoformat() if isinstance(value, np.datetime64) else str(value)


# ── watching a run ──────────────────────────────────────────────────────────────────────────────────────────────────────

SAMPLE = 256
"""Series that are looked at, in each block."""
STEPS = 240
"""Steps that are looked at, in each block."""


@dataclass(frozen=True)
class Watch:
    """What a run looks for in its blocks: values that climb, and begin again on a clock.

    Attributes
    ----------
    said
        Whether the runoff's attributes say that it accumulates; plain ERA5 says so too, and is per hour, so values decide.
    lead
        Whether its times are lead times of a forecast.
    step
        Its step [s].
    origin
        The first stamp: seconds since midnight or, of a forecast, since its start; None where that is not known. Values begin
        again at certain hours, while snow melts and storms fall off at any.
    """

    said: bool
    lead: bool
    step: float
    origin: float | None = None

    @property
    def ahead(self) -> int:
        """How many steps must be looked at together where blocks are shorter: two days; none where attributes say nothing."""
        return min(STEPS, int(-(-2 * DAY // self.step)) + 2) if self.said else 0

    def at(self, begin: int) -> Watch:
        """The same, for a part of the series from step ``begin`` on."""
        return self if self.origin is None else replace(self, origin=self.origin + begin * self.step)

    def look(self, values: Any, *, first: bool = True) -> None:
        """Look at a block [batch, row, time]; ``first`` is that of the series.

        Raises
        ------
        XRouteError
            For runoff that says that it accumulates, and does.
        """
        if not (self.said or first) or values.shape[-1] < 4:
            return
        taken = values.reshape(-1, values.shape[-1])
        taken = taken[:: max(1, -(-taken.shape[0] // SAMPLE)), :STEPS]
        taken = np.asarray(taken.get() if hasattr(taken, "get") else taken, np.float64)
        empty = int(np.isfinite(taken).any(axis=0).argmax())  # before the first hour of all (ERA5-Land's file of 1950, say)
        taken, origin = taken[:, empty:], self.at(empty).origin
        period = looks_accumulated(taken, self.step, 1 if self.said else 2, origin)
        if period is not None:
            hours = f"begin again every {period / 3600:g} h"
            reset = "day" if period == DAY and not self.lead else "forecast"
        elif self.said and first and self._whole(taken.shape[-1]) and _only_climbs(taken):
            hours = "never fall"
            longer = self.lead or self._days(taken.shape[-1]) >= 2
            reset = "forecast" if longer else "day"
        else:
            return
        remedy = argument("reset", reset, python=f'xroute.deaccumulate(runoff, reset="{reset}")')
        if self.said:
            raise XRouteError(
                f"runoff accumulates: its attributes say so, and its values climb and {hours}. Make amounts per step of it "
                f"with {remedy}. If it is per step all the same, drop GRIB_stepType and the interval in cell_methods"
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
    """What looks for accumulated values in runoff of a step [s]; its values are not read."""
    lead = is_lead(runoff, time_dim)
    first = stamps(runoff.isel({time_dim: slice(0, 1)}), time_dim, counted=True)
    origin = None
    if first is not None and first.size and first.dtype.kind == "m":
        origin = float(first[0] / np.timedelta64(1, "ns")) / 1e9
    elif first is not None and first.size and first.dtype.kind in "MO":
        origin = float(_of_the_day(first)[0])
    return Watch(says_accumulated(runoff, time_dim, step), lead, step, origin)


def is_lead(runoff: xr.DataArray, time_dim: Hashable) -> bool:
    """Whether times are durations, as a forecast's lead times are, decoded or not."""
    coordinate = axis(runoff, time_dim)
    if coordinate is None or not is_dated(coordinate):
        return False
    values = stamps(runoff, time_dim, counted=True)
    return values is not None and values.dtype.kind == "m"


def says_accumulated(runoff: xr.DataArray, time_dim: Hashable, step: float | None) -> bool:
    """Whether attributes say that values accumulate: GRIB's step type, or sums over more than a step."""
    if str(runoff.attrs.get("GRIB_stepType", "")).lower() == "accum":
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
    """After what time [s] series begin again, if all that they do between is climb.

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
    peak = np.abs(values).max(axis=1, initial=0.0)
    values = values[np.isfinite(peak) & (peak > 1e-3 * peak[np.isfinite(peak)].max(initial=0.0))]
    if not values.shape[0]:
        return None
    change = np.diff(values, axis=1) / np.abs(values).max(axis=1, keepdims=True)
    falls, rises = change < -FALL, change > FALL
    down = np.where(falls, -change, 0.0).sum(axis=0)  # rounding of packed values falls often, and not far
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
