"""Routing states with labels: what a river holds between two runs, as a Dataset, and which run it fits.

A state is the last K - 1 inflows and the last filtered outflow of every reach, in float64, so that a run that is resumed
gives the same bits as one that never stopped. `state_dataset` labels the tables of a `xroute.block_state.BlockState`,
`align_state` brings a Dataset into the order of a run, and `load_state` makes plain arrays of what it gave. The variables of
the river's own stage are ``outflow``, ``inflow`` and ``n_lags``; those of another stage bear its name before theirs.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.block_state import HILLSLOPE, BlockState, Lags, StageTable, StateTable, stored_name
from xroute.exceptions import StateError, some, warn
from xroute.ids import exact_ids, positions_of
from xroute.labels import Layout
from xroute.network import Network
from xroute.parameters import schemes_of
from xroute.settings import RoutingSettings
from xroute.state_form import open_state, stages_of
from xroute.time_dims import REFERENCE
from xroute.units import flux_in_si
from xroute.wording import argument, phrase

__all__ = ["RunKey", "align_state", "aligned_state", "load_state", "run_key", "state_dataset", "tables_of"]


@dataclass(frozen=True, eq=False)
class RunKey:
    """What a state must share with the run that it starts.

    Attributes
    ----------
    network, layout
        Whose reaches, and whose members, in which order.
    n_lags
        Past inflows that each reach needs, by stage.
    scheme, settings
        The schemes' names, and how the run is stepped.
    fingerprint
        Of ids and links, and of which reach has which scheme.
    units
        Units of discharge, None where they are not known; on the state's variables rather than among its attributes.
    hillslope
        Name of what runoff goes through before its reach, None for nothing.
    """

    network: Network
    layout: Layout
    n_lags: Lags
    scheme: str
    settings: RoutingSettings
    fingerprint: str
    units: str | None
    hillslope: str | None = None

    def attrs(self) -> dict[str, Any]:
        """As attributes of a stored state."""
        settings = self.settings
        return {
            "scheme": self.scheme,
            "dt": settings.step,
            "substeps": settings.substeps,
            "lateral": settings.lateral,
            "network": self.fingerprint,
            **({} if self.hillslope is None else {"hillslope": self.hillslope}),
        }

    def check(self, state: xr.Dataset) -> None:
        """Refuse the state of another run, by name."""
        attrs = {name: _plain(value) for name, value in state.attrs.items()}
        self._check_hillslope(state, attrs)
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
        self._check_step(_positive("dt", attrs["dt"]), _positive("substeps", attrs["substeps"]))
        if set(stages_of(state)) != set(self.n_lags):
            raise StateError(f"the state has the stages {some(stages_of(state))}, and this run {some(self.n_lags)}")
        for name in _arrays_of(state):
            units = _plain(state[name].attrs.get("units"))
            both: list[Any] = [units, self.units]
            if None in both:
                continue
            its, mine = (flux_in_si(text, "the state") for text in both)
            if not np.isclose(its, mine, rtol=1e-12, atol=0.0):
                raise StateError(f"the state's {name} is in {units!r}, and this run's discharge in {self.units!r}")

    def _check_hillslope(self, state: xr.Dataset, attrs: dict[str, Any]) -> None:
        """Refuse a state that lacks the stage of hillslopes, has one too many, or one of another step."""
        its, mine = HILLSLOPE in stages_of(state), HILLSLOPE in self.n_lags
        if its != mine:
            made = argument("hillslope", attrs.get("hillslope") if its else self.hillslope)
            cure = (
                f"it holds water on hillslopes ({made}), so give {argument('hillslope')} as in the run that made it" if its
                else f"it was made without {made}. Make one with it, by a run, initial_state or steady_state, or route with "
                + argument("hillslope", "none")
            )  # fmt: skip
            raise StateError(f"the state has the stages {some(stages_of(state))}, and this run {some(self.n_lags)}: {cure}")
        if not mine or "dt" not in attrs:
            return
        dt = _positive("dt", attrs["dt"])
        assert self.settings.step is not None
        if not np.isclose(dt, self.settings.step, rtol=1e-9, atol=0.0):
            raise StateError(
                f"the state's stage {HILLSLOPE!r} is of another step: its runoff is {dt:g} s apart, and this run's "
                f"{self.settings.step:g} s. Hillslopes act on steps of runoff, so they go on only with the same"
            )

    def _check_step(self, dt: float, substeps: float) -> None:
        """Refuse a state whose routing step, dt / substeps, is not the run's."""
        its, mine = dt / substeps, self.settings.routing_step
        assert mine is not None
        if not np.isclose(its, mine, rtol=1e-9, atol=0.0):
            raise StateError(
                f"the state is of another routing step: its inflows are {its:g} s apart (dt {dt:g} s, substeps "
                f"{substeps:g}), and this run's {mine:g} s (dt {self.settings.step:g} s, substeps "
                f"{self.settings.substeps}). {_same_step(its, self.settings.step)}"
            )


