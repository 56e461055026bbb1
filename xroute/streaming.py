"""`route_to_zarr`: a series of any length from store to store, in bounded memory and through crashes.

Runoff is read, routed and written a block of steps at a time, the next one being read meanwhile. With the state carried, the
blocks together are bit for bit what one call of `route` gives. After each a checkpoint is made (`xroute.checkpoint`), from
which a run that was killed goes on. Runoff on Dask with workers to route it goes to them, block by block.
"""

from __future__ import annotations

import os
import sys
import time as clock
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from xroute.accumulations import SAMPLE
from xroute.block import is_cupy
from xroute.block_state import BlockState
from xroute.bounds import add_bounds, bounds_name
from xroute.census import n_negative
from xroute.checkpoint import GROUP, Checkpoint, Progress, as_store, check_replaceable, clear, digest, find
from xroute.chunking import choose_chunks
from xroute.cluster import find_client
from xroute.eager import route_values
from xroute.engine.arrays import compute_type
from xroute.exceptions import ParameterError, XRouteError, one_of, require, some
from xroute.io.files import consolidate, netcdf_variable, plain_dataset, replacing
from xroute.labels import require_array
from xroute.network import Network
from xroute.options import find_device
from xroute.request import RouteRequest
from xroute.run import Run, make_run
from xroute.stamps import axis
from xroute.state import load_state
from xroute.volumes import Summary, Volumes

__all__ = ["Stream", "route_to_zarr"]

