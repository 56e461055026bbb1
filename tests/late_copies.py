"""Copies that happen as late as they may: what stands in for a GPU's streams where there is none.

A stream may run as soon as it is asked to, or when it is waited for. Here it is the latter, so that whoever reads before
waiting finds NaN, and whoever writes to memory that is still to be copied is found out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch

Tensor = torch.Tensor


def spoil(tensor: Tensor) -> Tensor:
    """The tensor, each of its bytes set: NaN, for floating-point numbers."""
    set_bytes = torch.full((tensor.numel() * tensor.element_size(),), 255, dtype=torch.uint8)
    return tensor.copy_(set_bytes.view(tensor.dtype).view(tensor.shape))


def spoilt(tensor: Tensor) -> bool:
    """Whether nothing has been written since."""
    return bool((tensor.contiguous().view(torch.uint8) == 255).all())


class Sent:
    """A copy to the device that can be waited for; until it is, its source must stay as it is."""

    def __init__(self, queue: list[Callable[[], object]]) -> None:
        self.queue = queue
        self.source: Tensor | None = None

    def take(self, source: Tensor) -> None:
        assert self.source is None, "a copy was begun anew before it was waited for"
        self.source, self.content = source, source.clone()

    def check(self) -> None:
        if self.source is not None:
            as_sent = torch.equal(self.source.view(torch.uint8), self.content.view(torch.uint8))  # NaN too
            assert as_sent, "memory was written to before it was copied"

    def synchronize(self) -> None:
        self.check()
        run(self.queue)
        self.source = None


class LateCopies:
    """`xroute.engine.gpu.staging.CudaCopies` on the CPU, which has ``free`` bytes left."""

    device = torch.device("cpu")

    def __init__(self, free: int = 2**40) -> None:
        self.free = free
        self.to: list[Callable[[], object]] = []
        self.back: list[Callable[[], object]] = []
        self.events: list[Sent] = []
        self.counts = {"send": 0, "fetch": 0, "rows": 0, "pinned": 0}

    def active(self):
        return nullcontext()

    def free_bytes(self):
        return self.free

    def pinned(self, shape, dtype):
        self.counts["pinned"] += 1
        return spoil(torch.empty(shape, dtype=dtype))

    def event(self):
        self.events.append(Sent(self.to))
        return self.events[-1]

    def begin(self):
        assert not self.to, "the last copies have not been waited for"

    def send(self, source, target, done):
        self.counts["send"] += 1
        done.take(source)
        spoil(target)
        self.to.append(lambda: target.copy_(source))

    def arrived(self, target):
        run(self.to)

    def fetch(self, source, target):
        self.counts["fetch"] += 1
        spoil(target)
        self.back.append(lambda: target.copy_(source))

    def fetch_rows(self, source, taken, target, placed):
        self.counts["fetch"] += 1
        self.counts["rows"] += len(placed)
        to = placed >= 0
        assert spoilt(target[placed[to]]), "rows are fetched to where others are"
        seen = source[taken[to]]  # what was computed by now, which is what must be there later

        def place():
            assert torch.equal(source[taken[to]].view(torch.uint8), seen.view(torch.uint8)), "fetched before it was computed"
            target[placed[to]] = seen

        self.back.append(place)

    def fetched(self):
        run(self.back)

    def finish(self) -> None:
        """Nothing is under way any more, and nobody wrote to what was."""
        assert not self.to and not self.back
        for event in self.events:
            event.check()


def run(queue: list[Callable[[], object]]) -> None:
    """Do what has been asked for, in order."""
    while queue:
        queue.pop(0)()
