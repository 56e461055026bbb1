"""What a routing scheme is: its parameters, its filter, and all that other rooms ask about it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import FilterArrays
from xroute.exceptions import ParameterError, some

if TYPE_CHECKING:
    import torch

__all__ = ["Filter", "Float", "Parameter", "Scheme", "Window"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Filter:
    """Filter of every reach: ``y[t] = sum_k taps[k] I[t-k] + gain r[t] + pole y[t-1]``.

    ``I`` is what flows into the reach, ``r`` its lateral inflow, ``y`` what flows out of it.

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

    def __repr__(self) -> str:
        n = self.n_taps
        taps = f"{n.min()} to {n.max()}" if n.size else "no"
        poles = int((self.pole.detach() != 0).sum())
        return f"<xroute.schemes.Filter: {n.size} reaches of {taps} taps, {poles} with a pole, on {self.taps.device}>"

    @property
    def n_taps(self) -> NDArray[np.int64]:
        """Number of taps of each reach [reach]."""
        return np.diff(self.pointer)

    def arrays(self) -> FilterArrays:
        """``taps, pointer, pole, gain`` as numpy arrays."""
        taps, pole, gain = (t.detach().cpu().numpy() for t in (self.taps, self.pole, self.gain))
        return FilterArrays(taps, self.pointer, pole, gain)

    def take(self, reaches: NDArray[np.int64]) -> Filter:
        """Filter of some reaches, by their positions."""
        import torch

        n_taps = self.n_taps[reaches]
        pointer = np.concatenate([[0], np.cumsum(n_taps)])
        entry = np.repeat(self.pointer[reaches] - pointer[:-1], n_taps) + np.arange(pointer[-1])
        at = torch.from_numpy(np.asarray(reaches))
        return Filter(self.taps[torch.from_numpy(entry)], pointer, self.pole[at], self.gain[at])

    def storage(self, step: float, history: Float, outflow: Float) -> Float:
        """Water that each reach holds at the end of a step.

        Of what flowed in j steps ago, ``sum_{k>j} taps[k]`` has still to flow out, and of what flows out now, ``pole`` comes
        again in the next step, and so on: with ``rest[j]`` that sum, ``step (sum_j rest[j] I[t-j] + pole y[t]) / (1 - pole)``.

        Parameters
        ----------
        step : float
            Routing step [s].
        history : float64 [batch, sum of (K - 1)]
            Each reach's last inflows, newest first, one reach after another [m3 s-1].
        outflow : float64 [batch, reach]
            Its last outflow [m3 s-1].

        Returns
        -------
        float64 [batch, reach]
            Storage [m3].

        Examples
        --------
        What flowed in with 5, 3, 2 and 1 m3/s in the last four hours is all there still, where the delay is as long:

        >>> import numpy as np
        >>> from xroute.schemes import make_filter
        >>> lag = make_filter({"pure_lag": (np.arange(1), {"delay": np.array([4 * 3600.0])})}, 3600.0, 1)
        >>> lag.storage(3600.0, np.array([[1.0, 2.0, 3.0, 5.0, 7.0]]), np.zeros((1, 1))) / 3600.0
        array([[11.]])
        """
        taps, pointer, pole, _ = self.arrays()
        first_lag = pointer[:-1] - np.arange(pole.size)
        rest = np.zeros(pole.size)
        water = pole * outflow
        for k in range(int(self.n_taps.max(initial=1)) - 1, 0, -1):
            at = np.flatnonzero(self.n_taps > k)
            rest[at] += taps[pointer[at] + k]
            water[:, at] += rest[at] * history[:, first_lag[at] + k - 1]
        return np.asarray(step * water / (1 - pole))


@dataclass(frozen=True)
class Parameter:
    """A parameter of a scheme: its name, SI units, and the range it must lie in.

    Attributes
    ----------
    name, units
        What a network's variable is called, and the SI units that its values are turned into.
    low, high, low_open
        Range of its values, bounds included, but for the lower one where it is open.
    default
        Value where a network does not have it; without one, a network must.
    long_name
        What it is, in words.
    usual
        Lowest and highest value of usual reaches, which tests draw from; for steps of an hour.
    """

    name: str
    units: str = "1"
    low: float = -np.inf
    high: float = np.inf
    low_open: bool = False
    default: float | None = None
    long_name: str = ""
    usual: tuple[float, float] | None = None

    def check(self, values: Float, ids: NDArray[Any], scheme: str) -> None:
        """Raise `ParameterError` for values that are NaN, infinite or out of range, naming the reaches."""
        bad = ~np.isfinite(values)
        if bad.any():
            raise ParameterError(
                f"{scheme}: {self.name!r} is NaN or infinite on {int(bad.sum())} reaches: {some(ids[bad])}"
            )
        bad = ~self.allows(values)
        if bad.any():
            raise ParameterError(
                f"{scheme}: {self.name!r} must be {self.range}; {int(bad.sum())} reaches are outside it: {some(ids[bad])} "
                f"(values {some(values[bad])}, in {self.units})"
            )

    def allows(self, values: Any) -> Any:
        """Whether each of an array's or tensor's values is finite and in range."""
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
class Window:
    """Of a scheme whose response is finite: how many taps are enough (`xroute.schemes.window` chooses them).

    Attributes
    ----------
    mass_within
        ``mass_within(dt, count, **parameters)``: share of mass in the first ``count`` taps [reach], in numpy. Without it
        nothing is cut off: the response has all the taps that the filter gives.
    mean
        ``mean(dt, **parameters)``: mean of the whole response in steps [reach], in torch, which taps that are cut off are
        made to keep. Without it they keep their mass only, which is enough where nothing but rounding is cut off.
    length
        ``length(dt, **parameters)``: number of taps [reach], in numpy, where that is known without looking for it; infinite
        for too many.
    """

    mass_within: Callable[..., Float] | None = None
    mean: Callable[..., torch.Tensor] | None = None
    length: Callable[..., Float] | None = None


