"""Pictures of scores: how they are spread over gauges, run by run, and where on the map they are good."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, ParameterError, require, some, warn
from xroute.gauges import REACH_NAMES
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.layout import layout_points
from xroute.plotting.legends import Group, draw_legends
from xroute.plotting.maps import plot_network
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE, axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

__all__ = ["plot_score_map", "plot_scores"]

WORST = -1.0
"""Efficiencies below this are drawn there: how bad they are beyond it says nothing, and would hide the others."""
TINY = 1e-6
"""An efficiency may pass one by rounding."""
STYLES = ("-", "--", ":", "-.")
MOST_WITHIN, LEGEND_ROWS = 8, 18
"""Lines that are named within the axes; more are named beside them, so many in a column."""


def plot_scores(scores: xr.Dataset, metric: str = "nse", ax: Axes | None = None, *, lowest: float | None = None) -> Axes:
    """Draw how a score is spread: the share of gauges whose score is at most so high, a line for each run and period.

    Parameters
    ----------
    scores
        What `xroute.scores` gave, or the ``scores`` of a calibration.
    metric
        Name of the score.
    ax
        Axes to draw on; by default a new figure's.
    lowest
        Where the axis begins, below the largest score; lower scores are counted, and lie beyond it. By default -1 of
        efficiencies that go below.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ParameterError
        If there is no such score, no gauge with one, or all lie below ``lowest``.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.plotting import plot_scores
    >>> found = xr.Dataset({"nse": (("run", "gauge"), [[0.2, 0.9], [0.5, 0.7]])}, {"run": ["routed", "unrouted"]})
    >>> [line.get_label() for line in plot_scores(found).lines]
    ['routed (median 0.55)', 'unrouted (median 0.6)']
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot

    values = _score(scores, metric)
    shown = values.values[np.isfinite(values.values)]
    if not shown.size:
        raise ParameterError(f"{metric!r} is NaN or infinite at every gauge: there is nothing to draw")
    largest = float(shown.max())
    if lowest is not None and not lowest < largest:
        raise ParameterError(f"lowest={lowest} is not below the largest score, {largest:.3g}: nothing would be seen")
    if lowest is None and values.attrs.get("best") == 1.0 and shown.min() < WORST < largest:
        lowest = WORST
    series = list(_series(values))
    columns = -(-len(series) // LEGEND_ROWS) if len(series) > MOST_WITHIN else 0
    if ax is None:
        ax = pyplot.subplots(figsize=(6 + 2.6 * columns, 4 + columns), layout="constrained")[1]
    for k, (label, part) in enumerate(series):
        colour, style = GAUGE_COLOURS[k % len(GAUGE_COLOURS)], STYLES[k // len(GAUGE_COLOURS) % len(STYLES)]
        ax.plot(*_shares(part), drawstyle="steps-post", color=colour, linestyle=style, label=_said(label, part))
    if lowest is not None:
        ax.set_xlim(lowest, largest + 0.02 * (largest - lowest))
    ax.set_ylim(0, 1)
    ax.set_xlabel(axis_label(values))
    ax.set_ylabel(f"Share of {_plural(str(_places_of(values)))}")
    if columns:
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), ncols=columns, fontsize=8)
    else:
        ax.legend(frameon=False, loc="best")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_score_map(
    network: xr.Dataset | Network,
    scores: xr.Dataset,
    metric: str = "nse",
    ax: Axes | None = None,
    *,
    norm: Normalize | None = None,
) -> Axes:
    """Draw a score on the map: a dot at each gauge, over the network in one pale colour; a ring where it has no score.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees].
    scores
        What `xroute.scores` gave, of one run and period, with the gauges' ``reach``, which are matched by id.
    metric
        Name of the score.
    ax
        Axes to draw on; by default a new figure's.
    norm
        Colour scale; by default from -1 to 1 or 0 to 1 for efficiencies, about zero for biases, and about one for
        ratios.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ParameterError
        If there is no such score, or there are several runs or periods.
    AlignmentError
        For gauges without a reach, or on one that the network does not have.

    Examples
    --------
    >>> import xroute
    >>> from xroute.plotting import plot_score_map
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.route(network)
    >>> gauges = 0.9 * discharge.sel(reach=[1, 200, 500])
    >>> ax = plot_score_map(network, xroute.scores(discharge, gauges), "pbias")
    >>> ax.collections[-1].get_offsets().shape[0]
    3
    """
    require("matplotlib", feature="plotting", extra="plot")

    network, values = as_network(network), _score(scores, metric)
    values = values.squeeze([d for d in ("period", "run") if values.sizes.get(d) == 1])
    values = values if values.ndim else values.expand_dims("gauge")  # of a single gauge
    if values.ndim != 1:
        one = next((str(d) for d in values.dims if d in ("run", "period")), "member")
        raise ParameterError(
            f"a map shows one value a gauge, and the scores are on {some(values.dims)}: choose with .sel({one}=...)"
        )
    bearer = next((n for name in REACH_NAMES for n in values.coords if str(n).lower() == name), None)
    if bearer is None:
        raise AlignmentError("the scores have no coordinate 'reach', so that nobody knows where the gauges are")
    at = network.position(np.atleast_1d(values[bearer].values))
    points = layout_points(network)
    ax = plot_network(network, ax=ax, color=PALE, scale=0.6)
    known = np.isfinite(values.values)
    x, y, placed = points.x[at], points.y[at], points.known[at]
    if not placed.all():
        lost = network.ids[at[~placed]]
        warn(f"{lost.size} of {at.size} gauges are on reaches without a place, and are not drawn: {some(lost)}")
    ax.scatter(x[~known], y[~known], s=18, facecolors="none", edgecolors=INK, linewidths=0.8, zorder=3)
    hollow = int((~known & placed).sum())
    if hollow:
        from matplotlib.lines import Line2D

        label = f"no score ({hollow} of {known.size})"
        ring = Line2D([], [], linestyle="", marker="o", markersize=4, markerfacecolor="none", color=INK, label=label)
        draw_legends(ax, [Group("", [ring])])
    middle = _middle(values, known)
    dots = ax.scatter(
        x[known], y[known], c=values.values[known], s=34, edgecolors=INK, linewidths=0.6, zorder=4,
        cmap="viridis" if middle is None else "RdBu", norm=_norm(values, known, middle) if norm is None else norm,
    )  # fmt: skip
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.6, aspect=32, pad=0.02, extend=_beyond(values.values[known], dots))
    bar.set_label(axis_label(values))
    return ax


