"""Routing schemes: from the parameters of reaches to the filter that the engine applies.

Every scheme is a linear time-invariant filter of taps and at most one pole; the formulas stand here and nowhere else, in
differentiable torch code. `make_filter` turns a network's parameters into one `Filter` for all reaches, whatever mix of
schemes they follow. Only `nash_cascade`, `hayami` and `pure_lag` have a window; the other two are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some

if TYPE_CHECKING:
    import torch

__all__ = ["MAX_TAPS", "SCHEMES", "TAIL", "Filter", "Parameter", "Scheme", "make_filter", "register_scheme"]

MAX_TAPS = 2048
"""Longest window of a scheme with finite memory, in routing steps."""
TAIL = 1e-6
"""Share of a reach's mass that a window may leave out, before the taps are scaled to keep all mass."""

Float = NDArray[np.float64]
Lateral = Literal["head", "interval", "outlet"]


@dataclass(frozen=True)
class Filter:
    """Filter of every reach: ``y[t] = sum_k taps[k] I[t-k] + gain r[t] + pole y[t-1]``.

    Attributes
    ----------
    taps : float64 tensor [sum of K]
        Taps of all reaches, one reach after another.
    pointer : int64 [reach + 1]
        Taps of reach ``i`` are ``taps[pointer[i]:pointer[i + 1]]``; there is at least one.
    pole, gain : float64 tensor [reach]
        Feedback of the last outflow, and the weight of lateral inflow that joins over the whole interval.
    """

    taps: torch.Tensor
    pointer: NDArray[np.int64]
    pole: torch.Tensor
    gain: torch.Tensor

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: not what has been derived and cached, which may live on a device."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def n_taps(self) -> NDArray[np.int64]:
        """Number of taps of each reach [reach]."""
        return np.diff(self.pointer)

    def arrays(self) -> tuple[Float, NDArray[np.int64], Float, Float]:
        """``taps, pointer, pole, gain`` as numpy arrays."""
        taps, pole, gain = (t.detach().cpu().numpy() for t in (self.taps, self.pole, self.gain))
        return taps, self.pointer, pole, gain


@dataclass(frozen=True)
class Parameter:
    """A parameter of a scheme: its name, SI units, and the range it must lie in."""

    name: str
    units: str = "1"
    low: float = -np.inf
    high: float = np.inf
    low_open: bool = False
    default: float | None = None

    def check(self, values: Float, ids: NDArray[Any], scheme: str) -> None:
        """Raise `ParameterError` for values that are NaN, infinite or out of range, naming the reaches."""
        bad = ~np.isfinite(values)
        if bad.any():
            raise ParameterError(
                f"{scheme}: {self.name!r} is NaN or infinite on {int(bad.sum())} reaches: {some(ids[bad])}"
            )
        bad = (values > self.high) | ((values <= self.low) if self.low_open else (values < self.low))
        if bad.any():
            raise ParameterError(
                f"{scheme}: {self.name!r} must be {self.range}; {int(bad.sum())} reaches are outside it: {some(ids[bad])} "
                f"(values {some(values[bad])}, in {self.units})"
            )

    def allows(self, values: Any) -> Any:
        """Whether each of an array's or tensor's values is in range."""
        return (
            (abs(values) < np.inf)
            & (values <= self.high)
            & ((values > self.low) if self.low_open else (values >= self.low))
        )

    @property
    def range(self) -> str:
        """Range in words."""
        if np.isfinite(self.low) and np.isfinite(self.high):
            return f"{self.low:g} {'<' if self.low_open else '<='} {self.name} <= {self.high:g}"
        if np.isfinite(self.low):
            return f"{'>' if self.low_open else '>='} {self.low:g}"
        return f"<= {self.high:g}" if np.isfinite(self.high) else "finite"


@dataclass(frozen=True)
class Scheme:
    """A routing scheme.

    Attributes
    ----------
    name, parameters
        What users call it and its parameters.
    filter
        ``filter(dt, n_taps, **parameters) -> (taps [reach, K], pole [reach] or None)`` in torch; ``dt`` in seconds,
        parameters as float64 tensors [reach] in SI units. With a window, K is ``n_taps``.
    mass_within
        For schemes with a window: ``mass_within(dt, count, **parameters)``, share of mass in the first ``count`` taps. [reach]
    from_user
        Whether what the filter returns must be looked at, which on a GPU means to wait for it.
    """

    name: str
    parameters: tuple[Parameter, ...]
    filter: Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
    mass_within: Callable[..., Float] | None = None
    from_user: bool = False


def positive(name: str, units: str, default: float | None = None) -> Parameter:
    """Parameter that must be greater than zero."""
    return Parameter(name, units, low=0.0, low_open=True, default=default)


