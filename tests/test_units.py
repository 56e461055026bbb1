"""Units: fluxes pass, depths and amounts are converted, and what cannot be told is an error."""

from __future__ import annotations

import time

import dask
import numpy as np
import pint
import pytest
import xarray as xr
from strategies import DT, chain, runoff_array

import xroute
from xroute.exceptions import ParameterError, UnitsError, XRouteError
from xroute.unit_text import read_unit_text
from xroute.units import to_si


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


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

FOOT, INCH, GALLON, ACRE, MILE = 0.3048, 0.0254, 231 * 0.0254**3, 4046.8726, 1609.344
VOLUME_FLUX, VOLUME = {"[length]": 3, "[time]": -1}, {"[length]": 3}
DEPTH_RATE, DEPTH = {"[length]": 1, "[time]": -1}, {"[length]": 1}
MASS_FLUX, MASS = {"[mass]": 1, "[length]": -2, "[time]": -1}, {"[mass]": 1, "[length]": -2}
MEANINGS = [  # size of one in SI units, what it is of, and ways to write it
    (1.0, VOLUME_FLUX,
     "m3 s-1; m3/s; m^3 s^-1; m**3 s**-1; m³/s; m³ s⁻¹; m³·s⁻¹; m3.s-1; m3*s-1; m3s-1; m3/sec; "
     "m3 / s; m$^{3}$ s$^{-1}$; m^{3} s^{-1}; meter ** 3 / second; cubic metres per second; "
     "Cubic meters per second; cubic_meter / second; cms; CMS; cumecs; 1 m3 s-1; m^3/(s); (m3 "
     "s-1); m3 s−1; meter ** 3.0 / second"),
    (FOOT**3, VOLUME_FLUX, "cfs; CFS; cusecs; ft3/s; ft³/s; cubic feet per second; cu ft/s; cf/s"),
    (1e3 * FOOT**3, VOLUME_FLUX, "kcfs; 1000 cfs"),
    (FOOT**3 / 60, VOLUME_FLUX, "cfm"),
    (1e-3, VOLUME_FLUX, "l/s; L s-1; litres per second; dm3/s"),
    (GALLON / 60, VOLUME_FLUX, "gpm; GPM; gal/min"),
    (1e6 * GALLON / 86400, VOLUME_FLUX, "MGD; Mgal/d; million gallons per day"),
    (1e3 / 86400, VOLUME_FLUX, "ML/d; MLD"),
    (ACRE * FOOT / 86400, VOLUME_FLUX, "af/day; acre-feet per day"),
    (1e6 / 86400, VOLUME_FLUX, "hm³/d; Mm3/d; MCM/day"),
    (1e9 / 86400, VOLUME_FLUX, "km3/d"),
    (1e3, VOLUME_FLUX, "1000 m3 s-1; 10^3 m3/s"),
    (1 / 86400, VOLUME_FLUX, "m3/24h"),
    (1e6, VOLUME, "Mm3; Mm³; Mm^3; hm3; mcm; MCM; 10^6 m3; 10⁶ m³; 10**6 m3; 1e6 m3; million m3; GL"),
    (1.0, VOLUME, "m3"),
    (1e3, VOLUME, "dam3; 1000 m3; thousand m3; ML"),
    (1e9, VOLUME, "km3; BCM"),
    (1e9 * FOOT**3, VOLUME, "TMC; tmcft"),
    (ACRE * FOOT, VOLUME, "acre-ft; acre-feet; ac-ft; acft; AF; acre feet; acre_foot; Acre-Feet"),
    (1e3 * ACRE * FOOT, VOLUME, "kaf"),
    (1e6 * ACRE * FOOT, VOLUME, "MAF"),
    (86400 * FOOT**3, VOLUME, "cfsd; sfd; cfs-day; cfs-days; cfs d"),
    (1e-3 / 86400, DEPTH_RATE,
     "mm/day; mm day-1; mm d^-1; mm d-1; mm day^-1; mm per day; mm/24h; mm w.e. d-1; "
     "millimeter / day"),
    (1e-3 / 3600, DEPTH_RATE, "mmph; mm/h; mm/hr; mm hr-1; mm h⁻¹; MMPH"),
    (1e-3 / 10800, DEPTH_RATE, "mm/3h"),
    (INCH / 3600, DEPTH_RATE, "inches/hr"),
    (INCH / 86400, DEPTH_RATE, "in/day"),
    (1e-9, DEPTH_RATE, "L s-1 km-2; l/s/km2; l/(s km2); l/(s·km²)"),
    (1e-6, DEPTH_RATE, "m3 s-1 km-2; cms/km2"),
    (FOOT**3 / MILE**2, DEPTH_RATE, "cfs/mi2; cfsm"),
    (1.0, DEPTH, "m; m of water equivalent; m of water; metres; m per timestep; m/time step"),
    (1e-3, DEPTH, "mm; mm w.e.; mm H2O; mm water equivalent; l/m2; 1e-3 m; mm per step"),
    (1.0, MASS_FLUX,
     "kg m-2 s-1; kg/m^2/s; kg/m2/s; kg m**-2 s**-1; kg/(m2 s); kg/(m^2*s); kg.m-2.s-1; "
     "kilogram / meter ** 2 / second"),
    (1.0, MASS, "kg m**-2; kg/m²"),
]  # fmt: skip
READ = [(text, size, kind) for size, kind, texts in MEANINGS for text in texts.split("; ")]


