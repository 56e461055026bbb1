"""The state that a set-up's restart means, for the readers of systems whose restarts are discharge at an instant."""

from __future__ import annotations

from typing import Any

import xarray as xr

from xroute.exceptions import TimeAxisError
from xroute.network import Network
from xroute.recipe import step_of
from xroute.spinup import initial_state
from xroute.wording import argument

__all__ = ["snapshot_state"]


def snapshot_state(network: xr.Dataset, snapshot: xr.DataArray, runoff: xr.DataArray | None, dt: Any) -> xr.Dataset:
    """State of a snapshot (reach) for a run with this runoff, or with steps of ``dt``; of the instant that the snapshot names."""
    rivers = Network(network)
    step = step_of(runoff, "time", rivers) if dt is None and runoff is not None else dt
    if step is None and "runoff_step" not in network.attrs:
        raise TimeAxisError(
            f"a state is of a routing step, and the step of runoff is not known: read the runoff too, or give {argument('dt')}"
        )
    made = initial_state(rivers, snapshot, dt=step)
    if "time" in snapshot.attrs:
        made.attrs["time"] = snapshot.attrs["time"]
    return made
