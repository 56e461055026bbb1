"""What a result is called: CF names, units, cell methods, and its history."""

from __future__ import annotations

import datetime
from collections.abc import Hashable

__all__ = ["STANDARD_NAME", "append_history", "discharge_attrs"]

STANDARD_NAME = "water_volume_transport_in_river_channel"


def discharge_attrs(units: str | None, sampling: str, time_dim: Hashable) -> dict[str, str]:
    """CF attributes of discharge."""
    attrs = {"long_name": "river discharge", "standard_name": STANDARD_NAME}
    if units is not None:
        attrs["units"] = units
    attrs["cell_methods"] = f"{time_dim}: {'point' if sampling == 'last' else 'mean'}"
    return attrs


def append_history(history: str | None, line: str) -> str:
    """CF history, extended by a dated line."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (f"{history.rstrip()}\n" if history else "") + f"{stamp} {line}"
