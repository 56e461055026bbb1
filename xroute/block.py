"""Route one block of plain arrays: what the eager, the chunked and the streaming path all share. No labels, no units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.block_state import CHANNEL, BlockState
from xroute.engine.arrays import Exchange, NotFinite, Rows
from xroute.engine.cpu import route_tensor
from xroute.engine.plan import RoutingPlan
from xroute.schemes import Filter
from xroute.settings import RoutingSettings

if TYPE_CHECKING:
    import torch

__all__ = ["is_cupy", "route_block"]

Float = NDArray[np.float64]


def is_cupy(array: Any) -> bool:
    """Whether an array is cupy's."""
    return type(array).__module__.partition(".")[0] == "cupy"


def route_block(
    runoff: NDArray[Any],
    plan: RoutingPlan,
    filter: Filter,
    state: BlockState | None,
    settings: RoutingSettings,
    rows: Rows = Rows(),  # noqa: B008 (a tuple)
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
        Where to compute; None is the CPU. Arrays of cupy stay on their own device, and so does their discharge.
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
    n_lags, n_batch = {CHANNEL: filter.n_taps - 1}, runoff.shape[0]
    if state is not None:
        state.check(n_lags, n_batch)
    scale, given, kept = rows.scale, *(exchange or Exchange())
    factors = None if scale is None else np.broadcast_to(np.asarray(scale, np.float64), plan.n_reaches)
    known: dict[str, Any] = {
        "runoff_row": rows.runoff, "discharge_row": rows.discharge, "n_rows": rows.n, "scale": factors,
        "zero_missing": settings.zero_missing, "given": given, "kept": kept,
    }  # fmt: skip
    if is_cupy(runoff) or (device is not None and device.type == "cuda"):
        from xroute.engine.arrays import compute_type
        from xroute.engine.gpu.host import route_cupy, route_host
        from xroute.engine.gpu.launch import GpuOptions

        kernel = GpuOptions(settings.substeps, settings.sampling, settings.lateral)
        history, outflow = (None, None) if state is None else (state.channel.history, state.channel.outflow)
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
        runoff, plan, filter, state.channel.history, state.channel.outflow, substeps=settings.substeps,
        sampling=settings.sampling, lateral=settings.lateral, dry=dry, **known,
    )  # fmt: skip
    return discharge, state, n_bad
