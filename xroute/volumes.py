"""Volumes of water: what a state holds, and whether discharge tells how much flowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from xroute.block_state import CHANNEL, HILLSLOPE, Stage, StageTable, stored_name
from xroute.hillslope import hillslope_of
from xroute.network_files import as_network
from xroute.parameters import read_parameters
from xroute.request import NetworkLike
from xroute.schemes import SCHEMES, Filter, make_filter
from xroute.units import flux_in_si

if TYPE_CHECKING:
    from xroute.block_state import BlockState
    from xroute.run import Run

__all__ = ["needs_means", "storage", "stored_water"]


def storage(network: NetworkLike, state: xr.Dataset, hillslope: Any = None) -> xr.DataArray:
    """Water that a state holds in each reach, and on its hillslopes, on its way to the outlets.

    Parameters
    ----------
    network
        Network Dataset, a `Network`, or the path of one.
    state
        A state of it, as ``return_state=True`` gives it. Without units it is taken to be in m3/s.
    hillslope
        Ordinates of the hillslopes, if the run had them; hillslopes that have a name the state names.

    Returns
    -------
    xarray.DataArray
        Storage (..., reach) [m3].

    Examples
    --------
    >>> import xroute
    >>> from xroute.volumes import storage
    >>> river = xroute.Network.from_links([1, 2], [2, 3], parameters={"tau": 7200.0}, attrs={"scheme": "linear_storage"})
    >>> runoff = xr.DataArray([1.0, 0.0, 0.0], {"reach": [1, 2, 3]}, attrs={"units": "m3 s-1"})
    >>> storage(river, xroute.steady_state(river, runoff, dt="1h")).values
    array([7200., 7200., 7200.])
    """
    network = as_network(network)
    step = float(state.attrs["dt"]) / float(state.attrs["substeps"])
    scheme = str(state.attrs["scheme"])
    parameters = read_parameters(network, scheme if scheme in SCHEMES else None)  # of several schemes, the network's own
    made = make_filter(parameters, step, network.n_reaches, ids=network.ids)
    state = state.sel(reach=network.ids)
    outflow = state["outflow"].transpose(..., "reach")
    units = outflow.attrs.get("units")
    water = made.storage(step, *_stage(state, CHANNEL, made))
    if stored_name(HILLSLOPE, "outflow") in state:
        slopes = hillslope_of(network, hillslope if hillslope is not None else state.attrs["hillslope"], float(state.attrs["dt"]))
        assert slopes is not None
        water = water + slopes.filter.storage(float(state.attrs["dt"]), *_stage(state, HILLSLOPE, slopes.filter))
    water = water * flux_in_si(units, "the state")
    stored = outflow.copy(data=water.reshape(outflow.shape)).rename("storage")
    stored.attrs = {"long_name": "water stored in the reach", "units": "m3"}
    return stored


def _stage(state: xr.Dataset, name: str, filter: Filter) -> Stage:
    """A stage of a labelled state, as plain arrays."""
    outflow, inflow, lag = (stored_name(name, of) for of in ("outflow", "inflow", "lag"))
    last = state[outflow].transpose(..., "reach")
    past = state[inflow].sortby(lag).transpose(*last.dims, lag).values if inflow in state else None
    return Stage.of_table(StageTable(last.values, past), filter.n_taps - 1)


def stored_water(run: Run, state: BlockState) -> Any:
    """Water that the state of a run holds in each reach [batch, reach], in all its stages together [m3]."""
    assert run.settings.routing_step is not None
    factor = flux_in_si(run.units, "the state")
    water = run.filter.storage(run.settings.routing_step, *state.channel)
    if run.hillslope is not None:
        assert run.settings.step is not None
        water = water + run.hillslope.filter.storage(run.settings.step, *state.stages[HILLSLOPE])
    return water * factor


def needs_means(run: Run) -> bool:
    """Whether samples of discharge, and states, do not tell how much water flowed.

    The last value of several does not. Values one routing step early do, but where known discharge comes between them.
    """
    settings = run.settings
    if settings.sampling == "start-mean":
        return run.known is not None
    return settings.sampling == "last" and settings.substeps > 1
