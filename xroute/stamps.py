"""Stamps: what a coordinate of times holds, decoded, and what of it cannot be read as times.

Times are datetime64, timedelta64 or cftime, or numbers whose ``units`` say how they are counted. All else that looks like
times (text, periods, time zones, ...) is refused with the way out; nothing is parsed by guess.
"""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import TimeAxisError
from xroute.wording import argument

__all__ = [
    "SECONDS", "decodable", "decode_numbers", "is_dated", "offsets", "show", "stamps", "time_coordinate", "unit_seconds",
]  # fmt: skip

#: Units of time of one length, as UDUNITS and the field write them [s].
SECONDS: Mapping[str, float] = {
    name: length
    for names, length in (
        ("week weeks", 604800.0), ("day days d", 86400.0), ("hour hours hr hrs h", 3600.0),
        ("minute minutes min mins", 60.0), ("second seconds sec secs s", 1.0),
        ("millisecond milliseconds msec msecs millisec millisecs ms", 1e-3),
        ("microsecond microseconds microsec microsecs us", 1e-6), ("nanosecond nanoseconds nanosec nanosecs ns", 1e-9),
    )
    for name in names.split()
}  # fmt: skip
#: Names of coordinates that hold the times of a dimension without coordinates of its own, or with a mere number.
BESIDE = ("time", "valid_time", "Times", "XTIME", "date", "datetime")
_DATE = re.compile(r"\s*\d{4}[-/]\d{1,2}([-/]\d{1,2}([T ]\d.*)?)?\s*")


def time_coordinate(array: xr.DataArray, dim: Hashable) -> xr.DataArray | None:
    """Coordinate that holds the times of a dimension: its own, or one beside it where that is a mere number."""
    own = array.coords[dim] if dim in array.coords else None
    if own is not None and (own.dtype.kind not in "iu" or is_dated(own)):
        return own
    named = ("time", "forecast_period", "forecast_reference_time")
    beside = [
        c for n, c in array.coords.items()
        if n != dim and c.dims == (dim,) and (n in BESIDE or c.attrs.get("standard_name") in named) and is_dated(c)
    ]  # fmt: skip
    return beside[0] if len(beside) == 1 else own


