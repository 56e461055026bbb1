"""Chunks of a stream: how many steps and members are routed at a time, and how the store of discharge is cut."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, some, warn
from xroute.labels import Layout
from xroute.lanes import Lanes
from xroute.memory import show_bytes
from xroute.reads import Source
from xroute.run import Run
from xroute.stores import DISCHARGE
from xroute.wording import argument

__all__ = ["Room", "check_encoding", "choose_chunks"]

BLOCK_BYTES = 2**27
"""Runoff of a block, where neither the caller nor the chunks of runoff say more."""
BLOCKS, STATES = 6, 4
"""Blocks of runoff or discharge, and states, that are in memory at once: read ahead, routed, made, ordered and written."""
FEW_STEPS = 4
"""Steps of a block for which a row of chunks is rather kept in memory than in a scratch file."""
LANE_STEPS = 16
"""Steps that a block has at least where members are routed one lane after another: each ends with its state's being written."""
CHUNK_BYTES = 2**23
"""Discharge of a chunk of the store, likewise."""


def check_encoding(encoding: Mapping[str, Any] | None, time_chunk: Any) -> dict[str, Any]:
    """Encoding of discharge, which a user gives by itself or under its name."""
    whole = isinstance(time_chunk, (int, np.integer)) and not isinstance(time_chunk, bool)
    if time_chunk is not None and (not whole or time_chunk < 1):
        raise ParameterError(f"time_chunk is a positive whole number or None, not {time_chunk!r}")
    if encoding is not None and not isinstance(encoding, Mapping):
        raise ParameterError(f"encoding is a mapping, as for xarray.Dataset.to_zarr, not {encoding!r}")
    encoding = dict(encoding or {})
    others = set(encoding) - {DISCHARGE}
    if DISCHARGE in encoding and others:
        raise ParameterError(f"encoding is of {DISCHARGE} only, not of {some(sorted(others, key=str))}")
    return dict(encoding.get(DISCHARGE, encoding))


