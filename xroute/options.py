"""Options that hold for a session: `set_options`."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

__all__ = ["get_option", "n_threads", "set_options"]

_OPTIONS: dict[str, Any] = {"threads": None}


class set_options:  # noqa: N801 (reads as a function, as in xarray)
    """Set options for the session, or for a ``with`` block.

    Parameters
    ----------
    threads : int or None
        Threads of the CPU engine; None (the default) means one for each processor that this process may use.
        Inside a Dask task with several worker threads, 1 is a good choice.

    Raises
    ------
    ValueError
        For an unknown option or an impossible value.

    Examples
    --------
    >>> import xroute
    >>> with xroute.set_options(threads=1):
    ...     pass  # route here on one thread
    """

    def __init__(self, **options: Any) -> None:
        for name, value in options.items():
            if name not in _OPTIONS:
                raise ValueError(f"no option {name!r}; there are {', '.join(sorted(_OPTIONS))}")
            if (
                name == "threads"
                and value is not None
                and (isinstance(value, bool) or int(value) != value or value < 1)
            ):
                raise ValueError(f"threads must be a positive whole number or None, not {value!r}")
        self._old = {name: _OPTIONS[name] for name in options}
        _OPTIONS.update(options)

    def __enter__(self) -> set_options:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _OPTIONS.update(self._old)


def get_option(name: str) -> Any:
    """Value of an option."""
    return _OPTIONS[name]


def n_threads() -> int:
    """Threads that the CPU engine may use."""
    if _OPTIONS["threads"]:
        return int(_OPTIONS["threads"])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
