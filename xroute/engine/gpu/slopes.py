"""Hillslopes on a GPU, forward and adjoint: what launches the kernels of `xroute.engine.gpu.slope_kernels`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.caches import keep, keep_fitting
from xroute.engine.arrays import FilterArrays, Needs, SlopeGradients, State
from xroute.engine.gpu.dispatch import launch
from xroute.engine.gpu.layout import real_type
from xroute.engine.gpu.memory import as_rows, padded
from xroute.engine.gpu.slope_kernels import slope_runoff_gradients, slope_steps, slope_tap_gradients
from xroute.engine.slopes import plan_without_links

__all__ = ["DeviceSlopes", "adjoint_slopes", "device_slopes", "route_slopes", "slopes_on"]

Tensor = torch.Tensor
BLOCK = 8
"""Steps of a block of the kernels."""


class DeviceSlopes(NamedTuple):
    """Windows of all reaches on a device: those of a reach are ``taps[pointer[i]:pointer[i + 1]]``."""

    taps: Tensor
    pointer: Tensor


def slopes_on(filter: Any, device: torch.device, dtype: torch.dtype) -> DeviceSlopes:
    """A `xroute.schemes.Filter` of windows on a device, kept with it."""

    def move() -> DeviceSlopes:
        return DeviceSlopes(filter.taps.detach().to(device, dtype), torch.from_numpy(filter.pointer).to(device))

    return keep(filter, ("slopes", str(device), dtype), move, most=1)


def device_slopes(filter: FilterArrays, dtype: torch.dtype) -> DeviceSlopes:
    """Windows whose taps are on a device already and their pointer, an array, is not; the last few of these are kept there."""
    pointer, device = filter.pointer, filter.taps.device

    def fits(made: tuple[NDArray[np.int64], Tensor]) -> bool:
        same = made[0].ctypes.data == pointer.ctypes.data and made[0].size == pointer.size
        return same or np.array_equal(made[0], pointer)

    there = keep_fitting(
        plan_without_links(pointer.size - 1), f"slope pointer {device}", fits,
        lambda: (pointer, torch.from_numpy(pointer).to(device)),
    )[1]  # fmt: skip
    return DeviceSlopes(filter.taps.to(dtype).contiguous(), there)


def route_slopes(
    runoff: Tensor, slopes: DeviceSlopes, state: State | None, scale: Tensor | None = None, *, keep_state: bool = True
) -> tuple[Tensor, State | None]:
    """What hillslopes give of runoff [batch, reach, time], of its type; and their state at the end, in the arithmetic's, if kept.

    ``scale`` is a factor on each reach's runoff. The state given is not changed.
    """
    n_batch, n, n_steps = runoff.shape
    runoff, like = as_rows(runoff), slopes.taps
    result = padded(runoff.shape, runoff.dtype, runoff.device)
    n_lags, start = like.numel() - n, _state_like(state, like)
    if not runoff.numel():
        empty = State(like.new_zeros(n_batch, n_lags), like.new_zeros(n_batch, n)) if start is None else start
        return result, State(*(t.clone() for t in empty)) if keep_state else None
    end = State(like.new_empty(n_batch, n_lags), like.new_empty(n_batch, n)) if keep_state else State(like, like)
    _launch(
        slope_steps, runoff, result, like if scale is None else scale.to(like).contiguous(), *slopes,
        like if start is None else start.history, *end, n, n_steps, runoff.stride(1), result.stride(1), n_lags,
        scale is not None, start is not None, keep_state, aligned=runoff, like=like,
    )  # fmt: skip
    return result, end if keep_state else None


def adjoint_slopes(
    grad: Tensor, grad_state: State | None, runoff: Tensor, slopes: DeviceSlopes, state: State | None, needs: Needs
) -> SlopeGradients:
    """Gradients of a loss with respect to all that `route_slopes` takes but the scale, in the types of runoff and arithmetic.

    What is not needed has no elements; with a state, the gradient of its history comes with that of runoff.
    """
    n_batch, n, n_steps = runoff.shape
    grad, runoff, like = as_rows(grad), as_rows(runoff), slopes.taps
    n_lags, start, end = like.numel() - n, _state_like(state, like), _state_like(grad_state, like)
    given, ending = start is not None, end is not None
    history = like.new_empty((n_batch, n_lags) if given else 0)
    if not runoff.numel():
        if given and end is not None:
            history.copy_(end.history)
        elif given:
            history.zero_()
        return SlopeGradients(runoff.new_zeros(runoff.shape), torch.zeros_like(like), history)
    end = State(like, like) if end is None else end
    of_runoff, of_taps = runoff.new_empty(0), like.new_empty(0)
    if needs.runoff or given:
        of_runoff = padded(runoff.shape, runoff.dtype, runoff.device)
        _launch(
            slope_runoff_gradients, grad, of_runoff, *slopes, *end, history, n, n_steps, grad.stride(1),
            of_runoff.stride(1), n_lags, given, ending, aligned=grad, like=like,
        )  # fmt: skip
    if needs.filter:
        of_members = like.new_empty(n_batch, like.numel())
        _launch(
            slope_tap_gradients, grad, runoff, of_members, slopes.pointer,
            like if start is None else start.history, end.outflow, n, n_steps, grad.stride(1), runoff.stride(1), n_lags,
            given, ending, grad.stride(1) == runoff.stride(1), aligned=runoff, like=like,
        )  # fmt: skip
        of_taps = of_members[0] if n_batch == 1 else of_members.sum(0)
    return SlopeGradients(of_runoff if needs.runoff else runoff.new_empty(0), of_taps, history)


def _launch(kernel: Any, rows: Tensor, *arguments: Any, aligned: Tensor, like: Tensor) -> None:
    """Launch a kernel of one warp a row, for those rows of which it takes whole blocks, and for the arithmetic."""
    n_batch, n, _ = rows.shape
    launch(kernel, n_batch * n, rows, *arguments, aligned.stride(1) % BLOCK == 0, real_type(like.dtype))


def _state_like(state: State | None, like: Tensor) -> State | None:
    """A state, or the gradient of one, in the arithmetic's type."""
    return None if state is None else State(*(t.to(like).contiguous() for t in state))
