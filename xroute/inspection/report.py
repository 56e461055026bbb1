"""The report of an inspection; what a file holds; and the report of one that is no network."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from xroute.accumulations import is_lead
from xroute.attrs import STANDARD_NAME
from xroute.exceptions import some
from xroute.grid_axes import grid_dims
from xroute.grids.form import identity_of, is_weights
from xroute.scores.measures import MEASURES
from xroute.state_form import is_state
from xroute.stores import UNFINISHED
from xroute.topology import how_to_convert
from xroute.watch import says_accumulated
from xroute.wording import argument, phrase

__all__ = ["Report", "inspect_other", "is_scores", "kind"]

DIRECTIONS = {"d8", "dir", "fdir", "flowdir", "flwdir", "flow_dir", "ldd"}
"""Names of flow directions in files that are about."""


AMBIGUOUS = {"alpha", "beta", "gamma", "n", "correlation"}
"""Scores whose names others bear, too: ``n`` is a parameter of cascades."""


@dataclass
class Report:
    """What was found: rows of facts, problems that would stop a run, and notes that would not."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    judged: bool = True
    """Whether problems were looked for."""

    def text(self) -> str:
        """Return the report as text, one fact a line."""
        width = max((len(name) for name, _ in self.facts), default=0)
        lines = [f"  {name:<{width}}  {value}" for name, value in self.facts]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems]
        lines += ["  no problems found"] if self.judged and not self.problems else []
        return "\n".join(lines)


def kind(dataset: xr.Dataset) -> str:
    """What a file holds: a network, or the key in `inspect_other` of what else it is."""
    names = set(dataset.variables)
    if is_state(dataset):
        return "state"
    if is_weights(dataset):
        return "weights"
    if "downstream" in names or names & {"upstream_reach", "downstream_reach"}:
        return "network"
    if is_scores(names):
        return "scores"
    if any(v.attrs.get("standard_name") == STANDARD_NAME or n == "discharge" for n, v in dataset.data_vars.items()):
        return "discharge"
    if {"nextx", "nexty"} <= {str(n).lower() for n in names}:
        return "nextxy"
    if any(map(_is_directions, dataset.data_vars.values())):
        return "d8"
    if any(grid_dims(v) for v in dataset.data_vars.values()):
        return "grid"
    if "runoff" in dataset.data_vars or _series(dataset):
        return "runoff"
    if {"link", "to"} <= names:
        return "RouteLink"
    return "network" if "reach" in dataset.dims else "other"


def is_scores(names: Collection[Hashable]) -> bool:
    """Whether variables or columns with these names are scores: one that can be nothing else is among them."""
    return any(str(n) in MEASURES and str(n) not in AMBIGUOUS for n in names)


def _is_directions(variable: xr.DataArray) -> bool:
    """Whether a variable is a field of whole numbers on rows and columns alone that is called flow directions."""
    whole = np.dtype(variable.encoding.get("dtype", variable.dtype)).kind in "iu"  # with a fill value they become floats
    says = [str(text).lower() for text in (variable.name, variable.attrs.get("long_name"), variable.attrs.get("standard_name"))]
    named = says[0] in DIRECTIONS or any("direction" in text for text in says)
    return whole and named and variable.ndim == 2 and len(grid_dims(variable)) == 2


def _series(dataset: xr.Dataset) -> list[Hashable]:
    return [n for n, v in dataset.data_vars.items() if v.ndim > 1 and v.dtype.kind in "fiu" and "bnds" not in v.dims]


def inspect_other(dataset: xr.Dataset, what: str) -> Report:
    """Report of a file that is no network."""
    report = Report(judged=False)
    meanings = {
        "state": f"a state: a run starts from it with {argument('initial_state')}",
        "discharge": "discharge, as a run gives it",
        "runoff": "runoff, or another series; " + phrase("runoff", "runoff.route(network) routes it"),
        "grid": "fields on a grid, whose runoff is brought to the catchments of reaches by weights: "
                + phrase("grid made", "xroute.grid_weights(grid, catchments) makes them, and route takes them, weights="),
        "weights": "weights of a grid's cells in the catchments of reaches; a run on runoff of that grid takes them: "
                   + argument("weights"),
        "RouteLink": "links of the National Water Model: " + how_to_convert(),
        "d8": "flow directions on a grid: " + how_to_convert("d8"),
        "nextxy": "CaMa-Flood's map of next cells: " + how_to_convert("nextxy"),
        "other": f"neither a network nor runoff, discharge or a state; its variables are {some(dataset.variables)}",
    }
    report.facts.append(("holds", meanings[what]))
    if UNFINISHED in dataset.attrs:
        goes_on = f"What began it goes on ({argument('resume', True)})"
        report.problems.append(f"it is unfinished: {dataset.attrs[UNFINISHED]}. {goes_on}")
    report.facts.append(("sizes", ", ".join(f"{size:,} {dim}" for dim, size in dataset.sizes.items()) or "none"))
    if what == "weights":
        report.facts += _of_weights(dataset)
    elif what == "state":
        words = {"scheme": "scheme", "dt": "runoff step [s]", "substeps": "substeps", "lateral": "lateral", "time": "holds at"}
        report.facts += [(text, str(dataset.attrs[name])) for name, text in words.items() if name in dataset.attrs]
    else:
        for name, variable in dataset.data_vars.items():
            if variable.ndim and variable.dtype.kind in "fiu":
                units = variable.attrs.get("units", "no units")
                report.facts.append((str(name), f"[{units}] on {', '.join(map(str, variable.dims))}, {variable.dtype}"))
                if says_accumulated(variable, "time", None):
                    reset = _reset(variable)
                    made = argument("reset", reset, python=f'xroute.deaccumulate(runoff, reset="{reset}")')
                    report.notes.append(
                        f"{name} says that it accumulates. Where values climb, as ERA5-Land's do through the day and a "
                        f"forecast's since its start (ERA5's do not), amounts of each step are made of them: {made}"
                    )
        for name, index in dataset.indexes.items():
            if len(index) and (index.dtype.kind in "mM" or hasattr(index[0], "year")):
                report.facts.append((str(name), f"{str(index[0])[:19]} to {str(index[-1])[:19]}"))
    return report


def _reset(variable: xr.DataArray) -> str:
    """When values that accumulate probably begin again: along leads with the forecast, else each day, or as a model's never."""
    if any(is_lead(variable, d) for d in variable.dims if d in variable.coords):
        return "forecast"
    return "day" if "GRIB_stepType" in variable.attrs else "never"


def _of_weights(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Of which grid weights are, how they were made, and what the grid does not cover."""
    grid = identity_of(dataset.attrs)
    sizes = " x ".join(f"{n:,} {d}" for d, n in zip(grid.dims, grid.sizes, strict=False)) or "not said"
    facts = [("of the grid", sizes)]
    if grid.first:
        first, last = (", ".join(f"{v:.8g}" for v in place) for place in (grid.first, grid.last))
        facts.append(("  from, to", f"({first}) to ({last})"))
    facts += [(name, str(dataset.attrs[name])) for name in ("method", "title") if name in dataset.attrs]
    if "covered" in dataset and dataset["covered"].size:
        covered = dataset["covered"].values
        wholly = f"{int((covered > 1 - 1e-6).sum()):,} of {covered.size:,} catchments wholly"
        facts.append(("covered", f"{wholly}; the least {covered.min():.3g}"))
    return facts
