"""The CPU engine beside river-route's fixed-step kernel, on the network of the RAPID sample: first compared, then timed in turn.

    python benchmarks/peers.py                     river-route is imported here, if it is installed
    python benchmarks/peers.py --python ~/other/bin/python      or by another interpreter, which has it and needs no xroute
    python benchmarks/peers.py --small             fewer steps and runs, to try it

river-route (Hales and others) routes as RAPID does: Muskingum, runoff over the interval, discharge the mean of the substeps, one
series in float32 for all reaches, and discharge below zero set to zero. xroute does the same with ``lateral="interval"``; what it
finds below zero is set to zero here for the comparison only. The peer answers from a process of its own, over a pipe, and each
of its runs is followed by one of ours, so that both have the same of a shared machine.

kernel     arrays in, arrays out: `rapid_route` beside `xroute.block.route_block`; runoff (time, reach) in both
call       in memory, from runoff to discharge with its times: what a user of either calls, the network having been read
files      netCDF to netCDF, the network read anew
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DT = 900
"""Routing step [s], RAPID's usual one."""
ALLOWED = 2e-5
"""Difference of discharge, relative to the largest: the peer computes in float32."""
CASES = ("kernel", "call", "files")


# ── the peer, in its own process ────────────────────────────────────────────────────────────────────────────────────────


class Peer:
    """river-route, on the files in a folder: a function for each case."""

    def __init__(self, folder: Path, substeps: int) -> None:
        import river_route
        from river_route.routers._numba_kernels import rapid_route

        self.version, self.folder, self._kernel = river_route.__version__, folder, rapid_route
        self._options = {
            "params_file": str(folder / "parameters.parquet"), "qlateral_files": [str(folder / "runoff.nc")],
            "discharge_files": [str(folder / "peer.nc")], "dt_routing": DT, "dt_runoff": DT * substeps,
            "log": False, "progress_bar": False,
        }  # fmt: skip
        self._router = self._new_router()
        self._router._set_network_dependent_vectors()
        with np.load(folder / "runoff.npz") as saved:
            self.dates, self.volume = saved["dates"], saved["volume"]
        self._router._set_network_and_time_dependent_vectors(self.dates)
        self.discharge = np.zeros_like(self.volume)

    def _new_router(self) -> Any:
        from river_route import RapidMuskingum

        return RapidMuskingum(**self._options)

    def kernel(self) -> None:
        r = self._router
        state = np.zeros(r.A.shape[0], np.float32)
        self._kernel(
            r._csc_indptr, r._csc_indices, r._lhs_off_data, r.c2, r.c3, r.c4 / r.dt_runoff, state, self.volume,
            self.discharge, r.num_routing_steps_per_runoff,
        )  # fmt: skip

    def call(self) -> None:
        r = self._router
        r.channel_state = np.zeros(r.A.shape[0], np.float32)
        r._qlateral_generator = lambda: iter([(self.dates, self.volume, "", "")])
        r.set_write_discharges(lambda dates, discharge, *_: setattr(self, "discharge", discharge))
        r._execute_routing()

    def files(self) -> None:
        self._new_router().route()

    def found(self, case: str) -> np.ndarray:
        if case != "files":
            return self.discharge
        import xarray as xr

        with xr.open_dataset(self.folder / "peer.nc") as dataset:
            return np.asarray(dataset["Q"].values)


