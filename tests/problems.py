"""The problems that tests and benchmarks share: networks of every shape, filters, runoff, their truths and tolerances.

A `Case` says in a line what to route; `problem` makes it, `reference` and `reference_gradients` are the truth, `forward` and
`backward` run the GPU's kernels, and `check_case` compares all of it. Nothing here imports Triton before it is called:
whether kernels are interpreted is settled when they are defined. `write_region` and `write_hour` make files of other systems.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import xarray as xr
from strategies import DT, USUAL, Topology, topology

from xroute.block_state import CHANNEL, BlockState, StageTable
from xroute.engine.arrays import State
from xroute.engine.cpu.adjoint import adjoint_cpu
from xroute.engine.plan import make_plan
from xroute.engine.reference import route_reference
from xroute.options import find_device
from xroute.partition import Partition
from xroute.schemes import Filter, make_filter
from xroute.settings import RoutingSettings

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
FORWARD = {"float64": 1e-12, "float32": 5e-6, "float16": 2e-3, "bfloat16": 1e-2}
BACKWARD = {"float64": 1e-11, "float32": 1e-4, "float16": 2e-3, "bfloat16": 1e-2}
GRADIENTS = ("runoff", "taps", "pole", "gain", "history", "outflow")
RANGES = {
    scheme: {name: (low, 0.5 * (low + high)) for name, (low, high) in usual.items()} for scheme, usual in USUAL.items()
}
"""Parameters of cases: the lower half of what is usual, where windows are short."""

Errors = dict[str, tuple[float, float]]
"""Of each quantity its largest error relative to its largest value, and the error allowed."""


@dataclass(frozen=True)
class Case:
    """A network, the filter of its reaches, a series, and how it is stepped and stored."""

    shape: str = "tree"
    n: int = 12
    filter: str = "muskingum"  # a scheme; "mixed"; "K2": so many taps and a pole; "ragged17": up to so many
    steps: int = 20
    batch: int = 1
    lateral: str = "head"
    sampling: str = "mean"
    substeps: int = 1
    dtype: str = "float64"
    start: str = "state"
    layout: str = "plain"
    block: int = 0  # steps of runoff for which a trace is kept at a time; 0: all of them, from the forward run

    def __str__(self) -> str:
        changed = (f for f in fields(self) if f.name in ("shape", "filter") or getattr(self, f.name) != f.default)
        return "-".join(f"{f.name}{v}" if isinstance(v := getattr(self, f.name), int) else v for f in changed)


def make_topology(shape: str, n: int, rng: np.random.Generator) -> Topology:
    """As `strategies.topology`, and chains and stars."""
    if shape not in ("chain", "star"):
        return topology(shape, n, rng)
    place = rng.permutation(n)
    below = place[1:] if shape == "chain" else np.full(n - 1, place[-1])
    return Topology(n, place[:-1], below, rng.uniform(0.5, 1.0, n - 1), shape)


def draw_filter(kind: str, n: int, dt: float, lateral: str, rng: np.random.Generator) -> Filter:
    """Filter of a scheme, of a mixture of them, or of random windows with poles."""
    if kind == "mixed" or kind in RANGES:
        names = list(RANGES) if kind == "mixed" else [kind]
        parameters = {
            name: (at, {p: rng.uniform(*RANGES[name][p], at.size) for p in RANGES[name]})
            for name, at in ((name, np.arange(n)[k :: len(names)]) for k, name in enumerate(names))
        }
        return make_filter(parameters, dt, n, lateral=lateral)
    most = int(kind.lstrip("Kraged"))
    n_taps = rng.integers(1, most + 1, n) if kind.startswith("ragged") else np.full(n, most)
    pointer = np.concatenate([[0], np.cumsum(n_taps)])
    taps = rng.normal(size=pointer[-1]) / np.repeat(n_taps, n_taps)
    pole = np.where(rng.random(n) < 0.3, 0.0, rng.uniform(-0.5, 0.9, n))
    gain = rng.normal(size=n) if lateral == "interval" else np.zeros(n)
    return Filter(torch.from_numpy(taps), pointer, torch.from_numpy(pole), torch.from_numpy(gain))


def problem(case: Case, seed: int = 0) -> SimpleNamespace:
    """What a case is about, on the host; the state at the start is None where it is dry."""
    rng = np.random.default_rng(seed)
    network = make_topology(case.shape, case.n, rng)
    n = network.n_reaches
    made = draw_filter(case.filter, n, DT / case.substeps, case.lateral, rng)
    runoff = torch.from_numpy(rng.random((case.batch, n, case.steps))).to(getattr(torch, case.dtype))
    state = [torch.from_numpy(rng.random((case.batch, size))) for size in (int(made.pointer[-1]) - n, n)]
    if case.start == "outflow":
        state[0] = torch.zeros_like(state[0])
    elif case.start == "dry":
        state = [torch.zeros_like(s) for s in state]
    return SimpleNamespace(
        case=case, links=network.links, plan=make_plan(*network.links, n), filter=made, runoff=runoff, state=state,
        settings=RoutingSettings(None, case.substeps, case.sampling, case.lateral),
        grads=[torch.from_numpy(rng.random(s)) for s in (runoff.shape, state[0].shape, state[1].shape)],
    )  # fmt: skip


def lag_array(problem: SimpleNamespace, history: np.ndarray) -> np.ndarray:
    """Lags of all reaches as the reference takes them, padded to the longest window."""
    pointer = problem.filter.pointer
    n_lags = np.diff(pointer) - 1
    lags = np.zeros((*history.shape[:1], n_lags.size, n_lags.max()))
    lags[:, np.arange(n_lags.max()) < n_lags[:, None]] = history
    return lags


def reference(problem: SimpleNamespace, runoff: torch.Tensor | None = None) -> list[np.ndarray]:
    """Discharge, history and outflow by the reference."""
    taps, pointer, pole, gain = problem.filter.arrays()
    history, outflow = (s.numpy() for s in problem.state)
    runoff = problem.runoff if runoff is None else runoff
    discharge, lags, last = route_reference(
        runoff.double().numpy(), problem.links, np.split(taps, pointer[1:-1]), pole, gain,
        substeps=problem.case.substeps, sampling=problem.case.sampling, lateral=problem.case.lateral,
        inflow_history=lag_array(problem, history), outflow=outflow,
    )  # fmt: skip
    inside = np.arange(lags.shape[2]) < np.diff(pointer)[:, None] - 1
    return [discharge, lags[:, inside], last]


def reference_gradients(problem: SimpleNamespace) -> tuple[np.ndarray, ...]:
    """Gradients by the CPU's adjoint, of the values that the types of the case can hold."""
    given, *of_state = problem.grads
    *grads, of_start = adjoint_cpu(
        given.to(problem.runoff.dtype).double().numpy(), State(*(g.numpy() for g in of_state)),
        problem.runoff.double().numpy(), problem.plan, problem.filter.arrays(), State(*(s.numpy() for s in problem.state)),
        problem.settings,
    )  # fmt: skip
    return *grads, *of_start


