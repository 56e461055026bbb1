"""Scaling out: graphs on Dask, worker processes, and GPUs of one host; `streams.py` measures streams to Zarr.

    python benchmarks/scaling.py graph workers                 parts to measure; --small shrinks all of them, for a try
    python benchmarks/scaling.py gpus gpus-dask                on a machine with GPUs; --weak: weak scaling of gpus, too
    TRITON_INTERPRET=1 python benchmarks/scaling.py gpus --small      its logic without a GPU; its times mean nothing

graph      time, tasks and added memory of building the lazy graph of 1M reaches x 1,000 time chunks; nothing is computed
workers    1, 2, 4, ... single-threaded worker processes of a Dask cluster: strong and weak scaling
gpus       partitions on 1, 2, 4, ... GPUs, cut links copied from device to device, runoff and discharge on the devices
gpus-dask  the same through Dask, a worker process each GPU: runoff made and discharge summed in the host's memory

Steps are hourly, for which the lattice's Muskingum parameters are good; what a step costs does not depend on its length. A
case is compared with the truth before it is timed. "One basin" is the lattice with all its outlets joined: it has a trunk.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

import xroute
from xroute.block import route_block
from xroute.engine.arrays import Exchange, State
from xroute.parameters import read_parameters
from xroute.partition import Partition, make_partitions, partition
from xroute.schemes import make_filter
from xroute.settings import RoutingSettings

Tensor = torch.Tensor
DT = 3600.0
ALLOWED = 1e-6
"""Error of discharge, relative to the peak."""


# ── rivers, weather, clocks ─────────────────────────────────────────────────────────────────────────────────────────────


def river(rows: int, columns: int, one_basin: bool = False) -> xroute.Network:
    """Lattice; as one basin, its outlets drain to one another as a heap does: two to one, and so on to the first."""
    dataset = xroute.datasets.scheidegger(rows, columns)
    if one_basin:
        outlets, ids = np.arange(dataset.sizes["reach"] - columns, dataset.sizes["reach"]), dataset["reach"].values
        downstream = dataset["downstream"].values.copy()
        downstream[outlets[1:]] = ids[outlets[(np.arange(1, columns) - 1) // 2]]
        dataset = dataset.assign(downstream=dataset["downstream"].copy(data=downstream))
    return xroute.Network(dataset)


def labelled(data: Any, network: xroute.Network) -> xr.DataArray:
    coords = {"reach": network.ids, "time": pd.date_range("2001", periods=data.shape[1], freq="h")}
    return xr.DataArray(data, coords, ("reach", "time"), "runoff", {"units": "m3 s-1"})


def _block(seed: int, block_info: Any = None) -> np.ndarray:
    (_, first), shape = (a for a, _ in block_info[None]["array-location"]), block_info[None]["chunk-shape"]
    block = np.empty(shape, np.float32)
    block[:] = np.random.default_rng([seed, first]).random(shape[1], np.float32)
    return block


def lazy_runoff(network: xroute.Network, rows: Any, steps: int, chunk: int, seed: int = 0) -> xr.DataArray:
    """Runoff on Dask, made where it is used; the same on all reaches, so that sums do not depend on their order."""
    import dask.array as da

    chunks = da.core.normalize_chunks((rows, chunk), (network.n_reaches, steps))
    data = da.map_blocks(_block, seed, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0), np.float32))
    return labelled(data, network)


def compare(found: Any, expected: Any, what: str, allowed: float = ALLOWED) -> float:
    """Largest error, relative to the peak; the benchmark ends if it is too large."""
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= allowed:
        raise SystemExit(f"WRONG: {what}: error {error:.1e} > {allowed:.0e}; no figure is reported")
    return error


def table(*columns: str) -> None:
    print("", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", sep="\n", flush=True)


def row(*values: Any) -> None:
    print(f"| {' | '.join(f'{v:.3g}' if isinstance(v, float) else str(v) for v in values)} |", flush=True)


def fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of a call in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def counts(most: int, small: bool) -> list[int]:
    """1, 2, 4, ... as far as the machine goes."""
    return [n for n in (1, 2, 4, 8) if n <= (min(most, 2) if small else most)]


# ── graph ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _computes(*_: Any, **__: Any) -> None:
    raise RuntimeError("something was computed")


def build_graph(lattice: tuple[int, int], chunks: int, partitions: int) -> tuple[float, int, float]:
    """Seconds, tasks and MB that building takes, the network's plan being there already."""
    import dask
    import psutil

    warnings.simplefilter("ignore", UserWarning)
    network, few = river(*lattice), river(20, 20)
    _ = network.plan
    with dask.config.set(scheduler=_computes):
        lazy_runoff(few, -1, 20, 10).route(few, partitions=partitions)  # imports, and compiles
        runoff = lazy_runoff(network, -1, 24 * chunks, 24)
        gc.collect()
        before, begin = psutil.Process().memory_info().rss, time.perf_counter()
        discharge = runoff.route(network, partitions=partitions)
        seconds = time.perf_counter() - begin
        gc.collect()
        added = psutil.Process().memory_info().rss - before
    return seconds, len(discharge.data.__dask_graph__()), added / 1e6


