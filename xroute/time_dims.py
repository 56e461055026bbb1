"""Which dimension a series runs along: the time, and of a forecast its leads.

It is told by the labels of dimensions and their coordinates (`xroute.stamps`), never by their sizes.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import xarray as xr

from xroute.exceptions import TimeAxisError, some
from xroute.stamps import is_dated, time_coordinate
from xroute.wording import argument

__all__ = ["REFERENCE", "dated_dims", "find_time_dim"]

#: Names that say of a dimension that forecasts start along it, and that they go on along it.
REFERENCE = {
    "forecast_reference_time", "reference_time", "reftime", "ref_time", "init", "init_time", "init_date", "initial_time",
    "initialization_time", "initialisation_time", "analysis_time", "base_time", "basetime", "issue_time", "issue_date",
    "start_time", "cycle", "cycle_time", "run_time", "model_run", "hindcast_start",
}  # fmt: skip
LEAD = {
    "step", "lead", "leads", "lead_time", "leadtime", "lead_hour", "lead_day", "lead_hours", "lead_days", "forecast_period",
    "forecast_hour", "forecast_hours", "forecast_lead_time", "forecast_step", "forecast_day", "prediction_timedelta",
    "fhour", "fhr", "horizon", "forecast_horizon",
}  # fmt: skip

_LEADS = re.compile("(lead|forecast|fcst|fc|prediction)_?(time|step|period|horizon|(time_?)?(hour|day|week|month|season)s?)")


class _Axis(NamedTuple):
    """A dimension, as its labels describe it.

    Attributes
    ----------
    dim, size
        Its name, and how many entries it has.
    is_time
        Whether it bears dates or durations, and says of itself that it is no other thing.
    may_count
        Whether it is no other thing, where it bears numbers or nothing.
    kind
        ``"m"`` for durations and ``"M"`` for dates; None for numbers that do not say.
    role
        ``"lead"`` or ``"reference"`` of a forecast; None where its labels do not say.
    says_valid
        Whether its dates say that they are those which values hold at, as beside the reference time of NWM's forecasts.
    """

    dim: Hashable
    size: int
    is_time: bool
    may_count: bool
    kind: str | None
    role: str | None
    says_valid: bool

    def __str__(self) -> str:
        kind = {"m": "durations", "M": "dates", None: "entries"}[self.kind]
        role = {"lead": ", forecast leads", "reference": ", forecast reference times", None: ""}[self.role]
        return f"{str(self.dim)!r} ({self.size} {kind}{role})"


def find_time_dim(array: xr.DataArray, time_dim: Hashable | None = None) -> Hashable:
    """Name of the dimension that the series runs along: the one given, or else the only one that can be it.

    Of a forecast's reference times and leads it is the leads, where both are labelled: by ``standard_name``
    (``forecast_reference_time`` and ``forecast_period``), by names that say so, or as dates and durations with a
    ``valid_time`` of both. Beside reference times, dates of ``standard_name`` ``time`` are those that values hold at.
    """
    if time_dim is not None:
        if time_dim in array.dims:
            return time_dim
        raise TimeAxisError(f"runoff has no dimension {time_dim!r}; it has {some(array.dims)}. Give {argument('time_dim')}")
    axes = [_read_axis(array, dim) for dim in array.dims]
    may = [a for a in axes if a.is_time or a.dim == "time" or (a.role is not None and a.may_count)]
    if len(may) == 1:
        return may[0].dim
    if not may:
        raise TimeAxisError(f"runoff has no dimension 'time'; it has {some(array.dims)}. Give {argument('time_dim')}")
    leads = [a for a in may if a.role == "lead"]
    if len(leads) == 1 and all(a.role == "reference" for a in may if a not in leads):
        return leads[0].dim
    others = [a for a in may if a.role != "reference"]
    if len(others) == 1 and others[0].says_valid:
        return others[0].dim
    durations = [a for a in may if a.kind == "m"]
    if len(may) == 2 and len(durations) == 1 and durations[0].role != "reference" and _valid_time(array, may):
        return durations[0].dim
    candidates = ", ".join(map(str, may))
    raise TimeAxisError(f"the series may run along {candidates}: say along which one. Give {argument('time_dim')}")


def dated_dims(array: xr.DataArray) -> list[Hashable]:
    """Dimensions whose coordinates bear dates or durations."""
    return [dim for dim in array.dims if _read_axis(array, dim).is_time]


def _read_axis(array: xr.DataArray, dim: Hashable) -> _Axis:
    coordinate = time_coordinate(array, dim)
    attrs = {} if coordinate is None else coordinate.attrs
    kind = None if coordinate is None or not is_dated(coordinate) else _kind(coordinate)
    own = array.coords[dim].attrs if dim in array.coords else {}
    return _Axis(
        dim, array.sizes[dim], kind is not None and attrs.get("cf_role") is None, own.get("cf_role") is None, kind,
        _role(dim, attrs.get("standard_name"), kind), kind == "M" and attrs.get("standard_name") == "time",
    )  # fmt: skip


def _kind(coordinate: xr.DataArray) -> str:
    """``"m"`` for durations and ``"M"`` for dates."""
    if coordinate.dtype.kind in "iuf":
        return "M" if "since" in str(coordinate.attrs.get("units")).lower() else "m"
    first = coordinate.values.flat[0] if coordinate.dtype.kind == "O" and coordinate.size else None
    return "m" if coordinate.dtype.kind == "m" or isinstance(first, (datetime.timedelta, np.timedelta64)) else "M"


def _role(dim: Hashable, standard_name: object, kind: str | None) -> str | None:
    """``"lead"`` or ``"reference"``, as a dimension's standard name says, or else its own; None where they do not."""
    role = {"forecast_period": "lead", "forecast_reference_time": "reference"}.get(str(standard_name))
    if standard_name is None:
        plain = re.sub(r"[\s-]", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(dim))).lower()
        is_lead = plain in LEAD or _LEADS.fullmatch(plain) is not None
        role = "lead" if is_lead else "reference" if plain in REFERENCE else None
    return None if (role, kind) in (("lead", "M"), ("reference", "m")) else role


def _valid_time(array: xr.DataArray, axes: list[_Axis]) -> bool:
    """Whether a coordinate on both dimensions bears the times that forecasts are valid at."""
    return any(set(c.dims) == {a.dim for a in axes} and is_dated(c) for c in array.coords.values() if c.ndim == 2)
