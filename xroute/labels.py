"""Labels: which row of an array is which reach of a network, and how the result is labelled.

Everything is aligned by id (`xroute.reach_ids` finds them), never by position. The order of dimensions and of reaches is the
runoff's own, in and out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, TimeAxisError, one_of, some
from xroute.ids import ID_KINDS, convertible, exact_ids, positions_of, repeated, within
from xroute.network import Network
from xroute.reach_ids import read_reach_ids
from xroute.settings import EXTRA, MISSING, Extra, Missing
from xroute.stamps import is_dated
from xroute.time_dims import find_time_dim
from xroute.wording import argument

__all__ = ["Layout", "align", "in_order", "match_rows", "with_standard_dims"]

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
    id_coordinate
        Name of the coordinate that bears the ids: that of the reach dimension, or one beside it.
    """

    dims: tuple[Hashable, ...]
    reach_dim: Hashable
    time_dim: Hashable | None
    batch_dims: tuple[Hashable, ...]
    row: NDArray[np.int64] | None
    result_row: NDArray[np.int64] | None
    coords: Mapping[Hashable, Any]
    sizes: Mapping[Hashable, int]
    id_coordinate: Hashable = "reach"

    @property
    def engine_dims(self) -> tuple[Hashable, ...]:
        """Order of dimensions in the engine: batch, reach, time."""
        return (*self.batch_dims, self.reach_dim) + (() if self.time_dim is None else (self.time_dim,))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Sizes of the batch dimensions."""
        return tuple(self.sizes[d] for d in self.batch_dims)

    @property
    def n_batch(self) -> int:
        """Number of series of a reach."""
        return math.prod(self.batch_shape)

    def ordered(self, data: NDArray[Any]) -> NDArray[Any]:
        """``data`` [batch, row, time], for any number of steps, in the array's own order of dimensions (a view)."""
        shape = (*(self.sizes[d] for d in (*self.batch_dims, self.reach_dim)), *data.shape[2:])
        return data.reshape(shape).transpose([self.engine_dims.index(d) for d in self.dims])

    def labelled(self, data: NDArray[Any]) -> xr.DataArray:
        """``data`` [batch, row, time] as the result, with its coordinates."""
        return xr.DataArray(self.ordered(data), dims=self.dims, coords=self.coords)


def in_order(array: xr.DataArray, dims: Sequence[Hashable]) -> xr.Variable:
    """An array's values with its dimensions in this order, read now if it was opened lazily; the array itself keeps none of it.

    ``array.transpose(*dims).data`` would read what is lazy cell by cell, which takes xarray longer than all else takes together.
    """
    variable = array.variable.copy(deep=False)  # with a memory of its own for what it has read
    return xr.Variable(variable.dims, variable.data).transpose(*dims)


