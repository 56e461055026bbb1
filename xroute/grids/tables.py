"""Tables of weights with a row for each overlap: RAPID's pre-processors, and river-route."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.grids.raw import Raw, column
from xroute.ids import exact_ids

__all__ = ["is_rapid", "is_river_route", "read_rapid", "read_river_route"]

_IDS = ("river_id", "riverid", "rivid", "linkno", "comid", "streamid", "reach", "reach_id", "tdxhydrolinkno")


def is_rapid(table: Any) -> bool:
    """Whether a table is one of RAPID's pre-processors."""
    return isinstance(table, pd.DataFrame) and bool(
        column(table, "lon_index") and column(table, "lat_index") and column(table, "area_sqm")
    )


def read_rapid(table: pd.DataFrame, name: str) -> Raw:
    """Read a table of RAPID's pre-processors: the first column holds the ids, whatever it is called."""
    _require(table, name, "area_sqm", "lon_index", "lat_index")
    given = str(table.columns[0])
    others = ("area_sqm", "lon_index", "lat_index", "npoints", "unnamed: 0")
    named = given if given.lower() not in others else column(table, *_IDS)
    if named is None:
        raise ParameterError(f"{name} has no column of ids before its areas; it has {some(table.columns)}")
    owner = exact_ids(table[named].to_numpy(), f"{name}: {named!r}", AlignmentError)
    x = column(table, "lon", "lsm_grid_lon", "longitude")
    y = column(table, "lat", "lsm_grid_lat", "latitude")
    area = _numbers(table, "area_sqm")
    raw = Raw(
        owner, _in_order(owner), (_positions(table, "lat_index", name, area), _positions(table, "lon_index", name, area)),
        area=area, centre=(_numbers(table, y), _numbers(table, x)) if x and y else None,
        attrs={"method": "area", "title": "weights of RAPID's pre-processors"},
    )  # fmt: skip
    _check_counts(table, owner, name)
    return raw


def is_river_route(table: Any) -> bool:
    """Whether a table, or a Dataset of columns, is river-route's."""
    has_area = column(table, "area_sqm", "proportion") if isinstance(table, pd.DataFrame | xr.Dataset) else None
    cells = column(table, "x_index") and column(table, "y_index") or column(table, "cell_index")
    return bool(has_area and cells and column(table, *_IDS))


def read_river_route(table: pd.DataFrame | xr.Dataset, name: str) -> Raw:
    """Read a table of river-route, of any of its versions."""
    axes = ("cell_index",) if column(table, "cell_index") else ("y_index", "x_index")
    _require(table, name, *axes)
    named, total, part = column(table, *_IDS), column(table, "area_sqm_total"), column(table, "proportion")
    if named is None:
        raise ParameterError(f"{name} has no column of ids, such as river_id")
    owner = exact_ids(np.asarray(table[named]), f"{name}: {named!r}", AlignmentError)
    if column(table, "area_sqm"):
        area, parts = _numbers(table, "area_sqm"), None
    elif part and total:
        area, parts = _numbers(table, part) * _numbers(table, total), None
    elif part:
        area, parts = None, _numbers(table, part)
    else:
        raise ParameterError(f"{name} has neither area_sqm nor proportion")
    weight = area if area is not None else parts
    assert weight is not None
    y, x = column(table, "y"), column(table, "x")
    return Raw(
        owner, _in_order(owner), tuple(_positions(table, axis, name, weight) for axis in axes), area=area, part=parts,
        centre=(_numbers(table, y), _numbers(table, x)) if x and y else None,
        attrs={"method": "area", "title": "weights of river-route"},
    )  # fmt: skip


def _require(table: Any, name: str, *columns: str) -> None:
    lacking = [c for c in columns if column(table, c) is None]
    if lacking:
        raise ParameterError(f"{name} has no column {some(lacking)}")


def _numbers(table: Any, name: str | None) -> NDArray[np.float64]:
    assert name is not None
    return np.asarray(table[column(table, name.lower()) or name], np.float64)


def _positions(table: Any, name: str, source: str, weight: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions from 0; those of overlaps without area may be anything, and are 0."""
    values = np.where(weight == 0, 0.0, _numbers(table, name))
    wrong = ~(np.isfinite(values) & (values >= 0) & (values == np.floor(values)))
    if wrong.any():
        raise ParameterError(
            f"{source}: {name} is no position from 0 in {int(wrong.sum())} rows, the first of them "
            f"{int(np.flatnonzero(wrong)[0])}: {some(values[wrong])}"
        )
    return values.astype(np.int64)


def _in_order(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids once, in the order in which they first stand."""
    return np.asarray(pd.unique(ids)) if ids.dtype.kind != "U" else np.array(list(dict.fromkeys(ids.tolist())), dtype=ids.dtype)


def _check_counts(table: pd.DataFrame, owner: NDArray[Any], name: str) -> None:
    """Refuse a table that has lost rows: its npoints say how many each reach has."""
    counts = column(table, "npoints")
    if counts is None:
        return
    stated = table[counts].to_numpy()
    rows = pd.Series(owner).groupby(owner).transform("size").to_numpy()
    wrong = (stated != rows) & ~((stated <= 1) & (rows == 1))
    if wrong.any():
        ids = _in_order(owner[wrong])
        raise ParameterError(
            f"{name} has not as many rows of {ids.size} reaches as their npoints say (it is cut off, or was joined): {some(ids)}"
        )
