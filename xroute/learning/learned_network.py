"""Learned parameters as variables of a network, in the units that it has them in, and marked as learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.learning.model_inputs import ModelInputs
from xroute.network import Network
from xroute.placeholders import DECLARED
from xroute.reach_values import ESTIMATED
from xroute.schemes import Parameter
from xroute.units import to_si

__all__ = ["LEARNED", "with_learned"]

LEARNED = "learned"
"""Attribute of variables that were learned from attributes: by what."""


def with_learned(
    network: Network, values: Mapping[str, NDArray[np.float64]], inputs: ModelInputs, told: str
) -> Network:
    """A network with parameters in SI units [reach], NaN on reaches that keep what they have."""
    made: dict[str, Any] = {}
    for of in inputs.schemes:
        parameters = {p.name: p for p in of.scheme.parameters}
        for name in of.forms:
            made.setdefault(name, _variable(network, parameters[name], values[name], told))
    dataset = network.dataset
    if "scheme" not in dataset.variables and "scheme" not in dataset.attrs and len(inputs.schemes) == 1:
        network = network.assign_attrs(scheme=inputs.schemes[0].scheme.name)
    attrs = {LEARNED: f"{', '.join(made)}: {told}"}
    return network.assign(made).assign_attrs(**attrs)


def _variable(
    network: Network, parameter: Parameter, values: NDArray[np.float64], told: str
) -> tuple[str, NDArray[np.float64], dict[str, Any]]:
    """A parameter as a variable: in the units of the one that it takes the place of."""
    attrs: dict[str, Any] = {"units": parameter.units}
    attrs |= {"long_name": parameter.long_name} if parameter.long_name else {}
    absent = np.isnan(values)
    if parameter.name in network:
        old = network[parameter.name]
        before = np.broadcast_to(to_si(old, parameter.units, parameter.name), values.shape)
        values = np.where(absent, before, values)
        if old.dtype.kind != "m":
            attrs |= old.attrs
            factor = float(to_si(xr.DataArray(1.0, attrs=old.attrs), parameter.units, parameter.name))
            values = values if factor == 1.0 else values / factor
        else:
            attrs = {**old.attrs, **attrs}
    for mark in (ESTIMATED, DECLARED):
        attrs.pop(mark, None)
    return "reach", values, {**attrs, LEARNED: told}
