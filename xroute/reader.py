"""Who hands runoff to a stream, block by block, and reads each chunk of its source once.

Chunks are not laid out for us: a block of steps of all reaches may take a slice of each of many chunks, and the next block
the next slice of the same. So a row of chunks is read as a whole, in memory where that suffices or into a scratch file, and
blocks are taken out of it. Where neither is possible chunks are read again and again, and a warning says how often.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.chunking import Room
from xroute.exceptions import warn
from xroute.labels import Layout, in_order
from xroute.lanes import Box, Lanes, common_edges, overlap, regular_edges
from xroute.memory import show_bytes
from xroute.reads import PIECE_BYTES, Source, pieces_of
from xroute.scratch import Scratch, scratch_folder
from xroute.wording import argument

__all__ = ["Item", "Reader"]

AS_THEY_ARE: Any = {"coords": "minimal", "compat": "override", "join": "override", "combine_attrs": "override"}
"""How parts of a block that follow one another in time are joined."""


class Item(NamedTuple):
    """A block: some steps of the members of a lane."""

    lane: int
    steps: slice


class Row(NamedTuple):
    """What is read as a whole: some steps of the members of a gang of lanes."""

    gang: int
    number: int


@dataclass(frozen=True)
class Reader:
    """Hands out runoff.

    Attributes
    ----------
    runoff, layout, source
        Runoff, which of its dimensions is which, and its chunks.
    dtype
        Type of the blocks.
    lanes, block
        Members that are routed together, and steps.
    room
        What the run may take.
    read
        Reads some steps of a part of runoff.
    beside
        Folder of the output, which may have room for a scratch file where that of temporary files has none.
    """

    runoff: xr.DataArray
    layout: Layout
    source: Source
    dtype: np.dtype[Any]
    lanes: Lanes
    block: int
    room: Room
    read: Callable[[Box, slice], xr.DataArray]
    beside: Path | None = None

    # ── what is read together ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def n_steps(self) -> int:
        """Steps of the series."""
        return int(self.runoff.sizes[self.layout.time_dim])

    @cached_property
    def memory(self) -> int:
        """Bytes for rows of chunks, beside the block that is being routed."""
        return self.room.for_rows(math.prod(self.lanes.each), self.block)

    @cached_property
    def direct(self) -> bool:
        """Whether blocks are whole chunks already."""
        of_time = self.source.fits(self.layout.time_dim, self._block_edges)
        return of_time and all(map(self.source.fits, self.lanes.dims, self.lanes.edges))

    @cached_property
    def folder(self) -> Path | None:
        """Where a scratch file is put, if one is needed and there is room."""
        if self.direct or self._rows_fit(0) or self._piece_too_large:
            return None
        return scratch_folder(int(self._row_bytes * (1 + self._straddles)), *([] if self.beside is None else [self.beside]))

    @cached_property
    def again(self) -> bool:
        """Whether chunks are read again and again: there is room for a row of them neither in memory nor on the disk."""
        return not (self.direct or self._rows_fit(0) or self.folder is not None)

    @property
    def ahead(self) -> bool:
        """Whether the next row is read while one is routed."""
        return self.direct or self.again or self._rows_fit(1)

    @cached_property
    def times_read(self) -> float:
        """How often a chunk is read."""
        if not self.again:
            return 1.0
        often = self.source.times_read(self.layout.time_dim, self._block_edges)
        for dim, edges in zip(self.lanes.dims, self.lanes.edges, strict=True):
            often *= self.source.times_read(dim, edges)
        return often

    def warn(self) -> None:
        """Say so, if chunks are read more than once, and what helps."""
        if self.times_read > 1.05:
            rows = (1 + self._straddles) * self._row_bytes
            more = show_bytes(1.1 * self.room.with_rows(math.prod(self.lanes.each), self.block, rows)).replace(" ", "")
            why = f"neither {argument('memory')} nor the disk for temporary files has room for a row of them"
            size, disk = self._row_bytes, "set TMPDIR to a local disk with so much room, "
            if self._piece_too_large:  # wherever it is kept, it is read first
                why, size, disk = f"{argument('memory')} has no room for what reading one takes", self._piece_bytes, ""
            warn(
                f"each chunk of the runoff is read {self.times_read:.1f} times: a block is {self.block} steps, its chunks are "
                f"longer, and {why} ({show_bytes(size)}). Give {argument('memory', more)}, {disk}or rechunk it along time first"
            )

    @cached_property
    def _block_edges(self) -> NDArray[np.int64]:
        return regular_edges(self.n_steps, self.block)

    @cached_property
    def _row_edges(self) -> NDArray[np.int64]:
        """Where rows end: at ends of blocks that are whole chunks, or else at ends of chunks, a block at least apart."""
        if self.direct or self.again or self.source.fits(self.layout.time_dim, self._block_edges):
            return self._block_edges
        return self._chunk_rows

    @cached_property
    def _chunk_rows(self) -> NDArray[np.int64]:
        found = [0]
        for edge in self.source.cuts(self.layout.time_dim, self.n_steps).tolist()[1:]:
            if edge - found[-1] >= self.block or edge == self.n_steps:
                found.append(edge)
        return np.array(found, np.int64)

    @property
    def _straddles(self) -> bool:
        """Whether some blocks take of two rows."""
        return not np.isin(self._chunk_rows, self._block_edges).all()

    @cached_property
    def _shared_edges(self) -> list[NDArray[np.int64]]:
        """By batch dimension, where both lanes and chunks end."""
        pairs = zip(self.lanes.dims, self.lanes.sizes, self.lanes.edges, strict=True)
        return [common_edges(self.source.cuts(d, n), edges) for d, n, edges in pairs]

    @cached_property
    def _gangs(self) -> list[tuple[Box, list[int]]]:
        """Members that are read together, and their lanes."""
        if self.direct or self.again:
            return [(self.lanes.box(k), [k]) for k in range(len(self.lanes))]
        cuts = [[slice(a, b) for a, b in itertools.pairwise(e.tolist())] for e in self._shared_edges]
        boxes = [dict(zip(self.lanes.dims, cell, strict=True)) for cell in itertools.product(*cuts)]
        return [(box, [k for k, own in enumerate(self.lanes.boxes) if overlap(own, box)]) for box in boxes]

    @cached_property
    def _bytes_of_step(self) -> int:
        """Bytes of a step of all reaches of a member."""
        return int(self.runoff.sizes[self.layout.reach_dim]) * self.dtype.itemsize

    @property
    def _row_bytes(self) -> int:
        """Bytes of the largest row."""
        members = int(np.prod([np.diff(edges).max(initial=1) for edges in self._shared_edges], dtype=int))
        return members * int(np.diff(self._chunk_rows).max(initial=1)) * self._bytes_of_step

    @property
    def _piece_too_large(self) -> bool:
        """Whether there is no room to read even a single chunk as a whole."""
        most = self.room.memory if self.room.decoding else max(self.memory, PIECE_BYTES)
        return self._piece_bytes > most

    @property
    def _piece_bytes(self) -> int:
        """Bytes that reading a single chunk takes."""
        chunk = math.prod(self.source.longest(d) or 1 for d in self.runoff.dims)
        return self.room.decoding or chunk * (self.runoff.dtype.itemsize + self.dtype.itemsize)

    def _rows_fit(self, ahead: int) -> bool:
        return (1 + self._straddles + ahead) * self._row_bytes <= self.memory

    # ── what is handed out ──────────────────────────────────────────────────────────────────────────────────────────

    def items(self, done: Sequence[int]) -> list[Item]:
        """Blocks in their order, of lanes that have so many steps behind them."""
        return [item for _, items in self._groups(done) for item in items]

    def _groups(self, done: Sequence[int]) -> Iterator[tuple[Row, list[Item]]]:
        """For each row, the blocks that end in it: of one lane after another."""
        ends = self._row_edges
        of_row = np.searchsorted(ends, self._block_edges[1:]) - 1
        for gang, (_, lanes) in enumerate(self._gangs):
            for number in range(max(0, ends.size - 1)):
                blocks = np.flatnonzero(of_row == number)
                steps = [slice(int(self._block_edges[b]), int(self._block_edges[b + 1])) for b in blocks]
                items = [Item(k, s) for k in lanes for s in steps if s.stop > done[k]]
                if items:
                    yield Row(gang, number), items

    def blocks(self, done: Sequence[int], *, meanwhile: bool) -> Generator[tuple[Item, xr.DataArray]]:
        """Blocks, in memory, one after another; ``meanwhile`` says whether the next may be read while one is routed."""
        groups = list(self._groups(done))
        with ExitStack() as stack, ThreadPoolExecutor(1, "xroute-read") as pool:
            if self.folder is None:
                yield from self._out_of_memory(groups, pool, meanwhile and self.ahead)
            else:
                yield from self._out_of_scratch(groups, pool, meanwhile, stack)

    def _rows_of(self, gang: int, items: Sequence[Item]) -> list[Row]:
        """Rows that some blocks take of."""
        first, last = min(i.steps.start for i in items), max(i.steps.stop for i in items)
        begin = int(np.searchsorted(self._row_edges, first, side="right")) - 1
        end = int(np.searchsorted(self._row_edges, last, side="left"))
        return [Row(gang, number) for number in range(begin, end)]

    def _steps(self, row: Row) -> slice:
        return slice(int(self._row_edges[row.number]), int(self._row_edges[row.number + 1]))

    def _read_row(self, row: Row) -> xr.DataArray:
        return self.read(self._gangs[row.gang][0], self._steps(row))

    # ── rows in memory ──────────────────────────────────────────────────────────────────────────────────────────────

    def _out_of_memory(
        self, groups: list[tuple[Row, list[Item]]], pool: ThreadPoolExecutor, ahead: bool
    ) -> Iterator[tuple[Item, xr.DataArray]]:
        rows: dict[Row, Future[xr.DataArray]] = {row: pool.submit(self._early.pop, row) for row in [*self._early]}
        needed = [*(self._rows_of(row.gang, items) for row, items in groups), []]

        def drop(kept: list[Row]) -> None:
            for old in [r for r in rows if not kept or r < kept[0]]:
                del rows[old]

        def want(some: list[Row]) -> None:
            for one in some:
                rows[one] = rows.get(one) or pool.submit(self._read_row, one)

        for (row, items), now, then in zip(groups, needed, needed[1:], strict=False):
            drop(now)
            want(now)
            if ahead:
                for one in now:
                    rows[one].result()
                want(then)
            for item in items:
                parts = [self._part(rows[r].result(), r, item) for r in self._rows_of(row.gang, [item])]
                if item is items[-1] and not ahead:
                    drop(then)  # before more is read
                whole = parts[0] if len(parts) == 1 else xr.concat(parts, self.layout.time_dim, **AS_THEY_ARE)
                del parts
                yield item, whole
                del whole

    def _part(self, values: xr.DataArray, row: Row, item: Item) -> xr.DataArray:
        """What a row has of a block."""
        steps, (box, _) = self._steps(row), self._gangs[row.gang]
        own = self.lanes.box(item.lane)
        at: dict[Hashable, slice] = {d: slice(own[d].start - box[d].start, own[d].stop - box[d].start) for d in own}
        begin, end = max(item.steps.start, steps.start), min(item.steps.stop, steps.stop)
        return values.isel({**at, self.layout.time_dim: slice(begin - steps.start, end - steps.start)})

    # ── rows on the disk ────────────────────────────────────────────────────────────────────────────────────────────

    def _out_of_scratch(
        self, groups: list[tuple[Row, list[Item]]], pool: ThreadPoolExecutor, meanwhile: bool, stack: ExitStack
    ) -> Iterator[tuple[Item, xr.DataArray]]:
        files: dict[Row, Scratch] = dict(self._early)
        self._early.clear()
        stack.callback(_close_all, files)
        for row, items in groups:
            needed = self._rows_of(row.gang, items)
            for old in [r for r in files if r < needed[0]]:
                files.pop(old).close()
            for one in needed:
                files[one] = files.get(one) or self._fill(one)
            coming: Future[xr.DataArray] | None = None
            for item, following in itertools.zip_longest(items, items[1:]):
                block = self._assembled(files, item) if coming is None else coming.result()
                ahead = meanwhile and following is not None
                coming = pool.submit(self._assembled, files, following) if ahead else None
                yield item, block
                del block

    def _cuts(self, row: Row) -> NDArray[np.int64]:
        """Steps at which a row is cut in its file: where blocks or chunks end."""
        steps = self._steps(row)
        edges = self.source.edges[self.layout.time_dim]
        cuts = np.union1d(self._block_edges, self._block_edges if edges is None else edges)
        return cuts[(cuts >= steps.start) & (cuts <= steps.stop)]

    def _fill(self, row: Row) -> Scratch:
        """Read a row into a file: of each lane and each part of the steps an array [*batch, row, time]."""
        assert self.folder is not None
        layout, (box, lanes), cuts = self.layout, self._gangs[row.gang], self._cuts(row)
        n_rows = int(self.runoff.sizes[layout.reach_dim])
        shapes = [(*self.lanes.shape(k), n_rows, int(n)) for k in lanes for n in np.diff(cuts)]
        file = Scratch(self.folder, shapes, self.dtype)
        try:
            part = {**box, layout.time_dim: self._steps(row), layout.reach_dim: slice(0, n_rows)}
            most = min(PIECE_BYTES, max(1, self.memory // 3))
            for piece in pieces_of(self.source, self.runoff.sizes, part, self.runoff.dtype.itemsize, most):
                read = in_order(self.runoff.isel(piece), layout.engine_dims).to_numpy()
                self._put(file, lanes, cuts, piece, read)
                del read  # before the next one comes
        except BaseException:
            file.close()
            raise
        return file

    def _put(self, file: Scratch, lanes: list[int], cuts: NDArray[np.int64], piece: Box, values: NDArray[Any]) -> None:
        """Put a piece [*batch, row, time] where its lanes and steps have their places."""
        steps = piece[self.layout.time_dim]
        first, last = (int(k) for k in np.searchsorted(cuts, [steps.start, steps.stop]))
        for n, lane in enumerate(lanes):
            own = self.lanes.box(lane)
            if not overlap(own, piece):
                continue
            both = {d: slice(max(own[d].start, piece[d].start), min(own[d].stop, piece[d].stop)) for d in own}
            of_piece = tuple(slice(s.start - piece[d].start, s.stop - piece[d].start) for d, s in both.items())
            of_lane = [slice(s.start - own[d].start, s.stop - own[d].start) for d, s in both.items()]
            for k in range(first, last):
                own_steps = slice(int(cuts[k]) - steps.start, int(cuts[k + 1]) - steps.start)
                part = values[of_piece][..., own_steps]
                file.put(n * (cuts.size - 1) + k, of_lane, piece[self.layout.reach_dim], part)

    def _assembled(self, files: dict[Row, Scratch], item: Item) -> xr.DataArray:
        """A block out of its rows' files."""
        layout, steps, found = self.layout, item.steps, []
        for row in [r for r in files if self._steps(r).start < steps.stop and self._steps(r).stop > steps.start]:
            cuts, n = self._cuts(row), self._gangs[row.gang][1].index(item.lane)
            inside = np.flatnonzero((cuts[:-1] >= steps.start) & (cuts[:-1] < steps.stop))
            found += [files[row].take(n * (cuts.size - 1) + int(k)) for k in inside]
        values = found[0] if len(found) == 1 else np.concatenate(found, axis=-1)
        labels = self.runoff.isel({**self.lanes.box(item.lane), layout.time_dim: steps}).coords
        return xr.DataArray(values, labels, layout.engine_dims, self.runoff.name, self.runoff.attrs)

    # ── a look at what comes ────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _early(self) -> dict[Row, Any]:
        """Rows that were read before their turn."""
        return {}

    def sample(self, n_steps: int, n_rows: int) -> NDArray[Any]:
        """Some rows of the first steps [*batch, row, time], of the first members; what is read for it is kept for its turn.

        Where that is too much to keep, some chunks are read for it alone.
        """
        n_steps, layout = min(n_steps, self.n_steps), self.layout
        n_rows = min(n_rows, int(self.runoff.sizes[layout.reach_dim]))
        rows = self._rows_of(0, [Item(self._gangs[0][1][0], slice(0, n_steps))])
        if self.folder is not None and len(rows) == 1:
            file = self._fill(rows[0])
            self._early[rows[0]] = file
            n_parts = int(np.searchsorted(self._cuts(rows[0]), n_steps))
            return np.concatenate([file.take(k, slice(0, n_rows)) for k in range(n_parts)], axis=-1)[..., :n_steps]
        part = {layout.reach_dim: slice(0, n_rows)}
        span = self._steps(rows[-1]).stop - self._steps(rows[0]).start
        members = math.prod(own.stop - own.start for own in self._gangs[0][0].values())
        fits = len(rows) == 1 or members * span * self._bytes_of_step <= self.memory
        if self.folder is None and not self.again and fits:
            read = [self._read_row(row) for row in rows]
            self._early.update(zip(rows, read, strict=True))
            taken = [in_order(values.isel(part), layout.engine_dims).to_numpy() for values in read]
            return np.concatenate(taken, axis=-1)[..., :n_steps]
        box = {**self._gangs[0][0], layout.time_dim: slice(0, n_steps), **part}
        return in_order(self.runoff.isel(box), layout.engine_dims).to_numpy()


def _close_all(files: dict[Row, Scratch]) -> None:
    for file in files.values():
        file.close()
