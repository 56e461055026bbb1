"""Whether a store still holds what a run wrote to it: labels and metadata by their digests, discharge by its chunks.

What is laid out at first is small, and its digests stand in the checkpoint. Discharge is not read again: its chunks must be
there, and bear the checksum of their own codec, which whoever reads them compares; one that is gone reads as NaN.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from xroute.checkpoint import route_again
from xroute.exceptions import XRouteError, some, warn
from xroute.identity import digest
from xroute.stores import (
    ARRAY_FILES,
    ATTRIBUTES,
    CHECKPOINT,
    CONSOLIDATED,
    DISCHARGE,
    GATHERED,
    METADATA,
    UNFINISHED,
    open_store,
)

__all__ = ["check_intact", "layout_digests"]

MEANING = {"units", "calendar", "_FillValue", "missing_value", "scale_factor", "add_offset", "coordinates", "bounds"}
"""Attributes without which values are others; the rest of them a user may change."""


def layout_digests(store: Store) -> dict[str, list[str]]:
    """Digests of all that a store was laid out with, by key: of its value, and of attributes that a user may change.

    Chunks of discharge come later, and the checkpoint changes; neither is among them.
    """
    return {key: _digests(_value(store, key), key) for key in sorted(sync(_keys(store)))}


def check_intact(store: Any, layout: Mapping[str, list[str]], written: Sequence[Sequence[slice]]) -> None:
    """Refuse a store that has lost, or no longer has as it was written, what its checkpoint covers.

    Parameters
    ----------
    store
        Of `xroute.stores.as_store`.
    layout
        Of `layout_digests`, when it was laid out.
    written
        Parts of discharge that were written: slices along its axes.

    Raises
    ------
    XRouteError
        With the keys that are damaged. Attributes that are others may be a user's own, and are a warning.
    """
    opened = open_store(store, read_only=True)
    damaged, attributes = [], []
    for key, (value, attrs) in layout.items():
        found = _value(opened, key)
        now = None if found is None else _digests(found, key)
        if now is None or now[0] != value:
            damaged.append(key)
        elif now[1] != attrs:
            attributes.append(key)
    if not damaged:
        damaged += _stale(opened, layout)
    if damaged:
        are = "is" if len(damaged) == 1 else "are"
        raise XRouteError(f"{store} is damaged: {some(damaged)} {are} not as written, or gone. {route_again()}")
    lost = _lost(store, opened, written)
    if lost:
        raise XRouteError(
            f"{store} is damaged: {len(lost)} chunks of {DISCHARGE} that were written are gone or empty: {some(lost)}. "
            f"{route_again()}"
        )
    if attributes:
        warn(f"attributes of {store} are not those that were written ({some(attributes)}): changed since, or damaged")


async def _keys(store: Store) -> list[str]:
    found = []
    async for entry in store.list_dir(""):
        if entry not in (CHECKPOINT, DISCHARGE):
            below = [key async for key in store.list_prefix(f"{entry}/")]
            found += below or [entry]
    return found + [key for file in ARRAY_FILES if await store.exists(key := f"{DISCHARGE}/{file}")]


def _value(store: Store, key: str) -> bytes | None:
    found = sync(store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def _digests(value: bytes | None, key: str) -> list[str]:
    if key.rpartition("/")[2] not in (METADATA, ATTRIBUTES, CONSOLIDATED):
        return [digest(value), ""]
    try:
        metadata = json.loads(value or b"")
        if key.endswith(CONSOLIDATED):  # gathered anew at the end of a run
            return ["", ""]
        if key.endswith(ATTRIBUTES):
            metadata = {"attributes": metadata}
        attrs = {n: v for n, v in metadata.get("attributes", {}).items() if n not in (UNFINISHED, "history")}
        rest = {n: v for n, v in metadata.items() if n not in ("attributes", GATHERED)}
        rest["attributes"] = {n: attrs.pop(n) for n in MEANING & set(attrs)}
    except (ValueError, AttributeError):
        return ["damaged", ""]
    return [digest(json.dumps(rest, sort_keys=True)), digest(json.dumps(attrs, sort_keys=True))]


def _stale(store: Store, layout: Mapping[str, list[str]]) -> list[str]:
    """The root's metadata, if what it has gathered of the arrays is not what they say of themselves."""
    import zarr

    root = json.loads(_value(store, METADATA) or b"{}")
    if not root.get(GATHERED):
        return []
    try:
        zarr.open_group(store, mode="r", use_consolidated=True)
        gathered = root[GATHERED]["metadata"]
        copies = {f"{array}/{METADATA}": json.dumps(copy).encode() for array, copy in gathered.items()}
    except OSError:  # what cannot be read need not be damaged
        raise
    except Exception:  # damaged metadata raise what they like
        return [METADATA]
    arrays = [key for key in layout if key.endswith(f"/{METADATA}")]
    same = all(_digests(copies.get(key), key)[0] == layout[key][0] for key in arrays)
    return [] if same else [METADATA]


def _lost(store: Any, opened: Store, written: Sequence[Sequence[slice]]) -> list[str]:
    """Keys of chunks that should hold values, and are not there or have no bytes."""
    expected = dict.fromkeys(itertools.chain.from_iterable(_chunks(opened, part) for part in written))
    if isinstance(store, Path):
        return [key for key in expected if not _has_bytes(store / key)]

    async def listed() -> set[str]:
        return {key async for key in opened.list_prefix(f"{DISCHARGE}/")}

    there = sync(listed())
    return [key for key in expected if key not in there]


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def _chunks(store: Store, part: Sequence[slice]) -> Iterator[str]:
    """Keys of the chunks that a part of discharge lies in."""
    import zarr

    array = zarr.open_array(store, path=DISCHARGE, mode="r")
    pairs = zip(part, array.shards or array.chunks, strict=True)
    ranges = [range(s.start // size, -(-s.stop // size)) if s.stop > s.start else range(0) for s, size in pairs]
    for at in itertools.product(*ranges):
        yield f"{DISCHARGE}/{array.metadata.encode_chunk_key(at)}"
