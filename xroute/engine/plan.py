"""Topology as index arrays: the order in which reaches can be routed, found once a network (numba, no labels).

Everything here is a function of the links alone. `schedule.py` cuts the order into what the CPU's threads walk, `patches.py`
into what a GPU's programs do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.engine.kernels import kernel
from xroute.engine.patches import Patches, make_patches
from xroute.engine.schedule import Schedule, csr, links_along, make_schedule

__all__ = [
    "Incoming", "RoutingPlan", "accumulate", "find_cycle", "follow", "incoming", "make_plan", "mark_downstream",
    "mark_upstream", "path_length", "strahler_order", "topological_order",
]  # fmt: skip

Index = NDArray[np.int64]


@dataclass(frozen=True)
class RoutingPlan:
    """Order of computation of a network.

    Attributes
    ----------
    order
        Every reach once, upstream before downstream: a depth-first post-order, so that a reach's tributaries are
        routed shortly before it and whole subtrees are contiguous. int64 [reach].
    upstream_pointer, upstream_reach, upstream_weight
        The links by downstream reach (CSR): reach ``i`` receives ``upstream_weight[j]`` of the discharge of
        ``upstream_reach[j]`` for ``j`` in ``upstream_pointer[i]:upstream_pointer[i + 1]``.
    n_upstream
        Reaches upstream of each reach, itself included; an upper bound where branches part and meet again. [reach]
    n_given
        How many reaches, the last ones, are not routed here: their discharge is given (see `xroute.partition`).
    kept : int64 [kept]
        Reaches whose discharge is wanted elsewhere, as it is passed on.
    """

    order: Index
    upstream_pointer: Index
    upstream_reach: Index
    upstream_weight: NDArray[np.float64]
    n_upstream: Index
    n_given: int = 0
    kept: Index = field(default_factory=lambda: np.empty(0, np.int64))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: not what has been derived and cached, which may be large or live on a device."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def n_reaches(self) -> int:
        """Number of reaches."""
        return self.order.size

    @cached_property
    def digest(self) -> int:
        """A number made from what the plan contains, the same in any process: an int64 that is not negative."""
        digest = hashlib.blake2b(digest_size=8)
        for array in (self.order, self.upstream_pointer, self.upstream_reach, self.upstream_weight, self.kept):
            digest.update(np.ascontiguousarray(array).data)
            digest.update(b"|")
        digest.update(str(self.n_given).encode())
        return int.from_bytes(digest.digest(), "big") >> 1

    def along(self, order: Index) -> tuple[Index, Index, NDArray[np.float64], Index]:
        """Links into each reach (pointer, upstream, weight) and reaches upstream of it, all numbered along an order."""
        place = np.empty_like(order)
        place[order] = np.arange(order.size)
        links = links_along(order, place, self.upstream_pointer, self.upstream_reach, self.upstream_weight)
        return *links, self.n_upstream[order]

    @cached_property
    def schedule(self) -> Schedule:
        """What the CPU's threads do: independent tributaries side by side, then the trunk."""
        return make_schedule(self.order, *self.along(self.order))

    @cached_property
    def place_links(self) -> tuple[Index, Index, NDArray[np.float64], Index, Index, NDArray[np.float64]]:
        """Links by place in the schedule: those that end in a place, and those that begin there; pointer, other place, weight."""
        pointer, upstream, weight, _ = self.along(self.schedule.order)
        down_pointer, link = csr(upstream, self.n_reaches)
        downstream = np.repeat(np.arange(self.n_reaches), np.diff(pointer))
        return pointer, upstream, weight, down_pointer, downstream[link], weight[link]

    @cached_property
    def patches(self) -> Patches:
        """What the GPU's programs do: up to 32 reaches each, in an order in which they may wait for one another."""
        return make_patches(self.order, *self.along(self.order)[:3], self.n_given, self.kept)


class Incoming(NamedTuple):
    """Links by the reaches that they go to (CSR), and an order of the reaches, upstream ones first.

    Attributes
    ----------
    pointer : int64 [reach + 1]
    upstream : int64 [link]
    weight : float64 [link]
        As in `RoutingPlan`.
    order : int64 [reach]
        Shorter than there are reaches if links go round.
    has_downstream : bool [reach]
    """

    pointer: Index
    upstream: Index
    weight: NDArray[np.float64]
    order: Index
    has_downstream: NDArray[np.bool_]


