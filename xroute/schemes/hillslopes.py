"""Unit hydrographs of hillslopes: what becomes of runoff before it reaches its channel, in differentiable torch code.

Runoff is a mean over its step, and so is what arrives. So the travel time T is averaged over both: ``taps[k]`` is the second
difference of H(t) = E[max(t - T, 0)], t in steps. That is the exact response to runoff that is constant within a step, and its mean
is that of T at any step. H is max(t - mean, 0), whose second difference is a translation, and a spread about it, which for
late t is E[max(T - t, 0)]: neither cancels. The discretisations of two other models stand at the end, for those who need
their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.schemes.base import Float, Parameter, Scheme, Window
from xroute.schemes.builtin import translation

if TYPE_CHECKING:
    import torch

__all__ = ["HILLSLOPES"]

Spread = Callable[..., "tuple[torch.Tensor, torch.Tensor]"]
"""``spread(t, **parameters in steps) -> (H(t) - max(t - mean, 0) [reach, t], mean [reach])``."""


def _averaged(spread: Spread) -> tuple[Callable[..., Any], Window]:
    """Taps and window of a travel time, given its spread."""

    def taps(dt: float, n_taps: int, /, **values: torch.Tensor) -> tuple[torch.Tensor, None]:
        import torch

        edge = torch.arange(-1, n_taps + 1, dtype=torch.float64, device=next(iter(values.values())).device)
        spreads, mean = spread(edge, dt, **values)
        made = translation(mean, n_taps) + torch.diff(spreads, n=2, dim=1)
        return made.clamp(min=0.0), None  # none is below zero but by rounding

    def mass(dt: float, count: Float, /, **values: Float) -> Float:
        import torch

        steps = torch.as_tensor(np.stack([count - 1, count], axis=1))
        both, mean = spread(steps, dt, **{name: torch.as_tensor(v) for name, v in values.items()})
        before, after = both.numpy().T
        return np.clip(count - mean.numpy(), 0.0, 1.0) + (after - before)

    def mean(dt: float, /, **values: torch.Tensor) -> torch.Tensor:
        import torch

        return spread(torch.zeros(1, dtype=torch.float64, device=next(iter(values.values())).device), dt, **values)[1]

    return taps, Window(mass, mean)


# ── gamma ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _gamma(t: torch.Tensor, dt: float, *, fshape: torch.Tensor, tscale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """T is gamma distributed (Nash 1957): with P, Q its incomplete functions, x = t / scale, p = x^a exp(-x) / Gamma(a + 1).

    H(t) = (t - mean) P(a, x) + mean p, since P(a + 1, x) = P(a, x) - p; and E[max(T - t, 0)] = (mean - t) Q(a, x) + mean p.
    """
    import torch

    a, scale = fshape[:, None], (tscale / dt)[:, None]
    mean = a * scale
    after = t > 0
    x = torch.where(after, t, 1.0) / scale  # where the rest has values and gradients
    late = t > torch.floor(mean.detach())  # the steps that the translation takes to be after the mean
    a, x, late = torch.broadcast_tensors(a, x, late)
    density = torch.exp(a * torch.log(x) - x - torch.lgamma(a + 1))
    share = _incomplete_gamma(a, x, late)
    spread = mean * density + torch.where(late, mean - t, t - mean) * share
    return torch.where(after, spread, 0.0), mean[:, 0]


def _incomplete_gamma(a: torch.Tensor, x: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Q(a, x) where ``upper``, else P(a, x), with gradients to a, which torch's own functions lack."""
    import torch

    class IncompleteGamma(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(a, x)
            found = torch.empty_like(x)
            found[upper] = torch.special.gammaincc(a[upper], x[upper])
            found[~upper] = torch.special.gammainc(a[~upper], x[~upper])
            return found

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, Any]:
            a, x = ctx.saved_tensors
            signed = torch.where(upper, -grad, grad)
            of_a = signed * _gamma_by_shape(a, x) if ctx.needs_input_grad[0] else None
            density = torch.exp((a - 1) * torch.log(x) - x - torch.lgamma(a))
            return of_a, signed * density

    found: torch.Tensor = IncompleteGamma.apply(a, x)  # type: ignore[no-untyped-call]
    return found


