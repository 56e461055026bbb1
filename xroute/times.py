"""Time: how long a step is, and what a stamp means.

All of it is told by labels, or asked for; a `Clock` is the answer. Which dimension the series runs along is found in
`xroute.time_dims`, what a coordinate holds is read in `xroute.stamps`, its regularity in `xroute.spacing`, CF bounds in
`xroute.bounds`.
"""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.bounds import LABELS, add_bounds, bounds_name, read_bounds
from xroute.exceptions import TimeAxisError, XRouteError, one_of, some, warn
from xroute.spacing import ROUNDED, find_step
from xroute.stamps import stamps, time_coordinate
from xroute.time_dims import REFERENCE, find_time_dim
from xroute.wording import argument, phrase

__all__ = ["Clock", "label_attrs", "read_clock", "seconds", "stamp_label", "time_step", "with_bounds"]

logger = logging.getLogger(__name__)


def seconds(dt: Any) -> float:
    """Length of a step in seconds from a number (text or not), a timedelta, or text such as ``"3h"``."""
    try:
        if isinstance(dt, str) and re.fullmatch(r"[-+.\de]+", dt.strip()):
            value = float(dt)
        elif isinstance(dt, (str, np.timedelta64, datetime.timedelta)):  # now: timedelta64 is an np.integer too
            text = re.sub(r"(?<![A-Za-z])d$", "D", dt.strip()) if isinstance(dt, str) else dt  # pandas: d is on its way out
            value = pd.Timedelta(text).total_seconds()
        elif isinstance(dt, (int, float, np.integer, np.floating)) and not isinstance(dt, bool):
            value = float(dt)
        else:
            raise TypeError(f"a {type(dt).__name__}")
    except (ValueError, TypeError) as error:
        raise TimeAxisError(
            f"dt is a number of seconds, a timedelta, or text like '3h', not {dt!r} ({error})"
        ) from error
    if not (np.isfinite(value) and value > 0):
        raise TimeAxisError(f"dt must be positive, not {dt!r}")
    return value


# ── how long ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def time_step(array: xr.DataArray, time_dim: Hashable, dt: Any = None, stated: float | None = None) -> float | None:
    """Step of the time axis [s]; None if it has fewer than two times and nothing else tells.

    Parameters
    ----------
    array
        With the axis. Its values are not read.
    time_dim
        Its dimension.
    dt
        Step as the caller gave it.
    stated
        Step [s] that the network states, which is taken where neither ``dt`` nor the axis tells.

    Raises
    ------
    TimeAxisError
        For times that are missing, disordered, double or irregular (the place is named), that follow the calendar by
        months, or that cannot be decoded; for a ``dt`` that contradicts them, and for plain numbers without ``dt``.
    """
    if dt is not None or stated is None:
        return _own_step(array, time_dim, dt)
    try:
        own = _own_step(array, time_dim)
    except TimeAxisError:  # no dates: with a step given, only what is wrong with the axis itself is still an error
        return _own_step(array, time_dim, stated)
    if own is not None and not np.isclose(own, stated, rtol=1e-9, atol=0.0):
        logger.warning(
            "the runoff's times are %g s apart, and the network's attribute 'runoff_step' says %g s: the times count",
            own, stated,
        )  # fmt: skip
    return stated if own is None else own


def _own_step(array: xr.DataArray, time_dim: Hashable, dt: Any = None) -> float | None:
    """Step [s] as the axis has it, or as it was given."""
    given = None if dt is None else seconds(dt)
    values = stamps(array, time_dim, counted=given is not None)
    if values is None:
        if given is None and array.sizes[time_dim]:
            raise TimeAxisError(
                f"{time_dim!r} has no coordinate, so the step is unknown: give {argument('dt')} (seconds, or '3h')"
            )
        return given
    if values.dtype.kind not in "mMO" and given is None and values.size:
        raise TimeAxisError(
            f"{time_dim!r} is not dates but {values.dtype}, without units such as 'hours since ...': give {argument('dt')}"
        )
    if values.size > 1:
        return find_step(values, time_dim, given)
    noted = _noted(array, "time_step")
    if given is not None and noted is not None and values.size and not np.isclose(given, noted, rtol=ROUNDED):
        raise TimeAxisError(f"dt is {given:g} s, and the bounds of the only time are {noted:g} s apart")
    return noted if given is None and values.size else given


