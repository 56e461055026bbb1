"""Ids for what RAPID stores by position, and the reaches of a network out of a file, in its order."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, XRouteError, some
from xroute.files.decoding import is_id_name, mask_fill
from xroute.ids import is_positional
from xroute.io.common import file_ids

__all__ = ["label_reaches", "select_reaches", "with_ids"]

logger = logging.getLogger(__name__)


def label_reaches(raw: xr.Dataset, array: xr.DataArray, file: Path) -> xr.DataArray:
    """Name the reach dimension, attach the file's ids, and mask fill values other than zero."""
    dims = [d for d in array.dims if str(d).lower() != "time"]
    dims = [d for d in dims if is_id_name(d, xr.Variable((), 0))] or dims
    if len(dims) != 1:
        raise XRouteError(f"cannot tell the reach dimension of {array.name} in {file} among {array.dims}")
    dim = str(dims[0])
    masked = mask_fill(array, zero_is_data=True)
    masked = masked.drop_vars(list(masked.coords)).rename({dim: "reach"} if dim != "reach" else {})
    beside = [n for n, v in raw.variables.items() if v.dims == (dim,) and n != dim and is_id_name(n, v)]
    beside = [n for n in beside if raw[n].dtype.kind in "iufSUO"]
    if dim in raw.variables and (not beside or not is_positional(raw[dim].to_numpy())):
        name: Any = dim
    elif len(beside) > 1:
        raise AlignmentError(f"{file} has several variables that could be the ids of {dim!r}: {some(beside)}; keep one")
    elif beside:
        name = beside[0]
    else:
        return masked
    exact = file_ids(raw[name], file)
    return masked.assign_coords(reach=("reach", exact, {"cf_role": "timeseries_id", "long_name": "reach id"}))


def with_ids(array: xr.DataArray, network: xr.Dataset | None, file: Path, region: int, n_regions: int) -> xr.DataArray:
    """Give a file without ids those of rapid_connect.csv, for the reaches of its region that the network has."""
    if "reach" in array.coords:
        return array
    if network is None:
        raise AlignmentError(f"{file} names no reach ids (its order is that of rapid_connect.csv); give the network")
    if "connect_row" not in network or "connect_rows" not in network.attrs:
        raise AlignmentError(
            f"{file} names no reach ids, and the network does not know the order of rapid_connect.csv; "
            f"give the Dataset of xroute.io.rapid.read_network"
        )
    n_rows = np.atleast_1d(network.attrs["connect_rows"])
    if n_regions != n_rows.size:
        raise AlignmentError(
            f"the network has {n_rows.size} regions, and {n_regions} files without reach ids were given"
        )
    if array.sizes["reach"] != n_rows[region]:
        raise AlignmentError(
            f"{file} names no reach ids and has {array.sizes['reach']} columns, "
            f"but rapid_connect.csv has {n_rows[region]} rows"
        )
    mine = network["region"].to_numpy() == region if "region" in network else np.ones(network.sizes["reach"], bool)
    rows = network["connect_row"].to_numpy()[mine]
    return array.isel(reach=rows).assign_coords(reach=network["reach"][mine].variable)


def select_reaches(array: xr.DataArray, network: xr.Dataset | None, files: Sequence[Path]) -> xr.DataArray:
    """Return the network's reaches in its order."""
    assert network is not None
    have, want = pd.Index(array["reach"].to_numpy()), network["reach"].to_numpy()
    names = ", ".join(map(str, files))
    if not have.is_unique:
        raise AlignmentError(f"duplicate reach ids in {names}: {some(have[have.duplicated()].unique())}")
    position = have.get_indexer(pd.Index(want))
    if (position < 0).any():
        missing = want[position < 0]
        raise AlignmentError(f"{missing.size} reaches of the network are not in {names}: {some(missing)}")
    if len(have) > want.size:
        logger.info("%d reaches of %s are not in the network and are left out", len(have) - want.size, names)
    if np.array_equal(position, np.arange(len(have))):
        return array
    return array.isel(reach=position)
