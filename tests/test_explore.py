"""Interactive maps: what the page holds of each reach, where, in which colour; what is too much is refused with advice."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute.datasets import scheidegger
from xroute.exceptions import AlignmentError, NetworkError, ParameterError

folium = pytest.importorskip("folium")
pytest.importorskip("matplotlib")


@pytest.fixture
def network():
    return scheidegger(8, 6)


def features(page) -> list[dict]:
    layer = next(c for c in page._children.values() if isinstance(c, folium.GeoJson))
    return layer.data["features"]


def by_reach(page) -> dict[str, dict]:
    return {f["properties"]["reach"]: f for f in features(page)}


def test_each_reach_is_there_with_its_value_its_id_and_the_next_one(network):
    q = xr.DataArray(
        np.arange(1.0, 49.0), {"reach": network.reach}, name="q", attrs={"long_name": "discharge", "units": "m3 s-1"}
    )[np.random.default_rng(0).permutation(48)]
    page = network.river.explore(q, tiles=None)
    assert isinstance(page, folium.Map)
    found = by_reach(page)
    assert len(found) == 48
    for i, below in zip(network.reach.values, network.downstream.values, strict=True):
        told = found[str(i)]["properties"]
        assert told["downstream"] == (str(below) if below else "outlet")
        assert float(told["Discharge [m³ s⁻¹]"]) == pytest.approx(float(i), rel=1e-3)
    assert found["1"]["properties"]["style"]["color"] != found["47"]["properties"]["style"]["color"]
    lon, lat = found["1"]["geometry"]["coordinates"][0]
    assert (lon, lat) == pytest.approx((float(network.lon[0]), float(network.lat[0])), abs=1e-5)
    last = found["48"]["geometry"]
    assert last["type"] == "Point"
    assert last["coordinates"] == pytest.approx([float(network.lon[-1]), float(network.lat[-1])], abs=1e-5)


def test_the_page_has_a_legend_and_no_tiles_where_none_are_wanted(network, tmp_path):
    page = network.river.explore("k", tiles=None)
    text = page.get_root().render()
    assert "Muskingum travel time [s]" in text and "L.tileLayer" not in text and "L.geoJson" in text
    legend = text[text.index("xroute-legend") :]
    numbers = [float(v) for v in re.findall(r"</span>([-+.\de]+)</div>", legend)]
    np.testing.assert_allclose([numbers[0], numbers[-1]], [network.k.max(), network.k.min()], rtol=1e-3)
    assert "openstreetmap" in network.river.explore().get_root().render().lower()
    assert "xroute-legend" not in network.river.explore("k", legend=False).get_root().render()
    page.save(str(tmp_path / "rivers.html"))
    assert (tmp_path / "rivers.html").stat().st_size > 10_000
    assert "<iframe" in page._repr_html_()


def test_longitudes_are_together(network):
    shifted = network.assign_coords(lon=("reach", (network.lon.values + 180.0) % 360.0))
    page = shifted.river.explore(tiles=None)
    lon = [x for f in features(page) for x, _ in np.atleast_2d(f["geometry"]["coordinates"])]
    assert np.ptp(lon) < 1.0
    (south, west), (north, east) = page.get_bounds()
    assert 0 < east - west < 1.0 and north > south


def test_reaches_without_a_place_are_told_of(network):
    lon = network.lon.values.copy()
    lon[3] = -9999.0
    with pytest.warns(UserWarning, match="1 of 48 reaches has no place.*: 4"):
        page = network.assign_coords(lon=("reach", lon)).river.explore()
    assert "4" not in by_reach(page) and len(by_reach(page)) == 47


def test_too_many_reaches_are_refused_with_an_order_that_is_not(network):
    large = scheidegger(20, 20)
    with pytest.raises(ParameterError, match="400 reaches are more than the 200.*min_order=") as caught:
        large.river.explore(limit=200)
    order = int(re.search(r"min_order=(\d)", str(caught.value)).group(1))
    assert 1 <= len(by_reach(large.river.explore(limit=200, min_order=order))) <= 200
    with pytest.raises(ParameterError, match="48 reaches are more than the 5 that a browser shows at ease: draw a part"):
        network.river.explore(limit=5)
    assert len(by_reach(network.river.explore(limit=48))) == 48
    with pytest.raises(ParameterError, match="no reach has the Strahler order 9"):
        network.river.explore(min_order=9)


def test_a_map_needs_degrees(network):
    with pytest.raises(ParameterError, match="no lon and no lat"):
        network.drop_vars(["lon", "lat"]).river.explore()
    metre = {"units": "m"}
    plane = network.drop_vars(["lon", "lat"]).assign_coords(
        easting=("reach", network.lon.values * 1e5, metre), northing=("reach", network.lat.values * 1e5, metre)
    )
    with pytest.raises(ParameterError, match="projection"):
        plane.river.explore()


def test_values_are_checked_as_on_maps(network):
    with pytest.raises(AlignmentError, match="time"):
        network.river.explore(xroute.datasets.storm_runoff(network, 3))
    with pytest.raises(ParameterError, match="no variable 'K'"):
        network.river.explore("K")
    with pytest.raises(NetworkError, match="99"):
        network.river.explore(gauges=[99])
    with pytest.raises(TypeError, match="layout"):
        network.river.explore(layout="tree")


@pytest.mark.parametrize("levels", [None, 4])
def test_nothing_to_say_is_said(network, levels):
    values = network.k.where(network.reach != 7)
    page = network.river.explore(values, levels=levels)
    assert by_reach(page)["7"]["properties"]["Muskingum travel time [s]"] == "none"
    assert "no value (1)" in page.get_root().render()


def test_names_are_text_and_no_part_of_the_page(network):
    odd = network.assign(c=("reach", np.where(network.reach.values > 20, "<script>", "a & b")))
    page = odd.river.explore("c", gauges={5: "<b>Weir</b>"})
    text = page.get_root().render()
    assert "&lt;script&gt;" in text and "<b>Weir" not in text and "a &amp; b" in text
    assert "a & b" not in text[text.index("xroute-legend") :]


def test_basins_and_other_maps(network):
    page = network.river.explore(basins=True)
    colours = {}
    of = xroute.Network(network).basins
    for i, f in by_reach(page).items():
        colours.setdefault(str(of.sel(reach=int(i)).item()), set()).add(f["properties"]["style"]["color"])
    assert all(len(c) == 1 for c in colours.values())
    hulls = network.river.explore("k", basins=True)
    n = sum(isinstance(c, folium.Polygon) for c in hulls._children.values())
    assert n == np.unique(of).size
    mine = folium.Map(tiles=None)
    assert network.river.explore("k", m=mine, gauges={5: "Weir"}) is mine
    assert sum(isinstance(c, folium.CircleMarker) for c in mine._children.values()) == 1


def test_dates_are_written_as_dates(network):
    when = xr.DataArray(np.datetime64("2001-03-01T06", "ns") + np.arange(48) * np.timedelta64(1, "h"), {"reach": network.reach})
    page = network.river.explore(when.assign_attrs(long_name="peak"))
    assert by_reach(page)["3"]["properties"]["Peak"].startswith("2001-03-01 08:00")