def serve(folder: Path, substeps: int) -> None:
    """Answer cases with the seconds that they took; "save" writes what was found last."""
    out, sys.stdout = sys.stdout, sys.stderr
    peer, last = Peer(folder, substeps), ""
    print(json.dumps({"version": peer.version}), file=out, flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word == "save":
            np.save(folder / "peer.npy", peer.found(last))
            answer: dict[str, Any] = {}
        else:
            begin = time.perf_counter()
            getattr(peer, word)()
            answer, last = {"seconds": time.perf_counter() - begin}, word
        print(json.dumps(answer), file=out, flush=True)


@contextlib.contextmanager
def peer_process(python: str, folder: Path, substeps: int) -> Any:
    """A function that has the peer do something, and returns its answer."""
    words = [python, __file__, "--serve", str(folder), "--substeps", str(substeps)]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(word: str = "") -> dict[str, Any]:
            assert process.stdin is not None and process.stdout is not None
            if word:
                print(word, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                raise SystemExit(f"{python} has no river-route that works: name one that has, with --python")
            found: dict[str, Any] = json.loads(answer)
            return found

        yield ask
        process.stdin.close()


# ── ours ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def sample(steps: int, substeps: int, folder: Path) -> tuple[Any, Any]:
    """Network of the sample, and its runoff [m3 s-1] over and over; written to the folder as the peer reads it."""
    import pandas as pd
    import xarray as xr

    import xroute
    from xroute.io import rapid

    data = Path(os.environ.get("XROUTE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared/data"), "nasa_lis_4168")
    if not data.is_dir():
        raise SystemExit(f"the sample of RAPID is not at {data}: set XROUTE_TEST_DATA to the folder that has nasa_lis_4168")
    dataset = rapid.read_network(data)
    dataset.attrs.pop("runoff_step", None)  # the sample's own is three hours
    network = xroute.Network(dataset).sort()  # the peer wants reaches upstream first
    volume = rapid.read_runoff(data, dataset).sel(reach=network.ids).values
    repeated = np.tile(volume, (-(-steps // len(volume)), 1))[:steps] * np.float32(DT * substeps / 10_800)
    times = pd.date_range("2002-08-30", periods=steps, freq=f"{DT * substeps}s")
    runoff = xr.DataArray(
        repeated / np.float32(DT * substeps), {"time": times, "reach": network.ids}, ("time", "reach"), "runoff",
        {"units": "m3 s-1"},
    )  # fmt: skip
    # the peer's parameters and coefficients are float32: both get the same, so that only the routing is compared
    network = xroute.Network(network.dataset.assign({name: network[name].astype(np.float32) for name in ("k", "x")}))
    downstream = network["downstream"].values.copy()
    downstream[np.isin(network.ids, network.outlets)] = -1
    pd.DataFrame({
        "river_id": network.ids, "downstream_river_id": downstream,
        "k": network["k"].values, "x": network["x"].values,
    }).to_parquet(folder / "parameters.parquet")  # fmt: skip
    np.savez(folder / "runoff.npz", dates=times.values.astype("datetime64[s]"), volume=repeated)
    rivers = xr.Dataset({"qlateral": (("time", "river_id"), repeated)}, {"time": times, "river_id": network.ids})
    rivers.to_netcdf(folder / "runoff.nc")
    runoff.to_netcdf(folder / "ours.nc")
    network.dataset.to_netcdf(folder / "network.nc")
    return network, runoff


def ours(network: Any, runoff: Any, substeps: int, folder: Path) -> dict[str, Callable[[], np.ndarray]]:
    """A function for each case, which returns discharge (time, reach)."""
    import xarray as xr

    import xroute
    from xroute.block import route_block
    from xroute.parameters import read_parameters
    from xroute.schemes import make_filter
    from xroute.settings import RoutingSettings

    how: dict[str, Any] = {"substeps": substeps, "lateral": "interval", "sampling": "mean"}
    made = make_filter(read_parameters(network), float(DT), network.n_reaches, lateral="interval", ids=network.ids)
    settings = RoutingSettings(None, substeps, "mean", "interval")
    by_time = runoff.values

    def kernel() -> np.ndarray:
        return route_block(by_time.T[None], network.plan, made, None, settings)[0][0].T

    def call() -> np.ndarray:
        discharge = runoff.route(network, **how)
        return np.asarray(discharge.transpose("time", "reach").values)

    def files() -> np.ndarray:
        with xr.open_dataset(folder / "ours.nc") as opened, xr.open_dataset(folder / "network.nc") as river:
            discharge = opened["runoff"].route(xroute.Network(river), **how)
            discharge.to_netcdf(folder / "discharge.nc")
        return np.asarray(discharge.transpose("time", "reach").values)

    return {"kernel": kernel, "call": call, "files": files}


def compare(found: np.ndarray, expected: np.ndarray, what: str) -> float:
    """Largest difference, relative to the peak; the benchmark ends if it is too large."""
    difference = float(np.abs(np.maximum(found, 0) - expected).max() / np.abs(expected).max())
    if not difference <= ALLOWED:
        raise SystemExit(f"WRONG: {what}: xroute and river-route differ by {difference:.1e} of the peak; no figure is reported")
    return difference


def measure(options: argparse.Namespace, substeps: int) -> None:
    """A row of the table for each case."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        network, runoff = sample(options.steps, substeps, folder)
        run = ours(network, runoff, substeps, folder)
        with peer_process(options.python, folder, substeps) as ask:
            version = ask()["version"]
            for case in CASES:
                ask(case)  # compiles
                ask("save")
                difference = compare(run[case](), np.load(folder / "peer.npy"), case)
                times: dict[str, list[float]] = {"peer": [], "ours": []}
                for _ in range(options.repeats if case != "files" else max(1, options.repeats // 5)):
                    times["peer"].append(ask(case)["seconds"])
                    begin = time.perf_counter()
                    run[case]()
                    times["ours"].append(time.perf_counter() - begin)
                least = {who: 1e3 * min(t) for who, t in times.items()}
                middle = {who: 1e3 * statistics.median(t) for who, t in times.items()}
                what = f"{case}, {network.n_reaches:,} x {options.steps}" + f" x {substeps} substeps" * (substeps > 1)
                print(
                    f"| {what} | {least['ours']:.2f} ({middle['ours']:.2f}) | {least['peer']:.2f} ({middle['peer']:.2f}) "
                    f"| {middle['peer'] / middle['ours']:.2f} | {difference:.0e} | {version} |", flush=True,
                )  # fmt: skip


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "--small" in (sys.argv[1:] if words is None else words)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has river-route")
    parser.add_argument("--steps", type=int, default=48 if small else 960)
    parser.add_argument("--repeats", type=int, default=3 if small else 50, help="runs of each, in turn")
    parser.add_argument("--substeps", type=int, nargs="+", default=[1, 12], help="routing steps in a step of runoff")
    parser.add_argument("--small", action="store_true", help="small sizes where none are given, to try it")
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    if options.serve:
        serve(Path(options.serve), options.substeps[0])
        return
    logging.getLogger("xroute").setLevel(logging.ERROR)  # what the sample's files lack is known
    warnings.simplefilter("ignore", UserWarning)  # reaches of the sample are too short for a quarter of an hour
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"float32, muskingum, runoff (time, reach), {cores} cores; milliseconds: least (median)")
    print("| case | xroute | river-route | river-route / xroute, medians | difference | its version |")
    print("|---" * 6 + "|", flush=True)
    for substeps in options.substeps:
        measure(options, substeps)


if __name__ == "__main__":
    main()
