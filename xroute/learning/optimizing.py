"""The optimisers of a calibration: Adam, whose steps shrink along a cosine, and L-BFGS, which goes on until it has converged.

Both take an epoch at a time, from state dicts that can be written to a file, so that a run which goes on from one does the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from xroute.learning.objective import Part
from xroute.settings import OPTIMIZER, Optimizer

__all__ = ["EPOCHS", "GROUPED", "Stepper", "make_stepper"]

Tensor = torch.Tensor
EPOCHS: dict[str, int] = dict(zip(OPTIMIZER, (200, 200), strict=True))
"""Epochs where nobody says how many; L-BFGS mostly converges in fewer."""
RATES: dict[str, float] = dict(zip(OPTIMIZER, (0.1, 1.0), strict=True))
"""Learning rates where nobody says."""
GROUPED = 100
"""Up to so many values, L-BFGS finds them in fewer evaluations than Adam; free values of each reach are Adam's."""
SAME, NOTHING = 1e-8, 1e-12
"""A change of the loss is none if it is less than these parts of the loss, and of that at the start."""
FARTHEST_STEP, FIRST_STEP = 2.0, 0.3
"""How far a step of L-BFGS moves any value at most, and the first one, in the form without bounds: a factor of e^2 (of travel
times)."""
MEMORY, MOST_TRIES = 20, 25
"""Steps that L-BFGS remembers, and points that a line search looks at."""
Limits = Sequence[tuple[Tensor, Tensor]]
"""Lowest and highest value of each parameter, of its shape."""


class Stepper(Protocol):
    """What makes a loss smaller, an epoch at a time."""

    name: Optimizer
    seen: Part | None
    """Loss at the start of the last epoch, where that is known."""

    def epoch(self, number: int, factor: float) -> float:
        """Take an epoch's steps, at ``factor`` of the learning rate; its rate."""
        ...

    def state(self) -> Any:
        """State, of dicts, lists, numbers and tensors."""
        ...

    def load(self, state: Any) -> None:
        """Go on from a state."""
        ...

    def forget(self) -> None:
        """Begin anew, from the parameters as they are."""
        ...

    @property
    def converged(self) -> bool:
        """Whether another epoch would change nothing."""
        ...


def make_stepper(
    name: Optimizer, parameters: Sequence[Tensor], rate: float | None, epochs: int, n_windows: int,
    window_loss: Callable[[int], None], whole_loss: Callable[[], Part], order: Callable[[int], Sequence[int]],
    limits: Limits,
) -> Stepper:  # fmt: skip
    """The optimiser of this name.

    Parameters
    ----------
    name, parameters, rate, epochs
        Which, of what, how fast (None: `RATES`), and for how long.
    n_windows
        Number of windows.
    window_loss
        Computes the gradients of a window's loss; for Adam, which takes a step a window.
    whole_loss
        Computes the loss of all, NaN where that cannot be, and its gradients; for L-BFGS.
    order
        Which window comes after which, in an epoch.
    limits
        Between which values parameters stay.
    """
    rate = RATES[name] if rate is None else rate
    if name == "adam":
        return _Adam(parameters, rate, epochs, n_windows, window_loss, order, limits)
    return _LBFGS(parameters, rate, whole_loss, limits)


class _Adam:
    """Adam (Kingma and Ba 2015), a step for each window."""

    name: Optimizer = "adam"
    seen: Part | None = None
    converged = False

    def __init__(
        self, parameters: Sequence[Tensor], rate: float, epochs: int, n_windows: int, loss: Callable[[int], None],
        order: Callable[[int], Sequence[int]], limits: Limits,
    ) -> None:  # fmt: skip
        self._limits = limits
        self._parameters, self._rate, self._epochs, self._loss, self._order = parameters, rate, epochs, loss, order
        self._betas = (0.9, 0.9) if n_windows == 1 else (0.9, 0.99)  # what is noisy is averaged longer
        self.forget()

    def forget(self) -> None:
        on_gpu = all(p.is_cuda for p in self._parameters)
        self._optimizer = torch.optim.Adam(self._parameters, lr=self._rate, betas=self._betas, fused=on_gpu or None)

    def epoch(self, number: int, factor: float) -> float:
        rate = self._rate * factor * 0.5 * (1 + math.cos(math.pi * min(1.0, number / self._epochs)))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        for window in self._order(number):
            self._optimizer.zero_grad(set_to_none=True)
            self._loss(window)
            self._optimizer.step()
            with torch.no_grad():
                for parameter, (low, high) in zip(self._parameters, self._limits, strict=True):
                    parameter.clamp_(low, high)
        return rate

    def state(self) -> Any:
        return self._optimizer.state_dict()

    def load(self, state: Any) -> None:
        self._optimizer.load_state_dict(state)


