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
from strategies import (
    DT,
    INTERVAL,
    PARAMETERS,
    SCHEMES,
    make_ids,
    network_dataset,
    runoff_array,
    small_network,
    topology,
)

import xroute
from xroute.exceptions import ParameterError, StateError, TimeAxisError
from xroute.router import Router

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
on_devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])])


def river(scheme="muskingum", n: int = 8, shape: str = "tree", seed: int = 0):
    rng = np.random.default_rng(seed)
    return network_dataset(topology(shape, n, rng), make_ids("small", n, rng), scheme, rng)


def mixed(n: int = 10):
    """All schemes; tau is both linear_storage's and nash_cascade's."""
    return river(np.resize(SCHEMES, n), n, "bifurcating", seed=1)


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
    learnable = ("tau", "x", "delay", "celerity")
    router = Router(network, dt=DT, learnable=learnable)
    learned = {name for name, _ in router.named_parameters()}
    assert learned == {f"values.{s}.{name}.raw" for s in SCHEMES for name in PARAMETERS[s] if name in learnable}
    assert {"values.linear_storage.tau.raw", "values.nash_cascade.tau.raw"} < learned
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


def permuted(network):
    return network.isel(reach=np.random.default_rng(1).permutation(network.sizes["reach"]))


def test_state_of_another_network_or_step():
    network = river("linear_storage")
    router = Router(network, dt=DT, substeps=2)
    _, state = router(dry(), return_state=True)
    twin = Router(network.isel(reach=slice(None)), dt=DT / 2)
    assert torch.equal(twin(dry(), state=state.detach().to("cpu")), twin(dry(), state=state))
    other_ids = network.assign_coords(reach=network.reach.values + 100)
    other_ids["downstream"] = network.downstream + 100 * (network.downstream > 0)
    cut = network.copy(deep=True)
    cut["downstream"][:] = 0
    for other in (permuted(network), other_ids, cut, river("linear_storage", 9)):
        with pytest.raises(StateError, match="of another network, of 8 reaches"):
            Router(other, dt=DT, substeps=2)(dry(other.sizes["reach"]), state=state)
    for options in ({"dt": DT}, {"dt": 2 * DT, "substeps": 2}):
        with pytest.raises(StateError, match="the state's inflows are 1800 s apart.*routing step is 3600 s"):
            Router(network, **options)(dry(), state=state)
    with pytest.raises(StateError, match="of lateral='head', and this Router of lateral='outlet'"):
        Router(network, dt=DT, substeps=2, lateral="outlet")(dry(), state=state)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_bounds_hold_wherever_an_optimiser_goes(scheme):
    network = river(scheme)
    described = PARAMETERS[scheme].values()
    for p in described:
        if p.units == "s" and p.allows(0.0):  # on its bound
            network[p.name] = network[p.name] + 60.0
    router = Router(network, dt=DT, learnable=[p.name for p in described])
    for value in (-1e308, -1e3, -50.0, -1.0, 2.0, 50.0, 1e3, 1e308):
        with torch.no_grad():
            for raw in router.parameters():
                raw.fill_(value)
        values = router.parameters_si
        for p in described:
            p.check(values[p.name].detach().numpy(), network.reach.values, scheme)
        grads = torch.autograd.grad(sum(v.sum() for v in values.values()), list(router.parameters()))
        assert all(g.isfinite().all() for g in grads), value
        if scheme in INTERVAL:  # the others have no window so long
            grads = torch.autograd.grad(router(dry()).square().sum(), list(router.parameters()))
            assert all(g.isfinite().all() for g in grads), value


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
    with pytest.raises(ParameterError, match="no scheme 'test.values'.*register_scheme"):
        router(dry(2), {"free": torch.ones(2)})


def test_names_of_every_kind():
    """Names that modules use for themselves, and names that differ in a dot only."""
    names = ["training", "forward", "values", "_modules", "a.b", "a_b", "a%2Eb", "%", "k"]
    made = [xroute.Parameter(name, low=0.0) for name in names]
    for scheme in ("training", "test.taps"):
        xroute.register_scheme(scheme, made, taps=lambda dt, **values: torch.stack(list(values.values()), dim=1))
    try:
        network = small_network({1: 2, 2: 0}, ["training", "test.taps"])
        network = network.assign({name: ("reach", np.array([1.0, 2.0]) + i) for i, name in enumerate(names)})
        router = Router(network, dt=DT, learnable=names)
        assert len(router.state_dict()) == 2 * len(names) + 1 and "values.training.k.raw" not in router.state_dict()
        for i, name in enumerate(names):
            torch.testing.assert_close(router.parameters_si[name].tolist(), [1.0 + i, 2.0 + i])
        Router(network, dt=DT, learnable=names).load_state_dict(router.state_dict())
        torch.compile(router, backend="aot_eager")(dry(2)).sum().backward()
        assert all(p.grad is not None for p in router.parameters())
    finally:
        del xroute.schemes.SCHEMES["training"], xroute.schemes.SCHEMES["test.taps"]


