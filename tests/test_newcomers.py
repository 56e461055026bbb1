"""What stops someone who is new: retries after a mended command, and messages whose advice does what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import xroute
from xroute.cli import main
from xroute.exceptions import ParameterError, StateError, XRouteError
from xroute.io import open_known

N = 48


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(w) for w in words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def river() -> xr.Dataset:
    return xr.Dataset(
        {"downstream": ("reach", [2, 3, 0]), "k": ("reach", [3600.0] * 3), "x": ("reach", [0.2] * 3)},
        {"reach": [1, 2, 3]},
        {"scheme": "muskingum"},
    )


def runoff(values: object, **attrs: str) -> xr.DataArray:
    time = pd.date_range("2001-01-01 01:00", periods=N, freq="h")
    return xr.DataArray(
        np.broadcast_to(np.asarray(values, float), (3, N)).copy(), {"reach": [1, 2, 3], "time": time}, ("reach", "time"),
        "runoff", {"units": "m3 s-1"} | attrs,
    )  # fmt: skip


def test_a_run_that_came_nowhere_does_not_stand_in_the_way_of_the_next(tmp_path: Path, river: xr.Dataset) -> None:
    """The error's own advice, followed with the same output, works, on the command line and in Python."""
    gaps = runoff(1.0)
    gaps[0, 3] = np.nan
    gaps.to_dataset().to_netcdf(tmp_path / "runoff.nc")
    river.to_netcdf(tmp_path / "network.nc")
    files = tmp_path / "runoff.nc", tmp_path / "network.nc", tmp_path / "q.zarr"
    assert "NaN" in run("route", *files, code=1)
    assert not files[2].exists()
    run("route", *files, "--nan", "zero")
    with pytest.raises(XRouteError, match="NaN"):
        xroute.route_to_zarr(gaps, river, tmp_path / "p.zarr", progress=False)
    again = xroute.route_to_zarr(gaps, river, tmp_path / "p.zarr", nan="zero", progress=False)
    xr.testing.assert_equal(again.load(), gaps.route(river, nan="zero").astype(again.dtype))


def test_a_run_that_came_somewhere_is_kept(tmp_path: Path, river: xr.Dataset) -> None:
    gaps = runoff(1.0)
    gaps[0, 40] = np.nan
    with pytest.raises(XRouteError, match="NaN"):
        xroute.route_to_zarr(gaps, river, tmp_path / "q.zarr", time_chunk=12, progress=False)
    assert "unfinished" in xr.open_zarr(tmp_path / "q.zarr").attrs
    with pytest.raises(FileExistsError, match="another run"):
        xroute.route_to_zarr(gaps, river, tmp_path / "q.zarr", time_chunk=12, nan="zero", progress=False)


def test_a_network_without_parameters_is_told_first_how_to_make_them(tmp_path: Path, river: xr.Dataset) -> None:
    bare = river.drop_vars(["k", "x"]).drop_attrs()
    with pytest.raises(ParameterError, match=r"^the network has no parameters .* yet\. xroute\.estimate_parameters\("):
        runoff(1.0).route(bare)


def test_values_that_a_long_name_calls_accumulated_are_refused_with_what_helps(river: xr.Dataset) -> None:
    """Noah-MP's runoff climbs from the model's start: every step is far more than its own water."""
    rates = 1 + np.sin(np.arange(N)) ** 2
    climbing = runoff(np.cumsum(rates), long_name="Accumulatetd surface runoff", units="m3")
    for steps in (slice(None), slice(0, 12)):
        with pytest.raises(XRouteError, match='accumulates.*reset="never"'):
            climbing.isel(time=steps).route(river)
    made = xroute.deaccumulate(climbing, reset="never")
    np.testing.assert_allclose(made.values, np.broadcast_to(rates[1:], (3, N - 1)), rtol=1e-12)
    assert "long_name" not in made.attrs  # amounts of a storm that rises would be refused
    made.route(river)
    runoff(rates, long_name="Accumulated runoff of each hour", units="m3").route(river)  # values decide


