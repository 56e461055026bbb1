"""States as they are given and stored: the form that one must have, and the checksum that tells a damaged file.

A state is read by its labels, and none of its values is used before sizes, labels and types were looked at. What
`xroute.io.write` stores bears a ``checksum`` of each member's ids and values, which goes with it through selections and
other orders, and is compared where a state is read from its path.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import StateError, XRouteError, some
from xroute.ids import exact_ids
from xroute.io.files import open_dataset

__all__ = ["open_state", "with_checksum"]


def open_state(state: Any) -> xr.Dataset:
    """A state that is one in form: a Dataset, or the path of one, whose values are then compared with their checksum.

    Returns
    -------
    xarray.Dataset
        With lags in order, if it has any.

    Raises
    ------
    StateError
        For anything else, and for variables, dimensions, labels or types that a state does not have.
    FileNotFoundError
        If there is nothing at the path.
    """
    if not isinstance(state, (str, os.PathLike)):
        return _in_form(state)
    try:
        with open_dataset(Path(state)) as dataset:
            loaded = dataset.load()
    except (XRouteError, FileNotFoundError, ImportError):
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise StateError(f"the state {state} cannot be read: {type(error).__name__}: {error}") from error
    found = _in_form(loaded)
    if "checksum" in found.variables:
        _compare(found, state)
    return found


def with_checksum(state: xr.Dataset) -> xr.Dataset:
    """State with a ``checksum`` of each member's ids and values, as `xroute.io.write` stores it."""
    state = _in_form(state)
    members = [d for d in state["outflow"].dims if d != "reach"]
    attrs = {"long_name": "checksum of the member's ids, outflow and inflow"}
    return state.assign(checksum=(members, _sums(state, members), attrs))


def _in_form(state: Any) -> xr.Dataset:
    """The state, lags in order; what is none is refused, before any of its values are used."""
    if not isinstance(state, xr.Dataset):
        raise StateError(
            "a state is a Dataset with 'outflow', 'inflow' and 'n_lags', as return_state=True gives it, or the path of one, "
            f"not a {type(state).__name__}"
        )
    lacking = [name for name in ("outflow", "n_lags", "reach") if name not in state.variables]
    if lacking:
        raise StateError(
            f"the state has no {some(lacking)}: a state is a Dataset with 'outflow', 'inflow' and 'n_lags', as "
            f"return_state=True gives it, and this one has {some(state.variables)}"
        )
    lags = "inflow" in state.variables
    for name, kinds in (("outflow", "fiu"), ("inflow", "fiu"), ("n_lags", "fiu")):
        if name in state.variables and state[name].dtype.kind not in kinds:
            raise StateError(f"the state's {name!r} is of type {state[name].dtype}, not numbers")
    members = [d for d in state["outflow"].dims if d != "reach"]
    for name, dims in (("reach", ["reach"]), ("n_lags", ["reach"]), ("outflow", [*members, "reach"])):
        if set(state[name].dims) != set(dims):
            raise StateError(f"the state's {name!r} is on {some(state[name].dims)}, not on {some(dims)}")
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    unique, count = np.unique(ids, return_counts=True)
    if unique.size < ids.size:
        raise StateError(
            f"{int((count > 1).sum())} reaches stand more than once in the state: {some(unique[count > 1])}"
        )
    n_lags = state["n_lags"].values
    bad = ~((n_lags >= 0) & (n_lags == np.floor(n_lags)))
    if bad.any():
        raise StateError(
            f"the state's 'n_lags' are not whole numbers from 0 on {int(bad.sum())} reaches: {some(ids[bad])}"
        )
    longest = int(n_lags.max(initial=0))
    if not lags:
        if longest:
            raise StateError(
                f"the state has no 'inflow', and its reaches have up to {longest} lags: {some(state.variables)}"
            )
        return state
    if set(state["inflow"].dims) != {*members, "reach", "lag"}:
        raise StateError(
            f"the state's 'inflow' is on {some(state['inflow'].dims)}, not on {some([*members, 'reach', 'lag'])}"
        )
    if "lag" not in state.variables:
        raise StateError(
            f"the state's {state.sizes['lag']} lags have no labels, 1 to {longest}: which is which, is not known"
        )
    labels = state["lag"].values
    if labels.dtype.kind not in "iuf" or not np.array_equal(np.sort(labels), np.arange(1, longest + 1)):
        raise StateError(
            f"the state's lags are {some(labels) or 'none'}, and its reaches need 1 to {longest}, each once: part of it is "
            "missing, or it was put together of two"
        )
    return state.isel(lag=np.argsort(labels))


def _compare(state: xr.Dataset, path: Any) -> None:
    """Refuse values that are not those of the checksum."""
    members = [d for d in state["outflow"].dims if d != "reach"]
    stored = state["checksum"]
    if set(stored.dims) != set(members):
        raise StateError(f"the state {path} has a checksum on {some(stored.dims)}, and values on {some(members)}")
    same = (xr.Variable(members, _sums(state, members)) == stored.variable).values
    if not same.all():
        raise StateError(
            f"the state {path} is damaged: the values of {int((~same).sum())} of {same.size} members are not those that were "
            "written. If they were changed on purpose, drop_vars('checksum') before they are stored"
        )


def _sums(state: xr.Dataset, members: list[Hashable]) -> NDArray[np.float64]:
    """`_checksum` of a state in form."""
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    hashed = pd.util.hash_array(ids.astype(object) if ids.dtype.kind == "U" else ids)
    outflow = state["outflow"].transpose(*members, "reach").values.astype(np.float64)
    inflow = None
    if "inflow" in state.variables:
        inflow = state["inflow"].transpose(*members, "reach", "lag").values.astype(np.float64)
    return _checksum(outflow, inflow, hashed, state["n_lags"].values.astype(np.int64))


def _checksum(
    outflow: NDArray[np.float64],
    inflow: NDArray[np.float64] | None,
    hashed: NDArray[np.uint64],
    n_lags: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Checksum of each member, whole and below 2**53, of outflow [*batch, reach], inflow [*batch, reach, lag] and hashed ids.

    A sum over reaches, so that their order does not count; each term is a mixture (splitmix64: Steele et al. 2014) of a
    value's bits, its reach and its lag.
    """

    def mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))

    def bits_of(values: NDArray[np.float64]) -> NDArray[np.uint64]:
        return np.ascontiguousarray(values + 0.0).view(np.uint64)  # -0 and 0 are one: stores do not tell them apart

    with np.errstate(over="ignore"):
        reach = mixed(hashed + n_lags.astype(np.uint64))
        total = mixed(bits_of(outflow) ^ reach).sum(axis=-1, dtype=np.uint64)
        for lag in range(0 if inflow is None else inflow.shape[-1]):
            assert inflow is not None
            has = n_lags > lag
            seed = mixed(reach[has] + np.uint64(lag + 1))
            total = total + mixed(bits_of(inflow[..., has, lag]) ^ seed).sum(axis=-1, dtype=np.uint64)
    return (np.asarray(total) >> np.uint64(11)).astype(np.float64)
