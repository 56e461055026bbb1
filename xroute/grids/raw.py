"""What tables of weights have in common, whoever made them: positions or ids of cells, areas or parts of catchments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, some
from xroute.grid_axes import grid_dims
from xroute.grids.check import unit_ids
from xroute.grids.form import OVERLAP, grid_identity, weights_dataset
from xroute.grids.opening import open_table
from xroute.ids import distinct, exact_ids, positions_of, repeated, within
from xroute.network import Network
from xroute.network_files import open_any
from xroute.units import to_si
from xroute.wording import phrase

__all__ = ["Raw", "column", "finish"]

Ids = NDArray[Any]
Areas = tuple[Ids, NDArray[np.float64]]
"""Ids, and their areas [m2]."""


@dataclass(frozen=True, eq=False)
class Raw:
    """A table of weights as it was found.

    Attributes
    ----------
    owner : [overlap]
        Id of the catchment that each overlap is of.
    catchment : [catchment]
        Ids of all catchments, in the table's order.
    index : tuple of int [overlap]
        Positions of cells along the grid's dimensions, from 0; empty where cells are named by ``cell_id``.
    cell_id : [overlap]
        Ids of cells, of a model whose units are no grid.
    area, part : float [overlap] or None
        Area of the overlap [m2], or the part of the catchment that it is.
    cell_area : float [overlap] or None
        Area of the whole cell [m2].
    centre : tuple of float [overlap] or None
        Where the table says that cells are: latitude and longitude, or y and x.
    catchment_area : float [catchment] or None
        Areas of the catchments [m2].
    attrs
        What it says of itself, and of its grid.
    """

    owner: Ids
    catchment: Ids
    index: tuple[NDArray[Any], ...] = ()
    cell_id: Ids | None = None
    area: NDArray[Any] | None = None
    part: NDArray[Any] | None = None
    cell_area: NDArray[Any] | None = None
    centre: tuple[NDArray[Any], NDArray[Any]] | None = None
    catchment_area: NDArray[Any] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def take(self, kept: Any) -> Raw:
        """Some of the overlaps."""
        def of(values: Any) -> Any:
            return None if values is None else values[kept]

        return replace(
            self, owner=self.owner[kept], index=tuple(i[kept] for i in self.index), cell_id=of(self.cell_id), area=of(self.area),
            part=of(self.part), cell_area=of(self.cell_area),
            centre=None if self.centre is None else (self.centre[0][kept], self.centre[1][kept]),
        )  # fmt: skip


def column(table: Any, *names: str) -> str | None:
    """Name of the first of some columns or variables that a table has, in capitals or not."""
    by_name = {str(name).lower(): str(name) for name in (table.columns if isinstance(table, pd.DataFrame) else table.variables)}
    return next((by_name[name] for name in names if name in by_name), None)


def finish(raw: Raw, grid: xr.DataArray | xr.Dataset | None, areas: Any, segments: Any, source: str) -> xr.Dataset:
    """Make the Dataset of weights of a table.

    Parameters
    ----------
    raw
        The table.
    grid, areas, segments
        As `xroute.grids.read_weights` has them.
    source
        Whose table it is, for messages.
    """
    if raw.cell_id is not None:
        raw = _by_position(raw, grid, source)
        attrs = dict(raw.attrs)
    else:
        attrs = {**raw.attrs, **_identity(raw, grid)}
    if raw.area is None:
        raw = _with_areas(raw, areas, segments, source)
    assert raw.area is not None
    raw = raw.take(np.flatnonzero(raw.area != 0))  # what stands for a catchment without cells
    if segments is not None:
        raw = _to_segments(raw, segments)
    made = weights_dataset(
        raw.owner, raw.index, raw.area if raw.area is not None else np.zeros(0), catchment=raw.catchment,
        catchment_area=raw.catchment_area, cell_area=raw.cell_area, attrs=attrs,
    )  # fmt: skip
    if raw.centre is not None and len(raw.index) == 2:
        for name, values, says in zip(("cell_y", "cell_x"), raw.centre, ("first", "second"), strict=True):
            says = f"where the cell is along the grid's {says} dimension, as its table has it"
            made[name] = OVERLAP, np.asarray(values, float), {"long_name": says}
    if raw.cell_id is not None:
        made["cell_id"] = OVERLAP, raw.cell_id, {"long_name": "id of the cell"}
    return made


def _identity(raw: Raw, grid: xr.DataArray | xr.Dataset | None) -> dict[str, Any]:
    """What is known of the grid, if it is given."""
    if grid is None:
        return {}
    dims = grid_dims(grid if isinstance(grid, xr.DataArray) else _a_field(grid))
    if len(dims) != len(raw.index):
        raise AlignmentError(
            f"the table names cells along {len(raw.index)} dimensions, and the grid has {some(dims) if dims else 'none'} of "
            f"{some(grid.dims)}"
        )
    return grid_identity(grid, dims)


def _a_field(grid: xr.Dataset) -> xr.DataArray:
    fields = [grid[n] for n in grid.data_vars if grid_dims(grid[n])]
    if not fields:
        raise AlignmentError(f"no variable of the grid stands on one: {some(grid.data_vars)}")
    return fields[0]


# ── cells that are named by ids ───────────────────────────────────────────────────────────────────────────────────────


def _by_position(raw: Raw, grid: xr.DataArray | xr.Dataset | None, source: str) -> Raw:
    """The table with positions of its cells, which the ids along a dimension of the grid tell."""
    assert raw.cell_id is not None
    if grid is None:
        raise ParameterError(
            f"{source} names the units of a model by id: give grid={phrase('weights table', '')} its runoff, whose ids tell "
            "their positions"
        )
    dim, ids = unit_ids(grid, raw.cell_id)
    position = positions_of(raw.cell_id, ids)
    needed = (raw.area if raw.area is not None else raw.part if raw.part is not None else np.ones(1)) != 0
    lacking = distinct(raw.cell_id[(position < 0) & needed])
    if lacking.size:
        raise AlignmentError(f"{lacking.size} units that {source} names are not on {dim!r} of the grid: {some(lacking)}")
    return replace(
        raw, index=(position,), attrs={**raw.attrs, "grid_dims": str(dim), "grid_sizes": [int(grid.sizes[dim])]}
    )


# ── areas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def areas_by_id(areas: Any) -> Areas:
    """Areas [m2] by id, of whatever holds them: a network, or the path of one; a series; a DataArray; or mizuRoute's topology."""
    if isinstance(areas, str | os.PathLike):
        areas = open_any(areas)
    if isinstance(areas, Network):
        areas = areas.dataset
    if isinstance(areas, xr.Dataset):
        name, ids = column(areas, "area", "catchment_area"), column(areas, "hruid", "hru_id", "polyid", "reach", "comid")
        if name is None or ids is None:
            raise ParameterError(f"areas are a variable 'area' with units, by id; there are {some(areas.variables)}")
        return exact_ids(areas[ids].values, f"areas {ids!r}", AlignmentError), to_si(areas[name], "m2", "area")
    if isinstance(areas, pd.Series):
        return exact_ids(areas.index.to_numpy(), "areas", AlignmentError), areas.to_numpy(float)
    if isinstance(areas, xr.DataArray) and areas.ndim == 1 and areas.dims[0] in areas.coords:
        return exact_ids(areas[areas.dims[0]].values, "areas", AlignmentError), to_si(areas, "m2", "areas")
    if isinstance(areas, Mapping):
        return exact_ids(list(areas), "areas", AlignmentError), np.array(list(areas.values()), float)
    raise ParameterError(
        f"areas are a network, or the path of one, a DataArray or Series by id, or a dict, not a {type(areas).__name__}"
    )


