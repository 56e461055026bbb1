"""Observations at gauges: which reach, which steps of runoff, in which units; and what can be wrong, by name.

Where steps lie is worked out here from dates alone, value by value; nothing of what is judged is asked.
"""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, UnitsError, XRouteError
from xroute.learning.observed import match_observed, without_variance
from xroute.series import as_series

IDS = [11, 7, 2**53 + 1, 5, 90]
HOURS = pd.date_range("2001-03-01", periods=24 * 12, freq="h")


def river() -> xroute.Network:
    return xroute.Network(
        xr.Dataset(
            {"downstream": ("reach", [2**53 + 1, 2**53 + 1, 5, 0, 0]), "k": ("reach", [3600.0] * 5), "x": ("reach", [0.2] * 5)},
            {"reach": IDS}, {"scheme": "muskingum"},
        )
    )  # fmt: skip


def runoff(time: object = HOURS, **attrs: object) -> xr.DataArray:
    n = len(time)  # type: ignore[arg-type]
    return xr.DataArray(
        np.ones((n, 5)), {"time": time, "reach": IDS}, ("time", "reach"), "runoff", {"units": "m3 s-1", **attrs}
    )


def series(time: object = HOURS, ids: object = (5, 11), **attrs: object) -> xr.DataArray:
    """Discharge, each of whose values is another, on time and reach."""
    values = 1.0 + np.arange(len(time) * len(ids)).reshape(len(time), len(ids))  # type: ignore[arg-type]
    return xr.DataArray(
        values, {"time": time, "reach": list(ids)}, ("time", "reach"), "discharge", {"units": "m3 s-1", **attrs}
    )


def covered(found, forcing, label="start"):
    """When each observed step begins and ends, by the runoff's stamps."""
    time, step = forcing["time"].values, np.diff(forcing["time"].values)[0]
    begin = time - {"start": 0 * step, "end": step, "middle": step / 2}[label]
    edges = np.append(begin, begin[-1] + step)
    at = found.first + found.every * np.arange(found.n_steps + 1)
    return list(zip(edges[at[:-1]], edges[at[1:]], strict=True))


# ── which steps ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_steps_in_any_order_with_gaps():
    rng = np.random.default_rng(1)
    q = series()
    some = q.isel(time=rng.permutation(q.sizes["time"])[:150])
    found = match_observed(some, runoff(), river())
    whole = q.where(q["time"].isin(some["time"])).sel(time=slice(some["time"].min(), some["time"].max()))
    assert found.every == 1 and found.first == int(np.flatnonzero(HOURS == some["time"].values.min())[0])
    np.testing.assert_array_equal(found.values, whole.transpose("reach", "time").values)
    np.testing.assert_array_equal(found.times, whole["time"].values)
    assert found.reach.tolist() == [3, 0] and found.reach_ids.tolist() == [5, 11]


@pytest.mark.parametrize("label", ["start", "middle", "end"])
@pytest.mark.parametrize("mine", ["start", "end"])
@pytest.mark.parametrize("every", [1, 3, 24])
def test_stamps_are_of_intervals(label, mine, every):
    """Each step covers the interval that its stamp is of, whatever the runoff's stamps are of."""
    length = pd.Timedelta(f"{every}h")
    begin = pd.date_range("2001-03-02", periods=5, freq=length)
    shift = {"start": 0 * length, "middle": length / 2, "end": length}
    forcing = runoff(HOURS + {"start": 0, "end": 1}[mine] * pd.Timedelta("1h"), time_label=mine)
    found = match_observed(series(begin + shift[label], time_label=label), forcing, river())
    assert found.every == every and found.n_steps == 5
    assert covered(found, forcing, mine) == list(zip(begin.values, (begin + length).values, strict=True))
    np.testing.assert_array_equal(found.times, (begin + shift[label]).values)


@pytest.mark.parametrize("mine", ["start", "end", "middle"])
def test_what_says_nothing_has_the_stamps_of_the_runoff(mine):
    found = match_observed(series(HOURS[5:40]), runoff(time_label=mine), river())
    assert (found.first, found.every, found.n_steps) == (5, 1, 35)


def test_bounds_say_what_stamps_are_of():
    days = pd.date_range("2001-03-02 12:00", periods=4)
    q = series(days)
    half = pd.Timedelta("12h")
    ds = q.to_dataset().assign_coords(time=("time", days, {"bounds": "time_bnds"}))
    ds["time_bnds"] = (("time", "nv"), np.stack([days - half, days + half], axis=1))
    found = match_observed(ds, runoff(), river())
    assert (found.first, found.every) == (24, 24)


