"""Hydrographs: discharge against time at gauges, with what was observed, the runoff that made it, members and thresholds."""

# No `from __future__ import annotations` here: help() shows the annotations of these options, and they are meant to be read.

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, require
from xroute.plotting.curves import Scene, draw_on
from xroute.plotting.reach_series import MOST_PANELS, Gauges, chosen_reaches
from xroute.plotting.style import GAUGE_COLOURS, INK, axis_label
from xroute.request import NetworkLike, keywords_of
from xroute.series import SeriesLike
from xroute.units import unit_factor
from xroute.wording import argument

__all__ = ["HydrographRequest", "plot_hydrographs"]

MOST_ON_ONE = 6
"""Reaches on one pair of axes, unless these are given; more have panels of their own."""


@dataclass(frozen=True, kw_only=True)
class HydrographRequest:
    """Options of hydrographs: `plot_hydrographs` says what each of them means.

    Raises
    ------
    ParameterError
        For quantiles that are not between 0 and 1, or stand twice.
    """

    observed: SeriesLike | None = None
    runoff: SeriesLike | None = None
    members: bool | Hashable | Sequence[Hashable] | xr.DataArray | None = None
    quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    thresholds: Any = None
    network: NetworkLike | None = None
    log: bool = False
    colors: Sequence[str] = field(default=GAUGE_COLOURS)
    mark_peak: bool = False
    legend: bool | None = None
    col_wrap: int | None = None
    time_dim: Hashable | None = None

    def __post_init__(self) -> None:
        values = np.atleast_1d(np.asarray(self.quantiles, dtype=float))
        if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all() or np.unique(values).size < values.size:
            raise ParameterError(f"quantiles are different numbers from 0 to 1, not {self.quantiles!r}")
        object.__setattr__(self, "quantiles", tuple(np.sort(values).tolist()))
        if self.col_wrap is not None and (not isinstance(self.col_wrap, int | np.integer) or self.col_wrap < 1):
            raise ParameterError(f"{argument('col_wrap')} is a positive whole number, not {self.col_wrap!r}")


