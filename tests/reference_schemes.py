"""Every scheme's coefficients, one reach at a time, written from the literature: the judge of xroute.schemes.

All times are in seconds. Each function returns ``(taps, pole)``, the taps untruncated unless ``n_taps`` says how many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from scipy import stats

WINDOW = 1e-6  # the mass that a window may leave out before it is renormalised


def linear_storage(dt: float, *, tau: float) -> tuple[np.ndarray, float]:
    """tau dq/dt = I - q, implicit: q[t] = q[t-1] + (I[t] - q[t]) dt/tau."""
    a = 1.0 / (1.0 + tau / dt)
    return np.array([a]), 1.0 - a


def muskingum(dt: float, *, k: float, x: float) -> tuple[np.ndarray, float]:
    """S = k (x I + (1-x) q) and the trapezoidal continuity equation (McCarthy, 1938)."""
    denominator = 2.0 * k * (1.0 - x) + dt
    c0 = (dt - 2.0 * k * x) / denominator
    c1 = (dt + 2.0 * k * x) / denominator
    c2 = (2.0 * k * (1.0 - x) - dt) / denominator
    return np.array([c0, c1]), c2


def muskingum_gain(dt: float, *, k: float, x: float) -> float:
    """Runoff that is constant over the step counts at both of its ends: C0 + C1 (David et al., 2011)."""
    taps, _ = muskingum(dt, k=k, x=x)
    return float(taps.sum())


def pure_lag(dt: float, *, delay: float) -> tuple[np.ndarray, float]:
    """Shift by delay/dt steps, linear between the two whole ones."""
    steps = delay / dt
    whole = math.floor(steps)
    part = steps - whole
    taps = np.zeros(whole + 2)
    taps[whole] = 1.0 - part
    taps[whole + 1] = part
    return (taps[:-1] if part == 0.0 else taps), 0.0


def nash_cascade(dt: float, *, tau: float, n: float = 3.0, n_taps: int) -> tuple[np.ndarray, float]:
    """n implicit linear storages in a row (Nash, 1957): the negative binomial distribution, n real."""
    a = 1.0 / (1.0 + tau / dt)
    return stats.nbinom(n, a).pmf(np.arange(n_taps)), 0.0


def hayami(dt: float, *, length: float, diffusivity: float, celerity: float, n_taps: int) -> tuple[np.ndarray, float]:
    """First passage of a diffusive wave (Hayami, 1951): inverse Gaussian, integrated over each step."""
    mean = length / celerity
    shape = length**2 / (2.0 * diffusivity)
    travel_time = stats.invgauss(mean / shape, scale=shape)
    return np.diff(travel_time.cdf(np.arange(n_taps + 1) * dt)), 0.0


def windowed(taps: np.ndarray) -> np.ndarray:
    """The fewest taps that keep all but 1e-6 of the mass, with that mass back in proportion."""
    kept = np.cumsum(taps)
    n_taps = int(np.searchsorted(kept, 1.0 - WINDOW)) + 1
    if n_taps > taps.size:
        raise ValueError("n_taps was too small for the window")
    return taps[:n_taps] / taps[:n_taps].sum()


SCHEMES: Mapping[str, Callable[..., tuple[np.ndarray, float]]] = {
    "linear_storage": linear_storage,
    "muskingum": muskingum,
    "pure_lag": pure_lag,
    "nash_cascade": nash_cascade,
    "hayami": hayami,
}


@cache
def reference_filter(scheme: str, dt: float, **parameters: float) -> tuple[np.ndarray, float]:
    """Taps (windowed and renormalised where the response is infinite) and pole of one reach."""
    if scheme in ("nash_cascade", "hayami"):
        for n_taps in (64, 512, 4096):
            taps, pole = SCHEMES[scheme](dt, n_taps=n_taps, **parameters)
            if taps.sum() > 1.0 - WINDOW:
                break
        return windowed(taps), pole
    return SCHEMES[scheme](dt, **parameters)


def impulse_response(scheme: str, dt: float, n_time: int, **parameters: float) -> np.ndarray:
    """What leaves one reach after 1 enters in the first step, from closed forms rather than by recursion."""
    t = np.arange(n_time)
    if scheme == "linear_storage":
        a = 1.0 / (1.0 + parameters["tau"] / dt)
        return a * (1.0 - a) ** t
    if scheme == "muskingum":
        (c0, c1), c2 = muskingum(dt, **parameters)
        response = (c1 + c2 * c0) * c2 ** np.maximum(t - 1, 0)
        response[0] = c0
        return response
    taps, _ = reference_filter(scheme, dt, **parameters)
    response = np.zeros(n_time)
    n_taps = min(n_time, taps.size)
    response[:n_taps] = taps[:n_taps]
    return response


def reference_filters(
    schemes: np.ndarray, parameters: Mapping[str, np.ndarray], dt: float, lateral: str = "head"
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Taps, pole and gain of each reach, from its scheme's name and the parameters (SI) that this scheme takes."""
    names = {
        "linear_storage": ("tau",),
        "muskingum": ("k", "x"),
        "pure_lag": ("delay",),
        "nash_cascade": ("tau", "n"),
        "hayami": ("length", "diffusivity", "celerity"),
    }
    taps, pole, gain = [], np.zeros(len(schemes)), np.zeros(len(schemes))
    for i, scheme in enumerate(schemes):
        own = {name: float(parameters[name][i]) for name in names[str(scheme)] if name in parameters}
        kernel, pole[i] = reference_filter(str(scheme), dt, **own)
        taps.append(kernel)
        if lateral == "interval":
            gain[i] = muskingum_gain(dt, **own)
    return taps, pole, gain
