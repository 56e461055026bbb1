"""`LabelBridges`: the methods of `Router` between labels and tensors. For series `xroute.router_labels` does the work."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.block_state import CHANNEL, HILLSLOPE, BlockState, Lags, Stage, lags_of
from xroute.engine.slopes import slope_settings
from xroute.exceptions import ParameterError, StateError
from xroute.grids.tensors import GridInput
from xroute.labels import Layout
from xroute.request import RouteRequest, WeightsLike
from xroute.router_labels import LabelledRunoff, grid_values, known_values, label_discharge, read_runoff
from xroute.router_parameters import RouterParameters
from xroute.router_state import RouterState, StateLabels, moment_text, slopes_of, start_of
from xroute.schemes import Filter
from xroute.settings import Extra, GridNaN, Label, Missing
from xroute.state import RunKey, aligned_state, load_state, run_key, state_dataset, tables_of
from xroute.state_form import open_state
from xroute.units import DISCHARGE_UNITS, flux_in_si
from xroute.wording import argument

__all__ = ["LabelBridges"]

Tensor = torch.Tensor


class LabelBridges(RouterParameters):
    """What a `Router` does with labels."""

    known_ids: NDArray[Any] | None
    _grid: GridInput | None
    _network_hash: str

    def tensor(
        self,
        runoff: xr.DataArray,
        *,
        weights: WeightsLike | None = None,
        missing: Missing = "raise",
        extra: Extra = "raise",
        nan: GridNaN = "raise",
        reach_dim: Hashable | None = None,
        time_dim: Hashable | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Labelled runoff as the Router takes it: its reaches matched by id, in m3 s-1.

        Parameters
        ----------
        runoff : (reach, time, ...)
            As `xroute.route` takes it: dimensions in any order, reaches too, in whatever units, in memory, lazy or on Dask
            (it is read now), or on a grid. Its step is the Router's.
        weights, missing, extra, nan, reach_dim, time_dim
            As in `xroute.route`. A Router that was made with weights takes grids of these, and needs none here.
        device
            Where to put it; by default where the Router's parameters are.

        Returns
        -------
        tensor [batch, reach, time]
            A copy, in the network's order: all dimensions but reach and time are one, batch, in their order (1, where there are
            none). For a Router with weights ``[batch, *grid, time]``, in its units. float32 for float32 (to which values
            are rounded again where units are converted), else float64. Runoff without units is taken as it is, with a warning.

        Raises
        ------
        AlignmentError, TimeAxisError, UnitsError, ParameterError, XRouteError
            As `xroute.route`; and for runoff of another step than the Router's.

        Examples
        --------
        >>> import xroute
        >>> network, ds = xroute.datasets.tutorial()
        >>> router, runoff = xroute.Router(network, dt="1h"), ds.runoff.astype("float64")
        >>> discharge = router(router.tensor(runoff))
        >>> bool((router.array(discharge, like=runoff) == runoff.route(network)).all())
        True
        """
        request = RouteRequest(
            weights=weights, missing=missing, extra=extra, nan=nan, reach_dim=reach_dim, time_dim=time_dim
        )
        dt = self.dt
        if self._grid is not None:
            self._refuse_weights(request)
            values = grid_values(runoff, self._grid, dt, request)
        else:
            values = read_runoff(runoff, self.network, dt, request).values()
        return torch.from_numpy(values).to(self._device if device is None else device)

    def array(
        self,
        discharge: Tensor | NDArray[Any],
        like: xr.DataArray,
        *,
        weights: WeightsLike | None = None,
        missing: Missing = "zero",
        extra: Extra = "drop",
        nan: GridNaN = "raise",
        label: Label | None = None,
        reach_dim: Hashable | None = None,
        time_dim: Hashable | None = None,
    ) -> xr.DataArray:
        """Discharge with the labels that `xroute.route` would give it.

        Parameters
        ----------
        discharge : tensor [batch, reach, time] or [reach, time]
            What the Router gave, in m3 s-1; without its gradients.
        like : (reach, time, ...)
            The runoff that it is of, of which only labels and units are looked at.
        weights, missing, extra, nan, label, reach_dim, time_dim
            As in `xroute.route`: as the runoff was taken. Reaches without runoff are added, and runoff of other reaches is
            left out, as it must have been.

        Returns
        -------
        xarray.DataArray
            Discharge (reach, time, ...) in memory: dimensions in the runoff's order, its coordinates, units of its flux or
            m3 s-1.

        Raises
        ------
        ParameterError
            For discharge of another shape than the runoff's.
        AlignmentError, TimeAxisError, UnitsError
            As `xroute.route`.

        Examples
        --------
        >>> import torch, xroute
        >>> network, ds = xroute.datasets.tutorial()
        >>> router, runoff = xroute.Router(network, dt="1h"), ds.runoff.astype("float64")
        >>> router.array(router(router.tensor(runoff)), like=runoff).attrs["units"]
        'm3 s-1'
        """
        request = RouteRequest(
            weights=weights, missing=missing, extra=extra, nan=nan, label=label, reach_dim=reach_dim, time_dim=time_dim
        )
        values = discharge.detach().cpu().numpy() if isinstance(discharge, Tensor) else np.asarray(discharge)
        hillslope = None if self.hillslope is None else self.hillslope.name
        n_known = None if self.known_ids is None or not self.known_ids.size else self.known_ids.size
        return label_discharge(values, self._labels(like, request), self.settings, self._at, hillslope, n_known)

    def known_tensor(
        self, known: xr.DataArray, like: xr.DataArray, *, reach_dim: Hashable | None = None, time_dim: Hashable | None = None
    ) -> Tensor:
        """Discharge that is known, with labels, as the Router takes it: ``router(runoff, known=...)``.

        Parameters
        ----------
        known : (reach, time, ...)
            As `xroute.route` takes it, in a volume flux, on reaches that the Router was told of (``Router(known=ids)``).
        like : (reach, time, ...)
            The runoff, in its units, whose times and members it is matched with.
        reach_dim, time_dim
            As in `xroute.route`, of the runoff.

        Returns
        -------
        tensor [batch or 1, known reach, time]
            float64, in m3 s-1, in the order of ``router.known_ids``; NaN where it is not known.

        Raises
        ------
        ParameterError
            If the Router was told of none.
        AlignmentError, TimeAxisError, UnitsError, XRouteError
            As `xroute.route`; and for reaches that the Router was not told of.

        Examples
        --------
        >>> import xroute
        >>> network, ds = xroute.datasets.tutorial()
        >>> gauge = ds.runoff.route(network).sel(reach=[7])
        >>> router = xroute.Router(network, dt="1h", known=[7])
        >>> tuple(router.known_tensor(2 * gauge, like=ds.runoff).shape)
        (1, 1, 240)
        """
        if self.known_ids is None:
            raise ParameterError(
                f"this Router was told of no reaches of known discharge: make it with their ids, {argument('known')}"
            )
        request = _lenient(None, reach_dim, time_dim)
        return torch.from_numpy(known_values(known, self._labels(like, request), self.known_ids)).to(self._device)

    def state(
        self,
        dataset: Any,
        *,
        like: xr.DataArray | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        label: Label | None = None,
        reach_dim: Hashable | None = None,
        time_dim: Hashable | None = None,
    ) -> RouterState:
        """A state with labels, as `xroute.route` takes and gives it, as the Router takes it.

        Parameters
        ----------
        dataset : xarray.Dataset or path
            The state, its reaches in any order.
        like : (reach, time, ...)
            The runoff, in its units, that it is to start, in whose order members are brought; by default they stay in the
            state's. If the state holds at another time than it starts, that is a warning.
        parameters : dict of tensor [reach], optional
            Values in SI units, as `forward` takes them, if their windows are meant.
        label, reach_dim, time_dim
            As in `xroute.route`, of ``like``.

        Returns
        -------
        RouterState
            On the device of the Router's parameters, in m3 s-1.

        Raises
        ------
        StateError
            If it belongs to another network, scheme, option or routing step, has other members, or is no whole state.

        Examples
        --------
        >>> import torch, xroute
        >>> network, ds = xroute.datasets.tutorial()
        >>> router, runoff = xroute.Router(network, dt="1h"), ds.runoff.astype("float64")
        >>> _, state = runoff.isel(time=slice(0, 24)).route(network, return_state=True)
        >>> rest = runoff.isel(time=slice(24, None))
        >>> discharge = router(router.tensor(rest), state=router.state(state, like=rest))
        >>> bool((router.array(discharge, like=rest) == rest.route(network, initial_state=state)).all())
        True
        """
        opened, n_lags = open_state(dataset), self._lags(parameters)
        if like is None:
            members = [d for d in opened["outflow"].dims if d != "reach"]
            coords = {n: c for n, c in opened.coords.items() if set(c.dims) <= set(members)}
            layout = _layout({d: opened.sizes[d] for d in members}, self.n_reaches, coords)
            key, time = self._key(layout, n_lags, None), None
        else:
            labels = self._labels(like, _lenient(label, reach_dim, time_dim))
            key, time = self._key(labels.layout, n_lags, labels.units), labels.clock.start(labels.array)
        aligned = aligned_state(opened, key, time)
        loaded = load_state(tables_of(aligned, key), n_lags, self.ids)
        units = aligned["outflow"].attrs.get("units")
        stages = {name: self._in_si(stage, units) for name, stage in loaded.stages.items()}
        slopes = None
        if self.hillslope is not None:
            network = f"{self._network_hash} {self.hillslope.name}"
            lateral = slope_settings(self.settings).lateral
            slopes = RouterState(*stages[HILLSLOPE], n_lags[HILLSLOPE], network, self.dt, lateral)
        assert self.settings.routing_step is not None
        step, lateral = self.settings.routing_step, self.settings.lateral
        layout = key.layout
        coords = {n: c for n, c in xr.Coordinates(layout.coords).items() if set(c.dims) <= set(layout.batch_dims)}
        its = StateLabels({d: layout.sizes[d] for d in layout.batch_dims}, coords, aligned.attrs.get("time"), units)
        return RouterState(*stages[CHANNEL], n_lags[CHANNEL], self._network_hash, step, lateral, slopes, its)

    def state_dataset(
        self,
        state: RouterState,
        *,
        like: xr.DataArray | None = None,
        time: Any = None,
        units: str | None = DISCHARGE_UNITS,
        label: Label | None = None,
        reach_dim: Hashable | None = None,
        time_dim: Hashable | None = None,
    ) -> xr.Dataset:
        """A state of the Router with labels: the Dataset that ``xroute.route(..., return_state=True)`` gives.

        Parameters
        ----------
        state
            As ``return_state=True`` gave it.
        like : (reach, time, ...)
            The runoff, or the discharge, that the state is at the end of: it tells members, the time at which the state holds,
            and units. By default these are what they were in the Dataset that the state was made of, if it was; else there is no
            time, and members are a dimension ``batch``, unless there is but one.
        time
            When the state holds, a date or text, if not at the end of ``like``.
        units
            Units of discharge, where nothing tells; None if they are not known.
        label, reach_dim, time_dim
            As in `xroute.route`, of ``like``.

        Returns
        -------
        xarray.Dataset
            ``outflow`` (..., reach), ``inflow`` (..., reach, lag) and ``n_lags`` (reach), as `xroute.route` gives them, in
            ``units``.

        Raises
        ------
        StateError
            For the state of another Router, or of other members than the runoff's.

        Examples
        --------
        >>> import torch, xroute
        >>> network, ds = xroute.datasets.tutorial()
        >>> router, runoff = xroute.Router(network, dt="1h"), ds.runoff.astype("float64")
        >>> _, state = router(router.tensor(runoff), return_state=True)
        >>> sorted(router.state_dataset(state, like=runoff).data_vars)
        ['inflow', 'n_lags', 'outflow']
        """
        if not isinstance(state, RouterState):
            raise StateError(f"a state is a RouterState, as return_state=True gives it, not {type(state).__name__}")
        if like is None and state.labels is not None:
            members, coords, holds, units = state.labels
            layout = _layout(members, self.n_reaches, coords)
        elif like is None:
            n_batch = state.outflow.shape[0]
            layout, holds = _layout({"batch": n_batch} if n_batch > 1 else {}, self.n_reaches, {}), None
        else:
            labels = self._labels(like, _lenient(label, reach_dim, time_dim))
            layout, units, holds = labels.layout, labels.units, labels.clock.end(labels.array)
        n_lags: dict[str, Any] = {CHANNEL: state.n_lags}
        start_of(state, layout.n_batch, self.ids, state.n_lags, self._network_hash, self.settings)
        name = None if self.hillslope is None else self.hillslope.name
        slopes = slopes_of(state, name)
        stages = {CHANNEL: state}
        if slopes is not None:
            stages, n_lags = {HILLSLOPE: slopes, **stages}, {HILLSLOPE: slopes.n_lags, **n_lags}
        factor = 1 / flux_in_si(units, "the state")
        arrays = {stage: [t.detach().cpu().numpy() * factor for t in (its.history, its.outflow)] for stage, its in stages.items()}
        block = BlockState({stage: Stage(*its) for stage, its in arrays.items()})
        key = self._key(layout, n_lags, units)
        return state_dataset(block.table(n_lags, layout.batch_shape), key, holds if time is None else moment_text(time))

    # ── what these have in common ───────────────────────────────────────────────────────────────────────────────────────

    def _filter(self, given: Mapping[str, Tensor] | None = None) -> tuple[Filter, Filter | None]:
        """Filters of the channel and of the hillslopes."""
        raise NotImplementedError

    @property
    def _device(self) -> torch.device:
        """Where the parameters are."""
        tensor = next((t for t in (*self.parameters(), *self.buffers())), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def _labels(self, like: xr.DataArray, request: RouteRequest) -> LabelledRunoff:
        """Labels of some runoff, of which no value is read."""
        if self._grid is not None:
            self._refuse_weights(request)
            request = replace(request, weights=self._grid.weights)
        return read_runoff(like, self.network, self.dt, request, blank=True)

    def _refuse_weights(self, request: RouteRequest) -> None:
        if request.weights is not None:
            raise ParameterError(f"this Router was made with weights: leave {argument('weights')} out here")

    def _lags(self, parameters: Mapping[str, Tensor] | None) -> Lags:
        with torch.no_grad():
            return lags_of(*self._filter(parameters))

    def _key(self, layout: Layout, n_lags: Lags, units: str | None) -> RunKey:
        """What a state with labels must share with the Router."""
        name = None if self.hillslope is None else self.hillslope.name
        return run_key(self.network, layout, n_lags, self.scheme, self.settings, units, name)

    def _in_si(self, stage: Stage, units: Any) -> tuple[Tensor, Tensor]:
        """History and outflow of a stage, in some units, in m3 s-1, as tensors."""
        factor = flux_in_si(units, "the state")
        history, outflow = (torch.from_numpy(np.ascontiguousarray(a * factor)).to(self._device) for a in stage)
        return history, outflow


def _lenient(label: Label | None, reach_dim: Hashable | None, time_dim: Hashable | None) -> RouteRequest:
    """For labels of runoff that was accepted already."""
    return RouteRequest(missing="zero", extra="drop", label=label, reach_dim=reach_dim, time_dim=time_dim)


def _layout(members: Mapping[Hashable, int], n_reaches: int, coords: Mapping[Hashable, Any]) -> Layout:
    """Layout of members by reach, without a time."""
    dims = (*members, "reach")
    return Layout(dims, "reach", None, tuple(members), None, None, coords, {**members, "reach": n_reaches})
