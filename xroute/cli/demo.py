"""``xroute demo``: a small river, routed."""

from __future__ import annotations

from pathlib import Path

import click

from xroute.cli.common import READABLE

__all__ = ["demo"]


@click.command()
@click.argument("directory", type=READABLE, default="demo")
def demo(directory: Path) -> None:
    """Route a small river, print a table, and draw a picture into DIRECTORY."""
    from xroute.demo import run

    run(directory)
