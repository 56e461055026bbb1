"""Weather made in code: storms that cross a river's country, and the runoff that they leave behind.

The hydrology is plausible, not observed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xroute.datasets.rivers import KM_PER_DEGREE, number_generator, whole_number
from xroute.exceptions import ParameterError, TimeAxisError
from xroute.network import Network
from xroute.network_files import as_network
from xroute.times import seconds
from xroute.units import DISCHARGE_UNITS, flux_scale, to_si

__all__ = ["Storm", "make_storms", "plane", "rain_of", "span_of", "steps_of", "storm_runoff", "variable_of"]

Float = NDArray[np.float64]

# How rain becomes runoff: part runs off within the day, part seeps for weeks, the rest evaporates.
QUICK_SHARE, QUICK_HOURS = 0.35, 12.0
SLOW_SHARE, SLOW_HOURS = 0.15, 240.0
BASE_RUNOFF = 0.02  # mm h-1 at the start
STORM_INTERVAL = 72.0  # h, the mean
REACH_BLOCK, TIME_BLOCK = 8192, 128


@dataclass(frozen=True)
class Storm:
    """A round storm that crosses the country at constant speed, and grows and dies as a squared cosine.

    Attributes
    ----------
    start, duration
        When it begins and how long it lives, in hours.
    x, y
        Its centre at mid-life, in units of km.
    speed_x, speed_y
        Speed of the centre, in units of km h-1.
    radius
        Where rain ends, in units of km from the centre.
    peak
        Rain at the centre at mid-life [mm h-1].

    Examples
    --------
    >>> from xroute.datasets import Storm, scheidegger, storm_runoff
    >>> storm = Storm(start=2, duration=6, x=10, y=10, speed_x=30, speed_y=0, radius=40, peak=12)
    >>> runoff = storm_runoff(scheidegger(8, 8), steps=24, storms=[storm])
    >>> bool(runoff.max() > 10 * runoff[0].max())
    True
    """

    start: float  # h
    duration: float  # h
    x: float  # km, of the centre at mid-life
    y: float
    speed_x: float  # km h-1
    speed_y: float
    radius: float  # km, where rain ends
    peak: float  # mm h-1, at the centre at mid-life

    def at(self, hour: float) -> tuple[float, float, float]:
        """Where the storm is, and how hard it rains there.

        Parameters
        ----------
        hour
            Time inside the storm's life, in hours.

        Returns
        -------
        x, y, rain : float
            Centre [km], and rain there [mm h-1].

        Examples
        --------
        >>> from xroute.datasets import Storm
        >>> Storm(start=2, duration=6, x=10, y=10, speed_x=30, speed_y=0, radius=40, peak=12).at(5)
        (10.0, 10.0, 12.0)
        """
        since = hour - self.start - 0.5 * self.duration
        rain = self.peak * float(np.cos(np.pi * since / self.duration)) ** 2
        return self.x + self.speed_x * since, self.y + self.speed_y * since, rain


def storm_runoff(
    network: xr.Dataset | Network,
    steps: int = 240,
    dt: str | np.timedelta64 | pd.Timedelta = "1h",
    *,
    start: str = "2000-01-01",
    seed: int = 0,
    members: int | None = None,
    storms: Sequence[Storm] | None = None,
    dtype: DTypeLike = np.float32,
    units: str = "m3 s-1",
    dims: Sequence[str] | None = None,
) -> xr.DataArray:
    """Runoff of storms that cross a network's country, with a quick and a slow recession.

    Storms come at random, about one in three days, a fifth to three fifths of the domain in radius. Of the rain 35%
    runs off through a store of 12 hours and 15% through one of 10 days; the rest evaporates.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees] and ``area``.
    steps, dt, start
        Number of steps, their length and the start of the first. A label stands at the start of its step, and a value
        is the mean over it.
    seed
        Seed of the storms.
    members
        Number of ensemble members: the same storms, displaced and scaled at random (member 0 is as it is without
        members). None for no such dimension.
    storms
        The storms themselves, instead of random ones; places in km about the middle of the network's lon and lat.
    dtype
        Floating type of the result.
    units
        Of any kind that routing takes: ``"m3 s-1"``, ``"mm h-1"``, ``"kg m-2 s-1"``, ``"mm"`` (per step), ...
    dims
        Order of the dimensions; by default ``("member",) "time", "reach"``.

    Returns
    -------
    xarray.DataArray
        Runoff (time, reach), or (member, time, reach), in ``units``. Making it takes a few MB beside the result.

    Raises
    ------
    ParameterError
        If the network lacks ``lon``, ``lat`` or ``area``, or an argument is out of range.
    UnitsError
        If units are of another kind.

    Examples
    --------
    >>> from xroute.datasets import scheidegger, storm_runoff
    >>> runoff = storm_runoff(scheidegger(20, 30), steps=48, members=3, dims=("reach", "member", "time"))
    >>> runoff.shape, str(runoff.dtype), runoff.attrs["units"]
    ((600, 3, 48), 'float32', 'm3 s-1')
    """
    dataset = network if isinstance(network, xr.Dataset) else as_network(network).dataset
    times, step = steps_of(steps, dt, start)
    hours = step / pd.Timedelta("1h")
    kind = np.dtype(dtype)
    rng = number_generator(seed)
    if members is not None and members < 1:
        raise ParameterError(f"members={members} must be positive, or None for no ensemble")
    if kind.kind != "f":
        raise ParameterError(f"dtype={kind} is not a floating type")
    own = ("time", "reach") if members is None else ("member", "time", "reach")
    order = tuple(own if dims is None else dims)
    if sorted(order) != sorted(own):
        raise ParameterError(f"dims={order} must be {own} in some order")

    x, y = plane(dataset)
    scale = _scale(dataset, units, step / pd.Timedelta("1s"))
    span = span_of(x, y)
    first = make_storms(rng, x, y, span, steps * hours) if storms is None else list(storms)
    ensemble = [first] + [_perturb(rng, first, span) for _ in range(1, members or 1)]

    sizes = {"member": len(ensemble), "time": steps, "reach": x.size}
    values = np.empty([sizes[d] for d in order], kind)
    view = values.transpose([order.index(d) for d in own])
    for one, its_storms in zip(view if members else [view], ensemble, strict=True):
        _fill(one, x, y, scale, its_storms, hours)

    coordinates: dict[str, Any] = {
        "time": ("time", times, {"standard_name": "time"}),
        "reach": dataset["reach"].variable,
    }
    if members is not None:
        coordinates["member"] = ("member", np.arange(members), {"standard_name": "realization"})
    attrs = {"long_name": "runoff into the reach", "units": units, "cell_methods": "time: mean"}
    return xr.DataArray(values, coordinates, order, "runoff", attrs)


def steps_of(steps: int, dt: Any, start: str) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """Times at which steps start, and how long a step is."""
    try:
        step = pd.Timedelta(seconds(dt), "s")
    except TimeAxisError as error:
        raise ParameterError(f"dt={dt} is no step: {error}") from error
    whole_number("steps", steps)
    try:
        times = pd.date_range(start, periods=max(0, steps), freq=step)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise ParameterError(f"{steps:,} steps of {dt} from {start!r} are no times: {error}") from error
    if steps < 0:
        raise ParameterError(f"steps={steps} must not be negative")
    return times, step


def span_of(x: Float, y: Float) -> float:
    """How far a country reaches [km]; what is smaller than a storm has room for one."""
    return max(float(np.ptp(x)), float(np.ptp(y)), 50.0) if x.size else 50.0


def variable_of(dataset: xr.Dataset, name: str, purpose: str) -> xr.DataArray:
    """Variable of a network that something needs."""
    if name not in dataset:
        raise ParameterError(f"the network has no variable {name!r}, which {purpose} needs")
    return dataset[name]


def plane(dataset: xr.Dataset) -> tuple[Float, Float]:
    """Place of each reach in a plane about the middle of the network [km]."""
    lon = variable_of(dataset, "lon", "a storm's place").to_numpy().astype(float)
    lat = variable_of(dataset, "lat", "a storm's place").to_numpy().astype(float)
    if not lon.size:
        return lon, lat
    middle_lon, middle_lat = 0.5 * (lon.min() + lon.max()), 0.5 * (lat.min() + lat.max())
    return (lon - middle_lon) * KM_PER_DEGREE * np.cos(np.radians(middle_lat)), (lat - middle_lat) * KM_PER_DEGREE


def _scale(dataset: xr.Dataset, units: str, seconds: float) -> Float:
    """What 1 mm h-1 on each reach's own catchment is in ``units``."""
    area = variable_of(dataset, "area", "runoff")
    of_depth, _ = flux_scale("mm h-1", seconds, area)
    of_units, _ = flux_scale(units, seconds, area)
    if of_units is None:  # a volume flux, which routing takes as it is
        of_units = float(to_si(xr.DataArray(1.0, attrs={"units": units}), DISCHARGE_UNITS, "runoff"))
    return np.broadcast_to(np.asarray(of_depth) / of_units, (dataset.sizes["reach"],))


