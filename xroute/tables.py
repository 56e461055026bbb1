"""River networks from tables: data frames and the column names of the common hydrographies.

`dataset_from_dataframe` is what `Network.from_dataframe` stands on. It makes the Dataset and leaves judging the
topology to `Network`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import NetworkError, ParameterError, XRouteError, reading, require, some
from xroute.ids import exact_ids
from xroute.io.files import existing

__all__ = ["PRESETS", "Preset", "dataset_from_dataframe", "read_table"]


@dataclass(frozen=True)
class Preset:
    """Column names of a hydrography.

    Parameters
    ----------
    reach, downstream
        Columns of the ids.
    columns
        Column to our name and units, for columns that mean the same as a variable of the data model.
    """

    reach: str
    downstream: str
    columns: Mapping[str, tuple[str, str]] = field(default_factory=dict)


#: By name: what a hydrography calls things. 0, -1 and the like mark outlets in all of them.
PRESETS: dict[str, Preset] = {
    "merit-basins": Preset(
        "COMID",
        "NextDownID",
        {
            "lengthkm": ("length", "km"),
            "slope": ("slope", "1"),
            "unitarea": ("area", "km2"),
            "uparea": ("upstream_area", "km2"),
            "order": ("stream_order", "1"),
        },
    ),
    "tdx-hydro": Preset(
        "LINKNO",
        "DSLINKNO",
        {
            "Length": ("length", "m"),
            "Slope": ("slope", "1"),
            "strmOrder": ("stream_order", "1"),
            "DSContArea": ("upstream_area", "m2"),
            "musk_k": ("k", "s"),
            "musk_x": ("x", "1"),
        },
    ),
    "hydrorivers": Preset(
        "HYRIV_ID",
        "NEXT_DOWN",
        {
            "LENGTH_KM": ("length", "km"),
            "CATCH_SKM": ("area", "km2"),
            "UPLAND_SKM": ("upstream_area", "km2"),
            "ORD_STRA": ("stream_order", "1"),
            "DIS_AV_CMS": ("mean_discharge", "m3 s-1"),
        },
    ),
    "nwm-hydrofabric": Preset(
        "id",
        "toid",
        {
            "lengthkm": ("length", "km"),
            "Length_m": ("length", "m"),
            "areasqkm": ("area", "km2"),
            "tot_drainage_areasqkm": ("upstream_area", "km2"),
            "So": ("slope", "1"),
            "slope": ("slope", "1"),
            "order": ("stream_order", "1"),
            "MusK": ("k", "s"),
            "MusX": ("x", "1"),
        },
    ),
    "river-route": Preset("river_id", "downstream_river_id", {"k": ("k", "s"), "x": ("x", "1")}),
    "rapid2": Preset("riv", "dwn", {"kpr": ("k", "s"), "xpr": ("x", "1")}),
}


def dataset_from_dataframe(
    df: pd.DataFrame,
    reach: str | None = None,
    downstream: str | None = None,
    preset: str | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Make the network Dataset of a table with a row for each reach.

    Parameters
    ----------
    df
        The table. Geometry of GeoPandas is not kept, but gives ``lon`` and ``lat`` when the table has none.
    reach, downstream
        Columns of the reach's own id and of the one downstream. The index may be named, too.
    preset
        Name of a hydrography (see ``PRESETS``), whose columns get our names and units. Without ``preset`` and without
        ``reach`` and ``downstream``, it is told from the columns when exactly one fits.
    units
        Units of columns, by the column's own name or ours.

    Returns
    -------
    xarray.Dataset
        On ``reach``: ``downstream`` and every other column. ``k`` and ``x`` together make it a Muskingum network.

    Raises
    ------
    NetworkError
        The columns cannot be told, or ids that are missing or not exact whole numbers.
    ParameterError
        Units for a column that is not there, or two columns for one variable.

    Examples
    --------
    >>> table = pd.DataFrame({"COMID": [11, 12], "NextDownID": [12, 0], "lengthkm": [3.5, 2.0]})
    >>> dataset_from_dataframe(table)["length"].attrs["units"]
    'km'
    """
    if not isinstance(df, pd.DataFrame):
        raise NetworkError(f"a table is a pandas.DataFrame, not a {type(df).__name__}")
    if units is not None and not isinstance(units, Mapping):
        raise ParameterError(f"units are a mapping of columns to units, not {units!r}")
    table = df.reset_index() if any(name is not None for name in df.index.names) else df
    chosen = _preset(table, reach, downstream, preset)
    reach, downstream = reach or chosen.reach, downstream or chosen.downstream
    for column in (reach, downstream):
        if column not in table.columns:
            raise NetworkError(f"the table has no column {column!r}; it has {some(table.columns)}")
    outlet = _outlet_for_missing(table[downstream])
    dataset = xr.Dataset(coords={"reach": ("reach", _ids(table[reach], reach), _REACH_ATTRS)})
    dataset["downstream"] = (
        "reach",
        _ids(table[downstream], downstream, missing=outlet),
        {"long_name": "id downstream"},
    )
    geometry = [name for name in table.columns if str(getattr(table[name], "dtype", "")) == "geometry"]
    dataset = _add_columns(dataset, table.drop(columns=[reach, downstream, *geometry]), chosen)
    if geometry:
        dataset = _add_places(dataset, table[geometry[0]])
    dataset = _add_units(dataset, units or {}, chosen)
    if "k" in dataset and "x" in dataset:
        dataset.attrs["scheme"] = "muskingum"
    return dataset


