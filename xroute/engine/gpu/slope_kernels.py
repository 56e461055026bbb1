"""Triton kernels of hillslopes: a window of each reach over its own runoff, and its adjoint.

No reach waits for another, so a warp takes a row of runoff, tile after tile: each lane has 8 steps that follow on one another, a
**block**. For 8 taps it needs, beside its own block, the one before it, which is most often in the cache; so a value that is
loaded serves 8 sums, and loads are whole vectors: where rows begin elsewhere, blocks begin up to 7 steps before the row. Sums
begin with the newest runoff, in the arithmetic's type.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from xroute.engine.gpu.lanes import R, along, columns_of, kernel, load_tile, tile_of, vector_times, zeros_of


class Row(NamedTuple):
    """A row of a series: where memory of its first block begins, how many steps that lies before the row, and its length."""

    start: Any
    before: Any
    n_steps: Any


class Past(NamedTuple):
    """What a row's state remembers: where its newest value stands, and how many it has."""

    newest: Any
    n_lags: Any


@triton.jit
def row_of(series, row, pitch, n_steps, ALIGNED: tl.constexpr):
    """A row; ALIGNED if every one begins with a block of memory."""
    place = row * pitch
    start = place // 8 * 8  # so the compiler knows what it is a multiple of
    if ALIGNED:
        return Row(series + start, 0, n_steps)
    else:
        return Row(series + start, (place - start).to(tl.int32), n_steps)


@triton.jit
def row_beside(series, row, pitch, other):
    """A row whose blocks are those of another in time, wherever they begin in memory."""
    return Row(series + row * pitch - other.before, other.before, other.n_steps)


@triton.jit
def n_blocks_of(row):
    """Blocks that a row lies in."""
    return (row.n_steps + row.before + 7) // 8


@triton.jit
def runoff_block(
    row, block, lowest, past, factor, SCALED: tl.constexpr, GIVEN: tl.constexpr, ALIGNED: tl.constexpr, ACC: tl.constexpr
):
    """Runoff of each lane's block, of which the lowest is told; before the row what is remembered, or 0.

    Behind the row it may be any number.
    """
    first = block * 8
    time = along(first - row.before, 8)
    tile = load_tile(row.start + along(first, 8), vector_times(first - row.before, 8), row.n_steps).to(ACC)
    if SCALED:
        tile *= factor
    if not ALIGNED:
        tile = tl.where(time >= 0, tile, 0.0)
    if GIVEN:
        if lowest < 1:
            back = -1 - time
            old = tl.load(past.newest + back, mask=(back >= 0) & (back < past.n_lags), other=0.0).to(ACC)
            tile = tl.where(time >= 0, tile, old)
    return columns_of(tile, 3)


@triton.jit
def gradient_block(row, block, last, VECTORS: tl.constexpr, END: tl.constexpr, ACC: tl.constexpr):
    """Gradient of each lane's block, that of the last value in the final state with it; 0 outside of the row."""
    first = block * 8
    time = along(first - row.before, 8)
    inside = (time >= 0) & (time < row.n_steps)
    if VECTORS:
        tile = load_tile(row.start + along(first, 8), vector_times(first - row.before, 8), row.n_steps).to(ACC)
        tile = tl.where(inside, tile, 0.0)
    else:
        tile = tl.load(row.start + along(first, 8), mask=inside, other=0.0).to(ACC)
    if END:
        tile = tl.where(time == row.n_steps - 1, tile + last, tile)
    return columns_of(tile, 3)


@triton.jit
def add_taps(total, here, beyond, taps, n, BACK: tl.constexpr, SOME: tl.constexpr):
    """Add 8 taps times what lies so many steps before, or with BACK behind, each step: in its block or the one beyond it.

    With SOME only the first ``n`` taps, whatever the others would be multiplied by.
    """
    for u in tl.static_range(8):
        tap = tl.load(taps + u, mask=u < n, other=0.0) if SOME else tl.load(taps + u)
        more = ()
        for c in tl.static_range(8):
            if BACK:
                value = here[c + u] if c + u < 8 else beyond[c + u - 8]
            else:
                value = here[c - u] if c >= u else beyond[8 + c - u]
            if SOME:
                more = more + (tl.where(u < n, total[c] + tap * value, total[c]),)
            else:
                more = more + (total[c] + tap * value,)
        total = more
    return total


