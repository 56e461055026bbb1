"""Profiles: discharge along a river, from a reach down to its mouth, at all times as a flood wave or at some as lines."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, one_of, require, some
from xroute.ids import positions_of
from xroute.moments import selected
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.reach_series import chosen_reaches, gauge_names
from xroute.plotting.river_way import Way, find_way
from xroute.plotting.scales import draw_colour_bar, number_scale
from xroute.plotting.style import INK, PALE, axis_label, of_members
from xroute.plotting.time_axis import dress_times, numbers_on_axis, step_begins, step_edges, time_text
from xroute.plotting.values import Values
from xroute.settings import PROFILE, Profile
from xroute.time_dims import dated_dims, find_time_dim
from xroute.units import require_array
from xroute.wording import argument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

__all__ = ["plot_profile"]

Float = NDArray[np.float64]
MOST_STEPS = 2000
"""Steps of an image; of more, neighbours are drawn as their mean, which no screen can tell."""
N_LINES, N_CONFLUENCES = 6, 15
BACKWARDS = 0.2
"""Share of the reaches to which a flood may come sooner than to the one above, for it to be drawn as one flood."""
NOTHING = "#e8eaec"
"""Colour where there is no value."""


def plot_profile(
    network: xr.Dataset | Network,
    discharge: xr.DataArray,
    reach: Hashable | None = None,
    ax: Axes | None = None,
    *,
    to: Hashable | None = None,
    kind: Profile | None = None,
    time: Any = None,
    gauges: Any = None,
    relative: bool = False,
    norm: Normalize | None = None,
    colorbar: bool = True,
    time_dim: Hashable | None = None,
) -> Axes:
    """Draw discharge along a river: a flood wave on its way from a reach to the outlet.

    Parameters
    ----------
    network
        Network. Distances are of its ``length``, or else between its ``lon`` and ``lat``; without either they are counted in
        reaches. Where rivers part, the way goes along the largest fraction, and the axis says so.
    discharge : (reach, time, ...)
        Discharge, matched by id; of members the median is drawn. Only the reaches on the way are read, or computed on Dask.
    reach
        Id of the reach to begin at, a headwater say. By default, and of an outlet, the longest way is drawn that ends there.
    ax
        Axes to draw on; by default a new figure's.
    to
        Id of the last reach; by default the outlet below.
    kind
        ``"image"``, discharge as colours over distance and time, or ``"lines"``, a line for each of some times. By default lines
        where ``time`` is one time or a list of them, or there is no time.
    time
        Times that are drawn: a slice of labels, one label, or a list of them; by default all, or of lines six of these.
    gauges
        Ids of reaches on the way that are marked, or a mapping from ids to names.
    relative
        Whether discharge is drawn as share of the highest value of each reach, which shows the wave where rivers grow.
    norm
        Colour scale; by default logarithmic if values are positive and span more than a factor of 30.
    colorbar
        Whether to draw a colour bar.
    time_dim
        Dimension of the time, where it cannot be told.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on. Triangles at its top are the confluences, or of many the largest, by the share of the reaches upstream
        that come in there. Where the highest flow comes later and later downstream, a dashed line follows it, and the legend says
        how fast it is.

    Raises
    ------
    AlignmentError
        If discharge lacks reaches on the way, or gauges are not on it.
    NetworkError
        If there is no such reach, or no way from one to the other.
    TimeAxisError
        If it cannot be told which dimension is the time, or there is no such time.

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 48)).route(network)
    >>> ax = plot_profile(network, discharge, time="2024-05-02 12:00")
    >>> ax.get_xlabel()
    'Distance downstream [km]'
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot
    from matplotlib.colors import Normalize

    network = as_network(network)
    way = find_way(network, reach, to)
    series = _times(_series(discharge, network.ids[way.reach], time_dim), time)
    one_time = time is not None and not isinstance(time, slice)
    drawn: Profile = kind or ("lines" if one_time or series.sizes["time"] == 1 else "image")
    one_of("kind", drawn, PROFILE)
    values = series.transpose("reach", "time").to_numpy()
    label = axis_label(series)
    if relative:
        highest = np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=1, keepdims=True, initial=0.0)
        values = np.divide(values, highest, out=np.full(values.shape, np.nan), where=highest > 0)
        label, norm = "Share of the highest discharge", Normalize(0.0, 1.0) if norm is None else norm
    if ax is None:
        ax = pyplot.subplots(figsize=(8, 4.6), layout="constrained")[1]
    if drawn == "image":
        _draw_image(ax, way, series, values, norm, label if colorbar else None)
    else:
        _draw_lines(ax, way, series, values, label)
    _dress(ax, way, network, gauges)
    return ax


