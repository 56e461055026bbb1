"""river-route's tables of weights, written; `xroute.grids.read_weights` reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, NetworkError, some
from xroute.files.opening import PathLike
from xroute.files.writing import write
from xroute.grids.remapping import as_weights
from xroute.ids import distinct, exact_ids, positions_of, within
from xroute.io.common import dataset_of
from xroute.io.river_route.layout import layout_of_version
from xroute.io.river_route.order import depth_first, whole_number_ids
from xroute.network import Network
from xroute.wording import argument

__all__ = ["write_weights"]


def write_weights(weights: Any, path: PathLike, network: Any, *, version: int = 2, overwrite: bool = False) -> None:
    """Write weights as river-route's table: an overlap of a catchment with a cell a row, rivers in the network's order.

    Parameters
    ----------
    weights
        Of `xroute.grid_weights` or `xroute.grids.read_weights`, or their path.
    path
        ``*.nc``.
    network
        The network, whose order the rivers take (see `write_network`).
    version
        Of river-route: 2 (``river_id``) or 3 (``riverId``).
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError
        For reaches of the network without cells, which river-route has no rows for, and weights of reaches that it has not; for
        weights that do not say where cells are.
    NetworkError, FileExistsError
        As `write_network`.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd, xroute
    >>> from xroute.io import river_route
    >>> table = pd.DataFrame({"river_id": [1, 2], "x_index": [0, 1], "y_index": 0, "x": [7.0, 8.0], "y": 50.0, "area_sqm": 1e6})
    >>> network = xroute.Network.from_links([1, 2], [2, 0])
    >>> path = tempfile.mkdtemp() + "/weights.nc"
    >>> river_route.write_weights(xroute.grids.read_weights(table), path, network)
    >>> xroute.io.open_dataset(path)["proportion"].values
    array([1., 1.])
    """
    layout, found, rivers = layout_of_version(version), as_weights(weights), dataset_of(network)
    if rivers is None:
        raise NetworkError(f"weights of river-route have the order of the network: give {argument('network')}")
    river = network if isinstance(network, Network) else Network(rivers)
    whole_number_ids(river.ids)
    index = ("cell",) if "cell" in found.variables else ("y_index", "x_index")
    if not {"cell_y", "cell_x"} <= set(found.variables):
        raise AlignmentError(
            "the weights do not say where cells are (cell_y, cell_x), and river-route's do: add them on 'overlap', as y_index "
            "and x_index are"
        )
    owner = exact_ids(found["reach"].to_numpy(), "reaches of the weights", AlignmentError)
    area = found["area"].to_numpy().astype(np.float64)
    used = area > 0
    dry = river.ids[~within(river.ids, owner[used])]
    if dry.size:
        raise AlignmentError(f"{dry.size} reaches of the network have no cell in the weights, as river-route wants: {some(dry)}")
    alien = distinct(owner[~within(owner, river.ids)])
    if alien.size:
        raise AlignmentError(f"the weights have {alien.size} reaches that the network has not: {some(alien)}")
    place = positions_of(owner, river.ids[depth_first(river, version).row])
    rows = np.flatnonzero(used)
    rows = rows[np.lexsort((-area[rows], place[rows]))]  # the largest first, as river-route has them
    total = np.bincount(place[rows], weights=area[rows], minlength=river.n_reaches)
    names = {"y_index": "y_index", "x_index": "x_index", "cell": "cell_index"}
    table = xr.Dataset(
        {
            layout.reach: ("index", owner[rows]),
            **{names[n]: ("index", found[n].to_numpy()[rows].astype(np.int64)) for n in reversed(index)},
            "x": ("index", found["cell_x"].to_numpy()[rows]), "y": ("index", found["cell_y"].to_numpy()[rows]),
            "area_sqm": ("index", area[rows], {"units": "m2"}), "proportion": ("index", area[rows] / total[place[rows]]),
        },
        {"index": np.arange(rows.size)},
        {"description": "proportions of runoff cells that intersect river catchments"},
    )  # fmt: skip
    write(table, path, overwrite=overwrite)
