"""On a GPU, filters of the built-in schemes of taps and a pole in one kernel, and their gradients in another.

What they compute is what the torch functions of `xroute.schemes.builtin` do, balanced as `xroute.schemes.making` balances it:
`tests/test_fused.py` holds each against the other. As operations of torch it would be thirty launches, and the host needs
longer for them than the GPU for routing. Only where filters are made on a GPU is this module, and Triton, imported.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl

from xroute.engine.gpu.dispatch import launch

__all__ = ["N_TAPS", "fused_filter"]

Tensor = torch.Tensor
N_TAPS = {"linear_storage": 1, "muskingum": 2, "muskingum_exact": 2}
"""Taps of the formulas that there are, by the names that `xroute.schemes.builtin` knows them by."""
BLOCK = 256
"""Reaches of a program."""
LINEAR_STORAGE, MUSKINGUM, MUSKINGUM_EXACT = (tl.constexpr(k) for k in range(len(N_TAPS)))
TERMS = tl.constexpr(15)
"""Of a series that is good to the last digit up to 1/2."""


def fused_filter(formula: str, dt: float, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Taps [reach, K], which sum to 1 - pole, and poles [reach] of a scheme, differentiable once; and zeros [reach].

    Parameters
    ----------
    formula
        Its name in `N_TAPS`.
    dt
        Routing step [s].
    parameters : float64 tensor [reach] each
        In the order of the scheme's.
    """
    if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
        taps, pole, zero = _Fused.apply(formula, dt, *parameters)
        return taps, pole, zero
    return _made(formula, dt, parameters)


def _made(formula: str, dt: float, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Taps, poles and zeros, without gradients."""
    given = [p.detach().contiguous() for p in parameters]
    n, k = given[0].numel(), N_TAPS[formula]
    taps, pole, zero = given[0].new_empty(n, k), torch.empty_like(given[0]), torch.empty_like(given[0])
    _launch(make_taps, n, given[0], given[-1], taps, pole, zero, n, _bits(dt), list(N_TAPS).index(formula), k)
    return taps, pole, zero


class _Fused(torch.autograd.Function):
    """A filter of parameters, in one launch each way."""

    @staticmethod
    def forward(ctx: Any, formula: str, dt: float, *parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Taps, poles and zeros; in one function, as torch asks two for their signature each time."""
        ctx.formula, ctx.dt = formula, dt
        ctx.save_for_backward(*parameters)
        made = _made(formula, dt, parameters)
        ctx.mark_non_differentiable(made[2])
        ctx.set_materialize_grads(False)  # zeros would be made for the zeros too
        return made

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_taps: Tensor | None, of_pole: Tensor | None, _: None) -> Any:
        """Gradients of the parameters."""
        given = [p.detach().contiguous() for p in ctx.saved_tensors]
        n, k = given[0].numel(), N_TAPS[ctx.formula]
        of_taps = given[0].new_zeros(n, k) if of_taps is None else of_taps
        of_pole = given[0].new_zeros(n) if of_pole is None else of_pole
        grads = [torch.empty_like(p) for p in given]
        _launch(
            parameter_gradients, n, given[0], given[-1], of_taps.contiguous(), of_pole.contiguous(), grads[0], grads[-1],
            n, _bits(ctx.dt), list(N_TAPS).index(ctx.formula), k,
        )  # fmt: skip
        return None, None, *grads


