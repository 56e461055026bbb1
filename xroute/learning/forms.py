"""From a number without bounds to a parameter of a scheme: a travel time by length and celerity, or a value in its range.

A scheme says its mean travel time as a formula of its parameters. A parameter that travel time is proportional to, or
inversely so, follows from ``travel time = length / celerity``, and what is learned is the celerity; of all others the value is,
between its bounds. All numbers are float64 and in SI units.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.bounded import in_range, to_physical, to_raw
from xroute.exceptions import ParameterError
from xroute.schemes import HILLSLOPES, SCHEMES, Parameter, Scheme, find_scheme

__all__ = [
    "CELERITY", "Form", "check_celerity", "evaluate", "is_of_slopes", "scheme_named", "start_of", "time_power",
    "usual_values",
]  # fmt: skip

Tensor = torch.Tensor
Float = NDArray[np.float64]

CELERITY = (0.05, 20.0)
"""Celerities [m s-1] that flood waves of rivers have: from floodplains to torrents."""
INNER = 0.02
"""Share of a range between two bounds that a start keeps from either of them: on a bound its gradient would vanish."""
FACTOR = 4.6
"""Logarithm of the factor by which a value with one bound can leave its start: about a hundred."""
BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow,
}  # fmt: skip


def evaluate(formula: str, values: Mapping[str, Any]) -> Any:
    """A formula of names, numbers, ``+ - * / **`` and brackets, such as a scheme's ``"n * tau"``.

    Raises
    ------
    ValueError
        For anything else.
    """

    def of(node: ast.AST) -> Any:
        if isinstance(node, ast.Expression):
            return of(node.body)
        if isinstance(node, ast.Name) and node.id in values:
            return values[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            return BINARY[type(node.op)](of(node.left), of(node.right))
        raise ValueError(f"{formula!r} is no formula of {', '.join(values)}")

    try:
        return of(ast.parse(formula.strip(), mode="eval"))
    except SyntaxError as error:
        raise ValueError(f"{formula!r} is no formula") from error


def time_power(scheme: Scheme, name: str) -> int:
    """1 where mean travel time is proportional to a parameter of a scheme, -1 where inversely, 0 where neither, or unknown."""
    units = {p.name: p.units for p in scheme.parameters}
    power = {"s": 1, "m s-1": -1}.get(units[name], 0)
    probes = [{n: 1.3 + 0.7 * i + 0.1 * j for i, n in enumerate(units)} for j in range(3)]
    try:
        for probe in probes if power else ():
            once, twice = (evaluate(scheme.travel_time, {**probe, name: value}) for value in (1.7, 3.4))
            if not math.isclose(twice, once * 2.0**power, rel_tol=1e-9):
                return 0
    except (ValueError, ArithmeticError):  # words, or a function that users have registered
        return 0
    return power


def scheme_named(name: str, parameter: str) -> Scheme:
    """Scheme, or form of hillslopes, of a name, that has a parameter.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name in HILLSLOPES and name not in SCHEMES:
        found = [form for form in HILLSLOPES[name] if any(p.name == parameter for p in form.parameters)]
    else:
        found = [find_scheme(name, " (which the model was trained for)")]
    if not found or not any(p.name == parameter for p in found[0].parameters):
        raise ParameterError(f"{name} has no parameter {parameter!r}, which the model was trained for")
    return found[0]


def is_of_slopes(scheme: Scheme) -> bool:
    """Whether a scheme is a form of hillslopes."""
    return any(scheme is form for form in HILLSLOPES.get(scheme.name, ()))