@pytest.mark.parametrize("label", ["start", "end"])
def test_resampled_discharge_is_of_the_steps_that_were_resampled(label):
    """``resample`` keeps what was noted of hourly stamps; its groups are of stamps, from midnight to 23:00."""
    net, forcing = river(), runoff(time_label=label)
    q = (forcing * np.random.default_rng(0).random(forcing.shape)).assign_attrs(forcing.attrs).route(net)
    for keep in (True, False):
        with xr.set_options(keep_attrs=keep):
            daily = q.resample(time="1D").mean().assign_attrs(units="m3 s-1")
        if not keep and label == "end":
            continue  # then nothing says that they are not of the days that they are stamped with
        found = match_observed(daily, forcing, net)
        at = found.first + found.every * np.arange(found.n_steps)
        means = np.stack([q.values[i : i + 24].mean(axis=0) for i in at], axis=1)
        np.testing.assert_allclose(found.values, means[[IDS.index(i) for i in found.reach_ids]], rtol=1e-12)


def test_days_with_gaps_and_days_that_are_not_whole():
    days = pd.date_range("2001-02-27", periods=20)
    q = series(days).isel(time=[0, 3, 4, 6, 9, 19])
    found = match_observed(q, runoff(), river())
    assert (found.first, found.every, found.n_steps) == (24, 24, 7)
    assert found.times.astype("datetime64[D]").astype(str).tolist() == [f"2001-03-{d:02d}" for d in range(2, 9)]
    np.testing.assert_array_equal(np.isfinite(found.values[0]), [True, True, False, True, False, False, True])
    assert found.values[0][[0, 1, 3, 6]].tolist() == q.sel(reach=5).values[[1, 2, 3, 4]].tolist()
    assert found.notes == ("2 observed steps outside of the runoff's time are not used",)
    late = match_observed(series(days + pd.Timedelta("6h")).isel(time=slice(2, 6)), runoff(), river())
    assert (late.first, late.every, late.n_steps) == (6, 24, 4)


def test_a_step_of_several_days_is_told_of():
    every_other = series(pd.date_range("2001-03-01", periods=5, freq="2D"))
    with pytest.warns(UserWarning, match=r"2 d apart.*resample\(time='1D'\)"):
        found = match_observed(every_other, runoff(), river())
    assert found.every == 48
    days = match_observed(every_other.resample(time="1D").mean(), runoff(), river())
    assert days.every == 24 and np.isfinite(days.values[0]).tolist() == [True, False] * 4 + [True]
    assert match_observed(every_other, runoff(), river(), observed_step="1D").every == 24


def test_moments_are_of_the_step_with_their_stamp():
    q = series(pd.date_range("2001-03-02 08:00", periods=4), cell_methods="time: point")
    found = match_observed(q, runoff(), river())
    assert (found.first, found.every, found.n_steps) == (32, 1, 73)
    assert np.flatnonzero(np.isfinite(found.values[0])).tolist() == [0, 24, 48, 72]


