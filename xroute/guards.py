"""Guards: what other libraries raise where files are read and written becomes ours, and what no memory could hold is refused.

`reading` and `writing` stand as closely as can be around the calls of those libraries, which raise what they like.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xroute.exceptions import XRouteError

__all__ = ["reading", "require_memory", "writing"]


@contextmanager
def reading(source: Any, how: str = "") -> Iterator[None]:
    """Make ours of whatever the libraries of a file's format raise while it is read, say as ``how="as netCDF"``."""
    try:
        yield
    except (XRouteError, ImportError):
        raise
    except PermissionError as error:
        raise PermissionError(error.errno, f"{source} may not be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise XRouteError(f"{source} does not fit in memory: {error}") from error
    except Exception as error:
        by_system = error.strerror if isinstance(error, OSError) else None
        cause = " ".join((by_system or f"{type(error).__name__}: {error}").split())[:300].rstrip(":. ")
        how = f" {how}" if how else ""
        advice = "it may be damaged, or of a kind not known here"
        if isinstance(error, UnicodeError):
            advice = "it is no text in UTF-8, so save it as that"
        raise XRouteError(f"{source} cannot be read{how} ({cause}): {advice}") from error


def require_memory(array: Any, what: str, advice: str) -> None:
    """Refuse an array or Dataset that is not in memory yet, and is larger than all the memory of this machine, with advice."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not told on this system
        return
    if array.nbytes > memory:
        sizes = " x ".join(f"{size:,} {dim}" for dim, size in array.sizes.items())
        raise XRouteError(
            f"{what} of {sizes} takes {array.nbytes / 1e9:,.0f} GB, and this machine has {memory / 1e9:,.0f} GB of memory: "
            f"{advice}"
        )


@contextmanager
def writing(doing: str, outcome: str = "", target: Any = None) -> Iterator[None]:
    """Say of any error what was being done, and what came of it; OSErrors stay what they are, others become ours.

    Parameters
    ----------
    doing
        What is done, as it follows "could not": ``"write q.nc"``.
    outcome
        What the files hold after an error, and how to go on.
    target
        What is written, if a disk that is full may be why the error came: libraries seldom say so.

    Raises
    ------
    OSError
        For a full disk, for instance.
    XRouteError
        For what the libraries of the file's format raise.
    """
    ending = f". {outcome}" if outcome else ""
    try:
        yield
    except (XRouteError, ImportError, FileExistsError):
        raise  # they say what is the matter themselves
    except OSError as error:
        text = f"could not {doing}: {error.strerror or error}{f': {error.filename}' if error.filename else ''}{ending}"
        raise (OSError(text) if error.errno is None else OSError(error.errno, text)) from error
    except Exception as error:
        cause = f"{type(error).__name__}: {error}".rstrip(". ")
        raise XRouteError(f"could not {doing}: {cause}{_space(target)}{ending}") from error


def _space(target: Any) -> str:
    """How little space the disk of a file has left, if it is little."""
    try:
        free = shutil.disk_usage(Path(target).absolute().parent).free
    except (OSError, TypeError):
        return ""
    return f"; its disk has {free / 1e6:.1f} MB left" if free < 1e8 else ""