def _series(discharge: xr.DataArray, ids: NDArray[Any], time_dim: Hashable | None) -> xr.DataArray:
    """Discharge on the way, (reach, time), in memory; a snapshot has one time."""
    discharge = require_array(discharge, "discharge")
    if time_dim is None and "time" not in discharge.dims and not dated_dims(discharge) and not _leads(discharge):
        when = discharge["time"].values[()] if "time" in discharge.coords and not discharge["time"].ndim else None
        discharge = discharge.drop_vars("time", errors="ignore").expand_dims("time")
        if when is not None:
            discharge = discharge.assign_coords(time=[when])
    try:
        series, _ = chosen_reaches(discharge, ids, time_dim)
    except AlignmentError as error:
        lacking = str(error).replace("no such reach in the discharge", "the discharge lacks reaches on the way")
        raise AlignmentError(lacking) from None
    members = [d for d in series.dims if d not in ("reach", "time")]
    return series.median(members).assign_attrs(of_members(series, members, "median"))


def _leads(discharge: xr.DataArray) -> bool:
    try:
        find_time_dim(discharge)
    except TimeAxisError:
        return False
    return True


def _times(series: xr.DataArray, time: Any) -> xr.DataArray:
    """The times that were asked for."""
    if time is None:
        return series
    several = isinstance(time, Sequence | np.ndarray | xr.DataArray) and not isinstance(time, str) and np.ndim(time) > 0
    found = [selected(series, "time", label, "the time") for label in (np.asarray(time) if several else [time])]
    at = np.concatenate(found) if found else np.empty(0, np.int64)
    if not at.size:
        raise TimeAxisError(f"there is no discharge at {argument('time')} {time!r}")
    return series.isel(time=at)


