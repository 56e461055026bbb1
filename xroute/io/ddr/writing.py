"""Write DDR's stores: the adjacency matrix of a river and of its gauges, lateral inflow, and discharge as DDR writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, TimeAxisError, require, some
from xroute.files.opening import PathLike
from xroute.files.writing import replacing, write
from xroute.guards import writing
from xroute.io.ddr.ids import catchments, geodataset_of, to_order
from xroute.io.layout_series import as_flux, series_of
from xroute.io.layouts import upwards_first
from xroute.network import Network
from xroute.network_files import as_network
from xroute.request import NetworkLike
from xroute.stores import open_store
from xroute.topology import drains_to

__all__ = ["write_discharge", "write_gauges", "write_network", "write_runoff"]

AS_IDS = "as the ids look"
DAY, HOUR = 86_400.0, 3600.0


def write_network(
    network: NetworkLike, path: PathLike, *, geodataset: str | None = AS_IDS, overwrite: bool = False
) -> None:
    """Write a river as DDR's adjacency matrix: a Zarr group (format 3) in the COO form of binsparse, lower triangular.

    Parameters
    ----------
    network
        The network; rows of the matrix are in its order where that is from upstream to downstream, and sorted so otherwise.
        Parameters are not written: DDR has no place for them.
    path
        The store, usually ``*_adjacency.zarr``.
    geodataset
        ``"merit"`` for numbers, ``"lynker"`` for ids ``wb-N``, of which the number is kept, or None for others, which stand in
        ``order`` as they are; by default what the ids look like.
    overwrite
        Replace what is at the path.

    Raises
    ------
    NetworkError
        For ids that the geodataset does not have.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import ddr
    >>> path = f"{tempfile.mkdtemp()}/adjacency.zarr"
    >>> ddr.write_network(xroute.Network.from_links(["wb-9", "wb-7"], ["wb-7", ""]), path)
    >>> ddr.read_network(path).attrs["geodataset"]
    'lynker'
    """
    river = as_network(network)
    rows, row, column, values = _matrix(river)
    attrs, order = _described(river.ids[rows], geodataset)
    zarr = require("zarr", feature="writing DDR's matrices", extra="io")
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        group = zarr.create_group(store=open_store(draft, read_only=False), zarr_format=3)
        _fill(group, row, column, values, order, river.n_reaches, attrs)


def write_gauges(
    network: NetworkLike, gauges: Mapping[str, Any], path: PathLike, *, geodataset: str | None = AS_IDS,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write the matrices of gauges: a group each, with the links upstream of it in the rows of the whole domain's matrix.

    Parameters
    ----------
    network
        The whole domain, as `write_network` writes it.
    gauges
        Id of the reach at each gauge, by the gauge's name.
    path
        The store, usually ``*_gages_*_adjacency.zarr``.
    geodataset, overwrite
        As for `write_network`.

    Raises
    ------
    NetworkError
        For reaches that there are not, and ids that the geodataset does not have.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import ddr
    >>> network = xroute.Network.from_links([71, 72, 73], [73, 73, 0])
    >>> folder = tempfile.mkdtemp()
    >>> ddr.write_network(network, f"{folder}/all.zarr")
    >>> ddr.write_gauges(network, {"01570500": 73}, f"{folder}/gauges.zarr")
    >>> ddr.read_network(f"{folder}/gauges.zarr", "01570500").sizes["reach"]
    3
    """
    river = as_network(network)
    rows, row, column, values = _matrix(river)
    ids = river.ids[rows]
    attrs, order = _described(ids, geodataset)
    strange = sorted(str(name) for name in gauges if not str(name) or "/" in str(name))
    if strange:
        raise NetworkError(f"{some(strange)} cannot be names of groups")
    place = np.empty(river.n_reaches, np.int64)
    place[rows] = np.arange(rows.size)
    zarr = require("zarr", feature="writing DDR's matrices", extra="io")
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        root = zarr.create_group(store=open_store(draft, read_only=False), zarr_format=3)
        for name, reach in gauges.items():
            upstream = np.sort(place[river.position(river.upstream(reach))])
            inside = np.zeros(rows.size, bool)
            inside[upstream] = True
            kept = inside[row] & inside[column]
            at = int(place[river.position([reach])[0]])
            origin = ids[at].item()
            of = {**attrs, "gage_catchment": origin, "gage_idx": at}
            group = root.create_group(str(name))
            _fill(group, row[kept], column[kept], values[kept], order[upstream], river.n_reaches, of)