def test_start_on_a_bound():
    network = river()
    network["x"][2:4] = 0.0
    Router(network, dt=DT, learnable="k")
    ids = ", ".join(str(i) for i in network.reach.values[2:4])
    with pytest.raises(ParameterError, match=f"2 reaches start on a bound of 0 <= x <= 0.5.*{ids}. Start them inside"):
        Router(network, dt=DT, learnable=("k", "x"))
    network["k"][5] = 1e-60  # in all but name
    with pytest.raises(ParameterError, match=f"1 reaches start on a bound of > 0, .*{network.reach.values[5]}. Start"):
        Router(network, dt=DT, learnable="k")


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
    assert set(router.state_dict()) == {"_extra_state", "values.muskingum.k.raw", "values.muskingum.x.fixed"}
    other_values = river(seed=0)
    other_values["k"] = other_values["k"] * 2
    other = Router(other_values, dt=DT, learnable="k")
    assert not torch.equal(other(dry()), router(dry()))
    file = io.BytesIO()
    torch.save(router.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(dry()), router(dry()))
    coarser = Router(other_values, dt=2 * DT, substeps=4, sampling="last", learnable="k")
    coarser.load_state_dict(router.state_dict())
    assert torch.equal(coarser.parameters_si["k"], router.parameters_si["k"])
    model = torch.nn.Sequential(Router(other_values, dt=DT, learnable="k"))
    model.load_state_dict(torch.nn.Sequential(router).state_dict())
    assert torch.equal(model(dry()), router(dry()))


@pytest.mark.parametrize("kind", ["small", "beyond_2_53", "text"])
def test_state_dict_of_other_reaches(kind):
    rng = np.random.default_rng(0)
    network = network_dataset(topology("tree", 8, rng), make_ids(kind, 8, rng), "muskingum", rng)
    saved = Router(network, dt=DT, learnable="k").state_dict()
    Router(network, dt=DT, learnable="k").load_state_dict(saved)
    ids = network.reach.values
    other_ids = network.assign_coords(reach=np.array([*ids[:-1], "other" if kind == "text" else 77]))
    other_ids["downstream"] = ("reach", np.full(8, "" if kind == "text" else 0))
    shorter = network.isel(reach=network.downstream.isin(ids))  # the outlet is left out
    shorter = xroute.Network(shorter, missing_downstream="outlet")
    for other, message in (
        (permuted(network), f"the same reaches in another order.*{ids[0]}"),
        (
            other_ids,
            f"1 of its reaches are not here: '?{ids[-1]}'?; 1 reaches are not in it: '?{other_ids.reach.values[-1]}",
        ),
        (shorter, f"of its reaches are not here: .*{np.setdiff1d(ids, shorter.ids)[0]}.*; 0 reaches are not in it$"),
    ):
        router = Router(other, dt=DT, learnable="k")
        before = copy.deepcopy(router.state_dict())
        with pytest.raises(ParameterError, match=message):
            router.load_state_dict(saved)
        assert all(torch.equal(v, before[name]) for name, v in router.state_dict().items())


def test_state_dict_under_other_schemes():
    """As many reaches a scheme, but not the same."""
    network = river("linear_storage").assign(scheme=("reach", np.resize(["linear_storage", "muskingum"], 8)))
    network = network.assign(k=network.tau, x=("reach", np.zeros(8)))
    swapped = network.assign(scheme=("reach", network.scheme.values[::-1]))
    with pytest.raises(ParameterError, match="under other schemes"):
        Router(swapped, dt=DT).load_state_dict(Router(network, dt=DT).state_dict())


def test_state_dict_of_impossible_values():
    router = Router(river(), dt=DT, learnable="k")
    expected = router(dry())
    for name, value, message in (
        ("values.muskingum.x.fixed", 0.7, "muskingum: 'x' must be 0 <= x <= 0.5; 1 reaches are outside it: {}"),
        ("values.muskingum.x.fixed", np.nan, "muskingum: 'x' is NaN or infinite on 1 reaches: {}"),
        ("values.muskingum.k.raw", np.nan, "muskingum: 'k' is NaN or infinite on 1 reaches: {}"),
    ):
        saved = copy.deepcopy(router.state_dict())
        saved["values.muskingum.k.raw"] += 1.0
        saved[name][3] = value
        with pytest.raises(ParameterError, match=message.format(router.ids[3])):
            router.load_state_dict(saved)
        assert torch.equal(router(dry()), expected)  # nothing was loaded


