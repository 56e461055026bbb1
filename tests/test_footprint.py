"""`xroute.footprint`: sums are volumes that passed; entries are impulses that the reference routes, and finite differences."""

from __future__ import annotations

import warnings

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_schemes import reference_filters
from strategies import (
    DT,
    INTERVAL,
    SCHEMES,
    UNITS,
    chain,
    make_ids,
    network_dataset,
    networks,
    rngs,
    runoff_array,
    runoffs,
    topology,
)

import xroute
from xroute.engine.reference import route_reference

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum", "ignore:the state holds at")

HIDDEN = ("from_initial_state", "from_known")


def all_of_it(footprint: xr.DataArray) -> xr.DataArray:
    """What passed: the footprint and what stands beside it."""
    total = footprint.sum(("reach", "time"))
    for name in HIDDEN:
        if name in footprint.coords:
            total = total + footprint[name].sum("reach").drop_vars(HIDDEN, errors="ignore")
    return total


def passed(discharge: xr.DataArray, at: object, window: slice | None = None) -> xr.DataArray:
    own = discharge.sel(reach=at) if window is None else discharge.sel(reach=at, time=window)
    return own.sum("time") * DT


def a_river(scheme: object = "muskingum_exact", n: int = 10, seed: int = 0, shape: str = "bifurcating"):
    rng = np.random.default_rng(seed)
    drawn = topology(shape, n, rng)
    dataset = network_dataset(drawn, make_ids("beyond_2_53", n, rng), scheme, rng)
    return dataset, drawn, runoff_array(dataset.reach.values, 20, rng)


# ---------------------------------------------------------------- truth


LATERAL = [(s, lateral) for s in SCHEMES for lateral in ("head", "interval", "outlet") if s in INTERVAL or lateral != "interval"]


@pytest.mark.parametrize(("scheme", "lateral"), LATERAL)
@pytest.mark.parametrize(("substeps", "sampling"), [(1, "mean"), (3, "last"), (2, "start-mean")])
def test_every_entry_is_that_of_an_impulse(scheme, lateral, substeps, sampling):
    """Runoff of one in each reach and step, each routed by itself by the reference, with filters from the literature."""
    dataset, drawn, runoff = a_river(scheme)
    n, n_steps, slopes = 10, 20, np.array([0.5, 0.3, 0.2])
    parameters = {str(p): dataset[p].values for p in dataset.data_vars if p in UNITS}
    filters = reference_filters([scheme] * n, parameters, DT / substeps, lateral)
    each = np.zeros((n * n_steps, n, n_steps))
    for k in range(n_steps):
        for i in range(n):
            some = slopes[: n_steps - k]
            each[k * n + i, i, k : k + some.size] = some
    modes = {"substeps": substeps, "sampling": sampling, "lateral": lateral}
    arrived = route_reference(each, drawn.links, *filters, **modes)[0]
    gauge, inside = int(np.argmax(xroute.Network(dataset).n_upstream.values)), slice(6, 15)
    share = arrived[:, gauge, inside].sum(-1).reshape(n_steps, n).T
    found = xroute.footprint(
        dataset, dataset.reach.values[gauge], runoff, window=slice(runoff.time[6], runoff.time[14]), hillslope=slopes, **modes
    )
    above = xroute.Network(dataset).upstream(dataset.reach.values[gauge])
    assert set(found.reach.values) == set(above) and found.dims == ("reach", "time")
    expected = runoff.copy(data=runoff.values * share * DT).sel(reach=found.reach)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * float(expected.max()))
    assert (share[~np.isin(dataset.reach.values, above)] == 0).all()


@pytest.mark.parametrize("option", [{}, {"substeps": 4, "sampling": "last"}, {"lateral": "outlet", "hillslope": [0.25, 0.75]}])
def test_entries_are_finite_differences_of_the_volume(option):
    dataset, _, runoff = a_river("hayami", seed=3)
    gauge, window = xroute.Network(dataset).outlets[0], slice(runoff.time[4], runoff.time[16])
    found = xroute.footprint(dataset, gauge, runoff, window=window, **option)
    rng = np.random.default_rng(0)
    for _ in range(8):
        at = {"reach": rng.choice(found.reach.values), "time": rng.choice(runoff.time.values)}
        more, less = runoff.copy(), runoff.copy()
        more.loc[at] += 0.5
        less.loc[at] -= 0.5
        high, low = (passed(r.route(dataset, **option), gauge, window).item() for r in (more, less))
        assert found.sel(at).item() == pytest.approx((high - low) * runoff.sel(at).item(), rel=1e-8, abs=1e-7)


