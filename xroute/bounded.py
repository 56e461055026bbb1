"""Parameters that cannot leave their range: learned as a logarithm or a logit, which have no bounds.

Between two bounds the logit of the place between them is learned, beside one bound the logarithm of the distance from it.
Physical values are in SI units and float64. What groups of reaches share is of `xroute.grouped`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.groups import Groups
from xroute.schemes import Parameter
from xroute.schemes.making import has_triton
from xroute.settings import Form

__all__ = [
    "EXTRA", "FARTHEST", "BoundedParameter", "in_range", "in_words", "module_name", "refuse_groups", "to_physical",
    "to_raw", "without_type",
]  # fmt: skip

Tensor = torch.Tensor

FARTHEST = 100.0
"""Raw values count as no farther out than this: e^100 is beyond all rivers, and products of a few such values are finite."""
EXTRA = "_extra_state"
"""Key under which torch stores what a module has beside tensors."""


def to_raw(parameter: Parameter, value: Tensor) -> Tensor:
    """Values of a parameter in the form without bounds; infinite, or beyond `FARTHEST`, on a bound."""
    low, high = parameter.low, parameter.high
    if np.isfinite(low) and np.isfinite(high):
        return torch.logit((value - low) / (high - low))
    if np.isfinite(low):
        return torch.log(value - low)
    return torch.log(high - value) if np.isfinite(high) else value


def to_physical(parameter: Parameter, raw: Tensor) -> Tensor:
    """Values of a parameter of their form without bounds, within its range whatever that is; gradients are finite."""
    low, high = parameter.low, parameter.high
    if raw.is_cuda and raw.dtype == torch.float64 and (np.isfinite(low) or np.isfinite(high)) and has_triton():
        from xroute.engine.gpu.bounds import Bounds, bounded

        return bounded(raw, Bounds(low, high, *_limits(parameter), FARTHEST))
    near = raw.clamp(-FARTHEST, FARTHEST)  # beyond, the gradient is zero; that of an infinite value would be NaN
    if np.isfinite(low) and np.isfinite(high):
        value = low + (high - low) * torch.sigmoid(near)
    elif np.isfinite(low):
        value = low + torch.exp(near)
    else:
        value = high - torch.exp(near) if np.isfinite(high) else raw
    return in_range(parameter, value)


def in_range(parameter: Parameter, value: Tensor) -> Tensor:
    """Values held within a parameter's range: far out, rounding would reach a bound that is open, or infinity."""
    return value.clamp(*_limits(parameter))


@lru_cache
def _limits(parameter: Parameter) -> tuple[float, float]:
    """Least and greatest value of a parameter's range that is a finite number."""
    low, most = parameter.low, float(np.finfo(np.float64).max)
    return float(np.nextafter(low, np.inf)) if parameter.low_open else max(low, -most), min(parameter.high, most)


