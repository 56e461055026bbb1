"""Weights from grids to catchments, against geodesic areas, closed forms, and each other."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import xroute
from xroute.cli import main
from xroute.earth import height_between
from xroute.exceptions import AlignmentError, NetworkError, ParameterError

geopandas = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")
pyproj = pytest.importorskip("pyproj")
GEOD = pyproj.Geod(ellps="WGS84")
WGS84 = "EPSG:4326"
HALF = 0.125


def blobs(n, lon, lat, size, seed=0, points=60):
    """Polygons with bays and capes, of any size in degrees."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = 1 + 0.3 * np.sin(3 * angle + rng.uniform(0, 6, (n, 1))) + 0.1 * np.sin(7 * angle + rng.uniform(0, 6, (n, 1)))
    x = rng.uniform(*lon, n)[:, None] + size * radius * np.cos(angle)
    y = rng.uniform(*lat, n)[:, None] + size * radius * np.sin(angle)
    ring = np.stack([x, y], axis=-1)
    return shapely.polygons(np.concatenate([ring, ring[:, :1]], axis=1))


def table(geometry, ids=None, crs=WGS84, column="COMID"):
    ids = 7 * np.arange(len(geometry)) + 3 if ids is None else ids
    return geopandas.GeoDataFrame({column: ids}, geometry=list(geometry), crs=crs)


LON, LAT = np.arange(-6, 16.1, 0.25), np.arange(38, 62.1, 0.25)
CATCHMENTS = table(blobs(40, (-3, 12), (42, 58), 0.7))


def grid(lon=LON, lat=LAT, names=("lat", "lon")):
    return xr.DataArray(np.zeros((len(lat), len(lon)), "f4"), dict(zip(names, (lat, lon), strict=True)))


@pytest.fixture(scope="module")
def weights():
    return xroute.grid_weights(grid(), CATCHMENTS)


def by_place(weights, lon, lat):
    """Areas by reach and the place of the cell's centre, whatever position it has."""
    lon, lat = (np.asarray(v, float) for v in (lon, lat))
    if "cell" in weights:
        x, y = lon.ravel()[weights.cell.values], lat.ravel()[weights.cell.values]
    elif lon.ndim == 2:
        x, y = (v[weights.y_index.values, weights.x_index.values] for v in (lon, lat))
    else:
        x, y = lon[weights.x_index.values], lat[weights.y_index.values]
    keys = zip(weights.reach.values.tolist(), np.round(y, 6), np.round(x % 360, 6), strict=True)
    return dict(zip(keys, zip(weights.area.values, weights.cell_area.values, strict=True), strict=True))


def assert_same(found, expected, rtol=1e-12):
    for key in set(found) | set(expected):
        area, whole = expected.get(key) or found[key]
        assert abs(found.get(key, (0.0,))[0] - expected.get(key, (0.0,))[0]) <= rtol * whole, key
        if key in found and key in expected:
            assert found[key][1] == pytest.approx(whole, rel=max(rtol, 1e-12))


def geodesic(polygon, spacing=1e-3):
    """Area by geodesics between points that lie closely along edges which are straight on longitude and latitude."""
    return abs(GEOD.geometry_area_perimeter(shapely.segmentize(polygon, spacing))[0])


# ── areas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def noisy(lon, lat, size, points, seed=0):
    """A polygon whose edges are long and go in and out, as coarse outlines do."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = size * np.random.default_rng(seed).uniform(0.6, 1, points)
    x = lon + radius * np.cos(angle) / np.cos(np.radians(lat))
    return shapely.Polygon(np.column_stack([x, lat + radius * np.sin(angle)]))


@pytest.mark.parametrize("lat", [0, 45, 70, 80])
@pytest.mark.parametrize(("size", "points"), [(0.02, 12), (0.1, 20), (0.5, 60), (3.0, 12)])
def test_edges_may_be_geodesics(lat, size, points):
    """Of the very vertices that pyproj is given, however far apart they are."""
    polygons = [*(noisy(179.9, lat, size, points, seed) for seed in range(3)), shapely.box(8, lat, 8 + size, lat + size)]
    made = xroute.grid_weights(grid(np.arange(-179.5, 180), np.arange(-89.5, 90)), table(polygons), edges="geodesic")
    truth = [abs(GEOD.geometry_area_perimeter(p)[0]) for p in polygons]
    np.testing.assert_allclose(made.catchment_area, truth, rtol=1e-7)
    np.testing.assert_allclose(made.area.groupby(made.reach).sum(), truth, rtol=1e-7)
    assert (made.covered == 1).all()


def test_neighbours_with_geodesic_edges_fit():
    """What one has of a cell, the other has not: together they are the outline of both, in every order of vertices."""
    west, east = [(0, 60), (2, 60.3), (1.5, 64), (0, 63)], [(1.5, 64), (2, 60.3), (5, 61), (4, 63.5)]
    both = [(0, 60), (2, 60.3), (5, 61), (4, 63.5), (1.5, 64), (0, 63)]
    cells = grid(np.arange(-3, 9, 0.5), np.arange(57, 68, 0.5))
    parts = xroute.grid_weights(cells, table([shapely.Polygon(west), shapely.Polygon(east)]), edges="geodesic")
    whole = xroute.grid_weights(cells, table([shapely.Polygon(both)]), edges="geodesic")
    key = ("y_index", "x_index")
    one, other = (w[["area", *key]].to_dataframe().groupby(list(key)).area.sum() for w in (parts, whole))
    assert one.index.equals(other.index)
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1.0)
    assert abs(parts.area.sum() / whole.area.sum() - 1) < 1e-13


def test_geodesic_edges_of_catchments_in_a_projection():
    outline = shapely.box(4_300_000, 3_000_000, 4_500_000, 3_100_000)
    made = {e: xroute.grid_weights(grid(), table([outline], crs="EPSG:3035"), edges=e) for e in ("straight", "geodesic")}
    corners = pyproj.Transformer.from_crs(3035, 4326, always_xy=True).transform(*np.asarray(outline.exterior.coords).T)
    truth = abs(GEOD.polygon_area_perimeter(*corners)[0])
    assert float(made["geodesic"].catchment_area[0]) == pytest.approx(truth, rel=1e-8)
    assert float(made["straight"].catchment_area[0]) == pytest.approx(2e10, rel=1e-7)  # an equal-area projection
    assert 'edges="geodesic"' in made["geodesic"].attrs["history"]
    with pytest.raises(ParameterError, match="edges is one of 'straight', 'geodesic'"):
        xroute.grid_weights(grid(), CATCHMENTS, edges="great-circle")


def test_areas_are_those_of_geodesy_from_the_equator_to_the_poles():
    for lat in (0, 20, 45, 65, 78):
        polygons = blobs(4, (-170, 170), (lat - 1, lat + 1), 0.3, seed=lat, points=600)
        made = xroute.grid_weights(grid(np.arange(0, 360, 0.5) + 0.25, np.arange(-90, 90, 0.5) + 0.25), table(polygons))
        truth = [geodesic(p) for p in polygons]
        np.testing.assert_allclose(made.catchment_area, truth, rtol=1e-8)
        sums = made.area.groupby(made.reach).sum()
        np.testing.assert_allclose(sums.sel(reach=made.catchment.values), truth, rtol=1e-8)
        plain = [abs(GEOD.geometry_area_perimeter(p)[0]) for p in polygons]  # edges as geodesics: short ones are the same
        np.testing.assert_allclose(made.catchment_area, plain, rtol=1e-6)


def test_long_edges_are_straight_on_longitude_and_latitude():
    box = shapely.box(10, 40, 20, 50)
    slanted = shapely.Polygon([(0, 40), (30, 41), (10, 70)])
    made = xroute.grid_weights(grid(), table([box, slanted]), uncovered="accept")
    np.testing.assert_allclose(made.catchment_area, [geodesic(box), geodesic(slanted)], rtol=1e-9)


def test_cells_have_the_area_between_parallels_in_closed_form():
    """Against the area of a spheroid's zone, written once more, and the area of the whole earth."""
    lat = np.arange(-90, 91, 5.0)
    e = np.sqrt(2 / 298.257223563 - 1 / 298.257223563**2)
    s = np.sin(np.radians(lat))
    zone = 6378137.0**2 * (1 - e**2) / 2 * (s / (1 - e**2 * s**2) + np.log((1 + e * s) / (1 - e * s)) / (2 * e))
    expected = np.diff(zone) * np.radians(5)
    made = [height_between(a, b) * 5 for a, b in zip(lat[:-1], lat[1:], strict=True)]
    np.testing.assert_allclose(made, expected, rtol=1e-12)
    assert 360 * height_between(-90.0, 90.0) == pytest.approx(510065621724088.4, rel=1e-13)
    near = height_between(45.0, 45.0 + 1e-9)  # no digits are lost between close latitudes
    assert near == pytest.approx(height_between(45.0, 45.001) * 1e-6, rel=1e-4)


