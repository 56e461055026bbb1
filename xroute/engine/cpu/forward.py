"""The CPU engine: numba kernels that walk a `Schedule`, and the threads that run them.

A task takes its groups in turn. For each reach of a group it gathers the inflow (runoff, then each joining series) and
applies the taps, with time contiguous so that the compiler vectorises over it; the poles of the whole group are then
applied abreast, because one reach's recurrence alone would wait for the latency of its own multiply and add.
Series live in rows of a working store in float64, whatever the type of runoff and discharge, for one block of time: each
value depends on the same operations in the same order however time, batch or network are cut, so results are identical
bit for bit. Rows are used again as soon as they have been read, so the store stays in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import NotFinite
from xroute.engine.cpu.intrinsics import fma, prefetch
from xroute.engine.kernels import kernel
from xroute.engine.plan import RoutingPlan
from xroute.engine.schedule import LANES, Schedule
from xroute.options import n_threads

__all__ = ["route_cpu"]

MEAN, LAST, START_MEAN = 0, 1, 2
HEAD, INTERVAL, OUTLET = 0, 1, 2
SAMPLING = {"mean": MEAN, "last": LAST, "start-mean": START_MEAN}
LATERAL = {"head": HEAD, "interval": INTERVAL, "outlet": OUTLET}

BLOCK = 512
"""Routing steps in a block of time: long enough to spread the cost of a reach, short enough for 8 rows in L1."""


Float = NDArray[np.float64]
Index = NDArray[np.int64]


def route_cpu(
    runoff: NDArray[np.floating],
    discharge: NDArray[np.floating],
    plan: RoutingPlan,
    taps: Float,
    tap_pointer: Index,
    pole: Float,
    gain: Float,
    history: Float,
    outflow: Float,
    *,
    runoff_row: Index | None = None,
    discharge_row: Index | None = None,
    scale: Float | None = None,
    substeps: int = 1,
    sampling: str = "mean",
    lateral: str = "head",
    zero_missing: bool = False,
    dry: bool = False,
    given: Float | None = None,
    kept: Float | None = None,
) -> NotFinite:
    """Route ``runoff`` into ``discharge``, and ``history`` and ``outflow`` to the end of the series, in place.

    Parameters
    ----------
    runoff, discharge : [batch, row, time]
        Series of reach ``i`` are ``runoff[:, runoff_row[i]]`` times ``scale[i]`` and ``discharge[:, discharge_row[i]]``.
        A negative row stands for no runoff, or discharge that nobody asked for. None: rows are reaches, scales one.
    taps : [sum of K], tap_pointer : [reach + 1], pole, gain : [reach]
        The filter; see `xroute.schemes.Filter`.
    history : [batch, sum of (K - 1)], outflow : [batch, reach]
        The state: each reach's last K - 1 inflows, newest first, and its last filtered outflow.
    zero_missing
        Take runoff that is not finite as zero.
    dry
        The state at the start is zero: it need not be read.
    given, kept : [batch, n_given or kept, time x substeps]
        Discharge of the plan's given reaches, and where that of its kept ones is put, as it is passed on.

    Returns
    -------
    NotFinite
        How many values of runoff, and of discharge, were not finite.
    """
    n_batch, _, n_steps = runoff.shape
    if not n_batch or not n_steps or not plan.n_reaches:
        return NotFinite(0, 0)
    runoff = runoff.view()
    runoff.setflags(write=False)  # always, so that arrays that are read-only do not compile the kernels again
    schedule = plan.schedule
    order = schedule.order
    longest = int(np.diff(tap_pointer).max())
    # everything in the order of the walk: to fetch it reach by reach would cost more than the routing
    placed_taps, placed_pointer, placed_pole, placed_gain = _place_filter(order, taps, tap_pointer, pole, gain)
    if dry:
        state = [(np.zeros(history.shape[1]), np.zeros(order.size)) for _ in range(n_batch)]
    else:
        state = [_place_state(order, tap_pointer, history[b], outflow[b]) for b in range(n_batch)]
    rows = (order if row is None else row[order] for row in (runoff_row, discharge_row))
    static = (*rows, np.ones(1) if scale is None else scale[order])
    no_series = np.zeros((n_batch, 0, 0))
    given, kept = (no_series if series is None else series for series in (given, kept))
    given_row, kept_row = _exchange_rows(plan, order)
    block = max(1, BLOCK // substeps)
    width = min(block, n_steps) * substeps
    modes = (substeps, SAMPLING[sampling], LATERAL[lateral], zero_missing)
    n_tasks = schedule.task_pointer.size - 1

    def run(member: int, tasks: Iterable[int], start: int, store: Float) -> NotFinite:
        buffer = np.empty(longest + 7 + width)
        buffer = buffer[(-(buffer.ctypes.data // 8) - (longest - 1)) % 8 :]
        held = np.empty(min(block, n_steps))
        stop = min(start + block, n_steps)
        bad = []
        for task in tasks:
            first, last = schedule.task_pointer[task], schedule.task_pointer[task + 1]
            bad.append(_route_task(
                runoff[member], discharge[member], *static, start, stop, first, last,
                schedule.group_pointer, schedule.slot, store, buffer, held,
                schedule.link_pointer, schedule.link_slot, schedule.link_weight,
                placed_taps, placed_pointer, placed_pole, placed_gain, *state[member], *modes,
                given[member], given_row, kept[member], kept_row,
            ))  # fmt: skip
        return _total(bad)

    starts = range(0, n_steps, block)
    threads = max(1, min(n_threads(), n_batch * (n_tasks - 1)))
    if n_batch >= threads:  # whole members side by side: nobody waits

        def run_members(first: int) -> NotFinite:
            store = _store(schedule, width)
            return _total(run(b, range(n_tasks), s, store) for b in range(first, n_batch, threads) for s in starts)

        bad = _parallel(run_members, range(threads), threads)
    else:
        bad = []
        store = _store(schedule, width)
        with ThreadPoolExecutor(threads) as pool:
            for member in range(n_batch):
                for start in starts:
                    part = [pool.submit(run, member, (task,), start, store) for task in range(n_tasks - 1)]
                    bad += [p.result() for p in part]
                    bad.append(run(member, (n_tasks - 1,), start, store))
    for b, (lags, last) in enumerate(state):
        _restore_state(order, tap_pointer, placed_pointer, lags, last, history[b], outflow[b])
    return _total(bad)


def _total(counts: Iterable[tuple[int, int]]) -> NotFinite:
    return NotFinite(*map(sum, zip((0, 0), *counts, strict=True)))


def _exchange_rows(plan: RoutingPlan, order: Index) -> tuple[Index, Index]:
    """Row of each place among the given and among the kept series, -1 for none; without elements where all are -1."""
    given, kept = np.full(order.size, -1), np.full(order.size, -1)
    given[order.size - plan.n_given :] = np.arange(plan.n_given)
    kept[plan.kept] = np.arange(plan.kept.size)
    return (given[order] if plan.n_given else given[:0]), (kept[order] if plan.kept.size else kept[:0])


def _place_filter(
    order: Index, taps: Float, pointer: Index, pole: Float, gain: Float
) -> tuple[Float, Index, Float, Float]:
    """The filter in the order of the walk, gathered on all threads."""
    n_taps = np.diff(pointer)
    if n_taps.min() == n_taps.max():
        to_pointer = np.arange(order.size + 1) * n_taps[0]
    else:
        to_pointer = np.concatenate([[0], np.cumsum(n_taps[order])])
    placed = np.empty_like(taps), np.empty_like(pole), np.empty_like(gain)
    threads = n_threads()
    edges = np.linspace(0, order.size, threads + 1).astype(np.int64)

    def part(k: int) -> int:
        _gather_filter(order, taps, pointer, pole, gain, to_pointer, *placed, edges[k], edges[k + 1])
        return 0

    _parallel(part, range(threads), threads)
    return placed[0], to_pointer, placed[1], placed[2]


@kernel
def _gather_filter(  # type: ignore[no-untyped-def]
    order, taps, pointer, pole, gain, to_pointer, to_taps, to_pole, to_gain, first, last
):  # fmt: skip
    for place in range(first, last):
        i = order[place]
        to_pole[place] = pole[i]
        to_gain[place] = gain[i]
        k = to_pointer[place]
        for j in range(pointer[i], pointer[i + 1]):
            to_taps[k] = taps[j]
            k += 1


@kernel
def _place_state(order, pointer, history, outflow):  # type: ignore[no-untyped-def]
    to_history, to_outflow = np.empty_like(history), np.empty_like(outflow)
    k = 0
    for place in range(order.size):
        i = order[place]
        to_outflow[place] = outflow[i]
        for j in range(pointer[i] - i, pointer[i + 1] - i - 1):
            to_history[k] = history[j]
            k += 1
    return to_history, to_outflow


@kernel
def _restore_state(order, pointer, place_pointer, lags, last, history, outflow):  # type: ignore[no-untyped-def]
    for place in range(order.size):
        i = order[place]
        outflow[i] = last[place]
        for lag in range(pointer[i + 1] - pointer[i] - 1):
            history[pointer[i] - i + lag] = lags[place_pointer[place] - place + lag]


def _store(schedule: Schedule, width: int) -> Float:
    """Rows of the working store, each beginning at a cache line; the last ones complete groups of fewer than LANES."""
    line = 8
    stride = (width + line - 1) // line * line
    rows = schedule.n_slots + LANES
    memory = np.zeros(rows * stride + line)
    first = -(memory.ctypes.data // 8) % line
    return memory[first : first + rows * stride].reshape(rows, stride)


def _parallel(function: Callable[[int], Any], items: Iterable[int], threads: int) -> list[Any]:
    if threads == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


@kernel
def _route_task(  # type: ignore[no-untyped-def]
    runoff, discharge, runoff_row, discharge_row, scale, start, stop, first_group, last_group,
    group_pointer, slot, store, buffer, held, link_pointer, link_slot, link_weight,
    taps, tap_pointer, pole, gain, history, outflow, substeps, sampling, lateral, zero_missing,
    given, given_row, kept, kept_row,
):  # fmt: skip
    n = stop - start
    fine = n * substeps
    bad = 0
    over = 0
    row = np.empty(LANES, np.int64)
    p = np.zeros(LANES)
    y = np.zeros(LANES)
    simple = substeps == 1 and lateral == HEAD and not zero_missing
    for g in range(first_group, last_group):
        begin, end = group_pointer[g], group_pointer[g + 1]
        if g + 1 < last_group:  # rows lie anywhere in memory: the next group's are on their way during this one's work
            for i in range(end, group_pointer[g + 2]):
                _prefetch_row(runoff, runoff_row[i], start, stop)
        for i in range(begin, end):
            _prefetch_row(discharge, discharge_row[i], start, stop)
        any_pole = False
        for i in range(begin, end):
            first_tap = tap_pointer[i]
            n_taps = tap_pointer[i + 1] - first_tap
            factor = scale[i] if scale.size > 1 else scale[0]
            first_link, last_link = link_pointer[i], link_pointer[i + 1]
            inflow = buffer[n_taps - 1 : n_taps - 1 + fine]
            for lag in range(n_taps - 1):
                buffer[n_taps - 2 - lag] = history[first_tap - i + lag]
            if simple and runoff_row[i] >= 0:
                if last_link > first_link:
                    source = store[link_slot[first_link]]
                    bad += _read_and_join(
                        inflow, runoff, runoff_row[i], factor, start, n, source, link_weight[first_link]
                    )
                    first_link += 1
                else:
                    bad += _read_runoff(inflow, runoff, runoff_row[i], factor, start, n, False)
            else:
                bad += _read_runoff(held, runoff, runoff_row[i], factor, start, n, zero_missing)
                _begin_inflow(inflow, held, n, substeps, lateral)
            for j in range(first_link, last_link):
                _join(inflow, fine, store[link_slot[j]], link_weight[j])
            for lag in range(n_taps - 1):
                history[first_tap - i + lag] = buffer[n_taps - 2 + fine - lag]
            row[i - begin] = slot[i]
            p[i - begin] = pole[i]
            y[i - begin] = outflow[i]
            any_pole = any_pole or pole[i] != 0.0
            _apply_taps(store, slot[i], buffer, fine, taps, first_tap, n_taps)
            if lateral == INTERVAL:
                _add_held(store, slot[i], held, n, substeps, gain[i])
        if any_pole:
            if end - begin > 2:
                for lane in range(end - begin, LANES):
                    row[lane] = store.shape[0] - LANES + lane
                    p[lane] = 0.0
                    y[lane] = 0.0
                _recur_abreast(store, row, p, y, fine)
            else:
                for i in range(begin, end):
                    _recur(store, slot[i], pole[i], outflow[i], fine)
        for i in range(begin, end):
            if given_row.size > 0 and given_row[i] >= 0:
                store[slot[i], :fine] = given[given_row[i], start * substeps : stop * substeps]
            before = outflow[i]
            outflow[i] = store[slot[i], fine - 1]
            if lateral == OUTLET:
                factor = scale[i] if scale.size > 1 else scale[0]
                _read_runoff(held, runoff, runoff_row[i], factor, start, n, zero_missing)
            if discharge_row[i] >= 0:
                over += _sample(
                    discharge, discharge_row[i], start, store, slot[i], before, held, n, substeps, sampling, lateral
                )
            if lateral == OUTLET:
                _add_held(store, slot[i], held, n, substeps, 1.0)
            if kept_row.size > 0 and kept_row[i] >= 0:
                kept[kept_row[i], start * substeps : stop * substeps] = store[slot[i], :fine]
    return bad, over


@kernel(forceinline=True)
def _prefetch_row(array, row, start, stop):  # type: ignore[no-untyped-def]
    if row >= 0:
        line = 64 // array.itemsize
        for t in range(start, stop, line):
            prefetch(array, row, t)


@kernel(forceinline=True)
def _read_runoff(held, runoff, row, scale, start, n, zero_missing):  # type: ignore[no-untyped-def]
    if row < 0:
        for t in range(n):
            held[t] = 0.0
        return 0
    bad = 0
    source = runoff[row, start : start + n]  # a slice: the compiler knows its indices to be positive, and vectorises
    for t in range(n):
        value = np.float64(source[t])
        bad += not (value - value == 0.0)
        held[t] = value * scale
    if bad > 0 and zero_missing:
        for t in range(n):
            if not np.isfinite(source[t]):
                held[t] = 0.0
    return bad


@kernel(forceinline=True)
def _read_and_join(inflow, runoff, row, scale, start, n, series, weight):  # type: ignore[no-untyped-def]
    """`_read_runoff` and `_join` in one pass over the cache: the common case."""
    bad = 0
    source = runoff[row, start : start + n]
    for t in range(n):
        value = np.float64(source[t])
        bad += not (value - value == 0.0)
        inflow[t] = fma(weight, series[t], value * scale)
    return bad


@kernel(forceinline=True)
def _begin_inflow(inflow, held, n, substeps, lateral):  # type: ignore[no-untyped-def]
    if lateral == HEAD:
        for t in range(n):
            for s in range(substeps):
                inflow[t * substeps + s] = held[t]
    else:
        for f in range(n * substeps):
            inflow[f] = 0.0


@kernel(forceinline=True)
def _join(inflow, fine, series, weight):  # type: ignore[no-untyped-def]
    for f in range(fine):
        inflow[f] = fma(weight, series[f], inflow[f])


@kernel(forceinline=True)
def _apply_taps(store, row, buffer, fine, taps, first, k):  # type: ignore[no-untyped-def]
    if k == 1:
        c0 = taps[first]
        for f in range(fine):
            store[row, f] = c0 * buffer[f]
    elif k == 2:
        c0, c1 = taps[first], taps[first + 1]
        for f in range(fine):
            store[row, f] = fma(c0, buffer[f + 1], c1 * buffer[f])
    else:
        for f in range(fine):
            store[row, f] = 0.0
        for j in range(k):
            c = taps[first + j]
            if c != 0.0:  # a long pure lag has two taps that count
                inflow = buffer[k - 1 - j : k - 1 - j + fine]
                for f in range(fine):
                    store[row, f] = fma(c, inflow[f], store[row, f])


@kernel(forceinline=True)
def _add_held(store, row, held, n, substeps, factor):  # type: ignore[no-untyped-def]
    for t in range(n):
        value = factor * held[t]
        for s in range(substeps):
            store[row, t * substeps + s] += value


@kernel(forceinline=True)
def _recur(store, row, p, y, fine):  # type: ignore[no-untyped-def]
    for f in range(fine):
        y = fma(p, y, store[row, f])
        store[row, f] = y


@kernel(forceinline=True)
def _recur_abreast(store, row, p, y, fine):  # type: ignore[no-untyped-def]
    """`_recur` for eight rows; each value comes of the same operations as there."""
    r0, r1, r2, r3, r4, r5, r6, r7 = row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]
    p0, p1, p2, p3, p4, p5, p6, p7 = p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]
    y0, y1, y2, y3, y4, y5, y6, y7 = y[0], y[1], y[2], y[3], y[4], y[5], y[6], y[7]
    for f in range(fine):
        y0 = fma(p0, y0, store[r0, f])
        y1 = fma(p1, y1, store[r1, f])
        y2 = fma(p2, y2, store[r2, f])
        y3 = fma(p3, y3, store[r3, f])
        y4 = fma(p4, y4, store[r4, f])
        y5 = fma(p5, y5, store[r5, f])
        y6 = fma(p6, y6, store[r6, f])
        y7 = fma(p7, y7, store[r7, f])
        store[r0, f] = y0
        store[r1, f] = y1
        store[r2, f] = y2
        store[r3, f] = y3
        store[r4, f] = y4
        store[r5, f] = y5
        store[r6, f] = y6
        store[r7, f] = y7


@kernel(forceinline=True)
def _sample(  # type: ignore[no-untyped-def]
    discharge, to, start, store, row, before, held, n, substeps, sampling, lateral
):  # fmt: skip
    target = discharge[to, start : start + n]
    over = 0  # looked at here, where it is at hand: a pass of its own over the memory would cost more
    if sampling != START_MEAN and substeps == 1:
        if lateral == OUTLET:
            for t in range(n):
                target[t] = store[row, t] + held[t]
                over += not (target[t] - target[t] == 0.0)
        else:
            for t in range(n):
                target[t] = store[row, t]
                over += not (target[t] - target[t] == 0.0)
        return over
    for t in range(n):
        at = t * substeps
        if sampling == LAST:
            value = store[row, at + substeps - 1]
        elif sampling == MEAN:
            value = 0.0
            for s in range(substeps):
                value += store[row, at + s]
            value /= substeps
        else:
            value = before if t == 0 else store[row, at - 1]
            for s in range(substeps - 1):
                value += store[row, at + s]
            value /= substeps
        if lateral == OUTLET:
            value += held[t]
        target[t] = value
        over += not (target[t] - target[t] == 0.0)
    return over
