"""DDR's lateral inflow and discharge: Zarr stores whose series are those of catchments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import AlignmentError, XRouteError, some
from xroute.files.opening import PathLike, existing, open_dataset
from xroute.ids import exact_ids
from xroute.io.common import dataset_of
from xroute.io.ddr.ids import reaches

__all__ = ["read_discharge", "read_runoff"]

ID_DIMS = ("divide_id", "divide_ids", "catchment_ids", "catchment_id", "gage_ids", "gage_id", "COMID", "comid", "reach")


def read_runoff(path: PathLike, network: Any = None, *, variable: str = "Qr") -> xr.DataArray:
    """Open lateral inflow as DDR takes it, without reading its values.

    Parameters
    ----------
    path
        The Zarr store, or a netCDF file.
    network
        Network whose reaches and order the result takes, by id; by default those of the store.
    variable
        Its name.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach) [m3 s-1], the mean of the day or the hour that begins at its time. Ids of catchments, ``cat-N``,
        are those of their reaches, ``wb-N``.

    Raises
    ------
    AlignmentError
        Reaches of the network that the store lacks.
    XRouteError
        A store without the variable, or one that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import ddr
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = f"{tempfile.mkdtemp()}/streamflow.zarr"
    >>> ddr.write_runoff(ds.runoff, path, network)
    >>> ddr.read_runoff(path, network).attrs["units"]
    'm3 s-1'
    """
    return _open(path, variable, network).rename("runoff")


def read_discharge(path: PathLike, network: Any = None, *, variable: str = "predictions") -> xr.DataArray:
    """Open the discharge that DDR has written (``chrout.zarr``), without reading its values.

    Parameters
    ----------
    path
        The Zarr store, or a netCDF file.
    network
        Network whose order the result takes; reaches that the store lacks are left out. By default the order of the store.
    variable
        Its name.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], the mean of the day that begins at its time.

    Raises
    ------
    AlignmentError
        If no reach of the network is in the store.
    XRouteError
        As `read_runoff`.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import ddr
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 24)).route(network)
    >>> path = f"{tempfile.mkdtemp()}/chrout.zarr"
    >>> ddr.write_discharge(discharge, path)
    >>> bool((ddr.read_discharge(path, network) == discharge).all())
    True
    """
    return _open(path, variable, network, whole=False).rename("discharge")


def _open(path: PathLike, variable: str, network: Any, whole: bool = True) -> xr.DataArray:
    target = existing(path)
    if target.is_dir() and (target / "snapshots").is_dir():
        raise XRouteError(
            f"{path} is a repository of Icechunk, which its own library reads: route "
            f"xarray.open_zarr(session.store)[{variable!r}] in Python, or save that as Zarr"
        )
    dataset = open_dataset(target)
    if variable not in dataset.variables:
        raise XRouteError(f"{path} has no variable {variable!r}; it has {some(dataset.data_vars)}")
    array = dataset[variable]
    dims: list[Any] = [d for d in array.dims if d in ID_DIMS] or [d for d in array.dims if d != "time"]
    if array.ndim != 2 or len(dims) != 1 or "time" not in array.dims:
        raise XRouteError(f"{variable} of {path} is on {array.dims}, and series of DDR are on a time and on catchments")
    dim = dims[0]
    if dim not in array.coords:
        raise AlignmentError(f"{path} names no ids along {str(dim)!r}")
    ids = reaches(exact_ids(array[dim].values, f"{dim} of {path}", AlignmentError))
    units = array.attrs.get("units") or dataset.attrs.get("units") or "m3 s-1"
    array = array.drop_vars([name for name in array.coords if name not in ("time", dim)])
    array = (array.rename({dim: "reach"}) if dim != "reach" else array).assign_coords(reach=("reach", ids))
    array = _of_network(array, network, target, whole).transpose("time", "reach")
    array.attrs = {"long_name": str(array.attrs.get("long_name", variable)), "units": units, "time_label": "start"}
    array["reach"].attrs = {"cf_role": "timeseries_id", "long_name": "reach id"}
    return array


def _of_network(array: xr.DataArray, network: Any, path: Path, whole: bool) -> xr.DataArray:
    dataset = dataset_of(network)
    if dataset is None:
        return array
    wanted = dataset["reach"].to_index()
    index = array.get_index("reach")
    if not index.is_unique:
        raise AlignmentError(f"{path}: series of {some(index[index.duplicated()].unique())} stand more than once")
    at = index.get_indexer(wanted)
    if whole and (at < 0).any():
        raise AlignmentError(f"{path} lacks {int((at < 0).sum())} reaches of the network: {some(wanted[at < 0])}")
    if not (at >= 0).any():
        raise AlignmentError(f"{path} has series of {some(index[:3])}, and no reach of the network is among them")
    return array.isel(reach=at[at >= 0])
