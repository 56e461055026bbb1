r"""The adjoint of the CPU engine: gradients of routing with respect to runoff, filter and state, in numba.

With :math:`f = tS + s` the routing steps, :math:`I, y, q` as in `xroute.engine.reference`, and bars for derivatives of
the loss, a network is walked against the flow and each series against time:

.. math::

    \bar q_i[f] &= \sum_d w_{id}\, \mu_d[f] \;+\; \text{sampling}^T(\bar D_i) \\
    \lambda_i[f] &= \bar q_i[f] + p_i\, \lambda_i[f+1]
    \qquad \mu_i[f] = \sum_{k < K_i} h_i[k]\, \lambda_i[f+k] \\
    \bar r_i[t] &= \sum_s \mu_i[tS+s] \text{ (head)}, \quad g_i \sum_s \lambda_i[tS+s] \text{ (interval)}, \quad
                   \bar D_i[t] + \sum_s \sum_d w_{id}\, \mu_d[tS+s] \text{ (outlet)} \\
    \bar h_i[k] &= \sum_f \lambda_i[f]\, I_i[f-k] \qquad \bar p_i = \sum_f \lambda_i[f]\, y_i[f-1] \qquad
    \bar g_i = \sum_t r_i[t] \sum_s \lambda_i[tS+s]

where :math:`\lambda` and :math:`\mu` are the adjoints of :math:`y` and :math:`I`. A discharge that is the mean of the
ends of the substeps gives :math:`\bar D[t]/S` to each; the last of them takes all of it; a mean of their starts gives
:math:`\bar D[t]/S` to :math:`y` one routing step earlier, the first one's to the state. Runoff at the outlet is added
to each of these, so it takes :math:`\bar D[t]` once, and what the reach downstream takes of it. Gradients of the final
state enter as :math:`\lambda` beyond the end and as what is added to the last K - 1 :math:`\mu`; what is left of the two
before the first step is the gradient of the initial state. So blocks of time chain as they do forward, last to first.

Nothing of the forward run is kept. States at the starts of the blocks come from one more forward run, and a block's
series from a second one over the block, into a store with a row for each reach; the walk then puts :math:`\mu` where
:math:`q` stood, which nobody needs any more. Sums over time have an order that is fixed when the kernels are compiled,
and sums over members are of fixed groups of members, so gradients are the same, bit for bit, in every run on a machine
and on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from xroute.engine.cpu.forward import (
    BLOCK,
    HEAD,
    INTERVAL,
    LAST,
    LATERAL,
    MEAN,
    OUTLET,
    SAMPLING,
    _add_held,
    _begin_inflow,
    _join,
    _place_filter,
    _place_state,
    _prefetch_row,
    _read_and_join,
    _read_runoff,
    _restore_state,
    _route_task,
    _store,
)
from xroute.engine.cpu.intrinsics import fma
from xroute.engine.kernels import kernel
from xroute.engine.plan import RoutingPlan
from xroute.engine.schedule import LANES
from xroute.options import n_threads

__all__ = ["STORE_BYTES", "adjoint_cpu"]

STORE_BYTES = 2**30
"""Room for the series of all reaches in a block of time, over all threads."""
MEMBER_GROUPS = 8
"""Groups of members whose gradients of the filter are summed apart, then together: not a matter of threads."""

Float = NDArray[np.float64]
Index = NDArray[np.int64]


def adjoint_cpu(
    grad_discharge: NDArray[np.floating],
    grad_history: Float,
    grad_outflow: Float,
    runoff: NDArray[np.floating],
    plan: RoutingPlan,
    taps: Float,
    tap_pointer: Index,
    pole: Float,
    gain: Float,
    history0: Float,
    outflow0: Float,
    *,
    runoff_row: Index | None = None,
    discharge_row: Index | None = None,
    scale: Float | None = None,
    substeps: int = 1,
    sampling: str = "mean",
    lateral: str = "head",
    needs_runoff: bool = True,
    needs_filter: bool = True,
    block: int | None = None,
) -> tuple[NDArray[np.floating], Float, Float, Float, Float, Float]:
    """Gradients of a loss with respect to all that `xroute.engine.cpu.route_cpu` takes.

    Parameters
    ----------
    grad_discharge : [batch, row, time]
        Gradient with respect to the discharge, of the type of runoff.
    grad_history : [batch, sum of (K - 1)], grad_outflow : [batch, reach]
        Gradients with respect to the final state.
    runoff, plan, taps, tap_pointer, pole, gain, runoff_row, discharge_row, scale, substeps, sampling, lateral
        As in the forward run. No two reaches may share a row of runoff.
    history0, outflow0
        The state at the start.
    needs_runoff, needs_filter
        Whether to compute the gradients of runoff, and of taps, pole and gain; those left out come back as zeros.
    block
        Routing steps of runoff in a block of time; chosen by memory when None.

    Returns
    -------
    grad_runoff : [batch, row, time]
        Of the type of runoff; zero in rows that no reach reads.
    grad_taps : [sum of K], grad_pole, grad_gain : [reach]
        Summed over the batch.
    grad_history0 : [batch, sum of (K - 1)], grad_outflow0 : [batch, reach]
    """
    n_batch, _, n_steps = runoff.shape
    grad_runoff = np.zeros(runoff.shape, runoff.dtype)
    grad_filter = np.zeros(taps.shape), np.zeros(pole.shape), np.zeros(gain.shape)
    grad_state = np.array(grad_history, np.float64, order="C"), np.array(grad_outflow, np.float64, order="C")
    if not n_batch or not n_steps or not plan.n_reaches:
        return grad_runoff, *grad_filter, *grad_state
    given = []
    for array in (runoff, grad_discharge):
        view = array.view()
        view.setflags(write=False)  # always, so that arrays that are read-only do not compile the kernels again
        given.append(view)
    schedule = plan.schedule
    order, n = schedule.order, plan.n_reaches
    n_tasks = schedule.task_pointer.size - 1
    longest = int(np.diff(tap_pointer).max())
    links = _place_links(order, plan.upstream_pointer, plan.upstream_reach, plan.upstream_weight)
    up, down = links[:3], links[3:]
    placed_taps, placed_pointer, placed_pole, placed_gain = _place_filter(order, taps, tap_pointer, pole, gain)
    rows = tuple(order if row is None else row[order] for row in (runoff_row, discharge_row))
    factor = np.ones(1) if scale is None else scale[order]
    nobody = np.full(n, -1, np.int64)  # nobody asks for discharge
    no_discharge = np.empty((1, 1), runoff.dtype)
    own_row = np.arange(n)
    modes = (substeps, SAMPLING[sampling], LATERAL[lateral])

    threads = max(1, min(n_threads(), n_batch * (n_tasks - 1)))
    n_groups = min(n_batch, MEMBER_GROUPS, max(1, STORE_BYTES // (64 * taps.size)))
    side_by_side = n_groups >= threads
    if block is None:
        block = _block_length(n, n_steps, substeps, taps.size / n, threads if side_by_side else 1)
    starts = range(0, n_steps, block)
    width = min(block, n_steps) * substeps

    no_series, no_row = np.zeros((0, 0)), np.zeros(0, np.int64)

    def run(
        tasks: Iterable[int], member: int, start: int, slot: Index, link_slot: Index, store: Float,
        history: Float, outflow: Float,
    ) -> None:  # fmt: skip
        buffer, held = np.empty(longest - 1 + width), np.empty(width)
        for task in tasks:
            _route_task(
                given[0][member], no_discharge, rows[0], nobody, factor, start, min(start + block, n_steps),
                schedule.task_pointer[task], schedule.task_pointer[task + 1], schedule.group_pointer, slot, store,
                buffer, held, up[0], link_slot, up[2], placed_taps, placed_pointer, placed_pole, placed_gain,
                history, outflow, *modes, False, no_series, no_row, no_series, no_row,
            )  # fmt: skip

    def back(tasks: Iterable[int], member: int, start: int, store: Float, states: tuple[Float, ...]) -> None:
        lanes = np.empty((LANES, width))
        buffer, mu, held = np.empty(longest - 1 + width), np.empty(longest - 1 + width), np.empty(width)
        for task in tasks:
            _adjoint_task(
                given[0][member], given[1][member], grad_runoff[member], *rows, factor, start,
                min(start + block, n_steps), schedule.task_pointer[task], schedule.task_pointer[task + 1],
                schedule.group_pointer, store, lanes, buffer, mu, held, *up, *down,
                placed_taps, placed_pointer, placed_pole, placed_gain, *states, *modes, needs_runoff, needs_filter,
            )  # fmt: skip

    def one_member(member: int, sums: tuple[Float, ...], store: Float, split: _Split) -> None:
        state = _place_state(order, tap_pointer, history0[member], outflow0[member])
        grads = _place_state(order, tap_pointer, grad_state[0][member], grad_state[1][member])
        at_start = [state]
        if needs_filter and len(starts) > 1:
            small = _store(schedule, width)
            for start in starts[:-1]:
                state = state[0].copy(), state[1].copy()
                split(run, False, member, start, schedule.slot, schedule.link_slot, small, *state)
                at_start.append(state)
        for start in reversed(starts):
            state = at_start.pop() if needs_filter else state
            if needs_filter:
                split(run, False, member, start, own_row, up[1], store, state[0].copy(), state[1].copy())
            split(back, True, member, start, store, (*state, *grads, *sums))
        _restore_state(order, tap_pointer, placed_pointer, *grads, grad_state[0][member], grad_state[1][member])

    def new_sums() -> tuple[Float, ...]:
        return tuple(np.zeros_like(v) for v in (placed_taps, placed_pole, placed_gain))

    def new_store() -> Float:
        store = np.empty((n + LANES, width))
        store[n:] = 0.0  # stand in for reaches in groups of fewer than LANES
        return store

    def group(first: int) -> tuple[Float, ...]:
        sums, store = new_sums(), new_store()
        for member in range(first, n_batch, n_groups):
            one_member(member, sums, store, _one_after_another(n_tasks))
        return sums

    if side_by_side and threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            totals = list(pool.map(group, range(n_groups)))
    elif threads == 1:
        totals = [group(k) for k in range(n_groups)]
    else:
        store, totals = new_store(), []
        with ThreadPoolExecutor(threads) as pool:
            for first in range(n_groups):
                totals.append(new_sums())
                for member in range(first, n_batch, n_groups):
                    one_member(member, totals[-1], store, _on_threads(pool, n_tasks))
    for sums in totals:
        _add_filter(order, tap_pointer, placed_pointer, *sums, *grad_filter)
    return grad_runoff, *grad_filter, *grad_state


_Split = Callable[..., None]
"""``split(function, reverse, *arguments)``: run the tasks, the trunk last or, in reverse, first."""


def _one_after_another(n_tasks: int) -> _Split:
    def split(function: Callable[..., None], reverse: bool, *arguments: object) -> None:
        function(range(n_tasks - 1, -1, -1) if reverse else range(n_tasks), *arguments)

    return split


def _on_threads(pool: ThreadPoolExecutor, n_tasks: int) -> _Split:
    def split(function: Callable[..., None], reverse: bool, *arguments: object) -> None:
        if reverse:
            function((n_tasks - 1,), *arguments)
        for done in [pool.submit(function, (task,), *arguments) for task in range(n_tasks - 1)]:
            done.result()
        if not reverse:
            function((n_tasks - 1,), *arguments)

    return split


def _block_length(n: int, n_steps: int, substeps: int, mean_taps: float, stores: int) -> int:
    """Steps in a block: as many as fit the store, or where states would then outgrow it, enough to balance the two."""
    fits = STORE_BYTES // (8 * substeps * n * stores)
    balanced = isqrt(int(n_steps * mean_taps / substeps))
    return max(1, min(BLOCK // substeps, fits) if balanced <= fits else balanced)


@kernel
def _place_links(order, pointer, upstream_reach, weight):  # type: ignore[no-untyped-def]
    """Links by place, in the order of the walk: those that end in a place, and those that begin there."""
    n = order.size
    place = np.empty(n, np.int64)
    for k in range(n):
        place[order[k]] = k
    up_pointer, up_place, up_weight = np.zeros(n + 1, np.int64), np.empty_like(upstream_reach), np.empty_like(weight)
    down_pointer = np.zeros(n + 1, np.int64)
    link = 0
    for k in range(n):
        i = order[k]
        for j in range(pointer[i], pointer[i + 1]):
            up_place[link] = place[upstream_reach[j]]
            up_weight[link] = weight[j]
            down_pointer[up_place[link] + 1] += 1
            link += 1
        up_pointer[k + 1] = link
    for k in range(n):
        down_pointer[k + 1] += down_pointer[k]
    at = down_pointer[:-1].copy()
    down_place, down_weight = np.empty_like(up_place), np.empty_like(up_weight)
    for k in range(n):
        for j in range(up_pointer[k], up_pointer[k + 1]):
            u = up_place[j]
            down_place[at[u]] = k
            down_weight[at[u]] = up_weight[j]
            at[u] += 1
    return up_pointer, up_place, up_weight, down_pointer, down_place, down_weight


@kernel
def _add_filter(  # type: ignore[no-untyped-def]
    order, pointer, placed_pointer, placed_taps, placed_pole, placed_gain, taps, pole, gain
):  # fmt: skip
    for place in range(order.size):
        i = order[place]
        pole[i] += placed_pole[place]
        gain[i] += placed_gain[place]
        for k in range(pointer[i + 1] - pointer[i]):
            taps[pointer[i] + k] += placed_taps[placed_pointer[place] + k]


@kernel
def _adjoint_task(  # type: ignore[no-untyped-def]
    runoff, grad_discharge, grad_runoff, runoff_row, discharge_row, scale, start, stop, first_group, last_group,
    group_pointer, store, lanes, buffer, mu, held, up_pointer, up_place, up_weight, down_pointer, down_place,
    down_weight, taps, tap_pointer, pole, gain, history, outflow, grad_history, grad_outflow,
    grad_taps, grad_pole, grad_gain, substeps, sampling, lateral, needs_runoff, needs_filter,
):  # fmt: skip
    n = stop - start
    fine = n * substeps
    p = np.zeros(LANES)
    before = np.zeros(LANES)  # what the state takes of a mean over the substeps' starts
    for g in range(last_group - 1, first_group - 1, -1):
        begin, end = group_pointer[g], group_pointer[g + 1]
        if g > first_group:
            for i in range(group_pointer[g - 1], begin):
                _prefetch_row(grad_discharge, discharge_row[i], start, stop)
                if needs_filter:
                    _prefetch_row(runoff, runoff_row[i], start, stop)
        any_pole = False
        for i in range(begin, end):
            lane = lanes[i - begin]
            _begin_lane(lane, grad_discharge, discharge_row[i], held, start, n, substeps, sampling, lateral == OUTLET)
            before[i - begin] = 0.0
            if sampling != MEAN and sampling != LAST:
                before[i - begin] = held[0] / substeps
            for j in range(down_pointer[i], down_pointer[i + 1]):
                _join(lane, fine, store[down_place[j]], down_weight[j])
            if lateral == OUTLET:
                if needs_runoff and runoff_row[i] >= 0:
                    factor = scale[i] if scale.size > 1 else scale[0]
                    _write_runoff(grad_runoff, runoff_row[i], start, lane, held, n, substeps, 1.0, factor)
                _spread(lane, held, n, substeps, sampling)
            lane[fine - 1] += grad_outflow[i]
            p[i - begin] = pole[i]
            any_pole = any_pole or pole[i] != 0.0
        if any_pole:
            if end - begin > 2:
                for lane in range(end - begin, LANES):
                    p[lane] = 0.0
                    lanes[lane, :fine] = 0.0
                _recur_back(lanes, p, fine)
            else:
                for i in range(begin, end):
                    _recur_back_one(lanes[i - begin], pole[i], fine)
        for i in range(begin, end):
            lane = lanes[i - begin]
            grad_outflow[i] = fma(pole[i], lane[0], before[i - begin])
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
                        _read_and_join(inflow, runoff, runoff_row[i], factor, start, n, source, up_weight[first_link])
                        first_link += 1
                    else:
                        _read_runoff(inflow, runoff, runoff_row[i], factor, start, n, False)
                else:
                    _read_runoff(held, runoff, runoff_row[i], factor, start, n, False)
                    _begin_inflow(inflow, held, n, substeps, lateral)
                for j in range(first_link, last_link):
                    _join(inflow, fine, store[up_place[j]], up_weight[j])
                if lateral == OUTLET:
                    _add_held(store, i, held, n, substeps, -1.0)  # q becomes y
                grad_pole[i] += fma(lane[0], outflow[i], _dot(lane[1:fine], y, fine - 1))
                for k in range(n_taps):
                    grad_taps[first_tap + k] += _dot(lane, buffer[n_taps - 1 - k : n_taps - 1 - k + fine], fine)
                if lateral == INTERVAL:
                    grad_gain[i] += _held_dot(lane, held, n, substeps)
            if needs_runoff and lateral == INTERVAL and runoff_row[i] >= 0:
                _write_runoff(grad_runoff, runoff_row[i], start, lane, held, n, substeps, 0.0, gain[i] * factor)
            _correlate(y, mu, lane, fine, taps, first_tap, n_taps, grad_history, first_tap - i)
            if needs_runoff and lateral == HEAD and runoff_row[i] >= 0:
                _write_runoff(grad_runoff, runoff_row[i], start, y, held, n, substeps, 0.0, factor)


@kernel(forceinline=True)
def _begin_lane(  # type: ignore[no-untyped-def]
    lane, grad_discharge, row, held, start, n, substeps, sampling, later
):  # fmt: skip
    """Gradient of the discharge into ``held`` and, unless that comes ``later``, spread over the routing steps."""
    if row >= 0:
        source = grad_discharge[row, start : start + n]
        if substeps == 1 and (sampling == MEAN or sampling == LAST) and not later:
            for t in range(n):
                lane[t] = np.float64(source[t])
            return
        for t in range(n):
            held[t] = np.float64(source[t])
    else:
        for t in range(n):
            held[t] = 0.0
    for f in range(n * substeps):
        lane[f] = 0.0
    if not later:
        _spread(lane, held, n, substeps, sampling)


@kernel(forceinline=True)
def _spread(lane, held, n, substeps, sampling):  # type: ignore[no-untyped-def]
    for t in range(n):
        at = t * substeps
        if sampling == LAST:
            lane[at + substeps - 1] += held[t]
        else:
            value = held[t] / substeps
            if sampling == MEAN:
                for s in range(substeps):
                    lane[at + s] += value
            else:
                if t > 0:
                    lane[at - 1] += value
                for s in range(substeps - 1):
                    lane[at + s] += value


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
def _recur_back_one(lane, p, fine):  # type: ignore[no-untyped-def]
    value = 0.0
    for f in range(fine - 1, -1, -1):
        value = fma(p, value, lane[f])
        lane[f] = value


@kernel(forceinline=True)
def _recur_back(lanes, p, fine):  # type: ignore[no-untyped-def]
    """`_recur_back_one` for eight lanes; each value comes of the same operations as there."""
    r0, r1, r2, r3, r4, r5, r6, r7 = (
        lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6], lanes[7],
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
def _correlate(y, mu, lane, fine, taps, first, k, grad_history, lags):  # type: ignore[no-untyped-def]
    """Adjoint of the inflow into ``y``; ``grad_history`` from the block's end to its start."""
    if k == 1:
        c0 = taps[first]
        for f in range(fine):
            y[f] = c0 * lane[f]
        return
    if k == 2:
        c0, c1 = taps[first], taps[first + 1]
        for f in range(fine - 1):
            y[f] = fma(c0, lane[f], c1 * lane[f + 1])
        y[fine - 1] = fma(c0, lane[fine - 1], grad_history[lags])
        grad_history[lags] = c1 * lane[0]
        return
    for f in range(k - 1 + fine):
        mu[f] = 0.0
    for lag in range(k - 1):
        mu[k - 2 + fine - lag] = grad_history[lags + lag]
    for j in range(k):
        c = taps[first + j]
        if c != 0.0:  # a long pure lag has two taps that count
            _join(mu[k - 1 - j : k - 1 - j + fine], fine, lane, c)
    for lag in range(k - 1):
        grad_history[lags + lag] = mu[k - 2 - lag]
    for f in range(fine):
        y[f] = mu[k - 1 + f]


@kernel(forceinline=True)
def _held_dot(lane, held, n, substeps):  # type: ignore[no-untyped-def]
    total = 0.0
    for t in range(n):
        value = 0.0
        for s in range(substeps):
            value += lane[t * substeps + s]
        total = fma(held[t], value, total)
    return total


@kernel(fastmath={"reassoc", "contract"})
def _dot(a, b, n):  # type: ignore[no-untyped-def]
    """Sum of products; the compiler chooses an order that suits the machine, and keeps to it."""
    total = 0.0
    for f in range(n):
        total += a[f] * b[f]
    return total
