"""Backends: one that is registered here, made of the reference alone, routes whatever is routed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import DT, networks, rngs, runoff_array

import xroute
from xroute.block import route_block
from xroute.engine import backends
from xroute.engine.arrays import Gradients, NotFinite, State
from xroute.engine.reference import route_reference
from xroute.exceptions import ParameterError
from xroute.options import find_device
from xroute.parameters import read_parameters
from xroute.schemes import make_filter
from xroute.settings import SAMPLING, RoutingSettings

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*[Mm]uskingum"),  # drawn parameters need not be stable ones
    pytest.mark.filterwarnings("ignore:the state holds at"),  # nor need runs follow on one another in time
]


class Elsewhere:
    """An array that numpy does not know, as if on a device of the backend below."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape


class Meta:
    """Routes by the reference. Its device is one of torch's that holds no values, so its tensors are only counted."""

    name, strided = "meta", False

    def __init__(self) -> None:
        self.calls: list[str] = []

    def find_device(self, name):
        if name != "meta":
            raise ParameterError(f"device {name!r}: there is one only")
        return torch.device("meta")

    def default_device(self):
        return None

    def takes(self, array):
        return isinstance(array, Elsewhere)

    def to_host(self, array):
        return array.values

    def route_arrays(self, runoff, plan, filter, state, settings, rows, exchange, device):
        self.calls.append("arrays")
        n, values = plan.n_reaches, self.to_host(runoff) if self.takes(runoff) else runoff
        links = plan.upstream_reach, np.repeat(np.arange(n), np.diff(plan.upstream_pointer)), plan.upstream_weight
        taps, pointer, pole, gain = filter.arrays()
        own = np.arange(n) if rows.runoff is None else rows.runoff
        inflow = np.where((own >= 0)[:, None], values[:, own].astype(float), 0.0)
        n_bad = int((~np.isfinite(inflow)).sum())
        if settings.nan_is_zero:
            inflow[~np.isfinite(inflow)] = 0.0
        inside = np.arange(max(1, np.diff(pointer).max(initial=1) - 1)) < np.diff(pointer)[:, None] - 1
        lags = np.zeros((len(values), *inside.shape))
        if state is not None:
            lags[:, inside] = state.history
        discharge, lags, last = route_reference(
            inflow * (1.0 if rows.scale is None else rows.scale[:, None]), links, np.split(taps, pointer[1:-1]), pole, gain,
            substeps=settings.substeps, sampling=settings.sampling, lateral=settings.lateral,
            inflow_history=lags[..., : np.diff(pointer).max(initial=1) - 1], outflow=None if state is None else state.outflow,
        )  # fmt: skip
        to = np.arange(n) if rows.discharge is None else rows.discharge
        placed = np.zeros((len(values), n if rows.n is None else rows.n, values.shape[2]))
        placed[:, to[to >= 0]] = discharge[:, to >= 0]
        end = State(lags[:, inside[:, : lags.shape[2]]], last)
        placed = placed.astype(values.dtype)
        return Elsewhere(placed) if self.takes(runoff) else placed, end, NotFinite(n_bad, 0)

    def forward(self, runoff, filter, state, plan, settings, *, keep_trace, keep_state, owner=None):
        self.calls.append("forward")
        n_batch, n, _ = runoff.shape
        end = State(filter.taps.new_empty(n_batch, filter.taps.numel() - n), filter.taps.new_empty(n_batch, n))
        return runoff.new_empty(runoff.shape), end if keep_state else None, runoff.new_empty(0)

    def adjoint(self, grad_discharge, grad_state, runoff, filter, state, discharge, trace, plan, settings, needs):
        self.calls.append("adjoint")
        return Gradients(runoff.new_empty(runoff.shape), *(t.new_empty(t.shape) for t in (filter.taps, *filter[2:])), None)

    def like_discharge(self, runoff):
        self.calls.append("like_discharge")
        return runoff.new_empty(runoff.shape)

    def trace_numel(self, runoff, plan, pointer, settings):
        self.calls.append("trace_numel")
        return 0


@pytest.fixture
def meta(monkeypatch):
    monkeypatch.setattr(backends, "_BACKENDS", dict(backends._BACKENDS))
    backend = Meta()
    backends.register_backend(backend)
    return backend


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    networks(max_size=9), rngs, st.sampled_from([1, 3]), st.sampled_from(SAMPLING), st.sampled_from(["head", "outlet"]),
    st.sampled_from(["float64", "float32"]),
)  # fmt: skip
def test_a_registered_backend_routes(meta, network, rng, substeps, sampling, lateral, dtype):
    """By name, by the option and on Dask: equal to what the CPU gives, but for rounding."""
    network, _ = network
    runoff = runoff_array(network.reach.values, 12, rng, batch={"member": 2}, dtype=dtype)
    options = {"dt": DT, "substeps": substeps, "sampling": sampling, "lateral": lateral, "return_state": True}
    expected, end = xroute.route(runoff, network, device="cpu", **options)
    assert not meta.calls
    peak = float(np.abs(expected).max()) + 1e-30
    allowed = 1e-11 if dtype == "float64" else 1e-6

    def check(found, state, n_calls):
        assert meta.calls == ["arrays"] * n_calls
        meta.calls.clear()
        found.attrs["history"] = expected.attrs["history"]  # which says when
        xr.testing.assert_identical(found.copy(data=expected.values), expected)  # all but the values
        assert float(np.abs(found - expected).max()) <= allowed * peak
        xr.testing.assert_allclose(state, end, rtol=0, atol=1e-11 * peak)

    check(*xroute.route(runoff, network, device="meta", **options), 1)
    with xroute.set_options(device="meta"):
        check(*xroute.route(runoff, network, **options), 1)
        lazy, state = xroute.route(runoff.chunk(time=5), network, partitions=1, **options)
    check(lazy.compute(scheduler="synchronous"), state.compute(scheduler="synchronous"), 6)
    part, state = xroute.route(runoff.isel(time=slice(0, 7)), network, device="meta", **options)
    rest, state = xroute.route(runoff.isel(time=slice(7, None)), network, initial_state=state, device="meta", **options)
    check(xr.concat([part, rest], "time", join="exact").assign_attrs(expected.attrs), state, 2)


