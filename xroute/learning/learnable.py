"""What a calibration learns: parameters, their groups, priors and the penalty for leaving them; and the network it comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.bounded import BoundedParameter, in_range
from xroute.exceptions import ParameterError, XRouteError, some, warn
from xroute.groups import Learned, learned_of
from xroute.hillslope import ORDINATES, hillslope_name, scheme_of
from xroute.learning.problem import Problem
from xroute.learning.request import CalibrationRequest
from xroute.network import Network
from xroute.parameters import parameters_of, read_scheme
from xroute.reach_values import by_reach
from xroute.router import Router
from xroute.router_network import network_with
from xroute.schemes import SCHEMES, Parameter, all_reaches
from xroute.wording import argument

__all__ = [
    "before_of", "learnable_of", "learned_upstream", "network_of", "penalty_of", "prior_network", "prior_of",
    "upstream_of_gauges",
]  # fmt: skip

Tensor = torch.Tensor


def learnable_of(request: CalibrationRequest, network: Network, gauges: Any) -> dict[str, Learned]:
    """What is to be learned on all reaches of a network, by the name of the parameter.

    ``gauges`` are the ids of the reaches with gauges.

    Raises
    ------
    ParameterError
        For no parameters, and groups that there are not.
    """
    given = request.parameters
    if isinstance(given, Mapping):  # as groups=None says, each reach by itself
        given = {name: ("value", None) if how is None else how for name, how in given.items()}
    found = learned_of(given, network, groups=request.groups, gauges=gauges, what=argument("parameters"))
    if not found:
        raise ParameterError(f'{argument("parameters")} names none: which are to be calibrated, such as ("k", "x")?')
    return found


def upstream_of_gauges(problem: Problem, learnable: Mapping[str, Learned]) -> dict[str, Learned]:
    """What can be learned of what is wanted: parameters that reaches upstream of the gauges have.

    Raises
    ------
    ParameterError
        For parameters that no scheme of the network has, and where none of them is upstream of a gauge.
    """
    everywhere = _parameter_names(problem, problem.whole)
    unknown = sorted(set(learnable) - everywhere)
    if unknown:
        raise ParameterError(
            f"{argument('parameters')} names {some(unknown)}, and the network's schemes have {some(sorted(everywhere))}"
        )
    here = learned_upstream(problem, learnable)
    lost = sorted(set(learnable) - set(here))
    if lost:
        text = f"no gauge is downstream of a reach that has the parameters {some(lost)}"
        if len(lost) == len(learnable):
            raise ParameterError(f"{text}: nothing can be calibrated")
        warn(f"{text}: they stay as they are")
    return here


def learned_upstream(problem: Problem, learnable: Mapping[str, Learned]) -> dict[str, Learned]:
    """Of what is wanted, parameters that reaches upstream of the gauges have."""
    here = _parameter_names(problem, problem.network)
    return {name: how for name, how in learnable.items() if name in here}


def _parameter_names(problem: Problem, network: Network) -> set[str]:
    """Parameters of a network's schemes, and of hillslopes, which all reaches have."""
    request = problem.request
    slopes = hillslope_name(problem.whole, request.hillslope)
    of_slopes = set() if slopes in (None, ORDINATES) else {p.name for p in scheme_of(problem.whole, slopes).parameters}
    return of_slopes.union(*(values for _, values in parameters_of(network, request.scheme).values.values()))


def before_of(problem: Problem, learnable: Mapping[str, Learned]) -> xr.Dataset:
    """Parameters that are calibrated, as they were, on the reaches of the whole network."""
    names = [name for name in learnable if name in problem.whole]
    dataset = problem.whole.dataset
    return xr.Dataset({n: dataset[n].broadcast_like(dataset["reach"]) for n in names}).drop_attrs(deep=False)


def prior_network(request: CalibrationRequest, network: Network, learnable: Mapping[str, Learned]) -> Network:
    """The network with priors in place of its own values, for the parameters that there are priors of.

    Raises
    ------
    XRouteError
        For priors of what is not learned, out of range, or of other reaches.
    """
    priors = request.priors
    if priors is None:
        return network
    if not isinstance(priors, Mapping):
        raise ParameterError(f"priors= are by the name of the parameter, such as {{'k': 3600.0}}, not {priors!r}")
    idle = sorted(n for n, how in learnable.items() if n in priors and how.form == "value" and not request.penalty)
    if idle:
        warn(f"priors= of {some(idle)} do nothing without a {argument('penalty')} for leaving them")
    strange = sorted(set(priors) - set(learnable))
    if strange:
        raise ParameterError(f"priors= are of parameters that are not calibrated: {some(strange)}")
    try:
        found = network.assign({name: prior_of(name, value, network) for name, value in priors.items()})
        parameters_of(found, request.scheme)  # refuses what is out of range
    except XRouteError as error:
        raise type(error)(f"priors=: {error}") from error
    return found


