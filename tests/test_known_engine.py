"""Known discharge in the engine: routing and its gradients against a recurrence written naively, for torch to differentiate."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_adjoint import case as ragged

from xroute.engine.arrays import Exchange, FilterArrays, Known, Rows, State
from xroute.engine.autograd import route_autograd
from xroute.engine.cpu.adjoint import adjoint_cpu
from xroute.engine.cpu.forward import route_cpu
from xroute.engine.cpu.kernels import route_task
from xroute.engine.reference import topological_order
from xroute.exceptions import ParameterError
from xroute.schemes import Filter
from xroute.settings import LATERAL, SAMPLING, RoutingSettings

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
MODES = [*itertools.product((1, 3), SAMPLING, LATERAL)]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_gpu])])
def device(request):
    return request.param


def case(shape="tree", n=8, seed=0, n_batch=2, n_time=6, members=2, taps=(1, 2, 3, 5, 17), share=0.5, gaps=0.4, device="cpu"):
    """A network whose reaches have random filters, some of them known on some steps; all tensors require gradients."""
    links, plan, pointer, values = ragged(shape, n, seed, n_batch, n_time, device, taps)
    rng = np.random.default_rng([seed, 1])
    reach = rng.permutation(plan.n_reaches)[: max(1, int(share * plan.n_reaches))]
    known = rng.normal(size=(members, reach.size, n_time))
    known[rng.random(known.shape) < gaps] = np.nan
    values["known"] = torch.from_numpy(known).to(device).requires_grad_()
    return links, plan, pointer, torch.from_numpy(reach), values


def through(plan, pointer, reach, settings, *, runoff, taps, pole, gain, history, outflow, known):
    filter, state = Filter(taps, pointer, pole, gain), State(history, outflow)
    discharge, end = route_autograd(runoff, plan, filter, state, settings, known=Known(reach, known))
    return discharge, end.history, end.outflow


def naive(links, pointer, reach, settings, *, runoff, taps, pole, gain, history, outflow, known):
    """Each number after the other: what is known replaces a step's discharge, and what drains to the reach below."""
    substeps, sampling, lateral = settings.substeps, settings.sampling, settings.lateral
    n_batch, n, n_time = runoff.shape
    known = known.expand(n_batch, -1, -1)
    row = {int(i): k for k, i in enumerate(reach)}
    passed, discharge, history_of, last = {}, [None] * n, [None] * n, [None] * n
    for i in topological_order(n, links.upstream, links.downstream):
        k = pointer[i + 1] - pointer[i]
        lags = history[:, pointer[i] - i : pointer[i + 1] - i - 1]
        inflow = [lags[:, k - 2 - j] for j in range(k - 1)]
        y = [outflow[:, i]]
        for f in range(n_time * substeps):
            r = runoff[:, i, f // substeps]
            now = torch.zeros(n_batch, dtype=torch.float64)
            for link in np.flatnonzero(links.downstream == i):
                now = now + links.fraction[link] * passed[links.upstream[link]][f]
            inflow.append(now + r if lateral == "head" else now)
            out = sum(taps[pointer[i] + j] * inflow[k - 1 + f - j] for j in range(k)) + pole[i] * y[-1]
            y.append(out + gain[i] * r if lateral == "interval" else out)
        steps, passed[i] = [], []
        for t in range(n_time):
            at = range(t * substeps, (t + 1) * substeps)
            r = runoff[:, i, t]
            q = [y[f + 1] + r if lateral == "outlet" else y[f + 1] for f in at]
            if sampling == "start-mean":
                value = sum(y[f] for f in at) / substeps + (r if lateral == "outlet" else 0)
            else:
                value = q[-1] if sampling == "last" else sum(q) / substeps
            if i in row:
                given = known[:, row[i], t]
                there = ~given.isnan()
                value = torch.where(there, given.nan_to_num(), value)
                q = [torch.where(there, given.nan_to_num(), one) for one in q]
            steps.append(value)
            passed[i] += q
        discharge[i] = torch.stack(steps, dim=-1)
        last[i] = y[-1]
        history_of[i] = inflow[::-1][: k - 1]
    past = [lag for lags in history_of for lag in lags]
    ends = torch.stack(past, dim=-1) if past else history
    return torch.stack(discharge, dim=1), ends, torch.stack(last, dim=-1)


def gradients(out, values, seed=1):
    rng = np.random.default_rng(seed)
    loss = sum((o * torch.from_numpy(rng.normal(size=o.shape)).to(o.device)).sum() for o in out)
    found = torch.autograd.grad(loss, list(values.values()), materialize_grads=True)  # without laterals over it, gain is not used
    return dict(zip(values, found, strict=True))


@pytest.mark.parametrize(("substeps", "sampling", "lateral"), MODES)
@pytest.mark.parametrize("members", [1, 2])
def test_forward_and_gradients(substeps, sampling, lateral, members, device):
    settings = RoutingSettings(None, substeps, sampling, lateral)
    links, plan, pointer, reach, values = case(seed=substeps, members=members, device=device)
    out = through(plan, pointer, reach, settings, **values)
    here = {k: v.detach().cpu().requires_grad_() for k, v in values.items()}
    expected = naive(links, pointer, reach, settings, **here)
    for found, wanted in zip(out, expected, strict=True):
        np.testing.assert_allclose(found.detach().cpu(), wanted.detach(), rtol=1e-10, atol=1e-12)
    found, wanted = gradients(out, values), gradients(expected, here)
    for name in values:
        scale = float(wanted[name].abs().max()) + 1e-300
        np.testing.assert_allclose(found[name].cpu(), wanted[name], rtol=1e-9, atol=1e-11 * scale, err_msg=name)
    gaps = values["known"].isnan()
    assert gaps.any() and not found["known"][gaps].any() and found["known"][~gaps].all()


@pytest.mark.parametrize("shape", ["chain", "bifurcations", "forest", "edgeless"])
@pytest.mark.parametrize("taps", [(1,), (2,), (1, 2, 3)])
@pytest.mark.parametrize("substeps", [1, 2])
def test_shapes(shape, taps, substeps, device):
    """Short filters, which GPUs have kernels of their own for; every reach known; no gap at all."""
    settings = RoutingSettings(None, substeps, "mean", "head")
    for share, gaps in ((1.0, 0.5), (0.4, 0.0)):
        links, plan, pointer, reach, values = case(shape, 40, 3, taps=taps, share=share, gaps=gaps, n_time=9, device=device)
        out = through(plan, pointer, reach, settings, **values)
        here = {k: v.detach().cpu().requires_grad_() for k, v in values.items()}
        expected = naive(links, pointer, reach, settings, **here)
        found, wanted = gradients(out, values), gradients(expected, here)
        for a, b in [*zip(out, expected, strict=True), *((found[k], wanted[k]) for k in values)]:
            scale = float(b.detach().abs().max()) if b.numel() else 1.0
            np.testing.assert_allclose(a.detach().cpu(), b.detach(), rtol=1e-8, atol=1e-10 * scale)


def test_gradcheck(device):
    _, plan, pointer, reach, values = case(n=5, n_time=3, device=device)
    gaps = values["known"].detach().isnan()
    filled = values["known"].detach().nan_to_num().requires_grad_()
    for settings in (RoutingSettings(None, 1, "mean", "interval"), RoutingSettings(None, 2, "start-mean", "outlet")):

        def function(*tensors, settings=settings):
            named = dict(zip(values, tensors, strict=True))
            named["known"] = torch.where(gaps, torch.nan, named["known"])
            return through(plan, pointer, reach, settings, **named)

        assert torch.autograd.gradcheck(function, (*list(values.values())[:-1], filled))


@pytest.mark.parametrize("sampling", SAMPLING)
def test_blocks_of_time(sampling):
    """The adjoint in blocks of time, from states that it finds again, as on long series."""
    settings = RoutingSettings(None, 2, sampling, "outlet")
    _, plan, pointer, reach, values = case(n_time=11, members=1)
    plain = {k: v.detach().numpy() for k, v in values.items()}
    filter = FilterArrays(plain["taps"], pointer, plain["pole"], plain["gain"])
    state, known = State(plain["history"], plain["outflow"]), Known(reach.numpy(), plain["known"])
    rng = np.random.default_rng(5)
    grad = rng.normal(size=plain["runoff"].shape)
    ends = State(rng.normal(size=state.history.shape), rng.normal(size=state.outflow.shape))
    found = []
    for block in (11, 3):
        into = known._replace(grad=np.zeros_like(known.values))
        grads = adjoint_cpu(grad, ends, plain["runoff"], plan, filter, state, settings, known=into, block=block)
        found.append((*grads[:4], *grads.state, into.grad))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_nothing_known_is_nothing_changed():
    """All NaN, or no reach: the bits of plain routing."""
    _, plan, pointer, reach, values = case(n=60, n_time=700, n_batch=1, members=1)
    plain = {k: v.detach().numpy() for k, v in values.items()}
    filter = FilterArrays(plain["taps"], pointer, plain["pole"], plain["gain"])
    results = []
    nothing = Known(reach.numpy(), np.full_like(plain["known"], np.nan)), Known(reach.numpy()[:0], plain["known"][:, :0])
    for known in (None, *nothing):
        state = State(plain["history"].copy(), plain["outflow"].copy())
        discharge = np.empty_like(plain["runoff"])
        route_cpu(plain["runoff"], discharge, plan, filter, state, rows=Rows(), exchange=Exchange(known=known))
        results.append((discharge, *state))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_shapes_that_do_not_fit():
    _, plan, pointer, reach, values = case()
    with pytest.raises(ParameterError, match="known discharge has shape"):
        through(plan, pointer, reach[:-1], RoutingSettings(), **values)


def test_arrays_that_may_not_be_written_to_compile_nothing_again():
    """As a worker gets them of another process: a minute, wherever a plan has no kept reaches."""
    _, plan, pointer, _, values = case(members=1)
    filter = FilterArrays(values["taps"].detach().numpy(), pointer, *(values[k].detach().numpy() for k in ("pole", "gain")))
    runoff = values["runoff"].detach().numpy()
    nothing = np.empty(0, np.int64)

    def route(kept, known):
        discharge, state = np.empty_like(runoff), State(*(values[k].detach().numpy().copy() for k in ("history", "outflow")))
        route_cpu(runoff, discharge, replace(plan, kept=kept), filter, state, exchange=Exchange(known=known))
        return discharge, len(route_task.signatures)

    expected, n_compiled = route(nothing, None)
    frozen = nothing.copy()
    frozen.setflags(write=False)
    for kept, known in ((frozen, None), (nothing, Known(frozen, np.empty((1, 0, runoff.shape[2]))))):
        found, n = route(kept, known)
        np.testing.assert_array_equal(found, expected)
        assert n == n_compiled
