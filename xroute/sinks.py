"""Where the blocks of a stream go: a Zarr store, from whose checkpoints a killed run goes on, or a netCDF file.

A sink is opened with an `Outline`: all of the result but its values. It says how far an earlier run had come, takes
block after block of discharge, each followed by the state at its end, and is complete when its ``with`` block ends well.
What to route, and in which blocks, is the stream's affair (`xroute.streaming`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from xroute.block_state import BlockState
from xroute.checkpoint import Checkpoint, Progress, abandon, check_replaceable, clear, find
from xroute.exceptions import XRouteError, require
from xroute.files.plain import as_it_lies
from xroute.files.writing import append_group, netcdf_variable, plain_dataset, replacing
from xroute.guards import writing
from xroute.lane_states import StateFolder
from xroute.lanes import Lanes
from xroute.stores import DISCHARGE, UNFINISHED, consolidate
from xroute.wording import phrase

__all__ = ["NetcdfSink", "Outline", "Sink", "ZarrSink"]


@dataclass(frozen=True)
class Outline:
    """A result before it is routed.

    Attributes
    ----------
    dataset
        With labels, attributes, and ``discharge`` on Dask, of which nothing is computed.
    encoding
        Of ``discharge`` in a Zarr store; its ``chunks`` are also those of a netCDF file.
    time_dim
        Dimension that blocks follow one another along.
    block
        Steps of a block.
    lanes
        Members that are routed together.
    """

    dataset: xr.Dataset
    encoding: Mapping[str, Any]
    time_dim: Any
    block: int
    lanes: Lanes

    @property
    def dims(self) -> tuple[Any, ...]:
        """Dimensions of discharge."""
        return self.dataset[DISCHARGE].dims

    @property
    def n_steps(self) -> int:
        """Steps of the series."""
        return int(self.dataset[DISCHARGE].sizes[self.time_dim])

    def part(self, lane: int, steps: slice) -> tuple[slice, ...]:
        """Some steps of a lane, as slices along the axes of discharge."""
        sizes = self.dataset[DISCHARGE].sizes
        at = {**{d: slice(0, n) for d, n in sizes.items()}, **self.lanes.box(lane), self.time_dim: steps}
        return tuple(at[d] for d in self.dims)


class Sink(Protocol):
    """What a stream asks of a sink."""

    block: int
    """Steps of a block: those of the run that began the store, where there was one."""
    lanes: Lanes
    """Members that are routed together, likewise."""
    progress: list[Progress]
    """How far each lane has come."""
    reads_meanwhile: bool
    """Whether runoff may be read while a block is written."""

    @property
    def outcome(self) -> str:
        """What is there after an error, for its message."""

    def state(self, lane: int) -> BlockState | None:
        """State of a lane's rivers where it has come to; None where it has not begun."""

    def kept(self, lane: int) -> BlockState:
        """State of a lane that was given to `keep`."""

    def write(self, lane: int, steps: slice, discharge: xr.DataArray) -> Any:
        """Write a block; of one on Dask, return the task that writes it."""

    def keep(self, lane: int, progress: Progress, state: BlockState) -> None:
        """Keep a state that was asked for, beside that at the end."""

    def commit(self, lane: int, progress: Progress, state: BlockState) -> None:
        """Make what was written last: a run that is killed from now on goes on from here."""

    def attach(self, name: str, dataset: xr.Dataset) -> None:
        """Write a group beside discharge, at the end of a run."""


