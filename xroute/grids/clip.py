"""What catchments have in common with cells that are polygons: shapely's intersections, and the true areas of these.

Catchments of many points are cut into pieces first, so that no cell is held against more than a few hundred of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, some
from xroute.grids.authalic import ring_areas
from xroute.grids.convex import are_convex, common_areas, turned_left
from xroute.grids.lattice import NOTHING
from xroute.grids.mesh import Mesh
from xroute.grids.polygons import Parts, Rings, rings_of
from xroute.options import n_threads

__all__ = ["areas_of", "mesh_overlaps"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
MANY = 256
"""Points of a piece, more or less."""
AT_ONCE = 20_000
"""Pairs of a piece and a cell that a thread takes at a time."""
FEW = 12
"""Corners of cells that are cut off side by side; those of more, or with bays, go to shapely."""
PIECES = 5_000
"""Pieces whose cells are looked for in one go."""


class _Pieces(NamedTuple):
    """Pieces of catchments: polygons, their boxes, their rings."""

    geometry: NDArray[Any]
    boxes: Float
    rings: Rings


def mesh_overlaps(mesh: Mesh, parts: Parts, tick: Callable[[int], object]) -> tuple[Int, Int, Float, Float, Int]:
    """What catchments have in common with cells; as `xroute.grids.lattice.lattice_overlaps`."""
    import shapely

    geometry, of_part = _cut(parts.geometry)
    shapely.prepare(geometry)
    pieces = _Pieces(geometry, shapely.bounds(geometry), rings_of(geometry)[0])

    def one(pairs: tuple[Int, Int]) -> tuple[Int, Int, Float, Float]:
        at, cells, area, whole = _clipped(pieces, *pairs, mesh)
        return of_part[at], cells, area, whole

    found: list[tuple[Int, Int, Float, Float]] = []
    with ThreadPoolExecutor(n_threads()) as pool:
        done = 0
        for pairs in _pairs(mesh, pieces.boxes):
            found += pool.map(one, _blocks(*pairs))
            now = int(of_part[pairs[0]].max(initial=done - 1)) + 1
            tick(now - done)
            done = now
    tick(parts.n - done)
    if not found:
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))]
    part, cell, area, whole = (np.concatenate([block[k] for block in found]) for k in range(4))
    return parts.catchment[part], cell, area, whole, _rank(mesh, cell)


def _pairs(mesh: Mesh, boxes: Float) -> Iterator[tuple[Int, Int]]:
    """Pairs of pieces and cells, by piece."""
    if mesh.near is None:  # all cells are gone through, and once is enough
        yield mesh.pairs(boxes)
        return
    for first in range(0, len(boxes), PIECES):
        piece, cell = mesh.pairs(boxes[first : first + PIECES])
        yield piece + first, cell


def _blocks(piece: Int, cell: Int) -> Iterator[tuple[Int, Int]]:
    """Pairs in blocks that have no piece in common: two threads must not ask one prepared geometry."""
    start = np.concatenate([[0], np.flatnonzero(np.diff(piece)) + 1]) if piece.size else np.zeros(0, np.int64)
    starts = start[
        np.searchsorted(start, np.arange(0, piece.size, AT_ONCE), side="left").clip(max=max(start.size - 1, 0))
    ]
    edges = [*np.unique(np.append(starts, 0)).tolist(), piece.size] if piece.size else []
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        yield piece[first:last], cell[first:last]


def _rank(mesh: Mesh, cell: Int) -> Int:
    """Order of cells by latitude, then longitude, however the grid stores them."""
    cells, back = np.unique(cell, return_inverse=True)
    lon, lat = mesh.centres()
    order = np.lexsort((np.round(lon[cells] % 360, 9) % 360, np.round(lat[cells], 9)))
    rank = np.empty(cells.size, np.int64)
    rank[order] = np.arange(cells.size)
    return np.asarray(rank[back])


def _cut(geometry: NDArray[Any]) -> tuple[NDArray[Any], Int]:
    """Pieces of polygons, each of few points, and the polygon that each is of."""
    import shapely

    ready: list[tuple[NDArray[Any], Int]] = []
    geometry, row = geometry, np.arange(geometry.size)
    while geometry.size:
        few = shapely.get_num_coordinates(geometry) <= MANY
        ready.append((geometry[few], row[few]))
        geometry, row = geometry[~few], row[~few]
        west, south, east, north = shapely.bounds(geometry).T
        wide = (east - west) > (north - south)
        middle = np.where(wide, (west + east) / 2, (south + north) / 2)
        first = shapely.box(west, south, np.where(wide, middle, east), np.where(wide, north, middle))
        second = shapely.box(np.where(wide, middle, west), np.where(wide, south, middle), east, north)
        halves = np.concatenate([shapely.intersection(geometry, half) for half in (first, second)])
        parts, at = shapely.get_parts(halves, return_index=True)
        flat = (shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)
        geometry, row = parts[flat], np.concatenate([row, row])[at[flat]]
    pieces, rows = (np.concatenate([done[k] for done in ready]) if ready else np.zeros(0, np.int64) for k in range(2))
    order = np.argsort(rows, kind="stable")
    return pieces[order], rows[order].astype(np.int64)


def _clipped(pieces: _Pieces, at: Int, cell: Int, mesh: Mesh) -> tuple[Int, Int, Float, Float]:
    """Overlaps of pairs."""
    import shapely

    cells, own = np.unique(cell, return_inverse=True)
    polygons = mesh.polygons(cells)
    whole = areas_of(polygons)
    wrong = ~shapely.is_valid(polygons) & ~shapely.is_missing(polygons) & (np.abs(whole) > 0)
    if wrong.any():
        raise AlignmentError(
            f"{int(wrong.sum())} cells of the grid cross themselves, such as those at {some(cells[wrong], 3)} of its dimensions "
            f"{mesh.dims} in one: their corners are not in order around them"
        )
    limits = shapely.bounds(polygons)
    x, y, convex = _corners(polygons)
    found: list[tuple[Int, Int, Float]] = []
    for turn in (-360.0, 0.0, 360.0):
        moved = limits[own] + [turn, 0, turn, 0]
        of = pieces.boxes[at]
        meets = (
            (moved[:, 0] < of[:, 2]) & (moved[:, 2] > of[:, 0]) & (moved[:, 1] < of[:, 3]) & (moved[:, 3] > of[:, 1])
        )
        if not meets.any():
            continue
        pairs, k = at[meets], own[meets]
        area = np.zeros(pairs.size)
        plain = convex[k]
        area[plain] = common_areas(*pieces.rings, pairs[plain], k[plain], x + turn, y)
        if not plain.all():
            area[~plain] = _by_shapely(pieces.geometry[pairs[~plain]], polygons, k[~plain], whole, turn)
        found.append((pairs, k, area))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    pairs, k, area = (np.concatenate([block[n] for block in found]) for n in range(3))
    kept = area > NOTHING * whole[k]
    return pairs[kept], cells[k[kept]], area[kept], whole[k[kept]]


def _by_shapely(piece: NDArray[Any], polygons: NDArray[Any], k: Int, whole: Float, turn: float) -> Float:
    """Areas that pieces and cells of any shape have in common."""
    import shapely

    there = polygons if turn == 0 else _moved(polygons, k, turn)
    inside = shapely.covers(piece, there[k])
    area = np.where(inside, whole[k], 0.0)
    area[~inside] = areas_of(shapely.intersection(piece[~inside], there[k[~inside]]))
    return np.asarray(area)


def _corners(polygons: NDArray[Any]) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Corners [cell, corner] of polygons that turn to the left at each of few corners, and which these are."""
    import shapely

    n = shapely.get_num_coordinates(polygons)
    few = (n >= 4) & (n <= FEW + 1)
    most = int(n[few].max(initial=4)) - 1
    x, y = np.zeros((2, polygons.size, most))
    for size in np.unique(n[few]):
        rows = np.flatnonzero(few & (n == size))
        xy = shapely.get_coordinates(polygons[rows]).reshape(rows.size, size, 2)[:, :-1]
        xy = np.concatenate(
            [xy, np.repeat(xy[:, -1:], most - size + 1, axis=1)], axis=1
        )  # a corner told again changes nothing
        x[rows], y[rows] = xy[..., 0], xy[..., 1]
    turned_left(x, y)
    return x, y, few & are_convex(x, y)


def _moved(polygons: NDArray[Any], used: Int, turn: float) -> NDArray[Any]:
    """The polygons that are used, moved along the equator."""
    import shapely

    result = np.full(polygons.size, None, dtype=object)
    used = np.unique(used)
    result[used] = shapely.transform(polygons[used], lambda xy: xy + [turn, 0])
    return result


def areas_of(geometry: NDArray[Any]) -> Float:
    """True areas [m2] of what is polygonal in geometries on longitude and latitude."""
    import shapely

    parts, row = shapely.get_parts(geometry, return_index=True)
    flat = shapely.get_type_id(parts) == 3
    parts, row = parts[flat], row[flat]
    rings, part = shapely.get_rings(parts, return_index=True)
    if not rings.size:
        return np.zeros(geometry.size)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    start = np.searchsorted(ring, np.arange(rings.size + 1))
    area = np.abs(ring_areas(np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1]), start))
    hole = np.concatenate([[False], part[1:] == part[:-1]])
    return np.asarray(np.bincount(row[part], np.where(hole, -area, area), geometry.size))