def make_storms(rng: np.random.Generator, x: Float, y: Float, span: float, hours: float) -> list[Storm]:
    """Storms that come at random over a country."""
    storms = []
    start = rng.uniform(0.0, 12.0)
    while start < hours and x.size:
        duration = rng.uniform(12.0, 36.0)
        heading = np.radians(rng.normal(15.0, 25.0))  # most come from the west
        speed = rng.uniform(0.3, 0.9) * span / duration
        storms.append(
            Storm(
                start=start,
                duration=duration,
                x=rng.uniform(x.min(), x.max()),
                y=rng.uniform(y.min(), y.max()),
                speed_x=speed * np.cos(heading),
                speed_y=speed * np.sin(heading),
                radius=rng.uniform(0.2, 0.6) * span,
                peak=rng.gamma(3.0, 2.0) + 1.0,
            )
        )
        start += rng.exponential(STORM_INTERVAL)
    return storms


def _perturb(rng: np.random.Generator, storms: list[Storm], span: float) -> list[Storm]:
    return [
        replace(
            storm,
            start=storm.start + rng.normal(0.0, 2.0),
            x=storm.x + rng.normal(0.0, 0.08 * span),
            y=storm.y + rng.normal(0.0, 0.08 * span),
            peak=storm.peak * rng.lognormal(0.0, 0.3),
        )
        for storm in storms
    ]


