"""The network of neurons of a `ParameterModel`, and what it is made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from xroute.bounded import without_type
from xroute.exceptions import ParameterError, some

__all__ = ["Layers", "names_of", "widths_of"]

Tensor = torch.Tensor
HIDDEN_SHARE = 0.3
"""What hidden layers count beside the linear map: less than one makes optimisers take simple relations first."""


class Layers(torch.nn.Module):
    """A linear map beside hidden layers of tanh, in float64: zero before it is trained, whatever goes in.

    Parameters
    ----------
    n_in, hidden, n_out
        Widths. The second half of the inputs are notes that one of the first is missing: in training that may never be, and what
        was never missing says nothing.
    seed
        Of the first weights.

    Raises
    ------
    ParameterError
        For a seed that is none.
    """

    def __init__(self, n_in: int, hidden: tuple[int, ...], n_out: int, seed: int) -> None:
        super().__init__()
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ParameterError(f"seed is a whole number, not negative, and not {seed!r}")
        generator = torch.Generator().manual_seed(int(seed))
        widths = [n_in, *hidden]
        layers = [_linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        for layer in layers:
            torch.nn.init.xavier_uniform_(layer.weight, generator=generator)
            torch.nn.init.uniform_(layer.bias, -1.0, 1.0, generator=generator)
        if hidden:
            torch.nn.init.zeros_(layers[0].weight[:, n_in // 2 :])
        self.hidden = torch.nn.ModuleList(layers)
        self.last = _linear(hidden[-1], n_out) if hidden else None
        self.straight = _linear(n_in, n_out)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.straight.weight.device

    def forward(self, features: Tensor) -> Tensor:
        """Numbers without bounds [reach, n_out] of features [reach, n_in]."""
        z: Tensor = self.straight(features)
        if self.last is not None:
            h = features
            for layer in self.hidden:
                h = torch.tanh(layer(h))
            z = z + HIDDEN_SHARE * self.last(h)
        return z

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Layers:
        """Apply what `to`, `half` and others do, but for the change of type: float64 is kept."""
        return super()._apply(without_type(fn), recurse)


def _linear(n_in: int, n_out: int) -> torch.nn.Linear:
    """A layer of zeros; torch's own first values would draw from the random numbers that others count on."""
    layer = torch.nn.utils.skip_init(torch.nn.Linear, n_in, n_out, dtype=torch.float64)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


def names_of(what: str, names: Any, empty: bool = False) -> tuple[str, ...]:
    """Names, each once."""
    try:
        found = (names,) if isinstance(names, str) else tuple(names)
    except TypeError:
        found = ()
    if not (found or empty) or not all(isinstance(name, str) for name in found):
        raise ParameterError(f"{what} are names, at least one, not {names!r}")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ParameterError(f"{what} name {some(twice)} more than once")
    return found


def widths_of(hidden: Any) -> tuple[int, ...]:
    """Widths of layers."""
    widths = (hidden,) if isinstance(hidden, (int, np.integer)) and not isinstance(hidden, bool) else hidden
    try:
        widths = tuple(widths)
    except TypeError:
        widths = (None,)
    if not all(isinstance(w, (int, np.integer)) and not isinstance(w, bool) and w > 0 for w in widths):
        raise ParameterError(
            f"hidden are the widths of the hidden layers, such as (32, 32), or () for none, not {hidden!r}"
        )
    return tuple(int(w) for w in widths)
