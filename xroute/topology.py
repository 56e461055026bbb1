"""Topology of a network Dataset: which reach drains to which, and every rule about ids, outlets and fractions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.schedule import csr
from xroute.exceptions import NetworkError, one_of, some
from xroute.ids import (
    ID_KINDS,
    convertible,
    declared_fills,
    distinct,
    exact_ids,
    is_missing,
    positions_of,
    repeated,
    within,
)
from xroute.settings import MISSING_DOWNSTREAM, MissingDownstream
from xroute.wording import argument, phrase

__all__ = [
    "Links", "drains_to", "is_marker", "link_ends", "links_within", "outlet_marker", "reach_variables", "read_ids",
    "read_links",
]  # fmt: skip

FRACTION_TOLERANCE = 1e-6
"""By how much the fractions out of a reach may exceed one (they come from files with few digits)."""


class Links(NamedTuple):
    """Links between reaches; sorted so that their order does not depend on the order of the reaches.

    Attributes
    ----------
    upstream, downstream : int64 [link]
        Positions of the reaches at its two ends.
    fraction : float64 [link]
        Share of the upstream reach's discharge that it takes.
    """

    upstream: NDArray[np.int64]
    downstream: NDArray[np.int64]
    fraction: NDArray[np.float64]


def drains_to(links: Links, n_reaches: int) -> NDArray[np.int64]:
    """Position of the reach that each drains to, along its largest fraction where it bifurcates; -1 at outlets."""
    by_fraction = np.argsort(links.fraction, kind="stable")  # the largest is written last
    target = np.full(n_reaches, -1)
    target[links.upstream[by_fraction]] = links.downstream[by_fraction]
    return target


def links_within(links: Links, positions: NDArray[np.int64], n_reaches: int) -> Links:
    """Links between some reaches, which are numbered as they stand in ``positions``; those of no share are left out."""
    number = np.full(n_reaches, -1)
    number[positions] = np.arange(positions.size)
    upstream, downstream = number[links.upstream], number[links.downstream]
    inside = (upstream >= 0) & (downstream >= 0) & (links.fraction != 0.0)
    return Links(upstream[inside], downstream[inside], links.fraction[inside])


def reach_variables(dataset: xr.Dataset) -> list[Hashable]:
    """Names of the variables on ``reach``, without the ids, in the Dataset's order."""
    return [name for name, variable in dataset.variables.items() if variable.dims == ("reach",) and name != "reach"]


def how_to_convert(what: str = "RouteLink") -> str:
    """What makes a network of RouteLink, of a grid of flow directions or of CaMa-Flood's maps, for whoever reads a message."""
    return {
        "RouteLink": phrase("RouteLink", "xroute.io.nwm.read_network(path) makes a network of it"),
        "d8": phrase("d8", "xroute.Network.from_d8(directions) makes a network of it"),
        "nextxy": phrase("nextxy", "xroute.Network.from_nextxy(path) makes a network of it"),
    }[what]


def read_ids(dataset: xr.Dataset) -> NDArray[Any]:
    """Ids of the reaches, checked."""
    if "reach" not in dataset.dims:
        if {"link", "to"} <= set(dataset.variables):
            raise NetworkError(f"this is RouteLink of the National Water Model: {how_to_convert()}")
        raise NetworkError(
            f"a network Dataset has the dimension 'reach'; this one has {some(dataset.dims)}. Rename yours: ds.rename(...)"
        )
    if "reach" not in dataset.coords:
        raise NetworkError(
            "the network has no coordinate 'reach' with the ids of its reaches: ds.assign_coords(reach=ids)"
        )
    if dataset["reach"].dims != ("reach",):
        raise NetworkError(f"the coordinate 'reach' has dimensions {dataset['reach'].dims}, not ('reach',)")
    ids = exact_ids(dataset["reach"].values, "network reach", fills=declared_fills(dataset["reach"]))
    twice = repeated(ids)
    if twice.size:
        raise NetworkError(f"{twice.size} reach ids stand more than once: {some(twice)}")
    return ids


def read_links(dataset: xr.Dataset, ids: NDArray[Any], missing_downstream: MissingDownstream) -> Links:
    """Links of a network Dataset, from ``downstream`` or from the ``link`` variables.

    Raises
    ------
    NetworkError
        For unknown ids (unless ``missing_downstream="outlet"``), links that stand twice, and impossible fractions.
    """
    one_of("missing_downstream", missing_downstream, MISSING_DOWNSTREAM, NetworkError)
    by_link = {"upstream_reach", "downstream_reach"} & set(dataset.variables)
    if "downstream" in dataset.variables and by_link:
        raise NetworkError(
            f"the network has both 'downstream' and {some(sorted(by_link))}: keep one description of the links"
        )
    if "downstream" in dataset.variables:
        upstream, downstream, fraction = _from_downstream(dataset["downstream"], ids, missing_downstream)
    elif len(by_link) == 2:
        upstream, downstream, fraction = _from_links(dataset, ids, missing_downstream)
    else:
        raise NetworkError(
            "the network has neither 'downstream' (reach) nor 'upstream_reach' and 'downstream_reach' (link); "
            f"its variables are {some(dataset.variables)}"
        )
    order = _order_by_id(upstream, downstream, ids)
    if order is not None:
        upstream, downstream, fraction = upstream[order], downstream[order], fraction[order]
    return Links(upstream, downstream, fraction)


