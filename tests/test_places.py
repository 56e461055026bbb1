"""Places of reaches: found by name or by what they say, wrapped about the middle, and counted where they are none."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xroute.exceptions import ParameterError
from xroute.places import find_places, has_places, wrapped


def network(lon, lat, names=("lon", "lat"), attrs=({}, {})) -> xr.Dataset:
    n = len(lon)
    return xr.Dataset(
        {"downstream": ("reach", [*range(2, n + 1), 0]), "x": ("reach", np.full(n, 0.2))},
        {"reach": np.arange(1, n + 1), **{k: ("reach", v, a) for k, v, a in zip(names, (lon, lat), attrs, strict=True)}},
    )


@pytest.mark.parametrize(
    ("given_lon", "expected"),
    [
        ([10.0, 11.0, 12.0], [10.0, 11.0, 12.0]),
        ([190.0, 191.0], [-170.0, -169.0]),
        ([358.0, 359.5, 0.5, 2.0], [-2.0, -0.5, 0.5, 2.0]),
        ([-1.0, 359.5, 361.0], [-1.0, -0.5, 1.0]),
        ([178.0, 179.0, -179.0], [178.0, 179.0, 181.0]),
        ([179.0, -179.0, -178.0], [-181.0, -179.0, -178.0]),
        ([200.0], [-160.0]),
        ([10.0, 10.0, 10.2, 181.0], [10.0, 10.0, 10.2, 181.0]),  # one far from the others pulls nothing along
    ],
)
def test_longitudes_lie_together(given_lon, expected):
    found = wrapped(np.array(given_lon))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_network_all_round_the_earth_is_cut_at_the_date_line():
    around = np.arange(0.0, 360.0, 2.0)
    found = wrapped(around)
    assert found.min() == -180.0 and found.max() == 178.0
    np.testing.assert_allclose((found - around) % 360.0, 0.0)


@given(st.floats(-720, 720), st.lists(st.tuples(st.floats(0, 60), st.integers(-1, 1)), min_size=1, max_size=20))
def test_wrapping_keeps_places_and_distances(start, steps):
    """However longitudes of a region are written, they come out with its width and in the same places."""
    east = np.array([step for step, _ in steps])
    written = (start + east) % 360.0 + 360.0 * np.array([turn for _, turn in steps])
    found = wrapped(written)
    np.testing.assert_allclose(np.cos(np.radians(found - written)), 1.0, atol=1e-9)
    assert np.ptp(found) == pytest.approx(np.ptp(east), abs=1e-6)
    assert abs(0.5 * (found.min() + found.max())) <= 180.0 + 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -9999.0, 1e20, 9.969209968386869e36, -999.0])
@pytest.mark.parametrize("which", [0, 1])
def test_fill_values_are_no_places(bad, which):
    pair = [np.array([5.0, 6.0, 7.0]), np.array([50.0, 51.0, 52.0])]
    pair[which][1] = bad
    found = find_places(network(*pair))
    assert found.known.tolist() == [True, False, True]
    assert np.isnan(found.x[1]) and np.isnan(found.y[1])


def test_declared_fill_values_and_latitudes_beyond_the_pole_are_no_places():
    ds = network([5.0, 0.0, 7.0], [50.0, 51.0, 95.0])
    ds.lon.attrs["_FillValue"] = 0.0
    assert find_places(ds).known.tolist() == [True, False, False]


def test_nothing_left_is_an_error_that_counts():
    with pytest.raises(ParameterError, match="none of the 3 reaches has a place.*-9999"):
        find_places(network([-9999.0] * 3, [-9999.0] * 3))


@pytest.mark.parametrize(
    ("names", "attrs"),
    [
        (("longitude", "latitude"), ({}, {})),
        (("LON", "LAT"), ({}, {})),
        (("a", "b"), ({"standard_name": "longitude"}, {"standard_name": "latitude"})),
        (("a", "b"), ({"units": "degrees_east"}, {"units": "degrees_north"})),
    ],
)
def test_coordinates_are_known_by_name_or_by_what_they_say(names, attrs):
    ds = network([5.0, 6.0], [50.0, 51.0], names, attrs)
    found = find_places(ds)
    assert found.degrees and found.x.tolist() == [5.0, 6.0] and found.y.tolist() == [50.0, 51.0]


def test_muskingums_x_is_no_coordinate():
    bare = network([5.0, 6.0], [50.0, 51.0]).drop_vars(["lon", "lat"])
    assert not has_places(bare)
    assert not has_places(bare.assign(y=("reach", [1.0, 2.0], {"units": "m"})))
    with pytest.raises(ParameterError, match="no lon and no lat"):
        find_places(bare)


def test_coordinates_of_a_projection_need_units_of_length_or_a_standard_name():
    metre = {"units": "m"}
    plane = network([4e6, 4.1e6], [2e6, 2.2e6], ("easting", "northing"), (metre, metre))
    found = find_places(plane)
    assert not found.degrees and found.units == "m" and found.x.tolist() == [4e6, 4.1e6]
    said = ({"standard_name": "projection_x_coordinate"}, {"standard_name": "projection_y_coordinate"})
    assert not find_places(network([4e6, 4.1e6], [2e6, 2.2e6], ("px", "py"), said)).degrees
    assert not has_places(network([4e6, 4.1e6], [2e6, 2.2e6], ("easting", "northing")))
    gone = network([4e6, -9999.0], [2e6, -9999.0], ("easting", "northing"), (metre, metre))
    assert find_places(gone).known.tolist() == [True, False]


def test_one_coordinate_of_two_is_a_mistake():
    with pytest.raises(ParameterError, match="no lat, only 'lon'"):
        find_places(network([5.0, 6.0], [1.0, 2.0]).drop_vars("lat"))


def test_text_is_no_coordinate():
    with pytest.raises(ParameterError, match="lon are no numbers"):
        find_places(network(["5E", "6E"], [1.0, 2.0]))


def test_radians_become_degrees():
    said = ({"units": "radian"}, {"units": "radian"})
    np.testing.assert_allclose(find_places(network([0.1, 0.2], [0.5, 0.6], attrs=said)).x, np.degrees([0.1, 0.2]))
