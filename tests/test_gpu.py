"""The GPU engine against the float64 reference and the CPU's adjoint, and the patches that its programs route.

On a machine with a GPU every check runs there. Without one, Triton interprets the kernels on tiny networks, in two
processes of their own: whether it interprets is settled when a kernel is defined, which must not happen to other tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from late_copies import LateCopies
from problems import (
    BACKWARD,
    CUDA,
    DEVICE,
    FORWARD,
    GRADIENTS,
    RANGES,
    Case,
    Errors,
    backward,
    check_case,
    check_row_before,
    error,
    forward,
    problem,
    reference,
    reference_gradients,
    state_of,
)
from strategies import DT

import xroute
from xroute.block_state import BlockState
from xroute.engine.arrays import Exchange, Rows, State
from xroute.engine.cpu.forward import route_cpu
from xroute.engine.plan import RoutingPlan, make_plan
from xroute.partition import make_partitions, partition
from xroute.schemes import Filter, make_filter
from xroute.settings import RoutingSettings

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="no triton here: it is for Linux")
PARTS = 2
"""Processes that share the checks where Triton interprets."""
PATIENCE = 1200
"""Seconds after which such a process is taken to hang."""

CASES = [
    # networks
    Case("tree", 40, "muskingum"),  # several patches
    Case("forest", 50, "linear_storage", 31, dtype="float32"),
    Case("bifurcating", 14, "muskingum", 9, 2),
    Case("star", 41, "muskingum", 5),  # a patch with more links than lanes
    Case("chain", 40, "muskingum", 12),
    Case("chain", 70, "linear_storage", 3, dtype="float32"),
    Case("edgeless", 5, "mixed", 7, 3),
    Case("single", 1, "muskingum", 31),
    # lengths
    Case("tree", 9, "muskingum", 1, 2),
    Case("tree", 9, "linear_storage", 63, dtype="float32"),
    Case("edgeless", 6, "muskingum", 365, dtype="float32"),
    Case("single", 1, "linear_storage", 365),
    # filters
    Case("tree", 9, "hayami", 15),
    Case("bifurcating", 7, "mixed", 9),
    Case("forest", 9, "pure_lag", 9, lateral="outlet"),
    Case("tree", 9, "K1", 8),
    Case("tree", 9, "K2", 8),
    Case("tree", 9, "K3", 8),
    Case("tree", 9, "K17", 16),
    Case("tree", 36, "ragged17", 11),
    Case("edgeless", 5, "ragged17", 3, 2),  # windows longer than the series
    Case("single", 1, "K17", 31, dtype="float32"),
    # where runoff joins, what is sampled
    Case("bifurcating", 8, "muskingum", 7, lateral="interval"),
    Case("tree", 9, "muskingum", 7, lateral="outlet", sampling="last"),
    Case("tree", 9, "ragged17", 7, lateral="interval", sampling="last"),
    Case("tree", 9, "ragged17", 7, lateral="outlet"),
    Case("tree", 9, "muskingum", 7, lateral="interval", sampling="start-mean"),
    Case("tree", 40, "muskingum", 5, substeps=2),
    Case("tree", 9, "muskingum", 4, substeps=3, lateral="interval"),
    Case("tree", 9, "linear_storage", 4, substeps=2, lateral="outlet"),
    Case("tree", 9, "muskingum", 4, substeps=3, sampling="last"),
    Case("bifurcating", 7, "muskingum", 4, 2, substeps=3, lateral="interval", sampling="last"),
    Case("tree", 9, "linear_storage", 4, substeps=2, lateral="outlet", sampling="last"),
    Case("bifurcating", 7, "muskingum", 4, 2, substeps=3, sampling="start-mean"),
    Case("tree", 9, "linear_storage", 5, substeps=2, lateral="outlet", sampling="start-mean"),
    Case("tree", 9, "hayami", 4, substeps=2),
    Case("tree", 9, "ragged17", 4, substeps=3, lateral="interval", sampling="start-mean"),
    Case("tree", 9, "muskingum", 2, substeps=24),
    Case("forest", 7, "ragged17", 2, substeps=24, lateral="outlet", sampling="last"),
    Case("tree", 5, "muskingum", 2, substeps=97, dtype="float32"),
    # storage, starts, layouts
    Case("tree", 12, "muskingum", 20, 2, dtype="float16"),
    Case("tree", 12, "muskingum", 31, dtype="bfloat16"),
    Case("tree", 9, "ragged17", 9, dtype="float16"),
    Case("tree", 9, "muskingum", 3, dtype="bfloat16", substeps=3),
    Case("tree", 12, "muskingum", 9, 2, start="dry"),
    Case("tree", 9, "ragged17", 9, start="dry"),
    Case("tree", 9, "muskingum", 4, substeps=3, start="dry"),
    Case("tree", 9, "muskingum", 9, start="outflow"),
    Case("tree", 9, "muskingum", 9, 2, layout="offset", dtype="float32"),
    Case("tree", 9, "muskingum", 9, 2, layout="time first"),
    *(Case("single", 1, "muskingum", 9, 3, layout=layout) for layout in ("plain", "time first", "reach first")),
    Case("single", 1, "muskingum", 9, 3, layout="reach first", substeps=3),
    # gradients without a trace
    Case("tree", 12, "muskingum", 20, block=8),
    Case("tree", 9, "ragged17", 7, block=3),
    Case("bifurcating", 7, "muskingum", 5, 2, substeps=3, lateral="interval", sampling="start-mean", block=2),
]  # fmt: skip


# ── checks, in this process or in one that interprets ───────────────────────────────────────────────────────────────────


def check_parts(case: Case) -> Errors:
    """A series routed in two parts, carrying the state, is the series routed in one go."""
    p = problem(case)
    whole = forward(p)[:3]
    cut = case.steps // 3
    first, *state = forward(p, p.runoff[..., :cut])[:3]
    second, *state = forward(p, p.runoff[..., cut:], state=state)[:3]
    pairs = zip(("discharge", "history", "outflow"), (torch.cat([first, second], -1), *state), whole, strict=True)
    return {name: (error(a, b.cpu().numpy()), 1e-14) for name, a, b in pairs}


def check_partitions(case: Case, n: int, route: Route | None = None) -> Errors:
    """A network routed partition by partition, which exchange their discharge, is the network routed in one go."""
    p = problem(case)
    parts = make_partitions(p.plan, np.unique(partition(p.plan, n), return_inverse=True)[1])
    assert len(parts) > 1
    expected = reference(p)
    found = [np.zeros_like(e) for e in expected]
    acc = torch.float64 if case.dtype == "float64" else torch.float32
    whole = BlockState.of(*(s.numpy() for s in p.state))
    passed: list[np.ndarray] = []
    lags = np.repeat(np.arange(p.plan.n_reaches), p.filter.n_taps - 1)  # reach of each
    for part in parts:
        f, state = part.filter(p.filter), state_of(part, whole, p.filter)
        shape = case.batch, part.given.size + part.reach.size
        runoff = torch.zeros((*shape, case.steps), dtype=p.runoff.dtype)
        runoff[:, : part.reach.size] = p.runoff[:, part.reach]
        given = np.zeros((case.batch, part.given.size, case.steps * case.substeps))
        for q, which in part.source:
            at = sum(w.size for r, w in part.source if r < q)
            given[:, at : at + which.size] = passed[q][:, which]
        kept = torch.zeros((case.batch, part.plan.kept.size, case.steps * case.substeps), dtype=acc).numpy()
        discharge, (history, outflow) = (route or route_on_device)(
            runoff, part.plan, f, state.channel, p.settings, Exchange(given, kept)
        )
        passed.append(kept)
        found[0][:, part.reach] = discharge[:, : part.reach.size]
        found[2][:, part.reach] = outflow[:, : part.reach.size]
        ends = np.cumsum(f.n_taps - 1)
        for k, reach in enumerate(part.reach):
            found[1][:, lags == reach] = history[:, ends[k] - (f.n_taps[k] - 1) : ends[k]]
    pairs = zip(("discharge", "history", "outflow"), found, expected, strict=True)
    return {name: (error(torch.from_numpy(a), b), FORWARD[case.dtype]) for name, a, b in pairs}


Route = Callable[[torch.Tensor, RoutingPlan, Filter, State, RoutingSettings, Exchange], tuple[np.ndarray, State]]
"""Of arrays, and from a state of arrays to one."""


def route_on_device(runoff, plan, filter, state, settings, exchange):
    """By `route_gpu`."""
    from xroute.engine.gpu.launch import route_gpu
    from xroute.engine.gpu.layout import prepare_filter

    acc = torch.float64 if runoff.dtype == torch.float64 else torch.float32
    given, kept = (torch.from_numpy(a).to(DEVICE, acc) for a in (exchange.given, exchange.kept))
    made, start = prepare_filter(plan, filter, DEVICE, acc, settings), State(*map(torch.from_numpy, state))
    discharge, end, _ = route_gpu(runoff.to(DEVICE), plan, made, start, settings, exchange=Exchange(given, kept))
    exchange.kept[:] = kept.cpu().numpy()
    return discharge.cpu().numpy(), State(*(s.cpu().numpy() for s in end))


def route_by_host(runoff, plan, filter, state, settings, exchange, **options):
    """By `route_host`, nothing being anywhere near the last value that is finite."""
    found = by_host(runoff.numpy(), plan, filter, state, settings, exchange=exchange, **options)
    assert found[2] == (0, 0)
    return found[:2]


def by_host(
    runoff, *arguments, free: int = 2**40, stage: int = 96, pinned: int = 2**40, patches: int | None = None, **options
):
    """What `route_host` returns; without a GPU, copies happen as late as they may, through buffers of ``stage`` bytes.

    With ``patches``, in blocks of so many of them, where it takes that way.
    """
    from xroute.engine.gpu import host, patch_blocks, staging

    copies = staging.CudaCopies(torch.device("cuda", 0)) if CUDA else LateCopies(free)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "STAGE_BYTES", stage)
        patch.setattr(host, "PINNED_BYTES", pinned)
        if patches is not None:
            patch.setattr(host, "PATCHES_BYTES", 1)
            row_bytes = runoff.shape[0] * runoff.shape[2] * runoff.itemsize
            patch.setattr(patch_blocks, "BLOCK_BYTES", patches * patch_blocks.LANES * row_bytes)
        found = host.route_host(runoff, *arguments, copies=copies, **options)[:3]
    if not CUDA:
        copies.finish()
        n_blocks, plan = copies.counts["fetch"], arguments[0]
        if patches and free == 2**40 and runoff.flags.c_contiguous and arguments[3].substeps == 1 and not plan.n_given:
            n_patches = plan.patches.n_patches
            assert n_patches >= n_blocks >= n_patches // patches and copies.counts["pinned"] == 3
            return found
        assert not copies.counts["rows"]
        assert options.get("block") is None or n_blocks == max(1, -(-runoff.shape[2] // options["block"]))
        # in a single block discharge goes straight into memory that is pinned, if it is not too large
        assert copies.counts["pinned"] == 2 * bool(runoff.size) + (pinned > 0 and runoff.shape[2] > 0) + (
            n_blocks if n_blocks > 1 or pinned == 0 else 0
        )
    return found


def check_host(case: Case, block: int | None = None, order: str = "brt", **options: Any) -> Errors:
    """Runoff of the host's memory, in any order of its dimensions, with rows of its own, and a factor on each."""
    p, rng = problem(case), np.random.default_rng(1)
    n = p.plan.n_reaches
    row, to, scale = rng.permutation(n + 3)[:n], rng.permutation(n + 2)[:n], rng.uniform(0.5, 2.0, n)
    row[n // 2], to[n // 3] = -1, -1
    given = np.full((case.batch, n + 3, case.steps), np.nan, case.dtype)  # in rows that nobody reads
    given[:, row[row >= 0]] = p.runoff[:, row >= 0]
    axes = ["brt".index(c) for c in order]
    laid_out = np.ascontiguousarray(given.transpose(axes)).transpose(np.argsort(axes))
    state = None if case.start == "dry" else State(*(s.numpy() for s in p.state))
    rows = Rows(row, to, n + 2, scale)
    discharge, end, bad = by_host(laid_out, p.plan, p.filter, state, p.settings, rows, block=block, **options)
    assert bad == (0, 0) and discharge.dtype == given.dtype and discharge.shape == (case.batch, n + 2, case.steps)
    scaled = p.runoff * torch.from_numpy(np.where(row >= 0, scale, 0))[:, None]
    expected = reference(p, scaled)
    pairs = zip(("discharge", "history", "outflow"), (discharge[:, to[to >= 0]], *end), strict=True)
    wanted = expected[0][:, to >= 0], *expected[1:]
    return {name: (error(torch.from_numpy(a), b), FORWARD[case.dtype]) for (name, a), b in zip(pairs, wanted, strict=True)}


def check_host_counts(case: Case, block: int | None = 4, **how: Any) -> Errors:
    """Values that are not finite are counted where reaches read them, or are zeros; and so is discharge that overflows."""
    p = problem(case)
    runoff = np.concatenate([p.runoff.numpy(), np.full((case.batch, 1, case.steps), np.nan, case.dtype)], axis=1)
    runoff[0, [3, 5], [2, case.steps - 1]] = np.nan, -np.inf
    rows = Rows(np.arange(case.n))
    state = State(*(s.numpy() for s in p.state))
    options = {"rows": rows, "block": block, **how}
    _, _, bad = by_host(runoff, p.plan, p.filter, state, p.settings, **options)
    assert bad.runoff == 2 and bad.discharge > 0
    zeros = replace(p.settings, nan="zero")
    discharge, end, bad = by_host(runoff, p.plan, p.filter, state, zeros, **options)
    assert bad == (2, 0)
    expected = reference(p, torch.from_numpy(np.nan_to_num(runoff[:, :-1], nan=0.0, neginf=0.0)))
    runoff[:, :-1] = np.finfo(case.dtype).max  # of which a sum is infinite
    _, _, bad = by_host(runoff, p.plan, p.filter, state, p.settings, **options)
    assert bad.runoff == 0 and bad.discharge > 0
    pairs = zip(("discharge", "history", "outflow"), (discharge, *end), expected, strict=True)
    return {name: (error(torch.from_numpy(a), b), FORWARD[case.dtype]) for name, a, b in pairs}


def check_only_discharge(case: Case) -> Errors:
    """Without the final state, with and without a state at the start."""
    errors = {}
    for start in ("state", "dry"):
        p = problem(Case(**{**vars(case), "start": start}))
        discharge, *others = forward(p, state=p.state if start == "state" else (None, None), keep_state=False)
        assert others == [None, None, None]
        errors[start] = error(discharge, reference(p)[0]), FORWARD[case.dtype]
    return errors


def check_scale(case: Case) -> Errors:
    """A factor on each reach's runoff."""
    p = problem(case)
    scale = torch.from_numpy(np.random.default_rng(1).uniform(0.5, 2.0, p.plan.n_reaches))
    pairs = zip(("discharge", "history", "outflow"), forward(p, scale=scale), reference(p, p.runoff * scale[:, None]))  # noqa: B905
    return {name: (error(found, expected), FORWARD[case.dtype]) for name, found, expected in pairs}


def check_empty(case: Case) -> Errors:
    """No member or no step: nothing happens to the state or its gradient, and all sums are zero."""
    p = problem(case)
    discharge, history, outflow, trace = forward(p, keep_trace=True)
    grads = backward(p, trace, discharge)
    assert discharge.shape == grads[0].shape == p.runoff.shape
    assert not any(g.any() for g in grads[1:4])
    unchanged = (history, p.state[0]), (outflow, p.state[1]), (grads[4], p.grads[1]), (grads[5], p.grads[2])
    return {str(k): (error(found, kept.numpy()), 0.0) for k, (found, kept) in enumerate(unchanged)}


def check_nan(case: Case) -> Errors:
    """A NaN reaches what lies downstream of it, from its time on, and nothing else. The one here has all its bits set."""
    p = problem(case)
    word = torch.int64 if case.dtype == "float64" else torch.int32
    hit = p.plan.order[p.plan.n_reaches // 2]
    bits = -1 if CUDA or case.dtype == "float64" else 0x7FC00000  # interpreted, arithmetic keeps the bits of a float32
    p.runoff.view(word)[-1, hit, case.steps // 3] = bits
    found, expected = forward(p, keep_trace=True), reference(p)
    own = np.isnan(expected[2]).repeat(p.filter.n_taps - 1, axis=1)  # a reach may keep its own NaN in its history too
    found[1][torch.from_numpy(own).to(DEVICE)] = torch.nan
    expected[1][own] = np.nan
    errors = {
        name: (float((np.isnan(a.cpu().numpy()) != np.isnan(b)).sum()), 0.0)
        for name, a, b in zip(("discharge", "history", "outflow"), found, expected)  # noqa: B905
    }
    grads = backward(p, found[3], found[0])
    for name, value, wanted in zip(GRADIENTS, grads, reference_gradients(p), strict=True):
        errors[f"gradient of {name}"] = float((np.isnan(value.cpu().numpy()) != np.isnan(wanted)).sum()), 0.0
    return errors


@contextmanager
def patched(**values: Any) -> Iterator[None]:
    """Names of the modules of `xroute.engine.gpu` with other values."""
    from xroute.engine.gpu import gradients, launch, layout, memory

    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            owners = [module for module in (gradients, launch, layout, memory) if hasattr(module, name)]
            assert owners
            for module in owners:
                patch.setattr(module, name, value)
        yield


def check_patched(case: Case, **values: Any) -> Errors:
    """A case with other constants of the engine."""
    with patched(**values):
        return check_case(case)


def check_small_differences(case: Case) -> Errors:
    """Gradients of k and x, differences of nearly equal sums where rivers are large, hold in float32 too."""
    p = problem(case)
    p.runoff += 100
    at, n = np.arange(case.n), case.n
    values = {name: np.random.default_rng(1).uniform(*RANGES["muskingum"][name], n) for name in ("k", "x")}
    leaves = {name: torch.from_numpy(v).requires_grad_() for name, v in values.items()}
    p.filter = make_filter({"muskingum": (at, leaves)}, DT, n)
    taps, pole = p.filter.taps, p.filter.pole
    discharge, *_, trace = forward(p, state=(None, None), keep_trace=True, keep_state=False)
    found = backward(p, trace, discharge, state=(None, None))[1:3]
    errors = {}
    for name, leaf in leaves.items():
        one, two = (
            torch.autograd.grad([taps, pole], leaf, [torch.as_tensor(g).cpu() for g in grads], retain_graph=True)[0]
            for grads in (found, reference_gradients(p)[1:3])
        )
        errors[f"gradient of {name}"] = error(one, two.numpy()), 1e-4  # sums of the coefficients themselves: 1e-3
    return errors


def check_wide_index(case: Case) -> Errors:
    """With the index type of arrays of more than 2**30 elements."""
    import triton.language as tl

    return check_patched(case, index_type=lambda *sizes: tl.int64)


PATCHES = (
    (1, Case("tree", 70, steps=6, batch=2, dtype="float32")),
    (2, Case("tree", 70, steps=5, start="dry", lateral="outlet")),
    (1, Case("bifurcating", 40, "ragged17", 3)),
)

CHECKS: dict[str, Callable[[], Errors]] = {
    **{str(case): partial(check_case, case) for case in CASES},
    "two parts": partial(check_parts, Case("tree", 12, steps=20, batch=2)),
    "two parts, windows": partial(check_parts, Case("tree", 9, "ragged17", 11)),
    "two parts, substeps": partial(check_parts, Case("tree", 9, "muskingum", 6, substeps=3, sampling="start-mean")),
    "partitions": partial(check_partitions, Case("tree", 60, steps=12, batch=2), 3),
    "partitions, bifurcating": partial(check_partitions, Case("bifurcating", 40, steps=9, dtype="float32"), 3),
    "partitions, windows": partial(check_partitions, Case("tree", 40, "ragged17", 9, lateral="interval"), 2),
    "partitions, substeps": partial(
        check_partitions, Case("tree", 40, steps=4, batch=2, substeps=3, sampling="start-mean"), 3
    ),
    "host": partial(check_host, Case("tree", 12, steps=20, batch=2)),
    "host, blocks": partial(check_host, Case("tree", 12, steps=20, batch=2), 8),
    "host, blocks, not pinned": partial(check_host, Case("tree", 12, "mixed", steps=17, dtype="float32"), 5, pinned=0),
    "host, not pinned": partial(check_host, Case("tree", 9, steps=6), pinned=0),
    "host, blocks that fit": partial(check_host, Case("tree", 40, steps=31, start="dry"), free=60_000),
    "host, blocks, substeps": partial(check_host, Case("tree", 9, steps=5, substeps=3, sampling="start-mean"), 2, "trb"),
    "host, time first": partial(check_host, Case("bifurcating", 9, steps=11, batch=3, dtype="float32"), 4, "tbr"),
    "host, reach first": partial(check_host, Case("tree", 9, "ragged17", 11, 2), 3, "rbt"),
    **{f"host, {k} patches a block, {case}": partial(check_host, case, patches=k, stage=200) for k, case in PATCHES},
    "host, patches, too little memory": partial(check_host, Case("tree", 40, steps=9), patches=1, free=20_000),
    "host, patches, time first": partial(check_host, Case("tree", 40, steps=4, dtype="float32"), None, "tbr", patches=1),
    "host, patches, substeps": partial(check_host, Case("tree", 40, steps=2, substeps=2), patches=1),
    "host, patches, values that are not finite": partial(check_host_counts, Case("tree", 40, steps=9), block=None, patches=1),
    "host, patches, partitions": partial(
        check_partitions, Case("tree", 60, steps=5, dtype="float32"), 2, partial(route_by_host, patches=1, stage=2**10)
    ),
    "host, no step": partial(check_host, Case("tree", 9, steps=0)),
    "host, no member": partial(check_host, Case("tree", 9, steps=5, batch=0), 2),
    "host, values that are not finite": partial(check_host_counts, Case("tree", 12, steps=11, batch=2)),
    "host, values that are not finite, float32": partial(check_host_counts, Case("tree", 12, steps=9, dtype="float32")),
    "host, partitions": partial(check_partitions, Case("tree", 60, steps=12, batch=2), 3, route_by_host),
    "host, partitions, blocks": partial(
        check_partitions, Case("tree", 40, steps=7, substeps=2, dtype="float32"), 3, partial(route_by_host, block=3)
    ),
    "only discharge": partial(check_only_discharge, Case("tree", 12, steps=9)),
    "only discharge, windows": partial(check_only_discharge, Case("tree", 9, "ragged17", 9)),
    "only discharge, substeps": partial(check_only_discharge, Case("tree", 9, steps=4, substeps=3)),
    "scale": partial(check_scale, Case("tree", 12, steps=9, batch=2)),
    "scale, outlet, substeps": partial(
        check_scale, Case("tree", 9, steps=4, substeps=3, lateral="outlet", sampling="start-mean")
    ),
    "no member": partial(check_empty, Case("tree", 9, "ragged17", 4, 0)),
    "no step": partial(check_empty, Case("tree", 9, "ragged17", 0, 2)),
    "no step, substeps": partial(check_empty, Case("tree", 9, "muskingum", 0, 2, substeps=3)),
    "NaN": partial(check_nan, Case("tree", 9, steps=12, batch=2)),
    "NaN through links": partial(check_nan, Case("tree", 40, steps=12)),
    "NaN through links, float32": partial(check_nan, Case("bifurcating", 8, steps=9, dtype="float32")),
    "NaN through links, substeps": partial(check_nan, Case("tree", 40, steps=4, substeps=3)),
    "NaN in the row before": partial(check_row_before, "float64"),
    "NaN in the row before, float32": partial(check_row_before, "float32"),
    "NaN where runoff joins below": partial(check_row_before, "float64", True),
    "NaN where runoff joins below, float32": partial(check_row_before, "float32", True),
    "long series": partial(check_patched, Case("tree", 12, steps=19), LONG=8),
    "long series of whole sectors": partial(check_patched, Case("tree", 12, steps=16, dtype="float32"), LONG=8),
    "rows used again": partial(check_patched, Case("tree", 200, steps=3, substeps=4, dtype="float32", block=2), RESIDENT=1),
    "rows used again, members": partial(check_patched, Case("bifurcating", 70, "mixed", 2, 2, substeps=3), RESIDENT=1),
    "short mailbox": partial(check_patched, Case("tree", 40, steps=5, substeps=2), MAILBOX_BYTES=0, MAILBOX_SHARE=10**9),
    "blocks of notes": partial(
        check_patched, Case("tree", 40, steps=19, batch=2, substeps=2, lateral="interval", sampling="start-mean"), RESIDENT=1
    ),
    "small differences": partial(check_small_differences, Case("tree", 60, steps=200, dtype="float32", start="dry")),
    "wide index": partial(check_wide_index, Case("tree", 40, steps=5)),
    "wide index, substeps": partial(check_wide_index, Case("tree", 40, steps=3, substeps=2)),
}


def part_of(name: str) -> int:
    """Which process does a check."""
    return list(CHECKS).index(name) % PARTS


def print_part(part: int) -> None:
    """Do a part of the checks and print what they find, as JSON; called in a process that interprets."""
    found: dict[str, Any] = {}
    for name, check in CHECKS.items():
        if part_of(name) == part:
            begin = time.perf_counter()
            try:
                found[name] = check()
            except Exception:
                found[name] = traceback.format_exc()
            print(f"{time.perf_counter() - begin:6.1f} s  {name}", file=sys.stderr, flush=True)
    print(json.dumps(found))


def interpret(part: int) -> dict[str, Any]:
    """Let a process do its part of the checks; what went wrong stands in place of what it found."""
    code = f"import faulthandler as f; f.dump_traceback_later({PATIENCE - 30}); import test_gpu; test_gpu.print_part({part})"
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    try:
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as stuck:
        said = (stuck.stderr or b"").decode()[-3000:]
        return {name: f"hangs\n{said}" for name in CHECKS if part_of(name) == part}
    if run.returncode:
        return {name: run.stderr[-3000:] for name in CHECKS if part_of(name) == part}
    return dict(json.loads(run.stdout.splitlines()[-1]))


@pytest.fixture(scope="session")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the checks find under the interpreter. Workers of xdist that need it each do a part that none does yet."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    for part in range(PARTS):
        try:
            (folder / f"gpu-{part}-taken").touch(exist_ok=False)
        except FileExistsError:
            continue
        new = folder / f"gpu-{part}-new"
        new.write_text(json.dumps(interpret(part)))
        new.rename(folder / f"gpu-{part}.json")
    found: dict[str, Any] = {}
    for part in range(PARTS):
        file, end = folder / f"gpu-{part}.json", time.monotonic() + PATIENCE + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.1)
        found |= json.loads(file.read_text())
    return found


@needs_triton
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"gpu-{part_of(name)}")) for name in CHECKS]
)
def test_kernels(name, request):
    found = CHECKS[name]() if CUDA else request.getfixturevalue("interpreted")[name]
    assert not isinstance(found, str), found
    wrong = {quantity: (value, allowed) for quantity, (value, allowed) in found.items() if not value <= allowed}
    assert not wrong, wrong


