"""What must hold whatever the network and the scheme: order does not matter, routing is linear, water is conserved."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DT, INTERVAL, Topology, chain, networks, rngs, runoff_array, runoffs, small_network

import xroute

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")  # drawn parameters need not be stable ones

samplings = st.sampled_from(["mean", "last", "start-mean"])
few = settings(max_examples=25, deadline=None)


@st.composite
def cases(draw, **shape) -> tuple[xr.Dataset, Topology, str]:
    """A network and a lateral mode that its schemes know."""
    lateral = draw(st.sampled_from(["head", "interval", "outlet"]))
    return *draw(networks(draw(st.sampled_from(INTERVAL)) if lateral == "interval" else None, **shape)), lateral


def accumulate(values: np.ndarray, drawn: Topology) -> np.ndarray:
    """Sum [..., reach, time] over everything upstream, each link taking its fraction."""
    total = values.copy()
    waiting = np.bincount(drawn.downstream, minlength=drawn.n_reaches)
    ready = list(np.flatnonzero(waiting == 0))
    while ready:
        reach = ready.pop()
        for link in np.flatnonzero(drawn.upstream == reach):
            target = drawn.downstream[link]
            total[..., target, :] += drawn.fraction[link] * total[..., reach, :]
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return total


def leaving(discharge: xr.DataArray, network: xr.Dataset, drawn: Topology) -> np.ndarray:
    """What leaves the network in each step: outlets' discharge, and the shares that no link takes."""
    share = 1.0 - np.bincount(drawn.upstream, weights=drawn.fraction, minlength=drawn.n_reaches)
    values = discharge.sel(reach=network.reach.values).transpose(..., "reach", "time").values
    return np.einsum("i,...it->...t", share, values)


@few
@given(data=st.data())
def test_order_of_reaches_and_dims_only_permutes_the_result(data):
    network, _, lateral = data.draw(cases())
    runoff = data.draw(runoffs(network.reach.values, shuffled=False))
    options = {"lateral": lateral, "sampling": data.draw(samplings), "dt": DT}
    expected = xroute.route(runoff, network, **options)
    rng = data.draw(rngs)
    shuffled = network.isel(reach=rng.permutation(network.sizes["reach"]))
    if "link" in network.dims:
        shuffled = shuffled.isel(link=rng.permutation(network.sizes["link"]))
    dims = data.draw(st.permutations(runoff.dims))
    given_ = runoff.isel(reach=rng.permutation(runoff.sizes["reach"])).transpose(*dims)
    routed = xroute.route(given_, shuffled, **options)
    assert routed.dims == given_.dims
    np.testing.assert_array_equal(routed.reach.values, given_.reach.values)
    realigned = routed.sel(reach=runoff.reach.values).transpose(*expected.dims)
    np.testing.assert_array_equal(realigned.values, expected.values)
    xr.testing.assert_equal(realigned, expected)


@few
@given(data=st.data())
def test_members_of_a_batch_do_not_know_of_each_other(data):
    network, _ = data.draw(networks())
    runoff = runoff_array(network.reach.values, 9, data.draw(rngs), batch={"model": 3, "member": 2})
    whole = xroute.route(runoff, network)
    for model in range(3):
        one = xroute.route(runoff.isel(model=model, member=1), network)
        np.testing.assert_array_equal(whole.isel(model=model, member=1).values, one.values)
    turned = xroute.route(runoff.isel(model=[2, 0, 1]), network)
    xr.testing.assert_identical(turned.drop_attrs(), whole.isel(model=[2, 0, 1]).drop_attrs())


@few
@given(data=st.data())
def test_routing_is_linear(data):
    network, _, lateral = data.draw(cases())
    rng = data.draw(rngs)
    options = {"lateral": lateral, "sampling": data.draw(samplings)}
    one, two = (runoff_array(network.reach.values, 12, rng) for _ in range(2))
    both = (2.0 * one - 3.0 * two).assign_attrs(units="m3 s-1")
    expected = 2.0 * xroute.route(one, network, **options) - 3.0 * xroute.route(two, network, **options)
    np.testing.assert_allclose(
        xroute.route(both, network, **options).values, expected.values, rtol=0, atol=1e-12 * (1 + abs(expected).max())
    )


@few
@given(data=st.data())
def test_mass_balance_closes(data):
    """Volume in = volume out + what is stored, that is, what runs out of the state when nothing more comes in."""
    network, drawn, lateral = data.draw(cases())
    runoff = runoff_array(network.reach.values, 15, data.draw(rngs), batch={"member": 2})
    options = {"lateral": lateral, "substeps": data.draw(st.sampled_from([1, 3]))}
    discharge, state = xroute.route(runoff, network, return_state=True, **options)
    out = leaving(discharge, network, drawn).sum(-1)
    still = xr.DataArray(
        np.zeros((2, drawn.n_reaches, 6000)),
        dims=("member", "reach", "time"),
        coords={"member": runoff.member, "reach": network.reach.values},
        attrs={"units": "m3 s-1"},
    )
    tail = xroute.route(still, network, initial_state=state, dt=DT, **options)
    stored = leaving(tail, network, drawn).sum(-1)
    brought = runoff.sum(("reach", "time")).values
    np.testing.assert_allclose(out + stored, brought, rtol=1e-9, atol=1e-12)


