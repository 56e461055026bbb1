"""What callers may ask of maps: each option once, with its type and default. `plot_network` and `explore` explain them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError
from xroute.plotting.layout import Layout

# No `from __future__ import annotations` here: help() shows the annotations of a signature, and these are meant to be read.

__all__ = ["ExploreRequest", "MapRequest", "RiverRequest"]


@dataclass(frozen=True, kw_only=True)
class RiverRequest:
    """Options of every picture of a network.

    Raises
    ------
    ParameterError
        For a factor on widths that is not positive, or an order that is none.
    """

    width: str | float | xr.DataArray = "strahler"
    norm: Any = None
    cmap: Any = None
    vmin: float | None = None
    vmax: float | None = None
    robust: bool = False
    center: float | bool | None = None
    levels: int | Sequence[float] | None = None
    color: str = "#2b6f9e"
    legend: bool = True
    label: str | None = None
    scale: float = 1.0
    min_order: int = 1
    basins: bool | Hashable | Sequence[Hashable] = False
    gauges: Sequence[Hashable] | Mapping[Hashable, str] | xr.DataArray | xr.Dataset | None = None

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ParameterError(f"scale is a factor on line widths, above 0, and not {self.scale!r}")
        if isinstance(self.min_order, bool) or not isinstance(self.min_order, (int, np.integer)):
            raise ParameterError(f"min_order is a Strahler order, a whole number, and not {self.min_order!r}")


@dataclass(frozen=True, kw_only=True)
class MapRequest(RiverRequest):
    """Options of a map: those of `RiverRequest`, and what `xroute.plotting.plot_network` adds to them."""

    colorbar: bool = True
    layout: Layout = "auto"
    figsize: tuple[float, float] | None = None
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExploreRequest(RiverRequest):
    """Options of an interactive map: those of `RiverRequest`, and what `xroute.plotting.explore` adds to them."""

    tiles: Any = "OpenStreetMap"
    limit: int = 20_000
    m: Any = None
