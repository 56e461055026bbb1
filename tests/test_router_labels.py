"""`Router`'s bridges to labels: what goes over them is what `xroute.route` makes of the same runoff, in whatever form."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    DT,
    ID_KINDS,
    SCHEMES,
    SHAPES,
    make_ids,
    network_dataset,
    runoff_array,
    topology,
)

import xroute
from xroute.exceptions import AlignmentError, ParameterError, StateError, TimeAxisError, UnitsError, XRouteError
from xroute.grids.form import grid_identity, weights_dataset
from xroute.request import RouteRequest
from xroute.router import Router
from xroute.router_labels import read_runoff

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

RNG = np.random.default_rng
N, STEPS = 9, 20


@pytest.fixture(autouse=True)
def routed_on_the_host():
    """Routers stay on the host here, and what is compared with them to the last digit has to be routed there, too."""
    with xroute.set_options(device="cpu"):
        yield


def river(seed: int = 0, n: int = N, scheme: Any = "muskingum", **more: Any) -> xroute.Network:
    rng = RNG(seed)
    dataset = network_dataset(topology("tree", n, rng), make_ids("small", n, rng), scheme, rng)
    return xroute.Network(dataset.assign(area=("reach", rng.uniform(1, 50, n), {"units": "km2"}), **more))


def rain(network: xroute.Network, units: str | None = "m3 s-1", dtype: Any = float, **members: int) -> xr.DataArray:
    """Runoff (members, time, reach), reaches in another order than the network's."""
    rng = RNG(1)
    sizes = {**members, "time": STEPS, "reach": network.n_reaches}
    coords = {"time": pd.date_range("2001-02-03", periods=STEPS, freq="h"), "reach": rng.permutation(network.ids), "model": "m1"}
    coords |= {name: np.arange(n) * 10 for name, n in members.items()}
    attrs = {"long_name": "runoff"} | ({} if units is None else {"units": units})
    return xr.DataArray(rng.random(tuple(sizes.values())).astype(dtype), coords, tuple(sizes), "ro", attrs)


def without_date(array: Any) -> Any:
    """Without the times at which lines of its history were written."""
    lines = [line.partition(" ")[2] for line in array.attrs.get("history", "").splitlines()]
    return array.assign_attrs(history="\n".join(lines))


def assert_same(found: Any, expected: Any, rtol: float = 0.0) -> None:
    """Identical, or with values that are as close as that."""
    found, expected = without_date(found), without_date(expected)
    if rtol:
        np.testing.assert_allclose(found.values, expected.values, rtol=rtol, atol=rtol * float(abs(expected).max()))
        found = found.copy(data=expected.values)
    xr.testing.assert_identical(found, expected)
    assert found.dtype == expected.dtype and found.dims == expected.dims


def there_and_back(router: Router, runoff: xr.DataArray, like: dict[str, Any] | None = None, **options: Any) -> xr.DataArray:
    with torch.no_grad():
        return router.array(router(router.tensor(runoff, **options)), like=runoff, **(like or {}))


