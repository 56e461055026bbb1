"""Gradients of routing: against torch through a naive recurrence, finite differences, and the identity of adjoints."""

from __future__ import annotations

import gc
import itertools
import pickle

import numpy as np
import pytest
import torch
from strategies import DT, INTERVAL, USUAL, topology

import xroute
from xroute.engine.arrays import FilterArrays, Known, Rows, State
from xroute.engine.autograd import route_autograd
from xroute.engine.backends import backend_of
from xroute.engine.cpu import adjoint
from xroute.engine.cpu.adjoint import adjoint_cpu
from xroute.engine.cpu.forward import route_cpu
from xroute.engine.handles import plan_handle, plan_of
from xroute.engine.plan import make_plan
from xroute.engine.reference import topological_order
from xroute.exceptions import ParameterError, StateError, XRouteError
from xroute.schemes import Filter, make_filter
from xroute.settings import RoutingSettings

SAMPLINGS = ("mean", "last", "start-mean")
LATERALS = ("head", "interval", "outlet")


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])])
def device(request):
    return request.param


def case(shape: str = "tree", n: int = 6, seed: int = 0, n_batch: int = 2, n_time: int = 4, device: str = "cpu",
         taps=(1, 2, 3, 5, 17)):  # fmt: skip
    """A network with a ragged random filter: topology, plan, and tensors that all require gradients."""
    rng = np.random.default_rng(seed)
    links = topology(shape, n, rng)
    plan = make_plan(*links.links, links.n_reaches)
    n = links.n_reaches
    n_taps = rng.permutation(np.resize(taps, n))
    pointer = np.concatenate([[0], np.cumsum(n_taps)])
    values = {
        "runoff": rng.normal(size=(n_batch, n, n_time)),
        "taps": rng.normal(size=pointer[-1]) / np.repeat(n_taps, n_taps),
        "pole": np.where(rng.random(n) < 0.3, 0.0, rng.uniform(-0.5, 0.95, n)),
        "gain": rng.normal(size=n),
        "history": rng.normal(size=(n_batch, pointer[-1] - n)),
        "outflow": rng.normal(size=(n_batch, n)),
    }
    return links, plan, pointer, {k: torch.from_numpy(v).to(device).requires_grad_() for k, v in values.items()}


def naive(links, pointer, runoff, taps, pole, gain, history, outflow, *, substeps, sampling, lateral):
    """The recurrence as it is written down, one number after another, for torch to differentiate."""
    n_batch, n, n_time = runoff.shape
    fine = n_time * substeps
    q: dict[int, list] = {}
    discharge, last_history, last = [None] * n, [], [None] * n
    for i in topological_order(n, links.upstream, links.downstream):
        k = pointer[i + 1] - pointer[i]
        lags = history[:, pointer[i] - i : pointer[i + 1] - i - 1]
        inflow = [lags[:, k - 2 - j] for j in range(k - 1)]
        y = [outflow[:, i]]
        q[i] = []
        for f in range(fine):
            r = runoff[:, i, f // substeps]
            now = torch.zeros(n_batch, dtype=runoff.dtype)
            for link in np.flatnonzero(links.downstream == i):
                now = now + links.fraction[link] * q[links.upstream[link]][f]
            inflow.append(now + r if lateral == "head" else now)
            out = sum(taps[pointer[i] + j] * inflow[k - 1 + f - j] for j in range(k)) + pole[i] * y[-1]
            y.append(out + gain[i] * r if lateral == "interval" else out)
            q[i].append(y[-1] + r if lateral == "outlet" else y[-1])
        steps = []
        for t in range(n_time):
            at = range(t * substeps, (t + 1) * substeps)
            if sampling == "start-mean":
                value = sum(y[f] for f in at) / substeps
                steps.append(value + runoff[:, i, t] if lateral == "outlet" else value)
            else:
                steps.append(q[i][at[-1]] if sampling == "last" else sum(q[i][f] for f in at) / substeps)
        discharge[i] = torch.stack(steps, dim=-1)
        last[i] = y[-1]
        last_history.append((i, [inflow[len(inflow) - 1 - j] for j in range(k - 1)]))
    lags = [lag for _, own in sorted(last_history, key=lambda pair: pair[0]) for lag in own]
    empty = torch.zeros(n_batch, 0, dtype=runoff.dtype)
    return torch.stack(discharge, 1), torch.stack(lags, 1) if lags else empty, torch.stack(last, 1)


def flat(gradients):
    """Gradients of runoff, taps, pole, gain, history and outflow."""
    *found, of_state = gradients
    return *found, *of_state


def through(plan, pointer, runoff, taps, pole, gain, history, outflow, **options):
    made, state = Filter(taps, pointer, pole, gain), State(history, outflow)
    discharge, end = route_autograd(runoff, plan, made, state, RoutingSettings(None, **options))
    return discharge, *end


def gradients(outputs, values, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    loss = sum((o * torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.device)).sum() for o in outputs)
    return dict(zip(values, torch.autograd.grad(loss, list(values.values())), strict=True))


@pytest.mark.parametrize("shape", ["tree", "bifurcating", "edgeless"])
@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("lateral", LATERALS)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_equals_torch_through_the_naive_recurrence(shape, substeps, lateral, sampling, device):
    links, plan, pointer, values = case(shape, 7, seed=3)
    options = {"substeps": substeps, "sampling": sampling, "lateral": lateral}
    expected_out = naive(links, pointer, **values, **options)
    there = case(shape, 7, seed=3, device=device)[3]
    out = through(plan, pointer, **there, **options)
    for a, b in zip(out, expected_out, strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=0, atol=1e-12)
    expected = gradients(expected_out, {k: v for k, v in values.items() if lateral == "interval" or k != "gain"})
    found = gradients(out, there)
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name].cpu(), value, rtol=1e-11, atol=1e-11, msg=lambda m, name=name: f"{name}: {m}"
        )
    if lateral != "interval":
        assert not found["gain"].any()


