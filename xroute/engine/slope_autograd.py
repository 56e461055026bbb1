"""Hillslopes as torch operators with gradients: ``xroute::slopes`` and ``xroute::slopes_backward``.

As in `xroute.engine.autograd`, whose conventions these share: gradients flow to runoff, to taps and to the history of the initial
state, from what the hillslopes give and from their final state. What runs is the backend of the device.
"""

from __future__ import annotations

from typing import Any

import torch

from xroute.caches import keep
from xroute.engine.arrays import FilterArrays, Needs, SlopeGradients, State
from xroute.engine.autograd import (
    backend_on,
    both_or_none,
    contiguous,
    filter_on,
    given_state,
    no_second_derivative,
    state_on,
    tensors_of,
)
from xroute.engine.backends import Backend
from xroute.engine.slopes import adjoint_by_routing, forward_by_routing
from xroute.schemes import Filter

__all__ = ["slopes_autograd"]

Tensor = torch.Tensor


def _forward(backend: Backend, *given: Any, **options: Any) -> tuple[Tensor, State | None]:
    if hasattr(backend, "forward_slopes"):
        return backend.forward_slopes(*given, **options)
    return forward_by_routing(backend, *given, **options)  # a backend that is not a subclass of `Backend`


def _adjoint(backend: Backend, *given: Any) -> SlopeGradients:
    if hasattr(backend, "adjoint_slopes"):
        return backend.adjoint_slopes(*given)
    return adjoint_by_routing(backend, *given)


def _filter(taps: Tensor, pointer: Tensor, n: int) -> FilterArrays:
    """A filter without poles, of tensors that are contiguous."""
    none = taps.new_zeros(n)
    made: FilterArrays = contiguous(FilterArrays(taps, pointer, none, none))
    return made


@torch.library.custom_op("xroute::slopes", mutates_args=())
def _slopes(
    runoff: Tensor, taps: Tensor, pointer: Tensor, history: Tensor, outflow: Tensor, keep_state: bool
) -> tuple[Tensor, Tensor, Tensor]:
    backend = backend_on(runoff.device)
    given, end = _forward(
        backend, runoff if backend.strided else runoff.contiguous(), _filter(taps, pointer, runoff.shape[1]),
        given_state(history, outflow), keep_state=keep_state,
    )  # fmt: skip
    return given, *tensors_of(end, runoff)


@_slopes.register_fake
def _(
    runoff: Tensor, taps: Tensor, pointer: Tensor, history: Tensor, outflow: Tensor, keep_state: bool
) -> tuple[Tensor, Tensor, Tensor]:
    n_batch, n, _ = runoff.shape
    shapes = ((n_batch, taps.shape[0] - n), (n_batch, n)) if keep_state else ((0,), (0,))
    history, outflow = (taps.new_empty(shape) for shape in shapes)
    return backend_on(runoff.device).like_discharge(runoff), history, outflow


@torch.library.custom_op("xroute::slopes_backward", mutates_args=())
def _slopes_backward(
    grad: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor, history: Tensor,
    outflow: Tensor, needs_runoff: bool, needs_taps: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    backend = backend_on(runoff.device)
    if not backend.strided:
        grad, runoff = grad.contiguous(), runoff.contiguous()
    grads = _adjoint(
        backend, grad, given_state(grad_history, grad_outflow), runoff, _filter(taps, pointer, runoff.shape[1]),
        given_state(history, outflow), Needs(needs_runoff, needs_taps),
    )  # fmt: skip
    return grads.runoff, grads.taps, grads.history


@_slopes_backward.register_fake
def _(
    grad: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor, history: Tensor,
    outflow: Tensor, needs_runoff: bool, needs_taps: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    of_runoff = backend_on(runoff.device).like_discharge(runoff) if needs_runoff else runoff.new_empty(0)
    return of_runoff, taps.new_empty(taps.shape if needs_taps else 0), history.new_empty(history.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, _ = inputs
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, grad_history: Tensor | None, grad_outflow: Tensor | None) -> tuple[Any, ...]:
    runoff, taps, _, history, _ = ctx.saved_tensors
    of_runoff, of_taps, _, of_history, *_ = ctx.needs_input_grad
    if grad is None:
        grad = torch.zeros_like(runoff)
    of_state = both_or_none(grad_history, grad_outflow, runoff, taps)
    grads = torch.ops.xroute.slopes_backward(grad, *of_state, *ctx.saved_tensors, of_runoff, of_taps)
    g_runoff, g_taps, g_history = (g if wants else None for g, wants in zip(grads, (of_runoff, of_taps, of_history), strict=True))
    return g_runoff, g_taps, None, g_history, None, None  # without poles, the last outflow is not looked at


_slopes.register_autograd(_backward, setup_context=_setup)
_slopes_backward.register_autograd(no_second_derivative)


def slopes_autograd(
    runoff: Tensor, filter: Filter, state: State | None = None, *, keep_state: bool = True
) -> tuple[Tensor, State | None]:
    """What hillslopes give of a tensor of runoff [batch, reach, time], differentiably.

    As `xroute.engine.autograd.route_autograd` does with rivers. The filter has no poles.

    Raises
    ------
    ParameterError
        For a device without backend, or a filter of other reaches.
    StateError
        For a state of another shape.
    """
    n = runoff.shape[1]
    if runoff.dtype not in (torch.float32, torch.float64):
        runoff = runoff.to(torch.float32)
    backend = backend_on(runoff.device)
    if filter.taps.requires_grad or torch.compiler.is_compiling():
        given = filter_on(filter, runoff.device, n)
    else:  # ordinates are the host's: they are sent once
        given = keep(filter, ("filter on", str(runoff.device)), lambda: filter_on(filter, runoff.device, n), most=1)
    start = state_on(state, runoff, given.taps.shape[0] - n)
    leaves = runoff, given.taps, *(start or ())
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in leaves)
    if not wanted and not torch.compiler.is_compiling():  # an operator takes its time
        plain = FilterArrays(*(t.detach().contiguous() for t in given))
        begin = None if start is None else State(*(t.detach().contiguous() for t in start))
        series = runoff.detach() if backend.strided else runoff.detach().contiguous()
        return _forward(backend, series, plain, begin, keep_state=keep_state, owner=filter)
    found, history, outflow = torch.ops.xroute.slopes(
        runoff, given.taps, given.pointer, *tensors_of(start, runoff), keep_state
    )
    return found, State(history, outflow) if keep_state else None