def _with_areas(raw: Raw, areas: Any, segments: Any, source: str) -> Raw:
    """The table with areas of overlaps, made of the parts that they are of catchments."""
    assert raw.part is not None
    whole = raw.catchment_area
    if areas is not None or whole is None:
        if areas is None and segments is not None:
            areas = segments if not isinstance(segments, Mapping) or isinstance(segments, xr.Dataset) else None
        if areas is None:
            raise ParameterError(
                f"{source} says which part of a catchment lies in a cell, and not how large catchments are: give "
                f"areas={phrase('weights table', '')} a network with 'area', or areas by id"
            )
        ids, sizes = areas_by_id(areas)
        at = positions_of(raw.catchment, ids)
        lacking = raw.catchment[at < 0]
        if lacking.size:
            raise AlignmentError(f"{lacking.size} catchments of {source} have no area: {some(lacking)}")
        whole = sizes[at]
    bad = ~(np.isfinite(whole) & (whole >= 0))
    if bad.any():
        raise ParameterError(f"areas are NaN, infinite or negative for {int(bad.sum())} catchments: {some(raw.catchment[bad])}")
    return replace(raw, area=raw.part * whole[positions_of(raw.owner, raw.catchment)], catchment_area=whole)


# ── catchments that drain to reaches of other ids ─────────────────────────────────────────────────────────────────────


