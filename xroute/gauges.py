"""Gauges: which entries of a series are of which reach of a network, by ids, several on one reach if need be.

Series stand on ``reach`` itself, or on a dimension of their own (``gauge``, ``station``) along which a coordinate bears the
reaches' ids.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, one_of, some, warn
from xroute.ids import convertible, declared_fills, exact_ids, is_missing, positions_of, repeated
from xroute.reach_ids import other_kind, read_reach_ids
from xroute.settings import EXTRA, Extra
from xroute.wording import argument

__all__ = ["GAUGE_DIMS", "REACH_NAMES", "GaugeRows", "find_gauges", "of_one_kind"]

REACH_NAMES = (
    "reach", "reach_id", "river_id", "riverid", "rivid", "comid", "feature_id", "linkno", "link_id", "hyriv_id", "segid",
    "seg_id", "nhdplusid", "river", "link",
)  # fmt: skip
"""What people call the ids of reaches, in small letters; the first goes first."""
GAUGE_DIMS = ("gauge", "gauge_id", "gage", "gage_id", "station", "station_id", "site", "site_no", "basin", "id")
"""What people call dimensions of gauges, in small letters."""


@dataclass(frozen=True, eq=False)
class GaugeRows:
    """The gauges of an array.

    Attributes
    ----------
    array
        As it was given, its gauges on a dimension, and those that are left out gone.
    dim
        That dimension.
    labels : [gauge]
        Labels along it: those of its own coordinate, or else the ids of the reaches.
    ids : [gauge]
        Ids of the reaches.
    reach : int64 [gauge]
        Where these stand among the ids that were asked for.
    dropped
        Ids of gauges that were left out.
    """

    array: xr.DataArray
    dim: Hashable
    labels: NDArray[Any]
    ids: NDArray[Any]
    reach: NDArray[np.int64]
    dropped: NDArray[Any]


def find_gauges(
    array: xr.DataArray, reaches: NDArray[Any], time_dim: Hashable | None, *, reach_dim: Hashable | None = None,
    what: str = "observed discharge", extra: Extra = "raise", convert: bool = False,
    where: str = "the network", select: bool = False,
) -> GaugeRows:  # fmt: skip
    """Find the gauges of an array on reaches with these ids; its values are not read.

    Parameters
    ----------
    array
        A series on reaches or gauges; the series of one reach may bear its id as a coordinate without a dimension.
    reaches : [reach]
        Ids of a network, each once.
    time_dim
        Dimension of time, which is none of gauges.
    reach_dim
        Dimension of the gauges, if the caller names it.
    what
        What the array is called in messages.
    extra
        Gauges on reaches that the network does not have: ``"raise"`` an error, or ``"drop"`` them, with a warning.
    convert
        Whether ids that are numbers in one and text in the other are made one kind, as is right where they were read from a
        table, in which all is text.
    where
        What bears the ids, in the warning.
    select
        Whether the ids are a choice out of more, so that gauges on others are left out without a word, maybe all of them.

    Raises
    ------
    AlignmentError
        For dimensions beside gauges and time; for gauges of which nothing says the reach, that are outside of the network, or
        whose labels stand twice.
    """
    one_of("extra", extra, EXTRA, AlignmentError)
    array = _on_a_dimension(array, time_dim, reach_dim, what)
    dim = _gauge_dim(array, reaches, time_dim, reach_dim, what)
    over = [d for d in array.dims if d not in (dim, time_dim)]
    if over:
        raise AlignmentError(
            f"the {what} has dimensions beside {str(dim)!r} and time: {some(over)}. Choose one entry, "
            f"observed.isel({over[0]}=0), or take their mean, observed.mean({str(over[0])!r})"
        )
    name, ids = _reach_ids(array, reaches, dim, time_dim, what, convert)
    if not ids.size:
        raise AlignmentError(f"the {what} has no gauges: {str(dim)!r} is empty")
    reach = positions_of(ids, reaches)
    alien = reach < 0
    if alien.any() and not select and (extra == "raise" or alien.all()):
        raise AlignmentError(_outside(array, name, ids, reaches, alien, what, extra))
    if alien.any() and not select:
        warn(f"{int(alien.sum())} gauges of the {what} are not in {where} and left out: {some(ids[alien])}")
    if alien.any():
        array = array.isel({dim: np.flatnonzero(~alien)})
    labels = _labels(array, dim, ids[~alien], what)
    return GaugeRows(array, dim, labels, ids[~alien], reach[~alien], ids[alien])


def _on_a_dimension(array: xr.DataArray, time_dim: Hashable | None, reach_dim: Hashable | None, what: str) -> xr.DataArray:
    """The series of one gauge with a dimension for it; others as they are."""
    if any(d != time_dim for d in array.dims):
        return array
    alone = {str(n).lower(): n for n, c in array.coords.items() if c.ndim == 0}
    given = (str(reach_dim).lower(),) if reach_dim is not None else ()
    reach = next((alone[n] for n in (*given, *REACH_NAMES) if n in alone), None)
    gauge = next((alone[n] for n in GAUGE_DIMS if n in alone), None)
    if reach is None and gauge is None:
        raise AlignmentError(
            f"the {what} is one series, and nothing says of which reach it is: observed.assign_coords(reach=ID)"
        )
    if gauge is None or reach is None:
        return array.expand_dims(gauge if reach is None else reach)
    bearer = {reach: (gauge, [array[reach].item()], array[reach].attrs)}
    return array.drop_vars([reach]).expand_dims(gauge).assign_coords(bearer)


def _gauge_dim(
    array: xr.DataArray, reaches: NDArray[Any], time_dim: Hashable | None, reach_dim: Hashable | None, what: str
) -> Hashable:
    """The dimension of gauges: the one named, or called so, or the only one, or that which bears ids of the network."""
    dims = [d for d in array.dims if d != time_dim]
    if reach_dim is not None and reach_dim in dims:
        return reach_dim
    if len(dims) == 1:
        return dims[0]
    for names in (("reach",), GAUGE_DIMS, REACH_NAMES):
        called = [d for d in dims if str(d).lower() in names]
        if len(called) == 1:
            return called[0]
    bearing = [d for d in dims if any(_named(array, d))]
    return bearing[0] if len(bearing) == 1 else read_reach_ids(array, reaches, None, time_dim, what)[0]


def _named(array: xr.DataArray, dim: Hashable) -> list[Hashable]:
    """Coordinates along a dimension that are called as ids of reaches are, the likeliest first."""
    along = {str(n).lower(): n for n, c in array.coords.items() if c.dims == (dim,)}
    return [along[n] for n in REACH_NAMES if n in along]


def _reach_ids(
    array: xr.DataArray, reaches: NDArray[Any], dim: Hashable, time_dim: Hashable | None, what: str, convert: bool
) -> tuple[Hashable, NDArray[Any]]:
    """Coordinate that bears the reaches' ids along ``dim``, and these."""
    named = _named(array, dim)
    beside = [n for n in named if n != dim] if dim != "reach" else []
    if not beside and not convert:
        name, ids = _any_ids(array, reaches, dim, time_dim, what)
    else:
        name = beside[0] if beside else dim
        values = array[name].values
        if array[name].dtype.kind in "fO" and is_missing(values).any():
            gauges = array[dim].values if dim in array.coords else np.arange(array.sizes[dim])
            raise AlignmentError(
                f"{int(is_missing(values).sum())} gauges of the {what} have no reach ({str(name)!r} is missing): "
                f"{some(gauges[is_missing(values)])}. Give it, or leave them out"
            )
        ids = exact_ids(values, f"{what} {str(name)!r}", AlignmentError, fills=declared_fills(array[name]))
        if ids.dtype.kind != reaches.dtype.kind and ids.size and reaches.size:
            ids = of_one_kind(ids, reaches, what) if convert else _refuse_kind(array, name, ids, reaches, what)
    if name == dim and repeated(ids).size:
        raise AlignmentError(
            f"{repeated(ids).size} ids of the {what} ({str(name)!r}) stand more than once: {some(repeated(ids))}. Several gauges "
            "on one reach stand on a dimension of their own, with a coordinate 'reach' along it"
        )
    return name, ids


