"""How a network wants to be routed: the attributes in which a converter notes another model's steps and conventions.

A network may bear ``routing_step`` [s], ``sampling``, ``lateral``, ``hillslope`` and ``runoff_step`` [s] among its attributes
(RAPID's namelist says the steps as ZS_dtR and ZS_TauR). Whoever routes leaves an option out to have the network's; what is
given wins.
`resolve_settings` is what both come to.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from xroute.caches import keep
from xroute.exceptions import ParameterError, TimeAxisError, one_of
from xroute.parameters import SchemeParameters, resolve_substeps
from xroute.settings import HILLSLOPE, LATERAL, SAMPLING, Lateral, NaN, RoutingSettings, Sampling
from xroute.times import seconds, time_step
from xroute.wording import argument

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["Recipe", "recipe_in_words", "resolve_recipe", "resolve_settings", "resolve_step", "stated_seconds", "step_of"]

logger = logging.getLogger(__name__)

WHOLE = 1e-9
"""How far from a whole number, in parts of it, the ratio of two steps may be."""


class Recipe(NamedTuple):
    """What a network and its caller say together; with ``"auto"``, the fewest stable substeps are not worked out yet."""

    substeps: Any
    sampling: Sampling
    lateral: Lateral


def resolve_recipe(
    network: Network,
    step: float | None,
    substeps: Any = None,
    sampling: str | None = None,
    lateral: str | None = None,
    *,
    log: bool = False,
) -> Recipe:
    """Options of a run: those that the caller gave, else the network's, else 1, ``"mean"`` and ``"head"``.

    ``step`` is that of runoff [s]; None where there is none, and then any number of substeps will do. With ``log``, what was
    taken from the network is logged, once.

    Raises
    ------
    ParameterError
        For options and attributes of impossible values (the attribute is named), and for a step of runoff that is not a
        whole number of the network's routing steps.

    Examples
    --------
    >>> import xroute
    >>> from xroute.recipe import resolve_recipe
    >>> rapid = {"routing_step": 900.0, "sampling": "start-mean", "lateral": "interval"}
    >>> network = xroute.Network.from_links([1, 2], [2, 0], attrs=rapid)
    >>> resolve_recipe(network, 10800.0)
    Recipe(substeps=12, sampling='start-mean', lateral='interval')
    >>> resolve_recipe(network, 10800.0, substeps=1, lateral="head")
    Recipe(substeps=1, sampling='start-mean', lateral='head')
    """
    attrs = network.attrs
    taken = []
    if sampling is None:
        sampling = _choice(attrs, "sampling", SAMPLING) or "mean"
        taken += [f"sampling {sampling}"] if "sampling" in attrs else []
    if lateral is None:
        lateral = _choice(attrs, "lateral", LATERAL) or "head"
        taken += [f"lateral {lateral}"] if "lateral" in attrs else []
    one_of("sampling", sampling, SAMPLING)
    one_of("lateral", lateral, LATERAL)
    if substeps is None:
        routing = stated_seconds(attrs, "routing_step")
        substeps = 1 if routing is None or step is None else _ratio(step, routing)
        if routing is not None and step is not None:
            taken.insert(0, f"substeps {substeps} of {routing:g} s")
    if taken and log:
        _log_once(network, ", ".join(taken))
    return Recipe(substeps, sampling, lateral)  # type: ignore[arg-type]


def resolve_settings(
    network: Network,
    parameters: SchemeParameters,
    step: float | None,
    *,
    substeps: Any = None,
    sampling: str | None = None,
    lateral: str | None = None,
    nan: NaN = "raise",
    log: bool = True,
) -> RoutingSettings:
    """Settings of a run: the recipe, with the substeps that it comes to.

    Arguments are those of `resolve_recipe`, and the parameters of its reaches, which ``substeps="auto"`` looks at.

    Raises
    ------
    ParameterError
        As `resolve_recipe` and `xroute.parameters.resolve_substeps`.
    """
    recipe = resolve_recipe(network, step, substeps, sampling, lateral, log=log)
    n = resolve_substeps(recipe.substeps, parameters, 1.0 if step is None else step, network.ids)
    return RoutingSettings(step, n, recipe.sampling, recipe.lateral, nan)


def step_of(runoff: xr.DataArray, time_dim: Hashable, network: Network, dt: Any = None) -> float | None:
    """Step of runoff [s]: its own (`xroute.times.time_step`), or the network's where its time axis does not tell.

    ``dt`` is the one that the caller gave. None if neither of the three tells.

    Raises
    ------
    TimeAxisError
        As `xroute.times.time_step`.
    ParameterError
        If the network's attribute ``runoff_step`` is wanted, and no span of time.
    """
    return time_step(runoff, time_dim, dt, None if dt is not None else stated_seconds(network.attrs, "runoff_step"))


def resolve_step(network: Network, dt: Any = None) -> float:
    """Step of runoff [s] where there is none to look at: the one given, else the network's.

    Raises
    ------
    TimeAxisError
        If there is neither.
    ParameterError
        If ``runoff_step`` is wanted, and no span of time.
    """
    step = seconds(dt) if dt is not None else stated_seconds(network.attrs, "runoff_step")
    if step is None:
        raise TimeAxisError(f"the step of runoff is not known: give {argument('dt')} (seconds, or '3h')")
    return step


def recipe_in_words(network: Network) -> str | None:
    """The network's recipe in words, or None if it has none.

    Raises
    ------
    ParameterError
        For attributes of impossible values.
    """
    attrs = network.attrs
    routing, runoff = stated_seconds(attrs, "routing_step"), stated_seconds(attrs, "runoff_step")
    sampling, lateral = _choice(attrs, "sampling", SAMPLING), _choice(attrs, "lateral", LATERAL)
    parts = [
        None if routing is None else f"routing step {routing:g} s",
        None if sampling is None else f"sampling {sampling}",
        None if lateral is None else f"lateral {lateral}",
        None if "hillslope" not in attrs else f"hillslope {_choice(attrs, 'hillslope', HILLSLOPE)}",
        None if runoff is None else f"runoff step {runoff:g} s",
    ]
    return ", ".join(part for part in parts if part) or None


def _ratio(step: float, routing: float) -> int:
    n = round(step / routing)
    if n < 1 or abs(step / routing - n) > WHOLE * n:
        raise ParameterError(
            f"a step of runoff of {step:g} s is not a whole number of the network's routing steps of {routing:g} s "
            "(attribute 'routing_step'): give runoff on steps that are, or choose the routing steps in a step yourself, "
            + argument("substeps")
        )
    return n


def stated_seconds(attrs: Mapping[Any, Any], name: str) -> float | None:
    """Seconds that a network's attribute states; None if it has not that attribute.

    Raises
    ------
    ParameterError
        Naming the attribute, if it is no span of time.
    """
    if name not in attrs:
        return None
    value = attrs[name]
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value <= 0:
        raise ParameterError(
            f"the network's attribute {name!r} must be a positive number of seconds, not {value!r}: correct it, or remove it"
        )
    return float(value)


def _choice(attrs: Mapping[Any, Any], name: str, allowed: Any) -> str | None:
    if name not in attrs:
        return None
    value = attrs[name]
    if not isinstance(value, str) or value not in tuple(allowed):
        raise ParameterError(
            f"the network's attribute {name!r} must be one of {', '.join(map(repr, allowed))}, not {value!r}: correct it, "
            "or remove it"
        )
    return str(value)


def _log_once(network: Network, text: str) -> None:
    rapid = str(network.attrs.get("source", "")).startswith("RAPID")
    how = "as RAPID does" if rapid else "as the network's attributes say"
    keep(network, ("logged", text), lambda: logger.info("routed %s: %s", how, text))
