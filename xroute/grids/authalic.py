"""True areas on the ellipsoid: the one place where its formula stands.

The cylindrical equal-area projection takes longitude and latitude to a plane in which areas are those on the ground: across,
the longitude; upwards, the height ``h(latitude)``, the area per unit of longitude between the equator and a parallel. With the
eccentricity ``e``, the semi-major axis ``a`` and ``s = sin(latitude)`` (Snyder 1987, Map Projections, eq. 3-12)::

    h = a**2 / 2 * (1 - e**2) * (s / (1 - e**2 * s**2) + atanh(e * s) / e)

An area is the integral of ``h`` along its edge over longitude (Green). Edges are straight in longitude and latitude, as
geographic information systems and GeoJSON (RFC 7946, 3.1.1) take them, and curved in that plane: the integral along each is
taken by Gauss's quadrature, so that no edge is approximated by chords.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from xroute.engine.kernels import kernel

__all__ = ["SEMI_MAJOR", "below_edge", "cell_areas", "height_between", "ring_areas"]

SEMI_MAJOR = 6378137.0
"""Of the WGS 84 ellipsoid [m], as is the flattening."""
FLATTENING = 1 / 298.257223563
_E2 = FLATTENING * (2 - FLATTENING)
_E = math.sqrt(_E2)
_RADIAN = math.pi / 180
_SCALE = SEMI_MAJOR**2 / 2 * (1 - _E2) * _RADIAN
_NODE = math.sqrt(0.6)
WHOLE = 5.0
"""Degrees of latitude over which one quadrature of three nodes is exact to 1e-12."""


@kernel
def height_between(low: float, high: float) -> float:
    """Area [m2] per degree of longitude between two latitudes [degree], to rounding also where they are close."""
    mean, half = (low + high) / 2 * _RADIAN, (high - low) / 2 * _RADIAN
    rise = 2 * math.cos(mean) * math.sin(half)  # of the sine
    s, t = math.sin(low * _RADIAN), math.sin(high * _RADIAN)
    z = _E * rise / (1 - _E2 * s * t)
    if abs(z) < 0.01:
        z2 = z * z
        area_tangent = z * (1 + z2 * (1 / 3 + z2 * (1 / 5 + z2 * (1 / 7 + z2 / 9))))
    else:
        area_tangent = math.atanh(z)
    return _SCALE * (rise * (1 + _E2 * s * t) / ((1 - _E2 * s * s) * (1 - _E2 * t * t)) + area_tangent / _E)


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