def of_one_kind(ids: NDArray[Any], reaches: NDArray[Any], what: str) -> NDArray[Any]:
    """Ids of a table as others are: text, or numbers.

    Raises
    ------
    AlignmentError
        If they are no numbers, and the others are.
    """
    if convertible(ids, reaches) is not None:
        try:
            return ids.astype(str) if ids.dtype.kind == "i" else ids.astype(np.int64)
        except ValueError:
            pass
    kind = "whole numbers" if reaches.dtype.kind == "i" else "text"
    raise AlignmentError(
        f"in the table of the {what} gauges are called {some(ids, 3)}, and ids of reaches are {kind}: {some(reaches, 3)}. Name "
        "the columns after the reaches that the gauges are on (or give a column 'reach' in a table of one row a value)"
    )


def _refuse_kind(array: xr.DataArray, name: Hashable, ids: NDArray[Any], reaches: NDArray[Any], what: str) -> NoReturn:
    text = other_kind(array, name, ids, reaches, what)
    raise AlignmentError(text.replace(f"{what}.", "observed.").replace(f"{what}[", "observed["))


def _any_ids(
    array: xr.DataArray, reaches: NDArray[Any], dim: Hashable, time_dim: Hashable | None, what: str
) -> tuple[Hashable, NDArray[Any]]:
    """Coordinate that bears the reaches' ids along ``dim``, whatever it is called, and these."""
    try:
        return read_reach_ids(array, reaches, dim, time_dim, what)[1:]
    except AlignmentError as error:
        text = str(error).replace(f"{what}.", "observed.").replace(f"{what}[", "observed[")
        if dim != "reach" and not _named(array, dim):
            text += "" if text.endswith("?") else "."
            text += f" Gauges on {str(dim)!r} need the ids of their reaches: observed.assign_coords(reach=({str(dim)!r}, ids))"
        raise AlignmentError(text) from None


