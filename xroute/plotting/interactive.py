"""Interactive maps: rivers that say what they are under the pointer, on a map to zoom and move, by folium."""

from __future__ import annotations

import html
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, require
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.basins import hulls_of
from xroute.plotting.gauge_marks import gauge_places
from xroute.plotting.layout import Points, layout_points, warn_of_unplaced
from xroute.plotting.lines import link_paths
from xroute.plotting.painting import Paint, paint_reaches
from xroute.plotting.requests import ExploreRequest
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE
from xroute.plotting.values import Values
from xroute.request import keywords_of
from xroute.topology import drains_to

__all__ = ["explore"]

SMOOTH = 2_000
"""Lines; a map of more has straight ones, which make a smaller page."""
SHADES = 64
"""Shades of a colour scale; the page has a style for each shade and width."""


@cast("Any", keywords_of)(ExploreRequest)
def explore(network: xr.Dataset | Network, values: Any = None, *, request: ExploreRequest) -> Any:
    """Draw a river network as an interactive map, with ids and values of reaches under the pointer.

    The page that it makes loads Leaflet and, unless ``tiles=None``, its background from the web when it is looked at.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` (reach) [degrees].
    values
        What reaches are coloured by: as for `plot_network`.
    width, norm, cmap, vmin, vmax, robust, center, levels, color, label, scale, min_order
        As for `plot_network`; widths are in pixels.
    legend
        Whether to draw a legend.
    basins, gauges
        As for `plot_network`; names of gauges are shown under the pointer.
    tiles
        Background: a name that folium knows, its own ``TileLayer``, the address of tiles, or None for none.
    limit
        Most reaches to draw: a page of more is slow in a browser.
    m
        A ``folium.Map`` to draw on; by default a new one.

    Returns
    -------
    folium.Map
        Shown by a notebook as it is; ``.save("rivers.html")`` writes a page.

    Raises
    ------
    ParameterError
        If there are no longitudes and latitudes, or more reaches than ``limit``; and as `plot_network`.
    AlignmentError, NetworkError
        As `plot_network`.
    ImportError
        If folium is not installed.

    Warns
    -----
    UserWarning
        Naming reaches that have no place, which are not drawn.

    Examples
    --------
    >>> from xroute.datasets import tutorial
    >>> from xroute.plotting import explore
    >>> network, dataset = tutorial()
    >>> page = explore(network, "k", min_order=3, tiles=None)
    >>> "Muskingum travel time" in page.get_root().render()
    True
    """
    folium = require("folium", feature="explore", extra="explore")
    require("matplotlib", feature="explore", extra="plot")
    network = as_network(network)
    points = layout_points(network, "map")
    if points.kind != "degrees":
        raise ParameterError(
            "an interactive map needs longitudes and latitudes, and the network has coordinates of a projection: give it lon "
            "and lat, or draw it with river.plot"
        )
    shown = _shown(network, points, request)
    warn_of_unplaced(network, points)
    paint = paint_reaches(network, values, request)
    page = folium.Map(tiles=request.tiles, prefer_canvas=True) if request.m is None else request.m
    if paint.basins is not None and paint.values is not None:
        _add_hulls(folium, page, points, paint.basins)
    _add_rivers(folium, page, network, points, paint, shown, request)
    if request.gauges is not None:
        _add_gauges(folium, page, network, points, request.gauges)
    if request.legend and paint.scale is not None:
        page.get_root().html.add_child(folium.Element(_legend(paint)))
    x, y = points.x[shown], points.y[shown]
    page.fit_bounds([[float(y.min()), float(x.min())], [float(y.max()), float(x.max())]])
    return page


