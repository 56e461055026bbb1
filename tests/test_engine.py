"""The compiled engine against the slow reference: every scheme, mode and substep, on every shape of network."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_schemes import reference_filters
from strategies import (
    DT,
    INTERVAL,
    PARAMETERS,
    SCHEMES,
    Topology,
    chain,
    make_ids,
    network_dataset,
    networks,
    rngs,
    runoff_array,
    topology,
)

import xroute
from xroute.engine.reference import route_reference, topological_order

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*[Mm]uskingum"),  # drawn parameters need not be stable ones
    pytest.mark.filterwarnings("ignore:the state holds at"),  # nor need runs follow on one another in time
]

SUBSTEPS = (1, 4, 24)
SAMPLINGS = ("mean", "last", "start-mean")


def reference(
    runoff: xr.DataArray, network: xr.Dataset, topology: Topology, state=None, dt: float = DT, **options
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Route with the reference: discharge [batch, reach, time], inflow history, outflow, number of taps by reach."""
    n = topology.n_reaches
    schemes = network["scheme"].values if "scheme" in network else np.array([network.attrs["scheme"]] * n)
    parameters = {name: network[name].values for names in PARAMETERS.values() for name in names if name in network}
    filters = reference_filters(schemes, parameters, dt / options.get("substeps", 1), options.get("lateral", "head"))
    values = runoff.sel(reach=network.reach.values).transpose(..., "reach", "time").values
    values = values.reshape(-1, *values.shape[-2:])
    history, outflow = state or (None, None)
    out = route_reference(values, topology.links, *filters, inflow_history=history, outflow=outflow, **options)
    return *out, np.array([kernel.size for kernel in filters[0]])


def as_array(discharge: xr.DataArray, network: xr.Dataset) -> np.ndarray:
    values = discharge.sel(reach=network.reach.values).transpose(..., "reach", "time").values
    return values.reshape(-1, *values.shape[-2:])


def assert_state_close(state: xr.Dataset, network: xr.Dataset, history, outflow, n_taps, tolerance: float) -> None:
    """The lags that a reach's taps reach back to, and the outflow."""
    state = state.sel(reach=network.reach.values)
    last = state["outflow"].transpose(..., "reach").values.reshape(-1, n_taps.size)
    np.testing.assert_allclose(last, outflow, rtol=0, atol=tolerance)
    if "inflow" not in state:  # no reach looks back
        assert n_taps.max() == 1
        return
    lags = state["inflow"].transpose(..., "reach", "lag").values
    lags = lags.reshape(outflow.shape[0], *lags.shape[-2:])
    assert lags.shape[-1] >= n_taps.max() - 1
    for i, n in enumerate(n_taps):
        np.testing.assert_allclose(lags[:, i, : n - 1], history[:, i, : n - 1], rtol=0, atol=tolerance)


def cases() -> list[tuple[str, str, str, int]]:
    return [
        (scheme, lateral, sampling, substeps)
        for scheme in (*SCHEMES, "mixed")
        for lateral in ("head", "interval", "outlet")
        for sampling in SAMPLINGS
        for substeps in SUBSTEPS
        if lateral != "interval" or scheme in INTERVAL
    ]


@pytest.mark.parametrize(("scheme", "lateral", "sampling", "substeps"), cases())
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_engine_equals_reference(scheme, lateral, sampling, substeps, data):
    network, shape = data.draw(networks(scheme, max_size=9))
    n_batch = data.draw(st.sampled_from([1, 3]))
    rng = data.draw(rngs)
    runoff = runoff_array(network.reach.values, data.draw(st.integers(1, 14)), rng, batch={"member": n_batch})
    options = {"lateral": lateral, "sampling": sampling, "substeps": substeps}
    routed, state = xroute.route(runoff, network, return_state=True, dt=DT, **options)
    expected, history, outflow, n_taps = reference(runoff, network, shape, **options)
    peak = max(np.abs(part).max(initial=0.0) for part in (expected, history, outflow))
    assert routed.dtype == np.float64
    np.testing.assert_allclose(as_array(routed, network), expected, rtol=0, atol=1e-12 * peak)
    assert_state_close(state, network, history, outflow, n_taps, 1e-12 * peak)

    # from that state on, with other runoff, in float32
    runoff = runoff_array(network.reach.values, 3, rng, batch={"member": n_batch}, dtype="float32")
    routed, state = xroute.route(runoff, network, initial_state=state, return_state=True, dt=DT, **options)
    expected, history, outflow, _ = reference(runoff, network, shape, (history, outflow), **options)
    peak = max(np.abs(part).max(initial=0.0) for part in (expected, history, outflow))
    assert routed.dtype == np.float32
    np.testing.assert_allclose(as_array(routed, network), expected, rtol=0, atol=1e-5 * peak)
    assert_state_close(state, network, history, outflow, n_taps, 1e-12 * peak)


