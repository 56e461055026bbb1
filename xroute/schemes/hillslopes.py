"""Unit hydrographs of hillslopes: what becomes of runoff before it reaches its channel, in differentiable torch code.

Runoff is a mean over its step, and so is what arrives. So the travel time T is averaged over both: ``taps[k]`` is the second
difference of H(t) = E[max(t - T, 0)], t in steps. That is the exact response to runoff that is constant within a step, and
its mean is that of T at any step. H is max(t - mean, 0), whose second difference is a translation, and a spread about it,
which for late t is E[max(T - t, 0)]: neither cancels. The discretisations of two other models stand at the end, for those
who need their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.schemes.base import Float, Parameter, Scheme, Window
from xroute.schemes.builtin import translation
from xroute.schemes.mizuroute import HEADWATER, and_headwater
from xroute.schemes.window import TAIL

if TYPE_CHECKING:
    import torch

__all__ = ["HILLSLOPES"]

Spread = Callable[..., "tuple[torch.Tensor, torch.Tensor]"]
"""``spread(t, **parameters in steps) -> (H(t) - max(t - mean, 0) [reach, t], mean [reach])``."""


def _averaged(spread: Spread, quantile: Callable[..., Float]) -> tuple[Callable[..., Any], Window]:
    """Taps and window of a travel time; ``quantile(dt, **parameters)`` is when, in steps, all but `TAIL` of it is over."""

    def taps(dt: float, n_taps: int, /, **values: torch.Tensor) -> tuple[torch.Tensor, None]:
        import torch

        edge = torch.arange(-1, n_taps + 1, dtype=torch.float64, device=next(iter(values.values())).device)
        spreads, mean = spread(edge[None], dt, **values)
        made = translation(mean, n_taps) + torch.diff(spreads, n=2, dim=1)
        return made.clamp(min=0.0), None  # none is below zero but by rounding

    def mean(dt: float, /, **values: torch.Tensor) -> torch.Tensor:
        import torch

        return spread(torch.zeros(1, 1, dtype=torch.float64, device=next(iter(values.values())).device), dt, **values)[1]

    def length(dt: float, /, **values: Float) -> Float:
        import torch

        # of a step's runoff more has arrived after n steps than of an instant's after n - 1, and less than after n
        fewest = np.ceil(quantile(dt, **values))
        steps = torch.as_tensor(np.stack([fewest - 1, fewest], axis=1))
        both, mean = spread(steps, dt, **{name: torch.as_tensor(v) for name, v in values.items()})
        before, after = both.numpy().T
        mass = np.clip(fewest - mean.numpy(), 0.0, 1.0) + (after - before)
        return np.where(mass >= 1 - TAIL, fewest, fewest + 1)

    return taps, Window(mean=mean, length=length)


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


def _gamma_quantile(dt: float, /, *, fshape: Float, tscale: Float) -> Float:
    from scipy.special import gammainccinv

    return np.asarray(gammainccinv(fshape, TAIL)) * (tscale / dt)


def _incomplete_gamma(a: torch.Tensor, x: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Q(a, x) where ``upper``, else P(a, x), with gradients to a, which torch's own functions lack."""
    import torch

    class IncompleteGamma(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(a, x)
            found = torch.empty_like(x)
            for where, lower in ((upper, False), (~upper, True)):
                found[where] = _incomplete(a[where], x[where], lower)
            return found

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, Any]:
            a, x = ctx.saved_tensors
            signed = torch.where(upper, -grad, grad)
            of_a = signed * _gamma_by_shape(a, x) if ctx.needs_input_grad[0] else None
            density = torch.exp((a - 1) * torch.log(x) - x - torch.lgamma(a))
            return of_a, signed * density

    found: torch.Tensor = IncompleteGamma.apply(a, x)
    return found


def _incomplete(a: torch.Tensor, x: torch.Tensor, lower: bool) -> torch.Tensor:
    """P(a, x), or Q(a, x): on the host by scipy, since torch's are good to ten digits only where a is beyond 20."""
    import torch
    from scipy.special import gammainc, gammaincc

    if x.device.type == "cpu":
        return torch.from_numpy(np.atleast_1d((gammainc if lower else gammaincc)(a.numpy(), x.numpy())))
    return torch.special.gammainc(a, x) if lower else torch.special.gammaincc(a, x)


