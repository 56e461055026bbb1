"""Hillslopes of a run: the unit hydrograph that each reach's runoff goes through before the channel, as a filter.

What a caller gives, the name of a hydrograph whose parameters the network bears, or ordinates, becomes a `Hillslope`. The
formulas stand in `xroute.schemes.hillslopes`; here are names, labels, units and steps.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.caches import keep
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, some
from xroute.files.opening import open_dataset
from xroute.ids import exact_ids, positions_of, repeated
from xroute.parameters import read_scheme
from xroute.schemes import HILLSLOPES, MAX_TAPS, Filter, Scheme, all_reaches, make_filter
from xroute.settings import ANY_STEP, HILLSLOPE
from xroute.times import seconds
from xroute.units import to_si
from xroute.wording import argument

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["ORDINATES", "Hillslope", "hillslope_name", "hillslope_of", "scheme_of"]

ORDINATES = "ordinates"
"""Name of hillslopes that are given as numbers."""
SUM = 1e-6
"""How far from one the sum of ordinates may be: as much as single precision leaves, which is not made good."""


@dataclass(frozen=True, eq=False)
class Hillslope:
    """What runoff goes through before it joins its reach.

    Attributes
    ----------
    name
        Its name, or `ORDINATES`.
    filter
        Windows of all reaches, at the step of runoff.
    """

    name: str
    filter: Filter


def hillslope_of(
    network: Network, given: Any, step: float | None, *, reach_dim: Hashable | None = None, extra: str = "raise"
) -> Hillslope | None:
    """Hillslope that a caller asks for, or else the network's attribute ``hillslope``; None if there is none.

    Parameters
    ----------
    network
        With the parameters of the hydrograph, each one value, or one a reach.
    given
        A name, ordinates, the path of ordinates, or None: as `xroute.route` has it.
    step : float
        Step of runoff [s]; None where there is no step, and then any filter will do.
    reach_dim
        Dimension of the reaches in ordinates, where its name does not tell.
    extra
        Ordinates on ids that are not in the network: ``"raise"`` an error, or ``"drop"`` them.

    Raises
    ------
    ParameterError
        For names that there are not, parameters that are missing or out of range, and ordinates that are negative, not finite, or
        do not sum to one.
    AlignmentError
        For ordinates on other reaches.
    TimeAxisError
        For ordinates of another step.

    Examples
    --------
    >>> import xroute
    >>> from xroute.hillslope import hillslope_of
    >>> river = xroute.Network.from_links([1, 2], [2, 0], parameters={"tlag": 5400.0})
    >>> hillslope_of(river, "scs", 3600.0).filter.taps[:3]
    tensor([0.0385, 0.3360, 0.3892], dtype=torch.float64)
    """
    name = hillslope_name(network, given)
    if name is None:
        return None
    if name == ORDINATES:
        values = _opened(given) if isinstance(given, (str, os.PathLike)) else given
        return Hillslope(name, _of_ordinates(network, values, step, reach_dim, extra))
    dt = ANY_STEP if step is None else step
    return Hillslope(name, keep(network, ("hillslope", name, dt), lambda: _of_scheme(network, name, dt), most=2))


def hillslope_name(network: Network, given: Any) -> str | None:
    """Name of the hillslope that `hillslope_of` gives; None if there is none.

    Raises
    ------
    ParameterError
        For names that there are not.
    """
    whose = f"{argument('hillslope')} is"
    if given is None:
        given = network.attrs.get("hillslope")
        whose = "the network's attribute 'hillslope' is"
        if given is None:
            return None
        if not isinstance(given, str):
            raise ParameterError(f"{whose} {given!r}, not a name: {', '.join(HILLSLOPE)}")
    elif not isinstance(given, str):
        return ORDINATES
    if given in HILLSLOPE:
        return None if given == HILLSLOPE[0] else str(given)
    if Path(given).suffix and whose.startswith(argument("hillslope")):
        return ORDINATES
    raise ParameterError(f"{whose} one of {', '.join(HILLSLOPE)}, or ordinates, not {given!r}")


def scheme_of(network: Network, name: str) -> Scheme:
    """Form of a hydrograph for which the network has the parameters: of several, the one that takes the most of them.

    Raises
    ------
    ParameterError
        If there is none, or two that take different ones.
    """
    forms = {frozenset(p.name for p in form.parameters): form for form in HILLSLOPES[name]}
    there = [names for names in forms if names <= set(network.dataset.variables)]
    largest = [names for names in there if not any(names < other for other in there)]
    if len(largest) == 1:
        return forms[largest[0]]
    texts = [" and ".join(f"{p.name!r} [{p.units}]" for p in form.parameters) for form in HILLSLOPES[name]]
    if not largest:
        raise ParameterError(
            f"{argument('hillslope', name)} needs the variable{'s' * (len(forms) == 1)} {', or '.join(texts)}, each one value or "
            f"on reach; the network has {some(network.dataset.data_vars)}"
        )
    both = sorted({str(n) for names in largest for n in names})
    raise ParameterError(
        f"{argument('hillslope', name)}: the network has {', '.join(both)}, and which of them counts is not known: drop_vars "
        "those that do not"
    )


def _of_scheme(network: Network, name: str, dt: float) -> Filter:
    scheme, n = scheme_of(network, name), network.n_reaches
    at = all_reaches(n)
    values = read_scheme(network, scheme, at)
    return make_filter({name: (at, values)}, dt, n, ids=network.ids, find=lambda _: scheme)


# ── ordinates ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _opened(path: str | os.PathLike[str]) -> xr.DataArray:
    """Ordinates of a file: its only variable, or ``ordinates``.

    Raises
    ------
    ParameterError
        If it holds several.
    """
    with open_dataset(Path(path)) as dataset:
        names = [name for name, v in dataset.data_vars.items() if v.ndim]
        if ORDINATES in names:
            names = [ORDINATES]
        if len(names) != 1:
            raise ParameterError(f"{path} holds {some(names) or 'no variable'}: name the one with the ordinates {ORDINATES!r}")
        return dataset[names[0]].load()


def _of_ordinates(
    network: Network, given: Any, step: float | None, reach_dim: Hashable | None, extra: str
) -> Filter:
    """Filter of ordinates: one series for all reaches, or labelled ones [reach, ordinate]."""
    import torch

    array = given if isinstance(given, xr.DataArray) else _plain(given)
    dim = next((d for d in (reach_dim, "reach") if d is not None and d in array.dims), None)
    others = [d for d in array.dims if d != dim]
    if len(others) != 1:
        raise ParameterError(
            f"ordinates have the dimensions {some(array.dims) or 'none'}: they are one series for all reaches, or a DataArray on "
            "'reach' and one other dimension"
        )
    _check_step(array, others[0], step)
    if array.dtype.kind not in "fiu":
        raise ParameterError(f"ordinates are numbers, not of type {array.dtype}")
    n = network.n_reaches
    if dim is None:
        table, ids = np.asarray(array.values, np.float64)[None], None
    else:
        table, ids = _aligned(array, dim, others[0], network, extra), network.ids
    _check_values(table, ids)
    n_taps = np.fmax(table.shape[1] - np.argmax(table[:, ::-1] != 0.0, axis=1), 1)
    inside = np.arange(table.shape[1]) < n_taps[:, None]
    taps, counts = table[inside], n_taps
    if dim is None:
        taps, counts = np.tile(taps, n), np.full(n, n_taps[0])
    none = torch.zeros(n, dtype=torch.float64)
    return Filter(torch.from_numpy(np.ascontiguousarray(taps)), np.concatenate([[0], np.cumsum(counts)]), none, none)


def _plain(given: Any) -> xr.DataArray:
    """Ordinates that are no DataArray, as one."""
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"{argument('hillslope')} is the name of a unit hydrograph, or its ordinates, not {type(given).__name__}"
        ) from error
    if values.ndim == 2:
        raise ParameterError("ordinates of each reach need labels, to match them by id: a DataArray on 'reach' and 'ordinate'")
    return xr.DataArray(values, dims=[f"dim_{k}" for k in range(values.ndim)])


def _aligned(
    array: xr.DataArray, dim: Hashable, along: Hashable, network: Network, extra: str
) -> NDArray[np.float64]:
    """Ordinates [reach, ordinate] in the network's order."""
    if dim not in array.coords:
        raise AlignmentError(f"ordinates have no ids: assign_coords({dim}=...)")
    ids = exact_ids(array[dim].values, "ordinates", AlignmentError)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} reaches stand more than once in the ordinates: {some(twice)}")
    at = positions_of(network.ids, ids)
    if (at < 0).any():
        raise AlignmentError(f"{int((at < 0).sum())} reaches of the network have no ordinates: {some(network.ids[at < 0])}")
    alien = positions_of(ids, network.ids) < 0
    if alien.any() and extra != "drop":
        raise AlignmentError(
            f"{int(alien.sum())} ids of the ordinates are not in the network: {some(ids[alien])}. Select those of the network, "
            f"or leave them out with {argument('extra', 'drop')}"
        )
    return np.asarray(array.transpose(dim, along).values, np.float64)[at]


