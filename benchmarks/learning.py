"""Learning, judged by twins: rivers whose parameters are known, calibrated from wrong ones on what gauges would say of them.

    python benchmarks/learning.py twins geoglows transfer      parts to measure; --small shrinks all of them, for a CPU
    python benchmarks/learning.py epoch random --device cuda   on a GPU; by default there is one, if there is one

twins      k and x by Strahler order, 2,000 reaches, 12 gauges, 10% noise, 30% gaps: errors, and whether the curvature knows them
free       k and x of each reach, from such gauges with and without noise: efficiency at times that were held out
geoglows   k and x of each of 286,905 reaches from daily discharge that a RAPID-like truth stored on all of them, in float32
transfer   a ParameterModel trained on one region's stored discharge, on another region
epoch      100,000 reaches x 365 steps, 100 gauges: what an epoch takes in forward runs, and in memory
random     a hundred networks, starts and settings: nothing is NaN or out of range, and each run gets better or says why not

Truths are routed in float64 and judged by `tests/twin_rivers.py`, which shares nothing with what is judged. Each part ends with
"pass" or "MISS", and the command with the number that missed as its status.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import xarray as xr

import xroute
from xroute.router import Router

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import twin_rivers as twins  # noqa: E402

RAPID = {"substeps": 24, "lateral": "interval", "sampling": "start-mean"}
"""Daily runoff in hourly steps, as GEOGLOWS is routed."""
misses: list[str] = []


def judge(what: str, passed: bool) -> None:
    print(f"{'pass' if passed else 'MISS'}: {what}", flush=True)
    if not passed:
        misses.append(what)


@contextmanager
def clock(what: str, times: dict[str, float]) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    synchronize()
    times[what] = time.perf_counter() - begin
    print(f"  {what}: {times[what]:.1f} s", flush=True)


@contextmanager
def clocked(*names: str) -> Iterator[dict[str, float]]:
    """Seconds that steps of `calibrate` take, by the names of their functions; those within others count twice."""
    from xroute.learning import calibration

    seconds: dict[str, float] = {}

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronize()
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                synchronize()
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begin

        return timed

    with ExitStack() as stack:
        for name in names:
            if hasattr(calibration, name):  # they are no part of what is promised
                stack.enter_context(patch.object(calibration, name, wrap(name, getattr(calibration, name))))
        yield seconds


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# ── groups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def measure_twin(twin: twins.Twin, device: str, **options: Any) -> dict[str, Any]:
    """Errors of k (relative) and x of each group, which of them are said to be determined, and errors in standard errors."""
    begin = time.perf_counter()
    result = xroute.calibrate(
        twin.runoff, twin.wrong, twin.observed, parameters=("k", "x"), groups=group_labels(twin), train=twin.train,
        test=twin.test, spinup="10D", device=device, progress=False, **twin.options, **options,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    found: dict[str, Any] = {"seconds": seconds, "result": result}
    for name in ("k", "x"):
        true, value = twin.truth_of(name), twin.found_in(result.network, name)
        curvature = result.curvature.sel(parameter=name)
        found[name] = value / true - 1 if name == "k" else value - true
        found[f"{name} determined"] = curvature["determined"].values.astype(bool)
        error = curvature["standard_error"].values
        found[f"{name} se"] = error / true if name == "k" else error
    return found


def group_labels(twin: twins.Twin) -> xr.DataArray:
    """Groups on reach, as a caller would give them."""
    return xr.DataArray(twin.groups, {"reach": twin.true["reach"].values}, ("reach",), "strahler")


def run_twins(options: argparse.Namespace) -> None:
    seeds, steps = (range(3), 60 * 24) if options.small else (range(options.seeds), 120 * 24)
    rows, columns = (20, 25) if options.small else (40, 50)
    for kind, of in (("showers", "flow"), ("showers", "spread"), ("storms", "flow")):
        worst, z, wrong, undetermined = {"k": 0.0, "x": 0.0}, [], [], 0
        print(f"twins, {kind}, 10% of {of}: errors of k [%] and of x by group; in brackets: said to be not determined")
        for seed in seeds:
            twin = twins.grouped_twin(seed, rows, columns, steps, kind=kind, of=of)
            found = measure_twin(twin, options.device)
            line = []
            for name, allowed, scale in (("k", 0.05, 100.0), ("x", 0.05, 1.0)):
                errors, sure = found[name], found[f"{name} determined"]
                worst[name] = max(worst[name], np.abs(errors[sure]).max(initial=0.0))
                z += (errors[sure] / found[f"{name} se"][sure]).tolist()
                undetermined += int((~sure).sum())
                wrong += [f"seed {seed}: {name} {e:.3g}" for e in errors[sure & (np.abs(errors) > allowed)]]
                shown = (f"{e * scale:.2g}" if s else f"({e * scale:.2g})" for e, s in zip(errors, sure, strict=True))
                line.append(f"{name} {' '.join(shown)}")
            print(f"  seed {seed} {found['seconds']:.1f} s: {'; '.join(line)}", flush=True)
        spread = f"{np.std(z):.2f} standard errors" if z else "none"
        print(f"  of {len(z) + undetermined} values {undetermined} not determined; errors of the others: {spread}")
        judge(f"twins, {kind}, {of}: k off by {worst['k']:.1%}, x by {worst['x']:.3f} where determined {wrong}", not wrong)


def run_free(options: argparse.Namespace) -> None:
    rows, columns, steps, gauges = (10, 12, 40 * 24, 6) if options.small else (40, 50, 120 * 24, 12)
    for noise, of in ((0.0, "flow"), (0.1, "spread"), (0.1, "flow")):
        least, medians = [], []
        for seed in range(1 if options.small else 3):
            twin = twins.grouped_twin(seed, rows, columns, steps, gauges=gauges, noise=noise, kind="storms", of=of)
            times: dict[str, float] = {}
            with clock("calibrate", times):
                result = xroute.calibrate(
                    twin.runoff, twin.wrong, twin.observed, train=twin.train, test=twin.test, spinup="5D",
                    device=options.device, progress=False, seed=seed,
                )  # fmt: skip
            before, after = (
                twins.nse_by_reach(twins.routed_at(twin, network), twin.discharge, twin.test, "gauge")
                for network in (twin.wrong, result.network)
            )
            print(f"  seed {seed}: least NSE {before.min():.4f} to {after.min():.5f}, median {np.median(after):.5f}", flush=True)
            least.append(after.min())
            medians.append(np.median(after))
        reached = min(medians) if noise else min(least)
        what = f"{noise:.0%} noise of {of}: {'median' if noise else 'least'} test NSE against the truth {reached:.5f} (0.999)"
        judge(f"free, {what}", reached >= 0.999)


# ── stored discharge ────────────────────────────────────────────────────────────────────────────────────────────────


def run_geoglows(options: argparse.Namespace) -> None:
    rows, columns, steps = (10, 15, 120) if options.small else (465, 617, 730)  # 286,905 reaches
    times: dict[str, float] = {}
    with clock("making the truth, not counted", times):
        twin = twins.free_twin(0, rows, columns, steps, "1D", **RAPID)
    before = twins.nse_by_reach(twins.routed(twin, twin.wrong), twin.discharge, twin.test)
    peak_reset(options.device)
    steps_of = "make_problem", "identity_of", "train", "curvature_of", "network_of", "finish"
    with clocked(*steps_of) as seconds, clock("calibrate, all of it", times):
        result = xroute.calibrate(
            twin.runoff, twin.wrong, twin.observed, train=twin.train, test=twin.test, spinup="10D", device=options.device,
            progress=False, epochs=options.epochs, **twin.options,
        )  # fmt: skip
    print("  of these: " + ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items()))
    print(f"  peak memory {peak(options.device):.1f} GB; {result.history.sizes['epoch']} epochs")
    with clock("scores, not counted", times):
        _ = result.scores
    scores = twins.nse_by_reach(twins.routed(twin, result.network), twin.discharge, twin.test)
    told = result.scores["nse"].sel(period="test", run="calibrated").values
    quantiles = ", ".join(f"{q:.1%}: {np.quantile(scores, q):.6f}" for q in (0.001, 0.01, 0.1))
    print(f"  test NSE of {scores.size:,} reaches: median {np.median(scores):.6f} (told: {np.median(told):.6f}), {quantiles}")
    reached, took = np.median(scores), times["calibrate, all of it"]
    judge(f"geoglows: median test NSE {reached:.6f}, from {np.median(before):.4f} (0.99995)", reached >= 0.99995)
    judge(f"geoglows: {took:.0f} s (120 s)", options.small or took <= 120)


def run_transfer(options: argparse.Namespace) -> None:
    rows, columns, steps = (10, 15, 120) if options.small else (100, 100, 730)
    here, there = (twins.country(seed, rows, columns) for seed in (1, 2))
    runoff = [twins.weather(river, "storms", steps, "1D", seed).astype(np.float32) for seed, river in enumerate((here, there))]
    truth = [twins.quiet_route(r.astype(float), river, **RAPID) for r, river in zip(runoff, (here, there), strict=True)]
    train, test = twins.halves(runoff[0])
    times: dict[str, float] = {}
    model = xroute.ParameterModel(attributes=["slope", "length", "uparea"], parameters=["k", "x"], hidden=(32, 32))
    with clock("fit", times):
        model.fit(
            runoff[0], twins.forget(here), truth[0].astype(np.float32).assign_attrs(units="m3 s-1"), train=train, test=test,
            spinup="10D", device=options.device, progress=False, epochs=options.epochs, **RAPID,
        )  # fmt: skip
    predicted = model.predict(twins.forget(there))
    period = slice(*runoff[1]["time"].values[[10, -1]])
    before, after = (
        twins.nse_by_reach(twins.quiet_route(runoff[1].astype(float), network, **RAPID), truth[1], period)
        for network in (twins.forget(there), predicted)
    )
    off = np.median(np.abs(predicted.dataset["k"].values / there["k"].values - 1))
    print(f"  NSE of 1% of reaches is below {np.quantile(after, 0.01):.5f}; k is off by {off:.1%}")
    reached = np.median(after)
    judge(f"transfer: median NSE on another region {reached:.6f}, from {np.median(before):.4f} (0.9998)", reached >= 0.9998)


# ── what an epoch takes ─────────────────────────────────────────────────────────────────────────────────────────────


def run_epoch(options: argparse.Namespace) -> None:
    rows, columns, steps = (100, 20, 100) if options.small else (1000, 100, 365)
    few, many = (3, 43) if options.small else (10, 210)
    river = xroute.datasets.scheidegger(rows, columns)
    runoff = twins.weather(river, "storms", steps, "1h", 0).astype(np.float32)
    discharge = twins.quiet_route(runoff.astype(float), river).isel(reach=slice(-columns, None))  # all reaches are upstream
    observed = twins.gauged(discharge, 0.1, 0.3, 0)
    wrong = twins.forget(river)

    def seconds(epochs: int, **more: Any) -> float:
        """Of the loop alone: what comes before it and after it does not count."""
        with clocked("train") as found:
            xroute.calibrate(
                runoff, wrong, observed, spinup="1D", device=options.device, progress=False, epochs=epochs,
                optimizer="adam", **more,
            )  # fmt: skip
        return found["train"]

    device = torch.device(options.device)
    forward = forward_seconds(Router(wrong, dt="1h").to(device), runoff, device)
    window = runoff.nbytes / 1e9
    gc.collect()
    for groups in (None, "strahler"):
        seconds(2, groups=groups)  # compiles
        peak_reset(options.device)
        first = seconds(few, groups=groups)
        memory = peak(options.device)
        an_epoch = (seconds(many, groups=groups) - first) / (many - few)
        name = f"epoch, {groups or 'free'}: {an_epoch / forward:.1f} forwards of {forward * 1e3:.1f} ms (6)"
        judge(name, an_epoch <= 6 * forward or (options.small and device.type == "cpu"))
        print(f"  peak memory {memory:.2f} GB; runoff of the window {window:.2f} GB: {memory / window:.1f} windows")


def forward_seconds(router: Router, runoff: xr.DataArray, device: torch.device) -> float:
    """Least seconds that routing takes without gradients."""
    found = []
    block = torch.from_numpy(np.ascontiguousarray(runoff.transpose("reach", "time").values)).to(device)
    with torch.no_grad():
        for _ in range(10):
            synchronize()
            begin = time.perf_counter()
            router(block)
            synchronize()
            found.append(time.perf_counter() - begin)
    return min(found)


def peak_reset(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> float:
    """Peak of the GPU's memory [GB]; of this process where there is none."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e9
    from streams import peak_memory

    return peak_memory()


