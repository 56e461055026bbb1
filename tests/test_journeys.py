"""Roads from what users arrive with to discharge, in Python and by commands, against brute force that shares nothing with them.

A journey is a file as a product has it: names, units, stamps, longitudes, latitudes and what its values hold. The truth is
worked out here from the depths that were put into it: areas by shapely and pyproj's geodesics, the volume of each step by a
sum, routing by Muskingum's three coefficients in a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import xroute
from xroute.cli import main
from xroute.datasets import LandSurface, land_forecast, land_surface
from xroute.io import open_dataset

for module in ("geopandas", "pyogrio", "pyproj", "shapely", "netCDF4", "zarr"):
    pytest.importorskip(module)
import pyproj  # noqa: E402
import shapely  # noqa: E402

Float = NDArray[np.float64]
CELERITY, X = 1.0, 0.2
GEOD = pyproj.Geod(ellps="WGS84")


# ── the truth ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def geodesic_area(polygon: Any) -> float:
    """Area [m2] of a polygon whose edges are straight on the map."""
    return abs(GEOD.geometry_area_perimeter(shapely.segmentize(polygon, 0.004))[0])


def overlap_areas(polygons: Sequence[Any], corners: Float) -> Float:
    """Area [m2] of each cell (corners: [cell, 4, (lon, lat)], lon about Greenwich) in each polygon, as a table."""
    cells = shapely.polygons(corners)
    table = np.zeros((len(polygons), len(cells)))
    pairs = np.array([(i, j) for i, p in enumerate(polygons) for j in np.flatnonzero(shapely.intersects(p, cells))])
    parts = shapely.intersection(np.asarray(polygons)[pairs[:, 0]], cells[pairs[:, 1]])
    for (i, j), part in zip(pairs, parts, strict=True):
        if part.area > 0:
            table[i, j] = geodesic_area(part)
    return table


def rectangles(lat: Float, lon: Float) -> Float:
    """Corners of the cells of a regular grid, row by row: [cell, 4, (lon, lat)]."""
    lon = (lon + 180.0) % 360.0 - 180.0
    dy, dx = abs(lat[1] - lat[0]) / 2, abs(lon[1] - lon[0]) / 2
    y, x = (a.ravel() for a in np.meshgrid(lat, lon, indexing="ij"))
    return np.stack([np.stack([x + sx * dx, y + sy * dy], -1) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))], 1)


def route_by_hand(inflow: Float, table: Any, dt: float, substeps: int = 1) -> Float:
    """Discharge [time, reach] of Muskingum reaches (m3 s-1, reaches in the table's order), from rest."""
    ids = table["HYRIV_ID"].tolist()
    place = {reach: i for i, reach in enumerate(ids)}
    below = np.array([place.get(i, -1) for i in table["NEXT_DOWN"]])
    steps = np.zeros(len(ids), int)  # to the mouth: those that have most come first
    for i in range(len(ids)):
        j = i
        while below[j] >= 0:
            j, steps[i] = below[j], steps[i] + 1
    k, h = 1000.0 * table["LENGTH_KM"].to_numpy() / CELERITY, dt / substeps
    over = k * (1 - X) + h / 2
    c0, c1, c2 = (h / 2 - k * X) / over, (h / 2 + k * X) / over, (k * (1 - X) - h / 2) / over
    result, before, out = np.zeros(inflow.shape), np.zeros(len(ids)), np.zeros(len(ids))
    levels = [np.flatnonzero(steps == level) for level in range(steps.max(), -1, -1)]
    for t, given in enumerate(inflow):
        for _ in range(substeps):
            now, old = given.copy(), out.copy()
            for level in levels:
                out[level] = c0[level] * now[level] + c1[level] * before[level] + c2[level] * old[level]
                drains = level[below[level] >= 0]
                np.add.at(now, below[drains], out[drains])
            before = now
            result[t] += out / substeps
    return result


# ── what users have ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Journey:
    """A product's file, how one gets from it to runoff, and the truth.

    Attributes
    ----------
    dataset
        As it is opened.
    runoff
        From the Dataset to what is routed.
    options
        Of `xroute route`, for the same.
    corners
        Of the grid's cells, [cell, 4, (lon, lat)].
    depth
        Water of each step in each cell [m], [..., time, cell]; NaN at sea.
    dt
        Step [s].
    grid
        What weights are made for.
    encoding
        How the file is written.
    """

    dataset: xr.Dataset
    runoff: Callable[[xr.Dataset], xr.DataArray]
    options: list[str]
    corners: Float
    depth: Float
    dt: float
    grid: str
    encoding: dict[str, dict[str, Any]] = field(default_factory=dict)
    substeps: int = 1
    nan: str = "raise"
    rtol: float = 1e-6


def depths(*shape: int, seed: int = 5) -> Float:
    """Depth of water of each step [m], up to 3 mm."""
    return np.random.default_rng(seed).gamma(0.5, 1e-3, shape).round(6)


def regular(step: float, descending: bool = True) -> tuple[Float, Float]:
    """Latitudes and longitudes of a grid about the basin, centres at odd halves of the step."""
    lat = (np.arange(np.floor(46.4 / step), np.ceil(49.3 / step)) + 0.5) * step
    lon = (np.arange(np.floor(-1.6 / step), np.ceil(1.6 / step)) + 0.5) * step
    return (lat[::-1] if descending else lat).copy(), lon


def from_noon(lon: Float) -> Float:
    """Longitudes from 0 to 360."""
    return np.where(lon < 0, lon + 360.0, lon)


def lat_lon(lat: Float, lon: Float, names: tuple[str, str] = ("lat", "lon")) -> dict[str, Any]:
    return {
        names[0]: (names[0], lat, {"units": "degrees_north", "standard_name": "latitude"}),
        names[1]: (names[1], lon, {"units": "degrees_east", "standard_name": "longitude"}),
    }


def field_of(values: Any, dims: Sequence[str], **attrs: Any) -> tuple[Sequence[str], Any, dict[str, Any]]:
    return dims, values, attrs


def era5_land(land: LandSurface) -> Journey:
    """As `land_surface` makes it: climbing through the day, from a stamp of 00 UTC on, 0 to 360, with a sea."""
    ro = land.runoff["ro"]
    value, hour = ro.to_numpy().astype(float), ro["valid_time"].dt.hour.to_numpy()
    depth = value[1:] - np.where((hour[1:] == 1)[:, None, None], 0.0, value[:-1])
    corners = rectangles(ro["latitude"].to_numpy(), ro["longitude"].to_numpy())
    return Journey(
        land.runoff, lambda ds: xroute.deaccumulate(ds["ro"], "day"), ["--deaccumulate", "day", "--nan", "others"], corners,
        depth.reshape(len(depth), -1), 3600.0, "ro", nan="others", rtol=2e-5,
    )  # fmt: skip


def era5_land_of_old(land: LandSurface) -> Journey:
    """The old form of the same product: packed, hours since 1900, -180 to 180, and here from 01 UTC on."""
    lat, lon = regular(0.1)
    depth = depths(48, lat.size, lon.size)
    climbing = depth.reshape(2, 24, lat.size, lon.size).cumsum(1).reshape(depth.shape)
    scale = climbing.max() / 60000
    packed = np.round(climbing / scale)
    exact = packed * scale
    depth = np.diff(exact, axis=0, prepend=0.0)
    depth[::24] = exact[::24]
    time = pd.date_range("2001-03-01T01:00", periods=48, freq="h")
    dataset = xr.Dataset(
        {"ro": field_of(exact, ("time", "latitude", "longitude"), units="m", long_name="Runoff")},
        {"time": ("time", time, {"long_name": "time"}), **lat_lon(lat, lon, ("latitude", "longitude"))},
        {"Conventions": "CF-1.6"},
    )
    packing = {"dtype": "int16", "scale_factor": scale, "add_offset": 30000 * scale, "_FillValue": -32767}
    encoding = {"ro": packing, "time": {"units": "hours since 1900-01-01 00:00:00.0", "dtype": "int32"}}
    return Journey(
        dataset, lambda ds: xroute.deaccumulate(ds["ro"], "day"), ["--deaccumulate", "day"], rectangles(lat, lon),
        depth.reshape(48, -1), 3600.0, "ro", encoding, rtol=1e-4,
    )  # fmt: skip


def grib_ensemble(land: LandSurface) -> Journey:
    """A forecast of members as cfgrib opens it: number, step, latitude, longitude; climbing since its start."""
    lat, lon = regular(0.2)
    depth = depths(3, 12, lat.size, lon.size)
    step = np.arange(3, 37, 3) * np.timedelta64(3600, "s").astype("m8[ns]")
    start = np.datetime64("2024-05-01", "ns")
    dataset = xr.Dataset(
        {"ro": field_of(
            depth.cumsum(1).astype(np.float32), ("number", "step", "latitude", "longitude"), units="m", long_name="Runoff",
            GRIB_stepType="accum", GRIB_shortName="ro",
        )},
        {
            "number": ("number", np.arange(3), {"standard_name": "realization", "units": "1"}),
            "time": ((), start, {"standard_name": "forecast_reference_time", "long_name": "initial time of forecast"}),
            "step": ("step", step, {"standard_name": "forecast_period", "long_name": "time since forecast_reference_time"}),
            "surface": ((), 0.0),
            "valid_time": ("step", start + step, {"standard_name": "time", "long_name": "time"}),
            **lat_lon(lat, from_noon(lon), ("latitude", "longitude")),
        },
    )  # fmt: skip
    return Journey(
        dataset, lambda ds: xroute.deaccumulate(ds["ro"], "forecast"), ["--deaccumulate", "forecast"], rectangles(lat, lon),
        depth.reshape(3, 12, -1), 10800.0, "ro", rtol=1e-4,
    )  # fmt: skip


def era5(land: LandSurface) -> Journey:
    """ERA5 itself: the amount of each hour, at its end, in metres."""
    lat, lon = regular(0.25)
    depth = depths(36, lat.size, lon.size)
    time = pd.date_range("2001-03-01T01:00", periods=36, freq="h")
    dataset = xr.Dataset(
        {"ro": field_of(
            depth.astype(np.float32), ("valid_time", "latitude", "longitude"), units="m", long_name="Runoff",
            GRIB_stepType="accum",
        )},
        {
            "valid_time": ("valid_time", time, {"standard_name": "time", "long_name": "time"}),
            **lat_lon(lat, from_noon(lon), ("latitude", "longitude")),
        },
    )  # fmt: skip
    return Journey(
        dataset, lambda ds: ds["ro"], [], rectangles(lat, lon), depth.reshape(36, -1), 3600.0, "ro"
    )


def gldas(land: LandSurface) -> Journey:
    """Storm surface runoff and baseflow, kg m-2 in three hours, latitudes from the south, -180 to 180."""
    lat, lon = regular(0.25, descending=False)
    fast, slow = depths(16, lat.size, lon.size), depths(16, lat.size, lon.size, seed=6)
    time = pd.date_range("2003-07-01T03:00", periods=16, freq="3h")
    dims = ("time", "lat", "lon")
    dataset = xr.Dataset(
        {
            "Qs_acc": field_of((1e3 * fast).astype(np.float32), dims, units="kg m-2", long_name="Storm surface runoff",
                               standard_name="surface_runoff_amount"),
            "Qsb_acc": field_of((1e3 * slow).astype(np.float32), dims, units="kg m-2", long_name="Baseflow-groundwater runoff",
                                standard_name="subsurface_runoff_amount"),
        },
        {"time": ("time", time, {"standard_name": "time"}), **lat_lon(lat.astype(np.float32), lon.astype(np.float32))},
    )  # fmt: skip

    def both(ds: xr.Dataset) -> xr.DataArray:
        return (ds["Qs_acc"] + ds["Qsb_acc"]).assign_attrs(units="kg m-2")

    options = ["--variable", "Qs_acc", "--variable", "Qsb_acc"]
    return Journey(
        dataset, both, options, rectangles(lat, lon), (fast + slow).reshape(16, -1), 10800.0, "Qs_acc",
        {"time": {"units": "minutes since 2003-07-01 03:00:00", "dtype": "float64"}},
    )  # fmt: skip


def cmip(land: LandSurface) -> Journey:
    """Total runoff of a climate model: kg m-2 s-1 of days, no leap years, with bounds of all three axes, 0 to 360."""
    lat, lon = regular(0.5, descending=False)
    depth = depths(20, lat.size, lon.size)
    time = xr.date_range("2004-02-20T12:00", periods=20, freq="D", calendar="noleap", use_cftime=True)
    start = xr.date_range("2004-02-20", periods=21, freq="D", calendar="noleap", use_cftime=True)
    round_lon = from_noon(lon)
    order = np.argsort(round_lon)
    east = np.concatenate([round_lon[order], np.arange(2.25, 358.0, 0.5)])  # all round the Earth, as such a model has it
    everywhere = np.sort(east)
    values = np.zeros((20, lat.size, everywhere.size))
    values[..., np.searchsorted(everywhere, round_lon)] = depth / 86400.0
    dataset = xr.Dataset(
        {
            "mrro": field_of((1e3 * values).astype(np.float32), ("time", "lat", "lon"), units="kg m-2 s-1",
                             standard_name="runoff_flux", cell_methods="area: mean where land time: mean"),
            "time_bnds": (("time", "bnds"), np.stack([start[:-1], start[1:]], 1)),
            "lat_bnds": (("lat", "bnds"), np.stack([lat - 0.25, lat + 0.25], 1)),
            "lon_bnds": (("lon", "bnds"), np.stack([everywhere - 0.25, everywhere + 0.25], 1)),
        },
        {"time": ("time", time, {"standard_name": "time", "bounds": "time_bnds"}), **lat_lon(lat, everywhere)},
        {"Conventions": "CF-1.7 CMIP-6.2"},
    )  # fmt: skip
    for name in ("lat", "lon"):
        dataset[name].attrs["bounds"] = f"{name}_bnds"
    return Journey(
        dataset, lambda ds: xroute.with_bounds(ds, "mrro"), ["--variable", "mrro", "--substeps", "24"],
        rectangles(lat, everywhere), 86400.0 * values.reshape(20, -1), 86400.0, "mrro",
        {"time": {"units": "days since 1850-01-01"}, "time_bnds": {"units": "days since 1850-01-01"}}, substeps=24,
    )  # fmt: skip


def merra2(land: LandSurface) -> Journey:
    """kg m-2 s-1 of hours, at half past; 0.5 by 0.625 degrees, latitudes from the south, -180 to 180."""
    lat = np.arange(46.0, 50.01, 0.5)
    lon = np.arange(-1.875, 1.876, 0.625)
    depth = depths(24, lat.size, lon.size)
    time = pd.date_range("1999-12-31T00:30", periods=24, freq="h")
    dataset = xr.Dataset(
        {"RUNOFF": field_of(
            (depth / 3.6).astype(np.float32), ("time", "lat", "lon"), units="kg m-2 s-1",
            long_name="overland_runoff_including_throughflow",
        )},
        {
            "time": ("time", time, {"long_name": "time"}),
            "lat": ("lat", lat, {"long_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", lon, {"long_name": "longitude", "units": "degrees_east"}),
        },
    )  # fmt: skip
    return Journey(
        dataset, lambda ds: ds["RUNOFF"], ["--label", "middle"], rectangles(lat, lon), depth.reshape(24, -1), 3600.0, "RUNOFF"
    )


def glofas(land: LandSurface) -> Journey:
    """Runoff water equivalent of days, kg m-2, on 0.05 degrees."""
    lat, lon = regular(0.05)
    depth = depths(6, lat.size, lon.size)
    time = pd.date_range("2010-01-02", periods=6, freq="D")
    dataset = xr.Dataset(
        {"rowe": field_of(
            (1e3 * depth).astype(np.float32), ("valid_time", "latitude", "longitude"), units="kg m**-2",
            long_name="Runoff water equivalent (surface plus subsurface)", GRIB_stepType="accum",
        )},
        {
            "valid_time": ("valid_time", time, {"standard_name": "time", "long_name": "time"}),
            **lat_lon(lat, lon, ("latitude", "longitude")),
        },
    )  # fmt: skip
    return Journey(
        dataset, lambda ds: ds["rowe"], ["--substeps", "24"], rectangles(lat, lon), depth.reshape(6, -1), 86400.0, "rowe",
        substeps=24,
    )  # fmt: skip


def wrf_hydro(land: LandSurface) -> Journey:
    """A curvilinear grid (rows and columns that slant), values that climb since the model's start, mm."""
    row, column = np.meshgrid(np.arange(-23, 23) + 0.5, np.arange(-23, 23) + 0.5, indexing="ij")

    def at(i: Float, j: Float) -> tuple[Float, Float]:
        return 0.085 * j - 0.03 * i, 47.85 + 0.075 * i + 0.02 * j

    lon, lat = at(row, column)
    corners = np.stack([
        np.stack(at(row.ravel() + di, column.ravel() + dj), -1) for di, dj in ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))
    ], 1)  # fmt: skip
    depth = depths(30, *lat.shape)
    time = pd.date_range("2012-06-01T01:00", periods=30, freq="h")
    dims = ("time", "south_north", "west_east")
    dataset = xr.Dataset(
        {"UGDRNOFF": field_of(1e3 * (depth.cumsum(0) + 0.05), dims, units="mm", long_name="accumulated underground runoff")},
        {
            "time": ("time", time),
            "XLAT": (dims[1:], lat, {"units": "degree_north", "long_name": "latitude"}),
            "XLONG": (dims[1:], lon, {"units": "degree_east", "long_name": "longitude"}),
        },
    )
    return Journey(
        dataset, lambda ds: xroute.deaccumulate(ds["UGDRNOFF"], "never"), ["--deaccumulate", "never"], corners,
        depth[1:].reshape(29, -1), 3600.0, "UGDRNOFF",
    )  # fmt: skip


