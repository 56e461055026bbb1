"""What several commands share: options of networks and of runoff, and the care for files that are read and written."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from xroute.settings import MISSING_DOWNSTREAM

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FILES", "PICTURES", "READABLE", "NetworkOptions", "RunoffOptions", "check_outputs", "column_units", "files_within",
    "grouped", "network_options", "open_observed", "overlap", "protect", "runoff_options", "save", "seconds",
]  # fmt: skip

READABLE = click.Path(path_type=Path)


class _Files(click.types.StringParamType):
    """A file, or files by a pattern (`runoff_*.nc`): text, whose completion in a shell offers files."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell, which knows what files there are."""
        return [CompletionItem(incomplete, type="file")]


FILES = _Files()
PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")
"""Suffixes of pictures."""


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def grouped(name: str, kind: type, *options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Options of `click.option` that a command is handed as one argument, a dataclass whose fields bear their names."""

    def add(command: Any) -> Any:
        @functools.wraps(command)
        def called(*arguments: Any, **given: Any) -> Any:
            group = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            return command(*arguments, **{name: group}, **given)

        for option in reversed(options):
            called = option(called)
        return called

    return add


def seconds(text: str | None) -> float | None:
    """Seconds of ``3600``, ``1h``, ``15min``, ..."""
    from xroute.exceptions import TimeAxisError
    from xroute.times import seconds

    try:
        return None if text is None else seconds(text)
    except TimeAxisError:
        raise click.BadParameter(f"{text!r} is neither seconds nor a duration such as 3h", param_hint="--dt") from None


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class NetworkOptions:
    """How a table is read, and what a network's unknown ids mean."""

    preset: str | None
    reach_column: str | None
    downstream_column: str | None
    column_units: tuple[str, ...]
    missing_downstream: Any

    @property
    def columns(self) -> dict[str, Any]:
        """What was said of a table's columns."""
        columns = {
            "reach": self.reach_column,
            "downstream": self.downstream_column,
            "preset": self.preset,
            "units": column_units(self.column_units),
        }
        return {name: value for name, value in columns.items() if value}

    def open(self, path: Path) -> xr.Dataset:
        """Dataset of a network in Zarr, netCDF or a table, or of whatever else is in the file."""
        from xroute.network_files import is_table, open_any

        named = self.columns
        if named and not is_table(path):
            raise click.UsageError(f"{path} is no table, so that it has no columns to name: leave such options out")
        return open_any(path, **named)


network_options = grouped(
    "table", NetworkOptions,
    click.option("--preset", metavar="NAME", help="Hydrography that the columns of a network table are called after."),
    click.option("--reach-column", metavar="NAME", help="Column of a network table with the ids of its reaches."),
    click.option("--downstream-column", metavar="NAME", help="Column with the ids of the reaches downstream."),
    click.option("--column-units", metavar="NAME=UNITS", multiple=True,
                 help="Units of a column of a network table, such as k=h."),
    click.option("--missing-downstream", type=click.Choice(MISSING_DOWNSTREAM), default="raise", show_default=True,
                 help="Downstream ids that the network does not have: an error, or outlets of it."),
)  # fmt: skip


def column_units(given: Sequence[str]) -> dict[str, str]:
    """Units by column, of texts such as ``k=h``."""
    pairs = [text.partition("=") for text in given]
    wrong = [text for text, (name, _, units) in zip(given, pairs, strict=True) if not (name and units)]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=UNITS, such as k=h", param_hint="--column-units")
    return {name: units for name, _, units in pairs}


@dataclass(frozen=True)
class RunoffOptions:
    """Which variable of a file is the runoff, which dimensions it has, and how long a step is."""

    variable: tuple[str, ...]
    reach_dim: str | None
    time_dim: str | None
    dt: str | None

    @property
    def dims(self) -> dict[str, Any]:
        """Dimensions that were named, as arguments of what takes them."""
        return {name: dim for name in ("reach_dim", "time_dim") if (dim := getattr(self, name)) is not None}

    def open(self, paths: Sequence[Path]) -> xr.DataArray:
        """Runoff, not read yet."""
        from xroute.io.common import open_runoff

        return open_runoff(paths, list(self.variable) or None, **self.dims)

    def open_despite_bounds(self, paths: Sequence[Path]) -> tuple[xr.DataArray, str | None]:
        """Runoff, not read yet, and what is wrong with the bounds of its times, which are then not looked at."""
        from xroute.exceptions import TimeAxisError
        from xroute.io.common import open_runoff

        try:
            return self.open(paths), None
        except TimeAxisError as error:
            return open_runoff(paths, list(self.variable) or None, **self.dims, bounds=False), str(error)


runoff_options = grouped(
    "source", RunoffOptions,
    click.option("--variable", multiple=True, metavar="NAME",
                 help="Runoff variable, when there are several; given more than once, they are added up."),
    click.option("--reach-dim", metavar="NAME", help="Dimension of the reaches, when names and labels do not tell."),
    click.option("--time-dim", metavar="NAME", help="Dimension of the time, when names and labels do not tell."),
    click.option("--dt", help="Runoff step (seconds, or e.g. 1h), when the time axis does not tell."),
)  # fmt: skip


def open_observed(path: Path, variable: str | None, units: str | None) -> xr.DataArray:
    """Observations, not read yet where they need not be, in the units that --observed-units says."""
    from xroute.exceptions import warn
    from xroute.series import open_series

    array = open_series(path, variable, option="observed_variable")
    if units is None:
        return array
    stated = array.attrs.get("units")
    if stated is not None and stated != units:
        warn(f"{path} says that it is in {stated!r}; it is read in {units!r}, as --observed-units says")
    return array.assign_attrs(units=units)


# ── what is written ───────────────────────────────────────────────────────────────────────────────────────────────────


def check_outputs(*paths: Path | None, overwrite: bool, needed: bool = False) -> tuple[Path | None, ...]:
    """Refuse what cannot be written, before any work is done."""
    from xroute.files.opening import suffix_format
    from xroute.stores import CHECKPOINT

    if needed and all(path is None for path in paths):
        raise click.UsageError("nothing to write: name an output, such as --network network.zarr")
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
    from xroute.stores import is_array, is_group

    for source in inputs:
        plain = source.is_dir() and not (is_group(source) or is_array(source))  # with place for outputs in it
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
    from xroute.files.writing import write_all

    wanted = [(dataset, path) for dataset, path in datasets if path is not None]
    write_all(wanted, overwrite=overwrite)
    for dataset, path in wanted:
        sizes = ", ".join(f"{size:,} {dim}" for dim, size in dataset.sizes.items())
        click.echo(f"wrote {path} ({sizes})")
