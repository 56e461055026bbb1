"""Series of discharge as people have them: DataArrays, Datasets, tables in memory, and files of all these.

netCDF and Zarr are opened lazily; tables (csv, Parquet), of one row a value or of one column a reach, are read. Which reach a
series is of (`xroute.gauges`), and when (`xroute.step_match`), is told by others from its labels.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, some
from xroute.files.opening import PathLike, existing, open_dataset
from xroute.gauges import GAUGE_DIMS, REACH_NAMES
from xroute.guards import reading
from xroute.ids import exact_ids
from xroute.long_tables import NEEDED, is_parquet, read_frame, series_of_frame
from xroute.times import with_bounds
from xroute.units import without_pint
from xroute.wording import argument

__all__ = ["SeriesLike", "as_series", "bears_times", "candidates", "is_from_table", "is_series_table", "open_series"]

SeriesLike = xr.DataArray | xr.Dataset | pd.DataFrame | pd.Series | str | os.PathLike[str]
"""A DataArray, a Dataset with one discharge, a table (of one column a reach, or of one row a value), or the path of one."""
_TABLES = (".csv", ".txt", ".tsv")
_DATE = r"\s*\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b"
"""How dates look, whatever stands first in them."""
_TIME = ("time", "date", "datetime", "timestamp")
_REACH = (*REACH_NAMES, *GAUGE_DIMS)
_VALUE = ("discharge", "observed", "known", "flow", "streamflow", "q", "qout", "value", "release")


@dataclass(frozen=True)
class _Source:
    """What a series is called in messages, and what names the variable that it is.

    Attributes
    ----------
    name
        Path or words.
    option
        The argument that names a variable; None where there is none in Python, and the caller chooses one.
    """

    name: str
    option: str

    def how_to_choose(self, which: str = "the discharge") -> str:
        """Advice where there are several variables or columns."""
        python = "give one alone, observed=dataset[NAME]" if self.option == "observed_variable" else None
        text = argument(self.option, python=python)
        return text if text == python else f"name {which} with {text}"


def is_series_table(path: PathLike) -> bool:
    """Whether a path is that of a table of series, by its suffix."""
    return Path(path).suffix.lower() in _TABLES


def bears_times(path: PathLike) -> bool:
    """Whether a table has times, by a column's name or how its first cells look: it is meant as a series, readable or not."""
    head = _read(existing(path), nrows=5)
    named = any(str(c).strip().lower() in _TIME for c in head.columns)
    return named or (head.size > 0 and bool(head.iloc[:, 0].str.match(_DATE).any()))


def is_from_table(given: SeriesLike) -> bool:
    """Whether a series comes from a table, in memory or a file: there ids are text or numbers as it happens."""
    if isinstance(given, xr.DataArray):
        given = str(given.encoding.get("source", ""))
    if isinstance(given, str | os.PathLike):
        return is_series_table(given) or is_parquet(given)
    return isinstance(given, pd.DataFrame | pd.Series)


def open_series(path: PathLike, variable: str | None = None, *, option: str = "known_variable") -> xr.DataArray:
    """Open a series of discharge: a netCDF file or Zarr store, not read yet, or a table.

    Parameters
    ----------
    path, variable
        As `xroute.io.open_known` has them.
    option
        The argument that names ``variable``, for messages.
    """
    target = existing(path)
    source = _Source(str(target), option)
    if is_parquet(target):
        frame, kinds = read_frame(target)
        if set(NEEDED) <= set(frame.columns):
            found = series_of_frame(frame, str(target), kinds, variable=variable)
        else:
            found = _of_frame(frame, variable, source)
        found.encoding["source"] = str(target)
        return found
    if is_series_table(target):
        found = _of_texts(_read(target), variable, source)
        found.encoding["source"] = str(target)
        return found
    return _of_dataset(open_dataset(target), variable, source)


def _read(path: Path, **options: Any) -> pd.DataFrame:
    """A table as text.

    Raises
    ------
    XRouteError
        If it is none, or empty.
    """
    if not path.stat().st_size:
        raise XRouteError(f"{path} is empty. Write it again: a column of times and one a gauge")
    with reading(path, "as a table"):
        return pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, **options)


