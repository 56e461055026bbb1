"""Units: fluxes pass, depths and amounts are converted, and what cannot be told is an error."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from strategies import DT, chain, runoff_array

import xroute
from xroute.exceptions import ParameterError, UnitsError, XRouteError


@pytest.fixture
def network() -> xr.Dataset:
    network = chain(3, "linear_storage", tau=(2.0, "h"))
    network["area"] = ("reach", [10.0, 20.0, 5.0], {"units": "km2"})
    return network


@pytest.fixture
def flux(network) -> xr.DataArray:
    """Runoff in m3/s."""
    return runoff_array(network.reach.values, 8, np.random.default_rng(0)) + 0.5


@pytest.fixture
def expected(flux, network) -> xr.DataArray:
    return xroute.route(flux.assign_attrs(units="m3 s-1"), network)


AREA = np.array([[10e6], [20e6], [5e6]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("units", ["m3 s-1", "m3/s", "m**3 s**-1", "m^3/s", "m³/s", "m3 s^-1"])
def test_fluxes_in_si_pass(network, flux, expected, units):
    routed = xroute.route(flux.assign_attrs(units=units), network.drop_vars("area"))
    np.testing.assert_array_equal(routed.values, expected.values)
    assert routed.attrs["units"] in (units, "m3 s-1")


@pytest.mark.parametrize(
    ("units", "factor"),
    [("ft3 s-1", 0.3048**3), ("L s-1", 1e-3), ("m3 h-1", 1 / 3600), ("km3 d-1", 1e9 / 86400),
     ("cfs", 0.3048**3), ("CFS", 0.3048**3), ("cms", 1.0), ("cumecs", 1.0)],
)  # fmt: skip
def test_other_fluxes_keep_their_units_and_their_meaning(network, flux, expected, units, factor):
    routed = xroute.route((flux / factor).assign_attrs(units=units), network)
    to_si = {units: factor, "m3 s-1": 1.0, "ft3 s-1": 0.3048**3}[routed.attrs["units"]]
    np.testing.assert_allclose(routed.values * to_si, expected.values, rtol=1e-12)


def test_cubic_feet_pass_unchanged(network, flux, expected):
    routed = xroute.route(flux.assign_attrs(units="ft3 s-1"), network)
    np.testing.assert_array_equal(routed.values, expected.values)
    assert routed.attrs["units"] == "ft3 s-1"


@pytest.mark.parametrize(
    ("units", "per_metre_and_second"),
    [
        ("m s-1", 1.0),
        ("mm d-1", 1e3 * 86400),
        ("mm day-1", 1e3 * 86400),
        ("mm/h", 1e3 * 3600),
        ("kg m-2 s-1", 1e3),
        ("kg m**-2 s**-1", 1e3),
        ("inch / day", 86400 / 0.0254),
    ],
)
def test_depth_per_time_is_multiplied_by_area(network, flux, expected, units, per_metre_and_second):
    depth = (flux / AREA * per_metre_and_second).assign_attrs(units=units)
    routed = xroute.route(depth, network)
    np.testing.assert_allclose(routed.values, expected.values, rtol=1e-12)
    assert routed.attrs["units"] == "m3 s-1"


@pytest.mark.parametrize(("units", "per_metre"), [("mm", 1e3), ("m", 1.0), ("kg m-2", 1e3), ("cm", 1e2)])
def test_depth_per_step_is_divided_by_the_step_too(network, flux, expected, units, per_metre):
    depth = (flux / AREA * DT * per_metre).assign_attrs(units=units)
    routed = xroute.route(depth, network, substeps=1)
    np.testing.assert_allclose(routed.values, expected.values, rtol=1e-12)
    assert routed.attrs["units"] == "m3 s-1"


@pytest.mark.parametrize("substeps", [1, 6])
def test_volume_per_step_is_per_step_of_runoff_not_of_routing(network, flux, substeps):
    routed = xroute.route((flux * DT).assign_attrs(units="m3"), network.drop_vars("area"), substeps=substeps)
    expected = xroute.route(flux.assign_attrs(units="m3 s-1"), network, substeps=substeps)
    np.testing.assert_allclose(routed.values, expected.values, rtol=1e-12)
    assert routed.attrs["units"] == "m3 s-1"


def test_depth_is_matched_to_area_by_id(network, flux, expected):
    depth = (flux / AREA).assign_attrs(units="m s-1").isel(reach=[2, 0, 1])
    np.testing.assert_allclose(xroute.route(depth, network).values, expected.values[[2, 0, 1]], rtol=1e-12)


def test_float32_depth_stays_float32(network, flux, expected):
    depth = (flux / AREA * 1e3 * 86400).astype("float32").assign_attrs(units="mm d-1")
    routed = xroute.route(depth, network)
    assert routed.dtype == np.float32
    np.testing.assert_allclose(routed.values, expected.values, rtol=1e-5)
    np.testing.assert_array_equal(depth.values, (flux / AREA * 1e3 * 86400).astype("float32").values)


@pytest.mark.parametrize("units", ["mm d-1", "kg m-2 s-1", "mm", "m"])
def test_depth_without_area_raises(network, flux, units):
    with pytest.raises(UnitsError, match="area") as error:
        xroute.route(flux.assign_attrs(units=units), network.drop_vars("area"))
    assert units in str(error.value)


def test_area_is_converted_and_checked(network, flux):
    depth = (flux / AREA).assign_attrs(units="m s-1")
    expected = xroute.route(depth, network)
    network["area"] = ("reach", AREA[:, 0])  # no units: m2
    np.testing.assert_allclose(xroute.route(depth, network).values, expected.values, rtol=1e-12)
    network["area"] = ("reach", AREA[:, 0] / 1e4, {"units": "hectare"})
    np.testing.assert_allclose(xroute.route(depth, network).values, expected.values, rtol=1e-12)
    network["area"] = ("reach", AREA[:, 0], {"units": "m"})
    with pytest.raises(XRouteError, match="area"):
        xroute.route(depth, network)
    for bad in (np.nan, -1.0):
        network["area"] = ("reach", [10e6, bad, 5e6], {"units": "m2"})
        with pytest.raises((ParameterError, UnitsError), match="area") as error:
            xroute.route(depth, network)
        assert "2" in str(error.value)


def test_a_flux_needs_no_area_even_where_it_is_bad(network, flux, expected):
    network["area"] = ("reach", [np.nan] * 3, {"units": "m2"})
    np.testing.assert_array_equal(xroute.route(flux.assign_attrs(units="m3 s-1"), network).values, expected.values)


@pytest.mark.parametrize("attrs", [{}, {"units": ""}])
def test_no_units_is_one_warning_and_no_units(network, flux, expected, attrs):
    with pytest.warns(UserWarning, match="units") as caught:
        routed = xroute.route(flux.assign_attrs(attrs), network) if attrs else xroute.route(flux.drop_attrs(), network)
    assert len(caught) == 1
    assert "units" not in routed.attrs
    np.testing.assert_array_equal(routed.values, expected.values)


@pytest.mark.parametrize("units", ["bananas", "degC", "K", "W m-2", "mol s-1", "1", "m2", "s", "%", "m3 s-1 m-2 kg"])
def test_what_is_no_runoff_raises(network, flux, units):
    with pytest.raises(UnitsError) as error:
        xroute.route(flux.assign_attrs(units=units), network)
    assert units in str(error.value) and "m3 s-1" in str(error.value)


def test_units_that_are_no_string(network, flux):
    with pytest.raises(UnitsError, match="units"):
        xroute.route(flux.assign_attrs(units=3), network)


def test_depth_per_calendar_step_uses_the_step_of_the_coordinate(network):
    daily = runoff_array(network.reach.values, 6, np.random.default_rng(0), dt=86400.0)
    depth = (daily / AREA * 86400 * 1e3).assign_attrs(units="mm")
    expected = xroute.route(daily, network)
    np.testing.assert_allclose(xroute.route(depth, network).values, expected.values, rtol=1e-12)


@pytest.mark.parametrize("units", ["mm month-1", "mm yr-1", "kg m-2 / year", "kg / month", "mm / a"])
def test_months_and_years_are_not_of_one_length(network, flux, units):
    with pytest.raises(UnitsError, match="mm d-1") as error:
        xroute.route(flux.assign_attrs(units=units), network)
    assert units in str(error.value)


@pytest.mark.parametrize("units", ["-", "unitless", "none", "1"])
def test_spellings_of_dimensionless(units):
    network = chain(2, "muskingum", k=(2.0, "h"), x=(0.2, units))
    runoff = runoff_array(network.reach.values, 4, np.random.default_rng(0))
    expected = xroute.route(runoff, chain(2, "muskingum", k=(2.0, "h"), x=0.2))
    np.testing.assert_array_equal(xroute.route(runoff, network).values, expected.values)


def test_only_reaches_with_runoff_need_an_area(network, flux):
    depth = (flux / AREA).assign_attrs(units="m s-1").sel(reach=[1, 3])
    expected = xroute.route(depth, network, missing="zero")
    network["area"] = ("reach", [10.0, np.nan, 5.0], {"units": "km2"})
    np.testing.assert_array_equal(xroute.route(depth, network, missing="zero").values, expected.values)
    steady = depth.isel(time=0, drop=True)
    assert np.isfinite(xroute.steady_state(network, steady, dt=DT, missing="zero")["outflow"]).all()
    network["area"] = ("reach", [np.nan, 20.0, 5.0], {"units": "km2"})
    with pytest.raises(ParameterError, match="area.*1 reaches: 1"):
        xroute.route(depth, network, missing="zero")