JOURNEYS = (era5_land, era5_land_of_old, grib_ensemble, era5, gldas, cmip, merra2, glofas, wrf_hydro)


# ── the roads ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journeys")


@pytest.fixture(scope="module")
def land(folder: Path) -> LandSurface:
    """Inputs, written to the folder, and the network that is made of them by the first command."""
    land = land_surface(folder, days=2)
    network = ["--network", str(folder / "network.zarr"), "--celerity", str(CELERITY), "--x", str(X)]
    command("convert", "table", folder / "rivers.gpkg", *network)
    return land


def command(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words], prog_name="xroute")
    assert result.exit_code == 0, f"xroute {' '.join(map(str, words))}\n{result.output}\n{result.exception!r}"
    return result


def volumes(journey: Journey, table: Float) -> Float:
    """Inflow [..., time, catchment] [m3 s-1]: each cell's depth on the part of the catchment that is its."""
    sea = np.isnan(journey.depth)
    water = np.where(sea, 0.0, journey.depth) @ table.T / journey.dt
    if journey.nan == "others":
        water *= table.sum(1) / ((~sea).astype(float) @ table.T)
    return water


def truth(journey: Journey, land: LandSurface, table: Float) -> tuple[Float, list[int]]:
    """Discharge [..., time, reach] by hand, and the ids."""
    rivers = land.rivers
    place = {reach: i for i, reach in enumerate(land.catchments["HYRIV_ID"])}
    inflow = volumes(journey, table)[..., [place[reach] for reach in rivers["HYRIV_ID"]]]
    flat = inflow.reshape(-1, *inflow.shape[-2:])
    out = [route_by_hand(one, rivers, journey.dt, journey.substeps) for one in flat]
    return np.stack(out).reshape(inflow.shape), rivers["HYRIV_ID"].tolist()


