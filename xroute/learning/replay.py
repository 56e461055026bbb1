"""Steps of training that a GPU replays as one graph, where each is the same launches on the same memory.

A river of a hundred thousand reaches is routed, and traced back, in less time than Python takes to ask for it. So what a window
of training does is recorded, once it has been done a few times, and replayed from then on: the same kernels in the same order,
and so the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from xroute.learning.problem import Problem
from xroute.learning.request import CalibrationRequest
from xroute.router import Router
from xroute.schemes import SCHEMES

__all__ = ["Replays", "can_be_replayed"]

Tensor = torch.Tensor
Step = Callable[[], tuple[Tensor, ...]]
Recorder = Callable[[Step], tuple[Callable[[], None], tuple[Tensor, ...]]]
FIRST = 2
"""Times that a step is done as it is: kernels are compiled and what is kept is made."""
MOST_WINDOWS = 16
"""Windows whose steps are recorded; each graph has memory of its own for what it finds."""


def can_be_replayed(problem: Problem, router: Router, request: CalibrationRequest) -> bool:
    """Whether the steps of a Router's own parameters are the same launches each time, nothing being read or decided by the host.

    Windows of taps are chosen by the host, and functions of a caller may do anything.
    """
    schemes = [SCHEMES[name] for name in router.modules_by_scheme if name in SCHEMES]
    plain = len(schemes) == 1 and not schemes[0].is_cut_off and not schemes[0].from_user
    fixed = problem.source.keeps and not problem.known.reach.size and not any(w.carries for w in problem.windows)
    few = len(problem.windows) <= MOST_WINDOWS
    return (
        problem.device.type == "cuda" and plain and router.hillslope is None and fixed and few and not callable(request.loss)
    )


class Replays:
    """Steps by key, each recorded once it has been done a few times.

    Parameters
    ----------
    parameters
        What steps find gradients of.
    device
        Where they run.
    usable
        Whether anything may be recorded.
    record
        Makes of a step a function that does it again, and the tensors in which that leaves what the step gave.
    """

    def __init__(
        self, parameters: Sequence[Tensor], device: torch.device, usable: bool, record: Recorder | None = None
    ) -> None:
        self._parameters, self._device, self.usable = list(parameters), device, usable
        self._record = self._graph if record is None else record
        self._done: dict[Hashable, int] = {}
        self._recorded: dict[Hashable, tuple[Callable[[], None], tuple[Tensor, ...], list[Tensor | None]]] = {}
        self._pool: Any = None

    def run(self, key: Hashable, step: Step) -> tuple[Tensor, ...]:
        """Do a step, whose gradients are added to those that the parameters have; what it gives, without gradients."""
        times = self._done[key] = self._done.get(key, 0) + 1
        if not self.usable or times <= FIRST:
            return step()
        before = [p.grad for p in self._parameters]
        if key not in self._recorded and not self._try(key, step, before):
            return step()
        replay, found, grads = self._recorded[key]
        replay()
        for parameter, old, new in zip(self._parameters, before, grads, strict=True):
            if new is not None:
                parameter.grad = new if old is None else old + new
        return tuple(t.clone() for t in found)  # the next replay writes to the same memory

    def _try(self, key: Hashable, step: Step, before: list[Tensor | None]) -> bool:
        """Record a step; False if that cannot be, and then nothing is recorded any more."""
        for parameter in self._parameters:
            parameter.grad = None
        try:
            replay, found = self._record(step)
            self._recorded[key] = replay, found, [p.grad for p in self._parameters]
        except RuntimeError:  # of torch: something waits for the GPU, or memory is short
            self.usable = False
            self._recorded.clear()
        for parameter, grad in zip(self._parameters, before, strict=True):
            parameter.grad = grad
        return self.usable

    def _graph(self, step: Step) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        with self._on_device():
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                found = step()

        def replay() -> None:
            with self._on_device():
                graph.replay()

        return replay, found

    def _on_device(self) -> AbstractContextManager[Any]:
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