def _order_by_id(
    upstream: NDArray[np.int64], downstream: NDArray[np.int64], ids: NDArray[Any]
) -> NDArray[np.int64] | None:
    """Order of the links by the ids of the reaches that they come from, then go to; None where they stand in it already."""
    n, ascending = ids.size, bool(np.all(ids[:-1] <= ids[1:]))
    if not upstream.size or (ascending and np.all(upstream[:-1] <= upstream[1:])):
        return None
    by_id = np.arange(n) if ascending else np.argsort(ids, kind="stable")
    if upstream.size <= n and np.bincount(upstream, minlength=n).max() <= 1:  # millions of links: no sort but that of the ids
        link = np.full(n, -1)
        link[upstream] = np.arange(upstream.size)
        link = link[by_id]
        return np.asarray(link[link >= 0])
    rank = np.empty(n, np.int64)
    rank[by_id] = np.arange(n)
    _, first = csr(rank[downstream], n)
    _, then = csr(rank[upstream[first]], n)
    return np.asarray(first[then])


def outlet_marker(dataset: xr.Dataset, ids: NDArray[Any]) -> Any:
    """Value that marks an outlet, of the ids' kind: the Dataset's own marker if it has one, or one that is no reach id."""
    given = dataset["downstream"].attrs.get("outlet")
    if given is not None and not _is_nan(given):
        return _markers(given, ids)[0].item()
    if ids.dtype.kind == "U":
        return ""
    candidates = np.array([0, -1, int(ids.min(initial=0)) - 1])
    return int(candidates[~within(candidates, ids)][0])


def is_marker(ids: NDArray[Any]) -> NDArray[np.bool_]:
    """Which downstream ids mark an outlet where no reach bears them: "", 0 and negative numbers."""
    return np.asarray(ids == "" if ids.dtype.kind == "U" else ids <= 0)


