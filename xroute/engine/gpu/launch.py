"""The forward run on a GPU: what launches the kernels of `xroute.engine.gpu.forward` and `xroute.engine.gpu.substeps`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from xroute.caches import keep_fitting
from xroute.engine.arrays import Exchange, Known, State
from xroute.engine.gpu.arguments import (
    KernelFilter,
    KernelKnown,
    KernelNetwork,
    Mailbox,
    Mode,
    Series,
    Trace,
)
from xroute.engine.gpu.dispatch import launch
from xroute.engine.gpu.forward import route_steps
from xroute.engine.gpu.forward_rows import NEAR, route_rows
from xroute.engine.gpu.layout import (
    DeviceFilter,
    DeviceMail,
    DevicePatches,
    by_step,
    device_mail,
    device_patches,
    group_length,
    real_type,
    replays,
    vector_length,
)
from xroute.engine.gpu.memory import (
    NOTES,
    as_rows,
    empty_mailbox,
    in_rows,
    index_type,
    needs_trace,
    notes_layout,
    padded,
    put_given,
    take_kept,
    tile_width,
    trace_layout,
    word_type,
)
from xroute.engine.gpu.substeps import route_substeps
from xroute.engine.kernels import keep_triton_kernels
from xroute.engine.plan import RoutingPlan
from xroute.settings import LATERAL, SAMPLING, RoutingSettings

__all__ = ["DeviceKnown", "kernel_filter", "known_on", "new_ticket", "route_gpu", "state_on"]

keep_triton_kernels()  # before any is compiled

Tensor = torch.Tensor
MAILBOX_BYTES, MAILBOX_SHARE = 2**29, 4
"""With substeps, the mailbox takes no more than the first of these, or else than one part in so many of the memory of runoff.

