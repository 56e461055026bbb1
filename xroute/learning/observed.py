"""Observations at gauges, matched with runoff and a network: which reach, which steps, in m3 s-1, with gaps as NaN.

Labels are matched first (`xroute.gauges`, `xroute.step_match`), and only what is of use is read then. Nothing is filled,
interpolated or left out without a word; what cannot be learned from is refused by name.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.engine.backends import on_host
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, XRouteError, some, warn
from xroute.gauges import GaugeRows, find_gauges
from xroute.guards import reading
from xroute.ids import positions_of
from xroute.network import Network
from xroute.recipe import stated_seconds
from xroute.series import SeriesLike, as_series, is_from_table
from xroute.settings import Extra
from xroute.stamps import show
from xroute.step_match import StepMatch, match_steps, said_of
from xroute.time_dims import find_time_dim
from xroute.times import Clock, read_clock
from xroute.units import DISCHARGE_UNITS, flux_in_si
from xroute.wording import argument, phrase

__all__ = ["WHAT", "Observations", "match_observed", "without_variance"]

Index = NDArray[np.int64]
WHAT = "observed discharge"
"""What it is called in messages."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Discharge at gauges, on a regular grid of steps, each of them of one or more steps of runoff.

    Attributes
    ----------
    values : float64 [gauge, step]
        Discharge [m3 s-1]; NaN in gaps.
    times : [step]
        Stamps of the steps, as the observations have them (datetime64, cftime, timedelta64, or numbers).
    first, every
        Step ``j`` covers the runoff's steps ``first + j * every`` to ``first + (j + 1) * every``, without the last.
    reach : int64 [gauge]
        Positions of the gauges' reaches in the network.
    reach_ids : [gauge]
        Ids of these.
    gauge : [gauge]
        Labels of the gauges, along ``dim``.
    dim, time_dim
        Names of the dimensions, as the observations have them.
    coords
        Other coordinates of the gauges: names, longitudes, ...
    notes
        What was found on the way, in words: steps outside of the runoff's, gauges left out, ...
    """

    values: NDArray[np.float64]
    times: NDArray[Any]
    first: int
    every: int
    reach: Index
    reach_ids: NDArray[Any]
    gauge: NDArray[Any]
    dim: Hashable
    time_dim: Hashable
    coords: xr.Dataset
    notes: tuple[str, ...] = ()

    @property
    def n_gauges(self) -> int:
        """Number of gauges."""
        return self.values.shape[0]

    @property
    def n_steps(self) -> int:
        """Number of steps, gaps included."""
        return self.values.shape[1]

    @property
    def n_values(self) -> int:
        """Number of values that are known."""
        return int(np.isfinite(self.values).sum())

    @property
    def stop(self) -> int:
        """Step of runoff after the last one that is covered."""
        return self.first + self.n_steps * self.every

    def runoff_steps(self, steps: slice) -> slice:
        """Steps of runoff that some steps cover."""
        begin, stop, _ = steps.indices(self.n_steps)
        return slice(self.first + begin * self.every, self.first + stop * self.every)

    def of_gauges(self, gauges: Any) -> Observations:
        """Of some gauges alone, by their positions or a mask."""
        at = np.arange(self.n_gauges)[gauges]
        own = {name: getattr(self, name)[at] for name in ("values", "reach", "reach_ids", "gauge")}
        coords = self.coords.isel({self.dim: at}) if self.dim in self.coords.dims else self.coords
        return replace(self, **own, coords=coords)

    def of_steps(self, steps: slice) -> Observations:
        """Of some steps alone, one after another."""
        begin, stop, stride = steps.indices(self.n_steps)
        if stride != 1:
            raise ParameterError(f"steps follow one another: a slice without a stride, not {steps}")
        return replace(
            self, values=self.values[:, begin:stop], times=self.times[begin:stop], first=self.first + begin * self.every
        )

    def on(self, network: Network) -> Observations:
        """With positions in another network, such as the part of this one that lies upstream of the gauges.

        Raises
        ------
        AlignmentError
            For gauges that it does not have.
        """
        reach = positions_of(self.reach_ids, network.ids)
        if (reach < 0).any():
            raise AlignmentError(f"the network lacks the reaches of gauges {some(self.gauge[reach < 0])}")
        return replace(self, reach=reach)

    def select(self, labels: slice | None, name: str) -> slice:
        """Steps that a slice of labels means, as ``.sel(time=...)`` has it.

        Parameters
        ----------
        labels
            Such as ``slice("1990", "1999")``; None for all.
        name
            Name of the argument, for messages.

        Raises
        ------
        TimeAxisError
            If there is no step in it.
        """
        if labels is None:
            return slice(0, self.n_steps)
        index = xr.DataArray(np.arange(self.n_steps), {self.time_dim: self.times}, (self.time_dim,))
        try:
            found = index.sel({self.time_dim: labels}).values
        except (KeyError, TypeError, ValueError) as error:
            raise TimeAxisError(
                f"{argument(name)} goes {_span_of(labels)}, which cannot be found among times such as {show(self.times[0])} and "
                f"{show(self.times[-1])} ({error})"
            ) from error
        if not found.size:
            raise TimeAxisError(
                f"{argument(name)} goes {_span_of(labels)}, in which there are no observations: they go from "
                f"{show(self.times[0])} to {show(self.times[-1])} where the runoff has the same times"
            )
        return slice(int(found[0]), int(found[-1]) + 1)

    def labelled(self, values: Any = None, name: str = "observed", **attrs: Any) -> xr.DataArray:
        """Values [gauge, step] with the gauges' labels and times; by default the observations themselves.

        Gauges on a dimension of their own bear the ids of their reaches as a coordinate ``reach``.
        """
        coords: dict[Hashable, Any] = {self.dim: self.gauge, self.time_dim: self.times}
        if self.dim != "reach":
            coords["reach"] = (self.dim, self.reach_ids)
        array = xr.DataArray(
            self.values if values is None else values, coords, (self.dim, self.time_dim), name,
            {"long_name": "observed discharge" if values is None else "river discharge", "units": DISCHARGE_UNITS, **attrs},
        )  # fmt: skip
        kept = {n: c.variable for n, c in self.coords.coords.items() if n not in array.coords}
        return array.assign_coords(kept)

    def thin(self) -> NDArray[np.bool_]:
        """Which gauges have fewer than two values, or all the same, so that they have no score: bool [gauge]."""
        return without_variance(self.values)


def _span_of(labels: slice) -> str:
    """A slice of labels in words."""
    begin, end = ("" if label is None else f" {word} {label}" for word, label in (("from", labels.start), ("to", labels.stop)))
    return f"{begin}{end}".strip() or "all"


def without_variance(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows [gauge, step] have fewer than two values, NaN being none, or values that are all the same."""
    if not values.shape[1]:
        return np.ones(values.shape[0], bool)
    return ~(np.fmax.reduce(values, axis=1) > np.fmin.reduce(values, axis=1))  # no matter how many of them are NaN


