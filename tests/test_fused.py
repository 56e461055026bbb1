"""What a GPU makes in one kernel is what torch makes in many: filters of schemes, values within bounds, and their gradients."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_schemes import TRUTH

from xroute.bounded import FARTHEST, to_physical
from xroute.datasets import scheidegger
from xroute.network import Network
from xroute.schemes import SCHEMES, Parameter, make_filter
from xroute.schemes.builtin import BUILT_IN
from xroute.settings import RoutingSettings

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytest.importorskip("triton")

DEVICE = torch.device("cuda" if CUDA else "cpu")
launches = pytest.mark.skipif(not (CUDA or INTERPRETED), reason="no GPU: see test_interpreted")
FUSED = [scheme.name for scheme in BUILT_IN if scheme.window is None]
STEPS = (60.0, 3600.0, 86400.0)


@pytest.mark.skipif(CUDA or INTERPRETED, reason="tested here")
def test_interpreted():
    """In a process of its own: whether kernels are interpreted is settled when they are defined."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False)
    assert not done.returncode and " passed" in done.stdout, done.stdout[-4000:] + done.stderr[-1000:]


def drawn(scheme, n, seed=0):
    """Parameters of all reaches from far shorter than a step to far longer."""
    rng = np.random.default_rng(seed)
    values = [
        10 ** rng.uniform(0, 7, n) if p.units == "s" else rng.uniform(p.low, p.high, n) for p in SCHEMES[scheme].parameters
    ]
    return [torch.from_numpy(v).to(DEVICE).requires_grad_() for v in values]


def test_all_schemes_of_taps_and_a_pole_are_fused():
    from xroute.schemes.fused import N_TAPS

    marked = {scheme.name: getattr(scheme.filter, "fused", None) for scheme in BUILT_IN}
    assert [name for name, formula in marked.items() if formula] == FUSED
    assert set(filter(None, marked.values())) == set(N_TAPS)


@launches
@pytest.mark.parametrize("dt", STEPS)
@pytest.mark.parametrize("scheme", FUSED)
def test_filters_are_those_of_the_literature(scheme, dt):
    from xroute.schemes.fused import fused_filter

    values = drawn(scheme, 40)
    taps, pole, zero = fused_filter(SCHEMES[scheme].filter.fused, dt, values)
    assert zero.shape == pole.shape and not zero.any() and not zero.requires_grad
    names = [p.name for p in SCHEMES[scheme].parameters]
    for k in range(40):
        reach = dict(zip(names, (v[k].item() for v in values), strict=True))
        true_taps, true_pole = TRUTH[scheme].filter(dt, **reach)
        np.testing.assert_allclose(taps[k].detach().cpu(), np.ravel(true_taps), rtol=1e-9, atol=2e-12)
        np.testing.assert_allclose(pole[k].item(), true_pole, rtol=1e-12, atol=1e-15)
    # slow reaches neither make nor lose water: exactly, but for taps that are not close to begin with
    assert float((taps.sum(dim=1) - (1 - pole)).abs().max()) == 0.0


@launches
@pytest.mark.parametrize("dt", STEPS)
@pytest.mark.parametrize("scheme", FUSED)
def test_filters_and_gradients_are_those_of_torch(scheme, dt):
    from xroute.schemes.fused import fused_filter

    values, generator = drawn(scheme, 700, 1), torch.Generator().manual_seed(2)
    found = fused_filter(SCHEMES[scheme].filter.fused, dt, values)[:2]
    parameters = {p.name: v for p, v in zip(SCHEMES[scheme].parameters, values, strict=True)}
    if CUDA:  # what is made of parameters on a GPU is fused
        expected = SCHEMES[scheme].filter(dt, 0, **parameters)
    else:
        made = make_filter({scheme: (np.arange(700), parameters)}, dt, 700)
        expected = made.taps.reshape(700, -1), made.pole
    weights = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(DEVICE) for t in found]
    for mine, its in zip(found, expected, strict=True):
        assert float((mine - its).abs().max()) < 1e-15
    grads = [
        torch.autograd.grad(sum((t * w).sum() for t, w in zip(made, weights, strict=True)), values)
        for made in (found, expected)
    ]
    for value, p, mine, its in zip(values, SCHEMES[scheme].parameters, *grads, strict=True):
        scale = value.detach() if p.units == "s" else 1.0  # of a reach ten times as slow gradients are a hundredth
        assert float((its * scale).abs().max()) > 0.1
        torch.testing.assert_close(mine * scale, its * scale, rtol=1e-9, atol=1e-14)


