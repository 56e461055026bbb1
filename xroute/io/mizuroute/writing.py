"""Write what mizuRoute reads, in netCDF: networks, runoff of HRUs, and weights.

Names and dimensions are those that mizuRoute takes where a control file says nothing. Ids are 32-bit integers where they fit, and
else 64-bit ones, which it reads, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.bounds import LABELS, edges
from xroute.exceptions import AlignmentError, NetworkError, ParameterError, TimeAxisError, some, warn
from xroute.files.opening import PathLike
from xroute.files.writing import write
from xroute.grids.form import check_weights, index_names
from xroute.ids import exact_ids, positions_of, within
from xroute.io.layout_series import units_of
from xroute.io.mizuroute.mapping import TOLERANCE
from xroute.io.mizuroute.network import HRU, HRU_AREA, HRU_REACH
from xroute.network_files import as_network
from xroute.settings import Label
from xroute.stamps import is_dated, offsets
from xroute.times import read_clock
from xroute.units import flux_in_si, flux_scale, to_si

__all__ = [
    "CALENDARS", "by_reach", "calendar_of", "hrus_to_write", "narrow", "time_variables", "whole_ids", "write_network",
    "write_runoff", "write_weights",
]  # fmt: skip

OURS = (
    "downstream", "downstream_id", "scheme", "delay", "headwater_length", "celerity", "diffusivity", "fshape", "tscale", "area",
)  # fmt: skip
"""Variables on reaches that mizuRoute has under other names, or not at all."""
CALENDARS = ("standard", "gregorian", "proleptic_gregorian", "noleap")
"""Calendars that mizuRoute has."""
LIMIT = np.iinfo(np.int32).max


def write_network(network: Any, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a network as mizuRoute's netCDF of segments and HRUs.

    Parameters
    ----------
    network
        Network, its Dataset, or the path of one, with integer ids above 0, ``length``, ``slope`` and ``area``. HRUs are those
        that it brought with it (`read_network`); a network without any gets one a reach, with its id and area.
    path
        ``*.nc``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    NetworkError
        For ids of another kind, bifurcations, and variables that mizuRoute cannot do without.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import mizuroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/topology.nc"
    >>> mizuroute.write_network(network.assign(slope=("reach", [1e-3] * network.sizes["reach"])), path)
    >>> mizuroute.read_network(path).sizes["hru"]
    2312
    """
    river = as_network(network)
    data, ids = river.dataset, whole_ids(river.ids, "reaches")
    if river.has_bifurcations:
        raise NetworkError("the network has bifurcations, and a segment of mizuRoute drains to one other: leave links out")
    lacking = [name for name in ("length", "slope") if name not in data]
    if lacking:
        raise NetworkError(
            f"mizuRoute wants the length and slope of each segment, and the network has no {some(lacking)}. IRF makes no use of "
            "slopes: any number above 0 will do for it"
        )
    up, down, _ = river.links
    to = np.zeros(ids.size, np.int64)
    if "downstream_id" in data:  # of outlets the file's own, which mizuRoute takes for one
        own = data["downstream_id"].values
        to = np.where(within(own, ids), 0, own) if own.dtype.kind in "iu" else to
    to[up] = ids[down]
    unit, of, size = hrus_to_write(data, ids)
    on_segment = {
        "segId": (ids, {"long_name": "unique id of each stream segment", "units": "-"}),
        "downSegId": (to, {"long_name": "unique id of the next downstream segment", "units": "-"}),
        "length": (to_si(data["length"], "m", "length"), {"long_name": "length of segment", "units": "m"}),
        "slope": (to_si(data["slope"], "1", "slope"), {"long_name": "slope of segment", "units": "-"}),
    }
    for name, variable in data.variables.items():
        if variable.dims == ("reach",) and name not in (*OURS, *on_segment, "reach") and variable.dtype.kind in "iuf":
            on_segment[str(name)] = (variable.values, dict(variable.attrs))
    on_hru = {
        "HRUid": (unit, {"long_name": "unique HRU id", "units": "-"}),
        "hruSegId": (of, {"long_name": "id of the stream segment below each HRU", "units": "-"}),
        "area": (size, {"long_name": "basin area", "units": "m2"}),
    }
    made = {name: ("seg", narrow(values), attrs) for name, (values, attrs) in on_segment.items()}
    made |= {name: ("hru", narrow(values), attrs) for name, (values, attrs) in on_hru.items()}
    write(xr.Dataset(made, attrs={"source": "xroute"}), path, overwrite=overwrite)


