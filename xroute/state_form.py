"""What a state must be: its variables, dimensions, labels and types; and the checksum that tells a damaged one.

States are given as Datasets, or as paths of them. A state is read by its labels, and none of its values is used before sizes,
labels and types were looked at. The ``checksum`` of each member's ids and values goes with a state through selections and other
orders; `xroute.io.write` stores it. What is said here of ``outflow``, ``inflow``, ``n_lags`` and ``lag`` holds of each stage,
whose name stands before theirs (`stored_name`).
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

from xroute.block_state import CHANNEL, stored_name
from xroute.exceptions import StateError, XRouteError, some
from xroute.files.opening import open_dataset
from xroute.ids import exact_ids, repeated

__all__ = ["is_state", "open_state", "stages_of", "with_checksum"]


def is_state(dataset: xr.Dataset) -> bool:
    """Whether a Dataset means to be a state."""
    return {"outflow", "n_lags"} <= set(dataset.variables)


def stages_of(state: xr.Dataset) -> list[str]:
    """Names of a state's stages, the river's own first."""
    named = [str(name).removesuffix("_outflow") for name in state.variables if str(name).endswith("_outflow")]
    return [CHANNEL, *(stage for stage in named if stored_name(stage, "n_lags") in state.variables)]


def with_checksum(state: xr.Dataset) -> xr.Dataset:
    """State with a ``checksum`` of each member's ids and values, as `xroute.io.write` stores it."""
    state = _check_form(state)
    members = [d for d in state["outflow"].dims if d != "reach"]
    attrs = {"long_name": "checksum of the member's ids, outflow and inflow"}
    return state.assign(checksum=(members, _sums(state, members), attrs))


def _check_form(state: Any) -> xr.Dataset:
    """The state, lags in order; what is none is refused, before any of its values are used.

    Raises
    ------
    StateError
        For variables, dimensions, labels or types that a state does not have.
    """
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
    members = [d for d in state["outflow"].dims if d != "reach"]
    for stage in stages_of(state):
        _check_arrays(state, stage, members)
    if set(state["reach"].dims) != {"reach"}:
        raise StateError(f"the state's 'reach' is on {some(state['reach'].dims)}, not on 'reach'")
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    twice = repeated(ids)
    if twice.size:
        raise StateError(f"{twice.size} reaches stand more than once in the state: {some(twice)}")
    for stage in stages_of(state):
        state = _with_lags_in_order(state, stage, members, ids)
    return state


def open_state(state: Any, *, lazily: bool = False) -> xr.Dataset:
    """A state that is one in form: a Dataset, or the path of one, whose values are then compared with their checksum.

    Parameters
    ----------
    state
        A Dataset, whose values are not read, or a path.
    lazily
        Whether a state with members is left in its file: it is read, and compared, a member at a time.

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
        return _check_form(state)
    try:
        opened = open_dataset(Path(state))
        if lazily and is_state(opened) and opened["outflow"].ndim > 1:
            loaded = opened
            for name in set(opened.variables) - set(_big(opened)):
                loaded[name].load()
        else:
            with opened:
                loaded = opened.load()
    except (XRouteError, FileNotFoundError, ImportError):
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise StateError(f"the state {state} cannot be read: {type(error).__name__}: {error}") from error
    found = _check_form(loaded)
    if "checksum" not in found.variables:
        return found
    same = _same_sums(found, state)
    if not same.all():
        raise StateError(
            f"the state {state} is damaged: the values of {int((~same).sum())} of {same.size} members are not those that were "
            "written. If they were changed on purpose, drop_vars('checksum') before they are stored"
        )
    return found


def _big(state: xr.Dataset) -> list[str]:
    """Names of the variables that have values of each member and reach."""
    names = [stored_name(stage, name) for stage in stages_of(state) for name in ("outflow", "inflow")]
    return [name for name in names if name in state.variables]


def _check_arrays(state: xr.Dataset, stage: str, members: list[Hashable]) -> None:
    """Refuse types and dimensions that a stage's variables cannot have."""
    outflow, inflow, n_lags = (stored_name(stage, name) for name in ("outflow", "inflow", "n_lags"))
    for name in (outflow, inflow, n_lags):
        if name in state.variables and state[name].dtype.kind not in "fiu":
            raise StateError(f"the state's {name!r} is of type {state[name].dtype}, not numbers")
    for name, dims in ((n_lags, ["reach"]), (outflow, [*members, "reach"])):
        if set(state[name].dims) != set(dims):
            raise StateError(f"the state's {name!r} is on {some(state[name].dims)}, not on {some(dims)}")


