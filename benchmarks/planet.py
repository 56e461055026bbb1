"""The planet: all of its rivers, 80 years of days in hourly routing steps, on one GPU; and how the cost grows with the network.

    python benchmarks/planet.py                    6.84 million reaches, 29,220 days, 24 substeps
    python benchmarks/planet.py --years 2          fewer years; --reaches, --substeps and --block (days) choose, too
    python benchmarks/planet.py --plan             only the network: made from its arrays, planned; no GPU is needed
    python benchmarks/planet.py --small            a small world, on the CPU where there is no GPU, to try it

The world is made up. Its basins have the sizes of real ones (a power law; the largest has as many reaches as the Amazon in a
hydrography of 6.84 million). Each is one of all trees of so many reaches, drawn with equal chances (Shreve, 1966). The arrays
list regions one after another, upstream reaches first, with ids in no order. Runoff is made on the device block by block, 800
GB in all: a season and showers for each reach, by integer arithmetic, so that the host makes the same values, bit for bit. The
state goes from block to block; of discharge the mean, the largest value and a checksum of each reach stay. Routing is RAPID's
usual one: Muskingum, the mean of 24 substeps.

Ten basins are compared over all years, and the largest one over the first, with the CPU's engine in float64, which is itself
compared with the reference. Then a tenth of the years goes from the host's pinned memory to the device and back, copies beside
the routing, for what transfer adds; so much runoff is not kept, so that the same half year comes again and again.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

import xroute
from xroute.block import route_block
from xroute.block_state import BlockState
from xroute.engine.kernels import kernel
from xroute.engine.reference import route_reference
from xroute.parameters import read_parameters
from xroute.schemes import Filter, make_filter
from xroute.settings import RoutingSettings

try:
    import triton
    import triton.language as tl
except ImportError:  # there is none beside the CPU
    triton = None

Tensor = torch.Tensor
CUDA = torch.cuda.is_available() and triton is not None
DEVICE = torch.device("cuda" if CUDA else "cpu")
DAY = 86_400.0
ALLOWED = 2e-5
"""Error of any reach's series in float32, relative to its largest value."""
LARGEST = 0.0468
"""Share of all reaches that the largest basin has: the Amazon's share of the land outside of the ice sheets."""
TAIL = 0.43
"""Exponent of the power law of basin sizes (Rodriguez-Iturbe and others, 1992)."""
REGIONS = 125
"""Regions that the files list one after another."""


# ── the world ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class World:
    """Rivers as arrays [reach]: what a user's files hold."""

    ids: NDArray[np.int64]
    downstream: NDArray[np.int64]
    k: NDArray[np.float64]
    x: NDArray[np.float64]
    basin_outlets: NDArray[np.int64]
    basin_sizes: NDArray[np.int64]

    def dataset(self) -> xr.Dataset:
        variables = {"downstream": self.downstream, "k": self.k, "x": self.x}
        made = xr.Dataset({name: ("reach", v) for name, v in variables.items()}, {"reach": self.ids}, {"scheme": "muskingum"})
        made["k"].attrs["units"], made["x"].attrs["units"] = "s", "1"
        return made


