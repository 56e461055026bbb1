"""Routing states: what a river holds between two runs, as a Dataset that can be stored, and ways to start from one.

A state is the last K - 1 inflows and the last filtered outflow of every reach, in float64, so that a run that is resumed
gives the same bits as one that never stopped. It is read by its labels, and nothing of it reaches the engine before its
sizes, labels and types were looked at. One that `xroute.io.write` stores bears a ``checksum`` of each member's ids and
values, which goes with it through selections and other orders, and is compared where a state is read from its path.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
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
    "RunKey", "align_state", "initial_state", "open_state", "read_state", "run_key", "state_dataset", "state_of_table",
    "state_table", "steady_state", "with_checksum", "write_state",
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

    @property
    def step(self) -> float:
        """Routing step [s], which inflows are apart."""
        return self.dt / self.substeps

    def check(self, state: xr.Dataset) -> None:
        """Refuse the state of another run, by name."""
        attrs = {name: _plain(value) for name, value in state.attrs.items()}
        for name, mine in self.attrs().items():
            if name not in attrs:
                raise StateError(
                    f"the state has no attribute {name!r}: it was not made by xroute, or its attributes were lost"
                )
            its = attrs[name]
            if name in ("dt", "substeps") or str(its) == str(mine):
                continue
            detail = (
                " (other ids, links or schemes of reaches)"
                if name == "network"
                else f": {its!r}, and this run has {mine!r}"
            )
            raise StateError(f"the state is of another {name}{detail}")
        dt, substeps = (_positive(name, attrs[name]) for name in ("dt", "substeps"))
        if not np.isclose(dt / substeps, self.step, rtol=1e-9, atol=0.0):
            raise StateError(
                f"the state is of another routing step: its inflows are {dt / substeps:g} s apart (dt {dt:g} s, substeps "
                f"{substeps:g}), and this run's {self.step:g} s (dt {self.dt:g} s, substeps {self.substeps}). With substeps "
                "that make them equal, it can be used"
            )
        for name in {"outflow", "inflow"} & set(state.variables):
            units = _plain(state[name].attrs.get("units"))
            if None not in (units, self.units) and not np.isclose(
                _in_si(units), _in_si(self.units), rtol=1e-12, atol=0.0
            ):
                raise StateError(f"the state's {name} is in {units!r}, and this run's discharge in {self.units!r}")


def _in_si(units: Any) -> float:
    return flux_in_si(units, "the state")


def _plain(value: Any) -> Any:
    """An attribute as it was before a file made bytes, an array of one entry or a number of numpy of it."""
    if isinstance(value, (list, tuple, np.ndarray)) and np.size(value) == 1:
        value = np.asarray(value, dtype=object).ravel()[0]
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _positive(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise StateError(f"the state's attribute {name!r} is {value!r}, not a number") from error
    if not (np.isfinite(number) and number > 0):
        raise StateError(f"the state's attribute {name!r} is {value!r}, not a positive number")
    return number


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
    own = {"outflow", "inflow", "n_lags", "checksum"}
    taken = {"reach", "lag", *own} & set(layout.batch_dims) or own & set(_batch_coords(layout))
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
    coords = _batch_coords(layout)
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


def _batch_coords(layout: Layout) -> dict[Hashable, Any]:
    """Coordinates of the runoff that a state keeps."""
    coords = xr.Coordinates(layout.coords).items()
    return {n: c.variable for n, c in coords if set(c.dims) <= set(layout.batch_dims)}


def with_checksum(state: xr.Dataset) -> xr.Dataset:
    """State with a ``checksum`` of each member's ids and values, as `xroute.io.write` stores it."""
    state = _in_form(state)
    members = [d for d in state["outflow"].dims if d != "reach"]
    attrs = {"long_name": "checksum of the member's ids, outflow and inflow"}
    return state.assign(checksum=(members, _sums(state, members), attrs))


def _sums(state: xr.Dataset, members: list[Hashable]) -> NDArray[np.float64]:
    """`_checksum` of a state in form."""
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    hashed = pd.util.hash_array(ids.astype(object) if ids.dtype.kind == "U" else ids)
    outflow = state["outflow"].transpose(*members, "reach").values.astype(np.float64)
    inflow = None
    if "inflow" in state.variables:
        inflow = state["inflow"].transpose(*members, "reach", "lag").values.astype(np.float64)
    return _checksum(outflow, inflow, hashed, state["n_lags"].values.astype(np.int64))


