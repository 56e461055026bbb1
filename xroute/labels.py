"""Labels: which dimension is which, which row is which reach, how long a step is, and what the result is called.

Everything is aligned by id. The order of dimensions and of reaches is the runoff's own, in and out.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError, one_of, some
from xroute.ids import exact_ids, locate
from xroute.network import Network

__all__ = [
    "Layout",
    "align",
    "append_history",
    "dated_dims",
    "discharge_attrs",
    "find_time_dim",
    "next_time",
    "require_array",
    "standard_names",
    "seconds",
    "time_step",
]

STANDARD_NAME = "water_volume_transport_in_river_channel"


@dataclass(frozen=True)
class Layout:
    """How an array's dimensions and rows relate to a network.

    Attributes
    ----------
    dims
        The array's own order of dimensions.
    reach_dim, time_dim, batch_dims
        Which is which; ``time_dim`` is None for a snapshot.
    row
        Row of each reach in the array, -1 if it has none; None when reaches are rows. int64 [reach]
    result_row
        Row of each reach in the result, in the same way.
    coords
        Coordinates of the result.
    sizes
        Sizes of the result's dimensions.
    """

    dims: tuple[Hashable, ...]
    reach_dim: Hashable
    time_dim: Hashable | None
    batch_dims: tuple[Hashable, ...]
    row: NDArray[np.int64] | None
    result_row: NDArray[np.int64] | None
    coords: Mapping[Hashable, Any]
    sizes: Mapping[Hashable, int]

    @property
    def engine_dims(self) -> tuple[Hashable, ...]:
        """Order of dimensions in the engine: batch, reach, time."""
        return (*self.batch_dims, self.reach_dim) + (() if self.time_dim is None else (self.time_dim,))

    @property
    def n_batch(self) -> int:
        """Number of series of a reach."""
        return math.prod(self.sizes[d] for d in self.batch_dims)

    def ordered(self, data: NDArray[Any]) -> NDArray[Any]:
        """``data`` [batch, row, time], for any number of steps, in the array's own order of dimensions (a view)."""
        shape = (*(self.sizes[d] for d in (*self.batch_dims, self.reach_dim)), *data.shape[2:])
        return data.reshape(shape).transpose([self.engine_dims.index(d) for d in self.dims])

    def array(self, data: NDArray[Any]) -> xr.DataArray:
        """Label ``data`` [batch, row, time] as the result."""
        return xr.DataArray(self.ordered(data), dims=self.dims, coords=self.coords)


def require_array(array: Any, what: str = "runoff") -> xr.DataArray:
    """The array; what is not a DataArray is refused."""
    if not isinstance(array, xr.DataArray):
        hint = f": choose one of {some(array.data_vars)}" if isinstance(array, xr.Dataset) else ""
        raise XRouteError(f"{what} is an xarray.DataArray, not a {type(array).__name__}{hint}")
    return array


