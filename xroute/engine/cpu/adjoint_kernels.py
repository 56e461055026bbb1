"""Kernels of the adjoint, compiled by numba: `adjoint_task` and what it is made of.

What they compute, `xroute.engine.cpu.adjoint` says. In the names, lam and mu are the adjoints of y and of the inflow.
"""

from __future__ import annotations

import numpy as np

from xroute.engine.cpu.intrinsics import fma, uncounted
from xroute.engine.cpu.kernels import (
    HEAD,
    INTERVAL,
    LAST,
    MEAN,
    OUTLET,
    START_MEAN,
    add_held,
    join,
    prefetch_row,
    read_runoff,
    route_task,
)
from xroute.engine.cpu.vectors import (
    LANES,
    add8,
    fma8,
    last8,
    load8,
    load_some8,
    mul8,
    shift8,
    splat8,
    store8,
    store_some8,
    sum8,
    transpose8,
    zero8,
)
from xroute.engine.kernels import kernel
from xroute.engine.schedule import ABREAST


@kernel
def add_filter(  # type: ignore[no-untyped-def]
    order, pointer, placed_pointer, placed_taps, placed_pole, placed_gain, taps, pole, gain
):  # fmt: skip
    """Add what was gathered in the order of the walk to the gradients of taps, poles and gains."""
    for place in range(order.size):
        i = order[place]
        pole[i] += placed_pole[place]
        gain[i] += placed_gain[place]
        for k in range(pointer[i + 1] - pointer[i]):
            taps[pointer[i] + k] += placed_taps[placed_pointer[place] + k]


@kernel
def cut_tasks(task_pointer, group_pointer, up_pointer, up_place, most, n_areas):  # type: ignore[no-untyped-def]
    """Cut tasks into chunks of groups, of about ``most`` places at the most, and give each place a row of the store.

    The groups at which chunks begin, the chunks at which tasks begin, the row of each place, how many rows there are, and how
    many of them, the first ones, keep what other chunks read. The others are used again by each chunk: there are as many areas
    of them as tasks may run at a time, which take them in turn.
    """
    n_tasks, n = task_pointer.size - 1, group_pointer[-1]
    chunk_pointer = np.zeros(group_pointer.size, np.int64)
    task_chunk = np.zeros(n_tasks + 1, np.int64)
    chunk, task_of, within = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    n_chunks, room = 0, 0
    for task in range(n_tasks):
        first, last = task_pointer[task], task_pointer[task + 1]
        size = group_pointer[last] - group_pointer[first]
        parts = (size + most - 1) // most
        taken = 0
        for g in range(first, last):
            if taken == 0:
                chunk_pointer[n_chunks] = g
            for i in range(group_pointer[g], group_pointer[g + 1]):
                chunk[i], task_of[i], within[i] = n_chunks, task, taken
                taken += 1
            room = max(room, taken)
            if taken * parts >= size or g + 1 == last:
                n_chunks += 1
                taken = 0
        task_chunk[task + 1] = n_chunks
    chunk_pointer[n_chunks] = task_pointer[n_tasks]
    kept = np.zeros(n, np.bool_)
    for i in range(n):
        for j in range(up_pointer[i], up_pointer[i + 1]):
            if chunk[up_place[j]] != chunk[i]:
                kept[up_place[j]] = True  # its discharge is read
                kept[i] = True  # and its mu
    row = np.empty(n, np.int64)
    n_kept = 0
    for i in range(n):
        if kept[i]:
            row[i] = n_kept
            n_kept += 1
    for i in range(n):
        if not kept[i]:
            row[i] = n_kept + task_of[i] % n_areas * room + within[i]
    return chunk_pointer[: n_chunks + 1].copy(), task_chunk, row, n_kept + n_areas * room, n_kept