def link_ends(
    dataset: xr.Dataset, ids: NDArray[Any], missing_downstream: MissingDownstream
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the two ends of each of the Dataset's links; -1 downstream where its water leaves the network."""
    given = dataset["upstream_reach"]
    starts = exact_ids(given.values, "network upstream_reach", fills=declared_fills(given))
    _same_kind(starts, ids, "upstream_reach")
    upstream = positions_of(starts, ids)
    if (upstream < 0).any():
        raise NetworkError(f"links start at ids that are not in the network: {some(distinct(starts[upstream < 0]))}")
    return upstream, _targets(dataset["downstream_reach"], starts, ids, missing_downstream)


def _from_downstream(
    downstream: xr.DataArray, ids: NDArray[Any], missing_downstream: MissingDownstream
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    if downstream.dims != ("reach",):
        raise NetworkError(f"'downstream' has dimensions {downstream.dims}, not ('reach',)")
    target = _targets(downstream, ids, ids, missing_downstream)
    loop = target == np.arange(ids.size)
    if loop.any():
        raise NetworkError(
            f"{int(loop.sum())} reaches drain to themselves, a cycle of one: {some(ids[loop])}. "
            'If that marks an outlet, replace it by a marker: downstream.attrs["outlet"]'
        )
    linked = np.flatnonzero(target >= 0)
    return linked, target[linked], np.ones(linked.size)


def _targets(
    downstream: xr.DataArray, source: NDArray[Any], ids: NDArray[Any], missing_downstream: MissingDownstream
) -> NDArray[np.int64]:
    """Positions that ``downstream`` names, -1 for an outlet; ``source`` are the ids of the reaches that drain there."""
    name, values = downstream.name, downstream.values
    missing = is_missing(values)
    for fill in declared_fills(downstream):
        missing = missing | (values == fill)
    marker = downstream.attrs.get("outlet")
    explicit = marker is not None and not _is_nan(marker)
    target = np.full(values.size, -1, np.int64)
    outlet = np.zeros(values.size, bool) if explicit else missing.copy()
    named = ~missing
    to = exact_ids(values[named], f"network {name}")
    if not (to.dtype.kind == "U" and (to == "").all()):
        _same_kind(to, ids, str(name))
    target[named] = positions_of(to, ids)
    if explicit:
        marked = np.zeros(values.size, bool)
        marked[named] = np.isin(to, _markers(marker, ids)) if to.size and to.dtype.kind == ids.dtype.kind else False
        outlet |= marked
        target[marked] = -1  # an explicit marker is a marker, even if a reach bears that id
    elif marker is None:
        marked = np.zeros(values.size, bool)
        marked[named] = is_marker(to)
        outlet |= marked & (target < 0)
    unknown = (target < 0) & ~outlet
    if unknown.any() and missing_downstream == "raise":
        if (missing & unknown).any():
            raise NetworkError(
                f"{name} of {int((missing & unknown).sum())} reaches is missing, and the outlet marker is {marker!r}: "
                f"{some(source[missing & unknown])}"
            )
        names = distinct(values[unknown].astype(ids.dtype if ids.dtype.kind == "i" else str))
        raise NetworkError(
            f"{int(unknown.sum())} reaches drain to {names.size} ids that are not in the network: {some(names)} "
            f"(from reaches {some(source[unknown])}). {_advice(names, target)}"
        )
    if unknown.any() and ids.size > 1 and not (target >= 0).any():
        raise NetworkError(
            f"none of the {name} ids is in the network ({some(distinct(values[unknown].astype(str)))}, where reaches are "
            f"{some(ids, 3)}), so that {argument('missing_downstream', 'outlet')} would leave {ids.size} reaches without a link. "
            "Are they ids of other things (nexuses, catchments), or of another table? Mark outlets in the table if it is meant so"
        )
    return target


def _advice(unknown: NDArray[Any], target: NDArray[np.int64]) -> str:
    """What to do about downstream ids that are not in the network; what would cut every link is not advised."""
    if unknown.dtype.kind == "U" and np.char.startswith(unknown, "nex-").any():
        return "These are nexuses of NextGen: xroute.tables.read_table and Network.from_dataframe collapse them"
    if not (target >= 0).any() and target.size > 1:
        return "None of the downstream ids is a reach: are they ids of other things, or of another table?"
    return f"Add them, or take them as outlets with {argument('missing_downstream', 'outlet')}"


def _same_kind(given: NDArray[Any], ids: NDArray[Any], name: str) -> None:
    if given.dtype.kind == ids.dtype.kind or not given.size:
        return
    how = convertible(given, ids)
    raise NetworkError(
        f"reach ids are {ID_KINDS[ids.dtype.kind]} ({some(ids, 2)}), but {name} ids are {ID_KINDS[given.dtype.kind]} "
        f"({some(given, 2)})" + (f": convert them, network[{name!r}]{how}" if how else "")
    )


def _markers(given: Any, ids: NDArray[Any]) -> NDArray[Any]:
    """Outlet markers of the attribute, one or several, of the kind of the ids."""
    markers = exact_ids(np.atleast_1d(np.asarray(given)), "the outlet marker (downstream.attrs['outlet'])")
    if markers.dtype.kind != ids.dtype.kind:
        raise NetworkError(
            f"the outlet marker, downstream.attrs['outlet'] = {given!r}, is {ID_KINDS[markers.dtype.kind]}, and reach ids are "
            f"{ID_KINDS[ids.dtype.kind]}"
        )
    return markers


def _from_links(
    dataset: xr.Dataset, ids: NDArray[Any], missing_downstream: MissingDownstream
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    dim = dataset["upstream_reach"].dims
    for name in ("upstream_reach", "downstream_reach", "fraction"):
        if name in dataset.variables and (dataset[name].ndim != 1 or dataset[name].dims != dim):
            raise NetworkError(f"'{name}' has dimensions {dataset[name].dims}; the link variables share one, 'link'")
    upstream, downstream = link_ends(dataset, ids, missing_downstream)
    n_out = np.bincount(upstream, minlength=ids.size)
    if "fraction" in dataset.variables:
        fraction = np.asarray(dataset["fraction"].values, np.float64)
    elif (n_out <= 1).all():
        fraction = np.ones(upstream.size)
    else:
        raise NetworkError(f"reaches with several downstream links need 'fraction' (link): {some(ids[n_out > 1])}")
    wrong = ~(np.isfinite(fraction) & (fraction >= 0))
    if wrong.any():
        raise NetworkError(
            f"fractions must be between 0 and 1; wrong at links from reaches {some(ids[upstream[wrong]])}"
        )
    total = np.bincount(upstream, fraction, ids.size)
    over = total > 1 + FRACTION_TOLERANCE
    if over.any():
        raise NetworkError(
            f"the fractions out of {int(over.sum())} reaches sum to more than 1: {some(ids[over])} "
            f"(sums {some(np.round(total[over], 6))})"
        )
    loop = upstream == downstream
    if loop.any():
        raise NetworkError(f"{int(loop.sum())} links join a reach to itself: {some(ids[upstream[loop]])}")
    stays = downstream >= 0
    upstream, downstream, fraction = upstream[stays], downstream[stays], fraction[stays]
    pairs, count = np.unique(np.stack([upstream, downstream]), axis=1, return_counts=True)
    if (count > 1).any():
        twice = [f"{a}-{b}" for a, b in ids[pairs[:, count > 1]].T.tolist()]
        raise NetworkError(f"{len(twice)} links stand more than once: {some(twice)}")
    return upstream, downstream, fraction


def _is_nan(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))
