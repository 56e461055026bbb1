"""States that lanes of a stream start from and end with; those that do not fit in memory stay where they are stored."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.block_state import BlockState, Lags, StageTable, StateTable
from xroute.exceptions import require
from xroute.identity import state_digest
from xroute.lanes import Lanes
from xroute.run import Run
from xroute.state import load_state, tables_of

__all__ = ["Ends", "StateFolder", "Starts"]


@dataclass(frozen=True)
class Starts:
    """States that the lanes of a run start from.

    Attributes
    ----------
    run
        The run of all members.
    lanes
        The lanes.
    state
        State of all members, in the run's order (`Run.first_state`); None is dry.
    """

    run: Run
    lanes: Lanes
    state: xr.Dataset | None

    def run_of(self, lane: int) -> Run:
        """The run of a lane's members."""
        return self.run if len(self.lanes) == 1 else self.run.of_members(self.lanes.box(lane))

    def given(self, lane: int) -> BlockState | None:
        """State of a lane, read now; None is dry."""
        if self.state is None:
            return None
        run = self.run_of(lane)
        assert run.key is not None
        return load_state(tables_of(self.state.isel(self.lanes.box(lane)), run.key), run.n_lags, run.network.ids)

    def __call__(self, lane: int) -> BlockState:
        """State of a lane; if that is dry, with zeros."""
        return self.given(lane) or BlockState.dry(self.run.n_lags, math.prod(self.lanes.shape(lane)))

    def digest(self) -> str:
        """Digest of all members' states, which are read one lane at a time."""
        lanes = [] if self.state is None else range(len(self.lanes))
        return state_digest((self.lanes.members(lane).tolist(), self(lane)) for lane in lanes)


@dataclass(frozen=True)
class Ends:
    """States of the lanes of a run at one time.

    Attributes
    ----------
    lanes
        The lanes.
    state
        Gives the state of a lane, wherever that is kept.
    """

    lanes: Lanes
    state: Callable[[int], BlockState]

    def table(self, n_lags: Lags) -> StateTable:
        """Tables of all members: in memory for a run of one lane, and else on Dask, in the chunks of the lanes."""
        if len(self.lanes) == 1:
            return self.state(0).table(n_lags, self.lanes.sizes)
        da = require("dask.array", feature="states of members that do not fit in memory", extra="io")
        counts, chunks = self.lanes.counts, tuple(tuple(np.diff(edges).tolist()) for edges in self.lanes.edges)

        def load(stage: str, name: str, block_id: tuple[int, ...]) -> Any:
            lane = int(np.ravel_multi_index(block_id[: len(counts)], counts))
            table = self.state(lane).table(n_lags, self.lanes.shape(lane))
            return getattr(table[stage], name)

        found = {}
        for stage, own in n_lags.items():
            longest = int(own.max(initial=0))
            sizes = {"outflow": (*chunks, (own.size,)), "inflow": (*chunks, (own.size,), (longest,))}
            arrays = [
                da.map_blocks(load, stage, name, chunks=of, dtype=np.float64, meta=np.empty((0,) * len(of)))
                if name == "outflow" or longest else None
                for name, of in sizes.items()
            ]  # fmt: skip
            found[stage] = StageTable(*arrays)
        return found


class StateFolder:
    """States of lanes by name: in memory for a run of one lane, and else in a temporary folder, which goes when this does."""

    def __init__(self, lanes: Lanes) -> None:
        self._here: dict[tuple[str, int], BlockState] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="xroute-") if len(lanes) > 1 else None

    def put(self, name: str, lane: int, state: BlockState) -> None:
        """Keep a state, in the place of one of the same name."""
        if self._folder is None:
            self._here[name, lane] = state
        else:
            np.savez(self._path(name, lane), **state.arrays())  # type: ignore[arg-type]

    def get(self, name: str, lane: int) -> BlockState | None:
        """A state that was kept, or None."""
        if self._folder is None:
            return self._here.get((name, lane))
        path = self._path(name, lane)
        if not path.exists():
            return None
        with np.load(path) as arrays:
            return BlockState.of_arrays(arrays)

    def _path(self, name: str, lane: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{name}{lane}.npz"
