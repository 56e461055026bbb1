"""Groups of reaches, and parameters that they share: who is in which, where they start, what they never leave, how they last."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from strategies import DT, make_ids, network_dataset, topology

import xroute
from xroute.exceptions import AlignmentError, NetworkError, ParameterError
from xroute.groups import Groups, reach_groups
from xroute.router import Router

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
on_devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])])


def river(n: int = 12, seed: int = 0, shape: str = "tree", kind: str = "small") -> xroute.Network:
    rng = np.random.default_rng(seed)
    dataset = network_dataset(topology(shape, n, rng), make_ids(kind, n, rng), "muskingum", rng)
    dataset["x"] = dataset["x"].clip(0.01, 0.49)
    return xroute.Network(dataset.assign(geology=("reach", np.resize(["chalk", "clay", "sand"], n))))


def rain(n: int, n_time: int = 24) -> torch.Tensor:
    return torch.rand(n, n_time, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# ── who is in which ─────────────────────────────────────────────────────────────────────────────────────────────────────

# 1 -> 3, 2 -> 3, 3 -> 6, 4 -> 5, 5 -> 6, 6 -> 0; 7 -> 0
DOWN = {1: 3, 2: 3, 3: 6, 4: 5, 5: 6, 6: 0, 7: 0}


def small() -> xroute.Network:
    ids = list(DOWN)
    return xroute.Network.from_links(ids, list(DOWN.values()), parameters={"soil": np.array(list("aabbabb"))})


def by_label(groups: Groups, ids: np.ndarray) -> dict:
    return dict(zip(ids.tolist(), np.asarray(groups.labels)[groups.of_reach].tolist(), strict=True))


def test_words():
    network = small()
    assert reach_groups(network, None) is None and reach_groups(network, True) is None
    assert by_label(reach_groups(network, "all"), network.ids) == dict.fromkeys(DOWN, "all")
    assert by_label(reach_groups(network, "strahler"), network.ids) == {1: 1, 2: 1, 3: 2, 4: 1, 5: 1, 6: 2, 7: 1}
    assert by_label(reach_groups(network, "basin"), network.ids) == {**dict.fromkeys(range(1, 7), 6), 7: 7}
    assert by_label(reach_groups(network, "soil"), network.ids) == dict(zip(DOWN, "aabbabb", strict=True))
    found = by_label(reach_groups(network, "gauge", gauges=[5, 3]), network.ids)
    assert found == {1: 3, 2: 3, 3: 3, 4: 5, 5: 5, 6: 0, 7: 0}
    nested = by_label(reach_groups(network, "gauge", gauges=np.array([6, 3])), network.ids)
    assert nested == {1: 3, 2: 3, 3: 3, 4: 6, 5: 6, 6: 6, 7: 0}
    assert reach_groups(network, "gauge", gauges=3).sizes.tolist() == [4, 3]


def test_next_gauge_by_walking_down():
    """On larger trees, against a walk from each reach; also with text for ids."""
    for seed in range(6):
        network = river(40, seed, kind="text" if seed % 2 else "small")
        down = dict(zip(network.ids.tolist(), network["downstream"].values.tolist(), strict=True))
        gauges = np.random.default_rng(seed).choice(network.ids, 6, replace=False)
        found = by_label(reach_groups(network, "gauge", gauges), network.ids)
        for reach in network.ids.tolist():
            at = reach
            while at in down and at not in gauges:
                at = down[at]
            none = "" if network.ids.dtype.kind == "U" else 0
            assert found[reach] == (at if at in gauges else none)


def test_next_gauge_below_a_bifurcation():
    """The larger branch counts, but for one that leads to no gauge."""
    dataset = xr.Dataset(
        {
            "upstream_reach": ("link", [1, 1, 2, 3]), "downstream_reach": ("link", [2, 3, 4, 5]),
            "fraction": ("link", [0.7, 0.3, 1.0, 1.0]),
        },
        {"reach": [1, 2, 3, 4, 5]},
    )  # fmt: skip
    network = xroute.Network(dataset)
    assert by_label(reach_groups(network, "gauge", [4, 5]), network.ids)[1] == 4
    assert by_label(reach_groups(network, "gauge", [5]), network.ids) == {1: 5, 2: 0, 3: 5, 4: 0, 5: 5}


def test_labels_that_are_given():
    network = small()
    labels = xr.DataArray([7, 7, 8, 9, 9, 9, 8], {"reach": [7, 6, 5, 4, 3, 2, 1]}, dims="reach", name="zone")
    expected = {1: 8, 2: 9, 3: 9, 4: 9, 5: 8, 6: 7, 7: 7}
    for given in (labels, labels.to_series(), labels.to_series().to_dict(), labels.sortby("reach").values):
        groups = reach_groups(network, given)
        assert by_label(groups, network.ids) == expected and groups.labels.tolist() == [7, 8, 9]
    assert reach_groups(network, labels).name == "zone"
    assert by_label(reach_groups(network.dataset, labels.rename(reach="comid").chunk()), network.ids) == expected
    assert reach_groups(network, reach_groups(network, labels)).equals(reach_groups(network, labels))
    text = labels.copy(data=np.array(list("aabbccc"), dtype=object))
    assert reach_groups(network, text).labels.tolist() == ["a", "b", "c"]
    shadowed = network.assign(strahler=("reach", [0, 0, 0, 0, 1, 1, 1]))  # a variable of that name comes first
    assert reach_groups(shadowed, "strahler").sizes.tolist() == [4, 3]
    part = reach_groups(network, labels).take(np.array([0, 4]))
    assert part.labels.tolist() == [8] and part.of_reach.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("soils", ParameterError, "'soils' are neither one of 'all', 'strahler', 'basin', 'gauge' nor a variable.*'soil'"),
        ("gauge", ParameterError, "which reaches these are on is not known.*gauges=ids"),
        (3, ParameterError, "or labels .reach., not 3"),
        ([1, 2], ParameterError, "shape .2,., and the network 7 reaches"),
        (np.zeros((7, 2)), ParameterError, "shape .7, 2."),
        ([1.0, np.nan, 1.0, 2.0, np.nan, 1.0, 1.0], ParameterError, "2 reaches have no label: 2, 5"),
        (np.array(["a", None] * 3 + ["b"], dtype=object), ParameterError, "3 reaches have no label: 2, 4, 6"),
        (np.array(["a", 1] * 3 + ["b"], dtype=object), ParameterError, "of several kinds"),
        (xr.DataArray([1, 2], {"reach": [1, 2]}, dims="reach"), AlignmentError, "lacks 5 .*: 3, 4.*7. Give it for each of them"),
        (xr.DataArray(np.ones(7), dims="reach"), AlignmentError, "without the ids"),
        (xr.DataArray(np.ones((7, 2)), dims=("reach", "time")), ParameterError, "have the dimensions 'reach', 'time'"),
        (Groups(np.zeros(3, int), np.array([1]), "other"), ParameterError, "'other' are of 3 reaches, and the network has 7"),
    ],
)  # fmt: skip
def test_groups_that_are_none(given, error, message):
    with pytest.raises(error, match=message):
        reach_groups(small(), given)


def test_missing_labels_of_a_variable_and_gauges_elsewhere():
    network = small().assign(zone=("reach", [1.0, np.nan, 1, 1, 1, 1, 1]), size=("reach", np.arange(7.0)))
    with pytest.raises(ParameterError, match="'zone': 1 reaches have no label: 2. Give them one"):
        reach_groups(network, "zone")
    assert len(reach_groups(network, "size")) == 7
    with pytest.raises(NetworkError, match="not in the network: 99"):
        reach_groups(network, "gauge", gauges=[3, 99])
    with pytest.raises(ParameterError, match="there are no gauges"):
        reach_groups(network, "gauge", gauges=np.array([], int))
    for wrong in ((np.array([0, 3]), np.array([1, 2])), (np.array([0, 1]), np.array([2, 2])), (np.array([0.5]), np.array([1]))):
        with pytest.raises(ParameterError):
            Groups(*wrong, "wrong")


# ── where they start, and what they never leave ─────────────────────────────────────────────────────────────────────────


def test_a_group_starts_at_its_mean():
    """Geometric beside one bound, arithmetic between two; worked out here from the network's own values."""
    network = river()
    soil = network["geology"].values
    router = Router(network, dt=DT, learnable={"k": "geology", "x": "geology"})
    values, learned = router.parameters_si, router.learned_parameters
    for label in ("chalk", "clay", "sand"):
        here = soil == label
        k, x = network["k"].values[here], network["x"].values[here]
        np.testing.assert_allclose(values["k"].detach().numpy()[here], np.exp(np.log(k).mean()), rtol=1e-12)
        np.testing.assert_allclose(values["x"].detach().numpy()[here], x.mean(), rtol=1e-12)
    parameter = learned["muskingum", "k"]
    assert parameter.groups.labels.tolist() == ["chalk", "clay", "sand"] and parameter.form == "value"
    torch.testing.assert_close(parameter.group_values()[parameter.groups.of_reach], values["k"])
    assert {n: p.shape for n, p in router.named_parameters()} == {
        "values.muskingum.k.raw": (3,), "values.muskingum.x.raw": (3,)
    }  # fmt: skip