class _LBFGS:
    """L-BFGS (Nocedal and Wright 2006, ch. 7), by a line search that ends where the weak Wolfe conditions hold (ch. 3).

    A step moves no value farther than `FARTHEST_STEP`, and none beyond its limits: what lies there is no river, and a loss that
    happens to be small there leads nowhere. Points where there is no loss at all are turned back from, too.
    """

    name: Optimizer = "lbfgs"

    def __init__(self, parameters: Sequence[Tensor], rate: float, loss: Callable[[], Part], limits: Limits) -> None:
        self._parameters, self._rate, self._loss = parameters, rate, loss
        self._low, self._high = (torch.cat([t.reshape(-1) for t in side]) for side in zip(*limits, strict=True))
        self._still, self._before, self._first = 0, math.inf, math.nan
        self.seen: Part | None = None
        self.forget()

    def forget(self) -> None:
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._here: _Point | None = None
        self._still = 0

    def epoch(self, number: int, factor: float) -> float:
        rate = self._rate * factor
        start = self._flat()
        if self._here is None or not torch.equal(self._here.at, start):
            self._here = self._point(start)
        here = self._here
        self.seen = here.part
        if not math.isfinite(here.loss):
            return rate
        self._first = here.loss if math.isnan(self._first) else self._first
        little = SAME * abs(here.loss) + NOTHING * self._first
        self._still = self._still + 1 if abs(self._before - here.loss) <= little else 0
        self._before = here.loss
        direction = self._direction(here)
        slope = float(here.gradient @ direction)
        if not slope < 0:
            self._still += 1
            self._pairs.clear()
            return rate
        found = self._search(here, direction, slope, FARTHEST_STEP * rate)
        if found is None:
            self._set(start)
            self._still += 1
            self._pairs.clear()
            return rate
        moved, bent = found.at - start, found.gradient - here.gradient
        if float(moved @ bent) > 1e-10 * float(moved.norm() * bent.norm()):
            self._pairs = [*self._pairs[1 - MEMORY :], (moved, bent)]
        self._here = found
        self._set(found.at)
        return rate

    @property
    def converged(self) -> bool:
        return self._still >= 3

    def state(self) -> Any:
        return {"pairs": self._pairs, "still": self._still, "before": self._before, "first": self._first}

    def load(self, state: Any) -> None:
        device = self._parameters[0].device
        self._pairs = [(a.to(device), b.to(device)) for a, b in state["pairs"]]
        self._still, self._before, self._first = state["still"], state["before"], state["first"]

    def _direction(self, here: _Point) -> Tensor:
        """Where the loss falls: the two-loop recursion, without what would lead beyond the limits."""
        gradient = here.gradient
        blocked = ((here.at <= self._low) & (gradient > 0)) | ((here.at >= self._high) & (gradient < 0))
        q = torch.where(blocked, 0.0, gradient)
        if not self._pairs:
            return -q
        weights = []
        for moved, bent in reversed(self._pairs):
            weight = (moved @ q) / (moved @ bent)
            weights.append(weight)
            q = q - weight * bent
        moved, bent = self._pairs[-1]
        q = q * ((moved @ bent) / (bent @ bent))
        for (moved, bent), weight in zip(self._pairs, reversed(weights), strict=True):
            q = q + moved * (weight - (bent @ q) / (moved @ bent))
        outward = ((here.at <= self._low) & (q > 0)) | ((here.at >= self._high) & (q < 0))
        return -torch.where(blocked | outward, 0.0, q)

    def _search(self, here: _Point, direction: Tensor, slope: float, farthest: float) -> _Point | None:
        """A point along a direction at which the loss has fallen, and falls less steeply; None if it falls nowhere."""
        far = float(direction.abs().max())
        room = torch.where(direction > 0, self._high - here.at, here.at - self._low) / direction.abs()
        most = min(farthest / far, float(room[direction != 0].min()))
        step = min(1.0, most) if self._pairs else min(FIRST_STEP / far, most)
        low, high, best = 0.0, math.inf, None
        for _ in range(MOST_TRIES):
            point = self._point((here.at + step * direction).clamp(self._low, self._high))
            if not math.isfinite(point.loss) or point.loss > here.loss + 1e-4 * step * slope:
                high = step
                drop = 2 * (
                    point.loss - here.loss - slope * step
                )  # where a parabola through what is known has its minimum
                guess = -slope * step * step / drop if math.isfinite(drop) and drop > 0 else 0.0
                step = min(max(guess, low + 0.1 * (high - low)), low + 0.5 * (high - low))
            else:
                best = point if best is None or point.loss < best.loss else best
                if float(point.gradient @ direction) >= 0.9 * slope or step >= most:
                    break
                low = step
                step = min(2 * step, most) if math.isinf(high) else 0.5 * (low + high)
            if high - low <= 1e-12 * max(high, 1e-300):
                break
        return best

    def _point(self, at: Tensor) -> _Point:
        """Loss and gradient somewhere; a loss that is not finite where it cannot be computed."""
        self._set(at)
        for parameter in self._parameters:
            parameter.grad = None
        part = self._loss()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        gradient = torch.cat([g.detach().reshape(-1) for g in grads]).to(torch.float64)
        loss = float(part.loss)
        return _Point(at, loss if bool(gradient.isfinite().all()) else math.nan, gradient, part)

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self._parameters]).to(torch.float64)

    def _set(self, values: Tensor) -> None:
        with torch.no_grad():
            begin = 0
            for parameter in self._parameters:
                parameter.copy_(values[begin : begin + parameter.numel()].reshape(parameter.shape))
                begin += parameter.numel()


@dataclass(frozen=True, eq=False)
class _Point:
    """Values of all parameters, the loss there and its gradient."""

    at: Tensor
    loss: float
    gradient: Tensor
    part: Part
