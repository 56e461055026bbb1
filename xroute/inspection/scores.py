"""What a file of scores holds: of which gauges, which runs and periods, and how good they are in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import xarray as xr

from xroute.exceptions import some
from xroute.files.opening import PathLike
from xroute.gauges import GAUGE_DIMS, REACH_NAMES
from xroute.guards import reading
from xroute.inspection.report import Report, is_scores
from xroute.scores.measures import MEASURES
from xroute.scores.text import BRIEF
from xroute.series import is_series_table
from xroute.wording import phrase

__all__ = ["inspect_scores", "inspect_scores_table"]

_SPLIT = ("run", "period", "member", "realization", "stage")
"""What scores of one gauge are told apart by."""


def inspect_scores(dataset: xr.Dataset) -> Report:
    """Report of scores.

    Parameters
    ----------
    dataset
        Scores on gauges, and maybe on runs, periods and members, as `xroute.scores.scores` gives them.

    Returns
    -------
    Report
        Its medians are over gauges, of each run and period by itself.
    """
    found = dataset.compute()
    return _of_frame((found.expand_dims("gauge") if not found.dims else found).to_dataframe().reset_index())


def inspect_scores_table(path: PathLike) -> Report | None:
    """Report of a table of scores, as ``xroute compare`` writes it; None for what is none."""
    if not is_series_table(path):
        return None
    with reading(path, "as a table"):
        table = pd.read_csv(path, sep=None, engine="python")
    return _of_frame(table) if is_scores(list(table.columns)) else None


def _of_frame(table: pd.DataFrame) -> Report:
    report = Report(judged=False)
    made = phrase("scores", "xroute.scores.scores(simulated, observed) makes them")
    report.facts.append(("holds", f"scores of simulated against observed discharge at gauges: {made}"))
    lower = {str(c).lower(): c for c in table.columns}
    gauge = next((lower[n] for n in (*GAUGE_DIMS, *REACH_NAMES) if n in lower), None)
    if gauge is not None:
        labels = table[gauge].drop_duplicates()
        report.facts.append(("gauges", f"{labels.size:,}, by {str(gauge)!r}: {some(labels.tolist(), 3)}"))
    splits = [lower[n] for n in _SPLIT if n in lower]
    report.facts += [(str(c), some(table[c].drop_duplicates().tolist())) for c in splits]
    names = [n for n in MEASURES if n in table.columns]
    report.facts.append(("scores", ", ".join(names)))
    brief = [n for n in BRIEF if n in names and n != "n"] or [n for n in names if n != "n"]
    for label, part in _parts(table, splits):
        known = {n: part[n].median() for n in brief if part[n].notna().any()}
        report.facts.append((f"median{label}", ", ".join(f"{n} {value:.3g}" for n, value in known.items()) or "none is known"))
    empty = table[names].drop(columns="n", errors="ignore").isna().all(axis=1)
    if empty.any():
        of = f": {some(table.loc[empty, gauge].drop_duplicates().tolist())}" if gauge is not None else ""
        report.notes.append(f"{int(empty.sum()):,} of {len(table):,} rows have no score, for they had no pairs to compare{of}")
    return report


def _parts(table: pd.DataFrame, splits: list[Any]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of each run, period and member, the first ten of them, and how they are called."""
    if not splits:
        yield "", table
        return
    for i, (key, part) in enumerate(table.groupby(splits, sort=False)):
        if i == 10:
            return
        yield " " + ", ".join(map(str, key)), part