def align(
    array: xr.DataArray,
    network: Network,
    *,
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
    what: str = "runoff",
) -> Layout:
    """Find an array's rows in a network, by id.

    Raises
    ------
    AlignmentError
        If the reach dimension cannot be told or has no ids; for ids that stand twice, that the network does not have
        (``extra="raise"``), or that the array lacks (``missing="raise"``), of which the first ten are named; and for
        coordinates that cannot say that a value is unknown on reaches which are added.
    """
    one_of("missing", missing, ("raise", "zero"), AlignmentError)
    one_of("extra", extra, ("raise", "drop"), AlignmentError)
    dim = _find_reach_dim(array, network, reach_dim, time_dim, what)
    name = _id_coordinate(array, dim, what)
    ids = exact_ids(array[name].values, f"{what} {name!r}", AlignmentError)
    if ids.dtype.kind != network.ids.dtype.kind and ids.size and network.n_reaches:
        kinds = {"i": "integers", "U": "text"}
        raise AlignmentError(
            f"{what} ids are {kinds[ids.dtype.kind]} and the network's are {kinds[network.ids.dtype.kind]}: "
            f"convert one, e.g. {what}.assign_coords({name}={what}[{str(name)!r}].astype(...))"
        )
    batch_dims = tuple(d for d in array.dims if d not in (dim, time_dim))
    sizes = {d: array.sizes[d] for d in array.dims}
    if np.array_equal(ids, network.ids):
        return Layout(array.dims, dim, time_dim, batch_dims, None, None, array.coords, sizes)
    unique, count = np.unique(ids, return_counts=True)
    if unique.size < ids.size:
        raise AlignmentError(f"{int((count > 1).sum())} {what} ids stand more than once: {some(unique[count > 1])}")
    row = locate(network.ids, ids)
    kept = np.sort(row[row >= 0])
    lacking, alien = row < 0, ids.size - kept.size
    if alien and extra == "raise":
        stray = ids[np.setdiff1d(np.arange(ids.size), kept)]
        raise AlignmentError(
            f'{alien} {what} ids are not in the network: {some(stray)}. Leave them out with extra="drop", or check that '
            "this is the right network"
        )
    if lacking.any() and missing == "raise":
        raise AlignmentError(
            f"{int(lacking.sum())} reaches of the network have no {what}: {some(network.ids[lacking])}. "
            f'Take it as zero with missing="zero", or give it'
        )
    if not alien and not lacking.any():
        return Layout(array.dims, dim, time_dim, batch_dims, row, row, array.coords, sizes)
    place = np.full(ids.size, -1)
    place[kept] = np.arange(kept.size)
    result_row = np.where(lacking, kept.size + np.cumsum(lacking) - 1, place[row])
    sizes[dim] = kept.size + int(lacking.sum())
    coords = _other_rows(array, dim, name, kept, np.concatenate([ids[kept], network.ids[lacking]]))
    return Layout(array.dims, dim, time_dim, batch_dims, row, result_row, coords, sizes)


def standard_names(
    runoff: xr.DataArray,
    network: Network,
    *,
    missing: Literal["raise", "zero"] = "raise",
    extra: Literal["raise", "drop"] = "raise",
) -> xr.DataArray:
    """Name the dimensions ``time`` and ``reach``, with the ids on the latter, before anything is read.

    Raises
    ------
    AlignmentError, TimeAxisError
        As `xroute.route`.
    """
    time_dim = find_time_dim(runoff, "time")
    dim = align(runoff, network, time_dim=time_dim, missing=missing, extra=extra).reach_dim
    along = [c for c in runoff.coords.values() if c.dims == (dim,) and c.attrs.get("cf_role") == "timeseries_id"]
    if along and dim not in [c.name for c in along]:
        runoff = runoff.drop_vars([along[0].name, dim], errors="ignore").assign_coords({dim: along[0].variable})
    names = {old: new for old, new in ((dim, "reach"), (time_dim, "time")) if old != new}
    renamed = runoff.rename(names)
    chunks = runoff.encoding.get("preferred_chunks")
    if chunks is not None:  # by which blocks are chosen
        renamed.encoding["preferred_chunks"] = {names.get(d, d): size for d, size in chunks.items()}
    return renamed


def _other_rows(
    array: xr.DataArray, dim: Hashable, name: Hashable, kept: NDArray[np.int64], ids: NDArray[Any]
) -> Mapping[Hashable, Any]:
    """Coordinates of the rows that are kept, and of rows that are added (unknown there but for ``ids``)."""
    table = array.coords.to_dataset().isel({dim: kept})
    n_added = ids.size - kept.size
    if not n_added:
        return table.coords
    whole = [n for n, c in table.coords.items() if n != name and dim in c.dims and c.dtype.kind in "iub"]
    if whole:
        raise AlignmentError(
            f"{n_added} reaches have none of the coordinates {some(whole)}, and {table[whole[0]].dtype} has no value for "
            f"unknown: drop_vars({whole!r}), or give these reaches too"
        )
    return table.pad({dim: (0, n_added)}).assign_coords({name: (dim, ids, table[name].attrs)}).coords