# ── Zarr ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ZarrSink:
    """A Zarr store, which another run may have begun; see `Sink` for its attributes."""

    reads_meanwhile = True

    def __init__(self, checkpoint: Checkpoint, outline: Outline, latest: _Latest) -> None:
        """Of a store that is the run's own and laid out; `open` makes one."""
        self.block, self.lanes = checkpoint.block, checkpoint.lanes
        self.progress, self._state = latest
        self._checkpoint, self._outline = checkpoint, outline
        self._handed_out = False

    @classmethod
    @contextmanager
    def open(
        cls, store: Any, outline: Outline, run: dict[str, Any], start: _Start, *, resume: bool, replace: bool
    ) -> Iterator[ZarrSink]:
        """Take a store, lay it out if no run has begun it, and complete it if the block ends well.

        Parameters
        ----------
        store
            Of `xroute.stores.as_store`.
        run
            Identity of the run (`xroute.checkpoint.run_identity`), which the run that began the store must share.
        start
            Progress of a lane that begins, and what makes the state of a run that has but one.
        resume
            Whether to go on with a run that was begun.
        replace
            Whether to delete what the store holds.
        """
        if replace:
            check_replaceable(store)
        found = None if replace else find(store, outline.lanes)
        if found is None:
            with writing(f"write the layout of {store}", "Nothing is routed yet"):
                # in memory: what cannot be written is found before anything on the disk is touched
                _lay_out(_zarr().storage.MemoryStore(), outline)
        else:
            outline = changed(outline, lanes=found.lanes)
            latest = _latest_of(found, outline, run, start, resume)
            if latest is not None and all(p.steps == outline.n_steps > 0 for p in latest[0]) and not found.taken():
                yield cls(found, outline, latest)
                return
        checkpoint = found or Checkpoint(store, run, outline.block, outline.lanes)
        with writing(f"write {store}", f"To go on, {_again()}"):
            checkpoint.take()
        if not replace:  # none but this run writes to it from here on; until now another could
            _check_same(checkpoint, found)
        latest = None if found is None else _latest(checkpoint, start)
        sink = cls(checkpoint, outline, latest or _begin(checkpoint, outline, start))
        try:
            yield sink
        except Exception:
            if not (sink._handed_out or any(progress.steps for progress in sink.progress)):
                abandon(checkpoint)  # so that the same command, mended, begins anew
            raise
        with writing(f"write {store}", f"All is routed; {_again()} to end the run"):
            sink._complete()

    @property
    def outcome(self) -> str:
        """What is there after an error, for its message."""
        if not any(progress.steps for progress in self.progress):
            return "Nothing is routed yet"
        return f"{self._checkpoint.store} holds what was routed before: {_again()} to go on from there"

    def state(self, lane: int) -> BlockState | None:
        """State of a lane's rivers where it has come to; None where it has not begun."""
        if self._state is not None:
            return self._state
        latest = self._checkpoint.latest(lane) if self.progress[lane].steps else None
        return None if latest is None else latest[1]

    def kept(self, lane: int) -> BlockState:
        """State of a lane that was given to `keep`."""
        return self._checkpoint.kept(lane)

    def write(self, lane: int, steps: slice, discharge: xr.DataArray) -> Any:
        """Write a block; of one on Dask, return the task that writes it, in whole chunks of the store."""
        if discharge.chunks is not None:
            self._handed_out = True  # a worker may go on writing after an error
            discharge = discharge.chunk({d: min(self._chunks[d], n) for d, n in discharge.sizes.items() if n})
        to_zarr: Any = xr.Dataset({DISCHARGE: discharge}).to_zarr
        region = {self._outline.time_dim: steps} | (self.lanes.box(lane) if len(self.lanes) > 1 else {})
        return to_zarr(self._checkpoint.own, region=region, consolidated=True, compute=discharge.chunks is None)

    def keep(self, lane: int, progress: Progress, state: BlockState) -> None:
        """Keep a state that was asked for, beside that at the end."""
        self._checkpoint.keep(lane, progress, state)

    def commit(self, lane: int, progress: Progress, state: BlockState) -> None:
        """Write a checkpoint."""
        if len(self.lanes) == 1:
            self._checkpoint.commit(progress, state)
        else:
            self._checkpoint.commit_lane(lane, progress, state, last=progress.steps == self._outline.n_steps)
        self.progress[lane] = progress
        self._state = state if len(self.lanes) == 1 else None

    def attach(self, name: str, dataset: xr.Dataset) -> None:
        """Write a group; a store that was complete before has it."""
        if self._checkpoint.own is None:
            return
        plain, encoding = plain_dataset(dataset)
        plain.to_zarr(self._checkpoint.own, group=name, mode="w", consolidated=False, encoding=encoding)

    @cached_property
    def _chunks(self) -> dict[Any, int]:
        """Sizes of what the store writes at once: its shards, if it has any."""
        array = _zarr().open_array(self._checkpoint.store, path=DISCHARGE, mode="r")
        return dict(zip(self._outline.dims, array.shards or array.chunks, strict=True))

    def _complete(self) -> None:
        """Say no longer that the store is unfinished, and give it back."""
        own = self._checkpoint.own
        root = _zarr().open_group(own, mode="r+")
        if UNFINISHED in root.attrs:
            del root.attrs[UNFINISHED]
        consolidate(own)
        self._checkpoint.release()


_Start = tuple[Progress, Callable[[], BlockState]]
_Latest = tuple[list[Progress], BlockState | None]
"""Progress of each lane; and the state, where there is but one."""


def _latest_of(
    found: Checkpoint, outline: Outline, run: Mapping[str, Any], start: _Start, resume: bool
) -> _Latest | None:
    """How far a run in the store has come, if it is this one and nothing of it is lost; None if it was not laid out."""
    different = found.differences(run)
    if different:
        raise FileExistsError(f"{found.store} holds another run, of {different}: choose another path, or replace it")
    if not resume:
        advice = phrase("begun", "resume it, or replace it")
        raise FileExistsError(f"{found.store} holds this run already, or its beginning: {advice}")
    latest = _latest(found, start)
    if latest is not None:
        written = [outline.part(lane, slice(0, progress.steps)) for lane, progress in enumerate(latest[0])]
        _intact().check_intact(found.store, found.layout, written)
    return latest


def _latest(checkpoint: Checkpoint, start: _Start) -> _Latest | None:
    """How far the lanes of a store have come; None if it was not laid out."""
    if not checkpoint.is_laid_out():
        return None
    if len(checkpoint.lanes) == 1:
        latest = checkpoint.latest(0)
        assert latest is not None
        return [latest[0]], latest[1]
    each = (checkpoint.latest(lane) for lane in range(len(checkpoint.lanes)))  # of which one is in memory at a time
    return [start[0] if one is None else one[0] for one in each], None


