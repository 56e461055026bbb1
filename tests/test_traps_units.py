"""What happens to a user who walks in with an ordinary file: units, accumulations, options, small wrongs."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pint
import pytest
import xarray as xr
from strategies import chain, runoff_array

import xroute
from xroute.exceptions import ParameterError, UnitsError, XRouteError


@pytest.fixture
def network() -> xr.Dataset:
    return chain(3, "linear_storage", tau=(2.0, "h")).assign(area=("reach", [10.0, 20.0, 5.0], {"units": "km2"}))


@pytest.fixture
def runoff(network) -> xr.DataArray:
    return runoff_array(network.reach.values, 48, np.random.default_rng(0)) + 0.5


def same_water(network, values, units, flux) -> None:
    routed = values.assign_attrs(units=units).route(network)
    np.testing.assert_allclose(routed, flux.assign_attrs(units="m3 s-1").route(network), rtol=1e-6)


# ── units ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rain_in_mmph_is_no_milli_mile(network, runoff):
    area = network.area * 1e6
    same_water(network, (runoff / area * 3.6e6).transpose(*runoff.dims), "mmph", runoff)


def test_pumps_in_gpm_are_no_geopotential_metres(network, runoff):
    routed = runoff.assign_attrs(units="gpm").route(network.drop_vars("area"))
    assert routed.attrs["units"] == "gal min-1"


def test_a_dam_in_million_cubic_metres_is_no_cube_of_megametres(network, runoff):
    step = 3600.0
    for units in ("Mm3", "MCM", "mcm", "hm3", "10^6 m3"):
        same_water(network, runoff * step / 1e6, units, runoff)


def test_swe_in_metres_of_water_equivalent(network, runoff):
    same_water(network, (runoff * 3600 / (network.area * 1e6)).transpose(*runoff.dims), "m of water equivalent", runoff)


def test_specific_discharge_is_a_depth_per_time(network, runoff):
    same_water(network, (runoff * 1e3 / network.area).transpose(*runoff.dims), "L s-1 km-2", runoff)


def test_units_that_would_compute_for_ever_end_at_once(network, runoff):
    for units in ("s**9**9**9", "m" * 10**6, "(" * 10**5, "1e400 m"):
        with pytest.raises(UnitsError):
            runoff.assign_attrs(units=units).route(network)


def test_monthly_totals_are_told_to_be_divided_by_the_days_of_the_month(network, runoff):
    with pytest.raises(UnitsError, match="days_in_month"):
        runoff.assign_attrs(units="mm month-1").route(network)


@pytest.mark.filterwarnings("error")
def test_units_that_pint_attached_are_not_lost(network, runoff):
    depth = (runoff / (network.area * 1e6) * 8.64e7).transpose(*runoff.dims).drop_attrs()
    routed = depth.copy(data=pint.UnitRegistry().Quantity(depth.values, "mm/day")).route(network)
    expected = runoff.assign_attrs(units="m3 s-1").route(network)
    np.testing.assert_allclose(routed.data.to("m**3/s").magnitude, expected.values, rtol=1e-9)


def test_complex_numbers_are_no_runoff(network, runoff):
    with pytest.raises(ParameterError, match="complex"):
        (runoff + 1j).route(network)


# ── accumulations ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_era5_land_is_not_multiplied_by_eleven(network):
    time = pd.date_range("2001-01-01T00:00", periods=73, freq="h")
    hours = (np.arange(73) - 1) % 24 + 1.0  # 0.1 mm each hour, in all since 00 UTC
    ro = xr.DataArray(
        1e-4 * np.tile(hours, (3, 1)), {"reach": network.reach.values, "time": time}, ("reach", "time"),
        attrs={"units": "m", "GRIB_stepType": "accum"},
    )  # fmt: skip
    with pytest.raises(XRouteError, match="deaccumulate"):
        ro.route(network)
    with pytest.warns(UserWarning, match="left out"):
        amounts = xroute.deaccumulate(ro, "day")
    np.testing.assert_allclose(amounts, 1e-4, rtol=1e-9)
    assert amounts.sizes["time"] == 72


# ── small wrongs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_warnings_point_at_the_line_that_called(network, runoff, tmp_path):
    bare = runoff.drop_attrs()
    calls = [
        lambda: xroute.route(bare, network),
        lambda: bare.route(network),
        lambda: bare.chunk(time=6).route(network),
        lambda: xroute.route_to_zarr(bare, network, tmp_path / "q.zarr", progress=False),
        lambda: xroute.steady_state(network, bare.isel(time=0, drop=True), dt=3600),
        lambda: xroute.initial_state(
            network, runoff.isel(time=0, drop=True), dt=3600, runoff=bare.isel(time=0, drop=True)
        ),
    ]
    for call in calls:
        with pytest.warns(UserWarning, match="no units") as caught:
            call()
        assert {w.filename for w in caught if "no units" in str(w.message)} == {__file__}
    short = chain(2, "muskingum", k=(0.1, "h"), x=0.2)
    with pytest.warns(UserWarning, match="muskingum_exact") as caught:
        xroute.Router(short, dt="1h")
    assert {w.filename for w in caught if "muskingum_exact" in str(w.message)} == {__file__}


def test_the_accessor_shows_the_parameters_of_route(runoff):
    shown, real = inspect.signature(runoff.route).parameters, inspect.signature(xroute.route).parameters
    assert list(shown) == list(real)[1:]
    assert {n: p.default for n, p in shown.items()} == {n: p.default for n, p in real.items() if n != "runoff"}
