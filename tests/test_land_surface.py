"""Inputs as users have them: conventions hold, rivers and catchments fit, and files hold what is returned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute.datasets import LandSurface, land_forecast, land_surface
from xroute.exceptions import ParameterError

geopandas = pytest.importorskip("geopandas")
pyproj = pytest.importorskip("pyproj")
shapely = pytest.importorskip("shapely")


@pytest.fixture(scope="module")
def land() -> LandSurface:
    return land_surface()


def test_the_grid_has_the_conventions_of_its_kind(land: LandSurface) -> None:
    ro = land.runoff["ro"]
    assert ro.dims == ("valid_time", "latitude", "longitude") and ro.dtype == np.float32
    assert (ro.attrs["units"], ro["valid_time"].attrs["standard_name"], ro.sizes["valid_time"]) == ("m", "time", 240)
    assert (np.diff(ro["latitude"]) < 0).all()
    lon = ro["longitude"].to_numpy()
    assert (lon >= 0).all() and (lon < 360).all() and (lon > 350).any() and (lon < 10).any()
    np.testing.assert_allclose(np.diff(lon) % 360, 0.1, atol=1e-9)
    missing = ro.isnull().to_numpy()
    assert missing.any() and (missing == missing[0]).all() and missing[0].mean() < 0.2


def test_values_climb_through_the_day_and_begin_again_after_midnight(land: LandSurface) -> None:
    """Differences by hand; the value of 00 UTC belongs to the day before, 01 UTC is the first hour of its own."""
    ro = land.runoff["ro"]
    hour = ro["valid_time"].dt.hour.to_numpy()
    assert hour[0] == 0 and hour[-1] == 23
    value = ro.to_numpy().astype(float)
    by_hand = value[1:] - np.where((hour[1:] == 1)[:, None, None], 0.0, value[:-1])
    land_cells = ~np.isnan(value[0])
    assert (by_hand[:, land_cells] >= 0).all() and by_hand[:, land_cells].sum() > 0
    assert (value[hour == 1][:, land_cells] < value[hour == 0][:, land_cells]).all()
    with pytest.warns(UserWarning, match="first value"):
        amounts = xroute.deaccumulate(ro, "day")
    np.testing.assert_allclose(amounts, by_hand, rtol=1e-5, atol=1e-9)


def test_rivers_are_one_basin_in_no_order(land: LandSurface) -> None:
    table = land.rivers.set_index("HYRIV_ID")
    assert 1500 < len(table) < 2500 and table.index.is_unique and (table["NEXT_DOWN"] == 0).sum() == 1
    assert not (np.diff(table["UPLAND_SKM"]) <= 0).all() and not table.index.is_monotonic_increasing
    area = dict.fromkeys(table.index, 0.0)
    for reach in table.index:  # each reach's area to all that it drains through
        way = reach
        while way:
            area[way] += table["CATCH_SKM"][reach]
            way = table["NEXT_DOWN"][way]
    np.testing.assert_allclose(table["UPLAND_SKM"], [area[i] for i in table.index], atol=0.05 + 0.005 * len(table))
    for reach, row in table.iterrows():  # a line ends where the next one begins
        if row["NEXT_DOWN"]:
            assert row.geometry.coords[-1] == table.geometry[row["NEXT_DOWN"]].coords[0], reach
    assert not {"k", "x", "celerity"} & set(table.columns)
    west, _, east, _ = land.rivers.total_bounds
    assert west < 0 < east


def test_catchments_tile_the_basin_and_are_those_of_the_rivers(land: LandSurface) -> None:
    polygons = land.catchments.set_index("HYRIV_ID").geometry
    lines = land.rivers.set_index("HYRIV_ID").geometry
    assert set(polygons.index) == set(lines.index)
    assert polygons.index.tolist() != lines.index.tolist()
    assert shapely.is_valid(polygons.to_numpy()).all()
    whole = shapely.union_all(polygons.to_numpy())
    assert whole.geom_type == "Polygon" and not len(whole.interiors)
    assert abs(shapely.area(polygons.to_numpy()).sum() - whole.area) < 1e-9 * whole.area  # nothing twice
    middle = shapely.get_point(lines.reindex(polygons.index).to_numpy(), 1)
    assert shapely.contains(polygons.to_numpy(), middle).all()
    geod = pyproj.Geod(ellps="WGS84")
    areas = land.catchments.set_index("HYRIV_ID")["AREA_SKM"]
    for reach, polygon in polygons.items():
        assert abs(abs(geod.geometry_area_perimeter(polygon)[0]) / 1e6 - areas[reach]) < 0.006
        assert areas[reach] == land.rivers.set_index("HYRIV_ID")["CATCH_SKM"][reach]


@pytest.mark.parametrize("seed", [0, 3, 11])
def test_every_river_has_land_and_some_reach_into_the_sea(seed: int) -> None:
    land = land_surface(days=1, seed=seed)
    ro = land.runoff["ro"].isel(valid_time=0)
    at = ro["latitude"].to_numpy(), (ro["longitude"].to_numpy() + 180.0) % 360.0 - 180.0
    row, column = np.nonzero(np.isfinite(ro.to_numpy()))
    cells = shapely.union_all(
        shapely.box(at[1][column] - 0.0501, at[0][row] - 0.0501, at[1][column] + 0.0501, at[0][row] + 0.0501)
    )
    polygons = land.catchments.geometry.to_numpy()
    on_land = shapely.area(shapely.intersection(polygons, cells)) / shapely.area(polygons)
    assert (on_land > 0.05).all() and (on_land < 0.99).any() and (on_land > 0.999).mean() > 0.9


def test_the_same_seed_gives_the_same(land: LandSurface) -> None:
    again, other = land_surface(), land_surface(seed=4)
    xr.testing.assert_identical(again.runoff, land.runoff)
    assert again.rivers.equals(land.rivers) and again.catchments.equals(land.catchments)
    assert not other.rivers.equals(land.rivers)
    assert land_surface(days=2).runoff["ro"].equals(land.runoff["ro"].isel(valid_time=slice(0, 48)))


def test_files_hold_what_is_returned(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    folder = tmp_path / "new" / "inputs"
    land = land_surface(folder, days=2)
    assert sorted(path.name for path in folder.iterdir()) == ["catchments.gpkg", "era5-land.nc", "rivers.gpkg"]
    with xr.open_dataset(folder / "era5-land.nc") as runoff:
        xr.testing.assert_equal(runoff, land.runoff)
        assert runoff["ro"].attrs == land.runoff["ro"].attrs and runoff["ro"].dtype == np.float32
    for name, table in (("rivers", land.rivers), ("catchments", land.catchments)):
        read = geopandas.read_file(folder / f"{name}.gpkg")
        assert read.crs == "EPSG:4326" and read.drop(columns="geometry").equals(table.drop(columns="geometry"))
        assert shapely.equals_exact(read.geometry.to_numpy(), table.geometry.to_numpy(), 0).all()
    network = xroute.tables.read_table(folder / "rivers.gpkg")
    assert network.sizes["reach"] == len(land.rivers) and "k" not in network
    assert network["area"].attrs["units"] == "km2"

    with pytest.raises(FileExistsError, match="era5-land.nc"):
        land_surface(folder, days=2)
    land_surface(folder, days=1, overwrite=True)
    with xr.open_dataset(folder / "era5-land.nc") as runoff:
        assert runoff.sizes["valid_time"] == 24


def test_nothing_is_written_where_one_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "catchments.gpkg").write_text("mine")
    with pytest.raises(FileExistsError, match="catchments.gpkg"):
        land_surface(tmp_path, days=1)
    assert [path.name for path in tmp_path.iterdir()] == ["catchments.gpkg"]
    assert (tmp_path / "catchments.gpkg").read_text() == "mine"


@pytest.mark.parametrize(("given", "message"), [({"days": 0}, "days=0"), ({"days": 1.5}, "whole"), ({"seed": -1}, "seed")])
def test_what_is_no_number_of_days_or_seed_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        land_surface(**given)  # type: ignore[arg-type]


def test_the_forecast_starts_where_the_analysis_is_and_its_first_member_comes_true() -> None:
    """Amounts of three hours by hand, from values that climb through the day and from those that climb since the start."""
    ro, forecast = land_surface(days=5).runoff["ro"], land_forecast(members=4, days=2, after=2)["ro"]
    assert forecast.dims == ("number", "step", "latitude", "longitude") and forecast.attrs["units"] == "m"
    assert forecast["time"].values == np.datetime64("2024-05-03")
    assert (forecast["valid_time"] == forecast["time"] + forecast["step"]).all()
    for name in ("latitude", "longitude"):
        xr.testing.assert_equal(forecast[name].drop_vars(["number", "time"], errors="ignore"), ro[name].drop_vars("number"))
    value, hour = ro.to_numpy().astype(float), ro["valid_time"].dt.hour.to_numpy()
    hourly = value[1:] - np.where((hour[1:] == 1)[:, None, None], 0.0, value[:-1])  # from 1 May, 00 to 01 UTC, on
    comes = hourly[48:96].reshape(16, 3, *hourly.shape[1:]).sum(1)
    first = np.diff(forecast.isel(number=0).to_numpy().astype(float), axis=0, prepend=0.0)
    np.testing.assert_allclose(first, comes, rtol=1e-4, atol=1e-7)
    spread = forecast.isel(step=-1).sum(["latitude", "longitude"])
    assert len(set(spread.values.tolist())) == 4
    assert (forecast.isnull().isel(number=0, step=0) == ro.isnull().isel(valid_time=0, drop=True)).all()


def test_the_forecast_is_written(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    forecast = land_forecast(tmp_path, members=2, days=1)
    with xr.open_dataset(tmp_path / "forecast.nc", decode_timedelta=True) as read:
        xr.testing.assert_equal(read, forecast)
    with pytest.raises(FileExistsError, match="forecast.nc"):
        land_forecast(tmp_path, members=2, days=1)
    with pytest.raises(ParameterError, match="members=0"):
        land_forecast(members=0)
