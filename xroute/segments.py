"""Segments: the runs of reaches that one GPU program walks, in an order in which programs may wait for one another.

A small subtree is one segment; what is larger is cut into chains that follow the longest path. Segments are sorted by
the distance of their last reach to the outlet, farthest first: whatever a segment reads then stands before it, and the
longest path is started first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from xroute.partition import renumber

__all__ = ["Segments", "make_segments"]

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Segments:
    """Segments of a plan; reaches are numbered by place, segment after segment.

    Attributes
    ----------
    order : int64 [place]
        The reach at each place.
    start : int64 [segment + 1]
        Segment ``s`` owns the places ``start[s]:start[s + 1]``.
    running_weight : float64 [place]
        Share of the discharge of the place before that flows into this one; 0 if it does not.
    link_pointer : int64 [place + 1], link_place, link_segment : int64 [link], link_weight : float64 [link]
        The other links into each place (CSR): the place they come from, its segment (-1 for the own one), the share.
    kept : int64 [place]
        Number of each place that another reads through a link, counted from 0; -1 for the rest.
    n_kept : int
    """

    order: Index
    start: Index
    running_weight: NDArray[np.float64]
    link_pointer: Index
    link_place: Index
    link_segment: Index
    link_weight: NDArray[np.float64]
    kept: Index
    n_kept: int


def make_segments(
    order: Index,
    pointer: Index,
    upstream_reach: Index,
    upstream_weight: NDArray[np.float64],
    n_upstream: Index,
    *,
    length: int = 32,
    subtree: int = 16,
) -> Segments:
    """Cut a plan into chains of at most ``length`` reaches and subtrees of at most ``subtree``."""
    pointer, upstream, weight, count = renumber(order, pointer, upstream_reach, upstream_weight, n_upstream)
    segment, tail_distance = _assign(pointer, upstream, count, length, subtree)
    rank = np.empty(tail_distance.size, np.int64)
    rank[np.argsort(-tail_distance, kind="stable")] = np.arange(tail_distance.size)
    segment = rank[segment]
    place, start = _bucket(segment, tail_distance.size)
    running, link_pointer, link_place, link_segment, link_weight = _links(place, segment, pointer, upstream, weight)
    kept = np.full(order.size, -1, np.int64)
    read = np.unique(link_place)
    kept[read] = np.arange(read.size)
    return Segments(
        order[place], start, running, link_pointer, link_place, link_segment, link_weight, kept, int(read.size)
    )


@nb.njit(cache=True, nogil=True)
def _assign(pointer, upstream, n_upstream, length, subtree):  # type: ignore[no-untyped-def]
    """Segment of each reach, and distance to the outlet of each segment's last reach. Reaches are upstream first."""
    n = n_upstream.size
    n_down = np.zeros(n, np.int64)
    down = np.full(n, -1, np.int64)
    for i in range(n):
        for j in range(pointer[i], pointer[i + 1]):
            n_down[upstream[j]] += 1
            down[upstream[j]] = i
    height = np.ones(n, np.int64)
    main = np.full(n, -1, np.int64)  # the branch that is longest, and so arrives last
    small = np.ones(n, np.bool_)
    for i in range(n):
        small[i] = n_upstream[i] <= subtree
        for j in range(pointer[i], pointer[i + 1]):
            u = upstream[j]
            if main[i] < 0 or height[u] > height[main[i]]:
                main[i] = u
            height[i] = max(height[i], height[u] + 1)
            small[i] = small[i] and small[u] and n_down[u] == 1
    distance = np.zeros(n, np.int64)
    segment = np.empty(n, np.int64)
    size = np.zeros(n, np.int64)
    tail_distance = np.empty(n, np.int64)
    n_segments = 0
    for i in range(n - 1, -1, -1):
        d = down[i]
        joins = False
        if n_down[i] == 1:
            if small[i]:
                joins = small[d]
            else:
                joins = main[d] == i and size[segment[d]] < length
        if joins:
            segment[i] = segment[d]
        else:
            segment[i] = n_segments
            tail_distance[n_segments] = distance[i]
            n_segments += 1
        size[segment[i]] += 1
        for j in range(pointer[i], pointer[i + 1]):
            u = upstream[j]
            distance[u] = max(distance[u], distance[i] + 1)
    return segment, tail_distance[:n_segments]


@nb.njit(cache=True, nogil=True)
def _bucket(segment, n_segments):  # type: ignore[no-untyped-def]
    start = np.zeros(n_segments + 1, np.int64)
    for s in segment:
        start[s + 1] += 1
    start = np.cumsum(start)
    free = start[:-1].copy()
    place = np.empty(segment.size, np.int64)
    for i in range(segment.size):
        place[free[segment[i]]] = i
        free[segment[i]] += 1
    return place, start


@nb.njit(cache=True, nogil=True)
def _links(place, segment, pointer, upstream, weight):  # type: ignore[no-untyped-def]
    n = place.size
    at = np.empty(n, np.int64)
    for p in range(n):
        at[place[p]] = p
    running = np.zeros(n, np.float64)
    link_pointer = np.zeros(n + 1, np.int64)
    link_place = np.empty(upstream.size, np.int64)
    link_segment = np.empty(upstream.size, np.int64)
    link_weight = np.empty(upstream.size, np.float64)
    k = 0
    for p in range(n):
        i = place[p]
        for j in range(pointer[i], pointer[i + 1]):
            u = upstream[j]
            same = segment[u] == segment[i]
            if same and at[u] == p - 1:
                running[p] = weight[j]
            else:
                link_place[k] = at[u]
                link_segment[k] = -1 if same else segment[u]
                link_weight[k] = weight[j]
                k += 1
        link_pointer[p + 1] = k
    return running, link_pointer, link_place[:k], link_segment[:k], link_weight[:k]