def graph(options: argparse.Namespace) -> None:
    lattice, chunks = ((100, 100), 100) if options.small else ((1000, 1000), 1000)
    table("graph", "partitions", "seconds", "tasks", "MB added")
    for partitions in (1, 16):
        seconds, tasks, added = fresh(build_graph, lattice, chunks, partitions)
        row(f"{math.prod(lattice):,} reaches x {chunks:,} time chunks", partitions, seconds, f"{tasks:,}", added)


# ── workers ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def cluster(n: int, gpus: bool) -> Iterator[Any]:
    """Client of worker processes, of one thread and perhaps one GPU each."""
    from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster

    with ExitStack() as stack:
        if gpus:
            each = {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.WARNING}
            own = ({"CUDA_VISIBLE_DEVICES": str(k)} for k in range(n))
            workers = {k: {"cls": Nanny, "options": {**each, "env": env}} for k, env in enumerate(own)}
            address = {"host": "127.0.0.1", "port": 0, "dashboard_address": ":0"}
            scheduler = {"cls": Scheduler, "options": address}
            local = stack.enter_context(SpecCluster(workers, scheduler, silence_logs=logging.WARNING))
        else:
            local = stack.enter_context(LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None))
        client = stack.enter_context(Client(local))
        client.wait_for_workers(n)
        client.run(warnings.simplefilter, "ignore", UserWarning)
        if gpus and sorted(seen := client.run(_gpu).values()) != [(str(k), 1) for k in range(n)]:
            raise SystemExit(f"workers do not have a GPU each: {list(seen)}")
        yield client


def _gpu() -> tuple[str | None, int]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count()


def through_dask(client: Any, n: int, size: Any, one_basin: bool, device: str | None) -> tuple[list[float], float]:
    """Seconds of runoff alone, of a first run and of the next, and the sum of all discharge; compared on a small network."""
    (rows, columns), steps, chunk = size
    small = river(30, 20, one_basin).sort(n)
    data = labelled(np.random.default_rng(1).random((small.n_reaches, 50), np.float32), small)
    lazy = data.chunk(time=20, reach=200).route(small, partitions=n, device=device)
    compare(lazy.compute(), data.route(small, device="cpu"), f"{n} workers")
    network = river(rows, columns, one_basin).sort(n)
    of_part = tuple(k for k in np.bincount(network.partition(n).values).tolist() if k)  # they are slices
    times = []

    def run(total: Any, repeats: int) -> float:
        found = 0.0
        for _ in range(repeats):
            begin = time.perf_counter()
            found = float(total.compute())
            times.append(time.perf_counter() - begin)
            while client.run_on_scheduler(
                lambda dask_scheduler: len(dask_scheduler.tasks)
            ):  # or it would be found again, not computed
                time.sleep(0.05)
        return found

    runoff = lazy_runoff(network, of_part, steps, chunk)
    run(runoff.sum(dtype="f8"), 1)
    found = run(runoff.route(network, partitions=n, device=device).sum(dtype="f8"), 3)
    return [times[0], times[1], statistics.mean(times[2:])], found


