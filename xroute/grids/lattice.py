"""Grids of meridians and parallels: their cells, and what each has in common with catchments, exactly and without geometry.

The edge of a catchment is cut where it crosses a line of the grid. A piece of it adds to its own cell the area between itself and
the cell's lower side, and to all cells below it, in its column, their whole height over its width; pieces that run eastwards
count plus, others minus. What is left at the end in a cell is what the catchment has of it, whatever its shape: no cell is made
into a polygon, and no intersection is looked for.

Lines are kept in a form of their own (degrees in [0, 360), rounded to 1e-11 degrees, a micrometre), so that a grid gives the same
numbers, bit for bit, whichever convention its longitudes follow, wherever it is cut open and whichever way its rows go.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.earth import SEMI_MAJOR, height_between
from xroute.engine.kernels import kernel
from xroute.exceptions import AlignmentError, some
from xroute.grids.authalic import below_edge, cell_areas
from xroute.grids.polygons import Parts
from xroute.options import n_threads

__all__ = ["Lattice", "lattice_overlaps", "make_lattice"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
DIGITS = 11
"""Decimals of a degree to which lines are rounded."""
SAME_LINE = 1e-3
"""Part of a cell by which two cells' sides may differ and still be one: more is a gap or an overlap."""
NOTHING = 1e-13
"""Part of a cell below which an overlap is what rounding leaves of none; all but as much of it is all of it."""
BLOCK = 2000
"""Parts of catchments that a thread takes at a time."""


@dataclass(frozen=True)
class Lattice:
    """Cells between meridians and parallels.

    Attributes
    ----------
    dims, shape
        Names and sizes of the grid's dimensions, that of the latitudes first.
    meridians : [line]
        Degrees east in [0, 360), ascending; the column behind the last goes on to the first.
    column : int [line]
        The grid's column behind each of them; -1 where there is none.
    parallels : [line]
        Degrees north, ascending.
    row : int [line - 1]
        The grid's row above each of them; -1 where there is none.
    lon, lat : [column], [row]
        Centres, as the grid has them.
    """

    dims: tuple[Hashable, ...]
    shape: tuple[int, ...]
    meridians: Float
    column: Int
    parallels: Float
    row: Int
    lon: Float
    lat: Float

    def areas(self, row: Int, column: Int) -> Float:
        """Areas [m2] of cells by their rows and columns among the lines."""
        east = np.append(self.meridians[1:], self.meridians[0] + 360)
        return cell_areas(self.meridians[column], east[column], self.parallels[row], self.parallels[row + 1])

    def centres(self) -> tuple[Float, Float]:
        """Longitude and latitude of each cell, row by row."""
        lon, lat = np.broadcast_arrays(self.lon[None, :], self.lat[:, None])
        return lon.ravel(), lat.ravel()

    def widths(self) -> Float:
        """Half the diagonal [m] of each cell, row by row: how far its corners are from its centre at most."""
        east = np.append(self.meridians[1:], self.meridians[0] + 360)
        width, height = np.zeros(self.shape[1]), np.zeros(self.shape[0])
        width[self.column[self.column >= 0]] = (east - self.meridians)[self.column >= 0]
        height[self.row[self.row >= 0]] = np.diff(self.parallels)[self.row >= 0]
        widest = np.maximum(np.abs(self.lat) - height, 0)  # the side nearer to the equator, and some more
        across = width[None, :] * np.cos(np.radians(widest))[:, None]
        return np.asarray(np.radians(np.hypot(across, height[:, None])).ravel() * SEMI_MAJOR / 2)


def make_lattice(dims: tuple[Hashable, ...], lon: Float, lat: Float, lon_bounds: Float, lat_bounds: Float) -> Lattice:
    """Lattice of centres and of bounds (n, 2), which reach no farther than the poles.

    Raises
    ------
    AlignmentError
        For cells that overlap, or have no extent.
    """
    meridians, column = _lines(lon_bounds, dims[1], 360.0)
    parallels, row = _lines(lat_bounds, dims[0], None)
    return Lattice(dims, (lat.size, lon.size), meridians, column, parallels, row, lon, lat)


