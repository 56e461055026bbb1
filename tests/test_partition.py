"""Partitions: every reach in one, links only downwards, and discharge that does not depend on how the network is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from problems import state_of
from strategies import DT, draw_parameters, topologies

import xroute
from xroute.block import route_block
from xroute.engine.arrays import Exchange, Rows
from xroute.engine.plan import make_plan
from xroute.exceptions import ParameterError
from xroute.partition import make_partitions, partition
from xroute.schemes import make_filter
from xroute.settings import RoutingSettings


def route_parts(runoff, plan, filter, state, settings, n):
    """Discharge and final outflow of a network that is routed in parts."""
    discharge = np.empty(runoff.shape)
    outflow = np.empty(runoff.shape[:2])
    fine = runoff.shape[2] * settings.substeps
    passed = []
    for part in make_partitions(plan, partition(plan, n)):
        given_ = np.concatenate(
            [np.empty((len(runoff), 0, fine)), *(passed[q][:, which] for q, which in part.source)], 1
        )
        passed.append(np.empty((len(runoff), part.plan.kept.size, fine)))
        q, end, _ = route_block(
            runoff, part.plan, part.filter(filter), state and state_of(part, state, filter), settings,
            Rows(np.concatenate([part.reach, np.full(part.given.size, -1)])), exchange=Exchange(given_, passed[-1]),
        )  # fmt: skip
        own = part.reach.size
        discharge[:, part.reach], outflow[:, part.reach] = q[:, :own], end.channel.outflow[:, :own]
    return discharge, outflow


@given(
    topologies(max_size=60), some.integers(1, 8), some.sampled_from([1, 3]),
    some.sampled_from(["head", "interval", "outlet"]), some.sampled_from(["mean", "last", "start-mean"]),
)  # fmt: skip
def test_discharge_does_not_depend_on_the_cut(network, n, substeps, lateral, sampling):
    rng = np.random.default_rng(n)
    plan = make_plan(*network.links, network.n_reaches)
    parameters = {"muskingum": (np.arange(plan.n_reaches), draw_parameters("muskingum", plan.n_reaches, rng))}
    made = make_filter(parameters, DT / substeps, plan.n_reaches, lateral=lateral)
    runoff = rng.random((2, plan.n_reaches, 5))
    settings = RoutingSettings(None, substeps, sampling, lateral)
    _, start, _ = route_block(runoff, plan, made, None, settings)
    for state in (None, start):
        whole, end, _ = route_block(runoff, plan, made, state, settings)
        discharge, outflow = route_parts(runoff, plan, made, state, settings, n)
        np.testing.assert_array_equal(discharge, whole)
        np.testing.assert_array_equal(outflow, end.channel.outflow)


@given(topologies(max_size=60), some.integers(1, 16))
def test_parts(network, n):
    plan = make_plan(*network.links, network.n_reaches)
    label = partition(plan, n)
    assert label.min() >= 0 and label.max() <= (n if n > 1 else 0)
    up, down, _ = network.links
    crossing = label[up] != label[down]
    assert n == 1 or (label[down[crossing]] == n).all(), "tributaries drain to the trunk only"
    parts = make_partitions(plan, label)
    np.testing.assert_array_equal(np.sort(np.concatenate([p.reach for p in parts])), np.arange(plan.n_reaches))
    for p, part in enumerate(parts):
        assert (label[part.reach] == p).all()
        assert sum(which.size for _, which in part.source) == part.given.size == part.plan.n_given
        sources = [parts[q].reach[parts[q].plan.kept[which]] for q, which in part.source]
        np.testing.assert_array_equal(np.concatenate([[], *sources]), part.given)


def test_partitions_of_a_large_network_are_balanced():
    network = xroute.Network(xroute.datasets.scheidegger(300, 100, seed=2))
    label = network.partition(8)
    assert label.dims == ("reach",)
    sizes = np.bincount(label.values, minlength=9)
    assert sizes[8] < 0.1 * network.n_reaches
    assert sizes[:8].max() < 1.3 * sizes[:8].min()


def test_sorted_networks_have_slices():
    dataset = xroute.datasets.scheidegger(60, 40, seed=1)
    for partitions in (1, 4):
        ordered = dataset.river.sort(partitions)
        assert (np.diff(ordered.river.partition(partitions).values) >= 0).all()
        assert set(ordered["reach"].values) == set(dataset["reach"].values)


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "2"])
def test_impossible_numbers(n):
    with pytest.raises(ParameterError, match="positive whole number"):
        xroute.datasets.scheidegger(3, 3).river.partition(n)