def test_overlaps_by_brute_force():
    """Each overlap against the geodesic area of the intersection that shapely finds, on longitude and latitude."""
    lon, lat = np.arange(0, 3, 0.5), np.arange(50, 53, 0.5)
    polygons = blobs(3, (0.8, 1.8), (50.8, 51.8), 0.6)
    found = by_place(xroute.grid_weights(grid(lon, lat), table(polygons), uncovered="accept"), lon, lat)
    expected = {}
    for reach, polygon in zip((3, 10, 17), polygons, strict=True):
        for x in lon:
            for y in lat:
                common = polygon.intersection(shapely.box(x - 0.25, y - 0.25, x + 0.25, y + 0.25))
                if common.area:
                    whole = geodesic(shapely.box(x - 0.25, y - 0.25, x + 0.25, y + 0.25))
                    expected[reach, y, x] = sum(geodesic(p) for p in shapely.get_parts(common)), whole
    assert len(found) == len(expected) > 30
    assert_same(found, expected, rtol=1e-8)


def test_holes_islands_and_edges_along_the_grid():
    ring = shapely.box(0, 50, 2, 52) - shapely.box(0.5, 50.5, 1.5, 51.5)
    islands = shapely.union_all([shapely.box(0, 50, 0.5, 50.5), shapely.box(1.5, 51.5, 2, 52)])
    whole = shapely.box(0.5, 50.5, 1.0, 51.0)  # one cell, and nothing else
    lon, lat = np.arange(0.25, 2, 0.5), np.arange(50.25, 52, 0.5)
    made = xroute.grid_weights(grid(lon, lat), table([ring, islands, whole], [1, 2, 3]))
    count = made.area.groupby(made.reach).count()
    assert count.values.tolist() == [12, 2, 1]
    np.testing.assert_array_equal(made.area, made.cell_area)
    assert made.covered.values.tolist() == [1, 1, 1]


def test_neighbours_share_what_there_is():
    """Catchments that tile a region take each of its cells whole, to rounding, together."""
    rng = np.random.default_rng(3)
    points = shapely.MultiPoint(rng.uniform((0, 45), (4, 49), (60, 2)))
    tiles = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=shapely.box(0, 45, 4, 49)))
    tiles = shapely.intersection(tiles, shapely.box(0, 45, 4, 49))
    lon, lat = np.arange(0.05, 4, 0.1), np.arange(45.05, 49, 0.1)
    made = xroute.grid_weights(grid(lon, lat), table(tiles))
    total = np.bincount(made.y_index * lon.size + made.x_index, made.area)
    whole = np.zeros(total.size)
    whole[made.y_index * lon.size + made.x_index] = made.cell_area
    np.testing.assert_allclose(total, whole, rtol=1e-11)
    assert (total > 0).all()
    assert float(made.catchment_area.sum()) == pytest.approx(geodesic(shapely.box(0, 45, 4, 49)), rel=1e-8)


# ── the same grid, told otherwise ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turn", [lambda v: v % 360, lambda v: np.where(v < 0, v + 360, v), lambda v: v - 360])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("sort", [False, True])
def test_conventions_of_longitude_and_latitude_change_no_bit(weights, turn, down, sort):
    lon, lat = turn(LON), LAT[::-1] if down else LAT
    lon = np.sort(lon) if sort else lon
    found = by_place(xroute.grid_weights(grid(lon, lat), CATCHMENTS), lon, lat)
    assert found == by_place(weights, LON, LAT)


def test_dimensions_may_come_in_any_order_and_precision(weights):
    other = grid(LON.astype("f4"), LAT.astype("f4")).T.expand_dims(time=3)
    made = xroute.grid_weights(other, CATCHMENTS)
    xr.testing.assert_identical(made.drop_attrs(), weights.drop_attrs())


def test_catchments_may_come_in_any_order(weights):
    order = np.random.default_rng(0).permutation(len(CATCHMENTS))
    made = xroute.grid_weights(grid(), CATCHMENTS.iloc[order])
    assert made.catchment.values.tolist() == CATCHMENTS.COMID.iloc[order].tolist()
    for reach in CATCHMENTS.COMID:
        for name in ("area", "y_index", "x_index"):
            np.testing.assert_array_equal(made[name][made.reach == reach], weights[name][weights.reach == reach])


def test_a_globe_may_be_cut_open_anywhere():
    catchments = table(blobs(20, (170, 190), (-70, 80), 0.7))
    lat, found = np.arange(89.75, -90, -0.5), []
    for start in (-180, 0, -33.5, 100):
        lon = start + 0.25 + np.arange(720) * 0.5
        lon = np.where(lon >= (360 if start >= 0 else 180), lon - 360, lon)
        found.append(by_place(xroute.grid_weights(grid(lon, lat), catchments), lon, lat))
    assert found[0] == found[1] == found[2] == found[3]


