"""Where `route` computes: the choice of a device, and on a GPU the way through pinned memory, cupy and several devices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import xroute
from xroute.engine.autograd import route_autograd
from xroute.exceptions import ParameterError
from xroute.options import find_device
from xroute.parameters import read_parameters
from xroute.schemes import make_filter

CUDA = torch.cuda.is_available()
on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="no GPU")]
marked_gpu = pytest.mark.parametrize("device", [pytest.param("cuda", marks=on_gpu)])
N_TIME = 200


@pytest.fixture(scope="module")
def network() -> xroute.Network:
    return xroute.Network(xroute.datasets.scheidegger(30, 25, seed=1))


@pytest.fixture
def runoff(network: xroute.Network) -> xr.DataArray:
    rng = np.random.default_rng(0)
    return xr.DataArray(
        rng.random((3, network.n_reaches, N_TIME)).astype(np.float32),
        dims=("member", "reach", "time"),
        coords={"reach": network.ids, "time": np.datetime64("2001-01-01") + np.arange(N_TIME) * np.timedelta64(1, "h")},
        attrs={"units": "m3 s-1"},
    )


def assert_near(found: xr.DataArray, expected: xr.DataArray, rtol: float = 1e-6) -> None:
    """Equal labels, and values to a share of the peak."""
    assert found.dims == expected.dims and found.dtype == expected.dtype
    xr.testing.assert_allclose(found.coords.to_dataset(), expected.coords.to_dataset())
    assert float(abs(found - expected).max()) <= rtol * float(abs(expected).max())


# ── the choice ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "meta", 3.5])
def test_unknown_devices(name, runoff, network):
    with pytest.raises(ParameterError, match="'cpu', 'cuda', 'cuda:1'"):
        runoff.route(network, device=name)


def test_missing_gpu_is_an_error(runoff, network):
    name = f"cuda:{torch.cuda.device_count() if CUDA else 0}"
    with pytest.raises(ParameterError, match=r"sees \d+ GPUs here.*device='cpu'"):
        runoff.route(network, device=name)


def test_the_option_holds_for_a_block():
    before = find_device(None)
    with xroute.set_options(device="cpu"):
        assert find_device(None) == torch.device("cpu")
        for value in ("abacus", "cuda:x", "cuda:", "meta", 0, 3.5):
            with pytest.raises(ParameterError, match="device is 'cpu', 'cuda', 'cuda:1', ... or None, not"):
                xroute.set_options(device=value)
        for value in (torch.device("cpu"), "cpu:0"):
            with xroute.set_options(device=value):
                assert find_device(None).type == "cpu"
        with xroute.set_options(device="cuda:99"), pytest.raises(ParameterError, match="GPUs here"):
            find_device(None)
        assert find_device(None) == torch.device("cpu")
    assert find_device(None) == before


def test_without_triton_the_cpu_routes(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with xroute.set_options(device=None):
        assert find_device(None) == torch.device("cpu")
    if CUDA:
        with pytest.raises(ParameterError, match="needs the package triton"):
            find_device("cuda")


# ── on a GPU ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@marked_gpu
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", ">f4"])
def test_host_to_host(device, dtype, runoff, network):
    given = (100 * runoff).astype(dtype, keep_attrs=True)
    assert_near(given.route(network, device=device), given.route(network, device="cpu"))


@marked_gpu
def test_the_gpu_is_the_default(device, runoff, network):
    with xroute.set_options(device=None):
        np.testing.assert_array_equal(runoff.route(network).values, runoff.route(network, device=device).values)


@marked_gpu
@pytest.mark.parametrize(
    "dims", [("time", "reach", "member"), ("reach", "time", "member"), ("time", "member", "reach")]
)
def test_any_layout(device, dims, runoff, network):
    shuffled = runoff.isel(reach=np.random.default_rng(1).permutation(network.n_reaches)).transpose(*dims)
    turned = shuffled.copy(data=np.asfortranarray(shuffled.values))
    expected = shuffled.route(network, device="cpu")
    assert_near(shuffled.route(network, device=device), expected)
    assert_near(turned.route(network, device=device), expected)
    turned_round = shuffled.copy(data=np.ascontiguousarray(shuffled.values[::-1, ::-1, ::-1])[::-1, ::-1, ::-1])
    assert min(turned_round.values.strides) < 0
    assert_near(turned_round.route(network, device=device), expected)


@marked_gpu
def test_missing_and_extra_reaches(device, runoff, network):
    part = runoff.isel(reach=slice(50, None))
    expected = part.route(network, device="cpu", missing="zero")
    assert_near(part.route(network, device=device, missing="zero"), expected)
    more = xr.concat([runoff, runoff.isel(reach=[0]).assign_coords(reach=[10**6])], "reach")
    assert_near(more.route(network, device=device, extra="drop"), more.route(network, device="cpu", extra="drop"))


@marked_gpu
def test_missing_values(device, runoff, network):
    holed = runoff.where(runoff > 0.01).assign_attrs(runoff.attrs)
    assert_near(holed.route(network, device=device, nan="zero"), holed.route(network, device="cpu", nan="zero"))
    with pytest.raises(xroute.exceptions.XRouteError, match=r"(?i)nan"):
        holed.route(network, device=device)


@marked_gpu
@pytest.mark.parametrize("options", [{}, {"substeps": 3, "lateral": "outlet", "sampling": "start-mean"}])
def test_state_goes_on_elsewhere(device, options, runoff, network):
    whole = runoff.route(network, device="cpu", **options)
    first, state = runoff.isel(time=slice(0, 70)).route(network, device=device, return_state=True, **options)
    rest = runoff.isel(time=slice(70, None))
    for where in (device, "cpu"):
        assert_near(
            xr.concat([first, rest.route(network, initial_state=state, device=where, **options)], "time"), whole
        )


@marked_gpu
@pytest.mark.parametrize("block", [8, 56, 199, 200, 1000])
def test_blocks_of_time(device, block, runoff, network, monkeypatch):
    whole = runoff.route(network, device=device)
    monkeypatch.setattr("xroute.engine.gpu.host.block_length", lambda *_: block)
    assert_near(runoff.route(network, device=device), whole)
    monkeypatch.setattr("xroute.engine.gpu.staging.STAGE_BYTES", 4096)
    monkeypatch.setattr("xroute.engine.gpu.host.PINNED_BYTES", 0)
    assert_near(runoff.route(network, device=device), whole)


@marked_gpu
def test_cupy_stays_on_the_device(device, runoff, network):
    cupy = pytest.importorskip("cupy")
    expected = runoff.route(network, device="cpu")
    for array in (runoff, runoff.transpose("time", "reach", "member"), runoff[:, ::-1]):
        given = array.copy(data=cupy.asarray(array.values))
        routed, state = given.route(network, return_state=True)
        assert isinstance(routed.data, cupy.ndarray) and isinstance(state["outflow"].data, np.ndarray)
        assert_near(routed.copy(data=routed.data.get()), array.route(network, device="cpu"))
    assert_near(given.route(network, initial_state=None).as_numpy()[:, ::-1], expected)


@marked_gpu
def test_another_gpu(device, runoff, network):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU only")
    other = "cuda:1"
    assert_near(runoff.route(network, device=other), runoff.route(network, device="cpu"))
    values = torch.from_numpy(runoff.values)
    made = make_filter(read_parameters(network), 3600.0, network.n_reaches)
    found = []
    for where in ("cuda:0", other, "cpu"):
        given = values.to(where).requires_grad_()
        discharge, *_ = route_autograd(given, network.plan, made)
        discharge.square().sum().backward()
        assert discharge.device == given.grad.device == torch.device(where)
        found.append((discharge.detach().cpu(), given.grad.cpu()))
    for one, two, truth in zip(*found, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, truth, rtol=1e-4, atol=1e-5 * float(truth.abs().max()))
