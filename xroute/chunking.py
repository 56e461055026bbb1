"""Chunks of a stream: how many steps are routed at a time, and how the store of discharge is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError
from xroute.labels import Layout

__all__ = ["choose_chunks", "stored_chunk"]

BLOCK_BYTES = 2**27
"""Runoff of a block, where the caller does not say: several of them are in memory at once."""
CHUNK_BYTES = 2**23
"""Discharge of a chunk of the store, likewise."""


def choose_chunks(
    layout: Layout, runoff: xr.DataArray, encoding: dict[str, Any], time_chunk: int | None, itemsize: int, workers: int
) -> tuple[dict[str, Any], int]:
    """Encoding with chunks, and the steps of a block: whole chunks (or shards) along time.

    Parameters
    ----------
    layout, runoff
        Of the run, and what it routes.
    encoding
        Of discharge, as the user gives it; sizes of chunks and shards are in the order of its dimensions.
    time_chunk
        Steps of a block, as the user gives them.
    itemsize
        Bytes of a value of discharge.
    workers
        Processes that share a block.

    Raises
    ------
    ParameterError
        For chunks or shards that are not one positive whole number for each dimension.
    """
    time_dim = layout.time_dim
    for name in ("chunks", "shards"):
        sizes = encoding.get(name)
        if sizes is not None and not (
            isinstance(sizes, (tuple, list))
            and len(sizes) == len(layout.dims)
            and all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes)
        ):
            raise ParameterError(
                f"encoding: {name} are positive whole numbers, one for each of {layout.dims}, not {sizes!r}"
            )
    n_steps = max(1, runoff.sizes[time_dim])
    rows = max(1, runoff.sizes[layout.reach_dim], layout.sizes[layout.reach_dim])
    a_step = max(1, layout.n_batch) * rows * itemsize
    block = time_chunk
    if block is None:
        most = max(1, workers * BLOCK_BYTES // a_step)
        source = max(runoff.chunksizes[time_dim]) if runoff.chunks else stored_chunk(runoff, time_dim)
        if source and source <= most:
            block = most // source * source
        elif source and source <= 4 * most:  # rather some more memory than to read each chunk several times
            block = source
        else:
            block = most
    block = min(block, n_steps)
    if encoding.get("chunks") is None and encoding.get("shards") is not None:
        encoding = {**encoding, "chunks": tuple(encoding["shards"])}
    if encoding.get("chunks") is None:
        along = block if time_chunk is not None or workers == 1 else max(1, block // workers)
        across = max(1, min(rows, CHUNK_BYTES // (along * itemsize)))
        own = {time_dim: along, layout.reach_dim: min(across, max(1, layout.sizes[layout.reach_dim]))}
        encoding = {**encoding, "chunks": tuple(own.get(d, 1) for d in layout.dims)}
    granule = int((encoding.get("shards") or encoding["chunks"])[layout.dims.index(time_dim)])
    return encoding, max(granule, block // granule * granule)


def stored_chunk(runoff: xr.DataArray, dim: Any) -> int | None:
    """Length of the chunks along a dimension in the file that an array was opened from."""
    preferred = runoff.encoding.get("preferred_chunks") or {}
    if dim in preferred:
        return int(preferred[dim])
    chunks = runoff.encoding.get("chunksizes")
    return None if chunks is None or len(chunks) != runoff.ndim else int(chunks[runoff.dims.index(dim)])
