"""RAPID's netCDF files as Datasets: series by step, and the flow of an instant. RAPID2's are laid out alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import TimeAxisError
from xroute.ids import positions_of
from xroute.io.layout_series import EPOCH, Series, epoch_seconds, moment_of
from xroute.io.layouts import compact, places_of, whole_numbers
from xroute.network import Network
from xroute.wording import argument

__all__ = ["rapid_dataset", "state_dataset"]

FILL = 1e20


def rapid_dataset(
    name: str, array: xr.DataArray, series: Series, ids: NDArray[np.int64], network: Network | None, attrs: dict[str, str],
    dtype: Any = None,
) -> tuple[xr.Dataset, dict[str, Any]]:  # fmt: skip
    """A series by step as RAPID and RAPID2 lay it out, with reaches in the order of ``ids``, and its encoding."""
    at = positions_of(ids, array["reach"].values)
    array = array if np.array_equal(at, np.arange(array.sizes["reach"])) else array.isel(reach=at)
    if dtype is None and array.dtype.kind != "f":  # the fill value of these files is none of whole numbers
        dtype = np.float64
    array = array if dtype is None else array.astype(dtype)
    numbers, calendar = epoch_seconds(series.bounds, str(array.name))
    dataset = _frame(name, array.variable.data, numbers[:, 0], calendar, ids, network, attrs)
    dataset["time"].attrs["bounds"] = "time_bnds"
    dataset["time_bnds"] = (("time", "nv"), numbers, {"long_name": "time bounds"})
    return dataset, _encoding(dataset, name)


def state_dataset(
    flow: xr.DataArray, network: Network, system: str, time: Any, attrs: dict[str, str]
) -> tuple[xr.Dataset, dict[str, Any]]:
    """The flow of an instant as RAPID and RAPID2 lay it out, and its encoding."""
    ids = whole_numbers(flow["reach"].values, system)
    time = flow.attrs.get("time") if time is None else time
    if time is None:
        raise TimeAxisError(f"when the state holds is not known: give {argument('time')}, such as '2001-01-01'")
    numbers, calendar = epoch_seconds(moment_of(time), "state")
    dataset = _frame("Qout", flow.values[None], numbers, calendar, ids, network, attrs)
    return dataset, _encoding(dataset, "Qout")


def _frame(
    name: str, data: Any, times: NDArray[Any], calendar: str, ids: NDArray[np.int64], network: Network | None,
    attrs: dict[str, str],
) -> xr.Dataset:  # fmt: skip
    """Variables that all of RAPID's files have."""
    time = {"standard_name": "time", "long_name": "time", "units": EPOCH, "calendar": calendar, "axis": "T"}
    reach = {"long_name": "unique identifier for each river reach", "units": "1", "cf_role": "timeseries_id"}
    dataset = xr.Dataset(
        {name: (("time", "rivid"), data, {**attrs, "coordinates": "lon lat", "grid_mapping": "crs"})},
        {"time": ("time", times, time), "rivid": ("rivid", compact(ids), reach)},
        {"Conventions": "CF-1.6", "title": "", "institution": "", "comment": "", "source": "xroute", "featureType": "timeSeries"},
    )
    places = None if network is None else places_of(network)
    at = slice(None) if network is None else positions_of(ids, network.ids)
    nowhere = np.full(ids.size, np.nan)
    lon, lat = (nowhere, nowhere) if places is None else (places[0][at], places[1][at])
    for axis, letter, long_name, values, units in (
        ("lon", "X", "longitude", lon, "degrees_east"), ("lat", "Y", "latitude", lat, "degrees_north"),
    ):  # fmt: skip
        text = f"{long_name} of a point related to each river reach"
        of = {"standard_name": long_name, "long_name": text, "units": units, "axis": letter}
        dataset[axis] = ("rivid", values, of)
    dataset["crs"] = ((), np.int32(0), {"grid_mapping_name": "latitude_longitude", "semi_major_axis": 6378137.0,
                                        "inverse_flattening": 298.257223563})  # fmt: skip
    return dataset


def _encoding(dataset: xr.Dataset, name: str) -> dict[str, Any]:
    encoding: dict[str, Any] = {str(other): {"_FillValue": None} for other in dataset.variables}
    encoding[name] = {"_FillValue": FILL}
    return encoding  # places that are not known are NaN: RAPID2 would copy a fill value as a number
