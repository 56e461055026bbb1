"""What a simulation is set beside: the climatology of the observations, runoff that nobody routed, and the skill over either."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.attrs import append_history
from xroute.census import step_labels
from xroute.exceptions import ParameterError, TimeAxisError, one_of, some
from xroute.gauges import of_one_kind
from xroute.ids import exact_ids, positions_of
from xroute.moments import selected
from xroute.network import Network
from xroute.network_files import as_network
from xroute.reach_ids import read_reach_ids
from xroute.request import NetworkLike, RouteRequest
from xroute.routing import route
from xroute.scores.applying import apply, timed, warn_of_useless
from xroute.scores.matching import Matched, match
from xroute.scores.measures import MEASURES, Options
from xroute.scores.places import OBSERVED, match_places, rows
from xroute.scores.steps import series_dim, whole_along
from xroute.series import as_series, is_from_table
from xroute.settings import CLIMATOLOGY, Climatology, Extra
from xroute.time_dims import find_time_dim
from xroute.units import require_array

__all__ = ["climatology", "in_common", "in_period", "skill", "skill_of", "unrouted"]

SKILLED = ("mse", *(name for name, about in MEASURES.items() if about.best == 1.0 and name not in ("alpha", "beta", "gamma")),
           "rmse", "mae")  # fmt: skip
"""Scores that say which of two simulations is better; ``"mse"`` is the square of ``"rmse"``."""


def skill(
    simulated: Any,
    observed: Any,
    benchmark: Any,
    dim: Hashable | None = None,
    *,
    metric: str = "mse",
    extra: Extra = "raise",
) -> xr.DataArray:
    """Skill of a simulation beside a benchmark: which part of the way from the benchmark to the observations it goes.

    ``(score - score of the benchmark) / (best score - score of the benchmark)``; of the mean squared error
    ``1 - MSE / MSE of the benchmark`` (Murphy 1988).

    Parameters
    ----------
    simulated, observed, dim, extra
        As for `nse`.
    benchmark
        Another simulation, such as `climatology` and `unrouted` make, matched in the same way.
    metric
        ``"mse"``, ``"rmse"``, ``"mae"``, ``"nse"``, ``"kge"``, ``"kge_2012"``, ``"correlation"`` or ``"log_nse"``.

    Returns
    -------
    xarray.DataArray
        [1], without the time: 1 is best, 0 no better than the benchmark, below zero worse. Of the steps in which all three are
        known. NaN where the score is, and where the benchmark is perfect.

    Raises
    ------
    ParameterError
        For another metric.
    AlignmentError, TimeAxisError, UnitsError
        If they cannot be matched, by name.

    Examples
    --------
    Beside the mean of the observations it is their Nash-Sutcliffe efficiency:

    >>> import xarray as xr
    >>> from xroute.scores import nse, skill
    >>> observed = xr.DataArray([1.0, 3.0, 5.0], dims="time")
    >>> simulated, mean = observed + 1, xr.full_like(observed, 3.0)
    >>> skill(simulated, observed, mean).item() == nse(simulated, observed).item() == 0.625
    True
    """
    one_of("metric", metric, SKILLED)
    first = match(simulated, observed, dim, extra)
    runs = [first, match(benchmark, observed, dim, extra, "benchmark", first.simulated.attrs.get("units"))]
    name = "rmse" if metric == "mse" else metric
    both = [apply(m, [name], *timed(Options(), None, m.observed, m.dim)[:2]) for m in in_common(runs)]
    warn_of_useless(both[0], [name])
    return skill_of(both[0].isel(metric=0), both[1].isel(metric=0), metric)


def skill_of(its: xr.DataArray, benchmark: xr.DataArray, metric: str) -> xr.DataArray:
    """Skill by the scores of a run and a benchmark; of ``"mse"`` by their root-mean-square errors."""
    if metric == "mse":
        its, benchmark = its**2, benchmark**2
    gap = (MEASURES["rmse" if metric == "mse" else metric].best or 0.0) - benchmark
    found = (its - benchmark) / gap.where(gap != 0) + 0.0  # no -0
    found.name = "skill"
    found.attrs = {"long_name": f"skill over the benchmark, by {metric}", "units": "1", "best": 1.0}
    return found


def in_common(runs: Sequence[Matched]) -> list[Matched]:
    """The runs on the gauges and steps of all, with the observations of steps in which each of them is known."""
    if len(runs) == 1:
        return list(runs)
    dim = runs[0].dim
    runs = [r if r.dim == dim else Matched(r.simulated.rename({r.dim: dim}), r.observed.rename({r.dim: dim}), dim) for r in runs]
    indexed = {d for d in runs[0].observed.dims if all(d in r.observed.indexes for r in runs)}
    runs = [runs[0], *(_with_ids_of(r, runs[0], indexed) for r in runs[1:])]
    simulated, observed = [r.simulated for r in runs], [r.observed for r in runs]
    if any(not _same(r.observed, runs[0].observed, indexed) for r in runs[1:]):
        others = {d for a in (*simulated, *observed) for d in a.dims} - indexed
        aligned = xr.align(*simulated, *observed, join="inner", exclude=others)
        simulated, observed = list(aligned[: len(runs)]), list(aligned[len(runs) :])
        if not all(observed[0].sizes.values()):
            empty = [d for d, size in observed[0].sizes.items() if not size]
            raise TimeAxisError(f"the simulations have no {some(empty)} in common with each other and the observations")
    known: Any = True
    for s in simulated:
        known = known & s.notnull()
    base = observed[0].where(known)
    return [Matched(s, base, dim) for s in simulated]


def _with_ids_of(run: Matched, first: Matched, dims: set[Hashable]) -> Matched:
    """A run whose ids are text or numbers, as those of the first are: observations of a table are either."""
    for d in dims - {run.dim}:
        its, mine = run.observed[d].values, first.observed[d].values
        if (its.dtype.kind in "iu") != (mine.dtype.kind in "iu"):
            its, mine = exact_ids(its, OBSERVED), exact_ids(mine, OBSERVED)
            alike = {d: (d, of_one_kind(its, mine, OBSERVED), first.observed[d].attrs)}
            run = Matched(run.simulated.assign_coords(alike), run.observed.assign_coords(alike), run.dim)
    return run


def _same(a: xr.DataArray, b: xr.DataArray, dims: set[Hashable]) -> bool:
    return all(d in a.dims and a.indexes[d].equals(b.indexes[d]) for d in dims)


# ── climatology ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def climatology(
    observed: Any,
    by: Climatology = "dayofyear",
    *,
    period: Any = None,
    leave_one_out: bool = False,
    dim: Hashable | None = None,
) -> xr.DataArray:
    """Mean of the observations of the same day, or month, of all years: what one knows without a model.

    Parameters
    ----------
    observed : (time, ...)
        Observed discharge, in any units, with dates; lazy on Dask. A table of pandas or the path of a file will do as well.
    by
        ``"dayofyear"`` (1 to 366) or ``"month"``.
    period
        Times that means are made of, such as ``slice("1990", "1999")``; by default all. Give the period that a model was
        calibrated in, and the climatology knows no more than the model does.
    leave_one_out
        Whether the mean of a step is that of all years but its own: else a climatology of few years knows the answer.
    dim
        Dimension of time, where it cannot be told.

    Returns
    -------
    xarray.DataArray
        As ``observed`` (time, ...), in its units, of all its times; NaN where no such day is known in the period.

    Raises
    ------
    ParameterError
        For another ``by``.
    TimeAxisError
        For times that are no dates, and a period in which there are none.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> from xroute.scores import climatology
    >>> time = pd.date_range("2001-01-01", "2002-12-31")
    >>> observed = xr.DataArray(np.where(time.year == 2001, 2.0, 6.0), {"time": time})
    >>> climatology(observed)[0].item(), climatology(observed, leave_one_out=True)[0].item()
    (4.0, 6.0)
    >>> climatology(observed, "month", period="2001")[-1].item()
    2.0
    """
    one_of("by", by, CLIMATOLOGY)
    array = as_series(observed)
    along = series_dim(array, dim, OBSERVED)
    if along not in array.coords or not (array[along].dtype.kind == "M" or hasattr(array.indexes[along], "calendar")):
        raise TimeAxisError(f"{str(along)!r} holds no dates, and the days of a year are dates'")
    dates = array[along].dt
    group, year = np.asarray(getattr(dates, by).values, np.int64), np.asarray(dates.year.values, np.int64)
    taken = np.ones(array.sizes[along], bool)
    if period is not None:
        taken[:] = False
        taken[_steps_in(array, along, period, "period")] = True
    found = xr.apply_ufunc(
        _means, whole_along(array, along).astype(np.float64), input_core_dims=[[along]], output_core_dims=[[along]],
        kwargs={"group": group, "year": year if leave_one_out else None, "taken": taken}, dask="parallelized",
        output_dtypes=[np.float64],
    )  # fmt: skip
    found = found.transpose(*array.dims).assign_coords({along: array[along]})
    found.name = "climatology"
    attrs = {key: array.attrs[key] for key in ("units", "standard_name", "cell_methods") if key in array.attrs}
    attrs |= {key: array.attrs[key] for key in ("time_label", "time_label_step", "time_step") if key in array.attrs}
    found.attrs = {"long_name": f"climatology of observed discharge, by {by}", **attrs}
    return found


def in_period(array: xr.DataArray, dim: Hashable, period: Any, name: str) -> xr.DataArray:
    """The part of a series that lies in a period.

    Raises
    ------
    TimeAxisError
        If there is none, or the period does not fit the times.
    """
    return array.isel({dim: rows(_steps_in(array, dim, period, name))})


def _steps_in(array: xr.DataArray, dim: Hashable, period: Any, name: str) -> NDArray[np.int64]:
    steps = selected(array, dim, period, name)
    if not steps.size:
        raise TimeAxisError(
            f"{name}, {period!r}, has no times in common with the series"
            + (": {} to {}".format(*step_labels(array, dim)[[0, -1]]) if array.sizes[dim] else "")
        )
    return steps


def _means(
    values: NDArray[np.float64], group: NDArray[np.int64], year: NDArray[np.int64] | None, taken: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Means [..., time] over the steps of the same group; if there are years, without those of the step's own."""
    known = np.isfinite(values) & taken
    kept = np.where(known, values, 0.0)
    _, member = np.unique(group, return_inverse=True)
    total, count = _sums(kept, member), _sums(known.astype(np.float64), member)
    if year is not None:
        _, own = np.unique(np.stack([group, year]), axis=1, return_inverse=True)
        own = own.ravel()
        total, count = total - _sums(kept, own), count - _sums(known.astype(np.float64), own)
    return np.where(count > 0.5, total / np.maximum(count, 1.0), np.nan)


