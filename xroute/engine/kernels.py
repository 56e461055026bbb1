"""Compiled kernels: `kernel`, which all of numba's are made with, and where what is compiled is kept for later runs.

Where nothing can be kept (a read-only installation, and no home that can be written) kernels are compiled in every run, and one
warning says so. A run that compiles says so once, since that takes a while.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba as nb
from numba.core import event

from xroute.exceptions import warn

__all__ = ["keep_triton_kernels", "kernel"]

_shown: set[str] = set()
"""Messages that have been shown in this process."""


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function with numba at its first call, without the GIL, and keep it for later runs where that can be.

    ``@kernel`` or ``@kernel(...)`` with options of `numba.njit`.
    """
    if function is None:
        return lambda one: kernel(one, **options)
    try:
        return nb.njit(cache=True, nogil=True, **options)(function)
    except (RuntimeError, OSError) as error:  # numba has no error of its own for a place that it cannot write to
        if isinstance(error, RuntimeError) and "cannot cache" not in str(error):
            raise
        folder = nb.config.CACHE_DIR or Path(function.__code__.co_filename).parent / "__pycache__"
        _once(
            f"compiled kernels cannot be kept, so that each run compiles them anew, for a minute or so: {folder} cannot be "
            "written, nor can a folder in your home. Set the environment variable NUMBA_CACHE_DIR to a folder that can"
        )
        return nb.njit(nogil=True, **options)(function)


def keep_triton_kernels() -> None:
    """See to it that Triton has a folder for what it compiles, if only for this run: without one it compiles nothing."""
    home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    folder = Path(os.environ.get("TRITON_CACHE_DIR") or Path(home, ".triton", "cache"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError:
        temporary = tempfile.mkdtemp(prefix="xroute-triton-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        os.environ["TRITON_CACHE_DIR"] = temporary
        _once(
            f"compiled GPU kernels cannot be kept, so that each run compiles them anew: {folder} cannot be written. Set the "
            "environment variable TRITON_CACHE_DIR to a folder that can"
        )


def _once(message: str) -> None:
    if message.partition(":")[0] not in _shown:
        _shown.add(message.partition(":")[0])
        warn(message)


class _Compiling(event.Listener):
    """Says once that kernels are compiled, when numba begins with one of ours that it has not kept."""

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if "compiling" in _shown or not str(function.__module__).startswith("xroute."):
            return
        _shown.add("compiling")
        logger = logging.getLogger("xroute")
        kept = (
            "they are compiled anew in every run"
            if any("cannot be kept" in s for s in _shown)
            else "they are kept for later runs"
        )
        level = (
            logging.INFO if logger.hasHandlers() else logging.WARNING
        )  # which is shown where nobody has set up logging
        logger.log(level, "compiling kernels: up to a minute at the first use of each kind of run; %s", kept)

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


event.register("numba:compile", _Compiling())