@launches
@pytest.mark.parametrize("scheme", FUSED)
def test_gradients_are_slopes(scheme):
    from xroute.schemes.fused import fused_filter

    values = [v.detach().clamp(500.0, 50_000.0) if v.max() > 1 else v.detach() for v in drawn(scheme, 5, 3)]
    leaves = [v.requires_grad_() for v in values]
    assert torch.autograd.gradcheck(
        lambda *given: fused_filter(SCHEMES[scheme].filter.fused, 3600.0, given)[:2], leaves, eps=1e-4, atol=1e-7, rtol=1e-4
    )


@launches
@pytest.mark.parametrize("scheme", FUSED)
def test_gradients_of_what_a_loss_looks_at_alone(scheme):
    from xroute.schemes.fused import fused_filter

    values = drawn(scheme, 9, 5)
    made = fused_filter(SCHEMES[scheme].filter.fused, 3600.0, values)[:2]
    apart = [torch.autograd.grad(t.sum(), values, retain_graph=True) for t in made]
    for taps, pole in zip(*apart, strict=True):  # taps sum to 1 - pole
        assert float(pole.abs().max()) > 0
        torch.testing.assert_close(taps, -pole, rtol=1e-9, atol=1e-9 * float(pole.abs().max()))


@launches
def test_no_reach_is_no_launch():
    from xroute.schemes.fused import fused_filter

    none = torch.zeros(0, dtype=torch.float64, device=DEVICE, requires_grad=True)
    taps, pole, _ = fused_filter("muskingum", 3600.0, [none, none])
    assert taps.shape == (0, 2) and pole.shape == (0,)
    (taps.sum() + pole.sum()).backward()
    assert none.grad.shape == (0,)


@pytest.mark.skipif(not CUDA, reason="no GPU")
def test_what_is_made_on_a_gpu_is_fused_whatever_the_order_of_parameters():
    k, x = drawn("muskingum", 9)
    made = make_filter({"muskingum": (np.arange(9), {"x": x, "k": k})}, 3600.0, 9)
    there = make_filter({"muskingum": (np.arange(9), {"k": k.cpu(), "x": x.cpu()})}, 3600.0, 9)
    assert "Fused" in str(made.taps.grad_fn.next_functions[0][0]) or "Fused" in str(made.taps.grad_fn)
    torch.testing.assert_close(made.taps.cpu(), there.taps, rtol=0, atol=1e-15)


def test_another_filter_is_not_fused():
    """Of a scheme made from a built-in one by putting a function of one's own in its place."""
    from xroute.schemes.making import _fused

    def half(dt, n_taps, *, k, x):
        return SCHEMES["muskingum"].filter(dt, n_taps, k=k / 2, x=x)

    own = replace(SCHEMES["muskingum"], name="own", filter=half)
    values = dict(zip(("k", "x"), drawn("muskingum", 4), strict=True))
    assert getattr(own.filter, "fused", None) is None
    assert _fused(own, values, 3600.0, 4, torch.device("cuda", 0)) is None


RANGES = [
    Parameter("k", low=0.0, low_open=True), Parameter("x", low=0.0, high=0.5), Parameter("z", low=2.0, high=7.0, low_open=True),
    Parameter("y", high=3.0), Parameter("w", low=-1.0),
]  # fmt: skip


