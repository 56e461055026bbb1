"""Labels: results are aligned by id, keep dims, order and coordinates, and mismatches are errors that name the ids."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DT, ID_KINDS, chain, make_ids, network_dataset, networks, runoff_array, runoffs, topology

import xroute
from xroute.exceptions import AlignmentError, ParameterError, XRouteError
from xroute.options import n_threads

unstable = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")


@pytest.fixture
def network() -> xr.Dataset:
    return chain(4, "linear_storage", tau=(2.0, "h"))


@pytest.fixture
def runoff(network) -> xr.DataArray:
    return runoff_array(network.reach.values, 5, np.random.default_rng(0))


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("kind", ID_KINDS)
def test_every_kind_of_id_is_exact(kind):
    """Neighbouring ids beyond 2^53 differ by 1, which float64 cannot tell; beyond 2^31, int32 wraps."""
    rng = np.random.default_rng(0)
    drawn = topology("tree", 30, rng)
    ids = make_ids(kind, 30, rng)
    named = network_dataset(drawn, ids, "linear_storage", np.random.default_rng(1))
    plain = network_dataset(drawn, np.arange(1, 31), "linear_storage", np.random.default_rng(1))
    values = runoff_array(np.arange(1, 31), 12, rng)
    shuffle = rng.permutation(30)
    runoff = values.assign_coords(reach=ids).isel(reach=shuffle)
    routed = xroute.route(runoff, named)
    assert routed.reach.dtype == ids.dtype
    assert routed.reach.values.tolist() == ids[shuffle].tolist()
    # flows join in the order of the ids, so the last bit may depend on how reaches are named
    np.testing.assert_allclose(routed.values, xroute.route(values, plain).values[shuffle], rtol=1e-13)


def test_narrow_unsigned_and_object_ids_mean_the_same():
    network = chain(4, "linear_storage", tau=(2.0, "h"))
    runoff = runoff_array(network.reach.values, 5, np.random.default_rng(0))
    expected = xroute.route(runoff, network)
    for dtype in ("int32", "uint32", "uint64"):
        routed = xroute.route(runoff.assign_coords(reach=runoff.reach.astype(dtype)), network)
        np.testing.assert_array_equal(routed.values, expected.values)
        narrow = network.assign_coords(reach=network.reach.astype(dtype))
        narrow["downstream"] = narrow.downstream.astype(dtype)
        np.testing.assert_array_equal(xroute.route(runoff, narrow).values, expected.values)
    names = np.array(["a", "bb", "ccc", "d"], dtype=object)
    string = network.assign_coords(reach=names)
    string["downstream"] = ("reach", np.array(["bb", "ccc", "d", ""], dtype=object))
    np.testing.assert_array_equal(xroute.route(runoff.assign_coords(reach=names), string).values, expected.values)


def test_permuted_ids_are_aligned_never_taken_by_position(network, runoff):
    expected = xroute.route(runoff, network)
    turned = xroute.route(runoff.isel(reach=[2, 0, 3, 1]), network)
    xr.testing.assert_equal(turned, expected.isel(reach=[2, 0, 3, 1]))


def test_missing_runoff_raises_or_is_zero(network, runoff):
    part = runoff.sel(reach=[1, 4])
    with pytest.raises(AlignmentError, match="missing") as error:
        xroute.route(part, network)
    message = str(error.value)
    assert "2" in message and "3" in message and "zero" in message
    filled = xroute.route(part, network, missing="zero")
    expected = xroute.route(runoff.where(runoff.reach.isin([1, 4]), 0.0), network)
    assert set(filled.reach.values) <= {1, 2, 3, 4}
    np.testing.assert_array_equal(filled.values, expected.sel(reach=filled.reach.values).values)
    assert float(filled.sel(reach=4).sum()) > float(xroute.route(runoff.where(runoff.reach == 4, 0), network)[3].sum())


def test_alien_runoff_raises_or_is_dropped(network, runoff):
    alien = runoff.assign_coords(reach=[1, 2, 3, 99])
    with pytest.raises(AlignmentError):
        xroute.route(alien, network)
    more = xr.concat([runoff, runoff.isel(reach=[0]).assign_coords(reach=[99])], "reach").isel(reach=[4, 1, 0, 3, 2])
    with pytest.raises(AlignmentError, match="99") as error:
        xroute.route(more, network)
    assert "drop" in str(error.value)
    dropped = xroute.route(more, network, extra="drop")
    assert dropped.reach.values.tolist() == [2, 1, 4, 3]
    np.testing.assert_array_equal(dropped.values, xroute.route(runoff, network).sel(reach=[2, 1, 4, 3]).values)


def test_runoff_of_other_rivers_altogether(network, runoff):
    with pytest.raises(AlignmentError):
        xroute.route(runoff.assign_coords(reach=[11, 12, 13, 14]), network)
    with pytest.raises(AlignmentError):
        xroute.route(runoff.assign_coords(reach=["1", "2", "3", "4"]), network)  # names are not numbers


def test_offenders_are_counted_and_the_first_ten_named():
    network = chain(60, "linear_storage", tau=(2.0, "h"))
    runoff = runoff_array(network.reach.values, 3, np.random.default_rng(0))
    with pytest.raises(AlignmentError) as error:
        xroute.route(runoff.isel(reach=slice(20, None)), network)
    message = str(error.value)
    assert "20" in message and "10" in message and " 11" not in message
    with pytest.raises(AlignmentError) as error:
        xroute.route(runoff.assign_coords(reach=np.arange(1001, 1061)), network, missing="zero")
    assert "60" in str(error.value) and "1010" in str(error.value) and "1011" not in str(error.value)


def test_duplicate_ids_in_runoff(network, runoff):
    with pytest.raises(AlignmentError, match="(?i)duplicate|more than once|twice") as error:
        xroute.route(runoff.assign_coords(reach=[1, 2, 2, 4]), network)
    assert "2" in str(error.value)


def test_runoff_without_ids_is_not_taken_by_position(network, runoff):
    """Equal counts prove nothing; a peer checks no more than that."""
    with pytest.raises(AlignmentError, match="reach"):
        xroute.route(runoff.drop_vars("reach"), network)


def test_ids_beyond_2_53_as_floats_are_refused():
    ids = np.array([2**53 + 1, 2**53 + 2], dtype=np.int64)
    network = chain(2, "linear_storage", tau=(2.0, "h")).assign_coords(reach=ids)
    network["downstream"] = ("reach", np.array([2**53 + 2, 0]))
    runoff = runoff_array(ids, 3, np.random.default_rng(0))
    with pytest.raises(XRouteError):
        xroute.route(runoff.assign_coords(reach=ids.astype(float)), network)


# ---------------------------------------------------------------- dims and coordinates


@unstable
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_dims_order_and_coordinates_are_kept(data):
    network, _ = data.draw(networks())
    runoff = data.draw(runoffs(network.reach.values))
    runoff = runoff.assign_coords(
        name=("reach", [f"river {i}" for i in runoff.reach.values]),
        season=("time", np.arange(runoff.sizes["time"]) % 4),
        wetness=(("time", "reach"), np.ones((runoff.sizes["time"], runoff.sizes["reach"]))),
        run=7,
    )
    routed = xroute.route(runoff, network, dt=DT)
    assert routed.dims == runoff.dims
    assert set(routed.coords) == set(runoff.coords)
    for name in runoff.coords:
        assert routed[name].dims == runoff[name].dims and routed[name].attrs == runoff[name].attrs
        np.testing.assert_array_equal(routed[name].values, runoff[name].values)


def test_the_reach_dim_may_have_another_name(network, runoff):
    expected = xroute.route(runoff, network)
    named = runoff.rename(reach="COMID")
    routed = xroute.route(named, network, reach_dim="COMID")
    assert routed.dims == ("COMID", "time")
    np.testing.assert_array_equal(routed.values, expected.values)
    marked = named.assign_coords(COMID=("COMID", named.COMID.values, {"cf_role": "timeseries_id"}))
    np.testing.assert_array_equal(xroute.route(marked, network).values, expected.values)
    with pytest.raises(AlignmentError, match="basin") as error:
        xroute.route(runoff, network, reach_dim="basin")
    assert "reach" in str(error.value)


def test_the_time_dim_may_have_another_name(network, runoff):
    routed = xroute.route(runoff.rename(time="valid_time"), network, time_dim="valid_time")
    assert routed.dims == ("reach", "valid_time")
    np.testing.assert_array_equal(routed.values, xroute.route(runoff, network).values)
    found = xroute.route(runoff.rename(time="valid_time"), network)  # the only dimension with dates
    xr.testing.assert_equal(found, routed)
    with pytest.raises(XRouteError, match="hour") as error:
        xroute.route(runoff, network, time_dim="hour")
    assert "time" in str(error.value)


def test_what_cannot_be_told_raises(network, runoff):
    nameless = runoff.rename(reach="a").drop_vars("a").expand_dims(b=3)
    with pytest.raises(AlignmentError, match="reach_dim"):
        xroute.route(nameless, network)
    with pytest.raises((TypeError, XRouteError), match="DataArray"):
        xroute.route(runoff.to_dataset(name="runoff"), network)
    with pytest.raises((TypeError, XRouteError), match="DataArray"):
        xroute.route(runoff.values, network)


@pytest.mark.parametrize("option", ["missing", "extra", "nan", "sampling", "lateral"])
def test_unknown_options_name_the_known_ones(network, runoff, option):
    with pytest.raises(ValueError, match=option) as error:
        xroute.route(runoff, network, **{option: "ignore"})
    assert "'ignore'" in str(error.value)
    known = {"missing": "zero", "extra": "drop", "nan": "zero", "sampling": "start-mean", "lateral": "outlet"}[option]
    assert known in str(error.value)


@pytest.mark.parametrize("substeps", [0, -3, 1.5, "many", True])
def test_substeps_are_whole_and_positive(network, runoff, substeps):
    with pytest.raises((ParameterError, TypeError), match="substeps"):
        xroute.route(runoff, network, substeps=substeps)


# ---------------------------------------------------------------- NaN and dtype


def test_nan_raises_and_names_reach_and_count(network, runoff):
    """A peer answers one NaN with zero discharge downstream for the rest of the run."""
    runoff.values[1, 2:4] = np.nan
    with pytest.raises(XRouteError, match="NaN") as error:
        xroute.route(runoff, network)
    message = str(error.value)
    assert "2" in message and "zero" in message
    expected = xroute.route(runoff.fillna(0.0), network)
    np.testing.assert_array_equal(xroute.route(runoff, network, nan="zero").values, expected.values)
    assert np.isnan(runoff.values).sum() == 2  # the user's array is as it was


def test_all_nan(network, runoff):
    nothing = runoff * np.nan
    with pytest.raises(XRouteError, match="NaN") as error:
        xroute.route(nothing.assign_attrs(units="m3 s-1"), network)
    assert "20" in str(error.value)
    assert (xroute.route(nothing.assign_attrs(units="m3 s-1"), network, nan="zero") == 0.0).all()


def test_infinite_runoff_raises(network, runoff):
    runoff.values[3, 1] = np.inf
    with pytest.raises(XRouteError) as error:
        xroute.route(runoff, network)
    assert "4" in str(error.value)


def test_nan_in_dropped_reaches_does_not_matter(network, runoff):
    more = xr.concat([runoff, (runoff.isel(reach=[0]) * np.nan).assign_coords(reach=[99])], "reach")
    dropped = xroute.route(more.assign_attrs(units="m3 s-1"), network, extra="drop")
    np.testing.assert_array_equal(dropped.values, xroute.route(runoff, network).values)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [("float32", "float32"), ("float64", "float64"), ("float16", "float32"), ("int64", "float64")],
)
def test_dtypes(network, runoff, given_, expected):
    routed = xroute.route(runoff.astype(given_).assign_attrs(units="m3 s-1"), network)
    assert routed.dtype == expected


def test_strings_and_dates_are_not_runoff(network, runoff):
    for dtype in ("str", "complex128", "datetime64[ns]"):
        with pytest.raises((TypeError, XRouteError)):
            xroute.route(runoff.astype("int64").astype(dtype).assign_attrs(units="m3 s-1"), network)


def test_runoff_on_dask_is_never_computed_by_surprise(network, runoff):
    """Until it is routed lazily it is refused, without loading a chunk."""
    dask = pytest.importorskip("dask")

    def no_scheduler(*args, **kwargs):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=no_scheduler):
        try:
            routed = xroute.route(runoff.chunk(time=2), network)
        except XRouteError as error:
            assert "load" in str(error)
        else:
            assert routed.chunks is not None


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_layout_and_byte_order_do_not_matter(network, runoff, order):
    expected = xroute.route(runoff, network)
    strided = runoff.copy(data=np.asarray(runoff.values, order=order))
    np.testing.assert_array_equal(xroute.route(strided, network).values, expected.values)
    doubled = xr.concat([runoff] * 2, "twice").isel(twice=1)
    np.testing.assert_array_equal(xroute.route(doubled, network).values, expected.values)
    np.testing.assert_array_equal(xroute.route(runoff[:, ::-1][:, ::-1], network).values, expected.values)
    big_endian = runoff.astype(">f8").assign_attrs(runoff.attrs)
    np.testing.assert_array_equal(xroute.route(big_endian, network).values, expected.values)


def test_read_only_runoff_is_routed(network, runoff):
    locked = runoff.copy(deep=True)
    locked.values.setflags(write=False)
    np.testing.assert_array_equal(xroute.route(locked, network).values, xroute.route(runoff, network).values)
    series = xr.DataArray(np.ones(5), dims="time", coords={"time": runoff.time})
    broadcast = series.broadcast_like(runoff)
    assert xroute.route(broadcast.assign_attrs(runoff.attrs), network).sizes == broadcast.sizes


def test_a_bad_area_never_becomes_a_silent_nan(network, runoff):
    network["area"] = ("reach", [1.0, np.nan, 1.0, 1.0], {"units": "km2"})
    with pytest.raises(XRouteError, match="area"):
        xroute.route(runoff.assign_attrs(units="mm d-1"), network)


def test_nan_names_only_reaches_that_count(network, runoff):
    runoff.values[1, 2] = np.nan
    alien = (runoff.isel(reach=[0]) * np.nan).assign_coords(reach=[990099])
    more = xr.concat([runoff, alien], "reach").assign_attrs(units="m3 s-1")
    with pytest.raises(XRouteError, match="NaN") as error:
        xroute.route(more, network, extra="drop")
    assert "990099" not in str(error.value)


def test_an_empty_batch(network, runoff):
    routed = xroute.route(runoff.expand_dims(member=2).isel(member=slice(0)), network)
    assert routed.sizes == {"member": 0, "reach": 4, "time": 5}


# ---------------------------------------------------------------- attributes


def test_attributes_of_the_result(network, runoff):
    runoff.attrs |= {"long_name": "surface runoff", "standard_name": "runoff_flux", "cell_methods": "time: sum",
                     "history": "made by hand", "valid_min": 0.0}  # fmt: skip
    runoff.encoding = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -1}
    routed = xroute.route(runoff, network)
    assert routed.name == "discharge"
    assert routed.attrs["standard_name"] == "water_volume_transport_in_river_channel"
    assert "discharge" in routed.attrs["long_name"].lower()
    assert routed.attrs["units"] == "m3 s-1"
    assert "mean" in routed.attrs["cell_methods"] and routed.attrs["cell_methods"] != "time: sum"
    lines = routed.attrs["history"].splitlines()
    assert "made by hand" in lines and len(lines) == 2
    assert any("xroute" in line for line in lines)
    assert "valid_min" not in routed.attrs
    assert not routed.encoding
    assert runoff.attrs["long_name"] == "surface runoff" and runoff.encoding["scale_factor"] == 0.1


def test_attributes_of_coordinates_stay(network, runoff):
    runoff = runoff.assign_coords(elevation=("reach", [1.0, 2.0, 3.0, 4.0], {"units": "m"}))
    runoff.time.attrs["long_name"] = "end of the step"
    routed = xroute.route(runoff, network)
    assert routed.elevation.attrs == {"units": "m"}
    assert routed.time.attrs["long_name"] == "end of the step"


def test_cell_methods_say_how_it_was_sampled(network, runoff):
    mean, last = (xroute.route(runoff, network, sampling=how).attrs["cell_methods"] for how in ("mean", "last"))
    assert mean != last


def test_runoff_and_network_are_not_changed(network, runoff):
    before_network, before_runoff = network.copy(deep=True), runoff.copy(deep=True)
    xroute.route(runoff, network, return_state=True, substeps=2)
    xr.testing.assert_identical(network, before_network)
    xr.testing.assert_identical(runoff, before_runoff)
    assert network.downstream.values.flags.writeable


def test_a_result_is_the_users_own(network, runoff):
    routed = xroute.route(runoff, network)
    routed.values[:] = -1.0  # writeable, and shared with nobody
    assert (xroute.route(runoff, network).values >= 0).all() and (runoff.values >= 0).all()


def test_the_accessor_is_the_function(network, runoff):
    xr.testing.assert_identical(
        runoff.route(network, substeps=2).drop_attrs(), xroute.route(runoff, network, substeps=2).drop_attrs()
    )
    assert runoff.route.__doc__ and "network" in runoff.route.__doc__


def test_a_multi_index_or_pandas_string_index_is_no_obstacle(network, runoff):
    named = chain(4, "linear_storage", tau=(2.0, "h"))
    named = named.assign_coords(reach=pd.Index(["a", "b", "c", "d"]))
    named["downstream"] = ("reach", ["b", "c", "d", ""])
    strings = runoff.assign_coords(reach=pd.Index(["a", "b", "c", "d"], dtype="string"))
    np.testing.assert_array_equal(xroute.route(strings, named).values, xroute.route(runoff, network).values)


def test_whole_numbers_on_added_reaches_are_never_made_inexact(network, runoff):
    """A float cannot tell 2^53 + 1 from its neighbours, and integers have no value for unknown."""
    part = runoff.sel(reach=[1, 4]).assign_coords(
        gauge=("reach", np.array([2**53 + 1, 7])), river=("reach", ["a", "b"])
    )
    with pytest.raises(AlignmentError, match="gauge") as error:
        xroute.route(part, network, missing="zero")
    assert "drop_vars" in str(error.value)
    routed = xroute.route(part.drop_vars("gauge").assign_coords(lon=("reach", [1.0, 2.0])), network, missing="zero")
    assert routed.reach.values.tolist() == [1, 4, 2, 3] and routed.river.values.tolist()[:2] == ["a", "b"]
    np.testing.assert_array_equal(routed.lon.values, [1.0, 2.0, np.nan, np.nan])
    more = xr.concat([part, part.isel(reach=[0]).assign_coords(reach=[99])], "reach")
    dropped = xroute.route(more.sel(reach=[99, 4, 1]), network.sel(reach=[1, 4]).assign(
        downstream=("reach", [4, 0])), extra="drop")  # fmt: skip
    assert dropped.gauge.values.tolist() == [7, 2**53 + 1] and dropped.gauge.dtype == np.int64


def test_ids_of_added_reaches_are_whole():
    """Neither longer text nor larger numbers than the runoff's own are cut."""
    named = chain(2, "linear_storage", tau=(2.0, "h")).assign_coords(reach=["a", "longer"])
    named["downstream"] = ("reach", ["longer", ""])
    runoff = runoff_array(np.array(["a"]), 3, np.random.default_rng(0))
    assert xroute.route(runoff, named, missing="zero").reach.values.tolist() == ["a", "longer"]
    numbered = chain(2, "linear_storage", tau=(2.0, "h")).assign_coords(reach=[1, 2**40])
    numbered["downstream"] = ("reach", [2**40, 0])
    runoff = runoff_array(np.array([1], "int32"), 3, np.random.default_rng(0))
    assert xroute.route(runoff, numbered, missing="zero").reach.values.tolist() == [1, 2**40]