def is_dated(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate bears dates or durations, in whatever form."""
    dtype: Any = coordinate.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if isinstance(dtype, pd.IntervalDtype):
        dtype = dtype.subtype
    if isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)):
        return True
    if dtype.kind in "mM":
        return True
    if dtype.kind in "iuf":
        units = str(coordinate.attrs.get("units", ""))
        return _since(units) or unit_seconds(units) is not None
    if dtype.kind not in "OUTS" or not coordinate.size:
        return False
    first = coordinate[(0,) * coordinate.ndim].values.item()
    if isinstance(first, (str, bytes)):
        return bool(_DATE.fullmatch(first.decode("latin1") if isinstance(first, bytes) else first))
    return hasattr(first, "year") or isinstance(first, (datetime.timedelta, np.timedelta64))


def _since(units: str) -> bool:
    return re.search(r"\bsince\b", units, re.I) is not None


def unit_seconds(units: Any) -> float | None:
    """Seconds in a unit of durations, such as ``"hours"``; None if it is no such unit."""
    return SECONDS.get(str(units).strip().lower())


def stamps(array: xr.DataArray, dim: Hashable, *, counted: bool = False) -> NDArray[Any] | None:
    """Times along a dimension: datetime64, timedelta64 or cftime; or plain numbers; None without a coordinate.

    Parameters
    ----------
    array
        With the coordinate. Values of ``array`` itself are not read.
    dim
        The dimension.
    counted
        Whether the step is known, so that numbers which cannot be decoded may pass as numbers.

    Raises
    ------
    TimeAxisError
        For times that are missing, that cannot be decoded, or that are none: text, periods, time zones, ...
    """
    coordinate = time_coordinate(array, dim)
    if coordinate is None:
        return None
    name = coordinate.name
    _refuse_type(coordinate)
    values = coordinate.values
    _refuse(coordinate, values)
    bad = pd.isna(values)
    if bad.any():
        raise TimeAxisError(f"times are missing (NaT), first at position {int(np.flatnonzero(bad)[0])}")
    if values.dtype.kind in "mM" or not values.size:
        return np.asarray(values)
    if values.dtype.kind == "O":
        values = _of_objects(values, name)
        if values.dtype.kind not in "iuf":
            return values
    units = str(coordinate.attrs.get("units", ""))
    try:
        return decode_numbers(values, units, coordinate.attrs.get("calendar"))
    except TimeAxisError as error:
        unit = unit_seconds(re.split(r"\bsince\b", units, flags=re.I)[0]) if _since(units) else None
        if counted:
            return values if unit is None else _durations(values, unit)
        source = coordinate.encoding.get("source") or array.encoding.get("source")
        steps = "" if unit is None else f"Give the step with {argument('dt')} (readers take {argument('start')}, too), or "
        raise TimeAxisError(
            f"{str(name)!r}{f' of {source}' if source else ''} cannot be decoded: {error}. {steps or 'Give '}dates: "
            f"runoff.assign_coords({name}=...)" + ("" if steps else f", or {argument('dt')} if all steps are of one length")
        ) from error


def decode_numbers(values: NDArray[Any], units: Any, calendar: Any = None) -> NDArray[Any]:
    """Decode numbers by CF ``units`` (``"hours since ..."``, or ``"hours"``); numbers without units of time stay."""
    units = str(units)
    if unit_seconds(units) is not None:
        return _durations(values, unit_seconds(units) or 1.0)
    if not _since(units):
        if re.match(r"\s*day as ", units):
            raise TimeAxisError(f"units are {units!r}, which are no CF units (cdo -a writes them; cdo -r writes CF)")
        return np.asarray(values)
    attrs = {"units": units} | ({} if calendar is None else {"calendar": calendar})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", xr.SerializationWarning)  # that cftime is used: it is as good
            decoded: NDArray[Any] = xr.coders.CFDatetimeCoder().decode(xr.Variable("t", values.ravel(), attrs)).values
    except Exception as error:  # pandas and cftime each have their own for units, calendars and ranges
        stated = f"units {units!r}" + ("" if calendar is None else f", calendar {calendar!r}")
        inner = str(error.__cause__ or error).splitlines()
        raise TimeAxisError(f"{stated} ({inner[0] if inner else type(error).__name__})") from error
    return decoded.reshape(values.shape)


def decodable(raw: xr.Dataset) -> dict[Hashable, bool]:
    """Variables of a Dataset as stored that xarray cannot decode as times, with False: they are to stay numbers.

    For ``xarray.decode_cf(raw, decode_times=decodable(raw))``, which else fails for a whole file because of one of them.
    """
    result: dict[Hashable, bool] = {}
    for name, variable in raw.variables.items():
        units = variable.attrs.get("units")
        if not isinstance(units, str) or not _since(units) or variable.dtype.kind not in "iuf":
            continue
        whole = variable if variable.ndim <= 1 or variable.size <= 1_000_000 else variable[(slice(0, 1),) * variable.ndim]
        values = whole.values.astype(float) if variable.dtype.kind == "f" else whole.values
        fills = [variable.attrs.get(a) for a in ("_FillValue", "missing_value")]
        keep = ~np.isin(values, [f for f in fills if f is not None])
        try:
            decode_numbers(values[keep], units, variable.attrs.get("calendar"))
        except TimeAxisError:
            result[name] = False
            bounds = variable.attrs.get("bounds")
            if bounds in raw.variables:
                result[bounds] = False
    return result


def offsets(values: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """How far each time is from the first: whole ticks [n], and the length of a tick [s].

    A tick is a nanosecond or a microsecond, so that nothing is rounded. Numbers without units stay as they are, in ticks of 1.
    """
    if values.dtype.kind in "mM":
        delta = values - values[0]
        unit, tick = ("ns", 1e-9) if np.datetime_data(delta.dtype)[0] in ("ns", "ps", "fs", "as") else ("us", 1e-6)
        return delta.astype(f"timedelta64[{unit}]").astype(np.int64), tick
    if values.dtype.kind == "O":  # cftime: microseconds are exact in its differences
        micro = datetime.timedelta(microseconds=1)
        return np.array([(v - values[0]) // micro for v in values], np.int64), 1e-6
    return values.astype(np.float64) - float(values[0]), 1.0


def show(value: Any) -> str:
    """A time as a message names it."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value).isoformat()
    return str(pd.Timedelta(value)) if isinstance(value, np.timedelta64) else str(value)


def _durations(values: NDArray[Any], unit: float) -> NDArray[Any]:
    """Numbers of a unit [s] as timedelta64, to the nearest nanosecond."""
    if values.dtype.kind in "iu" and unit >= 1:
        return (values.astype(np.int64) * round(unit)).astype("timedelta64[s]")
    return np.rint(values.astype(np.float64) * (unit * 1e9)).astype(np.int64).astype("timedelta64[ns]")


def _of_objects(values: NDArray[Any], name: Hashable) -> NDArray[Any]:
    """Objects as times: cftime as it is, those of the standard library as datetime64 and timedelta64."""
    kinds = {type(v) for v in values.flat}
    if all(issubclass(k, (int, float, np.number)) and not issubclass(k, (bool, np.timedelta64)) for k in kinds):
        return np.array(values.tolist())  # of pandas' own integers
    if any(getattr(v, "tzinfo", None) is not None for v in values.flat):
        raise TimeAxisError(f"{str(name)!r} bears a time zone at some of its times, and none at others")
    if all(issubclass(k, datetime.datetime) for k in kinds):
        return values.astype("datetime64[us]")
    if all(issubclass(k, datetime.date) for k in kinds) and not any(issubclass(k, datetime.datetime) for k in kinds):
        return values.astype("datetime64[s]")
    if all(issubclass(k, (datetime.timedelta, np.timedelta64)) for k in kinds):
        return values.astype("timedelta64[us]")
    if all(hasattr(v, "calendar") for v in values.flat) and len({v.calendar for v in values.flat}) == 1:
        return values
    raise TimeAxisError(f"{str(name)!r} holds not times of one kind but {', '.join(sorted(k.__name__ for k in kinds))}")


def _zoned(name: Any, zone: Any) -> TimeAxisError:
    way = f"runoff.assign_coords({name}=pd.to_datetime(runoff.indexes[{name!r}], utc=True).tz_localize(None))"
    return TimeAxisError(f"{name!r} bears a time zone ({zone}), which CF times do not have. In UTC: {way}")


def _refuse_type(coordinate: xr.DataArray) -> None:
    """Refuse what pandas has types of its own for, before values are asked for."""
    name, dtype = coordinate.name, coordinate.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        way = f"runoff.assign_coords({name}=pd.to_datetime(runoff[{name!r}].values))"
        raise TimeAxisError(f"{name!r} holds categories, not times: {way}")
    if isinstance(dtype, pd.DatetimeTZDtype):
        raise _zoned(name, dtype.tz)


def _refuse(coordinate: xr.DataArray, values: NDArray[Any]) -> None:
    """Refuse what is not times, by its name and with the way out."""
    name: Any = coordinate.name
    first: Any = values.flat[0] if values.size and values.dtype.kind in "OTUS" else None
    now = f"runoff.indexes[{name!r}]"

    def convert(to: str, label: str = "") -> str:
        return f"runoff.assign_coords({name}={to}){label}"

    if isinstance(first, pd.Period):
        label = f", whose stamps are the starts ({argument('label', 'start')})"
        raise TimeAxisError(f"{name!r} holds periods, not times: {convert(f'{now}.to_timestamp()', label)}")
    if isinstance(first, pd.Interval):
        label = f", whose stamps are the starts ({argument('label', 'start')})"
        raise TimeAxisError(f"{name!r} holds intervals, not times: {convert(f'{now}.left', label)}")
    if getattr(first, "tzinfo", None) is not None:
        raise _zoned(name, first.tzinfo)
    if isinstance(first, (str, bytes)) or values.dtype.kind in "TUS":
        text = first.decode("latin1") if isinstance(first, bytes) else str(first)
        form = "'ISO8601'" if re.match(r"\s*\d{4}-\d\d", text) else "..."
        way = convert(f"pd.to_datetime(runoff[{name!r}].values.astype(str), format={form})")
        raise TimeAxisError(
            f"{name!r} holds text ({text!r}), not times, and the order of day and month is not guessed: {way}"
        )
    if isinstance(first, tuple) or values.dtype.kind not in "mMOiuf":
        what = "a MultiIndex" if isinstance(first, tuple) else f"values of type {values.dtype}"
        raise TimeAxisError(f"{name!r} holds {what}, not times: {convert('dates')}")
