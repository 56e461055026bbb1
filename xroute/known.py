"""`KnownDischarge`: discharge that is known on some reaches (gauges, releases, another model's outflow), matched with a run.

Ids, times and members have been matched by label (`xroute.known_match`) before anything is read; values are read block by
block, in memory or on Dask. What becomes of them is the engine's affair (`xroute.engine.arrays.Known`): they replace what would
be routed on their reaches, and go on downstream.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.census import check_known
from xroute.engine.arrays import Known
from xroute.engine.backends import on_host
from xroute.guards import reading
from xroute.identity import digest
from xroute.labels import in_order
from xroute.lanes import Box

__all__ = ["WHAT", "KnownDischarge", "KnownOnDask", "KnownRows"]

Index = NDArray[np.int64]
WHAT = "known discharge"
"""What it is called in messages."""


@dataclass(frozen=True, eq=False)
class KnownDischarge:
    """Known discharge as a run takes it.

    Attributes
    ----------
    array : (..., reach, time)
        As it was given, its members in the run's order; of the batch dimensions it may lack some.
    reach : int64 [known]
        Positions of its reaches in the network.
    step : int64 [step of the run]
        Where each step of the run stands in ``array``; -1 where it has none.
    dims : tuple of str
        The run's batch dimensions that ``array`` has, its reach dimension, and its time dimension or None.
    batch_shape : mapping
        Sizes of the run's batch dimensions, in their order.
    factor
        What makes the run's units of flux of its values.
    ids, times
        Labels of its reaches and of the run's steps, for messages.
    """

    array: xr.DataArray
    reach: Index
    step: Index
    dims: tuple[tuple[Hashable, ...], Hashable, Hashable | None]
    batch_shape: Mapping[Hashable, int]
    factor: float
    ids: NDArray[Any]
    times: NDArray[Any]

    def of_members(self, part: Box) -> KnownDischarge:
        """Of some of the run's members alone."""
        own = {d: s for d, s in part.items() if d in self.dims[0]}
        sizes = {d: part[d].stop - part[d].start if d in part else n for d, n in self.batch_shape.items()}
        return replace(self, array=self.array.isel(own), batch_shape=sizes)

    @property
    def has(self) -> tuple[bool, ...]:
        """Of each batch dimension of the run whether there is one here."""
        return tuple(d in self.dims[0] for d in self.batch_shape)

    @property
    def identity(self) -> str:
        """Hash of what another run must share to go on in this one's place: labels and units; values are not read."""
        batch = [(d, self.array[d].values) for d in self.dims[0] if d in self.array.coords]
        return digest(self.ids, self.step >= 0, self.factor, self.dims[0], batch)

    def block(self, first: int, n: int) -> Known:
        """Values of ``n`` steps from step ``first`` on, read now.

        Raises
        ------
        XRouteError
            For values that are infinite or stand for what is missing, such as -999, naming reaches and the first time.
        """
        at = self.step[first : first + n]
        there = at >= 0
        batch, reach_dim, time_dim = self.dims
        with reading(f"the {WHAT}"):
            part = self.array if time_dim is None else self.array.isel({time_dim: _as_slice(at[there])})
            order = (*batch, reach_dim, *(() if time_dim is None else (time_dim,)))
            data = np.asarray(on_host(in_order(part, order).data), np.float64)
        values = np.full((*data.shape[: len(batch) + 1], n), np.nan)
        values[..., there] = (data[..., None] if time_dim is None else data) * self.factor
        values = as_members(values, self.has, tuple(self.batch_shape.values()))
        check_known(values, self.ids, lambda: self.times[first : first + n], self.factor)
        return Known(self.reach, values)

    def on_dask(self, first: int, of_batch: Sequence[tuple[int, ...]], of_time: tuple[int, ...]) -> KnownOnDask:
        """Values from step ``first`` on, in chunks of these sizes along each batch dimension of the run and along time."""
        import dask.array as da

        batch, reach_dim, time_dim = self.dims
        own = (sizes for d, sizes in zip(self.batch_shape, of_batch, strict=True) if d in batch)
        at = self.step[first : first + sum(of_time)]
        array = self.array.transpose(*batch, reach_dim, *(() if time_dim is None else (time_dim,)))
        if array.chunks is None:
            in_memory = array.variable._in_memory
            array = array.copy(data=da.from_array(on_host(array.data), chunks=-1)) if in_memory else array.chunk()
        data = array.data[..., None] if time_dim is None else array.data
        values = da.where(at >= 0, data[..., np.maximum(at, 0)].astype(np.float64) * self.factor, np.nan)
        return KnownOnDask(values.rechunk((*own, (self.reach.size,), of_time)), self.has)

    def of_series(self, of_batch: Sequence[tuple[int, ...]] | None, of_time: tuple[int, ...]) -> xr.DataArray:
        """Values (..., reach, time) of all steps, with the batch dimensions that there are; on Dask in chunks of these sizes.

        Without sizes along the batch dimensions they are read now.
        """
        names = [d for d, there in zip(self.batch_shape, self.has, strict=True) if there]
        if of_batch is not None:
            return xr.DataArray(self.on_dask(0, of_batch, of_time).array, dims=(*names, "reach", "time"))
        values = self.block(0, sum(of_time)).values
        every = (*self.batch_shape,) if names else ()
        shape = tuple(self.batch_shape.values()) if names else ()
        return xr.DataArray(values.reshape(*shape, *values.shape[1:]), dims=(*every, "reach", "time"))

    def rows_of(self, reaches: Index) -> KnownRows | None:
        """Which of the reaches are some, by their positions in the network; None where none is."""
        order = np.argsort(reaches)
        at = np.searchsorted(reaches, self.reach, sorter=order).clip(max=max(0, reaches.size - 1))
        rows = np.flatnonzero(reaches[order[at]] == self.reach) if reaches.size else np.empty(0, np.int64)
        return KnownRows(order[at[rows]], rows, self.has, self.ids[rows], self.factor) if rows.size else None


