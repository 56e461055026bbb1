"""Accumulations: values that climb since a start and begin again, as ERA5-Land's runoff does every day and forecasts do.

They are not amounts per step, and routed as if they were they give ERA5-Land's rivers some eleven times their water.
`deaccumulate` makes amounts of them; `xroute.watch` sits in a run and refuses them by their shape.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.attrs import append_history
from xroute.bounds import LABELS
from xroute.exceptions import ParameterError, TimeAxisError, UnitsError, XRouteError, one_of, warn
from xroute.settings import RESET, Reset
from xroute.stamps import is_dated, show, stamps, time_coordinate
from xroute.time_dims import REFERENCE, find_time_dim
from xroute.times import time_step
from xroute.unit_text import read_unit_text
from xroute.units import without_pint
from xroute.wording import argument, phrase

__all__ = ["DAY", "FALL", "deaccumulate", "is_lead", "says_in_words", "time_of_day"]

DAY = 86400.0
FALL = 1e-3
"""Of the largest value: a fall between restarts that no packing explains."""

First = Literal["drop", "nan"]
Negative = Literal["keep", "zero"]

Float = NDArray[np.float64]


def deaccumulate(
    runoff: xr.DataArray,
    reset: Reset,
    *,
    first: First = "drop",
    negative: Negative = "keep",
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
        Amounts per step, on the same dimensions and in the same units, lazy where ``runoff`` is; ready for `route`.

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
    one_of("reset", reset, RESET)
    one_of("first", first, get_args(First))
    one_of("negative", negative, get_args(Negative))
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
    one_of("time_label", label, LABELS, TimeAxisError)
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
    stamp = show(runoff[dim].values[0]) if dim in runoff.coords else f"{dim} 0"
    warn(
        f"the first value, of {stamp}, holds more than its own step, and how much of it fell in that step "
        "cannot be told: the step is left out"
        + phrase("first", ' (first="nan" keeps it, as NaN)')
        + ". To have it, begin with the last value before it"
    )
    return result.isel({dim: slice(1, None)})


def _lead_dim(runoff: xr.DataArray, time_dim: Hashable | None) -> Hashable:
    """The dimension of lead times: the one asked for, or else the only one of durations, or of dates."""
    leads = [d for d in runoff.dims if is_lead(runoff, d)]
    return leads[0] if time_dim is None and len(leads) == 1 else find_time_dim(runoff, time_dim)


def is_lead(runoff: xr.DataArray, time_dim: Hashable) -> bool:
    """Whether times are durations, as a forecast's lead times are, decoded or not."""
    coordinate = time_coordinate(runoff, time_dim)
    if coordinate is None or not is_dated(coordinate):
        return False
    values = stamps(runoff, time_dim, counted=True)
    return values is not None and values.dtype.kind == "m"


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
        after = time_of_day(values) + (1.0 - LABELS[label]) * step - 3600.0 * hour
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
        if not says or start.ndim or values is None or values.dtype.kind != start.dtype.kind:
            continue
        if values.dtype.kind == "M":
            return np.asarray((values - start.values).astype("timedelta64[ns]").astype(np.int64) / 1e9)
        if hasattr(start.item(), "calendar"):  # dates of cftime
            return np.array([(value - start.item()).total_seconds() for value in values])
    return unknown


def time_of_day(values: NDArray[Any]) -> Float:
    """Seconds from midnight to each of some dates."""
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
    restarts = np.asarray(restarts, like=data)
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
    if says_in_words(runoff):  # which it does no longer
        del attrs["long_name"]
    attrs["cell_methods"] = f"{dim}: sum"
    attrs["time_label"] = label
    attrs["history"] = append_history(attrs.get("history"), f"xroute: amounts per step of accumulated values, {reset=}")
    return attrs


def says_in_words(runoff: xr.DataArray) -> bool:
    """Whether a long name begins with "accumulated", misspelt as in WRF-Hydro's files or not."""
    return str(runoff.attrs.get("long_name", "")).lower().startswith("accumul")
