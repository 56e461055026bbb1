"""An overview of a run: the map of its network beside hydrographs at gauges, and the runoff that made them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xroute.exceptions import require
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.hydrographs import plot_hydrographs
from xroute.plotting.layout import layout_points
from xroute.plotting.maps import plot_network
from xroute.plotting.reach_series import Gauges, gauge_names
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE, axis_label, units_label
from xroute.plotting.time_axis import along_time, drawn_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["choose_gauges", "overview"]


def overview(
    network: xr.Dataset | Network,
    discharge: xr.DataArray,
    gauges: Gauges | None = None,
    *,
    runoff: xr.DataArray | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the map of a network coloured by peak discharge beside hydrographs at gauges.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees].
    discharge : (reach, time, ...)
        Discharge, in any units, on ``reach`` and its time, whatever that is called, and perhaps members; the map shows the
        largest of all.
    gauges
        Ids, or a mapping from ids to names; by default those of `choose_gauges`.
    runoff : (reach, time, ...), optional
        Runoff, in any units, whose mean over the reaches is then drawn above the hydrographs, hanging from the top.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, made with pyplot.

    Raises
    ------
    ParameterError
        If the network has no ``lon`` or ``lat``, and as `plot_hydrographs`.
    AlignmentError
        For gauges that the discharge does not have, and reaches that the network does not have.

    Examples
    --------
    >>> from xroute.datasets import tutorial
    >>> network, dataset = tutorial()
    >>> figure = overview(network, dataset.runoff)
    >>> len(figure.axes)  # map, colour bar, three hydrographs
    5
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot
    from matplotlib.patheffects import withStroke

    network = as_network(network)
    names = choose_gauges(network) if gauges is None else gauge_names(gauges)
    n_rows = len(names) + (runoff is not None)
    figure = pyplot.figure(figsize=(13, 7.2), layout="constrained")
    grid = figure.add_gridspec(
        n_rows, 2, width_ratios=[1.25, 1], height_ratios=[0.5] * (runoff is not None) + [1] * len(names)
    )

    peak = discharge.max([d for d in discharge.dims if d != "reach"])
    peak.attrs = {"long_name": "peak discharge", "units": discharge.attrs.get("units", "")}
    map_ax = figure.add_subplot(grid[:, 0])
    plot_network(network, peak, map_ax, width="values", scale=1.25)
    place = dict(zip(names, network.position(list(names)), strict=True))
    points = layout_points(network)
    first: Axes | None = None
    if runoff is not None:
        first = figure.add_subplot(grid[0, 1])
        _hang_runoff(first, runoff)
    for i, (gauge, name) in enumerate(names.items()):
        colour = GAUGE_COLOURS[i % len(GAUGE_COLOURS)]
        at = points.x[place[gauge]], points.y[place[gauge]]
        map_ax.plot(*at, "o", color=colour, markersize=10, markeredgecolor="white", markeredgewidth=1.6, zorder=4)
        ax = figure.add_subplot(grid[n_rows - len(names) + i, 1], sharex=first)
        first = first or ax
        plot_hydrographs(discharge, {gauge: name}, ax, colors=[colour], mark_peak=True, legend=False)
        text = ax.text(0.995, 0.95, name, color=colour, weight="bold", ha="right", va="top", transform=ax.transAxes)
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
        ax.set_ylabel(axis_label(discharge) if i == len(names) // 2 else "")
        if i < len(names) - 1:
            ax.tick_params(labelbottom=False)
            ax.xaxis.get_offset_text().set_visible(False)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=15, weight="bold", color=INK)
    return figure


def choose_gauges(network: xr.Dataset | Network) -> dict[Hashable, str]:
    """Three reaches worth a hydrograph: the mouth of the largest basin, a river of its middle, and a stream.

    Parameters
    ----------
    network
        Network.

    Returns
    -------
    dict
        From ids to names. Fewer than three where the basin has fewer reaches.

    Examples
    --------
    >>> from xroute.datasets import tutorial
    >>> list(choose_gauges(tutorial()[0]).values())
    ['Mouth', 'Middle river', 'Upland stream']
    """
    network = as_network(network)
    if network.n_reaches == 0:
        return {}
    size = network.n_upstream.to_numpy()
    mouth = int(np.argmax(size))
    free = np.isin(network.ids, network.upstream(network.ids[mouth]))
    gauges = {network.ids[mouth].item(): "Mouth"}
    free[mouth] = False
    for share, name in ((0.25, "Middle river"), (0.04, "Upland stream")):
        if free.any():
            distance = np.where(free, np.abs(np.log(size / (share * size[mouth]))), np.inf)
            chosen = int(np.argmin(distance))
            gauges[network.ids[chosen].item()] = name
            free &= ~np.isin(network.ids, network.upstream(network.ids[chosen]))  # the next one lies in another valley
    return gauges


def _hang_runoff(ax: Axes, runoff: xr.DataArray) -> None:
    """Mean runoff as bars from the top, as rain is drawn over hydrographs."""
    runoff = along_time(runoff)
    mean = runoff.mean([d for d in runoff.dims if d != "time"])
    time = drawn_times(mean["time"])
    ax.fill_between(time, mean.to_numpy(), step="post", color=PALE, linewidth=0)
    ax.set_ylim(float(mean.max()) * 1.15 or 1.0, 0.0)
    ax.set_ylabel(f"Runoff\n[{units_label(runoff.attrs.get('units', ''))}]")
    ax.spines[["bottom", "right"]].set_visible(False)
    ax.xaxis.tick_top()
    ax.tick_params(labeltop=False, labelbottom=False)
    ax.margins(x=0)