@pytest.mark.filterwarnings("ignore:the first value")
@pytest.mark.parametrize("make", JOURNEYS, ids=lambda make: make.__name__)
def test_a_journey(make: Callable[[LandSurface], Journey], land: LandSurface, folder: Path) -> None:
    """The file by Python and by commands: both give the discharge that brute force gives."""
    journey = make(land)
    file, weights, stored = (folder / f"{make.__name__}{end}" for end in (".nc", "_weights.nc", "_q.zarr"))
    journey.dataset.to_netcdf(file, encoding=journey.encoding)
    expected, ids = truth(journey, land, overlap_areas(land.catchments.geometry.to_numpy(), journey.corners))
    largest = expected.max()

    with open_dataset(file) as ds:
        network = xroute.estimate_parameters(folder / "rivers.gpkg", celerity=CELERITY, x=X)
        made = xroute.grid_weights(ds[journey.grid], folder / "catchments.gpkg")
        options = {"nan": journey.nan, "substeps": journey.substeps}
        discharge = journey.runoff(ds).route(network, weights=made, **options).compute()
    assert discharge.attrs["units"] == "m3 s-1"
    np.testing.assert_allclose(
        discharge.sel(reach=ids).transpose(..., "reach").to_numpy(), expected, rtol=1e-4, atol=journey.rtol * largest
    )

    command("weights", file, folder / "catchments.gpkg", weights, "--variable", journey.grid)
    command("route", file, folder / "network.zarr", stored, "--weights", weights, *journey.options)
    with open_dataset(stored) as ds:
        by_command = ds["discharge"].sel(reach=ids).transpose(..., "reach").to_numpy()
        assert ds["discharge"].attrs["units"] == "m3 s-1"
    in_python = discharge.sel(reach=ids).transpose(..., "reach").to_numpy()
    np.testing.assert_allclose(by_command, in_python, rtol=1e-5, atol=1e-6 * largest)