# ── runoff there, discharge back ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"substeps": 3, "sampling": "last", "lateral": "outlet"},
        {"substeps": 2, "sampling": "start-mean", "lateral": "interval"},
        {"scheme": "muskingum_exact"},
        {"hillslope": "scs"},
    ],
)
@pytest.mark.parametrize("units", ["m3 s-1", "mm h-1", "m3", None])
def test_what_route_gives(options, units):
    network = river(tlag=("reach", np.linspace(3e3, 9e3, N), {"units": "s"}))
    runoff = rain(network, units, member=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if units is None else "error")
        warnings.filterwarnings("ignore", ".*[Mm]uskingum")
        expected = runoff.route(network, **options)
        router = Router(network, dt="1h", **options)
        assert_same(there_and_back(router, runoff), expected)
        learns = Router(network, dt="1h", learnable={"k": ("scale", "all")}, **options)
        assert_same(there_and_back(learns, runoff), expected, 1e-9)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16), shape=st.sampled_from(SHAPES), ids=st.sampled_from(ID_KINDS), scheme=st.sampled_from(SCHEMES),
    order=st.permutations(["member", "run", "time", "reach"]), units=st.sampled_from(["m3 s-1", "mm", "kg m-2 s-1"]),
    chunked=st.booleans(), dtype=st.sampled_from(["float32", "float64", "int16", "float16"]),
)  # fmt: skip
def test_any_layout(seed, shape, ids, scheme, order, units, chunked, dtype):
    rng = RNG(seed)
    topo = topology(shape, 7, rng)
    network = network_dataset(topo, make_ids(ids, topo.n_reaches, rng), scheme, rng)
    network["area"] = "reach", rng.uniform(1, 9, topo.n_reaches), {"units": "km2"}
    runoff = runoff_array(rng.permutation(network.reach.values), 6, rng, batch={"member": 2, "run": 1})
    runoff = (runoff * 100).astype(dtype).transpose(*order).assign_attrs(units=units)
    router = Router(network, dt=DT)
    x = router.tensor(runoff.chunk(time=4, member=1) if chunked else runoff)
    assert x.shape == (2, topo.n_reaches, 6)
    assert x.dtype == (torch.float32 if dtype in ("float16", "float32") else torch.float64)
    factor = {"m3 s-1": 1.0, "mm": network.area * 1e6 / 3.6e6, "kg m-2 s-1": network.area * 1e3}[units]
    plain = (runoff.astype(float) * factor).transpose("member", "run", "reach", "time").sel(reach=network.reach)
    np.testing.assert_allclose(x, plain.values.reshape(x.shape), rtol=1e-6 if x.dtype == torch.float32 else 1e-14)
    found = router.array(router(x), like=runoff)
    assert_same(found, runoff.route(network, device="cpu"), 1e-6 if x.dtype == torch.float32 else 1e-12)


def test_the_batch_is_in_order():
    network = river()
    runoff = rain(network, member=2, scenario=3)
    x = Router(network, dt="1h").tensor(runoff)
    for k, (i, j) in enumerate(np.ndindex(2, 3)):
        one = runoff.isel(member=i, scenario=j).sel(reach=network.ids).transpose("reach", "time")
        assert np.array_equal(x[k], one)
    assert Router(network, dt="1h").tensor(runoff.isel(member=0, scenario=0)).shape == (1, N, STEPS)


def test_blocks(monkeypatch):
    """However few values are brought into order at a time."""
    network = river()
    runoff = rain(network, "mm h-1", member=2)[:, :, 2:]
    runoff[0, 3, 1] = np.nan
    options = {"missing": "zero", "nan": "zero"}
    whole = Router(network, dt="1h").tensor(runoff, **options)
    for size in (1, 3 * STEPS, 7 * STEPS):
        monkeypatch.setattr("xroute.router_labels.BLOCK", size)
        assert torch.equal(Router(network, dt="1h").tensor(runoff, **options), whole)
        with pytest.raises(XRouteError, match=f"1 values .* on 1 reaches: {int(runoff['reach'][1])}; first at 2001-02-03T03"):
            Router(network, dt="1h").tensor(runoff, missing="zero")


def test_types_and_copies():
    network = river()
    runoff = rain(network, dtype="float32").sel(reach=network.ids).transpose("reach", "time")
    before = runoff.copy(deep=True)
    x = Router(network, dt="1h").tensor(runoff)
    assert x.dtype == torch.float32
    x += 1  # what was given is not touched
    assert runoff.identical(before)
    runoff.values.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*[Mm]uskingum")
        Router(network, dt="1h").tensor(runoff)
    assert Router(network, dt="1h").tensor(runoff.astype(int)).dtype == torch.float64
    assert Router(network, dt="1h").tensor(runoff, device="meta").device.type == "meta"


def test_flux_in_other_units():
    """Tensors are in m3 s-1 whatever runoff is in; discharge is in the runoff's own flux."""
    network, foot = river(), 0.3048**3
    runoff = rain(network, "ft3 s-1", member=2)
    router = Router(network, dt="1h")
    expected, end = runoff.route(network, return_state=True)
    x = router.tensor(runoff)
    plain = runoff.sel(reach=network.ids).transpose("member", "reach", "time").values * foot
    np.testing.assert_allclose(x, plain, rtol=1e-14)
    q, state = router(x, return_state=True)
    assert_same(router.array(q, like=runoff), expected, 1e-13)
    assert router.array(q, like=runoff).attrs["units"] == "ft3 s-1"
    dataset = router.state_dataset(state, like=runoff)
    xr.testing.assert_allclose(dataset, end, rtol=1e-13)
    assert dataset["outflow"].attrs["units"] == "ft3 s-1" and dataset.attrs == end.attrs
    np.testing.assert_allclose(router.state(end).outflow, state.outflow, rtol=1e-13)
    timeless = end.drop_attrs(deep=False).assign_attrs({n: v for n, v in end.attrs.items() if n != "time"})
    np.testing.assert_allclose(router.state(timeless, like=runoff).history, state.history, rtol=1e-13)