@launches
@pytest.mark.parametrize("parameter", RANGES, ids=lambda parameter: parameter.name)
def test_values_within_bounds_are_those_of_torch(parameter):
    from xroute.bounded import _limits
    from xroute.engine.gpu.bounds import Bounds, bounded

    rng = np.random.default_rng(4)
    far = [FARTHEST, -FARTHEST, FARTHEST + 1, -FARTHEST - 1, math.inf, -math.inf, math.nan, 0.0, -50.0, 50.0]
    raw = torch.tensor([*rng.normal(0, 5, 300), *far], dtype=torch.float64, requires_grad=True)
    weights = torch.from_numpy(rng.normal(size=raw.numel()))
    expected = to_physical(parameter, raw)
    (slope,) = torch.autograd.grad(expected, raw, weights)
    mine = torch.nn.Parameter(raw.detach().to(DEVICE))
    found = bounded(mine, Bounds(parameter.low, parameter.high, *_limits(parameter), FARTHEST))
    (own,) = torch.autograd.grad(found, mine, weights.to(DEVICE))
    torch.testing.assert_close(found.detach().cpu(), expected.detach(), rtol=2e-15, atol=0, equal_nan=True)
    torch.testing.assert_close(own.cpu(), slope, rtol=1e-14, atol=1e-14)
    inside = found[~found.isnan()]
    assert bool(parameter.allows(inside.detach()).all())


# ── layout ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_filter_is_laid_out_again_once_it_has_changed(monkeypatch):
    """It is kept with the filter, whose tensors may be written to all the same."""
    from xroute.engine.gpu import layout

    made, (k, x) = [], (v.detach() for v in drawn("muskingum", 6))
    monkeypatch.setattr(layout, "prepare_filter", lambda *given: made.append(given) or len(made))
    plans = [Network(scheidegger(2, 3)).plan for _ in range(2)]
    filter = make_filter({"muskingum": (np.arange(6), {"k": k, "x": x})}, 3600.0, 6, check=False)

    def kept(plan, of=filter):
        return layout.kept_filter(plan, of, torch.device("cpu"), torch.float32, RoutingSettings(), has_pole=True)

    assert [kept(plans[0]), kept(plans[0])] == [1, 1]
    for number, tensor in enumerate((filter.taps, filter.pole, filter.gain), 2):
        tensor.mul_(0.5)
        assert [kept(plans[0]), kept(plans[0])] == [number, number]
    assert [kept(plans[1]), kept(plans[1]), kept(plans[0])] == [5, 5, 6]
    with torch.inference_mode():  # its tensors do not tell
        other = make_filter({"muskingum": (np.arange(6), {"k": k * 1, "x": x})}, 3600.0, 6, check=False)
        assert [kept(plans[0], other), kept(plans[0], other)] == [7, 8]


@launches
@pytest.mark.parametrize("keep_state", [False, True])
def test_gradients_through_a_filter_laid_out_once_are_those_of_the_cpu(keep_state, monkeypatch):
    """Forward and backward take what is kept with the filter; a loss of the final state alone, or of discharge alone, will do."""
    from xroute.engine import autograd
    from xroute.engine.gpu import layout
    from xroute.engine.gpu.backend import BACKEND

    plan, settings, layouts, found = Network(scheidegger(2, 3)).plan, RoutingSettings(3600.0), [], []
    real = layout.prepare_filter
    monkeypatch.setattr(layout, "prepare_filter", lambda *given, **more: layouts.append(given) or real(*given, **more))
    for on_gpu in (False, True):
        if on_gpu and not CUDA:
            monkeypatch.setattr(autograd, "backend_on", lambda device: BACKEND)
        device = DEVICE if on_gpu else torch.device("cpu")
        leaves = [torch.nn.Parameter(v.detach().clamp(max=9000.0).to(device)) for v in drawn("muskingum", 6, 7)]
        runoff = torch.rand(1, 6, 9, generator=torch.Generator().manual_seed(8), dtype=torch.float64).to(device)
        leaves.append(runoff.requires_grad_())
        filter = make_filter({"muskingum": (np.arange(6), dict(zip("kx", leaves, strict=False)))}, 3600.0, 6, check=False)
        discharge, end = autograd.route_autograd(runoff, plan, filter, None, settings, keep_state=keep_state)
        loss = end.outflow.square().sum() if keep_state else discharge.square().sum()
        grads = torch.autograd.grad(loss, leaves, retain_graph=True)
        found.append([t.detach().cpu() for t in (discharge, *grads)])
        with pytest.raises(NotImplementedError, match="first derivatives only"):
            torch.autograd.grad(torch.autograd.grad(loss, leaves, create_graph=True)[2].sum(), leaves)
    assert len(layouts) == 2  # one for both ways, and one for the operator
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(its, mine, rtol=1e-10, atol=1e-12 * float(mine.abs().max()))


