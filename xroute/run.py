"""`Run`: what is known of a run before any runoff is read, and how it begins and ends.

`make_run` looks at labels, units and times of runoff, and makes the filter; `Run.start` brings a state into the run's order,
and `Run.set_attrs` and `Run.finish` name what comes out. Between them values are routed: in memory (`xroute.eager`), as tasks of
Dask (`xroute.chunked`), or from store to store (`xroute.streaming`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr

from xroute.attrs import append_history, discharge_attrs
from xroute.block_state import BlockState, Lags, StateTable, lags_of
from xroute.display.network import headline
from xroute.engine.arrays import Rows, compute_type
from xroute.exceptions import TimeAxisError
from xroute.hillslope import Hillslope, hillslope_of
from xroute.known import KnownDischarge
from xroute.known_match import match_known
from xroute.labels import Layout, align
from xroute.lanes import Box
from xroute.network import Network
from xroute.network_files import as_network
from xroute.parameters import parameters_of
from xroute.reach_values import ESTIMATED
from xroute.recipe import resolve_settings, stated_seconds
from xroute.request import NetworkLike, RouteRequest
from xroute.schemes import Filter
from xroute.settings import ANY_STEP, RoutingSettings, Sampling
from xroute.state import RunKey, aligned_state, run_key, state_dataset, tables_of
from xroute.times import Clock, read_clock
from xroute.units import flux_scale
from xroute.watch import Watch, watch
from xroute.wording import argument

__all__ = ["Run", "make_run", "name_discharge", "read_labels", "summary_of"]


@dataclass(frozen=True, eq=False)
class Run:
    """A run before any runoff is read: all that its blocks have in common.

    Attributes
    ----------
    network, filter, settings
        What routes, and how it is stepped and sampled.
    hillslope
        What runoff goes through before it joins its reach; None for nothing.
    layout
        Which dimension of runoff is which, and which row is which reach.
    scale
        Factor that makes a flux of runoff: one, or one for each reach [reach]; None where there is nothing to do.
    clock
        Along which dimension the series runs, how long its step is, and what a stamp means.
    units
        Units of discharge, None where the runoff has none.
    key
        What a state must share with the run; None if no state is asked for or given.
    watch
        What looks for accumulated values; None where there is no step.
    summary
        The run in a line, for the history of discharge.
    weights
        What brought runoff to the reaches, if it was on a grid (`xroute.grids.reaches.bring_to_reaches`).
    known
        Discharge that is known on some reaches; None where none is.
    """

    network: Network
    filter: Filter
    hillslope: Hillslope | None
    settings: RoutingSettings
    layout: Layout
    scale: Any
    clock: Clock
    units: str | None
    key: RunKey | None
    watch: Watch | None
    summary: str
    weights: str = ""
    known: KnownDischarge | None = None

    @property
    def n_lags(self) -> Lags:
        """Past inflows that each reach needs, by stage of the state."""
        return lags_of(self.filter, self.slopes)

    @property
    def slopes(self) -> Filter | None:
        """Filter of the hillslopes."""
        return None if self.hillslope is None else self.hillslope.filter

    @property
    def rows(self) -> Rows:
        """Where each reach's series stand in runoff and discharge [batch, row, time]."""
        layout = self.layout
        return Rows(layout.row, layout.result_row, int(layout.sizes[layout.reach_dim]), self.scale)

    def of_members(self, part: Box) -> Run:
        """The run of some of its members alone: blocks of them, without labels."""
        sizes = {**self.layout.sizes, **{d: s.stop - s.start for d, s in part.items()}}
        layout = replace(self.layout, sizes=sizes, coords={})
        key = None if self.key is None else replace(self.key, layout=layout)
        return replace(self, layout=layout, key=key, known=None if self.known is None else self.known.of_members(part))

    def start(self, state: Any, runoff: xr.DataArray) -> StateTable | None:
        """State to begin with: its tables in the order of the run's reaches and members; None, which is dry, for None.

        Raises
        ------
        StateError
            As `first_state`.
        """
        found = self.first_state(state, runoff)
        return None if found is None or self.key is None else tables_of(found, self.key)

    def first_state(self, state: Any, runoff: xr.DataArray, *, lazily: bool = False) -> xr.Dataset | None:
        """State to begin with, in the order of the run's reaches and members; None, which is dry, for None.

        ``lazily`` leaves the members of a state that is a file's in the file.

        Raises
        ------
        StateError
            For the state of another run.
        """
        if state is None or self.key is None:
            return None
        return aligned_state(state, self.key, self.clock.start(runoff), lazily=lazily)

    def set_attrs(self, discharge: xr.DataArray, runoff: xr.DataArray) -> xr.DataArray:
        """Give discharge its name and attributes, in place."""
        n_known = None if self.known is None else self.known.reach.size
        sampling = self.settings.sampling
        return name_discharge(discharge, runoff, self.clock, self.units, sampling, self.summary, n_known)

    def finish(self, end: BlockState | StateTable, runoff: xr.DataArray) -> xr.Dataset:
        """State at the end of some runoff, labelled."""
        assert self.key is not None
        if isinstance(end, BlockState):
            end = end.table(self.n_lags, self.layout.batch_shape)
        return state_dataset(end, self.key, self.clock.end(runoff))


