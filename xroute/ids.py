"""Reach ids, exact: int64 or str arrays, whatever they came as, and where each stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, XRouteError, some

__all__ = [
    "ID_KINDS", "convertible", "declared_fills", "distinct", "exact_ids", "is_missing", "is_positional", "positions_of",
    "repeated", "within",
]  # fmt: skip

ID_KINDS = {"i": "integers", "U": "text"}
"""What ids are, for messages: by the kind of their dtype."""
EXACT_FLOAT = 2**53
"""Whole numbers up to here are exact in float64."""
PADDING = " \0\t\r\n"
"""What fills up text of fixed width."""


def exact_ids(
    values: Any, what: str, error: type[XRouteError] = NetworkError, *, fills: Sequence[Any] = ()
) -> NDArray[Any]:
    """Ids as an int64 or a str array, without loss.

    Parameters
    ----------
    values : array_like
        Integers of any width, whole floats below 2**53 (2**24 in float32), text or bytes. Blanks and NULs that pad text
        are no part of an id.
    what
        What they are, for the message.
    error
        Error to raise.
    fills
        Values that stand where there is no id (see `declared_fills`).

    Raises
    ------
    XRouteError
        If ids are missing, not whole, too large to be exact, or of mixed kinds.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        _refuse_missing(np.ma.getmaskarray(values), what, error, "masked")
    try:
        ids = np.asarray(values)
    except ValueError as problem:  # lists of lists of different lengths
        raise error(f"{what}: ids must be a list of integers or text ({problem})") from problem
    for fill in fills:
        absent = ids == fill
        if np.any(absent):
            _refuse_missing(np.asarray(absent), what, error, f"the fill value {np.asarray(fill).item()!r}")
    if ids.dtype.kind in "iu":
        if ids.dtype == np.uint64 and ids.size and ids.max() > np.iinfo(np.int64).max:
            raise error(f"{what}: ids above 2**63 - 1 do not fit int64: {some(ids[ids > np.iinfo(np.int64).max])}")
        return ids.astype(np.int64, copy=False)
    if ids.dtype.kind == "f":
        if np.isnan(ids).any():
            _refuse_missing(np.isnan(ids), what, error, "NaN")
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
        return _stripped(_decoded(ids.ravel().tolist(), what, error).reshape(ids.shape))
    if ids.dtype.kind == "U":
        return _stripped(ids)
    if ids.dtype.kind == "T":
        return exact_ids(np.array(ids.tolist(), dtype=object).reshape(ids.shape), what, error)
    if ids.dtype.kind == "O":
        missing = is_missing(ids)
        if missing.any():
            _refuse_missing(missing, what, error, "NaN")
        kind = pd.api.types.infer_dtype(ids.ravel(), skipna=False)
        if kind in ("string", "empty"):
            return _stripped(ids.astype(str))
        if kind == "bytes":
            return _stripped(_decoded(ids.ravel().tolist(), what, error).reshape(ids.shape))
        if kind == "integer":
            outside = [v for v in ids.ravel() if not -(2**63) <= v < 2**63]
            if outside:
                raise error(f"{what}: {len(outside)} ids do not fit int64: {some(outside)}")
            return ids.astype(np.int64)
        if kind == "floating":
            return exact_ids(ids.astype(np.float64), what, error)
    raise error(f"{what}: ids must be integers or text, not {ids.dtype} ({some(ids.ravel()[:3])})")


def declared_fills(array: Any) -> tuple[Any, ...]:
    """Values that a file's variable declares for entries that are missing (``_FillValue``, ``missing_value``).

    They stand among the attributes of what was opened undecoded, and in the encoding otherwise.
    """
    found = [place.get(name) for place in (array.attrs, array.encoding) for name in ("_FillValue", "missing_value")]
    return tuple(value for item in found if item is not None for value in np.atleast_1d(item))