# ── the built-in schemes ────────────────────────────────────────────────────────────────────────────────────────────────


def _muskingum(dt: float, n_taps: int, *, k: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """McCarthy (1938); coefficients as in Cunge (1969), with C0 + C1 + pole = 1."""
    import torch

    kx = k * x
    over = 1 / (k - kx + dt / 2)
    return torch.stack([(dt / 2 - kx) * over, (dt / 2 + kx) * over], dim=1), 1 - dt * over


def _linear_storage(dt: float, n_taps: int, *, tau: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear reservoir, outflow = storage / tau, stepped implicitly (Zoch 1934)."""
    a = 1 / (1 + tau / dt)
    return a[:, None], (tau / dt) * a


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


def _pure_lag(dt: float, n_taps: int, *, delay: torch.Tensor) -> tuple[torch.Tensor, None]:
    """Translation by ``delay``, linear between the two steps around it."""
    import torch

    at = delay / dt
    whole = torch.floor(at.detach())
    t = torch.arange(n_taps, dtype=torch.float64, device=delay.device)
    part = (at - whole)[:, None]
    first = (t == whole[:, None]).to(torch.float64)
    second = (t == whole[:, None] + 1).to(torch.float64)
    return first * (1 - part) + second * part, None


def _lag_mass(dt: float, count: Float, /, *, delay: Float) -> Float:
    return np.where(count >= np.floor(delay / dt) + 2, 1.0, 0.0)


def _hayami(
    dt: float, n_taps: int, *, length: torch.Tensor, diffusivity: torch.Tensor, celerity: torch.Tensor
) -> tuple[torch.Tensor, None]:
    """Diffusive wave (Hayami 1951): the inverse-Gaussian travel time, integrated over each step through its CDF."""
    import torch

    edge = torch.arange(n_taps + 1, dtype=torch.float64, device=length.device) * dt
    return torch.diff(
        _inverse_gaussian_cdf(edge, length[:, None], diffusivity[:, None], celerity[:, None]), dim=1
    ), None


def _inverse_gaussian_cdf(
    t: torch.Tensor, length: torch.Tensor, diffusivity: torch.Tensor, celerity: torch.Tensor
) -> torch.Tensor:
    """Chance that water has passed by time ``t`` (Schrödinger 1915), in a form that neither overflows nor cancels."""
    import torch

    after = t > 0
    t = torch.where(after, t, 1.0)
    width = torch.sqrt(2 * diffusivity * t)
    first = torch.special.ndtr((celerity * t - length) / width)
    second = torch.exp(celerity * length / diffusivity + torch.special.log_ndtr(-(celerity * t + length) / width))
    return torch.where(after, first + second, 0.0)


def _hayami_mass(dt: float, count: Float, /, *, length: Float, diffusivity: Float, celerity: Float) -> Float:
    import torch

    return _inverse_gaussian_cdf(*(torch.as_tensor(v) for v in (count * dt, length, diffusivity, celerity))).numpy()


SCHEMES: dict[str, Scheme] = {
    s.name: s
    for s in (
        Scheme("linear_storage", (positive("tau", "s"),), _linear_storage),
        Scheme("muskingum", (positive("k", "s"), Parameter("x", low=0.0, high=0.5)), _muskingum),
        Scheme("pure_lag", (Parameter("delay", "s", low=0.0),), _pure_lag, _lag_mass),
        Scheme("nash_cascade", (positive("tau", "s"), positive("n", "1", default=3.0)), _nash_cascade, _nash_mass),
        Scheme(
            "hayami",
            (positive("length", "m"), positive("diffusivity", "m2 s-1"), positive("celerity", "m s-1")),
            _hayami,
            _hayami_mass,
        ),
    )
}
"""Schemes by name: the built-in ones and those that users register."""


def register_scheme(
    name: str,
    parameters: Mapping[str, Parameter | str] | tuple[Parameter | str, ...] | list[Parameter | str],
    *,
    taps: Callable[..., torch.Tensor] | None = None,
    filter: Callable[..., tuple[torch.Tensor, torch.Tensor]] | None = None,
    replace: bool = False,
) -> Scheme:
    """Add a scheme of your own.

    Parameters
    ----------
    name
        What networks call it.
    parameters
        Its parameters, each a `Parameter` (name, SI units, range) or just a name; or a mapping of names to SI units.
    taps
        ``taps(dt, **parameters) -> [reach, K]``: a response of finite length, in torch, from float64 tensors [reach] in SI
        units and the routing step in seconds. Written in differentiable operations it can be calibrated.
    filter
        ``filter(dt, **parameters) -> (taps [reach, K], pole [reach])``: instead of ``taps``, for an infinite response.
    replace
        Whether a scheme of that name may be replaced.

    Raises
    ------
    ParameterError
        If the name is taken, or not exactly one function is given.

    Examples
    --------
    A reach that passes half of its inflow at once and half one step later:

    >>> import torch, xroute
    >>> scheme = xroute.register_scheme("half_half", [], taps=lambda dt: torch.tensor([[0.5, 0.5]]), replace=True)
    """
    if name in SCHEMES and not replace:
        raise ParameterError(f"there is a scheme {name!r} already; pass replace=True to put yours in its place")
    if (taps is None) == (filter is None):
        raise ParameterError(f"scheme {name!r} needs exactly one of taps= and filter=")
    if isinstance(parameters, Mapping):
        described = [p if isinstance(p, Parameter) else Parameter(n, p) for n, p in parameters.items()]
    else:
        described = [p if isinstance(p, Parameter) else Parameter(p) for p in parameters]

    def make(dt: float, n_taps: int, **values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if taps is not None:
            return taps(dt, **values), None
        assert filter is not None
        return filter(dt, **values)

    SCHEMES[name] = Scheme(name, tuple(described), make, from_user=True)
    return SCHEMES[name]


# ── one filter for all reaches ──────────────────────────────────────────────────────────────────────────────────────────


def make_filter(
    parameters: Mapping[str, tuple[NDArray[np.int64], Mapping[str, Any]]],
    dt: float,
    n_reaches: int,
    *,
    lateral: Lateral = "head",
    ids: NDArray[Any] | None = None,
    max_taps: int = MAX_TAPS,
) -> Filter:
    """Filter of every reach at one routing step.

    Parameters
    ----------
    parameters
        By scheme name: the positions of its reaches, and its parameters by name (float64 arrays or tensors, SI units).
        Together the positions are all reaches, once. The filter is made on the device of the tensors.
    dt : float
        Routing step [s].
    n_reaches
        Number of reaches.
    lateral
        With ``"interval"`` the filter has a gain for lateral inflow; only `muskingum` defines it.
    ids
        Ids for messages.
    max_taps
        Longest window allowed.

    Returns
    -------
    Filter

    Raises
    ------
    ParameterError
        If a window would be longer than ``max_taps``, or ``lateral="interval"`` meets another scheme.
    """
    import torch

    device = _device(parameters)
    if len(parameters) == 1 and lateral != "interval":  # nothing to merge: the usual case
        ((name, (at, values)),) = parameters.items()
        if _scheme(name).mass_within is None and is_every(at, n_reaches):
            taps, own_pole = _applied(_scheme(name), values, dt, n_reaches)
            none = torch.zeros(n_reaches, dtype=torch.float64, device=device)
            return Filter(
                taps.reshape(-1), _count(n_reaches, taps.shape[1]), none if own_pole is None else own_pole, none
            )
    ids = np.arange(n_reaches) if ids is None else ids
    pieces = [
        piece
        for name, (at, values) in parameters.items()
        for piece in _pieces(_scheme(name), at, values, dt, ids, max_taps)
    ]
    n_taps = np.ones(n_reaches, np.int64)
    for piece in pieces:
        n_taps[piece.at] = piece.n_taps
    pointer = np.concatenate([[0], np.cumsum(n_taps)])
    taps, pole, gain = (
        torch.zeros(size, dtype=torch.float64, device=device) for size in (int(pointer[-1]), n_reaches, n_reaches)
    )
    for piece in pieces:
        where = torch.from_numpy(piece.at).to(device)
        k = piece.taps.shape[1]
        inside = np.arange(k) < piece.n_taps[:, None]
        entry = torch.from_numpy((pointer[piece.at][:, None] + np.arange(k))[inside]).to(device)
        taps = taps.index_put((entry,), piece.taps[torch.from_numpy(inside).to(device)])
        if piece.pole is not None:
            pole = pole.index_put((where,), piece.pole)
        if lateral == "interval":
            if piece.scheme != "muskingum":
                raise ParameterError(
                    f'lateral="interval" is defined for muskingum only; {piece.at.size} reaches are {piece.scheme}: '
                    f"{some(ids[piece.at])}"
                )
            gain = gain.index_put((where,), piece.taps.sum(dim=1))
    return Filter(taps, pointer, pole, gain)


def every(n: int) -> NDArray[np.int64]:
    """Positions of all reaches: one array each time, which `is_every` need not look into."""
    return _count(n, 1)[:-1]


def is_every(at: NDArray[np.int64], n: int) -> bool:
    """Whether positions are those of all reaches, in order."""
    return at.size == n and (at.ctypes.data == _count(n, 1).ctypes.data or np.array_equal(at, every(n)))


@lru_cache(maxsize=8)
def _count(n: int, step: int) -> NDArray[np.int64]:
    """``0, step, ..., n * step``: one array each time, so that what is derived from it can be kept."""
    return np.arange(n + 1) * step


def _device(parameters: Mapping[str, tuple[NDArray[np.int64], Mapping[str, Any]]]) -> torch.device:
    """Where the parameters are, and so the filter: arrays count as the host's."""
    import torch

    found = {v.device for _, values in parameters.values() for v in values.values() if isinstance(v, torch.Tensor)}
    if len(found) > 1:
        raise ParameterError(f"the parameters are on several devices: {some(sorted(map(str, found)))}")
    return found.pop() if found else torch.device("cpu")


@dataclass(frozen=True)
class _Piece:
    """Reaches of one scheme with windows of about one length."""

    scheme: str
    at: NDArray[np.int64]
    taps: torch.Tensor
    n_taps: NDArray[np.int64]
    pole: torch.Tensor | None


def _pieces(
    scheme: Scheme, at: NDArray[np.int64], values: Mapping[str, Any], dt: float, ids: NDArray[Any], max_taps: int
) -> list[_Piece]:
    import torch

    if not at.size:
        return []
    if scheme.mass_within is None:
        taps, pole = _applied(scheme, values, dt, at.size)
        return [_Piece(scheme.name, at, taps, np.full(at.size, taps.shape[1]), pole)]
    tensors = {name: torch.as_tensor(v, dtype=torch.float64) for name, v in values.items()}
    window = _window(scheme, dt, {n: t.detach().cpu().numpy() for n, t in tensors.items()}, ids[at], max_taps)
    pieces = []
    for size in np.unique(
        2 ** np.ceil(np.log2(window)).astype(np.int64)
    ):  # long kernels on a few cost the others nothing
        here = np.flatnonzero(2 ** np.ceil(np.log2(window)).astype(np.int64) == size)
        k = int(window[here].max())
        taps, _ = scheme.filter(dt, k, **{n: t[torch.from_numpy(here).to(t.device)] for n, t in tensors.items()})
        taps = taps * torch.from_numpy(np.arange(k) < window[here][:, None]).to(taps.device)
        taps = taps / taps.sum(dim=1, keepdim=True)
        pieces.append(_Piece(scheme.name, at[here], taps, window[here], None))
    return pieces


def _applied(scheme: Scheme, values: Mapping[str, Any], dt: float, n: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Taps [n, K] and poles of a scheme without a window."""
    import torch

    tensors = {name: torch.as_tensor(v, dtype=torch.float64) for name, v in values.items()}
    taps, pole = scheme.filter(dt, 0, **tensors)
    return _checked(scheme, taps, pole, n) if scheme.from_user else (taps, pole)


def _window(scheme: Scheme, dt: float, values: dict[str, Float], ids: NDArray[Any], max_taps: int) -> NDArray[np.int64]:
    """Fewest taps with all but `TAIL` of the mass, by bisection."""
    assert scheme.mass_within is not None
    low, high = np.zeros(ids.size), np.full(ids.size, float(max_taps))
    short = scheme.mass_within(dt, high, **values) < 1 - TAIL
    if short.any():
        raise ParameterError(
            f"{scheme.name}: the response of {int(short.sum())} reaches is longer than max_taps = {max_taps} steps of {dt:g} s: "
            f"{some(ids[short])}. Route with a longer step, split those reaches, or give them the scheme linear_storage or "
            "muskingum, which have no window"
        )
    while (high - low > 1).any():
        middle = np.where(high - low > 1, np.floor((low + high) / 2), high)
        enough = scheme.mass_within(dt, middle, **values) >= 1 - TAIL
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high.astype(np.int64)


def _checked(
    scheme: Scheme, taps: torch.Tensor, pole: torch.Tensor | None, n: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    import torch

    taps = taps.to(torch.float64)
    if taps.ndim != 2 or taps.shape[0] not in (1, n) or taps.shape[1] < 1:
        raise ParameterError(f"scheme {scheme.name!r} returned taps of shape {tuple(taps.shape)}, not ({n}, K)")
    if not torch.isfinite(taps).all():
        raise ParameterError(f"scheme {scheme.name!r} returned taps that are not finite")
    if pole is not None:
        pole = pole.to(torch.float64).expand(n)
        if not (pole.abs() < 1).all():
            raise ParameterError(
                f"scheme {scheme.name!r} returned poles outside -1 < pole < 1: the filter would not decay"
            )
    return taps.expand(n, -1), pole


def _scheme(name: str) -> Scheme:
    if name not in SCHEMES:
        raise ParameterError(
            f"no scheme {name!r}; there are {', '.join(sorted(SCHEMES))}. Add yours with register_scheme"
        )
    return SCHEMES[name]
