"""Tables from files: csv with any separator, Parquet, Feather, and GeoPackage, with ids exact and geometry read once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import NetworkError, XRouteError, require, some
from xroute.files.opening import existing
from xroute.guards import reading
from xroute.tables.dataset import dataset_from_dataframe
from xroute.tables.nexus import is_nexus
from xroute.tables.presets import PRESETS, find_preset, plain_name

__all__ = ["NEXUSES", "SUFFIXES", "read_table"]

_TEXT = (".csv", ".tsv", ".txt")
_COLUMNS = (".parquet", ".pq", ".feather")
_VECTOR = (".gpkg", ".shp", ".fgb", ".geojson")
SUFFIXES = (*_TEXT, *_COLUMNS, *_VECTOR)
"""Of files that hold tables."""
_FLOWPATHS = ("flowpaths", "flowlines")
_ATTRIBUTES = ("flowpath-attributes", "flowpath_attributes")
_COLUMNS_ALONE = {"ignore_geometry": True}
NEXUSES = ("nexus", "nexuses", "flowpath_edge_list")
"""Layers that say what is below nexuses; of early hydrofabrics it is a list of edges alone."""


def read_table(
    path: str | os.PathLike[str],
    reach: str | None = None,
    downstream: str | None = None,
    preset: str | None = None,
    units: Mapping[str, str] | None = None,
    **options: Any,
) -> xr.Dataset:
    r"""Read a network from a csv, parquet, feather or GeoPackage file.

    Parameters
    ----------
    path
        ``*.csv`` (with commas, semicolons, tabs or bars; UTF-8 or UTF-16), ``*.parquet``, ``*.feather``, ``*.gpkg`` (or
        any vector file that GeoPandas reads: ``*.shp``, ``*.fgb``, ``*.geojson``). Of a NextGen GeoPackage the flowpaths
        are taken, with their attributes, and the nexuses between them.
    reach, downstream, preset, units
        As in `dataset_from_dataframe`.
    **options
        For the pandas or GeoPandas reader, for example ``layer="flowpaths"``.

    Returns
    -------
    xarray.Dataset
        A network Dataset, as `dataset_from_dataframe` gives it.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    XRouteError
        Another suffix, a file that is not what its suffix says, or as `dataset_from_dataframe`.
    ImportError
        The library for the format is not installed.

    Examples
    --------
    >>> import pathlib, tempfile, xroute
    >>> path = pathlib.Path(tempfile.mkdtemp(), "rivers.csv")
    >>> _ = path.write_text("HYRIV_ID,NEXT_DOWN,LENGTH_KM\n10,30,4.5\n20,30,3\n30,0,6\n")
    >>> xroute.tables.read_table(path)["downstream"].values
    array([30, 30,  0])
    """
    table = _read_frame(path, reach, downstream, preset, options)
    return dataset_from_dataframe(table, reach, downstream, preset, units)


def _read_frame(
    path: str | os.PathLike[str], reach: str | None, downstream: str | None, preset: str | None, options: dict[str, Any]
) -> Any:
    """A file's table as a data frame, its ids exact."""
    target = existing(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise XRouteError(f"cannot read a table from {path}: use .csv, .parquet, .feather or .gpkg")
    if suffix in _COLUMNS:
        require("pyarrow", feature=f"reading {suffix}", extra="io")
    with reading(target, "as a table"):
        if suffix in _VECTOR:
            return _read_vector(target, options)
        if suffix in _TEXT:
            return _read_csv(target, reach, downstream, preset, options)
        return _read_columns(target, suffix, options)


def _read_csv(
    path: Path, reach: str | None, downstream: str | None, preset: str | None, options: dict[str, Any]
) -> pd.DataFrame:
    """A text table; ids are read as text first, so that neither floating point nor leading zeros can spoil them."""
    with open(path, "rb") as stream:
        head = stream.read(65536)
    if not head.strip():
        raise NetworkError(f"{path} is empty")
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    given = {"encoding": encoding, **options}
    try:
        lines = head.decode(given["encoding"], errors="ignore").splitlines() or [""]
    except LookupError as error:
        raise XRouteError(f"no encoding {given['encoding']!r}") from error
    if "sep" not in given and "delimiter" not in given:
        given["sep"] = max(",;\t|", key=lines[0].count)
        if given["sep"] != "," and any(re.search(r"\d,\d", line) for line in lines[1:]):
            given.setdefault("decimal", ",")
    given = {"skipinitialspace": True, "dtype_backend": "numpy_nullable", **given}
    try:
        names = pd.read_csv(path, **{**given, "nrows": 0})
        header = [c.strip().strip('"') for c in lines[0].lstrip("\ufeff").split(given.get("sep") or ",")]
        twice = sorted({c for c in header if c and header.count(c) > 1})
        if twice and "names" not in given and "header" not in given:
            raise NetworkError(f"columns stand twice in {path}: {some(twice)}; drop or rename one")
        names.columns = [str(c).strip() for c in names.columns]
        chosen = find_preset(names, reach, downstream, preset)
        ids = [position for position, c in enumerate(names.columns) if c in (chosen.reach, chosen.downstream)]
        raw = list(pd.read_csv(path, **{**given, "nrows": 0}).columns)
        given["dtype"] = {**{raw[k]: "string" for k in ids}, **(options.get("dtype") or {})}
        table = pd.read_csv(path, **given)
    except UnicodeDecodeError as error:
        raise XRouteError(f"{path} is not text in UTF-8: give its encoding, e.g. encoding='latin-1'") from error
    except pd.errors.ParserError as error:
        raise XRouteError(f"{path} is not a table of text: {error}") from error
    table.columns = [str(c).strip() for c in table.columns]
    id_columns = [table.columns[k] for k in ids]
    texts = {c: [None if v is pd.NA else str(v).strip() for v in table[c]] for c in id_columns}
    if all(_is_whole(v) for values in texts.values() for v in values):
        for column, values in texts.items():
            numbers = [None if not v else int(v.partition(".")[0]) for v in values]
            large = any(n is not None and not -(2**63) <= n < 2**63 for n in numbers)
            table[column] = pd.Series(numbers, index=table.index, dtype="object" if large else "Int64")
    elif {chosen.reach, chosen.downstream} <= set(texts):
        own = set(texts[chosen.reach])
        to = [v if v in own or not re.fullmatch(r"0|-\d+", v or "0") else None for v in texts[chosen.downstream]]
        table[chosen.reach] = pd.Series(texts[chosen.reach], index=table.index, dtype="object")
        table[chosen.downstream] = pd.Series(to, index=table.index, dtype="object")
    return table


def _is_whole(text: str | None) -> bool:
    """Whether text is a whole number, written so that nothing is lost with the text."""
    return not text or re.fullmatch(r"[-+]?(0|[1-9]\d*)(\.0*)?", text) is not None


def _read_columns(path: Path, suffix: str, options: dict[str, Any]) -> Any:
    """Parquet or Feather, its geometry through GeoPandas where it is declared."""
    import pyarrow
    from pyarrow import feather, parquet

    nullable: dict[str, Any] = {"dtype_backend": "numpy_nullable"}
    if suffix == ".feather":
        reader: Any = pd.read_feather
        try:
            with pyarrow.OSFile(str(path)) as source:
                schema = pyarrow.ipc.open_file(source).schema
        except pyarrow.ArrowInvalid:  # the first version of Feather, which has no geometry
            schema = feather.read_table(path).schema
    else:
        reader = pd.read_parquet
        schema = parquet.read_schema(path)
    geometry = _declared_geometry(schema.metadata or {})
    names = [name for name in schema.names if name not in geometry]
    if "columns" not in options and geometry:
        options = {**options, "columns": names}
    table = reader(path, **(nullable | options))
    if not geometry or {"lon", "lat"} & set(names):
        return table
    try:
        import geopandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return table
    read = geopandas.read_feather if suffix == ".feather" else geopandas.read_parquet
    places = read(path, columns=[geometry[0]])
    return geopandas.GeoDataFrame(table, geometry=places.geometry.array)


def _declared_geometry(metadata: Mapping[bytes, bytes]) -> list[str]:
    """Geometry columns that GeoParquet declares, the primary one first."""
    declared = json.loads(metadata.get(b"geo", b"{}"))
    columns = list(declared.get("columns", {}))
    return sorted(columns, key=lambda name: name != declared.get("primary_column"))


def _read_vector(path: Path, options: dict[str, Any]) -> Any:
    """A vector file; the layers of a NextGen GeoPackage together."""
    try:
        import geopandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError(f"reading {path.suffix} needs geopandas: pip install geopandas") from error
    layers = [str(name) for name in geopandas.list_layers(path)["name"]]
    layer = options.pop("layer", None) if "layer" in options else None
    if layer is None and len(layers) > 1:
        layer = next((name for name in layers if name.lower() in _FLOWPATHS), None)
        if layer is None:
            raise XRouteError(f"{path} has several layers ({some(layers)}): choose one with layer=")
    elif layer is not None and layer not in layers:
        raise XRouteError(f"{path} has no layer {layer!r}; it has {some(layers)}")
    table = _read_layer(path, layer, options)
    if layer is None or str(layer).lower() not in _FLOWPATHS or not {"id", "toid"} <= set(table.columns):
        return table
    extra = next((name for name in layers if name.lower() in _ATTRIBUTES), None)
    if extra is not None:
        table = _with_attributes(table, _read_layer(path, extra, _COLUMNS_ALONE), f"layer {extra!r} of {path}")
    nexus = next((name for wanted in NEXUSES for name in layers if name.lower() == wanted), None)
    if nexus is not None:
        rows = _read_layer(path, nexus, _COLUMNS_ALONE)
        if {"id", "toid"} <= set(rows.columns):
            below = pd.DataFrame({"id": rows["id"], "toid": rows["toid"]}).drop_duplicates()
            below = below[is_nexus(below["id"].to_numpy().astype(str))]
            table = pd.concat([table, below], ignore_index=True)
    return table


def _read_layer(path: Path, layer: str | None, options: dict[str, Any]) -> Any:
    import geopandas

    given = {} if layer is None else {"layer": layer}
    try:
        import pyarrow
    except ImportError:
        return geopandas.read_file(path, **given, **options)
    # Whole numbers with gaps would pass through floating point, and 64-bit ids with them.
    whole = {pyarrow.int64(): pd.Int64Dtype(), pyarrow.int32(): pd.Int32Dtype(), pyarrow.uint64(): pd.UInt64Dtype()}
    arrow = {"use_arrow": True, "arrow_to_pandas_kwargs": {"types_mapper": whole.get}}
    return geopandas.read_file(path, **given, **{**arrow, **options})


def _with_attributes(table: Any, attributes: pd.DataFrame, name: str) -> Any:
    """Flowpaths with the columns of their attributes, of which those that flowpaths have already are left."""
    key = "id" if "id" in attributes.columns else "link" if "link" in attributes.columns else None
    if key is None:
        return table
    attributes = attributes.drop_duplicates()
    twice = attributes[key][attributes[key].duplicated()].unique()
    if len(twice):
        raise NetworkError(f"{name} has several rows for {some(twice)}")
    means = PRESETS["nwm-hydrofabric"].means
    has = {plain_name(c) for c in table.columns} | {m[0] for c in table.columns if (m := means(c)) is not None}
    new = [
        c
        for c in attributes.columns
        if plain_name(c) not in has | {"id", "link", "to", "toid", "geometry"} and (means(c) or ("", ""))[0] not in has
    ]
    rows = attributes.set_index(key)[new].reindex(np.asarray(table["id"]))
    for column in new:
        table[column] = rows[column].array
    return table
