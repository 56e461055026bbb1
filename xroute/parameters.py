"""Which scheme each reach of a network follows, its parameters in SI units, checked, and the filters that are made of them.

A `Network` does not change, so what was read and checked of it once is kept with it (`parameters_of`). Only a scheme that a
user registers anew under the same name makes it stale.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.caches import keep, keep_fitting
from xroute.exceptions import ParameterError, UnitsError, some, warn
from xroute.placeholders import how_to_estimate, tell_placeholders
from xroute.schemes import SCHEMES, Filter, Scheme, all_reaches, find_scheme, is_all_reaches, make_filter
from xroute.settings import Lateral, RoutingSettings
from xroute.units import to_si
from xroute.wording import argument

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = [
    "NetworkParameters", "SchemeParameters", "already_told", "check_steps", "parameters_of", "read_parameters", "read_scheme",
    "resolve_substeps", "schemes_of",
]  # fmt: skip

MOST_SUBSTEPS = 100_000
"""Most substeps: a day in steps of less than a second."""
MOST_AUTOMATIC = 10_000
"""More than these are not chosen automatically: a reach so short wants another scheme, not a finer step."""

_TOLD: ContextVar[bool] = ContextVar("whether the caller has told of the network", default=False)

SchemeParameters = dict[str, tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]]
"""By scheme name: positions of its reaches, and parameters by name (float64 [its reaches], SI units)."""


def schemes_of(network: Network, scheme: str | None = None) -> dict[str, NDArray[np.int64]]:
    """Positions of the reaches of each scheme, by name; ``scheme`` is one for all, in place of what the network says.

    Raises
    ------
    ParameterError
        If the network names none, or one that does not exist.
    """
    dataset = network.dataset
    everywhere = all_reaches(network.n_reaches)
    if scheme is not None:
        found = {scheme: everywhere}
    elif "scheme" in dataset.variables:
        if dataset["scheme"].dims != ("reach",):
            raise ParameterError(f"'scheme' has dimensions {dataset['scheme'].dims}, not ('reach',)")
        names, which = np.unique(np.asarray(dataset["scheme"].values).astype(str), return_inverse=True)
        found = {str(name): np.flatnonzero(which == k) for k, name in enumerate(names)}
        if names.size == 1:
            found = {str(names[0]): everywhere}
    elif "scheme" in dataset.attrs:
        found = {str(dataset.attrs["scheme"]): everywhere}
    else:
        found = {_only_fit(set(dataset.variables)): everywhere}
    for name, at in found.items():
        find_scheme(name, f" (reaches {some(network.ids[at])})" if at.size < network.n_reaches else "")
    return found


def _only_fit(variables: set[Hashable]) -> str:
    """Name of the only scheme that these variables are parameters of."""
    fitting = [scheme for scheme in SCHEMES.values() if scheme.fits(variables)]
    other_ways = {s.instead for s in fitting}  # to step what another describes: to be asked for by name
    names = [s.name for s in fitting if s.name not in other_ways and s.discretises is None]
    if len(names) != 1:
        how = (
            f"{argument('scheme')}"
            + ', or set network.attrs["scheme"], or a variable scheme (reach); there are '
            + ", ".join(sorted(SCHEMES))
        )
        if names:
            raise ParameterError(
                f"the network names no routing scheme, and its variables fit several: {some(names)}. Pass {how}"
            )
        raise ParameterError(
            f"the network has no parameters of a routing scheme yet. {how_to_estimate()}. If it does have some, of which "
            f"scheme they are is not told: pass {how}"
        )
    return names[0]


def read_parameters(network: Network, scheme: str | None = None) -> SchemeParameters:
    """Parameters of every reach by scheme.

    Raises
    ------
    ParameterError
        If a parameter is missing, NaN, out of range or of other units; the reaches and the range are named.
    """
    return {name: (at, read_scheme(network, SCHEMES[name], at)) for name, at in schemes_of(network, scheme).items()}


def read_scheme(network: Network, scheme: Scheme, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Parameters of a scheme on some of a network's reaches, in SI units; errors are those of `read_parameters`."""
    dataset = network.dataset
    found = {}
    for parameter in scheme.parameters:
        if parameter.name not in dataset.variables:
            if parameter.default is None:
                raise ParameterError(
                    f"{scheme.name} needs the variable {parameter.name!r} (reach) [{parameter.units}]; the network has "
                    f"{some(dataset.data_vars)}" + (f". {how_to_estimate()}" if scheme.of_reach is not None else "")
                )
            found[parameter.name] = np.full(at.size, parameter.default)
            continue
        variable = dataset[parameter.name]
        if variable.dims not in ((), ("reach",)):
            raise ParameterError(f"parameter {parameter.name!r} has dimensions {variable.dims}, not ('reach',)")
        try:
            values = np.broadcast_to(
                to_si(variable, parameter.units, f"parameter {parameter.name!r}"), network.n_reaches
            )
        except UnitsError as error:
            raise ParameterError(str(error)) from error
        values = np.array(values) if is_all_reaches(at, network.n_reaches) else values[at]
        if not parameter.allows(values).all():
            parameter.check(values, network.ids[at], scheme.name)
        found[parameter.name] = values
    return found


