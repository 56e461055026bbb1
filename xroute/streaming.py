"""`route_to_zarr`: a series of any length from store to store, in bounded memory and through crashes.

Runoff is read, routed and written a block of steps at a time, the next one being read meanwhile. With the state carried, the
blocks together are bit for bit what one call of `route` gives. Where they go, and how a run that was killed goes on, is the
affair of a sink (`xroute.sinks`). Runoff on Dask with workers to route it goes to them, block by block.
"""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import replace as changed
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.block_state import BlockState
from xroute.bounds import add_bounds, bounds_name
from xroute.budget.form import budget_dataset, kept_coords
from xroute.budget.ledger import Ledger, Totals, lazy_sums
from xroute.census import finite_sums, negative_sums
from xroute.checkpoint import Progress, run_identity
from xroute.chunking import check_encoding, choose_chunks
from xroute.cluster import check_seen, check_shareable, find_client
from xroute.eager import route_values
from xroute.engine.arrays import compute_type
from xroute.engine.backends import on_host
from xroute.exceptions import ParameterError, one_of, require, some
from xroute.grids.reaches import bring_to_reaches
from xroute.guards import writing
from xroute.network_files import as_network
from xroute.options import find_device
from xroute.request import NetworkLike, StreamRequest, keywords_of
from xroute.run import Run, make_run
from xroute.sinks import NetcdfSink, Outline, Sink, ZarrSink
from xroute.stamps import time_coordinate
from xroute.state import load_state
from xroute.stores import BUDGET, CHECKPOINT, DISCHARGE, as_store
from xroute.summary import Summary
from xroute.units import require_array
from xroute.watch import SAMPLE

