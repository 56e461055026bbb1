"""Route a series from file to file in time chunks that hand their state on: the work behind ``xroute route``.

Every chunk is a call of `xroute.route`; with the state carried, the chunks together are bit for bit what one call
gives.
"""

from __future__ import annotations

import sys
import time as clock
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from xroute.ids import exact_ids, locate
from xroute.io.cf import cf_dataset
from xroute.io.files import append, consolidate, replacing, suffix_format, write
from xroute.labels import align, find_time_dim, time_step
from xroute.network import Network
from xroute.routing import route
from xroute.units import flux_scale, to_si

__all__ = ["Summary", "route_chunks", "standard_names"]


@dataclass
class Summary:
    """What a run did."""

    n_reaches: int
    n_steps: int
    n_series: int
    seconds: float
    volume_in: float | None
    volume_out: float | None

    def __str__(self) -> str:
        """One line."""
        rate = self.n_reaches * self.n_steps * self.n_series / max(self.seconds, 1e-9)
        text = f"{self.n_reaches:,} reaches x {self.n_steps:,} steps"
        text += f" x {self.n_series:,}" if self.n_series != 1 else ""
        if self.volume_in is not None and self.volume_out is not None:
            text += f", in {self.volume_in:.6g} m3, out {self.volume_out:.6g} m3"
            text += f" ({self.volume_out / self.volume_in:.1%})" if self.volume_in else ""
        return f"{text}, {self.seconds:.2f} s ({rate:.3g} reach-steps/s)"


def route_chunks(
    runoff: xr.DataArray,
    network: Network,
    output: Path,
    *,
    state: xr.Dataset | None = None,
    save_state: Path | None = None,
    dt: float | None = None,
    time_chunk: int,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **options: Any,
) -> Summary:
    """Route a lazily opened series into a file.

    Parameters
    ----------
    runoff
        On ``time`` and ``reach``; read chunk by chunk.
    network
        The network.
    output
        ``*.zarr``, written chunk by chunk, or ``*.nc``, whose series is gathered in memory first.
    state, save_state
        State to start from, and where to write the final one.
    dt
        Step of the runoff [s], where its time axis does not tell.
    time_chunk
        Steps to route at a time.
    dtype
        Type to read the runoff as, and so that of the discharge.
    overwrite
        Replace outputs that exist.
    progress
        Show a bar on stderr.
    **options
        As in `xroute.route`.

    Returns
    -------
    Summary
    """
    from tqdm import tqdm

    policy = {name: options[name] for name in ("missing", "extra") if name in options}
    runoff = standard_names(runoff, network, **policy)
    step = time_step(runoff, "time", dt)
    # Plan, compilation and checks of options, before anything is timed or written: one step, thrown away.
    route(_block(runoff, slice(0, 1), dtype), network, initial_state=state, dt=step, **options)
    volumes = _Volumes(runoff, network, step)
    n_times = runoff.sizes["time"]
    to_zarr = suffix_format(output) == "zarr"
    gathered: list[xr.DataArray] = []
    seconds = 0.0
    with (
        replacing(output, overwrite=overwrite) as temporary,
        tqdm(total=n_times, unit="step", disable=not progress, file=sys.stderr) as bar,
    ):
        for start in range(0, max(n_times, 1), time_chunk):
            block = _block(runoff, slice(start, start + time_chunk), dtype)
            began = clock.perf_counter()
            discharge, state = route(block, network, initial_state=state, return_state=True, dt=step, **options)
            seconds += clock.perf_counter() - began
            volumes.add(block, discharge)
            if to_zarr:
                append(cf_dataset(discharge, network, dt=step), temporary, first=start == 0)
            else:
                gathered.append(discharge)
            bar.update(block.sizes["time"])
        if to_zarr:
            consolidate(temporary)
        else:
            write(cf_dataset(xr.concat(gathered, "time"), network, dt=step), temporary)
    if save_state is not None and state is not None:
        write(state, save_state, overwrite=overwrite)
    n_series = int(
        np.prod([size for dim, size in runoff.sizes.items() if dim not in ("time", "reach")], dtype=np.int64)
    )
    return Summary(network.n_reaches, n_times, n_series, seconds, volumes.into, volumes.out)


def _block(runoff: xr.DataArray, steps: slice, dtype: str | None) -> xr.DataArray:
    block = runoff.isel(time=steps).load()
    return block if dtype is None else block.astype(dtype, keep_attrs=True)


def standard_names(
    runoff: xr.DataArray,
    network: Network,
    *,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
) -> xr.DataArray:
    """Name the dimensions ``time`` and ``reach``, with the ids on the latter, before anything is read.

    Raises
    ------
    AlignmentError, TimeAxisError
        As `xroute.route`.
    """
    time_dim = find_time_dim(runoff, "time")
    dim = align(runoff, network, time_dim=time_dim, missing=missing, extra=extra).reach_dim
    along = [c for c in runoff.coords.values() if c.dims == (dim,) and c.attrs.get("cf_role") == "timeseries_id"]
    if along and dim not in [c.name for c in along]:
        runoff = runoff.drop_vars([along[0].name, dim], errors="ignore").assign_coords({dim: along[0].variable})
    return runoff.rename({old: new for old, new in ((dim, "reach"), (time_dim, "time")) if old != new})


class _Volumes:
    """Sums of the water that enters as runoff and leaves the network [m3]; None where units do not tell."""

    def __init__(self, runoff: xr.DataArray, network: Network, step: float | None) -> None:
        self.into: float | None = None
        self.out: float | None = None
        units = runoff.attrs.get("units")
        if step is None or units is None or not str(units).strip():
            return  # of which route() speaks
        area = network.dataset["area"] if "area" in network.dataset.variables else None
        ids = exact_ids(runoff["reach"].to_numpy(), "runoff reach")
        scale, routed = flux_scale(str(units), step, area, locate(network.ids, ids))
        self.to_m3 = step * float(to_si(xr.DataArray(1.0, attrs={"units": routed}), "m3 s-1", "runoff"))
        place = locate(ids, network.ids)
        weight = np.broadcast_to(1.0 if scale is None else scale, network.n_reaches)
        self.weight = np.where(place >= 0, weight[place], 0.0) if network.n_reaches else np.zeros(place.size)
        self.network = network
        upstream, _, fraction = network.links
        self.leaves = 1.0 - np.bincount(upstream, fraction, network.n_reaches)  # share of a reach's water
        self.into = self.out = 0.0

    def add(self, runoff: xr.DataArray, discharge: xr.DataArray) -> None:
        """Count a chunk."""
        if self.into is None or self.out is None:
            return
        by_reach = np.nansum(
            runoff.transpose(..., "reach").to_numpy(), axis=tuple(range(runoff.ndim - 1)), dtype=np.float64
        )
        self.into += float(by_reach @ self.weight) * self.to_m3
        by_reach = discharge.sum([d for d in discharge.dims if d != "reach"], dtype=np.float64).to_numpy()
        place = locate(exact_ids(discharge["reach"].to_numpy(), "discharge reach"), self.network.ids)
        self.out += float(by_reach @ self.leaves[place]) * self.to_m3
