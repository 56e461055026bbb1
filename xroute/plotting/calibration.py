"""A calibration in a picture: hydrographs at gauges before and after, scores, and where travel times were changed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, require, some
from xroute.plotting.hydrographs import plot_hydrographs
from xroute.plotting.layout import layout_points
from xroute.plotting.maps import plot_network
from xroute.plotting.scales import red_to_blue
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE, axis_label
from xroute.plotting.time_axis import along_time, drawn_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xroute.learning.result import Calibration

__all__ = ["plot_calibration"]

COLOURS = {"observed": INK, "calibrated": GAUGE_COLOURS[1], "before": GAUGE_COLOURS[0], "unrouted": PALE}
"""The colour of each run, the same in all parts of the picture."""
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""What the colour bar of a change is labelled with."""
MOST_GAUGES = 4
"""Gauges that are drawn where nobody chooses."""
MOST_STEPS = 500
"""Steps that are drawn at most, where nobody chooses: of more, no eye can tell one line from the other."""
AROUND = 150
"""Steps about the highest flow that are drawn then."""
MOST_BARS = 12
"""Gauges whose scores are drawn as bars; of more the distribution is drawn."""


def plot_calibration(
    result: Calibration,
    gauges: Sequence[Hashable] | Mapping[Hashable, str] | None = None,
    *,
    time: slice | None = None,
    parameter: str | None = None,
    score: str = "nse",
    title: str | None = None,
) -> Figure:
    """Draw a calibration: discharge at gauges before and after, scores by gauge, and a map of what was changed.

    Parameters
    ----------
    result
        What `xroute.calibrate` gave.
    gauges
        Labels of gauges, or a mapping from labels to names; by default up to four: from the best to the worst of ``score``.
    time
        Times whose discharge is drawn, ``slice("2001-05", "2001-07")``; by default all, or of a long series the steps about the
        highest flow that was observed in the test period (in the training period, where there is no other).
        ``slice(None)`` draws all.
    parameter
        Parameter of the network whose change the map shows; by default ``k``, or the first that was changed. There is no map
        where the network has no ``lon`` and ``lat``, and then the history of the loss is drawn in its place.
    score
        Score of ``result.scores`` that is drawn.
    title
        Title of the figure; by default the calibration in a line.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, made with pyplot.

    Raises
    ------
    AlignmentError
        For gauges that there are not.
    ParameterError
        For a score or a parameter that there is not.
    TimeAxisError
        For a time without discharge.

    Examples
    --------
    >>> import xroute
    >>> network = xroute.datasets.scheidegger(4, 3)
    >>> runoff = xroute.datasets.storm_runoff(network, 240, dtype=float)
    >>> gauges = runoff.route(network).isel(reach=[10, 11])
    >>> wrong = xroute.Network(network).assign(k=1.5 * network.k)
    >>> result = xroute.calibrate(runoff, wrong, gauges, parameters={"k": ("scale", "all")}, progress=False)
    >>> figure = plot_calibration(result)
    >>> len(figure.axes)  # scores, map, colour bar, two hydrographs
    5
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot

    dim = _gauge_dim(result.discharge)
    if score not in result.scores:
        raise ParameterError(f"there is no score {score!r}; there are {some(result.scores.data_vars)}")
    names = _names(result, dim, gauges, score)
    shown = _shown(result.discharge.sel({dim: list(names)}), dim, time)
    changed = _change(result, parameter)
    figure = pyplot.figure(figsize=(13, max(4.5, 1.2 + 2.0 * len(names))), layout="constrained")
    grid = figure.add_gridspec(len(names), 2, width_ratios=[1, 1.5])
    left = grid[:, 0].subgridspec(2, 1, height_ratios=[1, 1.4])
    draw_scores(figure.add_subplot(left[0]), result.scores, dim, score)
    below = figure.add_subplot(left[1])
    if changed is None or not _can_be_mapped(result, changed):
        draw_loss(below, result.history)
    else:
        _draw_change(below, result, changed, dim, names)
    first: Axes | None = None
    for i, (gauge, name) in enumerate(names.items()):
        ax = figure.add_subplot(grid[i, 1], sharex=first)
        first = first or ax
        draw_gauge(ax, shown.sel({dim: gauge}), name, legend=i == 0)
        label = axis_label(result.discharge["observed"].assign_attrs(long_name="discharge"))
        ax.set_ylabel(label if i == len(names) // 2 else "")
        if i < len(names) - 1:
            ax.tick_params(labelbottom=False)
            ax.xaxis.get_offset_text().set_visible(False)
    figure.suptitle(_told(result, score) if title is None else title, x=0.02, ha="left", fontsize=13, weight="bold", color=INK)
    return figure


# ── hydrographs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shown(discharge: xr.Dataset, dim: Hashable, time: slice | None) -> xr.Dataset:
    """The steps that are drawn: those asked for, or of a long series those about its highest flow."""
    time_dim = next(d for d in discharge["observed"].dims if d != dim)
    if time is not None:
        part = discharge.sel({time_dim: time})
        if not part.sizes[time_dim]:
            raise TimeAxisError(f"there is no discharge in {time!r}")
        return part
    n = discharge.sizes[time_dim]
    if n <= MOST_STEPS:
        return discharge
    observed = discharge["observed"].transpose(dim, time_dim).values
    observed = np.nan_to_num(observed)  # gauges without any value count for nothing
    highest = np.abs(observed).max(axis=1, keepdims=True)
    share = (observed / np.where(highest > 0, highest, 1.0)).max(axis=0)
    if "period" in discharge.coords:
        periods = discharge["period"].values
        share = np.where(periods == ("test" if (periods == "test").any() else "train"), share, -1.0)
    first = int(np.clip(int(share.argmax()) - AROUND // 3, 0, n - AROUND))
    return discharge.isel({time_dim: slice(first, first + AROUND)})


def draw_gauge(ax: Axes, discharge: xr.Dataset, name: str, *, legend: bool = True) -> None:
    """Observed discharge of a gauge as dots, and what was routed before and after as lines."""
    for run in ("before", "calibrated"):
        series = along_time(discharge[run]).expand_dims("reach").assign_coords(reach=[0])
        plot_hydrographs(series, {0: run}, ax, colors=[COLOURS[run]], legend=False)
    observed = along_time(discharge["observed"])
    ax.plot(
        drawn_times(observed["time"]), observed.to_numpy(), ".", color=COLOURS["observed"], label="observed", zorder=1.5,
        markersize=float(np.clip(900 / max(observed.size, 1), 2.5, 9)), alpha=0.6, markeredgewidth=0,
    )  # fmt: skip
    _shade_test(ax, discharge, observed["time"])
    ax.set_title(name, loc="left", color=INK, fontsize=10, weight="bold")
    ax.autoscale(axis="y")
    ax.set_ylim(bottom=min(0.0, ax.dataLim.y0))
    if legend:
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=9)


def _shade_test(ax: Axes, discharge: xr.Dataset, time: xr.DataArray) -> None:
    """Shade the steps of the test period, if there are others beside them."""
    if "period" not in discharge.coords or time.size < 2:
        return
    tested = discharge["period"].values == "test"
    if not tested.any() or tested.all():
        return
    at = drawn_times(time)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], tested, [False]]).astype(int)))
    for k, (begin, stop) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        ax.axvspan(at[begin], at[stop - 1], color=PALE, alpha=0.15, linewidth=0, zorder=0, label="test" if k == 0 else None)


def _names(result: Calibration, dim: Hashable, gauges: Any, score: str) -> dict[Hashable, str]:
    """Names of the gauges that are drawn, by label."""
    labels = result.discharge[dim].values.tolist()
    if gauges is None:
        chosen = _spread(_by_run(result.scores, dim, score, "calibrated"), min(MOST_GAUGES, len(labels)))
        names = {labels[i]: _called(result.discharge, dim, i) for i in chosen}
    else:
        given = gauges if isinstance(gauges, Mapping) else {g: None for g in gauges}
        lacking = [g for g in given if g not in labels]
        if lacking:
            raise AlignmentError(f"no such gauge in the calibration: {some(lacking)}; there are {some(labels)}")
        names = {g: _called(result.discharge, dim, labels.index(g)) if n is None else n for g, n in given.items()}
    if isinstance(gauges, Mapping):
        return names
    return {label: f"{name}, {_of_gauge(result.scores, dim, label, score)}" for label, name in names.items()}


def _called(discharge: xr.Dataset, dim: Hashable, at: int) -> str:
    """A gauge by its label and reach."""
    label = discharge[dim].values[at]
    if dim == "reach" or "reach" not in discharge.coords:
        return f"reach {label}"
    return f"{label} (reach {discharge['reach'].values[at]})"


def _of_gauge(scores: xr.Dataset, dim: Hashable, label: Hashable, score: str) -> str:
    """A gauge's score before and after, in the last period there is."""
    period = scores["period"].values.tolist()[-1]
    own = scores[score].sel({dim: label, "period": period})
    before, after = (float(own.sel(run=run)) for run in ("before", "calibrated"))
    if np.isnan(before) and np.isnan(after):
        return f"no {_plain(score)} in {period}"
    return f"{_plain(score)} {before:.3f} → {after:.3f} ({period})"


