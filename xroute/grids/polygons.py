"""Polygons of catchments on longitude and latitude: projected back, put together over the date line and the poles, mended.

Edges are straight where the file has them: in longitude and latitude, or in the plane of its coordinate system, from which they
are taken with as many points as keep them in place to `OFF`. Or they are geodesics, if so asked, in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, require, some, warn
from xroute.grids.authalic import ring_areas
from xroute.settings import Edges

__all__ = ["Parts", "Rings", "as_parts", "in_degrees", "rings_of", "unwrapped_ring"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]
OFF = 2e-8
"""Degrees (two millimetres) by which an edge that is straight in a projection may be off on longitude and latitude."""
OFF_GEODESIC = 5e-9
"""Degrees (half a millimetre) by which a geodesic may be off: less, since all are off on the same side, towards the pole."""
DEGREES = "EPSG:4326"


class Rings(NamedTuple):
    """Polygons as rings.

    Attributes
    ----------
    lon, lat : [vertex]
        The first vertex of each ring again as its last.
    ring_start : int [ring + 1]
    polygon_start : int [polygon + 1]
        Where the vertices of each ring, and the rings of each polygon, start.
    sign : [ring]
        What makes the area of a ring count: 1 or -1, by its direction, and by whether it is a hole.
    """

    lon: Float
    lat: Float
    ring_start: Int
    polygon_start: Int
    sign: Float


@dataclass(frozen=True)
class Parts:
    """Polygons, one or more a catchment.

    Attributes
    ----------
    geometry : shapely.Polygon [part]
        On longitude and latitude; beyond 180 where a part lies on both sides of the date line.
    catchment : int [part]
        Position of the catchment that each is of.
    rings
        The same as rings.
    area : [catchment]
        Areas [m2].
    """

    geometry: NDArray[Any]
    catchment: Int
    rings: Rings
    area: Float

    @property
    def n(self) -> int:
        """Number of parts."""
        return self.catchment.size


def as_parts(
    geometry: NDArray[Any], ids: NDArray[Any], crs: Any, edges: Edges = "straight"
) -> tuple[Parts, NDArray[Any]]:
    """Parts of catchments, and the id of each catchment, in the order in which they come.

    Rows of one id are one catchment; where they overlap, the area counts once.

    Parameters
    ----------
    geometry : [row]
        Polygons and MultiPolygons of shapely.
    ids : [row]
    crs : pyproj.CRS or None
        Their coordinate system; None: longitude and latitude.
    edges : {"straight", "geodesic"}
        What edges are between vertices: straight in that system, or geodesics.

    Raises
    ------
    ParameterError
        Naming ids, for geometries that are missing, empty, no polygons, or not on the globe.
    """
    import shapely

    _check(geometry, ids)
    lonlat = in_degrees(geometry, crs, ids, edges)
    lonlat = _over_the_date_line(lonlat)
    if edges == "geodesic":
        lonlat = _along_geodesics(lonlat)
    lonlat = _valid(lonlat, ids)
    first, of_row = _catchments(ids)
    if first.size < ids.size:
        lonlat, of_row = _dissolved(lonlat, of_row, first.size)
    parts, row = shapely.get_parts(lonlat, return_index=True)
    rings, of_part = rings_of(parts)
    catchment = of_row[row]
    area = np.bincount(catchment, of_part, first.size).astype(np.float64)
    return Parts(parts, catchment, rings, area), ids[first]


def rings_of(polygons: NDArray[Any]) -> tuple[Rings, Float]:
    """Rings of polygons, and the areas [m2] of these."""
    import shapely

    if not polygons.size:
        none = np.zeros(0)
        return Rings(none, none, np.zeros(1, np.int64), np.zeros(1, np.int64), none), none
    _, flat, offsets = shapely.to_ragged_array(polygons, include_z=False)
    ring_start, part_start = (np.asarray(offset, np.int64) for offset in offsets)
    lon, lat = np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1])
    turned = ring_areas(lon, lat, ring_start)
    outer = np.zeros(turned.size, bool)
    outer[part_start[:-1]] = True
    sign = np.where(turned < 0, -1.0, 1.0) * np.where(outer, 1.0, -1.0)
    return Rings(lon, lat, ring_start, part_start, sign), np.add.reduceat(turned * sign, part_start[:-1])


def _check(geometry: NDArray[Any], ids: NDArray[Any]) -> None:
    import shapely

    absent = shapely.is_missing(geometry) | shapely.is_empty(geometry)
    if absent.any():
        raise ParameterError(
            f"{int(absent.sum())} catchments have no geometry: {some(ids[absent])}. Leave them out, or mend them"
        )
    kind = shapely.get_type_id(geometry)
    other = ~np.isin(kind, (3, 6))
    if other.any():
        names = sorted({g.geom_type for g in geometry[other][:100]})
        raise ParameterError(
            f"catchments are polygons, and {int(other.sum())} of {ids.size} are {some(names)}: {some(ids[other])}. The lines of "
            'a river network are no catchments: take the file of its catchments, or method="nearest" with points'
        )


def _catchments(ids: NDArray[Any]) -> tuple[Int, Int]:
    """Row where each id stands first, in order, and the catchment of each row."""
    import pandas as pd

    codes, _ = pd.factorize(ids.astype(object) if ids.dtype.kind == "U" else ids)
    first = np.unique(codes, return_index=True)[1]
    return first.astype(np.int64), codes.astype(np.int64)


def _dissolved(geometry: NDArray[Any], catchment: Int, n: int) -> tuple[NDArray[Any], Int]:
    """Rows of one catchment in one geometry."""
    import shapely

    order = np.argsort(catchment, kind="stable")
    start = np.searchsorted(catchment[order], np.arange(n + 1))
    result = geometry[order[start[:-1]]]
    for one in np.flatnonzero(np.diff(start) > 1):
        result[one] = shapely.union_all(geometry[order[start[one] : start[one + 1]]])
    return result, np.arange(n)


# ── to longitude and latitude ─────────────────────────────────────────────────────────────────────────────────────────


def in_degrees(geometry: NDArray[Any], crs: Any, ids: NDArray[Any], edges: Edges = "straight") -> NDArray[Any]:
    """Geometries of any coordinate system on longitude and latitude (WGS 84), checked."""
    import shapely

    geometry = shapely.force_2d(geometry)
    if crs is not None and not _is_degrees(crs):
        transformer = require("pyproj", feature="catchments in a projection", extra="geo").Transformer.from_crs(
            crs, DEGREES, always_xy=True
        )

        def transform(xy: Float) -> Float:
            return np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))

        if not crs.is_geographic and edges == "straight":
            geometry = _with_points(geometry, transform)
        geometry = shapely.transform(geometry, transform)
    bounds = shapely.bounds(geometry)
    wrong = ~(np.isfinite(bounds).all(axis=1) & (bounds[:, 1] >= -90 - 1e-9) & (bounds[:, 3] <= 90 + 1e-9))
    wrong |= ~((bounds[:, 0] >= -540) & (bounds[:, 2] <= 540))
    if wrong.any():
        hint = "set their coordinate system (set_crs)" if crs is None else "is their coordinate system the right one?"
        raise ParameterError(
            f"{int(wrong.sum())} of {ids.size} catchments are not on the globe in degrees: {some(ids[wrong])}: {hint}"
        )
    return geometry


def _is_degrees(crs: Any) -> bool:
    return bool(crs.is_geographic and not crs.is_derived and crs.to_authority() in (("EPSG", "4326"), ("OGC", "CRS84")))


def _with_points(geometry: NDArray[Any], transform: Any) -> NDArray[Any]:
    """Geometries with points on their edges where these are not straight on longitude and latitude."""
    import shapely

    xy = shapely.get_coordinates(geometry)
    if len(xy) < 2:
        return geometry
    there = transform(xy)
    middle = transform((xy[:-1] + xy[1:]) / 2)
    off = np.abs(middle - (there[:-1] + there[1:]) / 2)
    off[:, 0] = np.where(off[:, 0] > 90, 0, off[:, 0]) * np.cos(np.radians(np.clip(there[:-1, 1], -90, 90)))
    off[~np.isfinite(off)] = 0
    pieces = np.clip(np.ceil(np.sqrt(off.max(axis=1) / OFF)), 1, 1000).astype(np.int64)

    def between(low: Float, high: Float, part: Float) -> Float:
        return np.asarray(low + part[:, None] * (high - low))

    return _with_pieces(geometry, pieces, between)


def _along_geodesics(geometry: NDArray[Any]) -> NDArray[Any]:
    """Geometries on longitude and latitude with points on their edges where these are geodesics, of the ellipsoid WGS 84."""
    import shapely

    geod = require("pyproj", feature="edges that are geodesics", extra="geo").Geod(ellps="WGS84")
    xy = shapely.get_coordinates(geometry)
    if len(xy) < 2:
        return geometry

    def between(low: Float, high: Float, part: Float) -> Float:
        azimuth, _, length = geod.inv(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
        lon, lat, _ = geod.fwd(low[:, 0], low[:, 1], azimuth, length * part)
        plain = low[:, 0] + part * (high[:, 0] - low[:, 0])
        return np.column_stack([lon + 360 * np.round((plain - lon) / 360), lat])

    middle = between(xy[:-1], xy[1:], np.full(len(xy) - 1, 0.5))
    off = np.abs(middle - (xy[:-1] + xy[1:]) / 2)
    off[:, 0] *= np.cos(np.radians(middle[:, 1]))
    off[np.abs(np.diff(xy[:, 0])) >= 180] = 0  # along the border of a map, or around a pole
    off[(np.abs(xy[:-1, 1]) == 90) | (np.abs(xy[1:, 1]) == 90)] = 0  # to a pole, where all longitudes are the same place
    pieces = np.clip(np.ceil(np.sqrt(off.max(axis=1) / OFF_GEODESIC)), 1, 5000).astype(np.int64)
    return _with_pieces(geometry, pieces, between)


def _with_pieces(
    geometry: NDArray[Any], pieces: Int, between: Callable[[Float, Float, Float], Float]
) -> NDArray[Any]:
    """Geometries whose edges are cut in so many pieces, at points that ``between`` finds from end to end."""
    import shapely

    kind, xy, offsets = shapely.to_ragged_array(geometry, include_z=False)
    pieces[offsets[0][1:-1] - 1] = 1  # from the end of one ring to the start of the next there is no edge
    if (pieces == 1).all():
        return geometry
    start = np.concatenate([[0], np.cumsum(pieces), [pieces.sum() + 1]])  # of each vertex, and the end
    edge = np.repeat(np.arange(pieces.size), pieces)
    part = (np.arange(edge.size) - start[edge]) / pieces[edge]
    low, high = xy[edge], xy[edge + 1]
    back = (high[:, 0] < low[:, 0]) | ((high[:, 0] == low[:, 0]) & (high[:, 1] < low[:, 1]))
    ends = np.where(back[:, None], high, low), np.where(back[:, None], low, high)  # neighbours make the same points
    points = between(*ends, np.where(back, 1 - part, part))
    points[start[:-2]] = xy[:-1]
    points = np.concatenate([points, xy[-1:]])
    return np.asarray(shapely.from_ragged_array(kind, points, (start[offsets[0]], *offsets[1:])))


# ── over the date line and the poles ──────────────────────────────────────────────────────────────────────────────────


def _over_the_date_line(geometry: NDArray[Any]) -> NDArray[Any]:
    """Polygons whose longitudes jump, as at the date line, with longitudes that go on.

    An edge of more than 180 degrees is one that goes the other way round, but for those along the border of a map (360 degrees).
    """
    import shapely

    bounds = shapely.bounds(geometry)
    wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180)
    if not wide.size:
        return geometry
    geometry = geometry.copy()
    for row in wide:
        parts = [_unwrapped(part) for part in shapely.get_parts(geometry[row])]
        if any(changed for _, changed in parts):
            geometry[row] = shapely.multipolygons([part for part, _ in parts])
    return geometry


def _unwrapped(polygon: Any) -> tuple[Any, bool]:
    import shapely

    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygon)]
    steps = [np.diff(ring[:, 0]) for ring in rings]
    if not any(_jumps(step).any() for step in steps):
        return polygon, False
    shell, *holes = [unwrapped_ring(ring) for ring in rings]
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2
    for hole in holes:
        hole[:, 0] += 360 * np.round((middle - (hole[:, 0].min() + hole[:, 0].max()) / 2) / 360)
    return shapely.Polygon(shell, holes), True


def _jumps(step: Float) -> NDArray[np.bool_]:
    """Which edges go the other way round; those of 360 degrees go along the border of a map."""
    return np.asarray((np.abs(step) > 180) & (np.abs(step) < 360 - 1e-6))


def unwrapped_ring(ring: Float) -> Float:
    """A closed ring whose longitudes jump nowhere; one that goes around a pole is led there and back.

    Parameters
    ----------
    ring : [vertex, 2]
        Longitude and latitude, the first vertex again as the last.
    """
    step = np.diff(ring[:, 0])
    step -= 360 * np.round(step / 360) * _jumps(step)
    lon = ring[0, 0] + np.concatenate([[0], np.cumsum(step)])
    lon = ring[:, 0] + 360 * np.round((lon - ring[:, 0]) / 360)  # the longitudes themselves, but for whole turns
    if abs(lon[-1] - lon[0]) < 180:
        return np.column_stack([lon, ring[:, 1]])
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    lon = np.concatenate([lon, [lon[-1], lon[0], lon[0]]])
    return np.column_stack([lon, np.concatenate([ring[:, 1], [pole, pole, ring[0, 1]]])])


# ── mended ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _valid(geometry: NDArray[Any], ids: NDArray[Any]) -> NDArray[Any]:
    """Polygons that do not cross themselves: what is wrong is mended, and said."""
    import shapely

    wrong = np.flatnonzero(~shapely.is_valid(geometry))
    if not wrong.size:
        return geometry
    geometry = geometry.copy()
    mended = shapely.make_valid(geometry[wrong])
    for row, one in zip(wrong, mended, strict=True):
        polygons = [part for part in shapely.get_parts(one) if part.geom_type in ("Polygon", "MultiPolygon")]
        geometry[row] = shapely.multipolygons(shapely.get_parts(polygons)) if polygons else shapely.Polygon()
    lost = wrong[shapely.is_empty(geometry[wrong])]
    if lost.size:
        raise ParameterError(f"{lost.size} catchments enclose no area: {some(ids[lost])}. Leave them out, or mend them")
    warn(
        f"{wrong.size} of {ids.size} catchments are invalid polygons (their edges cross or touch themselves), and are taken as "
        f"shapely.make_valid mends them: {some(ids[wrong])}"
    )
    return geometry
