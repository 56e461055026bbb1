"""An overview of a run: the map of its network beside hydrographs at gauges, and the runoff that made them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xroute.engine.backends import on_host
from xroute.exceptions import ParameterError, require
from xroute.ids import within
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.beside import gauged_reaches
from xroute.plotting.curves import Scene, draw_on
from xroute.plotting.hydrographs import HydrographRequest, legend_of_all
from xroute.plotting.layout import layout_points, warn_of_unplaced
from xroute.plotting.maps import draw_network
from xroute.plotting.reach_series import Gauges, chosen_reaches, gauge_names
from xroute.plotting.requests import MapRequest
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE, axis_label, of_members, units_label
from xroute.plotting.time_axis import along_time, drawn_times, others_on_axis, step_begins, step_edges
from xroute.reach_ids import read_reach_ids
from xroute.series import SeriesLike, as_series
from xroute.units import require_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["choose_gauges", "overview"]

MOST_GAUGES = 4
"""Hydrographs at observed gauges, where nobody chooses."""


def overview(
    network: xr.Dataset | Network,
    discharge: xr.DataArray,
    gauges: Gauges | None = None,
    *,
    runoff: SeriesLike | None = None,
    observed: SeriesLike | None = None,
    members: Any = None,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    thresholds: Any = None,
    title: str | None = None,
    time_dim: Hashable | None = None,
) -> Figure:
    """Draw the map of a network coloured by peak discharge beside hydrographs at gauges.

    Parameters
    ----------
    network
        Network; one without ``lon`` and ``lat`` is drawn as a tree.
    discharge : (reach, time, ...)
        Discharge, matched by id, along its time, whatever that is called, and perhaps members; the map shows the largest of all.
    gauges
        Ids, or a mapping from ids to names; by default those of `choose_gauges`, or where there are observations the four largest
        rivers of these.
    runoff : (reach, time, ...), optional
        Runoff, in any units, whose mean over the reaches is then drawn above the hydrographs, hanging from the top.
    observed, members, quantiles, thresholds, time_dim
        As `plot_hydrographs` takes them.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, made with pyplot.

    Raises
    ------
    AlignmentError
        If discharge lacks reaches of the network, or a gauge is none of these.
    TimeAxisError
        If it cannot be told which dimension is the time.
    ParameterError
        If no value of the discharge is a number.

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

    network = as_network(network)
    names = _names(network, gauges, observed)
    n_rows = len(names) + (runoff is not None)
    figure = pyplot.figure(figsize=(13, max(7.2, 1.7 * n_rows)), layout="constrained")
    grid = figure.add_gridspec(
        n_rows, 2, width_ratios=[1.25, 1], height_ratios=[0.5] * (runoff is not None) + [1] * len(names)
    )
    _draw_map(figure.add_subplot(grid[:, 0]), network, along_time(require_array(discharge, "discharge"), time_dim), names)
    shown, names = chosen_reaches(discharge, names, time_dim)
    asked = HydrographRequest(
        observed=observed, members=members, quantiles=quantiles, thresholds=thresholds, mark_peak=True, time_dim=time_dim
    )
    scene = Scene(shown, None, asked)
    first: Axes | None = None
    if runoff is not None:
        first = figure.add_subplot(grid[0, 1])
        _hang_runoff(first, as_series(runoff, what="runoff"), shown)
    rows = []
    for i, name in enumerate(names.values()):
        ax = figure.add_subplot(grid[n_rows - len(names) + i, 1], sharex=first)
        first = first or ax
        rows.append(ax)
        scene.request = replace(asked, colors=[GAUGE_COLOURS[i % len(GAUGE_COLOURS)]])
        draw_on(ax, scene, [i], names)
        _name(ax, name, GAUGE_COLOURS[i % len(GAUGE_COLOURS)])
        ax.set_ylabel(axis_label(shown) if i == len(names) // 2 else "")
        if i < len(names) - 1:
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
            ax.xaxis.get_offset_text().set_visible(False)
    if scene.member_dims or scene.observed:
        legend_of_all(figure, rows, list(names.values()), "outside lower right")
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=15, weight="bold", color=INK)
    return figure