_REACH_ATTRS = {"cf_role": "timeseries_id", "long_name": "reach id"}


def _preset(table: pd.DataFrame, reach: str | None, downstream: str | None, preset: str | None) -> Preset:
    if preset is not None:
        if preset not in PRESETS:
            raise NetworkError(f"no preset {preset!r}; there are {', '.join(sorted(PRESETS))}")
        return PRESETS[preset]
    if reach is not None and downstream is not None:
        return Preset(reach, downstream)
    if reach is not None or downstream is not None:
        raise NetworkError("give both reach= and downstream=, or neither, or a preset=")
    fitting = [name for name, p in PRESETS.items() if p.reach in table.columns and p.downstream in table.columns]
    if len(fitting) == 1:
        return PRESETS[fitting[0]]
    known = "; ".join(f"{name}: {p.reach}/{p.downstream}" for name, p in PRESETS.items())
    what = f"several presets fit the columns ({', '.join(fitting)})" if fitting else "no preset fits the columns"
    raise NetworkError(f"{what} {some(table.columns)}; give reach= and downstream=, or preset= one of: {known}")


def _outlet_for_missing(column: pd.Series) -> int | str:
    """Marker to stand for a missing downstream id."""
    text = column.dropna()
    return "" if len(text) and isinstance(text.iloc[0], str) else -1


def _ids(column: pd.Series, name: str, missing: int | str | None = None) -> np.ndarray:
    """Ids as int64 or text, exact; missing ones become ``missing``, or are an error."""
    absent = column.isna().to_numpy()
    if absent.any():
        if missing is None:
            raise NetworkError(
                f"{int(absent.sum())} rows have no id in column {name!r}, first row {int(absent.argmax())}"
            )
        is_number = pd.api.types.is_numeric_dtype(column.dtype)
        column = column.fillna(missing) if is_number else column.astype(object).where(~absent, missing)
    if pd.api.types.is_string_dtype(column.dtype) and column.dtype != object:
        column = column.astype(object)
    return exact_ids(column.to_numpy(), f"column {name!r}")


