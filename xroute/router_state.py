"""`RouterState`: what a `Router` remembers between two stretches of a series, as tensors through which gradients flow."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.engine.arrays import Known, State
from xroute.exceptions import ParameterError, StateError, TimeAxisError, some
from xroute.network import Network
from xroute.settings import RoutingSettings

__all__ = [
    "RouterState", "StateLabels", "check_ids", "given_known", "ids_as_tensor", "moment_text", "network_hash", "slopes_of",
    "start_of",
]  # fmt: skip

Tensor = torch.Tensor


class StateLabels(NamedTuple):
    """What a state that had labels was called.

    Attributes
    ----------
    members
        Its dimensions of members, and their sizes.
    coords
        Their coordinates.
    time
        When it holds; None where that is not known.
    units
        Units of discharge; None where they are not known.
    """

    members: Mapping[Hashable, int]
    coords: Mapping[Hashable, Any]
    time: str | None
    units: str | None


@dataclass(frozen=True)
class RouterState:
    """State of the rivers after a run, from which a later run of the same `Router` goes on.

    Attributes
    ----------
    history : float64 [batch, sum of (K - 1)]
        Each reach's last inflows, newest first, one reach after another, in the units of runoff.
    outflow : float64 [batch, reach]
        Last filtered outflow, in the units of runoff.
    n_lags : int64 [reach], numpy
        Number of inflows of each reach in ``history``.
    network : str
        Hash of the network that it is of: ids and their order, links, and the scheme of each reach.
    step : float
        Routing step [s], which inflows are apart.
    lateral : str
        Where runoff joined.
    hillslope : RouterState or None
        State of the hillslopes, whose inflow is runoff, a step of runoff apart; None where there are none.
    labels : StateLabels or None
        Of the Dataset that it was made of, if it was (`Router.state`).

    Examples
    --------
    >>> import torch, xroute
    >>> router = xroute.Router(xroute.datasets.scheidegger(3, 4), dt="1h", learnable=("k",))
    >>> _, state = router(torch.rand(12, 24), return_state=True)
    >>> tuple(state.outflow.shape), state.step
    ((1, 12), 3600.0)
    """

    history: Tensor
    outflow: Tensor
    n_lags: NDArray[np.int64]
    network: str
    step: float
    lateral: str
    hillslope: RouterState | None = None
    labels: StateLabels | None = None

    def __repr__(self) -> str:
        parts = [f"[{self.outflow.shape[0]} x {self.n_lags.size:,} reaches]", f"routing step {self.step:g} s"]
        parts.append(f"lateral {self.lateral!r}")
        parts += [] if self.hillslope is None else ["with hillslopes"]
        parts += [f"at {self.labels.time}"] if self.labels is not None and self.labels.time is not None else []
        parts += [f"on {self.outflow.device}", "with gradients" if self.outflow.requires_grad else "without gradients"]
        return f"<xroute.RouterState: {', '.join(parts)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Tensors and plain values, so that a checkpoint with a state in it is one that `torch.load` takes as safe."""
        lags = torch.from_numpy(np.array(self.n_lags))  # a copy: those of the engine may be read-only
        labels = None if self.labels is None else (dict(self.labels.members), dict(self.labels.coords), *self.labels[2:])
        return _state_of, (
            self.history, self.outflow, lags, self.network, self.step, self.lateral, self.hillslope, labels
        )  # fmt: skip

    def detach(self) -> RouterState:
        """State through which no gradient flows: for training on one stretch of a series after another.

        Returns
        -------
        RouterState
            The same values.

        Examples
        --------
        >>> import torch, xroute
        >>> router = xroute.Router(xroute.datasets.scheidegger(3, 4), dt="1h", learnable=("k",))
        >>> _, state = router(torch.rand(12, 24), return_state=True)
        >>> state.outflow.requires_grad, state.detach().outflow.requires_grad
        (True, False)
        """
        slopes = None if self.hillslope is None else self.hillslope.detach()
        return replace(self, history=self.history.detach(), outflow=self.outflow.detach(), hillslope=slopes)

    def to(self, device: torch.device | str) -> RouterState:
        """State on another device.

        Parameters
        ----------
        device
            As PyTorch takes it: ``"cpu"``, ``"cuda:1"``, ...

        Returns
        -------
        RouterState
            The same values there.

        Examples
        --------
        >>> import torch, xroute
        >>> router = xroute.Router(xroute.datasets.scheidegger(3, 4), dt="1h", learnable=("k",))
        >>> _, state = router(torch.rand(12, 24), return_state=True)
        >>> state.to("cpu").outflow.device.type
        'cpu'
        """
        slopes = None if self.hillslope is None else self.hillslope.to(device)
        return replace(self, history=self.history.to(device), outflow=self.outflow.to(device), hillslope=slopes)


