"""A river from DDR's adjacency matrix: a Zarr group in the COO form of binsparse, of a whole domain or of one gauge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, require, some, warn
from xroute.files.opening import PathLike, existing
from xroute.guards import reading
from xroute.ids import repeated
from xroute.io.ddr.ids import from_order
from xroute.stores import is_group, open_store

__all__ = ["is_adjacency", "read_network"]

ARRAYS = ("indices_0", "indices_1", "values", "order")


def read_network(path: PathLike, gauge: str | None = None, *, adjacency: PathLike | None = None) -> xr.Dataset:
    """Read a river from an adjacency matrix of DDR, or another in the COO form of binsparse with ``order``.

    Parameters
    ----------
    path
        The Zarr group; or a store with a group for each gauge.
    gauge
        Which of the groups, such as ``"01570500"``.
    adjacency
        The store of the whole domain, whose rows those of a gauge's group are, where they are not its own.

    Returns
    -------
    xarray.Dataset
        On ``reach``, in the rows of the matrix (int64 ids, or text): ``downstream``. Where reaches drain to several, by values
        below 1, ``upstream_reach``, ``downstream_reach`` and ``fraction`` (link). Attributes: ``source``, and ``geodataset`` and
        ``gage_catchment`` where the group has them. It has no parameters: the files have none.

    Raises
    ------
    NetworkError
        For a group that is no such matrix: arrays or ids that are missing or do not fit, indices off the matrix, links that
        stand twice or are to themselves, a reach that drains to several as a whole.
    FileNotFoundError
        If there is nothing at the path.

    Examples
    --------
    >>> import tempfile
    >>> import xroute
    >>> from xroute.io import ddr
    >>> path = f"{tempfile.mkdtemp()}/adjacency.zarr"
    >>> ddr.write_network(xroute.Network.from_links([71, 72, 73], [73, 73, 0]), path)
    >>> ddr.read_network(path).downstream.values.tolist()
    [73, 73, -1]
    """
    arrays, attrs = _read(path, gauge)
    row, column, values, order = (arrays[name] for name in ARRAYS)
    where = f"{path}{'' if gauge is None else f', group {gauge!r}'}"
    geodataset = attrs.get("geodataset")
    ids = from_order(order, geodataset, f"order of {where}")
    shape = [int(n) for n in attrs.get("shape", (ids.size, ids.size))]
    if len(shape) != 2 or shape[0] != shape[1]:
        raise NetworkError(f"{where} is a matrix of shape {shape}, and an adjacency matrix is square")
    if not row.shape == column.shape == values.shape or row.ndim != 1:
        raise NetworkError(f"{where}: indices_0, indices_1 and values are {row.shape}, {column.shape} and {values.shape} long")
    if row.dtype.kind not in "iu" or column.dtype.kind not in "iu":
        raise NetworkError(f"{where}: indices are whole numbers, not {row.dtype} and {column.dtype}")
    off = (row < 0) | (row >= shape[0]) | (column < 0) | (column >= shape[0])
    if off.any():
        at = int(off.argmax())
        raise NetworkError(
            f"{where}: {int(off.sum())} links are off the matrix of {shape[0]} rows, first ({row[at]}, {column[at]})"
        )
    row, column = row.astype(np.int64), column.astype(np.int64)
    if ids.size != shape[0]:
        row, column = _within_domain(row, column, ids, shape[0], adjacency, geodataset, where)
    return _dataset(row, column, values, ids, attrs, where, Path(path).name)


def is_adjacency(path: Path) -> bool:
    """Whether a folder is a Zarr group with an adjacency matrix."""
    return is_group(path) and all((path / name).is_dir() for name in ARRAYS)


def _read(path: PathLike, gauge: str | None) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays of a group, and its attributes."""
    zarr = require("zarr", feature="reading DDR's matrices", extra="io")
    target = existing(path)
    if not target.is_dir() or not is_group(target):
        raise NetworkError(f"{path} is no Zarr group, and DDR's adjacency matrix is one")
    with reading(target, "as a Zarr group"):
        group = zarr.open_group(open_store(target, read_only=True), mode="r")
        names = sorted(name for name, _ in group.groups())
        if gauge is not None:
            if gauge not in names:
                raise NetworkError(f"{path} has no group {gauge!r}; it has {some(names) if names else 'none'}")
            group = group[gauge]
        lacking = [name for name in ARRAYS if name not in group]
        if lacking and gauge is None and names:
            raise NetworkError(f"{path} has a group for each of {len(names)} gauges: name the one to read, gauge: {some(names)}")
        if lacking:
            raise NetworkError(f"{path} is no adjacency matrix of DDR: it has no {some(lacking)}; it has {some(sorted(group))}")
        attrs = dict(group.attrs)
        if str(attrs.get("format", "COO")).upper() != "COO":
            raise NetworkError(f"{path} is in the form {attrs['format']!r}, and COO is read")
        return {name: np.asarray(group[name][:]) for name in ARRAYS}, attrs