def test_moves_and_copies():
    router = Router(river(), dt=DT, learnable="k")
    expected = router(dry()).detach()
    for twin in (copy.deepcopy(router), pickle.loads(pickle.dumps(router))):
        assert torch.equal(twin(dry()), expected)
    for change in ("float", "half", "bfloat16", "double", torch.float32, ("cpu", torch.float16)):
        model = torch.nn.Sequential(copy.deepcopy(router))
        if isinstance(change, str):
            getattr(model, change)()
        else:
            model.to(*change) if isinstance(change, tuple) else model.to(change)
        assert torch.equal(model(dry()), expected), change
    for moved in (copy.deepcopy(router).to("meta"), copy.deepcopy(router).to("meta", torch.float32)):
        values = [*moved.parameters(), *moved.buffers()]
        assert {(t.device.type, t.dtype) for t in values} == {("meta", torch.float64)} and len(values) == 2
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
    torch.compiler.reset()
    with pytest.raises(Exception, match="outside of the graph: compile without fullgraph=True"):
        torch.compile(router, backend="aot_eager", fullgraph=True)(runoff)


@on_devices
def test_on_a_device(device):
    for network, n in ((mixed(), 10), (river(), 8)):
        router = Router(network, dt=DT, substeps=2, learnable=("k", "tau") if n == 10 else ("k", "x"))
        moved = copy.deepcopy(router).to(device)
        runoff, weight = dry(n, 30, 2), dry(n, 30, 2).flip(-1)
        expected, end = router(runoff, return_state=True)
        wanted = torch.autograd.grad((expected * weight).sum(), list(router.parameters()))
        peak = expected.abs().max().item()
        for routing in (moved, router):  # parameters on the same device as runoff, and on the host
            first, state = routing(runoff[..., :11].to(device), return_state=True)
            second, state = routing(runoff[..., 11:].to(device), state=state, return_state=True)
            found = torch.cat([first, second], -1)
            assert found.device.type == state.outflow.device.type == state.history.device.type == device
            assert (found.cpu() - expected).abs().max().item() <= 1e-6 * peak
            torch.testing.assert_close(state.outflow.cpu(), end.outflow, rtol=1e-6, atol=1e-6 * peak)
            torch.testing.assert_close(state.history.cpu(), end.history, rtol=1e-6, atol=1e-6 * peak)
            grads = torch.autograd.grad((found * weight.to(device)).sum(), list(routing.parameters()))
            for grad, of_cpu in zip(grads, wanted, strict=True):
                torch.testing.assert_close(grad.cpu(), of_cpu, rtol=1e-5, atol=1e-6 * of_cpu.abs().max().item())
        _, state = router(runoff[..., :11], return_state=True)  # a state of the host goes on elsewhere
        second = moved(runoff[..., 11:].to(device), state=state)
        assert (second.cpu() - expected[..., 11:]).abs().max().item() <= 1e-6 * peak


@on_devices
def test_layouts(device):
    """Runoff and gradients in any layout do as contiguous ones."""
    router = Router(mixed(), dt=DT, learnable="k").to(device)

    def run(runoff, weight):
        runoff = runoff.requires_grad_()
        discharge = router(runoff)
        return discharge, *torch.autograd.grad((discharge * weight).sum(), [runoff, *router.parameters()])

    runoff, one = dry(10, 20, 2).to(device), torch.ones((), dtype=torch.float64, device=device)
    time_first = runoff.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    expanded = runoff[:1].expand(2, -1, -1)
    for given in (time_first, expanded, runoff[..., ::2]):
        assert not given.is_contiguous()
        for weight in (one.expand(given.shape), dry(20, 10, 2).to(device).transpose(1, 2)[..., : given.shape[-1]]):
            found, expected = run(given.detach(), weight), run(given.detach().contiguous(), weight.contiguous())
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_warnings_are_of_the_callers_line():
    network = small_network({1: 2, 2: 0}, "muskingum", k=(900.0, "s"), x=0.1)
    runoff = runoff_array(network.reach.values, 5, np.random.default_rng(0))

    class Mine(Router):
        pass

    for call in (
        lambda: Router(network, dt=DT),
        lambda: Mine(network, dt=DT),
        lambda: xroute.route(runoff, network),
        lambda: runoff.route(network),
    ):
        with pytest.warns(UserWarning, match="2 of 2 muskingum reaches") as caught:
            call()
        assert [w.filename for w in caught] == [__file__]
        assert caught[0].lineno == call.__code__.co_firstlineno


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
    for runoff in (dry().numpy(), [1.0] * 8, runoff_array(router.ids, 3, np.random.default_rng(0))):
        with pytest.raises(ParameterError, match=f"runoff is a tensor, not {type(runoff).__name__}: torch.from_numpy"):
            router(runoff)
    for value in (np.ones(8), 1.0, [1.0] * 8):
        with pytest.raises(
            ParameterError, match=rf"'k' is {type(value).__name__}, not a tensor \[reach\]: torch.from_numpy"
        ):
            router(dry(), {"k": value})
    with pytest.raises(ParameterError, match="parameters is a dict of tensors by name, not Tensor"):
        router(dry(), torch.ones(8))
    for state in (xroute.steady_state(river(), runoff_array(router.ids, 3, np.random.default_rng(0)).mean("time"), dt=DT),
                  (torch.zeros(1, 8), torch.zeros(1, 8))):  # fmt: skip
        with pytest.raises(StateError, match=f"a state is a RouterState.*, not {type(state).__name__}"):
            router(dry(), state=state)
    assert not list(Router(river(), dt=DT, learnable=None).parameters())
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


