"""`remap`: runoff on a grid becomes runoff of catchments, with its labels, and as lazily as it came."""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from xroute.attrs import append_history
from xroute.engine.arrays import compute_type
from xroute.exceptions import AlignmentError, ParameterError, UnitsError, one_of, some, warn
from xroute.grids.apply import Product, Steps, outer_axes
from xroute.grids.check import find_spatial_dims
from xroute.grids.form import check_weights
from xroute.grids.table import Table, table_of
from xroute.request import WeightsLike
from xroute.settings import GRID_NAN, REMAP_TO, GridNaN, RemapTo
from xroute.units import ACCEPTED, DISCHARGE_UNITS, is_quantity, require_array, runoff_units

__all__ = ["as_weights", "remap", "remap_table"]


def remap(
    grid: xr.DataArray,
    weights: WeightsLike,
    *,
    to: RemapTo = "volume",
    nan: GridNaN = "raise",
    reach_chunks: int | None = None,
) -> xr.DataArray:
    """Bring runoff from the cells of a grid to the catchments of reaches.

    Parameters
    ----------
    grid : (latitude, longitude, ...) or (cell, ...)
        Runoff on the grid that the weights are of, its dimensions in any order; in memory (numpy or cupy), opened lazily, or on
        Dask in any chunks. Units: a depth per time (``mm d-1``, ``kg m-2 s-1``) or per step (``mm``), also one that
        accumulates; or a volume flux (``m3 s-1``) or a volume (``m3``) of each cell.
    weights
        A Dataset of `xroute.grid_weights` or `xroute.grids.read_weights`, or the path of one, or of another system's table.
    to
        ``"volume"``: a depth times the areas in the catchment becomes a volume flux in ``m3 s-1``, or a volume in ``m3`` per
        step; a cell's own volume is shared out by the parts of its area. ``"mean"``: the mean over the area of the catchment
        that cells cover, in the grid's own units.
    nan
        Cells that are NaN, as those of sea are: ``"raise"`` an error; take them as no water, ``"zero"``; or take
        their part from the ``"others"``, the other cells of the catchment, in each step anew. Infinite values raise always.
    reach_chunks
        Of a grid on Dask, how many reaches a chunk of the result has; by default all, unless chunks would be larger than 128 MiB.

    Returns
    -------
    xarray.DataArray
        Runoff (..., reach, ...), with ``reach`` in place of the grid's, where the first of these stood; in the order of the
        weights' catchments. All other dimensions and coordinates, the name and the attributes are kept, but for units.
        float32 for float32 (sums are made in float64), else float64. As lazy as ``grid``: on Dask in its chunks of the
        other dimensions; of what was opened lazily only those steps are read that are asked for, and only the chunks in
        which catchments have cells. Catchments in which no cell lies have no volume, and NaN for a mean, and a warning
        names them.

    Raises
    ------
    AlignmentError
        For another grid than the weights'.
    UnitsError
        For units that are those of no runoff, if volumes are asked for; and for the mean of volumes.
    ParameterError
        For weights that are none, for options that there are not; and for volumes of cells, if the weights do not say how large
        cells are (``cell_area``).
    XRouteError
        For NaN and infinite values, naming the worst catchments and the first step; where the grid is lazy, when it is computed.

    Notes
    -----
    With areas A of the overlaps of a catchment with cells of depth h, the volume is the sum of A h, and the mean that over the
    sum of A (first-order conservative remapping: Jones, 1999, doi:10.1175/1520-0493(1999)127<2204:FASOCR>2.0.CO;2).
    Water is conserved to the rounding of float64; the result has the same bits for any order of dimensions, and any chunks.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xroute
    >>> from xroute.grids.form import grid_identity, weights_dataset
    >>> grid = xr.DataArray([[1.0, 3.0]], {"lat": [50.5], "lon": [7.5, 8.5]}, name="ro", attrs={"units": "mm s-1"})
    >>> cells = np.array([0, 0]), np.array([0, 1])
    >>> weights = weights_dataset(
    ...     np.array([7, 7]), cells, np.array([1e6, 2e6]), catchment=np.array([7]), attrs=grid_identity(grid, ("lat", "lon"))
    ... )
    >>> xroute.remap(grid, weights).values
    array([7000.])
    >>> xroute.remap(grid, weights, to="mean").item()
    2.3333333333333335
    """
    weights = as_weights(weights)
    return _remap(grid, weights, table_of(weights), to, nan, reach_chunks)


def remap_table(
    grid: xr.DataArray, weights: xr.Dataset, table: Table, nan: GridNaN, *, blank: bool = False
) -> xr.DataArray:
    """`remap` to volumes, of the catchments of a table in its order; those without overlaps have none.

    ``blank`` reads no values: all are zero, for the sake of their labels.
    """
    return _remap(grid, weights, table, "volume", nan, None, quiet=True, blank=blank)


def as_weights(weights: Any) -> xr.Dataset:
    """Weights, or those of the file at a path."""
    if isinstance(weights, str | os.PathLike):
        from xroute.grids.foreign import read_weights

        return read_weights(weights)
    check_weights(weights)
    assert isinstance(weights, xr.Dataset)
    return weights


