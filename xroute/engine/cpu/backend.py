"""The CPU as a backend: arrays of numpy and tensors in, arrays and tensors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import (
    Exchange,
    FilterArrays,
    Gradients,
    Hillslopes,
    Known,
    Needs,
    NotFinite,
    Rows,
    State,
    compute_type,
)
from xroute.engine.backends import Backend
from xroute.engine.cpu.adjoint import adjoint_cpu
from xroute.engine.cpu.forward import route_cpu
from xroute.engine.cpu.transpose import laid_out
from xroute.engine.plan import RoutingPlan
from xroute.exceptions import ParameterError
from xroute.settings import RoutingSettings

if TYPE_CHECKING:
    import torch

    from xroute.schemes import Filter

__all__ = ["BACKEND"]


class _Cpu(Backend):
    """See `xroute.engine.backends.Backend` for what each function does."""

    name, strided, takes_known = "cpu", False, True

    def find_device(self, name: str) -> torch.device:
        import torch

        return torch.device(name)

    def default_device(self) -> torch.device:
        return self.find_device("cpu")

    def route_arrays(
        self, runoff: NDArray[Any], plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings,
        rows: Rows, exchange: Exchange, device: torch.device | None = None,
    ) -> tuple[NDArray[Any], State, NotFinite]:  # fmt: skip
        discharge, end, _, n_bad = _route(runoff, plan, filter, state, settings, rows, exchange)
        return discharge, end, n_bad

    def route_with_hillslopes(
        self, runoff: NDArray[Any], plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings,
        rows: Rows, exchange: Exchange, device: torch.device | None, hillslopes: Hillslopes,
    ) -> tuple[NDArray[Any], State, State, NotFinite]:  # fmt: skip
        discharge, end, slopes, n_bad = _route(runoff, plan, filter, state, settings, rows, exchange, hillslopes)
        assert slopes is not None
        return discharge, end, slopes, n_bad

    def forward(
        self, runoff: torch.Tensor, filter: FilterArrays, state: State | None, plan: RoutingPlan, settings: RoutingSettings,
        *, keep_trace: bool, keep_state: bool, owner: Filter | None = None, known: Known | None = None,
    ) -> tuple[torch.Tensor, State | None, torch.Tensor]:  # fmt: skip
        import torch

        # numpy asks for large pages: memory that is touched for the first time costs much less
        discharge = torch.from_numpy(np.empty(runoff.shape, np.float32 if runoff.dtype == torch.float32 else np.float64))
        end = _zeros(runoff, filter) if state is None else State(*(t.clone() for t in state))
        route_cpu(
            runoff.detach().numpy(), discharge.numpy(), plan, FilterArrays(*_numpy(*filter)), State(*_numpy(*end)), settings,
            exchange=Exchange(known=_known(known)), dry=state is None,
        )  # fmt: skip
        return discharge, end if keep_state else None, runoff.new_empty(0)

    def adjoint(
        self, grad_discharge: torch.Tensor, grad_state: State | None, runoff: torch.Tensor, filter: FilterArrays,
        state: State | None, discharge: torch.Tensor, trace: torch.Tensor, plan: RoutingPlan, settings: RoutingSettings,
        needs: Needs, known: Known | None = None,
    ) -> Gradients:  # fmt: skip
        import torch

        start, grad_end = (None if s is None else State(*_numpy(*s)) for s in (state, grad_state))
        grad, series = _numpy(grad_discharge, runoff)
        grads = adjoint_cpu(
            grad, grad_end, series, plan, FilterArrays(*_numpy(*filter)), start, settings, known=_known(known), needs=needs
        )
        taps, pole, gain = map(torch.from_numpy, (grads.taps, grads.pole, grads.gain))
        of_start = None if grads.state is None else State(*map(torch.from_numpy, grads.state))
        grad_runoff = torch.from_numpy(grads.runoff) if needs.runoff else runoff.new_empty(0)
        return Gradients(grad_runoff, taps, pole, gain, of_start)


BACKEND = _Cpu()


def _route(
    runoff: NDArray[Any], plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings, rows: Rows,
    exchange: Exchange, hillslopes: Hillslopes | None = None,
) -> tuple[NDArray[Any], State, State | None, NotFinite]:  # fmt: skip
    """Discharge, the states of river and hillslopes at the end, and what was not finite."""
    if runoff.ndim != 3:
        raise ParameterError(f"runoff has shape {runoff.shape}, not (batch, row, time)")
    dtype = compute_type(runoff.dtype)
    n_batch, _, n_steps = runoff.shape
    end, slopes, placed = _to_begin_with(state, filter, n_batch), None, None
    if hillslopes is not None:
        slopes = _to_begin_with(hillslopes.state, hillslopes.filter, n_batch)
        placed = Hillslopes(hillslopes.filter.arrays(), slopes)
    discharge = np.empty((n_batch, plan.n_reaches if rows.n is None else rows.n, n_steps), dtype)
    with laid_out(runoff, dtype) as series:
        n_bad = route_cpu(
            series, discharge, plan, filter.arrays(), end, settings, rows=rows, exchange=exchange, hillslopes=placed,
            dry=state is None,
        )  # fmt: skip
    return discharge, end, slopes, n_bad


def _to_begin_with(state: State | None, filter: Filter, n_batch: int) -> State:
    """A copy of a state, which a run may change; of a dry one zeros."""
    if state is not None:
        return State(state.history.copy(), state.outflow.copy())
    n = filter.pointer.size - 1
    return State(np.zeros((n_batch, int(filter.pointer[-1]) - n)), np.zeros((n_batch, n)))


def _zeros(runoff: torch.Tensor, filter: FilterArrays) -> State:
    """A dry state."""
    n_batch, n, _ = runoff.shape
    return State(filter.taps.new_zeros(n_batch, filter.taps.numel() - n), filter.taps.new_zeros(n_batch, n))


def _known(known: Known | None) -> Known | None:
    return None if known is None else Known(*(None if t is None else t.detach().numpy() for t in known))


def _numpy(*tensors: torch.Tensor) -> list[NDArray[Any]]:
    return [t.detach().numpy() for t in tensors]
