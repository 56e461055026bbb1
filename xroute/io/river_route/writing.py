"""Runoff and discharge written as river-route writes them, in the order of the network's table."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import (
    AlignmentError,
    NetworkError,
    ParameterError,
    TimeAxisError,
    UnitsError,
    require,
    some,
    warn,
)
from xroute.files.opening import PathLike, suffix_format
from xroute.files.writing import replacing, write
from xroute.guards import writing
from xroute.ids import exact_ids
from xroute.io.common import dataset_of
from xroute.io.river_route.layout import STATE, Layout, layout_of_version
from xroute.io.river_route.order import depth_first, whole_number_ids
from xroute.labels import match_rows
from xroute.network import Network
from xroute.reach_ids import read_reach_ids
from xroute.recipe import step_of
from xroute.stores import consolidate
from xroute.time_dims import find_time_dim
from xroute.units import flux_in_si, require_array, runoff_units, to_si, without_pint
from xroute.version import __version__
from xroute.wording import argument

__all__ = ["write_discharge", "write_runoff"]

RIVERS_PER_CHUNK = 500
"""Of discharge in Zarr, as version 3 has it: series of rivers are what is read of it."""


def write_runoff(runoff: xr.DataArray, path: PathLike, network: Any, *, version: int = 2, overwrite: bool = False) -> None:
    """Write runoff as river-route reads it: volumes per step [m3], in the order in which `write_network` writes the network.

    Parameters
    ----------
    runoff : (time, reach)
        In any order of dimensions and of reaches, and in any units that `xroute.route` takes.
    path
        ``*.nc``.
    network
        The network; with ``area`` where runoff is a depth.
    version
        Of river-route: 2 (``qlateral``) or 3 (``catchment_runoff``, with ``catchment_area`` where the network has it).
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError
        For reaches of the network without runoff, runoff of others, and further dimensions, such as members.
    TimeAxisError
        For times that are no dates of the standard calendar in whole seconds, or not regular, and in version 3 a single one.
    UnitsError, ParameterError
        For units of no runoff, or none, and depths without ``area``.
    NetworkError, FileExistsError
        As `write_network`.

    Warns
    -----
    UserWarning
        For NaN, of which version 2 makes NaN in all rivers downstream from then on, and version 3 zero.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import river_route
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/qlateral.nc"
    >>> river_route.write_runoff(ds.runoff.isel(time=slice(0, 24)), path, network)
    >>> river_route.read_runoff(path, network).attrs["units"]
    'm3'
    """
    layout, array = layout_of_version(version), without_pint(require_array(runoff))
    if suffix_format(path) != "netcdf":
        raise ParameterError(f"runoff of river-route is netCDF: name it *.nc, not {path}")
    rivers = dataset_of(network)
    if rivers is None:
        raise NetworkError(f"runoff of river-route has the order of the network: give {argument('network')}")
    river = network if isinstance(network, Network) else Network(rivers)
    time = find_time_dim(array)
    if array.attrs.get("units") in (None, ""):
        raise UnitsError('runoff has no units, and river-route has volumes [m3]: set runoff.attrs["units"]')
    array, order = _in_order(array, river, time, layout, "runoff")
    _warn_of_gaps(array)
    read = runoff_units(array.attrs["units"])
    factor: float | NDArray[np.float64] = read.in_si
    if not read.per_step:
        step = step_of(array, time, river)
        if step is None:
            raise TimeAxisError("runoff has one time, so that its step cannot be told, and how much water flows in it")
        factor *= step
    if array.sizes[time] > 1:
        step_of(array, time, river)  # refuses an axis that is not regular
    elif version == 3:
        raise TimeAxisError("river-route 3 reads the step of runoff off its times, and there is one only")
    area = None if "area" not in river.dataset.variables else to_si(river.dataset["area"], "m2", "area")[order]
    if read.is_depth:
        if area is None:
            raise UnitsError(f"runoff is a depth [{array.attrs['units']}]: the network needs the catchment areas, 'area' (reach)")
        factor = factor * area
    volume = array if isinstance(factor, float) and factor == 1.0 else _scaled(array, factor, layout)
    dataset = _laid_out(volume, layout, time, layout.runoff, {"units": "m3", "long_name": "Incremental runoff volumes"}, runoff)
    if area is not None and layout.area is not None:
        about = {"long_name": "catchment area of each river", "units": "m2"}
        dataset[layout.area] = (layout.reach, area, about)
        dataset[layout.runoff].attrs["cell_measures"] = f"area: {layout.area}"
    write(dataset.assign_attrs(title="Incremental runoff volumes for each river"), path, overwrite=overwrite)


def write_discharge(
    discharge: xr.DataArray,
    path: PathLike,
    network: Any = None,
    *,
    version: int = 2,
    dtype: Any = "float32",
    overwrite: bool = False,
) -> None:
    """Write discharge as river-route writes it: ``Q(time, river_id)`` in netCDF, or ``Q(riverId, time)`` in Zarr or netCDF.

    Parameters
    ----------
    discharge : (time, reach)
        In any order of dimensions, and any units of a volume flux.
    path
        ``*.nc``; of version 3 also ``*.zarr``, which is what it writes by itself.
    network
        Network whose order the rivers take (see `write_network`); by default that of the discharge.
    version
        Of river-route: 2 or 3.
    dtype
        river-route has float32; None keeps that of the discharge.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, NetworkError, ParameterError, FileExistsError
        As `write_runoff`.

    Notes
    -----
    Ids are 64 bits wide, also in the layout of version 2, which cuts its own to 32. Digits are not rounded, as version 3 does,
    nor negative values set to zero, as version 2 does.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import river_route
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 24)).route(network)
    >>> path = tempfile.mkdtemp() + "/discharge.zarr"
    >>> river_route.write_discharge(discharge, path, network, version=3)
    >>> xroute.io.open_dataset(path)["Q"].dims
    ('riverId', 'time')
    """
    layout, array = layout_of_version(version), without_pint(require_array(discharge, "discharge"))
    kind = suffix_format(path)
    if version == 2 and kind == "zarr":
        raise ParameterError(f"discharge of river-route 2 is netCDF: name it *.nc, not {path}")
    rivers, time = dataset_of(network), find_time_dim(array)
    river = None if rivers is None else network if isinstance(network, Network) else Network(rivers)
    array, _ = _in_order(array, river, time, layout, "discharge")
    factor = flux_in_si(array.attrs.get("units"), "discharge")
    array = array if factor == 1.0 else _scaled(array, factor, layout)
    about = {
        "long_name": "Discharge at catchment outlet", "standard_name": "discharge", "aggregation_method": "mean",
        "units": "m3 s-1",
    }  # fmt: skip
    array = array if dtype is None else array.astype(dtype, keep_attrs=True)
    dataset = _laid_out(array, layout, time, STATE, about, discharge)
    dataset.attrs["runoff_file" if version == 2 else "forcing_file"] = ""
    if kind == "netcdf":
        write(dataset, path, overwrite=overwrite)
        return
    require("zarr", feature="writing Zarr", extra="io")
    chunks = tuple(max(1, min(RIVERS_PER_CHUNK, n) if d == layout.reach else n) for d, n in dataset[STATE].sizes.items())
    if dataset[STATE].chunks is not None:
        dataset[STATE] = dataset[STATE].chunk(dict(zip(dataset[STATE].dims, chunks, strict=True)))
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        dataset.to_zarr(draft, mode="w", consolidated=False, encoding={STATE: {"chunks": chunks}})
        consolidate(draft)


def _in_order(
    array: xr.DataArray, river: Network | None, time: Any, layout: Layout, what: str
) -> tuple[xr.DataArray, NDArray[np.int64]]:
    """A series on river-route's dimensions, in the order of the network's table, and the positions of its reaches there."""
    if river is None:
        if "reach" not in array.coords:
            raise AlignmentError(f"{what} has dimensions {some(array.dims)} and no coordinate 'reach' that names its reaches")
        dim, ids = "reach", exact_ids(array["reach"].to_numpy(), "reach", AlignmentError)
        whole_number_ids(ids)
        order = np.arange(ids.size)
    else:
        whole_number_ids(river.ids)
        dim, _, have = read_reach_ids(array, river.ids, None, time, what)  # type: ignore[assignment]
        row, _ = match_rows(have, river.ids, "raise", "raise", f"ids of the {what}", what)
        order = depth_first(river, layout.version).row
        ids = river.ids[order]
        at = order if row is None else row[order]
        array = array if np.array_equal(at, np.arange(at.size)) else array.isel({dim: at})
    others = [d for d in array.dims if d not in (dim, time)]
    if others:
        raise AlignmentError(
            f"a file of river-route has rivers and times, and this {what} has {some(others)} besides: write a file for each"
        )
    array = array.drop_vars([n for n in array.coords if n != time]).rename({dim: layout.reach})
    return array.assign_coords({layout.reach: (layout.reach, ids, {"long_name": "unique ID number for each river"})}), order


def _scaled(array: xr.DataArray, factor: float | NDArray[np.float64], layout: Layout) -> xr.DataArray:
    """Values times a factor, or one a river, in their own precision."""
    by = factor if isinstance(factor, float) else xr.DataArray(factor, dims=layout.reach)
    kind = array.dtype if array.dtype.kind == "f" else np.float64
    return (array * by).astype(kind)


def _laid_out(
    array: xr.DataArray, layout: Layout, time: Any, name: str, about: dict[str, str], given: xr.DataArray
) -> xr.Dataset:
    """A Dataset with a series as the only variable, its times in seconds since the first."""
    label = {"time_label": given.attrs["time_label"]} if "time_label" in given.attrs else {}
    array = array.copy(deep=False).drop_encoding()
    array.attrs = {**about, **label}
    array = array.rename({time: "time"} if time != "time" else {}).transpose(*layout.dims)
    seconds, units = _seconds(array)
    attrs = {"units": units, "calendar": "standard", "long_name": "time", "standard_name": "time", "axis": "T"}
    kind = np.float64 if layout.version == 2 and name == STATE else np.int64
    dataset = array.to_dataset(name=name).assign_coords(time=("time", seconds.astype(kind), attrs))
    return dataset.assign_attrs(source=f"xroute {__version__}")


def _seconds(array: xr.DataArray) -> tuple[NDArray[np.int64], str]:
    """Times as seconds since the first, and their units."""
    times = array["time"].values if "time" in array.coords else np.empty(0)
    if times.dtype.kind != "M" or not times.size or np.isnat(times).any():
        raise TimeAxisError(
            f"times of river-route are dates of the standard calendar, not {times.dtype if times.size else 'none'}: "
            'array.convert_calendar("standard") makes such of others'
        )
    whole = times.astype("datetime64[s]")
    if (whole.astype(times.dtype) != times).any():
        raise TimeAxisError("times of river-route are whole seconds: round them, e.g. array.time.dt.round('s')")
    begin = np.datetime_as_string(whole[0]).replace("T", " ")
    return (whole - whole[0]).astype(np.int64), f"seconds since {begin}"


def _warn_of_gaps(array: xr.DataArray) -> None:
    """Warn of NaN in runoff that is in memory."""
    if not array.variable._in_memory or array.dtype.kind != "f":
        return
    bad = np.isnan(array.to_numpy())
    if bad.any():
        warn(
            f"{int(bad.sum())} values of runoff are NaN, and are written so: river-route 2 makes NaN of all rivers downstream, "
            "from then on, and river-route 3 zero. Fill them, if zero is meant: runoff.fillna(0)"
        )
