"""`Problem`: what is to be fitted to what: runoff, what is upstream of gauges, observations, periods and windows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import some, warn
from xroute.grids.reaches import bring_to_reaches
from xroute.groups import Learned
from xroute.learning.observed import Observations, match_observed
from xroute.learning.periods import (
    Window,
    gauge_weights_of,
    periods_in,
    spinup_steps,
    steps_of_window,
    union,
    windows_of,
)
from xroute.learning.request import CalibrationRequest, ObservedLike
from xroute.learning.simulation import Gauged, simulated
from xroute.learning.source import KnownSource, RunoffSource
from xroute.network import Network
from xroute.network_files import as_network
from xroute.options import check_device, find_device
from xroute.parameters import already_told
from xroute.placeholders import DECLARED
from xroute.request import NetworkLike
from xroute.router import Router
from xroute.run import Run, make_run
from xroute.units import require_array
from xroute.wording import argument

__all__ = ["Problem", "Window", "make_problem"]

Tensor = torch.Tensor


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

    def router(
        self, learnable: Mapping[str, Learned] | None = None, network: Network | None = None, tells: bool = False
    ) -> Router:
        """Router of ``network``, by default of what is upstream of the gauges, stepped and sampled as the run.

        ``learnable`` says of the whole network's reaches what is learned. `make_run` has told of placeholders, and of reaches
        that oscillate or dip: of others it is told only if it ``tells``.
        """
        request, settings = self.request, self.run.settings
        how = {name: (one.form, one.groups) for name, one in self.of_part(learnable or {}).items()}
        known = self.network.ids[self.known.reach]
        with nullcontext() if tells else already_told():
            router = Router(
                self.network if network is None else network, dt=settings.step, scheme=request.scheme,
                substeps=settings.substeps, sampling=settings.sampling, lateral=settings.lateral, hillslope=self._hillslope(),
                learnable=how, known=known if known.size else None,
            )  # fmt: skip
        return router.to(self.device)

    def of_part(self, learnable: Mapping[str, Learned]) -> dict[str, Learned]:
        """What is learned on the reaches upstream of the gauges, of what is to be learned on those of the whole."""
        return {name: how.take(self.reaches) for name, how in learnable.items()}

    def unrouted(self) -> Router:
        """A Router through which water takes no time: what it gives is the runoff of all that is upstream."""
        known = self.network.ids[self.known.reach]
        none = ("reach", np.zeros(self.network.n_reaches), {DECLARED: 0})  # meant so, and not to be told of
        river = self.network.assign(delay=none)
        return Router(river, dt=self.run.settings.step, scheme="pure_lag", substeps=1, sampling="mean", lateral="head",
                      hillslope="none", known=known if known.size else None).to(self.device)  # fmt: skip

    def _hillslope(self) -> Any:
        given = self.request.hillslope
        if isinstance(given, xr.DataArray) and self.network.n_reaches < self.whole.n_reaches:
            for dim in given.dims:  # ordinates of all reaches: those of the part
                if (
                    dim in given.indexes
                    and given.sizes[dim] >= self.network.n_reaches
                    and given.indexes[dim].isin(self.network.ids).any()
                ):
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
        self, router: Router, steps: tuple[slice, ...], parameters: Mapping[str, Tensor] | None = None, *, warm: bool = False
    ) -> list[Tensor]:
        """Discharge at the gauges in some periods of observation, without gradients: [gauge, step of the period] each.

        Each begins with a spin-up of its own, or, ``warm``, with all that was before it, from the first of all periods on: as
        scores are. Routed in stretches no longer than the longest window, state handed on, so that memory stays within the
        window's.
        """
        longest = max(w.stop - w.begin for w in self.windows)
        found, every = [], self.observations.every
        earliest = min(self.window_of(p).begin for p in (*self.train, *self.test))
        state, begin = None, earliest
        with torch.no_grad():
            for period in steps:
                parts: list[Tensor] = []
                step, first = period.start, self.observations.runoff_steps(period).start
                if not warm or begin > first:
                    state, begin = None, earliest if warm else self.window_of(period).begin
                while step < period.stop:
                    ahead = self.observations.runoff_steps(slice(step, period.stop)).start - begin
                    n = min(period.stop - step, max(1, (longest - ahead) // every)) if ahead < longest else 0
                    stop = begin + (ahead + n * every if n else longest)
                    discharge, state = self.route(router, begin, stop, parameters, state, return_state=True)
                    if n:
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
    spinup = spinup_steps(request.spinup, array.sizes[run.clock.dim], run.settings.step)
    train, test = periods_in(found, request, spinup)
    weights = gauge_weights_of(found, train, request.gauge_weights, request.loss)
    keep = np.isfinite(found.values[:, union((*train, *test))]).any(axis=1)
    if not keep.all():
        warn(
            f"{int((~keep).sum())} gauges have no observation in the periods: {some(found.gauge[~keep])}. They are left out"
        )
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
    windows = windows_of(
        found, train, spinup, steps_of_window(request, found, source, run.settings.step, train, spinup), request.carry
    )
    known = KnownSource(run.known, position, device)
    given = np.isin(found.reach, known.reach)
    if given.any():
        warn(
            f"{int(given.sum())} gauges are on reaches whose discharge is known ({argument('known')}), which is what is "
            f"simulated there: nothing is learned from {some(found.gauge[given])}"
        )
    gauged = Gauged(found.reach, part.n_reaches, device)
    return Problem(
        part, whole, reaches, run, request, found, weights, train, test, windows, spinup, source, known, gauged, device
    )
