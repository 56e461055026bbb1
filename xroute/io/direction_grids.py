"""Direction grids to networks and back: `xroute convert` and `xroute export`, each with `d8` and `nextxy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import XRouteError, some
from xroute.files.opening import existing, open_dataset
from xroute.grid_axes import grid_dims
from xroute.io import cama_flood, d8
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.io.writer import Outgoing, Writer
from xroute.network import Network
from xroute.settings import CONVENTION, MISSING_DOWNSTREAM
from xroute.wording import argument

__all__ = ["D8", "D8_WRITER", "NEXTXY", "NEXTXY_WRITER"]


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
    sources: Sequence[Path], wanted: Sequence[Product], /, *, bounds: str | None, outflw: Sequence[Path], start: str | None,
    dt: float | None, **others: Any,
) -> Setup:  # fmt: skip
    if "discharge" in wanted and not outflw:
        raise NothingToRead(f"the discharge of CaMa-Flood is in files of their own: name them, {argument('outflw')}")
    edges: Any = None if bounds is None else bounds.split(",")
    network = Network.from_nextxy(_one(sources), bounds=edges, **others)
    if "discharge" not in wanted:
        return Setup(network.dataset)
    return Setup(network.dataset, discharge=cama_flood.read_discharge(outflw, network, start=start, dt=dt).to_dataset())


def _write_maps(outgoing: Outgoing, folder: Path, /, *, name: str) -> None:
    assert outgoing.network is not None
    cama_flood.write_network(outgoing.network, folder)
    if outgoing.discharge is not None:
        cama_flood.write_discharge(outgoing.discharge, folder / f"o_outflw{name}.nc", outgoing.network)


def _write_d8(outgoing: Outgoing, folder: Path, /, *, convention: Any) -> None:
    assert outgoing.network is not None
    d8.write_network(outgoing.network, folder / "directions.nc", convention=convention)


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
    patterns=("nextxy.bin", "params.txt", "*.ctl", "*.bin"),
    products=("network", "discharge"),
    options=[
        ReaderOption("nx", "Columns of a binary map without params.txt.", "count"),
        ReaderOption("ny", "Rows of it.", "count"),
        ReaderOption("bounds", "Its edges in degrees: WEST,SOUTH,EAST,NORTH."),
        ReaderOption(
            "missing_downstream", "Next cells that are not on the map: an error, or outlets of it.",
            choices=MISSING_DOWNSTREAM, default="raise",
        ),
        ReaderOption("outflw", "File of CaMa-Flood's discharge: o_outflw*.nc, outflw*.bin or a .ctl.", "file", several=True),
        ReaderOption("start", "Start of the first step of binary discharge, such as 2001-01-01."),
        ReaderOption("dt", "Length of its steps (seconds, or e.g. 1D).", "step"),
    ],
)
D8_WRITER = Writer(
    "Write a network of cells as a grid of flow directions (directions.nc).",
    write=_write_d8,
    products=("network",),
    options=(ReaderOption("convention", "What the numbers mean.", choices=tuple(CONVENTION), default="esri"),),
)
NEXTXY_WRITER = Writer(
    "Write the maps of CaMa-Flood (nextxy.bin, params.txt, rivlen.bin, ...) and its discharge (o_outflwNAME.nc).",
    write=_write_maps,
    products=("network", "discharge"),
    needs=(("discharge", ("network",)),),
    options=(ReaderOption("name", "What the discharge is called after.", default="_xroute"),),
)
