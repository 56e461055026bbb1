"""What the package says to users of Python, said in options of the command line."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import click

__all__ = ["error_line", "in_options", "notes"]

#: Arguments of Python that are options of the command line, under the same name.
SAME = (
    "missing_downstream", "missing", "extra", "nan", "lateral", "sampling", "scheme", "device", "substeps", "dt", "label",
    "reach_dim", "time_dim", "preset", "variable", "start", "partitions", "time_chunk", "dtype",
)  # fmt: skip
#: Other things that are called otherwise here.
WORDS = (
    (r"\breach= and downstream=", "--reach-column and --downstream-column"),
    (r"xroute\.deaccumulate\(runoff, reset=\"(\w+)\"\)", r"--deaccumulate \1"),
    (r"xroute\.deaccumulate\b", "--deaccumulate"),
    (r"when reset= says \(\"day\" at 00 UTC or hour=, \"forecast\", \"never\"\)", "when --deaccumulate says"),
    (r"reset=\"(\w+)\"", r"--deaccumulate \1"),
    (r": shift the times, or give hour=", ": shift the times"),
    (r" \(first=\"nan\" keeps it, as NaN\)", ""),
    (r"label='start', 'end' or 'middle'(, or take the runoff from its Dataset with xroute\.with_bounds\(ds, name\))?", "--label"),
    (r"name the files: read_network\(connect, k=, x=, basin_ids=\)",
     "name the files: xroute convert rapid CONNECTIVITY --k FILE --x FILE --basin-ids FILE"),
    (r"overwrite=True \(--overwrite\)", "--overwrite"),
    (r"routing_step= \(--dt-routing\)", "--dt-routing"),
    (r'mode="w"', "--overwrite"),
    (r"\bvariables=", "--variable"),
    (r"runoff\.astype\(([\"'])float64\1\)", "--dtype float64"),
    (r"\b([Rr])un again to go on", r"\1un again with --resume to go on"),
    (r"resume it, or replace it", "--resume goes on with it, --overwrite replaces it"),
    (r"drop the attribute: del state\.attrs\['time'\]", "carry on"),
)
_SAME = re.compile(rf"(?<![\w.])({'|'.join(SAME)})=(?:([\"'])([^\"']*)\2|(\d\w*)|(?=[\s,.;:)]|$))")

_TWICE = re.compile(r"(--[\w-]+) \(\1\)")  # where a message says both, as of start= (--start)


def in_options(text: str) -> str:
    """Say a message of the package in options of the command line."""
    for python, option in WORDS:
        text = re.sub(python, option, text)
    return _TWICE.sub(r"\1", _SAME.sub(_option, text))


def _option(match: re.Match[str]) -> str:
    name, _, quoted, bare = match.groups()
    value = quoted or bare
    return f"--{name.replace('_', '-')}" + (f" {value}" if value else "")


def error_line(error: Exception) -> str:
    """One line for an error: what it says, if it is the user's to mend, and else that it is a bug."""
    from xroute.exceptions import XRouteError

    if isinstance(error, OSError):
        named = error.errno is not None and error.strerror and error.filename
        text = f"{error.strerror}: {error.filename}" if named else error.strerror or str(error)
    elif isinstance(error, XRouteError | ImportError):
        text = in_options(str(error))
    elif isinstance(error, MemoryError):
        text = f"memory is not enough ({error}): a smaller --time-chunk takes less" if str(error) else "memory is not enough"
    else:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        text = f"this is a bug in xroute, please report it ({said}). `xroute --debug ...` shows where"
    return " ".join(text.split("\n")) or type(error).__name__


@contextlib.contextmanager
def notes() -> Iterator[None]:
    """Show what the package logs and warns of as plain lines on stderr."""
    logger, handler = logging.getLogger("xroute"), _Echo()
    level, show = logger.level, warnings.showwarning
    shown: set[str] = set()

    def echo_once(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in shown:  # a run in chunks warns of the same thing for each
            shown.add(str(message))
            click.echo(f"warning: {' '.join(in_options(str(message)).split())}", err=True)

    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    warnings.showwarning = echo_once
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        warnings.showwarning = show


class _Echo(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        click.echo(f"{kind}: {in_options(record.getMessage())}", err=True)
