"""`RouterState`: what a `Router` remembers between two stretches of a series, as tensors through which gradients flow."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from xroute.engine.arrays import State
from xroute.exceptions import StateError, some
from xroute.network import Network
from xroute.settings import RoutingSettings

__all__ = ["RouterState", "network_hash", "start_of"]

Tensor = torch.Tensor


@dataclass(frozen=True)
class RouterState:
    """State of the rivers after a run, from which a later run of the same `Router` goes on.

    Attributes
    ----------
    history : float64 [batch, sum of lags]
        Each reach's last inflows, newest first, one reach after another.
    outflow : float64 [batch, reach]
        Last filtered outflow.
    n_lags : int64 [reach], numpy
        Number of inflows of each reach in ``history``.
    network : str
        Hash of the network that it is of: ids and their order, links, and the scheme of each reach.
    step : float
        Routing step [s], which inflows are apart.
    lateral : str
        Where runoff joined.
    """

    history: Tensor
    outflow: Tensor
    n_lags: NDArray[np.int64]
    network: str
    step: float
    lateral: str

    def detach(self) -> RouterState:
        """State through which no gradient flows: for training on one stretch of a series after another."""
        return replace(self, history=self.history.detach(), outflow=self.outflow.detach())

    def to(self, device: torch.device | str) -> RouterState:
        """State on another device."""
        return replace(self, history=self.history.to(device), outflow=self.outflow.to(device))


def start_of(
    state: RouterState, n_batch: int, ids: NDArray[Any], n_lags: NDArray[np.int64], network: str, settings: RoutingSettings
) -> State:
    """Tensors of a state that a caller gave, if it fits a run: members, reaches (by id, for messages), lags, hash of its network.

    Raises
    ------
    StateError
        If it is none, or of another run.
    """
    if not isinstance(state, RouterState):
        raise StateError(f"a state is a RouterState, as return_state=True gives it, not {type(state).__name__}")
    if state.network != network:
        raise StateError(
            f"the state is of another network, of {state.n_lags.size} reaches: this one's {ids.size} have other ids, another "
            "order, or other links or schemes"
        )
    step = settings.routing_step
    assert step is not None
    if not math.isclose(state.step, step):
        raise StateError(
            f"the state's inflows are {state.step:g} s apart, and this Router's routing step is {step:g} s: make it "
            "with the same dt and substeps, or route from a dry start"
        )
    if state.lateral != settings.lateral:
        raise StateError(f"the state is of lateral={state.lateral!r}, and this Router of lateral={settings.lateral!r}")
    for name, tensor in (("history", state.history), ("outflow", state.outflow)):
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.float64:
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise StateError(f"the state's {name} is {kind}, not a tensor of float64")
    if state.n_lags.shape != n_lags.shape or state.outflow.shape != (n_batch, ids.size):
        raise StateError(
            f"the state is of {state.outflow.shape[0]} members x {state.n_lags.size} reaches, not of {n_batch} x "
            f"{ids.size}"
        )
    if not np.array_equal(state.n_lags, n_lags):
        other = ids[state.n_lags != n_lags]
        raise StateError(
            f"{other.size} reaches now have a window of another length: {some(other)}. Their parameters have changed since "
            "the state was made, so their past inflow cannot be used: route from a dry start, or keep those parameters fixed"
        )
    shape = n_batch, int(n_lags.sum())
    if state.history.shape != shape:
        raise StateError(
            f"the state's history has the shape {tuple(state.history.shape)}, not {shape}: part of it is missing"
        )
    return State(state.history, state.outflow)


def network_hash(network: Network, at: Mapping[str, NDArray[np.int64]]) -> str:
    """Hash of all that a state's arrays depend on: ids and their order, links, and the scheme of each reach."""
    ids = network.ids.astype(object) if network.ids.dtype.kind == "U" else network.ids
    digest = hashlib.blake2b(network.fingerprint.encode(), digest_size=16)
    digest.update(pd.util.hash_array(ids).tobytes())
    for scheme, positions in sorted(at.items()):
        digest.update(repr((scheme, positions.size)).encode() + positions.tobytes())
    return digest.hexdigest()
