"""The cell that is nearest to a place, on the sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from xroute.earth import SEMI_MAJOR, in_space

__all__ = ["nearest_cells", "spacing"]

Float = NDArray[np.float64]
SAME = 1e-6
"""Metres within which two cells are equally far."""
TIES = 8
"""Cells that are looked at for being equally far."""


def nearest_cells(lon: Float, lat: Float, cell_lon: Float, cell_lat: Float) -> tuple[NDArray[np.int64], Float]:
    """Nearest cell of each place, and how far [m] its centre is.

    Of cells that are equally far the southernmost counts, of these the one that is met first eastwards from Greenwich, so that
    the order in which a grid is stored changes nothing.

    Parameters
    ----------
    lon, lat : [place]
    cell_lon, cell_lat : [cell]
        Centres in degrees; NaN where there is no cell.
    """
    cells = np.flatnonzero(np.isfinite(cell_lon) & np.isfinite(cell_lat))
    order = np.lexsort((np.round(cell_lon[cells] % 360, 9) % 360, np.round(cell_lat[cells], 9)))
    cells = cells[order]
    tree = cKDTree(in_space(cell_lon[cells], cell_lat[cells]), balanced_tree=False, compact_nodes=False)
    chord, found = tree.query(in_space(lon, lat), k=np.arange(1, min(TIES, cells.size) + 1))
    far = 2 * SEMI_MAJOR * np.arcsin(np.clip(chord / 2, 0, 1))
    rank = np.where(far <= far[:, :1] + SAME, found, cells.size).min(axis=1)
    return cells[rank], far[:, 0]


def spacing(lon: Float, lat: Float, cell: NDArray[np.int64]) -> Float:
    """How far [m] the nearest other cells are from some cells, by their centres: how large cells are that have no corners."""
    there = np.isfinite(lon) & np.isfinite(lat)
    tree = cKDTree(in_space(lon[there], lat[there]))
    k = min(4, int(there.sum()))
    chord = np.atleast_2d(tree.query(in_space(lon[cell], lat[cell]), k=np.arange(1, k + 1))[0])
    return np.asarray(2 * SEMI_MAJOR * np.arcsin(np.clip(chord[:, -1] / 2, 0, 1)))