def make_run(runoff: xr.DataArray, network: NetworkLike, request: RouteRequest, *, with_state: bool = False) -> Run:
    """Check what `route` is given, match labels, and make the filter; no runoff is read.

    Parameters
    ----------
    runoff, network, request
        As `xroute.route` has them.
    with_state
        Whether the run needs what a state must share with it, although the request neither gives nor asks for one.
    """
    network = as_network(network)
    stated = stated_seconds(network.attrs, "runoff_step") if request.dt is None else None
    clock = read_clock(runoff, request.time_dim, request.dt, request.label, stated)
    step, time_dim = clock.step, clock.dim
    layout, scale, units = read_labels(runoff, network, clock, request)
    parameters = parameters_of(network, request.scheme)
    settings = resolve_settings(
        network, parameters.values, step, substeps=request.substeps, sampling=request.sampling, lateral=request.lateral,
        nan="zero" if request.nan == "zero" else "raise",
    )  # fmt: skip
    watched = None
    if step is not None and runoff.sizes[time_dim]:
        parameters.warn_of_step(settings)
        watched = watch(runoff, time_dim, step)
    wants_key = with_state or request.return_state or request.initial_state is not None
    if step is None and (runoff.sizes[time_dim] or wants_key):
        raise TimeAxisError(
            f"{time_dim!r} has {runoff.sizes[time_dim]} entries, so the step cannot be told: give {argument('dt')} (seconds, "
            "or '3h')"
        )
    # without a step there is nothing to route, and any filter will do
    filter = parameters.filter(settings.routing_step or ANY_STEP, settings.lateral)
    hillslope = hillslope_of(network, request.hillslope, step, reach_dim=request.reach_dim, extra=request.extra)
    slopes = None if hillslope is None else hillslope.filter
    key = None
    if wants_key:
        name = None if hillslope is None else hillslope.name
        key = run_key(network, layout, lags_of(filter, slopes), request.scheme, settings, units, name)
    known = None
    if request.known is not None:
        known = match_known(request.known, runoff, network, layout, clock, units)
    summary = summary_of(
        network, parameters.values, settings, None if hillslope is None else hillslope.name,
        None if known is None else known.reach.size,
    )  # fmt: skip
    return Run(network, filter, hillslope, settings, layout, scale, clock, units, key, watched, summary, known=known)


def read_labels(
    runoff: xr.DataArray, network: Network, clock: Clock, request: RouteRequest
) -> tuple[Layout, Any, str | None]:
    """Which row of runoff is which reach, what makes a flux of it (`xroute.units.flux_scale`), and the units of discharge."""
    layout = align(
        runoff, network, reach_dim=request.reach_dim, time_dim=clock.dim, missing=request.missing, extra=request.extra
    )
    compute_type(runoff.dtype)  # for its error, before anything dear is done: what are no numbers cannot be routed
    area = network["area"] if "area" in network else None
    return layout, *flux_scale(runoff.attrs.get("units"), clock.step, area, layout.row)


def summary_of(
    network: Network, schemes: Iterable[str], settings: RoutingSettings, hillslope: str | None, n_known: int | None
) -> str:
    """A run in a line: schemes, how it is stepped, hillslopes, and on how many reaches discharge is known."""
    return (
        f"xroute: routed <xroute.Network: {headline(network)}>, scheme={', '.join(sorted(schemes))!r}, "
        f"substeps={settings.substeps}, sampling={settings.sampling!r}, lateral={settings.lateral!r}"
        + (f", parameters estimated: {network.attrs[ESTIMATED]}" if ESTIMATED in network.attrs else "")
        + ("" if hillslope is None else f", hillslope={hillslope!r}")
        + ("" if n_known is None else f", discharge known on {n_known} reaches")
    )


def name_discharge(
    discharge: xr.DataArray, runoff: xr.DataArray, clock: Clock, units: str | None, sampling: Sampling, summary: str,
    n_known: int | None = None,
) -> xr.DataArray:  # fmt: skip
    """Give the discharge of some runoff its name and attributes, in place."""
    discharge.name = "discharge"
    n_steps = runoff.sizes[clock.dim] if clock.dim in runoff.coords else 0
    attrs = dict(discharge_attrs(units, sampling, clock, n_steps))
    if n_known is not None:
        attrs["known_reaches"] = n_known
    discharge.attrs = {**attrs, "history": append_history(runoff.attrs.get("history"), summary)}
    return discharge
