"""Discharge as CF files: time series with bounds, roles and places, in netCDF or Zarr.

`open_dataset` and `write` (`xroute.io`) are here, too, for convenience.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.bounds import add_bounds, bounds_name
from xroute.exceptions import AlignmentError, TimeAxisError, some
from xroute.files.opening import PathLike, open_dataset
from xroute.files.writing import write, write_all
from xroute.io.common import dataset_of
from xroute.settings import Label
from xroute.stamps import is_dated, time_coordinate
from xroute.time_dims import find_time_dim
from xroute.times import Clock, read_clock
from xroute.wording import argument

__all__ = ["cf_dataset", "open_dataset", "write", "write_discharge"]


def cf_dataset(
    discharge: xr.DataArray, network: Any = None, *, dt: Any = None, label: Label | None = None
) -> xr.Dataset:
    """Discharge as a CF Dataset of time series (``featureType="timeSeries"``), to be written with `write`.

    ``time_bnds`` holds the steps that values belong to, as ``attrs["time_label"]`` of the discharge says: its stamps are
    starts (what they are where nothing is said), middles or ends. A time axis that is no dates (numbers, or none) is kept
    without bounds, and so is one that names bounds of which nothing is known.

    Parameters
    ----------
    discharge : (time, reach, ...)
        In any order of dimensions; others are batch (member, ...). Its ``units`` are kept.
    network
        Network or its Dataset: ``lon`` and ``lat`` of the reaches are added when it has them.
    dt
        Step (seconds, a timedelta, or text like ``"3h"``); needed for a single time only.
    label
        What a stamp is: ``"start"``, ``"middle"`` or ``"end"`` of its step; by default what the discharge says.

    Returns
    -------
    xarray.Dataset
        ``discharge`` (..., time, reach) in its units, and ``time_bnds`` (time, bounds).

    Raises
    ------
    AlignmentError
        No ``reach`` coordinate, or reaches that the network does not have.
    TimeAxisError
        A single time without ``dt``; times that are not regular.

    Examples
    --------
    >>> import tempfile, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 24)).route(network)
    >>> xroute.io.cf.cf_dataset(discharge, network).attrs["featureType"]
    'timeSeries'
    """
    if "reach" not in discharge.coords:
        raise AlignmentError(
            f"discharge has dimensions {discharge.dims} and no coordinate 'reach' that names its reaches"
        )
    name = str(discharge.name or "discharge")
    array = discharge.copy(deep=False).drop_encoding()
    dataset = array.to_dataset(name=name)
    variable = dataset[name]
    variable.attrs.setdefault("long_name", "discharge")
    variable.attrs["grid_mapping"] = "crs"
    dataset["reach"].attrs.update({"cf_role": "timeseries_id"})
    dataset["reach"].attrs.setdefault("long_name", "reach id")
    places: dict[str, Any] = {}
    for coordinate, units in (("lon", "degrees_east"), ("lat", "degrees_north")):
        values = _of_network(network, coordinate, dataset["reach"].to_numpy())
        if values is not None:
            long_name = {"lon": "longitude", "lat": "latitude"}[coordinate]
            attrs = {"standard_name": long_name, "long_name": f"{long_name} of the reach", "units": units}
            places[coordinate] = ("reach", values, attrs)
    if places:
        dataset = dataset.assign_coords(places)
    dataset["crs"] = ((), np.int32(0), _WGS84)
    dataset = _describe_time(dataset, discharge, dt, label)
    history = discharge.attrs.get("history")
    variable.attrs.pop("history", None)
    dataset.attrs = {"Conventions": "CF-1.11", "featureType": "timeSeries", "source": "xroute"}
    if history:
        dataset.attrs["history"] = history
    return dataset


_WGS84 = {
    "grid_mapping_name": "latitude_longitude",
    "longitude_of_prime_meridian": 0.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}


def _of_network(network: Any, name: str, ids: np.ndarray) -> np.ndarray | None:
    """Values of a variable of the network for the given ids."""
    dataset = dataset_of(network)
    if dataset is None or name not in dataset.variables or dataset[name].dims != ("reach",):
        return None
    position = dataset.indexes["reach"].get_indexer(pd.Index(ids))
    if (position < 0).any():
        raise AlignmentError(f"{int((position < 0).sum())} reaches are not in the network: {some(ids[position < 0])}")
    return dataset[name].to_numpy()[position]


def _describe_time(dataset: xr.Dataset, discharge: xr.DataArray, dt: Any, label: str | None) -> xr.Dataset:
    """Say what the stamps of discharge are, and add their bounds where it is known."""
    try:
        dim = find_time_dim(discharge)
    except TimeAxisError:
        return dataset  # a snapshot, or one of many forecasts: no one dimension is the time
    coordinate = time_coordinate(discharge, dim)
    if coordinate is None or not coordinate.size or not is_dated(coordinate):
        return add_bounds(dataset, dim, None, None, "")  # steps that are counted, not dated, have no bounds
    if coordinate.size == 1 and dt is None and "time_step" not in discharge.attrs:
        raise TimeAxisError("discharge has a single time, so its step cannot be told; give " + argument("dt") + " (seconds)")
    if label is None and "time_label" not in discharge.attrs and bounds_name(coordinate) is not None:
        clock = Clock(dim, None, None)  # of which routing has warned
    else:
        clock = read_clock(discharge, dim, dt, label)
    dataset = add_bounds(dataset, dim, clock.step, clock.label, "time_bnds" if dim == "time" else f"{dim}_bnds")
    attrs = dataset[coordinate.name].attrs
    attrs.setdefault("standard_name", "time")
    attrs["axis"] = "T"
    if clock.label is not None:
        attrs["long_name"] = f"{clock.label} of the step"
    return dataset


def write_discharge(
    discharge: xr.DataArray,
    path: PathLike,
    network: Any = None,
    *,
    dt: Any = None,
    label: Label | None = None,
    dtype: Any = None,
    compression: int = 0,
    overwrite: bool = False,
) -> None:
    """Write discharge as a CF file of time series: ``time_bnds``, ``cf_role``, ids intact, places when known.

    ``time_bnds`` holds the steps that values belong to (see `cf_dataset`), and ``cell_methods`` is what `xroute.route`
    wrote for the sampling.

    Parameters
    ----------
    discharge : (time, reach, ...)
        In any order of dimensions; others are batch (member, ...). Its ``units`` are kept.
    path
        ``*.nc``, or ``*.zarr`` for the same in Zarr.
    network
        Network or its Dataset, for ``lon`` and ``lat``.
    dt, label
        Step (seconds, a timedelta, or text like ``"3h"``), for a single time, and what a stamp is (see `cf_dataset`).
    dtype
        Store as this type, for example ``"float32"``; by default that of the discharge.
    compression
        Deflate level of netCDF, 0 to 9.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, TimeAxisError, FileExistsError, XRouteError, ImportError
        As `cf_dataset` and `write`.

    Examples
    --------
    >>> import tempfile, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 24)).route(network)
    >>> path = tempfile.mkdtemp() + "/discharge.nc"
    >>> xroute.io.write_discharge(discharge, path, network=network)
    >>> xroute.io.open_dataset(path)["discharge"].sizes["time"]
    24
    """
    array = discharge if dtype is None else discharge.astype(dtype, keep_attrs=True)
    dataset = cf_dataset(array, network, dt=dt, label=label)
    write_all([(dataset, path)], overwrite=overwrite, compression=compression, sync=False)  # it can be routed again
