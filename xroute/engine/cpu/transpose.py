"""Laying runoff out with time contiguous: a blocked transposition on all threads, since files mostly store (time, reach)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.cpu.threads import on_threads
from xroute.engine.cpu.vectors import LANES, bare, load8, store8, transpose8
from xroute.engine.kernels import kernel
from xroute.options import n_threads

__all__ = ["contiguous"]

WIDE, LONG = 16, 64
"""Rows and steps of a tile: whole cache lines on both sides."""


def contiguous(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array [batch, row, time], C-contiguous in ``dtype``: a copy if it is not so."""
    transposed = array.swapaxes(1, 2)
    if array.flags.c_contiguous or array.dtype != dtype or not transposed.flags.c_contiguous:
        return np.ascontiguousarray(array, dtype)
    result = np.empty(array.shape, dtype)
    threads = n_threads()
    edges = np.linspace(0, array.shape[1], 4 * threads + 1).astype(np.int64) // WIDE * WIDE
    edges[-1] = array.shape[1]
    parts = [(b, *rows) for b in range(array.shape[0]) for rows in pairwise(edges)]
    on_threads(lambda part: _transpose(transposed[part[0]], result[part[0]], *part[1:]), parts, threads)
    return result


@kernel
def _transpose(source, target, first, last):  # type: ignore[no-untyped-def]
    """target[i, t] = source[t, i] for rows first to last, in tiles that stay in cache, turned over in registers."""
    read, write = bare(source), bare(target)
    n = source.shape[0]
    for i0 in range(first, last, WIDE):
        for t0 in range(0, n, LONG):
            for i in range(i0, min(i0 + WIDE, last), LANES):
                for t in range(t0, min(t0 + LONG, n), LANES):
                    if i + LANES <= last and t + LANES <= n:
                        a, b, c, d, e, f, g, h = transpose8(
                            load8(read, t, i), load8(read, t + 1, i), load8(read, t + 2, i), load8(read, t + 3, i),
                            load8(read, t + 4, i), load8(read, t + 5, i), load8(read, t + 6, i), load8(read, t + 7, i),
                        )  # fmt: skip
                        store8(write, i, t, a)
                        store8(write, i + 1, t, b)
                        store8(write, i + 2, t, c)
                        store8(write, i + 3, t, d)
                        store8(write, i + 4, t, e)
                        store8(write, i + 5, t, f)
                        store8(write, i + 6, t, g)
                        store8(write, i + 7, t, h)
                    else:
                        for ii in range(i, min(i + LANES, last)):
                            for tt in range(t, min(t + LANES, n)):
                                target[ii, tt] = source[tt, ii]
