"""The adjoint on a GPU: what launches the kernels of `adjoint` and `adjoint_substeps`, and gathers what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from xroute.engine.arrays import Exchange, Gradients, Known, State
from xroute.engine.gpu.adjoint import adjoint_steps
from xroute.engine.gpu.adjoint_replay import adjoint_replayed
from xroute.engine.gpu.adjoint_rows import adjoint_rows
from xroute.engine.gpu.adjoint_substeps import adjoint_substeps
from xroute.engine.gpu.arguments import (
    AdjointSeries,
    KernelGradients,
    KernelNetwork,
    Mailbox,
    Mode,
    ReplaySeries,
    Trace,
)
from xroute.engine.gpu.dispatch import launch
from xroute.engine.gpu.filter_kernels import BLOCK, gather_gradients
from xroute.engine.gpu.launch import kernel_filter, known_on, new_ticket, route_gpu, state_on
from xroute.engine.gpu.layout import (
    RESIDENT,
    DeviceFilter,
    by_step,
    device_mail,
    device_patches,
    group_length,
    real_type,
    replays,
    trace_channels,
    vector_length,
)
from xroute.engine.gpu.memory import (
    NOTES,
    as_rows,
    empty_mailbox,
    index_type,
    most_trace,
    needs_trace,
    notes_layout,
    padded_rows,
    trace_layout,
    word_type,
)
from xroute.engine.patches import LANES
from xroute.engine.plan import RoutingPlan
from xroute.settings import LATERAL, SAMPLING, RoutingSettings

__all__ = ["adjoint_gpu"]

Tensor = torch.Tensor
ROOM_BYTES = 2**28
"""At most so much is taken for the inflow that programs of the adjoint make once more, each in a room of its own."""


def adjoint_gpu(
    grad_discharge: Tensor,
    grad_state: State | None,
    runoff: Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    state: State | None,
    trace: Tensor | None,
    discharge: Tensor | None = None,
    settings: RoutingSettings = RoutingSettings(),
    *,
    needs_runoff: bool = True,
    block: int | None = None,
    known: Known | None = None,
) -> Gradients:
    """Gradients of a loss with respect to all that `route_gpu` takes.

    ``trace`` and ``discharge`` are what the forward run kept and returned; without a trace it is run again, ``block`` steps at a
    time from the last to the first. The gradient of runoff is empty if it is not wanted, that of the filter is float64, and that
    of the initial state is in the arithmetic's type. That of ``known`` discharge is put where it says.
    """
    n_batch, n, n_steps = runoff.shape
    back = _Adjoint(plan, filter, settings, needs_runoff, _FilterSums(filter, plan, runoff.device), known)
    grads = None
    if grad_state is not None:
        grads = State(*(grad.to(filter.coefficients.dtype).contiguous() for grad in grad_state))
    if not (n_batch and n_steps and n):
        if grads is None:
            grads = State(*(filter.coefficients.new_zeros(n_batch, k) for k in (filter.windows.n_lags, n)))
        grads = State(*(grad.clone() for grad in grads))  # operators must not return what they were given
        grad_runoff = runoff.new_zeros(runoff.shape if needs_runoff else 0)
    elif trace is not None and discharge is not None:
        grad_runoff, grads = back.block(grad_discharge, grads, runoff, discharge, state, trace)
    else:
        block = _block_length(runoff, plan, filter, settings, known is not None) if block is None else block
        grad_runoff, grads = back.without_trace(grad_discharge, grads, runoff, state, block)
    return Gradients(grad_runoff, *back.sums.result(), grads)


def _block_length(
    runoff: Tensor, plan: RoutingPlan, filter: DeviceFilter, settings: RoutingSettings, has_known: bool
) -> int:
    """Steps of runoff whose trace may be kept at a time."""
    n_batch, n, n_steps = runoff.shape
    if replays(settings, filter.n_taps, has_known):
        a_step = -(-sum(notes_layout(plan, runoff.shape, settings)) * filter.coefficients.dtype.itemsize // n_steps)
        return max(1, most_trace(runoff) // a_step)
    a_step = n_batch * n * settings.substeps * trace_channels(settings, has_known) * filter.coefficients.dtype.itemsize
    block = max(1, most_trace(runoff) // (2 * a_step))  # the half: shallow lanes have some more
    return max(8, block // 8 * 8) if by_step(settings) else block


class _FilterSums:
    """Gradient of the filter, gathered from blocks of time and from lanes."""

    def __init__(self, filter: DeviceFilter, plan: RoutingPlan, device: torch.device) -> None:
        index = device_patches(plan, device, filter.coefficients.dtype)
        self.place, self.n_places = index.place, index.reach.numel()
        self.windows = filter.windows
        new = torch.zeros if filter.windows.longest > 2 else torch.empty  # taps beyond the second come apart
        n_taps = filter.windows.n_lags + plan.n_reaches
        self.taps = new(n_taps, dtype=torch.float64, device=device)
        self.pole, self.gain = (torch.empty(plan.n_reaches, dtype=torch.float64, device=device) for _ in range(2))
        self.added = False

    def add(self, sums: Tensor, far: Tensor) -> None:
        """Add sums for the first two taps, pole and gain [batch, 4, place], and for the taps beyond [batch, tap]."""
        windows, n = self.windows, self.pole.numel()
        launch(
            gather_gradients, -(-n // BLOCK), sums, self.place, windows.tap_of_reach, self.taps, self.pole, self.gain,
            n, self.n_places, sums.shape[0], min(windows.longest, 3), self.added, BLOCK, num_warps=4,
        )  # fmt: skip
        if windows.longest > 2:
            self.taps[windows.far] += far.sum(dim=0, dtype=torch.float64)[windows.far_place]
        self.added = True

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of taps, pole and gain."""
        found = self.taps, self.pole, self.gain
        return found if self.added else tuple(t.zero_() for t in found)  # type: ignore[return-value]


