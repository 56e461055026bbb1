"""Options: `set_options`, for a session or for a block of code.

A plain call sets what holds for the session, in all its threads. A ``with`` block sets what holds in its own context alone (its
thread or asyncio task, and what that calls): two of Dask's threads that route at once do not see each other's.
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from xroute.engine.backends import backends, default_device, device_named
from xroute.exceptions import ParameterError

if TYPE_CHECKING:
    import torch

__all__ = ["check_device", "find_device", "get_option", "n_threads", "options_here", "set_options"]

_DEFAULT: dict[str, Any] = {"threads": None, "device": None}
_SESSION: list[tuple[weakref.ref[set_options], dict[str, Any]]] = []
"""What plain calls have said, the latest last. Each is taken out by itself when its block begins, so that threads which begin
blocks at once leave nothing behind."""
_LOCK = threading.Lock()
_BLOCKS: ContextVar[dict[str, Any]] = ContextVar("xroute_options")
"""What the blocks around the code that runs say."""


class set_options:  # noqa: N801 (reads as a function, as in xarray)
    """Set options for the session, or for a ``with`` block.

    A plain call holds in all threads until the next one; a ``with`` block holds in its own thread or asyncio task, and goes
    before what the session says. A plain call inside a block that sets the same option holds to the block's end. Runoff on Dask
    takes along what held where `xroute.route` was called.

    Parameters
    ----------
    threads : int or None
        Threads of the CPU engine; None (the default) means one for each processor that this process may use.
        Inside a Dask task with several worker threads, 1 is a good choice.
    device : str or None
        Where `xroute.route` computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...; None (the default) means the GPU where
        there is one, else the CPU.

    Raises
    ------
    ParameterError
        For an unknown option or an impossible value. Whether there is such a GPU is asked only when something is routed.

    Examples
    --------
    >>> import xroute
    >>> with xroute.set_options(threads=1):
    ...     pass  # route here on one thread
    """

    def __init__(self, **options: Any) -> None:
        for name, value in options.items():
            if name not in _DEFAULT:
                raise ParameterError(f"no option {name!r}; there are {', '.join(sorted(_DEFAULT))}")
            if name == "threads" and value is not None and not (_is_whole(value) and value >= 1):
                raise ParameterError(f"threads must be a positive whole number or None, not {value!r}")
            if name == "device" and value is not None:
                check_device(value)
        self._options = options
        self._tokens: list[Token[dict[str, Any]]] = []
        self._around = around = _BLOCKS.get({})
        self._within = {**around, **{name: value for name, value in options.items() if name in around}}
        if self._within != around:
            _BLOCKS.set(self._within)
        with _LOCK:
            while _SESSION and _SESSION[0][0]() is None:  # no block can begin with it any more
                _DEFAULT.update(_SESSION.pop(0)[1])
            _SESSION.append((weakref.ref(self), {n: v for n, v in options.items() if n not in around}))

    def __repr__(self) -> str:
        says = {"threads": f"one for each of {n_threads()} processors", "device": "the GPU where there is one, else the CPU"}
        now = {name: get_option(name) for name in sorted(_DEFAULT)}
        return f"<xroute.set_options: {', '.join(f'{n}={v!r}' + (f' ({says[n]})' if v is None else '') for n, v in now.items())}>"

    def __enter__(self) -> set_options:
        with _LOCK:
            _SESSION[:] = [call for call in _SESSION if call[0]() is not self]
        if _BLOCKS.get({}) is self._within:
            _BLOCKS.set(self._around)
        self._tokens.append(_BLOCKS.set({**_BLOCKS.get({}), **self._options}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _BLOCKS.reset(self._tokens.pop())


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool) and value % 1 == 0


@contextmanager
def options_here(**options: Any) -> Iterator[None]:
    """As a block of `set_options`, of options that are checked already: for tasks, which must not touch the session's."""
    token = _BLOCKS.set({**_BLOCKS.get({}), **options})
    try:
        yield
    finally:
        _BLOCKS.reset(token)


def get_option(name: str) -> Any:
    """Value of an option, where it is asked for."""
    blocks = _BLOCKS.get({})
    if name in blocks:
        return blocks[name]
    for _, options in reversed(list(_SESSION)):
        if name in options:
            return options[name]
    return _DEFAULT[name]


def find_device(name: str | None) -> torch.device:
    """Device by name; with None that of the options, and failing that the GPU if there is one, else the CPU.

    Raises
    ------
    ParameterError
        For a name that is no device, or a device that this machine or its PyTorch does not have.
    """
    name = get_option("device") if name is None else name
    if name is None:
        return default_device()
    check_device(name)
    return device_named(str(name))


def check_device(device: Any) -> None:
    """Refuse what can be no device's name, without torch; a `torch.device` reads as its name, and None is the default."""
    names = backends()
    if device is not None and not re.fullmatch(
        rf"({'|'.join(names)})(:(\d|[1-9]\d))?", str(device)
    ):  # torch counts to 127, and no host has so many
        raise ParameterError(f"device is {', '.join(map(repr, names))}, 'cuda:1', ... or None, not {device!r}")


def n_threads() -> int:
    """Threads that the CPU engine may use."""
    threads = get_option("threads")
    if threads:
        return int(threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