def workers(options: argparse.Namespace, gpus: bool = False) -> None:
    most, device = len(os.sched_getaffinity(0)), "cpu"
    (rows, columns), steps, chunk = (options.lattice or (1000, 1000)), options.steps or 1460, options.chunk or 73
    if gpus:
        most, device = torch.cuda.device_count(), None  # chunks of less than `xroute.engine.gpu.host.PINNED_BYTES`
        (rows, columns), steps, chunk = (options.lattice or (1000, 3000)), options.steps or 3500, options.chunk or 350
        if not most and not options.small:
            raise SystemExit("gpus-dask needs GPUs, or --small to try it on the CPU")
        device, most, gpus = (None, most, True) if most else ("cpu", 2, False)
    if options.small:
        (rows, columns), steps, chunk = (100, 100), 200, 20
    what = "a GPU" if gpus else "a CPU thread"
    table(
        f"Dask, worker processes with {what} each", "workers", "runoff alone, s", "first run, s", "next runs, s",
        "GB/s of runoff", "ratio to 1 worker",
    )  # fmt: skip
    for scaling, one_basin in (("strong", False), ("strong", True), ("weak", False)):
        base = truth = 0.0
        for n in counts(most, options.small):
            size = (rows, columns * (n if scaling == "weak" else 1)), steps, chunk
            # how many threads there are goes with the tasks
            with cluster(n, gpus) as client, xroute.set_options(threads=1):
                (alone, first, again), found = through_dask(client, n, size, one_basin, device)
            base, truth = base or again, truth or found
            if scaling == "strong":
                compare(found, truth, f"sum of discharge by {n} workers")
            reaches = math.prod(size[0])
            label = f"{scaling}{', one basin' * one_basin}: {reaches:,} reaches x {steps:,} steps, chunks of {chunk}"
            ratio = base / again * (n if scaling == "weak" else 1)
            row(label, n, alone, first, again, 4e-9 * reaches * steps / again, ratio)


# ── gpus ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Place:
    """A partition on a device: its runoff by chunk [1, reach, time], its state, its stream and the device's for copies."""

    part: Partition
    device: torch.device
    filter: Any
    runoff: Sequence[Tensor]
    stream: Any
    copies: Any
    state: State | None = None


@contextmanager
def on(*streams: Any) -> Iterator[None]:
    """Work goes to these streams, one of a device; there are none where Triton interprets."""
    with ExitStack() as stack:
        for stream in streams:
            if stream is not None:
                stack.enter_context(torch.cuda.stream(stream))
        yield


def after(stream: Any, other: Any, *used: Tensor) -> None:
    """What comes next on a stream waits for what another has been given so far, and uses its memory."""
    if stream is not None:
        stream.wait_stream(other)
        for tensor in used:
            tensor.record_stream(stream)


@cache
def copy_stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def synchronize(devices: Sequence[torch.device]) -> None:
    for device in devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def put(network: xroute.Network, n: int, devices: Sequence[torch.device], runoff: Callable[..., Any]) -> list[Place]:
    """Partitions of tributaries in turn over the devices, and the trunk beside the smallest of them."""
    from xroute.engine.gpu.layout import prepare_filter

    parts = make_partitions(network.plan, np.unique(partition(network.plan, n), return_inverse=True)[1])
    made = make_filter(read_parameters(network), DT, network.n_reaches)
    least = min((p.reach.size, k) for k, p in enumerate(parts) if not p.source)[1]
    places = []
    for k, part in enumerate(parts):
        device, f = devices[(least if part.source else k) % len(devices)], part.filter(made)
        prepared = prepare_filter(part.plan, f, device, torch.float32)
        # the trunk has little to do and much to wait for: it goes first where it has a device with others
        stream = torch.cuda.Stream(device, priority=-bool(part.source)) if device.type == "cuda" else None
        places.append(Place(part, device, prepared, runoff(part, device), stream, copy_stream(device)))
    synchronize(devices)
    return places