__all__ = ["Stream", "route_to_zarr"]


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
    scheme, substeps, sampling, lateral, hillslope, initial_state, return_state, missing, extra, nan, weights
        As for `route`.
    reach_dim, time_dim, dt, label
        As for `route`.
    known
        As for `route`; opened lazily, it is read block by block. A run that is resumed must be given it for the same
        reaches and times; as with runoff, values are taken to be what they were.
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
    one_of("mode", request.mode, ("w-", "w"))
    store = as_store(store)
    stream = Stream.prepare(runoff, network, request)
    state, _ = stream.to_zarr(
        store, resume=request.resume, replace=request.mode == "w", progress=request.progress
    )
    opened = xr.open_zarr(store, chunks=None)[DISCHARGE]
    return (opened, stream.final_state(state)) if request.return_state else opened


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
        Type that runoff is read as.
    budget
        Whether to write the water budget of each basin and member.
    """

    run: Run
    runoff: xr.DataArray
    start: BlockState | None
    encoding: dict[str, Any]
    block: int
    spread: bool
    partitions: int | None
    device: str | None
    dtype: np.dtype[Any]
    budget: bool = False

    @classmethod
    def prepare(
        cls, runoff: xr.DataArray, network: NetworkLike, request: StreamRequest, *, dtype: str | None = None, by: str = ""
    ) -> Stream:
        """Check all that can be checked before anything is read; by default runoff is read as its own type.

        Runoff that was on a grid may have been brought to reaches before, ``by`` weights (`xroute.grids.reaches`).
        """
        encoding, network = check_encoding(request.encoding, request.time_chunk), as_network(network)
        runoff, request, weights = bring_to_reaches(require_array(runoff), network, request)
        taken = {DISCHARGE, CHECKPOINT, BUDGET} & {*runoff.coords, *runoff.dims}
        if taken:
            raise ParameterError(
                f"runoff has a coordinate {some(sorted(taken))}, a name that the store needs: rename it"
            )
        run = changed(make_run(runoff, network, request, with_state=True), weights=weights or by)
        table = run.start(request.initial_state, runoff)
        start = None if table is None else load_state(table, run.n_lags, run.network.ids)
        if request.device is not None:
            find_device(request.device)
        client = None if runoff.chunks is None else find_client()
        workers = 1 if client is None else max(1, len(client.nthreads()))
        spread = runoff.chunks is not None and (client is not None or request.partitions is not None)
        read_as = runoff.dtype if dtype is None else np.dtype(dtype)
        size = compute_type(read_as).itemsize
        encoding, block = choose_chunks(run.layout, runoff, encoding, request.time_chunk, size, workers)
        return cls(run, runoff, start, encoding, block, spread, request.partitions, request.device, read_as, request.budget)

    @property
    def n_steps(self) -> int:
        """Steps of the series."""
        return int(self.runoff.sizes[self.run.layout.time_dim])

    def final_state(self, state: BlockState) -> xr.Dataset:
        """State at the end, labelled."""
        return self.run.finish(state, self.runoff)

    def to_zarr(
        self,
        store: Any,
        *,
        resume: bool = True,
        replace: bool = False,
        progress: bool = False,
        as_dataset: Callable[[xr.DataArray], xr.Dataset] | None = None,
    ) -> tuple[BlockState, Summary]:
        """Route into a Zarr store; ``as_dataset`` makes the Dataset to be written of a discharge without values."""
        require("dask", feature="writing Zarr block by block", extra="io")
        store = as_store(store)
        if self.spread:
            check_shareable(store)
        outline = self._outline(as_dataset or self._with_bounds)
        identity = run_identity(self.run, self.start, self.dtype, budget=self.budget)
        with ZarrSink.open(store, outline, identity, self._beginning(), resume=resume, replace=replace) as sink:
            if self.spread and sink.progress.steps < self.n_steps:
                check_seen(store, CHECKPOINT)
            return self._fill(sink, progress)

    def to_netcdf(
        self,
        path: Path,
        as_dataset: Callable[[xr.DataArray], xr.Dataset],
        *,
        replace: bool = False,
        progress: bool = False,
    ) -> tuple[BlockState, Summary]:
        """Route into a netCDF file, which appears under its name when it is complete; workers cannot write to it."""
        here = changed(self, spread=False)
        with NetcdfSink.open(path, self._outline(as_dataset), self._beginning(), replace=replace) as sink:
            return here._fill(sink, progress)

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _fill(self, sink: Sink, progress: bool) -> tuple[BlockState, Summary]:
        """Read, route and write what the sink does not hold yet, block by block, each followed by the state at its end."""
        from tqdm import tqdm

        first, ledger, seconds = sink.progress.steps, self._ledger(sink.progress.water), 0.0
        if first == self.n_steps > 0:
            return sink.state, self._close(0, seconds, ledger, sink.state, sink)
        blocks = [slice(k, min(k + sink.block, self.n_steps)) for k in range(first, self.n_steps, sink.block)]
        state = None if not first and self.start is None else sink.state
        device = None if self.spread else find_device(self.device)
        bar = tqdm(total=self.n_steps, initial=first, unit="step", disable=not progress, file=sys.stderr)
        if not first:
            self._look_ahead(sink)
        with bar, ThreadPoolExecutor(1, "xroute-read") as reader:
            coming: Future[xr.DataArray] | None = None
            for steps, following in zip_longest(blocks, blocks[1:]):
                begin = clock.perf_counter()
                if self.spread:
                    state = self._route_on_workers(steps, state, ledger, sink)
                    seconds += clock.perf_counter() - begin  # with reading and writing, which workers do between
                else:
                    with writing(f"read runoff of {self._span(steps)}", sink.outcome):
                        block = self._read(steps) if coming is None else coming.result()
                    ahead = following is not None and sink.reads_meanwhile
                    coming = reader.submit(self._read, following) if ahead else None
                    if steps.start == first:
                        self._warm_up(block, state, device)
                    begin = clock.perf_counter()
                    means = self._means(block, state, device, ledger)
                    values, state = route_values(block, self.run, state, device, steps.start)
                    seconds += clock.perf_counter() - begin
                    discharge = self._counted(block, values, means, ledger)
                    del block, values, means
                    with writing(f"write the discharge of {self._span(steps)}", sink.outcome):
                        sink.write(steps, discharge)
                    del discharge
                with writing(f"write the checkpoint of {self._span(steps)}", sink.outcome):
                    sink.commit(Progress(steps.stop, ledger.totals), state)
                bar.update(steps.stop - steps.start)
            end = self._dry() if state is None else state
            summary = self._close(self.n_steps - first, seconds, ledger, end, sink)
        return end, summary

    def _look_ahead(self, sink: Sink) -> None:
        """Look for accumulated values in some rows of the first days, where blocks are too short to tell."""
        watch, layout = self.run.watch, self.run.layout
        if watch is None or sink.block >= min(watch.ahead, self.n_steps):
            return  # ahead is 0 where attributes say nothing: then no chunk is read twice
        rows = {layout.time_dim: slice(0, watch.ahead), layout.reach_dim: slice(0, SAMPLE)}
        with writing("read the first days of runoff", sink.outcome):
            taken = self.runoff.isel(rows).transpose(*layout.engine_dims).to_numpy()
        watch.look(taken.reshape(-1, *taken.shape[-2:]))

    def _read(self, steps: slice) -> xr.DataArray:
        """Runoff of a block, in memory."""
        block = self.runoff.isel({self.run.layout.time_dim: steps}).load()
        return block.astype(self.dtype, copy=False, keep_attrs=True)

    def _warm_up(self, block: xr.DataArray, state: BlockState | None, device: Any) -> None:
        """Route a dry step, thrown away: it compiles, or loads what is compiled, before anything is timed."""
        route_values(xr.zeros_like(block.isel({self.run.layout.time_dim: slice(0, 1)})), self.run, state, device)

    def _means(self, block: xr.DataArray, state: BlockState | None, device: Any, ledger: Ledger) -> Any:
        """Means over steps of the discharge [batch, row, time] of a block, where the budget needs them; else None."""
        if not ledger.wants_means:
            return None
        run = changed(self.run, settings=changed(self.run.settings, sampling="mean"), watch=None)
        return on_host(route_values(block, run, state, device)[0])

    def _counted(self, block: xr.DataArray, values: Any, means: Any, ledger: Ledger) -> xr.DataArray:
        """Discharge [batch, row, time] of a block as the result has it, its water and its runoff's counted."""
        layout, values = self.run.layout, on_host(values)
        kept, over = (layout.batch_dims, 2) if ledger.each else ((), (0, 2))
        went = (values if means is None else means).sum(axis=over, dtype=np.float64)
        ledger.add(finite_sums(block, layout.reach_dim, *kept), went, *negative_sums(values))
        return xr.DataArray(layout.ordered(values), dims=layout.dims)

    def _route_on_workers(
        self, steps: slice, state: BlockState | None, ledger: Ledger, sink: Sink
    ) -> BlockState:
        """Route a block on Dask's workers, who write it; the state comes back."""
        import dask

        from xroute.chunked import route_lazily

        run = changed(self.run, layout=changed(self.run.layout, coords={}))
        layout = run.layout
        start = None if state is None else state.table(run.n_lags, layout.batch_shape)
        block = self.runoff.isel({layout.time_dim: steps}).astype(self.dtype, copy=False, keep_attrs=True)
        result, end = route_lazily(block, run, start, self.device, self.partitions, steps.start)
        means = result
        if ledger.wants_means:
            mean = changed(run, settings=changed(run.settings, sampling="mean"))
            means, _ = route_lazily(block, mean, start, self.device, self.partitions, steps.start)
        sums = lazy_sums(block, result, means, layout)
        written = sink.write(steps, result)
        with writing(f"route {self._span(steps)} on the workers", sink.outcome):
            _, last, *counted = dask.compute(written, end, *sums)
        ledger.add(*counted)
        return BlockState.of_table(last, run.n_lags)

    def _span(self, steps: slice) -> str:
        """Steps of a block, in words."""
        time_dim = self.run.layout.time_dim
        text = f"steps {steps.start} to {steps.stop - 1}"
        if time_dim in self.runoff.coords:
            times = self.runoff[time_dim][[steps.start, steps.stop - 1]].values
            text += f" ({str(times[0])[:19]} to {str(times[1])[:19]})"
        return text

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
        return Outline(as_dataset(empty), self.encoding, layout.time_dim, self.block)

    def _with_bounds(self, discharge: xr.DataArray) -> xr.Dataset:
        """Discharge, and under their name the bounds that its coordinate of time declares, if it does."""
        dataset, clock = discharge.to_dataset(name=DISCHARGE), self.run.clock
        coordinate = time_coordinate(discharge, clock.dim)
        bounds = None if coordinate is None else bounds_name(coordinate)
        return dataset if bounds is None else add_bounds(dataset, clock.dim, clock.step, clock.label, bounds)

    def _beginning(self) -> tuple[Progress, BlockState]:
        return Progress(0, self._ledger(None).totals), self.start or self._dry()

    def _dry(self) -> BlockState:
        return BlockState.dry(self.run.n_lags, self.run.layout.n_batch)

    def _ledger(self, saved: Totals | None) -> Ledger:
        return Ledger(self.run, each=self.budget, saved=saved)

    def _close(self, n_steps: int, seconds: float, ledger: Ledger, end: BlockState, sink: Sink) -> Summary:
        """What was done; the budget is written."""
        run = self.run
        summary = Summary(run.network.n_reaches, n_steps, run.layout.n_batch, seconds, is_exact=ledger.is_exact)
        summary.rounding = 1e-9 if compute_type(self.dtype).itemsize == 8 else 1e-5
        if run.settings.step is not None:
            terms = ledger.close(self.start, end)
            summary.water = {name: float(term.sum()) for name, term in terms.items()} if run.units else None
            if self.budget:
                coords = kept_coords(run.layout, self.runoff, "run")
                summary.budget = budget_dataset(ledger.labelled(terms), run, ledger.accounts, coords)
                with writing("write the budget", sink.outcome):
                    sink.attach(BUDGET, summary.budget)
        return summary
