"""Direction grids: conventions by their angles, orientation, the date line, lengths and areas against pyproj, and back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import geopandas
import networkx
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import xroute
from xroute import AlignmentError, Network, NetworkError
from xroute.cli import main
from xroute.io import open_dataset

Cell = tuple[float, float]


def angle_code(convention: str, angle: int) -> int:
    """The number of a direction, by its angle in degrees anticlockwise from east, as the makers define it."""
    clockwise = -angle // 45 % 8
    return {
        "esri": lambda: 2**clockwise, "taudem": lambda: angle // 45 + 1, "grass": lambda: angle // 45 or 8,
        "ldd": lambda: {0: 6, 45: 9, 90: 8, 135: 7, 180: 4, 225: 1, 270: 2, 315: 3}[angle],
        "whitebox": lambda: 2 ** ((clockwise + 1) % 8),
    }[convention]()  # fmt: skip


PIT = {"esri": 0, "taudem": 0, "grass": 0, "ldd": 5, "whitebox": 0}
STEP = {0: (0, 1), 45: (1, 1), 90: (1, 0), 135: (1, -1), 180: (0, -1), 225: (-1, -1), 270: (-1, 0), 315: (-1, 1)}
"""By angle: degrees north and east, in cells."""


def forest(n_rows: int, n_columns: int, seed: int, around: bool) -> tuple[NDArray[np.int64], dict[Cell, Cell | None]]:
    """Angles of flow on a terrain [row, column] with rows from north to south (-1: pit, -2: sea), and links by hand."""
    rng = np.random.default_rng(seed)
    height = rng.permutation(n_rows * n_columns).reshape(n_rows, n_columns).astype(float)
    height[rng.random(height.shape) < 0.15] = np.nan
    angles = np.full(height.shape, -2)
    links: dict[Cell, Cell | None] = {}
    for r, c in itertools.product(range(n_rows), range(n_columns)):
        if np.isnan(height[r, c]):
            continue
        lowest, best, to = height[r, c], -1, None
        for angle, (north, east) in STEP.items():
            row, column = r - north, (c + east) % n_columns if around else c + east
            if 0 <= row < n_rows and 0 <= column < n_columns and height[row, column] < lowest:
                lowest, best, to = height[row, column], angle, (row, column)
        angles[r, c] = best
        links[r, c] = to
    return angles, links


def encode(angles: NDArray[np.int64], convention: str) -> NDArray[np.int64]:
    codes = {a: angle_code(convention, a) for a in STEP} | {-1: PIT[convention], -2: -9999}
    return np.vectorize(codes.__getitem__)(angles)


def grid(angles: NDArray[np.int64], convention: str = "esri", west: float = 5.0, step: float = 0.5) -> xr.DataArray:
    n_rows, n_columns = angles.shape
    lat, lon = 60.0 - step * (np.arange(n_rows) + 0.5), west + step * (np.arange(n_columns) + 0.5)
    return xr.DataArray(encode(angles, convention), {"lat": lat, "lon": lon}, ("lat", "lon"))


def links_of(network: Network) -> set[tuple[Cell, Cell | None]]:
    """Links as pairs of (latitude, longitude in 0 to 360), whatever the ids."""
    ds = network.dataset
    place = {
        i: (round(float(y), 4), round(float(x) % 360, 4))
        for i, y, x in zip(network.ids.tolist(), ds.lat.values, ds.lon.values, strict=True)
    }
    return {(place[i], place.get(d)) for i, d in zip(network.ids.tolist(), ds.downstream.values.tolist(), strict=True)}


# ── directions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("convention", ["esri", "taudem", "grass", "ldd", "whitebox"])
@pytest.mark.parametrize("around", [False, True])
def test_conventions_by_their_angles(convention: str, around: bool) -> None:
    angles, links = forest(9, 12, 3, around)
    field = grid(angles, convention, -180.0, 30.0 if around else 0.5)
    if around:
        field = field.assign_coords(lat=np.linspace(80, -80, 9))
    ds = Network.from_d8(field, convention=convention).dataset
    expected = {12 * r + c: -1 if to is None else 12 * to[0] + to[1] for (r, c), to in links.items()}
    assert dict(zip(ds.reach.values.tolist(), ds.downstream.values.tolist(), strict=True)) == expected
    assert ds.identical(Network.from_d8(field, convention=convention.upper()).dataset)  # type: ignore[arg-type]
    assert [(int(r), int(c)) for r, c in zip(ds.y_index, ds.x_index, strict=True)] == [divmod(i, 12) for i in expected]


@given(st.integers(0, 1000), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 11))
@settings(max_examples=25, deadline=None)
def test_rivers_do_not_depend_on_how_a_grid_is_stored(
    seed: int, flip: bool, mirror: bool, turn: bool, roll: int
) -> None:
    """Latitudes and longitudes in either direction, dimensions in either order, longitudes from anywhere."""
    angles, _ = forest(6, 12, seed, True)
    field = grid(angles, west=-180.0, step=30.0).assign_coords(lat=np.linspace(75, -75, 6))
    expected = Network.from_d8(field)
    other = field.roll(lon=roll, roll_coords=True)
    if roll % 2:
        other = other.assign_coords(lon=other.lon % 360)
    other = other.isel(lat=slice(None, None, -1)) if flip else other
    other = other.isel(lon=slice(None, None, -1)) if mirror else other
    found = Network.from_d8(other.transpose() if turn else other)
    assert links_of(found) == links_of(expected)
    for name in ("area", "length", "upstream_area"):
        np.testing.assert_allclose(np.sort(found.dataset[name]), np.sort(expected.dataset[name]), rtol=1e-12)


def test_cells_at_an_edge_that_is_no_date_line() -> None:
    field = xr.DataArray([[16, 1], [1, 4]], {"lat": [1.0, 0.0], "lon": [0.0, 1.0]})
    network = Network.from_d8(field)
    assert network.outlets.tolist() == [0, 1, 3] and network.dataset.downstream.attrs["outlet"] == -1
    assert "3 off the grid" in network.attrs["source"]
    geod = pyproj.Geod(ellps="WGS84")
    one = geod.inv(0, 1, 1, 1)[2]  # as long as it would be to the next centre
    np.testing.assert_allclose(network.dataset["length"][:2], one, rtol=1e-9)


def test_upstream_areas_by_walking_down() -> None:
    angles, _ = forest(15, 17, 1, False)
    ds = Network.from_d8(grid(angles)).dataset
    graph = networkx.DiGraph(
        [(a, b) for a, b in zip(ds.reach.values.tolist(), ds.downstream.values.tolist(), strict=True) if b >= 0]
    )
    graph.add_nodes_from(ds.reach.values.tolist())
    area = dict(zip(ds.reach.values.tolist(), ds.area.values.tolist(), strict=True))
    truth = [area[i] + sum(area[a] for a in networkx.ancestors(graph, i)) for i in ds.reach.values.tolist()]
    np.testing.assert_allclose(ds.upstream_area, truth, rtol=1e-12)
    own = xroute.local_area(Network(ds.drop_vars("area"))).dataset["area"]
    np.testing.assert_allclose(own, ds.area, rtol=1e-6)


def test_lengths_and_areas_are_true() -> None:
    """Against pyproj's geodesics, and its area of a polygon whose parallels are drawn with many points."""
    angles, _ = forest(12, 9, 5, False)
    ds = Network.from_d8(grid(angles)).dataset.set_index(reach="reach")
    geod = pyproj.Geod(ellps="WGS84")
    for i in ds.reach.values[::7].tolist():
        here = ds.sel(reach=i)
        to = int(here.downstream)
        if to >= 0:
            there = ds.sel(reach=to)
            assert float(here["length"]) == pytest.approx(
                geod.inv(here.lon, here.lat, there.lon, there.lat)[2], rel=1e-9
            )
        else:
            assert float(here["length"]) == pytest.approx(float(here.area) ** 0.5 / 2)
        x, y = float(here.lon), float(here.lat)
        along = np.linspace(x - 0.25, x + 0.25, 2001)
        lon = np.concatenate([along, along[::-1]])
        lat = np.concatenate([np.full(2001, y - 0.25), np.full(2001, y + 0.25)])
        assert float(here.area) == pytest.approx(geod.polygon_area_perimeter(lon, lat)[0], rel=1e-7)


