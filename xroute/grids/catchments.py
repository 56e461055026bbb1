"""Catchments as people have them: tables of polygons or of points, in memory or in a file, and networks with lon and lat."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, ParameterError, XRouteError, require, some, warn
from xroute.files.opening import existing
from xroute.grids.opening import VECTOR
from xroute.guards import reading
from xroute.ids import exact_ids, repeated
from xroute.network import Network
from xroute.network_files import open_any
from xroute.tables import PRESETS
from xroute.tables.presets import plain_name
from xroute.units import to_si
from xroute.wording import argument

__all__ = ["Outlines", "Points", "read_catchments"]

Float = NDArray[np.float64]
ID_COLUMNS = (
    "reach", *dict.fromkeys(preset.reach for preset in PRESETS.values() if preset.reach != "id"),
    "streamID", "stream_id", "rivid", "comid", "FEATUREID", "nhdplusid", "feature_id", "HYBAS_ID", "hruId",
    "hru_id", "gru_id", "catchment_id", "catchment", "id", "divide_id",
)  # fmt: skip
"""Columns of ids, those of the reach itself before those of catchments."""
AREA_COLUMNS = {
    "sub_area": "km2",
    "area_km2": "km2",
    "areakm2": "km2",
    "area_sqkm": "km2",
    "area_m2": "m2",
    "area_sqm": "m2",
}
"""Columns of local areas beside those of the hydrographies that `xroute.tables` knows, with their units."""
_COLUMNS = (".parquet", ".pq", ".geoparquet", ".feather")
_LAYERS = ("divides", "catchments", "catchment", "basins")


@dataclass(frozen=True)
class Outlines:
    """Polygons, and the id of each.

    Attributes
    ----------
    geometry : [row]
    ids : [row]
        One catchment may have several rows.
    crs : pyproj.CRS or None
    """

    geometry: NDArray[Any]
    ids: NDArray[Any]
    crs: Any


@dataclass(frozen=True)
class Points:
    """A place for each catchment.

    Attributes
    ----------
    lon, lat : [catchment]
        Degrees.
    ids : [catchment]
    area : [catchment] or None
        Local areas [m2], where they are known.
    """

    lon: Float
    lat: Float
    ids: NDArray[Any]
    area: Float | None


def read_catchments(catchments: Any, reach: Hashable | None, layer: str | None) -> Outlines | Points:
    """Catchments of whatever form.

    Parameters
    ----------
    catchments
        GeoDataFrame; Network or its Dataset; or the path of a file of either.
    reach
        Column of the ids; by default one that a known hydrography has.
    layer
        Layer of a file that has several.

    Raises
    ------
    ParameterError, NetworkError
        For what has neither geometry nor places, and ids that cannot be told, are missing or (of points) stand twice.
    """
    if isinstance(catchments, (str, os.PathLike)):
        path = existing(catchments)
        suffix = path.suffix.lower()
        if suffix in (*VECTOR, ".zip") or suffix in _COLUMNS and _has_geometry(path):
            return _of_frame(_read(path, layer), reach)
        catchments = open_any(path)
    elif layer is not None:
        raise ParameterError(f"{argument('layer', layer)} is for files: the catchments are in memory already")
    if isinstance(catchments, Network):
        catchments = catchments.dataset
    if isinstance(catchments, xr.Dataset):
        return _of_network(catchments, reach)
    if hasattr(catchments, "geometry") and hasattr(catchments, "crs"):  # a plain table may have a column called geometry
        table = catchments if hasattr(catchments, "columns") else _of_series(catchments)
        return _of_frame(table, reach)
    raise ParameterError(
        "catchments are polygons or points in a GeoDataFrame, a network with lon and lat, or the path of one of them, not "
        f"{type(catchments).__name__}"
        + (": set_geometry makes a GeoDataFrame" if hasattr(catchments, "columns") else "")
    )


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read(path: Path, layer: str | None) -> Any:
    """A GeoDataFrame, its ids exact."""
    geopandas = require("geopandas", feature=f"reading catchments ({path.suffix})", extra="geo")
    with reading(path, "as catchments"):
        if path.suffix.lower() in _COLUMNS:
            return geopandas.read_feather(path) if path.suffix.lower() == ".feather" else geopandas.read_parquet(path)
        layers = geopandas.list_layers(path)
        names = [str(name) for name in layers["name"]]
        if layer is not None and layer not in names:
            raise XRouteError(f"{path} has no layer {layer!r}; it has {some(names)}")
        placed = [
            str(name)
            for name, kind in zip(layers["name"], layers["geometry_type"], strict=True)
            if isinstance(kind, str)
        ]
        if layer is None and len(placed) > 1:
            layer = next((name for wanted in _LAYERS for name in placed if name.lower() == wanted), None)
            if layer is None:
                raise XRouteError(f"{path} has several layers ({some(placed)}): choose one with {argument('layer')}")
        return geopandas.read_file(path, layer=layer or (placed or names)[0], **_exactly())


def _has_geometry(path: Path) -> bool:
    """Whether a Parquet or Feather file holds geometry: it may be the table of a network."""
    require("pyarrow", feature=f"reading {path.suffix}", extra="io")
    if path.is_dir():
        return False
    import pyarrow
    from pyarrow import parquet

    with reading(path, "as a table"):
        if path.suffix.lower() == ".feather":
            with pyarrow.OSFile(str(path)) as source:
                schema = pyarrow.ipc.open_file(source).schema
        else:
            schema = parquet.read_schema(path)
    return b"geo" in (schema.metadata or {})


def _exactly() -> dict[str, Any]:
    """Options that keep whole numbers with gaps out of floating point."""
    import pandas as pd

    try:
        import pyarrow
    except ImportError:
        return {}
    whole = {pyarrow.int64(): pd.Int64Dtype(), pyarrow.int32(): pd.Int32Dtype(), pyarrow.uint64(): pd.UInt64Dtype()}
    return {"use_arrow": True, "arrow_to_pandas_kwargs": {"types_mapper": whole.get}}


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_frame(table: Any, reach: Hashable | None) -> Outlines | Points:
    if table.index.name is not None and table.index.name not in table.columns:
        table = table.reset_index()
    if not hasattr(table, "geometry") or getattr(table, "active_geometry_name", "") is None:
        raise ParameterError(f"the table of catchments has no geometry; its columns are {some(table.columns)}")
    if not len(table):
        raise ParameterError("the table of catchments has no rows")
    ids = _ids(table, reach)
    geometry = np.asarray(table.geometry.array, dtype=object)
    crs = table.crs
    if crs is None:
        warn(
            "the catchments name no coordinate system: longitude and latitude in degrees are taken (set_crs says otherwise)"
        )
    kinds = set(table.geometry.geom_type.dropna())
    if kinds and kinds <= {"Point", "LineString", "MultiLineString"}:
        return _places(table, geometry, ids, crs)
    return Outlines(geometry, ids, crs)


def _of_series(outlines: Any) -> Any:
    """A GeoDataFrame of a GeoSeries, whose index bears the ids."""
    if outlines.index.name is None:
        raise ParameterError(
            "a GeoSeries of catchments bears their ids in its index, which has no name here: rename_axis('reach') gives it one, "
            "if these are the ids"
        )
    return outlines.to_frame("geometry")


def _ids(table: Any, reach: Hashable | None) -> NDArray[Any]:
    """Ids of the rows, exact."""
    if reach is not None:
        if reach not in table.columns:
            raise ParameterError(f"the catchments have no column {reach!r}; they have {some(table.columns)}")
        column = reach
    else:
        spelled = {plain_name(name): name for name in reversed(table.columns)}
        known = dict.fromkeys(plain_name(name) for name in ID_COLUMNS)
        found = [spelled[name] for name in known if name in spelled]
        if not found:
            raise ParameterError(
                f"which column holds the ids of the reaches? None of {some(table.columns)} is known: give {argument('reach')}"
            )
        column = found[0]
        rivers = [
            name for name in found if plain_name(name) in {plain_name(p.reach) for p in PRESETS.values()} - {"id"}
        ]
        if len(rivers) > 1 and plain_name(column) != "reach":
            raise ParameterError(
                f"several columns may hold the ids of the reaches, {some(rivers)}: give {argument('reach')}"
            )
    values = table[column]
    absent = values.isna().to_numpy()
    if absent.any():
        raise NetworkError(
            f"{int(absent.sum())} catchments have no id in column {column!r}, first in row {int(absent.argmax())}: leave them "
            f"out, or name another column with {argument('reach')}"
        )
    return exact_ids(values.to_numpy(), f"column {column!r} of the catchments")


def _places(table: Any, geometry: NDArray[Any], ids: NDArray[Any], crs: Any) -> Points:
    """Points of a table, or points on its lines, with their areas."""
    import shapely

    from xroute.grids.polygons import in_degrees

    empty = shapely.is_missing(geometry) | shapely.is_empty(geometry)
    if empty.any():
        raise ParameterError(f"{int(empty.sum())} catchments have no geometry: {some(ids[empty])}")
    xy = shapely.get_coordinates(shapely.point_on_surface(in_degrees(geometry, crs, ids)))
    found = _area_column(table)
    area = None
    if found is not None:
        column, units = found
        values = table[column].to_numpy(np.float64, na_value=np.nan)
        area = to_si(xr.DataArray(values, attrs={"units": units}), "m2", f"column {column!r}")
    return _checked(Points(xy[:, 0], xy[:, 1], ids, area))


def _area_column(table: Any) -> tuple[Hashable, str] | None:
    """Column of local areas, and its units."""
    for column in table.columns:
        if plain_name(column) in ("area", "catchment_area"):
            return column, "m2"
    for column in table.columns:
        meanings = {preset.means(column) for preset in PRESETS.values()} - {None}
        for meaning in meanings:
            if meaning is not None and meaning[0] == "area":
                return column, meaning[1]
        if plain_name(column) in AREA_COLUMNS:
            return column, AREA_COLUMNS[plain_name(column)]
    return None


# ── networks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_network(dataset: xr.Dataset, reach: Hashable | None) -> Points:
    name = "reach" if reach is None else reach
    if name not in dataset.variables or dataset[name].ndim != 1:
        raise ParameterError(
            f"the network has no variable {str(name)!r} that bears the ids of its reaches; it has {some(dataset.variables)}"
        )
    ids = exact_ids(dataset[name].to_numpy(), f"{name} of the network")
    lacking = [place for place in ("lon", "lat") if place not in dataset.variables]
    if lacking:
        raise ParameterError(
            f"the network has no {' and no '.join(lacking)} (reach), so that it is not known where its catchments are: give "
            "their polygons, or assign lon and lat in degrees"
        )
    lon, lat = (np.asarray(dataset[place].to_numpy(), np.float64) for place in ("lon", "lat"))
    area = to_si(dataset["area"], "m2", "area") if "area" in dataset.variables else None
    return _checked(Points(lon, lat, ids, None if area is None else np.asarray(area, np.float64)))


def _checked(points: Points) -> Points:
    twice = repeated(points.ids)
    if twice.size:
        raise NetworkError(f"{twice.size} reaches have several points: {some(twice)}. Keep one of each")
    wrong = ~(np.isfinite(points.lon) & (np.abs(points.lat) <= 90) & (np.abs(points.lon) <= 540))
    if wrong.any():
        raise ParameterError(
            f"{int(wrong.sum())} of {wrong.size} reaches have no place on the globe (lon, lat in degrees): "
            f"{some(points.ids[wrong])}"
        )
    return points
