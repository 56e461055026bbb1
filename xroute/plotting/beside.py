"""What is drawn beside hydrographs: observations, the runoff that made the flow, and thresholds.

All of it is matched by label, brought to the units of the discharge, and put on its axis of time.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.engine.backends import on_host
from xroute.exceedance import aligned_thresholds
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, some, warn
from xroute.gauges import find_gauges
from xroute.ids import distinct, positions_of
from xroute.network_files import as_network
from xroute.plotting.style import INK, PALE, units_label
from xroute.plotting.time_axis import along_time, numbers_on_axis, others_on_axis, step_begins, step_edges
from xroute.reach_ids import read_reach_ids
from xroute.series import SeriesLike, as_series, is_from_table
from xroute.stamps import show
from xroute.units import runoff_units, to_si, unit_factor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Hyetograph", "Observed", "draw_observed", "find_observed", "find_runoff", "find_thresholds", "gauged_reaches", "hang",
    "label_levels",
]  # fmt: skip

OBSERVED = "observed discharge"
ROOM = 0.3
"""Part of the height of a hydrograph that runoff takes, at the top."""
MARKS = ("o", "^", "s", "D", "v")
"""Marks of several gauges on one reach."""

Float = NDArray[np.float64]


# ── observations ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Observed:
    """Observed discharge of one gauge, on the axis of a hydrograph.

    Attributes
    ----------
    reach
        Position of its reach among those that are drawn.
    label
        Label of the gauge.
    at, values : [step]
        Times on the axis, or the beginnings of its steps, in order; values in the units of the discharge, NaN where gaps are.
    long
        Length of its steps on the axis, where they are longer than those of the discharge, whose means its values are then.
    """

    reach: int
    label: Hashable
    at: Float
    values: Float
    long: float | None


def find_observed(observed: SeriesLike, discharge: xr.DataArray, ids: NDArray[Any]) -> list[Observed]:
    """Observations at reaches, in the units and on the axis of discharge.

    Parameters
    ----------
    observed
        As `xroute.scores` takes it.
    discharge : (time, ...)
        Discharge, of which the labels are looked at.
    ids : [reach]
        Ids of the reaches that are drawn.

    Raises
    ------
    AlignmentError
        If no gauge is on any of the reaches, or nothing says which is.
    TimeAxisError
        If they have no time in common, or times of different kinds.
    """
    from xroute.scores.matching import checked, tell_of_no_units

    array = along_time(as_series(observed, what=OBSERVED), what=OBSERVED)
    nameless = array.dims == ("time",) and not any(c.ndim == 0 for c in array.coords.values())
    if nameless and ids.size == 1:
        array = array.expand_dims(reach=ids)
    rows = find_gauges(array, ids, "time", what=OBSERVED, convert=is_from_table(observed), select=True)
    if not rows.ids.size:
        raise AlignmentError(
            f"no gauge of the {OBSERVED} is on a reach that is drawn ({some(ids, 5)}): they are on {some(rows.dropped, 5)}"
        )
    tell_of_no_units(array, discharge.attrs.get("units"), "discharge")
    factor = unit_factor(array.attrs.get("units"), discharge.attrs.get("units"), OBSERVED, "discharge")
    at = others_on_axis(rows.array, discharge["time"], discharge, OBSERVED)
    mine = numbers_on_axis(discharge["time"])
    order = np.argsort(at, kind="stable")
    step = _shortest(mine)
    shown = order[(at[order] >= mine.min() - step) & (at[order] <= mine.max() + step)] if mine.size else order[:0]
    if not shown.size:
        spans = [f"{show(t[0])} to {show(t[-1])}" for a in (rows.array, discharge) if (t := a["time"].values).size]
        raise TimeAxisError(f"the {OBSERVED} and the discharge have no time in common: {', and '.join(spans) or 'no times'}")
    values = checked(rows.array.isel(time=shown), OBSERVED, FILLS).transpose(rows.dim, "time").compute()
    data = np.asarray(on_host(values.data), np.float64) * factor
    return [_one_gauge(k, rows.labels, rows.reach, at[shown], data[k], rows.array, step) for k in range(rows.ids.size)]


def gauged_reaches(observed: SeriesLike, ids: NDArray[Any]) -> NDArray[Any]:
    """Which of some reaches are observed: their ids, each once."""
    array = along_time(as_series(observed, what=OBSERVED), what=OBSERVED)
    rows = find_gauges(array, ids, "time", what=OBSERVED, convert=is_from_table(observed), select=True)
    return distinct(rows.ids)


def _one_gauge(
    k: int, labels: NDArray[Any], reach: NDArray[np.int64], at: Float, values: Float, array: xr.DataArray, step: float
) -> Observed:
    """A gauge's series, with a gap wherever stamps are missing."""
    own = _shortest(at)
    long = own if at.size > 1 and own > 1.5 * step else None
    at = at if long is None else step_begins(array, at)
    broken = np.flatnonzero(np.diff(at) > 1.5 * own) + 1
    before = at[broken - 1] + own if broken.size else broken
    return Observed(int(reach[k]), labels[k], np.insert(at, broken, before), np.insert(values, broken, np.nan), long)