@settings(max_examples=20)
@given(networks(max_size=9), rngs, st.data())
def test_its_sum_is_the_volume_that_passed(drawn, rng, data):
    """Whatever the network, ids, layout, modes, state, known discharge and members; and in chunks it is the same."""
    dataset, _ = drawn
    ids = dataset.reach.values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runoff = data.draw(runoffs(ids, min_time=6, max_time=16))
        n = runoff.sizes["time"]
        windowed = set(map(str, np.unique(dataset["scheme"]) if "scheme" in dataset else [dataset.attrs["scheme"]]))
        options = {
            "substeps": data.draw(st.integers(1, 3)), "sampling": data.draw(st.sampled_from(["mean", "last", "start-mean"])),
            "lateral": data.draw(st.sampled_from(["head", "outlet", *(["interval"] if windowed <= set(INTERVAL) else [])])),
            "hillslope": data.draw(st.sampled_from([None, [0.1, 0.6, 0.3]])),
        }  # fmt: skip
        if data.draw(st.booleans()):
            _, options["initial_state"] = runoff.route(dataset, return_state=True, **options)
            del options["initial_state"].attrs["time"]
        if data.draw(st.booleans()):
            sizes = {d: runoff.sizes[d] for d in runoff.dims if d not in ("reach", "time")} if data.draw(st.booleans()) else {}
            known = runoff_array(ids[:3], n, rng, batch=sizes)
            options["known"] = known.where(rng.random(known.shape) < 0.6).isel(time=slice(1, n - 1))
        at = data.draw(st.sampled_from([ids[0].item(), ids.tolist(), ids[-2:].tolist()]))
        first = data.draw(st.integers(0, n - 2))
        window = slice(runoff.time.values[first], runoff.time.values[data.draw(st.integers(first, n - 1))])
        found = xroute.footprint(dataset, at, runoff, window=window, **options)
        expected = passed(runoff.route(dataset, **options), at, window)
        expected = expected.rename(reach="gauge").drop_vars(["gauge"])
        total = all_of_it(found).drop_vars(["gauge"])
        scale = max(1.0, float(abs(expected).max()))
        np.testing.assert_allclose(total.transpose(*expected.dims), expected, rtol=0, atol=1e-12 * scale)
        assert [d for d in found.dims if d != "gauge"] == list(runoff.dims)
        chunks = {"time": data.draw(st.integers(1, n)), "reach": data.draw(st.integers(1, ids.size))}
        with dask.config.set(scheduler=lambda *a, **k: pytest.fail("something was computed")):
            lazy = xroute.footprint(dataset, at, runoff.chunk(chunks), window=window, **options)
        assert lazy.chunksizes["time"] == runoff.chunk(chunks).chunksizes["time"]
        computed = lazy.compute()
        assert found.attrs.keys() == computed.attrs.keys()
        for array, other in [(found, computed), *((found[c], computed[c]) for c in HIDDEN if c in found.coords)]:
            assert array.dims == other.dims and array.coords.keys() == other.coords.keys()
            np.testing.assert_allclose(other, array, rtol=0, atol=1e-12 * scale)


# ---------------------------------------------------------------- windows and times


def test_windows_add_up():
    dataset, _, runoff = a_river(seed=2)
    gauge = xroute.Network(dataset).outlets[0]
    times = runoff.time.values
    whole = xroute.footprint(dataset, gauge, runoff)
    parts = [slice(None, times[4]), slice(times[5], times[5]), slice(times[6], None)]
    summed = sum(xroute.footprint(dataset, gauge, runoff, window=w) for w in parts)
    np.testing.assert_allclose(summed, whole, rtol=1e-12, atol=1e-9)
    one = xroute.footprint(dataset, gauge, runoff, window=times[5])
    np.testing.assert_array_equal(one, xroute.footprint(dataset, gauge, runoff, window=parts[1]))
    assert (one.isel(time=slice(6, None)) == 0).all()  # what falls later cannot have passed
    several = xroute.footprint(dataset, gauge, runoff, window=times[[5, 9]])
    np.testing.assert_allclose(
        several, one + xroute.footprint(dataset, gauge, runoff, window=times[9]), rtol=1e-12, atol=1e-9
    )
    assert one.attrs["window_start"] == one.attrs["window_end"] == str(times[5])


