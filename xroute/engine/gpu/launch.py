"""The GPU engine: one Triton launch routes a network, discharge flowing from patch to patch.

A program is one warp. It takes a ticket and routes one patch (`engine.patches`) through the whole series, one reach a lane, time
in the registers of each: a recurrence costs two dependent operations a step, and a tributary is a shuffle away because the
reach below lags it by a group of steps. Runoff and discharge move as tiles, aligned to memory, at nearly the speed of a copy.

Series that join from other patches come through a mailbox (`xroute.engine.gpu.lanes`), read again until they are there. Waiting
cannot deadlock: tickets are handed out in the order of the patches, and a patch reads only patches that stand before it; so
whatever a program waits for was started before it, and by induction the oldest unfinished program waits for nothing.
Programs that have not started hold no ticket, so nobody can wait for them. Nothing is summed by atomics, so a run gives the
same bits each time.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from xroute.engine.gpu.adjoint import adjoint_steps, adjoint_substeps
from xroute.engine.gpu.arguments import (
    AdjointSeries,
    FilterArrays,
    Gradients,
    Mailbox,
    Mode,
    NetworkArrays,
    Series,
    StateArrays,
    Trace,
)
from xroute.engine.gpu.forward import route_steps, route_substeps
from xroute.engine.kernels import keep_triton_kernels
from xroute.engine.patches import LANES, Links
from xroute.engine.plan import RoutingPlan
from xroute.schemes import Filter

__all__ = [
    "DeviceFilter",
    "GpuOptions",
    "adjoint_gpu",
    "padded",
    "prepare_filter",
    "prepared",
    "route_gpu",
    "trace_numel",
]

keep_triton_kernels()  # before any is compiled

Tensor = torch.Tensor
LATERAL = {"head": 0, "interval": 1, "outlet": 2}
SAMPLING = {"mean": 0, "last": 1, "start-mean": 2}
LONG = 1024
"""Steps from which on a series is long: then its rows are read in whole sectors, at the price of more lag."""
MANY = 16
"""Members from which on there are always programs that need not wait, and larger groups pay too."""
TRACE_BYTES = 2**26, 2**33
TRACE_SHARE = 4
"""A run keeps a trace for its gradients if it takes no more than the first of these, or else than so many times the memory of
runoff and than the second; beyond, as with substeps, the adjoint routes again, block of time by block."""
MAILBOX_SHARE = 6
"""With substeps, one part in so many of the memory of runoff is spent on the mailbox: it sets how long a launch goes on."""


@dataclass(frozen=True)
class GpuOptions:
    """How a run is stepped, and with it which kernel runs, in groups of how many routing steps."""

    substeps: int = 1
    sampling: str = "mean"
    lateral: str = "head"

    @property
    def by_step(self) -> bool:
        """Whether a step of runoff is one routing step and its discharge that of the routing step."""
        return self.substeps == 1 and self.sampling != "start-mean"

    def group(self, n_taps: int, n_steps: int, n_batch: int = 1) -> int:
        """Routing steps of a group."""
        if self.by_step:
            return 8 if n_taps > 2 or n_steps >= LONG or n_batch >= MANY else 4
        return max(k for k in range(1, 9) if self.substeps % k == 0)

    @property
    def channels(self) -> int:
        """Series of each reach in a trace: inflow, with laterals over the interval runoff, and y where discharge is not y."""
        return 1 + (self.lateral == "interval") + (not self.by_step or self.lateral == "outlet")


# ── the network on a device ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class DeviceLinks:
    """Links between patches on a device: first link of each patch, records of row of the mailbox, lane and lag, weights."""

    start: Tensor  # int32 [patch + 1]
    record: Tensor  # int32 [link, 4]
    weight: Tensor
    n_sources: int


@dataclass(frozen=True)
class DevicePatches:
    """Patches on a device, in the types of the kernels."""

    down_places: Tensor  # int32 [6, place]: reach, lag, two children, row of the mailbox, spare
    up_places: (
        Tensor  # int32 [7, place]: reach, distance, parent, row of the mailbox, spare, lag, first row it is given
    )
    child_share: Tensor  # [2, place]
    parent_share: Tensor  # [2, place]: of the parent, of the first row it is given
    down: DeviceLinks
    up: DeviceLinks  # without the first of each place
    reach: Tensor  # int64 [place]
    place: Tensor  # int64 [reach]
    given: Tensor  # int64 [given reach]: row of the mailbox
    kept: Tensor  # int64 [kept reach]: row of the mailbox
    n_patches: int


def device_patches(plan: RoutingPlan, device: torch.device, dtype: torch.dtype) -> DevicePatches:
    """Patches of a plan on a device; made once and kept with the plan."""
    cache: dict[Any, DevicePatches] = plan.__dict__.setdefault("_device_patches", {})
    key = (str(device), dtype)
    if key not in cache:
        p = plan.patches

        def int32(*arrays: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.stack(arrays).astype(np.int32)).to(device)

        def real(array: NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(device, dtype)

        def links(of: Links, lag: NDArray[Any], chosen: NDArray[np.bool_]) -> DeviceLinks:
            source, target, weight = of.source[chosen], of.target[chosen], of.weight[chosen]
            start = np.searchsorted(target // LANES, np.arange(p.n_patches + 1))
            record = int32(of.number[source], target % LANES, lag[target], source).T.contiguous()
            return DeviceLinks(int32(start)[0], record, real(weight), of.n_sources)

        first = np.zeros(p.up.target.size, bool)
        first[np.unique(p.up.target, return_index=True)[1]] = True
        given_by, given_share = np.full(p.reach.size, -1), np.zeros(p.reach.size)
        given_by[p.up.target[first]] = p.up.number[p.up.source[first]]
        given_share[p.up.target[first]] = p.up.weight[first]
        place = np.zeros(plan.n_reaches, np.int64)
        place[p.reach[~p.spare]] = np.flatnonzero(~p.spare)
        cache[key] = DevicePatches(
            int32(p.reach, p.lag, *p.child, p.down.number[: p.reach.size], p.spare),
            int32(p.reach, p.distance, p.parent, p.up.number[: p.reach.size], p.spare, p.lag, given_by),
            real(p.child_weight), real(np.stack([p.parent_weight, given_share])),
            links(p.down, p.lag, np.ones(p.down.target.size, bool)), links(p.up, p.distance, ~first),
            torch.from_numpy(p.reach).to(device), torch.from_numpy(place).to(device),
            torch.from_numpy(p.down.number[p.reach.size :]).to(device),
            torch.from_numpy(p.down.number[place[plan.kept]]).to(device), p.n_patches,
        )  # fmt: skip
    return cache[key]


@dataclass(frozen=True)
class Windows:
    """Where the taps and the history of each place stand: what a filter's pointer says, on a device.

    Attributes
    ----------
    pointer
        Of the filter.
    longest
        Taps of the longest window.
    first, second : int64 [place]
        First and second tap of a place among all taps.
    single : bool [place]
        Whether it has no second tap.
    first_lag : int64 [2, place]
        Where the newest lag of a place stands in the flat history, and how many it has.
    tap_of_reach, with_second : int64
        First tap of each reach; reaches with a second one.
    groups : int32 [2 (patch + 1)]
        With longer windows, first group of taps of each patch, then how many groups it has.
    far, far_place : int64 [tap beyond the first two]
        With longer windows, which taps of all those are, and where they stand in the kernels' order.
    n_far, n_lags
        Length of the kernels' order, and of the flat history.
    """

    pointer: NDArray[np.int64]
    longest: int
    first: Tensor
    second: Tensor
    single: Tensor
    first_lag: Tensor
    tap_of_reach: Tensor
    with_second: Tensor
    groups: Tensor
    far: Tensor
    far_place: Tensor
    n_far: int
    n_lags: int


def windows_of(plan: RoutingPlan, pointer: NDArray[np.int64], device: torch.device, options: GpuOptions) -> Windows:
    """Windows of a plan's reaches on a device; the last few are kept with the plan, for filters made again and again."""
    group = options.group(3, 1)
    cache: list[Windows] = plan.__dict__.setdefault("_device_windows", {}).setdefault((str(device), group), [])
    for known in cache:
        same = known.pointer.ctypes.data == pointer.ctypes.data and known.pointer.size == pointer.size
        if same or np.array_equal(known.pointer, pointer):
            return known
    patches = plan.patches

    def move(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    counts = np.diff(pointer)
    longest = int(counts.max(initial=1))
    first, count = pointer[:-1][patches.reach], counts[patches.reach]
    none = np.zeros(1, np.int64)
    groups, far, far_place, n_far = none, none[:0], none[:0], 0
    if longest > 2:
        longest_of = np.where(patches.spare, 1, count).reshape(-1, LANES).max(axis=1)
        n_groups = np.where(longest_of > 1, -(-longest_of // group), 0)
        start = np.concatenate([[0], np.cumsum(n_groups)])
        groups, n_far = np.concatenate([start, n_groups]), int(start[-1]) * group * LANES
        owner = np.repeat(np.arange(counts.size), counts)
        k = np.arange(owner.size) - pointer[:-1][owner]
        far = np.flatnonzero(k >= 2)
        place = np.empty(counts.size, np.int64)
        place[patches.reach[~patches.spare]] = np.flatnonzero(~patches.spare)
        at = place[owner[far]]
        far_place = (start[at // LANES] * group + k[far]) * LANES + at % LANES
    second = np.minimum(first + 1, int(pointer[-1]) - 1)
    first_lag = np.stack([first - patches.reach, count - 1])
    made = Windows(
        pointer, longest, move(first), move(second), move(count < 2), move(first_lag), move(pointer[:-1]),
        move(np.flatnonzero(counts > 1)), move(groups.astype(np.int32)), move(far), move(far_place), n_far,
        int(pointer[-1]) - counts.size,
    )  # fmt: skip
    cache[:] = [made, *cache[:3]]
    return made


@dataclass(frozen=True)
class DeviceFilter:
    """A filter laid out for the kernels: made once, used for many blocks of time.

    Attributes
    ----------
    coefficients : [4, place]
        c0, c0 + c1, 1 - pole, gain.
    n_taps
        1, 2, or 3 for longer or ragged windows.
    has_pole
    taps : [group of taps, tap, lane]
        Taps beyond the first two, in the kernels' order.
    windows
    """

    coefficients: Tensor
    n_taps: int
    has_pole: bool
    taps: Tensor
    windows: Windows


def prepare_filter(
    plan: RoutingPlan,
    taps: Tensor,
    pointer: NDArray[np.int64],
    pole: Tensor,
    gain: Tensor,
    device: torch.device,
    dtype: torch.dtype,
    options: GpuOptions = GpuOptions(),  # noqa: B008 (frozen)
    has_pole: bool | None = None,
) -> DeviceFilter:
    """Lay a filter out for the kernels in arithmetic of ``dtype``; see `xroute.schemes.Filter` for what it takes.

    Whether there are poles is asked of the device, which has to be waited for, unless ``has_pole`` tells.
    """
    index, windows = device_patches(plan, device, dtype), windows_of(plan, pointer, device, options)
    taps, pole, gain = (t.detach().to(device, torch.float64) for t in (taps, pole, gain))
    c0 = taps[windows.first]
    c01 = c0
    if windows.longest > 1:
        c01 = c0 + taps[windows.second].masked_fill_(windows.single, 0.0)
    coefficients = torch.stack([c0, c01, 1 - pole[index.reach], gain[index.reach]]).to(dtype)
    far = coefficients.new_zeros(windows.n_far)
    if windows.n_far:
        far[windows.far_place] = taps[windows.far].to(dtype)
    if has_pole is None:
        has_pole = bool((pole != 0).any())
    return DeviceFilter(coefficients, min(windows.longest, 3), has_pole, far, windows)


def prepared(
    plan: RoutingPlan,
    filter: Filter,
    device: torch.device,
    dtype: torch.dtype,
    options: GpuOptions,
    *,
    poles: bool = False,
) -> DeviceFilter:
    """`prepare_filter` of a filter, kept with it; ``poles`` takes them for granted, to spare waiting for the device."""
    cache: dict[Any, tuple[RoutingPlan, DeviceFilter]] = filter.__dict__.setdefault("_prepared", {})
    key = str(device), dtype, options.group(3, 1), poles
    if key not in cache or cache[key][0] is not plan:
        has_pole = True if poles else None
        made = prepare_filter(
            plan, filter.taps, filter.pointer, filter.pole, filter.gain, device, dtype, options, has_pole=has_pole
        )
        cache[key] = plan, made
    return cache[key][1]


# ── forward ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def trace_numel(plan: RoutingPlan, runoff: Tensor, pointer: NDArray[np.int64], options: GpuOptions) -> int:
    """Elements of the trace that a run keeps for its gradients; 0 if it would be too large (`TRACE_BYTES`)."""
    n_batch, _, n_steps = runoff.shape
    n_taps = min(3, windows_of(plan, pointer, runoff.device, options).longest)
    size = n_batch * _trace_layout(plan, n_batch, n_steps, n_taps, options, runoff.device, runoff.dtype.itemsize)[1]
    return size if size * runoff.dtype.itemsize <= _most_trace(runoff) else 0


def _most_trace(runoff: Tensor) -> int:
    """Bytes that a trace may take."""
    least, most = TRACE_BYTES
    return max(least, min(most, TRACE_SHARE * runoff.numel() * runoff.dtype.itemsize))


def _tile(n_taps: int, itemsize: int) -> int:
    """Columns of a tile of the forward kernel."""
    return 16 if n_taps > 2 or itemsize > 4 else 32


def _trace_layout(
    plan: RoutingPlan, n_batch: int, n_steps: int, n_taps: int, options: GpuOptions, device: torch.device, itemsize: int
) -> tuple[Tensor, int]:
    """Where each patch's rows begin in a trace, and its size: all steps of the patch's program, each of which it writes."""
    cache: dict[Any, tuple[Tensor, int]] = plan.__dict__.setdefault("_device_traces", {})
    group = options.group(n_taps, n_steps, n_batch)
    tile = _tile(n_taps, itemsize) if options.by_step else 1
    key = n_steps, n_taps, group, tile, options, str(device)
    if key not in cache:
        steps = n_steps * options.substeps + plan.patches.depth * group
        size = -(-steps // tile) * tile * options.channels * LANES
        while len(cache) > 7:
            del cache[next(iter(cache))]
        cache[key] = torch.from_numpy(np.cumsum(size) - size).to(device), int(size.sum())
    return cache[key]


def padded(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Series whose rows begin at multiples of 8 elements: the kernels then write whole sectors of memory."""
    pitch = triton.cdiv(shape[2], 8) * 8
    return torch.empty((*shape[:2], pitch), dtype=dtype, device=device)[..., : shape[2]]


def _mailbox(n_batch: int, n_sources: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    word = torch.int64 if dtype == torch.float64 else torch.int32
    return torch.full((max(1, n_batch * n_sources * width),), -1, dtype=word, device=device)


def _put_given(mailbox: Tensor, given: Tensor | None, index: DevicePatches, n_batch: int, steps: slice) -> None:
    """Write series that are given into their rows of the mailbox, as if a patch had posted them."""
    if given is None or not index.given.numel():
        return
    part = given[..., steps].to(torch.float64 if mailbox.dtype == torch.int64 else torch.float32)
    part = torch.where(part.isnan(), torch.nan, part)  # whatever its bits, a NaN is not an empty word
    rows = mailbox.view(n_batch, index.down.n_sources, -1)
    rows[:, index.given, : part.shape[2]] = part.view(mailbox.dtype)


def _take_kept(mailbox: Tensor, kept: Tensor | None, index: DevicePatches, n_batch: int, steps: slice) -> None:
    if kept is None or not index.kept.numel():
        return
    real = mailbox.view(torch.float64 if mailbox.dtype == torch.int64 else torch.float32)
    rows = real.view(n_batch, index.down.n_sources, -1)[:, index.kept]
    kept[..., steps] = rows[..., : steps.stop - steps.start].to(kept.dtype)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor with its rows one after another, perhaps padded, and beginning at a sector of memory; a copy if need be.

    Its strides are true also where a dimension has one element, of which torch does not keep them so.
    """
    n_batch, n, n_steps = tensor.shape
    across_batch, across, along = tensor.stride()
    pitch = across if n > 1 else across_batch if n_batch > 1 else n_steps
    in_rows = (n_steps < 2 or along == 1) and pitch >= n_steps
    if not in_rows or (n > 1 and n_batch > 1 and across_batch != n * pitch) or tensor.data_ptr() % 32:
        tensor, pitch = tensor.clone(memory_format=torch.contiguous_format), n_steps
    return tensor.as_strided(tensor.shape, (n * pitch, pitch, 1))


def _padded_rows(tensor: Tensor) -> Tensor:
    """As `padded` makes them, with numbers in the padding; a copy if need be."""
    rows = _rows(tensor)
    if rows.stride(1) % 8 == 0:
        return rows
    whole = rows.new_zeros((*rows.shape[:2], triton.cdiv(rows.shape[2], 8) * 8))
    whole[..., : rows.shape[2]] = rows
    return whole[..., : rows.shape[2]]


def _real_type(dtype: torch.dtype) -> Any:
    return tl.float64 if dtype == torch.float64 else tl.float32


def _index_type(*sizes: int) -> Any:
    return tl.int64 if max(sizes) >= 2**30 else tl.int32


def _launch(kernel: Any, grid: int, series: Series | AdjointSeries, *arguments: Any, **options: Any) -> None:
    with torch.cuda.device(series[0].device) if series[0].is_cuda else nullcontext():
        kernel[(grid,)](series, *arguments, num_warps=1, **options)


def route_gpu(
    runoff: Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    history: Tensor | None = None,
    outflow: Tensor | None = None,
    *,
    options: GpuOptions = GpuOptions(),  # noqa: B008 (frozen)
    scale: Tensor | None = None,
    keep_state: bool = True,
    keep_trace: bool = False,
    given: Tensor | None = None,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Route runoff on a GPU.

    Parameters
    ----------
    runoff : [batch, reach, time]
        float16, bfloat16 or float32 (computed in float32), or float64.
    plan, filter
        Plan of the network, and its filter in the arithmetic's type, prepared for the same ``options``.
    history : [batch, sum of (K - 1)], outflow : [batch, reach]
        State at the start, not changed; None is dry.
    options
        Substeps, sampling, lateral mode.
    scale : [reach], optional
        Factor on each reach's runoff.
    keep_state, keep_trace
        Whether the final state is wanted, and the trace that `adjoint_gpu` takes.
    given, kept : [batch, n_given or kept, time x substeps]
        Discharge of the plan's given reaches, and where that of its kept ones is put, as it is passed on.

    Raises
    ------
    ValueError
        If a plan with given reaches gets no discharge of them: its programs would wait for it for ever.

    Returns
    -------
    discharge : [batch, reach, time]
        In the type of ``runoff``. Its rows are padded to multiples of 8 steps, so it is a view where time is none.
    history, outflow
        State at the end in the arithmetic's type, or None.
    trace
        Or None.
    """
    device, n = runoff.device, plan.n_reaches
    n_batch, _, n_steps = runoff.shape
    acc = filter.coefficients.dtype
    runoff = _rows(runoff)
    index = device_patches(plan, device, acc)
    if plan.n_given and given is None:
        raise ValueError(f"the plan has {plan.n_given} given reaches, but no discharge of them")
    discharge = padded(runoff.shape, runoff.dtype, device)
    none = filter.coefficients
    stateful = history is not None or outflow is not None

    old, y0 = none, none
    if stateful:
        old, y0 = _state_on(history, n_batch, filter.windows.n_lags, none), _state_on(outflow, n_batch, n, none)
    trace = starts = none
    n_trace = 0
    if keep_trace:
        starts, n_trace = _trace_layout(plan, n_batch, n_steps, filter.n_taps, options, device, acc.itemsize)
        trace = torch.empty(n_batch * n_trace, dtype=acc, device=device)
    if n_batch and n_steps and n:
        group = options.group(filter.n_taps, n_steps, n_batch)
        scaled = none if scale is None else scale.to(device, acc).contiguous()
        new, y1 = _new_state(n_batch, n, filter, device, keep_state)
        n_ring = filter.taps.numel() if filter.n_taps > 2 else 0
        ring = torch.empty(max(1, n_batch * n_ring), dtype=acc, device=device)
        series = Series(runoff, discharge, scaled)
        network = NetworkArrays(
            index.down_places, index.child_share, index.down.start, index.down.record, index.down.weight
        )
        arrays = FilterArrays(
            filter.coefficients, filter.windows.first_lag, filter.windows.groups, filter.taps, ring
        )
        sizes = runoff.stride(1), discharge.stride(1), index.n_patches, n_batch, index.down.n_sources
        more_sizes = n_ring, filter.windows.n_lags, n_trace
        mode = Mode(
            _real_type(acc), tl.int32, filter.n_taps, group, LATERAL[options.lateral], stateful, keep_state,
            has_pole=filter.has_pole, scaled=scale is not None, keep_trace=keep_trace,
        )  # fmt: skip
        if options.by_step:
            width = triton.cdiv(n_steps, group) * group
            mailbox = _mailbox(n_batch, index.down.n_sources, width, acc, device)
            _put_given(mailbox, given, index, n_batch, slice(0, n_steps))
            mode = mode._replace(
                index_type=_index_type(n_batch * runoff.stride(0), n_batch * discharge.stride(0), mailbox.numel()),
                log_columns=_tile(filter.n_taps, acc.itemsize).bit_length() - 1,
                aligned=runoff.stride(1) % 8 == 0 and group % 8 == 0,
                last=(n_steps - 1) % group,
            )
            _launch(
                route_steps, index.n_patches * n_batch, series, Mailbox(mailbox, _ticket(device)), network, arrays,
                StateArrays(y0, old), StateArrays(y1, new), Trace(trace, starts), n, n_steps, *sizes, width, *more_sizes,
                mode=mode, maxnreg=200,
            )  # fmt: skip
            _take_kept(mailbox, kept, index, n_batch, slice(0, n_steps))
        else:
            room = runoff.numel() * runoff.element_size() // MAILBOX_SHARE
            a_step = n_batch * index.down.n_sources * options.substeps * acc.itemsize
            block = n_steps if keep_trace else min(n_steps, max(1, room // max(1, a_step)))
            width = block * options.substeps
            mode = mode._replace(substeps=options.substeps, sampling=SAMPLING[options.sampling])
            mailbox = _mailbox(n_batch, index.down.n_sources, width, acc, device)
            for first in range(0, n_steps, block):
                last = min(first + block, n_steps)
                if first > 0:
                    mailbox.fill_(-1)
                fine = slice(first * options.substeps, last * options.substeps)
                _put_given(mailbox, given, index, n_batch, fine)
                out = keep_state or last < n_steps
                new, y1 = _new_state(n_batch, n, filter, device, out)
                mode = mode._replace(
                    index_type=_index_type(n_batch * runoff.stride(0), n_batch * discharge.stride(0), mailbox.numel()),
                    state_in=stateful or first > 0,
                    state_out=out,
                )
                _launch(
                    route_substeps, index.n_patches * n_batch, series, Mailbox(mailbox, _ticket(device)), network, arrays,
                    StateArrays(y0, old), StateArrays(y1, new), Trace(trace, starts), n, first, last - first, *sizes, width,
                    *more_sizes, mode=mode,
                )  # fmt: skip
                _take_kept(mailbox, kept, index, n_batch, fine)
                old, y0 = new, y1
        old, y0 = new, y1
    elif keep_state and stateful:  # nothing happens to the state, but it is another one
        old, y0 = old.clone(), y0.clone()
    elif keep_state:
        old, y0 = (torch.zeros((n_batch, k), dtype=acc, device=device) for k in (filter.windows.n_lags, n))
    kept = trace if keep_trace else None
    return (discharge, old, y0, kept) if keep_state else (discharge, None, None, kept)


def _state_on(given: Tensor | None, n_batch: int, size: int, like: Tensor) -> Tensor:
    """One of the two arrays of a state, in the arithmetic's type, on the device; zeros if it is not given."""
    return like.new_zeros(n_batch, size) if given is None else given.to(like).contiguous()


def _new_state(n_batch: int, n: int, filter: DeviceFilter, device: torch.device, wanted: bool) -> tuple[Tensor, Tensor]:
    if not wanted:
        return filter.coefficients, filter.coefficients
    acc = filter.coefficients.dtype
    new, y1 = (torch.empty((n_batch, k), dtype=acc, device=device) for k in (filter.windows.n_lags, n))
    return new, y1


def _ticket(device: torch.device) -> Tensor:
    return torch.zeros(1, dtype=torch.int32, device=device)


# ── adjoint ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def adjoint_gpu(
    grad_discharge: Tensor,
    grad_history: Tensor | None,
    grad_outflow: Tensor | None,
    runoff: Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    history: Tensor | None,
    outflow: Tensor | None,
    trace: Tensor | None,
    discharge: Tensor | None = None,
    *,
    options: GpuOptions = GpuOptions(),  # noqa: B008 (frozen)
    needs_runoff: bool = True,
    block: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of a loss with respect to all that `route_gpu` takes.

    Parameters
    ----------
    grad_discharge : [batch, reach, time]
    grad_history : [batch, sum of (K - 1)], grad_outflow : [batch, reach]
        Gradients with respect to the final state, both or neither.
    runoff, plan, filter, history, outflow, options
        As in the forward run.
    trace, discharge
        What the forward run kept, and returned; without a trace it is run again, ``block`` steps at a time from the last
        to the first.
    needs_runoff
        Whether the gradient of runoff is wanted.

    Returns
    -------
    grad_runoff : [batch, reach, time]
        Of the type of runoff; empty if it is not wanted.
    grad_taps : [sum of K], grad_pole, grad_gain : [reach]
        Summed over the batch, in float64.
    grad_history, grad_outflow
        With respect to the initial state, in the arithmetic's type.
    """
    n_batch, n, n_steps = runoff.shape
    acc = filter.coefficients.dtype
    grads: tuple[Tensor, Tensor] | None = None
    if grad_history is not None and grad_outflow is not None:
        grads = grad_history.to(acc).contiguous(), grad_outflow.to(acc).contiguous()
    sums = _FilterSums(filter, plan, runoff.device)
    if not (n_batch and n_steps and n):
        if grads is None:
            zeros = [filter.coefficients.new_zeros(n_batch, k) for k in (filter.windows.n_lags, n)]
            grads = zeros[0], zeros[1]
        grads = grads[0].clone(), grads[1].clone()  # operators must not return what they were given
        return runoff.new_zeros(runoff.shape if needs_runoff else 0), *sums.result(), *grads
    if trace is not None and discharge is not None:
        grad_runoff, grads = _adjoint_block(
            grad_discharge,
            grads,
            runoff,
            discharge,
            plan,
            filter,
            history,
            outflow,
            trace,
            options,
            needs_runoff,
            sums,
        )
        return grad_runoff, *sums.result(), *grads
    if block is None:
        a_step = n_batch * n * options.substeps * options.channels * acc.itemsize
        block = max(1, _most_trace(runoff) // (2 * a_step))  # the half: shallow lanes have some more
        block = max(8, block // 8 * 8) if options.by_step else block
    starts = list(range(0, n_steps, block))
    states: list[tuple[Tensor | None, Tensor | None]] = [(history, outflow)]
    for first in starts[:-1]:
        _, old, y, _ = route_gpu(runoff[..., first : first + block], plan, filter, *states[-1], options=options)
        assert old is not None and y is not None
        states.append((old, y))
    grad_runoff = runoff.new_empty(runoff.shape if needs_runoff else 0)
    for first in reversed(starts):
        part = slice(first, min(first + block, n_steps))
        here = runoff[..., part].contiguous()
        state = states.pop()
        q, _, _, kept = route_gpu(here, plan, filter, *state, options=options, keep_state=False, keep_trace=True)
        assert kept is not None
        grad, grads = _adjoint_block(
            grad_discharge[..., part], grads, here, q, plan, filter, *state, kept, options, needs_runoff, sums
        )
        if needs_runoff:
            grad_runoff[..., part] = grad
    assert grads is not None
    return grad_runoff, *sums.result(), *grads


class _FilterSums:
    """Gradient of the filter, gathered from blocks of time and from lanes."""

    def __init__(self, filter: DeviceFilter, plan: RoutingPlan, device: torch.device) -> None:
        self.place = device_patches(plan, device, filter.coefficients.dtype).place
        self.windows = filter.windows
        self.near: Tensor | None = None  # float64 [4, reach]: for the first two taps, pole, gain
        self.far: Tensor | None = None
        self.n_reaches = plan.n_reaches
        self.device = device

    def add(self, sums: Tensor, far: Tensor) -> None:
        """Add sums for the first two taps, pole and gain [batch, 4, place], and for the taps beyond [batch, tap]."""
        near = sums.sum(dim=0, dtype=torch.float64)[:, self.place]
        self.near = near if self.near is None else self.near + near
        if self.windows.longest > 2:
            beyond = far.sum(dim=0, dtype=torch.float64)
            self.far = beyond if self.far is None else self.far + beyond

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of taps, pole and gain."""
        w = self.windows
        n_taps = w.n_lags + self.n_reaches
        if self.near is None:
            self.near = torch.zeros((4, self.n_reaches), dtype=torch.float64, device=self.device)
        first, second, pole, gain = (row.clone() for row in self.near)  # operators must not return views of one tensor
        if w.longest <= 2:  # the sums are of differences: see `xroute.engine.gpu.adjoint`
            second += pole
            first += second if w.longest == 2 else pole
        if n_taps == w.longest * self.n_reaches and w.longest <= 2:  # as many taps on each reach: the usual case
            return (first if w.longest < 2 else torch.stack([first, second], dim=1).reshape(-1)), pole, gain
        taps = torch.zeros(n_taps, dtype=torch.float64, device=self.device)
        taps[w.tap_of_reach] = first
        taps[w.tap_of_reach[w.with_second] + 1] = second[w.with_second]
        if self.far is not None:
            taps[w.far] = self.far[w.far_place]
        return taps, pole, gain


def _adjoint_block(
    grad: Tensor,
    grads: tuple[Tensor, Tensor] | None,
    runoff: Tensor,
    discharge: Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    history: Tensor | None,
    outflow: Tensor | None,
    trace: Tensor,
    options: GpuOptions,
    needs_runoff: bool,
    sums: _FilterSums,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Adjoint of one run of the forward kernel: gradient of its runoff, and of its initial state."""
    device, acc = runoff.device, filter.coefficients.dtype
    n_batch, n, n_steps = runoff.shape
    index = device_patches(plan, device, acc)
    grad, discharge = _rows(grad.to(runoff.dtype)), _padded_rows(discharge)
    # without padding, which would cost who gathers gradients a copy
    grad_runoff = torch.empty(runoff.shape if needs_runoff else (1, 1, 0), dtype=runoff.dtype, device=device)
    sizes = filter.windows.n_lags, n
    before = tuple(torch.empty((n_batch, k), dtype=acc, device=device) for k in sizes)
    none = filter.coefficients
    given = grads is not None or not options.by_step
    if given and grads is None:
        grads = none.new_zeros(n_batch, sizes[0]), none.new_zeros(n_batch, n)
    stateful = history is not None or outflow is not None
    start = (none, none)
    if stateful:
        start = _state_on(history, n_batch, sizes[0], none), _state_on(outflow, n_batch, sizes[1], none)
    end = grads if grads is not None else (none, none)
    group = options.group(filter.n_taps, n_steps, n_batch)
    n_ring = filter.taps.numel() if filter.n_taps > 2 else 0
    ring, windows = (torch.empty((n_batch, max(1, n_ring)), dtype=acc, device=device) for _ in range(2))
    filter_sums = torch.empty((n_batch, 4, index.n_patches * LANES), dtype=acc, device=device)
    width = triton.cdiv(n_steps * options.substeps, group) * group
    mailbox = _mailbox(n_batch, index.up.n_sources, width, acc, device)
    trace_start, _ = _trace_layout(plan, n_batch, n_steps, filter.n_taps, options, device, acc.itemsize)
    mode = Mode(
        _real_type(acc), _index_type(n_batch * grad.stride(0), n_batch * discharge.stride(0), mailbox.numel()),
        filter.n_taps, group, LATERAL[options.lateral], stateful, given, runoff_gradient=needs_runoff,
    )  # fmt: skip
    arguments = (
        AdjointSeries(grad, grad_runoff, discharge), Mailbox(mailbox, _ticket(device)),
        NetworkArrays(index.up_places, index.parent_share, index.up.start, index.up.record, index.up.weight),
        FilterArrays(filter.coefficients, filter.windows.first_lag, filter.windows.groups, filter.taps, ring),
        StateArrays(start[1], start[0]),
        Gradients(StateArrays(end[1], end[0]), StateArrays(before[1], before[0]), filter_sums, windows),
        Trace(trace, trace_start), n, n_steps, grad.stride(1), grad_runoff.stride(1), discharge.stride(1),
        index.n_patches, n_batch, index.up.n_sources, width, n_ring, filter.windows.n_lags, trace.numel() // n_batch,
    )  # fmt: skip
    grid = index.n_patches * n_batch
    if options.by_step:
        mode = mode._replace(
            log_columns=3 if acc.itemsize > 4 else 4,
            aligned=grad.stride(1) % 8 == 0 and group % 8 == 0,
            aligned_result=n_steps % 4 == 0,
        )
        _launch(adjoint_steps, grid, *arguments, mode=mode)
    else:
        mode = mode._replace(substeps=options.substeps, sampling=SAMPLING[options.sampling])
        _launch(adjoint_substeps, grid, *arguments, mode=mode)
    sums.add(filter_sums, windows)
    return grad_runoff if needs_runoff else grad_runoff.new_empty(0), (before[0], before[1])
