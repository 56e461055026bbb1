"""Scores of the ends of the flow-duration curve and of peaks, one at a time, as those of `xroute.scores.single`."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import xarray as xr

from xroute.scores.applying import single
from xroute.scores.matching import match
from xroute.scores.measures import HIGH, LOW, WINDOW, Options
from xroute.settings import Extra

__all__ = ["fhv", "flv", "peak_error", "peak_timing"]


def fhv(
    simulated: Any, observed: Any, dim: Hashable | None = None, *, fraction: float = HIGH, extra: Extra = "raise"
) -> xr.DataArray:
    """Bias of the high end of the flow-duration curve [%] (Yilmaz et al. 2008, BiasFHV).

    ``100 (sum of the highest simulated - sum of the highest observed) / sum of the highest observed``, each side ranked by
    itself, of the highest 2% of the pairs: ``round(fraction * n)`` of them.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.
    fraction
        Share of time that counts as high.

    Returns
    -------
    xarray.DataArray
        [%], without the time; 0 is best. NaN where there are so few pairs (24, of 2%) that none is among the highest.

    Raises
    ------
    ParameterError
        For a share that is none.
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xroute.scores import fhv
    >>> observed = xr.DataArray(np.arange(1.0, 101.0), dims="time")
    >>> fhv(observed.where(observed < 99, 199.0), observed).item()
    100.0
    """
    return single(match(simulated, observed, dim, extra), "fhv", Options(high=fraction))


def flv(
    simulated: Any,
    observed: Any,
    dim: Hashable | None = None,
    *,
    fraction: float = LOW,
    epsilon: float = 0.0,
    extra: Extra = "raise",
) -> xr.DataArray:
    """Bias of the low end of the flow-duration curve [%] (Yilmaz et al. 2008, BiasFLV).

    ``-100 (S - O) / O``, where S and O are the sums of ``log q - log min q`` over the lowest 30% of the simulated and of the
    observed flows, each side ranked by itself: ``round(fraction * n)`` of them. Above zero, simulated low flows differ less among
    themselves than the observed ones do.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.
    fraction
        Share of time that counts as low.
    epsilon
        What is added to both before logarithms are taken, as a share of the mean observed flow; nothing by default.

    Returns
    -------
    xarray.DataArray
        [%], without the time; 0 is best. NaN where a flow is zero or below (then give an ``epsilon``), where there are too few
        pairs, and where all low observed flows are the same.

    Raises
    ------
    ParameterError
        For shares that are none.
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xroute.scores import flv
    >>> observed = xr.DataArray(np.exp(np.arange(10.0)), dims="time")
    >>> flv(observed**0.5, observed).round(9).item()
    50.0
    """
    return single(match(simulated, observed, dim, extra), "flv", Options(low=fraction, low_epsilon=epsilon))


def peak_timing(
    simulated: Any,
    observed: Any,
    dim: Hashable | None = None,
    *,
    window: Any = WINDOW,
    events: int = 1,
    extra: Extra = "raise",
) -> xr.DataArray:
    """How much later the highest flow comes than observed [h].

    The time of the highest simulated flow within ``window`` of the highest observed one, less the time of that; of equal flows
    the first. Of several events the mean.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.
    window
        How far from the observed peak the simulated one is looked for: a timedelta, seconds or text such as ``"10D"``; a number
        of steps where times are no dates; None for the whole series.
    events
        How many observed peaks are looked at, the highest of all that are at least ``window`` apart.

    Returns
    -------
    xarray.DataArray
        [h], or steps where times are no dates, without the time; above zero where the simulation is late. NaN where observations
        do not vary.

    Raises
    ------
    ParameterError
        For a number of events that is none, or several without a window.
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import pandas as pd, xarray as xr
    >>> from xroute.scores import peak_timing
    >>> time = pd.date_range("2000-01-01", periods=6, freq="3h")
    >>> observed = xr.DataArray([1.0, 5.0, 2.0, 1.0, 1.0, 1.0], {"time": time})
    >>> peak_timing(observed.copy(data=[1.0, 1.0, 2.0, 4.0, 1.0, 1.0]), observed).item()
    6.0
    """
    return single(match(simulated, observed, dim, extra), "peak_timing", Options(events=events), window)


def peak_error(
    simulated: Any,
    observed: Any,
    dim: Hashable | None = None,
    *,
    window: Any = WINDOW,
    events: int = 1,
    extra: Extra = "raise",
) -> xr.DataArray:
    """By how much the highest flow is higher than observed [%].

    ``100 (simulated peak - observed peak) / observed peak``, of the peaks that `peak_timing` is of.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.
    window, events
        As for `peak_timing`.

    Returns
    -------
    xarray.DataArray
        [%], without the time; 0 is best. NaN where observations do not vary, or none is above zero.

    Raises
    ------
    ParameterError
        For a number of events that is none, or several without a window.
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import pandas as pd, xarray as xr
    >>> from xroute.scores import peak_error
    >>> time = pd.date_range("2000-01-01", periods=6, freq="3h")
    >>> observed = xr.DataArray([1.0, 5.0, 2.0, 1.0, 1.0, 1.0], {"time": time})
    >>> peak_error(observed.copy(data=[1.0, 1.0, 2.0, 4.0, 1.0, 1.0]), observed).item()
    -20.0
    """
    return single(match(simulated, observed, dim, extra), "peak_error", Options(events=events), window)