def _gamma_by_shape(a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Derivative of P(a, x) by a, of its series: the sum of p_n (log x - psi(a+n+1)), p_n = x^(a+n) exp(-x) / Gamma(a+n+1).

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


class _Lines:
    """A density of straight lines between the points of a table, scaled to unit area, and its integrals between these points.

    Attributes
    ----------
    mean
        Mean of the density.
    quantile
        By when all but `TAIL` of it is over.
    """

    def __init__(self, time: Float, flow: Float) -> None:
        width = np.diff(time)
        density = flow / np.trapezoid(flow, time)
        slope = np.append(np.diff(density) / width, 0.0)
        area = (density[:-1] + density[1:]) / 2 * width
        passed, left = np.append(0.0, np.cumsum(area)), np.append(np.cumsum(area[::-1])[::-1], 0.0)
        up = passed[:-1] * width + density[:-1] * width**2 / 2 + slope[:-1] * width**3 / 6
        down = left[1:] * width + density[1:] * width**2 / 2 - slope[:-1] * width**3 / 6
        since, until = np.append(0.0, np.cumsum(up)), np.append(np.cumsum(down[::-1])[::-1], 0.0)
        self.time, self.mean = time, float(until[0])
        self._rows = np.stack([since, until, passed, left, density, slope])
        k = int(np.searchsorted(-left, -TAIL)) - 1  # the point after which what is left falls below it
        fine = np.linspace(0.0, width[k], 10_001)
        self.quantile = float(time[k] + fine[np.searchsorted(-(left[k] - density[k] * fine - slope[k] * fine**2 / 2), -TAIL)])

    def spread(self, x: torch.Tensor, late: torch.Tensor) -> torch.Tensor:
        """E[max(T - x, 0)] where ``late``, else E[max(x - T, 0)]."""
        import torch

        (since, until, passed, left, density, slope), d = self._around(x)
        begins = torch.where(late, until - left * d, since + passed * d)
        return torch.where(x > 0, begins + d * d * (density / 2 + d * slope / 6), 0.0)

    def passed(self, x: torch.Tensor) -> torch.Tensor:
        """Share that has passed by x."""
        (_, _, passed, _, density, slope), d = self._around(x)
        return passed + d * (density + d * slope / 2)

    def _around(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What stands in the table for the point before x, and how far behind it x lies."""
        import torch

        time, rows = (torch.as_tensor(a, device=x.device) for a in (self.time, self._rows))
        x = x.clamp(min=0.0, max=float(self.time[-1]))
        at = torch.bucketize(x.detach(), time, right=True) - 1
        return rows[:, at], x - time[at]


_SCS_LINES = _Lines(SCS_TIME, SCS_FLOW)


def _scs(t: torch.Tensor, dt: float, *, tlag: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The dimensionless unit hydrograph of an instant's runoff peaks after the lag, and that of a step's half a step later."""
    import torch

    peak = (tlag / dt)[:, None]
    mean = peak * _SCS_LINES.mean
    x, late = torch.broadcast_tensors(t / peak, t > torch.floor(mean.detach()))
    return peak * _SCS_LINES.spread(x, late), mean[:, 0]


def _triangle(
    t: torch.Tensor, dt: float, *, tpeak: torch.Tensor, tbase: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear rise until the peak, linear fall until the base; NaN where the peak does not come before the base.

    E[max(t - T, 0)] is t^3 / (3 peak base) until the peak, E[max(T - t, 0)] is (base - t)^3 / (3 base (base - peak)) after it.
    """
    import torch

    peak, base = (tpeak / dt)[:, None], (torch.where(tpeak < tbase, tbase, torch.nan) / dt)[:, None]
    mean = (peak + base) / 3
    t = t.clamp(min=0.0)
    risen = t.minimum(peak) ** 3 / (3 * peak * base)
    to_fall = (base - t.maximum(peak)).clamp(min=0.0) ** 3 / (3 * base * (base - peak))
    # of the two expectations, which differ by t - mean, the one whose formula holds here, made the one that is wanted
    rising, late = t < peak, t > torch.floor(mean.detach())
    spread = torch.where(rising, risen, to_fall) + torch.where(rising & late, mean - t, 0.0)
    return spread + torch.where(~rising & ~late, t - mean, 0.0), mean[:, 0]


# ── the discretisations of other models ─────────────────────────────────────────────────────────────────────────────────


def _differences(cumulative: Callable[..., Any], length: Callable[..., Float]) -> tuple[Callable[..., Any], Window]:
    """Taps that are differences of a cumulative hydrograph at the ends of steps, as if runoff fell at the start of its step."""

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
    lines = _Lines(time, flow)

    def peak_of(dt: float, tc: Any) -> Any:
        return OF_CONCENTRATION * tc + dt / 2

    def passed(t: torch.Tensor, dt: float, *, tc: torch.Tensor) -> torch.Tensor:
        return lines.passed(t / peak_of(dt, tc)[:, None])

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
    average, length = window.mean, window.length
    assert average is not None and length is not None
    return Scheme(
        name, parameters, lambda dt, n_taps, /, **values: taps(dt, n_taps, **of(**values)), summary, mean,
        Window(
            mean=lambda dt, /, **values: average(dt, **of(**values)), length=lambda dt, /, **values: length(dt, **of(**values))
        ),
    )  # fmt: skip


_GAMMA = _averaged(_gamma, _gamma_quantile)
_SCS = _averaged(_scs, lambda dt, /, tlag: _SCS_LINES.quantile * tlag / dt)
_TRIANGLE = _averaged(
    _triangle, lambda dt, /, tpeak, tbase: (tbase - np.sqrt(TAIL * tbase * np.fmax(tbase - tpeak, 0.0))) / dt
)
_MIZUROUTE, _OF_MIZUROUTE = _differences(_gamma_passed, _mizuroute_bins), "gamma distribution as mizuRoute discretises it"
_OF_SCS, _OF_TRIANGLE = "dimensionless unit hydrograph of SCS, now NRCS", "triangular unit hydrograph"
_SCS_TEXT = f"{_SCS_LINES.mean:.4f}"

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
        (
            _row("gamma-mizuroute", _OF_MIZUROUTE, "", _MIZUROUTE, _SHAPE, _SCALE),
            _row("gamma-mizuroute", f"{_OF_MIZUROUTE}, and the whole of headwaters", "",
                 and_headwater(_MIZUROUTE[0], _mizuroute_bins), _SHAPE, _SCALE, *HEADWATER),
        ),
        (_row("scs-river-route", "SCS hydrograph as river-route discretises it", "",
              _river_route(SCS_TIME, RIVER_ROUTE_FLOW), _CONCENTRATION),),
        (_row("triangular-river-route", "triangular hydrograph as river-route discretises it", "",
              _river_route(np.array([0.0, 1.0, 2.67]), np.array([0.0, 1.0, 0.0])), _CONCENTRATION),),
    )
}  # fmt: skip
"""Hillslopes by name, each in one or more forms, which differ in the parameters that they take."""
