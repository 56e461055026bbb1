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

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from xroute.plan import RoutingPlan

__all__ = ["route_gpu"]

LANES = 512
"""Lanes of a program when a series is longer than that."""
LONG_LANES = 2048
"""The same for series that are long even then: fewer hand-overs from block to block."""

MEAN, LAST, START_MEAN = (tl.constexpr(k) for k in (0, 1, 2))
HEAD, INTERVAL, OUTLET = (tl.constexpr(k) for k in (0, 1, 2))


@triton.jit
def _compose(a1, b1, a2, b2):
    return a1 * a2, a2 * b1 + b2


@triton.jit
def _wait(flag, target):
    done = tl.atomic_add(flag, 0, sem="acquire")
    while done < target:
        done = tl.atomic_add(flag, 0, sem="acquire")


@triton.jit
def _tributaries(
    series, flags, link_pointer, link_row, link_segment, link_weight, place, row_base, stride, lane, mask, target,
    ACC: tl.constexpr,
):  # fmt: skip
    """Discharge that joins through links: awaited, then read past L1, which other multiprocessors do not update."""
    total = tl.zeros(lane.shape, ACC)
    for j in range(tl.load(link_pointer + place), tl.load(link_pointer + place + 1)):
        other = tl.load(link_segment + j)
        if other >= 0:
            _wait(flags + other, target)
        else:
            tl.debug_barrier()  # written by this very program, perhaps by another thread of it
        row = tl.load(link_row + j).to(tl.int64)
        value = tl.load(series + (row_base + row) * stride + lane, mask=mask, other=0.0, cache_modifier=".cg")
        total += tl.load(link_weight + j) * value.to(ACC)
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
    runoff, discharge, fine, coefficients, taps, history, history_next, outflow, scale,
    order, start, running_weight, kept, link_pointer, link_row, link_segment, link_weight, tap_pointer, flags, ticket,
    n_reaches, n_rows, T, n_segments, n_batch, n_kept, n_lags, first_block,
    TB: tl.constexpr, S: tl.constexpr, S2: tl.constexpr, K: tl.constexpr, POLE: tl.constexpr, SAMPLING: tl.constexpr,
    LATERAL: tl.constexpr, DIRECT: tl.constexpr, SCALED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    taken = tl.atomic_add(ticket, 1)
    block = first_block + taken // (n_segments * n_batch)
    rest = taken % (n_segments * n_batch)
    s = rest // n_batch
    b = (rest % n_batch).to(tl.int64)
    flags += b * n_segments
    first = tl.load(start + s)
    last = tl.load(start + s + 1)
    NL: tl.constexpr = TB * S2
    lane = tl.arange(0, NL)
    step = block * TB + lane // S2
    sub = lane % S2
    valid = (step < T) & (sub < S)
    n_here = tl.minimum(T - block * TB, TB)
    final = (n_here - 1) * S2 + S - 1  # the lane of the block's last routing step
    if block > 0:
        _wait(flags + s, block)  # its own state
    coarse = tl.arange(0, TB)
    coarse_step = block * TB + coarse
    q = tl.zeros((NL,), ACC)
    if DIRECT:
        series = discharge
        stride = T
        row_base = b * n_rows
        at = step
    else:
        series = fine
        stride = NL
        row_base = b * n_kept
        at = lane
    # the first reach's loads
    reach = tl.load(order + first).to(tl.int64)
    r_ahead = tl.load(runoff + (b * n_rows + reach) * T + step, mask=valid, other=0.0).to(ACC)
    joins_ahead = _tributaries(
        series, flags, link_pointer, link_row, link_segment, link_weight, first, row_base, stride, at, valid, block + 1, ACC
    )
    for i in range(first, last):
        here = reach
        r = r_ahead
        inflow = joins_ahead + tl.load(running_weight + i) * q
        if i + 1 < last:  # all that the next reach needs is on its way before this one's recurrence
            if tl.load(link_pointer + i + 2) > tl.load(link_pointer + i + 1):
                own = tl.load(link_segment + tl.load(link_pointer + i + 1))
            else:
                own = 0
            reach = tl.load(order + i + 1).to(tl.int64)
            r_ahead = tl.load(runoff + (b * n_rows + reach) * T + step, mask=valid, other=0.0).to(ACC)
            if own >= 0:
                joins_ahead = _tributaries(
                    series, flags, link_pointer, link_row, link_segment, link_weight, i + 1, row_base, stride, at, valid,
                    block + 1, ACC,
                )  # fmt: skip
        else:
            own = 0
        if SCALED:
            r *= tl.load(scale + here).to(ACC)
        if LATERAL == HEAD:
            inflow += r
        c0 = tl.load(coefficients + i * 4)
        y0 = tl.load(outflow + b * n_reaches + here, cache_modifier=".cg").to(ACC)
        if K <= 2:
            drive = c0 * inflow
            if K == 2:
                c1 = tl.load(coefficients + i * 4 + 1)
                lag0 = tl.load(history + b * n_lags + tl.load(tap_pointer + here) - here, cache_modifier=".cg").to(ACC)
                shifted, before = _back(inflow, 1, lane, S, S2)
                drive += c1 * tl.where(before > 0, lag0, shifted)
        else:
            tap = tl.load(tap_pointer + here)
            n_taps = tl.load(tap_pointer + here + 1) - tap
            lags = history + b * n_lags + tap - here
            drive = tl.zeros((NL,), ACC)
            for k in range(0, n_taps):
                shifted, before = _back(inflow, k, lane, S, S2)
                old = tl.load(lags + before - 1, mask=before > 0, other=0.0, cache_modifier=".cg").to(ACC)
                drive += tl.load(taps + tap + k) * tl.where(before > 0, old, shifted)
        if LATERAL == INTERVAL:
            drive += tl.load(coefficients + i * 4 + 3) * r
        if POLE:
            p = tl.load(coefficients + i * 4 + 2)
            live = sub < S
            drive = tl.where(lane == 0, drive + p * y0, drive)
            _, y = tl.associative_scan((tl.where(live, p, 1.0).to(ACC), tl.where(live, drive, 0.0)), 0, _compose)
        else:
            y = drive
        # the state at the end of the block
        tl.store(outflow + b * n_reaches + here + tl.zeros((NL,), tl.int32), y, mask=lane == final)
        if K == 2:
            lag_at = history + b * n_lags + tl.load(tap_pointer + here) - here
            tl.store(lag_at + tl.zeros((NL,), tl.int32), inflow, mask=lane == final)
        elif K > 2:
            step_back = (n_here * S) - ((lane // S2) * S + sub)  # 1 for the last routing step
            tl.store(
                history_next + b * n_lags + tap - here + step_back - 1, inflow, mask=valid & (step_back < n_taps)
            )
            for k in range(n_here * S, n_taps - 1, NL):  # lags older than the block
                older = k + lane
                keep = older < n_taps - 1
                value = tl.load(lags + older - n_here * S, mask=keep, other=0.0, cache_modifier=".cg")
                tl.store(history_next + b * n_lags + tap - here + older, value, mask=keep)
        # the sample
        if LATERAL == OUTLET:
            q = y + r
        else:
            q = y
        if S2 == 1 and SAMPLING != START_MEAN:
            tl.store(discharge + (b * n_rows + here) * T + step, q, mask=valid)
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
                    held = tl.load(
                        runoff + (b * n_rows + here) * T + coarse_step, mask=coarse_step < T, other=0.0
                    ).to(ACC)
                    if SCALED:
                        held *= tl.load(scale + here).to(ACC)
                    sample += held
            elif LATERAL == OUTLET:
                sample += r
            tl.store(discharge + (b * n_rows + here) * T + coarse_step, sample, mask=coarse_step < T)
        if not DIRECT:
            number = tl.load(kept + i).to(tl.int64)
            if number >= 0:
                tl.store(fine + (b * n_kept + number) * NL + lane, q)
        if own < 0:  # the next reach reads what this program wrote, perhaps just now
            joins_ahead = _tributaries(
                series, flags, link_pointer, link_row, link_segment, link_weight, i + 1, row_base, stride, at, valid,
                block + 1, ACC,
            )  # fmt: skip
    tl.debug_barrier()
    tl.atomic_xchg(flags + s, block + 1, sem="release")


@dataclass(frozen=True)
class _Index:
    """Index arrays of a plan on a device."""

    order: torch.Tensor
    start: torch.Tensor
    running_weight: torch.Tensor
    kept: torch.Tensor
    link_pointer: torch.Tensor
    link_place: torch.Tensor
    link_reach: torch.Tensor
    link_kept: torch.Tensor
    link_segment: torch.Tensor
    link_weight: torch.Tensor
    n_segments: int
    n_kept: int


def _index(plan: RoutingPlan, device: torch.device, dtype: torch.dtype) -> _Index:
    cache: dict[Any, _Index] = plan.__dict__.setdefault("_device_index", {})
    key = (str(device), dtype)
    if key not in cache:
        s = plan.segments

        def int32(array: Any) -> torch.Tensor:
            return torch.from_numpy(array.astype(np.int32)).to(device)

        def real(array: Any) -> torch.Tensor:
            return torch.from_numpy(array).to(device, dtype)

        cache[key] = _Index(
            int32(s.order), int32(s.start), real(s.running_weight), int32(s.kept), int32(s.link_pointer),
            int32(s.link_place), int32(s.order[s.link_place]), int32(s.kept[s.link_place]), int32(s.link_segment),
            real(s.link_weight), s.start.size - 1, s.n_kept,
        )  # fmt: skip
    return cache[key]


def route_gpu(
    runoff: torch.Tensor,
    plan: RoutingPlan,
    taps: torch.Tensor,
    pointer: np.ndarray[Any, Any],
    pole: torch.Tensor,
    gain: torch.Tensor,
    history: torch.Tensor,
    outflow: torch.Tensor,
    *,
    scale: torch.Tensor | None = None,
    substeps: int = 1,
    sampling: str = "mean",
    lateral: str = "head",
    lanes: int | None = None,
    num_warps: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Route runoff on a GPU.

    Parameters
    ----------
    runoff : [batch, reach, time]
        float16, bfloat16 or float32 (computed in float32), or float64.
    plan
        Plan of the network.
    taps : [sum of K], pointer : int64 [reach + 1], pole, gain : [reach]
        The filter; see `xroute.schemes.Filter`.
    history : [batch, sum of (K - 1)], outflow : [batch, reach]
        State at the start; not changed.
    scale : [reach], optional
        Factor on each reach's runoff.
    substeps, sampling, lateral
        As for `xroute.route`.
    lanes, num_warps
        Lanes and warps of a program, for tuning.

    Returns
    -------
    discharge : [batch, reach, time], in the type of ``runoff``
    history, outflow
        State at the end.
    """
    device, n_reaches = runoff.device, plan.n_reaches
    n_batch, n_rows, n_steps = runoff.shape
    acc = torch.float64 if runoff.dtype == torch.float64 else torch.float32
    runoff = runoff.contiguous()
    discharge = torch.empty_like(runoff)
    outflow = outflow.to(device, acc).clone()
    history = history.to(device, acc).clone()
    if not n_batch or not n_steps or not n_reaches:
        return discharge, history, outflow
    index = _index(plan, device, acc)
    n_taps = np.diff(pointer)
    longest = int(n_taps.max())
    taps64, pole64, gain64 = (t.detach().to(device, torch.float64) for t in (taps, pole, gain))
    at = torch.from_numpy(pointer).to(device)
    order = index.order.long()
    first = taps64[at[:-1]]
    second = torch.zeros_like(first)
    if longest >= 2:
        two = torch.from_numpy(n_taps >= 2).to(device)
        second = torch.where(two, taps64[torch.clamp(at[:-1] + 1, max=taps64.numel() - 1)], second)
    coefficients = torch.stack([first, second, pole64, gain64], dim=1)[order].to(acc).contiguous()
    kernel_taps = longest if longest <= 2 else 3
    if longest == 2 and int(n_taps.min()) < 2:
        kernel_taps = 3  # ragged: the lags of some reaches stand nowhere
    direct = substeps == 1 and sampling != "start-mean" and runoff.dtype == acc
    padded = triton.next_power_of_2(substeps)
    if lanes is None:
        lanes = LONG_LANES if direct and n_steps > 2 * LANES else LANES
    block = max(1, min(lanes // padded, triton.next_power_of_2(n_steps)))
    n_blocks = triton.cdiv(n_steps, block)
    if num_warps is None:
        num_warps = max(1, min(8, block * padded // 256))
    fine = torch.empty(
        (0 if direct else n_batch * index.n_kept * block * padded,), dtype=acc, device=device
    )
    flags = torch.zeros(n_batch * index.n_segments, dtype=torch.int32, device=device)
    tickets = torch.zeros(n_blocks, dtype=torch.int32, device=device)
    history_next = torch.empty_like(history) if kernel_taps > 2 else history
    tap_pointer = at.to(torch.int32)
    one_launch = direct and kernel_taps <= 2
    for first_block in range(1 if one_launch else n_blocks):
        grid = (index.n_segments * n_batch * (n_blocks if one_launch else 1),)
        _flow[grid](
            runoff, discharge, fine, coefficients, taps64.to(acc), history, history_next, outflow,
            runoff if scale is None else scale.to(device, acc),
            index.order, index.start, index.running_weight, index.kept, index.link_pointer,
            index.link_reach if direct else index.link_kept, index.link_segment, index.link_weight, tap_pointer,
            flags, tickets[first_block:], n_reaches, n_rows, n_steps, index.n_segments, n_batch, index.n_kept,
            history.shape[1], first_block,
            TB=block, S=substeps, S2=padded, K=kernel_taps, POLE=bool((pole64 != 0).any()),
            SAMPLING={"mean": 0, "last": 1, "start-mean": 2}[sampling],
            LATERAL={"head": 0, "interval": 1, "outlet": 2}[lateral],
            DIRECT=direct, SCALED=scale is not None,
            ACC=tl.float64 if acc == torch.float64 else tl.float32, num_warps=num_warps,
        )  # fmt: skip
        if kernel_taps > 2:
            history, history_next = history_next, history
    return discharge, history, outflow
