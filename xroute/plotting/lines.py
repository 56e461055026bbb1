"""Rivers as lines: the path of each link, and a collection that draws a million of them in seconds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.plan import follow
from xroute.network import Network
from xroute.plotting.layout import Points
from xroute.topology import drains_to

__all__ = ["SMOOTH_LIMIT", "link_paths", "river_lines"]

SMOOTH_LIMIT = 50_000
"""Links; a picture of more is drawn with straight lines, which no eye can tell, and as an image within vector files."""
FAST_LIMIT = 200_000
"""Lines; more are drawn in bundles, each of one colour and nearly one width."""
WIDTHS_APART = 0.05
"""Points by which the widths in a bundle differ at most: a fourteenth of a pixel at 100 dots an inch."""
BUNDLE = 20_000
"""Lines in a bundle at most, which is what the renderer takes."""

Float = NDArray[np.float64]
Index = NDArray[np.int64]


def link_paths(network: Network, points: Points, *, smooth: int = SMOOTH_LIMIT) -> tuple[Index, Index, Float]:
    """A line for each link whose ends have places, from the reach upstream to the one downstream.

    Where reaches without a place lie between, the line goes on to the next reach downstream that has one.

    Parameters
    ----------
    network, points
        The network, and where its reaches are.
    smooth
        Most lines that are bent; of more, all are straight.

    Returns
    -------
    upstream, downstream : int [line]
        Positions of the reaches at its ends; the line has the colour of the one upstream.
    path : float [line, point, 2]
        Points along it, in data coordinates.
    """
    n = network.n_reaches
    upstream, downstream, _ = network.links
    onward = drains_to(network.links, n)
    known = points.known
    if not known.all():
        next_known = follow(network.plan.order, np.where(known, -1, onward))  # the first on the way down that has a place
        downstream = next_known[downstream]
        onward = np.where(onward >= 0, next_known[onward], -1)
        onward[onward >= 0] = np.where(known[onward[onward >= 0]], onward[onward >= 0], -1)
        drawn = known[upstream] & known[downstream]
        upstream, downstream = upstream[drawn], downstream[drawn]
    place = np.column_stack([points.x, points.y])
    turn = 360.0
    if points.kind == "degrees" and "lon" in network.dataset:  # an invented world may be smaller round than the Earth
        turn = float(network.dataset["lon"].attrs.get("period", turn))

    def step(of: Index, to: Index) -> Float:
        """From one reach to another, the short way round."""
        along = place[to] - place[of]
        if points.kind == "degrees":
            along[:, 0] -= turn * np.round(along[:, 0] / turn)
        return along

    here = place[upstream]
    there = here + step(upstream, downstream)
    if upstream.size > smooth:
        return upstream, downstream, np.stack([here, there], axis=1)
    further = np.where(onward[downstream] < 0, downstream, onward[downstream])
    # From the middle of one link to the middle of the next, bent round the reach between: confluences become tangents.
    begin = 0.5 * (here + there)
    end = there + 0.5 * step(downstream, further)
    t = np.linspace(0.0, 1.0, 7)[:, None]
    bend = (1 - t) ** 2 * begin[:, None] + 2 * t * (1 - t) * there[:, None] + t**2 * end[:, None]
    is_headwater = ~np.isin(upstream, downstream)
    source = np.where(is_headwater[:, None], here, begin)
    return upstream, downstream, np.concatenate([source[:, None], bend], axis=1)


def river_lines(paths: Float, widths: Float, **style: Any) -> Any:
    """A LineCollection of paths [line, point, 2] of these widths [points]; the last ones lie on top.

    Of very many lines it keeps one array, and draws them in bundles: a path object for each would take longer to make than all
    of them to draw. What it says of its lines (segments, widths, values, colours) is the same.
    """
    from matplotlib.collections import LineCollection

    kind: Any = _bundled() if len(paths) > FAST_LIMIT else LineCollection
    return kind(
        paths, linewidths=widths, capstyle="round", joinstyle="round", rasterized=len(paths) > SMOOTH_LIMIT, **style
    )


@cache
def _bundled() -> Any:
    """The class of collections of very many lines; made at the first use, since it is matplotlib's."""
    from matplotlib.artist import allow_rasterization
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

    base: Any = LineCollection

    class BundledLines(base):
        """Lines of two points or more, all of as many, kept as one array [line, point, 2] and drawn in bundles."""

        def set_segments(self, segments: Any) -> None:
            self._lines = np.asarray(segments, np.float64)
            self._paths: Any = None
            self.stale = True

        def get_segments(self) -> Any:
            return list(self._lines)

        def get_paths(self) -> Any:
            if self._paths is None:
                self._paths = [Path(line) for line in self._lines]
            return self._paths

        def get_datalim(self, transData: Any) -> Any:
            if not len(self._lines):
                return Bbox.null()
            corners = np.stack([self._lines.min((0, 1)), self._lines.max((0, 1))])
            return Bbox((self.get_transform() - transData).transform(corners))

        @allow_rasterization
        def draw(self, renderer: Any) -> None:
            if not self.get_visible():
                return
            self.update_scalarmappable()
            colours = np.broadcast_to(self.get_edgecolor(), (len(self._lines), 4))
            widths = np.broadcast_to(self.get_linewidths(), len(self._lines))
            bundles = [(Path(*_compound(self._lines[of])), colours[of[0]], widths[of].mean()) for of in _bundles(colours, widths)]
            if not bundles:
                return
            paths, of_each, width = zip(*bundles, strict=True)
            drawn: Any = PathCollection(
                paths, facecolors="none", edgecolors=of_each, linewidths=width, capstyle=self.get_capstyle(),
                joinstyle=self.get_joinstyle(), transform=self.get_transform(),
            )  # fmt: skip
            drawn.set_figure(self.get_figure())
            drawn.axes = self.axes
            drawn.set_clip_path(self.get_clip_path())
            drawn.set_clip_box(self.get_clip_box())
            drawn.draw(renderer)
            self.stale = False

    return BundledLines


def _compound(lines: Float) -> tuple[Float, NDArray[np.uint8]]:
    """Vertices and codes of one path of several lines."""
    n, m, _ = lines.shape
    codes = np.full((n, m), 2, np.uint8)  # Path.LINETO
    codes[:, 0] = 1  # Path.MOVETO
    return lines.reshape(-1, 2), codes.ravel()


def _bundles(colours: Float, widths: Float) -> list[Index]:
    """Positions of lines that are drawn together: of one colour and nearly one width, the thinnest first."""
    if not len(colours):
        return []
    shade = (np.round(colours * 255).astype(np.uint32) << np.array([24, 16, 8, 0], np.uint32)).sum(axis=1, dtype=np.uint32)
    thickness = np.round(widths / WIDTHS_APART).astype(np.int64)
    order = np.lexsort((shade, thickness))
    shade, thickness = shade[order], thickness[order]
    new = np.flatnonzero((shade[1:] != shade[:-1]) | (thickness[1:] != thickness[:-1])) + 1
    return [part[k : k + BUNDLE] for part in np.split(order, new) for k in range(0, part.size, BUNDLE)]
