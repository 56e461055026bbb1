"""Pictures of rivers: maps of a network, hydrographs at gauges, and both beside each other.

Each function draws on an Axes, or makes one, and returns what it drew on; matplotlib is imported only when one is
called. Colours are safe for colour-blind readers: viridis for amounts, Okabe and Ito (2008) for gauges.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, require, some
from xroute.maps import INK, PALE, describe, describe_units, places, plot_network
from xroute.network import Network
from xroute.network_files import as_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["choose_gauges", "overview", "plot_hydrographs", "plot_network"]

GAUGE_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def plot_hydrographs(
    discharge: xr.DataArray,
    gauges: Sequence[Hashable] | dict[Hashable, str],
    ax: Axes | None = None,
    *,
    colors: Sequence[str] = GAUGE_COLOURS,
    mark_peak: bool = False,
    legend: bool | None = None,
) -> Axes:
    """Draw discharge against time at gauges.

    Parameters
    ----------
    discharge
        Discharge on ``time`` and ``reach``. Over any further dims (members, say) the median is drawn, on a band from
        the 5th to the 95th percentile.
    gauges
        Ids of reaches, or a mapping from ids to names.
    ax
        Axes to draw on; by default a new figure's.
    colors
        Line colours, used in turn.
    mark_peak
        Mark each gauge's highest value with its size.
    legend
        Whether to draw a legend; by default if there are several gauges.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    AlignmentError
        If a gauge is not among the reaches of the discharge.

    Examples
    --------
    >>> from xroute.datasets import scheidegger, storm_runoff
    >>> ax = plot_hydrographs(storm_runoff(scheidegger(5, 5), 24), [3, 7])
    >>> ax.get_ylabel()
    'Runoff into the reach [m³ s⁻¹]'
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import dates, pyplot

    if ax is None:
        ax = pyplot.subplots(figsize=(7, 3.5), layout="constrained")[1]
    names = _names(gauges)
    unknown = [g for g in names if g not in discharge.indexes["reach"]]
    if unknown:
        raise AlignmentError(f"no such reach in the discharge: {some(unknown)}")
    for i, (gauge, name) in enumerate(names.items()):
        colour = colors[i % len(colors)]
        series = discharge.sel(reach=gauge)
        others = [d for d in series.dims if d != "time"]
        if others:
            low, high = (series.quantile(q, others) for q in (0.05, 0.95))
            ax.fill_between(_drawn(series["time"]), low, high, color=colour, alpha=0.2, linewidth=0)
            series = series.median(others)
        ax.plot(_drawn(series["time"]), series.to_numpy(), color=colour, linewidth=1.8, label=name)
        if mark_peak and series.size and bool(series.notnull().any()):
            peak = series.isel(time=int(series.argmax("time")))
            at, size = _drawn(peak["time"]), float(peak)
            ax.plot(at, size, "o", color=colour, markersize=4.5, markeredgecolor="white", clip_on=False, zorder=3)
            text = f"{size:,.0f}" if abs(size) >= 100 else f"{size:.3g}"
            ax.annotate(text, (at, size), (7, 1), textcoords="offset points", color=colour, fontsize=9)
    ax.margins(x=0, y=0.08)
    if ax.dataLim.y0 >= 0:
        ax.set_ylim(bottom=0.0)
    ax.set_ylabel(describe(discharge))
    if discharge.indexes["time"].dtype.kind == "M":
        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    elif isinstance(discharge.indexes["time"], xr.CFTimeIndex) and discharge.sizes["time"]:
        ax.xaxis.set_major_formatter(_calendar_dates(discharge["time"]))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=PALE, alpha=0.3, linewidth=0.6)
    if len(names) > 1 if legend is None else legend:
        ax.legend(frameon=False)
    return ax


def overview(
    network: xr.Dataset | Network,
    discharge: xr.DataArray,
    gauges: Sequence[Hashable] | dict[Hashable, str] | None = None,
    *,
    runoff: xr.DataArray | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the map of a network coloured by peak discharge beside hydrographs at gauges.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees].
    discharge
        Discharge on ``time`` and ``reach``, and perhaps members; the map shows the largest of all.
    gauges
        Ids, or a mapping from ids to names; by default those of `choose_gauges`.
    runoff
        Runoff, whose mean over the reaches is then drawn above the hydrographs, hanging from the top.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, made with pyplot.

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
    names = choose_gauges(network) if gauges is None else _names(gauges)
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
    x, y = places(network)
    first: Axes | None = None
    if runoff is not None:
        first = figure.add_subplot(grid[0, 1])
        _hang(first, runoff)
    for i, (gauge, name) in enumerate(names.items()):
        colour = GAUGE_COLOURS[i % len(GAUGE_COLOURS)]
        at = x[place[gauge]], y[place[gauge]]
        map_ax.plot(*at, "o", color=colour, markersize=10, markeredgecolor="white", markeredgewidth=1.6, zorder=4)
        ax = figure.add_subplot(grid[n_rows - len(names) + i, 1], sharex=first)
        first = first or ax
        plot_hydrographs(discharge, {gauge: name}, ax, colors=[colour], mark_peak=True)
        text = ax.text(0.995, 0.95, name, color=colour, weight="bold", ha="right", va="top", transform=ax.transAxes)
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
        ax.set_ylabel(describe(discharge) if i == len(names) // 2 else "")
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


def _names(gauges: Sequence[Hashable] | dict[Hashable, str]) -> dict[Hashable, str]:
    """Names of gauges by id."""
    return dict(gauges) if isinstance(gauges, dict) else {g: f"reach {g}" for g in gauges}


def _drawn(time: xr.DataArray) -> Any:
    """Times as matplotlib takes them: dates of other calendars (cftime) as days since 1970, of their own calendar."""
    values = time.to_numpy()
    if values.dtype.kind != "O" or not values.size:
        return values
    import cftime

    return cftime.date2num(values, "days since 1970-01-01", calendar=values.flat[0].calendar)


def _calendar_dates(time: xr.DataArray) -> Any:
    """Labels of an axis in days since 1970: dates of the times' own calendar, with hours where they span few days."""
    import cftime
    from matplotlib.ticker import FuncFormatter

    calendar = time.to_numpy().flat[0].calendar
    days = np.ptp(_drawn(time))

    def label(day: float, _: int | None = None) -> str:
        date = cftime.num2date(round(day * 1440) / 1440, "days since 1970-01-01", calendar=calendar)
        return str(date.strftime("%Y-%m-%d" if days > 8 else "%m-%d %H:%M"))

    return FuncFormatter(label)


def _hang(ax: Axes, runoff: xr.DataArray) -> None:
    """Mean runoff as bars from the top, as rain is drawn over hydrographs."""
    mean = runoff.mean([d for d in runoff.dims if d != "time"])
    time = _drawn(mean["time"])
    ax.fill_between(time, mean.to_numpy(), step="post", color=PALE, linewidth=0)
    ax.set_ylim(float(mean.max()) * 1.15 or 1.0, 0.0)
    ax.set_ylabel(f"Runoff\n[{describe_units(runoff.attrs.get('units', ''))}]")
    ax.spines[["bottom", "right"]].set_visible(False)
    ax.xaxis.tick_top()
    ax.tick_params(labeltop=False, labelbottom=False)
    ax.margins(x=0)
