"""Routing states: what a river holds between two runs, as a Dataset that can be stored, and ways to start from one.

A state is the last K - 1 inflows and the last filtered outflow of every reach, in float64, so that a run that is resumed
gives the same bits as one that never stopped.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.block import BlockState, RouteOptions, route_block
from xroute.exceptions import StateError, XRouteError, some, warn
from xroute.ids import exact_ids, locate
from xroute.labels import Layout, align, require_array
from xroute.network import Network, as_network
from xroute.parameters import read_parameters, resolve_substeps, schemes_of
from xroute.recipe import resolve_recipe, resolve_step
from xroute.schemes import Filter, make_filter
from xroute.times import dated_dims, seconds
from xroute.units import flux_in_si, flux_scale

__all__ = [
    "RunKey", "align_state", "initial_state", "read_state", "run_key", "state_dataset", "state_of_table", "state_table",
    "steady_state", "write_state",
]  # fmt: skip


@dataclass(frozen=True)
class RunKey:
    """What a state must share with the run that it starts."""

    scheme: str
    dt: float
    substeps: int
    lateral: Literal["head", "interval", "outlet"]
    network: str
    units: str | None
    """Units of discharge, None where they are not known; on the state's variables rather than among its attributes."""

    def attrs(self) -> dict[str, Any]:
        """As attributes of a stored state."""
        return {
            "scheme": self.scheme,
            "dt": self.dt,
            "substeps": self.substeps,
            "lateral": self.lateral,
            "network": self.network,
        }

    def check(self, state: xr.Dataset) -> None:
        """Refuse the state of another run, by name."""
        attrs = state.attrs
        for name, mine in self.attrs().items():
            if name not in attrs:
                raise StateError(
                    f"the state has no attribute {name!r}: it was not made by xroute, or its attributes were lost"
                )
            its = attrs[name]
            if (isinstance(mine, float) and not np.isclose(float(its), mine, rtol=1e-9)) or (
                not isinstance(mine, float) and str(its) != str(mine)
            ):
                what = {"dt": "time step [s]"}.get(name, name)
                detail = (
                    " (other ids, links or schemes of reaches)"
                    if name == "network"
                    else f": {its!r}, and this run has {mine!r}"
                )
                raise StateError(f"the state is of another {what}{detail}")
        for name in {"outflow", "inflow"} & set(state.variables):
            units = state[name].attrs.get("units")
            if None not in (units, self.units) and not np.isclose(
                _in_si(units), _in_si(self.units), rtol=1e-12, atol=0.0
            ):
                raise StateError(f"the state's {name} is in {units!r}, and this run's discharge in {self.units!r}")


def _in_si(units: Any) -> float:
    return flux_in_si(units, "the state")


def run_key(
    network: Network,
    layout: Layout,
    scheme: str | None,
    dt: float,
    substeps: int,
    lateral: Literal["head", "interval", "outlet"],
    units: str | None,
) -> RunKey:
    """Key of a run.

    Raises
    ------
    StateError
        If a batch dimension has the name of one of the state's own.
    """
    taken = {"reach", "lag"} & set(layout.batch_dims)
    if taken:
        raise StateError(f"the dimension {some(sorted(taken))} would stand twice in a state: rename it in the runoff")
    schemes = schemes_of(network, scheme)
    fingerprint = network.fingerprint
    if len(schemes) > 1:
        owners = [f"{i} {name}" for name, at in schemes.items() for i in network.ids[at].tolist()]
        hashed = pd.util.hash_array(np.array(owners, dtype=object))
        fingerprint += f"{int(hashed.sum()) & (2**64 - 1):016x}"
    return RunKey(", ".join(sorted(schemes)), float(dt), substeps, lateral, fingerprint, units)


def write_state(
    state: BlockState,
    filter: Filter,
    network: Network,
    layout: Layout,
    key: RunKey,
    time: str | None,
) -> xr.Dataset:
    """Dataset of a state: ``outflow`` (batch, reach), ``n_lags`` (reach), ``inflow`` (batch, reach, lag) if any has lags."""
    n_lags = filter.n_taps - 1
    shape = tuple(layout.sizes[d] for d in layout.batch_dims)
    outflow, inflow = state_table(state, n_lags)
    return state_dataset(
        outflow.reshape(*shape, network.n_reaches), inflow.reshape(*shape, *inflow.shape[1:]), n_lags, network, layout,
        key, time,
    )  # fmt: skip


