"""What users arrive with, made in code: a land model's grid of accumulated runoff, rivers as lines, catchments as polygons.

They look like the files of ERA5-Land, HydroRIVERS and a set of catchments, with what is awkward about those: values that
accumulate over the day, longitudes that go round at Greenwich, a sea without values, rows in no order, no travel times.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import Voronoi

from xroute.datasets.basin import grow_river, scatter
from xroute.datasets.rivers import KM_PER_DEGREE, number_generator, whole_number
from xroute.datasets.storms import Storm, storm_runoff
from xroute.exceptions import ParameterError, require
from xroute.files.writing import replacing
from xroute.network import Network
from xroute.wording import argument

if TYPE_CHECKING:
    import geopandas

__all__ = ["FILES", "LandSurface", "land_surface"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LON, LAT = 0.0, 48.0  # where the invented basin is put on the map: astride the meridian of Greenwich
SPACING = 7.0  # km between reaches: a catchment is about half a cell of the grid
CELL = 0.1  # degrees
MARGIN = 2  # cells of the grid beyond the basin
FIRST_ID = 20_400_001
YIELD = 0.012  # m3 s-1 of mean flow that a km2 gives: 380 mm a year

FILES = {"runoff": "era5-land.nc", "rivers": "rivers.gpkg", "catchments": "catchments.gpkg"}
"""Names of the files that `land_surface` writes."""


class LandSurface(NamedTuple):
    """Runoff of a land model and the hydrography that it is to flow down.

    Attributes
    ----------
    runoff
        ``ro(valid_time, latitude, longitude)`` [m], accumulated over the day.
    rivers
        A line a reach, with the columns of HydroRIVERS; the reach downstream is in ``NEXT_DOWN``.
    catchments
        A polygon a reach, of the same ``HYRIV_ID``, in another order.
    """

    runoff: xr.Dataset
    rivers: geopandas.GeoDataFrame
    catchments: geopandas.GeoDataFrame


def land_surface(
    folder: str | os.PathLike[str] | None = None, *, days: int = 10, seed: int = 3, overwrite: bool = False
) -> LandSurface:
    """Inputs as users have them: a grid like ERA5-Land's, rivers like HydroRIVERS', and the catchments of the rivers.

    The basin is invented, and so is its weather. It lies astride the meridian of Greenwich and ends at a sea.

    Parameters
    ----------
    folder
        Where to write the three as ``era5-land.nc``, ``rivers.gpkg`` and ``catchments.gpkg`` besides; made if it is not
        there. None writes nothing.
    days
        Days of hourly runoff, from 1 May 2024.
    seed
        Seed of the river's course; the weather is the same.
    overwrite
        Replace files of these names in the folder.

    Returns
    -------
    LandSurface
        ``runoff``, a Dataset: ``ro(valid_time, latitude, longitude)`` [m] in float32, hourly, 00 to 23 UTC. Values accumulate
        from 00 UTC on, so that the one of 00 UTC is the whole day before. Latitudes descend; longitudes are counted from 0
        to 360, and go on at 0 east of Greenwich. Cells of the sea are missing.
        ``rivers``, a GeoDataFrame of some 700 lines: ``HYRIV_ID``, ``NEXT_DOWN`` (0 at the mouth), ``LENGTH_KM``,
        ``CATCH_SKM``, ``UPLAND_SKM``, ``DIS_AV_CMS``, ``ORD_STRA`` and others; no travel times.
        ``catchments``, a GeoDataFrame of as many polygons, which tile the basin: ``HYRIV_ID`` and ``AREA_SKM``.

    Raises
    ------
    ParameterError
        If there are no days, or the seed is none.
    FileExistsError
        If one of the files is there already and ``overwrite`` is False; nothing is written then.
    ImportError
        If geopandas or pyproj is not installed, or what writes the files.

    Notes
    -----
    Names, units and conventions follow the public documentation of ERA5-Land (ECMWF) and of HydroRIVERS (Lehner and
    Grill, 2013); no value is theirs. Catchments are the Voronoi cells of points on the lines, and cross the edge of the sea
    as real ones do on a coarse grid.

    Examples
    --------
    >>> from xroute.datasets import land_surface
    >>> land = land_surface(days=2)
    >>> dict(land.runoff.ro.sizes)["valid_time"], land.runoff.ro.attrs["units"], len(land.rivers) == len(land.catchments)
    (48, 'm', True)
    """
    require("geopandas", feature="a land surface", extra="geo")
    require("pyproj", feature="a land surface", extra="geo")
    whole_number("days", days)
    if not 1 <= days <= 366:
        raise ParameterError(f"{argument('days', days)} must be from 1 to 366")
    rng = number_generator(seed)
    x, y, downstream, points, polygons = _rivers(rng)
    ids = FIRST_ID + rng.permutation(x.size)
    rivers = _river_table(rng, x, y, downstream, ids, points, polygons)
    catchments = rivers[["HYRIV_ID", "CATCH_SKM"]].set_axis(["HYRIV_ID", "AREA_SKM"], axis=1)
    import geopandas

    order = [rng.permutation(x.size) for _ in range(2)]  # files are in no order that means anything
    land = LandSurface(
        _runoff(polygons, points, days),
        rivers.iloc[order[0]].reset_index(drop=True),
        geopandas.GeoDataFrame(catchments, geometry=polygons, crs="EPSG:4326").iloc[order[1]].reset_index(drop=True),
    )
    if folder is not None:
        _write(land, Path(folder), overwrite)
    return land


# ── rivers ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rivers(rng: np.random.Generator) -> tuple[Float, Float, Int, Float, NDArray[Any]]:
    """Heads of the reaches [km], the mouth the first; who is downstream; a point on each; and their catchments [degrees]."""
    import shapely

    x, y, inside = scatter(rng, SPACING)
    outside = np.column_stack([x, y])[~inside]
    x, y, downstream, _ = grow_river(rng, x[inside], y[inside], SPACING)
    to_x, to_y = x[downstream], y[downstream]
    to_x[0], to_y[0] = x[0], y[0] - 0.6 * SPACING  # into the sea
    bend = rng.uniform(-0.12, 0.12, x.size)
    points = np.column_stack([0.5 * (x + to_x) - bend * (to_y - y), 0.5 * (y + to_y) + bend * (to_x - x)])

    diagram = Voronoi(np.concatenate([points, outside]))
    corners = _degrees(diagram.vertices)
    regions = [diagram.regions[diagram.point_region[i]] for i in range(x.size)]
    polygons = shapely.polygons([shapely.linearrings(corners[region]) for region in regions])
    return x, y, downstream, points, shapely.normalize(polygons)


def _degrees(places: Float) -> Float:
    """Longitude and latitude of places in the plane [km], a straight line staying one."""
    x, y = places.T
    return np.column_stack([LON + x / (KM_PER_DEGREE * np.cos(np.radians(LAT))), LAT + y / KM_PER_DEGREE])


def _river_table(
    rng: np.random.Generator, x: Float, y: Float, downstream: Int, ids: Int, points: Float, polygons: NDArray[Any]
) -> geopandas.GeoDataFrame:
    """Reaches from the mouth upwards, with HydroRIVERS' columns and their digits."""
    import geopandas
    import pyproj
    import shapely

    ellipsoid = pyproj.Geod(ellps="WGS84")
    heads = np.column_stack([x, y])
    ends = heads[downstream]
    ends[0] = heads[0] - [0.0, 0.6 * SPACING]
    area = np.array([abs(ellipsoid.geometry_area_perimeter(polygon)[0]) / 1e6 for polygon in polygons])
    length = np.hypot(*(points - heads).T) + np.hypot(*(ends - points).T)
    length = np.round(length * rng.uniform(1.05, 1.25, x.size), 2)  # a map's lines are straighter than rivers
    upstream, down = area.copy(), np.zeros(x.size)
    for i in range(x.size - 1, 0, -1):  # all stand after those they drain to
        upstream[downstream[i]] += upstream[i]
    for i in range(1, x.size):
        down[i] = down[downstream[i]] + length[downstream[i]]
    next_down = np.where(downstream < 0, 0, ids[downstream])
    network = Network(xr.Dataset({"downstream": ("reach", next_down)}, {"reach": ids}))
    lines = shapely.linestrings(np.stack([_degrees(heads), _degrees(points), _degrees(ends)], axis=1))
    columns = {
        "HYRIV_ID": ids,
        "NEXT_DOWN": next_down,
        "MAIN_RIV": np.full(x.size, ids[0]),
        "LENGTH_KM": length,
        "DIST_DN_KM": np.round(down, 1),
        "CATCH_SKM": np.round(area, 2),
        "UPLAND_SKM": np.round(upstream, 1),
        "ENDORHEIC": np.zeros(x.size, np.int64),
        "DIS_AV_CMS": np.round(YIELD * upstream, 3),
        "ORD_STRA": network.strahler.to_numpy(),
    }
    return geopandas.GeoDataFrame(columns, geometry=lines, crs="EPSG:4326")


