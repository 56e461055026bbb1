"""The GPU engine, forward: one Triton launch routes a network, data flowing from segment to segment.

Each program takes a ticket and routes one segment (a chain or a small subtree of reaches) over one block of time, with
time across lanes. What it needs of other segments it awaits on their flags. Waiting cannot deadlock: tickets are handed
out in the order (block of time, segment), a segment reads only segments that stand before it, and its own state comes
of the block before; so whatever a program waits for was started before it, and by induction the oldest unfinished
program waits for nothing. Programs that have not started hold no ticket, so nobody can wait for them.

Along a segment the discharge of the reach just routed stays in registers. Series that other places read come back
through `discharge` itself, when that holds the routing steps exactly, or else through `fine`, a store of those series
for one block of time; then each block is a launch of its own. Nothing grows with the number of substeps.

Lanes are [step, substep], substeps padded to a power of two; the padded lanes pass the recurrence through.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from xroute.plan import RoutingPlan

__all__ = ["DeviceFilter", "prepare_filter", "route_gpu"]

LANES = 512
"""Lanes of a program when a series is longer than that."""
LONG_LANES = 1024
"""The same for series that are long even then: fewer hand-overs from block to block."""

MEAN, LAST, START_MEAN = (tl.constexpr(k) for k in (0, 1, 2))
HEAD, INTERVAL, OUTLET = (tl.constexpr(k) for k in (0, 1, 2))


INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


@triton.jit
def _compose(a1, b1, a2, b2):
    return a1 * a2, a2 * b1 + b2


@triton.jit
def _finished(flag):
    """Blocks of time that a segment has finished; what it wrote in them can be read after this."""
    if INTERPRETED:
        return tl.atomic_add(flag, 0, sem="acquire")
    # every thread acquires for itself: an atomic would be one thread's, with a barrier to tell the others
    return tl.inline_asm_elementwise(
        "ld.acquire.gpu.global.b32 $0, [$1];", "=r,l", [flag.to(tl.uint64)], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit
def _wait(flag, target):
    done = _finished(flag)
    while done < target:
        done = _finished(flag)


@triton.jit
def _record(places, weights, coefficients, place):
    """What a place needs but its series: links, weights and coefficients (see `_Index` and `DeviceFilter`)."""
    at = places + place * 8
    return (
        tl.load(at + 1), tl.load(at + 2), tl.load(at + 3), tl.load(at + 4), tl.load(at + 6),
        tl.load(weights + place * 2), tl.load(weights + place * 2 + 1),
        tl.load(coefficients + place * 4), tl.load(coefficients + place * 4 + 1), tl.load(coefficients + place * 4 + 2),
    )  # fmt: skip


@triton.jit
def _row(runoff, reach, step, valid, T, exists):
    """Runoff of a reach, if it exists; nothing uses it yet, so nothing waits for it."""
    return tl.load(runoff + reach.to(tl.int64) * T + step, mask=valid & (step >= tl.where(exists, 0, T)), other=0.0)


@triton.jit
def _first_join(series, flags, row, other, own, stride, at, mask, target):
    """Series that joins through a place's first link, unless it is of the own segment; not used yet either."""
    none = 2147483647
    if own == 0:
        if other >= 0:
            _wait(flags + other, target)
            none = 0
    # past L1, which is not told of what other multiprocessors write
    return tl.load(series + row.to(tl.int64) * stride + at, mask=mask & (at >= none), other=0.0, cache_modifier=".cg")


@triton.jit
def _other_joins(series, flags, links, link_weight, first, last, stride, at, mask, target, ACC: tl.constexpr):
    """Sum of the series that join through links ``first`` to ``last``."""
    total = tl.zeros(at.shape, ACC)
    for j in range(first, last):
        row = tl.load(links + j * 2).to(tl.int64)
        other = tl.load(links + j * 2 + 1)
        weight = tl.load(link_weight + j)
        if other >= 0:
            _wait(flags + other, target)
        value = tl.load(series + row * stride + at, mask=mask, other=0.0, cache_modifier=".cg")
        total += weight * value.to(ACC)
    return total


