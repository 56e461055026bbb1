"""Plans by number: torch's operators take tensors, numbers and text only, so a plan travels as a handle.

It is made from what the plan contains, so that an exported program finds its own network in another process, or none.
"""

from __future__ import annotations

import threading
import weakref

from xroute.engine.plan import RoutingPlan
from xroute.exceptions import XRouteError

__all__ = ["living", "plan_handle", "plan_of"]

_PLANS: dict[int, weakref.WeakValueDictionary[int, RoutingPlan]] = {}
"""All plans of a handle that live. They are equal, so each of them will do; but one alone would take the handle with it."""
_PLANS_LOCK = threading.Lock()


def plan_handle(plan: RoutingPlan) -> int:
    """Number under which the operators find the plan, or one that equals it, while any of them lives: the same one each time."""
    handle = plan.digest
    with _PLANS_LOCK:
        if handle not in _PLANS:
            for gone in [h for h, plans in _PLANS.items() if not plans]:
                del _PLANS[gone]
        _PLANS.setdefault(handle, weakref.WeakValueDictionary())[id(plan)] = plan
    return handle


def plan_of(handle: int) -> RoutingPlan:
    """Plan of a handle.

    Raises
    ------
    XRouteError
        If nobody holds the plan any more.
    """
    plan = living(int(handle))
    if plan is None:
        raise XRouteError(f"the plan of handle {handle} is gone: keep its Network (or Router) while routing with it")
    return plan


def living(handle: int) -> RoutingPlan | None:
    """Plan of a handle; None if nobody holds it any more."""
    with _PLANS_LOCK:
        return next(_PLANS[handle].values(), None) if handle in _PLANS else None
