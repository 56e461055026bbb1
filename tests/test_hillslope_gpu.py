"""Hillslopes on a GPU, or their kernel interpreted without one: the CPU is the truth, which has a truth of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import xroute

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytest.importorskip("triton")

from xroute.engine.arrays import Exchange, Hillslopes, Rows, State  # noqa: E402
from xroute.engine.backends import backend_of  # noqa: E402
from xroute.parameters import read_parameters  # noqa: E402
from xroute.schemes import Filter, make_filter  # noqa: E402
from xroute.settings import RoutingSettings  # noqa: E402

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
