"""Where a picture of a network puts its reaches: on the map, or in a tidy tree where nobody knows their places.

The tree has outlets at the bottom and basins side by side. A basin is as wide as it has headwaters, tributaries lie side by
side within it, and nothing crosses; where rivers part, the smaller arms are drawn over the tree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from xroute.caches import keep
from xroute.engine.plan import accumulate
from xroute.exceptions import one_of, some, warn
from xroute.network import Network
from xroute.places import find_places, has_places
from xroute.plotting.style import INK, PALE, units_label
from xroute.topology import drains_to
from xroute.wording import argument

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Layout", "Points", "dress", "layout_points", "places", "warn_of_unplaced"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Layout = Literal["auto", "map", "tree"]
LABEL = 62.0
"""Points that the label of a degree takes, with room beside it."""


@dataclass(frozen=True)
class Points:
    """Where the reaches of a network stand in a picture.

    Attributes
    ----------
    x, y : float64 [reach]
        In data coordinates of the axes; NaN for a reach that has no place.
    kind
        ``"degrees"``, ``"projected"`` or ``"tree"``.
    units
        Of coordinates in a projection.
    """

    x: Float
    y: Float
    kind: Literal["degrees", "projected", "tree"]
    units: str = ""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which reaches have a place [reach]."""
        return np.isfinite(self.x)

    def of(self, positions: Index) -> Points:
        """Those of some reaches, so that a part of a network is drawn where the whole is."""
        return replace(self, x=self.x[positions], y=self.y[positions])


def layout_points(network: Network, layout: Layout = "auto") -> Points:
    """Where to draw the reaches: their places, or those of a tidy tree.

    Parameters
    ----------
    network
        Network.
    layout
        ``"map"`` from coordinates, ``"tree"``, or ``"auto"``: a map if the network has coordinates.

    Raises
    ------
    ParameterError
        For another layout, or for a map without coordinates.
    """
    one_of("layout", layout, get_args(Layout))
    if layout == "auto":
        layout = "map" if has_places(network.dataset) else "tree"
    return keep(network, ("points", layout), lambda: _map(network) if layout == "map" else _tree(network))


def places(network: Network) -> tuple[Float, Float]:
    """Longitude and latitude of each reach [degrees], wrapped about the network's middle; NaN for a reach that has none.

    Raises
    ------
    ParameterError
        If the network has no coordinates, or no reach has a valid one.
    """
    points = layout_points(network, "map")
    return points.x, points.y


def warn_of_unplaced(network: Network, points: Points) -> None:
    """Say how many reaches a picture leaves out because nobody knows where they are."""
    lost = ~points.known
    if lost.any():
        n = int(lost.sum())
        warn(
            f"{n} of {network.n_reaches} reaches {'has no place and is' if n == 1 else 'have no place and are'} not drawn "
            f"(coordinates that are NaN, a fill value or out of range): {some(network.ids[lost])}. "
            "Rivers are drawn straight across the gap"
        )


def _map(network: Network) -> Points:
    found = find_places(network.dataset, f"or draw a tree, {argument('layout', 'tree')}")
    return Points(found.x, found.y, "degrees" if found.degrees else "projected", found.units)


# ── the tree ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tree(network: Network) -> Points:
    """A tidy tree: y counts links to the outlet, x headwaters from the left; a reach stands in the middle of its own."""
    n = network.n_reaches
    below = drains_to(network.links, n)
    leaf = np.bincount(below[below >= 0], minlength=n) == 0
    level, _ = _sum_down(below, (below >= 0).astype(np.float64))
    # Upstream before downstream also along the larger arms alone, which are what the tree is made of.
    n_leaves = accumulate(network.plan.order, below, leaf.astype(np.float64))
    start, outlet = _sum_down(below, _offset_of_siblings(below, n_leaves, level))
    is_outlet = below < 0
    width = np.where(is_outlet, n_leaves, 0.0)
    left = np.cumsum(width) - width  # trees side by side, in the order of their outlets
    return Points(left[outlet] + start + 0.5 * (n_leaves - 1), level, "tree")


