"""Open GEOGLOWS' stores, with xroute's names: nothing is read but labels, and a few values that tell members' times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, XRouteError, one_of, some
from xroute.files.opening import PathLike, existing, open_dataset
from xroute.ids import declared_fills, exact_ids
from xroute.io.common import dataset_of

__all__ = ["HIGH_RESOLUTION", "read_discharge", "read_forecast", "read_return_periods"]

HIGH_RESOLUTION = 52
"""Number of the member of higher resolution, which has times of its own."""
RIVER = ("river_id", "rivid", "COMID", "comid", "LINKNO")
DISCHARGE = ("Q", "Qout", "streamflow")
SAMPLE = 16
"""Reaches that are looked at for which times a member has."""
Which = Literal["all", "ensemble", "high_resolution"]


def read_discharge(path: PathLike, network: Any = None, *, variable: str | None = None) -> xr.DataArray:
    """Open the retrospective simulation of GEOGLOWS v2, or another store laid out like it.

    Parameters
    ----------
    path
        The Zarr store, or a netCDF file: ``Q(time, river_id)``, or ``Qout(time, rivid)``, in any order of dimensions.
    network
        Network whose reaches and order the result takes, by id; by default all rivers of the store.
    variable
        Its name, where it is neither.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], not read yet; a time is the start of its hour or day.

    Raises
    ------
    AlignmentError
        Reaches of the network that the store lacks, or ids that are none.
    XRouteError
        A store without such a variable, or one that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import geoglows
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = f"{tempfile.mkdtemp()}/hourly.zarr"
    >>> geoglows.write_discharge(ds.runoff.isel(time=slice(0, 24)).route(network), path)
    >>> geoglows.read_discharge(path, network).dims
    ('time', 'reach')
    """
    dataset, target = _opened(path)
    array = _named(dataset, variable or _first(dataset, DISCHARGE, target), target)
    if array.ndim != 2 or "time" not in array.dims:
        hint = "; read_forecast opens forecasts" if "ensemble" in array.dims else ""
        raise XRouteError(f"{array.name} of {path} is on {array.dims}, and the simulation is on a time and on rivers{hint}")
    array = _of_network(array, network, target).transpose("time", "reach")
    return _described(array, {"time_label": "start", "cell_methods": "time: mean"})


def read_forecast(
    path: PathLike, network: Any = None, *, which: Which = "all", variable: str | None = None
) -> xr.DataArray:
    """Open a forecast of GEOGLOWS v2, with its members.

    Members 1 to 51 have times of their own, every three hours and later every six, and member 52, of higher resolution, has
    others: in the store each has a value at its own times only, and none (NaN) at the others.

    Parameters
    ----------
    path
        The Zarr store, ``YYYYMMDD00.zarr``: ``Qout(ensemble, time, rivid)``, in any order of dimensions.
    network
        Network whose reaches and order the result takes, by id; by default all rivers of the store.
    which
        ``"all"``: as the store has them. ``"ensemble"``: all members but the 52nd, at the times of theirs.
        ``"high_resolution"``: the 52nd, at its own.
    variable
        Its name, where it is not ``Qout``.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (member, time, reach) [m3 s-1], not read yet; ``member`` is 1 to 52 as in the store, and
        ``forecast_reference_time`` the date in the store's name, where it has one. Steps are not all of a length.

    Raises
    ------
    AlignmentError
        As `read_discharge`.
    XRouteError
        As `read_discharge`; and for members that are not in the store.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from xroute.io import geoglows
    >>> time = pd.date_range("2024-06-01", periods=3, freq="3h")
    >>> coords = {"member": [1, 52], "time": time, "reach": [110, 120]}
    >>> flow = xr.DataArray(np.ones((2, 3, 2)), coords, attrs={"units": "m3 s-1"})
    >>> path = f"{tempfile.mkdtemp()}/2024060100.zarr"
    >>> geoglows.write_forecast(flow, path)
    >>> geoglows.read_forecast(path, which="high_resolution").sizes["member"]
    1
    """
    one_of("which", which, ("all", "ensemble", "high_resolution"), XRouteError)
    dataset, target = _opened(path)
    array = _named(dataset, variable or _first(dataset, ("Qout", "Q"), target), target)
    if "ensemble" not in array.dims or "time" not in array.dims or array.ndim != 3:
        raise XRouteError(f"{array.name} of {path} is on {array.dims}, and a forecast is on ensemble, time and rivers")
    numbers = array["ensemble"].values if "ensemble" in array.coords else np.arange(1, array.sizes["ensemble"] + 1)
    array = _of_network(array, network, target).rename(ensemble="member").transpose("member", "time", "reach")
    attrs = {"long_name": "member of the ensemble", "standard_name": "realization"}
    array = array.assign_coords(member=("member", exact_ids(numbers, f"ensemble of {path}", XRouteError), attrs))
    started = _reference(target)
    if started is not None:
        array = array.assign_coords(
            forecast_reference_time=((), started, {"standard_name": "forecast_reference_time"})
        )
    if which != "all":
        array = _own_times(array, which, target)
    return _described(array, {})


def read_return_periods(path: PathLike, network: Any = None) -> xr.Dataset:
    """Open return periods of GEOGLOWS v2.

    Parameters
    ----------
    path
        The Zarr store: variables on ``return_period`` [years] and ``river_id``, one a distribution (``gumbel``, ``logpearson3``).
    network
        Network whose reaches and order the result takes, by id; by default all rivers of the store.

    Returns
    -------
    xarray.Dataset
        The same variables on (return_period, reach) [m3 s-1], not read yet.

    Raises
    ------
    AlignmentError, XRouteError
        As `read_discharge`.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> from xroute.io import geoglows
    >>> path = f"{tempfile.mkdtemp()}/return-periods.zarr"
    >>> levels = xr.DataArray([[5.0], [9.0]], {"return_period": [2, 10], "river_id": [110]}, name="gumbel").to_dataset()
    >>> _ = levels.to_zarr(path)
    >>> geoglows.read_return_periods(path).gumbel.sel(reach=110, return_period=10).item()
    9.0
    """
    dataset, target = _opened(path)
    names = [str(n) for n, v in dataset.data_vars.items() if "return_period" in v.dims and v.ndim == 2]
    if not names:
        raise XRouteError(f"{path} has no variable on return_period and rivers; it has {some(dataset.data_vars)}")
    found = {name: _of_network(_named(dataset, name, target), network, target) for name in names}
    return xr.Dataset({
        name: _described(array.transpose("return_period", "reach"), {"long_name": f"discharge of return periods, {name}"})
        for name, array in found.items()
    }).assign_attrs(source="GEOGLOWS")  # fmt: skip


def _opened(path: PathLike) -> tuple[xr.Dataset, Path]:
    target = existing(path)
    return open_dataset(target), target


def _first(dataset: xr.Dataset, names: tuple[str, ...], path: Path) -> str:
    found = [name for name in names if name in dataset.data_vars]
    if not found:
        raise XRouteError(f"{path} has none of the variables {some(names)}; it has {some(dataset.data_vars)}")
    return found[0]


def _named(dataset: xr.Dataset, name: str, path: Path) -> xr.DataArray:
    """A variable with its rivers on ``reach``, and without other coordinates than those of its dimensions."""
    if name not in dataset.variables:
        raise XRouteError(f"{path} has no variable {name!r}; it has {some(dataset.data_vars)}")
    dataset = dataset.set_coords([n for n in RIVER if n in dataset.data_vars])
    array = dataset[name]
    bearers = [n for n in RIVER if n in array.coords and array[n].ndim == 1]
    if len(bearers) != 1:
        raise AlignmentError(f"{path} has {len(bearers)} variables of ids among {some(RIVER)}: which rivers it has is not told")
    bearer = array[bearers[0]]
    ids = exact_ids(bearer.values, f"{bearers[0]} of {path}", AlignmentError, fills=declared_fills(bearer))
    dim = bearer.dims[0]
    units = array.attrs.get("units") or dataset.attrs.get("units")
    array = array.drop_vars([n for n in array.coords if n == dim or n not in array.dims])
    array = array.rename({dim: "reach"} if dim != "reach" else {}).assign_coords(reach=("reach", ids))
    array.attrs = {"units": units}
    return array


def _of_network(array: xr.DataArray, network: Any, path: Path) -> xr.DataArray:
    """The rivers of a network, in its order; all where there is none."""
    index = array.get_index("reach")
    if not index.is_unique:
        raise AlignmentError(f"{path}: rivers {some(index[index.duplicated()].unique())} stand more than once")
    dataset = dataset_of(network)
    if dataset is None:
        return array
    wanted = dataset["reach"].to_index()
    at = index.get_indexer(wanted)
    if (at < 0).any():
        raise AlignmentError(f"{path} lacks {int((at < 0).sum())} of {at.size} reaches of the network: {some(wanted[at < 0])}")
    return array.isel(reach=at)


def _described(array: xr.DataArray, attrs: dict[str, str]) -> xr.DataArray:
    units = array.attrs.get("units")
    spelt = units is None or str(units).strip().lower() in ("cubic meters per second", "cms", "m3/s", "m^3/s", "m3 s-1", "")
    array = array.rename("discharge" if "return_period" not in array.dims else array.name)
    array.attrs = {"long_name": "river discharge", "units": "m3 s-1" if spelt else units, **attrs}
    array["reach"].attrs = {"cf_role": "timeseries_id", "long_name": "reach id"}
    return array


def _reference(path: Path) -> np.datetime64 | None:
    """When a forecast was made, by the name of its store."""
    found = re.search(r"(?<!\d)(\d{8})(\d{2})?(?!\d)", path.stem)
    if found is None:
        return None
    try:
        return np.datetime64(pd.Timestamp(f"{found[1][:4]}-{found[1][4:6]}-{found[1][6:]}T{found[2] or '00'}:00"), "ns")
    except ValueError:
        return None


def _own_times(array: xr.DataArray, which: str, path: Path) -> xr.DataArray:
    """Members of one kind, at the times at which they have values."""
    fine = array["member"].values == HIGH_RESOLUTION
    wanted = fine if which == "high_resolution" else ~fine
    if not wanted.any():
        raise XRouteError(f"{path} has the members {some(array['member'].values)}, and none is of the {which.replace('_', ' ')}")
    chosen = array.isel(member=np.flatnonzero(wanted))
    sample = chosen.isel(reach=slice(0, SAMPLE)).load()
    there = sample.notnull().any(["member", "reach"]).values
    return chosen.isel(time=np.flatnonzero(there))
