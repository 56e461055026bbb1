"""Triton kernels of hillslopes: a window of each reach over its own runoff, and its adjoint.

No reach waits for another, so a warp takes a row of runoff, tile after tile of 512 steps. A lane has 16 steps that follow on one
another, two **halves** of 8. For 8 taps it needs one half more, beyond them in time, and then its own move on by one: so what is
loaded once serves 16 sums. The half that is new to a lane is most often one that its neighbour has just let go; only the lane at
the edge of a tile looks into memory. Loads are whole vectors: where rows begin elsewhere, halves begin up to 7 steps before the
row. Sums begin with the newest runoff, in the arithmetic's type.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from xroute.engine.gpu.lanes import (
    R,
    along,
    columns_between,
    columns_of,
    kernel,
    load_tile,
    tile_of,
    vector_times,
    zeros_of,
)


class Row(NamedTuple):
    """A row of a series: where memory of its first half begins, how many steps that lies before the row, and its length."""

    start: Any
    before: Any
    n_steps: Any


class Past(NamedTuple):
    """What a row's state remembers: where its newest value stands, and how many it has."""

    newest: Any
    n_lags: Any


@triton.jit
def row_of(series, row, pitch, n_steps, ALIGNED: tl.constexpr):
    """A row; ALIGNED if every one begins with a half."""
    place = row * pitch
    start = place // 8 * 8  # so the compiler knows what it is a multiple of
    if ALIGNED:
        return Row(series + start, 0, n_steps)
    else:
        return Row(series + start, (place - start).to(tl.int32), n_steps)


@triton.jit
def row_beside(series, row, pitch, other):
    """A row whose halves are those of another in time, wherever they begin in memory."""
    return Row(series + row * pitch - other.before, other.before, other.n_steps)


@triton.jit
def n_halves_of(row):
    """Halves that a row lies in."""
    return (row.n_steps + row.before + 7) // 8


