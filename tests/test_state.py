"""State: what carries one run into the next, through memory, netCDF and Zarr; a wrong one is refused by name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DT, ID_KINDS, SCHEMES, chain, make_ids, network_dataset, networks, rngs, runoff_array, topology

import xroute
from xroute.exceptions import ParameterError, StateError, UnitsError, XRouteError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*[Mm]uskingum"),  # drawn parameters need not be stable ones
    pytest.mark.filterwarnings("ignore:the state holds at"),  # nor need runs follow on one another in time
]


@pytest.fixture
def network() -> xr.Dataset:
    return chain(4, "muskingum", k=(2.0, "h"), x=0.1)


@pytest.fixture
def runoff(network) -> xr.DataArray:
    return runoff_array(network.reach.values, 8, np.random.default_rng(0))


@pytest.fixture
def state(network, runoff) -> xr.Dataset:
    return xroute.route(runoff, network, return_state=True)[1]


def test_what_a_state_is(network, runoff, state):
    assert set(state.data_vars) >= {"inflow", "outflow"}
    assert state["outflow"].dims == ("reach",) and state["inflow"].dims == ("reach", "lag")
    assert state["outflow"].dtype == state["inflow"].dtype == np.float64
    assert state.reach.values.tolist() == [1, 2, 3, 4]
    assert state.lag.values.tolist() == [1]
    assert state.attrs["scheme"] == "muskingum"
    assert state.attrs["substeps"] == 1
    assert DT in [value for name, value in state.attrs.items() if "dt" in name]
    assert state.attrs["time"] == "2001-02-27T08:00:00"  # the end of the last step


def test_state_by_hand():
    network = chain(2, "muskingum", k=(2.0, "h"), x=0.1)
    runoff = runoff_array(network.reach.values, 1, np.random.default_rng(0)) * 0.0
    runoff[0, 0] = 2.3
    _, state = xroute.route(runoff.assign_attrs(units="m3 s-1"), network, dt=DT, return_state=True)
    np.testing.assert_allclose(state["outflow"].sel(reach=[1, 2]).values, [0.3, 0.3 * 0.3 / 2.3], rtol=1e-14)
    np.testing.assert_allclose(state["inflow"].sel(reach=[1, 2], lag=1).values, [2.3, 0.3], rtol=1e-14)


def test_batch_dims_are_kept(network):
    runoff = runoff_array(network.reach.values, 6, np.random.default_rng(0), batch={"model": 2, "member": 3})
    runoff = runoff.transpose("time", "member", "reach", "model").assign_coords(model=["a", "b"])
    _, state = xroute.route(runoff, network, return_state=True)
    assert dict(state["outflow"].sizes) == {"member": 3, "model": 2, "reach": 4}
    assert state.model.values.tolist() == ["a", "b"]
    for model in ("a", "b"):
        _, one = xroute.route(runoff.sel(model=model), network, return_state=True)
        np.testing.assert_array_equal(
            one["outflow"].transpose("member", "reach").values,
            state["outflow"].sel(model=model).transpose("member", "reach").values,
        )


def test_members_are_resumed_by_their_labels(network):
    runoff = runoff_array(network.reach.values, 6, np.random.default_rng(0), batch={"member": 3})
    whole = xroute.route(runoff, network)
    _, state = xroute.route(runoff.isel(time=slice(3)), network, return_state=True)
    rest = xroute.route(runoff.isel(time=slice(3, 6), member=[2, 0, 1]), network, initial_state=state)
    np.testing.assert_array_equal(rest.values, whole.isel(time=slice(3, 6), member=[2, 0, 1]).values)
    with pytest.raises(StateError, match="member"):
        other = runoff.isel(time=slice(3, 6)).assign_coords(member=[7, 8, 9])
        xroute.route(other, network, initial_state=state)


def test_one_state_starts_a_whole_ensemble(network, runoff, state):
    later = runoff_array(network.reach.values, 4, np.random.default_rng(3), batch={"member": 3})
    routed = xroute.route(later, network, initial_state=state)
    for i in range(3):
        one = xroute.route(later.isel(member=i), network, initial_state=state)
        np.testing.assert_array_equal(routed.isel(member=i).values, one.values)


def test_a_state_of_an_ensemble_does_not_start_a_single_run(network, runoff):
    batch = runoff.expand_dims(member=2)
    _, state = xroute.route(batch, network, return_state=True)
    with pytest.raises(StateError, match="member"):
        xroute.route(runoff, network, initial_state=state)


def test_reaches_of_a_state_are_aligned_by_id(network, runoff, state):
    expected = xroute.route(runoff, network, initial_state=state)
    turned = state.isel(reach=[3, 1, 0, 2]).transpose(..., "lag", "reach")
    xr.testing.assert_equal(xroute.route(runoff, network, initial_state=turned), expected)
    xr.testing.assert_equal(xroute.route(runoff, network.isel(reach=[1, 0, 3, 2]), initial_state=state), expected)


def test_a_state_is_not_changed_by_its_use(network, runoff, state):
    before = state.copy(deep=True)
    xroute.route(runoff, network, initial_state=state, return_state=True)
    xr.testing.assert_identical(state, before)


def test_a_state_of_another_time_is_one_warning(network, runoff, state):
    with pytest.warns(UserWarning, match="the state holds at 2001-02-27T08:00:00") as caught:
        again = xroute.route(runoff, network, initial_state=state)
    assert len(caught) == 1
    later = runoff.assign_coords(time=runoff.time + np.timedelta64(8, "h"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(xroute.route(later, network, initial_state=state).values, again.values)


# ---------------------------------------------------------------- refusals


def test_another_networks_state(network, runoff, state):
    longer = chain(5, "muskingum", k=(2.0, "h"), x=0.1)
    with pytest.raises(StateError, match="network|reach") as error:
        xroute.route(runoff_array(longer.reach.values, 3, np.random.default_rng(0)), longer, initial_state=state)
    assert "5" in str(error.value)
    others = network.assign_coords(reach=[11, 12, 13, 14])
    others["downstream"] = ("reach", [12, 13, 14, 0])
    with pytest.raises(StateError, match="network|reach"):
        xroute.route(runoff.assign_coords(reach=[11, 12, 13, 14]), others, initial_state=state)


def test_another_topology_of_the_same_reaches(network, runoff, state):
    network["downstream"].values[0] = 3
    with pytest.raises(StateError, match="network"):
        xroute.route(runoff, network, initial_state=state)


def test_another_schemes_state(network, runoff, state):
    network["tau"] = ("reach", [2.0] * 4, {"units": "h"})
    with pytest.raises(StateError, match="scheme") as error:
        xroute.route(runoff, network, scheme="linear_storage", initial_state=state)
    assert "muskingum" in str(error.value) and "linear_storage" in str(error.value)


def test_another_steps_state(network, runoff, state):
    with pytest.raises(StateError, match="dt|step") as error:
        xroute.route(runoff.drop_vars("time"), network, dt=900.0, initial_state=state)
    assert "900" in str(error.value) and "3600" in str(error.value)
    with pytest.raises(StateError, match="substeps|step"):
        xroute.route(runoff, network, substeps=4, initial_state=state)


def test_incomplete_and_broken_states(network, runoff, state):
    for name in ("inflow", "outflow"):
        with pytest.raises(StateError, match=name):
            xroute.route(runoff, network, initial_state=state.drop_vars(name))
    broken = state.copy(deep=True)
    broken["outflow"].values[2] = np.nan
    with pytest.raises(StateError, match="NaN|finite") as error:
        xroute.route(runoff, network, initial_state=broken)
    assert "3" in str(error.value)
    with pytest.raises((StateError, TypeError), match="state|Dataset"):
        xroute.route(runoff, network, initial_state=np.zeros(4))
    with pytest.raises(StateError):
        xroute.route(runoff, network, initial_state=xr.Dataset())


# ---------------------------------------------------------------- storage


@pytest.mark.parametrize("kind", ID_KINDS)
@pytest.mark.parametrize("store", ["zarr", "h5netcdf", "netcdf4"])
def test_survives_storage(tmp_path, kind, store):
    rng = np.random.default_rng(1)
    drawn = topology("tree", 8, rng)
    network = network_dataset(drawn, make_ids(kind, 8, rng), np.resize(SCHEMES, 8), rng)
    runoff = runoff_array(network.reach.values, 12, rng, batch={"member": 2})
    whole = xroute.route(runoff, network)
    _, state = xroute.route(runoff.isel(time=slice(7)), network, return_state=True)
    path = tmp_path / "state"
    if store == "h5netcdf":
        pytest.importorskip("h5py")
    if store == "zarr":
        state.to_zarr(path)
        stored = xr.open_zarr(path)
    else:
        state.to_netcdf(path, engine=store)
        stored = xr.open_dataset(path, engine=store)
    rest = xroute.route(runoff.isel(time=slice(7, None)), network, initial_state=stored)
    np.testing.assert_array_equal(rest.values, whole.isel(time=slice(7, None)).values)
    stored.close()


def test_survives_storage_with_a_cftime_calendar(tmp_path, network, runoff):
    time = xr.date_range("2000-02-28", periods=8, freq="D", calendar="360_day", use_cftime=True)
    runoff = runoff.assign_coords(time=time)
    whole = xroute.route(runoff, network)
    _, state = xroute.route(runoff.isel(time=slice(4)), network, return_state=True)
    state.to_netcdf(tmp_path / "state.nc", engine="netcdf4")
    state.to_zarr(tmp_path / "state.zarr")
    for stored in (xr.open_dataset(tmp_path / "state.nc"), xr.open_zarr(tmp_path / "state.zarr")):
        rest = xroute.route(runoff.isel(time=slice(4, None)), network, initial_state=stored)
        np.testing.assert_array_equal(rest.values, whole.isel(time=slice(4, None)).values)
        stored.close()


@pytest.mark.parametrize("scheme", ["linear_storage", "pure_lag"])
def test_a_state_without_lags_survives_storage(tmp_path, scheme):
    """A reservoir remembers no inflow: there is no variable of it."""
    network = chain(3, scheme, **{"tau" if scheme == "linear_storage" else "delay": (1.0, "h")})
    runoff = runoff_array(network.reach.values, 6, np.random.default_rng(0))
    whole = xroute.route(runoff, network)
    _, state = xroute.route(runoff.isel(time=slice(3)), network, return_state=True)
    assert ("inflow" in state) == (scheme == "pure_lag")
    state.to_netcdf(tmp_path / "state.nc")
    state.to_netcdf(tmp_path / "state3.nc", engine="scipy")
    state.to_zarr(tmp_path / "state.zarr")
    for stored in (
        xr.open_dataset(tmp_path / "state.nc"),
        xr.open_dataset(tmp_path / "state3.nc", engine="scipy"),
        xr.open_zarr(tmp_path / "state.zarr"),
    ):
        rest = xroute.route(runoff.isel(time=slice(3, None)), network, initial_state=stored)
        np.testing.assert_array_equal(rest.values, whole.isel(time=slice(3, None)).values)
        stored.close()


# ---------------------------------------------------------------- states that are made


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_steady_state_is_where_steady_runoff_ends(data):
    network, _ = data.draw(networks(max_size=7))
    steady = runoff_array(network.reach.values, 1, data.draw(rngs))
    substeps = data.draw(st.sampled_from([1, 4]))
    lateral = data.draw(st.sampled_from(["head", "outlet"]))
    held = xr.concat([steady.drop_vars("time")] * 6, "time").transpose("reach", "time")
    options = {"substeps": substeps, "lateral": lateral}
    state = xroute.steady_state(network, steady.isel(time=0, drop=True), dt=DT, **options)
    routed, after = xroute.route(held, network, initial_state=state, dt=DT, return_state=True, **options)
    np.testing.assert_allclose(routed.values, routed.values[:, :1].repeat(6, 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(after["outflow"].values, state["outflow"].values, rtol=1e-10, atol=1e-12)
    if "inflow" in state:
        np.testing.assert_allclose(after["inflow"].values, state["inflow"].values, rtol=1e-10, atol=1e-12)


def test_steady_state_for_rapids_lateral(network):
    steady = runoff_array(network.reach.values, 1, np.random.default_rng(0)).isel(time=0, drop=True)
    state = xroute.steady_state(network, steady, dt=DT, lateral="interval")
    held = steady.expand_dims(time=5, axis=-1)
    routed = xroute.route(held, network, initial_state=state, dt=DT, lateral="interval")
    np.testing.assert_allclose(routed.values, np.cumsum(steady.values)[:, None].repeat(5, 1), rtol=1e-12)


def test_steady_state_converts_units_as_route_does(network):
    network["area"] = ("reach", [1.0, 2.0, 3.0, 4.0], {"units": "km2"})
    depth = xr.DataArray([86.4, 0.0, 86.4, 0.0], {"reach": [1, 2, 3, 4]}, attrs={"units": "mm d-1"})
    state = xroute.steady_state(network, depth, dt=DT)
    np.testing.assert_allclose(state["outflow"].sel(reach=[1, 2, 3, 4]).values, [1.0, 1.0, 4.0, 4.0], rtol=1e-12)


def test_steady_state_of_an_ensemble(network):
    steady = runoff_array(network.reach.values, 1, np.random.default_rng(0), batch={"member": 3})
    steady = steady.isel(time=0, drop=True)
    state = xroute.steady_state(network, steady, dt=DT)
    np.testing.assert_allclose(state["outflow"].values, np.cumsum(steady.values, axis=1), rtol=1e-12)
    runoff = steady.expand_dims(time=3, axis=-1)
    routed = xroute.route(runoff, network, initial_state=state, dt=DT)
    np.testing.assert_allclose(routed.isel(time=-1).values, np.cumsum(steady.values, axis=1), rtol=1e-12)


def test_initial_state_from_a_snapshot_of_discharge(network):
    """RAPID's Qinit: the snapshot is the discharge at the first start, and inflow is what its upstream reaches give."""
    runoff = runoff_array(network.reach.values, 8, np.random.default_rng(0))
    options = {"lateral": "interval", "sampling": "last", "dt": DT}
    whole = xroute.route(runoff, network, **options)
    snapshot = whole.isel(time=3, drop=True)
    state = xroute.initial_state(network, discharge=snapshot, lateral="interval", dt=DT)
    rest = xroute.route(runoff.isel(time=slice(4, None)), network, initial_state=state, **options)
    np.testing.assert_allclose(rest.values, whole.isel(time=slice(4, None)).values, rtol=1e-12)
    starts = xroute.route(
        runoff.isel(time=slice(4, None)), network, initial_state=state, **{**options, "sampling": "start-mean"}
    )
    np.testing.assert_allclose(starts.isel(time=0).values, snapshot.values, rtol=1e-14)