def _shortest(at: Float) -> float:
    apart = np.diff(np.sort(at))
    return float(apart[apart > 0].min()) if (apart > 0).any() else 1.0


def draw_observed(ax: Axes, series: Observed, colour: str, label: str, mark: int = 0) -> None:
    """Observations as dots that a thin line joins, with gaps; means over longer steps as steps."""
    if series.long is not None:
        at, values = np.append(series.at, series.at[-1] + series.long), np.append(series.values, series.values[-1])
        ax.plot(at, values, color=colour, linewidth=1.2, drawstyle="steps-post", label=label, zorder=2.7)
        return
    size = float(np.clip(500 / max(series.at.size, 1), 2.0, 4.5))
    ax.plot(
        series.at, series.values, color=colour, linewidth=0.5, marker=MARKS[mark % len(MARKS)], markersize=size,
        markeredgewidth=0, label=label, zorder=2.7,
    )  # fmt: skip


# ── runoff ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Hyetograph:
    """Runoff on the axis of a hydrograph.

    Attributes
    ----------
    edges : [step + 1]
        Where steps begin and end.
    values : [step]
        Runoff.
    label
        What it is of.
    units
        Its units, as they are given.
    """

    edges: Float
    values: Float
    label: str
    units: str


def find_runoff(runoff: SeriesLike, discharge: xr.DataArray, ids: NDArray[Any], network: Any = None) -> Hyetograph:
    """Runoff of reaches, or of all that lies upstream of them, on the axis of discharge.

    With a network it is that of all reaches upstream: a depth as mean by area, a flux as sum. Else it is that of the reaches
    themselves, of several the mean. A series without reaches is drawn as it is.
    """
    array = along_time(as_series(runoff, what="runoff"), what="runoff")
    attrs = array.attrs
    wanted, weights, label = ids, None, "runoff" if ids.size == 1 else f"runoff, mean of {ids.size} reaches"
    if [d for d in array.dims if d != "time"] and not _members_only(array, ids):
        if network is not None:
            wanted, weights, label = _upstream(array, ids, network)
        dim, _, its = read_reach_ids(array, wanted, None, "time", "runoff")
        position = positions_of(wanted, its)
        if (position < 0).any():
            lacking = wanted[position < 0]
            raise AlignmentError(f"the runoff lacks {lacking.size} reaches that are drawn: {some(lacking)}")
        array = array.isel({dim: position})
        if weights is not None:
            array = (array * xr.DataArray(weights, dims=[dim])).sum([dim], skipna=False)
        else:
            array = array.mean([dim])
    array = array.mean([d for d in array.dims if d != "time"]).compute()
    array.attrs = attrs
    at = others_on_axis(array, discharge["time"], discharge, "runoff")
    edges = step_edges(step_begins(array, at))
    return Hyetograph(edges, np.asarray(on_host(array.data), np.float64), label, str(array.attrs.get("units", "")))


def _members_only(array: xr.DataArray, ids: NDArray[Any]) -> bool:
    """Whether no dimension of an array is of reaches, so that it is one series, perhaps of members."""
    from xroute.gauges import REACH_NAMES

    dims = [d for d in array.dims if d != "time"]
    bearing = any(str(n).lower() in REACH_NAMES for d in dims for n, c in array.coords.items() if c.dims == (d,))
    return not bearing and not any(str(d).lower() in REACH_NAMES for d in dims)


