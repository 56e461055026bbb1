"""Moments of travel times along a network: kernels that walk it once, from the outlets up.

A reach delays water by its filter, and on the way down delays add up: so do their means and variances, and their
characteristic functions multiply. Where a reach drains to several, the delays below it are mixed by the shares of the water.
"""

from __future__ import annotations

import numpy as np

from xroute.engine.kernels import kernel

__all__ = ["below_moments", "below_waves", "filter_moments", "filter_waves"]


@kernel
def filter_moments(taps, pointer, pole):  # type: ignore[no-untyped-def]
    """Mass, mean and variance of each reach's response, in steps: those of its taps, and of what its pole makes of each."""
    n = pole.size
    mass, mean, variance = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        total = 0.0
        first = 0.0
        for k in range(pointer[i], pointer[i + 1]):
            total += taps[k]
            first += taps[k] * (k - pointer[i])
        middle = first / total if total != 0.0 else np.nan
        second = 0.0
        for k in range(pointer[i], pointer[i + 1]):
            second += taps[k] * (k - pointer[i] - middle) ** 2
        rest = 1.0 - pole[i]
        mass[i] = total / rest
        mean[i] = middle + pole[i] / rest
        variance[i] = (second / total if total != 0.0 else np.nan) + pole[i] / (rest * rest)
    return mass, mean, variance


@kernel
def below_moments(  # type: ignore[no-untyped-def]
    order, pointer, downstream, weight, is_target, mass, mean, variance
):  # fmt: skip
    """Of water that leaves each reach: which share of it gets to a target, with which mean and variance of the time it takes.

    Links are those out of each reach (CSR); ``mass``, ``mean`` and ``variance`` are of each reach. A target is the end.
    """
    n = order.size
    share, middle, spread = np.zeros(n), np.full(n, np.nan), np.full(n, np.nan)
    for step in range(n - 1, -1, -1):
        i = order[step]
        if is_target[i]:
            share[i], middle[i], spread[i] = 1.0, 0.0, 0.0
            continue
        total = 0.0
        first = 0.0
        for j in range(pointer[i], pointer[i + 1]):
            d = downstream[j]
            part = weight[j] * mass[d] * share[d]
            if part != 0.0:
                total += part
                first += part * (mean[d] + middle[d])
        if total == 0.0:
            continue
        first /= total
        second = 0.0
        for j in range(pointer[i], pointer[i + 1]):
            d = downstream[j]
            part = weight[j] * mass[d] * share[d]
            if part != 0.0:
                second += part * (variance[d] + spread[d] + (mean[d] + middle[d] - first) ** 2)
        share[i], middle[i], spread[i] = total, first, second / total
    return share, middle, spread


@kernel
def filter_waves(taps, pointer, pole, mean, turn):  # type: ignore[no-untyped-def]
    """Of each reach's delay L, in steps: E[z^L] and E[(L - mean) z^L] at a point z of the unit circle."""
    n = pole.size
    wave, slope = np.empty(n, np.complex128), np.empty(n, np.complex128)
    for i in range(n):
        total = 0.0 + 0.0j
        first = 0.0 + 0.0j
        mass = 0.0
        z = 1.0 + 0.0j
        for k in range(pointer[i], pointer[i + 1]):
            mass += taps[k]
            total += taps[k] * z
            first += taps[k] * (k - pointer[i]) * z
            z *= turn
        again = 1.0 / (1.0 - pole[i] * turn)
        size = mass / (1.0 - pole[i])
        wave[i] = total * again / size
        slope[i] = (first + total * pole[i] * turn * again) * again / size - mean[i] * wave[i]
    return wave, slope


@kernel
def below_waves(  # type: ignore[no-untyped-def]
    order, pointer, downstream, weight, is_target, mass, mean, share, middle, wave, slope
):  # fmt: skip
    """What `filter_waves` gives of the delay from where water leaves each reach to a target, each about its own mean."""
    n = order.size
    found, tilt = np.zeros(n, np.complex128), np.zeros(n, np.complex128)
    for step in range(n - 1, -1, -1):
        i = order[step]
        if is_target[i]:
            found[i] = 1.0
            continue
        if share[i] == 0.0:
            continue
        for j in range(pointer[i], pointer[i + 1]):
            d = downstream[j]
            part = weight[j] * mass[d] * share[d] / share[i]
            if part != 0.0:
                both = wave[d] * found[d]
                found[i] += part * both
                tilt[i] += part * (slope[d] * found[d] + wave[d] * tilt[d] + (mean[d] + middle[d] - middle[i]) * both)
    return found, tilt
