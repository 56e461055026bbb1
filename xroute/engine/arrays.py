"""What goes into the engine and what comes out, whatever routes it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xroute.exceptions import ParameterError

__all__ = ["NotFinite", "compute_type"]


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
