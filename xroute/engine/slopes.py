"""Hillslopes before the channel: routed on a plan without links, where a backend does not do both in one.

What runoff goes through before it joins its reach is a window of each reach, step of runoff by step. It acts on means over
steps and gives means over steps, which the river then takes as constant within the step, however many substeps that has.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.engine.arrays import Exchange, Hillslopes, NotFinite, Rows, State
from xroute.engine.plan import RoutingPlan, make_plan
from xroute.settings import RoutingSettings

if TYPE_CHECKING:
    import torch

    from xroute.engine.backends import Backend
    from xroute.schemes import Filter

__all__ = ["one_after_the_other", "plan_without_links", "slope_settings"]


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