def match_observed(
    observed: SeriesLike, runoff: xr.DataArray, network: Network, *, clock: Clock | None = None, time_dim: Hashable | None = None,
    dt: Any = None, label: str | None = None, extra: Extra = "raise", observed_label: str | None = None,
    observed_step: Any = None, variance: bool = True,
) -> Observations:  # fmt: skip
    """Match observed discharge with runoff and a network: gauges by id, steps by label, in m3 s-1.

    Parameters
    ----------
    observed : (gauge or reach, time)
        Discharge at gauges: on ``reach`` ids, or on gauges with a coordinate ``reach``, of which several may be on one reach; NaN
        in gaps, at times in any order, of which some may be missing. Its steps are the runoff's or a multiple of them (the
        days of hourly runoff), and then its values are means. In any units of a volume flux; without units in m3 s-1, with a
        warning. A DataArray, a Dataset with one discharge, a table of pandas, or the path of a file (csv, netCDF, Zarr).
    runoff
        Runoff, of which only the labels of time are looked at.
    network
        The network.
    clock
        The runoff's clock, if it was read already.
    time_dim, dt, label
        As `xroute.route` has them, of the runoff.
    extra
        Gauges outside of the network: ``"raise"`` an error, or ``"drop"`` them, with a warning.
    observed_label, observed_step
        Whether an observed stamp is the ``"start"``, ``"middle"`` or ``"end"`` of its step, and how long that is, where neither
        CF bounds nor ``attrs["time_label"]`` nor the times themselves tell; see `xroute.step_match.match_steps`.
    variance
        Whether gauges whose values are all the same are refused, of which no efficiency can be made.

    Returns
    -------
    Observations

    Raises
    ------
    AlignmentError
        For gauges outside of the network, of which nothing says the reach, or that stand twice; and for dimensions beside
        gauges and time.
    TimeAxisError
        For no time in common, times twice, and steps that are not the runoff's or a multiple of them.
    UnitsError
        For units that are not those of a volume flux.
    XRouteError
        For values that are infinite or stand for what is missing (-999), for gauges without a value in the runoff's time, and for
        observations that are all the same.

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> daily = ds.runoff.route(network).isel(reach=[0, 5]).resample(time="1D").mean()
    >>> found = match_observed(daily, ds.runoff, xroute.Network(network))
    >>> found.every, found.n_gauges
    (24, 2)
    """
    convert = is_from_table(observed)
    array = as_series(observed, what=WHAT)
    if clock is None:
        clock = read_clock(runoff, time_dim, dt, label, stated_seconds(network.attrs, "runoff_step") if dt is None else None)
    _check_numbers(array)
    its_time = _time_dim(array, clock)
    rows = find_gauges(array, network.ids, its_time, what=WHAT, extra=extra, convert=convert)
    steps = match_steps(rows.array, its_time, runoff, clock, label=observed_label, step=observed_step, what=WHAT)
    factor, notes = _factor(array)
    notes += _notes(rows, steps)
    values = _read(rows, its_time, steps, factor)
    coords = rows.array.coords.to_dataset().drop_vars([its_time], errors="ignore")
    coords = coords.drop_vars([n for n, c in coords.variables.items() if its_time in c.dims])
    found = Observations(
        values, steps.times, steps.first, steps.every, rows.reach, rows.ids, rows.labels, rows.dim, its_time, coords, notes
    )
    return _usable(found, variance)


