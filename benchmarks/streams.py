"""Streams to Zarr: the memory that `route_to_zarr` takes, for years of steps, an ensemble, and large packed chunks.

    python benchmarks/streams.py memory tiles                  parts to measure; --small shrinks all of them, for a try
    python benchmarks/streams.py ensemble                      6.84M reaches x 120 steps x 52 members; some 12 GB on the disk

memory     peak memory for 1, 2, 5 and 10 years of 365 steps (15 GB, see --years and --temporary)
tiles      peak memory, and how often each chunk is read, for int32 in chunks of 672 steps x 30,000 reaches, as of the NWM
ensemble   time and peak memory for a daily forecast of GEOGLOWS' size, within --memory (8GB) in all

What is written is compared with the truth before a figure is given.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import resource
import shutil
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scaling import compare, fresh, labelled, lazy_runoff, river, row, table
from xarray.backends.common import BackendArray
from xarray.core import indexing
from zarr.storage import LocalStore, WrapperStore

import xroute
from xroute.memory import memory_bytes

# ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def peak_memory() -> float:
    """Peak of this process [GB]; where there is one, not by getrusage, which counts what its parent had before it started."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def stream_years(lattice: tuple[int, int], steps: int, folder: str) -> tuple[float, float, float, float]:
    """GB at the peak before and after a stream to Zarr, seconds, and GB on disk; what it wrote is deleted."""
    warnings.simplefilter("ignore", UserWarning)
    store = Path(tempfile.mkdtemp(dir=folder)) / "discharge.zarr"
    try:
        few = river(30, 20)
        runoff = labelled(np.random.default_rng(4).random((few.n_reaches, 100), np.float32), few)
        xroute.route_to_zarr(runoff.chunk(time=30), few, store, time_chunk=None, progress=False)
        with xr.open_zarr(store) as written:
            compare(written["discharge"].transpose(*runoff.dims).values, runoff.route(few).values, "what was written")
        shutil.rmtree(store)
        network = river(*lattice)
        _ = network.plan.schedule
        before, begin = peak_memory(), time.perf_counter()
        xroute.route_to_zarr(lazy_runoff(network, -1, steps, 30), network, store, time_chunk=None, progress=False)
        seconds, peak = time.perf_counter() - begin, peak_memory()
        size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        with xr.open_zarr(store) as written:
            last = written["discharge"].isel(time=-1).values
            if written.sizes["time"] != steps or not (np.isfinite(last).all() and last.max() > 0):
                raise SystemExit(f"WRONG: {written.sizes} written, or nothing at the end")
        return before, peak, seconds, size / 1e9
    finally:
        shutil.rmtree(store.parent)


def memory(options: argparse.Namespace) -> None:
    lattice = (100, 100) if options.small else options.lattice or (1000, 1000)
    table("route_to_zarr", "steps", "GB of discharge", "GB on disk", "seconds", "peak GB before", "peak GB", "GB added")
    with tempfile.TemporaryDirectory(dir=options.temporary) as folder:
        for years in options.years or ([1, 2] if options.small else [1, 2, 5, 10]):
            before, peak, seconds, size = fresh(stream_years, lattice, 365 * years, folder)
            n = math.prod(lattice)
            row(f"{n:,} reaches", 365 * years, 4e-9 * n * 365 * years, size, seconds, before, peak, peak - before)


