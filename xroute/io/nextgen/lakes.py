"""Lakes of a hydrofabric, whose layer has the columns of LAKEPARM, as `xroute.lakes` takes them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import NetworkError, ParameterError, require, some
from xroute.files.opening import PathLike
from xroute.guards import reading
from xroute.ids import exact_ids, positions_of, repeated
from xroute.io.nextgen.network import find_hydrofabric, layers_of, nexus_of
from xroute.io.nwm.lakes import COLUMNS, lake_table

__all__ = ["read_lakes"]

logger = logging.getLogger(__name__)

LAYER = "lakes"
NAMES = ("lake_id", "hl_link")
"""Columns of a lake's id, in one version or another."""
ROLE, OUTFLOW = "hl_reference", "WBOut"
DAM, USUAL_DAM = "Dam_Length", 10.0
"""What t-route takes where it is not known."""


def read_lakes(path: PathLike, network: Any, discharge: xr.DataArray | None = None) -> xr.Dataset:
    """Read the lakes of a hydrofabric.

    Parameters
    ----------
    path
        The GeoPackage with a layer ``lakes``, or a folder that holds one.
    network
        Network or its Dataset, of `read_network`.
    discharge : (reach)
        Outflow that the lakes are made linear around: a volume flux, positive at the outlets of lakes.

    Returns
    -------
    xarray.Dataset
        As of `xroute.io.nwm.read_lakes`: on ``lake``, with ``reach``, the flowpath at the outlet, and ``tau`` [s] if there is a
        ``discharge``. A hydrofabric without lakes has none.

    Raises
    ------
    NetworkError
        Lakes with several outlets, or several lakes at one.
    AlignmentError, ParameterError
        As `xroute.io.nwm.read_lakes`.
    ImportError
        GeoPandas is not installed.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import nextgen
    >>> path = tempfile.mkdtemp() + "/basin.gpkg"
    >>> nextgen.write_network(xroute.datasets.tutorial()[0], path)
    >>> nextgen.read_lakes(path, nextgen.read_network(path)).sizes["lake"]  # xroute writes none
    0
    """
    file = find_hydrofabric(path)
    pyogrio = require("pyogrio", feature=f"reading {file.name}", extra="geo")
    layer = next((name for name in layers_of(file) if name.lower() == LAYER), None)
    table = pd.DataFrame(columns=["id", NAMES[0], *COLUMNS])
    if layer is not None:
        with reading(file, "as a GeoPackage"):
            table = pyogrio.read_dataframe(file, layer=layer, read_geometry=False)
    if ROLE in table.columns and (table[ROLE] == OUTFLOW).any():
        table = table[table[ROLE] == OUTFLOW]
    key = next((name for name in NAMES if name in table.columns), None)
    lacking = [name for name in ("id", *COLUMNS) if name not in table.columns and name != DAM]
    if key is None or lacking:
        raise ParameterError(f"lakes of {file} lack {some(lacking or NAMES)}; they have {some(table.columns)}")
    table = table[["id", key, *(name for name in COLUMNS if name in table.columns)]].drop_duplicates()
    ids, nexus = nexus_of(network)
    at = positions_of(table["id"].to_numpy().astype(str), ids.astype(str))
    ends = pd.Series(np.arange(ids.size)).groupby(nexus).agg(["first", "size"])
    single = ends[ends["size"] == 1]["first"]
    at = np.where(at < 0, table["id"].map(single).fillna(-1).to_numpy(np.int64), at)  # some name the nexus below the lake
    if (at < 0).any():
        logger.info("%d lakes of %s are not in the network, and are left out", int((at < 0).sum()), file)
    table, at = table[at >= 0], at[at >= 0]
    lakes = exact_ids(pd.to_numeric(table[key]).to_numpy(), f"lakes of {file}")
    for what, twice in (("lakes have several outlets", repeated(lakes)), ("reaches have several lakes", repeated(ids[at]))):
        if twice.size:
            raise NetworkError(f"{twice.size} {what} in {file}: {some(twice)}")
    columns = {n: table[n].to_numpy(np.float64) if n in table.columns else np.full(at.size, USUAL_DAM) for n in COLUMNS}
    return lake_table(lakes, ids[at], columns, discharge).assign_attrs(source=f"NextGen hydrofabric: {file.name}")
