"""Route one block of plain arrays: what the eager, the chunked and the streaming path all share. No labels, no units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import Exchange, NotFinite, Rows, State
from xroute.engine.backends import backend_of, backend_of_array
from xroute.engine.plan import RoutingPlan
from xroute.exceptions import StateError
from xroute.schemes import Filter
from xroute.settings import RoutingSettings

if TYPE_CHECKING:
    import torch

__all__ = ["BlockState", "is_cupy", "route_block", "zero_state"]

Float = NDArray[np.float64]


@dataclass
class BlockState:
    """What a block hands to the next.

    Attributes
    ----------
    history : float64 [batch, sum of (K - 1)]
        Each reach's last inflows, newest first, one reach after another.
    outflow : float64 [batch, reach]
        Last filtered outflow.
    """

    history: Float
    outflow: Float


def is_cupy(array: Any) -> bool:
    """Whether an array is cupy's."""
    return backend_of_array(array) is not None


def zero_state(filter: Filter, n_batch: int) -> BlockState:
    """State of a dry network."""
    n = filter.pointer.size - 1
    return BlockState(np.zeros((n_batch, int(filter.pointer[-1]) - n)), np.zeros((n_batch, n)))


def route_block(
    runoff: NDArray[Any],
    plan: RoutingPlan,
    filter: Filter,
    state: BlockState | None,
    settings: RoutingSettings,
    rows: Rows = Rows(),
    *,
    device: torch.device | None = None,
    exchange: Exchange | None = None,
) -> tuple[NDArray[Any], BlockState, NotFinite]:
    """Route a block.

    Parameters
    ----------
    runoff : [batch, row, time]
        float32 or float64; other types are computed, and returned, in float32 (halves) or float64.
    plan, filter
        The network's plan, and the filter of its reaches.
    state
        State at the block's start; None is dry. It is not changed.
    settings
        Substeps, sampling, lateral mode, treatment of values that are not finite.
    rows
        Where each reach's runoff and discharge stand, and the factor on its runoff, which may be one for all.
    device
        Where to compute; None is the CPU. Arrays that a backend takes by themselves, as those of cupy, stay on their own device,
        and so does their discharge.
    exchange
        Discharge of the plan's given reaches, and where that of its kept ones is put: what partitions exchange.

    Returns
    -------
    discharge : [batch, rows.n, time]
    state
        At the block's end.
    n_bad : NotFinite
        Number of values of runoff, and of discharge, that were not finite.

    Raises
    ------
    StateError
        For a state of other sizes or types: kernels do not look whether they read beyond it.
    """
    if state is not None:
        _check_state(state, filter, runoff.shape[0], plan.n_reaches)
    if rows.scale is not None:
        rows = rows._replace(scale=np.broadcast_to(np.asarray(rows.scale, np.float64), plan.n_reaches))
    start = None if state is None else State(state.history, state.outflow)
    backend = backend_of_array(runoff) or backend_of("cpu" if device is None else device.type)
    discharge, end, n_bad = backend.route_arrays(
        runoff, plan, filter, start, settings, rows, exchange or Exchange(), device
    )
    return discharge, BlockState(*end), n_bad


def _check_state(state: BlockState, filter: Filter, n_batch: int, n_reaches: int) -> None:
    n_lags = int(filter.pointer[-1]) - (filter.pointer.size - 1)
    for name, array, size in (("history", state.history, n_lags), ("outflow", state.outflow, n_reaches)):
        if array.shape != (n_batch, size) or array.dtype != np.float64:
            raise StateError(
                f"the state's {name} is {array.dtype} {array.shape}, and this network and its members need float64 "
                f"{(n_batch, size)}"
            )
