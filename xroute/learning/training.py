"""The loop that trains: epochs of an optimiser, what is kept of them, when to stop, and how a killed run goes on.

`train` knows nothing of what it trains but a module with parameters, and what it says of the reaches: so a Router's own
parameters and a network from attributes to parameters go through the same loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import xarray as xr

from xroute.bars import progress_bar
from xroute.exceptions import ParameterError, warn
from xroute.learning.history import History
from xroute.learning.objective import Objective, Part
from xroute.learning.optimizing import EPOCHS, GROUPED, make_stepper
from xroute.learning.passes import Passes
from xroute.learning.problem import Problem
from xroute.learning.progress_file import ProgressFile
from xroute.learning.request import CalibrationRequest
from xroute.router import Router
from xroute.wording import argument

__all__ = ["Fit", "train"]

Tensor = torch.Tensor
Parameters = Callable[[], Mapping[str, Tensor]] | None
LOOKS = 20
"""How often in a run the test period, and distributions of parameters, are looked at, where no patience asks for more."""
LOOK_APART = 10
"""Epochs between them at least: on a GPU, to look costs as much as an epoch."""
FROM_START = 7.0
"""How far a value of a Router may come from where it began, in the form without bounds: a factor of e^7, say."""
RETRIES = 8
"""How often the rate is halved after losses that are not finite, before it is given up."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What training came to; the module has the best parameters that were seen.

    Attributes
    ----------
    history
        Loss, scores and parameters by epoch; the last entry is that of the parameters that were kept.
    epochs
        How many there were.
    reason
        Why it ended, in words.
    before, after
        Loss in the training period at the start and of what was kept.
    progress
        From which another run may go on.
    """

    history: xr.Dataset
    epochs: int
    reason: str
    before: float
    after: float
    progress: Mapping[str, Any]


def train(
    problem: Problem,
    module: torch.nn.Module,
    parameters: Parameters,
    router: Router,
    penalty: Callable[[], Tensor] | None,
    request: CalibrationRequest,
    file: ProgressFile | None = None,
) -> Fit:
    """Train a module so that a river fits its observations.

    Parameters
    ----------
    problem
        What is to be fitted to what.
    module
        What learns: its parameters that require gradients.
    parameters
        Gives parameters of the river in SI units [reach of ``problem.network``], by name, that depend on the module; None where
        the module is the ``router``, which has its own.
    router
        Of ``problem.network``.
    penalty
        Gives what is added to the loss; None for nothing.
    request
        Epochs, optimiser, patience, ...
    file
        Where to keep the progress, and to go on from; None for nowhere.

    Returns
    -------
    Fit

    Raises
    ------
    ParameterError
        If nothing is to be learned, or what there is at the start gives no finite loss.
    """
    return _Training(problem, module, parameters, router, penalty, request, file).run()


@dataclass(eq=False)
class _Training:
    problem: Problem
    module: torch.nn.Module
    parameters: Parameters
    router: Router
    penalty: Callable[[], Tensor] | None
    request: CalibrationRequest
    file: ProgressFile | None
    done: int = 0
    factor: float = 1.0
    retries: int = 0
    waited: int = 0
    before: float = math.nan
    best: tuple[float, list[Tensor]] = (math.inf, [])
    safe: list[Tensor] = field(default_factory=list)
    reason: str = ""
    start: list[Tensor] = field(default_factory=list)
    learned: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.learned = [p for p in self.module.parameters() if p.requires_grad]
        n = sum(p.numel() for p in self.learned)
        if not n:
            raise ParameterError("there is nothing to learn: name parameters")
        name = self.request.optimizer or ("lbfgs" if n <= GROUPED else "adam")
        self.epochs = self.request.epochs or EPOCHS[name]
        self.passes = Passes(self.problem, self.router, self.parameters, self.penalty, self.request)
        self.train = self.passes.objective
        self.test = Objective(self.problem, self.problem.test) if self.problem.test else None
        self.history = History(self.problem, self.router, self.parameters)
        self.stepper = make_stepper(
            name, self.learned, self.request.learning_rate, self.epochs, len(self.problem.windows), self.passes.step_loss,
            self.passes.whole_loss, self.passes.order, self._limits(),
        )  # fmt: skip
        # whether an epoch's loss is that of one set of parameters
        self.exact = name == "lbfgs" or len(self.problem.windows) == 1

    def _limits(self) -> list[tuple[Tensor, Tensor]]:
        """Between which values parameters stay: those of a Router within a factor of about a thousand of where they began."""
        reach = FROM_START if self.parameters is None else math.inf
        return [(p.detach() - reach, p.detach() + reach) for p in self.learned]

    def run(self) -> Fit:
        self._begin()
        with self._bar() as bar:
            while self.done < self.epochs and not self.reason:
                self._epoch()
                bar.update()
                bar.set_postfix(loss=f"{self.history.last_loss:.5g}", refresh=False)
                if self.file is not None and self.file.due():
                    self.file.write(self._progress())
            bar.total = bar.n  # it may end early, and then that is all
        fit = self._end()
        if self.file is not None:
            self.file.write(fit.progress)
        return fit

    # ── epochs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        self.start = [p.detach().clone() for p in self.learned]
        saved = None if self.file is None else self.file.read()
        if saved is None:
            if not self.exact:
                self.before = self.passes.total(self.passes.look(self.train))
                if self.request.patience is None:  # with it, losses of the test period are compared
                    self._keep_best(self.before)
            return
        for name in ("done", "factor", "retries", "waited", "before"):
            setattr(self, name, saved[name])
        device = self.problem.device
        self._set(self.learned, saved["learned"])
        self.best = saved["best"][0], [t.to(device) for t in saved["best"][1]]
        self.safe, self.start = ([t.to(device) for t in saved[n]] for n in ("safe", "start"))
        self.stepper.load(saved["stepper"])
        self.history.load(saved["history"])
        if saved["epochs"] >= self.epochs or saved["reason"].startswith("converged"):
            self.reason = saved["reason"]

    def _epoch(self) -> None:
        start = [p.detach().clone() for p in self.learned]
        looks = self.done % max(LOOK_APART, self.epochs // LOOKS) == 0 or self.request.patience is not None
        self.passes.seen, tested, better = None, None, None
        try:
            if looks or self.stepper.name == "lbfgs":
                self.passes.check()
                self.safe = start
            tested = self.passes.look(self.test) if looks and self.test is not None else None
            watched = self.history.watched(looks)
            rate = self.stepper.epoch(self.done, self.factor)
            better = self.passes.look(self.train) if looks and not self.exact else None
        except ParameterError as error:  # a window as long as no river has it, say, or a filter that does not decay
            if not self.safe or (not self.history.rows and all(map(torch.equal, self.learned, self.start))):
                raise  # what there is at the start cannot be routed with
            self.best = (math.inf, self.safe)  # what is best may be what fails
            self._step_back(str(error))
            return
        seen = self.stepper.seen or self.passes.seen
        if seen is None:
            self._step_back("there is no loss")
            return
        row = self.history.row(
            self.done, seen.loss, rate, self.train.nse(seen.one_minus_nse), self._tested(tested), watched
        )
        loss = row["loss"]
        if not math.isfinite(loss):
            self._step_back(f"the loss is {loss:g}")
            return
        if not self.exact and not self.done:
            row["loss"] = self.before  # of all windows as they were: they were seen one after another, each after a step
        self.history.add(row)
        self.done += 1
        if self.request.patience is not None and tested is not None:
            self._compare(float(tested.loss), start)
        elif self.exact:
            self._compare(loss, start)
        elif better is not None:
            self._compare(self.passes.total(better), None)
        if self.stepper.converged:
            self.reason = f"converged after {self.done} epochs"

    def _tested(self, part: Part | None) -> tuple[float, Tensor] | None:
        return None if part is None or self.test is None else (float(part.loss), self.test.nse(part.one_minus_nse))

    def _compare(self, criterion: float, values: list[Tensor] | None) -> None:
        """Keep values (those of now, for None) if they are the best so far; stop where patience is out."""
        if criterion < self.best[0]:
            self._keep_best(criterion, values)
            self.waited = 0
        elif self.request.patience is not None:
            self.waited += 1
            if self.waited >= self.request.patience:
                self.reason = f"the test period has not got better for {self.waited} epochs"

    def _keep_best(self, loss: float, values: list[Tensor] | None = None) -> None:
        self.best = loss, [p.detach().clone() for p in self.learned] if values is None else values

    def _step_back(self, why: str) -> None:
        """After a loss that is not finite: begin anew from the best parameters, with half the rate."""
        if not self.safe:
            raise ParameterError(
                f"with the parameters at the start {why}: look at the observations, the runoff, and a {argument('loss')} of "
                f"your own"
            )
        self.retries += 1
        self.factor /= 2
        self._set(self.learned, self.safe)
        self.stepper.forget()
        warn(f"epoch {self.done}: {why}; from the best parameters so far it goes on with half the learning rate")
        if self.retries >= RETRIES:
            self.reason = f"given up: {why}, at {self.retries} learning rates"

    def _set(self, tensors: list[Tensor], values: list[Tensor]) -> None:
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)

    # ── begin and end ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _progress(self) -> dict[str, Any]:
        return {
            "done": self.done, "epochs": self.epochs, "factor": self.factor, "retries": self.retries, "waited": self.waited,
            "before": self.before, "learned": _on_host(self.learned),
            "best": (self.best[0], _on_host(self.best[1])), "safe": _on_host(self.safe),
            "start": _on_host(self.start),
            "stepper": self.stepper.state(), "history": self.history.tree(), "reason": self.reason,
        }  # fmt: skip

    def _end(self) -> Fit:
        """Put the best parameters into the module, and look at them."""
        reason = self.reason or f"all {self.epochs} epochs are done"
        progress = self._progress() | {"reason": self.reason}
        part = self._settle()
        tested = None if self.test is None else self.passes.look(self.test)
        after = self.passes.total(part)
        before = self.before if not self.exact else self.history.first_loss if self.history.rows else after
        last = self.train.nse(part.one_minus_nse), self._tested(tested), self.history.watched(True)
        self.history.add(self.history.row(self.done, part.loss.new_tensor(after), math.nan, *last))
        if not after < before:
            warn(
                f"no parameters were found that are better than those at the start, of loss {before:.6g}: {self._why()} "
                f"({reason})"
            )
        return Fit(self.history.dataset(), self.done, reason, before, after, progress)

    def _settle(self) -> Part:
        """Put into the module what is best of the parameters of now, the best and the safe ones, and those at the start."""
        last = [p.detach().clone() for p in self.learned]
        self.moved = not all(map(torch.equal, last, self.start))
        found: list[tuple[float, Part, list[Tensor]]] = []
        for values in (last, self.best[1], self.safe, self.start):
            if not values or any(all(map(torch.equal, values, other)) for _, _, other in found):
                continue
            self._set(self.learned, values)
            try:
                part = self.passes.look(self.train)
                by_test = self.request.patience is not None and self.test is not None
                criterion = (
                    float(self.passes.look(self.test).loss) if by_test and self.test else self.passes.total(part)
                )
            except ParameterError:
                continue
            if math.isfinite(criterion):
                found.append((criterion, part, values))
        if not found:
            raise ParameterError(
                f"no parameters were found that can be routed with and have a finite loss: a {argument('loss')} of your own "
                f"must skip gaps, which are NaN, as those of xroute.losses do"
            )
        _, part, values = min(found, key=lambda one: one[0])
        self._set(self.learned, values)
        return part

    def _why(self) -> str:
        flat = all(p.grad is None or not bool(p.grad.any()) for p in self.learned)
        if flat and self.moved:
            return (
                f"steps have led to where the loss does not depend on them; a smaller {argument('learning_rate')} may do"
            )
        if flat:
            return (
                "the loss does not depend on them, as on reaches with no water, or whose parameters are at their bounds"
            )
        if self.retries:
            return f"losses were not finite; a smaller {argument('learning_rate')} may do"
        if self.stepper.converged:
            return "they are at a minimum already"
        return f"a smaller {argument('learning_rate')} or more {argument('epochs')} may do"

    def _bar(self) -> Any:
        shown = bool(self.request.progress)
        return progress_bar(shown=shown, total=self.epochs, initial=self.done, unit="epoch", mininterval=0.3)


def _on_host(tensors: list[Tensor]) -> list[Tensor]:
    return [t.detach().cpu() for t in tensors]
