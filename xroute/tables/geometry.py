"""Geometry in a table: which columns hold it, in whatever form, and the places that reaches get of it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import warn

__all__ = ["add_places", "as_geometry", "odd_columns"]

_WKT = re.compile(r"\s*(SRID=\d+;)?(MULTI)?(POINT|LINESTRING|POLYGON)\s*(Z|M|ZM)?\s*\(", re.IGNORECASE)


def odd_columns(table: pd.DataFrame) -> tuple[list[Any], list[Any]]:
    """Columns of geometry (of GeoPandas, WKB or WKT), and those that no variable can be made of."""
    geometry, left_out = [], []
    for column in table.columns:
        series = table[column]
        if str(series.dtype) == "geometry":
            geometry.append(column)
        elif not (pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_datetime64_any_dtype(series.dtype)):
            present = series.dropna()
            first = present.iloc[0] if len(present) else ""
            if (isinstance(first, bytes) and _is_wkb(first)) or (isinstance(first, str) and _WKT.match(first)):
                geometry.append(column)
            elif hasattr(first, "geom_type"):
                geometry.append(column)
            elif isinstance(first, (bytes, bytearray, memoryview, list, tuple, dict, set, np.ndarray)):
                left_out.append(column)
    return geometry, left_out


def _is_wkb(value: bytes) -> bool:
    """Whether bytes begin as well-known binary does: the order of bytes, then a type of geometry."""
    if len(value) < 5 or value[0] not in (0, 1):
        return False
    kind = int.from_bytes(value[1:5], "little" if value[0] else "big")
    return (kind & 0x1FFFFFFF) % 1000 in range(1, 18)


def as_geometry(series: pd.Series) -> Any:
    """A column of geometry as GeoPandas has it; None where GeoPandas is not installed."""
    if str(series.dtype) == "geometry":
        return series
    try:
        import geopandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        warn(f"geometry in column {series.name!r} gives no lon and lat: that needs geopandas (pip install geopandas)")
        return None
    values = series.astype(object).where(series.notna(), None)
    first = series.dropna().iloc[0]
    try:
        if isinstance(first, bytes):
            return geopandas.GeoSeries.from_wkb(values)
        if isinstance(first, str):
            return geopandas.GeoSeries.from_wkt(values.str.replace(r"^\s*SRID=\d+;", "", regex=True))
        return geopandas.GeoSeries(values)
    except (ValueError, TypeError, RuntimeError) as error:  # shapely's own errors are ValueErrors
        warn(f"geometry in column {series.name!r} cannot be read, and gives no lon and lat: {error}")
        return None


def add_places(dataset: xr.Dataset, geometry: Any) -> xr.Dataset:
    """Longitude and latitude of a point on each geometry, when the table has none of its own."""
    if geometry is None or "lon" in dataset.variables or "lat" in dataset.variables:
        return dataset
    if geometry.crs is not None and not geometry.crs.is_geographic:
        geometry = geometry.to_crs("EPSG:4326")
    points = geometry.representative_point()
    lon, lat = (np.asarray(values, np.float64) for values in (points.x, points.y))
    if geometry.crs is None and ((np.abs(lon) > 360).any() or (np.abs(lat) > 90).any()):
        warn("the geometry says no coordinate system and is not in degrees: it gives no lon and lat (set_crs)")
        return dataset
    return dataset.assign_coords(
        lon=("reach", lon, {"standard_name": "longitude", "units": "degrees_east"}),
        lat=("reach", lat, {"standard_name": "latitude", "units": "degrees_north"}),
    )
