"""Rows copied by a kernel: into memory of the host, too, where it is pinned, and to parts of longer rows."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, assignment"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from xroute.engine.gpu.dispatch import launch

__all__ = ["copy_rows", "move_rows"]

ROWS, COLUMNS = 16, 128
"""Of a program, and of a step of it."""


def move_rows(source: torch.Tensor, target: torch.Tensor) -> None:
    """Copy series [batch, row, time] on a GPU to ones of the same shape there, or in pinned memory of the host.

    Of both, rows of all members lie at equal distances, and the steps of a row one after another.
    """
    n_batch, n_rows, n_steps = source.shape
    if not source.numel():
        return
    pitches = [t.stride(1) if n_rows > 1 else t.stride(0) for t in (source, target)]
    n = n_batch * n_rows
    launch(copy_rows, triton.cdiv(n, ROWS), source, target, n, n_steps, *pitches, ROWS, COLUMNS, num_warps=4)


@triton.jit(do_not_specialize=("n_rows", "n_steps", "source_pitch", "target_pitch"))
def copy_rows(source, target, n_rows, n_steps, source_pitch, target_pitch, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Some rows, some steps at a time."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    for first in range(0, n_steps, COLUMNS):
        step = first + tl.arange(0, COLUMNS)
        inside = (row < n_rows)[:, None] & (step < n_steps)[None, :]
        found = tl.load(source + (row * source_pitch)[:, None] + step[None, :], mask=inside)
        tl.store(target + (row * target_pitch)[:, None] + step[None, :], found, mask=inside)