def test_initial_state_is_aligned_and_checked(network):
    ids = [4, 3, 2, 1]
    snapshot = xr.DataArray([4.0, 3.0, 2.0, 1.0], dims="reach", coords={"reach": ids}, attrs={"units": "m3 s-1"})
    state = xroute.initial_state(network, discharge=snapshot, lateral="interval", dt=DT)
    assert state["outflow"].sel(reach=[1, 2, 3, 4]).values.tolist() == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(ValueError, match="4"):
        xroute.initial_state(network, discharge=snapshot.isel(reach=slice(1, None)), lateral="interval", dt=DT)
    with pytest.raises(ValueError, match="NaN|finite"):
        xroute.initial_state(network, discharge=snapshot.where(snapshot > 1), lateral="interval", dt=DT)


def test_a_state_bears_the_units_of_its_discharge(network, runoff, state):
    assert state["outflow"].attrs["units"] == state["inflow"].attrs["units"] == "m3 s-1"
    feet = (runoff / 0.3048**3).assign_attrs(units="ft3 s-1")
    _, other = xroute.route(feet, network, return_state=True)
    assert other["outflow"].attrs["units"] == "ft3 s-1"
    with pytest.raises(StateError, match="ft3 s-1.*m3 s-1"):
        xroute.route(runoff, network, initial_state=other)
    same = xroute.route(runoff.assign_attrs(units="m3/s"), network, initial_state=state)
    np.testing.assert_array_equal(same.values, xroute.route(runoff, network, initial_state=state).values)
    unknown = state.copy()
    unknown["outflow"], unknown["inflow"] = unknown["outflow"].drop_attrs(), unknown["inflow"].drop_attrs()
    np.testing.assert_array_equal(xroute.route(runoff, network, initial_state=unknown).values, same.values)


