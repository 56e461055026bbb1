"""What a calibration makes small: the loss of gauges in some periods, weighed; and NSE by gauge, which is told on the way.

A period may be cut into windows. A gauge's loss in a window counts by the share of its observations that the window has, so that
losses of windows add up; those that divide by the spread of observations (`nse`, `log`) divide by that of all periods, so that
the sum is what the whole would have. `rmse` is in parts of the observations' standard deviation, so that gauges weigh alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from xroute import losses
from xroute.exceptions import ParameterError
from xroute.learning.problem import Problem
from xroute.losses import Spread
from xroute.wording import argument

__all__ = ["Objective", "Part"]

Tensor = torch.Tensor
PRECISE = 2e7
"""Up to so many values of discharge at gauges, losses are computed in float64."""


class Part(NamedTuple):
    """Loss of a window, as a part of the whole, and what it adds to 1 - NSE of each gauge [gauge]."""

    loss: Tensor
    one_minus_nse: Tensor


class Objective:
    """Loss of some periods.

    Parameters
    ----------
    problem
        The problem.
    periods
        Steps of observation.
    """

    def __init__(self, problem: Problem, periods: tuple[slice, ...]) -> None:
        self.problem, self.periods = problem, periods
        n_values = problem.observations.n_gauges * sum(p.stop - p.start for p in periods)
        self.dtype = torch.float64 if n_values <= PRECISE else torch.float32
        self._begin = min(p.start for p in periods)
        self._observed = problem.observed(slice(self._begin, max(p.stop for p in periods)), self.dtype)
        whole = torch.cat([self._of(self._observed, p) for p in periods], dim=1)
        self._spread = losses.spread_of(whole)
        self.n_pairs = self._spread.n_pairs
        there = ~self._observed.isnan()
        self._there = None if bool(there.all()) else there.to(self.dtype)
        self._filled = torch.where(there, self._observed, 0.0)
        self._varies = self._spread.varies
        self._unit = torch.where(self._varies, 1 / (self._spread.variance * self.n_pairs), 0.0)
        weights = torch.from_numpy(problem.gauge_weights).to(problem.device, self.dtype)
        weights = torch.where(self.n_pairs > 0, weights, 0.0)
        self.weights = weights / weights.sum().clamp(min=torch.finfo(self.dtype).tiny)
        self._loss = self._chosen(problem.request.loss, whole)

    def part(self, simulated: Tensor, steps: slice) -> Part:
        """Loss of some steps of observation, of discharge at the gauges [gauge, step]."""
        simulated = simulated.to(self.dtype)
        error = simulated - self._of(self._filled, steps)
        if self._there is not None:
            error = error * self._of(self._there, steps)
        one_minus_nse = error.square().sum(dim=1) * self._unit
        if self._loss is None:
            return Part((self.weights * one_minus_nse).sum(), one_minus_nse.detach())
        observed = self._of(self._observed, steps)
        share = (~observed.isnan()).sum(dim=1) / self.n_pairs.clamp(min=1)
        loss = self._loss(simulated, observed)
        total = self._weighed(loss.expand_as(share), share)
        return Part(total, one_minus_nse.detach())

    def of_all(self, simulated: list[Tensor]) -> Part:
        """Loss of all periods, of discharge at the gauges in each."""
        parts = [self.part(q, steps) for q, steps in zip(simulated, self.periods, strict=True)]
        return Part(
            torch.stack([p.loss for p in parts]).sum(), torch.stack([p.one_minus_nse for p in parts]).sum(dim=0)
        )

    def nse(self, one_minus_nse: Tensor) -> Tensor:
        """NSE of each gauge [gauge]; NaN where it has no meaning."""
        return torch.where(self._varies, 1 - one_minus_nse, torch.nan)

    def _of(self, series: Tensor, steps: slice) -> Tensor:
        return series[:, steps.start - self._begin : steps.stop - self._begin]

    def _weighed(self, loss: Tensor, share: Tensor) -> Tensor:
        weights = self.weights * share
        return (weights * torch.where(weights > 0, loss, 0.0)).sum()

    def _chosen(self, loss: Any, whole: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
        if callable(loss):
            return lambda simulated, observed: self._own(loss, simulated, observed)
        if loss == "nse":
            return None  # what is told of each gauge anyway
        if loss == "log":
            offset = losses.log_offset(whole)
            positive = torch.where(offset > 0, offset, 1.0)
            spread: Spread = losses.spread_of(losses.log_transform(whole, positive))
            return lambda simulated, observed: losses.log(simulated, observed, spread=spread, offset=offset)
        if loss == "rmse":
            deviation = self._spread.variance.sqrt()
            unit = torch.where(deviation > 0, deviation, 1.0)
            return lambda simulated, observed: losses.rmse(simulated, observed) / unit
        return losses.LOSSES[loss]

    def _own(self, function: Callable[[Tensor, Tensor], Any], simulated: Tensor, observed: Tensor) -> Tensor:
        """What a caller's function gives, checked; gaps have no gradient, though that of the function be NaN."""
        if simulated.requires_grad:
            gaps = observed.isnan()  # the gradient of a mean that skips NaN is NaN there, 0 times NaN
            simulated.register_hook(lambda gradient: gradient.masked_fill(gaps, 0.0))
        loss = self._checked(function(simulated, observed))
        if simulated.requires_grad and not loss.requires_grad:
            raise ParameterError(
                f"{argument('loss')} gives a tensor without gradients: compute it from the simulated discharge by functions of "
                "torch, without .detach(), .numpy() or .item()"
            )
        return loss

    def _checked(self, loss: Any) -> Tensor:
        n = self.problem.observations.n_gauges
        if not isinstance(loss, Tensor) or loss.shape not in ((), (n,)):
            what = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ParameterError(
                f"{argument('loss')} gives {what}: of simulated and observed discharge, tensors [{n} gauges, step] with NaN in "
                "gaps, it gives a tensor [gauge], or one number, lower being better"
            )
        return loss
