"""Kernels of the adjoint, compiled by numba: `adjoint_task` and what it is made of.

What they compute, `xroute.engine.cpu.adjoint` says. In the names, lam and mu are the adjoints of y and of the inflow.
"""

from __future__ import annotations

import numpy as np

from xroute.engine.cpu.intrinsics import fma
from xroute.engine.cpu.kernels import (
    HEAD,
    INTERVAL,
    LAST,
    MEAN,
    OUTLET,
    add_held,
    begin_inflow,
    join,
    prefetch_row,
    read_and_join,
    read_runoff,
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
def adjoint_task(  # type: ignore[no-untyped-def]
    runoff, grad_discharge, grad_runoff, runoff_row, discharge_row, scale, start, stop, first_group, last_group,
    group_pointer, store, lams, buffer, mu, held, up_pointer, up_place, up_weight, down_pointer, down_place,
    down_weight, taps, tap_pointer, pole, gain, history, outflow, grad_history, grad_outflow,
    grad_taps, grad_pole, grad_gain, substeps, sampling, lateral, needs_runoff, needs_filter,
    known, known_row, routed, grad_known,
):  # fmt: skip
    """The adjoint of `route_task`, from the last group to the first; ``store`` has each reach's discharge, and then its mu.

    Where discharge is known, ``routed`` has what was filtered, and ``grad_known`` gets all that comes to the discharge.
    """
    n = stop - start
    fine = n * substeps
    p = np.zeros(ABREAST)
    before = np.zeros(ABREAST)  # what the state takes of a mean over the substeps' starts
    for g in range(last_group - 1, first_group - 1, -1):
        begin, end = group_pointer[g], group_pointer[g + 1]
        if g > first_group:
            for i in range(group_pointer[g - 1], begin):
                prefetch_row(grad_discharge, discharge_row[i], start, stop)
                if needs_filter:
                    prefetch_row(runoff, runoff_row[i], start, stop)
        any_pole = False
        for i in range(begin, end):
            lam = lams[i - begin]
            is_known = known_row.size > 0 and known_row[i] >= 0
            later = lateral == OUTLET or is_known
            _begin_lam(lam, grad_discharge, discharge_row[i], held, start, n, substeps, sampling, later)
            for j in range(down_pointer[i], down_pointer[i + 1]):
                join(lam, fine, store[down_place[j]], down_weight[j])
            if is_known:
                _give_known(grad_known, known, known_row[i], lam, held, start, n, substeps)
            before[i - begin] = 0.0
            if sampling != MEAN and sampling != LAST:
                before[i - begin] = held[0] / substeps
            if lateral == OUTLET and needs_runoff and runoff_row[i] >= 0:
                factor = scale[i] if scale.size > 1 else scale[0]
                _write_runoff(grad_runoff, runoff_row[i], start, lam, held, n, substeps, 1.0, factor)
            if later:
                _spread(lam, held, n, substeps, sampling)
            lam[fine - 1] += grad_outflow[i]
            p[i - begin] = pole[i]
            any_pole = any_pole or pole[i] != 0.0
        if any_pole:
            if end - begin > 2:
                for spare in range(end - begin, ABREAST):
                    p[spare] = 0.0
                    lams[spare, :fine] = 0.0
                _recur_back(lams, p, fine)
            else:
                for i in range(begin, end):
                    _recur_back_one(lams[i - begin], pole[i], fine)
        for i in range(begin, end):
            lam = lams[i - begin]
            grad_outflow[i] = fma(pole[i], lam[0], before[i - begin])
            first_tap = tap_pointer[i]
            n_taps = tap_pointer[i + 1] - first_tap
            factor = scale[i] if scale.size > 1 else scale[0]
            y = store[i]
            if needs_filter:
                for lag in range(n_taps - 1):
                    buffer[n_taps - 2 - lag] = history[first_tap - i + lag]
                inflow = buffer[n_taps - 1 : n_taps - 1 + fine]
                first_link, last_link = up_pointer[i], up_pointer[i + 1]
                if substeps == 1 and lateral == HEAD:  # the usual case, in fewer passes
                    if runoff_row[i] >= 0 and last_link > first_link:
                        source = store[up_place[first_link]]
                        read_and_join(inflow, runoff, runoff_row[i], factor, start, n, source, up_weight[first_link])
                        first_link += 1
                    else:
                        read_runoff(inflow, runoff, runoff_row[i], factor, start, n, False)
                else:
                    read_runoff(held, runoff, runoff_row[i], factor, start, n, False)
                    begin_inflow(inflow, held, n, substeps, lateral)
                for j in range(first_link, last_link):
                    join(inflow, fine, store[up_place[j]], up_weight[j])
                past = y
                if known_row.size > 0 and known_row[i] >= 0:
                    past = routed[known_row[i]]
                elif lateral == OUTLET:
                    add_held(store, i, held, n, substeps, -1.0)  # q becomes y
                grad_pole[i] += fma(lam[0], outflow[i], _dot(lam[1:fine], past, fine - 1))
                for k in range(n_taps):
                    grad_taps[first_tap + k] += _dot(lam, buffer[n_taps - 1 - k : n_taps - 1 - k + fine], fine)
                if lateral == INTERVAL:
                    grad_gain[i] += _held_dot(lam, held, n, substeps)
            if needs_runoff and lateral == INTERVAL and runoff_row[i] >= 0:
                _write_runoff(grad_runoff, runoff_row[i], start, lam, held, n, substeps, 0.0, gain[i] * factor)
            _correlate(y, mu, lam, fine, taps, first_tap, n_taps, grad_history, first_tap - i)
            if needs_runoff and lateral == HEAD and runoff_row[i] >= 0:
                _write_runoff(grad_runoff, runoff_row[i], start, y, held, n, substeps, 0.0, factor)


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
    grad_runoff, row, start, series, held, n, substeps, held_factor, factor
):  # fmt: skip
    """``factor * (held_factor * held[t] + the sum of the series over the step)``."""
    target = grad_runoff[row, start : start + n]
    if substeps == 1 and held_factor == 0.0:
        for t in range(n):
            target[t] = factor * series[t]
        return
    for t in range(n):
        value = held_factor * held[t] if held_factor != 0.0 else 0.0
        for s in range(substeps):
            value += series[t * substeps + s]
        target[t] = factor * value