def _sums(values: NDArray[np.float64], member: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each step [..., time] the sum over the steps of its group."""
    if not values.shape[-1]:
        return values
    order = np.argsort(member, kind="stable")
    first = np.flatnonzero(np.diff(member[order], prepend=-1))
    return np.asarray(np.add.reduceat(values[..., order], first, axis=-1)[..., member])


# ── unrouted ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def unrouted(runoff: Any, network: NetworkLike, at: Any = None, **options: Any) -> xr.DataArray:
    """Runoff summed over all that lies upstream, at the same step: a river without a travel time.

    Parameters
    ----------
    runoff, network
        As for `xroute.route`; the network needs no parameters.
    at
        Ids of reaches, or observed discharge on reaches or on gauges with a coordinate ``reach``, whose reaches are meant (of
        those outside of the network ``extra`` says what becomes, too); by default all reaches.
    options
        Options of `xroute.route` about runoff: ``weights``, ``missing``, ``extra``, ``nan``, ``partitions``, ``device``,
        ``reach_dim``, ``time_dim``, ``dt``, ``label``.

    Returns
    -------
    xarray.DataArray
        Discharge (reach, time, ...) like what `xroute.route` gives, in m3 s-1 or the runoff's own units of a volume flux,
        with fractions where rivers part; lazy on Dask. With ``at``, on ``reach``, in the order of those ids.

    Raises
    ------
    ParameterError
        For options that have no meaning here.
    XRouteError
        As `xroute.route`; for ids that the network does not have.

    Examples
    --------
    >>> import xroute
    >>> from xroute.scores import unrouted
    >>> network, ds = xroute.datasets.tutorial()
    >>> outlet = xroute.Network(network).outlets[0]
    >>> q = unrouted(ds.runoff.isel(time=slice(0, 24)), network, at=[outlet])
    >>> q.dims, q.attrs["units"]
    (('time', 'reach'), 'm3 s-1')
    """
    strange = [name for name in options if name not in _ABOUT_RUNOFF]
    if strange:
        raise ParameterError(f"unrouted runoff has no option {some(strange)}; it has {', '.join(_ABOUT_RUNOFF)}")
    whole = as_network(network)
    RouteRequest(**options)
    passing = whole.assign(delay=xr.DataArray(0.0, attrs={"units": "s"}))
    found = route(
        runoff, passing, scheme="pure_lag", hillslope="none", substeps=1, sampling="mean", lateral="head", **options
    )
    if at is not None:
        found = _at(found, at, whole, options)
    found.name = "unrouted"
    history = append_history(require_array(runoff).attrs.get("history"), "xroute: runoff summed over all reaches upstream")
    found.attrs = {**found.attrs, "long_name": "runoff summed over all reaches upstream", "history": history}
    found.attrs.pop("standard_name", None)
    return found


_ABOUT_RUNOFF = ("weights", "missing", "extra", "nan", "partitions", "device", "reach_dim", "time_dim", "dt", "label")


def _at(found: xr.DataArray, at: Any, network: Network, options: Mapping[str, Any]) -> xr.DataArray:
    """Discharge of the reaches that ids or observations are of; of observations on their gauges."""
    time = find_time_dim(found, options.get("time_dim"))
    its_dim = None if options.get("weights") is not None else options.get("reach_dim")
    dim, name, ids = read_reach_ids(found, network.ids, its_dim, time, "runoff")
    is_table = is_from_table(at)
    if isinstance(at, xr.Dataset | pd.DataFrame | os.PathLike) or isinstance(at, pd.Series) and at.index.dtype.kind == "M":
        at = as_series(at)
    if not isinstance(at, xr.DataArray) or at.name == "reach":
        wanted = exact_ids(np.atleast_1d(np.asarray(at)), "ids of reaches")
        network.position(wanted)  # for its errors
        return found.isel({dim: positions_of(wanted, ids)})
    its_time = [d for d in at.dims if d == time or (d in at.coords and at[d].dtype.kind in "mMO" and d != "reach")]
    bare = at.isel({d: 0 for d in its_time}, drop=True)
    return match_places(found, bare, time, options.get("extra", "raise"), "runoff", (False, is_table))[0]