def prior_of(name: str, value: Any, network: Network) -> xr.Variable:
    """A prior on the network's reaches; what says no units is in those of the network's own values."""
    if isinstance(value, str):
        if value not in network:
            raise ParameterError(f"that of {name!r} is {value!r}, which is no variable of the network")
        value = network[value]
    variable = by_reach(value, network.ids, name, gaps=False)
    if name in network and "units" not in variable.attrs and variable.dtype.kind != "m":
        variable.attrs |= network[name].attrs
    return variable


def penalty_of(
    problem: Problem, router: Router, learnable: Mapping[str, Learned], prior: Network
) -> Callable[[], Tensor] | None:
    """Mean squared distance of what is learned from its prior, in the form without bounds: logarithms and logits.

    ``prior`` is the whole network with priors. None where nothing is to be paid.
    """
    if not problem.request.penalty:
        return None
    modules = router.learned_parameters
    if problem.request.priors is None:
        aims = {key: module.raw.detach().clone() for key, module in modules.items()}
    else:
        part = prior if problem.network is problem.whole else prior._take(problem.reaches)  # of a stage, not all upstream
        by_value = {name: how for name, how in learnable.items() if how.form == "value"}
        of_prior = problem.router(by_value, part).learned_parameters if by_value else {}
        aims = {
            key: (of_prior[key] if key in of_prior else module).raw.detach().clone() for key, module in modules.items()
        }
    n = sum(module.raw.numel() for module in modules.values())

    def penalty() -> Tensor:
        return torch.stack([(module.raw - aims[key]).square().sum() for key, module in modules.items()]).sum() / n

    return penalty


def network_of(
    problem: Problem, router: Router, learnable: Mapping[str, Learned], base: Network
) -> tuple[Network, NDArray[np.bool_]]:
    """The whole network with what a Router of its part has learned, and which reaches have it.

    Groups' values hold for all their reaches, upstream of a gauge or not; of reaches with values of their own, those upstream of
    gauges have new ones. ``base`` is the whole network with what factors act on.
    """
    by_scheme: dict[str, tuple[NDArray[np.int64], list[tuple[Parameter, Tensor]]]] = {}
    n = problem.whole.n_reaches
    calibrated = np.zeros(n, bool)
    slopes = hillslope_name(problem.whole, problem.request.hillslope)
    in_part = np.full(n, -1)
    in_part[problem.reaches] = np.arange(problem.reaches.size)
    for (scheme, name), module in router.learned_parameters.items():
        at, start, parameter = _whole(problem, base, scheme, name, slopes)
        values, seen = _on_whole(module, learnable[name], at, start, in_part, router, scheme)
        by_scheme[f"{scheme} {name}"] = at[seen], [(parameter, values[torch.from_numpy(seen)])]
        calibrated[at[seen]] = True
    # not with base: reaches that nothing was learned of keep what they had, not the prior
    return network_with(problem.whole, by_scheme, None, problem.request.scheme, slopes), calibrated


def _whole(
    problem: Problem, base: Network, scheme: str, name: str, slopes: str | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], Parameter]:
    """Reaches of the whole network that have a parameter, the values that factors act on, and the parameter."""
    if scheme == slopes:
        of = scheme_of(base, scheme)
        at = all_reaches(base.n_reaches)
        values = read_scheme(base, of, at)
    else:
        of = SCHEMES[scheme]
        at, values = parameters_of(base, problem.request.scheme).values[scheme]
    return at, values[name], next(p for p in of.parameters if p.name == name)


def _on_whole(
    module: BoundedParameter, how: Learned, at: NDArray[np.int64], start: NDArray[np.float64], in_part: NDArray[np.int64],
    router: Router, scheme: str,
) -> tuple[Tensor, NDArray[np.bool_]]:  # fmt: skip
    """Values [reach that has the parameter], and which of them are new."""
    with torch.no_grad():
        of_module = module().detach().cpu()
        group_values = module.group_values().detach().cpu()
    values = torch.from_numpy(start.copy())
    part_at = in_part[at]
    mine = part_at >= 0
    place = np.full(router.n_reaches, -1)
    own = router._at.get(scheme, np.arange(router.n_reaches))
    place[own] = np.arange(own.size)
    values[torch.from_numpy(mine)] = of_module[torch.from_numpy(place[part_at[mine]])]
    if how.groups is None or module.groups is None:
        return values, mine
    labels = how.groups.labels[how.groups.of_reach[at]]
    group = pd.Index(module.groups.labels).get_indexer(pd.Index(labels))
    elsewhere = (group >= 0) & ~mine
    more = group_values[torch.from_numpy(group[elsewhere])]
    if how.form == "scale":
        more = in_range(module.parameter, more * torch.from_numpy(start[elsewhere]))
    values[torch.from_numpy(elsewhere)] = more
    return values, group >= 0
