"""Which row is which reach: ids of an array's rows matched with those of a network's reaches, never by position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, one_of, some
from xroute.ids import positions_of, repeated, within
from xroute.settings import EXTRA, MISSING, Extra, Missing
from xroute.wording import argument

__all__ = ["match_rows"]


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
    """What to do where ids and reaches differ in the case of letters only, or where they have nothing in common."""
    if not ids.size or within(ids, reaches).any():
        return ""
    if ids.dtype.kind == "U" and reaches.size:
        if within(np.char.lower(ids), np.char.lower(reaches)).all():
            return "They differ in capital and small letters only: make them the same"
    return "No id is in both: is this the right network, or does another coordinate bear the ids?"
