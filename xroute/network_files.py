"""Networks from files of whatever form: Zarr, netCDF or a table, told by content and suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from xroute.exceptions import XRouteError
from xroute.files.opening import PathLike, existing, open_dataset
from xroute.guards import reading
from xroute.network import Network

__all__ = ["as_network", "is_table", "open_any"]


def is_table(path: PathLike) -> bool:
    """Whether a path names a table, by its suffix."""
    from xroute.tables import SUFFIXES  # tables are imported by those who have one

    return Path(path).suffix.lower() in SUFFIXES


def open_any(path: PathLike, **columns: Any) -> xr.Dataset:
    """Network Dataset of a Zarr store, a netCDF file (neither is read yet), or a table.

    ``columns`` are those of a table, as for `xroute.tables.read_table`.
    """
    from xroute.tables import SUFFIXES, read_table

    target = existing(path)
    if is_table(target):
        if target.is_dir() and target.suffix.lower() not in (".parquet", ".pq"):
            raise XRouteError(f"{path} is a folder, where a table is expected")
        return read_table(target, **columns)
    if not target.is_dir():
        with reading(target), open(target, "rb") as stream:
            if stream.read(4)[:3] not in (b"CDF", b"\x89HD"):
                raise XRouteError(
                    f"{path} is not a netCDF file{'' if target.stat().st_size else ' (it is empty)'}, and a table is "
                    f"known by its suffix: {', '.join(SUFFIXES)}"
                )
    return open_dataset(target)


def as_network(network: xr.Dataset | Network | PathLike | pd.DataFrame) -> Network:
    """`Network` of a Dataset, of a table, or of the file at a path (see `open_any`), or the Network itself."""
    if isinstance(network, pd.DataFrame):
        return Network.from_dataframe(network)
    if isinstance(network, (str, os.PathLike)):
        with open_any(network) as dataset:
            return Network(dataset)
    return network if isinstance(network, Network) else Network(network)
