"""Traps of states and stores: what happens to a user, and the right value or message."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from strategies import chain, runoff_array

import xroute
from xroute.block import route_block
from xroute.block_state import BlockState
from xroute.cli import main
from xroute.exceptions import StateError, XRouteError
from xroute.fence import OwnStore, release, take
from xroute.schemes import Filter
from xroute.settings import RoutingSettings

pytestmark = pytest.mark.filterwarnings("ignore:the state holds at")


@pytest.fixture
def network() -> xr.Dataset:
    return chain(4, "nash_cascade", n=3.0, tau=(2.0, "h"))  # a window of some lags


@pytest.fixture
def runoff(network) -> xr.DataArray:
    return runoff_array(network.reach.values, 8, np.random.default_rng(0))


@pytest.fixture
def state(network, runoff) -> xr.Dataset:
    return runoff.route(network, return_state=True)[1]


# ── states in another order: read by label ──────────────────────────────────────────────────────────────────────────────


def test_lags_are_turned_round(network, runoff, state):
    assert state.sizes["lag"] > 3
    turned = state.isel(lag=slice(None, None, -1))
    for given in (runoff, runoff.chunk(time=3)):
        found = given.route(network, initial_state=turned)
        np.testing.assert_array_equal(found.values, runoff.route(network, initial_state=state).values)


def test_members_are_in_another_order_in_the_file(network, runoff, tmp_path):
    many = xr.concat([runoff, 2 * runoff, 3 * runoff], xr.Variable("member", ["a", "b", "c"])).assign_attrs(
        runoff.attrs
    )
    _, state = many.route(network, return_state=True)
    expected = many.route(network, initial_state=state)
    xroute.io.write(state.isel(member=[2, 0, 1], reach=[3, 1, 0, 2]), tmp_path / "state.nc")
    np.testing.assert_array_equal(many.route(network, initial_state=tmp_path / "state.nc").values, expected.values)
    with xroute.io.open_dataset(tmp_path / "state.nc") as stored:  # a selection of what was stored keeps its checksum
        stored.load().isel(member=[1]).to_netcdf(tmp_path / "one.nc")
    one = many.isel(member=[0]).route(network, initial_state=str(tmp_path / "one.nc"))
    np.testing.assert_array_equal(one.values, expected.isel(member=[0]).values)


# ── states that are not whole: refused before any kernel ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.isel(lag=slice(0)), "lags are none"),
        (lambda s: s.isel(lag=slice(1, None)), "lags are 2, 3"),
        (lambda s: s.isel(lag=[0, 0, *range(2, s.sizes["lag"])]), "lags are 1, 1, 3"),
        (lambda s: s.assign_coords(lag=s.lag - 1), "lags are 0, 1"),
        (lambda s: s.drop_vars("lag"), "lags have no labels"),
        (lambda s: s.isel(reach=[0, 1, 2, 2]), "1 reaches stand more than once in the state: 3"),
        (lambda s: s.isel(reach=slice(3)), "1 reaches are not in it: 4"),
        (lambda s: s.expand_dims(time=2), "dimensions that runoff does not have|'n_lags' is on"),
        (lambda s: s.assign(inflow=s.inflow.expand_dims(member=2)), "'inflow' is on 'member'"),
        (lambda s: s.assign(outflow=s.outflow.astype(object)), "'outflow' is of type object"),
        (lambda s: s.assign(outflow=s.outflow.astype(complex)), "'outflow' is of type complex128"),
        (lambda s: s.assign(n_lags=-s.n_lags), "not whole numbers from 0 on 4 reaches"),
        (lambda s: s.assign(n_lags=s.n_lags * np.nan), "not whole numbers from 0 on 4 reaches"),
        (lambda s: s.assign(n_lags=s.n_lags - 1), "lags are"),
        (lambda s: s.rename(outflow="q"), "has no 'outflow'"),
        (lambda s: s.rename(inflow="i"), "no 'inflow'"),
        (lambda s: s["outflow"], "not a DataArray"),
        (lambda s: {"outflow": 1}, "not a dict"),
        (lambda s: s.assign_attrs(substeps=0), "'substeps' is 0, not a positive number"),
        (lambda s: s.assign_attrs(dt="an hour"), "'dt' is 'an hour', not a number"),
    ],
)
def test_a_state_is_spoiled(spoil, message, lazy, network, runoff, state):
    given = runoff.chunk(time=3) if lazy else runoff
    with pytest.raises(StateError, match=message):
        given.route(network, initial_state=spoil(state))


def test_labels_of_members_are_lost_or_double(network, runoff):
    many = xr.concat([runoff, 2 * runoff], xr.Variable("member", [7, 9])).assign_attrs(runoff.attrs)
    _, state = many.route(network, return_state=True)
    with pytest.raises(StateError, match="'member' has labels in the runoff and none in the state"):
        many.route(network, initial_state=state.drop_vars("member"))
    with pytest.raises(StateError, match="1 labels of the state's 'member' stand more than once: 7"):
        many.route(network, initial_state=state.isel(member=[0, 0]))


def test_plain_arrays_of_other_sizes_do_not_reach_kernels(network, runoff):
    import torch

    river = xroute.Network(network)
    n = river.n_reaches
    ones = torch.ones(n, dtype=torch.float64)
    filter = Filter(ones, np.arange(n + 1), 0.5 * ones, torch.zeros(n, dtype=torch.float64))
    for history, outflow in ((np.zeros((1, 1)), np.zeros((1, n))), (np.zeros((1, 0)), np.zeros((1, n - 1)))):
        with pytest.raises(StateError, match="this network and its members need float64"):
            route_block(np.ones((1, n, 3)), river.plan, filter, BlockState.of(history, outflow), RoutingSettings())


def test_a_routers_state_is_cut(network):
    import dataclasses

    import torch

    from xroute.router import Router

    router = Router(network, dt="1h")
    _, state = router(torch.ones(4, 5), return_state=True)
    with pytest.raises(StateError, match="part of it is missing"):
        router(torch.ones(4, 5), state=dataclasses.replace(state, history=state.history[:, :-1]))
    with pytest.raises(StateError, match="not a tensor of float64"):
        router(torch.ones(4, 5), state=dataclasses.replace(state, outflow=state.outflow.float()))


# ── states and steps ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_daily_spin_up_starts_an_hourly_forecast():
    network = chain(3, "muskingum", k=(2.0, "h"), x=0.1)
    daily = runoff_array(network.reach.values, 4, np.random.default_rng(0)).drop_vars("time")
    daily = daily.assign_coords(time=np.datetime64("2001-01-01", "ns") + np.arange(4) * np.timedelta64(1, "D"))
    hours = np.datetime64("2001-01-01", "ns") + np.arange(96) * np.timedelta64(1, "h")
    hourly = daily.sel(time=hours, method="ffill").assign_coords(time=hours)
    whole = hourly.route(network)
    _, state = daily.isel(time=slice(2)).route(network, substeps=24, return_state=True)
    rest = hourly.isel(time=slice(48, None)).route(network, initial_state=state)
    np.testing.assert_allclose(rest.values, whole.isel(time=slice(48, None)).values, rtol=1e-13)
    with pytest.raises(StateError, match="3600 s apart .*and this run's 1800 s"):
        hourly.route(network, substeps=2, initial_state=state)


def test_attributes_come_back_from_a_file_as_arrays_and_bytes(network, runoff, state):
    changed = state.copy()
    changed.attrs |= {
        "dt": np.array([3600.0]),
        "substeps": np.int32(1),
        "scheme": b"nash_cascade",
        "lateral": np.str_("head"),
    }
    np.testing.assert_array_equal(
        runoff.route(network, initial_state=changed).values, runoff.route(network, initial_state=state).values
    )


def test_a_stored_state_is_damaged(network, runoff, state, tmp_path):
    path = tmp_path / "state.zarr"
    xroute.io.write(state, path)
    xroute.route_to_zarr(runoff, network, tmp_path / "q.zarr", initial_state=path, progress=False)
    zarr.open_array(path, path="outflow", mode="r+")[1] *= 1.0000001
    with pytest.raises(StateError, match="state.zarr is damaged: the values of 1 of 1 members"):
        runoff.route(network, initial_state=path)
    swapped = state.copy(deep=True)
    xroute.io.write(swapped, tmp_path / "swapped.zarr")
    lags = zarr.open_array(tmp_path / "swapped.zarr", path="inflow", mode="r+")
    values = np.asarray(lags[...])
    values[2, [0, 1]] = values[2, [1, 0]]  # the same numbers, of the same reach
    lags[...] = values
    with pytest.raises(StateError, match="swapped.zarr is damaged"):
        runoff.route(network, initial_state=tmp_path / "swapped.zarr")
    (tmp_path / "half.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(XRouteError, match="half.nc"):
        runoff.route(network, initial_state=tmp_path / "half.nc")


# ── stores ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Cut(Exception):
    """A run is cut off."""


def begin(runoff: xr.DataArray, network: Any, store: Any, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Route the first steps into a store."""
    commit = xroute.checkpoint.Checkpoint.commit

    def cut(self: Any, progress: Any, *args: Any, **options: Any) -> None:
        commit(self, progress, *args, **options)
        if progress.steps >= steps:
            raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(xroute.checkpoint.Checkpoint, "commit", cut)
        with pytest.raises((Cut, XRouteError)):
            xroute.route_to_zarr(runoff, network, store, time_chunk=2, progress=False)


