"""Lanes: members that a stream routes together, the others after them, where the states of all do not fit in memory.

Lanes are the cells of a grid over the batch dimensions of runoff, in the order of their members. Each has its own progress and
its own state, and none needs to know of another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Box", "Lanes", "common_edges", "overlap", "regular_edges"]

Box = Mapping[Hashable, slice]
"""A part of an array: a slice of some of its dimensions."""


@dataclass(frozen=True)
class Lanes:
    """Lanes of a run.

    Attributes
    ----------
    dims, sizes
        Batch dimensions of runoff, and their sizes.
    each
        Members of a lane along each of them; the last may have fewer.

    Examples
    --------
    >>> from xroute.lanes import Lanes
    >>> lanes = Lanes(("member",), (5,), (2,))
    >>> len(lanes), lanes.box(2)
    (3, {'member': slice(4, 5, None)})
    """

    dims: tuple[Hashable, ...]
    sizes: tuple[int, ...]
    each: tuple[int, ...]

    @classmethod
    def one(cls, dims: Sequence[Hashable], sizes: Sequence[int]) -> Lanes:
        """All members together."""
        return cls(tuple(dims), tuple(sizes), tuple(max(1, n) for n in sizes))

    @property
    def edges(self) -> list[NDArray[np.int64]]:
        """Where lanes begin and end along each dimension."""
        return [regular_edges(n, size) for n, size in zip(self.sizes, self.each, strict=True)]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many lanes there are along each dimension."""
        return tuple(max(1, edges.size - 1) for edges in self.edges)

    def __len__(self) -> int:
        return math.prod(self.counts)

    @cached_property
    def boxes(self) -> list[dict[Hashable, slice]]:
        """The part of each lane; without members, the one lane is empty."""
        cuts = [[slice(int(a), int(b)) for a, b in itertools.pairwise(edges)] or [slice(0, 0)] for edges in self.edges]
        return [dict(zip(self.dims, cell, strict=True)) for cell in itertools.product(*cuts)]

    def box(self, lane: int) -> dict[Hashable, slice]:
        """The part of a lane."""
        return self.boxes[lane]

    def shape(self, lane: int) -> tuple[int, ...]:
        """Members of a lane along each dimension."""
        return tuple(part.stop - part.start for part in self.boxes[lane].values())

    def members(self, lane: int) -> NDArray[np.int64]:
        """Positions of a lane's members among all of them, in its own order."""
        all_of_them = np.arange(math.prod(self.sizes)).reshape(self.sizes)
        return np.asarray(all_of_them[tuple(self.boxes[lane].values())]).ravel()


def regular_edges(n: int, size: int, first: int = 0) -> NDArray[np.int64]:
    """Edges of pieces of equal size of ``n`` entries, of whose first piece ``first`` entries are not there; 0 and n included."""
    cuts = np.arange(size - first, n, size)
    return np.unique(np.concatenate([[0], cuts[cuts > 0], [n]])).astype(np.int64)


def common_edges(one: Any, other: Any) -> NDArray[np.int64]:
    """Edges that two cuttings share."""
    return np.intersect1d(one, other)


def overlap(one: Box, other: Box) -> bool:
    """Whether two parts share entries, along the dimensions that both have."""
    return all(one[d].start < other[d].stop and other[d].start < one[d].stop for d in one if d in other)
