"""Profiles: the way down the river, its distances, and the discharge on it, by id."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import AlignmentError, NetworkError, ParameterError, TimeAxisError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.dates import date2num  # noqa: E402

from xroute.plotting import plot_profile  # noqa: E402

HOURS = pd.date_range("2001-03-01", periods=30, freq="h")
WAY = [50, 10, 40, 30]
"""The longest way: 50 to 10, 40, and 30, the outlet; 20 flows into 40, and 60 into 30."""


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def river():
    return xr.Dataset(
        {
            "downstream": ("reach", [40, 40, 0, 30, 10, 30]),
            "length": ("reach", [2000.0, 300.0, 1500.0, 500.0, 1000.0, 200.0]),
        },
        {"reach": [10, 20, 30, 40, 50, 60]},
    )


def wave():
    """A flood that comes 3 h later in each reach of the way, and whose peak is twice as large."""
    reach = np.array([60, 30, 50, 20, 40, 10])  # another order than the network's
    late = {50: 5, 10: 8, 40: 11, 30: 14, 20: 2, 60: 2}
    size = {50: 1.0, 10: 2.0, 40: 4.0, 30: 8.0, 20: 90.0, 60: 90.0}
    hour = np.arange(30)
    values = [[size[r] * np.exp(-(((h - late[r]) / 4.0) ** 2)) for h in hour] for r in reach.tolist()]
    return xr.DataArray(
        values, {"reach": reach, "time": HOURS}, attrs={"units": "m3 s-1", "long_name": "river discharge"}, name="discharge"
    )


def image(ax):
    (mesh,) = [c for c in ax.collections if c.__class__.__name__ == "QuadMesh"]
    return mesh


def test_the_longest_way_is_drawn_over_distance_and_time():
    ax = river().river.profile(wave())
    mesh = image(ax)
    np.testing.assert_allclose(mesh.get_array(), wave().sel(reach=WAY).T)
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0, 1, 3, 3.5, 5])  # km, downstream
    np.testing.assert_allclose(corners[:, 0, 1], date2num(pd.date_range(HOURS[0], periods=31, freq="h")))
    assert ax.get_xlabel() == "Distance downstream [km]" and ax.get_xlim() == (0, 5)
    assert [a.get_ylabel() for a in ax.figure.axes if a is not ax] == ["River discharge [m³ s⁻¹]"]


def test_of_long_series_blocks_are_drawn_to_the_last_step(monkeypatch):
    monkeypatch.setattr("xroute.plotting.profiles.MOST_STEPS", 8)  # of 30 steps: seven blocks of four and one of two
    mesh = image(river().river.profile(wave()))
    along = wave().sel(reach=WAY).values
    blocks = [along[:, at : at + 4].mean(axis=1) for at in range(0, 30, 4)]
    np.testing.assert_allclose(mesh.get_array(), np.array(blocks))
    edges = pd.DatetimeIndex([*HOURS[::4], HOURS[-1] + pd.Timedelta("1h")])
    np.testing.assert_allclose(mesh.get_coordinates()[:, 0, 1], date2num(edges))


def test_the_highest_flow_is_followed_and_its_celerity_told():
    ax = plot_profile(river(), wave())
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xdata(), [1, 3, 3.5, 5])
    np.testing.assert_allclose(line.get_ydata(), date2num(HOURS[[5, 8, 11, 14]]))
    slope = np.polyfit([1e3, 3e3, 3.5e3, 5e3], np.array([5, 8, 11, 14]) * 3600, 1)[0]
    assert f"{1 / slope:.2g} m s⁻¹" in ax.get_legend().get_texts()[0].get_text()
    still = wave().copy(data=np.broadcast_to(wave().sel(reach=50, drop=True), (6, 30)))
    assert not plot_profile(river(), still).lines


def test_confluences_stand_where_tributaries_come_in():
    ax = plot_profile(river(), wave())
    (marks,) = [c for c in ax.collections if c.__class__.__name__ == "PathCollection"]
    np.testing.assert_allclose(marks.get_offsets()[:, 0], [3.0, 3.5])  # the heads of 40 and 30
    assert marks.get_offsets()[:, 1].min() > 1  # above the axes


@pytest.mark.parametrize(
    ("reach", "to", "edges"),
    [(10, None, [0, 2, 2.5, 4]), (20, 40, [0, 0.3, 0.8]), (None, 40, [0, 1, 3, 3.5]), (30, None, [0, 1, 3, 3.5, 5])],
)
def test_ways_from_and_to(reach, to, edges):
    np.testing.assert_allclose(image(plot_profile(river(), wave(), reach, to=to)).get_coordinates()[0, :, 0], edges)


def test_the_longest_way_is_so_in_kilometres():
    far = river()
    far["length"][1] = 9000.0  # of reach 20, a headwater: one reach, but longer than two
    np.testing.assert_allclose(image(plot_profile(far, wave(), to=40)).get_coordinates()[0, :, 0], [0, 9, 9.5])


def test_distances_between_places_or_counted():
    places = river().drop_vars("length").assign_coords(
        lon=("reach", [0.0, 5.0, 2.0, 1.0, 359.0, 9.0]), lat=("reach", np.zeros(6))
    )
    edges = image(plot_profile(places, wave(), 50)).get_coordinates()[0, :, 0]
    degree = 6378.137 * np.pi / 180  # on the equator
    np.testing.assert_allclose(np.diff(edges)[:3], degree, rtol=1e-6)
    counted = plot_profile(river().drop_vars("length"), wave(), 50)
    np.testing.assert_array_equal(image(counted).get_coordinates()[0, :, 0], np.arange(5))
    assert counted.get_xlabel() == "Reaches downstream"


def test_lengths_that_are_none_are_told_of():
    lacking = river()
    lacking["length"][4] = np.nan
    with pytest.warns(UserWarning, match=r"lengths of 1 of 6 reaches are missing.*50"):
        ax = plot_profile(lacking, wave(), 50)
    assert ax.get_xlabel() == "Reaches downstream"
    with pytest.warns(UserWarning, match="all reaches are 0"):
        plot_profile(river().assign(length=river()["length"] * 0), wave(), 50)


def test_of_members_the_label_says_what_is_drawn():
    members = xr.concat([wave() * k for k in (1.0, 2.0, 9.0)], "member").assign_attrs(long_name="discharge", units="m3 s-1")
    for q, label in ((members, "Discharge, median of 3 members [m³ s⁻¹]"), (members[0], "Discharge [m³ s⁻¹]")):
        assert [a.get_ylabel() for a in plot_profile(river(), q).figure.axes][1] == label


def test_lines_at_times_and_of_a_snapshot():
    ax = plot_profile(river(), wave(), time=["2001-03-01 05:00", "2001-03-01 14:00"])
    steps = [p for p in ax.patches if p.__class__.__name__ == "StepPatch"]
    np.testing.assert_allclose(steps[1].get_data().values, wave().sel(reach=WAY).isel(time=14))
    np.testing.assert_allclose(steps[1].get_data().edges, [0, 1, 3, 3.5, 5])
    assert [t.get_text() for t in ax.get_legend().get_texts()][:2] == ["2001-03-01 05:00", "2001-03-01 14:00"]
    assert ax.get_ylabel() == "River discharge [m³ s⁻¹]"
    alone = plot_profile(river(), wave().isel(time=14))
    np.testing.assert_allclose(alone.patches[0].get_data().values, wave().sel(reach=WAY).isel(time=14))
    assert len(plot_profile(river(), wave(), kind="lines").patches) == 6
    assert image(plot_profile(river(), wave(), time=slice("2001-03-01 03:00", "2001-03-01 06:00"))).get_array().shape[0] == 4


def test_shares_of_the_highest_flow():
    shares = image(plot_profile(river(), wave(), relative=True)).get_array()
    np.testing.assert_allclose(shares.max(axis=0), 1.0)


def test_where_rivers_part_it_goes_along_the_larger_arm_and_says_so():
    parts = xr.Dataset(
        {
            "upstream_reach": ("link", [1, 1, 2, 3]), "downstream_reach": ("link", [2, 3, 4, 4]),
            "fraction": ("link", [0.4, 0.6, 1.0, 1.0]),
        },
        {"reach": [1, 2, 3, 4]},
    )  # fmt: skip
    q = wave().isel(reach=slice(0, 4)).assign_coords(reach=[4, 3, 2, 1])
    ax = plot_profile(parts, q, 1)
    np.testing.assert_allclose(image(ax).get_array(), q.sel(reach=[1, 3, 4]).T)
    assert ax.get_xlabel() == "Reaches downstream along the larger arm"


def test_members_calendars_leads_and_zero():
    members = xr.concat([wave() * k for k in (1.0, 2.0, 9.0)], "member")
    np.testing.assert_allclose(image(plot_profile(river(), members)).get_array(), 2 * wave().sel(reach=WAY).T)
    noleap = wave().assign_coords(time=xr.date_range("2001-01-01", periods=30, calendar="noleap", use_cftime=True))
    ax = plot_profile(river(), noleap)
    ax.figure.canvas.draw()
    assert "2001-01-11" in [t.get_text() for t in ax.get_yticklabels()]
    leads = plot_profile(river(), wave().assign_coords(time=np.arange(30) * np.timedelta64(1, "h")).rename(time="step"))
    assert leads.get_ylabel() == "Lead time [h]"
    plot_profile(river(), wave() * 0).figure.canvas.draw()
    alone = xr.Dataset({"downstream": ("reach", [0])}, {"reach": [50]})
    plot_profile(alone, wave()).figure.canvas.draw()


def test_gauges_are_marked_at_the_ends_of_their_reaches():
    ax = plot_profile(river(), wave(), gauges={40: "Bridge"})
    assert [t.get_text() for t in ax.texts] == ["Bridge"] and ax.texts[0].xy[0] == 3.5
    with pytest.raises(AlignmentError, match="not on the way.*20"):
        plot_profile(river(), wave(), gauges=[20])


def test_what_does_not_fit_is_named():
    with pytest.raises(AlignmentError, match="lacks reaches on the way: 40"):
        plot_profile(river(), wave().drop_sel(reach=40))
    with pytest.raises(NetworkError, match="20.*does not come to.*10"):
        plot_profile(river(), wave(), 20, to=10)
    with pytest.raises(NetworkError, match="99"):
        plot_profile(river(), wave(), 99)
    with pytest.raises(ParameterError, match="kind"):
        plot_profile(river(), wave(), kind="cake")
    with pytest.raises(TimeAxisError, match="time"):
        plot_profile(river(), wave(), time=slice("2031", "2032"))


def test_only_the_way_is_computed():
    lazy = wave().chunk(reach=1)
    computed = []
    counted = lazy.map_blocks(lambda b: computed.extend(b.reach.values.tolist()) or b, template=lazy)
    plot_profile(river(), counted)
    assert sorted(computed) == sorted(WAY)
    assert xroute.plotting.plot_profile is plot_profile
