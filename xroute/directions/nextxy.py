"""Networks from CaMa-Flood's maps: ``nextxy`` says the column and the row of the next cell, counted from 1 in the north-west.

Maps are netCDF (``nextx``, ``nexty`` on latitude and longitude) or CaMa-Flood's own binary files: ``nextxy.bin``, two layers of
int32, rows from north to south, with ``params.txt`` and other maps beside it (Yamazaki et al. 2011).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.directions.cells import cell_ids, cell_network
from xroute.directions.grads import read_control
from xroute.directions.raster import Raster, make_raster, plain_raster
from xroute.exceptions import NetworkError, one_of, some
from xroute.files.opening import existing, open_netcdf
from xroute.settings import MISSING_DOWNSTREAM, MissingDownstream
from xroute.wording import argument

__all__ = ["INLAND", "MAPS", "MOUTH", "NOWHERE", "dataset_from_nextxy"]

Int = NDArray[np.int64]
Float = NDArray[np.float64]

MOUTH, INLAND, NOWHERE = -9, -10, -9999
MISSING = -9990.0
"""Values below are none, in CaMa-Flood's maps of real numbers."""


class Map(NamedTuple):
    """A map that lies beside, and what it becomes."""

    variable: str
    units: str
    long_name: str


MAPS = {
    "rivlen": Map("length", "m", "length of the channel"),
    "nxtdst": Map("distance", "m", "distance to the next cell's outlet"),
    "ctmare": Map("area", "m2", "area of the reach's own catchment"),
    "grdare": Map("area", "m2", "area of the reach's own catchment"),
    "uparea": Map("upstream_area", "m2", "area upstream, the reach's own included"),
    "elevtn": Map("elevation", "m", "elevation of the outlet's bank"),
    "rivwth_gwdlr": Map("width", "m", "width of the channel"),
    "rivwth": Map("width", "m", "width of the channel"),
    "rivman": Map("roughness", "s m-1/3", "Manning's roughness of the channel"),
}
"""By name, those that go first for a variable before others; ``lonlat``, of two layers, is read too."""


class Maps(NamedTuple):
    """What was read: the grid, next columns and rows as CaMa-Flood counts them, and other maps [row, column]."""

    raster: Raster
    next_x: NDArray[Any]
    next_y: NDArray[Any]
    others: dict[str, NDArray[Any]]
    source: str


def dataset_from_nextxy(
    source: Any, nx: int | None, ny: int | None, bounds: Any, ids: Any, missing_downstream: MissingDownstream
) -> xr.Dataset:
    """Network Dataset of CaMa-Flood's maps, as `xroute.Network.from_nextxy` describes it."""
    one_of("missing_downstream", missing_downstream, MISSING_DOWNSTREAM, NetworkError)
    maps = _read(source, nx, ny, bounds)
    raster = maps.raster
    n_rows, n_columns = raster.shape
    x, y = (np.nan_to_num(np.asarray(v, np.float64), nan=NOWHERE).ravel() for v in (maps.next_x, maps.next_y))
    none, leaves = x <= NOWHERE, (x == MOUTH) | (x == INLAND)
    strange = ~(none | leaves) & ((x < 1) | (y < 1) | (x != np.floor(x)) | (y != np.floor(y)))
    if strange.any():
        raise NetworkError(
            f"{int(strange.sum())} cells have a next cell that is none: nextx {some(np.unique(x[strange]), 5)}, where cells "
            f"count from 1, {MOUTH} is a mouth, {INLAND} an inland end, and {NOWHERE} no land"
        )
    cell = np.flatnonzero(~none)
    if not cell.size:
        raise NetworkError("the map has no cell with a next one or a mouth: the network is empty")
    leaves, column = leaves[cell], x[cell].astype(np.int64) - 1
    row = _rows(y[cell].astype(np.int64) - 1, leaves, cell, raster)
    outside = ~leaves & ((column >= n_columns) | (row >= n_rows) | (row < 0))
    position = np.full(n_rows * n_columns, -1, np.int64)
    position[cell] = np.arange(cell.size)
    to = np.full(cell.size, -1, np.int64)
    goes = ~leaves & ~outside
    to[goes] = position[row[goes] * n_columns + column[goes]]
    lost = ~leaves & (to < 0)
    if lost.any() and (missing_downstream == "raise" or not (to >= 0).any()):
        raise NetworkError(
            f"{int(lost.sum())} of {cell.size} cells drain to cells that are not on the map ({int(outside.sum())} beyond its "
            f"{n_rows} x {n_columns}), at rows and columns "
            f"{some(np.transpose(np.divmod(cell[lost], n_columns)).tolist(), 3)}: it is a part of a larger one, whose cells are "
            f"still counted as there, or damaged. {argument('missing_downstream', 'outlet')} makes outlets of them"
        )
    dataset = _dataset(maps, cell, to, cell_ids(ids, raster, cell))
    ends = x[cell] == INLAND
    if ends.any():
        of = {"units": "1", "long_name": "1 where a river ends inland"}
        dataset["inland"] = "reach", ends.astype(np.int8), of
    return dataset


