"""Importing the package takes a second or more; a key pressed meanwhile ends the ``xroute`` command without a traceback.

Only the command is quietened, not a Python program that imports the package. Nothing is written before the imports are
done, and `xroute.cli.signals` takes over then.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

__all__: list[str] = []


def _end_quietly() -> None:
    """Let SIGINT end the process at once, if it is the ``xroute`` command that starts; its workers leave it to that."""
    names = "xroute", "xroute.exe"
    is_command = os.path.basename("".join(sys.orig_argv[1:2])) in names or sys.orig_argv[1:3] == ["-m", "xroute"]
    is_worker = "--multiprocessing-fork" in sys.orig_argv and os.path.basename("".join(sys.argv[:1])) in names
    untouched = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if (is_command or is_worker) and untouched and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _end if is_command else signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    os.write(2, b"interrupted: nothing was written\n")
    os._exit(128 + number)


_end_quietly()