def test_windows_are_labels_as_xarray_takes_them():
    dataset, _, runoff = a_river(seed=2)
    gauge = xroute.Network(dataset).outlets[0]
    runoff = runoff.assign_coords(time=pd.date_range("2001-01-01", periods=20, freq="3h"))
    day = xroute.footprint(dataset, gauge, runoff, window="2001-01-02")
    same = xroute.footprint(dataset, gauge, runoff, window=slice("2001-01-02", "2001-01-02"))
    xr.testing.assert_allclose(day, same)
    assert day.attrs["window_end"].startswith("2001-01-02T21")
    noleap = runoff.assign_coords(time=xr.date_range("2001-02-27", periods=20, freq="3h", calendar="noleap", use_cftime=True))
    assert float(xroute.footprint(dataset, gauge, noleap, window="2001-03-01").sum()) > 0
    bare = runoff.drop_vars("time")
    np.testing.assert_allclose(
        xroute.footprint(dataset, gauge, bare, dt="3h", window=slice(8, 16)), day, rtol=1e-12, atol=1e-9
    )
    for wrong, message in (
        (slice("1999", "2000"), "no step of the runoff, from 2001-01-01.* is in the window"),
        ("1999-01-01", "cannot be found among times from 2001-01-01"),
        ("nonsense", "slice of labels"),
    ):
        with pytest.raises(xroute.TimeAxisError, match=message):
            xroute.footprint(dataset, gauge, runoff, window=wrong)


# ---------------------------------------------------------------- labels, units and kinds of runoff


def test_labels_are_the_runoffs_and_units_volumes():
    dataset, _, runoff = a_river(seed=4, shape="tree")
    river = xroute.Network(dataset)
    rng = np.random.default_rng(0)
    gauge = river.outlets[0]
    runoff = runoff.assign_coords(lon=("reach", rng.random(10)), basin_name="Inn", day=("time", runoff.time.dt.day.values))
    runoff = runoff.isel(reach=rng.permutation(10)).transpose("time", "reach")
    found = xroute.footprint(river, gauge, runoff)
    assert found.dims == ("time", "reach") and found.name == "footprint" and found.dtype == np.float64
    assert found.attrs["units"] == "m3" and found.attrs["cell_methods"] == "time: sum" and "footprint" in found.attrs["history"]
    order = [i for i in runoff.reach.values if i in river.upstream(gauge)]
    assert found.reach.values.tolist() == order and found.gauge.item() == gauge
    xr.testing.assert_equal(found["lon"].drop_vars("gauge"), runoff["lon"].sel(reach=order))
    assert {"lon", "basin_name", "day", "time", "reach", "gauge"} == set(found.coords)
    assert found.attrs["time_label"] == "start"
    assert found.indexes["time"].equals(runoff.indexes["time"])
    single = xroute.footprint(river, gauge, runoff.astype("float32"))
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, found, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("units", ["ft3 s-1", "m3", "mm", "mm d-1", "kg m-2 s-1", None])
@pytest.mark.filterwarnings("ignore:runoff has no units")
def test_units(units):
    dataset, _, runoff = a_river(seed=4)
    dataset = dataset.assign(area=("reach", np.linspace(1, 10, 10), {"units": "km2"}))
    river = xroute.Network(dataset)
    gauge = river.outlets[0]
    runoff.attrs = {} if units is None else {"units": units}
    discharge = runoff.route(river)
    factor = 0.3048**3 if units == "ft3 s-1" else 1.0
    found = xroute.footprint(river, gauge, runoff)
    assert found.sum().item() == pytest.approx(passed(discharge, gauge).item() * factor, rel=1e-12)
    assert found.attrs.get("units") == (None if units is None else "m3")


def test_reaches_that_have_no_runoff_and_runoff_of_no_reach():
    dataset, _, runoff = a_river(seed=4, shape="tree")
    river = xroute.Network(dataset)
    gauge = river.outlets[0]
    _, state = runoff.route(river, return_state=True)
    del state.attrs["time"]
    some = xr.concat([runoff.isel(reach=slice(2, 9)), runoff.isel(reach=[0]).assign_coords(reach=[77])], "reach")
    with pytest.raises(xroute.AlignmentError, match="1 runoff ids"):
        xroute.footprint(river, gauge, some)
    options = {"missing": "zero", "extra": "drop", "initial_state": state}
    found = xroute.footprint(river, gauge, some, **options)
    assert found.sizes["reach"] == river.basin(gauge).n_reaches and 77 not in found.reach
    assert all_of_it(found).item() == pytest.approx(passed(some.route(river, **options), gauge).item(), rel=1e-12)
    lacking = np.setdiff1d(found.reach, some.reach)
    assert (found.sel(reach=lacking) == 0).all() and (found["from_initial_state"].sel(reach=lacking) > 0).any()
    lazy = xroute.footprint(river, gauge, some.chunk(time=5), **options)
    xr.testing.assert_allclose(lazy.compute(), found)