@pytest.mark.parametrize(
    ("scheme", "lateral"),
    [*itertools.product((*USUAL, "mixed"), ("head", "outlet")), *itertools.product(INTERVAL, ("interval",))],
)
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("substeps", [1, 3])
def test_gradcheck_of_every_scheme(scheme, lateral, sampling, substeps):
    rng = np.random.default_rng(5)
    links = topology("tree" if substeps == 1 else "bifurcating", 6, rng)
    n = links.n_reaches
    plan = make_plan(*links.links, n)
    names = list(USUAL) if scheme == "mixed" else [scheme]
    parts = [np.arange(n)[k :: len(names)] for k in range(len(names))]
    start = {
        name: (at, {p: rng.uniform(*USUAL[name][p], at.size) for p in USUAL[name]})
        for name, at in zip(names, parts, strict=True)
    }
    flat = [torch.from_numpy(v) for _, values in start.values() for v in values.values()]
    lags = int(make_filter(start, DT / substeps, n).pointer[-1]) - n

    def function(runoff, outflow, *others):
        history, *factors = others if lags else (None, *others)
        scaled = iter(f * v for f, v in zip(factors, flat, strict=True))
        now = {name: (at, {p: next(scaled) for p in values}) for name, (at, values) in start.items()}
        made = make_filter(now, DT / substeps, n, lateral=lateral)
        settings = RoutingSettings(None, substeps, sampling, lateral)
        discharge, end = route_autograd(runoff, plan, made, State(history, outflow), settings)
        return (discharge, *end)[: 3 if lags else 1]

    inputs = [rng.normal(size=(2, n, 3)), rng.normal(size=(2, n)), *([rng.normal(size=(2, lags))] if lags else [])]
    tensors = [torch.from_numpy(a).requires_grad_() for a in inputs]
    factors = [torch.ones_like(v).requires_grad_() for v in flat]
    assert torch.autograd.gradcheck(function, (*tensors, *factors), fast_mode=True, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("lateral", LATERALS)
def test_gradcheck_in_full(lateral, device):
    _, plan, pointer, values = case("bifurcating", 4, seed=2, n_batch=1, n_time=3, device=device)

    def function(*tensors):
        return through(plan, pointer, *tensors, substeps=2, sampling="start-mean", lateral=lateral)

    assert torch.autograd.gradcheck(function, tuple(values.values()), atol=1e-8)


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("lateral", LATERALS)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_blocks_of_time_change_nothing(substeps, lateral, sampling):
    """Blocks shorter than the taps too."""
    _, plan, pointer, values = case("bifurcating", 9, seed=4, n_batch=2, n_time=23)
    arrays = {k: v.detach().numpy() for k, v in values.items()}
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=arrays[k].shape) for k in ("runoff", "history", "outflow")]
    arguments = (
        grads[0], State(*grads[1:]), arrays["runoff"], plan,
        FilterArrays(arrays["taps"], pointer, arrays["pole"], arrays["gain"]),
        State(arrays["history"], arrays["outflow"]), RoutingSettings(None, substeps, sampling, lateral),
    )  # fmt: skip
    whole = flat(adjoint_cpu(*arguments, block=23))
    for block in (1, 2, 7, 22):
        for found, expected in zip(flat(adjoint_cpu(*arguments, block=block)), whole, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("n_batch", "substeps", "sampling", "lateral"), [
    (1, 1, "mean", "head"), (3, 1, "last", "interval"), (9, 2, "start-mean", "outlet"), (2, 3, "mean", "head"),
])  # fmt: skip
def test_chunks_of_places_change_no_bit(n_batch, substeps, sampling, lateral, monkeypatch):
    """What is kept as a whole, and what is routed again chunk by chunk, with room for one block of time or for all."""
    network = xroute.Network(xroute.datasets.scheidegger(40, 50, seed=3))
    n = network.n_reaches
    rng = np.random.default_rng(1)
    n_taps = rng.choice([1, 2, 2, 2, 2, 2, 2, 5], n)
    pointer = np.concatenate([[0], np.cumsum(n_taps)])
    made = FilterArrays(rng.random(pointer[-1]) / np.repeat(n_taps, n_taps), pointer, 0.5 * rng.random(n), rng.random(n))
    runoff, weight = rng.random((2, n_batch, n, 21)).astype(np.float32)
    state, grads = (State(rng.random((n_batch, pointer[-1] - n)), rng.random((n_batch, n))) for _ in range(2))
    settings = RoutingSettings(None, substeps, sampling, lateral)
    known = [np.array([3, n // 2]), np.where(rng.random((n_batch, 2, 21)) < 0.5, np.nan, 1.0)]

    def found() -> list[np.ndarray]:
        into = Known(*known, np.zeros(known[1].shape))
        return [*flat(adjoint_cpu(weight, grads, runoff, network.plan, made, state, settings, known=into, block=8)), into.grad]

    whole = found()
    monkeypatch.setattr(adjoint, "WHOLE_BYTES", 0)
    for chunk, kept, threads in ((1, 2**30, 1), (1, 0, 2), (2**17, 2**30, 2), (2**17, 0, 1), (2**30, 0, 2)):
        monkeypatch.setattr(adjoint, "CHUNK_BYTES", chunk)
        monkeypatch.setattr(adjoint, "KEPT_BYTES", kept)
        monkeypatch.setattr(adjoint, "KEPT_SHARE", 0 if kept == 0 else adjoint.KEPT_SHARE)
        with xroute.set_options(threads=threads):
            for a, b in zip(found(), whole, strict=True):
                np.testing.assert_array_equal(a, b)


def muskingum(network: xroute.Network) -> Filter:
    data = network.dataset
    return make_filter(
        {"muskingum": (np.arange(network.n_reaches), {"k": data.k.values.copy(), "x": data.x.values.copy()})},
        DT,
        network.n_reaches,
    )


@pytest.mark.parametrize("n_batch", [1, 3, 11])
def test_large_network_on_any_number_of_threads(n_batch):
    """The network has several tasks and a trunk, the series several blocks; bits do not depend on threads."""
    network = xroute.Network(xroute.datasets.scheidegger(60, 40, seed=2))
    made = muskingum(network)
    rng = np.random.default_rng(0)
    runoff, weight = rng.random((2, n_batch, network.n_reaches, 40))
    state = [rng.random((n_batch, network.n_reaches)) for _ in range(2)]
    grads = [rng.random((n_batch, network.n_reaches)) for _ in range(2)]
    found = []
    for threads in (1, 2, 4):
        with xroute.set_options(threads=threads):
            gradients = adjoint_cpu(
                weight, State(*grads), runoff, network.plan, made.arrays(), State(*state), block=16
            )
            found.append(flat(gradients))
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(a, b)
    # routing is linear in runoff and state, so <weights, outputs> = <gradients, inputs>
    discharge, end = np.empty_like(runoff), State(*(s.copy() for s in state))
    route_cpu(runoff, discharge, network.plan, made.arrays(), end)
    pairs = zip((weight, *grads), (discharge, *end), strict=True)
    backward = zip((found[0][k] for k in (0, 4, 5)), (runoff, *state), strict=True)
    assert np.isclose(sum((a * b).sum() for a, b in pairs), sum((a * b).sum() for a, b in backward), rtol=1e-12)


def test_filter_gradients_of_a_large_network_by_finite_differences():
    network = xroute.Network(xroute.datasets.scheidegger(40, 40, seed=2))
    taps, pointer, pole, gain = muskingum(network).arrays()
    rng = np.random.default_rng(0)
    runoff, weight = rng.random((2, 2, network.n_reaches, 30))
    zero = np.zeros((2, network.n_reaches))
    given = FilterArrays(taps, pointer, pole, gain)
    found = adjoint_cpu(weight, State(zero, zero), runoff, network.plan, given, State(zero, zero), block=11)
    along = rng.normal(size=taps.size), rng.normal(size=pole.size)

    def loss(step: float) -> float:
        discharge = np.empty_like(runoff)
        moved = FilterArrays(taps + step * along[0], pointer, pole + step * along[1], gain)
        route_cpu(runoff, discharge, network.plan, moved, State(zero.copy(), zero.copy()))
        return float((weight * discharge).sum())

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    assert np.isclose((found[1] * along[0]).sum() + (found[2] * along[1]).sum(), slope, rtol=1e-6)


@pytest.mark.parametrize("lateral", LATERALS)
def test_row_maps_and_scale(lateral):
    """Reaches without runoff or discharge, rows in another order, rows that nobody reads."""
    _, plan, pointer, values = case("tree", 6, seed=8)
    arrays = {k: v.detach().numpy() for k, v in values.items()}
    given = FilterArrays(arrays["taps"], pointer, arrays["pole"], arrays["gain"])
    rng = np.random.default_rng(0)
    runoff, weight = rng.normal(size=(2, 8, 4)), rng.normal(size=(2, 5, 4))
    rows = Rows(
        np.array([7, -1, 0, 2, 5, 3]), np.array([-1, 4, 0, 3, -1, 1]), 5, rng.uniform(1, 2, 6),
    )  # fmt: skip
    settings = RoutingSettings(None, 2, "start-mean", lateral)
    state = State(arrays["history"], arrays["outflow"])
    zero = State(*(np.zeros_like(s) for s in state))
    found = flat(adjoint_cpu(weight, zero, runoff, plan, given, state, settings, rows=rows))
    assert not found[0][:, [1, 4, 6]].any()
    discharge, end = np.zeros_like(weight), State(*(s.copy() for s in state))
    route_cpu(runoff, discharge, plan, given, end, settings, rows=rows)
    backward = zip((found[k] for k in (0, 4, 5)), (runoff, *state), strict=True)
    assert np.isclose((weight * discharge).sum(), sum((a * b).sum() for a, b in backward), rtol=1e-12)


def test_only_what_is_needed(device):
    """Without gradients of the filter nothing is routed again, and runoff's gradient is the same."""
    _, plan, pointer, values = case(device=device)
    whole = gradients(through(plan, pointer, **values), values)
    for wanted in (("runoff",), ("taps", "pole"), ("gain", "outflow"), ("history",)):
        some = {k: v.detach().requires_grad_(k in wanted) for k, v in values.items()}
        found = gradients(through(plan, pointer, **some), {k: some[k] for k in wanted})
        for name in wanted:
            assert torch.equal(found[name], whole[name])


def test_dtypes(device):
    _, plan, pointer, values = case(n_time=30, device=device)
    whole = gradients(through(plan, pointer, **values), values)
    for dtype in (torch.float32, torch.bfloat16):
        runoff = values["runoff"].detach().to(dtype).requires_grad_()
        out = through(plan, pointer, **{**values, "runoff": runoff})
        assert [o.dtype for o in out] == [torch.float32, torch.float64, torch.float64]
        found = gradients(out, {**values, "runoff": runoff})
        assert found["runoff"].dtype == dtype
        tolerance = 1e-5 if dtype == torch.float32 else 0.1
        torch.testing.assert_close(found["taps"], whole["taps"], rtol=tolerance, atol=10 * tolerance)


def test_graph_used_twice_and_plans_that_only_the_graph_holds(device):
    _, plan, pointer, values = case(device=device)
    loss = through(plan, pointer, **values)[0].square().sum()
    del plan
    once = torch.autograd.grad(loss, values["runoff"], retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(loss, values["runoff"])[0], once)


def test_no_grad_and_layouts(device):
    _, plan, pointer, values = case(device=device)
    expected = through(plan, pointer, **values)
    with torch.no_grad():
        out = through(plan, pointer, **values)
    assert not any(o.requires_grad for o in out)
    time_first = values["runoff"].detach().permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    assert not time_first.is_contiguous()
    out = through(plan, pointer, **{**values, "runoff": time_first})
    assert all(torch.equal(a, b) for a, b in zip(out, expected, strict=True))
    found = gradients(out, {**values, "runoff": time_first})
    assert torch.equal(found["runoff"], gradients(expected, values)["runoff"])
    expanded = values["runoff"].detach()[:1].expand(2, -1, -1).requires_grad_()
    repeated = expanded.detach().clone().requires_grad_()
    found, wanted = (through(plan, pointer, **{**values, "runoff": r})[0] for r in (expanded, repeated))
    assert torch.equal(found, wanted)
    strided = torch.ones((), dtype=found.dtype, device=found.device).expand(found.shape)
    (found,) = torch.autograd.grad(found, expanded, strided)
    (wanted,) = torch.autograd.grad(wanted, repeated, strided.contiguous())
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(("n_batch", "n_time"), [(0, 4), (2, 0), (0, 0)])
def test_empty(n_batch, n_time, device):
    _, plan, pointer, values = case(n_batch=n_batch, n_time=n_time, device=device)
    out = through(plan, pointer, **values)
    assert out[0].shape == (n_batch, 6, n_time)
    found = gradients(out, values)
    assert not found["taps"].any() and found["runoff"].shape == (n_batch, 6, n_time)
    if n_batch:  # nothing happened to the state
        assert torch.equal(out[2], values["outflow"])
        ones = torch.autograd.grad(through(plan, pointer, **values)[2].sum(), values["outflow"])[0]
        assert torch.equal(ones, torch.ones_like(ones))


def test_no_second_derivative(device):
    _, plan, pointer, values = case(device=device)
    loss = through(plan, pointer, **values)[0].square().sum()
    (first,) = torch.autograd.grad(loss, values["runoff"], create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        first.sum().backward()


def test_opcheck(device):
    _, plan, pointer, values = case(device=device)
    tensors = [torch.from_numpy(pointer) if k == "pointer" else values[k] for k in
               ("runoff", "taps", "pointer", "pole", "gain", "history", "outflow")]  # fmt: skip
    for substeps in (1, 2):
        options = (plan_handle(plan), substeps, "mean", "head")
        numel = backend_of(device).trace_numel(values["runoff"], plan, pointer, RoutingSettings(None, *options[1:]))
        torch.library.opcheck(torch.ops.xroute.route, (*tensors, *options, numel, True))
        constants = [t.detach() for t in tensors]
        grads = [constants[k] for k in (0, 5, 6)]
        none = constants[0].new_empty(0)
        kept = (none, none)
        if numel:
            with torch.no_grad():
                discharge, *_, trace = torch.ops.xroute.route(*constants, *options, numel, True)
            kept = discharge, trace
            torch.library.opcheck(torch.ops.xroute.route_backward, (*grads, *constants, *kept, *options, True, True))
        torch.library.opcheck(torch.ops.xroute.route_backward, (*grads, *constants, none, none, *options, True, True))


@pytest.mark.parametrize("substeps", [1, 2])
def test_compile(device, substeps):
    _, plan, pointer, values = case(device=device)
    handle, where = plan_handle(plan), torch.from_numpy(pointer)
    trace = backend_of(device).trace_numel(values["runoff"], plan, pointer, RoutingSettings(None, substeps, "last"))

    def function(runoff, taps, pole, gain, history, outflow):
        out = torch.ops.xroute.route(
            2 * runoff, taps, where, pole, gain, history, outflow, handle, substeps, "last", "head", trace, True
        )
        return out[0].square(), out[1], out[2]

    expected = function(*values.values())
    out = torch.compile(function, backend="aot_eager", fullgraph=True)(*values.values())
    assert all(torch.equal(a, b) for a, b in zip(out, expected, strict=True))
    found, expected_grads = gradients(out, values), gradients(expected, values)
    assert all(torch.equal(found[k], expected_grads[k]) for k in values)


def test_handles():
    """A handle means what the plan contains, in any process."""
    links = np.array([2, 1]), np.array([1, 0]), np.array([0.25, 1.0])
    plan = make_plan(*links, 3)
    handle = plan_handle(plan)
    assert plan_handle(plan) == handle and plan_of(handle) is plan
    copy = pickle.loads(pickle.dumps(plan))
    assert plan_handle(copy) == handle and plan_of(handle) is plan  # they are equal, so either will do
    others = make_plan(*links[:2], np.ones(2), 3), make_plan(*links, 4), make_plan(*links, 3, n_given=1)
    assert len({handle, *map(plan_handle, others)}) == 4
    del plan
    assert plan_of(handle) is copy  # a plan that is used is found, although another one had the handle before it
    del copy
    with pytest.raises(XRouteError, match="is gone"):
        plan_of(handle)


def test_a_plan_that_equals_another_one_serves_after_that_is_gone(monkeypatch):
    """The other is garbage that is still there when routing begins, and is collected while it goes on."""
    _, plan, pointer, values = case(seed=77)  # which no other test has: theirs may live on
    expected = through(plan, pointer, **values)[0].detach()
    other = pickle.loads(pickle.dumps(plan))
    waste: list[object] = [other]
    waste.append(waste)  # a cycle, which only the collector takes
    del plan, other
    gc.collect()
    gc.disable()
    try:
        again = pickle.loads(pickle.dumps(waste[0]))
        handle = plan_handle(waste[0])
        assert plan_of(handle) is waste[0]
        del waste
        cpu = backend_of("cpu")
        forward = cpu.forward

        def collecting(*args, **kwargs):
            gc.collect()
            return forward(*args, **kwargs)

        monkeypatch.setattr(cpu, "forward", collecting)
        found = through(again, pointer, **values)
        gc.collect()
        gradients(found, values)
    finally:
        gc.enable()
    assert torch.equal(found[0], expected)


def test_errors():
    _, plan, pointer, values = case()
    with pytest.raises(ParameterError, match=r"runoff has shape \(2, 5, 4\), not \(batch, 6 reaches, time\)"):
        through(plan, pointer, **{**values, "runoff": torch.zeros(2, 5, 4)})
    with pytest.raises(ParameterError, match="'meta', where nothing can route it"):
        through(plan, pointer, **{**values, "runoff": torch.zeros(2, 6, 4, device="meta")})
    with pytest.raises(ParameterError, match="floating-point"):
        through(plan, pointer, **{**values, "runoff": torch.zeros(2, 6, 4, dtype=torch.int64)})
    with pytest.raises(StateError, match="outflow has shape"):
        through(plan, pointer, **{**values, "outflow": torch.zeros(1, 6)})
    with pytest.raises(ParameterError, match="taps of the filter has shape"):
        through(plan, pointer, **{**values, "taps": values["taps"][:-1], "history": None})
    with pytest.raises(ParameterError, match="sampling is one of"):
        through(plan, pointer, **values, sampling="median")
    with pytest.raises(ParameterError, match="substeps"):
        through(plan, pointer, **values, substeps=0)