@kernel
def route_again(  # type: ignore[no-untyped-def]
    runoff, no_discharge, runoff_row, nowhere, scale, start, stop, first_group, last_group, group_pointer, row, store,
    lams, buffers, held, up_pointer, up_row, up_weight, taps, tap_pointer, pole, gain, history, outflow,
    substeps, sampling, lateral, no_series, no_row, known, known_row, routed,
    order, slope_taps, slope_pointer, slope_history, slope_outflow, slope_buffer, slope_held,
):  # fmt: skip
    """`route_task` for those who ask for no discharge, in fewer passes where reaches have one or two taps; with its bits."""
    (
        runoff, runoff_row, scale, group_pointer, row, store, lams, buffers, held, up_pointer, up_row, up_weight,
        taps, tap_pointer, pole, gain, history, outflow, known_row,
    ) = uncounted(
        runoff, runoff_row, scale, group_pointer, row, store, lams, buffers, held, up_pointer, up_row, up_weight,
        taps, tap_pointer, pole, gain, history, outflow, known_row,
    )  # fmt: skip
    n = stop - start
    fine = n * substeps
    p, y = np.zeros((1, ABREAST)), np.zeros((1, ABREAST))
    to = np.empty(ABREAST, np.int64)
    at_once = substeps == 1 and lateral == HEAD
    for g in range(first_group, last_group):
        begin, end = group_pointer[g], group_pointer[g + 1]
        few = end - begin > 2
        for i in range(begin, end):
            few = few and tap_pointer[i + 1] - tap_pointer[i] <= 2 and (known_row.size == 0 or known_row[i] < 0)
        if not few:
            route_task(
                runoff, no_discharge, runoff_row, nowhere, scale, start, stop, g, g + 1, group_pointer, row, store,
                buffers[0], held, up_pointer, up_row, up_weight, taps, tap_pointer, pole, gain, history, outflow,
                substeps, sampling, lateral, False, no_series, no_row, no_series, no_row, known, known_row, routed,
                order, slope_taps, slope_pointer, slope_history, slope_outflow, slope_buffer, slope_held,
            )  # fmt: skip
            continue
        if g + 1 < last_group:
            for i in range(end, group_pointer[g + 2]):
                prefetch_row(runoff, runoff_row[i], start, stop)
        for i in range(begin, end):
            at, first_tap = i - begin, tap_pointer[i]
            two, lag = tap_pointer[i + 1] - first_tap == 2, first_tap - i
            c0, c1, past = taps[first_tap], taps[first_tap + 1] if two else 0.0, history[lag] if two else 0.0
            first_link, last_link = up_pointer[i], up_pointer[i + 1]
            factor = scale[i] if scale.size > 1 else scale[0]
            direct = at_once and runoff_row[i] >= 0 and last_link - first_link <= 2
            if not direct:
                joined = max(first_link, last_link - 2)
                _read_inflow(
                    buffers, 0, runoff, runoff_row[i], factor, held, start, n, substeps, lateral, store, up_row, up_weight,
                    first_link, joined,
                )  # fmt: skip
                first_link = joined
            u = up_row[first_link] if first_link < last_link else -1
            v = up_row[first_link + 1] if first_link + 1 < last_link else -1
            to_u, to_v = up_weight[first_link] if u >= 0 else 0.0, up_weight[first_link + 1] if v >= 0 else 0.0
            if direct:
                last = _apply_few(
                    lams, at, runoff, runoff_row[i], start, factor, store, u, to_u, v, to_v, fine, c0, c1, two, past
                )
            else:
                last = _apply_few(lams, at, buffers, 0, 0, 1.0, store, u, to_u, v, to_v, fine, c0, c1, two, past)
            if two:
                history[lag] = last
            if lateral == INTERVAL:
                add_held(lams, at, held, n, substeps, gain[i])
            p[0, at], y[0, at], to[at] = pole[i], outflow[i], row[i]
        for spare in range(end - begin, ABREAST):
            p[0, spare], y[0, spare], to[spare] = 0.0, 0.0, store.shape[0] - ABREAST + spare
        _recur_rows(lams, store, to, p, y, fine)
        for i in range(begin, end):
            outflow[i] = store[row[i], fine - 1]
            if lateral == OUTLET:
                factor = scale[i] if scale.size > 1 else scale[0]
                read_runoff(held, runoff, runoff_row[i], factor, start, n, False)
                add_held(store, row[i], held, n, substeps, 1.0)


