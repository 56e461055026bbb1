"""Grids whose cells are polygons: curvilinear ones, those of projections, and meshes.

A cell is a ring of corners on longitude and latitude, between which its sides are straight, and great circles about the poles;
sides that are straight in a projection get as many points as keep them in place. Cells are made for those places alone where
catchments are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.earth import SEMI_MAJOR, from_space, in_space
from xroute.exceptions import AlignmentError, some
from xroute.grids.polygons import unwrapped_ring

__all__ = ["Mesh", "fixed_rings", "nodes_between", "projected_mesh"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Pairs = tuple[Int, Int]
BLOCK = 100_000
"""Cells that are looked at in one go."""
BENT = 1e-6
"""Part of its length by which a side that is straight in a projection may be off on longitude and latitude."""
BENDING = 2.0
"""Degrees by which the direction of a great circle turns, against that of a straight side, from which on it is drawn as one."""
PARALLEL = 30.0
"""Degrees of longitude up to which a side from a latitude to the same latitude goes along the parallel."""
MOST_POINTS = 32
"""Points on a side at most."""


@dataclass(frozen=True)
class Mesh:
    """Cells that are polygons.

    Attributes
    ----------
    dims, shape
        Names and sizes of the grid's dimensions.
    lon, lat : [cell]
        Centres, row by row.
    rings
        Makes corners [cell, corner, 2] of cells; NaN where there is no cell. None if they are not known.
    near
        Finds pairs of boxes [box, 4] (west, south, east, north) and cells that may lie in them.
    """

    dims: tuple[Hashable, ...]
    shape: tuple[int, ...]
    lon: Float
    lat: Float
    rings: Callable[[Int], Float] | None
    near: Callable[[Float], Pairs] | None = None

    def centres(self) -> tuple[Float, Float]:
        """Longitude and latitude of each cell."""
        return self.lon, self.lat

    def widths(self) -> Float | None:
        """How far [m] the corners of each cell are from its centre at most; None if they are not known."""
        if self.rings is None:
            return None
        result = np.empty(self.lon.size)
        for first in range(0, self.lon.size, BLOCK):
            cells = np.arange(first, min(first + BLOCK, self.lon.size))
            ring = self.rings(cells)
            lon, lat = self.lon[cells, None], self.lat[cells, None]
            across = (ring[..., 0] - lon + 180) % 360 - 180
            off = np.hypot(across * np.cos(np.radians(lat)), ring[..., 1] - lat)
            result[cells] = np.radians(off.max(axis=1)) * SEMI_MAJOR
        return result

    def polygons(self, cells: Int) -> NDArray[Any]:
        """Polygons of cells, on longitudes from -180 on; None where there is no cell."""
        import shapely

        assert self.rings is not None
        ring, odd = _going_on(self.rings(cells))
        there = np.isfinite(ring).all(axis=(1, 2))
        ring[..., 0] -= (360 * np.floor((ring[..., 0].min(axis=1) + 180) / 360))[:, None]
        closed = np.concatenate([ring, ring[:, :1]], axis=1)
        result = np.full(cells.size, None, dtype=object)
        plain = there & ~odd
        result[plain] = shapely.polygons(closed[plain])
        for cell in np.flatnonzero(there & odd):
            result[cell] = shapely.Polygon(_around_a_pole(closed[cell]))
        return result

    def pairs(self, boxes: Float) -> Pairs:
        """Pairs of boxes (longitudes from -540 to 540) and cells that may have something in common."""
        return self.near(boxes) if self.near is not None else self._near_by_tree(boxes)

    def _near_by_tree(self, boxes: Float) -> Pairs:
        import shapely

        assert self.rings is not None
        tree = shapely.STRtree(shapely.box(*boxes.T))
        west, south, east, north = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
        found: list[Pairs] = []
        for first in range(0, self.lon.size, BLOCK):
            cells = np.arange(first, min(first + BLOCK, self.lon.size))
            own = self._boxes(cells)
            cells, own = cells[np.isfinite(own).all(axis=1)], own[np.isfinite(own).all(axis=1)]
            for turn in (-360, 0, 360):
                moved = own + [turn, 0, turn, 0]
                meets = (moved[:, 0] <= east) & (moved[:, 2] >= west) & (moved[:, 1] <= north) & (moved[:, 3] >= south)
                at, box = tree.query(shapely.box(*moved[meets].T))
                found.append((box, cells[meets][at]))
        box, cell = (np.concatenate([pair[k] for pair in found]).astype(np.int64) for k in range(2))
        both = np.unique(box * np.int64(self.lon.size) + cell)  # a cell may meet a box on both sides of the date line
        return both // self.lon.size, both % self.lon.size

    def _boxes(self, cells: Int) -> Float:
        """West, south, east and north of cells, on longitudes from -180 on."""
        assert self.rings is not None
        ring, odd = _going_on(self.rings(cells))
        low, high = ring.min(axis=1), ring.max(axis=1)
        shift = 360 * np.floor((low[:, 0] + 180) / 360)
        box = np.column_stack([low[:, 0] - shift, low[:, 1], high[:, 0] - shift, high[:, 1]])
        odd &= np.isfinite(box).all(axis=1)
        if odd.any():
            import shapely

            box[odd] = shapely.bounds(self.polygons(cells[odd]))
        return box


# ── rings ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _going_on(ring: Float) -> tuple[Float, NDArray[np.bool_]]:
    """Rings whose longitudes jump nowhere, and which of them are about a pole: to be made one by one."""
    lon, lat = ring[..., 0], ring[..., 1]
    at_pole = np.abs(lat) > 90 - 1e-9
    step = np.diff(np.concatenate([lon, lon[:, :1]], axis=1), axis=1)
    step -= 360 * np.round(step / 360) * (np.abs(step) > 180)
    on = lon[:, :1] + np.concatenate([np.zeros((len(lon), 1)), np.cumsum(step[:, :-1], axis=1)], axis=1)
    on = lon + 360 * np.round((on - lon) / 360)
    around = np.abs(step.sum(axis=1)) > 180
    pointed = (at_pole.sum(axis=1) > 0) & _one_place(ring, at_pole)
    return np.stack([on, lat], axis=-1), around | pointed | _is_bent(step, lat, np.roll(lat, -1, axis=1)).any(axis=1)


def _one_place(ring: Float, at_pole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the corners at a pole are one, told several times."""
    lon = np.where(at_pole, ring[..., 0], np.nan)
    first = np.take_along_axis(lon, at_pole.argmax(axis=1)[:, None], axis=1)
    return np.asarray((~at_pole | (lon == first)).all(axis=1))


