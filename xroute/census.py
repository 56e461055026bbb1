"""A look at discharge on its way out: whether all of it is finite, and how much of it is negative."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.block import is_cupy
from xroute.exceptions import XRouteError, some
from xroute.options import n_threads

__all__ = ["extremes", "n_negative", "require_finite"]

BLOCK = 2**17
"""Values looked at together: few enough to stay in cache while they are looked at twice."""
MANY = 2**21
"""Values that are worth a thread."""


def extremes(values: Any) -> tuple[float, float]:
    """Least and largest value, NaN if there is any, of numpy or cupy; 0 and 0 of nothing."""
    if not values.size:
        return 0.0, 0.0
    if is_cupy(values):
        return float(values.min()), float(values.max())
    flat = values.reshape(-1)
    threads = min(n_threads(), 1 + flat.size // MANY)
    if threads == 1:
        return _extremes(flat)
    with ThreadPoolExecutor(threads) as pool:  # memory, not arithmetic, is what this waits for
        low, high = zip(*pool.map(_extremes, np.array_split(flat, threads)), strict=True)
    return float(np.min(low)), float(np.max(high))


def _extremes(flat: NDArray[Any]) -> tuple[float, float]:
    parts = [flat[k : k + BLOCK] for k in range(0, flat.size, BLOCK)]
    low, high = zip(*((part.min(), part.max()) for part in parts), strict=True)
    return float(np.min(low)), float(np.max(high))  # unlike Python's, these hand NaN on


def require_finite(
    discharge: Any, ids: NDArray[Any], row: NDArray[np.int64] | None, times: NDArray[Any]
) -> None:
    """Refuse discharge [batch, row, time] that is not finite although all that it was made of is: it has overflowed.

    Parameters
    ----------
    discharge
        Of numpy or cupy.
    ids : [reach]
        Ids of reaches.
    row : int64 [reach], optional
        Row of each; by default reaches are rows.
    times : [time]
        Times, for the message.

    Raises
    ------
    XRouteError
        Naming the reaches and the first time.
    """
    if np.isfinite(extremes(discharge)).all():
        return
    bad = ~np.isfinite(discharge.get() if is_cupy(discharge) else discharge)
    reaches = bad.any(axis=(0, 2))
    named = ids[reaches if row is None else reaches[row]]
    first = times[int(np.flatnonzero(bad.any(axis=(0, 1)))[0])]
    advice = ', or route in double precision: runoff.astype("float64")' if discharge.dtype.itemsize == 4 else ""
    raise XRouteError(
        f"discharge overflows {discharge.dtype} on {named.size} reaches: {some(named)}; first at {first}. Check the values "
        f"and units of runoff there and upstream{advice}"
    )


def n_negative(values: Any) -> int:
    """How many values are negative, of numpy or cupy."""
    if not values.size:
        return 0
    if is_cupy(values):
        return int((values < 0).sum())
    flat = values.reshape(-1)
    parts = (flat[k : k + BLOCK] for k in range(0, flat.size, BLOCK))
    return sum(int(np.count_nonzero(part < 0)) for part in parts if part.min() < 0)
