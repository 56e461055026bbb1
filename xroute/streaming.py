"""`route_to_zarr`: a series of any length from store to store, in bounded memory and through crashes.

Runoff is read, routed and written a block of steps at a time, the next one being read meanwhile. With the state carried, the
blocks together are bit for bit what one call of `route` gives. Where they go, and how a run that was killed goes on, is the
affair of a sink (`xroute.sinks`). Runoff on Dask with workers to route it goes to them, block by block.
"""

from __future__ import annotations

import contextlib
import time as clock
from collections.abc import Callable, Generator
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.bars import progress_bar
from xroute.block_state import BlockState
from xroute.budget.form import kept_coords
from xroute.budget.ledger import Ledger
from xroute.budget.of_lanes import account_for
from xroute.census import span_in_words
from xroute.checkpoint import Progress
from xroute.chunking import Room, check_encoding, choose_chunks
from xroute.cluster import check_seen, check_shareable, find_client
from xroute.engine.arrays import compute_type
from xroute.exceptions import ParameterError, one_of, require, some
from xroute.grids.reaches import bring_to_reaches
from xroute.guards import writing
from xroute.identity import run_identity
from xroute.lane_run import LaneRun
from xroute.lane_states import Ends, Starts
from xroute.lanes import Box, Lanes
from xroute.memory import memory_bytes
from xroute.network_files import as_network
from xroute.options import find_device
from xroute.reader import Item, Reader
from xroute.reads import Source, decoding_bytes, read_dtype, read_part, source_of
from xroute.request import NetworkLike, StreamRequest, keywords_of
from xroute.run import Run, make_run
from xroute.sinks import NetcdfSink, Outline, Sink, ZarrSink
from xroute.stores import BUDGET, CHECKPOINT, DISCHARGE, as_store
from xroute.summary import Summary
from xroute.units import require_array
from xroute.watch import SAMPLE

__all__ = ["Stream", "route_to_zarr"]

Blocks = Generator[tuple[Item, xr.DataArray]]
"""Blocks of runoff, one after another."""


