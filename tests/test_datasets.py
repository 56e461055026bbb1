"""Rivers and weather made in code: shape, units, reproducibility, and plausibility."""

from __future__ import annotations

import time

import numpy as np
import pytest
import xarray as xr

from xroute.datasets import attributes, forcing, scheidegger, storm_runoff, tutorial
from xroute.datasets.storms import Storm
from xroute.exceptions import ParameterError, UnitsError
from xroute.network import Network
from xroute.schemes import SCHEMES


def test_scheidegger_drains_down_one_row_to_one_of_two_columns():
    rows, columns = 7, 5
    network = scheidegger(rows, columns, seed=1)
    position = network.downstream.to_numpy().reshape(rows, columns) - 1
    assert (position[-1] == -1).all()
    row, column = np.divmod(position[:-1], columns)
    assert (row == np.arange(1, rows)[:, None]).all()
    assert set(np.unique((column - np.arange(columns)) % columns)) == {0, 1}


def test_scheidegger_is_reproducible_and_seeded():
    xr.testing.assert_identical(scheidegger(10, 10, 3), scheidegger(10, 10, 3))
    assert not scheidegger(10, 10, 3).downstream.equals(scheidegger(10, 10, 4).downstream)


def test_scheidegger_string_ids_have_the_same_topology():
    number, text = scheidegger(12, 10), scheidegger(12, 10, ids="str")
    assert text.reach.to_numpy()[[0, 9, 119]].tolist() == ["R001", "R010", "R120"]
    expected = np.where(number.downstream == 0, "", np.char.add("R", np.char.zfill(number.downstream.astype(str), 3)))
    assert (text.downstream.to_numpy() == expected).all()
    a, b = Network(number), Network(text)
    assert all((x == y).all() for x, y in zip(a.links, b.links, strict=True))
    assert (a.strahler.to_numpy() == b.strahler.to_numpy()).all()


def test_scheidegger_depth_and_outlets():
    network = Network(scheidegger(30, 20))
    assert network.depth == 30
    assert network.outlets.size == 20
    assert not network.has_bifurcations


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scheidegger_parameters_of_every_scheme(scheme):
    names = {p.name for p in SCHEMES[scheme].parameters}
    network = scheidegger(4, 4, scheme=scheme)
    assert network.attrs["scheme"] == scheme
    assert set(network.data_vars) == {"downstream", "length", "area"} | names
    assert all("units" in network[name].attrs for name in names | {"length", "area"})
    assert all((network[name] > 0).all() for name in names)


def test_scheidegger_muskingum_is_stable_in_hourly_steps():
    network = scheidegger(100, 100)
    assert (2 * network.k * network.x <= 3600).all()
    assert (2 * network.k * (1 - network.x) >= 3600).all()


def test_scheidegger_fits_on_the_globe():
    network = scheidegger(5000, 1)
    assert abs(network.lat).max() <= 90


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(rows=0, columns=3), "0 rows x 3 columns"),
        (dict(rows=3, columns=3, scheme="kinematic"), "'kinematic'.*muskingum"),
        (dict(rows=3, columns=3, ids="float"), "'float'.*'int' or 'str'"),
    ],
)
def test_scheidegger_refuses(arguments, message):
    with pytest.raises(ParameterError, match=message):
        scheidegger(**arguments)


@pytest.mark.slow
def test_scheidegger_makes_a_million_reaches_at_once():
    start = time.process_time()
    network = scheidegger(1000, 1000)
    assert time.process_time() - start < 2  # 0.3 s, and others do not count
    assert network.sizes["reach"] == 1_000_000


def test_storm_runoff_labels():
    network = scheidegger(6, 5)
    runoff = storm_runoff(network, 30, "3h", start="2010-03-01")
    assert runoff.dims == ("time", "reach")
    assert runoff.dtype == np.float32
    assert (runoff.time.diff("time") == np.timedelta64(3, "h")).all()
    xr.testing.assert_identical(runoff.reach.variable, network.reach.variable)
    assert runoff.attrs["units"] == "m3 s-1" and runoff.name == "runoff"
    assert (runoff > 0).all()


def test_storm_runoff_accepts_a_network():
    network = scheidegger(6, 5)
    xr.testing.assert_identical(storm_runoff(network, 10), storm_runoff(Network(network), 10))


def test_storm_runoff_in_any_order_of_dims():
    network = scheidegger(20, 10)
    by_time = storm_runoff(network, 300, members=2)
    by_reach = storm_runoff(network, 300, members=2, dims=("reach", "member", "time"))
    assert by_reach.dims == ("reach", "member", "time") and by_reach.to_numpy().flags.c_contiguous
    xr.testing.assert_identical(by_time, by_reach.transpose("member", "time", "reach"))


def test_storm_runoff_members_differ_and_the_first_is_the_unperturbed():
    network = scheidegger(20, 10)
    ensemble = storm_runoff(network, 200, members=3)
    np.testing.assert_array_equal(ensemble.isel(member=0), storm_runoff(network, 200))
    assert not np.allclose(ensemble.isel(member=1), ensemble.isel(member=0))
    assert not np.allclose(ensemble.isel(member=1), ensemble.isel(member=2))