def _shown(network: Network, points: Points, request: ExploreRequest) -> NDArray[np.bool_]:
    """Which reaches are drawn: those of the orders asked for that have a place, unless they are too many."""
    order = network.strahler.to_numpy()
    shown = (order >= request.min_order) & points.known
    n = int(shown.sum())
    if n > request.limit:
        few_enough = [k for k in range(1, int(order.max()) + 1) if (shown & (order >= k)).sum() <= request.limit]
        larger = f"draw the larger rivers, min_order={few_enough[0]}; " if few_enough else ""
        raise ParameterError(
            f"{n:,} reaches are more than the {request.limit:,} that a browser shows at ease: {larger}draw a part, "
            f"network.river.basin(...); or say limit={n}. river.plot draws a million"
        )
    if not n:
        raise ParameterError(f"no reach has the Strahler order {request.min_order}; the largest is {int(order.max(initial=0))}")
    return shown


def _add_rivers(
    folium: Any, page: Any, network: Network, points: Points, paint: Paint, shown: NDArray[np.bool_], request: ExploreRequest
) -> None:
    """One layer of lines, and of dots where a reach drains to no other, with what the pointer shows of each."""
    colours = _hex(_in_shades(paint, request.color))
    widths = np.round(np.maximum(paint.widths, 0.8), 1)
    reach, _, paths = link_paths(network, points, smooth=SMOOTH)
    drawn = np.flatnonzero(shown[reach])
    drawn = drawn[np.argsort(widths[reach[drawn]], kind="stable")]  # large rivers lie over small ones
    alone = shown.copy()
    alone[reach[drawn]] = False
    told = _told(network, paint)
    features = [
        _feature({"type": "LineString", "coordinates": np.round(paths[k], 5).tolist()}, int(reach[k]), told, colours, widths)
        for k in drawn
    ] + [
        _feature({"type": "Point", "coordinates": [round(float(points.x[i]), 5), round(float(points.y[i]), 5)]}, int(i), told,
                 colours, widths)
        for i in np.flatnonzero(alone)
    ]  # fmt: skip
    names = list(told)
    folium.GeoJson(
        {"type": "FeatureCollection", "features": features},
        name="rivers",
        style_function=lambda feature: feature["properties"]["style"],
        highlight_function=lambda _: {"color": GAUGE_COLOURS[0], "opacity": 1.0},
        marker=folium.CircleMarker(radius=3, weight=1, fill=True, fill_opacity=1.0),
        tooltip=folium.GeoJsonTooltip(fields=names, aliases=names, sticky=True, localize=False),
    ).add_to(page)


def _feature(geometry: Any, at: int, told: dict[str, list[str]], colours: list[str], widths: Any) -> dict[str, Any]:
    style = {"color": colours[at], "weight": float(widths[at]), "opacity": 0.95, "fillColor": colours[at]}
    properties: dict[str, Any] = {name: column[at] for name, column in told.items()}
    return {"type": "Feature", "geometry": geometry, "properties": {**properties, "style": style}}


def _told(network: Network, paint: Paint) -> dict[str, list[str]]:
    """What the pointer shows of each reach, as text: names and columns."""
    below = drains_to(network.links, network.n_reaches)
    ids = network.ids.astype(str)
    text = ids.astype(object)
    told = {"reach": text, "downstream": np.where(below < 0, "outlet", ids[below]).astype(object)}
    told["Strahler order"] = network.strahler.to_numpy().astype(str).astype(object)
    for values in (paint.values, paint.by_width):
        if values is not None:
            told[values.label or "value"] = np.array(_as_text(values), object)
    if paint.basins is not None and paint.values is None:
        told[paint.basins.label] = np.array(_as_text(paint.basins), object)
    return {name: [html.escape(str(v)) for v in column] for name, column in told.items()}


def _as_text(values: Values) -> list[str]:
    known = np.isfinite(values.numbers)
    if values.names:
        return [values.names[int(v)] if k else "none" for v, k in zip(values.numbers, known, strict=True)]
    if values.dates:
        days = np.where(known, values.numbers, 0.0)
        stamps = (np.round(days * 86400).astype("timedelta64[s]") + np.datetime64("1970-01-01", "s")).astype(str)
        return [s.replace("T", " ") if k else "none" for s, k in zip(stamps, known, strict=True)]
    return [f"{v:.4g}" if k else "none" for v, k in zip(values.numbers, known, strict=True)]


