"""`route_to_zarr`: a series of any length from store to store, in bounded memory and through crashes.

Runoff is read, routed and written a block of steps at a time, the next one being read meanwhile. With the state carried, the
blocks together are bit for bit what one call of `route` gives. Where they go, and how a run that was killed goes on, is the
affair of a sink (`xroute.sinks`). Runoff on Dask with workers to route it goes to them, block by block.
"""

from __future__ import annotations

import os
import sys
import time as clock
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from xroute.accumulations import SAMPLE
from xroute.block import BlockState, is_cupy, zero_state
from xroute.bounds import add_bounds, bounds_name
from xroute.census import finite_sums, n_negative
from xroute.checkpoint import Progress, describe_run
from xroute.chunking import choose_chunks
from xroute.cluster import check_seen, check_shareable, find_client
from xroute.engine.arrays import compute_type
from xroute.exceptions import ParameterError, one_of, require, some
from xroute.guards import writing
from xroute.labels import require_array
from xroute.network import Network
from xroute.options import find_device
from xroute.request import RouteRequest
from xroute.routing import Run, need_no_step, prepare
from xroute.sinks import DISCHARGE, NetcdfSink, Outline, Sink, ZarrSink
from xroute.stamps import axis
from xroute.state import read_state, state_of_table, state_table, write_state
from xroute.stores import CHECKPOINT, as_store
from xroute.volumes import Summary, Volumes

__all__ = ["Stream", "route_to_zarr"]


def route_to_zarr(
    runoff: xr.DataArray,
    network: xr.Dataset | Network,
    store: Any,
    *,
    time_chunk: int | None = None,
    resume: bool = True,
    mode: Literal["w-", "w"] = "w-",
    progress: bool = True,
    encoding: Mapping[str, Any] | None = None,
    scheme: str | None = None,
    substeps: int | Literal["auto"] | None = None,
    sampling: Literal["mean", "last", "start-mean"] | None = None,
    lateral: Literal["head", "interval", "outlet"] | None = None,
    initial_state: xr.Dataset | str | os.PathLike[str] | None = None,
    return_state: bool = False,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "zero"] = "raise",
    partitions: int | None = None,
    device: str | None = None,
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
    dt: Any = None,
    label: Literal["start", "middle", "end"] | None = None,
) -> Any:
    """Route runoff into a Zarr store, block by block; a run that was interrupted goes on where it was.

    Parameters
    ----------
    runoff : (reach, time, ...)
        As for `route`; opened lazily (`xarray.open_zarr`, `xarray.open_dataset`) or on Dask, it need not fit in memory.
    network
        As for `route`.
    store
        Path, URL or Zarr store to write ``discharge`` to, with the dimensions and coordinates that `route` gives it; not
        the one that runoff is read from.
    time_chunk
        Steps that are routed and written at a time; by default some 128 MiB of runoff, in whole chunks of it where that
        can be. It is also the store's chunk along time, unless ``encoding`` says otherwise; the result is the same.
    resume
        Whether to go on with a run that the store holds unfinished, in that store's own blocks and encoding; a store that
        holds the whole run is left as it is. Runoff is taken to be what it was: its labels are compared, its values not.
    mode
        ``"w-"`` refuses a store that holds anything else, ``"w"`` replaces it, and does not resume.
    progress
        Whether to show on stderr how far it has come, how fast, and how long it will take.
    encoding
        Of ``discharge``, as for `xarray.Dataset.to_zarr`: ``chunks``, ``shards``, ``compressors``, ... Blocks are made of
        whole chunks, or shards, along time.
    scheme, substeps, sampling, lateral, initial_state, return_state, missing, extra, nan, reach_dim, time_dim, dt, label
        As for `route`.
    partitions, device
        As for `route`. With ``partitions``, or a client of Dask's distributed scheduler, runoff on Dask is routed by
        its workers, which write to the store; else in this process.

    Returns
    -------
    discharge : xarray.DataArray
        As the store holds it, not loaded.
    state : xarray.Dataset
        With ``return_state=True``, the final state.

    Raises
    ------
    XRouteError
        As `route`. Blocks that were written before are kept, and the next call goes on after them.
    FileExistsError
        If the store holds anything but a part of this run; nothing of it is changed.
    OSError
        If it cannot be written, for a full disk for instance; as before, what was written is kept.

    Notes
    -----
    Memory is bounded by some blocks, whatever the length of the series. Beside ``discharge`` the store has a small group
    ``checkpoint``: a description of the run, and the last two states.

    Examples
    --------
    >>> import tempfile, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     discharge = xroute.route_to_zarr(ds.runoff, network, f"{folder}/discharge.zarr", progress=False)
    ...     discharge.dims == ds.runoff.dims
    True
    """
    one_of("mode", mode, ("w-", "w"))
    store = as_store(store)
    stream = Stream.prepare(
        runoff, network, time_chunk=time_chunk, encoding=encoding, scheme=scheme, substeps=substeps, sampling=sampling,
        lateral=lateral, initial_state=initial_state, missing=missing, extra=extra, nan=nan, partitions=partitions,
        device=device, reach_dim=reach_dim, time_dim=time_dim, dt=dt, label=label,
    )  # fmt: skip
    state, _ = stream.to_zarr(store, resume=resume, replace=mode == "w", progress=progress)
    opened = xr.open_zarr(store, chunks=None)[DISCHARGE]
    return (opened, stream.final_state(state)) if return_state else opened


