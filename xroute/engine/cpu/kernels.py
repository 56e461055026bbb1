"""Kernels of the forward run, compiled by numba: `route_task` and what it is made of.

A task takes its groups in turn. For each reach of a group it gathers the inflow (runoff, then each joining series) and
applies the taps, with time contiguous so that the compiler vectorises over it; the poles of the whole group are then
applied abreast, because one reach's recurrence alone would wait for the latency of its own multiply and add. Filters of a pole
and at most two taps, which most reaches have, do all of this abreast (`xroute.engine.cpu.abreast`).
Every argument of a reach stands in the order of the walk (`xroute.engine.schedule.Schedule`).
"""

from __future__ import annotations

import numpy as np

from xroute.engine.cpu.abreast import (
    HEAD,
    INTERVAL,
    LAST,
    MEAN,
    OUTLET,
    START_MEAN,
    new_tiles,
    recur_abreast,
    route_abreast,
    route_eight,
)
from xroute.engine.cpu.intrinsics import fma, prefetch, prefetch_entry
from xroute.engine.kernels import kernel
from xroute.engine.schedule import ABREAST


@kernel
def gather_filter(  # type: ignore[no-untyped-def]
    order, taps, pointer, pole, gain, to_pointer, to_taps, to_pole, to_gain, first, last
):  # fmt: skip
    """Copy the filter of the places ``first`` to ``last`` into the order of the walk."""
    for place in range(first, last):
        i = order[place]
        to_pole[place] = pole[i]
        to_gain[place] = gain[i]
        k = to_pointer[place]
        for j in range(pointer[i], pointer[i + 1]):
            to_taps[k] = taps[j]
            k += 1


@kernel
def place_state(order, pointer, history, outflow):  # type: ignore[no-untyped-def]
    """Copy of a member's state in the order of the walk."""
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
def restore_state(order, pointer, place_pointer, lags, last, history, outflow):  # type: ignore[no-untyped-def]
    """Write a member's state in the order of the walk, ``lags`` and ``last``, back into the order of the reaches."""
    for place in range(order.size):
        i = order[place]
        outflow[i] = last[place]
        for lag in range(pointer[i + 1] - pointer[i] - 1):
            history[pointer[i] - i + lag] = lags[place_pointer[place] - place + lag]