def test_other_calendars_leads_and_numbers():
    net = river()
    real = series(HOURS[5:9]).convert_calendar("standard", use_cftime=True)
    assert match_observed(real, runoff(), net).first == 5
    assert match_observed(series(HOURS[5:9]), runoff().convert_calendar("gregorian", use_cftime=True), net).first == 5
    same = xr.date_range("2001-02-28", periods=60, freq="6h", calendar="noleap", use_cftime=True)
    gaps = match_observed(series(same[[4, 5, 8]]), runoff(same), net)
    assert (gaps.first, gaps.n_steps) == (4, 5) and gaps.times[2] == same[6]
    with pytest.raises(TimeAxisError, match=r"calendars.*convert_calendar\('noleap'\)"):
        match_observed(series(HOURS), runoff(same), net)
    with pytest.raises(TimeAxisError, match="kinds or calendars"):
        match_observed(series(same), runoff(xr.date_range("2001-03-01", periods=9, calendar="360_day", use_cftime=True)), net)
    begin = np.datetime64("2001-03-01", "ns")
    leads = runoff().rename(time="step").assign_coords(step=HOURS.values - begin, time=begin)
    assert match_observed(series(HOURS[3:9]), leads, net).first == 3
    of_leads = series().rename(time="step").assign_coords(step=HOURS.values - begin).isel(step=slice(2, 9))
    assert match_observed(of_leads, leads, net).first == 2
    counts = runoff(np.arange(288) * 3600)
    days = match_observed(series(np.arange(1, 4) * 86400), counts, net, dt="1h")
    assert (days.first, days.every) == (24, 24)
    plain = match_observed(series().drop_vars("time"), runoff().drop_vars("time"), net, dt="1h")
    assert (plain.first, plain.every, plain.n_steps) == (0, 1, 288)
    with pytest.raises(TimeAxisError, match="nobody knows"):
        match_observed(series(), runoff().drop_vars("time"), net, dt="1h")
    with pytest.raises(TimeAxisError, match="288 steps where the runoff has 10"):
        match_observed(series().drop_vars("time"), runoff(HOURS[:10]).drop_vars("time"), net, dt="1h")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: q.assign_coords(time=q["time"] + np.timedelta64(9999, "D")), "no time in common: 2028.* and 2001-03-01"),
        (lambda q: series(pd.date_range("2001-03-02", periods=90, freq="15min")), r"15 min, finer .* 1 h.*resample\(time='1h'\)"),
        (lambda q: series(pd.date_range("2001-03-02", periods=9, freq="90min")), r"1.5 h, which are no multiple.*'3h'"),
        (lambda q: xr.concat([q, q.isel(time=[3, 4])], "time"), "2 times .* more than once, first 2001-03-01T03:00:00"),
        (lambda q: q.assign_coords(time=q["time"] + np.timedelta64(30, "m")), "begin between the runoff's.*0.5 of a step"),
        (lambda q: series(pd.date_range("2001-01-01", periods=9, freq="MS")), "follows the calendar by months"),
        (lambda q: series(HOURS[[0, 24, 48, 72, 96, 121]]), "not regular: 25 h.*most are 1 d"),
        (lambda q: q.isel(time=0), "no dimension of time"),
        (lambda q: q.assign_coords(time=HOURS.tz_localize("UTC")), r"time zone \(UTC\).*observed\.assign_coords"),
        (lambda q: q.assign_coords(time=HOURS.astype(str)), r"holds text.*observed\.assign_coords"),
        (lambda q: q.isel(time=[]), "has no times"),
        (lambda q: q.transpose("time", "reach").to_pandas().tz_localize("UTC"), r"time zone \(UTC\).*tz_localize\(None\)"),
    ],
)  # fmt: skip
def test_times_that_are_refused(change, message):
    with pytest.raises(TimeAxisError, match=message):
        match_observed(change(series()), runoff(), river())


def test_hourly_observations_of_daily_runoff():
    days = pd.date_range("2001-03-01", periods=12)
    with pytest.raises(TimeAxisError, match=r"finer than the runoff's of 1 d.*observed.resample\(time='1D'\).mean\(\)"):
        match_observed(series(), runoff(days), river())
    found = match_observed(series().resample(time="1D").mean(), runoff(days), river())  # which is what it says
    assert (found.first, found.every, found.n_steps) == (0, 1, 12)


def test_noon_is_most_likely_the_middle_of_a_day():
    noon = pd.date_range("2001-03-01 12:00", periods=5)
    with pytest.warns(UserWarning, match="12:00, which is taken as the start"):
        assert match_observed(series(noon), runoff(), river()).first == 12
    assert match_observed(series(noon, time_label="middle"), runoff(), river()).first == 0
    assert match_observed(series(noon), runoff(), river(), observed_label="middle").first == 0


# ── which reach ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gauges_on_a_dimension_of_their_own():
    q = series(ids=(5, 11, 5)).rename(reach="station").assign_coords(
        station=["a", "b", "c"], reach=("station", [5, 11, 5]), lon=("station", [1.0, 2.0, 3.0]), country="NA"
    )  # fmt: skip
    found = match_observed(q, runoff(), river())
    assert found.reach.tolist() == [3, 0, 3] and found.gauge.tolist() == ["a", "b", "c"]
    again = found.labelled()
    assert again.dims == ("station", "time") and again["reach"].values.tolist() == [5, 11, 5]
    assert again["lon"].values.tolist() == [1.0, 2.0, 3.0] and again["country"].item() == "NA"
    assert again.equals(q.transpose("station", "time"))
    part = found.of_gauges([False, True, True]).labelled()
    assert part["station"].values.tolist() == ["b", "c"] and part["lon"].values.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("name", ["reach", "comid", "rivid", "COMID", "feature_id", "LINKNO"])
