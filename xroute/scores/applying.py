"""Scores of labelled pairs: `measure` along the dimension of time, in memory or on Dask."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, TimeAxisError, some, warn
from xroute.gauges import GAUGE_DIMS, REACH_NAMES
from xroute.options import n_threads
from xroute.scores.matching import Matched
from xroute.scores.measures import CHECKS, MEASURES, Options, measure
from xroute.scores.steps import series_times, whole_along
from xroute.times import seconds

__all__ = ["apply", "described", "single", "timed", "warn_of_useless"]


def timed(options: Options, window: Any, array: xr.DataArray, dim: Hashable) -> tuple[Options, np.ndarray, bool]:
    """Options with their window in the units of time, when steps are, and whether they are dated."""
    times, dated = series_times(array, dim)
    if isinstance(options.events, bool) or not isinstance(options.events, int | np.integer) or options.events < 1:
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
    """Scores, and then `CHECKS` (..., metric) of what was matched, lazy if either side is."""
    dim = matched.dim
    lazy = matched.simulated.chunks is not None or matched.observed.chunks is not None
    threads = 1 if lazy else n_threads()
    return xr.apply_ufunc(
        measure, whole_along(matched.simulated, dim), whole_along(matched.observed, dim),
        kwargs={"times": times, "names": tuple(names), "options": options, "threads": threads},
        input_core_dims=[[dim], [dim]], output_core_dims=[["metric"]], join="exact", keep_attrs=False, dask="parallelized",
        output_dtypes=[np.float64], dask_gufunc_kwargs={"output_sizes": {"metric": len(names) + len(CHECKS)}},
    )  # fmt: skip


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
    found = apply(matched, [name], options, times)
    warn_of_useless(found, [name])
    return described(found.isel(metric=0), name, matched.simulated.attrs.get("units"), dated)


def warn_of_useless(found: xr.DataArray, names: Sequence[str]) -> None:
    """Warn of observations that have fewer than two pairs, or do not vary, by name, where that matters to a score.

    ``found`` is what `apply` gave for these names and perhaps others; nothing on Dask is looked at.
    """
    if found.chunks is not None:
        return
    n, varies = (found.isel(metric=k - len(CHECKS)) for k in range(len(CHECKS)))  # the last of them
    few, flat = n < 2, (n >= 2) & (varies == 0)
    wanting = [name for name in names if MEASURES[name].needs is not None]
    if bool(few.any()) and list(names) != ["n"]:
        warn(f"the observations {_named(few)}have fewer than two steps in which they and all simulations are known: "
             "their scores are NaN")  # fmt: skip
    if bool(flat.any()) and wanting:
        warn(f"the observations {_named(flat)}do not vary, so that {', '.join(wanting)} have no meaning: they are NaN")


def _named(bad: xr.DataArray) -> str:
    """Which gauges are meant, if there are any."""
    dims = [d for d in bad.dims if d in bad.indexes]
    if not dims:
        return ""
    dim = next((d for d in dims if str(d).lower() in (*REACH_NAMES, *GAUGE_DIMS)), dims[-1])
    which = bad.any([d for d in bad.dims if d != dim])
    labels = bad[dim].values[which.values]
    return f"of {labels.size} {dim} ({some(labels)}) "
