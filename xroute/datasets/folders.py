"""What makers of whole set-ups share: the tutorial basin with ids as hydrographies have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.basin import tutorial
from xroute.datasets.rivers import number_generator
from xroute.network import Network

__all__ = ["Basin", "invented_basin"]


class Basin(NamedTuple):
    """The tutorial basin in the order that its files have, which means nothing.

    Attributes
    ----------
    rivers
        The network of `tutorial` under other ids, and on ``reach`` ``order`` (Strahler's) and ``upstream_area`` [km2].
    upwards
        Rows of ``rivers`` from the mouth upwards: each stands after the one that it drains to.
    inflow
        ``(time, reach)`` [m3 s-1], the mean of the hour that begins at its time.
    """

    rivers: xr.Dataset
    upwards: NDArray[np.int64]
    inflow: xr.DataArray


def invented_basin(seed: int, first_id: int) -> Basin:
    """`tutorial`'s basin and storms, with ids from ``first_id`` on, and its reaches in no order."""
    network, weather = tutorial(seed)
    rng = number_generator(seed)
    n = network.sizes["reach"]
    ids, rows = first_id + rng.permutation(n), rng.permutation(n)
    below = network["downstream"].to_numpy() - 1  # ids of `tutorial` are 1 ... n, from the mouth upwards
    area = network["area"].to_numpy()
    upstream = area.copy()
    for i in range(n - 1, 0, -1):
        upstream[below[i]] += upstream[i]
    rivers = network.assign(
        downstream=("reach", np.where(below < 0, 0, ids[below])),
        order=("reach", Network(network).strahler.to_numpy()),
        upstream_area=("reach", upstream),
    )
    inflow = weather["runoff"].transpose("time", "reach").astype(np.float64) * area / 3.6  # mm h-1 of km2
    of_file = {"reach": rows}
    return Basin(
        rivers.assign_coords(reach=ids).isel(of_file), np.argsort(rows), inflow.assign_coords(reach=ids).isel(of_file)
    )
