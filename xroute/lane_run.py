"""A lane on its way: its blocks of runoff routed one by one, here or on Dask's workers, counted, and given to a sink."""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from xroute.block_state import BlockState, StateTable
from xroute.budget.ledger import Ledger, lazy_sums
from xroute.census import finite_sums, negative_sums
from xroute.checkpoint import Progress
from xroute.eager import route_values
from xroute.engine.backends import on_host
from xroute.guards import writing
from xroute.options import find_device
from xroute.run import Run
from xroute.sinks import Sink

__all__ = ["LaneRun"]


@dataclass(frozen=True)
class LaneRun:
    """How blocks of a lane are routed.

    Attributes
    ----------
    run, lane
        The run of the lane's members, and the lane's number.
    sink
        Where discharge goes.
    ledger
        What is counted of its water.
    spread
        Whether Dask's workers route, in so many ``partitions``.
    device
        Where blocks are computed.
    dtype
        Type that runoff is read as.
    span
        Says some steps in words.
    """

    run: Run
    lane: int
    sink: Sink
    ledger: Ledger
    spread: bool
    partitions: int | None
    device: str | None
    dtype: np.dtype[Any]
    span: Callable[[slice], str]

    def warm_up(self, block: xr.DataArray, state: BlockState | None) -> None:
        """Route a dry step, thrown away: it compiles, or loads what is compiled, before anything is timed."""
        if not self.spread:
            dry = xr.zeros_like(block.isel({self.run.layout.time_dim: slice(0, 1)}))
            route_values(dry, self.run, state, self._device)

    def route(self, block: xr.DataArray, state: BlockState | None, steps: slice) -> tuple[BlockState, float]:
        """Route a block and write its discharge; returns the state at its end, and the seconds that counting and writing took.

        With workers those are none: they read and write between the rest.
        """
        if self.spread:
            return self._route_on_workers(block, state, steps), 0.0
        means = self._means(block, state, steps.start)
        values, end = route_values(block, self.run, state, self._device, steps.start)
        begin = clock.perf_counter()
        discharge = self._counted(block, values, means)
        del block, values, means
        with writing(f"write the discharge of {self.span(steps)}", self.sink.outcome):
            self.sink.write(self.lane, steps, discharge)
        return end, clock.perf_counter() - begin

    def keep(self, block: xr.DataArray, state: BlockState | None, first: int, until: int) -> None:
        """Route the beginning of a block that starts at step ``first``, for the state after step ``until``, and keep that."""
        part = block.isel({self.run.layout.time_dim: slice(0, until - first)})
        if self.spread:
            import dask

            (table,) = dask.compute(self._lazily(part, state, first)[1])
            kept = BlockState.of_table(table, self.run.n_lags)
        else:
            kept = route_values(part, self.run, state, self._device, first)[1]
        with writing(f"keep the state at {self.span(slice(first, until))}", self.sink.outcome):
            self.sink.keep(self.lane, Progress(until, {}), kept)

    @cached_property
    def _device(self) -> Any:
        return None if self.spread else find_device(self.device)

    def _means(self, block: xr.DataArray, state: BlockState | None, first: int) -> Any:
        """Means over steps of the discharge [batch, row, time] of a block, where the budget needs them; else None."""
        if not self.ledger.wants_means:
            return None
        run = changed(self.run, settings=changed(self.run.settings, sampling="mean"), watch=None)
        return on_host(route_values(block, run, state, self._device, first)[0])

    def _counted(self, block: xr.DataArray, values: Any, means: Any) -> xr.DataArray:
        """Discharge [batch, row, time] of a block as the result has it, its water and its runoff's counted."""
        layout, values, ledger = self.run.layout, on_host(values), self.ledger
        kept, over = (layout.batch_dims, 2) if ledger.each else ((), (0, 2))
        went = (values if means is None else means).sum(axis=over, dtype=np.float64)
        ledger.add(finite_sums(block, layout.reach_dim, *kept), went, *negative_sums(values))
        return xr.DataArray(layout.ordered(values), dims=layout.dims)

    def _lazily(
        self, block: xr.DataArray, state: BlockState | None, first: int, run: Run | None = None
    ) -> tuple[xr.DataArray, StateTable]:
        """Discharge of a block, and the state at its end, on Dask."""
        from xroute.chunked import route_lazily

        run = run or self.run
        run = changed(run, layout=changed(run.layout, coords={}))
        start = None if state is None else state.table(run.n_lags, run.layout.batch_shape)
        block = block.astype(self.dtype, copy=False, keep_attrs=True)
        return route_lazily(block, run, start, self.device, self.partitions, first)

    def _route_on_workers(self, block: xr.DataArray, state: BlockState | None, steps: slice) -> BlockState:
        """Route a block on Dask's workers, who write it; the state comes back."""
        import dask

        result, end = self._lazily(block, state, steps.start)
        means = result
        if self.ledger.wants_means:
            mean = changed(self.run, settings=changed(self.run.settings, sampling="mean"))
            means, _ = self._lazily(block, state, steps.start, mean)
        sums = lazy_sums(block, result, means, self.run.layout)
        written = self.sink.write(self.lane, steps, result)
        with writing(f"route {self.span(steps)} on the workers", self.sink.outcome):
            _, last, *counted = dask.compute(written, end, *sums)
        self.ledger.add(*counted)
        return BlockState.of_table(last, self.run.n_lags)
