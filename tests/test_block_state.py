"""States of several stages: what holds of the river's own holds of each, packed, as tables, as a Dataset and in a file."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from strategies import chain

import xroute
from xroute.block_state import CHANNEL, BlockState, Stage, stored_name
from xroute.exceptions import StateError
from xroute.io import write
from xroute.labels import align
from xroute.settings import RoutingSettings
from xroute.state import align_state, load_state, run_key, state_dataset

LAGS = {CHANNEL: np.array([1, 0, 2, 1]), "hillslope": np.array([3, 1, 0, 2])}


@pytest.fixture
def network() -> xroute.Network:
    return xroute.Network(chain(4, "linear_storage", tau=7200.0))


@pytest.fixture
def state() -> BlockState:
    rng = np.random.default_rng(0)
    return BlockState({name: Stage(rng.random((2, n.sum())), rng.random((2, n.size))) for name, n in LAGS.items()})


def key_of(network: xroute.Network, n_lags=LAGS, order=slice(None)):
    array = xr.DataArray(
        np.zeros((2, 4)), {"member": ["a", "b"][order], "reach": network.ids}, ("member", "reach"), attrs={"units": "m3 s-1"}
    )
    layout = align(array, network)
    return run_key(network, layout, n_lags, None, RoutingSettings(3600.0), "m3 s-1")


def same(found: BlockState, expected: BlockState) -> bool:
    pairs = zip(found.arrays().items(), expected.arrays().items(), strict=True)
    return all(a == b and np.array_equal(x, y) and x.dtype == y.dtype for (a, x), (b, y) in pairs)


def test_through_tables_and_back(state):
    table = state.table(LAGS, (2,))
    assert table["hillslope"].inflow.shape == (2, 4, 3) and table[CHANNEL].inflow.shape == (2, 4, 2)
    assert table["hillslope"].inflow[1, 3].tolist() == [*state.stages["hillslope"].history[1, 4:], 0.0]
    assert same(BlockState.of_table(table, LAGS), state)
    wide = state.table(LAGS, (2, 1))
    assert wide[CHANNEL].outflow.shape == (2, 1, 4) and same(BlockState.of_table(wide, LAGS), state)
    assert same(BlockState.of_arrays(state.arrays()), state)
    assert list(state.arrays()) == ["outflow", "history", "hillslope_outflow", "hillslope_history"]


def test_stages_without_lags_and_dry_ones():
    n_lags = {CHANNEL: np.zeros(3, int), "hillslope": np.zeros(0, int)}
    dry = BlockState.dry(n_lags, 2)
    dry.check(n_lags, 2)
    table = dry.table(n_lags, (2,))
    assert all(stage.inflow is None for stage in table.values())
    assert same(BlockState.of_table(table, n_lags), dry)


@pytest.mark.parametrize("suffix", [None, ".nc", ".zarr"])
def test_through_a_dataset_and_back(network, state, suffix, tmp_path):
    stored = state_dataset(state.table(LAGS, (2,)), key_of(network), None)
    assert stored["hillslope_inflow"].dims == ("member", "reach", "hillslope_lag")
    shuffled = stored.isel(reach=[2, 0, 3, 1], hillslope_lag=[1, 2, 0], member=[1, 0])
    given = shuffled
    if suffix is not None:
        given = tmp_path / f"state{suffix}"
        write(shuffled, given)
    found = load_state(align_state(given, key_of(network), None), LAGS, network.ids)
    assert same(found, state)


def test_damage_to_any_stage_is_noticed(network, state, tmp_path):
    stored = state_dataset(state.table(LAGS, (2,)), key_of(network), None)
    write(stored, tmp_path / "state.nc")
    written = xr.load_dataset(tmp_path / "state.nc")
    written["hillslope_outflow"][0, 0] += 1e-9
    written.to_netcdf(tmp_path / "damaged.nc")
    with pytest.raises(StateError, match="the values of 1 of 2 members are not those that were written"):
        align_state(tmp_path / "damaged.nc", key_of(network), None)
    for spoilt, message in (
        (stored.drop_vars("hillslope_inflow"), "no 'hillslope_inflow', and its reaches have up to 3 lags"),
        (stored.drop_vars(["hillslope_outflow", "hillslope_inflow", "hillslope_n_lags"]), "has the stages 'channel', and this"),
        (stored.isel(hillslope_lag=[0, 2]), "lags are 1, 3"),
        (stored.assign(hillslope_n_lags=stored.hillslope_n_lags + 0.5), "'hillslope_n_lags' are not whole numbers"),
        (stored.assign(hillslope_outflow=stored.hillslope_outflow.astype(str)), "'hillslope_outflow' is of type"),
    ):
        with pytest.raises(StateError, match=message):
            align_state(spoilt, key_of(network), None)
    with pytest.raises(StateError, match="has the stages 'channel', 'hillslope', and this run 'channel'"):
        align_state(stored, key_of(network, {CHANNEL: LAGS[CHANNEL]}), None)
    other = {**LAGS, "hillslope": np.array([3, 1, 1, 2])}
    with pytest.raises(StateError, match="1 reaches now have a window of another length"):
        align_state(stored, key_of(network, other), None)
    stored["hillslope_inflow"][1, 3, 1] = np.nan
    with pytest.raises(StateError, match="not finite on 1 reaches: 4"):
        load_state(align_state(stored, key_of(network), None), LAGS, network.ids)


def test_further_reaches_are_dry_in_all_stages(state):
    found = state.pad(1)
    assert found.channel.outflow.tolist() == [[*row, 0.0] for row in state.channel.outflow.tolist()]
    assert np.array_equal(found.stages["hillslope"].history, state.stages["hillslope"].history)
    found.check({name: np.append(n, 0) for name, n in LAGS.items()}, 2)


def test_sizes_are_checked_of_every_stage(state):
    state.check(LAGS, 2)
    with pytest.raises(StateError, match=r"hillslope_history is float64 \(2, 6\), and this network .* \(2, 7\)"):
        state.check({**LAGS, "hillslope": np.array([3, 2, 0, 2])}, 2)
    with pytest.raises(StateError, match=r"outflow is float64 \(2, 4\), and .* \(3, 4\)|history is float64 \(2, 4\)"):
        state.check(LAGS, 3)
    with pytest.raises(StateError, match="the stages"):
        BlockState.of(*state.channel).check(LAGS, 2)
    assert stored_name(CHANNEL, "outflow") == "outflow"