def _lines(bounds: Float, dim: Hashable, turn: float | None) -> tuple[Float, Int]:
    """Lines between cells, ascending, and the cell behind each; for ``turn`` degrees the last cell is followed by the first."""
    low, high = bounds.min(axis=1), bounds.max(axis=1)
    if turn is not None:
        across = (high - low > turn / 2) & (len(low) > 1)  # from 359.5 to 0.5
        low, high = np.where(across, high, low), np.where(across, low + turn, high)
    width = high - low
    if not (np.isfinite(width) & (width > 0)).all():
        raise AlignmentError(f"{int((~(width > 0)).sum())} cells along {dim!r} have no extent, as their bounds say")
    start = np.round(low % turn, DIGITS) % turn if turn is not None else np.round(low, DIGITS)
    order = np.argsort(start, kind="stable")
    start, width = start[order], width[order]
    following = np.append(start[1:], start[0] + turn if turn is not None else np.inf)
    gap = following - (start + width)
    smaller = np.minimum(width, np.append(width[1:], width[0]))
    overlap = gap < -SAME_LINE * smaller
    if overlap.any():
        at = order[np.flatnonzero(overlap)]
        raise AlignmentError(
            f"{at.size} cells along {dim!r} overlap their neighbours, first at position {some(at)}. Where the first "
            f"column is repeated at the end, leave it out: isel({dim}=slice(0, -1)); and give the bounds where they are wrong"
        )
    open_ = gap > SAME_LINE * smaller
    ends = np.round(start + width, DIGITS)
    if turn is not None:
        ends %= turn
    lines = np.concatenate([start, ends[open_]])
    behind = np.concatenate([order, np.full(int(open_.sum()), -1)]).astype(np.int64)
    sort = np.argsort(lines, kind="stable")
    lines, behind = lines[sort], behind[sort]
    return (lines, behind) if turn is not None else (lines, behind[:-1])


# ── overlaps ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def lattice_overlaps(
    lattice: Lattice, parts: Parts, tick: Callable[[int], object]
) -> tuple[Int, Int, Float, Float, Int]:
    """What catchments have in common with cells.

    Parameters
    ----------
    lattice
        The cells.
    parts
        The catchments.
    tick
        Called with how many parts are done.

    Returns
    -------
    catchment : int [overlap]
    cell : int [overlap]
        Row times the number of columns, plus column.
    area, cell_area : [overlap]
        Of the overlap and of the whole cell [m2].
    rank : int [overlap]
        Order of cells: by latitude, then longitude east of Greenwich, however the grid stores them.
    """
    edges = list(range(0, parts.n, BLOCK)) + [parts.n]

    def one(first: int, last: int) -> tuple[Int, Int, Int, Float]:
        rings = parts.rings._replace(sign=-parts.rings.sign)
        return _overlaps(*rings, first, last, lattice.meridians, lattice.parallels)

    found = []
    with ThreadPoolExecutor(n_threads()) as pool:
        for block in pool.map(one, edges[:-1], edges[1:]):
            found.append(block)
            tick(min(BLOCK, parts.n))
    part, row, column, area = (np.concatenate([block[k] for block in found]) for k in range(4)) if found else _NONE
    there = (lattice.row[row] >= 0) & (lattice.column[column] >= 0)
    part, row, column, area = part[there], row[there], column[there], area[there]
    whole = lattice.areas(row, column)
    catchment = parts.catchment[part]
    cell = lattice.row[row] * lattice.shape[1] + lattice.column[column]
    rank = row * np.int64(lattice.meridians.size) + column
    return catchment, cell, area, whole, rank


