"""The budget of a stream: what its lanes of members have counted, closed with their states at both ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xroute.block_state import BlockState
from xroute.budget.accounts import TERMS
from xroute.budget.form import budget_dataset, kept_coords
from xroute.budget.ledger import Ledger, Totals
from xroute.lane_states import Starts
from xroute.summary import Summary

__all__ = ["closed"]


def closed(
    summary: Summary,
    starts: Starts,
    state: Callable[[int], BlockState | None],
    water: Sequence[Totals],
    runoff: xr.DataArray,
    each: bool,
) -> Summary:
    """The summary of a run, with where its water went.

    Parameters
    ----------
    starts, state
        States of the lanes at the start, and, by their number, at the end.
    water
        What each lane has counted.
    runoff
        What was routed; its coordinates are taken.
    each
        Whether basins and members were told apart, and a budget of each is wanted.
    """
    run = starts.run
    whole = Ledger(run, each=each)
    summary.is_exact = whole.is_exact
    if run.settings.step is None:
        return summary
    found = {name: np.zeros((run.layout.n_batch if each else 1, whole.accounts.n_basins)) for name in TERMS}
    for lane, counted in enumerate(water):
        ledger = Ledger(starts.run_of(lane), each=each, saved=counted, accounts=whole.accounts)
        members: Any = starts.lanes.members(lane) if each else slice(None)
        for name, term in ledger.close(starts.given(lane), state(lane) or starts(lane)).items():
            found[name][members] += term
    summary.water = {name: float(term.sum()) for name, term in found.items()} if run.units else None
    if each:
        coords = kept_coords(run.layout, runoff, "run")
        summary.budget = budget_dataset(whole.labelled(found), run, whole.accounts, coords)
    return summary