# ── launches ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Compiler:
    """A kernel as Triton gives it: what is launched is written down, and so is whether it went through the compiler."""

    def __init__(self):
        self.compiled, self.launched = [], []

    def __getitem__(self, grid):
        def run(*arguments, **options):
            self.compiled.append((grid, arguments, options))
            return self.Compiled(self)

        return run

    class Compiled:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            return lambda *words: self.kernel.launched.append((grid, words))


@pytest.fixture
def dispatch(monkeypatch):
    from xroute.engine.gpu import dispatch

    monkeypatch.setattr(dispatch, "_device_of", lambda arguments: 0)
    monkeypatch.setattr(dispatch, "on_device", lambda index: nullcontext())
    monkeypatch.setattr(dispatch, "_COMPILED", {})
    return dispatch


def test_a_launch_like_another_is_not_compiled(dispatch):
    from xroute.engine.gpu.arguments import Mailbox

    kernel, other = Compiler(), Compiler()
    whole = torch.zeros(64)
    groups = [Mailbox(whole, torch.zeros(8, dtype=torch.int32)), Mailbox(torch.ones(64), torch.ones(8, dtype=torch.int32))]
    dispatch.launch(kernel, 5, groups[0], 7, True, maxnreg=200)
    dispatch.launch(kernel, 6, groups[1], 7, True, maxnreg=200)  # other memory, and so many programs
    assert len(kernel.compiled) == 1 and kernel.compiled[0][0] == (5,)
    assert kernel.launched == [((6, 1, 1), ((*(t.data_ptr() for t in groups[1][:2]), None), 7, True))]
    for changed in (
        (Mailbox(whole.double(), groups[0].ticket), 7, True),  # types
        (groups[0], 8, True),  # sizes
        (groups[0], 7, False),  # constants
        (Mailbox(whole[1:], groups[0].ticket), 7, True),  # memory that begins elsewhere
        (Mailbox(whole, groups[0].ticket[1:]), 7, True),  # and of another argument
    ):
        before = len(kernel.compiled)
        for _ in range(2):
            dispatch.launch(kernel, 5, *changed, maxnreg=200)
        assert len(kernel.compiled) == before + 1, changed
    dispatch.launch(kernel, 5, Mailbox(torch.nn.Parameter(whole), groups[0].ticket), 7, True, maxnreg=200)  # a kind of tensor
    assert len(kernel.compiled) == 6 and kernel.launched[-1][1][0][0] == whole.data_ptr()
    dispatch.launch(kernel, 5, groups[0], 7, True)  # options
    dispatch.launch(kernel, 5, groups[0], 7, True, maxnreg=200, num_warps=4)
    dispatch.launch(other, 5, groups[0], 7, True, maxnreg=200)
    assert len(kernel.compiled) == 8 and len(other.compiled) == 1


def test_what_is_interpreted_is_not_kept(dispatch):
    """Triton's interpreter gives nothing that could be launched again."""
    calls = []

    class Interpreted:
        def __getitem__(self, grid):
            return lambda *arguments, **options: calls.append(grid)

    kernel, tensor = Interpreted(), torch.zeros(4)
    for _ in range(3):
        dispatch.launch(kernel, 2, tensor, 7)
    assert calls == [(2,)] * 3 and not dispatch._COMPILED


def test_launches_that_are_known_are_not_too_many(dispatch, monkeypatch):
    monkeypatch.setattr(dispatch, "MOST", 3)
    kernel, tensor = Compiler(), torch.zeros(4)
    for size in range(10):
        dispatch.launch(kernel, 1, tensor, size)
        assert len(dispatch._COMPILED) <= 3
    dispatch.launch(kernel, 1, tensor, 9)
    assert len(kernel.compiled) == 10 and len(kernel.launched) == 1
