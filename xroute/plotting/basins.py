"""Basins on a map: which reach is in which, and the hull of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError
from xroute.ids import within
from xroute.network import Network
from xroute.plotting.layout import Points
from xroute.plotting.legends import Group
from xroute.plotting.scales import category_scale
from xroute.plotting.values import Values, categories

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["colour_basins", "draw_hulls", "hulls_of"]

Float = NDArray[np.float64]


def colour_basins(network: Network, basins: Any) -> Values:
    """The basin of each reach as categories: True for those of all outlets, or ids for what drains through these.

    Raises
    ------
    NetworkError
        For ids that the network does not have.
    ParameterError
        If there are no ids.
    """
    if basins is True:
        return categories(network.basins.to_numpy().astype(str), np.zeros(network.n_reaches, bool), "Basin, by its outlet")
    ids = [basins] if np.ndim(basins) == 0 else list(basins)
    if not ids:
        raise ParameterError("basins is True, or ids of reaches, and not an empty list")
    parts = sorted((within(network.ids, network.upstream(i)) for i in ids), key=lambda part: -int(part.sum()))
    at = network.position(ids)
    name = np.full(network.n_reaches, "", dtype=network.ids.astype(str).dtype)
    for part in parts:  # smaller ones lie within larger ones
        own = at[part[at]]
        outlet = next(int(p) for p in own if np.array_equal(within(network.ids, network.upstream(network.ids[p])), part))
        name[part] = str(network.ids[outlet])
    return categories(name, name == "", "Drains through reach")


def hulls_of(points: Points, basins: Values) -> tuple[list[tuple[str, Any, Float]], list[tuple[str, Any]]]:
    """Name, colour and convex hull [corner, 2] of each basin that has places; and names and colours for a legend."""
    scale, entries = category_scale(basins)
    found = []
    colours = scale.cmap(scale.norm(np.arange(len(basins.names), dtype=float)))
    order = np.argsort(basins.numbers, kind="stable")  # NaN, in no basin, comes last
    edges = np.searchsorted(basins.numbers[order], np.arange(len(basins.names) + 1))
    for basin, name in enumerate(basins.names):
        inside = order[edges[basin] : edges[basin + 1]]
        inside = inside[points.known[inside]]
        if inside.size:
            found.append((name, colours[basin][:3], _hull(np.column_stack([points.x[inside], points.y[inside]]))))
    return found, entries


def draw_hulls(ax: Axes, points: Points, basins: Values) -> Group:
    """Convex hulls of the basins beneath their rivers; what a legend says of them."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    hulls, entries = hulls_of(points, basins)
    faces, edges = ([to_rgba(colour, alpha) for _, colour, _ in hulls] for alpha in (0.12, 0.7))
    ax.add_collection(
        PolyCollection(
            [corners for *_, corners in hulls], facecolors=faces, edgecolors=edges, linewidths=1.2, joinstyle="round", zorder=0.5
        )
    )
    return Group(basins.label, [Patch(facecolor=to_rgba(c, 0.2), edgecolor=c, label=name) for name, c in entries])


def _hull(place: Float) -> Float:
    """Corners of the convex hull of points [point, 2]; of points in a line its two ends."""
    from scipy.spatial import ConvexHull, QhullError

    place = np.unique(place, axis=0)
    if len(place) < 3:
        return place
    try:
        return place[ConvexHull(place).vertices]
    except QhullError:  # all in a line
        return place[[0, -1]]
