"""A budget before anything is read: the run that it is of, as discharge and states tell of it; labels and units matched."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xroute.block_state import StateTable
from xroute.budget.accounts import Accounts
from xroute.budget.ledger import accounts_of
from xroute.exceptions import AlignmentError, ParameterError, StateError, TimeAxisError, XRouteError, some, warn
from xroute.grids.reaches import bring_to_reaches
from xroute.hillslope import ORDINATES
from xroute.labels import Layout, align
from xroute.network_files import as_network
from xroute.request import BudgetRequest, NetworkLike
from xroute.run import Run, make_run
from xroute.schemes import SCHEMES
from xroute.settings import HILLSLOPE
from xroute.state import align_state
from xroute.state_form import open_state
from xroute.times import read_clock
from xroute.units import flux_in_si
from xroute.wording import argument

__all__ = ["Task", "prepare"]


@dataclass(frozen=True, eq=False)
class Task:
    """A budget before anything is read.

    Attributes
    ----------
    run, accounts
        The run, and where water counts.
    runoff, discharge
        Discharge has the runoff's order of members and times, and its own of reaches.
    places
        Layout of ``discharge``.
    start, end
        States at both ends; None at the start is dry, at the end not known.
    to_m3
        Volume of a unit of discharge over a step [m3].
    request
        As it was asked for.
    """

    run: Run
    accounts: Accounts
    runoff: xr.DataArray
    discharge: xr.DataArray
    places: Layout
    start: StateTable | None
    end: StateTable | None
    to_m3: float
    request: BudgetRequest


def prepare(runoff: xr.DataArray, discharge: xr.DataArray, network: NetworkLike, request: BudgetRequest) -> Task:
    """Check all that can be checked before anything is read; arguments are those of `xroute.budget`."""
    start, end = (None if s is None else open_state(s) for s in (request.initial_state, request.final_state))  # read once
    network = as_network(network)
    runoff, request, _ = bring_to_reaches(runoff, network, request)
    request = _as_routed(runoff, discharge, replace(request, initial_state=start, final_state=end))
    run = make_run(runoff, network, request, with_state=True)
    discharge, places = _matched(discharge, runoff, run)
    accounts = accounts_of(run)
    lacking = np.empty(0, np.int64) if places.row is None else accounts.counted[places.row[accounts.counted] < 0]
    if lacking.size:
        raise AlignmentError(
            f"discharge lacks {lacking.size} reaches that water leaves the network or its basin from: "
            f"{some(run.network.ids[lacking])}"
        )
    before = run.start(request.initial_state, runoff)
    after = None if request.final_state is None else _final(request.final_state, run, runoff)
    assert run.settings.step is not None  # or there is no run that has a state
    to_m3 = run.settings.step * flux_in_si(run.units, "discharge")
    return Task(run, accounts, runoff, discharge, places, before, after, to_m3, request)


# ── how discharge was routed, and which of its rows is which ─────────────────────────────────────────────────────────────


def _as_routed(runoff: xr.DataArray, discharge: xr.DataArray, request: BudgetRequest) -> BudgetRequest:
    """The request, with what discharge and the states say of how they were routed where the caller does not."""
    said = _history(discharge)
    for state in (request.final_state, request.initial_state):
        if state is None:
            continue
        assert isinstance(state, xr.Dataset)
        attrs = state.attrs
        named = {name: attrs.get(name) for name in ("scheme", "lateral", "hillslope")}
        said = {**named, **_substeps(attrs, runoff, request), **said}
    scheme, hillslope = said.get("scheme"), said.get("hillslope")
    said["scheme"] = scheme if scheme in SCHEMES else None  # of several, the network says which reach has which
    said["hillslope"] = hillslope if hillslope in HILLSLOPE else None
    if hillslope == ORDINATES and request.hillslope is None:
        raise ParameterError(f"discharge was routed with ordinates of hillslopes: give them, {argument('hillslope')}")
    if "known_reaches" in discharge.attrs and request.known is None:
        warn(
            f"discharge was routed with discharge known on {discharge.attrs['known_reaches']} reaches, and what this gained is "
            f"in the residual unless it is given, {argument('known')}"
        )
    given = {name: value for name, value in said.items() if value is not None and getattr(request, name) is None}
    return replace(request, **given)


def _history(discharge: xr.DataArray) -> dict[str, Any]:
    """Options by the last line of history that tells of routing, and by the cell methods."""
    lines = [line for line in str(discharge.attrs.get("history", "")).splitlines() if "xroute: routed" in line]
    found: dict[str, Any] = {}
    if lines:
        for name, text, number in re.findall(r"\b(scheme|sampling|lateral|substeps|hillslope)=(?:'([^']*)'|(\d+))", lines[-1]):
            found[name] = int(number) if number else text
        found.setdefault("hillslope", HILLSLOPE[0])  # none was named, though the network may name one
    elif "point" in str(discharge.attrs.get("cell_methods", "")):
        found["sampling"] = "last"
    return found


def _substeps(attrs: Mapping[Any, Any], runoff: xr.DataArray, request: BudgetRequest) -> dict[str, Any]:
    """Substeps of the run, by the routing step of a state."""
    try:
        step = read_clock(runoff, request.time_dim, request.dt, request.label).step
        ratio = (step or 0.0) * float(attrs["substeps"]) / float(attrs["dt"])
    except (KeyError, TypeError, ValueError):  # whoever checks the state says what is wrong with it
        return {}
    return {"substeps": round(ratio)} if round(ratio) >= 1 else {}


def _matched(discharge: xr.DataArray, runoff: xr.DataArray, run: Run) -> tuple[xr.DataArray, Layout]:
    """Discharge in the runoff's order of times and members, and where its reaches are."""
    layout, time_dim = run.layout, run.clock.dim
    others = (time_dim, *layout.batch_dims)
    lacking = [d for d in others if d not in discharge.dims]
    if lacking or discharge.ndim != runoff.ndim:
        raise AlignmentError(f"discharge has the dimensions {some(discharge.dims)}, and runoff {some(runoff.dims)}")
    for dim in others:
        discharge = _in_order(discharge, runoff, dim, AlignmentError if dim != time_dim else TimeAxisError)
    (reach_dim,) = (d for d in discharge.dims if d not in others)
    places = align(
        discharge, run.network, reach_dim=reach_dim, time_dim=time_dim, missing="zero", extra="raise", what="discharge"
    )
    units = discharge.attrs.get("units")
    if units is not None and run.units is not None and units != run.units:
        factor = flux_in_si(units, "discharge") / flux_in_si(run.units, "runoff")
        discharge = discharge * factor
    return discharge, places