# ── on a GPU only ───────────────────────────────────────────────────────────────────────────────────────────────────────

on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="needs a GPU: sizes that an interpreter cannot route")]
LARGE = {
    "muskingum": {"filter": "muskingum", "steps": 365},
    "muskingum, long": {"filter": "muskingum", "steps": 1100},
    "linear_storage, float32": {"filter": "linear_storage", "steps": 365, "dtype": "float32"},
    "ragged": {"filter": "ragged17", "steps": 100, "batch": 2},
    "interval, substeps": {"filter": "muskingum", "steps": 40, "substeps": 24, "lateral": "interval"},
    "without trace": {"filter": "muskingum", "steps": 200, "batch": 3, "block": 64},
}


def large(options: dict[str, Any]) -> SimpleNamespace:
    """A case on 20,000 reaches: a lattice of Scheidegger, 200 deep, every filter passing on no more than it gets."""
    network = xroute.Network(xroute.datasets.scheidegger(200, 100, seed=3))
    p = problem(Case("edgeless", network.n_reaches, **options), seed=4)
    p.links, p.plan = network.links, network.plan
    if options["filter"].startswith("ragged"):  # else water grows on its way down, and so do its errors
        pointer = p.filter.pointer
        share = p.filter.taps.abs() / np.repeat(
            np.add.reduceat(p.filter.taps.abs().numpy(), pointer[:-1]), np.diff(pointer)
        )
        p.filter = Filter(
            share * np.repeat(1 - p.filter.pole.abs().numpy(), np.diff(pointer)), pointer, p.filter.pole, p.filter.gain
        )
    return p


