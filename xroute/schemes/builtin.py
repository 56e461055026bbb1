"""The built-in schemes, in differentiable torch code: each formula stands here and nowhere else.

The mean travel time of a reach is kept exactly, whatever the step. A scheme is its functions and its row of `BUILT_IN`, which
says all that others ask of it; the truth that it is tested against is another row (``tests/reference_schemes.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.schemes.base import Float, Parameter, Scheme, Window

if TYPE_CHECKING:
    import torch

__all__ = ["BUILT_IN", "DEFAULT_SCHEME", "translation"]


def _fused(formula: str) -> Callable[[Any], Any]:
    """Say of a filter that on a GPU one kernel makes it, with its gradients: `xroute.schemes.fused` has the formula."""

    def mark(filter: Any) -> Any:
        filter.fused = formula
        return filter

    return mark


# ── taps and a pole: exact in time, however slow the reach ──────────────────────────────────────────────────────────────


@_fused("linear_storage")
def _linear_storage(dt: float, n_taps: int, *, tau: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear reservoir, outflow = storage / tau, stepped implicitly (Zoch 1934)."""
    a = 1 / (1 + tau / dt)
    return a[:, None], (tau / dt) * a


@_fused("muskingum")
def _muskingum(dt: float, n_taps: int, *, k: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """McCarthy (1938); coefficients as in Cunge (1969), with C0 + C1 + pole = 1."""
    import torch

    kx = k * x
    over = 1 / (k - kx + dt / 2)
    return torch.stack([(dt / 2 - kx) * over, (dt / 2 + kx) * over], dim=1), 1 - dt * over


def _muskingum_steps(*, k: Float, x: Float) -> tuple[Float, Float]:
    """``2kx <= dt <= 2k(1-x)``: below, C0 is negative; above, the pole (Cunge 1969)."""
    kx = k * x
    return 2 * kx, 2 * (k - kx)


@_fused("muskingum_exact")
def _muskingum_exact(dt: float, n_taps: int, *, k: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """k(1-x) dQ/dt + Q = I - kx dI/dt, solved for inflow that is linear within a step.

    With p = exp(-s), s = dt / (k(1-x)): C0 = 1 - (k/dt)(1-p) and C1 = (k/dt)(1-p) - p. Both are differences of nearly equal
    numbers where dt is much less than k, so they are made of 1 - (1-p)/s and (1-p)/s - p, which have a series.
    """
    import torch

    s = dt / (k * (1 - x))
    pole = torch.exp(-s)
    short = s < 0.5
    near, far = torch.where(short, s, 0.5), torch.where(short, 0.5, s)  # neither form meets what it cannot do
    at_start = torch.where(short, near * _phi2(-near), 1 + torch.expm1(-far) / far)
    at_end = torch.where(short, near * torch.exp(-near) * _phi2(near), -torch.expm1(-far) / far - torch.exp(-far))
    return torch.stack([(at_start - x) / (1 - x), (at_end + x * pole) / (1 - x)], dim=1), pole


def _phi2(z: torch.Tensor) -> torch.Tensor:
    """(exp(z) - 1 - z) / z^2 for abs(z) <= 1/2, by its series."""
    total = z / math.factorial(15) + 1 / math.factorial(14)
    for j in range(13, 1, -1):
        total = total * z + 1 / math.factorial(j)
    return total


def _muskingum_exact_steps(*, k: Float, x: Float) -> tuple[Float, Float]:
    """C0 >= 0, that is (1 - exp(-s)) / s <= 1 - x with s = dt / (k(1-x)): Lambert's function says from which s on."""
    from scipy.special import lambertw

    b = 1 / (1 - x)
    s = np.where(x < 1e-3, x * (2 + x * (4 / 3 + x * (10 / 9))), b + lambertw(-b * np.exp(-b)).real)
    return s * k * (1 - x), np.full(np.shape(k), np.inf)


# ── windows: responses of finite length to means over steps ─────────────────────────────────────────────────────────────


def _nash_cascade(dt: float, n_taps: int, /, *, tau: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, None]:
    """A cascade of n linear reservoirs (Nash 1957): negative binomial in discrete time, n real."""
    import torch

    t = torch.arange(n_taps, dtype=torch.float64, device=tau.device)
    tau, n = tau[:, None], n[:, None]
    # a = 1 / (1 + tau/dt); logarithms, because the factorials overflow
    log_a, log_rest = -torch.log1p(tau / dt), -torch.log1p(dt / tau)
    log_taps = n * log_a + torch.lgamma(t + n) - torch.lgamma(n) - torch.lgamma(t + 1) + t * log_rest
    return torch.exp(log_taps), None


def _nash_mass(dt: float, count: Float, /, *, tau: Float, n: Float) -> Float:
    from scipy.special import betainc

    return np.asarray(betainc(n, count, 1 / (1 + tau / dt)))


def _nash_mean(dt: float, /, *, tau: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    return n * (tau / dt)


def _pure_lag(dt: float, n_taps: int, *, delay: torch.Tensor) -> tuple[torch.Tensor, None]:
    """Translation by ``delay``, linear between the two steps around it."""
    return translation(delay / dt, n_taps), None


def translation(at: torch.Tensor, n_taps: int) -> torch.Tensor:
    """Taps [reach, n_taps] of a delay of so many steps [reach]."""
    import torch

    whole = torch.floor(at.detach())
    t = torch.arange(n_taps, dtype=torch.float64, device=at.device)
    part = (at - whole)[:, None]
    first = (t == whole[:, None]).to(torch.float64)
    second = (t == whole[:, None] + 1).to(torch.float64)
    return first * (1 - part) + second * part


def _lag_mass(dt: float, count: Float, /, *, delay: Float) -> Float:
    return np.where(count >= np.floor(delay / dt) + 2, 1.0, 0.0)


def _hayami(
    dt: float, n_taps: int, *, length: torch.Tensor, diffusivity: torch.Tensor, celerity: torch.Tensor
) -> tuple[torch.Tensor, None]:
    """Diffusive wave (Hayami 1951): its travel time T is inverse Gaussian (Schrödinger 1915).

    Runoff and discharge are means over a step, so T is averaged over both: ``taps[k]`` is the second difference of
    H(t) = E[max(t - T, 0)], in steps. H is max(t - mean, 0), whose second difference is a translation, and `_spread`.
    """
    import torch

    mean, variance = length / (celerity * dt), diffusivity / celerity / celerity / dt
    edge = torch.arange(-1, n_taps + 1, dtype=torch.float64, device=length.device)
    spread = _spread(edge, mean[:, None], variance[:, None])
    taps = translation(mean, n_taps) + torch.diff(spread, n=2, dim=1)
    return taps.clamp(min=0.0), None  # none is below zero but by rounding


def _spread(t: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """E[max(t - T, 0)] - max(t - mean, 0) of the travel time T, in steps; ``variance`` is D/c^2, half that per step of mean.

    With Phi the normal distribution and w = sqrt(2 variance t), E[max(t - T, 0)] is (t - mean) Phi((t - mean)/w) + (t + mean)
    exp(mean/variance) Phi(-(t + mean)/w). The exponential overflows and the terms cancel; but they have one normal density
    in common, and what remains are two Mills ratios.
    """
    import torch

    after = t > 0
    t = torch.where(after, t, 1.0)  # where the rest has values and gradients
    late = t > torch.floor(mean.detach())  # the steps that the translation takes to be after the mean
    width = torch.sqrt(2 * variance * t)
    z = (t - mean) / width
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    both = _times_mills((t + mean) / width) - _times_mills(torch.where(late, z, -z))
    return torch.where(after, width * density * both, 0.0)


def _times_mills(a: torch.Tensor) -> torch.Tensor:
    """``a Phi(-a) / phi(a)``."""
    import torch

    return a * torch.special.erfcx(a * math.sqrt(0.5)) * math.sqrt(math.pi / 2)


def _hayami_mass(dt: float, count: Float, /, *, length: Float, diffusivity: Float, celerity: Float) -> Float:
    import torch

    mean, variance = length / (celerity * dt), diffusivity / celerity / celerity / dt
    steps = torch.as_tensor(np.stack([count - 1, count]))
    before, after = _spread(steps, torch.as_tensor(mean), torch.as_tensor(variance)).numpy()
    return np.clip(count - mean, 0.0, 1.0) + (after - before)


def _hayami_mean(
    dt: float, /, *, length: torch.Tensor, diffusivity: torch.Tensor, celerity: torch.Tensor
) -> torch.Tensor:
    return length / (celerity * dt)


# ── the rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _positive(
    name: str, units: str, long_name: str, usual: tuple[float, float], default: float | None = None
) -> Parameter:
    return Parameter(name, units, low=0.0, low_open=True, default=default, long_name=long_name, usual=usual)


_K_AND_X = (
    _positive("k", "s", "Muskingum travel time", (72.0, 18_000.0)),
    Parameter("x", low=0.0, high=0.5, long_name="Muskingum weight of inflow against outflow", usual=(0.0, 0.5)),
)


def _k_and_x(*, length: Float, celerity: Float, weight: Float) -> dict[str, Float]:
    return {"k": length / celerity, "x": weight}


DEFAULT_SCHEME = "muskingum"
"""Scheme of synthetic rivers, and of files and tables with a k and an x, which are RAPID's or made as for RAPID."""

BUILT_IN = (
    Scheme(
        "muskingum",
        _K_AND_X,
        _muskingum,
        summary="travel time and weighting of inflow, trapezoidal; RAPID's",
        travel_time="k",
        step_range=_muskingum_steps,
        step_rule="2kx <= dt <= 2k(1-x)",
        instead="muskingum_exact",
        of_reach=_k_and_x,
    ),
    Scheme(
        "muskingum_exact",
        _K_AND_X,
        _muskingum_exact,
        summary="the same storage equation, solved exactly within a step: no reach is too short",
        travel_time="k",
        step_range=_muskingum_exact_steps,
        of_reach=_k_and_x,
    ),
    Scheme(
        "linear_storage",
        (_positive("tau", "s", "residence time", (36.0, 72_000.0)),),
        _linear_storage,
        summary="one linear reservoir; lakes, too",
        travel_time="tau",
        of_reach=lambda length, celerity, weight: {"tau": length / celerity},
    ),
    Scheme(
        "nash_cascade",
        (
            _positive("tau", "s", "residence time of one reservoir", (72.0, 3600.0)),
            _positive("n", "1", "number of reservoirs in series", (0.5, 4.0), default=3.0),
        ),
        _nash_cascade,
        summary="`n` reservoirs in series, `n` may be fractional",
        travel_time="n * tau",
        window=Window(_nash_mass, _nash_mean),
        of_reach=lambda length, celerity, weight: {"tau": length / celerity / 3, "n": np.full(length.shape, 3.0)},
    ),
    Scheme(
        "pure_lag",
        (Parameter("delay", "s", low=0.0, long_name="travel time", usual=(0.0, 14_400.0)),),
        _pure_lag,
        summary="translation only",
        travel_time="delay",
        window=Window(_lag_mass),
        of_reach=lambda length, celerity, weight: {"delay": length / celerity},
    ),
    Scheme(
        "hayami",
        (
            _positive("length", "m", "reach length", (300.0, 10_000.0)),
            _positive("diffusivity", "m2 s-1", "diffusivity of the flood wave", (50.0, 1000.0)),
            _positive("celerity", "m s-1", "celerity of the flood wave", (0.8, 3.0)),
        ),
        _hayami,
        summary="diffusive wave",
        travel_time="length / celerity",
        window=Window(_hayami_mass, _hayami_mean),
        of_reach=lambda length, celerity, weight: {
            "celerity": celerity, "diffusivity": celerity * length * (0.5 - weight), "length": length,
        },
    ),
)  # fmt: skip
"""The schemes that there are without any being registered. The order of a scheme's parameters stays: optimisers of a `Router`,
whose state is saved with it, know them by their numbers."""