@pytest.mark.parametrize("chunks", [None, {"time": 6}])
def test_runoff_that_is_not_finite_is_named(chunks):
    dataset, _, runoff = a_river(seed=4, shape="tree")
    river = xroute.Network(dataset)
    gauge = river.outlets[0]
    bad = river.upstream(gauge)[0]
    runoff.loc[{"reach": bad, "time": runoff.time[8]}] = np.nan
    given_ = runoff if chunks is None else runoff.chunk(chunks)
    with pytest.raises(xroute.XRouteError, match=rf"1 values of runoff are NaN .* {bad}; first at 2001-02-27T08"):
        xroute.footprint(river, gauge, given_).compute()
    found = xroute.footprint(river, gauge, given_, nan="zero").compute()
    assert found.sum().item() == pytest.approx(passed(runoff.route(river, nan="zero"), gauge).item(), rel=1e-12)
    others = np.setdiff1d(river.ids, river.upstream(gauge))
    if others.size:  # of no concern
        runoff.loc[{"reach": bad, "time": runoff.time[8]}] = 1.0
        runoff.loc[{"reach": others[0], "time": runoff.time[8]}] = np.nan
        assert np.isfinite(xroute.footprint(river, gauge, runoff)).all()


def test_only_what_is_upstream_is_read():
    """Runoff of other reaches, in a file, is left there."""
    from xarray.backends import BackendArray
    from xarray.core.indexing import LazilyIndexedArray

    river = xroute.Network(chain(6, "linear_storage", tau=(5000.0, "s")))
    whole = runoff_array(river.ids, 8, np.random.default_rng(0))
    asked = []

    class OfFile(BackendArray):
        shape, dtype = whole.shape, whole.dtype

        def __getitem__(self, key):
            asked.append(key.tuple[0])
            return whole.values[key.tuple]

    stored = xr.DataArray(xr.Variable(whole.dims, LazilyIndexedArray(OfFile())), whole.coords, attrs=whole.attrs)
    found = xroute.footprint(river, 3, stored)
    assert len(asked) == 1 and np.arange(6)[asked[0]].tolist() == [0, 1, 2]
    xr.testing.assert_allclose(found, xroute.footprint(river, 3, whole))


def test_runoff_on_a_grid():
    dataset, _, _ = a_river(seed=4, shape="tree")
    river = xroute.Network(dataset)
    rng = np.random.default_rng(0)
    grid = xr.DataArray(
        rng.random((6, 2, 5)),
        {"time": pd.date_range("2001", periods=6, freq="h"), "lat": [1.0, 0.0], "lon": np.arange(5.0)},
        attrs={"units": "mm h-1"},
    )
    catchments = xr.Dataset({"lon": ("reach", np.tile(np.arange(5.0), 2)), "lat": ("reach", np.repeat([1.0, 0.0], 5))})
    catchments = catchments.assign(area=("reach", rng.random(10) + 1, {"units": "km2"})).assign_coords(reach=river.ids)
    weights = xroute.grid_weights(grid, catchments, method="nearest")
    gauge = river.outlets[0]
    found = xroute.footprint(river, gauge, grid, weights=weights)
    assert found.sum().item() == pytest.approx(passed(grid.route(river, weights=weights), gauge).item(), rel=1e-12)
    lazy = xroute.footprint(river, gauge, grid.chunk(time=2, lon=3), weights=weights)
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), found, rtol=1e-12)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_on_any_scheduler_with_states_and_known_discharge_on_dask_too(scheduler):
    dataset, _, runoff = a_river(seed=4, shape="tree")
    river = xroute.Network(dataset)
    gauge = river.outlets[0]
    runoff = runoff.expand_dims(member=[1, 2]) * xr.DataArray([1.0, 2.0], dims="member")
    runoff.attrs["units"] = "m3 s-1"
    _, state = runoff.chunk(time=5, member=1).route(river, return_state=True)
    state.attrs.pop("time")
    known = (runoff * 0 + 3.0).isel(reach=[0], time=slice(4, 15)).assign_attrs(units="m3 s-1").chunk(time=4)
    options = {"initial_state": state, "known": known, "window": slice(runoff.time[3], runoff.time[17])}
    found = xroute.footprint(river, gauge, runoff.chunk(time=6, member=1, reach=3), **options)
    expected = xroute.footprint(river, gauge, runoff, **{**options, "initial_state": state.compute(), "known": known.compute()})
    with dask.config.set(scheduler=scheduler, num_workers=2):
        xr.testing.assert_allclose(found.compute(), expected, rtol=1e-12)


