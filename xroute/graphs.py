"""Networks as graphs: the network Dataset of a list of links or of a networkx graph, and the graph of a Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, require, some
from xroute.ids import ID_KINDS, distinct, exact_ids, is_missing, within
from xroute.topology import Links, is_marker, reach_variables

if TYPE_CHECKING:
    import networkx

__all__ = ["as_list", "dataset_from_graph", "dataset_from_links", "graph_of"]

Values = Sequence[Any] | NDArray[Any]


def dataset_from_links(
    upstream: Values,
    downstream: Values,
    fraction: Values | None = None,
    *,
    reach: Values | None = None,
    parameters: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Network Dataset of a list of links, as `xroute.Network.from_links` describes it."""
    starts, ends = exact_ids(as_list(upstream, "upstream"), "links: upstream"), as_list(downstream, "downstream")
    lengths = {"upstream": starts.size, "downstream": ends.size}
    if fraction is not None:
        shares = as_list(fraction, "fraction")
        lengths["fraction"] = shares.size
    if len(set(lengths.values())) > 1:
        raise NetworkError(
            "links have one upstream id, one downstream id and one fraction each, and these are of lengths "
            + ", ".join(f"{n} ({name})" for name, n in lengths.items())
        )
    ids = _reach_ids(starts, ends, reach)
    dataset = xr.Dataset(
        {"upstream_reach": ("link", starts), "downstream_reach": ("link", ends)}, {"reach": ids}, dict(attrs or {})
    )
    if fraction is not None:
        dataset["fraction"] = ("link", _as_floats(shares, "fraction"))
    for name, value in (parameters or {}).items():
        dataset[name] = value if isinstance(value, xr.DataArray) else ("reach", _for_each(value, ids, name))
    return dataset


def dataset_from_graph(graph: networkx.DiGraph, attrs: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Network Dataset of a directed graph, as `xroute.Network.from_networkx` describes it."""
    if not hasattr(graph, "is_directed"):
        raise NetworkError(f"a graph is a networkx.DiGraph, not a {type(graph).__name__}")
    if not graph.is_directed():
        raise NetworkError("the graph is undirected, so nobody knows which way water flows: give a networkx.DiGraph")
    if graph.is_multigraph():
        raise NetworkError("the graph is a multigraph, in which links may stand twice: give a networkx.DiGraph")
    nodes = list(graph.nodes)
    if not nodes:
        raise NetworkError("the graph has no nodes: the network is empty")
    table = pd.DataFrame.from_records([graph.nodes[n] for n in nodes], index=range(len(nodes)))
    for name in table:
        lacking = [n for n in nodes if name not in graph.nodes[n]]
        if lacking:
            raise NetworkError(f"nodes without the attribute {name!r} that others have: {some(lacking)}")
    ids = exact_ids(np.fromiter(nodes, object, len(nodes)), "graph nodes")
    edges = list(graph.edges)
    upstream, downstream = (np.array([edge[end] for edge in edges], dtype=ids.dtype) for end in (0, 1))
    given = np.array([graph.edges[edge].get("fraction", np.nan) for edge in edges], dtype=object)
    shares = _as_floats(given, "fraction")
    fraction = None if np.isnan(shares).all() else np.where(np.isnan(shares), 1.0, shares)
    parameters = {str(name): table[name].to_numpy() for name in table}
    attrs = {**graph.graph, **(attrs or {})}
    return dataset_from_links(upstream, downstream, fraction, reach=ids, parameters=parameters, attrs=attrs)


def graph_of(dataset: xr.Dataset, ids: NDArray[Any], links: Links) -> networkx.DiGraph:
    """Directed graph of a network Dataset: its reach variables on the nodes, ``fraction`` on the edges."""
    graph = require("networkx", "Network.to_networkx", "graph").DiGraph(**dataset.attrs)
    nodes = ids.tolist()
    columns = {str(n): dataset[n].values.tolist() for n in sorted(reach_variables(dataset), key=str) if n != "downstream"}
    graph.add_nodes_from((node, {n: values[k] for n, values in columns.items()}) for k, node in enumerate(nodes))
    graph.add_edges_from(
        (nodes[u], nodes[d], {"fraction": f}) for u, d, f in zip(*(column.tolist() for column in links), strict=True)
    )
    return graph


def as_list(values: Any, what: str) -> NDArray[Any]:
    """Values as an array of one dimension: one, or a list of them."""
    if isinstance(values, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)) and values.isna().any():
        values = values.astype(object)
    elif isinstance(values, (list, tuple)) and any(isinstance(v, str) for v in values):
        values = np.fromiter(values, object, len(values))  # NumPy would write numbers among text as text
    elif isinstance(values, (set, frozenset, dict)) or hasattr(values, "__next__"):
        values = np.fromiter(values, object)
    try:
        array = np.atleast_1d(np.asarray(values))
    except ValueError as error:
        raise NetworkError(f"{what}: a list of ids, not one of lists ({error})") from error
    if array.ndim > 1:
        raise NetworkError(f"{what}: a list, not an array of shape {array.shape}")
    return array


def _reach_ids(starts: NDArray[Any], ends: NDArray[Any], reach: Values | None) -> NDArray[Any]:
    """Ids of all reaches: those given, or else those that links name, sorted, without outlet markers."""
    named = exact_ids(ends[~is_missing(ends)], "links: downstream")
    if starts.size and named.size and starts.dtype.kind != named.dtype.kind and not (named == "").all():
        raise NetworkError(
            f"upstream ids are {ID_KINDS[starts.dtype.kind]} ({some(starts, 2)}), and downstream ids "
            f"{ID_KINDS[named.dtype.kind]} ({some(named, 2)})"
        )
    if reach is not None:
        return exact_ids(as_list(reach, "reach"), "reach")
    if not starts.size:
        raise NetworkError("there are no links, and no reach= that names reaches without any: the network is empty")
    named = named[~is_marker(named) | within(named, starts)]
    return distinct(np.concatenate([starts, named]) if named.size else starts)


def _as_floats(values: NDArray[Any], what: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise NetworkError(f"{what}: numbers, not {some(values[:3])}") from error


def _for_each(value: Any, ids: NDArray[Any], name: str) -> NDArray[Any]:
    """A parameter for each reach, of one value or of as many as there are reaches."""
    array = np.asarray(value)
    if array.ndim and array.shape != ids.shape:
        raise NetworkError(f"parameter {name!r} has the shape {array.shape}, and there are {ids.size} reaches")
    return np.broadcast_to(array, ids.shape).copy()
