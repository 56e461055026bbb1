"""Time: regular spacing in any calendar, found or given; anything else is an error that names the place."""

from __future__ import annotations

import datetime
import re

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from strategies import DT, chain, runoff_array

import xroute
from xroute.exceptions import TimeAxisError, XRouteError
from xroute.time_dims import find_time_dim
from xroute.times import time_step


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


# ── rounded stamps, and steps that are found all the same ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", [2, 3, 4, 5, 24, 1000, 100_000])
@pytest.mark.parametrize("step", [300, 900, 1200, 3600, 10800, 21600, 86400, 86400 / 7, 3600 / 7])
@pytest.mark.parametrize("start", [0.0, 0.0314, 11_323.5])
def test_days_with_decimals_are_the_step_they_were(n, step, start):
    """Days since 1970 with six decimals are rounded to 0.0864 s."""
    days = np.round(start + np.arange(n) * (step / 86400), 6)
    numbers = xr.DataArray(np.zeros(n), {"time": ("time", days, {"units": "days since 1970-01-01"})}, ("time",))
    decoded = xr.decode_cf(numbers.to_dataset(name="runoff"), decode_times=xr.coders.CFDatetimeCoder("us")).runoff
    assert time_step(decoded, "time") == pytest.approx(step, rel=1e-9)
    assert time_step(numbers, "time") == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize(("units", "decimals", "step"), [("hours", 2, 6000), ("hours", 3, 1200), ("minutes", 0, 6010.0)])
def test_coarser_rounding(units, decimals, step):
    """Within a hundredth of a step."""
    length = {"hours": 3600, "minutes": 60}[units]
    numbers = np.round(np.arange(200) * step / length, decimals)
    time = ("time", numbers, {"units": f"{units} since 2000-01-01"})
    assert time_step(xr.DataArray(np.zeros(200), {"time": time}, ("time",)), "time") == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize("nanoseconds", [44_714_164_320_000, 86_164_090_500_000, 500_000_000, 333_333_333])
@pytest.mark.parametrize("n", [2, 3, 50])
def test_exact_steps_are_kept_however_odd(n, nanoseconds):
    """Half a tide, a sidereal day, and parts of a second."""
    time = np.datetime64("2000-01-01", "ns") + np.arange(n) * np.timedelta64(nanoseconds, "ns")
    assert time_step(xr.DataArray(np.zeros(n), {"time": time}, ("time",)), "time") == pytest.approx(nanoseconds / 1e9, rel=1e-15)


def test_a_given_step_is_compared_with_what_rounding_leaves_open(network, runoff):
    days = np.round(np.arange(8) / 72, 6)  # 20 minutes
    rounded = runoff.assign_coords(time=("time", days, {"units": "days since 2000-01-01"}))
    assert xroute.route(rounded, network, dt="20min").attrs["time_label_step"] == 1200
    for dt in (1201, 1199, 1200.2):
        with pytest.raises(TimeAxisError, match="apart"):
            xroute.route(rounded, network, dt=dt)
    with pytest.raises(TimeAxisError, match="3600 s apart"):
        xroute.route(runoff.isel(time=slice(2)), network, dt=3601)


def test_slow_drift_is_no_rounding(network, runoff):
    time = np.datetime64("2000-01-01", "ns") + np.cumsum([0, *[3600] * 50, *[3620] * 50]).astype("timedelta64[s]")
    runoff = runoff.drop_vars("time").pad(time=(0, 93), constant_values=0.0)
    with pytest.raises(TimeAxisError, match="not regular"):
        xroute.route(runoff.assign_coords(time=time), network)


@pytest.mark.parametrize("cftime", [False, True])
def test_long_series_with_a_gap_name_it(cftime):
    calendar = {"use_cftime": True} if cftime else {}
    time = xr.date_range("1990", periods=20_001, freq="h", **calendar).delete(12_345)
    array = xr.DataArray(np.zeros(20_000), {"time": time}, ("time",))
    with pytest.raises(TimeAxisError, match="1 such places.*reindex") as error:
        time_step(array, "time")
    assert "12344 and 12345" in str(error.value)


@pytest.mark.parametrize("freq", ["MS", "ME", "QS", "YS", "15D*"])
def test_calendar_steps(freq):
    time = pd.date_range("2001-01-01", periods=7, freq="MS" if "*" in freq else freq)
    time = time + pd.Timedelta("14D") if "*" in freq else time
    with pytest.raises(TimeAxisError, match="(months|years).*not constant"):
        time_step(xr.DataArray(np.zeros(7), {"time": time}, ("time",)), "time")


@pytest.mark.parametrize("calendar", [None, "noleap"])
def test_the_way_out_of_months_works_as_it_is_written(calendar):
    kind = {"calendar": calendar, "use_cftime": True} if calendar else {}
    time = xr.date_range("2001-01-01", periods=4, freq="MS", **kind)
    runoff = xr.DataArray(np.arange(4.0), {"time": time}, ("time",))
    with pytest.raises(TimeAxisError) as error:
        time_step(runoff, "time")
    advice = re.search(r"e\.g\. (runoff\.reindex\(.*?'ffill'\))", str(error.value))[1]
    names = {"runoff": runoff, "pd": pd, "xr": xr, "first_day": "2001-01-01", "last_day": "2001-04-30"}
    daily = eval(advice, names)
    assert time_step(daily, "time") == 86400 and daily.size == 120 and daily.values.tolist().count(1.0) == 28


