"""Zarr stores as one run writes to them: what it writes is its own, whole, and on the disk; after another took over, nothing.

In a folder each run has one of its own, ``checkpoint/writer-<mark>``. Whatever it writes is written there first and then
renamed to its place, and what it deletes is renamed into there first. Another run takes over by deleting that folder: from
then on a rename of the first finds no source or no target, wherever the first was held up (a stopped process, a file
system that did not answer), so that there is no moment between asking and writing. Stores that cannot rename (object
stores, memory) bear the mark under a key, which is asked for before each write.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from zarr.abc.store import Store
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, WrapperStore

from xroute.exceptions import XRouteError
from xroute.stores import CHECKPOINT, GROUP_FILES, open_store

__all__ = ["AskingStore", "OwnStore", "is_taken", "names", "release", "take"]

WRITER = "writer-"
KEY = f"{CHECKPOINT}/writer"


def take(store: Any, mark: str) -> OwnStore | AskingStore:
    """Make a store this run's own, for writing; whoever wrote to it before cannot any more.

    Parameters
    ----------
    store
        Of `xroute.stores.as_store`.
    mark
        Name of the run, which no other has.

    Raises
    ------
    XRouteError
        If another run takes it at the same moment, or what it left cannot be removed.
    """
    if not isinstance(store, Path):
        asking = AskingStore(open_store(store, read_only=False), mark)
        sync(asking.claim())
        return asking
    own = OwnStore(store, writer=f"{WRITER}{mark}")
    own.made = not store.exists()
    own.folder.mkdir(parents=True)
    own.note_new_folders()
    for other in _writers(store):
        if other != own.folder:
            _retire(other)
    if not own.folder.is_dir():
        raise own.overtaken()
    return own


def release(own: OwnStore | AskingStore, *, cleared: bool = False) -> None:
    """Give a store back, whose run is over; of one that was cleared the folders go that the run made."""
    if isinstance(own, OwnStore):
        own.settle()
        _retire(own.folder)
        _sync(own.folder.parent)
        if cleared:
            own.folder.parent.rmdir()
            if own.made:
                own.root.rmdir()  # which refuses what is not empty
    else:
        sync(own.unclaim())


def is_taken(store: Any) -> bool:
    """Whether some run writes to a store, or was killed while it did."""
    if isinstance(store, Path):
        return bool(_writers(store))
    return bool(sync(open_store(store, read_only=False).exists(KEY)))


def names(store: Any) -> list[str]:
    """What a store holds at its root, but for metadata of the root, and what a run leaves that was killed at its first steps."""
    if isinstance(store, Path):
        found = [p.name for p in store.iterdir()] if store.is_dir() else []
        bare = all(p.name.startswith(WRITER) for p in _entries(store / CHECKPOINT))
    else:
        opened = open_store(store, read_only=False)
        found = _listed(opened, "")
        bare = set(_listed(opened, CHECKPOINT)) <= {KEY.rpartition("/")[2]} if CHECKPOINT in found else False
    return sorted(n for n in found if n not in GROUP_FILES and not (n == CHECKPOINT and bare))


def _entries(folder: Path) -> list[Path]:
    """Entries of a folder; itself for a file, none for what is not there."""
    if folder.is_dir():
        return list(folder.iterdir())
    return [folder] if folder.exists() else []


def _writers(store: Path) -> list[Path]:
    return list((store / CHECKPOINT).glob(f"{WRITER}*")) if (store / CHECKPOINT).is_dir() else []


def _listed(store: Store, prefix: str) -> list[str]:
    async def collect() -> list[str]:
        return [name async for name in store.list_dir(prefix)]

    return sync(collect())


def _retire(folder: Path) -> None:
    """Delete a folder in which another may still be writing."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)
    raise XRouteError(f"{folder} cannot be deleted: another run may be writing there; end it, or delete it by hand")