@pytest.fixture
def network():
    return xroute.Network(xroute.datasets.scheidegger(4, 3, seed=1))


@pytest.fixture
def runoff(network):
    return runoff_array(network.ids, 6, np.random.default_rng(0))


def test_rows_scale_and_values_that_are_not_finite(meta, network, runoff):
    """What stands in other rows, in other units, or is missing."""
    part = runoff.isel(reach=[5, 2, 9, 0, 7])
    part[{"reach": 1, "time": 2}] = np.nan
    part.attrs["units"] = "L s-1"
    options = {"missing": "zero", "nan": "zero"}
    found, expected = (part.route(network, device=device, **options) for device in ("meta", "cpu"))
    assert meta.calls == ["arrays"]
    xr.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(xroute.XRouteError, match="1 values of runoff are NaN or infinite, on 1 reaches"):
        part.route(network, device="meta", missing="zero")


def test_hillslopes_and_known_discharge_where_it_knows_of_neither(meta, network, runoff):
    """It routes the one with what it has, and is not given the other."""
    found, expected = (runoff.route(network, device=device, hillslope=[0.25, 0.75]) for device in ("meta", "cpu"))
    assert meta.calls == ["arrays", "arrays"]
    xr.testing.assert_allclose(found, expected, rtol=1e-12)
    known = runoff.isel(reach=[3])
    with pytest.raises(ParameterError, match="device 'meta' cannot route with known discharge: choose another"):
        runoff.route(network, device="meta", known=known)
    router = xroute.Router(network, dt=DT, known=known.reach.values)
    values = torch.empty(runoff.sizes["reach"], runoff.sizes["time"], device="meta")
    with pytest.raises(ParameterError, match="device 'meta' cannot route with known discharge: move runoff"):
        router(values, known=torch.zeros(1, values.shape[1]))


def test_its_devices_have_names(meta, network, runoff):
    assert backends.backends() == ("cpu", "cuda", "meta")
    assert find_device("meta") == torch.device("meta")
    assert find_device(None).type != "meta"  # which it does not ask to be
    with pytest.raises(ParameterError, match="device 'meta:1': there is one only"):
        runoff.route(network, device="meta:1")
    with pytest.raises(ParameterError, match="device is 'cpu', 'cuda', 'meta', 'cuda:1', ... or None, not 'abacus'"):
        xroute.set_options(device="abacus")
    meta.default_device = lambda: torch.device("meta")
    with xroute.set_options(device=None):
        assert find_device(None) == torch.device("meta")
    assert not meta.calls


def test_its_arrays_stay_where_they_are(meta, network):
    """Whatever device is named, and discharge is of their kind."""
    made = make_filter(read_parameters(network), DT, network.n_reaches)
    values = np.random.default_rng(0).random((1, network.n_reaches, 5))
    here, end, _ = route_block(values, network.plan, made, None, RoutingSettings())
    there, last, _ = route_block(Elsewhere(values), network.plan, made, None, RoutingSettings(), device=torch.device("cpu"))
    assert meta.calls == ["arrays"] and isinstance(there, Elsewhere)
    np.testing.assert_allclose(backends.on_host(there), here, rtol=1e-12)
    np.testing.assert_allclose(last.channel.outflow, end.channel.outflow, rtol=1e-12)
    assert backends.backend_of_array(there) is meta
    for array in (here, [1.0], memoryview(b"1")):
        assert backends.backend_of_array(array) is None
    np.testing.assert_array_equal(backends.on_host([1.0, 2.0]), [1.0, 2.0])


def test_its_tensors(meta, network):
    """With and without gradients; a backend that is not there is named."""
    router = xroute.Router(network, dt=DT, learnable="k")
    runoff = torch.empty(network.n_reaches, 4, device="meta")
    with torch.no_grad():
        discharge, state = router(runoff, return_state=True)
    assert meta.calls == ["forward"]
    assert discharge.device.type == state.outflow.device.type == "meta" and discharge.shape == runoff.shape
    assert router(runoff).requires_grad
    assert meta.calls[1:] == ["trace_numel", "forward"]
    del backends._BACKENDS["meta"]
    with pytest.raises(ParameterError, match="'meta', where nothing can route it; there are backends for cpu, cuda: move"):
        router(runoff)


def test_names_of_backends():
    for name in ("", "two words", "cuda:1"):
        backend = Meta()
        backend.name = name
        with pytest.raises(ParameterError, match="the name of a backend is a word"):
            backends.register_backend(backend)


def test_nothing_is_imported_before_it_is_needed():
    """Neither torch nor Triton by those who only route on the CPU's default, nor the GPU's rooms where there is none."""
    code = """
import sys, xroute
from xroute.engine.backends import backend_of, backend_of_array
assert not {"torch", "triton", "xroute.engine.gpu.backend"} & set(sys.modules)
backend_of_array([1.0]), backend_of("cuda")
assert not {"torch", "triton", "xroute.engine.gpu.launch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
