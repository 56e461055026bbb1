"""What all pictures share: colours, and how values and units are labelled."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["CATEGORY_COLOURS", "GAUGE_COLOURS", "INK", "PALE", "axis_label", "of_members", "units_label"]

INK, PALE = "#30383f", "#9aa5ad"
GAUGE_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Safe for colour-blind readers: Okabe and Ito (2008)."""
CATEGORY_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A0403", "#3B0F70")
"""Of categories side by side: theirs without the yellow, which white paper would swallow, and two darker ones."""


def axis_label(values: xr.DataArray) -> str:
    """Label of an axis that shows values: their long name and units."""
    name = str(values.attrs.get("long_name", values.name or ""))
    units = units_label(str(values.attrs.get("units", "")))
    return (name[:1].upper() + name[1:] + (f" [{units}]" if units else "")).strip()


def of_members(values: xr.DataArray, dims: Iterable[Hashable], how: str) -> dict[Hashable, Any]:
    """Attributes of what a picture shows of several members: a long name that says that it is their median, or their largest."""
    n = int(np.prod([values.sizes[d] for d in dims], dtype=np.int64))
    name = str(values.attrs.get("long_name", values.name or "discharge"))
    return {**values.attrs, "long_name": f"{name}, {how} of {n} members"} if n > 1 else dict(values.attrs)


def units_label(units: str) -> str:
    """Units as people write them, with their exponents raised: ``m3 s-1`` becomes ``m³ s⁻¹``."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    words = []
    for word in units.split():
        stem = word.rstrip("-0123456789")
        words.append(stem + word[len(stem) :].translate(raised) if stem else word)
    return " ".join(words)
