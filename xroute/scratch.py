"""A scratch file: runoff that was read once, kept on the local disk until it is routed.

The file has no name any more once it is open, so that nothing is left of it when the process ends, however it ends. A run that
goes on after that reads its runoff again.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scratch", "scratch_folder"]

SPARE = 5 * 10**8
"""Bytes of a disk that are left free."""


def scratch_folder(n_bytes: int, *others: Any) -> Path | None:
    """A folder of a local disk with room for so many bytes: that of temporary files, or one of some others; None without.

    Memory that passes for a disk (tmpfs) is none: what is to be kept would not fit there, or it would be in memory.
    """
    for folder in (tempfile.gettempdir(), *others):
        try:
            folder = Path(folder)
            if folder.is_dir() and os.access(folder, os.W_OK) and not _in_memory(folder):
                if shutil.disk_usage(folder).free - SPARE >= n_bytes:
                    return folder
        except (OSError, TypeError):
            continue
    return None


def _in_memory(folder: Path) -> bool:
    """Whether a folder's file system is memory, as far as the system tells."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except (OSError, IndexError):
        return False
    inside = [(where, kind) for where, kind in mounts if folder.resolve().is_relative_to(where)]
    return bool(inside) and max(inside, key=lambda mount: len(mount[0]))[1] in ("tmpfs", "ramfs")


class Scratch:
    """Some arrays in a file, one after another, each [*batch, row, time] and contiguous.

    Parameters
    ----------
    folder
        Where it is put.
    shapes
        Shapes of the arrays.
    dtype
        Their type.
    """

    def __init__(self, folder: Path, shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> None:
        self.shapes, self.dtype = list(shapes), dtype
        sizes = [math.prod(shape) * dtype.itemsize for shape in self.shapes]
        self.first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._file = tempfile.TemporaryFile(prefix="xroute-", dir=folder, buffering=0)

    def close(self) -> None:
        """Give its disk back."""
        self._file.close()

    def put(self, number: int, batch: Sequence[slice], rows: slice, values: NDArray[Any]) -> None:
        """Write some members' rows, all steps of them, of an array: ``values`` [*batch, row, time]."""
        *members, n_rows, n_steps = self.shapes[number]
        values = np.ascontiguousarray(values, self.dtype)
        lead = np.arange(math.prod(members)).reshape(members)[tuple(batch)].ravel()
        for member, run in zip(lead.tolist(), values.reshape(len(lead), -1), strict=True):
            self._seek(number, (member * n_rows + rows.start) * n_steps)
            self._write(run.view(np.uint8))

    def take(self, number: int, rows: slice | None = None) -> NDArray[Any]:
        """Read an array, or ``rows`` of its first member [row, time]."""
        shape = self.shapes[number]
        begin = 0
        if rows is not None:
            begin, shape = rows.start * shape[-1], (rows.stop - rows.start, shape[-1])
        values = np.empty(shape, self.dtype)
        self._seek(number, begin)
        view: Any = values.reshape(-1).view(np.uint8)
        while len(view):
            n = self._file.readinto(view)
            if not n:
                raise OSError(f"the scratch file in {tempfile.gettempdir()} has lost its end")
            view = view[n:]
        return values

    def _seek(self, number: int, entries: int) -> None:
        self._file.seek(int(self.first[number]) + entries * self.dtype.itemsize)

    def _write(self, view: Any) -> None:
        while len(view):
            view = view[self._file.write(view) :]
