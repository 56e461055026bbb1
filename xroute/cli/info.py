"""``xroute info``: what a network is, and what is wrong with it; what other files are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from xroute.cli.common import FILES, READABLE, NetworkOptions, RunoffOptions, network_options, runoff_options, seconds

__all__ = ["info"]


@click.command()
@click.argument("network", type=READABLE)
@click.option("--runoff", type=FILES, multiple=True,
              help="Check that this runoff fits the network: a file or a pattern; may be given more than once.")  # fmt: skip
@runoff_options
@network_options
@click.option("--scheme", help="Routing scheme; by default the one that the network names.")
@click.option("--substeps", type=click.IntRange(min=1), help="Routing steps in a runoff step.")
@click.option("--steps", type=click.IntRange(min=0), help="Steps of the run that memory is estimated for.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
def info(
    network: Path,
    runoff: tuple[str, ...],
    source: RunoffOptions,
    table: NetworkOptions,
    substeps: int | None,
    **others: Any,
) -> None:
    """Say what a file is, what is wrong with it, and what comes next.

    Exit code 1 when a network or runoff has problems.

    NETWORK is a Zarr store, a netCDF file or a table (.csv, .parquet, .gpkg, .shp, ...). Of a file that holds something
    else (runoff, fields on a grid, catchments, weights, discharge, a state) it is said what it holds, and what it is for.
    """
    from xroute.exceptions import XRouteError
    from xroute.inspection import inspect_catchments, inspect_network, inspect_other, inspect_series, kind
    from xroute.io.common import expand_paths

    try:
        dataset = table.open(network)
    except XRouteError:
        report = None if runoff or table.columns else inspect_series(network) or inspect_catchments(network)
        if report is None:
            raise
        click.echo(f"{network}\n{report.text()}")
        return
    step = seconds(source.dt)
    what = kind(dataset)
    if what != "network" and not runoff:
        click.echo(f"{network}\n{inspect_other(dataset, what).text()}")
        return
    array = wrong = None
    if runoff:
        array, wrong = source.open_despite_bounds(expand_paths(list(runoff)))
    if substeps is not None:
        others["substeps"] = substeps
    report = inspect_network(
        dataset, runoff=array, dt=step, missing_downstream=table.missing_downstream, **source.dims, **others
    )
    if wrong is not None:
        report.problems.append(wrong)
    click.echo(f"{network}\n{report.text()}")
    if report.problems:
        sys.exit(1)
