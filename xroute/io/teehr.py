"""Read and write discharge in the layout of TEEHR, which evaluates the National Water Model and NextGen: Parquet, a value a row.

Columns are those of its tables of primary and secondary time series: ``reference_time`` (empty but for forecasts),
``value_time``, ``value``, ``variable_name``, ``configuration_name``, ``unit_name``, ``location_id`` (text) and ``member`` (text,
empty without members).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, require, some
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.ids import exact_ids, repeated
from xroute.io.layout_series import units_of
from xroute.io.reader import ReaderOption
from xroute.io.writer import Outgoing, Writer
from xroute.long_tables import KINDS, read_frame, series_of_frame
from xroute.spacing import ROUNDED
from xroute.stamps import stamps
from xroute.time_dims import REFERENCE, find_time_dim
from xroute.times import time_step
from xroute.units import flux_in_si, require_array

__all__ = ["read_discharge", "write_discharge"]

logger = logging.getLogger(__name__)

UNITS = "m^3/s"
"""How TEEHR spells m3 s-1."""
MEMBERS = ("member", "ensemble", "realization", "number")
STARTS = ("reference_time", *REFERENCE)
ROWS = 2_000_000
"""Rows that are made at a time."""
DAY, HOUR = 86_400.0, 3600.0


def read_discharge(
    path: PathLike, *, variable_name: str | None = None, configuration_name: str | None = None, location_prefix: str = ""
) -> xr.DataArray:
    """Read discharge of a table in TEEHR's layout, to be scored (`xroute.scores`) or known (`xroute.route`).

    Parameters
    ----------
    path
        The Parquet file, or a folder of such files. Rows may stand in any order.
    variable_name, configuration_name
        Which one, where there are several.
    location_prefix
        What all ids of locations begin with, and those of reaches do not, such as ``"nwm30-"``.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach), before them ``reference_time`` and ``member`` where there are several, in the units of
        ``unit_name``. NaN where there is no row. Ids are whole numbers where all are plain ones, unless they were text when
        xroute wrote the table.

    Raises
    ------
    XRouteError
        For columns that are missing, several variables or configurations of which none is chosen, and values that stand twice.
    UnitsError
        For several units.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import teehr
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 3)).route(network)
    >>> path = f"{tempfile.mkdtemp()}/simulated.parquet"
    >>> teehr.write_discharge(discharge, path)
    >>> bool((teehr.read_discharge(path) == discharge).all())
    True
    """
    frame, kinds = read_frame(path)
    return series_of_frame(
        frame, str(path), kinds, variable=variable_name, configuration=configuration_name, location_prefix=location_prefix
    )


def write_discharge(
    discharge: xr.DataArray,
    path: PathLike,
    *,
    configuration_name: str = "xroute",
    variable_name: str | None = None,
    location_prefix: str = "",
    overwrite: bool = False,
) -> None:
    """Write discharge in TEEHR's layout, a value a row.

    Parameters
    ----------
    discharge : (time, reach)
        In any order of dimensions, in any units of a volume flux; ``member`` and ``reference_time`` may be beside them. A value
        that is NaN has no row. Times are written as they are, whatever they are of their steps.
    path
        The Parquet file.
    configuration_name
        What the run is called: letters, digits and underscores.
    variable_name
        By default ``streamflow_hourly_mean``, ``streamflow_daily_mean``, ..., by the step and ``cell_methods``
        (``_inst`` for values of an instant), or ``streamflow`` where steps are of neither.
    location_prefix
        What to put before the ids of reaches, such as ``"nwm30-"``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, XRouteError
        For reaches that stand twice, times that are no dates of the standard calendar, units of something else, other
        dimensions, and names that TEEHR does not take.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> import xroute
    >>> from xroute.io import teehr
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = f"{tempfile.mkdtemp()}/simulated.parquet"
    >>> teehr.write_discharge(ds.runoff.isel(time=slice(0, 3)).route(network), path)
    >>> pd.read_parquet(path).loc[0, ["location_id", "unit_name", "variable_name"]].tolist()
    ['1', 'm^3/s', 'streamflow_hourly_mean']
    """
    array = require_array(discharge, "discharge")
    starts = [d for d in STARTS if d in array.dims]
    time = find_time_dim(array, "time" if starts and "time" in array.dims and "time" not in starts else None)
    roles = _roles(array, time)
    factor = flux_in_si(units_of(array, "discharge"), "discharge")
    names = {"variable_name": variable_name or _variable(array, time), "configuration_name": configuration_name}
    strange = [text for text in names.values() if not text.isascii() or not text.replace("_", "").isalnum()]
    if strange:
        raise XRouteError(f"names of TEEHR are of letters, digits and underscores, which {some(strange)} is not")
    labels, kinds = _labels(array, roles, location_prefix)
    parquet = require("pyarrow.parquet", feature="writing Parquet", extra="io")
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        schema = _schema(array, roles, kinds, labels)
        with parquet.ParquetWriter(draft, schema) as file:
            for block in _blocks(array, roles, labels, names | {"unit_name": UNITS}, factor, schema):
                file.write_table(block)


def _roles(array: xr.DataArray, time: Any) -> dict[str, Any]:
    """Dimensions by the column that they become."""
    roles = {
        "reference_time": next((d for d in STARTS if d in array.dims and d != time), None),
        "member": next((d for d in MEMBERS if d in array.dims), None), "value_time": time, "location_id": "reach",
    }  # fmt: skip
    if "reach" not in array.dims or "reach" not in array.coords:
        raise AlignmentError(f"discharge has dimensions {array.dims} and no coordinate 'reach' along one that names its reaches")
    others = [d for d in array.dims if d not in roles.values()]
    if others:
        raise AlignmentError(f"the layout has no place for {some(others)}: choose one entry, isel, and write a file of each")
    return roles


def _labels(array: xr.DataArray, roles: dict[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Labels of each column, as it has them, and what ids and members were."""
    labels: dict[str, Any] = {}
    kinds = {}
    for column, dim in roles.items():
        if dim is None:
            scalar = next((array[n] for n in STARTS if n in array.coords and array[n].ndim == 0), None)
            if column == "reference_time" and scalar is not None and scalar.dtype.kind == "M":
                labels[column] = scalar.values.reshape(1).astype("datetime64[ns]")
            continue
        if column in ("value_time", "reference_time"):
            times = stamps(array, dim, counted=True)
            of_forecast = column == "value_time" and "reference_time" in labels
            if times is not None and times.dtype.kind == "m" and of_forecast:
                labels[column] = times.astype("timedelta64[ns]")
                continue
            if times is None or times.dtype.kind != "M":
                raise TimeAxisError(
                    f"{str(dim)!r} of the discharge are no dates of the standard calendar, and no leads of a forecast "
                    "whose start is known: the layout has no others"
                )
            labels[column] = times.astype("datetime64[ns]")
            continue
        values = array[dim].values if dim in array.coords else np.arange(1, array.sizes[dim] + 1)
        ids = exact_ids(values, f"discharge {str(dim)!r}", AlignmentError)
        twice = repeated(ids)
        if twice.size:
            raise AlignmentError(f"{twice.size} entries of {str(dim)!r} stand more than once: {some(twice)}")
        kinds[column] = "str" if ids.dtype.kind == "U" else "int64"
        labels[column] = [f"{prefix if column == 'location_id' else ''}{one}" for one in ids.tolist()]
    return labels, kinds