def test_catchments_across_the_date_line_come_in_three_ways():
    polygons = blobs(10, (178.5, 181.5), (-60, 70), 0.9)
    wrapped = shapely.transform(polygons, lambda xy: np.column_stack([(xy[:, 0] + 180) % 360 - 180, xy[:, 1]]))
    west, east = shapely.box(0, -90, 180, 90), shapely.box(180, -90, 360, 90)
    cut = [
        shapely.union_all([p & west, shapely.transform(p & east, lambda xy: xy - [360, 0])]) for p in polygons
    ]  # fmt: skip
    lon, lat = np.arange(-179.5, 180), np.arange(-89.5, 90)
    expected = by_place(xroute.grid_weights(grid(lon, lat), table(polygons)), lon, lat)
    for other in (wrapped, cut):
        made = xroute.grid_weights(grid(lon, lat), table(other))
        assert (made.covered == 1).all()
        assert_same(by_place(made, lon, lat), expected)


@pytest.mark.parametrize("kind", ["rectilinear", "curvilinear"])
def test_catchments_around_a_pole(kind):
    x = np.arange(-180, 180, 5.0)
    north = shapely.Polygon(np.column_stack([x, 75 + 3 * np.sin(np.radians(2 * x))]))
    south = shapely.box(-180, -90, 180, -70)
    lon, lat = np.arange(-178, 180, 4.0), np.arange(-88, 90, 4.0)
    the_grid = grid(lon, lat)
    if kind == "curvilinear":
        lon, lat = np.meshgrid(lon, lat)
        the_grid = curvilinear(lon, lat)
    made = xroute.grid_weights(the_grid, table([north, south]))
    zone = 360 * height_between(-90.0, -70.0)
    assert float(made.catchment_area[1]) == pytest.approx(zone, rel=1e-9)
    assert (made.covered == 1).all()
    waves = np.mean([height_between(75 + 3 * np.sin(a), 90.0) for a in np.linspace(0, 2 * np.pi, 721)[:-1]])
    assert float(made.catchment_area[0]) == pytest.approx(360 * waves, rel=1e-3)


# ── grids of other kinds ──────────────────────────────────────────────────────────────────────────────────────────────


def curvilinear(lon, lat):
    places = {"lon": (("j", "i"), lon), "lat": (("j", "i"), lat)}
    return xr.DataArray(np.zeros(lon.shape), dims=("j", "i"), coords=places)


def corners():
    lon, lat = np.meshgrid(LON, LAT)
    x = np.stack([lon - HALF, lon + HALF, lon + HALF, lon - HALF], axis=-1)
    y = np.stack([lat - HALF, lat - HALF, lat + HALF, lat + HALF], axis=-1)
    return lon, lat, x, y


def test_a_curvilinear_grid_of_straight_rows_is_the_rectilinear_one(weights):
    lon, lat, x, y = corners()
    expected = by_place(weights, LON, LAT)
    made = xroute.grid_weights(curvilinear(lon, lat), CATCHMENTS)
    assert set(made.variables) == set(weights.variables)
    assert_same(by_place(made, lon, lat), expected)
    bounded = xr.Dataset(
        {"ro": (("j", "i"), lon), "lon_b": (("j", "i", "v"), x), "lat_b": (("j", "i", "v"), y)},
        {"lon": (("j", "i"), lon % 360, {"bounds": "lon_b"}), "lat": (("j", "i"), lat, {"bounds": "lat_b"})},
    )
    assert_same(by_place(xroute.grid_weights(bounded, CATCHMENTS), lon, lat), expected)
    assert_same(by_place(xroute.grid_weights(bounded.isel(j=slice(None, None, -1)), CATCHMENTS), lon[::-1], lat[::-1]), expected)


def test_an_unstructured_grid_of_the_same_cells_is_the_rectilinear_one(weights):
    lon, lat, x, y = corners()
    cell = np.random.default_rng(1).permutation(lon.size)
    lon, lat, x, y = lon.ravel()[cell], lat.ravel()[cell], x.reshape(-1, 4)[cell], y.reshape(-1, 4)[cell]
    icon = xr.Dataset(
        {"ro": (("time", "cell"), np.zeros((2, lon.size))),
         "clon_vertices": (("cell", "nv"), np.radians(x)), "clat_vertices": (("cell", "nv"), np.radians(y))},
        {"clon": ("cell", np.radians(lon), {"units": "radian", "bounds": "clon_vertices", "standard_name": "longitude"}),
         "clat": ("cell", np.radians(lat), {"units": "radian", "bounds": "clat_vertices", "standard_name": "latitude"})},
    )  # fmt: skip
    made = xroute.grid_weights(icon, CATCHMENTS)
    assert made.attrs["grid_dims"] == "cell" and "y_index" not in made
    assert_same(by_place(made, lon, lat), by_place(weights, LON, LAT))
    with pytest.raises(AlignmentError, match="no corners.*bounds"):
        xroute.grid_weights(icon.ro, CATCHMENTS)


def test_a_mesh_of_ugrid_with_faces_of_several_corners(weights):
    """Squares, of which some are cut into triangles: what the two halves have is what the square had."""
    n_x, n_y = LON.size, LAT.size
    node = np.arange((n_x + 1) * (n_y + 1)).reshape(n_y + 1, n_x + 1)
    x, y = np.meshgrid(np.append(LON - HALF, LON[-1] + HALF), np.append(LAT - HALF, LAT[-1] + HALF))
    square = np.stack([node[:-1, :-1], node[:-1, 1:], node[1:, 1:], node[1:, :-1]], axis=-1).reshape(-1, 4)
    cut = np.arange(len(square)) % 3 == 0
    first = np.column_stack([square[cut][:, :3], np.full(cut.sum(), -2)])
    second = np.column_stack([square[cut][:, [0, 2, 3]], np.full(cut.sum(), -2)])
    faces, of = np.concatenate([square[~cut], first, second]), np.concatenate([np.flatnonzero(~cut), *[np.flatnonzero(cut)] * 2])
    mesh = xr.Dataset(
        {"ro": ("face", np.zeros(len(faces)), {"mesh": "topology"}),
         "topology": ((), 0, {"cf_role": "mesh_topology", "topology_dimension": 2, "node_coordinates": "node_x node_y",
                              "face_node_connectivity": "face_nodes"}),
         "face_nodes": (("face", "corner"), faces + 1, {"start_index": 1, "_FillValue": -1}),
         "node_x": ("node", x.ravel(), {"standard_name": "longitude", "units": "degrees_east"}),
         "node_y": ("node", y.ravel(), {"standard_name": "latitude", "units": "degrees_north"})},
    )  # fmt: skip
    made = xroute.grid_weights(mesh, CATCHMENTS)
    found = {}
    for reach, face, area in zip(made.reach.values.tolist(), made.cell.values, made.area.values, strict=True):
        found[reach, int(of[face])] = found.get((reach, int(of[face])), 0) + area
    for reach, row, column, area in zip(*(weights[n].values for n in ("reach", "y_index", "x_index", "area")), strict=True):
        assert found.pop((reach, row * n_x + column), 0) == pytest.approx(area, rel=1e-9, abs=1)
    assert not found


