"""What a stream counts of its water, block by block: sums that its checkpoints hold, and the budget that they come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.block_state import BlockState
from xroute.budget.accounts import TERMS, Accounts, Sums, by_reach
from xroute.caches import keep
from xroute.labels import Layout
from xroute.run import Run
from xroute.units import flux_in_si
from xroute.volumes import needs_means, stored_water

__all__ = ["Ledger", "Totals", "accounts_of", "lazy_sums"]

Totals = Mapping[str, NDArray[np.float64]]
"""Sums of a ledger by name: what a checkpoint holds of it."""


def accounts_of(run: Run, *, whole: bool = False) -> Accounts:
    """Where the water of a run counts; ``whole`` takes all basins for one. The last are kept with the network."""
    known = None if run.known is None else run.known.reach
    key = ("accounts", whole, None if known is None else known.tobytes())
    return keep(run.network, key, lambda: Accounts(run.network, known, whole=whole), most=2)


class Ledger:
    """Sums of the water of a run [m3]: of all its basins and members together, or of each.

    Parameters
    ----------
    run
        The run, whose members it counts.
    each
        Whether to count each basin and each member.
    saved
        What has been counted before: what `totals` was then; empty if nothing was.
    """

    def __init__(self, run: Run, *, each: bool = False, saved: Totals | None = None) -> None:
        self.run, self.each = run, each
        self.accounts = accounts_of(run, whole=not each)
        settings = run.settings
        assert settings.step is not None
        self._to_m3 = settings.step * flux_in_si(run.units, "discharge")
        n, size = run.layout.n_batch if each else 1, self.accounts
        sizes = {
            "inflow": size.n_basins, "into_known": size.known.size, "volume": size.counted.size,
            "negative_steps": size.n_basins, "negative_volume": size.n_basins,
        }  # fmt: skip
        self._sums = {name: np.array(saved[name]) if saved else np.zeros((n, size)) for name, size in sizes.items()}

    @property
    def wants_means(self) -> bool:
        """Whether blocks are to be routed once more for the means of their steps, which discharge does not hold."""
        return self.each and needs_means(self.run)

    @property
    def is_exact(self) -> bool:
        """Whether it knows how much water left."""
        return self.each or not needs_means(self.run)

    @property
    def totals(self) -> Totals:
        """What has been counted so far."""
        return {name: values.copy() for name, values in self._sums.items()}

    def add(self, came: Any, went: Any, below: Any = None, deep: Any = None) -> None:
        """Count a block, of sums over its steps [batch, row], float64; over members too where they are not told apart.

        Parameters
        ----------
        came, went
            Runoff and discharge: their means over steps, where samples of it do not tell.
        below, deep
            How many values of discharge are negative, and their sum; None where none is.
        """
        layout, accounts = self.run.layout, self.accounts
        into = self._by_reach(came, layout.row) * self._to_m3
        into = into if self.run.scale is None else into * self.run.scale
        self._sums["inflow"] += accounts.by_basin(into)
        self._sums["into_known"] += into[:, accounts.known]
        self._sums["volume"] += self._by_reach(went, layout.result_row)[:, accounts.counted] * self._to_m3
        if below is not None:
            self._sums["negative_steps"] += accounts.by_basin(self._by_reach(below, layout.result_row))
            self._sums["negative_volume"] -= accounts.by_basin(self._by_reach(deep, layout.result_row)) * self._to_m3

    def close(self, start: BlockState | None, end: BlockState) -> dict[str, NDArray[np.float64]]:
        """Terms [member, basin] of the budget, of the states at both ends."""
        run, accounts, settings = self.run, self.accounts, self.run.settings
        held = self._members(stored_water(run, end))
        before = np.zeros_like(held) if start is None else self._members(stored_water(run, start))
        volume = self._sums["volume"]
        if settings.sampling == "start-mean" and not needs_means(run):  # each routing step's value comes one step later
            late = self._members(end.channel.outflow if start is None else end.channel.outflow - start.channel.outflow)
            volume = volume + late[:, accounts.counted] * (self._to_m3 / settings.substeps)
        of_known = volume[:, np.searchsorted(accounts.counted, accounts.known)]
        sums = self._sums
        return accounts.close(
            Sums(sums["inflow"], sums["into_known"], volume, of_known, sums["negative_steps"], sums["negative_volume"]),
            before, held,
        )  # fmt: skip

    def labelled(self, terms: Mapping[str, Any]) -> dict[str, xr.DataArray]:
        """Terms [member, basin] on the run's batch dimensions and ``basin``."""
        layout = self.run.layout
        dims, shape = (*layout.batch_dims, "basin"), (*layout.batch_shape, self.accounts.n_basins)
        return {name: xr.DataArray(np.reshape(terms[name], shape), dims=dims) for name in TERMS}

    def _members(self, values: Any) -> Any:
        return values if self.each else values.sum(axis=0, keepdims=True)

    def _by_reach(self, values: Any, row: Any) -> Any:
        """Values [member, reach] of values [batch, row]; zero on reaches without a row."""
        values = np.asarray(values, np.float64)
        return by_reach(self._members(values.reshape(-1, values.shape[-1])), row)


def lazy_sums(runoff: xr.DataArray, discharge: xr.DataArray, means: xr.DataArray, layout: Layout) -> list[Any]:
    """What `Ledger.add` takes, on Dask [*batch, row], of blocks on Dask; ``means`` are those of the steps' discharge."""
    order, time = (*layout.batch_dims, layout.reach_dim), layout.time_dim
    below = discharge < 0

    def summed(array: xr.DataArray) -> Any:
        return array.sum([time], dtype=np.float64).transpose(*order).data

    return [
        summed(runoff.where(np.isfinite(runoff), 0.0)), summed(means), summed(below), summed(discharge.where(below, 0.0))
    ]  # fmt: skip
