"""One score at a time: each takes simulated and observed discharge, matches them by label, and reduces the time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import xarray as xr

from xroute.exceptions import one_of
from xroute.scores.applying import apply, described, single, timed, warn_of_useless
from xroute.scores.matching import match
from xroute.scores.measures import EPSILON, HIGH, LOW, WINDOW, Options
from xroute.settings import KGE_METHOD, Extra, KGEMethod

__all__ = [
    "correlation", "fhv", "flv", "kge", "log_nse", "mae", "nse", "pbias", "peak_error", "peak_timing", "rmse",
]  # fmt: skip

def nse(simulated: Any, observed: Any, dim: Hashable | None = None, *, extra: Extra = "raise") -> xr.DataArray:
    """Nash-Sutcliffe efficiency: one less the squared error over the variance of the observations (Nash and Sutcliffe 1970).

    Parameters
    ----------
    simulated : (time, ...)
        Simulated discharge, on ``reach`` or gauges and whatever else it has (members); lazy on Dask, and then so is the score.
    observed : (time, ...)
        Observed discharge, NaN in gaps: on the ids of reaches, or on gauges with a coordinate ``reach``. Both are matched by
        label as `xroute.scores` says, and ``observed`` is converted to the units of ``simulated``.
    dim
        Dimension of time, where it cannot be told.
    extra
        Gauges that the simulation does not have: ``"raise"`` an error, or ``"drop"`` them.

    Returns
    -------
    xarray.DataArray
        [1], without the time; 1 is best. NaN of fewer than two pairs, and of observations that do not vary.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import nse
    >>> observed = xr.DataArray([1.0, 3.0, 5.0, float("nan")], dims="time")
    >>> nse(observed + 1, observed).item()
    0.625
    """
    return single(match(simulated, observed, dim, extra), "nse", Options())


def kge(
    simulated: Any,
    observed: Any,
    dim: Hashable | None = None,
    *,
    method: KGEMethod = "2009",
    components: bool = False,
    extra: Extra = "raise",
) -> Any:
    """Kling-Gupta efficiency, of correlation, variability and bias.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.
    method
        ``"2009"`` (Gupta et al. 2009), in which variability is the ratio of standard deviations, or ``"2012"`` (Kling et al.
        2012), in which it is that of coefficients of variation.
    components
        Whether to return what it is made of, too.

    Returns
    -------
    xarray.DataArray
        [1], without the time; 1 is best. NaN where either side does not vary, or the observed mean is zero.
    xarray.Dataset
        With ``components``: ``kge``, ``r`` (correlation), ``alpha`` (of method 2012 ``gamma``) and ``beta`` (bias).

    Raises
    ------
    ParameterError
        For another method.
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import kge
    >>> observed = xr.DataArray([1.0, 3.0, 5.0], dims="time")
    >>> kge(2 * observed, observed, components=True).to_array().round(3).values.tolist()
    [-0.414, 1.0, 2.0, 2.0]
    >>> kge(2 * observed, observed, method="2012").round(3).item()
    0.0
    """
    one_of("method", str(method), KGE_METHOD)
    matched = match(simulated, observed, dim, extra)
    name, variability = ("kge", "alpha") if str(method) == KGE_METHOD[0] else ("kge_2012", "gamma")
    if not components:
        found = single(matched, name, Options())
        found.name = "kge"
        return found
    names = [name, "correlation", variability, "beta"]
    options, times, dated = timed(Options(), None, matched.observed, matched.dim)
    values = apply(matched, names, options, times)
    warn_of_useless(matched, names)
    called = ["kge", "r", variability, "beta"]
    parts = {c: described(values.isel(metric=k), n, None, dated) for k, (c, n) in enumerate(zip(called, names, strict=True))}
    return xr.Dataset(parts)


def pbias(simulated: Any, observed: Any, dim: Hashable | None = None, *, extra: Extra = "raise") -> xr.DataArray:
    """Bias of the volume [%]: 100 (sum of simulated - sum of observed) / sum of observed; above zero there is too much.

    Some write it with the other sign (Moriasi et al. 2007).

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.

    Returns
    -------
    xarray.DataArray
        [%], without the time; 0 is best. NaN of fewer than two pairs, and where the observed mean is zero.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import pbias
    >>> observed = xr.DataArray([1.0, 3.0], dims="time")
    >>> pbias(observed * 1.5, observed).item()
    50.0
    """
    return single(match(simulated, observed, dim, extra), "pbias", Options())


def rmse(simulated: Any, observed: Any, dim: Hashable | None = None, *, extra: Extra = "raise") -> xr.DataArray:
    """Root-mean-square error, in the units of ``simulated``.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.

    Returns
    -------
    xarray.DataArray
        Without the time; 0 is best. NaN of fewer than two pairs.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import rmse
    >>> observed = xr.DataArray([1.0, 3.0, float("nan")], dims="time")
    >>> rmse(xr.DataArray([4.0, 7.0, 9.0], dims="time"), observed).round(4).item()
    3.5355
    """
    return single(match(simulated, observed, dim, extra), "rmse", Options())


def mae(simulated: Any, observed: Any, dim: Hashable | None = None, *, extra: Extra = "raise") -> xr.DataArray:
    """Mean absolute error, in the units of ``simulated``.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.

    Returns
    -------
    xarray.DataArray
        Without the time; 0 is best. NaN of fewer than two pairs.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import mae
    >>> observed = xr.DataArray([1.0, 3.0, float("nan")], dims="time")
    >>> mae(xr.DataArray([4.0, 7.0, 9.0], dims="time"), observed).item()
    3.5
    """
    return single(match(simulated, observed, dim, extra), "mae", Options())


def correlation(simulated: Any, observed: Any, dim: Hashable | None = None, *, extra: Extra = "raise") -> xr.DataArray:
    """Pearson's correlation of simulated and observed discharge.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.

    Returns
    -------
    xarray.DataArray
        [1], without the time; 1 is best. NaN where either side does not vary.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import correlation
    >>> observed = xr.DataArray([1.0, 3.0, 2.0], dims="time")
    >>> correlation(5 - 2 * observed, observed).round(12).item()
    -1.0
    """
    return single(match(simulated, observed, dim, extra), "correlation", Options())


def log_nse(
    simulated: Any, observed: Any, dim: Hashable | None = None, *, epsilon: float = EPSILON, extra: Extra = "raise"
) -> xr.DataArray:
    """Nash-Sutcliffe efficiency of logarithms, which low flows weigh in.

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.
    epsilon
        What is added to both before logarithms are taken, so that there is one of no flow: a share of the mean observed flow of
        the pairs, a hundredth of it as Pushpalatha et al. (2012) recommend.

    Returns
    -------
    xarray.DataArray
        [1], without the time; 1 is best. NaN where `nse` is, and where a flow is so far below zero that it has no logarithm.

    Raises
    ------
    ParameterError
        For a share below zero.
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import log_nse
    >>> observed = xr.DataArray([1.0, 10.0, 100.0], dims="time")
    >>> log_nse(10 * observed, observed, epsilon=0.0).round(12).item()
    -0.5
    """
    return single(match(simulated, observed, dim, extra), "log_nse", Options(epsilon=epsilon))


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