def test_ids_that_say_so_themselves_win_over_an_index(network, runoff):
    """An index that merely counts rows must not be taken for ids."""
    ids = xr.Variable("reach", [3, 1, 4, 2], {"cf_role": "timeseries_id"})
    counted = runoff.assign_coords(reach=[1, 2, 3, 4], comid=ids)
    routed = xroute.route(counted, network)
    expected = xroute.route(runoff.assign_coords(reach=ids.values), network)
    np.testing.assert_array_equal(routed.values, expected.values)
    assert routed.comid.values.tolist() == [3, 1, 4, 2] and routed.reach.values.tolist() == [1, 2, 3, 4]
    counted.values[0, 0] = np.nan
    with pytest.raises(XRouteError, match="1 reaches: 3;"):
        xroute.route(counted, network)


def test_object_ids_beyond_int64_are_named(network, runoff):
    for far in ([2**63 + 5, 2, 3, 4], [-(2**63) - 1, 2**80, 3, 4]):
        with pytest.raises(AlignmentError, match="do not fit int64") as error:
            xroute.route(runoff.assign_coords(reach=np.array(far, dtype=object)), network)
        assert str(far[0]) in str(error.value)
    with pytest.raises(AlignmentError, match="1 ids do not fit int64: 9223372036854775813"):
        xroute.route(runoff.assign_coords(reach=np.array([2**63 + 5, -2, 3, 4], dtype=object)), network)


def test_threads_where_the_system_does_not_tell_which_processors_are_ours(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert n_threads() == 7
    with xroute.set_options(threads=3):
        assert n_threads() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert n_threads() == 1
