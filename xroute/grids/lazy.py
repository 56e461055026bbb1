"""A grid that was opened lazily, without Dask, times weights: read and multiplied when it is asked for, and no more than that."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from xroute.engine.arrays import compute_type
from xroute.exceptions import some, warn
from xroute.files.opening import stored_chunks
from xroute.grids.apply import Product, Steps, result_shape
from xroute.grids.pieces import Pieces, make_pieces
from xroute.guards import reading
from xroute.memory import show_bytes

__all__ = ["lazy_variable"]

READ_BYTES = 2**27
"""Of the grid that are read in one go, where its chunks are not larger."""
MOST_BYTES = 2**30
"""Likewise, where its chunks are larger."""


def lazy_variable(grid: xr.DataArray, dims: tuple[Hashable, ...], product: Product, steps: Steps) -> xr.Variable:
    """Variable of a grid's runoff by catchment, of which nothing is read yet."""
    array = _Remapped(grid.variable, tuple(grid.dims.index(d) for d in dims), product, steps)
    new = [("reach" if k == min(array.axes) else d) for k, d in enumerate(grid.dims) if k == min(array.axes) or d not in dims]
    lazy: Any = indexing.LazilyIndexedArray(array)
    data = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))
    variable = xr.Variable(new, data, fastpath=True)
    own = stored_chunks(grid.variable)
    chunks = {d: own[d] for d in grid.dims if d in own and d not in dims}
    if chunks:
        variable.encoding["preferred_chunks"] = {**chunks, "reach": max(1, product.table.n)}
    return variable


class _Remapped(BackendArray):
    """Runoff by catchment, as an array that xarray indexes before it is read."""

    def __init__(self, grid: xr.Variable, axes: tuple[int, ...], product: Product, steps: Steps) -> None:
        self.grid, self.axes, self.product, self.steps = grid, axes, product, steps
        self.shape = result_shape(grid.shape, axes, product.table.n)
        self.dtype = compute_type(grid.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._get)

    def _get(self, key: tuple[Any, ...]) -> NDArray[Any]:
        reach = min(self.axes)
        wanted = [_positions(k, n) for k, n in zip(key, self.shape, strict=True)]
        whole = wanted[reach].size == self.product.table.n and isinstance(key[reach], slice) and (key[reach].step or 1) == 1
        pieces = self._pieces if whole else self._made_pieces(self.product.part(wanted[reach]))
        result = np.empty([w.size for w in wanted], self.dtype)
        outer = [k for k in range(self.grid.ndim) if k not in self.axes]
        places = [k for k in range(result.ndim) if k != reach]
        for ranges in self._blocks([wanted[k] for k in places], outer, pieces):
            at: list[Any] = [slice(None)] * result.ndim
            isel: dict[Any, Any] = {}
            first = []
            for place, axis, part in zip(places, outer, ranges, strict=True):
                at[place] = part
                taken = wanted[place][part]
                isel[self.grid.dims[axis]] = _as_slice(taken)
                first.append(int(taken[0]))
            result[tuple(at)] = pieces.multiply(partial(self._read, isel), self.axes, self.steps.at(first))
        squeezed = tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)
        return result[squeezed]

    def _read(self, isel: Mapping[Any, Any], tile: Sequence[slice]) -> NDArray[Any]:
        of_tile = {self.grid.dims[a]: s for a, s in zip(self.axes, tile, strict=True)}
        with reading("the grid"):
            return self.grid.isel({**isel, **of_tile}).to_numpy()

    @cached_property
    def _pieces(self) -> Pieces:
        """Pieces for all catchments, which blocks of a stream ask for one after another."""
        return self._made_pieces(self.product)

    def _made_pieces(self, product: Product) -> Pieces:
        return make_pieces(product, [self.grid.shape[a] for a in self.axes], self._tiles())

    def _tiles(self) -> list[tuple[int, ...]]:
        """The grid's own chunks along its axes; one where they are not known."""
        own = stored_chunks(self.grid)
        return [_even(self.grid.shape[a], own.get(self.grid.dims[a])) for a in self.axes]

    def _blocks(self, wanted: list[NDArray[np.int64]], outer: list[int], pieces: Pieces) -> Iterator[tuple[slice, ...]]:
        """Parts of what is wanted along each other dimension, which end where the grid's chunks end, and are not too large.

        A chunk that would be too large with all others beside it is read in parts, several times, and a warning says so.
        """
        own = stored_chunks(self.grid)
        chunks = [max(1, own.get(self.grid.dims[axis], 1)) for axis in outer]
        budget = max(1, READ_BYTES // max(1, pieces.cells_read * self.grid.dtype.itemsize))
        size = list(chunks)
        for k in reversed(range(len(size))):  # the last ones lie closest together
            others = int(np.prod([s for j, s in enumerate(size) if j != k], dtype=np.int64))
            size[k] = max(size[k], budget // max(1, others) // chunks[k] * chunks[k])
        a_step = max(1, pieces.cells_read * self.grid.dtype.itemsize)
        row = a_step * math.prod(chunks)
        while max(size, default=1) > 1 and a_step * math.prod(size) > MOST_BYTES:  # rather read a chunk twice
            k = size.index(max(size))
            size[k] = -(-size[k] // 2)
        parts = [_parts(w, s, c) for w, s, c in zip(wanted, size, chunks, strict=True)]
        in_chunks = [_parts(w, max(s, c), c) for w, s, c in zip(wanted, size, chunks, strict=True)]
        often = math.prod(map(len, parts)) / max(1, math.prod(map(len, in_chunks)))
        if often > 1:
            warn(
                f"each chunk of the grid is read {often:.1f} times: those of all its cells that catchments need are "
                f"{show_bytes(row)} together, and at most {show_bytes(MOST_BYTES)} are read at a time. Rechunk the grid first, "
                f"into chunks that are shorter along {some([self.grid.dims[a] for a in outer])}"
            )
        yield from itertools.product(*parts)


def _positions(key: Any, n: int) -> NDArray[np.int64]:
    if isinstance(key, slice):
        return np.arange(n)[key]
    return np.atleast_1d(np.asarray(key, np.int64)) % max(1, n)


def _as_slice(positions: NDArray[np.int64]) -> Any:
    """The same positions as a slice, if they follow one another."""
    if positions.size and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions


def _parts(positions: NDArray[np.int64], size: int, chunk: int) -> list[slice]:
    """Slices of positions that lie in the same block of ``size``: of whole chunks, or of a part of one chunk."""
    if not positions.size:
        return []
    block = positions // size if size >= chunk else positions // chunk * chunk + positions % chunk // size
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), positions.size]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _even(n: int, size: int | None) -> tuple[int, ...]:
    size = n if not size else min(size, n)
    return tuple(min(size, n - k) for k in range(0, n, size)) if n else (0,)