def test_what_does_not_fit_in_memory_is_refused(monkeypatch):
    dataset, _, runoff = a_river(seed=4, shape="tree")
    for room in ("footprints", "responses"):
        monkeypatch.setattr(f"xroute.{room}.available_memory", lambda: 100)
    with pytest.raises(xroute.XRouteError, match=r"takes .* of memory, and there are .*runoff.chunk\(time="):
        xroute.footprint(dataset, dataset.reach.values[0], runoff)
    xroute.footprint(dataset, dataset.reach.values[0], runoff.chunk(time=5))
    with pytest.raises(xroute.XRouteError, match="1 responses of 256 steps take .* n_steps="):
        xroute.Network(dataset).response(*[dataset.reach.values[0]] * 2, "1h")


def test_several_gauges_are_each_by_itself():
    dataset, _, runoff = a_river(seed=4, shape="tree")
    river = xroute.Network(dataset)
    at = [river.outlets[0], river.ids[3], river.ids[3]]
    together = xroute.footprint(river, at, runoff)
    assert together.dims == ("gauge", "reach", "time") and together.gauge.values.tolist() == list(at)
    for k, gauge in enumerate(at):
        alone = xroute.footprint(river, gauge, runoff)
        mine = together.isel(gauge=k)
        np.testing.assert_allclose(mine.sel(reach=alone.reach), alone, rtol=1e-12)
        assert (mine.drop_sel(reach=alone.reach.values) == 0).all()
    assert xroute.footprint(river, [at[0]], runoff).dims == ("gauge", "reach", "time")


def test_where_discharge_is_known_nothing_is_seen_upstream_of_it():
    river = xroute.Network(chain(5, "linear_storage", tau=(5000.0, "s")))
    runoff = runoff_array(river.ids, 30, np.random.default_rng(0))
    known = xr.DataArray(np.full((1, 30), 4.0), {"reach": [2], "time": runoff.time}, attrs={"units": "m3 s-1"})
    found = xroute.footprint(river, 5, runoff, known=known)
    assert (found.sel(reach=[1, 2]) == 0).all() and (found.sel(reach=[3, 4, 5]).sum("time") > 0).all()
    assert (found["from_known"].drop_sel(reach=2) == 0).all() and found["from_known"].sel(reach=2) > 0
    here = xroute.footprint(river, 2, runoff, known=known)
    assert (here == 0).all() and here["from_known"].sum().item() == pytest.approx(30 * 4 * DT)
    elsewhere = xroute.footprint(river, 1, runoff, known=known)
    assert "from_known" not in elsewhere.coords


def test_what_cannot_be_traced_says_so():
    river = xroute.Network(chain(3))
    runoff = runoff_array(river.ids, 5, np.random.default_rng(0))
    with pytest.raises(xroute.NetworkError, match="not in the network: 9"):
        xroute.footprint(river, 9, runoff)
    with pytest.raises(xroute.ParameterError, match="no state to return"):
        xroute.footprint(river, 3, runoff, return_state=True)
    with pytest.raises(xroute.AlignmentError, match="'gauge', a name that the footprint needs"):
        xroute.footprint(river, 3, runoff.expand_dims(gauge=2))
    with pytest.raises(TypeError, match="unexpected keyword argument 'windw'"):
        xroute.footprint(river, 3, runoff, windw=None)
    with pytest.raises(xroute.ParameterError, match="device is"):
        xroute.footprint(river, 3, runoff, device="tpu")
    with pytest.raises(xroute.XRouteError, match="xarray.DataArray"):
        xroute.footprint(river, 3, runoff.to_dataset(name="runoff"))


def test_an_error_in_the_adjoint_is_seen(monkeypatch):
    """The tests above would not pass if tracing forgot a state between two blocks."""
    from xroute import tracing

    dataset, _, runoff = a_river(seed=4, shape="tree")
    gauge = xroute.Network(dataset).outlets[0]
    expected = passed(runoff.route(dataset), gauge).item()
    monkeypatch.setattr(tracing, "BLOCK_VALUES", 40)
    assert xroute.footprint(dataset, gauge, runoff).sum().item() == pytest.approx(expected, rel=1e-12)
    whole = tracing.adjoint_block
    monkeypatch.setattr(tracing, "adjoint_block", lambda grad, state, *a, **k: whole(grad, None, *a, **k))
    assert abs(xroute.footprint(dataset, gauge, runoff).sum().item() / expected - 1) > 1e-3
