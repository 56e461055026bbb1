"""Every scheme's coefficients, one reach at a time, written from the literature: the judge of xroute.schemes.

All times are in seconds. Each function returns ``(taps, pole)``, the taps untruncated unless ``n_taps`` says how many.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import linalg, stats

WINDOW = 1e-6  # the mass that a window may leave out before it is given back


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


def muskingum_exact(dt: float, *, k: float, x: float) -> tuple[np.ndarray, float]:
    """k(1-x) dQ/dt + Q = I - kx dI/dt for I linear within a step, by the matrix exponential of (Q, I, dI/dt)."""
    storage = k * (1.0 - x)
    system = np.array([[-1.0, 1.0, -k * x], [0.0, 0.0, storage], [0.0, 0.0, 0.0]]) / storage
    of_outflow, of_inflow, of_slope = linalg.expm(system * dt)[0]
    return np.array([of_slope / dt, of_inflow - of_slope / dt]), of_outflow


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
    """First passage of a diffusive wave (Hayami, 1951): inverse Gaussian, averaged over a step of inflow and of outflow.

    With F the chance to have passed, what has left by t of a step's inflow is the mean of F over a step before t; both means
    are integrals of scipy's F, by Gauss-Legendre in panels that are fine about the mean.
    """
    mean = length / celerity
    shape = length**2 / (2.0 * diffusivity)
    travel_time = stats.invgauss(mean / shape, scale=shape)
    spread = min(math.sqrt(mean / shape), 1.0)
    about_mean = mean * np.exp(spread * np.linspace(-9.0, 9.0, 91)) / dt
    steps = np.arange(n_taps + 1.0)
    edge = np.union1d(steps, about_mean[about_mean < n_taps])
    node, weight = np.polynomial.legendre.leggauss(20)
    width = np.diff(edge)
    passed = travel_time.cdf((edge[:-1, None] + width[:, None] * (node + 1.0) / 2.0) * dt)
    integral = (passed * weight).sum(axis=1) * width / 2.0
    in_step = np.add.reduceat(integral, np.searchsorted(edge, steps[:-1]))
    return np.diff(in_step, prepend=0.0), 0.0


def windowed(taps: np.ndarray, mean: float) -> np.ndarray:
    """The fewest taps that keep all but 1e-6 of the mass; the last one and a factor on all of them keep mass and mean."""
    n_taps = max(int(np.searchsorted(np.cumsum(taps), 1.0 - WINDOW)) + 1, math.floor(mean + 0.5) + 2)
    if n_taps > taps.size:
        raise ValueError("n_taps was too small for the window")
    taps = taps[:n_taps].copy()
    last = n_taps - 1.0
    factor, extra = np.linalg.solve([[taps.sum(), 1.0], [(taps * np.arange(n_taps)).sum(), last]], [1.0, mean])
    taps *= factor
    taps[-1] += extra
    return taps


@dataclass(frozen=True)
class Truth:
    """A row of the truth: what a scheme's filter is, and what its continuous response is in the mean."""

    filter: Callable[..., tuple[np.ndarray, float]]
    """``filter(dt, **parameters) -> (taps, pole)``; with ``n_taps`` too where the response is without end, and is cut off."""
    mean: Callable[..., float]
    """Mean travel time [s]."""
    of_duration: Callable[[float], dict[str, float]]
    """Parameters of a reach with a mean travel time of so many seconds."""

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(name for name in inspect.signature(self.filter).parameters if name not in ("dt", "n_taps"))

    @property
    def is_cut_off(self) -> bool:
        return "n_taps" in inspect.signature(self.filter).parameters


TRUTH: Mapping[str, Truth] = {
    "muskingum": Truth(muskingum, lambda k, x: k, lambda t: {"k": t, "x": 0.2}),
    "muskingum_exact": Truth(muskingum_exact, lambda k, x: k, lambda t: {"k": t, "x": 0.2}),
    "linear_storage": Truth(linear_storage, lambda tau: tau, lambda t: {"tau": t}),
    "nash_cascade": Truth(nash_cascade, lambda tau, n=3.0: n * tau, lambda t: {"tau": t / 2.5, "n": 2.5}),
    "pure_lag": Truth(pure_lag, lambda delay: delay, lambda t: {"delay": t}),
    "hayami": Truth(
        hayami,
        lambda length, diffusivity, celerity: length / celerity,
        lambda t: {"length": 1.2 * t, "celerity": 1.2, "diffusivity": 0.1 * 1.2**2 * t},
    ),
}
"""A row a scheme: all that a test knows of one by its name."""


def mean_steps(scheme: str, dt: float, **parameters: float) -> float:
    """Mean travel time of the continuous response, in steps."""
    return TRUTH[scheme].mean(**parameters) / dt


@cache
def reference_filter(scheme: str, dt: float, **parameters: float) -> tuple[np.ndarray, float]:
    """Taps (windowed where the response is infinite) and pole of one reach."""
    truth = TRUTH[scheme]
    if not truth.is_cut_off:
        return truth.filter(dt, **parameters)
    for n_taps in (64, 512, 4096):
        taps, pole = truth.filter(dt, n_taps=n_taps, **parameters)
        if taps.sum() > 1.0 - WINDOW:
            break
    return windowed(taps, mean_steps(scheme, dt, **parameters)), pole


def impulse_response(scheme: str, dt: float, n_time: int, **parameters: float) -> np.ndarray:
    """What leaves one reach after 1 enters in the first step, from a closed form rather than by recursion."""
    taps, pole = reference_filter(scheme, dt, **parameters)
    since = np.arange(n_time)[:, None] - np.arange(taps.size)  # each tap gives a power of the pole from its own step on
    return np.where(since >= 0, taps * pole ** np.maximum(since, 0.0), 0.0).sum(axis=1)


def reference_filters(
    schemes: np.ndarray, parameters: Mapping[str, np.ndarray], dt: float, lateral: str = "head"
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Taps, pole and gain of each reach, from its scheme's name and the parameters (SI) that this scheme takes."""
    taps, pole, gain = [], np.zeros(len(schemes)), np.zeros(len(schemes))
    for i, scheme in enumerate(map(str, schemes)):
        own = {name: float(parameters[name][i]) for name in TRUTH[scheme].parameters if name in parameters}
        kernel, pole[i] = reference_filter(scheme, dt, **own)
        taps.append(kernel)
        if lateral == "interval":
            gain[i] = kernel.sum()  # runoff that is constant over the step counts at both of its ends (David et al., 2011)
    return taps, pole, gain
