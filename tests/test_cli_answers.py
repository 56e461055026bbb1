"""Wrong arguments, of every command that there is: two lines, of which the second says what to do, and no traceback.

Commands, arguments and options are those that click knows, so that a new command is tried too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from xroute.cli import main
from xroute.io import write


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = list(commands(main))
LEAVES = [(path, command) for path, command in ALL if not isinstance(command, click.Group)]
named = pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(("xroute", *path)) for path, _ in ALL])
leaves = pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])


def answer(*arguments: Any, code: int | None = 2) -> list[str]:
    """The two lines, wrong and to do, of a command that fails."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code or (code is None and result.exit_code in (1, 2)), result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith(("note: ", "warning: "))]
    assert len(lines) == 2 and result.stderr.endswith("\n"), result.stderr
    assert lines[0].startswith("Error: ") and len(lines[0]) > 12, lines
    assert lines[1] and "bug in xroute" not in result.output and "Traceback" not in result.output, lines
    assert result.stdout == "" or code != 2, result.stdout
    return lines


def arguments(command: click.Command) -> list[str]:
    """Names of files that are not there, one for each argument, and what must be given besides."""
    needed = [word for option in options(command) if option.required for word in (option.opts[0], "made.png")]
    return [*needed, *(f"nothing{i}.nc" for i, p in enumerate(command.params) if isinstance(p, click.Argument))]


def options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option)]