def test_reaches_that_lack_runoff_and_runoff_of_others():
    network = river()
    more = xr.concat([rain(network), rain(network).isel(reach=[0]).assign_coords(reach=[10**6])], "reach")
    part = more.isel(reach=slice(2, None))
    options = {"missing": "zero", "extra": "drop"}
    router = Router(network, dt="1h")
    for wrong, message in (
        ({}, "1 runoff ids .'reach'. are not in the network: 1000000"),
        ({"extra": "drop"}, "2 reaches of the network have no runoff"),
    ):
        with pytest.raises(AlignmentError, match=message):
            router.tensor(part, **wrong)
    x = router.tensor(part, **options)
    lacking = ~np.isin(network.ids, part["reach"])
    assert (x[:, lacking] == 0).all() and lacking.sum() == 2
    expected = part.route(network, **options)
    assert_same(router.array(router(x), like=part), expected)
    assert_same(there_and_back(router, part, like=options, **options), expected)


def test_values_that_are_not_finite():
    network = river()
    runoff = rain(network, "mm h-1")
    runoff[3, 2], runoff[5, 4] = np.nan, np.inf
    with pytest.raises(XRouteError) as by_route:
        runoff.route(network)
    with pytest.raises(XRouteError, match="2 values of runoff are NaN or infinite, on 2 reaches.*first at 2001-02-03T03") as here:
        Router(network, dt="1h").tensor(runoff)
    assert str(here.value) == str(by_route.value)
    assert_same(there_and_back(Router(network, dt="1h"), runoff, nan="zero"), runoff.route(network, nan="zero"))
    extra = xr.concat([runoff.fillna(0.0).clip(max=1.0), runoff.isel(reach=[0]).assign_coords(reach=[10**6]) * np.nan], "reach")
    Router(network, dt="1h").tensor(extra, extra="drop")  # nobody asks for those
    with pytest.raises(ParameterError, match="for a grid, with weights="):
        Router(network, dt="1h").tensor(runoff, nan="others")
    with pytest.raises(ParameterError, match="nan is one of"):
        Router(network, dt="1h").tensor(runoff, nan="fill")
    with pytest.raises(XRouteError, match="overflows float32 on 9 reaches"):
        Router(network, dt="1h").tensor(rain(network, "km3 s-1", "float32") * np.float32(1e36))


def test_values_that_accumulate():
    network = river()
    hours = np.tile(np.arange(24.0), 3)
    ramp = xr.DataArray(
        np.outer(hours, np.ones(N)), {"time": pd.date_range("2001-01-01", periods=72, freq="h"), "reach": network.ids},
        ("time", "reach"), attrs={"units": "m3", "GRIB_stepType": "accum"},
    )  # fmt: skip
    with pytest.raises(XRouteError, match="runoff accumulates"):
        Router(network, dt="1h").tensor(ramp)
    del ramp.attrs["GRIB_stepType"]
    with pytest.warns(UserWarning, match="looks accumulated"):
        Router(network, dt="1h").tensor(ramp)


def test_steps():
    network = river()
    runoff = rain(network)
    with pytest.raises(TimeAxisError, match=r"steps of 3600 s, and this Router's dt is 10800 s: make it with dt=3600.0, or"):
        Router(network, dt="3h").tensor(runoff)
    with pytest.raises(TimeAxisError, match="3600 s.*10800 s"):
        Router(network, dt="3h").array(torch.rand(N, STEPS), like=runoff)
    single = runoff.isel(time=[0])  # its step is the Router's
    assert_same(there_and_back(Router(network, dt="3h"), single), single.route(network, dt="3h"))
    plain = runoff.assign_coords(time=np.arange(STEPS))
    assert_same(there_and_back(Router(network, dt="1h"), plain), plain.route(network, dt="1h"))
    bare = runoff.drop_vars("time")
    assert_same(there_and_back(Router(network, dt="1h"), bare), bare.route(network, dt="1h"))
    for wrong in (runoff.isel(time=[0, 1, 5, 6]), runoff.isel(time=slice(None, None, -1))):
        with pytest.raises(TimeAxisError) as by_route:
            wrong.route(network)
        with pytest.raises(TimeAxisError) as here:
            Router(network, dt="1h").tensor(wrong)
        assert str(here.value) == str(by_route.value)
    by_end = runoff.assign_attrs(time_label="end")
    assert_same(there_and_back(Router(network, dt="1h"), by_end), by_end.route(network))
    assert_same(there_and_back(Router(network, dt="1h"), runoff, like={"label": "end"}), runoff.route(network, label="end"))


