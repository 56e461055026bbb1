"""Series of evaluation tables: Parquet with a value a row, in the columns of TEEHR, as DataArrays.

Columns are ``value_time``, ``value``, ``unit_name``, ``location_id``, and where there is more than one of them
``variable_name``, ``configuration_name``, ``reference_time`` and ``member``. `xroute.io.teehr` writes such tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, UnitsError, XRouteError, require, some
from xroute.files.opening import PathLike, existing
from xroute.guards import reading
from xroute.ids import exact_ids

__all__ = ["COLUMNS", "KINDS", "NEEDED", "is_parquet", "read_frame", "series_of_frame"]

NEEDED = ("value_time", "value", "location_id")
COLUMNS = ("reference_time", "value_time", "value", "variable_name", "configuration_name", "unit_name", "location_id", "member")
"""In the order of TEEHR's schema."""
KINDS = b"xroute"
"""Key of a file's metadata under which stands what ids and members were, numbers or text."""
ALSO = {"units": "unit_name", "configuration": "configuration_name"}
"""What t-route calls columns."""
CHOSEN = ("variable_name", "configuration_name", "unit_name")
"""Columns of which a series has one value."""


def is_parquet(path: PathLike) -> bool:
    """Whether a path is that of Parquet, by its suffix."""
    return Path(path).suffix.lower() in (".parquet", ".pq")


