"""Checkpoints of a run in the Zarr store that it writes: which run it is, how far it has come, and the rivers' state there.

A group of the store, ``checkpoint``, bears the run's description, and two slots that are written by turns. A slot is emptied,
filled with the state, and made valid last, by its attributes; so whenever a run is killed, one slot at least is whole, and
nothing that was written after it counts. A run that begins or goes on puts its own mark on the store, so that another that
was still at work there notices. All works on stores that can only put, get and delete.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xroute.block import BlockState
from xroute.exceptions import XRouteError, require, some

__all__ = ["GROUP", "Checkpoint", "Progress", "as_store", "clear", "digest", "find"]

GROUP = "checkpoint"


@dataclass(frozen=True)
class Progress:
    """How far a run has come: steps of runoff that are routed and written, and water that came in and went out [m3]."""

    steps: int
    volumes: tuple[float, float] | None


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of a store.

    Attributes
    ----------
    store
        Path, URL, or Zarr store, of `as_store`.
    run
        Description of the run: what another must share with it to go on in its place.
    block
        Steps of runoff that are routed and written at a time.
    mark
        By which a run knows that the store is still its own.
    """

    store: Any
    run: dict[str, Any]
    block: int
    mark: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)

    def create(self) -> None:
        """Write the description; the store has been cleared."""
        _zarr().open_group(self.store, mode="a").create_group(GROUP, attributes={"run": self.run, "block": self.block})

    def take(self) -> None:
        """Put the mark of this run on the store."""
        self._group("r+").attrs["mark"] = self.mark

    def taken(self) -> bool:
        """Whether some run has its mark on the store."""
        return "mark" in self._group("r").attrs

    def release(self) -> None:
        """Take the mark away: the run is over."""
        attrs = self._group("r+").attrs
        if "mark" in attrs:
            del attrs["mark"]

    def commit(self, progress: Progress, state: BlockState, *, first: bool = False) -> None:
        """Make progress last; what the store holds up to there has been written.

        Raises
        ------
        XRouteError
            If another run has taken the store.
        """
        if not first:
            try:
                own = self._group("r").attrs.get("mark") == self.mark
            except (FileNotFoundError, KeyError):
                own = False
            if not own:
                raise XRouteError(f"another run writes to {self.store} now, and this one stops: let one finish")
        slot = _zarr().open_group(self.store, path=f"{GROUP}/{-(-progress.steps // self.block) % 2}", mode="w")
        for name, values in (("outflow", state.outflow), ("history", state.history)):
            chunk = tuple(max(1, min(n, 2**22)) for n in values.shape)
            array = slot.create_array(name, shape=values.shape, chunks=chunk, dtype=values.dtype, compressors=None)
            if values.size:
                array[...] = values
        slot.attrs.put({"steps": progress.steps, "volumes": progress.volumes})

    def latest(self) -> tuple[Progress, BlockState] | None:
        """Last progress that was made to last; None if the store was not even laid out."""
        found = []
        if self._group("r").attrs.get("cleared"):
            return None
        for path in (f"{GROUP}/0", f"{GROUP}/1"):
            with contextlib.suppress(FileNotFoundError, KeyError, ValueError):  # not there, or cut off while written
                slot = _zarr().open_group(self.store, path=path, mode="r", use_consolidated=False)
                found.append((int(slot.attrs["steps"]), slot))
        if not found:
            return None
        steps, slot = max(found, key=lambda one: one[0])
        volumes = slot.attrs["volumes"]
        progress = Progress(steps, None if volumes is None else (float(volumes[0]), float(volumes[1])))
        return progress, BlockState(np.asarray(slot["history"][...]), np.asarray(slot["outflow"][...]))

    def differences(self, run: Mapping[str, Any]) -> str:
        """In what another run differs from this one, in words; empty if in nothing."""
        names = [name for name in {**self.run, **run} if self.run.get(name) != run.get(name)]
        told = [_WORDS.get(name) or f"{name} {self.run.get(name)!r} instead of {run.get(name)!r}" for name in names]
        return ", ".join(told)

    def _group(self, mode: str) -> Any:
        return _zarr().open_group(self.store, path=GROUP, mode=mode, use_consolidated=False)


_WORDS = {
    "network": "another network",
    "parameters": "other parameters",
    "coordinates": "other reaches, times, members or dimensions",
    "start": "another initial state",
}


def _zarr() -> Any:
    return require("zarr", feature="reading and writing Zarr", extra="io")