@dataclass(frozen=True)
class Scheme:
    """A routing scheme, and all that others need to know of it: nobody asks for its name.

    Attributes
    ----------
    name, parameters
        What users call it and its parameters.
    filter
        ``filter(dt, n_taps, **parameters) -> (taps [reach, K], pole [reach] or None)`` in torch; ``dt`` in seconds,
        parameters as float64 tensors [reach] in SI units. With a window that is cut off, K is ``n_taps``.
    summary
        What it is, in a line.
    travel_time
        Mean travel time of a reach, as a formula of the parameters such as ``"n * tau"``.
    window
        For responses of finite length, whose taps weigh means over steps. None for those of a few taps and a pole: these
        weigh values at the ends of steps, and so ``lateral="interval"`` means something for them.
    step_range
        ``step_range(**parameters) -> (lowest, highest)``: routing steps [s] between which it neither dips below zero nor
        oscillates [reach], in numpy; None where it does neither at any step.
    step_rule
        That range as a formula, for messages.
    instead
        Scheme of the same parameters and the same mean travel time that does not oscillate at any step.
    of_reach
        ``of_reach(length=, celerity=, weight=) -> parameters by name``: what a reach of this length [m] and celerity
        [m s-1] has, in numpy [reach], and attenuates as Muskingum's with this weight x does, if it can: a diffusivity of
        ``celerity * length * (1/2 - x)`` (Cunge 1969). Synthetic rivers are made with it.
    from_user
        Whether what the functions return must be looked at, which on a GPU means to wait for it.
    """

    name: str
    parameters: tuple[Parameter, ...]
    filter: Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
    summary: str = ""
    travel_time: str = ""
    window: Window | None = None
    step_range: Callable[..., tuple[Any, Any]] | None = None
    step_rule: str = "their range of steps"
    instead: str | None = None
    of_reach: Callable[..., Mapping[str, Float]] | None = None
    from_user: bool = False

    def __repr__(self) -> str:
        named = ", ".join(f"{p.name} [{p.units}] {p.range}" for p in self.parameters)
        return f"<xroute.schemes.Scheme {self.name!r}: {named}{f'; {self.summary}' if self.summary else ''}>"

    @property
    def windowed(self) -> bool:
        """Whether its response is of finite length: then ``lateral="interval"`` means nothing for it."""
        return self.window is not None

    @property
    def is_cut_off(self) -> bool:
        """Whether its response may be longer than need be, and a window is sought."""
        return self.window is not None and (self.window.mass_within is not None or self.window.length is not None)

    def fits(self, names: Container[Any]) -> bool:
        """Whether variables of these names are its parameters: all that have no default, and at least one."""
        found = [p.name in names for p in self.parameters]
        return any(found) and all(there or p.default is not None for there, p in zip(found, self.parameters, strict=True))

    def interval_gain(self, taps: torch.Tensor) -> torch.Tensor:
        """Weight of lateral inflow that joins over the interval [reach], of taps [reach, K].

        It is constant over the step, and so counts at both of its ends (David et al. 2011).
        """
        return taps.sum(dim=1)

    def limits(self, values: Mapping[str, Float], n: int) -> tuple[Float, Float]:
        """Lowest and highest routing step [s] of each of n reaches; 0 and infinity where there is none.

        Raises
        ------
        ParameterError
            If a function of the user's does not give two numbers a reach.
        """
        if self.step_range is None:
            return np.zeros(n), np.full(n, np.inf)
        if not self.from_user:
            lowest, highest = self.step_range(**values)
            return np.broadcast_to(lowest, n), np.broadcast_to(highest, n)
        try:
            lowest, highest = (
                np.broadcast_to(np.asarray(limit, dtype=np.float64), n) for limit in self.step_range(**values)
            )
        except Exception as error:  # whatever their code may raise
            raise ParameterError(
                f"step_range of scheme {self.name!r} does not give (lowest, highest), each a number a reach in numpy: "
                f"{type(error).__name__}: {error}"
            ) from error
        if np.isnan(lowest).any() or np.isnan(highest).any():
            raise ParameterError(f"step_range of scheme {self.name!r} gives NaN")
        return lowest, highest
