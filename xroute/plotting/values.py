"""What a map shows of each reach: a variable of the network by its name, or values that callers give, matched by id."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.ids import positions_of
from xroute.network import Network
from xroute.plotting.style import axis_label
from xroute.reach_ids import read_reach_ids
from xroute.reach_values import by_reach
from xroute.topology import reach_variables
from xroute.units import without_pint

__all__ = ["Values", "categories", "read_values"]

Float = NDArray[np.float64]

OF_NETWORK = {"strahler": "strahler", "n_upstream": "n_upstream", "basins": "basins", "basin": "basins"}
"""Names of what every network knows of its reaches, where it has no variable of that name."""


@dataclass(frozen=True)
class Values:
    """Values on the reaches of a network.

    Attributes
    ----------
    numbers : float64 [reach]
        The values, in the network's order; NaN where there is none. Of categories their positions among ``names``, of dates
        days since 1970.
    label
        Name and units.
    names
        Categories, the most frequent first; empty for numbers.
    dates
        Whether they are dates.
    whole
        Whether they are whole numbers.
    """

    numbers: Float
    label: str
    names: tuple[str, ...] = ()
    dates: bool = False
    whole: bool = False

    @property
    def finite(self) -> Float:
        """The values that there are [value]."""
        return self.numbers[np.isfinite(self.numbers)]


def read_values(network: Network, values: Any, what: str = "values") -> Values:
    """Values on the reaches, from whatever a caller gives.

    Parameters
    ----------
    network
        Network.
    values
        The name of a variable of the network on ``reach``, or ``"strahler"``, ``"n_upstream"``, ``"basins"``; a DataArray on
        its reaches, whatever that dimension is called, matched by id; a Series or mapping by id; or an array in the network's
        order. Numbers, durations (drawn in hours), dates, text or booleans.
    what
        What they are for, for messages.

    Raises
    ------
    AlignmentError
        If they lack reaches of the network, or have other dimensions than the reach.
    ParameterError
        For a name that the network does not have, and for what cannot be drawn.
    """
    array = _labelled(network, values, what)
    found = _on_reaches(array, network, what)
    if found.shape != network.ids.shape:
        raise ParameterError(f"{what} {found.shape} of a network of {network.n_reaches} reaches")
    return _drawable(found, array, network, what)


def _labelled(network: Network, values: Any, what: str) -> xr.DataArray:
    if isinstance(values, xr.Dataset):
        raise ParameterError(
            f"{what} are one variable, not a Dataset of {some(values.data_vars)}: choose one, dataset[{_first(values)!r}]"
        )
    if isinstance(values, Hashable) and not isinstance(values, (xr.DataArray, tuple, int, float, np.generic)):
        return _named(network, values, what)
    if isinstance(values, xr.DataArray):
        return without_pint(values, repr(values.name or what))
    if isinstance(values, pd.DataFrame):
        raise ParameterError(f"{what} are one column, not a table: choose one, table[{_first(values)!r}]")
    name = str(values.name) if isinstance(values, pd.Series) and values.name is not None else what
    if isinstance(values, Mapping):
        values = pd.Series(dict(values))
    variable = by_reach(values, network.ids, name)
    return xr.DataArray(variable, coords={"reach": network.ids}, name=None if name == what else name)


def _first(table: Any) -> str:
    return str(next(iter(table), ""))


def _named(network: Network, name: Hashable, what: str) -> xr.DataArray:
    dataset = network.dataset
    if name in dataset.variables:
        if dataset[name].dims == ("reach",):
            return without_pint(dataset[name], repr(name)).assign_coords(reach=network.ids)
        raise ParameterError(
            f"{name!r} is on {some(dataset[name].dims) or 'no dimension'} of the network, and a map shows what is on 'reach': "
            f"{some(reach_variables(dataset))}"
        )
    if name in OF_NETWORK:
        found: xr.DataArray = getattr(network, OF_NETWORK[str(name)])
        return found
    if isinstance(dataset.attrs.get(name), str):  # one for all, such as the scheme
        return xr.DataArray([dataset.attrs[name]] * network.n_reaches, {"reach": network.ids}, name=name)
    raise ParameterError(
        f"the network has no variable {name!r} for {what}; on its reaches there are "
        f"{some([*reach_variables(dataset), 'strahler', 'n_upstream', 'basins'], 20)}, or give a DataArray on 'reach'"
    )


def _on_reaches(array: xr.DataArray, network: Network, what: str) -> NDArray[Any]:
    """The values in the network's order; computed once, if they are lazy."""
    if array.ndim > 1:
        array = array.squeeze([d for d in array.dims if array.sizes[d] == 1 and d != "reach"], drop=True)
    if not array.ndim:
        array = array.expand_dims("reach")
    if array.ndim > 1:
        dim = _reach_dim(array, network, what)
        others = [str(d) for d in array.dims if d != dim]
        name = str(array.name) if array.name else what
        raise AlignmentError(
            f"a map shows one value a reach, and {name} is on {some(array.dims)}: reduce the others, such as "
            f"{name}.max({others if len(others) > 1 else others[0]!r}), or select from them, {name}.isel({others[0]}=0)"
        )
    dim, _, ids = read_reach_ids(array, network.ids, None, None, what)
    at = positions_of(network.ids, ids)
    if (at < 0).any():
        lost = network.ids[at < 0]
        raise AlignmentError(
            f"the {what} lack reaches of the network: {some(lost)}. Put NaN where there is none, "
            f"{array.name or what}.reindex({dim}=network.{'reach' if dim == 'reach' else 'ids'}), or draw a part of the "
            "network, network.basin(...)"
        )
    return np.asarray(array.values)[at]


