"""GPU engine: checked against the float64 reference and the CPU engine, then timed beside a device copy in the same run.

    python benchmarks/gpu.py                  all cases; --list names them, --only NAME ... chooses, --quick: the main ones
    python benchmarks/gpu.py --soak 10000     launches on random networks, compared with the truth and with one another
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool memcheck python benchmarks/gpu.py --sanitize

Share of copy counts runoff read and discharge written once each; memory is the peak, as a multiple of the two; error is the
largest of any reach's series relative to its peak, of gradients relative to the largest, and beside diffroute in L2. A case
is compared before it is timed, as it is timed. Without a GPU, TRITON_INTERPRET=1 tries all this on tiny networks, untimed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import math
import os
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import triton
import xarray as xr

import xroute
from xroute.block import route_block
from xroute.engine.arrays import State
from xroute.engine.autograd import route_autograd
from xroute.engine.cpu.adjoint import adjoint_cpu
from xroute.engine.cpu.forward import route_cpu
from xroute.engine.gpu.gradients import adjoint_gpu
from xroute.engine.gpu.launch import route_gpu
from xroute.engine.gpu.layout import prepare_filter
from xroute.engine.gpu.slopes import route_slopes, slopes_on
from xroute.parameters import read_parameters
from xroute.schemes import SCHEMES, Filter, make_filter
from xroute.settings import RoutingSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import problems  # noqa: E402
from problems import BACKWARD, CUDA, DEVICE, FORWARD, Case  # noqa: E402

Tensor = torch.Tensor
DT = 3600.0
CPU = torch.device("cpu")
ALLOWED = {dtype: e if "16" in dtype else 10 * e for dtype, e in FORWARD.items()}
ALLOWED_BACK = {dtype: 10 * e for dtype, e in BACKWARD.items()}
"""Relative errors: ten times those that the tests allow on networks that are not deep."""
PATIENCE = 60
"""Seconds after which launches are taken to hang; five times as many where kernels must be compiled first."""
WHOLE = 4e9
"""Bytes of runoff up to which all of a case is compared; beyond, a basin of it."""
WINDOW = 100
"""Steps of diffroute's path kernels: about twice what water takes through one of its clusters here."""
ROWS = ["| case | ms | ratio | memory | error | target |", "|---|---|---|---|---|---|"]

CHECKS = [
    Case("tree", 300, "muskingum", 37, 2, dtype="float32"),
    Case("forest", 120, "linear_storage", 64, dtype="float32", start="dry"),
    Case("bifurcating", 80, "muskingum", 37, 3, lateral="interval"),
    Case("tree", 90, "mixed", 37, lateral="outlet", sampling="last"),
    Case("tree", 60, "hayami", 63, dtype="float32"),
    Case("star", 200, "muskingum", 16),
    Case("chain", 200, "muskingum", 1100),
    Case("tree", 60, "muskingum", 7, 2, lateral="outlet", sampling="start-mean", substeps=24),
    Case("tree", 60, "mixed", 9, substeps=3, sampling="last", dtype="float32"),
    Case("tree", 100, "muskingum", 31, 2, dtype="float16"),
    Case("tree", 60, "muskingum", 40, block=16),
]
"""Schemes, modes, types, substeps: forward compared with the reference, gradients with the CPU's adjoint."""
SANITIZE = [CHECKS[k] for k in (0, 2, 8, 9)]


@dataclass(frozen=True)
class Run:
    """A forward run to be timed, on a lattice of rows x columns, or on as many reaches in chains."""

    what: str = "muskingum"
    scheme: str = "muskingum"  # or "K32": windows of 32 steps
    lattice: tuple[int, int] = (1000, 1000)
    chains: int = 0  # length of the chains
    steps: int = 365
    members: int = 1
    substeps: int = 1
    dtype: str = "float32"
    state: bool = False
    target: str = ""


MAIN = Run(target="62%")
RUNS = {
    "muskingum": MAIN,
    "state": Run("muskingum, with final state", state=True, target="62%"),
    "linear_storage": Run("linear_storage", "linear_storage", target="62%"),
    "linear_storage_state": Run("linear_storage, with final state", "linear_storage", state=True, target="62%"),
    "long": Run(steps=8760, target="72%"),
    "members": Run(lattice=(100, 100), members=64, target="68%"),
    "middle": Run(lattice=(334, 300)),
    "K32": Run("windows of 32 steps", "K32", target="3 ms"),
    "hayami": Run("hayami", "hayami", target="3 ms"),
    "substeps": Run("muskingum, 24 substeps", substeps=24, target="13 ms"),
    "middle24": Run("muskingum, 24 substeps", lattice=(334, 300), substeps=24),
    "float16": Run("muskingum, float16", dtype="float16"),
    "chains100": Run("muskingum, chains of 100", chains=100),
    "chains1000": Run("muskingum, chains of 1000", chains=1000),
}