def test_info_names_the_reset_of_leads_of_days_and_of_a_model(tmp_path: Path) -> None:
    grid = {"lat": [50.0, 49.0], "lon": [5.0, 6.0]}
    times = {"step": pd.timedelta_range("1h", periods=4, freq="h"), "time": pd.date_range("2001-01-01", periods=4, freq="h")}
    for dim, attrs, reset in (
        ("step", {"GRIB_stepType": "accum"}, "forecast"),
        ("time", {"GRIB_stepType": "accum"}, "day"),
        ("time", {"long_name": "Accumulated runoff"}, "never"),
    ):
        field = xr.DataArray(np.ones((4, 2, 2)), {dim: times[dim], **grid}, (dim, "lat", "lon"), "ro", {"units": "m", **attrs})
        path = tmp_path / f"{reset}.nc"
        field.to_dataset().to_netcdf(path)
        assert f"--deaccumulate {reset}" in run("info", path)


def test_a_state_of_another_step_says_which_substeps_it_needs(river: xr.Dataset) -> None:
    _, state = runoff(1.0).route(river, return_state=True)
    longer = runoff(1.0).isel(time=slice(0, 48, 3))
    with pytest.raises(StateError, match="With substeps=3 they are equal"):
        longer.route(river, initial_state=state)
    longer.route(river, initial_state=state, substeps=3)
    _, coarse = longer.route(river, return_state=True)
    with pytest.raises(StateError, match="No number of substeps"):
        runoff(1.0).route(river, initial_state=coarse)


def test_route_link_is_called_so(tmp_path: Path) -> None:
    links = xr.Dataset({"link": ("feature_id", [1, 2]), "to": ("feature_id", [2, 0])})
    links.to_netcdf(tmp_path / "RouteLink.nc")
    runoff(1.0).to_dataset().to_netcdf(tmp_path / "runoff.nc")
    assert "xroute convert nwm FILE" in run("info", tmp_path / "RouteLink.nc")
    assert "xroute convert nwm FILE" in run(
        "route", tmp_path / "runoff.nc", tmp_path / "RouteLink.nc", tmp_path / "q.zarr", code=1
    )


def test_fill_values_of_a_table_of_gauges_are_no_discharge(tmp_path: Path) -> None:
    path = tmp_path / "gauge.csv"
    path.write_text("time,reach,discharge\n2001-01-01 00:00,7,3.5\n2001-01-01 01:00,7,-999\n2001-01-01 02:00,7,\n")
    with pytest.raises(XRouteError, match=r"-999 in 1 rows, first in row 2"):
        open_known(path)
    path.write_text("datetime,site,discharge\n2001-01-01 00:00,7,3.5\n2001-01-01 01:00,7,-2\n")
    assert open_known(path).sel(reach=7).values.tolist() == [3.5, -2.0]  # rivers may flow back


def test_catchments_without_a_value_can_be_left_out_as_the_message_says(river: xr.Dataset) -> None:
    field = xr.DataArray(
        np.ones((N, 2, 3)),
        {"time": pd.date_range("2001-01-01", periods=N, freq="h"), "lat": ("lat", [50.0, 49.0]), "lon": [5.0, 6.0, 7.0]},
        ("time", "lat", "lon"), "ro", {"units": "mm h-1"},
    )  # fmt: skip
    field[:, 0, 1] = np.nan
    points = river.assign(lon=("reach", [5.0, 6.0, 7.0]), lat=("reach", [50.0] * 3), area=("reach", [1e6] * 3, {"units": "m2"}))
    points["lon"].attrs["units"], points["lat"].attrs["units"] = "degrees_east", "degrees_north"
    weights = xroute.grid_weights(field, points, method="nearest")
    with pytest.raises(XRouteError, match=r"all cells of 1 catchments.*select_weights\(weights, ids\)"):
        field.route(points, weights=weights, nan="others")
    left = xroute.grids.select_weights(weights, [1, 3])
    q = field.route(points, weights=left, nan="others", missing="zero")
    assert float(q.sel(reach=3)[-1]) == pytest.approx(2 * 1e3 / 3600, rel=1e-6)


def test_a_sum_of_accumulated_variables_is_refused_as_each_is(tmp_path: Path, river: xr.Dataset) -> None:
    one = runoff(np.cumsum(np.ones(N)), long_name="Accumulated underground runoff", units="m3")
    other = one.assign_attrs(long_name="Accumulatetd surface runoff")
    xr.Dataset({"UGDRNOFF": one, "SFCRNOFF": other}).to_netcdf(tmp_path / "runoff.nc")
    river.to_netcdf(tmp_path / "network.nc")
    files = tmp_path / "runoff.nc", tmp_path / "network.nc", tmp_path / "q.zarr"
    words = "route", *files, "--variable", "UGDRNOFF", "--variable", "SFCRNOFF"
    assert "--deaccumulate never" in run(*words, code=1)
    run(*words, "--deaccumulate", "never")
