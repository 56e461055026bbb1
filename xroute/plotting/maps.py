"""Maps of river networks: lines that bend and join as rivers do, wider and darker where more water flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import require
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.basins import draw_hulls
from xroute.plotting.gauge_marks import mark_gauges
from xroute.plotting.layout import Points, dress, layout_points, places, warn_of_unplaced
from xroute.plotting.legends import Group, draw_legends, line_handles, width_group
from xroute.plotting.lines import link_paths, river_lines
from xroute.plotting.painting import Paint, paint_reaches
from xroute.plotting.requests import MapRequest
from xroute.plotting.scales import draw_colour_bar
from xroute.plotting.style import INK, PALE
from xroute.request import keywords_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_network", "places", "plot_network"]


@cast("Any", keywords_of)(MapRequest)
def plot_network(network: xr.Dataset | Network, values: Any = None, ax: Any = None, *, request: MapRequest) -> Any:
    """Draw a river network: a map from the coordinates of its reaches, or a tidy tree where it has none.

    Parameters
    ----------
    network
        Network. A map is drawn from ``lon`` and ``lat`` (reach) [degrees], whichever way round the Earth longitudes are
        counted, or from coordinates of a projection that say so (``standard_name``, or ``x`` and ``y`` in units of length).
    values
        What the reaches are coloured by: the name of a variable of the network on ``reach``, or ``"strahler"``,
        ``"n_upstream"`` or ``"basins"``; or a DataArray on ``reach``, matched by id: a discharge, say. A Series or a mapping by
        id, or an array in the network's order, will do. Text and booleans are categories with a legend. Without values,
        one colour. A link has the colour of the reach at its upper end, an outlet is a dot; reaches without a value are grey.
    ax
        Axes to draw on; by default a new figure's.
    width
        What makes lines wide: ``"strahler"``, the Strahler order; ``"values"``, the square root of the size of ``values`` (as a
        river's own width goes with discharge); or the same of another variable, by its name or as a DataArray (reach),
        which a legend then explains. A number is a width for all [points].
    norm
        Colour scale: ``"log"``, ``"linear"`` or a matplotlib ``Normalize``. By default diverging about zero where values lie on
        both sides of it; logarithmic where they are positive and span more than a factor of 30 (zeros have the palest
        colour, and the label says so); else linear.
    cmap
        Colour map, by name or matplotlib's own; by default ``viridis`` from pale to dark, or ``RdBu`` about a centre.
    vmin, vmax
        Limits of the scale, in the units of the values; those beyond them have the colour of its ends.
    robust
        Whether to leave the outermost 2 % of values on each side out of the limits.
    center
        Value in the middle of a diverging scale; False for a scale that is not diverging.
    levels
        Number of levels, or these: a scale in steps.
    color
        Colour of a map without values.
    colorbar, legend, label
        Whether to draw a colour bar, and legends of categories, widths and basins; and the label of the colour bar, by default
        long name and units of the values.
    scale
        Factor on all line widths.
    min_order
        Smallest Strahler order to draw; 1 draws every reach.
    basins
        True: without values, reaches have the colour of their basin; with values, the convex hull of each basin is drawn
        beneath. Ids of reaches: the same for the parts of the network that drain through them.
    gauges
        Gauges to mark with a dot and a name: ids, a mapping from ids to names, or a DataArray or Dataset (gauge)
        with a coordinate ``reach``. Names keep clear of each other; those for which there is no room are counted in the corner.
    layout
        ``"map"``, ``"tree"`` (outlets at the bottom, drawn by links, not by distance), or ``"auto"``: a map, if there are
        coordinates.
    figsize
        Width and height of a new figure [inches].
    title
        Title of the axes.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ParameterError
        If a map lacks coordinates, or no reach has a valid one; for names that the network does not have; if no value is
        a number; and for options that contradict each other.
    AlignmentError
        If values lack reaches of the network, or have other dimensions than the reach.
    NetworkError
        For gauges or basins that the network does not have.

    Warns
    -----
    UserWarning
        Naming reaches that have no place (NaN, fill values, degrees out of range), which are not drawn.

    Examples
    --------
    >>> from xroute.datasets import tutorial
    >>> network, runoff = tutorial()
    >>> ax = plot_network(network, "area", min_order=2)
    >>> [a.get_ylabel() for a in ax.figure.axes if a is not ax]
    ["Area of the reach's own catchment [km²]"]
    """
    network = as_network(network)
    points = layout_points(network, request.layout)
    warn_of_unplaced(network, points)
    return draw_network(network, points, values, ax, request)


def draw_network(network: Network, points: Points, values: Any, ax: Axes | None, request: MapRequest) -> Axes:
    """`plot_network` of reaches at given points, of which those without a place have been told of."""
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot

    paint = paint_reaches(network, values, request)
    if ax is None:
        ax = pyplot.subplots(figsize=request.figsize or (7, 7), layout="constrained")[1]
    groups = _legend_groups(paint)
    if paint.basins is not None and paint.values is not None:
        groups.append(draw_hulls(ax, points, paint.basins))
    lines = _draw_rivers(ax, network, points, paint, request)
    if paint.values is not None and paint.scale is not None and paint.entries is None and request.colorbar:
        draw_colour_bar(ax, lines, paint.scale, paint.values, request.label)
    dress(ax, points)
    if request.gauges is not None:
        mark_gauges(ax, network, points, request.gauges)
    if request.title is not None:
        ax.set_title(request.title, loc="left", color=INK, weight="bold")
    if request.legend:
        draw_legends(ax, groups)
    return ax


def _legend_groups(paint: Paint) -> list[Group]:
    """What the legends explain: categories, reaches without a value, widths."""
    groups = [Group(paint.title, line_handles(paint.entries))] if paint.entries is not None else []
    if paint.n_missing:
        nothing = line_handles([(f"no value ({paint.n_missing:,})", PALE)])
        groups = [Group(g.title, [*g.handles, *nothing]) for g in groups] or [Group("", nothing)]
    if paint.by_width is not None:
        groups.append(width_group(paint.by_width, paint.factor))
    return groups


def _draw_rivers(ax: Axes, network: Network, points: Points, paint: Paint, request: MapRequest) -> Any:
    """Lines for the links, and dots for reaches that no line shows: outlets, if reaches differ, and those without links."""
    order, widths = network.strahler.to_numpy(), paint.widths
    reach, below, paths = link_paths(network, points)
    shown = np.flatnonzero(order[reach] >= request.min_order)
    shown = shown[np.argsort(widths[reach[shown]], kind="stable")]  # large rivers lie over small ones
    lines = river_lines(paths[shown], widths[reach[shown]])
    _colour(lines, paint, reach[shown], request.color)
    ax.add_collection(lines)
    has_line = np.zeros(network.n_reaches, bool)
    has_line[reach[shown]] = True
    touched = has_line.copy()
    touched[below[shown]] = True
    dots = points.known & (order >= request.min_order) & ~(touched if paint.numbers is None else has_line)
    if dots.any():
        at = np.flatnonzero(dots)
        diameter = np.where(touched[at], widths[at], np.maximum(1.6 * widths[at], 3.0 if shown.size else 6.0))
        marks = ax.scatter(points.x[at], points.y[at], s=diameter**2, linewidths=0, zorder=lines.get_zorder())
        _colour(marks, paint, at, request.color)
    return lines


def _colour(artist: Any, paint: Paint, reach: NDArray[np.int64], color: str) -> None:
    if paint.numbers is None or paint.scale is None:
        artist.set_color(color)
        return
    artist.set_cmap(paint.scale.cmap)
    artist.set_norm(paint.scale.norm)
    artist.set_array(paint.numbers[reach])
