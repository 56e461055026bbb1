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
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import FilterArrays, Gradients, Known, Needs, Rows, State
from xroute.engine.cpu.adjoint_kernels import add_filter, adjoint_task
from xroute.engine.cpu.forward import NO_HILLSLOPES
from xroute.engine.cpu.kernels import place_state, restore_state, route_task
from xroute.engine.cpu.walk import (
    BLOCK,
    modes,
    on_threads,
    place_filter,
    place_known,
    place_rows,
    read_only,
    working_store,
)
from xroute.engine.plan import RoutingPlan
from xroute.engine.schedule import ABREAST, Schedule, csr
from xroute.options import n_threads
from xroute.settings import RoutingSettings

__all__ = ["STORE_BYTES", "adjoint_cpu"]

STORE_BYTES = 2**30
"""Room for the series of all reaches in a block of time, over all threads."""
MEMBER_GROUPS = 8
"""Groups of members whose gradients of the filter are summed apart, then together: not a matter of threads."""

Float = NDArray[np.float64]
Index = NDArray[np.int64]


def adjoint_cpu(
    grad_discharge: NDArray[np.floating],
    grad_state: State,
    runoff: NDArray[np.floating],
    plan: RoutingPlan,
    filter: FilterArrays,
    state: State,
    settings: RoutingSettings = RoutingSettings(),
    *,
    rows: Rows = Rows(),
    known: Known | None = None,
    needs: Needs = Needs(),
    block: int | None = None,
) -> Gradients:
    """Gradients of a loss with respect to all that `xroute.engine.cpu.forward.route_cpu` takes.

    ``grad_discharge`` [batch, row, time] is of the type of runoff, and ``grad_state`` is with respect to the final state; what
    is not needed comes back as zeros, as does the gradient of runoff in rows that no reach reads. No two reaches may share a
    row of runoff. The gradient of discharge that is ``known`` is put where that says. ``block`` is the steps of runoff in
    a block of time; chosen by memory when None.
    """
    n_batch, _, n_steps = runoff.shape
    grad_runoff = np.zeros(runoff.shape, runoff.dtype)
    grad_filter = np.zeros(filter.taps.shape), np.zeros(filter.pole.shape), np.zeros(filter.gain.shape)
    grad_start = State(*(np.array(grad, np.float64, order="C") for grad in grad_state))
    order = plan.schedule.order
    known_values, known_row = place_known(order, known, n_batch)
    grad_known = np.zeros(known_values.shape)
    if not n_batch or not n_steps or not plan.n_reaches:
        return Gradients(grad_runoff, *grad_filter, grad_start)
    threads = max(1, min(n_threads(), n_batch * (plan.schedule.n_tasks - 1)))
    n_groups = min(n_batch, MEMBER_GROUPS, max(1, STORE_BYTES // (64 * filter.taps.size)))
    side_by_side = n_groups >= threads
    if block is None:
        stores, mean_taps = threads if side_by_side else 1, filter.taps.size / plan.n_reaches
        block = _block_length(plan.n_reaches, n_steps, settings.substeps, mean_taps, stores)
    walk = _Walk(
        read_only(runoff), read_only(grad_discharge), grad_runoff, plan.schedule,
        _place_links(plan),
        place_filter(order, filter), place_rows(order, rows), filter.pointer, state, grad_start, settings, needs,
        min(block, n_steps), int(np.diff(filter.pointer).max()), np.arange(order.size), np.full(order.size, -1),
        known_values, known_row, grad_known,
    )  # fmt: skip
    for sums in walk.gradients(n_groups, threads, side_by_side):
        add_filter(order, filter.pointer, walk.filter.pointer, *sums, *grad_filter)
    if known is not None and known.grad is not None:  # one member may serve all
        known.grad[:] = grad_known.sum(axis=0, keepdims=True) if known.grad.shape[0] < n_batch else grad_known
    return Gradients(grad_runoff, *grad_filter, grad_start)


@dataclass(frozen=True)
class _Walk:
    """A run and its adjoint, which threads share: everything of a reach stands in the order of the walk."""

    runoff: NDArray[np.floating]
    grad_discharge: NDArray[np.floating]
    grad_runoff: NDArray[np.floating]
    schedule: Schedule
    links: tuple[Index, Index, Float, Index, Index, Float]  # that end in a place, and that begin there
    filter: FilterArrays
    rows: tuple[Index, Index, Float]
    pointer: Index  # of the filter as it is given
    state: State  # at the start, as it is given
    grad_state: State  # of the end, and then of the start, as it is given
    settings: RoutingSettings
    needs: Needs
    block: int  # steps of runoff in a block of time
    longest: int  # taps of the longest window
    places: Index  # all of them: rows of a store that keeps every series
    nowhere: Index  # no row at all: nobody asks for discharge
    known: Float  # series of each member, and the row among them of each place
    known_row: Index
    grad_known: Float

    @property
    def width(self) -> int:
        """Routing steps in a block of time."""
        return self.block * self.settings.substeps

    def gradients(self, n_groups: int, threads: int, side_by_side: bool) -> list[tuple[Float, ...]]:
        """Gradients of the filter, of each group of members: side by side, or one after another, their tributaries so."""

        def group(first: int, store: Float, pool: ThreadPoolExecutor | None) -> tuple[Float, ...]:
            sums = self._sums()
            for member in range(first, self.runoff.shape[0], n_groups):
                self._member(member, sums, store, pool)
            return sums

        if side_by_side:
            return on_threads(lambda first: group(first, self._store(), None), range(n_groups), threads)
        store = self._store()
        with ThreadPoolExecutor(threads) as pool:
            return [group(first, store, pool) for first in range(n_groups)]

    def _sums(self) -> tuple[Float, ...]:
        return tuple(np.zeros_like(v) for v in (self.filter.taps, self.filter.pole, self.filter.gain))

    def _new_routed(self) -> Float:
        """Room for what is filtered on reaches whose discharge is known."""
        return np.empty((self.known.shape[1], self.width))

    def _store(self) -> Float:
        n = self.schedule.order.size
        store = np.empty((n + ABREAST, self.width))
        store[n:] = 0.0  # stand in for reaches in groups of fewer than ABREAST
        return store

    def _member(self, member: int, sums: tuple[Float, ...], store: Float, pool: ThreadPoolExecutor | None) -> None:
        """All blocks of time of a member, last to first, each from the state that a forward run finds at its start."""
        schedule, grads = self.schedule, State(self.grad_state.history[member], self.grad_state.outflow[member])
        state = State(*place_state(schedule.order, self.pointer, self.state.history[member], self.state.outflow[member]))
        placed_grads = State(*place_state(schedule.order, self.pointer, *grads))
        starts = range(0, self.runoff.shape[2], self.block)
        at_start = [state]
        nothing = np.zeros((0, 0))
        if self.needs.filter and len(starts) > 1:
            small = working_store(schedule.n_slots, self.width)
            for start in starts[:-1]:
                state = State(state.history.copy(), state.outflow.copy())
                self._tasks(pool, self._forward, member, start, schedule.slot, schedule.link_slot, small, state, nothing)
                at_start.append(state)
        routed = self._new_routed()
        for start in reversed(starts):
            if self.needs.filter:
                state = at_start.pop()
                again = State(state.history.copy(), state.outflow.copy())
                self._tasks(pool, self._forward, member, start, self.places, self.links[1], store, again, routed)
            self._tasks(pool, self._back, member, start, store, routed, (*state, *placed_grads, *sums))
        restore_state(schedule.order, self.pointer, self.filter.pointer, *placed_grads, *grads)

    def _tasks(self, pool: ThreadPoolExecutor | None, function: Callable[..., None], *arguments: object) -> None:
        """Run all tasks: forward the trunk last, and back first; the others on the pool, if there is one."""
        trunk, back = self.schedule.n_tasks - 1, function == self._back
        if pool is None:
            function(range(trunk, -1, -1) if back else range(trunk + 1), *arguments)
            return
        if back:
            function((trunk,), *arguments)
        for done in [pool.submit(function, (task,), *arguments) for task in range(trunk)]:
            done.result()
        if not back:
            function((trunk,), *arguments)

    def _forward(
        self, tasks: Iterable[int], member: int, start: int, slot: Index, link_slot: Index, store: Float, state: State,
        routed: Float,
    ) -> None:  # fmt: skip
        """Series of a block of time into the store, and the state to the block's end; nobody asks for discharge."""
        schedule, stop = self.schedule, min(start + self.block, self.runoff.shape[2])
        buffer, held = np.empty(self.longest - 1 + self.width), np.empty(self.width)
        no_discharge, no_series, no_row = np.empty((1, 1), self.runoff.dtype), np.zeros((0, 0)), np.zeros(0, np.int64)
        for task in tasks:
            route_task(
                self.runoff[member], no_discharge, self.rows[0], self.nowhere, self.rows[2], start, stop,
                schedule.task_pointer[task], schedule.task_pointer[task + 1], schedule.group_pointer, slot, store,
                buffer, held, self.links[0], link_slot, self.links[2], *self.filter, *state, *modes(self.settings), False,
                no_series, no_row, no_series, no_row, self.known[member], self.known_row, routed, *NO_HILLSLOPES,
            )  # fmt: skip

    def _back(
        self, tasks: Iterable[int], member: int, start: int, store: Float, routed: Float, states: tuple[Float, ...]
    ) -> None:
        """The adjoint of a block of time whose series stand in the store."""
        schedule, stop = self.schedule, min(start + self.block, self.runoff.shape[2])
        lams, held = np.empty((ABREAST, self.width)), np.empty(self.width)
        buffer, mu = np.empty(self.longest - 1 + self.width), np.empty(self.longest - 1 + self.width)
        for task in tasks:
            adjoint_task(
                self.runoff[member], self.grad_discharge[member], self.grad_runoff[member], *self.rows, start, stop,
                schedule.task_pointer[task], schedule.task_pointer[task + 1], schedule.group_pointer, store, lams,
                buffer, mu, held, *self.links, *self.filter, *states, *modes(self.settings), *self.needs,
                self.known[member], self.known_row, routed, self.grad_known[member],
            )  # fmt: skip


def _place_links(plan: RoutingPlan) -> tuple[Index, Index, Float, Index, Index, Float]:
    """Links by place, in the order of the walk: those that end in a place, and those that begin there."""
    pointer, upstream, weight, _ = plan.along(plan.schedule.order)
    down_pointer, link = csr(upstream, plan.n_reaches)
    downstream = np.repeat(np.arange(plan.n_reaches), np.diff(pointer))
    return pointer, upstream, weight, down_pointer, downstream[link], weight[link]


def _block_length(n: int, n_steps: int, substeps: int, mean_taps: float, stores: int) -> int:
    """Steps in a block: as many as fit the store, or where states would then outgrow it, enough to balance the two."""
    fits = STORE_BYTES // (8 * substeps * n * stores)
    balanced = isqrt(int(n_steps * mean_taps / substeps))
    return max(1, min(BLOCK // substeps, fits) if balanced <= fits else balanced)