def sized(run: Run) -> Run:
    """The run with as many steps as fit; next to nothing of it where Triton interprets."""
    if not CUDA:
        few = {"lattice": (8, 5), "members": min(run.members, 2), "chains": min(run.chains, 20)}
        return replace(run, steps=min(run.steps, 9), substeps=min(run.substeps, 3), **few)
    torch.cuda.empty_cache()
    a_step = 2.3 * run.members * math.prod(run.lattice) * getattr(torch, run.dtype).itemsize
    fit = int(0.9 * torch.cuda.mem_get_info()[0] / a_step) // 365 * 365
    return replace(run, steps=fit, what=f"{run.what}, as many steps as fit") if fit < run.steps else run


@lru_cache(2)
def network_of(lattice: tuple[int, int], chains: int = 0) -> xroute.Network:
    """Lattice with the parameters of three schemes; or chains: what depth costs, apart from joins."""
    if chains:
        ids = np.arange(1, math.prod(lattice) + 1)
        downstream = np.where(ids % chains == 0, 0, ids + 1)
        k = np.random.default_rng(0).uniform(4000, 7000, ids.size)
        variables = {"downstream": ("reach", downstream), "k": ("reach", k), "x": 0.2}
        return xroute.Network(xr.Dataset(variables, {"reach": ids}))
    dataset = xroute.datasets.scheidegger(*lattice)
    for scheme in ("linear_storage", "hayami"):
        other = xroute.datasets.scheidegger(*lattice, scheme=scheme)
        dataset = dataset.assign({p.name: other[p.name] for p in SCHEMES[scheme].parameters})
    return xroute.Network(dataset)


