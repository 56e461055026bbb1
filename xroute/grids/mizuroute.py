"""Weights of mizuRoute: its mapping from a grid or a model's units to catchments, and its topology of units and segments.

Control files may name variables otherwise; the usual names are known, in capitals or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.grids.raw import Raw, column
from xroute.ids import exact_ids
from xroute.units import to_si

__all__ = ["is_mapping", "is_topology", "read_mapping", "read_topology"]

_UNITS = ("polyid", "hruid", "hru_id", "rn_hruid")
_COUNTS = ("noverlaps", "overlaps", "n_overlaps")
_SOURCE_UNITS = ("overlappolyid", "intersector", "hm_hruid")


def is_mapping(table: Any) -> bool:
    """Whether a Dataset is a mapping of mizuRoute, or spatial weights of the National Water Model."""
    return (
        isinstance(table, xr.Dataset) and bool(column(table, "weight") and column(table, *_UNITS))
        and bool(column(table, "i_index", *_SOURCE_UNITS)) and bool(column(table, *_COUNTS, "idmask"))
    )  # fmt: skip


def read_mapping(table: xr.Dataset, name: str) -> Raw:
    """Read a mapping: for each catchment so many overlaps, one catchment after another."""
    units, weight = column(table, *_UNITS), column(table, "weight")
    if units is None or weight is None:
        raise ParameterError(f"{name} is no mapping of mizuRoute: it lacks polyid or weight")
    catchment = exact_ids(table[units].values, f"{name}: {units!r}", AlignmentError)
    part = np.asarray(table[weight].values, np.float64)
    owner, kept = _owners(table, name, catchment, part.size)
    i, j, source = column(table, "i_index"), column(table, "j_index"), column(table, *_SOURCE_UNITS)
    part = _parts(part[kept], [np.asarray(table[n].values)[kept] for n in (i, j, source) if n is not None], owner, name)
    common: dict[str, Any] = {"part": part, "attrs": {"method": "area", "title": "weights of mizuRoute"}}
    size = column(table, "area", "catchment_area")
    if size is not None and table[size].dims == table[units].dims:
        common["catchment_area"] = to_si(table[size], "m2", "area")
    if i is not None and j is not None:
        column_, row = (np.asarray(table[n].values, np.float64)[kept] for n in (i, j))
        used = part != 0
        for which, values in ((i, column_), (j, row)):
            wrong = used & ~((values >= 1) & (values == np.floor(values)))
            if wrong.any():
                raise ParameterError(
                    f"{name}: {which} counts from 1, and is {values[wrong][0]:g} in {int(wrong.sum())} overlaps"
                )
        index = tuple(np.where(used, v - 1, 0).astype(np.int64) for v in (row, column_))
        raw = Raw(owner, catchment, index, **common)
        return raw.take(np.flatnonzero(used))
    if source is None:
        raise ParameterError(f"{name} names cells neither by i_index and j_index nor by overlapPolyId")
    used = np.flatnonzero(part != 0)  # where there is no overlap, its id is none
    cells = exact_ids(table[source].values[kept][used], f"{name}: {source!r}", AlignmentError)
    common["part"] = part[used]
    return Raw(owner[used], catchment, cell_id=cells, **common)


def _parts(part: NDArray[np.float64], cells: list[NDArray[Any]], owner: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Parts of catchments; what has neither a part nor a cell stands for a catchment without overlaps, and has none."""
    nowhere = [pd.isna(c) | (c < 1) if c.dtype.kind in "iuf" else pd.isna(c) for c in cells]
    none = np.isnan(part) & np.logical_and.reduce(nowhere or [np.zeros(part.size, bool)])
    lost = np.isnan(part) & ~none
    if lost.any():
        raise ParameterError(
            f"{name}: weight is NaN in {int(lost.sum())} overlaps, of catchments {some(np.unique(owner[lost]))}: mend them, or "
            "leave these catchments out"
        )
    return np.where(none, 0.0, part)


def _owners(table: xr.Dataset, name: str, catchment: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The catchment of each overlap, and which overlaps there are: some files hold one for catchments that have none."""
    mask, counted = column(table, "idmask"), column(table, *_COUNTS)
    if counted is None:
        assert mask is not None
        return exact_ids(table[mask].values, f"{name}: {mask!r}", AlignmentError), np.arange(n)
    count = np.asarray(table[counted].values).astype(np.int64)
    if count.size != catchment.size or (count < 0).any():
        raise ParameterError(f"{name}: {counted} does not count the overlaps of {catchment.size} catchments")
    rows = np.where(count == 0, 1, count)
    if int(count.sum()) == n:
        owner, kept = np.repeat(catchment, count), np.arange(n)
    elif int(rows.sum()) == n:
        owner, kept = np.repeat(catchment, count), np.flatnonzero(np.repeat(count > 0, rows))
    else:
        raise ParameterError(f"{name}: {counted} sums up to {int(count.sum())} overlaps, and there are {n}: the file is cut off")
    if mask is not None:
        noted = exact_ids(table[mask].values[kept], f"{name}: {mask!r}", AlignmentError)
        if not np.array_equal(noted, owner):
            raise ParameterError(f"{name}: {counted} and {mask} say of other overlaps which catchment they are of")
    return owner, kept


def is_topology(table: Any) -> bool:
    """Whether a Dataset is a topology of mizuRoute, with its units and the segments that they drain to."""
    return isinstance(table, xr.Dataset) and bool(
        column(table, "hruid", "hru_id") and column(table, "hrutosegid", "hrusegid") and column(table, "area", "hru_area")
    )


def read_topology(table: xr.Dataset, name: str) -> Raw:
    """Read a topology: each unit is a cell, and its whole area is of the segment that it drains to."""
    unit, segment = column(table, "hruid", "hru_id"), column(table, "hrutosegid", "hrusegid")
    area = column(table, "area", "hru_area")
    if unit is None or segment is None or area is None:
        raise ParameterError(f"{name} is no topology of mizuRoute: it lacks hruId, hruToSegId or area")
    cells = exact_ids(table[unit].values, f"{name}: {unit!r}", AlignmentError)
    owner = exact_ids(table[segment].values, f"{name}: {segment!r}", AlignmentError)
    size = to_si(table[area], "m2", "area")
    drains = owner > 0 if owner.dtype.kind == "i" else owner != ""  # others drain to no segment
    segments = column(table, "segid", "seg_id")
    every = owner[drains] if segments is None else exact_ids(table[segments].values, f"{name}: {segments!r}", AlignmentError)
    every = np.array(list(dict.fromkeys(every.tolist())), dtype=every.dtype)
    return Raw(
        owner[drains], every, cell_id=cells[drains], area=size[drains], cell_area=size[drains],
        attrs={"method": "area", "title": "units of mizuRoute"},
    )  # fmt: skip
