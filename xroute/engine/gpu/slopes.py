"""Hillslopes on a GPU: a window of each reach over its own runoff, in one pass over the memory.

No reach waits for another, so a warp takes a row of runoff, a tile of time after another. What a tile's taps look back to lies
before it in the same row, which is in the cache: the memory is read once. Sums begin with the newest runoff, in the
arithmetic's type.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl

from xroute.caches import keep
from xroute.engine.arrays import State
from xroute.engine.gpu.launch import real_type
from xroute.engine.gpu.memory import as_rows, padded

__all__ = ["DeviceSlopes", "route_slopes", "slopes_on"]

Tensor = torch.Tensor
TILE = 128
"""Steps of a tile: four a lane."""
TOGETHER = 8
"""Taps whose runoff is asked for before the first is waited for."""


class DeviceSlopes(NamedTuple):
    """Windows of all reaches on a device: those of a reach are ``taps[pointer[i]:pointer[i + 1]]``."""

    taps: Tensor
    pointer: Tensor


def slopes_on(filter: Any, device: torch.device, dtype: torch.dtype) -> DeviceSlopes:
    """A `xroute.schemes.Filter` of windows on a device, kept with it."""

    def move() -> DeviceSlopes:
        return DeviceSlopes(filter.taps.detach().to(device, dtype), torch.from_numpy(filter.pointer).to(device))

    return keep(filter, ("slopes", str(device), dtype), move, most=1)


@triton.jit
def _slope_steps(
    runoff, result, scale, taps, pointer, history, outflow, final_history, final_outflow, n, n_steps, pitch, result_pitch, n_lags,
    SCALED: tl.constexpr, GIVEN: tl.constexpr, KEEP: tl.constexpr, ACC: tl.constexpr, T: tl.constexpr, U: tl.constexpr,
):  # fmt: skip
    """A row: each step's runoff times the taps of its reach, and the state behind the last step."""
    row = tl.program_id(0).to(tl.int64)
    reach = row % n
    first = tl.load(pointer + reach)
    n_taps = (tl.load(pointer + reach + 1) - first).to(tl.int32)
    past = row // n * n_lags + first - reach
    source, target = runoff + row * pitch, result + row * result_pitch
    factor = tl.full((), 1.0, ACC)
    if SCALED:
        factor = tl.load(scale + reach)
    lane = tl.arange(0, T)
    for begin in range(0, n_steps, T):
        t = begin + lane
        total = tl.zeros((T,), ACC)
        for k in range(0, n_taps, U):
            for u in tl.static_range(U):
                at = t - (k + u)
                there = k + u < n_taps
                tap = tl.load(taps + first + k + u, mask=there, other=0.0) * factor
                value = tl.load(source + at, mask=(at >= 0) & (at < n_steps) & there, other=0.0).to(ACC)
                total += tap * value
        if GIVEN:
            if begin < n_taps - 1:
                for k in range(1, n_taps):
                    back = k - 1 - t  # lags behind the newest that is remembered
                    value = tl.load(history + past + back, mask=(back >= 0) & (back < n_taps - 1), other=0.0)
                    total += tl.load(taps + first + k) * value.to(ACC)
        tl.store(target + t, total, mask=t < n_steps)
        if KEEP:
            tl.store(final_outflow + row + 0 * t, total, mask=t == n_steps - 1)
    if KEEP:
        for begin in range(0, n_taps - 1, T):
            lag = begin + lane
            at = n_steps - 1 - lag
            value = tl.load(source + at, mask=(lag < n_taps - 1) & (at >= 0), other=0.0).to(ACC) * factor
            if GIVEN:
                older = (lag < n_taps - 1) & (at < 0)
                value = tl.where(at < 0, tl.load(history + past - 1 - at, mask=older, other=0.0).to(ACC), value)
            tl.store(final_history + past + lag, value, mask=lag < n_taps - 1)


def route_slopes(
    runoff: Tensor, slopes: DeviceSlopes, state: State | None, scale: Tensor | None = None, *, keep_state: bool = True
) -> tuple[Tensor, State | None]:
    """What hillslopes give of runoff [batch, reach, time], of its type; and their state at the end, in the arithmetic's, if kept.

    ``scale`` is a factor on each reach's runoff. The state given is not changed.
    """
    n_batch, n, n_steps = runoff.shape
    runoff, like = as_rows(runoff), slopes.taps
    result = padded(runoff.shape, runoff.dtype, runoff.device)
    n_lags = like.numel() - n
    start = None if state is None else State(*(array.to(like).contiguous() for array in state))
    if not runoff.numel():
        empty = State(like.new_zeros(n_batch, n_lags), like.new_zeros(n_batch, n)) if start is None else start
        return result, empty if keep_state else None
    end = State(like.new_empty(n_batch, n_lags), like.new_empty(n_batch, n)) if keep_state else State(like, like)
    history, outflow = State(like, like) if start is None else start
    with torch.cuda.device(runoff.device) if runoff.is_cuda else nullcontext():
        _slope_steps[(n_batch * n,)](
            runoff, result, like if scale is None else scale.to(like).contiguous(), like, slopes.pointer, history, outflow,
            *end, n, n_steps, runoff.stride(1), result.stride(1), n_lags,
            SCALED=scale is not None, GIVEN=start is not None, KEEP=keep_state, ACC=real_type(like.dtype), T=TILE,
            U=TOGETHER, num_warps=1,
        )  # fmt: skip
    return result, end if keep_state else None
