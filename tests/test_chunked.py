"""Runoff on Dask: lazy, and the same bits as in memory however it is chunked, cut, scheduled and resumed."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as some
from strategies import DT, draw_parameters, networks, runoffs

import xroute
from xroute.exceptions import AlignmentError, StateError, XRouteError

T0 = np.datetime64("2001-01-01")


def compute(*args, **kwargs):
    raise AssertionError("something was computed")


@pytest.fixture(scope="module")
def network() -> xroute.Network:
    return xroute.Network(xroute.datasets.scheidegger(20, 15, seed=1))


@pytest.fixture(scope="module")
def runoff(network: xroute.Network) -> xr.DataArray:
    rng = np.random.default_rng(0)
    return xr.DataArray(
        rng.random((3, network.n_reaches, 30)).astype(np.float32),
        dims=("member", "reach", "time"),
        coords={"member": [5, 6, 7], "reach": network.ids, "time": T0 + np.arange(30) * np.timedelta64(1, "h")},
        attrs={"units": "m3 s-1"},
    )


def split(size: int, draw) -> tuple[int, ...]:
    """Chunks of a dimension, ragged."""
    if not size:
        return (0,)
    cuts = sorted(draw(some.sets(some.integers(1, size - 1), max_size=4))) if size > 1 else []
    return tuple(np.diff([0, *cuts, size]).tolist())


# ── the result ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40)
@given(some.data())
def test_any_chunks(data):
    dataset, _ = data.draw(networks(max_size=40))
    runoff = data.draw(runoffs(dataset["reach"].values))
    options = {
        "substeps": data.draw(some.sampled_from([1, 3])),
        "sampling": data.draw(some.sampled_from(["mean", "last", "start-mean"])),
        "lateral": data.draw(some.sampled_from(["head", "outlet"])),
        "dt": DT,
    }
    partitions = data.draw(some.integers(1, 16))
    dims = data.draw(some.permutations(runoff.dims))
    runoff = runoff.transpose(*dims)[
        {d: slice(None, None, -1) for d in dims if d != "time" and data.draw(some.booleans())}
    ]
    lazy = runoff.chunk({d: split(runoff.sizes[d], data.draw) for d in runoff.dims})
    expected, end = runoff.route(dataset, return_state=True, **options)
    routed, state = lazy.route(dataset, partitions=partitions, return_state=True, **options)
    assert routed.chunks == lazy.chunks and routed.dtype == expected.dtype
    xr.testing.assert_identical(routed.compute().drop_attrs(), expected.drop_attrs())
    xr.testing.assert_identical(state.compute().drop_attrs(), end.drop_attrs())
    again = lazy.route(
        dataset, partitions=partitions, initial_state=data.draw(some.sampled_from([state, end])), **options
    )
    xr.testing.assert_equal(again.compute(), runoff.route(dataset, initial_state=end, **options))


def test_a_series_goes_on(runoff, network):
    """Lazily routed in two parts, the state never computed in between; and every kind of window."""
    rng = np.random.default_rng(3)
    kinds = np.array(["muskingum", "nash_cascade", "pure_lag"])[rng.integers(0, 3, network.n_reaches)]
    dataset = network.dataset.assign(scheme=("reach", kinds))
    for scheme in ("nash_cascade", "pure_lag"):
        for name, values in draw_parameters(scheme, network.n_reaches, rng).items():
            dataset[name] = ("reach", values)
    lazy = runoff.chunk(time=4, reach=100, member=2)
    whole = runoff.route(dataset)
    first, state = lazy.isel(time=slice(0, 13)).route(dataset, return_state=True, partitions=3)
    rest = lazy.isel(time=slice(13, None)).route(dataset, initial_state=state, partitions=2)
    xr.testing.assert_equal(xr.concat([first, rest], "time").compute(), whole)


def test_missing_and_extra_reaches(runoff, network):
    part = runoff.isel(reach=slice(40, None))
    more = xr.concat([part, runoff.isel(reach=[0]).assign_coords(reach=[10**6])], "reach")
    options = {"missing": "zero", "extra": "drop"}
    for chunks in ({"reach": 50}, {"reach": -1}, {"reach": (1, more.sizes["reach"] - 1)}):
        routed = more.chunk(chunks).route(network, partitions=4, **options)
        xr.testing.assert_equal(routed.compute(), more.route(network, **options))


@pytest.mark.parametrize("size", ["time", "member"])
def test_empty(size, runoff, network):
    none = runoff.isel({size: slice(0)})
    xr.testing.assert_equal(none.chunk().route(network, dt=DT).compute(), none.route(network, dt=DT))


def test_depths_and_areas(runoff, network):
    depth = runoff.assign_attrs(units="mm h-1")
    dataset = network.dataset.assign(
        area=("reach", np.random.default_rng(0).uniform(1, 9, network.n_reaches), {"units": "km2"})
    )
    xr.testing.assert_equal(depth.chunk(reach=70).route(dataset, partitions=3).compute(), depth.route(dataset))


# ── laziness ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_computed(runoff, network):
    data = da.map_blocks(
        compute, da.from_array(runoff.values, (1, 50, 7)), dtype=runoff.dtype, meta=np.empty((0, 0, 0), np.float32)
    )
    with dask.config.set(scheduler=compute):
        lazy = runoff.copy(data=data)
        routed, state = lazy.route(network, return_state=True, partitions=4)
        lazy.route(network, initial_state=state, partitions=2)
    assert dask.is_dask_collection(routed) and dask.is_dask_collection(state)
    assert (
        routed.attrs["units"] == "m3 s-1" and routed.name == "discharge" and "xroute: routed" in routed.attrs["history"]
    )


def test_only_what_is_needed_is_computed(runoff, network):
    seen = []
    data = da.map_blocks(
        lambda block, block_info=None: seen.append(block_info[0]["chunk-location"]) or block,
        da.from_array(runoff.values, (1, -1, 10)), dtype=runoff.dtype, meta=np.empty((0, 0, 0), np.float32),
    )  # fmt: skip
    routed = runoff.copy(data=data).route(network)
    routed.isel(member=1, time=slice(0, 15)).compute(scheduler="sync")
    assert sorted(seen) == [(1, 0, 0), (1, 0, 1)], "one member, and the time up to what was asked for"


def test_graphs_are_small():
    n, steps = 20_000, 1000
    dataset = xroute.datasets.scheidegger(200, 100)
    data = da.zeros((n, steps * 4), chunks=(n, 4), dtype="f4")
    time_ = T0 + np.arange(steps * 4) * np.timedelta64(1, "h")
    runoff = xr.DataArray(
        data,
        dims=("reach", "time"),
        coords={"reach": dataset["reach"].values, "time": time_},
        attrs={"units": "m3 s-1"},
    )
    routed = runoff.route(dataset)
    graph = routed.data.__dask_graph__()
    assert len(graph) < 5 * steps
    assert len(pickle.dumps(dict(graph))) < 120 * n + 1000 * steps, "no input, and no array twice"


def test_names_are_reproducible(runoff, network):
    lazy = runoff.chunk(time=10)
    one, two = (lazy.route(xroute.Network(network.dataset)).data.name for _ in range(2))
    assert one == two
    assert lazy.route(network, substeps=2).data.name != one != lazy.route(network, lateral="outlet").data.name


# ── schedulers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_local_schedulers(scheduler, runoff, network):
    routed = runoff.chunk(time=8, reach=90, member=2).route(network, partitions=3)
    xr.testing.assert_equal(routed.compute(scheduler=scheduler, num_workers=2), runoff.route(network))


def test_tasks_take_along_the_threads_of_the_call_that_made_them(runoff, network, monkeypatch):
    """Threads are counted where blocks are routed: in Dask's threads, after the block of options is over."""
    seen: list[tuple[str, int]] = []
    count = xroute.options.get_option

    def watched(name):
        value = count(name)
        if name == "threads":
            seen.append((threading.current_thread().name, value))
        return value

    with xroute.set_options(threads=3):
        three = runoff.chunk(time=8).route(network, partitions=1)
    with xroute.set_options(threads=2):
        two = runoff.chunk(time=8).route(network, partitions=1)
    monkeypatch.setattr(xroute.options, "get_option", watched)
    for lazy, threads in ((three, 3), (two, 2)):
        seen.clear()
        lazy.compute(scheduler="threads", num_workers=2)
        assert {value for _, value in seen} == {threads}
        assert {name for name, _ in seen} != {threading.current_thread().name}
    assert xroute.options.get_option("threads") is None


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        yield local, client


