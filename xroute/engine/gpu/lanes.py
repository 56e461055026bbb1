"""Triton pieces that the GPU kernels share: a warp of 32 reaches, time in columns.

A **tile** is a block of memory, [lane, column], that neighbouring threads load along time; **columns** are the same values as a
tuple of vectors, one reach a thread, so that a recurrence in time stays in the registers of its thread and a tributary is
one shuffle away. The compiler turns one into the other through shared memory.

Series that cross from patch to patch travel through a mailbox whose every word starts as `EMPTY`, a NaN that arithmetic
does not make. A word is either that or its final value, so the reader needs no flag and the writer no fence.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import inspect

import triton
import triton.language as tl

from xroute.engine.patches import LANES

R = tl.constexpr(LANES)
EMPTY = tl.constexpr(-1)


SIZES = (
    "n_reaches", "T", "R_PITCH", "G_PITCH", "PITCH", "Q_PITCH", "n_patches", "n_kept", "n_sources", "WIDTH",
    "ring_size", "n_lags_all", "trace_size", "first_step", "n_steps",
)  # fmt: skip
"""Numbers that kernels are not compiled for: else each network and each length of a series would wait for the compiler.

How many members there are is not among them: one is worth a kernel of its own.
"""


def kernel(function):
    """A Triton kernel that is compiled for its constants and types only."""
    names = inspect.signature(function).parameters
    return triton.jit(do_not_specialize=[name for name in SIZES if name in names])(function)


@triton.jit
def _halves(tile, WIDTH: tl.constexpr):
    if WIDTH == 2:
        return tl.split(tile)
    else:
        return tl.split(tl.permute(tl.reshape(tile, (R, 2, WIDTH // 2)), (0, 2, 1)))


@triton.jit
def _beside(a, b, WIDTH: tl.constexpr):
    if WIDTH == 1:
        return tl.join(a, b)
    else:
        return tl.reshape(tl.permute(tl.join(a, b), (0, 2, 1)), (R, 2 * WIDTH))


@triton.jit
def columns_of(tile, LOG: tl.constexpr):
    """Columns of a tile of ``2 ** LOG``."""
    parts = (tile,)
    for level in tl.static_range(LOG):
        halves = ()
        for k in tl.static_range(1 << level):
            a, b = _halves(parts[k], (1 << LOG) >> level)
            halves = halves + (a, b)
        parts = halves
    return parts


@triton.jit
def tile_of(columns, LOG: tl.constexpr):
    """Tile of ``2 ** LOG`` columns."""
    parts = columns
    for level in tl.static_range(LOG):
        merged = ()
        for k in tl.static_range((1 << LOG) >> (level + 1)):
            merged = merged + (_beside(parts[2 * k], parts[2 * k + 1], 1 << level),)
        parts = merged
    return parts[0]


@triton.jit
def zeros_of(N: tl.constexpr, ACC: tl.constexpr):
    """``N`` columns of zeros."""
    columns = ()
    for _ in tl.static_range(N):
        columns = columns + (tl.zeros((R,), ACC),)
    return columns


@triton.jit
def slide(columns, by, N: tl.constexpr):
    """Of ``N + 7`` columns the ``N`` that begin at each lane's ``by``, 0 to 7."""
    bit = (by & 4) != 0
    a = ()
    for k in tl.static_range(N + 3):
        a = a + (tl.where(bit, columns[k + 4], columns[k]),)
    bit = (by & 2) != 0
    b = ()
    for k in tl.static_range(N + 1):
        b = b + (tl.where(bit, a[k + 2], a[k]),)
    bit = (by & 1) != 0
    c = ()
    for k in tl.static_range(N):
        c = c + (tl.where(bit, b[k + 1], b[k]),)
    return c


@triton.jit
def spread(vector, k, lane):
    """Element ``k`` of a vector, in every lane."""
    return tl.gather(vector, lane * 0 + k, 0)


@triton.jit
def join_series(columns, series, weight, joins, lane, N: tl.constexpr):
    """Add ``weight * series[column]``, the series lying across lanes, in the lane that it joins; elsewhere not even NaN."""
    joined = ()
    for c in tl.static_range(N):
        joined = joined + (tl.where(joins, columns[c] + weight * spread(series, c, lane), columns[c]),)
    return joined


@triton.jit
def _bits(value, ACC: tl.constexpr):
    if ACC == tl.float64:
        bits = value.to(tl.int64, bitcast=True)
        return tl.where(bits == EMPTY, 0x7FF8000000000000, bits)  # a user's own NaN, carried along
    else:
        return value.to(tl.int32, bitcast=True)  # the sum or product that it is has but one NaN, 0x7FFFFFFF


@triton.jit
def links_of(table, weights, first, n_links, lane, G: tl.constexpr):
    """Up to 32 links of a patch, one a lane: row of the mailbox, lane that it joins, that lane's first time, weight."""
    there = lane < n_links
    link = table + (first + lane) * 4
    number = tl.load(link, mask=there, other=0)
    to = tl.load(link + 1, mask=there, other=-1)
    lag = tl.load(link + 2, mask=there, other=0)
    return number, to, lag * G, tl.load(weights + first + lane, mask=there, other=0.0)


@triton.jit
def post(mailbox, value, mask, ACC: tl.constexpr):
    """Write values for other programs."""
    tl.store(mailbox, _bits(value, ACC), mask=mask)


@triton.jit
def peek(mailbox, mask):
    """Read what may have been posted by now; elsewhere 0."""
    return tl.load(mailbox, mask=mask, other=0, volatile=True)


@triton.jit
def await_post(mail, mailbox, mask, ACC: tl.constexpr):
    """What was posted, read again until all of it is there."""
    while tl.max((mail == EMPTY).to(tl.int32)) > 0:
        mail = peek(mailbox, mask)
    return mail.to(ACC, bitcast=True)
