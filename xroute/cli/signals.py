"""SIGINT and SIGTERM end a command as an error does: what was begun is cleared away, and nothing is left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["LEFT", "Interrupted", "hush", "interruptible"]

LEFT = "xroute.left"
"""Key of the context's ``meta`` under which a command puts what it leaves when it is interrupted, in words."""

PATIENCE = 2.0
"""Seconds after which a second signal ends the process at once: the first may come twice (a key held down, a group)."""


LOCKING = frozenset({
    "xarray.backends.locks", "xarray.backends.file_manager",
    *(f"{lock}.{does}" for lock in ("SerializableLock", "Condition") for does in ("__enter__", "__exit__", "acquire", "release")),
})  # fmt: skip
"""Modules, and methods of the innermost frame, that take locks and give them back."""


class Interrupted(BaseException):
    """A signal has come.

    Parameters
    ----------
    number
        The signal; ``code`` is the exit code that shells give it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def hush() -> None:
    """Say nothing of tasks, threads and destructors that are broken off, or were never begun; the process ends with them."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None
    warnings.filterwarnings("ignore", r"coroutine .* was never awaited", RuntimeWarning)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` where the main thread is when SIGINT or SIGTERM comes, or as soon as it can be raised there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []
    ours: list[int] = []  # signals that are sent again, and not by who wants the process to end

    def stop(number: int, frame: FrameType | None) -> None:
        if ours:
            ours.clear()
        elif first:
            if time.monotonic() - first[0] > PATIENCE:
                os._exit(128 + number)
            return
        else:
            first.append(time.monotonic())
        if _takes_a_lock(frame):
            again(number)
            return
        hush()
        sys.unraisablehook = lost
        raise Interrupted(number)

    def lost(broken: Any) -> None:
        """What Python drops, as all that is raised while a destructor runs: a signal must not go that way."""
        if isinstance(broken.exc_value, Interrupted):
            again(broken.exc_value.code - 128)

    def again(number: int) -> None:
        def send() -> None:
            ours.append(number)
            _send(number)

        timer = threading.Timer(0.02, send)
        timer.daemon = True
        timer.start()

    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        # After a signal the handler stays: what Python and libraries do at exit is not to be interrupted again.
        if not first:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def _takes_a_lock(frame: FrameType | None) -> bool:
    """Whether a lock is being taken or given back in Python's own code: raised there, it would be held for ever.

    xarray, which syncs a file that it could not write, would then wait for a lock that its own thread has.
    """
    if frame is not None and frame.f_code.co_qualname in LOCKING:
        return True
    while frame is not None and frame.f_globals.get("__name__") not in LOCKING:
        frame = frame.f_back
    return frame is not None


def _send(number: int) -> None:
    """Send a signal to the main thread, which it wakes where the system can do so."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
