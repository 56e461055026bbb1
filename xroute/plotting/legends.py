"""Legends of a map, beneath it: categories, basins and widths, where they cover no river."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.plotting.scales import THICK, THIN
from xroute.plotting.style import INK
from xroute.plotting.values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Group", "draw_legends", "line_handles", "width_group"]


@dataclass(frozen=True)
class Group:
    """Handles that are explained together, under a title."""

    title: str
    handles: list[Any]


def line_handles(entries: Iterable[tuple[str, Any]]) -> list[Any]:
    """A line of each colour, with its name."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=color, linewidth=2.5, label=name) for name, color in entries]


def width_group(values: Values, scale: float) -> Group:
    """Lines as wide as rivers of some round values are drawn."""
    from matplotlib.lines import Line2D

    largest = float(np.abs(values.finite).max(initial=0.0))
    shown = [value for value in _round_below(largest) if value > 0]
    widths = [scale * (THIN + THICK * np.sqrt(value / largest)) for value in shown]
    handles = [Line2D([], [], color=INK, linewidth=w, label=f"{v:g}") for v, w in zip(shown, widths, strict=True)]
    return Group(f"Width: {values.label}", handles or [Line2D([], [], color=INK, linewidth=scale * THIN, label="0")])


def _round_below(largest: float) -> list[float]:
    """A round value not above the largest, and a tenth and a hundredth of it."""
    if not largest > 0:
        return []
    power = 10.0 ** np.floor(np.log10(largest))
    top = float(np.floor(largest / power + 1e-9) * power)
    return [top / 100, top / 10, top]


def draw_legends(ax: Axes, groups: list[Group]) -> None:
    """Draw each group beneath the axes: the first on the left, the last on the right."""
    from matplotlib.legend import Legend

    sides: list[tuple[Any, float]] = [("upper left", 0.0), ("upper right", 1.0), ("upper center", 0.5)]
    for group, (loc, x) in zip((g for g in groups if g.handles), sides, strict=False):
        legend = Legend(
            ax, group.handles, [handle.get_label() for handle in group.handles], title=group.title or None, loc=loc,
            bbox_to_anchor=(x, 0.0), borderaxespad=2.6, frameon=False, fontsize=9, title_fontsize=9, alignment="left",
            ncols=2 if len(group.handles) > 4 else 1, labelcolor=INK,
        )  # fmt: skip
        if ax.get_legend() is None:
            ax.legend_ = legend
        else:
            ax.add_artist(legend)
