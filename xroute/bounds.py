"""Bounds: the intervals that stamps stand for, read and checked, made from a label, and stored without rounding."""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import TimeAxisError
from xroute.settings import LABEL
from xroute.spacing import ROUNDED
from xroute.stamps import SECONDS, decode_numbers, is_dated, offsets, show, time_coordinate, unit_seconds
from xroute.wording import argument

__all__ = ["LABELS", "add_bounds", "bounds_name", "edges", "read_bounds", "time_encoding"]

#: Where in its interval a stamp stands, as a part of it.
LABELS: Mapping[str, float] = dict(zip(LABEL, (0.0, 0.5, 1.0), strict=True))


def bounds_name(coordinate: xr.DataArray) -> str | None:
    """Name of the bounds that a coordinate declares (xarray keeps it in the encoding with ``decode_coords="all"``)."""
    declared = {**coordinate.encoding, **coordinate.attrs}
    if "climatology" in declared:
        raise TimeAxisError(
            f"{str(coordinate.name)!r} has climatological bounds ({declared['climatology']!r}): each stamp stands for many "
            "years, and not for one step after another. To route it as a series, give it the times of one: "
            f"runoff.assign_coords({coordinate.name}=...)"
        )
    name = declared.get("bounds")
    return None if name is None else str(name)


def read_bounds(
    variable: xr.Variable, name: str, coordinate: xr.DataArray, times: NDArray[Any], step: float | None
) -> tuple[str, float]:
    """What stamps mean, by their bounds: ``"start"``, ``"middle"`` or ``"end"``, and the step [s].

    Parameters
    ----------
    variable
        The bounds, (time, 2) or (2, time), in either order, decoded or not.
    name
        Its name.
    coordinate
        The stamps' coordinate, whose units those of the bounds are unless they have their own.
    times : [n]
        The stamps, decoded.
    step
        Their step [s]; None for a single one, which has that of its bounds.
    """
    low, high = _pairs(variable, name, coordinate, times)
    ticks = offsets(np.concatenate([times[:1], low, high, times]))
    n, seconds = times.size, ticks[0] * ticks[1]
    a, b, at = seconds[1 : n + 1], seconds[n + 1 : 2 * n + 1], seconds[2 * n + 1 :]
    length = b - a
    size = float(length[0]) if step is None else step

    def interval(i: Any) -> str:
        return f"{show(low[i])} to {show(high[i])} (position {int(i)})"

    empty = np.flatnonzero(length <= 0)
    if empty.size:
        raise TimeAxisError(
            f"{empty.size} intervals of {name!r} have no length, first {interval(empty[0])}: a record of a moment (the first "
            "one of a model's run, say) is no runoff of a step, and is left out with isel"
        )
    slack = ROUNDED * size
    together = np.flatnonzero((np.abs(np.diff(a)) <= slack) & (np.diff(b) > slack))
    if together.size > 0.4 * (n - 1):  # until the next restart, each day's for instance
        i = together[0]
        raise TimeAxisError(
            f"{together.size + 1} intervals of {name!r} begin together, first {interval(i)}, {interval(i + 1)}: values are "
            "accumulated since then, and are to be made amounts of each step first "
            f"({argument('reset', python='xroute.deaccumulate')})"
        )
    wrong = np.flatnonzero(np.abs(length - size) > slack)
    if wrong.size:
        raise TimeAxisError(
            f"{wrong.size} intervals of {name!r} are not of one step of {size:g} s, first {interval(wrong[0])} of "
            f"{length[wrong[0]]:g} s: a value stands for its interval, and what is between or twice is not guessed. Choose "
            "or make values of one step each"
        )
    apart = np.flatnonzero(np.abs(a[1:] - b[:-1]) > slack)
    if apart.size:
        i = apart[0]
        raise TimeAxisError(
            f"{apart.size} intervals of {name!r} do not begin where the one before ends, first {interval(i + 1)} after "
            f"{interval(i)}"
        )
    for label, part in LABELS.items():
        if (np.abs(at - (a + part * length)) <= slack).all():
            return label, size
    off = (at - a) / length
    other = next(d for d in variable.dims if d != coordinate.dims[0])
    raise TimeAxisError(
        f"stamps are at neither the starts, the middles nor the ends of their intervals in {name!r}: the first, "
        f"{show(times[0])}, is at {off[0]:.3g} of {interval(0)}" + ("" if np.ptp(off) < ROUNDED else ", and others elsewhere")
        + f". Set them to the starts, say: ds.assign_coords({coordinate.name}=ds[{name!r}].min({other!r}))"
    )