def filter_of(network: xroute.Network, scheme: str, substeps: int = 1) -> Filter:
    n = network.n_reaches
    if scheme != "K32":
        return make_filter(read_parameters(network, scheme), DT / substeps, n)
    taps = torch.rand(n, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(n, dtype=torch.float64)
    return Filter((taps / taps.sum(dim=1, keepdim=True)).reshape(-1), np.arange(n + 1) * 32, none, none)


# ── comparing and measuring ─────────────────────────────────────────────────────────────────────────────────────────────


def report(case: str, ms: float, ratio: str, memory: str, error: float, target: str = "") -> None:
    ROWS.append(f"| {case} | {ms:.2f} | {ratio} | {memory} | {error:.0e} | {target} |")
    print(ROWS[-1], flush=True)


def require(error: float, allowed: float, what: str) -> float:
    if not error <= allowed:
        raise SystemExit(f"WRONG: {what}: error {error:.1e} > {allowed:.0e}")
    return error


def identical(a: Tensor, b: Tensor) -> Tensor:
    """Whether two tensors are the same bit for bit, not waited for."""
    word = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return (a.view(word) == b.view(word)).all()


def repeat(call: Callable[[], list[Tensor]], found: list[Tensor], times: int, what: str) -> None:
    """Call again, for the same bits."""
    for _ in range(times):
        if not all(bool(identical(a, b)) for a, b in zip(found, call(), strict=True)):
            raise SystemExit(f"WRONG: {what}: two runs differ")


def by_reach(found: Tensor, expected: np.ndarray) -> float:
    wanted = torch.from_numpy(expected).to(found.device)
    return float(((found - wanted).abs().amax(-1) / wanted.abs().amax(-1)).max())


def by_all(found: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    pairs = ((a, b) for a, b in zip(found, expected, strict=True) if b.numel())
    return float(torch.stack([(a.cpu() - b.cpu()).abs().max() / b.abs().max().cpu() for a, b in pairs]).max())  # or NaN


@contextlib.contextmanager
def watched(what: str, seconds: float) -> Iterator[None]:
    """End the process if this takes longer: a kernel that waits for ever cannot be interrupted."""

    def end() -> None:
        print(f"HANGS for {seconds:.0f} s: {what}", flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def median_ms(run: Callable[[], object], rep: int = 300) -> float:
    return float(triton.testing.do_bench(run, warmup=20, rep=rep, return_mode="median")) if CUDA else math.nan


@cache
def copy_bandwidth() -> float:
    """Bytes per second of a device copy, read and written."""
    source = torch.rand(500_000_000 if CUDA else 10, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / median_ms(lambda: target.copy_(source)) * 1e3


def memory(run: Callable[[], object], runoff: Tensor) -> str:
    """Peak of a call, runoff included, as a multiple of runoff and discharge."""
    if not CUDA:
        return ""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, size = torch.cuda.memory_allocated(), runoff.numel() * runoff.element_size()
    run()
    torch.cuda.synchronize()
    return f"{(size + torch.cuda.max_memory_allocated() - before) / (2 * size):.2f}"


def backward(discharge: Tensor, leaves: list[Tensor], grad: Tensor) -> list[Tensor]:
    """Gradients of leaves, which do not keep them: memory is measured."""
    discharge.backward(grad)
    found = [leaf.grad for leaf in leaves if leaf.grad is not None]
    for leaf in leaves:
        leaf.grad = None
    return found


# ── what is timed ───────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def forward_case(asked: Run) -> float:
    """Compare, time and report a forward run; returns its milliseconds."""
    run = sized(asked)
    network = network_of(run.lattice, run.chains)
    plan, n, dtype = network.plan, network.n_reaches, getattr(torch, run.dtype)
    f, settings = filter_of(network, run.scheme, run.substeps), RoutingSettings(substeps=run.substeps)
    made = prepare_filter(plan, f, DEVICE, torch.float32, settings)
    runoff = torch.rand((run.members, n, run.steps), device=DEVICE, dtype=dtype)
    if dtype == torch.float16:
        runoff *= 0.01  # discharge of the largest basin would be beyond the type
    label = f"{run.what}, {n:,} x {run.steps}" + f" x {run.members} members" * (run.members > 1)
    label += f", K up to {f.n_taps.max()}" * (run.scheme == "hayami")

    def route() -> list[Tensor]:
        discharge, end, _ = route_gpu(runoff, plan, made, settings=settings, keep_state=run.state)
        return [discharge, *(end or ())]

    discharge, *state = route()
    size = runoff.numel() * runoff.element_size()
    part, at = network, slice(None)
    if size <= WHOLE:
        repeat(route, [discharge, *state], 20, label)
    else:
        near = np.argsort(np.abs(plan.n_upstream - 20_000))
        outlets = np.isin(network.ids[near], network.outlets)
        part = network.basin(network.ids[near[outlets][0]])
        at, f = torch.from_numpy(pd.Index(network.ids).get_indexer(part.ids)), filter_of(part, run.scheme, run.substeps)
        label += f" (compared on {part.n_reaches:,} reaches)"
    given = runoff[:, at].float().cpu().numpy()
    expected, end, _ = route_block(given, part.plan, f, None, settings)
    error = require(by_reach(discharge[:, at], expected), ALLOWED[run.dtype], label)
    if run.state:
        wanted = (torch.from_numpy(s) for s in (end.channel.history, end.channel.outflow))
        require(by_all(state, wanted), ALLOWED["float32"], f"{label}: final state")
    del discharge, state, given, expected, end
    ms, used = median_ms(route), memory(route, runoff)
    report(label, ms, f"{2 * size / ms * 1e3 / copy_bandwidth():.0%} of copy", used, error, asked.target)
    return ms


def gradients_case(asked: Run = MAIN) -> None:
    """Forward and backward with runoff, k and x as leaves, as a multiple of the forward run."""
    base, run = forward_case(asked), sized(asked)
    network, settings = network_of(run.lattice), RoutingSettings(substeps=run.substeps)
    plan, n, f = network.plan, network.n_reaches, filter_of(network, "muskingum", run.substeps)
    made = prepare_filter(plan, f, DEVICE, torch.float32, settings)
    runoff, grad = (torch.rand((1, n, run.steps), device=DEVICE) for _ in range(2))
    dry = State(*(torch.zeros(1, n, device=DEVICE) for _ in range(2)))

    def kernels() -> list[Tensor]:
        discharge, _, trace = route_gpu(runoff, plan, made, settings=settings, keep_trace=True)
        return list(adjoint_gpu(grad, dry, runoff, plan, made, dry, trace, discharge, settings)[:3])

    def kernels_cpu() -> list[Tensor]:
        no = State(np.zeros((1, n)), np.zeros((1, n)))
        found = adjoint_cpu(grad.cpu().numpy(), no, runoff.cpu().numpy(), plan, f.arrays(), no, settings)
        return [torch.from_numpy(g) for g in found[:3]]

    def training(device: torch.device, by_router: bool) -> Callable[[], list[Tensor]]:
        given, r = grad.to(device), runoff.detach().to(device).requires_grad_()
        router = xroute.Router(network, dt=DT, substeps=run.substeps, learnable=("k", "x")).to(device)
        at, values = read_parameters(network, "muskingum")["muskingum"]
        own = {name: torch.tensor(v, device=device, requires_grad=True) for name, v in values.items()}
        leaves = [r, *(router.parameters() if by_router else own.values())]

        def call() -> list[Tensor]:
            if by_router:
                discharge = router(r)
            else:
                made_now = make_filter({"muskingum": (at, own)}, DT / run.substeps, n)
                discharge = route_autograd(r, plan, made_now, None, settings)[0]
            return backward(discharge, leaves, given)

        return call

    target = "4.2 ms" if run.substeps == 1 else "3 x"
    for what, call, truth, wanted in (
        ("kernels alone", kernels, kernels_cpu, ""),
        ("make_filter, route_autograd, backward", training(DEVICE, False), training(CPU, False), ""),
        ("xroute.Router, backward", training(DEVICE, True), training(CPU, True), target),
    ):
        more = f", {run.substeps} substeps" * (run.substeps > 1)
        label = f"forward + backward, {what}, {n:,} x {run.steps}{more}"
        found = call()
        error = require(by_all(found, truth()), ALLOWED_BACK["float32"], label)
        repeat(call, found, 2, label)
        del found
        ms = median_ms(call, 500)
        report(label, ms, f"{ms / base:.1f} x forward", memory(call, runoff), error, wanted)


def host_case() -> None:
    """numpy in, numpy out, beside copies of the same arrays between pinned memory and the device."""
    run = sized(MAIN)
    network = network_of(run.lattice)
    data = np.random.default_rng(0).random((network.n_reaches, run.steps), np.float32)
    coords = {"reach": network.ids, "time": pd.date_range("2001", periods=run.steps, freq="h")}
    runoff = xr.DataArray(data, coords, ("reach", "time"), attrs={"units": "m3 s-1"})
    label = f"DataArray.route, numpy in and out, {network.n_reaches:,} x {run.steps}"
    found, expected = (runoff.route(network, device=where).values for where in (DEVICE.type, "cpu"))
    error = require(by_reach(torch.from_numpy(found), expected), ALLOWED["float32"], label)
    del found, expected
    pinned, back = (torch.empty(data.shape, pin_memory=CUDA) for _ in range(2))
    pinned.copy_(torch.from_numpy(data))
    there = torch.empty(data.shape, device=DEVICE)
    times: list[list[float]] = [[], []]
    calls = lambda: back.copy_(there.copy_(pinned)), lambda: runoff.route(network, device=DEVICE.type)
    for _ in range(5):
        for kept, call in zip(times, calls, strict=True):
            begin = time.perf_counter()
            result = call()
            kept.append(1e3 * (time.perf_counter() - begin))
            del result
    copies, ms = (statistics.median(kept) if CUDA else math.nan for kept in times)
    report(label, ms, f"{ms / copies:.2f} x pinned copies", "", error, "1.2 x")


def diffroute_case() -> None:
    """Beside diffroute: the same network, runoff and leaves, from parameters on. Neither's plan is counted.

    Both compose the responses of the reaches on a path, and without substeps those of these two schemes are the same: C0,
    then (C1 + pole C0) pole^(t - 1). So what both mean to compute is the exact composition, here by our CPU engine in
    float64, which the tests show to equal the reference. Diffroute computes a path's response in a circular window of
    `WINDOW` steps, clips what is negative and scales the rest to unit mass, all in float32 and its products in tf32.
    """
    if importlib.util.find_spec("diffroute") is None:
        print("diffroute is NOT INSTALLED here: nothing is compared with it (pip install diffroute==0.1.0)", flush=True)
        return
    for scheme in ("linear_storage", "muskingum"):
        try:
            _beside_diffroute(scheme)
        except Exception as error:  # whatever it stumbles over, the rest goes on
            print(f"{scheme} beside diffroute failed: {type(error).__name__}: {error}", flush=True)


def _beside_diffroute(scheme: str) -> None:
    def plain(iterable: Any, *_: Any, **__: Any) -> Any:  # in place of progress bars, which want a notebook
        return iterable

    with patch("tqdm.notebook.tqdm", plain), patch("tqdm.auto.tqdm", plain):
        import networkx as nx
        from diffroute import LTIStagedRouter, RivTreeCluster
        from diffroute.graph_utils import define_schedule
    run = sized(Run(lattice=(334, 300)))
    network = network_of(run.lattice)
    plan, n, ids, (up, down, _) = network.plan, network.n_reaches, network.ids, network.links
    at, values = read_parameters(network, scheme)[scheme]
    in_steps = {p.name: values[p.name] / (DT if p.units == "s" else 1) for p in SCHEMES[scheme].parameters}
    graph = nx.DiGraph(zip(ids[up].tolist(), ids[down].tolist(), strict=True))
    graph.add_nodes_from(ids.tolist())
    with contextlib.redirect_stdout(io.StringIO()):  # it tells at length how it plans
        parts = define_schedule(graph, plength_thr=10**4, node_thr=10**4)
        trees = RivTreeCluster(*parts, irf_fn=scheme, param_df=pd.DataFrame(in_steps, index=ids)).to(DEVICE)
    router = LTIStagedRouter(max_delay=WINDOW, dt=1).to(DEVICE)
    order = torch.from_numpy(pd.Index(ids).get_indexer(trees.nodes_idx.index)).to(DEVICE)

    runoff, grad = (torch.rand((1, n, run.steps), device=DEVICE) for _ in range(2))
    exact = runoff.double().cpu().requires_grad_()
    expected = route_autograd(exact, plan, filter_of(network, scheme))[0]
    expected.backward(grad.double().cpu())
    own = {name: torch.tensor(v, device=DEVICE, requires_grad=True) for name, v in values.items()}
    mine = [runoff.clone().requires_grad_(), *own.values()]
    its = [runoff[:, order].requires_grad_(), torch.cat([tree.params for tree in trees.gs]).requires_grad_()]

    def route_mine() -> Tensor:
        return route_autograd(mine[0], plan, make_filter({scheme: (at, own)}, DT, n))[0]

    made = filter_of(network, scheme)
    ready = prepare_filter(plan, made, DEVICE, torch.float32)

    def route_made() -> Tensor:
        return route_gpu(mine[0].detach(), plan, ready, keep_state=False)[0]

    def route_its() -> Tensor:
        return router(its[0], trees, its[1].split([len(tree) for tree in trees.gs]))

    to_its = grad[:, order]
    with_grad = lambda: backward(route_mine(), mine, grad)[0], lambda: backward(route_its(), its, to_its)[0]
    for what, (call, other), truth in (
        ("forward", (torch.no_grad()(route_mine), torch.no_grad()(route_its)), expected.detach().to(DEVICE)),
        ("forward + backward", with_grad, exact.grad.to(DEVICE)),
    ):
        label = f"{scheme} from parameters, {what}, {n:,} x {run.steps}"
        pairs = (call(), truth), (other(), truth[:, order])
        errors = [float((found.double() - wanted).norm() / wanted.norm()) for found, wanted in pairs]
        require(errors[0], 1e-5, label)
        ms, other_ms = median_ms(call), median_ms(other, 2000)
        report(f"xroute, {label}", ms, "", memory(call, runoff), errors[0])
        ratio, used = f"{other_ms / ms:.0f} x xroute", memory(other, runoff)
        report(f"diffroute, window {WINDOW}, {label}", other_ms, ratio, used, errors[1])
        if what == "forward":
            label = label.replace("from parameters", "with its filter made before")
            error = require(float((route_made().double() - truth).norm() / truth.norm()), 1e-5, label)
            ms = median_ms(route_made)
            report(f"xroute, {label}", ms, f"diffroute: {other_ms / ms:.0f} x", memory(route_made, runoff), error)


def hillslope_case(n_taps: int) -> None:
    """Hillslopes of so many taps before muskingum, beside muskingum alone, all on the device."""
    base, run = forward_case(MAIN), sized(MAIN)
    network = network_of(run.lattice)
    plan, n = network.plan, network.n_reaches
    made = prepare_filter(plan, filter_of(network, "muskingum"), DEVICE, torch.float32)
    taps = torch.rand(n, n_taps, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(n, dtype=torch.float64)
    windows = Filter((taps / taps.sum(dim=1, keepdim=True)).reshape(-1), np.arange(n + 1) * n_taps, none, none)
    slopes = slopes_on(windows, DEVICE, torch.float32)
    runoff = torch.rand((1, n, run.steps), device=DEVICE)

    def route() -> list[Tensor]:
        given, _ = route_slopes(runoff, slopes, None, keep_state=False)
        return [route_gpu(given, plan, made, keep_state=False)[0]]

    label = f"hillslopes of {n_taps} taps, then muskingum, {n:,} x {run.steps}"
    found = route()
    expected, _, _ = route_block(
        runoff.cpu().numpy(), plan, filter_of(network, "muskingum"), None, RoutingSettings(), hillslope=windows
    )
    error = require(by_reach(found[0], expected), ALLOWED["float32"], label)
    repeat(route, found, 5, label)
    del found, expected
    alone = median_ms(lambda: route_slopes(runoff, slopes, None, keep_state=False))
    ms = median_ms(route)
    report(f"{label} (hillslopes {alone:.2f} ms)", ms, f"{ms / base:.2f} x muskingum", memory(route, runoff), error, "2.2 x")


CASES: dict[str, Callable[[], object]] = {
    **{name: partial(forward_case, run) for name, run in RUNS.items()},
    "gradients": gradients_case,
    "gradients24": partial(gradients_case, RUNS["middle24"]),
    "host": host_case,
    **{f"hillslope{k}": partial(hillslope_case, k) for k in (8, 24, 64)},
    "diffroute": diffroute_case,
}
QUICK = ("muskingum", "state", "gradients", "host")


# ── checks ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def check(case: Case) -> list[str]:
    """What is wrong with a case, forward and gradients."""
    if not CUDA:
        case = replace(case, n=min(case.n, 9), steps=min(case.steps, 7), substeps=min(case.substeps, 3), block=0)
    with watched(str(case), 5 * PATIENCE):
        errors = problems.check_case(case)
    return [f"WRONG: {case}: {name}: {e:.1e} > {most:.0e}" for name, (e, most) in errors.items() if not e <= most]


def here(function: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> Iterator[Any]:
    """As `in_processes`, but in this one: where a tool watches it."""
    return (function(*job) for job in jobs)


def on_one_core() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    xroute.set_options(threads=1)


def in_processes(function: Callable[..., Any], jobs: list[tuple[Any, ...]]) -> Iterator[Any]:
    """Results as they come, from a process a core: kernels take seconds to compile, each in the process that launches it."""
    with ProcessPoolExecutor(min(len(jobs), len(os.sched_getaffinity(0))), get_context("spawn"), on_one_core) as pool:
        try:
            for future in as_completed([pool.submit(function, *job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool:
            raise SystemExit("a process has ended: see above") from None


def check_all(cases: list[Case], run: Callable[..., Iterator[list[str]]]) -> None:
    """Compare cases with the reference, and end if one is wrong."""
    begin = time.perf_counter()
    wrong = [fault for faults in run(check, [(case,) for case in cases]) for fault in faults]
    if wrong:
        raise SystemExit("\n".join([*wrong, "the engine is wrong; nothing is timed"]))
    seconds = time.perf_counter() - begin
    print(f"{len(cases)} cases equal the reference, forward and gradients, {seconds:.0f} s", flush=True)


# ── soak ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Combo:
    """What decides which kernels run; the rest of a problem is drawn. Its series has ``remainder`` + 16 k steps."""

    filter: str
    dtype: str
    remainder: int
    members: tuple[int, ...] = (1,)
    k: tuple[int, int] = (0, 60)
    gradients: bool = True  # else a dry start, and nothing but discharge
    modes: dict[str, Any] = field(default_factory=dict)


MANY = (2, 3, 5, 7)
RAPID = {"substeps": 3, "lateral": "interval", "sampling": "start-mean"}
COMBOS = [
    Combo("muskingum", "float32", 13, gradients=False),
    Combo("muskingum", "float32", 5, MANY),
    Combo("muskingum", "float32", 0, MANY, k=(64, 128)),
    Combo("muskingum", "float64", 1, MANY),
    Combo("muskingum", "float64", 7, modes={"lateral": "interval", "sampling": "last"}),
    Combo("linear_storage", "float32", 8, modes={"lateral": "outlet"}),
    Combo("linear_storage", "float64", 3, gradients=False),
    Combo("mixed", "float32", 5, MANY),
    Combo("mixed", "float64", 0, modes={"lateral": "outlet"}),
    Combo("muskingum", "float32", 5, k=(0, 6), modes={"substeps": 24}),
    Combo("muskingum", "float64", 5, MANY, (0, 20), modes=RAPID),
    Combo("muskingum", "float16", 5, MANY, gradients=False),
]
SHAPES = ("tree", "forest", "bifurcating", "edgeless", "chain", "star", "lattice", "lattice")
LARGEST, WORK = (3000, 2_000_000) if CUDA else (12, 300)
"""Most reaches of a problem, and most routing steps x members x reaches."""
PATTERNS = 3
"""Patterns of sizes in a combo: Triton compiles kernels anew for each pattern of sizes that are 1 or multiples of 16."""
LAUNCHES = 16
"""Launches on a problem, forward and adjoint in turn."""


def draw(combo: Combo, rng: np.random.Generator, large: bool) -> Any:
    """A problem as the tests make it, on a network of any shape."""
    least, most = combo.k if CUDA else (0, 0)
    steps = combo.remainder + 16 * (least + int((most - least + 1) ** rng.random()) - 1) or 16
    members, shape, seed = int(rng.choice(combo.members)), str(rng.choice(SHAPES)), int(rng.integers(2**31))
    most_reaches = max(1, min(LARGEST, WORK // (steps * combo.modes.get("substeps", 1) * members)))
    n = most_reaches if large else int(most_reaches ** rng.random())
    rows = int(rng.integers(1, n + 1)) if shape == "lattice" else 0
    n, of_tests = (rows * (n // rows), "edgeless") if rows else (n, shape)
    start = "state" if combo.gradients else "dry"
    case = Case(of_tests, n, combo.filter, steps, members, dtype=combo.dtype, start=start, **combo.modes)
    problem = problems.problem(case, seed)
    if rows:
        network = xroute.Network(xroute.datasets.scheidegger(rows, n // rows, seed))
        problem.links, problem.plan = network.links, network.plan
    problem.what = f"{case}, seed {seed}" + f", lattice of {rows} rows" * bool(rows)
    return problem


def pattern(problem: Any) -> tuple[Any, ...]:
    """What of a problem is compiled into the kernels."""
    patches, f, n = problem.plan.patches, problem.filter, problem.plan.n_reaches
    lags = int(f.pointer[-1]) - n
    sizes = n, *problem.runoff.shape, patches.n_patches, patches.down.n_sources, patches.up.n_sources, lags
    return min(3, int(f.n_taps.max())), bool((f.pole != 0).any()), *((s == 1, s % 16 == 0) for s in sizes)


def truth(problem: Any, gradients: bool) -> list[tuple[str, np.ndarray, float]]:
    """By the CPU engine in float64, compared with the reference on small networks: names, values, errors allowed."""
    discharge, state = np.empty(problem.runoff.shape), [s.numpy().copy() for s in problem.state]
    given = problem.runoff.double().numpy()
    route_cpu(given, discharge, problem.plan, problem.filter.arrays(), State(*state), problem.settings)
    if given.shape[1] <= 40 and given.shape[2] * problem.case.substeps <= 120:
        for mine, wanted in zip((discharge, *state), problems.reference(problem), strict=True):
            require(problems.error(torch.from_numpy(mine), wanted), 1e-11, f"CPU engine, {problem.what}")
    allowed, allowed_back = ALLOWED[problem.case.dtype], ALLOWED_BACK[problem.case.dtype]
    if not gradients:
        return [("discharge", discharge, allowed)]
    named = zip(("discharge", "history", "outflow"), (discharge, *state), strict=True)
    of_named = zip(problems.GRADIENTS, problems.reference_gradients(problem), strict=True)
    return [*((k, v, allowed) for k, v in named), *((f"gradient of {k}", v, allowed_back) for k, v in of_named)]


def soak_part(number: int, seed: int, launches: int) -> tuple[str, int, int, float, str]:
    """Launches of one combo: the first on a problem is compared with the truth, the others with the first, bit for bit."""
    combo, rng = COMBOS[number], np.random.default_rng([seed, number])
    known: set[Any] = set()
    done, n_problems, worst = 0, 0, 0.0
    wrong: list[str] = []
    while done < launches and not wrong:
        problem = draw(combo, rng, not known)
        key = pattern(problem)
        if key not in known and len(known) == PATTERNS:
            continue
        expected = truth(problem, combo.gradients)
        problem.runoff = problem.runoff.to(DEVICE)
        problem.state, problem.grads = ([t.to(DEVICE) for t in group] for group in (problem.state, problem.grads))
        made = problems.prepared(problem)
        first: list[Tensor] = []
        with watched(problem.what, PATIENCE if key in known else 5 * PATIENCE):
            same = torch.ones((), dtype=torch.bool, device=DEVICE)
            for _ in range(LAUNCHES // (1 + combo.gradients)):
                if combo.gradients:
                    *found, trace = problems.forward(problem, filter=made, keep_trace=True)
                    found += problems.backward(problem, trace, found[0])
                else:
                    found = list(problems.forward(problem, filter=made, state=(None, None), keep_state=False)[:1])
                first = first or found
                for a, b in zip(found, first, strict=True):
                    same &= identical(a, b)
            wrong = [] if bool(same) else ["launches differ"]
        known.add(key)
        done, n_problems = done + LAUNCHES, n_problems + 1
        for value, (name, wanted, allowed) in zip(first, expected, strict=True):
            error = problems.error(value, wanted)
            worst = max(worst, error)
            wrong += [] if error <= allowed else [f"{name}: {error:.1e} > {allowed:.0e}"]
        if n_problems % 20 == 0:
            print(f"  {problem.what}: {done} launches, {n_problems} problems, worst {worst:.0e}", flush=True)
    return combo.dtype, done, n_problems, worst, f"WRONG: {problem.what}: {'; '.join(wrong)}" if wrong else ""


def soak(launches: int, seed: int) -> None:
    """Launch on random networks; ends with an error on any difference."""
    begin, total, n_problems, wrong = time.perf_counter(), 0, 0, 0
    worst: dict[str, float] = {}
    jobs = [(number, seed, -(-launches // len(COMBOS))) for number in range(len(COMBOS))]
    for dtype, done, n_drawn, error, fault in in_processes(soak_part, jobs):
        total, n_problems, wrong = total + done, n_problems + n_drawn, wrong + bool(fault)
        worst[dtype] = max(error, worst.get(dtype, 0.0))
        print(f"{fault}\n" * bool(fault) + f"{total} launches, {time.perf_counter() - begin:.0f} s", flush=True)
    errors = ", ".join(f"{error:.0e} ({dtype})" for dtype, error in sorted(worst.items()))
    verdict = f"{wrong} WRONG" if wrong else "all equal"
    print(f"soak: {total} launches, {n_problems} problems, worst relative error {errors}, {verdict}")
    raise SystemExit(wrong > 0)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="NAME", help="only these cases")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--soak", type=int, metavar="N", help="launch N times on random networks instead")
    parser.add_argument("--seed", type=int, default=0, help="seed of the soak")
    parser.add_argument("--sanitize", action="store_true", help="a few small launches for compute-sanitizer instead")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    if options.list:
        print(*CASES, sep="\n")
        return
    if not CUDA and os.environ.get("TRITON_INTERPRET") != "1":
        raise SystemExit("this needs a GPU, or TRITON_INTERPRET=1 to try its checks on tiny networks")
    warnings.simplefilter("ignore", UserWarning)  # Muskingum's range: drawn parameters need not be ideal
    if options.sanitize:
        check_all(SANITIZE, here)
        return
    check_all(CHECKS[:1], here)  # first and alone: it compiles the CPU's kernels for the other processes
    if options.soak:
        soak(options.soak, options.seed)
    check_all(CHECKS, in_processes)
    copy = f"{torch.cuda.get_device_name()}, device copy {copy_bandwidth() / 1e12:.2f} TB/s" if CUDA else "interpreted"
    print(f"{copy}, torch {torch.__version__}, triton {triton.__version__}", flush=True)
    for name in options.only or (QUICK if options.quick else CASES):
        with watched(name, 10 * PATIENCE):
            CASES[name]()
    print("", *ROWS, sep="\n")


if __name__ == "__main__":
    main()