def test_distributed(cluster, runoff, network):
    lazy = runoff.chunk(time=8, reach=90, member=2)
    routed, state = lazy.route(network, partitions=3, return_state=True)
    expected, end = runoff.route(network, return_state=True)
    found, final = dask.compute(routed, state)
    xr.testing.assert_equal(found, expected)
    xr.testing.assert_equal(final, end)
    with pytest.raises(XRouteError, match="1 values of runoff are NaN"):
        broken = runoff.copy()
        broken[1, 7, 20] = np.nan
        broken.chunk(time=8).route(network).compute()


def test_workers_may_die(cluster, network):
    """Killed at random, again and again: tasks that are lost are run again, and the bits are the same."""
    local, client = cluster
    rng = np.random.default_rng(0)
    steps = 400
    data = da.random.RandomState(0).random_sample((network.n_reaches, steps), chunks=(-1, 4))
    coords = {"reach": network.ids, "time": T0 + np.arange(steps) * np.timedelta64(1, "h")}
    runoff = xr.DataArray(data, dims=("reach", "time"), coords=coords, attrs={"units": "m3 s-1"})
    expected = runoff.compute().route(network)
    stop = threading.Event()
    killed = []

    def kill():
        while not stop.wait(rng.uniform(0.2, 0.6)):
            if len(killed) < 4:
                process = getattr(rng.choice(list(local.workers.values())).process, "process", None)
                if getattr(process, "pid", None):  # else it has not come back since it was killed
                    killed.append(process.pid)
                    os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    with dask.config.set({"distributed.scheduler.allowed-failures": 100}):
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 100))
        killer.start()
        try:
            routed = runoff.route(network, partitions=4).map_blocks(slowly).compute()
        finally:
            stop.set()
            killer.join()
    assert killed
    xr.testing.assert_equal(routed, expected)