def test_factors_start_at_one_and_act_on_the_networks_values():
    network = river()
    for groups in ("all", "geology", "strahler", None, True):
        router = Router(network, dt=DT, learnable={"k": ("scale", groups), "x": ("scale", groups)})
        plain = Router(network, dt=DT)
        for name, parameter in ((n, router.learned_parameters["muskingum", n]) for n in ("k", "x")):
            assert parameter.form == "scale"
            np.testing.assert_allclose(parameter.group_values().detach().numpy(), 1.0, rtol=1e-14)
            np.testing.assert_allclose(parameter().detach(), plain.parameters_si[name], rtol=1e-13)
        np.testing.assert_allclose(router(rain(12)).detach(), plain(rain(12)), rtol=1e-9)
    router = Router(network, dt=DT, learnable={"k": "scale"})
    assert router.learned_parameters["muskingum", "k"].raw.shape == (12,)
    with torch.no_grad():
        router.learned_parameters["muskingum", "k"].raw += np.log(2.0)
    np.testing.assert_allclose(router.parameters_si["k"].detach(), 2 * network["k"].values, rtol=1e-13)


def test_what_is_fixed_by_name():
    network = river()
    names = {n for n, _ in Router(network, dt=DT, learnable={"k": True, "x": False}).named_parameters()}
    assert names == {"values.muskingum.k.raw"}
    assert not list(Router(network, dt=DT, learnable={"k": None}).parameters())
    for plain, mapped in ((("k", "x"), {"k": True, "x": True}), ("k", {"k": ("value", None)})):
        one, other = (Router(network, dt=DT, learnable=how).state_dict() for how in (plain, mapped))
        assert one.keys() == other.keys() and all(torch.equal(v, other[n]) for n, v in one.items())