@triton.jit
def _back(x, k, lane, S: tl.constexpr, S2: tl.constexpr):
    """``x`` of ``k`` routing steps earlier, and how many steps before the block's start that was (0 or less: inside)."""
    fine = lane - k if S2 == 1 else (lane // S2) * S + lane % S2 - k
    inside = tl.maximum(fine, 0)
    at = inside if S2 == 1 else tl.minimum((inside // S) * S2 + inside % S, lane.shape[0] - 1)
    return tl.gather(x, at, 0), -fine


@triton.jit
def _flow(
    runoff, discharge, fine, coefficients, taps, history, history_next, state, scale,
    start, places, weights, links, link_weight, flags, ticket,
    n_reaches, T, n_segments, n_batch, n_kept, n_lags, first_block,
    TB: tl.constexpr, S: tl.constexpr, S2: tl.constexpr, K: tl.constexpr, POLE: tl.constexpr, SAMPLING: tl.constexpr,
    LATERAL: tl.constexpr, DIRECT: tl.constexpr, SCALED: tl.constexpr, STATE_IN: tl.constexpr, STATE_OUT: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    taken = tl.atomic_add(ticket, 1)
    block = first_block + taken // (n_segments * n_batch)
    rest = taken % (n_segments * n_batch)
    s = rest // n_batch
    b = (rest % n_batch).to(tl.int64)
    flags += b * n_segments
    state += b * n_reaches * 2
    runoff += b * n_reaches * T
    discharge += b * n_reaches * T
    first = tl.load(start + s)
    last = tl.load(start + s + 1)
    NL: tl.constexpr = TB * S2
    lane = tl.arange(0, NL)
    step = block * TB + lane // S2
    sub = lane % S2
    valid = step < T
    if S != S2:
        valid = valid & (sub < S)
    n_here = tl.minimum(T - block * TB, TB)
    final = (n_here - 1) * S2 + S - 1  # the lane of the block's last routing step
    if block > first_block:
        _wait(flags + s, block)  # its own state; launches follow one another by themselves
    coarse_step = block * TB + tl.arange(0, TB)
    if DIRECT:
        series = discharge
        stride = T
        at = step
    else:
        series = fine + b * n_kept * NL
        stride = NL
        at = lane
    # Loads run ahead of their use: runoff by two places and records by as many, for each would cost a trip to memory on
    # the longest path. Joins run ahead by one; those of the own segment are written only just before they are read.
    end = last - 1
    reach = tl.load(places + first * 8)
    reach1 = tl.load(places + tl.minimum(first + 1, end) * 8)
    reach2 = tl.load(places + tl.minimum(first + 2, end) * 8)
    r0 = _row(runoff, reach, step, valid, T, first <= end)
    r1 = _row(runoff, reach1, step, valid, T, first + 1 <= end)
    link_from, link_to, row, other, own, along, across, c0, c1, p = _record(places, weights, coefficients, first)
    from1, to1, row1, other1, own1, along1, across1, c01, c11, p1 = _record(
        places, weights, coefficients, tl.minimum(first + 1, end)
    )
    join = _first_join(series, flags, row, other, own, stride, at, valid, block + 1)
    q = tl.zeros((NL,), ACC)
    for i in range(first, last):
        here = reach.to(tl.int64)
        r = r0.to(ACC)
        inflow = across * join.to(ACC) + along * q
        if link_from + 1 - own < link_to:
            inflow += _other_joins(
                series, flags, links, link_weight, link_from + 1 - own, link_to, stride, at, valid, block + 1, ACC
            )
        reach = reach1
        reach1 = reach2
        r0 = r1
        r1 = _row(runoff, reach2, step, valid, T, i + 2 <= end)
        reach2 = tl.load(places + tl.minimum(i + 3, end) * 8)
        k0 = c0
        k1 = c1
        pole_here = p
        link_from, link_to, own, along, across, c0, c1, p = from1, to1, own1, along1, across1, c01, c11, p1
        if i < end:
            join = _first_join(series, flags, row1, other1, own1, stride, at, valid, block + 1)
        from1, to1, row1, other1, own1, along1, across1, c01, c11, p1 = _record(
            places, weights, coefficients, tl.minimum(i + 2, end)
        )
        if STATE_IN:
            y0 = tl.load(state + i * 2, cache_modifier=".cg")
            lag0 = tl.load(state + i * 2 + 1, cache_modifier=".cg")
        else:
            y0 = tl.zeros((), ACC)
            lag0 = y0
        if SCALED:
            r *= tl.load(scale + i)
        if LATERAL == HEAD:
            inflow += r
        if K <= 2:
            drive = k0 * inflow
            if K == 2:
                shifted, before = _back(inflow, 1, lane, S, S2)
                drive += k1 * tl.where(before > 0, lag0, shifted)
        else:
            tap = tl.load(taps + i * 2).to(tl.int64)
            n_taps = tl.load(taps + i * 2 + 1)
            lags = history + b * n_lags + tap - here
            drive = tl.zeros((NL,), ACC)
            for k in range(0, n_taps):
                shifted, before = _back(inflow, k, lane, S, S2)
                old = tl.load(lags + before - 1, mask=before > 0, other=0.0, cache_modifier=".cg")
                drive += tl.load(coefficients + n_reaches * 4 + tap + k) * tl.where(before > 0, old, shifted)
        if LATERAL == INTERVAL:
            drive += tl.load(coefficients + i * 4 + 3) * r
        if POLE:
            drive = tl.where(lane == 0, drive + pole_here * y0, drive)
            pole = tl.zeros((NL,), ACC) + pole_here
            if S != S2:
                pole = tl.where(sub < S, pole, 1.0)
                drive = tl.where(sub < S, drive, 0.0)
            _, y = tl.associative_scan((pole, drive), 0, _compose)
        else:
            y = drive
        if STATE_OUT:
            ends = tl.zeros((NL,), tl.int32)
            tl.store(state + i * 2 + ends, y, mask=lane == final)
            if K == 2:
                tl.store(state + i * 2 + 1 + ends, inflow, mask=lane == final)
        if K > 2:
            step_back = n_here * S - ((lane // S2) * S + sub)  # 1 for the last routing step
            to = history_next + b * n_lags + tap - here
            tl.store(to + step_back - 1, inflow, mask=valid & (step_back < n_taps))
            for k in range(n_here * S, n_taps - 1, NL):  # lags older than the block
                older = k + lane
                keep = older < n_taps - 1
                value = tl.load(lags + older - n_here * S, mask=keep, other=0.0, cache_modifier=".cg")
                tl.store(to + older, value, mask=keep)
        if LATERAL == OUTLET:
            q = y + r
        else:
            q = y
        if S2 == 1 and SAMPLING != START_MEAN:
            tl.store(discharge + here * T + step, q, mask=valid)
        else:
            if SAMPLING == START_MEAN:
                shifted, before = _back(y, 1, lane, S, S2)
                sample = tl.where(before > 0, y0, shifted)
            else:
                sample = y
            if SAMPLING == LAST:
                sample = tl.where(sub == S - 1, sample, 0.0)
            else:
                sample = tl.where(sub < S, sample, 0.0) / S
            if S2 > 1:
                sample = tl.sum(tl.reshape(sample, (TB, S2)), axis=1)
                if LATERAL == OUTLET:
                    held = tl.load(runoff + here * T + coarse_step, mask=coarse_step < T, other=0.0).to(ACC)
                    if SCALED:
                        held *= tl.load(scale + i)
                    sample += held
            elif LATERAL == OUTLET:
                sample += r
            tl.store(discharge + here * T + coarse_step, sample, mask=coarse_step < T)
        if not DIRECT:
            number = tl.load(places + i * 8 + 5).to(tl.int64)
            if number >= 0:
                tl.store(series + number * NL + lane, q)
        if own != 0:  # the next reach reads what this program wrote, perhaps by another thread
            tl.debug_barrier()
    tl.debug_barrier()
    tl.atomic_xchg(flags + s, block + 1, sem="release")


@dataclass(frozen=True)
class _Index:
    """Index arrays of a plan on a device."""

    order: torch.Tensor  # int64 [place]: the reach at each place
    start: torch.Tensor  # [segment + 1]
    places: torch.Tensor  # [place, 8]: the record that the kernel describes
    kept_places: torch.Tensor  # the same with numbers among the kept
    weights: torch.Tensor  # [place, 2]: of the place before, of the first link
    links: torch.Tensor  # [link, 2]: the reach it comes from, its segment (-1: the own one)
    kept_links: torch.Tensor  # the same with its number among the kept
    link_weight: torch.Tensor
    n_segments: int
    n_kept: int


def _index(plan: RoutingPlan, device: torch.device, dtype: torch.dtype) -> _Index:
    cache: dict[Any, _Index] = plan.__dict__.setdefault("_device_index", {})
    key = (str(device), dtype)
    if key not in cache:
        s = plan.segments
        n = s.order.size
        n_links = np.diff(s.link_pointer)
        has_link = n_links > 0
        first_link = np.minimum(s.link_pointer[:-1], max(s.link_place.size - 1, 0))
        reads_own = np.zeros(n, np.int64)
        reads_own[np.repeat(np.arange(n), n_links)[s.link_segment < 0]] = 1
        places = np.zeros((n, 8), np.int64)
        places[:, 0], places[:, 1], places[:, 2] = s.order, s.link_pointer[:-1], s.link_pointer[1:]
        places[:, 4], places[:, 5], places[:, 6] = -1, s.kept, reads_own
        weights = np.stack([s.running_weight, np.zeros(n)], axis=1)
        kept_places = places.copy()
        if s.link_place.size:
            places[has_link, 3] = s.order[s.link_place[first_link[has_link]]]
            kept_places[has_link, 3] = s.kept[s.link_place[first_link[has_link]]]
            for p in (places, kept_places):
                p[has_link, 4] = s.link_segment[first_link[has_link]]
            weights[has_link, 1] = s.link_weight[first_link[has_link]]

        def int32(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array.astype(np.int32)).to(device)

        def real(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(device, dtype)

        cache[key] = _Index(
            torch.from_numpy(s.order).to(device), int32(s.start), int32(places), int32(kept_places), real(weights),
            int32(np.stack([s.order[s.link_place], s.link_segment], axis=1)),
            int32(np.stack([s.kept[s.link_place], s.link_segment], axis=1)), real(s.link_weight),
            s.start.size - 1, s.n_kept,
        )  # fmt: skip
    return cache[key]


@dataclass(frozen=True)
class DeviceFilter:
    """A filter laid out for the kernel: made once, used for many blocks.

    Attributes
    ----------
    coefficients
        First two taps, pole and gain of each place, then all taps if windows are longer. [4 place (+ sum of K)]
    taps : int32 [place, 2]
        Where a place's taps start among all, and how many there are.
    first_lag : int64 [place]
        Where a place's newest lag stands in the flat history; clamped where it has none.
    has_lag : bool [place]
    n_taps
        1, 2, or 3 for longer or ragged windows.
    has_pole
    n_lags
        Length of the flat history.
    """

    coefficients: torch.Tensor
    taps: torch.Tensor
    first_lag: torch.Tensor
    has_lag: torch.Tensor
    n_taps: int
    has_pole: bool
    n_lags: int


def prepare_filter(
    plan: RoutingPlan,
    taps: torch.Tensor,
    pointer: NDArray[np.int64],
    pole: torch.Tensor,
    gain: torch.Tensor,
    device: torch.device,
    dtype: torch.dtype,
) -> DeviceFilter:
    """Lay a filter out for the kernel; see `xroute.schemes.Filter` for what it takes."""
    index = _index(plan, device, dtype)
    counts = np.diff(pointer)
    longest = int(counts.max(initial=1))
    n = counts.size
    at = torch.from_numpy(pointer).to(device)
    taps, pole, gain = (t.detach().to(device, torch.float64) for t in (taps, pole, gain))
    count = torch.diff(at)[index.order]
    first = at[:-1][index.order]
    second = torch.where(count > 1, taps[torch.clamp(first + 1, max=taps.numel() - 1)], 0.0)
    record = torch.stack([taps[first], second, pole[index.order], gain[index.order]], dim=1).to(dtype)
    kernel_taps = min(longest, 3)
    n_lags = int(pointer[-1]) - n
    return DeviceFilter(
        torch.cat([record.reshape(-1), taps.to(dtype)]) if kernel_taps > 2 else record.reshape(-1),
        torch.stack([first, count], dim=1).to(torch.int32),
        torch.clamp(first - index.order, max=max(n_lags - 1, 0)), count > 1,
        kernel_taps, bool((pole != 0).any()), n_lags,
    )  # fmt: skip


def route_gpu(
    runoff: torch.Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    history: torch.Tensor | None = None,
    outflow: torch.Tensor | None = None,
    *,
    scale: torch.Tensor | None = None,
    substeps: int = 1,
    sampling: str = "mean",
    lateral: str = "head",
    keep_state: bool = True,
    lanes: int | None = None,
    num_warps: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Route runoff on a GPU.

    Parameters
    ----------
    runoff : [batch, reach, time]
        float16, bfloat16 or float32 (computed in float32), or float64.
    plan, filter
        Plan of the network, and its filter in the arithmetic's type (`prepare_filter`).
    history : [batch, sum of (K - 1)], outflow : [batch, reach]
        State at the start, not changed; None is dry.
    scale : [reach], optional
        Factor on each reach's runoff.
    substeps, sampling, lateral
        As for `xroute.route`.
    keep_state
        Whether the final state is wanted.
    lanes, num_warps
        Lanes and warps of a program, for tuning.

    Returns
    -------
    discharge : [batch, reach, time]
        In the type of ``runoff``.
    history, outflow
        State at the end, or None.
    """
    device, n = runoff.device, plan.n_reaches
    n_batch, _, n_steps = runoff.shape
    acc = filter.coefficients.dtype
    runoff = runoff.contiguous()
    discharge = torch.empty_like(runoff)
    index = _index(plan, device, acc)
    direct = substeps == 1 and sampling != "start-mean" and runoff.dtype == acc
    padded = triton.next_power_of_2(substeps)
    if lanes is None:
        lanes = LONG_LANES if direct and n_steps > 2 * LANES else LANES
    block = max(1, min(lanes // padded, triton.next_power_of_2(max(n_steps, 1))))
    n_blocks = triton.cdiv(n_steps, block)
    state_in = history is not None or outflow is not None or n_blocks > 1
    state_out = keep_state or n_blocks > 1
    state = torch.zeros((n_batch, n, 2) if state_in or state_out else (0,), dtype=acc, device=device)
    if outflow is not None:
        state[..., 0] = outflow.to(device, acc)[:, index.order]
    old = (
        torch.zeros((n_batch, filter.n_lags), dtype=acc, device=device)
        if filter.n_lags and state_in | state_out
        else state
    )
    if history is not None and filter.n_lags:
        old = history.to(device, acc).clone()
        state[..., 1] = torch.where(filter.has_lag, old[:, filter.first_lag], 0.0)
    if n_batch and n_steps and n:
        fine = torch.empty(0 if direct else n_batch * index.n_kept * block * padded, dtype=acc, device=device)
        flags = torch.zeros(n_batch * index.n_segments, dtype=torch.int32, device=device)
        tickets = torch.zeros(n_blocks, dtype=torch.int32, device=device)
        if filter.n_taps > 2 and not old.numel():
            old = torch.zeros((n_batch, filter.n_lags), dtype=acc, device=device)
        new = torch.empty_like(old) if filter.n_taps > 2 else old
        one_launch = direct and filter.n_taps <= 2
        for first_block in range(1 if one_launch else n_blocks):
            _flow[(index.n_segments * n_batch * (n_blocks if one_launch else 1),)](
                runoff, discharge, fine, filter.coefficients, filter.taps, old, new, state,
                runoff if scale is None else scale.to(device, acc)[index.order].contiguous(),
                index.start, index.places if direct else index.kept_places, index.weights,
                index.links if direct else index.kept_links, index.link_weight, flags, tickets[first_block:], n, n_steps,
                index.n_segments, n_batch, index.n_kept, filter.n_lags, first_block,
                TB=block, S=substeps, S2=padded, K=filter.n_taps, POLE=filter.has_pole,
                SAMPLING={"mean": 0, "last": 1, "start-mean": 2}[sampling],
                LATERAL={"head": 0, "interval": 1, "outlet": 2}[lateral],
                DIRECT=direct, SCALED=scale is not None, STATE_IN=state_in, STATE_OUT=state_out,
                ACC=tl.float64 if acc == torch.float64 else tl.float32,
                num_warps=num_warps or max(1, min(8, block * padded // 256)),
            )  # fmt: skip
            if filter.n_taps > 2:
                old, new = new, old
    if not keep_state:
        return discharge, None, None
    last = torch.empty((n_batch, n), dtype=acc, device=device)
    last[:, index.order] = state[..., 0]
    if filter.n_taps == 2:
        old[:, filter.first_lag[filter.has_lag]] = state[..., 1][:, filter.has_lag]
    return discharge, old if filter.n_lags else state.new_zeros((n_batch, 0)), last
