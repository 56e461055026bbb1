"""Hillslopes of a `Router`: a module that makes their filter of parameters that may learn, or holds ordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from xroute.bounded import BoundedParameter, module_name
from xroute.engine.slope_autograd import slopes_autograd
from xroute.engine.slopes import slope_settings
from xroute.grouped import bounded_parameter
from xroute.groups import Learned
from xroute.hillslope import ORDINATES, hillslope_name, hillslope_of, scheme_of
from xroute.network import Network
from xroute.parameters import read_scheme
from xroute.router_state import RouterState, check_ids, ids_as_tensor, slopes_of, start_of
from xroute.schemes import Filter, Scheme, all_reaches, make_filter
from xroute.settings import RoutingSettings

__all__ = ["RouterHillslope", "route_slopes", "router_hillslope"]

Tensor = torch.Tensor


def router_hillslope(network: Network, given: Any, dt: float, learned: Mapping[str, Learned]) -> RouterHillslope | None:
    """Hillslope of a Router, as `xroute.hillslope.hillslope_of` has it; None if there is none.

    ``learned`` says by name which parameters are learned, and how; those of others are left to others.

    Raises
    ------
    ParameterError
        As `hillslope_of`, and for a value to be learned that starts on a bound.
    """
    name = hillslope_name(network, given)
    if name is None:
        return None
    return RouterHillslope(network, name, given, dt, learned)


def route_slopes(
    batch: Tensor, slopes: Filter, hillslope: RouterHillslope | None, state: RouterState | None,
    of_run: tuple[NDArray[Any], str, RoutingSettings], *, keep_state: bool,
) -> tuple[Tensor, RouterState | None]:  # fmt: skip
    """What hillslopes give of runoff [batch, reach, time], and their state if it is wanted.

    ``of_run`` are the ids of the reaches, the hash of their network, and how the river is stepped.

    Raises
    ------
    StateError
        For a state of other hillslopes, or of none.
    """
    assert hillslope is not None
    ids, network, river = of_run
    settings, start = slope_settings(river), None
    network = f"{network} {hillslope.name}"
    assert settings.step is not None
    if state is not None:
        before = slopes_of(state, hillslope.name)
        assert before is not None
        start = start_of(before, batch.shape[0], ids, slopes.n_taps - 1, network, settings)
    given, end = slopes_autograd(batch, slopes, start, keep_state=keep_state)
    if end is None:
        return given, None
    return given, RouterState(*end, slopes.n_taps - 1, network, settings.step, settings.lateral)


class RouterHillslope(torch.nn.Module):
    """What makes the filter of the hillslopes.

    Attributes
    ----------
    name
        Name of the unit hydrograph.
    """

    def __init__(self, network: Network, name: str, given: Any, dt: float, learned: Mapping[str, Learned]) -> None:
        super().__init__()
        self.name, self._ids, self._dt = name, network.ids, dt
        self._scheme: Scheme | None = None
        self.values = torch.nn.ModuleDict()
        if name == ORDINATES:
            found = hillslope_of(network, given, dt)
            assert found is not None
            self._fixed = found.filter
            return
        self._scheme = scheme_of(network, name)
        values = read_scheme(network, self._scheme, all_reaches(network.n_reaches))
        self.values.update({
            module_name(p.name): bounded_parameter(p, values[p.name], learned.get(p.name), network.ids, name)
            for p in self._scheme.parameters
        })  # fmt: skip

    @property
    def modules_by_name(self) -> dict[str, BoundedParameter]:
        """Parameters by name."""
        return {value.parameter.name: value for value in self.values.values() if isinstance(value, BoundedParameter)}

    def physical(self) -> dict[str, Tensor]:
        """Parameters in SI units, float64 [reach]."""
        return {name: value() for name, value in self.modules_by_name.items()}

    def current(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters in SI units, float64 [reach], some of them given in place of its own.

        Raises
        ------
        ParameterError
            For parameters that are out of range.
        """
        values = self.physical()
        for name, module in self.modules_by_name.items():
            if name not in given:
                continue
            values[name] = given[name].to(values[name].device, torch.float64)
            if not module.parameter.allows(values[name].detach()).all():
                module.parameter.check(values[name].detach().cpu().numpy(), self._ids, self.name)
        return values

    def forward(self, given: Mapping[str, Tensor]) -> Filter:
        """Filter of the parameters, some of them given [reach] in place of its own.

        Raises
        ------
        ParameterError
            For parameters that are out of range.
        """
        if self._scheme is None:
            return self._fixed
        values = self.current(given)
        trained = torch.is_grad_enabled() and any(v.requires_grad for v in values.values())
        scheme, n = self._scheme, self._ids.size
        at = {self.name: (all_reaches(n), values)}
        return make_filter(at, self._dt, n, ids=self._ids, check=not trained, find=lambda _: scheme)

    def get_extra_state(self) -> Tensor:
        """Ids of the reaches, in the order of the values."""
        return ids_as_tensor(self._ids.copy())

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse the values of other reaches."""
        check_ids(state, self._ids)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        for name, value in self.modules_by_name.items():
            value.check_stored(state_dict, f"{prefix}values.{module_name(name)}.", self._ids, self.name)

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        return self.name
