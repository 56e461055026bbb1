"""GPUs of CUDA as a backend: arrays of numpy or cupy and tensors in, arrays and tensors out.

Triton and what needs it are imported when something is routed: this module is imported also where there is no GPU.
"""

from __future__ import annotations

import importlib.util
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
    SlopeGradients,
    State,
    compute_type,
)
from xroute.exceptions import ParameterError
from xroute.wording import argument

if TYPE_CHECKING:
    import torch

    from xroute.engine.gpu.layout import DeviceFilter
    from xroute.engine.plan import RoutingPlan
    from xroute.schemes import Filter
    from xroute.settings import RoutingSettings

__all__ = ["BACKEND"]


class _Cuda:
    """See `xroute.engine.backends.Backend` for what each function does."""

    name, strided, takes_known, keeps_filters = "cuda", True, True, True

    def find_device(self, name: str) -> torch.device:
        import torch

        device = torch.device(name)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            instead = argument("device", "cpu", python="device='cpu'")
            raise ParameterError(
                f"device {name!r}: PyTorch {torch.__version__} sees {count} GPUs here. Route with {instead}, or install a "
                "PyTorch that was built for your GPU"
            )
        if importlib.util.find_spec("triton") is None:
            raise ParameterError(f"device {name!r} needs the package triton: pip install triton")
        return torch.device("cuda", torch.cuda.current_device()) if device.index is None else device

    def default_device(self) -> torch.device | None:
        import torch

        usable = torch.cuda.is_available() and importlib.util.find_spec("triton") is not None
        return torch.device("cuda", torch.cuda.current_device()) if usable else None

    def takes(self, array: Any) -> bool:
        return type(array).__module__.partition(".")[0] == "cupy"

    def to_host(self, array: Any) -> NDArray[Any]:
        host: NDArray[Any] = array.get()
        return host

    def route_arrays(
        self, runoff: Any, plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings, rows: Rows,
        exchange: Exchange, device: torch.device | None,
    ) -> tuple[Any, State, NotFinite]:  # fmt: skip
        discharge, end, n_bad, _ = self._route(runoff, plan, filter, state, settings, rows, exchange, device)
        return discharge, end, n_bad

    def route_with_hillslopes(
        self, runoff: Any, plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings, rows: Rows,
        exchange: Exchange, device: torch.device | None, hillslopes: Hillslopes,
    ) -> tuple[Any, State, State, NotFinite]:  # fmt: skip
        discharge, end, n_bad, slopes = self._route(
            runoff, plan, filter, state, settings, rows, exchange, device, hillslopes
        )
        assert slopes is not None
        return discharge, end, slopes, n_bad

    def _route(
        self, runoff: Any, plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings, rows: Rows,
        exchange: Exchange, device: torch.device | None, hillslopes: Hillslopes | None = None,
    ) -> tuple[Any, State, NotFinite, State | None]:  # fmt: skip
        """Discharge, the river's state at the end, what was not finite, and the state of the hillslopes."""
        from xroute.engine.gpu.host import route_cupy, route_host
        from xroute.engine.gpu.staging import CudaCopies

        if self.takes(runoff):
            return route_cupy(runoff, plan, filter, state, settings, rows, exchange, hillslopes)
        assert device is not None
        runoff, copies = np.asarray(runoff, compute_type(runoff.dtype)), CudaCopies(device)
        return route_host(runoff, plan, filter, state, settings, rows, exchange, copies=copies, hillslopes=hillslopes)

    def forward(
        self, runoff: torch.Tensor, filter: FilterArrays, state: State | None, plan: RoutingPlan, settings: RoutingSettings,
        *, keep_trace: bool, keep_state: bool, owner: Filter | None = None, known: Known | None = None,
    ) -> tuple[torch.Tensor, State | None, torch.Tensor]:  # fmt: skip
        from xroute.engine.gpu.launch import route_gpu

        there = _laid_out(plan, owner or filter, runoff, settings)
        discharge, end, trace = route_gpu(
            runoff,
            plan,
            there,
            state,
            settings,
            exchange=Exchange(known=known),
            keep_state=keep_state,
            keep_trace=keep_trace,
        )
        return discharge, _double(end), runoff.new_empty(0) if trace is None else trace

    def adjoint(
        self, grad_discharge: torch.Tensor, grad_state: State | None, runoff: torch.Tensor, filter: FilterArrays | Filter,
        state: State | None, discharge: torch.Tensor, trace: torch.Tensor, plan: RoutingPlan, settings: RoutingSettings,
        needs: Needs, known: Known | None = None,
    ) -> Gradients:  # fmt: skip
        from xroute.engine.gpu.gradients import adjoint_gpu

        there = _laid_out(plan, filter, runoff, settings)
        grads = adjoint_gpu(
            grad_discharge, grad_state, runoff, plan, there, state, trace if trace.numel() else None, discharge, settings,
            needs_runoff=needs.runoff, known=known,
        )  # fmt: skip
        return grads._replace(state=None if state is None else _double(grads.state))

    def forward_slopes(
        self, runoff: torch.Tensor, filter: FilterArrays, state: State | None, *, keep_state: bool, owner: Filter | None = None,
    ) -> tuple[torch.Tensor, State | None]:  # fmt: skip
        from xroute.engine.gpu.slopes import device_slopes, route_slopes, slopes_on

        there = (
            slopes_on(owner, runoff.device, runoff.dtype) if owner else device_slopes(_on_host(filter), runoff.dtype)
        )
        given, end = route_slopes(runoff, there, state, keep_state=keep_state)
        return given, _double(end)

    def adjoint_slopes(
        self, grad: torch.Tensor, grad_state: State | None, runoff: torch.Tensor, filter: FilterArrays, state: State | None,
        needs: Needs,
    ) -> SlopeGradients:  # fmt: skip
        from xroute.engine.gpu.slopes import adjoint_slopes, device_slopes

        there = device_slopes(_on_host(filter), runoff.dtype)
        grads = adjoint_slopes(grad, grad_state, runoff, there, state, needs)
        return grads._replace(taps=grads.taps.double(), history=grads.history.double())

    def like_discharge(self, runoff: torch.Tensor) -> torch.Tensor:
        from xroute.engine.gpu.memory import padded

        return padded(runoff.shape, runoff.dtype, runoff.device)

    def trace_numel(
        self, runoff: torch.Tensor, plan: RoutingPlan, pointer: NDArray[np.int64], settings: RoutingSettings,
        has_known: bool = False,
    ) -> int:  # fmt: skip
        from xroute.engine.gpu.memory import trace_numel

        return trace_numel(plan, runoff, pointer, settings, has_known)


BACKEND = _Cuda()


def _laid_out(
    plan: RoutingPlan, filter: FilterArrays | Filter, runoff: torch.Tensor, settings: RoutingSettings
) -> DeviceFilter:
    """A filter as the kernels take it; poles are taken for granted: to look would be to wait for the device."""
    from xroute.engine.gpu.layout import kept_filter, prepare_filter

    if isinstance(filter, FilterArrays):
        return prepare_filter(plan, _on_host(filter), runoff.device, runoff.dtype, settings, has_pole=True)
    return kept_filter(plan, filter, runoff.device, runoff.dtype, settings, has_pole=True)


def _on_host(filter: FilterArrays) -> FilterArrays:
    return filter._replace(pointer=filter.pointer.numpy())


def _double(state: State | None) -> State | None:
    return None if state is None else State(*(t.double() for t in state))