def as_series(given: SeriesLike, variable: str | None = None, *, what: str = "observed discharge") -> xr.DataArray:
    """A series of discharge as a DataArray, from whatever holds one.

    Parameters
    ----------
    given
        A DataArray, which stays as it is but for units that pint has attached; a Dataset with a variable ``discharge`` or only
        one that could be; a table of pandas with times as its index and ids as its columns, or with a row a value in columns
        ``time``, ``reach`` and ``discharge``; a pandas Series with times as its index and an id as its name; or the path of a
        netCDF file, a Zarr store or a csv of these forms.
    variable
        Its name, where there are several.
    what
        What it is called in messages.
    """
    if isinstance(given, xr.DataArray):
        return without_pint(given, what)
    source = _Source(f"the {what}", "observed_variable")
    if isinstance(given, xr.Dataset):
        return without_pint(_of_dataset(given, variable, source), what)
    if isinstance(given, pd.Series):
        if given.name is None:
            raise AlignmentError(f"the {what} is a pandas Series without a name: give it the id of its reach, .rename(ID)")
        attrs, given = given.attrs, given.to_frame()
        given.attrs = attrs
    if isinstance(given, pd.DataFrame):
        units = given.attrs.get("units")
        found = _of_frame(given, variable, source)
        return found if units is None else found.assign_attrs(units=units)
    if isinstance(given, str | os.PathLike):
        return open_series(given, variable, option="observed_variable")
    raise XRouteError(
        f"{what} is a DataArray, a Dataset, a DataFrame or the path of a file, not a {type(given).__name__}"
    )


def _of_dataset(dataset: xr.Dataset, variable: str | None, source: _Source) -> xr.DataArray:
    name = variable if variable is not None else _only(dataset, source)
    if name not in dataset.data_vars:
        raise XRouteError(f"{source.name} has no variable {name!r}; it has {some(dataset.data_vars)}")
    return with_bounds(dataset.set_coords(_bearers(dataset, name)), name)


def _bearers(dataset: xr.Dataset, name: Hashable | None = None) -> list[Hashable]:
    """Variables that bear ids of reaches along gauges, which files often have beside their coordinates."""
    return [n for n, v in dataset.data_vars.items() if n != name and str(n).lower() in REACH_NAMES and v.ndim < 2]


def _of_frame(frame: pd.DataFrame, variable: str | None, source: _Source) -> xr.DataArray:
    """Of a table in memory: its index is the time, or a column is."""
    if isinstance(frame.index, pd.MultiIndex) or isinstance(frame.columns, pd.MultiIndex):
        raise AlignmentError(f"{source.name} is a table with a MultiIndex: reset_index(), or one column a reach")
    lower = {str(c).strip().lower(): c for c in frame.columns}
    time = next((lower[n] for n in _TIME if n in lower), None)
    if time is None:
        if isinstance(frame.index, pd.RangeIndex) or pd.api.types.is_numeric_dtype(frame.index):
            raise TimeAxisError(f"{source.name} is a table without times: make them its index, or a column 'time'")
        if len(frame.columns) < 2 or not any(n in lower for n in _REACH):
            return _of_columns(frame, source)
        time, frame = "time", frame.rename_axis("time").reset_index()
    reach = next((lower[n] for n in _REACH if n in lower), None)
    if reach is None:
        return _of_columns(frame.set_index(time), source)
    index = _index(pd.Index(frame[time]), source)
    return _long(index, frame[reach], _floats(frame, _value(frame, lower, (time, reach), variable, source), source), source)


def _of_columns(frame: pd.DataFrame, source: _Source) -> xr.DataArray:
    """A table with times as its index, and a column a reach."""
    values = [_floats(frame, c, source) for c in frame.columns]
    values_2d = np.stack(values, axis=1) if values else np.empty((len(frame), 0))
    return _labelled(values_2d, _index(frame.index, source), _ids(list(frame.columns), source))


def _index(index: pd.Index, source: _Source) -> Any:
    """Times of a table in memory; text that is ISO 8601 is read, time zones are refused."""
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    zone = getattr(index, "tz", None)
    if zone is not None:
        raise TimeAxisError(
            f"times of {source.name} bear a time zone ({zone}), which the runoff's do not. In UTC: "
            'table.tz_convert("UTC").tz_localize(None)'
        )
    if len(index) and isinstance(index[0], str):
        return _times(pd.Series(list(index)), source, str(index.name or "index"))
    if index.isna().any():
        raise TimeAxisError(f"times of {source.name} are empty in row {int(np.flatnonzero(index.isna())[0]) + 1}")
    return index


