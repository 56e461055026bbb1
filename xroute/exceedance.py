"""`exceedance`: in which share of an ensemble's members, or of the times, discharge exceeds a threshold."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.ids import ID_KINDS, exact_ids, repeated
from xroute.units import require_array, unit_factor, without_pint

__all__ = ["aligned_thresholds", "exceedance"]


def exceedance(
    discharge: xr.DataArray, thresholds: Any, dim: Hashable | Iterable[Hashable] = "member", *, strict: bool = True
) -> xr.DataArray:
    """Share of members (or times) in which discharge exceeds a threshold.

    Parameters
    ----------
    discharge : (member, ...)
        Discharge, or anything else, on any dimensions and in any units; lazy on Dask.
    thresholds
        A number, in the units of ``discharge``; a DataArray, such as flood flows on ``reach`` or on (``reach``,
        ``return_period``); several numbers; or several of these by name, as a dict or a Dataset. Dimensions that both have are
        matched by label, never by position: every reach of ``discharge`` needs its threshold, others may have one. Units
        (attribute ``units``, or pint's) are converted.
    dim
        Dimension, or dimensions, along which to count: the members of a forecast by default.
    strict
        Whether to count what is greater than its threshold, or what is at least that too.

    Returns
    -------
    xarray.DataArray
        Share (...) [1], from 0 to 1, without the dimension ``dim``, and with those of the thresholds behind the others;
        several numbers or names are on ``threshold``, which bears them. Values of discharge that are NaN do not count;
        where all of them, or the threshold, are NaN, so is the share.

    Raises
    ------
    AlignmentError
        For dimensions that discharge does not have, labels without a threshold (the first ten are named), and labels on one
        side only.
    UnitsError
        If the units of thresholds are not those of discharge, and cannot be converted.
    ParameterError
        For thresholds that are no numbers.

    Notes
    -----
    Each member counts the same: with m members of n above the threshold the share is m / n.

    Examples
    --------
    >>> import xarray as xr, xroute
    >>> coords = {"member": [1, 2, 3], "reach": [20, 10]}
    >>> q = xr.DataArray([[1.0, 6.0], [3.0, 8.0], [5.0, 9.0]], coords, attrs={"units": "m3 s-1"})
    >>> flood = xr.DataArray([7000.0, 2000.0], {"reach": [10, 20]}, attrs={"units": "L/s"})
    >>> xroute.exceedance(q, flood).values.round(2).tolist()
    [0.67, 0.67]
    >>> xroute.exceedance(q, {"alert": 4.0, "flood": flood}).sel(reach=10, threshold="alert").item()
    1.0
    """
    values = require_array(discharge, "discharge")
    dims: list[Hashable] = [dim] if isinstance(dim, str) or not isinstance(dim, Iterable) else list(dim)
    lacking = [d for d in dims if d not in values.dims]
    if lacking or not dims:
        raise AlignmentError(
            f"discharge has no dimension {some(lacking)}: dim is one or several of {some(values.dims)}, along which to count"
        )
    limits = aligned_thresholds(thresholds, values)
    above = values > limits if strict else values >= limits
    known, given = values.notnull(), limits.notnull()
    of_each = bool(set(given.dims) & set(dims))  # a threshold for each of what is counted: those without one do not count
    usable = known & given if of_each else known
    n = usable.sum(dims)
    share = (above & usable).sum(dims) / n.where(n > 0)
    if not of_each:
        share = share.where(given)
    order = [d for d in values.dims if d not in dims]
    share = share.transpose(*order, ...)
    share.name = "exceedance"
    relation = "exceeds" if strict else "reaches or exceeds"
    share.attrs = {"long_name": f"share of {', '.join(map(str, dims))} in which discharge {relation} the threshold", "units": "1"}
    return share


def aligned_thresholds(thresholds: Any, values: xr.DataArray) -> xr.DataArray:
    """Thresholds in the units of discharge, with its labels along the dimensions that both have."""
    if isinstance(thresholds, Mapping):
        if not thresholds:
            raise ParameterError("there are no thresholds")
        if "threshold" in values.dims:
            raise AlignmentError("discharge has a dimension 'threshold' already, which the names are to be on: rename it")
        found = [_one(limit, values, f"threshold {name!r}") for name, limit in thresholds.items()]
        return xr.concat(found, pd.Index(list(thresholds), name="threshold"), coords="minimal", compat="override")
    if isinstance(thresholds, (list, tuple)) or (isinstance(thresholds, np.ndarray) and thresholds.ndim == 1):
        numbers = np.asarray(thresholds)
        attrs = {"units": values.attrs["units"]} if "units" in values.attrs else {}
        thresholds = xr.DataArray(numbers, {"threshold": ("threshold", numbers, attrs)}, "threshold")
    return _one(thresholds, values, "thresholds")


def _one(limit: Any, values: xr.DataArray, what: str) -> xr.DataArray:
    """A threshold, or thresholds of one kind."""
    if isinstance(limit, pd.Series):
        limit = xr.DataArray(limit)
    if not isinstance(limit, xr.DataArray):
        if hasattr(limit, "magnitude") and hasattr(limit, "units"):  # a Quantity of pint
            limit = xr.DataArray(limit.magnitude, attrs={"units": format(limit.units, "D") or "1"})
        elif np.ndim(limit) == 0:
            limit = xr.DataArray(limit)
        else:
            raise ParameterError(f"{what} of {np.ndim(limit)} dimensions need names: give an xarray.DataArray")
    limit = without_pint(limit, what)
    if limit.dtype.kind not in "iuf":
        raise ParameterError(f"{what} are numbers, not {limit.dtype}")
    limit = limit.astype(np.float64) * unit_factor(limit.attrs.get("units"), values.attrs.get("units"), what, "discharge")
    for name in limit.dims:
        if name in values.dims:
            limit = _by_label(limit, values, name, what)
    stray = [n for n in limit.coords if n not in limit.dims and n in values.coords]
    return limit.drop_vars(stray).drop_attrs(deep=False)  # discharge has its own of these


def _by_label(limit: xr.DataArray, values: xr.DataArray, dim: Hashable, what: str) -> xr.DataArray:
    """Thresholds along a dimension that discharge has, in its order."""
    its, mine = limit.indexes.get(dim), values.indexes.get(dim)
    if its is None or mine is None:
        side = "discharge has none" if its is not None else f"{what} have none"
        raise AlignmentError(
            f"{str(dim)!r} has labels on one side only, or on neither ({side}), so that nobody knows which threshold is "
            f"whose: assign_coords({dim}=...)"
        )
    if its.equals(mine) and its.dtype == mine.dtype:
        return limit
    exact = any(index.dtype.kind in "iuUO" for index in (its, mine))
    theirs, wanted = its.values, mine.values
    if exact and {its.dtype.kind, mine.dtype.kind} <= set("iufUO"):
        theirs = exact_ids(theirs, f"{str(dim)!r} of {what}", AlignmentError)
        wanted = exact_ids(wanted, f"{str(dim)!r} of discharge", AlignmentError)
    if theirs.dtype.kind != wanted.dtype.kind:
        kinds = [ID_KINDS.get(a.dtype.kind, str(a.dtype)) for a in (wanted, theirs)]
        raise AlignmentError(f"labels of {str(dim)!r} are {kinds[0]} in discharge, and {kinds[1]} in {what}")
    twice = repeated(theirs)
    if twice.size:
        raise AlignmentError(f"{what}: {twice.size} labels of {str(dim)!r} stand more than once: {some(twice)}")
    at = pd.Index(theirs).get_indexer(pd.Index(wanted))
    if (at < 0).any():
        raise AlignmentError(
            f"{what} lack {int((at < 0).sum())} of the {wanted.size} labels of {str(dim)!r} in discharge: {some(wanted[at < 0])}"
        )
    return limit.isel({dim: at}).assign_coords({dim: values[dim]})