def projected(crs, lon_edges, lat_edges):
    """The same cells in a cylindrical projection, whose lines are meridians and parallels."""
    to = pyproj.Transformer.from_crs(WGS84, crs, always_xy=True)
    x = to.transform(lon_edges, 0 * lon_edges)[0]
    y = to.transform(0 * lat_edges, lat_edges)[1]
    ends = {"xb": ("x", x), "yb": ("y", y)}
    bounds = {name: ((dim, "b"), np.stack([v[:-1], v[1:]], axis=1)) for name, (dim, v) in ends.items()}
    return xr.Dataset(
        {"ro": (("y", "x"), np.zeros((y.size - 1, x.size - 1))), **bounds},
        {"x": ("x", (x[1:] + x[:-1]) / 2, {"bounds": "xb", "standard_name": "projection_x_coordinate", "units": "m"}),
         "y": ("y", (y[1:] + y[:-1]) / 2, {"bounds": "yb", "standard_name": "projection_y_coordinate", "units": "m"})},
    )  # fmt: skip


@pytest.mark.parametrize("crs", ["EPSG:6933", "EPSG:3395"])  # one keeps areas, Mercator's does not
def test_a_projected_grid_of_the_same_cells_is_the_geographic_one(weights, crs):
    dataset = projected(crs, np.append(LON - HALF, LON[-1] + HALF), np.append(LAT - HALF, LAT[-1] + HALF))
    made = xroute.grid_weights(dataset, CATCHMENTS, crs=crs)
    cells = zip(made.reach.values, made.y_index.values, made.x_index.values, strict=True)
    found = dict(zip(cells, made.area.values, strict=True))
    assert len(found) == weights.sizes["overlap"]
    for *key, area, whole in zip(*(weights[n].values for n in ("reach", "y_index", "x_index", "area", "cell_area")), strict=True):
        assert abs(found[tuple(key)] - area) < 2e-7 * whole


ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +datum=WGS84"


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        ("EPSG:3035", np.arange(2.0e6, 6e6, 25e3), np.arange(1e6, 5e6, 25e3)),
        ("EPSG:3413", np.arange(-1e6, 6e6, 25e3), np.arange(-8e6, 1e6, 25e3)),
        (ROTATED, np.arange(-30, 20, 0.25), np.arange(-30, 30, 0.25)),
    ],
)
def test_cells_of_a_projection_have_true_areas(weights, crs, x, y):
    array = grid(x, y, ("y", "x"))
    made = xroute.grid_weights(array, CATCHMENTS, crs=crs)
    np.testing.assert_allclose(made.catchment_area, weights.catchment_area, rtol=1e-12)
    sums = made.area.groupby(made.reach).sum().sel(reach=made.catchment.values)
    np.testing.assert_allclose(sums, made.catchment_area, rtol=1e-10)
    k = int(np.argmax(made.cell_area.values))
    half = (x[1] - x[0]) / 2
    to = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True)
    box = shapely.box(*(v + s for s in (-half, half) for v in (x[made.x_index[k]], y[made.y_index[k]])))
    lon, lat = to.transform(*shapely.get_coordinates(shapely.segmentize(box, half / 500)).T)
    assert float(made.cell_area[k]) == pytest.approx(abs(GEOD.polygon_area_perimeter(lon, lat)[0]), rel=1e-7)
    if crs == "EPSG:3035":
        np.testing.assert_allclose(made.cell_area, 25e3**2, rtol=1e-7)


def test_a_grid_mapping_is_found_and_kilometres_are_read(weights):
    x, y = np.arange(2.0e6, 6e6, 50e3), np.arange(1e6, 5e6, 50e3)
    plain = xroute.grid_weights(grid(x, y, ("y", "x")), CATCHMENTS, crs="EPSG:3035")
    dataset = grid(x / 1000, y / 1000, ("y", "x")).to_dataset(name="ro")
    dataset["x"].attrs = {"standard_name": "projection_x_coordinate", "units": "km"}
    dataset["y"].attrs = {"standard_name": "projection_y_coordinate", "units": "km"}
    dataset["laea"] = ((), 0, pyproj.CRS("EPSG:3035").to_cf())
    dataset["ro"].attrs["grid_mapping"] = "laea"
    for other in (dataset, dataset.assign(lon=(("y", "x"), np.zeros((80, 80)), {"units": "degrees_east"}))):
        made = xroute.grid_weights(other, CATCHMENTS)
        np.testing.assert_allclose(made.area, plain.area, rtol=1e-9)
    with pytest.raises(AlignmentError, match="coordinate system.*crs="):
        xroute.grid_weights(grid(x, y, ("y", "x")), CATCHMENTS)
    with pytest.raises(ParameterError, match="no coordinate system"):
        xroute.grid_weights(grid(x, y, ("y", "x")), CATCHMENTS, crs="nonsense")


def test_degrees_under_other_names(weights):
    expected = weights.drop_attrs()
    for names, crs in ((("y", "x"), "EPSG:4326"), (("latitude", "longitude"), None), (("nav_lat", "nav_lon"), None)):
        xr.testing.assert_identical(xroute.grid_weights(grid(names=names), CATCHMENTS, crs=crs).drop_attrs(), expected)
    said = grid(names=("a", "b"))
    said["a"].attrs, said["b"].attrs = {"units": "degrees_north"}, {"standard_name": "longitude"}
    xr.testing.assert_identical(xroute.grid_weights(said, CATCHMENTS).drop_attrs(), expected)
    wrf = xr.Dataset({"RUNOFF": (("Time", "south_north", "west_east"), np.zeros((2, LAT.size, LON.size)))})
    for name, values in zip(("XLONG", "XLAT"), np.meshgrid(LON, LAT), strict=True):
        wrf = wrf.assign_coords({name: (("Time", "south_north", "west_east"), np.stack([values, values]))})
    made = xroute.grid_weights(wrf.RUNOFF, CATCHMENTS)
    assert made.attrs["grid_dims"] == "south_north west_east"
    assert_same(by_place(made, *np.meshgrid(LON, LAT)), by_place(weights, LON, LAT))
    moving = wrf.assign_coords(XLONG=wrf.XLONG + xr.DataArray([0, 1], dims="Time"))
    with pytest.raises(AlignmentError, match="moves"):
        xroute.grid_weights(moving.RUNOFF, CATCHMENTS)