@kernel
def route_task(  # type: ignore[no-untyped-def]
    runoff, discharge, runoff_row, discharge_row, scale, start, stop, first_group, last_group,
    group_pointer, slot, store, buffer, held, link_pointer, link_slot, link_weight,
    taps, tap_pointer, pole, gain, history, outflow, substeps, sampling, lateral, nan_is_zero,
    given, given_row, kept, kept_row, known, known_row, routed,
    order, slope_taps, slope_pointer, slope_history, slope_outflow, slope_buffer, slope_held,
):  # fmt: skip
    """Route the groups of a task over a block of time; how many values of runoff and of discharge were not finite.

    Where discharge is known, what is filtered goes into ``routed`` [known, routing step], if that has room for it. What begins
    with ``slope`` is of the hillslopes, in the order of the reaches, not of the walk; there are none if their pointer is empty.
    """
    n = stop - start
    fine = n * substeps
    bad = 0
    over = 0
    sloped = slope_pointer.size > 0
    at_once = sloped and substeps == 1 and lateral == HEAD
    room = new_tiles(n)
    simple = substeps == 1 and lateral == HEAD and not nan_is_zero and not sloped
    for g in range(first_group, last_group):
        begin, end = group_pointer[g], group_pointer[g + 1]
        coming = group_pointer[g + 2] if g + 1 < last_group else end  # where the next group ends
        if may_go_abreast(begin, end, tap_pointer, given_row, known_row):
            if simple and sampling != START_MEAN and end - begin == ABREAST:
                finite_runoff, finite_discharge = route_eight(
                    runoff, discharge, runoff_row, discharge_row, scale, start, n, begin, end, coming, slot, store,
                    link_pointer, link_slot, link_weight, taps, tap_pointer, pole, history, outflow, room,
                )  # fmt: skip
            else:
                for i in range(end, coming):
                    ask_for(i, runoff, discharge, runoff_row, discharge_row, start, stop)
                    if sloped:
                        prefetch_slope(order[i], slope_taps, slope_pointer, slope_history, slope_outflow)
                for i in range(begin, end if not simple else begin):
                    factor, own = scale[i] if scale.size > 1 else scale[0], room[2][i - begin]
                    if sloped:
                        bad += down_the_slope(
                            own, runoff, runoff_row[i], factor, start, n, nan_is_zero,
                            order[i], slope_taps, slope_pointer, slope_history, slope_outflow, slope_buffer,
                        )  # fmt: skip
                    else:
                        bad += read_runoff(own, runoff, runoff_row[i], factor, start, n, nan_is_zero)
                finite_runoff, finite_discharge = route_abreast(
                    runoff, discharge, runoff_row, discharge_row, scale, start, n, begin, end, slot, store,
                    link_pointer, link_slot, link_weight, taps, tap_pointer, pole, gain, history, outflow,
                    substeps, sampling, lateral, simple, room,
                )  # fmt: skip
            for i in range(begin, end):
                if not finite_runoff:
                    bad += count_not_finite(runoff, runoff_row[i], start, stop)
                if not finite_discharge:
                    over += count_not_finite(discharge, discharge_row[i], start, stop)
                if kept_row.size > 0 and kept_row[i] >= 0:
                    kept[kept_row[i], start * substeps : stop * substeps] = store[slot[i], :fine]
            continue
        for i in range(end, coming):
            ask_for(i, runoff, discharge, runoff_row, discharge_row, start, stop)
            if sloped:
                prefetch_slope(order[i], slope_taps, slope_pointer, slope_history, slope_outflow)
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
                    bad += read_and_join(
                        inflow, runoff, runoff_row[i], factor, start, n, source, link_weight[first_link]
                    )
                    first_link += 1
                else:
                    bad += read_runoff(inflow, runoff, runoff_row[i], factor, start, n, False)
            else:
                own = inflow if at_once else slope_held[i - begin] if sloped else held
                if sloped:
                    bad += down_the_slope(
                        own, runoff, runoff_row[i], factor, start, n, nan_is_zero,
                        order[i], slope_taps, slope_pointer, slope_history, slope_outflow, slope_buffer,
                    )  # fmt: skip
                else:
                    bad += read_runoff(own, runoff, runoff_row[i], factor, start, n, nan_is_zero)
                if not at_once:
                    begin_inflow(inflow, own, n, substeps, lateral)
            for j in range(first_link, last_link):
                join(inflow, fine, store[link_slot[j]], link_weight[j])
            for lag in range(n_taps - 1):
                history[first_tap - i + lag] = buffer[n_taps - 2 + fine - lag]
            any_pole = any_pole or pole[i] != 0.0
            _apply_taps(store, slot[i], buffer, fine, taps, first_tap, n_taps)
            if lateral == INTERVAL:
                add_held(store, slot[i], slope_held[i - begin] if sloped else held, n, substeps, gain[i])
        if any_pole and end - begin > 2:
            recur_abreast(store, slot[begin:end], pole[begin:end], outflow[begin:end], fine, room)
        elif any_pole:
            for i in range(begin, end):
                _recur(store, slot[i], pole[i], outflow[i], fine)
        for i in range(begin, end):
            if given_row.size > 0 and given_row[i] >= 0:
                store[slot[i], :fine] = given[given_row[i], start * substeps : stop * substeps]
            before = outflow[i]
            outflow[i] = store[slot[i], fine - 1]
            own = slope_held[i - begin] if sloped else held
            if lateral == OUTLET and not sloped:
                factor = scale[i] if scale.size > 1 else scale[0]
                read_runoff(held, runoff, runoff_row[i], factor, start, n, nan_is_zero)
            if discharge_row[i] >= 0:
                over += _sample(
                    discharge, discharge_row[i], start, store, slot[i], before, own, n, substeps, sampling, lateral
                )
            if known_row.size > 0 and known_row[i] >= 0 and routed.size > 0:
                routed[known_row[i], :fine] = store[slot[i], :fine]
            if lateral == OUTLET:
                add_held(store, slot[i], own, n, substeps, 1.0)
            if known_row.size > 0 and known_row[i] >= 0:
                _take_known(store, slot[i], discharge, discharge_row[i], known, known_row[i], start, n, substeps)
            if kept_row.size > 0 and kept_row[i] >= 0:
                kept[kept_row[i], start * substeps : stop * substeps] = store[slot[i], :fine]
    return bad, over