def test_ids_of_reaches_by_whatever_name(name):
    q = series(ids=(2**53 + 1, 7)).rename(reach="gauge").assign_coords(gauge=[1, 2], **{name: ("gauge", [2**53 + 1, 7])})
    assert match_observed(q, runoff(), river()).reach_ids.tolist() == [2**53 + 1, 7]
    ds = q.reset_coords(name)  # where ids are a variable of the file, and no coordinate
    assert match_observed(ds, runoff(), river()).reach.tolist() == [2, 1]


@pytest.mark.parametrize("where", ["reach", "gauge", "both"])
def test_a_single_series(where):
    q = series(ids=(5,)).isel(reach=0, drop=True)
    coords = {"reach": {"reach": 5}, "gauge": {"gauge": 5}, "both": {"gauge": "Rundu", "reach": 5}}[where]
    found = match_observed(q.assign_coords(coords), runoff(), river())
    assert found.reach.tolist() == [3] and found.gauge.tolist() == ["Rundu" if where == "both" else 5]
    assert found.dim == ("reach" if where == "reach" else "gauge")
    with pytest.raises(AlignmentError, match="nothing says of which reach"):
        match_observed(q, runoff(), river())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: q.assign_coords(reach=[5, 4]), r'1 of 2 gauges .* the network does not have: 4, .*extra="drop"'),
        (lambda q: q.assign_coords(reach=[3, 4]), "2 of 2 gauges .* 3, 4.*its reaches are 11.*right network"),
        (lambda q: q.assign_coords(reach=[5, 5]), "stand more than once: 5.*dimension of their own"),
        (lambda q: q.expand_dims(member=[1, 2]), r"dimensions beside 'reach' and time: 'member'.*observed\.isel\(member=0\)"),
        (lambda q: q.rename(reach="gauge").assign_coords(gauge=["a", "b"]), r"observed.assign_coords\(reach=\('gauge', ids\)\)"),
        (lambda q: q.rename(reach="gauge").drop_vars("gauge"), "no ids along 'gauge'"),
        (lambda q: q.assign_coords(reach=["5", "11"]), r"text.*observed\['reach'\]\.astype\(\"int64\"\)"),
        (lambda q: q.isel(reach=[]), "no gauges"),
        (
            lambda q: q.rename(reach="gauge").assign_coords(gauge=["a", "b"], reach=("gauge", [5, np.nan])),
            "1 gauges .* have no reach.*'b'",
        ),
        (
            lambda q: q.rename(reach="gauge").assign_coords(gauge=["a", "a"], reach=("gauge", [5, 7])),
            "labels of .* 'gauge' stand more than once: 'a'",
        ),
        (
            lambda q: q.rename(reach="gauge").assign_coords(gauge=["a", "b"], reach=("gauge", [5, 4])),
            r"not have: 4 \(gauges 'b'\)",
        ),
    ],
)
def test_gauges_that_are_refused(change, message):
    with pytest.raises(AlignmentError, match=message):
        match_observed(change(series()), runoff(), river())


def test_gauges_outside_are_left_out_if_asked():
    q = series(ids=(5, 4, 11))
    with pytest.warns(UserWarning, match="1 gauges .* left out: 4"):
        found = match_observed(q, runoff(), river(), extra="drop")
    np.testing.assert_array_equal(found.values, q.sel(reach=[5, 11]).values.T)
    assert any("4" in note for note in found.notes)
    with pytest.raises(AlignmentError, match="No gauge is in it"):
        match_observed(q.isel(reach=[1]), runoff(), river(), extra="drop")


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("units", "size"), [("ft3 s-1", 0.3048**3), ("m3/s", 1.0), ("L s-1", 1e-3), ("m3 d-1", 1 / 86400)])
def test_units_of_a_volume_flux(units, size):
    q = series(units=units)
    found = match_observed(q, runoff(), river())
    np.testing.assert_allclose(found.values, q.values.T * size, rtol=1e-14)
    assert found.labelled().attrs["units"] == "m3 s-1"


@pytest.mark.parametrize("units", ["mm d-1", "m", "kg m-2 s-1", "degC", "furlong", "m3"])
def test_units_that_are_none_of_a_flux(units):
    with pytest.raises(UnitsError, match=f"observed discharge.*{units}"):
        match_observed(series(units=units), runoff(), river())


def test_no_units_are_told_of():
    q = series()
    del q.attrs["units"]
    with pytest.warns(UserWarning, match="no units: it is taken in m3 s-1"):
        found = match_observed(q, runoff(), river())
    np.testing.assert_array_equal(found.values, q.values.T)


