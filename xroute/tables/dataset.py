"""The network Dataset of a data frame: ids, links, columns and units, as a preset or the caller says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import NetworkError, ParameterError, some, warn
from xroute.ids import exact_ids, positions_of, repeated, within
from xroute.schemes import name_default_scheme
from xroute.tables.geometry import add_places, as_geometry, odd_columns
from xroute.tables.nexus import collapse, is_nexus
from xroute.tables.presets import Preset, find_preset
from xroute.topology import is_marker

__all__ = ["dataset_from_dataframe"]


def dataset_from_dataframe(
    df: Any,
    reach: str | None = None,
    downstream: str | None = None,
    preset: str | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """Make the network Dataset of a table with a row for each reach.

    Parameters
    ----------
    df
        The table: a data frame of pandas or GeoPandas, or what has ``to_pandas`` (pyarrow, polars). Geometry (of
        GeoPandas, or as WKB or WKT under any name) is not kept, but gives ``lon`` and ``lat`` when the table has none.
    reach, downstream
        Columns of the reach's own id and of the one downstream. The index may be named, too.
    preset
        Name of a hydrography (see `PRESETS`), whose columns get our names and units, in capitals or not. Without it and
        without ``reach`` and ``downstream``, it is told from the columns when exactly one fits.
    units
        Units of columns, by the column's own name or ours.

    Returns
    -------
    xarray.Dataset
        On ``reach``: ``downstream`` and every other column. ``k`` and ``x`` together make it a Muskingum network. Where a
        hydrography names several reaches downstream (SWORD), links with fractions instead. NextGen's nexuses are
        collapsed: their rows are no reaches, and ``nexus`` says which one each reach drains to.

    Raises
    ------
    NetworkError
        No table, no rows, or columns that cannot be told or stand twice; ids that are missing or not exact whole numbers;
        nexuses of NextGen whose rows are not there.
    ParameterError
        Units for a column that is not there, or two columns for one variable.

    Warns
    -----
    UserWarning
        For columns that no variable can be made of, which are left out, and for bifurcations without fractions.

    Examples
    --------
    >>> table = pd.DataFrame({"COMID": [11, 12], "NextDownID": [12, 0], "lengthkm": [3.5, 2.0]})
    >>> dataset_from_dataframe(table)["length"].attrs["units"]
    'km'
    """
    table = _data_frame(df)
    if units is not None and not isinstance(units, Mapping):
        raise ParameterError(f"units are a mapping of columns to units, not {units!r}")
    chosen = find_preset(table, reach, downstream, preset)
    reach, downstream = reach or chosen.reach, downstream or chosen.downstream
    for column in (reach, downstream):
        if column not in table.columns:
            raise NetworkError(f"the table has no column {column!r}; it has {some(table.columns)}")
    ids = _ids(table[reach], reach)
    if chosen.several:
        links = _several(table[downstream], ids, downstream)
    else:
        to = _ids(table[downstream], downstream, missing=_outlet_for_missing(ids))
        if chosen.key is not None:
            to = _by_key(table, chosen.key, ids, to)
        nexus: dict[str, Any] = {}
        if ids.dtype.kind == to.dtype.kind == "U" and is_nexus(to).any():
            drains_to = to
            kept, to = collapse(ids, to)
            table, ids = table.loc[kept], ids[kept]
            nexus = {"nexus": ("reach", drains_to[kept], {"long_name": "nexus that the flowpath drains to"})}
        links = {"downstream": ("reach", to, {"long_name": "id downstream"}), **nexus}
    dataset = xr.Dataset(links, coords={"reach": ("reach", ids, _REACH_ATTRS)})
    geometry, left_out = odd_columns(table.drop(columns=[reach, downstream]))
    if left_out:
        warn(f"columns {some(left_out)} hold no numbers, text or dates, and are left out")
    dataset = _add_columns(dataset, table.drop(columns=[reach, downstream, *geometry, *left_out]), chosen)
    if geometry:
        active = getattr(df, "active_geometry_name", None)
        dataset = add_places(dataset, as_geometry(table[active if active in geometry else geometry[0]]))
    dataset = _add_units(dataset, units or {}, chosen)
    name_default_scheme(dataset)
    return dataset


_REACH_ATTRS = {"cf_role": "timeseries_id", "long_name": "reach id"}


def _data_frame(df: Any) -> pd.DataFrame:
    """A table of any library as a data frame of pandas, checked, with a named index among its columns."""
    if not isinstance(df, pd.DataFrame):
        arrow = df.to_arrow() if hasattr(df, "to_arrow") else df  # polars, whose integers with gaps would become floats
        if type(arrow).__module__.startswith("pyarrow") and hasattr(arrow, "to_pandas"):
            df = arrow.to_pandas(types_mapper=pd.ArrowDtype)
        if not isinstance(df, pd.DataFrame):
            raise NetworkError(f"a table is a pandas.DataFrame, not a {type(df).__name__}")
    if isinstance(df.columns, pd.MultiIndex):
        raise NetworkError(
            f"the table's columns have {df.columns.nlevels} levels ({some(df.columns, 3)}): give them one name each, e.g. "
            "df.columns = df.columns.get_level_values(-1)"
        )
    table = df
    if any(name is not None for name in df.index.names):
        both = [name for name in df.index.names if name is not None and name in df.columns]
        if both:
            raise NetworkError(f"{some(both)} is the name of the index and of a column: df.reset_index(drop=True)")
        table = pd.DataFrame(df).reset_index() if not hasattr(df, "geometry") else df.reset_index()
    twice = table.columns[table.columns.duplicated()].unique()
    if len(twice):
        raise NetworkError(f"columns stand twice in the table: {some(twice)}; drop or rename one")
    if not len(table):
        raise NetworkError(f"the table has no rows; its columns are {some(table.columns)}")
    return table


def _outlet_for_missing(ids: np.ndarray) -> int | str:
    """Marker to stand for a missing downstream id: one that no reach bears."""
    if ids.dtype.kind == "U":
        return ""
    return -1 if -1 not in ids else min(int(ids.min()), 0) - 1


def _ids(column: pd.Series, name: str, missing: int | str | None = None) -> np.ndarray:
    """Ids as int64 or text, exact; missing ones become ``missing``, or are an error."""
    absent = column.isna().to_numpy()
    if absent.any():
        if missing is None:
            raise NetworkError(
                f"{int(absent.sum())} rows have no id in column {name!r}, first row {int(absent.argmax())}"
            )
        present = exact_ids(column[~absent].to_numpy(), f"column {name!r}")
        missing = "" if present.dtype.kind == "U" and present.size else missing
        ids = np.full(absent.size, missing, np.result_type(present, np.asarray(missing)) if present.size else None)
        ids[~absent] = present
        return ids
    return exact_ids(column.to_numpy(), f"column {name!r}")


def _by_key(table: pd.DataFrame, key: str, ids: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Ids downstream, where the table names them by another of its columns; a number that it does not hold stays as it is."""
    if key not in table.columns:
        raise NetworkError(f"the table has no column {key!r}, whose numbers the ids downstream are; it has {some(table.columns)}")
    keys = _ids(table[key], key)
    twice = repeated(keys)
    if twice.size:
        raise NetworkError(f"{twice.size} numbers stand more than once in column {key!r}: {some(twice)}")
    at = positions_of(to, keys)
    unknown = (at < 0) & ~is_marker(to)
    if within(to[unknown], ids).any():  # it would be taken for the reach of that id
        raise NetworkError(
            f"{int(unknown.sum())} reaches drain to numbers that column {key!r} does not hold: {some(to[unknown])}. Add their "
            "rows, or mark them as outlets (0)"
        )
    return np.where(at >= 0, ids[at], to)


