"""Rows of series that pass through shared memory, moved by all lanes together, and mail, in vectors of 16 bytes: float32.

A tile holds a piece of the row of each lane. Eight or more neighbouring lanes move a row's piece, so that memory is asked for
whole pieces; then each lane works on its own row. Rows may begin anywhere: a tile's window begins at the vector that holds its
first column. Who asks for vectors beyond the ends of a series is given zeros, and must not look at those parts of vectors that
are not the series' own. The pieces of `xroute.engine.gpu.ptx` do it; compute capability 8.0 has them all.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import triton
import triton.language as tl

from xroute.engine.gpu.lanes import NEVER
from xroute.engine.gpu.ptx import (
    copy_four,
    copy_four_or_zeros,
    peek_four,
    post_four,
    read_four,
    read_one,
    read_some,
    store_four,
    store_four_or_not,
    write_four,
    write_some,
)


@triton.jit
def vectors_along(first, C: tl.constexpr):
    """Places in memory, or times, of the vectors of four of ``C`` columns, from each lane's first one on."""
    return first[:, None] + (tl.arange(0, C // 4) * 4)[None, :]


@triton.jit
def load_tile_of_rows(to, rows, offset, first, end, INSIDE: tl.constexpr, C: tl.constexpr):
    """Begin to load vectors [row, vector] of a tile; zeros where they hold no step of the series, which are looked for."""
    if INSIDE:
        copy_four(to, rows + offset)
    else:
        time = vectors_along(first, C)
        copy_four_or_zeros(to, rows + offset, tl.where((time > -4) & (time < end), 16, 0))


@triton.jit
def store_tile_of_rows(rows, offset, source, first, end, INSIDE: tl.constexpr, C: tl.constexpr):
    """Store vectors [row, vector] of a tile that are steps of the series."""
    if INSIDE:
        store_four(rows + offset, source)
    else:
        time = vectors_along(first, C)
        store_four_or_not(rows + offset, source, ((time >= 0) & (time + 3 < end)).to(tl.int32))


@triton.jit
def store_parts(rows, source, time, end, C: tl.constexpr):
    """Store the steps of each lane's row at its ends that fill no vector."""
    first = tl.minimum(tl.maximum(3 - time, 0) // 4, C // 4) * 4
    last = tl.minimum(tl.maximum(end - time, 0) // 4, C // 4) * 4
    for k in tl.static_range(3):
        before = -time + k  # the column of step k
        _store_one(rows, source, before, (before >= 0) & (before < first) & (k < end))
        behind = last + k
        _store_one(rows, source, behind, (behind < C) & (time + behind >= 0) & (time + behind < end))


@triton.jit
def _store_one(rows, source, column, there):
    value = read_one(source + tl.where(there, column, 0) * 4)
    tl.store(rows + column, value, mask=there)


@triton.jit
def write_columns(address, columns, N: tl.constexpr, ALIGNED: tl.constexpr):
    """Write ``N`` columns to a lane's row in shared memory."""
    if ALIGNED:
        for k in tl.static_range(0, N, 4):
            write_four(address + k * 4, columns[k], columns[k + 1], columns[k + 2], columns[k + 3])
    else:
        for k in tl.static_range(0, N, 4):
            write_some(address + k * 4, columns[k], columns[k + 1], columns[k + 2], columns[k + 3])


@triton.jit
def post_group(letter, columns, there, G: tl.constexpr):
    """Write a group for other programs."""
    for c in tl.static_range(0, G, 4):
        post_four(letter + c, columns[c], columns[c + 1], columns[c + 2], columns[c + 3], there)


@triton.jit
def of_words(mail, N: tl.constexpr):
    """Columns that were read as words."""
    values = ()
    for k in tl.static_range(N // 4):
        for c in tl.static_range(4):
            values = values + (mail[k][c].to(tl.float32, bitcast=True),)
    return values


@triton.jit
def groups_inside(wanted, time, end, edge, N: tl.constexpr, G: tl.constexpr):
    """Of each group of ``N`` steps from ``time`` on, whether it is one of the series and is ``wanted``: 0 or 1."""
    there = ()
    for _ in tl.static_range(0, N, G):
        there = there + (wanted,)
    if edge:
        there = within(tl.where(wanted != 0, time, NEVER), end, N, G)
    return there


@triton.jit
def read_columns(address, N: tl.constexpr, ALIGNED: tl.constexpr):
    """``N`` columns of a lane's row in shared memory."""
    columns = ()
    for k in tl.static_range(0, N, 4):
        if ALIGNED:
            columns = columns + read_four(address + k * 4)
        else:
            columns = columns + read_some(address + k * 4)
    return columns


@triton.jit
def within(time, end, N: tl.constexpr, G: tl.constexpr):
    """Of each group of ``N`` steps from ``time`` on, whether it is one of the series: 0 or 1."""
    there = ()
    for k in tl.static_range(0, N, G):
        there = there + (((time + k >= 0) & (time + k < end)).to(tl.int32),)
    return there


@triton.jit
def peek_words(box, there, N: tl.constexpr, G: tl.constexpr):
    """What may have been posted by now for ``N`` steps; 0 in groups that are not ``there``."""
    mail = ()
    for k in tl.static_range(0, N, 4):
        mail = mail + (peek_four(box + k, there[k // G]),)
    return mail


@triton.jit
def _any_empty(mail, N: tl.constexpr):
    """Whether any word of any lane is empty, which is the largest of numbers without a sign."""
    most = mail[0][0].to(tl.uint32, bitcast=True)
    for k in tl.static_range(N // 4):
        for c in tl.static_range(4):
            most = tl.maximum(most, mail[k][c].to(tl.uint32, bitcast=True))
    return tl.max(most, 0) == 0xFFFFFFFF


@triton.jit
def await_words(mail, box, there, N: tl.constexpr, G: tl.constexpr):
    """What was posted, read again until all of it is there. All lanes go on together."""
    while _any_empty(mail, N):
        mail = peek_words(box, there, N, G)
    return of_words(mail, N)