def test_names_of_dimensions():
    network = river()
    runoff = rain(network).rename(reach="comid", time="when")
    assert_same(there_and_back(Router(network, dt="1h"), runoff), runoff.route(network))
    two = runoff.assign_coords(gauge=("comid", np.arange(N))).rename(when="step0").drop_vars("step0")
    names = {"time_dim": "step0", "reach_dim": "comid"}
    assert_same(there_and_back(Router(network, dt="1h"), two, like=names, **names), two.route(network, dt="1h", **names))
    forecast = rain(network).rename(time="lead_time").assign_coords(lead_time=pd.to_timedelta(np.arange(STEPS), "h"))
    forecast = forecast.expand_dims(forecast_reference_time=pd.date_range("2001-01-01", periods=2, freq="D"))
    assert_same(there_and_back(Router(network, dt="1h"), forecast), forecast.route(network))


def test_units_that_are_wrong():
    network = river()
    with pytest.warns(UserWarning, match="runoff has no units"):
        Router(network, dt="1h").tensor(rain(network, None))
    for units in ("K", "mm month-1", "parsec"):
        with pytest.raises(UnitsError):
            Router(network, dt="1h").tensor(rain(network, units))
    with pytest.raises(UnitsError, match="needs the catchment areas"):
        Router(network.dataset.drop_vars("area"), dt="1h").tensor(rain(network, "mm"))
    with pytest.raises(ParameterError, match="real numbers"):
        Router(network, dt="1h").tensor(rain(network).astype(str))
    with pytest.raises(XRouteError, match="choose one of 'ro'"):
        Router(network, dt="1h").tensor(rain(network).to_dataset())


def test_a_quantity_of_pint():
    pint = pytest.importorskip("pint")
    network, registry = river(), pint.UnitRegistry()
    runoff = rain(network, None)
    runoff = runoff.copy(data=registry.Quantity(runoff.values, "mm/hour"))
    x = Router(network, dt="1h").tensor(runoff)
    assert torch.equal(x, Router(network, dt="1h").tensor(rain(network, "mm h-1")))
    found, expected = there_and_back(Router(network, dt="1h"), runoff), runoff.route(network)
    assert found.data.units == expected.data.units and np.array_equal(found.data.magnitude, expected.data.magnitude)


def test_discharge_of_another_shape():
    network = river()
    router, runoff = Router(network, dt="1h"), rain(network, member=2)
    for shape in ((2, N, STEPS + 1), (N, STEPS), (2, N - 1, STEPS), (3, N, STEPS), (N,)):
        with pytest.raises(ParameterError, match=r"and that of the labelled runoff would be \(batch 2, 9 reaches, 20 steps\)"):
            router.array(torch.zeros(shape), like=runoff)
    q = torch.rand(2, N, STEPS, dtype=torch.float64, requires_grad=True)
    assert np.array_equal(router.array(q, like=runoff), router.array(q.detach().numpy(), like=runoff))


def test_labelled_runoff_is_pointed_to_the_bridge():
    network = river()
    with pytest.raises(ParameterError, match=r"not DataArray: torch.from_numpy.*router.tensor\(runoff\)"):
        Router(network, dt="1h")(rain(network))


def test_labels_of_a_network_that_was_saved_in_another_order():
    """Reaches of the network in any order: the same discharge, by id."""
    network = river()
    runoff = rain(network, "mm h-1")
    turned = xroute.Network(network.dataset.isel(reach=RNG(5).permutation(N)))
    one, other = (there_and_back(Router(net, dt="1h"), runoff) for net in (network, turned))
    np.testing.assert_allclose(one, other.transpose(*one.dims).sel(reach=one["reach"]), rtol=1e-12)


