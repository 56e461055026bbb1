"""Runoff on a grid that is to be routed: brought to the reaches of a network, in its order, before anything else is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import xarray as xr

from xroute.exceptions import ParameterError, one_of, some, warn
from xroute.files.decoding import PACKED_AS
from xroute.grids.remapping import as_weights, remap_table
from xroute.grids.table import Table, table_of
from xroute.identity import digest
from xroute.ids import within
from xroute.labels import match_rows
from xroute.network import Network
from xroute.request import RouteRequest, StreamRequest
from xroute.settings import GRID_NAN, Extra, GridNaN, Missing
from xroute.wording import argument

__all__ = ["bring_to_reaches"]

Request = TypeVar("Request", bound=RouteRequest)


def bring_to_reaches(
    runoff: xr.DataArray, network: Network, request: Request, *, blank: bool = False
) -> tuple[xr.DataArray, Request, str]:
    """Runoff on a grid as runoff of a network's reaches, and the request that is left; without weights, what was given.

    ``blank`` reads no values: what comes of a grid is zero, for the sake of its labels.

    Returns
    -------
    runoff
        On the network's reaches, in its order; as lazy as it was.
    request
        Without weights.
    by
        What it was brought by, of a stream: two runs with the same text did the same to the same grid. Empty without weights.

    Raises
    ------
    ParameterError
        For an unknown ``nan``, ``nan="others"`` without weights, and a dimension of reaches beside them.
    AlignmentError, UnitsError
        As `xroute.remap`; and for reaches without weights, and weights of other reaches, unless they are accepted.
    """
    one_of("nan", request.nan, GRID_NAN)
    if request.weights is None:
        if request.nan == "others":
            raise ParameterError(
                f"{argument('nan', 'others')} takes runoff from the other cells of a catchment: it is for a grid, with "
                f"{argument('weights')}"
            )
        return runoff, request, ""
    if request.reach_dim not in (None, "reach"):
        raise ParameterError(
            f"runoff on a grid ({argument('weights')}) has no dimension of reaches: leave {argument('reach_dim')} out"
        )
    weights = as_weights(request.weights)
    table = reaches_of(table_of(weights), network, request.missing, request.extra)
    nan = request.nan
    brought = remap_table(runoff, weights, table, nan, blank=blank)
    brought.encoding |= {n: runoff.encoding[n] for n in PACKED_AS if n in runoff.encoding}  # a stream reads it as that says
    left = replace(request, weights=None, nan="zero" if nan == "zero" else "raise", reach_dim="reach")
    return brought, left, _text_of(table, nan) if isinstance(request, StreamRequest) else ""


def reaches_of(table: Table, network: Network, missing: Missing, extra: Extra) -> Table:
    """The overlaps of a network's reaches, in its order.

    Raises
    ------
    AlignmentError
        For reaches without weights, unless they are taken to have no water, and for weights of other reaches, unless they are
        dropped.
    """
    match_rows(table.ids, network.ids, missing, extra, "reaches of the weights", "weights")
    dry = network.ids[within(network.ids, table.ids[table.counts == 0])]
    if dry.size:
        warn(f"{dry.size} catchments have no cell of the grid, and no runoff: {some(dry)}")
    return table.for_reaches(network.ids)


def _text_of(table: Table, nan: GridNaN) -> str:
    return digest(nan, table.pointer, table.row, table.column, table.area, table.share)
