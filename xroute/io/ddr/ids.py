"""Ids of DDR: numbers in ``order``, of which the geodataset says what they are, and those of catchments beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, some
from xroute.ids import exact_ids
from xroute.io.layouts import compact

__all__ = ["CATCHMENT", "LYNKER", "MERIT", "WATERBODY", "catchments", "from_order", "geodataset_of", "reaches", "to_order"]

LYNKER, MERIT = ("lynker", "hydrofabric_v2.2"), ("merit",)
WATERBODY, CATCHMENT = "wb-", "cat-"
"""What ids of reaches, and of the catchments that they drain, begin with in the Lynker hydrofabric."""


def from_order(order: Any, geodataset: str | None, what: str) -> NDArray[Any]:
    """Ids of reaches, exact, of the numbers (or the text) in ``order``."""
    ids = exact_ids(np.asarray(order), what)
    if geodataset in LYNKER and ids.dtype.kind == "i":
        return np.array([f"{WATERBODY}{number}" for number in ids.tolist()], dtype=str)
    return ids


def geodataset_of(ids: NDArray[Any]) -> str | None:
    """The geodataset whose ids these look like: ``"merit"`` for numbers, ``"lynker"`` for ``wb-N``; None for other text."""
    if ids.dtype.kind == "i":
        return MERIT[0]
    return LYNKER[0] if ids.size and all(one.startswith(WATERBODY) for one in ids.tolist()) else None


def to_order(ids: NDArray[Any], geodataset: str | None) -> NDArray[Any]:
    """What stands in ``order`` for ids: the numbers of ``wb-N``, numbers, or text as it is.

    Raises
    ------
    NetworkError
        For ids that would be others when they are read again.
    """
    if geodataset not in (*LYNKER, *MERIT, None):
        raise NetworkError(f"there is no geodataset {geodataset!r}; there are {some((*MERIT, *LYNKER))}, or None")
    if geodataset in MERIT and ids.dtype.kind != "i":
        raise NetworkError(f"ids of MERIT are whole numbers, not text such as {some(ids[:3])}")
    if geodataset not in LYNKER:
        return compact(ids) if ids.dtype.kind == "i" else ids
    texts = ids.tolist() if ids.dtype.kind == "U" else []
    numbers = [int(one.removeprefix(WATERBODY)) if one.removeprefix(WATERBODY).isascii()
               and one.removeprefix(WATERBODY).isdecimal() else -1 for one in texts]  # fmt: skip
    strange = [one for one, number in zip(texts, numbers, strict=True) if one != f"{WATERBODY}{number}"]
    if strange or not texts:
        raise NetworkError(
            f"ids of the Lynker hydrofabric are {WATERBODY} and a number, of which DDR keeps the number alone: "
            f"{some(strange or ids[:3])} would be others when read again"
        )
    return compact(np.array(numbers, np.int64))


def catchments(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids of catchments: ``cat-N`` of ``wb-N``, and others as they are."""
    if ids.dtype.kind != "U":
        return ids
    return np.array([_other(one, WATERBODY, CATCHMENT) for one in ids.tolist()], dtype=str)


def reaches(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids of reaches: ``wb-N`` of ``cat-N``, and others as they are."""
    if ids.dtype.kind != "U":
        return ids
    return np.array([_other(one, CATCHMENT, WATERBODY) for one in ids.tolist()], dtype=str)


def _other(one: str, before: str, after: str) -> str:
    return f"{after}{one.removeprefix(before)}" if one.startswith(before) else one
