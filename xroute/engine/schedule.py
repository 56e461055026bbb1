"""Cutting a network into independent tributaries and the trunk that they join.

A reach with at most ``size`` reaches upstream belongs to a tributary: it depends on nothing outside its own subtree.
What remains is the trunk. Tributaries are packed into bins of equal work. `make_schedule` turns them into what the CPU
engine walks: tasks for threads, and within a task groups of up to `ABREAST` reaches that do not depend on one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from xroute.engine.kernels import kernel

__all__ = ["ABREAST", "Schedule", "csr", "links_along", "make_schedule", "tributaries"]

ABREAST = 8
"""Reaches routed abreast: enough independent recurrences to hide the latency of a multiply and an add."""

TASK = 128
"""Reaches in a bin of a small network: more would leave threads idle, and fewer a longer trunk, which is one task."""

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Schedule:
    """Tasks of groups of reaches. Everything is numbered by place in the schedule, so that the walk reads memory in order.

    Attributes
    ----------
    order
        The reach at each place. int64 [place]
    task_pointer
        Task ``p`` owns the groups ``task_pointer[p]:task_pointer[p + 1]``; the last task is the trunk, which waits for
        all others. int64 [task + 1]
    group_pointer
        Group ``g`` routes the places ``group_pointer[g]:group_pointer[g + 1]`` abreast. int64 [group + 1]
    slot
        Row of the working store that holds a place's series until all that it flows to have been routed. [place]
    n_slots
        Rows of that store.
    link_pointer, link_slot, link_weight
        The links that end in each place (CSR): the row to read, and the share of it that arrives.
    """

    order: Index
    task_pointer: Index
    group_pointer: Index
    slot: Index
    n_slots: int
    link_pointer: Index
    link_slot: Index
    link_weight: NDArray[np.float64]

    @property
    def n_tasks(self) -> int:
        """Number of tasks, the trunk among them."""
        return self.task_pointer.size - 1


def make_schedule(
    order: Index, pointer: Index, upstream: Index, weight: NDArray[np.float64], n_upstream: Index
) -> Schedule:
    """Schedule of a plan's order and of its links along it: then neighbours in the river are neighbours in memory.

    A task has `ABREAST` bins of tributaries, and each of its groups takes one reach of each.
    """
    n = order.size
    n_bins = int(np.clip(n // (TASK * ABREAST), 1, 16)) * ABREAST
    tributary, size = tributaries(pointer, upstream, n_upstream, max(1, n // (2 * n_bins)))
    task_pointer, group_pointer, place_reach = _group_tributaries(tributary, _pack(size, n_bins), n_bins)
    trunk_pointer, trunk_reach = _group_trunk(pointer, upstream, tributary)
    task_pointer = np.append(task_pointer, task_pointer[-1] + trunk_pointer.size - 1)
    group_pointer = np.concatenate([group_pointer, group_pointer[-1] + trunk_pointer[1:]])
    place_reach = np.concatenate([place_reach, trunk_reach])
    slot, n_slots = _assign_slots(task_pointer, group_pointer, place_reach, pointer, upstream)
    links = links_along(place_reach, slot, pointer, upstream, weight)
    return Schedule(order[place_reach], task_pointer, group_pointer, slot[place_reach], int(n_slots), *links)


@kernel
def links_along(order, number, pointer, upstream_reach, upstream_weight):  # type: ignore[no-untyped-def]
    """Links into each reach along ``order``: pointer, the ``number`` of each upstream reach, and weight."""
    to_pointer = np.zeros(order.size + 1, np.int64)
    to_number, to_weight = np.empty_like(upstream_reach), np.empty_like(upstream_weight)
    link = 0
    for k in range(order.size):
        i = order[k]
        for j in range(pointer[i], pointer[i + 1]):
            to_number[link] = number[upstream_reach[j]]
            to_weight[link] = upstream_weight[j]
            link += 1
        to_pointer[k + 1] = link
    return to_pointer, to_number, to_weight


@kernel
def csr(key, n):  # type: ignore[no-untyped-def]
    """CSR of a key: pointer, and the entries with each of its values, 0 to n, in their order (a counting sort)."""
    pointer = np.zeros(n + 1, np.int64)
    for k in key:
        pointer[k + 1] += 1
    for i in range(n):
        pointer[i + 1] += pointer[i]
    place = pointer[:-1].copy()
    member = np.empty(key.size, np.int64)
    for j in range(key.size):
        member[place[key[j]]] = j
        place[key[j]] += 1
    return pointer, member


@kernel
def tributaries(pointer, upstream_reach, n_upstream, size):  # type: ignore[no-untyped-def]
    """Tributary of each reach, -1 in the trunk, and the number of reaches in each tributary.

    Reaches with at most ``size`` upstream are joined along the links between them (union-find), so that tributaries
    are independent also where branches part and meet again. Reaches are numbered upstream first.
    """
    n = n_upstream.size
    parent = np.arange(n)
    for i in range(n):
        if n_upstream[i] <= size:
            for j in range(pointer[i], pointer[i + 1]):
                a = upstream_reach[j]
                while parent[a] != a:
                    parent[a] = parent[parent[a]]
                    a = parent[a]
                parent[a] = i  # always further down: nothing has been joined to i from below yet
    tributary = np.full(n, -1, np.int64)
    count = np.zeros(n, np.int64)
    n_tributaries = 0
    for i in range(n - 1, -1, -1):
        if n_upstream[i] <= size:
            if parent[i] == i:
                tributary[i] = n_tributaries
                n_tributaries += 1
            else:
                tributary[i] = tributary[parent[i]]
            count[tributary[i]] += 1
    return tributary, count[:n_tributaries]


@kernel
def _pack(size, n_bins):  # type: ignore[no-untyped-def]
    """Bin of each tributary: largest first into the emptiest bin (Graham 1969), by a heap of bins."""
    which = np.empty(size.size, np.int64)
    load = np.zeros(n_bins, np.int64)
    heap = np.arange(n_bins)
    for c in np.argsort(-size, kind="mergesort"):
        b = heap[0]
        which[c] = b
        load[b] += size[c]
        at = 0
        while True:
            least = at
            for child in (2 * at + 1, 2 * at + 2):
                if child < n_bins and load[heap[child]] < load[heap[least]]:
                    least = child
            if least == at:
                break
            heap[at], heap[least] = heap[least], heap[at]
            at = least
    return which


@kernel
def _group_tributaries(tributary, bin_of_tributary, n_bins):  # type: ignore[no-untyped-def]
    """Groups with one reach of each of a task's bins, all bins walked at the same pace."""
    inside = np.flatnonzero(tributary >= 0)
    start, member = csr(bin_of_tributary[tributary[inside]], n_bins)
    n_tasks = n_bins // ABREAST
    task_pointer = np.zeros(n_tasks + 1, np.int64)
    group_pointer = np.zeros(member.size + 1, np.int64)
    place_reach = np.empty(member.size, np.int64)
    g = 0
    k = 0
    for p in range(n_tasks):
        step = 0
        while True:
            before = k
            for b in range(p * ABREAST, (p + 1) * ABREAST):
                if start[b] + step < start[b + 1]:
                    place_reach[k] = inside[member[start[b] + step]]
                    k += 1
            if k == before:
                break
            g += 1
            group_pointer[g] = k
            step += 1
        task_pointer[p + 1] = g
    return task_pointer, group_pointer[: g + 1], place_reach