def incoming(upstream: Index, downstream: Index, weight: NDArray[np.float64], n_reaches: int) -> Incoming:
    """Order links and reaches as a plan needs them, and as tells whether links go round."""
    pointer, link = csr(downstream, n_reaches)
    above = upstream[link]
    has_downstream, is_forest = _has_downstream(upstream, n_reaches)
    order = _from_outlets(pointer, above, has_downstream) if is_forest else topological_order(upstream, downstream, n_reaches)
    return Incoming(pointer, above, weight[link].astype(np.float64, copy=False), order, has_downstream)


def make_plan(
    upstream: Index,
    downstream: Index,
    weight: NDArray[np.float64],
    n_reaches: int,
    n_given: int = 0,
    kept: Index | None = None,
    *,
    ordered: Incoming | None = None,
) -> RoutingPlan:
    """Plan the routing of a network, of links [link]: positions of their two ends, and the shares of discharge that take them.

    Flows into a reach are added in the order in which its links stand here, so a caller who wants results that do not depend on
    the order of reaches, bit for bit, sorts them. ``ordered`` is what `incoming` makes of the links, where it is there already.

    Raises
    ------
    ValueError
        If the links have a cycle; `find_cycle` names one.
    """
    into = incoming(upstream, downstream, weight, n_reaches) if ordered is None else ordered
    if into.order.size < n_reaches:
        raise ValueError("the links have a cycle")
    n_upstream = _count_upstream(into.order, into.pointer, into.upstream)
    post_order = _depth_first(into.pointer, into.upstream, n_upstream, into.has_downstream)
    kept = np.empty(0, np.int64) if kept is None else kept
    return RoutingPlan(post_order, into.pointer, into.upstream, into.weight, n_upstream, n_given, kept)


@kernel
def _has_downstream(upstream, n):  # type: ignore[no-untyped-def]
    """Which reaches drain to another, and whether none drains to several."""
    found = np.zeros(n, np.bool_)
    is_forest = True
    for u in upstream:
        is_forest &= not found[u]
        found[u] = True
    return found, is_forest


@kernel
def _from_outlets(pointer, upstream_reach, has_downstream):  # type: ignore[no-untyped-def]
    """Order of the reaches of a forest, upstream first: the reverse of a way from the outlets up. Shorter if links go round."""
    n = has_downstream.size
    order = np.empty(n, np.int64)
    tail = n
    for i in range(n):
        if not has_downstream[i]:
            tail -= 1
            order[tail] = i
    head = n
    while head > tail:
        head -= 1
        for j in range(pointer[order[head]], pointer[order[head] + 1]):
            tail -= 1
            order[tail] = upstream_reach[j]
    return order[tail:]


@kernel
def topological_order(upstream, downstream, n):  # type: ignore[no-untyped-def]
    """Order of Kahn (1962): positions, upstream first. Shorter than ``n`` if there is a cycle."""
    pointer, link = csr(upstream, n)
    waiting = np.zeros(n, np.int64)
    for d in downstream:
        waiting[d] += 1
    order = np.empty(n, np.int64)
    tail = 0
    for i in range(n):
        if waiting[i] == 0:
            order[tail] = i
            tail += 1
    head = 0
    while head < tail:
        i = order[head]
        head += 1
        for j in range(pointer[i], pointer[i + 1]):
            d = downstream[link[j]]
            waiting[d] -= 1
            if waiting[d] == 0:
                order[tail] = d
                tail += 1
    return order[:tail]


@kernel
def _count_upstream(order, pointer, upstream_reach):  # type: ignore[no-untyped-def]
    n = order.size
    count = np.ones(n, np.int64)
    for i in order:
        for j in range(pointer[i], pointer[i + 1]):
            count[i] += count[upstream_reach[j]]
        count[i] = min(count[i], 2 * n)  # where branches meet again the sum can grow without bound
    return count


