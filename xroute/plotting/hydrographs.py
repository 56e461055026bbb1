"""Hydrographs: discharge against time at gauges, with a band where there are members."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, require, some
from xroute.plotting.style import GAUGE_COLOURS, PALE, axis_label
from xroute.time_dims import find_time_dim

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Gauges", "along_time", "dress_times", "drawn_times", "gauge_names", "plot_hydrographs"]

Gauges = Sequence[Hashable] | Mapping[Hashable, str]
"""Ids of reaches, or a mapping from ids to names."""


def plot_hydrographs(
    discharge: xr.DataArray,
    gauges: Gauges,
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
        Discharge on ``reach`` and its time, whatever that is called, or a forecast's leads, which are drawn in hours. Over
        any further dims (members, say) the median is drawn, on a band from the 5th to the 95th percentile.
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
    TimeAxisError
        If it cannot be told which dimension is the time.

    Examples
    --------
    >>> from xroute.datasets import scheidegger, storm_runoff
    >>> ax = plot_hydrographs(storm_runoff(scheidegger(5, 5), 24), [3, 7])
    >>> ax.get_ylabel()
    'Runoff into the reach [m³ s⁻¹]'
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot

    if ax is None:
        ax = pyplot.subplots(figsize=(7, 3.5), layout="constrained")[1]
    discharge = along_time(discharge)
    names = gauge_names(gauges)
    unknown = [g for g in names if g not in discharge.indexes["reach"]]
    if unknown:
        raise AlignmentError(f"no such reach in the discharge: {some(unknown)}")
    for i, (gauge, name) in enumerate(names.items()):
        colour = colors[i % len(colors)]
        series = discharge.sel(reach=gauge)
        others = [d for d in series.dims if d != "time"]
        if others:
            low, high = (series.quantile(q, others) for q in (0.05, 0.95))
            ax.fill_between(drawn_times(series["time"]), low, high, color=colour, alpha=0.2, linewidth=0)
            series = series.median(others)
        ax.plot(drawn_times(series["time"]), series.to_numpy(), color=colour, linewidth=1.8, label=name)
        if mark_peak and series.size and bool(series.notnull().any()):
            peak = series.isel(time=int(series.argmax("time")))
            at, size = drawn_times(peak["time"]), float(peak)
            ax.plot(at, size, "o", color=colour, markersize=4.5, markeredgecolor="white", clip_on=False, zorder=3)
            text = f"{size:,.0f}" if abs(size) >= 100 else f"{size:.3g}"
            ax.annotate(text, (at, size), (7, 1), textcoords="offset points", color=colour, fontsize=9)
    ax.margins(x=0, y=0.08)
    if ax.dataLim.y0 >= 0:
        ax.set_ylim(bottom=0.0)
    ax.set_ylabel(axis_label(discharge))
    dress_times(ax, discharge["time"])
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=PALE, alpha=0.3, linewidth=0.6)
    if len(names) > 1 if legend is None else legend:
        ax.legend(frameon=False)
    return ax


def dress_times(ax: Axes, time: xr.DataArray) -> None:
    """Give an axis of times (see `drawn_times`) labels that fit them."""
    from matplotlib import dates

    kind = time.dtype.kind
    if kind == "M":
        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    elif kind == "m":
        ax.set_xlabel("Lead time [h]")
    elif kind == "O" and time.size:
        ax.xaxis.set_major_formatter(_calendar_dates(time))


def gauge_names(gauges: Gauges) -> dict[Hashable, str]:
    """Names of gauges by id."""
    return dict(gauges) if isinstance(gauges, Mapping) else {g: f"reach {g}" for g in gauges}


def along_time(series: xr.DataArray) -> xr.DataArray:
    """The series with its time, or a forecast's leads, on a dimension ``time``."""
    dim = find_time_dim(series)
    return series if dim == "time" else series.drop_vars("time", errors="ignore").rename({dim: "time"})


def drawn_times(time: xr.DataArray) -> Any:
    """Times as matplotlib takes them: durations in hours, dates of other calendars (cftime) as days since 1970 of their own."""
    values = time.to_numpy()
    if values.dtype.kind == "m":
        return values / np.timedelta64(1, "h")
    if values.dtype.kind != "O" or not values.size:
        return values
    import cftime

    return cftime.date2num(values, "days since 1970-01-01", calendar=values.flat[0].calendar)


def _calendar_dates(time: xr.DataArray) -> Any:
    """Labels of an axis in days since 1970: dates of the times' own calendar, with hours where they span few days."""
    import cftime
    from matplotlib.ticker import FuncFormatter

    calendar = time.to_numpy().flat[0].calendar
    days = np.ptp(drawn_times(time))

    def label(day: float, _: int | None = None) -> str:
        date = cftime.num2date(round(day * 1440) / 1440, "days since 1970-01-01", calendar=calendar)
        return str(date.strftime("%Y-%m-%d" if days > 8 else "%m-%d %H:%M"))

    return FuncFormatter(label)
