"""Parameters of a `Router`, written back into its network: in the units that they have there, where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.hillslope import ORDINATES
from xroute.network import Network
from xroute.placeholders import DECLARED
from xroute.reach_values import ESTIMATED
from xroute.schemes import Parameter, all_reaches
from xroute.settings import HILLSLOPE
from xroute.units import to_si

__all__ = ["network_with"]

Index = NDArray[np.int64]
Values = Sequence[tuple[Parameter, torch.Tensor]]
"""Parameters, and their values in SI units [their reaches]."""


def network_with(
    network: Network, by_scheme: Mapping[str, tuple[Index, Values]], of_slopes: Values | None, scheme: str | None,
    hillslope: str | None,
) -> Network:  # fmt: skip
    """The network with other values of parameters, and with a scheme and a hillslope.

    Parameters
    ----------
    network
        Network.
    by_scheme
        Positions of the reaches of each scheme, and its parameters.
    of_slopes
        Parameters of the hillslopes on all reaches; None where there are none.
    scheme
        Scheme of all reaches, in place of what the network says; None for the latter.
    hillslope
        Name of the hillslopes, or `ORDINATES`; None for none.
    """
    made: dict[str, xr.Variable] = {}
    for _ in range(2):  # a variable that is made for one scheme has the defaults of others too
        for at, values in by_scheme.values():
            for parameter, value in values:
                _put(made, network, parameter, at, value)
    for parameter, value in of_slopes or ():
        _put(made, network, parameter, all_reaches(network.n_reaches), value)
    result = network.assign(made) if made else network
    if scheme is not None and "scheme" in network:
        result = result.assign(scheme=scheme)
    elif scheme is not None and network.attrs.get("scheme") != scheme:
        result = result.assign_attrs(scheme=scheme)
    named = HILLSLOPE[0] if hillslope is None else hillslope
    if named != ORDINATES and network.attrs.get("hillslope", HILLSLOPE[0]) != named:
        result = result.assign_attrs(hillslope=named)
    return result


def _put(
    made: dict[str, xr.Variable], network: Network, parameter: Parameter, at: Index, value: torch.Tensor
) -> None:
    """Put the values of a parameter on some reaches into its variable, if they are other than the network's."""
    name, n, values = parameter.name, network.n_reaches, value.detach().cpu().numpy()
    there = network[name] if name in network else None
    if there is None:
        if name not in made and (values == parameter.default).all():
            return
        attrs = {"units": parameter.units} | ({"long_name": parameter.long_name} if parameter.long_name else {})
        before = np.full(n, np.nan if at.size < n else 0.0)
        variable = made.get(name, xr.Variable("reach", before, attrs))
        variable.values[at] = values
        made[name] = variable
        return
    if (np.broadcast_to(to_si(there, parameter.units, f"parameter {name!r}"), n)[at] == values).all():
        return
    attrs = {k: v for k, v in there.attrs.items() if k not in (ESTIMATED, DECLARED)}
    if name not in made:
        before = np.broadcast_to(there.values, n)
        made[name] = xr.Variable("reach", before.copy() if before.dtype.kind == "m" else before.astype(np.float64), attrs)
    if there.dtype.kind == "m":  # a time span by its type
        unit = np.timedelta64(1, "ns") if np.datetime_data(there.dtype)[0] in ("ns", "us", "ms", "s") else np.timedelta64(1, "s")
        made[name].values[at] = np.round(values * (np.timedelta64(1, "s") / unit)).astype("int64") * unit
        return
    one = xr.DataArray(1.0, attrs={n: v for n, v in there.attrs.items() if n == "units"})
    made[name].values[at] = values / float(to_si(one, parameter.units, f"parameter {name!r}"))