def _is_bent(step: Float, lat: Float, to: Float) -> NDArray[np.bool_]:
    """Which sides are great circles, far from straight on longitude and latitude, as they are about a pole.

    Those along a parallel stay what they are, but for very long ones.
    """
    turn = np.abs(step) * np.sin(np.radians(np.minimum(np.abs(lat), np.abs(to))))
    at_pole = np.maximum(np.abs(lat), np.abs(to)) > 90 - 1e-9
    return np.asarray((turn > BENDING) & ~at_pole & ((np.abs(to - lat) > 1e-9) | (np.abs(step) > PARALLEL)))


def _with_great_circles(closed: Float) -> Float:
    """A ring with points on those sides that are great circles."""
    lon, lat = closed.T
    step = (np.diff(lon) + 180) % 360 - 180
    bent = _is_bent(step, lat[:-1], lat[1:])
    if not bent.any():
        return closed
    space = in_space(lon, lat)
    pieces = []
    for k in range(len(step)):
        pieces.append(closed[k : k + 1])
        if bent[k]:
            n = int(np.ceil(abs(step[k]) / BENDING * 4))
            part = np.linspace(0, 1, n + 1)[1:-1, None]
            arc = np.arccos(np.clip(space[k] @ space[k + 1], -1, 1))
            east, north = from_space(np.sin((1 - part) * arc) * space[k] + np.sin(part * arc) * space[k + 1])
            pieces.append(np.column_stack([lon[k] + (east - lon[k] + 180) % 360 - 180, north]))
    return np.concatenate([*pieces, closed[-1:]])


def _around_a_pole(closed: Float) -> Float:
    """A ring with a pole for a corner, which there has the longitudes of both its neighbours; or one that goes around a pole."""
    closed = _with_great_circles(closed)
    ring = [*closed[:-1]]
    corners = np.array([vertex for k, vertex in enumerate(ring) if k == 0 or not np.array_equal(vertex, ring[k - 1])])
    at_pole = np.abs(corners[:, 1]) > 90 - 1e-9
    if not at_pole.any():
        result = unwrapped_ring(closed)
        result[:, 0] -= 360 * np.floor((result[:, 0].min() + 180) / 360)
        return result
    k = int(at_pole.argmax())
    others = np.roll(corners, -k, axis=0)
    others = others[np.abs(others[:, 1]) <= 90 - 1e-9]
    step = np.diff(others[:, 0])
    step -= 360 * np.round(step / 360) * (np.abs(step) > 180)
    lon = others[0, 0] + np.concatenate([[0], np.cumsum(step)])
    pole = corners[k, 1]
    path = np.column_stack([lon, others[:, 1]])
    result = np.concatenate([path, [[lon[-1], pole], [lon[0], pole]], path[:1]])
    result[:, 0] -= 360 * np.floor((result[:, 0].min() + 180) / 360)
    return np.asarray(result)