def as_store(store: Any) -> Any:
    """The store as all that open it take it: an absolute path of a folder, a URL, or a Zarr store of another kind.

    Raises
    ------
    XRouteError
        If it is nothing that could be a store.
    """
    zarr = _zarr()
    if isinstance(store, zarr.storage.LocalStore):
        store = store.root
    if isinstance(store, str) and store.startswith("file://"):
        store = store.removeprefix("file://")
    if isinstance(store, Path) or (isinstance(store, str) and "://" not in store):
        return Path(store).expanduser().absolute()
    if isinstance(store, (str, zarr.abc.store.Store)):
        return store
    raise XRouteError(f"store is a path, a URL or a Zarr store, not {store!r}")


def find(store: Any) -> Checkpoint | None:
    """Checkpoint of a store; None if there is nothing in it, or no store.

    Raises
    ------
    FileExistsError
        If something is there that `route_to_zarr` did not write.
    """
    root = _open(store)
    with contextlib.suppress(FileNotFoundError, KeyError, ValueError):
        attrs = _zarr().open_group(store, path=GROUP, mode="r", use_consolidated=False).attrs
        if "run" in attrs and "block" in attrs:
            return Checkpoint(store, dict(attrs["run"]), int(attrs["block"]))
    if root is None:
        if _is_empty(store):
            return None
        raise FileExistsError(f"{store} holds other files, and is no Zarr store: choose another path")
    keys = sorted(root.keys()) if hasattr(root, "keys") else ["an array"]
    if not keys and not dict(root.attrs):
        return None
    raise FileExistsError(
        f'{store} holds {some(keys)}, which is not the beginning of a run: choose another path, or replace it with mode="w"'
    )


def clear(store: Any) -> None:
    """Empty a store, or make one.

    The description goes last, and says from the first that the rest does not count: if this is cut off, what is left is a
    run that has not begun.

    Raises
    ------
    XRouteError
        For what is no Zarr store: it is nothing that a run should delete.
    """
    if isinstance(store, Path) and store.is_file():
        raise XRouteError(f"{store} is a file, and no Zarr store: it is not replaced")
    ours = False
    with contextlib.suppress(FileNotFoundError, KeyError, ValueError):
        group = _zarr().open_group(store, path=GROUP, mode="r+", use_consolidated=False)
        ours = "run" in group.attrs
        if ours:
            group.attrs["cleared"] = True
    if not ours and _open(store) is None and not _is_empty(store):
        raise XRouteError(f"{store} holds other files, and is no Zarr store: it is not replaced")
    last = (
        [store / "zarr.json", store / GROUP / "0", store / GROUP / "1", store / GROUP]
        if isinstance(store, Path)
        else []
    )
    for path in (*(p for p in _entries(store) if p not in last), *last):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _zarr().open_group(store, mode="w")


def digest(*values: Any) -> str:
    """Hash of arrays and of what prints the same each time."""
    hashed = hashlib.blake2b(digest_size=12)

    def add(value: Any) -> None:
        if isinstance(value, (list, tuple)):
            hashed.update(f"({len(value)}".encode())
            for one in value:
                add(one)
        elif isinstance(value, np.ndarray):
            hashed.update(f"{value.dtype.str}{value.shape}".encode())
            plain = value.dtype.kind not in "OT"
            hashed.update(np.ascontiguousarray(value).tobytes() if plain else repr(value.tolist()).encode())
        else:
            hashed.update(repr(value).encode())

    add(values)
    return hashed.hexdigest()


def _open(store: Any) -> Any:
    """The root group or array of a store, None if there is none."""
    try:
        return _zarr().open(store, mode="r")
    except (FileNotFoundError, KeyError, ValueError, NotADirectoryError):
        return None


def _entries(store: Any) -> list[Path]:
    return list(store.iterdir()) if isinstance(store, Path) and store.is_dir() else []


def _is_empty(store: Any) -> bool:
    """Whether nothing is there but the half files of a process that was killed."""
    if isinstance(store, Path):
        return not store.is_file() and all(p.suffix == ".partial" for p in _entries(store))
    if isinstance(store, str):
        fsspec = require("fsspec", feature="stores at a URL", extra="io")
        system, path = fsspec.core.url_to_fs(store)
        return not system.exists(path) or not (system.isfile(path) or system.ls(path))
    from zarr.core.sync import sync

    return bool(sync(store.is_empty("")))