_NOWHERE = ("", "NA", "NODATA", "None", "nan", "NaN", "<NA>")


def _several(column: pd.Series, ids: np.ndarray, name: str) -> dict[str, Any]:
    """Links of a column that names the reaches downstream with blanks between them, in equal shares where several."""
    text = ["" if absent else str(v) for v, absent in zip(column.tolist(), column.isna().tolist(), strict=True)]
    named = [[t for t in re.split(r"[\s,;]+", one) if t not in _NOWHERE] for one in text]
    names = [t for one in named for t in one]
    if ids.dtype.kind == "i":
        wrong = [t for t in names if not re.fullmatch(r"[-+]?\d{1,18}(\.0*)?", t)]
        if wrong:
            raise NetworkError(f"column {name!r}: {len(wrong)} entries are no whole numbers: {some(wrong)}")
        targets = np.array([int(t.partition(".")[0]) for t in names], np.int64)
    else:
        targets = np.array(names, dtype=str)
    n_to = np.array([len(one) for one in named])
    source = np.repeat(np.arange(ids.size), n_to)
    leaves = is_marker(targets) & ~within(targets, ids)
    source, targets = source[~leaves], targets[~leaves]
    n_out = np.bincount(source, minlength=ids.size)
    if (n_out <= 1).all():
        outlet = 0 if ids.dtype.kind == "i" and 0 not in ids else _outlet_for_missing(ids)
        to = np.full(ids.size, outlet, np.result_type(targets, np.asarray(outlet)) if targets.size else None)
        to[source] = targets
        return {"downstream": ("reach", to, {"long_name": "id downstream"})}
    warn(
        f"{int((n_out > 1).sum())} reaches drain to several, and the table does not say in which shares: equal ones are "
        f"taken, at {some(ids[n_out > 1])}. Set 'fraction' (link) of the Dataset where you know better"
    )
    return {
        "upstream_reach": ("link", ids[source], {"long_name": "id upstream"}),
        "downstream_reach": ("link", targets, {"long_name": "id downstream"}),
        "fraction": ("link", 1.0 / n_out[source], {"units": "1"}),
    }


