"""Weights of many polygons on a global grid: areas against pyproj's first, then time and memory.

python benchmarks/weights.py [polygons] [resolution]         --small: few of them, to try it
    Outlines of rasters, of zigzags, and of round shapes, from the equator to 80 degrees, against the geodesic areas of
    `pyproj.Geod`: with edges that are straight on longitude and latitude, and with geodesics, as pyproj takes them. Stops if the
    latter are off by more than 1e-6.
    Then 100,000 polygons of 100 vertices on a grid of 0.1 degrees (6.5 million cells), made on the fly. Prints the time beside
    the processor time of all threads, how far the overlaps of a polygon are from its area in sum, and the peak of memory
    beside that before, polygons included.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import geopandas
import numpy as np
import pyproj
import shapely
import xarray as xr

import xroute

GEOD = pyproj.Geod(ellps="WGS84")
METRES = 111_320.0
"""Of a degree of latitude."""
ALLOWED = 1e-6


def grid(resolution: float) -> xr.DataArray:
    """A global grid of centres, whose values nobody reads."""
    n_rows, n_columns = round(180 / resolution) + 1, round(360 / resolution)
    values = np.broadcast_to(np.float32(0), (n_rows, n_columns))
    return xr.DataArray(values, {"lat": np.linspace(90, -90, n_rows), "lon": np.arange(n_columns) * resolution})


def table(polygons: Any) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame({"reach": np.arange(len(polygons)) + 1}, geometry=polygons, crs="EPSG:4326")


def geodesic_areas(polygons: Any) -> np.ndarray:
    return np.array([abs(GEOD.geometry_area_perimeter(polygon)[0]) for polygon in polygons])


# ── areas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def raster() -> shapely.Polygon:
    """The outline of some cells of a raster, each side of a cell an edge of length 1."""
    return shapely.segmentize(shapely.union_all([shapely.box(k, 0, k + 1, 20 + k % 2) for k in range(20)]), 1.0)


def zigzag() -> shapely.Polygon:
    """A square whose sides go in and out, with edges of length 1."""
    side = np.column_stack([np.arange(20), -(np.arange(20) % 2)]) / np.sqrt(2)
    sides = [side]
    for _ in range(3):
        x, y = sides[-1].T
        sides.append(np.column_stack([20 / np.sqrt(2) - y, x]))
    return shapely.Polygon(np.concatenate(sides))


def placed(shape: shapely.Polygon, edge: float, lat: float) -> shapely.Polygon:
    """The shape with edges of so many metres, at a latitude."""
    return shapely.transform(shape, lambda xy: [10, lat] + xy * edge / METRES / [np.cos(np.radians(lat)), 1])


def blobs(n: int, lat: tuple[float, float], radius: Any, points: int = 100) -> Any:
    """Polygons with bays and capes; ``radius`` in degrees of latitude."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    wave = 0.3 * np.sin(3 * angle + rng.uniform(0, 6, (n, 1))) + 0.1 * np.sin(7 * angle + rng.uniform(0, 6, (n, 1)))
    y = rng.uniform(*lat, n)
    far = np.broadcast_to(radius, n)[:, None] * (1 + wave)
    ring = np.stack([
        rng.uniform(-180, 180, n)[:, None] + far * np.cos(angle) / np.cos(np.radians(y))[:, None],
        y[:, None] + far * np.sin(angle),
    ], axis=-1)  # fmt: skip
    return shapely.polygons(np.concatenate([ring, ring[:, :1]], axis=1))


def check_areas() -> None:
    """Print how far areas are from pyproj's."""
    cells = grid(0.5)
    cases = {"raster of 90 m": (raster(), 90), "zigzag of 2 km": (zigzag(), 2e3), "zigzag of 10 km": (zigzag(), 1e4)}
    worst = 0.0
    print(f"{'off from pyproj at most:':<26}{'latitude':>9}{'straight':>11}{'geodesic':>11}")
    for lat in (0.0, 45.0, 80.0):
        shapes = {name: [placed(shape, edge, lat)] for name, (shape, edge) in cases.items()}
        shapes["round, of 100 vertices"] = blobs(20, (lat - 1, lat + 1), 0.2)
        for name, polygons in shapes.items():
            truth = geodesic_areas(polygons)
            off = []
            for edges in ("straight", "geodesic"):
                made = xroute.grid_weights(cells, table(polygons), edges=edges)
                sums = np.bincount(made.reach.values - 1, made.area.values)
                off.append(max(float(np.abs(v / truth - 1).max()) for v in (made.catchment_area.values, sums)))
            print(f"{name:<26}{lat:>9.0f}{off[0]:>11.1e}{off[1]:>11.1e}")
            worst = max(worst, off[1])
    if worst > ALLOWED:
        sys.exit(f"areas are off by {worst:.1e}, and {ALLOWED:.0e} is allowed")


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def peak() -> float:
    """Of the memory of this process [GB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("polygons", nargs="?", type=int, default=100_000)
    parser.add_argument("resolution", nargs="?", type=float, default=0.1, help="of the grid, in degrees")
    parser.add_argument("--small", action="store_true", help="2,000 polygons on a grid of 1 degree, to try it")
    options = parser.parse_args(words)
    if options.small:
        options.polygons, options.resolution = 2000, 1.0
    return options


def main() -> None:
    options = parse()
    n, resolution = options.polygons, options.resolution
    check_areas()
    areas = np.exp(np.random.default_rng(1).uniform(np.log(20), np.log(2000), n))  # km2
    catchments = table(blobs(n, (-55, 75), np.sqrt(areas / np.pi) * 1e3 / METRES))
    cells = grid(resolution)
    before = peak()
    begin, processor = time.perf_counter(), time.process_time()
    weights = xroute.grid_weights(cells, catchments)
    spent, processor = time.perf_counter() - begin, time.process_time() - processor
    sums = np.bincount(weights.reach.values - 1, weights.area.values)
    parts = float(np.abs(sums / weights.catchment_area.values - 1).max())
    print(
        f"{n:,} polygons of 100 vertices on {cells.size:,} cells: {spent:.1f} s ({processor:.1f} s of processors), "
        f"{weights.sizes['overlap']:,} overlaps; sums off from the polygons by at most {parts:.0e}; "
        f"peak {peak():.2f} GB, {before:.2f} GB before"
    )


if __name__ == "__main__":
    main()