def align(
    array: xr.DataArray,
    network: Network,
    *,
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
    missing: Missing = "raise",
    extra: Extra = "raise",
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
    dim, name, ids = read_reach_ids(array, network.ids, reach_dim, time_dim, what)
    row, lacking = match_rows(ids, network.ids, missing, extra, f"{what} ids ({name!r})", what)
    batch_dims = tuple(d for d in array.dims if d not in (dim, time_dim))
    sizes = {d: array.sizes[d] for d in array.dims}
    if row is None or (ids.size == network.n_reaches and not lacking.any()):
        return Layout(array.dims, dim, time_dim, batch_dims, row, row, array.coords, sizes, name)
    # the result has the array's rows of reaches, in their order, and then a row for each reach that has none
    used = np.sort(row[row >= 0])
    result_row = np.where(lacking, used.size + np.cumsum(lacking) - 1, np.searchsorted(used, row))
    sizes[dim] = network.n_reaches
    coords = _result_coords(array, dim, name, used, np.concatenate([ids[used], network.ids[lacking]]))
    return Layout(array.dims, dim, time_dim, batch_dims, row, result_row, coords, sizes, name)


def with_standard_dims(
    runoff: xr.DataArray,
    network: Network,
    *,
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
    missing: Missing = "raise",
    extra: Extra = "raise",
) -> xr.DataArray:
    """The array with its dimensions named ``time`` and ``reach``, and the ids on the latter; nothing is read.

    Where the series runs along another dimension than ``time``, as that of a forecast does, the latter is renamed to what
    its labels say: ``forecast_reference_time``.
    """
    time_dim = find_time_dim(runoff, time_dim)
    layout = align(runoff, network, reach_dim=reach_dim, time_dim=time_dim, missing=missing, extra=extra)
    dim, bearer = layout.reach_dim, runoff[layout.id_coordinate]
    ids = exact_ids(bearer.values, f"runoff {bearer.name!r}", AlignmentError)
    attrs, encoding = runoff.attrs, runoff.encoding
    if bearer.name != dim:  # what stands on the dimension itself is an index, and stays beside the ids
        if dim in runoff.indexes:
            runoff = runoff.reset_index(dim)
            if dim in runoff.coords:
                runoff = runoff.assign_coords({f"{dim}_index": runoff[dim].variable}).drop_vars([dim])
        runoff = runoff.drop_vars([bearer.name])
    runoff = runoff.assign_coords({dim: (dim, ids, bearer.attrs)})
    runoff.attrs, runoff.encoding = attrs, encoding
    names = {old: new for old, new in ((dim, "reach"), (time_dim, "time")) if old != new}
    if time_dim != "time" and "time" in (*runoff.dims, *runoff.coords):
        names["time"] = "forecast_reference_time"
        dated = "time" in runoff.coords and is_dated(runoff["time"])
        if not dated or names["time"] in (*runoff.dims, *runoff.coords):
            raise TimeAxisError(
                f"the series runs along {time_dim!r}, which is to be called 'time', and 'time' is something else here: "
                "rename it in the file"
            )
    if "reach" in names.values() and "reach" in (*runoff.dims, *runoff.coords):
        raise AlignmentError("the runoff has a coordinate 'reach' beside the one that is it: drop_vars(['reach'])")
    renamed = runoff.rename(names)
    chunks = runoff.encoding.get("preferred_chunks")
    if chunks is not None:  # by which blocks are chosen
        renamed.encoding["preferred_chunks"] = {names.get(d, d): size for d, size in chunks.items()}
    return renamed


def _result_coords(
    array: xr.DataArray, dim: Hashable, name: Hashable, used: NDArray[np.int64], ids: NDArray[Any]
) -> Mapping[Hashable, Any]:
    """Coordinates of an array's rows that are used, and of rows added behind them (unknown there but for ``ids``)."""
    if isinstance(array.indexes.get(dim), pd.MultiIndex):
        raise AlignmentError(
            f"{dim!r} is made of several dimensions, to which no reach can be added: reset_index({dim!r})"
        )
    table = array.coords.to_dataset().isel({dim: used})
    n_added = ids.size - used.size
    if not n_added:
        return table.coords
    whole = [n for n, c in table.coords.items() if n != name and dim in c.dims and c.dtype.kind in "iub"]
    if whole:
        raise AlignmentError(
            f"{n_added} reaches have none of the coordinates {some(whole)}, and {table[whole[0]].dtype} has no value for "
            f"unknown: drop_vars({whole!r}), or give these reaches too"
        )
    return table.pad({dim: (0, n_added)}).assign_coords({name: (dim, ids, table[name].attrs)}).coords


def match_rows(
    ids: NDArray[Any], reaches: NDArray[Any], missing: Missing, extra: Extra, name: str, what: str
) -> tuple[NDArray[np.int64] | None, NDArray[np.bool_]]:
    """Row of each reach.

    Parameters
    ----------
    ids : [row]
        Ids of the rows.
    reaches : [reach]
        Ids of the reaches, each once, of the same kind.
    missing, extra
        What becomes of reaches without a row, and of rows of no reach.
    name, what
        What the ids are, and what the array is, for messages.

    Returns
    -------
    row : int64 [reach]
        -1 for reaches that have none; None where rows are reaches.
    lacking : [reach]
        Which have none.
    """
    one_of("missing", missing, MISSING, AlignmentError)
    one_of("extra", extra, EXTRA, AlignmentError)
    if np.array_equal(ids, reaches):
        return None, np.zeros(reaches.size, bool)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} {what} ids stand more than once: {some(twice)}")
    row = positions_of(reaches, ids)
    lacking = row < 0
    n_alien = ids.size - int((~lacking).sum())
    if n_alien == ids.size > 0 and reaches.size and missing == "zero" and extra == "drop":
        raise AlignmentError(
            f"none of the {n_alien} {name} is in the network, and all discharge would be zero: {some(ids, 3)}, where reaches "
            f"are {some(reaches, 3)}. {_advice(ids, reaches)}"
        )
    if n_alien and extra == "raise":
        otherwise = f"Leave them out with {argument('extra', 'drop')}, or check that this is the right network"
        stray = np.delete(ids, row[~lacking])
        raise AlignmentError(
            f"{n_alien} {name} are not in the network: {some(stray)}. {_advice(ids, reaches) or otherwise}"
        )
    if lacking.any() and missing == "raise":
        otherwise = f"Take it as zero with {argument('missing', 'zero')}, or give it"
        raise AlignmentError(
            f"{int(lacking.sum())} reaches of the network have no {what}: {some(reaches[lacking])}. "
            f"{_advice(ids, reaches) or otherwise}"
        )
    return row, lacking


def _advice(ids: NDArray[Any], reaches: NDArray[Any]) -> str:
    """What to do where ids and reaches are of two kinds, differ in the case of letters only, or have nothing in common."""
    if ids.dtype.kind != reaches.dtype.kind and ids.size and reaches.size:
        how = convertible(ids, reaches)
        kinds = f"{ID_KINDS[ids.dtype.kind]}, and the network's are {ID_KINDS[reaches.dtype.kind]} ({some(reaches, 2)})"
        return f"They are {kinds}" + (f": convert them, {how[1:]}" if how else "")
    if not ids.size or within(ids, reaches).any():
        return ""
    if ids.dtype.kind == "U" and reaches.size:
        if within(np.char.lower(ids), np.char.lower(reaches)).all():
            return "They differ in capital and small letters only: make them the same"
    return "No id is in both: is this the right network, or does another coordinate bear the ids?"
