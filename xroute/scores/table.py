"""`xroute.scores`: all scores of a simulation, or of several beside one another, in one Dataset by gauge."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, TimeAxisError, some
from xroute.scores.applying import apply, described, timed, warn_of_useless
from xroute.scores.benchmarks import in_common, in_period, skill_of
from xroute.scores.matching import Matched, match
from xroute.scores.measures import WINDOW, Options, named_measures
from xroute.scores.places import SIMULATED
from xroute.scores.steps import series_dim
from xroute.series import as_series, candidates
from xroute.settings import Extra

__all__ = ["scores"]


def scores(
    simulated: Any,
    observed: Any,
    *,
    benchmarks: Mapping[str, Any] | None = None,
    periods: Mapping[str, Any] | None = None,
    metrics: str | Sequence[str] | None = None,
    dim: Hashable | None = None,
    extra: Extra = "raise",
    window: Any = WINDOW,
) -> xr.Dataset:
    """Scores of simulated against observed discharge, by gauge.

    Parameters
    ----------
    simulated : (time, ...)
        Simulated discharge on ``reach`` (or gauges), and whatever else it has, such as members; or several by name, as a dict or
        the variables of a Dataset. A table of pandas or the path of a file will do as well, for ``observed`` too. Lazy on Dask,
        and then so are the scores.
    observed : (time, ...)
        Observed discharge, NaN in gaps, on the ids of reaches, or on gauges with a coordinate ``reach``. Ids are matched in any
        order, units are converted to those of ``simulated``. Times are matched by label; where observed steps are longer (daily
        gauges, an hourly simulation; months), they are compared with the means of the steps that they cover, from their stamps on
        unless ``attrs["time_label"]`` says otherwise; values of a moment (``cell_methods`` of ``time: point``) are not.
    benchmarks
        Other simulations by name, to set beside it: `xroute.scores.climatology`, `xroute.scores.unrouted`, another model.
    periods
        Times to score apart, by name: ``{"train": slice("1990", "1999"), "test": slice("2000", None)}``.
    metrics
        Names of the scores wanted; by default all of those below.
    dim
        Dimension of time, where it cannot be told.
    extra
        Gauges that the simulation does not have: ``"raise"`` an error, or ``"drop"`` them, with a warning.
    window
        How far from an observed peak the simulated one is looked for, as for `xroute.scores.peak_timing`.

    Returns
    -------
    xarray.Dataset
        On the gauges of ``observed``; with several simulations or benchmarks on ``run`` too, the first of which is ``simulated``
        (or has its name in the dict), and with periods on ``period``. Each variable bears its units and its best value:

        ``nse``, ``kge``, ``kge_2012``, ``correlation``, ``alpha``, ``beta``, ``gamma``
            Efficiencies of Nash and Sutcliffe (1970), Gupta et al. (2009) and Kling et al. (2012), and what the latter are made
            of: the ratios of standard deviations, of means, and of coefficients of variation.
        ``pbias``, ``rmse``, ``mae``
            Bias of the volume [%], root-mean-square error and mean absolute error.
        ``log_nse``, ``fhv``, ``flv``
            Efficiency of logarithms, and bias of the high and the low end of the flow-duration curve [%].
        ``peak_timing``, ``peak_error``
            How much later [h] and by how much higher [%] the highest flow is.
        ``n``
            Number of steps in which both are known.
        ``skill``
            With several runs: which part of this run's squared error the first run does without (1 is best; 0 of itself).

    Raises
    ------
    AlignmentError
        For gauges that the simulation does not have, and dimensions whose labels are on one side only or differ.
    TimeAxisError
        For no time in common, times that stand twice, and observed steps that are finer than the simulated ones, or no multiple.
    UnitsError
        For units that cannot be converted.
    ParameterError
        For scores that do not exist.
    XRouteError
        For values that are infinite, and observations that stand for what is missing (-999 and the like); on Dask when they are
        computed.

    Notes
    -----
    A step in which either side is NaN counts for no score; several runs are scored in the steps in which all of them are known.
    Fewer than two pairs, and observations that do not vary where that is needed, give NaN, and a warning names the gauges
    (nothing on Dask is looked at before it is computed).

    Examples
    --------
    >>> import xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> discharge = ds.runoff.route(network)
    >>> observed = discharge.isel(reach=[-1, 3]).rename(reach="gauge")  # what two gauges would see
    >>> observed = observed.assign_coords(reach=observed.gauge, gauge=["mouth", "bridge"])
    >>> found = xroute.scores(1.1 * discharge, observed, metrics=["correlation", "pbias"])
    >>> found.pbias.round(3).values.tolist(), found.gauge.values.tolist()
    ([10.0, 10.0], ['mouth', 'bridge'])
    """
    names = named_measures(metrics)
    runs = _runs(simulated, benchmarks, dim)
    matched: list[Matched] = []
    for label, run in runs.items():  # in the units of the first
        units = matched[0].simulated.attrs.get("units") if matched else None
        matched.append(match(run, observed, dim, extra, _called(label, len(runs)), units))
    matched = in_common(matched)
    if periods is None:
        found = _of_runs(matched, list(runs), names, window)
    else:
        if not isinstance(periods, Mapping) or not periods:
            raise ParameterError(f"periods are times by name, {{'test': slice('2000', '2009')}}, not {periods!r}")
        parts = []
        for label, period in periods.items():
            part = [_part(one, period, f"period {label!r}") for one in matched]
            parts.append(_of_runs(part, list(runs), names, window))
        found = _beside(parts, "period", list(periods))
    return found.assign_attrs(title="Scores of simulated against observed discharge")


def _runs(simulated: Any, benchmarks: Mapping[str, Any] | None, dim: Hashable | None) -> dict[str, Any]:
    """Simulations by name, the first one first."""
    runs: dict[str, Any] = {"simulated": simulated}
    if isinstance(simulated, xr.Dataset):  # of a run, or of several by the names of their variables
        series = [] if "discharge" in simulated else [n for n in candidates(simulated) if _in_time(simulated[n], dim)]
        if len(series) > 1:
            runs = {str(name): as_series(simulated, str(name)) for name in series}
    elif isinstance(simulated, Mapping):
        runs = {str(name): run for name, run in simulated.items()}
    if not runs:
        raise ParameterError("there is no simulation to score")
    if benchmarks is not None and not isinstance(benchmarks, Mapping):
        raise ParameterError(f"benchmarks are simulations by name, {{'climatology': ...}}, not a {type(benchmarks).__name__}")
    for name, run in (benchmarks or {}).items():
        if str(name) in runs:
            raise ParameterError(f"benchmark {name!r} has the name of a simulation: call it otherwise")
        runs[str(name)] = run
    return runs


def _in_time(array: xr.DataArray, dim: Hashable | None) -> bool:
    try:
        series_dim(array, dim, SIMULATED)
    except TimeAxisError:
        return False
    return True


def _called(label: str, n_runs: int) -> str:
    return SIMULATED if n_runs == 1 or label == "simulated" else f"discharge of {label!r}"


def _part(matched: Matched, period: Any, name: str) -> Matched:
    simulated, observed = (in_period(a, matched.dim, period, name) for a in (matched.simulated, matched.observed))
    return Matched(simulated, observed, matched.dim)


def _of_runs(matched: Sequence[Matched], labels: Sequence[str], names: list[str], window: Any) -> xr.Dataset:
    """Scores of one period: a Dataset, on ``run`` where there are several.

    Whose scores are NaN is told once, of the first run: all of them have the same observations.
    """
    measured = names if len(labels) == 1 or "rmse" in names else [*names, "rmse"]
    tables: list[xr.Dataset] = []
    errors: list[xr.DataArray] = []
    for one in matched:
        options, times, dated = timed(Options(), window, one.observed, one.dim)
        values = apply(one, measured, options, times)
        if not tables:
            warn_of_useless(values, names)
        units = one.simulated.attrs.get("units")
        table = {name: described(values.isel(metric=k), name, units, dated) for k, name in enumerate(names)}
        if len(labels) > 1:
            errors.append(values.isel(metric=measured.index("rmse")))
            skill = skill_of(errors[0], errors[-1], "mse")
            table["skill"] = skill.assign_attrs(long_name="skill of the first run over this one, by squared error")
        taken = [n for n in table if n in values.coords or n in values.dims]
        if taken:
            raise ParameterError(f"the discharge has a coordinate {some(taken)}, a name that a score needs: rename it")
        tables.append(xr.Dataset(table))
    if len(labels) == 1:
        return tables[0]
    return _beside(tables, "run", labels)


def _beside(tables: Sequence[xr.Dataset], dim: str, labels: Sequence[Any]) -> xr.Dataset:
    """Tables on a new dimension of these labels."""
    names = xr.DataArray(np.array([str(label) for label in labels]), dims=dim, name=dim)
    found = xr.concat(tables, names, combine_attrs="override", coords="minimal", compat="override", join="outer")
    return found.assign_coords({dim: names})