# ── bounds ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bounds_that_are_there_are_used():
    """Cells of uneven width, whose sides are not in the middle between centres."""
    edges = np.array([0, 1, 1.5, 3.5, 4])
    dataset = xr.Dataset(
        {"ro": (("lat", "lon"), np.zeros((1, 4))), "lon_bnds": (("lon", "b"), np.stack([edges[:-1], edges[1:]], 1)),
         "lat_bnds": (("lat", "b"), [[50.0, 51.0]])},
        {"lat": ("lat", [50.5], {"bounds": "lat_bnds"}), "lon": ("lon", (edges[1:] + edges[:-1]) / 2, {"bounds": "lon_bnds"})},
    )  # fmt: skip
    made = xroute.grid_weights(dataset, table([shapely.box(0, 50, 4, 51)]))
    np.testing.assert_allclose(made.area, np.diff(edges) * height_between(50.0, 51.0), rtol=1e-12)
    with pytest.raises(AlignmentError, match="one cell wide along 'lat'.*bounds"):
        xroute.grid_weights(dataset.ro, table([shapely.box(0, 50, 4, 51)]))
    wrong = dataset.assign(lon_bnds=dataset.lon_bnds + 10)
    with pytest.raises(AlignmentError, match="outside of its bounds"):
        xroute.grid_weights(wrong, table([shapely.box(0, 50, 4, 51)]))


def test_gaps_repeated_columns_and_holes_in_a_grid():
    catchments = table([shapely.box(0, 50, 4, 51)])
    with pytest.raises(AlignmentError, match=r"isel\(lon=slice\(0, -1\)\)"):
        xroute.grid_weights(grid(np.arange(0, 361, 1.0)), catchments)
    with pytest.raises(AlignmentError, match="sudden change"):
        xroute.grid_weights(grid(np.array([0.0, 1, 2, 5, 6, 7])), catchments)
    with pytest.raises(AlignmentError, match="beyond the poles"):
        xroute.grid_weights(grid(lat=np.arange(80, 95.0)), catchments)
    with pytest.raises(AlignmentError, match="cannot be told"):
        xroute.grid_weights(xr.DataArray(np.zeros((3, 3)), dims=("a", "b")), catchments)
    ends = [[0.0, 1], [1, 2], [3, 4]]  # nothing between 2 and 3
    dataset = grid(np.array([0.5, 1.5, 3.5]), np.array([50.25, 50.75])).to_dataset(name="ro")
    dataset["lon"].attrs["bounds"] = "lb"
    dataset["lb"] = (("lon", "b"), ends)
    made = xroute.grid_weights(dataset, catchments, uncovered="accept")
    assert float(made.covered[0]) == pytest.approx(0.75, rel=1e-12)


def test_ends_reach_as_far_out_as_in_and_no_farther_than_the_poles():
    lat = np.linspace(-90, 90, 181)  # centres on the poles
    everywhere = table([shapely.box(-180, -90, 180, 90)])
    made = xroute.grid_weights(grid(np.arange(0.0, 360), lat), everywhere)
    assert float(made.area.sum()) == pytest.approx(510065621724088.4, rel=1e-12)
    assert made.sizes["overlap"] == 181 * 360 and float(made.covered[0]) == 1
    told = grid(np.arange(0.0, 360), lat).to_dataset(name="ro")
    told["lat_bnds"] = ("lat", "b"), np.column_stack([lat - 0.5, lat + 0.5])  # as many files have them
    xr.testing.assert_identical(made.drop_attrs(), xroute.grid_weights(told, everywhere).drop_attrs())


# ── catchments ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_catchments_in_a_projection_keep_their_edges(weights):
    """Edges straight in the projection: against the same polygons with many points on them."""
    boxes = [shapely.box(4e6 + 3e5 * k, 2.5e6, 4.25e6 + 3e5 * k, 3e6) for k in range(3)]
    made = xroute.grid_weights(grid(), table(boxes, crs="EPSG:3035"), uncovered="accept")
    np.testing.assert_allclose(made.catchment_area, 2.5e5 * 5e5, rtol=3e-8)  # the projection keeps areas
    moved = xroute.grid_weights(grid(), CATCHMENTS.set_geometry(CATCHMENTS.segmentize(0.005)).to_crs("EPSG:3857"))
    np.testing.assert_allclose(moved.catchment_area, weights.catchment_area, rtol=1e-7)