# ── ensemble ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Forecast(BackendArray):
    """Runoff [member, time, reach] that is made where it is read: a storm that moves down the ids, of each member another."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)
        self.rate = np.random.default_rng(5).random(shape[2], np.float32)
        self.weather = np.random.default_rng(6).random(shape[:2], np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._make)

    def _make(self, key: tuple[Any, ...]) -> np.ndarray:
        members, steps, reaches = (np.arange(n)[k] for n, k in zip(self.shape, key, strict=True))
        made = np.empty((np.size(members), np.size(steps), np.size(reaches)), np.float32)
        weather = self.weather[np.ix_(np.atleast_1d(members), np.atleast_1d(steps))]
        np.multiply(weather[..., None], self.rate[reaches], out=made)
        return made.reshape([n.size for n in (members, steps, reaches) if n.ndim])


class Bin(LocalStore):
    """A store on the disk that counts chunks of discharge, and keeps none of them but that of the first reaches."""

    counted, n_bytes = 0, 0

    async def set(self, key: str, value: Any) -> None:
        if key.startswith("discharge/c/"):
            type(self).counted += 1
            type(self).n_bytes += len(value)
            if not key.endswith("/0"):
                return
        await super().set(key, value)


class Asked(WrapperStore[Any]):
    """A store that is asked whose it is before each write, as those that cannot rename; in a folder nothing is thrown away."""


def forecast(network: xroute.Network, steps: int, members: int) -> xr.DataArray:
    dims, data = ("member", "time", "reach"), Forecast((members, steps, network.n_reaches))
    variable = xr.Variable(dims, indexing.LazilyIndexedArray(data))
    coords = {"member": np.arange(members), "time": pd.date_range("2024", periods=steps, freq="h"), "reach": network.ids}
    return xr.DataArray(variable, coords, dims, "runoff", {"units": "m3 s-1"})


def stream_ensemble(lattice: tuple[int, int], steps: int, members: int, total: int, folder: str) -> list[Any]:
    """Figures of a stream that may take so many bytes in all; discharge of the first reaches is compared with members alone."""
    warnings.simplefilter("ignore", UserWarning)
    network = river(*lattice)
    forecast(network, 2, 1).route(network, device="cpu")
    gc.collect()
    before, begin, free = resident_memory(), time.perf_counter(), shutil.disk_usage(folder).free
    room, least, over = total - int(1e9 * before), [free], threading.Event()
    if room <= 0:
        raise ValueError(f"libraries and the network alone take {before:.2f} GB")

    def watch() -> None:
        while not over.wait(1.0):
            least[0] = min(least[0], shutil.disk_usage(folder).free)

    threading.Thread(target=watch, daemon=True).start()
    store, runoff = Path(tempfile.mkdtemp(dir=folder)) / "discharge.zarr", forecast(network, steps, members)
    try:
        opened, state = xroute.route_to_zarr(
            runoff, network, Asked(Bin(store)), memory=room, progress="PROGRESS" in os.environ, device="cpu", return_state=True
        )
        seconds, peak = time.perf_counter() - begin, peak_memory()
        over.set()
        first = int(opened.encoding["chunks"][-1])
        for member in {0, members // 2, members - 1}:
            runoff_alone = runoff.isel(member=member, time=slice(0, 24 if network.n_reaches > 10**6 else None))
            alone, end = runoff_alone.route(network, device="cpu", return_state=True)
            written = opened.isel(member=member, reach=slice(0, first), time=slice(0, alone.sizes["time"]))
            compare(written.values, alone.isel(reach=slice(0, first)).values, "what was written", 0.0)
            if alone.sizes["time"] == steps:
                compare(state["outflow"].isel(member=member).values, end["outflow"].values, "the state", 0.0)
        lanes, chunks = len((state["outflow"].chunks or [[0]])[0]), opened.encoding["chunks"]
        return [lanes, " x ".join(map(str, chunks)), 1e-9 * Bin.n_bytes, before, peak, 1e-9 * (free - least[0]), seconds]
    finally:
        over.set()
        shutil.rmtree(store.parent)


def resident_memory() -> float:
    """Memory of this process now [GB]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9


def ensemble(options: argparse.Namespace) -> None:
    lattice = (100, 100) if options.small else options.lattice or (2850, 2400)
    steps, members, n = options.steps or 120, options.members, math.prod(lattice)
    table(
        "route_to_zarr", "lanes", "chunks", "GB of discharge, compressed", "GB before", "peak GB", "GB on the disk", "seconds",
        "G reach-steps/s",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.temporary) as folder:
        found = fresh(stream_ensemble, lattice, steps, members, memory_bytes(options.memory), folder)
        row(f"{n:,} reaches x {steps} steps x {members} members", *found, 1e-9 * n * steps * members / found[-1])


