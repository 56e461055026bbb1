"""`NetworkFilters`: what each reach of a network does to water at one step, as a caller asks for it, without any runoff."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.plan import RoutingPlan, make_plan, mark_downstream, mark_upstream
from xroute.hillslope import hillslope_of
from xroute.parameters import parameters_of
from xroute.recipe import resolve_settings, resolve_step
from xroute.schemes import Filter
from xroute.settings import RoutingSettings
from xroute.topology import links_within

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["NetworkFilters", "Part", "filters_of"]

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NetworkFilters:
    """Filters of all reaches of a network.

    Attributes
    ----------
    network
        Of which network.
    channel
        Of its reaches, at the routing step.
    slopes
        Of their hillslopes, at the step of runoff; None where there are none.
    settings
        How a run with them is stepped and sampled.
    """

    network: Network
    channel: Filter
    slopes: Filter | None
    settings: RoutingSettings

    @property
    def step(self) -> float:
        """Step of runoff [s]."""
        assert self.settings.step is not None
        return self.settings.step

    def between(self, sources: Index, targets: Index) -> Part:
        """All that water can go through from any of some reaches to any of some others, these included."""
        plan, n = self.network.plan, self.network.n_reaches
        below, above = np.zeros(n, bool), np.zeros(n, bool)
        below[sources] = True
        above[targets] = True
        # links of no share lead nowhere
        links = links_within(self.network.links, np.arange(n), n) if (plan.upstream_weight == 0).any() else None
        if links is not None:
            plan = make_plan(*links, n)
        way = plan.order, plan.upstream_pointer, plan.upstream_reach
        mark_downstream(*way, below)
        mark_upstream(*way, above)
        reach = np.flatnonzero(below & above)
        made = make_plan(*links_within(self.network.links, reach, n), reach.size)
        slopes = None if self.slopes is None else self.slopes.take(reach)
        return Part(reach, made, self.channel.take(reach), slopes, self.settings)


@dataclass(frozen=True, eq=False)
class Part:
    """Some reaches of a network, which can be routed by themselves.

    Attributes
    ----------
    reach : int64 [part]
        Their positions in the network, rising.
    plan, channel, slopes, settings
        As of a network.
    """

    reach: Index
    plan: RoutingPlan
    channel: Filter
    slopes: Filter | None
    settings: RoutingSettings

    def place(self, reaches: Index) -> Index:
        """Where reaches, by their positions in the network, stand in this part; -1 for those that do not."""
        at = np.minimum(np.searchsorted(self.reach, reaches), self.reach.size - 1)
        return np.where(self.reach[at] == reaches, at, -1)


def filters_of(
    network: Network,
    dt: Any = None,
    *,
    scheme: str | None = None,
    substeps: Any = None,
    sampling: str | None = None,
    lateral: str | None = None,
    hillslope: Any = None,
) -> NetworkFilters:
    """Filters of a network; options are those of `xroute.route`.

    Raises
    ------
    TimeAxisError
        If the step of runoff is not known.
    ParameterError, AlignmentError
        As `xroute.route`.
    """
    step = resolve_step(network, dt)
    parameters = parameters_of(network, scheme)
    settings = resolve_settings(
        network, parameters.values, step, substeps=substeps, sampling=sampling, lateral=lateral, log=False
    )
    parameters.warn_of_step(settings)
    assert settings.routing_step is not None
    slopes = hillslope_of(network, hillslope, step)
    channel = parameters.filter(settings.routing_step, settings.lateral)
    return NetworkFilters(network, channel, None if slopes is None else slopes.filter, settings)
