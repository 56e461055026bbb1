"""The budget of a stream's lanes: that of all members, though the states of a lane alone are in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from xroute.block_state import BlockState
from xroute.budget.form import budget_dataset
from xroute.budget.ledger import Ledger, Totals
from xroute.lane_states import Starts
from xroute.summary import Summary

__all__ = ["account_for"]


def account_for(
    summary: Summary,
    starts: Starts,
    end: Callable[[int], BlockState],
    water: Sequence[Totals | None],
    coords: Mapping[Hashable, Any] | None,
) -> None:
    """Add to a summary what became of the water.

    Parameters
    ----------
    summary
        Of the run.
    starts, end
        States of the lanes at both ends.
    water
        What the ledgers of the lanes have counted; None for nothing.
    coords
        Coordinates of the budget by basin and member; None where that is not asked for.
    """
    run, lanes, each = starts.run, starts.lanes, coords is not None
    whole = Ledger(run, each=each)
    summary.is_exact = whole.is_exact
    found = [
        Ledger(starts.run_of(lane), each=each, saved=counted).close(starts.given(lane), end(lane))
        for lane, counted in enumerate(water)
    ]
    terms = {name: np.concatenate([of_lane[name] for of_lane in found]) for name in found[0]}
    summary.water = {name: float(term.sum()) for name, term in terms.items()} if run.units else None
    if coords is not None:
        at = np.argsort(np.concatenate([lanes.members(lane) for lane in range(len(lanes))]))
        terms = {name: values[at] for name, values in terms.items()}
        summary.budget = budget_dataset(whole.labelled(terms), run, whole.accounts, coords)
