"""What goes into the engine and what comes out, whatever routes it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xroute.exceptions import ParameterError

__all__ = [
    "Exchange", "FilterArrays", "Gradients", "Hillslopes", "Known", "Needs", "NotFinite", "Rows", "SlopeGradients", "State",
    "compute_type",
]  # fmt: skip


class FilterArrays(NamedTuple):
    """The numbers of a filter, as arrays of numpy or tensors; what they mean, `xroute.schemes.Filter` says."""

    taps: Any  # float64 [sum of K]
    pointer: Any  # int64 [reach + 1]
    pole: Any  # float64 [reach]
    gain: Any  # float64 [reach]


class State(NamedTuple):
    """What a filter remembers from step to step, as arrays of numpy or tensors."""

    history: Any
    """Each reach's last K - 1 inflows, newest first, one reach after another [batch, sum of (K - 1)]."""
    outflow: Any
    """Each reach's last filtered outflow [batch, reach]."""


class Hillslopes(NamedTuple):
    """What runoff goes through before its reach, step of runoff by step: a filter without poles, and what it remembers."""

    filter: Any
    """`FilterArrays`, or a `xroute.schemes.Filter`."""
    state: State | None = None
    """At the start; None is dry."""


class Rows(NamedTuple):
    """Where each reach's series stand in runoff and in discharge, [batch, row, time], and what runoff is multiplied by."""

    runoff: Any = None
    """Row of each reach in runoff, int64 [reach], negative for one that has none; None where rows are reaches."""
    discharge: Any = None
    """Row of each reach in discharge, int64 [reach], negative where nobody asks for it; None where rows are reaches."""
    n: int | None = None
    """How many rows discharge has; None for as many as there are reaches."""
    scale: Any = None
    """Factor on each reach's runoff, float64 [reach]; None for one."""


class Known(NamedTuple):
    """Discharge that is known on some reaches: there it takes the place of what is routed, and goes on downstream.

    The filter of such a reach goes on as if nothing were known of it, and so do its state and all that lies upstream.
    """

    reach: Any
    """Which reaches, each once: int64 [known], of the host."""
    values: Any
    """Discharge of each step of runoff, the same in all its substeps, NaN where it is not known: float64 [batch or 1, known,
    time]; one member serves all."""
    grad: Any = None
    """Where an adjoint puts the gradient with respect to the values, of their shape, 0 where nothing is known: written."""


class Exchange(NamedTuple):
    """Series that a run is given beside runoff, and that it hands on.

    The first two are what partitions of a network exchange: discharge as it is passed on, [batch, reach, routing step].
    """

    given: Any = None
    """Of the plan's given reaches, the last ones, which another partition has routed: read."""
    kept: Any = None
    """Of the plan's kept reaches, which drain to another partition: written."""
    known: Known | None = None
    """Discharge that is known on some of the plan's reaches, none of them given."""


class Needs(NamedTuple):
    """Which gradients are wanted: of runoff, and of the filter."""

    runoff: bool = True
    filter: bool = True


class Gradients(NamedTuple):
    """Gradients of a loss, as arrays of numpy or tensors."""

    runoff: Any  # [batch, row, time], of the type of runoff
    taps: Any  # summed over the batch, as are the next two
    pole: Any
    gain: Any
    state: Any
    """`State` of gradients with respect to the initial state; None if that is dry."""


class SlopeGradients(NamedTuple):
    """Gradients of a loss with respect to what hillslopes take, as tensors; without elements where they are not needed."""

    runoff: Any  # [batch, reach, time], of the type of runoff
    taps: Any  # summed over the batch
    history: Any  # of the state at the start, if there is one


class NotFinite(NamedTuple):
    """How many values of runoff were not finite, and how many of the discharge that was made of it."""

    runoff: int
    discharge: int


def compute_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type of discharge for a type of runoff: float32 for float32 and halves, float64 for all else."""
    if dtype.kind not in "fiu":
        kind = {"c": "complex numbers", "b": "true and false", "O": "Python objects"}.get(dtype.kind, "no numbers")
        raise ParameterError(f"runoff must be real numbers, and is of type {dtype} ({kind}): convert it, where that is meant")
    return np.dtype(np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64)