def state_table(state: BlockState, n_lags: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outflow [batch, reach] and inflow [batch, reach, lag] of a state; lags that a reach does not have are 0."""
    longest = int(n_lags.max(initial=0))
    inflow = np.zeros((*state.outflow.shape, longest))
    inflow[:, np.arange(longest) < n_lags[:, None]] = state.history
    return state.outflow, inflow


def state_of_table(outflow: NDArray[Any], inflow: NDArray[Any], n_lags: NDArray[np.int64]) -> BlockState:
    """State of outflow [batch, reach] and inflow [batch, reach, lag]."""
    history = inflow[:, np.arange(inflow.shape[2]) < n_lags[:, None]]
    return BlockState(np.array(history, np.float64, order="C"), np.array(outflow, np.float64, order="C"))


def state_dataset(
    outflow: Any,
    inflow: Any,
    n_lags: NDArray[np.int64],
    network: Network,
    layout: Layout,
    key: RunKey,
    time: str | None,
) -> xr.Dataset:
    """`write_state` of arrays [*batch, reach] and [*batch, reach, lag], of numpy or Dask; None where there are no lags."""
    longest = int(n_lags.max(initial=0))
    coords = {n: c.variable for n, c in xr.Coordinates(layout.coords).items() if set(c.dims) <= set(layout.batch_dims)}
    coords["reach"] = ("reach", network.ids, {"cf_role": "timeseries_id"})
    dims = (*layout.batch_dims, "reach")
    attrs = {"title": "xroute routing state", **key.attrs()} | ({} if time is None else {"time": time})
    units = {} if key.units is None else {"units": key.units}
    variables = {
        "outflow": (dims, outflow, {"long_name": "last filtered outflow", **units}),
        "n_lags": ("reach", n_lags, {"long_name": "lags that the reach needs"}),
    }
    if longest:  # netCDF 3 takes a dimension without entries for an unlimited one
        variables["inflow"] = ((*dims, "lag"), inflow, {"long_name": "inflow, lag steps ago", **units})
        coords["lag"] = ("lag", np.arange(1, longest + 1))
    return xr.Dataset(variables, coords, attrs)


def read_state(
    state: xr.Dataset,
    filter: Filter,
    network: Network,
    layout: Layout,
    key: RunKey,
    time: str | None,
) -> BlockState:
    """State as plain arrays, aligned by id and by the labels of batch dimensions.

    Raises
    ------
    StateError
        If it belongs to another network, scheme, option or time step, or has other members.
    """
    outflow, inflow = (
        None if a is None else np.asarray(a) for a in align_state(state, filter, network, layout, key, time)
    )
    assert outflow is not None
    n_lags = filter.n_taps - 1
    outflow = outflow.reshape(layout.n_batch, network.n_reaches)
    inflow = np.empty((*outflow.shape, 0)) if inflow is None else inflow.reshape(*outflow.shape, inflow.shape[-1])
    bad = ~(np.isfinite(outflow).all(axis=0) & np.isfinite(inflow).all(axis=(0, 2)))
    if bad.any():
        raise StateError(f"the state is not finite on {int(bad.sum())} reaches: {some(network.ids[bad])}")
    return state_of_table(outflow, inflow, n_lags)


def align_state(
    state: xr.Dataset,
    filter: Filter,
    network: Network,
    layout: Layout,
    key: RunKey,
    time: str | None,
) -> tuple[Any, Any]:
    """Outflow [*batch, reach] and inflow [*batch, reach, lag] (or None) of a state that fits a run, maybe on Dask."""
    if (
        not isinstance(state, xr.Dataset)
        or not {"outflow", "n_lags"} <= set(state.variables)
        or ("inflow" not in state.variables and (state["n_lags"] > 0).any())
    ):
        raise StateError("a state is a Dataset with 'outflow', 'inflow' and 'n_lags', as return_state=True gives it")
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    at = locate(network.ids, ids)
    alien = locate(ids, network.ids) < 0
    if (at < 0).any() or alien.any():
        raise StateError(
            "the state is of another network: "
            + (f"{int((at < 0).sum())} reaches are not in it: {some(network.ids[at < 0])}" if (at < 0).any() else "")
            + (f"; {int(alien.sum())} of its reaches are not here: {some(ids[alien])}" if alien.any() else "")
        )
    key.check(state)
    if time is not None and state.attrs.get("time", time) != time:
        warn(
            f"the state holds at {state.attrs['time']}, and runoff starts at {time}. If that is meant (a spin-up, say), "
            "drop the attribute: del state.attrs['time']"
        )
    state = state.isel(reach=at)
    n_lags = filter.n_taps - 1
    other = state["n_lags"].values != n_lags
    if other.any():
        raise StateError(
            f"{int(other.sum())} reaches now have a window of another length: {some(network.ids[other])}. "
            "Their parameters have changed, so their past inflow cannot be used"
        )
    dims = (*layout.batch_dims, "reach")
    strange = set(state["outflow"].dims) - set(dims)
    if strange:
        raise StateError(f"the state has dimensions that runoff does not have: {some(sorted(map(str, strange)))}")
    for dim in layout.batch_dims:
        state = _like_batch(state, dim, layout)
    inflow = state["inflow"].transpose(*dims, "lag").data if "inflow" in state.variables else None
    return state["outflow"].transpose(*dims).data, inflow


def _like_batch(state: xr.Dataset, dim: Hashable, layout: Layout) -> xr.Dataset:
    """State with the labels of one batch dimension in the runoff's order; repeated where it has not that dimension."""
    size, labels = layout.sizes[dim], xr.Coordinates(layout.coords).get(dim)
    if dim not in state["outflow"].dims:
        held = {"outflow", "inflow"} & set(state.variables)
        return state.assign({n: state[n].expand_dims({dim: size}) for n in held})
    if labels is not None and dim in state.coords:
        at = pd.Index(state[dim].values).get_indexer(pd.Index(labels.values))
        if (at < 0).any() or state.sizes[dim] != size:
            raise StateError(
                f"the state's {dim!r} is {some(state[dim].values)}, and the runoff's {some(labels.values)}"
            )
        return state.isel({dim: at})
    if state.sizes[dim] != size:
        raise StateError(f"the state's {dim!r} has {state.sizes[dim]} entries, and the runoff's {size}")
    return state


def initial_state(
    network: xr.Dataset | Network,
    discharge: xr.DataArray,
    *,
    dt: Any = None,
    runoff: xr.DataArray | None = None,
    scheme: str | None = None,
    substeps: int | Literal["auto"] | None = None,
    lateral: Literal["head", "interval", "outlet"] | None = None,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
    reach_dim: Hashable | None = None,
) -> xr.Dataset:
    """State from a snapshot of discharge, such as RAPID's Qinit.

    Parameters
    ----------
    network
        Network Dataset or `Network`.
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
    scheme, substeps, lateral
        As they will be given to `route`.
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
    filter, key = _prepare(network, layout, scheme, dt, substeps, lateral, units)
    lateral = key.lateral
    arriving, outflow = _arriving(flow, network), flow
    if lateral == "interval":  # Qinit of RAPID: lateral inflow has its own term
        inflow = arriving
    elif lateral == "outlet":
        inflow = arriving
        outflow = _steady_gain(filter)[0] * arriving if joins is None else flow - joins
    else:
        inflow = flow / _steady_gain(filter)[0] if joins is None else arriving + joins
    return write_state(_constant(inflow, outflow, filter), filter, network, layout, key, None)


def steady_state(
    network: xr.Dataset | Network,
    runoff: xr.DataArray,
    *,
    dt: Any = None,
    scheme: str | None = None,
    substeps: int | Literal["auto"] | None = None,
    lateral: Literal["head", "interval", "outlet"] | None = None,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
    reach_dim: Hashable | None = None,
) -> xr.Dataset:
    """State in equilibrium with a constant runoff, in closed form: no spin-up run is needed.

    Parameters
    ----------
    network
        Network Dataset or `Network`.
    runoff : (reach, ...)
        Constant runoff, e.g. ``ds.runoff.mean("time")``, in any units that `route` takes.
    dt, scheme, substeps, lateral, missing, extra, reach_dim
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
    """
    network = as_network(network)
    dt = resolve_step(network, dt)
    joins, layout, units = _lateral(runoff, network, dt, reach_dim=reach_dim, missing=missing, extra=extra)
    filter, key = _prepare(network, layout, scheme, dt, substeps, lateral, units)
    lateral = key.lateral
    import torch

    gain, lateral_gain = _steady_gain(filter)
    instant = Filter(
        torch.from_numpy(gain), np.arange(network.n_reaches + 1), torch.zeros(gain.size, dtype=torch.float64),
        torch.from_numpy(lateral_gain),
    )  # fmt: skip
    flow, _, _ = route_block(joins[:, :, None].copy(), network.plan, instant, None, RouteOptions(lateral=lateral))
    flow = flow[:, :, 0]
    inflow = _arriving(flow, network) + (joins if lateral == "head" else 0.0)
    outflow = flow - joins if lateral == "outlet" else flow
    return write_state(_constant(inflow, outflow, filter), filter, network, layout, key, None)


def _prepare(
    network: Network, layout: Layout, scheme: str | None, step: float, substeps: Any, lateral: Any, units: str | None
) -> tuple[Filter, RunKey]:
    recipe = resolve_recipe(network, step, substeps, lateral=lateral)
    parameters = read_parameters(network, scheme)
    n = resolve_substeps(recipe.substeps, parameters, step, network.ids)
    filter = make_filter(parameters, step / n, network.n_reaches, lateral=recipe.lateral, ids=network.ids)
    return filter, run_key(network, layout, scheme, step, n, recipe.lateral, units)


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


def _constant(inflow: NDArray[np.float64], outflow: NDArray[np.float64], filter: Filter) -> BlockState:
    return BlockState(np.repeat(inflow, filter.n_taps - 1, axis=1), outflow)