def _same_step(its: float, step: float | None) -> str:
    """With how many substeps a run of this step [s] can use a state of a routing step of ``its`` [s], in words."""
    n = round((step or 0.0) / its)
    if step is not None and n >= 1 and np.isclose(n * its, step, rtol=1e-9, atol=0.0):
        return f"With {argument('substeps', n)} they are equal, and it can be used"
    return "No number of substeps makes them equal: make a state with a run of this step"


def _arrays_of(state: xr.Dataset) -> list[str]:
    """Names of a state's variables with values of members and reaches."""
    names = [stored_name(stage, array) for stage in stages_of(state) for array in ("outflow", "inflow")]
    return [name for name in names if name in state.variables]


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
    network: Network, layout: Layout, n_lags: Lags, scheme: str | None, settings: RoutingSettings, units: str | None,
    hillslope: str | None = None,
) -> RunKey:  # fmt: skip
    """Key of a run, of which ``scheme`` is as the caller gave it, and ``hillslope`` the name of what it resolved to.

    Raises
    ------
    StateError
        If a batch dimension has the name of one of the state's own.
    """
    variables = {stored_name(stage, name) for stage in n_lags for name in ("outflow", "inflow", "n_lags")} | {"checksum"}
    dims = {stored_name(stage, "lag") for stage in n_lags} | {"reach"}
    taken = (variables | dims) & set(layout.batch_dims) or variables & set(_batch_coords(layout))
    if taken:
        raise StateError(f"the dimension {some(sorted(taken))} would stand twice in a state: rename it in the runoff")
    schemes = schemes_of(network, scheme)
    fingerprint = network.fingerprint
    if len(schemes) > 1:
        pairs = [f"{i} {name}" for name, at in schemes.items() for i in network.ids[at].tolist()]
        hashed = pd.util.hash_array(np.array(pairs, dtype=object))
        fingerprint += f"{int(hashed.sum()) & (2**64 - 1):016x}"
    return RunKey(network, layout, n_lags, ", ".join(sorted(schemes)), settings, fingerprint, units, hillslope)


def state_dataset(table: StateTable, key: RunKey, time: str | None) -> xr.Dataset:
    """Label a state's tables, of numpy or Dask; ``time`` is when it holds, None where that is not known.

    Returns
    -------
    xarray.Dataset
        Of each stage ``outflow`` (batch, reach), ``n_lags`` (reach), and ``inflow`` (batch, reach, lag) if any reach has lags.
    """
    coords = _batch_coords(key.layout)
    coords["reach"] = ("reach", key.network.ids, {"cf_role": "timeseries_id"})
    dims = (*key.layout.batch_dims, "reach")
    attrs = {"title": "xroute routing state", **key.attrs()} | ({} if time is None else {"time": time})
    units = {} if key.units is None else {"units": key.units}
    variables: dict[str, Any] = {}
    for stage, (outflow, inflow) in table.items():
        n_lags = key.n_lags[stage]
        outflow_name, inflow_name, lag = (stored_name(stage, name) for name in ("outflow", "inflow", "lag"))
        variables[outflow_name] = (dims, outflow, {"long_name": "last filtered outflow", **units})
        variables[stored_name(stage, "n_lags")] = ("reach", n_lags, {"long_name": "lags that the reach needs"})
        if inflow is not None:  # netCDF 3 takes a dimension without entries for an unlimited one
            variables[inflow_name] = ((*dims, lag), inflow, {"long_name": "inflow, lag steps ago", **units})
            coords[lag] = (lag, np.arange(1, int(n_lags.max()) + 1))
    return xr.Dataset(variables, coords, attrs)


def _batch_coords(layout: Layout) -> dict[Hashable, Any]:
    """Coordinates of the runoff that a state keeps."""
    coords = xr.Coordinates(layout.coords).items()
    return {n: c.variable for n, c in coords if set(c.dims) <= set(layout.batch_dims)}