@dataclass(frozen=True)
class Room:
    """What a block may take, and what it takes.

    Attributes
    ----------
    memory
        Bytes for all that a block needs.
    step
        Bytes of a step of all reaches of a member, of runoff or discharge.
    state
        Bytes of a member's state.
    workers
        Processes that share a block.
    ahead
        Steps that are looked at together before anything is routed, if any are.
    decoding
        Bytes that are taken beside blocks while chunks are decoded.
    """

    memory: int
    step: int
    state: int
    workers: int = 1
    ahead: int = 0
    decoding: int = 0

    @classmethod
    def of(
        cls, run: Run, runoff: xr.DataArray, itemsize: int, memory: int, workers: int, decoding: int = 0
    ) -> Room:
        """Room for the blocks of a run, whose runoff and discharge have values of so many bytes."""
        reach_dim = run.layout.reach_dim
        rows = max(1, runoff.sizes[reach_dim], run.layout.sizes[reach_dim])
        of_state = 8 * sum(own.size + int(own.sum()) for own in run.n_lags.values())
        ahead = 0 if run.watch is None else run.watch.ahead
        return cls(memory, rows * itemsize, of_state, workers, ahead, decoding)

    @property
    def free(self) -> int:
        """Bytes for blocks: what decoding leaves, and something where it leaves nothing."""
        return max(self.memory - self.decoding, self.memory // 8)

    def needed(self, members: int, steps: int) -> int:
        """Bytes that a block of so many members and steps needs."""
        return members * (STATES * self.state + BLOCKS * self.step * steps)

    def steps(self, members: int) -> int:
        """Steps for which there is room."""
        members = max(1, members)
        left = self.workers * self.free - STATES * self.state * members
        return max(1, left // max(1, BLOCKS * self.step * members))

    def for_rows(self, members: int, steps: int) -> int:
        """Bytes for rows of chunks of which blocks are taken, beside such blocks; negative where these alone are too large."""
        return self.free - self._beside_rows(members, steps)

    def with_rows(self, members: int, steps: int, rows: int) -> int:
        """Bytes with which there would be room for rows of chunks of so many bytes, beside such blocks."""
        return self.decoding + self._beside_rows(members, steps) + rows

    def _beside_rows(self, members: int, steps: int) -> int:
        """Bytes of all that a block needs but its runoff, which is in the rows."""
        return self.needed(members, steps) - self.step * members * steps

    def steps_beside(self, members: int, row: int) -> int:
        """Steps of blocks for which there is room beside the row of chunks, of so many steps, that they are taken of."""
        members = max(1, members)
        left = self.free - members * (STATES * self.state + self.step * row)
        return max(0, left // max(1, (BLOCKS - 1) * self.step * members))

    def check(self, members: int, steps: int) -> None:
        """Warn of a block for which there is no room: nothing smaller can be routed."""
        needed = self.needed(members, steps) + self.decoding
        if needed > self.workers * self.memory:
            given = show_bytes(self.memory)
            warn(
                f"{argument('memory')} of {given} is too little: a block of {steps} steps of {members} members takes some "
                f"{show_bytes(needed)}, and is routed all the same"
            )


def choose_chunks(
    layout: Layout,
    source: Source,
    n_steps: int,
    encoding: dict[str, Any],
    time_chunk: int | None,
    itemsize: int,
    room: Room,
) -> tuple[dict[str, Any], int, Lanes]:
    """Encoding with chunks; the steps of a block: whole chunks (or shards) along time; and the lanes of members.

    Parameters
    ----------
    layout, source, n_steps
        Of the run; chunks and steps of what it routes.
    encoding
        Of `check_encoding`; sizes of chunks and shards are in the order of discharge's dimensions.
    time_chunk
        Steps of a block, as the user gives them.
    itemsize
        Bytes of a value of discharge.
    room
        What there is room for.
    """
    _check_sizes(layout, encoding)
    stored = dict(
        zip(layout.dims, encoding.get("shards") or encoding.get("chunks") or (1,) * len(layout.dims), strict=True)
    )
    lanes = _lanes(layout, source, stored, min(n_steps, time_chunk or max(LANE_STEPS, stored[layout.time_dim])), room)
    members = math.prod(lanes.each)
    block = time_chunk or _steps_within(members, len(lanes) > 1, source, layout.time_dim, n_steps, room)
    block = min(block, max(1, n_steps))
    if encoding.get("chunks") is None and encoding.get("shards") is not None:
        encoding = {**encoding, "chunks": tuple(encoding["shards"])}
    if encoding.get("chunks") is None:
        rows = int(layout.sizes[layout.reach_dim])
        along = block if time_chunk is not None or room.workers == 1 else max(1, block // room.workers)
        across = max(1, min(max(1, rows), CHUNK_BYTES // (along * itemsize)))
        sizes = {layout.time_dim: along, layout.reach_dim: across}
        encoding = {**encoding, "chunks": tuple(sizes.get(d, 1) for d in layout.dims)}
    granule = int((encoding.get("shards") or encoding["chunks"])[layout.dims.index(layout.time_dim)])
    block = max(granule, block // granule * granule)
    room.check(members, min(block, max(1, n_steps)))
    return encoding, block, lanes


def _check_sizes(layout: Layout, encoding: Mapping[str, Any]) -> None:
    for name in ("chunks", "shards"):
        sizes = encoding.get(name)
        if sizes is not None and not (
            isinstance(sizes, (tuple, list))
            and len(sizes) == len(layout.dims)
            and all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes)
        ):
            raise ParameterError(
                f"encoding: {name} are positive whole numbers, one for each of {layout.dims}, not {sizes!r}"
            )


def _lanes(layout: Layout, source: Source, stored: Mapping[Any, int], steps: int, room: Room) -> Lanes:
    """As many members in a lane as there is room for, with some steps of them: in whole chunks of runoff, where that can be.

    Chunks of the store are whole in any case.
    """
    each = {d: max(1, int(layout.sizes[d])) for d in layout.batch_dims}
    if room.workers > 1:
        return Lanes.one(layout.batch_dims, layout.batch_shape)
    read = {d: source.longest(d) or 1 for d in each}
    for granules in ({d: math.lcm(read[d], stored[d]) for d in each}, {d: stored[d] for d in each}):
        for dim, granule in granules.items():
            others = math.prod(n for d, n in each.items() if d != dim)
            most = room.free // max(1, room.needed(others, steps))
            if most < each[dim]:
                each[dim] = min(each[dim], max(granule, most // granule * granule))
        if room.needed(math.prod(each.values()), steps) <= room.free:
            break
    return Lanes(layout.batch_dims, layout.batch_shape, tuple(each.values()))


def _steps_within(members: int, several: bool, source: Source, time_dim: Any, n_steps: int, room: Room) -> int:
    """Steps of a block of so many members: whole chunks of the source, where that can be."""
    fit = room.steps(members)
    most = max(1, room.workers * BLOCK_BYTES // max(1, room.step * members))
    most = min(fit, max(most, LANE_STEPS if several else 1, room.ahead))
    chunk = source.longest(time_dim)
    if not chunk:
        return most
    if chunk <= most:
        return most // chunk * chunk
    if chunk <= fit or room.workers > 1 and chunk <= 4 * most:
        return chunk
    beside = 0 if room.workers > 1 else room.steps_beside(members, chunk)
    most = min(most, beside) if beside >= min(most, FEW_STEPS) else most
    equal = [n for n in range(max(1, most // 2), most + 1) if chunk % n == 0]
    return equal[-1] if equal else most  # with equal ones, no block takes of two rows of chunks
