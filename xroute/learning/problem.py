"""`Problem`: what is to be fitted to what. Runoff, the part of a network upstream of gauges, observations, periods and windows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some, warn
from xroute.grids.reaches import bring_to_reaches
from xroute.groups import Learned
from xroute.learning.observed import Observations, match_observed, without_variance
from xroute.learning.request import CalibrationRequest, ObservedLike, periods_of
from xroute.learning.simulation import Gauged, simulated
from xroute.learning.source import KnownSource, RunoffSource, free_memory
from xroute.memory import show_bytes
from xroute.network import Network
from xroute.network_files import as_network
from xroute.options import check_device, find_device
from xroute.request import NetworkLike
from xroute.router import Router
from xroute.run import Run, make_run
from xroute.times import seconds
from xroute.units import require_array
from xroute.wording import argument

__all__ = ["Problem", "Window", "make_problem"]

Tensor = torch.Tensor
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


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be fitted to what.

    Attributes
    ----------
    network, whole
        What is upstream of the gauges, and all of the network.
    reaches : int64 [reach of network]
        Positions of the network's reaches in the whole.
    run
        The run of the whole: labels, clock, units, how it is stepped and sampled.
    request
        What the caller asked for.
    observations
        Matched with ``network``.
    gauge_weights : float64 [gauge]
        What each gauge counts in the loss, 0 where its observations in the training period say nothing.
    train, test
        Steps of observation that are trained on, and that are held out.
    windows
        Stretches of the training period.
    spinup
        Steps of runoff that are routed before observations count.
    source, known
        Runoff, and discharge that is known.
    gauged
        Rows of the gauges.
    device
        Where all is computed.
    """

    network: Network
    whole: Network
    reaches: NDArray[np.int64]
    run: Run
    request: CalibrationRequest
    observations: Observations
    gauge_weights: NDArray[np.float64]
    train: tuple[slice, ...]
    test: tuple[slice, ...]
    windows: tuple[Window, ...]
    spinup: int
    source: RunoffSource
    known: KnownSource
    gauged: Gauged
    device: torch.device

    def runoff_block(self, begin: int, stop: int) -> Tensor:
        """Runoff [1, reach, time] of some steps, a volume flux in m3 s-1 (or as the runoff has it without units)."""
        return self.source.block(begin, stop)

    def router(self, learnable: Mapping[str, Learned] | None = None, network: Network | None = None) -> Router:
        """Router of ``network``, by default of what is upstream of the gauges, stepped and sampled as the run.

        ``learnable`` says of the whole network's reaches what is learned.
        """
        request, settings = self.request, self.run.settings
        how = {name: (one.form, one.groups) for name, one in self.of_part(learnable or {}).items()}
        known = self.network.ids[self.known.reach]
        router = Router(
            self.network if network is None else network, dt=settings.step, scheme=request.scheme,
            substeps=settings.substeps, sampling=settings.sampling, lateral=settings.lateral, hillslope=self._hillslope(),
            learnable=how, known=known if known.size else None,
        )  # fmt: skip
        return router.to(self.device)

    def of_part(self, learnable: Mapping[str, Learned]) -> dict[str, Learned]:
        """What is learned on the reaches upstream of the gauges, of what is to be learned on those of the whole."""
        return {name: how.take(self.reaches) for name, how in learnable.items()}

    def _hillslope(self) -> Any:
        given = self.request.hillslope
        if isinstance(given, xr.DataArray) and self.network.n_reaches < self.whole.n_reaches:
            for dim in given.dims:  # ordinates of all reaches: those of the part
                if dim in given.indexes and given.sizes[dim] >= self.network.n_reaches and given.indexes[dim].isin(self.network.ids).any():
                    return given.isel({dim: given.indexes[dim].isin(self.network.ids)})
        return given

    def route(
        self, router: Router, begin: int, stop: int, parameters: Mapping[str, Tensor] | None = None, state: Any = None,
        return_state: bool = False,
    ) -> Any:  # fmt: skip
        """What a Router gives for some steps of runoff."""
        return router(
            self.runoff_block(begin, stop), parameters=parameters, state=state, return_state=return_state,
            known=self.known.block(begin, stop),
        )  # fmt: skip

    def at_gauges(self, discharge: Tensor, begin: int, steps: slice) -> Tensor:
        """Discharge of a stretch that begins at step ``begin``, as some steps of observation see it [gauge, step]."""
        skip = self.observations.runoff_steps(steps).start - begin
        return simulated(discharge, self.gauged, skip, steps.stop - steps.start, self.observations.every)

    def window_of(self, steps: slice) -> Window:
        """The stretch that some steps of observation need, its spin-up before it."""
        needed = self.observations.runoff_steps(steps)
        return Window(max(0, needed.start - self.spinup), needed.stop, steps)

    def simulate(
        self, router: Router, steps: tuple[slice, ...], parameters: Mapping[str, Tensor] | None = None
    ) -> list[Tensor]:
        """Discharge at the gauges in some periods of observation, without gradients: [gauge, step of the period] each.

        Routed in stretches no longer than the longest window, state handed on, so that memory stays within the window's.
        """
        longest = max(w.stop - w.begin for w in self.windows)
        found, every = [], self.observations.every
        with torch.no_grad():
            for period in steps:
                parts: list[Tensor] = []
                whole, state, step = self.window_of(period), None, period.start
                begin = whole.begin
                while step < period.stop:
                    ahead = self.observations.runoff_steps(slice(step, period.stop)).start - begin
                    n = min(period.stop - step, max(1, (longest - ahead) // every))
                    stop = begin + ahead + n * every
                    discharge, state = self.route(router, begin, stop, parameters, state, return_state=True)
                    parts.append(self.at_gauges(discharge, begin, slice(step, step + n)))
                    begin, step = stop, step + n
                found.append(torch.cat(parts, dim=1))
        return found

    def observed(self, steps: slice, dtype: torch.dtype) -> Tensor:
        """Observations in some steps [gauge, step], on the device."""
        return torch.from_numpy(np.ascontiguousarray(self.observations.values[:, steps])).to(self.device, dtype)


def make_problem(
    runoff: xr.DataArray, network: NetworkLike, observed: ObservedLike, request: CalibrationRequest
) -> Problem:
    """Match runoff, network and observations, and cut out what is of use: what is upstream of gauges, in the times that count.

    Raises
    ------
    XRouteError
        As `xroute.route` and `xroute.learning.observed.match_observed`; for periods without observations, and for those that the
        spin-up leaves nothing of.
    """
    check_device(request.device)
    whole = as_network(network)
    route = request.route_request()
    array, left, _ = bring_to_reaches(require_array(runoff), whole, route)
    run = make_run(array, whole, left)
    assert run.settings.step is not None
    found = match_observed(
        observed, array, whole, clock=run.clock, extra=request.extra, observed_label=request.observed_label,
        observed_step=request.observed_step,
    )  # fmt: skip
    spinup = _spinup(request.spinup, array.sizes[run.clock.dim], run.settings.step)
    train, test = _periods(found, request, spinup)
    weights = _gauge_weights(found, train, request.gauge_weights)
    keep = np.isfinite(found.values[:, _union((*train, *test))]).any(axis=1)
    if not keep.all():
        warn(f"{int((~keep).sum())} gauges have no observation in the periods: {some(found.gauge[~keep])}. They are left out")
        found, weights = found.of_gauges(keep), weights[keep]
    part = whole.basin(np.unique(found.reach_ids))
    part = whole if part.n_reaches == whole.n_reaches else part
    reaches = whole.position(part.ids)
    found = found.on(part)
    position = np.full(whole.n_reaches, -1)
    position[reaches] = np.arange(reaches.size)
    device = find_device(request.device)
    first = min(max(0, found.runoff_steps(p).start - spinup) for p in (*train, *test))
    last = max(found.runoff_steps(p).stop for p in (*train, *test))
    source = RunoffSource(array, run, reaches, slice(first, last), device)
    windows = _windows(found, train, spinup, _window_steps(request, found, source, run.settings.step, train, spinup), request.carry)
    known = KnownSource(run.known, position, device)
    gauged = Gauged(found.reach, part.n_reaches, device)
    return Problem(
        part, whole, reaches, run, request, found, weights, train, test, windows, spinup, source, known, gauged, device
    )


# ── periods and windows ───────────────────────────────────────────────────────────────────────────────────────────────────


def _spinup(given: Any, n_steps: int, step: float) -> int:
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


def _periods(
    found: Observations, request: CalibrationRequest, spinup: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Steps of observation that are trained on, and that are held out, without those that the spin-up takes."""
    test = tuple(found.select(one, "test") for one in periods_of(request.test))
    train = tuple(found.select(one, "train") for one in periods_of(request.train))
    if not train:
        train = _rest(test, found.n_steps)
        if not train:
            raise ParameterError(f"{argument('test')} takes all observations, and none is left to train on: give {argument('train')}")
    both = _mask(train, found.n_steps) & _mask(test, found.n_steps)
    if both.any():
        warn(f"{int(both.sum())} steps are both trained on and tested: scores there say nothing of other times")
    return (
        tuple(_after_spinup(found, p, spinup, "train") for p in train),
        tuple(_after_spinup(found, p, spinup, "test") for p in test),
    )


def _after_spinup(found: Observations, period: slice, spinup: int, name: str) -> slice:
    begin = max(period.start, math.ceil((spinup - found.first) / found.every))
    if begin >= period.stop or not np.isfinite(found.values[:, begin : period.stop]).any():
        why = f"after a spin-up of {spinup} steps of runoff" if begin > period.start else "which are all gaps"
        raise ParameterError(
            f"the {name} period has no observation {why}: give runoff that begins earlier, another {argument(name)}, or a shorter "
            f"{argument('spinup')}"
        )
    return slice(begin, period.stop)


def _rest(taken: tuple[slice, ...], n: int) -> tuple[slice, ...]:
    """What is left of n steps: stretches that are not taken."""
    free = np.r_[False, ~_mask(taken, n), False]
    edges = np.flatnonzero(np.diff(free.astype(np.int8)))
    return tuple(slice(int(a), int(b)) for a, b in edges.reshape(-1, 2))


def _mask(periods: tuple[slice, ...], n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, bool)
    for period in periods:
        mask[period] = True
    return mask


def _union(periods: tuple[slice, ...]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([np.arange(p.start, p.stop) for p in periods]))


def _window_steps(
    request: CalibrationRequest, found: Observations, source: RunoffSource, step: float, train: tuple[slice, ...], spinup: int
) -> int:
    """Steps of observation in a window: as the caller says, and else as many as memory allows."""
    longest = max(p.stop - p.start for p in train)
    if request.window is not None:
        n = round(_span(request.window, "window") / step / found.every)
        if n < 1:
            raise ParameterError(f"{argument('window')} is at least a step of observation, {step * found.every:g} s, not {request.window!r}")
        return min(n, longest)
    of_step = BLOCKS * source.row.size * source.dtype.itemsize
    free = free_memory(source.device)
    most = int((free / of_step - spinup) // found.every) if math.isfinite(free) else longest
    if most < longest:
        if most < 1:
            raise ParameterError(f"training takes {show_bytes(of_step * (spinup + found.every))}, more than is free: give a shorter {argument('spinup')}")
        warn(f"the training period takes more memory than is free: it is cut into windows of {most} steps; {argument('window')} says how long")
    return min(most, longest)


def _windows(found: Observations, train: tuple[slice, ...], spinup: int, n: int, carry: bool) -> tuple[Window, ...]:
    windows: list[Window] = []
    for period in train:
        cuts = max(1, math.ceil((period.stop - period.start) / n))
        edges = np.linspace(period.start, period.stop, cuts + 1).round().astype(int).tolist()
        for k, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            steps = slice(a, b)
            needed = found.runoff_steps(steps)
            goes_on = carry and k > 0
            windows.append(Window(needed.start if goes_on else max(0, needed.start - spinup), needed.stop, steps, goes_on))
    counted = [w for w in windows if np.isfinite(found.values[:, w.steps]).any() or carry]
    return tuple(counted)


# ── gauges ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _gauge_weights(found: Observations, train: tuple[slice, ...], given: Any) -> NDArray[np.float64]:
    """What each gauge counts: as the caller says, by label, or alike; 0 where it says nothing in the training period."""
    weights = np.ones(found.n_gauges) if given is None else _given_weights(found, given)
    silent = without_variance(found.values[:, _union(train)])
    named = silent & (weights > 0)
    if named.any():
        warn(
            f"{int(named.sum())} gauges have fewer than two different observations in the training period, and do not count there: "
            f"{some(found.gauge[named])}"
        )
    weights = np.where(silent, 0.0, weights)
    if not (weights > 0).any():
        raise ParameterError(
            f"no gauge has observations that vary in the training period and a weight: give another {argument('train')}, or "
            f"{argument('gauge_weights')} that are not all zero"
        )
    return weights


def _given_weights(found: Observations, given: Any) -> NDArray[np.float64]:
    name = argument("gauge_weights")
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
    values = np.asarray(given, np.float64)
    if values.shape not in ((), (found.n_gauges,)):
        raise ParameterError(f"{name} has the shape {values.shape}, and there are {found.n_gauges} gauges: one a gauge, or by label")
    values = np.broadcast_to(values, (found.n_gauges,)).copy()
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ParameterError(f"{name} must be numbers from 0 on; they are not at gauges {some(found.gauge[bad])}")
    return values


def without_test(problem: Problem) -> Problem:
    """The same problem with nothing held out."""
    return replace(problem, test=())
