"""Hillslopes before the channel: routed on a plan without links, where a backend does not do both in one.

What runoff goes through before it joins its reach is a window of each reach, step of runoff by step. It acts on means over
steps and gives means over steps, which the river then takes as constant within the step, however many substeps that has.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.engine.arrays import Exchange, FilterArrays, Hillslopes, Needs, NotFinite, Rows, SlopeGradients, State
from xroute.engine.plan import RoutingPlan, make_plan
from xroute.settings import RoutingSettings

if TYPE_CHECKING:
    import torch

    from xroute.engine.backends import Backend
    from xroute.schemes import Filter

__all__ = ["adjoint_by_routing", "forward_by_routing", "one_after_the_other", "plan_without_links", "slope_settings"]


@lru_cache(maxsize=4)
def plan_without_links(n_reaches: int) -> RoutingPlan:
    """Plan of so many reaches of which none drains to another: one object each time, with what is derived of it."""
    nothing = np.empty(0, np.int64)
    return make_plan(nothing, nothing, np.empty(0), n_reaches)


def slope_settings(settings: RoutingSettings) -> RoutingSettings:
    """How hillslopes are stepped in a run: a step of runoff is one of theirs."""
    return RoutingSettings(settings.step, nan=settings.nan)


def one_after_the_other(
    backend: Backend, runoff: Any, plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings,
    rows: Rows, exchange: Exchange, device: torch.device | None, hillslopes: Hillslopes,
) -> tuple[Any, State, State, NotFinite]:  # fmt: skip
    """What `xroute.engine.backends.Backend.route_with_hillslopes` does, by a backend's `route_arrays` called twice.

    Runoff is looked at the first time: what it gives is finite where runoff is, or taken so.
    """
    n = plan.n_reaches
    given, slopes, n_bad = backend.route_arrays(
        runoff, plan_without_links(n), hillslopes.filter, hillslopes.state, slope_settings(settings),
        Rows(rows.runoff, None, n, rows.scale), Exchange(), device,
    )  # fmt: skip
    discharge, end, then = backend.route_arrays(
        given, plan, filter, state, settings, Rows(None, rows.discharge, rows.n), exchange, device
    )
    return discharge, end, slopes, NotFinite(n_bad.runoff, then.discharge)


def forward_by_routing(
    backend: Backend, runoff: torch.Tensor, filter: FilterArrays, state: State | None, *, keep_state: bool,
    owner: Filter | None = None,
) -> tuple[torch.Tensor, State | None]:  # fmt: skip
    """What `xroute.engine.backends.Backend.forward_slopes` does, by a backend's `forward`."""
    return backend.forward(
        runoff, filter, state, plan_without_links(runoff.shape[1]), RoutingSettings(), keep_trace=False, keep_state=keep_state,
        owner=owner,
    )[:2]  # fmt: skip


def adjoint_by_routing(
    backend: Backend, grad: torch.Tensor, grad_state: State | None, runoff: torch.Tensor, filter: FilterArrays,
    state: State | None, needs: Needs,
) -> SlopeGradients:  # fmt: skip
    """What `xroute.engine.backends.Backend.adjoint_slopes` does, by a backend's `adjoint`."""
    plan, settings, nothing = plan_without_links(runoff.shape[1]), RoutingSettings(), runoff.new_empty(0)
    discharge = trace = nothing
    if backend.trace_numel(runoff, plan, filter.pointer.numpy(), settings):
        discharge, _, trace = backend.forward(runoff, filter, state, plan, settings, keep_trace=True, keep_state=False)
    grads = backend.adjoint(grad, grad_state, runoff, filter, state, discharge, trace, plan, settings, needs)
    history = filter.taps.new_empty(0) if state is None else grads.state.history
    of_taps = grads.taps if needs.filter else filter.taps.new_empty(0)
    return SlopeGradients(grads.runoff if needs.runoff else nothing, of_taps, history)
