"""The forward run on the CPU: the walk over a `Schedule` in blocks of time, on threads.

Series lie in rows of a working store in float64, whatever the type of runoff and discharge, for one block of time: each
value depends on the same operations in the same order however time, batch or network are cut, so results are identical
bit for bit. Rows are used again as soon as they have been read, so the store stays in cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import Exchange, FilterArrays, Hillslopes, NotFinite, Rows, State
from xroute.engine.cpu.kernels import restore_state, route_task
from xroute.engine.cpu.threads import on_threads
from xroute.engine.cpu.walk import (
    BLOCK,
    modes,
    numbered,
    place_filter,
    place_known,
    place_rows,
    place_states,
    read_only,
    working_store,
)
from xroute.engine.plan import RoutingPlan
from xroute.engine.schedule import ABREAST, Schedule
from xroute.options import n_threads
from xroute.settings import RoutingSettings

__all__ = ["NO_HILLSLOPES", "route_cpu"]

WORTH = 2**18
"""Reaches times routing steps, of a block of time, that are worth a thread: less is done before another has begun."""

Float = NDArray[np.float64]
Index = NDArray[np.int64]

NO_HILLSLOPES: tuple[Any, ...] = (
    read_only(np.empty(0, np.int64)), read_only(np.empty(0)), read_only(np.empty(0, np.int64)),
    np.empty(0), np.empty(0), np.empty(0), np.empty((0, 0)),
)  # fmt: skip
"""What kernels are given of hillslopes where there are none (see `_Walk._slopes`): no time is spent on them."""


def route_cpu(
    runoff: NDArray[np.floating],
    discharge: NDArray[np.floating],
    plan: RoutingPlan,
    filter: FilterArrays,
    state: State,
    settings: RoutingSettings = RoutingSettings(),
    *,
    rows: Rows = Rows(),
    exchange: Exchange = Exchange(),
    hillslopes: Hillslopes | None = None,
    dry: bool = False,
) -> NotFinite:
    """Route ``runoff`` into ``discharge`` [batch, row, time], and ``state`` to the end of the series, in place.

    So is the state of ``hillslopes``, which runoff goes through first: there is one, and their filter is `FilterArrays`.

    Series of reach ``i`` are ``runoff[:, rows.runoff[i]]`` times ``rows.scale[i]`` and ``discharge[:, rows.discharge[i]]``; how
    many rows discharge has, it tells itself. A state that is ``dry`` is zero at the start, and need not be read.
    """
    n_batch, _, n_steps = runoff.shape
    if not n_batch or not n_steps or not plan.n_reaches:
        return NotFinite(0, 0)
    order = plan.schedule.order
    placed = place_filter(order, filter)
    states = place_states(order, filter.pointer, state, dry)
    walk = _Walk(
        read_only(runoff), discharge, plan.schedule, placed, states, place_rows(order, rows),
        _place_exchange(plan, order, exchange, n_batch), settings, min(max(1, BLOCK // settings.substeps), n_steps),
        int(np.diff(filter.pointer).max()), hillslopes,
    )  # fmt: skip
    work = plan.n_reaches * n_batch * min(n_steps * settings.substeps, BLOCK)
    threads = max(1, min(n_threads(), n_batch * (plan.schedule.n_tasks - 1), work // WORTH))
    bad = walk.by_member(threads) if n_batch >= threads else walk.by_task(threads)
    for b, (lags, last) in enumerate(states):
        restore_state(order, filter.pointer, placed.pointer, lags, last, state.history[b], state.outflow[b])
    return bad


@dataclass(frozen=True)
class _Walk:
    """A run that threads share: everything of a reach stands in the order of the walk."""

    runoff: NDArray[np.floating]
    discharge: NDArray[np.floating]
    schedule: Schedule
    filter: FilterArrays
    states: list[State]
    rows: tuple[Index, Index, Float]
    exchange: tuple[Any, Index, Any, Index, Any, Index]
    settings: RoutingSettings
    block: int  # steps of runoff in a block of time
    longest: int  # taps of the longest window
    hillslopes: Hillslopes | None  # in the order of the reaches

    def by_member(self, threads: int) -> NotFinite:
        """Whole members side by side: nobody waits."""

        def members(first: int) -> NotFinite:
            store = self._store()
            mine = range(first, self.runoff.shape[0], threads)
            return _total(self._route(b, 0, self.schedule.n_tasks, start, store) for b in mine for start in self._starts())

        return _total(on_threads(members, range(threads), threads))

    def by_task(self, threads: int) -> NotFinite:
        """One member after another: all tributaries side by side, and then the trunk."""
        store, bad, trunk = self._store(), [], self.schedule.n_tasks - 1
        for member in range(self.runoff.shape[0]):
            for start in self._starts():
                tributary = partial(self._task, member, start, store)
                bad += on_threads(tributary, range(trunk), threads)
                bad.append(tributary(trunk))
        return _total(bad)

    def _starts(self) -> range:
        return range(0, self.runoff.shape[2], self.block)

    @property
    def _width(self) -> int:
        """Routing steps in a block of time."""
        return self.block * self.settings.substeps

    def _store(self) -> Float:
        return working_store(self.schedule.n_slots, self._width)

    def _slopes(self, member: int) -> tuple[Any, ...]:
        """What kernels are given of the hillslopes: their filter, a member's state, and room for its past runoff."""
        if self.hillslopes is None:
            return NO_HILLSLOPES
        (taps, pointer, _, _), state = self.hillslopes
        assert state is not None
        buffer, held = np.empty(int(np.diff(pointer).max()) + self.block), np.empty((ABREAST, self.block))
        return (
            read_only(self.schedule.order), read_only(taps), read_only(pointer), state.history[member], state.outflow[member],
            buffer, held,
        )  # fmt: skip

    def _task(self, member: int, start: int, store: Float, task: int) -> NotFinite:
        return self._route(member, task, task + 1, start, store)

    def _route(self, member: int, first: int, last: int, start: int, store: Float) -> NotFinite:
        """Route the tasks ``first`` to ``last`` over a block of time."""
        schedule = self.schedule
        # a reach's past inflow, then the block's, which for the longest window begins at a cache line, as rows of the store do
        buffer = np.empty(self.longest + 7 + self._width)
        buffer = buffer[(-(buffer.ctypes.data // 8) - (self.longest - 1)) % 8 :]
        held = np.empty(self.block)  # runoff of one reach, held through the substeps of each step
        stop = min(start + self.block, self.runoff.shape[2])
        taps, pointer, pole, gain = self.filter
        given, given_row, kept, kept_row, known, known_row = self.exchange
        no_series = np.zeros((0, 0))
        slopes = self._slopes(member)
        return NotFinite(*route_task(
            self.runoff[member], self.discharge[member], *self.rows, start, stop,
            schedule.task_pointer[first], schedule.task_pointer[last],
            schedule.group_pointer, schedule.slot, store, buffer, held,
            schedule.link_pointer, schedule.link_slot, schedule.link_weight,
            taps, pointer, pole, gain, *self.states[member], *modes(self.settings), self.settings.nan_is_zero,
            given[member], given_row, kept[member], kept_row, known[member], known_row, no_series, *slopes,
        ))  # fmt: skip


def _total(counts: Iterable[tuple[int, int]]) -> NotFinite:
    return NotFinite(*map(sum, zip((0, 0), *counts, strict=True)))


def _place_exchange(
    plan: RoutingPlan, order: Index, exchange: Exchange, n_batch: int
) -> tuple[Any, Index, Any, Index, Any, Index]:
    """Given series, the row among them of each place, and the same of kept and known ones; -1 for a place that has none.

    Where no place has one, there are no rows: kernels need not look.
    """
    none = np.zeros((n_batch, 0, 0))
    given, kept = (none if series is None else series for series in (exchange.given, exchange.kept))
    last = np.arange(order.size - plan.n_given, order.size)
    return given, numbered(order, last), kept, numbered(order, plan.kept), *place_known(order, exchange.known, n_batch)
