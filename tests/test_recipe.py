"""A network that says how it wants to be routed is routed so, by every entry; what is given wins, what is damaged is named."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute.exceptions import ParameterError, TimeAxisError
from xroute.inspection import inspect_network
from xroute.io import open_dataset, write
from xroute.recipe import resolve_recipe

RECIPE: dict[str, Any] = {"routing_step": 900.0, "sampling": "start-mean", "lateral": "interval", "runoff_step": 3600.0}
OPTIONS: dict[str, Any] = {"substeps": 4, "sampling": "start-mean", "lateral": "interval"}


@pytest.fixture
def plain() -> xr.Dataset:
    return xr.Dataset(
        {
            "downstream": ("reach", [3, 3, 4, 0]),
            "k": ("reach", [3600.0, 5400, 7200, 4000], {"units": "s"}),
            "x": ("reach", [0.05] * 4),
        },
        {"reach": [1, 2, 3, 4]},
        {"scheme": "muskingum"},
    )  # fmt: skip


@pytest.fixture
def bearing(plain: xr.Dataset) -> xr.Dataset:
    return plain.assign_attrs(RECIPE)


@pytest.fixture
def runoff() -> xr.DataArray:
    times = np.datetime64("2001-01-01", "ns") + np.arange(24) * np.timedelta64(1, "h")
    values = np.random.default_rng(1).random((24, 4))
    return xr.DataArray(values, {"time": times, "reach": [1, 2, 3, 4]}, ("time", "reach"), "runoff", {"units": "m3 s-1"})


def test_route_takes_the_networks_recipe(plain: xr.Dataset, bearing: xr.Dataset, runoff: xr.DataArray) -> None:
    wanted = xroute.route(runoff, plain, **OPTIONS)
    assert float(abs(wanted - xroute.route(runoff, plain)).max()) > 0.01  # the recipe matters
    np.testing.assert_array_equal(runoff.route(bearing), wanted)
    np.testing.assert_array_equal(runoff.chunk(time=7).route(bearing), wanted)
    assert "substeps=4, sampling='start-mean', lateral='interval'" in runoff.route(bearing).attrs["history"]


def test_what_is_given_wins(plain: xr.Dataset, bearing: xr.Dataset, runoff: xr.DataArray) -> None:
    given: dict[str, Any] = {"substeps": 2, "sampling": "last", "lateral": "head"}
    np.testing.assert_array_equal(runoff.route(bearing, **given), runoff.route(plain, **given))
    part = runoff.route(bearing, lateral="outlet")
    np.testing.assert_array_equal(part, runoff.route(plain, **(OPTIONS | {"lateral": "outlet"})))


def test_substeps_follow_the_runoffs_step(plain: xr.Dataset, bearing: xr.Dataset, runoff: xr.DataArray) -> None:
    half = runoff.assign_coords(time=runoff["time"][0] + (runoff["time"] - runoff["time"][0]) / 2)
    np.testing.assert_array_equal(half.route(bearing), half.route(plain, **(OPTIONS | {"substeps": 2})))
    third = runoff.assign_coords(time=runoff["time"][0] + (runoff["time"] - runoff["time"][0]) / 3)
    with pytest.raises(ParameterError, match="1200 s is not a whole number of the network's routing steps of 900 s"):
        third.route(bearing)
    with pytest.raises(ParameterError, match="450 s is not a whole number"):
        runoff.assign_coords(time=runoff["time"][0] + (runoff["time"] - runoff["time"][0]) / 8).route(bearing)


def test_runoff_step_serves_where_time_does_not_tell(
    plain: xr.Dataset, bearing: xr.Dataset, runoff: xr.DataArray, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = xroute.route(runoff, plain, **OPTIONS)
    undated = runoff.drop_vars("time")
    np.testing.assert_array_equal(undated.route(bearing), wanted)
    np.testing.assert_array_equal(runoff.isel(time=[0]).route(bearing), wanted.isel(time=[0]))
    with pytest.raises(TimeAxisError, match="no coordinate"):
        undated.route(bearing.drop_attrs(deep=False).assign_attrs(scheme="muskingum"))
    with caplog.at_level(logging.WARNING, "xroute"):
        runoff.route(bearing)
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "xroute"):
        runoff.route(bearing.assign_attrs(runoff_step=10800))
    assert "3600 s apart" in caplog.text and "says 10800 s" in caplog.text
    gap = runoff.isel(time=[0, 1, 2, 4, 5])
    with pytest.raises(TimeAxisError, match="a gap of 7200 s"):  # a broken axis is not mended by a stated step
        gap.route(bearing)


def test_it_is_said_once(bearing: xr.Dataset, runoff: xr.DataArray, caplog: pytest.LogCaptureFixture) -> None:
    network = xroute.Network(bearing.assign_attrs(source="RAPID: a/rapid_connect.csv"))
    with caplog.at_level(logging.INFO, "xroute"):
        runoff.route(network)
        runoff.route(network)
    said = [r.getMessage() for r in caplog.records]
    assert said == ["routed as RAPID does: substeps 4 of 900 s, sampling start-mean, lateral interval"]


def test_states_and_router_take_it(plain: xr.Dataset, bearing: xr.Dataset, runoff: xr.DataArray) -> None:
    torch = pytest.importorskip("torch")
    from xroute.router import Router

    snapshot = runoff.isel(time=0, drop=True)
    state = xroute.initial_state(bearing, snapshot)
    xr.testing.assert_identical(
        state, xroute.initial_state(plain, snapshot, dt=3600, substeps=4, lateral="interval")
    )
    xr.testing.assert_identical(
        xroute.steady_state(bearing, snapshot), xroute.steady_state(plain, snapshot, dt="1h", substeps=4, lateral="interval")
    )
    wanted = runoff.route(plain, initial_state=state, **OPTIONS)
    np.testing.assert_array_equal(runoff.route(bearing, initial_state=state), wanted)
    with pytest.raises(TimeAxisError, match="give dt="):
        xroute.initial_state(plain, snapshot)
    router = Router(bearing, dt=3600)
    assert (router.substeps, router.sampling, router.lateral) == (4, "start-mean", "interval")
    tensor = torch.from_numpy(runoff.values.T.copy())
    np.testing.assert_allclose(router(tensor).numpy().T, runoff.route(plain, **OPTIONS), rtol=1e-13)


def test_streams_take_it(plain: xr.Dataset, bearing: xr.Dataset, runoff: xr.DataArray, tmp_path: Path) -> None:
    stored = xroute.route_to_zarr(runoff, bearing, tmp_path / "q.zarr", time_chunk=5, progress=False)
    np.testing.assert_array_equal(stored, runoff.route(plain, **OPTIONS))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_it_survives_files_and_parts(bearing: xr.Dataset, runoff: xr.DataArray, tmp_path: Path, suffix: str) -> None:
    write(bearing, tmp_path / f"n{suffix}")
    network = xroute.Network(open_dataset(tmp_path / f"n{suffix}"))
    wanted = resolve_recipe(xroute.Network(bearing), 3600.0)
    for part in (network, network.basin(3), network.sort(), network.sort(2)):
        assert resolve_recipe(part, 3600.0) == wanted
    np.testing.assert_array_equal(runoff.route(network), runoff.route(bearing))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("routing_step", "900"),
        ("routing_step", -900.0),
        ("routing_step", 0),
        ("routing_step", np.nan),
        ("routing_step", np.inf),
        ("routing_step", True),
        ("routing_step", [900, 900]),
        ("sampling", "mena"),
        ("sampling", 1),
        ("lateral", ["interval", "head"]),
        ("lateral", ""),
    ],
)
def test_damaged_attributes_are_named(bearing: xr.Dataset, runoff: xr.DataArray, name: str, value: Any) -> None:
    damaged = bearing.assign_attrs({name: value})
    with pytest.raises(ParameterError, match=f"the network's attribute '{name}' must be"):
        runoff.route(damaged)
    runoff.route(damaged, **OPTIONS)  # nothing is taken from it
    assert any(name in problem for problem in inspect_network(damaged).problems)


def test_a_damaged_runoff_step_is_named(bearing: xr.Dataset, runoff: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="'runoff_step' must be a positive number of seconds, not '1h'"):
        runoff.drop_vars("time").route(bearing.assign_attrs(runoff_step="1h"))


def test_info_says_it(bearing: xr.Dataset) -> None:
    facts = dict(inspect_network(bearing).facts)
    assert facts["recipe"] == "routing step 900 s, sampling start-mean, lateral interval, runoff step 3600 s"
    assert "at a routing step of 900 s" in facts["  stability"]


def test_without_a_recipe_nothing_changes(plain: xr.Dataset, runoff: xr.DataArray) -> None:
    np.testing.assert_array_equal(runoff.route(plain), runoff.route(plain, substeps=1, sampling="mean", lateral="head"))
