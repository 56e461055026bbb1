"""The optimisers of a calibration: Adam, whose steps shrink along a cosine, and L-BFGS, which goes on until it has converged.

Both take an epoch at a time, from state dicts that can be written to a file, so that a run which goes on from one does the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from xroute.learning.objective import Part
from xroute.settings import OPTIMIZER, Optimizer

__all__ = ["EPOCHS", "GROUPED", "Stepper", "make_stepper"]

Tensor = torch.Tensor
EPOCHS: dict[str, int] = dict(zip(OPTIMIZER, (200, 100), strict=True))
"""Epochs where nobody says how many; L-BFGS mostly converges in fewer."""
RATES: dict[str, float] = dict(zip(OPTIMIZER, (0.05, 1.0), strict=True))
"""Learning rates where nobody says."""
GROUPED = 1000
"""Up to so many values, L-BFGS finds them in fewer evaluations than Adam; free values of each reach are Adam's."""
SAME, NOTHING = 1e-9, 1e-12
"""A change of the loss is none if it is less than these parts of the loss, and of that at the start."""
FAR = 1e6
"""Loss of what cannot be routed, in parts of the loss at the start: a line search turns back there."""


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
    """
    rate = RATES[name] if rate is None else rate
    if name == "adam":
        return _Adam(parameters, rate, epochs, n_windows, window_loss, order)
    return _LBFGS(parameters, rate, whole_loss)


class _Adam:
    """Adam (Kingma and Ba 2015), a step for each window."""

    name: Optimizer = "adam"
    seen: Part | None = None
    converged = False

    def __init__(
        self, parameters: Sequence[Tensor], rate: float, epochs: int, n_windows: int, loss: Callable[[int], None],
        order: Callable[[int], Sequence[int]],
    ) -> None:  # fmt: skip
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
        return rate

    def state(self) -> Any:
        return self._optimizer.state_dict()

    def load(self, state: Any) -> None:
        self._optimizer.load_state_dict(state)


class _LBFGS:
    """L-BFGS with a line search by the strong Wolfe conditions (Nocedal and Wright 2006, ch. 7)."""

    name: Optimizer = "lbfgs"

    def __init__(self, parameters: Sequence[Tensor], rate: float, loss: Callable[[], Part]) -> None:
        self._parameters, self._rate, self._loss = parameters, rate, loss
        self._still, self._before, self._first = 0, math.inf, math.nan
        self.seen: Part | None = None
        self.forget()

    def forget(self) -> None:
        self._optimizer = torch.optim.LBFGS(
            self._parameters, lr=self._rate, max_iter=1, max_eval=25, history_size=20, line_search_fn="strong_wolfe",
            tolerance_grad=1e-12, tolerance_change=0.0,
        )  # fmt: skip
        self._known: list[tuple[list[Tensor], Part, list[Tensor]]] = []
        self._still = 0

    def epoch(self, number: int, factor: float) -> float:
        rate = self._rate * factor
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        start = [p.detach().clone() for p in self._parameters]
        self.seen = None
        first = float(self._optimizer.step(self._closure))
        self._first = first if math.isnan(self._first) else self._first
        moved = any(not torch.equal(p, s) for p, s in zip(self._parameters, start, strict=True))
        gained = self._before - first
        self._still = self._still + 1 if not moved or abs(gained) <= SAME * abs(first) + NOTHING * self._first else 0
        self._before = first
        return rate

    @property
    def converged(self) -> bool:
        return self._still >= 3

    def state(self) -> Any:
        return {"optimizer": self._optimizer.state_dict(), "still": self._still, "before": self._before, "first": self._first}

    def load(self, state: Any) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._still, self._before, self._first = state["still"], state["before"], state["first"]

    def _closure(self) -> Tensor:
        """Loss and gradients; those of the last points are kept, since an epoch begins where the line search ended."""
        for values, part, grads in self._known:
            if all(torch.equal(p, v) for p, v in zip(self._parameters, values, strict=True)):
                return self._give(part, grads)
        self._optimizer.zero_grad(set_to_none=True)
        part = self._loss()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in self._parameters]
        if not torch.isfinite(part.loss) or not all(bool(g.isfinite().all()) for g in grads):
            if not self._known:
                self.seen = part
                return part.loss
            _, last, grads = self._known[-1]
            return self._give(Part(last.loss.abs() * FAR + 1, last.one_minus_nse), grads)  # a line search turns back from there
        self._known = [*self._known[-24:], ([p.detach().clone() for p in self._parameters], part, grads)]
        return self._give(part, grads)

    def _give(self, part: Part, grads: list[Tensor]) -> Tensor:
        self.seen = part if self.seen is None else self.seen
        for parameter, grad in zip(self._parameters, grads, strict=True):
            parameter.grad = grad.clone()
        return part.loss
