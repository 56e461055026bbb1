"""Tables of lines between nodes: each line is a reach, and drains to those that begin where it ends.

Nodes are named by two columns (from and to), or are the places where lines of a geometry end, to within a tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, ParameterError, require, some, warn
from xroute.ids import exact_ids, within
from xroute.tables.dataset import dataset_from_dataframe
from xroute.tables.geometry import as_geometry, odd_columns
from xroute.topology import is_marker

__all__ = ["dataset_from_lines"]

Int = NDArray[np.int64]
NODES = (
    ("from_node", "to_node"), ("FromNode", "ToNode"), ("upstream_node_id", "downstream_node_id"), ("node_us", "node_ds"),
    ("from", "to"), ("source", "target"), ("u", "v"),
)  # fmt: skip
"""Columns that say where a line begins and ends, in tables that are about."""
IDS = ("global_id", "line_id", "reach_id", "link_id", "edge_id", "comid", "id", "fid")
"""Columns that name lines."""


def dataset_from_lines(
    table: Any,
    from_node: str | None,
    to_node: str | None,
    reach: str | None,
    fraction: str | None,
    tolerance: float | None,
    units: Mapping[str, str] | None,
) -> xr.Dataset:
    """Network Dataset of a table of lines, as `xroute.Network.from_lines` describes it."""
    if not isinstance(table, pd.DataFrame):
        raise NetworkError(f"a table of lines is a pandas or geopandas data frame, not a {type(table).__name__}")
    if (from_node is None) != (to_node is None):
        raise NetworkError("give both from_node= and to_node=, or neither")
    if from_node is None and tolerance is None:
        small = {str(c).lower(): str(c) for c in table.columns}
        pairs = [(small[a.lower()], small[b.lower()]) for a, b in NODES if {a.lower(), b.lower()} <= set(small)]
        from_node, to_node = pairs[0] if pairs else (None, None)
    if from_node is not None and to_node is not None:
        for column in (from_node, to_node):
            if column not in table.columns:
                raise NetworkError(f"the table has no column {column!r}; it has {some(table.columns)}")
        start, end = _nodes(table[from_node], from_node), _nodes(table[to_node], to_node)
        if start.dtype.kind != end.dtype.kind:
            raise NetworkError(
                f"nodes of {from_node!r} and {to_node!r} are of two kinds: {some(start, 2)} and {some(end, 2)}"
            )
    else:
        start, end = _ends(table, tolerance or 0.0)
    ids = _line_ids(table, reach)
    source, target = _meeting(start, end)
    loops = ids[start == end]
    if loops.size:
        raise NetworkError(f"{loops.size} lines end where they begin: {some(loops)}")
    share = _shares(table, fraction, ids, source, target)
    rest = table.drop(columns=[c for c in (reach,) if c is not None])
    rest = rest if hasattr(rest, "geometry") else pd.DataFrame(rest)
    marker = _marker(ids)
    rows = rest.assign(_reach=ids, _downstream=marker)
    dataset = dataset_from_dataframe(rows, "_reach", "_downstream", units=units).drop_vars("downstream")
    n_out = np.bincount(source, minlength=ids.size)
    if (n_out <= 1).all() and (share == 1.0).all():
        to = np.full(ids.size, marker, np.result_type(ids, np.asarray(marker)))
        to[source] = ids[target]
        return dataset.assign(downstream=("reach", to, {"long_name": "id downstream", "outlet": marker}))
    return dataset.assign(
        upstream_reach=("link", ids[source], {"long_name": "id upstream"}),
        downstream_reach=("link", ids[target], {"long_name": "id downstream"}), fraction=("link", share, {"units": "1"}),
    )  # fmt: skip


def _marker(ids: NDArray[Any]) -> Any:
    """What stands for no reach downstream."""
    return "" if ids.dtype.kind == "U" else min(int(ids.min(initial=0)), 0) - 1


def _nodes(column: pd.Series, name: str) -> NDArray[Any]:
    """Ids of nodes; what is missing, or marks an end, is a node of its own."""
    absent = column.isna().to_numpy()
    present = exact_ids(column[~absent].to_numpy(), f"column {name!r}")
    nodes = np.full(column.size, "" if present.dtype.kind == "U" else 0, present.dtype if present.size else np.int64)
    nodes[~absent] = present
    return nodes


def _line_ids(table: pd.DataFrame, reach: str | None) -> NDArray[Any]:
    if reach is None:
        small = {str(c).lower(): c for c in table.columns}
        reach = next((small[name] for name in IDS if name in small and table[small[name]].is_unique), None)
    if reach is None:
        if not table.index.is_unique:
            raise NetworkError(f"lines have no ids: give reach=, a column of {some(table.columns)}")
        return exact_ids(table.index.to_numpy(), "the table's index")
    if reach not in table.columns:
        raise NetworkError(f"the table has no column {reach!r}; it has {some(table.columns)}")
    return exact_ids(table[reach].to_numpy(), f"column {reach!r}")


def _meeting(start: NDArray[Any], end: NDArray[Any]) -> tuple[Int, Int]:
    """Pairs of lines, the second of which begins where the first ends."""
    nowhere = is_marker(end) & ~within(end, start)
    order = np.argsort(start, kind="stable")
    low = np.searchsorted(start[order], end, side="left")
    count = np.where(nowhere, 0, np.searchsorted(start[order], end, side="right") - low)
    source = np.repeat(np.arange(end.size), count)
    target = order[np.repeat(low - np.cumsum(count) + count, count) + np.arange(source.size)]
    return source, target


def _shares(
    table: pd.DataFrame, fraction: str | None, ids: NDArray[Any], source: Int, target: Int
) -> NDArray[np.float64]:
    """Share of each pair: what the column says that a line takes of the water at its beginning, or equal ones."""
    n_out = np.bincount(source, minlength=ids.size)
    if fraction is not None:
        if fraction not in table.columns:
            raise NetworkError(f"the table has no column {fraction!r}; it has {some(table.columns)}")
        share = table[fraction].to_numpy(np.float64, na_value=np.nan)[target]
        bad = ~np.isfinite(share)
        if bad.any():
            raise ParameterError(f"column {fraction!r} is missing on {int(bad.sum())} lines: {some(ids[target[bad]])}")
        return np.asarray(share)
    parts = ids[n_out > 1]
    if parts.size:
        warn(
            f"{parts.size} lines end where several begin, and no column says in which shares (fraction=): equal ones "
            "are taken, at "
            f"{some(parts)}"
        )
    return 1.0 / n_out[source]


def _ends(table: pd.DataFrame, tolerance: float) -> tuple[Int, Int]:
    """Nodes where lines begin and end, by their places."""
    if not (np.isfinite(tolerance) and tolerance >= 0):
        raise ParameterError(f"tolerance is a length in the units of the coordinates, not {tolerance!r}")
    geometry, _ = odd_columns(table)
    if not geometry:
        raise NetworkError(
            f"the table has neither columns of nodes (from_node=, to_node=) nor a geometry of lines; it has {some(table.columns)}"
        )
    shapely = require("shapely", feature="networks from lines", extra="geo")
    lines = np.asarray(as_geometry(table[geometry[0]]), object)
    merged = np.array(
        [shapely.line_merge(g) if g is not None and g.geom_type == "MultiLineString" else g for g in lines], object
    )
    odd = [k for k, g in enumerate(merged) if g is None or g.is_empty or g.geom_type != "LineString"]
    if odd:
        raise NetworkError(f"{len(odd)} geometries are not one line each, first row {odd[0]}: explode or merge them")
    ends = np.concatenate([shapely.get_coordinates(shapely.get_point(merged, k)) for k in (0, -1)])
    if tolerance == 0.0:
        _, node = np.unique(ends, axis=0, return_inverse=True)
    else:
        from scipy.sparse import coo_array, csgraph
        from scipy.spatial import cKDTree

        pairs = cKDTree(ends).query_pairs(tolerance, output_type="ndarray")
        near = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(ends), len(ends)))
        _, node = csgraph.connected_components(near, directed=False)
    node = np.asarray(node, np.int64).ravel() + 1  # none of them is 0, which would mark an outlet
    return node[: len(merged)], node[len(merged) :]