def _in_shades(paint: Paint, color: str) -> NDArray[np.float64]:
    """Colours [reach, 4], of a scale in few shades, so that the page has few styles."""
    if paint.entries is not None or paint.scale is None or paint.numbers is None:
        return paint.colours(color)
    place: Any = np.ma.asarray(paint.scale.norm(np.ma.masked_invalid(paint.numbers)), dtype=float)
    if place.max() is not np.ma.masked and float(place.max()) > 1.0:  # levels, which are few
        return paint.colours(color)
    return np.asarray(paint.scale.cmap(np.ma.clip(np.round(place * (SHADES - 1)) / (SHADES - 1), 0.0, 1.0)))


def _hex(colours: NDArray[np.float64]) -> list[str]:
    red, green, blue = np.round(colours[:, :3] * 255).astype(int).T
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in zip(red, green, blue, strict=True)]


def _add_hulls(folium: Any, page: Any, points: Points, basins: Values) -> None:
    for name, colour, corners in hulls_of(points, basins)[0]:
        (paint,) = _hex(np.asarray(colour)[None, :])
        folium.Polygon(
            [(float(y), float(x)) for x, y in corners], color=paint, weight=1.5, fill=True, fill_color=paint, fill_opacity=0.12,
            tooltip=f"{html.escape(basins.label)}: {html.escape(name)}",
        ).add_to(page)  # fmt: skip


def _add_gauges(folium: Any, page: Any, network: Network, points: Points, gauges: Any) -> None:
    for gauge, name in gauge_places(network, gauges).items():
        at = int(network.position(gauge)[0])
        if points.known[at]:
            folium.CircleMarker(
                (float(points.y[at]), float(points.x[at])), radius=6, color="white", weight=1.5, fill=True,
                fill_color=GAUGE_COLOURS[0], fill_opacity=1.0, tooltip=html.escape(f"{name} (reach {gauge})"),
            ).add_to(page)  # fmt: skip


# ── the legend ────────────────────────────────────────────────────────────────────────────────────────────────────────────

_BOX = (
    "position:absolute; bottom:24px; left:12px; z-index:1000; background:rgba(255,255,255,0.88); padding:8px 10px; "
    f"border-radius:4px; font:12px sans-serif; color:{INK}"
)


def _legend(paint: Paint) -> str:
    """Legend as HTML: names and colours of categories, or a bar of colours with numbers at some places."""
    if paint.entries is not None:
        from matplotlib.colors import to_hex

        rows = [(to_hex(colour), name) for name, colour in paint.entries]
    else:
        assert paint.scale is not None and paint.values is not None
        places = np.linspace(0.0, 1.0, 5)
        rows = list(zip(_hex(paint.scale.cmap(places)), _numbers_at(paint, places), strict=True))[::-1]
    if paint.n_missing:
        rows.append((PALE, f"no value ({paint.n_missing:,})"))
    title = paint.title + (f"; {paint.scale.note}" if paint.scale is not None and paint.scale.note else "")
    lines = "".join(
        f'<div><span style="display:inline-block; width:18px; height:10px; margin-right:6px; background:{colour}"></span>'
        f"{html.escape(name)}</div>"
        for colour, name in rows
    )
    return f'<div class="xroute-legend" style="{_BOX}"><b>{html.escape(title)}</b>{lines}</div>'


def _numbers_at(paint: Paint, places: NDArray[np.float64]) -> list[str]:
    """The values whose colours stand at some places of the scale, from 0 to 1."""
    assert paint.scale is not None and paint.values is not None
    norm = paint.scale.norm
    bounds = getattr(norm, "boundaries", None)
    if bounds is not None:
        values = np.interp(places, np.linspace(0.0, 1.0, len(bounds)), bounds)
    else:
        values = np.asarray(norm.inverse(places), float)
    return _as_text(Values(values, "", dates=paint.values.dates))