@kernel
def _depth_first(pointer, upstream_reach, n_upstream, has_downstream):  # type: ignore[no-untyped-def]
    """Post-order from the outlets, largest branch first: at most about the Strahler order of series are live at once."""
    n = n_upstream.size
    order = np.empty(n, np.int64)
    done = np.zeros(n, np.bool_)
    stack = np.empty(n + 1, np.int64)
    child = np.empty(n, np.int64)  # how many of a reach's branches have been visited
    sorted_upstream = upstream_reach.copy()
    for i in range(n):  # few branches a reach: insertion sort
        for a in range(pointer[i] + 1, pointer[i + 1]):
            u = sorted_upstream[a]
            b = a - 1
            while b >= pointer[i] and n_upstream[sorted_upstream[b]] < n_upstream[u]:
                sorted_upstream[b + 1] = sorted_upstream[b]
                b -= 1
            sorted_upstream[b + 1] = u
    count = 0
    for root in range(n):
        if has_downstream[root]:
            continue
        top = 0
        stack[0] = root
        child[root] = 0
        while top >= 0:
            i = stack[top]
            if pointer[i] + child[i] < pointer[i + 1]:
                u = sorted_upstream[pointer[i] + child[i]]
                child[i] += 1
                if not done[u]:
                    top += 1
                    stack[top] = u
                    child[u] = 0
            else:
                top -= 1
                done[i] = True
                order[count] = i
                count += 1
    return order


@kernel
def mark_upstream(order, pointer, upstream_reach, mask):  # type: ignore[no-untyped-def]
    """Extend ``mask`` to everything upstream of it, in place."""
    for k in range(order.size - 1, -1, -1):
        i = order[k]
        if mask[i]:
            for j in range(pointer[i], pointer[i + 1]):
                mask[upstream_reach[j]] = True


@kernel
def mark_downstream(order, pointer, upstream_reach, mask):  # type: ignore[no-untyped-def]
    """Extend ``mask`` to everything downstream of it, in place."""
    for i in order:
        for j in range(pointer[i], pointer[i + 1]):
            if mask[upstream_reach[j]]:
                mask[i] = True


@kernel
def follow(order, main):  # type: ignore[no-untyped-def]
    """Position of the last reach on the way down from each, where ``main`` is the next one or -1."""
    last = np.arange(order.size)
    for k in range(order.size - 1, -1, -1):
        i = order[k]
        if main[i] >= 0:
            last[i] = last[main[i]]
    return last


@kernel
def accumulate(order, main, values):  # type: ignore[no-untyped-def]
    """Sum of values upstream of each, itself included, where ``main`` is the next one or -1."""
    total = values.copy()
    for i in order:
        if main[i] >= 0:
            total[main[i]] += total[i]
    return total


def find_cycle(upstream: Index, downstream: Index, n_reaches: int) -> Index:
    """Positions around one cycle, in the direction of flow; empty if there is none."""
    order = topological_order(upstream, downstream, n_reaches)
    if order.size == n_reaches:
        return np.empty(0, np.int64)
    stuck = np.ones(n_reaches, bool)
    stuck[order] = False
    inside = stuck[upstream] & stuck[downstream]
    # every stuck reach has a stuck reach upstream of it: walking against the flow must come round
    above = dict(zip(downstream[inside].tolist(), upstream[inside].tolist(), strict=True))
    at, seen = next(iter(above)), {}
    walk: list[int] = []
    while at not in seen:
        seen[at] = len(walk)
        walk.append(at)
        at = above[at]
    return np.array(walk[seen[at] :][::-1], np.int64)


@kernel
def strahler_order(order, pointer, upstream_reach):  # type: ignore[no-untyped-def]
    """Strahler (1957) order: 1 at headwaters; one more than its largest branches' where two of that order join."""
    strahler = np.ones(order.size, np.int64)
    for i in order:
        largest = 0
        count = 0
        for j in range(pointer[i], pointer[i + 1]):
            s = strahler[upstream_reach[j]]
            if s > largest:
                largest = s
                count = 1
            elif s == largest:
                count += 1
        if count > 0:
            strahler[i] = largest + (1 if count > 1 else 0)
    return strahler


@kernel
def path_length(order, pointer, upstream_reach):  # type: ignore[no-untyped-def]
    """Reaches on the longest path that ends in each reach, itself included."""
    length = np.ones(order.size, np.int64)
    for i in order:
        for j in range(pointer[i], pointer[i + 1]):
            length[i] = max(length[i], length[upstream_reach[j]] + 1)
    return length
