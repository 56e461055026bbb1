"""Values from the reaches of a network onto the grid that it came of, and from that grid to its reaches; lazy stays lazy."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.directions.cells import OWN_NAME, PERIOD
from xroute.exceptions import AlignmentError, NetworkError, some
from xroute.grid_axes import grid_dims
from xroute.ids import exact_ids, positions_of, repeated

__all__ = ["field_of_reaches", "reaches_of_field"]

INDICES = ("y_index", "x_index", "grid_y", "grid_x")
NEAR = 0.01
"""Part of a cell by which coordinates of the same grid may differ, as those that passed through float32 do."""


def field_of_reaches(values: Any, dataset: xr.Dataset, ids: NDArray[Any], fill: Any = None) -> Any:
    """Values on the grid (..., y, x), as `xroute.to_grid` describes it."""
    if isinstance(values, xr.Dataset):
        stand = [n for n, v in values.data_vars.items() if "reach" in v.dims]
        stand = stand or [n for n, v in values.data_vars.items() if _has_reaches(v, ids)]
        if not stand:
            raise AlignmentError(f"none of the variables {some(values.data_vars)} stands on the reaches of the network")
        made = {n: field_of_reaches(values[n], dataset, ids, fill) for n in stand}
        rest = {n: v for n, v in values.data_vars.items() if n not in made}
        return xr.Dataset({**rest, **made}, attrs=values.attrs)
    if not isinstance(values, xr.DataArray):
        raise AlignmentError(f"values on reaches are an xarray.DataArray, not a {type(values).__name__}")
    _check_grid(dataset)
    dim, given = _reaches(values, ids)
    at = positions_of(given, ids)
    twice = repeated(given)
    if (at < 0).any() or twice.size:
        what = f"{int((at < 0).sum())} reaches that the network has not: {some(given[at < 0])}" if (at < 0).any() else (
            f"reaches more than once: {some(twice)}"
        )  # fmt: skip
        raise AlignmentError(f"the values have {what}")
    axes = [_axis(dataset[name], values.dims) for name in ("grid_y", "grid_x")]
    shape = tuple(axis.size for axis in axes)
    cell = dataset["y_index"].values[at] * shape[1] + dataset["x_index"].values[at]
    text = values.dtype.kind in "US"
    empty = fill if fill is not None else "" if text else np.datetime64("NaT") if values.dtype.kind in "mM" else np.nan
    dtype = values.dtype if text or values.dtype.kind in "mM" else np.result_type(values.dtype, empty)

    def spread(block: Any) -> Any:
        field = np.full_like(block, empty, dtype=dtype, shape=(*block.shape[:-1], shape[0] * shape[1]))
        field[..., cell] = block
        return field.reshape(*block.shape[:-1], *shape)

    bare = values.drop_vars([name for name, c in values.coords.items() if dim in c.dims])
    field = xr.apply_ufunc(
        spread, bare, input_core_dims=[[dim]], output_core_dims=[[axis.dims[0] for axis in axes]], keep_attrs=True,
        dask="parallelized", output_dtypes=[dtype],
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": dict(zip([a.dims[0] for a in axes], shape, strict=True))},
    )  # fmt: skip
    field = field.assign_coords({axis.dims[0]: axis for axis in axes})
    reference = dataset.attrs.get("grid_mapping")
    if reference in dataset.coords:
        field = field.assign_coords({reference: dataset[reference].variable}).assign_attrs(grid_mapping=reference)
    field.name = values.name
    return field


def reaches_of_field(field: xr.DataArray, dataset: xr.Dataset) -> xr.DataArray:
    """A field of the grid on the reaches of the network, as `xroute.to_reaches` describes it."""
    _check_grid(dataset)
    if not isinstance(field, xr.DataArray):
        raise AlignmentError(f"a field is an xarray.DataArray, not a {type(field).__name__}")
    dims = grid_dims(field)
    own = [str(dataset[name].attrs.get(OWN_NAME, name)) for name in ("grid_y", "grid_x")]
    if set(own) <= set(field.dims):
        dims = tuple(own)
    if len(dims) != 2:
        raise AlignmentError(f"the field has no rows and columns: its dimensions are {some(map(str, field.dims))}")
    taken: dict[Hashable, NDArray[np.int64]] = {}
    for dim, name, index in zip(dims, ("grid_y", "grid_x"), ("y_index", "x_index"), strict=True):
        axis = dataset[name]
        if dim not in field.coords:
            raise AlignmentError(f"the field has no coordinate {dim!r}, so that its cells cannot be told")
        where = _positions(axis.values, field[dim].values, axis.attrs.get(PERIOD))
        wanted = where[dataset[index].values]
        if (wanted < 0).any():
            lost = np.unique(dataset[index].values[wanted < 0])
            raise AlignmentError(
                f"the field lacks {lost.size} of the network's {'rows' if name == 'grid_y' else 'columns'} along {dim!r}, at "
                f"{some(axis.values[lost], 3)}: it is on another grid, or a part of it. Weights bring other grids to the reaches"
            )
        taken[dim] = wanted
    shape = tuple(field.sizes[dim] for dim in dims)
    cell = np.ravel_multi_index(tuple(taken.values()), shape)
    bare = field.drop_vars([n for n, c in field.coords.items() if set(c.dims) & set(dims)])
    found = xr.apply_ufunc(
        lambda block: block.reshape(*block.shape[:-2], -1)[..., cell], bare, input_core_dims=[list(dims)],
        output_core_dims=[["reach"]], keep_attrs=True, dask="parallelized", output_dtypes=[field.dtype],
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": {"reach": cell.size}},
    )  # fmt: skip
    found.name = field.name
    return found.assign_coords(reach=dataset["reach"].variable)


def _check_grid(dataset: xr.Dataset) -> None:
    lacking = [name for name in INDICES if name not in dataset.variables]
    if lacking:
        raise NetworkError(
            f"the network has no grid that its reaches are cells of: it lacks {some(lacking)}. Network.from_d8, from_nextxy and "
            "from_edges(grid=) make such networks"
        )


def _axis(coordinate: xr.DataArray, taken: tuple[Hashable, ...]) -> xr.DataArray:
    """A coordinate of the grid under its own name."""
    attrs = {name: value for name, value in coordinate.attrs.items() if name not in (OWN_NAME, PERIOD)}
    name = str(coordinate.attrs.get(OWN_NAME, coordinate.name))
    if name in taken:
        raise AlignmentError(f"the values have a dimension {name!r} besides the reach, as the grid has: rename it")
    return xr.DataArray(coordinate.values, dims=name, attrs=attrs)


def _positions(wanted: NDArray[Any], given: NDArray[Any], period: float | None) -> NDArray[np.int64]:
    """Positions of coordinate values among others, to a part of their spacing; -1 where there is none."""
    wanted, given = np.asarray(wanted, np.float64), np.asarray(given, np.float64)
    if period is not None:
        wanted, given = wanted % period, given % period
    order = np.argsort(given, kind="stable")
    among = given[order]
    steps = np.diff(np.sort(wanted))
    slack = NEAR * float(steps[steps > 0].min(initial=1.0 if not (steps > 0).any() else np.inf))
    best = np.full(wanted.size, -1, np.int64)
    for shift in (0.0,) if period is None else (0.0, -period, period):
        near = np.clip(np.searchsorted(among, wanted + shift), 1, max(among.size - 1, 1))
        for candidate in (near - 1, np.minimum(near, among.size - 1)):
            hit = np.abs(among[candidate] - wanted - shift) <= slack
            best[hit] = order[candidate[hit]]
    return best


def _has_reaches(values: xr.DataArray, ids: NDArray[Any]) -> bool:
    try:
        _reaches(values, ids)
    except AlignmentError:
        return False
    return True


def _reaches(values: xr.DataArray, ids: NDArray[Any]) -> tuple[Hashable, NDArray[Any]]:
    """The reach dimension of values, and the ids along it."""
    if "reach" in values.dims and "reach" in values.coords:
        return "reach", exact_ids(values["reach"].values, "reach of the values", AlignmentError)
    # most of them first, and indexes before names: members and steps may be counted with numbers that are ids, too
    fitting = [c for c in values.coords.values() if c.ndim == 1 and c.dtype.kind in "iuU" and c.size]
    for coordinate in sorted(fitting, key=lambda c: (-c.size, c.name != c.dims[0])):
        found = exact_ids(coordinate.values, str(coordinate.name), AlignmentError)
        if (positions_of(found, ids) >= 0).all():
            return coordinate.dims[0], found
    raise AlignmentError(
        f"no dimension of the values bears ids of the network's reaches: they have {some(map(str, values.dims))}; give them the "
        "coordinate 'reach'"
    )