_NONE = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@kernel
def _line(column: int, meridians: Float) -> float:
    """Where a column begins, those counted on around the globe."""
    return meridians[column % meridians.size] + 360.0 * (column // meridians.size)


@kernel
def _column_of(x: float, meridians: Float) -> Any:
    n = meridians.size
    turn = int(np.floor((x - meridians[0]) / 360.0))
    column = turn * n + np.searchsorted(meridians, x - 360.0 * turn, side="right") - 1
    while x < _line(column, meridians):
        column -= 1
    while x >= _line(column + 1, meridians):
        column += 1
    return column


@kernel
def _add_piece(
    x0: float, y0: float, x1: float, y1: float, sign: float, parallels: Float, low: int, of_row: Float, own: Float
) -> None:
    """Add a piece of an edge that lies in one column to the width above it, and to the area in its own cell, row by row."""
    n = parallels.size
    up = y1 > y0
    row = np.searchsorted(parallels, y0, side="right") - 1
    if y1 < y0 and row >= 0 and parallels[row] == y0:
        row -= 1
    x, y = x0, y0
    while True:
        target = parallels[row + 1] if up and row + 1 < n else parallels[row] if not up and row >= 0 else y1
        last = (target >= y1) if up else (target <= y1)
        if up and row + 1 >= n or not up and row < 0 or y0 == y1:
            last = True
        if last:
            next_x, next_y = x1, y1
        else:
            next_y = target
            next_x = min(max(x0 + (target - y0) / (y1 - y0) * (x1 - x0), x), x1)
        width = next_x - x
        if width > 0.0 and row >= 0:
            of_row[row - low] += sign * width
            if row < n - 1:
                own[row - low] += sign * below_edge(width, y, next_y, parallels[row])
        if last:
            return
        x, y = next_x, next_y
        row += 1 if up else -1


@kernel
def _overlaps(
    lon: Float,
    lat: Float,
    ring_start: Int,
    part_start: Int,
    sign: Float,
    first: int,
    last: int,
    meridians: Float,
    parallels: Float,
) -> tuple[Int, Int, Int, Float]:
    """Overlaps of some parts; rows and columns are those among the lines, some of them of no cell."""
    n_columns, n_rows = meridians.size, parallels.size - 1
    room = 1024
    parts, rows, columns = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    areas = np.empty(room)
    n = 0
    for part in range(first, last):
        begin, end = ring_start[part_start[part]], ring_start[part_start[part + 1]]
        west, east = _column_of(lon[begin:end].min(), meridians), _column_of(lon[begin:end].max(), meridians)
        low = max(np.searchsorted(parallels, lat[begin:end].min(), side="left") - 1, 0)
        high = min(np.searchsorted(parallels, lat[begin:end].max(), side="right"), n_rows)  # n_rows: above the last
        if high < low:
            continue
        of_row = np.zeros((east - west + 1, high - low + 1))
        own = np.zeros((east - west + 1, high - low + 1))
        for ring in range(part_start[part], part_start[part + 1]):
            for i in range(ring_start[ring], ring_start[ring + 1] - 1):
                x0, y0, x1, y1, way = lon[i], lat[i], lon[i + 1], lat[i + 1], sign[ring]
                if x0 == x1:
                    continue
                if x1 < x0:  # always eastwards, so that two neighbours cut their common edge at the same places
                    x0, y0, x1, y1, way = x1, y1, x0, y0, -way
                x, y = x0, y0
                column = _column_of(x0, meridians)
                while x < x1:
                    stop = min(x1, _line(column + 1, meridians))
                    to = y1
                    if stop < x1:
                        to = min(max(y0 + (stop - x0) / (x1 - x0) * (y1 - y0), min(y0, y1)), max(y0, y1))
                    _add_piece(x, y, stop, to, way, parallels, low, of_row[column - west], own[column - west])
                    x, y = stop, to
                    column += 1
        for column in range(west, east + 1):
            above = 0.0
            width = _line(column + 1, meridians) - _line(column, meridians)
            for row in range(high, low - 1, -1):
                if row < n_rows:
                    height = height_between(parallels[row], parallels[row + 1])
                    area = own[column - west, row - low] + above * height
                    if abs(area - width * height) <= NOTHING * width * height:
                        area = width * height
                    if area > NOTHING * width * height:
                        if n == room:
                            room *= 2
                            parts, rows, columns = _larger(parts), _larger(rows), _larger(columns)
                            areas = _larger(areas)
                        parts[n], rows[n], columns[n], areas[n] = part, row, column % n_columns, area
                        n += 1
                above += of_row[column - west, row - low]
    return parts[:n], rows[:n], columns[:n], areas[:n]


@kernel
def _larger(array: NDArray[np.generic]) -> NDArray[np.generic]:
    larger = np.empty(2 * array.size, array.dtype)
    larger[: array.size] = array
    return larger