def _beyond(shown: Any, dots: Any) -> Any:
    """At which ends of the colour scale there are scores beyond it."""
    low, high = dots.norm.vmin, dots.norm.vmax
    below, above = bool((shown < low).any()), bool((shown > high).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get((below, above), "both")


def _middle(values: xr.DataArray, known: Any) -> float | None:
    """The best value of scores that may lie on both sides of it: biases, and ratios, which unlike efficiencies pass one."""
    best = values.attrs.get("best")
    if best == 0.0 and values.attrs.get("units") in ("%", "h"):
        return 0.0
    return 1.0 if best == 1.0 and values.values[known].max(initial=1.0) > 1.0 + TINY else None


def _norm(values: xr.DataArray, known: Any, middle: float | None) -> Normalize:
    from matplotlib.colors import Normalize

    shown = values.values[known]
    if middle is not None:
        largest = float(np.abs(shown - middle).max(initial=0.0)) or 1.0
        return Normalize(middle - largest, middle + largest)
    if values.attrs.get("best") == 1.0:
        return Normalize(WORST if shown.size and shown.min() < 0 else 0.0, 1.0)
    return Normalize(float(shown.min(initial=0.0)), float(shown.max(initial=0.0)) or 1.0)


def _shares(part: Any) -> tuple[Any, Any]:
    """Scores and the shares of gauges up to each: infinite ones are counted, and lie beyond the axis."""
    known = np.sort(part[~np.isnan(part)])
    finite = np.isfinite(known)
    if not finite.any():
        return np.empty(0), np.empty(0)
    share = np.arange(1, known.size + 1) / known.size
    below = float((known == -np.inf).mean())
    return np.r_[known[finite][0], known[finite]], np.r_[below, share[finite]]


def _said(label: str, part: Any) -> str:
    """Label of a line: its run and period, its median, and how many gauges have no score."""
    known, lost = part[~np.isnan(part)], int(np.isnan(part).sum())
    if not known.size:
        return f"{label} (no score)".strip()
    middle = np.sort(known)[[(known.size - 1) // 2, known.size // 2]]
    median = middle[0] if middle[0] == middle[1] else middle.mean()
    said = f"median {median:.3g}" + (f", {lost} of {part.size} without a score" if lost else "")
    return f"{label} ({said})" if label else said


def _score(scores: xr.Dataset, metric: str) -> xr.DataArray:
    if metric not in scores.data_vars:
        raise ParameterError(f"there is no score {metric!r}; there are {some(scores.data_vars)}")
    return scores[metric].compute()


def _series(values: xr.DataArray) -> Iterator[tuple[str, Any]]:
    """Scores over all gauges, by run and period."""
    lines = [d for d in ("period", "run") if d in values.dims]
    for where in np.ndindex(*(values.sizes[d] for d in lines)):
        chosen = dict(zip(lines, where, strict=True))
        label = ", ".join(str(values[d].values[k]) if d in values.coords else str(k) for d, k in chosen.items())
        yield label, values.isel(chosen).values.ravel()


def _plural(word: str) -> str:
    return word + ("es" if word.endswith(("ch", "s", "x")) else "s")


def _places_of(values: xr.DataArray) -> Hashable:
    return next((d for d in values.dims if d not in ("period", "run")), "gauge")