def test_quantities_of_pint():
    pint = pytest.importorskip("pint")
    q = series()
    found = match_observed(q.drop_attrs() * pint.UnitRegistry().Unit("ft^3/s"), runoff(), river())
    np.testing.assert_allclose(found.values, q.values.T * 0.3048**3, rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "message", "kind"),
    [
        (lambda q: q.where(q > 5, -999.0), r"5 values .* -999, .* gauges 5, 11; first at 2001-03-01T00:00:00", XRouteError),
        (lambda q: q.where(q > 5, -9999.0).assign_attrs(units="ft3 s-1"), "-9999", XRouteError),
        (lambda q: q.where(q != 12, np.inf), r"1 values .* infinite, at gauges 11; first at 2001-03-01T05", XRouteError),
        (lambda q: q * 0 + 3, r"do not vary at 2 gauges.*5, 11.*drop_sel\(reach=\[5, 11\]\)", XRouteError),
        (lambda q: q.where((q["reach"] != 5) | (q == 3)), "single value.*: 5", XRouteError),
        (lambda q: q.where(False), "NaN at all 2 gauges", XRouteError),
        (lambda q: q.astype(object), "not a number but object", ParameterError),
        (lambda q: q > 5, "not a number but bool", ParameterError),
    ],
)
def test_values_that_are_refused(change, message, kind):
    q = series()
    with pytest.raises(kind, match=message), xr.set_options(keep_attrs=True):
        match_observed(change(q), runoff(), river())


def test_what_never_varies_may_stay_if_asked_and_only_the_time_of_the_runoff_counts():
    q = series().copy()
    q[:48, 0] = 2.0
    assert match_observed(q, runoff(), river()).n_gauges == 2
    with pytest.raises(XRouteError, match="do not vary at 1 gauges"):
        match_observed(q, runoff(HOURS[:48]), river())
    assert match_observed(q, runoff(HOURS[:48]), river(), variance=False).thin().tolist() == [True, False]
    assert without_variance(np.array([[np.nan, 1.0], [1.0, 1.0], [1.0, 2.0], [np.nan] * 2])).tolist() == [True, True, False, True]


def test_a_gauge_without_values_is_left_out_with_a_word():
    q = series().where(series()["reach"] != 5)
    with pytest.warns(UserWarning, match="1 gauges have no value in the runoff's time and are left out: 5"):
        found = match_observed(q, runoff(), river())
    assert found.gauge.tolist() == [11] and found.reach.tolist() == [0]


def test_only_what_is_of_use_is_read():
    """Of a series on Dask, only chunks in the runoff's time and of gauges in the network are computed."""
    da = pytest.importorskip("dask.array")
    time = pd.date_range("2000-01-01", periods=24 * 800, freq="h")
    read = []

    def load(block_info=None):
        place = block_info[None]["array-location"]
        read.append(tuple(place))
        return 1.0 + np.arange(np.prod([b - a for a, b in place])).reshape([b - a for a, b in place])

    data = da.map_blocks(load, chunks=((240,) * 80, (1, 1, 1)), dtype=float)
    q = xr.DataArray(data, {"time": time, "reach": [5, 4, 11]}, ("time", "reach"), attrs={"units": "m3 s-1"})
    read.clear()
    with pytest.warns(UserWarning, match="left out: 4"):
        match_observed(q, runoff(), river(), extra="drop")
    first = int(np.flatnonzero(time == HOURS[0])[0])
    assert read and all(a[1] > first and a[0] < first + 288 and b[0] != 1 for a, b in read)


# ── what observations are given as ──────────────────────────────────────────────────────────────────────────────────────


def test_tables_files_and_datasets(tmp_path):
    pytest.importorskip("netCDF4")
    q = series(HOURS[10:40])
    net, forcing = river(), runoff()
    expected = match_observed(q, forcing, net)
    wide = q.to_pandas()
    wide.to_csv(tmp_path / "wide.csv")
    long = q.to_dataframe("flow").reset_index()
    long.to_csv(tmp_path / "long.csv", index=False)
    q.to_netcdf(tmp_path / "q.nc")
    tables = [wide, long, wide.rename(columns=str), long.set_index("time"), tmp_path / "wide.csv", str(tmp_path / "long.csv")]
    for given in (*tables, q.to_dataset(), q.to_dataset(name="whatever"), tmp_path / "q.nc"):
        if any(given is t for t in tables):
            with pytest.warns(UserWarning, match="no units"):
                found = match_observed(given, forcing, net)
        else:
            found = match_observed(given, forcing, net)
        order = np.argsort(found.reach)
        np.testing.assert_array_equal(found.values[order], expected.values[np.argsort(expected.reach)])
        assert (found.first, found.every) == (10, 1) and set(found.reach_ids) == {5, 11}
    one = wide[5]
    one.attrs["units"] = "ft3 s-1"
    np.testing.assert_allclose(match_observed(one, forcing, net).values[0], wide[5].values * 0.3048**3)


