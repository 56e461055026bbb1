"""Hillslopes on a GPU, or their kernel interpreted without one: the CPU is the truth, which has a truth of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import xroute
from xroute.engine.arrays import Exchange, Hillslopes, Rows, State
from xroute.engine.backends import backend_of
from xroute.parameters import read_parameters
from xroute.schemes import Filter, make_filter
from xroute.settings import RoutingSettings

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytest.importorskip("triton")

DEVICE = torch.device("cuda" if CUDA else "cpu")
routes = pytest.mark.skipif(not (CUDA or INTERPRETED), reason="no GPU: see test_interpreted")
ALLOWED = {"float64": 1e-13, "float32": 2e-6}


@pytest.mark.skipif(CUDA or INTERPRETED, reason="tested here")
def test_interpreted() -> None:
    """In a process of its own: whether kernels are interpreted is settled when they are defined."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False)
    assert not done.returncode and " passed" in done.stdout, done.stdout[-4000:] + done.stderr[-1000:]


def windows(n: int, longest: int, rng: np.random.Generator) -> Filter:
    """Windows of one tap to so many, that sum to one."""
    n_taps = rng.integers(1, longest + 1, n)
    pointer = np.concatenate([[0], np.cumsum(n_taps)])
    taps = rng.random(pointer[-1])
    taps /= np.repeat(np.add.reduceat(taps, pointer[:-1]), n_taps)
    none = torch.zeros(n, dtype=torch.float64)
    return Filter(torch.from_numpy(taps), pointer, none, none)


def states(filter: Filter, n_batch: int, rng: np.random.Generator) -> State:
    n = filter.pointer.size - 1
    return State(rng.random((n_batch, int(filter.pointer[-1]) - n)), rng.random((n_batch, n)))


def close(found: Any, expected: Any, dtype: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=ALLOWED[dtype] * max(1.0, np.abs(expected).max(initial=0)))


@routes
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("n", "steps", "longest", "members"),
    [(5, 9, 17, 2), (2, 150, 40, 1), (2, 131, 90, 1), (3, 7, 1, 1), (4, 1, 9, 1)],
)
def test_the_kernel(n: int, steps: int, longest: int, members: int, given: bool, dtype: str) -> None:
    """Windows within a tile and beyond it, longer than the series, of one tap; a factor on each reach; with a state and dry."""
    from xroute.engine.gpu.slopes import route_slopes, slopes_on
    from xroute.engine.slopes import plan_without_links

    rng = np.random.default_rng(n + steps)
    filter, scale = windows(n, longest, rng), rng.random(n)
    state = states(filter, members, rng) if given else None
    runoff = rng.random((members, n, steps)).astype(dtype)
    expected, end, _ = backend_of("cpu").route_arrays(
        runoff, plan_without_links(n), filter, state, RoutingSettings(), Rows(scale=scale), Exchange(), None
    )
    slopes = slopes_on(filter, DEVICE, getattr(torch, dtype))
    there = None if state is None else State(*(torch.from_numpy(a).to(DEVICE) for a in state))
    found, wet = route_slopes(torch.from_numpy(runoff).to(DEVICE), slopes, there, torch.from_numpy(scale).to(DEVICE))
    close(found.cpu().numpy(), expected, dtype)
    assert wet is not None
    for a, b in zip(wet, end, strict=True):
        close(a.cpu().numpy(), b, dtype)