# ── the same water in other forms ─────────────────────────────────────────────────────────────────────────────────────


def sorted_with_a_gap(ds: xr.Dataset) -> xr.Dataset:
    """0 to 1.4, then 358.6 to 359.9: what choosing longitudes from a file of 0 to 360 leaves."""
    return ds.sortby("longitude")


def signed(ds: xr.Dataset) -> xr.Dataset:
    return ds.assign_coords(longitude=(ds["longitude"] + 180.0) % 360.0 - 180.0).assign_attrs(ds.attrs)


FORMS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "signed": signed,
    "beyond 360": lambda ds: ds.assign_coords(longitude=signed(ds)["longitude"] + 360.0),
    "from the south": lambda ds: ds.isel(latitude=slice(None, None, -1)),
    "columns first": lambda ds: ds.transpose("longitude", "valid_time", "latitude"),
    "from the east": lambda ds: signed(ds).isel(longitude=slice(None, None, -1)),
    "float32 places": lambda ds: ds.assign_coords({n: ds[n].astype(np.float32) for n in ("latitude", "longitude")}),
    "plain names": lambda ds: ds.rename(latitude="lat", longitude="lon", valid_time="time"),
    "no attributes": lambda ds: ds.drop_attrs().assign(ro=ds["ro"].drop_attrs().assign_attrs(units="m")),
    "on Dask": lambda ds: ds.chunk(valid_time=7, latitude=9, longitude=10),
}


