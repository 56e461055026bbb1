"""Routing as torch operators with gradients: ``xroute::route`` and ``xroute::route_backward``.

Operators take tensors, numbers and text only, so a plan travels as a handle: a number made from what it contains, under which
`plan_handle` lets it be found for as long as somebody holds it (a `Network`, a `Router`, or a graph that awaits its backward
pass). So an exported program finds its own network in another process, or none. What runs is the backend of the device
(`xroute.engine.backends`). Gradients flow to runoff, to taps, poles and gains, and to the initial state, from the discharge and
the final state; from there to k, x, tau, ... is torch's own work.

To the operators a dry start, a final state that is not kept, and their gradients are tensors of one dimension without elements.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import torch

from xroute.engine.arrays import FilterArrays, Known, Needs, State
from xroute.engine.backends import Backend, backend_of, backends
from xroute.engine.plan import RoutingPlan
from xroute.exceptions import ParameterError, StateError, XRouteError
from xroute.schemes import Filter
from xroute.settings import RoutingSettings

__all__ = [
    "backend_on", "both_or_none", "contiguous", "filter_on", "given_state", "no_second_derivative", "plan_handle", "plan_of",
    "route_autograd", "state_on", "tensors_of",
]  # fmt: skip

Tensor = torch.Tensor


def backend_on(device: torch.device) -> Backend:
    """The backend of the device that runoff is on.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if device.type not in backends():
        raise ParameterError(
            f"runoff is on {str(device)!r}, where nothing can route it; there are backends for "
            f"{', '.join(sorted(backends()))}: move it with runoff.to({sorted(backends())[0]!r})"
        )
    return backend_of(device.type)


# ── plans by handle ─────────────────────────────────────────────────────────────────────────────────────────────────────

_PLANS: dict[int, weakref.WeakValueDictionary[int, RoutingPlan]] = {}
"""All plans of a handle that live. They are equal, so each of them will do; but one alone would take the handle with it."""
_PLANS_LOCK = threading.Lock()


def plan_handle(plan: RoutingPlan) -> int:
    """Number under which the operators find the plan, or one that equals it, while any of them lives: the same one each time."""
    handle = plan.digest
    with _PLANS_LOCK:
        if handle not in _PLANS:
            for gone in [h for h, plans in _PLANS.items() if not plans]:
                del _PLANS[gone]
        _PLANS.setdefault(handle, weakref.WeakValueDictionary())[id(plan)] = plan
    return handle


def plan_of(handle: int) -> RoutingPlan:
    """Plan of a handle.

    Raises
    ------
    XRouteError
        If nobody holds the plan any more.
    """
    plan = _living(int(handle))
    if plan is None:
        raise XRouteError(f"the plan of handle {handle} is gone: keep its Network (or Router) while routing with it")
    return plan


def _living(handle: int) -> RoutingPlan | None:
    with _PLANS_LOCK:
        return next(_PLANS[handle].values(), None) if handle in _PLANS else None


# ── the operators ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _settings(substeps: int, sampling: Any, lateral: Any) -> RoutingSettings:
    return RoutingSettings(None, substeps, sampling, lateral)


def contiguous(tensors: Any) -> Any:
    """Tensors of a named tuple, each contiguous."""
    return type(tensors)(*(t.contiguous() for t in tensors))


def given_state(history: Tensor, outflow: Tensor) -> State | None:
    """A state, or the gradient of one, of the operators' tensors."""
    return None if outflow.ndim == 1 else State(history.contiguous(), outflow.contiguous())


