"""How near to a copy a run comes, and what a reach-step costs, by the size of the network and the length of the series.

    python benchmarks/sizes.py                                  on a GPU where there is one, else on the CPU
    python benchmarks/sizes.py --device cpu --reaches 1000 1000000 --steps 36 365
    python benchmarks/sizes.py --write docs/performance.csv     put the figures where the page on performance draws them from
    python benchmarks/sizes.py --small                          small sizes, to try it

Muskingum, float32, on lattices that are no deeper than 1,000 reaches. A size is left out where runoff and discharge would take
more than `--memory` [GB]. Before a size is timed, what is found on a basin of it is compared with the CPU's engine in float64,
which is compared with the reference. A run and a copy of the same array take turns; figures are medians.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import xroute
from xroute.block import route_block
from xroute.engine.reference import route_reference
from xroute.parameters import read_parameters
from xroute.schemes import Filter, make_filter
from xroute.settings import RoutingSettings

DT = 3600.0
ALLOWED = 1e-5
"""Error of any reach's series, relative to its peak."""
DEEPEST = 1000
"""Rows of a lattice, at most."""
COLUMNS = ["device", "reaches", "steps", "ms", "copy_ms", "error"]


def network_of(n: int) -> xroute.Network:
    """Lattice of about ``n`` reaches."""
    rows = min(DEEPEST, max(1, round(math.sqrt(n))))
    dataset = xroute.datasets.scheidegger(rows, max(1, n // rows))
    return xroute.Network(dataset[["downstream", "k", "x"]].drop_vars(["lon", "lat"]))


def filter_of(network: xroute.Network) -> Filter:
    return make_filter(read_parameters(network), DT, network.n_reaches, ids=network.ids)


def error_of(found: np.ndarray, expected: np.ndarray, what: str) -> float:
    """Largest error of any reach's series, relative to its peak; the benchmark ends if it is too large."""
    error = float((np.abs(found - expected).max(axis=-1) / np.abs(expected).max(axis=-1)).max())
    if not error <= ALLOWED:
        raise SystemExit(f"WRONG: {what}: error {error:.1e} > {ALLOWED:.0e}; no figure is reported")
    return error


def check() -> None:
    """Compare the CPU's engine with the reference."""
    network = network_of(400)
    runoff = np.random.default_rng(1).random((1, network.n_reaches, 60))
    taps, pointer, pole, gain = filter_of(network).arrays()
    expected, _, _ = route_reference(runoff, network.links, np.split(taps, pointer[1:-1]), pole, gain)
    error_of(route_block(runoff, network.plan, filter_of(network), None, RoutingSettings())[0], expected, "the CPU's engine")


def basin_of(network: xroute.Network) -> xroute.Network:
    """A whole basin of some thousand reaches, or the one that comes nearest."""
    sizes, outlets = network.n_upstream.values, network.position(network.outlets)
    return network.basin(network.ids[outlets[np.argmin(np.abs(np.log(sizes[outlets] / 3000)))]])


def on_cpu(runoff: np.ndarray, network: xroute.Network) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], None]]:
    """What routes, what copies, and what waits for both."""
    made, target = filter_of(network), np.empty_like(runoff)
    plan = network.plan

    def copy() -> None:
        np.copyto(target, runoff)

    return lambda: route_block(runoff, plan, made, None, RoutingSettings())[0], copy, lambda: None


def on_gpu(runoff: np.ndarray, network: xroute.Network) -> tuple[Callable[[], Any], Callable[[], Any], Callable[[], None]]:
    """As `on_cpu`, with runoff and discharge on the device."""
    router = xroute.Router(network, dt=DT)
    series = torch.from_numpy(runoff).cuda()
    target = torch.empty_like(series)

    def route() -> torch.Tensor:
        with torch.no_grad():
            discharge: torch.Tensor = router(series)
        return discharge

    return route, lambda: target.copy_(series), torch.cuda.synchronize


def in_turn(route: Callable[[], Any], copy: Callable[[], Any], wait: Callable[[], None], seconds: float) -> tuple[float, float]:
    """Median milliseconds of a run and of a copy, over so many seconds but at least three times each."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (route, copy):
        call()  # what is made at the first use, and memory that is new
    wait()
    end = time.perf_counter() + seconds
    while len(times[0]) < 3 or time.perf_counter() < end:
        for call, of in zip((route, copy), times, strict=True):
            begin = time.perf_counter()
            result = call()
            wait()
            of.append(time.perf_counter() - begin)
            del result
    return 1e3 * statistics.median(times[0]), 1e3 * statistics.median(times[1])


def measure(network: xroute.Network, steps: int, device: str, seconds: float) -> tuple[float, float, float]:
    """Milliseconds of a run and of a copy, and the error."""
    runoff = np.empty((1, network.n_reaches, steps), np.float32)
    rng = np.random.default_rng(0)
    for first in range(0, network.n_reaches, 100_000):
        part = runoff[0, first : first + 100_000]
        part[...] = rng.random(part.shape, np.float32)
    route, copy, wait = (on_gpu if device == "cuda" else on_cpu)(runoff, network)
    basin = basin_of(network)
    at = network.position(basin.ids)
    expected, _, _ = route_block(runoff[:, at].astype(float), basin.plan, filter_of(basin), None, RoutingSettings())
    found = route()
    found = found[:, torch.from_numpy(at)].cpu().numpy() if device == "cuda" else found[:, at]
    error = error_of(found, expected, f"{network.n_reaches:,} x {steps}")
    del found, expected
    return *in_turn(route, copy, wait, seconds), error


def save(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put rows into a table, in place of those of the same device; those of others stay."""
    kept: list[dict[str, Any]] = []
    if path.is_file():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["device"] != rows[0]["device"]]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept + rows)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "--small" in (sys.argv[1:] if words is None else words)
    reaches, steps = ([100, 1000], [16, 48]) if small else ([10**k for k in range(3, 8)], [36, 365, 3650])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--reaches", type=int, nargs="+", default=reaches)
    parser.add_argument("--steps", type=int, nargs="+", default=steps)
    parser.add_argument("--memory", type=float, default=4.0, help="most of runoff and discharge together [GB]")
    parser.add_argument("--seconds", type=float, default=0.1 if small else 0.6, help="how long each size is timed")
    parser.add_argument("--write", type=Path, metavar="FILE", help="table (csv) to put the figures into")
    parser.add_argument("--small", action="store_true", help="small sizes where none are given, to try it")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore", UserWarning)  # Muskingum's range: drawn parameters need not be ideal
    check()
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{device}, float32, muskingum\n\n| reaches | steps | ms | share of copy | ps a reach-step | error |")
    print("|---" * 6 + "|")
    rows: list[dict[str, Any]] = []
    for n in options.reaches:
        steps = [s for s in options.steps if 8e-9 * n * s <= options.memory]
        network = network_of(n) if steps else None
        for s in steps:
            assert network is not None
            ms, copy_ms, error = measure(network, s, options.device, options.seconds)
            n_true = network.n_reaches
            figures = f"{ms:.4g} | {copy_ms / ms:.0%} | {1e9 * ms / n_true / s:.3g} | {error:.0e}"
            print(f"| {n_true:,} | {s} | {figures} |", flush=True)
            rows.append({"device": device, "reaches": n_true, "steps": s, "ms": f"{ms:.5g}", "copy_ms": f"{copy_ms:.5g}",
                         "error": f"{error:.0e}"})  # fmt: skip
    if options.write and rows:
        save(options.write, rows)


if __name__ == "__main__":
    main()
