"""``xroute info``: what a network is, and what is wrong with it; what other files are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import FILES, READABLE, NetworkOptions, RunoffOptions, network_options, runoff_options, seconds

if TYPE_CHECKING:
    from xroute.inspection import Report

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
    else (runoff, fields on a grid, catchments, weights, discharge, scores, a state, a folder of RAPID or the National Water
    Model) it is said what it holds, and what it is for.
    """
    from xroute.exceptions import XRouteError
    from xroute.inspection import inspect_folder, inspect_network, inspect_other, inspect_scores, kind
    from xroute.io.common import expand_paths

    try:
        dataset = table.open(network)
    except XRouteError:
        if network.is_dir() and not runoff and (report := inspect_folder(network)) is not None:
            click.echo(f"{network}\n{report.text()}")
            return
        report = None if runoff or table.columns else _of_table(network)
        if report is None:
            raise
        _tell(network, report)
        return
    step = seconds(source.dt)
    what = kind(dataset)
    if what != "network" and not runoff:
        click.echo(f"{network}\n{(inspect_scores(dataset) if what == 'scores' else inspect_other(dataset, what)).text()}")
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
    _tell(network, report)


def _of_table(path: Path) -> Report | None:
    """Report of a table of which no network can be made; None where it is nothing else that is known."""
    from xroute.inspection import inspect_catchments, inspect_scores_table, inspect_series

    return inspect_scores_table(path) or inspect_series(path) or inspect_catchments(path)


def _tell(path: Path, report: Report) -> None:
    """Print a report; problems make the exit code 1."""
    click.echo(f"{path}\n{report.text()}")
    if report.problems:
        sys.exit(1)
