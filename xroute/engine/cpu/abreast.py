"""The kernel that routes eight reaches abreast, lane by lane of a register: `route_abreast`, for filters of a pole and two taps.

A block of time is cut into tiles that stay in L1. Inflow is gathered into the rows of a tile, a row a reach; eight steps of
eight rows at a time are turned over in registers, so that a register holds one step of all reaches; the recurrence goes down
the steps; and what comes out is turned back. Each lane is the serial recurrence of its reach, with the operations of a reach
that is routed alone (`xroute.engine.cpu.kernels`), so bits do not depend on which reaches are abreast.
"""

from __future__ import annotations

import numpy as np

from xroute.engine.cpu.vectors import (
    add8,
    all_finite,
    ask,
    bare,
    div8,
    entry,
    fma8,
    is_finite8,
    load8,
    load_some8,
    look8,
    mul8,
    splat8,
    store8,
    store_some8,
    transpose8,
    where8,
    zero8,
)
from xroute.engine.kernels import kernel
from xroute.engine.schedule import ABREAST
from xroute.settings import LATERAL, SAMPLING

MEAN, LAST, START_MEAN = (SAMPLING.index(name) for name in ("mean", "last", "start-mean"))
HEAD, INTERVAL, OUTLET = (LATERAL.index(name) for name in ("head", "interval", "outlet"))

TILE = 64
"""Routing steps in a tile: two tiles of eight rows, and what is read and written beside them, are half of L1."""


