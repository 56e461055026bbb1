"""What is counted of values on their way: sums, negative ones, runoff that is not finite, discharge that overflows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.backends import backend_of_array, on_host
from xroute.exceptions import XRouteError, some
from xroute.wording import argument

__all__ = ["finite_sums", "n_negative", "not_finite", "overflow", "step_labels"]

BLOCK = 2**17
"""Values looked at together: few enough to stay in cache while they are looked at twice."""


def not_finite(
    runoff: Any, ids: NDArray[Any], row: NDArray[np.int64] | None, times: NDArray[Any], n_bad: int
) -> XRouteError:
    """Error for runoff [batch, row, time] of which ``n_bad`` values are not finite, of numpy or cupy.

    ``row`` [reach] of each reach is -1 for none, and None where reaches are rows; ``times`` [time] are for the message.
    """
    row = np.arange(ids.size) if row is None else row
    bad = ~np.isfinite(on_host(runoff))[:, row[row >= 0]]
    named = ids[row >= 0][bad.any(axis=(0, 2))]
    first = times[int(np.flatnonzero(bad.any(axis=(0, 1)))[0])]
    return XRouteError(
        f"{n_bad} values of runoff are NaN or infinite, on {named.size} reaches: {some(named)}; first at {first}. "
        f"Fill them, or take them as zero with {argument('nan', 'zero')}"
    )


def overflow(discharge: Any, ids: NDArray[Any], row: NDArray[np.int64] | None, times: NDArray[Any]) -> XRouteError:
    """Error for discharge [batch, row, time] that is not finite although all that it was made of is; as `not_finite`."""
    bad = ~np.isfinite(on_host(discharge))
    reaches = bad.any(axis=(0, 2))
    named = ids[reaches if row is None else reaches[row]]
    first = times[int(np.flatnonzero(bad.any(axis=(0, 1)))[0])]
    wider = argument("dtype", "float64", python='runoff.astype("float64")')
    advice = f", or route in double precision: {wider}" if discharge.dtype.itemsize == 4 else ""
    return XRouteError(
        f"discharge overflows {discharge.dtype} on {named.size} reaches: {some(named)}; first at {first}. Check the values "
        f"and units of runoff there and upstream{advice}"
    )


def step_labels(runoff: xr.DataArray, dim: Hashable, first: int = 0) -> NDArray[Any]:
    """Labels of the steps of some runoff, or their numbers, ``first`` and on, where they have none."""
    return runoff[dim].values if dim in runoff.coords else first + np.arange(runoff.sizes[dim])


def n_negative(values: Any) -> int:
    """How many values are negative, of numpy or cupy."""
    if not values.size:
        return 0
    if backend_of_array(values) is not None:
        return int((values < 0).sum())
    flat = values.reshape(-1)
    parts = (flat[k : k + BLOCK] for k in range(0, flat.size, BLOCK))
    return sum(int(np.count_nonzero(part < 0)) for part in parts if part.min() < 0)


def finite_sums(block: xr.DataArray, dim: Hashable) -> Any:
    """Sums [dim] of the finite values of a block in memory, float64 of numpy; without a copy where all are finite."""
    values = on_host(block.data)
    axes = tuple(k for k, d in enumerate(block.dims) if d != dim)
    sums = values.sum(axis=axes, dtype=np.float64)
    if np.isfinite(sums).all():
        return sums
    return np.where(np.isfinite(values), values, 0).sum(axis=axes, dtype=np.float64)