def resolve_substeps(substeps: Any, parameters: SchemeParameters, dt: float, ids: NDArray[Any]) -> int:
    """Number of substeps, checked; ``"auto"`` is worked out (`Scheme.step_range`).

    Raises
    ------
    ParameterError
        If it is neither a positive whole number of at most `MOST_SUBSTEPS` nor ``"auto"``.
    """
    if isinstance(substeps, str) and substeps == "auto":
        return _auto_substeps(parameters, dt, ids)
    if isinstance(substeps, bool) or not isinstance(substeps, (int, np.integer)) or substeps < 1:
        raise ParameterError(f"substeps is a positive whole number or 'auto', not {substeps!r}")
    if substeps > MOST_SUBSTEPS:
        raise ParameterError(
            f"substeps is at most {MOST_SUBSTEPS:,}, routing steps of {dt / MOST_SUBSTEPS:.3g} s here: a run takes as many times "
            "as long, and no reach is known that needs a shorter step"
        )
    return int(substeps)


def _auto_substeps(parameters: SchemeParameters, dt: float, ids: NDArray[Any]) -> int:
    """Fewest substeps with which no reach is too short for the routing step, as its scheme says (`Scheme.step_range`).

    Raises
    ------
    ParameterError
        If that takes more than `MOST_AUTOMATIC`; the reaches are named.
    """
    fewest = 1
    for name, (at, values) in parameters.items():
        _, highest = SCHEMES[name].limits(values, at.size)
        with np.errstate(all="ignore"):
            needed = dt / highest * (1 - 1e-12)
        too_many = ~(needed <= MOST_AUTOMATIC)
        if too_many.any():
            instead = SCHEMES[name].instead
            cure = "Check their parameters, or merge them" if instead is None else f"Give them the scheme {instead}"
            raise ParameterError(
                f"{argument('substeps', 'auto')} would take {needed.max():.3g} substeps, more than {MOST_AUTOMATIC:,}, because "
                f"so short for steps of {dt:g} s are {int(too_many.sum())} {name} reaches: {some(ids[at[too_many]])}. "
                + cure
            )
        fewest = max(fewest, int(np.ceil(needed.max(initial=0.0))))
    return fewest


def check_steps(parameters: SchemeParameters, dt: float, substeps: int) -> bool:
    """Warn once of reaches that oscillate or dip below zero at this routing step, and name what would help, if anything.

    Returns whether there are none.
    """
    step, slack = dt / substeps, 1e-9
    outside: list[str] = []
    any_long = False
    instead: set[tuple[str, str]] = set()
    fewest, most = 1.0, float(MOST_SUBSTEPS)  # substeps with which no reach oscillates, and none dips
    for name, (at, values) in parameters.items():
        scheme = SCHEMES[name]
        if scheme.step_range is None or not at.size:
            continue
        lowest, highest = scheme.limits(values, at.size)
        least, greatest = lowest.max(), highest.min()
        with np.errstate(all="ignore"):
            fewest = max(fewest, np.ceil(dt / greatest * (1 - slack)))
            most = min(most, np.floor(dt / least * (1 + slack)))  # where no reach dips, any number will do
        if least <= step <= greatest:  # the usual case, in a few passes
            continue
        short, long = step > highest * (1 + slack), step < lowest * (1 - slack)
        kinds = []
        if short.any():
            kinds.append(f"{int(short.sum())} too short (they may oscillate)")
            instead |= {(name, scheme.instead)} if scheme.instead else set()
        if long.any():
            any_long = True
            kinds.append(f"{int(long.sum())} too long (outflow may dip below zero where inflow rises)")
        if kinds:
            n = int((short | long).sum())
            outside.append(f"{n} of {at.size} {name} reaches are outside {scheme.step_rule}, {' and '.join(kinds)}")
    if not outside:
        return True
    advice = [f"scheme {other} instead of {name} does not oscillate at any step" for name, other in sorted(instead)]
    if fewest <= most and int(fewest) != substeps:
        advice.append(f"{argument('substeps', int(fewest))} would put all of them inside")
    else:
        advice.append("no number of substeps puts all reaches inside")
        advice += ["reaches that are too long can be split into shorter ones"] if any_long else []
    warn(f"at a routing step of {step:g} s, {'; '.join(outside)}: {'; '.join(advice)}")
    return False


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
        if step is None or routing_step is None or routing_step in self.harmless or _TOLD.get():
            return
        if check_steps(self.values, step, settings.substeps):
            self.harmless.add(routing_step)


@contextmanager
def already_told() -> Iterator[None]:
    """In here nobody is told of placeholders, and of routing steps that do not fit.

    For those who look at a river again and again, and have told of it once.
    """
    token = _TOLD.set(True)
    try:
        yield
    finally:
        _TOLD.reset(token)


def parameters_of(network: Network, scheme: str | None = None) -> NetworkParameters:
    """Parameters of a network; those that were read before serve again.

    Raises
    ------
    ParameterError
        As `read_parameters`, and for a scheme that is no name.
    """
    if scheme is not None and not isinstance(scheme, str):
        raise ParameterError(f"scheme is the name of a routing scheme or None, not {scheme!r}")

    def read() -> NetworkParameters:
        values = read_parameters(network, scheme)
        if not _TOLD.get():
            tell_placeholders(network.dataset, {name: at for name, (at, _) in values.items()})
        return NetworkParameters(network.ids, tuple(SCHEMES[name] for name in values), values)

    def is_current(found: NetworkParameters) -> bool:
        return all(SCHEMES.get(s.name) is s for s in found.schemes)

    return keep_fitting(network, ("parameters", scheme), is_current, read, most=1)
