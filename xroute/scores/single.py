"""One score at a time: each takes simulated and observed discharge, matches them by label, and reduces the time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import xarray as xr

from xroute.exceptions import one_of
from xroute.scores.applying import apply, described, single, timed, warn_of_useless
from xroute.scores.matching import match
from xroute.scores.measures import EPSILON, Options
from xroute.settings import KGE_METHOD, Extra, KGEMethod

__all__ = ["correlation", "kge", "log_nse", "mae", "nse", "pbias", "rmse"]


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
    warn_of_useless(values, names)
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
        In the units of discharge, without the time; 0 is best. NaN of fewer than two pairs.

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
        In the units of discharge, without the time; 0 is best. NaN of fewer than two pairs.

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