@pytest.mark.parametrize("form", ["value", "scale"])
@pytest.mark.parametrize("groups", ["all", "geology", None])
def test_bounds_hold_and_gradients_are_finite_wherever_an_optimiser_goes(form, groups):
    network = river()
    router = Router(network, dt=DT, learnable={"k": (form, groups), "x": (form, groups)})
    scheme = xroute.schemes.SCHEMES["muskingum"]
    for value in (-1e300, -1e3, -99.0, -20.0, -1.0, 0.0, 1.0, 20.0, 99.0, 1e3, 1e300, np.inf, -np.inf):
        with torch.no_grad():
            for raw in router.parameters():
                raw.fill_(value)
        values = router.parameters_si
        for p in scheme.parameters:
            p.check(values[p.name].detach().numpy(), network.ids, "muskingum")
        total = sum(v.sum() for v in values.values()) + router(rain(12)).square().sum()
        grads = torch.autograd.grad(total, list(router.parameters()))
        assert all(g.isfinite().all() for g in grads), value


def test_a_factor_stays_where_some_reach_still_moves():
    """At any raw value at which exponentials tell, the gradient of a group's factor is not zero, though most are on the bound."""
    x = np.array([0.01, 0.1, 0.3, 0.5, 0.0])
    network = xroute.Network.from_links([1, 2, 3, 4, 5], [2, 3, 4, 5, 0], parameters={"k": 3600.0, "x": x})
    router = Router(network, dt=DT, learnable={"x": ("scale", "all")})
    (raw,) = router.parameters()
    for value in (-10.0, 0.0, 5.0, 20.0):
        with torch.no_grad():
            raw.fill_(value)
        values = router.parameters_si["x"]
        (grad,) = torch.autograd.grad(values.sum(), [raw])
        assert grad.item() != 0.0 and values[4] == 0.0 and values.max() <= 0.5
        factor = router.learned_parameters["muskingum", "x"].group_values().item()
        np.testing.assert_allclose(values.detach(), np.minimum(0.5, x * factor), rtol=1e-12)
    assert values[0] > 0.49  # 50 times what it was


