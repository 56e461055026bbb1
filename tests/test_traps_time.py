"""Traps of time: what a user walks in with, and the right value or message that is met there."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from strategies import chain

import xroute
from xroute.cli import main
from xroute.exceptions import TimeAxisError
from xroute.files.opening import open_dataset
from xroute.io import write_discharge

HOURS = pd.date_range("2001-02-27", periods=6, freq="h")
HOUR = np.timedelta64(1, "h")


@pytest.fixture
def network() -> xr.Dataset:
    return chain(3, "linear_storage", tau=(2.0, "h"))


def pulse(network: xr.Dataset, time: object, units: str = "m3 s-1") -> xr.DataArray:
    """One unit of runoff into the head of the chain, in the first of six steps."""
    values = np.zeros((6, 3))
    values[0, 0] = 1.0
    coords = {"time": time, "reach": network.reach.values}
    return xr.DataArray(values, coords, ("time", "reach"), "runoff", {"units": units})


def forecasts(network: xr.Dataset, starts: object, leads: object, dims: tuple[str, str] = ("time", "step")) -> xr.DataArray:
    """Three forecasts of six hours, the first reach of which gets 1, 2 and 3 in the first hour."""
    values = np.zeros((3, 6, 3))
    values[:, 0, 0] = [1.0, 2.0, 3.0]
    coords = {dims[0]: starts, dims[1]: leads, "reach": network.reach.values}
    return xr.DataArray(values, coords, (*dims, "reach"), "runoff", {"units": "m3 s-1"})


DAYS, LEADS = pd.date_range("2001-02-27", periods=3), pd.timedelta_range("1h", periods=6, freq="h")


def with_interval_bounds(runoff: xr.DataArray, shift: object) -> xr.Dataset:
    """Runoff of the six hours, stamped ``shift`` after their starts, with bounds as a file has them."""
    dataset = runoff.assign_coords(time=HOURS + shift).to_dataset()
    dataset["time"].attrs["bounds"] = "time_bounds"
    return dataset.assign(time_bounds=(("time", "nbnd"), np.stack([HOURS, HOURS + HOUR], axis=1)))


# ── which dimension is the time ───────────────────────────────────────────────────────────────────────────────────────


def test_ecmwf_forecast_runs_along_its_leads(network):
    array = forecasts(network, ("time", DAYS, {"standard_name": "forecast_reference_time"}),
                      ("step", LEADS, {"standard_name": "forecast_period"}))  # fmt: skip
    routed = array.route(network)
    one = pulse(network, HOURS).route(network)
    np.testing.assert_allclose(routed.values, np.array([1.0, 2.0, 3.0])[:, None, None] * one.values, rtol=1e-14)


def test_forecast_without_labels_asks_and_takes_the_answer(network):
    array = forecasts(network, DAYS, LEADS)
    for given in (array, array.isel(time=[0]), array.chunk(step=2)):
        with pytest.raises(TimeAxisError, match="'time' .*'step' .*time_dim="):
            given.route(network, dt="1h")
    assert array.route(network, time_dim="step").attrs["cell_methods"] == "step: mean"
    assert array.route(network, time_dim="time", dt="1D").attrs["cell_methods"] == "time: mean"  # asked for by name


def test_lead_hours_as_numbers_are_not_overlooked(network):
    leads = ("lead_time", np.arange(1, 7), {"units": "hours"})
    routed = forecasts(network, DAYS, leads, ("init_time", "lead_time")).route(network)
    assert routed.attrs["cell_methods"] == "lead_time: mean" and routed.attrs["time_label_step"] == 3600


def test_forecast_of_the_national_water_model_runs_along_its_valid_times(network):
    """reference_time of one entry, and time."""
    times = ("time", HOURS, {"standard_name": "time"})
    array = forecasts(network, ("reference_time", DAYS), times, ("reference_time", "time"))
    for given in (array, array[:1]):
        routed = given.route(network, dt="1h")
        np.testing.assert_allclose(routed[0], pulse(network, HOURS).route(network), rtol=1e-14)
        assert routed.attrs["cell_methods"] == "time: mean"


@pytest.mark.parametrize("lead", ["forecastMonth", "leadtime_month", "lead_week", "forecast_hour", "fcst_day", "leadTime"])
def test_leads_that_are_only_counted_are_not_passed_over_for_the_starts(network, lead):
    array = forecasts(network, DAYS, np.arange(1, 7), ("forecast_reference_time", lead))
    with pytest.raises(TimeAxisError, match=f"'{lead}'.*dt="):
        array.route(network)
    assert array.route(network, dt="1h").attrs["cell_methods"] == f"{lead}: mean"


def test_ensemble_named_by_historic_dates_is_no_guess(network):
    array = forecasts(network, DAYS, HOURS, ("member", "time"))
    with pytest.raises(TimeAxisError, match="'member' .*'time' .*time_dim="):
        array.isel(member=[0]).route(network, dt="1h")


def test_forecast_file_on_the_command_line(network, tmp_path):
    runoff = forecasts(network, ("time", DAYS, {"standard_name": "forecast_reference_time"}),
                       ("step", np.arange(1, 7), {"standard_name": "forecast_period", "units": "hours"}))  # fmt: skip
    runoff.to_dataset().to_netcdf(tmp_path / "r.nc")
    network.to_netcdf(tmp_path / "n.nc")
    run = [str(tmp_path / name) for name in ("r.nc", "n.nc", "q.nc")]
    result = CliRunner().invoke(main, ["route", *run, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    with open_dataset(tmp_path / "q.nc") as back:
        q = back["discharge"].transpose("forecast_reference_time", "time", "reach")
        np.testing.assert_allclose(q[2].values, 3 * q[0].values, rtol=1e-14)


# ── how long a step is ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hours", [1.0, 3.0, 1 / 3, 24 / 7])
def test_days_with_six_decimals_are_the_step_they_were(network, hours):
    """1 mm a step over 1 km2 is 1000 m3 in a step: the volume tells the step to 1e-9."""
    days = np.round(np.arange(6) * hours / 24, 6)
    time = ("time", days, {"units": "days since 2001-02-27"})
    network = network.assign(area=("reach", np.ones(3), {"units": "km2"}))
    runoff = pulse(network, time, "mm")
    expected = pulse(network, ("time", np.arange(6)), "mm").route(network, dt=hours * 3600)
    np.testing.assert_allclose(runoff.route(network).values, expected.values, rtol=1e-9)
    decoded = xr.decode_cf(runoff.to_dataset()).runoff
    np.testing.assert_allclose(decoded.route(network).values, expected.values, rtol=1e-9)


def test_stamps_written_late_are_told_to_be_rounded(network):
    late = HOURS + pd.to_timedelta([0, 50, 0, 100, 0, 0], "s")
    with pytest.raises(TimeAxisError, match=r"dt\.round\('h'\)") as error:
        pulse(network, late).route(network)
    assert "ill" not in str(error.value).partition("They look")[2]  # not filled
    rounded = pulse(network, late).pipe(lambda a: a.assign_coords(time=a["time"].dt.round("h")))
    np.testing.assert_array_equal(rounded.route(network).values, pulse(network, HOURS).route(network).values)


@pytest.mark.parametrize("first", ["2001-01", "2001-07"])  # July and August both have 31 days
def test_months_have_no_step(network, first):
    with pytest.raises(TimeAxisError, match="months.*not constant.*days"):
        pulse(network, pd.date_range(first, periods=6, freq="MS")).isel(time=slice(3)).route(network)


def test_years_of_a_calendar_without_leap_days_have_one(network):
    time = xr.date_range("2001", periods=6, freq="YS", calendar="noleap", use_cftime=True)
    assert pulse(network, time).route(network).attrs["time_label_step"] == 365 * 86400


def test_hours_that_nobody_decoded_go_out_as_they_came(network):
    routed = pulse(network, ("time", np.arange(6), {"units": "hours since 2001-02-27"})).route(network)
    np.testing.assert_array_equal(routed.values, pulse(network, HOURS).route(network).values)
    assert routed.time.dtype.kind == "i" and routed.time.attrs == {"units": "hours since 2001-02-27"}


# ── what is no time ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dt", [None, "1h"])
@pytest.mark.parametrize(
    ("time", "message"),
    [
        (HOURS.tz_localize("America/Chicago"), "time zone.*tz_localize"),
        (HOURS.tz_localize("UTC").astype(object), "time zone.*tz_localize"),
        (HOURS.strftime("%Y-%m-%d %H:%M").to_numpy(), "text.*to_datetime.*ISO8601"),
        (HOURS.strftime("%d/%m/%Y %H:%M").to_numpy().astype(str), "text.*day and month"),
        (HOURS.strftime("%Y-%m-%d").to_numpy().astype(np.dtypes.StringDType()), "text.*to_datetime"),
        (pd.period_range("2001-02-27", periods=6, freq="h"), "periods.*to_timestamp"),
        (pd.interval_range(HOURS[0], periods=6, freq="h"), "intervals.*left"),
        (pd.Categorical(HOURS), "categories.*to_datetime"),
        (np.array([True, False] * 3), "bool"),
    ],
    ids=["zone", "zone objects", "iso text", "text", "StringDType", "periods", "intervals", "categories", "bool"],
)
def test_what_is_no_time_is_refused_at_once(network, tmp_path, time, message, dt):
    runoff = pulse(network, HOURS).assign_coords(time=("time", time))
    with pytest.raises(TimeAxisError, match=message):
        runoff.route(network, dt=dt)
    with pytest.raises(TimeAxisError, match=message):
        xroute.route_to_zarr(runoff, network, tmp_path / "q.zarr", dt=dt, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize(
    ("units", "calendar", "way"),
    [
        ("months since 2001-01-01", "standard", "assign_coords"),
        ("years since 2001-01-01", "standard", "assign_coords"),
        ("hours since 2001-01-01", "mayan", "dt="),
        ("hours since simulation start", "standard", "dt=.*start="),
        ("day as %Y%m%d.%f", "standard", "cdo"),
    ],
)
def test_a_file_whose_times_cannot_be_decoded_is_named(network, tmp_path: Path, units, calendar, way, suffix):
    path = tmp_path / f"r{suffix}"
    bounds = (("time", "nv"), np.stack([np.arange(6.0), np.arange(6.0) + 1], axis=1))
    attrs = {"units": units, "calendar": calendar, "bounds": "time_bnds"}
    dataset = pulse(network, ("time", np.arange(6.0), attrs)).to_dataset().assign(time_bnds=bounds)
    dataset.to_netcdf(path) if suffix == ".nc" else dataset.to_zarr(path, consolidated=False)
    with open_dataset(path) as back:
        assert back["time"].attrs["units"] == units and back["runoff"].sum() == 1
        with pytest.raises(TimeAxisError, match=way) as error:
            xroute.with_bounds(back, "runoff").route(network)
        assert path.name in str(error.value) and units in str(error.value)
        np.testing.assert_array_equal(
            back["runoff"].route(network, dt="1h", label="end").values, pulse(network, HOURS).route(network).values
        )


# ── what a stamp means ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shift", ["0h", "30min", "1h"])
def test_bounds_of_the_input_are_those_of_the_discharge(network, tmp_path, shift):
    """CESM stamps the ends of steps, and lately their middles."""
    dataset = with_interval_bounds(pulse(network, HOURS), pd.Timedelta(shift))
    label = {"0h": "start", "30min": "middle", "1h": "end"}[shift]
    routed = xroute.with_bounds(dataset, "runoff").route(network)
    assert routed.attrs["time_label"] == label
    write_discharge(routed, tmp_path / "q.nc")
    with open_dataset(tmp_path / "q.nc") as back:
        np.testing.assert_array_equal(back["time_bnds"].values, dataset["time_bounds"].values)
        assert back["time"].attrs["long_name"] == f"{label} of the step"
    stored = xroute.route_to_zarr(xroute.with_bounds(dataset, "runoff"), network, tmp_path / "q.zarr", progress=False)
    with xr.open_zarr(tmp_path / "q.zarr", chunks=None) as back:
        np.testing.assert_array_equal(back[stored.time.attrs["bounds"]].values, dataset["time_bounds"].values)


def test_bounds_left_behind_in_the_dataset_are_asked_for_once(network, tmp_path):
    runoff = with_interval_bounds(pulse(network, HOURS), HOUR)["runoff"]
    with pytest.warns(UserWarning, match="with_bounds") as caught:
        routed = runoff.route(network)
        write_discharge(routed, tmp_path / "q.nc")
        xr.testing.assert_identical(routed.time, runoff.time)
    assert len(caught) == 1 and caught[0].filename == __file__ and "time_label" not in routed.attrs
    with open_dataset(tmp_path / "q.nc") as back:
        assert "time_bnds" not in back and "bounds" not in back["time"].attrs


def test_a_label_that_the_bounds_deny(network):
    runoff = xroute.with_bounds(with_interval_bounds(pulse(network, HOURS), HOUR), "runoff")
    with pytest.raises(TimeAxisError, match="'start'.*'end'"):
        runoff.route(network, label="start")


def test_a_label_does_not_outlive_its_steps(network):
    """The stamps of a mean over three hours are starts, whatever those of the hours were; xarray keeps attributes."""
    runoff = xroute.with_bounds(with_interval_bounds(pulse(network, HOURS), HOUR), "runoff")
    coarse = runoff.resample(time="3h").mean(keep_attrs=True)
    with pytest.warns(UserWarning, match="time_label.*label="):
        assert "time_label" not in coarse.route(network).attrs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert coarse.route(network, label="start").attrs["time_label"] == "start"


def test_climatologies_are_no_series(network):
    runoff = pulse(network, HOURS)
    runoff["time"].attrs["climatology"] = "climatology_bounds"
    with pytest.raises(TimeAxisError, match="climatolog"):
        runoff.route(network)


def test_the_next_run_begins_where_stamps_at_ends_say(network):
    runoff = pulse(network, HOURS + HOUR)
    whole = runoff.route(network, label="end")
    _, state = runoff[:2].route(network, label="end", return_state=True)
    assert state.attrs["time"] == "2001-02-27T02:00:00"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rest = runoff[2:].route(network, label="end", initial_state=state)
    np.testing.assert_array_equal(rest.values, whole[2:].values)
    with pytest.warns(UserWarning, match="the state holds at"):
        runoff[2:].route(network, label="start", initial_state=state)
