"""How a command answers what it cannot do: a line that says what is wrong, and one that says what to do.

`Group` is of all commands and of those with commands of their own, so that a new command answers in the same way by itself.
Wrong usage exits with 2, what is wrong with data with 1.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import click

from xroute.cli.messages import error_line

__all__ = ["Group", "Told", "told"]

WITHIN = "xroute.command"
"""Where a context keeps which command was asked for."""
GIVEN = "xroute.arguments"
"""Where it keeps what was given to it."""
DESCRIBED = {".nc", ".nc4", ".zarr", ".csv", ".parquet", ".gpkg", ".shp"}
"""Suffixes of files of which `xroute info` has something to say."""
NO_COMMAND = "No such command"
SENTENCE = re.compile(r"(?<=[^.\s][.])\s+(?=[A-Z`'\"]|--|xroute)")
"""Between two sentences, of which the first says what is wrong and the others what to do."""


class Told(click.ClickException):
    """An error in two lines: of data, or of whatever else stopped a command."""

    def __init__(self, wrong: str, to_do: str) -> None:
        super().__init__(wrong)
        self.to_do = to_do

    def show(self, file: IO[Any] | None = None) -> None:
        """Show both lines."""
        click.echo(f"Error: {_line(self.message)}\n{_line(self.to_do)}", file=file, err=file is None)


class WrongUsage(Told):
    """One of arguments."""

    exit_code = click.UsageError.exit_code


class Group(click.Group):
    """Commands, listed in the order in which they were added, that know which of them was asked for."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **{"no_args_is_help": False, **attributes})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which the commands were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for.

        Raises
        ------
        click.UsageError
            If there is none of that name.
        """
        ctx.meta[WITHIN] = ctx
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(f"{NO_COMMAND} {args[0]!r}.", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            ctx.meta[WITHIN], ctx.meta[GIVEN] = click.Context(command, info_name=name, parent=ctx), list(rest)
        return name, command, rest


def told(error: Exception, context: click.Context) -> Told:
    """An error in two lines.

    Parameters
    ----------
    error
        What click has raised of usage, or anything else that stopped a command.
    context
        Of the outermost command.
    """
    within: click.Context = context.meta.get(WITHIN, context)
    if isinstance(error, click.UsageError):
        return WrongUsage(*_usage(error, error.ctx or within))
    text = error.format_message() if isinstance(error, click.ClickException) else error_line(error)
    wrong, to_do = _split(text)
    return Told(wrong, to_do or _advice(error, wrong, within))


def _split(text: str) -> tuple[str, str]:
    """What is wrong, and what to do; the latter is empty if it is not a sentence of its own."""
    first, *others = SENTENCE.split(_line(text), maxsplit=1)
    return first, " ".join(others)


def _line(text: str) -> str:
    return " ".join(text.split())


def _usage(error: click.UsageError, within: click.Context) -> tuple[str, str]:
    help_of = f"`{within.command_path} --help`"
    if isinstance(error, click.NoSuchOption):
        near = list(error.possibilities or ())
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        return f"No such option {error.option_name}.", f"{meant}{help_of} lists the options"
    wrong, to_do = _split(error.format_message())
    if to_do:
        return wrong, to_do
    if isinstance(within.command, click.Group) and "command" in wrong.lower():
        commands = within.command.commands
        asked = wrong.removeprefix(NO_COMMAND).strip(" '.")
        near = get_close_matches(asked, commands, n=2) if wrong.startswith(NO_COMMAND) else []
        to_do = f"Did you mean {' or '.join(near)}?" if near else f"Give one of {', '.join(commands)}."
        return wrong, f"{to_do} {help_of} says what each does"
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        return wrong, f"{help_of} says what it may be"
    return wrong, f"Usage: `{_usage_of(within)}`; {help_of} says what each is"


def _usage_of(within: click.Context) -> str:
    options, *others = within.command.collect_usage_pieces(within)
    required = [p for p in within.command.params if p.param_type_name == "option" and p.required]
    needed = [f"{p.opts[0]} {p.make_metavar(within)}" for p in required]
    return " ".join([within.command_path, options, *needed, *others])


def _advice(error: Exception, wrong: str, within: click.Context) -> str:
    """What to do where the error itself does not say."""
    help_of = f"`{within.command_path} --help`"
    if isinstance(error, FileExistsError):
        return f"Choose another name, or see {help_of}"
    if isinstance(error, PermissionError):
        return f"Ask its owner for permission, or choose another place; {help_of} says what it takes"
    if isinstance(error, OSError):
        missing = error.filename or wrong.partition("no file ")[2]
        return f"{_beside(Path(missing)) if missing else ''}{help_of} says what it takes"
    given: list[str] = within.meta.get(GIVEN, [])
    named = next((name for name in given if name in wrong and Path(name).suffix.lower() in DESCRIBED), None)
    if named is not None and within.command.name != "info":
        return f"`xroute info {named}` says what it holds, {help_of} what is needed"
    return f"{help_of} says what it takes"


def _beside(path: Path) -> str:
    """Names like one that is not there, or which folder is not there either."""
    try:
        if not path.parent.is_dir():
            return f"There is no folder {path.parent} either: check the path. "
        near = get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3)
    except (OSError, ValueError):  # a folder that may not be looked into, a name that can be none
        near = []
    return f"Did you mean {' or '.join(str(path.with_name(n)) for n in near)}? " if near else "Check the path. "