# ── runoff ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _runoff(polygons: NDArray[Any], points: Float, days: int) -> xr.Dataset:
    """Hourly runoff of two storms on a grid about the polygons, as ERA5-Land would have it; land is where the points are."""
    import shapely

    west, south, east, north = shapely.total_bounds(polygons)
    columns = np.arange(np.floor(west / CELL) - MARGIN, np.ceil(east / CELL) + MARGIN + 1)
    rows = np.arange(np.ceil(north / CELL) + MARGIN, np.floor(south / CELL) - MARGIN - 1, -1)
    lon, lat = np.round(columns * CELL, 1), np.round(rows * CELL, 1)
    at_lon, at_lat = _degrees(points).T
    sea = lat[:, None] < at_lat.min() + 0.1 + 0.05 * np.sin(2.0 * lon)
    sea[np.round(rows[0] - at_lat / CELL).astype(int), np.round(at_lon / CELL - columns[0]).astype(int)] = False

    hours = 24 * (days + 1)  # the first stamp holds the day before
    places = xr.Dataset(coords={"reach": np.arange(lat.size * lon.size)}).assign(
        lon=("reach", np.tile(lon, lat.size)),
        lat=("reach", np.repeat(lat, lon.size)),
        area=("reach", np.ones(lat.size * lon.size), {"units": "km2"}),
    )
    storms = [
        Storm(start=30.0, duration=40.0, x=-10.0, y=45.0, speed_x=4.5, speed_y=-1.5, radius=120.0, peak=7.0),
        Storm(start=100.0, duration=24.0, x=-30.0, y=-40.0, speed_x=5.0, speed_y=2.5, radius=80.0, peak=6.0),
        Storm(start=-6.0, duration=24.0, x=20.0, y=0.0, speed_x=3.0, speed_y=0.5, radius=90.0, peak=3.0),
    ]
    rate = storm_runoff(places, hours, storms=storms, dtype=np.float64, units="mm h-1").to_numpy()
    by_day = 1e-3 * rate.reshape(days + 1, 24, lat.size, lon.size).cumsum(axis=1)
    value = by_day.reshape(hours, lat.size, lon.size)[23:-1]  # at 00 UTC the whole of the day before
    value = np.where(sea, np.nan, value)
    return _like_era5_land(value.astype(np.float32), lat, np.where(lon < 0, np.round(lon + 360.0, 1), lon))