def _noted(array: xr.DataArray, name: str) -> float | None:
    """Step [s] that was noted with the runoff when its bounds were read: ``time_step`` of a single time only."""
    noted = array.attrs.get(name)
    return float(noted) if isinstance(noted, (int, float, np.integer, np.floating)) and noted > 0 else None


# ── what a stamp means ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Clock:
    """The time of a series.

    Attributes
    ----------
    dim
        Dimension that it runs along.
    step
        Length of a step [s]; None where it is not known, and then there is nothing to route.
    label
        Whether a stamp is the ``"start"``, the ``"middle"`` or the ``"end"`` of its step; None where that is not known.
    """

    dim: Hashable
    step: float | None
    label: str | None

    def start(self, array: xr.DataArray) -> str | None:
        """When the first step of a series starts, as text; None if times are not dates.

        Leads of a forecast count from its reference time, where that is a coordinate, and from nothing where it is none.
        """
        return self._edge(array, 0, 0.0)

    def end(self, array: xr.DataArray) -> str | None:
        """When the last step of a series ends, as text; None if times are not dates."""
        return self._edge(array, -1, 1.0)

    def _edge(self, array: xr.DataArray, position: int, part: float) -> str | None:
        values = stamps(array.isel({self.dim: [position]}) if array.sizes[self.dim] else array, self.dim, counted=True)
        if (
            values is None
            or not values.size
            or values.dtype.kind not in "mMO"
            or self.label is None
            or self.step is None
        ):
            return None
        later = (part - LABELS[self.label]) * self.step
        whole = self.step >= 60 and self.step % 1 == 0  # then a part of a second is rounding
        if values.dtype.kind == "O":
            edge = values[0] + datetime.timedelta(seconds=later)
            micro = edge.microsecond
            edge += datetime.timedelta(microseconds=((micro >= 500_000) * 1_000_000 - micro) if whole else 0)
            return str(edge.isoformat())
        kind: Any = pd.Timestamp if values.dtype.kind == "M" else pd.Timedelta
        edge = kind(values[0]) + pd.Timedelta(later, "s")
        reference = _reference(array, self.dim) if values.dtype.kind == "m" else None
        edge = edge if reference is None else reference + edge
        return str((edge.round("s") if whole else edge).isoformat())

    def dataset(self, array: xr.DataArray) -> xr.Dataset:
        """A series that has a name, and under theirs the bounds that its coordinate of time declares, if it does."""
        found, coordinate = array.to_dataset(), time_coordinate(array, self.dim)
        bounds = None if coordinate is None else bounds_name(coordinate)
        return found if bounds is None else add_bounds(found, self.dim, self.step, self.label, bounds)

    def steps_until(self, array: xr.DataArray, moment: Any) -> int:
        """Steps of a series until a moment at which one of them ends.

        Parameters
        ----------
        array
            The series.
        moment
            A date, or a duration such as ``"24h"``: from the start of the forecast where times are leads, and else from the
            start of the first step.

        Raises
        ------
        TimeAxisError
            If no step ends there.
        """
        begin, n = self.start(array), array.sizes[self.dim]
        if begin is None or self.step is None:
            raise TimeAxisError(
                f"{str(self.dim)!r} has no dates, or it is not known what they are of their steps: {moment!r} cannot be found"
            )
        length = _duration(moment)
        values = stamps(array.isel({self.dim: [0]}), self.dim, counted=True)
        assert values is not None and self.label is not None
        if length is None:
            after = _seconds_between(begin, moment, values[0])
        else:
            lead = (
                pd.Timedelta(values[0]).total_seconds() - LABELS[self.label] * self.step
                if values.dtype.kind == "m"
                else 0.0
            )
            after = length - lead
        steps = after / self.step
        if abs(steps - round(steps)) > 1e-6 * max(1.0, steps) or not 1 <= round(steps) <= n:
            raise TimeAxisError(
                f"no step ends at {moment}: steps of {self.step:g} s begin at {begin}, and the last ends at {self.end(array)}"
            )
        return round(steps)