@few
@given(data=st.data())
def test_splitting_in_time_gives_identical_bits(data):
    network, _, lateral = data.draw(cases())
    runoff = data.draw(runoffs(network.reach.values, min_time=3))
    n_time = runoff.sizes["time"]
    options = {"lateral": lateral, "sampling": data.draw(samplings), "dt": DT, "return_state": True}
    whole, final = xroute.route(runoff, network, **options)
    cut = data.draw(st.integers(1, n_time - 1))
    first, state = xroute.route(runoff.isel(time=slice(cut)), network, **options)
    second, state = xroute.route(runoff.isel(time=slice(cut, None)), network, initial_state=state, **options)
    joined = xr.concat([first, second], "time").transpose(*whole.dims)
    np.testing.assert_array_equal(joined.values, whole.values)
    xr.testing.assert_equal(state, final)


@few
@given(data=st.data())
def test_without_lag_routing_is_upstream_accumulation(data):
    network, drawn = data.draw(networks("pure_lag"))
    network["delay"] = ("reach", np.zeros(drawn.n_reaches), {"units": "s"})
    runoff = runoff_array(network.reach.values, 6, data.draw(rngs))
    expected = accumulate(runoff.values, drawn)
    for options in ({}, {"lateral": "outlet"}, {"substeps": 4, "sampling": "last"}):
        np.testing.assert_allclose(xroute.route(runoff, network, **options).values, expected, rtol=1e-13, atol=1e-13)


@few
@given(data=st.data())
def test_steady_runoff_accumulates_whatever_the_scheme(data):
    network, drawn, lateral = data.draw(cases(max_size=6))
    ids = network.reach.values
    steady = runoff_array(ids, 1, data.draw(rngs))
    held = xr.DataArray(
        np.repeat(steady.values, 4000, -1), dims=("reach", "time"), coords={"reach": ids}, attrs={"units": "m3 s-1"}
    )
    last = xroute.route(held, network, dt=DT, lateral=lateral).isel(time=-1)
    np.testing.assert_allclose(last.values, accumulate(steady.values, drawn)[:, 0], rtol=1e-9, atol=1e-12)


def test_time_shift_shifts_the_result():
    network = chain(6, "muskingum", k=(1.0, "h"), x=0.2)
    runoff = runoff_array(network.reach.values, 30, np.random.default_rng(0))
    late = runoff.copy(data=np.roll(runoff.values, 7, -1))
    late.values[:, :7] = 0.0
    routed, shifted = (xroute.route(r, network).values for r in (runoff, late))
    np.testing.assert_array_equal(shifted[:, 7:], routed[:, :-7])


def test_a_diamond_of_links():
    """Apart and together again; a peer leaves uninitialised rows here."""
    network = xr.Dataset(
        {
            "upstream_reach": ("link", [1, 1, 2, 3]),
            "downstream_reach": ("link", [2, 3, 4, 4]),
            "fraction": ("link", [0.25, 0.75, 1.0, 1.0]),
            "delay": ("reach", [0.0, 2.0, 5.0, 0.0], {"units": "h"}),
        },
        coords={"reach": [1, 2, 3, 4]},
        attrs={"scheme": "pure_lag"},
    )
    runoff = runoff_array(network.reach.values, 8, np.random.default_rng(0)) * 0.0
    runoff.attrs["units"] = "m3 s-1"
    runoff[0, 0] = 1.0
    routed = xroute.route(runoff, network)
    assert routed.sel(reach=4).values.tolist() == [0, 0, 0.25, 0, 0, 0.75, 0, 0]


def test_a_remainder_leaves_the_network():
    network = xr.Dataset(
        {
            "upstream_reach": ("link", [1]),
            "downstream_reach": ("link", [2]),
            "fraction": ("link", [0.6]),
            "delay": ("reach", [0.0, 0.0], {"units": "h"}),
        },
        coords={"reach": [1, 2]},
        attrs={"scheme": "pure_lag"},
    )
    runoff = runoff_array(network.reach.values, 3, np.random.default_rng(0)) * 0.0 + 1.0
    routed = xroute.route(runoff.assign_attrs(units="m3 s-1"), network)
    np.testing.assert_allclose(routed.values, [[1.0] * 3, [1.6] * 3])


def test_reaches_without_any_link():
    """A peer crashes on a graph without links."""
    network = small_network({3: 0, 1: 0, 2: 0}, "linear_storage", tau=(1.0, "h"))
    runoff = runoff_array(network.reach.values, 5, np.random.default_rng(0))
    routed = xroute.route(runoff, network)
    for reach in (1, 2, 3):
        alone = xroute.route(runoff.sel(reach=[reach]), small_network({reach: 0}, "linear_storage", tau=(1.0, "h")))
        np.testing.assert_array_equal(routed.sel(reach=[reach]).values, alone.values)
