"""What a Dataset of weights is: its names, what it says of the grid that it is of, how it is made and checked.

Weights are a list of overlaps: so much area of such a cell lies in the catchment of such a reach. Cells are named by their
positions along the grid's dimensions, counted from 0, so weights hold for one grid alone, and say which.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.grid_axes import is_column, is_row
from xroute.ids import exact_ids, is_positional, positions_of, repeated, within

__all__ = [
    "CATCHMENT", "INDEX", "OVERLAP", "Identity", "axis_values", "check_weights", "grid_axes", "grid_identity", "identity_of",
    "index_names", "is_weights", "select_weights", "weights_dataset",
]  # fmt: skip

OVERLAP, CATCHMENT = "overlap", "catchment"
INDEX: Mapping[int, tuple[str, ...]] = {1: ("cell",), 2: ("y_index", "x_index")}
"""Variables that hold the positions of cells, by the number of the grid's dimensions."""

_OF_OVERLAP = {
    "reach": {"long_name": "reach whose catchment it is"},
    "y_index": {"long_name": "position of the cell along the grid's first dimension, from 0", "units": "1"},
    "x_index": {"long_name": "position of the cell along the grid's second dimension, from 0", "units": "1"},
    "cell": {"long_name": "position of the cell along the grid's dimension, from 0", "units": "1"},
    "area": {"long_name": "area of the cell within the catchment", "units": "m2", "standard_name": "area"},
    "cell_area": {"long_name": "area of the whole cell", "units": "m2", "standard_name": "cell_area"},
}
_OF_CATCHMENT = {
    "catchment_area": {"long_name": "area of the catchment", "units": "m2"},
    "covered": {"long_name": "part of the catchment that lies on the grid", "units": "1"},
}

Floats = tuple[float, ...]


class Identity(NamedTuple):
    """Which grid weights are of; what is not known is empty.

    Attributes
    ----------
    dims, sizes
        Its spatial dimensions, and their sizes.
    coords
        Names of the coordinates that the others are values of: one for each dimension, or latitude and longitude.
    first, middle, last
        Values of these in the first cell of all, in the middle one, and in the last.
    """

    dims: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    coords: tuple[str, ...] = ()
    first: Floats = ()
    middle: Floats = ()
    last: Floats = ()


def index_names(weights: xr.Dataset) -> tuple[str, ...]:
    """Names of the variables that hold the cells' positions."""
    return next((names for names in INDEX.values() if set(names) <= set(weights.variables)), ())


def is_weights(dataset: xr.Dataset) -> bool:
    """Whether a Dataset is one of weights, by its names."""
    return OVERLAP in dataset.dims and bool(index_names(dataset)) and {"reach", "area"} <= set(dataset.variables)


# ── which grid ────────────────────────────────────────────────────────────────────────────────────────────────────────


def grid_axes(grid: xr.DataArray | xr.Dataset, dims: Sequence[Hashable]) -> tuple[Hashable, ...]:
    """Names of the coordinates that place a grid's cells: rows' and columns'; none where it bears none.

    One along each dimension; of a curvilinear grid, latitude and longitude on both, and perhaps on others along which they
    stay the same (WRF's on time); of cells along one dimension, those two along it. Where there are several, the dimension's
    own goes first, then what says that it is one; counts of rows and columns go last, since they are the same for rows in
    another order.
    """
    numeric = {n: c for n, c in grid.coords.items() if c.dtype.kind in "fiu"}
    if len(dims) == 2:
        along = []
        for dim, says in zip(dims, (is_row, is_column), strict=True):
            own = [n for n, c in numeric.items() if c.dims == (dim,)]
            along.append(next((n for n in own if n == dim), next((n for n in own if says(numeric[n])), None)))
        found = tuple(n for n in along if n is not None)
        counts = [is_positional(grid.coords[n].values) and grid.sizes[d] > 2 for n, d in zip(found, dims, strict=False)]
        if len(found) == 2 and not all(counts):
            return found
    placed = sorted((n for n, c in numeric.items() if set(c.dims) >= set(dims) and c.size), key=lambda n: numeric[n].ndim)
    rows, columns = ([n for n in placed if says(numeric[n])] for says in (is_row, is_column))
    if rows and columns:
        return rows[0], columns[0]
    return found if len(dims) == 2 and len(found) == 2 else ()


def axis_values(grid: xr.DataArray | xr.Dataset, axis: Hashable, dims: Sequence[Hashable]) -> xr.DataArray:
    """A coordinate of `grid_axes` on a grid's own dimensions: along all others it is taken where they begin."""
    coordinate = grid.coords[axis]
    return coordinate.isel({d: 0 for d in coordinate.dims if d not in dims}, drop=True)