def convolved(runoff: torch.Tensor, taps: torch.Tensor, pointer: np.ndarray, past: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What windows give of runoff behind what is remembered of it, and what is remembered then, for torch to differentiate."""
    given, remembered = [], []
    for i, (begin, end) in enumerate(itertools.pairwise(pointer)):
        k, steps = int(end - begin), runoff.shape[2]
        series = torch.cat([past[:, begin - i : end - i - 1].flip(1), runoff[:, i]], 1)
        given.append(sum(taps[begin + j] * series[:, k - 1 - j : k - 1 - j + steps] for j in range(k)))
        remembered.append(series.flip(1)[:, : k - 1])
    return torch.stack(given, 1), torch.cat(remembered, 1)


def in_rows(tensor: torch.Tensor, pitch: int) -> torch.Tensor:
    """The series in rows so long, NaN behind them, which must not be looked at."""
    rows = torch.full((*tensor.shape[:2], pitch), torch.nan, dtype=tensor.dtype, device=tensor.device)
    rows[..., : tensor.shape[2]] = tensor
    return rows[..., : tensor.shape[2]]


@routes
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("n", "steps", "longest", "members", "wet", "pitches"),
    [
        (3, 9, 17, 2, True, (11, 16)),
        (1, 530, 20, 1, False, (536, 536)),
        (2, 13, 8, 1, True, (13, 13)),
        (2, 1, 9, 2, True, (8, 1)),
    ],
)
def test_gradients_of_the_kernels(
    n: int, steps: int, longest: int, members: int, wet: bool, pitches: tuple[int, int], dtype: str
) -> None:
    """Against torch's own of a plain convolution, with and without states, for rows that begin at vectors and beside them."""
    from xroute.engine.arrays import Needs
    from xroute.engine.gpu.slopes import adjoint_slopes, route_slopes, slopes_on

    rng, kind = np.random.default_rng(steps), getattr(torch, dtype)
    filter = windows(n, longest, rng)
    leaves = [torch.from_numpy(rng.random((members, n, steps))), filter.taps, torch.from_numpy(states(filter, members, rng)[0])]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    given, remembered = convolved(leaves[0], leaves[1], filter.pointer, leaves[2] if wet else torch.zeros_like(leaves[2]))
    grads = [torch.from_numpy(rng.random(t.shape)) for t in (given, remembered, given[..., -1])]
    loss = (given * grads[0]).sum()
    if wet:
        loss = loss + (remembered * grads[1]).sum() + (given[..., -1] * grads[2]).sum()
    loss.backward()
    runoff, grad = (in_rows(t.detach().to(DEVICE, kind), p) for t, p in zip((leaves[0], grads[0]), pitches, strict=True))
    start = State(leaves[2].detach().to(DEVICE), torch.zeros(members, n, device=DEVICE)) if wet else None
    at_end = State(grads[1].to(DEVICE), grads[2].to(DEVICE)) if wet else None
    slopes = slopes_on(filter, DEVICE, kind)
    close(route_slopes(runoff, slopes, start)[0].cpu().numpy(), given.detach().numpy(), dtype)
    found = adjoint_slopes(grad, at_end, runoff, slopes, start, Needs())
    for a, leaf in zip(found, leaves[: 3 if wet else 2], strict=False):
        assert leaf.grad is not None
        close(a.cpu().numpy(), leaf.grad.numpy(), dtype)
    again = adjoint_slopes(grad, at_end, runoff, slopes, start, Needs())
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


@routes
@pytest.mark.parametrize("settings", [RoutingSettings(), RoutingSettings(None, 2, "start-mean", "outlet")])
def test_rows_and_blocks(settings: RoutingSettings) -> None:
    """The way of labelled runoff: rows in another order, some that have none, and series in blocks of time."""
    from late_copies import LateCopies

    from xroute.engine.gpu.host import route_host

    network, rng = xroute.Network(xroute.datasets.scheidegger(3, 3, seed=1)), np.random.default_rng(1)
    n = network.n_reaches
    channel = make_filter(read_parameters(network), 3600.0 / settings.substeps, n, lateral=settings.lateral)
    slopes = windows(n, 12, rng)
    runoff, state, wet = rng.random((2, n, 17)), states(channel, 2, rng), states(slopes, 2, rng)
    rows = Rows(np.where(rng.random(n) < 0.3, -1, rng.permutation(n)), rng.permutation(n), n, rng.random(n))
    given = runoff, network.plan, channel, state, settings, rows, Exchange()
    expected, end, slope, _ = backend_of("cpu").route_with_hillslopes(*given, None, Hillslopes(slopes, wet))
    copies: Any = LateCopies()
    if CUDA:
        from xroute.engine.gpu.staging import CudaCopies

        copies = CudaCopies(DEVICE)
    found = route_host(*given, copies=copies, block=8, hillslopes=Hillslopes(slopes, wet))
    close(found[0], expected, "float64")
    for a, b in zip((*found[1], *found[3]), (*end, *slope), strict=True):
        close(a, b, "float64")


@pytest.mark.skipif(not CUDA, reason="no GPU")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_route_on_a_gpu_is_route(dtype: Any) -> None:
    network = xroute.datasets.scheidegger(30, 40).assign(fshape=2.5, tscale=4000.0)
    runoff = xroute.datasets.storm_runoff(network, 100, dtype=dtype)
    expected, end = runoff.route(network, hillslope="gamma", device="cpu", return_state=True)
    found, state = runoff.route(network, hillslope="gamma", device="cuda", return_state=True)
    close(found.values / float(expected.max()), expected.values / float(expected.max()), dtype)
    for name in ("hillslope_inflow", "hillslope_outflow", "outflow"):
        close(state[name].values / float(expected.max()), end[name].values / float(expected.max()), dtype)
    router = xroute.Router(network, dt=3600.0, hillslope="gamma", learnable=("fshape", "tscale", "k"))
    series = torch.from_numpy(runoff.transpose("reach", "time").values.copy())
    there = xroute.Router(network, dt=3600.0, hillslope="gamma", learnable=("fshape", "tscale", "k")).to("cuda")
    for one, given in ((router, series), (there, series.to("cuda"))):
        one(given).square().mean().backward()
    for (name, a), (_, b) in zip(router.named_parameters(), there.named_parameters(), strict=True):
        scale = float(a.grad.abs().max())
        assert float((a.grad - b.grad.cpu()).abs().max()) < (1e-8 if dtype == "float64" else 1e-3) * scale, name
