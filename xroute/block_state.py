"""`BlockState`: what one block of time hands to the next, as plain arrays; no labels, no units.

A reach is a filter of its last K inflows and its last outflow, and these, for every reach, are what its river must remember.
Water may go through several such filters one after another, the stages; the river itself is the stage ``"channel"``. Each
stage comes in two forms: packed, as kernels take it (`Stage`: past inflows are its ``history``), and as a table with an axis
of lags (`StageTable`: they are its ``inflow``), as it is labelled and stored.

``n_lags`` is how many past inflows each reach needs, K - 1: int64 [reach], or that by the stage's name (`Lags`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import State
from xroute.exceptions import StateError

if TYPE_CHECKING:
    from xroute.schemes import Filter

__all__ = ["CHANNEL", "HILLSLOPE", "BlockState", "Lags", "Stage", "StageTable", "StateTable", "lags_of", "stored_name"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]
Lags = Mapping[str, Index]

CHANNEL = "channel"
"""The stage of the river itself."""
HILLSLOPE = "hillslope"
"""The stage that runoff goes through before its reach; its lags are steps of runoff."""


class StageTable(NamedTuple):
    """A stage by reach and lag; the arrays may be of Dask, and have an axis for each batch dimension.

    Attributes
    ----------
    outflow : [*batch, reach]
        Last filtered outflow.
    inflow : [*batch, reach, lag], or None
        Inflow of 1, 2, ... routing steps ago; 0 for lags that a reach does not need. None where no reach needs any.
    """

    outflow: Any
    inflow: Any

    def take(self, reaches: Index) -> StageTable:
        """Of some reaches, by their positions."""
        return StageTable(self.outflow[..., reaches], None if self.inflow is None else self.inflow[..., reaches, :])


StateTable = Mapping[str, StageTable]
"""The tables of all stages, by name."""


class Stage(State):
    """A stage as kernels take it: `xroute.engine.arrays.State`, and what it has to do with a table."""

    __slots__ = ()

    @classmethod
    def dry(cls, n_lags: Index, n_batch: int) -> Stage:
        """Stage in which there has never been water."""
        return cls(np.zeros((n_batch, int(n_lags.sum()))), np.zeros((n_batch, n_lags.size)))

    @classmethod
    def of_table(cls, table: StageTable, n_lags: Index) -> Stage:
        """Stage of a table, whose batch dimensions become one; its arrays are read only now."""
        n_batch = math.prod(table.outflow.shape[:-1])
        outflow = np.array(table.outflow, np.float64, order="C").reshape(n_batch, n_lags.size)
        history = np.zeros((n_batch, 0))
        if table.inflow is not None:
            inflow = np.asarray(table.inflow).reshape(n_batch, *table.inflow.shape[-2:])
            history = np.array(inflow[:, np.arange(inflow.shape[2]) < n_lags[:, None]], np.float64, order="C")
        return cls(history, outflow)

    def inflow(self, n_lags: Index) -> Float | None:
        """Past inflow [batch, reach, lag]; None where no reach has lags."""
        longest = int(n_lags.max(initial=0))
        if not longest:
            return None
        inflow = np.zeros((self.outflow.shape[0], n_lags.size, longest))
        inflow[:, np.arange(longest) < n_lags[:, None]] = self.history
        return inflow

    def table(self, n_lags: Index, batch_shape: tuple[int, ...]) -> StageTable:
        """As a table, with an axis for each batch dimension."""
        inflow = self.inflow(n_lags)
        past = None if inflow is None else inflow.reshape(*batch_shape, *inflow.shape[1:])
        return StageTable(self.outflow.reshape(*batch_shape, n_lags.size), past)

    def pad(self, n: int) -> Stage:
        """With ``n`` further reaches behind its own, which are dry and have no lags."""
        return Stage(self.history, np.pad(self.outflow, [(0, 0), (0, n)])) if n else self


@dataclass(frozen=True, eq=False)
class BlockState:
    """What a block hands to the next: the stages that water goes through, by name.

    Examples
    --------
    >>> import numpy as np
    >>> from xroute.block_state import BlockState
    >>> n_lags = {"channel": np.array([1, 0, 2])}
    >>> state = BlockState.of(history=np.array([[1.0, 2.0, 3.0]]), outflow=np.array([[4.0, 5.0, 6.0]]))
    >>> table = state.table(n_lags, batch_shape=(1,))
    >>> table["channel"].inflow.tolist()
    [[[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]]]
    >>> BlockState.of_table(table, n_lags).channel.history.tolist()
    [[1.0, 2.0, 3.0]]
    """

    stages: Mapping[str, Stage]

    @classmethod
    def of(cls, history: Float, outflow: Float) -> BlockState:
        """State of a river alone, of its `Stage`'s arrays."""
        return cls({CHANNEL: Stage(history, outflow)})

    @classmethod
    def dry(cls, n_lags: Lags, n_batch: int) -> BlockState:
        """State of a network that has never seen rain."""
        return cls({name: Stage.dry(own, n_batch) for name, own in n_lags.items()})

    @classmethod
    def of_table(cls, table: StateTable, n_lags: Lags) -> BlockState:
        """State of tables, whose arrays are read only now."""
        return cls({name: Stage.of_table(table[name], own) for name, own in n_lags.items()})

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Any]) -> BlockState:
        """State of what the method `arrays` gave; other arrays may stand beside them."""
        names = [name.removesuffix("history").removesuffix("_") or CHANNEL for name in arrays if name.endswith("history")]
        return cls(
            {name: Stage(*(np.asarray(arrays[stored_name(name, of)][...]) for of in Stage._fields)) for name in names}
        )

    @property
    def channel(self) -> Stage:
        """The river's own stage."""
        return self.stages[CHANNEL]

    def arrays(self) -> dict[str, Float]:
        """All its arrays, under the names that they have in a store."""
        return {
            stored_name(name, of): array
            for name, stage in sorted(self.stages.items())
            for of, array in (("outflow", stage.outflow), ("history", stage.history))
        }

    def table(self, n_lags: Lags, batch_shape: tuple[int, ...]) -> dict[str, StageTable]:
        """As tables, with an axis for each batch dimension."""
        return {name: stage.table(n_lags[name], batch_shape) for name, stage in self.stages.items()}

    def pad(self, n: int) -> BlockState:
        """With ``n`` further reaches behind its own, which are dry and have no lags."""
        return BlockState({name: stage.pad(n) for name, stage in self.stages.items()})

    def check(self, n_lags: Lags, n_batch: int) -> None:
        """Refuse a state of other stages, sizes or types: kernels do not look whether they read beyond it.

        Raises
        ------
        StateError
            Naming the array.
        """
        if set(self.stages) != set(n_lags):
            raise StateError(f"the state has the stages {sorted(self.stages)}, and this run has {sorted(n_lags)}")
        for name, own in n_lags.items():
            stage = self.stages[name]
            for of, array, size in (("history", stage.history, int(own.sum())), ("outflow", stage.outflow, own.size)):
                if array.shape != (n_batch, size) or array.dtype != np.float64:
                    raise StateError(
                        f"the state's {stored_name(name, of)} is {array.dtype} {array.shape}, and this network and its "
                        f"members need float64 {(n_batch, size)}"
                    )

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays."""
        return sum(int(array.nbytes) for array in self.arrays().values())


def lags_of(filter: Filter, hillslope: Filter | None = None) -> Lags:
    """Past inflows that each reach needs in a run with these filters, by stage of the state: as water goes through them."""
    slopes = {} if hillslope is None else {HILLSLOPE: hillslope.n_taps - 1}
    return {**slopes, CHANNEL: filter.n_taps - 1}


def stored_name(stage: str, array: str) -> str:
    """Name of a stage's array among those of all stages, in a Dataset or a store: the channel's bear no stage's name."""
    return array if stage == CHANNEL else f"{stage}_{array}"
