"""Runoff of a land model on a grid, made in code, in the form of ERA5-Land's analysis and of a weather service's forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.storms import Storm, storm_runoff

__all__ = ["LAST_DAY", "Grid", "analysis", "ensemble", "grid_about"]

Float = NDArray[np.float64]

CELL = 0.1  # degrees
MARGIN = 2  # cells of the grid beyond the basin
START = np.datetime64("2024-05-01", "ns")
LAST_DAY = 366
STORMS = (  # in hours from the day before the start
    Storm(start=30.0, duration=40.0, x=-10.0, y=45.0, speed_x=4.5, speed_y=-1.5, radius=120.0, peak=7.0),
    Storm(start=100.0, duration=24.0, x=-30.0, y=-40.0, speed_x=5.0, speed_y=2.5, radius=80.0, peak=6.0),
    Storm(start=-6.0, duration=24.0, x=20.0, y=0.0, speed_x=3.0, speed_y=0.5, radius=90.0, peak=3.0),
)


@dataclass(frozen=True)
class Grid:
    """A grid of longitudes and latitudes.

    Attributes
    ----------
    lat : [row]
        Descending [degrees].
    lon : [column]
        About Greenwich, ascending from the west [degrees].
    sea : bool [row, column]
        Cells without values.
    """

    lat: Float
    lon: Float
    sea: NDArray[np.bool_]


def grid_about(polygons: NDArray[Any], points: Float) -> Grid:
    """Grid about some polygons, with a sea in the south that leaves cells with points on land (lon and lat, [point, 2])."""
    import shapely

    west, south, east, north = shapely.total_bounds(polygons)
    columns = np.arange(np.floor(west / CELL) - MARGIN, np.ceil(east / CELL) + MARGIN + 1)
    rows = np.arange(np.ceil(north / CELL) + MARGIN, np.floor(south / CELL) - MARGIN - 1, -1)
    lon, lat = np.round(columns * CELL, 1), np.round(rows * CELL, 1)
    at_lon, at_lat = points.T
    sea = lat[:, None] < at_lat.min() + 0.1 + 0.05 * np.sin(2.0 * lon)
    sea[np.round(rows[0] - at_lat / CELL).astype(int), np.round(at_lon / CELL - columns[0]).astype(int)] = False
    return Grid(lat, lon, sea)


def analysis(grid: Grid, days: int) -> xr.Dataset:
    """Hourly runoff as ERA5-Land has it: the value of 00 UTC is the whole of the day before."""
    amount = _amounts(grid, days + 1)
    by_day = amount.reshape(days + 1, 24, *grid.sea.shape).cumsum(axis=1)
    value = by_day.reshape(amount.shape)[23:-1]
    time = pd.date_range(START, periods=len(value), freq="h")
    coordinates = {
        "number": ((), np.int64(0), _MEMBER),
        "valid_time": ("valid_time", time, {"long_name": "time", "standard_name": "time"}),
    }
    dataset = _like_grib(grid, value, ("valid_time",), coordinates, "Invented runoff in the form of ERA5-Land's, made by xroute")
    dataset["valid_time"].encoding = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "dtype": "int64"}
    return dataset


def ensemble(grid: Grid, members: int, days: int, after: int) -> xr.Dataset:
    """Runoff of members since the start of a forecast, every three hours."""
    amount = _amounts(grid, after + 1 + days, members)[:, 24 * (after + 1) :]
    value = amount.cumsum(axis=1)[:, 2::3]
    step = np.arange(3, 24 * days + 1, 3) * np.timedelta64(3600 * 10**9, "ns")
    start = START + after * np.timedelta64(24, "h")
    said = {"long_name": "time since forecast_reference_time", "standard_name": "forecast_period"}
    coordinates = {
        "number": ("number", np.arange(members), _MEMBER),
        "time": ((), start, {"long_name": "initial time of forecast", "standard_name": "forecast_reference_time"}),
        "step": ("step", step, said),
        "valid_time": ("step", start + step, {"long_name": "time", "standard_name": "time"}),
    }
    title = "Invented forecast of runoff in the form of a weather service's, made by xroute"
    return _like_grib(grid, value, ("number", "step"), coordinates, title)


_MEMBER = {"long_name": "ensemble member numerical id", "units": "1", "standard_name": "realization"}


def _amounts(grid: Grid, days: int, members: int | None = None) -> Float:
    """Runoff of each hour [m] from the day before the start on, (member,) time, row, column."""
    n = grid.sea.size
    places = xr.Dataset(coords={"reach": np.arange(n)}).assign(
        lon=("reach", np.tile(grid.lon, grid.lat.size)),
        lat=("reach", np.repeat(grid.lat, grid.lon.size)),
        area=("reach", np.ones(n), {"units": "km2"}),
    )
    rate = storm_runoff(places, 24 * days, storms=STORMS, members=members, dtype=np.float64, units="mm h-1")
    return 1e-3 * rate.to_numpy().reshape(*rate.shape[:-1], *grid.sea.shape)


def _like_grib(
    grid: Grid, value: Float, dims: tuple[str, ...], coordinates: dict[str, Any], title: str
) -> xr.Dataset:
    """Dataset with the names and attributes that readers of GRIB give, longitudes from 0 to 360."""
    attrs = {
        "long_name": "Runoff", "units": "m", "standard_name": "unknown", "GRIB_paramId": 205, "GRIB_shortName": "ro",
        "GRIB_dataType": "pf" if "number" in dims else "fc", "GRIB_stepType": "accum", "GRIB_gridType": "regular_ll",
        "GRIB_typeOfLevel": "surface", "GRIB_missingValue": 3.4028234663852886e38,
    }  # fmt: skip
    lon = np.where(grid.lon < 0, np.round(grid.lon + 360.0, 1), grid.lon)
    places = {
        "latitude": ("latitude", grid.lat, {
            "units": "degrees_north", "standard_name": "latitude", "long_name": "latitude", "stored_direction": "decreasing",
        }),
        "longitude": ("longitude", lon, {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"}),
    }  # fmt: skip
    values = np.where(grid.sea, np.nan, value).astype(np.float32)
    dataset = xr.Dataset(
        {"ro": ((*dims, "latitude", "longitude"), values, attrs)}, coordinates | places, {"Conventions": "CF-1.7", "title": title}
    )
    dataset["ro"].encoding = {"_FillValue": np.float32(np.nan), "zlib": True, "complevel": 1}
    return dataset
