"""Partitions: parts of a network that can be routed apart, tributaries first and then the trunk that they join.

A reach with few others upstream belongs to a tributary: a whole subtree, which depends on nothing outside itself. Neighbouring
tributaries make up a partition, all partitions about as large. What remains, the trunk, is the last partition, and reads the
discharge of the others' outlets. So the graph of partitions is two deep, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.engine.plan import RoutingPlan, make_plan
from xroute.engine.schedule import tributaries
from xroute.schemes import Filter

__all__ = ["Partition", "make_partitions", "partition"]

Index = NDArray[np.int64]


def partition(plan: RoutingPlan, n: int) -> Index:
    """Partition of each reach [reach]: 0 to ``n - 1`` for tributaries, ``n`` for the trunk; all 0 for one partition.

    Partitions may be empty: a network has no more tributaries than it has.
    """
    label = np.zeros(plan.n_reaches, np.int64)
    if n == 1 or not plan.n_reaches:
        return label
    pointer, upstream, _, count = plan.along(plan.order)
    tributary, size = tributaries(pointer, upstream, count, max(1, plan.n_reaches // (8 * n)))
    first = np.full(size.size, plan.n_reaches)  # tributaries that lie beside one another stay together
    np.minimum.at(first, tributary[tributary >= 0], plan.order[tributary >= 0])
    along = np.argsort(first, kind="stable")
    middle = np.cumsum(size[along]) - (size[along] + 1) // 2
    which = np.empty(size.size, np.int64)
    which[along] = middle * n // max(1, int(size.sum()))
    label[plan.order] = np.where(tributary >= 0, which[tributary], n) if size.size else n
    return label


@dataclass(frozen=True)
class Partition:
    """A partition, ready to be routed by itself.

    Attributes
    ----------
    reach : int64 [own]
        Its reaches, as positions in the whole network.
    given : int64 [given]
        Reaches of other partitions whose discharge it receives.
    plan
        Plan of its own reaches, followed by the given ones, which drain to them; it keeps what other partitions receive.
    source : tuple of (partition, int64 array)
        By partition, which of that partition's kept series are given, in the order of ``given``.
    """

    reach: Index
    given: Index
    plan: RoutingPlan
    source: tuple[tuple[int, Index], ...]

    def filter(self, filter: Filter) -> Filter:
        """The filter of its reaches; that of given ones is never applied."""
        taps, pointer, pole, gain = filter.arrays()
        n_taps = np.diff(pointer)[self.reach]
        entry = np.repeat(pointer[:-1][self.reach] - np.cumsum(n_taps) + n_taps, n_taps) + np.arange(n_taps.sum())
        none = np.zeros(self.given.size)
        joined = (np.concatenate([a, none]) for a in (taps[entry], pole[self.reach], gain[self.reach]))
        new_taps, new_pole, new_gain = (torch.from_numpy(a) for a in joined)
        sizes = np.concatenate([n_taps, np.ones(self.given.size, np.int64)])
        return Filter(new_taps, np.concatenate([[0], np.cumsum(sizes)]), new_pole, new_gain)


def make_partitions(plan: RoutingPlan, label: Index) -> list[Partition]:
    """Partitions of a plan by their labels; links lead within one, or to one with a higher label.

    Flows into a reach stay in the order in which the plan adds them, so that results are the same bit for bit.
    """
    n_parts = int(label.max(initial=0)) + 1
    place = np.empty(plan.n_reaches, np.int64)  # of each reach in its partition
    members = []
    for p in range(n_parts):
        members.append(plan.order[label[plan.order] == p])
        place[members[p]] = np.arange(members[p].size)
    downstream = np.repeat(np.arange(plan.n_reaches), np.diff(plan.upstream_pointer))
    upstream, weight = plan.upstream_reach, plan.upstream_weight
    cut = label[upstream] != label[downstream]
    if (label[upstream] > label[downstream]).any():
        raise ValueError("a link leads to a partition that is routed before")
    sources = np.unique(upstream[cut])
    kept = [sources[label[sources] == p] for p in range(n_parts)]
    parts = []
    for p in range(n_parts):
        inside = label[downstream] == p
        given = np.unique(upstream[inside & cut])
        given = given[np.lexsort((given, label[given]))]
        at = np.full(plan.n_reaches, -1)
        at[members[p]] = np.arange(members[p].size)
        at[given] = members[p].size + np.arange(given.size)
        n = members[p].size + given.size
        sub = make_plan(
            at[upstream[inside]], at[downstream[inside]], weight[inside], n, n_given=given.size, kept=place[kept[p]]
        )
        source = tuple((int(q), np.searchsorted(kept[q], given[label[given] == q])) for q in np.unique(label[given]))
        parts.append(Partition(members[p], given, sub, source))
    return parts
