"""Which row of a series is which river: by id, by the order of the network's table, or of sub-reaches by their river."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, some
from xroute.files.decoding import is_id_name
from xroute.ids import exact_ids, is_positional, positions_of, repeated
from xroute.io.common import file_ids
from xroute.io.river_route.network import ROW, ROWS
from xroute.labels import match_rows
from xroute.wording import argument

__all__ = ["on_reaches", "shares_of_sub_reaches", "to_network"]

logger = logging.getLogger(__name__)
_REACH = {"cf_role": "timeseries_id", "long_name": "reach id"}


def on_reaches(array: xr.DataArray, file: Path, network: xr.Dataset | None, time_dim: Hashable = "time") -> xr.DataArray:
    """A series of a file on ``reach``, with the file's ids, or those of the network whose table has the same rows.

    Raises
    ------
    AlignmentError
        If it has not one other dimension than the time, or no ids and another length than the table; for ids that stand twice.
    """
    dims = [d for d in array.dims if d not in (time_dim, "member")]
    if len(dims) != 1 or time_dim not in array.dims:
        raise AlignmentError(f"{array.name} of {file} has dimensions {array.dims}, where it has {time_dim!r} and one of rivers")
    dim = dims[0]
    ids = _ids(array, dim, file)
    if ids is None:
        array, ids = _by_row(array, dim, file, network)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} ids stand more than once in {file}: {some(twice)}")
    others = [name for name, c in array.coords.items() if dim in c.dims]
    array = array.drop_vars(others).rename({dim: "reach"} | ({time_dim: "time"} if time_dim != "time" else {}))
    array = array.transpose(*(d for d in ("member", "time", "reach") if d in array.dims))
    return array.assign_coords(reach=("reach", ids, _REACH))


def _ids(array: xr.DataArray, dim: Hashable, file: Path) -> NDArray[Any] | None:
    """Ids that a file has along a dimension: the dimension's own, unless it only counts and others stand beside it."""
    names = [n for n, c in array.coords.items() if c.dims == (dim,) and c.dtype.kind in "iufSUOT"]
    beside = [n for n in names if n != dim and is_id_name(n, array[n].variable)]
    if dim in names and (not beside or not is_positional(array[dim].to_numpy())):
        return file_ids(array[dim], file)
    if len(beside) > 1:
        raise AlignmentError(f"{file} has several variables that could be the ids along {dim!r}: {some(beside)}; keep one")
    return file_ids(array[beside[0]], file) if beside else None


def _by_row(
    array: xr.DataArray, dim: Hashable, file: Path, network: xr.Dataset | None
) -> tuple[xr.DataArray, NDArray[Any]]:
    """Rows of the network's reaches in a file without ids, whose order is that of the network's table."""
    if network is None or ROW not in network.variables or ROWS not in network.attrs:
        raise AlignmentError(
            f"{file} names no ids along {dim!r} (its order is that of the network's table): give {argument('network')}, the "
            "Dataset of xroute.io.river_route.read_network"
        )
    if array.sizes[dim] != network.attrs[ROWS]:
        raise AlignmentError(
            f"{file} names no ids, and has {array.sizes[dim]} rivers; the table of the network had {network.attrs[ROWS]} rows"
        )
    logger.info("%s names no ids: its rivers are taken in the order of the network's table", file)
    rows = network[ROW].to_numpy()
    array = array if np.array_equal(rows, np.arange(array.sizes[dim])) else array.isel({dim: rows})
    return array, exact_ids(network["reach"].to_numpy(), "network reach")


def to_network(array: xr.DataArray, network: xr.Dataset | None, where: str, what: str) -> xr.DataArray:
    """A series of the network's reaches, in their order; without a network, as it is.

    A river that version 3 has split into sub-reaches shares its runoff among them, and has its discharge at the last.

    Raises
    ------
    AlignmentError
        For reaches that the series lacks.
    """
    if network is None:
        return array
    wanted = exact_ids(network["reach"].to_numpy(), "network reach")
    have = array["reach"].to_numpy()
    shares = shares_of_sub_reaches(network, have)
    share = None
    source = wanted
    if shares is not None and what == "runoff":
        source, share = shares
    elif shares is not None:
        wanted = source = wanted[positions_of(wanted, have) >= 0]
    if what == "discharge":
        have = _uncut(have, wanted, where)
    unique = np.unique(source) if share is not None else source
    row, _ = match_rows(have, unique, "raise", "drop", f"ids of {where}", what)
    if row is not None and have.size > unique.size:
        logger.info("%d rivers of %s are not in the network and are left out", have.size - unique.size, where)
    if share is None and row is None:
        return array.assign_coords(reach=("reach", wanted, _REACH))
    at = positions_of(source, have)
    taken = array.isel(reach=at).assign_coords(reach=("reach", wanted, _REACH))
    if share is None:
        return taken
    attrs = taken.attrs
    shared = taken * xr.DataArray(share.astype(array.dtype if array.dtype.kind == "f" else float), dims="reach")
    return shared.assign_attrs(attrs)


def shares_of_sub_reaches(
    network: xr.Dataset, have: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.float64]] | None:
    """Of a network in which version 3 has split rivers (``stabilize``): the river of each reach, and its share of the runoff.

    None where it has not, or where a series has its sub-reaches, too. Shares are those of the travel times, as river-route's.
    """
    if not {"synthetic", "parentRiverId"} <= set(network.variables):
        return None
    added = network["synthetic"].to_numpy().astype(bool)
    wanted = exact_ids(network["reach"].to_numpy(), "network reach")
    if not added.any() or (positions_of(wanted[added], have) >= 0).all():
        return None
    parent = exact_ids(network["parentRiverId"].to_numpy(), "parentRiverId")
    k = network["k"].to_numpy().astype(np.float64)
    _, which = np.unique(parent, return_inverse=True)
    return parent, k / np.bincount(which, weights=k)[which]


def _uncut(have: NDArray[Any], wanted: NDArray[Any], where: str) -> NDArray[Any]:
    """Ids of discharge, of which version 2 has kept 32 bits only, made whole again by those of the network.

    Raises
    ------
    AlignmentError
        If two reaches of the network have the same 32 bits.
    """
    big = (wanted.dtype.kind == have.dtype.kind == "i") and bool((np.abs(wanted) >= 2**31).any())
    if not big or (positions_of(wanted, have) >= 0).any() and not (have < 0).any():
        return have
    cut = wanted.astype(np.int64).astype(np.uint32).astype(np.int32).astype(np.int64)
    if not (positions_of(cut, have) >= 0).all() or (positions_of(wanted, have) >= 0).all():
        return have
    twice = repeated(cut)
    if twice.size:
        raise AlignmentError(
            f"{where} holds ids cut to 32 bits, as river-route 2 writes them: {some(wanted[np.isin(cut, twice)])} are the same "
            "when they are cut, and cannot be told apart"
        )
    logger.warning("%s holds ids cut to 32 bits, as river-route 2 writes them: the network's make them whole", where)
    at = positions_of(have, cut)
    return np.where(at >= 0, wanted[np.maximum(at, 0)], have)
