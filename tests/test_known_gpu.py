"""Known discharge on a GPU, or its kernels interpreted without one: the CPU is the truth, which has a truth of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from test_known_engine import case

from xroute.engine.arrays import Exchange, FilterArrays, Known, Needs, Rows, State
from xroute.engine.backends import backend_of
from xroute.settings import LATERAL, SAMPLING, RoutingSettings

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytest.importorskip("triton")

DEVICE = torch.device("cuda" if CUDA else "cpu")
routes = pytest.mark.skipif(not (CUDA or INTERPRETED), reason="no GPU: see test_interpreted")
MODES = [(*mode, taps) for taps in ((1,), (2,), (1, 2, 3, 5, 11)) for mode in itertools.product((1, 4), SAMPLING, LATERAL)]
FEW = [(1, "mean", "interval", (2,)), (2, "start-mean", "outlet", (1, 3))]
"""Interpreted, each takes seconds."""


@pytest.mark.skipif(CUDA or INTERPRETED, reason="tested here")
def test_interpreted():
    """In a process of its own: whether kernels are interpreted is settled when they are defined."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False)
    assert not done.returncode and " passed" in done.stdout, done.stdout[-4000:] + done.stderr[-1000:]


def both(problem, settings, *, keep_trace, block=None):
    """What the CPU and the GPU's kernels find: discharge, state, and all gradients."""
    from xroute.engine.gpu.gradients import adjoint_gpu
    from xroute.engine.gpu.launch import route_gpu
    from xroute.engine.gpu.layout import prepare_filter

    _, plan, pointer, reach, values = problem
    plain = {k: v.detach().cpu() for k, v in values.items()}
    filter = FilterArrays(plain["taps"], torch.from_numpy(pointer), plain["pole"], plain["gain"])
    state = State(plain["history"], plain["outflow"])
    known = Known(reach, plain["known"], torch.zeros_like(plain["known"]))
    rng = np.random.default_rng(7)
    grad, *ends = (torch.from_numpy(rng.normal(size=plain[k].shape)) for k in ("runoff", "history", "outflow"))
    cpu = backend_of("cpu")
    discharge, end, trace = cpu.forward(
        plain["runoff"], filter, state, plan, settings, keep_trace=False, keep_state=True, known=known
    )
    grads = cpu.adjoint(
        grad, State(*ends), plain["runoff"], filter, state, discharge, trace, plan, settings, Needs(), known=known
    )
    expected = [discharge, *end, *grads[:4], *grads.state, known.grad]

    there = prepare_filter(plan, filter._replace(pointer=pointer), DEVICE, torch.float64, settings, has_pole=True)
    runoff, grad, values_there = (t.to(DEVICE) for t in (plain["runoff"], grad, plain["known"]))
    start, last = (State(*(t.to(DEVICE) for t in s)) for s in (state, ends))
    known = Known(reach, values_there, torch.zeros_like(values_there))
    discharge, end, trace = route_gpu(
        runoff, plan, there, start, settings, exchange=Exchange(known=known), keep_trace=keep_trace
    )
    grads = adjoint_gpu(grad, last, runoff, plan, there, start, trace, discharge, settings, block=block, known=known)
    found = [discharge, *end, *grads[:4], *grads.state, known.grad]
    return expected, [t.cpu() for t in found]


@routes
@pytest.mark.parametrize(("substeps", "sampling", "lateral", "taps"), MODES if CUDA else FEW)
def test_like_the_cpu(substeps, sampling, lateral, taps):
    settings = RoutingSettings(None, substeps, sampling, lateral)
    for keep_trace, members in ((True, 2), (False, 1)) if CUDA else ((substeps == 1, substeps),):
        n = 200 if CUDA else 5
        problem = case("bifurcating" if members == 1 else "tree", n, 3, taps=taps, members=members, n_time=13 if CUDA else 5)
        expected, found = both(problem, settings, keep_trace=keep_trace, block=None if keep_trace else 8 if CUDA else 3)
        for k, (a, b) in enumerate(zip(expected, found, strict=True)):
            scale = float(a.abs().max()) if a.numel() else 1.0
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-10 * scale + 1e-300, err_msg=str(k))


@routes
@pytest.mark.parametrize("substeps", [2, 1])
def test_rows_and_blocks(substeps, monkeypatch):
    """The way of labelled runoff: rows in another order, and series in blocks, of time or, without substeps, of patches."""
    from late_copies import LateCopies

    from xroute.engine.gpu import host, patch_blocks
    from xroute.engine.gpu.host import route_host
    from xroute.schemes import Filter

    n, block = (9, 8) if substeps > 1 else (40, None)
    monkeypatch.setattr(host, "PATCHES_BYTES", 1)
    monkeypatch.setattr(patch_blocks, "BLOCK_BYTES", 1)
    _, plan, pointer, reach, values = case("tree", n, 2, members=2, n_time=17 if substeps > 1 else 9)
    plain = {k: v.detach().numpy() for k, v in values.items()}
    filter = Filter(*(torch.from_numpy(plain["taps"]), pointer, torch.from_numpy(plain["pole"]), torch.from_numpy(plain["gain"])))
    row = np.random.default_rng(0).permutation(n)
    sampling: Any = "start-mean" if substeps > 1 else "mean"
    rows, settings = Rows(row, row), RoutingSettings(None, substeps, sampling, "outlet")
    state, exchange = State(plain["history"], plain["outflow"]), Exchange(known=Known(reach.numpy(), plain["known"]))
    expected = backend_of("cpu").route_arrays(plain["runoff"], plan, filter, state, settings, rows, exchange, None)
    copies = LateCopies() if not CUDA else __import__("xroute.engine.gpu.staging", fromlist=["CudaCopies"]).CudaCopies(DEVICE)
    found = route_host(plain["runoff"], plan, filter, state, settings, rows, exchange, copies=copies, block=block)[:3]
    assert CUDA or (copies.counts["rows"] > 0) == (substeps == 1)
    for a, b in zip((expected[0], *expected[1]), (found[0], *found[1]), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-12)
    taken = ~np.isnan(plain["known"])
    assert np.array_equal(found[0][:, row[reach.numpy()]][taken], plain["known"][taken])