@kernel(forceinline=True)
def _read_inflow(  # type: ignore[no-untyped-def]
    buffers, first, runoff, row, factor, held, start, n, substeps, lateral, store, up_row, up_weight, first_link, last_link
):  # fmt: skip
    """Inflow of some links, and of runoff where that joins at the head; ``held`` has runoff where it may be needed again."""
    inflow = buffers[0, first : first + n * substeps]
    if substeps == 1 and lateral == HEAD:
        read_runoff(inflow, runoff, row, factor, start, n, False)
    else:
        read_runoff(held, runoff, row, factor, start, n, False)
        if lateral == HEAD:
            for t in range(n):
                for f in range(t * substeps, (t + 1) * substeps, LANES):  # what goes beyond is written again, or nobody's
                    store8(buffers, 0, first + f, splat8(held[t]))
        else:
            inflow[:] = 0.0
    for j in range(first_link, last_link):
        join(inflow, n * substeps, store[up_row[j]], up_weight[j])


@kernel(forceinline=True)
def _apply_few(  # type: ignore[no-untyped-def]
    rows, at, base, base_row, base_start, scale, store, u, to_u, v, to_v, fine, c0, c1, two, past
):  # fmt: skip
    """One or two taps of an inflow, runoff and up to two tributaries, into a row; the last inflow."""
    whole = fine // LANES * LANES
    before = splat8(past)
    for f in range(0, whole, LANES):
        inflow = mul8(load8(base, base_row, base_start + f), splat8(scale))
        if u >= 0:
            inflow = fma8(splat8(to_u), load8(store, u, f), inflow)
        if v >= 0:
            inflow = fma8(splat8(to_v), load8(store, v, f), inflow)
        y = fma8(splat8(c0), inflow, mul8(splat8(c1), shift8(before, inflow))) if two else mul8(splat8(c0), inflow)
        store8(rows, at, f, y)
        before = inflow
    last = last8(before)
    for f in range(whole, fine):
        inflow = scale * np.float64(base[base_row, base_start + f])
        if u >= 0:
            inflow = fma(to_u, store[u, f], inflow)
        if v >= 0:
            inflow = fma(to_v, store[v, f], inflow)
        rows[at, f] = fma(c0, inflow, c1 * last) if two else c0 * inflow
        last = inflow
    return last


@kernel(forceinline=True)
def _recur_rows(rows, store, to, p, first, fine):  # type: ignore[no-untyped-def]
    """The poles of eight reaches, eight routing steps at a time, turned over so that a vector has a step of all."""
    whole = fine // LANES * LANES
    poles, y = load8(p, 0, 0), load8(first, 0, 0)
    for f in range(0, whole, LANES):
        x0, x1, x2, x3, x4, x5, x6, x7 = transpose8(
            load8(rows, 0, f), load8(rows, 1, f), load8(rows, 2, f), load8(rows, 3, f),
            load8(rows, 4, f), load8(rows, 5, f), load8(rows, 6, f), load8(rows, 7, f),
        )  # fmt: skip
        y0 = fma8(poles, y, x0)
        y1 = fma8(poles, y0, x1)
        y2 = fma8(poles, y1, x2)
        y3 = fma8(poles, y2, x3)
        y4 = fma8(poles, y3, x4)
        y5 = fma8(poles, y4, x5)
        y6 = fma8(poles, y5, x6)
        y = fma8(poles, y6, x7)
        r0, r1, r2, r3, r4, r5, r6, r7 = transpose8(y0, y1, y2, y3, y4, y5, y6, y)
        store8(store, to[0], f, r0)
        store8(store, to[1], f, r1)
        store8(store, to[2], f, r2)
        store8(store, to[3], f, r3)
        store8(store, to[4], f, r4)
        store8(store, to[5], f, r5)
        store8(store, to[6], f, r6)
        store8(store, to[7], f, r7)
    if whole < fine:
        store8(first, 0, 0, y)
        for i in range(ABREAST):
            value = first[0, i]
            for f in range(whole, fine):
                value = fma(p[0, i], value, rows[i, f])
                store[to[i], f] = value


