"""Routing as torch operators with gradients: ``xroute::route`` and ``xroute::route_backward``.

A plan travels as a handle (`xroute.engine.handles`), under which it is found for as long as somebody holds it: a `Network`, a
`Router`, or a graph that awaits its backward pass. Only what is compiled goes through the operators. What runs is the backend of
the device (`xroute.engine.backends`). Gradients flow to runoff, to taps, poles and gains, and to the initial state, from the
discharge and the final state; from there to k, x, tau, ... is torch's own work.

To the operators a dry start, a final state that is not kept, and their gradients are tensors of one dimension without elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from xroute.engine.arrays import FilterArrays, Gradients, Known, Needs, State
from xroute.engine.backends import Backend, backend_of, backends
from xroute.engine.handles import living, plan_handle, plan_of
from xroute.engine.plan import RoutingPlan
from xroute.exceptions import ParameterError, StateError
from xroute.schemes import Filter
from xroute.settings import RoutingSettings

__all__ = [
    "backend_on", "both_or_none", "contiguous", "filter_on", "given_state", "no_second_derivative", "route_autograd",
    "state_on", "tensors_of",
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


# ── the operators ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _settings(substeps: int, sampling: Any, lateral: Any) -> RoutingSettings:
    return RoutingSettings(None, substeps, sampling, lateral)


def contiguous(tensors: Any) -> Any:
    """Tensors of a named tuple, each contiguous."""
    return type(tensors)(*(t.contiguous() for t in tensors))


def given_state(history: Tensor | None, outflow: Tensor | None) -> State | None:
    """A state, or the gradient of one, of the operators' tensors, or of None."""
    if history is None or outflow is None or outflow.ndim == 1:
        return None
    return State(history.contiguous(), outflow.contiguous())


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


class _Run(NamedTuple):
    """What of a run is no tensor; ``trace`` is the elements of its trace, ``owner`` the filter that its arrays are of."""

    plan: RoutingPlan
    settings: RoutingSettings
    trace: int = 0
    keep_state: bool = False
    owner: Filter | None = None


def _known(values: Tensor | None, reach: Tensor | None, grad: Tensor | None = None) -> dict[str, Any]:
    """Discharge that is known, as keywords: a backend that knows of none is given none."""
    return {} if values is None else {"known": Known(reach, values.contiguous(), grad)}


def _forward(
    runoff: Tensor, filter: FilterArrays, start: State | None, run: _Run, known: Tensor | None, known_reach: Tensor | None
) -> tuple[Tensor, State | None, Tensor]:
    """What the backend's `forward` gives."""
    backend = backend_on(runoff.device)
    told: dict[str, Any] = {"owner": run.owner} if getattr(backend, "keeps_filters", False) else {}
    return backend.forward(
        runoff if backend.strided else runoff.contiguous(), contiguous(filter), start, run.plan, run.settings,
        keep_trace=run.trace > 0, keep_state=run.keep_state, **told, **_known(known, known_reach),
    )  # fmt: skip


def _adjoint(
    grad_discharge: Tensor, grad_state: State | None, saved: Sequence[Any], run: _Run, needs: Needs,
    known: Tensor | None, known_reach: Tensor | None,
) -> tuple[Gradients, Tensor | None]:  # fmt: skip
    """What the backend's `adjoint` gives, and the gradient of what is known.

    Saved are runoff, taps, pointer, poles, gains, the two tensors of the state, discharge and trace.
    """
    runoff, taps, pointer, pole, gain, history, outflow, discharge, trace = saved
    backend = backend_on(runoff.device)
    if not backend.strided:
        grad_discharge, runoff, discharge = (t.contiguous() for t in (grad_discharge, runoff, discharge))
    of_known = None if known is None else torch.zeros_like(known, memory_format=torch.contiguous_format)
    told = run.owner is not None and getattr(backend, "keeps_filters", False)
    grads = backend.adjoint(
        grad_discharge, grad_state, runoff, run.owner if told else contiguous(FilterArrays(taps, pointer, pole, gain)),
        given_state(history, outflow), discharge, trace, run.plan, run.settings, needs, **_known(known, known_reach, of_known),
    )  # fmt: skip
    return grads, of_known


