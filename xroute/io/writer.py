"""What a writer of another system's files says of itself: `xroute export` has a command for each, and makes it of this.

The counterpart of `xroute.io.reader`. A writer is a module whose functions write a network, runoff, discharge and a state in the
other system's layout; its `Writer`, which stands in `xroute.io.WRITERS`, says which files a whole set-up has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import XRouteError, some
from xroute.io.reader import Product, ReaderOption

__all__ = ["NothingToWrite", "Outgoing", "Writer", "check", "settled", "written"]


class NothingToWrite(XRouteError):
    """What a writer needs is not among what was given."""


@dataclass(frozen=True)
class Outgoing:
    """What is to be written, as xroute has it.

    Attributes
    ----------
    network, state : xarray.Dataset
        A network, and a state of it; None for what is not written.
    runoff, discharge : xarray.DataArray
        Series (time, reach), with their labels and units; they may be lazy.

    Examples
    --------
    >>> import xroute
    >>> from xroute.io.writer import Outgoing
    >>> network, ds = xroute.datasets.tutorial()
    >>> Outgoing(network, ds.runoff).given
    ('network', 'runoff')
    """

    network: xr.Dataset | None = None
    runoff: xr.DataArray | None = None
    discharge: xr.DataArray | None = None
    state: xr.Dataset | None = None

    @property
    def given(self) -> tuple[Product, ...]:
        """Names of what is there."""
        names: tuple[Product, ...] = ("network", "runoff", "discharge", "state")
        return tuple(name for name in names if getattr(self, name) is not None)


@dataclass(frozen=True)
class Writer:
    """A writer, as `xroute export` takes it.

    Attributes
    ----------
    summary
        What it writes: a line of help.
    write
        Called as ``write(outgoing, folder, **options)``, with an empty folder that is there, and every option by name; what it
        makes in the folder comes to where the user wants it when it ends well. Raises `NothingToWrite` where what was given
        does not suffice.
    products
        What it can write.
    needs
        What must be given for each product beside it; ``{"runoff": ("network",)}``, say.
    options
        Its options.

    Examples
    --------
    >>> from xroute.io import WRITERS
    >>> WRITERS["rapid"].products
    ('network', 'runoff', 'discharge', 'state')
    """

    summary: str
    write: Callable[..., None]
    products: Sequence[Product] = ("network", "runoff", "discharge", "state")
    needs: tuple[tuple[Product, tuple[Product, ...]], ...] = ()
    options: Sequence[ReaderOption] = ()


def check(writer: Writer, outgoing: Outgoing) -> None:
    """Refuse what a writer cannot write, before anything is written.

    Raises
    ------
    NothingToWrite
        If nothing was given, something that the system has no file for, or something without what it needs beside it.
    """
    given = outgoing.given
    if not given:
        raise NothingToWrite(f"nothing to write: give {some(writer.products)}")
    strange = [name for name in given if name not in writer.products]
    if strange:
        raise NothingToWrite(f"there is no file for {some(strange)} in this layout; it has {some(writer.products)}")
    for product, needed in writer.needs:
        lacking = [name for name in needed if product in given and name not in given]
        if lacking:
            raise NothingToWrite(f"the {product} is written beside the {some(lacking)}: give this too")


def settled(writer: Writer, options: dict[str, Any]) -> dict[str, Any]:
    """All options of a writer: those that were given, and the defaults of the others.

    Raises
    ------
    XRouteError
        For options that it does not have.
    """
    names = [option.name for option in writer.options]
    strange = sorted(set(options) - set(names))
    if strange:
        raise XRouteError(f"there is no option {some(strange)}; there are {some(names) if names else 'none'}")
    default = {o.name: False if o.kind == "flag" else o.default for o in writer.options}
    return default | options


def written(folder: Path) -> list[str]:
    """Names of the files and Zarr stores in a folder, for whoever is told of them."""
    return sorted(path.name for path in folder.iterdir())