def _in_order(discharge: xr.DataArray, runoff: xr.DataArray, dim: Hashable, error: type[XRouteError]) -> xr.DataArray:
    """Discharge along a dimension as runoff has it, by label."""
    if discharge.sizes[dim] != runoff.sizes[dim]:
        raise error(f"discharge has {discharge.sizes[dim]} entries along {str(dim)!r}, and runoff {runoff.sizes[dim]}")
    its, mine = discharge.indexes.get(dim), runoff.indexes.get(dim)
    if its is None or mine is None or its.equals(mine):
        return discharge
    at = its.get_indexer(mine) if its.is_unique else np.full(mine.size, -1)
    if (at < 0).any():
        raise error(
            f"discharge and runoff have other labels along {str(dim)!r}: {some(its.values, 3)}, and {some(mine.values, 3)}"
        )
    return discharge.isel({dim: at})


def _final(state: Any, run: Run, runoff: xr.DataArray) -> StateTable:
    """The state at the end, in the run's order."""
    ends = run.clock.end(runoff)
    holds = state.attrs.get("time", ends)
    if ends is not None and holds != ends:
        raise StateError(f"the final state holds at {holds}, and runoff ends at {ends}: it is not the state at the end")
    assert run.key is not None
    return align_state(state, run.key, None)