def test_a_part_of_the_series_at_a_time():
    """As `xroute.learning` reads windows: labels once, values when they are wanted."""
    network = river()
    runoff = rain(network, "mm h-1", member=2).chunk(time=7)
    labels = read_runoff(runoff, network, 3600.0, RouteRequest())
    whole = labels.values()
    assert np.array_equal(labels.values(3, 11), whole[..., 3:11]) and np.array_equal(labels.values(13), whole[..., 13:])
    assert labels.n_steps == STEPS and torch.equal(torch.from_numpy(whole), Router(network, dt="1h").tensor(runoff))
    bad = runoff.where(runoff["time"] != runoff["time"][9])
    labels = read_runoff(bad, network, 3600.0, RouteRequest())
    labels.values(0, 9)
    with pytest.raises(XRouteError, match="first at 2001-02-03T09"):
        labels.values(7, 12)


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu():
    network = river()
    router = Router(network, dt="1h", learnable={"k": "all"}).to("cuda")
    runoff = rain(network, "mm h-1", member=2)
    x = router.tensor(runoff)
    assert x.device.type == "cuda"
    q, state = router(x, return_state=True)
    expected, end = runoff.route(router.to_network(), return_state=True, device="cuda")
    np.testing.assert_allclose(router.array(q, like=runoff), expected, rtol=1e-9)
    xr.testing.assert_allclose(router.state_dataset(state, like=runoff), end, rtol=1e-9)
    assert router.state(end).outflow.device.type == "cuda"


# ── grids ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def gridded(seed: int = 0) -> tuple[xroute.Network, xr.DataArray, xr.Dataset]:
    """A network, runoff (member, lat, time, lon) on a grid with sea, and weights."""
    rng, ny, nx = RNG(seed), 5, 6
    network = river(seed)
    grid = xr.DataArray(
        rng.random((2, ny, STEPS, nx)),
        {"member": [1, 2], "lat": np.linspace(50, 46, ny), "lon": np.linspace(1, 6, nx),
         "time": pd.date_range("2001-02-03", periods=STEPS, freq="h")},
        ("member", "lat", "time", "lon"), "ro", {"units": "mm h-1"},
    )  # fmt: skip
    k = np.concatenate([np.arange(N), rng.integers(0, N, 20)])
    y, x, area = rng.integers(0, ny, k.size), rng.integers(0, nx - 1, k.size), rng.uniform(1e6, 9e6, k.size)
    attrs = grid_identity(grid, ("lat", "lon"))
    weights = weights_dataset(
        network.ids[k], (y, x), area, catchment=network.ids, cell_area=np.full(k.size, 1e8), attrs=attrs
    )
    grid[..., nx - 1] = np.nan  # no catchment has cells there
    return network, grid, weights


@pytest.mark.parametrize("units", ["mm h-1", "mm", "kg m-2 s-1", "m3 s-1"])
def test_a_grid_by_weights(units):
    network, grid, weights = gridded()
    grid = grid.assign_attrs(units=units)
    expected = grid.route(network, weights=weights)
    by = {"weights": weights}
    plain = Router(network, dt="1h")
    x = plain.tensor(grid, **by)
    assert x.shape == (2, N, STEPS)
    assert_same(plain.array(plain(x), like=grid, **by), expected)
    router = Router(network, dt="1h", weights=weights, units="m3 s-1" if units == "m3 s-1" else "mm h-1")
    cells = router.tensor(grid)
    assert cells.shape == (2, 5, 6, STEPS)
    assert_same(router.array(router(cells), like=grid), expected, 1e-12)
    np.testing.assert_allclose(router._grid(cells), x, rtol=1e-12)


def test_a_grid_whose_labels_alone_are_read():
    """`array` reads none of the grid's values, so that it may as well lie on a disk."""
    network, grid, weights = gridded()
    plain = Router(network, dt="1h")
    q = plain(plain.tensor(grid, weights=weights))
    import dask

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("values were read")

    with dask.config.set(scheduler=refuse):
        found = plain.array(q, like=grid.chunk(time=5), weights=weights)
    assert_same(found, grid.route(network, weights=weights))