@pytest.mark.parametrize(("text", "size", "kind"), READ, ids=[t for t, *_ in READ])
def test_a_text_is_read_as_the_field_means_it(text, size, kind):
    read = read_unit_text(text, "runoff")
    assert read.dimensions == kind
    assert read.in_si == pytest.approx(size, rel=1e-7)  # pint's acre is the surveyor's


REFUSED = [
    "mmcm", "MM", "Mm", "mm d", "nmile", "kpt", "pt", "point", "fm", "mb", "dt", "mm/dt", "inH2O", "mmHg", "degC",
    "degF", "delta_degC", "barrel", "dB", "bananas", "MG", "mug", "ft_lb", "m3 s -1", "mm/day-1", "m3/s km2",
    "10-6 m3", "2", "m0", "m10", "m^10", "m^0.5", "m3 3", "0 m", "-1 m3", "1e400 m", "1e99 m", "nan m", "inf m",
    "s**9**9**9", "9**9**9 m", "((m))", "((((m3))))/s", "m3 s-1\nm3", "m3\x00", "__import__('os')", "lambda: 1",
    "m;s", "[m]", "m if 1 else s", "m3 s-1 #", "m" * 200, "(" * 80 + "m" + ")" * 80, "m/" * 40, "mm (3h)-1", "3",
    "hours since 2000-01-01", "days since 1970-01-01 00:00:00", "kg m-2 s-1 (water)", "m3 and s", "mm or m", "ton",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=[repr(t)[:20] for t in REFUSED])
def test_what_could_mean_something_else_is_refused_at_once(network, flux, text):
    begin = time.process_time()
    with pytest.raises(UnitsError, match="runoff") as error:
        xroute.route(flux.assign_attrs(units=text), network)
    assert time.process_time() - begin < 2.0 and len(str(error.value)) < 700


@pytest.mark.parametrize("units", [b"m3 s-1", 1.0, ("mm",), True])
def test_units_that_are_no_text(network, flux, units):
    with pytest.raises(UnitsError, match="text"):
        xroute.route(flux.assign_attrs(units=units), network)


@pytest.mark.parametrize("units", ["mi d-1", "mph", "km", "hm d-1", "mm3", "mm3 s-1", "percent", "K"])
def test_what_nobody_means_is_no_runoff(network, flux, units):
    with pytest.raises(UnitsError, match="runoff"):
        xroute.route(flux.assign_attrs(units=units), network)


@pytest.mark.parametrize("units", ["mm month-1", "m3/mon", "mm/yr", "km3/yr", "Mm3/a", "hm3 year-1"])
def test_amounts_of_months_are_told_to_be_divided_by_their_days(network, flux, units):
    with pytest.raises(UnitsError, match=r"days_in_(month|year)") as error:
        xroute.route(flux.assign_attrs(units=units), network)
    assert "per step" not in str(error.value)  # a month's amount is none of a step


@pytest.mark.parametrize(
    ("units", "spelt"), [("MGD", "1e6 gal d-1"), ("kcfs", "1e3 ft3 s-1"), ("m³/s", "m3 s-1"), ("1000 cfs", "1000 cfs")]
)
def test_discharge_bears_units_that_other_programs_read(network, flux, units, spelt):
    routed = xroute.route(flux.assign_attrs(units=units), network)
    assert routed.attrs["units"] == spelt
    np.testing.assert_array_equal(routed.values, xroute.route(flux.assign_attrs(units="m3 s-1"), network).values)


