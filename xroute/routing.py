"""`route`: what becomes of a DataArray of runoff.

0. Runoff on a grid is brought to the reaches by weights, lazily where it is lazy (`xroute.grids`).
1. `xroute.run.make_run` looks at its labels: which dimension is time and how long a step is (`xroute.times`), which row is which
   reach of the network (`xroute.labels`), what its units mean (`xroute.units`), and which filter each reach is
   (`xroute.parameters`). Nothing is read yet. A `Run` is all that is known then.
2. `Run.start` brings a given state into the order of the network's reaches.
3. Its values become [batch, row, time], and `xroute.block.route_block` routes them: in memory, in one go (`xroute.eager`); on
   Dask, chunk by chunk and partition by partition, in tasks that run when the result is asked for (`xroute.chunked`).
4. What comes back has the runoff's dimensions in its order; `Run.set_attrs` gives it name, units and history, and `Run.finish`
   makes a Dataset of the state at the end.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from xroute.block_state import BlockState, StateTable
from xroute.eager import route_eagerly
from xroute.grids.reaches import bring_to_reaches
from xroute.network_files import as_network
from xroute.options import check_device
from xroute.request import NetworkLike, RouteRequest, keywords_of
from xroute.run import make_run
from xroute.units import require_array, with_pint_of

__all__ = ["route"]


@keywords_of(RouteRequest)
def route(runoff: xr.DataArray, network: NetworkLike, request: RouteRequest) -> Any:
    """Route runoff down a river network.

    Parameters
    ----------
    runoff : (reach, time, ...)
        Runoff into each reach, dimensions in any order; all but reach and time are batch dimensions (members, models).
        Reaches are matched with the network's by id. With ``weights``, runoff on their grid. Units: a volume flux
        (``m3 s-1``), a depth per time (``mm d-1``, ``kg m-2 s-1``) or per step (``mm``), or a volume per step (``m3``).
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
    hillslope
        What runoff goes through before it joins its reach, a unit hydrograph for each: ``"gamma"`` (variables ``fshape`` and
        ``tscale`` [s] of the network), ``"scs"`` (``tlag`` or ``tc`` [s]) or ``"triangular"`` (``tpeak`` and ``tbase`` [s], or
        ``tpeak``, ``tlag`` or ``tc`` alone), each variable one value or on ``reach``; these as other models discretise them,
        ``"gamma-mizuroute"``, ``"scs-river-route"`` (``tc``) and ``"triangular-river-route"`` (``tc``); ordinates at the step of
        runoff, which sum to one, as one series for all reaches or a DataArray (reach, ordinate), or the path of one; or
        ``"none"``. By default what the network's attribute ``hillslope`` names, or none. It acts on steps of runoff, however
        many substeps these have.
    initial_state
        State to start from (`initial_state`, `steady_state`, or what ``return_state=True`` gave), or the path of one; dry
        by default. Its routing step, dt / substeps, is the run's; the step of the runoff that made it need not be, unless there
        are hillslopes.
    return_state
        Whether to return the final state too, so that a later run can go on from here.
    missing
        Reaches of the network without runoff: ``"raise"`` an error, or take it as ``"zero"``.
    extra
        Runoff on ids that are not in the network: ``"raise"`` an error, or ``"drop"`` it.
    nan
        Runoff that is not finite: ``"raise"`` an error, or take it as ``"zero"``. With ``weights``, cells of the grid that are
        NaN, whose part may also be taken from the ``"others"``, the other cells of the catchment (see `remap`).
    weights
        For runoff on a grid, which part of which cell lies in the catchment of which reach: a Dataset of `grid_weights` or
        `xroute.grids.read_weights`, or the path of one. The result is that of `remap` and then of `route`, with the network's
        reaches in its order; ``missing`` and ``extra`` are then said of the reaches that weights are of.
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
    known : (reach, time, ...), optional
        Discharge that is known on some reaches (gauges, releases of dams, another model's outflow at the edge of this
        domain): there it takes the place of what would be routed, and goes on downstream; what lies upstream, and what the
        reach itself stores, is not affected. NaN where it is not known, and there discharge is routed. Reaches, times and
        members are matched by label: it may have fewer of each, and without members it is that of all. In the units of
        a volume flux; without ``units``, in those of the discharge.

    Returns
    -------
    discharge : xarray.DataArray
        The same dimensions, order and coordinates as ``runoff`` (with ``weights``, with ``reach`` in place of the grid's),
        lazy and in the same chunks if that is on Dask; float32 for float32 runoff, else float64. In ``m3 s-1``, or in the
        runoff's own units if that is a volume flux. A `pint.Quantity` if the runoff is one.
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
    check_device(request.device)
    network = as_network(network)
    array, request, _ = bring_to_reaches(require_array(runoff), network, request)
    run = make_run(array, network, request)
    start = run.start(request.initial_state, array)
    end: BlockState | StateTable
    if array.chunks is None:
        discharge, end = route_eagerly(array, run, start, request.device)
    else:
        from xroute.chunked import route_lazily  # Dask is imported only where runoff is on it

        discharge, end = route_lazily(array, run, start, request.device, request.partitions)
    discharge = run.set_attrs(discharge, array)
    state = run.finish(end, array) if request.return_state else None
    discharge = with_pint_of(discharge, runoff)
    return discharge if state is None else (discharge, state)
