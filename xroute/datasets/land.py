"""What users arrive with, made in code: a land model's grid of accumulated runoff, rivers as lines, catchments as polygons.

They look like the files of ERA5-Land, HydroRIVERS and a set of catchments, with what is awkward about those: values that
accumulate over the day, longitudes that go round at Greenwich, a sea without values, rows in no order, no travel times.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.basin import grow_river, scatter
from xroute.datasets.land_runoff import LAST_DAY, analysis, ensemble, grid_about
from xroute.datasets.rivers import KM_PER_DEGREE, number_generator, whole_number
from xroute.exceptions import ParameterError, require
from xroute.files.writing import replacing
from xroute.network import Network

if TYPE_CHECKING:
    import geopandas

__all__ = ["FILES", "LandSurface", "land_forecast", "land_surface"]

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LON, LAT = 0.0, 48.0  # where the invented basin is put on the map: astride the meridian of Greenwich
SPACING = 4.5  # km between reaches, so that they are some 5 km long, as HydroRIVERS' are: a cell of the grid has four or five
FIRST_ID = 20_400_001
YIELD = 0.012  # m3 s-1 of mean flow that a km2 gives: 380 mm a year

FILES = {"runoff": "era5-land.nc", "rivers": "rivers.gpkg", "catchments": "catchments.gpkg", "forecast": "forecast.nc"}
"""Names of the files that `land_surface` and `land_forecast` write."""


class LandSurface(NamedTuple):
    """Runoff of a land model and the hydrography that it is to flow down.

    Attributes
    ----------
    runoff
        Variable ``ro`` (valid_time, latitude, longitude) [m], accumulated over the day.
    rivers
        A line a reach, with the columns of HydroRIVERS; the reach downstream is in ``NEXT_DOWN``.
    catchments
        A polygon a reach, of the same ``HYRIV_ID``, in another order.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import land_surface
    >>> land = land_surface(tempfile.mkdtemp(), days=2)
    >>> land.runoff["ro"].attrs["units"], len(land.rivers) == len(land.catchments)
    ('m', True)
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
        ``rivers``, a GeoDataFrame of some 1,800 lines: ``HYRIV_ID``, ``NEXT_DOWN`` (0 at the mouth), ``LENGTH_KM``,
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
    if not 1 <= days <= LAST_DAY:
        raise ParameterError(f"days={days} must be from 1 to {LAST_DAY}")
    rng = number_generator(seed)
    x, y, downstream, points, polygons = _rivers(rng)
    ids = FIRST_ID + rng.permutation(x.size)
    rivers = _river_table(rng, x, y, downstream, ids, points, polygons)
    catchments = rivers[["HYRIV_ID", "CATCH_SKM"]].set_axis(["HYRIV_ID", "AREA_SKM"], axis=1)
    import geopandas

    order = [rng.permutation(x.size) for _ in range(2)]  # files are in no order that means anything
    land = LandSurface(
        analysis(grid_about(polygons, _degrees(points)), days),
        rivers.iloc[order[0]].reset_index(drop=True),
        geopandas.GeoDataFrame(catchments, geometry=polygons, crs="EPSG:4326").iloc[order[1]].reset_index(drop=True),
    )
    if folder is not None:
        _write(land, Path(folder), overwrite)
    return land


def land_forecast(
    folder: str | os.PathLike[str] | None = None,
    *,
    members: int = 50,
    days: int = 5,
    after: int = 2,
    seed: int = 3,
    overwrite: bool = False,
) -> xr.Dataset:
    """Ensemble forecast of runoff on the grid of `land_surface`, as a weather service issues it.

    Parameters
    ----------
    folder
        Where to write it as ``forecast.nc`` besides; made if it is not there. None writes nothing.
    members
        Number of members: the storms that come, displaced and scaled at random; member 0 is what comes.
    days
        Days that the forecast reaches ahead, in steps of three hours.
    after
        Days of `land_surface` before it starts: 2 for 3 May 2024, 00 UTC.
    seed
        Seed of the river's course, as of `land_surface`.
    overwrite
        Replace a file of this name in the folder.

    Returns
    -------
    xarray.Dataset
        ``ro(number, step, latitude, longitude)`` [m] in float32, accumulated since the start, which is the coordinate ``time``.
        Cells of the sea are missing.

    Raises
    ------
    ParameterError
        If there are no members or days, or the seed is none.
    FileExistsError
        If the file is there already and ``overwrite`` is False.
    ImportError
        If shapely is not installed, or what writes the file.

    Examples
    --------
    >>> from xroute.datasets import land_forecast
    >>> forecast = land_forecast(members=3, days=2)
    >>> dict(forecast.ro.sizes)["number"], forecast.step.values[-1] / 3600e9, str(forecast.time.values)[:13]
    (3, np.timedelta64(48,'ns'), '2024-05-03T00')
    """
    require("shapely", feature="a land surface", extra="geo")
    for name, value, least in (("members", members, 1), ("days", days, 1), ("after", after, 0)):
        whole_number(name, value)
        if value < least or (name != "members" and value > LAST_DAY):
            raise ParameterError(f"{name}={value} must be {least} or more" + (f", to {LAST_DAY}" * (name != "members")))
    *_, points, polygons = _rivers(number_generator(seed))
    forecast = ensemble(grid_about(polygons, _degrees(points)), members, days, after)
    if folder is not None:
        require("netCDF4", feature="writing netCDF", extra="io")
        Path(folder).mkdir(parents=True, exist_ok=True)
        with replacing(Path(folder) / FILES["forecast"], overwrite=overwrite) as draft:
            forecast.to_netcdf(draft, engine="netcdf4")
    return forecast


# ── rivers ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rivers(rng: np.random.Generator) -> tuple[Float, Float, Int, Float, NDArray[Any]]:
    """Heads of the reaches [km], the mouth the first; who is downstream; a point on each; and their catchments [degrees]."""
    import shapely
    from scipy.spatial import Voronoi

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
    # A map's lines are straighter than rivers, short ones most. At 1 m s-1 all reaches then take hourly steps well.
    wind = 1.02 + 0.7 * (0.3 * SPACING / length) ** 1.8
    length = np.round(length * wind * rng.uniform(0.99, 1.01, x.size), 2)
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


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