def _spread(values: NDArray[np.float64], n: int) -> list[int]:
    """Positions of some values from the largest to the smallest, evenly spread in order; NaN last."""
    order = np.argsort(-np.where(np.isfinite(values), values, -np.inf), kind="stable")
    return [int(i) for i in order[np.unique(np.linspace(0, order.size - 1, n).round().astype(int))]]


# ── scores ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def draw_scores(ax: Axes, scores: xr.Dataset, dim: Hashable, score: str) -> None:
    """Scores of each run in the last period, which is held out if any is: bars by gauge, or of many gauges their distribution."""
    period = scores["period"].values.tolist()[-1]
    table = {str(run): _by_run(scores, dim, score, run) for run in scores["run"].values.tolist()}
    runs = [run for run in ("unrouted", "before", "calibrated") if run in table]
    name = f"{_plain(score)} in {period}"
    if scores.sizes[dim] > MOST_BARS:
        for run in runs:
            values = np.sort(table[run][np.isfinite(table[run])])
            share = (np.arange(values.size) + 1) / max(values.size, 1)
            ax.plot(values, share, color=COLOURS[run], label=run, linewidth=1.8, drawstyle="steps-post")
        ax.set_xlabel(name)
        ax.set_ylabel("Share of gauges with less")
        _from_minus_one(ax.set_xlim, np.concatenate([table[run] for run in runs]))
    else:
        width = 0.8 / len(runs)
        at = np.arange(scores.sizes[dim])
        shown = np.concatenate([table[run] for run in runs])
        for k, run in enumerate(runs):
            ax.bar(at + (k - (len(runs) - 1) / 2) * width, table[run], width, color=COLOURS[run], label=run)
        labels = [str(label) for label in scores[dim].values.tolist()]
        ax.set_xticks(at, labels, rotation=30 if sum(map(len, labels)) > 24 else 0)
        ax.set_xlim(-0.6, at.size - 0.4)  # a gauge without bars has its place, too
        ax.set_ylabel(name)
        ax.axhline(0.0, color=PALE, linewidth=0.8)
        _from_minus_one(ax.set_ylim, shown)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)