@kernel(forceinline=True)
def may_go_abreast(begin, end, tap_pointer, given_row, known_row):  # type: ignore[no-untyped-def]
    """Whether `route_abreast` takes a group: at most two taps, nothing given or known, and enough reaches to be worth it."""
    if end - begin < 3:
        return False
    for i in range(begin, end):
        if tap_pointer[i + 1] - tap_pointer[i] > 2:
            return False
        if given_row.size > 0 and given_row[i] >= 0 or known_row.size > 0 and known_row[i] >= 0:
            return False
    return True


@kernel
def count_not_finite(array, row, start, stop):  # type: ignore[no-untyped-def]
    """How many values of a stretch of a row are not finite."""
    count = 0
    if row >= 0:
        for t in range(start, stop):
            count += not np.isfinite(array[row, t])
    return count


@kernel(forceinline=True)
def prefetch_row(array, row, start, stop):  # type: ignore[no-untyped-def]
    """Ask for a stretch of a row, which will be needed soon."""
    if row >= 0:
        line = 64 // array.itemsize
        for t in range(start, stop, line):
            prefetch(array, row, t)


@kernel(forceinline=True)
def ask_for(i, runoff, discharge, runoff_row, discharge_row, start, stop):  # type: ignore[no-untyped-def]
    """Ask for the rows of a place: they lie anywhere in memory, and are on their way during the work on others."""
    prefetch_row(runoff, runoff_row[i], start, stop)
    prefetch_row(discharge, discharge_row[i], start, stop)


@kernel(forceinline=True)
def prefetch_slope(i, taps, pointer, history, outflow):  # type: ignore[no-untyped-def]
    """Ask for a reach's hillslope, which lies anywhere in memory."""
    first, last = pointer[i], pointer[i + 1]
    for k in range(first, last, 8):
        prefetch_entry(taps, k)
    for k in range(first - i, last - i - 1, 8):
        prefetch_entry(history, k)
    prefetch_entry(outflow, i)


@kernel(forceinline=True)
def read_runoff(held, runoff, row, scale, start, n, nan_is_zero):  # type: ignore[no-untyped-def]
    """Read runoff, which is held over the substeps of its step; how many values were not finite."""
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
    if bad > 0 and nan_is_zero:
        for t in range(n):
            if not np.isfinite(source[t]):
                held[t] = 0.0
    return bad


@kernel(forceinline=True)
def read_and_join(inflow, runoff, row, scale, start, n, series, weight):  # type: ignore[no-untyped-def]
    """`read_runoff` and `join` in one pass over the cache: the common case."""
    bad = 0
    source = runoff[row, start : start + n]
    for t in range(n):
        value = np.float64(source[t])
        bad += not (value - value == 0.0)
        inflow[t] = fma(weight, series[t], value * scale)
    return bad


@kernel(forceinline=True)
def begin_inflow(inflow, held, n, substeps, lateral):  # type: ignore[no-untyped-def]
    """Inflow before anything joins: runoff, where that joins at the head."""
    if lateral == HEAD:
        for t in range(n):
            for s in range(substeps):
                inflow[t * substeps + s] = held[t]
    else:
        for f in range(n * substeps):
            inflow[f] = 0.0