def _variable(array: xr.DataArray, time: Any) -> str:
    """Name of the variable by its step, and whether it is of an instant or a mean."""
    try:
        step = time_step(array, time)
    except TimeAxisError:
        return "streamflow"
    name = next((word for word, size in (("hourly", HOUR), ("daily", DAY)) if step and abs(step - size) <= ROUNDED * size), None)
    of = "inst" if "point" in str(array.attrs.get("cell_methods", "")) else "mean"
    return "streamflow" if name is None else f"streamflow_{name}_{of}"


def _schema(array: xr.DataArray, roles: dict[str, Any], kinds: dict[str, str], labels: dict[str, Any]) -> Any:
    arrow = require("pyarrow", feature="writing Parquet", extra="io")
    stamped = [labels[c] for c in ("value_time", "reference_time") if c in labels]
    fine = any((t.astype(np.int64) % 10**6).any() for t in stamped)  # of nanoseconds
    when = arrow.timestamp("ns" if fine else "ms")
    value = arrow.from_numpy_dtype(array.dtype if array.dtype.kind == "f" else np.float64)
    text = arrow.string()
    return arrow.schema(
        [("reference_time", when), ("value_time", when), ("value", value), ("variable_name", text), ("configuration_name", text),
         ("unit_name", text), ("location_id", text), ("member", text)],
        metadata={KINDS: json.dumps(kinds).encode()},
    )  # fmt: skip