def test_weeks_and_months_of_30_days_are_steps():
    weeks = pd.date_range("2001-01-01", periods=9, freq="7D")
    months = xr.date_range("2001", periods=9, freq="MS", calendar="360_day", use_cftime=True)
    for time, days in ((weeks, 7), (months, 30)):
        assert time_step(xr.DataArray(np.zeros(9), {"time": time}, ("time",)), "time") == days * 86400


# ── what a stamp means ────────────────────────────────────────────────────────────────────────────────────────────────


BOUNDS = np.stack([np.arange(8), np.arange(8) + 1], axis=1) * np.timedelta64(1, "h") + np.datetime64("2001-02-27", "ns")


def bounded(runoff: xr.DataArray, part: float, dims=("time", "nv"), bounds=BOUNDS, **attrs) -> xr.Dataset:
    stamps = BOUNDS[:, 0] + np.timedelta64(int(part * 3600), "s")
    time = ("time", stamps, {"bounds": "time_bnds"})
    return runoff.assign_coords(time=time).to_dataset(name="runoff").assign(time_bnds=(dims, bounds, attrs))


@pytest.mark.parametrize(("part", "label"), [(0, "start"), (0.5, "middle"), (1, "end")])
@pytest.mark.parametrize("kind", ["as it is", "descending", "bounds first", "in minutes", "undecoded", "cftime", "dask"])
def test_bounds_say_what_a_stamp_is(network, runoff, tmp_path, part, label, kind):
    dataset = bounded(runoff, part)
    minutes = (BOUNDS - np.datetime64("2001-02-27")) / np.timedelta64(1, "m")
    if kind == "descending":
        dataset = bounded(runoff, part, bounds=BOUNDS[:, ::-1])
    elif kind == "bounds first":
        dataset = bounded(runoff, part, ("nv", "time"), BOUNDS.T)
    elif kind == "in minutes":
        dataset = bounded(runoff, part, bounds=minutes, units="minutes since 2001-02-27")
    elif kind == "undecoded":
        hours = ("time", np.arange(8) + part, {"units": "hours since 2001-02-27", "bounds": "time_bnds"})
        dataset = bounded(runoff, part, bounds=minutes / 60).assign_coords(time=hours)
    elif kind == "cftime":
        edges = xr.date_range("2001-02-27", periods=17, freq="30min", calendar="noleap", use_cftime=True)
        time = ("time", edges[int(2 * part) :: 2][:8], {"bounds": "time_bnds"})
        dataset = bounded(runoff, part, bounds=np.stack([edges[:-1:2], edges[2::2]], axis=1)).assign_coords(time=time)
    elif kind == "dask":
        dataset = dataset.chunk(time=3)
    attrs = xroute.with_bounds(dataset, "runoff").attrs
    assert (attrs["time_label"], attrs["time_label_step"]) == (label, 3600.0)
    assert "time_step" not in attrs


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (BOUNDS + np.arange(8)[:, None] // 4 * np.timedelta64(1, "h"), "do not begin where the one before ends"),
        (BOUNDS[:, [0, 0]], "no length"),
        (np.stack([BOUNDS[:, 0], BOUNDS[:, 1] + np.timedelta64(1, "h")], axis=1), "not of one step"),
        (np.stack([BOUNDS[[0] * 8, 0], BOUNDS[:, 1]], axis=1), "accumulated"),
        (BOUNDS - np.timedelta64(15, "m"), "at 0.25 of"),
        (np.where(np.arange(16).reshape(8, 2) == 5, np.datetime64("NaT"), BOUNDS), "1 missing"),
        (np.arange(16.0).reshape(8, 2), "numbers"),
    ],
    ids=["shifted", "empty", "overlap", "accumulated", "quarter", "missing", "numbers"],
)
def test_bounds_that_are_not_those_of_a_series(runoff, bounds, message):
    with pytest.raises(TimeAxisError, match=message):
        xroute.with_bounds(bounded(runoff, 0, bounds=bounds), "runoff")


def test_a_single_time_has_the_step_of_its_bounds(network, runoff):
    one = xroute.with_bounds(bounded(runoff, 1).isel(time=[0]), "runoff")
    routed = xroute.route(one, network)
    np.testing.assert_array_equal(routed.values, xroute.route(one, network, dt="1h", label="end").values)
    with pytest.raises(TimeAxisError, match="7200"):
        xroute.route(one, network, dt="2h")
    with pytest.raises(TimeAxisError, match="dt="):  # cut out of a longer series it may be anything
        xroute.route(xroute.with_bounds(bounded(runoff, 1), "runoff").resample(time="12h").mean(keep_attrs=True), network)


