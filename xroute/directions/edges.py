"""Networks from pairs of cells of a grid: which drains to which, in whatever order, not to neighbours alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xroute.directions.cells import cell_ids, cell_network
from xroute.directions.raster import make_raster
from xroute.exceptions import NetworkError, some
from xroute.graphs import as_list, dataset_from_links
from xroute.ids import distinct, exact_ids, positions_of, repeated

__all__ = ["dataset_from_edges"]


def dataset_from_edges(
    upstream: Any,
    downstream: Any,
    fraction: Any,
    grid: xr.DataArray | None,
    ids: Any,
    crs: Any,
    attrs: Mapping[str, Any] | None,
) -> xr.Dataset:
    """Network Dataset of pairs, as `xroute.Network.from_edges` describes it."""
    if grid is None:
        if ids is not None:
            raise NetworkError("ids= are of the cells of a grid: give it, grid=")
        return dataset_from_links(upstream, downstream, fraction, attrs=attrs)
    every_end = None
    if ids is None:  # cells are numbered from 0, which marks no outlet here
        numbers = [
            exact_ids(as_list(v, name), name) for v, name in ((upstream, "upstream"), (downstream, "downstream"))
        ]
        every_end = distinct(np.concatenate([numbers[0], numbers[1][numbers[1] >= 0]]))
    links = dataset_from_links(upstream, downstream, fraction, reach=every_end, attrs=attrs)
    field, raster = make_raster(grid, crs, "the grid")
    every = cell_ids(ids, raster, np.arange(field.size))
    if repeated(every).size and ids is not None:
        every = np.where(np.isin(every, repeated(every)), _nobody(every), every)  # what stands for no cell, such as 0 or ""
    own = exact_ids(as_list(links["reach"].values, "reach"), "ids of cells")
    cell = positions_of(own, every)
    if (cell < 0).any():
        raise NetworkError(
            f"{int((cell < 0).sum())} of the pairs' {own.size} cells are not on the grid of {raster.shape[0]} x "
            f"{raster.shape[1]}: {some(own[cell < 0])}. Cells are numbered from 0, row by row, unless ids= says otherwise"
        )
    start, end = (positions_of(links[name].values, own) for name in ("upstream_reach", "downstream_reach"))
    linked = end >= 0
    place = raster.place(*np.divmod(cell, raster.shape[1]))
    length = np.sqrt(raster.areas(*np.divmod(cell, raster.shape[1]))) / 2
    between = raster.distance(
        (place[0][start[linked]], place[1][start[linked]]), (place[0][end[linked]], place[1][end[linked]])
    )
    main = np.full(own.size, -1, np.int64)
    weight = links["fraction"].values if "fraction" in links else np.ones(start.size)
    by_fraction = np.argsort(weight[linked], kind="stable")  # a reach is as long as the way that most of its water takes
    length[start[linked][by_fraction]] = between[by_fraction]
    main[start[linked][by_fraction]] = end[linked][by_fraction]
    source = {"source": f"pairs of cells of a grid of {raster.shape[0]} x {raster.shape[1]}"}
    made = cell_network(raster, cell, main, own, length, {**source, **(attrs or {})})
    if (np.bincount(start, minlength=own.size) > 1).any():  # what parts has no sum of areas along one way
        return xr.merge([made.drop_vars(["downstream", "upstream_area"]), links], combine_attrs="override")
    return made


def _nobody(ids: Any) -> Any:
    return "" if ids.dtype.kind == "U" else int(ids.min()) - 1