@pytest.mark.parametrize("damage", ["gone", "short", "other", "metadata"])
def test_a_slot_is_damaged(damage, network, runoff, tmp_path, monkeypatch):
    store = tmp_path / "q.zarr"
    begin(runoff, network, store, 4, monkeypatch)
    slots = store / "checkpoint"

    def spoil(number: int) -> None:
        file = slots / str(number) / ("zarr.json" if damage == "metadata" else "outflow/c/0/0")
        data = file.read_bytes()
        file.unlink() if damage == "gone" else file.write_bytes(
            data[: len(data) // 2] if damage != "other" else data[::-1]
        )

    spoil(0)  # 4 steps; the other is of 2
    with pytest.warns(UserWarning, match="slot 0.*the other one is used, after 2 steps"):
        found = xroute.route_to_zarr(runoff, network, store, progress=False)
    np.testing.assert_array_equal(found.values, runoff.route(network).values)
    spoil(0)
    spoil(1)
    with pytest.raises(XRouteError, match='no checkpoint of .* can be read .*from its first step: mode="w"'):
        xroute.route_to_zarr(runoff, network, store, progress=False)
    found = xroute.route_to_zarr(runoff, network, store, progress=False, mode="w")
    np.testing.assert_array_equal(found.values, runoff.route(network).values)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    "file",
    ["reach/c/0", "time/c/0", "time/zarr.json", "discharge/zarr.json", "discharge/c/0/0", "zarr.json", "checkpoint/zarr.json"],
)
def test_a_file_of_the_store_is_damaged(file, finished, network, runoff, tmp_path, monkeypatch):
    """Labels, metadata, the run's description and chunks: gone, empty, cut or changed, none is taken for what it was."""
    store, path = tmp_path / "q.zarr", tmp_path / "q.zarr" / file
    begin(runoff, network, store, 4, monkeypatch)
    if finished:
        xroute.route_to_zarr(runoff, network, store, progress=False)
    whole = path.read_bytes()
    anchors = {"time/zarr.json": b" since", "zarr.json": b'shape"', "checkpoint/zarr.json": b'dt"'}
    at = whole.index(anchors[file]) if file in anchors else len(whole) // 2
    for damaged in (None, b"", whole[: len(whole) // 2], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        if file == "discharge/c/0/0" and damaged:  # discharge is not read again, but who reads it is told
            found = xroute.route_to_zarr(runoff, network, store, progress=False)
            with pytest.raises(RuntimeError, match="decompression error"):
                found.load()
        else:
            with pytest.raises((XRouteError, FileExistsError), match='(damaged|cannot be read|lost).*mode="w"'):
                xroute.route_to_zarr(runoff, network, store, progress=False)
        path.write_bytes(whole)
    path.unlink()
    found = xroute.route_to_zarr(runoff, network, store, progress=False, mode="w")
    np.testing.assert_array_equal(found.values, runoff.route(network).values)


def test_a_user_adds_attributes_to_a_store(network, runoff, tmp_path):
    store = tmp_path / "q.zarr"
    xroute.route_to_zarr(runoff, network, store, progress=False)
    zarr.open_array(store, path="discharge", mode="r+").attrs["comment"] = "calibrated"
    with pytest.warns(UserWarning, match="'discharge/zarr.json'.*changed since, or damaged"):
        found = xroute.route_to_zarr(runoff, network, store, progress=False)
    np.testing.assert_array_equal(found.values, runoff.route(network).values)


def test_another_run_ends_between_asking_and_taking(network, runoff, tmp_path, monkeypatch):
    """Without mode="w" nothing is replaced, not even what came a moment before the store is taken."""
    store, original, other = tmp_path / "q.zarr", xroute.checkpoint.Checkpoint.take, 2 * runoff
    other.attrs = runoff.attrs

    def late(self: Any) -> None:
        monkeypatch.setattr(xroute.checkpoint.Checkpoint, "take", original)
        xroute.route_to_zarr(other, network, store, substeps=2, progress=False)
        original(self)

    monkeypatch.setattr(xroute.checkpoint.Checkpoint, "take", late)
    with pytest.raises(XRouteError, match="another run has replaced"):
        xroute.route_to_zarr(runoff, network, store, progress=False)
    found = xroute.route_to_zarr(other, network, store, substeps=2, progress=False)
    np.testing.assert_array_equal(found.values, other.route(network, substeps=2).values)


def test_an_unfinished_store_says_so(network, runoff, tmp_path, monkeypatch):
    store = tmp_path / "q.zarr"
    begin(runoff, network, store, 4, monkeypatch)
    for consolidated in (True, False):
        with xr.open_zarr(store, consolidated=consolidated) as opened:
            assert "interrupted" in opened.attrs["unfinished"]
            assert opened["discharge"][{"time": slice(4, None)}].isnull().all()
    told = CliRunner().invoke(main, ["info", str(store)]).output
    assert "problem: it is unfinished: this run was interrupted" in told
    xroute.route_to_zarr(runoff, network, store, progress=False)
    for consolidated in (True, False):
        with xr.open_zarr(store, consolidated=consolidated) as opened:
            assert "unfinished" not in opened.attrs


def test_nothing_lands_after_another_took_the_store(tmp_path):
    """Whatever a run had begun: neither a new value, nor one half written, nor a deletion."""
    one = take(tmp_path / "q.zarr", "one")
    assert isinstance(one, OwnStore)
    zarr.create_array(one, name="a", shape=(4,), chunks=(2,), dtype="f8")[:] = 1.0
    array = zarr.open_array(one, path="a")
    two = take(tmp_path / "q.zarr", "two")
    for write in (lambda: array.__setitem__(slice(0, 2), 5.0), lambda: array.__setitem__(slice(0, 2), 0.0)):
        with pytest.raises(XRouteError, match="another run writes to"):
            write()
    release(one)
    zarr.open_array(two, path="a")[2:] = 2.0
    release(two)
    assert zarr.open_array(tmp_path / "q.zarr", path="a")[:].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert [p.name for p in (tmp_path / "q.zarr" / "checkpoint").iterdir()] == []


def test_a_file_system_has_no_hard_links(network, runoff, tmp_path, monkeypatch):
    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", link)
    found = xroute.route_to_zarr(runoff, network, tmp_path / "q.zarr", progress=False)
    np.testing.assert_array_equal(found.values, runoff.route(network).values)


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_a_url_of_this_machine_is_a_folder(scheme, network, runoff, tmp_path):
    found = xroute.route_to_zarr(runoff, network, f"{scheme}://{tmp_path}/q.zarr", progress=False)
    np.testing.assert_array_equal(found.values, runoff.route(network).values)
    assert (tmp_path / "q.zarr" / "zarr.json").is_file()


def test_a_folder_with_a_users_files_is_not_touched(network, runoff, tmp_path):
    for name in ("model.partial", "checkpoint/weights.pt", "checkpoint/writer.txt"):
        folder: Path = tmp_path / name.replace("/", "-")
        file = folder / name
        file.parent.mkdir(parents=True)
        file.write_text("mine")
        for mode in ("w-", "w"):
            with pytest.raises((FileExistsError, XRouteError), match="holds other files"):
                xroute.route_to_zarr(runoff, network, folder, mode=mode, progress=False)
        assert [p.name for p in folder.rglob("*") if p.is_file()] == [file.name]


def test_what_cannot_be_written_is_found_before_anything_is(network, runoff, tmp_path):
    store = tmp_path / "q.zarr"
    odd = runoff.assign_coords(what=("reach", np.array([{}, [], 1, "x"], dtype=object)))
    with pytest.raises(XRouteError, match="Nothing is routed yet"):
        xroute.route_to_zarr(odd, network, store, progress=False)
    assert not store.exists()


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES])
def test_a_disk_that_fails_is_no_empty_place(monkeypatch, tmp_path, code):
    """A store that is there and cannot be read must not be taken for none, nor be replaced."""
    network, ds = xroute.datasets.tutorial()
    ds.runoff.to_dataset(name="kept").to_zarr(tmp_path / "q.zarr")
    before = {path: path.read_bytes() for path in (tmp_path / "q.zarr").rglob("*") if path.is_file()}

    def fails(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr("zarr.open", fails)
        for mode in ("w-", "w"):
            with pytest.raises(OSError, match=os.strerror(code)):
                xroute.route_to_zarr(ds.runoff, network, tmp_path / "q.zarr", progress=False, mode=mode)
    assert {path: path.read_bytes() for path in (tmp_path / "q.zarr").rglob("*") if path.is_file()} == before