@keywords_of(HydrographRequest)
def plot_hydrographs(discharge: xr.DataArray, gauges: Gauges | None = None, ax: Any = None, *, request: HydrographRequest) -> Any:
    """Draw discharge against time at gauges.

    Parameters
    ----------
    discharge : (reach, time, ...)
        Discharge on the ids of reaches and its time, whatever these are called, or a forecast's leads, which are drawn in hours;
        any further dims are members. Only the reaches that are drawn are read, or computed where it lies on Dask.
    gauges
        The id of a reach, several, or a mapping from ids to names; by default all reaches of the discharge.
    ax
        Axes to draw on; by default a new figure's.
    observed
        What was observed, as `xroute.scores` takes it: a DataArray, a Dataset, a table or the path of one, on the ids of reaches
        or on gauges with a coordinate ``reach``, in any units of discharge. Drawn as dots with gaps where there are none, and of
        longer steps than the discharge's (the days of hours) as steps. Gauges on other reaches are not drawn.
    runoff
        Runoff (reach, time, ...), or one series (time), which hangs from the top as bars, on an axis of its own in its units:
        that of the reach, of several reaches their mean, or with ``network`` that of all reaches upstream.
    members
        True draws each member as a thin line, beside the bands; so does the name of the dimension of members, or several. A
        DataArray (member, reach, time) is an ensemble, on the same reaches, that is drawn about the discharge.
    quantiles
        Quantiles over the members: outer ones are the edges of bands, the one in the middle of an odd number a line. ``(0.5,)``
        draws no band, ``(0.05, 0.25, 0.5, 0.75, 0.95)`` one within the other.
    thresholds
        Flows to set beside: a number, ``{"alert": 120.0}``, or a DataArray, maybe on (``reach``, ``return_period``), as
        `xroute.exceedance` takes them; dashed lines whose names stand to their right.
    network
        Network, or the path of one: runoff is then that of all reaches upstream, a depth as the mean by area, a flux as the sum.
    log
        Whether discharge has a logarithmic axis, on which values that are not above zero are not drawn.
    colors
        Line colours, used in turn.
    mark_peak
        Mark each gauge's highest value with its size.
    legend
        Whether to draw a legend; by default if there is more than one plain line.
    col_wrap
        Panels in a row, one a reach. By default up to six reaches share their axes, and more have panels, three in a row.
    time_dim
        Dimension of the time, where it cannot be told.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on; of panels an array of Axes.

    Raises
    ------
    AlignmentError
        If a gauge is not among the reaches of the discharge, no observation is on one, or runoff or thresholds lack one.
    TimeAxisError
        If it cannot be told which dimension is the time, or observations have no time in common with the discharge.
    UnitsError
        If units of observations or thresholds cannot be converted to those of the discharge.
    ParameterError
        For quantiles that are not between 0 and 1, and members that are no dimension.

    Examples
    --------
    >>> from xroute.datasets import scheidegger, storm_runoff
    >>> ax = plot_hydrographs(storm_runoff(scheidegger(5, 5), 24), [3, 7])
    >>> ax.get_ylabel()
    'Runoff into the reach [m³ s⁻¹]'
    >>> forecast = storm_runoff(scheidegger(5, 5), 24, members=9)
    >>> ax = plot_hydrographs(forecast, {7: "Bridge"}, thresholds={"alert": 2.0})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['Bridge, median', '5–95 %']
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot

    shown, names = chosen_reaches(discharge, gauges, request.time_dim)
    ensemble = None
    if isinstance(request.members, xr.DataArray):
        what = "ensemble of members"
        ensemble, _ = chosen_reaches(request.members, names, request.time_dim, what)
        ensemble = ensemble * unit_factor(ensemble.attrs.get("units"), shown.attrs.get("units"), what, "discharge")
    scene = Scene(shown, ensemble, request)
    if request.col_wrap is not None or (ax is None and len(names) > MOST_ON_ONE):
        if ax is not None:
            raise ParameterError(f"{argument('col_wrap')} makes panels in a figure of their own, not on axes that are given")
        return _draw_panels(scene, names)
    own = ax is None
    if ax is None:
        ax = pyplot.subplots(figsize=(7.5, 4.0), layout="constrained")[1]
    draw_on(ax, scene, range(len(names)), names)
    plain = len(names) == 1 and len(ax.get_legend_handles_labels()[1]) == 1 and scene.runoff is None
    if (own or not plain) if request.legend is None else request.legend:
        _legend(ax)
    return ax


def _legend(ax: Any) -> None:
    """Everything that is drawn, below the axes, where it covers no curve and leaves room for a title."""
    from matplotlib.transforms import ScaledTranslation

    handles, labels = ax.get_legend_handles_labels()
    for other in ax.figure.axes:
        if other is not ax and other.bbox.bounds == ax.bbox.bounds:  # the runoff's
            more = other.get_legend_handles_labels()
            handles, labels = handles + more[0], labels + more[1]
    if labels:
        below = ax.transAxes + ScaledTranslation(0, -(38 if ax.get_xlabel() else 26) / 72, ax.figure.dpi_scale_trans)
        ax.legend(
            handles, labels, loc="upper left", bbox_to_anchor=(0.0, 0.0), bbox_transform=below, ncols=min(len(labels), 4),
            borderaxespad=0.0, frameon=False, fontsize=9, handlelength=1.6, columnspacing=1.2,
        )  # fmt: skip


def _draw_panels(scene: Scene, names: Mapping[Hashable, str]) -> NDArray[Any]:
    """A panel for each reach, with one legend for all."""
    from matplotlib import pyplot

    n, wrap = len(names), min(scene.request.col_wrap or 3, len(names))
    if n > MOST_PANELS:
        raise ParameterError(f"{n} panels cannot be read: choose up to {MOST_PANELS} reaches")
    rows = -(-n // wrap)
    figure, axes = pyplot.subplots(
        rows, wrap, figsize=(3.6 * wrap + 1.0, 2.1 * rows + 0.8), sharex=True, squeeze=False, layout="constrained"
    )
    for k, (ax, name) in enumerate(zip(axes.ravel(), names.values(), strict=False)):
        draw_on(ax, scene, [k], {**names})
        ax.set_title(name, loc="left", fontsize=10, color=INK, weight="bold")
        ax.set_ylabel("")
    for ax in axes.ravel()[n:]:
        ax.set_visible(False)
    for k in range(n):
        below = k + wrap >= n
        axes.ravel()[k].tick_params(labelbottom=below)
        axes.ravel()[k].xaxis.get_offset_text().set_visible(below)
        if not below:
            axes.ravel()[k].set_xlabel("")
    figure.supylabel(axis_label(scene.discharge), fontsize=10)
    if scene.request.legend is not False:
        legend_of_all(figure, list(axes.ravel()[:n]), list(names.values()), "outside upper left")
    return np.asarray(axes.ravel()[:n])


def legend_of_all(figure: Any, axes: Sequence[Any], names: Sequence[str], loc: str) -> None:
    """What several panels have in common, once, and without the names of their reaches, which are their titles."""
    title = {id(ax): name for ax, name in zip(axes, names, strict=True)}
    found: dict[str, Any] = {}
    for ax in [a for a in figure.axes if id(a) in title or a.get_ylabel().startswith("Runoff")]:
        name = title.get(id(ax), "")
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            rest = label.removeprefix(name).removeprefix(", ").removeprefix(" ") if name else label
            if rest != "(no values)":
                found.setdefault(rest or "discharge", handle)
    figure.legend(list(found.values()), list(found), loc=loc, frameon=False, ncols=min(len(found), 5), fontsize=9)
