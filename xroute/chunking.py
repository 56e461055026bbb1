"""Chunks of a stream: how many steps are routed at a time, and how the store of discharge is cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, some
from xroute.labels import Layout
from xroute.stores import DISCHARGE

__all__ = ["check_encoding", "choose_chunks", "stored_chunk"]

BLOCK_BYTES = 2**27
"""Runoff of a block, where the caller does not say: several of them are in memory at once."""
CHUNK_BYTES = 2**23
"""Discharge of a chunk of the store, likewise."""


def check_encoding(encoding: Mapping[str, Any] | None, time_chunk: Any) -> dict[str, Any]:
    """Encoding of discharge, which a user gives by itself or under its name."""
    whole = isinstance(time_chunk, (int, np.integer)) and not isinstance(time_chunk, bool)
    if time_chunk is not None and (not whole or time_chunk < 1):
        raise ParameterError(f"time_chunk is a positive whole number or None, not {time_chunk!r}")
    if encoding is not None and not isinstance(encoding, Mapping):
        raise ParameterError(f"encoding is a mapping, as for xarray.Dataset.to_zarr, not {encoding!r}")
    encoding = dict(encoding or {})
    others = set(encoding) - {DISCHARGE}
    if DISCHARGE in encoding and others:
        raise ParameterError(f"encoding is of {DISCHARGE} only, not of {some(sorted(others, key=str))}")
    return dict(encoding.get(DISCHARGE, encoding))


def choose_chunks(
    layout: Layout, runoff: xr.DataArray, encoding: dict[str, Any], time_chunk: int | None, itemsize: int, workers: int
) -> tuple[dict[str, Any], int]:
    """Encoding with chunks, and the steps of a block: whole chunks (or shards) along time.

    Parameters
    ----------
    layout, runoff
        Of the run, and what it routes.
    encoding
        Of `check_encoding`; sizes of chunks and shards are in the order of discharge's dimensions.
    time_chunk
        Steps of a block, as the user gives them.
    itemsize
        Bytes of a value of discharge.
    workers
        Processes that share a block.
    """
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
    time_dim = layout.time_dim
    rows = max(1, runoff.sizes[layout.reach_dim], layout.sizes[layout.reach_dim])
    bytes_of_step = max(1, layout.n_batch) * rows * itemsize
    block = time_chunk or _steps_within(workers * BLOCK_BYTES // bytes_of_step, runoff, time_dim)
    block = min(block, max(1, runoff.sizes[time_dim]))
    if encoding.get("chunks") is None and encoding.get("shards") is not None:
        encoding = {**encoding, "chunks": tuple(encoding["shards"])}
    if encoding.get("chunks") is None:
        along = block if time_chunk is not None or workers == 1 else max(1, block // workers)
        across = max(1, min(rows, CHUNK_BYTES // (along * itemsize)))
        sizes = {time_dim: along, layout.reach_dim: min(across, max(1, layout.sizes[layout.reach_dim]))}
        encoding = {**encoding, "chunks": tuple(sizes.get(d, 1) for d in layout.dims)}
    granule = int((encoding.get("shards") or encoding["chunks"])[layout.dims.index(time_dim)])
    return encoding, max(granule, block // granule * granule)


def _steps_within(most: int, runoff: xr.DataArray, time_dim: Any) -> int:
    """Steps of a block that has place for so many: whole chunks of the source, where that can be."""
    most = max(1, most)
    source = max(runoff.chunksizes[time_dim]) if runoff.chunks else stored_chunk(runoff, time_dim)
    if source and source <= most:
        return most // source * source
    if source and source <= 4 * most:  # rather some more memory than to read each chunk several times
        return source
    return most


def stored_chunk(runoff: xr.DataArray, dim: Any) -> int | None:
    """Length of the chunks along a dimension in the file that an array was opened from."""
    preferred = runoff.encoding.get("preferred_chunks") or {}
    if dim in preferred:
        return int(preferred[dim])
    chunks = runoff.encoding.get("chunksizes")
    return None if chunks is None or len(chunks) != runoff.ndim else int(chunks[runoff.dims.index(dim)])