@dataclass(frozen=True, eq=False)
class KnownOnDask:
    """Known discharge [*batch dimensions that there are, known, time] on Dask; ``has`` says of the run's which there are."""

    array: Any
    has: tuple[bool, ...]

    def key(self, members: tuple[int, ...], of_time: int) -> tuple[Any, ...]:
        """Key of a block, by the number of its chunk along each batch dimension of the run and along time."""
        return self.array.name, *(i for i, there in zip(members, self.has, strict=True) if there), 0, of_time


@dataclass(frozen=True, eq=False)
class KnownRows:
    """What of known discharge is a partition's.

    Attributes
    ----------
    reach : int64
        Positions of the reaches in the partition.
    rows : int64
        Their rows among all that are known.
    has
        Of each batch dimension of the run whether known discharge has it.
    ids
        Of the reaches, for messages.
    factor
        What values were multiplied by.
    """

    reach: Index
    rows: Index
    has: tuple[bool, ...]
    ids: NDArray[Any]
    factor: float

    def of_block(self, block: Any, shape: tuple[int, ...], times: NDArray[Any]) -> Known:
        """Known discharge of a block of all that is known, of so many members along each batch dimension."""
        values = as_members(np.ascontiguousarray(on_host(block)[..., self.rows, :]), self.has, shape)
        check_known(values, self.ids, lambda: times, self.factor)
        return Known(self.reach, values)


def as_members(values: Any, has: tuple[bool, ...], shape: tuple[int, ...]) -> Any:
    """Values [*batch dimensions that there are, known, time] as [member, known, time]: one member, where there are none.

    ``has`` says of each batch dimension of the run whether values have it, and ``shape`` is how long it is.
    """
    if not any(has):
        return values[None]
    own = iter(values.shape)
    sizes = [next(own) if there else 1 for there in has]
    whole = np.broadcast_to(values.reshape(*sizes, *values.shape[-2:]), (*shape, *values.shape[-2:]))
    return whole.reshape(-1, *whole.shape[-2:])


def _as_slice(at: Index) -> Any:
    """The same positions as a slice, if they are one: then files are read by it."""
    if at.size and at[-1] - at[0] == at.size - 1 and (np.diff(at) == 1).all():
        return slice(int(at[0]), int(at[-1]) + 1)
    return at
