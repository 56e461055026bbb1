"""The ``xroute`` command: describe a network, convert files of other systems, route, score, draw, and demonstrate.

Only what the command line adds stands here: options, messages, progress, signals. A file of this package is a command;
`messages` says what an argument's option is called, `common` is what several commands share. Problems with data exit with 1
and two lines (`told`): what is wrong, and what to do (``--debug`` shows the traceback). Wrong usage exits with 2, and an
interrupted run with 130 or 143.
Heavy modules are imported by the command that needs them.
"""

from __future__ import annotations

import traceback
from typing import Any

import click

from xroute.cli import calibrate, compare, convert, demo, export, info, plot, route, weights
from xroute.cli.messages import notes
from xroute.cli.signals import LEFT, Interrupted, hush, interruptible
from xroute.cli.told import Group, told
from xroute.version import __version__

__all__ = ["main"]


class Commands(Group):
    """Commands whose errors are two lines, without a traceback, and that are listed in the order in which they are needed."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Read the arguments before the command's name."""
        try:
            return super().make_context(*arguments, **extra)
        except click.UsageError as error:
            raise told(error, error.ctx or click.Context(self, info_name="xroute")) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; the user's mistakes become messages with exit code 1, a signal the code that shells give it."""
        debug = bool(ctx.params.get("debug"))
        with notes(), interruptible():
            try:
                return super().invoke(ctx)
            except (click.exceptions.Exit, click.Abort, BrokenPipeError):
                raise
            except click.ClickException as error:
                raise told(error, ctx) from None
            except (Interrupted, KeyboardInterrupt) as signal:
                if debug:
                    traceback.print_exc()
                click.echo(f"interrupted: {ctx.meta.get(LEFT, 'nothing was written')}", err=True)
                if isinstance(signal, Interrupted):
                    hush()  # once more: filters of warnings may have been put back on the way here
                raise click.exceptions.Exit(getattr(signal, "code", 130)) from None
            except Exception as error:  # whatever it is, it is said in a line; what is not ours to say is called a bug
                if debug:
                    raise
                raise told(error, ctx) from error


SESSION = """\b
From runoff on a grid, rivers as lines and catchments as polygons:
  xroute convert table rivers.gpkg --network network.zarr --celerity 1.0
  xroute weights era5-land.nc catchments.gpkg weights.nc
  xroute route era5-land.nc network.zarr discharge.zarr --weights weights.nc --deaccumulate day --nan others

\b
From another model's set-up:
  xroute convert rapid RAPID_FOLDER --network network.zarr --runoff runoff.zarr
  xroute route runoff.zarr network.zarr discharge.zarr
  xroute plot discharge.zarr network.zarr -o flood.png

\b
And back to its own files:
  xroute export rapid FOLDER --network network.zarr --discharge discharge.zarr

\b
From a network, its runoff and gauges to a better network:
  xroute calibrate runoff.zarr network.zarr gauges.csv calibrated.zarr --groups strahler --picture before_after.png

`xroute info FILE` says what a file is, what is wrong with it, and what comes next.
"""


@click.group("xroute", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=SESSION)
@click.version_option(__version__, prog_name="xroute")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Route runoff down river networks."""


for command in (
    convert.convert, info.info, weights.weights, route.route, calibrate.calibrate, compare.compare, plot.plot,
    export.export, demo.demo,
):  # fmt: skip
    main.add_command(command)
