"""Where RAPID's reaches lie: from ``coords*.csv``, a table of RAPID2, or the lon and lat of a netCDF file, by id."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, XRouteError, some
from xroute.files.decoding import mask_fill
from xroute.files.opening import open_netcdf
from xroute.ids import exact_ids
from xroute.io.rapid.tables import rows_of

__all__ = [
    "COORDINATE_PATTERNS", "Points", "add_places", "check_points", "find_coordinates", "netcdf_points", "points_of",
    "read_points",
]  # fmt: skip

logger = logging.getLogger(__name__)

#: Usual names of tables of coordinates.
COORDINATE_PATTERNS = ("coords*.csv", "comid_lat_lon*.csv", "rapid_coords*.csv")

NOWHERE = 1e19
"""Beyond it a number is a fill value, which RAPID2 copies as a place of a file without places."""
ID_COLUMNS = ("riv", "rivid", "comid", "id", "reach", "linkno", "hydroid", "drainlnid", "river_id")

Points = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]
"""Ids, longitudes and latitudes [point], degrees."""


def find_coordinates(folder: Path) -> Path | None:
    """The table of coordinates of a folder; None if it has none, or several, of which a warning tells."""
    found = sorted({path for pattern in COORDINATE_PATTERNS for path in folder.glob(pattern) if path.is_file()})
    if len(found) > 1:
        logger.warning(
            "several files in %s may hold the coordinates, so none is read: %s; coordinates= names one", folder,
            some(path.name for path in found),
        )  # fmt: skip
    return found[0] if len(found) == 1 else None


def read_points(path: Path) -> Points:
    """Read a table of id, longitude, latitude and more.

    Columns are known by a header that names them, and without one by their place.
    """
    ids, lons, lats = [], [], []
    columns = (0, 2, 1) if "lat_lon" in path.name.lower() else (0, 1, 2)  # RAPIDpy's comid_lat_lon_z.csv
    for row, text in rows_of(path):
        cells = [cell.strip().strip('"') for cell in text.split(",")]
        if row == 1 and any(cell.lower() in ("lon", "lat", "longitude", "latitude") for cell in cells):
            columns = _columns(path, [cell.lower() for cell in cells])
            continue
        try:
            ids.append(int(cells[columns[0]]))
            lons.append(float(cells[columns[1]]))
            lats.append(float(cells[columns[2]]))
        except (ValueError, IndexError) as error:
            raise NetworkError(
                f"{path}, row {row}: {text[:60]!r} is not id, longitude, latitude (numbers with a decimal point and commas "
                "between; a header may name the columns)"
            ) from error
    try:
        return check_points(path, (np.array(ids, np.int64), np.array(lons, np.float64), np.array(lats, np.float64)))
    except OverflowError as error:
        raise NetworkError(f"{path} holds ids that do not fit 64 bits") from error


def _columns(path: Path, names: list[str]) -> tuple[int, int, int]:
    found = []
    for wanted in (ID_COLUMNS, ("lon", "longitude"), ("lat", "latitude")):
        at = [k for k, name in enumerate(names) if name in wanted]
        if len(at) != 1:
            raise NetworkError(f"{path}: the header has {len(at)} columns of {' or '.join(wanted)}; it names {some(names)}")
        found.append(at[0])
    return found[0], found[1], found[2]


def check_points(path: Path, points: Points) -> Points:
    """Refuse ids that stand twice and places off the globe."""
    ids, lon, lat = points
    index = pd.Index(ids)
    if not index.is_unique:
        raise NetworkError(f"{path} gives several places to reaches {some(index[index.duplicated()].unique())}")
    off = (np.abs(lat) > 90) | (lon < -180) | (lon > 360)
    if off.any():
        k = int(np.flatnonzero(off)[0])
        raise NetworkError(
            f"{path}: {int(off.sum())} places are off the globe: reach {ids[k]} at longitude {lon[k]:g}, latitude {lat[k]:g}; "
            "the columns are id, longitude, latitude, in degrees"
        )
    return points


def netcdf_points(path: Path) -> Points | None:
    """Places in a netCDF file of RAPID's; None if it has none, or no ids."""
    with open_netcdf(path, raw=True) as raw:
        names = {str(name).lower(): name for name in raw.variables}
        lon, lat = (next((names[n] for n in alias if n in names), None) for alias in (("lon", "longitude"), ("lat", "latitude")))
        reach = next((names[n] for n in ID_COLUMNS if n in names), None)
        if lon is None or lat is None or reach is None or not raw[lon].dims == raw[lat].dims == raw[reach].dims:
            return None
        values = [mask_fill(raw[name].load(), zero_is_data=True).to_numpy().astype(np.float64) for name in (lon, lat)]
        values = [np.where(np.abs(value) < NOWHERE, value, np.nan) for value in values]
        ids = exact_ids(raw[reach].to_numpy(), f"{reach} of {path}")
    if ids.dtype.kind != "i" or not (np.isfinite(values[0]) & np.isfinite(values[1])).any():
        return None
    return check_points(path, (ids, values[0], values[1]))


def add_places(network: xr.Dataset, points: Sequence[Points], files: Iterable[Path]) -> xr.Dataset:
    """Network with ``lon`` and ``lat`` (reach); reaches without a place get NaN, and a warning names them."""
    names = ", ".join(path.name for path in files)
    ids, lon, lat = (np.concatenate(column) for column in zip(*points, strict=True))
    index = pd.Index(ids)
    if not index.is_unique:
        table = pd.DataFrame({"id": ids, "lon": lon, "lat": lat}).drop_duplicates()
        if not table["id"].is_unique:
            raise NetworkError(f"{names} give different places to reaches {some(table['id'][table['id'].duplicated()])}")
        ids, lon, lat = (table[name].to_numpy() for name in ("id", "lon", "lat"))
        index = pd.Index(ids)
    wanted = network["reach"].to_numpy()
    at = index.get_indexer(pd.Index(wanted))
    without = wanted[at < 0]
    if without.size == wanted.size:
        logger.warning("%s has the coordinates of no reach of the network: they are not read", names)
        return network
    if without.size:
        logger.warning("%d reaches have no coordinates in %s: %s", without.size, names, some(without))
    if ids.size > wanted.size - without.size:
        logger.info("%d coordinates in %s are of no reach of the network", ids.size - (wanted.size - without.size), names)
    for name, values, units, long_name in (
        ("lon", lon, "degrees_east", "longitude"), ("lat", lat, "degrees_north", "latitude"),
    ):  # fmt: skip
        attrs: dict[str, Any] = {"standard_name": long_name, "long_name": long_name, "units": units}
        network[name] = ("reach", np.where(at >= 0, values[at], np.nan), attrs)
    return network


def points_of(table: Path | None, netcdf: Iterable[Path | None]) -> tuple[Points, Path] | None:
    """Places of a region, and the file they are from: its table, or failing that the first netCDF file that has any."""
    if table is not None:
        return read_points(table), table
    for path in netcdf:
        if path is None:
            continue
        try:
            found = netcdf_points(path)
        except (XRouteError, ImportError, OSError) as error:  # nobody asked for a map: what is wrong is said, no more
            logger.warning("the coordinates of %s are not read: %s", path.name, error)
            continue
        if found is not None:
            return found, path
    return None