def prepared(problem: SimpleNamespace) -> Any:
    """The filter as the kernels take it."""
    from xroute.engine.gpu.layout import prepare_filter

    acc = torch.float64 if problem.runoff.dtype == torch.float64 else torch.float32
    return prepare_filter(problem.plan, problem.filter, DEVICE, acc, problem.settings)


def forward(problem: SimpleNamespace, runoff: torch.Tensor | None = None, **options: Any) -> tuple[Any, ...]:
    """Discharge, history, outflow and trace that `route_gpu` returns; ``state`` and ``filter`` may be given."""
    from xroute.engine.gpu.launch import route_gpu

    state = options.pop("state", problem.state)
    made = options.pop("filter", None) or prepared(problem)
    runoff = (problem.runoff if runoff is None else runoff).to(DEVICE)
    discharge, end, trace = route_gpu(runoff, problem.plan, made, State(*state), problem.settings, **options)
    return discharge, *(end or (None, None)), trace


def backward(
    problem: SimpleNamespace, trace: torch.Tensor | None, discharge: torch.Tensor | None, **options: Any
) -> tuple[torch.Tensor, ...]:
    """`GRADIENTS` that `adjoint_gpu` returns; ``state`` may be given."""
    from xroute.engine.gpu.gradients import adjoint_gpu

    state = [t if t is None else t.to(DEVICE) for t in options.pop("state", problem.state)]
    grads = [laid_out(problem.grads[0], problem.case.layout), *(t.to(DEVICE) for t in problem.grads[1:])]
    *found, of_start = adjoint_gpu(
        grads[0].to(problem.runoff.dtype), State(*grads[1:]), problem.runoff.to(DEVICE), problem.plan, prepared(problem),
        State(*state), trace, discharge, problem.settings, **options,
    )  # fmt: skip
    return *found, *of_start


def laid_out(runoff: torch.Tensor, layout: str) -> torch.Tensor:
    """The same numbers elsewhere in memory, on the device."""
    if layout == "offset":
        return torch.cat([runoff.new_zeros(1), runoff.reshape(-1)]).to(DEVICE)[1:].view(runoff.shape)
    if layout == "time first":
        return runoff.to(DEVICE).permute(2, 0, 1).contiguous().permute(1, 2, 0)
    if layout == "reach first":
        return runoff.to(DEVICE).permute(1, 0, 2).contiguous().permute(1, 0, 2)
    return runoff.to(DEVICE)


