"""What a routing scheme is: its parameters, its filter, and all that other rooms ask about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import FilterArrays
from xroute.exceptions import ParameterError, some

if TYPE_CHECKING:
    import torch

__all__ = ["Filter", "Float", "Lateral", "Parameter", "Scheme"]

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

    def arrays(self) -> FilterArrays:
        """``taps, pointer, pole, gain`` as numpy arrays."""
        taps, pole, gain = (t.detach().cpu().numpy() for t in (self.taps, self.pole, self.gain))
        return FilterArrays(taps, self.pointer, pole, gain)


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
    """A routing scheme, and all that others need to know of it: nobody asks for its name.

    Attributes
    ----------
    name, parameters
        What users call it and its parameters.
    filter
        ``filter(dt, n_taps, **parameters) -> (taps [reach, K], pole [reach] or None)`` in torch; ``dt`` in seconds,
        parameters as float64 tensors [reach] in SI units. With a window that is cut off, K is ``n_taps``.
    windowed
        Whether it is a response of finite length, whose taps weigh means over steps. Those of a scheme with a pole weigh
        values at the ends of steps, and so ``lateral="interval"`` means something there.
    mass_within, mean
        For windows that are cut off: ``mass_within(dt, count, **parameters)``, share of mass in the first ``count`` taps
        [reach], in numpy; ``mean(dt, **parameters)``, mean of the whole response in steps [reach], in torch. Without
        ``mean`` nothing but rounding is cut off.
    step_range
        ``step_range(**parameters) -> (lowest, highest)``: routing steps [s] between which it neither dips below zero nor
        oscillates [reach], in numpy; None where it does neither at any step.
    step_rule
        That range as a formula, for messages.
    instead
        Scheme of the same parameters and the same mean travel time that does not oscillate at any step.
    from_user
        Whether what the functions return must be looked at, which on a GPU means to wait for it.
    """

    name: str
    parameters: tuple[Parameter, ...]
    filter: Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
    windowed: bool = False
    mass_within: Callable[..., Float] | None = None
    mean: Callable[..., torch.Tensor] | None = None
    step_range: Callable[..., tuple[Any, Any]] | None = None
    step_rule: str = ""
    instead: str | None = None
    from_user: bool = False

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
