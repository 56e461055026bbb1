"""Series and states for the writers of other systems' files: in the order, the units and with the steps that a layout has.

Each function takes what xroute has, whatever its stamps mean and whichever way its dimensions stand, and gives it as it is
written, or says what has no place there. Nothing is written here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import edges
from xroute.exceptions import AlignmentError, StateError, TimeAxisError, UnitsError, some
from xroute.ids import exact_ids, positions_of, repeated
from xroute.io.layouts import compact
from xroute.io.writer import Outgoing
from xroute.labels import with_standard_dims
from xroute.network import Network
from xroute.network_files import as_network
from xroute.request import NetworkLike
from xroute.stamps import stamps
from xroute.state_form import open_state, stages_of
from xroute.time_dims import find_time_dim
from xroute.times import Clock, read_clock
from xroute.units import flux_in_si, flux_scale, require_array, runoff_units
from xroute.wording import argument

__all__ = [
    "EPOCH", "Series", "as_flux", "epoch_seconds", "is_first", "moment_of", "outflow_of", "refuse_depth", "series_of",
    "snapshot_of", "units_of",
]  # fmt: skip

EPOCH = "seconds since 1970-01-01 00:00:00 +00:00"
"""Units in which RAPID, RAPID2 and others count."""
REFORM = np.datetime64("1582-10-15")
"""Before it NumPy's dates are others than those of the calendar 'gregorian'."""
LARGE = 2**29
"""Bytes; a series of a file that is larger is written in pieces."""


# ── series ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Series(NamedTuple):
    """A series by step.

    Attributes
    ----------
    array
        (time, reach), lazy where it was, in the units that it came in.
    bounds
        Start and end of each step: dates, of NumPy or of cftime. [time, 2]
    step
        Length of a step [s].
    """

    array: xr.DataArray
    bounds: NDArray[Any]
    step: float

    @property
    def starts(self) -> NDArray[Any]:
        """Start of each step."""
        return np.asarray(self.bounds[:, 0])


def series_of(
    array: xr.DataArray, network: Network | None, system: str, *, what: str = "discharge", whole: bool = False, dt: Any = None
) -> Series:
    """A series as (time, reach), with the steps that its stamps mean.

    Parameters
    ----------
    array
        With the network's ids on ``reach`` or beside it, and dates along its time.
    network
        Whose order the result has; None for the array's own, with ids in ``reach``.
    system
        The system, for messages.
    what
        What the array is, for messages.
    whole
        Whether all reaches of the network must have a series.
    dt
        Length of a step, where the times do not tell.

    Raises
    ------
    AlignmentError
        For reaches that are missing or unknown, and for dimensions that the layout has no place for.
    TimeAxisError
        For times that are no dates or not regular, and stamps of which nobody knows what they mean.
    """
    array = require_array(array, what)
    time_dim = find_time_dim(array)
    others = [d for d in array.dims if d != time_dim and array.sizes[d] > 1]
    if len(others) > 1:
        named = [d for d in others if d != "reach"] if "reach" in others else others
        raise AlignmentError(
            f"{what} for {system} has a time and reaches, and no place for {some(named)}: choose one, "
            f"such as {named[0]}=0 with isel, and write a file of each"
        )
    clock = read_clock(array, time_dim, dt)
    array = _by_reach(array, time_dim, network, what, whole)
    array = array.transpose("time", "reach") if set(array.dims) == {"time", "reach"} else _squeezed(array)
    bounds, step = _steps(array, clock, what)
    return Series(_in_pieces(array), bounds, step)


def _by_reach(array: xr.DataArray, time_dim: Any, network: Network | None, what: str, whole: bool) -> xr.DataArray:
    if network is not None and whole:
        array = with_standard_dims(array, network, time_dim=time_dim)
    elif time_dim != "time":
        array = array.rename({time_dim: "time"})
    if "reach" not in array.coords or "reach" not in array.dims:
        raise AlignmentError(f"{what} has dimensions {array.dims} and no coordinate 'reach' along one that names its reaches")
    ids = exact_ids(array["reach"].values, f"{what} 'reach'", AlignmentError)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} reaches stand more than once in the {what}: {some(twice)}")
    if network is None:
        return array.assign_coords(reach=("reach", ids))
    row = positions_of(ids, network.ids)
    if (row < 0).any():
        raise AlignmentError(f"{int((row < 0).sum())} reaches of the {what} are not in the network: {some(ids[row < 0])}")
    order = np.argsort(row, kind="stable")
    array = array.assign_coords(reach=("reach", ids))
    return array if np.array_equal(order, np.arange(ids.size)) else array.isel(reach=order)