@pytest.mark.parametrize("substeps", SUBSTEPS)
@pytest.mark.parametrize("lateral", ["head", "outlet"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_split_in_time_is_bit_identical(substeps, lateral, sampling, data):
    network, _ = data.draw(networks(max_size=9))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    n_time = data.draw(st.integers(2, 40))
    runoff = runoff_array(network.reach.values, n_time, data.draw(rngs), batch={"member": 2}, dtype=dtype)
    options = {"substeps": substeps, "lateral": lateral, "sampling": sampling, "dt": DT, "return_state": True}
    whole, final = xroute.route(runoff, network, **options)
    cuts = sorted(data.draw(st.sets(st.integers(1, n_time - 1), max_size=4)))
    parts, state = [], None
    for start, stop in zip([0, *cuts], [*cuts, n_time], strict=True):
        part, state = xroute.route(runoff.isel(time=slice(start, stop)), network, initial_state=state, **options)
        parts.append(part)
    np.testing.assert_array_equal(xr.concat(parts, "time", join="exact").values, whole.values)
    xr.testing.assert_equal(state, final)


@pytest.mark.parametrize("shape", ["tree", "forest", "bifurcating", "edgeless"])
@pytest.mark.parametrize("scheme", ["muskingum", "hayami", "mixed"])
@pytest.mark.parametrize("n_batch", [1, 5])
def test_large_networks_with_many_tasks_and_blocks(shape, scheme, n_batch):
    """Enough reaches for several tributary tasks and a trunk, enough steps for several blocks of time."""
    rng = np.random.default_rng([len(shape), len(scheme), n_batch])
    n, n_time, substeps = (1100 if scheme == "hayami" else 2500, 70, 1) if n_batch == 1 else (300, 190, 4)
    drawn = topology(shape, n, rng)
    schemes = rng.choice(np.array(SCHEMES), n) if scheme == "mixed" else scheme
    network = network_dataset(drawn, make_ids("beyond_2_31", n, rng), schemes, rng)
    runoff = runoff_array(network.reach.values, n_time, rng, batch={"member": n_batch}).isel(reach=rng.permutation(n))
    routed, state = xroute.route(runoff, network, substeps=substeps, return_state=True)
    expected, history, outflow, n_taps = reference(runoff, network, drawn, substeps=substeps)
    peak = np.abs(expected).max()
    np.testing.assert_allclose(as_array(routed, network), expected, rtol=0, atol=1e-12 * peak)
    assert_state_close(state, network, history, outflow, n_taps, 1e-12 * peak)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_long_series_cross_blocks_of_time(sampling):
    """Blocks inside the engine must no more show than chunks outside it."""
    rng = np.random.default_rng(5)
    drawn = topology("tree", 20, rng)
    network = network_dataset(drawn, make_ids("small", 20, rng), "muskingum", rng)
    runoff = runoff_array(network.reach.values, 1500, rng)
    for lateral in ("head", "interval", "outlet"):
        routed = xroute.route(runoff, network, substeps=3, sampling=sampling, lateral=lateral)
        expected, *_ = reference(runoff, network, drawn, substeps=3, sampling=sampling, lateral=lateral)
        assert np.abs(as_array(routed, network) - expected).max() <= 1e-12 * np.abs(expected).max()


def test_threads_do_not_change_a_bit():
    rng = np.random.default_rng(11)
    drawn = topology("bifurcating", 3000, rng)
    network = network_dataset(drawn, make_ids("small", 3000, rng), "muskingum", rng)
    runoff = runoff_array(network.reach.values, 30, rng, batch={"member": 2})
    with xroute.set_options(threads=1):
        alone = xroute.route(runoff, network)
    with xroute.set_options(threads=4):
        together = xroute.route(runoff, network)
    again = xroute.route(runoff.isel(member=[1]), network)
    np.testing.assert_array_equal(alone.values, together.values)
    np.testing.assert_array_equal(alone.isel(member=[1]).values, again.values)


@pytest.mark.parametrize(
    ("scheme", "parameters"),
    [
        ("muskingum", {"k": (1.0, "h"), "x": 0.25}),
        ("linear_storage", {"tau": (1.0, "h")}),
        ("hayami", {"length": 2000.0, "diffusivity": 500.0, "celerity": 1.5}),
    ],
)
def test_a_chain_of_3000_reaches_in_float32(scheme, parameters):
    network = chain(3000, scheme, **parameters)
    rng = np.random.default_rng(3)
    runoff = runoff_array(network.reach.values, 120, rng, dtype="float32")
    drawn = Topology(3000, np.arange(2999), np.arange(1, 3000), np.ones(2999), "tree")
    si = network.assign({name: ("reach", network[name].values * 3600.0) for name in ("k", "tau") if name in network})
    expected, *_ = reference(runoff, si, drawn)
    routed = xroute.route(runoff, network)
    assert routed.dtype == np.float32
    outlet, expected_outlet = routed.sel(reach=3000).values.astype(float), expected[0, -1]
    assert np.linalg.norm(outlet - expected_outlet) <= 1e-5 * np.linalg.norm(expected_outlet)
    assert np.linalg.norm(as_array(routed, network) - expected) <= 1e-5 * np.linalg.norm(expected)


def test_a_deep_chain_with_tau_of_one_step_is_exact():
    """A peer's circular transform gives NSE 0.17 here, its window being shorter than the river is slow."""
    network = chain(50, "linear_storage", tau=(1.0, "h"))
    n_time = 400
    runoff = runoff_array(network.reach.values, n_time, np.random.default_rng(0)) * 0.0
    runoff.attrs["units"] = "m3 s-1"
    runoff[{"reach": 0, "time": 0}] = 1.0
    from scipy.stats import nbinom  # 50 storages in a row are the negative binomial distribution

    expected = nbinom(50, 0.5).pmf(np.arange(n_time))
    np.testing.assert_allclose(xroute.route(runoff, network).sel(reach=50).values, expected, rtol=0, atol=1e-14)


def test_pure_lags_arrive_when_they_should():
    """Along 40 reaches of 2.5 hours each nothing wraps round to an early hour."""
    network = chain(40, "pure_lag", delay=(2.5, "h"))
    runoff = runoff_array(network.reach.values, 160, np.random.default_rng(0)) * 0.0
    runoff.attrs["units"] = "m3 s-1"
    runoff[{"reach": 0, "time": 0}] = 1.0
    outlet = xroute.route(runoff, network, substeps=2, sampling="last").sel(reach=40).values
    assert np.flatnonzero(outlet).tolist() == [100]  # 40 x 2.5 hours: the substep that ends an hour's step 100
    outlet = xroute.route(runoff, network, substeps=2, sampling="mean").sel(reach=40).values
    np.testing.assert_allclose(outlet[100], 1.0)
    np.testing.assert_allclose(outlet.sum(), 1.0)


def test_slow_lakes_conserve_mass_in_float32():
    network = chain(3, "linear_storage", tau=DT * 10_000.0)
    runoff = runoff_array(network.reach.values, 200, np.random.default_rng(1), dtype="float32")
    _, state = xroute.route(runoff, network, return_state=True)
    nothing = np.zeros((3, 250_000), np.float32)
    still = xr.DataArray(nothing, dims=("reach", "time"), coords={"reach": network.reach}, attrs=runoff.attrs)
    early = xroute.route(runoff, network).sel(reach=3).astype(float).sum()
    late = xroute.route(still, network, initial_state=state, dt=DT).sel(reach=3).astype(float).sum()
    assert float(early + late) == pytest.approx(float(runoff.astype(float).sum()), rel=1e-5)


def test_long_taps_on_few_reaches():
    """Ragged taps: a long lag stands beside reaches of one tap and two."""
    network = network_dataset(
        topology("tree", 6, np.random.default_rng(2)),
        np.arange(1, 7),
        np.array(["muskingum", "linear_storage", "pure_lag", "muskingum", "pure_lag", "hayami"]),
        np.random.default_rng(2),
    )
    network["delay"].values[2] = 1000.25 * DT
    drawn = topology("tree", 6, np.random.default_rng(2))
    runoff = runoff_array(network.reach.values, 1300, np.random.default_rng(4))
    expected, *_ = reference(runoff, network, drawn)
    routed = xroute.route(runoff, network)
    np.testing.assert_allclose(as_array(routed, network), expected, rtol=0, atol=1e-12 * expected.max())


def test_the_reference_knows_a_cycle_and_its_options():
    with pytest.raises(ValueError, match="cycle"):
        topological_order(3, np.array([0, 1, 2]), np.array([1, 2, 1]))
    arguments = (np.zeros((1, 1, 2)), ([], [], []), [[1.0]], [0.0], [0.0])
    with pytest.raises(ValueError, match="sampling"):
        route_reference(*arguments, sampling="median")
    with pytest.raises(ValueError, match="lateral"):
        route_reference(*arguments, lateral="middle")
    with pytest.raises(ValueError, match="poles"):
        route_reference(np.zeros((1, 2, 2)), *arguments[1:])


def test_the_reference_by_hand():
    """Two headwaters, a lake below; values worked out on paper."""
    runoff = np.array([[[4.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 0.0]]])
    links = ([0, 1], [2, 2], [1.0, 0.5])
    taps = [[0.0, 1.0], [1.0], [0.5]]
    discharge, history, outflow = route_reference(runoff, links, taps, [0.0, 0.0, 0.5], np.zeros(3))
    assert discharge[0].tolist() == [[0.0, 4.0, 0.0], [0.0, 8.0, 0.0], [0.0, 4.0, 2.0]]
    assert history[0].tolist() == [[0.0], [0.0], [0.0]]
    assert outflow[0].tolist() == [0.0, 0.0, 2.0]
    twice, *_ = route_reference(runoff, links, taps, [0.0, 0.0, 0.5], np.zeros(3), substeps=2, sampling="last")
    assert twice[0, 0].tolist() == [4.0, 0.0, 0.0]
    assert twice[0, 2].tolist() == [2.0, 4.5, 1.125]