def _remap(
    given: xr.DataArray, weights: xr.Dataset, table: Table, to: RemapTo, nan: GridNaN, reach_chunks: int | None,
    quiet: bool = False, blank: bool = False,
) -> xr.DataArray:  # fmt: skip
    one_of("to", to, REMAP_TO)
    one_of("nan", nan, GRID_NAN)
    if reach_chunks is not None and (isinstance(reach_chunks, bool) or not isinstance(reach_chunks, int) or reach_chunks < 1):
        raise ParameterError(f"reach_chunks is a positive whole number or None, not {reach_chunks!r}")
    grid = require_array(given, "grid")
    compute_type(grid.dtype)  # for its error: what are no numbers cannot be summed
    dims = find_spatial_dims(grid, weights)
    shared, factor, units = _meaning(grid, table, to)
    product = Product.of(table, shared=shared, mean=to == "mean", factor=factor, nan=nan)
    dry = table.ids[table.counts == 0]
    if dry.size and not quiet:
        what = "have no volume" if to == "volume" else "are NaN"
        warn(f"{dry.size} catchments have no cell of the grid, and {what}: {some(dry)}")
    variable = _blank(grid, dims, table) if blank else _variable(grid, dims, product, reach_chunks)
    result = _labelled(grid, dims, product, variable)
    result.name = grid.name
    result.attrs = _attrs(grid, dims, units, f"to {table.n} catchments, {to=}, {nan=}", changed=to == "volume" and not shared)
    return result if blank else _with_pint(result, given)


def _blank(grid: xr.DataArray, dims: tuple[Hashable, ...], table: Table) -> xr.Variable:
    """Zeros by catchment, which take no memory."""
    first = next(d for d in grid.dims if d in dims)
    kept = {d: n for d, n in grid.sizes.items() if d == first or d not in dims}
    sizes = {"reach" if d == first else d: table.n if d == first else n for d, n in kept.items()}
    return xr.Variable(tuple(sizes), np.broadcast_to(np.zeros((), compute_type(grid.dtype)), tuple(sizes.values())))


def _meaning(grid: xr.DataArray, table: Table, to: str) -> tuple[bool, float, Any]:
    """Whether values of cells are shared out, the factor of their units, and the units of the result."""
    units = grid.attrs.get("units")
    stated = isinstance(units, str) and units.strip()
    if to == "mean":
        try:
            volumes = bool(stated) and not runoff_units(str(units)).is_depth
        except UnitsError:  # of no runoff: means of all else are meant
            volumes = False
        if volumes:
            raise UnitsError(
                f"runoff in {units!r} is a volume of each cell, of which there is no mean over an area: share it out with "
                'to="volume"'
            )
        return False, 1.0, units
    if not stated:
        raise UnitsError(
            'the grid has no units, so that its volume is not known: set grid.attrs["units"]. '
            f"{ACCEPTED[0].upper()}{ACCEPTED[1:]}"
        )
    read = runoff_units(str(units))
    if read.is_depth:
        return False, read.in_si, "m3" if read.per_step else DISCHARGE_UNITS
    if table.share is None:
        raise ParameterError(
            f"runoff in {units!r} is a volume of each cell, and the weights do not say how large cells are (cell_area), so that "
            "it cannot be shared out: make them with xroute.grid_weights, or divide the runoff by the areas of the cells"
        )
    return True, 1.0, units


def _variable(grid: xr.DataArray, dims: tuple[Hashable, ...], product: Product, reach_chunks: int | None) -> xr.Variable:
    """Runoff by catchment, in memory or lazy, as the grid is."""
    axes = tuple(grid.dims.index(d) for d in dims)
    outer = tuple(grid.dims[k] for k in outer_axes(grid.ndim, axes))
    labels = tuple(grid[d].values if d in grid.indexes else None for d in outer)
    steps = Steps(outer, labels, (0,) * len(outer))
    new = ["reach" if k == min(axes) else d for k, d in enumerate(grid.dims) if k == min(axes) or k not in axes]
    if grid.chunks is not None:
        from xroute.grids.chunks import remap_chunks  # Dask is imported only where the grid is on it

        return xr.Variable(new, remap_chunks(grid.data, axes, product, steps, reach_chunks))
    if not grid.variable._in_memory:
        from xroute.grids.lazy import lazy_variable

        return lazy_variable(grid, dims, product, steps)
    return xr.Variable(new, product(grid.data, axes, steps))


def _labelled(grid: xr.DataArray, dims: tuple[Hashable, ...], product: Product, variable: xr.Variable) -> xr.DataArray:
    kept = {n: c for n, c in grid.coords.items() if not set(dims) & set(c.dims)}
    if "reach" in kept or "reach" in grid.dims:
        raise AlignmentError("the grid has a coordinate or dimension 'reach' of its own: rename it, or drop_vars('reach')")
    ids = xr.Variable("reach", product.table.ids, {"long_name": "reach id", "cf_role": "timeseries_id"})
    result = xr.DataArray(variable, coords={**kept, "reach": ids})
    result.encoding = variable.encoding
    return result


def _attrs(grid: xr.DataArray, dims: tuple[Hashable, ...], units: Any, what: str, *, changed: bool) -> dict[str, Any]:
    """The grid's attributes, but for what is said of cells; a name that CF has for a depth is none for a volume."""
    gone = {"grid_mapping", "coordinates", "cell_measures", *(("standard_name",) if changed else ())}
    attrs = {n: v for n, v in grid.attrs.items() if n not in gone}
    if units is not None:
        attrs["units"] = units
    line = f"xroute: brought from the grid {' x '.join(map(str, dims))} {what}"
    attrs["history"] = append_history(attrs.get("history"), line)
    return attrs


def _with_pint(result: xr.DataArray, given: xr.DataArray) -> xr.DataArray:
    """The result as a Quantity, if the grid is one."""
    if not is_quantity(given):
        return result
    registry = given.data._REGISTRY
    made = result.copy(deep=False, data=registry.Quantity(result.data, _pint_units(result.attrs["units"])))
    made.attrs = {n: v for n, v in result.attrs.items() if n != "units"}
    return made


def _pint_units(units: str) -> str:
    return {DISCHARGE_UNITS: "meter**3/second", "m3": "meter**3"}.get(units, units)
