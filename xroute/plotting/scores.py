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
from xroute.plotting.maps import plot_network
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE, axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

__all__ = ["plot_score_map", "plot_scores"]

WORST = -1.0
"""Efficiencies below this are drawn there: how bad they are beyond it says nothing, and would hide the others."""


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
        Where the axis begins; lower scores are counted, and lie beyond it. By default -1 of efficiencies that go below.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ParameterError
        If there is no such score, or no gauge with one.

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
    if ax is None:
        ax = pyplot.subplots(figsize=(6, 4), layout="constrained")[1]
    everything = []
    for k, (label, part) in enumerate(_series(values)):
        known = np.sort(part[np.isfinite(part)])
        if not known.size:
            continue
        everything.append(known)
        said = f"{label} (median {np.median(known):.3g})" if label else f"median {np.median(known):.3g}"
        share = np.arange(1, known.size + 1) / known.size
        colour, style = GAUGE_COLOURS[k % len(GAUGE_COLOURS)], "-" if k < len(GAUGE_COLOURS) else "--"
        ax.plot(np.r_[known[0], known], np.r_[0.0, share], drawstyle="steps-post", color=colour, linestyle=style, label=said)
    if not everything:
        raise ParameterError(f"{metric!r} is NaN at every gauge: there is nothing to draw")
    all_of_them = np.concatenate(everything)
    if lowest is None and values.attrs.get("best") == 1.0 and all_of_them.min() < WORST:
        lowest = WORST
    if lowest is not None:
        ax.set_xlim(lowest, max(float(all_of_them.max()), lowest) + 0.02 * (float(all_of_them.max()) - lowest))
    ax.set_ylim(0, 1)
    ax.set_xlabel(axis_label(values))
    ax.set_ylabel(f"Share of {_plural(str(_places_of(values)))}")
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
    """Draw a score on the map: a dot at each gauge, over the network in one pale colour.

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
        Colour scale; by default from -1 to 1 or 0 to 1 for efficiencies, and about zero for biases.

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
    biased = values.attrs.get("best") == 0.0 and values.attrs.get("units") in ("%", "h")
    dots = ax.scatter(
        x[known], y[known], c=values.values[known], s=34, edgecolors=INK, linewidths=0.6, zorder=4,
        cmap="RdBu" if biased else "viridis", norm=_norm(values, known, biased) if norm is None else norm,
    )  # fmt: skip
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.6, aspect=32, pad=0.02)
    bar.set_label(axis_label(values))
    return ax


def _norm(values: xr.DataArray, known: Any, biased: bool) -> Normalize:
    from matplotlib.colors import Normalize

    shown = values.values[known]
    if biased:
        largest = float(np.abs(shown).max(initial=0.0)) or 1.0
        return Normalize(-largest, largest)
    if values.attrs.get("best") == 1.0:
        return Normalize(WORST if shown.size and shown.min() < 0 else 0.0, 1.0)
    return Normalize(float(shown.min(initial=0.0)), float(shown.max(initial=0.0)) or 1.0)


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
