"""Runoff in memory: read, laid out as [batch, row, time], routed in one block, and laid out again as it came."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xroute.block import route_block
from xroute.block_state import BlockState, StateTable
from xroute.census import check_finite, step_labels
from xroute.engine.backends import backend_of_array
from xroute.guards import reading, require_memory
from xroute.labels import in_order
from xroute.options import find_device
from xroute.run import Run
from xroute.state import load_state

__all__ = ["route_eagerly", "route_values"]


def route_eagerly(
    runoff: xr.DataArray, run: Run, start: StateTable | None, device: str | None = None
) -> tuple[xr.DataArray, BlockState]:
    """Route runoff in memory, or opened lazily, as one block, from a state that `Run.start` gave.

    Discharge has no name and attributes yet. Without a ``device`` the options say where to compute.
    """
    require_memory(runoff, "runoff", "route it in blocks with route_to_zarr, or open it in chunks")
    state = None if start is None else load_state(start, run.n_lags, run.network.ids)
    values, end = route_values(runoff, run, state, find_device(device))
    return run.layout.labelled(values), end


def route_values(
    runoff: xr.DataArray, run: Run, state: BlockState | None, device: Any, first: int = 0
) -> tuple[Any, BlockState]:
    """Route runoff, or a block of it that begins at step ``first``: discharge [batch, row, time], and the state at its end.

    Raises
    ------
    XRouteError
        For runoff that is not finite, unless it is taken as zero, and for discharge that overflows.
    """
    layout, rows = run.layout, run.rows
    with reading("the runoff"):  # xarray reads what was opened lazily only now
        data = in_order(runoff, layout.engine_dims).data
        data = np.asarray(data) if backend_of_array(data) is None else data
    data = data.reshape(layout.n_batch, *data.shape[-2:])
    if run.watch is not None:
        run.watch.at(first).look(data, at_start=first == 0)
    known = None if run.known is None else run.known.block(first, data.shape[-1])
    discharge, end, n_bad = route_block(
        data, run.network.plan, run.filter, state, run.settings, rows, device=device, hillslope=run.slopes, known=known
    )
    check_finite(
        n_bad, run.settings, data, discharge, run.network.ids, rows, lambda: step_labels(runoff, run.clock.dim, first)
    )
    return discharge, end