@dataclass(frozen=True)
class Form:
    """How a number becomes a parameter of a scheme.

    Attributes
    ----------
    scheme, name
        The scheme, and its parameter.
    power
        As of `time_power`; 0 also where celerities are not learned.
    start
        What zero becomes: the celerity [m s-1], or the value.
    celerity
        Least and greatest celerity [m s-1].
    scale
        Of a value without bounds: what one of the number is.
    """

    scheme: str
    name: str
    power: int
    start: float
    celerity: tuple[float, float] = CELERITY
    scale: float = 1.0

    @property
    def parameter(self) -> Parameter:
        """The parameter and its range."""
        return next(p for p in scheme_named(self.scheme, self.name).parameters if p.name == self.name)

    @property
    def of_slopes(self) -> bool:
        """Whether it is of hillslopes, not of rivers."""
        return is_of_slopes(scheme_named(self.scheme, self.name))

    def serves(self, scheme: Scheme) -> bool:
        """Whether it is the form of another scheme's parameter too: one of the same name, range and travel time."""
        own = scheme_named(self.scheme, self.name)
        same = {p.name: (p.units, p.low, p.high, p.low_open) for p in own.parameters}.get(self.name)
        other = {p.name: (p.units, p.low, p.high, p.low_open) for p in scheme.parameters}.get(self.name)
        return same == other and (self.power == 0 or own.travel_time == scheme.travel_time)

    def celerities(self, z: Tensor) -> Tensor:
        """Celerity [m s-1] of numbers [reach]: between its bounds, even where these are far out."""
        low, high = (math.log(c) for c in self.celerity)
        place = (math.log(self.start) - low) / (high - low)
        share = torch.sigmoid(z + math.log(place / (1 - place)))
        return torch.exp(low + (high - low) * share)

    def values(self, z: Tensor, scheme: Scheme, length: Tensor | None, others: Mapping[str, Tensor]) -> Tensor:
        """Parameter of reaches.

        Parameters
        ----------
        z : float64 [its reaches]
            Numbers without bounds.
        scheme
            Scheme of the reaches, which the form serves.
        length : float64 [its reaches], optional
            Their lengths [m], where celerities are learned.
        others : float64 [its reaches] by name
            The scheme's other parameters, learned or not.
        """
        parameter = self.parameter
        if self.power:
            assert length is not None
            share = evaluate(scheme.travel_time, {**others, self.name: torch.ones_like(z)})
            time = length / self.celerities(z) / share
            return in_range(parameter, time if self.power > 0 else 1 / time)
        low, high = np.isfinite(parameter.low), np.isfinite(parameter.high)
        if not low and not high:
            return in_range(parameter, self.start + self.scale * z.clamp(-1e6, 1e6))
        if not (low and high):
            z = FACTOR * torch.tanh(z / FACTOR)
        start = to_raw(parameter, torch.tensor(self.start, dtype=torch.float64, device=z.device))
        return to_physical(parameter, start + z)


def start_of(
    scheme: Scheme, name: str, values: Mapping[str, Float] | None, length: Float | None
) -> tuple[float, float]:
    """Where a parameter starts: the mean of what reaches have, or of what is usual.

    Parameters
    ----------
    scheme, name
        The scheme, and its parameter.
    values : float64 [its reaches] by name
        All parameters of the scheme; None where the network does not have this one.
    length : float64 [its reaches]
        Lengths [m], where a celerity is learned.

    Returns
    -------
    start, scale : float
        As of `Form`. A celerity is a geometric mean, and so is what has one bound.
    """
    parameter = next(p for p in scheme.parameters if p.name == name)
    if length is not None:
        if values is None:
            return 1.0, 1.0
        celerity = length / evaluate(scheme.travel_time, values)
        celerity = celerity[np.isfinite(celerity) & (celerity > 0)]
        return (float(np.exp(np.log(celerity).mean())) if celerity.size else 1.0), 1.0
    low, high = parameter.low, parameter.high
    own = np.array(usual_values(parameter) if values is None else values[name], np.float64).ravel()
    if np.isfinite(low) and np.isfinite(high):
        margin = INNER * (high - low)
        return float(np.clip(own.mean(), low + margin, high - margin)), 1.0
    if not np.isfinite(low) and not np.isfinite(high):
        return float(own.mean()), float(own.std() or abs(own.mean()) or 1.0)
    distance = own - low if np.isfinite(low) else high - own
    distance = distance[distance > 0]
    middle = float(np.exp(np.log(distance).mean())) if distance.size else 1.0
    return (low + middle if np.isfinite(low) else high - middle), 1.0


def usual_values(parameter: Parameter) -> tuple[float, ...]:
    """What a parameter usually is, where nobody says."""
    if parameter.default is not None:
        return (parameter.default,)
    if parameter.usual is not None:
        return parameter.usual
    low, high = parameter.low, parameter.high
    if np.isfinite(low) and np.isfinite(high):
        return ((low + high) / 2,)
    return (low + 1.0 if np.isfinite(low) else high - 1.0 if np.isfinite(high) else 0.0,)


def check_celerity(celerity: Any) -> tuple[float, float]:
    """Least and greatest celerity [m s-1], checked.

    Raises
    ------
    ParameterError
        If they are not two positive numbers, the lesser first.
    """
    try:
        low, high = (float(c) for c in celerity)
        fine = 0 < low < high < np.inf
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise ParameterError(
            f"celerity is the least and the greatest celerity [m s-1], such as {CELERITY}, not {celerity!r}"
        )
    return low, high
