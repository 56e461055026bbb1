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

#: What `convert rapid` may read of a folder beside RAPID's own names, and so must not write over.
RAPID_INPUTS = ("*.parquet", "Q*.nc*", "coords*.csv")


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
@click.option("--state", "state_output", type=READABLE, help="Write the initial state here (.zarr or .nc).")
@click.option("--state-file", type=READABLE, help="Initial flow (Qinit, Q00), when the namelist does not name it.")
@click.option("--namelist", type=READABLE, help="RAPID's namelist, when SOURCE has several or none.")
@click.option("--coordinates", type=READABLE, help="Table of id, lon, lat, when it has an unusual name.")
@click.option("--variable", help="Runoff variable.  [default: m3_riv; RAPID2: Qext]")
@click.option("--dt", help="Runoff step (seconds, or e.g. 3h), when neither file nor namelist tells.")
@click.option("--dt-routing", help="Routing step (seconds, or e.g. 15min), when no namelist tells.")
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
    state_output: Path | None,
    state_file: Path | None,
    namelist: Path | None,
    coordinates: Path | None,
    variable: str | None,
    dt: str | None,
    dt_routing: str | None,
    start: str | None,
) -> None:
    """Convert RAPID or RAPID2: a folder (RAPID: or several, one a region), a connectivity file, or RAPID2's namelist."""
    from xroute.io.rapid.folder import PATTERNS
    from xroute.io.rapid_setup import find_setup, read_setup

    outputs = check_outputs(network_output, runoff_output, state_output, overwrite=overwrite, needed=True)
    step = seconds(dt)
    read = (*source, *runoff_file, k_file, x_file, basin_ids, namelist, coordinates, state_file)
    beside = () if runoff_file else [s.parent for s in source if not s.is_dir()]
    protect(files_within((*read, *beside), *PATTERNS.values(), RAPID_INPUTS), outputs)
    for folder in source:
        if folder.is_dir():
            found = find_setup(folder, namelist)
            click.echo(f"{folder}: " + ", ".join(f"{role} {path.name}" for role, path in found.items()))
    setup = read_setup(
        source, k=k_file, x=x_file, basin_ids=basin_ids, namelist=namelist, coordinates=coordinates, routing_step=dt_routing,
        runoff=runoff_output is not None and (runoff_file or True), variable=variable, dt=step,
        start=start, state=state_output is not None and (state_file or True),
    )  # fmt: skip
    _check(setup.network)
    made = zip((setup.network, setup.runoff, setup.state), outputs, strict=True)
    save([(dataset, path) for dataset, path in made if dataset is not None], overwrite)


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
