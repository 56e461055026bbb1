"""Scores of labelled pairs: `measure` along the dimension of time, in memory or on Dask."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, TimeAxisError, some, warn
from xroute.scores.matching import Matched
from xroute.scores.measures import MEASURES, Options, measure
from xroute.scores.steps import series_times, whole_along
from xroute.times import seconds

__all__ = ["apply", "described", "single", "timed", "warn_of_useless"]


def timed(options: Options, window: Any, array: xr.DataArray, dim: Hashable) -> tuple[Options, np.ndarray, bool]:
    """Options with their window in the units of time, when steps are, and whether they are dated."""
    times, dated = series_times(array, dim)
    if isinstance(options.events, bool) or not isinstance(options.events, int) or options.events < 1:
        raise ParameterError(f"events is a positive whole number, not {options.events!r}")
    if options.events > 1 and window is None:
        raise ParameterError("several events lie apart: give a window")
    for name in ("high", "low"):
        if not 0 < getattr(options, name) <= 1:
            raise ParameterError(f"fraction is a share of time between 0 and 1, not {getattr(options, name)!r}")
    for name in ("epsilon", "low_epsilon"):
        if not 0 <= getattr(options, name) < np.inf:
            raise ParameterError(f"epsilon is a share of the mean flow, not below zero, and not {getattr(options, name)!r}")
    if window is None:
        size = None
    elif dated:
        try:
            size = seconds(window)
        except TimeAxisError as error:
            raise ParameterError(str(error).replace("dt", "window", 1)) from error
    else:  # of steps, where it is a number; a time says nothing of them
        size = float(window) if isinstance(window, int | float) and not isinstance(window, bool) else None
    return replace(options, window=size), times, dated


def apply(matched: Matched, names: Sequence[str], options: Options, times: np.ndarray) -> xr.DataArray:
    """Scores (..., metric) of what was matched, lazy if either side is."""
    dim = matched.dim
    return xr.apply_ufunc(
        _kernel, whole_along(matched.simulated, dim), whole_along(matched.observed, dim),
        kwargs={"times": times, "names": tuple(names), "options": options},
        input_core_dims=[[dim], [dim]], output_core_dims=[["metric"]], join="exact", keep_attrs=False, dask="parallelized",
        output_dtypes=[np.float64], dask_gufunc_kwargs={"output_sizes": {"metric": len(names)}},
    )  # fmt: skip


def _kernel(simulated: Any, observed: Any, times: Any, names: Sequence[str], options: Options) -> Any:
    return measure(simulated, observed, times, names, options)


def described(values: xr.DataArray, name: str, units: Any, dated: bool) -> xr.DataArray:
    """One score with its name, units and best value."""
    about = MEASURES[name]
    its = {"flow": units, "time": "h" if dated else "1"}.get(about.units, about.units)
    attrs: dict[str, Any] = {"long_name": about.long_name} | ({} if its is None else {"units": its})
    attrs |= {} if about.best is None else {"best": about.best}
    values = values / 3600.0 if about.units == "time" and dated else values
    values = values.astype(np.int64) if name == "n" else values
    values.name = name
    values.attrs = attrs
    return values


def single(matched: Matched, name: str, options: Options, window: Any = None) -> xr.DataArray:
    """One score, labelled."""
    options, times, dated = timed(options, window, matched.observed, matched.dim)
    found = apply(matched, [name], options, times).isel(metric=0)
    if MEASURES[name].needs is not None:
        warn_of_useless(matched, [name])
    return described(found, name, matched.simulated.attrs.get("units"), dated)


def warn_of_useless(matched: Matched, names: Sequence[str]) -> None:
    """Warn of observations that have fewer than two pairs, or do not vary, by name; nothing on Dask is looked at."""
    simulated, observed = matched.simulated, matched.observed
    if simulated.chunks is not None or observed.chunks is not None:
        return
    pairs = observed.where(simulated.notnull())
    few = pairs.count([matched.dim]) < 2
    flat = ~few & (pairs.max([matched.dim]) == pairs.min([matched.dim]))
    wanting = [n for n in names if MEASURES[n].needs is not None]
    for bad, why in ((few, "have fewer than two steps in common with the simulation: their scores are NaN"),
                     (flat, f"do not vary, so that {', '.join(wanting)} have no meaning: they are NaN")):  # fmt: skip
        if bool(bad.any()) and (bad is few or wanting):
            warn(f"the observations {_named(bad)}{why}")


def _named(bad: xr.DataArray) -> str:
    """Which gauges are meant, if there are any."""
    dims = [d for d in bad.dims if d in bad.indexes]
    if not dims:
        return ""
    dim = dims[0] if len(dims) == 1 else next((d for d in dims if str(d) in ("gauge", "reach")), dims[-1])
    which = bad.any([d for d in bad.dims if d != dim])
    labels = bad[dim].values[which.values]
    return f"of {labels.size} {dim} ({some(labels)}) "