def whole_ids(ids: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Ids that mizuRoute can have.

    Raises
    ------
    NetworkError
        For others.
    """
    if ids.dtype.kind != "i" or (ids <= 0).any():
        bad = ids if ids.dtype.kind != "i" else ids[ids <= 0]
        raise NetworkError(f"mizuRoute's ids are whole numbers above 0, and {bad.size} {what} have others: {some(bad)}")
    return ids


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers in 32 bits, where they fit."""
    if values.dtype.kind not in "iu" or (values.size and np.abs(values).max() > LIMIT):
        return values
    return values.astype(np.int32)


def hrus_to_write(data: xr.Dataset, ids: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Ids of HRUs, the segments that they drain to, and their areas [m2]: one a reach where the network has none."""
    if HRU_REACH in data and HRU_AREA in data:
        unit, of = exact_ids(data[HRU].values, "HRUs"), exact_ids(data[HRU_REACH].values, HRU_REACH)
        kept = (of <= 0) | within(of, ids)
        return whole_ids(unit, "HRUs")[kept], of[kept], to_si(data[HRU_AREA], "m2", HRU_AREA)[kept]
    if "area" not in data:
        raise NetworkError("mizuRoute wants the area of each HRU, and the network has no 'area' of its reaches")
    return ids, ids, to_si(data["area"], "m2", "area")


# ── runoff and weights ────────────────────────────────────────────────────────────────────────────────────────────────


def write_runoff(
    runoff: xr.DataArray, path: PathLike, network: Any, *, dt: Any = None, label: Label | None = None, overwrite: bool = False
) -> None:
    """Write runoff as depths of HRUs [m/s], with times at the beginning of their steps.

    Parameters
    ----------
    runoff : (time, reach)
        In any units that `xroute.route` takes. All HRUs of a reach get the same depth, so that their sum is the reach's runoff.
    path
        ``*.nc``.
    network
        With the areas of reaches, and their HRUs if it has any.
    dt, label
        Step [s], and what a time is of its step, where the runoff does not tell.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError
        For reaches of the network without runoff, and dimensions beside time and reach.
    NetworkError
        If the network has no areas.
    ParameterError
        For runoff on reaches of no area.
    UnitsError
        For runoff without units, or in those of something else.
    TimeAxisError
        For times that are no dates, or of a calendar that mizuRoute does not have.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import mizuroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> mizuroute.write_runoff(ds.runoff, tempfile.mkdtemp() + "/runoff.nc", network)
    """
    river = as_network(network)
    clock = read_clock(runoff, "time", dt, label)
    values, row = by_reach(runoff, river.ids, "runoff")
    if "area" not in river.dataset:
        raise NetworkError("runoff of mizuRoute is a depth, and the network has no 'area' of its reaches")
    area = to_si(river.dataset["area"], "m2", "area")
    scale, flux = flux_scale(units_of(runoff, "runoff"), clock.step, river.dataset["area"])
    flow = values.astype(np.float64)[:, row] * (flux_in_si(flux, "runoff") if scale is None else scale)
    nowhere = (area <= 0) & (flow != 0).any(axis=0)
    if nowhere.any():
        raise ParameterError(
            f"{int(nowhere.sum())} reaches have runoff and no area, which mizuRoute multiplies depths by: "
            f"{some(river.ids[nowhere])}"
        )
    depth = np.divide(flow, area, out=np.zeros_like(flow), where=area > 0)
    unit, of, _ = hrus_to_write(river.dataset, river.ids)
    at = positions_of(of, river.ids)
    on_hru = np.where(at >= 0, depth[:, np.maximum(at, 0)], 0.0)  # of HRUs that drain to no segment it counts for nothing
    shift = -LABELS[clock.label or "start"] * (clock.step or 0.0)
    variables = {
        "runoff": (("time", "hru"), on_hru, {"units": "m/s", "long_name": "runoff"}),
        "hru": ("hru", narrow(unit), {"long_name": "HRU id", "units": "-"}),
        **time_variables(runoff["time"], shift, clock.step, None),
    }
    write(xr.Dataset(variables, attrs={"source": "xroute"}), path, overwrite=overwrite)


def by_reach(array: xr.DataArray, ids: NDArray[Any], what: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values [time, reach] of an array, and where each id stands in them."""
    strange = set(array.dims) - {"time", "reach"}
    if strange or not {"time", "reach"} <= set(array.dims):
        raise AlignmentError(
            f"{what} has the dimensions {some(array.dims)}, and mizuRoute's files are of time and reach: choose one entry of the "
            "others, such as isel(member=0)"
        )
    if "reach" not in array.coords:
        raise AlignmentError(f"{what} has no ids of reaches: assign_coords(reach=...)")
    row = positions_of(ids, exact_ids(array["reach"].values, what, AlignmentError))
    if (row < 0).any():
        raise AlignmentError(f"{int((row < 0).sum())} reaches of the network have no {what}: {some(ids[row < 0])}")
    return array.transpose("time", "reach").values, row


def calendar_of(time: xr.DataArray) -> str:
    """Calendar of dates; nothing for others."""
    first = time.values.ravel()[0]
    return "proleptic_gregorian" if time.dtype.kind == "M" else str(getattr(first, "calendar", ""))


def time_variables(time: xr.DataArray, shift: float, step: float | None, label: str | None) -> dict[str, Any]:
    """Variable of times, ``shift`` seconds later, as seconds since the first; with a label the bounds of steps, too."""
    if not time.size or not is_dated(time):
        raise TimeAxisError("mizuRoute's times are dates: assign_coords(time=...)")
    values = time.values
    ticks, tick = offsets(values)
    calendar = calendar_of(time)
    if values.dtype.kind == "m" or calendar not in CALENDARS:
        raise TimeAxisError(
            f"mizuRoute's calendars are {', '.join(CALENDARS)}, not {calendar or 'durations'!r}: convert_calendar makes one "
            "of them"
        )
    dated = values.dtype.kind == "M"
    first = np.datetime_as_string(values[0].astype("datetime64[us]")).replace("T", " ") if dated else str(values[0])
    whole, _, rest = first.partition(".")
    seconds = ticks * tick + (float(f"0.{rest}") if rest else 0.0) + shift
    attrs = {"units": f"seconds since {whole}", "calendar": calendar, "long_name": "time"}
    made: dict[str, Any] = {"time": ("time", seconds, attrs)}
    if label is not None and step is not None:
        ends = {"units": attrs["units"], "calendar": calendar, "long_name": "time interval endpoints"}
        made["time_bounds"] = (("time", "tbound"), edges(seconds, step, label), ends)
    return made


def write_weights(weights: xr.Dataset, path: PathLike, network: Any, *, overwrite: bool = False) -> None:
    """Write weights of a grid, or of a model's units, as mizuRoute's mapping.

    Parameters
    ----------
    weights
        Of `xroute.grid_weights` or `xroute.grids.read_weights`. All HRUs of a reach get the overlaps of its catchment.
    path
        ``*.nc``.
    network
        Network of the same reaches, with their HRUs if it has any.
    overwrite
        Replace what is at the path.

    Raises
    ------
    ParameterError
        What is no Dataset of weights, and units whose ids are not known.
    AlignmentError
        Weights of reaches that the network does not have.

    Notes
    -----
    ``weight`` is the part of the catchment that lies in a cell. mizuRoute divides by the sum of weights where it is not one, and
    so fills the part of a catchment that the grid does not cover: then a warning says so.

    Examples
    --------
    >>> import tempfile, pandas as pd, xroute
    >>> from xroute.io import mizuroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> table = pd.DataFrame({"rivid": [1, 1], "area_sqm": [6e5, 4e5], "lon_index": [0, 1], "lat_index": 0})
    >>> mizuroute.write_weights(xroute.grids.read_weights(table), tempfile.mkdtemp() + "/remap.nc", network)
    """
    check_weights(weights)
    river, names = as_network(network), index_names(weights)
    alien = weights["catchment"].values[~within(weights["catchment"].values, river.ids)]
    if alien.size:
        raise AlignmentError(f"{alien.size} catchments of the weights are no reaches of the network: {some(alien)}")
    if len(names) == 1 and "cell_id" not in weights:
        raise ParameterError("the weights are of a model's units, and do not say their ids ('cell_id'): read_weights notes them")
    unit, of, _ = hrus_to_write(river.dataset, river.ids)
    unit, of = unit[within(of, weights["catchment"].values)], of[within(of, weights["catchment"].values)]
    owner = positions_of(weights["reach"].values, weights["catchment"].values)
    whole = weights["catchment_area"].values
    part = np.divide(weights["area"].values, whole[owner], out=np.zeros(owner.size), where=whole[owner] > 0)
    order = np.argsort(owner, kind="stable")
    count = np.bincount(owner, minlength=whole.size)
    first = np.cumsum(count) - count
    at = positions_of(of, weights["catchment"].values)
    taken = np.concatenate([np.zeros(0, np.int64), *(order[first[k] : first[k] + count[k]] for k in at)])
    covered = np.bincount(owner, part, whole.size)[at]
    partly = (covered > 0) & (np.abs(covered - 1) > TOLERANCE)
    if partly.any():
        warn(f"the grid covers {int(partly.sum())} HRUs in part: {some(unit[partly])}. mizuRoute fills the rest with their means")
    variables: dict[str, Any] = {
        "polyid": ("polyid", narrow(unit), {"long_name": "id of the river network's HRU"}),
        "overlaps": ("polyid", count[at].astype(np.int32), {"long_name": "number of overlaps of the HRU"}),
        "weight": ("data", part[taken], {"long_name": "part of the HRU"}),
    }
    if len(names) == 1:
        cell = exact_ids(weights["cell_id"].values[taken], "units of the weights", AlignmentError)
        variables["overlapPolyId"] = ("data", narrow(cell), {"long_name": "id of the runoff's unit"})
    else:
        for name, ours, along in (("i_index", names[1], "columns"), ("j_index", names[0], "rows")):
            values = weights[ours].values[taken].astype(np.int32) + 1
            variables[name] = ("data", values, {"long_name": f"position of the cell along the {along} of the runoff, from 1"})
    write(xr.Dataset(variables, attrs={"source": "xroute"}), path, overwrite=overwrite)
