"""Dask workers: those that this process is a client of, those of a scheduler elsewhere, or some of this machine."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import XRouteError, require
from xroute.files.opening import stored_chunks
from xroute.options import n_threads, set_options

__all__ = ["check_seen", "check_shareable", "find_client", "local_cluster", "on_workers", "workers"]

TASK_BYTES = 2**25
"""Runoff of a task, where a file's own chunks are smaller."""


def find_client() -> Any:
    """Client of the distributed scheduler that is at work here, or None."""
    try:
        from distributed import get_client
    except ImportError:
        return None
    try:
        return get_client()
    except ValueError:
        return None


@contextmanager
def workers(address: str | None = None, n: int | None = None, *, gpus: bool = True) -> Iterator[int]:
    """Be the client of a scheduler at an address, or of ``n`` workers of this machine; yields their number.

    Raises
    ------
    XRouteError
        If there is no scheduler, or it has no workers.
    """
    distributed = require("distributed", feature="routing on workers", extra="distributed")
    if address is not None:
        try:
            client = distributed.Client(address, timeout=20)
        except (OSError, ValueError) as error:
            raise XRouteError(f"no Dask scheduler answers at {address}: {error}") from error
        with client:
            found = len(client.nthreads())
            if not found:
                raise XRouteError(
                    f"the Dask scheduler at {address} has no workers: start some with `dask worker {address}`"
                )
            yield found
        return
    assert n is not None
    try:
        local = local_cluster(n, gpus=gpus)
    except (OSError, RuntimeError) as error:  # no process, no port, no memory to start one
        raise XRouteError(f"{n} Dask workers cannot be started on this machine: {error}") from error
    with local as cluster, distributed.Client(cluster) as client, set_options(threads=max(1, n_threads() // n)):
        client.wait_for_workers(n)
        yield n


def local_cluster(n: int, *, gpus: bool = True) -> Any:
    """Cluster of ``n`` worker processes of one thread each on this machine, which share its GPUs out, if there are any."""
    distributed = require("distributed", feature="routing on workers", extra="distributed")
    quiet = logging.ERROR  # what fails is told once, by xroute
    count = 0
    if gpus:
        import torch

        count = torch.cuda.device_count()
    if not count:
        return distributed.LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0", silence_logs=quiet)
    each = {"nthreads": 1, "memory_limit": 0, "silence_logs": quiet}
    environments = ({"CUDA_VISIBLE_DEVICES": str(k % count)} for k in range(n))
    specification = {
        k: {"cls": distributed.Nanny, "options": {**each, "env": env}} for k, env in enumerate(environments)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": ":0"}}
    return distributed.SpecCluster(specification, scheduler, silence_logs=quiet)


def check_shareable(store: Any) -> None:
    """Refuse a store (of `xroute.stores.as_store`) that is in the memory of this process, if workers are to write to it."""
    here = not isinstance(store, (str, Path)) or str(store).startswith("memory:")
    if here and find_client() is not None:
        raise XRouteError(f"workers cannot write to {store}: give a path or a URL that they all see")


def check_seen(store: Any, folder: str) -> None:
    """Refuse a store on a disk, in which there is such a folder, if some workers do not see it: they would write elsewhere."""
    client = find_client()
    if client is None or not isinstance(store, Path):
        return
    blind = [address for address, sees in client.run((store / folder).is_dir).items() if not sees]
    if blind:
        raise XRouteError(
            f"{len(blind)} Dask workers do not see {store}, {blind[0]} for one: write to a file system that all share"
        )


def on_workers(runoff: xr.DataArray, reach_dim: Any, time_dim: Any) -> xr.DataArray:
    """Runoff that was opened lazily, on Dask: in the file's own chunks, several steps of small ones together.

    ``reach_dim`` is its dimension of reaches, or a tuple of those of its grid; along all others but time chunks have one entry.
    """
    if runoff.chunks is not None:
        return runoff
    across_dims = reach_dim if isinstance(reach_dim, tuple) else (reach_dim,)
    stored = stored_chunks(runoff)
    across = {d: stored.get(d) or runoff.sizes[d] for d in across_dims}
    own = stored.get(time_dim, 1)
    a_step = max(1, math.prod(across.values()) * runoff.dtype.itemsize)
    along = max(own, TASK_BYTES // a_step // own * own)
    along = min(along, max(own, math.ceil(runoff.sizes[time_dim] / 4 / own) * own))  # some that follow one another
    return runoff.chunk({d: {**across, time_dim: along}.get(d, 1) for d in runoff.dims if runoff.sizes[d]})
