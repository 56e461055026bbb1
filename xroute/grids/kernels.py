"""Compiled loops over overlaps: sums over the cells of a catchment, and the values of some cells.

A value is the sum of its overlaps in their own order, in float64, whatever the layout of a block, the order of its dimensions,
its chunks or the number of threads: the same bits.
"""

from __future__ import annotations

import numpy as np

from xroute.engine.kernels import kernel

__all__ = ["RENORMALISE", "STRICT", "TILE", "ZERO", "sum_cells", "take_cells"]

STRICT, ZERO, RENORMALISE = 0, 1, 2
"""What becomes of NaN: it goes into the sum, is no water, or has its part taken from the catchment's other cells."""
TILE = 16
"""Steps that are summed at a time: weights and positions of cells are read once for all of them."""


@kernel
def sum_cells(data, out, first, last, pointer, row, column, weight, area, factor, divisor, gaps):  # type: ignore[no-untyped-def]
    """out[a, c, b] = factor / divisor[c] * sum of weight * data[a, b, row, column], for catchments first to last.

    Returns how many of these values are not finite. ``area`` is that of the overlaps, by which weights are renormalised.
    """
    n_a, n_b = data.shape[0], data.shape[1]
    bad = 0
    total = np.empty(TILE)
    present = np.empty(TILE)
    for a in range(n_a):
        for c in range(first, last):
            begin, end = pointer[c], pointer[c + 1]
            whole = 0.0
            if gaps == RENORMALISE:
                for k in range(begin, end):
                    whole += area[k]
            for b0 in range(0, n_b, TILE):
                n = min(TILE, n_b - b0)
                for t in range(n):
                    total[t] = 0.0
                    present[t] = 0.0
                for k in range(begin, end):
                    y, x, w = row[k], column[k], weight[k]
                    if gaps == STRICT:
                        for t in range(n):
                            total[t] += w * np.float64(data[a, b0 + t, y, x])
                    else:
                        for t in range(n):
                            v = np.float64(data[a, b0 + t, y, x])
                            if v == v:
                                total[t] += w * v
                                present[t] += area[k]
                for t in range(n):
                    if gaps == RENORMALISE and present[t] != whole:
                        total[t] = total[t] * (whole / present[t]) if present[t] > 0.0 else np.nan
                    total[t] = total[t] * factor / divisor[c]
                    out[a, b0 + t, c] = total[t]
                    if not np.isfinite(out[a, b0 + t, c]) and end > begin:
                        bad += 1
    return bad


@kernel
def take_cells(data, out, first, last, row, column):  # type: ignore[no-untyped-def]
    """out[a, b, k] = data[a, b, row[k], column[k]], for cells first to last."""
    n_a, n_b = data.shape[0], data.shape[1]
    for a in range(n_a):
        for b0 in range(0, n_b, TILE):
            stop = min(b0 + TILE, n_b)
            for k in range(first, last):
                y, x = row[k], column[k]
                for b in range(b0, stop):
                    out[a, b, k] = data[a, b, y, x]