@kernel
def adjoint_task(  # type: ignore[no-untyped-def]
    chunk_pointer, first_chunk, last_chunk, again, running_history, running_outflow, no_discharge, nowhere, no_series, no_row,
    order, slope_taps, slope_pointer, slope_history, slope_outflow, slope_buffer, slope_held,
    runoff, grad_discharge, grad_runoff, runoff_row, discharge_row, scale, start, stop,
    group_pointer, row, store, lams, buffers, mu, held, up_pointer, up_row, up_weight, down_pointer, down_row,
    down_weight, taps, tap_pointer, pole, gain, history, outflow, grad_history, grad_outflow,
    grad_taps, grad_pole, grad_gain, substeps, sampling, lateral, needs_runoff, needs_filter,
    known, known_row, routed, grad_known,
):  # fmt: skip
    """The adjoint of a task's chunks over a block of time, each of which is routed ``again`` first, from the block's start."""
    (
        runoff, grad_discharge, grad_runoff, runoff_row, discharge_row, scale, group_pointer, row, store, lams, buffers, mu,
        held, up_pointer, up_row, up_weight, down_pointer, down_row, down_weight, taps, tap_pointer, pole, gain, history,
        outflow, grad_history, grad_outflow, grad_taps, grad_pole, grad_gain, known, known_row, routed, grad_known,
    ) = uncounted(
        runoff, grad_discharge, grad_runoff, runoff_row, discharge_row, scale, group_pointer, row, store, lams, buffers, mu,
        held, up_pointer, up_row, up_weight, down_pointer, down_row, down_weight, taps, tap_pointer, pole, gain, history,
        outflow, grad_history, grad_outflow, grad_taps, grad_pole, grad_gain, known, known_row, routed, grad_known,
    )  # fmt: skip
    for chunk in range(last_chunk - 1, first_chunk - 1, -1):
        first, last = chunk_pointer[chunk], chunk_pointer[chunk + 1]
        if again:
            begin, end = group_pointer[first], group_pointer[last]
            for k in range(tap_pointer[begin] - begin, tap_pointer[end] - end):
                running_history[k] = history[k]
            for i in range(begin, end):
                running_outflow[i] = outflow[i]
            route_again(
                runoff, no_discharge, runoff_row, nowhere, scale, start, stop, first, last, group_pointer, row, store,
                lams, buffers, held, up_pointer, up_row, up_weight, taps, tap_pointer, pole, gain,
                running_history, running_outflow, substeps, sampling, lateral, no_series, no_row, known, known_row, routed,
                order, slope_taps, slope_pointer, slope_history, slope_outflow, slope_buffer, slope_held,
            )  # fmt: skip
        _adjoint_groups(
            runoff, grad_discharge, grad_runoff, runoff_row, discharge_row, scale, start, stop, first, last,
            group_pointer, row, store, lams, buffers, mu, held, up_pointer, up_row, up_weight, down_pointer, down_row,
            down_weight, taps, tap_pointer, pole, gain, history, outflow, grad_history, grad_outflow,
            grad_taps, grad_pole, grad_gain, substeps, sampling, lateral, needs_runoff, needs_filter,
            known, known_row, routed, grad_known,
        )  # fmt: skip