def test_groups_on_a_bound():
    network = river()
    x = network["x"].values.copy()
    x[network["geology"].values == "clay"] = 0.0
    network = network.assign(x=("reach", x))
    clay = ", ".join(str(i) for i in network.ids[network["geology"].values == "clay"])
    for how in ("geology", ("scale", "geology")):
        with pytest.raises(ParameterError, match=f"1 of 3 groups start on .*'clay' .reaches {clay}.. Start them inside"):
            Router(network, dt=DT, learnable={"x": how})
    Router(network, dt=DT, learnable={"x": "all"})  # a mean that is inside
    Router(network, dt=DT, learnable={"x": ("scale", "all")})


@pytest.mark.parametrize("how", ["all", "geology", ("scale", "geology"), ("scale", None), ("scale", "strahler"), True])
def test_gradients_are_those_of_finite_differences(how):
    network = river(10)
    router = Router(network, dt=DT, learnable={"k": how, "x": how})
    runoff = rain(10, 12)
    names = [name for name, _ in router.named_parameters()]
    raws = [p.detach().clone().requires_grad_() for p in router.parameters()]

    def loss(*given: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(router, dict(zip(names, given, strict=True)), runoff)

    assert torch.autograd.gradcheck(loss, raws, eps=1e-6, atol=1e-7, rtol=1e-5)


def test_one_group_for_each_reach_is_no_groups():
    """The same values and gradients as parameters that are free by reach."""
    network = river()
    free = Router(network, dt=DT, learnable=("k", "x"))
    order = np.random.default_rng(3).permutation(12)
    grouped = Router(network, dt=DT, learnable={"k": order, "x": order})
    grads = []
    for router in (free, grouped):
        discharge = router(rain(12))
        grads.append(torch.autograd.grad(discharge.square().sum(), list(router.parameters())))
    np.testing.assert_allclose(grouped(rain(12)).detach(), free(rain(12)).detach(), rtol=1e-10)
    for one, other in zip(*grads, strict=True):
        np.testing.assert_allclose(other[order], one, rtol=1e-9)


def test_mixed_schemes():
    """Groups of a scheme are those that its reaches are in; a name that two schemes have is learned in each."""
    network = river(9).assign(scheme=("reach", np.repeat(["muskingum", "linear_storage", "muskingum"], 3)))
    network = network.assign(tau=("reach", np.linspace(1e3, 9e3, 9), {"units": "s"}), zone=("reach", np.repeat([1, 2, 3], 3)))
    router = Router(network, dt=DT, learnable={"k": "zone", "tau": ("scale", "zone")})
    learned = router.learned_parameters
    assert set(learned) == {("muskingum", "k"), ("linear_storage", "tau")}
    assert learned["muskingum", "k"].groups.labels.tolist() == [1, 3]
    assert learned["linear_storage", "tau"].groups.labels.tolist() == [2]
    k = router.parameters_si["k"].detach().numpy()
    np.testing.assert_allclose(k[:3], np.exp(np.log(network["k"].values[:3]).mean()), rtol=1e-12)
    assert np.isnan(k[3:6]).all()


def test_hillslopes():
    network = river(6).assign(tlag=("reach", np.linspace(3600, 9000, 6), {"units": "s"}))
    router = Router(network, dt=DT, hillslope="scs", learnable={"tlag": "all", "k": ("scale", "all")})
    assert {n for n, _ in router.named_parameters()} == {"values.muskingum.k.raw", "hillslope.values.tlag.raw"}
    np.testing.assert_allclose(
        router.parameters_si["tlag"].detach(), np.exp(np.log(np.linspace(3600, 9000, 6)).mean()), rtol=1e-12
    )
    router(rain(6)).sum().backward()
    assert all(p.grad.isfinite().all() for p in router.parameters())


@pytest.mark.parametrize(
    ("learnable", "message"),
    [
        ({"k": "soils"}, "learnable 'k': groups 'soils' are neither one of"),
        ({"k": ("factor", "all")}, "the form of 'k' is one of 'value', 'scale', not 'factor'"),
        ({"q": "all"}, "learnable names 'q', but the network's schemes .muskingum. have 'k', 'x'"),
        ({"k": "gauge"}, "xroute.reach_groups.network, .gauge., gauges=ids. makes them"),
        (3, "learnable are names of parameters, or a mapping"),
        ((1, 2), "learnable are names of parameters, not 1, 2"),
    ],
)
def test_what_cannot_be_learned(learnable, message):
    with pytest.raises(ParameterError, match=message):
        Router(river(), dt=DT, learnable=learnable)


# ── how they are kept ───────────────────────────────────────────────────────────────────────────────────────────────────


def saved(router: Router) -> dict:
    file = io.BytesIO()
    torch.save(router.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("how", ["geology", ("scale", "geology"), ("scale", True)])
def test_state_dict(how):
    network = river()
    router = Router(network, dt=DT, learnable={"k": how})
    with torch.no_grad():
        next(router.parameters()).add_(torch.linspace(-0.5, 0.5, next(router.parameters()).numel()))
    other_values = network.assign(k=("reach", network["k"].values * 1.7), x=("reach", network["x"].values[::-1]))
    other = Router(other_values, dt=DT, learnable={"k": how})
    assert not torch.equal(other(rain(12)), router(rain(12)))
    other.load_state_dict(saved(router))
    assert torch.equal(other(rain(12)), router(rain(12)))
    one, twin = (r.learned_parameters["muskingum", "k"].group_values() for r in (router, other))
    assert torch.equal(one, twin)
    for twin in (copy.deepcopy(router), pickle.loads(pickle.dumps(router)), copy.deepcopy(router).float().half()):
        assert torch.equal(twin(rain(12)), router(rain(12)))
    assert "geology" in repr(router) or how == ("scale", True)


def test_limits_of_factors_are_those_of_the_values_that_were_loaded():
    network = xroute.Network.from_links([1, 2], [2, 0], parameters={"k": 3600.0, "x": np.array([0.1, 0.2])})
    router = Router(network, dt=DT, learnable={"x": ("scale", "all")})
    other = Router(network.assign(x=("reach", [0.4, 0.45])), dt=DT, learnable={"x": ("scale", "all")})
    with torch.no_grad():
        next(router.parameters()).fill_(3.0)
    other.load_state_dict(router.state_dict())
    assert torch.equal(other.parameters_si["x"], router.parameters_si["x"])


def test_state_dict_of_other_groups():
    network = river()
    swapped = network.assign(geology=("reach", np.roll(network["geology"].values, 1)))
    renamed = network.assign(geology=("reach", np.char.upper(network["geology"].values)))
    for there, here, message in (
        ((network, "geology"), (network, "all"), "by groups 'geology' .'chalk', 'clay', 'sand'., and here .* by groups 'all'"),
        ((network, "geology"), (network, True), "learned by groups 'geology'.*and here it is learned by reach: make the Router"),
        ((network, "geology"), (network, False), "was learned by groups 'geology'.*and here it is fixed"),
        ((network, True), (network, "geology"), "was learned by reach, and here it is learned by groups 'geology'"),
        ((network, "geology"), (network, ("scale", "geology")), "and here it is learned as a factor by groups 'geology'"),
        ((network, "geology"), (renamed, "geology"), "'CHALK', 'CLAY', 'SAND'"),
        ((network, "geology"), (swapped, "geology"), f"12 reaches belong to others of them here: {network.ids[0]}, "),
    ):  # fmt: skip
        state = Router(there[0], dt=DT, learnable={"k": there[1], "x": True}).state_dict()
        router = Router(here[0], dt=DT, learnable={"k": here[1], "x": True})
        before = copy.deepcopy(router.state_dict())
        with pytest.raises(ParameterError, match=message):
            router.load_state_dict(state)
        for name, value in router.state_dict().items():
            assert not isinstance(value, torch.Tensor) or torch.equal(value, before[name])


def test_state_dict_of_impossible_values():
    router = Router(river(), dt=DT, learnable={"k": "geology", "x": ("scale", "geology")})
    expected = router(rain(12)).detach()
    for name, message in (
        ("values.muskingum.k.raw", "'k' is NaN or infinite on 4 reaches"),
        ("values.muskingum.x.prior", "'x' is NaN or infinite on 1 reaches"),
    ):
        state = copy.deepcopy(router.state_dict())
        state[name][0] = np.nan
        with pytest.raises(ParameterError, match=message):
            router.load_state_dict(state)
        assert torch.equal(router(rain(12)), expected)


def test_compile():
    router = Router(river(), dt=DT, learnable={"k": "geology", "x": ("scale", "all")})
    expected = router(rain(12))
    found = torch.compile(router, backend="aot_eager")(rain(12))
    assert torch.equal(found, expected)
    wanted = torch.autograd.grad(expected.square().sum(), list(router.parameters()))
    for a, b in zip(torch.autograd.grad(found.square().sum(), list(router.parameters())), wanted, strict=True):
        torch.testing.assert_close(a, b)
    torch.compiler.reset()


@on_devices
def test_on_a_device_with_the_same_bits_each_time(device):
    n = 3000
    network = xroute.datasets.scheidegger(60, 50, seed=2)
    zone = np.random.default_rng(0).integers(0, 4, n)
    router = Router(network, dt="1h", learnable={"k": zone, "x": ("scale", zone)})
    wanted = torch.autograd.grad(router(rain(n, 8)).square().sum(), list(router.parameters()))
    moved, runoff = copy.deepcopy(router).to(device), rain(n, 8).to(device)
    runs = [torch.autograd.grad(moved(runoff).square().sum(), list(moved.parameters())) for _ in range(3)]
    for grads in runs:
        for grad, first, of_cpu in zip(grads, runs[0], wanted, strict=True):
            assert grad.device.type == device and torch.equal(grad, first)
            torch.testing.assert_close(grad.cpu(), of_cpu, rtol=1e-6, atol=1e-9 * of_cpu.abs().max().item())


def test_learns_grouped_values():
    """A twin: two soils with their own k and x, from a start far off, are found again from the discharge at the outlet."""
    network = xroute.datasets.scheidegger(4, 5, seed=1)
    soil = np.resize(["a", "b"], 20)
    k, x = np.where(soil == "a", 5e3, 1.1e4), np.where(soil == "a", 0.1, 0.3)
    truth = network.assign(k=("reach", k, {"units": "s"}), x=("reach", x))
    runoff = rain(20, 200).square()
    observed = Router(truth, dt="1h")(runoff)
    start = truth.assign(soil=("reach", soil), k=("reach", np.full(20, 8e3), {"units": "s"}), x=("reach", np.full(20, 0.2)))
    router = Router(start, dt="1h", learnable={"k": "soil", "x": "soil"})
    optimizer = torch.optim.LBFGS(router.parameters(), max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-14,
                                  tolerance_change=1e-16)  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (router(runoff) - observed).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(router.parameters_si["k"].detach(), truth["k"].values, rtol=1e-3)
    np.testing.assert_allclose(router.parameters_si["x"].detach(), truth["x"].values, rtol=1e-2)


# ── back into a network ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_to_network_in_the_networks_own_units():
    network = river()
    hours = network.assign(k=("reach", network["k"].values / 3600, {"units": "h", "long_name": "travel time"}))
    router = Router(hours, dt=DT, learnable={"k": "geology"})
    assert router.to_network()["x"].identical(hours["x"])  # what is fixed stays as it is
    with torch.no_grad():
        next(router.parameters()).add_(0.3)
    found = router.to_network()
    assert isinstance(found, xroute.Network) and found["k"].attrs == {"units": "h", "long_name": "travel time"}
    np.testing.assert_allclose(found["k"].values * 3600, router.parameters_si["k"].detach(), rtol=1e-14)
    assert found.dataset.drop_vars("k").identical(hours.dataset.drop_vars("k"))
    np.testing.assert_allclose(Router(found, dt=DT)(rain(12)), router(rain(12)).detach(), rtol=1e-10)
    assert np.array_equal(hours["k"].values, network["k"].values / 3600)  # the one that it came from is not touched


def test_to_network_changes_nothing_where_nothing_was_learned():
    network = river()
    assert Router(network, dt=DT).to_network().dataset.identical(network.dataset)


def test_to_network_of_scalars_defaults_spans_and_estimates():
    network = xroute.Network.from_links([1, 2, 3], [2, 3, 0], attrs={"scheme": "muskingum"})
    hours = np.array([2, 3, 4], "timedelta64[h]").astype("timedelta64[ns]")
    network = network.assign(
        k=("reach", hours, {"estimated": "celerity 1", "long_name": "k"}), x=((), 0.2, {"note": "guess"}),
        tlag=("reach", [1.0, 2, 3], {"units": "h"}),
    )  # fmt: skip
    router = Router(network, dt=DT, hillslope="scs", learnable={"k": True, "x": True})
    with torch.no_grad():
        for p in router.parameters():
            p += 0.1
    found = router.to_network()
    assert found["k"].dtype.kind == "m" and found["k"].attrs == {"long_name": "k"}
    assert found["x"].dims == ("reach",) and found["x"].attrs == {"note": "guess"}
    assert found.attrs["hillslope"] == "scs" and found["tlag"].identical(network["tlag"])
    for name in ("k", "x"):
        np.testing.assert_allclose(Router(found, dt=DT).parameters_si[name], router.parameters_si[name].detach(), rtol=1e-12)


def test_to_network_with_parameters_from_outside_and_another_scheme():
    network = river()
    router = Router(network, dt=DT, scheme="muskingum_exact")
    k = torch.from_numpy(network["k"].values.copy()) * 1.5
    found = router.to_network({"k": k.requires_grad_()})
    np.testing.assert_allclose(found["k"].values, k.detach(), rtol=1e-14)
    np.testing.assert_allclose(Router(found, dt=DT)(rain(12)), router(rain(12), {"k": k}).detach(), rtol=1e-10)
    assert np.array_equal(router.parameters_si["k"], network["k"].values)
    with pytest.raises(ParameterError, match="'k' must be > 0; 12 reaches are outside"):
        router.to_network({"k": -k})
    with pytest.raises(ParameterError, match="no scheme of this network has the parameters 'tau'"):
        router.to_network({"tau": k})


def test_to_network_of_a_default_that_one_of_two_schemes_has_learned():
    """The variable that is made has the other scheme's default on its reaches, and not NaN."""
    taps = {"taps": lambda dt, storage: torch.stack([storage, 1 - storage], dim=1)}
    for name in ("test.one", "test.two"):
        xroute.register_scheme(name, [xroute.Parameter("storage", low=0.0, high=1.0, default=0.25)], **taps)
    try:
        for learned in ("test.one", "test.two"):
            schemes = ["test.one", "test.two", "test.one"]
            network = xroute.Network.from_links([1, 2, 3], [2, 3, 0]).assign(scheme=("reach", schemes))
            router = Router(network, dt=DT, learnable="storage")
            with torch.no_grad():
                router.learned_parameters[learned, "storage"].raw += 1.0
            found = router.to_network()
            np.testing.assert_allclose(Router(found, dt=DT).parameters_si["storage"], router.parameters_si["storage"].detach())
            assert found["storage"].attrs["units"] == "1"
    finally:
        del xroute.schemes.SCHEMES["test.one"], xroute.schemes.SCHEMES["test.two"]


def test_to_network_of_mixed_schemes():
    """Only reaches of the scheme that has a parameter are written to; values on the others stay."""
    network = river(9).assign(scheme=("reach", np.repeat(["muskingum", "linear_storage", "muskingum"], 3)))
    network = network.assign(tau=("reach", np.linspace(1, 9, 9), {"units": "h"}))
    router = Router(network, dt=DT, learnable={"k": True, "tau": "all"})
    with torch.no_grad():
        for p in router.parameters():
            p += 0.5
    found = router.to_network()
    assert np.array_equal(found["k"].values[3:6], network["k"].values[3:6])
    assert np.array_equal(found["tau"].values[[0, 1, 2, 6, 7, 8]], network["tau"].values[[0, 1, 2, 6, 7, 8]])
    mean = np.exp(np.log(network["tau"].values[3:6]).mean() + 0.5)
    np.testing.assert_allclose(found["tau"].values[3:6], mean, rtol=1e-12)
    np.testing.assert_allclose(Router(found, dt=DT)(rain(9)), router(rain(9)).detach(), rtol=1e-10)
    assert pd.Series(found["scheme"].values).equals(pd.Series(network["scheme"].values))
