"""Folders of several files that belong together: all of them come to where they are wanted, or none does."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xroute.exceptions import some
from xroute.stores import is_group
from xroute.wording import argument

__all__ = ["filled_folder"]


@contextmanager
def filled_folder(folder: str | os.PathLike[str], overwrite: bool, series: str = "") -> Iterator[Path]:
    """Yield a draft folder, whose files come into ``folder`` all of them, when the block ends well, or none.

    A Zarr store is one thing, and takes the place of an older one as a whole. Files of a ``series``, a pattern, belong
    together: with ``overwrite`` those of an older one go. Other files of the folder stay.

    Raises
    ------
    FileExistsError
        If one of the files is there already and ``overwrite`` is False, or the folder is a file.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file, where a folder is wanted")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as made:
        draft, aside = Path(made) / "new", Path(made) / "old"
        draft.mkdir()
        yield draft
        files = sorted(path.relative_to(draft) for path in _things(draft))
        old = [old.relative_to(target) for old in (target.glob(series) if series else ())]
        there = sorted({file for file in files if (target / file).exists()} | set(old))
        if there and not overwrite:
            raise FileExistsError(
                f"{target} has {some(file.as_posix() for file in there)} already; {argument('overwrite', True)} replaces them"
            )
        moved: list[tuple[Path, Path]] = []
        try:
            for source, goal, names in ((target, aside, there), (draft, target, files)):
                for name in names:
                    (goal / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(source / name, goal / name)
                    moved.append((source / name, goal / name))
        except OSError:
            for source_path, goal_path in reversed(moved):
                shutil.move(goal_path, source_path)
            raise


def _things(folder: Path) -> Iterator[Path]:
    """Files and Zarr stores in a folder and in folders of it."""
    for path in folder.iterdir():
        if path.is_dir() and not is_group(path):
            yield from _things(path)
        else:
            yield path
