"""Write discharge in the layout of GEOGLOWS v2, whose tools read Zarr of format 2; and what the command line has of both."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, UnitsError, XRouteError, some
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.ids import exact_ids, repeated
from xroute.io.geoglows.reading import read_discharge, read_forecast
from xroute.io.layout_series import Series, as_flux, series_of
from xroute.io.layouts import compact, whole_numbers
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.io.writer import Outgoing, Writer
from xroute.network_files import as_network, open_any
from xroute.request import NetworkLike
from xroute.stores import consolidate
from xroute.time_dims import find_time_dim
from xroute.units import require_array, runoff_units
from xroute.wording import argument

__all__ = ["READER", "WRITER", "write_discharge", "write_forecast"]

MEMBERS = ("member", "ensemble", "realization", "number")
"""What the dimension of members may be called."""
LEAST = 2
"""Members that make a forecast of a discharge, for the command line."""


def write_discharge(
    discharge: xr.DataArray, path: PathLike, network: NetworkLike | None = None, *, dt: Any = None, overwrite: bool = False
) -> None:
    """Write discharge as the retrospective simulation of GEOGLOWS v2 has it: ``Q(time, river_id)`` [m3 s-1].

    Parameters
    ----------
    discharge : (time, reach)
        Of all reaches or some, in any units of a volume flux. Ids are whole numbers.
    path
        The Zarr store (format 2), usually ``hourly.zarr`` or ``daily.zarr``.
    network
        For the order; without it that of the discharge.
    dt
        Length of a step [s], a timedelta, or text like ``"1h"``; for a single time.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, NetworkError
        For reaches, times, units and ids that the layout has no place for.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import geoglows
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = f"{tempfile.mkdtemp()}/hourly.zarr"
    >>> geoglows.write_discharge(ds.runoff.isel(time=slice(0, 24)).route(network), path)
    >>> xroute.io.open_dataset(path).Q.dims
    ('time', 'river_id')
    """
    series = series_of(discharge, None if network is None else as_network(network), "GEOGLOWS", dt=dt)
    flow = as_flux(series, None, "discharge")
    coords = {"time": ("time", series.starts), "river_id": ("river_id", _rivers(flow))}
    made = xr.DataArray(flow.variable.data, coords, ("time", "river_id"), "Q", _attrs("Discharge"))
    _put(made.to_dataset(), path, overwrite)


def write_forecast(
    discharge: xr.DataArray, path: PathLike, *, member_dim: Hashable | None = None, overwrite: bool = False
) -> None:
    """Write discharge with members as a forecast of GEOGLOWS v2 has it: ``Qout(ensemble, time, rivid)`` [m3 s-1].

    Parameters
    ----------
    discharge : (member, time, reach)
        In any order of dimensions. Members are numbers, 52 being that of higher resolution; without labels they count from 1.
        Times need not be regular, and a member without a value at a time is NaN there.
    path
        The Zarr store (format 2), usually ``YYYYMMDD00.zarr``.
    member_dim
        Dimension of the members; by default ``member``, ``ensemble``, ``realization`` or ``number``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, UnitsError, NetworkError, TimeAxisError
        For members, reaches and units that the layout has no place for, and times that are not the starts of steps.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    `read_forecast` has one.

    >>> import tempfile
    >>> import pandas as pd, xarray as xr
    >>> from xroute.io import geoglows
    >>> coords = {"time": pd.date_range("2024-06-01", periods=2, freq="3h"), "member": [1, 2], "reach": [110]}
    >>> flow = xr.DataArray([[[1.0], [2.0]], [[3.0], [4.0]]], coords, attrs={"units": "m3 s-1"})
    >>> geoglows.write_forecast(flow, f"{tempfile.mkdtemp()}/2024060100.zarr")
    """
    array = require_array(discharge, "discharge")
    time = find_time_dim(array)
    dim = member_dim if member_dim is not None else next((name for name in MEMBERS if name in array.dims), None)
    if dim is None or dim not in array.dims or "reach" not in array.dims or array.ndim != 3:
        raise AlignmentError(
            f"a forecast of GEOGLOWS is on members, a time and reaches, and this is on {array.dims}: call the dimension of "
            "the members 'member', and choose one entry of others, isel"
        )
    if "reach" not in array.coords:
        raise AlignmentError("discharge has no coordinate 'reach' that names its reaches")
    numbers = array[dim].values if dim in array.coords else np.arange(1, array.sizes[dim] + 1)
    members = exact_ids(numbers, f"{dim} of the discharge", AlignmentError)
    if members.dtype.kind != "i":
        raise AlignmentError(f"members of GEOGLOWS are numbers, and these are {some(members)}: assign_coords({dim}=range(1, 52))")
    twice = repeated(members)
    if twice.size:
        raise AlignmentError(f"members {some(twice)} stand more than once")
    array = array.transpose(dim, time, "reach")
    units = str(array.attrs.get("units") or "")
    if units and runoff_units(units).per_step:
        raise UnitsError(f"discharge of a forecast is a volume flux, such as m3 s-1, and not an amount of each step: {units!r}")
    if array.attrs.get("time_label", "start") != "start":
        raise TimeAxisError(
            f"times of GEOGLOWS are the starts of steps, and those of the discharge are {array.attrs['time_label']!r}: give it "
            "starts, assign_coords(time=...), and set attrs['time_label'] to 'start'"
        )
    flow = as_flux(Series(array, np.empty((0, 2)), 1.0), None, "discharge")
    coords = {"ensemble": ("ensemble", compact(members)), "time": ("time", array[time].values), "rivid": ("rivid", _rivers(flow))}
    dims = ("ensemble", "time", "rivid")
    _put(xr.DataArray(flow.variable.data, coords, dims, "Qout", _attrs("river discharge")).to_dataset(), path, overwrite)


def _rivers(array: xr.DataArray) -> Any:
    ids = exact_ids(array["reach"].values, "discharge 'reach'", AlignmentError)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} reaches stand more than once in the discharge: {some(twice)}")
    return compact(whole_numbers(ids, "GEOGLOWS"))


def _attrs(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "m3 s-1"}


def _put(dataset: xr.Dataset, path: PathLike, overwrite: bool) -> None:
    encoding = {name: {"_FillValue": None} for name, v in dataset.variables.items() if v.dtype.kind in "iu"}
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        dataset.drop_encoding().to_zarr(draft, mode="w", consolidated=False, zarr_format=2, encoding=encoding)
        consolidate(Path(draft))


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────────


def _read(
    sources: Sequence[Path], wanted: Sequence[Product], /, *, retrospective: Path | None, forecast: Path | None, members: Any
) -> Setup:
    if len(sources) != 1:
        raise XRouteError(f"one table makes a network, not {len(sources)}")
    with open_any(sources[0]) as dataset:
        network = dataset.load()
    if "discharge" not in wanted:
        return Setup(network)
    if (retrospective is None) == (forecast is None):
        raise NothingToRead(
            f"the discharge is in a store of its own: name one, {argument('retrospective')} or {argument('forecast')}"
        )
    if retrospective is not None:
        return Setup(network, discharge=read_discharge(retrospective, network).to_dataset())
    assert forecast is not None
    return Setup(network, discharge=read_forecast(forecast, network, which=members.replace("-", "_")).to_dataset())


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    return {"network": folder}


def _write(outgoing: Outgoing, folder: Path, /, *, name: str, dt: Any) -> None:
    assert outgoing.discharge is not None
    several = [d for d in MEMBERS if outgoing.discharge.sizes.get(d, 1) >= LEAST]
    if several:
        write_forecast(outgoing.discharge, folder / f"{name}.zarr")
    else:
        write_discharge(outgoing.discharge, folder / f"{name}.zarr", outgoing.network, dt=dt)


READER = Reader(
    "Convert GEOGLOWS v2: the model table (LINKNO, DSLINKNO), or a network of some of its rivers, and a store of discharge.",
    read=_read,
    find=_find,
    patterns=("zarr.json", ".zgroup", ".zattrs"),
    products=("network", "discharge"),
    options=(
        ReaderOption("retrospective", "Store of the retrospective simulation, with Q.", "file"),
        ReaderOption("forecast", "Store of a forecast, with Qout.", "file"),
        ReaderOption(
            "members", "Members of the forecast, at times of their own: the 51 of the ensemble, or the 52nd.",
            choices=("all", "ensemble", "high-resolution"), default="all",
        ),
    ),
)
WRITER = Writer(
    "Write discharge as GEOGLOWS v2 has it: Q(time, river_id), or with members Qout(ensemble, time, rivid), in Zarr.",
    write=_write,
    products=("discharge", "network"),
    needs=(("network", ("discharge",)),),
    options=(
        ReaderOption("name", "What the store is called: NAME.zarr.", default="hourly"),
        ReaderOption("dt", "Length of a step (seconds, or e.g. 1h), for a series of a single time without members.", "step"),
    ),
)
