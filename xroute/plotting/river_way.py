"""The way of the water from a reach down a river: which reaches it passes, how far they are, and what joins them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.earth import distances
from xroute.exceptions import NetworkError, ParameterError, some, warn
from xroute.network import Network
from xroute.places import find_places, has_places
from xroute.topology import drains_to
from xroute.units import to_si
from xroute.wording import argument

__all__ = ["Way", "find_way"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Way:
    """Reaches one below the other.

    Attributes
    ----------
    reach : int64 [reach]
        Their positions in the network, downstream.
    edges : [reach + 1]
        Distance at which each begins, and at which the last one ends, in km from the head of the first; or counted in reaches.
    units
        ``"km"``, or ``""`` where distances are counted in reaches.
    joined : int64 [confluence]
        Which reaches along the way others flow into, beside the one above; at their heads.
    share : [confluence]
        Share of the reaches upstream of there that these tributaries have.
    parts
        Whether rivers part on the way, so that it goes on along the larger arm.
    """

    reach: Index
    edges: Float
    units: str
    joined: Index
    share: Float
    parts: bool


def find_way(network: Network, reach: Hashable | None = None, to: Hashable | None = None) -> Way:
    """The way from a reach to the outlet, or to a reach downstream.

    Parameters
    ----------
    network
        Network. Where rivers part, the way goes along the largest fraction.
    reach
        Id of the reach to begin at. By default, and of an outlet, the way is the longest one to ``to``, or to the outlet that
        most reaches drain to.
    to
        Id of the last reach.

    Raises
    ------
    NetworkError
        For ids that there are not, and where water from ``reach`` does not come to ``to``.
    """
    if not network.n_reaches:
        raise NetworkError("the network has no reaches, so that there is no way down")
    onward = drains_to(network.links, network.n_reaches)
    length, units = _lengths(network, onward)
    begin = None if reach is None else int(network.position(reach)[0])
    end = None if to is None else int(network.position(to)[0])
    if begin is not None and onward[begin] < 0 and end is None:
        begin, end = None, begin
    if begin is None:
        end = int(np.argmax(network.n_upstream.to_numpy())) if end is None else end
        begin = _farthest(network, onward, length, end)
    way = [begin]
    while way[-1] != end and onward[way[-1]] >= 0:
        way.append(int(onward[way[-1]]))
    if end is not None and way[-1] != end:
        last = network.ids[way[-1]].item()
        raise NetworkError(f"the water of reach {reach!r} does not come to {argument('to')} {to!r}: its way ends at {last!r}")
    path = np.array(way, np.int64)
    edges = np.concatenate([[0.0], np.cumsum(length[path])])
    return Way(path, edges, units, *_tributaries(network, path), parts=_parts(network, path))


def _lengths(network: Network, onward: Index) -> tuple[Float, str]:
    """Length of each reach [km]: as given, or from its place to that of the reach below; 1 where there is neither."""
    if "length" in network:
        length = to_si(network["length"], "m", "length") / 1e3
        bad = ~(np.isfinite(length) & (length >= 0))
        if not bad.any() and (length > 0).any():
            return length, "km"
        n = "all reaches are 0"
        if bad.any():
            n = f"{int(bad.sum())} of {bad.size} reaches are missing or below 0: {some(network.ids[bad])}"
        warn(f"lengths of {n}. Distances are taken between places instead, or counted in reaches")
    if has_places(network.dataset):
        try:
            places = find_places(network.dataset)
        except ParameterError:  # none of them is one
            return np.ones(network.n_reaches), ""
        if places.known.all():
            below = np.where(onward < 0, np.arange(onward.size), onward)
            if places.degrees:
                length = distances(places.x, places.y, places.x[below], places.y[below]) / 1e3
            else:
                size = to_si(xr.DataArray(1.0, attrs={"units": places.units}), "m", "coordinates")
                length = np.hypot(places.x - places.x[below], places.y - places.y[below]) * float(size) / 1e3
            above = np.bincount(below[onward >= 0], length[onward >= 0], onward.size)
            count = np.bincount(below[onward >= 0], minlength=onward.size)
            last = onward < 0  # an outlet is as long as those above it are in the mean
            length[last] = np.where(count[last] > 0, above[last] / np.maximum(count[last], 1), 0.0)
            if (length > 0).any():
                return length, "km"
    return np.ones(network.n_reaches), ""


def _farthest(network: Network, onward: Index, length: Float, end: int) -> int:
    """The reach whose water has the longest way to another, along the largest fractions."""
    far = np.full(network.n_reaches, -np.inf)
    far[end] = 0.0
    for reach in network.plan.order[::-1].tolist():
        below = onward[reach]
        if below >= 0 and reach != end:
            far[reach] = far[below] + length[reach]
    return int(np.argmax(far))


def _tributaries(network: Network, path: Index) -> tuple[Index, Float]:
    """Which reaches of a way others flow into, and how much of what lies upstream comes with them."""
    upstream, downstream, _ = network.links
    place = np.full(network.n_reaches, -1)
    place[path] = np.arange(path.size)
    at = place[downstream]
    beside = (at > 0) & (place[upstream] < 0)
    size = network.n_upstream.to_numpy().astype(float)
    coming = np.bincount(at[beside], size[upstream[beside]], path.size)
    joined = np.flatnonzero(coming > 0)
    return joined, coming[joined] / np.maximum(size[path[joined]], 1.0)


def _parts(network: Network, path: Index) -> bool:
    upstream, _, fraction = network.links
    n_below = np.bincount(upstream[fraction > 0], minlength=network.n_reaches)
    return bool((n_below[path[:-1]] > 1).any())
