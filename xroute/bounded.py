"""Parameters that cannot leave their range: learned as a logarithm or a logit, which have no bounds.

Between two bounds the logit of the place between them is learned, beside one bound the logarithm of the distance from it.
Physical values are in SI units and float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.schemes import Parameter

__all__ = ["BoundedParameter", "module_name"]

Tensor = torch.Tensor

FARTHEST = 100.0
"""Raw values count as no farther out than this: e^100 is beyond all rivers, and products of a few such values are finite."""


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
        low, high = parameter.low, parameter.high
        if np.isfinite(low) and np.isfinite(high):
            raw = torch.logit((value - low) / (high - low))
        elif np.isfinite(low):
            raw = torch.log(value - low)
        else:
            raw = torch.log(high - value) if np.isfinite(high) else value
        on_bound = (raw.abs() > FARTHEST).numpy() & (np.isfinite(low) or np.isfinite(high))
        if on_bound.any():
            raise ParameterError(
                f"{scheme}: {parameter.name!r} is to be learned, but {int(on_bound.sum())} reaches start on a bound of "
                f"{parameter.range}, where its gradient vanishes: {some(ids[on_bound])}. Start them inside"
            )
        self.raw = torch.nn.Parameter(raw)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BoundedParameter:
        """Apply what `to`, `half` and others do, but for the change of type: float64 is kept."""

        def apply(tensor: Tensor) -> Tensor:
            applied = fn(tensor)
            return applied if applied.dtype == tensor.dtype else tensor.to(applied.device)

        return super()._apply(apply, recurse)

    def forward(self) -> Tensor:
        """Value in SI units [its reaches]."""
        return self.physical(self.raw if self.learned else self.fixed)

    def physical(self, stored: Tensor) -> Tensor:
        """Value in SI units of what the module stores of it."""
        stored = stored.to(torch.float64)
        if not self.learned:
            return stored
        low, high = self.parameter.low, self.parameter.high
        raw = stored.clamp(-FARTHEST, FARTHEST)  # beyond, the gradient is zero; that of an infinite value would be NaN
        if np.isfinite(low) and np.isfinite(high):
            value = low + (high - low) * torch.sigmoid(raw)
        elif np.isfinite(low):
            value = low + torch.exp(raw)
        else:
            value = high - torch.exp(raw) if np.isfinite(high) else stored
        # far out, rounding would reach a bound that is open, or infinity
        least = np.nextafter(low, np.inf) if self.parameter.low_open else max(low, -np.finfo(np.float64).max)
        return value.clamp(least, min(high, np.finfo(np.float64).max))


@lru_cache
def module_name(name: str) -> str:
    """Name as a module may bear it, a different one for each: without dots, and not that of one of its attributes."""
    safe = name.replace("%", "%25").replace(".", "%2E")
    return "%" + safe if not safe or hasattr(torch.nn.ModuleDict(), safe) else safe
