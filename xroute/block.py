"""Route one block of plain arrays, or trace water back through it: what all who route share. No labels, no units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.block_state import CHANNEL, HILLSLOPE, BlockState, Stage, lags_of
from xroute.engine.arrays import Exchange, Hillslopes, Known, Needs, NotFinite, Rows
from xroute.engine.backends import backend_of, backend_of_array
from xroute.engine.plan import RoutingPlan
from xroute.engine.slopes import one_after_the_other, plan_without_links, slope_settings
from xroute.exceptions import ParameterError
from xroute.schemes import Filter
from xroute.settings import RoutingSettings

if TYPE_CHECKING:
    import torch

__all__ = ["adjoint_block", "route_block"]


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
    hillslope: Filter | None = None,
    known: Known | None = None,
) -> tuple[NDArray[Any], BlockState, NotFinite]:
    """Route a block.

    Parameters
    ----------
    runoff : [batch, row, time]
        float32 or float64; other types are computed, and returned, in float32 (halves) or float64.
    plan, filter, settings
        The network's plan, the filter of its reaches, and how the run is stepped and sampled.
    state
        State at the block's start; None is dry. It is not changed.
    rows
        Where each reach's runoff and discharge stand, and the factor on its runoff, which may be one for all.
    device
        Where to compute; None is the CPU. An array that lies on a device already, as one of cupy does, is routed there whatever
        is said here, and so its discharge lies there too.
    exchange
        Discharge of the plan's given reaches, and where that of its kept ones is put: what partitions exchange.
    hillslope
        What runoff goes through before it joins its reach: windows, of the runoff's step. Then the state has that stage too.
    known
        Discharge that is known on some of the plan's own reaches, and taken there in place of what is routed.

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
    ParameterError
        For known discharge on a device that cannot route with it.
    """
    if state is not None:
        state.check(lags_of(filter, hillslope), runoff.shape[0])
    if rows.scale is not None:
        rows = rows._replace(scale=np.broadcast_to(np.asarray(rows.scale, np.float64), plan.n_reaches))
    backend = backend_of_array(runoff) or backend_of("cpu" if device is None else device.type)
    exchange = exchange or Exchange()
    if known is not None:
        if not getattr(backend, "takes_known", False):  # nor does one that is no subclass of `Backend`
            raise ParameterError(f"device {backend.name!r} cannot route with known discharge: choose another")
        exchange = exchange._replace(known=known)
    given = runoff, plan, filter, None if state is None else state.channel, settings, rows, exchange, device
    if hillslope is None:
        discharge, end, n_bad = backend.route_arrays(*given)
        return discharge, BlockState.of(*end), n_bad
    hillslopes = Hillslopes(hillslope, None if state is None else state.stages[HILLSLOPE])
    if hasattr(backend, "route_with_hillslopes"):
        discharge, end, slopes, n_bad = backend.route_with_hillslopes(*given, hillslopes)
    else:  # a backend that is not a subclass of `Backend`
        discharge, end, slopes, n_bad = one_after_the_other(backend, *given, hillslopes)
    return discharge, BlockState({HILLSLOPE: Stage(*slopes), CHANNEL: Stage(*end)}), n_bad


def adjoint_block(
    grad_discharge: NDArray[np.float64],
    grad_state: BlockState | None,
    plan: RoutingPlan,
    filter: Filter,
    settings: RoutingSettings,
    rows: Rows = Rows(),
    *,
    n_rows: int | None = None,
    hillslope: Filter | None = None,
    known: Known | None = None,
) -> tuple[NDArray[np.float64], BlockState]:
    """What a sum of discharge, each value with its weight, owes to each value of runoff and of the state at the block's start.

    Routing is linear, so this is the same whatever runoff there is: none is given. It is computed on the CPU, in float64.

    Parameters
    ----------
    grad_discharge : [batch, row, time]
        The weights.
    grad_state
        Weights of the state at the block's end, as the block that follows gave them; None for none.
    plan, filter, settings, hillslope
        As for `route_block`.
    rows
        Where each reach stands in what is given and in what is returned; the factor on its runoff is left out.
    n_rows
        Rows of what is returned; None for as many as there are reaches.
    known
        Discharge that is known, of as many members or of one; its ``grad`` is written: what is owed to it.

    Returns
    -------
    grad_runoff : [batch, n_rows, time]
    grad_state
        Of the state at the block's start.
    """
    from xroute.engine.cpu.adjoint import adjoint_cpu  # compiled code is imported where it runs

    n_batch, n_steps = grad_discharge.shape[0], grad_discharge.shape[2]
    lags = lags_of(filter, hillslope)
    end = BlockState.dry(lags, n_batch) if grad_state is None else grad_state
    end.check(lags, n_batch)
    start, only_runoff = BlockState.dry(lags, n_batch), Needs(True, False)
    # runoff is not read, only its shape is; memory that is not written to is not taken
    whole = np.empty((n_batch, plan.n_reaches if n_rows is None else n_rows, n_steps))
    if hillslope is None:
        grads = adjoint_cpu(
            grad_discharge, end.channel, whole, plan, filter.arrays(), start.channel, settings,
            rows=rows._replace(scale=None), known=known, needs=only_runoff,
        )  # fmt: skip
        return grads.runoff, BlockState.of(*grads.state)
    grads = adjoint_cpu(
        grad_discharge, end.channel, np.empty((n_batch, plan.n_reaches, n_steps)), plan, filter.arrays(), start.channel, settings,
        rows=Rows(None, rows.discharge), known=known, needs=only_runoff,
    )  # fmt: skip
    slopes = adjoint_cpu(
        grads.runoff, end.stages[HILLSLOPE], whole, plan_without_links(plan.n_reaches), hillslope.arrays(),
        start.stages[HILLSLOPE], slope_settings(settings), rows=Rows(rows.runoff), needs=only_runoff,
    )  # fmt: skip
    return slopes.runoff, BlockState({HILLSLOPE: Stage(*slopes.state), CHANNEL: Stage(*grads.state)})
