"""A small map of a network as SVG: its larger rivers, in some hundreds of lines, for what shows a network in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xroute.caches import keep
from xroute.exceptions import ParameterError
from xroute.places import Places, find_places
from xroute.topology import drains_to

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["sketch"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]

WIDE, HIGH, MARGIN = 260.0, 180.0, 5.0
"""Of the picture [px]."""
MOST_REACHES, MOST_LINES = 3000, 300
"""Those with most reaches upstream are drawn: no eye tells more apart in so small a picture."""
STROKES = (0.8, 1.4, 2.2)
"""Widths of lines, of small rivers to large ones [px]."""


def sketch(network: Network) -> str:
    """A map of a network.

    Parameters
    ----------
    network
        With coordinates (reach), as :func:`xroute.places.find_places` finds them; a reach that has none is not drawn.

    Returns
    -------
    str
        An ``<svg>``; empty where fewer than two reaches have a place, or all have the same one.

    Examples
    --------
    >>> import xroute
    >>> from xroute.display.sketch import sketch
    >>> sketch(xroute.Network(xroute.datasets.scheidegger(3, 4)))[:22]
    '<svg class="xroute-map'
    """
    return keep(network, ("sketch",), lambda: _drawn(network), most=1)


def _drawn(network: Network) -> str:
    try:
        places = find_places(network.dataset)
    except ParameterError:  # no coordinates, or none that are any: there is no map then, and the text says the rest
        return ""
    known = places.known
    if known.sum() < 2:
        return ""
    x, y, size = _pixels(places)
    if max(size) <= 2 * MARGIN:
        return ""
    lines = _rivers(network, x, y, known)
    paths = [
        f'<path stroke-width="{width}" d="{"".join(lines[k])}"/>' for k, width in enumerate(STROKES) if lines[k]
    ]  # fmt: skip
    if not paths:  # no links between places: dots
        shown = np.flatnonzero(known)[:: max(1, int(known.sum()) // MOST_LINES)]
        paths = [f'<circle cx="{x[i]:.1f}" cy="{y[i]:.1f}" r="1.5"/>' for i in shown]
    wide, high = (f"{n:.0f}" for n in size)
    return (
        f'<svg class="xroute-map" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" role="img" '
        'aria-label="Map of the larger rivers" fill="none" stroke="#3d86bd" stroke-linecap="round" stroke-linejoin="round">'
        f"{''.join(paths)}</svg>"
    )


def _pixels(places: Places) -> tuple[Float, Float, tuple[float, float]]:
    """Places in the picture, and its size; a degree of longitude is as long as it is in the middle."""
    x, y = places.x[places.known], places.y[places.known]
    west, east, south, north = x.min(), x.max(), y.min(), y.max()
    shrink = max(float(np.cos(np.radians((south + north) / 2))), 0.05) if places.degrees else 1.0
    spans = (east - west) * shrink, north - south
    scale = min(
        ((full - 2 * MARGIN) / span for full, span in zip((WIDE, HIGH), spans, strict=True) if span > 0), default=0.0
    )
    x, y = MARGIN + (places.x - west) * shrink * scale, MARGIN + (north - places.y) * scale
    return x, y, (spans[0] * scale + 2 * MARGIN, spans[1] * scale + 2 * MARGIN)


def _rivers(network: Network, x: Float, y: Float, known: NDArray[np.bool_]) -> list[list[str]]:
    """Lines of the larger rivers from their heads to the rivers they join, by stroke, as paths of SVG."""
    onward = drains_to(network.links, network.n_reaches)
    n_upstream = network.n_upstream.to_numpy()
    if n_upstream.size > MOST_REACHES:
        shown = np.argpartition(n_upstream, -MOST_REACHES)[-MOST_REACHES:]
    else:
        shown = np.arange(n_upstream.size)
    shown = shown[np.argsort(-n_upstream[shown], kind="stable")]  # a river's own reaches before those of its tributaries
    drawn = np.zeros(n_upstream.size, bool)
    drawn[shown] = True
    main = np.full(n_upstream.size, -1)  # the reach upstream that a river goes on with
    for reach in shown[::-1].tolist():
        below = int(onward[reach])
        if below >= 0 and below != reach and drawn[below]:
            main[below] = reach
    strokes = np.digitize(np.log(n_upstream), np.log(max(n_upstream.max(), 2)) * np.array([0.35, 0.65]))
    lines: list[list[str]] = [[] for _ in STROKES]
    n_lines = 0
    for mouth in shown.tolist():
        below = int(onward[mouth])
        if below >= 0 and below != mouth and main[below] == mouth:
            continue  # in the middle of a river
        way = [below] if below >= 0 and below != mouth else []
        reach = mouth
        while reach >= 0:
            way.append(reach)
            reach = int(main[reach])
        n_lines += _add(lines, way, x, y, known, strokes)
        if n_lines >= MOST_LINES:
            break
    return lines


def _add(
    lines: list[list[str]], way: list[int], x: Float, y: Float, known: NDArray[np.bool_], strokes: Index
) -> int:
    """Add a river from its mouth up; a line begins anew where its width changes, or a reach has no place."""
    added, last, pen = 0, None, -1
    for reach in way:
        if not known[reach]:
            last = None
            continue
        point = round(float(x[reach]), 1), round(float(y[reach]), 1)
        if last is not None and abs(point[0] - last[0]) + abs(point[1] - last[1]) >= 1:
            stroke = int(strokes[reach])
            if pen != stroke:
                lines[stroke].append(f"M{last[0]:g} {last[1]:g}")
                pen, added = stroke, added + 1
            lines[stroke].append(f"L{point[0]:g} {point[1]:g}")
            last = point
        elif last is None:
            last, pen = point, -1
    return added
