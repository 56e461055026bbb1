"""Values within bounds of their form without bounds, and their gradient, in one kernel each.

What it computes is `xroute.bounded.to_physical`, which says what is meant; `tests/test_fused.py` holds each against the other.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from xroute.engine.gpu.dispatch import launch

__all__ = ["Bounds", "bounded"]

Tensor = torch.Tensor
BLOCK = 256
"""Values of a program."""


class Bounds(NamedTuple):
    """Between what values lie; numbers, for which kernels are compiled.

    Attributes
    ----------
    low, high
        The bounds; one of them may be infinite.
    least, most
        What values are held between, a bound that is open being outside.
    farthest
        How far out the form without bounds counts.
    """

    low: float
    high: float
    least: float
    most: float
    farthest: float


def bounded(raw: Tensor, bounds: Bounds) -> Tensor:
    """Values of a float64 tensor of their form without bounds, differentiable once."""
    if torch.is_grad_enabled() and raw.requires_grad:
        found: Tensor = _Bounded.apply(raw, bounds)
        return found
    return _made(raw, bounds)


def _made(raw: Tensor, bounds: Bounds) -> Tensor:
    """Values within bounds, without gradients."""
    given = raw.detach().contiguous()
    value = torch.empty_like(given)
    _launch(given, given, value, bounds, False)
    return value


class _Bounded(torch.autograd.Function):
    """Values of their form without bounds, in one launch each way."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, bounds: Bounds) -> Tensor:
        """Values within bounds; in one function, as torch asks two for their signature each time."""
        ctx.bounds = bounds
        ctx.save_for_backward(raw)
        return _made(raw, bounds)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Gradient of the form without bounds."""
        given = ctx.saved_tensors[0].detach().contiguous()
        found = torch.empty_like(given)
        _launch(given, gradient.contiguous(), found, ctx.bounds, True)
        return found, None


def _launch(raw: Tensor, gradient: Tensor, result: Tensor, bounds: Bounds, back: bool) -> None:
    n = raw.numel()
    if n:
        launch(
            between, -(-n // BLOCK), raw, gradient, result, n, *bounds, back, BLOCK, num_warps=4, enable_fp_fusion=False
        )


@triton.jit(do_not_specialize=("n",))
def between(
    raw, gradient, result, n, LOW: tl.constexpr, HIGH: tl.constexpr, LEAST: tl.constexpr, MOST: tl.constexpr,
    FARTHEST: tl.constexpr, BACK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Values, or if BACK the gradient of their form without bounds: none where either is held back."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = at < n
    given = tl.load(raw + at, mask=there, other=0.0)
    # a number alone would be one of float32
    least, most = tl.full((BLOCK,), LEAST, tl.float64), tl.full((BLOCK,), MOST, tl.float64)
    far = tl.full((BLOCK,), FARTHEST, tl.float64)
    near = tl.where(given > far, far, tl.where(given < -far, -far, given))
    if HIGH == float("inf"):
        slope = tl.exp(near)
        value = LOW + slope
    elif LOW == -float("inf"):
        value = HIGH - tl.exp(near)
        slope = -tl.exp(near)
    else:
        part = 1 / (1 + tl.exp(-near))
        value = LOW + (HIGH - LOW) * part
        slope = (HIGH - LOW) * (part * (1 - part))
    if BACK:
        free = (given >= -far) & (given <= far) & (value >= least) & (value <= most)
        tl.store(result + at, tl.where(free, tl.load(gradient + at, mask=there, other=0.0) * slope, 0.0), mask=there)
    else:
        tl.store(result + at, tl.where(value > most, most, tl.where(value < least, least, value)), mask=there)
