"""Checkpoints of a run in the Zarr store that it writes: which run it is, how far it has come, and the rivers' state there.

A group of the store, ``checkpoint``, bears the run's description, and two slots of each lane of members (`xroute.lanes`),
which are written by turns; and, where it is asked for, the state at another time than the end. A slot is emptied, filled with
the state, and made valid last, by its attributes, when all that it speaks of is on the disk. They hold a digest of its arrays,
too. So whenever a run is killed, one slot at least is whole, and nothing that was written after it counts; and one that is
damaged later is known for it, and the other is used. A run that begins or goes on takes the store (`xroute.fence`), which
closes it to any other that was still at work there.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.block_state import BlockState
from xroute.exceptions import XRouteError, require, some, warn
from xroute.identity import digest
from xroute.lanes import Lanes
from xroute.stores import CHECKPOINT, DISCHARGE, GROUP_FILES
from xroute.wording import argument

__all__ = ["Checkpoint", "Progress", "abandon", "check_replaceable", "clear", "find", "route_again"]


WATER = "water_"
"""What names of the arrays begin with that hold what was counted of the water."""


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a run has come: steps of runoff that are routed and written, and what was counted of their water [m3]."""

    steps: int
    water: Mapping[str, NDArray[np.float64]]


@dataclass
class Checkpoint:
    """The checkpoint of a store.

    Attributes
    ----------
    store
        Path, URL, or Zarr store, of `xroute.stores.as_store`.
    run
        Identity of the run: what another must share with it to go on in its place (`run_identity`).
    block
        Steps of runoff that are routed and written at a time.
    lanes
        Members that are routed together.
    own
        The store as this run writes to it, once it is taken.
    layout
        Digests of what the store was laid out with (`xroute.intact`).
    """

    store: Any
    run: dict[str, Any]
    block: int
    lanes: Lanes
    own: Any = field(default=None, compare=False)
    layout: dict[str, list[str]] = field(default_factory=dict, compare=False)

    def take(self) -> None:
        """Take the store: no other run can write to it from now on."""
        self.own = _fence().take(self.store, uuid.uuid4().hex)

    def taken(self) -> bool:
        """Whether a run is at work on the store, or was killed while it was."""
        return bool(_fence().is_taken(self.store))

    def create(self) -> None:
        """Write the description; the store has been cleared."""
        _zarr().create_group(self.own, path=CHECKPOINT, attributes=self._attributes(), overwrite=False)

    def begun(self) -> None:
        """Say that the store is laid out, and has a slot: from now on it is an error if none can be read."""
        group = _zarr().open_group(self.own, path=CHECKPOINT, mode="r+", use_consolidated=False)
        group.attrs.put({**self._attributes(), "begun": True})

    def _attributes(self) -> dict[str, Any]:
        lanes = {"dims": [str(d) for d in self.lanes.dims], "sizes": [*self.lanes.sizes], "each": [*self.lanes.each]}
        described = {"run": self.run, "block": self.block, "layout": self.layout}
        if len(self.lanes) > 1:
            described["lanes"] = lanes
        return {**described, "digest": _description_digest(described)}

    def release(self, *, cleared: bool = False) -> None:
        """Give the store back: the run is over, or came nowhere, and the store is cleared."""
        _fence().release(self.own, cleared=cleared)

    def commit(self, progress: Progress, state: BlockState, *, first: bool = False) -> None:
        """Make progress last; what the store holds up to there has been written, and is on the disk before this says so.

        Of a run of one lane; the ``first`` time the run has begun then.

        Raises
        ------
        XRouteError
            If another run has taken the store.
        """
        self.own.settle()  # discharge, and the slot before: this one need not be on the disk until that is overwritten
        self._write(self._slot_name(0, self._number(progress)), progress, state)
        if first:
            self.own.settle()
            self.begun()

    def commit_lane(self, lane: int, progress: Progress, state: BlockState, *, last: bool) -> None:
        """The same of one among several lanes; of its ``last``, which is not used before all are there, one slot is kept."""
        self.own.settle()
        number = self._number(progress)
        self._write(self._slot_name(lane, number), progress, state)
        if last:
            self.own.settle()
            _sync()(self.own.delete_dir(f"{CHECKPOINT}/{self._slot_name(lane, 1 - number)}"))

    def _number(self, progress: Progress) -> int:
        """Which of its two slots the progress is written to."""
        return -(-progress.steps // self.block) % 2

    def settle(self) -> None:
        """Make sure that what was committed is on the disk."""
        self.own.settle()

    def keep(self, lane: int, progress: Progress, state: BlockState) -> None:
        """Keep a lane's state at a time that was asked for; the next `commit` makes it last."""
        self._write(self._kept_name(lane), progress, state)

    def _write(self, name: str, progress: Progress, state: BlockState) -> None:
        slot = _zarr().open_group(self.own, path=f"{CHECKPOINT}/{name}", mode="w")
        for array_name, values in {**state.arrays(), **_counted(progress)}.items():
            chunk = tuple(max(1, min(n, 2**22)) for n in values.shape)
            array = slot.create_array(array_name, shape=values.shape, chunks=chunk, dtype=values.dtype, compressors=None)
            if values.size:
                array[...] = values
        slot.attrs.put({"steps": progress.steps, "digest": _slot_digest(progress, state)})

    def _slot_name(self, lane: int, number: int) -> str:
        return str(number) if len(self.lanes) == 1 else f"lane{lane}.{number}"

    def _kept_name(self, lane: int) -> str:
        return "kept" if len(self.lanes) == 1 else f"lane{lane}.kept"

    def is_laid_out(self) -> bool:
        """Whether the store was laid out, and some of the run may be in it."""
        attrs = self._group("r").attrs
        return bool(attrs.get("begun")) and not attrs.get("cleared")

    def latest(self, lane: int) -> tuple[Progress, BlockState] | None:
        """Last progress of a lane that was made to last; None if one of several has none.

        Raises
        ------
        XRouteError
            If neither slot of a run without others can be used, which writes its first before anything else.
        """
        found, damaged = [], {}
        for number in (0, 1):
            try:
                slot = self._slot(self._slot_name(lane, number))
            except Exception as error:  # damaged codecs and metadata raise what they like, and it is told below
                damaged[number] = f"{type(error).__name__}: {error}".rstrip(". ")
            else:
                found += [] if slot is None else [slot]
        told = "; ".join(f"slot {number}: {why}" for number, why in damaged.items())
        if not found:
            if len(self.lanes) > 1:
                if damaged:
                    warn(
                        f"the checkpoint of some members in {self.store} is damaged ({told}): they are routed from their start"
                    )
                return None
            raise XRouteError(
                f"no checkpoint of {self.store} can be read ({told or 'both are gone'}), so that nobody knows how far it has "
                f"come. {route_again()}"
            )
        progress, state = max(found, key=lambda one: one[0].steps)
        if damaged:
            warn(
                f"a checkpoint of {self.store} is damaged ({told}): the other one is used, after {progress.steps} steps"
            )
        return progress, state

    def kept(self, lane: int) -> BlockState:
        """The state of a lane that `keep` was given.

        Raises
        ------
        XRouteError
            If it cannot be read.
        """
        try:
            slot = self._slot(self._kept_name(lane))
        except Exception as error:  # as above
            raise XRouteError(f"the state that {self.store} keeps is damaged ({error}). {route_again()}") from error
        if slot is None:
            raise XRouteError(f"{self.store} does not keep the state that is asked for. {route_again()}")
        return slot[1]

    def _slot(self, name: str) -> tuple[Progress, BlockState] | None:
        """A slot; None if it was cut off while it was written."""
        try:
            slot = _zarr().open_group(self.store, path=f"{CHECKPOINT}/{name}", mode="r", use_consolidated=False)
        except FileNotFoundError:
            return None
        attributes = dict(slot.attrs)
        if "steps" not in attributes:
            return None
        arrays = dict(slot.arrays())
        state = BlockState.of_arrays(arrays)
        water = {
            name.removeprefix(WATER): np.asarray(array[...]) for name, array in arrays.items() if name.startswith(WATER)
        }
        progress = Progress(attributes["steps"], water)
        if attributes.get("digest") != _slot_digest(progress, state):
            raise XRouteError("its arrays are not those that were written")
        return progress, state

    def differences(self, run: Mapping[str, Any]) -> str:
        """In what another run differs from this one, in words; empty if in nothing."""
        names = [name for name in {**self.run, **run} if self.run.get(name) != run.get(name)]
        told = [_WORDS.get(name) or f"{name} {self.run.get(name)!r} instead of {run.get(name)!r}" for name in names]
        return ", ".join(told)

    def _group(self, mode: str) -> Any:
        return _zarr().open_group(self.store, path=CHECKPOINT, mode=mode, use_consolidated=False)


_WORDS = {
    "network": "another network",
    "parameters": "other parameters",
    "coordinates": "other reaches, times, members or dimensions",
    "start": "another initial state",
    "kept": "another time of the state that is kept",
    "known": "discharge known on other reaches or times, or in other units",
    "form": "another version of xroute",
    "budget": "one with a water budget where the other has none",
}


def _zarr() -> Any:
    return require("zarr", feature="reading and writing Zarr", extra="io")


def find(store: Any, lanes: Lanes) -> Checkpoint | None:
    """Checkpoint of a store; None if there is nothing in it, or no store; ``lanes`` is of a run that would go on with it.

    Raises
    ------
    FileExistsError
        If something is there that `route_to_zarr` did not write.
    XRouteError
        If it did, and the description of the run is damaged.
    """
    attrs = _attributes(store)
    if attrs is not None:
        if "digest" in attrs and attrs["digest"] != _description_digest(attrs):
            raise XRouteError(
                f"{store} is damaged: the description of its run, in {CHECKPOINT}, is not as written, so that nobody knows which "
                f"run it was. {route_again()}"
            )
        each = attrs["lanes"]["each"] if "lanes" in attrs else Lanes.one(lanes.dims, lanes.sizes).each
        lanes = replace(lanes, each=tuple(int(n) for n in each))
        return Checkpoint(store, dict(attrs["run"]), int(attrs["block"]), lanes, layout=attrs.get("layout", {}))
    if isinstance(store, Path) and store.is_file():
        raise FileExistsError(f"{store} is a file, and no Zarr store: choose another path")
    root, names = _open(store), _fence().names(store)
    if root is None:
        if not names:
            return None
        raise FileExistsError(f"{store} holds other files, and is no Zarr store: choose another path")
    if not names and hasattr(root, "keys") and not dict(root.attrs):
        return None
    what = (names or ["attributes"]) if hasattr(root, "keys") else ["an array"]
    lost = f", or one whose {CHECKPOINT} cannot be read" if CHECKPOINT in names else ""
    raise FileExistsError(
        f"{store} holds {some(what)}, which is not the beginning of a run{lost}: choose another path, or replace it "
        f"with {argument('mode', 'w')}"
    )


def route_again() -> str:
    """What to do about a store that is damaged, in words."""
    return f"Route it again from its first step: {argument('mode', 'w')} replaces it"


def check_replaceable(store: Any) -> None:
    """Refuse to replace what is no Zarr store: it is nothing that a run should delete.

    Raises
    ------
    XRouteError
        For files, and folders of other things.
    """
    if isinstance(store, Path) and store.is_file():
        raise XRouteError(f"{store} is a file, and no Zarr store: it is not replaced")
    if _attributes(store) is None and _open(store) is None and _fence().names(store):
        raise XRouteError(f"{store} holds other files, and is no Zarr store: it is not replaced")


def clear(checkpoint: Checkpoint) -> None:
    """Empty a store that was taken.

    The description goes last, and says from the first that the rest does not count: if this is cut off, what is left is a
    run that has not begun. What is no run goes before the metadata of its root, so that what is left is still a Zarr store.
    """
    sync = _sync()
    own = checkpoint.own
    ours = _attributes(checkpoint.store) is not None
    if ours:
        _zarr().open_group(own, path=CHECKPOINT, mode="r+", use_consolidated=False).attrs["cleared"] = True

    async def names(prefix: str) -> list[str]:
        return [name async for name in own.list_dir(prefix)]

    async def empty() -> None:
        for name in await names(""):
            if name != CHECKPOINT and name not in GROUP_FILES:
                await own.delete_dir(name)
        for name in await names(CHECKPOINT):
            if name not in GROUP_FILES or not ours:
                await own.delete_dir(f"{CHECKPOINT}/{name}")
        for name in GROUP_FILES:
            await own.delete(name)
        for name in GROUP_FILES:
            await own.delete(f"{CHECKPOINT}/{name}")

    sync(empty())


def abandon(checkpoint: Checkpoint) -> None:
    """Leave nothing of a run that came nowhere, unless others put something there; its own error is told in any case."""
    own = {CHECKPOINT, DISCHARGE, *(key.partition("/")[0] for key in checkpoint.layout)}
    with contextlib.suppress(Exception):
        if own.issuperset(_fence().names(checkpoint.store)):
            clear(checkpoint)
            checkpoint.release(cleared=True)


def _attributes(store: Any) -> dict[str, Any] | None:
    """Attributes of the checkpoint of a store, None if there is none that can be read: metadata raise what they like."""
    with contextlib.suppress(Exception):
        attrs = dict(_zarr().open_group(store, path=CHECKPOINT, mode="r", use_consolidated=False).attrs)
        if "run" in attrs and "block" in attrs:
            return attrs
    return None


def _description_digest(attributes: Mapping[str, Any]) -> str:
    lanes = [attributes["lanes"]] if "lanes" in attributes else []
    return digest(
        json.dumps([attributes["run"], attributes["block"], attributes.get("layout"), *lanes], sort_keys=True)
    )


def _counted(progress: Progress) -> dict[str, NDArray[np.float64]]:
    """What was counted of the water, under the names that it has in a slot."""
    return {f"{WATER}{name}": values for name, values in sorted(progress.water.items())}


def _slot_digest(progress: Progress, state: BlockState) -> str:
    water = [part for named in _counted(progress).items() for part in named]
    return digest(int(progress.steps), water, *state.arrays().values())


def _sync() -> Callable[..., Any]:
    _zarr()
    from zarr.core.sync import sync

    return sync


def _fence() -> Any:
    _zarr()
    from xroute import fence

    return fence


def _open(store: Any) -> Any:
    """The root group or array of a store; None if there is none, or none that can be understood."""
    try:
        return _zarr().open(store, mode="r")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # not permitted, or the disk fails: there may well be a store, and nobody is to put another in its place
        raise
    except Exception:  # damaged metadata raise what they like; who asks takes nothing for empty that has names in it
        return None
