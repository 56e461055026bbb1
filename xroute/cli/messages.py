"""What is told to the user: errors, notes and warnings of the package in a line each, and its advice in options."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import click

from xroute.wording import Words, speaking

__all__ = ["OPTIONS", "error_line", "notes"]

#: Arguments whose option has another name.
NAMES = {
    "dim": "time-dim", "downstream": "downstream-column", "mode": "overwrite", "negative": "negative-area",
    "reach": "reach-column", "reset": "deaccumulate",
    "routing_step": "dt-routing", "state": "state-file", "variables": "variable",
}  # fmt: skip
#: Options that take no value.
FLAGS = {"carry", "members", "overwrite", "resume"}
#: Advice that is not an option alone.
PHRASES = {
    "area anew": "--estimate-anew makes it anew",
    "begun": "--resume goes on with it, --overwrite replaces it",
    "calibrate": "`xroute calibrate RUNOFF NETWORK GAUGES OUTPUT` fits a network to it",
    "catchments": "`xroute weights GRID CATCHMENTS weights.nc` makes weights of a grid's cells in them",
    "convert mizuroute": "`xroute convert mizuroute FOLDER --network network.zarr --runoff runoff.zarr` reads it",
    "convert nextgen": "`xroute convert nextgen FOLDER --network network.zarr --runoff runoff.zarr` reads it",
    "convert nwm": "`xroute convert nwm FOLDER --network network.zarr --runoff runoff.zarr` reads it",
    "convert rapid": "`xroute convert rapid FOLDER --network network.zarr --runoff runoff.zarr` reads it",
    "convert river-route": "`xroute convert river-route FOLDER --network network.zarr --runoff runoff.zarr` reads it",
    "convert troute": "`xroute convert troute FOLDER --network network.zarr --runoff runoff.zarr` reads it",
    "estimate": "`xroute convert table NETWORK --network OUTPUT --celerity 1.0` makes them of the lengths of reaches, "
    "--method manning of slopes and flows",
    "estimate anew": "--estimate-anew makes them anew",
    "first": "",
    "gauge weights": "",
    "gauges left out": "Leave them out of the file",
    "grid": "Make weights of the cells in their catchments, once: `xroute weights GRID CATCHMENTS weights.nc`; then route with "
            "--weights weights.nc",
    "grid made": "`xroute weights GRID CATCHMENTS weights.nc` makes them, and `xroute route` takes them, --weights",
    "hour": "",
    "make weights": "`xroute weights`",
    "nextxy": "`xroute convert nextxy FILE --network network.zarr` makes a network of it",
    "weights table": " of xroute.grids.read_weights in Python, and save what it makes with to_netcdf:",
    "own scheme": "",
    "other system": "`xroute convert` reads folders of other systems",
    "part": "take a part of the network",
    "undated": "`xroute convert rapid FOLDER --discharge observed.nc --start DATE` gives those of RAPID their dates",
    "RouteLink": "`xroute convert nwm FILE --network network.zarr` makes a network of it",
    "d8": "`xroute convert d8 FILE --network network.zarr` makes a network of it",
    "run again": "run again with --resume",
    "runoff": "with a network: xroute info NETWORK --runoff FILE",
    "spin-up": "carry on",
    "factors of groups": "--parameters k=scale learns a factor on those",
    "scores": "`xroute compare SIMULATED OBSERVED --output FILE` makes them",
    "units of a table": "a table has no units: values are taken in m3 s-1, unless --observed-units says otherwise",
    "weights left out": "xroute.grids.select_weights in Python leaves these catchments out of the weights, and --missing zero "
    "routes the network without their runoff",
    "with_bounds": "",
}


def _option(name: str, value: object) -> str:
    option = NAMES.get(name, name.replace("_", "-"))
    if option in FLAGS and value is False:
        return f"--no-{option}"
    return f"--{option}" + ("" if value is None or option in FLAGS else f" {value}")


OPTIONS = Words(_option, PHRASES)
"""What arguments are called on the command line."""


def error_line(error: Exception) -> str:
    """One line for an error: what it says, if it is the user's to mend, and else that it is a bug."""
    from xroute.exceptions import XRouteError

    if isinstance(error, OSError):
        named = error.errno is not None and error.strerror and error.filename
        text = f"{error.strerror}: {error.filename}" if named else error.strerror or str(error)
    elif isinstance(error, XRouteError | ImportError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = f"memory is not enough ({error}): a smaller --time-chunk takes less" if str(error) else "memory is not enough"
    else:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        text = f"this is a bug in xroute, please report it ({what}). `xroute --debug ...` shows where"
    return " ".join(text.split("\n")) or type(error).__name__


@contextlib.contextmanager
def notes() -> Iterator[None]:
    """Show what the package logs and warns of as plain lines on stderr, and have it name options."""
    logger, handler = logging.getLogger("xroute"), _Echo()
    level, show = logger.level, warnings.showwarning
    shown: set[str] = set()

    def echo_once(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in shown:  # a run in chunks warns of the same thing for each
            shown.add(str(message))
            click.echo(f"warning: {' '.join(str(message).split())}", err=True)

    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    warnings.showwarning = echo_once
    try:
        with speaking(OPTIONS):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        warnings.showwarning = show


class _Echo(logging.Handler):
    """Shows records, each text once: a command that reads a file twice is told of the same thing twice."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        text = f"{kind}: {record.getMessage()}"
        if text not in self._shown:
            self._shown.add(text)
            click.echo(text, err=True)