def _launch(kernel: Any, n: int, *arguments: Any) -> None:
    if n:  # multiplications and additions apart, as torch has them
        launch(kernel, -(-n // BLOCK), *arguments, BLOCK, num_warps=4, enable_fp_fusion=False)


@lru_cache
def _bits(number: float) -> int:
    """The bits of a number as an integer: Triton takes numbers for float32."""
    bits: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return bits


# ── the formulas: see `xroute.schemes.builtin` ──────────────────────────────────────────────────────────────────────────


@triton.jit
def _phi2(z):
    """(exp(z) - 1 - z) / z^2 for abs(z) <= 1/2: the sum of z^j / (j + 2)!."""
    total = z * 0 + 1
    for j in tl.static_range(TERMS - 2):
        total = 1 + z * total * (1 / (TERMS - j))
    return total / 2


@triton.jit
def _at_ends(s, p):
    """1 - (1 - p) / s, and (1 - p) / s - p, with p = exp(-s), without differences of nearly equal numbers."""
    short = s < 0.5
    near = tl.where(short, s, 0.5)
    share = (1 - p) / s
    return tl.where(short, near * _phi2(-near), 1 - share), tl.where(short, near * p * _phi2(near), share - p)


@triton.jit
def filter_of(first, second, dt, FORMULA: tl.constexpr):
    """First tap, second tap (0 where there is none), pole."""
    if FORMULA == LINEAR_STORAGE:
        a = 1 / (1 + first / dt)
        return a, a * 0, (first / dt) * a
    elif FORMULA == MUSKINGUM:
        kx = first * second
        over = 1 / (first - kx + dt / 2)
        return (dt / 2 - kx) * over, (dt / 2 + kx) * over, 1 - dt * over
    else:
        s = dt / (first * (1 - second))
        p = tl.exp(-s)
        at_start, at_end = _at_ends(s, p)
        return (at_start - second) / (1 - second), (at_end + second * p) / (1 - second), p


@triton.jit
def gradient_of(first, second, dt, c0, c1, pole, FORMULA: tl.constexpr):
    """Gradients of the two parameters, of those of the two taps and the pole, each sum of products written out."""
    if FORMULA == LINEAR_STORAGE:
        a = 1 / (1 + first / dt)
        return (pole - c0) * a * a / dt, first * 0
    elif FORMULA == MUSKINGUM:
        kx = first * second
        over = 1 / (first - kx + dt / 2)
        down, up, rest = (dt / 2 - kx) * over, (dt / 2 + kx) * over, dt * over
        of_k = (1 - second) * (rest * pole - down * c0 - up * c1) + second * (c1 - c0)
        of_x = (down - 1) * c0 + (up + 1) * c1 - rest * pole
        return of_k * over, of_x * first * over
    else:
        left = 1 - second
        s = dt / (first * left)
        p = tl.exp(-s)
        _, at_end = _at_ends(s, p)
        slope = p * dt / first
        of_k = (c1 * (at_end - slope) - c0 * at_end) / left + pole * p * s
        of_x = ((c1 - c0) * p + c1 * slope) / left - pole * p * s
        return of_k / first, of_x / left


# ── the kernels ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@triton.jit(do_not_specialize=("n", "dt_bits"))
def make_taps(
    first, second, taps, pole, zero, n, dt_bits, FORMULA: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr
):
    """Taps, poles and zeros, what rounding takes from the sum of the taps given back to the last: see `making._balanced`."""
    reach = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = reach < n
    dt = dt_bits.to(tl.float64, bitcast=True)
    a = tl.load(first + reach, mask=there, other=1.0)
    b = tl.load(second + reach, mask=there, other=0.0)
    c0, c1, p = filter_of(a, b, dt, FORMULA)
    if K == 1:
        lacking = (1 - p) - c0
        tl.store(taps + reach, tl.where(tl.abs(lacking) <= 2.0**-50, c0 + lacking, c0), mask=there)
    else:
        whole = (1 + c0) - 1
        lacking = ((1 - p) - whole) - c1
        rounded = tl.abs(lacking) <= 2.0**-49
        tl.store(taps + 2 * reach, tl.where(rounded, c0 + (whole - c0), c0), mask=there)
        tl.store(taps + 2 * reach + 1, tl.where(rounded, c1 + lacking, c1), mask=there)
    tl.store(pole + reach, p, mask=there)
    tl.store(zero + reach, tl.zeros((BLOCK,), tl.float64), mask=there)


@triton.jit(do_not_specialize=("n", "dt_bits"))
def parameter_gradients(
    first, second, of_taps, of_pole, of_first, of_second, n, dt_bits,
    FORMULA: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of parameters, of those of taps and poles; rounding has none."""
    reach = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = reach < n
    dt = dt_bits.to(tl.float64, bitcast=True)
    a = tl.load(first + reach, mask=there, other=1.0)
    b = tl.load(second + reach, mask=there, other=0.0)
    c0 = tl.load(of_taps + K * reach, mask=there, other=0.0)
    c1 = c0 * 0
    if K > 1:
        c1 = tl.load(of_taps + K * reach + 1, mask=there, other=0.0)
    of_a, of_b = gradient_of(a, b, dt, c0, c1, tl.load(of_pole + reach, mask=there, other=0.0), FORMULA)
    tl.store(of_first + reach, of_a, mask=there)
    if K > 1:  # as many parameters as taps
        tl.store(of_second + reach, of_b, mask=there)