# ── tiles ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counting(LocalStore):
    """A store on the disk that counts how often each chunk of runoff is read."""

    reads: Counter[str] = Counter()

    async def get(self, key: str, *given: Any, **options: Any) -> Any:
        if key.startswith("runoff/c/"):
            self.reads[key] += 1
        return await super().get(key, *given, **options)


def stream_tiles(lattice: tuple[int, int], chunks: tuple[int, int], stated: str, folder: str) -> list[Any]:
    """Reads of a chunk, seconds, and GB before and at the peak, of a stream that may take some memory beside the network."""
    warnings.simplefilter("ignore", UserWarning)
    network, n_steps = river(*lattice), 2 * chunks[0]
    parent = Path(tempfile.mkdtemp(dir=folder))
    rate, weather = np.arange(network.n_reaches) % 100, 1 + np.arange(n_steps) % 24
    try:
        encoding = {"dtype": "i4", "scale_factor": 0.01, "_FillValue": -99990, "chunks": chunks}
        by_reach = xr.DataArray(0.01 * rate, dims="reach").chunk(reach=chunks[1])
        data = by_reach * xr.DataArray(weather, dims="time").chunk(time=chunks[0])
        runoff = labelled(data.data, network).transpose("time", "reach")
        runoff.to_dataset().to_zarr(parent / "runoff.zarr", encoding={"runoff": encoding}, consolidated=False)
        opened = xr.open_zarr(Counting(parent / "runoff.zarr"), chunks=None, consolidated=False)["runoff"]
        xroute.route_to_zarr(opened.isel(time=slice(0, 2)), network, parent / "warm.zarr", memory="3GB", progress=False)
        Counting.reads.clear()
        gc.collect()
        before, peak, over, begin = resident_memory(), [0.0], threading.Event(), time.perf_counter()

        def watch() -> None:  # the peak of the process was while runoff was made
            while not over.wait(0.005):
                peak[0] = max(peak[0], resident_memory())

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        written = xroute.route_to_zarr(opened, network, parent / "q.zarr", memory=stated, progress=False)
        seconds, often = time.perf_counter() - begin, max(Counting.reads.values())
        over.set()
        watching.join()
        some = slice(0, 24)
        truth = opened.isel(time=some).astype(np.float32, keep_attrs=True).route(network)
        compare(written.isel(time=some).values, truth.values, "what was written", 0.0)
        return [often, before, peak[0], peak[0] - before, seconds]
    finally:
        shutil.rmtree(parent)


def tiles(options: argparse.Namespace) -> None:
    lattice, chunks = ((100, 100), (48, 2500)) if options.small else (options.lattice or (400, 300), (672, 30_000))
    table("route_to_zarr", "memory=", "reads of a chunk", "GB before", "peak GB", "GB added", "seconds")
    with tempfile.TemporaryDirectory(dir=options.temporary) as folder:
        for stated in ("200MB", "600MB", "1.5GB", "3GB"):
            found = fresh(stream_tiles, lattice, chunks, stated, folder)
            row(f"{math.prod(lattice):,} reaches, int32 in chunks of {chunks[0]} x {chunks[1]:,}", stated, *found)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {"memory": memory, "tiles": tiles, "ensemble": ensemble}


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--small", action="store_true", help="shrink every part, to try it")
    parser.add_argument("--lattice", nargs=2, type=int, metavar=("ROWS", "COLUMNS"), help="rows and columns of reaches")
    parser.add_argument("--steps", type=int, help="ensemble: steps of runoff")
    parser.add_argument("--years", nargs="+", type=int, help="memory: years of 365 steps")
    parser.add_argument("--temporary", help="where discharge is written, and deleted")
    parser.add_argument("--members", type=int, default=52, help="ensemble: members of the forecast")
    parser.add_argument("--memory", default="8GB", help="ensemble: of the whole process, the network included")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore", UserWarning)  # Muskingum's range: drawn parameters need not be ideal
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
