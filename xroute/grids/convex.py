"""Areas that polygons have in common with convex cells: what lies outside of each side is cut off (Sutherland and Hodgman 1974).

A polygon that is cut into several hangs together by seams along the sides of the cell, which add nothing to its area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xroute.engine.kernels import kernel
from xroute.grids.authalic import below_edge

__all__ = ["are_convex", "common_areas", "turned_left"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@kernel
def turned_left(x: Float, y: Float) -> None:
    """Turn rings [cell, corner] round, in place, that go to the right."""
    n = x.shape[1]
    for cell in range(x.shape[0]):
        twice = 0.0
        for k in range(n):
            j = (k + 1) % n
            twice += (x[cell, k] - x[cell, 0]) * (y[cell, j] - y[cell, 0])
            twice -= (x[cell, j] - x[cell, 0]) * (y[cell, k] - y[cell, 0])
        if twice < 0:
            x[cell], y[cell] = x[cell, ::-1].copy(), y[cell, ::-1].copy()


@kernel
def are_convex(x: Float, y: Float) -> NDArray[np.bool_]:
    """Which rings [cell, corner] that go to the left turn to the right nowhere, and go round once."""
    n = x.shape[1]
    convex = np.ones(x.shape[0], np.bool_)
    for cell in range(x.shape[0]):
        for k in range(n):
            for other in range(n):  # all corners on the left of each side
                j = (k + 1) % n
                dx, dy = x[cell, j] - x[cell, k], y[cell, j] - y[cell, k]
                off = dx * (y[cell, other] - y[cell, k]) - dy * (x[cell, other] - x[cell, k])
                if off < -1e-12 * (dx * dx + dy * dy):
                    convex[cell] = False
    return convex


@kernel
def common_areas(
    lon: Float,
    lat: Float,
    ring_start: Int,
    polygon_start: Int,
    sign: Float,
    polygon: Int,
    cell: Int,
    x: Float,
    y: Float,
) -> Float:
    """Areas [m2] that polygons have in common with convex cells.

    Parameters
    ----------
    lon, lat, ring_start, polygon_start, sign
        The polygons, as `xroute.grids.polygons.Rings`.
    polygon, cell : int [pair]
        Which polygon and which cell.
    x, y : [cell, corner]
        Corners of the cells, to the left around them; a corner may stand several times.
    """
    areas = np.zeros(polygon.size)
    for pair in range(polygon.size):
        own_x, own_y = x[cell[pair]], y[cell[pair]]
        west, east, south, north = own_x.min(), own_x.max(), own_y.min(), own_y.max()
        for ring in range(polygon_start[polygon[pair]], polygon_start[polygon[pair] + 1]):
            first, last = ring_start[ring], ring_start[ring + 1] - 1
            px, py = lon[first:last], lat[first:last]
            if px.min() >= east or px.max() <= west or py.min() >= north or py.max() <= south:
                continue
            for k in range(own_x.size):
                j = (k + 1) % own_x.size
                if own_x[k] != own_x[j] or own_y[k] != own_y[j]:
                    px, py = _left_of(px, py, own_x[k], own_y[k], own_x[j], own_y[j])
                if px.size == 0:
                    break
            total = 0.0
            for k in range(px.size):
                j = k + 1 if k + 1 < px.size else 0
                if px[j] != px[k]:
                    total -= below_edge(px[j] - px[k], py[k], py[j], south)
            areas[pair] += sign[ring] * total
    return areas


@kernel
def _left_of(px: Float, py: Float, ax: float, ay: float, bx: float, by: float) -> tuple[Float, Float]:
    """What of a ring lies on the left of the line from a to b."""
    n = px.size
    dx, dy = bx - ax, by - ay
    off = dx * (py - ay) - dy * (px - ax)
    if off.min() >= 0:
        return px, py
    out_x, out_y = np.empty(2 * n), np.empty(2 * n)
    count = 0
    for k in range(n):
        j = k + 1 if k + 1 < n else 0
        if off[k] >= 0:
            out_x[count], out_y[count] = px[k], py[k]
            count += 1
        if (off[k] >= 0) != (off[j] >= 0):
            part = off[k] / (off[k] - off[j])
            out_x[count] = ax if dx == 0.0 else px[k] + part * (px[j] - px[k])
            out_y[count] = ay if dy == 0.0 else py[k] + part * (py[j] - py[k])
            count += 1
    return out_x[:count], out_y[:count]