def _within_domain(
    row: NDArray[np.int64], column: NDArray[np.int64], ids: NDArray[Any], size: int, adjacency: PathLike | None,
    geodataset: str | None, where: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Rows of a gauge's own reaches, of rows in the matrix of the whole domain."""
    if adjacency is None:
        raise NetworkError(
            f"{where} has {ids.size} ids, and its rows are those of a domain of {size} reaches: name the store of the whole "
            "domain, adjacency, whose order says which reach a row is"
        )
    arrays, attrs = _read(adjacency, None)
    domain = from_order(arrays["order"], attrs.get("geodataset", geodataset), f"order of {adjacency}")
    if domain.size != size:
        raise NetworkError(f"{adjacency} has {domain.size} reaches, and the rows of {where} are of a domain of {size}")
    own = {one: place for place, one in enumerate(ids.tolist())}
    ends = [[own.get(one, -1) for one in domain[at].tolist()] for at in (row, column)]
    alien = sorted({str(domain[at][place]) for at, end in zip((row, column), ends, strict=True)
                    for place, found in enumerate(end) if found < 0})  # fmt: skip
    if alien:
        raise NetworkError(f"links of {where} are of reaches that are not in its order: {some(alien)}")
    return np.array(ends[0], np.int64), np.array(ends[1], np.int64)


def _dataset(
    row: NDArray[np.int64], column: NDArray[np.int64], values: NDArray[Any], ids: NDArray[Any], attrs: dict[str, Any],
    where: str, name: str,
) -> xr.Dataset:  # fmt: skip
    twice = repeated(ids)
    if twice.size:
        raise NetworkError(f"{where}: {twice.size} ids stand twice in order: {some(twice)}")
    fraction = values.astype(np.float64)
    wrong = ~((fraction >= 0) & (fraction <= 1))
    if wrong.any():
        raise NetworkError(f"{where}: values are 1 for a link, or the share that takes it, not {some(values[wrong], 5)}")
    linked = fraction > 0
    row, column, fraction = row[linked], column[linked], fraction[linked]
    if (row == column).any():
        raise NetworkError(f"{where}: {int((row == column).sum())} reaches drain to themselves: {some(ids[row[row == column]])}")
    if row.size and (row < column).all():
        warn(
            f"{where}: all {row.size} links lead to reaches that stand before theirs in order, where upstream comes first: if "
            "the matrix is turned, with indices_0 upstream, this network flows backwards. Look at an outlet: "
            f"{some(ids[np.setdiff1d(row, column)], 3)}"
        )
    again = repeated(row * ids.size + column)
    if again.size:
        raise NetworkError(f"{where}: {again.size} links stand twice, first {some([ids[again[0] % max(ids.size, 1)]])}")
    coords = {"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "reach id"})}
    kept: dict[str, Any] = {key: attrs[key] for key in ("geodataset", "gage_catchment") if key in attrs}
    made = {"source": f"DDR: {name}"} | kept
    if (fraction == 1).all():
        several = repeated(column)
        if several.size:
            raise NetworkError(
                f"{where}: {several.size} reaches drain to several, each with all of its water: {some(ids[several])}. Values "
                "below 1 say which share goes where"
            )
        outlet = "" if ids.dtype.kind == "U" else next(marker for marker in (-1, 0, -(2**63)) if marker not in ids)
        downstream = np.full(ids.size, outlet, dtype=ids.dtype if ids.size else None)
        downstream[column] = ids[row]
        of = {"long_name": "id of the reach downstream", "outlet": outlet}
        return xr.Dataset({"downstream": ("reach", downstream, of)}, coords, made)
    links = {"upstream_reach": ids[column], "downstream_reach": ids[row], "fraction": fraction}
    return xr.Dataset({key: ("link", column_of) for key, column_of in links.items()}, coords, made)
