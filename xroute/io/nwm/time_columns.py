"""Tables with a row a feature and a column a time, as t-route takes them: CSV and Parquet of version 4, ``*NEXOUT.csv``.

The first column, or the index, has the ids. t-route applies the column of a time to the step that begins there.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, require, some
from xroute.guards import reading
from xroute.ids import exact_ids, repeated
from xroute.times import seconds
from xroute.wording import argument

__all__ = ["digits_of", "read_columns", "write_columns"]

FORMATS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Dates that are written as digits alone, by how many there are."""
INDEX = "feature_id"


def read_columns(path: Path, *, label: str | None = None, start: Any = None, dt: Any = None) -> xr.DataArray:
    """Read a table of features and times: (time, reach), NaN where a cell is empty, ids as they are in the table.

    Parameters
    ----------
    path
        ``*.csv`` or ``*.parquet``.
    label
        What a time is of its step; by default the start.
    start, dt
        The first time and the step, for columns that are counted (0, 1, 2, ...).
    """
    ids, names, values = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    return xr.DataArray(
        values.T,
        dims=("time", "reach"),
        coords={
            "time": ("time", _times(names, path, start, dt), {"standard_name": "time"}),
            "reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "feature id"}),
        },
        attrs={"units": "m3 s-1", "time_label": label or "start"},
        name="runoff",
    )


def write_columns(array: xr.DataArray, path: Path) -> None:
    """Write (time, reach) as such a table, with ``feature_id`` first; numbers in as many digits as they need."""
    stamps = pd.DatetimeIndex(array["time"].values)
    style = FORMATS[12] if (stamps == stamps.floor("min")).all() else FORMATS[14]
    table = pd.DataFrame(array.transpose("reach", "time").to_numpy(), columns=stamps.strftime(style))
    table.insert(0, INDEX, array["reach"].values)
    if path.suffix.lower() == ".parquet":
        require("pyarrow", feature="writing Parquet", extra="io")
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)


def digits_of(ids: NDArray[Any]) -> list[str]:
    """The number in each id of NextGen, such as 12 in ``wb-12``; the id itself where there is none."""
    found = (re.search(r"(\d+)(?:\.0*)?$", str(one)) for one in ids.tolist())
    return [str(one) if match is None else str(int(match.group(1))) for one, match in zip(ids.tolist(), found, strict=True)]


def _csv(path: Path) -> tuple[NDArray[Any], Sequence[Any], NDArray[Any]]:
    with reading(path, "as a table"):
        with open(path, newline="", encoding="utf-8-sig") as stream:
            names = next(csv.reader(stream), [])
        if len(names) < 2:
            raise XRouteError(f"{path} has no columns of times beside the ids; its first line is {some(names)}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer, whose ends pandas would drop
            given: dict[str, Any] = {"names": range(len(names)), "dtype": {0: "string"}, "skipinitialspace": True}
            table = pd.read_csv(path, header=None, skiprows=1, index_col=False, **given)
    if not len(table):
        raise XRouteError(f"{path} has no rows")
    ids: pd.Series = table[0]
    if ids.isna().any():
        raise AlignmentError(f"{int(ids.isna().sum())} rows of {path} have no id, first line {int(ids.isna().argmax()) + 2}")
    values = table.drop(columns=0)
    for k in map(int, values.columns):
        if pd.api.types.is_numeric_dtype(values[k].dtype):
            continue
        bad = pd.to_numeric(values[k], errors="coerce").isna() & values[k].notna()
        if bad.any():
            raise XRouteError(
                f"column {names[k]!r} of {path} holds what is no number: {some(values[k][bad].unique())}, first at line "
                f"{int(bad.argmax()) + 2}"
            )
    whole = ids.str.fullmatch(r"[-+]?\d{1,18}(\.0*)?").all()
    text = ids.to_numpy(object)
    exact = np.array([int(one.partition(".")[0]) for one in text]) if whole else exact_ids(text, f"ids of {path}", AlignmentError)
    return exact, [name.strip() for name in names[1:]], values.to_numpy(np.float64)


def _parquet(path: Path) -> tuple[NDArray[Any], Sequence[Any], NDArray[Any]]:
    require("pyarrow", feature=f"reading {path.name}", extra="io")
    with reading(path, "as Parquet"):
        table = pd.read_parquet(path)
    if table.index.name is not None or not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(names=table.index.name or INDEX)
    first = INDEX if INDEX in table.columns else table.columns[0]
    values = table.drop(columns=first)
    if not len(values.columns):
        raise XRouteError(f"{path} has no columns of times beside {first!r}")
    words = [str(c) for c in values.columns if not pd.api.types.is_numeric_dtype(values[c].dtype)]
    if words:
        raise XRouteError(f"columns {some(words)} of {path} hold no numbers, where a column is a time of discharge or inflow")
    ids = exact_ids(table[first].to_numpy(), f"{first} of {path}", AlignmentError)
    return ids, list(values.columns), values.to_numpy(np.float64, na_value=np.nan)


def _times(names: Sequence[Any], path: Path, start: Any, dt: Any) -> NDArray[Any]:
    """Times that the names of columns say."""
    text = [str(name).strip() for name in names]
    counted = [int(one) for one in text] if all(re.fullmatch(r"\d{1,6}", one) for one in text) else None
    if counted is not None:
        if start is None or dt is None:
            raise TimeAxisError(
                f"columns of {path} are counted ({some(text, 3)}), not dated: give {argument('start')} (of the column 0) and "
                f"{argument('dt')}"
            )
        return _date(start) + (np.array(counted) * round(seconds(dt) * 1e9)).astype("timedelta64[ns]")
    try:
        stamps = [_stamp(name, one) for name, one in zip(names, text, strict=True)]
    except ValueError as error:
        raise TimeAxisError(
            f"columns of {path} are named by their times, such as 202108231300, and one of them is not: {error}"
        ) from error
    times = np.array(stamps, dtype="datetime64[ns]")
    twice = repeated(times)
    if twice.size:
        raise TimeAxisError(f"{twice.size} times stand twice in {path}, first {twice[0]}")
    if times.size > 1 and not (np.diff(times) > np.timedelta64(0)).all():
        raise TimeAxisError(f"the times of {path} are not in order: sort its columns")
    return times


def _stamp(name: Any, text: str) -> np.datetime64:
    if isinstance(name, pd.Timestamp | datetime | np.datetime64):
        return np.datetime64(pd.Timestamp(name).tz_localize(None), "ns")
    if re.fullmatch(r"\d+", text):
        if len(text) not in FORMATS:
            raise ValueError(f"{text!r} has {len(text)} digits")
        return np.datetime64(datetime.strptime(text, FORMATS[len(text)]), "ns")
    moment = pd.Timestamp(text.replace("_", " "))
    return np.datetime64((moment.tz_convert("UTC") if moment.tz is not None else moment).tz_localize(None), "ns")


def _date(start: Any) -> np.datetime64:
    try:
        return np.datetime64(pd.Timestamp(str(start).replace("_", " ")), "ns")
    except ValueError as error:
        raise TimeAxisError(f"{argument('start', python='start=')} {start!r} is no date") from error