def _check_values(table: NDArray[np.float64], ids: NDArray[Any] | None) -> None:
    """Refuse ordinates that are not finite or negative, or do not sum to one; without ids there is one row, of all reaches."""
    if not table.shape[1]:
        raise ParameterError("there are no ordinates")
    if table.shape[1] > MAX_TAPS:
        raise ParameterError(f"there are {table.shape[1]} ordinates, and {MAX_TAPS} at most: take a longer step")
    total = table.sum(axis=1)
    for bad, what in (
        (~np.isfinite(table).all(axis=1), "are NaN or infinite"),
        ((table < 0).any(axis=1), "are negative"),
        (~(np.abs(total - 1) <= SUM), "do not sum to one, so that water would be made or lost"),
    ):
        if bad.any():
            sums = f" (sum {some(total[bad])})"
            where = sums if ids is None else f" on {int(bad.sum())} reaches: {some(ids[bad])}{sums}"
            raise ParameterError(f"ordinates {what}{where}")


def _check_step(array: xr.DataArray, along: Hashable, step: float | None) -> None:
    """Refuse ordinates of another step than runoff's, where they tell: by an attribute ``dt``, or by times along them."""
    if step is None:
        return
    found = seconds(array.attrs["dt"]) if "dt" in array.attrs else None
    if found is None and along in array.coords:
        labels = array[along]
        values = labels.values
        if values.dtype.kind == "m":
            apart = np.diff(values) / np.timedelta64(1, "s")
        elif values.dtype.kind in "fiu" and "units" in labels.attrs:
            apart = np.diff(to_si(labels, "s", f"times of ordinates, {along!r},"))
        else:
            return
        if apart.size and not np.allclose(apart, apart[0], rtol=1e-6, atol=0.0):
            raise TimeAxisError(f"ordinates are not equally far apart along {along!r}: {some(apart)} s")
        found = float(apart[0]) if apart.size else None
    if found is not None and not np.isclose(found, step, rtol=1e-6, atol=0.0):
        raise TimeAxisError(
            f"ordinates are {found:g} s apart, and steps of runoff {step:g} s: give the unit hydrograph of this step"
        )