def test_a_fixed_filter_is_made_once_and_anew_when_it_changes(monkeypatch):
    """Where no gradient is wanted; parameters that were changed in place, loaded or learned are noticed."""
    made = []
    make = xroute.router.make_filter
    monkeypatch.setattr("xroute.router.make_filter", lambda *args, **options: made.append(1) or make(*args, **options))
    router = Router(river(), dt=DT, learnable="k")
    runoff = dry(8, 20, 1)
    made.clear()
    with torch.no_grad():
        first = router(runoff)
        assert torch.equal(router(runoff), first) and len(made) == 1
        router.values["muskingum"]["k"].raw += 0.1
        second = router(runoff)
        assert len(made) == 2 and not torch.equal(second, first)
        other = Router(river(), dt=DT, learnable="k")
        router.load_state_dict(other.state_dict())
        assert torch.equal(router(runoff), first) and len(made) > 2
    made.clear()
    assert router(runoff).requires_grad and router(runoff).requires_grad and len(made) == 2
    with torch.inference_mode():
        assert torch.equal(router(runoff), first)


def test_a_network_keeps_its_filter(monkeypatch):
    network = xroute.Network(river())
    runoff = runoff_array(network.ids, 20, np.random.default_rng(0))
    first = runoff.route(network)
    with monkeypatch.context() as patch:
        patch.setattr("xroute.parameters.make_filter", lambda *_, **__: pytest.fail("made again"))
        np.testing.assert_array_equal(runoff.route(network), first)
    assert not np.array_equal(runoff.route(network, substeps=2), first)
    other = network.dataset
    other["k"] = 2 * other["k"]  # of a copy: the network keeps its own
    assert np.array_equal(runoff.route(network), first) and not np.array_equal(runoff.route(other), first)
    slower = "test.slower"
    xroute.register_scheme(
        slower, [xroute.Parameter("k", "s", low=0)], taps=lambda dt, k: torch.stack([k / k], 1), replace=True
    )
    try:
        once = runoff.route(network, scheme=slower)
        xroute.register_scheme(
            slower, [xroute.Parameter("k", "s", low=0)], taps=lambda dt, k: torch.stack([k / k / 2], 1), replace=True
        )
        assert not np.array_equal(runoff.route(network, scheme=slower), once)
    finally:
        del xroute.schemes.SCHEMES[slower]


def test_checkpoint_with_a_state_is_safe_to_load(tmp_path):
    router = Router(xroute.datasets.scheidegger(3, 4), dt="1h", learnable=("k",), substeps="auto")
    runoff = torch.rand(2, router.n_reaches, 8, dtype=torch.float64)
    whole = router(runoff).detach()
    _, state = router(runoff[..., :5], return_state=True)
    torch.save({"state": state.detach(), "epoch": 3}, tmp_path / "checkpoint.pt")
    loaded = torch.load(tmp_path / "checkpoint.pt")["state"]  # weights_only, as is PyTorch's default
    assert repr(loaded) == repr(state.detach())
    assert torch.equal(router(runoff[..., 5:], state=loaded).detach(), whole[..., 5:])
    twin = copy.deepcopy(state.detach())
    assert torch.equal(twin.history, state.history) and (twin.n_lags == state.n_lags).all()