def _rows(y: Int, leaves: NDArray[np.bool_], cell: Int, raster: Raster) -> Int:
    """Rows of the next cells in the order of the array; they count from the north, or along an array that rises northwards."""
    n_rows, n_columns = raster.shape
    if raster.north < 0 or n_rows == 1:
        return y
    flipped = n_rows - 1 - y
    row = cell // n_columns
    along, from_north = (np.abs(one - row)[~leaves] for one in (y, flipped))
    if not along.size:
        return y
    near = [float(np.mean(one <= max(2, n_rows // 50))) for one in (along, from_north)]
    if near[0] == near[1] or max(near) < 0.5:
        raise NetworkError(
            "the map's latitudes rise, and whether its rows count from the north, as CaMa-Flood's do, or along the array cannot "
            "be told: turn it, sortby(lat, ascending=False), with nexty counting from the north"
        )
    return y if near[0] > near[1] else flipped


def _dataset(maps: Maps, cell: Int, to: Int, ids: NDArray[Any]) -> xr.Dataset:
    raster, others = maps.raster, {n: np.asarray(v, np.float64).ravel()[cell] for n, v in maps.others.items()}
    others = {n: np.where(v > MISSING, v, np.nan) for n, v in others.items()}
    n_columns = raster.shape[1]
    here = raster.place(*np.divmod(cell, n_columns))
    there = raster.place(*np.divmod(cell[np.maximum(to, 0)], n_columns))
    own = raster.areas(*np.divmod(cell, n_columns))
    length = np.where(to >= 0, raster.distance(here, there), np.sqrt(own) / 2)
    length = others.get("rivlen", others.get("nxtdst", length))
    area = others.get("ctmare", others.get("grdare", own))
    dataset = cell_network(raster, cell, to, ids, length, {"source": maps.source}, area)
    for name, (variable, units, long_name) in MAPS.items():
        if (
            name in others
            and variable not in ("length", "area")
            and (variable not in dataset or variable == "upstream_area")
        ):
            dataset[variable] = "reach", others[name], {"units": units, "long_name": long_name}
    if "elevtn" in others and "nxtdst" in others:
        with np.errstate(all="ignore"):
            fall = (others["elevtn"] - others["elevtn"][np.maximum(to, 0)]) / others["nxtdst"]
        attrs = {"units": "1", "long_name": "slope from outlet to outlet", "comment": "NaN where there is no next cell"}
        dataset["slope"] = "reach", np.where(to >= 0, fall, np.nan), attrs
    if "lon" in others and "lat" in others:
        dataset["lon"], dataset["lat"] = (dataset[n].copy(data=others[n]) for n in ("lon", "lat"))
    return dataset


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read(source: Any, nx: int | None, ny: int | None, bounds: Any) -> Maps:
    if isinstance(source, xr.Dataset):
        return _of_dataset(source, "maps of CaMa-Flood")
    if not isinstance(source, (str, os.PathLike)):
        raise NetworkError(f"maps of CaMa-Flood are a Dataset or a path, not a {type(source).__name__}")
    path = existing(source)
    if path.is_dir():
        path = existing(path / "nextxy.bin")
    if path.suffix.lower() in (".nc", ".nc4", ".cdf"):
        with open_netcdf(path) as dataset:
            return _of_dataset(dataset.load(), f"CaMa-Flood: {path.name}")
    return _of_binary(path, nx, ny, bounds)


def _of_dataset(dataset: xr.Dataset, source: str) -> Maps:
    named = {str(name).lower(): name for name in dataset.variables}
    lacking = [name for name in ("nextx", "nexty") if name not in named]
    if lacking:
        raise NetworkError(f"there is no variable {some(lacking)}; there are {some(dataset.data_vars)}")
    field, raster = make_raster(dataset[named["nextx"]], what="nextx")
    dims = field.dims

    def plane(name: str) -> NDArray[Any]:
        found: NDArray[Any] = (
            dataset[named[name]]
            .squeeze([d for d in dataset[named[name]].dims if d not in dims])
            .transpose(*dims)
            .values
        )
        return found

    others = {name: plane(name) for name in MAPS if name in named and set(dims) <= set(dataset[named[name]].dims)}
    return Maps(raster, field.values, plane("nexty"), others, source)


def _of_binary(path: Path, nx: int | None, ny: int | None, bounds: Any) -> Maps:
    stated = _params(path.parent / "params.txt")
    beside = path.with_suffix(".ctl")
    control = read_control(beside) if stated is None and beside.is_file() else None
    sizes: tuple[int | None, int | None] = (int(stated[0]), int(stated[1])) if stated else (None, None)
    if control is not None:
        sizes = control.lon.size, control.lat.size
    nx, ny = nx or sizes[0], ny or sizes[1]
    if nx is None or ny is None:
        raise NetworkError(
            f"{path} does not say its size, and there is no params.txt beside it: give {argument('nx')} and {argument('ny')}"
        )
    if bounds is None and stated:
        bounds = stated[4], stated[6], stated[5], stated[7]
    if bounds is None and control is not None and (nx, ny) == sizes:
        bounds = control.bounds
    if bounds is None and nx == 2 * ny:
        bounds = -180.0, -90.0, 180.0, 90.0
    try:
        west, south, east, north = map(float, bounds)
    except (TypeError, ValueError):
        what = "where the map lies is not known" if bounds is None else f"{bounds!r} does not say where the map lies"
        raise NetworkError(f"{what}: give {argument('bounds')}, (west, south, east, north) in degrees") from None
    next_x, next_y = _layers(path, nx, ny, 2, "<i4")
    order = "<"
    if max(next_x.max(), next_y.max()) > max(nx, ny):  # as big-endian files look
        order, (next_x, next_y) = ">", _layers(path, nx, ny, 2, ">i4")
    y = _middles("lat", ny, north, south, {"units": "degrees_north", "standard_name": "latitude"})
    x = _middles("lon", nx, west, east, {"units": "degrees_east", "standard_name": "longitude"})
    others: dict[str, NDArray[Any]] = {}
    for name in MAPS:
        file = path.parent / f"{name}.bin"
        if file.exists():
            others[name] = _layers(file, nx, ny, 1, f"{order}f4")[0]
    if (path.parent / "lonlat.bin").exists():
        others["lon"], others["lat"] = _layers(path.parent / "lonlat.bin", nx, ny, 2, f"{order}f4")
    raster = plain_raster(y, x, True)
    return Maps(raster, next_x, next_y, others, f"CaMa-Flood: {path.name}")


def _middles(dim: str, n: int, first: float, last: float, attrs: dict[str, str]) -> xr.DataArray:
    """Coordinate of n cells between two edges."""
    values = first + (np.arange(n) + 0.5) * (last - first) / n
    return xr.DataArray(values, {dim: values}, dim, name=dim, attrs=attrs)


def _layers(path: Path, nx: int, ny: int, n: int, dtype: str) -> NDArray[Any]:
    """Layers [n, row, column] of a binary map."""
    size = path.stat().st_size
    if size != 4 * n * nx * ny:
        raise NetworkError(
            f"{path} has {size:,} bytes, where {n} layer{'s' * (n > 1)} of {ny} x {nx} have {4 * n * nx * ny:,}: "
            f"{argument('nx')} and {argument('ny')} are not its own"
        )
    return np.fromfile(path, dtype).reshape(n, ny, nx)


def _params(path: Path) -> list[float] | None:
    """Numbers of ``params.txt``: columns, rows, floodplain layers, size of a cell, west, east, south, north."""
    if not path.exists():
        return None
    try:
        found = [
            float(line.split()[0])
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.split()
        ]
    except ValueError as error:
        raise NetworkError(f"{path} is not CaMa-Flood's: each of its lines begins with a number ({error})") from error
    if len(found) < 8:
        raise NetworkError(
            f"{path} has {len(found)} numbers, where 8 are expected: columns, rows, layers, cell size and the four edges"
        )
    return found
