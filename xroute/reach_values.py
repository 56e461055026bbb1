"""Values that callers give for the reaches of a network: numbers, arrays and labelled ones, matched by id, never by position.

Also what a variable that was estimated says of itself (``attrs["estimated"]``), which goes when it is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, NetworkError, ParameterError, some, warn
from xroute.ids import ID_KINDS, convertible, exact_ids, positions_of, repeated
from xroute.units import without_pint

__all__ = ["CALIBRATED", "ESTIMATED", "assigned", "by_reach", "note_estimates"]

TOPOLOGY = ("reach", "downstream", "upstream_reach", "downstream_reach", "fraction")
"""Variables that say which reach drains to which: what a `Network` has read once, and does not change."""
CALIBRATED = "calibrated"
"""Attribute of a network, and variable on its reaches, that say that parameters were calibrated, and where."""
ESTIMATED = "estimated"
"""Attribute of variables that were estimated, and of Datasets that hold some: how, and from what."""


def by_reach(value: Any, ids: NDArray[Any], name: str, *, gaps: bool = True) -> xr.Variable:
    """A variable of a network made of what a caller gives for it; a copy.

    Parameters
    ----------
    value
        A number or a text for all reaches; values [reach] in the network's order (an array, or a tuple as xarray takes them,
        ``("reach", values, attrs)``); or what bears ids: a DataArray on ``reach``, a Series whose index they are, a mapping.
    ids : [reach]
        Ids of the network.
    name
        What it is called, for messages.
    gaps
        Whether NaN may stand where there is none, for messages.

    Raises
    ------
    AlignmentError
        For labels that are not the network's ids, each once.
    ParameterError
        For what has another number of values, or holds neither numbers nor text nor times.
    """
    if isinstance(value, (tuple, xr.Variable)):
        value = _unlabelled(value, name)
    elif hasattr(value, "magnitude") and hasattr(value, "units"):  # pint's own arrays
        dims = () if np.ndim(value.magnitude) == 0 else ("reach",)
        value = _unlabelled((dims, value), name)
    elif isinstance(value, Mapping):
        value = pd.Series(dict(value))
    if isinstance(value, pd.Series):
        value = xr.DataArray(value.to_numpy(), dims="reach", coords={"reach": value.index.to_numpy()})
    if isinstance(value, xr.DataArray):
        array = _with_reach(without_pint(value, repr(name)), ids)
        variable = array.variable if "reach" not in array.dims else _aligned(array, ids, name, gaps).variable
    elif isinstance(value, xr.Variable):
        variable = value
    else:
        variable = _plain(value, ids, name)
    if not variable.dims:
        variable = xr.Variable("reach", np.broadcast_to(variable.values, ids.shape), variable.attrs)
    if variable.sizes.get("reach", ids.size) != ids.size:
        raise ParameterError(f"{name!r} has {variable.sizes['reach']} values, and the network {ids.size} reaches")
    values = np.array(variable.values)
    if values.dtype.kind == "O" and all(isinstance(v, str) for v in values.ravel()):
        values = values.astype(str)
    if values.dtype.kind not in "biufUMm":
        raise ParameterError(
            f"{name!r} holds neither numbers nor text nor times, but {values.dtype}: {some(values.ravel(), 3)}"
        )
    return xr.Variable(variable.dims, values, dict(variable.attrs))


def _unlabelled(value: Any, name: str) -> xr.Variable:
    """What xarray takes for a variable; units that pint has attached are in its attributes then."""
    try:
        return without_pint(xr.DataArray(xr.as_variable(value, name=None)), repr(name)).variable
    except (TypeError, ValueError, xr.MergeError) as error:
        raise ParameterError(
            f"{name!r}: a tuple is (dimensions, values, attributes), as xarray takes it ({error})"
        ) from error


def _plain(value: Any, ids: NDArray[Any], name: str) -> xr.Variable:
    """A number or a text for all, or values in the order of the reaches."""
    if value is None or isinstance(value, (set, frozenset)):
        raise ParameterError(f"{name!r}: numbers, values [reach] or a DataArray on 'reach', not {value!r}")
    if isinstance(value, pd.Timedelta):
        value = value.to_timedelta64()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"{name!r}: values [reach] cannot be made of a {type(value).__name__}: {error}") from error
    if array.dtype.kind == "O" and array.size and hasattr(array.ravel()[0], "total_seconds"):
        array = array.astype("timedelta64[ns]")
    if array.ndim and array.shape != ids.shape:
        raise ParameterError(f"{name!r} has the shape {array.shape}, and the network {ids.size} reaches")
    return xr.Variable(("reach",) * array.ndim, array)


def _with_reach(array: xr.DataArray, ids: NDArray[Any]) -> xr.DataArray:
    """The array with its reaches on ``reach``, where they are by another name: a coordinate that holds the network's ids."""
    if "reach" in array.dims and "reach" in array.coords:
        return array
    for name, coordinate in array.coords.items():
        if coordinate.ndim != 1 or coordinate.size != ids.size or coordinate.dtype.kind not in "iuU":
            continue
        found = exact_ids(coordinate.values, str(name), AlignmentError)
        if (positions_of(found, ids) >= 0).all() and not repeated(found).size:
            dim = coordinate.dims[0]
            bare = array.drop_vars([n for n, c in array.coords.items() if dim in c.dims])
            return bare.rename({} if dim == "reach" else {dim: "reach"}).assign_coords(reach=found)
    return array