@pytest.mark.parametrize("crs", ["given", "said", "unknown"])
def test_projections(crs: str) -> None:
    """In Lambert's equal-area projection areas are those of the plane, lengths are not; without a system, both are."""
    x, y = 4_000_000.0 + 10_000 * np.arange(5), 5_000_000.0 + 10_000 * np.arange(4)
    field = xr.DataArray(np.full((4, 5), 64), {"y": y, "x": x}, ("y", "x"))
    field["y"].attrs["units"] = field["x"].attrs["units"] = "m"
    if crs == "said":
        field = field.assign_coords(spatial_ref=((), 0, {"crs_wkt": pyproj.CRS("EPSG:3035").to_wkt()}))
    network = Network.from_d8(field, crs="EPSG:3035" if crs == "given" else None)
    ds = network.dataset
    assert ds.downstream.values.tolist() == [*range(5, 20), *[-1] * 5]  # north is up the rising coordinate
    np.testing.assert_allclose(ds.area, 1e8, rtol=1e-9)
    if crs == "unknown":
        np.testing.assert_allclose(ds["length"], 10_000)
        assert "lon" not in ds.coords
        return
    lon, lat = pyproj.Transformer.from_crs(3035, 4326, always_xy=True).transform(*np.meshgrid(x, y))
    np.testing.assert_allclose(ds.lon, lon.ravel(), rtol=1e-9)
    truth = pyproj.Geod(ellps="WGS84").inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2].ravel()
    np.testing.assert_allclose(ds["length"][:15], truth, rtol=1e-8)
    assert not np.allclose(ds["length"][:15], 10_000, rtol=1e-5)
    if crs == "said":
        field = xroute.to_grid(network.n_upstream, network)
        assert field.attrs["grid_mapping"] == "spatial_ref" and "crs_wkt" in field.spatial_ref.attrs


