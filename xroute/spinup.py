"""Ways to start warm: a state from a snapshot of discharge, and the state in equilibrium with a constant runoff."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.block import route_block
from xroute.block_state import CHANNEL, HILLSLOPE, BlockState, Stage, lags_of
from xroute.exceptions import StateError, XRouteError, some
from xroute.hillslope import hillslope_of
from xroute.labels import Layout, align
from xroute.network import Network
from xroute.network_files import as_network
from xroute.parameters import parameters_of
from xroute.recipe import resolve_settings, resolve_step
from xroute.request import NetworkLike
from xroute.schemes import Filter
from xroute.settings import Extra, Lateral, Missing, RoutingSettings
from xroute.state import RunKey, run_key, state_dataset
from xroute.time_dims import dated_dims
from xroute.times import seconds
from xroute.units import flux_in_si, flux_scale, require_array

__all__ = ["initial_state", "steady_state"]


def initial_state(
    network: NetworkLike,
    discharge: xr.DataArray,
    *,
    dt: Any = None,
    runoff: xr.DataArray | None = None,
    scheme: str | None = None,
    substeps: int | Literal["auto"] | None = None,
    lateral: Lateral | None = None,
    hillslope: Any = None,
    missing: Missing = "raise",
    extra: Extra = "raise",
    reach_dim: Hashable | None = None,
) -> xr.Dataset:
    """State from a snapshot of discharge, such as RAPID's Qinit.

    Parameters
    ----------
    network
        Network Dataset, a `Network`, or the path of one.
    discharge : (reach, ...)
        Instantaneous discharge: a volume flux, in the units of the discharge that will be routed (those of the runoff, if
        it is a volume flux). Without units it is taken to be in them. Other dimensions are batch.
    dt
        Step of that runoff: seconds, a timedelta, or text like ``"3h"``; by default the network's attribute
        ``runoff_step``.
    runoff : (reach, ...), optional
        Lateral inflow at the snapshot, in any units that `route` takes, for ``lateral="head"`` and ``"outlet"``. When it
        is not given, reaches are taken to be in equilibrium: for ``"head"``, what flows in is what keeps the discharge as
        it is; for ``"outlet"``, the outflow is what the upstream discharge keeps up.
    scheme, substeps, lateral, hillslope
        As they will be given to `route`. With a hillslope, what joins a reach (``runoff``, or what keeps the discharge as it
        is) is taken to have fallen on its hillslope for as long as this remembers.
    missing, extra, reach_dim
        As for `route`.

    Returns
    -------
    xarray.Dataset
        State for ``initial_state=``.

    Raises
    ------
    AlignmentError, ParameterError, StateError, UnitsError
        For ids that do not match, impossible options, values that are not finite, and units of something else.

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.route(network)
    >>> state = xroute.initial_state(network, discharge.isel(time=-1), dt="1h")
    >>> later = ds.runoff.isel(time=slice(0, 6)).route(network, initial_state=state)
    >>> bool(later.isel(time=0).max() > 100)
    True
    """
    network = as_network(network)
    dt = resolve_step(network, dt)
    discharge = require_array(discharge, "discharge")
    rows = {"reach_dim": reach_dim, "missing": missing, "extra": extra}
    flow, layout = _snapshot(discharge, network, "discharge", **rows)
    units = discharge.attrs.get("units") or None
    si = None if units is None else flux_in_si(units, "discharge")
    joins = None
    if runoff is not None:
        joins, at, runoff_units = _lateral(runoff, network, dt, **rows)
        if at.batch_dims != layout.batch_dims:
            raise StateError(f"discharge has the batch dimensions {layout.batch_dims}, and runoff {at.batch_dims}")
        if si is not None and runoff_units is not None:
            joins *= flux_in_si(runoff_units, "runoff") / si
        units = units or runoff_units
    filter, key = _filter_and_key(network, layout, scheme, dt, substeps, lateral, units, hillslope)
    lateral = key.settings.lateral
    gain, lateral_gain = _steady_gain(filter)
    arriving, outflow = _arriving(flow, network), flow
    if lateral == "interval":  # Qinit of RAPID: lateral inflow has its own term
        inflow = arriving
        keeps = (flow - gain * arriving) / lateral_gain
    elif lateral == "outlet":
        inflow = arriving
        outflow = gain * arriving if joins is None else flow - joins
        keeps = flow - outflow
    else:
        inflow = flow / gain if joins is None else arriving + joins
        keeps = inflow - arriving
    return _state_of(inflow, outflow, keeps if joins is None else joins, key)


def steady_state(
    network: NetworkLike,
    runoff: xr.DataArray,
    *,
    dt: Any = None,
    scheme: str | None = None,
    substeps: int | Literal["auto"] | None = None,
    lateral: Lateral | None = None,
    hillslope: Any = None,
    missing: Missing = "raise",
    extra: Extra = "raise",
    reach_dim: Hashable | None = None,
) -> xr.Dataset:
    """State in equilibrium with a constant runoff, in closed form: no spin-up run is needed.

    Parameters
    ----------
    network
        Network Dataset, a `Network`, or the path of one.
    runoff : (reach, ...)
        Constant runoff, e.g. ``ds.runoff.mean("time")``, in any units that `route` takes.
    dt, scheme, substeps, lateral, hillslope, missing, extra, reach_dim
        As for `initial_state`.

    Returns
    -------
    xarray.Dataset
        State for ``initial_state=``; its ``outflow`` is the steady discharge (without the reach's own runoff for
        ``lateral="outlet"``).

    Raises
    ------
    AlignmentError, ParameterError, StateError, UnitsError
        For ids that do not match, impossible options, values that are not finite, and units that cannot be converted.

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> state = xroute.steady_state(network, ds.runoff.mean("time", keep_attrs=True), dt="1h")
    >>> state["outflow"].attrs["units"]
    'm3 s-1'
    """
    network = as_network(network)
    dt = resolve_step(network, dt)
    joins, layout, units = _lateral(runoff, network, dt, reach_dim=reach_dim, missing=missing, extra=extra)
    filter, key = _filter_and_key(network, layout, scheme, dt, substeps, lateral, units, hillslope)
    lateral = key.settings.lateral
    import torch

    gain, lateral_gain = _steady_gain(filter)
    instant = Filter(
        torch.from_numpy(gain), np.arange(network.n_reaches + 1), torch.zeros(gain.size, dtype=torch.float64),
        torch.from_numpy(lateral_gain),
    )  # fmt: skip
    flow, _, _ = route_block(joins[:, :, None].copy(), network.plan, instant, None, RoutingSettings(lateral=lateral))
    flow = flow[:, :, 0]
    inflow = _arriving(flow, network) + (joins if lateral == "head" else 0.0)
    outflow = flow - joins if lateral == "outlet" else flow
    return _state_of(inflow, outflow, joins, key)


def _filter_and_key(
    network: Network, layout: Layout, scheme: str | None, step: float, substeps: Any, lateral: Any, units: str | None,
    hillslope: Any,
) -> tuple[Filter, RunKey]:  # fmt: skip
    """Filter of the run that the state is for, and what that run must share with it."""
    parameters = parameters_of(network, scheme)
    settings = resolve_settings(network, parameters.values, step, substeps=substeps, lateral=lateral, log=False)
    filter = parameters.filter(step / settings.substeps, settings.lateral)
    slopes = hillslope_of(network, hillslope, step)
    name, of_slopes = (None, None) if slopes is None else (slopes.name, slopes.filter)
    return filter, run_key(network, layout, lags_of(filter, of_slopes), scheme, settings, units, name)


def _snapshot(array: xr.DataArray, network: Network, what: str, **rows: Any) -> tuple[NDArray[np.float64], Layout]:
    """Values [batch, reach], zero on reaches that the array lacks, and how the array is laid out."""
    layout = align(array, network, what=what, **rows)
    values = array.transpose(*layout.engine_dims).values.astype(np.float64)
    values = values.reshape(layout.n_batch, array.sizes[layout.reach_dim])
    if layout.row is not None:
        values = np.where(layout.row >= 0, values[:, layout.row], 0.0)
    bad = ~np.isfinite(values).all(axis=0)
    if bad.any():
        raise XRouteError(f"{what} is not finite on {int(bad.sum())} reaches: {some(network.ids[bad])}")
    return values, layout


def _lateral(
    runoff: xr.DataArray, network: Network, dt: Any, **rows: Any
) -> tuple[NDArray[np.float64], Layout, str | None]:
    """Runoff as a volume flux [batch, reach], its layout, and its units."""
    runoff = require_array(runoff)
    for dim in dated_dims(runoff):
        raise StateError(f"runoff changes along {dim!r}, and a steady one does not: runoff.mean({dim!r}), for instance")
    values, layout = _snapshot(runoff, network, "runoff", **rows)
    scale, units = flux_scale(runoff.attrs.get("units"), seconds(dt), network.dataset.get("area"), layout.row)
    return values * (1.0 if scale is None else scale), layout, units


def _arriving(flow: NDArray[np.float64], network: Network) -> NDArray[np.float64]:
    up, down, fraction = network.links
    total = np.zeros_like(flow)
    for b in range(flow.shape[0]):
        total[b] = np.bincount(down, fraction * flow[b, up], network.n_reaches)
    return total


def _steady_gain(filter: Filter) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outflow for a constant inflow of one, and for a constant lateral inflow of one."""
    taps, pointer, pole, gain = filter.arrays()
    return np.add.reduceat(taps, pointer[:-1]) / (1 - pole), gain / (1 - pole)


def _state_of(
    inflow: NDArray[np.float64], outflow: NDArray[np.float64], joins: NDArray[np.float64], key: RunKey
) -> xr.Dataset:
    """State of a river whose inflow, outflow and what joins from the hillslopes [batch, reach] have long been what they are."""
    through = {HILLSLOPE: (joins, joins), CHANNEL: (inflow, outflow)}
    state = BlockState({
        name: Stage(np.repeat(through[name][0], n_lags, axis=1), through[name][1]) for name, n_lags in key.n_lags.items()
    })  # fmt: skip
    return state_dataset(state.table(key.n_lags, key.layout.batch_shape), key, None)