@dataclass(frozen=True)
class _Adjoint:
    """The adjoint of a run, block of time by block, from the last to the first."""

    plan: RoutingPlan
    filter: DeviceFilter
    settings: RoutingSettings
    needs_runoff: bool
    sums: _FilterSums
    known: Known | None = None

    def _known(self, steps: slice = slice(None)) -> Known | None:
        """What is known in some steps, and where its gradient goes."""
        known = self.known
        if known is None:
            return None
        grad = None if known.grad is None else known.grad[..., steps]
        return Known(known.reach, torch.as_tensor(known.values)[..., steps], grad)

    def without_trace(
        self, grad: Tensor, grads: State | None, runoff: Tensor, state: State | None, block: int
    ) -> tuple[Tensor, State]:
        """Gradients of runoff and of the initial state of a run that kept nothing: it is run again, twice but for one block."""
        starts = range(0, runoff.shape[2], block)
        states = [state]
        for first in starts[:-1]:
            part, known = runoff[..., first : first + block], self._known(slice(first, first + block))
            states.append(
                route_gpu(part, self.plan, self.filter, states[-1], self.settings, exchange=Exchange(known=known))[1]
            )
        grad_runoff = runoff.new_empty(runoff.shape if self.needs_runoff else 0)
        for first in reversed(starts):
            steps = slice(first, min(first + block, runoff.shape[2]))
            here, state, known = runoff[..., steps].contiguous(), states.pop(), self._known(steps)
            discharge, _, trace = route_gpu(
                here, self.plan, self.filter, state, self.settings, exchange=Exchange(known=known), keep_state=False,
                keep_trace=True,
            )  # fmt: skip
            assert trace is not None
            part, grads = self.block(grad[..., steps], grads, here, discharge, state, trace, steps)
            if self.needs_runoff:
                grad_runoff[..., steps] = part
        assert grads is not None
        return grad_runoff, grads

    def block(
        self, grad: Tensor, grads: State | None, runoff: Tensor, discharge: Tensor, state: State | None, trace: Tensor,
        steps: slice = slice(None),
    ) -> tuple[Tensor, State]:  # fmt: skip
        """Gradients of runoff and of the initial state, of one run of the forward kernels that kept a trace: of some steps."""
        none, n_lags = self.filter.coefficients, self.filter.windows.n_lags
        n_batch, n, n_steps = runoff.shape
        grad, discharge = as_rows(grad.to(runoff.dtype)), padded_rows(discharge)
        # without padding, which would cost who gathers gradients a copy
        grad_runoff = torch.empty(
            runoff.shape if self.needs_runoff else (1, 1, 0), dtype=runoff.dtype, device=runoff.device
        )
        before = State(none.new_empty(n_batch, n_lags), none.new_empty(n_batch, n))
        if grads is None and not by_step(self.settings):
            grads = State(none.new_zeros(n_batch, n_lags), none.new_zeros(n_batch, n))
        start = state_on(state, n_batch, n, self.filter)
        if replays(self.settings, self.filter.n_taps, self.known is not None):
            self._replay(grad, grad_runoff, as_rows(runoff), trace, (start, grads, before))
        else:
            self._launch(grad, grad_runoff, discharge, as_rows(runoff), trace, (start, grads, before), steps)
        return grad_runoff if self.needs_runoff else grad_runoff.new_empty(0), before

    def _launch(
        self, grad: Tensor, grad_runoff: Tensor, discharge: Tensor, runoff: Tensor, trace: Tensor,
        states: tuple[State | None, State | None, State], steps: slice,
    ) -> None:  # fmt: skip
        """Launch the adjoint kernel on the state at the start, its gradient at the end, and the one at the start to be filled."""
        settings, none = self.settings, self.filter.coefficients
        acc, device, (n_batch, n, n_steps) = none.dtype, grad.device, grad.shape
        known = self._known(steps)
        there = known_on(known, self.plan, grad, self.filter)
        index = device_patches(self.plan, device, acc)
        start, end, before = (State(none, none) if state is None else state for state in states)
        group = group_length(settings, self.filter.n_taps, n_steps, n_batch)
        n_ring = self.filter.n_ring
        ring, far = (none.new_empty(n_batch, n_ring) if n_ring else none for _ in range(2))
        near = none.new_empty(n_batch, 4, index.n_patches * LANES)
        width = -(-n_steps * settings.substeps // group) * group
        mailbox = empty_mailbox(n_batch, index.up.n_sources, width, acc, device)
        traced = needs_trace(self.filter.n_taps, settings, runoff, known is not None)
        mode = Mode(
            real_type(acc),
            index_type(*(n_batch * t.stride(0) for t in (grad, grad_runoff, discharge, runoff)), mailbox.numel()),
            self.filter.n_taps, group, LATERAL.index(settings.lateral), state_in=states[0] is not None,
            state_out=states[1] is not None, runoff_gradient=self.needs_runoff, known=there.n > 0,
        )  # fmt: skip
        up, n_programs, n_lags = index.up, index.n_patches * n_batch, self.filter.windows.n_lags
        series, box = AdjointSeries(grad, grad_runoff, discharge, runoff, there.kernel), Mailbox(mailbox, new_ticket(device))
        network = KernelNetwork(index.up_places, index.parent_share, up.start, up.record, up.weight)
        filter, of_filter = kernel_filter(self.filter, ring), KernelGradients(end, before, near, far)
        pitches = grad.stride(1), grad_runoff.stride(1), discharge.stride(1)
        if not traced:
            rest = index.past_rest
            past = KernelNetwork(index.past_places, index.child_share, rest.start, rest.record, rest.weight)
            launch(
                adjoint_rows, n_programs, series, box, network, past, filter, start, of_filter, n, n_steps, *pitches,
                runoff.stride(1), index.n_patches, n_batch, up.n_sources, width, n_lags,
                mode._replace(aligned_result=grad_runoff.stride(1) % 4 == 0),
            )  # fmt: skip
        else:
            if by_step(settings):
                kernel: Any = adjoint_steps
                mode = mode._replace(
                    log_columns=3 if acc.itemsize > 4 else 4, aligned=grad.stride(1) % 8 == 0 and group % 8 == 0,
                    aligned_result=n_steps % 4 == 0,
                )  # fmt: skip
            else:
                kernel = adjoint_substeps
                mode = mode._replace(substeps=settings.substeps, sampling=SAMPLING.index(settings.sampling))
            trace_start, _ = trace_layout(self.plan, grad, self.filter.n_taps, settings, acc, known is not None)
            launch(
                kernel, n_programs, series, box, network, filter, start, of_filter, Trace(trace, trace_start), n, n_steps,
                *pitches, index.n_patches, n_batch, up.n_sources, width, self.filter.n_ring, n_lags,
                trace.numel() // n_batch, there.n, n_steps, mode,
            )  # fmt: skip
        self.sums.add(near, far)
        if known is not None and known.grad is not None and there.n:
            found = there.kernel.gradient  # one member may serve all
            known.grad.copy_(found.sum(dim=0, keepdim=True) if known.grad.shape[0] < n_batch else found)

    def _replay(
        self, grad: Tensor, grad_runoff: Tensor, runoff: Tensor, trace: Tensor, states: tuple[State | None, State | None, State]
    ) -> None:
        """Launch the adjoint kernel that routes once more, on the states that `_launch` takes, too."""
        settings, none = self.settings, self.filter.coefficients
        acc, device, (n_batch, n, n_steps) = none.dtype, grad.device, grad.shape
        index = device_patches(self.plan, device, acc)
        mail = device_mail(self.plan, device, acc, n_batch, again=False)
        start, end, before = (State(none, none) if state is None else state for state in states)
        group, width = group_length(settings, self.filter.n_taps, n_steps, n_batch), n_steps * settings.substeps
        near = none.new_empty(n_batch, 4, index.n_patches * LANES)
        mailbox = empty_mailbox(n_batch, index.up.n_sources, width, acc, device)
        n_words = notes_layout(self.plan, grad.shape, settings)[0]
        room = NOTES * (settings.substeps // group) * (group + 2) * LANES
        n_rooms = min(RESIDENT, index.n_patches * n_batch, max(ROOM_BYTES // (room * acc.itemsize), 1))
        mode = Mode(
            real_type(acc), index_type(n_batch * max(grad.stride(0), runoff.stride(0)), mailbox.numel(), n_words),
            self.filter.n_taps, group, LATERAL.index(settings.lateral), state_in=states[0] is not None,
            state_out=states[1] is not None, runoff_gradient=self.needs_runoff, substeps=settings.substeps,
            sampling=SAMPLING.index(settings.sampling), has_pole=self.filter.has_pole, vector=vector_length(settings),
            notes=NOTES, replay=True,
        )  # fmt: skip
        up, down = index.up_by_lag, mail.down
        launch(
            adjoint_replayed, index.n_patches * n_batch,
            ReplaySeries(grad, grad_runoff, runoff, known_on(None, self.plan, grad, self.filter).kernel),
            Mailbox(mailbox, new_ticket(device, n_rooms)),
            KernelNetwork(index.up_places, index.parent_share, up.start, up.record, up.weight),
            Mailbox(trace[:n_words].view(word_type(acc)), new_ticket(device), mail.places),
            KernelNetwork(index.down_places, index.child_share, down.start, down.record, down.weight),
            kernel_filter(self.filter, none), start, KernelGradients(end, before, near, none),
            Trace(trace[n_words:], none.new_empty(n_rooms * room)), n, n_steps, runoff.stride(1), grad.stride(1),
            grad_runoff.stride(1), index.n_patches, n_batch, up.n_sources, down.n_sources, width,
            self.filter.windows.n_lags, n_rooms, mode,
        )  # fmt: skip
        self.sums.add(near, none)
