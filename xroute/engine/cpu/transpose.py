"""Laying runoff out with time contiguous: a blocked transposition on all threads, since files mostly store (time, reach)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.cpu.walk import on_threads
from xroute.engine.kernels import kernel
from xroute.options import n_threads

__all__ = ["contiguous"]

TILE = 32


def contiguous(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array [batch, row, time], C-contiguous in ``dtype``: a copy if it is not so."""
    transposed = array.swapaxes(1, 2)
    if array.flags.c_contiguous or array.dtype != dtype or not transposed.flags.c_contiguous:
        return np.ascontiguousarray(array, dtype)
    result = np.empty(array.shape, dtype)
    threads = n_threads()
    edges = np.linspace(0, array.shape[1], 4 * threads + 1).astype(np.int64) // TILE * TILE
    edges[-1] = array.shape[1]
    parts = [(b, *rows) for b in range(array.shape[0]) for rows in pairwise(edges)]
    on_threads(lambda part: _transpose(transposed[part[0]], result[part[0]], *part[1:]), parts, threads)
    return result


@kernel
def _transpose(source, target, first, last):  # type: ignore[no-untyped-def]
    """target[i, t] = source[t, i] for rows first to last, in tiles that stay in cache."""
    n = source.shape[0]
    for i0 in range(first, last, TILE):
        for t0 in range(0, n, TILE):
            for i in range(i0, min(i0 + TILE, last)):
                for t in range(t0, min(t0 + TILE, n)):
                    target[i, t] = source[t, i]