def _fill(values: NDArray[Any], x: Float, y: Float, scale: Float, storms: list[Storm], hours: float) -> None:
    """Runoff into ``values`` [time, reach], any strides, in blocks that stay in the processor's cache."""
    work = np.float64 if values.dtype.itemsize > 4 else np.float32
    for r in range(0, x.size, REACH_BLOCK):
        block = slice(r, r + REACH_BLOCK)
        factor = scale[block].astype(work)
        for t, depth in _recession(x[block].astype(work), y[block].astype(work), storms, len(values), hours):
            values[t : t + len(depth), block] = np.multiply(depth, factor, out=depth)


def _recession(
    x: NDArray[Any], y: NDArray[Any], storms: list[Storm], steps: int, hours: float
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Runoff [mm h-1] of some reaches in blocks of time: (first step, values [time, reach])."""
    real = x.dtype.type
    near = [storm for storm in storms if _may_touch(storm, x, y)]
    keep_quick, keep_slow = np.exp(-hours / QUICK_HOURS), np.exp(-hours / SLOW_HOURS)
    quick, slow = np.zeros_like(x), np.full_like(x, BASE_RUNOFF)
    for t0 in range(0, steps, TIME_BLOCK):
        values = np.empty((min(TIME_BLOCK, steps - t0), x.size), x.dtype)
        for t, out in enumerate(values, t0):
            quick *= real(keep_quick)
            slow *= real(keep_slow)
            rain = rain_of(x, y, near, t * hours, hours)
            if rain is not None:
                quick += rain * real(QUICK_SHARE * (1.0 - keep_quick))
                slow += rain * real(SLOW_SHARE * (1.0 - keep_slow))
            np.add(quick, slow, out=out)
        yield t0, values


def _may_touch(storm: Storm, x: NDArray[Any], y: NDArray[Any]) -> bool:
    margin_x = storm.radius + abs(storm.speed_x) * 0.5 * storm.duration
    margin_y = storm.radius + abs(storm.speed_y) * 0.5 * storm.duration
    inside_x = x.min() - margin_x < storm.x < x.max() + margin_x
    return bool(inside_x and y.min() - margin_y < storm.y < y.max() + margin_y)


def rain_of(x: NDArray[Any], y: NDArray[Any], storms: list[Storm], start: float, hours: float) -> NDArray[Any] | None:
    """Mean rain [mm h-1] over a step, or None where it is dry. Long steps are sampled every six hours."""
    real = x.dtype.type
    rain = None
    samples = max(1, int(np.ceil(hours / 6.0)))
    for i in range(samples):
        hour = start + (i + 0.5) * hours / samples
        for storm in storms:
            if not storm.start < hour < storm.start + storm.duration:
                continue
            centre_x, centre_y, peak = storm.at(hour)
            shape = np.square((x - real(centre_x)) * real(1.0 / storm.radius))
            shape += np.square((y - real(centre_y)) * real(1.0 / storm.radius))
            np.subtract(real(1.0), shape, out=shape)
            np.maximum(shape, real(0.0), out=shape)
            np.square(shape, out=shape)
            shape *= real(peak / samples)
            rain = shape if rain is None else np.add(rain, shape, out=rain)
    return rain