NAME = "discharge"
UNFINISHED = "unfinished"
"""Attribute of a store that holds the beginning of a run."""


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
    opened = xr.open_zarr(store, chunks=None)[NAME]
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
        taken = {NAME, GROUP} & {*runoff.coords, *runoff.dims}
        if taken:
            raise ParameterError(
                f"runoff has a coordinate {some(sorted(taken))}, a name that the store needs: rename it"
            )
        run = make_run(runoff, network, RouteRequest(partitions=partitions, **options), with_state=True)
        table = run.start(initial_state, runoff)
        start = None if table is None else load_state(table, run.n_lags, run.network.ids)
        if device is not None:
            find_device(device)
        client = None if runoff.chunks is None else find_client()
        workers = 1 if client is None else max(1, len(client.nthreads()))
        spread = runoff.chunks is not None and (client is not None or partitions is not None)
        if encoding is not None and not isinstance(encoding, Mapping):
            raise ParameterError(f"encoding is a mapping, as for xarray.Dataset.to_zarr, not {encoding!r}")
        given = dict(encoding or {})
        if NAME in given:
            if len(given) > 1:
                raise ParameterError(f"encoding is of {NAME} only, not of {some(sorted(set(given) - {NAME}, key=str))}")
            given = dict(given[NAME])
        size = compute_type(runoff.dtype if dtype is None else np.dtype(dtype)).itemsize
        given, block = choose_chunks(run.layout, runoff, given, time_chunk, size, workers)
        return cls(run, runoff, start, given, block, spread, partitions, device, dtype)

    @property
    def n_steps(self) -> int:
        """Steps of the series."""
        return int(self.runoff.sizes[self.run.layout.time_dim])

    def final_state(self, state: BlockState) -> xr.Dataset:
        """State at the end, labelled."""
        return self.run.finish(state, self.runoff)

    # ── to Zarr ─────────────────────────────────────────────────────────────────────────────────────────────────────

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
        here = not isinstance(store, (str, Path)) or str(store).startswith("memory:")
        if self.spread and here and find_client() is not None:
            raise XRouteError(f"workers cannot write to {store}: give a path or a URL that they all see")
        run = self._description()
        if replace:
            check_replaceable(store)
        found = None if replace else find(store)
        if found is not None:
            different = found.differences(run)
            if different or not resume:
                raise FileExistsError(
                    f"{store} holds another run, of {different}: choose another path, or replace it" if different else
                    f"{store} holds this run already, or its beginning: resume it, or replace it"
                )  # fmt: skip
            latest = found.latest()
            if latest is not None:
                self._check_intact(found, latest[0].steps)
            if latest is not None and self._is_over(latest[0]) and not found.taken():
                return latest[1], self._summary(0, 0.0, self._volumes(latest[0].volumes))
        else:
            with _working(f"write the layout of {store}", "Nothing is routed yet"):
                self._try_layout(finish)
        checkpoint = found or Checkpoint(store, run, self.block)
        with _working(f"write {store}", "Run again to go on"):
            checkpoint.take()
        if not replace:  # none but this run writes to it from here on; until now another could
            self._still(checkpoint, found)
        latest = None if found is None else checkpoint.latest()
        if latest is None:
            latest = Progress(0, self._volumes(None).total), self.start or self._dry()
            checkpoint.block = self.block
            with _working(f"write the layout of {store}", "Nothing is routed yet"):
                clear(checkpoint)
                checkpoint.create()
                self._lay_out(checkpoint.own, finish)
                checkpoint.layout = _intact().layout_digests(checkpoint.own, NAME, UNFINISHED)
                checkpoint.commit(*latest, first=True)
        done, state = latest
        if self._is_over(done):
            result = state, self._summary(0, 0.0, self._volumes(done.volumes))
        else:
            begun = done.steps == 0 and self.start is None
            result = self._go_on(checkpoint, done, None if begun else state, progress)
        with _working(f"write {store}", "All is routed; run again to end the run"):
            root = require("zarr", feature="writing Zarr", extra="io").open_group(checkpoint.own, mode="r+")
            if UNFINISHED in root.attrs:
                del root.attrs[UNFINISHED]
            consolidate(checkpoint.own)
            checkpoint.release()
        return result

    def _still(self, checkpoint: Checkpoint, found: Checkpoint | None) -> None:
        """Refuse a store that, when it was taken, no longer held what was found in it."""
        again = find(checkpoint.store)
        if again != found:
            checkpoint.release()
            raise XRouteError(
                f"another run has replaced what {checkpoint.store} held a moment ago: run again to see which"
            )

    def _check_intact(self, found: Checkpoint, steps: int) -> None:
        layout = self.run.layout
        axis = layout.dims.index(layout.time_dim)
        _intact().check_intact(found.store, found.layout, NAME, UNFINISHED, steps, axis)

    def _is_over(self, progress: Progress) -> bool:
        return progress.steps == self.n_steps and self.n_steps > 0

    def _dry(self) -> BlockState:
        return BlockState.dry(self.run.n_lags, self.run.layout.n_batch)

    def _go_on(
        self, checkpoint: Checkpoint, done: Progress, state: BlockState | None, progress: bool
    ) -> tuple[BlockState, Summary]:
        """Route what is left, block by block, each followed by a checkpoint."""
        time_dim = self.run.layout.time_dim
        volumes = self._volumes(done.volumes)

        def write(steps: slice, discharge: xr.DataArray) -> Any:
            region: Any = {time_dim: steps}
            to_zarr: Any = xr.Dataset({NAME: discharge}).to_zarr
            return to_zarr(checkpoint.own, region=region, consolidated=True, compute=discharge.chunks is None)

        def keep(steps: slice, state: BlockState) -> None:
            checkpoint.commit(Progress(steps.stop, volumes.total), state)

        array = require("zarr", feature="writing Zarr", extra="io").open_array(checkpoint.store, path=NAME, mode="r")
        mine = changed(self, block=checkpoint.block, encoding={"chunks": array.shards or array.chunks})
        if self.spread:
            _seen_by_workers(checkpoint.store)
        kept = f"{checkpoint.store} holds what was routed before: run again to go on from there"
        state, seconds = mine._blocks(done.steps, state, volumes, write, keep, progress, kept)
        return state, self._summary(self.n_steps - done.steps, seconds, volumes)

    def _lay_out(self, store: Any, finish: Callable[[xr.DataArray], xr.Dataset] | None) -> None:
        """Write coordinates, attributes and chunks, but no values; that it is unfinished is said in the attributes."""
        empty = self._empty()
        dataset, encoding = plain_dataset(self._with_bounds(empty) if finish is None else finish(empty))
        encoding[NAME] = {**encoding.get(NAME, {}), **_with_checksums(self.encoding)}
        dataset = dataset.assign_attrs(
            {UNFINISHED: "this run was interrupted, or is under way: discharge is not complete"}
        )
        dataset.to_zarr(store, mode="a", compute=False, consolidated=False, encoding=encoding)
        consolidate(store)

    def _with_bounds(self, discharge: xr.DataArray) -> xr.Dataset:
        """Discharge, and under their name the bounds that its coordinate of time declares, if it does."""
        dataset, clock = discharge.to_dataset(name=NAME), self.run.clock
        coordinate = axis(discharge, clock.dim)
        bounds = None if coordinate is None else bounds_name(coordinate)
        return dataset if bounds is None else add_bounds(dataset, clock.dim, clock.step, clock.label, bounds)

    def _try_layout(self, finish: Callable[[xr.DataArray], xr.Dataset] | None) -> None:
        """Lay it out in memory: what cannot be written is found before anything on the disk is touched."""
        zarr = require("zarr", feature="writing Zarr", extra="io")
        self._lay_out(zarr.storage.MemoryStore(), finish)

    def _empty(self) -> xr.DataArray:
        """Discharge with all its labels and attributes, but no values, in a block's chunks."""
        import dask.array as da

        layout = self.run.layout
        sizes = {**layout.sizes, layout.time_dim: self.n_steps}
        chunks = dict(zip(layout.dims, self.encoding.get("shards") or self.encoding["chunks"], strict=True))
        chunks[layout.time_dim] = self.block
        shape = tuple(int(sizes[d]) for d in layout.dims)
        dtype = compute_type(self.runoff.dtype if self.dtype is None else np.dtype(self.dtype))
        nothing = da.zeros(shape, chunks=tuple(max(1, min(chunks[d], sizes[d])) for d in layout.dims), dtype=dtype)
        coords = {n: c.compute() for n, c in xr.Coordinates(layout.coords).items()}
        return self.run.label(xr.DataArray(nothing, dims=layout.dims, coords=coords), self.runoff)

    def _description(self) -> dict[str, Any]:
        """What two runs must share for one to go on with the other's store."""
        run, layout = self.run, self.run.layout
        assert run.key is not None
        coords = [(n, c.dims, c.compute().values) for n, c in sorted(xr.Coordinates(layout.coords).items(), key=str)]
        rows = layout.row, layout.result_row, layout.dims, sorted(map(str, layout.sizes.items()))
        start = () if self.start is None else self.start.arrays().values()
        return {
            "form": 3,
            **run.key.attrs(),
            "units": run.units,
            "sampling": run.settings.sampling,
            "nan": run.settings.nan,
            "label": run.clock.label,
            "dtype": str(self.runoff.dtype if self.dtype is None else np.dtype(self.dtype)),
            "parameters": digest(run.network.ids, *run.network.links, *run.filter.arrays(), run.scale),
            "coordinates": digest(coords, rows),
            "start": digest(*start),
        }

    # ── to netCDF ───────────────────────────────────────────────────────────────────────────────────────────────────

    def to_netcdf(
        self,
        path: Path,
        finish: Callable[[xr.DataArray], xr.Dataset],
        *,
        replace: bool = False,
        progress: bool = False,
    ) -> tuple[BlockState, Summary]:
        """Route into a netCDF file, which appears under its name when it is complete."""
        layout, time_dim = self.run.layout, self.run.layout.time_dim
        volumes = self._volumes(None)
        with replacing(path, overwrite=replace) as temporary:
            chunks = tuple(max(1, n) for n in self.encoding["chunks"])
            kept = f"{path} is not written"
            with ExitStack() as file:
                with _working(f"begin {path}", kept):
                    variable = file.enter_context(netcdf_variable(finish(self._empty()), temporary, NAME, chunks))

                def write(steps: slice, discharge: xr.DataArray) -> None:
                    variable[tuple(steps if d == time_dim else slice(None) for d in layout.dims)] = discharge.values

                alone = self if self.runoff.chunks is None else changed(self, spread=False)
                state, seconds = alone._blocks(
                    0, self.start, volumes, write, lambda *_: None, progress, kept, ahead=False
                )
                with _working(f"end {path}", kept):  # what is left in buffers is written now
                    file.close()
        return state, self._summary(self.n_steps, seconds, volumes)

    # ── the blocks ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _blocks(
        self,
        first: int,
        state: BlockState | None,
        volumes: Volumes,
        write: Callable[[slice, xr.DataArray], Any],
        keep: Callable[[slice, BlockState], None],
        progress: bool,
        kept: str,
        ahead: bool = True,
    ) -> tuple[BlockState, float]:
        """Read, route, write and keep the state, from step ``first`` on; returns the state, and seconds of routing."""
        from tqdm import tqdm

        parts = [slice(k, min(k + self.block, self.n_steps)) for k in range(first, self.n_steps, self.block)]
        where = None if self.spread else find_device(self.device)
        seconds = 0.0
        bar = tqdm(total=self.n_steps, initial=first, unit="step", disable=not progress, file=sys.stderr)
        if not first:
            self._look_ahead(kept)
        with bar, ThreadPoolExecutor(1, "xroute-read") as reader:
            coming: Future[xr.DataArray] | None = None
            for k, steps in enumerate(parts):
                when = self._when(steps)
                if self.spread:
                    begin = clock.perf_counter()
                    state = self._on_workers(steps, state, volumes, write, kept)
                    seconds += clock.perf_counter() - begin  # with reading and writing, which workers do between
                else:
                    with _working(f"read runoff of {when}", kept):
                        block = self._read(steps) if coming is None else coming.result()
                    coming = reader.submit(self._read, parts[k + 1]) if ahead and k + 1 < len(parts) else None
                    if not k:  # a dry step, thrown away: compiles, or loads what is compiled, before anything is timed
                        route_values(xr.zeros_like(block.isel({self.run.layout.time_dim: slice(0, 1)})), self.run, state, where)
                    begin = clock.perf_counter()
                    values, state = route_values(block, self.run, state, where, steps.start)
                    seconds += clock.perf_counter() - begin
                    values = values.get() if is_cupy(values) else values
                    volumes.add(_sums(block, self.run.layout.reach_dim), values.sum(axis=(0, 2), dtype=np.float64))
                    volumes.n_negative += n_negative(values)
                    discharge = xr.DataArray(self.run.layout.ordered(values), dims=self.run.layout.dims)
                    del block, values
                    with _working(f"write the discharge of {when}", kept):
                        write(steps, discharge)
                    del discharge
                with _working(f"write the checkpoint of {when}", kept):
                    keep(steps, state)
                bar.update(steps.stop - steps.start)
        return self._dry() if state is None else state, seconds

    def _look_ahead(self, kept: str) -> None:
        """Look for accumulated values in some rows of the first days, where blocks are too short to tell."""
        watch, layout = self.run.watch, self.run.layout
        if watch is None or self.block >= min(watch.ahead, self.n_steps):
            return  # ahead is 0 where attributes say nothing: then no chunk is read twice
        rows = {layout.time_dim: slice(0, watch.ahead), layout.reach_dim: slice(0, SAMPLE)}
        with _working("read the first days of runoff", kept):
            taken = self.runoff.isel(rows).transpose(*layout.engine_dims).to_numpy()
        watch.look(taken.reshape(-1, *taken.shape[-2:]))

    def _read(self, steps: slice) -> xr.DataArray:
        block = self.runoff.isel({self.run.layout.time_dim: steps}).load()
        return block if self.dtype is None else block.astype(self.dtype, keep_attrs=True)

    def _on_workers(
        self,
        steps: slice,
        state: BlockState | None,
        volumes: Volumes,
        write: Callable[[slice, xr.DataArray], Any],
        kept: str,
    ) -> BlockState:
        """Route a block on Dask's workers, who write it; the state comes back."""
        import dask

        from xroute.chunked import route_lazily

        run = changed(self.run, layout=changed(self.run.layout, coords={}))
        layout = run.layout
        start = None if state is None else state.table(run.n_lags, layout.batch_shape)
        block = self.runoff.isel({layout.time_dim: steps})
        block = block if self.dtype is None else block.astype(self.dtype, keep_attrs=True)
        result, end = route_lazily(block, run, start, self.device, self.partitions, steps.start)
        over = [d for d in layout.dims if d != layout.reach_dim]
        sums = (
            block.where(np.isfinite(block), 0.0).sum(over, dtype=np.float64).data,
            result.sum(over, dtype=np.float64).data,
            (result < 0).sum().data,
        )
        own = dict(zip(layout.dims, self.encoding.get("shards") or self.encoding["chunks"], strict=True))
        written = write(steps, result.chunk({d: min(own[d], result.sizes[d]) for d in layout.dims if result.sizes[d]}))
        with _working(f"route {self._when(steps)} on the workers", kept):
            _, last, came, went, below = dask.compute(written, end, *sums)
        volumes.add(came, went)
        volumes.n_negative += int(below)
        return BlockState.of_table(last, run.n_lags)

    def _when(self, steps: slice) -> str:
        """Steps of a block, in words."""
        time_dim = self.run.layout.time_dim
        text = f"steps {steps.start} to {steps.stop - 1}"
        if time_dim in self.runoff.coords:
            times = self.runoff[time_dim][[steps.start, steps.stop - 1]].values
            text += f" ({str(times[0])[:19]} to {str(times[1])[:19]})"
        return text

    def _volumes(self, total: tuple[float, float] | None) -> Volumes:
        run = self.run
        return Volumes(run.network, run.layout, run.scale, run.settings.step, run.units, total)

    def _summary(self, n_steps: int, seconds: float, volumes: Volumes) -> Summary:
        into, out = volumes.total or (None, None)
        return Summary(
            self.run.network.n_reaches, n_steps, self.run.layout.n_batch, seconds, into, out, volumes.n_negative
        )


