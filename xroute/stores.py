"""Zarr stores by name: what their metadata files are called, what can be a store, and how one is opened.

Names of Zarr's own files, and of what a run adds to a store, stand here and nowhere else. Zarr itself is imported by what
opens a store.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xroute.exceptions import XRouteError, require

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = [
    "ARRAY_FILES", "ATTRIBUTES", "BUDGET", "CHECKPOINT", "CONSOLIDATED", "DISCHARGE", "GATHERED", "GROUP_FILES", "METADATA",
    "UNFINISHED", "as_store", "consolidate", "is_array", "is_consolidated", "is_group", "open_store",
]  # fmt: skip

METADATA = "zarr.json"
"""Of a group or an array in Zarr's format 3, with its attributes. Format 2 has several files."""
_GROUP, _ARRAY, ATTRIBUTES, CONSOLIDATED = ".zgroup", ".zarray", ".zattrs", ".zmetadata"
GATHERED = "consolidated_metadata"
"""Entry of the root's metadata under which those of its arrays are gathered; format 2 has a file for them."""
GROUP_FILES = (METADATA, _GROUP, ATTRIBUTES, CONSOLIDATED)
"""Metadata that a group may have. They are deleted in this order."""
ARRAY_FILES = (METADATA, _ARRAY, ATTRIBUTES)
"""Metadata that an array may have."""

DISCHARGE = "discharge"
"""Variable that a run writes."""
CHECKPOINT = "checkpoint"
"""Group of a store in which a run keeps how far it has come (`xroute.checkpoint`)."""
BUDGET = "budget"
"""Group of a result that holds the water budget of the run."""
UNFINISHED = "unfinished"
"""Attribute of a store that holds the beginning of a run."""


def is_group(folder: Path) -> bool:
    """Whether a folder is a Zarr group, or an array of format 3, whose file has the same name."""
    return any((folder / name).exists() for name in (METADATA, _GROUP, CONSOLIDATED))


def is_array(folder: Path) -> bool:
    """Whether a folder is a Zarr array of format 2."""
    return (folder / _ARRAY).exists()


def is_consolidated(folder: Path) -> bool:
    """Whether the metadata of all arrays of a store are gathered at its root."""
    if (folder / CONSOLIDATED).exists():
        return True
    metadata = folder / METADATA
    return metadata.exists() and json.loads(metadata.read_text()).get(GATHERED) is not None


def consolidate(store: Any) -> None:
    """Gather a store's metadata at its root, without which `xarray.open_zarr` warns that opening is slow."""
    zarr = require("zarr", feature="writing Zarr", extra="io")
    with warnings.catch_warnings():
        # Zarr 3 warns of what xarray wants: https://github.com/zarr-developers/zarr-specs/pull/309
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(str(store) if isinstance(store, Path) else store)


def as_store(store: Any) -> Any:
    """The store as all that open it take it: an absolute path of a folder, a URL, or a Zarr store of another kind."""
    zarr = require("zarr", feature="reading and writing Zarr", extra="io")
    if isinstance(store, zarr.storage.LocalStore):
        store = store.root
    if isinstance(store, str) and store.startswith(("file://", "local://")):
        store = store.partition("://")[2]
    if isinstance(store, Path) or (isinstance(store, str) and "://" not in store):
        return Path(store).expanduser().absolute()
    if isinstance(store, (str, zarr.abc.store.Store)):
        return store
    raise XRouteError(f"store is a path, a URL or a Zarr store, not {store!r}")


def open_store(store: Any, *, read_only: bool) -> Store:
    """Zarr's own object for a store of `as_store`; one that is such an object already is returned as it is."""
    storage = require("zarr", feature="reading and writing Zarr", extra="io").storage
    if isinstance(store, Path):
        return storage.LocalStore(store, read_only=read_only)
    return storage.FsspecStore.from_url(store, read_only=read_only) if isinstance(store, str) else store
