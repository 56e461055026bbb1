"""Backends: who routes on which kind of device. Whoever has an array, a tensor or a device's name asks here.

A backend is loaded when it is first needed, and imports what it computes with no sooner.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

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
)
from xroute.exceptions import ParameterError

if TYPE_CHECKING:
    import torch

    from xroute.engine.plan import RoutingPlan
    from xroute.schemes import Filter
    from xroute.settings import RoutingSettings

__all__ = [
    "Backend", "backend_of", "backend_of_array", "backends", "default_device", "device_named", "on_host", "register_backend",
]  # fmt: skip


class Backend(Protocol):
    """What routes on one kind of device.

    `route_arrays` is what labelled runoff goes through; `forward` and `adjoint` are what tensors do, with gradients. States
    are float64 on the way in and out; None is a dry start, or a final state that nobody wants. What a forward run writes
    down for its adjoint is the trace: one tensor, of the backend's own making, without elements if there is none. What has a
    body here is what most backends do, and theirs if they are subclasses.
    """

    name: str
    """Type of its devices, as in ``tensor.device.type``; users name them by it, with or without a number: ``"cuda:1"``."""
    strided: bool
    """Whether `forward` and `adjoint` take runoff, discharge and its gradient in any layout; all else is contiguous."""
    takes_known: bool = False
    """Whether it routes with `Known` discharge: that of the exchange, and that which `forward` and `adjoint` are given."""
    keeps_filters: bool = False
    """Whether it wants to know whose a filter's arrays are also where a run is differentiated."""

    def find_device(self, name: str) -> torch.device:
        """The device of a name that begins with the backend's own.

        Raises
        ------
        ParameterError
            If it is not there, saying what to do.
        """

    def default_device(self) -> torch.device | None:
        """The device to route on where nobody names one; None if that is not for this backend, here, to say."""
        return None

    def takes(self, array: Any) -> bool:
        """Whether an array, not one of numpy, lies on one of its devices: then it is routed there, whatever the device named."""
        return False

    def to_host(self, array: Any) -> NDArray[Any]:
        """An array that it takes, as one of numpy."""
        return np.asarray(array)

    def route_arrays(
        self, runoff: Any, plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings, rows: Rows,
        exchange: Exchange, device: torch.device | None,
    ) -> tuple[Any, State, NotFinite]:  # fmt: skip
        """Discharge [batch, rows.n, time] of runoff [batch, row, time], and the state, numpy's arrays, at the end.

        Discharge is of the kind of the array that runoff is. The state given is not changed.
        """

    def route_with_hillslopes(
        self, runoff: Any, plan: RoutingPlan, filter: Filter, state: State | None, settings: RoutingSettings, rows: Rows,
        exchange: Exchange, device: torch.device | None, hillslopes: Hillslopes,
    ) -> tuple[Any, State, State, NotFinite]:  # fmt: skip
        """`route_arrays` of what hillslopes make of runoff, and the states of the river and of the hillslopes at the end.

        Here the two are routed one after the other, the first on a network without links.
        """
        from xroute.engine.slopes import one_after_the_other

        return one_after_the_other(self, runoff, plan, filter, state, settings, rows, exchange, device, hillslopes)

    def forward(
        self, runoff: torch.Tensor, filter: FilterArrays, state: State | None, plan: RoutingPlan, settings: RoutingSettings,
        *, keep_trace: bool, keep_state: bool, owner: Filter | None = None, known: Known | None = None,
    ) -> tuple[torch.Tensor, State | None, torch.Tensor]:  # fmt: skip
        """Discharge, of the type of runoff, the final state, and the trace: new tensors.

        The pointer of the filter is a tensor of the host, and so is what says which reaches are known; only a backend that
        ``takes_known`` is given any. Where nothing is differentiated, or the backend ``keeps_filters``, ``owner`` is the filter
        whose arrays these are: what a backend makes of them may be kept with it (`xroute.caches.keep`) until they change.
        """

    def adjoint(
        self, grad_discharge: torch.Tensor, grad_state: State | None, runoff: torch.Tensor, filter: FilterArrays | Any,
        state: State | None, discharge: torch.Tensor, trace: torch.Tensor, plan: RoutingPlan, settings: RoutingSettings,
        needs: Needs, known: Known | None = None,
    ) -> Gradients:  # fmt: skip
        """Gradients of a loss, new tensors; those that are not needed may hold anything, and that of runoff no elements.

        ``discharge`` and ``trace`` are what `forward` gave; if there is no trace, discharge may have no elements either. A
        backend that ``keeps_filters`` is given the ``owner`` that `forward` was given, if it was, in place of its arrays.
        """

    def forward_slopes(
        self, runoff: torch.Tensor, filter: FilterArrays, state: State | None, *, keep_state: bool, owner: Filter | None = None,
    ) -> tuple[torch.Tensor, State | None]:  # fmt: skip
        """What hillslopes, windows without poles, give of runoff, laid out as discharge is, and their final state: new tensors.

        Here they are routed on a network without links.
        """
        from xroute.engine.slopes import forward_by_routing

        return forward_by_routing(self, runoff, filter, state, keep_state=keep_state, owner=owner)

    def adjoint_slopes(
        self, grad: torch.Tensor, grad_state: State | None, runoff: torch.Tensor, filter: FilterArrays, state: State | None,
        needs: Needs,
    ) -> SlopeGradients:  # fmt: skip
        """Gradients of a loss with respect to what `forward_slopes` takes: new tensors; that of runoff laid out as discharge."""
        from xroute.engine.slopes import adjoint_by_routing

        return adjoint_by_routing(self, grad, grad_state, runoff, filter, state, needs)

    def like_discharge(self, runoff: torch.Tensor) -> torch.Tensor:
        """Discharge of some runoff, laid out as `forward` lays it out, without values."""
        return runoff.new_empty(runoff.shape)

    def trace_numel(
        self, runoff: torch.Tensor, plan: RoutingPlan, pointer: NDArray[np.int64], settings: RoutingSettings,
        has_known: bool = False,
    ) -> int:  # fmt: skip
        """Elements of the trace that `forward` would keep of a run."""
        return 0


