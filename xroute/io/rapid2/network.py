"""A RAPID2 network, from its folder, its namelist or its tables: columns of Parquet files, by id."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, require, some
from xroute.files.opening import PathLike
from xroute.ids import exact_ids
from xroute.io.rapid.coordinates import Points, add_places, check_points, netcdf_points
from xroute.io.rapid.network import Region, assemble, recipe_attrs, refuse_duplicates, rows_to_route
from xroute.io.rapid.tables import Connectivity
from xroute.io.rapid2.folder import COLUMNS, TABLES, find_files, read_namelist
from xroute.io.rapid2.series import external_step

__all__ = ["read_network"]

logger = logging.getLogger(__name__)


def read_network(
    folder_or_connect: PathLike,
    k: PathLike | None = None,
    x: PathLike | None = None,
    basin_ids: PathLike | None = None,
    *,
    coordinates: PathLike | None = None,
    routing_step: Any = None,
) -> xr.Dataset:
    """Read a RAPID2 network.

    Parameters
    ----------
    folder_or_connect
        A folder with RAPID2's files, its namelist, or the connectivity table.
    k, x, basin_ids, coordinates
        Tables in place of those of the folder. With a connectivity table and neither ``k`` nor ``x``, the topology alone
        is read; without ``basin_ids``, all reaches are routed.
    routing_step
        RAPID2's IS_dtR: seconds, or text like ``"15min"``; by default the namelist's.

    Returns
    -------
    xarray.Dataset
        As `xroute.io.rapid.read_network` gives it.

    Raises
    ------
    NetworkError
        For ids that stand twice or lack a value, ids to route that are not in the connectivity, and tables that are missing,
        not readable, or without the columns that they need.

    Warns
    -----
    UserWarning
        When reaches that are routed lie downstream of reaches that are not, so that water is missing from them.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> rapid2.read_network(folder)["k"].attrs["units"]
    's'
    """
    path = Path(folder_or_connect)
    files = {"connect": path} if path.suffix.lower() in TABLES and path.is_file() else find_files(path)
    given = {"k": k, "x": x, "basin_ids": basin_ids, "coordinates": coordinates}
    files |= {role: Path(file) for role, file in given.items() if file is not None}
    whole = "namelist" in files or path.is_dir()
    for role in ("connect", "k", "x") if whole else ():
        if role not in files:
            raise NetworkError(f"no table with the columns {' and '.join(COLUMNS[role])} in {path}: give {role}=")
    ids, downstream = read_ids(files["connect"], "riv"), read_ids(files["connect"], "dwn")
    refuse_duplicates([ids], [files["connect"]])
    rows = np.arange(ids.size)
    if "basin_ids" in files:
        rows = rows_to_route(read_ids(files["basin_ids"], "riv"), files["basin_ids"], ids, files["connect"])
    values: dict[str, NDArray[np.float64]] = {
        name: values_by_id(files[name], f"{name}pr", ids, files["connect"], rows) for name in ("k", "x") if name in files
    }
    network = assemble([Region(files["connect"], Connectivity(ids, downstream), rows, values)], "RAPID2")
    if "scheme" in network.attrs:
        namelist = files.get("namelist")
        stated: dict[str, Any] = {} if namelist is None else read_namelist(namelist)
        step = external_step(files["runoff"]) if "runoff" in files else None
        stated |= {} if step is None else {"step of Qext": step}
        network.attrs.update(recipe_attrs([stated], routing_step, ("IS_dtR", "step of Qext"), [namelist]))
    points, source = _points(files)
    return network if points is None else add_places(network, [points], [source])


def _points(files: Mapping[str, Path]) -> tuple[Points | None, Path]:
    """Places, of the table of coordinates or of a netCDF file."""
    if "coordinates" in files:
        path = files["coordinates"]
        lon, lat = (read_column(path, name).astype(np.float64) for name in ("lon", "lat"))
        return check_points(path, (read_ids(path, "riv"), lon, lat)), path
    for role in ("runoff", "state", "discharge"):
        if role in files:
            points = netcdf_points(files[role])
            if points is not None:
                return points, files[role]
    return None, files["connect"]


def read_column(path: Path, name: str) -> NDArray[Any]:
    """One column of a table."""
    parquet = require("pyarrow.parquet", feature="reading RAPID2's tables", extra="io")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        names = parquet.read_schema(path).names
        if name not in names:
            raise NetworkError(f"{path} has no column {name!r}; it has {some(names)}")
        column = parquet.read_table(path, columns=[name]).column(name)
    except NetworkError:
        raise
    except (OSError, ValueError) as error:  # Arrow's errors are of these kinds
        raise NetworkError(f"{path} is not readable as Parquet: {error}") from error
    if column.null_count and name in ("riv", "dwn"):
        raise NetworkError(f"{path}: {column.null_count} entries of {name!r} are missing, and ids must not be")
    return np.asarray(column.to_numpy())


def read_ids(path: Path, name: str) -> NDArray[np.int64]:
    """A column of ids."""
    ids = exact_ids(read_column(path, name), f"{name} of {path}")
    if ids.dtype.kind != "i":
        raise NetworkError(f"{path}: {name!r} holds text, and RAPID2's ids are whole numbers")
    if not ids.size:
        raise NetworkError(f"{path} is empty")
    return ids


def values_by_id(
    path: Path, name: str, ids: NDArray[np.int64], connect: Path, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Values of a table in the order of the connectivity's ``ids``; those that are not on ``rows`` to route need none."""
    have, values = pd.Index(read_ids(path, "riv")), read_column(path, name)
    if not have.is_unique:
        raise NetworkError(f"{path} has several values of reaches {some(have[have.duplicated()].unique())}")
    if values.dtype.kind not in "fiu":
        raise NetworkError(f"{path}: {name!r} holds {values.dtype}, not numbers")
    at = have.get_indexer(pd.Index(ids))
    lacking = ids[rows][at[rows] < 0]
    if lacking.size:
        raise NetworkError(f"{path} has no {name} of {lacking.size} reaches of {connect}: {some(lacking)}")
    extra = len(have) - int((at >= 0).sum())
    if extra:
        logger.info("%d reaches of %s are not in %s", extra, path.name, connect.name)
    return np.where(at >= 0, values.astype(np.float64)[at], np.nan)