@pytest.mark.parametrize("units", ["", "US_survey_foot", "m", "km"])
def test_lengths_of_a_projection_are_in_its_own_units_unless_they_say_otherwise(units: str) -> None:
    x, y = 6_000_000.0 + 10_000 * np.arange(5), 2_100_000.0 + 10_000 * np.arange(4)
    foot = 1200 / 3937
    factor = {"m": foot, "km": foot / 1000}.get(units, 1.0)
    field = xr.DataArray(np.full((4, 5), 64), {"y": y * factor, "x": x * factor}, ("y", "x"))
    field["y"].attrs["units"] = field["x"].attrs["units"] = units
    ds = Network.from_d8(field, crs="EPSG:2227").dataset  # California, in feet
    lon, lat = pyproj.Transformer.from_crs(2227, 4326, always_xy=True).transform(*np.meshgrid(x, y))
    np.testing.assert_allclose(ds.lon, lon.ravel(), rtol=1e-9)
    np.testing.assert_allclose(ds["length"][:15], pyproj.Geod(ellps="WGS84").inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2].ravel())
    np.testing.assert_allclose(ds.area, (10_000 * foot) ** 2, rtol=1e-3)
    weights = xroute.grid_weights(field, geopandas.GeoDataFrame(
        {"reach": [1]}, geometry=[shapely.box(*np.array([-0.5, -0.5, 4.5, 3.5]) * 1e4 + [x[0], y[0]] * 2)], crs="EPSG:2227"
    ), crs="EPSG:2227")  # fmt: skip
    np.testing.assert_allclose(weights.cell_area.sum(), ds.area.sum(), rtol=1e-6)