def _find_reach_dim(
    array: xr.DataArray, network: Network, reach_dim: Hashable | None, time_dim: Hashable | None, what: str
) -> Hashable:
    if reach_dim is not None:
        if reach_dim not in array.dims:
            raise AlignmentError(f"{what} has no dimension {reach_dim!r}; it has {some(array.dims)}")
        return reach_dim
    if "reach" in array.dims:
        return "reach"
    fits = []
    for dim in array.dims:
        coordinates = [c for c in array.coords.values() if c.dims == (dim,)]
        if dim == time_dim or not coordinates:
            continue
        if any(c.attrs.get("cf_role") == "timeseries_id" for c in coordinates):
            return dim
        if dim in array.coords and array[dim].dtype.kind in "iufUSOT":
            index = pd.Index(array[dim].values)
            wanted = network.ids.astype(object) if network.ids.dtype.kind == "U" else network.ids
            if index.isin(wanted).any():
                fits.append(dim)
    if len(fits) == 1:
        return fits[0]
    raise AlignmentError(
        f"cannot tell which dimension of {what} is the reach: it has {some(array.dims)}"
        + (f", and ids of the network stand on {some(fits)}" if fits else ", none of which bears ids of the network")
        + ". Give reach_dim="
    )


def _id_coordinate(array: xr.DataArray, dim: Hashable, what: str) -> Hashable:
    """Name of the ids: the coordinate that says so itself (``cf_role``), or else the dimension's own."""
    marked = [n for n, c in array.coords.items() if c.dims == (dim,) and c.attrs.get("cf_role") == "timeseries_id"]
    if dim in array.coords and (dim in marked or not marked):
        return dim
    if marked:
        return marked[0]
    raise AlignmentError(
        f"{what} has no ids along {dim!r}, and is never matched by position. If its rows are the network's, in order: "
        f"{what}.assign_coords({dim}=network.reach.values)"
    )


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def seconds(dt: Any) -> float:
    """Length of a step in seconds from a number (text or not), a timedelta, or text such as ``"3h"``.

    Raises
    ------
    TimeAxisError
        If it is not a time span, or not positive.
    """
    try:
        if isinstance(dt, str) and re.fullmatch(r"[-+.\de]+", dt.strip()):
            value = float(dt)
        elif isinstance(dt, (str, np.timedelta64, datetime.timedelta)):  # now: timedelta64 is an np.integer too
            value = pd.Timedelta(dt).total_seconds()
        elif isinstance(dt, (int, float, np.integer, np.floating)) and not isinstance(dt, bool):
            value = float(dt)
        else:
            raise TypeError(f"a {type(dt).__name__}")
    except (ValueError, TypeError) as error:
        raise TimeAxisError(
            f"dt is a number of seconds, a timedelta, or text like '3h', not {dt!r} ({error})"
        ) from error
    if not (np.isfinite(value) and value > 0):
        raise TimeAxisError(f"dt must be positive, not {dt!r}")
    return value


def find_time_dim(array: xr.DataArray, time_dim: Hashable) -> Hashable:
    """Name of the time dimension: the one given, or else the only one whose coordinate bears dates."""
    if time_dim in array.dims:
        return time_dim
    dated = dated_dims(array)
    if time_dim == "time" and len(dated) == 1:
        return dated[0]
    raise TimeAxisError(f"runoff has no dimension {time_dim!r}; it has {some(array.dims)}. Give time_dim=")


def dated_dims(array: xr.DataArray) -> list[Hashable]:
    """Dimensions whose coordinates bear dates."""
    return [d for d in array.dims if d in array.coords and _is_dated(array[d].values)]


