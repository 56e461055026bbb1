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
    div8,
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
    """Room in which a task works: two tiles, rows of runoff, columns, sums of steps, and what lanes are."""
    return (
        np.zeros((ABREAST, TILE + ABREAST)), np.zeros((ABREAST, TILE + ABREAST)), np.zeros((ABREAST, n + ABREAST)),
        np.zeros((TILE + 1, ABREAST)), np.zeros((n + ABREAST, ABREAST)), np.zeros((6, ABREAST)),
    )  # fmt: skip


@kernel
def route_abreast(  # type: ignore[no-untyped-def]
    runoff, discharge, runoff_row, discharge_row, scale, start, n, begin, end, slot, store, link_pointer, link_slot, link_weight,
    taps, tap_pointer, pole, gain, history, outflow, substeps, sampling, lateral, direct, room,
):  # fmt: skip
    """Route the places ``begin`` to ``end`` over a block of time; whether runoff was finite, and whether discharge is.

    Runoff is read here if it is ``direct``: it joins at the head, a routing step a step. Otherwise it has been read into rows.
    """
    tile, beside, own, columns, sums, lanes = room
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
    nothing = splat8(-0.0)  # a term that leaves the bits of any sum
    runoff_seen, discharge_seen = all_finite(own), all_finite(discharge)
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
                history[tap_pointer[i] - i] = tile[k, width - 1]
            if lateral != HEAD:
                _hold(beside, k, own, f0, width, substeps, gain[i] if lateral == INTERVAL else 1.0)
        store8(columns, 0, 0, y)
        for f in range(0, width, ABREAST):
            x0, x1, x2, x3, x4, x5, x6, x7 = _columns(tile, f)
            v0 = fma8(c0, x0, where8(two, mul8(c1, past), nothing))
            v1 = fma8(c0, x1, where8(two, mul8(c1, x0), nothing))
            v2 = fma8(c0, x2, where8(two, mul8(c1, x1), nothing))
            v3 = fma8(c0, x3, where8(two, mul8(c1, x2), nothing))
            v4 = fma8(c0, x4, where8(two, mul8(c1, x3), nothing))
            v5 = fma8(c0, x5, where8(two, mul8(c1, x4), nothing))
            v6 = fma8(c0, x6, where8(two, mul8(c1, x5), nothing))
            v7 = fma8(c0, x7, where8(two, mul8(c1, x6), nothing))
            past = x7
            if lateral == INTERVAL:
                x0, x1, x2, x3, x4, x5, x6, x7 = _columns(beside, f)
                v0, v1, v2, v3 = add8(v0, x0), add8(v1, x1), add8(v2, x2), add8(v3, x3)
                v4, v5, v6, v7 = add8(v4, x4), add8(v5, x5), add8(v6, x6), add8(v7, x7)
            v0 = where8(p, fma8(p, y, v0), v0)
            v1 = where8(p, fma8(p, v0, v1), v1)
            v2 = where8(p, fma8(p, v1, v2), v2)
            v3 = where8(p, fma8(p, v2, v3), v3)
            v4 = where8(p, fma8(p, v3, v4), v4)
            v5 = where8(p, fma8(p, v4, v5), v5)
            v6 = where8(p, fma8(p, v5, v6), v6)
            y = v7 = where8(p, fma8(p, v6, v7), v7)
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
        outflow[i] = columns[(fine - 1) % TILE + 1, k]
        if to >= 0 and summed:
            for t in range(n):
                own[k, t] = sums[t, k] + own[k, t] if lateral == OUTLET else sums[t, k]
            discharge_seen = _write(discharge, to, start, own, k, n, discharge_seen)
    return is_finite8(runoff_seen), is_finite8(discharge_seen)


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
        value = splat8(factor * own[k, t])
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