def _sum_down(below: Index, value: Float) -> tuple[Float, Index]:
    """Sum of values from each reach to its outlet, both included, and the outlet's position: in log(longest path) rounds."""
    at, total = below.copy(), value.copy()
    last = np.arange(below.size)
    going = np.flatnonzero(at >= 0)
    while going.size:
        to = at[going]
        gain, onward, end = total[to], at[to], last[to]
        total[going] += gain
        last[going], at[going] = end, onward
        going = going[onward >= 0]
    return total, last


def _offset_of_siblings(below: Index, n_leaves: Float, level: Float) -> Float:
    """How far right of its parent's left edge each reach begins: the headwaters of the siblings before it.

    The largest tributary comes first or last by turns, level by level, so that long rivers wind about the middle of their basin.
    """
    turn = np.where(level % 2 == 0, 1.0, -1.0)
    order = np.lexsort((turn * n_leaves, below))
    parent, size = below[order], n_leaves[order]
    before = np.cumsum(size) - size
    first = np.flatnonzero(np.r_[True, parent[1:] != parent[:-1]]) if parent.size else np.zeros(0, np.int64)
    group = np.repeat(before[first], np.diff(np.append(first, parent.size)))
    offset = np.empty(below.size)
    offset[order] = np.where(parent >= 0, before - group, 0.0)
    return offset


# ── axes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def dress(ax: Axes, points: Points) -> None:
    """Axes of a map in degrees east and north, as wide as the Earth is there; of a projection; or of a tree."""
    from matplotlib.ticker import MaxNLocator

    known = points.known
    _limit(ax, points.x[known], points.y[known])
    ax.spines[:].set_visible(False)
    ax.tick_params(color=PALE, labelcolor=INK)
    if points.kind == "tree":
        ax.set_aspect("auto")
        ax.set_xticks([])
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_ylabel("Links to the outlet", color=INK)
        return
    ax.xaxis.set_major_locator(_few_ticks()())
    ax.locator_params(axis="y", nbins=5)
    if points.kind == "projected":
        ax.set_aspect("equal")
        units = units_label(points.units)
        ax.set_xlabel(f"Easting [{units}]", color=INK)
        ax.set_ylabel(f"Northing [{units}]", color=INK)
        return
    lat = points.y[known]
    middle = 0.5 * (lat.min() + lat.max()) if lat.size else 0.0
    ax.set_aspect(1.0 / max(np.cos(np.radians(middle)), 0.05))
    ax.xaxis.set_major_formatter(lambda value, _: _degrees((value + 180.0) % 360.0 - 180.0, "E", "W"))
    ax.yaxis.set_major_formatter(lambda value, _: _degrees(value, "N", "S"))


@cache
def _few_ticks() -> Any:
    """The class of locators of as many ticks, five at most, as an axis has room for labels such as ``179.5°W``."""
    from matplotlib.ticker import MaxNLocator

    base: Any = MaxNLocator

    class FewTicks(base):
        def __call__(self) -> Any:
            axes = self.axis.axes
            points = axes.bbox.width * 72 / axes.get_figure(root=True).dpi
            self.set_params(nbins=int(np.clip(points // LABEL, 1, 5)))
            return super().__call__()

    return FewTicks


def _degrees(value: float, plus: str, minus: str) -> str:
    return f"{abs(value):g}°" + ("" if abs(value) == 180.0 else minus if value < 0 else plus)


def _limit(ax: Axes, x: Float, y: Float) -> None:
    """Show all reaches with a margin, and what an earlier picture on these axes shows."""
    if x.size:
        ax.update_datalim([(x.min(), y.min()), (x.max(), y.max())])
    ax.autoscale_view()
    for low, high, set_limits in ((*ax.dataLim.intervalx, ax.set_xlim), (*ax.dataLim.intervaly, ax.set_ylim)):
        if low == high:  # one reach, or a straight canal: not a thousandth of a degree from end to end
            set_limits(low - 0.5, low + 0.5)
