"""Hydraulics of a wide rectangular channel with uniform flow, each formula once, in SI units and numpy.

In a channel much wider than deep, with the bed's slope for the friction slope, Manning's formula gives the depth
``h = (n Q / (B sqrt(S)))^(3/5)``, the mean velocity ``v = Q / (B h)``, and a flood wave whose celerity is 5/3 of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ROUGHNESS",
    "WIDTH_COEFFICIENT",
    "WIDTH_EXPONENT",
    "cunge_weight",
    "diffusivity",
    "flood_celerity",
    "regime_width",
]

Float = NDArray[np.float64]

WIDTH_COEFFICIENT, WIDTH_EXPONENT = 7.2, 0.5
"""Of the width [m] by the discharge [m3 s-1] in ``B = a Q^b``: Moody and Troutman (2002), of rivers of all sizes."""
ROUGHNESS = 0.035
"""Manning's n [s m-1/3] of natural streams in plains: between Chow's (1959, table 5-6) 0.030 for straight and clean ones and
0.040 for winding ones."""


def regime_width(discharge: Float) -> Float:
    """Width [m] of a river with this mean discharge: downstream hydraulic geometry (Leopold and Maddock 1953)."""
    return WIDTH_COEFFICIENT * discharge**WIDTH_EXPONENT


def flood_celerity(discharge: Float, slope: Float, width: Float, roughness: Float) -> Float:
    """Celerity [m s-1] of the kinematic wave, ``dQ/dA = 5/3 v`` (Kleitz 1877, Seddon 1900; Lighthill and Whitham 1955)."""
    depth = (roughness * discharge / (width * np.sqrt(slope))) ** 0.6
    return 5 / 3 * discharge / (width * depth)


def diffusivity(discharge: Float, slope: Float, width: Float) -> Float:
    """Diffusivity [m2 s-1] of the flood wave, ``Q / (2 B S)`` (Hayami 1951)."""
    return discharge / (2 * width * slope)


def cunge_weight(diffusivity: Float, celerity: Float, length: Float) -> Float:
    """Weight x with which Muskingum's numerical diffusion is the wave's own (Cunge 1969): ``1/2 - D / (c L)``.

    With `diffusivity` it is ``1/2 (1 - Q / (B S c L))``, and below zero where a reach is short.
    """
    return 0.5 - diffusivity / (celerity * length)
