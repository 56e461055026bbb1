"""Reach ids, exact: int64 or str arrays, whatever they came as, and where each stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, XRouteError, some

__all__ = ["exact_ids", "is_missing", "locate"]

EXACT_FLOAT = 2**53
"""Whole numbers up to here are exact in float64."""


def exact_ids(values: Any, what: str, error: type[XRouteError] = NetworkError) -> NDArray[Any]:
    """Ids as an int64 or a str array, without loss.

    Parameters
    ----------
    values : array_like
        Integers of any width, whole floats below 2**53, text or bytes.
    what
        What they are, for the message.
    error
        Error to raise.

    Raises
    ------
    XRouteError
        If ids are missing, not whole, too large to be exact, or of mixed kinds.
    """
    ids = np.asarray(values)
    if ids.dtype.kind in "iu":
        if ids.dtype == np.uint64 and ids.size and ids.max() > np.iinfo(np.int64).max:
            raise error(f"{what}: ids above 2**63 - 1 do not fit int64: {some(ids[ids > np.iinfo(np.int64).max])}")
        return ids.astype(np.int64, copy=False)
    if ids.dtype.kind == "f":
        if np.isnan(ids).any():
            raise error(f"{what}: {int(np.isnan(ids).sum())} ids are missing (NaN), first at {_first(np.isnan(ids))}")
        if (ids != np.floor(ids)).any():
            raise error(f"{what}: ids are not whole numbers: {some(ids[ids != np.floor(ids)])}")
        limit = min(EXACT_FLOAT, 2 ** (np.finfo(ids.dtype).nmant + 1))
        if (np.abs(ids) >= limit).any():
            raise error(
                f"{what}: ids were stored as {ids.dtype} and are too large to be exact in it: "
                f"{some(ids[np.abs(ids) >= limit])}. Read them as integers or text"
            )
        return ids.astype(np.int64)
    if ids.dtype.kind == "S":
        try:
            return np.char.decode(ids, "utf-8")
        except UnicodeDecodeError as cause:
            raise error(f"{what}: ids are bytes that are not text in UTF-8 ({cause}): decode them") from cause
    if ids.dtype.kind == "U":
        return ids
    if ids.dtype.kind == "T":
        return np.array(ids.tolist(), dtype=str).reshape(ids.shape)
    if ids.dtype.kind == "O":
        missing = is_missing(ids)
        if missing.any():
            raise error(f"{what}: {int(missing.sum())} ids are missing, first at {_first(missing)}")
        kind = pd.api.types.infer_dtype(ids, skipna=False)
        if kind in ("string", "empty"):
            return ids.astype(str)
        if kind == "bytes":
            return np.array([v.decode() for v in ids.ravel()], dtype=str).reshape(ids.shape)
        if kind == "integer":
            outside = [v for v in ids.ravel() if not -(2**63) <= v < 2**63]
            if outside:
                raise error(f"{what}: {len(outside)} ids do not fit int64: {some(outside)}")
            return ids.astype(np.int64)
    raise error(f"{what}: ids must be integers or text, not {ids.dtype} ({some(ids.ravel()[:3])})")


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where values are NaN, NaT or None."""
    return np.asarray(pd.isna(values))


def locate(ids: NDArray[Any], among: NDArray[Any]) -> NDArray[np.int64]:
    """Position of each of ``ids`` in ``among`` (unique); -1 where it is not there, or of the other kind."""
    if ids.dtype.kind != among.dtype.kind:
        return np.full(ids.size, -1, np.int64)
    if ids.size == among.size and np.array_equal(ids, among):
        return np.arange(ids.size)
    if ids.dtype.kind == "U":  # pandas hashes objects, and would copy fixed-width text at each call otherwise
        return pd.Index(among.astype(object)).get_indexer(pd.Index(ids.astype(object))).astype(np.int64)
    return pd.Index(among).get_indexer(pd.Index(ids)).astype(np.int64)


def _first(mask: NDArray[np.bool_]) -> str:
    return f"position {int(np.flatnonzero(mask)[0])}"