def test_cells_that_are_not_finite():
    network, grid, weights = gridded()
    router = Router(network, dt="1h", weights=weights, units="mm h-1")
    cell = {"lat": int(weights["y_index"][0]), "lon": int(weights["x_index"][0])}
    bad = grid.copy()
    bad[{**cell, "time": 4}] = np.nan
    with pytest.raises(XRouteError) as by_route:
        bad.route(network, weights=weights)
    with pytest.raises(XRouteError) as here:
        router.tensor(bad)
    assert str(here.value) == str(by_route.value)
    found = router.array(router(router.tensor(bad, nan="zero")), like=bad, nan="zero")
    assert_same(found, bad.route(network, weights=weights, nan="zero"), 1e-12)
    with pytest.raises(ParameterError, match='nan="others" is of catchments'):
        router.tensor(bad, nan="others")
    plain = Router(network, dt="1h")
    others = {"weights": weights, "nan": "others"}
    assert_same(plain.array(plain(plain.tensor(bad, **others)), like=bad, **others), bad.route(network, **others))
    bad[{**cell, "time": 4}] = np.inf
    with pytest.raises(XRouteError):
        router.tensor(bad, nan="zero")


def test_another_grid_and_weights_twice():
    network, grid, weights = gridded()
    router = Router(network, dt="1h", weights=weights, units="mm h-1")
    with pytest.raises(AlignmentError):
        router.tensor(grid.isel(lat=slice(None, None, -1)))
    with pytest.raises(ParameterError, match="leave weights= out"):
        router.tensor(grid, weights=weights)
    with pytest.raises(UnitsError, match="is a volume of each cell, and this Router takes a depth, in 'mm h-1': make it with"):
        router.tensor(grid.assign_attrs(units="m3 s-1"))
    with pytest.raises(UnitsError, match="the grid has no units"):
        router.tensor(grid.assign_attrs(units=""))
    with pytest.raises(TimeAxisError, match="3600 s.*7200 s"):
        Router(network, dt="2h", weights=weights).tensor(grid)
    accumulated = grid.cumsum("time").assign_attrs(units="mm", GRIB_stepType="accum")
    accumulated = accumulated.assign_coords(time=pd.date_range("2001-02-03", periods=STEPS, freq="6h"))
    with pytest.raises(XRouteError, match="runoff accumulates"):
        Router(network, dt="6h", weights=weights).tensor(accumulated)


# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("members", [{}, {"member": 2}, {"member": 2, "run": 3}])
@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("muskingum", {}),
        ("muskingum", {"substeps": 4, "lateral": "interval"}),
        ("hayami", {"hillslope": "scs"}),
        ("pure_lag", {}),
        ("linear_storage", {"hillslope": "triangular"}),
    ],
)
def test_states_there_and_back(members, scheme, options):
    """The Dataset of `route`, and runs that go on from either."""
    network = river(scheme=scheme, tlag=("reach", np.linspace(3e3, 9e3, N), {"units": "s"}))
    runoff = rain(network, "mm h-1", **members)
    first, second = runoff.isel(time=slice(0, 12)), runoff.isel(time=slice(12, None))
    _, expected = first.route(network, return_state=True, **options)
    router = Router(network, dt="1h", **options)
    _, state = router(router.tensor(first), return_state=True)
    found = router.state_dataset(state, like=first)
    xr.testing.assert_identical(found, expected)
    again = router.state(found, like=second)
    for one, other in ((again, state), (again.hillslope, state.hillslope)):
        if other is not None:
            assert torch.equal(one.history, other.history) and torch.equal(one.outflow, other.outflow)
            assert (one.network, one.step, one.lateral) == (other.network, other.step, other.lateral)
    xr.testing.assert_identical(router.state_dataset(router.state(expected)), expected)  # its labels are kept
    goes_on = second.route(network, initial_state=expected, **options)
    assert_same(router.array(router(router.tensor(second), state=again), like=second), goes_on)
    shuffled = expected.isel(reach=RNG(3).permutation(N), **{d: slice(None, None, -1) for d in members})
    assert torch.equal(router.state(shuffled, like=second).history, state.history)
    if not members:
        assert torch.equal(router.state(shuffled).history, state.history)
        plain = router.state_dataset(state)
        xr.testing.assert_identical(plain.assign_attrs(time=expected.attrs["time"]), expected.drop_vars("model"))
    discharge = router.array(torch.zeros(state.outflow.shape[0], N, 12), like=first)
    xr.testing.assert_identical(router.state_dataset(state, like=discharge), expected)