def grid_identity(grid: xr.DataArray | xr.Dataset, spatial_dims: Sequence[Hashable]) -> dict[str, Any]:
    """What weights note of the grid that they are made for, as attributes of their Dataset.

    Parameters
    ----------
    grid
        With its coordinates, of which three cells are read.
    spatial_dims
        Its dimensions of rows and columns, in the order of ``y_index`` and ``x_index``, or of cells.

    Returns
    -------
    dict
        ``grid_dims`` (names, a blank between them), ``grid_sizes``; and where it has coordinates ``grid_coords`` (names),
        ``grid_first``, ``grid_middle`` and ``grid_last``: their values in the first, the middle and the last cell.

    Examples
    --------
    >>> import xarray as xr
    >>> grid = xr.DataArray([[0.0, 1.0]], {"lat": [50.5], "lon": [7.5, 8.5]})
    >>> attrs = grid_identity(grid, ("lat", "lon"))
    >>> attrs["grid_dims"], attrs["grid_sizes"], attrs["grid_last"]
    ('lat lon', [1, 2], [50.5, 8.5])
    """
    sizes = [int(grid.sizes[d]) for d in spatial_dims]
    attrs: dict[str, Any] = {"grid_dims": " ".join(map(str, spatial_dims)), "grid_sizes": sizes}
    axes = grid_axes(grid, spatial_dims)
    if not axes or 0 in sizes:
        return attrs
    attrs["grid_coords"] = " ".join(map(str, axes))
    for name, place in (("first", [0] * len(sizes)), ("middle", [n // 2 for n in sizes]), ("last", [n - 1 for n in sizes])):
        cell = dict(zip(spatial_dims, place, strict=True))
        found = (axis_values(grid, axis, spatial_dims) for axis in axes)
        attrs[f"grid_{name}"] = [float(v.isel({d: k for d, k in cell.items() if d in v.dims}).values) for v in found]
    return attrs


def identity_of(attrs: Mapping[Any, Any]) -> Identity:
    """Which grid weights are of, from their attributes (as lists, arrays, or single numbers, which files make of lists)."""

    def numbers(name: str, kind: Any) -> tuple[Any, ...]:
        return tuple(kind(v) for v in np.atleast_1d(attrs[name])) if name in attrs else ()

    def words(name: str) -> tuple[str, ...]:
        return tuple(str(attrs.get(name, "")).split())

    floats = (numbers(f"grid_{name}", float) for name in ("first", "middle", "last"))
    return Identity(words("grid_dims"), numbers("grid_sizes", int), words("grid_coords"), *floats)


# ── the Dataset ───────────────────────────────────────────────────────────────────────────────────────────────────────


def weights_dataset(
    reach: NDArray[Any],
    index: Sequence[NDArray[Any]],
    area: NDArray[Any],
    *,
    catchment: NDArray[Any],
    catchment_area: NDArray[Any] | None = None,
    covered: NDArray[Any] | None = None,
    cell_area: NDArray[Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make the Dataset of weights.

    Parameters
    ----------
    reach : [overlap]
        Id of the reach whose catchment it is. Sums are made in the order of overlaps.
    index : (int [overlap], int [overlap]) or (int [overlap],)
        Position of the cell along the grid's first and second dimension, or along its only one, from 0.
    area : float [overlap]
        Area of the cell within the catchment [m2].
    catchment : [catchment]
        Ids of all catchments, in their order, those included that no cell reaches.
    catchment_area : float [catchment], optional
        Areas of the catchments [m2]; by default what their overlaps sum up to.
    covered : float [catchment], optional
        Part of each that lies on the grid; by default the sum of its overlaps over its area.
    cell_area : float [overlap], optional
        Area of the whole cell [m2].
    attrs
        Such as ``method``, ``title``, ``history``, and those of `grid_identity`.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    AlignmentError
        For reaches that are none of the catchments, and catchments that stand twice.
    ParameterError
        For areas or positions that cannot be.
    """
    ids = exact_ids(catchment, "catchments", AlignmentError)
    owner = exact_ids(reach, "reaches of the overlaps", AlignmentError)
    if owner.dtype.kind != ids.dtype.kind and not owner.size:
        owner = owner.astype(ids.dtype)
    area = np.asarray(area, np.float64)
    sums = np.bincount(np.maximum(positions_of(owner, ids), 0), area, ids.size) if ids.size else np.zeros(0)
    whole = sums if catchment_area is None else np.asarray(catchment_area, np.float64)
    if covered is None:
        covered = np.divide(sums, whole, out=np.zeros(ids.size), where=whole > 0)
    of_overlap = {"reach": owner, **dict(zip(INDEX[len(index)], index, strict=True)), "area": area}
    if cell_area is not None:
        of_overlap["cell_area"] = np.asarray(cell_area, np.float64)
    of_catchment = {"catchment_area": whole, "covered": np.asarray(covered, np.float64)}
    dataset = xr.Dataset(
        {
            **{n: (OVERLAP, v, dict(_OF_OVERLAP[n])) for n, v in of_overlap.items()},
            **{n: (CATCHMENT, v, dict(_OF_CATCHMENT[n])) for n, v in of_catchment.items()},
        },
        {CATCHMENT: (CATCHMENT, ids, {"long_name": "reach id", "cf_role": "timeseries_id"})},
        dict(attrs or {}),
    )
    check_weights(dataset)
    return dataset


def check_weights(weights: Any) -> None:
    """Refuse what is no Dataset of weights, or one that cannot be right.

    Raises
    ------
    ParameterError
        For what is none; areas that are negative or not finite; positions that are no whole numbers, or beyond the sizes of
        the grid that is named.
    AlignmentError
        For overlaps of reaches that are none of the catchments, and catchments that stand twice.
    """
    if not isinstance(weights, xr.Dataset) or not is_weights(weights) or CATCHMENT not in weights.coords:
        got = f"a Dataset of {some(weights.variables)}" if isinstance(weights, xr.Dataset) else f"a {type(weights).__name__}"
        raise ParameterError(
            f"weights are a Dataset of xroute.grid_weights or xroute.grids.read_weights, or the path of one, not {got}"
        )
    ids = exact_ids(weights[CATCHMENT].values, "catchments of the weights", AlignmentError)
    owner = exact_ids(weights["reach"].values, "reaches of the weights", AlignmentError)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} catchments of the weights stand more than once: {some(twice)}")
    if owner.size and not within(owner, ids).all():
        alien = np.unique(owner[~within(owner, ids)])
        raise AlignmentError(
            f"{alien.size} reaches of the weights are none of their catchments: {some(alien)}. "
            "xroute.grids.select_weights takes the weights of some reaches"
        )
    _check_positions(weights)
    for name in ("area", "cell_area"):
        if name in weights:
            values = np.asarray(weights[name].values)
            bad = ~(np.isfinite(values) & (values >= 0))
            if name == "cell_area":
                bad |= values == 0
            if bad.any():
                raise ParameterError(
                    f"{name} of the weights is NaN, infinite or {'negative' if name == 'area' else 'not positive'} in "
                    f"{int(bad.sum())} overlaps, of reaches {some(np.unique(owner[bad]))}"
                )


def _check_positions(weights: xr.Dataset) -> None:
    names, sizes = index_names(weights), identity_of(weights.attrs).sizes
    if sizes and len(sizes) != len(names):
        raise ParameterError(f"weights of a grid of {len(sizes)} dimensions name cells by {' and '.join(names)}")
    for k, name in enumerate(names):
        values = np.asarray(weights[name].values)
        if values.dtype.kind not in "iu" and not (values.dtype.kind == "f" and (values == np.floor(values)).all()):
            raise ParameterError(
                f"{name} of the weights holds positions, and is {values.dtype}, with values such as {some(values[:3])}"
            )
        beyond = (values < 0) | (values >= sizes[k]) if sizes else values < 0
        if beyond.any():
            limit = f"0 to {sizes[k] - 1}" if sizes else "0 and more"
            raise ParameterError(
                f"{name} of the weights is out of range in {int(beyond.sum())} overlaps: {some(np.unique(values[beyond]))}, "
                f"where positions are {limit}"
            )


def select_weights(weights: xr.Dataset, reaches: Iterable[Any]) -> xr.Dataset:
    """Weights of some reaches alone, in their order.

    Parameters
    ----------
    weights
        Weights, as `xroute.grid_weights` makes them.
    reaches : [reach]
        Ids of the reaches.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    AlignmentError
        Naming reaches that have no weights, and those that are named twice.

    Examples
    --------
    >>> import numpy as np
    >>> cells = np.array([0, 1, 1])
    >>> weights = weights_dataset(np.array([7, 7, 9]), [cells], np.array([1.0, 2.0, 3.0]), catchment=np.array([7, 9]))
    >>> select_weights(weights, [9])["cell"].values
    array([1])
    """
    check_weights(weights)
    wanted = exact_ids(reaches if isinstance(reaches, np.ndarray) else list(reaches), "reaches", AlignmentError)
    ids = exact_ids(weights[CATCHMENT].values, "catchments of the weights", AlignmentError)
    at = positions_of(wanted, ids)
    for wrong, problem in ((repeated(wanted), "stand more than once"), (wanted[at < 0], "have no weights")):
        if wrong.size:
            raise AlignmentError(f"{wrong.size} reaches {problem}: {some(wrong)}")
    kept = within(exact_ids(weights["reach"].values, "reaches of the weights", AlignmentError), wanted)
    return weights.isel({CATCHMENT: at, OVERLAP: np.flatnonzero(kept)})
