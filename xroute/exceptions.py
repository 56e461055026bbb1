"""The error tree, and the small helpers that every message is made with.

Every error that a user's data can cause is an `XRouteError`, which is also a `ValueError`. A message says what is wrong,
where (ids, times, counts), and what to do.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = [
    "AlignmentError",
    "NetworkError",
    "ParameterError",
    "StateError",
    "TimeAxisError",
    "UnitsError",
    "XRouteError",
    "one_of",
    "reading",
    "require",
    "require_memory",
    "some",
    "warn",
    "writing",
]


class XRouteError(ValueError):
    """Base of all errors that xroute raises about its input."""


class NetworkError(XRouteError):
    """The river network is not one: cycles, duplicate or unknown ids, impossible fractions."""


class ParameterError(XRouteError):
    """A routing parameter or option is missing, NaN or out of range."""


class AlignmentError(XRouteError):
    """Runoff and network do not name the same reaches, or a dimension cannot be told."""


class TimeAxisError(XRouteError):
    """The time axis is irregular, disordered, or its step cannot be told."""


class UnitsError(XRouteError):
    """Units are unknown, or cannot be converted to a discharge."""


class StateError(XRouteError):
    """A routing state belongs to another network, scheme, option or time step."""


def some(values: Iterable[object], n: int = 10) -> str:
    """Name the first ``n`` of ``values``, and how many there are when that is more."""
    items = [v.item() if hasattr(v, "item") else v for v in values]
    shown = ", ".join(repr(v) for v in items[:n])
    return shown if len(items) <= n else f"{shown}, ... ({len(items)} in all)"


def one_of(name: str, value: object, allowed: Iterable[object], error: type[XRouteError] = ParameterError) -> None:
    """Refuse a value of an option that is not one of those allowed."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise error(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the line that called xroute, from which the way here may be long or short."""
    level, frame = 2, sys._getframe(1)  # skip_file_prefixes does this from Python 3.12 on
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__"))
        if name.partition(".")[0] == "xroute":
            level += 1
        elif name not in ("importlib._bootstrap", "importlib._bootstrap_external"):  # which the module warnings skips too
            break
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def reading(source: Any, how: str = "") -> Iterator[None]:
    """Make ours of whatever the libraries of a file's format raise while it is read: they raise what they like.

    Parameters
    ----------
    source
        What is read, for the message.
    how
        As what it is read, such as "as netCDF".

    Raises
    ------
    XRouteError
        It cannot be read, or takes more memory than there is.
    PermissionError
        It may not be read.
    """
    try:
        yield
    except (XRouteError, ImportError):
        raise
    except PermissionError as error:
        raise PermissionError(error.errno, f"{source} may not be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise XRouteError(f"{source} does not fit in memory: {error}") from error
    except Exception as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}"
        name = "" if isinstance(error, OSError) and error.strerror else type(error).__name__
        text = ": ".join(part for part in (name, " ".join(said.split())[:300].rstrip(". ")) if part)
        how = f" {how}" if how else ""
        advice = "it may be damaged, or of a kind not known here"
        if isinstance(error, UnicodeError):
            advice = "it is no text in UTF-8, so save it as that"
        raise XRouteError(f"{source} cannot be read{how} ({text}): {advice}") from error


def require_memory(array: Any, what: str, advice: str) -> None:
    """Refuse an array that is not in memory yet, and is larger than all the memory of this machine.

    Parameters
    ----------
    array
        A DataArray or a Dataset.
    what
        What it is, for the message.
    advice
        What to do instead.

    Raises
    ------
    XRouteError
        With the sizes.
    """
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
def writing(target: Any, kept: str = "") -> Iterator[None]:
    """Say of any error what was being written, and what is kept; OSErrors stay what they are, others become ours.

    Raises
    ------
    OSError
        For a full disk, for instance.
    XRouteError
        For what the libraries of the file's format raise.
    """
    try:
        yield
    except (XRouteError, ImportError, FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        text = f"could not write {target}: {error.strerror or error}{kept}"
        raise (OSError(text) if error.errno is None else OSError(error.errno, text)) from error
    except Exception as error:
        said = f"{type(error).__name__}: {error}".rstrip(". ")
        raise XRouteError(f"could not write {target} ({said}){_space(target)}{kept}") from error


def _space(target: Any) -> str:
    """How little space a disk has left, if that may be why: libraries seldom say so."""
    try:
        free = shutil.disk_usage(Path(target).absolute().parent).free
    except (OSError, TypeError):
        return ""
    return f"; its disk has {free / 1e6:.1f} MB left" if free < 1e8 else ""


def require(module: str, feature: str, extra: str) -> ModuleType:
    """Import an optional dependency where it is used.

    Parameters
    ----------
    module
        Name of the module.
    feature
        What needs it, in words.
    extra
        The extra of the package that installs it.

    Raises
    ------
    ImportError
        Naming the feature and the install command, when the module is absent.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{feature} needs {module}: pip install "xroute[{extra}]"') from error
