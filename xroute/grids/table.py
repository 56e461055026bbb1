"""Weights as arrays: the overlaps of each catchment, one after another, ready for the loops that sum them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError
from xroute.grids.form import CATCHMENT, check_weights, index_names
from xroute.ids import exact_ids, positions_of

__all__ = ["Table", "table_of"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """Overlaps, by catchment.

    Attributes
    ----------
    ids : [catchment]
        Ids of the reaches.
    pointer : int64 [catchment + 1]
        Where the overlaps of each begin, and where the last one's end.
    row, column : int64 [overlap]
        Position of the cell along the grid's first and second dimension; of cells along one dimension the row is 0.
    area : float64 [overlap]
        Area of the cell within the catchment [m2]; none is zero.
    share : float64 [overlap] or None
        The part of the whole cell that this is; None where areas of cells are not known.
    """

    ids: NDArray[Any]
    pointer: Index
    row: Index
    column: Index
    area: Float
    share: Float | None

    def __post_init__(self) -> None:
        for field in fields(self):  # numba compiles anew for arrays that may be written to, as those from a worker may not
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value = value.view()
                value.flags.writeable = False
                object.__setattr__(self, field.name, value)

    def __reduce__(self) -> Any:
        return Table, tuple(getattr(self, field.name) for field in fields(self))

    @property
    def n(self) -> int:
        """Number of catchments."""
        return int(self.ids.size)

    @cached_property
    def counts(self) -> Index:
        """Overlaps of each catchment."""
        return np.diff(self.pointer)

    @cached_property
    def totals(self) -> Float:
        """Area of each catchment that cells cover [m2]."""
        if not self.n:
            return np.zeros(0)
        return np.bincount(np.repeat(np.arange(self.n), self.counts), self.area, self.n).astype(np.float64)

    def take(self, at: Any) -> Table:
        """Catchments at some positions, in that order; a negative one is a catchment without overlaps."""
        at = np.arange(self.n)[at] if isinstance(at, slice) else np.asarray(at, np.int64)
        counts = np.where(at >= 0, self.counts[at] if self.n else 0, 0)
        pointer = np.concatenate([[0], np.cumsum(counts)])
        overlap = np.repeat(self.pointer[:-1][at] - pointer[:-1], counts) + np.arange(pointer[-1]) if self.n else np.arange(0)
        share = None if self.share is None else self.share[overlap]
        ids = self.ids[at] if self.n else self.ids
        return Table(ids, pointer, self.row[overlap], self.column[overlap], self.area[overlap], share)

    def for_reaches(self, reaches: NDArray[Any]) -> Table:
        """Catchments of some reaches, by id; one that has no weights has no overlaps."""
        taken = self.take(positions_of(reaches, self.ids))
        return Table(reaches, taken.pointer, taken.row, taken.column, taken.area, taken.share)

    def at(self, row: Any, column: Any) -> Table:
        """The same overlaps, with their cells elsewhere."""
        return Table(self.ids, self.pointer, row, column, self.area, self.share)


def table_of(weights: xr.Dataset) -> Table:
    """Arrays of a Dataset of weights, checked; overlaps of no area are left out, the others keep their order.

    Raises
    ------
    ParameterError, AlignmentError
        As `xroute.grids.form.check_weights`.
    """
    check_weights(weights)
    ids = exact_ids(weights[CATCHMENT].values, "catchments of the weights", AlignmentError)
    owner = exact_ids(weights["reach"].values, "reaches of the weights", AlignmentError)
    position = positions_of(owner, ids) if owner.size else np.zeros(0, np.int64)
    area = np.asarray(weights["area"].values, np.float64)
    share = area / np.asarray(weights["cell_area"].values, np.float64) if "cell_area" in weights else None
    cells = [np.asarray(weights[name].values).astype(np.int64) for name in index_names(weights)]
    row, column = cells if len(cells) == 2 else (np.zeros(area.size, np.int64), cells[0])
    kept: Any = slice(None) if (area > 0).all() else np.flatnonzero(area > 0)
    if (np.diff(position[kept]) < 0).any():
        kept = np.arange(area.size)[kept]
        kept = kept[np.argsort(position[kept], kind="stable")]
    pointer = np.concatenate([[0], np.cumsum(np.bincount(position[kept], minlength=ids.size))]).astype(np.int64)
    return Table(ids, pointer, row[kept], column[kept], area[kept], None if share is None else share[kept])