def test_states_of_files(tmp_path):
    network = river()
    runoff = rain(network)
    _, end = runoff.route(network, return_state=True)
    router = Router(network, dt="1h")
    end.to_netcdf(tmp_path / "end.nc")
    assert torch.equal(router.state(tmp_path / "end.nc").outflow, router.state(end).outflow)
    steady = xroute.steady_state(network, runoff.mean("time").assign_attrs(units="m3 s-1"), dt="1h")
    q = router(router.tensor(runoff), state=router.state(steady))
    np.testing.assert_array_equal(
        router.array(q, like=runoff), runoff.route(network, initial_state=steady)
    )


def test_a_state_without_runoff():
    network = river()
    router = Router(network, dt="1h")
    _, state = router(router.tensor(rain(network, member=3)), return_state=True)
    found = router.state_dataset(state, time="2001-02-03T20:00")
    assert found["outflow"].dims == ("batch", "reach") and found.attrs["time"] == "2001-02-03T20:00:00"
    assert found["outflow"].attrs["units"] == "m3 s-1"
    assert "units" not in router.state_dataset(state, units=None)["outflow"].attrs
    assert torch.equal(router.state(found).history, state.history)
    with pytest.raises(TimeAxisError, match="a date, not 'soon'"):
        router.state_dataset(state, time="soon")
    for time in (np.datetime64("2001-02-03T20"), pd.Timestamp("2001-02-03T20")):
        assert router.state_dataset(state, time=time).attrs["time"] == "2001-02-03T20:00:00"


def test_states_that_do_not_fit():
    network = river()
    runoff = rain(network)
    router = Router(network, dt="1h")
    _, end = runoff.route(network, return_state=True)
    _, of_members = rain(network, member=2).route(network, return_state=True)
    other = river(seed=4, n=N + 1)
    for wrong, message in (
        (rain(other).route(other, return_state=True)[1], "the state is of another network"),
        (runoff.route(network, substeps=2, return_state=True)[1], "another routing step"),
        (runoff.route(network, lateral="outlet", return_state=True)[1], "the state is of another lateral"),
        (runoff.route(network, scheme="muskingum_exact", return_state=True)[1], "the state is of another scheme"),
        (end.drop_vars("outflow"), "the state has no 'outflow'"),
        (end.assign(outflow=end["outflow"] * np.nan), "not finite on 9 reaches"),
        (router(router.tensor(runoff), return_state=True)[1], "a Dataset"),
    ):
        if isinstance(wrong, xr.Dataset):
            wrong.attrs = wrong.attrs or end.attrs
        with pytest.raises(StateError, match=message):
            router.state(wrong)
    later = {"time": rain(network)["time"] + pd.Timedelta("20h")}
    with pytest.raises(StateError, match="dimensions that runoff does not have"):
        router.state(of_members, like=runoff.assign_coords(later))
    members = rain(network, member=2).assign_coords(later)
    assert router.state(end, like=members).outflow.shape == (2, N)  # one state for all of them
    with pytest.warns(UserWarning, match="the state holds at 2001-02-03T20:00:00, and runoff starts at 2001-02-03T00:00:00"):
        router.state(end, like=runoff)
    _, state = router(router.tensor(runoff), return_state=True)
    whole = xroute.Network(network)
    part = whole.basin(whole.ids[int(whole.n_upstream.argmin())])
    with pytest.raises(StateError, match=rf"network: {N - part.n_reaches} of its reaches are not here: \d"):
        Router(part, dt="1h").state(end)
    with pytest.raises(StateError, match="of another network"):
        Router(other, dt="1h").state_dataset(state)
    with pytest.raises(StateError, match="1 members x 9 reaches, not of 2 x 9"):
        router.state_dataset(state, like=rain(network, member=2))
    with pytest.raises(StateError, match="a state is a RouterState"):
        router.state_dataset(end)
    with pytest.raises(StateError, match=r"router.state\(dataset\) makes one"):
        router(router.tensor(runoff), state=end)


def test_windows_that_have_changed():
    """A state of windows is of the parameters that it was made with: the Router's own, or those that are given."""
    network = river(scheme="pure_lag", n=4)
    network = network.assign(delay=("reach", np.full(4, 2 * 3600.0), {"units": "s"}))
    runoff = rain(network)
    router = Router(network, dt="1h")
    slower = {"delay": torch.full((4,), 5 * 3600.0)}
    _, state = router(router.tensor(runoff), slower, return_state=True)
    dataset = router.state_dataset(state, like=runoff)
    _, expected = runoff.route(router.to_network(slower), return_state=True)
    xr.testing.assert_identical(dataset, expected)
    with pytest.raises(StateError, match="4 reaches now have a window of another length"):
        router.state(dataset)
    assert torch.equal(router.state(dataset, parameters=slower).history, state.history)