def route_chunk(place: Place, c: int, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """Discharge and kept series of a chunk, not waited for."""
    from xroute.engine.gpu.launch import route_gpu

    runoff = place.runoff[c]
    with on(place.stream):
        kept = torch.empty((1, place.part.plan.kept.size, runoff.shape[2]), device=place.device)
        exchange = Exchange(given if place.part.source else None, kept)
        discharge, state, _ = route_gpu(runoff, place.part.plan, place.filter, place.state, exchange=exchange)
    place.state = state
    return discharge, kept


def pass_on(target: Place, places: list[Place], kept: list[Tensor]) -> Tensor | None:
    """Series that a partition is given, copied to its device while others go on; None for tributaries.

    A copy between devices waits for what either of their current streams had before: these are the ones for copies.
    """
    if not target.part.source:
        return None
    with on(target.copies):
        given = torch.empty((1, target.part.given.size, kept[0].shape[2]), device=target.device)
    first = 0
    for q, which in target.part.source:
        assert which.size == kept[q].shape[1]  # the graph is two deep: all that is kept goes to the trunk
        after(places[q].copies, places[q].stream, kept[q])
        with on(places[q].copies, target.copies):
            given[:, first : first + which.size].copy_(kept[q], non_blocking=True)
        first += which.size
    after(target.stream, target.copies, given)
    return given


def route_series(places: list[Place], keep: bool = False) -> list[list[Tensor]]:
    """A series, chunk by chunk: discharge by chunk and partition, if it is kept."""
    result = []
    for c in range(len(places[0].runoff)):
        kept: list[Tensor] = []
        found = []
        for place in places:
            discharge, series = route_chunk(place, c, pass_on(place, places, kept))
            kept.append(series)
            if keep:
                found.append(discharge)
            del discharge  # its memory is used again
        result.append(found)
    return result


def check_gpus(n: int, devices: Sequence[torch.device]) -> float:
    """Discharge of a small network by chunks and partitions, compared with the CPU engine's of all at once."""
    (rows, columns), edges = ((60, 50), [0, 128, 256, 293]) if devices[0].type == "cuda" else ((8, 6), [0, 8, 16, 19])
    network = river(rows, columns, one_basin=True)
    data = np.random.default_rng(2).random((1, network.n_reaches, edges[-1]), np.float32)
    made = make_filter(read_parameters(network), DT, network.n_reaches)
    expected, _, _ = route_block(data, network.plan, made, None, RoutingSettings())

    def runoff(part: Partition, device: torch.device) -> list[Tensor]:
        whole = np.concatenate([data[:, part.reach], np.zeros((1, part.given.size, edges[-1]), np.float32)], axis=1)
        return [torch.from_numpy(a).to(device) for a in np.split(whole, edges[1:-1], axis=2)]

    places = put(network, n, devices, runoff)
    if n > 1 and not any(place.part.source for place in places):
        raise SystemExit("the small network has no trunk: nothing would be checked")
    found = np.full_like(data, np.nan)
    for c, by_place in enumerate(route_series(places, keep=True)):
        synchronize(devices)
        for place, discharge in zip(places, by_place, strict=True):
            at = place.part.reach
            found[:, at, edges[c] : edges[c + 1]] = discharge[:, : at.size].cpu().numpy()
    return compare(found, expected, f"{n} partitions on {len(devices)} devices")


def clock(call: Callable[[], object], devices: Sequence[torch.device], repeats: int) -> tuple[float, float]:
    """Milliseconds of a call until all is done, and until all is launched: medians."""
    call()
    times = []
    for _ in range(repeats):
        synchronize(devices)
        begin = time.perf_counter()
        call()
        launched = time.perf_counter() - begin
        synchronize(devices)
        times.append((1e3 * (time.perf_counter() - begin), 1e3 * launched))
    done, launched = zip(*times, strict=True)
    return statistics.median(done), statistics.median(launched)


def measure_gpus(
    network: xroute.Network, n: int, devices: Sequence[torch.device], steps: int, chunk: int, repeats: int
) -> tuple[float, list[Any], np.ndarray]:
    """Milliseconds of a series by ``n`` partitions on as many devices, what they consist of, and the last outflow [reach]."""
    rng = np.random.default_rng(3)
    rate, weather = torch.from_numpy(rng.random(network.n_reaches)).float(), torch.from_numpy(rng.random(chunk)).float()
    n_chunks = -(-steps // chunk)

    def runoff(part: Partition, device: torch.device) -> list[Tensor]:
        """One chunk, used again and again: all do not fit."""
        n_own = part.reach.size
        buffer = torch.zeros((1, n_own + part.given.size, chunk), device=device)
        torch.mul(rate[part.reach].to(device)[:, None], weather.to(device), out=buffer[0, :n_own])
        return [buffer] * n_chunks

    places = put(network, n, devices, runoff)
    route_series(places)  # from dry, for the comparison
    synchronize(devices)
    end = np.full(network.n_reaches, np.nan)
    for place in places:
        assert place.state is not None
        end[place.part.reach] = place.state.outflow[0, : place.part.reach.size].cpu().numpy()
    done, launched = clock(lambda: route_series(places), devices, repeats)
    kept = [torch.zeros((1, p.part.plan.kept.size, chunk), device=p.device) for p in places]
    trunk, given = places[-1], torch.zeros((1, places[-1].part.given.size, chunk), device=places[-1].device)
    largest = max((p for p in places if not p.part.source), key=lambda p: p.part.reach.size)

    def alone(call: Callable[[int], object]) -> float:
        def all_chunks() -> None:
            for c in range(n_chunks):
                call(c)  # what it gives is dropped: all chunks would not fit

        return clock(all_chunks, devices, repeats)[0]

    share = largest.part.reach.size / network.n_reaches
    figures = [f"{alone(lambda c: route_chunk(largest, c, None)):.3g} ({share:.1%})", "-", "-"]
    if trunk.part.source:
        seconds = alone(lambda c: route_chunk(trunk, c, given)), alone(lambda _: pass_on(trunk, places, kept))
        sizes = trunk.part.reach.size, trunk.part.given.size
        figures[1:] = [f"{t:.3g} ({size:,})" for t, size in zip(seconds, sizes, strict=True)]
    return done, [launched, *figures], end


def gpus(options: argparse.Namespace) -> None:
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not (options.small and os.environ.get("TRITON_INTERPRET") == "1"):
        raise SystemExit("gpus needs a GPU, or --small and TRITON_INTERPRET=1 to try its logic")
    names = [f"cuda:{k}" for k in range(torch.cuda.device_count())] if on_gpu else ["cpu", "cpu"]
    devices = [torch.device(name) for name in names]
    (rows, columns), steps, chunk = (options.lattice or (1000, 3000)), options.steps or 3650, options.chunk or 365
    if options.small:
        (rows, columns), steps, chunk = ((100, 100), 200, 20) if on_gpu else ((6, 5), 8, 4)
    for n in (1, 2, 3, 4):
        print(f"{n} partitions equal the CPU engine, error {check_gpus(n, devices):.1e} of the peak", flush=True)
    if on_gpu:
        peers = all(torch.cuda.can_device_access_peer(a, b) for a in devices for b in devices if a != b)
        print(f"{len(devices)} x {torch.cuda.get_device_name()}, peer access {peers}, torch {torch.__version__}")
    table(
        f"{steps:,} steps in chunks of {chunk}, float32", "GPUs", "ms", "ratio to 1 GPU", "TB/s, runoff and discharge",
        "launching, ms", "largest tributary partition alone, ms (of reaches)", "trunk alone, ms (reaches)",
        "copies alone, ms (links)", "end state beside 1 GPU",
    )  # fmt: skip
    cases = [("strong", False), ("strong", True), *([("weak", False), ("weak", True)] if options.weak else [])]
    for scaling, one_basin in cases:
        base, truth = 0.0, np.empty(0)
        network = river(rows, columns, one_basin)
        for n in counts(len(devices), options.small):
            if scaling == "weak":
                network = river(rows, columns * n, one_basin)
            ms, figures, end = measure_gpus(network, n, devices[:n], steps, chunk, 1 if not on_gpu else 5)
            if n == 1:
                base, truth = ms, end
            # float32 differs where flows join by another way; the small network is compared more strictly
            error = f"{compare(end, truth, f'{n} GPUs', 10 * ALLOWED):.0e}" if scaling == "strong" else "-"
            what = f"{scaling}{', one basin' * one_basin}: {network.n_reaches:,} reaches"
            moved = 8e-9 * network.n_reaches * chunk * -(-steps // chunk) / ms
            row(what, n, ms, base / ms * (n if scaling == "weak" else 1), moved, *figures, error)
            if on_gpu:
                torch.cuda.empty_cache()


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "graph": graph, "workers": workers, "gpus": gpus, "gpus-dask": lambda o: workers(o, gpus=True),
}  # fmt: skip


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true", help="shrink every part, to try it")
    parser.add_argument("--weak", action="store_true", help="gpus: weak scaling, too")
    parser.add_argument("--lattice", nargs=2, type=int, metavar=("ROWS", "COLUMNS"), help="workers, gpus")
    parser.add_argument("--steps", type=int, help="workers, gpus: steps of runoff")
    parser.add_argument("--chunk", type=int, help="workers, gpus: steps of a time chunk")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore", UserWarning)  # Muskingum's range: drawn parameters need not be ideal
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
