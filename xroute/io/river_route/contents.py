"""What a file of river-route's is, by what is in it."""

from __future__ import annotations

from pathlib import Path

from xroute.exceptions import XRouteError, require
from xroute.files.opening import open_dataset, open_netcdf
from xroute.io.river_route.layout import LAYOUTS, STATE
from xroute.stores import is_group

__all__ = ["TABLES", "role_of"]

TABLES = (".parquet", ".pqt", ".pq", ".geoparquet")
_NETCDF = (".nc", ".nc4", ".netcdf", ".cdf")


def role_of(path: Path) -> str | None:
    """The part that a file plays: ``network``, ``state``, ``runoff``, ``weights``, ``discharge``; None if it plays none."""
    suffix = path.suffix.lower()
    try:
        if suffix in TABLES and path.is_file():
            return _of_table(path)
        if suffix in _NETCDF and path.is_file():
            with open_netcdf(path, raw=True) as raw:
                return _of_variables({str(n): tuple(map(str, v.dims)) for n, v in raw.variables.items()})
        if path.is_dir() and is_group(path):
            with open_dataset(path) as store:
                return _of_variables({str(n): tuple(map(str, v.dims)) for n, v in store.variables.items()})
    except (XRouteError, OSError):  # what is named as one of the set-up is read, and then its fault is told
        return None
    return None


def _of_table(path: Path) -> str | None:
    parquet = require("pyarrow.parquet", feature="reading river-route's tables", extra="io")
    try:
        names = [name for name in parquet.read_schema(path).names if not name.startswith("__index_level_")]
    except (OSError, ValueError):
        return None
    for layout in LAYOUTS.values():
        if layout.fits_network(names):
            return "network"
        if set(names) in ({STATE}, {STATE, layout.reach}):
            return "state"
    return None


def _of_variables(variables: dict[str, tuple[str, ...]]) -> str | None:
    for layout in LAYOUTS.values():
        if layout.runoff in variables:
            return "runoff"
        if set(variables.get(STATE, ())) == set(layout.dims):
            return "discharge"
    if "proportion" in variables and {"x_index", "y_index"} <= set(variables) or {"cell_index", "proportion"} <= set(variables):
        return "weights"
    return None
