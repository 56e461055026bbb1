"""The grid that a network is to couplers: its nodes are the reaches, in the network's order, and its edges the links."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some, warn
from xroute.network import Network
from xroute.places import find_places, has_places

__all__ = ["RiverGrid", "fill"]


class RiverGrid:
    """Reaches and links: ``unstructured`` where reaches have coordinates, else ``none``.

    Attributes
    ----------
    size, n_edges
        Reaches, and links.
    kind, rank
        Type of grid, and how many coordinates a node has.
    edge_nodes : int64 [2 x link]
        Positions of the reaches at both ends of each link, the upstream one first.
    """

    def __init__(self, network: Network) -> None:
        self.size = int(network.n_reaches)
        links = network.links
        self.edge_nodes = np.stack([links.upstream, links.downstream], axis=1).reshape(-1)
        self.n_edges = int(links.upstream.size)
        self._places: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        if has_places(network.dataset):
            found = find_places(network.dataset, advice="or remove them, and the grid has none")
            self._places = found.x, found.y
            unknown = network.ids[~found.known]
            if unknown.size:
                warn(f"{unknown.size} reaches have no coordinates, and are NaN in the grid's: {some(unknown)}")
        self.kind, self.rank = ("none", 0) if self._places is None else ("unstructured", 2)

    def coordinate(self, axis: int) -> NDArray[np.float64]:
        """Longitude or easting (0), latitude or northing (1) of each reach."""
        if self._places is None:
            raise NotImplementedError("the network has no coordinates: give its reaches lon and lat, and the grid has x and y")
        return self._places[axis]


def fill(dest: NDArray[Any], values: NDArray[Any], what: str) -> NDArray[Any]:
    """Copy values into an array that a caller holds.

    Raises
    ------
    ParameterError
        For what is no array, or one of another size or of a type that cannot hold them.
    """
    if not isinstance(dest, np.ndarray):
        raise ParameterError(f"{what} is put into an array of numpy, not into a {type(dest).__name__}")
    if dest.size != values.size:
        raise ParameterError(f"{what} has {values.size} values, and the array to put them into has room for {dest.size}")
    try:
        np.copyto(dest, values.reshape(dest.shape), casting="same_kind")
    except (TypeError, ValueError) as error:  # of another type, or read-only
        raise ParameterError(f"{what} is {values.dtype}, and cannot be put into an array of {dest.dtype}: {error}") from error
    return dest