def test_ids_and_masks() -> None:
    angles, _ = forest(5, 6, 2, False)
    field = grid(angles)
    names = xr.DataArray(np.arange(1000, 1030).reshape(5, 6), field.coords)
    found = Network.from_d8(field, ids=names.isel(lat=slice(None, None, -1)).transpose("lon", "lat"))
    expected = Network.from_d8(field)
    assert (found.ids - 1000).tolist() == expected.ids.tolist() and links_of(found) == links_of(expected)
    text = Network.from_d8(field, ids=np.char.add("c", np.arange(30).astype(str)).reshape(5, 6))
    assert text.ids[0].startswith("c") and links_of(text) == links_of(expected)
    part = Network.from_d8(field, mask=(field.lon < 7.0) & (field.lat > 0))
    assert (part.dataset.lon < 7.0).all() and part.n_reaches < expected.n_reaches
    with pytest.raises(NetworkError, match=r"ids= has the shape \(2, 2\)"):
        Network.from_d8(field, ids=np.zeros((2, 2), int))
    mask = ((field.lon < 7.0) & (field.lat > 0)).expand_dims(time=1)
    again = Network.from_d8(field, mask=mask.isel(lat=slice(None, None, -1)).transpose("lon", "time", "lat"))
    xr.testing.assert_identical(again.dataset, part.dataset)
    with pytest.raises(NetworkError, match=r"mask= has the shape \(2, 2\)"):
        Network.from_d8(field, mask=np.zeros((2, 2), bool))
    with pytest.raises(NetworkError, match="mask= is of bool, .* not int64"):
        Network.from_d8(field, mask=np.ones(field.shape, int))
    with pytest.raises(NetworkError, match="mask= stands on another grid: its 'lat' differs"):
        Network.from_d8(field, mask=(field > 0).assign_coords(lat=field.lat + 1))


