"""Scores as a table of text: a row a gauge, and their median."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, some
from xroute.gauges import GAUGE_DIMS, REACH_NAMES
from xroute.scores.measures import MEASURES

__all__ = ["BRIEF", "scores_text"]

BRIEF = ("nse", "kge", "correlation", "pbias", "rmse", "peak_timing", "n")
"""Scores that a table shows where none are asked for."""
_DECIMALS = {"pbias": 1, "fhv": 1, "flv": 1, "peak_error": 1, "peak_timing": 1, "n": 0}


def scores_text(found: xr.Dataset, metrics: Sequence[str] | None = None, most: int = 20) -> str:
    """Scores in a table of text: one row a gauge (and member, run, period), and below them the median of all.

    Parameters
    ----------
    found
        What `xroute.scores` gave; what is on Dask is computed.
    metrics
        Which of the scores to show; by default the usual ones that it has.
    most
        How many gauges are shown, the first ones; the median is that of all.

    Returns
    -------
    str
        Lines without an end of line behind the last.

    Raises
    ------
    ParameterError
        For scores that it does not have.

    Examples
    --------
    >>> import xarray as xr
    >>> from xroute.scores import scores_text
    >>> found = xr.Dataset({"nse": ("gauge", [0.5, 0.75]), "pbias": ("gauge", [-3.04, 12.0])}, {"gauge": ["a", "b"]})
    >>> print(scores_text(found))
    gauge     nse  pbias [%]
    a       0.500       -3.0
    b       0.750       12.0
    median  0.625        4.5
    """
    if metrics is None:
        names = [n for n in BRIEF if n in found] or [str(n) for n in found.data_vars]
        names += ["skill"] if "skill" in found and "skill" not in names else []
    else:
        names = list(metrics)
        lacking = [n for n in names if n not in found]
        if lacking:
            there = ", ".join(map(str, found.data_vars))
            raise ParameterError(f"there are no {some(lacking)} among these scores; there are {there}")
    shown = found[names].compute()
    dims = [d for d in ("period", "run") if d in shown.dims]
    places = [d for d in shown.dims if d not in dims]
    named = [d for d in places if str(d).lower() in (*REACH_NAMES, *GAUGE_DIMS)]
    place: Hashable | None = next(iter([*named, *places]), None)
    others = [*dims, *(d for d in places if d != place)]
    heads = [*(str(d) for d in others), *([str(place)] if place is not None else [])]
    beside = _ids_beside(shown, place)
    rows = [[*heads, *([str(beside)] if beside else []), *(_head(shown[n]) for n in names)]]
    left_out = 0
    for where in np.ndindex(*(shown.sizes[d] for d in others)):
        part = shown.isel(dict(zip(others, where, strict=True)))
        said = [_label(shown, d, k) for d, k in zip(others, where, strict=True)]
        if place is None:
            rows.append([*said, *(_number(n, part[n].item()) for n in names)])
            continue
        size = part.sizes[place]
        for k in range(min(size, most)):
            own = [_label(shown, place, k)] + ([str(part[beside].values[k])] if beside else [])
            rows.append([*said, *own, *(_number(n, part[n].values[k]) for n in names)])
        left_out = size - most
        if size > 1:
            rows.append([*said, "median", *([""] if beside else []), *(_number(n, _median(part[n].values)) for n in names)])
    text = _aligned(rows, len(heads) + bool(beside))
    return text + (f"\n... and {left_out:,} other gauges, which the median is of, too" if left_out > 0 else "")


def _ids_beside(found: xr.Dataset, place: Hashable | None) -> Hashable | None:
    """The coordinate of reaches' ids along gauges that bear other labels."""
    if place is None or str(place).lower() in REACH_NAMES:
        return None
    along = {str(n).lower(): n for n, c in found.coords.items() if c.dims == (place,) and n != place}
    return next((along[n] for n in REACH_NAMES if n in along), None)


def _head(score: xr.DataArray) -> str:
    units = score.attrs.get("units") or ("" if score.name not in MEASURES else MEASURES[str(score.name)].units)
    return f"{score.name}" + ("" if units in ("", "1", "flow", "time") else f" [{units}]")


def _label(found: xr.Dataset, dim: Hashable, k: int) -> str:
    return str(found[dim].values[k]) if dim in found.coords else str(k)


def _median(values: Any) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else np.nan


def _number(name: str, value: Any) -> str:
    value = float(value)
    if not np.isfinite(value):
        return "-"
    text = f"{value:.4g}" if name in ("rmse", "mae") else f"{value:.{_DECIMALS.get(name, 3)}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _aligned(rows: Sequence[Sequence[str]], n_labels: int) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(c.ljust(w) if k < n_labels else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    )
