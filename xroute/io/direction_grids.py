"""Convert direction grids to networks: `xroute convert d8` and `xroute convert nextxy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import XRouteError, some
from xroute.files.opening import existing, open_dataset
from xroute.grid_axes import grid_dims
from xroute.io.reader import Product, Reader, ReaderOption, Setup
from xroute.network import Network
from xroute.settings import CONVENTION, MISSING_DOWNSTREAM
from xroute.wording import argument

__all__ = ["D8", "NEXTXY"]


def _one(sources: Sequence[Path]) -> Path:
    if len(sources) != 1:
        raise XRouteError(
            f"one grid makes a network, not {len(sources)}: join them first, e.g. with xarray.combine_by_coords"
        )
    return existing(sources[0])


def _d8(
    sources: Sequence[Path], wanted: Sequence[Product], /, *, variable: str | None, convention: Any, nodata: Sequence[float],
    crs: str | None,
) -> Setup:  # fmt: skip
    path = _one(sources)
    with open_dataset(path) as dataset:
        fields = [str(n) for n, v in dataset.data_vars.items() if len(grid_dims(v)) == 2]
        if variable is None and len(fields) != 1:
            raise XRouteError(
                f"{path} has {len(fields)} fields ({some(fields)}): name the directions, {argument('variable')}"
            )
        if variable is not None and variable not in dataset.variables:
            raise XRouteError(f"{path} has no variable {variable!r}; it has {some(dataset.data_vars)}")
        direction: xr.DataArray = dataset[variable or fields[0]].load()
    return Setup(Network.from_d8(direction, convention=convention, nodata=nodata or None, crs=crs).dataset)


def _nextxy(
    sources: Sequence[Path], wanted: Sequence[Product], /, *, bounds: str | None, **others: Any
) -> Setup:  # fmt: skip
    edges: Any = None if bounds is None else bounds.split(",")
    return Setup(Network.from_nextxy(_one(sources), bounds=edges, **others).dataset)


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    return {"grid": folder}


D8 = Reader(
    "Convert a grid of flow directions to a network, a reach a cell: netCDF or Zarr with coordinates.",
    read=_d8,
    find=_find,
    patterns=("zarr.json", ".zgroup", ".zattrs"),
    products=("network",),
    options=[
        ReaderOption("variable", "Variable with the directions, when there are several fields."),
        ReaderOption(
            "convention", f"What the numbers mean: {', '.join(CONVENTION)}; esri is HydroSHEDS' and MERIT Hydro's.",
            default="esri",
        ),
        ReaderOption("nodata", "Number of what is no cell.", "number", several=True),
        ReaderOption("crs", "Coordinate system, when the grid does not say it, such as EPSG:3035."),
    ],
)
NEXTXY = Reader(
    "Convert maps of CaMa-Flood to a network: a folder with nextxy.bin, that file, or netCDF with nextx and nexty.",
    read=_nextxy,
    find=_find,
    patterns=("nextxy.bin", "params.txt"),
    products=("network",),
    options=[
        ReaderOption("nx", "Columns of a binary map without params.txt.", "count"),
        ReaderOption("ny", "Rows of it.", "count"),
        ReaderOption("bounds", "Its edges in degrees: WEST,SOUTH,EAST,NORTH."),
        ReaderOption(
            "missing_downstream", "Next cells that are not on the map: an error, or outlets of it.",
            choices=MISSING_DOWNSTREAM, default="raise",
        ),
    ],
)