def test_partly_covered_catchments_are_raised_reported_or_accepted():
    polygons = [shapely.box(0, 50, 1, 51), shapely.box(15.5, 50, 16.5, 51), shapely.box(30, 50, 31, 51)]
    catchments = table(polygons, ["a", "b", "c"])
    with pytest.raises(AlignmentError, match=r"2 of 3 catchments, 1 of them not at all.*'c' \(0 %\), 'b' \(62.5 %\)"):
        xroute.grid_weights(grid(), catchments)
    with pytest.warns(UserWarning, match="'b'"):
        xroute.grid_weights(grid(), catchments, uncovered="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = xroute.grid_weights(grid(), catchments, uncovered="accept")
    np.testing.assert_allclose(made.covered, [1, 0.625, 0], rtol=1e-12)
    assert made.catchment.values.tolist() == ["a", "b", "c"] and set(made.reach.values) == {"a", "b"}
    with pytest.raises(ParameterError, match="uncovered is one of"):
        xroute.grid_weights(grid(), catchments, uncovered="drop")
    touching = xroute.grid_weights(grid(), table([shapely.box(15, 50, 16.125 + 1e-9, 51)]))  # a sliver, by rounding
    assert float(touching.covered[0]) == pytest.approx(1)


def test_invalid_polygons_are_mended_and_counted():
    bow = shapely.Polygon([(0, 50), (1, 51), (1, 50), (0, 51)])
    with pytest.warns(UserWarning, match="1 of 2 catchments are invalid.*: 10"):
        made = xroute.grid_weights(grid(), table([shapely.box(0, 50, 1, 51), bow]))
    half = geodesic(shapely.Polygon([(0, 50), (0.5, 50.5), (0, 51)]))
    assert float(made.catchment_area[1]) == pytest.approx(half * 2, rel=1e-9)
    with pytest.raises(ParameterError, match="enclose no area: 3"):
        xroute.grid_weights(grid(), table([shapely.Polygon([(0, 50), (1, 51), (0, 50)])]))


@pytest.mark.parametrize("lack", [None, shapely.Polygon()])
def test_geometries_that_are_missing_are_named(lack):
    with pytest.raises(ParameterError, match="1 catchments have no geometry: 10"):
        xroute.grid_weights(grid(), table([shapely.box(0, 50, 1, 51), lack]))


def test_rows_of_one_id_are_one_catchment():
    parts = [shapely.box(0, 50, 1, 51), shapely.box(5, 50, 6, 51), shapely.box(0.5, 50, 1.5, 51)]
    made = xroute.grid_weights(grid(), table(parts, [8, 9, 8]))
    one = xroute.grid_weights(grid(), table([shapely.box(0, 50, 1.5, 51), parts[1]], [8, 9]))
    assert made.catchment.values.tolist() == [8, 9]
    np.testing.assert_allclose(made.area, one.area, rtol=1e-12)
    np.testing.assert_allclose(made.catchment_area, one.catchment_area, rtol=1e-12)


def test_ids_are_exact_and_found_by_name():
    polygons, big = [shapely.box(0, 50, 1, 51), shapely.box(1, 50, 2, 51)], 2**53
    for column in ("COMID", "LINKNO", "hyriv_id", "HYBAS_ID", "reach", "divide_id"):
        made = xroute.grid_weights(grid(), table(polygons, [big + 1, big + 3], column=column))
        assert made.catchment.values.tolist() == [big + 1, big + 3]
    named = table(polygons, ["x", "y"], column="basin").assign(other=[1, 2])
    assert xroute.grid_weights(grid(), named, reach="basin").catchment.values.tolist() == ["x", "y"]
    assert xroute.grid_weights(grid(), named.set_index("basin"), reach="basin").catchment.values.tolist() == ["x", "y"]
    with pytest.raises(ParameterError, match="which column.*reach="):
        xroute.grid_weights(grid(), named)
    with pytest.raises(ParameterError, match="no column 'z'"):
        xroute.grid_weights(grid(), named, reach="z")
    with pytest.raises(ParameterError, match="several columns.*COMID.*LINKNO"):
        xroute.grid_weights(grid(), named.assign(COMID=[1, 2], LINKNO=[1, 2]))
    with pytest.raises(NetworkError, match="1 catchments have no id"):
        xroute.grid_weights(grid(), table(polygons, [1, None]))


def test_catchments_without_a_coordinate_system_are_taken_as_degrees_and_it_is_said(weights):
    with pytest.warns(UserWarning, match="no coordinate system"):
        made = xroute.grid_weights(grid(), CATCHMENTS.set_crs(None, allow_override=True))
    xr.testing.assert_identical(made.drop_attrs(), weights.drop_attrs())
    metres = CATCHMENTS.to_crs("EPSG:3857").set_crs(None, allow_override=True)
    with pytest.warns(UserWarning), pytest.raises(ParameterError, match="not on the globe in degrees.*set_crs"):
        xroute.grid_weights(grid(), metres)


def test_what_is_no_catchment_is_refused():
    lines = table([shapely.LineString([(0, 50), (1, 51)])])
    for wrong in (lines, table([shapely.Point(0, 50)])):
        with pytest.raises(ParameterError, match='no outlines.*method="nearest"'):
            xroute.grid_weights(grid(), wrong)
    network = xr.Dataset({"downstream": ("reach", [0])}, {"reach": [1], "lon": ("reach", [0.0]), "lat": ("reach", [50.0])})
    with pytest.raises(ParameterError, match='a network has no outlines.*method="nearest"'):
        xroute.grid_weights(grid(), network)
    with pytest.raises(ParameterError, match="not list"):
        xroute.grid_weights(grid(), [1])
    mixed = table([shapely.box(0, 50, 1, 51), shapely.Point(0, 50)])
    with pytest.raises(ParameterError, match="1 of 2 are 'Point': 10"):
        xroute.grid_weights(grid(), mixed)
    with pytest.raises(ParameterError, match="a grid is"):
        xroute.grid_weights(np.zeros((3, 3)), CATCHMENTS)


# ── the nearest cell ──────────────────────────────────────────────────────────────────────────────────────────────────


def rivers(lon, lat, **variables):
    n = len(lon)
    links = {"downstream": ("reach", np.zeros(n, int)), **variables}
    return xr.Dataset(links, {"reach": np.arange(n) + 5, "lon": ("reach", lon), "lat": ("reach", lat)})


def test_the_nearest_cell_is_the_one_at_the_least_distance_on_the_sphere():
    """By all distances, with points across the date line and close to a pole, on two grids that are cut open at other places."""
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(-180, 180, 60), rng.uniform(-89, 89, 60)
    network = rivers(lon, lat, area=("reach", rng.uniform(1, 9, 60), {"units": "km2"}))
    lat_axis, found = np.arange(-88, 90, 4.0), []
    for axis in (np.arange(2, 360, 4.0), np.arange(-178, 180, 4.0)):
        made = xroute.grid_weights(grid(axis, lat_axis), network, method="nearest")
        x, y = np.radians(np.broadcast_arrays(axis, lat_axis[:, None]))
        for k in range(60):
            a, b = np.radians(lon[k]), np.radians(lat[k])
            cosine = np.sin(y) * np.sin(b) + np.cos(y) * np.cos(b) * np.cos(x - a)
            assert (made.y_index[k], made.x_index[k]) == np.unravel_index(cosine.argmax(), cosine.shape)
        found.append(by_place(made, axis, lat_axis))
    np.testing.assert_array_equal(made.area, network.area * 1e6)
    np.testing.assert_array_equal(made.catchment_area, network.area * 1e6)
    assert (made.covered == 1).all() and made.attrs["method"] == "nearest"
    assert found[0] == found[1]


def test_cells_equally_near_are_chosen_alike_in_any_order():
    network = rivers([1.0, 359.0], [50.0, 50.0], area=("reach", [1.0, 1.0]))
    for lon in (np.arange(0, 360, 2.0), np.arange(-180, 180, 2.0)[::-1]):
        for lat in (np.array([49.0, 51.0]), np.array([51.0, 49.0])):
            made = xroute.grid_weights(grid(lon, lat), network, method="nearest")
            assert set(lat[made.y_index]) == {51.0} and set(lon[made.x_index] % 360) <= {0.0, 2.0, 358.0}
            assert (lon[made.x_index] % 360).tolist() == [0.0, 0.0]


def test_the_nearest_method_needs_areas_and_cells_that_are_near():
    places = rivers([0.0, 40.0], [50.0, 50.0])
    with pytest.raises(ParameterError, match="needs the local area.*local_area"):
        xroute.grid_weights(grid(), places, method="nearest")
    places["area"] = ("reach", [1e6, 1e6])
    with pytest.raises(AlignmentError, match="1 of 2 catchments are farther.*6"):
        xroute.grid_weights(grid(), places, method="nearest")
    made = xroute.grid_weights(grid(), places, method="nearest", uncovered="accept")
    assert made.covered.values.tolist() == [1, 0]
    places["area"] = ("reach", [1e6, np.nan])
    with pytest.raises(ParameterError, match="1 catchments: 6"):
        xroute.grid_weights(grid(), places, method="nearest")
    with pytest.raises(ParameterError, match="no lon and no lat"):
        xroute.grid_weights(grid(), places.drop_vars(["lon", "lat"]), method="nearest")


def test_points_lines_and_polygons_have_nearest_cells():
    points = table([shapely.Point(0.1, 50.1), shapely.Point(3.1, 51.6)]).assign(CATCH_SKM=[2.0, 3.0])
    made = xroute.grid_weights(grid(), points, method="nearest")
    assert LON[made.x_index].tolist() == [0, 3] and LAT[made.y_index].tolist() == [50, 51.5]
    assert made.area.values.tolist() == [2e6, 3e6]
    unstructured = xr.DataArray(np.zeros(2), dims="cell", coords={"lon": ("cell", [0.0, 3.0]), "lat": ("cell", [50.0, 51.5])})
    assert xroute.grid_weights(unstructured, points, method="nearest").cell.values.tolist() == [0, 1]
    lines = points.set_geometry([shapely.LineString([(0, 50), (0.1, 50.1)]), shapely.LineString([(3, 51.5), (3.1, 51.5)])])
    assert LON[xroute.grid_weights(grid(), lines.set_crs(WGS84), method="nearest").x_index].tolist() == [0, 3]
    boxes = table([shapely.box(0, 50, 0.1, 50.1), shapely.box(3, 51.5, 3.1, 51.6)])
    made = xroute.grid_weights(grid(), boxes, method="nearest")
    assert LON[made.x_index].tolist() == [0, 3]
    np.testing.assert_allclose(made.area, [geodesic(b) for b in boxes.geometry], rtol=1e-9)


# ── files and the command line ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".shp", ".geojson"])
def test_catchments_are_read_from_files(weights, tmp_path, suffix):
    path = tmp_path / f"catchments{suffix}"
    CATCHMENTS.to_parquet(path) if suffix == ".parquet" else CATCHMENTS.to_file(path)
    made = xroute.grid_weights(grid(), path)
    assert made.catchment.values.tolist() == CATCHMENTS.COMID.tolist()
    np.testing.assert_allclose(made.catchment_area, weights.catchment_area, rtol=1e-6 if suffix == ".geojson" else 1e-12)


def test_layers_of_a_geopackage(tmp_path):
    path = tmp_path / "hydrofabric.gpkg"
    one, other = table([shapely.box(0, 50, 1, 51)], [1], column="id"), table([shapely.box(0, 50, 2, 51)], [2], column="id")
    one.to_file(path, layer="lower")
    other.to_file(path, layer="upper")
    with pytest.raises(ValueError, match="several layers.*layer="):
        xroute.grid_weights(grid(), path)
    assert xroute.grid_weights(grid(), path, layer="upper").catchment.values.tolist() == [2]
    with pytest.raises(ValueError, match="no layer 'x'"):
        xroute.grid_weights(grid(), path, layer="x")


def test_the_command_says_how_much_area_is_on_the_grid(tmp_path):
    grid().to_dataset(name="ro").to_netcdf(tmp_path / "grid.nc")
    boxes = [shapely.box(0, 50, 0.5, 50.5), shapely.box(40, 50, 41.5, 50.5)]  # the one outside is three times as large
    table(boxes).to_file(tmp_path / "catchments.gpkg")
    files = [str(tmp_path / name) for name in ("grid.nc", "catchments.gpkg", "weights.nc")]
    result = CliRunner().invoke(main, ["weights", *files, "--uncovered", "accept", "--no-progress"])
    assert "2 catchments, 25 % of their area on the grid" in result.output, result.output


@pytest.mark.parametrize("name", ["weights.nc", "weights.zarr"])
def test_the_command_makes_what_the_function_makes(weights, tmp_path, name):
    source = grid().to_dataset(name="ro").assign(other=(("a", "b"), np.zeros((2, 2))))
    source.to_netcdf(tmp_path / "grid.nc")
    CATCHMENTS.to_file(tmp_path / "catchments.gpkg")
    arguments = ["weights", str(tmp_path / "grid.nc"), str(tmp_path / "catchments.gpkg"), str(tmp_path / name)]
    result = CliRunner().invoke(main, [*arguments, "--variable", "ro", "--no-progress"])
    assert result.exit_code == 0, result.output
    assert "40 catchments, 100 % of their area on the grid" in result.output
    with xroute.io.open_dataset(tmp_path / name) as made:
        for variable in weights.variables:
            np.testing.assert_allclose(made[variable], weights[variable], rtol=1e-12)
            assert made[variable].attrs == weights[variable].attrs
        np.testing.assert_array_equal(made.attrs["grid_sizes"], weights.attrs["grid_sizes"])
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 1 and "--overwrite" in again.output
    nowhere = CliRunner().invoke(main, [*arguments, "--overwrite", "--reach-column", "river"])
    assert nowhere.exit_code == 1 and "no column 'river'" in nowhere.output
    clipped = source.isel(lon=slice(0, 20))
    clipped.to_netcdf(tmp_path / "grid2.nc")
    arguments[1] = str(tmp_path / "grid2.nc")
    beyond = CliRunner().invoke(main, [*arguments, "--overwrite"])
    assert beyond.exit_code == 1 and "--uncovered accept" in beyond.output
    over = CliRunner().invoke(main, [*arguments[:3], arguments[2], "--overwrite"])
    assert over.exit_code == 2


def test_no_value_of_the_grid_is_read(weights):
    dask = pytest.importorskip("dask")

    def refuse(*_, **__):
        raise AssertionError("the grid was computed")

    with dask.config.set(scheduler=refuse):
        made = xroute.grid_weights(grid().chunk(), CATCHMENTS)
    xr.testing.assert_identical(made.drop_attrs(), weights.drop_attrs())


def test_many_points_are_cut_into_pieces_without_a_loss():
    """A catchment with bays, 4,000 points, on cells that are polygons."""
    polygon = blobs(1, (4, 5), (49, 50), 2.0, points=4000)
    lon, lat = np.meshgrid(LON, LAT)
    made = xroute.grid_weights(curvilinear(lon, lat), table(polygon))
    plain = xroute.grid_weights(grid(), table(polygon))
    assert_same(by_place(made, lon, lat), by_place(plain, LON, LAT))


def test_documentation_stays_in_one_place():
    texts = [path.read_text("utf-8") for path in Path(xroute.__file__).parent.rglob("*.py")]
    assert sum("atanh(e" in text for text in texts) == 1


def test_cells_of_mpas_have_corners_counted_from_one(weights):
    """Native MPAS: radians without units, vertices of each cell, as many as it has edges."""
    n_x, n_y = LON.size, LAT.size
    node = np.arange((n_x + 1) * (n_y + 1)).reshape(n_y + 1, n_x + 1)
    x, y = np.meshgrid(np.append(LON - HALF, LON[-1] + HALF), np.append(LAT - HALF, LAT[-1] + HALF))
    corner = np.stack([node[:-1, :-1], node[:-1, 1:], node[1:, 1:], node[1:, :-1]], axis=-1).reshape(-1, 4)
    lon, lat = (v.ravel() for v in np.meshgrid(LON, LAT))
    mpas = xr.Dataset(
        {"runoff": (("Time", "nCells"), np.zeros((1, lon.size))),
         "lonCell": ("nCells", np.radians(lon % 360)), "latCell": ("nCells", np.radians(lat)),
         "lonVertex": ("nVertices", np.radians(x.ravel() % 360)), "latVertex": ("nVertices", np.radians(y.ravel())),
         "nEdgesOnCell": ("nCells", np.full(lon.size, 4)),
         "verticesOnCell": (("nCells", "maxEdges"), np.column_stack([corner + 1, np.zeros((lon.size, 2), int)]))},
    )  # fmt: skip
    made = xroute.grid_weights(mpas, CATCHMENTS)
    assert made.attrs["grid_dims"] == "nCells"
    assert_same(by_place(made, lon, lat), by_place(weights, LON, LAT), rtol=1e-10)


def test_a_cell_around_a_pole_and_cells_that_point_to_it():
    """A mesh about the pole: a round cell of twelve corners in a ring of triangles and squares; all of it belongs "
    "to a catchment."""
    x = np.arange(0, 360, 30.0)
    around = np.stack([x, x + 30], axis=1)
    cap = np.column_stack([x, np.full(12, 80.0)])
    squares = [[(a, 70), (b, 70), (b, 80), (a, 80)] for a, b in around]
    pointed = [[(a, 70), (b, 70), (0.0, 90)] for a, b in around]
    catchment = table([shapely.box(-180, 72, 180, 90)])
    zone = 360 * height_between(72.0, 90.0)
    for cells in ([cap, *squares], pointed):
        n = max(len(c) for c in cells)
        ring = np.full((len(cells), n, 2), np.nan)
        for k, c in enumerate(cells):
            ring[k, : len(c)] = c
        mesh = xr.Dataset(
            {"ro": ("cell", np.zeros(len(cells))),
             "lon_b": (("cell", "nv"), ring[..., 0]), "lat_b": (("cell", "nv"), ring[..., 1])},
            {"lon": ("cell", np.nanmean(ring[..., 0], axis=1), {"bounds": "lon_b", "units": "degrees_east"}),
             "lat": ("cell", np.nanmean(ring[..., 1], axis=1), {"bounds": "lat_b", "units": "degrees_north"})},
        )  # fmt: skip
        made = xroute.grid_weights(mesh, catchment)
        assert float(made.area.sum()) == pytest.approx(zone, rel=1e-10)
        assert made.sizes["overlap"] == len(cells)


def test_a_grid_about_the_pole_is_curvilinear_without_a_seam():
    """A polar stereographic grid told by its longitudes and latitudes alone: its cells cover what the projected ones do."""
    x = np.arange(-2e6, 2.01e6, 100e3)
    to = pyproj.Transformer.from_crs("EPSG:3413", WGS84, always_xy=True)
    lon, lat = to.transform(*np.meshgrid(x, x))
    catchments = table([shapely.box(-180, 78, 180, 90), *blobs(8, (-180, 180), (76, 86), 0.8)])
    made = xroute.grid_weights(curvilinear(lon, lat), catchments)
    plain = xroute.grid_weights(grid(x, x, ("y", "x")), catchments, crs="EPSG:3413")
    np.testing.assert_allclose(made.covered, 1, rtol=1e-9)
    wholes = []
    for weights in (made, plain):
        cells = zip(weights.y_index.values, weights.x_index.values, strict=True)
        wholes.append(dict(zip(cells, weights.cell_area.values, strict=True)))
    both = set(wholes[0]) & set(wholes[1])
    assert len(both) > 500 and len(set(wholes[0]) ^ set(wholes[1])) < 5
    far = [abs(wholes[0][cell] / wholes[1][cell] - 1) for cell in both]
    assert np.median(far) < 1e-3 and max(far) < 0.05


def test_a_rotated_grid_is_read_by_its_grid_mapping():
    x, y = np.arange(-12, 4, 0.25), np.arange(-10, 12, 0.25)
    crs = pyproj.CRS(ROTATED)
    dataset = grid(x, y, ("rlat", "rlon")).to_dataset(name="mrro")
    dataset["rlon"].attrs = {"standard_name": "grid_longitude", "units": "degrees"}
    dataset["rlat"].attrs = {"standard_name": "grid_latitude", "units": "degrees"}
    dataset["rotated_pole"] = ((), 0, {
        "grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.25, "grid_north_pole_longitude": -162.0,
    })  # fmt: skip
    dataset["mrro"].attrs["grid_mapping"] = "rotated_pole"
    lon, lat = pyproj.Transformer.from_crs(crs, WGS84, always_xy=True).transform(*np.meshgrid(x, y))
    dataset = dataset.assign_coords(lon=(("rlat", "rlon"), lon), lat=(("rlat", "rlon"), lat))
    catchments = table(blobs(10, (2, 14), (45, 56), 0.5))
    by_mapping = xroute.grid_weights(dataset, catchments)
    by_crs = xroute.grid_weights(dataset.mrro.drop_vars(["lon", "lat"]), catchments, crs=ROTATED)
    np.testing.assert_allclose(by_mapping.area, by_crs.area, rtol=1e-6)
    by_places = xroute.grid_weights(dataset.mrro, catchments)
    pairs = [dict(zip(zip(*(w[n].values for n in ("reach", "y_index", "x_index")), strict=True), w.area.values, strict=True))
             for w in (by_mapping, by_places)]  # fmt: skip
    assert max(abs(pairs[0].get(k, 0) - pairs[1].get(k, 0)) for k in set(pairs[0]) | set(pairs[1])) < 2e-3 * 7e8


@pytest.mark.parametrize("start", [0.5, -179.5])
def test_a_curvilinear_grid_is_cut_open_anywhere(start):
    catchments = table(blobs(12, (178.5, 181.5), (-60, 70), 0.9).tolist() + blobs(4, (-1, 1), (-60, 70), 0.9).tolist())
    lon, lat = np.meshgrid(start + np.arange(360.0), np.arange(-89.5, 90))
    made = xroute.grid_weights(curvilinear(lon, lat), catchments)
    plain = xroute.grid_weights(grid(lon[0], lat[:, 0]), catchments)
    assert (made.covered == 1).all()
    assert_same(by_place(made, lon, lat), by_place(plain, lon[0], lat[:, 0]))


def test_a_series_of_outlines_bears_ids_in_its_index():
    outlines = geopandas.GeoSeries(CATCHMENTS.geometry.values, index=CATCHMENTS.COMID.values, crs=WGS84)
    with pytest.raises(ParameterError, match="index, which has no name"):
        xroute.grid_weights(grid(), outlines)
    xr.testing.assert_equal(
        xroute.grid_weights(grid(), outlines.rename_axis("COMID")), xroute.grid_weights(grid(), CATCHMENTS)
    )


def test_a_plain_table_with_outlines_is_told_what_it_lacks():
    with pytest.raises(ParameterError, match="not DataFrame: set_geometry makes a GeoDataFrame"):
        xroute.grid_weights(grid(), pd.DataFrame({"COMID": CATCHMENTS.COMID, "geometry": list(CATCHMENTS.geometry)}))


def test_outlines_are_no_weights(tmp_path: Path):
    CATCHMENTS.to_file(tmp_path / "catchments.gpkg")
    with pytest.raises(ParameterError, match=r"no weights: make weights of it with xroute\.grid_weights"):
        xroute.grids.read_weights(tmp_path / "catchments.gpkg")
