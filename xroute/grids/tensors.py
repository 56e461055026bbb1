"""Grids as tensors: what `Router` does with runoff on a grid, before it routes it, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.grids.device import Sums, bring
from xroute.grids.form import identity_of
from xroute.grids.remapping import as_weights
from xroute.grids.table import table_of
from xroute.ids import within
from xroute.network import Network
from xroute.units import runoff_units

__all__ = ["GridInput"]

Tensor = torch.Tensor


class GridInput:
    """Runoff on a grid to a volume flux into the reaches of a network, in its order.

    Parameters
    ----------
    weights
        Weights, or the path of them, of all reaches of the network and no others.
    network : Network
    dt
        Step of runoff [s].
    units
        Units of the grid's values; by default a depth per second, ``"m s-1"``.

    Raises
    ------
    AlignmentError
        Naming reaches that have no weights, and those of weights that are not in the network.
    ParameterError
        For weights that do not say how large their grid is; and for volumes of cells, if they do not say how large cells are.
    UnitsError
        For units of no runoff.
    """

    def __init__(self, weights: Any, network: Network, dt: float, units: str | None) -> None:
        dataset = as_weights(weights)
        table = table_of(dataset)
        lacking, alien = network.ids[~within(network.ids, table.ids)], table.ids[~within(table.ids, network.ids)]
        if lacking.size:
            raise AlignmentError(f"{lacking.size} reaches of the network have no weights: {some(lacking)}")
        if alien.size:
            raise AlignmentError(
                f"{alien.size} reaches of the weights are not in the network: {some(alien)}. Take those that are: "
                "xroute.grids.select_weights(weights, network.ids)"
            )
        self.sizes = identity_of(dataset.attrs).sizes
        """Sizes of the grid, along its rows and columns, or of its cells."""
        if not self.sizes:
            raise ParameterError("the weights do not say how large their grid is: xroute.grids.read_weights(..., grid=grid)")
        units = units or "m s-1"
        table, read = table.for_reaches(network.ids), runoff_units(units)
        weight = table.area if read.is_depth else table.share
        if weight is None:
            raise ParameterError(
                f"runoff in {units!r} is a volume of each cell, and the weights have no areas of cells (cell_area)"
            )
        cell = table.row * np.int64(self.sizes[-1]) + table.column
        factor = read.in_si / (dt if read.per_step else 1.0)
        self.weights, self.table, self.units = dataset, table, units
        """Weights, as a Dataset and by reach in the network's order, and the units of the grid's values."""
        self._sums = Sums(table.pointer, cell, weight * factor, int(np.prod(self.sizes)))

    def __call__(self, runoff: Tensor) -> Tensor:
        """Runoff [batch, *grid, time] or [*grid, time], the grid as it is or its cells in a row, as [batch, reach, time].

        Raises
        ------
        ParameterError
            For other shapes.
        """
        n_cells, shape = self._sums.shape[1], tuple(runoff.shape)
        for grid in dict.fromkeys((self.sizes, (n_cells,))):
            n = len(grid) + 1
            if shape[-n:-1] == grid and runoff.ndim in (n, n + 1):
                cells = runoff.reshape(*shape[:-n], n_cells, shape[-1])
                return bring(cells, self._sums) if runoff.ndim > n else bring(cells[None], self._sums)[0]
        sizes = ", ".join(map(str, self.sizes))
        raise ParameterError(
            f"runoff has shape {shape}, but the weights are of a grid of {sizes}: it must be (batch, {sizes}, time) or ({sizes}, "
            f"time), or have its {n_cells} cells in a row"
        )
