"""What a result is called: CF names, units, cell methods, and its history."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from xroute.times import Clock, label_attrs

__all__ = ["STANDARD_NAME", "append_history", "discharge_attrs"]

STANDARD_NAME = "water_volume_transport_in_river_channel"


def discharge_attrs(units: str | None, sampling: str, clock: Clock, n_steps: int) -> Mapping[str, Any]:
    """CF attributes of discharge, and what its stamps mean where that is known."""
    attrs: dict[str, Any] = {"long_name": "river discharge", "standard_name": STANDARD_NAME}
    if units is not None:
        attrs["units"] = units
    if sampling == "last":
        comment = "" if clock.label in ("end", None) else " (comment: at the end of the step)"
        attrs["cell_methods"] = f"{clock.dim}: point{comment}"
    else:
        attrs["cell_methods"] = f"{clock.dim}: mean"
    if clock.label is not None and clock.step is not None:
        attrs |= label_attrs(clock.label, clock.step, n_steps)
    return attrs


def append_history(history: str | None, line: str) -> str:
    """CF history, extended by a dated line."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (f"{history.rstrip()}\n" if history else "") + f"{stamp} {line}"
