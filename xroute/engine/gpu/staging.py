"""Copies between the host and a device that go on beside its computation, through pinned memory.

`CudaCopies` is all that is asked of a device; what uses it says in which order copies are begun and waited for, and is tested
without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.engine.gpu.row_copies import place_rows

__all__ = ["CudaCopies", "Stage"]

Tensor = torch.Tensor
STAGE_BYTES = 2**25
"""Pinned memory through which runoff is staged, twice."""


class CudaCopies:
    """Copies to a device and back, each way one after another on a stream, and both beside what the device computes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.there, self.back = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def active(self) -> AbstractContextManager[Any]:
        """While it lasts, what is computed is computed on the device."""
        return torch.cuda.device(self.device)

    def free_bytes(self) -> int:
        """How much of the device's memory is free."""
        return int(torch.cuda.mem_get_info(self.device)[0])

    def pinned(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory of the host that can be copied from and to beside computation."""
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def event(self) -> torch.cuda.Event:
        """What a copy can be waited for by: ``event.synchronize()``. One that no copy has taken need not be waited for."""
        return torch.cuda.Event()

    def begin(self) -> None:
        """Let copies to the device wait for what it has been asked to compute so far."""
        self.there.wait_stream(torch.cuda.current_stream())

    def send(self, source: Tensor, target: Tensor, done: torch.cuda.Event) -> None:
        """Begin to copy pinned memory to the device; until ``done``, the memory must not be written to."""
        with torch.cuda.stream(self.there):
            target.copy_(source, non_blocking=True)
            done.record(self.there)

    def arrived(self, target: Tensor) -> None:
        """Let what the device computes from here on wait for the copies, which are parts of ``target``."""
        torch.cuda.current_stream().wait_stream(self.there)
        target.record_stream(self.there)

    def fetch(self, source: Tensor, target: Tensor) -> None:
        """Begin to copy what the device computes into pinned memory."""
        self.back.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.back):
            target.copy_(source, non_blocking=True)
            source.record_stream(self.back)

    def fetch_rows(self, source: Tensor, taken: Tensor, target: Tensor, placed: Tensor) -> None:
        """Begin to copy rows of what the device computes to rows of pinned memory: see `place_rows`."""
        self.back.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.back):
            place_rows(source, taken, target, placed)
            for read in (source, taken, placed):
                read.record_stream(self.back)

    def fetched(self) -> None:
        """Wait for all that was fetched."""
        self.back.synchronize()


class Stage:
    """Two pinned buffers through which arrays go to a device, one being filled while the other is read."""

    def __init__(self, copies: CudaCopies) -> None:
        self.copies = copies
        self.buffers: list[Tensor] = []
        self.free: list[Any] = []

    def send(self, array: NDArray[Any]) -> Tensor:
        """Copy of an array on the device, of its shape, contiguous; copied in the order in which it lies in memory."""
        if min(array.strides) < 0:  # which torch does not take
            array = array.copy()
        order = np.argsort([-s for s in array.strides], kind="stable")
        source = array.transpose(order)
        if source.dtype.isnative and source.flags.writeable:
            host = torch.from_numpy(source)
        else:  # torch takes neither swapped bytes nor read-only memory
            host = torch.from_numpy(source.astype(source.dtype.newbyteorder("=")))
        whole = torch.empty(source.shape, dtype=host.dtype, device=self.copies.device)
        if whole.numel():
            self._fill(whole, host)
        return whole.permute(*np.argsort(order).tolist()).contiguous()

    def pick(self, whole: Tensor, host: Tensor, rows: Tensor) -> None:
        """Copy rows of an array of the host [row, time] to ``whole`` on the device, to which copies have been begun."""
        length = max(1, STAGE_BYTES // (host.shape[1] * host.dtype.itemsize))
        for part, chosen in zip(whole.split(length), rows.split(length), strict=True):
            buffer, sent = self._next(part.numel(), host.dtype)
            torch.index_select(host, 0, chosen, out=buffer.view(part.shape))  # on all threads
            self.copies.send(buffer.view(part.shape), part, sent)
        self.copies.arrived(whole)

    def _fill(self, whole: Tensor, host: Tensor) -> None:
        self.copies.begin()  # after what had the memory of `whole` before
        flat, at = whole.view(-1), 0
        for part in _parts(host, max(1, STAGE_BYTES // host.dtype.itemsize)):
            size = part.numel()
            buffer, sent = self._next(size, host.dtype)
            buffer.view(part.shape).copy_(part)  # on all threads
            self.copies.send(buffer, flat[at : at + size], sent)
            at += size
        self.copies.arrived(whole)

    def _next(self, size: int, dtype: torch.dtype) -> tuple[Tensor, Any]:
        """The buffer that has been read, or will be first, once it has; and what says that it has been, next time."""
        if not self.buffers:
            self.buffers = [self.copies.pinned((STAGE_BYTES,), torch.uint8) for _ in range(2)]
            self.free = [self.copies.event() for _ in range(2)]
        self.buffers.reverse()
        self.free.reverse()
        self.free[0].synchronize()
        return self.buffers[0].view(dtype)[:size], self.free[0]


def _parts(host: Tensor, length: int) -> Iterator[Tensor]:
    """Parts of a tensor of at most ``length`` elements, in the order of its dimensions."""
    a_row = host[0].numel()
    if a_row <= length:
        yield from host.split(length // a_row)
    else:
        for row in host:
            yield from _parts(row, length)
