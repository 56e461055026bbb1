"""Which dimension of an array is the reach, and which coordinate along it bears the ids.

A coordinate may be the one because it says so (``cf_role="timeseries_id"``), because its values are ids of the network, or
because there is no other; one that merely counts rows yields to any that does more.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, XRouteError, some
from xroute.grid_axes import grid_dims
from xroute.ids import convertible, declared_fills, exact_ids, is_positional, positions_of
from xroute.wording import argument, phrase

__all__ = ["other_kind", "read_reach_ids"]


def read_reach_ids(
    array: xr.DataArray, reaches: NDArray[Any], reach_dim: Hashable | None, time_dim: Hashable | None, what: str
) -> tuple[Hashable, Hashable, NDArray[Any]]:
    """The reach dimension of an array, the coordinate that bears the ids along it, and these, of the network's kind.

    Parameters
    ----------
    array
        Its values are not read.
    reaches : [reach]
        Ids of the network's reaches, which are looked for.
    reach_dim, time_dim
        The reach dimension if the caller names it, and the time dimension, which is none.
    what
        What the array is, for messages.
    """
    dim, candidates = _find_reach_dim(array, reaches, reach_dim, time_dim, what)
    name = _id_coordinate(array, reaches, dim, what, candidates)
    ids = exact_ids(array[name].values, f"{what} {name!r}", AlignmentError, fills=declared_fills(array[name]))
    if ids.dtype.kind != reaches.dtype.kind and ids.size and reaches.size:
        raise AlignmentError(other_kind(array, name, ids, reaches, what))
    return dim, name, ids


def _find_reach_dim(
    array: xr.DataArray, reaches: NDArray[Any], reach_dim: Hashable | None, time_dim: Hashable | None, what: str
) -> tuple[Hashable, list[_IdCoordinate] | None]:
    """The reach dimension, and what bears ids along it if that was looked at."""
    if reach_dim is not None:
        if reach_dim not in array.dims:
            raise AlignmentError(f"{what} has no dimension {reach_dim!r}; it has {some(array.dims)}")
        return reach_dim, None
    if "reach" in array.dims:
        return "reach", None
    found = {dim: _id_coordinates(array, reaches, dim) for dim in array.dims if dim != time_dim}
    marked = [dim for dim, candidates in found.items() if any(c.marked for c in candidates)]
    if len(marked) == 1:
        return marked[0], found[marked[0]]
    grid = grid_dims(array)
    if len(grid) == 1 and any(c.full and not c.is_positional for c in found.get(grid[0], ())):
        return grid[0], found[grid[0]]  # a model that calls its units cells, with the reaches' ids beside them
    if grid:
        raise AlignmentError(
            f"{what} stands on a grid ({' x '.join(map(repr, grid))}), not on the reaches of the network. "
            + _from_a_grid(what)
        )
    fits = [dim for dim, candidates in found.items() if any(c.some for c in candidates)]
    if len(fits) > 1:  # members and the like are counted from 0 or 1
        fits = [dim for dim in fits if any(c.some and not c.is_positional for c in found[dim])] or fits
    fits = fits or [dim for dim, candidates in found.items() if any(c.converted for c in candidates)]
    if len(fits) == 1:
        return fits[0], found[fits[0]]
    if len(found) == 1:
        dim, candidates = next(iter(found.items()))
        if not candidates or not all(c.is_positional for c in candidates):
            return dim, candidates  # what is wrong with its ids is said by name
    raise AlignmentError(
        f"cannot tell which dimension of {what} is the reach: it has {some(array.dims)}"
        + (f", and ids of the network stand on {some(fits)}" if fits else ", none of which bears ids of the network")
        + f". Give {argument('reach_dim')}"
    )


def _from_a_grid(what: str) -> str:
    """What to do with a field on a grid."""
    return phrase(
        "grid",
        "Make weights of the cells in their catchments, once: weights = xroute.grid_weights(grid, catchments); then "
        + ("give weights=weights" if what == "runoff" else f"bring {what} to the reaches: xroute.remap(grid, weights)"),
    )


@dataclass(frozen=True)
class _IdCoordinate:
    """A coordinate that could bear the ids, and how its values meet the network's.

    Attributes
    ----------
    name, ids
        Its name and its values.
    marked
        Whether it says that it is the one.
    some, full
        Whether some of its values are ids of the network; and whether all are, or are all that there are.
    converted
        Whether some would be, if numbers were text or the other way round.
    """

    name: Hashable
    ids: NDArray[Any]
    marked: bool
    some: bool
    full: bool
    converted: bool

    @cached_property
    def is_positional(self) -> bool:
        """Whether it counts rows from 0 or 1."""
        return is_positional(self.ids)


def _id_coordinates(array: xr.DataArray, reaches: NDArray[Any], dim: Hashable) -> list[_IdCoordinate]:
    """Coordinates along a dimension that could bear ids: exact, unique, and no quantities with units."""
    found = []
    for name, coordinate in array.coords.items():
        marked = coordinate.attrs.get("cf_role") == "timeseries_id"
        is_quantity = str(coordinate.attrs.get("units", "1")) not in ("", "1", "-") or name in ("lon", "lat", "x", "y")
        if coordinate.dims != (dim,) or coordinate.dtype.kind not in "iufUSOT" or (is_quantity and not marked):
            continue
        try:
            ids = exact_ids(coordinate.values, "ids")
        except XRouteError:
            continue  # no ids: names of which some are missing, places, tuples of a MultiIndex
        # pandas asks sorted ids at no cost, where NumPy's hashes of regular ids collide
        if not pd.Index(ids.astype(object) if ids.dtype.kind == "U" else ids).is_unique:
            continue
        inside = positions_of(ids, reaches) >= 0
        full = bool(inside.any()) and bool(inside.all() or inside.sum() == reaches.size)
        found.append(_IdCoordinate(name, ids, marked, bool(inside.any()), full, convertible(ids, reaches) is not None))
    return found


def _id_coordinate(
    array: xr.DataArray, reaches: NDArray[Any], dim: Hashable, what: str, candidates: list[_IdCoordinate] | None = None
) -> Hashable:
    """Name of the coordinate that bears the ids along ``dim``; an index that counts the rows is none where others do."""
    along = [n for n, c in array.coords.items() if c.dims == (dim,)]
    if along == [dim]:
        return dim
    candidates = _id_coordinates(array, reaches, dim) if candidates is None else candidates
    fits = [c for c in candidates if c.full] or [c for c in candidates if c.some]
    chosen = [c for c in fits if c.marked] or fits
    if len(chosen) > 1 and not chosen[0].full:
        chosen = [c for c in chosen if not c.is_positional] or chosen
        chosen = [c for c in chosen if c.name == dim] or chosen
    if chosen and chosen[0].is_positional and not chosen[0].marked and chosen[0].ids.size != reaches.size:
        chosen += [c for c in candidates if c.some and not c.is_positional and c not in chosen]
    for other in chosen[1:]:
        if not np.array_equal(other.ids, chosen[0].ids):
            place = int(np.flatnonzero(other.ids != chosen[0].ids)[0])
            raise AlignmentError(
                f"{what} has ids of the network on {chosen[0].name!r} and on {other.name!r} (along {dim!r}), and they "
                f"disagree: {chosen[0].ids[place].item()!r} and {other.ids[place].item()!r} at position {place}. Drop "
                f"the one that is not the reach: {what}.drop_vars(...), or give the one that is it cf_role='timeseries_id'"
            )
    if chosen and chosen[0].is_positional:  # ids of the other kind beside a mere count
        written = chosen[0].ids.astype(str)
        for other in candidates:
            if other.converted and not np.array_equal(other.ids.astype(str), written):
                return other.name
    if chosen:
        return next((c.name for c in chosen if c.name == dim), chosen[0].name)
    # none bears ids of the network: what comes nearest is named, so that the message can say what is wrong with it
    near = [c for c in candidates if c.converted]
    marked = [n for n, c in array.coords.items() if c.dims == (dim,) and c.attrs.get("cf_role") == "timeseries_id"]
    if near or marked:
        return near[0].name if near else marked[0]
    others = [c.name for c in candidates if not c.is_positional and c.name != dim]
    counts = any(c.name == dim and c.is_positional for c in candidates)
    if dim in array.coords and not (others and counts):
        if isinstance(array.indexes.get(dim), pd.MultiIndex):
            raise AlignmentError(
                f"{dim!r} of {what} is made of several dimensions, and none of its levels bears each id of the network "
                f"once: {what}.unstack({str(dim)!r})"
            )
        return dim
    if others:
        return others[0]
    double = [n for n, c in array.coords.items() if c.dims == (dim,) and n != dim and c.dtype.kind in "iuUSO"]
    if double:
        return double[0]
    raise AlignmentError(
        f"{what} has no ids along {dim!r}, and is never matched by position. If another variable of its file holds them: "
        f"{what}.assign_coords({dim}=({str(dim)!r}, ids))"
    )


def other_kind(array: xr.DataArray, name: Hashable, ids: NDArray[Any], among: NDArray[Any], what: str) -> str:
    """What is wrong where text meets integers, and the conversion that makes them meet."""
    kinds = {"i": "integers", "U": "text"}
    said = (
        f"{what} ids ({name!r}) are {kinds[ids.dtype.kind]} ({some(ids, 2)}) and the network's are "
        f"{kinds[among.dtype.kind]} ({some(among, 2)}): "
    )
    how, back = convertible(ids, among), convertible(among, ids)
    if how is not None:
        label = f"{what}[{str(name)!r}]"
        bearer = f"({str(array[name].dims[0])!r}, {label}{how}.data)"
        return said + f"convert them: {what}.assign_coords({{{str(name)!r}: {bearer}}})"
    if back is not None:
        return said + f"convert the network's: network.assign_coords(reach=network.reach{back}), and downstream with it"
    return (
        said + "and they do not agree when converted either (leading zeros count in text). Is this the right network?"
    )
