"""Discharge, written as t-route writes its own: netCDF or CSV of stream_output, Parquet, or CSV of counted columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, one_of, require, some
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.ids import repeated
from xroute.io.nwm.time_columns import digits_of
from xroute.io.nwm.writing import series_to_write
from xroute.io.troute.series import FLOWPATH
from xroute.settings import Label

__all__ = ["write_discharge"]

LAYOUTS = ("stream", "flowveldepth", "parquet")
MISSING = -9999.0
UNKNOWN = {"velocity": "m s-1", "depth": "m", "nudge": "m3 s-1"}
"""What t-route writes beside flow, and xroute does not know."""


def write_discharge(
    discharge: xr.DataArray,
    path: PathLike,
    *,
    layout: str | None = None,
    configuration: str = "xroute",
    dt: Any = None,
    label: Label | None = None,
    overwrite: bool = False,
) -> None:
    """Write discharge in a layout of t-route's.

    Parameters
    ----------
    discharge : (time, reach)
        In m3 s-1 or other units of volume flux, with integer ids, or text with a number, such as ``wb-11223``.
    path
        The file, such as ``troute_output_202405010000.nc``.
    layout
        ``"stream"`` (``*.nc`` or ``*.csv``): flow by ``feature_id`` and time; ``"parquet"``: a row a value, as evaluation tools
        read it; or ``"flowveldepth"`` (``*.csv``): columns ``(0, 'q')`` and so on. By default what the suffix says; a CSV is of
        ``"stream"``, unless its name begins with flowveldepth.
    configuration
        Name of the run, for Parquet.
    dt, label
        Step (seconds, or text like ``"1h"``), for a single time, and what a stamp is of it; by default what the discharge says.
        Times in the file are ends of steps.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError
        Members; ids without a number, or with the same.
    TimeAxisError, UnitsError
        Times that are no dates, or not regular; units of something else.
    XRouteError
        A suffix that does not fit the layout.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Notes
    -----
    Velocity, depth and nudge are there, and missing (-9999, or empty): xroute does not compute them.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import troute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 3)).route(network)
    >>> path = tempfile.mkdtemp() + "/flowveldepth_run.parquet"
    >>> troute.write_discharge(discharge, path)
    >>> troute.read_discharge(path).sizes["time"]
    3
    """
    target = Path(path)
    suffix = target.suffix.lower()
    chosen = layout or {".parquet": "parquet", ".nc": "stream"}.get(suffix, "stream")
    if layout is None and suffix == ".csv" and target.name.startswith("flowveldepth"):
        chosen = "flowveldepth"
    one_of("layout", chosen, LAYOUTS)
    fitting = {"stream": (".nc", ".csv"), "parquet": (".parquet",), "flowveldepth": (".csv",)}[chosen]
    if suffix not in fitting:
        raise XRouteError(f"{path}: layout {chosen!r} is written to {' or '.join('*' + one for one in fitting)}")
    series = series_to_write(discharge, "discharge", dt, label, text=True)
    ids = _numbers(series["reach"].values)
    with replacing(target, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        if chosen == "parquet":
            _write_parquet(series, ids, draft, configuration)
        elif chosen == "flowveldepth":
            _write_counted(series, ids, draft)
        elif suffix == ".csv":
            _write_rows(series, ids, draft)
        else:
            _write_netcdf(series, ids, draft)


def _numbers(ids: NDArray[Any]) -> NDArray[np.int64]:
    """The numbers that t-route has for ids."""
    if ids.dtype.kind == "i":
        return ids
    text = digits_of(ids)
    bad = [one for one, number in zip(ids.tolist(), text, strict=True) if not number.isdigit()]
    if bad:
        raise AlignmentError(f"t-route has numbers for ids, such as that of wb-11223, and {len(bad)} have none: {some(bad)}")
    numbers = np.array(text, dtype=np.int64)
    twice = repeated(numbers)
    if twice.size:
        raise AlignmentError(f"t-route has numbers for ids, and several ids have the same: {some(twice)}")
    return numbers


def _write_netcdf(series: xr.DataArray, ids: NDArray[np.int64], path: Path) -> None:
    require("netCDF4", feature="writing t-route's netCDF", extra="io")
    begin = pd.Timestamp(series.attrs["begin"])
    after = (series["time"].values - begin.to_datetime64()) / np.timedelta64(1, "s")
    flow = series.transpose("reach", "time").to_numpy()
    attrs = {"long_name": "Flow", "units": "m3 s-1", "missing_value": flow.dtype.type(MISSING)}
    of_time = {"long_name": "valid output time", "standard_name": "time", "units": f"seconds since {begin}"}
    dims = ("feature_id", "time")
    dataset = xr.Dataset(
        {
            "type": ("feature_id", np.full(ids.size, FLOWPATH.encode()), {"long_name": "Type"}),
            "flow": (dims, np.where(np.isnan(flow), MISSING, flow).astype(flow.dtype), attrs),
        },
        {
            "feature_id": ("feature_id", ids, {"long_name": "Segment ID"}),
            "time": ("time", after, of_time),
        },
        {"TITLE": "OUTPUT FROM xroute", "file_reference_time": f"{begin:%Y-%m-%d_%H:%M:%S}", "code_version": ""},
    )  # fmt: skip
    encoding: dict[str, dict[str, Any]] = {
        "flow": {"_FillValue": flow.dtype.type(MISSING)}, "feature_id": {"_FillValue": None}, "time": {"_FillValue": None},
        "type": {"char_dim_name": "type_strlen"},
    }  # fmt: skip
    for name, units in UNKNOWN.items():
        dataset[name] = (dims, np.full(flow.shape, MISSING, np.float32), {"units": units, "missing_value": np.float32(MISSING)})
        encoding[name] = {"_FillValue": np.float32(MISSING), "zlib": True}
    dataset.to_netcdf(path, engine="netcdf4", encoding=encoding)


def _write_rows(series: xr.DataArray, ids: NDArray[np.int64], path: Path) -> None:
    n_times, n_reaches = series.shape
    table = pd.DataFrame({
        "featureID": np.tile(ids, n_times), "Type": FLOWPATH,
        "current_time": np.repeat(pd.DatetimeIndex(series["time"].values).strftime("%Y-%m-%d %H:%M:%S"), n_reaches),
        "flow": series.to_numpy().ravel(),
    })  # fmt: skip
    table.assign(**dict.fromkeys(UNKNOWN, np.nan)).to_csv(path, index=False)


def _write_counted(series: xr.DataArray, ids: NDArray[np.int64], path: Path) -> None:
    times = series["time"].values
    uneven = np.diff(times) != np.timedelta64(round(series.attrs["step"] * 1e9), "ns")
    if uneven.any():
        at = int(uneven.argmax())
        raise TimeAxisError(
            f"columns of flowveldepth are counted, and steps of {series.attrs['step']:g} s do not lead from {times[at]} to "
            f"{times[at + 1]}: write layout='stream', whose times are dates"
        )
    order = np.argsort(ids, kind="stable")
    flow = series.to_numpy()[:, order]
    table = {"": ids[order]}
    for k, column in enumerate(flow):
        table |= {f"({k}, 'q')": column, f"({k}, 'v')": np.full(ids.size, np.nan), f"({k}, 'd')": np.full(ids.size, np.nan)}
    pd.DataFrame(table).to_csv(path, index=False)


def _write_parquet(series: xr.DataArray, ids: NDArray[np.int64], path: Path, configuration: str) -> None:
    require("pyarrow", feature="writing Parquet", extra="io")
    n_times, n_reaches = series.shape
    pd.DataFrame({
        "location_id": np.tile(np.char.add(f"{FLOWPATH}-", ids.astype(str)), n_times).astype(object),
        "value": series.to_numpy().ravel().astype(np.float64),
        "value_time": np.repeat(series["time"].values.astype("datetime64[us]"), n_reaches),
        "variable_name": "streamflow", "units": "m3/s", "reference_time": pd.Timestamp(series.attrs["begin"]).date(),
        "configuration": configuration,
    }).to_parquet(path, index=False)  # fmt: skip
