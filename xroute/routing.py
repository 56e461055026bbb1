"""`route`: align labels, make the filter, hand plain arrays to the engine, label the discharge."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import xarray as xr

from xroute.block import RouteOptions, is_cupy, route_block
from xroute.engine.cpu import LATERAL, SAMPLING
from xroute.exceptions import ParameterError, TimeAxisError, XRouteError, one_of, some
from xroute.labels import (
    Layout,
    align,
    append_history,
    discharge_attrs,
    find_time_dim,
    first_time,
    next_time,
    require_array,
    time_step,
)
from xroute.network import Network, as_network
from xroute.options import find_device
from xroute.parameters import check_muskingum, read_parameters, resolve_substeps
from xroute.schemes import make_filter
from xroute.state import align_state, read_state, run_key, state_dataset, write_state
from xroute.units import flux_scale

__all__ = ["route"]


def route(
    runoff: xr.DataArray,
    network: xr.Dataset | Network,
    *,
    scheme: str | None = None,
    substeps: int | Literal["auto"] = 1,
    sampling: Literal["mean", "last", "start-mean"] = "mean",
    lateral: Literal["head", "interval", "outlet"] = "head",
    initial_state: xr.Dataset | None = None,
    return_state: bool = False,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "zero"] = "raise",
    partitions: int | None = None,
    device: str | None = None,
    reach_dim: Hashable | None = None,
    time_dim: Hashable = "time",
    dt: Any = None,
) -> Any:
    """Route runoff down a river network.

    Parameters
    ----------
    runoff : (reach, time, ...)
        Runoff into each reach, dimensions in any order; all but reach and time are batch dimensions (members, models).
        Reaches are matched with the network's by id. Units: a volume flux (``m3 s-1``), a depth per time (``mm d-1``,
        ``kg m-2 s-1``) or per step (``mm``), or a volume per step (``m3``).
    network
        Network Dataset, or a `Network` (which keeps its plan from call to call).
    scheme
        Routing scheme of all reaches, in place of the network's own.
    substeps
        Routing steps in a step of runoff, or ``"auto"``: the fewest that keep every Muskingum reach stable.
    sampling
        Discharge of a step: ``"mean"`` of the values at the ends of its substeps, ``"last"`` of them, or
        ``"start-mean"``, the mean of the values at their starts (RAPID's convention).
    lateral
        Where runoff joins its reach: at the ``"head"``, with the upstream inflow, so that the reach routes it; over the
        ``"interval"``, at both ends of each routing step (RAPID; Muskingum only); or at the ``"outlet"``, unrouted by its
        own reach (mizuRoute).
    initial_state
        State to start from (`initial_state`, `steady_state`, or what ``return_state=True`` gave); dry by default.
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
        Dimensions, where their names or labels do not tell.
    dt
        Step of runoff, where the time coordinate does not tell: seconds, a timedelta, or text like ``"3h"``.

    Returns
    -------
    discharge : xarray.DataArray
        The same dimensions, order and coordinates as ``runoff``, lazy and in the same chunks if that is on Dask; float32
        for float32 runoff, else float64. In
        ``m3 s-1``, or in the runoff's own units if that is a volume flux.
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
    _check_options(runoff, sampling, lateral, nan, partitions)
    lazy = runoff.chunks is not None
    where = None if lazy else find_device(device)  # tasks find theirs where they run
    network = as_network(network)
    time_dim = find_time_dim(runoff, time_dim)
    layout = align(runoff, network, reach_dim=reach_dim, time_dim=time_dim, missing=missing, extra=extra)
    step = time_step(runoff, time_dim, dt)
    scale, units = flux_scale(runoff.attrs.get("units"), step, network.dataset.get("area"), layout.row)
    parameters = read_parameters(network, scheme)
    if step is None:
        _need_no_step(runoff, time_dim, return_state)
        step = 1.0  # no step is routed
    n = resolve_substeps(substeps, parameters, step, network.ids)
    if runoff.sizes[time_dim]:
        check_muskingum(parameters, step, n)
    filter = make_filter(parameters, step / n, network.n_reaches, lateral=lateral, ids=network.ids)
    stateful = return_state or initial_state is not None
    key = run_key(network, layout, scheme, step, n, lateral, units) if stateful else None
    said = (
        f"xroute: routed {network!r}, scheme={', '.join(sorted(parameters))!r}, substeps={n}, {sampling=}, {lateral=}"
    )
    options = RouteOptions(n, sampling, lateral, nan == "zero")

    def label(result: xr.DataArray) -> xr.DataArray:
        result.name = "discharge"
        result.attrs = discharge_attrs(units, sampling, time_dim)
        result.attrs["history"] = append_history(runoff.attrs.get("history"), said)
        return result

    if lazy:
        from xroute.chunked import LazyState, route_lazily

        known = None
        if initial_state is not None and key is not None:
            known = LazyState(*align_state(initial_state, filter, network, layout, key, first_time(runoff, time_dim)))
        result, end = route_lazily(
            runoff, network, layout, filter, known, options,
            scale=scale, raise_missing=nan == "raise", partitions=partitions, device=device,
        )  # fmt: skip
        if key is None or not return_state:
            return label(result)
        moment = next_time(runoff, time_dim, step)
        return label(result), state_dataset(end.outflow, end.inflow, filter.n_taps - 1, network, layout, key, moment)
    start = None
    if initial_state is not None and key is not None:
        start = read_state(initial_state, filter, network, layout, key, first_time(runoff, time_dim))
    data = runoff.transpose(*layout.engine_dims).data
    data = data if is_cupy(data) else np.asarray(data)
    data = data.reshape(layout.n_batch, *data.shape[-2:])
    discharge, state, n_bad = route_block(
        data, network.plan, filter, start, options, runoff_row=layout.row,
        discharge_row=layout.result_row, n_rows=layout.sizes[layout.reach_dim], scale=scale,
        device=where,
    )  # fmt: skip
    if n_bad and nan == "raise":
        raise _not_finite(runoff, network, layout, n_bad)
    result = label(layout.array(discharge))
    if key is None or not return_state:
        return result
    return result, write_state(state, filter, network, layout, key, next_time(runoff, time_dim, step))


def _check_options(runoff: xr.DataArray, sampling: str, lateral: str, nan: str, partitions: int | None) -> None:
    require_array(runoff)
    one_of("sampling", sampling, SAMPLING)
    one_of("lateral", lateral, LATERAL)
    one_of("nan", nan, ("raise", "zero"))
    if partitions is not None and (isinstance(partitions, bool) or not isinstance(partitions, int) or partitions < 1):
        raise ParameterError(f"partitions is a positive whole number or None, not {partitions!r}")


def _need_no_step(runoff: xr.DataArray, time_dim: Hashable, return_state: bool) -> None:
    if runoff.sizes[time_dim] or return_state:
        raise TimeAxisError(
            f"{time_dim!r} has {runoff.sizes[time_dim]} entries, so the step cannot be told: give dt= (seconds, or '3h')"
        )


def _not_finite(runoff: xr.DataArray, network: Network, layout: Layout, n_bad: int) -> XRouteError:
    row = np.arange(network.n_reaches) if layout.row is None else layout.row
    bad = ~np.isfinite(runoff.as_numpy().transpose(*layout.engine_dims).values[..., row[row >= 0], :])
    ids = network.ids[row >= 0][bad.any(axis=tuple(k for k in range(bad.ndim) if k != bad.ndim - 2))]
    when = np.flatnonzero(bad.any(axis=tuple(range(bad.ndim - 1))))
    label = runoff[layout.time_dim].values[when[0]] if layout.time_dim in runoff.coords else when[0]
    return XRouteError(
        f"{n_bad} values of runoff are NaN or infinite, on {ids.size} reaches: {some(ids)}; first at {label}. "
        'Fill them, or take them as zero with nan="zero"'
    )