def read_frame(path: PathLike) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table of a Parquet file, or of a folder of such files, and what its ids were when it was written."""
    parquet = require("pyarrow.parquet", feature="reading Parquet", extra="io")
    target = existing(path)
    with reading(target, "as Parquet"):
        table = parquet.read_table(target)
        kinds = json.loads((table.schema.metadata or {}).get(KINDS, b"{}"))
        return table.to_pandas(), {str(name): str(kind) for name, kind in kinds.items()}


def series_of_frame(
    frame: pd.DataFrame, name: str, kinds: Mapping[str, str], *, variable: str | None = None,
    configuration: str | None = None, location_prefix: str = "",
) -> xr.DataArray:  # fmt: skip
    """A series of discharge of an evaluation table.

    Parameters
    ----------
    frame
        The table, rows in any order.
    name
        What it is called in messages.
    kinds
        ``"int64"`` or ``"str"`` for ``location_id`` and ``member``, where it is known; else numbers where all are.
    variable, configuration
        Which ``variable_name`` and ``configuration_name``, where there are several.
    location_prefix
        What all ids of locations begin with, and those of reaches do not: ``"nwm30-"``, say.

    Returns
    -------
    xarray.DataArray
        ``discharge`` ([reference_time,] [member,] time, reach), NaN where there is no row.

    Raises
    ------
    XRouteError
        For columns that are missing, several series of which none is chosen, values that stand twice, ids or times that are none.
    """
    lacking = [column for column in NEEDED if column not in frame.columns]
    if lacking:
        raise XRouteError(f"{name} has no columns {some(lacking)}; it has {some(frame.columns)}")
    frame = frame.rename(columns={old: new for old, new in ALSO.items() if new not in frame.columns})
    for column, wanted in (("variable_name", variable), ("configuration_name", configuration)):
        if wanted is not None:
            if column not in frame.columns or not (frame[column] == wanted).any():
                there: Any = frame[column].unique() if column in frame.columns else []
                raise XRouteError(f"{name} has no rows with {column} {wanted!r}; it has {some(there)}")
            frame = frame[frame[column] == wanted]
    said = {column: _one(frame, column, name) for column in CHOSEN if column in frame.columns}
    labels: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    if "reference_time" in frame.columns and frame["reference_time"].notna().any():
        started = _times(frame["reference_time"], "reference_time", name)
        if started.nunique() > 1:
            labels["reference_time"] = started.to_numpy()
        else:
            coords["forecast_reference_time"] = ((), started.iloc[0].to_datetime64())
    if "member" in frame.columns and frame["member"].notna().any():
        if frame["member"].isna().any():
            raise XRouteError(f"{name} has {int(frame['member'].isna().sum())} rows without a member among others with one")
        labels["member"] = _ids(frame["member"], "member", kinds.get("member"), "", name)
    labels["time"] = _times(frame["value_time"], "value_time", name).to_numpy()
    labels["reach"] = _ids(frame["location_id"], "location_id", kinds.get("location_id"), location_prefix, name)
    array = _pivot(labels, frame["value"], name).assign_coords(coords)
    array.attrs = {} if said.get("unit_name") is None else {"units": said["unit_name"]}
    return array


def _one(frame: pd.DataFrame, column: str, name: str) -> str | None:
    """The one value of a column; None where it has none."""
    found = frame[column].dropna().unique()
    if len(found) < 2:
        return str(found[0]) if len(found) else None
    if column == "unit_name":
        raise UnitsError(f"{name} has values in several units, {some(found)}: convert one, and write the table again")
    option = column.removesuffix("_name")
    raise XRouteError(f"{name} has several {option}s, {some(found)}: keep the rows of one, {column}")


def _times(column: pd.Series, what: str, name: str) -> pd.Series:
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax()) + 1
        raise TimeAxisError(f"{what} of {name} is empty in {int(column.isna().sum())} rows, first in row {row}")
    try:
        times = pd.to_datetime(column)
    except (ValueError, TypeError) as error:
        raise TimeAxisError(f"{what} of {name} are no times ({error})") from error
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return times.astype("datetime64[ns]")


def _ids(column: pd.Series, what: str, kind: str | None, prefix: str, name: str) -> NDArray[Any]:
    """Ids of text: numbers where they were, or where it is not known and all of them are plain numbers."""
    if column.isna().any():
        raise AlignmentError(f"{what} of {name} is empty in {int(column.isna().sum())} rows")
    codes, found = pd.factorize(column)
    if pd.api.types.is_integer_dtype(found.dtype):
        return exact_ids(np.asarray(found), f"{what} of {name}", AlignmentError)[codes]
    texts = [str(one) for one in found]
    strange = [one for one in texts if not one.startswith(prefix)]
    if strange:
        raise AlignmentError(f"{what} of {name} do not all begin with {prefix!r}: {some(strange)}")
    texts = [one.removeprefix(prefix) for one in texts]
    whole = all(t.lstrip("-").isascii() and t.lstrip("-").isdecimal() and str(int(t)) == t for t in texts)
    plain: Any = [int(one) for one in texts] if whole and kind != "str" else texts
    return exact_ids(np.array(plain), f"{what} of {name}", AlignmentError)[codes]


def _pivot(labels: Mapping[str, NDArray[Any]], values: pd.Series, name: str) -> xr.DataArray:
    """Values by their labels, which are sorted, but reaches and members, which stand as they come first."""
    try:
        single: Any = np.float32 if str(values.dtype).lower() == "float32" else np.float64
        numbers = values.to_numpy(single, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise XRouteError(f"value of {name} is not all numbers ({error})") from error
    index, coords = [], {}
    for dim, of_rows in labels.items():
        codes, found = pd.factorize(of_rows, sort=dim in ("time", "reference_time"))
        index.append(codes)
        coords[dim] = exact_ids(found, dim, AlignmentError) if dim in ("reach", "member") else found
    shape = tuple(len(found) for found in coords.values())
    flat = np.ravel_multi_index(index, shape) if values.size else np.zeros(0, np.int64)
    twice = pd.Index(flat).duplicated()
    if twice.any():
        row = int(twice.argmax())
        where = ", ".join(f"{dim} {of_rows[row]}" for dim, of_rows in labels.items())
        raise XRouteError(f"{name} has {int(twice.sum())} values twice, first {where}")
    made = np.full(shape, np.nan, numbers.dtype)
    made.ravel()[flat] = numbers
    return xr.DataArray(made, coords, tuple(coords), "discharge")