def tensors_of(state: State | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """The operators' tensors of a state: two, since operators must not return one twice."""
    if state is None:
        return like.new_empty(0, dtype=torch.float64), like.new_empty(0, dtype=torch.float64)
    return state.history, state.outflow


def both_or_none(history: Tensor | None, outflow: Tensor | None, series: Tensor, taps: Tensor) -> tuple[Tensor, Tensor]:
    """The operators' tensors of the gradient of a state, of which a loss may have looked at one, at both or at none."""
    if history is None and outflow is None:
        return taps.new_empty(0), taps.new_empty(0)
    n_batch, n = series.shape[:2]
    return (
        taps.new_zeros(n_batch, taps.shape[0] - n) if history is None else history,
        taps.new_zeros(n_batch, n) if outflow is None else outflow,
    )


def _known(values: Tensor | None, reach: Tensor | None, grad: Tensor | None = None) -> dict[str, Any]:
    """Discharge that is known, as keywords: a backend that knows of none is given none."""
    return {} if values is None else {"known": Known(reach, values.contiguous(), grad)}


def _custom_op(name: str) -> Any:
    """`torch.library.custom_op`, the function itself beside it: what torch does about operators takes as long as to route."""

    def make(function: Any) -> Any:
        operator: Any = torch.library.custom_op(name, function, mutates_args=())
        operator.now = function
        return operator

    return make


@_custom_op("xroute::route")
def _route(
    runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor,
    plan: int, substeps: int, sampling: str, lateral: str, trace: int, keep_state: bool,
    known: Tensor | None = None, known_reach: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    backend = backend_on(runoff.device)
    discharge, end, kept = backend.forward(
        runoff if backend.strided else runoff.contiguous(), contiguous(FilterArrays(taps, pointer, pole, gain)),
        given_state(history, outflow), plan_of(plan), _settings(substeps, sampling, lateral),
        keep_trace=trace > 0, keep_state=keep_state, **_known(known, known_reach),
    )  # fmt: skip
    return discharge, *tensors_of(end, runoff), kept


@_route.register_fake
def _(
    runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor,
    plan: int, substeps: int, sampling: str, lateral: str, trace: int, keep_state: bool,
    known: Tensor | None = None, known_reach: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    n_batch, n, _ = runoff.shape
    shapes = ((n_batch, taps.shape[0] - n), (n_batch, n)) if keep_state else ((0,), (0,))
    history, outflow = (taps.new_empty(shape) for shape in shapes)
    return backend_on(runoff.device).like_discharge(runoff), history, outflow, runoff.new_empty(trace)


@_custom_op("xroute::route_backward")
def _route_backward(
    grad_discharge: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor,
    pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor, discharge: Tensor, trace: Tensor, plan: int,
    substeps: int, sampling: str, lateral: str, needs_runoff: bool, needs_filter: bool,
    known: Tensor | None = None, known_reach: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    backend = backend_on(runoff.device)
    if not backend.strided:
        grad_discharge, runoff, discharge = (t.contiguous() for t in (grad_discharge, runoff, discharge))
    of_known = runoff.new_empty(0) if known is None else torch.zeros_like(known, memory_format=torch.contiguous_format)
    grads = backend.adjoint(
        grad_discharge, given_state(grad_history, grad_outflow), runoff, contiguous(FilterArrays(taps, pointer, pole, gain)),
        given_state(history, outflow), discharge, trace, plan_of(plan), _settings(substeps, sampling, lateral),
        Needs(needs_runoff, needs_filter), **_known(known, known_reach, of_known),
    )  # fmt: skip
    return *grads[:4], *tensors_of(grads.state, runoff), of_known


@_route_backward.register_fake
def _(
    grad_discharge: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor,
    pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor, discharge: Tensor, trace: Tensor, plan: int,
    substeps: int, sampling: str, lateral: str, needs_runoff: bool, needs_filter: bool,
    known: Tensor | None = None, known_reach: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    made = [t.new_empty(t.shape) for t in (taps, pole, gain, history, outflow)]
    of_known = runoff.new_empty(0) if known is None else known.new_empty(known.shape)
    return runoff.new_empty(runoff.shape if needs_runoff else 0), made[0], made[1], made[2], made[3], made[4], of_known


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, plan, substeps, sampling, lateral, _, _, known, known_reach = inputs
    ctx.save_for_backward(*tensors, output[0] if output[3].numel() else output[3], output[3], known, known_reach)
    ctx.options, ctx.by_operator = (plan, substeps, sampling, lateral), True
    ctx.set_materialize_grads(False)
    ctx.plan = _living(plan) if isinstance(plan, int) else None  # the graph keeps its plan alive


def _backward(
    ctx: Any, grad_discharge: Tensor | None, grad_history: Tensor | None, grad_outflow: Tensor | None, _: Tensor | None
) -> tuple[Any, ...]:
    needs = ctx.needs_input_grad
    *saved, known, known_reach = ctx.saved_tensors
    series, taps = saved[0], saved[1]
    if grad_discharge is None:
        grad_discharge = torch.zeros_like(series)
    grads_of = grad_discharge, *both_or_none(grad_history, grad_outflow, series, taps)
    runoff, pole, gain, history, outflow = (needs[k] for k in (0, 3, 4, 5, 6))
    needs_filter = needs[1] or pole or gain
    # with gradients of gradients it is the operator, which says that it has none
    by_operator = ctx.by_operator or torch.is_grad_enabled()
    back: Any = torch.ops.xroute.route_backward if by_operator else _route_backward.now
    grads = back(*grads_of, *saved, *ctx.options, runoff, needs_filter, known, known_reach)
    wanted = zip(grads, (runoff, needs[1], pole, gain, history, outflow, known is not None and needs[13]), strict=True)
    g_runoff, g_taps, g_pole, g_gain, g_history, g_outflow, g_known = (g if wants else None for g, wants in wanted)
    of_options = (None,) * 6
    return g_runoff, g_taps, None, g_pole, g_gain, g_history, g_outflow, *of_options, g_known, None


_route.register_autograd(_backward, setup_context=_setup)


class _Routed(torch.autograd.Function):
    """`_route` where nothing is compiled."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        """What the operator gives."""
        output = _route.now(*inputs)
        _setup(ctx, inputs, output)
        ctx.by_operator = False
        ctx.mark_non_differentiable(output[3])
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of all that it takes."""
        return _backward(ctx, *grads)


def no_second_derivative(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    """The derivative of a derivative, of an operator that has none."""
    raise NotImplementedError("xroute has first derivatives only: route without create_graph=True on this path")


_route_backward.register_autograd(no_second_derivative)


# ── what the rest of xroute calls ───────────────────────────────────────────────────────────────────────────────────────


def route_autograd(
    runoff: Tensor,
    plan: RoutingPlan,
    filter: Filter,
    state: State | None = None,
    settings: RoutingSettings = RoutingSettings(),
    *,
    keep_state: bool = True,
    known: Known | None = None,
) -> tuple[Tensor, State | None]:
    """Route a tensor of runoff [batch, reach, time], differentiably.

    It is float32 or float64, on a device with a backend; half types are computed, and returned, in float32. Tensors of the
    filter, of the state, and values that are known, may require gradients. The state is float64; None is dry, and either of its
    tensors may be None for zeros. The state at the end is None if it is not kept. Of what is known, reaches are a tensor of the
    host.

    Raises
    ------
    ParameterError
        For a device without backend, or whose backend cannot route with known discharge, runoff that is no floating-point
        number, or a shape that does not fit.
    StateError
        For a state of another shape.
    """
    n = plan.n_reaches
    if runoff.ndim != 3 or runoff.shape[1] != n:
        raise ParameterError(f"runoff has shape {tuple(runoff.shape)}, not (batch, {n} reaches, time)")
    if not runoff.dtype.is_floating_point:
        raise ParameterError(f"runoff must be floating-point numbers, not {runoff.dtype}")
    backend = backend_on(runoff.device)
    if runoff.dtype not in (torch.float32, torch.float64):
        runoff = runoff.to(torch.float32)
    given = filter_on(filter, runoff.device, n)
    start = state_on(state, runoff, given.taps.shape[0] - n)
    values, reach = (None, None) if known is None else _known_on(known, runoff, backend)
    leaves = (runoff, given.taps, given.pole, given.gain, *(start or ()), *(() if values is None else (values,)))
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in leaves)
    if not wanted and not torch.compiler.is_compiling():  # an operator takes its time
        plain = FilterArrays(*(t.detach().contiguous() for t in given))
        begin = None if start is None else State(*(t.detach().contiguous() for t in start))
        series = runoff.detach() if backend.strided else runoff.detach().contiguous()
        return backend.forward(
            series, plain, begin, plan, settings, keep_trace=False, keep_state=keep_state, owner=filter,
            **_known(None if values is None else values.detach(), reach),
        )[:2]  # fmt: skip
    more: dict[str, Any] = {} if known is None else {"has_known": True}
    trace = backend.trace_numel(runoff, plan, filter.pointer, settings, **more) if wanted else 0
    route = torch.ops.xroute.route if torch.compiler.is_compiling() else _Routed.apply
    discharge, history, outflow, _ = route(
        runoff, *given, *tensors_of(start, runoff), plan_handle(plan), settings.substeps, settings.sampling, settings.lateral,
        trace, keep_state, values, reach,
    )  # fmt: skip
    return discharge, State(history, outflow) if keep_state else None


def filter_on(filter: Filter, device: torch.device, n_reaches: int) -> FilterArrays:
    """The filter's tensors on a device, but the pointer on the host."""
    taps, pole, gain = (t.to(device, torch.float64) for t in (filter.taps, filter.pole, filter.gain))
    sizes = int(filter.pointer[-1]), n_reaches, n_reaches
    for what, tensor, size in zip(("taps", "pole", "gain"), (taps, pole, gain), sizes, strict=True):
        if tensor.shape != (size,):
            raise ParameterError(f"{what} of the filter has shape {tuple(tensor.shape)}, not ({size},)")
    return FilterArrays(taps, torch.from_numpy(filter.pointer), pole, gain)


def _known_on(known: Known, runoff: Tensor, backend: Backend) -> tuple[Tensor, Tensor]:
    """Values that are known on the device of runoff, and their reaches on the host."""
    (n_batch, _, n_steps), n = runoff.shape, known.reach.numel()
    if not getattr(backend, "takes_known", False):  # nor does one that is no subclass of `Backend`
        raise ParameterError(f"device {backend.name!r} cannot route with known discharge: move runoff to another")
    if known.values.shape not in ((1, n, n_steps), (n_batch, n, n_steps)):
        raise ParameterError(
            f"known discharge has shape {tuple(known.values.shape)}, not (batch 1 or {n_batch}, {n} reaches, {n_steps} steps)"
        )
    return known.values.to(runoff.device, torch.float64), known.reach


def state_on(state: State | None, runoff: Tensor, n_lags: int) -> State | None:
    """A state's tensors on the device of runoff."""
    if state is None or (state.history is None and state.outflow is None):
        return None
    n_batch, n, _ = runoff.shape
    tensors = []
    for what, given, size in zip(State._fields, state, (n_lags, n), strict=True):
        tensor = runoff.new_zeros(n_batch, size, dtype=torch.float64) if given is None else given
        if tensor.shape != (n_batch, size):
            raise StateError(f"{what} has shape {tuple(tensor.shape)}, not (batch {n_batch}, {size})")
        tensors.append(tensor.to(runoff.device, torch.float64))
    return State(*tensors)