@kernel(forceinline=True)
def join(inflow, fine, series, weight):  # type: ignore[no-untyped-def]
    """Add a share of a series."""
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
        apply_window(store[row, :fine], buffer, fine, taps, first, k)


@kernel
def apply_window(y, buffer, n, taps, first, k):  # type: ignore[no-untyped-def]
    """Apply k taps to n values that stand in a buffer behind the k - 1 before them, oldest first.

    Several taps at a time: what they share passes between cache and registers once. Each value comes of the same operations in
    the same order wherever a series is cut.
    """
    j = 0
    while j < k:
        together = 8 if j + 8 <= k else 4 if j + 4 <= k else 1
        count = 0
        for m in range(together):
            count += taps[first + j + m] != 0.0
        x = buffer[k - together - j : k - 1 - j + n]
        if count > 2 and together == 8:
            _add_eight(y, x, n, taps[first + j : first + j + 8], j == 0)
        elif count > 2:
            _add_four(y, x, n, taps[first + j : first + j + 4], j == 0)
        else:  # a long pure lag has two taps that count
            if j == 0:
                for t in range(n):
                    y[t] = 0.0
            for m in range(together):
                c = taps[first + j + m]
                if c != 0.0:
                    for t in range(n):
                        y[t] = fma(c, x[t + together - 1 - m], y[t])
        j += together


@kernel(forceinline=True)
def _add_eight(y, x, n, c, fresh):  # type: ignore[no-untyped-def]
    c0, c1, c2, c3, c4, c5, c6, c7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    for t in range(n):
        value = 0.0 if fresh else y[t]
        value = fma(c3, x[t + 4], fma(c2, x[t + 5], fma(c1, x[t + 6], fma(c0, x[t + 7], value))))
        y[t] = fma(c7, x[t], fma(c6, x[t + 1], fma(c5, x[t + 2], fma(c4, x[t + 3], value))))


@kernel(forceinline=True)
def _add_four(y, x, n, c, fresh):  # type: ignore[no-untyped-def]
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    for t in range(n):
        value = 0.0 if fresh else y[t]
        y[t] = fma(c3, x[t], fma(c2, x[t + 1], fma(c1, x[t + 2], fma(c0, x[t + 3], value))))


@kernel
def down_the_slope(  # type: ignore[no-untyped-def]
    held, runoff, row, scale, start, n, nan_is_zero, i, taps, pointer, history, outflow, buffer
):  # fmt: skip
    """`read_runoff` of a reach, made what its hillslopes give of it, and their state; how many values were not finite."""
    first = pointer[i]
    k = pointer[i + 1] - first
    lag = first - i
    for m in range(k - 1):
        buffer[k - 2 - m] = history[lag + m]
    bad = read_runoff(buffer[k - 1 : k - 1 + n], runoff, row, scale, start, n, nan_is_zero)
    for m in range(k - 1):
        history[lag + m] = buffer[k - 2 + n - m]
    apply_window(held, buffer, n, taps, first, k)
    outflow[i] = held[n - 1]
    return bad


@kernel(forceinline=True)
def add_held(store, row, held, n, substeps, factor):  # type: ignore[no-untyped-def]
    """Add a multiple of runoff to each substep of its step."""
    for t in range(n):
        value = factor * held[t]
        for s in range(substeps):
            store[row, t * substeps + s] += value


@kernel
def _take_known(  # type: ignore[no-untyped-def]
    store, row, discharge, discharge_row, known, known_row, start, n, substeps
):  # fmt: skip
    """Put discharge where it is known in the place of what was routed: in the result, and in what goes on downstream."""
    for t in range(n):
        value = known[known_row, start + t]
        if not np.isnan(value):
            for s in range(substeps):
                store[row, t * substeps + s] = value
            if discharge_row >= 0:
                discharge[discharge_row, start + t] = value


@kernel(forceinline=True)
def _recur(store, row, p, y, fine):  # type: ignore[no-untyped-def]
    if p != 0.0:
        for f in range(fine):
            y = fma(p, y, store[row, f])
            store[row, f] = y


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