def _with_lags_in_order(state: xr.Dataset, stage: str, members: list[Hashable], ids: NDArray[Any]) -> xr.Dataset:
    """The state with a stage's lags in order, 1 first; a stage that lacks some is refused."""
    inflow, lag, name = (stored_name(stage, name) for name in ("inflow", "lag", "n_lags"))
    n_lags = state[name].values
    bad = ~((n_lags >= 0) & (n_lags == np.floor(n_lags)))
    if bad.any():
        raise StateError(
            f"the state's {name!r} are not whole numbers from 0 on {int(bad.sum())} reaches: {some(ids[bad])}"
        )
    longest = int(n_lags.max(initial=0))
    if inflow not in state.variables:
        if longest:
            raise StateError(
                f"the state has no {inflow!r}, and its reaches have up to {longest} lags: {some(state.variables)}"
            )
        return state
    if set(state[inflow].dims) != {*members, "reach", lag}:
        raise StateError(
            f"the state's {inflow!r} is on {some(state[inflow].dims)}, not on {some([*members, 'reach', lag])}"
        )
    if lag not in state.variables:
        raise StateError(
            f"the state's {state.sizes[lag]} lags have no labels, 1 to {longest}: which is which, is not known"
        )
    labels = state[lag].values
    if labels.dtype.kind not in "iuf" or not np.array_equal(np.sort(labels), np.arange(1, longest + 1)):
        raise StateError(
            f"the state's lags are {some(labels) or 'none'}, and its reaches need 1 to {longest}, each once: part of it is "
            "missing, or it was put together of two"
        )
    return state.isel({lag: np.argsort(labels)})


def _same_sums(state: xr.Dataset, where: Any) -> NDArray[np.bool_]:
    """Of a state with a checksum, which members [*batch] hold the values that it was made of.

    Raises
    ------
    StateError
        If the checksum is not of its members.
    """
    members = [d for d in state["outflow"].dims if d != "reach"]
    stored = state["checksum"]
    if set(stored.dims) != set(members):
        raise StateError(f"the state {where} has a checksum on {some(stored.dims)}, and values on {some(members)}")
    return np.asarray((xr.Variable(members, _sums(state, members)) == stored.variable).values)


def _sums(state: xr.Dataset, members: list[Hashable]) -> NDArray[np.float64]:
    """Checksum of each member of a state in form, whole and below 2**53; what is not in memory is read a member at a time."""
    if members and state.sizes[members[0]] > 1 and not all(state[name].variable._in_memory for name in _big(state)):
        each = [_sums(state.isel({members[0]: [k]}).compute(), members) for k in range(state.sizes[members[0]])]
        return np.concatenate(each)
    ids = exact_ids(state["reach"].values, "state reach", StateError)
    hashed = pd.util.hash_array(ids.astype(object) if ids.dtype.kind == "U" else ids)
    total: Any = np.uint64(0)
    with np.errstate(over="ignore"):
        for stage in stages_of(state):
            names = [stored_name(stage, name) for name in ("outflow", "inflow", "n_lags", "lag")]
            outflow = state[names[0]].transpose(*members, "reach").values.astype(np.float64)
            inflow = None
            if names[1] in state.variables:
                inflow = state[names[1]].transpose(*members, "reach", names[3]).values.astype(np.float64)
            seed = np.uint64(0) if stage == CHANNEL else pd.util.hash_array(np.array([stage], object))[0]
            total = total + _sum(outflow, inflow, hashed ^ seed, state[names[2]].values.astype(np.int64))
    return (np.asarray(total) >> np.uint64(11)).astype(np.float64)


def _sum(
    outflow: NDArray[np.float64],
    inflow: NDArray[np.float64] | None,
    hashed: NDArray[np.uint64],
    n_lags: NDArray[np.int64],
) -> Any:
    """Sum [*batch] that stands for a stage's outflow [*batch, reach], inflow [*batch, reach, lag] and hashed ids.

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
    return total
