"""Patches: every reach in one place, all that a patch waits for before it, and lags that make tributaries meet."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import topologies, topology

import xroute
from xroute.engine.patches import LANES, CrossLinks, Patches, share_rows
from xroute.engine.plan import make_plan


def check(patches: Patches, links: tuple[np.ndarray, np.ndarray, np.ndarray], n: int) -> None:
    used = ~patches.spare
    np.testing.assert_array_equal(np.sort(patches.reach[used]), np.arange(n))
    place = np.empty(n, np.int64)
    place[patches.reach[used]] = np.flatnonzero(used)
    patch = np.arange(patches.reach.size) // LANES
    found = []  # (from, to, weight) of every link, within patches and between them
    for k in range(2):
        (at,) = np.nonzero(used & (patches.child_weight[k] != 0))
        child = patch[at] * LANES + patches.child[k, at]
        assert (patches.lag[child] <= patches.lag[at] - 1).all() and (patches.lag[at] - patches.lag[child] == 1).all()
        assert (patches.distance[child] == patches.distance[at] + 1).all()
        np.testing.assert_array_equal(patches.parent[child], at % LANES)
        np.testing.assert_array_equal(patches.parent_weight[child], patches.child_weight[k, at])
        found += zip(patches.reach[child], patches.reach[at], patches.child_weight[k, at], strict=True)
    down, up = patches.down, patches.up
    assert (patch[down.source] < patch[down.target]).all(), "a patch would wait for a later one"
    assert (patches.distance[down.source] == 0).all(), "water leaves a branch at its root only"
    for links_of in (down, up):
        np.testing.assert_array_equal(
            np.repeat(np.arange(patches.n_patches), np.diff(links_of.pointer)), patch[links_of.target]
        )
        sources = np.unique(links_of.source)
        np.testing.assert_array_equal(links_of.number[sources], np.arange(links_of.n_sources))
        assert (np.delete(links_of.number, sources) == -1).all()
    assert set(zip(down.source, down.target, strict=True)) == set(zip(up.target, up.source, strict=True))
    found += zip(patches.reach[down.source], patches.reach[down.target], down.weight, strict=True)
    assert sorted(found) == sorted(zip(*links, strict=True))


@given(topologies(max_size=90))
def test_any_network(network):
    plan = make_plan(*network.links, network.n_reaches)
    check(plan.patches, network.links, network.n_reaches)


def test_large_networks_fill_their_patches():
    network = xroute.Network(xroute.datasets.scheidegger(120, 80, seed=2))
    check(network.plan.patches, network.links, network.n_reaches)
    assert network.plan.patches.spare.mean() < 0.05


def test_many_small_rivers_share_patches():
    n = 40 * LANES
    upstream, downstream = np.arange(0, n, 4), np.arange(0, n, 4) + 1
    plan = make_plan(upstream, downstream, np.ones(upstream.size), n)
    assert plan.patches.n_patches == 40
    check(plan.patches, (upstream, downstream, np.ones(upstream.size)), n)


def test_repeatable():
    network = topology("bifurcating", 200, np.random.default_rng(0))
    one, two = (make_plan(*network.links, network.n_reaches).patches for _ in range(2))
    for name in ("reach", "lag", "child", "parent"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def check_rows(links: CrossLinks, n_places: int, kept: np.ndarray, away: int) -> int:
    """Users of a row follow on one another, the next one not before the reader of the last is ``away`` behind; how many rows."""
    rows = share_rows(links, n_places, kept, away)
    users: dict[int, list[int]] = {}
    for source in range(links.n_sources):
        users.setdefault(int(rows.row[source]), []).append(source)
    assert sorted(users) == list(range(rows.n_rows))
    for sources in users.values():
        sources.sort(key=lambda source: rows.turn[source])
        assert [rows.turn[source] for source in sources] == list(range(len(sources)))
        for one, next_one in zip(sources, sources[1:], strict=False):
            readers = links.target[links.number[links.source] == one] // LANES
            writer = np.flatnonzero(links.number == next_one)[0] // LANES
            assert readers.size == 1 and readers[0] + max(1, away) <= writer
            assert rows.shared[one] and one not in kept
    return rows.n_rows


@given(topologies(max_size=90), st.integers(0, 3), st.integers(0, 3))
def test_rows_are_used_one_after_another(network, away, n_kept):
    """With reaches whose discharge others want to read when all is over."""
    n = network.n_reaches
    plan = make_plan(*network.links, n)
    down = plan.patches.down
    check_rows(down, plan.patches.reach.size, np.arange(min(n_kept, down.n_sources)), away)


def test_rows_are_few():
    patches = xroute.Network(xroute.datasets.scheidegger(120, 80, seed=2)).plan.patches
    none = np.arange(0)
    assert check_rows(patches.down, patches.reach.size, none, 0) < 0.3 * patches.down.n_sources
    assert share_rows(patches.down, patches.reach.size, none, patches.n_patches).n_rows == patches.down.n_sources