A run that needs more goes on in several launches; rows that are used again let one launch do for all but many substeps."""


def route_gpu(
    runoff: Tensor,
    plan: RoutingPlan,
    filter: DeviceFilter,
    state: State | None = None,
    settings: RoutingSettings = RoutingSettings(),
    *,
    scale: Tensor | None = None,
    exchange: Exchange = Exchange(),
    keep_state: bool = True,
    keep_trace: bool = False,
    launches: Callable[[Tensor], Iterable[int]] | None = None,
) -> tuple[Tensor, State | None, Tensor | None]:
    """Route runoff [batch, reach, time] on a GPU: float16, bfloat16 or float32 (computed in float32), or float64.

    Parameters
    ----------
    filter
        In the arithmetic's type, prepared for the same ``settings``.
    state
        At the start, not changed; None is dry, and either of its arrays may be None for zeros.
    scale : [reach], optional
        Factor on each reach's runoff.
    keep_state, keep_trace
        Whether the final state is wanted, and the trace that `adjoint_gpu` takes: of one element where it needs none. Not
        with a ``scale``.
    launches
        Given the discharge to come, says how many patches each launch routes, one launch after another: all that a patch reads
        but other patches need only be there when it is its turn. With a routing step a step only.

    Returns
    -------
    discharge : [batch, reach, time]
        In the type of ``runoff``. Its rows are padded to multiples of 8 steps, so it is a view where time is none.
    state, trace
        At the end, in the arithmetic's type; None for what is not kept.

    Raises
    ------
    ValueError
        If a plan with given reaches gets no discharge of them: its programs would wait for it for ever.
    """
    if plan.n_given and exchange.given is None:
        raise ValueError(f"the plan has {plan.n_given} given reaches, but no discharge of them")
    device, none = runoff.device, filter.coefficients
    n_batch, n, n_steps = runoff.shape
    runoff = as_rows(runoff)
    discharge = padded(runoff.shape, runoff.dtype, device)
    start = state_on(state, n_batch, n, filter)
    trace, rows_of_trace = none, (none, 0)
    replayed = replays(settings, filter.n_taps, exchange.known is not None)
    traced = keep_trace and needs_trace(filter.n_taps, settings, runoff, exchange.known is not None)
    if keep_trace and replayed:
        trace = torch.empty(sum(notes_layout(plan, runoff.shape, settings)), dtype=none.dtype, device=device)
    elif keep_trace and not traced:
        trace = none.new_empty(1)
    elif traced:
        rows_of_trace = trace_layout(plan, runoff, filter.n_taps, settings, none.dtype, exchange.known is not None)
        trace = torch.empty(n_batch * rows_of_trace[1], dtype=none.dtype, device=device)
    end = start
    if n_batch and n_steps and n:
        run = _Run(
            runoff, discharge, device_patches(plan, device, none.dtype), filter, settings,
            none if scale is None else scale.to(device, none.dtype).contiguous(), exchange, trace, *rows_of_trace,
            none.new_empty(n_batch * filter.n_ring) if filter.n_ring else none, scale is not None, traced,
            known_on(exchange.known, plan, runoff, filter), plan,
        )  # fmt: skip
        turns = (run.index.n_patches,) if launches is None else launches(discharge)
        end = run.by_step(start, keep_state, turns) if by_step(settings) else run.by_substep(start, keep_state)
    elif keep_state and start is not None:  # nothing happens to the state, but it is another one
        end = State(start.history.clone(), start.outflow.clone())
    elif keep_state:
        end = State(none.new_zeros(n_batch, filter.windows.n_lags), none.new_zeros(n_batch, n))
    return discharge, end if keep_state else None, trace if keep_trace else None


@dataclass(frozen=True)
class _Run:
    """A forward run: what its launches share."""

    runoff: Tensor
    discharge: Tensor
    index: DevicePatches
    filter: DeviceFilter
    settings: RoutingSettings
    scale: Tensor
    exchange: Exchange
    trace: Tensor
    trace_start: Tensor
    n_trace: int  # elements of the trace of a member
    ring: Tensor  # for the inflow that windows of more than two taps look back to
    scaled: bool
    keep_trace: bool
    known: DeviceKnown
    plan: RoutingPlan

    def by_step(self, start: State | None, keep_state: bool, turns: Iterable[int]) -> State:
        """Launches of so many patches, a step of runoff being one routing step; the state at the end, if it is kept."""
        n_batch, _, n_steps = self.runoff.shape
        acc, kernel, group = self.filter.coefficients.dtype, route_steps, self._group()
        if in_rows(self.runoff):
            kernel = route_rows
            group = group if self.keep_trace else 8  # of which whole sectors are made; a trace is laid out for the adjoint's
        width, every = -(-n_steps // group) * group, slice(0, n_steps)
        mailbox = empty_mailbox(n_batch, self.index.down.n_sources, width, acc, self.runoff.device)
        put_given(mailbox, self.exchange.given, self.index, n_batch, every)
        end = self._new_state(keep_state)
        columns, ticket = tile_width(self.filter.n_taps, self.runoff), new_ticket(self.runoff.device)
        for n_patches in turns:
            self._launch(
                kernel, mailbox, width, start, end, n_steps, ticket=ticket, n_patches=n_patches, group=group,
                state_out=keep_state, last=(n_steps - 1) % group, columns=columns, log_columns=columns.bit_length() - 1,
                near=kernel is route_rows and 2 < self.filter.windows.longest <= NEAR.value,
                aligned=self.runoff.stride(1) % 8 == 0 and group % 8 == 0,
            )  # fmt: skip
        take_kept(mailbox, self.exchange.kept, self.index, n_batch, every)
        return end

    def by_substep(self, start: State | None, keep_state: bool) -> State:
        """Launches of as many steps of runoff as the mailbox has room for; the state at the end, if it is kept."""
        n_batch, _, n_steps = self.runoff.shape
        acc, substeps = self.filter.coefficients.dtype, self.settings.substeps
        notes = self.keep_trace and replays(self.settings, self.filter.n_taps, self.exchange.known is not None)
        mail = device_mail(self.plan, self.runoff.device, acc, n_batch, again=not notes)
        room = max(MAILBOX_BYTES, self.runoff.numel() * self.runoff.element_size() // MAILBOX_SHARE)
        a_step = n_batch * mail.down.n_sources * substeps * acc.itemsize
        block = n_steps if self.keep_trace else min(n_steps, max(1, room // max(1, a_step)))
        width, end = block * substeps, start
        if notes:  # they stand behind the mailbox, which is kept too
            n_words = notes_layout(self.plan, self.runoff.shape, self.settings)[0]
            mailbox = self.trace[:n_words].view(word_type(acc)).fill_(-1)
        else:
            mailbox = empty_mailbox(n_batch, mail.down.n_sources, width, acc, self.runoff.device)
        for first in range(0, n_steps, block):
            last = min(first + block, n_steps)
            if first > 0:
                mailbox.fill_(-1)
            fine = slice(first * substeps, last * substeps)
            put_given(mailbox, self.exchange.given, mail, n_batch, fine)
            wanted = keep_state or last < n_steps
            start, end = end, self._new_state(wanted)
            self._launch(
                route_substeps, mailbox, width, start, end, first, last - first, mail=mail, state_out=wanted,
                substeps=substeps, sampling=SAMPLING.index(self.settings.sampling), again=mail.again,
                vector=vector_length(self.settings), notes=NOTES if notes else 0,
            )  # fmt: skip
            take_kept(mailbox, self.exchange.kept, mail, n_batch, fine)
        assert end is not None
        return end

    def _launch(
        self, kernel: Any, mailbox: Tensor, width: int, start: State | None, end: State, *steps: int,
        mail: DeviceMail | None = None, ticket: Tensor | None = None, n_patches: int | None = None, **constants: Any,
    ) -> None:  # fmt: skip
        index, runoff = self.index, self.runoff
        down = index.down_rest if kernel is route_rows else index.down
        n_batch, n, n_steps = runoff.shape
        none = self.filter.coefficients
        notes = bool(constants.get("notes"))
        trace = self.trace[mailbox.numel() :] if notes else self.trace
        links, places = (down, none) if mail is None else (mail.down, mail.places)
        if ticket is None:
            ticket = new_ticket(runoff.device, n_batch * links.n_sources)
        mode = Mode(
            real_type(none.dtype),
            index_type(n_batch * runoff.stride(0), n_batch * self.discharge.stride(0), mailbox.numel()),
            self.filter.n_taps, constants.pop("group", self._group()),
            LATERAL.index(self.settings.lateral), has_pole=self.filter.has_pole, state_in=start is not None,
            scaled=self.scaled, keep_trace=self.keep_trace and not notes, known=self.known.n > 0, **constants,
        )  # fmt: skip
        launch(
            kernel, (n_patches or index.n_patches) * n_batch, Series(runoff, self.discharge, self.scale, self.known.kernel),
            Mailbox(mailbox, ticket, places),
            KernelNetwork(index.down_places, index.child_share, links.start, links.record, links.weight),
            kernel_filter(self.filter, self.ring), State(none, none) if start is None else start, end,
            Trace(trace, self.trace_start), n, *steps, runoff.stride(1), self.discharge.stride(1), index.n_patches,
            n_batch, links.n_sources, width, self.filter.n_ring, self.filter.windows.n_lags, self.n_trace,
            self.known.n, n_steps, mode,
            **({"maxnreg": 200} if kernel is route_steps else {}),
        )  # fmt: skip

    def _group(self) -> int:
        n_batch, _, n_steps = self.runoff.shape
        return group_length(self.settings, self.filter.n_taps, n_steps, n_batch)

    def _new_state(self, wanted: bool) -> State:
        none = self.filter.coefficients
        if not wanted:
            return State(none, none)
        n_batch, n, _ = self.runoff.shape
        return State(none.new_empty(n_batch, self.filter.windows.n_lags), none.new_empty(n_batch, n))


@dataclass(frozen=True)
class DeviceKnown:
    """Discharge that is known on so many reaches, on a device; of none, the arrays hold nothing."""

    n: int
    kernel: KernelKnown


def known_on(known: Known | None, plan: RoutingPlan, runoff: Tensor, filter: DeviceFilter) -> DeviceKnown:
    """Known discharge of each member of runoff as the kernels take it, its gradient zeros as yet."""
    index, none = device_patches(plan, runoff.device, filter.coefficients.dtype), filter.coefficients
    if known is None or not len(known.reach):
        return DeviceKnown(0, KernelKnown(index.down_places, none, none))
    n_batch, _, n_steps = runoff.shape
    n = len(known.reach)
    reach = torch.as_tensor(known.reach)

    def make() -> tuple[Tensor, Tensor]:
        row = torch.full((plan.n_reaches,), -1, dtype=torch.int32)
        row[reach] = torch.arange(n, dtype=torch.int32)
        return reach.clone(), row.to(runoff.device)[index.reach].contiguous()

    kind = "known rows", str(runoff.device)
    row = keep_fitting(plan, kind, lambda kept: torch.equal(kept[0], reach), make, most=1)[1]
    series = torch.as_tensor(known.values).to(none).expand(n_batch, n, n_steps).contiguous()
    gradient = none if known.grad is None else torch.zeros_like(series)
    return DeviceKnown(n, KernelKnown(row, series, gradient))


def state_on(state: State | None, n_batch: int, n_reaches: int, filter: DeviceFilter) -> State | None:
    """A state in the arithmetic's type on the device, zeros for one of its arrays that is None; None for none at all."""
    if state is None or (state.history is None and state.outflow is None):
        return None
    like = filter.coefficients
    sizes = filter.windows.n_lags, n_reaches
    return State(*(
        like.new_zeros(n_batch, size) if array is None else array.to(like).contiguous()
        for array, size in zip(state, sizes, strict=True)
    ))  # fmt: skip


def kernel_filter(filter: DeviceFilter, ring: Tensor) -> KernelFilter:
    """A filter as kernels take it."""
    windows = filter.windows
    return KernelFilter(filter.coefficients, windows.first_lag, windows.groups, filter.taps, ring)


def new_ticket(device: torch.device, n_rows: int = 0) -> Tensor:
    """The counter that programs take their tickets from, and how many are done with each row of the mailbox."""
    return torch.zeros(1 + n_rows, dtype=torch.int32, device=device)
