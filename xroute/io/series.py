"""Series of discharge from files: gauges, releases, what another run gave. `open_known` opens them for ``known=``.

netCDF and Zarr are opened lazily; tables (csv), of one row a value or of one column a reach, are read.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, some
from xroute.files.opening import PathLike, existing, open_dataset
from xroute.guards import reading
from xroute.ids import exact_ids
from xroute.times import with_bounds
from xroute.wording import argument

__all__ = ["open_known"]

_TABLES = (".csv", ".txt", ".tsv")
_TIME = ("time", "date", "datetime", "timestamp")
_REACH = (
    "reach", "id", "river_id", "rivid", "comid", "feature_id", "linkno", "gauge", "gauge_id", "station", "station_id", "site",
    "site_no",
)  # fmt: skip
_VALUE = ("discharge", "known", "flow", "streamflow", "q", "qout", "value", "release")


def open_known(path: PathLike, variable: str | None = None) -> xr.DataArray:
    r"""Open discharge that is known on some reaches, for ``route(..., known=)``.

    Parameters
    ----------
    path
        A netCDF file or Zarr store with a variable on reach and time; or a table (csv) with a header: of a value a row, in
        columns ``time``, ``reach`` and ``discharge``; or of a column a reach, under its id, the first being the time.
        Empty cells are not known. Values of tables have no units: they are taken in those of the run's discharge.
    variable
        Its name, or its column's. By default ``discharge``, or the only one that could be.

    Returns
    -------
    xarray.DataArray
        On time and reach (and what else a file has); of a netCDF file or Zarr store not read yet.

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    XRouteError
        For files that hold no such variable, or cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "releases.csv")
    ...     _ = file.write_text("time,7,12\n2001-01-01 00:00,3.5,\n2001-01-01 01:00,4,2\n")
    ...     open_known(file).sel(reach=7).values.tolist()
    [3.5, 4.0]
    """
    target = existing(path)
    if target.suffix.lower() in _TABLES:
        return _table(target, variable)
    dataset = open_dataset(target)
    name = variable if variable is not None else _only(dataset, target)
    if name not in dataset.data_vars:
        raise XRouteError(f"{target} has no variable {name!r}; it has {some(dataset.data_vars)}")
    return with_bounds(dataset, name)


def _only(dataset: xr.Dataset, path: Path) -> Hashable:
    bounds = {v.attrs.get("bounds") for v in dataset.variables.values()}
    found = [n for n, v in dataset.data_vars.items() if v.ndim and v.dtype.kind in "fiu" and n not in bounds]
    if "discharge" in found:
        return "discharge"
    series = [n for n in found if dataset[n].ndim > 1] or found
    if len(series) != 1:
        what = f"several variables ({some(series)})" if series else f"no variable of numbers ({some(dataset)})"
        raise XRouteError(f"{path} has {what}: name the discharge with {argument('known_variable')}")
    return series[0]


def _table(path: Path, variable: str | None) -> xr.DataArray:
    """Discharge of a table, all of whose cells are read as text first: an id is no float."""
    with reading(path, "as a table"):
        table = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False)
    table.columns = [str(c).strip() for c in table.columns]
    lower = {c.lower(): c for c in table.columns}
    time = next((lower[n] for n in _TIME if n in lower), table.columns[0])
    reach = next((lower[n] for n in _REACH if n in lower), None)
    times = _times(table[time], path, time)
    if reach is None:
        columns = [c for c in table.columns if c != time]
        values = np.stack([_numbers(table[c], path, c) for c in columns], axis=1) if columns else np.empty((len(times), 0))
        return _labelled(values, times, _ids(columns, path))
    if variable is None:
        rest = [c for c in table.columns if c not in (time, reach)]
        variable = next((lower[n] for n in _VALUE if n in lower and lower[n] in rest), rest[0] if len(rest) == 1 else None)
    if variable is None or variable not in table.columns:
        raise XRouteError(
            f"{path} has the columns {some(table.columns)}: name that of the discharge with {argument('known_variable')}"
        )
    long = pd.DataFrame({"time": times, "reach": _ids(table[reach], path), "value": _numbers(table[variable], path, variable)})
    twice = long.duplicated(["time", "reach"])
    if twice.any():
        row = long[twice].iloc[0]
        raise XRouteError(f"{path} has {int(twice.sum())} values twice, first reach {row['reach']!r} at {row['time']}")
    wide = long.pivot(index="time", columns="reach", values="value")
    return _labelled(wide.to_numpy(), wide.index, wide.columns.to_numpy())


def _labelled(values: NDArray[Any], times: Any, ids: NDArray[Any]) -> xr.DataArray:
    return xr.DataArray(values, {"time": np.asarray(times), "reach": ids}, ("time", "reach"), "discharge")


def _ids(texts: Any, path: Path) -> NDArray[Any]:
    """Ids of a table: integers where all are, else text."""
    plain = [str(t).strip() for t in texts]
    whole = all(t.lstrip("-").isdecimal() and (t == "0" or not t.lstrip("-").startswith("0")) for t in plain)
    return exact_ids(np.array([int(t) for t in plain] if whole else plain), f"ids of {path}", AlignmentError)


def _times(texts: pd.Series, path: Path, name: str) -> pd.DatetimeIndex:
    try:
        times = pd.DatetimeIndex(pd.to_datetime(texts, format="ISO8601"))
    except (ValueError, TypeError) as error:
        raise TimeAxisError(f"{name!r} of {path} are no times such as 2001-01-01 or 2001-01-01 06:00 ({error})") from error
    if times.tz is not None:
        times = times.tz_convert("UTC").tz_localize(None)
    if times.isna().any():
        raise TimeAxisError(f"{name!r} of {path} is empty in row {int(np.flatnonzero(times.isna())[0]) + 1}")
    return times


def _numbers(texts: pd.Series, path: Path, name: str) -> NDArray[np.float64]:
    plain = texts.str.strip()
    unknown = plain.str.lower().isin(["", "nan", "na", "null", "none"])
    try:
        values = pd.to_numeric(plain.mask(unknown)).to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise XRouteError(f"{name!r} of {path} is not all numbers ({error})") from error
    fills = np.isin(values, FILLS)
    if fills.any():
        raise XRouteError(
            f"{name!r} of {path} is {values[fills][0]:g} in {int(fills.sum())} rows, first in row {int(fills.argmax()) + 1}, "
            "which is no discharge: empty the cells where it is not known"
        )
    return values
