"""Parameters of a network under its schemes, and the filters that are made of them: both are kept with the network.

A `Network` does not change, so what was read and checked of it once holds as long as it lives. Only a scheme that a user
registers anew under the same name makes it stale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from xroute.caches import keep, keep_fitting
from xroute.exceptions import ParameterError
from xroute.network import Network
from xroute.parameters import SchemeParameters, check_steps, read_parameters
from xroute.schemes import SCHEMES, Filter, Scheme, make_filter
from xroute.settings import Lateral, RoutingSettings

__all__ = ["NetworkParameters", "parameters_of"]


@dataclass(frozen=True, eq=False)
class NetworkParameters:
    """Parameters of all reaches of a network, read and checked.

    Attributes
    ----------
    ids : [reach]
        Ids of the reaches.
    schemes
        Their schemes, as they were when parameters were read.
    values
        Parameters by scheme, in SI units.
    harmless
        Routing steps [s] at which no reach oscillates or dips, as was found before.
    """

    ids: NDArray[Any]
    schemes: tuple[Scheme, ...]
    values: SchemeParameters
    harmless: set[float] = field(default_factory=set)

    def filter(self, routing_step: float, lateral: Lateral) -> Filter:
        """Filter of all reaches for a routing step [s] and a lateral mode; the last two are kept."""
        return keep(
            self,
            ("filter", routing_step, lateral),
            lambda: make_filter(self.values, routing_step, self.ids.size, lateral=lateral, ids=self.ids),
            most=2,
        )

    def warn_of_step(self, settings: RoutingSettings) -> None:
        """Warn of reaches that oscillate or dip below zero at the routing step, if it is known."""
        step, routing_step = settings.step, settings.routing_step
        if step is None or routing_step is None or routing_step in self.harmless:
            return
        if check_steps(self.values, step, settings.substeps):
            self.harmless.add(routing_step)


def parameters_of(network: Network, scheme: str | None = None) -> NetworkParameters:
    """Parameters of a network; those that were read before serve again.

    Parameters
    ----------
    network : Network
    scheme
        One scheme for all reaches, in place of what the network says.

    Raises
    ------
    ParameterError
        As `xroute.parameters.read_parameters`, and for a scheme that is no name.
    """
    if scheme is not None and not isinstance(scheme, str):
        raise ParameterError(f"scheme is the name of a routing scheme or None, not {scheme!r}")

    def read() -> NetworkParameters:
        values = read_parameters(network, scheme)
        return NetworkParameters(network.ids, tuple(SCHEMES[name] for name in values), values)

    def is_current(found: NetworkParameters) -> bool:
        return all(SCHEMES.get(s.name) is s for s in found.schemes)

    return keep_fitting(network, ("parameters", scheme), is_current, read, most=1)
