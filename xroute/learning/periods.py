"""Periods that are trained on and held out, the windows they are cut into, spin-up, and what each gauge counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some, warn
from xroute.learning.observed import Observations, without_variance
from xroute.learning.request import CalibrationRequest, periods_of
from xroute.learning.source import RunoffSource, free_memory
from xroute.memory import show_bytes
from xroute.times import seconds
from xroute.wording import argument, phrase

__all__ = ["Window", "gauge_weights_of", "periods_in", "spinup_steps", "steps_of_window", "union", "windows_of"]

SPINUP = 30 * 86400.0
"""Spin-up [s] where nobody says how long, at most: a tenth of the runoff, where that is shorter."""
BLOCKS = 8
"""Blocks of the size of a window's runoff that are in memory while it is trained on: what is kept for gradients, mostly."""


@dataclass(frozen=True)
class Window:
    """A stretch of the series: routed from step ``begin`` of runoff to ``stop``; of observations, ``steps`` count.

    ``carries`` says that it begins where the window before it ended, with the state that this one left.
    """

    begin: int
    stop: int
    steps: slice
    carries: bool = False


# ── periods and windows ───────────────────────────────────────────────────────────────────────────────────────────────────


def spinup_steps(given: Any, n_steps: int, step: float) -> int:
    """Steps of runoff that are routed before observations count."""
    if given is None:
        return int(min(SPINUP / step, n_steps // 10))
    if given == 0 or given is False:
        return 0
    return math.ceil(_span(given, "spinup") / step - 1e-9)


def _span(given: Any, name: str) -> float:
    try:
        return seconds(given)
    except ValueError:
        raise ParameterError(f'{argument(name)} is a span of time such as "30D", or seconds, not {given!r}') from None


def periods_in(
    found: Observations, request: CalibrationRequest, spinup: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Steps of observation that are trained on, and that are held out, without those that the spin-up takes."""
    test = tuple(found.select(one, "test") for one in periods_of(request.test))
    train = tuple(found.select(one, "train") for one in periods_of(request.train))
    if not train:
        train = _rest(test, found.n_steps)
        if not train:
            raise ParameterError(
                f"{argument('test')} takes all observations, and none is left to train on: give {argument('train')}"
            )
    both = mask_of(train, found.n_steps) & mask_of(test, found.n_steps)
    if both.any():
        warn(f"{int(both.sum())} steps are both trained on and tested: scores there say nothing of other times")
    return (
        tuple(_afterspinup_steps(found, p, spinup, "train") for p in train),
        tuple(_afterspinup_steps(found, p, spinup, "test") for p in test),
    )


def _afterspinup_steps(found: Observations, period: slice, spinup: int, name: str) -> slice:
    begin = max(period.start, math.ceil((spinup - found.first) / found.every))
    if begin >= period.stop or not np.isfinite(found.values[:, begin : period.stop]).any():
        why = f"after a spin-up of {spinup} steps of runoff" if begin > period.start else "which are all gaps"
        raise ParameterError(
            f"the {name} period has no observation {why}: give runoff that begins earlier, another {argument(name)}, or a "
            f"shorter "
            f"{argument('spinup')}"
        )
    return slice(begin, period.stop)


def _rest(taken: tuple[slice, ...], n: int) -> tuple[slice, ...]:
    """What is left of n steps: stretches that are not taken."""
    free = np.r_[False, ~mask_of(taken, n), False]
    edges = np.flatnonzero(np.diff(free.astype(np.int8)))
    return tuple(slice(int(a), int(b)) for a, b in edges.reshape(-1, 2))


def mask_of(periods: tuple[slice, ...], n: int) -> NDArray[np.bool_]:
    found = np.zeros(n, bool)
    for period in periods:
        found[period] = True
    return found


def union(periods: tuple[slice, ...]) -> NDArray[np.int64]:
    """Steps of several periods, each once, in order."""
    return np.unique(np.concatenate([np.arange(p.start, p.stop) for p in periods]))


def steps_of_window(
    request: CalibrationRequest,
    found: Observations,
    source: RunoffSource,
    step: float,
    train: tuple[slice, ...],
    spinup: int,
) -> int:
    """Steps of observation in a window: as the caller says, and else as many as memory allows."""
    longest = max(p.stop - p.start for p in train)
    if request.window is not None:
        n = round(_span(request.window, "window") / step / found.every)
        if n < 1:
            raise ParameterError(
                f"{argument('window')} is at least a step of observation, {step * found.every:g} s, not {request.window!r}"
            )
        return min(n, longest)
    of_step = BLOCKS * source.row.size * source.dtype.itemsize
    free = free_memory(source.device)
    most = int((free / of_step - spinup) // found.every) if math.isfinite(free) else longest
    if most < longest:
        if most < 1:
            raise ParameterError(
                f"training takes {show_bytes(of_step * (spinup + found.every))}, more than is free: give a shorter "
                f"{argument('spinup')}"
            )
        warn(
            f"the training period takes more memory than is free: it is cut into windows of {most} steps; "
            f"{argument('window')} says how long"
        )
    return min(most, longest)


def windows_of(found: Observations, train: tuple[slice, ...], spinup: int, n: int, carry: bool) -> tuple[Window, ...]:
    """Windows of about ``n`` steps of observation that the training period is cut into."""
    windows: list[Window] = []
    for period in train:
        cuts = max(1, math.ceil((period.stop - period.start) / n))
        edges = np.linspace(period.start, period.stop, cuts + 1).round().astype(int).tolist()
        for k, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            steps = slice(a, b)
            needed = found.runoff_steps(steps)
            goes_on = carry and k > 0
            windows.append(
                Window(needed.start if goes_on else max(0, needed.start - spinup), needed.stop, steps, goes_on)
            )
    counted = [w for w in windows if np.isfinite(found.values[:, w.steps]).any() or carry]
    return tuple(counted)


# ── gauges ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def gauge_weights_of(
    found: Observations, train: tuple[slice, ...], given: Any, loss: Any = None
) -> NDArray[np.float64]:
    """What each gauge counts: as the caller says, by label, or alike; 0 where it says nothing in the training period."""
    weights = np.ones(found.n_gauges) if given is None else _given_weights(found, given)
    silent = without_variance(found.values[:, union(train)])
    named = silent & (weights > 0)
    if named.any():
        warn(
            f"{int(named.sum())} gauges have fewer than two different observations in the training period (after the "
            f"spin-up, {argument('spinup')}), and do not count there: {some(found.gauge[named])}"
        )
    weights = np.where(silent, 0.0, weights)
    if loss == "log":
        weights = _with_water(found, train, weights)
    if not (weights > 0).any():
        raise ParameterError(
            f"no gauge has observations that vary in the training period, after the spin-up, and a weight: give another "
            f"{argument('train')}, a shorter {argument('spinup')}"
            + ("" if loss != "log" else f", another {argument('loss')}")
            + phrase("gauge weights", ", or gauge_weights= that are not all zero")
        )
    return weights


def _with_water(
    found: Observations, train: tuple[slice, ...], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights, 0 where the mean discharge is not positive, so that its logarithms have no measure (`xroute.losses.log`)."""
    dry = (weights > 0) & ~(np.nansum(found.values[:, union(train)], axis=1) > 0)
    if dry.any():
        warn(
            f"{int(dry.sum())} gauges have no positive mean discharge in the training period, and do not count in "
            f"{argument('loss', 'log')}: {some(found.gauge[dry])}"
        )
    return np.where(dry, 0.0, weights)


def _given_weights(found: Observations, given: Any) -> NDArray[np.float64]:
    name = "gauge_weights="
    if isinstance(given, Mapping):
        given = pd.Series(dict(given))
    if isinstance(given, xr.DataArray):
        given = given.to_series() if given.ndim == 1 and given.dims[0] in given.indexes else given.values
    if isinstance(given, pd.Series):
        at = given.index.get_indexer(pd.Index(found.gauge))
        if (at < 0).any() and found.dim != "reach":
            at = given.index.get_indexer(pd.Index(found.reach_ids))
        if (at < 0).any():
            raise ParameterError(f"{name} lacks gauges: {some(found.gauge[at < 0])}")
        given = given.to_numpy()[at]
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} are numbers, one a gauge or by label, not {given!r}") from None
    if values.shape not in ((), (found.n_gauges,)):
        raise ParameterError(
            f"{name} has the shape {values.shape}, and there are {found.n_gauges} gauges: one a gauge, or by label"
        )
    values = np.broadcast_to(values, (found.n_gauges,)).copy()
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ParameterError(f"{name} must be numbers from 0 on; they are not at gauges {some(found.gauge[bad])}")
    return values
