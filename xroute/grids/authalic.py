"""True areas on the ellipsoid, of cells and of polygons.

The cylindrical equal-area projection takes longitude and latitude to a plane in which areas are those on the ground: across,
the longitude; upwards, the height ``h(latitude)``, the area per unit of longitude between the equator and a parallel
(`xroute.earth.height_between`).

An area is the integral of ``h`` along its edge over longitude (Green). Edges are straight in longitude and latitude, as
geographic information systems and GeoJSON (RFC 7946, 3.1.1) take them, and curved in that plane: the integral along each is
taken by Gauss's quadrature, so that no edge is approximated by chords.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from xroute.earth import height_between
from xroute.engine.kernels import kernel

__all__ = ["below_edge", "cell_areas", "ring_areas"]

_NODE = math.sqrt(0.6)
WHOLE = 5.0
"""Degrees of latitude over which one quadrature of three nodes is exact to 1e-12."""


@kernel
def below_edge(width: float, start: float, end: float, base: float) -> float:
    """Area [m2] between a straight edge and a parallel.

    Parameters
    ----------
    width
        Degrees of longitude from one end of the edge to the other.
    start, end
        Latitudes of its ends.
    base
        Latitude of the parallel.
    """
    if start == end:
        return width * height_between(base, start)
    n = int(abs(end - start) / WHOLE) + 1
    total = 0.0
    for part in range(n):
        middle = start + (end - start) * (part + 0.5) / n
        reach = (end - start) / n / 2 * _NODE
        total += 5 * height_between(base, middle - reach) + 8 * height_between(base, middle)
        total += 5 * height_between(base, middle + reach)
    return width * total / (18 * n)


@kernel
def ring_areas(lon: NDArray[np.float64], lat: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Areas [m2] of closed rings, positive where they turn to the left.

    Parameters
    ----------
    lon, lat : [vertex]
        Vertices of the rings, one ring after another, the first vertex again as the last.
    starts : [ring + 1]
        Where each ring starts.
    """
    areas = np.zeros(starts.size - 1)
    for ring in range(starts.size - 1):
        first, last = starts[ring], starts[ring + 1] - 1
        if first > last:
            continue
        base = lat[first]
        total = 0.0
        for i in range(first, last):
            if lon[i + 1] != lon[i]:
                total -= below_edge(lon[i + 1] - lon[i], lat[i], lat[i + 1], base)
        areas[ring] = total
    return areas


@kernel
def cell_areas(
    west: NDArray[np.float64], east: NDArray[np.float64], south: NDArray[np.float64], north: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Areas [m2] of cells between meridians and parallels."""
    areas = np.empty(west.size)
    for i in range(west.size):
        areas[i] = (east[i] - west[i]) * height_between(south[i], north[i])
    return areas
