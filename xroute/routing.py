"""`route`: align labels, make the filter, hand plain arrays to the engine, label the discharge."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from xroute.attrs import append_history, discharge_attrs
from xroute.block import RouteOptions, is_cupy, route_block
from xroute.block_state import BlockState
from xroute.census import overflow
from xroute.engine.arrays import compute_type
from xroute.exceptions import ParameterError, TimeAxisError, XRouteError, one_of, some
from xroute.guards import reading, require_memory
from xroute.labels import Layout, align, require_array
from xroute.network import Network
from xroute.network_files import as_network
from xroute.options import check_device, find_device
from xroute.parameters import SchemeParameters, check_steps, read_parameters, resolve_substeps
from xroute.quantities import with_pint_of
from xroute.recipe import resolve_recipe, step_of
from xroute.request import NetworkLike, RouteRequest, keywords_of
from xroute.schemes import SCHEMES, Filter, Scheme, make_filter
from xroute.settings import NAN
from xroute.state import RunKey, align_state, read_state, run_key, state_dataset, write_state
from xroute.times import Clock, find_time_dim, stamp_label
from xroute.units import flux_scale
from xroute.watch import Watch, watch
from xroute.wording import argument

__all__ = ["Run", "need_no_step", "prepare", "route"]


@keywords_of(RouteRequest)
def route(runoff: xr.DataArray, network: NetworkLike, request: RouteRequest) -> Any:
    """Route runoff down a river network.

    Parameters
    ----------
    runoff : (reach, time, ...)
        Runoff into each reach, dimensions in any order; all but reach and time are batch dimensions (members, models).
        Reaches are matched with the network's by id. Units: a volume flux (``m3 s-1``), a depth per time (``mm d-1``,
        ``kg m-2 s-1``) or per step (``mm``), or a volume per step (``m3``).
    network
        Network Dataset, a `Network` (which keeps its plan from call to call), or the path of one (Zarr, netCDF, a table).
    scheme
        Routing scheme of all reaches, in place of the network's own.
    substeps
        Routing steps in a step of runoff, or ``"auto"``: the fewest that keep every `muskingum` reach from oscillating
        (`muskingum_exact` does not at any step). By default as many of the network's own routing steps (attribute
        ``routing_step`` [s], see `xroute.recipe`) as fit, or 1.
    sampling
        Discharge of a step: ``"mean"`` of the values at the ends of its substeps, ``"last"`` of them, or
        ``"start-mean"``, the mean of the values at their starts (RAPID's convention). By default what the network's
        attribute ``sampling`` says, or the mean.
    lateral
        Where runoff joins its reach: at the ``"head"``, with the upstream inflow, so that the reach routes it; over the
        ``"interval"``, at both ends of each routing step (RAPID; schemes of taps and a pole); or at the ``"outlet"``,
        unrouted by its own reach (mizuRoute). By default what the network's attribute ``lateral`` says, or the head.
    initial_state
        State to start from (`initial_state`, `steady_state`, or what ``return_state=True`` gave), or the path of one; dry
        by default. Its routing step, dt / substeps, is the run's; the step of the runoff that made it need not be.
    return_state
        Whether to return the final state too, so that a later run can go on from here.
    missing
        Reaches of the network without runoff: ``"raise"`` an error, or take it as ``"zero"``.
    extra
        Runoff on ids that are not in the network: ``"raise"`` an error, or ``"drop"`` it.
    nan
        Runoff that is not finite: ``"raise"`` an error, or take it as ``"zero"``.
    partitions
        For runoff on Dask, how many partitions of tributaries the network is cut into, to be routed side by side (see
        `Network.partition`); None leaves it to the workers there are. The result is the same. Runoff in memory is routed
        whole.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; by default that of `set_options`, and failing that the GPU where there
        is one, else the CPU. A GPU computes float32 runoff in float32, a CPU in float64. Runoff in cupy is routed where
        it is, and so is its discharge.
    reach_dim, time_dim
        Dimensions, where their names or labels do not tell. Of a forecast, the series runs along its leads.
    dt
        Step of runoff, where the time coordinate does not tell: seconds, a timedelta, or text like ``"3h"``. By default the
        network's attribute ``runoff_step`` [s], if it has one.
    label
        Whether a stamp is the ``"start"``, the ``"middle"`` or the ``"end"`` of its step, where neither CF bounds (see
        `with_bounds`) nor the reader of the files tell; by default the start. Discharge has the runoff's stamps, and says
        in ``attrs["time_label"]`` what they mean.

    Returns
    -------
    discharge : xarray.DataArray
        The same dimensions, order and coordinates as ``runoff``, lazy and in the same chunks if that is on Dask; float32
        for float32 runoff, else float64. In
        ``m3 s-1``, or in the runoff's own units if that is a volume flux. A `pint.Quantity` if the runoff is one.
    state : xarray.Dataset
        With ``return_state=True``.

    Raises
    ------
    NetworkError, ParameterError, AlignmentError, TimeAxisError, UnitsError, StateError
        All are `XRouteError` and ValueError; they say what is wrong, where, and what to do.

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.route(network)
    >>> discharge.attrs["units"]
    'm3 s-1'
    """
    given, runoff = runoff, require_array(runoff)
    lazy = runoff.chunks is not None
    if not lazy:
        require_memory(runoff, "runoff", "route it in blocks with route_to_zarr, or open it in chunks")
    where = None
    if lazy:
        check_device(request.device)  # tasks find theirs where they run
    else:
        where = find_device(request.device)
    run = prepare(runoff, network, request)
    if run.step is None:
        need_no_step(runoff, run.layout.time_dim, request.return_state)
    known = run.filter, run.network, run.layout
    if lazy:
        from xroute.chunked import LazyState, route_lazily

        first = None
        if request.initial_state is not None and run.key is not None:
            first = LazyState(*align_state(request.initial_state, *known, run.key, run.clock.start(runoff)))
        result, end = route_lazily(
            runoff, run.network, run.layout, run.filter, first, run.options, scale=run.scale,
            raise_missing=run.raise_missing, partitions=request.partitions, device=request.device, watch=run.watch,
        )  # fmt: skip
        if run.key is None or not request.return_state:
            return with_pint_of(run.label(result, runoff), given)
        n_lags, moment = run.filter.n_taps - 1, run.moment(runoff)
        state = state_dataset(end.outflow, end.inflow, n_lags, run.network, run.layout, run.key, moment)
        return with_pint_of(run.label(result, runoff), given), state
    start = None
    if request.initial_state is not None and run.key is not None:
        start = read_state(request.initial_state, *known, run.key, run.clock.start(runoff))
    discharge, final = run.route(runoff, start, where)
    result = with_pint_of(run.label(run.layout.array(discharge), runoff), given)
    if run.key is None or not request.return_state:
        return result
    return result, write_state(final, *known, run.key, run.moment(runoff))


@dataclass(frozen=True)
class Run:
    """A run before any runoff is read: all that its blocks have in common.

    Attributes
    ----------
    network, layout, filter, options, scale
        As `xroute.block.route_block` takes them.
    clock
        Along which dimension the series runs, how long its step is, and what a stamp means.
    units
        Units of discharge, None where the runoff has none.
    raise_missing
        Whether runoff that is not finite is an error.
    key
        What a state must share with the run; None if nobody asks for one.
    said
        The run in a line, for the history.
    watch
        What looks for accumulated values; None where there is no step.
    """

    network: Network
    layout: Layout
    filter: Filter
    options: RouteOptions
    scale: Any
    clock: Clock
    units: str | None
    raise_missing: bool
    key: RunKey | None
    said: str
    watch: Watch | None = None

    @property
    def step(self) -> float | None:
        """Step of runoff [s]; None if neither its time axis nor the caller tells, and then there is nothing to route."""
        return self.clock.step

    def route(
        self, runoff: xr.DataArray, state: BlockState | None, device: Any, first: int = 0
    ) -> tuple[Any, BlockState]:
        """Discharge [batch, row, time] of runoff in memory, the series from step ``first`` on or a part of it, and the state.

        Raises
        ------
        XRouteError
            For runoff that is not finite, unless it is taken as zero, and for discharge that overflows.
        """
        layout = self.layout
        with reading("the runoff"):  # xarray reads what was opened lazily only now
            data = runoff.transpose(*layout.engine_dims).data
            data = data if is_cupy(data) else np.asarray(data)
        data = data.reshape(layout.n_batch, *data.shape[-2:])
        if self.watch is not None:
            self.watch.at(first).look(data, first=first == 0)
        discharge, state, n_bad = route_block(
            data, self.network.plan, self.filter, state, self.options, runoff_row=layout.row,
            discharge_row=layout.result_row, n_rows=layout.sizes[layout.reach_dim], scale=self.scale, device=device,
        )  # fmt: skip
        if n_bad.runoff and self.raise_missing:
            raise _not_finite(runoff, self.network, layout, n_bad.runoff, first)
        if n_bad.discharge:
            time_dim = layout.time_dim
            when = runoff[time_dim].values if time_dim in runoff.coords else first + np.arange(runoff.sizes[time_dim])
            raise overflow(discharge, self.network.ids, layout.result_row, when)
        return discharge, state

    def label(self, result: xr.DataArray, runoff: xr.DataArray) -> xr.DataArray:
        """Name and attributes of discharge, in place."""
        result.name = "discharge"
        n_steps = runoff.sizes[self.clock.dim] if self.clock.dim in runoff.coords else 0
        result.attrs = dict(discharge_attrs(self.units, self.options.sampling, self.clock, n_steps))
        result.attrs["history"] = append_history(runoff.attrs.get("history"), self.said)
        return result

    def moment(self, runoff: xr.DataArray) -> str | None:
        """When the state at the end of some runoff holds."""
        return self.clock.end(runoff)


def prepare(runoff: xr.DataArray, network: NetworkLike, request: RouteRequest, *, stateful: bool = False) -> Run:
    """Check what `route` is given, match labels, and make the filter; no runoff is read.

    Parameters
    ----------
    runoff, network, request
        As `route` has them.
    stateful
        Whether states are compared and made although the request names none.
    """
    one_of("nan", request.nan, NAN)
    compute_type(runoff.dtype)
    network = as_network(network)
    time_dim = find_time_dim(runoff, request.time_dim)
    step = step_of(runoff, time_dim, network, request.dt)
    clock = Clock(time_dim, step, stamp_label(runoff, time_dim, step, request.label))
    layout = align(
        runoff, network, reach_dim=request.reach_dim, time_dim=time_dim, missing=request.missing, extra=request.extra
    )
    recipe = resolve_recipe(network, step, request.substeps, request.sampling, request.lateral, say=True)
    sampling, lateral = recipe.sampling, recipe.lateral
    scale, units = flux_scale(runoff.attrs.get("units"), step, network.dataset.get("area"), layout.row)
    known = _known(network, request.scheme)
    parameters = known.parameters
    dt_ = 1.0 if step is None else step
    n = resolve_substeps(recipe.substeps, parameters, dt_, network.ids)
    if runoff.sizes[time_dim] and step is not None and step / n not in known.stable:
        if check_steps(parameters, step, n):
            known.stable.add(step / n)
    filter = known.filter(network, dt_ / n, lateral)
    stateful = stateful or request.return_state or request.initial_state is not None
    key = run_key(network, layout, request.scheme, dt_, n, lateral, units) if stateful else None
    schemes = ", ".join(sorted(parameters))
    said = f"xroute: routed {network!r}, scheme={schemes!r}, substeps={n}, {sampling=}, {lateral=}"
    options = RouteOptions(n, sampling, lateral, request.nan == "zero")
    looks = None if step is None or not runoff.sizes[time_dim] else watch(runoff, time_dim, step)
    return Run(network, layout, filter, options, scale, clock, units, request.nan == "raise", key, said, looks)


@dataclass
class _Known:
    """Parameters of a network, checked, and what was made of them: kept with it, since its arrays do not change."""

    schemes: list[Scheme]
    parameters: SchemeParameters
    filters: dict[tuple[float, str], Filter]
    stable: set[float]

    def filter(self, network: Network, dt: float, lateral: Literal["head", "interval", "outlet"]) -> Filter:
        """Filter of a routing step [s] and a lateral mode; the last two are kept."""
        key = dt, lateral
        if key not in self.filters:
            while len(self.filters) > 1:
                del self.filters[next(iter(self.filters))]
            self.filters[key] = make_filter(self.parameters, dt, network.n_reaches, lateral=lateral, ids=network.ids)
        return self.filters[key]


def _known(network: Network, scheme: str | None) -> _Known:
    if scheme is not None and not isinstance(scheme, str):
        raise ParameterError(f"scheme is the name of a routing scheme or None, not {scheme!r}")
    cache: dict[str | None, _Known] = network.__dict__.setdefault("_known", {})
    known = cache.get(scheme)
    if known is None or any(SCHEMES.get(s.name) is not s for s in known.schemes):
        parameters = read_parameters(network, scheme)
        known = cache[scheme] = _Known([SCHEMES[name] for name in parameters], parameters, {}, set())
    return known


def need_no_step(runoff: xr.DataArray, time_dim: Hashable, return_state: bool) -> None:
    """Refuse a run whose step is not known, unless nothing happens in it."""
    if runoff.sizes[time_dim] or return_state:
        raise TimeAxisError(
            f"{time_dim!r} has {runoff.sizes[time_dim]} entries, so the step cannot be told: give {argument('dt')} "
            "(seconds, or '3h')"
        )


def _not_finite(runoff: xr.DataArray, network: Network, layout: Layout, n_bad: int, first: int) -> XRouteError:
    row = np.arange(network.n_reaches) if layout.row is None else layout.row
    bad = ~np.isfinite(runoff.as_numpy().transpose(*layout.engine_dims).values[..., row[row >= 0], :])
    ids = network.ids[row >= 0][bad.any(axis=tuple(k for k in range(bad.ndim) if k != bad.ndim - 2))]
    when = np.flatnonzero(bad.any(axis=tuple(range(bad.ndim - 1))))
    label = runoff[layout.time_dim].values[when[0]] if layout.time_dim in runoff.coords else first + when[0]
    return XRouteError(
        f"{n_bad} values of runoff are NaN or infinite, on {ids.size} reaches: {some(ids)}; first at {label}. "
        f"Fill them, or take them as zero with {argument('nan', 'zero')}"
    )