def _outside(
    array: xr.DataArray, name: Hashable, ids: NDArray[Any], reaches: NDArray[Any], alien: NDArray[np.bool_], what: str, extra: str
) -> str:  # fmt: skip
    """What is wrong with gauges outside of the network."""
    dim = array[name].dims[0]
    other = ""
    if dim != name and dim in array.coords:
        other = f" (gauges {some(array[dim].values[alien])})"
    said = f"{int(alien.sum())} of {ids.size} gauges of the {what} are on reaches that the network does not have: "
    way = (
        "No gauge is in it: is this the right network, or does another coordinate bear the ids?"
        if alien.all()
        else f"Leave them out with {argument('extra', 'drop')}, or check that this is the right network"
    )
    example = f"; its reaches are {some(reaches, 3)}" if alien.all() and reaches.size else ""
    return f"{said}{some(ids[alien])}{other}, by {str(name)!r}{example}. {way}"


def _labels(array: xr.DataArray, dim: Hashable, ids: NDArray[Any], what: str) -> NDArray[Any]:
    """Labels along the dimension of gauges, each once."""
    labels = np.asarray(array[dim].values) if dim in array.coords else ids
    if dim not in array.coords:
        return labels if not repeated(ids).size else np.arange(ids.size)
    if array.indexes[dim].has_duplicates:
        twice = array.indexes[dim][array.indexes[dim].duplicated()]
        raise AlignmentError(f"labels of the {what}'s {str(dim)!r} stand more than once: {some(twice.unique())}")
    return labels
