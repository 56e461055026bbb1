"""CPU engine: reach-steps per second beside a plain copy of the same array, checked against the reference first.

    make bench                                     the full size: 1,000,000 reaches x 365 steps
    .venv/bin/python benchmarks/cpu.py --rows 200 --columns 200 --members 8

Each figure is the median of several runs in one process. The machine matters; the ratio to the copy travels better.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
import xarray as xr

import xroute
from xroute.block import route_block
from xroute.engine.arrays import FilterArrays, Known, State
from xroute.engine.cpu.adjoint import adjoint_cpu
from xroute.engine.cpu.forward import route_cpu
from xroute.engine.reference import route_reference
from xroute.parameters import read_parameters
from xroute.schemes import Filter, make_filter
from xroute.settings import RoutingSettings

DT = 3600.0


def timed(function: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call [s]."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
        del result
    return statistics.median(times)


def filter_of(network: xroute.Network) -> Filter:
    return make_filter(read_parameters(network), DT, network.n_reaches, ids=network.ids)


def route_into(runoff: np.ndarray, discharge: np.ndarray, network: xroute.Network, made: Filter) -> int:
    """Route into memory that is there already, as a run in blocks does."""
    state = State(np.zeros((len(runoff), int(made.pointer[-1]) - network.n_reaches)), np.zeros(runoff.shape[:2]))
    return route_cpu(runoff, discharge, network.plan, made.arrays(), state, dry=True).runoff


def trace_back(runoff: np.ndarray, network: xroute.Network, made: Filter) -> np.ndarray:
    """Gradients with respect to runoff and filter, from a dry start; the runoff serves as the gradient of discharge too."""
    return adjoint_cpu(runoff, None, runoff, network.plan, made.arrays(), None).runoff


def windows(n: int, n_taps: int) -> Filter:
    """Hillslopes of so many taps each."""
    none = torch.zeros(n, dtype=torch.float64)
    return Filter(torch.full((n * n_taps,), 1 / n_taps, dtype=torch.float64), np.arange(n + 1) * n_taps, none, none)


def known_on(n: int, n_steps: int) -> Known:
    """Discharge that is known on one of 200 reaches, with gaps."""
    rng = np.random.default_rng(2)
    values = rng.random((1, n // 200, n_steps))
    return Known(np.sort(rng.choice(n, n // 200, replace=False)), np.where(rng.random(values.shape) < 0.3, np.nan, values))


def check(members: int) -> float:
    """Largest error against the float64 reference on a small network, relative to the peak."""
    network = xroute.Network(xroute.datasets.scheidegger(20, 20, seed=1))
    runoff = np.random.default_rng(1).random((members, network.n_reaches, 60)).astype(np.float32)
    made = filter_of(network)
    taps, pointer, pole, gain = made.arrays()
    discharge, _, _ = route_block(runoff, network.plan, made, None, RoutingSettings())
    expected, _, _ = route_reference(runoff.astype(float), network.links, np.split(taps, pointer[1:-1]), pole, gain)
    return float(np.abs(discharge - expected).max() / np.abs(expected).max())


def check_gradients() -> float:
    """Largest relative error of derivatives along random directions, against differences of the float64 reference."""
    network = xroute.Network(xroute.datasets.scheidegger(20, 20, seed=1))
    rng = np.random.default_rng(2)
    runoff, weight = rng.random((2, 2, network.n_reaches, 60))
    taps, pointer, pole, gain = filter_of(network).arrays()
    none = State(np.zeros((2, taps.size - pole.size)), np.zeros((2, pole.size)))
    filter = FilterArrays(taps, pointer, pole, gain)
    found = adjoint_cpu(weight, none, runoff, network.plan, filter, None)
    errors = []
    for k, gradient in enumerate((found.runoff, found.taps, found.pole)):
        along = [np.zeros_like(v) for v in (runoff, taps, pole)]
        along[k] = rng.random(gradient.shape)

        def loss(step: float, along: list[np.ndarray] = along) -> float:
            water, moved, poles = (v + step * a for v, a in zip((runoff, taps, pole), along, strict=True))
            return float((weight * route_reference(water, network.links, np.split(moved, pointer[1:-1]), poles, gain)[0]).sum())

        expected = (loss(1e-6) - loss(-1e-6)) / 2e-6
        errors.append(abs((gradient * along[k]).sum() / expected - 1))
    return max(errors)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "--small" in (sys.argv[1:] if words is None else words)
    sizes = {"rows": (1000, 30), "columns": (1000, 30), "steps": (365, 48), "members": (1, 1), "repeats": (5, 1)}
    for name, (full, tried) in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=tried if small else full)
    parser.add_argument("--small", action="store_true", help="small sizes where none are given, to try it")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore", UserWarning)  # Muskingum's range: drawn parameters need not be ideal

    error = check(options.members)
    print(f"error against the reference: {error:.1e} of the peak")
    if not error < 1e-6:
        raise SystemExit("the engine is wrong; no figure is reported")
    error = check_gradients()
    print(f"error of gradients: {error:.1e}")
    if not error < 1e-6:
        raise SystemExit("gradients are wrong; no figure is reported")

    dataset = xroute.datasets.scheidegger(options.rows, options.columns)
    n = dataset.sizes["reach"]
    shape = (options.members, n, options.steps)
    steps = float(np.prod(shape))
    network = xroute.Network(dataset)
    plan = timed(lambda: xroute.Network(dataset).plan.schedule, 3)
    _ = network.plan.schedule
    made = filter_of(network)
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    runoff = xr.DataArray(
        data,
        dims=("member", "reach", "time"),
        coords={"reach": network.ids, "time": pd.date_range("2001", periods=options.steps, freq="h")},
        attrs={"units": "m3 s-1"},
    )
    target = data.copy()
    copy = timed(lambda: np.copyto(target, data), options.repeats)
    fresh = timed(data.copy, options.repeats)
    warm = timed(lambda: route_into(data, target, network, made), options.repeats)
    target = np.empty(0, np.float32)  # gives the memory back
    engine = timed(lambda: route_block(data, network.plan, made, None, RoutingSettings()), options.repeats)
    whole = timed(lambda: runoff.route(network), options.repeats)
    back = timed(lambda: trace_back(data, network, made), options.repeats)
    others = [("gradients, the run apart", back)]
    for n_taps in (8, 24, 64):
        slopes = partial(route_block, hillslope=windows(network.n_reaches, n_taps))
        seconds = timed(lambda f=slopes: f(data, network.plan, made, None, RoutingSettings()), options.repeats)  # type: ignore[misc]
        others.append((f"with hillslopes of {n_taps} taps", seconds))
    known = partial(route_block, known=known_on(network.n_reaches, options.steps))
    seconds = timed(lambda: known(data, network.plan, made, None, RoutingSettings()), options.repeats)
    others.append(("known on 1 of 200 reaches", seconds))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{n:,} reaches x {options.steps} steps x {options.members} members, float32, muskingum, {cores} cores")
    print(f"{'':28s}{'seconds':>9s}{'G reach-steps/s':>17s}{'in copies':>11s}")
    for name, seconds in (
        ("copy into warm memory", copy),
        ("copy into fresh memory", fresh),
        ("engine into warm memory", warm),
        ("engine into fresh memory", engine),
        ("runoff.route(network)", whole),
        *others,
    ):
        print(f"{name:28s}{seconds:9.3f}{steps / seconds / 1e9:17.2f}{seconds / copy:11.1f}")
    print(f"Network, validated, with its plan: {plan:.2f} s")


if __name__ == "__main__":
    main()