def _checksum(
    outflow: NDArray[np.float64],
    inflow: NDArray[np.float64] | None,
    hashed: NDArray[np.uint64],
    n_lags: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Checksum of each member, whole and below 2**53, of outflow [*batch, reach], inflow [*batch, reach, lag] and hashed ids.

    A sum over reaches, so that their order does not count; each term is a mixture (splitmix64: Steele et al. 2014) of a
    value's bits, its reach and its lag.
    """

    def mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))

    def bits_of(values: NDArray[np.float64]) -> NDArray[np.uint64]:
        return np.ascontiguousarray(values + 0.0).view(np.uint64)  # -0 and 0 are one: stores do not tell them apart

    with np.errstate(over="ignore"):
        reach = mixed(hashed + n_lags.astype(np.uint64))
        total = mixed(bits_of(outflow) ^ reach).sum(axis=-1, dtype=np.uint64)
        for lag in range(0 if inflow is None else inflow.shape[-1]):
            assert inflow is not None
            has = n_lags > lag
            seed = mixed(reach[has] + np.uint64(lag + 1))
            total = total + mixed(bits_of(inflow[..., has, lag]) ^ seed).sum(axis=-1, dtype=np.uint64)
    return (np.asarray(total) >> np.uint64(11)).astype(np.float64)


def read_state(
    state: Any,
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
        If it belongs to another network, scheme, option or routing step, has other members, or is no whole state.
    """
    outflow, inflow = (
        None if a is None else np.asarray(a) for a in align_state(state, filter, network, layout, key, time)
    )
    assert outflow is not None
    n_lags = filter.n_taps - 1
    outflow = outflow.reshape(layout.n_batch, network.n_reaches)
    inflow = np.zeros((*outflow.shape, 0)) if inflow is None else inflow.reshape(*outflow.shape, inflow.shape[-1])
    bad = ~np.isfinite(outflow).all(axis=0)
    for lag in range(inflow.shape[-1]):
        bad |= (n_lags > lag) & ~np.isfinite(inflow[:, :, lag]).all(axis=0)
    if bad.any():
        raise StateError(f"the state is not finite on {int(bad.sum())} reaches: {some(network.ids[bad])}")
    return state_of_table(outflow, inflow, n_lags)


def align_state(
    state: Any,
    filter: Filter,
    network: Network,
    layout: Layout,
    key: RunKey,
    time: str | None,
) -> tuple[Any, Any]:
    """Outflow [*batch, reach] and inflow [*batch, reach, lag] (or None) of a state that fits a run, maybe on Dask.

    ``state`` is a Dataset, or the path of one; lags stand in order, 1 first.
    """
    state = open_state(state)
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
    strange = sorted(map(str, set(state["outflow"].dims) - set(dims)))
    if strange:
        raise StateError(
            f"the state has dimensions that runoff does not have beside reach and time: {some(strange)}. Choose one entry, "
            f"state.isel({strange[0]}=...), if that is meant"
        )
    for dim in layout.batch_dims:
        state = _like_batch(state, dim, layout)
    inflow = state["inflow"].transpose(*dims, "lag").data if "inflow" in state.variables else None
    return state["outflow"].transpose(*dims).data, inflow


def open_state(state: Any) -> xr.Dataset:
    """A state that is one in form: a Dataset, or the path of one, whose values are then compared with their checksum.

    Returns
    -------
    xarray.Dataset
        With lags in order, if it has any.

    Raises
    ------
    StateError
        For anything else, and for variables, dimensions, labels or types that a state does not have.
    FileNotFoundError
        If there is nothing at the path.
    """
    if not isinstance(state, (str, os.PathLike)):
        return _in_form(state)
    from xroute.io.files import open_dataset  # which imports the network

    try:
        with open_dataset(Path(state)) as dataset:
            loaded = dataset.load()
    except (XRouteError, FileNotFoundError, ImportError):
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise StateError(f"the state {state} cannot be read: {type(error).__name__}: {error}") from error
    found = _in_form(loaded)
    if "checksum" in found.variables:
        _compare(found, state)
    return found


def _compare(state: xr.Dataset, path: Any) -> None:
    """Refuse values that are not those of the checksum."""
    members = [d for d in state["outflow"].dims if d != "reach"]
    stored = state["checksum"]
    if set(stored.dims) != set(members):
        raise StateError(f"the state {path} has a checksum on {some(stored.dims)}, and values on {some(members)}")
    same = (xr.Variable(members, _sums(state, members)) == stored.variable).values
    if not same.all():
        raise StateError(
            f"the state {path} is damaged: the values of {int((~same).sum())} of {same.size} members are not those that were "
            "written. If they were changed on purpose, drop_vars('checksum') before they are stored"
        )


def _in_form(state: Any) -> xr.Dataset:
    """The state, lags in order; what is none is refused, before any of its values are used."""
    if not isinstance(state, xr.Dataset):
        raise StateError(
            "a state is a Dataset with 'outflow', 'inflow' and 'n_lags', as return_state=True gives it, or the path of one, "
            f"not a {type(state).__name__}"
        )
    lacking = [name for name in ("outflow", "n_lags", "reach") if name not in state.variables]
    if lacking:
        raise StateError(
            f"the state has no {some(lacking)}: a state is a Dataset with 'outflow', 'inflow' and 'n_lags', as "
            f"return_state=True gives it, and this one has {some(state.variables)}"
        )
    lags = "inflow" in state.variables
    for name, kinds in (("outflow", "fiu"), ("inflow", "fiu"), ("n_lags", "fiu")):
        if name in state.variables and state[name].dtype.kind not in kinds:
            raise StateError(f"the state's {name!r} is of type {state[name].dtype}, not numbers")
    members = [d for d in state["outflow"].dims if d != "reach"]
    for name, dims in (("reach", ["reach"]), ("n_lags", ["reach"]), ("outflow", [*members, "reach"])):
        if set(state[name].dims) != set(dims):
            raise StateError(f"the state's {name!r} is on {some(state[name].dims)}, not on {some(dims)}")
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    unique, count = np.unique(ids, return_counts=True)
    if unique.size < ids.size:
        raise StateError(
            f"{int((count > 1).sum())} reaches stand more than once in the state: {some(unique[count > 1])}"
        )
    n_lags = state["n_lags"].values
    bad = ~((n_lags >= 0) & (n_lags == np.floor(n_lags)))
    if bad.any():
        raise StateError(
            f"the state's 'n_lags' are not whole numbers from 0 on {int(bad.sum())} reaches: {some(ids[bad])}"
        )
    longest = int(n_lags.max(initial=0))
    if not lags:
        if longest:
            raise StateError(
                f"the state has no 'inflow', and its reaches have up to {longest} lags: {some(state.variables)}"
            )
        return state
    if set(state["inflow"].dims) != {*members, "reach", "lag"}:
        raise StateError(
            f"the state's 'inflow' is on {some(state['inflow'].dims)}, not on {some([*members, 'reach', 'lag'])}"
        )
    if "lag" not in state.variables:
        raise StateError(
            f"the state's {state.sizes['lag']} lags have no labels, 1 to {longest}: which is which, is not known"
        )
    labels = state["lag"].values
    if labels.dtype.kind not in "iuf" or not np.array_equal(np.sort(labels), np.arange(1, longest + 1)):
        raise StateError(
            f"the state's lags are {some(labels) or 'none'}, and its reaches need 1 to {longest}, each once: part of it is "
            "missing, or it was put together of two"
        )
    return state.isel(lag=np.argsort(labels))


def _like_batch(state: xr.Dataset, dim: Hashable, layout: Layout) -> xr.Dataset:
    """State with the labels of one batch dimension in the runoff's order; repeated where it has not that dimension."""
    size, labels = layout.sizes[dim], xr.Coordinates(layout.coords).get(dim)
    if dim not in state["outflow"].dims:
        held = {"outflow", "inflow"} & set(state.variables)
        alone = state.drop_vars([dim], errors="ignore")  # the label of the one member that was chosen
        return alone.assign({n: alone[n].expand_dims({dim: size}) for n in held})
    if (labels is None) != (dim not in state.coords):
        has, lacks = ("state", "runoff") if labels is None else ("runoff", "state")
        raise StateError(
            f"{dim!r} has labels in the {has} and none in the {lacks}, so that nobody knows which is which: "
            f"assign_coords({dim}=...) to the {lacks}"
        )
    if labels is not None:
        its, mine = pd.Index(state[dim].values), pd.Index(labels.values)
        if its.equals(mine):
            return state
        double = its[its.duplicated()]
        if double.size:
            raise StateError(
                f"{double.unique().size} labels of the state's {dim!r} stand more than once: {some(double.unique())}"
            )
        at = its.get_indexer(mine)
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