@pytest.mark.parametrize("units", ["mm h-1", "K", "m3", "bananas"])
def test_initial_discharge_is_a_volume_flux(network, runoff, units):
    with pytest.raises(UnitsError, match=units):
        xroute.initial_state(network, runoff.isel(time=0, drop=True).assign_attrs(units=units), dt=DT)


@pytest.mark.parametrize("lateral", ["head", "outlet"])
def test_initial_runoff_is_converted_to_the_units_of_discharge(network, runoff, lateral):
    network["area"] = ("reach", [1.0, 2.0, 3.0, 4.0], {"units": "km2"})
    flux = runoff.isel(time=0, drop=True)
    discharge = (flux + 5.0).assign_attrs(units="m3 s-1")
    depth = (flux / (network["area"] * 1e6) * 1e3 * DT).assign_attrs(units="mm")
    expected = xroute.initial_state(network, discharge, runoff=flux, lateral=lateral, dt=DT)
    made = xroute.initial_state(network, discharge, runoff=depth, lateral=lateral, dt=DT)
    xr.testing.assert_allclose(made, expected, rtol=1e-12)
    feet = (discharge / 0.3048**3).assign_attrs(units="ft3 s-1")
    made = xroute.initial_state(network, feet, runoff=depth, lateral=lateral, dt=DT)
    assert made["outflow"].attrs["units"] == made["inflow"].attrs["units"] == "ft3 s-1"
    np.testing.assert_allclose(made["inflow"].values * 0.3048**3, expected["inflow"].values, rtol=1e-12)
    np.testing.assert_allclose(made["outflow"].values * 0.3048**3, expected["outflow"].values, rtol=1e-12)