@triton.jit
def runoff_half(
    row, half, lowest, past, factor, SCALED: tl.constexpr, GIVEN: tl.constexpr, ENDS: tl.constexpr,
    ALIGNED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Runoff of a half a lane, of which the lowest is told; before the row what is remembered, or 0.

    Behind the row it is 0 if it ENDS, and else may be anything: only what nobody asks for is made of it.
    """
    first = half * 8
    time = along(first - row.before, 8)
    tile = load_tile(row.start + along(first, 8), vector_times(first - row.before, 8), row.n_steps).to(ACC)
    if SCALED:
        tile *= factor
    if ENDS:
        tile = tl.where(time < row.n_steps, tile, 0.0)
    if not ALIGNED:
        tile = tl.where(time >= 0, tile, 0.0)
    if GIVEN:
        if lowest < 1:
            back = -1 - time
            old = tl.load(past.newest + back, mask=(back >= 0) & (back < past.n_lags), other=0.0).to(ACC)
            tile = tl.where(time >= 0, tile, old)
    return columns_of(tile, 3)


@triton.jit
def runoff_beyond(
    row, late, half, lowest, past, factor, lane, SCALED: tl.constexpr, GIVEN: tl.constexpr, ENDS: tl.constexpr,
    ALIGNED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """`runoff_half` of the halves before those that lanes have, of which the late one is what the next lane needs."""
    if GIVEN:
        return runoff_half(row, half, lowest, past, factor, SCALED, GIVEN, ENDS, ALIGNED, ACC)
    else:
        found = neighbours(late, lane, -1)
        if lowest >= 0:
            found = runoff_half(row, half, lowest, past, factor, SCALED, GIVEN, ENDS, ALIGNED, ACC)
        return found


@triton.jit
def gradient_half(row, half, last, VECTORS: tl.constexpr, END: tl.constexpr, ACC: tl.constexpr):
    """Gradient of a half a lane, that of the last value in the final state with it; 0 outside of the row."""
    first = half * 8
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
def neighbours(columns, lane, BY: tl.constexpr):
    """Columns of the lane before or behind; 0 where there is none."""
    found = ()
    for c in tl.static_range(8):
        moved = tl.gather(columns[c], (lane + R + BY) % R, 0)
        found = found + (tl.where((lane + BY >= 0) & (lane + BY < R), moved, 0.0),)
    return found


@triton.jit
def add_taps(total, window, taps, n, BACK: tl.constexpr, SOME: tl.constexpr):
    """Add to 16 sums 8 taps times what lies so many steps before them, or with BACK behind them, in a window of 24 steps.

    With SOME only the first ``n`` taps, whatever the others would be multiplied by.
    """
    for u in tl.static_range(8):
        tap = tl.load(taps + u, mask=u < n, other=0.0) if SOME else tl.load(taps + u)
        more = ()
        for c in tl.static_range(16):
            value = window[c + u] if BACK else window[8 + c - u]
            if SOME:
                more = more + (tl.where(u < n, total[c] + tap * value, total[c]),)
            else:
                more = more + (total[c] + tap * value,)
        total = more
    return total


@triton.jit
def store_halves(target, total, first, n_steps):
    """Write 16 steps of each lane, from its first on, those that are of the series."""
    time = along(first, 8)
    tl.store(target + time, tile_of(columns_between(total, 0, 8), 3), mask=(time >= 0) & (time < n_steps))
    late = time + 8
    tl.store(target + late, tile_of(columns_between(total, 8, 16), 3), mask=(late >= 0) & (late < n_steps))


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
    lane, own, n_halves, whole = tl.arange(0, R), taps + first, n_halves_of(row), n_taps // 8
    for begin in range(0, n_halves, 2 * R):
        half = begin + 2 * lane
        total = zeros_of(16, ACC)
        early = runoff_half(row, half, begin, past, factor, SCALED, GIVEN, False, ALIGNED, ACC)
        late = runoff_half(row, half + 1, begin + 1, past, factor, SCALED, GIVEN, False, ALIGNED, ACC)
        for k in range(0, whole):
            beyond = runoff_beyond(
                row, late, half - 1 - k, begin - 1 - k, past, factor, lane, SCALED, GIVEN, False, ALIGNED, ACC
            )
            total = add_taps(total, beyond + early + late, own + k * 8, 8, False, False)
            late = early
            early = beyond
        if whole * 8 < n_taps:
            beyond = runoff_beyond(
                row, late, half - 1 - whole, begin - 1 - whole, past, factor, lane, SCALED, GIVEN, False, ALIGNED, ACC
            )
            total = add_taps(total, beyond + early + late, own + whole * 8, n_taps - whole * 8, False, True)
        store_halves(target, total, half * 8 - row.before, n_steps)
        if KEEP:
            if begin + 2 * R >= n_halves:
                for c in tl.static_range(16):
                    tl.store(final_outflow + number + 0 * lane, total[c], mask=half * 8 - row.before + c == n_steps - 1)
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


@triton.jit
def gradient_beyond(row, early, half, highest, n_halves, last, lane, END: tl.constexpr, ACC: tl.constexpr):
    """`gradient_half` of the halves behind those that lanes have, of which the early one is what the lane before needs."""
    found = neighbours(early, lane, 1)
    if highest < n_halves:
        found = gradient_half(row, half, last, True, END, ACC)
    return found


@triton.jit
def with_end(total, first, past, n_steps):
    """Add to 16 steps the gradient of what the state at the end remembers of them."""
    more = ()
    for c in tl.static_range(16):
        lag = n_steps - 1 - first - c
        more = more + (total[c] + tl.load(past.newest + lag, mask=(lag >= 0) & (lag < past.n_lags), other=0.0),)
    return more


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
    lane, own, n_halves, whole = tl.arange(0, R), taps + first, n_halves_of(row), n_taps // 8
    earliest = 0
    if GIVEN:
        earliest = -((n_taps + 6) // 8)
    for begin in range(earliest, n_halves, 2 * R):
        half = begin + 2 * lane
        total = zeros_of(16, ACC)
        early = gradient_half(row, half, last, True, END, ACC)
        late = gradient_half(row, half + 1, last, True, END, ACC)
        for k in range(0, whole):
            beyond = gradient_beyond(row, early, half + 2 + k, begin + 2 * R + k, n_halves, last, lane, END, ACC)
            total = add_taps(total, early + late + beyond, own + k * 8, 8, True, False)
            early = late
            late = beyond
        if whole * 8 < n_taps:
            beyond = gradient_beyond(
                row, early, half + 2 + whole, begin + 2 * R + whole, n_halves, last, lane, END, ACC
            )
            total = add_taps(total, early + late + beyond, own + whole * 8, n_taps - whole * 8, True, True)
        time = half * 8 - row.before
        if END:
            total = with_end(total, time, past, n_steps)
        store_halves(target, total, time, n_steps)
        if GIVEN:
            for c in tl.static_range(16):
                at = time + c
                tl.store(result_history + flat - 1 - at, total[c], mask=(at < 0) & (at >= -past.n_lags))


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
    lane, n_halves = tl.arange(0, R), n_halves_of(row)
    for begin in range(0, n_halves, 2 * R):
        half = begin + 2 * lane
        g = gradient_half(given, half, last, SAME, END, ACC) + gradient_half(given, half + 1, last, SAME, END, ACC)
        early = runoff_half(row, half, begin, past, 1.0, False, GIVEN, True, ALIGNED, ACC)
        late = runoff_half(row, half + 1, begin + 1, past, 1.0, False, GIVEN, True, ALIGNED, ACC)
        for tap in range(0, n_taps, 8):
            k = tap // 8
            beyond = runoff_beyond(
                row, late, half - 1 - k, begin - 1 - k, past, 1.0, lane, False, GIVEN, True, ALIGNED, ACC
            )
            window = beyond + early + late
            sums = ()
            for u in tl.static_range(8):
                total = g[0] * window[8 - u]
                for c in tl.static_range(1, 16):
                    total += g[c] * window[8 + c - u]
                sums = sums + (total,)
            late = early
            early = beyond
            which = tap + tl.arange(0, 8)
            found = tl.sum(tile_of(sums, 3), axis=0)
            if begin > 0:
                tl.debug_barrier()  # what another thread has stored
                found += tl.load(target + which, mask=which < n_taps, other=0.0)
            tl.store(target + which, found, mask=which < n_taps)
