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

Nothing of the forward run is kept, and a store of all series would be many times what routing moves. So each task of the
`Schedule` is cut into chunks of places whose series stay in cache. One more forward run finds the state at the start of each
block, and keeps the series that pass from chunk to chunk. The walk back then routes a chunk again, into a store with a row for
each of its places, and puts :math:`\mu` where :math:`q` stood, which nobody needs any more. What fits into cache as a whole is
kept as a whole, and routed once.

Each sum over time is of eight partial sums, of every eighth routing step, and sums over members are of fixed groups of members,
so gradients are the same, bit for bit, on any number of threads and however wide a machine's registers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import FilterArrays, Gradients, Known, Needs, Rows, State
from xroute.engine.cpu.adjoint_kernels import add_filter, adjoint_task, cut_tasks, route_again
from xroute.engine.cpu.forward import NO_HILLSLOPES
from xroute.engine.cpu.kernels import place_state, restore_state
from xroute.engine.cpu.threads import on_threads
from xroute.engine.cpu.vectors import LANES
from xroute.engine.cpu.walk import BLOCK, modes, place_filter, place_known, place_rows, read_only
from xroute.engine.plan import RoutingPlan
from xroute.engine.schedule import ABREAST, Schedule
from xroute.options import n_threads
from xroute.settings import RoutingSettings

__all__ = ["adjoint_cpu"]

CHUNK_BYTES = 2**20
"""Room for the series of a chunk in a block of time."""
WHOLE_BYTES = 2**24
"""Series of all places, in all blocks of time, that take no more are kept."""
KEPT_BYTES = 2**30
"""Room for the series that pass between chunks, in all blocks of time: if they need more, those of one block are kept."""
KEPT_SHARE = 0.25
"""As much room as this share of the runoff, if that is more."""
SUMS_BYTES = 2**30
"""Room for the gradients of the filter, of all groups of members."""
MEMBER_GROUPS = 8
"""Groups of members whose gradients of the filter are summed apart, then together: not a matter of threads."""

Float = NDArray[np.float64]
Index = NDArray[np.int64]


