"""Checkpoints of a run in the Zarr store that it writes: which run it is, how far it has come, and the rivers' state there.

A group of the store, ``checkpoint``, bears the run's description, and two slots that are written by turns. A slot is emptied,
filled with the state, and made valid last, by its attributes; so whenever a run is killed, one slot at least is whole, and
nothing that was written after it counts. All works on stores that can only put, get and delete.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xroute.block import BlockState
from xroute.exceptions import XRouteError, require, some

__all__ = ["Checkpoint", "Progress", "clear", "find"]

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
        Path, URL, or Zarr store.
    run
        Description of the run: what another must share with it to go on in its place.
    block
        Steps of runoff that are routed and written at a time.
    """

    store: Any
    run: dict[str, Any]
    block: int

    def create(self) -> None:
        """Write the description; the store has been cleared."""
        zarr = require("zarr", feature="writing Zarr", extra="io")
        root = zarr.open_group(self.store, mode="a")
        root.create_group(GROUP, attributes={"run": self.run, "block": self.block})

    def commit(self, progress: Progress, state: BlockState) -> None:
        """Make progress last; what the store holds up to there has been written."""
        zarr = require("zarr", feature="writing Zarr", extra="io")
        slot = zarr.open_group(self.store, path=self._slot(progress.steps), mode="w")
        for name, values in (("outflow", state.outflow), ("history", state.history)):
            chunk = tuple(max(1, min(n, 2**22)) for n in values.shape)
            array = slot.create_array(name, shape=values.shape, chunks=chunk, dtype=values.dtype, compressors=None)
            if values.size:
                array[...] = values
        slot.attrs.put({"steps": progress.steps, "volumes": progress.volumes})

    def latest(self) -> tuple[Progress, BlockState] | None:
        """Last progress that was made to last; None if the store was not even laid out."""
        zarr = require("zarr", feature="reading Zarr", extra="io")
        found = []
        for path in (f"{GROUP}/0", f"{GROUP}/1"):
            with contextlib.suppress(FileNotFoundError, KeyError, ValueError):  # not there, or cut off while written
                slot = zarr.open_group(self.store, path=path, mode="r", use_consolidated=False)
                found.append((int(slot.attrs["steps"]), slot))
        if not found:
            return None
        steps, slot = max(found, key=lambda one: one[0])
        volumes = slot.attrs["volumes"]
        progress = Progress(steps, None if volumes is None else (float(volumes[0]), float(volumes[1])))
        return progress, BlockState(np.asarray(slot["history"][...]), np.asarray(slot["outflow"][...]))

    def _slot(self, steps: int) -> str:
        return f"{GROUP}/{-(-steps // self.block) % 2}"

    def differences(self, run: Mapping[str, Any]) -> str:
        """In what another run differs from this one, in words; empty if in nothing."""
        names = [name for name in {**self.run, **run} if self.run.get(name) != run.get(name)]
        told = [
            f"{name} {self.run.get(name)!r} instead of {run.get(name)!r}" if name in _SHOWN else _WORDS.get(name, name)
            for name in names
        ]
        return ", ".join(told)


_SHOWN = ("scheme", "dt", "substeps", "lateral", "sampling", "nan", "units", "dtype")
_WORDS = {
    "network": "another network",
    "parameters": "other parameters",
    "coordinates": "other reaches, times, members or dimensions",
    "start": "another initial state",
    "encoding": "another encoding",
}


def find(store: Any) -> Checkpoint | None:
    """Checkpoint of a store; None if there is nothing in it, or no store.

    Raises
    ------
    FileExistsError
        If something is there that `route_to_zarr` did not write.
    """
    zarr = require("zarr", feature="reading Zarr", extra="io")
    if isinstance(store, (str, Path)) and Path(store).is_file():
        raise FileExistsError(f"{store} is a file, not a Zarr store")
    try:
        root = zarr.open_group(store, mode="r", use_consolidated=False)
    except (FileNotFoundError, KeyError, ValueError):
        if isinstance(store, (str, Path)) and Path(store).is_dir() and any(Path(store).iterdir()):
            raise FileExistsError(
                f"{store} is a folder with other files, not a Zarr store; choose another path"
            ) from None
        return None
    keys = set(root.keys())
    if GROUP in keys:
        attrs = root[GROUP].attrs
        if "run" in attrs and "block" in attrs:
            return Checkpoint(store, dict(attrs["run"]), int(attrs["block"]))
    if not keys and not dict(root.attrs):
        return None
    raise FileExistsError(
        f"{store} holds {some(sorted(keys))}, which is not the beginning of a run: choose another path, or replace it "
        'with mode="w"'
    )


def clear(store: Any) -> None:
    """Empty a store, or make one.

    Raises
    ------
    XRouteError
        For a folder that is no Zarr store: it is nothing that a run should delete.
    """
    zarr = require("zarr", feature="writing Zarr", extra="io")
    if isinstance(store, (str, Path)) and Path(store).is_dir() and any(Path(store).iterdir()):
        try:
            zarr.open_group(store, mode="r", use_consolidated=False)
        except (FileNotFoundError, KeyError, ValueError):
            raise XRouteError(f"{store} is a folder with other files, not a Zarr store: it is not replaced") from None
    zarr.open_group(store, mode="w")