def test_storm_runoff_blocks_do_not_show():
    """More reaches than a block, more steps than a block: a reach's series depends on its place alone."""
    network = scheidegger(100, 100)
    # with both ends of the domain, so that its middle is the same
    ends = [int(f(network[name].to_numpy())) for name in ("lon", "lat") for f in (np.argmin, np.argmax)]
    part = network.isel(reach=np.unique([*ends, 8191, 8192, *range(5000, 5100)]))
    storms = [Storm(2.0, 30.0, 0.0, 0.0, 5.0, 1.0, 400.0, 6.0), Storm(130.0, 20.0, 50.0, 0.0, 5.0, 1.0, 400.0, 6.0)]
    whole = storm_runoff(network, 150, storms=storms)
    np.testing.assert_array_equal(storm_runoff(part, 150, storms=storms), whole.sel(reach=part.reach))


@pytest.mark.parametrize("dt", ["1h", "1D"])
def test_storm_runoff_units_are_consistent(dt):
    network = scheidegger(20, 10)
    depth = storm_runoff(network, 40, dt, units="mm h-1", dtype=np.float64)
    flux = storm_runoff(network, 40, dt, dtype=np.float64)
    np.testing.assert_allclose(depth * network.area / 3.6, flux)
    step = storm_runoff(network, 40, dt, units="mm", dtype=np.float64)
    np.testing.assert_allclose(depth * (24 if dt == "1D" else 1), step)
    feet = storm_runoff(network, 40, dt, units="ft3 s-1", dtype=np.float64)
    np.testing.assert_allclose(flux, feet * 0.3048**3)
    mass = storm_runoff(network, 40, dt, units="kg m-2 s-1", dtype=np.float64)
    np.testing.assert_allclose(depth / 3600, mass)
    in_square_metres = network.assign(area=(network.area * 1e6).assign_attrs(units="m2"))
    np.testing.assert_allclose(storm_runoff(in_square_metres, 40, dt, dtype=np.float64), flux)


def test_storm_runoff_recedes_without_rain():
    dry = storm_runoff(scheidegger(3, 3), 500, storms=[], units="mm h-1", dtype=np.float64)
    ratio = dry.to_numpy()[1:] / dry.to_numpy()[:-1]
    np.testing.assert_allclose(ratio, np.exp(-1 / 240))


def test_storm_runoff_returns_half_of_the_rain():
    """All that ever runs off is the two shares of what fell."""
    storm = Storm(start=1.0, duration=20.0, x=0.0, y=0.0, speed_x=0.0, speed_y=0.0, radius=1e6, peak=4.0)
    arguments = dict(steps=4000, units="mm h-1", dtype=np.float64)
    network = scheidegger(1, 1)
    total = storm_runoff(network, storms=[storm], **arguments) - storm_runoff(network, storms=[], **arguments)
    np.testing.assert_allclose(total.sum("time"), (0.35 + 0.15) * 4.0 * 20.0 / 2, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(units="K"), UnitsError, "'K'"),
        (dict(units="bananas"), UnitsError, "'bananas'"),
        (dict(members=0), ParameterError, "members=0"),
        (dict(dt="0h"), ParameterError, "dt=0h"),
        (dict(dims=("time", "x")), ParameterError, "time.*reach"),
        (dict(dtype=int), ParameterError, "not a floating type"),
    ],
)
def test_storm_runoff_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        storm_runoff(scheidegger(3, 3), **arguments)


@pytest.mark.parametrize("name", ["lon", "lat", "area"])
def test_storm_runoff_names_what_is_missing(name):
    with pytest.raises(ParameterError, match=f"no variable '{name}'"):
        storm_runoff(scheidegger(3, 3).drop_vars(name))


def test_tutorial_is_one_river():
    dataset, forcing = tutorial()
    network = Network(dataset)
    assert network.outlets.tolist() == [1]
    assert 2000 < network.n_reaches < 3000
    assert network.strahler.max() >= 5  # it branches like a river ...
    assert network.depth > 40  # ... and is as long as one
    assert (network.basins == 1).all()
    xr.testing.assert_equal(forcing.reach, dataset.reach.reset_coords(drop=True))
    assert forcing.runoff.attrs["units"] == "mm h-1" and forcing.sizes["time"] == 240
    assert (2 * dataset.k * dataset.x <= 3600).all() and (2 * dataset.k * (1 - dataset.x) >= 3600).all()


def test_tutorial_river_is_concave():
    """Few reaches drain much: the drainage area exceeds a with probability near a^-0.43, Rodriguez-Iturbe (1992)."""
    area = Network(tutorial()[0]).n_upstream.to_numpy()
    size = np.array([3, 10, 30, 100, 300])
    exceedance = (area[:, None] >= size).mean(0)
    slope = np.polyfit(np.log(size), np.log(exceedance), 1)[0]
    assert -0.6 < slope < -0.35


# ── forcing and attributes ────────────────────────────────────────────────────────────────────────────────────────────