@kernel
def new_tiles(n):  # type: ignore[no-untyped-def]
    """Room in which a task works: two tiles, rows of runoff, columns, sums of steps, and what lanes are.

    Each row begins at a cache line, so that none of the registers that are read or written straddles two.
    """
    width = TILE + ABREAST
    long = (n + 2 * ABREAST - 1) // ABREAST * ABREAST
    memory = np.zeros(ABREAST * (2 * width + long + TILE + 1 + long + 7) + ABREAST)
    at = (-(memory.ctypes.data // 8)) % 8
    tile = memory[at : at + ABREAST * width].reshape((ABREAST, width))
    at += ABREAST * width
    beside = memory[at : at + ABREAST * width].reshape((ABREAST, width))
    at += ABREAST * width
    own = memory[at : at + ABREAST * long].reshape((ABREAST, long))
    at += ABREAST * long
    columns = memory[at : at + ABREAST * (TILE + 1)].reshape((TILE + 1, ABREAST))
    at += ABREAST * (TILE + 1)
    sums = memory[at : at + ABREAST * long].reshape((long, ABREAST))
    at += ABREAST * long
    return tile, beside, own, columns, sums, memory[at : at + ABREAST * 7].reshape((7, ABREAST))


@kernel
def route_abreast(  # type: ignore[no-untyped-def]
    series, result, runoff_row, discharge_row, scale, start, n, begin, end, slot, working,
    link_pointer, link_slot, link_weight, taps, tap_pointer, pole, gain, history, outflow,
    substeps, sampling, lateral, direct, room,
):  # fmt: skip
    """Route the places ``begin`` to ``end`` over a block of time; whether runoff was finite, and whether discharge is.

    Runoff is read here if it is ``direct``: it joins at the head, a routing step a step. Otherwise it has been read into rows.
    """
    tile_room, beside_room, own_room, column_room, sum_room, lanes = room
    fine = n * substeps
    summed = sampling == START_MEAN or substeps > 1
    lanes[:] = 0.0
    for i in range(begin, end):
        k, first = i - begin, tap_pointer[i]
        lanes[0, k], lanes[1, k], lanes[2, k] = pole[i], outflow[i], taps[first]
        if tap_pointer[i + 1] - first == 2:
            lanes[3, k], lanes[4, k], lanes[5, k] = taps[first + 1], 1.0, history[first - i]
    p, y, c0 = load8(lanes, 0, 0), load8(lanes, 1, 0), load8(lanes, 2, 0)
    c1, two, past = load8(lanes, 3, 0), load8(lanes, 4, 0), load8(lanes, 5, 0)
    runoff_seen, discharge_seen = all_finite(series), all_finite(result)
    # bare, for nobody to count references to them in the loops
    runoff, discharge, store, tile, beside = bare(series), bare(result), bare(working), bare(tile_room), bare(beside_room)
    own, columns, sums = bare(own_room), bare(column_room), bare(sum_room)
    for f0 in range(0, fine, TILE):
        width = min(TILE, fine - f0)
        for i in range(begin, end):
            k = i - begin
            first, last = link_pointer[i], link_pointer[i + 1]
            if direct and runoff_row[i] >= 0:
                factor = splat8(scale[i] if scale.size > 1 else scale[0])
                if last > first:
                    runoff_seen = _read_and_join(
                        tile, k, width, runoff, runoff_row[i], start + f0, factor, runoff_seen, store, link_slot[first], f0,
                        link_weight[first],
                    )  # fmt: skip
                    first += 1
                else:
                    runoff_seen = _read(tile, k, width, runoff, runoff_row[i], start + f0, factor, runoff_seen)
            elif direct or lateral != HEAD:
                for f in range(0, width, ABREAST):
                    store8(tile, k, f, zero8())
            else:
                _hold(tile, k, own, f0, width, substeps, 1.0)
            for j in range(first, last):
                _join(tile, k, width, store, link_slot[j], f0, link_weight[j])
            if f0 + width == fine and tap_pointer[i + 1] - tap_pointer[i] == 2:
                history[tap_pointer[i] - i] = tile_room[k, width - 1]
            if lateral != HEAD:
                _hold(beside, k, own, f0, width, substeps, gain[i] if lateral == INTERVAL else 1.0)
        store8(columns, 0, 0, y)
        for f in range(0, width, ABREAST):
            x0, x1, x2, x3, x4, x5, x6, x7 = _columns(tile, f)
            v0, v1, v2, v3, v4, v5, v6, v7 = _through_taps(c0, c1, two, past, x0, x1, x2, x3, x4, x5, x6, x7)
            past = x7
            if lateral == INTERVAL:
                x0, x1, x2, x3, x4, x5, x6, x7 = _columns(beside, f)
                v0, v1, v2, v3 = add8(v0, x0), add8(v1, x1), add8(v2, x2), add8(v3, x3)
                v4, v5, v6, v7 = add8(v4, x4), add8(v5, x5), add8(v6, x6), add8(v7, x7)
            v0, v1, v2, v3, v4, v5, v6, v7 = _recurred(p, y, v0, v1, v2, v3, v4, v5, v6, v7)
            y = v7
            if summed or f0 + f + ABREAST >= fine:
                _put(columns, f + 1, 0, v0, v1, v2, v3, v4, v5, v6, v7)
            x0, x1, x2, x3, x4, x5, x6, x7 = transpose8(v0, v1, v2, v3, v4, v5, v6, v7)
            _put(tile, 0, f, x0, x1, x2, x3, x4, x5, x6, x7)
        if summed:
            _add_steps(sums, columns, f0, width, n, substeps, sampling)
        for i in range(begin, end):
            k, to = i - begin, discharge_row[i]
            if lateral == OUTLET:
                for f in range(0, width, ABREAST):
                    store8(tile, k, f, add8(load8(tile, k, f), load8(beside, k, f)))
            _pass_on(store, slot[i], f0, tile, k, width)
            if to >= 0 and not summed:
                discharge_seen = _write(discharge, to, start + f0, tile, k, width, discharge_seen)
    for i in range(begin, end):
        k, to = i - begin, discharge_row[i]
        outflow[i] = column_room[(fine - 1) % TILE + 1, k]
        if to >= 0 and summed:
            for t in range(n):
                own_room[k, t] = sum_room[t, k] + own_room[k, t] if lateral == OUTLET else sum_room[t, k]
            discharge_seen = _write(discharge, to, start, own, k, n, discharge_seen)
    return is_finite8(runoff_seen), is_finite8(discharge_seen)


@kernel
def route_eight(  # type: ignore[no-untyped-def]
    series, result, runoff_row, discharge_row, scale, start, n, begin, end, coming, slot, working,
    link_pointer, link_slot, link_weight, taps, tap_pointer, pole, history, outflow, room,
):  # fmt: skip
    """`route_abreast` of eight places in the usual case, without a detour through tiles.

    A step of runoff is a routing step, and runoff joins at the head. The rows of the places after them, up to ``coming``, are
    asked for on the way: they lie anywhere in memory.
    """
    inflow_room, _, _, outflow_room, _, lanes = room
    lanes[:] = 0.0
    for i in range(begin, begin + ABREAST):
        k, first = i - begin, tap_pointer[i]
        lanes[0, k], lanes[1, k], lanes[2, k] = pole[i], outflow[i], taps[first]
        if tap_pointer[i + 1] - first == 2:
            lanes[3, k], lanes[4, k], lanes[5, k] = taps[first + 1], 1.0, history[first - i]
        lanes[6, k] = scale[i] if scale.size > 1 else scale[0]
    p, y, c0 = load8(lanes, 0, 0), load8(lanes, 1, 0), load8(lanes, 2, 0)
    c1, two, past = load8(lanes, 3, 0), load8(lanes, 4, 0), load8(lanes, 5, 0)
    runoff_seen, discharge_seen = all_finite(series), all_finite(result)
    # bare, for nobody to count references to them in the loop
    runoff, discharge, store, inflows, outflows = bare(series), bare(result), bare(working), bare(inflow_room), bare(outflow_room)
    rows, targets, slots, factors = bare(runoff_row), bare(discharge_row), bare(slot), bare(lanes[6])
    links = bare(link_pointer), bare(link_slot), bare(link_weight)
    line = 64 // series.itemsize
    for f in range(0, n, ABREAST):
        count = min(ABREAST, n - f)
        if f % line == 0:
            for i in range(end, coming):
                _ask(runoff, entry(rows, i), start + f)
                _ask(discharge, entry(targets, i), start + f)
        x0, runoff_seen = _inflow(runoff, rows, begin, start + f, count, factors, 0, runoff_seen, store, f, links)
        x1, runoff_seen = _inflow(runoff, rows, begin + 1, start + f, count, factors, 1, runoff_seen, store, f, links)
        x2, runoff_seen = _inflow(runoff, rows, begin + 2, start + f, count, factors, 2, runoff_seen, store, f, links)
        x3, runoff_seen = _inflow(runoff, rows, begin + 3, start + f, count, factors, 3, runoff_seen, store, f, links)
        x4, runoff_seen = _inflow(runoff, rows, begin + 4, start + f, count, factors, 4, runoff_seen, store, f, links)
        x5, runoff_seen = _inflow(runoff, rows, begin + 5, start + f, count, factors, 5, runoff_seen, store, f, links)
        x6, runoff_seen = _inflow(runoff, rows, begin + 6, start + f, count, factors, 6, runoff_seen, store, f, links)
        x7, runoff_seen = _inflow(runoff, rows, begin + 7, start + f, count, factors, 7, runoff_seen, store, f, links)
        if count < ABREAST or f + ABREAST == n:
            _put(inflows, 0, 0, x0, x1, x2, x3, x4, x5, x6, x7)
        x0, x1, x2, x3, x4, x5, x6, x7 = transpose8(x0, x1, x2, x3, x4, x5, x6, x7)
        v0, v1, v2, v3, v4, v5, v6, v7 = _through_taps(c0, c1, two, past, x0, x1, x2, x3, x4, x5, x6, x7)
        v0, v1, v2, v3, v4, v5, v6, v7 = _recurred(p, y, v0, v1, v2, v3, v4, v5, v6, v7)
        past, y = x7, v7
        if count < ABREAST or f + ABREAST == n:
            _put(outflows, 0, 0, v0, v1, v2, v3, v4, v5, v6, v7)
        v0, v1, v2, v3, v4, v5, v6, v7 = transpose8(v0, v1, v2, v3, v4, v5, v6, v7)
        discharge_seen = _outflow(discharge, targets, begin, start + f, count, discharge_seen, store, slots, f, v0)
        discharge_seen = _outflow(discharge, targets, begin + 1, start + f, count, discharge_seen, store, slots, f, v1)
        discharge_seen = _outflow(discharge, targets, begin + 2, start + f, count, discharge_seen, store, slots, f, v2)
        discharge_seen = _outflow(discharge, targets, begin + 3, start + f, count, discharge_seen, store, slots, f, v3)
        discharge_seen = _outflow(discharge, targets, begin + 4, start + f, count, discharge_seen, store, slots, f, v4)
        discharge_seen = _outflow(discharge, targets, begin + 5, start + f, count, discharge_seen, store, slots, f, v5)
        discharge_seen = _outflow(discharge, targets, begin + 6, start + f, count, discharge_seen, store, slots, f, v6)
        discharge_seen = _outflow(discharge, targets, begin + 7, start + f, count, discharge_seen, store, slots, f, v7)
    last = (n - 1) % ABREAST
    for i in range(begin, begin + ABREAST):
        outflow[i] = outflow_room[last, i - begin]
        if tap_pointer[i + 1] - tap_pointer[i] == 2:
            history[tap_pointer[i] - i] = inflow_room[i - begin, last]
    return is_finite8(runoff_seen), is_finite8(discharge_seen)


@kernel(forceinline=True)
def _ask(series, row, at):  # type: ignore[no-untyped-def]
    """Ask for a line of a row, if there is one."""
    if row >= 0:
        ask(series, row, at)


@kernel(forceinline=True)
def _inflow(runoff, rows, i, at, count, factors, k, seen, store, f, links):  # type: ignore[no-untyped-def]
    """Eight steps of runoff of a place, and what joins them; at the end of a block there may be fewer."""
    row, value = entry(rows, i), zero8()
    if row >= 0:
        value = load8(runoff, row, at) if count == ABREAST else load_some8(runoff, row, at, count)
        seen = look8(value, seen)
        value = mul8(value, splat8(entry(factors, k)))
    pointer, slots, weights = links
    j, last = entry(pointer, i), entry(pointer, i + 1)
    if j < last:
        value = fma8(splat8(entry(weights, j)), load8(store, entry(slots, j), f), value)
        j += 1
        while j < last:
            value = fma8(splat8(entry(weights, j)), load8(store, entry(slots, j), f), value)
            j += 1
    return value, seen


@kernel(forceinline=True)
def _outflow(discharge, rows, i, at, count, seen, store, slots, f, value):  # type: ignore[no-untyped-def]
    """Eight steps of discharge into the result, and into the store for reaches downstream."""
    row, slot = entry(rows, i), entry(slots, i)
    if count == ABREAST:
        store8(store, slot, f, value)
        if row >= 0:
            store8(discharge, row, at, value)
            seen = look8(value, seen)
        return seen
    store_some8(store, slot, f, value, count)
    if row >= 0:
        store_some8(discharge, row, at, value, count)
        seen = look8(load_some8(discharge, row, at, count), seen)
    return seen


@kernel
def recur_abreast(working, slot, pole, outflow, fine, room):  # type: ignore[no-untyped-def]
    """The recurrence alone, of up to eight rows of the store in place, from what flowed out before."""
    tile_room, _, _, _, _, lanes = room
    lanes[:] = 0.0
    lanes[0, : pole.size], lanes[1, : pole.size] = pole, outflow
    p, y = load8(lanes, 0, 0), load8(lanes, 1, 0)
    tile, store = bare(tile_room), bare(working)
    for f0 in range(0, fine, TILE):
        width = min(TILE, fine - f0)
        for k in range(slot.size):
            for f in range(0, width, ABREAST):
                store8(tile, k, f, load_some8(store, slot[k], f0 + f, min(ABREAST, width - f)))
        for f in range(0, width, ABREAST):
            v0, v1, v2, v3, v4, v5, v6, v7 = _columns(tile, f)
            v0, v1, v2, v3, v4, v5, v6, v7 = _recurred(p, y, v0, v1, v2, v3, v4, v5, v6, v7)
            y = v7
            v0, v1, v2, v3, v4, v5, v6, v7 = transpose8(v0, v1, v2, v3, v4, v5, v6, v7)
            _put(tile, 0, f, v0, v1, v2, v3, v4, v5, v6, v7)
        for k in range(slot.size):
            _pass_on(store, slot[k], f0, tile, k, width)


@kernel(forceinline=True)
def _through_taps(c0, c1, two, past, a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """Eight steps of inflow, after a ``past`` one, through a tap, and a second one in lanes that have ``two``."""
    nothing = splat8(-0.0)  # a term that leaves the bits of any sum
    return (
        fma8(c0, a, where8(two, mul8(c1, past), nothing)), fma8(c0, b, where8(two, mul8(c1, a), nothing)),
        fma8(c0, c, where8(two, mul8(c1, b), nothing)), fma8(c0, d, where8(two, mul8(c1, c), nothing)),
        fma8(c0, e, where8(two, mul8(c1, d), nothing)), fma8(c0, f, where8(two, mul8(c1, e), nothing)),
        fma8(c0, g, where8(two, mul8(c1, f), nothing)), fma8(c0, h, where8(two, mul8(c1, g), nothing)),
    )  # fmt: skip


@kernel(forceinline=True)
def _recurred(p, y, a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """Eight steps of the recurrence, after ``y``; a lane without a pole is left as it is."""
    a = where8(p, fma8(p, y, a), a)
    b = where8(p, fma8(p, a, b), b)
    c = where8(p, fma8(p, b, c), c)
    d = where8(p, fma8(p, c, d), d)
    e = where8(p, fma8(p, d, e), e)
    f = where8(p, fma8(p, e, f), f)
    g = where8(p, fma8(p, f, g), g)
    return a, b, c, d, e, f, g, where8(p, fma8(p, g, h), h)


@kernel(forceinline=True)
def _columns(tile, f):  # type: ignore[no-untyped-def]
    """Eight steps of the rows of a tile, a step of all rows a register."""
    return transpose8(
        load8(tile, 0, f), load8(tile, 1, f), load8(tile, 2, f), load8(tile, 3, f),
        load8(tile, 4, f), load8(tile, 5, f), load8(tile, 6, f), load8(tile, 7, f),
    )  # fmt: skip


@kernel(forceinline=True)
def _put(array, row, column, a, b, c, d, e, f, g, h):  # type: ignore[no-untyped-def]
    """Eight registers into as many rows."""
    store8(array, row, column, a)
    store8(array, row + 1, column, b)
    store8(array, row + 2, column, c)
    store8(array, row + 3, column, d)
    store8(array, row + 4, column, e)
    store8(array, row + 5, column, f)
    store8(array, row + 6, column, g)
    store8(array, row + 7, column, h)


@kernel(forceinline=True)
def _read(tile, k, width, runoff, row, at, factor, seen):  # type: ignore[no-untyped-def]
    """Runoff times its factor into a row of the tile."""
    whole = width // ABREAST * ABREAST
    for f in range(0, whole, ABREAST):
        value = load8(runoff, row, at + f)
        seen = look8(value, seen)
        store8(tile, k, f, mul8(value, factor))
    if whole < width:
        value = load_some8(runoff, row, at + whole, width - whole)
        seen = look8(value, seen)
        store8(tile, k, whole, mul8(value, factor))
    return seen


@kernel(forceinline=True)
def _read_and_join(  # type: ignore[no-untyped-def]
    tile, k, width, runoff, row, at, factor, seen, store, source, f0, weight
):  # fmt: skip
    """`_read` and `_join` in one pass."""
    share = splat8(weight)
    whole = width // ABREAST * ABREAST
    for f in range(0, whole, ABREAST):
        value = load8(runoff, row, at + f)
        seen = look8(value, seen)
        store8(tile, k, f, fma8(share, load8(store, source, f0 + f), mul8(value, factor)))
    if whole < width:
        value = load_some8(runoff, row, at + whole, width - whole)
        seen = look8(value, seen)
        store8(tile, k, whole, fma8(share, load8(store, source, f0 + whole), mul8(value, factor)))
    return seen


@kernel(forceinline=True)
def _join(tile, k, width, store, source, f0, weight):  # type: ignore[no-untyped-def]
    """Add a share of a series to a row of the tile."""
    share = splat8(weight)
    for f in range(0, width, ABREAST):
        store8(tile, k, f, fma8(share, load8(store, source, f0 + f), load8(tile, k, f)))


@kernel(forceinline=True)
def _hold(tile, k, own, f0, width, substeps, factor):  # type: ignore[no-untyped-def]
    """Runoff times a factor into a row of the tile, held through the substeps of its step."""
    if substeps == 1:
        for f in range(0, width, ABREAST):
            store8(tile, k, f, mul8(splat8(factor), load8(own, k, f0 + f)))
        return
    f, t = 0, f0 // substeps
    while f < width:
        value = splat8(factor * entry(own, k, t))
        stop = min((t + 1) * substeps - f0, width)
        for to in range(f, stop, ABREAST):  # what goes beyond is written again by the next step, or nobody's
            store8(tile, k, to, value)
        f = stop
        t += 1


@kernel(forceinline=True)
def _add_steps(sums, columns, f0, width, n, substeps, sampling):  # type: ignore[no-untyped-def]
    """Discharge of the steps of runoff that a tile touches; row ``n`` of the sums is that of a step which goes on."""
    shift = 0 if sampling == START_MEAN else 1
    f, t = 0, f0 // substeps
    while f < width:
        stop = min((t + 1) * substeps - f0, width)
        done = stop + f0 == (t + 1) * substeps
        if sampling == LAST:
            if done:
                store8(sums, t, 0, load8(columns, stop, 0))
        else:
            total = load8(sums, n, 0)
            if f + f0 == t * substeps:
                total = splat8(-0.0 if sampling == START_MEAN else 0.0)
            for at in range(f, stop):
                total = add8(total, load8(columns, at + shift, 0))
            if done:
                store8(sums, t, 0, div8(total, splat8(float(substeps))))
            else:
                store8(sums, n, 0, total)
        f = stop
        t += 1


@kernel(forceinline=True)
def _pass_on(store, row, f0, tile, k, width):  # type: ignore[no-untyped-def]
    """A row of the tile into the store."""
    whole = width // ABREAST * ABREAST
    for f in range(0, whole, ABREAST):
        store8(store, row, f0 + f, load8(tile, k, f))
    if whole < width:
        store_some8(store, row, f0 + whole, load8(tile, k, whole), width - whole)


@kernel(forceinline=True)
def _write(target, row, at, tile, k, width, seen):  # type: ignore[no-untyped-def]
    """A row of the tile into a row of the target, and whether it is finite there."""
    whole = width // ABREAST * ABREAST
    for f in range(0, whole, ABREAST):
        value = load8(tile, k, f)
        seen = look8(value, seen)
        store8(target, row, at + f, value)
    if whole < width:
        value = load_some8(tile, k, whole, width - whole)
        seen = look8(value, seen)
        store_some8(target, row, at + whole, value, width - whole)
    return seen