def _add_columns(dataset: xr.Dataset, table: pd.DataFrame, preset: Preset) -> xr.Dataset:
    """Every column as a variable, under our name and with units where the preset knows them."""
    renamed = [
        preset.columns[str(column)][0] if str(column) in preset.columns else str(column) for column in table.columns
    ]
    duplicate = sorted({name for name in renamed if renamed.count(name) > 1})
    for position, column in enumerate(table.columns):
        name = renamed[position]
        if name in duplicate and name != str(column) and name in map(str, table.columns):
            name = str(column)  # our own name is already taken by a column of that name: keep both as they are
        elif name in duplicate and name != str(column):
            clash = [str(c) for c, n in zip(table.columns, renamed, strict=True) if n == name]
            raise ParameterError(f"columns {some(clash)} all mean {name!r}; drop all but one")
        if name in ("reach", "downstream"):
            name = f"{name}_"
        series = table[column]
        values: np.ndarray
        if pd.api.types.is_bool_dtype(series.dtype) and not series.isna().any():
            values = series.to_numpy(dtype=bool)
        elif pd.api.types.is_numeric_dtype(series.dtype):
            whole = pd.api.types.is_integer_dtype(series.dtype) and not series.isna().any()
            values = series.to_numpy(np.int64) if whole else series.to_numpy(np.float64, na_value=np.nan)
        elif pd.api.types.is_datetime64_any_dtype(series.dtype):
            values = series.dt.tz_localize(None).to_numpy()
        else:
            text = series.astype(object).where(series.notna(), "")
            values = np.array([str(value) for value in text], dtype=str) if len(text) else np.zeros(0, "<U1")
        known = preset.columns.get(str(column))
        attrs = {"units": known[1]} if known and known[0] == name else {}
        dataset[name] = ("reach", values, attrs)
    places = [name for name in ("lon", "lat") if name in dataset]
    return dataset.set_coords(places)


def _add_places(dataset: xr.Dataset, geometry: Any) -> xr.Dataset:
    """Longitude and latitude of a point on each geometry, when the table has none of its own."""
    if "lon" in dataset.variables or "lat" in dataset.variables:
        return dataset
    if geometry.crs is not None and not geometry.crs.is_geographic:
        geometry = geometry.to_crs("EPSG:4326")
    points = geometry.representative_point()
    return dataset.assign_coords(
        lon=("reach", points.x.to_numpy(dtype=np.float64), {"standard_name": "longitude", "units": "degrees_east"}),
        lat=("reach", points.y.to_numpy(dtype=np.float64), {"standard_name": "latitude", "units": "degrees_north"}),
    )


def _add_units(dataset: xr.Dataset, units: Mapping[str, str], preset: Preset) -> xr.Dataset:
    for column, unit in units.items():
        name = column if column in dataset.variables else preset.columns.get(column, (column, ""))[0]
        if name not in dataset.variables:
            raise ParameterError(
                f"units are given for {column!r}, but the table has no such column; it has {some(dataset)}"
            )
        dataset[name].attrs["units"] = unit
    return dataset


def read_table(
    path: str | os.PathLike[str],
    reach: str | None = None,
    downstream: str | None = None,
    preset: str | None = None,
    units: Mapping[str, str] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Read a network from a csv, parquet, feather or GeoPackage file.

    Parameters
    ----------
    path
        ``*.csv``, ``*.parquet``, ``*.feather``, ``*.gpkg`` (or any vector file that GeoPandas reads: ``*.shp``,
        ``*.fgb``, ``*.geojson``).
    reach, downstream, preset, units
        As in `dataset_from_dataframe`.
    **options
        For the pandas or GeoPandas reader, for example ``layer="flowpaths"``.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    XRouteError
        Another suffix, or as `dataset_from_dataframe`.
    ImportError
        The library for the format is not installed.
    """
    target = existing(path)
    with reading(target, "as a table"):
        table = _read(target, options)
    return dataset_from_dataframe(table, reach, downstream, preset, units)


def _read(path: Path, options: dict[str, Any]) -> Any:
    suffix = path.suffix.lower()
    table: Any
    nullable: dict[str, Any] = {"dtype_backend": "numpy_nullable"}
    if suffix == ".csv":
        # A column of whole numbers with gaps would pass through floating point, and 64-bit ids with it.
        table = pd.read_csv(path, **(nullable | options))
    elif suffix in (".parquet", ".pq", ".feather"):
        require("pyarrow", feature=f"reading {suffix}", extra="io")
        reader: Any = pd.read_feather if suffix == ".feather" else pd.read_parquet
        table = reader(path, **(nullable | options))
        if "geometry" in table.columns and table["geometry"].map(type).eq(bytes).any():
            table = table.drop(columns="geometry")
    elif suffix in (".gpkg", ".shp", ".fgb", ".geojson"):
        try:
            import geopandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError as error:
            raise ImportError(f"reading {suffix} needs geopandas: pip install geopandas") from error
        table = geopandas.read_file(path, **options)
    else:
        raise XRouteError(f"cannot read a table from {path}: use .csv, .parquet, .feather or .gpkg")
    return table