def error(found: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference relative to the largest value; NaN if either has one."""
    assert tuple(found.shape) == expected.shape
    difference = np.abs(found.double().cpu().numpy() - expected).max(initial=0)
    return float(difference / max(1e-30, np.abs(expected).max(initial=0)))


def equal_but_on_a_gpu(found: Any, expected: Any) -> bool:
    """Whether two DataArrays, or Datasets, are equal bit for bit, or on a GPU but for the order of its sums.

    Partitions put tributaries into other lanes there, which then join their reach in another order.
    """
    if find_device(None).type == "cpu":
        return bool(found.equals(expected))
    for name, array in expected.variables.items() if isinstance(expected, xr.Dataset) else [(None, expected)]:
        other = found if name is None else found[name]
        if array.dtype.kind != "f":
            assert other.equals(array) if name is None else other.variable.equals(array), name
        else:
            allowed = {8: 1e-12, 4: 2e-6}[array.dtype.itemsize] * max(1.0, float(abs(array).max()))
            np.testing.assert_allclose(other.values, array.values, rtol=0, atol=allowed, err_msg=str(name))
    return True


def state_of(part: Partition, whole: BlockState, filter: Filter) -> BlockState:
    """A partition's part of the whole network's state; given reaches have none, which is to say zeros."""
    n_lags = filter.n_taps - 1
    outflow, inflow = whole.channel.table(n_lags, whole.channel.outflow.shape[:1])
    table = StageTable(outflow[:, part.reach], None if inflow is None else inflow[:, part.reach])
    return BlockState.of_table({CHANNEL: table}, {CHANNEL: n_lags[part.reach]}).pad(part.given.size)


def check_case(case: Case) -> Errors:
    """Discharge and final state, then all gradients; with a trace, or without one from states that the run finds again."""
    p = problem(case)
    state = {"dry": (None, None), "outflow": (None, p.state[1])}.get(case.start, p.state)
    discharge, history, outflow, trace = forward(
        p, laid_out(p.runoff, case.layout), state=state, keep_trace=not case.block
    )
    assert discharge.dtype == p.runoff.dtype and (trace is None) == bool(case.block)
    few = FORWARD["float32"] if p.runoff.dtype.itemsize < 4 else FORWARD[case.dtype]  # the state is not rounded
    errors = {
        name: (error(value, expected), allowed)
        for name, value, expected, allowed in zip(
            ("discharge", "final history", "final outflow"), (discharge, history, outflow), reference(p),
            (FORWARD[case.dtype], few, few), strict=True,
        )
    }  # fmt: skip
    grads = backward(p, trace, discharge, state=state, block=case.block or None)
    for name, value, expected in zip(GRADIENTS, grads, reference_gradients(p), strict=True):
        errors[f"gradient of {name}"] = error(value, expected), BACKWARD[case.dtype]
    return errors


def check_row_before(dtype: str, outlet: bool = False) -> Errors:
    """What is not finite stays where water takes it: not in the next row of memory, nor where runoff joins below in its reach.

    The headwater that joins two reaches above the outlet begins later than the other, in the middle of a vector.
    """
    p = problem(Case("edgeless", 5, "muskingum", 17, lateral="outlet" if outlet else "head", dtype=dtype))
    p.links = np.array([0, 1, 2, 3]), np.array([1, 2, 4, 4]), np.ones(4)
    p.plan = make_plan(*p.links, 5)
    hit, step = (3, 2) if outlet else (2, 16)
    p.runoff[0, hit, step] = torch.nan
    expected = reference(p)
    assert np.isnan(expected[0][0, :4]).sum() == np.isnan(expected[0][0, hit]).sum() == 1
    return {
        name: (float((np.isnan(a.cpu().numpy()) != np.isnan(b)).sum()), 0.0)
        for name, a, b in zip(("discharge", "history", "outflow"), forward(p), expected, strict=False)
    }


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_region(
    folder: Path,
    connect: str,
    k: list[float] | None = None,
    x: list[float] | None = None,
    basin: list[int] | None = None,
) -> Path:
    """Files of a region for Fortran RAPID, beside its runoff: links, k and x, and the rivers of the basin."""
    folder.mkdir(parents=True, exist_ok=True)
    n = len(connect.split())
    (folder / "rapid_connect.csv").write_text("\n".join(connect.split()) + "\n")
    (folder / "k.csv").write_text("\n".join(map(repr, k or [3600.0 + i for i in range(n)])) + "\n")
    (folder / "x.csv").write_text("\n".join(map(repr, x or [0.2] * n)) + "\n")
    if basin is not None:
        (folder / "riv_bas_id.csv").write_text("\r\n".join(map(str, basin)) + "\r\n")
    return folder


def write_hour(path: Path, hour: int, ids: list[int], **variables: list[float]) -> Path:
    """One hour of the National Water Model (CHRTOUT)."""
    dataset = xr.Dataset(
        {name: ("feature_id", np.array(values, "f4"), {"units": "m3 s-1"}) for name, values in variables.items()},
        coords={
            "feature_id": np.array(ids),
            "time": ("time", [np.datetime64("2020-01-01") + np.timedelta64(hour, "h")]),
        },
    )
    dataset.to_netcdf(path, engine="netcdf4")
    return path