def _by_run(scores: xr.Dataset, dim: Hashable, score: str, run: str) -> NDArray[np.float64]:
    """Scores of a run by gauge, in the last period there is."""
    own = scores[score].sel(run=run).isel(period=-1)
    return np.asarray(own.transpose(dim).values, np.float64)


def _from_minus_one(set_limits: Any, values: NDArray[np.float64]) -> None:
    """Limit an axis of efficiencies to what can be seen: 1 is best, and there is no worst."""
    finite = values[np.isfinite(values)]
    low = float(finite.min(initial=0.0))
    high = float(finite.max(initial=1.0))
    if high <= 1.0:
        set_limits(max(low, -1.0) * 1.05 if low < 0 else 0.0, 1.02)


# ── what was changed ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _change(result: Calibration, parameter: str | None) -> str | None:
    """Name of the parameter whose change is drawn; None where the result does not say what there was before."""
    known = [str(n) for n in result.before.data_vars if n in result.network.dataset]
    if parameter is not None and parameter not in known:
        raise ParameterError(f"{parameter!r} was not calibrated; what was: {some(known) or 'nothing that is told'}")
    return parameter or ("k" if "k" in known else next(iter(known), None))


def _can_be_mapped(result: Calibration, name: str) -> bool:
    """Whether reaches have places, and values to divide by."""
    try:
        layout_points(result.network, "map")
    except ParameterError:
        return False
    return bool((result.before[name] > 0).any())