def adjoint_cpu(
    grad_discharge: NDArray[np.floating],
    grad_state: State | None,
    runoff: NDArray[np.floating],
    plan: RoutingPlan,
    filter: FilterArrays,
    state: State | None,
    settings: RoutingSettings = RoutingSettings(),
    *,
    rows: Rows = Rows(),
    known: Known | None = None,
    needs: Needs = Needs(),
    block: int | None = None,
) -> Gradients:
    """Gradients of a loss with respect to all that `xroute.engine.cpu.forward.route_cpu` takes.

    ``grad_discharge`` [batch, row, time] is of the type of runoff, and ``grad_state`` is with respect to the final state, which
    nobody looked at if it is None; what is not needed comes back as zeros, as does the gradient of runoff in rows that no reach
    reads. No two reaches may share a row of runoff. A state at the start that is None is dry, and has no gradient. The gradient
    of discharge that is ``known`` is put where that says. ``block`` is the steps of runoff in a block of time, chosen when None.
    """
    n_batch, _, n_steps = runoff.shape
    # rows of runoff that no reach reads have no gradient
    grad_runoff = (np.empty if needs.runoff and rows.runoff is None and plan.n_reaches else np.zeros)(runoff.shape, runoff.dtype)
    grad_filter = np.zeros(filter.taps.shape), np.zeros(filter.pole.shape), np.zeros(filter.gain.shape)
    n_lags = filter.taps.size - plan.n_reaches
    grad_start = None if state is None else State(np.zeros((n_batch, n_lags)), np.zeros((n_batch, plan.n_reaches)))
    if grad_start is not None and grad_state is not None and not n_steps:
        grad_start = State(*(np.array(grad, np.float64) for grad in grad_state))
    order = plan.schedule.order
    known_values, known_row = place_known(order, known, n_batch)
    grad_known = np.zeros(known_values.shape)
    if not n_batch or not n_steps or not plan.n_reaches:
        return Gradients(grad_runoff, *grad_filter, grad_start)
    threads = max(1, min(n_threads(), n_batch * (plan.schedule.n_tasks - 1)))
    n_groups = min(n_batch, MEMBER_GROUPS, max(1, SUMS_BYTES // (64 * filter.taps.size)))
    if block is None:
        block = _block_length(settings.substeps, filter.taps.size / plan.n_reaches)
    walk = _Walk(
        read_only(runoff), read_only(grad_discharge), grad_runoff, plan.schedule, plan.place_links,
        place_filter(order, filter), place_rows(order, rows), filter.pointer, state, grad_state, grad_start, settings, needs,
        min(block, n_steps), int(np.diff(filter.pointer).max()), np.full(order.size, -1), known_values, known_row, grad_known,
    )  # fmt: skip
    for sums in walk.gradients(n_groups, threads):
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
    state: State | None  # at the start, as it is given
    grad_state: State | None  # of the end, as it is given
    grad_start: State | None  # of the start, in the order of the reaches
    settings: RoutingSettings
    needs: Needs
    block: int  # steps of runoff in a block of time
    longest: int  # taps of the longest window
    nowhere: Index  # no row at all: nobody asks for discharge
    known: Float  # series of each member, and the row among them of each place
    known_row: Index
    grad_known: Float

    @property
    def width(self) -> int:
        """Routing steps in a block of time."""
        return self.block * self.settings.substeps

    @property
    def starts(self) -> range:
        """First steps of the blocks of time."""
        return range(0, self.runoff.shape[2], self.block)

    def gradients(self, n_groups: int, threads: int) -> list[tuple[Float, ...]]:
        """Gradients of the filter, of each group of members: side by side, or one after another, their tributaries so."""
        side_by_side = n_groups >= threads
        layout = self._layout(1 if side_by_side else threads)

        def group(first: int, store: Float) -> tuple[Float, ...]:
            sums = tuple(np.zeros_like(v) for v in (self.filter.taps, self.filter.pole, self.filter.gain))
            for member in range(first, self.runoff.shape[0], n_groups):
                self._member(member, layout, sums, store)
            return sums

        if side_by_side:
            return on_threads(lambda first: group(first, self._store(layout)), range(n_groups), threads)
        store = self._store(layout)
        return [group(first, store) for first in range(n_groups)]

    def _layout(self, n_areas: int) -> _Layout:
        """How the tasks are cut, so many of which run at a time, and what the store has room for."""
        schedule, n, n_blocks = self.schedule, self.schedule.order.size, len(self.starts)
        up_pointer, up_place, _, _, down_place, _ = self.links
        whole = 8 * n * n_blocks * self.width <= WHOLE_BYTES
        if whole:
            chunks, row, n_rows, n_kept = (schedule.task_pointer, np.arange(schedule.n_tasks + 1)), np.arange(n), n, n
        else:
            most = max(4 * ABREAST, CHUNK_BYTES // (8 * self.width))
            *chunks, row, n_rows, n_kept = cut_tasks(
                schedule.task_pointer, schedule.group_pointer, up_pointer, up_place, most, n_areas
            )
        room = max(KEPT_BYTES, KEPT_SHARE * self.runoff.nbytes)
        shift = n_kept if self.needs.filter and 8 * n_kept * n_blocks * self.width <= room else 0
        return _Layout(*chunks, row, row[up_place], row[down_place], n_rows, n_areas, shift, whole)

    def _store(self, layout: _Layout) -> Float:
        """Room for all blocks; the rows of each begin ``layout.shift`` after those of the one before."""
        n_rows = (len(self.starts) - 1) * layout.shift + layout.n_rows + ABREAST
        return np.empty((n_rows, self._stride))

    @property
    def _stride(self) -> int:
        """Length of a row: whole vectors, and so whole cache lines."""
        return -(-self.width // LANES) * LANES

    def _member(self, member: int, layout: _Layout, sums: tuple[Float, ...], store: Float) -> None:
        """All blocks of time of a member, last to first, each from the state that a forward run finds at its start."""
        running, grads = self._placed(self.state, member), self._placed(self.grad_state, member)
        blocks = []
        for k, start in enumerate(self.starts):
            rows = store[k * layout.shift :][: layout.n_rows + ABREAST]
            routed = np.empty((self.known.shape[1], self.width))
            at_start = State(np.empty_like(running.history), np.empty_like(running.outflow))
            blocks.append(_Block(start, min(start + self.block, self.runoff.shape[2]), rows, routed, at_start))
        if self.needs.filter:
            for block in blocks:
                block.state.history[:], block.state.outflow[:] = running
                self._tasks(self._forward, member, layout, block, running)
        for k, block in reversed(list(enumerate(blocks))):
            if self.needs.filter and not layout.shift and k + 1 < len(blocks):  # what passes between chunks was not kept
                running.history[:], running.outflow[:] = block.state
                self._tasks(self._forward, member, layout, block, running)
            self._tasks(self._back, member, layout, block, running, (*grads, *sums))
        if self.grad_start is not None:
            of_start = self.grad_start.history[member], self.grad_start.outflow[member]
            restore_state(self.schedule.order, self.pointer, self.filter.pointer, *grads, *of_start)

    def _placed(self, state: State | None, member: int) -> State:
        """A member's state, or the gradient of one, in the order of the walk: zeros if there is none."""
        n = self.schedule.order.size
        if state is None:
            return State(np.zeros(self.filter.taps.size - n), np.zeros(n))
        return State(*place_state(self.schedule.order, self.pointer, state.history[member], state.outflow[member]))

    def _tasks(self, function: Callable[..., None], member: int, layout: _Layout, *arguments: object) -> None:
        """Run all tasks: forward the trunk last, and back first; the others on a thread for each area of the store."""
        trunk, back = self.schedule.n_tasks - 1, function == self._back

        def run(tasks: Iterable[int]) -> None:
            function(tasks, member, layout, *arguments)

        if layout.n_areas == 1:
            return run(range(trunk, -1, -1) if back else range(trunk + 1))
        if back:
            run((trunk,))
        on_threads(run, [range(area, trunk, layout.n_areas) for area in range(layout.n_areas)], layout.n_areas)
        if not back:
            run((trunk,))
        return None

    def _forward(self, tasks: Iterable[int], member: int, layout: _Layout, block: _Block, state: State) -> None:
        """Series of a block of time into the store, and the state to the block's end; nobody asks for discharge."""
        lams, buffers, _, held = self._buffers()
        no_discharge, nowhere, no_series, no_row = self._nothing()
        for task in tasks:
            route_again(
                self.runoff[member], no_discharge, self.rows[0], nowhere, self.rows[2], block.start, block.stop,
                *self.schedule.task_pointer[task : task + 2], self.schedule.group_pointer, layout.row, block.store, lams,
                buffers, held, self.links[0], layout.up_row, self.links[2], *self.filter, *state, *modes(self.settings),
                no_series, no_row, self.known[member], self.known_row, block.routed, *NO_HILLSLOPES,
            )  # fmt: skip

    def _back(
        self, tasks: Iterable[int], member: int, layout: _Layout, block: _Block, running: State, grads: tuple[Float, ...]
    ) -> None:
        """The adjoint of a block of time, chunk by chunk."""
        lams, buffers, mu, held = self._buffers()
        up_pointer, _, up_weight, down_pointer, _, down_weight = self.links
        again = self.needs.filter and not layout.whole
        for task in tasks:
            adjoint_task(
                layout.chunk_pointer, *layout.task_chunk[task : task + 2], again, *running, *self._nothing(), *NO_HILLSLOPES,
                self.runoff[member], self.grad_discharge[member], self.grad_runoff[member], *self.rows, block.start,
                block.stop, self.schedule.group_pointer, layout.row, block.store, lams, buffers, mu, held, up_pointer,
                layout.up_row, up_weight, down_pointer, layout.down_row, down_weight, *self.filter, *block.state, *grads,
                *modes(self.settings), *self.needs, self.known[member], self.known_row, block.routed, self.grad_known[member],
            )  # fmt: skip

    def _nothing(self) -> tuple[NDArray[np.floating], Index, Float, Index]:
        """What the forward run is given, since nobody asks for discharge, and no series are exchanged."""
        return np.empty((1, 1), self.runoff.dtype), self.nowhere, np.zeros((0, 0)), np.zeros(0, np.int64)

    def _buffers(self) -> tuple[Float, Float, Float, Float]:
        """Room for a group's lam, for the inflow of a reach and what came before it, for its mu, and for its runoff."""
        longest = self.longest - 1 + self.width
        lams = np.zeros((ABREAST, self._stride + LANES))  # whatever is behind the block stays zero
        return lams, np.empty((1, longest + LANES)), np.empty(longest), np.empty(self.width)


class _Layout(NamedTuple):
    """How the tasks of a walk are cut into chunks of groups, and where in the store the series of each place stand."""

    chunk_pointer: Index  # groups at which chunks begin
    task_chunk: Index  # chunks at which tasks begin
    row: Index  # of each place
    up_row: Index  # of the place at the upper end of each link that ends in a place
    down_row: Index  # of the place at the lower end of each link that begins there
    n_rows: int
    n_areas: int  # tasks whose numbers leave the same rest in a division by it use the same rows
    shift: int  # rows that are kept of each block of time; 0 where those of one block alone are kept
    whole: bool  # are all series kept?


class _Block(NamedTuple):
    """A block of time: its steps of runoff, its rows of the store, and the state at its start."""

    start: int
    stop: int
    store: Float
    routed: Float  # what is filtered on reaches whose discharge is known
    state: State


def _block_length(substeps: int, mean_taps: float) -> int:
    """Steps in a block: enough that the states at the blocks' starts are few beside the runoff."""
    return max(1, BLOCK // substeps, int(4 * mean_taps) // substeps)
