"""`Router`: routing as a `torch.nn.Module`, whose parameters can be learned within their bounds.

It reads a network once and then routes tensors: no labels, no units, no alignment. Its bridges to labels are in
`xroute.router_bridges`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.display.others import panel_of_router, router_lines
from xroute.engine.autograd import route_autograd
from xroute.exceptions import ParameterError
from xroute.grids.tensors import GridInput
from xroute.groups import learned_of
from xroute.ids import exact_ids
from xroute.known_match import known_positions
from xroute.network import Network
from xroute.network_files import as_network
from xroute.parameters import parameters_of
from xroute.recipe import resolve_settings
from xroute.router_bridges import LabelBridges
from xroute.router_hillslope import route_slopes
from xroute.router_state import RouterState, given_known, network_hash, slopes_of, start_of
from xroute.schemes import Filter, make_filter
from xroute.settings import Lateral, Sampling
from xroute.times import seconds

__all__ = ["Router", "RouterState"]

Tensor = torch.Tensor


class Router(LabelBridges):
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
        bound, or, between two bounds, the logit. A name that several schemes have is learned in each of them. Or how each is
        learned, by its name: True, each reach by itself; groups, as `reach_groups` takes them, one value for each (``"all"``,
        ``"strahler"``, a variable of the network, ...), which starts at the mean of its reaches; ``("scale", groups)``, one
        factor for each on the network's own values, within the range; False or None, not at all.
    known : ids [known reach]
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
        learnable: Iterable[str] | Mapping[str, Any] | None = (),
        known: Any = None,
        weights: Any = None,
        units: str | None = None,
    ) -> None:
        network, step = as_network(network), seconds(dt)
        if weights is None and units is not None:
            raise ParameterError("units are those of a grid, with weights=; runoff by reach is a volume flux")
        grid = None if weights is None else GridInput(weights, network, step, units)
        known_ids = None if known is None else exact_ids(np.atleast_1d(known), "known")
        known_reach = None if known_ids is None else torch.from_numpy(known_positions(known_ids, network))
        parameters = parameters_of(network, scheme)
        settings = resolve_settings(
            network, parameters.values, step, substeps=substeps, sampling=sampling, lateral=lateral
        )
        parameters.warn_of_step(settings)
        super().__init__(network, scheme, settings, hillslope, learned_of(learnable, network))
        self._grid, self._known_reach = grid, known_reach
        self.known_ids: NDArray[Any] | None = known_ids
        """Ids of the reaches whose discharge is known, in the order in which `forward` takes it; None for none."""
        self._network_hash = network_hash(self.network, self._at)
        self._made: tuple[list[Any], tuple[Filter, Filter | None]] | None = None
        self._filter()  # fails now, not in training, if the parameters have no filter

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
            Volume flux into each reach, in the network's order. With weights ``[batch, *grid, time]`` or ``[*grid, time]``, in
            the Router's ``units``, where the grid has its own dimensions, or all of its cells in a row.
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

        Examples
        --------
        >>> import torch, xroute
        >>> router = xroute.Router(xroute.datasets.scheidegger(3, 4), dt="1h", learnable=("k",))
        >>> first, state = router(torch.rand(12, 24), return_state=True)
        >>> router(torch.rand(12, 24), state=state).shape
        torch.Size([12, 24])
        """
        if not isinstance(runoff, Tensor):
            raise ParameterError(
                f"runoff is a tensor, not {type(runoff).__name__}: torch.from_numpy makes one of an array, and "
                "router.tensor(runoff) of labelled runoff, matched by id and in m3 s-1"
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
        start, on_slopes = None, None
        if state is not None:
            start = start_of(state, batch.shape[0], self.ids, made.n_taps - 1, self._network_hash, self.settings)
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
        n_lags = made.n_taps - 1  # it takes as long as a GPU takes to route
        return discharge, RouterState(*end, n_lags, self._network_hash, self._routing_step, self.lateral, on_slopes)

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        return "\n".join(router_lines(self))

    def _repr_html_(self) -> str:
        return panel_of_router(self).html()

    @property
    def _routing_step(self) -> float:
        """Routing step [s]."""
        assert self.settings.routing_step is not None
        return self.settings.routing_step

    @torch.compiler.disable(
        reason="xroute.Router makes its filters outside of the graph: compile without fullgraph=True"
    )
    def _filter(self, given: Mapping[str, Tensor] | None = None) -> tuple[Filter, Filter | None]:
        """Filters of the channel and of the hillslopes."""
        given = self._given(given)
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
        by_scheme, n = self._by_scheme(given), self.n_reaches
        trained = torch.is_grad_enabled() and any(v.requires_grad for _, values in by_scheme.values() for v in values.values())
        made = make_filter(by_scheme, self._routing_step, n, lateral=self.lateral, ids=self.ids, check=not trained)
        return made, None if self.hillslope is None else self.hillslope(given)