def _draw_change(ax: Axes, result: Calibration, name: str, dim: Hashable, gauges: Mapping[Hashable, str]) -> None:
    """Map of a parameter after the calibration, in parts of what it was before, with the gauges."""
    from matplotlib.colors import LogNorm

    network = result.network
    before, after = result.before[name], network.dataset[name]
    ratio = (after / before).where(before > 0)
    finite = ratio.values[np.isfinite(ratio.values) & (ratio.values > 0)]
    most = float(np.exp(np.quantile(np.abs(np.log(finite)), 0.98))) if finite.size else 1.0
    most = max(most, 1.05)
    plot_network(network, ratio, ax, norm=LogNorm(1 / most, most), cmap=red_to_blue().reversed(), colorbar=False)
    bar = ax.figure.colorbar(ax.collections[0], ax=ax, shrink=0.6, aspect=32, pad=0.02, extend="both")
    inside = [f for f in FACTORS if 1 / most <= f <= most]
    bar.set_ticks(inside if len(inside) > 2 else [1 / most, 1.0, most])
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    bar.ax.minorticks_off()
    bar.set_label(f"{name}, calibrated / before")
    bar.outline.set_visible(False)
    points = layout_points(network)
    ids = (result.discharge["reach"] if "reach" in result.discharge.coords else result.discharge[dim]).values
    at = network.position(ids)
    ax.plot(points.x[at], points.y[at], "o", color=INK, markersize=4.5, markeredgecolor="white", zorder=4)
    shown = [i for i, label in enumerate(result.discharge[dim].values.tolist()) if label in gauges]
    ax.plot(
        points.x[at[shown]], points.y[at[shown]], "o", color=GAUGE_COLOURS[4], markersize=7, markeredgecolor=INK, zorder=4
    )


def draw_loss(ax: Axes, history: xr.Dataset) -> None:
    """Loss against epochs, and that of the test period where there is one."""
    ax.plot(history["epoch"], history["loss"], color=COLOURS["calibrated"], label="train", linewidth=1.8)
    if "test_loss" in history and bool(history["test_loss"].notnull().any()):
        known = history["test_loss"].dropna("epoch")
        ax.plot(known["epoch"], known, ".-", color=GAUGE_COLOURS[2], label="test", linewidth=1.2)
        ax.legend(frameon=False, fontsize=9)
    shown = np.concatenate([line.get_ydata() for line in ax.lines])
    if (shown > 0).all() and shown.max() > 30 * shown.min():
        ax.set_yscale("log")
    ax.set_xlabel("Epoch")
    ax.set_ylabel("Loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=PALE, alpha=0.3, linewidth=0.6)


def _gauge_dim(discharge: xr.Dataset) -> Hashable:
    """Dimension of the gauges, which is the first."""
    return discharge["observed"].dims[0]


def _plain(score: str) -> str:
    return {"kge_2012": "KGE (2012)", "log_nse": "log NSE"}.get(score, score.upper() if len(score) <= 4 else score)


def _told(result: Calibration, score: str) -> str:
    medians = [float(result.scores[score].sel(run=run).isel(period=-1).median()) for run in ("before", "calibrated")]
    period = result.scores["period"].values.tolist()[-1]
    known = result.scores[score].sel(run="calibrated").isel(period=-1).notnull()
    n, n_known = known.size, int(known.sum())
    of = f"{n} gauges" if n_known == n else f"the {n_known} of {n} gauges that have one"
    return f"Before and after: {_plain(score)} {medians[0]:.3f} → {medians[1]:.3f} in {period} (median of {of})"
