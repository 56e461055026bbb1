"""Files of weights, opened: netCDF and Zarr as Datasets, csv and parquet as tables."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import xarray as xr

from xroute.exceptions import ParameterError, require, some
from xroute.files.opening import existing, open_dataset
from xroute.guards import reading
from xroute.wording import phrase

__all__ = ["VECTOR", "open_table"]

VECTOR = (".gpkg", ".shp", ".fgb", ".geojson", ".json", ".gml", ".kml")
"""Suffixes of files of outlines or lines, and of nothing else."""


def open_table(path: str | os.PathLike[str]) -> xr.Dataset | pd.DataFrame:
    """What a path holds: a Dataset of netCDF or Zarr, not read yet, or a table of csv or parquet."""
    target = existing(path)
    suffix = Path(target).suffix.lower()
    if suffix in (".parquet", ".pq"):
        require("pyarrow", feature="reading parquet", extra="io")
        with reading(target, "as parquet"):
            return pd.read_parquet(target)
    if suffix in VECTOR:
        raise ParameterError(
            f"{path} is a file of outlines or lines, and no weights: make weights of it with "
            + phrase("make weights", "xroute.grid_weights(grid, catchments)")
        )
    if target.is_dir() or suffix in (".nc", ".nc4", ".netcdf", ".cdf"):
        return open_dataset(target)
    with reading(target):
        with open(target, "rb") as stream:
            if stream.read(4)[:3] in (b"CDF", b"\x89HD"):
                return open_dataset(target)
        table = pd.read_csv(target, skipinitialspace=True)
        if table.shape[1] < 3:
            table = pd.read_csv(target, sep=None, engine="python", skipinitialspace=True)
    if table.shape[1] < 3:
        raise ParameterError(f"{path} is no table of weights: it has the columns {some(table.columns)}")
    return table