def time_step(array: xr.DataArray, time_dim: Hashable, dt: Any = None) -> float | None:
    """Step of the time axis [s]; None if it has fewer than two times and ``dt`` is not given.

    Raises
    ------
    TimeAxisError
        For times that are missing, disordered, double or irregular (the place is named), for a ``dt`` that contradicts
        them, and for plain numbers without ``dt``.
    """
    given = None if dt is None else seconds(dt)
    if time_dim not in array.coords:
        if given is None and array.sizes[time_dim]:
            raise TimeAxisError(f"{time_dim!r} has no coordinate, so the step is unknown: give dt= (seconds, or '3h')")
        return given
    values = array[time_dim].values
    if values.size and isinstance(values.flat[0], pd.Period):
        raise TimeAxisError(
            f"{time_dim!r} holds periods, not times: assign_coords({time_dim}=runoff.indexes[{time_dim!r}].to_timestamp())"
        )
    if pd.isna(values).any():
        raise TimeAxisError(f"times are missing (NaT), first at position {int(np.flatnonzero(pd.isna(values))[0])}")
    dated = _is_dated(values)
    if not dated and given is None and values.size:
        since = " (undecoded: use xr.decode_cf)" if "since" in str(array[time_dim].attrs.get("units", "")) else ""
        raise TimeAxisError(f"{time_dim!r} is not dates but {values.dtype}{since}: decode it, or give dt=")
    if values.size < 2:
        return given
    steps = _steps(values)
    step = float(np.median(steps)) if not dated or given is None else given
    if step <= 0 and (steps <= 0).all():
        raise TimeAxisError(
            f"times {'decrease' if (steps < 0).any() else 'are all the same'}: runoff.sortby({time_dim!r})"
        )
    bad = np.flatnonzero(np.abs(steps - step) > 1e-6 * abs(step))
    if bad.size:
        i = int(bad[0])
        if dated and given is not None and bad.size == steps.size and np.ptp(steps) == 0:
            raise TimeAxisError(f"dt is {given:g} s, but times are {steps[0]:g} s apart")
        unit = " s" if dated else ""
        kinds = {-1: "a step back", 0: "a duplicate", 1: "a gap" if steps[i] > step else "a short step"}
        raise TimeAxisError(
            f"times are not regular: {kinds[int(np.sign(steps[i]))]} of {steps[i]:g}{unit} between {_show(values[i])} "
            f"and {_show(values[i + 1])} "
            f"(positions {i} and {i + 1}), where the step is {step:g}{unit}; {bad.size} such places. "
            "Fill or reindex the series first: no step is skipped silently"
        )
    return step if dated and given is None else given


def next_time(array: xr.DataArray, time_dim: Hashable, dt: float) -> str | None:
    """Time at the end of the last step, as text; None if times are not dates."""
    return _moment(array, time_dim, -1, dt)


def first_time(array: xr.DataArray, time_dim: Hashable) -> str | None:
    """First time, as `next_time` writes it."""
    return _moment(array, time_dim, 0, 0.0)


def _moment(array: xr.DataArray, time_dim: Hashable, position: int, later: float) -> str | None:
    if time_dim not in array.coords or not array.sizes[time_dim] or not _is_dated(array[time_dim].values):
        return None
    moment = array[time_dim].values[position]
    if isinstance(moment, np.datetime64):
        return (pd.Timestamp(moment) + pd.Timedelta(later, "s")).isoformat()
    if isinstance(moment, np.timedelta64):
        return (pd.Timedelta(moment) + pd.Timedelta(later, "s")).isoformat()
    return str((moment + datetime.timedelta(seconds=later)).isoformat())


def _is_dated(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "mM" or (
        values.dtype.kind == "O" and values.size > 0 and hasattr(values.flat[0], "year")
    )


def _steps(values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind in "mM":
        return np.diff(values).astype("timedelta64[ns]").astype(np.int64) / 1e9
    if values.dtype.kind == "O":  # cftime: microseconds are exact in its differences
        return np.array([d.total_seconds() for d in np.diff(values)])
    return np.diff(values).astype(np.float64)


def _show(value: Any) -> str:
    return pd.Timestamp(value).isoformat() if isinstance(value, np.datetime64) else str(value)


# ── attributes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def discharge_attrs(units: str | None, sampling: str, time_dim: Hashable) -> dict[str, str]:
    """CF attributes of discharge."""
    attrs = {"long_name": "river discharge", "standard_name": STANDARD_NAME}
    if units is not None:
        attrs["units"] = units
    attrs["cell_methods"] = f"{time_dim}: {'point' if sampling == 'last' else 'mean'}"
    return attrs


def append_history(history: str | None, line: str) -> str:
    """CF history, extended by a dated line."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (f"{history.rstrip()}\n" if history else "") + f"{stamp} {line}"