@pytest.fixture(scope="module")
def plain(land: LandSurface, folder: Path) -> tuple[xroute.Network, xr.DataArray]:
    """Network, and discharge of the land surface as it is."""
    network = xroute.Network(open_dataset(folder / "network.zarr"))
    return network, discharge_of(land.runoff, land, network)


def discharge_of(ds: xr.Dataset, land: LandSurface, network: xroute.Network) -> xr.DataArray:
    weights = xroute.grid_weights(ds["ro"], land.catchments)
    return xroute.deaccumulate(ds["ro"], "day").route(network, weights=weights, nan="others")


@pytest.mark.filterwarnings("ignore:the first value")
@pytest.mark.parametrize("form", FORMS)
def test_form_does_not_matter(form: str, land: LandSurface, plain: tuple[xroute.Network, xr.DataArray]) -> None:
    network, expected = plain
    ds = FORMS[form](land.runoff)
    found = discharge_of(ds, land, network)
    time = found.dims[0] if found.dims[1] == "reach" else found.dims[1]
    found = found.rename({time: "valid_time"}).transpose("valid_time", "reach")
    rtol = 1e-4 if form == "float32 places" else 1e-6
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * float(expected.max()))


@pytest.mark.filterwarnings("ignore:the first value")
def test_longitudes_with_a_gap_are_refused_or_right(land: LandSurface, plain: tuple[xroute.Network, xr.DataArray]) -> None:
    """Bounds halfway between 1.4 and 358.6 would give two columns half the Earth."""
    network, expected = plain
    try:
        found = discharge_of(sorted_with_a_gap(land.runoff), land, network)
    except xroute.XRouteError as error:
        assert "longitude" in str(error)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * float(expected.max()))