@kernel
def _adjoint_groups(  # type: ignore[no-untyped-def]
    runoff, grad_discharge, grad_runoff, runoff_row, discharge_row, scale, start, stop, first_group, last_group,
    group_pointer, row, store, lams, buffers, mu, held, up_pointer, up_row, up_weight, down_pointer, down_row,
    down_weight, taps, tap_pointer, pole, gain, history, outflow, grad_history, grad_outflow,
    grad_taps, grad_pole, grad_gain, substeps, sampling, lateral, needs_runoff, needs_filter,
    known, known_row, routed, grad_known,
):  # fmt: skip
    """The adjoint of `route_task`, from the last group to the first; ``store`` has each reach's discharge, and then its mu.

    Where discharge is known, ``routed`` has what was filtered, and ``grad_known`` gets all that comes to the discharge. Rows of
    ``lams`` are to have eight zeros behind those of the block.
    """
    n = stop - start
    fine = n * substeps
    p = np.zeros((1, ABREAST))
    before = np.zeros(ABREAST)  # what the state takes of a mean over the substeps' starts
    buffer = buffers[0]
    at_once = substeps == 1 and lateral == HEAD  # mu is what comes to the runoff
    for g in range(last_group - 1, first_group - 1, -1):
        begin, end = group_pointer[g], group_pointer[g + 1]
        if g > first_group:
            for i in range(group_pointer[g - 1], begin):
                prefetch_row(grad_discharge, discharge_row[i], start, stop)
                if needs_filter:
                    prefetch_row(runoff, runoff_row[i], start, stop)
        any_pole = False
        for i in range(begin, end):
            if needs_runoff:
                prefetch_row(grad_runoff, runoff_row[i], start, stop)
            lam = lams[i - begin]
            is_known = known_row.size > 0 and known_row[i] >= 0
            later = lateral == OUTLET or is_known
            first_link, last_link = down_pointer[i], down_pointer[i + 1]
            joined = discharge_row[i] >= 0 and first_link < last_link and not later
            if joined and substeps == 1 and sampling != START_MEAN:
                gradient = grad_discharge[discharge_row[i], start:stop]
                _begin_and_join(lam, gradient, n, store[down_row[first_link]], down_weight[first_link])
                first_link += 1
            elif joined and sampling == MEAN:
                gradient = grad_discharge[discharge_row[i], start:stop]
                _spread_and_join(lams, i - begin, gradient, n, substeps, store, down_row[first_link], down_weight[first_link])
                first_link += 1
            else:
                _begin_lam(lam, grad_discharge, discharge_row[i], held, start, n, substeps, sampling, later)
            for j in range(first_link, last_link):
                join(lam, fine, store[down_row[j]], down_weight[j])
            if is_known:
                _give_known(grad_known, known, known_row[i], lam, held, start, n, substeps)
            before[i - begin] = held[0] / substeps if sampling == START_MEAN else 0.0
            if lateral == OUTLET and needs_runoff and runoff_row[i] >= 0:
                factor = scale[i] if scale.size > 1 else scale[0]
                _write_runoff(grad_runoff, runoff_row[i], start, lams, i - begin, held, n, substeps, 1.0, factor)
            if later:
                _spread(lam, held, n, substeps, sampling)
            lam[fine - 1] += grad_outflow[i]
            p[0, i - begin] = pole[i]
            any_pole = any_pole or pole[i] != 0.0
        if any_pole:
            if end - begin > 2:
                for spare in range(end - begin, ABREAST):
                    p[0, spare] = 0.0
                    lams[spare, :fine] = 0.0
                _recur_back(lams, p, fine)
            else:
                for i in range(begin, end):
                    _recur_back_one(lams[i - begin], pole[i], fine)
        for i in range(begin, end):
            at = i - begin
            lam, y = lams[at], store[row[i]]
            grad_outflow[i] = fma(pole[i], lam[0], before[at])
            first_tap, n_taps = tap_pointer[i], tap_pointer[i + 1] - tap_pointer[i]
            factor = scale[i] if scale.size > 1 else scale[0]
            out = runoff_row[i] if needs_runoff else -1
            if out >= 0 and lateral == INTERVAL:
                _write_runoff(grad_runoff, out, start, lams, at, held, n, substeps, 0.0, gain[i] * factor)
            first_link, last_link = up_pointer[i], up_pointer[i + 1]
            direct = at_once and n_taps <= 2 and runoff_row[i] >= 0 and last_link - first_link <= 2
            past, past_row = store, row[i]
            if needs_filter:
                if not direct:
                    joined = last_link if n_taps > 2 else max(first_link, last_link - 2)
                    _read_inflow(
                        buffers, n_taps - 1, runoff, runoff_row[i], factor, held, start, n, substeps, lateral, store,
                        up_row, up_weight, first_link, joined,
                    )  # fmt: skip
                    first_link = joined
                if known_row.size > 0 and known_row[i] >= 0:
                    past, past_row = routed, known_row[i]
                elif lateral == OUTLET:
                    add_held(store, row[i], held, n, substeps, -1.0)  # q becomes y
                if lateral == INTERVAL:
                    grad_gain[i] += _held_dot(lam, held, n, substeps)
            if n_taps <= 2:
                u = up_row[first_link] if first_link < last_link else -1
                v = up_row[first_link + 1] if first_link + 1 < last_link else -1
                to_u, to_v = up_weight[first_link] if u >= 0 else 0.0, up_weight[first_link + 1] if v >= 0 else 0.0
                now, c0, c1 = out if at_once else -1, taps[first_tap], taps[first_tap + 1] if n_taps == 2 else 0.0
                if direct:
                    s0, s1, s = _few_taps(
                        lams, at, runoff, runoff_row[i], start, factor, store, u, to_u, v, to_v, past, past_row,
                        row[i], grad_runoff, now, start, factor, fine, c0, c1, n_taps == 2, needs_filter,
                    )  # fmt: skip
                else:
                    s0, s1, s = _few_taps(
                        lams, at, buffers, 0, n_taps - 1, 1.0, store, u, to_u, v, to_v, past, past_row,
                        row[i], grad_runoff, now, start, factor, fine, c0, c1, n_taps == 2, needs_filter,
                    )  # fmt: skip
                if n_taps == 2:  # what the next block has of the last step's inflow, and this one of that before its first
                    lag = first_tap - i
                    y[fine - 1] = fma(c0, lam[fine - 1], grad_history[lag])
                    grad_history[lag] = c1 * lam[0]
                    if now >= 0:
                        grad_runoff[now, stop - 1] = factor * y[fine - 1]
                    s1 = fma(lam[0], history[lag], s1)
                    if needs_filter:
                        grad_taps[first_tap + 1] += s1
                if needs_filter:
                    grad_taps[first_tap] += s0
                    grad_pole[i] += fma(lam[0], outflow[i], s)
                if out >= 0 and lateral == HEAD and not at_once:
                    _write_runoff(grad_runoff, out, start, store, row[i], held, n, substeps, 0.0, factor)
            else:
                lag = first_tap - i
                if needs_filter:
                    for back in range(n_taps - 1):
                        buffer[n_taps - 2 - back] = history[lag + back]
                    grad_pole[i] += fma(lam[0], outflow[i], _dot(lams, at, 1, past, past_row, 0, fine - 1))
                    for k in range(n_taps):
                        grad_taps[first_tap + k] += _dot(lams, at, 0, buffers, 0, n_taps - 1 - k, fine)
                _correlate(y, mu, lam, fine, taps, first_tap, n_taps, grad_history, lag)
                if out >= 0 and lateral == HEAD:
                    _write_runoff(grad_runoff, out, start, store, row[i], held, n, substeps, 0.0, factor)


