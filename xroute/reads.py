"""What reading runoff costs: the chunks that it is stored in, and how to read each of them once.

A chunk is read and decoded as a whole, whatever is asked of it. `source_of` finds the chunks of an array, `read_part` reads whole
chunks into an array of the type that is wanted, some at a time. Which part to read when is the affair of `xroute.reader`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.files.decoding import PACKED_AS
from xroute.files.opening import stored_chunks
from xroute.lanes import Box, regular_edges

__all__ = ["Source", "decoding_bytes", "pieces_of", "read_dtype", "read_part", "source_of"]

PIECE_BYTES = 2**27
"""Runoff that is read at a time, in whole chunks; a chunk that is larger is read alone."""


@dataclass(frozen=True)
class Source:
    """Where chunks of runoff begin and end.

    Attributes
    ----------
    edges
        By dimension: 0, the ends of chunks, and the size. None where any part can be read by itself.
    """

    edges: Mapping[Hashable, NDArray[np.int64] | None]

    def longest(self, dim: Hashable) -> int | None:
        """Length of the longest chunk along a dimension."""
        edges = self.edges[dim]
        return None if edges is None or edges.size < 2 else int(np.diff(edges).max())

    def cuts(self, dim: Hashable, n: int) -> NDArray[np.int64]:
        """Edges along a dimension of ``n`` entries, each of them one where any part can be read."""
        edges = self.edges[dim]
        return np.arange(n + 1) if edges is None else edges

    def fits(self, dim: Hashable, cuts: NDArray[np.int64]) -> bool:
        """Whether parts that are cut at some edges are whole chunks."""
        edges = self.edges[dim]
        return edges is None or bool(np.isin(cuts, edges).all())

    def times_read(self, dim: Hashable, cuts: NDArray[np.int64]) -> float:
        """How often a chunk is read where parts, cut at some edges along a dimension, are read one by one."""
        edges = self.edges[dim]
        if edges is None or edges.size < 2 or cuts.size < 2:
            return 1.0
        first = np.searchsorted(edges, cuts[:-1], side="right") - 1
        last = np.searchsorted(edges, cuts[1:], side="left") - 1
        return float((last - first + 1).sum() / (edges.size - 1))


def source_of(runoff: xr.DataArray) -> Source:
    """Chunks of runoff on Dask, or of the file that it is read from."""
    if runoff.chunks is not None:
        return Source({d: np.concatenate([[0], np.cumsum(c)]).astype(np.int64) for d, c in runoff.chunksizes.items()})
    if runoff.variable._in_memory:
        return Source(dict.fromkeys(runoff.dims))
    keys = _keys(runoff)
    if keys is None:
        return Source(dict.fromkeys(runoff.dims))
    return Source({d: _stored_edges(runoff, d, keys[k]) for k, d in enumerate(runoff.dims)})


def _stored_edges(runoff: xr.DataArray, dim: Hashable, key: slice | None) -> NDArray[np.int64] | None:
    n, size = runoff.sizes[dim], stored_chunks(runoff).get(dim)
    if size is None:
        declared = runoff.encoding.get("preferred_chunks")
        return np.unique([0, n]) if declared or key is None else None  # of such a whole, any part takes all of it
    if key is None:
        return np.unique([0, n])
    return regular_edges(n, size, key.start % size if key.start else 0)


def _keys(runoff: xr.DataArray) -> list[slice | None] | None:
    """Which part of the file an array is, by dimension: a slice without steps, or None for entries picked out.

    xarray does not tell, so its lazy arrays are looked into; one that is of an unknown kind is taken to be all of its file.
    None for what is in another order than the file, of which nothing is known.
    """
    whole: list[slice | None] = [slice(0, n) for n in runoff.shape]
    array: Any = runoff.variable._data
    for _ in range(32):
        key = getattr(array, "key", None)
        parts = getattr(key, "tuple", None)
        if parts is not None:
            kept = [part for part in parts if not isinstance(part, int | np.integer)]
            if len(kept) != runoff.ndim or type(array).__name__ == "LazilyVectorizedIndexedArray":
                return None
            whole = [_within(one, part) for one, part in zip(whole, kept, strict=True)]
        if not type(array).__module__.startswith("xarray.") or not hasattr(array, "array"):
            break
        array = array.array
    return whole


def _within(inner: slice | None, outer: Any) -> slice | None:
    """The part that is taken of a part."""
    if inner is None or not isinstance(outer, slice) or outer.step not in (None, 1):
        return None
    begin = outer.start or 0
    return slice(begin + inner.start, begin + inner.stop)


def read_dtype(runoff: xr.DataArray) -> np.dtype[Any]:
    """Type that runoff is best read as: float32 for whole numbers that are packed in 32 bits or fewer, and else its own.

    xarray makes float64 of them (of most), twice the memory for digits that runoff does not have.
    """
    packed = _packed_as(runoff)
    return runoff.dtype if packed is None or packed.itemsize > 4 else np.dtype(np.float32)


def _packed_as(runoff: xr.DataArray) -> np.dtype[Any] | None:
    """Type of the whole numbers that float64 runoff is packed in, in the file that it is read from; None for others."""
    packed = runoff.encoding.get("dtype")
    in_memory = runoff.chunks is None and runoff.variable._in_memory
    if in_memory or packed is None or runoff.dtype != np.float64:
        return None
    try:
        stored = np.dtype(packed)
    except TypeError:
        return None
    return stored if set(PACKED_AS[1:]) & set(runoff.encoding) and stored.kind in "iu" else None


def _itemsize(runoff: xr.DataArray) -> int:
    """Bytes that a value takes while it is read: of a packed one with all that is made of it on the way, as was measured.

    Stored, decompressed and put in its place; then masked, filled and scaled, in float64 each.
    """
    packed = _packed_as(runoff)
    return runoff.dtype.itemsize if packed is None else 6 * packed.itemsize + 25


def decoding_bytes(runoff: xr.DataArray, source: Source) -> int:
    """Bytes that are needed beside what is read while a large chunk of packed runoff is decoded; 0 where pieces are small."""
    if runoff.chunks is not None or _packed_as(runoff) is None:
        return 0
    needed = _itemsize(runoff) * math.prod(source.longest(d) or runoff.sizes[d] for d in runoff.dims)
    return needed if needed > PIECE_BYTES else 0


def pieces_of(
    source: Source, sizes: Mapping[Hashable, int], part: Box, itemsize: int, most: int
) -> Iterator[dict[Hashable, slice]]:
    """Parts of a part of runoff, in whole chunks of it, of about ``most`` bytes.

    They grow along the last of the dimensions in ``part`` first; those that ``part`` does not have are read whole.
    """
    cuts: dict[Hashable, list[int]] = {}
    for dim, wanted in part.items():
        edges = source.cuts(dim, sizes[dim])
        inside = edges[(edges > wanted.start) & (edges < wanted.stop)]
        cuts[dim] = [wanted.start, *inside.tolist(), wanted.stop]
    size = itemsize * math.prod(n for d, n in sizes.items() if d not in part)
    size *= math.prod(max(1, max(np.diff(c), default=1)) for c in cuts.values())
    for dim in reversed(list(cuts)):
        ends = cuts[dim]
        step = max(1, int(min(len(ends) - 1, most // max(1, size))))
        if step > 1:
            cuts[dim] = [*ends[:-1:step], ends[-1]]
            size *= step
    ranges = [[slice(a, b) for a, b in itertools.pairwise(ends)] for ends in cuts.values()]
    return (dict(zip(cuts, cell, strict=True)) for cell in itertools.product(*ranges))


def read_part(
    runoff: xr.DataArray, source: Source, part: Box, dtype: np.dtype[Any], most: int = PIECE_BYTES
) -> xr.DataArray:
    """A part of runoff, in memory, as some type; pieces of whole chunks are converted one by one."""
    taken = runoff.isel(part)
    in_memory = runoff.chunks is None and runoff.variable._in_memory
    if taken.dtype == dtype or in_memory or taken.size * _itemsize(runoff) <= most:
        return taken.load().astype(dtype, copy=False, keep_attrs=True)
    values = np.empty(taken.shape, dtype)
    for piece in pieces_of(source, runoff.sizes, {**_whole(runoff), **part}, _itemsize(runoff), most):
        at = tuple(
            slice(piece[d].start - part[d].start, piece[d].stop - part[d].start) if d in part else piece[d]
            for d in runoff.dims
        )
        values[at] = runoff.isel(piece).to_numpy()
    return xr.DataArray(values, taken.coords, taken.dims, taken.name, taken.attrs)


def _whole(runoff: xr.DataArray) -> dict[Hashable, slice]:
    return {d: slice(0, n) for d, n in runoff.sizes.items()}
