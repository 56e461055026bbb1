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

__all__ = ["LEFT", "Interrupted", "hush", "interruptible"]

LEFT = "xroute.left"
"""Key of the context's ``meta`` under which a command puts what it leaves when it is interrupted, in words."""

PATIENCE = 2.0
"""Seconds after which a second signal ends the process at once: the first may come twice (a key held down, a group)."""


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
    """Raise `Interrupted` where the main thread is when SIGINT or SIGTERM comes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def stop(number: int, _: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            hush()
            raise Interrupted(number)
        if time.monotonic() - first[0] > PATIENCE:
            os._exit(128 + number)

    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        # After a signal the handler stays: what Python and libraries do at exit is not to be interrupted again.
        if not first:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