def without_type(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What `torch.nn.Module._apply` does to tensors, such as `to`, but for a change of type."""

    def apply(tensor: Tensor) -> Tensor:
        applied = fn(tensor)
        return applied if applied.dtype == tensor.dtype else tensor.to(applied.device)

    return apply


class BoundedParameter(torch.nn.Module):
    """One parameter of one scheme on its reaches: fixed, or learned in a form without bounds.

    Parameters
    ----------
    parameter
        Its name and its range.
    value : float64 [its reaches]
        Where it starts, in SI units.
    learned
        Whether it is learned.
    ids, scheme
        Ids of its reaches and name of the scheme, for messages.

    Raises
    ------
    ParameterError
        If it is to be learned, and starts on a bound, where its gradient vanishes.
    """

    def __init__(self, parameter: Parameter, value: Tensor, learned: bool, ids: NDArray[Any], scheme: str) -> None:
        super().__init__()
        self.parameter = parameter
        self.learned = learned
        self.fixed: Tensor
        if not learned:
            self.register_buffer("fixed", value)
            return
        raw = to_raw(parameter, value)
        on_bound = self._on_bound(raw)
        if on_bound.any():
            raise ParameterError(
                f"{scheme}: {parameter.name!r} is to be learned, but {int(on_bound.sum())} reaches start on a bound of "
                f"{parameter.range}, where its gradient vanishes: {some(ids[on_bound])}. Start them inside"
            )
        self.raw = torch.nn.Parameter(raw)

    @property
    def groups(self) -> Groups | None:
        """Groups of its reaches that have one value, or factor, each; None where each reach has its own."""
        return None

    @property
    def form(self) -> Form:
        """What is learned: its ``"value"``, or a factor, ``"scale"``."""
        return "value"

    def group_values(self) -> Tensor:
        """Value in SI units of each group [group], or its factor; of each reach where there are no groups."""
        return self()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BoundedParameter:
        """Apply what `to`, `half` and others do, but for the change of type: float64 is kept."""
        return super()._apply(without_type(fn), recurse)

    def raw_of(self, values: Tensor, at: Any = slice(None)) -> Tensor:
        """Form without bounds of other values of the groups (reaches, where there are none) at some positions, or factors."""
        return to_raw(self.parameter, values)

    def forward(self) -> Tensor:
        """Value in SI units [its reaches]."""
        return self.physical(self.raw if self.learned else self.fixed)

    def physical(self, stored: Tensor) -> Tensor:
        """Value in SI units of what the module stores of it."""
        stored = stored.to(torch.float64)
        if not self.learned:
            return stored
        return to_physical(self.parameter, stored)

    def check_stored(self, state_dict: Mapping[str, Any], prefix: str, ids: NDArray[Any], scheme: str) -> None:
        """Refuse what a state dict has for it under a prefix, if that is out of range or of groups; torch refuses other shapes.

        Raises
        ------
        ParameterError
            Naming reaches, of these ids, or groups.
        """
        if f"{prefix}{EXTRA}" in state_dict:
            what = f"state dict, {scheme}: {self.parameter.name!r}"
            raise refuse_groups(what, state_dict[f"{prefix}{EXTRA}"], "by reach" if self.learned else None)
        stored = state_dict.get(f"{prefix}{'raw' if self.learned else 'fixed'}")
        if stored is not None and stored.shape == (self.raw if self.learned else self.fixed).shape:
            self.parameter.check(self.physical(stored.detach().cpu()).numpy(), ids, f"state dict, {scheme}")

    def _on_bound(self, raw: Tensor) -> NDArray[np.bool_]:
        bounded = np.isfinite(self.parameter.low) or np.isfinite(self.parameter.high)
        return (raw.abs() > FARTHEST).numpy() & bounded


def refuse_groups(what: str, stored: Any, here: str | None) -> ParameterError:
    """Error for a state dict of other groups than this Router has.

    Parameters
    ----------
    what
        What parameter it is of, in words.
    stored
        What the state dict has under `EXTRA`; None where it has no groups.
    here
        What is learned here, in words, such as ``"by reach"``; None where nothing is.
    """
    there = "by reach"
    if isinstance(stored, Mapping):
        there = in_words(stored.get("form"), stored.get("name"))
        there += f" ({some(stored.get('labels', ()), 5)})" if stored.get("name") else ""
    return ParameterError(
        f"{what} was learned {there}, and here it is {'fixed' if here is None else 'learned ' + here}: make the Router with the "
        "learnable= of the one that was saved, or of the Network that its to_network() gives"
    )


def in_words(form: Any, name: str | None) -> str:
    """How a parameter is learned: by reach, or by groups of this name."""
    what = "as a factor " if form == "scale" else ""
    return what + ("by reach" if name is None else f"by groups {name!r}")


@lru_cache
def module_name(name: str) -> str:
    """Name as a module may bear it, a different one for each: without dots, and not that of one of its attributes."""
    safe = name.replace("%", "%25").replace(".", "%2E")
    return "%" + safe if not safe or hasattr(torch.nn.ModuleDict(), safe) else safe