def write_runoff(
    runoff: xr.DataArray, path: PathLike, network: NetworkLike, *, dt: Any = None, overwrite: bool = False
) -> None:
    """Write lateral inflow as DDR takes it: ``Qr(divide_id, time)`` [m3 s-1], by day or by hour.

    Parameters
    ----------
    runoff : (time, reach)
        Of all reaches of the network, in any order, in any units that `route` takes, by day or by hour.
    path
        The Zarr store.
    network
        The network, for its ids, and the areas that depths are multiplied by.
    dt
        Length of a step [s], a timedelta, or text like ``"1D"``; for a single time.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError
        For reaches, times and units that the layout has no place for.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import ddr
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = f"{tempfile.mkdtemp()}/streamflow.zarr"
    >>> ddr.write_runoff(ds.runoff, path, network)
    >>> xroute.io.open_dataset(path).Qr.dims
    ('divide_id', 'time')
    """
    river = as_network(network)
    series = series_of(runoff, river, "DDR", what="runoff", whole=True, dt=dt)
    if series.step not in (DAY, HOUR):
        raise TimeAxisError(
            f"DDR takes lateral inflow by day or by hour, and this is by {series.step:g} s: bring it to one of them, "
            'such as runoff.resample(time="1D").mean()'
        )
    _write(series, as_flux(series, river, "runoff"), "Qr", "divide_id", path, {"long_name": "lateral inflow"}, overwrite)


def write_discharge(
    discharge: xr.DataArray, path: PathLike, network: NetworkLike | None = None, *, dt: Any = None, overwrite: bool = False
) -> None:
    """Write discharge as DDR does: ``predictions(catchment_ids, time)`` [m3 s-1], as in its ``chrout.zarr``.

    Parameters
    ----------
    discharge : (time, reach)
        Of all reaches or some, in any units of a volume flux.
    path
        The Zarr store.
    network
        For the order; without it that of the discharge.
    dt, overwrite
        As for `write_runoff`.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, FileExistsError
        As `write_runoff`.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import ddr
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.isel(time=slice(0, 24)).route(network)
    >>> path = f"{tempfile.mkdtemp()}/chrout.zarr"
    >>> ddr.write_discharge(discharge, path)
    >>> xroute.io.open_dataset(path).predictions.dims
    ('catchment_ids', 'time')
    """
    river = None if network is None else as_network(network)
    series = series_of(discharge, river, "DDR", dt=dt)
    flow = as_flux(series, river, "discharge")
    _write(series, flow, "predictions", "catchment_ids", path, {"long_name": "Streamflow"}, overwrite)


def _write(
    series: Any, array: xr.DataArray, name: str, dim: str, path: PathLike, attrs: dict[str, str], overwrite: bool
) -> None:
    coords = {"time": ("time", series.starts), dim: (dim, catchments(array["reach"].values))}
    made = xr.DataArray(array.variable.data, coords, ("time", dim), name, {**attrs, "units": "m3 s-1"}).transpose(dim, "time")
    write(made.to_dataset().assign_attrs(units="m3 s-1", source="xroute"), path, overwrite=overwrite)


def _matrix(network: Network) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Reaches in the rows of the matrix, and its links: row, column, value; ordered by row and column."""
    up, down, fraction = network.links
    rows = upwards_first(network, drains_to(network.links, network.n_reaches))
    place = np.empty(rows.size, np.int64)
    place[rows] = np.arange(rows.size)
    if not (place[down] > place[up]).all():  # a lesser branch of a bifurcation
        rows = network.plan.order.astype(np.int64)
        place[rows] = np.arange(rows.size)
    row, column = place[down], place[up]
    order = np.lexsort((column, row))
    values = fraction if (fraction != 1).any() else np.ones(up.size, np.uint8)
    return rows, row[order], column[order], values[order]


def _described(ids: NDArray[Any], geodataset: str | None) -> tuple[dict[str, Any], NDArray[Any]]:
    """Attributes, and what stands in ``order``."""
    name = geodataset_of(ids) if geodataset == AS_IDS else geodataset
    return ({} if name is None else {"geodataset": name}), to_order(ids, name)


def _fill(
    group: Any, row: NDArray[Any], column: NDArray[Any], values: NDArray[Any], order: NDArray[Any], size: int,
    attrs: dict[str, Any],
) -> None:  # fmt: skip
    index = np.int32 if size < 2**31 else np.int64
    arrays = {"indices_0": row.astype(index), "indices_1": column.astype(index), "values": values}
    for name, data in arrays.items():
        group.create_array(name=name, shape=data.shape, dtype=data.dtype)[:] = data
    if order.dtype.kind == "U":
        text = group.create_array(name="order", shape=order.shape, dtype=str)
        text[:] = order.astype(object)
    else:
        group.create_array(name="order", shape=order.shape, dtype=order.dtype)[:] = order
    group.attrs.update({
        "format": "COO", "shape": [size, size], **attrs,
        "data_types": {name: str(data.dtype) for name, data in arrays.items()},
    })  # fmt: skip
