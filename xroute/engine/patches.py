"""Patches: the groups of up to 32 reaches that one GPU program routes, one reach a lane, in an order that allows waiting.

A **branch** is a connected piece of the network in which every reach but the last, its root, has one way down, to a reach of
the same piece: water leaves it at its root only. Branches are grown from the headwaters until they would exceed a
patch. Put together to branches, the network still has no cycle, so each branch has a rank, the branches on its longest way to an
outlet, and every link between branches leads to a lower rank. A patch holds branches of one rank, as many as fit, and
patches are sorted by rank, highest first: whatever a patch reads then stands before it, and the longest ways start first.

Within a branch a reach lags its headwaters by as many groups of steps as it stands reaches below the highest of them, so
that a tributary is always exactly one group ahead of the reach it joins; against the flow, by its distance to the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xroute.engine.kernels import kernel
from xroute.engine.schedule import csr

__all__ = ["LANES", "CrossLinks", "Patches", "make_patches"]

LANES = 32
"""Reaches in a patch: the lanes of a warp."""

Index = NDArray[np.int64]


@dataclass(frozen=True)
class CrossLinks:
    """Links that cross from patch to patch, sorted by the patch that reads them.

    Attributes
    ----------
    pointer : int64 [patch + 1]
        Links that patch ``p`` reads are ``pointer[p]:pointer[p + 1]``.
    source, target : int64 [link]
        Place where each series comes from, in another patch, and place that it joins.
    weight : float64 [link]
    number : int64 [place, then given reach]
        Number of each place among those that a series comes from, counted from 0; -1 for the rest. Reaches whose discharge is
        given count as places after all others.
    """

    pointer: Index
    source: Index
    target: Index
    weight: NDArray[np.float64]
    number: Index

    @property
    def n_sources(self) -> int:
        """How many places series come from."""
        return int(self.number.max(initial=-1)) + 1


@dataclass(frozen=True)
class Patches:
    """Patches of a plan. Places count through patches and lanes: place = 32 patch + lane.

    Attributes
    ----------
    reach : int64 [place]
        The reach in each place; spare lanes name their patch's first one.
    spare : bool [place]
        Places without a reach of their own.
    lag, distance : int64 [place]
        Reaches above a place on the longest way down its branch, and reaches below it, to the branch's root.
    child : int64 [2, place], child_weight : float64 [2, place]
        Lanes of up to two tributaries within the branch, and the shares of their discharge that arrive; weight 0: none.
        In place of a second tributary stands the first, whose NaN the place gets anyway, or else the place itself.
    parent : int64 [place], parent_weight : float64 [place]
        Lane that the place drains to within its branch, and the share; weight 0 for none.
    down, up : CrossLinks
        Links between patches, as discharge goes down them, and as the adjoint goes up.
    """

    reach: Index
    spare: NDArray[np.bool_]
    lag: Index
    distance: Index
    child: Index
    child_weight: NDArray[np.float64]
    parent: Index
    parent_weight: NDArray[np.float64]
    down: CrossLinks
    up: CrossLinks

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        return self.reach.size // LANES

    def place_of(self, n_reaches: int) -> Index:
        """Place of each reach [reach]; of given ones, which have none, anything."""
        place = np.zeros(n_reaches, np.int64)
        place[self.reach[~self.spare]] = np.flatnonzero(~self.spare)
        return place

    @cached_property
    def depth(self) -> Index:
        """Largest lag of each patch [patch]."""
        return self.lag.reshape(-1, LANES).max(axis=1, initial=0)


def make_patches(
    order: Index, pointer: Index, upstream: Index, weight: NDArray[np.float64], n_given: int, kept: Index
) -> Patches:
    """Cut a plan into patches, given its order and its links along it; see `xroute.engine.plan.RoutingPlan`."""
    given = order - (order.size - n_given)  # which given reach, negative for the others
    below, branch, height, size = _grow(pointer, upstream, given)
    rank = _rank(pointer, upstream, branch, size.size)
    routed = np.ones(size.size, bool)
    routed[branch[given >= 0]] = False
    by_rank = np.lexsort((-size, -rank))
    patch, n_patches = _pack(by_rank[routed[by_rank]], rank, size)
    reach, place, lag, distance = _place(below, branch, height, patch, n_patches, given)
    wanted = np.empty(order.size, np.int64)
    wanted[order] = place
    child, child_weight, parent, parent_weight, source, target, share = _links(
        place, reach.size, below, pointer, upstream, weight
    )
    inside = source < reach.size
    spare = reach < 0
    reach = np.where(spare, np.repeat(reach[::LANES], LANES), reach)
    return Patches(
        order[reach], spare, lag, distance, child, child_weight, parent, parent_weight,
        _sorted_links(source, target, share, reach.size, n_given, wanted[kept]),
        _sorted_links(target[inside], source[inside], share[inside], reach.size, n_given, kept[:0]),
    )  # fmt: skip


def _sorted_links(
    source: Index, target: Index, weight: NDArray[np.float64], n_places: int, n_given: int, kept: Index
) -> CrossLinks:
    _, by = csr(target, n_places + n_given)
    source, target, weight = source[by], target[by], weight[by]
    pointer = np.searchsorted(target // LANES, np.arange(n_places // LANES + 1))
    number = np.full(n_places + n_given, -1, np.int64)
    used = np.zeros(n_places + n_given, bool)
    used[source] = used[kept] = True
    number[used] = np.arange(np.count_nonzero(used))
    return CrossLinks(pointer, source, target, weight, number)


@kernel
def _grow(pointer, upstream, given):  # type: ignore[no-untyped-def]
    """Reach below in the same branch (-1 at its root) and branch of each reach; height and size of each branch."""
    n = pointer.size - 1
    n_down = np.zeros(n, np.int64)
    for u in upstream:
        n_down[u] += 1
    size = np.ones(n, np.int64)  # of the branch as far as the reach
    height = np.ones(n, np.int64)
    below = np.full(n, -1, np.int64)
    for i in range(n):
        for _ in range(2):  # the two largest that fit go on: they leave the fewest pieces
            best = -1
            for j in range(pointer[i], pointer[i + 1]):
                u = upstream[j]
                if (
                    n_down[u] == 1
                    and given[u] < 0
                    and below[u] < 0
                    and size[i] + size[u] <= LANES
                    and (best < 0 or size[u] > size[best])
                ):
                    best = u
            if best >= 0:
                below[best] = i
                size[i] += size[best]
                height[i] = max(height[i], height[best] + 1)
    root = np.flatnonzero(below < 0)
    branch = np.empty(n, np.int64)
    branch[root] = np.arange(root.size)
    for i in range(n - 1, -1, -1):
        if below[i] >= 0:
            branch[i] = branch[below[i]]
    return below, branch, height[root], size[root]


@kernel
def _rank(pointer, upstream, branch, n_branches):  # type: ignore[no-untyped-def]
    """Branches on the longest way from each branch to an outlet."""
    rank = np.zeros(n_branches, np.int64)
    for i in range(pointer.size - 2, -1, -1):  # all that a root drains to comes before its branch's reaches
        for j in range(pointer[i], pointer[i + 1]):
            a, b = branch[upstream[j]], branch[i]
            if a != b:
                rank[a] = max(rank[a], rank[b] + 1)
    return rank


@kernel
def _pack(order, rank, size):  # type: ignore[no-untyped-def]
    """Patch of each branch in the order: branches of one rank, largest first, each into the patch that it fills best."""
    patch = np.full(size.size, -1, np.int64)
    free = np.full(LANES + 1, -1, np.int64)  # a patch with so many free lanes; the next one with as many
    after = np.empty(size.size, np.int64)
    n_patches = 0
    for k in range(order.size):
        b = order[k]
        if k == 0 or rank[b] != rank[order[k - 1]]:
            free[:] = -1
        room = size[b]
        while room <= LANES and free[room] < 0:
            room += 1
        if room <= LANES:
            patch[b] = free[room]
            free[room] = after[patch[b]]
        else:
            room = LANES
            patch[b] = n_patches
            n_patches += 1
        room -= size[b]
        after[patch[b]] = free[room]
        free[room] = patch[b]
    return patch, n_patches


@kernel
def _place(below, branch, height, patch, n_patches, given):  # type: ignore[no-untyped-def]
    """Reach in each place (-1 for none), place of each reach, lag and distance of each place."""
    reach = np.full(n_patches * LANES, -1, np.int64)
    lag, distance = np.zeros(reach.size, np.int64), np.zeros(reach.size, np.int64)
    place = np.empty(below.size, np.int64)
    used = np.zeros(n_patches, np.int64)
    for i in range(below.size - 1, -1, -1):
        p = patch[branch[i]]
        if given[i] >= 0:
            place[i] = reach.size + given[i]
            continue
        at = p * LANES + used[p]
        used[p] += 1
        place[i] = at
        reach[at] = i
        distance[at] = 0 if below[i] < 0 else distance[place[below[i]]] + 1
        lag[at] = height[branch[i]] - 1 - distance[at]
    return reach, place, lag, distance


@kernel
def _links(place, n_places, below, pointer, upstream, weight):  # type: ignore[no-untyped-def]
    """Tributaries and downstream lane of each place within its branch, and the links between branches: from, to, weight."""
    child, child_weight = np.empty((2, n_places), np.int64), np.zeros((2, n_places))
    parent, parent_weight = np.arange(n_places) % LANES, np.zeros(n_places)
    child[:] = parent
    count = np.zeros(n_places, np.int64)
    source, target, share = np.empty_like(upstream), np.empty_like(upstream), np.empty_like(weight)
    n = 0
    for i in range(place.size):
        at = place[i]
        for j in range(pointer[i], pointer[i + 1]):
            u = upstream[j]
            if below[u] == i:
                child[count[at] :, at] = place[u] % LANES
                child_weight[count[at], at] = weight[j]
                count[at] += 1
                parent[place[u]] = at % LANES
                parent_weight[place[u]] = weight[j]
            else:
                source[n], target[n], share[n] = place[u], at, weight[j]
                n += 1
    return child, child_weight, parent, parent_weight, source[:n], target[:n], share[:n]