def _add_columns(dataset: xr.Dataset, table: pd.DataFrame, preset: Preset) -> xr.Dataset:
    """Every column as a variable, under our name and with units where the preset knows them."""
    meanings = [preset.means(column) for column in table.columns]
    renamed = [m[0] if m else str(c) for m, c in zip(meanings, table.columns, strict=True)]
    for name in {n for n in renamed if renamed.count(n) > 1}:
        same = [k for k, n in enumerate(renamed) if n == name]
        if sum(preset.goes_first(table.columns[k]) for k in same) == 1:
            for k in same:
                if not preset.goes_first(table.columns[k]):
                    renamed[k] = str(table.columns[k])
    duplicate = sorted({name for name in renamed if renamed.count(name) > 1})
    for position, column in enumerate(table.columns):
        name = renamed[position]
        if name in duplicate and name != str(column) and name in map(str, table.columns):
            name = str(column)  # our own name is already taken by a column of that name: keep both as they are
        elif name in duplicate and name != str(column):
            clash = [str(c) for c, n in zip(table.columns, renamed, strict=True) if n == name]
            raise ParameterError(f"columns {some(clash)} all mean {name!r}; drop all but one")
        if name in ("reach", "downstream"):
            name = f"{name}_"
        series = table[column]
        values: np.ndarray
        if series.dtype.kind == "c":
            raise ParameterError(f"column {column!r} holds complex numbers")
        if pd.api.types.is_bool_dtype(series.dtype) and not series.isna().any():
            values = series.to_numpy(dtype=bool)
        elif pd.api.types.is_numeric_dtype(series.dtype):
            values = _numbers(series)
        elif pd.api.types.is_datetime64_any_dtype(series.dtype):
            values = (series if series.dt.tz is None else series.dt.tz_convert("UTC").dt.tz_localize(None)).to_numpy()
        else:
            text = series.astype(object).where(series.notna(), "")
            values = np.array([str(value) for value in text], dtype=str) if len(text) else np.zeros(0, "<U1")
        meaning = meanings[position]
        attrs = {"units": meaning[1]} if meaning and meaning[0] == name else {}
        dataset[name] = ("reach", values, attrs)
    places = [name for name in ("lon", "lat") if name in dataset]
    return dataset.set_coords(places)


def _numbers(series: pd.Series) -> np.ndarray:
    """A column of numbers; whole ones never lose digits: with gaps, those too large for floating point become text."""
    if not pd.api.types.is_integer_dtype(series.dtype):
        return series.to_numpy(np.float64, na_value=np.nan)
    absent = series.isna().to_numpy()
    present = exact_ids(series[~absent].to_numpy(), f"column {series.name!r}", ParameterError)
    if not absent.any():
        return present
    if np.abs(present).max(initial=0) < 2**53:
        return series.to_numpy(np.float64, na_value=np.nan)
    text = np.full(absent.size, "", f"<U{len(str(np.iinfo(np.int64).min))}")
    text[~absent] = present.astype(str)
    return text


def _add_units(dataset: xr.Dataset, units: Mapping[str, str], preset: Preset) -> xr.Dataset:
    for column, unit in units.items():
        name = column if column in dataset.variables else (preset.means(column) or (column, ""))[0]
        if name not in dataset.variables:
            raise ParameterError(
                f"units are given for {column!r}, but the table has no such column; it has {some(dataset)}"
            )
        dataset[name].attrs["units"] = unit
    return dataset