class OwnStore(LocalStore):
    """A folder as the run that owns it writes to it.

    Parameters
    ----------
    root
        The folder.
    read_only
        As for any store.
    writer
        Name of the run's own folder.
    unsettled
        Files and folders that are not yet sure to be on the disk. None syncs each at once: so do copies in other processes,
        which nobody tells to `settle`.
    """

    made = False
    """Whether the run made the folder."""

    def __init__(
        self, root: Path | str, *, read_only: bool = False, writer: str = "", unsettled: set[Path] | None = None
    ) -> None:
        super().__init__(root, read_only=read_only)
        self.writer = writer
        self.unsettled = set() if unsettled is None else unsettled

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.root / CHECKPOINT / self.writer

    def overtaken(self) -> XRouteError:
        """What is said of a store that was taken."""
        return _overtaken(self.root)

    def settle(self) -> None:
        """Make sure that all which was written is on the disk."""
        if self.unsettled:
            with ThreadPoolExecutor(8) as pool:  # a file system's journal takes several at a time
                list(pool.map(_sync, sorted(self.unsettled)))
            self.unsettled.clear()

    def note_new_folders(self) -> None:
        """Settle the way to the run's own folder, too."""
        self.unsettled |= {self.root.parent, self.root, self.root / CHECKPOINT}

    def with_read_only(self, read_only: bool = False) -> OwnStore:
        """Return the same store, to be read only or not."""
        return type(self)(self.root, read_only=read_only, writer=self.writer, unsettled=self.unsettled)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "unsettled": None}

    # ── what Zarr asks of a store ───────────────────────────────────────────────────────────────────────────────────────

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value."""
        await asyncio.to_thread(self._put, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a value where there is none: nobody else makes one, and hard links are not for every file system."""
        if not await self.exists(key):
            await self.set(key, value)

    async def delete(self, key: str) -> None:
        """Delete a value."""
        await asyncio.to_thread(self._remove, key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all under a prefix."""
        await asyncio.to_thread(self._remove, prefix)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a value."""
        self._put(key, value)

    def delete_sync(self, key: str) -> None:
        """Delete a value."""
        self._remove(key)

    async def clear(self) -> None:
        """Delete all; but the run's own folder stays."""
        for name in [n async for n in self.list_dir("")]:
            await self.delete_dir(name)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names under a prefix, but for the folders of runs."""
        inside = prefix.strip("/") == CHECKPOINT
        async for name in super().list_dir(prefix):
            if not (inside and name.startswith(WRITER)):
                yield name

    def _put(self, key: str, value: Buffer) -> None:
        self._check_writable()
        target, temporary = self.root / key, self.folder / uuid.uuid4().hex
        try:
            with temporary.open("wb") as file:
                file.write(value.as_numpy_array())  # type: ignore[arg-type]
                if self.unsettled is None or os.name == "nt":
                    file.flush()
                    os.fsync(file.fileno())
        except FileNotFoundError as error:
            raise self.overtaken() from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._make_folder(target.parent)
        try:
            self._rename(temporary, target, os.replace)
        finally:
            temporary.unlink(missing_ok=True)
        if self.unsettled is not None:
            self.unsettled.add(target)
        self._note(target.parent)

    def _remove(self, key: str) -> None:
        self._check_writable()
        source, aside = self.root / key, self.folder / uuid.uuid4().hex
        if source in (self.root, self.root / CHECKPOINT):
            raise XRouteError(f"{source} is not deleted while a run writes there")
        if not source.exists() and not source.is_symlink():
            if not self.folder.is_dir():
                raise self.overtaken()
            return
        self._rename(source, aside, os.rename)
        self._note(source.parent)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside, ignore_errors=True)  # what is left goes with the folder
        else:
            aside.unlink(missing_ok=True)

    def _rename(self, source: Path, target: Path, move: Callable[[Path, Path], None]) -> None:
        try:
            move(source, target)
        except FileNotFoundError as error:
            if not self.folder.is_dir():
                raise self.overtaken() from error
            raise

    def _make_folder(self, folder: Path) -> None:
        new = []
        while not folder.is_dir() and folder != self.root:
            new.append(folder)
            folder = folder.parent
        if new:
            new[0].mkdir(parents=True, exist_ok=True)
            for one in new:
                self._note(one.parent)

    def _note(self, folder: Path) -> None:
        if self.unsettled is None:
            _sync(folder)
        else:
            self.unsettled.add(folder)


class AskingStore(WrapperStore[Store]):
    """A store that cannot rename: before each write it is asked whose it is."""

    def __init__(self, store: Store, mark: str) -> None:
        super().__init__(store)
        self.mark = mark

    def _with_store(self, store: Store) -> AskingStore:
        return type(self)(store, self.mark)

    def with_read_only(self, read_only: bool = False) -> AskingStore:
        """Return the same store, to be read only or not."""
        return self._with_store(self._store.with_read_only(read_only))

    def settle(self) -> None:
        """Do nothing: these stores answer when a value is kept."""

    async def claim(self) -> None:
        """Put the run's mark on the store."""
        buffer = default_buffer_prototype().buffer
        await self._store.set(KEY, buffer.from_bytes(self.mark.encode()))

    async def unclaim(self) -> None:
        """Take the mark away, if it is still the run's own."""
        await self._ask()
        await self._store.delete(KEY)

    async def _ask(self) -> None:
        found = await self._store.get(KEY, default_buffer_prototype())
        if found is None or found.to_bytes() != self.mark.encode():
            raise _overtaken(self._store)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value."""
        await self._ask()
        await self._store.set(key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a value where there is none."""
        await self._ask()
        await self._store.set_if_not_exists(key, value)

    async def delete(self, key: str) -> None:
        """Delete a value."""
        await self._ask()
        await self._store.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all under a prefix."""
        await self._ask()
        await self._store.delete_dir(prefix)

    async def _set_many(self, values: Any) -> None:
        await self._ask()
        await self._store._set_many(values)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names under a prefix, but for the mark."""
        inside = prefix.strip("/") == CHECKPOINT
        async for name in self._store.list_dir(prefix):
            if not (inside and name == KEY.rpartition("/")[2]):
                yield name


def _overtaken(store: Any) -> XRouteError:
    return XRouteError(f"another run writes to {store} now, and this one stops (nothing of the other is touched)")


def _sync(path: Path) -> None:
    """Put a file, or a folder's entries, on the disk, where what is written already can be opened for it."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):  # it was deleted since
        return
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot, and need not
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