def long_name(option: click.Option) -> str:
    return next(name for name in option.opts if name.startswith("--"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ── usage ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@named
def test_no_arguments(path: tuple[str, ...], command: click.Command) -> None:
    if not isinstance(command, click.Group) and not any(p.required for p in command.params):
        pytest.skip("it needs none")
    wrong, to_do = answer(*path)
    assert "Missing" in wrong
    if isinstance(command, click.Group):
        assert all(name in to_do for name in command.commands)
    else:
        assert all(p.make_metavar(click.Context(command)) in to_do for p in command.params if p.required)
    assert f"`{' '.join(('xroute', *path))} --help`" in to_do


@named
def test_an_option_that_it_does_not_have(path: tuple[str, ...], command: click.Command) -> None:
    wrong, to_do = answer(*path, "--qqqqqqq")
    assert "--qqqqqqq" in wrong and f"`{' '.join(('xroute', *path))} --help`" in to_do


@leaves
def test_an_option_that_is_misspelt(path: tuple[str, ...], command: click.Command) -> None:
    names = [long_name(option) for option in options(command)]
    for name in names:
        misspelt = name[:-2] + name[-1] + name[-2] if name[-2] != name[-1] else f"{name}z"
        if misspelt in names or len(name) < 6:
            continue
        wrong, to_do = answer(*path, *arguments(command), misspelt)
        assert misspelt in wrong and name in to_do, to_do


GROUPS = [(path, command) for path, command in ALL if isinstance(command, click.Group)]


@pytest.mark.parametrize(("path", "command"), GROUPS, ids=["xroute", "convert", "export"])
def test_a_command_that_is_misspelt(path: tuple[str, ...], command: click.Group) -> None:
    for name in command.commands:
        if name == "d8":
            continue
        wrong, to_do = answer(*path, f"{name[:-1]}zz" if len(name) > 5 and name[:-1] not in command.commands else f"{name}z")
        assert "No such command" in wrong and f"Did you mean {name}" in to_do
    wrong, to_do = answer(*path, "qqqqqqq")
    assert "'qqqqqqq'" in wrong and all(name in to_do for name in command.commands)


@leaves
def test_an_argument_too_many(path: tuple[str, ...], command: click.Command) -> None:
    if any(p.nargs == -1 for p in command.params if isinstance(p, click.Argument)):
        pytest.skip("it takes as many as there are")
    wrong, _ = answer(*path, *arguments(command), "another.nc")
    assert "another.nc" in wrong


@leaves
def test_values_that_options_do_not_take(path: tuple[str, ...], command: click.Command) -> None:
    for option in options(command):
        if option.is_flag or not isinstance(option.type, click.Choice | click.IntRange | click.types.FloatParamType):
            continue
        for value in ("qqq", "-3") if isinstance(option.type, click.IntRange) else ("qqq",):
            wrong, to_do = answer(*path, *arguments(command), f"{long_name(option)}={value}")
            assert long_name(option) in wrong and value in wrong and "--help" in to_do
            if isinstance(option.type, click.Choice):
                assert all(str(choice) in wrong for choice in option.type.choices)


@leaves
def test_an_option_without_its_value(path: tuple[str, ...], command: click.Command) -> None:
    for option in options(command):
        if not option.is_flag:
            wrong, _ = answer(*path, *arguments(command), long_name(option))
            assert long_name(option) in wrong


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@leaves
def test_files_that_are_not_there(path: tuple[str, ...], command: click.Command) -> None:
    if path == ("demo",):
        pytest.skip("it reads none")
    output = (command.params[1].opts[0], "made.nc") if path[0] in ("convert", "export") else ()
    wrong, to_do = answer(*path, *arguments(command)[:-1], "made.nc" if len(arguments(command)) > 1 else "nothing0.nc", *output,
                          code=None)  # fmt: skip
    assert "nothing" in wrong or "made.nc" in wrong, wrong
    assert "--help" in to_do


KINDS = {
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "empty.nc": b"",
    "empty.csv": b"",
    "text.nc": b"hello\n",
    "text.csv": b"hello,you\n1,2\n",
    "junk.gpkg": bytes(range(256)),
    "letters.parquet": b"PAR1",
    "no suffix": b"hello\n",
}


@pytest.mark.parametrize("kind", [*KINDS, "folder", "folder.zarr", "a\nb.nc"])
@leaves
def test_files_of_another_kind(path: tuple[str, ...], command: click.Command, kind: str) -> None:
    if path == ("demo",):
        pytest.skip("it reads none")
    if kind in ("folder", "folder.zarr"):
        Path(kind).mkdir()
    else:
        Path(kind).write_bytes(KINDS.get(kind, b"x"))
    files = [kind] * len(arguments(command))
    output = (command.params[1].opts[0], "made.nc") if path[0] in ("convert", "export") else ()
    for last in ("made.nc", "made.png", "nowhere/made.nc", kind):
        if len(files) > 1 or last == kind:
            answer(*path, *files[:-1], last, *output, code=None)
    assert not Path("made.nc").exists()


@pytest.fixture
def river(folder: Path) -> Path:
    """A river of two reaches, its runoff and its discharge."""
    network = xr.Dataset({"downstream": ("reach", [2, 0]), "k": ("reach", [3600.0, 3600.0]), "x": ("reach", [0.1, 0.1])},
                         {"reach": [1, 2]}, {"scheme": "muskingum"})  # fmt: skip
    time = np.datetime64("2001-01-01", "ns") + np.arange(4) * np.timedelta64(1, "h")
    series = xr.DataArray(np.ones((4, 2)), {"time": time, "reach": [1, 2]}, name="runoff", attrs={"units": "m3 s-1"})
    write(network, "network.nc")
    write(series.to_dataset(), "runoff.nc")
    write(series.rename("discharge").assign_attrs(standard_name="water_volume_transport_in_river_channel").to_dataset(), "q.nc")
    return folder


def test_arguments_that_are_swapped(river: Path) -> None:
    wrong, to_do = answer("route", "network.nc", "runoff.nc", "made.nc", code=1)
    assert "runoff.nc holds" in wrong and "RUNOFF, NETWORK, OUTPUT is the order" in wrong
    assert "`xroute info runoff.nc`" in to_do and "`xroute route --help`" in to_do
    assert "is the order" in answer("calibrate", "network.nc", "runoff.nc", "q.nc", "made.nc", code=1)[0]
    answer("compare", "network.nc", "q.nc", code=1)
    answer("compare", "q.nc", "network.nc", code=1)
    answer("weights", "network.nc", "runoff.nc", "made.nc", code=1)


def test_a_name_that_is_nearly_right(river: Path) -> None:
    wrong, to_do = answer("info", "netwrk.nc", code=1)
    assert "netwrk.nc" in wrong and "Did you mean network.nc?" in to_do
    wrong, to_do = answer("info", "nowhere/network.nc", code=1)
    assert "no folder nowhere" in to_do


def test_outputs_that_exist_or_have_no_folder(river: Path) -> None:
    before = Path("q.nc").read_bytes()
    wrong, _ = answer("route", "runoff.nc", "network.nc", "q.nc", code=1)
    assert "q.nc exists; --overwrite replaces it" in wrong and Path("q.nc").read_bytes() == before
    wrong, to_do = answer("route", "runoff.nc", "network.nc", "nowhere/q.nc", code=1)
    assert "no folder nowhere" in wrong and "--help" in to_do
    wrong, to_do = answer("route", "runoff.nc", "network.nc", "network.nc", "--overwrite", code=2)
    assert "would replace the input" in wrong


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(river: Path) -> None:
    Path("runoff.nc").chmod(0)
    wrong, to_do = answer("route", "runoff.nc", "network.nc", "made.nc", code=1)
    assert "runoff.nc" in wrong and "permission" in (wrong + to_do).lower()


def test_what_may_not_be_done_is_said_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "runoff.nc")

    monkeypatch.setattr("xroute.demo.run", refuse)
    assert answer("demo", code=1) == [
        "Error: Permission denied: runoff.nc",
        "Ask its owner for permission, or choose another place; `xroute demo --help` says what it takes",
    ]


def test_sentences_are_parted_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from xroute.exceptions import NetworkError

    def fail(*_: Any, **__: Any) -> None:
        raise NetworkError("k is 0.5 h. on 3 reaches, e.g. 4. Give another k, or x. --estimate-anew\nmakes one")

    monkeypatch.setattr("xroute.demo.run", fail)
    lines = ["Error: k is 0.5 h. on 3 reaches, e.g. 4.", "Give another k, or x. --estimate-anew makes one"]
    assert answer("demo", code=1) == lines


def test_help_is_no_mistake() -> None:
    for path, _ in ALL:
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0 and result.stdout.startswith(f"Usage: {' '.join(('xroute', *path))} ")
        assert result.stderr == ""