def _floats(frame: pd.DataFrame, column: Any, source: _Source) -> NDArray[np.float64]:
    try:
        return frame[column].to_numpy(np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        return _numbers(frame[column].astype(str), source, str(column))


def candidates(dataset: xr.Dataset) -> list[Hashable]:
    """Variables that may be series of discharge: numbers along something that are no bounds, nor ids of reaches."""
    bounds = {v.attrs.get("bounds") for v in dataset.variables.values()}
    found = [n for n, v in dataset.data_vars.items() if v.ndim and v.dtype.kind in "fiu" and n not in bounds]
    return [n for n in found if n not in _bearers(dataset)] or found


def _only(dataset: xr.Dataset, source: _Source) -> Hashable:
    found = candidates(dataset)
    if "discharge" in found:
        return "discharge"
    series = [n for n in found if dataset[n].ndim > 1] or found
    if len(series) != 1:
        what = f"several variables ({some(series)})" if series else f"no variable of numbers ({some(dataset)})"
        raise XRouteError(f"{source.name} has {what}: {source.how_to_choose()}")
    return series[0]


def _of_texts(table: pd.DataFrame, variable: str | None, source: _Source) -> xr.DataArray:
    """Discharge of a table, all of whose cells are text: an id is no float."""
    table.columns = [str(c).strip() for c in table.columns]
    lower = {c.lower(): c for c in table.columns}
    time = next((lower[n] for n in _TIME if n in lower), table.columns[0])
    reach = next((lower[n] for n in _REACH if n in lower), None)
    times = _times(table[time], source, time)
    if reach is None:
        columns = [c for c in table.columns if c != time]
        values = np.stack([_numbers(table[c], source, c) for c in columns], axis=1) if columns else np.empty((len(times), 0))
        return _labelled(values, times, _ids(columns, source))
    variable = _value(table, lower, (time, reach), variable, source)
    return _long(times, table[reach], _numbers(table[variable], source, variable), source)


def _value(
    table: pd.DataFrame, lower: Mapping[str, Any], taken: tuple[Any, Any], variable: str | None, source: _Source
) -> Any:
    """The column of values in a table of one row a value."""
    rest = [c for c in table.columns if c not in taken]
    if variable is None:
        variable = next((lower[n] for n in _VALUE if n in lower and lower[n] in rest), rest[0] if len(rest) == 1 else None)
    if variable is None or variable not in table.columns:
        how = source.how_to_choose("that of the discharge")
        raise XRouteError(f"{source.name} has the columns {some(table.columns)}: {how}")
    return variable


def _long(times: Any, reach: pd.Series, values: NDArray[np.float64], source: _Source) -> xr.DataArray:
    """A series of a table of one row a value."""
    long = pd.DataFrame({"time": times, "reach": _ids(reach, source), "value": values})
    twice = long.duplicated(["time", "reach"])
    if twice.any():
        first, time = long.loc[twice, "reach"].values[:1], long.loc[twice, "time"].iloc[0]
        raise XRouteError(f"{source.name} has {int(twice.sum())} values twice, first reach {some(first)} at {time}")
    wide = long.pivot(index="time", columns="reach", values="value")
    return _labelled(wide.to_numpy(), wide.index, wide.columns.to_numpy())


def _labelled(values: NDArray[Any], times: Any, ids: NDArray[Any]) -> xr.DataArray:
    return xr.DataArray(values, {"time": np.asarray(times), "reach": ids}, ("time", "reach"), "discharge")


def _ids(texts: Any, source: _Source) -> NDArray[Any]:
    """Ids of a table: integers where all are, else text."""
    plain = [str(t).strip() for t in texts]
    whole = all(t.lstrip("-").isdecimal() and (t == "0" or not t.lstrip("-").startswith("0")) for t in plain)
    return exact_ids(np.array([int(t) for t in plain] if whole and plain else plain), f"ids of {source.name}", AlignmentError)


def _times(texts: pd.Series, source: _Source, name: str) -> pd.DatetimeIndex:
    try:
        times = pd.DatetimeIndex(pd.to_datetime(texts, format="ISO8601"))
    except (ValueError, TypeError) as error:
        why = " ".join(str(error).split("You might")[0].split())
        said = f"{name!r} of {source.name} are no times such as 2001-01-01 or 2001-01-01 06:00 ({why})"
        how = ". Write them so, for 01/02 is two days: pandas.to_datetime(table[NAME], dayfirst=True) reads days first"
        raise TimeAxisError(said + (how if texts.astype(str).str.match(_DATE).any() else "")) from error
    if times.tz is not None:
        times = times.tz_convert("UTC").tz_localize(None)
    if times.isna().any():
        raise TimeAxisError(f"{name!r} of {source.name} is empty in row {int(np.flatnonzero(times.isna())[0]) + 1}")
    return times


def _numbers(texts: pd.Series, source: _Source, name: str) -> NDArray[np.float64]:
    plain = texts.str.strip()
    unknown = plain.str.lower().isin(["", "nan", "na", "null", "none"])
    try:
        values = pd.to_numeric(plain.mask(unknown)).to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        wrong = (pd.to_numeric(plain, errors="coerce").isna() & ~unknown).to_numpy()
        first = int(wrong.argmax())
        comma = ", and a decimal point is needed, not a comma" if plain.iloc[first].count(",") == 1 else ""
        raise XRouteError(
            f"{name!r} of {source.name} is not all numbers: {int(wrong.sum())} cells are none, first {plain.iloc[first]!r} in "
            f"row {first + 1}. Empty the cells where it is not known{comma}"
        ) from error
    fills = np.isin(values, FILLS)
    if fills.any():
        raise XRouteError(
            f"{name!r} of {source.name} is {values[fills][0]:g} in {int(fills.sum())} rows, first in row "
            f"{int(fills.argmax()) + 1}, which is no discharge: empty the cells where it is not known"
        )
    return values