def convertible(ids: NDArray[Any], among: NDArray[Any]) -> str | None:
    """How ``ids`` become those of ``among`` that are of the other kind, as code to append; None where they do not.

    Text that would lose leading zeros as a number is none: "00101" and 101 are two ids.
    """
    if ids.dtype.kind == among.dtype.kind or not ids.size or not among.size:
        return None
    if ids.dtype.kind == "i":
        return ".astype(str)" if (positions_of(ids.astype(str), among) >= 0).any() else None
    if (positions_of(ids, among.astype(str)) >= 0).any():
        return '.astype("int64")'
    whole = np.char.rstrip(ids, "0")
    decimals = np.char.endswith(whole, ".")
    if decimals.any() and (positions_of(np.char.rstrip(whole[decimals], "."), among.astype(str)) >= 0).any():
        return '.astype("float64").astype("int64")'
    return None


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where values are NaN, NaT or None."""
    return np.asarray(pd.isna(values))


def positions_of(ids: NDArray[Any], among: NDArray[Any]) -> NDArray[np.int64]:
    """Position of each of ``ids`` in ``among`` (unique); -1 where it is not there, or of the other kind."""
    if ids.dtype.kind != among.dtype.kind:
        return np.full(ids.size, -1, np.int64)
    if ids.size == among.size and np.array_equal(ids, among):
        return np.arange(ids.size)
    if ids.dtype.kind == "U":  # pandas hashes objects, and would copy fixed-width text at each call otherwise
        return pd.Index(among.astype(object)).get_indexer(pd.Index(ids.astype(object))).astype(np.int64)
    if ids.size * FEW < among.size:
        return _last_places(ids, among)
    return pd.Index(among).get_indexer(pd.Index(ids)).astype(np.int64)


FEW = 4
"""Ids that are fewer than one in so many of those among which they are looked for are the ones that are hashed."""


def _last_places(ids: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Last place of each of a few ids among many, -1 where it has none: none of the many is hashed."""
    code, each = pd.factorize(ids)
    found = pd.Index(each).get_indexer(pd.Index(among))
    at = np.flatnonzero(found >= 0)
    place = np.full(each.size, -1, np.int64)
    place[found[at]] = at
    return np.asarray(place[code])


def distinct(ids: NDArray[Any]) -> NDArray[Any]:
    """Each of the ids once, sorted: `numpy.unique`, whose hashes take seconds for a million ids (NumPy 2.3 and later)."""
    found: NDArray[Any] = np.unique(ids, return_counts=True)[0]  # counts make it sort
    return found


def repeated(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids that stand more than once, each once, sorted."""
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return twice[np.concatenate([[True], twice[1:] != twice[:-1]])] if twice.size else twice


def within(ids: NDArray[Any], among: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the ids stand in ``among``, once or more: `numpy.isin`, which is as slow as `numpy.unique` is."""
    if ids.dtype.kind != among.dtype.kind or ids.dtype.kind == "U":
        return np.asarray(np.isin(ids, among))
    if ids.size * FEW < among.size:
        return _last_places(ids, among) >= 0
    return np.asarray(pd.Index(ids).isin(among))


def is_positional(values: NDArray[Any]) -> bool:
    """Whether values count from 0 or 1."""
    if values.dtype.kind not in "iuf" or not values.size or values[0] not in (0, 1):
        return False
    return bool(np.array_equal(values, np.arange(values.size) + values[0]))


def _refuse_missing(mask: NDArray[np.bool_], what: str, error: type[XRouteError], how: str) -> NoReturn:
    places = np.flatnonzero(mask)
    raise error(
        f"{what}: {places.size} id{'s are' if places.size > 1 else ' is'} missing ({how}), at position"
        f"{'s' * (places.size > 1)} {some(places)}. Every reach needs its id"
    )


def _decoded(values: list[bytes], what: str, error: type[XRouteError]) -> NDArray[Any]:
    try:
        return np.array([value.decode("utf-8") for value in values], dtype=str)
    except UnicodeDecodeError as problem:
        raise error(f"{what}: ids are bytes that are not UTF-8: {problem.object[:20]!r}") from problem


def _stripped(ids: NDArray[Any]) -> NDArray[Any]:
    """Text without what pads it; the array itself where nothing does."""
    bare = np.char.strip(ids, PADDING) if ids.size else ids
    return ids if np.array_equal(bare, ids) else bare