def _with_checksums(encoding: dict[str, Any]) -> dict[str, Any]:
    """Encoding whose chunks bear a checksum, which whoever reads them compares; one that names codecs is left as it is."""
    if {"compressors", "compressor", "filters", "serializer"} & set(encoding):
        return encoding
    zarr = require("zarr", feature="writing Zarr", extra="io")
    if zarr.config.get("default_zarr_format") != 3:
        return encoding
    return {**encoding, "compressors": zarr.codecs.ZstdCodec(level=0, checksum=True)}


def _intact() -> Any:
    require("zarr", feature="reading and writing Zarr", extra="io")
    from xroute import intact

    return intact


def _seen_by_workers(store: Any) -> None:
    """Refuse a folder that workers elsewhere do not see: they would write to another."""
    client = find_client()
    if client is None or not isinstance(store, Path):
        return
    blind = [address for address, sees in client.run((store / GROUP).is_dir).items() if not sees]
    if blind:
        raise XRouteError(
            f"{len(blind)} Dask workers do not see {store}, {blind[0]} for one: write to a file system that all share"
        )


def _sums(block: xr.DataArray, reach_dim: Any) -> Any:
    data = block.data.get() if is_cupy(block.data) else np.asarray(block.data)
    return _finite_sums(data, tuple(k for k, d in enumerate(block.dims) if d != reach_dim))


def _finite_sums(values: Any, axes: tuple[int, ...]) -> Any:
    """Sums of what is finite, without a copy where all is."""
    sums = values.sum(axis=axes, dtype=np.float64)
    return (
        sums if np.isfinite(sums).all() else np.where(np.isfinite(values), values, 0).sum(axis=axes, dtype=np.float64)
    )


@contextmanager
def _working(doing: str, kept: str) -> Iterator[None]:
    """Say of an error what was being done, and what is kept. Any error: backends of files raise what they like."""
    try:
        yield
    except XRouteError:
        raise
    except OSError as error:
        text = f"could not {doing}: {error.strerror or error}{f': {error.filename}' if error.filename else ''}. {kept}"
        raise (OSError(text) if error.errno is None else OSError(error.errno, text)) from error
    except Exception as error:
        said = f"{type(error).__name__}: {error}".rstrip(". ")
        raise XRouteError(f"could not {doing}: {said}. {kept}") from error