@torch.library.custom_op("xroute::route", mutates_args=())
def _route(
    runoff: Tensor, taps: Tensor, pointer: Tensor, pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor,
    plan: int, substeps: int, sampling: str, lateral: str, trace: int, keep_state: bool,
    known: Tensor | None = None, known_reach: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    discharge, end, kept = _forward(
        runoff, FilterArrays(taps, pointer, pole, gain), given_state(history, outflow),
        _Run(plan_of(plan), _settings(substeps, sampling, lateral), trace, keep_state), known, known_reach,
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


@torch.library.custom_op("xroute::route_backward", mutates_args=())
def _route_backward(
    grad_discharge: Tensor, grad_history: Tensor, grad_outflow: Tensor, runoff: Tensor, taps: Tensor, pointer: Tensor,
    pole: Tensor, gain: Tensor, history: Tensor, outflow: Tensor, discharge: Tensor, trace: Tensor, plan: int,
    substeps: int, sampling: str, lateral: str, needs_runoff: bool, needs_filter: bool,
    known: Tensor | None = None, known_reach: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    grads, of_known = _adjoint(
        grad_discharge, given_state(grad_history, grad_outflow),
        (runoff, taps, pointer, pole, gain, history, outflow, discharge, trace),
        _Run(plan_of(plan), _settings(substeps, sampling, lateral)), Needs(needs_runoff, needs_filter), known, known_reach,
    )  # fmt: skip
    return *grads[:4], *tensors_of(grads.state, runoff), runoff.new_empty(0) if of_known is None else of_known


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
    ctx.options = plan, substeps, sampling, lateral
    ctx.set_materialize_grads(False)
    ctx.plan = living(plan) if isinstance(plan, int) else None  # the graph keeps its plan alive


def _backward(
    ctx: Any, grad_discharge: Tensor | None, grad_history: Tensor | None, grad_outflow: Tensor | None, _: Tensor | None
) -> tuple[Any, ...]:
    needs, (*saved, known, known_reach) = ctx.needs_input_grad, ctx.saved_tensors
    of_tensors, of_known = _by_operator(
        (grad_discharge, grad_history, grad_outflow), saved, ctx.options, needs[:7], known, known_reach,
        known is not None and needs[13],  # whose place is not there where it is left out
    )  # fmt: skip
    return *of_tensors, *(None,) * 6, of_known, None


def _by_operator(
    grads: Sequence[Tensor | None], saved: Sequence[Any], options: tuple[Any, ...], needs: Sequence[bool],
    known: Tensor | None, known_reach: Tensor | None, needs_known: bool,
) -> tuple[list[Tensor | None], Tensor | None]:  # fmt: skip
    """Gradients of runoff, taps, pointer, poles, gains and a state, and of what is known, of those of what comes out."""
    of_discharge, of_history, of_outflow = grads
    series, taps = saved[0], saved[1]
    found = torch.ops.xroute.route_backward(
        torch.zeros_like(series) if of_discharge is None else of_discharge,
        *both_or_none(of_history, of_outflow, series, taps), *saved, *options, needs[0], needs[1] or needs[3] or needs[4],
        known, known_reach,
    )  # fmt: skip
    return _wanted(found[:6], needs), found[6] if needs_known else None


def _wanted(found: Sequence[Tensor | None], needs: Sequence[bool]) -> list[Tensor | None]:
    """Gradients of runoff, taps, poles, gains and a state, the pointer's between them, each if it is needed."""
    runoff, taps, *others = found
    return [grad if needed else None for grad, needed in zip((runoff, taps, None, *others), needs, strict=True)]


_route.register_autograd(_backward, setup_context=_setup)


class _Routed(torch.autograd.Function):
    """Routing where nothing is compiled: what torch does about operators takes as long as to route."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        """Discharge and the state at the end, of runoff, filter, state, what is known, and `_Run`."""
        *tensors, known, known_reach, run = inputs
        runoff, taps, pointer, pole, gain, history, outflow = tensors
        discharge, end, trace = _forward(
            runoff, FilterArrays(taps, pointer, pole, gain), given_state(history, outflow), run, known, known_reach
        )
        ctx.save_for_backward(*tensors, discharge if trace.numel() else trace, trace, known, known_reach)
        ctx.run = run
        ctx.set_materialize_grads(False)
        return discharge, *((None, None) if end is None else end)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Gradients of all that it takes."""
        needs, (*saved, known, known_reach) = ctx.needs_input_grad, ctx.saved_tensors
        of_discharge, of_history, of_outflow = grads
        if torch.is_grad_enabled():  # with gradients of gradients it is the operator, which says that it has none
            settings, like = ctx.run.settings, saved[1]
            options = plan_handle(ctx.run.plan), settings.substeps, settings.sampling, settings.lateral
            saved[5:7] = [like.new_empty(0) if t is None else t for t in saved[5:7]]
            of_tensors, of_known = _by_operator(grads, saved, options, needs[:7], known, known_reach, needs[7])
            return *of_tensors, of_known, None, None
        of_state = None
        if of_history is not None or of_outflow is not None:
            of_state = State(*(t.contiguous() for t in both_or_none(of_history, of_outflow, saved[0], saved[1])))
        found, of_known = _adjoint(
            torch.zeros_like(saved[0]) if of_discharge is None else of_discharge, of_state, saved, ctx.run,
            Needs(needs[0], needs[1] or needs[3] or needs[4]), known, known_reach,
        )  # fmt: skip
        of_start = (None, None) if found.state is None else found.state
        return *_wanted((*found[:4], *of_start), needs[:7]), of_known if needs[7] else None, None, None


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
    own = arrays_of(filter, n)
    start = state_on(state, runoff, own.taps.shape[0] - n)
    values, reach = (None, None) if known is None else _known_on(known, runoff, backend)
    leaves = (runoff, own.taps, own.pole, own.gain, *(start or ()), *(() if values is None else (values,)))
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in leaves)
    if not wanted and not torch.compiler.is_compiling():  # an operator takes its time
        told = getattr(backend, "keeps_filters", False)  # and looks at the filter itself, wherever that lies
        plain = own if told else FilterArrays(*(t.detach().contiguous() for t in _moved(own, runoff.device)))
        begin = None if start is None else State(*(t.detach().contiguous() for t in start))
        series = runoff.detach() if backend.strided else runoff.detach().contiguous()
        return backend.forward(
            series, plain, begin, plan, settings, keep_trace=False, keep_state=keep_state, owner=filter,
            **_known(None if values is None else values.detach(), reach),
        )[:2]  # fmt: skip
    given = _moved(own, runoff.device)
    more: dict[str, Any] = {} if known is None else {"has_known": True}
    trace = backend.trace_numel(runoff, plan, filter.pointer, settings, **more) if wanted else 0
    if not torch.compiler.is_compiling():
        run = _Run(plan, settings, trace, keep_state, filter)
        discharge, history, outflow = _Routed.apply(runoff, *given, *(start or (None, None)), values, reach, run)
    else:
        discharge, history, outflow, _ = torch.ops.xroute.route(
            runoff, *given, *tensors_of(start, runoff), plan_handle(plan), settings.substeps, settings.sampling,
            settings.lateral, trace, keep_state, values, reach,
        )  # fmt: skip
    return discharge, State(history, outflow) if keep_state else None


def filter_on(filter: Filter, device: torch.device, n_reaches: int) -> FilterArrays:
    """The filter's tensors on a device, but the pointer on the host."""
    return _moved(arrays_of(filter, n_reaches), device)


def arrays_of(filter: Filter, n_reaches: int) -> FilterArrays:
    """The filter's tensors where they lie, of the sizes that they must have."""
    sizes = int(filter.pointer[-1]), n_reaches, n_reaches
    for what, size in zip(("taps", "pole", "gain"), sizes, strict=True):
        tensor: Tensor = getattr(filter, what)
        if tensor.shape != (size,):
            raise ParameterError(f"{what} of the filter has shape {tuple(tensor.shape)}, not ({size},)")
    return FilterArrays(filter.taps, torch.from_numpy(filter.pointer), filter.pole, filter.gain)


def _moved(filter: FilterArrays, device: torch.device) -> FilterArrays:
    taps, pole, gain = (t.to(device, torch.float64) for t in (filter.taps, filter.pole, filter.gain))
    return FilterArrays(taps, filter.pointer, pole, gain)


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
