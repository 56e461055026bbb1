"""Time: regular spacing in any calendar, found or given; anything else is an error that names the place."""

from __future__ import annotations

import datetime

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from strategies import DT, chain, runoff_array

import xroute
from xroute.exceptions import TimeAxisError, XRouteError


@pytest.fixture
def network() -> xr.Dataset:
    return chain(3, "linear_storage", tau=(2.0, "h"))


@pytest.fixture
def runoff(network) -> xr.DataArray:
    return runoff_array(network.reach.values, 8, np.random.default_rng(0))


@pytest.mark.parametrize("dt", [60.0, 900.0, 3600.0, 10800.0, 86400.0, 7 * 86400.0, 0.5])
def test_spacing_is_found_from_the_coordinate(dt):
    network = chain(1, "linear_storage", tau=dt)  # a = 1/2 if the step is right
    runoff = runoff_array(network.reach.values, 4, np.random.default_rng(0), dt=dt) * 0.0
    runoff[0, 0] = 1.0
    routed = xroute.route(runoff.assign_attrs(units="m3 s-1"), network)
    np.testing.assert_allclose(routed.values[0], [0.5, 0.25, 0.125, 0.0625], rtol=1e-12)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard", "proleptic_gregorian", "julian", "all_leap"])
def test_calendars(network, runoff, calendar):
    """Days over the end of February: a step is a step in each calendar's own terms."""
    expected = xroute.route(runoff.drop_vars("time"), network, dt=86400.0)
    time = xr.date_range("2000-02-27", periods=8, freq="D", calendar=calendar, use_cftime=True)
    routed = xroute.route(runoff.assign_coords(time=time), network)
    np.testing.assert_array_equal(routed.values, expected.values)
    assert routed.indexes["time"].equals(runoff.assign_coords(time=time).indexes["time"])


def test_a_gap_in_a_calendar(network, runoff):
    days = [datetime.timedelta(days=d) for d in (0, 1, 2, 3, 5, 6, 7, 8)]
    time = [cftime.DatetimeNoLeap(2001, 2, 25) + d for d in days]
    with pytest.raises(TimeAxisError, match="2001-03-02"):  # 25 February + 5 days, no 29th
        xroute.route(runoff.assign_coords(time=time), network)


def test_leap_day_missing_from_a_standard_calendar_is_a_gap(network, runoff):
    time = pd.date_range("2000-02-25", periods=9, freq="D").delete(4)  # no 29 February
    with pytest.raises(TimeAxisError, match="2000-03-01"):
        xroute.route(runoff.assign_coords(time=time), network)


def test_gaps_name_the_place(network, runoff):
    """A peer accepts gaps silently."""
    time = runoff.time.values.copy()
    time[5:] += np.timedelta64(2, "h")
    with pytest.raises(TimeAxisError) as error:
        xroute.route(runoff.assign_coords(time=time), network)
    message = str(error.value)
    assert "2001-02-27T04:00" in message.replace(" ", "T") or "2001-02-27T07:00" in message.replace(" ", "T")


def test_duplicate_times_name_the_place(network, runoff):
    time = runoff.time.values.copy()
    time[4] = time[3]
    with pytest.raises(TimeAxisError, match="(?i)duplicate|twice|repeat|same") as error:
        xroute.route(runoff.assign_coords(time=time), network)
    assert "2001-02-27T03:00" in str(error.value).replace(" ", "T")


def test_decreasing_time(network, runoff):
    with pytest.raises(TimeAxisError, match="(?i)decreas|order|backward|sort"):
        xroute.route(runoff.isel(time=slice(None, None, -1)), network)
    swapped = runoff.isel(time=[0, 1, 2, 4, 3, 5, 6, 7])
    with pytest.raises(TimeAxisError) as error:
        xroute.route(swapped, network)
    assert "2001-02-27T0" in str(error.value).replace(" ", "T")


def test_a_time_that_is_missing(network, runoff):
    time = runoff.time.values.copy()
    time[2] = np.datetime64("NaT")
    with pytest.raises(TimeAxisError, match="NaT|missing"):
        xroute.route(runoff.assign_coords(time=time), network)


def test_months_are_not_regular(network, runoff):
    time = pd.date_range("2001-01-01", periods=8, freq="MS")
    with pytest.raises(TimeAxisError):
        xroute.route(runoff.assign_coords(time=time), network)


@pytest.mark.parametrize(
    "dt",
    [3600, 3600.0, np.float32(3600), np.timedelta64(1, "h"), np.timedelta64(3600 * 10**9, "ns"), pd.Timedelta("1h"),
     datetime.timedelta(hours=1), "1h", "3600", " 3.6e3"],
)  # fmt: skip
def test_the_step_may_be_given(network, runoff, dt):
    expected = xroute.route(runoff, network)
    without = runoff.drop_vars("time")
    routed = xroute.route(without, network, dt=dt)
    np.testing.assert_array_equal(routed.values, expected.values)
    assert "time" not in routed.coords
    np.testing.assert_array_equal(xroute.route(runoff, network, dt=dt).values, expected.values)


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf, "soon", "-1", "0", "nan", "1e", pd.NaT])
def test_an_impossible_step(network, runoff, dt):
    with pytest.raises((TimeAxisError, XRouteError), match="dt"):
        xroute.route(runoff.drop_vars("time"), network, dt=dt)