def _like_era5_land(value: NDArray[np.float32], lat: Float, lon: Float) -> xr.Dataset:
    time = pd.date_range("2024-05-01", periods=len(value), freq="h")
    attrs = {
        "long_name": "Runoff", "units": "m", "standard_name": "unknown", "GRIB_paramId": 205, "GRIB_shortName": "ro",
        "GRIB_dataType": "fc", "GRIB_stepType": "accum", "GRIB_gridType": "regular_ll", "GRIB_typeOfLevel": "surface",
        "GRIB_missingValue": 3.4028234663852886e38,
    }  # fmt: skip
    coordinates = {
        "number": ((), np.int64(0), {"long_name": "ensemble member numerical id", "units": "1", "standard_name": "realization"}),
        "valid_time": ("valid_time", time, {"long_name": "time", "standard_name": "time"}),
        "latitude": ("latitude", lat, {
            "units": "degrees_north", "standard_name": "latitude", "long_name": "latitude", "stored_direction": "decreasing",
        }),
        "longitude": ("longitude", lon, {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"}),
    }  # fmt: skip
    dataset = xr.Dataset(
        {"ro": (("valid_time", "latitude", "longitude"), value, attrs)},
        coordinates,
        {"Conventions": "CF-1.7", "title": "Invented runoff in the form of ERA5-Land's, made by xroute"},
    )
    dataset["ro"].encoding = {"_FillValue": np.float32(np.nan), "zlib": True, "complevel": 1}
    dataset["valid_time"].encoding = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "dtype": "int64"}
    return dataset


def _write(land: LandSurface, folder: Path, overwrite: bool) -> None:
    """Write the three files, all of them or none."""
    require("netCDF4", feature="writing netCDF", extra="io")
    require("pyogrio", feature="writing GeoPackage", extra="geo")
    folder.mkdir(parents=True, exist_ok=True)
    with (
        replacing(folder / FILES["runoff"], overwrite=overwrite) as runoff,
        replacing(folder / FILES["rivers"], overwrite=overwrite) as rivers,
        replacing(folder / FILES["catchments"], overwrite=overwrite) as catchments,
    ):
        land.runoff.to_netcdf(runoff, engine="netcdf4")
        land.rivers.to_file(rivers, driver="GPKG", layer="rivers")
        land.catchments.to_file(catchments, driver="GPKG", layer="catchments")