@kernel
def slope_steps(
    runoff, result, scale, taps, pointer, history, final_history, final_outflow, n_reaches, n_steps, runoff_pitch,
    result_pitch, n_lags, SCALED: tl.constexpr, GIVEN: tl.constexpr, KEEP: tl.constexpr, ALIGNED: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """A row: each step's runoff times the taps of its reach, and the state behind the last step."""
    number = tl.program_id(0).to(tl.int64)
    reach = number % n_reaches
    first = tl.load(pointer + reach)
    n_taps = (tl.load(pointer + reach + 1) - first).to(tl.int32)
    flat = number // n_reaches * n_lags + first - reach
    past = Past(history + flat, n_taps - 1)
    factor = tl.full((), 1.0, ACC)
    if SCALED:
        factor = tl.load(scale + reach)
    row = row_of(runoff, number, runoff_pitch, n_steps, ALIGNED)
    target = result + number * result_pitch
    lane, own, n_blocks = tl.arange(0, R), taps + first, n_blocks_of(row)
    for begin in range(0, n_blocks, R):
        block = begin + lane
        total = zeros_of(8, ACC)
        here = runoff_block(row, block, begin, past, factor, SCALED, GIVEN, ALIGNED, ACC)
        for k in range(0, n_taps // 8):
            beyond = runoff_block(row, block - 1 - k, begin - 1 - k, past, factor, SCALED, GIVEN, ALIGNED, ACC)
            total = add_taps(total, here, beyond, own + k * 8, 8, False, False)
            here = beyond
        whole = n_taps // 8
        if whole * 8 < n_taps:
            beyond = runoff_block(row, block - 1 - whole, begin - 1 - whole, past, factor, SCALED, GIVEN, ALIGNED, ACC)
            total = add_taps(total, here, beyond, own + whole * 8, n_taps - whole * 8, False, True)
        tile, time = tile_of(total, 3), along(block * 8 - row.before, 8)
        tl.store(target + time, tile, mask=(time >= 0) & (time < n_steps))
        if KEEP:
            if begin + R >= n_blocks:
                tl.store(final_outflow + number + 0 * time, tile, mask=time == n_steps - 1)
    if KEEP:
        source = runoff + number * runoff_pitch
        for begin in range(0, n_taps - 1, R):
            lag = begin + lane
            at = n_steps - 1 - lag
            value = tl.load(source + at, mask=(lag < n_taps - 1) & (at >= 0), other=0.0).to(ACC) * factor
            if GIVEN:
                older = (lag < n_taps - 1) & (at < 0)
                value = tl.where(at < 0, tl.load(past.newest - 1 - at, mask=older, other=0.0).to(ACC), value)
            tl.store(final_history + flat + lag, value, mask=lag < n_taps - 1)


@kernel
def slope_runoff_gradients(
    grad, result, taps, pointer, grad_history, grad_outflow, result_history, n_reaches, n_steps, grad_pitch, result_pitch,
    n_lags, GIVEN: tl.constexpr, END: tl.constexpr, ALIGNED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """A row: the gradient of runoff, and if GIVEN that of the state at the start; END is the gradient of that at the end."""
    number = tl.program_id(0).to(tl.int64)
    reach = number % n_reaches
    first = tl.load(pointer + reach)
    n_taps = (tl.load(pointer + reach + 1) - first).to(tl.int32)
    flat = number // n_reaches * n_lags + first - reach
    last = tl.zeros((), ACC)
    if END:
        last = tl.load(grad_outflow + number)
    past = Past(grad_history + flat, n_taps - 1)
    row = row_of(grad, number, grad_pitch, n_steps, ALIGNED)
    target = result + number * result_pitch
    lane, own, n_blocks, earliest = tl.arange(0, R), taps + first, n_blocks_of(row), 0
    if GIVEN:
        earliest = -((n_taps + 6) // 8)
    for begin in range(earliest, n_blocks, R):
        block = begin + lane
        total = zeros_of(8, ACC)
        here = gradient_block(row, block, last, True, END, ACC)
        for k in range(0, n_taps // 8):
            beyond = gradient_block(row, block + 1 + k, last, True, END, ACC)
            total = add_taps(total, here, beyond, own + k * 8, 8, True, False)
            here = beyond
        whole = n_taps // 8
        if whole * 8 < n_taps:
            beyond = gradient_block(row, block + 1 + whole, last, True, END, ACC)
            total = add_taps(total, here, beyond, own + whole * 8, n_taps - whole * 8, True, True)
        tile, time = tile_of(total, 3), along(block * 8 - row.before, 8)
        if END:
            lag = n_steps - 1 - time  # what the state at the end remembers
            tile += tl.load(past.newest + lag, mask=(lag >= 0) & (lag < past.n_lags), other=0.0)
        tl.store(target + time, tile, mask=(time >= 0) & (time < n_steps))
        if GIVEN:
            tl.store(result_history + flat - 1 - time, tile, mask=(time < 0) & (time >= -past.n_lags))


@kernel
def slope_tap_gradients(
    grad, runoff, result, pointer, history, grad_outflow, n_reaches, n_steps, grad_pitch, runoff_pitch, n_lags,
    GIVEN: tl.constexpr, END: tl.constexpr, SAME: tl.constexpr, ALIGNED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """A row: the gradient of its taps, summed over its steps by one program, so the same each time."""
    number = tl.program_id(0).to(tl.int64)
    reach = number % n_reaches
    first = tl.load(pointer + reach)
    n_taps = (tl.load(pointer + reach + 1) - first).to(tl.int32)
    member = number // n_reaches
    last = tl.zeros((), ACC)
    if END:
        last = tl.load(grad_outflow + number)
    past = Past(history + member * n_lags + first - reach, n_taps - 1)
    row = row_of(runoff, number, runoff_pitch, n_steps, ALIGNED)
    given = row_of(grad, number, grad_pitch, n_steps, ALIGNED) if SAME else row_beside(grad, number, grad_pitch, row)
    target = result + member * n_lags + member * n_reaches + first
    lane, n_blocks = tl.arange(0, R), n_blocks_of(row)
    for tap in range(0, n_taps, 8):
        sums = zeros_of(8, ACC)
        for begin in range(0, n_blocks, R):
            block = begin + lane
            g = gradient_block(given, block, last, SAME, END, ACC)
            k = tap // 8
            here = runoff_block(row, block - k, begin - k, past, 1.0, False, GIVEN, ALIGNED, ACC)
            beyond = runoff_block(row, block - 1 - k, begin - 1 - k, past, 1.0, False, GIVEN, ALIGNED, ACC)
            more = ()
            for u in tl.static_range(8):
                total = sums[u]
                for c in tl.static_range(8):
                    value = here[c - u] if c >= u else beyond[8 + c - u]
                    total += g[c] * value
                more = more + (total,)
            sums = more
        which = tap + tl.arange(0, 8)
        tl.store(target + which, tl.sum(tile_of(sums, 3), axis=0), mask=which < n_taps)