def test_ids_of_a_table_are_those_of_the_network_as_text_or_numbers(tmp_path):
    """In a table all is text: where the network's ids are text, those of digits are, too."""
    net = xroute.Network(
        xr.Dataset(
            {"downstream": ("reach", ["20", ""]), "k": ("reach", [9e3] * 2), "x": ("reach", [0.1] * 2)}, {"reach": ["10", "20"]},
            {"scheme": "muskingum"},
        )
    )  # fmt: skip
    series(HOURS[:9], ids=(20,)).to_pandas().to_csv(tmp_path / "a.csv")
    with pytest.warns(UserWarning, match="no units"):
        assert match_observed(tmp_path / "a.csv", runoff(), net).reach_ids.tolist() == ["20"]


def test_what_tables_get_wrong(tmp_path):
    """Names in place of ids, dates whose order of day and month is anyone's guess, dates that the runoff does not have."""
    wide = series(HOURS[:9]).to_pandas()
    with pytest.raises(AlignmentError, match=r"called 'a', 'b', and ids of reaches are whole numbers: 11, 7.*Name the columns"):
        match_observed(wide.set_axis(["a", "b"], axis=1), runoff(), river())
    with pytest.raises(AlignmentError, match="called '5', 'b'"):
        match_observed(wide.set_axis(["5", "b"], axis=1), runoff(), river())
    wide.set_axis(wide.index.strftime("%m/%d/%Y %H:%M")).to_csv(tmp_path / "us.csv", index_label="time")
    with pytest.raises(TimeAxisError, match="no times such as 2001-01-01"):
        match_observed(tmp_path / "us.csv", runoff(), river())
    (tmp_path / "empty.csv").touch()
    with pytest.raises(XRouteError, match=r"empty\.csv is empty\. Write it again: a column of times"):
        match_observed(tmp_path / "empty.csv", runoff(), river())
    zoned = wide.tz_localize("UTC").tz_convert("Europe/Madrid")
    zoned.to_csv(tmp_path / "zoned.csv", index_label="time")
    with pytest.warns(UserWarning, match="no units"):
        assert match_observed(tmp_path / "zoned.csv", runoff(), river()).first == 0  # text that says its zone is no guess
    counted = runoff(pd.date_range("1970-01-01", periods=48, freq="h"))
    with pytest.raises(TimeAxisError, match="counted from 1970.*start="):
        match_observed(wide, counted, river())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 2], "not a list"),
        (xr.Dataset({"a": series(), "b": series()}), r"several variables \('a', 'b'\): give one alone, observed=dataset\[NAME\]"),
        (pd.DataFrame({5: [1.0, 2.0]}), "without times"),
        (pd.Series([1.0], HOURS[:1]), "without a name"),
    ],
)
def test_what_is_no_series(given, message):
    with pytest.raises(XRouteError, match=message):
        as_series(given)


# ── parts of it ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_parts_and_other_networks():
    days = pd.date_range("2001-03-02", periods=9)
    found = match_observed(series(days), runoff(), river())
    steps = found.select(slice("2001-03-04", "2001-03-06"), "train")
    assert steps == slice(2, 5) and found.runoff_steps(steps) == slice(72, 144) and found.stop == 240
    part = found.of_steps(steps)
    assert part.first == 72 and part.labelled().equals(found.labelled().isel(time=steps))
    with pytest.raises(TimeAxisError, match="test= goes from 2002 to 2003.*no observations.*2001-03-02"):
        found.select(slice("2002", "2003"), "test")
    net = river()
    other = xroute.Network(net.dataset.isel(reach=[3, 2, 0, 1]), missing_downstream="outlet")
    assert found.on(other).reach.tolist() == [0, 2]
    with pytest.raises(AlignmentError, match="lacks the reaches of gauges 11"):
        found.on(xroute.Network(net.dataset.isel(reach=[3])))
    assert isinstance(found.times[0], np.datetime64) and datetime.datetime(2001, 3, 2) == found.times[0].astype("datetime64[s]")