def test_a_step_that_contradicts_the_coordinate(network, runoff):
    with pytest.raises(TimeAxisError, match="dt") as error:
        xroute.route(runoff, network, dt=900.0)
    assert "900" in str(error.value) and "3600" in str(error.value)


def test_no_coordinate_and_no_step(network, runoff):
    with pytest.raises(TimeAxisError, match="dt"):
        xroute.route(runoff.drop_vars("time"), network)


def test_numbers_are_not_times(network, runoff):
    """Undecoded times have a unit that nobody looked at."""
    with pytest.raises(TimeAxisError, match="dt|decode"):
        xroute.route(runoff.assign_coords(time=np.arange(8)), network)
    routed = xroute.route(runoff.assign_coords(time=np.arange(8)), network, dt=DT)
    np.testing.assert_array_equal(routed.values, xroute.route(runoff, network).values)
    assert routed.time.values.tolist() == list(range(8))


def test_lead_times_as_timedelta(network, runoff):
    """Forecasts count from their start; a timedelta64 coordinate is as regular as any other."""
    lead = runoff.time - runoff.time[0]
    try:
        routed = xroute.route(runoff.assign_coords(time=lead.values), network)
    except TimeAxisError as error:  # or the way out is named
        assert "dt" in str(error)
        routed = xroute.route(runoff.assign_coords(time=lead.values), network, dt=DT)
    np.testing.assert_array_equal(routed.values, xroute.route(runoff, network).values)


def test_lead_times_carry_a_state(network, runoff):
    lead = runoff.assign_coords(time=(runoff.time - runoff.time[0]).values)
    whole = xroute.route(runoff, network)
    _, state = xroute.route(lead.isel(time=slice(4)), network, return_state=True, dt=DT)
    rest = xroute.route(lead.isel(time=slice(4, None)), network, initial_state=state, dt=DT)
    np.testing.assert_array_equal(rest.values, whole.values[:, 4:])


def test_one_step_needs_its_length(network, runoff):
    one = runoff.isel(time=[0])
    with pytest.raises(TimeAxisError, match="dt"):
        xroute.route(one, network)
    routed = xroute.route(one, network, dt=DT)
    np.testing.assert_array_equal(routed.values, xroute.route(runoff, network).isel(time=[0]).values)
    assert routed.time.values == one.time.values


def test_no_steps_at_all(network, runoff):
    routed, state = xroute.route(runoff.isel(time=slice(0)), network, dt=DT, return_state=True)
    assert routed.sizes == {"reach": 3, "time": 0} and routed.dtype == runoff.dtype
    assert (state["outflow"] == 0).all()
    first, state = xroute.route(runoff, network, return_state=True)
    _, after = xroute.route(runoff.isel(time=slice(0)), network, dt=DT, return_state=True, initial_state=state)
    np.testing.assert_array_equal(after["outflow"].values, state["outflow"].values)
    assert "inflow" not in state and "inflow" not in after  # a reservoir remembers none


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_resolutions_of_datetime64(network, runoff, unit):
    time = runoff.time.values.astype(f"datetime64[{unit}]")
    routed = xroute.route(runoff.assign_coords(time=time), network)
    np.testing.assert_array_equal(routed.values, xroute.route(runoff, network).values)


def test_a_step_of_a_day_has_24_hours_everywhere(network):
    """0.0416667 days is 23 substeps in one place of a peer and 24 in another: here they are counted, not divided."""
    daily = runoff_array(network.reach.values, 5, np.random.default_rng(1), dt=86400.0)
    hourly = runoff_array(network.reach.values, 120, np.random.default_rng(1))
    hourly.values[:] = np.repeat(daily.values, 24, axis=-1)
    routed = xroute.route(daily, network, substeps=24)
    expected = xroute.route(hourly, network).values.reshape(3, 5, 24)
    np.testing.assert_allclose(routed.values, expected.mean(-1), rtol=1e-13)
    routed = xroute.route(daily, network, substeps=24, sampling="last")
    np.testing.assert_array_equal(routed.values, expected[..., -1])


def test_no_time_dimension(network, runoff):
    with pytest.raises(XRouteError, match="time"):
        xroute.route(runoff.isel(time=0), network)


def test_periods_are_no_times(network, runoff):
    periods = runoff.assign_coords(time=pd.period_range("2001-02-27", periods=8, freq="h"))
    with pytest.raises(TimeAxisError, match="to_timestamp"):
        xroute.route(periods, network)
