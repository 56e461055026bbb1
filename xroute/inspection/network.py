"""Inspection of a network Dataset, with or without its runoff: as many problems as there are, not the first alone."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import TimeAxisError
from xroute.inspection.parameters import inspect_parameters, inspect_steps
from xroute.inspection.report import Report
from xroute.inspection.runoff import inspect_as_routed, inspect_memory, inspect_runoff
from xroute.inspection.topology import inspect_topology, reaches_alone, without_repeated
from xroute.quantities import dataset_without_pint, without_pint
from xroute.settings import MissingDownstream
from xroute.times import find_time_dim, time_step

__all__ = ["inspect_network"]


def inspect_network(
    dataset: xr.Dataset,
    *,
    runoff: xr.DataArray | None = None,
    dt: float | None = None,
    substeps: int | None = None,
    steps: int | None = None,
    dtype: Any = "float32",
    scheme: str | None = None,
    missing_downstream: MissingDownstream = "raise",
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
) -> Report:
    """Say what a network Dataset is, and find its problems.

    Parameters
    ----------
    dataset
        The network.
    runoff
        Runoff to check against it (ids, time axis, missing values).
    dt
        Runoff step [s], for the reaches that would oscillate or dip below zero.
    substeps
        Routing steps in a step; by default the network's own.
    steps
        Steps of the run that memory is estimated for; by default those of the runoff.
    dtype
        Type of runoff and discharge in memory.
    scheme, missing_downstream, reach_dim, time_dim
        As for `xroute.route` and `xroute.Network`.

    Returns
    -------
    Report
    """
    report = Report()
    dataset, runoff = dataset_without_pint(dataset), None if runoff is None else without_pint(runoff)
    step = dt
    if dt is None and runoff is not None:
        with contextlib.suppress(TimeAxisError):  # what is wrong with it is reported with the runoff
            step = time_step(runoff, find_time_dim(runoff, time_dim))
    dataset = without_repeated(dataset, report)
    network = inspect_topology(dataset, report, missing_downstream)
    reaches = reaches_alone(dataset) if network is None else network
    if reaches is not None:
        inspect_parameters(reaches, report, *inspect_steps(reaches, report, step, substeps), scheme)
    if runoff is not None:
        runoff = inspect_runoff(runoff, network, dt, report, reach_dim, time_dim)
    if runoff is not None and network is not None and not report.problems:
        inspect_as_routed(runoff, network, report, dt=dt, scheme=scheme, substeps=substeps)
    if runoff is not None and steps is None:
        steps = runoff.sizes["time"]
    if steps is not None:
        inspect_memory(network.n_reaches if network else dataset.sizes.get("reach", 0), runoff, steps, np.dtype(dtype), report)
    return report