def _reference(array: xr.DataArray, dim: Hashable) -> pd.Timestamp | None:
    """When a forecast started, of a coordinate with one date that says so, or is called time beside leads; else None."""
    for name, start in array.coords.items():
        says = name in REFERENCE or start.attrs.get("standard_name") == "forecast_reference_time" or name == "time"
        if says and name != dim and start.size == 1 and start.dtype.kind == "M":
            found = pd.Timestamp(start.values.ravel()[0])
            return None if found is pd.NaT else found
    return None


def _duration(moment: Any) -> float | None:
    """Seconds of a duration; None for what is none."""
    if isinstance(moment, str) and not re.fullmatch(r"\s*[\d.]+\s*[A-Za-z]+\s*", moment):
        return None
    if not isinstance(moment, (str, np.timedelta64, datetime.timedelta)):
        return None
    try:
        return seconds(moment)
    except TimeAxisError:  # of no length, or in units that are none: who calls says what is wanted
        return None


def _seconds_between(begin: str, moment: Any, like: Any) -> float:
    """Seconds from a date, as `Clock.start` has it, to another, which may be text; in the calendar of a date of the series."""

    def date(value: Any) -> Any:
        if hasattr(like, "calendar") and isinstance(value, str):
            parts = [int(part) for part in re.findall(r"\d+", value)][:6]
            names = ("year", "month", "day", "hour", "minute", "second")
            return like.replace(
                **{"hour": 0, "minute": 0, "second": 0, "microsecond": 0, **dict(zip(names, parts, strict=False))}
            )
        return value if hasattr(like, "calendar") else pd.Timestamp(value)

    try:
        return float((date(moment) - date(begin)).total_seconds())
    except (TypeError, ValueError, AttributeError) as error:
        raise TimeAxisError(
            f"{moment!r} is neither a date nor a duration such as '24h' that can be found in a series from {begin} on"
        ) from error


def read_clock(
    array: xr.DataArray,
    time_dim: Hashable | None = None,
    dt: Any = None,
    label: str | None = None,
    stated: float | None = None,
) -> Clock:
    """Which dimension is the time, how long a step is, and what a stamp means.

    Parameters
    ----------
    array
        The series. Its values are not read.
    time_dim, dt, label
        As the caller gave them.
    stated
        Step [s] that the network states: see `time_step`.

    Notes
    -----
    A label that is given counts most, then that of the bounds (see `with_bounds`), then what the reader of the files noted
    in ``attrs["time_label"]``; failing all, stamps are starts.
    """
    dim = find_time_dim(array, time_dim)
    step = time_step(array, dim, dt, stated)
    return Clock(dim, step, stamp_label(array, dim, step, label))


def stamp_label(array: xr.DataArray, dim: Hashable, step: float | None, label: str | None = None) -> str | None:
    """What a stamp means, where the dimension and its step [s] are known; None where nothing tells (see `read_clock`)."""
    if label is not None:
        one_of("label", label, tuple(LABELS), TimeAxisError)
    coordinate = time_coordinate(array, dim)
    declared = None if coordinate is None else bounds_name(coordinate)
    noted, of = array.attrs.get("time_label"), _noted(array, "time_label_step")
    if noted is not None:
        one_of("attrs['time_label']", noted, tuple(LABELS), TimeAxisError)
        if of is not None and step is not None and not np.isclose(of, step, rtol=ROUNDED):
            if label is None:
                warn(
                    f"attrs['time_label'] is {noted!r} of steps of {of:g} s, and steps are {step:g} s now, so that what a stamp "
                    f"means is not known and is not written. Give {argument('label')} ('start', 'end' or 'middle')"
                )
            return label
        if label is not None and of is not None and label != noted:
            raise TimeAxisError(f"label is {label!r}, and by its bounds a stamp is the {noted!r} of its step")
        return label or str(noted)
    if label is None and declared is not None:
        warn(
            f"{str(dim)!r} names bounds ({declared!r}) that a DataArray does not hold, so that what a stamp means is not known, "
            f"and no bounds are written. Give {argument('label')} ('start', 'end' or 'middle')"
            + phrase("with_bounds", ", or take the runoff from its Dataset with xroute.with_bounds(ds, name)")
        )
        return None
    return label or "start"