def _squeezed(array: xr.DataArray) -> xr.DataArray:
    alone = [d for d in array.dims if d not in ("time", "reach")]
    return array.isel(dict.fromkeys(alone, 0)).transpose("time", "reach")


def _steps(array: xr.DataArray, clock: Clock, what: str) -> tuple[NDArray[Any], float]:
    """Start and end of each step, and its length [s]."""
    times = stamps(array, "time", counted=True)
    if times is None or times.dtype.kind not in "MO":
        raise TimeAxisError(
            f"the times of the {what} are no dates, and the layout has no others: assign_coords(time=pandas.date_range(...))"
        )
    if not times.size:
        raise TimeAxisError(f"the {what} has no times: there is nothing to write")
    if clock.step is None:
        raise TimeAxisError(f"{what} has a single time, so its step cannot be told: give {argument('dt')} (seconds, or '3h')")
    if clock.label is None:
        raise TimeAxisError(
            f"what the stamps of the {what} mean is not known: set attrs['time_label'] to 'start', 'middle' or 'end'"
        )
    return edges(times, clock.step, clock.label), clock.step


def _in_pieces(array: xr.DataArray) -> xr.DataArray:
    """A series of a file on Dask, where it is too large to be read at once."""
    if array.variable._in_memory or array.chunks is not None or array.nbytes < LARGE:
        return array
    steps = max(1, LARGE // 8 * array.sizes["time"] // array.nbytes)
    return array.chunk({"time": steps, "reach": -1})


def epoch_seconds(times: NDArray[Any], what: str) -> tuple[NDArray[Any], str]:
    """Dates as whole seconds since 1970 (int32 where they fit), and the name of their calendar.

    Raises
    ------
    TimeAxisError
        If dates are no whole seconds.
    """
    if times.dtype.kind == "O":
        import cftime

        calendar = times.ravel()[0].calendar
        exact = np.asarray(cftime.date2num(times, "microseconds since 1970-01-01", calendar=calendar))
        whole = np.asarray(exact // 10**6, np.int64)
        same = whole * 10**6 == exact
    else:
        seconds = times.astype("datetime64[s]")  # nanoseconds end in 1677 and in 2262
        whole, same = seconds.astype(np.int64), seconds.astype(times.dtype) == times
        calendar = "gregorian" if (seconds >= REFORM).all() else "proleptic_gregorian"
    if not same.all():
        raise TimeAxisError(f"the times of the {what} are no whole seconds, in which the layout counts: round them first")
    return compact(whole), calendar


def moment_of(time: Any) -> NDArray[Any]:
    """A moment, as states and callers have it, as an array of one date.

    Raises
    ------
    TimeAxisError
        For what is no date.
    """
    if hasattr(time, "calendar"):
        return np.array([time], dtype=object)
    try:
        moment = pd.Timestamp(time)
    except (ValueError, TypeError) as error:
        raise TimeAxisError(f"{time!r} is no date such as '2001-01-01 06:00'") from error
    if moment is pd.NaT:
        raise TimeAxisError(f"{time!r} is no date such as '2001-01-01 06:00'")
    return np.array([moment.tz_localize(None) if moment.tzinfo is None else moment.tz_convert(None)], "datetime64[ns]")


def units_of(array: xr.DataArray, what: str) -> str:
    """Units of a series, which layouts state and nobody guesses.

    Raises
    ------
    UnitsError
        If it has none.
    """
    units = str(array.attrs.get("units") or "").strip()
    if not units:
        raise UnitsError(f'the {what} has no units, and the layout states some: set attrs["units"], such as "m3 s-1"')
    return units


def as_flux(series: Series, network: Network | None, what: str, *, per_step: bool = False) -> xr.DataArray:
    """A series in m3 s-1, or in m3 of each step, of the type that it came in.

    Raises
    ------
    UnitsError
        For a series without units, runoff as a depth where the network has no areas, and discharge as a depth.
    """
    array, units = series.array, units_of(series.array, what)
    if what == "discharge":
        refuse_depth(units, what)
    area = None
    if network is not None and "area" in network.dataset.variables:
        at = positions_of(array["reach"].values, network.ids)
        area = network.dataset["area"].isel(reach=at)
    scale, result = flux_scale(units, series.step, area)
    factor: Any = flux_in_si(result, what) if scale is None else scale
    factor = factor * series.step if per_step else factor
    if np.ndim(factor) == 0 and factor == 1.0:
        return array if array.dtype.kind == "f" else array.astype(np.float64)
    by = factor if np.ndim(factor) == 0 else xr.DataArray(factor, dims="reach")
    scaled = (array.astype(np.float64) * by).astype(array.dtype if array.dtype.kind == "f" else np.float64)
    return scaled.assign_attrs(array.attrs)


def refuse_depth(units: Any, what: str) -> None:
    """Refuse a depth as discharge: it is of all that lies upstream, and the network's areas are those of each reach alone.

    Raises
    ------
    UnitsError
        For depths, and for units that are none of runoff.
    """
    if units is not None and runoff_units(str(units)).is_depth:
        raise UnitsError(
            f"the {what} is in {str(units)!r}, a depth: it is written in m3 s-1, so multiply it by the whole area that drains to "
            'each reach, and set attrs["units"]'
        )


# ── states ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def snapshot_of(state: Any, network: NetworkLike, system: str) -> xr.DataArray:
    """Instantaneous discharge (reach) [m3 s-1] of a state, in the network's order, for systems whose states are that.

    Parameters
    ----------
    state
        A state, or the path of one; or a snapshot of discharge (reach) with its units.
    network, system
        Whose order it takes, and who will read it.

    Returns
    -------
    xarray.DataArray
        float64, with the attribute ``time`` where the state has it.

    Raises
    ------
    StateError
        For a state that holds more than discharge, has members, or is of other reaches.
    """
    river = as_network(network)
    if isinstance(state, xr.DataArray):
        flow, attrs = state, state.attrs
    else:
        opened = open_state(state)
        flow, attrs = outflow_of(opened, system), opened.attrs
    if flow.dims != ("reach",):
        raise StateError(f"a state of {system} is of one run, and this one is on {flow.dims}: choose one of its members, isel")
    ids = exact_ids(flow["reach"].values, "state reach", StateError)
    at = positions_of(river.ids, ids)
    alien = ids[positions_of(ids, river.ids) < 0]
    if (at < 0).any() or alien.size:
        which = river.ids[at < 0] if (at < 0).any() else alien
        raise StateError(f"the state is of another network: it lacks, or has beside it, {which.size} reaches: {some(which)}")
    values = flow.values[at].astype(np.float64) * flux_in_si(flow.attrs.get("units"), "the state")
    time = {"time": attrs["time"]} if "time" in attrs else {}
    return xr.DataArray(values, {"reach": river.ids}, ["reach"], "discharge", {"units": "m3 s-1", **time})


def outflow_of(state: xr.Dataset, system: str) -> xr.DataArray:
    """Outflow of a state, for systems whose states are the discharge of an instant and no more.

    Raises
    ------
    StateError
        For a state of which outflow is not all, or not discharge.
    """
    stages = stages_of(state)
    if len(stages) > 1:
        raise StateError(
            f"the state holds water that has not reached its river ({some(stages[1:])}), for which {system} has no place"
        )
    if state.attrs.get("lateral") == "outlet":
        raise StateError(
            f"the state is of a run with lateral='outlet', whose outflow is without the runoff of its own reach: {system} "
            "wants the discharge of an instant"
        )
    return state["outflow"]


def is_first(outgoing: Outgoing, network: Network, system: str, dt: Any = None) -> bool:
    """Whether the state that is written is what a run starts from, and not what it ends with, by the series beside it.

    Raises
    ------
    StateError
        If it holds at neither end of them.
    """
    array = outgoing.discharge if outgoing.runoff is None else outgoing.runoff
    time = (outgoing.state if outgoing.state is not None else xr.Dataset()).attrs.get("time")
    if array is None or time is None:
        return True
    bounds = series_of(array, network, system, dt=dt).bounds
    holds = str(time).replace(" ", "T")
    ends = [str(pd.Timestamp(b).isoformat() if bounds.dtype.kind == "M" else b.isoformat()) for b in bounds.ravel()[[0, -1]]]
    if holds not in ends:
        raise StateError(
            f"the state holds at {time}, and the series beside it runs from {ends[0]} to {ends[1]}: a state is of its start, or "
            "of its end. Drop the attribute where it is meant as the start: del state.attrs['time']"
        )
    return holds == ends[0]
