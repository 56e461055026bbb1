"""What is counted of values on their way through: sums, negative ones, and where discharge has overflowed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.block import is_cupy
from xroute.exceptions import XRouteError, some
from xroute.wording import argument

__all__ = ["finite_sums", "n_negative", "overflow"]

BLOCK = 2**17
"""Values looked at together: few enough to stay in cache while they are looked at twice."""


def overflow(discharge: Any, ids: NDArray[Any], row: NDArray[np.int64] | None, times: NDArray[Any]) -> XRouteError:
    """Error for discharge [batch, row, time] that is not finite although all that it was made of is.

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
    """
    bad = ~np.isfinite(discharge.get() if is_cupy(discharge) else discharge)
    reaches = bad.any(axis=(0, 2))
    named = ids[reaches if row is None else reaches[row]]
    first = times[int(np.flatnonzero(bad.any(axis=(0, 1)))[0])]
    wider = argument("dtype", "float64", python='runoff.astype("float64")')
    advice = f", or route in double precision: {wider}" if discharge.dtype.itemsize == 4 else ""
    return XRouteError(
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


def finite_sums(block: xr.DataArray, dim: Hashable) -> Any:
    """Sums [dim] of the finite values of a block in memory, float64 of numpy; without a copy where all are finite."""
    values = block.data.get() if is_cupy(block.data) else np.asarray(block.data)
    axes = tuple(k for k, d in enumerate(block.dims) if d != dim)
    sums = values.sum(axis=axes, dtype=np.float64)
    if np.isfinite(sums).all():
        return sums
    return np.where(np.isfinite(values), values, 0).sum(axis=axes, dtype=np.float64)