def northern(rows: int = 6, columns: int = 5) -> xr.Dataset:
    network = scheidegger(rows, columns)
    return network.assign_coords(lat=network.lat + 50.0)


def test_forcing_has_labels_and_years_as_they_are():
    network = northern()
    weather = forcing(network, 3 * 365, start="2001-01-01", dtype=float)
    assert {v: weather[v].dims for v in weather} == {v: ("time", "reach") for v in ("precipitation", "potential_evaporation")}
    assert {weather[v].attrs["units"] for v in weather} == {"mm h-1"}
    assert weather.reach.variable.identical(network.reach.variable)
    assert (weather >= 0).all().to_array().all()
    year = 24 * weather.sum("time").mean("reach") / 3  # mm
    assert 500 < year.precipitation < 4000 and 700 < year.potential_evaporation < 1000
    by_month = weather.potential_evaporation.mean("reach").groupby("time.month").mean()
    assert by_month.idxmax() in (6, 7, 8) and by_month.max() > 5 * by_month.min()
    south = forcing(network.assign_coords(lat=network.lat - 100.0), 3 * 365, start="2001-01-01", dtype=float)
    assert south.potential_evaporation.mean("reach").groupby("time.month").mean().idxmax() in (1, 2, 12)
    xr.testing.assert_identical(weather, forcing(Network(network), 3 * 365, start="2001-01-01", dtype=float))
    assert not weather.equals(forcing(network, 3 * 365, start="2001-01-01", dtype=float, seed=1))


def test_a_day_evaporates_alike_whatever_the_step_and_not_at_night():
    steps = ((20, "1D"), (480, "1h"), (320, "90min"))
    by_step = [forcing(northern(), n, dt, dtype=float).potential_evaporation for n, dt in steps]
    for finer in by_step[1:]:
        np.testing.assert_allclose(finer.resample(time="1D").mean(), by_step[0], rtol=1e-12)
    hour = by_step[1].groupby("time.hour").mean().mean("reach")
    assert hour.sel(hour=[0, 1, 2, 3, 4, 20, 21, 22, 23]).max() < 1e-12 and hour.idxmax() in (11, 12)


def test_rain_is_that_of_the_storms():
    network = northern()
    storm = Storm(start=10.0, duration=20.0, x=0.0, y=0.0, speed_x=0.0, speed_y=0.0, radius=80.0, peak=5.0)
    rain = forcing(network, 48, "1h", storms=[storm], dtype=float).precipitation
    assert rain[:10].max() == 0 and rain[30:].max() == 0 and rain[10:30].max() > 4.5
    quick, slow = 0.35, 0.15  # what storm_runoff says of rain: with long recessions cut off, less has come
    wet, dry = (storm_runoff(network, 48, storms=some, dtype=float, units="mm h-1") for some in ([storm], []))
    runoff, fell = (wet - dry).sum("time"), rain.sum("time")
    assert (runoff < (quick + slow) * fell).all() and (runoff > 0.7 * quick * fell).all()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda n: n.drop_vars("lon"), {}, "no variable 'lon'"),
        (lambda n: n, dict(steps=-1), "negative"),
        (lambda n: n, dict(dt="soon"), "no step"),
        (lambda n: n, dict(dtype=int), "floating"),
        (lambda n: n, dict(seed=-1), "seed"),
    ],
)
def test_forcing_refuses(change, arguments, message):
    with pytest.raises(ParameterError, match=message):
        forcing(change(northern()), **arguments)


def test_attributes_have_the_area_upstream_and_what_goes_with_it():
    network = Network(tutorial()[0])
    found = attributes(network, seed=2)
    some = network.ids[::97]
    for reach in some.tolist():
        area = float(network.dataset.area.sel(reach=network.upstream(reach)).sum())
        assert float(found.uparea.sel(reach=reach)) == pytest.approx(area, rel=1e-12)
    assert np.corrcoef(np.log(found.uparea), np.log(found.slope))[0, 1] < -0.8
    assert np.corrcoef(np.log(found.uparea), np.log(found.width))[0, 1] > 0.8
    assert (found.forest > 0).all() and (found.forest < 1).all()
    assert all("units" in found[name].attrs for name in found)
    assert network.assign(found).dataset.slope.variable.equals(found.slope.variable)
    with pytest.raises(ParameterError, match="'area'"):
        attributes(network.dataset.drop_vars("area"))


def test_areas_are_shared_where_rivers_part():
    parted = xr.Dataset(
        {"upstream_reach": ("link", [1, 1, 2, 3]), "downstream_reach": ("link", [2, 3, 4, 4]),
         "fraction": ("link", [0.25, 0.75, 1, 1]), "area": ("reach", [1.0, 2.0, 4.0, 8.0], {"units": "km2"})},
        {"reach": [4, 3, 2, 1], "lon": ("reach", np.zeros(4)), "lat": ("reach", np.zeros(4))},
    )  # fmt: skip
    assert attributes(parted).uparea.values.tolist() == [15.0, 8.0, 6.0, 8.0]
