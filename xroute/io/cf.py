"""Discharge as CF files: time series with bounds, roles and places, in netCDF or Zarr.

`open_dataset` and `write` stand in `xroute.io.files` and are here for convenience.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, some
from xroute.io.files import open_dataset, write
from xroute.times import seconds

__all__ = ["cf_dataset", "open_dataset", "write", "write_discharge"]

PathLike = str | os.PathLike[str]


def cf_dataset(discharge: xr.DataArray, network: Any = None, *, dt: Any = None) -> xr.Dataset:
    """Discharge as a CF Dataset of time series (``featureType="timeSeries"``), to be written with `write`.

    Timestamps name the **start** of the step that a value belongs to; ``time_bnds`` holds [t, t + dt]. A time axis that
    is no dates (numbers, or none) is kept without bounds.

    Parameters
    ----------
    discharge
        On ``time`` and ``reach``, and any batch dimensions (member, ...).
    network
        Network or its Dataset: ``lon`` and ``lat`` of the reaches are added when it has them.
    dt
        Step (seconds, a timedelta, or text like ``"3h"``); needed for a single time only.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    AlignmentError
        No ``reach`` coordinate, or reaches that the network does not have.
    TimeAxisError
        A single time without ``dt``.
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
    dataset["crs"] = ((), np.int32(0), _WGS84)
    dataset["reach"].attrs.update({"cf_role": "timeseries_id"})
    dataset["reach"].attrs.setdefault("long_name", "reach id")
    for coordinate, units in (("lon", "degrees_east"), ("lat", "degrees_north")):
        values = _of_network(network, coordinate, dataset["reach"].to_numpy())
        if values is not None:
            long_name = {"lon": "longitude", "lat": "latitude"}[coordinate]
            attrs = {"standard_name": long_name, "long_name": f"{long_name} of the reach", "units": units}
            dataset = dataset.assign_coords({coordinate: ("reach", values, attrs)})
    if "time" in array.dims:
        dataset = _add_bounds(dataset, dt)
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
    if network is None:
        return None
    dataset: xr.Dataset = network if isinstance(network, xr.Dataset) else network.dataset
    if name not in dataset.variables or dataset[name].dims != ("reach",):
        return None
    position = dataset.indexes["reach"].get_indexer(pd.Index(ids))
    if (position < 0).any():
        raise AlignmentError(f"{int((position < 0).sum())} reaches are not in the network: {some(ids[position < 0])}")
    return dataset[name].to_numpy()[position]


def _add_bounds(dataset: xr.Dataset, dt: Any) -> xr.Dataset:
    if "time" not in dataset.coords or dataset["time"].dtype.kind not in "mMO":
        return dataset  # steps that are counted, not dated, have no bounds
    times = dataset["time"]
    start = times.to_numpy()
    if start.size > 1:
        step = start[1] - start[0]
    elif dt is not None:
        step = np.timedelta64(round(seconds(dt) * 1e6), "us")
        step = step.item() if start.dtype.kind == "O" else step
    else:
        raise TimeAxisError("discharge has a single time, so its step cannot be told; give dt= (seconds)")
    bounds = np.stack([start, start + step], axis=1)
    times.attrs.update({"standard_name": "time", "axis": "T", "bounds": "time_bnds"})
    times.attrs.setdefault("long_name", "start of the step")
    dataset = dataset.assign_coords(time=times)
    dataset["time_bnds"] = (("time", "bnds"), bounds)
    return dataset


def write_discharge(
    discharge: xr.DataArray,
    path: PathLike,
    network: Any = None,
    *,
    dt: Any = None,
    dtype: Any = None,
    compression: int = 0,
    overwrite: bool = False,
) -> None:
    """Write discharge as a CF file of time series: ``time_bnds``, ``cf_role``, ids intact, places when known.

    Timestamps name the **start** of the step that a value belongs to; ``time_bnds`` holds [t, t + dt], and
    ``cell_methods`` is what `xroute.route` wrote for the sampling.

    Parameters
    ----------
    discharge
        On ``time`` and ``reach``, and any batch dimensions.
    path
        ``*.nc``, or ``*.zarr`` for the same in Zarr.
    network
        Network or its Dataset, for ``lon`` and ``lat``.
    dt
        Step, for a single time (see `cf_dataset`).
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
    """
    array = discharge if dtype is None else discharge.astype(dtype, keep_attrs=True)
    write(cf_dataset(array, network, dt=dt), path, overwrite=overwrite, compression=compression)
