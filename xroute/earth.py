"""The Earth as an ellipsoid: lengths of geodesics and areas between parallels, each formula once (numba, no labels).

And longitudes and latitudes as places in space and back, on the unit sphere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from xroute.engine.kernels import kernel

__all__ = ["FLATTENING", "SEMI_MAJOR", "distances", "from_space", "height_between", "in_space"]

SEMI_MAJOR = 6378137.0
"""Of the WGS 84 ellipsoid [m], as is the flattening."""
FLATTENING = 1 / 298.257223563
_E2 = FLATTENING * (2 - FLATTENING)
_E = math.sqrt(_E2)
_SEMI_MINOR = SEMI_MAJOR * (1 - FLATTENING)
_RADIAN = math.pi / 180
_SCALE = SEMI_MAJOR**2 / 2 * (1 - _E2) * _RADIAN


@kernel
def height_between(low: float, high: float) -> float:
    """Area [m2] per degree of longitude between two latitudes [degree], to rounding also where they are close.

    Up to the parallel with the sine ``s`` it is ``a**2 / 2 (1 - e**2) (s / (1 - e**2 s**2) + atanh(e s) / e)`` (Snyder 1987, Map
    Projections, eq. 3-12), with the semi-major axis ``a`` and the eccentricity ``e``.
    """
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
def _distance(lon: float, lat: float, other_lon: float, other_lat: float) -> float:
    """Length [m] of the geodesic between two points [degree] that are not opposite to each other (Vincenty 1975)."""
    u = math.atan((1 - FLATTENING) * math.tan(lat * _RADIAN))
    v = math.atan((1 - FLATTENING) * math.tan(other_lat * _RADIAN))
    apart = ((other_lon - lon + 180.0) % 360.0 - 180.0) * _RADIAN
    su, cu, sv, cv = math.sin(u), math.cos(u), math.sin(v), math.cos(v)
    on_sphere = apart
    s = c = sigma = cos2 = middle = 0.0
    for _ in range(100):
        sl, cl = math.sin(on_sphere), math.cos(on_sphere)
        s = math.hypot(cv * sl, cu * sv - su * cv * cl)
        if s == 0.0:
            return 0.0
        c = su * sv + cu * cv * cl
        sigma = math.atan2(s, c)
        sin_azimuth = cu * cv * sl / s
        cos2 = 1 - sin_azimuth * sin_azimuth
        middle = c - 2 * su * sv / cos2 if cos2 > 1e-16 else 0.0
        k = FLATTENING / 16 * cos2 * (4 + FLATTENING * (4 - 3 * cos2))
        before = on_sphere
        on_sphere = apart + (1 - k) * FLATTENING * sin_azimuth * (
            sigma + k * s * (middle + k * c * (2 * middle * middle - 1))
        )
        if abs(on_sphere - before) < 1e-14:
            break
    w = cos2 * (SEMI_MAJOR**2 / _SEMI_MINOR**2 - 1)
    a = 1 + w / 16384 * (4096 + w * (w * (320 - 175 * w) - 768))
    b = w / 1024 * (256 + w * (w * (74 - 47 * w) - 128))
    turn = b * s * (
        middle
        + b / 4 * (c * (2 * middle * middle - 1) - b / 6 * middle * (4 * s * s - 3) * (4 * middle * middle - 3))
    )
    return _SEMI_MINOR * a * (sigma - turn)


@kernel
def _distances(lon, lat, other_lon, other_lat):  # type: ignore[no-untyped-def]
    found = np.empty(lon.size)
    for i in range(lon.size):
        found[i] = _distance(lon[i], lat[i], other_lon[i], other_lat[i])
    return found


def distances(
    lon: NDArray[np.float64], lat: NDArray[np.float64], other_lon: NDArray[np.float64], other_lat: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Lengths [m] of the geodesics between pairs of points [degree] that are not nearly opposite to each other [point]."""
    found: NDArray[np.float64] = _distances(lon, lat, other_lon, other_lat)
    return found


def in_space(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places [..., 3] on the unit sphere of longitudes and latitudes [degree]."""
    east, north = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)


def from_space(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes [degree] of directions [..., 3] of any length."""
    x, y, z = np.moveaxis(places, -1, 0)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