def _to_segments(raw: Raw, segments: Any) -> Raw:
    """The table of the segments that catchments drain to: several to one, or one to several by fractions."""
    unit, segment, fraction = _segment_rows(segments)
    wanted = within(unit, raw.catchment)
    unit, segment, fraction = unit[wanted], segment[wanted], fraction[wanted]
    lacking = raw.catchment[~within(raw.catchment, unit)]
    if lacking.size:
        raise AlignmentError(f"{lacking.size} catchments drain to no segment of the table: {some(lacking)}")
    sums = np.bincount(positions_of(unit, raw.catchment), fraction, raw.catchment.size)
    wrong = raw.catchment[np.abs(sums - 1) > 1e-6]
    if wrong.size:
        raise ParameterError(
            f"fractions of {wrong.size} catchments do not sum up to one over the segments that they drain to: {some(wrong)}"
        )
    # each overlap once for each segment that its catchment drains to
    order = np.argsort(positions_of(unit, raw.catchment), kind="stable")
    unit, segment, fraction = unit[order], segment[order], fraction[order]
    count = np.bincount(positions_of(unit, raw.catchment), minlength=raw.catchment.size)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    owner = positions_of(raw.owner, raw.catchment)
    row = np.repeat(first[owner] - np.concatenate([[0], np.cumsum(count[owner])[:-1]]), count[owner])
    row = row + np.arange(row.size) if row.size else row.astype(np.int64)
    taken = raw.take(np.repeat(np.arange(owner.size), count[owner]))
    reaches = segment[np.sort(np.unique(segment, return_index=True)[1])]
    whole = None
    if raw.catchment_area is not None:
        of_unit = raw.catchment_area[positions_of(unit, raw.catchment)] * fraction
        whole = np.bincount(positions_of(segment, reaches), of_unit, reaches.size)
    assert taken.area is not None
    return replace(taken, owner=segment[row], area=taken.area * fraction[row], catchment=reaches, catchment_area=whole)


def _segment_rows(segments: Any) -> tuple[Ids, Ids, NDArray[np.float64]]:
    """Catchment, segment and fraction, row by row, of a table of them."""
    if isinstance(segments, str | os.PathLike):
        segments = open_table(segments)
    unit: Any
    segment: Any
    if isinstance(segments, Mapping) and not isinstance(segments, xr.Dataset):
        unit, segment, fraction = list(segments), list(segments.values()), None
    else:
        names = (
            column(segments, "hruid", "hru_id", "polyid", "hru"),
            column(segments, "hrutosegid", "hrusegid", "segid", "seg_id", "segment", "reach"),
        )
        if names[0] is None or names[1] is None:
            raise ParameterError(
                "segments are a table of catchments and the segments that they drain to (hruId, hruToSegId), or a dict, and "
                "where one drains to several the fractions (fraction)"
            )
        share = column(segments, "fraction", "weight")
        unit, segment = (np.asarray(segments[name]) for name in names)
        fraction = None if share is None else np.asarray(segments[share], float)
    unit = exact_ids(unit, "segments: catchments", AlignmentError)
    segment = exact_ids(segment, "segments", AlignmentError)
    if unit.size != segment.size:
        raise ParameterError(f"segments: {unit.size} catchments and {segment.size} segments")
    if fraction is None:
        twice = repeated(unit)
        if twice.size:
            raise ParameterError(
                f"{twice.size} catchments drain to several segments, and the table has no fractions: {some(twice)}"
            )
        fraction = np.ones(unit.size)
    return unit, segment, fraction
