"""What is counted of values on their way: sums, negative ones, runoff that is not finite, discharge that overflows."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.arrays import NotFinite, Rows
from xroute.engine.backends import on_host
from xroute.exceptions import XRouteError, some
from xroute.settings import RoutingSettings
from xroute.wording import argument

__all__ = ["FILLS", "check_finite", "check_known", "finite_sums", "negative_sums", "span_in_words", "step_labels"]

FILLS = (-99.0, -999.0, -9999.0, -99999.0, -999999.0)
"""What files of gauges hold where nothing was measured, whether they declare it or not."""

def check_finite(
    n_bad: NotFinite,
    settings: RoutingSettings,
    runoff: Any,
    discharge: Any,
    ids: NDArray[Any],
    rows: Rows,
    times: Callable[[], NDArray[Any]],
) -> None:
    """Refuse runoff that is not finite, unless it is taken as zero, and discharge that overflows.

    Parameters
    ----------
    n_bad
        What `xroute.block.route_block` counted.
    settings
        Whether runoff that is not finite is taken as zero.
    runoff, discharge : [batch, row, time]
        What was routed, and what came of it; looked at only where something is wrong.
    ids : [reach]
        Ids of reaches, to name them.
    rows
        Where these are in runoff and discharge.
    times
        Gives the labels of the steps [time].

    Raises
    ------
    XRouteError
        Naming the first ten reaches, and the first time.
    """
    if n_bad.runoff and not settings.nan_is_zero:
        raise _not_finite(runoff, ids, rows.runoff, times(), n_bad.runoff)
    if n_bad.discharge:
        raise _overflow(discharge, ids, rows.discharge, times())


def check_known(
    values: NDArray[np.float64], ids: NDArray[Any], times: Callable[[], NDArray[Any]], factor: float
) -> None:
    """Refuse known discharge [batch, known reach, time] that is infinite, or stands for what is missing (`FILLS`).

    ``factor`` is what values were multiplied by when they were read.

    Raises
    ------
    XRouteError
        Naming the first ten reaches, and the first time.
    """
    refused = {"infinite": np.isinf(values)}
    refused |= {f"{fill:g}, which is no discharge": values == fill * factor for fill in FILLS}
    for what, bad in refused.items():
        if bad.any():
            first = times()[int(np.flatnonzero(bad.any(axis=(0, 1)))[0])]
            raise XRouteError(
                f"{int(bad.sum())} values of known discharge are {what}, on reaches {some(ids[bad.any(axis=(0, 2))])}; first "
                f"at {first}. Where it is not known, it is NaN"
            )


def _not_finite(
    runoff: Any, ids: NDArray[Any], row: NDArray[np.int64] | None, times: NDArray[Any], n_bad: int
) -> XRouteError:
    row = np.arange(ids.size) if row is None else row
    bad = ~np.isfinite(on_host(runoff))[:, row[row >= 0]]
    named = ids[row >= 0][bad.any(axis=(0, 2))]
    first = times[int(np.flatnonzero(bad.any(axis=(0, 1)))[0])]
    return XRouteError(
        f"{n_bad} values of runoff are NaN or infinite, on {named.size} reaches: {some(named)}; first at {first}. "
        f"Fill them, or take them as zero with {argument('nan', 'zero')}"
    )


def _overflow(discharge: Any, ids: NDArray[Any], row: NDArray[np.int64] | None, times: NDArray[Any]) -> XRouteError:
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


def span_in_words(array: xr.DataArray, dim: Any, steps: slice) -> str:
    """Steps of a series, in words."""
    text = f"steps {steps.start} to {steps.stop - 1}"
    if dim in array.coords:
        times = array[dim][[steps.start, steps.stop - 1]].values
        text += f" ({str(times[0])[:19]} to {str(times[1])[:19]})"
    return text


def negative_sums(values: NDArray[Any]) -> tuple[Any, Any]:
    """How many values [batch, row, time] are negative, and their sum, over time [batch, row]; None twice where none is."""
    if not values.size or values.min() >= 0:
        return None, None
    below = values < 0
    return below.sum(axis=-1, dtype=np.float64), values.sum(axis=-1, dtype=np.float64, where=below)


def finite_sums(block: xr.DataArray, dim: Hashable, *kept: Hashable) -> Any:
    """Sums [*kept, dim] of the finite values of a block in memory, float64 of numpy; without a copy where all are finite."""
    block = block.transpose(*kept, dim, ...) if kept else block
    values = on_host(block.data)
    axes = tuple(k for k, d in enumerate(block.dims) if d not in (dim, *kept))
    sums = values.sum(axis=axes, dtype=np.float64)
    if np.isfinite(sums).all():
        return sums
    return np.where(np.isfinite(values), values, 0).sum(axis=axes, dtype=np.float64)
