"""Pieces of a grid that hold the cells which catchments need: what nobody needs is not read.

A grid is chunked along its own dimensions too. The cells that are needed are taken out of each chunk, and put side by side; the
sums over them are the same, in the same order, as over the whole grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.grids.apply import Product, Steps, take

__all__ = ["Piece", "Pieces", "make_pieces"]

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of the grid, and the cells in it that are needed.

    Attributes
    ----------
    number
        Number of the chunk along each of the grid's dimensions.
    place
        Where it lies along them.
    row, column
        Cells that are needed, by their positions in it; of cells along one dimension the row is 0.
    """

    number: tuple[int, ...]
    place: tuple[slice, ...]
    row: Index
    column: Index


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of the grid, and the product of their cells.

    Attributes
    ----------
    pieces
        The pieces that are needed.
    product
        Of the one piece as it is, or of the cells taken out of several, side by side in their order.
    """

    pieces: tuple[Piece, ...]
    product: Product

    @property
    def cells_read(self) -> int:
        """Cells of all pieces."""
        return sum(int(np.prod([s.stop - s.start for s in piece.place])) for piece in self.pieces)

    def multiply(self, read: Callable[[tuple[slice, ...]], Any], axes: Sequence[int], steps: Steps) -> Any:
        """The product, of what ``read`` gives of each piece."""
        if len(self.pieces) == 1:
            return self.product(read(self.pieces[0].place), axes, steps)
        return self.product_of([take(read(p.place), axes, p.row, p.column) for p in self.pieces], axes, steps)

    def product_of(self, taken: Sequence[Any], axes: Sequence[int], steps: Steps) -> Any:
        """The product, of the cells that were taken out of each piece."""
        at = min(axes)
        cells = taken[0] if len(taken) == 1 else np.concatenate(taken, axis=at)  # of cupy too
        return self.product(cells, (at,), steps)


def make_pieces(product: Product, sizes: Sequence[int], chunks: Sequence[Sequence[int]], *, whole: bool = False) -> Pieces:
    """Cut a grid of some sizes into pieces, of which those without weights are left out.

    Parameters
    ----------
    product
        For cells by their positions in the whole grid.
    sizes, chunks
        Of the grid, along each of its dimensions: one or two.
    whole
        Whether pieces are whole chunks, as those of Dask are; else most chunks together are one piece.
    """
    table = product.table
    n_columns = int(sizes[-1])
    edges = [np.concatenate([[0], np.cumsum(c)]) for c in chunks]
    if len(edges) == 1:
        edges = [np.array([0, 1]), edges[0]]
    needed = np.zeros((int(edges[0][-1]), n_columns), bool)
    needed[table.row, table.column] = True
    numbers = [
        (i, j) for i, j in itertools.product(*(range(e.size - 1) for e in edges))
        if needed[edges[0][i] : edges[0][i + 1], edges[1][j] : edges[1][j + 1]].any()
    ] or [(0, 0)]  # fmt: skip
    if not whole:
        spans = [_span(np.asarray(needed.any(axis=k))) for k in (1, 0)]
        tiles = [int(((e[:-1] < s.stop) & (e[1:] > s.start)).sum()) for e, s in zip(edges, spans, strict=True)]
        if 2 * len(numbers) > tiles[0] * tiles[1]:
            return _one(product, len(chunks), (0, 0), spans)
    if len(numbers) == 1:
        (i, j) = numbers[0]
        return _one(product, len(chunks), (i, j), [slice(int(e[k]), int(e[k + 1])) for e, k in zip(edges, (i, j), strict=True)])
    order = np.full(needed.shape, -1, np.int64)
    pieces, n = [], 0
    for number in numbers:
        place = tuple(slice(int(e[k]), int(e[k + 1])) for e, k in zip(edges, number, strict=True))
        row, column = np.nonzero(needed[place])
        order[place][row, column] = n + np.arange(row.size)
        n += row.size
        pieces.append(Piece(number[-len(chunks) :], place[-len(chunks) :], row, column))
    return Pieces(tuple(pieces), product.at(np.zeros(table.row.size, np.int64), order[table.row, table.column]))


def _one(product: Product, n_dims: int, number: tuple[int, int], place: Sequence[slice]) -> Pieces:
    """One piece, whose cells need not be taken out of it."""
    table = product.table
    none = np.zeros(0, np.int64)
    moved = product.at(table.row - place[0].start, table.column - place[1].start)
    return Pieces((Piece(number[-n_dims:], tuple(place)[-n_dims:], none, none),), moved)


def _span(needed: NDArray[np.bool_]) -> slice:
    found = np.flatnonzero(needed)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, min(1, needed.size))
