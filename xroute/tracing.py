"""Tracing water back: which share of each reach's runoff, step by step, passes a gauge in a window of time.

Routing is linear, so these shares are what its adjoint gives, whatever runoff there is. They are found in blocks of time, the
last one first; what a block hands to the one before it is the gradient of its state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.block import adjoint_block
from xroute.block_state import BlockState, StateTable, lags_of
from xroute.engine.arrays import Known, Rows
from xroute.filters import Part
from xroute.known import KnownDischarge, KnownRows
from xroute.state import load_state

__all__ = ["Trace"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]

BLOCK_VALUES = 2**25
"""Values of a block of time, over all reaches, members and gauges."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Reaches upstream of gauges, and when water is looked for at these.

    Attributes
    ----------
    part
        The reaches, their plan and filters.
    ids : [reach]
        Their ids, for messages.
    row : int64 [reach]
        Row of each in what is returned.
    gauge : int64 [gauge]
        Which of the reaches are gauges, each once.
    window : bool [time]
        Steps in which water is looked for.
    known, known_rows
        Discharge that is known on some of the run's reaches, and which of it is on these; None where none is.
    n_members
        How many members known discharge is of; 1 where it is of all.
    """

    part: Part
    ids: NDArray[Any]
    row: Index
    gauge: Index
    window: NDArray[np.bool_]
    known: KnownDischarge | None = None
    known_rows: KnownRows | None = None
    n_members: int = 1

    @property
    def stop(self) -> int:
        """Step behind the last one in which water is looked for."""
        return int(np.flatnonzero(self.window)[-1]) + 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Gauges, members and rows of what is returned."""
        return self.gauge.size, self.n_members, self.row.size

    def block(self, begin: int, n: int, state: BlockState | None) -> tuple[Float, BlockState, Float]:
        """Shares of a block of ``n`` steps.

        Parameters
        ----------
        begin, n
            Its first step, and how many it has.
        state
            Gradient of the state at its end, as the block that follows gave it; None behind the window.

        Returns
        -------
        shares : [gauge, member, row, time]
        state
            Gradient of the state at its start.
        known : [gauge, member, known]
            Known discharge of the block that passed.
        """
        n_gauges, n_members, n_rows = self.shape
        n_batch = n_gauges * n_members
        wanted = np.zeros((n_gauges, n_members, n_gauges, n))
        each = np.arange(n_gauges)
        wanted[each, :, each] = self.window[begin : begin + n]
        at_gauge = np.full(n_rows, -1)
        at_gauge[self.gauge] = each
        known = self._known(begin, n)
        shares, start = adjoint_block(
            wanted.reshape(n_batch, n_gauges, n), state, self.part.plan, self.part.channel, self.part.settings,
            Rows(self.row, at_gauge), n_rows=n_rows, hillslope=self.part.slopes, known=known,
        )  # fmt: skip
        owed = np.zeros((n_batch, 0)) if known is None else (known.grad * np.nan_to_num(known.values)).sum(axis=-1)
        return shares.reshape(n_gauges, n_members, n_rows, n), start, owed.reshape(n_gauges, n_members, -1)

    def _known(self, begin: int, n: int) -> Known | None:
        """What is known in a block, of all gauges and members, with room for what is owed to it."""
        if self.known is None or self.known_rows is None:
            return None
        values = self.known.block(begin, n).values[:, self.known_rows.rows]
        of_members = np.broadcast_to(values, (self.n_members, *values.shape[1:]))
        of_all = np.tile(of_members, (self.gauge.size, 1, 1))
        return Known(self.known_rows.reach, of_all, np.zeros_like(of_all))

    def whole(self) -> tuple[Float, BlockState | None, Float]:
        """Shares of all steps, the gradient of the state at the start, and known discharge that passed; as `block` gives them."""
        n_steps = self.window.size
        shares = np.zeros((*self.shape, n_steps))
        length = max(1, BLOCK_VALUES // int(np.prod(self.shape)))
        state: BlockState | None = None
        known = np.zeros((*self.shape[:2], 0 if self.known_rows is None else self.known_rows.rows.size))
        for begin in reversed(range(0, self.stop, length)):
            n = min(length, self.stop - begin)
            shares[..., begin : begin + n], state, owed = self.block(begin, n, state)
            known += owed
        return shares, state, known

    def in_chunks(self, sizes: tuple[int, ...]) -> tuple[Any, Any, Any]:
        """What `whole` gives, on Dask, in chunks of these sizes along time; the gradient is delayed."""
        import dask.array as da
        from dask import delayed

        own = delayed(self, traverse=False)
        step = delayed(_block, nout=3)
        state: Any = None
        shares: list[Any] = []
        n_known = 0 if self.known_rows is None else self.known_rows.rows.size
        known = da.zeros((*self.shape[:2], n_known))
        stop = self.window.size
        for n in reversed(sizes):
            begin, stop = stop - n, stop - n
            if begin >= self.stop:
                shares.append(da.zeros((*self.shape, n), chunks=-1))
                continue
            found, state, owed = step(own, begin, n, state)
            shares.append(da.from_delayed(found, (*self.shape, n), np.float64))
            if n_known:
                known = known + da.from_delayed(owed, known.shape, np.float64)
        return da.concatenate(shares[::-1], axis=-1), state, known

    def of_state(self, gradient: BlockState, table: StateTable) -> Float:
        """Volume that each reach held at the start and that passed, in the units of discharge times a step.

        Parameters
        ----------
        gradient
            Of the state at the start.
        table
            The state, of all reaches of the run, in order.

        Returns
        -------
        [gauge, member, reach]
        """
        lags = lags_of(self.part.channel, self.part.slopes)
        own = {name: stage.take(self.part.reach) for name, stage in table.items()}
        held = load_state(own, lags, self.ids)
        total: Float = np.zeros(1)
        for name, stage in held.stages.items():
            owed = gradient.stages[name]
            history = owed.history.reshape(self.gauge.size, self.n_members, -1) * stage.history
            passed = owed.outflow.reshape(self.gauge.size, self.n_members, -1) * stage.outflow
            has = np.flatnonzero(lags[name])
            if has.size:
                first = np.concatenate([[0], np.cumsum(lags[name])])[has]
                passed[..., has] += np.add.reduceat(history, first, axis=-1)
            total = total + passed
        return total


def _block(trace: Trace, begin: int, n: int, state: BlockState | None) -> tuple[Float, BlockState, Float]:
    return trace.block(begin, n, state)
