"""`Router`: routing as a `torch.nn.Module`, whose parameters can be learned within their bounds.

It reads a network once and then knows tensors only: no labels, no units, no alignment. For those see `xroute.route`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.autograd import route_autograd
from xroute.engine.cpu import LATERAL, SAMPLING
from xroute.exceptions import ParameterError, StateError, some
from xroute.labels import seconds
from xroute.network import Network, as_network
from xroute.parameters import check_muskingum, read_parameters, resolve_substeps
from xroute.schemes import SCHEMES, Filter, Parameter, make_filter

__all__ = ["Router", "RouterState"]

Tensor = torch.Tensor


@dataclass(frozen=True)
class RouterState:
    """State of the rivers after a run, from which a later run of the same `Router` goes on.

    Attributes
    ----------
    history : float64 [batch, sum of lags]
        Each reach's last inflows, newest first, one reach after another.
    outflow : float64 [batch, reach]
        Last filtered outflow.
    n_lags : int64 [reach], numpy
        Number of inflows of each reach in ``history``.
    """

    history: Tensor
    outflow: Tensor
    n_lags: NDArray[np.int64]

    def detach(self) -> RouterState:
        """State through which no gradient flows: for training on one stretch of a series after another."""
        return RouterState(self.history.detach(), self.outflow.detach(), self.n_lags)

    def to(self, device: torch.device | str) -> RouterState:
        """State on another device."""
        return RouterState(self.history.to(device), self.outflow.to(device), self.n_lags)


class Router(torch.nn.Module):
    """Differentiable routing down one network.

    Parameters
    ----------
    network : Network or xarray.Dataset
        Reaches, links and scheme parameters, the initial values of those that are learned.
    dt : float, str or timedelta
        Step of runoff: seconds, or text like ``"1h"``.
    scheme
        Routing scheme of all reaches, in place of the network's own, which may differ from reach to reach.
    substeps
        Routing steps in a step of runoff, or ``"auto"``: the fewest that keep every Muskingum reach stable with the
        initial parameters.
    sampling, lateral
        As in `xroute.route`.
    learnable
        Names of the parameters to learn, such as ``("k", "x")``. They become `torch.nn.Parameter` in a form that has no
        bounds, so that no optimiser's step can leave the range of the scheme: the logarithm of the distance from a
        bound, or, between two bounds, the logit. A name that several schemes have is learned in each of them.

    Raises
    ------
    ParameterError
        If a parameter is missing or out of range, a name is unknown, or a value to be learned starts on a bound, where
        its gradient vanishes.

    Notes
    -----
    Reaches stand in the network's own order, ``router.ids``. Runoff is a volume flux, and discharge comes in its units.
    Parameters, filters and states are float64, and float32 runoff gives float32 discharge. In between, the CPU computes in
    float64 and a GPU in the type of runoff.

    The window of `hayami`, `nash_cascade` and `pure_lag` is chosen anew from the values of the parameters in each call.
    Gradients flow through the values of its taps, not through their number.

    Examples
    --------
    >>> import torch, xroute
    >>> from xroute.router import Router
    >>> network = xroute.datasets.scheidegger(3, 4)
    >>> router = Router(network, dt="1h", learnable=("k", "x"))
    >>> discharge = router(torch.rand(12, 48))
    >>> discharge.square().mean().backward()
    >>> sorted(name for name, _ in router.named_parameters())
    ['values.muskingum.k.raw', 'values.muskingum.x.raw']
    """

    def __init__(
        self,
        network: Network | xr.Dataset,
        *,
        dt: Any,
        scheme: str | None = None,
        substeps: int | Literal["auto"] = 1,
        sampling: Literal["mean", "last", "start-mean"] = "mean",
        lateral: Literal["head", "interval", "outlet"] = "head",
        learnable: Iterable[str] = (),
    ) -> None:
        super().__init__()
        for value, allowed, name in ((sampling, SAMPLING, "sampling"), (lateral, LATERAL, "lateral")):
            if value not in allowed:
                raise ParameterError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")
        self.network = as_network(network)
        self.dt = seconds(dt)
        self.sampling, self.lateral = sampling, lateral
        parameters = read_parameters(self.network, scheme)
        self.substeps: int = resolve_substeps(substeps, parameters, self.dt, self.network.ids)
        check_muskingum(parameters, self.dt, self.substeps)
        learned = {learnable} if isinstance(learnable, str) else set(learnable)
        known = {name for _, values in parameters.values() for name in values}
        if learned - known:
            raise ParameterError(
                f"learnable names {some(sorted(learned - known))}, but the network's schemes "
                f"({', '.join(sorted(parameters))}) have {some(sorted(known))}"
            )
        self._at = {name: at for name, (at, _) in parameters.items()}
        self.values = torch.nn.ModuleDict()
        for name, (at, values) in parameters.items():
            described = {p.name: p for p in SCHEMES[name].parameters}
            self.values[_key(name)] = torch.nn.ModuleDict(
                {
                    _key(p): _Value(described[p], torch.from_numpy(v.copy()), p in learned, self.ids[at], name)
                    for p, v in values.items()
                }
            )
        self._filter()  # fails now, not in training, if the parameters have no filter

    @property
    def ids(self) -> NDArray[Any]:
        """Ids of the reaches, in the order of runoff, discharge and parameters."""
        return self.network.ids

    @property
    def n_reaches(self) -> int:
        """Number of reaches."""
        return self.network.n_reaches

    @property
    def parameters_si(self) -> dict[str, Tensor]:
        """Parameters in SI units by name, float64 [reach]; NaN on reaches whose scheme does not have them."""
        found: dict[str, Tensor] = {}
        for scheme, at in self._at.items():
            for name, value in self._values(scheme).items():
                if name not in found:
                    found[name] = torch.full((self.n_reaches,), torch.nan, dtype=value.dtype, device=value.device)
                found[name] = found[name].index_put((torch.from_numpy(at).to(value.device),), value)
        return found

    def forward(
        self,
        runoff: Tensor,
        parameters: Mapping[str, Tensor] | None = None,
        state: RouterState | None = None,
        return_state: bool = False,
    ) -> Any:
        """Route runoff.

        Parameters
        ----------
        runoff : [batch, reach, time] or [reach, time]
            Volume flux into each reach, in the network's order.
        parameters : dict of tensor [reach], optional
            Values in SI units to use in place of the module's own, with gradients if they require them: what a neural
            network says of the reaches, for instance. Values on reaches whose scheme does not have the parameter are
            ignored.
        state
            State to start from, as ``return_state=True`` gave it; dry by default. It must be of
            the same windows: `StateError` where parameters that were learned meanwhile have changed them.
        return_state
            Whether to return the final state too.

        Returns
        -------
        discharge : tensor of the shape of ``runoff``
        state : RouterState
            With ``return_state=True``; gradients flow through it.

        Raises
        ------
        ParameterError, StateError
            For shapes that do not fit, and parameters that are out of range.
        """
        if runoff.ndim not in (2, 3) or runoff.shape[-2] != self.n_reaches:
            raise ParameterError(
                f"runoff has shape {tuple(runoff.shape)}, but the network has {self.n_reaches} reaches: it must be "
                f"(batch, {self.n_reaches}, time) or ({self.n_reaches}, time)"
            )
        batch = runoff if runoff.ndim == 3 else runoff[None]
        made = self._filter(parameters)
        n_lags = made.n_taps - 1
        history, outflow = (None, None) if state is None else self._start(state, batch.shape[0], n_lags)
        discharge, history, outflow = route_autograd(
            batch, self.network.plan, made, history, outflow,
            substeps=self.substeps, sampling=self.sampling, lateral=self.lateral, keep_state=return_state,
        )  # fmt: skip
        discharge = discharge if runoff.ndim == 3 else discharge[0]
        return (discharge, RouterState(history, outflow, n_lags)) if return_state else discharge

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        modes = f"substeps={self.substeps}, sampling={self.sampling!r}, lateral={self.lateral!r}"
        return f"{self.network!r}, dt={self.dt:g} s, {modes}"

    def _values(self, scheme: str) -> dict[str, Tensor]:
        """Parameters of a scheme in SI units, float64 [its reaches]."""
        module = self.values[_key(scheme)]
        assert isinstance(module, torch.nn.ModuleDict)
        return {value.parameter.name: value() for value in module.values() if isinstance(value, _Value)}

    @torch.compiler.disable
    def _filter(self, given: Mapping[str, Tensor] | None = None) -> Filter:
        given = given or {}
        n = self.n_reaches
        own = {scheme: self._values(scheme) for scheme in self._at}
        unknown = set(given) - {name for values in own.values() for name in values}
        if unknown:
            raise ParameterError(f"no scheme of this network has the parameters {some(sorted(unknown))}")
        for name, value in given.items():
            if value.shape != (n,):
                raise ParameterError(f"{name!r} has shape {tuple(value.shape)}, not ({n},): one value a reach")
        by_scheme = {}
        for scheme, at in self._at.items():
            values = own[scheme]
            for parameter in SCHEMES[scheme].parameters:
                if parameter.name in given:
                    device = values[parameter.name].device
                    value = given[parameter.name].to(device, torch.float64)[torch.from_numpy(at).to(device)]
                    if not parameter.allows(value.detach()).all():
                        parameter.check(value.detach().cpu().numpy(), self.ids[at], scheme)
                    values[parameter.name] = value
            by_scheme[scheme] = at, values
        lateral: Any = self.lateral
        return make_filter(by_scheme, self.dt / self.substeps, n, lateral=lateral, ids=self.ids)

    def _start(self, state: RouterState, n_batch: int, n_lags: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        if state.n_lags.shape != n_lags.shape or state.outflow.shape != (n_batch, self.n_reaches):
            raise StateError(
                f"the state is of {state.outflow.shape[0]} members x {state.n_lags.size} reaches, not of {n_batch} x "
                f"{self.n_reaches}"
            )
        if np.array_equal(state.n_lags, n_lags):
            return state.history, state.outflow
        other = self.ids[state.n_lags != n_lags]
        raise StateError(
            f"{other.size} reaches now have a window of another length: {some(other)}. Their parameters have changed since "
            "the state was made, so their past inflow cannot be used: route from a dry start, or keep those parameters fixed"
        )


class _Value(torch.nn.Module):
    """One parameter of one scheme: fixed, or learned in a form without bounds. Physical values are float64."""

    def __init__(self, parameter: Parameter, value: Tensor, learned: bool, ids: NDArray[Any], scheme: str) -> None:
        super().__init__()
        self.parameter = parameter
        self.learned = learned
        self.fixed: Tensor
        if not learned:
            self.register_buffer("fixed", value)
            return
        low, high = parameter.low, parameter.high
        on_bound = ((value == low) | (value == high)).numpy()
        if on_bound.any():
            raise ParameterError(
                f"{scheme}: {parameter.name!r} is to be learned, but {int(on_bound.sum())} reaches start on a bound of "
                f"{parameter.range}, where its gradient vanishes: {some(ids[on_bound])}. Start them inside"
            )
        if np.isfinite(low) and np.isfinite(high):
            raw = torch.logit((value - low) / (high - low))
        elif np.isfinite(low):
            raw = torch.log(value - low)
        else:
            raw = torch.log(high - value) if np.isfinite(high) else value
        self.raw = torch.nn.Parameter(raw)

    def forward(self) -> Tensor:
        """Value in SI units [its reaches]."""
        if not self.learned:
            return self.fixed.to(torch.float64)
        low, high = self.parameter.low, self.parameter.high
        raw = self.raw.to(torch.float64)
        if np.isfinite(low) and np.isfinite(high):
            value = low + (high - low) * torch.sigmoid(raw)
        elif np.isfinite(low):
            value = low + torch.exp(raw)
        else:
            value = high - torch.exp(raw) if np.isfinite(high) else raw
        # far out, rounding would reach a bound that is open, or infinity
        least = np.nextafter(low, np.inf) if self.parameter.low_open else max(low, -np.finfo(np.float64).max)
        return value.clamp(least, min(high, np.finfo(np.float64).max))


def _key(name: str) -> str:
    """Name as a module may bear it."""
    safe = name.replace(".", "_")
    return safe + "_" if not safe or hasattr(torch.nn.ModuleDict, safe) else safe
