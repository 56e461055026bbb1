"""What a picture of a network does with each reach: its colour and its width, and what a legend has to say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError
from xroute.network import Network
from xroute.plotting.basins import colour_basins
from xroute.plotting.requests import RiverRequest
from xroute.plotting.scales import Scale, category_scale, crowding, number_scale, widths_of
from xroute.plotting.values import Values, read_values

__all__ = ["Paint", "paint_reaches"]

Float = NDArray[np.float64]
BY_ORDER = ("strahler", "order")
BY_VALUES = ("values", "discharge")


@dataclass(frozen=True)
class Paint:
    """Colours and widths of the reaches.

    Attributes
    ----------
    values
        What the colours show; None where it is one colour, or basins.
    numbers, scale
        What matplotlib makes colours of; None for one colour.
    entries, title
        Legend of categories: names and colours; None where a colour bar explains the colours.
    basins
        The basin of each reach, if they were asked for.
    widths : float64 [reach]
        Widths of lines [points].
    factor
        What they have been multiplied by.
    by_width
        Values that the widths show and nothing else does.
    """

    values: Values | None
    numbers: Float | None
    scale: Scale | None
    entries: list[tuple[str, Any]] | None
    title: str
    basins: Values | None
    widths: Float
    factor: float
    by_width: Values | None

    @property
    def n_missing(self) -> int:
        """Reaches without a value."""
        return 0 if self.values is None else int(np.isnan(self.values.numbers).sum())

    def colours(self, color: str) -> Float:
        """Red, green, blue and opacity of each reach; ``color`` where there are no values [reach, 4]."""
        from matplotlib.colors import to_rgba

        if self.numbers is None or self.scale is None:
            return np.broadcast_to(np.asarray(to_rgba(color)), (self.widths.size, 4))
        return np.asarray(self.scale.cmap(self.scale.norm(np.ma.masked_invalid(self.numbers))))


def paint_reaches(network: Network, values: Any, request: RiverRequest) -> Paint:
    """Colours and widths of the reaches, as a caller asks for them.

    Raises
    ------
    ParameterError, AlignmentError, NetworkError
        As `xroute.plotting.plot_network`.
    """
    amount = None if values is None else read_values(network, values)
    basins = None if request.basins is False or request.basins is None else colour_basins(network, request.basins)
    widths, by_width = _widths(network, amount, values, request.width)
    factor = request.scale * (1.0 if _is_number(request.width) else crowding(network.n_reaches))
    shown = basins if amount is None else amount
    scale, entries = None, None
    if shown is not None and shown.names:
        scale, entries = category_scale(shown, request.cmap)
    elif shown is not None:
        scale = number_scale(
            shown, norm=request.norm, cmap=request.cmap, vmin=request.vmin, vmax=request.vmax, robust=request.robust,
            center=request.center, levels=request.levels,
        )  # fmt: skip
    return Paint(
        amount, None if shown is None else shown.numbers, scale, entries,
        "" if shown is None else request.label or shown.label, basins, factor * widths, factor, by_width,
    )  # fmt: skip


def _is_number(width: Any) -> bool:
    return isinstance(width, (int, float, np.integer, np.floating)) and not isinstance(width, bool)


def _widths(network: Network, amount: Values | None, values: Any, width: Any) -> tuple[Float, Values | None]:
    """Width of each reach [points], and what a legend has to explain of it."""
    if isinstance(width, str) and width not in network.dataset.variables:
        by_values = BY_VALUES if not isinstance(values, xr.DataArray) else (*BY_VALUES, values.name)
        if width in by_values:
            if amount is None:
                raise ParameterError(f"width={width!r} needs values; give them, or choose width='strahler'")
            if amount.names or amount.dates:
                raise ParameterError(f"width={width!r} needs numbers, and {amount.label or 'the values'} are {_kind(amount)}")
            return widths_of(amount.numbers), None
        if width in BY_ORDER:
            return widths_of(network.strahler.to_numpy().astype(float), by_order=True), None
    if _is_number(width):
        if not width > 0:
            raise ParameterError(f"width={width!r}: a width for all is above 0 [points]")
        return np.full(network.n_reaches, float(width)), None
    of = read_values(network, width, "width")
    if of.names or of.dates:
        raise ParameterError(f"width is made of numbers, and {of.label or 'these values'} are {_kind(of)}")
    if not of.finite.size:
        raise ParameterError(f"width: none of the {of.numbers.size} values of {of.label or 'it'} is a number")
    return widths_of(of.numbers), of


def _kind(values: Values) -> str:
    return "dates" if values.dates else "categories"