# ── at random ───────────────────────────────────────────────────────────────────────────────────────────────────────


def run_random(options: argparse.Namespace) -> None:
    n = 20 if options.small else 100
    better = same = 0
    failed = []
    begin = time.perf_counter()
    for seed in range(n):
        what, outcome = "", "raised"
        try:
            what, outcome = twins.random_run(seed, options.device)
        except Exception:
            outcome = traceback.format_exc(limit=-3)
        if outcome == "better":
            better += 1
        elif outcome == "no better, and says why":
            same += 1
        else:
            failed.append(seed)
            print(f"  seed {seed}: {what}: {outcome}", flush=True)
    took = time.perf_counter() - begin
    judge(f"random: of {n} runs {better} better, {same} not and say why, failed {failed}; {took:.0f} s", not failed)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "twins": run_twins, "free": run_free, "geoglows": run_geoglows, "transfer": run_transfer, "epoch": run_epoch,
    "random": run_random,
}  # fmt: skip


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true", help="shrink every part, to try it")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seeds", type=int, default=10, help="twins")
    parser.add_argument("--epochs", type=int, help="geoglows, transfer: by default calibrate's own")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore", UserWarning)  # Muskingum's range: drawn parameters need not be ideal
    where = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    print(f"{where}, torch {torch.__version__}, numpy {np.__version__}, pandas {pd.__version__}, xarray {xr.__version__}")
    for part in options.parts:
        print(f"── {part}")
        PARTS[part](options)
    sys.exit(len(misses))


if __name__ == "__main__":
    main()
