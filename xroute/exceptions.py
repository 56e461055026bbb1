"""The error tree, and the small helpers that every message is made with.

Every error that a user's data can cause is an `XRouteError`, which is also a `ValueError`. A message says what is wrong,
where (ids, times, counts), and what to do.
"""

from __future__ import annotations

import importlib
import itertools
import sys
import warnings
from collections.abc import Iterable, Sized
from types import ModuleType

__all__ = [
    "AlignmentError", "NetworkError", "ParameterError", "StateError", "TimeAxisError", "UnitsError", "XRouteError",
    "one_of", "require", "some", "warn",
]  # fmt: skip


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
    items = values if isinstance(values, Sized) else list(values)
    shown = ", ".join(repr(v.item() if hasattr(v, "item") else v) for v in itertools.islice(items, n))
    return shown if len(items) <= n else f"{shown}, ... ({len(items)} in all)"


def one_of(name: str, value: object, allowed: Iterable[object], error: type[XRouteError] = ParameterError) -> None:
    """Refuse a value of an option that is not one of those allowed.

    Raises
    ------
    XRouteError
        Of the kind of ``error``.
    """
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
