"""Pictures of water budgets: what came in, what left, what is stored, and what is unexplained, by basin or by step."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, require, some
from xroute.ids import exact_ids, positions_of
from xroute.plotting.reach_series import gauge_names
from xroute.plotting.style import GAUGE_COLOURS, INK, PALE, units_label
from xroute.plotting.time_axis import along_time, drawn_times, dress_times, numbers_on_axis, step_begins, step_edges
from xroute.time_dims import find_time_dim

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_budget"]

Float = NDArray[np.float64]

UNEXPLAINED = 1e-6
"""Part of what came in that a residual is at least, to be more than rounding: then it has a bar of its own."""
SCALES = ((1e9, "km3"), (1e6, "10⁶ m3"), (1.0, "m3"))
"""Volumes from so many m3 on have these units."""


class _Part(NamedTuple):
    """A part of a bar: a term, its sign there, what it is called, and its colour."""

    term: str
    sign: int
    label: str
    colour: str


IN = (
    _Part("inflow", 1, "in: runoff", GAUGE_COLOURS[1]),
    _Part("known_gain", 1, "in: gained from known discharge", GAUGE_COLOURS[2]),
    _Part("from_other_basins", 1, "in: from other basins", GAUGE_COLOURS[5]),
    _Part("storage_start", 1, "in: stored at the start", "#a6cde6"),
)
OUT = (
    _Part("outflow", 1, "out: discharge at the outlet", GAUGE_COLOURS[0]),
    _Part("left_by_fractions", 1, "out: left by fractions", GAUGE_COLOURS[4]),
    _Part("known_gain", -1, "out: lost to known discharge", GAUGE_COLOURS[3]),
    _Part("from_other_basins", -1, "out: to other basins", "#7d5b3c"),
    _Part("storage_end", 1, "out: stored at the end", "#f4c9a8"),
)
NEEDED = ("inflow", "known_gain", "from_other_basins", "outflow", "left_by_fractions", "storage_start", "storage_end", "residual")


def plot_budget(budget: xr.Dataset, ax: Axes | None = None, *, basins: Any = None, most: int = 8) -> Any:
    """Draw where the water went: of a run two bars for each basin, of its steps lines.

    Parameters
    ----------
    budget
        What `xroute.budget` gave, of a run or per step [m3]; of members the mean is drawn. Lazy ones are computed once.
    ax
        Axes to draw on; by default a new figure's. A budget per step has a figure of its own.
    basins
        Outlets of the basins to draw, ids or a mapping from ids to names; of steps they are added up. By default all water, and
        of a run the basins that most came into beside it.
    most
        How many basins are drawn by default, at most.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on; of steps an array of three: what flowed, what is stored, and what is unexplained.

    Raises
    ------
    ParameterError
        If this is no budget, or ``ax`` is given for one of steps.
    AlignmentError
        If it has no such basin.

    Notes
    -----
    The bar of what came in is as long as that of what left and is stored, but for the residual. One that is more than a millionth
    of what came in has a hatched bar: behind what left where water was lost, behind what came in where it was made.

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> runoff = ds.runoff.isel(time=slice(0, 48)).astype(float)
    >>> discharge, state = runoff.route(network, return_state=True)
    >>> ax = plot_budget(xroute.budget(runoff, discharge, network, final_state=state))
    >>> ax.get_xlabel()
    'Volume [10⁶ m³]'
    """
    require("matplotlib", feature="plotting", extra="plot")
    lacking = [name for name in NEEDED if name not in budget]
    if lacking or "basin" not in budget.coords:
        lacks = some(lacking or ["basin"])
        raise ParameterError(f"a budget, as xroute.budget gives it, has {some(NEEDED)} on 'basin'; this Dataset lacks {lacks}")
    terms = budget[list(NEEDED)]
    chosen = None if basins is None else gauge_names(basins)
    if chosen is not None:
        ids = terms["basin"].values
        asked = exact_ids(np.array(list(chosen)), "basins", AlignmentError)
        unknown = asked[positions_of(asked, ids) < 0]
        if unknown.size:
            raise AlignmentError(f"the budget has no basin {some(unknown)}; it has {some(ids, 5)}")
        terms = terms.sel(basin=list(chosen))
    try:
        time = find_time_dim(terms["inflow"])
    except TimeAxisError:
        return _draw_run(terms, ax, chosen, most)
    if ax is not None:
        raise ParameterError("a budget per step has three panels in a figure of its own: it takes no axes (ax)")
    return _draw_steps(terms, time)


def _scale_of(largest: float, terms: xr.Dataset) -> tuple[float, str]:
    """What volumes are divided by, and the units then."""
    units = terms["inflow"].attrs.get("units")
    if units != "m3":
        return 1.0, "" if units is None else str(units)
    return next(scale for scale in SCALES if largest >= scale[0] or scale[0] == 1.0)


def _label(what: str, units: str, n_members: int) -> str:
    of = f", mean of {n_members} members" if n_members > 1 else ""
    return f"{what}{of}" + (f" [{units_label(units)}]" if units else "")


# ── of a run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _draw_run(terms: xr.Dataset, ax: Axes | None, chosen: Mapping[Hashable, str] | None, most: int) -> Axes:
    from matplotlib import pyplot

    others = [d for d in terms.dims if d != "basin"]
    n_members = int(np.prod([terms.sizes[d] for d in others]))
    means = terms.mean(others).compute()
    rows = _rows(means, chosen, most)
    came, went = ({n: sum(max(p.sign * row[p.term], 0.0) for p in side) for n, row in rows.items()} for side in (IN, OUT))
    scale, units = _scale_of(max([*came.values(), *went.values()]), terms)
    own = ax is None
    if ax is None:
        ax = pyplot.subplots(figsize=(8, 1.5 + 0.75 * len(rows)), layout="constrained")[1]
    for parts, shift, side in ((IN, -0.2, -1), (OUT, 0.2, 1)):
        end = np.zeros(len(rows))
        for part in parts:
            size = np.array([max(part.sign * row[part.term], 0.0) for row in rows.values()]) / scale
            if size.any() or part in (IN[0], OUT[0]):
                ax.barh(np.arange(len(rows)) + shift, size, 0.36, left=end, color=part.colour, label=part.label)
                end = end + size
        gap = np.array([side * r["residual"] if side * r["residual"] > UNEXPLAINED * came[n] else 0.0 for n, r in rows.items()])
        if gap.any():
            ax.barh(
                np.arange(len(rows)) + shift, gap / scale, 0.36, left=end, color="white", edgecolor=INK, hatch="////",
                linewidth=0.6, label="unexplained: lost" if side > 0 else "unexplained: made",
            )  # fmt: skip
    ax.set_yticks(np.arange(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(_label("Volume", units, n_members))
    share = max((abs(row["residual"]) / came[name] for name, row in rows.items() if came[name] > 0), default=0.0)
    ax.set_title(f"Unexplained: at most {share:.2g} of what came in", loc="right", fontsize=8, color=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", color=PALE, alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
    if own:
        ax.figure.legend(loc="outside upper left", frameon=False, fontsize=9, ncols=3)
    else:
        ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), frameon=False, fontsize=9, ncols=3)
    return ax


def _rows(means: xr.Dataset, chosen: Mapping[Hashable, str] | None, most: int) -> dict[str, dict[str, float]]:
    """Terms by the names of what is drawn: in all, and of basins."""
    values = {name: np.asarray(means[name].values, float) for name in NEEDED}
    ids = means["basin"].values.tolist()
    if chosen is None:
        shown = np.argsort(-np.abs(values["inflow"]), kind="stable")[:most].tolist() if len(ids) > 1 else []
        names = {k: f"basin {ids[k]}" for k in shown}
    else:
        names = {k: f"basin {i}" if name == f"reach {i}" else name for k, (i, name) in enumerate(chosen.items())}
    groups: dict[str, list[int]] = {called: [k] for k, called in names.items()}
    if chosen is None:
        groups = {f"basin {ids[0]}" if len(ids) == 1 else "in all": list(range(len(ids))), **groups}
        rest = [k for k in range(len(ids)) if k not in names]
        if names and rest:
            groups[f"{len(rest):,} others"] = rest
    return {called: {name: float(v[of].sum()) for name, v in values.items()} for called, of in groups.items()}


# ── of its steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _draw_steps(terms: xr.Dataset, time: Hashable) -> Any:
    from matplotlib import pyplot

    n_members = int(np.prod([terms.sizes[d] for d in terms.dims if d not in ("basin", time)]))
    series = {n: along_time(terms[n].sum("basin").mean([d for d in terms[n].dims if d not in ("basin", time)])) for n in NEEDED}
    series = {n: s.compute() for n, s in series.items()}
    figure, axes = pyplot.subplots(3, 1, figsize=(8, 6), sharex=True, layout="constrained", height_ratios=[2, 1.2, 0.8])
    flows, stored, unexplained = axes
    times = series["inflow"]["time"]
    values = {n: s.to_numpy() for n, s in series.items()}
    size = {n: float(np.nanmax(np.abs(v), initial=0.0)) for n, v in values.items()}
    flows.plot(drawn_times(times), np.full(times.size, np.nan))  # the axis learns what times are
    edges = step_edges(step_begins(terms["inflow"], numbers_on_axis(times)))
    scale, units = _scale_of(max(size[n] for n in NEEDED[:5]), terms)
    flows.stairs(values["inflow"] / scale, edges, fill=True, color=GAUGE_COLOURS[1], alpha=0.35, label="in: runoff")
    for part in (OUT[0], IN[1], IN[2], OUT[1]):
        if part is OUT[0] or size[part.term] > 0:
            label = part.label.removeprefix("in: ") if part in IN[1:] else part.label
            flows.stairs(values[part.term] / scale, edges, baseline=None, color=part.colour, linewidth=1.6, label=label)
    flows.set_ylabel(_label("Volume in a step", units, n_members))
    scale, units = _scale_of(size["storage_end"], terms)
    stored.stairs(values["storage_end"] / scale, edges, fill=True, color="#f4c9a8", label="stored at the end of the step")
    stored.set_ylabel(_label("Stored", units, 1))
    scale, units = _scale_of(size["residual"], terms)
    unexplained.stairs(values["residual"] / scale, edges, baseline=None, color=INK, linewidth=1.0, label="unexplained")
    unexplained.set_ylabel(_label("Residual", units, 1))
    unexplained.axhline(0.0, color=PALE, linewidth=0.8)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color=PALE, alpha=0.3, linewidth=0.6)
        ax.set_xlim(edges[0], edges[-1])
    stored.set_ylim(bottom=0.0)
    if all(v.min(initial=0.0) >= 0 for n, v in values.items() if n in NEEDED[:5]):
        flows.set_ylim(bottom=0.0)
    dress_times(unexplained, times)
    figure.legend(loc="outside upper left", frameon=False, fontsize=9, ncols=4)
    return axes
