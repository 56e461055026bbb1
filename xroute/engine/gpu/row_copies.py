"""Rows copied by a kernel to rows of other memory: straight to those of the host, too, where it is pinned."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from xroute.engine.gpu.dispatch import launch

__all__ = ["copy_rows", "place_rows"]

PROGRAMS, ROWS, COLUMNS = 264, 8, 128
"""Programs at most, so that routing finds room beside them; rows of one at a time, and steps of these."""


def place_rows(source: torch.Tensor, taken: torch.Tensor, target: torch.Tensor, placed: torch.Tensor) -> None:
    """Copy rows ``taken`` of series [row, time] on a GPU to the rows ``placed`` of others, there or in pinned memory.

    Both are int64 [row], and a row that is placed at -1 is not copied. The steps of a row lie one after another.
    """
    n = len(taken)
    if n and source.shape[1]:
        launch(
            copy_rows, min(PROGRAMS, -(-n // ROWS)), source, taken, target, placed, n, source.shape[1], source.stride(0),
            target.stride(0), ROWS, COLUMNS, num_warps=4,
        )  # fmt: skip


@triton.jit(do_not_specialize=("n_rows", "n_steps", "source_pitch", "target_pitch"))
def copy_rows(
    source, taken, target, placed, n_rows, n_steps, source_pitch, target_pitch, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Some rows, some steps at a time; each begins with a whole line of the target's memory, as a bus takes them."""
    k = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    for _ in range(0, n_rows, tl.num_programs(0) * ROWS):
        there = k < n_rows
        row = tl.load(taken + k, mask=there, other=0)
        to = tl.load(placed + k, mask=there, other=-1)
        begin = to * target_pitch
        early = begin & 31
        for first in range(0, n_steps + 31, COLUMNS):
            step = (first - early)[:, None] + tl.arange(0, COLUMNS)[None, :]
            inside = (to >= 0)[:, None] & (step >= 0) & (step < n_steps)
            found = tl.load(source + (row * source_pitch)[:, None] + step, mask=inside)
            tl.store(target + begin[:, None] + step, found, mask=inside)
        k += tl.num_programs(0) * ROWS
