"""Curves of hydrographs: lines, bands and members of each reach on one pair of axes, and all that is drawn beside them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.plotting.beside import (
    MARKS,
    ROOM,
    Observed,
    draw_observed,
    find_observed,
    find_runoff,
    find_thresholds,
    hang,
    label_levels,
)
from xroute.plotting.style import INK, PALE, axis_label
from xroute.plotting.time_axis import drawn_times, dress_times, numbers_on_axis, others_on_axis
from xroute.wording import argument

if TYPE_CHECKING:
    from xroute.plotting.hydrographs import HydrographRequest

__all__ = ["Scene", "draw_on"]

Float = NDArray[np.float64]
LINES = ("-", "--", ":", "-.")
"""Styles of lines, used in turn where colours begin again."""


class Scene:
    """Everything that one picture shows, found once for all its reaches."""

    def __init__(self, discharge: xr.DataArray, ensemble: xr.DataArray | None, request: HydrographRequest) -> None:
        ids = discharge["reach"].to_numpy()
        self.discharge, self.ensemble, self.request, self.ids = discharge, ensemble, request, ids
        given = request.observed is not None
        self.observed: list[Observed] = find_observed(request.observed, discharge, ids) if given else []  # type: ignore[arg-type]
        self.levels = [] if request.thresholds is None else find_thresholds(request.thresholds, discharge)
        source = discharge if ensemble is None else ensemble
        self.member_dims = [d for d in source.dims if d not in ("reach", "time")]
        self.runoff = request.runoff
        named = request.members
        if named is None or isinstance(named, bool | xr.DataArray):
            self.as_lines: list[Hashable] = self.member_dims if named is True else []
        else:
            self.as_lines = [named] if isinstance(named, str) or not isinstance(named, Iterable) else list(named)
        lacking = [d for d in self.as_lines if d not in self.member_dims]
        if lacking or (named is True and not self.member_dims):
            has = f"beside reach and time it has {some(self.member_dims) if self.member_dims else 'none'}"
            asked = f"names {some(lacking)}" if lacking else "asks for members"
            raise ParameterError(f"{argument('members')} {asked}, and the discharge has no such dimension: {has}")

    def of(self, k: int, ensemble: bool = False) -> xr.DataArray:
        """Discharge of a reach (time, member), all members on one dimension."""
        source = self.ensemble if ensemble and self.ensemble is not None else self.discharge
        one = source.isel(reach=k).transpose("time", ...)
        return one.copy(data=one.values) if one.ndim < 3 else _stacked(one)


def _stacked(one: xr.DataArray) -> xr.DataArray:
    values = one.values.reshape(one.sizes["time"], -1)
    return xr.DataArray(values, {"time": one["time"]}, ("time", "member"), attrs=one.attrs)


def draw_on(ax: Any, scene: Scene, which: Sequence[int], names: Mapping[Hashable, str]) -> None:
    """Draw some of the reaches on one pair of axes."""
    request, several, labels = scene.request, len(which) > 1, list(names.values())
    for i, k in enumerate(which):
        colour = request.colors[i % len(request.colors)]
        line = LINES[i // len(request.colors) % len(LINES)]
        _draw_reach(ax, scene, k, (labels[k], colour, line), INK if several else colour, first=i == 0)
    levels = []
    for reach, name, value in scene.levels:
        if reach is not None and reach not in which:
            continue
        colour = request.colors[list(which).index(reach) % len(request.colors)] if several and reach is not None else INK
        ax.axhline(value, color=colour, linestyle="--", linewidth=0.9, zorder=1.8)
        levels.append((value, name, colour))
    _draw_all_observed(ax, scene, which)
    _dress(ax, scene, which)
    label_levels(ax, levels)


def _draw_reach(
    ax: Any, scene: Scene, k: int, look: tuple[str, str, str], neutral: str, *, first: bool
) -> None:
    """Line, bands and members of a reach; what all reaches have stands in the legend once."""
    from matplotlib.patheffects import withStroke

    name, colour, line = look
    request, own = scene.request, scene.of(k)
    time = drawn_times(own["time"])
    if own.ndim == 1:
        known = "" if np.isfinite(own.values).any() else " (no values)"
        _line(ax, time, own.values, color=colour, linestyle=line, label=name + known)
        centre = own.values
    if own.ndim == 2 or scene.ensemble is not None:
        cloud = scene.of(k, ensemble=True)
        centre_of_cloud = _draw_members(ax, cloud, scene, (name, colour, line), neutral, first=first, ruled=own.ndim == 1)
        centre = centre if own.ndim == 1 else centre_of_cloud
    if request.mark_peak and np.isfinite(centre).any() and np.nanmax(centre) != 0:
        at, size = time[int(np.nanargmax(centre))], float(np.nanmax(centre))
        ax.plot(at, size, "o", color=colour, markersize=4.5, markeredgecolor="white", clip_on=False, zorder=3)
        text = f"{size:,.0f}" if abs(size) >= 100 else f"{size:.3g}"
        said = ax.annotate(text, (at, size), (7, 1), textcoords="offset points", color=colour, fontsize=9, zorder=3.2)
        said.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _line(ax: Any, time: Any, values: Float, **look: Any) -> None:
    """A line, and dots where a value has none beside it to be joined to."""
    known = np.concatenate([[False], np.isfinite(values), [False]])
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
    marks: dict[str, Any] = {"marker": "o", "markevery": alone.tolist(), "markersize": 4} if alone.size else {}
    ax.plot(time, values, linewidth=1.8, zorder=2.6, **marks, **look)


def _draw_members(
    ax: Any, cloud: xr.DataArray, scene: Scene, look: tuple[str, str, str], neutral: str, *, first: bool, ruled: bool
) -> Float:
    """Quantiles of members as line and bands, and the members as thin lines; returns what is in their middle."""
    name, colour, line = look
    quantiles = scene.request.quantiles
    time, n = drawn_times(cloud["time"]), len(quantiles)
    if scene.ensemble is not None:
        time = others_on_axis(cloud, scene.discharge["time"], scene.discharge, "ensemble of members")
    found = _quantiles(cloud.values, [*quantiles, 0.5])
    centre = found[n // 2] if n % 2 else found[-1]
    if n % 2 and not ruled:
        called = "median" if quantiles[n // 2] == 0.5 else f"{100 * quantiles[n // 2]:g} % quantile"
        known = "" if np.isfinite(centre).any() else " (no values)"
        _line(ax, time, centre, color=colour, linestyle=line, label=f"{name}, {called}{known}")
    elif not ruled:
        ax.plot([], [], color=colour, linestyle=line, label=name)
    elif n % 2 and len(quantiles) > 0:
        label = "median of members" if quantiles[n // 2] == 0.5 else f"{100 * quantiles[n // 2]:g} % of members"
        ax.plot(time, centre, color=colour, linewidth=1.0, linestyle="-.", label=label if first else None, zorder=2.5)
    for j in range(n // 2):
        low, high = found[j], found[n - 1 - j]
        label = f"{100 * quantiles[j]:g}–{100 * quantiles[n - 1 - j]:g} %"
        _band(ax, time, low, high, colour, neutral, label if first else None)
    if scene.as_lines or scene.request.members is True:
        drawn = cloud
        label = f"{drawn.shape[1]} members"
        lines = ax.plot(time, drawn.values, color=colour, linewidth=0.5, alpha=0.35, zorder=2.2)
        if first and lines:
            lines[0].set_label(label)
    return centre


def _band(ax: Any, time: Any, low: Float, high: Float, colour: str, neutral: str, label: str | None) -> None:
    ax.fill_between(time, low, high, color=colour, alpha=0.2, linewidth=0, label=None if colour != neutral else label)
    if low.size == 1:
        ax.vlines(time, low, high, color=colour, alpha=0.3, linewidth=6)
    if label is not None and colour != neutral:  # of several reaches, whose bands are alike but for their colour
        ax.fill_between([], [], color=neutral, alpha=0.2, linewidth=0, label=label)


def _quantiles(values: Float, quantiles: Sequence[float]) -> Float:
    """Quantiles [quantile, time] over members [time, member], of those that are known."""
    found = np.full((len(quantiles), values.shape[0]), np.nan)
    some_known = np.isfinite(values).any(axis=1)
    if some_known.any():
        found[:, some_known] = np.nanquantile(values[some_known], quantiles, axis=1)
    return found


def _draw_all_observed(ax: Any, scene: Scene, which: Sequence[int]) -> None:
    here = sorted((o for o in scene.observed if o.reach in which), key=lambda o: list(which).index(o.reach))
    n_on = {k: sum(o.reach == k for o in here) for k in which}
    several = len(which) > 1
    count: dict[int, int] = {}
    for i, one in enumerate(here):
        mark = count[one.reach] = count.get(one.reach, -1) + 1
        named = max(n_on.values()) > 1
        colour = scene.request.colors[list(which).index(one.reach) % len(scene.request.colors)] if several else INK
        label = f"observed, {one.label}" if named else "observed" if i == 0 else "_observed"
        draw_observed(ax, one, colour, label, mark % len(MARKS))


def _dress(ax: Any, scene: Scene, which: Sequence[int]) -> None:
    """Limits, labels and grid; runoff, for which room is made above the curves."""
    discharge, log = scene.discharge, scene.request.log
    ax.margins(x=0, y=0.08)
    heights = np.concatenate([np.asarray(line.get_ydata(), float).ravel() for line in ax.lines] or [np.empty(0)])
    edges = [path.vertices[:, 1] for c in ax.collections for path in c.get_paths()]
    heights = np.concatenate([heights, *edges])
    heights = heights[np.isfinite(heights)]
    room = 1.0 if scene.runoff is None else 1.0 - ROOM - 0.02
    high = float(heights.max(initial=0.0))
    low = float(heights.min(initial=0.0))
    positive = heights[heights > 0]
    if log and positive.size:
        low = max(float(positive.min()), high * 1e-5) / 1.3
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(low, low * (high * 1.3 / low) ** (1 / room))
    else:
        low -= 0.08 * (high - low) if low < 0 else 0.0
        high += 0.08 * (high - low)
        ax.set_ylim(low, low + (high - low if high > low else 1.0) / room)
    at = numbers_on_axis(discharge["time"])
    if at.size:
        alone = 0.5 if at[0] == at[-1] else 0.0  # a single time has half a day, or hour, to either side
        ax.set_xlim(at[0] - alone, at[-1] + alone)
    ax.set_ylabel(axis_label(discharge))
    dress_times(ax, discharge["time"])
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=PALE, alpha=0.3, linewidth=0.6)
    if scene.runoff is not None:
        ids = scene.ids[list(which)]
        hang(ax, find_runoff(scene.runoff, discharge, ids, scene.request.network))
