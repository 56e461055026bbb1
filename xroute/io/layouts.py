"""Networks for the writers of other systems' files: ids, links, parameters and places as a layout has them.

Each function takes a `Network` and gives what is written of it, or says what has no place there; `layout_series` does the
same for series and states. Nothing is written here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, ParameterError, some
from xroute.network import Network
from xroute.parameters import read_parameters

__all__ = ["compact", "downstream_of", "muskingum_of", "places_of", "upwards_first", "whole_numbers"]


def whole_numbers(ids: NDArray[Any], system: str) -> NDArray[np.int64]:
    """Ids of a system that has no others than whole numbers from 1 on.

    Raises
    ------
    NetworkError
        For text, and for ids of zero or less, which mark outlets there.
    """
    if ids.dtype.kind != "i":
        raise NetworkError(
            f"ids of {system} are whole numbers, and these are text ({some(ids[:3])}): number the reaches first, "
            "network.assign_coords(reach=...), in runoff and states too"
        )
    if ids.size and ids.min() <= 0:
        raise NetworkError(f"{system} takes ids of 0 and less for outlets, and {some(ids[ids <= 0])} are ids of reaches here")
    return ids


def compact(numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Whole numbers as int32, in which many systems count, where they fit."""
    fit = not numbers.size or (numbers.min() >= -(2**31) and numbers.max() < 2**31)
    return numbers.astype(np.int32) if fit else numbers


def downstream_of(network: Network, system: str) -> NDArray[np.int64]:
    """Row of the reach downstream of each, -1 at outlets.

    Raises
    ------
    NetworkError
        Where a reach drains to several, or a part of it leaves, which the system has no words for.
    """
    upstream, downstream, fraction = network.links
    parted = network.has_bifurcations or bool((fraction != 1.0).any())
    if parted:
        raise NetworkError(
            f"a reach of {system} drains to one reach, or to none, as a whole, and in this network some drain to several or "
            "in parts: the layout has no place for fractions"
        )
    below = np.full(network.n_reaches, -1, np.int64)
    below[upstream] = downstream
    return below


def upwards_first(network: Network, below: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows from upstream to downstream: as they stand, where each stands above the reach that it drains to."""
    rows = np.arange(below.size)
    linked = below >= 0
    return rows if (below[linked] > rows[linked]).all() else network.plan.order.astype(np.int64)


def places_of(network: Network) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Longitude and latitude of reaches [degrees], in the network's order; None where it has none."""
    dataset = network.dataset
    if not all(name in dataset.variables and dataset[name].dims == ("reach",) for name in ("lon", "lat")):
        return None
    return dataset["lon"].to_numpy().astype(np.float64), dataset["lat"].to_numpy().astype(np.float64)


def muskingum_of(network: Network, system: str) -> dict[str, NDArray[np.float64]]:
    """``k`` [s] and ``x`` of each reach, of a network that is routed by Muskingum's equation.

    Raises
    ------
    ParameterError
        For other schemes, and values that `route` refuses, too.
    """
    schemes = read_parameters(network)
    others = sorted(set(schemes) - {"muskingum"})
    if others:
        raise ParameterError(
            f"{system} routes by Muskingum's equation only, and reaches of this network by {some(others)}: give them k and x, "
            'and the attribute scheme="muskingum"'
        )
    found = {name: np.empty(network.n_reaches) for name in ("k", "x")}
    for at, parameters in schemes.values():
        for name, values in found.items():
            values[at] = parameters[name]
    return found
