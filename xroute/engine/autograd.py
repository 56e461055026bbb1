"""Routing as torch operators with gradients: ``xroute::route`` and ``xroute::route_backward``.

Operators take tensors, numbers and text only, so a plan travels as a handle: a number made from what it contains, under which
`plan_handle` lets it be found for as long as somebody holds it (a `Network`, a `Router`, or a graph that awaits its backward
pass). So an exported program finds its own network in another process, or none. What runs is looked up by the type of
device in `BACKENDS`. Gradients flow to runoff, to taps, poles and gains, and to the initial state, from the discharge and
the final state; from there to k, x, tau, ... is torch's own work.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.engine.cpu.adjoint import adjoint_cpu
from xroute.engine.cpu.forward import LATERAL, SAMPLING, route_cpu
from xroute.engine.plan import RoutingPlan
from xroute.exceptions import ParameterError, StateError, XRouteError
from xroute.schemes import Filter

__all__ = ["BACKENDS", "Backend", "plan_handle", "plan_of", "route_autograd"]

Tensor = torch.Tensor


@dataclass(frozen=True)
class Backend:
    """What routes on one type of device.

    Attributes
    ----------
    forward
        ``forward(runoff, taps, pointer, pole, gain, history, outflow, plan, options, keep_trace, keep_state,
        filter=None) -> (discharge, history, outflow, trace)``: new tensors, discharge of the type of runoff, state in
        float64, and what the backend may keep for its adjoint, which may be empty. The filter that taps, pole and gain
        are of is given where there is no graph, so that what is made of it can be kept with it.
    adjoint
        ``adjoint(grad_discharge, grad_history, grad_outflow, runoff, taps, pointer, pole, gain, history, outflow,
        discharge, trace, plan, options, needs_runoff, needs_filter) -> (grad_runoff, grad_taps, grad_pole, grad_gain,
        grad_history, grad_outflow)``: new tensors. The gradient of runoff has no elements if it is not needed; those of the
        filter may then hold anything.
    like_discharge, trace_numel
        Of runoff, a discharge without values; of runoff, plan, pointer and options, elements of the trace.
    strided
        Whether the forward and the adjoint take runoff, discharge and its gradient in any layout.

    All tensors are on the device but ``pointer``, which stays on the host; all are contiguous, but for ``strided``. A dry
    start, a final state that is not kept, and their gradients are tensors of one dimension without elements. Options are
    substeps, sampling and lateral.
    """

    forward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]
    adjoint: Callable[..., tuple[Tensor, ...]]
    like_discharge: Callable[[Tensor], Tensor]
    trace_numel: Callable[..., int]
    strided: bool = False


Options = tuple[int, str, str]


def _arrays(*tensors: Tensor) -> Any:
    return tuple(t.detach().numpy() for t in tensors)


def _none(device: torch.device | None = None) -> Tensor:
    return torch.empty(0, dtype=torch.float64, device=device)


def _state(history: Tensor, outflow: Tensor, runoff: Tensor, taps: Tensor) -> tuple[Tensor, Tensor]:
    """A state, or the gradient of one; zeros where there is none."""
    if outflow.ndim == 2:
        return history, outflow
    n_batch, n, _ = runoff.shape
    return taps.new_zeros(n_batch, taps.numel() - n), taps.new_zeros(n_batch, n)


def _forward_cpu(
    runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor,
    plan: RoutingPlan, options: Options, keep_trace: bool, keep_state: bool, filter: Filter | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    discharge = torch.empty(runoff.shape, dtype=runoff.dtype)
    dry = outflow.ndim == 1
    history, outflow = (t.clone() for t in _state(history, outflow, runoff, taps))
    series = _arrays(runoff, discharge)
    substeps, sampling, lateral = options
    route_cpu(
        series[0], series[1], plan, *_arrays(taps, pointer, pole, gain, history, outflow),
        substeps=substeps, sampling=sampling, lateral=lateral, dry=dry,
    )  # fmt: skip
    none = runoff.new_empty(0)
    return (discharge, history, outflow, none) if keep_state else (discharge, _none(), _none(), none)


def _adjoint_cpu(
    grad_discharge: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor,
    pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor, discharge: Tensor, trace: Tensor, plan: RoutingPlan,
    options: Options, needs_runoff: bool, needs_filter: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    dry = outflow.ndim == 1
    given = _arrays(grad_discharge, *_state(grad_history, grad_outflow, runoff, taps), runoff)
    substeps, sampling, lateral = options
    state = _state(history, outflow, runoff, taps)
    grads = adjoint_cpu(
        given[0], given[1], given[2], given[3], plan, *_arrays(taps, pointer, pole, gain, *state),
        substeps=substeps, sampling=sampling, lateral=lateral, needs_runoff=needs_runoff, needs_filter=needs_filter,
    )  # fmt: skip
    made = [torch.from_numpy(g) for g in grads]
    if not needs_runoff:
        made[0] = runoff.new_empty(0)
    return (*made[:4], _none(), _none()) if dry else tuple(made)


def _device_filter(
    plan: RoutingPlan, options: Options, runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor
) -> Any:
    from xroute.engine.gpu.launch import GpuOptions, prepare_filter

    # poles are taken for granted: to look would be to wait for the device
    return prepare_filter(
        plan, taps, pointer.numpy(), pole, gain, runoff.device, runoff.dtype, GpuOptions(*options), has_pole=True
    )


def _forward_gpu(
    runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor,
    plan: RoutingPlan, options: Options, keep_trace: bool, keep_state: bool, filter: Filter | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    from xroute.engine.gpu.launch import GpuOptions, prepared, route_gpu

    if filter is None:
        made = _device_filter(plan, options, runoff, taps, pointer, pole, gain)
    else:
        made = prepared(plan, filter, runoff.device, runoff.dtype, GpuOptions(*options), poles=True)
    start = (None, None) if outflow.ndim == 1 else (history, outflow)
    discharge, lags, last, trace = route_gpu(
        runoff, plan, made, *start, options=GpuOptions(*options), keep_state=keep_state, keep_trace=keep_trace
    )
    lags, last = (_none(runoff.device) if t is None else t.double() for t in (lags, last))
    return discharge, lags, last, runoff.new_empty(0) if trace is None else trace


def _adjoint_gpu(
    grad_discharge: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor,
    pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor, discharge: Tensor, trace: Tensor, plan: RoutingPlan,
    options: Options, needs_runoff: bool, needs_filter: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    from xroute.engine.gpu.launch import GpuOptions, adjoint_gpu

    filter = _device_filter(plan, options, runoff, taps, pointer, pole, gain)
    dry, final = outflow.ndim == 1, grad_outflow.ndim == 2
    grads = adjoint_gpu(
        grad_discharge, grad_history if final else None, grad_outflow if final else None, runoff, plan, filter,
        None if dry else history, None if dry else outflow, trace if trace.numel() else None, discharge,
        options=GpuOptions(*options), needs_runoff=needs_runoff,
    )  # fmt: skip
    return (*grads[:4], *((_none(runoff.device) if dry else t.double()) for t in grads[4:]))


def _like_discharge_gpu(runoff: Tensor) -> Tensor:
    from xroute.engine.gpu.launch import padded

    return padded(runoff.shape, runoff.dtype, runoff.device)


def _trace_numel_gpu(runoff: Tensor, plan: RoutingPlan, pointer: NDArray[np.int64], options: Options) -> int:
    from xroute.engine.gpu.launch import GpuOptions, trace_numel

    return trace_numel(plan, runoff, pointer, GpuOptions(*options))


BACKENDS: dict[str, Backend] = {
    "cpu": Backend(_forward_cpu, _adjoint_cpu, lambda runoff: runoff.new_empty(runoff.shape), lambda *_: 0),
    "cuda": Backend(_forward_gpu, _adjoint_gpu, _like_discharge_gpu, _trace_numel_gpu, strided=True),
}
"""Backends by type of device, as in ``tensor.device.type``."""


def _backend(device: torch.device) -> Backend:
    if device.type not in BACKENDS:
        raise ParameterError(
            f"runoff is on {str(device)!r}, where nothing can route it; there are backends for "
            f"{', '.join(sorted(BACKENDS))}: move it with runoff.to({sorted(BACKENDS)[0]!r})"
        )
    return BACKENDS[device.type]


# ── plans by handle ─────────────────────────────────────────────────────────────────────────────────────────────────────

_PLANS: weakref.WeakValueDictionary[int, RoutingPlan] = weakref.WeakValueDictionary()


def plan_handle(plan: RoutingPlan) -> int:
    """Number under which the operators find the plan, or one that equals it, while it lives: the same one each time."""
    handle = plan.__dict__.get("_handle")
    if handle is None:
        digest = hashlib.blake2b(digest_size=8)
        for array in (plan.order, plan.upstream_pointer, plan.upstream_reach, plan.upstream_weight, plan.kept):
            digest.update(np.ascontiguousarray(array).data)
            digest.update(b"|")
        digest.update(str(plan.n_given).encode())
        handle = plan.__dict__["_handle"] = int.from_bytes(digest.digest(), "big") >> 1  # an int64
    if handle not in _PLANS:
        _PLANS[handle] = plan
    return int(handle)


def plan_of(handle: int) -> RoutingPlan:
    """Plan of a handle.

    Raises
    ------
    XRouteError
        If nobody holds the plan any more.
    """
    plan = _PLANS.get(int(handle))
    if plan is None:
        raise XRouteError(f"the plan of handle {handle} is gone: keep its Network (or Router) while routing with it")
    return plan


# ── the operators ───────────────────────────────────────────────────────────────────────────────────────────────────────


@torch.library.custom_op("xroute::route", mutates_args=())
def _route(
    runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor,
    plan: int, substeps: int, sampling: str, lateral: str, trace: int, keep_state: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    backend = _backend(runoff.device)
    series = runoff if backend.strided else runoff.contiguous()
    others = (t.contiguous() for t in (taps, pointer, pole, gain, history, outflow))
    return backend.forward(series, *others, plan_of(plan), (substeps, sampling, lateral), trace > 0, keep_state)


@_route.register_fake
def _(
    runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor,
    plan: int, substeps: int, sampling: str, lateral: str, trace: int, keep_state: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    n_batch, n, _ = runoff.shape
    shapes = ((n_batch, taps.shape[0] - n), (n_batch, n)) if keep_state else ((0,), (0,))
    history, outflow = (taps.new_empty(shape) for shape in shapes)
    return _backend(runoff.device).like_discharge(runoff), history, outflow, runoff.new_empty(trace)


@torch.library.custom_op("xroute::route_backward", mutates_args=())
def _route_backward(
    grad_discharge: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor,
    pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor, discharge: Tensor, trace: Tensor, plan: int,
    substeps: int, sampling: str, lateral: str, needs_runoff: bool, needs_filter: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    backend = _backend(runoff.device)
    if not backend.strided:
        grad_discharge, runoff, discharge = (t.contiguous() for t in (grad_discharge, runoff, discharge))
    of_state = (t.contiguous() for t in (grad_history, grad_outflow))
    others = (t.contiguous() for t in (taps, pointer, pole, gain, history, outflow))
    grads = backend.adjoint(
        grad_discharge, *of_state, runoff, *others, discharge, trace, plan_of(plan), (substeps, sampling, lateral),
        needs_runoff, needs_filter,
    )  # fmt: skip
    return grads[0], grads[1], grads[2], grads[3], grads[4], grads[5]


@_route_backward.register_fake
def _(
    grad_discharge: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor,
    pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor, discharge: Tensor, trace: Tensor, plan: int,
    substeps: int, sampling: str, lateral: str, needs_runoff: bool, needs_filter: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    made = [t.new_empty(t.shape) for t in (taps, pole, gain, history, outflow)]
    return runoff.new_empty(runoff.shape if needs_runoff else 0), made[0], made[1], made[2], made[3], made[4]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, plan, substeps, sampling, lateral, _, _ = inputs
    ctx.save_for_backward(*tensors, output[0] if output[3].numel() else output[3], output[3])
    ctx.options = plan, substeps, sampling, lateral
    ctx.set_materialize_grads(False)
    ctx.plan = _PLANS.get(plan) if isinstance(plan, int) else None  # the graph keeps its plan alive


def _backward(
    ctx: Any, grad_discharge: Tensor | None, grad_history: Tensor | None, grad_outflow: Tensor | None, _: Tensor | None
) -> tuple[Any, ...]:
    needs = ctx.needs_input_grad
    saved = ctx.saved_tensors
    series, taps = saved[0], saved[1]
    if grad_discharge is None:
        grad_discharge = torch.zeros_like(series)
    if grad_history is None and grad_outflow is None:
        grad_history = grad_outflow = taps.new_empty(0)
    elif grad_history is None:
        grad_history = taps.new_zeros(series.shape[0], taps.shape[0] - series.shape[1])
    elif grad_outflow is None:
        grad_outflow = taps.new_zeros(series.shape[:2])
    grads_of = grad_discharge, grad_history, grad_outflow
    runoff, pole, gain, history, outflow = (needs[k] for k in (0, 3, 4, 5, 6))
    needs_filter = needs[1] or pole or gain
    grads = torch.ops.xroute.route_backward(*grads_of, *saved, *ctx.options, runoff, needs_filter)
    wanted = zip(grads, (runoff, needs[1], pole, gain, history, outflow), strict=True)
    g_runoff, g_taps, g_pole, g_gain, g_history, g_outflow = (g if wants else None for g, wants in wanted)
    return g_runoff, g_taps, None, g_pole, g_gain, g_history, g_outflow, None, None, None, None, None, None


_route.register_autograd(_backward, setup_context=_setup)


def _no_second(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    raise NotImplementedError("xroute has first derivatives only: route without create_graph=True on this path")


_route_backward.register_autograd(_no_second)


# ── what the rest of xroute calls ───────────────────────────────────────────────────────────────────────────────────────


def route_autograd(
    runoff: Tensor,
    plan: RoutingPlan,
    filter: Filter,
    history: Tensor | None = None,
    outflow: Tensor | None = None,
    *,
    substeps: int = 1,
    sampling: str = "mean",
    lateral: str = "head",
    keep_state: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Route a tensor of runoff, differentiably.

    Parameters
    ----------
    runoff : [batch, reach, time]
        float32 or float64, on a device with a backend. Half types are computed, and returned, in float32.
    plan, filter
        The network's plan and the filter of its reaches, whose tensors may require gradients.
    history : float64 [batch, sum of (K - 1)], outflow : float64 [batch, reach]
        The state at the start; None is dry.
    substeps, sampling, lateral
        As in `xroute.route`.
    keep_state
        Whether the state at the end is wanted.

    Returns
    -------
    discharge : [batch, reach, time]
    history, outflow
        The state at the end; without elements if it is not kept.

    Raises
    ------
    ParameterError
        For a device without backend, runoff that is no floating-point number, or a shape or mode that does not fit.
    StateError
        For a state of another shape.
    """
    for value, allowed, name in ((sampling, SAMPLING, "sampling"), (lateral, LATERAL, "lateral")):
        if value not in allowed:
            raise ParameterError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")
    if isinstance(substeps, bool) or not isinstance(substeps, int) or substeps < 1:
        raise ParameterError(f"substeps is a positive whole number, not {substeps!r}")
    n = plan.n_reaches
    if runoff.ndim != 3 or runoff.shape[1] != n:
        raise ParameterError(f"runoff has shape {tuple(runoff.shape)}, not (batch, {n} reaches, time)")
    if not runoff.dtype.is_floating_point:
        raise ParameterError(f"runoff must be floating-point numbers, not {runoff.dtype}")
    backend = _backend(runoff.device)
    if runoff.dtype not in (torch.float32, torch.float64):
        runoff = runoff.to(torch.float32)
    pointer = torch.from_numpy(filter.pointer)
    n_batch, n_lags = runoff.shape[0], int(filter.pointer[-1]) - n
    tensors = [t.to(runoff.device, torch.float64) for t in (filter.taps, filter.pole, filter.gain)]
    for what, tensor, size in zip(("taps", "pole", "gain"), tensors, (n_lags + n, n, n), strict=True):
        if tensor.shape != (size,):
            raise ParameterError(f"{what} of the filter has shape {tuple(tensor.shape)}, not ({size},)")
    taps, pole, gain = tensors
    state = []
    for what, given, size in (("history", history, n_lags), ("outflow", outflow, n)):
        if given is None and history is None and outflow is None:
            state.append(_none(runoff.device))
            continue
        tensor = torch.zeros(n_batch, size, dtype=torch.float64, device=runoff.device) if given is None else given
        if tensor.shape != (n_batch, size):
            raise StateError(f"{what} has shape {tuple(tensor.shape)}, not (batch {n_batch}, {size})")
        state.append(tensor.to(runoff.device, torch.float64))
    options = substeps, sampling, lateral
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in (runoff, taps, pole, gain, *state))
    if not wanted and not torch.compiler.is_compiling():  # an operator takes its time
        plain = [t.detach().contiguous() for t in (taps, pointer, pole, gain, *state)]
        series = runoff.detach() if backend.strided else runoff.detach().contiguous()
        return backend.forward(series, *plain, plan, options, False, keep_state, filter)[:3]
    trace = backend.trace_numel(runoff, plan, filter.pointer, options) if wanted else 0
    discharge, new_history, new_outflow, _ = torch.ops.xroute.route(
        runoff, taps, pointer, pole, gain, *state, plan_handle(plan), *options, trace, keep_state
    )
    return discharge, new_history, new_outflow
