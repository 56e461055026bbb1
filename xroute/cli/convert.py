"""``xroute convert``: files of other systems to Zarr or netCDF. All outputs are written, or none is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import READABLE, check_outputs, files_within, protect, save, seconds

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["convert"]


@click.group()
def convert() -> None:
    """Convert files of other systems to Zarr or netCDF."""


def _outputs(command: Any) -> Any:
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
        click.option("--runoff", "runoff_output", type=READABLE, help="Write the runoff here (.zarr or .nc)."),
        click.option("--network", "network_output", type=READABLE, help="Write the network here (.zarr or .nc)."),
    ):
        command = option(command)
    return command


def _check(network: xr.Dataset) -> None:
    """Refuse a network that nothing could be routed down: one that is empty, or has a cycle."""
    from xroute.exceptions import NetworkError
    from xroute.network import Network

    if not Network(network).n_reaches:
        raise NetworkError(f"the network of {network.attrs.get('source', 'these files')} is empty: it has no reaches")


@convert.command()
@click.argument("source", nargs=-1, required=True, type=READABLE)
@_outputs
@click.option("--k", "k_file", type=READABLE, help="k.csv, when SOURCE is a connectivity file.")
@click.option("--x", "x_file", type=READABLE, help="x.csv, when SOURCE is a connectivity file.")
@click.option("--basin-ids", type=READABLE, help="riv_bas_id.csv, when SOURCE is a connectivity file.")
@click.option("--runoff-file", multiple=True, type=READABLE, help="Runoff file, one a region, under an unusual name.")
@click.option("--variable", default="m3_riv", show_default=True, help="Runoff variable.")
@click.option("--dt", help="Runoff step (seconds, or e.g. 3h), when neither file nor namelist tells.")
@click.option("--start", help="Start of the first step, such as 2002-08-30, when the file has no dates.")
def rapid(
    source: tuple[Path, ...],
    network_output: Path | None,
    runoff_output: Path | None,
    overwrite: bool,
    k_file: Path | None,
    x_file: Path | None,
    basin_ids: Path | None,
    runoff_file: tuple[Path, ...],
    variable: str,
    dt: str | None,
    start: str | None,
) -> None:
    """Convert RAPID: a folder (or several, one a region) or a rapid_connect file."""
    from xroute.io import rapid as reader
    from xroute.io.rapid_files import PATTERNS

    outputs = check_outputs(network_output, runoff_output, overwrite=overwrite, needed=True)
    step = seconds(dt)
    files = list(runoff_file) or [s if s.is_dir() else s.parent for s in source]
    protect(files_within((*source, *files, k_file, x_file, basin_ids), *PATTERNS.values()), outputs)
    for folder in source:
        if folder.is_dir():
            found = reader.find_files(folder)
            click.echo(f"{folder}: " + ", ".join(f"{role} {path.name}" for role, path in found.items()))
    if len(source) == 1:
        network = reader.read_network(source[0], k_file, x_file, basin_ids)
    else:
        network = reader.read_network(list(source), k_file, x_file, basin_ids)
    _check(network)
    datasets = [(network, outputs[0])]
    if outputs[1] is not None:
        runoff = reader.read_runoff(files, network, dt=step, start=start, variable=variable)
        datasets.append((runoff.to_dataset(), outputs[1]))
    save(datasets, overwrite)


@convert.command()
@click.argument("source", nargs=-1, required=True, type=READABLE)
@_outputs
@click.option("--forcing", multiple=True, type=READABLE, help="CHRTOUT files or folder, when not in SOURCE.")
@click.option("--variable", multiple=True, help="Forcing variable; several are added up.")
def nwm(
    source: tuple[Path, ...],
    network_output: Path | None,
    runoff_output: Path | None,
    overwrite: bool,
    forcing: tuple[Path, ...],
    variable: tuple[str, ...],
) -> None:
    """Convert the National Water Model: a folder with RouteLink and CHRTOUT files, or a RouteLink file."""
    from xroute.io import nwm as reader

    outputs = check_outputs(network_output, runoff_output, overwrite=overwrite, needed=True)
    protect(files_within((*source, *forcing), reader.NETWORK_PATTERNS, reader.FORCING_PATTERNS), outputs)
    if source[0].is_dir():
        found = reader.find_files(source[0])
        if "network" in found:
            click.echo(f"{source[0]}: network {found['network'].name}, {len(found.get('forcing', []))} forcing files")
    places: Sequence[Path] = list(forcing) or list(source[1:]) or ([source[0]] if source[0].is_dir() else [])
    if outputs[1] is not None and not places:
        raise click.UsageError("--runoff needs the forcing: --forcing FOLDER, or a SOURCE folder that holds it")
    network = reader.read_network(source[0])
    _check(network)
    datasets = [(network, outputs[0])]
    if outputs[1] is not None:
        files = places[0] if len(places) == 1 else places
        runoff = reader.read_forcing(files, network, variable=variable or None)
        datasets.append((runoff.to_dataset(), outputs[1]))
    save(datasets, overwrite)
