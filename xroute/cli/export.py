"""``xroute export``: what xroute has to the files of other systems, a command for each of `xroute.io.WRITERS`.

All files are written, or none is.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from xroute.cli.common import READABLE, protect
from xroute.cli.convert import files_of_options, option_of
from xroute.cli.told import Group
from xroute.io import WRITERS
from xroute.io.exporting import export as export_setup
from xroute.io.reader import Product
from xroute.io.writer import NothingToWrite, Writer

__all__ = ["export", "export_command"]


@click.group(cls=Group)
def export() -> None:
    """Write networks, runoff and discharge as files of other systems."""


def export_command(name: str, writer: Writer) -> click.Command:
    """The command of a writer."""

    def run(output: Path, overwrite: bool, **given: Any) -> None:
        paths: dict[Product, Path | None] = {product: given.pop(f"{product}_input") for product in writer.products}
        wanted = {product: path for product, path in paths.items() if path is not None}
        if not wanted:
            raise click.UsageError(f"nothing to write: name a file, such as --{writer.products[0]} {writer.products[0]}.zarr")
        protect((*wanted.values(), *files_of_options(writer.options, given)), [output])
        with ExitStack() as stack:
            try:
                found = {product: _open(product, path, stack) for product, path in wanted.items()}
                made = export_setup(name, output, overwrite=overwrite, **found, **given)
            except NothingToWrite as error:
                raise click.UsageError(str(error)) from None
        click.echo(f"wrote {output}: {', '.join(made)}")

    inputs = [
        click.Option([f"--{product}", f"{product}_input"], type=READABLE, help=f"File of the {product} (.zarr or .nc).")
        for product in writer.products
    ]
    return click.Command(
        name, callback=run, help=writer.summary,
        params=[
            click.Argument(["output"], type=READABLE, metavar="FOLDER"), *inputs,
            click.Option(["--overwrite"], is_flag=True, help="Replace files of these names."), *map(option_of, writer.options),
        ],
    )  # fmt: skip


def _open(product: Product, path: Path, stack: ExitStack) -> Any:
    """What a file holds, not read yet where it may be large."""
    from xroute.io.common import open_runoff
    from xroute.network_files import open_any
    from xroute.state_form import open_state

    if product == "network":
        return stack.enter_context(open_any(path))
    if product == "state":
        return open_state(path)
    return open_runoff(path, product if _holds(path, product) else None)


def _holds(path: Path, name: str) -> bool:
    from xroute.files.opening import open_dataset

    with open_dataset(path) as dataset:
        return name in dataset.data_vars


for _name, _writer in WRITERS.items():
    export.add_command(export_command(_name, _writer))
