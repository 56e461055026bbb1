"""``xroute convert``: files of other systems to Zarr or netCDF, a command for each of `xroute.io.READERS`.

All outputs are written, or none is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import xarray as xr

from xroute.cli.common import READABLE, check_outputs, column_units, files_within, protect, save, seconds
from xroute.cli.told import Group
from xroute.exceptions import NetworkError, ParameterError
from xroute.io import READERS
from xroute.io.reader import NothingToRead, Reader, ReaderOption
from xroute.network import Network
from xroute.parameters import schemes_of
from xroute.placeholders import find_placeholders, how_to_estimate

__all__ = ["convert", "convert_command", "files_of_options", "option_of"]

logger = logging.getLogger("xroute")


@click.group(cls=Group)
def convert() -> None:
    """Convert files of other systems to Zarr or netCDF."""


def convert_command(name: str, reader: Reader) -> click.Command:
    """The command of a reader."""

    def run(source: tuple[Path, ...], overwrite: bool, **given: Any) -> None:
        paths = {product: given.pop(f"{product}_output") for product in reader.products}
        outputs = check_outputs(*paths.values(), overwrite=overwrite, needed=True)
        beside = [path.parent for path in source if not path.is_dir()] if reader.reads_beside(given) else []
        protect(files_within((*source, *files_of_options(reader.options, given), *beside), reader.patterns), outputs)
        for place in source:
            found = reader.find(place, given) if place.is_dir() else reader.names(place)
            protect([path for files in found.values() for path in ([files] if isinstance(files, Path) else files)], outputs)
            if place.is_dir():
                click.echo(f"{place}: " + ", ".join(_told(part, files) for part, files in found.items()))
        wanted = [product for product, path in paths.items() if path is not None]
        try:
            setup = reader.read(source, wanted, **given)
        except NothingToRead as error:
            raise click.UsageError(str(error)) from None
        _check(setup.network)
        _tell(setup.network)
        save([(getattr(setup, product), paths[product]) for product in wanted], overwrite)

    outputs = [
        click.Option([f"--{product}", f"{product}_output"], type=READABLE, help=f"Write the {product} here (.zarr or .nc).")
        for product in reader.products
    ]
    return click.Command(
        name, callback=run, help=reader.summary,
        params=[
            click.Argument(["source"], nargs=-1, required=True, type=READABLE), *outputs,
            click.Option(["--overwrite"], is_flag=True, help="Replace outputs that exist."), *map(option_of, reader.options),
        ],
    )  # fmt: skip


TYPES = {"text": str, "number": float, "count": click.IntRange(min=1), "file": READABLE, "step": str, "units": str, "flag": None}
"""What click makes of an option, by its kind."""


def option_of(option: ReaderOption) -> click.Option:
    """An option of a reader or a writer as click has it."""
    reads = {"step": seconds, "units": column_units}.get(option.kind)
    return click.Option(
        [f"--{option.name.replace('_', '-')}", option.name],
        type=click.Choice(option.choices) if option.choices else TYPES[option.kind],
        is_flag=option.kind == "flag",
        default=False if option.kind == "flag" else option.default,
        show_default=option.default is not None,
        callback=None if reads is None else lambda _, __, text: reads(text),
        multiple=option.several,
        help=option.help,
    )


def files_of_options(options: Sequence[ReaderOption], given: dict[str, Any]) -> list[Path]:
    """Files that options name."""
    named = [given[option.name] for option in options if option.kind == "file"]
    return [path for value in named for path in (value if isinstance(value, tuple) else (value,)) if path is not None]


def _told(part: str, files: Path | Sequence[Path]) -> str:
    return f"{part} {files.name}" if isinstance(files, Path) else f"{len(files)} {part} files"


def _check(network: xr.Dataset) -> None:
    """Refuse a network that nothing could be routed down: one that is empty, or has a cycle."""
    if not Network(network).n_reaches:
        raise NetworkError(f"the network of {network.attrs.get('source', 'these files')} is empty: it has no reaches")


def _tell(network: xr.Dataset) -> None:
    """Say which parameters are guesses, or that there are none."""
    river = Network(network)
    try:
        schemes = schemes_of(river)
    except ParameterError:
        logger.info("the network has no parameters of a routing scheme yet: %s", how_to_estimate())
        return
    for one in find_placeholders(network, schemes):
        logger.info("parameters: %s", one.text)


for _name, _reader in READERS.items():
    convert.add_command(convert_command(_name, _reader))