def make_world(n: int, seed: int = 0) -> World:
    """Rivers of ``n`` reaches in all."""
    rng = np.random.default_rng(seed)
    sizes = basin_sizes(n, rng)
    start = np.concatenate([[0], np.cumsum(sizes)])
    below = draw_trees(start, rng.integers(2**31, size=sizes.size))  # each basin from its outlet up, depth first
    height = heights(below)
    region = np.repeat(np.arange(sizes.size) * min(REGIONS, sizes.size) // sizes.size, sizes)
    order = np.lexsort((height, region))  # in a region all headwaters, then what they drain to, ...
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    number = np.empty(n, np.int64)
    number[order] = rng.permutation(n)
    ids = 110_000_000 + 115 * number  # by basin; of nine digits, as in files
    length, celerity = rng.uniform(5500.0, 7000.0, n), rng.uniform(1.0, 1.4, n)
    downstream = np.where(below < 0, 0, ids[np.maximum(below, 0)])
    return World(ids[order], downstream[order], length / celerity, rng.uniform(0.1, 0.25, n), ids[start[:-1]], sizes)


def basin_sizes(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sizes of basins, odd as those of trees that fork in two are, in no order."""
    largest = max(1, int(LARGEST * n)) | 1
    sizes, total = [np.array([largest])], largest
    while total < n:
        u = rng.random(1000)
        drawn = (1 - u * (1 - float(largest) ** -TAIL)) ** (-1 / TAIL)  # from 1 to the largest
        sizes.append(np.minimum(drawn.astype(np.int64), largest - 2) | 1)
        total += int(sizes[-1].sum())
    found = np.concatenate(sizes)
    found = found[: np.searchsorted(np.cumsum(found), n, side="right")]
    rest = n - int(found.sum())
    more = [rest] if rest % 2 else [rest - 1, 1]
    return rng.permutation(np.concatenate([found, [size for size in more if size > 0]]))


@kernel
def draw_trees(start, seeds):  # type: ignore[no-untyped-def]
    """Reach below each, -1 for outlets: of each basin a random walk of as many forks as headwaters less one, turned to a tree."""
    below = np.empty(start[-1], np.int64)
    stack = np.empty(start[-1] + 1, np.int64)
    for b in range(start.size - 1):
        first, n = start[b], start[b + 1] - start[b]
        np.random.seed(seeds[b])
        step = np.full(n, -1, np.int8)
        step[: (n - 1) // 2] = 1
        for i in range(n - 1, 0, -1):
            j = np.random.randint(0, i + 1)
            step[i], step[j] = step[j], step[i]
        least, turn, height = 0, 0, 0  # the one turn of the walk that is a tree's begins after its first lowest point
        for i in range(n):
            height += step[i]
            if height < least:
                least, turn = height, (i + 1) % n
        top = 0
        stack[0] = -1
        for i in range(n):
            below[first + i] = stack[top]
            top -= 1
            if step[(turn + i) % n] > 0:
                stack[top + 1] = first + i
                stack[top + 2] = first + i
                top += 2
    return below


@kernel
def heights(below):  # type: ignore[no-untyped-def]
    """Reaches on the longest way down to each, itself included; each stands after the one below it."""
    height = np.ones(below.size, np.int64)
    for i in range(below.size - 1, -1, -1):
        if below[i] >= 0:
            height[below[i]] = max(height[below[i]], height[i] + 1)
    return height


# ── its weather: the same bits from the host and from the device ────────────────────────────────────────────────────────


@kernel
def host_runoff(rows, base, first, n_days):  # type: ignore[no-untyped-def]
    """Runoff [reach, day] of rows of the network, from a day on [m3 s-1]; ``base`` is theirs, in float32."""
    values = np.empty((rows.size, n_days), np.float32)
    for k in range(rows.size):
        for column in range(n_days):
            day = first + column
            word = (rows[k] * 0x9E3779B1 + day * 0x7FEB352D) & 0xFFFFFFFF
            word ^= word >> 16
            word = (word * 0x6CA68B) & 0xFFFFFFFF
            word ^= word >> 15
            shower = max((word >> 17) - 16_384, 0)
            season = abs((day + rows[k] % 365) % 365 - 182) + 64
            values[k, column] = base[k] * np.float32((2048 + shower) * season)
    return values


if triton is not None:

    @triton.jit
    def _make_runoff(runoff, base, n, n_days, pitch, first, ROWS: tl.constexpr, DAYS: tl.constexpr):  # type: ignore[no-untyped-def]
        """`host_runoff`, of all rows."""
        row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
        column = tl.program_id(1) * DAYS + tl.arange(0, DAYS)[None, :]
        day = column + first
        word = row.to(tl.uint32) * 0x9E3779B1 + day.to(tl.uint32) * 0x7FEB352D
        word ^= word >> 16
        word *= 0x6CA68B
        word ^= word >> 15
        shower = tl.maximum((word >> 17).to(tl.int32) - 16384, 0)
        season = tl.abs((day + (row % 365).to(tl.int32)) % 365 - 182) + 64
        factor = tl.load(base + row, mask=row < n, other=0.0)
        values = factor * ((2048 + shower) * season).to(tl.float32)
        tl.store(runoff + row * pitch + column, values, mask=(row < n) & (column < n_days))

    @triton.jit
    def _take_statistics(series, total, largest, bits, n, n_days, pitch, ROWS: tl.constexpr, DAYS: tl.constexpr):  # type: ignore[no-untyped-def]
        """Add a block's discharge to the sum, the largest value and the sum of the bits of each reach, read once."""
        row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
        inside = row < n
        sums = tl.zeros([ROWS], tl.float64)
        words = tl.zeros([ROWS], tl.int64)
        most = tl.full([ROWS], 0.0, tl.float32)
        for begin in range(0, n_days, DAYS):
            column = begin + tl.arange(0, DAYS)[None, :]
            known = inside[:, None] & (column < n_days)
            values = tl.load(series + row[:, None] * pitch + column, mask=known, other=0.0)
            sums += tl.sum(values.to(tl.float64), axis=1)
            words += tl.sum(values.to(tl.int32, bitcast=True).to(tl.int64), axis=1)
            most = tl.maximum(most, tl.max(values, axis=1))
        tl.store(total + row, tl.load(total + row, mask=inside, other=0.0) + sums, mask=inside)
        tl.store(bits + row, tl.load(bits + row, mask=inside, other=0) + words, mask=inside)
        tl.store(largest + row, tl.maximum(tl.load(largest + row, mask=inside, other=0.0), most), mask=inside)


def fill_runoff(runoff: Tensor, base: Tensor, first: int) -> None:
    """Write runoff [1, reach, day] from a day on."""
    _, n, n_days = runoff.shape
    if CUDA:
        grid = triton.cdiv(n, 16), triton.cdiv(n_days, 128)
        _make_runoff[grid](runoff, base, n, n_days, runoff.stride(1), first, 16, 128)
    else:
        runoff[0] = torch.from_numpy(host_runoff(np.arange(n), base.numpy(), first, n_days))


@dataclass
class Statistics:
    """What stays of discharge."""

    total: Tensor
    largest: Tensor
    bits: Tensor
    n_days: int = 0

    @classmethod
    def of(cls, n: int) -> Statistics:
        return cls(*(torch.zeros(n, dtype=t, device=DEVICE) for t in (torch.float64, torch.float32, torch.int64)))

    def add(self, discharge: Tensor) -> None:
        _, n, n_days = discharge.shape
        if CUDA:
            _take_statistics[(triton.cdiv(n, 16),)](
                discharge, self.total, self.largest, self.bits, n, n_days, discharge.stride(1), 16, 128
            )
        else:
            self.total += discharge[0].sum(dim=1, dtype=torch.float64)
            self.largest = torch.maximum(self.largest, discharge[0].amax(dim=1))
            self.bits += discharge[0].contiguous().view(torch.int32).sum(dim=1, dtype=torch.int64)
        self.n_days += n_days

    @property
    def checksum(self) -> int:
        """One number of all bits of discharge, and of the reaches that they belong to."""
        weights = torch.arange(1, self.bits.numel() + 1, device=self.bits.device)
        return int((self.bits * weights).sum())


# ── clocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def synchronise() -> None:
    if CUDA:
        torch.cuda.synchronize()


class Clock:
    """Seconds of the device between marks, by name; of the host, where there is none."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, Any]] = []

    def mark(self, what: str) -> None:
        """What follows, up to the next mark, is ``what``."""
        if CUDA:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
        else:
            event = time.perf_counter()
        self._marks.append((what, event))

    def seconds(self) -> dict[str, list[float]]:
        synchronise()
        found: dict[str, list[float]] = {}
        for (what, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            took = begin.elapsed_time(end) / 1e3 if CUDA else end - begin
            found.setdefault(what, []).append(took)
        return found


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and what it returns."""
    begin = time.perf_counter()
    found = call()
    synchronise()
    return time.perf_counter() - begin, found


def row(what: str, seconds: float, more: str = "") -> None:
    print(f"| {what} | {seconds:.2f} | {more} |", flush=True)


# ── the network ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_network(world: World, substeps: int, on_device: bool) -> tuple[float, xroute.Network, xroute.Router | None]:
    """Seconds from the arrays to what routes: the network, its plan, its filter, and where they lie on the device."""
    small = make_world(200_000 if CUDA else 2000)  # with more patches than run at a time, for which other kernels are made
    prepare(xroute.Network(small.dataset()), substeps, on_device)  # compiles
    load, network = timed(lambda: xroute.Network(world.dataset()))
    row("network from its arrays, checked", load)
    plan, _ = timed(lambda: network.plan)
    row("order of reaches", plan)
    more, router = timed(lambda: prepare(network, substeps, on_device))
    row("patches and filter" + ", on the device" * on_device if CUDA or not on_device else "schedule and filter", more)
    row("network made and planned", load + plan + more, "target 15 s")
    return load + plan + more, network, router


def prepare(network: xroute.Network, substeps: int, on_device: bool) -> xroute.Router | None:
    """What routes a network; without a device, only what it would be given."""
    if not on_device:
        _ = network.plan.patches
        filter_of(network, substeps)
        return None
    router = xroute.Router(network, dt=DAY, substeps=substeps, sampling="mean")
    with torch.no_grad():
        router(torch.zeros(1, network.n_reaches, 1, device=DEVICE), return_state=True)
    return router


def filter_of(network: xroute.Network, substeps: int) -> Filter:
    return make_filter(read_parameters(network), DAY / substeps, network.n_reaches, ids=network.ids)


# ── what is compared ────────────────────────────────────────────────────────────────────────────────────────────────────


class Checks:
    """Basins whose discharge is kept, and compared with the CPU's engine in float64."""

    def __init__(self, network: xroute.Network, world: World, base: NDArray[np.float32], n_days: int, substeps: int) -> None:
        self.base, self.n_days, self.substeps = base, n_days, substeps
        by_size = np.argsort(world.basin_sizes, kind="stable")
        wanted = np.geomspace(3, min(3000, world.basin_sizes.max()), 9)
        chosen = by_size[np.searchsorted(world.basin_sizes[by_size], wanted).clip(max=by_size.size - 1)]
        largest = by_size[-1]
        self.basins = [network.basin(world.basin_outlets[i]) for i in np.unique(chosen)]
        whole = network.basin(world.basin_outlets[largest])
        inner = np.argmin(np.abs(whole.n_upstream.values - 2000))  # a part of the largest, which ends far inside of it
        self.basins.append(whole.basin(whole.ids[inner]))
        self.rows = [network.position(basin.ids) for basin in self.basins]
        self.kept = torch.from_numpy(np.concatenate(self.rows)).to(DEVICE)
        self.series: list[NDArray[np.float32]] = []
        self.largest, self.largest_row = whole, network.position(whole.ids)
        self.largest_days = min(365, n_days)
        self.of_largest: list[NDArray[np.float32]] = []

    def keep(self, discharge: Tensor, first: int) -> None:
        """Keep what is compared later, of a block."""
        self.series.append(discharge[0].index_select(0, self.kept).cpu().numpy())
        days = min(self.largest_days - first, discharge.shape[2])
        if days > 0:
            rows = torch.from_numpy(self.largest_row).to(DEVICE)
            self.of_largest.append(discharge[0, :, :days].index_select(0, rows).cpu().numpy())

    def compare(self) -> None:
        """Stop where anything differs; print how much it does at most."""
        _compare_with_reference(self.basins[0], self.rows[0], self.base, self.substeps)
        found, begin, worst = np.concatenate(self.series, axis=1), 0, 0.0
        for basin, rows in zip(self.basins, self.rows, strict=True):
            expected = route_on_cpu(basin, rows, self.base, self.n_days, self.substeps)
            worst = max(worst, error_of(found[begin : begin + rows.size], expected, f"basin of {rows.size} reaches"))
            begin += rows.size
        sizes = ", ".join(f"{rows.size:,}" for rows in self.rows)
        print(f"|  | | {len(self.rows)} basins of {sizes} reaches, {self.n_days:,} days: error at most {worst:.0e} |")
        expected = route_on_cpu(self.largest, self.largest_row, self.base, self.largest_days, self.substeps)
        worst = error_of(np.concatenate(self.of_largest, axis=1), expected, "the largest basin")
        what = f"largest basin, {self.largest_row.size:,} reaches, first {self.largest_days} days"
        print(f"|  | | {what}: error at most {worst:.0e} |", flush=True)


def route_on_cpu(
    basin: xroute.Network, rows: NDArray[np.int64], base: NDArray[np.float32], n_days: int, substeps: int
) -> NDArray[np.float32]:
    """Discharge by the CPU's engine in float64, from runoff made on the host; kept in float32, as what is compared is."""
    made, settings = filter_of(basin, substeps), RoutingSettings(None, substeps, "mean")
    found, state = np.empty((rows.size, n_days), np.float32), None
    block = max(1, 20_000_000 // rows.size)
    for first in range(0, n_days, block):
        days = min(block, n_days - first)
        runoff = host_runoff(rows, base[rows], first, days).astype(float)[None]
        discharge, state, _ = route_block(runoff, basin.plan, made, state, settings)
        found[:, first : first + days] = discharge[0]
    assert isinstance(state, BlockState)
    return found


def _compare_with_reference(basin: xroute.Network, rows: NDArray[np.int64], base: NDArray[np.float32], substeps: int) -> None:
    """Compare the CPU's engine on a small basin with what shares no code with it."""
    taps, pointer, pole, gain = filter_of(basin, substeps).arrays()
    runoff = host_runoff(rows, base[rows], 0, 20).astype(float)[None]
    expected, _, _ = route_reference(
        runoff, basin.links, np.split(taps, pointer[1:-1]), pole, gain, substeps=substeps, sampling="mean"
    )
    error_of(route_on_cpu(basin, rows, base, 20, substeps), expected[0], "the CPU's engine")


def error_of(found: NDArray[Any], expected: NDArray[Any], what: str) -> float:
    """Largest error of any reach's series, relative to its peak."""
    error = float((np.abs(found - expected).max(axis=1) / np.abs(expected).max(axis=1)).max())
    if not error <= ALLOWED:
        raise SystemExit(f"WRONG: {what}: error {error:.1e} > {ALLOWED:.0e}; no figure is reported")
    return error


# ── routing ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def block_days(n: int, n_days: int) -> int:
    """Days of a block that leave room for runoff, discharge and what waits between patches; blocks of equal length, nearly."""
    if not CUDA:
        return min(n_days, 200)
    free = torch.cuda.mem_get_info()[0]
    most = min(768, max(16, int(0.8 * free / (n * 4 * 2.5))))  # twice as long ones open more memory at a time, and are slower
    n_blocks = math.ceil(n_days / most)
    return min(n_days, 8 * math.ceil(n_days / n_blocks / 8))  # rows of whole sectors of memory


def route_years(router: xroute.Router, base: Tensor, n_days: int, block: int, checks: Checks) -> dict[str, float]:
    """Route all days; seconds of each part, and of all from the first block's start to the statistics' end."""
    n = base.numel()
    space = torch.empty(n * (-(-block // 8) * 8), device=DEVICE)

    def runoff_of(days: int) -> Tensor:
        return space.as_strided((1, n, days), (space.numel(), -(-days // 8) * 8, 1))

    fill_runoff(runoff_of(block), base, 0)
    compile_seconds, (discharge, state) = timed(lambda: router(runoff_of(block), return_state=True))
    Statistics.of(n).add(discharge)
    del discharge
    statistics_, clock, kept, state = Statistics.of(n), Clock(), 0.0, None
    synchronise()
    begin = time.perf_counter()
    for first in range(0, n_days, block):
        runoff = runoff_of(min(block, n_days - first))
        clock.mark("making runoff")
        fill_runoff(runoff, base, first)
        clock.mark("routing")
        discharge, state = router(runoff, state=state, return_state=True)
        clock.mark("statistics")
        statistics_.add(discharge)
        clock.mark("kept for the comparison")
        kept += timed(lambda d=discharge, f=first: checks.keep(d, f))[0]  # type: ignore[misc]
        del discharge
    clock.mark("end")
    parts = {what: sum(seconds) for what, seconds in clock.seconds().items()}
    parts["all"] = time.perf_counter() - begin - kept
    mean = statistics_.total / statistics_.n_days
    steps = n * n_days * router.substeps
    row("kernels compiled, first block", compile_seconds, "before the rest, and not counted")
    row("making runoff", parts["making runoff"], f"{4e-9 * n * n_days:,.0f} GB")
    row("routing", parts["routing"], f"target 12 s; {1e-9 * steps / parts['routing']:,.3g} G routing steps of a reach a second")
    found = f"discharge of all reaches {float(mean.sum()):.6g} m3 s-1, checksum {statistics_.checksum & (2**64 - 1):016x}"
    row("statistics", parts["statistics"], found)
    return parts


def transfer_years(router: xroute.Router, base: Tensor, n_days: int, block: int) -> None:
    """Route days from pinned memory and back, copies beside the routing: what it takes, and what routing alone does."""
    n, days = base.numel(), min(91, n_days, block)
    n_blocks = max(2, n_days // 10 // days)
    there = [torch.empty(1, n, days, device=DEVICE) for _ in range(2)]
    host_in = [torch.empty(1, n, days, pin_memory=True) for _ in range(2)]
    host_out = [torch.empty(1, n, days, pin_memory=True) for _ in range(2)]
    for k in range(2):
        fill_runoff(there[k], base, k * days)
        host_in[k].copy_(there[k])
    expected, _ = router(there[1], state=router(there[0], return_state=True)[1], return_state=True)
    wanted = int(expected.contiguous().view(torch.int32).sum(dtype=torch.int64))
    del expected
    into, out, main = torch.cuda.Stream(), torch.cuda.Stream(), torch.cuda.current_stream()
    here = [torch.cuda.Event() for _ in range(2)]
    routed = [torch.cuda.Event() for _ in range(2)]
    fetched = [torch.cuda.Event() for _ in range(2)]

    def stream(copies: bool, blocks: int = n_blocks) -> Any:
        state: Any = None
        for b in range(blocks):
            k = b % 2
            if copies:
                with torch.cuda.stream(into):
                    into.wait_event(routed[k])
                    there[k].copy_(host_in[k], non_blocking=True)
                    here[k].record(into)
                main.wait_event(here[k])
                main.wait_event(fetched[k])
            discharge, state = router(there[k], state=state, return_state=True)
            routed[k].record(main)
            if copies:
                with torch.cuda.stream(out):
                    out.wait_event(routed[k])
                    host_out[k].copy_(discharge, non_blocking=True)
                    fetched[k].record(out)
                discharge.record_stream(out)
        return state

    stream(True, 2)
    synchronise()
    if int(host_out[1].view(torch.int32).sum(dtype=torch.int64)) != wanted:
        raise SystemExit("WRONG: discharge by way of the host differs")
    alone = min(timed(lambda: stream(False))[0] for _ in range(2))
    both = min(timed(lambda: stream(True))[0] for _ in range(2))
    gigabytes = 4e-9 * n * days * n_blocks
    row(f"{n_blocks * days:,} days routed on the device", alone)
    row("the same from and to the host", both, f"{gigabytes:,.0f} GB each way, {gigabytes / both:.0f} GB/s each way at once")
    row("what transfer would add to all days", (both - alone) * n_days / (n_blocks * days))


# ── what is asked for ───────────────────────────────────────────────────────────────────────────────────────────────────


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "--small" in (sys.argv[1:] if words is None else words)
    parser.add_argument("--reaches", type=int, default=20_000 if small else 6_840_000)
    parser.add_argument("--years", type=float, default=0.5 if small else 80, help="of 365.25 days")
    parser.add_argument("--substeps", type=int, default=24, help="routing steps a day")
    parser.add_argument("--block", type=int, help="days routed at a time; by default as many as fit")
    parser.add_argument("--plan", action="store_true", help="only make the network and plan it")
    parser.add_argument("--no-transfer", action="store_true", help="leave the years from and to the host out")
    parser.add_argument("--small", action="store_true", help="small sizes where none are given, to try it")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore", UserWarning)  # Muskingum's range: drawn parameters need not be ideal
    if not CUDA and not options.plan and options.reaches * options.years > 1e6:
        raise SystemExit("this needs a GPU: --plan and --small do not")
    n, n_days = options.reaches, round(365.25 * options.years)
    seconds, world = timed(lambda: make_world(n))
    device = f"{torch.cuda.get_device_name()}, torch {torch.__version__}" if CUDA else "CPU"
    sizes = world.basin_sizes
    print(f"{n:,} reaches in {sizes.size:,} basins, the largest of {sizes.max():,}, made up in {seconds:.0f} s")
    print(f"{n_days:,} days, {options.substeps} substeps, float32, muskingum; {device}\n")
    print("| what | seconds | |", "|---|---|---|", sep="\n")
    made, network, router = make_network(world, options.substeps, not options.plan)
    print(f"|  | | longest path {network.depth:,} reaches, memory of the process at most "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB |", flush=True)  # fmt: skip
    if router is None:
        return
    base = np.random.default_rng(1).uniform(1e-7, 3e-7, n).astype(np.float32)
    checks = Checks(network, world, base, n_days, options.substeps)
    block = options.block or block_days(n, n_days)
    there = torch.from_numpy(base).to(DEVICE)
    with torch.no_grad():
        parts = route_years(router, there, n_days, block, checks)
        row("all: network, plan, runoff, routing, statistics", made + parts["all"], f"target 60 s; blocks of {block} days")
        checks.compare()
        if CUDA and not options.no_transfer:
            torch.cuda.empty_cache()
            transfer_years(router, there, n_days, block)


if __name__ == "__main__":
    main()
