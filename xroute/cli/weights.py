"""``xroute weights``: from a grid and catchments to a file of weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from xroute.cli.common import FILES, READABLE, check_outputs, protect, save
from xroute.settings import EDGES, UNCOVERED, WEIGHT_METHOD

__all__ = ["weights"]


@click.command()
@click.argument("grid", type=FILES)
@click.argument("catchments", type=READABLE)
@click.argument("output", type=READABLE)
@click.option("--method", type=click.Choice(WEIGHT_METHOD), default="area", show_default=True,
              help="Take all cells that a catchment (a polygon) overlaps, by area, or the nearest one (to a point).")  # fmt: skip
@click.option("--variable", metavar="NAME", help="Variable of GRID, where there are several grids.")
@click.option("--reach-column", "reach", metavar="NAME",
              help="Column of CATCHMENTS with the ids of reaches, when its name does not tell.")  # fmt: skip
@click.option("--layer", metavar="NAME", help="Layer of CATCHMENTS, when there are several.")
@click.option("--edges", type=click.Choice(EDGES), default="straight", show_default=True,
              help="What edges of CATCHMENTS are between vertices: straight on their map, or geodesics.")  # fmt: skip
@click.option("--uncovered", type=click.Choice(UNCOVERED), default="raise", show_default=True,
              help="Catchments that lie beyond the grid, or partly so.")  # fmt: skip
@click.option("--crs", metavar="CRS", help="Coordinate system of the grid's x and y, such as EPSG:3035, when GRID names none.")
@click.option("--dims", metavar="ROW,COLUMN", help="Dimensions of the grid, when names and labels do not tell.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option("--progress/--no-progress", default=None, help="Progress bar; by default in a terminal.")
def weights(
    grid: str,
    catchments: Path,
    output: Path,
    dims: str | None,
    overwrite: bool,
    progress: bool | None,
    **options: Any,
) -> None:
    """Make the weights that bring runoff from GRID to CATCHMENTS, into OUTPUT.

    GRID is a netCDF file or a Zarr store with a variable on the grid (of several files, such as 'era5_*.nc', the first is
    looked at). CATCHMENTS are polygons or points (.gpkg, .parquet, .shp, .geojson), or a network with lon and lat, for --method
    nearest. OUTPUT's suffix (.nc or .zarr) says what to write. `xroute route GRID NETWORK OUTPUT --weights WEIGHTS` takes it.
    """
    from xroute.grids.weights import grid_weights
    from xroute.io.common import expand_paths

    outputs = check_outputs(output, overwrite=overwrite)
    paths = expand_paths([grid])
    protect([*paths, catchments], outputs)
    made = grid_weights(
        paths[0], catchments, **options,
        dims=None if dims is None else [name.strip() for name in dims.split(",")],
        progress=sys.stderr.isatty() if progress is None else progress,
    )  # fmt: skip
    save([(made, output)], overwrite)
    area, n = made["catchment_area"], made.sizes["catchment"]
    share = f", {100 * float((made['covered'] * area).sum() / area.sum()):.4g} % of their area on the grid" if area.any() else ""
    click.echo(f"{n:,} catchments{share}")
