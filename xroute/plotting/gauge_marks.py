"""Gauges on a map: dots at their reaches, and names that keep clear of each other, of the dots and of the frame."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, ParameterError, some, warn
from xroute.gauges import REACH_NAMES
from xroute.network import Network
from xroute.plotting.layout import Points
from xroute.plotting.style import GAUGE_COLOURS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["gauge_places", "mark_gauges"]

DISTANCES = (7.0, 14.0, 24.0, 38.0, 56.0)
"""How far from its dot a name may stand [points]; from the third on, a line leads there."""
DIRECTIONS = ((1, 0.5), (-1, 0.5), (1, -0.5), (-1, -0.5), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
"""Where it may stand, the first ones rather."""


def gauge_places(network: Network, gauges: Any) -> dict[Any, str]:
    """Names of gauges by the id of their reach, from whatever a caller gives.

    Parameters
    ----------
    network
        Network.
    gauges
        Ids, one or several; a mapping or Series from ids to names; or a DataArray or Dataset with a coordinate ``reach``, on
        the dimension ``reach`` or along one of gauges, whose labels are then the names.

    Raises
    ------
    NetworkError
        For ids that the network does not have.
    AlignmentError
        For arrays without a coordinate ``reach``.
    """
    if isinstance(gauges, (xr.DataArray, xr.Dataset)):
        found = _of_array(gauges)
    elif isinstance(gauges, (Mapping, pd.Series)):
        found = {k: str(v) for k, v in gauges.items()}
    elif np.ndim(gauges) == 0:
        found = {gauges: str(gauges)}
    elif isinstance(gauges, pd.DataFrame):
        raise ParameterError("gauges are ids, or a mapping from ids to names, not a table: gauges=table['reach']")
    else:
        found = {g: str(g) for g in np.asarray(gauges).ravel().tolist()}
    network.position(list(found))
    return found


def _of_array(gauges: xr.DataArray | xr.Dataset) -> dict[Any, str]:
    bearer = next((str(n) for name in REACH_NAMES for n in gauges.coords if str(n).lower() == name), None)
    if bearer is None:
        raise AlignmentError(
            f"the gauges have no coordinate 'reach', so that nobody knows where they are; they have {some(gauges.coords)}"
        )
    coordinate = gauges[bearer]
    ids = np.atleast_1d(coordinate.values).tolist()
    dim = coordinate.dims[0] if coordinate.dims else None
    along = [n for n, c in gauges.coords.items() if c.dims == coordinate.dims and str(n) != bearer]
    name = next((n for n in ("name", "station_name", "gauge_name", "gauge", dim) if n in along), None)
    if name is None and dim is None:
        name = next((n for n in along if gauges[n].dtype.kind in "UO"), None)
    names = ids if name is None else np.atleast_1d(gauges[name].values).tolist()
    return {i: str(n) for i, n in zip(ids, names, strict=True)}


def mark_gauges(ax: Axes, network: Network, points: Points, gauges: Any) -> None:
    """Dots and names of gauges on a picture of a network."""
    from matplotlib.patheffects import withStroke

    names = gauge_places(network, gauges)
    at = network.position(list(names))
    known = points.known[at]
    if not known.all():
        lost = network.ids[at[~known]]
        warn(f"{lost.size} of {at.size} gauges are on reaches without a place, and are not drawn: {some(lost)}")
    x, y = points.x[at[known]], points.y[at[known]]
    ax.plot(
        x, y, "o", color=GAUGE_COLOURS[0], markersize=6.5, markeredgecolor="white", markeredgewidth=1.2, zorder=4,
        label="_gauges",
    )  # fmt: skip
    texts = []
    for a, b, name in zip(x, y, [n for n, k in zip(names.values(), known, strict=True) if k], strict=True):
        text = ax.annotate(
            name, (a, b), DIRECTIONS[0], textcoords="offset points", color=INK, fontsize=9, zorder=5,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        texts.append(text)
    ax.add_artist(_arranger()(texts, zorder=3.5))


@cache
def _arranger() -> Any:
    """The class of what sets names apart before they are drawn, when it is known how large they and the map are."""
    from matplotlib.artist import Artist
    from matplotlib.transforms import Bbox

    base: Any = Artist

    class NameArranger(base):
        """Invisible: puts each name where there is room, or counts it in the corner."""

        def __init__(self, texts: list[Any], zorder: float) -> None:
            super().__init__()
            self.texts, self.note = texts, None
            self.set_zorder(zorder)
            self.set_in_layout(False)

        def draw(self, renderer: Any) -> None:
            frame = self.axes.get_window_extent(renderer)
            dots = [self.axes.transData.transform(text.xy) for text in self.texts]
            px = renderer.points_to_pixels(1.0)
            taken = [Bbox.from_extents(x - 4 * px, y - 4 * px, x + 4 * px, y + 4 * px) for x, y in dots]
            hidden = 0
            for text, dot in zip(self.texts, dots, strict=True):
                text.set_visible(True)
                text.arrow_patch.set_visible(False)
                text.set_horizontalalignment("center")
                text.set_verticalalignment("center")
                size = _size(text, renderer)
                spot = _free_spot(dot, size, px, frame, taken)
                if spot is None:
                    text.set_visible(False)
                    hidden += 1
                    continue
                box, far = spot
                text.set_position(((box.x0 + box.x1 - 2 * dot[0]) / 2 / px, (box.y0 + box.y1 - 2 * dot[1]) / 2 / px))
                text.arrow_patch.set_visible(far)
                taken.append(box)
            self._tell(hidden)

        def _tell(self, hidden: int) -> None:
            if self.note is None and hidden:
                self.note = self.axes.text(
                    0.01, 0.01, "", transform=self.axes.transAxes, color=INK, fontsize=8, zorder=6, va="bottom"
                )
            if self.note is not None:
                self.note.set_text(f"no room for {hidden} of {len(self.texts)} names" if hidden else "")

    return NameArranger


def _size(text: Any, renderer: Any) -> tuple[float, float]:
    """Width and height of a name in pixels."""
    from matplotlib.text import Text

    box = Text.get_window_extent(text, renderer)
    return box.width, box.height


def _free_spot(dot: Any, size: tuple[float, float], px: float, frame: Any, taken: list[Any]) -> Any:
    """The first place about a dot that is within the frame and free, and whether it is far off."""
    from matplotlib.transforms import Bbox

    for step, distance in enumerate(DISTANCES):
        for right, up in DIRECTIONS:
            x = dot[0] + right * (distance * px + size[0] / 2) * (1.0 if abs(right) == 1 else 0.0)
            y = dot[1] + up * (distance * px + size[1] / 2)
            if abs(up) == 0.5:  # beside the dot: level with it, and higher or lower further off
                y = dot[1] + (2 * up * (distance - DISTANCES[0]) * px if step else 0.0)
            box = Bbox.from_extents(x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2)
            inside = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
            if inside and not any(_overlap(box, other) for other in taken):
                return box, step > 1
    return None


def _overlap(a: Any, b: Any) -> bool:
    return bool(a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1)