def _gamma_by_shape(a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Derivative of P(a, x) by a: of each term of P = sum_n p_n, p_n = x^(a+n) exp(-x) / Gamma(a+n+1), log x - psi(a+n+1) times it.

    (Abramowitz and Stegun 1964, 6.5.29.) The terms are largest at n = x - a, and have all but vanished some widths later.
    """
    import torch

    near = x < a + 12 * torch.sqrt(a) + 60  # beyond, P is 1 to rounding
    if not bool(near.any()):
        return torch.zeros_like(x)
    some, at = a[near], x[near]
    n_terms = int((torch.clamp(at - some, min=0) + 9 * torch.sqrt(torch.maximum(at, some))).max()) + 60
    term = torch.exp(some * torch.log(at) - at - torch.lgamma(some + 1))
    psi, log_x = torch.special.digamma(some + 1), torch.log(at)
    total = torch.zeros_like(at)
    for n in range(1, n_terms):
        total = torch.addcmul(total, term, log_x - psi)
        over = 1 / (some + n)
        psi, term = psi + over, term * at * over
    return torch.zeros_like(x).masked_scatter(near, total)


# ── hydrographs of straight lines ───────────────────────────────────────────────────────────────────────────────────────


def _lines(t: torch.Tensor, mean: torch.Tensor, knots: Any, bends: Any) -> torch.Tensor:
    """Spread of a density of straight lines: its slope changes by ``bends`` at ``knots``; numbers, or tensors [reach].

    With u the knots and c the bends, the density at s is the sum of c max(s - u, 0), and of c max(u - s, 0) as well, and H
    that of c max(t - u, 0)^3 / 6.
    """
    import torch

    late = t > torch.floor(mean.detach())[:, None]
    total = torch.zeros(torch.broadcast_shapes(t.shape, late.shape), dtype=torch.float64, device=mean.device)
    for knot, bend in zip(knots, bends, strict=True):
        beyond = t - knot[:, None]
        total = total + bend[:, None] * torch.where(late, -beyond, beyond).clamp(min=0.0) ** 3 / 6
    return total


SCS_TIME = np.array([
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.2, 2.4, 2.6, 2.8,
    3.0, 3.2, 3.4, 3.6, 3.8, 4.0, 4.5, 5.0,
])  # fmt: skip
SCS_FLOW = np.array([
    0.0, 0.03, 0.1, 0.19, 0.31, 0.47, 0.66, 0.82, 0.93, 0.99, 1.0, 0.99, 0.93, 0.86, 0.78, 0.68, 0.56, 0.46, 0.39, 0.33, 0.28,
    0.207, 0.147, 0.107, 0.077, 0.055, 0.04, 0.029, 0.021, 0.015, 0.011, 0.005, 0.0,
])  # fmt: skip
"""The dimensionless unit hydrograph: time over time to peak, and flow over peak flow (NRCS, National Engineering Handbook, part
630, chapter 16, table 16-1)."""
OF_CONCENTRATION = 0.6
"""Lag over time of concentration (the same, chapter 15)."""
BASE = 8 / 3
"""Base of the triangular unit hydrograph over its time to peak (chapter 16: 2.67)."""


def _density(time: Float, flow: Float) -> tuple[Float, float]:
    """Changes of slope at the knots of a table of unit area, and the mean of it."""
    area = np.trapezoid(flow, time)
    slope = np.diff(flow) / np.diff(time) / area
    bends = np.diff(np.concatenate([[0.0], slope, [0.0]]))
    return bends, float((bends * time**3).sum() / -6)


_SCS_BENDS, _SCS_MEAN = _density(SCS_TIME, SCS_FLOW)


def _scs(t: torch.Tensor, dt: float, *, tlag: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The dimensionless unit hydrograph of an instant's runoff peaks after the lag, and that of a step's half a step later."""
    peak = tlag / dt
    mean = peak * _SCS_MEAN
    return _lines(t, mean, [peak * u for u in SCS_TIME], [c / peak / peak for c in _SCS_BENDS]), mean


def _triangle(
    t: torch.Tensor, dt: float, *, tpeak: torch.Tensor, tbase: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear rise until the peak, linear fall until the base; NaN where the peak does not come before the base."""
    import torch

    peak, base = tpeak / dt, torch.where(tpeak < tbase, tbase, torch.nan) / dt
    rise, fall = 2 / (base * peak), 2 / (base * (base - peak))
    mean = (peak + base) / 3
    return _lines(t, torch.nan_to_num(mean), [0 * peak, peak, base], [rise, -rise - fall, fall]), mean


# ── the discretisations of other models ─────────────────────────────────────────────────────────────────────────────────


def _differences(cumulative: Callable[..., Any], length: Callable[..., Float]) -> tuple[Callable[..., Any], Window]:
    """Taps that are differences of a cumulative hydrograph at the ends of so many steps; all of a step's runoff falls at its start."""

    def taps(dt: float, n_taps: int, /, **values: torch.Tensor) -> tuple[torch.Tensor, None]:
        import torch

        edge = torch.arange(n_taps + 1, dtype=torch.float64, device=next(iter(values.values())).device) * dt
        return torch.diff(cumulative(edge, dt, **values), dim=1).clamp(min=0.0), None

    return taps, Window(length=length)


def _gamma_passed(t: torch.Tensor, dt: float, *, fshape: torch.Tensor, tscale: torch.Tensor) -> torch.Tensor:
    import torch

    x = t / tscale[:, None]
    a, x, never = torch.broadcast_tensors(fshape[:, None], x, torch.zeros((), dtype=torch.bool, device=t.device))
    return torch.where(x > 0, _incomplete_gamma(a, torch.where(x > 0, x, 1.0), never), 0.0)


def _mizuroute_bins(dt: float, /, *, fshape: Float, tscale: Float) -> Float:
    """Bins that mizuRoute keeps: it halves [1, 1000] until between 99 % and 99.9 % are inside, and rounds up; else infinity."""
    from scipy.special import gammainc

    low, high = np.ones(fshape.shape), np.full(fshape.shape, 1000.0)
    tried = np.where(gammainc(fshape, dt / tscale) > 0.999, 1.999, 0.5 * (low + high))
    seeking = tried != 1.999
    for _ in range(100):
        passed = gammainc(fshape, dt * tried / tscale)
        seeking &= (passed <= 0.99) | (passed >= 0.999)
        if not seeking.any():
            return np.ceil(tried)
        low, high = np.where(seeking & (passed < 0.99), tried, low), np.where(seeking & (passed > 0.999), tried, high)
        tried = np.where(seeking, 0.5 * (low + high), tried)
    return np.where(seeking, np.inf, np.ceil(tried))


RIVER_ROUTE_FLOW = np.array([
    0.0, 0.015, 0.075, 0.16, 0.28, 0.43, 0.6, 0.77, 0.89, 0.97, 1.0, 0.98, 0.92, 0.84, 0.75, 0.66, 0.56, 0.46, 0.39, 0.33, 0.28,
    0.207, 0.147, 0.107, 0.077, 0.055, 0.04, 0.029, 0.021, 0.015, 0.011, 0.005, 0.0,
])  # fmt: skip
"""What river-route 2 has for `SCS_FLOW`."""


def _river_route(time: Float, flow: Float) -> tuple[Callable[..., Any], Window]:
    """river-route's kernels: the peak is half a step after the lag, and the hydrograph begins with the step."""
    bends, _ = _density(time, flow)

    def peak_of(dt: float, tc: Any) -> Any:
        return OF_CONCENTRATION * tc + dt / 2

    def passed(t: torch.Tensor, dt: float, *, tc: torch.Tensor) -> torch.Tensor:
        import torch

        x = (t / peak_of(dt, tc)[:, None]).clamp(max=float(time[-1]))
        total = torch.zeros_like(x)
        for knot, bend in zip(time, bends, strict=True):
            total = total + float(bend) * (x - float(knot)).clamp(min=0.0) ** 2 / 2
        return total

    return _differences(passed, lambda dt, /, tc: np.ceil(time[-1] * peak_of(dt, tc) / dt))


# ── the rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_SHAPE = Parameter("fshape", low=0.0, low_open=True, long_name="shape of the gamma distribution", usual=(0.5, 5.0))


def _time(name: str, long_name: str, usual: tuple[float, float] = (900.0, 20_000.0)) -> Parameter:
    return Parameter(name, "s", low=0.0, low_open=True, long_name=long_name, usual=usual)


_SCALE = _time("tscale", "scale of the gamma distribution")
_PEAK, _BASE = _time("tpeak", "time to peak"), _time("tbase", "time base", (25_000.0, 60_000.0))
_LAG, _CONCENTRATION = _time("tlag", "lag"), _time("tc", "time of concentration")


def _row(
    name: str, summary: str, mean: str, made: tuple[Callable[..., Any], Window], *parameters: Parameter,
    of: Callable[..., Mapping[str, Any]] | None = None,
) -> Scheme:  # fmt: skip
    """A form of a hillslope; ``of`` makes the parameters that its functions take of its own."""
    taps, window = made
    if of is None:
        return Scheme(name, parameters, taps, summary, mean, window)
    mass, average = window.mass_within, window.mean
    assert mass is not None and average is not None
    return Scheme(
        name, parameters, lambda dt, n_taps, /, **values: taps(dt, n_taps, **of(**values)), summary, mean,
        Window(
            lambda dt, count, /, **values: mass(dt, count, **of(**values)), lambda dt, /, **values: average(dt, **of(**values))
        ),
    )  # fmt: skip


_GAMMA, _SCS, _TRIANGLE = map(_averaged, (_gamma, _scs, _triangle))
_OF_SCS, _OF_TRIANGLE = "dimensionless unit hydrograph of SCS, now NRCS", "triangular unit hydrograph"
_SCS_TEXT = f"{_SCS_MEAN:.4f}"

HILLSLOPES: Mapping[str, tuple[Scheme, ...]] = {
    forms[0].name: forms
    for forms in (
        (_row("gamma", "gamma distribution", "fshape * tscale", _GAMMA, _SHAPE, _SCALE),),
        (
            _row("scs", _OF_SCS, f"{_SCS_TEXT} * tlag", _SCS, _LAG),
            _row("scs", _OF_SCS, f"{_SCS_TEXT} * 0.6 * tc", _SCS, _CONCENTRATION, of=lambda tc: {"tlag": OF_CONCENTRATION * tc}),
        ),
        (
            _row("triangular", _OF_TRIANGLE, "(tpeak + tbase) / 3", _TRIANGLE, _PEAK, _BASE),
            _row("triangular", _OF_TRIANGLE, "11/9 * tpeak", _TRIANGLE, _PEAK,
                 of=lambda tpeak: {"tpeak": tpeak, "tbase": BASE * tpeak}),
            _row("triangular", _OF_TRIANGLE, "11/9 * tlag", _TRIANGLE, _LAG,
                 of=lambda tlag: {"tpeak": tlag, "tbase": BASE * tlag}),
            _row("triangular", _OF_TRIANGLE, "11/9 * 0.6 * tc", _TRIANGLE, _CONCENTRATION,
                 of=lambda tc: {"tpeak": OF_CONCENTRATION * tc, "tbase": BASE * OF_CONCENTRATION * tc}),
        ),
        (_row("gamma-mizuroute", "gamma distribution as mizuRoute discretises it", "", 
              _differences(_gamma_passed, _mizuroute_bins), _SHAPE, _SCALE),),
        (_row("scs-river-route", "SCS hydrograph as river-route discretises it", "",
              _river_route(SCS_TIME, RIVER_ROUTE_FLOW), _CONCENTRATION),),
        (_row("triangular-river-route", "triangular hydrograph as river-route discretises it", "",
              _river_route(np.array([0.0, 1.0, 2.67]), np.array([0.0, 1.0, 0.0])), _CONCENTRATION),),
    )
}  # fmt: skip
"""Hillslopes by name, each in one or more forms, which differ in the parameters that they take."""
