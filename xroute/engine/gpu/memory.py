"""How series lie in a device's memory: rows of runoff and discharge, the mailbox between patches, and traces for gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import triton.language as tl
from numpy.typing import NDArray

from xroute.caches import keep
from xroute.engine.gpu.layout import (
    DeviceMail,
    DevicePatches,
    by_step,
    group_length,
    replays,
    trace_channels,
    windows_of,
)
from xroute.engine.patches import LANES
from xroute.engine.plan import RoutingPlan
from xroute.settings import RoutingSettings

__all__ = [
    "as_rows",
    "empty_mailbox",
    "in_rows",
    "index_type",
    "most_trace",
    "needs_trace",
    "notes_layout",
    "padded",
    "padded_rows",
    "put_given",
    "take_kept",
    "tile_width",
    "trace_layout",
    "trace_numel",
    "word_type",
]

Tensor = torch.Tensor
TRACE_BYTES = 2**26, 2**33
TRACE_SHARE = 4
"""A run that needs a trace for its gradients keeps it if it takes no more than the first of these, or else than so many times the
memory of runoff and than the second; beyond, as with very many substeps, the adjoint routes again, block of time by block."""


def needs_trace(n_taps: int, settings: RoutingSettings, runoff: Tensor, has_known: bool = False) -> bool:
    """Whether the adjoint of a run needs a trace: `xroute.engine.gpu.adjoint_rows` does without."""
    return (
        n_taps > 2 or not by_step(settings) or settings.lateral == "outlet" or has_known or not in_rows(runoff)
    )  # fmt: skip


def trace_numel(
    plan: RoutingPlan, runoff: Tensor, pointer: NDArray[np.int64], settings: RoutingSettings, has_known: bool = False
) -> int:
    """Elements of the trace that a run keeps for its gradients, at least 1; 0 if it would be too large (`TRACE_BYTES`)."""
    n_taps = min(3, windows_of(plan, pointer, runoff.device, settings).longest)
    if replays(settings, n_taps, has_known):
        size = sum(notes_layout(plan, runoff.shape, settings))
    elif not needs_trace(n_taps, settings, runoff, has_known):
        return 1
    else:
        size = runoff.shape[0] * trace_layout(plan, runoff, n_taps, settings, runoff.dtype, has_known)[1]
    return size if size * runoff.dtype.itemsize <= most_trace(runoff) else 0


def notes_layout(plan: RoutingPlan, shape: Sequence[int], settings: RoutingSettings) -> tuple[int, int]:
    """Words of the mailbox and of the notes that a run with several routing steps a step keeps, in one tensor."""
    n_batch, _, n_steps = shape
    group = group_length(settings, 1, n_steps, n_batch)
    per_step = settings.substeps // group
    n_words = n_batch * plan.patches.down.n_sources * n_steps * settings.substeps
    n_blocks = -(-(n_steps + -(-(LANES - 1) // per_step)) // NOTES)
    return -(-n_words // 4) * 4, n_batch * plan.patches.n_patches * n_blocks * (2 + group) * LANES


def most_trace(runoff: Tensor) -> int:
    """Bytes that a trace may take."""
    least, most = TRACE_BYTES
    return max(least, min(most, TRACE_SHARE * runoff.numel() * runoff.dtype.itemsize))


NOTES = 8
"""With several routing steps a step, a run keeps notes for its adjoint every so many steps of runoff, for which that is made."""


def in_rows(runoff: Tensor) -> bool:
    """Whether rows pass through shared memory, where a step is one routing step (`xroute.engine.gpu.forward_rows`)."""
    return runoff.dtype == torch.float32 and runoff.is_cuda and _copies_rows(runoff.get_device())


@cache
def _copies_rows(index: int) -> bool:
    """Whether a GPU copies to shared memory beside its computation."""
    return torch.cuda.get_device_capability(index) >= (8, 0)


def tile_width(n_taps: int, runoff: Tensor) -> int:
    """Columns of a tile of the forward kernel."""
    if in_rows(runoff):
        return 64
    return 16 if n_taps > 2 or runoff.dtype == torch.float64 else 32


def trace_layout(
    plan: RoutingPlan, runoff: Tensor, n_taps: int, settings: RoutingSettings, dtype: torch.dtype,
    has_known: bool = False,
) -> tuple[Tensor, int]:  # fmt: skip
    """Where each patch's rows begin in a trace, and its size: all steps of the patch's program, each of which it writes."""
    n_batch, _, n_steps = runoff.shape
    group = group_length(settings, n_taps, n_steps, n_batch)
    tile = tile_width(n_taps, runoff) if by_step(settings) else 1
    channels = trace_channels(settings, has_known)

    def make() -> tuple[Tensor, int]:
        steps = n_steps * settings.substeps + plan.patches.depth * group
        size = -(-steps // tile) * tile * channels * LANES
        return torch.from_numpy(np.cumsum(size) - size).to(runoff.device), int(size.sum())

    return keep(plan, ("device trace", n_steps * settings.substeps, group, tile, channels, str(runoff.device)), make)


def padded(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Series whose rows begin at multiples of 8 elements: the kernels then write whole sectors of memory."""
    pitch = -(-shape[2] // 8) * 8
    return torch.empty((*shape[:2], pitch), dtype=dtype, device=device).narrow(2, 0, shape[2])


def empty_mailbox(n_batch: int, n_sources: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A mailbox in which nothing has been posted; see `xroute.engine.gpu.lanes`."""
    return torch.full((max(1, n_batch * n_sources * width),), -1, dtype=word_type(dtype), device=device)


def word_type(dtype: torch.dtype) -> torch.dtype:
    """Type of the mailbox's words in arithmetic of ``dtype``."""
    return torch.int64 if dtype == torch.float64 else torch.int32


def put_given(
    mailbox: Tensor, given: Tensor | None, index: DevicePatches | DeviceMail, n_batch: int, steps: slice
) -> None:
    """Write series that are given into their rows of the mailbox, as if a patch had posted them."""
    if given is None or not index.given.numel():
        return
    part = given[..., steps].to(torch.float64 if mailbox.dtype == torch.int64 else torch.float32)
    part = torch.where(part.isnan(), torch.nan, part)  # whatever its bits, a NaN is not an empty word
    rows = mailbox.view(n_batch, index.down.n_sources, -1)
    rows[:, index.given, : part.shape[2]] = part.view(mailbox.dtype)
    rows[:, index.given, part.shape[2] :] = 0  # kernels that read whole groups must not wait for what never comes


def take_kept(
    mailbox: Tensor, kept: Tensor | None, index: DevicePatches | DeviceMail, n_batch: int, steps: slice
) -> None:
    """Read the series that others want out of their rows of the mailbox."""
    if kept is None or not index.kept.numel():
        return
    real = mailbox.view(torch.float64 if mailbox.dtype == torch.int64 else torch.float32)
    rows = real.view(n_batch, index.down.n_sources, -1)[:, index.kept]
    kept[..., steps] = rows[..., : steps.stop - steps.start].to(kept.dtype)


def as_rows(tensor: Tensor) -> Tensor:
    """The tensor with its rows one after another, perhaps padded, and beginning at a sector of memory; a copy if need be.

    Its strides are true also where a dimension has one element, of which torch does not keep them so.
    """
    n_batch, n, n_steps = tensor.shape
    across_batch, across, along = tensor.stride()
    pitch = across if n > 1 else across_batch if n_batch > 1 else n_steps
    in_rows = (n_steps < 2 or along == 1) and pitch >= n_steps
    if not in_rows or (n > 1 and n_batch > 1 and across_batch != n * pitch) or tensor.data_ptr() % 32:
        tensor, pitch = tensor.clone(memory_format=torch.contiguous_format), n_steps
    elif (across_batch, across, along) == (n * pitch, pitch, 1):
        return tensor
    return tensor.as_strided(tensor.shape, (n * pitch, pitch, 1))


def padded_rows(tensor: Tensor) -> Tensor:
    """As `padded` makes them, with numbers in the padding; a copy if need be."""
    rows = as_rows(tensor)
    if rows.stride(1) % 8 == 0:
        return rows
    whole = rows.new_zeros((*rows.shape[:2], -(-rows.shape[2] // 8) * 8))
    whole[..., : rows.shape[2]] = rows
    return whole[..., : rows.shape[2]]


def index_type(*sizes: int) -> Any:
    """Type of the kernels' indices, for arrays of these sizes."""
    return tl.int64 if max(sizes) >= 2**30 else tl.int32
