"""What a file holds: a network, runoff, discharge, a state, or a grid; and networks of whatever form by their path."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.attrs import STANDARD_NAME
from xroute.exceptions import XRouteError, reading, some
from xroute.inspection import Report
from xroute.io.files import existing, open_dataset
from xroute.labels import grid_dims

__all__ = ["TABLES", "describe_other", "is_table", "kind", "open_any"]

#: Suffixes of tables, which `xroute.tables.read_table` reads.
TABLES = (".csv", ".parquet", ".pq", ".feather", ".gpkg", ".shp", ".fgb", ".geojson")


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a table, by its suffix."""
    return Path(path).suffix.lower() in TABLES


def open_any(path: str | os.PathLike[str], **columns: Any) -> xr.Dataset:
    """Network Dataset of a Zarr store, a netCDF file (neither is read yet), or a table.

    Parameters
    ----------
    path
        The file.
    **columns
        Of a table, as for `xroute.tables.read_table`.

    Raises
    ------
    FileNotFoundError, PermissionError
        There is nothing, or nothing that may be read.
    XRouteError
        It is none of these, or damaged.
    """
    target = existing(path)
    if is_table(target):
        from xroute.tables import read_table

        if target.is_dir() and target.suffix.lower() not in (".parquet", ".pq"):
            raise XRouteError(f"{path} is a folder, where a table is expected")
        with reading(target, "as a table"):
            return read_table(target, **columns)
    if not target.is_dir():
        with reading(target), open(target, "rb") as stream:
            if stream.read(4)[:3] not in (b"CDF", b"\x89HD"):
                raise XRouteError(
                    f"{path} is not a netCDF file{'' if target.stat().st_size else ' (it is empty)'}, and a table is "
                    f"known by its suffix: {', '.join(TABLES)}"
                )
    return open_dataset(target)


def kind(dataset: xr.Dataset) -> str:
    """``"network"``, ``"state"``, ``"discharge"``, ``"runoff"``, ``"grid"``, or ``"other"``."""
    names = set(dataset.variables)
    if {"outflow", "n_lags"} <= names:
        return "state"
    if "downstream" in names or names & {"upstream_reach", "downstream_reach"}:
        return "network"
    if any(v.attrs.get("standard_name") == STANDARD_NAME or n == "discharge" for n, v in dataset.data_vars.items()):
        return "discharge"
    if any(grid_dims(v) for v in dataset.data_vars.values()):
        return "grid"
    if "runoff" in dataset.data_vars or _series(dataset):
        return "runoff"
    return "network" if "reach" in dataset.dims else "other"


def _series(dataset: xr.Dataset) -> list[Hashable]:
    return [n for n, v in dataset.data_vars.items() if v.ndim > 1 and v.dtype.kind in "fiu" and "bnds" not in v.dims]


def describe_other(dataset: xr.Dataset, what: str) -> Report:
    """Report of a file that is no network."""
    report = Report(judged=False)
    said = {
        "state": "a state: a run starts from it with --initial-state",
        "discharge": "discharge, as a run gives it",
        "runoff": "runoff, or another series; with a network: xroute info NETWORK --runoff FILE",
        "grid": "fields on a grid, which are to be brought to the catchments of a network first",
        "other": f"neither a network nor runoff, discharge or a state; its variables are {some(dataset.variables)}",
    }
    report.facts.append(("holds", said[what]))
    if "unfinished" in dataset.attrs:  # of `xroute.streaming`
        report.problems.append(f"it is unfinished: {dataset.attrs['unfinished']}. What began it goes on (--resume)")
    report.facts.append(("sizes", ", ".join(f"{size:,} {dim}" for dim, size in dataset.sizes.items()) or "none"))
    if what == "state":
        known = {"scheme": "scheme", "dt": "runoff step [s]", "substeps": "substeps", "lateral": "lateral", "time": "holds at"}
        report.facts += [(words, str(dataset.attrs[name])) for name, words in known.items() if name in dataset.attrs]
    else:
        for name, variable in dataset.data_vars.items():
            if variable.ndim and variable.dtype.kind in "fiu":
                units = variable.attrs.get("units", "no units")
                report.facts.append((str(name), f"[{units}] on {', '.join(map(str, variable.dims))}, {variable.dtype}"))
        for name, index in dataset.indexes.items():
            if len(index) and (index.dtype.kind in "mM" or hasattr(index[0], "year")):
                report.facts.append((str(name), f"{str(index[0])[:19]} to {str(index[-1])[:19]}"))
    return report