@kernel(forceinline=True)
def _few_taps(  # type: ignore[no-untyped-def]
    lams, at, base, base_row, base_start, scale, store, u, to_u, v, to_v, past, past_row,
    row, grad_runoff, out, out_start, factor, fine, c0, c1, two, sums,
):  # fmt: skip
    """Of a reach with one or two taps: mu, runoff's gradient, and the sums of lam with the inflow, now and before, and with y.

    Inflow is runoff and up to two tributaries. The eight partial sums of each are of every eighth routing step.
    """
    s0, s1, s = zero8(), zero8(), zero8()
    whole = fine // LANES * LANES
    for f in range(0, whole, LANES):
        lam, after = load8(lams, at, f), load8(lams, at, f + 1)
        if sums:
            inflow = mul8(load8(base, base_row, base_start + f), splat8(scale))
            if u >= 0:
                inflow = fma8(splat8(to_u), load8(store, u, f), inflow)
            if v >= 0:
                inflow = fma8(splat8(to_v), load8(store, v, f), inflow)
            s0 = fma8(lam, inflow, s0)
            s1 = fma8(after, inflow, s1)
            s = fma8(after, load8(past, past_row, f), s)
        mu = fma8(splat8(c0), lam, mul8(splat8(c1), after)) if two else mul8(splat8(c0), lam)
        store8(store, row, f, mu)
        if out >= 0:
            store8(grad_runoff, out, out_start + f, mul8(mu, splat8(factor)))
    if whole < fine:
        f, some = whole, fine - whole
        lam, after = load8(lams, at, f), load8(lams, at, f + 1)
        if sums:
            inflow = mul8(load_some8(base, base_row, base_start + f, some), splat8(scale))
            if u >= 0:
                inflow = fma8(splat8(to_u), load_some8(store, u, f, some), inflow)
            if v >= 0:
                inflow = fma8(splat8(to_v), load_some8(store, v, f, some), inflow)
            s0 = fma8(lam, inflow, s0)
            s1 = fma8(after, inflow, s1)
            s = fma8(after, load_some8(past, past_row, f, some), s)
        mu = fma8(splat8(c0), lam, mul8(splat8(c1), after)) if two else mul8(splat8(c0), lam)
        store_some8(store, row, f, mu, some)
        if out >= 0:
            store_some8(grad_runoff, out, out_start + f, mul8(mu, splat8(factor)), some)
    return sum8(s0), sum8(s1), sum8(s)


