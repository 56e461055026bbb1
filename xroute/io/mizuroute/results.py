"""Write what mizuRoute writes, in netCDF: discharge as in its history files, and restarts."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.block_state import CHANNEL, HILLSLOPE, stored_name
from xroute.exceptions import AlignmentError, StateError, some
from xroute.files.opening import PathLike
from xroute.files.writing import write
from xroute.ids import exact_ids, positions_of
from xroute.io.mizuroute.restart import MISSING, QUEUES, is_instant, queues_of, stage_filters
from xroute.io.mizuroute.writing import by_reach, narrow, time_variables, whole_ids
from xroute.network_files import as_network
from xroute.settings import Label
from xroute.state_form import open_state
from xroute.times import read_clock
from xroute.units import flux_in_si
from xroute.wording import argument

__all__ = ["write_discharge", "write_state"]


def write_discharge(
    discharge: xr.DataArray, path: PathLike, network: Any = None, *, variable: str = "IRFroutedRunoff", dt: Any = None,
    label: Label | None = None, dtype: Any = None, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write discharge in the layout of mizuRoute's history files: ``IRFroutedRunoff(time, seg)``, ``reachID``, ``time_bounds``.

    Parameters
    ----------
    discharge : (time, reach)
        A volume flux. Its times stay as they are; ``time_bounds`` says which steps they are of.
    path
        ``*.nc``.
    network
        Network whose reaches are written, in its order; by default all of the discharge in its own.
    variable
        What mizuRoute calls it.
    dt, label
        Step [s], for a single time, and what a time is of its step, where the discharge does not tell.
    dtype
        Store as this type; mizuRoute's own files have ``"float32"``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, NetworkError
        For dimensions beside time and reach, and ids that are no whole numbers above 0.
    UnitsError
        For units of something else than a volume flux.
    TimeAxisError
        For times that are no dates, or of a calendar that mizuRoute does not have.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import mizuroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/run.h.nc"
    >>> mizuroute.write_discharge(ds.runoff.isel(time=slice(0, 24)).route(network), path)
    >>> mizuroute.read_discharge(path).sizes["time"]
    24
    """
    clock = read_clock(discharge, "time", dt, label)
    ids = whole_ids(exact_ids(discharge["reach"].values, "discharge", AlignmentError), "reaches")
    if network is not None:
        ids = whole_ids(as_network(network).ids, "reaches")
    values, row = by_reach(discharge, ids, "discharge")
    values = values[:, row]
    factor = flux_in_si(discharge.attrs.get("units") or "m3 s-1", "discharge")
    values = values if factor == 1.0 else values * factor
    if dtype is not None:
        values = values.astype(dtype)
    variables = {
        variable: (("time", "seg"), values, {"long_name": "discharge", "units": "m3/s"}),
        "reachID": ("seg", narrow(ids), {"long_name": "reach ID", "units": "-"}),
        **time_variables(discharge["time"], 0.0, clock.step, clock.label or "start"),
    }
    write(xr.Dataset(variables, attrs={"source": "xroute"}), path, overwrite=overwrite)