@kernel(forceinline=True)
def _recur_back_one(lam, p, fine):  # type: ignore[no-untyped-def]
    value = 0.0
    for f in range(fine - 1, -1, -1):
        value = fma(p, value, lam[f])
        lam[f] = value


@kernel(forceinline=True)
def _recur_back(lams, p, fine):  # type: ignore[no-untyped-def]
    """`_recur_back_one` for eight reaches; each value comes of the same operations as there."""
    r0, r1, r2, r3, r4, r5, r6, r7 = (
        lams[0], lams[1], lams[2], lams[3], lams[4], lams[5], lams[6], lams[7],
    )  # fmt: skip
    p0, p1, p2, p3, p4, p5, p6, p7 = p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]
    y0 = y1 = y2 = y3 = y4 = y5 = y6 = y7 = 0.0
    for back in range(fine):
        f = fine - 1 - back
        y0 = fma(p0, y0, r0[f])
        y1 = fma(p1, y1, r1[f])
        y2 = fma(p2, y2, r2[f])
        y3 = fma(p3, y3, r3[f])
        y4 = fma(p4, y4, r4[f])
        y5 = fma(p5, y5, r5[f])
        y6 = fma(p6, y6, r6[f])
        y7 = fma(p7, y7, r7[f])
        r0[f] = y0
        r1[f] = y1
        r2[f] = y2
        r3[f] = y3
        r4[f] = y4
        r5[f] = y5
        r6[f] = y6
        r7[f] = y7


@kernel(forceinline=True)
def _correlate(y, mu, lam, fine, taps, first, k, grad_history, lags):  # type: ignore[no-untyped-def]
    """Adjoint of the inflow into ``y``; ``grad_history`` from the block's end to its start."""
    if k == 1:
        c0 = taps[first]
        for f in range(fine):
            y[f] = c0 * lam[f]
        return
    if k == 2:
        c0, c1 = taps[first], taps[first + 1]
        for f in range(fine - 1):
            y[f] = fma(c0, lam[f], c1 * lam[f + 1])
        y[fine - 1] = fma(c0, lam[fine - 1], grad_history[lags])
        grad_history[lags] = c1 * lam[0]
        return
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


@kernel(fastmath={"reassoc", "contract"})
def _dot(a, b, n):  # type: ignore[no-untyped-def]
    """Sum of products; the compiler chooses an order that suits the machine, and keeps to it."""
    total = 0.0
    for f in range(n):
        total += a[f] * b[f]
    return total
