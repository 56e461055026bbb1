"""Learned parameters as variables of a network, in the units that it has them in, and marked as learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from xroute.hillslope import hillslope_name
from xroute.learning.forms import is_of_slopes
from xroute.learning.model_inputs import ModelInputs
from xroute.network import Network
from xroute.router_network import network_with

__all__ = ["LEARNED", "with_learned"]

LEARNED = "learned"
"""Attribute of variables, and of networks that have some, that were learned from attributes: what, and of which."""


def with_learned(network: Network, values: Mapping[str, torch.Tensor], inputs: ModelInputs, told: str) -> Network:
    """A network with parameters in SI units [reach]; those of reaches whose scheme does not have them stay.

    Parameters
    ----------
    network, inputs
        A network, and what a model was given of it.
    values
        What the model says.
    told
        Where they come from, in words.
    """
    by_scheme: dict[str, Any] = {}
    for of in inputs.schemes:
        at = of.at.cpu()
        parameters = [p for p in of.scheme.parameters if p.name in of.forms]
        by_scheme[of.scheme.name] = at.numpy(), [(p, values[p.name].cpu()[at]) for p in parameters]
    rivers = [of.scheme.name for of in inputs.schemes if not is_of_slopes(of.scheme)]
    slopes = [of.scheme.name for of in inputs.schemes if is_of_slopes(of.scheme)]
    names_one = "scheme" in network.dataset.variables or "scheme" in network.attrs
    scheme = rivers[0] if len(rivers) == 1 and not names_one else None
    made = network_with(network, by_scheme, None, scheme, slopes[0] if slopes else hillslope_name(network, None))
    marked = {name: made[name].assign_attrs({LEARNED: told}) for name in values if name in made}
    return made.assign(marked).assign_attrs(**{LEARNED: f"{', '.join(values)}: {told}"})
