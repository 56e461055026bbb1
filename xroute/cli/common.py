"""What several commands share: options of networks and of runoff, and the care for files that are read and written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "READABLE",
    "check_outputs",
    "files_within",
    "network_options",
    "open_network",
    "overlap",
    "protect",
    "read_runoff",
    "runoff_options",
    "save",
    "seconds",
]

READABLE = click.Path(path_type=Path)
STORE = ("zarr.json", ".zgroup", ".zmetadata", ".zarray")
"""Files of which a Zarr store has one."""


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _all(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


#: Options of a network: how a table is read, and what its unknown ids mean.
network_options = _all(
    click.option("--preset", metavar="NAME", help="Hydrography that the columns of a network table are called after."),
    click.option("--reach-column", metavar="NAME", help="Column of a network table with the ids of its reaches."),
    click.option("--downstream-column", metavar="NAME", help="Column with the ids of the reaches downstream."),
    click.option("--column-units", metavar="NAME=UNITS", multiple=True,
                 help="Units of a column of a network table, such as k=h."),  # fmt: skip
    click.option("--missing-downstream", type=click.Choice(["raise", "outlet"]), default="raise", show_default=True,
                 help="Downstream ids that the network does not have: an error, or outlets of it."),  # fmt: skip
)
#: Options of a runoff file: which variable, which dimensions, how long a step is.
runoff_options = _all(
    click.option("--variable", multiple=True, metavar="NAME",
                 help="Runoff variable, when there are several; given more than once, they are added up."),  # fmt: skip
    click.option("--reach-dim", metavar="NAME", help="Dimension of the reaches, when names and labels do not tell."),
    click.option("--time-dim", metavar="NAME", help="Dimension of the time, when names and labels do not tell."),
    click.option("--dt", help="Runoff step (seconds, or e.g. 1h), when the time axis does not tell."),
)


def seconds(text: str | None) -> float | None:
    """Seconds of ``3600``, ``1h``, ``15min``, ..."""
    from xroute.exceptions import TimeAxisError
    from xroute.times import seconds

    try:
        return None if text is None else seconds(text)
    except TimeAxisError:
        raise click.BadParameter(f"{text!r} is neither seconds nor a duration such as 3h", param_hint="--dt") from None


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────────


def open_network(
    path: Path, preset: str | None, reach_column: str | None, downstream_column: str | None, column_units: Sequence[str]
) -> xr.Dataset:
    """Dataset of a network in Zarr, netCDF or a table, or of whatever else is in the file."""
    from xroute.network_files import is_table, open_any

    columns = {"reach": reach_column, "downstream": downstream_column, "preset": preset, "units": _units(column_units)}
    given = [name for name, value in columns.items() if value]
    if given and not is_table(path):
        raise click.UsageError(f"{path} is no table, so that it has no columns to name: leave such options out")
    return open_any(path, **{name: columns[name] for name in given})


def _units(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    wrong = [text for text, (name, _, units) in zip(given, pairs, strict=True) if not (name and units)]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=UNITS, such as k=h", param_hint="--column-units")
    return {name: units for name, _, units in pairs}


def read_runoff(paths: Sequence[Path], variables: Sequence[str], **dims: Any) -> tuple[xr.DataArray, str | None]:
    """Runoff, not read yet, and what is wrong with the bounds of its times, which are then not looked at."""
    from xroute.exceptions import TimeAxisError
    from xroute.io.common import open_runoff

    names = list(variables) or None
    try:
        return open_runoff(paths, names, **dims), None
    except TimeAxisError as error:
        return open_runoff(paths, names, **dims, bounds=False), str(error)


# ── what is written ───────────────────────────────────────────────────────────────────────────────────────────────────


def check_outputs(*paths: Path | None, overwrite: bool, needed: bool = False) -> tuple[Path | None, ...]:
    """Refuse what cannot be written, before any work is done."""
    from xroute.io.files import suffix_format
    from xroute.stores import CHECKPOINT

    if needed and all(path is None for path in paths):
        raise click.UsageError("nothing to write: give --network and/or --runoff")
    for path in paths:
        if path is None:
            continue
        try:
            suffix_format(path)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if path.exists() and not overwrite:
            unfinished = (path / CHECKPOINT).is_dir()
            raise FileExistsError(
                f"{path} exists; --overwrite replaces it"
                + (", --resume goes on with the run in it" if unfinished else "")
            )
        if not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder {path.parent} to write {path.name} in")
    written = [path for path in paths if path is not None]
    if any(overlap(a, b) for i, a in enumerate(written) for b in written[:i]):
        raise click.UsageError(
            f"two outputs have the same path, or one lies in the other: {', '.join(map(str, written))}"
        )
    return paths


def protect(inputs: Iterable[Path], outputs: Sequence[Path | None]) -> None:
    """Refuse to write over what is read, --overwrite or not."""
    for source in inputs:
        plain = source.is_dir() and not any((source / name).exists() for name in STORE)  # with place for outputs in it
        for path in outputs:
            if path is not None and overlap(path, source) and not (plain and path.resolve() != source.resolve()):
                raise click.UsageError(f"the output {path} would replace the input {source}, or a part of it")


def overlap(a: Path, b: Path) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    try:
        a, b = a.resolve(), b.resolve()
    except RuntimeError:  # links that go round in a circle, before Python 3.13: nothing is there
        return a.absolute() == b.absolute()
    return a.is_relative_to(b) or b.is_relative_to(a)


def files_within(given: Iterable[Path | None], *patterns: Sequence[str]) -> Iterator[Path]:
    """Files that may be read where folders are given: there is place for outputs beside them."""
    for path in given:
        if path is not None and path.is_dir():
            for pattern in itertools.chain(*patterns):
                yield from itertools.chain(path.glob(pattern), path.glob(f"*/{pattern}"))
        elif path is not None:
            yield path


def save(datasets: Sequence[tuple[xr.Dataset, Path | None]], overwrite: bool) -> None:
    """Write Datasets, all of them or none."""
    from xroute.io.writing import write_all

    wanted = [(dataset, path) for dataset, path in datasets if path is not None]
    write_all(wanted, overwrite=overwrite)
    for dataset, path in wanted:
        sizes = ", ".join(f"{size:,} {dim}" for dim, size in dataset.sizes.items())
        click.echo(f"wrote {path} ({sizes})")
