"""What a reader of another system's files says of itself: `xroute convert` has a command for each, and makes it of this.

A reader is a module of this package. Its functions read a network, runoff, a state; its `Reader`, which stands in
`xroute.io.READERS`, says how they serve a whole set-up, and with which options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from xroute.exceptions import XRouteError

__all__ = ["NothingToRead", "Product", "Reader", "ReaderOption", "Setup"]

Product = Literal["network", "runoff", "state", "discharge"]
"""What a set-up may hold."""


class NothingToRead(XRouteError):
    """What is wanted is in none of the sources that are given."""


@dataclass(frozen=True)
class Setup:
    """What was read of a set-up, as `xroute.route` takes it.

    Attributes
    ----------
    network, runoff, state : xarray.Dataset
        As `xroute.route` takes them: runoff (reach, time) with its units. None for what was not asked for.
    discharge : xarray.Dataset
        What the other system computed: ``discharge`` (time, reach) [m3 s-1], to compare with. None if it was not asked for.

    Examples
    --------
    >>> import xroute
    >>> from xroute.io.reader import Setup
    >>> network, ds = xroute.datasets.tutorial()
    >>> Setup(network, ds).state is None
    True
    """

    network: xr.Dataset
    runoff: xr.Dataset | None = None
    state: xr.Dataset | None = None
    discharge: xr.Dataset | None = None


@dataclass(frozen=True)
class ReaderOption:
    """An option of a reader.

    Attributes
    ----------
    name
        Keyword of `Reader.read`, and with dashes the option of the command.
    help
        What it is, in a line.
    kind
        ``"text"``, a ``"number"``, a ``"count"`` from 1 on, the path of a ``"file"``, a ``"step"`` [s], which may be given as
        ``"3h"``, the ``"units"`` of columns, a mapping of all the ``NAME=UNITS`` that are given, or a ``"flag"``, which takes no
        value and is True where it is given.
    several
        Whether it may be given more than once. Then it is a tuple.
    choices
        All that a text may be; none for any.
    default
        What it is where it is not given.

    Examples
    --------
    >>> from xroute.io.reader import ReaderOption
    >>> ReaderOption("inflow", "File of inflow, when not in SOURCE.", "file").several
    False
    """

    name: str
    help: str
    kind: Literal["text", "number", "count", "file", "step", "units", "flag"] = "text"
    several: bool = False
    choices: Sequence[str] = ()
    default: str | None = None


@dataclass(frozen=True)
class Reader:
    """A reader, as `xroute convert` takes it.

    Attributes
    ----------
    summary
        What it converts, and of which sources: a line of help.
    read
        Called as ``read(sources, wanted, **options)``: with folders and files, the products that are wanted, and every option
        by name. The network is always read. Raises `NothingToRead` where sources do not suffice.
    find
        Called with a folder and the options: files in it by the part they play, which the command tells before it reads.
    patterns
        Names of files that may be read of a folder, so that no output is written over them.
    products
        What it reads.
    options
        Its options.
    reads_beside
        Whether, with these options, files that lie beside a source are read too.
    names
        Called with a source that is a file: files that it names, as a configuration does, by the part they play, so that no
        output is written over them either.

    Examples
    --------
    CONTRIBUTING.md has a whole reader.

    >>> from xroute.io import READERS
    >>> READERS["rapid"].products
    ('network', 'runoff', 'state', 'discharge')
    """

    summary: str
    read: Callable[..., Setup]
    find: Callable[[Path, Mapping[str, Any]], Mapping[str, Path | Sequence[Path]]]
    patterns: Sequence[str]
    products: Sequence[Product] = ("network", "runoff")
    options: Sequence[ReaderOption] = ()
    reads_beside: Callable[[Mapping[str, Any]], bool] = lambda options: False
    names: Callable[[Path], Mapping[str, Path | Sequence[Path]]] = lambda source: {}