def _again() -> str:
    return phrase("run again", "run again")


def _check_same(checkpoint: Checkpoint, found: Checkpoint | None) -> None:
    """Refuse a store that, when it was taken, no longer held what was found in it."""
    if find(checkpoint.store, checkpoint.lanes) != found:
        checkpoint.release()
        raise XRouteError(
            f"another run has replaced what {checkpoint.store} held a moment ago: {_again()} to see which"
        )


def _begin(checkpoint: Checkpoint, outline: Outline, start: _Start) -> _Latest:
    """Empty a store that was taken, lay it out, and write its first checkpoint."""
    checkpoint.block, checkpoint.lanes = outline.block, outline.lanes
    progress, state = [start[0]] * len(outline.lanes), None
    with writing(f"write the layout of {checkpoint.store}", "Nothing is routed yet"):
        clear(checkpoint)
        checkpoint.create()
        _lay_out(checkpoint.own, outline)
        checkpoint.layout = _intact().layout_digests(checkpoint.own)
        if len(outline.lanes) == 1:  # of several, each begins with what the run starts from
            state = start[1]()
            checkpoint.commit(start[0], state, first=True)
        else:
            checkpoint.settle()
            checkpoint.begun()
    return progress, state


def _lay_out(store: Any, outline: Outline) -> None:
    """Write coordinates, attributes and chunks, but no values; that it is unfinished is said in the attributes."""
    dataset, encoding = plain_dataset(outline.dataset)
    encoding[DISCHARGE] = {**encoding.get(DISCHARGE, {}), **_with_checksums(outline.encoding)}
    dataset = dataset.assign_attrs({UNFINISHED: "this run was interrupted, or is under way: discharge is not complete"})
    dataset.to_zarr(store, mode="a", compute=False, consolidated=False, encoding=encoding)
    consolidate(store)


def _with_checksums(encoding: Mapping[str, Any]) -> Mapping[str, Any]:
    """Encoding whose chunks bear a checksum, which whoever reads them compares; one that names codecs is left as it is."""
    if {"compressors", "compressor", "filters", "serializer"} & set(encoding):
        return encoding
    zarr = _zarr()
    if zarr.config.get("default_zarr_format") != 3:
        return encoding
    return {**encoding, "compressors": zarr.codecs.ZstdCodec(level=0, checksum=True)}


def _zarr() -> Any:
    return require("zarr", feature="writing Zarr", extra="io")


def _intact() -> Any:
    _zarr()
    from xroute import intact

    return intact


# ── netCDF ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class NetcdfSink:
    """A netCDF file, which appears under its name when it is complete; see `Sink` for its attributes."""

    reads_meanwhile = False  # the library of HDF5 does one thing at a time

    def __init__(self, path: Path, variable: Any, outline: Outline, start: Progress) -> None:
        """Of a variable of a file; `open` makes one."""
        self.block, self.lanes = outline.block, outline.lanes
        self.progress = [start] * len(outline.lanes)
        self._states = StateFolder(outline.lanes)
        self.outcome = _not_written(path)
        self._variable, self._outline = variable, outline
        self._groups: dict[str, xr.Dataset] = {}

    @classmethod
    @contextmanager
    def open(cls, path: Path, outline: Outline, start: Progress, *, replace: bool) -> Iterator[NetcdfSink]:
        """Begin a file, and give it its name if the block ends well.

        ``start`` is the progress of a lane that begins, and ``replace`` whether a file of that name is replaced.
        """
        chunks = tuple(max(1, n) for n in outline.encoding["chunks"])
        with replacing(path, overwrite=replace) as temporary, ExitStack() as file:
            with writing(f"begin {path}", _not_written(path)):
                variable = file.enter_context(netcdf_variable(outline.dataset, temporary, DISCHARGE, chunks))
            sink = cls(path, variable, outline, start)
            yield sink
            with writing(f"end {path}", _not_written(path)):  # what is left in buffers is written now
                file.close()
                for name, dataset in sink._groups.items():
                    append_group(dataset, temporary, name)

    def state(self, lane: int) -> BlockState | None:
        """State of a lane's rivers where it has come to; None where it has not begun."""
        return self._states.get("end", lane)

    def kept(self, lane: int) -> BlockState:
        """State of a lane that was given to `keep`."""
        found = self._states.get("kept", lane)
        assert found is not None
        return found

    def write(self, lane: int, steps: slice, discharge: xr.DataArray) -> None:
        """Write a block."""
        with as_it_lies(discharge.values) as values:
            self._variable[self._outline.part(lane, steps)] = values

    def keep(self, lane: int, progress: Progress, state: BlockState) -> None:
        """Keep a state that was asked for, beside that at the end."""
        self._states.put("kept", lane, state)

    def commit(self, lane: int, progress: Progress, state: BlockState) -> None:
        """Keep the state for as long as this lives: a file that is cut off is deleted."""
        self.progress[lane] = progress
        self._states.put("end", lane, state)

    def attach(self, name: str, dataset: xr.Dataset) -> None:
        """Write a group of the file, when all else is written."""
        self._groups[name] = dataset


def _not_written(path: Path) -> str:
    return f"{path} is not written"