_BACKENDS: dict[str, Backend | str] = {"cpu": "xroute.engine.cpu.backend", "cuda": "xroute.engine.gpu.backend"}
"""By name; a module stands for its ``BACKEND`` until that is needed."""


def register_backend(backend: Backend) -> None:
    """Let a backend route on its devices; one of the same name is replaced.

    Parameters
    ----------
    backend
        An object with what `Backend` has; its ``name`` is the type of its devices.

    Raises
    ------
    ParameterError
        For a name that is no word.

    Examples
    --------
    The CPU's once more; CONTRIBUTING.md has a whole backend.

    >>> from xroute.engine.backends import backend_of, register_backend
    >>> register_backend(backend_of("cpu"))
    """
    if not backend.name.isidentifier():
        raise ParameterError(f"the name of a backend is a word, as in torch.device, not {backend.name!r}")
    _BACKENDS[backend.name] = backend


def backends() -> tuple[str, ...]:
    """Names of the backends that there are."""
    return tuple(_BACKENDS)


def backend_of(name: str) -> Backend:
    """The backend of a type of device, as in ``tensor.device.type``.

    Raises
    ------
    KeyError
        If there is none.
    """
    found = _BACKENDS[name]
    if isinstance(found, str):
        made: Backend = importlib.import_module(found).BACKEND
        found = _BACKENDS[name] = made
    return found


def backend_of_array(array: Any) -> Backend | None:
    """The backend on whose device an array lies; None for one that lies in the host's memory."""
    if isinstance(array, np.ndarray):
        return None
    return next((b for b in map(backend_of, backends()) if b.takes(array)), None)


def on_host(array: Any) -> NDArray[Any]:
    """An array as one of numpy, copied from a backend's device if it lies on one."""
    backend = backend_of_array(array)
    return np.asarray(array) if backend is None else backend.to_host(array)


def default_device() -> torch.device:
    """The device to route on where nobody names one: that of the backend that was registered last, of those that have one."""
    found = (backend_of(name).default_device() for name in reversed(backends()))
    return next(device for device in found if device is not None)


def device_named(name: str) -> torch.device:
    """The device of a name that is a backend's, or begins with one and a colon.

    Raises
    ------
    ParameterError
        If it is not there.
    """
    return backend_of(name.partition(":")[0]).find_device(name)