@pytest.mark.parametrize("label", ["start", "middle", "end"])
@pytest.mark.parametrize("calendar", ["datetime64", "noleap"])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_state_holds_at_the_end_of_its_step(network, runoff, label, calendar, lazy):
    use = {} if calendar == "datetime64" else {"calendar": calendar, "use_cftime": True}
    runoff = runoff.assign_coords(time=xr.date_range("2001-02-28T17:00", periods=8, freq="h", **use))
    runoff = runoff.chunk(time=3) if lazy else runoff
    _, state = xroute.route(runoff, network, label=label, return_state=True)
    assert state.attrs["time"] == {
        "start": "2001-03-01T01:00:00", "middle": "2001-03-01T00:30:00", "end": "2001-03-01T00:00:00"
    }[label]  # fmt: skip


def test_an_unknown_label_claims_no_time(network, runoff):
    with pytest.warns(UserWarning, match="with_bounds"):
        _, state = xroute.route(bounded(runoff, 1)["runoff"], network, return_state=True)
    assert "time" not in state.attrs


def test_labels_are_checked(network, runoff):
    with pytest.raises(TimeAxisError, match="label is one of"):
        xroute.route(runoff, network, label="left")
    with pytest.raises(TimeAxisError, match="time_label"):
        xroute.route(runoff.assign_attrs(time_label="right"), network)
    assert xroute.route(runoff, network).attrs["time_label"] == "start"
    assert xroute.route(runoff.assign_attrs(time_label="end"), network).attrs["time_label"] == "end"
    assert xroute.route(runoff.assign_attrs(time_label="end"), network, label="middle").attrs["time_label"] == "middle"


def test_a_value_at_the_end_of_a_step_says_so(network, runoff):
    at = {lb: xroute.route(runoff, network, sampling="last", label=lb).attrs["cell_methods"] for lb in ("start", "end")}
    assert at == {"start": "time: point (comment: at the end of the step)", "end": "time: point"}


# ── which dimension ───────────────────────────────────────────────────────────────────────────────────────────────────


DAYS, LEADS = pd.date_range("2001-02-27", periods=3), pd.timedelta_range("1h", periods=4, freq="h")
VALID = DAYS.values[:, None] + LEADS.values


@pytest.mark.parametrize(
    ("coords", "found"),
    [
        ({"time": DAYS, "step": LEADS}, None),
        ({"time": DAYS, "step": LEADS, "valid_time": (("time", "step"), VALID)}, "step"),
        ({"init_time": DAYS, "lead_time": LEADS}, "lead_time"),
        ({"init_time": DAYS, "lead_time": np.arange(4)}, "lead_time"),
        ({"forecast_reference_time": DAYS, "leadtime": LEADS}, "leadtime"),
        ({"time": DAYS, "lead": np.arange(4)}, None),
        ({"time": DAYS, "lead": ("lead", np.arange(4), {"units": "days"})}, None),
        ({"time": ("time", np.arange(3), {"units": "days since 2000-01-01", "standard_name": "forecast_reference_time"}),
          "step": ("step", np.arange(4), {"units": "hours", "standard_name": "forecast_period"})}, "step"),
        ({"init_time": DAYS, "time": pd.date_range("2001", periods=4)}, None),
        ({"member": DAYS, "valid_time": VALID[0]}, None),
        ({"member": np.arange(3), "valid_time": VALID[0]}, "valid_time"),
        ({"member": np.arange(3), "date": np.array(["2001-01-01", "2001-01-02", "2001-01-03", "2001-01-04"])}, "date"),
        ({"member": np.arange(3), "time": np.arange(4)}, "time"),
        ({"a": np.arange(3), "b": np.arange(4)}, None),
    ],
)  # fmt: skip
def test_which_dimension(coords, found):
    dims = list(coords)[:2]
    array = xr.DataArray(np.zeros((3, 4, 2)), coords | {"reach": [1, 2]}, (*dims, "reach"))
    if found is None:
        with pytest.raises(TimeAxisError, match=rf"{dims[0]!r}.*{dims[1]!r}.*Give time_dim="):
            find_time_dim(array)
    else:
        assert find_time_dim(array) == found
    assert find_time_dim(array, "reach") == "reach"  # asked for by name


def test_times_beside_the_dimension(network, runoff):
    """WRF numbers nothing along Time, and has the times beside it."""
    beside = runoff.drop_vars("time").rename(time="Time").assign_coords(XTIME=("Time", runoff.time.values))
    np.testing.assert_array_equal(xroute.route(beside, network).values, xroute.route(runoff, network).values)


def test_a_run_looks_at_its_times_once(network, runoff, monkeypatch):
    from xroute import spacing

    looked = []
    monkeypatch.setattr(spacing, "calendar_steps", lambda values: looked.append("calendar"))
    monkeypatch.setattr("xroute.times.find_step", lambda *given: looked.append("step") or spacing.find_step(*given))
    runoff.route(network)
    assert looked == ["step"]  # and hours are no months