@pytest.mark.filterwarnings("ignore:the first value")
@pytest.mark.parametrize("ending", [".shp", ".parquet", ".geojson"])
def test_kinds_of_files_do_not_matter(
    ending: str, land: LandSurface, plain: tuple[xroute.Network, xr.DataArray], tmp_path: Path
) -> None:
    for name, table in (("rivers", land.rivers), ("catchments", land.catchments)):
        path = tmp_path / f"{name}{ending}"
        table.to_parquet(path) if ending == ".parquet" else table.to_file(path)
    network = xroute.estimate_parameters(tmp_path / f"rivers{ending}", celerity=CELERITY, x=X)
    weights = xroute.grid_weights(land.runoff["ro"], tmp_path / f"catchments{ending}")
    found = xroute.deaccumulate(land.runoff["ro"], "day").route(network, weights=weights, nan="others")
    np.testing.assert_allclose(found.sel(reach=plain[0].ids), plain[1], rtol=1e-5, atol=1e-5 * float(plain[1].max()))


def test_tables_in_memory_are_networks_too(land: LandSurface, plain: tuple[xroute.Network, xr.DataArray]) -> None:
    """Rivers as GeoPandas reads them, in whatever order."""
    network = xroute.estimate_parameters(land.rivers.sample(frac=1, random_state=1), celerity=CELERITY, x=X)
    k = 1000.0 * land.rivers.set_index("HYRIV_ID")["LENGTH_KM"].reindex(network.ids) / CELERITY
    np.testing.assert_allclose(network.dataset["k"], k)
    weights = xroute.grid_weights(land.runoff["ro"], land.catchments.sample(frac=1, random_state=2))
    with pytest.warns(UserWarning, match="first value"):
        hourly = xroute.deaccumulate(land.runoff["ro"], "day")
    found = hourly.route(network, weights=weights, nan="others").sel(reach=plain[0].ids)
    np.testing.assert_allclose(found, plain[1], rtol=1e-6, atol=1e-6 * float(plain[1].max()))


def test_an_even_rain_fills_the_river(land: LandSurface, plain: tuple[xroute.Network, xr.DataArray]) -> None:
    """1 mm an hour everywhere: each reach ends with a thousandth of its upstream area an hour."""
    network, _ = plain
    ro = land.runoff["ro"].isel(valid_time=0, drop=True)
    time = pd.date_range("2001-01-01", periods=400, freq="h")
    even = xr.full_like(ro, 1.0, dtype=float).expand_dims(time=time).assign_attrs(units="mm h-1")
    discharge = even.route(network, weights=xroute.grid_weights(ro, land.catchments))
    table = land.catchments.set_index("HYRIV_ID")
    own = {reach: geodesic_area(polygon) for reach, polygon in table.geometry.items()}
    upstream = dict.fromkeys(own, 0.0)
    below = land.rivers.set_index("HYRIV_ID")["NEXT_DOWN"].to_dict()
    for reach, area in own.items():
        while reach:
            upstream[reach] += area
            reach = below[reach]
    expected = [upstream[reach] * 1e-3 / 3600 for reach in discharge["reach"].to_numpy().tolist()]
    np.testing.assert_allclose(discharge.isel(time=-1), expected, rtol=1e-5)


