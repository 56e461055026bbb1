"""Laying runoff out with time contiguous: a blocked transposition on all threads, since files mostly store (time, reach)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.cpu.threads import on_threads
from xroute.engine.cpu.vectors import LANES, ask, bare, turn8
from xroute.engine.kernels import kernel
from xroute.options import n_threads

__all__ = ["laid_out"]

WIDE, LONG = 16, 64
"""Rows and steps of a tile: whole cache lines on both sides."""
SPARE = 2**25
"""Bytes of memory that are kept for the next call, at most: fresh memory, which the system clears first, takes longer than
turning a small river over in it."""
_SPARE: list[NDArray[np.uint8]] = []


@contextmanager
def laid_out(array: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The array [batch, row, time], C-contiguous in ``dtype``, to be read: a copy if it is not so, which is gone at the end."""
    transposed = array.swapaxes(1, 2)
    if array.flags.c_contiguous or array.dtype != dtype or not transposed.flags.c_contiguous:
        yield np.ascontiguousarray(array, dtype)
        return
    memory = _take(array.nbytes)
    result = memory[: array.nbytes].view(dtype).reshape(array.shape)
    threads = n_threads()
    edges = np.linspace(0, array.shape[1], 4 * threads + 1).astype(np.int64) // WIDE * WIDE
    edges[-1] = array.shape[1]
    parts = [(b, *rows) for b in range(array.shape[0]) for rows in pairwise(edges)]
    on_threads(lambda part: _transpose(transposed[part[0]], result[part[0]], *part[1:]), parts, threads)
    try:
        yield result
    finally:
        if memory.size <= SPARE:
            _SPARE[:] = [memory]


def _take(size: int) -> NDArray[np.uint8]:
    """Memory of at least so many bytes that nobody else has: that of a call before, or new."""
    try:
        memory = _SPARE.pop()
    except IndexError:  # there was none yet, or another thread has it
        return np.empty(size, np.uint8)
    return memory if memory.size >= size else np.empty(size, np.uint8)


@kernel
def _transpose(source, target, first, last):  # type: ignore[no-untyped-def]
    """target[i, t] = source[t, i] for rows first to last, in tiles that stay in cache, turned over in registers."""
    read, write = bare(source), bare(target)
    n = source.shape[0]
    for i0 in range(first, last, WIDE):
        for t0 in range(0, n, LONG):
            for t in range(t0, min(t0 + LONG, n)):  # lines of the next rows: too far apart for the machine to foresee them
                ask(read, t, min(i0 + WIDE, source.shape[1] - 1))
            for i in range(i0, min(i0 + WIDE, last), LANES):
                for t in range(t0, min(t0 + LONG, n), LANES):
                    if i + LANES <= last and t + LANES <= n:
                        turn8(read, t, i, write)
                    else:
                        for ii in range(i, min(i + LANES, last)):
                            for tt in range(t, min(t + LANES, n)):
                                target[ii, tt] = source[tt, ii]
