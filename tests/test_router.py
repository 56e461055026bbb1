"""The routing module: it routes as `xroute.route` does, keeps bounds, learns, and is saved and moved as modules are."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from strategies import DT, make_ids, network_dataset, runoff_array, small_network, topology

import xroute
from xroute.exceptions import ParameterError, StateError, TimeAxisError
from xroute.router import Router

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")


def river(scheme="muskingum", n: int = 8, shape: str = "tree", seed: int = 0):
    rng = np.random.default_rng(seed)
    return network_dataset(topology(shape, n, rng), make_ids("small", n, rng), scheme, rng)


def mixed(n: int = 10):
    """All schemes; tau is both linear_storage's and nash_cascade's."""
    names = ["linear_storage", "muskingum", "pure_lag", "nash_cascade", "hayami"]
    return river(np.resize(names, n), n, "bifurcating", seed=1)


def dry(n: int = 8, n_time: int = 30, *batch: int, dtype=torch.float64) -> torch.Tensor:
    return torch.rand(*batch, n, n_time, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"substeps": 3, "sampling": "last", "lateral": "outlet"},
        {"substeps": 2, "sampling": "start-mean", "lateral": "interval"},
        {"substeps": "auto"},
        {"scheme": "linear_storage"},
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_routes_as_route_does(options, dtype):
    network = river()
    network["tau"] = ("reach", network.k.values)
    runoff = runoff_array(network.reach.values, 30, np.random.default_rng(0), batch={"member": 3}, dtype=dtype)
    router = Router(network, dt="1h", **options)
    expected = runoff.route(network, **options)
    discharge = router(torch.from_numpy(runoff.values))
    assert np.array_equal(router.ids, network.reach.values)
    np.testing.assert_array_equal(discharge.numpy(), expected.values)
    np.testing.assert_array_equal(router(torch.from_numpy(runoff.values[1])).numpy(), expected.values[1])


def test_mixed_schemes_and_learnable_values_start_where_the_network_says():
    network = mixed()
    network["delay"] = network["delay"] + 60.0  # a delay of zero is on its bound
    runoff = runoff_array(network.reach.values, 30, np.random.default_rng(0))
    router = Router(network, dt=DT, learnable=("tau", "x", "delay", "celerity"))
    learned = {name for name, _ in router.named_parameters()}
    assert learned == {
        "values.linear_storage.tau.raw", "values.nash_cascade.tau.raw", "values.muskingum.x.raw",
        "values.pure_lag.delay.raw", "values.hayami.celerity.raw",
    }  # fmt: skip
    for name, values in router.parameters_si.items():
        here = ~np.isnan(network[name].values)
        np.testing.assert_allclose(values.detach()[here], network[name].values[here], rtol=1e-12)
    discharge = router(torch.from_numpy(runoff.values))
    np.testing.assert_allclose(discharge.detach(), runoff.route(network).values, rtol=1e-9, atol=1e-12)
    discharge.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in router.parameters())


def test_parameters_given_from_outside():
    network = mixed()
    router = Router(network, dt=DT, learnable="tau")
    own = {name: v.detach() for name, v in router.parameters_si.items()}
    expected = router(dry(10))
    given = {"tau": own["tau"].clone().requires_grad_(), "x": own["x"].clone().requires_grad_()}
    discharge = router(dry(10), given)
    torch.testing.assert_close(discharge, expected, rtol=1e-12, atol=1e-12)
    discharge.sum().backward()
    for name, value in given.items():  # only the reaches that have the parameter move it
        assert torch.equal(value.grad != 0, ~own[name].isnan()), name
    assert all(p.grad is None for p in router.parameters())
    slower = router(dry(10), {"tau": 2 * own["tau"]})
    assert not torch.allclose(slower, expected)


def test_state_goes_on():
    for network, n in ((mixed(), 10), (river(), 8)):
        router = Router(network, dt=DT, substeps=2)
        runoff = dry(n, 30, 2)
        whole, end = router(runoff, return_state=True)
        first, state = router(runoff[..., :11], return_state=True)
        second, state = router(runoff[..., 11:], state=state, return_state=True)
        assert torch.equal(torch.cat([first, second], -1), whole)
        assert torch.equal(state.outflow, end.outflow) and torch.equal(state.history, end.history)


def test_gradients_flow_through_the_state():
    router = Router(mixed(), dt=DT, learnable="k")
    runoff = dry(10, 20).requires_grad_()
    weight = dry(10, 20).flip(0)
    (expected,) = torch.autograd.grad((router(runoff) * weight).sum(), runoff)
    first, state = router(runoff[:, :9], return_state=True)
    second = router(runoff[:, 9:], state=state)
    loss = (torch.cat([first, second], -1) * weight).sum()
    (found,) = torch.autograd.grad(loss, runoff, retain_graph=True)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    detached = router(runoff[:, 9:], state=state.detach())
    (found,) = torch.autograd.grad(detached.sum(), runoff)
    assert not found[:, :9].any()


def test_state_of_windows_that_have_changed():
    """The past inflow of a reach cannot be used with a window of another length: nothing is filled in for it."""
    router = Router(river("nash_cascade"), dt=DT)
    runoff = dry(8, 20, 1)
    _, state = router(runoff, return_state=True)
    longer = {"tau": 2 * router.parameters_si["tau"]}
    _, grown = router(runoff, longer, return_state=True)
    assert (grown.n_lags > state.n_lags).all()
    for parameters, of_another in ((longer, state), (None, grown)):
        with pytest.raises(StateError, match="8 reaches now have a window of another length: 6, 8, 7"):
            router(runoff, parameters, of_another)
    with pytest.raises(StateError, match="of 1 members x 8 reaches, not of 2 x 8"):
        router(dry(8, 20, 2), state=state)


@pytest.mark.parametrize("scheme", ["muskingum", "linear_storage", "nash_cascade", "hayami", "pure_lag"])
def test_bounds_hold_wherever_an_optimiser_goes(scheme):
    network = river(scheme)
    if scheme == "pure_lag":
        network["delay"] = network["delay"] + 60.0
    described = xroute.schemes.SCHEMES[scheme].parameters
    router = Router(network, dt=DT, learnable=[p.name for p in described])
    for value in (-1e6, -50.0, -1.0, 2.0, 50.0, 1e6):
        with torch.no_grad():
            for raw in router.parameters():
                raw.fill_(value)
        for p in described:
            p.check(router.parameters_si[p.name].detach().numpy(), network.reach.values, scheme)


def test_bounds_of_every_kind():
    made = [
        xroute.Parameter("both", low=-1.0, high=3.0, low_open=True),
        xroute.Parameter("above", low=5.0, low_open=True),
        xroute.Parameter("below", high=-2.0),
        xroute.Parameter("free"),
    ]

    def taps(dt, both, above, below, free):
        return torch.stack([both, above, below, free], dim=1)

    xroute.register_scheme("test.values", made, taps=taps, replace=True)
    try:
        start = {"both": [0.5, 2.0], "above": [5.5, 7.0], "below": [-3.0, -9.0], "free": [-4.0, 4.0]}
        network = small_network({1: 2, 2: 0}, "test.values")
        network = network.assign({name: ("reach", np.array(v)) for name, v in start.items()})
        router = Router(network, dt=DT, learnable=list(start))
        for name, value in start.items():
            torch.testing.assert_close(router.parameters_si[name].detach(), torch.tensor(value, dtype=torch.float64))
        for value in (-1e9, 1e9):
            with torch.no_grad():
                for raw in router.parameters():
                    raw.fill_(value)
            for p in made:
                p.check(router.parameters_si[p.name].detach().numpy(), network.reach.values, "test.values")
    finally:
        del xroute.schemes.SCHEMES["test.values"]


def test_start_on_a_bound():
    network = river()
    network["x"][2:4] = 0.0
    Router(network, dt=DT, learnable="k")
    ids = ", ".join(str(i) for i in network.reach.values[2:4])
    with pytest.raises(ParameterError, match=f"2 reaches start on a bound of 0 <= x <= 0.5.*{ids}. Start them inside"):
        Router(network, dt=DT, learnable=("k", "x"))


def test_learns_k_and_x():
    network = xroute.datasets.scheidegger(6, 5, seed=1)
    truth = Router(network, dt="1h")
    runoff = dry(30, 200).square()
    observed = truth(runoff)
    guess = network.assign(k=network.k * 0 + network.k.mean().item(), x=network.x * 0 + 0.2)
    guess["k"].attrs, guess["x"].attrs = network["k"].attrs, network["x"].attrs
    router = Router(guess, dt="1h", learnable=("k", "x"))
    optimizer = torch.optim.LBFGS(router.parameters(), max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-12,
                                  tolerance_change=1e-14)  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (router(runoff) - observed).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    for name in ("k", "x"):
        error = (router.parameters_si[name] / truth.parameters_si[name] - 1).abs().max().item()
        assert error < 0.01, (name, error)


def test_state_dict():
    router = Router(river(), dt=DT, learnable="k")
    assert set(router.state_dict()) == {"values.muskingum.k.raw", "values.muskingum.x.fixed"}
    other_values = river(seed=0)
    other_values["k"] = other_values["k"] * 2
    other = Router(other_values, dt=DT, learnable="k")
    assert not torch.equal(other(dry()), router(dry()))
    file = io.BytesIO()
    torch.save(router.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    assert torch.equal(other(dry()), router(dry()))


def test_moves_and_copies():
    router = Router(river(), dt=DT, learnable="k")
    expected = router(dry()).detach()
    for twin in (copy.deepcopy(router), pickle.loads(pickle.dumps(router))):
        assert torch.equal(twin(dry()), expected)
    single = copy.deepcopy(router).float()
    assert {t.dtype for t in single.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(single(dry()).detach(), expected, rtol=1e-5, atol=1e-6)
    assert {t.dtype for t in single.double().state_dict().values()} == {torch.float64}
    assert {t.device.type for t in copy.deepcopy(router).to("meta").state_dict().values()} == {"meta"}
    assert "8 reaches" in repr(router) and "dt=3600 s" in repr(router)


def test_compile():
    router = Router(river(), dt=DT, learnable=("k", "x"))
    runoff = dry(8, 20, 2)
    expected = router(runoff)
    found = torch.compile(router, backend="aot_eager")(runoff)
    assert torch.equal(found, expected)
    wanted = torch.autograd.grad(expected.square().sum(), list(router.parameters()))
    grads = torch.autograd.grad(found.square().sum(), list(router.parameters()))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(grads, wanted, strict=True))


def test_errors():
    router = Router(river(), dt=DT)
    with pytest.raises(ParameterError, match=r"shape \(7, 30\), but the network has 8 reaches.*\(batch, 8, time\)"):
        router(dry(7))
    with pytest.raises(ParameterError, match="but the network has 8 reaches"):
        router(dry(8, 30, 2, 2))
    with pytest.raises(ParameterError, match=r"'k' has shape \(3,\), not \(8,\)"):
        router(dry(), {"k": torch.ones(3)})
    with pytest.raises(ParameterError, match="no scheme of this network has the parameters 'tau'"):
        router(dry(), {"tau": torch.ones(8)})
    with pytest.raises(ParameterError, match="'x' must be 0 <= x <= 0.5; 8 reaches are outside it"):
        router(dry(), {"x": torch.ones(8)})
    with pytest.raises(ParameterError, match="learnable names 'celerity'.*muskingum.*'k', 'x'"):
        Router(river(), dt=DT, learnable=("k", "celerity"))
    with pytest.raises(ParameterError, match="substeps"):
        Router(river(), dt=DT, substeps=0)
    with pytest.raises(ParameterError, match="lateral is one of"):
        Router(river(), dt=DT, lateral="side")
    with pytest.raises(TimeAxisError, match="dt is a number of seconds"):
        Router(river(), dt="soon")


def test_torch_is_not_imported_with_xroute():
    code = "import sys, xroute; assert 'torch' not in sys.modules and 'xroute.router' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