# ── what is drawn ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _draw_image(ax: Axes, way: Way, series: xr.DataArray, values: Float, norm: Any, label: str | None) -> None:
    """Colours over distance and time, and the way of the highest flow."""
    at = numbers_on_axis(series["time"])
    every = max(-(-at.size // MOST_STEPS), 1)
    edges = step_edges(step_begins(series, at))
    first = np.arange(0, at.size, every)  # of each block of steps that is drawn as its mean; the last may be shorter
    with np.errstate(invalid="ignore"):
        shown = values if every == 1 else np.add.reduceat(values, first, axis=1) / np.diff(first, append=at.size)
    edges = np.append(edges[first], edges[-1])
    known = Values(values.ravel(), label or "")
    scale = number_scale(known, norm=norm)
    image = ax.pcolormesh(
        way.edges, edges, np.ma.masked_invalid(shown.T), cmap=scale.cmap.with_extremes(bad=NOTHING), norm=scale.norm,
        rasterized=True,
    )  # fmt: skip
    dress_times(ax, series["time"], "y")
    ax.set_ylim(*edges[[0, -1]].tolist())
    if label is not None:
        draw_colour_bar(ax, image, scale, known, None)
    _draw_crest(ax, way, series, values, at)


def _draw_crest(ax: Axes, way: Way, series: xr.DataArray, values: Float, at: Float) -> None:
    """When the highest flow comes to each reach, if it comes later downstream: the way of a flood, and its celerity."""
    if len(way.reach) < 3 or at.size < 3 or not np.isfinite(values).all() or not (values.max(axis=1) > 0).all():
        return
    crest = at[values.argmax(axis=1)]
    later = np.polyfit(way.edges[1:], crest, 1)[0]  # on the axis, for each km
    if (np.diff(crest) < -1e-9).mean() > BACKWARDS or later <= 0 or crest[-1] <= crest[0]:
        return
    kind, label = series["time"].dtype.kind, "highest flow"
    if way.units and kind in "mMO":
        seconds = later * (86400.0 if kind in "MO" else 3600.0)
        label += f", {1e3 / seconds:.2g} m s⁻¹ in the mean"
    ax.plot(way.edges[1:], crest, "--", color="#D55E00", linewidth=1.3, label=label)


def _draw_lines(ax: Axes, way: Way, series: xr.DataArray, values: Float, label: str) -> None:
    """Discharge against distance, a line for each of some times, from the earliest in a dark colour on."""
    from matplotlib import colormaps

    chosen = np.arange(series.sizes["time"])
    if chosen.size > N_LINES:
        chosen = np.unique(np.linspace(0, chosen.size - 1, N_LINES).round().astype(int))
    for k, j in enumerate(chosen):
        colour = colormaps["viridis"](0.85 * k / max(chosen.size - 1, 1))
        when = time_text(series, int(j)) if "time" in series.coords else None
        ax.stairs(values[:, j], way.edges, baseline=None, color=colour, linewidth=1.6, label=when)
    known = values[:, chosen][np.isfinite(values[:, chosen])]
    high, low = float(known.max(initial=0.0)), float(known.min(initial=0.0))
    ax.set_ylim(low - 0.05 * (high - low) if low < 0 else 0.0, high + 0.08 * (high - low) if high > low else low + 1.0)
    ax.set_ylabel(label)
    ax.grid(axis="y", color=PALE, alpha=0.3, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def _dress(ax: Axes, way: Way, network: Network, gauges: Any) -> None:
    """Axis of distance, confluences, gauges, and a legend below."""
    from matplotlib.transforms import ScaledTranslation

    along = " along the larger arm" if way.parts else ""
    ax.set_xlabel(f"Distance downstream{along} [km]" if way.units else f"Reaches downstream{along}")
    ax.set_xlim(0.0, way.edges[-1] if way.edges[-1] > 0 else 1.0)
    if way.joined.size:
        large = np.sort(np.argsort(-way.share, kind="stable")[:N_CONFLUENCES])
        ax.scatter(
            way.edges[way.joined[large]], np.full(large.size, 1.02), s=6 + 60 * way.share[large], marker="v", color=INK,
            linewidths=0, transform=ax.get_xaxis_transform(), clip_on=False, zorder=4,
            label="confluences" if large.size == way.joined.size else f"the {large.size} largest confluences",
        )  # fmt: skip
    if gauges is not None:
        _draw_gauges(ax, way, network, gauge_names(gauges))
    handles, labels = ax.get_legend_handles_labels()
    if labels:
        below = ax.transAxes + ScaledTranslation(0, -38 / 72, ax.figure.dpi_scale_trans)
        ax.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(0.0, 0.0), bbox_transform=below, ncols=4, borderaxespad=0.0,
            frameon=False, fontsize=9,
        )  # fmt: skip


def _draw_gauges(ax: Axes, way: Way, network: Network, names: Mapping[Hashable, str]) -> None:
    """Lines at the ends of the gauges' reaches, named above."""
    place = positions_of(network.position(list(names)), way.reach)
    if (place < 0).any():
        beside = [g for g, at in zip(names, place, strict=True) if at < 0]
        raise AlignmentError(f"these gauges are not on the way, which is of {way.reach.size} reaches: {some(beside)}")
    for name, at in zip(names.values(), way.edges[1 + place], strict=True):
        ax.axvline(at, color="white", linewidth=2.2)
        ax.axvline(at, color=INK, linewidth=0.9, linestyle=":")
        ax.annotate(
            name, (at, 1.0), (0, 9), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center", fontsize=8,
            color=INK,
        )  # fmt: skip
