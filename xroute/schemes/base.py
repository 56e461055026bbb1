"""What a routing scheme is: its parameters, its window, and all that other rooms ask about it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.schemes.filter import Filter, Float

if TYPE_CHECKING:
    import torch

__all__ = ["Filter", "Float", "Parameter", "Scheme", "Window"]

@dataclass(frozen=True)
class Parameter:
    """A parameter of a scheme: its name, SI units, and the range it must lie in.

    Attributes
    ----------
    name, units
        What a network's variable is called, and the SI units that its values are turned into.
    low, high, low_open
        Range of its values, in its units, bounds included, but for the lower one where it is open.
    default
        Value, in its units, where a network does not have it; without one, a network must.
    long_name
        What it is, in words.
    usual
        Lowest and highest value of usual reaches, which tests draw from; for steps of an hour.

    Examples
    --------
    >>> import xroute
    >>> weight = xroute.Parameter("x", low=0.0, high=0.5)
    >>> weight.range
    '0 <= x <= 0.5'
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
        """Refuse values that are NaN, infinite or out of range.

        Parameters
        ----------
        values : float64 [reach]
            Values in the parameter's SI units.
        ids : [reach]
            Ids of the reaches, for the message.
        scheme
            Name of the scheme, for the message.

        Raises
        ------
        ParameterError
            Naming the reaches and the range.

        Examples
        --------
        >>> import numpy as np, xroute
        >>> xroute.Parameter("x", low=0.0, high=0.5).check(np.array([0.2, 0.7]), np.array([10, 20]), "muskingum")
        Traceback (most recent call last):
            ...
        xroute.exceptions.ParameterError: muskingum: 'x' must be 0 <= x <= 0.5; 1 reaches are outside it: 20 (values 0.7, in 1)
        """
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
        """Whether values are finite and in range.

        Parameters
        ----------
        values : array or tensor, of any shape
            In the parameter's SI units.

        Returns
        -------
        bool, of the same shape
            True for each value that is.

        Examples
        --------
        >>> import numpy as np, xroute
        >>> xroute.Parameter("k", "s", low=0.0, low_open=True).allows(np.array([0.0, 3600.0]))
        array([False,  True])
        """
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

    Examples
    --------
    A response whose number of taps is known: as many as cover the delay, and one more.

    >>> import numpy as np
    >>> from xroute.schemes import Window
    >>> window = Window(length=lambda dt, delay: np.ceil(delay / dt) + 1)
    >>> window.length(3600.0, delay=np.array([5400.0]))
    array([3.])
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
    discretises
        Scheme of the same parameters whose continuous response it has, in the discretisation of another model, which need not
        keep the mean travel time. It is asked for by its name: a network that names no scheme has the other one.
    from_user
        Whether what the functions return must be looked at, which on a GPU means to wait for it.

    Examples
    --------
    >>> from xroute.schemes import find_scheme
    >>> muskingum = find_scheme("muskingum")
    >>> [parameter.name for parameter in muskingum.parameters], muskingum.travel_time, muskingum.step_rule
    (['k', 'x'], 'k', '2kx <= dt <= 2k(1-x)')
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
    discretises: str | None = None
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
        """Whether variables of these names are its parameters: all that have no default, and at least one.

        Parameters
        ----------
        names
            Names of variables, or a Dataset that has them.

        Returns
        -------
        bool
            Whether they are.

        Examples
        --------
        >>> from xroute.schemes import find_scheme
        >>> muskingum = find_scheme("muskingum")
        >>> muskingum.fits({"k", "x", "length"}), muskingum.fits({"tau"})
        (True, False)
        """
        found = [p.name in names for p in self.parameters]
        return any(found) and all(there or p.default is not None for there, p in zip(found, self.parameters, strict=True))

    def interval_gain(self, taps: torch.Tensor) -> torch.Tensor:
        """Weight of lateral inflow that joins over the interval.

        It is constant over the step, and so counts at both of its ends (David et al. 2011).

        Parameters
        ----------
        taps : tensor [reach, K]
            Taps of the scheme's filter, numbers without units.

        Returns
        -------
        tensor [reach]
            Their sum.

        Examples
        --------
        >>> import torch
        >>> from xroute.schemes import find_scheme
        >>> find_scheme("muskingum").interval_gain(torch.tensor([[0.25, 0.5]]))
        tensor([0.7500])
        """
        return taps.sum(dim=1)

    def limits(self, values: Mapping[str, Float], n: int) -> tuple[Float, Float]:
        """Lowest and highest routing step [s] at which a reach neither dips below zero nor oscillates.

        Parameters
        ----------
        values : dict of float64 [reach]
            Parameters in SI units, by name.
        n
            Number of reaches.

        Returns
        -------
        lowest, highest : float64 [reach]
            In seconds; 0 and infinity where there is no limit.

        Raises
        ------
        ParameterError
            If a function of the user's does not give two numbers a reach.

        Examples
        --------
        >>> import numpy as np
        >>> from xroute.schemes import find_scheme
        >>> find_scheme("muskingum").limits({"k": np.array([3600.0]), "x": np.array([0.25])}, 1)
        (array([1800.]), array([5400.]))
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