@pytest.mark.parametrize("options", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("mark", [pytest.param(None, marks=on_gpu)], ids=[""])
def test_large_networks(options, mark):
    p = large(options)
    discharge, history, outflow, trace = forward(p, keep_trace=not p.case.block)
    expected = np.empty(p.runoff.shape), *(s.numpy().copy() for s in p.state)
    route_cpu(p.runoff.double().numpy(), expected[0], p.plan, p.filter.arrays(), State(*expected[1:]), p.settings)
    for found, wanted in zip((discharge, history, outflow), expected, strict=True):
        assert error(found, wanted) < 10 * FORWARD[p.case.dtype]
    grads = backward(p, trace, discharge, block=p.case.block or None)
    for name, found, wanted in zip(GRADIENTS, grads, reference_gradients(p), strict=True):
        assert error(found, wanted) < 10 * BACKWARD[p.case.dtype], name


@needs_triton
def test_kernels_are_not_compiled_for_sizes():
    """A size that Triton may compile for would make each network, and each length of a series, wait for the compiler."""
    from xroute.engine.gpu import (
        adjoint,
        adjoint_replay,
        adjoint_rows,
        adjoint_substeps,
        forward,
        forward_rows,
        lanes,
        substeps,
    )

    groups = {"series", "mailbox", "network", "past", "filter", "start", "end", "grads", "trace", "mode"}
    groups |= {"network_down", "mail_down"}
    kernels = [forward.route_steps, forward_rows.route_rows, substeps.route_substeps, adjoint.adjoint_steps]
    kernels += [adjoint_rows.adjoint_rows, adjoint_substeps.adjoint_substeps, adjoint_replay.adjoint_replayed]
    for kernel in kernels:
        sizes = set(signature(kernel.fn).parameters) - groups
        assert sizes - {"n_batch"} <= set(lanes.SIZES)


@needs_triton
def test_given_reaches_must_be_given():
    """Else programs would wait for ever."""
    plan = make_plan(np.array([1]), np.array([0]), np.ones(1), 2, n_given=1)
    from xroute.engine.gpu.launch import route_gpu

    with pytest.raises(ValueError, match="1 given reaches"):
        route_gpu(torch.zeros(1, 2, 4, device=DEVICE), plan, None)  # before anything is looked at


@needs_triton
def test_traces_are_bounded():
    """What training keeps stays within a few times the runoff: with so many substeps that it would not, nothing is kept."""
    from xroute.engine.gpu.memory import TRACE_SHARE, trace_numel

    plan = xroute.Network(xroute.datasets.scheidegger(20, 20)).plan
    pointer = np.arange(plan.n_reaches + 1) * 2
    runoff = torch.empty(64, plan.n_reaches, 3000, device="meta", dtype=torch.float32)
    for substeps in (1, 24, 1000):
        size = trace_numel(plan, runoff, pointer, RoutingSettings(substeps=substeps))
        assert size * 4 <= TRACE_SHARE * runoff.numel() * 4
        assert (size > 0) == (substeps < 1000)
