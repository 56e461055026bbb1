"""Route one block of plain arrays: what the eager, the chunked and the streaming path all share. No labels, no units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.block_state import CHANNEL, BlockState
from xroute.engine.arrays import NotFinite
from xroute.engine.cpu import route_tensor
from xroute.engine.plan import RoutingPlan
from xroute.schemes import Filter

if TYPE_CHECKING:
    import torch

__all__ = ["RouteOptions", "is_cupy", "route_block"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class RouteOptions:
    """How runoff is stepped and sampled; the same for every block of a run."""

    substeps: int = 1
    sampling: str = "mean"
    lateral: str = "head"
    zero_missing: bool = False


def is_cupy(array: Any) -> bool:
    """Whether an array is cupy's."""
    return type(array).__module__.partition(".")[0] == "cupy"


def route_block(
    runoff: NDArray[Any],
    plan: RoutingPlan,
    filter: Filter,
    state: BlockState | None,
    options: RouteOptions,
    *,
    runoff_row: NDArray[np.int64] | None = None,
    discharge_row: NDArray[np.int64] | None = None,
    n_rows: int | None = None,
    scale: float | Float | None = None,
    device: torch.device | None = None,
    given: Float | None = None,
    kept: Float | None = None,
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
    options
        Substeps, sampling, lateral mode, treatment of values that are not finite.
    runoff_row, discharge_row : int64 [reach], optional
        Row of each reach in ``runoff`` and in the result, negative for none; by default reaches are rows.
    n_rows
        Rows of the result; by default the number of reaches.
    scale : float or [reach], optional
        Factor on each reach's runoff.
    device
        Where to compute; None is the CPU. Arrays of cupy stay on their own device, and so does their discharge.
    given, kept : [batch, n_given or kept, time x substeps], optional
        Discharge of the plan's given reaches, and where that of its kept ones is put: what partitions exchange.

    Returns
    -------
    discharge : [batch, n_rows, time]
    state
        At the block's end.
    n_bad : NotFinite
        Number of values of runoff, and of discharge, that were not finite.

    Raises
    ------
    StateError
        For a state of other sizes or types: kernels do not look whether they read beyond it.
    """
    n_lags, n_batch = {CHANNEL: filter.n_taps - 1}, runoff.shape[0]
    if state is not None:
        state.check(n_lags, n_batch)
    factors = None if scale is None else np.broadcast_to(np.asarray(scale, np.float64), plan.n_reaches)
    if is_cupy(runoff) or (device is not None and device.type == "cuda"):
        from xroute.engine.arrays import compute_type
        from xroute.engine.gpu.host import route_cupy, route_host
        from xroute.engine.gpu.launch import GpuOptions

        kernel = GpuOptions(options.substeps, options.sampling, options.lateral)
        history, outflow = (None, None) if state is None else (state.channel.history, state.channel.outflow)
        known: dict[str, Any] = {
            "runoff_row": runoff_row, "discharge_row": discharge_row, "n_rows": n_rows, "scale": factors,
            "zero_missing": options.zero_missing, "given": given, "kept": kept,
        }  # fmt: skip
        if is_cupy(runoff):
            discharge, history, outflow, n_bad = route_cupy(runoff, plan, filter, history, outflow, kernel, **known)
        else:
            assert device is not None
            runoff = np.asarray(runoff, compute_type(runoff.dtype))
            discharge, history, outflow, n_bad = route_host(
                runoff, plan, filter, history, outflow, kernel, device, **known
            )
        assert history is not None and outflow is not None
        return discharge, BlockState.of(history, outflow), n_bad
    dry = state is None
    state = BlockState.dry(n_lags, n_batch) if state is None else state.copy()
    discharge, n_bad = route_tensor(
        runoff, plan, filter, state.channel.history, state.channel.outflow,
        runoff_row=runoff_row, discharge_row=discharge_row, n_rows=n_rows, scale=factors,
        substeps=options.substeps, sampling=options.sampling, lateral=options.lateral, zero_missing=options.zero_missing, dry=dry,
        given=given, kept=kept,
    )  # fmt: skip
    return discharge, state, n_bad