# ── what goes wrong, and what is said ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:the first value")
def test_the_sea_is_named(land: LandSurface, plain: tuple[xroute.Network, xr.DataArray], folder: Path) -> None:
    hourly = xroute.deaccumulate(land.runoff["ro"], "day")
    weights = xroute.grid_weights(land.runoff["ro"], land.catchments)
    with pytest.raises(xroute.XRouteError, match="nan") as caught:
        hourly.route(plain[0], weights=weights)
    assert "others" in str(caught.value)
    sea = land.runoff["ro"].isel(valid_time=0).isnull()
    touched = set(weights["reach"].to_numpy()[sea.to_numpy()[weights["y_index"], weights["x_index"]]].tolist())
    assert touched and any(str(reach) in str(caught.value) for reach in touched)

    weights.to_netcdf(folder / "sea.nc")
    words = ["route", folder / "era5-land.nc", folder / "network.zarr", folder / "sea.zarr", "--weights", folder / "sea.nc"]
    result = CliRunner().invoke(main, [*map(str, words), "--deaccumulate", "day"], prog_name="xroute")
    assert result.exit_code == 1 and "--nan others" in result.output, result.output


def test_a_grid_without_weights_is_told_the_way(land: LandSurface, folder: Path, plain: Any) -> None:
    with pytest.raises(xroute.XRouteError, match=r"grid_weights.*weights="):
        land.runoff["ro"].route(plain[0])
    words = ["route", folder / "era5-land.nc", folder / "network.zarr", folder / "none.zarr"]
    result = CliRunner().invoke(main, list(map(str, words)), prog_name="xroute")
    assert result.exit_code == 1 and "xroute weights" in result.output and "--weights" in result.output, result.output


@pytest.mark.filterwarnings("ignore:the first value")
def test_values_that_climb_are_refused_on_a_grid(land: LandSurface, plain: Any, tmp_path: Path, folder: Path) -> None:
    """ERA5-Land's as it is, by the road that brings it to catchments: in memory, on Dask and by a command."""
    ro = land.runoff["ro"]
    weights = xroute.grid_weights(ro, land.catchments)
    for grid in (ro, ro.chunk(valid_time=1)):
        with pytest.raises(xroute.XRouteError, match=r'accumulates.*reset="day"'):
            grid.route(plain[0], weights=weights, nan="others").compute()
    weights.to_netcdf(tmp_path / "weights.nc")
    words = [folder / "era5-land.nc", folder / "network.zarr", tmp_path / "q.zarr", "--weights", tmp_path / "weights.nc"]
    result = CliRunner().invoke(main, ["route", *map(str, words), "--nan", "others"], prog_name="xroute")
    assert result.exit_code == 1 and "--deaccumulate day" in result.output, result.output


@pytest.mark.filterwarnings("ignore:the first value")
def test_ids_of_another_kind_are_said_to_be_so(land: LandSurface, plain: Any) -> None:
    """Catchments whose ids a csv made text: they are not strangers that are to be left out."""
    catchments = land.catchments.assign(HYRIV_ID=land.catchments["HYRIV_ID"].astype(str))
    weights = xroute.grid_weights(land.runoff["ro"], catchments)
    with pytest.raises(xroute.AlignmentError, match=r"They are text, and the network's are integers.*astype") as caught:
        xroute.deaccumulate(land.runoff["ro"], "day").route(plain[0], weights=weights, nan="others")
    assert "drop" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:the first value")
def test_rivers_without_polygons(land: LandSurface, folder: Path) -> None:
    """Each reach takes the depth of the cell that it is nearest to, on the area that its table has."""
    weights, stored = folder / "nearest.nc", folder / "nearest.zarr"
    command("weights", folder / "era5-land.nc", folder / "network.zarr", weights, "--method", "nearest")
    command("route", folder / "era5-land.nc", folder / "network.zarr", stored, "--weights", weights, "--deaccumulate", "day")
    journey = era5_land(land)
    table = np.zeros((len(land.rivers), len(journey.corners)))
    centre = journey.corners.mean(1)
    for i, (line, area) in enumerate(zip(land.rivers.geometry, land.rivers["CATCH_SKM"], strict=True)):
        lon, lat = line.coords[1]
        far = GEOD.inv(np.full(len(centre), lon), np.full(len(centre), lat), centre[:, 0], centre[:, 1])[2]
        table[i, np.argmin(far)] = 1e6 * area
    inflow = np.where(np.isnan(journey.depth), 0.0, journey.depth) @ table.T / 3600
    expected = route_by_hand(inflow, land.rivers, 3600.0)
    with open_dataset(stored) as ds:
        found = ds["discharge"].sel(reach=land.rivers["HYRIV_ID"].to_numpy()).transpose(..., "reach").to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())


