"""`ProgressFile`: where a calibration is, on disk: a killed run goes on from there and ends with the same bits.

It is written whole or not at all, every few seconds and at the end. What it holds is of one problem; another one is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xroute.exceptions import StateError
from xroute.files.writing import remove_drafts
from xroute.learning.archive import read_archive, write_archive
from xroute.wording import argument

__all__ = ["KIND", "WHAT", "ProgressFile"]

KIND = "xroute calibration"
WHAT = "file of a calibration"
EVERY = 2.0
"""Seconds between two writings, at least."""
PART = 20.0
"""How many times as long as a writing takes goes by before the next one."""


class ProgressFile:
    """The file of a calibration.

    Parameters
    ----------
    path
        Of the file.
    identity
        What another run must share to go on from it: by what it is, text.
    resume
        Whether to go on from what is there; else it is replaced.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, str], *, resume: bool = True) -> None:
        self.path, self.identity, self.resume = Path(path), dict(identity), resume
        self._due = 0.0

    def read(self) -> dict[str, Any] | None:
        """How far the run has come; None where it has not begun.

        Raises
        ------
        StateError
            If the file is of another problem; what differs is named.
        XRouteError
            If it is no such file, which is not replaced.
        """
        remove_drafts(self.path)  # a run that was killed as it wrote has left its draft
        if not self.path.exists():
            if not self.path.parent.is_dir():
                raise FileNotFoundError(f"no folder {self.path.parent} to write {self.path.name} in")
            return None
        tree = read_archive(self.path, KIND, WHAT)
        if not self.resume:
            return None
        its = tree["identity"]
        other = [name for name in {**its, **self.identity} if its.get(name) != self.identity.get(name)]
        if other:
            told = ", ".join(_told(name, its.get(name), self.identity.get(name)) for name in other)
            raise StateError(
                f"{self.path} is of another calibration, which differs in {told}. Give another "
                f"{argument('checkpoint')}, or begin anew with {argument('resume', False)}"
            )
        return dict(tree["progress"])

    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self._due

    def write(self, progress: Mapping[str, Any]) -> None:
        """Write how far the run has come."""
        begin = time.monotonic()
        write_archive(self.path, KIND, {"identity": self.identity, "progress": dict(progress), "results": None})
        now = time.monotonic()
        self._due = now + max(EVERY, PART * (now - begin))


def _told(name: str, its: str | None, mine: str | None) -> str:
    """What differs, in words."""
    if its is not None and mine is not None and len(its) < 80 and len(mine) < 80 and not _is_hash(its):
        return f"{name} ({its} instead of {mine})"
    return name


def _is_hash(text: str) -> bool:
    return len(text) == 24 and all(c in "0123456789abcdef" for c in text)