@pytest.mark.parametrize(
    ("units", "size"),
    [("km^2", 1e6), ("ha", 1e4), ("acres", ACRE), ("mi2", MILE**2), ("sq km", 1e6), ("sq. mi", MILE**2),
     ("square kilometers", 1e6), ("km²", 1e6), ("sqkm", 1e6), ("m**2", 1.0), ("meter ** 2", 1.0)],
)  # fmt: skip
def test_areas(units, size):
    assert to_si(xr.DataArray(2.0, attrs={"units": units}), "m2", "area") == pytest.approx(2 * size, rel=1e-7)


def test_a_time_span_does_not_bear_units_of_something_else():
    span = xr.DataArray(np.array([3], "timedelta64[h]"), dims="reach")
    assert to_si(span, "s", "k") == [10800.0]
    with pytest.raises(UnitsError, match="timedelta64.*m s-1"):
        to_si(span.assign_attrs(units="m s-1"), "s", "k")


# ── pint's own quantities ───────────────────────────────────────────────────────────────────────────────────────────────


def _quantified(array: xr.DataArray, units: str) -> xr.DataArray:
    return array.drop_attrs().copy(data=pint.UnitRegistry().Quantity(array.data, units))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("chunked", [False, True])
def test_units_of_pint_are_used_and_come_back(network, flux, expected, chunked):
    depth = flux / AREA * 1e3 * 86400
    given = _quantified(depth.chunk(time=3) if chunked else depth, "mm/day")
    with dask.config.set(scheduler=_no_scheduler):
        routed = given.route(network)
    assert str(routed.data.units) == "meter ** 3 / second" and "units" not in routed.attrs
    assert dask.is_dask_collection(routed.data.magnitude) == chunked  # xarray sees no chunks in a Quantity from Python 3.12 on
    np.testing.assert_allclose(np.asarray(routed.data.magnitude), expected.values, rtol=1e-12)


def _no_scheduler(*_, **__):
    raise AssertionError("something was computed")


@pytest.mark.filterwarnings("error")
def test_a_flux_of_pint_keeps_its_units(network, flux, expected):
    routed = xroute.route(_quantified(flux / FOOT**3, "ft**3/s"), network)
    assert str(routed.data.units) == "foot ** 3 / second"
    np.testing.assert_allclose(routed.data.to("m**3/s").magnitude, expected.values, rtol=1e-12)
    state = xroute.steady_state(network, _quantified(flux, "m**3/s").isel(time=0, drop=True), dt=DT)
    np.testing.assert_allclose(state.outflow, xroute.steady_state(network, flux.isel(time=0, drop=True), dt=DT).outflow)


@pytest.mark.filterwarnings("error")
def test_a_network_of_quantities(network, flux, expected):
    ureg = pint.UnitRegistry()
    other = network.assign(
        tau=("reach", ureg.Quantity(np.full(3, 120.0), "minute")),
        area=("reach", ureg.Quantity(np.array([1000.0, 2000.0, 500.0]), "hectare")),
    )
    depth = (flux / AREA).assign_attrs(units="m s-1")
    np.testing.assert_allclose(xroute.route(depth, other).values, expected.values, rtol=1e-12)
    assert list(other.river.outlets) == list(network.river.outlets)


def test_pint_and_attributes_that_disagree(network, flux):
    given = _quantified(flux, "mm/day")
    assert given.assign_attrs(units="mm d-1").route(network).shape == flux.shape
    with pytest.raises(UnitsError, match="millimeter / day.*m3 s-1"):
        given.assign_attrs(units="m3 s-1").route(network)
    with pytest.raises(UnitsError, match="millimile"):
        _quantified(flux, "mmph").route(network)


@pytest.mark.parametrize("dtype", [complex, bool, object, "datetime64[ns]", "U5"])
def test_runoff_that_is_no_real_number_is_refused_by_name(network, flux, dtype):
    values = np.zeros(flux.shape, dtype)
    for chunked in (False, True):
        runoff = flux.copy(data=values)
        with pytest.raises(ParameterError, match="real numbers"):
            xroute.route(runoff.chunk(time=2) if chunked else runoff, network)