def _blocks(
    array: xr.DataArray, roles: dict[str, Any], labels: dict[str, Any], names: dict[str, str], factor: float, schema: Any
) -> Iterator[Any]:
    """Tables of some steps each; rows without a value are left out."""
    arrow = require("pyarrow", feature="writing Parquet", extra="io")
    dims = [roles[c] for c in ("value_time", "reference_time", "member", "location_id") if roles[c] is not None]
    array = array.transpose(*dims)
    column_of = {dim: column for column, dim in roles.items() if dim is not None}
    width = max(1, array.size // max(1, array.sizes[dims[0]]))
    steps = max(1, ROWS // width)
    for begin in range(0, array.sizes[dims[0]], steps):
        part = array.isel({dims[0]: slice(begin, begin + steps)}).values
        there = np.nonzero(~np.isnan(part))
        if there[0].size < part.size:
            logger.info("%d values are missing, and have no row", part.size - there[0].size)
        values = part[there]
        real = part.dtype if part.dtype.kind == "f" else np.float64
        values = values if factor == 1.0 else (values.astype(np.float64) * factor).astype(real)
        columns: dict[str, Any] = {"value": arrow.array(values)}
        for dim, at in zip(dims, there, strict=True):
            column = column_of[dim]
            known = labels[column]
            at = at + (begin if dim == dims[0] else 0)
            if column in ("value_time", "reference_time"):
                columns[column] = arrow.array(known[at])
            else:
                columns[column] = arrow.DictionaryArray.from_arrays(arrow.array(at), arrow.array(known, arrow.string()))
        for column in schema.names:
            if column not in columns:
                one = pd.Timestamp(labels[column][0]) if column in labels else names.get(column)
                filled = arrow.scalar(one, schema.field(column).type)
                columns[column] = arrow.repeat(filled, values.size)
        if labels["value_time"].dtype.kind == "m":  # leads, of the forecast of each row
            since = labels["reference_time"]
            first = roles["reference_time"]
            begun = since[there[dims.index(first)] + (begin if dims[0] == first else 0)] if first is not None else since[0]
            lead = there[dims.index(roles["value_time"])] + (begin if dims[0] == roles["value_time"] else 0)
            columns["value_time"] = arrow.array(begun + labels["value_time"][lead])
        table = [columns[c].cast(schema.field(c).type) for c in schema.names]
        yield arrow.Table.from_arrays(table, schema=schema)


def _write(
    outgoing: Outgoing, folder: Path, /, *, name: str, configuration_name: str, variable_name: str | None, location_prefix: str
) -> None:
    assert outgoing.discharge is not None
    write_discharge(
        outgoing.discharge, folder / f"{name}.parquet", configuration_name=configuration_name, variable_name=variable_name,
        location_prefix=location_prefix,
    )  # fmt: skip


WRITER = Writer(
    "Write discharge for TEEHR and other evaluation tools: Parquet with value_time, location_id, value, ...",
    write=_write,
    products=("discharge",),
    options=(
        ReaderOption("name", "What the file is called: NAME.parquet.", default="timeseries"),
        ReaderOption("configuration_name", "What the run is called.", default="xroute"),
        ReaderOption("variable_name", "Name of the variable.  [default: by the step, such as streamflow_hourly_mean]"),
        ReaderOption("location_prefix", "What to put before ids of reaches, such as nwm30-.", default=""),
    ),
)