def with_bounds(dataset: xr.Dataset, name: Hashable, time_dim: Hashable | None = None) -> xr.DataArray:
    """Take runoff out of a Dataset, with what the CF bounds of its times say of them.

    A DataArray does not hold bounds (they have a dimension of their own), so what they say is noted in its attributes:
    ``time_label``, which of ``"start"``, ``"middle"`` and ``"end"`` of its step a stamp is; ``time_label_step`` [s], the
    step that this was said of (of a mean over days it need not hold); and of a single time ``time_step`` [s].

    Parameters
    ----------
    dataset
        With the runoff, decoded or not.
    name
        Its name.
    time_dim
        Its time dimension, where that cannot be told.

    Returns
    -------
    xarray.DataArray
        The variable, on the same dimensions and in the same units, not read. Without bounds in the Dataset, or with times
        that cannot be read, as it is: routing says what is wrong with them.

    Raises
    ------
    TimeAxisError
        For bounds that are not those of a series: intervals that overlap, or leave gaps, or are of no length; stamps at
        neither end nor the middle of theirs; climatological ones.
    XRouteError
        There is no such variable.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> end = pd.date_range("2000-01-01 01:00", periods=2, freq="h")
    >>> bounds = np.stack([end - pd.Timedelta("1h"), end], axis=1)
    >>> ds = xr.Dataset({"runoff": ("time", [1.0, 2.0]), "time_bnds": (("time", "nv"), bounds)})
    >>> ds = ds.assign_coords(time=("time", end, {"bounds": "time_bnds"}))
    >>> with_bounds(ds, "runoff").attrs["time_label"]
    'end'
    """
    if name not in dataset.variables:
        raise XRouteError(f"there is no variable {name!r}; there are {some(dataset.data_vars)}")
    array = dataset[name]
    try:
        dim = find_time_dim(array, time_dim)
        coordinate = time_coordinate(array, dim)
    except TimeAxisError:
        return array
    if coordinate is None:
        return array
    bounds = bounds_name(coordinate)
    if bounds is None:  # undeclared, but under the name that everybody gives them
        usual = (f"{coordinate.name}_{suffix}" for suffix in ("bnds", "bounds", "bnd", "bound"))
        fits = {2: {dim, *(d for d, size in dataset.sizes.items() if size == 2)}}
        bounds = next(
            (n for n in usual if n in dataset.variables and dataset[n].ndim == 2 and dim in dataset[n].dims
             and set(dataset[n].dims) <= fits[2]), None,
        )  # fmt: skip
    if bounds not in dataset.variables or not array.sizes[dim]:
        return array
    try:
        times = stamps(array, dim)
        step = time_step(array, dim) if array.sizes[dim] > 1 else None
    except TimeAxisError:
        return array
    assert times is not None and bounds is not None
    if times.dtype.kind not in "mMO":
        return array
    label, size = read_bounds(dataset.variables[bounds], bounds, coordinate, times, step)
    return array.assign_attrs(label_attrs(label, size, array.sizes[dim]))


def label_attrs(label: str, step: float, n_steps: int) -> dict[str, Any]:
    """Attributes that note what a stamp means."""
    attrs: dict[str, Any] = {"time_label": label, "time_label_step": step}
    return attrs | ({"time_step": step} if n_steps == 1 else {})