def _state_of(
    history: Tensor, outflow: Tensor, lags: Tensor, network: str, step: float, lateral: str,
    hillslope: RouterState | None, labels: tuple[Any, ...] | None,
) -> RouterState:  # fmt: skip
    """State of what `RouterState.__reduce__` gives."""
    called = None if labels is None else StateLabels(*labels)
    return RouterState(history, outflow, lags.numpy(), network, step, lateral, hillslope, called)


torch.serialization.add_safe_globals([_state_of])  # it makes tensors and text into a RouterState, and can do nothing else


def slopes_of(state: RouterState | None, name: str | None) -> RouterState | None:
    """State of the hillslopes in a state that a caller gave, of a Router that has those of this name, or none.

    Raises
    ------
    StateError
        If one has them and the other has not.
    """
    if not isinstance(state, RouterState):  # of another type: `start_of` says so
        return None
    its = None if state.hillslope is None else state.hillslope.network.partition(" ")[2]
    if its != name:
        raise StateError(
            f"the state is of a Router with hillslope={its!r}, and this one has hillslope={name!r}: route from a dry start, or "
            "from a state of this Router"
        )
    return state.hillslope


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
        hint = ": router.state(dataset) makes one of a Dataset" * hasattr(state, "data_vars")
        raise StateError(f"a state is a RouterState, as return_state=True gives it, not {type(state).__name__}{hint}")
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


def ids_as_tensor(ids: NDArray[Any]) -> Tensor:
    """Ids as a state dict holds them: int64 [reach], or of text, UTF-32 [reach, letter]."""
    return torch.from_numpy(ids.view(np.int32).reshape(ids.size, -1) if ids.dtype.kind == "U" else ids)


def check_ids(state: Tensor, ids: NDArray[Any]) -> None:
    """Refuse the values of other reaches than those of these ids, in this order.

    Raises
    ------
    ParameterError
        Naming reaches that differ.
    """
    stored = np.ascontiguousarray(state.cpu().numpy())
    its = (stored.view(f"U{stored.shape[1]}")[:, 0] if stored.ndim == 2 else stored).tolist()
    mine = ids.tolist()
    if its == mine:
        return
    own, stored_ids = set(mine), set(its)
    if own == stored_ids:
        moved = [a for a, b in zip(mine, its, strict=True) if a != b]
        raise ParameterError(
            f"the state dict has the same reaches in another order, or under other schemes: {some(moved)}. Make the "
            "Router of a network in the order of the one that was saved"
        )
    alien, lacking = ([i for i in a if i not in b] for a, b in ((its, own), (mine, stored_ids)))
    raise ParameterError(
        f"the state dict is of another network: {len(alien)} of its reaches are not here"
        f"{': ' * bool(alien)}{some(alien)}; {len(lacking)} reaches are not in it{': ' * bool(lacking)}{some(lacking)}"
    )


def given_known(
    values: Tensor | None, ids: NDArray[Any] | None, reach: Tensor | None, runoff: Tensor
) -> Known | None:
    """Discharge that is known in a call, if it fits the ids of a Router, their positions, and its runoff.

    Raises
    ------
    ParameterError
        If it is there where none is wanted, or the other way round, and for shapes and values that it cannot have.
    """
    n = 0 if ids is None else ids.size
    if values is None:
        if n:
            raise ParameterError(
                f"this Router has {n} reaches of known discharge: give known=, [{n} reaches, time], NaN where it is not known"
            )
        return None
    if reach is None:
        raise ParameterError("known discharge needs to know on which reaches: Router(..., known=ids)")
    if not isinstance(values, Tensor):
        raise ParameterError(f"known is a tensor, not {type(values).__name__}: torch.from_numpy makes one of an array")
    values = values if values.ndim == 3 else values[None]
    n_batch, _, n_steps = runoff.shape
    if values.shape not in ((n_batch, n, n_steps), (1, n, n_steps)):
        raise ParameterError(
            f"known has shape {tuple(values.shape)}, not (batch 1 or {n_batch}, {n} reaches, {n_steps} steps)"
        )
    if torch.isin(values.detach(), values.new_tensor((torch.inf, -torch.inf, *FILLS))).any():
        raise ParameterError("known discharge is infinite, -999 or alike: where it is not known, it is NaN")
    return Known(reach, values)


def moment_text(time: Any) -> str:
    """A moment as a state bears it.

    Raises
    ------
    TimeAxisError
        For what is none.
    """
    if isinstance(time, datetime.datetime) or hasattr(time, "calendar"):
        return str(time.isoformat())
    try:
        kind: Any = pd.Timedelta if isinstance(time, np.timedelta64 | datetime.timedelta) else pd.Timestamp
        return str(kind(time).isoformat())
    except (TypeError, ValueError) as error:
        raise TimeAxisError(f"time is when a state holds, a date, not {time!r}") from error