@dataclass(frozen=True)
class Stream:
    """A run from store to store, before anything is read.

    Attributes
    ----------
    run, runoff
        The run, and what it routes.
    start
        State at the start; None is dry.
    encoding
        Encoding of discharge in a Zarr store.
    block
        Steps of a block.
    spread
        Whether Dask's workers route the blocks, in so many ``partitions``.
    device
        Where blocks are computed.
    dtype
        Type that runoff is read as; None is its own.
    """

    run: Run
    runoff: xr.DataArray
    start: BlockState | None
    encoding: dict[str, Any]
    block: int
    spread: bool
    partitions: int | None
    device: str | None
    dtype: str | None

    @classmethod
    def prepare(
        cls,
        runoff: xr.DataArray,
        network: xr.Dataset | Network,
        *,
        time_chunk: int | None = None,
        encoding: Mapping[str, Any] | None = None,
        initial_state: xr.Dataset | str | os.PathLike[str] | None = None,
        partitions: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        **options: Any,
    ) -> Stream:
        """Check all that can be checked before anything is read."""
        whole = isinstance(time_chunk, (int, np.integer)) and not isinstance(time_chunk, bool)
        if time_chunk is not None and (not whole or time_chunk < 1):
            raise ParameterError(f"time_chunk is a positive whole number or None, not {time_chunk!r}")
        runoff = require_array(runoff)
        taken = {DISCHARGE, CHECKPOINT} & {*runoff.coords, *runoff.dims}
        if taken:
            raise ParameterError(
                f"runoff has a coordinate {some(sorted(taken))}, a name that the store needs: rename it"
            )
        run = prepare(runoff, network, RouteRequest(partitions=partitions, **options), stateful=True)
        layout = run.layout
        if run.step is None:
            need_no_step(runoff, layout.time_dim, True)
        start = None
        if initial_state is not None and run.key is not None:
            start = read_state(initial_state, run.filter, run.network, layout, run.key, run.clock.start(runoff))
        if device is not None:
            find_device(device)
        client = None if runoff.chunks is None else find_client()
        workers = 1 if client is None else max(1, len(client.nthreads()))
        spread = runoff.chunks is not None and (client is not None or partitions is not None)
        if encoding is not None and not isinstance(encoding, Mapping):
            raise ParameterError(f"encoding is a mapping, as for xarray.Dataset.to_zarr, not {encoding!r}")
        given = dict(encoding or {})
        if DISCHARGE in given:
            if len(given) > 1:
                raise ParameterError(f"encoding is of {DISCHARGE} only, not of {some(sorted(set(given) - {DISCHARGE}, key=str))}")
            given = dict(given[DISCHARGE])
        size = compute_type(runoff.dtype if dtype is None else np.dtype(dtype)).itemsize
        given, block = choose_chunks(run.layout, runoff, given, time_chunk, size, workers)
        return cls(run, runoff, start, given, block, spread, partitions, device, dtype)

    @property
    def n_steps(self) -> int:
        """Steps of the series."""
        return int(self.runoff.sizes[self.run.layout.time_dim])

    def final_state(self, state: BlockState) -> xr.Dataset:
        """State at the end, labelled."""
        run = self.run
        assert run.key is not None
        return write_state(state, run.filter, run.network, run.layout, run.key, run.moment(self.runoff))

    def to_zarr(
        self,
        store: Any,
        *,
        resume: bool = True,
        replace: bool = False,
        progress: bool = False,
        finish: Callable[[xr.DataArray], xr.Dataset] | None = None,
    ) -> tuple[BlockState, Summary]:
        """Route into a Zarr store; ``finish`` makes the Dataset to be written of a discharge without values."""
        require("dask", feature="writing Zarr block by block", extra="io")
        store = as_store(store)
        if self.spread:
            check_shareable(store)
        outline = self._outline(finish or self._with_bounds)
        description = describe_run(self.run, self.start, self._dtype)
        with ZarrSink.open(store, outline, description, self._beginning(), resume=resume, replace=replace) as sink:
            if self.spread and sink.progress.steps < self.n_steps:
                check_seen(store, CHECKPOINT)
            return self._fill(sink, progress)

    def to_netcdf(
        self,
        path: Path,
        finish: Callable[[xr.DataArray], xr.Dataset],
        *,
        replace: bool = False,
        progress: bool = False,
    ) -> tuple[BlockState, Summary]:
        """Route into a netCDF file, which appears under its name when it is complete; workers cannot write to it."""
        here = changed(self, spread=False)
        with NetcdfSink.open(path, self._outline(finish), self._beginning(), replace=replace) as sink:
            return here._fill(sink, progress)

    # ── the blocks ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _fill(self, sink: Sink, progress: bool) -> tuple[BlockState, Summary]:
        """Read, route, write and keep the state, block by block, from where the sink's run had come."""
        from tqdm import tqdm

        first, state = sink.progress.steps, sink.state
        volumes = self._volumes(sink.progress.volumes)
        if first == self.n_steps > 0:
            return state, self._summary(0, 0.0, volumes)
        blocks = [slice(k, min(k + sink.block, self.n_steps)) for k in range(first, self.n_steps, sink.block)]
        bar = tqdm(total=self.n_steps, initial=first, unit="step", disable=not progress, file=sys.stderr)
        if not first:
            self._look_ahead(sink)
        carried = None if not first and self.start is None else state
        route = self._on_workers if self.spread else self._here
        seconds = 0.0
        with bar, ThreadPoolExecutor(1, "xroute-read") as reader:
            ...
        return state, self._summary(self.n_steps - first, seconds, volumes)