def _names(network: Network, gauges: Any, observed: Any) -> dict[Hashable, str]:
    """The gauges that are drawn."""
    if gauges is not None:
        return gauge_names(gauges)
    if observed is None:
        return choose_gauges(network)
    ids = gauged_reaches(observed, network.ids)
    if not ids.size:
        return choose_gauges(network)
    size = network.n_upstream.to_numpy()[network.position(ids)]
    return gauge_names(ids[np.argsort(-size, kind="stable")][:MOST_GAUGES])


def _draw_map(ax: Axes, network: Network, discharge: xr.DataArray, names: Mapping[Hashable, str]) -> None:
    """The network by its peaks, and the gauges in the colours of their hydrographs."""
    dim, _, _ = read_reach_ids(discharge, network.ids, None, "time", "discharge")
    if not discharge.size:
        raise ParameterError(f"the discharge is empty, with sizes {dict(discharge.sizes)}: there is nothing to draw")
    peak = discharge.max([d for d in discharge.dims if d != dim]).compute()
    peak.attrs = {"long_name": "peak discharge", "units": discharge.attrs.get("units", "")}
    members = [d for d in discharge.dims if d not in (dim, "time")]
    peak.attrs = of_members(discharge.assign_attrs(peak.attrs), members, "largest")
    points = layout_points(network)
    warn_of_unplaced(network, points)
    draw_network(network, points, peak, ax, MapRequest(width="values", scale=1.25))
    for i, at in enumerate(network.position(list(names))):
        if points.known[at]:
            colour = GAUGE_COLOURS[i % len(GAUGE_COLOURS)]
            place = points.x[at], points.y[at]
            ax.plot(*place, "o", color=colour, markersize=10, markeredgecolor="white", markeredgewidth=1.6, zorder=4)


def _name(ax: Axes, name: str, colour: str) -> None:
    """Name of a gauge above its hydrograph, in its colour."""
    ax.set_title(name, loc="left", color=colour, weight="bold", fontsize=10, pad=3)


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
    free = within(network.ids, network.upstream(network.ids[mouth]))
    gauges = {network.ids[mouth].item(): "Mouth"}
    free[mouth] = False
    for share, name in ((0.25, "Middle river"), (0.04, "Upland stream")):
        if free.any():
            distance = np.where(free, np.abs(np.log(size / (share * size[mouth]))), np.inf)
            chosen = int(np.argmin(distance))
            gauges[network.ids[chosen].item()] = name
            free &= ~within(network.ids, network.upstream(network.ids[chosen]))  # the next one lies in another valley
    return gauges


def _hang_runoff(ax: Axes, runoff: xr.DataArray, discharge: xr.DataArray) -> None:
    """Mean runoff as bars from the top, as rain is drawn over hydrographs."""
    runoff = along_time(runoff, what="runoff")
    mean = runoff.mean([d for d in runoff.dims if d != "time"]).compute()
    values = np.asarray(on_host(mean.data), np.float64)
    edges = step_edges(step_begins(runoff, others_on_axis(mean, discharge["time"], discharge, "runoff")))
    ax.plot(drawn_times(discharge["time"]), np.full(discharge.sizes["time"], np.nan))  # the axis learns what times are
    ax.fill_between(edges, np.append(values, values[-1:]), step="post", color=PALE, linewidth=0)
    ax.set_ylim(float(np.nanmax(values, initial=0.0)) * 1.15 or 1.0, 0.0)
    units = units_label(str(runoff.attrs.get("units", "")))
    ax.set_ylabel("Runoff" + (f"\n[{units}]" if units else ""))
    ax.spines[["bottom", "right"]].set_visible(False)
    ax.xaxis.tick_top()
    ax.tick_params(labeltop=False, labelbottom=False)
    ax.margins(x=0)