def test_gradients_do_not_go_over_the_bridge_but_through_it():
    network = river()
    router = Router(network, dt="1h", learnable=("k",))
    q, state = router(router.tensor(rain(network)), return_state=True)
    router.array(q, like=rain(network))
    router.state_dataset(state, like=rain(network))
    (q.sum() + state.outflow.sum()).backward()
    assert all(p.grad.isfinite().all() for p in router.parameters())


# ── discharge that is known ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("units", ["m3 s-1", "mm h-1", "ft3 s-1"])
@pytest.mark.parametrize("with_members", [False, True])
def test_known_discharge(units, with_members):
    network = river()
    runoff = rain(network, units, member=2)
    ids = network.ids[[4, 1]]
    known = (runoff.sel(reach=ids).isel(time=slice(3, 11)) * 7).rename(None).assign_attrs(units="ft3 s-1")
    known = known.where(known > known.mean()) if with_members else known.isel(member=0, drop=True)
    expected = runoff.route(network, known=known)
    router = Router(network, dt="1h", known=ids[::-1])
    values = router.known_tensor(known, like=runoff)
    assert values.shape == (2 if with_members else 1, 2, STEPS) and torch.isnan(values[..., :3]).all()
    plain = known.sel(reach=router.known_ids).values * 0.3048**3
    shape = ("member", "reach", "time") if with_members else ("reach", "time")
    plain = known.transpose(*shape).sel(reach=router.known_ids).values.reshape(values.shape[0], 2, 8) * 0.3048**3
    np.testing.assert_allclose(values[..., 3:11], plain, rtol=1e-13)
    found = router.array(router(router.tensor(runoff), known=values), like=runoff)
    assert_same(found, expected, 1e-12)
    one = Router(network, dt="1h", known=ids).known_tensor(known.sel(reach=ids[:1]), like=runoff)
    assert torch.isnan(one[:, 1]).all() and not torch.isnan(one[:, 0, 3:11]).all()


def test_known_discharge_elsewhere():
    network = river()
    runoff = rain(network)
    known = runoff.sel(reach=network.ids[:2])
    with pytest.raises(AlignmentError, match=f"1 ids of the known discharge are none that this Router was.*: {network.ids[1]}"):
        Router(network, dt="1h", known=network.ids[:1]).known_tensor(known, like=runoff)
    with pytest.raises(ParameterError, match="was told of no reaches"):
        Router(network, dt="1h").known_tensor(known, like=runoff)
    with pytest.raises(XRouteError, match="-999"):
        Router(network, dt="1h", known=network.ids[:2]).known_tensor(known.where(known > 0.5, -999.0), like=runoff)


# ── an error in the bridge is seen ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", ["order", "scale", "zero"])
def test_a_fault_is_seen(monkeypatch, fault):
    network = river()
    runoff = rain(network, "mm h-1")
    router, expected = Router(network, dt="1h"), runoff.route(network)
    values = router.tensor(runoff)
    wrong = {"order": values.flip(1), "scale": values * (1 + 1e-6), "zero": torch.where(values > 1e-3, values, 0.0)}[fault]
    wrong = wrong if fault != "zero" else torch.cat([torch.zeros_like(values[..., :1]), values[..., 1:]], -1)
    with pytest.raises(AssertionError):
        assert_same(router.array(router(wrong), like=runoff), expected, 1e-9)


def test_copies_have_the_bridges():
    network, grid, weights = gridded()
    router = Router(network, dt="1h", weights=weights, units="mm h-1")
    twin = copy.deepcopy(router)
    assert_same(twin.array(twin(twin.tensor(grid)), like=grid), router.array(router(router.tensor(grid)), like=grid))


def test_rows_of_gauges_alone_are_told_to_be_chosen_after_labelling():
    network, ds = xroute.datasets.tutorial()
    router = xroute.Router(network, dt="1h")
    discharge = torch.zeros(router.n_reaches, ds.sizes["time"])
    with pytest.raises(ParameterError, match=r"label all reaches first, then choose: .*\.sel\(reach=ids\)"):
        router.array(discharge[:2], like=ds.runoff)
    with pytest.raises(ParameterError, match="give like= the runoff that it is of"):
        router.array(discharge[:, 1:], like=ds.runoff)