def test_made_states_check_their_options_as_route_does(network, runoff):
    snapshot = runoff.isel(time=0, drop=True)
    short = network.assign(k=("reach", [0.1] * 4, {"units": "h"}))
    for make in (xroute.initial_state, xroute.steady_state):
        for substeps in (0, 1.5, True, "many"):
            with pytest.raises(ParameterError, match="substeps"):
                make(network, snapshot, dt=DT, substeps=substeps)
        with pytest.raises(ParameterError, match="lateral"):
            make(network, snapshot, dt=DT, lateral="middle")
        with pytest.raises(XRouteError, match="DataArray.*Dataset.*rain"):
            make(network, snapshot.to_dataset(name="rain"), dt=DT)
        state = make(short, snapshot, dt=DT, substeps="auto")
        assert state.attrs["substeps"] == 6  # 1 h / (2 x 0.1 h x 0.9)
        xroute.route(runoff, short, substeps="auto", initial_state=state)


def test_steady_runoff_does_not_change_in_time(network, runoff):
    with pytest.raises(StateError, match="mean"):
        xroute.steady_state(network, runoff, dt=DT)
    xroute.steady_state(network, runoff.mean("time", keep_attrs=True), dt=DT)


def test_a_batch_dimension_cannot_have_a_name_of_the_states_own(network, runoff):
    lagged = runoff.expand_dims(lag=2)
    assert xroute.route(lagged, network).sizes["lag"] == 2
    for make in (
        lambda: xroute.route(lagged, network, return_state=True),
        lambda: xroute.steady_state(network, lagged.isel(time=0, drop=True), dt=DT),
    ):
        with pytest.raises(StateError, match="'lag'.*rename"):
            make()


def test_initial_state_at_the_outlet_without_runoff_is_in_equilibrium_with_what_arrives(network, runoff):
    """The part that is routed is the upstream discharge; a reach's own runoff joins below it, and is none of the state."""
    steady = runoff.isel(time=0, drop=True) + 0.5
    steady.attrs["units"] = "m3 s-1"
    held = steady.expand_dims(time=5, axis=-1)
    expected = xroute.steady_state(network, steady, dt=DT, lateral="outlet")
    discharge = expected["outflow"] + steady
    state = xroute.initial_state(network, discharge.assign_attrs(units="m3 s-1"), dt=DT, lateral="outlet")
    np.testing.assert_allclose(state["outflow"].values, expected["outflow"].values, rtol=1e-12)
    np.testing.assert_allclose(state["inflow"].values, expected["inflow"].values, rtol=1e-12)
    routed = xroute.route(held, network, initial_state=state, dt=DT, lateral="outlet")
    np.testing.assert_allclose(routed.values, np.tile(discharge.values[:, None], 5), rtol=1e-12)