def slowly(block: xr.DataArray) -> xr.DataArray:
    """So that the run lasts until workers have died."""
    time.sleep(0.02)
    return block


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_missing_values_are_found_by_tasks(runoff, network):
    broken = runoff.copy()
    broken[1, 7, 20] = np.nan
    lazy = broken.chunk(time=8, reach=90).route(network, partitions=3)
    with pytest.raises(
        XRouteError, match=rf"1 values.*on 1 reaches: {network.ids[7]}; first at 2001-01-01T20.*nan=\"zero\""
    ):
        lazy.compute()
    assert np.isfinite(lazy.isel(time=slice(0, 8)).compute()).all()
    xr.testing.assert_equal(
        broken.chunk(time=8).route(network, nan="zero").compute(), broken.route(network, nan="zero")
    )


def test_errors_come_at_once(runoff, network):
    lazy = runoff.chunk(time=8)
    with pytest.raises(AlignmentError, match="have no runoff"):
        lazy.isel(reach=slice(3, None)).route(network)
    _, state = lazy.route(network, return_state=True)
    daily = lazy.assign_coords(time=T0 + np.arange(30) * np.timedelta64(1, "D"))
    with pytest.raises(StateError, match="another routing step"):
        daily.route(network, initial_state=state)


def test_a_lazy_state_that_is_not_finite(runoff, network):
    lazy = runoff.chunk(time=8)
    _, state = lazy.route(network, return_state=True)
    state = state.copy()
    state["outflow"] = state["outflow"].where(state["reach"] != network.ids[3])
    with pytest.raises(StateError, match=f"not finite.*{network.ids[3]}"):
        lazy.route(network, initial_state=state).compute()