# ── labels ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_numbers(array: xr.DataArray) -> None:
    if array.dtype.kind not in "iuf":
        raise ParameterError(f"{WHAT} is not a number but {array.dtype}")


def _time_dim(array: xr.DataArray, clock: Clock) -> Hashable:
    """Dimension of the observations' times."""
    if clock.dim in array.dims:
        return clock.dim
    try:
        return find_time_dim(array)
    except TimeAxisError as error:
        if not any(d == "time" for d in array.dims) and "no dimension 'time'" in str(error):
            raise TimeAxisError(
                f"the {WHAT} has no dimension of time: it has {some(array.dims) or 'none'}. Give a series, with times along it"
            ) from None
        with said_of(WHAT):
            raise


def _factor(array: xr.DataArray) -> tuple[float, tuple[str, ...]]:
    """What makes m3 s-1 of the values."""
    units = array.attrs.get("units")
    if units is None or (isinstance(units, str) and not units.strip()):
        how = argument("observed_units", python='observed.attrs["units"]')
        warn(f"the {WHAT} has no units: it is taken in m3 s-1. {how} says in which it is")
        return 1.0, (f"no units, taken in {DISCHARGE_UNITS}",)
    return flux_in_si(units, WHAT), ()


def _notes(rows: GaugeRows, steps: StepMatch) -> tuple[str, ...]:
    notes = []
    if rows.dropped.size:
        notes.append(f"{rows.dropped.size} gauges outside of the network left out: {some(rows.dropped)}")
    if steps.n_outside:
        notes.append(f"{steps.n_outside} observed steps outside of the runoff's time are not used")
    return tuple(notes)


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read(rows: GaugeRows, time_dim: Hashable, steps: StepMatch, factor: float) -> NDArray[np.float64]:
    """Values [gauge, step of the grid] in m3 s-1, NaN in gaps; only what is used is read."""
    low, high = int(steps.source.min()), int(steps.source.max()) + 1
    with reading(f"the {WHAT}"):
        part = rows.array.isel({time_dim: slice(low, high)}).transpose(rows.dim, time_dim)
        data = np.asarray(on_host(part.data if part.chunks is None else part.compute().data))
    _check_values(data, rows, part, time_dim)
    data = data[:, steps.source - low]
    if steps.step.size == steps.n_steps:
        return data.astype(np.float64) if factor == 1.0 else data.astype(np.float64) * factor
    values = np.full((data.shape[0], steps.n_steps), np.nan)
    values[:, steps.step] = data
    return values if factor == 1.0 else values * factor


def _check_values(data: NDArray[Any], rows: GaugeRows, part: xr.DataArray, time_dim: Hashable) -> None:
    """Refuse values that are infinite or stand for what is missing, such as -999."""
    refused = {"infinite": np.isinf(data)} if data.dtype.kind == "f" else {}
    if (data <= max(FILLS)).any():  # looked at once, for most have none
        refused |= {f"{fill:g}, which is no discharge": data == fill for fill in FILLS}
    for what, bad in refused.items():
        if bad.any():
            keep = "abs(observed) < inf" if what == "infinite" else "observed > -99"
            at = int(np.flatnonzero(bad.any(axis=0))[0])
            first = f" at {show(part[time_dim].values[at])}" if time_dim in part.coords else f" in step {at}"
            raise XRouteError(
                f"{int(bad.sum())} values of {WHAT} are {what}, at gauges {some(rows.labels[bad.any(axis=1)])}; first{first}. "
                f"Where it is not known, it is NaN: observed.where({keep})"
            )


def _usable(found: Observations, variance: bool) -> Observations:
    """Without gauges that have no value in the runoff's time, of which it is told; all the same is refused."""
    empty = np.isnan(np.fmax.reduce(found.values, axis=1))
    if empty.all():
        raise XRouteError(
            f"the {WHAT} is NaN at all {found.n_gauges} gauges in the time of the runoff, {show(found.times[0])} to "
            f"{show(found.times[-1])}"
        )
    if empty.any():
        text = f"{int(empty.sum())} gauges have no value in the runoff's time and are left out: {some(found.gauge[empty])}"
        warn(text)
        found = replace(found.of_gauges(~empty), notes=(*found.notes, text))
    thin = found.thin()
    if variance and thin.any():
        known = np.isfinite(found.values).sum(axis=1)
        of_one = f" ({int((known[thin] < 2).sum())} of them have a single value)" if (known[thin] < 2).any() else ""
        raise XRouteError(
            f"observations do not vary at {int(thin.sum())} gauges, of which no efficiency (NSE, KGE) can be made{of_one}: "
            f"{some(found.gauge[thin])}. "
            + phrase("gauges left out", f"Leave them out, observed.drop_sel({found.dim}={found.gauge[thin][:10].tolist()!r})")
        )
    return found
