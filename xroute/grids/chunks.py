"""A grid on Dask times weights: a lazy array whose tasks take cells out of the grid's chunks, and sum them.

There is a task for each chunk of the other dimensions and each chunk of reaches, and one for each chunk of the grid that it needs
cells of; chunks of the grid in which no catchment has a cell are not computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from xroute.engine.arrays import compute_type
from xroute.engine.backends import backend_of_array
from xroute.grids.apply import Product, Steps, outer_axes, take
from xroute.grids.pieces import Pieces, make_pieces
from xroute.options import get_option, options_here

__all__ = ["remap_chunks"]

CHUNK_BYTES = 2**27
"""Of a chunk of the result, where the caller does not say how many reaches it has."""


def remap_chunks(data: Any, axes: Sequence[int], product: Product, steps: Steps, reach_chunks: int | None = None) -> Any:
    """Runoff by catchment, on Dask, of a grid that is.

    Parameters
    ----------
    data
        Array of Dask.
    axes
        Its axes of rows and columns, or of cells.
    product, steps
        What it is multiplied by, and labels along its other axes.
    reach_chunks
        Catchments of a chunk; by default all of them, unless chunks would be large.
    """
    outer, at = outer_axes(data.ndim, axes), min(axes)
    dtype = compute_type(data.dtype)
    of_outer = [data.chunks[k] for k in outer]
    sizes = _reach_sizes(product.table.n, of_outer, dtype.itemsize, reach_chunks)
    table, threads = product.table, get_option("threads")
    token = tokenize(
        data.name, tuple(axes), table.ids, table.pointer, table.row, table.column, product.weight, product.divisor,
        product.factor, product.nan, sizes, threads,
    )  # fmt: skip
    name, cells = f"xroute-remap-{token}", f"xroute-cells-{token}"
    edges = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    work: dict[Any, Any] = {}
    starts = [np.concatenate([[0], np.cumsum(c)[:-1]]).tolist() for c in of_outer]
    for r, (begin, end) in enumerate(itertools.pairwise(edges)):
        shape = [data.shape[k] for k in axes]
        pieces = make_pieces(product.part(slice(begin, end)), shape, [data.chunks[k] for k in axes], whole=True)
        key = f"weights-{token}", r
        work[key] = _Shared(pieces, tuple(axes), steps, threads)
        for number in itertools.product(*(range(len(c)) for c in of_outer)):
            blocks = [_block_key(data.name, outer, axes, number, piece.number) for piece in pieces.pieces]
            if len(blocks) > 1:
                taken = [(cells, r, *number, k) for k in range(len(blocks))]
                work.update({t: (take_piece, key, k, b) for k, (t, b) in enumerate(zip(taken, blocks, strict=True))})
                blocks = taken
            first = tuple(s[k] for s, k in zip(starts, number, strict=True))
            where = list(number)
            where.insert(outer_before(outer, at), r)
            work[(name, *where)] = (multiply_pieces, key, blocks, first)
    chunks = list(of_outer)
    chunks.insert(outer_before(outer, at), sizes)
    on_device = backend_of_array(data._meta) is not None
    meta = np.empty((0,) * len(chunks), dtype, **({"like": data._meta} if on_device else {}))
    graph = HighLevelGraph(
        {**data.dask.layers, name: MaterializedLayer(work)}, {**data.dask.dependencies, name: {data.name}}
    )
    return da.Array(graph, name, tuple(chunks), meta=meta)


class _Shared:
    """What the tasks of a chunk of reaches have in common."""

    def __init__(self, pieces: Pieces, axes: tuple[int, ...], steps: Steps, threads: int | None) -> None:
        self.pieces, self.axes, self.steps, self.threads = pieces, axes, steps, threads


def take_piece(shared: _Shared, k: int, block: Any) -> Any:
    """Task: the cells that are needed of a chunk of the grid."""
    piece = shared.pieces.pieces[k]
    with options_here(threads=shared.threads):
        return take(block, shared.axes, piece.row, piece.column)


def multiply_pieces(shared: _Shared, blocks: list[Any], first: tuple[int, ...]) -> Any:
    """Task: runoff by catchment, of the chunk of the grid, or of the cells that were taken out of several."""
    pieces, steps = shared.pieces, shared.steps.at(first)
    with options_here(threads=shared.threads):
        if len(pieces.pieces) == 1:
            return pieces.product(blocks[0], shared.axes, steps)
        return pieces.product_of(blocks, shared.axes, steps)


def outer_before(outer: Sequence[int], at: int) -> int:
    """How many axes that are not the grid's stand before an axis."""
    return sum(k < at for k in outer)


def _block_key(
    name: str, outer: Sequence[int], axes: Sequence[int], number: Sequence[int], of_grid: Sequence[int]
) -> tuple[Any, ...]:
    where = dict(zip((*outer, *axes), (*number, *of_grid), strict=True))
    return name, *(where[k] for k in sorted(where))


def _reach_sizes(n: int, of_outer: Sequence[Sequence[int]], itemsize: int, wanted: int | None) -> tuple[int, ...]:
    """Sizes of the chunks along reach."""
    steps = int(np.prod([max(c, default=1) for c in of_outer], dtype=np.int64))
    most = wanted or max(1, CHUNK_BYTES // max(1, steps * itemsize))
    if wanted is None and n:
        most = -(-n // -(-n // most))  # chunks of about one size
    return tuple(min(most, n - k) for k in range(0, n, most)) or (0,)
