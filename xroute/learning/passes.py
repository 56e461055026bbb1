"""Passes through the river: the loss of a window, of all of them, and of a period, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from xroute.exceptions import ParameterError, StateError
from xroute.learning.objective import Objective, Part
from xroute.learning.problem import Problem, Window
from xroute.learning.replay import Replays, can_be_replayed
from xroute.learning.request import CalibrationRequest
from xroute.router import Router

__all__ = ["Passes"]

Tensor = torch.Tensor


class Passes:
    """What training asks of the river.

    Parameters
    ----------
    problem, router, parameters, penalty, request
        As `xroute.learning.training.train` has them.
    """

    def __init__(
        self, problem: Problem, router: Router, parameters: Callable[[], Mapping[str, Tensor]] | None,
        penalty: Callable[[], Tensor] | None, request: CalibrationRequest,
    ) -> None:  # fmt: skip
        self.problem, self.router, self.parameters, self.penalty, self.request = (
            problem,
            router,
            parameters,
            penalty,
            request,
        )
        self.objective = Objective(problem, problem.train)
        self.seen: Part | None = None
        """Loss of the windows since it was last set to None."""
        self._state: Any = None
        self._looked = False
        same = parameters is None and can_be_replayed(problem, router, request)
        learned = [p for p in router.parameters() if p.requires_grad]
        self._replays = Replays(learned, problem.device, same)

    def check(self) -> None:
        """Look at the filters, which is not done where gradients are wanted.

        Raises
        ------
        ParameterError
            For filters that are not finite or do not decay.
        """
        with torch.no_grad():
            self.router._filter(None if self.parameters is None else self.parameters())

    def total(self, part: Part) -> float:
        """Loss with the penalty of now."""
        with torch.no_grad():
            more = self.penalty_now()
        return float(part.loss if more is None else part.loss + more)

    def _forward(self, window: Window, state: Any, keep: bool) -> tuple[Part, Any]:
        """Loss of a window, and the state at its end if it is kept."""
        parameters = None if self.parameters is None else self.parameters()
        begin = window.begin
        if window.carries and state is None:
            window = self.problem.window_of(window.steps)
            begin = window.begin
        try:
            found = self.problem.route(
                self.router, begin, window.stop, parameters, state if window.carries else None, keep
            )
        except StateError:  # parameters that were learned meanwhile have changed how long the windows of reaches are
            begin = self.problem.window_of(window.steps).begin
            found = self.problem.route(self.router, begin, window.stop, parameters, None, keep)
        discharge, end = found if keep else (found, None)
        part = self.objective.part(self.problem.at_gauges(discharge, begin, window.steps), window.steps)
        return part, None if end is None else end.detach()

    def penalty_now(self) -> Tensor | None:
        """What is added to the loss; None for nothing."""
        return None if self.penalty is None or not self.request.penalty else self.request.penalty * self.penalty()

    def step_loss(self, number: int) -> None:
        """Gradients of a window's loss, as if it were all."""
        loss, nse = self._replays.run(("step", number), partial(self._step, number))
        self.seen = Part(loss, nse) if self.seen is None else Part(self.seen.loss + loss, self.seen.one_minus_nse + nse)

    def _step(self, number: int) -> tuple[Tensor, Tensor]:
        """What `step_loss` does, and what the window adds to loss and scores."""
        windows = self.problem.windows
        part, self._state = self._forward(windows[number], self._state, self.request.carry)
        loss, more = part.loss * len(windows), self.penalty_now()
        (loss if more is None else loss + more).backward()
        added = part.loss.detach() if more is None else part.loss.detach() + more.detach() / len(windows)
        return added, part.one_minus_nse

    def whole_loss(self) -> Part:
        """Loss of all windows, with its gradients; NaN where it cannot be computed."""
        self._state, parts = None, []
        try:
            for number in range(len(self.problem.windows)):
                parts.append(Part(*self._replays.run(("part", number), partial(self._part, number))))
            more = self.penalty_now()
            if more is not None:
                more.backward()
        except ParameterError:
            if not self._looked:
                raise
            nan = torch.full((), torch.nan, dtype=self.objective.dtype, device=self.problem.device)
            return Part(nan, self.objective.weights * nan)
        total = torch.stack([p.loss for p in parts]).sum()
        self._looked = True
        nse = torch.stack([p.one_minus_nse for p in parts]).sum(dim=0)
        return Part(total if more is None else total + more.detach(), nse)

    def _part(self, number: int) -> tuple[Tensor, Tensor]:
        """Loss of a window as a part of the whole, its gradients, and what it adds to scores; after the window before it."""
        part, self._state = self._forward(self.problem.windows[number], self._state, self.request.carry)
        part.loss.backward()
        return part.loss.detach(), part.one_minus_nse

    def order(self, epoch: int) -> list[int]:
        """Which window comes after which: by the seed, unless states are handed on."""
        n = len(self.problem.windows)
        self._state = None
        if self.request.carry or n == 1:
            return list(range(n))
        return np.random.default_rng((self.request.seed, epoch)).permutation(n).tolist()

    def look(self, objective: Objective) -> Part:
        """Loss of all of some periods as parameters are now, without gradients; of other periods than are trained on, warm."""
        with torch.no_grad():
            parameters = None if self.parameters is None else self.parameters()
            warm = objective is not self.objective
            return objective.of_all(self.problem.simulate(self.router, objective.periods, parameters, warm=warm))