@keywords_of(StreamRequest)
def route_to_zarr(runoff: xr.DataArray, network: NetworkLike, store: Any, request: StreamRequest) -> Any:
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
    memory
        Bytes, or text such as ``"8GB"``, for runoff, discharge and states; libraries and the network come on top. By default
        half of what is available, at most 4 GB. Chunks of runoff are read once: a row of them is kept in this memory, or in
        a scratch file (on the disk for temporary files, ``TMPDIR``). Members that do not fit are routed after one another.
    state_time
        With ``return_state``, when the state is to hold, in place of the end: a date, or a duration (``"24h"``) from the
        start of the series, or of the forecast where times are leads. So a forecast leaves the state for the next one.
    resume
        Whether to go on with a run that the store holds unfinished, in that store's own blocks and encoding; a store that
        holds the whole run is left as it is. Runoff is taken to be what it was: its labels are compared, its values not.
    mode
        ``"w-"`` refuses a store that holds anything else, ``"w"`` replaces it, and does not resume.
    progress
        Whether to show on stderr how far it has come, how fast, and how long it will take.
    budget
        Whether to write the water budget of each basin and member too: the store's group ``budget``, as `xroute.budget` gives it.
        With the last of several substeps (``sampling="last"``), blocks are routed twice for it.
    encoding
        Of ``discharge``, as for `xarray.Dataset.to_zarr`: ``chunks``, ``shards``, ``compressors``, ... Blocks are made of
        whole chunks, or shards, along time.
    scheme, substeps, sampling, lateral, hillslope, initial_state, return_state, missing, extra, nan, weights, known
        As for `route`. Known discharge is read block by block; a run that goes on takes its values to be what they were.
    reach_dim, time_dim, dt, label, partitions, device
        As for `route`. With ``partitions``, or a client of Dask's distributed scheduler, runoff on Dask is routed by
        its workers, which write to the store; else in this process.

    Returns
    -------
    discharge : xarray.DataArray
        As the store holds it (reach, time, ...), in the units that `route` gives, not loaded.
    state : xarray.Dataset
        With ``return_state=True``, that at the end or at ``state_time``; on Dask where members were routed after one another.

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
    Memory is bounded, whatever the length. Runoff that a file packs in whole numbers of 32 bits or fewer is read, and
    routed, as float32.
    Beside ``discharge`` the store has a small group ``checkpoint``: a description of the run, and the last two states.

    Examples
    --------
    >>> import tempfile, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     discharge = xroute.route_to_zarr(ds.runoff, network, f"{folder}/discharge.zarr", progress=False)
    ...     discharge.dims == ds.runoff.dims
    True
    """
    one_of("mode", request.mode, ("w-", "w"))
    store = as_store(store)
    stream = Stream.prepare(runoff, network, request)
    ends, _ = stream.to_zarr(store, resume=request.resume, replace=request.mode == "w", progress=request.progress)
    opened = xr.open_zarr(store, chunks=None)[DISCHARGE]
    return (opened, stream.final_state(ends)) if request.return_state else opened


@dataclass(frozen=True)
class Stream:
    """A run from store to store, before anything is read.

    Attributes
    ----------
    run, runoff
        The run, and what it routes.
    source
        Chunks of the runoff.
    start
        State at the start, in the order of the run; None is dry.
    encoding
        Encoding of discharge in a Zarr store.
    block, lanes
        Steps of a block, and members that are routed together.
    room
        What memory there is room for.
    spread
        Whether Dask's workers route the blocks, in so many ``partitions``.
    device
        Where blocks are computed.
    dtype
        Type that runoff is read as.
    kept
        Step after which the state is asked for; None for the last.
    budget
        Whether to write the water budget of each basin and member.
    """

    run: Run
    runoff: xr.DataArray
    source: Source
    start: xr.Dataset | None
    encoding: dict[str, Any]
    block: int
    lanes: Lanes
    room: Room
    spread: bool
    partitions: int | None
    device: str | None
    dtype: np.dtype[Any]
    kept: int | None = None
    budget: bool = False

    @classmethod
    def prepare(
        cls, runoff: xr.DataArray, network: NetworkLike, request: StreamRequest, *, dtype: str | None = None, by: str = ""
    ) -> Stream:
        """Check all that can be checked before anything is read; by default runoff is read as `read_dtype` says.

        Runoff that was on a grid may have been brought to reaches before, ``by`` weights (`xroute.grids.reaches`).
        """
        encoding, memory = check_encoding(request.encoding, request.time_chunk), memory_bytes(request.memory)
        network = as_network(network)
        runoff, request, weights = bring_to_reaches(require_array(runoff), network, request)
        taken = {DISCHARGE, CHECKPOINT, BUDGET} & {*runoff.coords, *runoff.dims}
        if taken:
            raise ParameterError(
                f"runoff has a coordinate {some(sorted(taken))}, a name that the store needs: rename it"
            )
        run = changed(make_run(runoff, network, request, with_state=True), weights=weights or by)
        start = run.first_state(request.initial_state, runoff, lazily=True)
        kept = None if request.state_time is None else run.clock.steps_until(runoff, request.state_time)
        if request.device is not None:
            find_device(request.device)
        client = None if runoff.chunks is None else find_client()
        workers = 1 if client is None else max(1, len(client.nthreads()))
        spread = runoff.chunks is not None and (client is not None or request.partitions is not None)
        read_as = read_dtype(runoff) if dtype is None else np.dtype(dtype)
        size, source, layout = compute_type(read_as).itemsize, source_of(runoff), run.layout
        decoding = decoding_bytes(runoff, source)
        room = Room.of(run, runoff, max(size, read_as.itemsize), memory, workers if spread else 1, decoding)
        encoding, block, lanes = choose_chunks(
            layout, source, runoff.sizes[layout.time_dim], encoding, request.time_chunk, size, room
        )
        return cls(
            run, runoff, source, start, encoding, block, lanes, room, spread, request.partitions, request.device, read_as, kept,
            request.budget,
        )  # fmt: skip

    @property
    def n_steps(self) -> int:
        """Steps of the series."""
        return int(self.runoff.sizes[self.run.layout.time_dim])

    def final_state(self, ends: Ends) -> xr.Dataset:
        """State at the end, or at the time that was asked for, labelled."""
        time_dim, end = self.run.layout.time_dim, self.n_steps if self.kept is None else self.kept
        return self.run.finish(ends.table(self.run.n_lags), self.runoff.isel({time_dim: slice(0, end)}))

    def to_zarr(
        self,
        store: Any,
        *,
        resume: bool = True,
        replace: bool = False,
        progress: bool = False,
        as_dataset: Callable[[xr.DataArray], xr.Dataset] | None = None,
    ) -> tuple[Ends, Summary]:
        """Route into a Zarr store; ``as_dataset`` makes the Dataset to be written of a discharge without values."""
        require("dask", feature="writing Zarr block by block", extra="io")
        store = as_store(store)
        if self.spread:
            check_shareable(store)
        outline = self._outline(as_dataset or self.run.clock.dataset)
        identity = run_identity(self.run, self._starts.digest(), self.dtype, kept=self.kept, budget=self.budget)
        start = Progress(0, {}), lambda: self._starts(0)
        with ZarrSink.open(store, outline, identity, start, resume=resume, replace=replace) as sink:
            if self.spread and any(done.steps < self.n_steps for done in sink.progress):
                check_seen(store, CHECKPOINT)
            return self._fill(sink, progress, store.parent if isinstance(store, Path) else None)

    def to_netcdf(
        self,
        path: Path,
        as_dataset: Callable[[xr.DataArray], xr.Dataset],
        *,
        replace: bool = False,
        progress: bool = False,
    ) -> tuple[Ends, Summary]:
        """Route into a netCDF file, which appears under its name when it is complete; workers cannot write to it."""
        here = changed(self, spread=False)
        with NetcdfSink.open(path, self._outline(as_dataset), Progress(0, {}), replace=replace) as sink:
            return here._fill(sink, progress, path.absolute().parent)

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fill(self, sink: Sink, progress: bool, beside: Path | None) -> tuple[Ends, Summary]:
        """Read, route and write what the sink does not hold yet, block by block, each followed by the state at its end."""
        here = changed(self, block=sink.block, lanes=sink.lanes)
        done = [lane.steps for lane in sink.progress]
        total, first, seconds = self.n_steps * len(done), sum(done), 0.0
        if first < total:
            bar = progress_bar(shown=progress, total=total, initial=first, unit="step")
            with bar, contextlib.closing(here._blocks(sink, done, beside)) as blocks:
                seconds = here._route_all(sink, blocks, bar.update)
        summary = here._close(-(-(total - first) // len(done)), seconds, sink)
        return Ends(sink.lanes, here._ends(sink, kept=True)), summary

    def _route_all(self, sink: Sink, blocks: Blocks, tell: Callable[[int], Any]) -> float:
        """Route blocks one after another, those of a lane from the state that the last one left; returns seconds."""
        part, state, seconds = None, None, 0.0
        while (coming := next(blocks, None)) is not None:
            item, block = coming
            del coming
            if part is None or part.lane != item.lane:
                new, run = part is None, self._starts.run_of(item.lane)
                ledger = Ledger(run, each=self.budget, saved=sink.progress[item.lane].water or None)
                part = LaneRun(
                    run, item.lane, sink, ledger, self.spread, self.partitions, self.device, self.dtype, self._span
                )  # fmt: skip
                state = sink.state(item.lane) if sink.progress[item.lane].steps else self._starts.given(item.lane)
                if new:
                    part.warm_up(block, state)
            if self.kept is not None and item.steps.start < self.kept <= item.steps.stop:
                part.keep(block, state, item.steps.start, self.kept)
            begin = clock.perf_counter()
            state, writing_took = part.route(block, state, item.steps)
            seconds += clock.perf_counter() - begin - writing_took
            del block
            with writing(f"write the checkpoint of {self._span(item.steps)}", sink.outcome):
                sink.commit(item.lane, Progress(item.steps.stop, part.ledger.totals), state)
            tell(item.steps.stop - item.steps.start)
        return seconds

    def _blocks(self, sink: Sink, done: list[int], beside: Path | None) -> Blocks:
        """Runoff of the blocks that are left, in memory; for workers, on Dask."""
        reader = self._reader(beside)
        if self.spread:
            for item in reader.items(done):
                yield item, self.runoff.isel({**self.lanes.box(item.lane), self.run.layout.time_dim: item.steps})
            return
        reader.warn()
        if not any(done):
            self._look_ahead(reader, sink)
        with contextlib.closing(reader.blocks(done, meanwhile=sink.reads_meanwhile)) as blocks:
            for item in reader.items(done):
                with writing(f"read runoff of {self._span(item.steps)}", sink.outcome):
                    _, block = next(blocks)
                yield item, block
                del block

    def _reader(self, beside: Path | None) -> Reader:
        def read(box: Box, steps: slice) -> xr.DataArray:
            whole = all(part == slice(0, self.runoff.sizes[d]) for d, part in box.items())
            part = self if whole else changed(self, runoff=self.runoff.isel(box))
            return part._read(steps)

        return Reader(
            self.runoff, self.run.layout, self.source, self.dtype, self.lanes, self.block, self.room, read, beside
        )

    def _look_ahead(self, reader: Reader, sink: Sink) -> None:
        """Look for accumulated values in some rows of the first days, where blocks are too short to tell."""
        watch = self.run.watch
        if watch is None or self.block >= min(watch.ahead, self.n_steps):
            return  # ahead is 0 where attributes say nothing
        with writing("read the first days of runoff", sink.outcome):
            taken = reader.sample(watch.ahead, SAMPLE)
        watch.look(taken.reshape(-1, *taken.shape[-2:]))

    def _read(self, steps: slice) -> xr.DataArray:
        """Some steps of runoff, in memory."""
        return read_part(self.runoff, source_of(self.runoff), {self.run.layout.time_dim: steps}, self.dtype)

    def _span(self, steps: slice) -> str:
        return span_in_words(self.runoff, self.run.layout.time_dim, steps)

    # ── what sinks are told ─────────────────────────────────────────────────────────────────────────────────────────

    def _outline(self, as_dataset: Callable[[xr.DataArray], xr.Dataset]) -> Outline:
        """The result with all its labels and attributes, but no values, in a block's chunks."""
        import dask.array as da

        layout = self.run.layout
        sizes = {**layout.sizes, layout.time_dim: self.n_steps}
        chunks = dict(zip(layout.dims, self.encoding.get("shards") or self.encoding["chunks"], strict=True))
        chunks[layout.time_dim] = self.block
        shape = tuple(int(sizes[d]) for d in layout.dims)
        pieces = tuple(max(1, min(chunks[d], sizes[d])) for d in layout.dims)
        nothing = da.zeros(shape, chunks=pieces, dtype=compute_type(self.dtype))
        coords = {n: c.compute() for n, c in xr.Coordinates(layout.coords).items()}
        empty = self.run.set_attrs(xr.DataArray(nothing, dims=layout.dims, coords=coords), self.runoff)
        return Outline(as_dataset(empty), self.encoding, layout.time_dim, self.block, self.lanes)

    @property
    def _starts(self) -> Starts:
        return Starts(self.run, self.lanes, self.start)

    def _ends(self, sink: Sink, *, kept: bool = False) -> Callable[[int], BlockState]:
        """Gives the state of a lane at its end, or the one that was asked for."""
        state = sink.kept if kept and self.kept is not None else sink.state
        return lambda lane: state(lane) or self._starts(lane)

    def _close(self, n_steps: int, seconds: float, sink: Sink) -> Summary:
        """What was done; the budget is written."""
        run = self.run
        summary = Summary(run.network.n_reaches, n_steps, run.layout.n_batch, seconds)
        summary.rounding = 1e-9 if compute_type(self.dtype).itemsize == 8 else 1e-5
        water = [progress.water or None for progress in sink.progress]
        coords = kept_coords(run.layout, self.runoff, "run") if self.budget else None
        account_for(summary, self._starts, self._ends(sink), water, coords)
        if summary.budget is not None:
            with writing("write the budget", sink.outcome):
                sink.attach(BUDGET, summary.budget)
        return summary
