"""Accumulations: amounts come back as they were, restarts are where they are said to be, and routing them as they are raises."""

from __future__ import annotations

import warnings

import cftime
import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from strategies import chain

import xroute
from xroute.exceptions import ParameterError, TimeAxisError, UnitsError, XRouteError
from xroute.watch import Watch, looks_accumulated

DAYS = 4


def amounts(rows: int = 5, dt: int = 1, seed: int = 0) -> np.ndarray:
    """Amounts per step [mm] of some days: a base flow, and a storm with its recession."""
    rng = np.random.default_rng(seed)
    n = DAYS * 24 // dt
    storm = np.zeros((rows, n))
    for row in range(rows):
        at = int(rng.integers(2, n // 2))
        storm[row, at:] = rng.random() * np.exp(-np.arange(n - at) / 6)
    return 0.01 + 0.005 * rng.random((rows, n)) + storm


def era5_land(amount: np.ndarray, dt: int = 1, start: str = "2001-03-01") -> xr.DataArray:
    """As ECMWF writes it, by a loop over hours: the total since 00 UTC, at the end of each hour."""
    total, hours = np.zeros_like(amount), dt * (1 + np.arange(amount.shape[1]))
    for k, hour in enumerate(hours):
        since_midnight = (hour - 1) // 24 * 24
        first = next(j for j, h in enumerate(hours) if h > since_midnight)
        total[:, k] = amount[:, first : k + 1].sum(axis=1)
    time = pd.Timestamp(start) + pd.to_timedelta(hours, "h")
    return xr.DataArray(
        total, {"reach": np.arange(1, amount.shape[0] + 1), "time": time}, ("reach", "time"), "ro",
        {"units": "mm", "GRIB_stepType": "accum", "long_name": "Runoff"},
    )  # fmt: skip


def river(rows: int = 5) -> xr.Dataset:
    return chain(rows, "linear_storage", tau=(2.0, "h")).assign(area=("reach", np.full(rows, 10.0), {"units": "km2"}))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dt", [1, 3, 6])
@pytest.mark.parametrize("chunks", [None, 5, 24])
def test_amounts_of_a_day_that_begins_after_midnight_come_back_whole(dt, chunks):
    given = amounts(dt=dt)
    accumulated = era5_land(given, dt)
    with dask.config.set(scheduler=_no_scheduler):
        result = xroute.deaccumulate(accumulated if chunks is None else accumulated.chunk(time=chunks), "day")
    np.testing.assert_allclose(result.values, given, rtol=1e-10, atol=1e-12)
    assert result.time.equals(accumulated.time) and result.dims == accumulated.dims
    assert result.attrs["cell_methods"] == "time: sum" and "GRIB_stepType" not in result.attrs
    assert result.attrs["time_label"] == "end" and result.attrs["units"] == "mm" and "deaccum" not in result.attrs
    assert "amounts per step" in result.attrs["history"]
    if chunks is not None:
        assert result.chunksizes["time"] == accumulated.chunk(time=chunks).chunksizes["time"]


def _no_scheduler(*_, **__):
    raise AssertionError("something was computed")


def test_a_file_that_begins_at_midnight_loses_the_step_that_cannot_be_told():
    given = amounts()
    accumulated = era5_land(given).isel(time=slice(23, None))  # 00 UTC of 2 March: the whole of 1 March
    with pytest.warns(UserWarning, match="2001-03-02T00:00:00.*left out") as caught:
        result = xroute.deaccumulate(accumulated, "day")
    assert len(caught) == 1 and caught[0].filename == __file__
    np.testing.assert_allclose(result.values, given[:, 24:], rtol=1e-10, atol=1e-12)
    kept = xroute.deaccumulate(accumulated, "day", first="nan")
    assert np.isnan(kept.values[:, 0]).all() and kept.sizes == accumulated.sizes
    np.testing.assert_array_equal(kept.values[:, 1:], result.values)


def test_a_file_that_begins_at_noon():
    given = amounts()
    with pytest.warns(UserWarning, match="left out"):
        result = xroute.deaccumulate(era5_land(given).isel(time=slice(11, None)), "day")
    np.testing.assert_allclose(result.values, given[:, 12:], rtol=1e-10, atol=1e-12)


def test_stamps_at_the_start_and_another_hour():
    given = amounts()
    accumulated = era5_land(given)
    early = accumulated.assign_coords(time=accumulated.time - np.timedelta64(1, "h")).assign_attrs(time_label="start")
    result = xroute.deaccumulate(early, "day")
    np.testing.assert_allclose(result.values, given, rtol=1e-10, atol=1e-12)
    assert result.attrs["time_label"] == "start"
    noon = accumulated.assign_coords(time=accumulated.time + np.timedelta64(12, "h"))
    np.testing.assert_allclose(xroute.deaccumulate(noon, "day", hour=12).values, given, rtol=1e-10, atol=1e-12)
    with pytest.raises(XRouteError, match="begin again"):
        xroute.deaccumulate(noon, "day")


def test_a_calendar_of_360_days():
    given = amounts()
    time = xr.date_range("2001-02-29T01:00", periods=96, freq="h", calendar="360_day", use_cftime=True)
    accumulated = era5_land(given).assign_coords(time=time)
    assert isinstance(accumulated.time.values[0], cftime.Datetime360Day)
    np.testing.assert_allclose(xroute.deaccumulate(accumulated, "day").values, given, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunks", [None, 7])
def test_a_forecast_begins_at_lead_zero_or_at_its_first_step(chunks):
    given = amounts()[:, :48]
    lead = pd.to_timedelta(1 + np.arange(48), "h")
    whole = xr.DataArray(
        np.stack([given, 2 * given]).cumsum(axis=2),
        {"time": pd.date_range("2001-01-01", periods=2, freq="D"), "reach": np.arange(1, 6), "step": lead},
        ("time", "reach", "step"), attrs={"units": "mm"},
    )  # fmt: skip
    zero = xr.concat([xr.zeros_like(whole.isel(step=[0])).assign_coords(step=[np.timedelta64(0, "h")]), whole], "step")
    zero = zero.transpose(*whole.dims)
    for accumulated in (whole, zero):
        accumulated = accumulated if chunks is None else accumulated.chunk(step=chunks)
        result = xroute.deaccumulate(accumulated, "forecast")
        np.testing.assert_allclose(result.values, np.stack([given, 2 * given]), rtol=1e-10, atol=1e-12)
        assert result.attrs["cell_methods"] == "step: sum"


def test_a_run_that_accumulates_on_loses_its_first_step():
    given = amounts()
    accumulated = era5_land(given).copy(data=7.0 + given.cumsum(axis=1))
    with pytest.warns(UserWarning, match="left out"):
        result = xroute.deaccumulate(accumulated, "never")
    np.testing.assert_allclose(result.values, given[:, 1:], rtol=1e-9, atol=1e-12)


def test_falls_of_packed_values_are_counted_and_kept_or_zeroed_as_asked():
    given = np.zeros((5, 96))
    given[:, 30] = 1.0
    packed = era5_land(given)
    packed[2, 40] -= 2e-5  # a quantum of 16 bits
    with pytest.warns(UserWarning, match="1 of 480 amounts are below zero.*kept"):
        kept = xroute.deaccumulate(packed, "day")
    np.testing.assert_allclose(kept.sum("time"), given.sum(axis=1), rtol=1e-12)
    with pytest.warns(UserWarning, match="set to zero"):
        assert float(xroute.deaccumulate(packed, "day", negative="zero").min()) == 0.0
    assert float(xroute.deaccumulate(packed.chunk(time=9), "day").min()) == pytest.approx(-2e-5)


@pytest.mark.parametrize("chunks", [None, 24])
@pytest.mark.parametrize("reset", ["never", "forecast"])
def test_another_restart_than_the_values_have_is_refused(reset, chunks):
    accumulated = era5_land(amounts())
    with pytest.raises(XRouteError, match="begin again"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the first step, which is not asked about here
        xroute.deaccumulate(accumulated if chunks is None else accumulated.chunk(time=chunks), reset).compute()


def test_integers_and_float32():
    given = np.arange(96).reshape(1, -1) % 7
    result = xroute.deaccumulate(era5_land(given), "day")
    assert result.dtype == np.float64 and (result.values == given).all()
    single = era5_land(amounts()).astype("float32")
    assert (
        xroute.deaccumulate(single, "day").dtype == xroute.deaccumulate(single.chunk(time=5), "day").dtype == "float32"
    )


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda ro: ro.assign_attrs(units="mm h-1"), UnitsError, "rate"),
        (lambda ro: ro.assign_coords(time=ro.time + np.timedelta64(30, "m")), TimeAxisError, "not one of 24"),
        (lambda ro: ro.astype(complex), ParameterError, "numbers"),
        (lambda ro: ro.isel(time=slice(None, None, 5)), TimeAxisError, "does not fit into a day"),
        (lambda ro: ro.assign_coords(time=np.arange(96)), TimeAxisError, "time"),
    ],
)
def test_what_cannot_be_an_accumulation_of_days(change, error, says):
    with pytest.raises(error, match=says):
        xroute.deaccumulate(change(era5_land(amounts())), "day")
    with pytest.raises(ParameterError, match="reset"):
        xroute.deaccumulate(era5_land(amounts()), "month")


# ── looked for in a run ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("chunks", [None, 24, 48])
@pytest.mark.parametrize("begin", [0, 7, 23])
def test_era5_land_as_it_is_is_refused_and_right_after_deaccumulate(chunks, begin):
    given = amounts()
    accumulated = era5_land(given).isel(time=slice(begin, None))
    accumulated = accumulated if chunks is None else accumulated.chunk(time=chunks)
    lazy_or_not = pytest.raises(XRouteError, match='deaccumulate.runoff, reset="day"')
    with lazy_or_not:
        accumulated.route(river()).compute()
    expected = era5_land(given)[:, begin:].copy(data=given[:, begin:]).drop_attrs().assign_attrs(units="mm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = xroute.deaccumulate(accumulated, "day").route(river())
    first = result.sizes["time"] - expected.sizes["time"]
    np.testing.assert_allclose(
        result.values, expected.isel(time=slice(-first, None)).route(river()).values, rtol=1e-8, atol=1e-12
    )


def test_nothing_is_computed_while_the_graph_is_built():
    with dask.config.set(scheduler=_no_scheduler):
        era5_land(amounts()).chunk(time=24).route(river())


def test_a_stream_refuses_it_in_its_first_block(tmp_path):
    with pytest.raises(XRouteError, match="deaccumulate"):
        xroute.route_to_zarr(era5_land(amounts()), river(), tmp_path / "q.zarr", time_chunk=24, progress=False)


@pytest.mark.parametrize("length", [1, 5, 13])
def test_blocks_too_short_to_tell_are_looked_at_together(tmp_path, length):
    """A GRIB file an hour is a chunk an hour."""
    accumulated = era5_land(amounts()).chunk(time=length, reach=2)
    with dask.config.set(scheduler=_no_scheduler):
        routed = accumulated.route(river())
    with pytest.raises(XRouteError, match="deaccumulate"):
        routed.compute()
    with pytest.raises(XRouteError, match="deaccumulate"):
        xroute.route_to_zarr(accumulated, river(), tmp_path / "q.zarr", time_chunk=length, progress=False)
    per_hour = accumulated.copy(data=amounts()).chunk(time=length)
    np.testing.assert_array_equal(per_hour.route(river()).values, per_hour.compute().route(river()).values)


def test_rare_rain_on_dry_land_and_the_noise_of_packing_hide_nothing():
    rng = np.random.default_rng(3)
    rain = np.where(rng.random((5, 96)) < 0.04, 1.0, 0.0)
    with pytest.raises(XRouteError, match="deaccumulate"):
        era5_land(rain).route(river())
    night = np.where(np.arange(96) % 24 < 8, 0.0, rng.random((5, 96)))
    noisy = era5_land(night) + rng.normal(0, 2e-4, night.shape)
    with pytest.raises(XRouteError, match="deaccumulate"):
        noisy.assign_attrs(era5_land(night).attrs).route(river())


@pytest.mark.parametrize("hours", [1, 3, 6])
@pytest.mark.parametrize("days", [1, 2, 10])
def test_snow_that_melts_by_day_is_no_accumulation(days, hours):
    """It climbs and falls each day, in the evening of its own longitude; plain ERA5 says that it accumulates."""
    time = pd.date_range("2001-05-01", periods=days * 24 // hours, freq=f"{hours}h")
    for noon in range(0, 24, 3):
        of_day = np.cos(2 * np.pi * (time.hour.to_numpy() - noon) / 24)
        for melt in (np.maximum(0, of_day), 2 + of_day, np.maximum(0, of_day) ** 3):
            values = melt * (0.5 + np.random.default_rng(noon).random((5, days)).repeat(24 // hours, axis=1))
            for attrs in ({}, {"GRIB_stepType": "accum"}):
                coords = {"reach": np.arange(1, 6), "time": time}
                ro = xr.DataArray(values, coords, ("reach", "time"), attrs={"units": "mm", **attrs})
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    ro.route(river())


def test_a_forecast_on_the_dates_it_is_valid_at_is_refused():
    """It climbs for days, whatever the hour that it began at."""
    ro = era5_land(amounts()).copy(data=amounts().cumsum(axis=1))
    for given in (ro, ro.assign_coords(time=ro.time + np.timedelta64(18, "h"))):
        with pytest.raises(XRouteError, match='never fall.*reset="forecast"'):
            given.route(river())


def test_a_first_step_without_values_hides_nothing():
    ro = era5_land(amounts())
    ro[:, 0] = np.nan
    with pytest.raises(XRouteError, match="deaccumulate"):
        ro.route(river(), nan="zero")


def test_lead_times_as_numbers_are_lead_times():
    given = amounts()[:, :24]
    leads = ("step", np.arange(1, 25), {"units": "hours", "standard_name": "forecast_period"})
    coords = {"time": pd.date_range("2001-01-01", periods=2), "reach": np.arange(1, 6), "step": leads}
    values = np.stack([given, 2 * given]).cumsum(axis=2)
    accumulated = xr.DataArray(values, coords, ("time", "reach", "step"), attrs={"units": "mm", "GRIB_stepType": "accum"})
    with pytest.raises(XRouteError, match='reset="forecast"'):
        accumulated.route(river(), time_dim="step")
    result = xroute.deaccumulate(accumulated, "forecast")
    np.testing.assert_allclose(result.values, np.stack([given, 2 * given]), rtol=1e-10, atol=1e-12)


def test_the_day_does_not_turn_along_leads():
    """Differences along the forecasts' starts would be silently wrong."""
    steps = pd.timedelta_range("1h", periods=24, freq="h")
    values = np.stack([amounts()[:, :24]] * 2).cumsum(axis=2)
    for starts in (pd.date_range("2001-01-01", periods=2), ("time", pd.date_range("2001-01-01", periods=2))):
        given = xr.DataArray(
            values, {"time": starts, "reach": np.arange(1, 6), "step": steps}, ("time", "reach", "step"), attrs={"units": "mm"}
        )
        with pytest.raises(TimeAxisError, match="time_dim="):
            xroute.deaccumulate(given, "day")
        with pytest.raises(TimeAxisError, match='reset="forecast"'):
            xroute.deaccumulate(given, "day", time_dim="step")


def test_without_the_attribute_it_is_a_warning():
    plain = era5_land(amounts()).drop_attrs().assign_attrs(units="mm")
    with pytest.warns(UserWarning, match="looks accumulated.*ERA5-Land") as caught:
        plain.route(river())
    assert len(caught) == 1 and caught[0].filename == __file__


def test_a_sum_over_more_than_a_step_says_so_too():
    ro = era5_land(amounts()).drop_attrs().assign_attrs(units="mm", cell_methods="time: sum (interval: 24 hours)")
    with pytest.raises(XRouteError, match="deaccumulate"):
        ro.route(river())


def test_a_forecast_that_only_climbs_is_refused():
    ro = era5_land(amounts().cumsum(axis=1)).isel(time=slice(0, 23))
    ro = ro.assign_coords(time=pd.to_timedelta(1 + np.arange(23), "h"))
    with pytest.raises(XRouteError, match='reset="forecast"'):
        ro.route(river())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(10))
def test_plain_era5_says_accum_too_and_is_routed(seed):
    ro = era5_land(amounts(seed=seed))
    per_hour = ro.copy(data=amounts(seed=seed))
    assert per_hour.route(river()).shape == ro.shape


HOURS = np.arange(96.0)
QUIET = {
    "zeros": np.zeros((3, 96)),
    "constant": np.ones((3, 96)),
    "recession": np.exp(-HOURS / 20)[None],
    "daily cycle": 1 + np.sin(2 * np.pi * HOURS / 24)[None],
    "days of constant rates": np.repeat([[1.0, 3.0, 2.0, 5.0]], 24, axis=1),
    "an hour of rain a day": (HOURS % 24 == 15).astype(float)[None],
    "snow melt by day": np.maximum(0, np.sin(2 * np.pi * (HOURS - 6) / 24))[None],
    "a storm": np.where(HOURS < 30, 0, np.exp(-np.abs(HOURS - 40) / 5))[None],
    "noise": np.random.default_rng(1).random((20, 96)),
    "a flood that rises": np.linspace(1, 9, 96)[None] ** 2,
    "missing": np.full((2, 96), np.nan),
}


@pytest.mark.parametrize("resets", [1, 2])
@pytest.mark.parametrize("name", QUIET)
def test_what_is_no_accumulation_is_not_taken_for_one(name, resets):
    for part in (slice(None), slice(0, 24), slice(5, 31)):
        assert looks_accumulated(QUIET[name][:, part], 3600.0, resets) is None


@pytest.mark.parametrize("dt", [1, 3, 6])
def test_what_is_one_is_seen_at_every_step(dt):
    values = era5_land(amounts(dt=dt), dt).values
    assert looks_accumulated(values, dt * 3600.0) == 86400.0
    assert (
        looks_accumulated(np.vstack([values, np.zeros((200, values.shape[1]))]), dt * 3600.0) == 86400.0
    )  # a dry land


@pytest.mark.parametrize("dim", ["time", "valid_time"])
def test_the_time_dimension_is_told_by_its_dates(dim):
    time = pd.date_range("2001-01-01T06:00", periods=5, freq="6h")
    given = xr.DataArray([1.0, 3.0, 6.0, 10.0, 2.0], {dim: time}, attrs={"units": "mm"})
    assert xroute.deaccumulate(given, "day").values.tolist() == [1.0, 2.0, 3.0, 4.0, 2.0]


def test_values_at_00_utc_alone_are_the_days_already():
    time = pd.date_range("2001-01-02", periods=4, freq="D")
    given = xr.DataArray([4.0, 1.0, 3.0, 2.0], {"time": time}, attrs={"units": "mm"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xroute.deaccumulate(given, "day")
    assert found.values.tolist() == [4.0, 1.0, 3.0, 2.0] and found.sizes["time"] == 4


@pytest.mark.parametrize("begin", [0, 9])
def test_a_part_of_a_series_is_watched_by_the_clock_of_the_whole(begin):
    values = era5_land(amounts(), 1).values
    whole = Watch(declared=True, lead=False, step=3600.0, origin=3600.0)  # the first hour ends at 01 UTC
    with pytest.raises(XRouteError, match=r"begin again every 24 h.*reset=\"day\""):
        whole.at(begin).look(values[None, :, begin:])
    if begin:
        whole.look(values[None, :, begin:])  # by a clock of its own, values fall at 15 UTC, as rivers may


@pytest.mark.parametrize("chunks", [None, 240, 73])
def test_a_series_that_starts_from_a_state_is_watched_as_any(chunks):
    """Were it not, the warning would be gone with the second year of a run: lazily it was, for as long as a state was given."""
    network = xroute.Network.from_links([1], [0], parameters={"tau": 7200.0}, attrs={"scheme": "linear_storage"})
    time = pd.date_range("2001-01-01", periods=240, freq="h")
    climbing = np.tile(np.arange(24.0) ** 1.1, 10)
    runoff = xr.DataArray(climbing[:, None], {"time": time, "reach": [1]}, attrs={"units": "m3 s-1"})
    still = xr.zeros_like(runoff[:48]).assign_coords(time=time[:48] - pd.Timedelta("2D"))
    _, state = still.route(network, return_state=True)
    given = runoff if chunks is None else runoff.chunk(time=chunks)
    with pytest.warns(UserWarning, match="runoff looks accumulated"):
        given.route(network, initial_state=state).compute()


def test_short_chunks_that_start_from_a_state_are_looked_at_together():
    network, runoff = river(), era5_land(amounts())
    dry = xr.zeros_like(runoff).assign_attrs(GRIB_stepType="avg")
    _, state = dry.route(network, return_state=True)
    del state.attrs["time"]
    with pytest.raises(XRouteError, match="runoff accumulates"):
        runoff.chunk(time=1).route(network, initial_state=state).compute()
