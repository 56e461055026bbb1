"""What runoff and parameters are made of, made in code: rain, potential evaporation, and what maps say of the reaches.

For models of runoff that stand in front of the river, and for models that learn parameters from attributes. The hydrology is
plausible, not observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import DTypeLike, NDArray

from xroute.datasets.rivers import number_generator
from xroute.datasets.storms import Storm, make_storms, plane, rain_of, span_of, steps_of, variable_of
from xroute.exceptions import ParameterError
from xroute.network import Network
from xroute.network_files import as_network
from xroute.units import to_si

__all__ = ["attributes", "forcing"]

Float = NDArray[np.float64]

DAY = 24.0  # h
YEAR = 365.25  # days
COLDEST = 15.0  # day of the year, north of the equator
AT_EQUATOR, LESS_PER_DEGREE, LEAST = 4.0, 0.033, 0.5  # mm d-1: mean potential evaporation of a year by latitude
SEASONS_FROM = 55.0  # degrees: beyond, winters have a tenth of the mean
WEATHER = 0.25  # how much a day's potential evaporation departs from its season's, as a standard deviation of the logarithm

CONCAVITY = 0.4  # of slopes along a river (Flint, 1974)


def forcing(
    network: xr.Dataset | Network,
    steps: int = 365,
    dt: str | np.timedelta64 | pd.Timedelta = "1D",
    *,
    start: str = "2000-01-01",
    seed: int = 0,
    storms: Sequence[Storm] | None = None,
    dtype: DTypeLike = np.float32,
) -> xr.Dataset:
    """Rain and potential evaporation over a network's country: what a model of runoff is driven with.

    Rain is that of the storms of `storm_runoff` with the same seed. Potential evaporation has seasons by latitude, days and
    nights, and sunny and cloudy days.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees].
    steps, dt, start
        Number of steps, their length and the start of the first. A label stands at the start of its step, and a value
        is the mean over it.
    seed
        Seed of the storms and of the cloudy days.
    storms
        The storms themselves, instead of random ones; places in km about the middle of the network's lon and lat.
    dtype
        Floating type of the result.

    Returns
    -------
    xarray.Dataset
        ``precipitation`` and ``potential_evaporation`` [mm h-1] on ``time`` and ``reach``.

    Raises
    ------
    ParameterError
        If the network lacks ``lon`` or ``lat``, or an argument is out of range.

    Examples
    --------
    >>> from xroute.datasets import forcing, scheidegger
    >>> weather = forcing(scheidegger(6, 5), steps=365)
    >>> dict(weather.sizes), weather.precipitation.attrs["units"]
    ({'time': 365, 'reach': 30}, 'mm h-1')
    """
    dataset = network if isinstance(network, xr.Dataset) else as_network(network).dataset
    times, step = steps_of(steps, dt, start)
    hours = step / pd.Timedelta("1h")
    rng = number_generator(seed)
    kind = np.dtype(dtype)
    if kind.kind != "f":
        raise ParameterError(f"dtype={kind} is not a floating type")
    x, y = plane(dataset)
    its_storms = make_storms(rng, x, y, span_of(x, y), steps * hours) if storms is None else list(storms)
    rain = np.zeros((steps, x.size), kind)
    for t in range(steps):
        near = [storm for storm in its_storms if storm.start < (t + 1) * hours and t * hours < storm.start + storm.duration]
        found = rain_of(x, y, near, t * hours, hours) if near else None
        if found is not None:
            rain[t] = found
    evaporation = _potential_evaporation(rng, dataset, times, hours).astype(kind)
    about = {"units": "mm h-1", "cell_methods": "time: mean"}
    dims = ("time", "reach")
    return xr.Dataset(
        {
            "precipitation": (dims, rain, {"long_name": "precipitation", "standard_name": "lwe_precipitation_rate"} | about),
            "potential_evaporation": (dims, evaporation, {"long_name": "potential evaporation"} | about),
        },
        {"time": ("time", times, {"standard_name": "time"}), "reach": dataset["reach"].variable},
        {"title": f"Weather made by xroute, seed {seed}"},
    )


def _potential_evaporation(rng: np.random.Generator, dataset: xr.Dataset, times: pd.DatetimeIndex, hours: float) -> Float:
    """Means over the steps [mm h-1], time x reach: what has evaporated by the end of a step less what had by its start."""
    lat = dataset["lat"].to_numpy().astype(float)
    lon = dataset["lon"].to_numpy().astype(float)
    mean = np.maximum(LEAST, AT_EQUATOR - LESS_PER_DEGREE * np.abs(lat))  # mm d-1
    swing = mean * 0.9 * np.clip(lat / SEASONS_FROM, -1.0, 1.0)
    if not len(times) or not lat.size:
        return np.zeros((len(times), lat.size))
    noon = 0.5 * (lon.min() + lon.max()) / 15.0  # hours by which the sun is ahead of UTC
    first = times[0].normalize() - pd.Timedelta("1D")
    edge = (times[0] - first) / pd.Timedelta("1h") + noon + hours * np.arange(len(times) + 1)  # hours since the first day
    n_days = int(edge[-1] // DAY) + 2
    sunny = np.exp(rng.normal(-0.5 * WEATHER**2, WEATHER, n_days))
    date = first.day_of_year + np.arange(n_days)
    season = -np.cos(2.0 * np.pi * (date - COLDEST) / YEAR)
    total_mean, total_swing = (_by(edge, day) for day in (sunny, sunny * season))
    return (np.diff(total_mean)[:, None] * mean + np.diff(total_swing)[:, None] * swing) / hours


def _by(edge: Float, day: Float) -> Float:
    """What days have given by some hours since the first, of which each gives its own from 6 to 18, as a half sine."""
    whole, hour = np.divmod(edge, DAY)
    before = np.concatenate([[0.0], np.cumsum(day)])[whole.astype(int)]
    return before + day[whole.astype(int)] * 0.5 * (1.0 - np.cos(np.pi * np.clip((hour - 6.0) / 12.0, 0.0, 1.0)))


def attributes(network: xr.Dataset | Network, seed: int = 0) -> xr.Dataset:
    """What maps say of reaches, to learn parameters from: area upstream, slope, width, and the share of forest.

    Slopes decline downstream as a power of the area (Flint, 1974), widths grow with the root of it (Leopold and Maddock, 1953);
    both scatter by a quarter. Forests stand together.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees] and ``area``.
    seed
        Seed of the scatter and of the forests.

    Returns
    -------
    xarray.Dataset
        On ``reach``: ``uparea`` [km2], ``slope`` [1], ``width`` [m] and ``forest`` [1]; `Network.assign` takes it.

    Raises
    ------
    ParameterError
        If the network lacks ``lon``, ``lat`` or ``area``.

    References
    ----------
    Flint, J. J. (1974). Stream gradient as a function of order, magnitude, and discharge. Water Resources Research,
    10(5), 969-973.

    Leopold, L. B., and Maddock, T. (1953). The hydraulic geometry of stream channels and some physiographic implications.
    US Geological Survey Professional Paper 252.

    Examples
    --------
    >>> import xroute
    >>> network = xroute.Network(xroute.datasets.scheidegger(6, 5))
    >>> network = network.assign(xroute.datasets.attributes(network))
    >>> sorted(set(network.dataset.data_vars) - {"downstream", "k", "x"})
    ['area', 'forest', 'length', 'slope', 'uparea', 'width']
    """
    river = as_network(network)
    rng = number_generator(seed)
    x, y = plane(river.dataset)
    own = variable_of(river.dataset, "area", "the area upstream")
    upstream = np.array(to_si(own, "km2", "area"), dtype=float)
    up, down, fraction = river.links
    out_of: list[list[tuple[int, float]]] = [[] for _ in range(river.n_reaches)]
    for a, b, share in zip(up.tolist(), down.tolist(), fraction.tolist(), strict=True):
        out_of[a].append((b, share))
    for a in river.plan.order.tolist():
        for b, share in out_of[a]:
            upstream[b] += share * upstream[a]

    scatter = rng.normal(0.0, 0.25, (2, x.size))
    wave = rng.uniform(0.0, 2.0 * np.pi, (4, 2))
    length = span_of(x, y) * np.array([1.0, 0.6, 0.35, 0.2])
    trees = sum(
        np.sin(2.0 * np.pi * (x * np.cos(a) + y * np.sin(a)) / scale + phase)
        for (a, phase), scale in zip(wave, length, strict=True)
    )
    values: dict[str, tuple[Any, dict[str, str]]] = {
        "uparea": (upstream, {"units": "km2", "long_name": "area upstream, the reach's own included"}),
        "slope": (0.02 * upstream**-CONCAVITY * np.exp(scatter[0]), {"units": "1", "long_name": "slope of the reach"}),
        "width": (0.8 * np.sqrt(upstream) * np.exp(scatter[1]), {"units": "m", "long_name": "width of the reach"}),
        "forest": (1.0 / (1.0 + np.exp(-1.5 * np.asarray(trees))), {"units": "1", "long_name": "share of forest"}),
    }
    return xr.Dataset(
        {name: ("reach", value, attrs) for name, (value, attrs) in values.items()},
        {"reach": river.dataset["reach"].variable},
        {"title": f"Attributes made by xroute, seed {seed}"},
    )