@kernel
def _group_trunk(pointer, upstream_reach, tributary):  # type: ignore[no-untyped-def]
    """Groups of trunk reaches that do not depend on one another, those with the longest way down first (Hu 1961).

    So the trunk takes few more groups than its longest path has reaches, and these are full.
    """
    n = tributary.size
    downstream = np.empty(upstream_reach.size, np.int64)
    for i in range(n):
        downstream[pointer[i] : pointer[i + 1]] = i
    down_pointer, link = csr(upstream_reach, n)
    way = np.zeros(n, np.int64)
    waits = np.zeros(n, np.int64)  # for so many links from the trunk
    for i in range(n - 1, -1, -1):
        if tributary[i] < 0:
            for j in range(pointer[i], pointer[i + 1]):
                u = upstream_reach[j]
                if tributary[u] < 0:
                    way[u] = max(way[u], way[i] + 1)
                    waits[i] += 1
    trunk = np.flatnonzero(tributary < 0)
    ready = [(np.int64(0), np.int64(-1))]  # a heap, whose type numba takes from this
    ready.pop()
    for i in trunk:  # type: ignore[assignment]
        if waits[i] == 0:
            heappush(ready, (-way[i], i))  # type: ignore[misc]
    group_pointer = np.zeros(trunk.size + 1, np.int64)
    place_reach = np.empty(trunk.size, np.int64)
    g = k = 0
    while k < trunk.size:
        while len(ready) > 0 and k - group_pointer[g] < ABREAST:
            place_reach[k] = heappop(ready)[1]
            k += 1
        for at in range(group_pointer[g], k):
            i = place_reach[at]
            for j in range(down_pointer[i], down_pointer[i + 1]):
                to = downstream[link[j]]
                waits[to] -= 1
                if waits[to] == 0:
                    heappush(ready, (-way[to], to))
        g += 1
        group_pointer[g] = k
    return group_pointer[: g + 1], place_reach


@kernel
def _assign_slots(task_pointer, group_pointer, place_reach, pointer, upstream_reach):  # type: ignore[no-untyped-def]
    """Rows of the working store, used again once all readers of a series are done.

    Tasks run at the same time, so each takes rows of its own; a series that another task reads keeps its row.
    """
    n = pointer.size - 1
    task = np.empty(n, np.int64)
    for p in range(task_pointer.size - 1):
        for k in range(group_pointer[task_pointer[p]], group_pointer[task_pointer[p + 1]]):
            task[place_reach[k]] = p
    readers = np.zeros(n, np.int64)
    read_outside = np.zeros(n, np.bool_)
    for i in range(n):
        for j in range(pointer[i], pointer[i + 1]):
            u = upstream_reach[j]
            readers[u] += 1
            if task[u] != task[i]:
                read_outside[u] = True
    slot = np.empty(n, np.int64)
    free = np.empty(n, np.int64)
    n_slots = 0
    for p in range(task_pointer.size - 1):
        n_free = 0
        for g in range(task_pointer[p], task_pointer[p + 1]):
            for k in range(group_pointer[g], group_pointer[g + 1]):
                i = place_reach[k]
                for j in range(pointer[i], pointer[i + 1]):
                    u = upstream_reach[j]
                    readers[u] -= 1
                    if readers[u] == 0 and not read_outside[u]:
                        free[n_free] = slot[u]
                        n_free += 1
                if n_free > 0:
                    n_free -= 1
                    slot[i] = free[n_free]
                else:
                    slot[i] = n_slots
                    n_slots += 1
            for k in range(group_pointer[g], group_pointer[g + 1]):  # nobody reads an outlet: its row is free again
                i = place_reach[k]
                if readers[i] == 0 and not read_outside[i]:
                    free[n_free] = slot[i]
                    n_free += 1
    return slot, n_slots