@kernel(forceinline=True)
def _begin_and_join(lam, gradient, n, series, weight):  # type: ignore[no-untyped-def]
    """`_begin_lam` and `join` in one pass: the common case."""
    for t in range(n):
        lam[t] = fma(weight, series[t], np.float64(gradient[t]))


@kernel(forceinline=True)
def _begin_lam(  # type: ignore[no-untyped-def]
    lam, grad_discharge, row, held, start, n, substeps, sampling, later
):  # fmt: skip
    """Gradient of the discharge into ``held`` and, unless that comes ``later``, spread over the routing steps."""
    if row >= 0:
        source = grad_discharge[row, start : start + n]
        if substeps == 1 and (sampling == MEAN or sampling == LAST) and not later:
            for t in range(n):
                lam[t] = np.float64(source[t])
            return
        for t in range(n):
            held[t] = np.float64(source[t])
    else:
        for t in range(n):
            held[t] = 0.0
    for f in range(n * substeps):
        lam[f] = 0.0
    if not later:
        _spread(lam, held, n, substeps, sampling)


@kernel(forceinline=True)
def _spread_and_join(lams, at, gradient, n, substeps, store, row, weight):  # type: ignore[no-untyped-def]
    """`_begin_lam` of a mean and `join` in one pass: the common case with substeps."""
    share = splat8(weight)
    for t in range(n):
        value = splat8(np.float64(gradient[t]) / substeps)
        for f in range(t * substeps, (t + 1) * substeps, LANES):  # what goes beyond is written again by the next step
            store8(lams, at, f, fma8(share, load8(store, row, f), value))
    store8(lams, at, n * substeps, zero8())


@kernel
def _give_known(grad_known, known, row, lam, held, start, n, substeps):  # type: ignore[no-untyped-def]
    """Give known discharge what comes to it, from downstream (``lam``) and from the result (``held``), and nothing to y."""
    for t in range(n):
        if not np.isnan(known[row, start + t]):
            value = held[t]
            held[t] = 0.0
            for f in range(t * substeps, (t + 1) * substeps):
                value += lam[f]
                lam[f] = 0.0
            grad_known[row, start + t] = value


@kernel(forceinline=True)
def _spread(lam, held, n, substeps, sampling):  # type: ignore[no-untyped-def]
    for t in range(n):
        at = t * substeps
        if sampling == LAST:
            lam[at + substeps - 1] += held[t]
        else:
            value = held[t] / substeps
            if sampling == MEAN:
                for s in range(substeps):
                    lam[at + s] += value
            else:
                if t > 0:
                    lam[at - 1] += value
                for s in range(substeps - 1):
                    lam[at + s] += value


@kernel(forceinline=True)
def _write_runoff(  # type: ignore[no-untyped-def]
    grad_runoff, row, start, series, at, held, n, substeps, held_factor, factor
):  # fmt: skip
    """``factor * (held_factor * held[t] + the sum of the series over the step)``; the series is row ``at``."""
    target = grad_runoff[row, start : start + n]
    if substeps == 1 and held_factor == 0.0:
        for t in range(n):
            target[t] = factor * series[at, t]
        return
    whole = substeps // LANES * LANES
    for t in range(n):
        value = held_factor * held[t] if held_factor != 0.0 else 0.0
        f = t * substeps
        if whole > 0:
            total = load8(series, at, f)
            for s in range(LANES, whole, LANES):
                total = add8(total, load8(series, at, f + s))
            value += sum8(total)
        for s in range(whole, substeps):
            value += series[at, f + s]
        target[t] = factor * value


