"""Runoff and stores on Dask's workers: in which chunks runoff goes there, and stores that they do not see."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute import cluster
from xroute.cluster import on_workers
from xroute.exceptions import XRouteError


def opened(n_reaches: int, n_time: int, chunks: tuple[int, int] | None, dims=("reach", "time"), **others: int) -> xr.DataArray:
    """Runoff as a file's backend gives it: its encoding tells the chunks of the file."""
    sizes = {**others, "reach": n_reaches, "time": n_time}
    names = (*others, *dims)
    runoff = xr.DataArray(np.zeros(tuple(sizes[d] for d in names), np.float32), dims=names)
    if chunks is not None:
        runoff.encoding["preferred_chunks"] = {**dict.fromkeys(others, 1), "reach": chunks[0], "time": chunks[1]}
    return runoff


@pytest.mark.parametrize("dims", [("reach", "time"), ("time", "reach")])
@pytest.mark.parametrize(
    ("n_reaches", "n_time", "chunks"),
    [
        (100, 8760, (100, 24)),  # small chunks in time
        (100, 8760, (25, 24)),
        (1000, 240, (1000, 24)),  # one is more than a task takes
        (300, 240, (300, 7)),
        (50, 100, (50, 10)),
        (50, 7, (50, 10)),
        (100, 8760, None),
    ],
)
def test_runoff_of_a_file_goes_to_workers_in_chunks_of_the_file(n_reaches, n_time, chunks, dims, monkeypatch):
    """None is read by two tasks, small ones go together as long as some tasks follow one another, large ones stay alone."""
    most = 2**15
    monkeypatch.setattr(cluster, "TASK_BYTES", most)
    lazy = on_workers(opened(n_reaches, n_time, chunks, dims), "reach", "time")
    across, along = (lazy.chunksizes[d] for d in ("reach", "time"))
    own_across, own_along = chunks or (n_reaches, 1)
    assert lazy.dims == dims and sum(across) == n_reaches and sum(along) == n_time
    assert set(across[:-1]) <= {own_across} and len(across) == math.ceil(n_reaches / own_across)
    assert all(size % own_along == 0 for size in along[:-1])
    a_step = own_across * 4
    whole = min(own_along, n_time)  # a chunk of the file is not cut, whatever it weighs
    assert max(along) * a_step <= max(most, whole * a_step)
    if n_time >= 4 * own_along:
        assert len(along) >= 3  # tasks that follow one another, while others read
    more = along[0] + own_along  # a further chunk would make a task too heavy, or leave too few
    assert more * a_step > most or len(along) <= 4


def test_members_go_one_by_one():
    lazy = on_workers(opened(20, 30, (20, 5), member=3, model=2), "reach", "time")
    assert lazy.chunksizes["member"] == (1, 1, 1) and lazy.chunksizes["model"] == (1, 1)


def test_runoff_on_dask_stays_as_it_is():
    lazy = opened(20, 30, (20, 5)).chunk(reach=7, time=11)
    assert on_workers(lazy, "reach", "time") is lazy


def test_runoff_without_steps_or_members():
    assert on_workers(opened(20, 0, None), "reach", "time").sizes == {"reach": 20, "time": 0}
    assert on_workers(opened(20, 3, None, member=0), "reach", "time").sizes == {"member": 0, "reach": 20, "time": 3}


def blind(folder: str) -> None:
    """Make this process see nothing of a folder, as a worker on another machine."""
    stat = os.stat

    def unseen(path, *args, **kwargs):
        if not isinstance(path, int) and Path(os.fsdecode(path)).is_relative_to(folder):
            raise FileNotFoundError(2, "No such file or directory", path)
        return stat(path, *args, **kwargs)

    os.stat = unseen  # type: ignore[assignment]


def test_a_store_that_a_worker_does_not_see_is_refused(tmp_path):
    """It would write to a folder of its own machine, which nobody finds again."""
    distributed = pytest.importorskip("distributed")
    network = xroute.datasets.scheidegger(6, 5)
    runoff = xroute.datasets.storm_runoff(network, 20).chunk(time=5)
    store = tmp_path / "discharge.zarr"
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        one = next(iter(client.scheduler_info()["workers"]))
        client.run(blind, str(tmp_path), workers=[one])
        with pytest.raises(XRouteError, match=f"1 Dask workers do not see {store}, {one} for one") as refused:
            xroute.route_to_zarr(runoff, network, store, time_chunk=5, progress=False)
        assert "a file system that all share" in str(refused.value)
    assert not list(store.glob("discharge/c/*"))  # nothing was routed