def test_what_is_no_cell() -> None:
    field = xr.DataArray(np.array([[1.0, np.nan], [64, 77]]), {"lat": [1.0, 0.0], "lon": [0.0, 1.0]})
    with pytest.raises(NetworkError, match='1 cells have numbers that are no directions in convention="esri": 77'):
        Network.from_d8(field)
    network = Network.from_d8(field, nodata=77)
    assert network.ids.tolist() == [0, 2] and network.outlets.tolist() == [0]
    assert "1 into cells without a direction" in network.attrs["source"]
    filled = xr.DataArray(np.array([[1, 255], [64, 255]], np.uint8), field.coords)
    assert Network.from_d8(filled).ids.tolist() == [0, 1, 2, 3]  # ESRI's sinks
    assert Network.from_d8(filled.assign_attrs(_FillValue=255)).ids.tolist() == [0, 2]  # but if the file says otherwise
    small = xr.DataArray(np.array([[1, 0], [128, 64]], np.uint8).astype(np.int8), field.coords)  # 128 to the north-east
    with pytest.raises(NetworkError, match=r"-128. .*astype\('uint8'\)"):
        Network.from_d8(small)
    assert Network.from_d8(small.astype(np.uint8)).outlets.tolist() == [1]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (xr.DataArray([[1, 16]], {"lat": [0.5], "lon": [0.0, 1.0]}), "cycle of 2 reaches: 0, 1|cycle of 2 reaches: 1, 0"),
        (xr.DataArray([[3, 7]], {"lat": [0.5], "lon": [0.0, 1.0]}), "no directions .*They are in convention=\"taudem\""),
        (xr.DataArray([[1, 0]], dims=("lat", "lon")), "no coordinate 'lat'.*which way is north"),
        (xr.DataArray([1, 0], {"lat": [0.5, 1.5]}), "dimension of rows and one of columns"),
        (xr.DataArray([[1, 0]], {"y": [0.5], "x": [0.0, 1.0]}), "degrees or lengths cannot be told.*crs="),
        (xr.DataArray([[1, 0], [0, 0], [0, 0]], {"lat": [0.0, 2.0, 1.0], "lon": [0.0, 1.0]}), "does not rise or fall"),
        (xr.DataArray([[0, 0, 0]], {"lat": [0.5], "lon": [0.0, 180.0, 360.0]}), "more than once around|rise or fall"),
        (xr.DataArray([[247, 247]], {"lat": [0.5], "lon": [0.0, 1.0]}), "no cell with a direction"),
        (xr.DataArray([[1.5, 0]], {"lat": [0.5], "lon": [0.0, 1.0]}), "no directions"),
    ],
)  # fmt: skip
def test_grids_that_are_no_rivers(field: xr.DataArray, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network.from_d8(field)


# ── and back on the grid ──────────────────────────────────────────────────────────────────────────────────────────────


def river() -> tuple[Network, xr.DataArray]:
    angles, _ = forest(7, 8, 4, False)
    field = grid(angles)
    field.lat.attrs["standard_name"] = "latitude"
    return xroute.estimate_parameters(Network.from_d8(field), "linear_storage", celerity=1.0), field


def test_discharge_goes_back_on_the_grid(tmp_path: Path) -> None:
    """Runoff on the grid, down the rivers, and on the grid again; in the end as much flows out of each pit as rains above it."""
    network, field = river()
    path = tmp_path / "network.nc"
    network.dataset.to_netcdf(path)
    with open_dataset(path) as stored:
        network = Network(stored)
    times = pd.date_range("2001", periods=400, freq="D")
    rain = (xr.zeros_like(field, float) + 0.1).expand_dims(time=times).assign_attrs(units="mm d-1")
    runoff = xroute.to_reaches(rain.isel(lat=slice(None, None, -1)).assign_coords(lon=rain.lon + 360), network)
    discharge = runoff.route(network)
    on_grid = xroute.to_grid(discharge, network)
    assert on_grid.dims == ("time", "lat", "lon") and on_grid.attrs == discharge.attrs and on_grid.name == "discharge"
    assert on_grid.lat.identical(field.lat) and on_grid.lon.identical(field.lon)
    assert (np.isnan(on_grid[0].values) == (field.values == -9999)).all()
    truth = network.dataset.upstream_area * 1e-4 / 86400
    for i in network.ids.tolist():
        row, column = divmod(i, 8)
        assert float(on_grid[-1, row, column]) == pytest.approx(float(truth.sel(reach=i)), rel=1e-6)
    assert network.dataset.river.to_grid(discharge).identical(on_grid)


def test_any_order_any_dims_part_of_the_reaches() -> None:
    network, _ = river()
    values = xr.DataArray(
        np.arange(network.n_reaches * 6, dtype="f4").reshape(2, -1, 3), dims=("member", "reach", "time"),
        coords={"reach": network.ids, "member": ["a", "b"], "name": ("reach", network.ids * 2), "when": ("time", [1, 2, 3])},
    )  # fmt: skip
    whole = xroute.to_grid(values, network)
    assert (
        whole.dims == ("member", "time", "lat", "lon")
        and whole.dtype == np.float32
        and set(whole.coords) == {"member", "when", "lat", "lon"}
    )
    for i in network.ids.tolist():
        np.testing.assert_array_equal(whole.isel(lat=i // 8, lon=i % 8), values.sel(reach=i))
    mixed = values.transpose("reach", "time", "member").isel(
        reach=np.random.default_rng(0).permutation(network.n_reaches)
    )
    xr.testing.assert_identical(xroute.to_grid(mixed, network).transpose(*whole.dims), whole)
    some = xroute.to_grid(values.isel(reach=slice(0, 3)).rename(reach="river"), network, fill=-1.0)
    assert int((some[0, 0] != -1).sum()) == 3
    sorted_network = network.sort()
    xr.testing.assert_identical(xroute.to_grid(values, sorted_network), whole)
    both = xroute.to_grid(xr.Dataset({"q": values, "k": ("time", [1, 2, 3])}), network)
    assert both.q.identical(whole.rename("q")) and both.k.dims == ("time",)
    assert xroute.to_grid(network.basins, network).dtype == np.float64
    with pytest.raises(AlignmentError, match="1 reaches that the network has not: 999"):
        xroute.to_grid(values.assign_coords(reach=[999, *network.ids[1:]]), network)
    with pytest.raises(AlignmentError, match="more than once"):
        xroute.to_grid(values.isel(reach=[0, 0]), network)
    with pytest.raises(NetworkError, match="no grid that its reaches are cells of"):
        xroute.to_grid(values, xroute.datasets.scheidegger(2, 2))


def test_members_that_are_counted_are_no_reaches() -> None:
    """Cells are counted from 0, and so are members and gauges' rows: the dimension of all the ids is that of the reaches."""
    network = Network.from_d8(xr.DataArray([[1, 4], [1, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]}))
    values = xr.DataArray(
        np.arange(8.0).reshape(2, 4), {"member": [0, 1], "cell_id": ("feature", [3, 2, 1, 0])}, ("member", "feature")
    )
    expected = xr.DataArray(
        [[[3.0, 2.0], [1.0, 0.0]], [[7.0, 6.0], [5.0, 4.0]]], {"member": [0, 1], "lat": [50.5, 49.5], "lon": [7.5, 8.5]},
        ("member", "lat", "lon"),
    )  # fmt: skip
    xr.testing.assert_equal(xroute.to_grid(values, network), expected)
    xr.testing.assert_equal(xroute.to_grid(values.to_dataset(name="q"), network).q, expected)


def test_dask_stays_lazy() -> None:
    import dask
    import dask.array

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was computed")

    network, field = river()
    eager = xr.DataArray(
        np.random.default_rng(0).random((7, 8, 6)), {"lat": field.lat, "lon": field.lon}, ("lat", "lon", "time")
    )
    with dask.config.set(scheduler=fail):
        lazy = xroute.to_reaches(eager.chunk(lat=3, lon=3, time=2), network)
        back = xroute.to_grid(lazy.chunk(reach=5), network)
        whole = xroute.to_grid(xroute.to_reaches(eager.chunk(time=2), network), network)
    assert isinstance(back.data, dask.array.Array) and whole.chunksizes["time"] == (2, 2, 2)
    xr.testing.assert_allclose(back.compute(), xroute.to_grid(xroute.to_reaches(eager, network), network))


def test_fields_of_another_grid_are_refused() -> None:
    network, field = river()
    larger = xr.DataArray(
        np.zeros((9, 8)), {"lat": np.concatenate([[60.25], field.lat, [56.25]]), "lon": field.lon}, ("lat", "lon")
    )
    assert xroute.to_reaches(larger, network).sizes == {"reach": network.n_reaches}
    with pytest.raises(AlignmentError, match="lacks .* rows along 'lat'"):
        xroute.to_reaches(larger.isel(lat=slice(3, None)), network)
    with pytest.raises(AlignmentError, match="another grid"):
        xroute.to_reaches(larger.assign_coords(lon=larger.lon + 0.25), network)


# ── CaMa-Flood ────────────────────────────────────────────────────────────────────────────────────────────────────────


def nextxy(angles: NDArray[np.int64], links: dict[Cell, Any]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Columns and rows of next cells, from 1 in the north-west; pits are mouths on even rows and inland ends on odd ones."""
    x, y = (np.full(angles.shape, -9999, np.int32) for _ in range(2))
    for (r, c), to in links.items():
        x[r, c], y[r, c] = (to[1] + 1, to[0] + 1) if to is not None else ((-9, -9), (-10, -10))[r % 2]
    return x, y


@pytest.mark.parametrize("stored", ["falling", "rising", "rising, along the array", "file"])
def test_nextxy_of_a_dataset(stored: str, tmp_path: Path) -> None:
    angles, links = forest(20, 12, 6, False)
    x, y = nextxy(angles, links)
    template = grid(angles)
    ds = xr.Dataset({"nextx": template.copy(data=x), "nexty": template.copy(data=y)})
    if stored.startswith("rising"):
        ds = ds.isel(lat=slice(None, None, -1))
        if stored != "rising":
            ds["nexty"] = ds.nexty.where(ds.nexty < 0, 21 - ds.nexty)
    if stored == "file":
        ds.to_netcdf(tmp_path / "maps.nc")
    found = Network.from_nextxy(tmp_path / "maps.nc" if stored == "file" else ds)
    assert links_of(found) == links_of(Network.from_d8(template))
    assert xroute.to_grid(found.n_upstream, found).lat.values.tolist() == ds.lat.values.tolist()


def test_nextxy_of_binary_maps(tmp_path: Path) -> None:
    angles, links = forest(6, 12, 7, True)
    x, y = nextxy(angles, links)
    np.stack([x, y]).astype("<i4").tofile(tmp_path / "nextxy.bin")
    rng = np.random.default_rng(0)
    maps = {
        name: rng.uniform(1, 2, x.shape).astype("<f4")
        for name in ("rivlen", "ctmare", "uparea", "rivwth_gwdlr", "rivman", "elevtn", "nxtdst")
    }
    maps["rivwth_gwdlr"][x == 1] = -9999
    for name, values in maps.items():
        values.tofile(tmp_path / f"{name}.bin")
    with pytest.raises(NetworkError, match="no params.txt beside it: give nx= and ny="):
        Network.from_nextxy(tmp_path / "nextxy.bin")
    by_hand = Network.from_nextxy(tmp_path / "nextxy.bin", nx=12, ny=6)  # all of the Earth
    (tmp_path / "params.txt").write_text("12 ! columns\n 6 ! rows\n10\n30.0 gsize\n-180. west\n 180.\n-90.\n 90.\n")
    network = Network.from_nextxy(tmp_path)
    assert links_of(network) == links_of(by_hand)
    template = grid(angles, west=-180.0, step=30.0).assign_coords(lat=np.linspace(75, -75, 6))
    assert links_of(network) == links_of(Network.from_d8(template))
    ds, cell = network.dataset, network.ids
    for variable, name in (
        ("length", "rivlen"),
        ("area", "ctmare"),
        ("upstream_area", "uparea"),
        ("roughness", "rivman"),
    ):
        np.testing.assert_array_equal(ds[variable], maps[name].ravel()[cell].astype(float))
    assert ds["length"].attrs["units"] == "m" and np.isnan(ds.width.values).sum() == int((x == 1).sum())
    for i in cell[:20].tolist():
        to = int(ds.downstream.sel(reach=i))
        fall = (
            np.nan
            if to < 0
            else (maps["elevtn"].astype(float).ravel()[i] - maps["elevtn"].astype(float).ravel()[to])
            / float(maps["nxtdst"].ravel()[i])
        )
        np.testing.assert_allclose(ds.slope.sel(reach=i), fall, rtol=1e-12)
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "params.txt").write_text((tmp_path / "params.txt").read_text())
    for file in tmp_path.glob("*.bin"):
        np.fromfile(file, "<i4").astype(">i4").tofile(tmp_path / "big" / file.name)  # the same bytes of numbers of either kind
    xr.testing.assert_identical(Network.from_nextxy(tmp_path / "big").dataset, ds)
    with pytest.raises(NetworkError, match="has 576 bytes, where 2 layers of 6 x 11 have 528"):
        Network.from_nextxy(tmp_path, nx=11)
    result = CliRunner().invoke(main, ["convert", "nextxy", str(tmp_path), "--network", str(tmp_path / "n.nc")])
    assert result.exit_code == 0, result.output
    with open_dataset(tmp_path / "n.nc") as stored:
        assert links_of(Network(stored)) == links_of(network)


def test_a_part_of_a_map_says_so() -> None:
    angles, links = forest(20, 12, 6, False)
    x, y = nextxy(angles, links)
    template = grid(angles)
    part = xr.Dataset({"nextx": template.copy(data=x), "nexty": template.copy(data=y)}).isel(
        lat=slice(0, 10), lon=slice(0, 6)
    )
    with pytest.raises(NetworkError, match="drain to cells that are not on the map .*part of a larger one"):
        Network.from_nextxy(part)
    assert Network.from_nextxy(part, missing_downstream="outlet").n_reaches == int((part.nextx > -9999).sum())
    with pytest.raises(NetworkError, match="no variable 'nexty'"):
        Network.from_nextxy(part.drop_vars("nexty"))


# ── pairs and lines ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_pairs_of_cells() -> None:
    angles, links = forest(7, 8, 4, False)
    field = grid(angles)
    expected = Network.from_d8(field).dataset
    order = np.random.default_rng(0).permutation(len(links))
    up = np.array([8 * r + c for r, c in links])[order]
    down = np.array([-1 if to is None else 8 * to[0] + to[1] for to in links.values()])[order]
    found = Network.from_edges(up, down, grid=field).dataset
    for name in ("downstream", "length", "area", "upstream_area", "lon", "lat", "y_index", "x_index"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert xroute.to_grid(Network(found).n_upstream, found).identical(
        xroute.to_grid(Network(expected).n_upstream, expected)
    )
    assert Network.from_edges([3, 2], [0, 0], grid=field).outlets.tolist() == [0]  # the first cell is one like others
    parting = Network.from_edges([1, 1, 9], [10, 9, 10], [0.25, 0.75, 1.0], grid=field)
    assert parting.has_bifurcations and parting.dataset["length"].sizes == {"reach": 3}
    plain = Network.from_edges(["a", "b"], ["c", "c"])
    assert plain.outlets.tolist() == ["c"]
    with pytest.raises(NetworkError, match="1 of the pairs' 2 cells are not on the grid of 7 x 8: 56"):
        Network.from_edges([1], [56], grid=field)


def test_lines_between_nodes() -> None:
    table = pd.DataFrame(
        {"line_id": [7, 8, 9, 10], "from_node": [1, 2, 3, 4], "to_node": [3, 3, 4, 5], "len": [1.0, 2.0, 3.0, 4.0]}
    )
    network = Network.from_lines(table, units={"len": "km"})
    assert network.ids.tolist() == [7, 8, 9, 10] and network.dataset.downstream.values.tolist() == [9, 9, 10, -1]
    assert network.dataset["len"].attrs["units"] == "km"
    parting = pd.DataFrame({"name": list("abcd"), "u": [1, 2, 2, 3], "v": [2, 3, 4, 4], "share": [1.0, 0.3, 0.7, 1.0]})
    with pytest.warns(UserWarning, match="1 lines end where several begin.*'a'"):
        equal = Network.from_lines(parting, reach="name")
    given = Network.from_lines(parting, reach="name", fraction="share")
    for network, shares in ((equal, [0.5, 0.5, 1.0]), (given, [0.3, 0.7, 1.0])):
        links = network.dataset
        assert list(zip(links.upstream_reach.values, links.downstream_reach.values, strict=True)) == [
            ("a", "b"),
            ("a", "c"),
            ("b", "d"),
        ]
        np.testing.assert_allclose(links.fraction, shares)
    with pytest.raises(NetworkError, match="cycle"):
        Network.from_lines(pd.DataFrame({"from_node": [1, 2], "to_node": [2, 1]}))
    with pytest.raises(NetworkError, match="1 lines end where they begin"):
        Network.from_lines(pd.DataFrame({"from_node": [1, 2], "to_node": [2, 2]}))
    with pytest.raises(NetworkError, match="neither columns of nodes"):
        Network.from_lines(pd.DataFrame({"a": [1]}))


def test_lines_by_where_they_end() -> None:
    lines = [shapely.LineString(p) for p in ([(0, 2), (1, 1)], [(2, 2), (1.0001, 1)], [(1, 1.00005), (1, 0)])]
    frame = geopandas.GeoDataFrame({"id": [5, 6, 7]}, geometry=lines, crs=4326)
    assert Network.from_lines(frame, tolerance=1e-3).dataset.downstream.values.tolist() == [7, 7, -1]
    assert Network.from_lines(frame).outlets.tolist() == [5, 6, 7]  # no two ends are the same
    assert "lon" in Network.from_lines(frame).dataset.coords


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_convert_d8(tmp_path: Path) -> None:
    angles, _ = forest(5, 6, 2, False)
    field = grid(angles, "ldd")
    field.to_dataset(name="ldd").to_netcdf(tmp_path / "ldd.nc")
    target = str(tmp_path / "n.zarr")
    failed = CliRunner().invoke(main, ["convert", "d8", str(tmp_path / "ldd.nc"), "--network", target])
    assert failed.exit_code == 1 and "--convention ldd" in failed.output
    done = CliRunner().invoke(
        main, ["convert", "d8", str(tmp_path / "ldd.nc"), "--network", target, "--convention", "ldd"]
    )
    assert done.exit_code == 0 and "no parameters of a routing scheme yet" in done.output
    with open_dataset(target) as stored:
        assert links_of(Network(stored)) == links_of(Network.from_d8(field, convention="ldd"))
    done = CliRunner().invoke(
        main, ["convert", "table", target, "--network", str(tmp_path / "k.zarr"), "--celerity", "0.5"]
    )
    assert done.exit_code == 0, done.output