def fixed_rings(lon: Float, lat: Float) -> Callable[[Int], Float]:
    """Rings of corners [cell, corner], NaN behind the last corner of a cell that has fewer than others."""
    gaps = ~(np.isfinite(lon) & np.isfinite(lat))
    if gaps.any():
        lon, lat = lon.copy(), lat.copy()
        for k in range(1, lon.shape[1]):  # a corner told once more changes nothing
            gap = gaps[:, k]
            lon[gap, k], lat[gap, k] = lon[gap, k - 1], lat[gap, k - 1]

    def rings(cells: Int) -> Float:
        return np.stack([lon[cells], lat[cells]], axis=-1)

    return rings


def nodes_between(lon: Float, lat: Float) -> Callable[[Int], Float]:
    """Rings around centres [row, column], by the corners that lie in the middle of four of them; ends are carried on."""
    if min(lon.shape) < 2:
        raise AlignmentError(
            f"the grid has sizes {lon.shape}: where it is one cell wide, its cells' bounds are needed (CF's 'bounds')"
        )
    wrapped = _outwards(np.stack([lon, lat]))
    n_columns = lon.shape[1]

    def rings(cells: Int) -> Float:
        row, column = np.divmod(cells, n_columns)
        corners = []
        for j, i in ((0, 0), (0, 1), (1, 1), (1, 0)):
            around = [(row + j + dj, column + i + di) for di in (0, 1) for dj in (0, 1)]
            corners.append(_middle(*(wrapped[:, at_row, at_column] for at_row, at_column in around)))
        return np.stack(corners, axis=1)

    return rings


def _outwards(centres: Float) -> Float:
    """Centres [2, row, column] with one more at each end of rows and columns, as far out as the last is from the one before."""
    for axis in (1, 2):
        ends = []
        for end, inner in ((0, 1), (-1, -2)):
            last, before = np.take(centres, [end], axis), np.take(centres, [inner], axis)
            step = last - before
            step[0] -= 360 * np.round(step[0] / 360)
            ends.append(last + step)
        centres = np.concatenate([ends[0], centres, ends[1]], axis=axis)
    return centres


def _middle(*centres: Float) -> Float:
    """Points [point, 2] in the middle of four others: of their degrees, or of their places in space about a pole."""
    lon, lat = (np.stack([c[k] for c in centres]) for k in range(2))
    lon = lon[:1] + (lon - lon[:1] + 180) % 360 - 180
    result = np.stack([(lon[0] + lon[3] + (lon[1] + lon[2])) / 4, (lat[0] + lat[3] + (lat[1] + lat[2])) / 4], axis=-1)
    span = np.ptp(lon, axis=0)
    same = [
        (np.abs(lat[a] - lat[b]) < 1e-9) & (np.abs(lat[c] - lat[d]) < 1e-9)
        for a, b, c, d in ((0, 2, 1, 3), (0, 1, 2, 3))
    ]
    polar = (span * np.sin(np.radians(np.abs(lat).min(axis=0))) > BENDING) & ~same[0] & ~same[1]  # along no parallels
    polar |= span > PARALLEL
    if polar.any():
        result[polar] = np.column_stack(from_space(in_space(lon[:, polar], lat[:, polar]).sum(axis=0)))
    result[:, 1] = np.clip(result[:, 1], -90, 90)
    return np.asarray(result)


# ── projections ───────────────────────────────────────────────────────────────────────────────────────────────────────