def load_state(table: StateTable, n_lags: Lags, ids: NDArray[Any]) -> BlockState:
    """State as plain arrays, of tables that may be on Dask or not read yet; ``ids`` [reach] are for the message.

    Raises
    ------
    StateError
        For values that are not finite.
    """
    state = BlockState.of_table(table, n_lags)
    bad = np.zeros(ids.size, bool)
    for name, stage in state.stages.items():
        bad |= ~np.isfinite(stage.outflow).all(axis=0)
        bad[np.repeat(np.arange(ids.size), n_lags[name])[~np.isfinite(stage.history).all(axis=0)]] = True
    if bad.any():
        raise StateError(f"the state is not finite on {int(bad.sum())} reaches: {some(ids[bad])}")
    return state


def align_state(state: Any, key: RunKey, time: str | None) -> StateTable:
    """Tables of a state in the order of a run's reaches and members: see `aligned_state`."""
    return tables_of(aligned_state(state, key, time), key)


def tables_of(state: xr.Dataset, key: RunKey) -> StateTable:
    """Tables of a state that `aligned_state` gave, or of some members of it; values that are not on Dask are read now."""
    dims = (*key.layout.batch_dims, "reach")
    return {stage: _stage_table(state, stage, dims) for stage in key.n_lags}


def aligned_state(state: Any, key: RunKey, time: str | None, *, lazily: bool = False) -> xr.Dataset:
    """A state in the order of a run's reaches and members; ``lazily`` leaves the members of a file in it.

    The state is a Dataset, whose values are not read, or the path of one; ``time`` is when the run starts, None where that is
    not known.

    Raises
    ------
    StateError
        If it belongs to another network, scheme, option or routing step, has other members, or is no whole state.
    """
    state = open_state(state, lazily=lazily)
    network, layout = key.network, key.layout
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    at = positions_of(network.ids, ids)
    alien = positions_of(ids, network.ids) < 0
    if (at < 0).any() or alien.any():
        told = {"{} reaches are not in it: {}": network.ids[at < 0], "{} of its reaches are not here: {}": ids[alien]}
        why = "; ".join(text.format(which.size, some(which)) for text, which in told.items() if which.size)
        raise StateError(f"the state is of another network: {why}")
    key.check(state)
    if time is not None and state.attrs.get("time", time) != time:
        warn(
            f"the state holds at {state.attrs['time']}, and runoff starts at {time}. If that is meant (a spin-up, say), "
            + phrase("spin-up", "drop the attribute: del state.attrs['time']")
        )
    state = state if np.array_equal(at, np.arange(ids.size)) else state.isel(reach=at)
    _check_windows(state, key)
    dims = (*layout.batch_dims, "reach")
    strange = sorted(map(str, set(state["outflow"].dims) - set(dims)))
    if strange:
        raise StateError(
            f"the state has dimensions that runoff does not have beside reach and time: {some(strange)}. Choose one entry, "
            f"state.isel({strange[0]}=...), if that is meant"
        )
    for dim in layout.batch_dims:
        state = _like_batch(state, dim, layout)
    return state


def _check_windows(state: xr.Dataset, key: RunKey) -> None:
    """Refuse a state, in the run's order, whose reaches had other numbers of lags."""
    for stage, n_lags in key.n_lags.items():
        other = state[stored_name(stage, "n_lags")].values != n_lags
        if other.any():
            raise StateError(
                f"{int(other.sum())} reaches now have a window of another length: {some(key.network.ids[other])}. "
                "Their parameters have changed, so their past inflow cannot be used"
            )


def _stage_table(state: xr.Dataset, stage: str, dims: tuple[Hashable, ...]) -> StageTable:
    outflow, inflow, lag = (stored_name(stage, name) for name in ("outflow", "inflow", "lag"))
    past = state[inflow].transpose(*dims, lag).data if inflow in state.variables else None
    return StageTable(state[outflow].transpose(*dims).data, past)


def _like_batch(state: xr.Dataset, dim: Hashable, layout: Layout) -> xr.Dataset:
    """A state's members along one batch dimension as the runoff has them: in its order, or one state for all of them."""
    size, labels = layout.sizes[dim], xr.Coordinates(layout.coords).get(dim)
    if size == 1 and dim in REFERENCE and state.sizes.get(dim) == 1:  # when a forecast was made is no member: the next one
        state = state.isel({dim: 0})
    if dim not in state["outflow"].dims:
        alone = state.drop_vars([dim], errors="ignore")  # the label of the one member that was chosen
        return alone.assign({n: alone[n].expand_dims({dim: size}) for n in _arrays_of(alone)})
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
