"""Routing states: what a river holds between two runs, as a Dataset that can be stored, and which run it fits.

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

from xroute.block_state import CHANNEL, BlockState, StageTable
from xroute.exceptions import StateError, some, warn
from xroute.ids import exact_ids, locate
from xroute.labels import Layout
from xroute.network import Network
from xroute.parameters import schemes_of
from xroute.schemes import Filter
from xroute.stored_state import open_state
from xroute.units import flux_in_si
from xroute.wording import phrase

__all__ = ["RunKey", "align_state", "read_state", "run_key", "state_dataset", "state_of_table", "state_table", "write_state"]


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
    outflow, inflow = state.channel.table(n_lags)
    return outflow, np.zeros((*outflow.shape, 0)) if inflow is None else inflow


def state_of_table(outflow: NDArray[Any], inflow: NDArray[Any], n_lags: NDArray[np.int64]) -> BlockState:
    """State of outflow [batch, reach] and inflow [batch, reach, lag]."""
    return BlockState.of_table({CHANNEL: StageTable(outflow, inflow)}, {CHANNEL: n_lags})


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

    Raises
    ------
    StateError
        As `read_state`, but for values, which are not read.
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
            + phrase("spin-up", "drop the attribute: del state.attrs['time']")
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