def projected_mesh(dims: tuple[Hashable, ...], x: Float, y: Float, x_bounds: Float, y_bounds: Float, crs: Any) -> Mesh:
    """Mesh of cells between lines of a projection.

    Parameters
    ----------
    dims
        Dimensions of ``y`` and of ``x``.
    x, y, x_bounds, y_bounds
        Centres (n) and bounds (n, 2), in the units of ``crs``.
    crs : pyproj.CRS
        Coordinate system.
    """
    import pyproj

    forth = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    back = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    every = np.meshgrid(x, y)
    lon, lat = forth.transform(every[0].ravel(), every[1].ravel())
    off = ~(np.isfinite(lon) & np.isfinite(lat))
    if off.all():
        raise AlignmentError(
            f"no cell of the grid lies on the globe by its coordinate system, {crs.name}: x is {some(x, 2)}"
        )
    lon, lat = np.where(off, np.nan, lon), np.where(off, np.nan, lat)
    corners = np.stack([x_bounds[:, [0, 1, 1, 0]], np.zeros((x.size, 4))]), y_bounds[:, [0, 0, 1, 1]]

    def made(cells: Int, n: int) -> Float:
        row, column = np.divmod(cells, x.size)
        ends = np.stack([corners[0][0][column], corners[1][row]], axis=-1)  # [cell, 4, 2]
        part = (np.arange(n) / n)[:, None]
        sides = ends[:, :, None] + (np.roll(ends, -1, axis=1) - ends)[:, :, None] * part
        ring = sides.reshape(len(cells), -1, 2)
        degrees = np.stack(forth.transform(ring[..., 0], ring[..., 1]), axis=-1)
        return np.where(np.isfinite(degrees).all(axis=(1, 2))[:, None, None], degrees, np.nan)

    n = _points_on_sides(made, (y.size, x.size))
    near = _Ranges(back, x_bounds, y_bounds)
    return Mesh(dims, (y.size, x.size), lon, lat, lambda cells: made(cells, n), near)


def _points_on_sides(made: Callable[[Int, int], Float], shape: tuple[int, int]) -> int:
    """How many points each side needs, by some cells."""
    rows, columns = (np.unique(np.linspace(0, n - 1, 9).astype(np.int64)) for n in shape)
    cells = (rows[:, None] * shape[1] + columns).ravel()
    ring = made(cells, 2)
    ring = ring[np.isfinite(ring).all(axis=(1, 2))]
    ring = _going_on(ring)[0]
    ring = ring[(np.abs(ring[..., 1]) < 85).all(axis=1)]
    if not len(ring):
        return MOST_POINTS
    ring[..., 0] *= np.cos(np.radians(ring[..., 1].mean(axis=1)))[:, None]
    start, middle, end = ring[:, ::2], ring[:, 1::2], np.roll(ring[:, ::2], -1, axis=1)
    bent = np.hypot(*np.moveaxis(middle - (start + end) / 2, -1, 0)) / np.hypot(*np.moveaxis(end - start, -1, 0))
    return int(np.clip(math.ceil(math.sqrt(np.nanmax(bent) / BENT)), 1, MOST_POINTS)) if np.nanmax(bent) > 1e-9 else 1


class _Ranges:
    """Finds cells by where the outlines of boxes come to lie among the lines of a projection."""

    def __init__(self, back: Any, x_bounds: Float, y_bounds: Float) -> None:
        self.back = back
        self.axes = []
        for bounds in (x_bounds, y_bounds):
            centre = bounds.mean(axis=1)
            order = np.argsort(centre)
            self.axes.append((order, bounds.min(axis=1)[order], bounds.max(axis=1)[order]))
        self.n_columns = len(x_bounds)

    def __call__(self, boxes: Float) -> Pairs:
        t = np.linspace(0, 1, 9)
        west, south, east, north = (v[:, None] for v in boxes.T)
        lon = np.concatenate([west + (east - west) * t] * 2 + [west + 0 * t, east + 0 * t], axis=1)
        lat = np.concatenate([south + 0 * t, north + 0 * t] + [south + (north - south) * t] * 2, axis=1)
        where = self.back.transform((lon + 180) % 360 - 180, lat)
        found = []
        for (order, low, high), values in zip(self.axes, where, strict=True):
            fine = np.isfinite(values)
            least = np.where(fine, values, np.inf).min(axis=1)
            most = np.where(fine, values, -np.inf).max(axis=1)
            room = np.where(
                np.isfinite(most - least), (most - least) / 8, 0
            )  # what is between two of the outline's points
            least, most = least - room, most + room
            first, last = np.searchsorted(high, least, side="left"), np.searchsorted(low, most, side="right")
            partly = fine.any(axis=1) & ~fine.all(axis=1)  # the projection ends within the box: any cell may
            first, last = np.where(partly, 0, first), np.where(partly, order.size, last)
            found.append((first, np.maximum(last - first, 0)))
        (x0, nx), (y0, ny) = found
        n = nx * ny
        box = np.repeat(np.arange(len(boxes)), n)
        k = np.arange(box.size) - np.repeat(np.cumsum(n) - n, n)
        row, column = k // np.maximum(nx[box], 1) + y0[box], k % np.maximum(nx[box], 1) + x0[box]
        return box, self.axes[1][0][row] * self.n_columns + self.axes[0][0][column]
