"""`Router`: routing as a `torch.nn.Module`, whose parameters can be learned within their bounds.

It reads a network once and then knows tensors only: no labels, no units, no alignment. For those see `xroute.route`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.bounded import BoundedParameter, module_name
from xroute.engine.autograd import route_autograd
from xroute.exceptions import ParameterError, some
from xroute.grids.tensors import GridInput
from xroute.ids import exact_ids
from xroute.known_match import known_positions
from xroute.network import Network
from xroute.network_files import as_network
from xroute.parameters import parameters_of
from xroute.recipe import resolve_settings
from xroute.router_hillslope import route_slopes, router_hillslope
from xroute.router_state import RouterState, check_ids, given_known, ids_as_tensor, network_hash, slopes_of, start_of
from xroute.schemes import SCHEMES, Filter, make_filter
from xroute.settings import Lateral, RoutingSettings, Sampling
from xroute.times import seconds

__all__ = ["Router", "RouterState"]

Tensor = torch.Tensor


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
        Routing steps in a step of runoff, or ``"auto"``: the fewest that keep every `muskingum` reach from oscillating
        with the initial parameters (`muskingum_exact` does not at any step). By default the network's own, as in
        `xroute.route`.
    sampling, lateral, hillslope
        As in `xroute.route`. Parameters of a hillslope are learned by their names, as those of a scheme are; ordinates are not.
    learnable
        Names of the parameters to learn, such as ``("k", "x")``. They become `torch.nn.Parameter` in a form that has no
        bounds, so that no optimiser's step can leave the range of the scheme: the logarithm of the distance from a
        bound, or, between two bounds, the logit. A name that several schemes have is learned in each of them.
    known
        Ids of reaches whose discharge is known, if not always: gauges, releases of dams, where a basin that is trained by
        itself takes up what flows in from others. Its values are given in each call.
    weights, units
        For runoff on a grid: weights as of `xroute.route`, of the network's reaches and no others, and the units of the grid's
        values, by default ``"m s-1"``. Gradients flow to the cells; values that are NaN make NaN.

    Raises
    ------
    ParameterError
        If a parameter is missing or out of range, a name is unknown, or a value to be learned starts on a bound, where
        its gradient vanishes; for known ids that stand twice or are not in the network.

    Notes
    -----
    Reaches stand in the network's own order, ``router.ids``. Runoff is a volume flux, and discharge comes in its units.
    Parameters, filters and states are float64, and float32 runoff gives float32 discharge. In between, the CPU computes in
    float64 and a GPU in the type of runoff. ``router.float()``, ``router.half()`` and their like change nothing, and
    ``router.to("cuda")`` the device only. Routing is done, and discharge returned, where runoff is.

    A state dict holds the ids of the reaches with the values, and is loaded only where they are the same.

    The window of `hayami`, `nash_cascade` and `pure_lag` is chosen anew from the values of the parameters in each call.
    Gradients flow through the values of its taps, not through their number. So filters are made outside of the graph of
    `torch.compile`, which breaks there once: ``fullgraph=True`` is an error.

    Filters are looked at (finite, and decaying) when a Router is made, and later wherever no gradient is wanted: in training
    that would mean to wait for the GPU in each step, and parameters cannot leave their ranges there.

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
        substeps: int | Literal["auto"] | None = None,
        sampling: Sampling | None = None,
        lateral: Lateral | None = None,
        hillslope: Any = None,
        learnable: Iterable[str] | None = (),
        known: Any = None,
        weights: Any = None,
        units: str | None = None,
    ) -> None:
        super().__init__()
        self.network = as_network(network)
        if weights is None and units is not None:
            raise ParameterError("units are those of a grid, with weights=; runoff by reach is a volume flux")
        self._grid = None if weights is None else GridInput(weights, self.network, seconds(dt), units)
        self.known_ids: NDArray[Any] | None = None if known is None else exact_ids(np.atleast_1d(known), "known")
        """Ids of the reaches whose discharge is known, in the order in which `forward` takes it; None for none."""
        self._known_reach = (
            None if self.known_ids is None else torch.from_numpy(known_positions(self.known_ids, self.network))
        )
        parameters = parameters_of(self.network, scheme)
        self.settings: RoutingSettings = resolve_settings(
            self.network, parameters.values, seconds(dt), substeps=substeps, sampling=sampling, lateral=lateral
        )
        """How runoff is stepped and sampled."""
        parameters.warn_of_step(self.settings)
        schemes = parameters.values
        learned = {learnable} if isinstance(learnable, str) else set(() if learnable is None else learnable)
        self.hillslope = router_hillslope(self.network, hillslope, self.dt, learned)
        """What runoff goes through before it joins its reach; None for nothing."""
        names = {name for _, values in schemes.values() for name in values}
        names |= set(() if self.hillslope is None else self.hillslope.modules_by_name)
        if learned - names:
            raise ParameterError(
                f"learnable names {some(sorted(learned - names))}, but the network's schemes "
                f"({', '.join(sorted(schemes))}) have {some(sorted(names))}"
            )
        self._at = {name: at for name, (at, _) in schemes.items()}
        self.values = torch.nn.ModuleDict()
        for name, (at, values) in schemes.items():
            of_scheme = {p.name: p for p in SCHEMES[name].parameters}
            self.values[module_name(name)] = torch.nn.ModuleDict({
                module_name(p): BoundedParameter(of_scheme[p], torch.from_numpy(v.copy()), p in learned, self.ids[at], name)
                for p, v in values.items()
            })  # fmt: skip
        self._network_hash = network_hash(self.network, self._at)
        self._made: tuple[list[Any], tuple[Filter, Filter | None]] | None = None
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
    def dt(self) -> float:
        """Step of runoff [s]."""
        assert self.settings.step is not None
        return self.settings.step

    @property
    def substeps(self) -> int:
        """Routing steps in a step of runoff."""
        return self.settings.substeps

    @property
    def sampling(self) -> Sampling:
        """How the substeps of a step make its discharge."""
        return self.settings.sampling

    @property
    def lateral(self) -> Lateral:
        """Where runoff joins its reach."""
        return self.settings.lateral

    @property
    def parameters_si(self) -> dict[str, Tensor]:
        """Parameters in SI units by name, float64 [reach]; NaN on reaches whose scheme does not have them."""
        found: dict[str, Tensor] = {}
        for scheme, at in self._at.items():
            for name, value in self._values(scheme).items():
                if name not in found:
                    found[name] = torch.full((self.n_reaches,), torch.nan, dtype=value.dtype, device=value.device)
                found[name] = found[name].index_put((torch.from_numpy(at).to(value.device),), value)
        for name, value in ({} if self.hillslope is None else self.hillslope.physical()).items():
            found.setdefault(name, value)
        return found

    def forward(
        self,
        runoff: Tensor,
        parameters: Mapping[str, Tensor] | None = None,
        state: RouterState | None = None,
        return_state: bool = False,
        known: Tensor | None = None,
    ) -> Any:
        """Route runoff.

        Parameters
        ----------
        runoff : [batch, reach, time] or [reach, time]
            Volume flux into each reach, in the network's order. With weights [batch, *grid, time] or [*grid, time], in the
            Router's ``units``, where the grid has its own dimensions, or all of its cells in a row.
        parameters : dict of tensor [reach], optional
            Values in SI units to use in place of the module's own, with gradients if they require them: what a neural
            network says of the reaches, for instance. Values on reaches whose scheme does not have the parameter are
            ignored.
        state
            State to start from, as ``return_state=True`` gave it; dry by default. It must be of
            the same windows: `StateError` where parameters that were learned meanwhile have changed them.
        return_state
            Whether to return the final state too.
        known : [batch, known reach, time] or [known reach, time]
            Discharge on the reaches that the Router was told are known, in their order and in the units of runoff; NaN where
            it is not known. One member serves all. There it takes the place of what is routed, so that no gradient flows
            upstream; one flows to its values, if they require it.

        Returns
        -------
        discharge : tensor [batch, reach, time] or [reach, time]
        state : RouterState
            With ``return_state=True``; gradients flow through it.

        Raises
        ------
        ParameterError, StateError
            For shapes that do not fit, and parameters that are out of range.
        """
        if not isinstance(runoff, Tensor):
            raise ParameterError(
                f"runoff is a tensor, not {type(runoff).__name__}: torch.from_numpy makes one of an array; for labelled "
                "runoff there is xroute.route"
            )
        if self._grid is not None:
            runoff = self._grid(runoff)
        if runoff.ndim not in (2, 3) or runoff.shape[-2] != self.n_reaches:
            raise ParameterError(
                f"runoff has shape {tuple(runoff.shape)}, but the network has {self.n_reaches} reaches: it must be "
                f"(batch, {self.n_reaches}, time) or ({self.n_reaches}, time)"
            )
        batch = runoff if runoff.ndim == 3 else runoff[None]
        made, slopes = self._filter(parameters)
        n_lags, start, on_slopes = made.n_taps - 1, None, None
        if state is not None:
            start = start_of(state, batch.shape[0], self.ids, n_lags, self._network_hash, self.settings)
        if slopes is not None:
            of_run = self.ids, self._network_hash, self.settings
            batch, on_slopes = route_slopes(batch, slopes, self.hillslope, state, of_run, keep_state=return_state)
        elif state is not None:
            slopes_of(state, None)
        fixed = given_known(known, self.known_ids, self._known_reach, batch)
        discharge, end = route_autograd(
            batch, self.network.plan, made, start, self.settings, keep_state=return_state, known=fixed
        )
        discharge = discharge if runoff.ndim == 3 else discharge[0]
        if end is None:
            return discharge
        return discharge, RouterState(*end, n_lags, self._network_hash, self._routing_step, self.lateral, on_slopes)

    def get_extra_state(self) -> Tensor:
        """Ids of the reaches, scheme by scheme as their values are: int64 [reach], or of text, UTF-32 [reach, letter]."""
        return ids_as_tensor(self._ids_by_scheme)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse the values of other reaches; `load_state_dict` calls this before it loads any.

        Raises
        ------
        ParameterError
            Naming reaches that differ.
        """
        check_ids(state, self._ids_by_scheme)

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        modes = f"substeps={self.substeps}, sampling={self.sampling!r}, lateral={self.lateral!r}"
        modes += "" if self.hillslope is None else f", hillslope={self.hillslope.name!r}"
        return f"{self.network!r}, dt={self.dt:g} s, {modes}"

    @property
    def _routing_step(self) -> float:
        """Routing step [s]."""
        assert self.settings.routing_step is not None
        return self.settings.routing_step

    @property
    def _ids_by_scheme(self) -> NDArray[Any]:
        return np.concatenate([self.ids[at] for at in self._at.values()])

    def _modules_of(self, scheme: str) -> dict[str, BoundedParameter]:
        """Parameters of a scheme by name."""
        module = self.values[module_name(scheme)]
        assert isinstance(module, torch.nn.ModuleDict)
        return {value.parameter.name: value for value in module.values() if isinstance(value, BoundedParameter)}

    def _values(self, scheme: str) -> dict[str, Tensor]:
        """Parameters of a scheme in SI units, float64 [its reaches]."""
        return {name: value() for name, value in self._modules_of(scheme).items()}

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)  # compares the ids
        for scheme, at in self._at.items():  # all values are looked at before the first is taken
            for name, value in self._modules_of(scheme).items():
                stored = state_dict.get(
                    f"{prefix}values.{module_name(scheme)}.{module_name(name)}.{'raw' if value.learned else 'fixed'}"
                )
                if stored is not None and stored.shape == at.shape:  # torch complains of others itself
                    found = value.physical(stored.detach().cpu())
                    value.parameter.check(found.numpy(), self.ids[at], f"state dict, {scheme}")

    @torch.compiler.disable(
        reason="xroute.Router makes its filters outside of the graph: compile without fullgraph=True"
    )
    def _filter(self, given: Mapping[str, Tensor] | None = None) -> tuple[Filter, Filter | None]:
        """Filters of the channel and of the hillslopes."""
        if not isinstance(given, Mapping | None):
            raise ParameterError(f"parameters is a dict of tensors by name, not {type(given).__name__}")
        given = given or {}
        if given or (torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())):
            return self._new_filter(given)
        tensors = [
            *self.parameters(),
            *self.buffers(),
        ]  # no gradient will be wanted, so one filter serves until they change
        if any(t.is_inference() for t in tensors):
            return self._new_filter(given)
        held = [(t, t._version, t.device, t.data_ptr()) for t in tensors]
        if self._made is None or len(self._made[0]) != len(held) or any(
            a[0] is not b[0] or a[1:] != b[1:] for a, b in zip(self._made[0], held, strict=True)
        ):  # fmt: skip
            self._made = held, self._new_filter(given)
        return self._made[1]

    def _new_filter(self, given: Mapping[str, Tensor]) -> tuple[Filter, Filter | None]:
        n = self.n_reaches
        own = {scheme: self._values(scheme) for scheme in self._at}
        unknown = set(given) - {name for values in own.values() for name in values}
        unknown -= set(() if self.hillslope is None else self.hillslope.modules_by_name)
        if unknown:
            raise ParameterError(f"no scheme of this network has the parameters {some(sorted(unknown))}")
        for name, value in given.items():
            if not isinstance(value, Tensor):
                raise ParameterError(
                    f"{name!r} is {type(value).__name__}, not a tensor [reach]: torch.from_numpy makes one of an array, and "
                    f"torch.full(({n},), value) of one value for all reaches"
                )
            if value.shape != (n,):
                raise ParameterError(f"{name!r} has shape {tuple(value.shape)}, not ({n},): one value a reach")
        by_scheme = {}
        for scheme, at in self._at.items():
            values = own[scheme]
            for name, module in self._modules_of(scheme).items():
                if name in given:
                    device = values[name].device
                    value = given[name].to(device, torch.float64)[torch.from_numpy(at).to(device)]
                    if not module.parameter.allows(value.detach()).all():
                        module.parameter.check(value.detach().cpu().numpy(), self.ids[at], scheme)
                    values[name] = value
            by_scheme[scheme] = at, values
        trained = torch.is_grad_enabled() and any(v.requires_grad for _, values in by_scheme.values() for v in values.values())
        made = make_filter(by_scheme, self._routing_step, n, lateral=self.lateral, ids=self.ids, check=not trained)
        return made, None if self.hillslope is None else self.hillslope(given)