def _aligned(array: xr.DataArray, ids: NDArray[Any], name: str, gaps: bool) -> xr.DataArray:
    """A labelled array in the order of ids."""
    if "reach" not in array.coords:
        raise AlignmentError(
            f"{name!r} stands on 'reach' without the ids of its reaches: give it the coordinate 'reach', or its values alone "
            "(.values) if they are in the network's order"
        )
    given = exact_ids(array["reach"].values, f"{name!r}: reach", AlignmentError)
    if given.size and ids.size and given.dtype.kind != ids.dtype.kind:
        how = convertible(given, ids)
        raise AlignmentError(
            f"the ids of {name!r} are {ID_KINDS[given.dtype.kind]} ({some(given, 2)}), and those of the network "
            f"{ID_KINDS[ids.dtype.kind]} ({some(ids, 2)})" + (f": convert them, {how}" if how else "")
        )
    twice = repeated(given)
    if twice.size:
        raise AlignmentError(f"{twice.size} ids of {name!r} stand more than once: {some(twice)}")
    at = positions_of(ids, given)
    if (at < 0).any():
        how = "Give NaN where there is none, array.reindex(reach=network.ids)" if gaps else "Give it for each of them"
        raise AlignmentError(
            f"{name!r} lacks {int((at < 0).sum())} of the network's {ids.size} reaches: {some(ids[at < 0])}. {how}"
        )
    if given.size > ids.size:
        others = given[positions_of(given, ids) < 0]
        raise AlignmentError(
            f"{name!r} has {others.size} reaches that the network has not: {some(others)}. Take those that it has, "
            "array.sel(reach=network.ids)"
        )
    return array.isel(reach=at)


def assigned(dataset: xr.Dataset, ids: NDArray[Any], given: Mapping[str, Any]) -> xr.Dataset:
    """A network Dataset with these variables put in, or in place of those it has.

    Raises
    ------
    NetworkError
        For variables that say which reach drains to which.
    AlignmentError, ParameterError
        As `by_reach`.
    """
    topology = [name for name in given if name in TOPOLOGY]
    if topology:
        raise NetworkError(
            f"{some(topology)} say{'s' * (len(topology) == 1)} which reach drains to which, and cannot be assigned: a network "
            "with other links is another one, Network(network.dataset.assign(...)) or Network.from_links(...)"
        )
    made = {}
    for name, value in given.items():
        value = value(dataset) if callable(value) and not isinstance(value, xr.DataArray) else value
        variable = made[name] = by_reach(value, ids, name)
        before = dataset[name].attrs.get("units") if name in dataset.variables else None
        if before and "units" not in variable.attrs and variable.dtype.kind in "iuf" and str(before).strip() not in _SI:
            warn(
                f"{name!r} was in {before!r}, and what takes its place has no units, so that it is read as SI: give it units, "
                f'array.assign_attrs(units="{before}"), if it is not'
            )
        variable.values.setflags(write=False)
    places = [name for name in given if name in dataset.coords or name in ("lon", "lat")]
    return note_estimates(dataset.drop_vars([p for p in places if p in dataset.coords]).assign(made).set_coords(places))


_SI = ("s", "1", "m", "m2", "m s-1", "m2 s-1", "m3 s-1")
"""Units in which numbers without any are read."""


def note_estimates(dataset: xr.Dataset) -> xr.Dataset:
    """The Dataset, whose attribute says of its variables what they say themselves: which are estimated, and how."""
    notes: dict[str, list[str]] = {}
    for name, variable in dataset.variables.items():
        if ESTIMATED in variable.attrs:
            notes.setdefault(str(variable.attrs[ESTIMATED]), []).append(str(name))
    dataset = dataset.copy(deep=False)
    dataset.attrs = {name: value for name, value in dataset.attrs.items() if name != ESTIMATED}
    if notes:
        dataset.attrs[ESTIMATED] = "; ".join(f"{', '.join(names)}: {text}" for text, names in notes.items())
    return dataset
