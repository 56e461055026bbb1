"""`xroute.budget`: what becomes of runoff, discharge and states that were given."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xroute.attrs import append_history
from xroute.budget.form import budget_dataset, kept_coords
from xroute.budget.of_run import budget_of_run
from xroute.budget.of_steps import budget_by_step
from xroute.budget.task import prepare
from xroute.exceptions import ParameterError, one_of
from xroute.request import BudgetRequest, NetworkLike, keywords_of
from xroute.settings import PER
from xroute.units import require_array

__all__ = ["budget"]


@keywords_of(BudgetRequest)
def budget(runoff: xr.DataArray, discharge: xr.DataArray, network: NetworkLike, request: BudgetRequest) -> Any:
    """Water budget of a run, by basin and in all: what came in, what left, what is stored, and what is unexplained.

    Parameters
    ----------
    runoff, network
        As `route` had them.
    discharge : (reach, time, ...)
        What `route` gave, on the same times and members. Reaches may be left out, but for outlets and those that water leaves
        for another basin or for nowhere; the negative ones are counted on the reaches that are there.
    initial_state
        The state that the run started from, or the path of one; by default the rivers were dry.
    final_state
        Its state at the end, as ``return_state=True`` gave it, or the path of one. Without it the run is routed again to find it.
    per
        ``"run"``, the sums of the whole run, or ``"step"``: of each step, whose storage is found by routing again, step by step.
        Steps are not cumulated; ``storage_start`` and ``storage_end`` are those of the step.
    scheme, substeps, sampling, lateral, hillslope
        How discharge was routed. By default what its attribute ``history`` says, then the states, then the network.
        Ordinates (reach, ordinate) [1] of hillslopes are to be given.
    known : (reach, time, ...), optional
        Discharge, in the units of a volume flux, that the run took as known; a warning says so where it had some and none
        is given.
    weights, missing, extra, nan, partitions, device, reach_dim, time_dim, dt, label
        As for `route`.
    return_state
        Not for a budget.

    Returns
    -------
    xarray.Dataset
        On ``basin``, the ids of the outlets (`Network.basins`), and the other dimensions of runoff; ``time`` too, per step. All
        are volumes [m3], lazy where runoff, discharge or a state is:

        ``inflow``
            Runoff.
        ``known_gain``
            What known discharge added to what would have been routed; negative where it took away.
        ``from_other_basins``
            What came, less what went, where rivers part into two basins. In all there is none.
        ``outflow``, ``left_by_fractions``
            What left at the outlet, and where fractions out of a reach sum to less than one.
        ``storage_start``, ``storage_end``
            Water on its way.
        ``residual``
            ``inflow + known_gain + from_other_basins - outflow - left_by_fractions - (storage_end - storage_start)``: rounding,
            unless discharge is not that of this runoff, was changed, or a scheme of your own does not conserve mass.
        ``negative_steps``, ``negative_volume``
            Values of discharge below zero: how many, over reaches and steps, and their volume.

        Each stands once more with ``_total`` behind its name, over all basins.

    Raises
    ------
    AlignmentError, TimeAxisError
        If discharge is not on the reaches, times or members of runoff.
    ParameterError
        If discharge was routed with ordinates of hillslopes, and they are not given.
    StateError
        If a state is not of this run, or that at the end holds at another time.
    XRouteError
        As `route`; for runoff on Dask that is not finite, when it is computed.

    Notes
    -----
    A reach is a filter, and what it stores follows from its last inflows and its last outflow (`xroute.volumes.storage`).
    Discharge of ``sampling="mean"`` times the step is the water that left. ``"start-mean"`` has each routing step's value one
    step later: over a run it lacks the last outflow and has that before the first, which the states know. ``"last"`` with
    substeps holds one value of several: what that misses is the difference between the means and the last values of the same
    run, routed again.

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> runoff = ds.runoff.isel(time=slice(0, 48)).astype(float)
    >>> discharge, state = runoff.route(network, return_state=True)
    >>> found = xroute.budget(runoff, discharge, network, final_state=state)
    >>> bool(abs(found.residual_total) < 1e-12 * found.inflow_total)
    True
    """
    one_of("per", request.per, PER)
    if request.return_state:
        raise ParameterError("a budget has no state to return: route with return_state=True, and give final_state")
    discharge = require_array(discharge, "discharge")
    task = prepare(require_array(runoff), discharge, network, request)
    if request.per == "step":
        terms = budget_by_step(task)
    else:
        terms = budget_of_run(task)
    found = budget_dataset(terms, task.run, task.accounts, kept_coords(task.run.layout, task.runoff, request.per))
    history = append_history(discharge.attrs.get("history"), f"xroute: water budget per {request.per}")
    return found.assign_attrs(history=history)