def _reach_dim(array: xr.DataArray, network: Network, what: str) -> Hashable:
    try:
        return read_reach_ids(array, network.ids, None, None, what)[0]
    except AlignmentError:
        return array.dims[-1]


def _drawable(found: NDArray[Any], array: xr.DataArray, network: Network, what: str) -> Values:
    """Values as numbers, or as categories."""
    label, kind = axis_label(array), found.dtype.kind
    if kind == "m":
        hours = found / np.timedelta64(1, "h")
        return Values(hours, axis_label(array.to_dataset(name="_")["_"].assign_attrs(units="h").rename(array.name or what)))
    if kind == "M":
        days = (found - np.datetime64("1970-01-01", "ns")) / np.timedelta64(1, "D")
        return Values(days, label, dates=True)
    if kind == "O":
        missing = pd.isna(found)
        if all(isinstance(v, str) for v in found[~missing]):
            return categories(np.where(missing, "", found).astype(str), missing, label)
        try:
            found, kind = np.where(missing, np.nan, found).astype(np.float64), "f"
        except (TypeError, ValueError) as error:
            kinds = f"{some(found, 3)} are neither numbers nor text"
            raise ParameterError(f"{array.name or what} cannot be drawn: {kinds}") from error
    if kind in "US" or kind == "b" or array.name == "basin":
        text = np.char.decode(found) if kind == "S" else found.astype(str)
        return categories(text, np.zeros(text.size, bool) if kind == "b" else text == "", label)
    if kind not in "iuf":
        raise ParameterError(f"{array.name or what} cannot be drawn: its values are {found.dtype}")
    numbers = found.astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return Values(numbers, label, whole=kind in "iu")


def categories(text: NDArray[Any], missing: NDArray[np.bool_], label: str) -> Values:
    """Values that are categories [reach], the most frequent first."""
    names, at, count = np.unique(text[~missing], return_inverse=True, return_counts=True)
    order = np.lexsort((names, -count))
    rank = np.empty(names.size)
    rank[order] = np.arange(names.size)
    numbers = np.full(text.size, np.nan)
    numbers[~missing] = rank[at]
    return Values(numbers, label, names=tuple(names[order].tolist()))
