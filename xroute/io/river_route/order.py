"""The order of rivers in river-route's files, which have no ids to be matched by: upstream before downstream."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, some
from xroute.io.layouts import downstream_of
from xroute.io.river_route.layout import OUTLET
from xroute.network import Network

__all__ = ["DepthFirst", "depth_first", "whole_number_ids"]


class DepthFirst(NamedTuple):
    """Reaches of a network in the order of a file.

    Attributes
    ----------
    row : int64 [river]
        Position in the network of each river of the file.
    below : int64 [river]
        Position in the network of the reach downstream; -1 at outlets.
    n_upstream : int64 [river]
        How many rivers are upstream of each.
    """

    row: NDArray[np.int64]
    below: NDArray[np.int64]
    n_upstream: NDArray[np.int64]

    def downstream(self, ids: NDArray[Any]) -> NDArray[Any]:
        """Ids of the rivers downstream, -1 at outlets."""
        return np.where(self.below < 0, OUTLET, ids[np.maximum(self.below, 0)]) if ids.size else ids


def depth_first(river: Network, version: int) -> DepthFirst:
    """Reaches as river-route wants them: as they stand where that will do, else depth first, outlets last.

    Raises
    ------
    NetworkError
        For bifurcations, which river-route has not.
    """
    plan, at = river.plan, np.arange(river.n_reaches)
    below = downstream_of(river, "river-route")
    count = np.asarray(plan.n_upstream, np.int64) - 1
    linked = below >= 0
    stands = bool((below[linked] > at[linked]).all())
    if stands and version == 3:  # the rows upstream of a river begin no later than those upstream of its tributaries
        stands = bool(((at - count)[linked] >= (below - count[below])[linked]).all())
    row = at if stands else np.asarray(plan.order, np.int64)
    return DepthFirst(row, below[row], count[row])


def whole_number_ids(ids: NDArray[Any]) -> None:
    """Refuse ids that river-route cannot hold.

    Raises
    ------
    NetworkError
        For text, and an id that marks outlets.
    """
    if ids.dtype.kind != "i":
        raise NetworkError(
            f"river-route's ids are whole numbers, and these are text: {some(ids)}. Give the reaches numbers: "
            "network.assign_coords(reach=range(1, network.sizes['reach'] + 1)), and the same to runoff"
        )
    if (ids == OUTLET).any():
        raise NetworkError(f"{OUTLET} marks outlets in river-route, and is the id of a reach here: give it another")