def _pairs(
    variable: xr.Variable, name: str, coordinate: xr.DataArray, times: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lower and upper bounds, decoded as the stamps are."""
    dim = coordinate.dims[0] if coordinate.ndim else None
    if dim is None or variable.ndim != 2 or dim not in variable.dims or variable.size != 2 * times.size:
        raise TimeAxisError(
            f"{name!r} is on {dict(variable.sizes)}, and bounds are two times for each of {times.size} on {str(dim)!r}"
        )
    values = variable.transpose(dim, ...).values
    if values.dtype.kind in "iuf":
        declared = {**coordinate.encoding, **coordinate.attrs}
        units = variable.attrs.get("units", variable.encoding.get("units", declared.get("units", "")))
        calendar = variable.attrs.get("calendar", variable.encoding.get("calendar", declared.get("calendar")))
        values = decode_numbers(values, units, calendar)
        if values.dtype.kind in "iuf":
            raise TimeAxisError(f"{name!r} are numbers, of which no units say what they count: decode it as the stamps are")
    if pd.isna(values).any():
        raise TimeAxisError(f"{name!r} has {int(pd.isna(values).sum())} missing times")
    kinds = {times.dtype.kind, values.dtype.kind}
    same = times.dtype.kind != "O" or {v.calendar for v in (times[0], *values.flat)} == {times[0].calendar}
    if len(kinds) > 1 or not same:
        raise TimeAxisError(
            f"{name!r} and {str(coordinate.name)!r} are not of one kind: {values.dtype} and {times.dtype}, or two calendars. "
            "Decode both alike (xarray.decode_cf)"
        )
    order = values[:, 0] <= values[:, 1]
    return np.where(order, values[:, 0], values[:, 1]), np.where(order, values[:, 1], values[:, 0])


def edges(times: NDArray[Any], step: float, label: str) -> NDArray[Any]:
    """Bounds [n, 2] of regular stamps, each interval beginning where the one before ends.

    Numbers take ``step`` in their own units.
    """
    before: Any
    half: Any
    if times.dtype.kind in "mM":
        unit = np.datetime_data(times.dtype)[0]
        whole = abs(step / 2 * 1e6 - round(step / 2 * 1e6)) < 1e-9
        times = times.astype(f"{times.dtype.kind}8[{'us' if unit != 'ns' and whole else 'ns'}]")
        before = after = np.timedelta64(round(step * 1e9), "ns").astype(f"timedelta64[{np.datetime_data(times.dtype)[0]}]")
        half = before // 2
    else:
        before = after = datetime.timedelta(seconds=step) if times.dtype.kind == "O" else step
        half = before / 2
    apart = times[1:] - times[:-1]
    between = times[:-1] + (apart // 2 if times.dtype.kind in "mM" else apart / 2) if label == "middle" else times[1:]
    if label == "start":
        low, high = times, np.concatenate([between, times[-1:] + after])
    elif label == "end":
        low, high = np.concatenate([times[:1] - before, times[:-1]]), times
    else:
        low = np.concatenate([times[:1] - half, between])
        high = np.concatenate([between, times[-1:] + half])
    return np.stack([low, high], axis=1)


def add_bounds(dataset: xr.Dataset, dim: Hashable, step: float | None, label: str | None, name: str) -> xr.Dataset:
    """Dataset with the bounds that follow from a label; without any where that is not known, or nothing is dated.

    A coordinate names no bounds that are not there.
    """
    coordinate = time_coordinate(dataset[next(n for n, v in dataset.data_vars.items() if dim in v.dims)], dim)
    if coordinate is None:
        return dataset
    dated = coordinate.dtype.kind in "iufmM" or (coordinate.dtype.kind == "O" and hasattr(coordinate.values.flat[0], "calendar"))
    unit = unit_seconds((str(coordinate.attrs.get("units", "")).split() or [""])[0])
    if not (coordinate.size and dated and is_dated(coordinate)) or step is None or label is None:
        bounds = None
    elif coordinate.dtype.kind in "iuf":
        bounds = None if unit is None else edges(coordinate.values.astype(np.float64), step / unit, label)
    else:
        bounds = edges(coordinate.values, step, label)
    attrs = {n: v for n, v in coordinate.attrs.items() if n not in ("bounds", "climatology")}
    values = coordinate.values
    if bounds is not None and bounds.dtype.kind in "mM":  # one unit in memory: xarray encodes whole seconds by half ones as NaT
        values = values.astype(bounds.dtype)
    plain = xr.Variable(coordinate.dims, values, attrs if bounds is None else attrs | {"bounds": name})
    dataset = dataset.assign_coords({coordinate.name: plain})
    if bounds is not None:
        dataset[name] = ((dim, "bnds"), bounds)
    return dataset


def time_encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Encoding of coordinates with bounds: one unit for both, in which all are whole numbers."""
    encoding: dict[str, dict[str, Any]] = {}
    for name, coordinate in dataset.coords.items():
        bounds = coordinate.attrs.get("bounds")
        if bounds not in dataset.variables or coordinate.dtype.kind not in "mMO" or not coordinate.size:
            continue
        if dataset[bounds].dtype != coordinate.dtype or any(pd.isna(v.values).any() for v in (coordinate, dataset[bounds])):
            continue
        first = coordinate.values[:1]
        ticks, tick = offsets(np.concatenate([first, coordinate.values, dataset[bounds].values.ravel()]))
        start = "1970-01-01"
        if first.dtype.kind == "m":
            whole = [int(t) for t in offsets(np.concatenate([np.zeros(1, first.dtype), first]))[0]]
        else:
            text = pd.Timestamp(first[0]).isoformat(" ") if first.dtype.kind == "M" else str(first[0])
            start, _, rest = text.partition(".")
            whole = [round(float(f"0.{rest or 0}") / tick)]
        units = next(
            unit
            for unit in ("seconds", "milliseconds", "microseconds", "nanoseconds")
            if not any(np.any(np.asarray(t) % round(SECONDS[unit] / tick)) for t in (ticks, whole))
        )
        units = units if first.dtype.kind == "m" else f"{units} since {start}"
        encoding[str(name)] = {"units": units, "dtype": "int64", "_FillValue": None}
        encoding[str(bounds)] = {"_FillValue": None} if first.dtype.kind != "m" else dict(encoding[str(name)])
    return encoding
