"""river-route 2's unit hydrographs (``uh_kernel_file``), as ordinates of hillslopes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, ParameterError
from xroute.files.opening import PathLike
from xroute.guards import reading
from xroute.ids import exact_ids
from xroute.io.common import dataset_of
from xroute.io.river_route.config import resolve
from xroute.io.river_route.network import ROW, ROWS
from xroute.recipe import stated_seconds
from xroute.times import seconds
from xroute.wording import argument

__all__ = ["read_hillslope"]


def read_hillslope(path: PathLike, network: Any, *, dt: Any = None) -> xr.DataArray:
    """Read the unit hydrographs of river-route 2 as ordinates for ``route(..., hillslope=)``.

    Parameters
    ----------
    path
        The kernel (``*.npz``, steps by rivers, in the order of the network's table), or a folder or configuration with one.
    network
        Network Dataset of `read_network`, or one of some of its reaches.
    dt
        Step that the kernel was made for, which is that of runoff: seconds, or text like ``"1h"``; by default the network's
        attribute ``runoff_step``.

    Returns
    -------
    xarray.DataArray
        Ordinates (reach, ordinate) [1], which sum to one, with the step in ``attrs["dt"]``; the coordinate ``area`` [m2] is the
        catchments' areas, which river-route's numbers are multiplied by.

    Raises
    ------
    FileNotFoundError
        If there is none.
    AlignmentError
        If it has not as many rivers as the network's table.
    ParameterError
        If the step is not known, and for numbers that are negative, not finite, or sum to nothing.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, scipy.sparse
    >>> from xroute.io import river_route
    >>> folder = tempfile.mkdtemp()
    >>> table = pd.DataFrame({"river_id": [1, 2], "downstream_river_id": [2, -1], "k": 3600.0, "x": 0.2})
    >>> table.to_parquet(folder + "/params.parquet")
    >>> kernel = np.array([[300.0, 100.0], [100.0, 0.0]])  # m2 s-1, of 1.44 and 0.36 km2
    >>> scipy.sparse.save_npz(folder + "/kernel.npz", scipy.sparse.csr_matrix(kernel))
    >>> river_route.read_hillslope(folder + "/kernel.npz", river_route.read_network(folder), dt="1h").values
    array([[0.75, 0.25],
           [1.  , 0.  ]])
    """
    files = resolve(path, "hillslope")
    if not files:
        raise FileNotFoundError(f"no unit hydrographs of river-route (uh_kernel_file) in {path}: name the file")
    kernel = _kernel(files[0])
    rivers = dataset_of(network)
    if rivers is None or ROW not in rivers.variables or ROWS not in rivers.attrs:
        raise AlignmentError(
            f"{files[0]} names no ids (its order is that of the network's table): give {argument('network')}, the Dataset of "
            "xroute.io.river_route.read_network"
        )
    if kernel.shape[1] != rivers.attrs[ROWS]:
        rows = rivers.attrs[ROWS]
        raise AlignmentError(f"{files[0]} has {kernel.shape[1]} rivers, and the table of the network had {rows} rows")
    step = seconds(dt) if dt is not None else stated_seconds(rivers.attrs, "runoff_step")
    if step is None:
        raise ParameterError(f"the step of {files[0]} is not known: give {argument('dt')}, that of the runoff")
    own = kernel[:, rivers[ROW].to_numpy()].T
    area = own.sum(axis=1) * step
    if not (np.isfinite(own).all() and (own >= 0).all() and (area > 0).all()):
        raise ParameterError(f"{files[0]} holds numbers that are negative or not finite, or rivers without any")
    ids = exact_ids(rivers["reach"].to_numpy(), "network reach")
    coords = {"reach": ids, "area": ("reach", area, {"units": "m2", "long_name": "area of the catchment"})}
    attrs = {"long_name": "unit hydrograph of river-route", "units": "1", "dt": step}
    return xr.DataArray(own * step / area[:, None], coords, ("reach", "ordinate"), "unit_hydrograph", attrs)


def _kernel(file: Path) -> Any:
    """The kernel as float64 [step, river]."""
    import scipy.sparse

    with reading(file, "as unit hydrographs of river-route"):
        return scipy.sparse.load_npz(file).toarray().astype(np.float64)