@pytest.mark.filterwarnings("ignore:the first value")
def test_files_of_days_are_one_series(
    land: LandSurface, plain: tuple[xroute.Network, xr.DataArray], tmp_path: Path, folder: Path
) -> None:
    """As a portal delivers them: a file a day, opened together or handed to the command as a pattern."""
    for day, part in land.runoff.groupby("valid_time.date"):
        part.drop_encoding().to_netcdf(tmp_path / f"ro_{day}.nc")
    network, expected = plain
    weights = xroute.grid_weights(land.runoff["ro"], land.catchments)
    weights.to_netcdf(tmp_path / "weights.nc")
    with xr.open_mfdataset(str(tmp_path / "ro_*.nc")) as ds:
        lazy = xroute.deaccumulate(ds["ro"], "day").route(network, weights=tmp_path / "weights.nc", nan="others")
        assert lazy.chunks is not None
        np.testing.assert_allclose(lazy, expected, rtol=1e-6, atol=1e-6)
    words = [tmp_path / "weights.nc", "--deaccumulate", "day", "--nan", "others"]
    command("route", tmp_path / "ro_*.nc", folder / "network.zarr", tmp_path / "q.zarr", "--weights", *words)
    with open_dataset(tmp_path / "q.zarr") as ds:
        found = ds["discharge"].sel(reach=expected["reach"]).transpose(..., "reach")
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * float(expected.max()))


def test_what_each_file_is_and_what_comes_next(land: LandSurface, folder: Path, plain: Any) -> None:
    """`xroute info` on all that lies in the folder names the next command."""
    command("weights", folder / "era5-land.nc", folder / "catchments.gpkg", folder / "info.nc")
    steps = {
        "era5-land.nc": ("grid", "xroute weights", "--deaccumulate day"), "rivers.gpkg": ("1,8", "xroute convert table"),
        "catchments.gpkg": ("1,8", "polygons", "xroute weights"), "info.nc": ("weights", "1,8", "latitude", "--weights"),
        "network.zarr": ("muskingum", "no problems"),
    }  # fmt: skip
    for name, texts in steps.items():
        result = CliRunner().invoke(main, ["info", str(folder / name)], prog_name="xroute")
        assert not [text for text in texts if text not in result.output], f"{name}: {result.output}"


@pytest.mark.filterwarnings("ignore:the first value", "ignore:the state holds at")
def test_an_ensemble_goes_on_where_the_analysis_ends(land: LandSurface, folder: Path, plain: Any, tmp_path: Path) -> None:
    """Two days of analysis, then members of a forecast from its last state: as one series from rest, by hand."""
    past = land_surface(days=3).runoff.isel(valid_time=slice(0, 49))  # to 3 May, 00 UTC
    ahead = land_forecast(members=3, days=2, after=2)
    past.to_netcdf(tmp_path / "past.nc")
    ahead.to_netcdf(tmp_path / "ahead.nc")
    words = ["--weights", tmp_path / "weights.nc", "--nan", "others"]
    command("weights", tmp_path / "past.nc", folder / "catchments.gpkg", tmp_path / "weights.nc")
    command("route", tmp_path / "past.nc", folder / "network.zarr", tmp_path / "past.zarr", *words, "--deaccumulate", "day",
            "--save-state", tmp_path / "state.nc")  # fmt: skip
    command("route", tmp_path / "ahead.nc", folder / "network.zarr", tmp_path / "q.zarr", *words, "--deaccumulate", "forecast",
            "--substeps", "3", "--initial-state", tmp_path / "state.nc")  # fmt: skip

    value, hour = past["ro"].to_numpy().astype(float), past["valid_time"].dt.hour.to_numpy()
    hourly = value[1:] - np.where((hour[1:] == 1)[:, None, None], 0.0, value[:-1])
    of_step = np.diff(ahead["ro"].to_numpy().astype(float), axis=1, prepend=0.0)
    corners = rectangles(past["latitude"].to_numpy(), past["longitude"].to_numpy())
    table = overlap_areas(land.catchments.geometry.to_numpy(), corners)
    with open_dataset(tmp_path / "q.zarr") as ds:
        found = ds["discharge"].sel(reach=land.rivers["HYRIV_ID"].to_numpy()).transpose(..., "reach").to_numpy()
    for member in range(3):
        hours = np.concatenate([hourly, np.repeat(of_step[member] / 3, 3, axis=0)])
        journey = Journey(past, lambda ds: ds["ro"], [], corners, hours.reshape(len(hours), -1), 3600.0, "ro", nan="others")
        expected = truth(journey, land, table)[0][len(hourly) :].reshape(16, 3, -1).mean(axis=1)
        np.testing.assert_allclose(found[member], expected, rtol=1e-4, atol=1e-5 * expected.max())
