"""Footprints: where water came from that passed a gauge, on a map, when it fell, and how old it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, require, some
from xroute.ids import positions_of
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.layout import layout_points, warn_of_unplaced
from xroute.plotting.maps import draw_network
from xroute.plotting.requests import MapRequest
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE, units_label
from xroute.plotting.time_axis import along_time, drawn_times, dress_times
from xroute.reach_ids import read_reach_ids

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

__all__ = ["plot_footprint"]

FAINT = 1e4
"""Volumes smaller than the largest by more than this have the colour of the smallest shown."""


def plot_footprint(network: xr.Dataset | Network, footprint: xr.DataArray, *, title: str | None = None) -> Figure:
    """Draw a footprint: a map of where the water came from, when it fell, and how long before it passed that was.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees].
    footprint : (reach, time, ...)
        What `xroute.footprint` gave, in its units, of one gauge. Over any further dims (members, say) means are drawn.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, made with pyplot: its axes are the map, its colour bar, volumes by time of runoff with the window shaded,
        and the share of the volume that fell at most so long before the end of the window.

    Raises
    ------
    AlignmentError
        If the footprint has reaches that the network does not have, or is of several gauges.
    ParameterError
        If the network has no ``lon`` or ``lat``.

    Examples
    --------
    >>> import xroute
    >>> from xroute.plotting import plot_footprint
    >>> network, ds = xroute.datasets.tutorial()
    >>> water = xroute.footprint(network, xroute.Network(network).outlets[0], ds.runoff, window="2024-05-04")
    >>> figure = plot_footprint(network, water)
    >>> len(figure.axes)  # map, colour bar, when it fell, how old it is
    4
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot

    network = as_network(network)
    points = layout_points(network)
    if "gauge" in footprint.dims:
        raise AlignmentError(f"the footprint is of {footprint.sizes['gauge']} gauges: choose one, footprint.isel(gauge=0)")
    series = along_time(footprint)
    dim, _, ids = read_reach_ids(series, network.ids, None, "time", "the footprint")
    bare = series.drop_vars([n for n, c in series.coords.items() if dim in c.dims]).swap_dims({dim: "reach"})
    volume = bare.mean([d for d in bare.dims if d not in ("reach", "time")]).compute().assign_coords(reach=ids)
    unknown = ids[positions_of(ids, network.ids) < 0]
    if unknown.size:
        raise AlignmentError(f"the footprint has reaches that the network does not have: {some(unknown)}")
    figure = pyplot.figure(figsize=(13, 6.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[1.25, 1])
    basin = network.basin(ids)
    by_reach = volume.sum("time").reindex(reach=basin.ids, fill_value=0.0)
    by_reach.attrs = {"long_name": "water that passed the gauge", "units": footprint.attrs.get("units", "")}
    map_ax = figure.add_subplot(grid[:, 0])
    warn_of_unplaced(network, points)
    draw_network(network, points, None, map_ax, MapRequest(color=PALE, scale=0.6))
    shades = MapRequest(scale=1.25, norm=_norm(by_reach.to_numpy()))
    draw_network(basin, points.of(network.position(basin.ids)), by_reach, map_ax, shades)
    if "gauge" in footprint.coords:
        gauge = network.position(footprint["gauge"].values)
        map_ax.plot(
            points.x[gauge], points.y[gauge], "o", color=GAUGE_COLOURS[0], markersize=10, markeredgecolor="white",
            markeredgewidth=1.6, zorder=4,
        )  # fmt: skip
    by_time = volume.sum("reach")
    first, last = _window(by_time, footprint.attrs)
    when = figure.add_subplot(grid[0, 1])
    _draw_times(when, by_time, first, last)
    units = units_label(str(footprint.attrs.get("units", "")))
    when.set_ylabel("Volume by time\nof runoff" + (f" [{units}]" if units else ""))
    _draw_ages(figure.add_subplot(grid[1, 1]), by_time, last)
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=15, weight="bold", color=INK)
    return figure


def _norm(volume: NDArray[Any]) -> Normalize | None:
    """Scale of colours that ends at a ten-thousandth of the largest volume: far away next to nothing is all that was in time."""
    from matplotlib.colors import LogNorm

    least, most = volume.min(), volume.max()
    return LogNorm(most / FAINT, most) if least > 0 and most > FAINT * least else None


def _window(by_time: xr.DataArray, attrs: Any) -> tuple[int, int]:
    """First and last step of the window, as the footprint's attributes name them; of one without them, of what passed at all."""
    if "time" in by_time.coords:
        labels = [str(t) for t in by_time["time"].values]
        ends = [attrs.get(name) for name in ("window_start", "window_end")]
        if all(e in labels for e in ends):
            return labels.index(ends[0]), labels.index(ends[1])
    passed = np.flatnonzero(by_time.values)
    return 0, int(passed[-1]) if passed.size else by_time.size - 1


def _edges(by_time: xr.DataArray) -> NDArray[Any]:
    """When each step begins, and when the last one ends; numbers of steps where there are no times."""
    begin = np.asarray(drawn_times(by_time["time"])) if "time" in by_time.coords else np.arange(by_time.size)
    return np.append(begin, begin[-1:] + (begin[-1:] - begin[-2:][:1]))


def _draw_times(ax: Axes, by_time: xr.DataArray, first: int, last: int) -> None:
    """Volumes by time of runoff, and the window shaded."""
    edge, values = _edges(by_time), by_time.to_numpy()
    ax.axvspan(edge[first], edge[last + 1], color=GAUGE_COLOURS[0], alpha=0.15, linewidth=0)
    ax.fill_between(edge, np.append(values, values[-1:]), step="post", color=GAUGE_COLOURS[1], linewidth=0)
    ax.margins(x=0)
    ax.spines[["top", "right"]].set_visible(False)
    if "time" in by_time.coords:
        dress_times(ax, by_time["time"])


def _draw_ages(ax: Axes, by_time: xr.DataArray, last: int) -> None:
    """Share of the volume that fell at most so long before the end of the window, and the age of half of it."""
    values = by_time.to_numpy()[last::-1]
    total = values.sum()
    share = np.concatenate([[0.0], values.cumsum() / total if total else np.zeros(values.size)])
    age, unit = np.arange(share.size, dtype=float), "steps"
    if "time" in by_time.coords and by_time.size > 1 and by_time["time"].dtype.kind in "mMO":
        apart: Any = np.diff(by_time["time"].values[:2])[0]
        hours = apart.total_seconds() / 3600 if hasattr(apart, "total_seconds") else float(apart / np.timedelta64(1, "s")) / 3600
        age, unit = (age * hours, "h") if age[-1] * hours < 240 else (age * hours / 24, "d")
    ax.plot(age, share, color=GAUGE_COLOURS[1], linewidth=1.8)
    if total > 0:
        half = float(np.interp(0.5, np.maximum.accumulate(share), age))
        ax.plot([half, half, 0], [0, 0.5, 0.5], color=PALE, linewidth=1.0)
        ax.annotate(f"half: {half:.3g} {unit}", (half, 0.5), (7, -12), textcoords="offset points", color=INK, fontsize=9)
    ax.set_xlim(0, age[-1])
    ax.set_ylim(0, 1.03)
    ax.set_xlabel(f"Time before the end of the window [{unit}]")
    ax.set_ylabel("Share that is\nat most so old")
    ax.spines[["top", "right"]].set_visible(False)
