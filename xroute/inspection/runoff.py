"""Runoff beside its network: facts, what routing would refuse or warn of, and the memory that it takes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, some
from xroute.grid_axes import grid_dims
from xroute.ids import exact_ids, positions_of
from xroute.inspection.report import Report
from xroute.labels import with_standard_dims
from xroute.network import Network
from xroute.request import RouteRequest
from xroute.run import make_run
from xroute.time_dims import find_time_dim
from xroute.times import time_step
from xroute.watch import SAMPLE, STEPS
from xroute.wording import argument

__all__ = ["inspect_as_routed", "inspect_memory", "inspect_runoff"]

READ_VALUES = 2**24
"""Values of runoff that are looked at in one go."""


def inspect_runoff(
    runoff: xr.DataArray,
    network: Network | None,
    dt: float | None,
    report: Report,
    reach_dim: Hashable | None,
    time_dim: Hashable,
) -> xr.DataArray | None:
    """Add facts and problems of the runoff, and return it as it would be routed, if it can be."""
    sizes = ", ".join(f"{size:,} {dim}" for dim, size in runoff.sizes.items())
    report.facts.append(("runoff", f"{runoff.name} [{runoff.attrs.get('units', 'no units')}] on {sizes}"))
    if "units" not in runoff.attrs:
        report.notes.append("the runoff has no units; discharge will have none")
    try:
        time_dim = find_time_dim(runoff, time_dim)
    except TimeAxisError as error:
        report.problems.append(str(error))
        return None
    if time_dim in runoff.coords and runoff.sizes[time_dim]:
        times = runoff[time_dim].to_numpy()
        report.facts.append(("  time", f"{_short(times[0])} to {_short(times[-1])}"))
    try:
        if time_step(runoff, time_dim, dt) is None:
            report.problems.append(f"the step of {runoff.sizes[time_dim]} times cannot be told ({argument('dt')})")
    except TimeAxisError as error:
        report.problems.append(str(error))
    n_missing = 0 if grid_dims(runoff) else _count_missing(runoff, time_dim)  # of a grid's cells some are sea
    if n_missing:
        report.problems.append(f"{n_missing:,} values of the runoff are missing ({argument('nan', 'zero')})")
    if network is None:
        return None
    try:
        runoff = with_standard_dims(
            runoff, network, missing="zero", extra="drop", reach_dim=reach_dim, time_dim=time_dim
        )
    except (AlignmentError, TimeAxisError) as error:
        report.problems.append(str(error))
        return None
    ids = exact_ids(runoff["reach"].to_numpy(), "runoff reach")
    missing, extra = network.ids[positions_of(network.ids, ids) < 0], ids[positions_of(ids, network.ids) < 0]
    if missing.size:
        report.problems.append(f"{missing.size} reaches have no runoff ({argument('missing', 'zero')}): {some(missing)}")
    if extra.size:
        report.problems.append(f"{extra.size} runoff ids are not in the network ({argument('extra', 'drop')}): {some(extra)}")
    return runoff


def inspect_as_routed(runoff: xr.DataArray, network: Network, report: Report, **options: Any) -> None:
    """Add what routing would refuse of labels and first values (units, areas, values that accumulate), or warn of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run = make_run(runoff, network, RouteRequest(time_dim="time", reach_dim="reach", **options))
            if run.watch is not None:
                head = runoff.isel(time=slice(0, STEPS), reach=slice(0, SAMPLE)).transpose(..., "time")
                run.watch.look(head.to_numpy())
        except XRouteError as error:
            report.problems.append(str(error))
    report.notes.extend(text for text in (str(w.message) for w in caught) if text not in report.notes)


def _count_missing(runoff: xr.DataArray, time_dim: Hashable) -> int:
    if not runoff.size or runoff.dtype.kind != "f":
        return 0
    n_times = runoff.sizes[time_dim]
    chunk = max(1, READ_VALUES // max(1, runoff.size // n_times))
    blocks = (runoff.isel({time_dim: slice(start, start + chunk)}).to_numpy() for start in range(0, n_times, chunk))
    return sum(int(block.size - np.isfinite(block).sum()) for block in blocks)


def _short(time: Any) -> str:
    return str(time)[:19]


def inspect_memory(n_reaches: int, runoff: xr.DataArray | None, steps: int, dtype: np.dtype[Any], report: Report) -> None:
    """Add the memory that a run of so many steps takes, for all members of the runoff."""
    batch = {} if runoff is None else {dim: n for dim, n in runoff.sizes.items() if dim not in ("time", "reach")}
    series = n_reaches * steps * math.prod(batch.values()) * dtype.itemsize
    in_chunks = argument("time_chunk", "N", python="route_to_zarr(time_chunk=N)")
    text = f"{_bytes(2 * series)} for {steps:,} steps in one go (runoff and discharge, {dtype})"
    report.facts.append(("memory", f"{text}; with {in_chunks}, N / {steps:,} of it"))


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
