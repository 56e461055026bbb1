"""Runoff of the host's memory that goes to a device, is routed and comes back in blocks of patches.

Patches wait only for those before them, so that the first ones can be routed through all of a series when their rows have
arrived. Rows of the next block are then on their way, and discharge of the last one is on its way back: both ways are busy at
once, which two copies of all of it, one after the other, are not. Rows are picked on the host, which has to put them into pinned
memory in any case, and put in their places by the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.caches import keep
from xroute.engine.arrays import Rows
from xroute.engine.gpu.staging import CudaCopies, Stage
from xroute.engine.patches import LANES
from xroute.engine.plan import RoutingPlan

__all__ = ["PatchBlocks", "Turns", "turns_of"]

Tensor = torch.Tensor
BLOCK_BYTES = 2**27
"""Runoff of a block, at most; the first blocks and the last ones are smaller, since only one way is busy meanwhile."""


@dataclass(frozen=True)
class Turns:
    """Which reaches are routed in which block: those of ``reach[first[k] : first[k + 1]]``, which are ``patches[k]`` patches."""

    reach: Tensor  # int64 [reach], in each block in the order of memory
    first: list[int]
    patches: list[int]


def turns_of(plan: RoutingPlan, row_bytes: int) -> Turns:
    """Blocks of a plan, a reach's runoff being so many bytes; the last few are kept with the plan."""
    most = max(1, BLOCK_BYTES // (LANES * row_bytes))

    def make() -> Turns:
        p = plan.patches
        patches, own = _sizes(p.n_patches, most), ~p.spare
        block = np.repeat(np.arange(len(patches)), np.multiply(patches, LANES))[own]
        reach = p.reach[own]
        reach = reach[np.lexsort((reach, block))]
        first = [0, *np.cumsum(np.bincount(block, minlength=len(patches))).tolist()]
        return Turns(torch.from_numpy(reach), first, patches)

    return keep(plan, ("turns", most), make, most=4)


def _sizes(n_patches: int, most: int) -> list[int]:
    """Patches of each block: more and more of them, up to ``most``, and at the end fewer and fewer."""
    ramp = [max(1, most >> k) for k in (3, 2, 1)]
    between = n_patches - 2 * sum(ramp)
    if between < 0:
        ramp, between = [], n_patches
    sizes = [*ramp, *[most] * (between // most), between % most, *reversed(ramp)]
    return [size for size in sizes if size]


class PatchBlocks:
    """A run in blocks of patches: runoff [batch, row, time] on the host, contiguous, to discharge of pinned memory there.

    Attributes
    ----------
    runoff : [batch, reach, time]
        On the device, as far as it has arrived.
    n_bad
        How many values of runoff were not finite, on the device.
    """

    def __init__(
        self, given: NDArray[np.floating], runoff: Tensor, result: Tensor, plan: RoutingPlan, rows: Rows, copies: CudaCopies,
        *, nan_is_zero: bool,
    ) -> None:  # fmt: skip
        n_batch, n_rows, n_steps = given.shape
        self.runoff, self.copies, self.nan_is_zero = runoff, copies, nan_is_zero
        self._given, self._result = torch.from_numpy(given).view(-1, n_steps), result.view(-1, n_steps)
        self._turns = turns_of(plan, n_batch * n_steps * given.itemsize)
        reach = self._turns.reach
        row, to = (reach if of is None else torch.from_numpy(of)[reach] for of in (rows.runoff, rows.discharge))
        members, absent = torch.arange(n_batch)[:, None], row < 0
        self._row = row.clamp(min=0) + n_rows * members
        # to the device before all blocks: a copy of memory that is not pinned waits for what was asked for before it
        self._reach = (reach + plan.n_reaches * members).to(copies.device)
        self._to = torch.where(to >= 0, to + result.shape[1] * members, -1).to(copies.device)
        self._absent = absent.to(copies.device) if bool(absent.any()) else None
        self.n_bad = torch.zeros((), dtype=torch.int64, device=copies.device)

    def launches(self, discharge: Tensor) -> Iterator[int]:
        """How many patches are to be routed next, once and again; between, runoff is sent and their discharge fetched."""
        runoff, discharge = self.runoff.flatten(0, 1), discharge.flatten(0, 1)
        n_batch, first, stage = len(self._row), self._turns.first, Stage(self.copies)
        arriving = discharge.new_empty(n_batch * first[-1], discharge.shape[1])
        self.copies.begin()  # once for all, or else a block would wait for the last one to be routed
        for k, patches in enumerate(self._turns.patches):
            block = slice(first[k], first[k + 1])
            here = arriving[n_batch * block.start : n_batch * block.stop]
            stage.pick(here, self._given, self._row[:, block].reshape(-1))
            own, to = (a[:, block].reshape(-1) for a in (self._reach, self._to))
            runoff.index_copy_(0, own, self._looked_at(here, block))
            yield patches
            self.copies.fetch_rows(discharge, own, self._result, to)

    def _looked_at(self, here: Tensor, block: slice) -> Tensor:
        """What has arrived of a block, with zeros for reaches that have no runoff, and for what is not finite if so wanted."""
        if self._absent is not None:
            absent = self._absent[block].expand(len(self._row), -1).reshape(-1, 1)
            here = torch.where(absent, 0, here)
        finite = torch.isfinite(here)
        self.n_bad += here.numel() - finite.sum()
        return torch.where(finite, here, 0) if self.nan_is_zero else here