@kernel(forceinline=True)
def _recur_back_one(lam, p, fine):  # type: ignore[no-untyped-def]
    value = 0.0
    for f in range(fine - 1, -1, -1):
        value = fma(p, value, lam[f])
        lam[f] = value


@kernel(forceinline=True)
def _recur_back(lams, p, fine):  # type: ignore[no-untyped-def]
    """`_recur_back_one` for eight reaches, eight routing steps at a time, turned over so that a vector has a step of all.

    Each value comes of the same operations as there.
    """
    whole = fine // LANES * LANES
    last = np.zeros((1, ABREAST))
    for i in range(ABREAST):
        value = 0.0
        for f in range(fine - 1, whole - 1, -1):
            value = fma(p[0, i], value, lams[i, f])
            lams[i, f] = value
        last[0, i] = value
    poles, y = load8(p, 0, 0), load8(last, 0, 0)
    for back in range(LANES, whole + LANES, LANES):
        f = whole - back
        x0, x1, x2, x3, x4, x5, x6, x7 = transpose8(
            load8(lams, 0, f), load8(lams, 1, f), load8(lams, 2, f), load8(lams, 3, f),
            load8(lams, 4, f), load8(lams, 5, f), load8(lams, 6, f), load8(lams, 7, f),
        )  # fmt: skip
        y7 = fma8(poles, y, x7)
        y6 = fma8(poles, y7, x6)
        y5 = fma8(poles, y6, x5)
        y4 = fma8(poles, y5, x4)
        y3 = fma8(poles, y4, x3)
        y2 = fma8(poles, y3, x2)
        y1 = fma8(poles, y2, x1)
        y = fma8(poles, y1, x0)
        r0, r1, r2, r3, r4, r5, r6, r7 = transpose8(y, y1, y2, y3, y4, y5, y6, y7)
        store8(lams, 0, f, r0)
        store8(lams, 1, f, r1)
        store8(lams, 2, f, r2)
        store8(lams, 3, f, r3)
        store8(lams, 4, f, r4)
        store8(lams, 5, f, r5)
        store8(lams, 6, f, r6)
        store8(lams, 7, f, r7)


@kernel(forceinline=True)
def _correlate(y, mu, lam, fine, taps, first, k, grad_history, lags):  # type: ignore[no-untyped-def]
    """Adjoint of the inflow into ``y``; ``grad_history`` from the block's end to its start."""
    for f in range(k - 1 + fine):
        mu[f] = 0.0
    for lag in range(k - 1):
        mu[k - 2 + fine - lag] = grad_history[lags + lag]
    for j in range(k):
        c = taps[first + j]
        if c != 0.0:  # a long pure lag has two taps that count
            join(mu[k - 1 - j : k - 1 - j + fine], fine, lam, c)
    for lag in range(k - 1):
        grad_history[lags + lag] = mu[k - 2 - lag]
    for f in range(fine):
        y[f] = mu[k - 1 + f]


@kernel(forceinline=True)
def _held_dot(lam, held, n, substeps):  # type: ignore[no-untyped-def]
    total = 0.0
    for t in range(n):
        value = 0.0
        for s in range(substeps):
            value += lam[t * substeps + s]
        total = fma(held[t], value, total)
    return total


@kernel
def _dot(a, a_row, a_start, b, b_row, b_start, n):  # type: ignore[no-untyped-def]
    """Sum of products of two stretches of rows; the eight partial sums are of every eighth product."""
    total = zero8()
    whole = n // LANES * LANES
    for f in range(0, whole, LANES):
        total = fma8(load8(a, a_row, a_start + f), load8(b, b_row, b_start + f), total)
    if whole < n:
        some = n - whole
        left, right = load_some8(a, a_row, a_start + whole, some), load_some8(b, b_row, b_start + whole, some)
        total = fma8(left, right, total)
    return sum8(total)