def _upstream(array: xr.DataArray, ids: NDArray[Any], network: Any) -> tuple[NDArray[Any], Float, str]:
    """Reaches upstream, and what their runoff counts: a depth by its area, a volume whole."""
    network = as_network(network)
    wanted = network.upstream(ids)
    units = str(array.attrs.get("units", "")).strip()
    if not units or not runoff_units(units).is_depth:
        return wanted, np.ones(wanted.size), "runoff upstream, sum"
    if "area" not in network:
        return wanted, np.full(wanted.size, 1 / wanted.size), "runoff upstream, mean of reaches"
    area = to_si(network["area"], "m2", "area")[network.position(wanted)]
    bad = ~(np.isfinite(area) & (area >= 0))
    if bad.any():
        raise ParameterError(
            f"the runoff upstream is a depth, whose mean is by area, and {int(bad.sum())} of {wanted.size} reaches upstream have "
            f"none: {some(wanted[bad])}. Give them an area, or leave out network to draw the runoff of the reach itself"
        )
    whole = float(area.sum())
    if whole == 0:
        return wanted, np.full(wanted.size, 1 / wanted.size), "runoff upstream, mean of reaches"
    return wanted, area / whole, "runoff upstream, mean by area"


def hang(ax: Axes, runoff: Hyetograph) -> Axes:
    """Runoff as bars that hang from the top of a hydrograph, on an axis of their own to its right."""
    top: Any = ax.twinx()
    edges, values = runoff.edges, np.append(runoff.values, runoff.values[-1:])
    top.fill_between(edges, values, step="post", color=PALE, linewidth=0, label=runoff.label)
    top.set_zorder(ax.get_zorder() - 1)
    ax.patch.set_visible(False)  # the bars lie under the curves
    most = float(np.nanmax(runoff.values, initial=0.0)) or 1.0
    top.set_ylim(most / (ROOM - 0.03), 0.0)
    from matplotlib.ticker import MaxNLocator

    top.set_yticks([t for t in MaxNLocator(3).tick_values(0.0, most) if 0 <= t <= most * 1.05])
    units = units_label(runoff.units)
    top.set_ylabel("Runoff" + (f"\n[{units}]" if units else ""), loc="top", fontsize=9, color=INK)
    top.tick_params(labelsize=8, colors=INK)
    top.spines[["top", "left", "bottom", "right"]].set_visible(False)
    return top


# ── thresholds ────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_thresholds(thresholds: Any, discharge: xr.DataArray) -> list[tuple[int | None, str, float]]:
    """Position of the reach (None where it is the same for all), name and value of each threshold.

    Parameters
    ----------
    thresholds
        As `xroute.exceedance` takes them.
    discharge : (reach, ...)
        On the reaches that are drawn.
    """
    limits = aligned_thresholds(thresholds, discharge)
    varying = [d for d in limits.dims if d in discharge.dims and d != "reach"]
    if varying:
        raise AlignmentError(f"thresholds of a hydrograph are levels, which do not vary along {some(varying)}: choose one entry")
    others = [d for d in limits.dims if d != "reach"]
    limits = limits.transpose(*others, ...)
    plain = not isinstance(thresholds, dict) and not others
    found: list[tuple[int | None, str, float]] = []
    n_unknown = 0
    for where in np.ndindex(*limits.shape):
        value = float(limits.values[where])
        chosen = dict(zip(limits.dims, where, strict=True))
        name = f"{value:.4g}" if plain else ", ".join(_name(limits, d, chosen[d]) for d in others)
        n_unknown += np.isnan(value)
        if np.isfinite(value):
            found.append((chosen.get("reach"), name, value))
    if n_unknown:
        warn(f"{n_unknown} thresholds are NaN and not drawn")
    return found


def _name(limits: xr.DataArray, dim: Hashable, at: int) -> str:
    """A threshold as its label calls it."""
    label = limits[dim].values[at] if dim in limits.coords else at
    said = f"{label:g}" if isinstance(label, (int, float, np.number)) else str(label)
    return said if dim == "threshold" else f"{str(dim).replace('_', ' ')} {said}"


def label_levels(ax: Axes, levels: list[tuple[float, str, str]]) -> None:
    """Names of thresholds (value, name, colour) at the right edge, outside of the curves, apart from each other."""
    if not levels:
        return
    transform, inverted = ax.transData, ax.transAxes.inverted()
    heights = [float(inverted.transform(transform.transform((0.0, value)))[1]) for value, _, _ in levels]
    height = ax.get_window_extent().height * 72 / ax.figure.dpi  # points
    apart, last = 10.0 / max(height, 1.0), -np.inf
    for i in np.argsort(heights, kind="stable"):
        value, name, colour = levels[i]
        last = max(heights[i], last + apart)
        ax.annotate(
            name, (1.0, value), (4, (last - heights[i]) * height), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", ha="left", color=colour, fontsize=8, annotation_clip=False,
        )  # fmt: skip
