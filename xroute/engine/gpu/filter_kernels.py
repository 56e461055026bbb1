"""Triton kernels between a filter as schemes make it, reach by reach, and as the routing kernels take it, place by place.

One launch each: as operations of torch they would be a dozen, each of which takes the host longer than a GPU takes for all of it.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["BLOCK", "gather_gradients", "lay_out"]

BLOCK = 256
"""Places or reaches of a program."""
SIZES = ("n_places", "n_reaches")


@triton.jit(do_not_specialize=SIZES)
def lay_out(
    taps, pole, gain, first, second, single, reach, coefficients, n_places,
    TWO: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Coefficients [4, place] of taps, poles and gains of reaches: c0, c0 + c1, 1 - pole, gain; computed in float64."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < n_places
    c0 = tl.load(taps + tl.load(first + place, mask=there, other=0), mask=there, other=0.0)
    both = c0
    if TWO:
        has_second = there & (tl.load(single + place, mask=there, other=1) == 0)
        both = c0 + tl.load(taps + tl.load(second + place, mask=there, other=0), mask=has_second, other=0.0)
    at = tl.load(reach + place, mask=there, other=0)
    tl.store(coefficients + place, c0.to(ACC), mask=there)
    tl.store(coefficients + n_places + place, both.to(ACC), mask=there)
    rest = 1 - tl.load(pole + at, mask=there, other=0.0)
    tl.store(coefficients + 2 * n_places + place, rest.to(ACC), mask=there)
    tl.store(coefficients + 3 * n_places + place, tl.load(gain + at, mask=there, other=0.0).to(ACC), mask=there)


@triton.jit
def _of_members(sums, row, n_places, at, there, n_batch, BLOCK: tl.constexpr):
    """Sum over the members of a row of [batch, 4, place], at some places."""
    total = tl.zeros((BLOCK,), tl.float64)
    for member in range(n_batch):
        before = (at * 0 + (member * 4 + row)) * n_places  # int64, as places are
        total += tl.load(sums + before + at, mask=there, other=0.0).to(tl.float64)
    return total


@triton.jit(do_not_specialize=SIZES)
def gather_gradients(
    sums, place, pointer, taps, pole, gain, n_reaches, n_places, n_batch,
    LONGEST: tl.constexpr, ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the first two taps, pole and gain of reaches, of sums [batch, 4, place]; ADDed to what is there, or not.

    The sums, which the adjoint gives, are of differences where no window is longer than two: see `xroute.engine.gpu.adjoint`.
    """
    reach = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = reach < n_reaches
    at = tl.load(place + reach, mask=there, other=0)
    first = _of_members(sums, 0, n_places, at, there, n_batch, BLOCK)
    of_pole = _of_members(sums, 2, n_places, at, there, n_batch, BLOCK)
    of_gain = _of_members(sums, 3, n_places, at, there, n_batch, BLOCK)
    tap = tl.load(pointer + reach, mask=there, other=0)
    if LONGEST > 1:
        second = _of_members(sums, 1, n_places, at, there, n_batch, BLOCK)
        has_second = there & (tl.load(pointer + reach + 1, mask=there, other=0) - tap > 1)
        if LONGEST == 2:
            second += of_pole
            first += second
        if ADD:
            second += tl.load(taps + tap + 1, mask=has_second, other=0.0)
        tl.store(taps + tap + 1, second, mask=has_second)
    else:
        first += of_pole
    if ADD:
        first += tl.load(taps + tap, mask=there, other=0.0)
        of_pole += tl.load(pole + reach, mask=there, other=0.0)
        of_gain += tl.load(gain + reach, mask=there, other=0.0)
    tl.store(taps + tap, first, mask=there)
    tl.store(pole + reach, of_pole, mask=there)
    tl.store(gain + reach, of_gain, mask=there)
