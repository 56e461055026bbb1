"""Flow-duration curves, and how far their high and low ends are off.

Functions of plain arrays serve `xroute.scores.measures`; NaN stands where there is no pair.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.scores.steps import series_dim, whole_along
from xroute.series import SeriesLike, as_series

__all__ = ["EXCEEDANCE", "flow_duration", "high_bias", "low_bias"]

Float = NDArray[np.float64]
EXCEEDANCE = (0.01, 0.02, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 0.98, 0.99)
"""Shares of time for which a flow-duration curve is worked out, where none are given."""


def flow_duration(
    discharge: SeriesLike, exceedance: Sequence[float] | float = EXCEEDANCE, *, dim: Hashable | None = None
) -> xr.DataArray:
    """Flow-duration curve: the discharge that is exceeded in a share of the time.

    Parameters
    ----------
    discharge : (time, ...)
        Discharge, in any units, lazy on Dask; NaN does not count. A table of pandas or the path of a file will do as well.
    exceedance
        Shares of time, from 0 (the highest value) to 1 (the lowest). 0.05 is Q5, a flow that is exceeded in 5% of the time.
    dim
        Dimension of time, where it cannot be told.

    Returns
    -------
    xarray.DataArray
        Discharge (exceedance, ...), with ``exceedance`` [1] in place of the time, in the units of ``discharge``; NaN where
        no value is known.

    Raises
    ------
    ParameterError
        For shares that are not between 0 and 1.
    TimeAxisError
        If the dimension of time cannot be told.

    Notes
    -----
    The m-th highest of n values is exceeded in m / (n + 1) of the time (Weibull 1939), with straight lines between them; beyond
    the first and the last of these shares stand the highest and the lowest value.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xroute.scores import flow_duration
    >>> q = xr.DataArray(np.arange(1.0, 100.0), dims="time", attrs={"units": "m3 s-1"})
    >>> flow_duration(q, [0.05, 0.5, 0.95]).round(6).values.tolist()
    [95.0, 50.0, 5.0]
    """
    array = as_series(discharge, what="discharge")
    along = series_dim(array, dim, "discharge")
    shares = np.atleast_1d(np.asarray(exceedance, np.float64))
    wrong = shares[~((shares >= 0) & (shares <= 1))]
    if wrong.size or shares.ndim > 1:
        strange = some(wrong.tolist() or [exceedance])
        raise ParameterError(f"exceedance is one or several shares of time from 0 to 1, not {strange}")
    curve = xr.apply_ufunc(
        _curve, whole_along(array, along).astype(np.float64), kwargs={"shares": shares}, input_core_dims=[[along]],
        output_core_dims=[["exceedance"]], dask="parallelized", output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"exceedance": shares.size}},
    )  # fmt: skip
    attrs = {"long_name": "share of time in which discharge is exceeded", "units": "1"}
    curve = curve.assign_coords(exceedance=("exceedance", shares, attrs)).transpose("exceedance", ...)
    curve.name = array.name
    kept = {key: value for key, value in array.attrs.items() if key in ("units", "standard_name")}
    curve.attrs = {"long_name": "flow-duration curve", **kept}
    return curve if np.ndim(exceedance) else curve.isel(exceedance=0)


def _curve(values: Float, shares: Float) -> Float:
    """Values [..., time] that are exceeded in these shares of the time [..., share]."""
    ordered = np.sort(values, axis=-1)  # NaN last
    n = np.isfinite(ordered).sum(axis=-1)[..., None]
    if not ordered.shape[-1]:
        return np.full((*values.shape[:-1], shares.size), np.nan)
    rank = np.clip((1 - shares) * (n + 1) - 1, 0, np.maximum(n - 1, 0))
    below = np.floor(rank).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(n - 1, 0))
    low, high = np.take_along_axis(ordered, below, -1), np.take_along_axis(ordered, above, -1)
    return np.where(n > 0, low + (rank - below) * (high - low), np.nan)


def high_bias(simulated: Float, observed: Float, n: NDArray[np.int64], fraction: float) -> Float:
    """FHV [%] of pairs [case, time] (NaN where there is none), of which each case has ``n``."""
    count = np.rint(fraction * n)[:, None]
    top = np.arange(observed.shape[1]) < count
    high_s, high_o = (np.where(top, -np.sort(-q, axis=1), 0.0).sum(axis=1) for q in (simulated, observed))
    return _percent(high_s - high_o, high_o, count[:, 0] > 0)


def low_bias(simulated: Float, observed: Float, n: NDArray[np.int64], fraction: float) -> Float:
    """FLV [%] of pairs [case, time] (NaN where there is none), of which each case has ``n``; NaN where the flow stops."""
    count = np.rint(fraction * n)[:, None]
    low = np.arange(observed.shape[1]) < count
    sums, usable = [], count[:, 0] > 1
    for q in (simulated, observed):
        ordered = np.sort(q, axis=1)
        usable = usable & (ordered[:, 0] > 0)
        logs = np.log(np.where(low & usable[:, None], ordered, 1.0))
        sums.append(np.where(low, logs - logs[:, :1], 0.0).sum(axis=1))
    return -_percent(sums[0] - sums[1], sums[1], usable)


def _percent(part: Float, of: Float, usable: Any) -> Float:
    usable = usable & (of != 0)
    return np.where(usable, 100 * part / np.where(usable, of, 1.0), np.nan)