def write_state(
    state: Any, path: PathLike, network: Any, *, time: Any = None, calendar: str = "standard", n_tasks: int = 1,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a state as mizuRoute's restart file of the impulse response function.

    Parameters
    ----------
    state
        State of `xroute.route` with a network of `read_network`, or the path of one; of one member.
    path
        ``*.nc``; mizuRoute calls it ``<case_name>.r.yyyy-mm-dd-sssss.nc``.
    network
        The network that it is of.
    time, calendar
        When it holds, such as ``"1990-01-01 00:00:00"``, where the state does not say; and in which calendar.
    n_tasks
        Number of MPI tasks of the run that will read it, which mizuRoute compares.
    overwrite
        Replace what is at the path.

    Raises
    ------
    StateError
        For states of another network, of several members, or of other schemes than mizuRoute's.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> from xroute.io import mizuroute
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> setup = mizuroute.read_setup(folder)
    >>> _, state = setup.runoff["runoff"].route(setup.network, return_state=True)
    >>> mizuroute.write_state(state, folder / "tutorial.r.2024-05-02-00000.nc", setup.network)
    """
    river, held = as_network(network), open_state(state)
    others = set(held["outflow"].dims) - {"reach"}
    if others:
        raise StateError(
            f"the state has members ({some(others)}), and a restart of mizuRoute has one: choose it, such as isel(member=0)"
        )
    at = positions_of(river.ids, exact_ids(held["reach"].values, "state reach", StateError))
    if (at < 0).any():
        raise StateError(f"{int((at < 0).sum())} reaches of the network are not in the state: {some(river.ids[at < 0])}")
    when = str(time if time is not None else held.attrs.get("time", "")).replace("T", " ")
    if not when:
        raise StateError(f"a restart says when it holds, and the state does not: give {argument('time')}")
    step = float(held.attrs["dt"]) / float(held.attrs.get("substeps", 1))
    variables: dict[str, Any] = {
        "nNodes": ((), np.int32(n_tasks), {"long_name": "Number of MPI tasks"}),
        "nt": ((), np.int32(0), {"long_name": "Number of steps accumulated in history variables"}),
        "reachID": ("seg", narrow(whole_ids(river.ids, "reaches")), {"long_name": "reach ID", "units": "-"}),
        "restart_time": ((), 0.0, {"units": f"seconds since {when}", "calendar": calendar, "long_name": "restart time"}),
        "time_bound": ("tbound", np.array([0.0, step], np.float32), {"units": "sec", "long_name": "time bound at last step"}),
    }
    variables |= _stages(held.isel(reach=at), river, step)
    write(xr.Dataset(variables, attrs={"source": "xroute"}), path, overwrite=overwrite)


def _stages(state: xr.Dataset, river: Any, step: float) -> dict[str, Any]:
    """Queues of hillslopes and segments, and what mizuRoute has beside them."""
    stages = stage_filters(river, step)
    if HILLSLOPE in stages and stored_name(HILLSLOPE, "n_lags") not in state:
        raise StateError("the network's hillslopes are routed, and the state has no stage of them: it is of a run without")
    found: dict[str, Any] = {}
    past: dict[str, NDArray[np.float64]] = {}
    for stage, filter in stages.items():
        lags, inflow = state[stored_name(stage, "n_lags")].values, stored_name(stage, "inflow")
        wrong = lags != filter.n_taps - 1
        if wrong.any():
            raise StateError(f"{int(wrong.sum())} reaches of the state have windows of another length: {some(river.ids[wrong])}")
        past[stage] = state[inflow].transpose("reach", ...).values if inflow in state else np.zeros((lags.size, 0))
    queues = queues_of(past, stages, river, step)
    for stage, (queue, count) in queues.items():
        name, dim = QUEUES[stage]
        if stage == HILLSLOPE and is_instant(river):
            continue
        if stage == CHANNEL:
            queue = np.where(np.arange(queue.shape[1]) < count[:, None], queue, MISSING)
            volume = np.where(queue == MISSING, 0.0, queue).sum(axis=1) * step
            found["numQF"] = ("seg", count.astype(np.int32), {"long_name": "number of future q time steps in a reach"})
            found["volume_irf"] = ("seg", volume, {"long_name": "volume in reach/lake", "units": "m3"})
        found[name] = ((dim, "seg"), queue.T, {"long_name": "future flow series", "units": "m3/s"})
    flow = state[stored_name(HILLSLOPE, "outflow")].values if HILLSLOPE in stages else np.zeros(river.n_reaches)
    found["basin_q"] = ("seg", flow, {"long_name": "basin routed flow", "units": "m3/s"})
    if HILLSLOPE not in stages:
        found["basin_q"][2]["comment"] = "not kept without hillslopes; the impulse response function makes no use of it"
    return found
