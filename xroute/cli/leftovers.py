"""Files with the progress of a calibration, and of its stages: what an interrupted one leaves, and what an error does not."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Left", "no_trace_of_errors"]


@contextlib.contextmanager
def no_trace_of_errors(file: Path) -> Iterator[None]:
    """Leave no progress of a run that ended with an error of the user's: the next one, mended, is another."""
    from xroute.exceptions import XRouteError

    there = set(_files(file))
    try:
        yield
    except XRouteError:
        for made in set(_files(file)) - there:
            made.unlink(missing_ok=True)
        raise


def _files(file: Path) -> list[Path]:
    """Files with progress that there are: of the calibration, and of its stages."""
    stages = file.parent.glob(f"{glob.escape(file.stem)}.stage-*{glob.escape(file.suffix)}")
    return [*([file] if file.exists() else []), *stages]


class Left:
    """What an interrupted calibration leaves, in words, told when it comes to that."""

    def __init__(self, file: Path, output: Path) -> None:
        self.file, self.output = file, output

    def __str__(self) -> str:
        files = _files(self.file)
        if self.output.exists() and not files:
            return f"{self.output} is written"
        left = f", and the same command goes on from {self.file if self.file in files else files[0]}" if files else ""
        return f"{self.output} is not written{left}"
