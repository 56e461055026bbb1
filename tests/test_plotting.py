"""Pictures: what is drawn matches the data by id, labels bear units, and mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute.datasets import scheidegger, storm_runoff, tutorial
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError
from xroute.network import Network

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.colors import LogNorm  # noqa: E402

from xroute.plotting import choose_gauges, overview, plot_footprint, plot_hydrographs, plot_network  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def network():
    return scheidegger(8, 6)


def values_of(network):
    return xr.DataArray(
        np.arange(1.0, network.sizes["reach"] + 1),
        {"reach": network.reach},
        name="q",
        attrs={"long_name": "mean flow", "units": "m3 s-1"},
    )


def test_map_draws_one_line_a_link(network):
    ax = plot_network(network)
    assert len(ax.collections[0].get_segments()) == (network.downstream != 0).sum()


def test_map_leaves_out_small_orders(network):
    order = Network(network).strahler
    ax = plot_network(network, min_order=2)
    assert len(ax.collections[0].get_segments()) == ((order >= 2) & (network.downstream != 0)).sum()


def test_map_colours_follow_ids_not_positions(network):
    values = values_of(network)
    shuffled = values.isel(reach=np.random.default_rng(0).permutation(values.size))
    first, second = (plot_network(network, v).collections[0] for v in (values, shuffled))
    np.testing.assert_array_equal(first.get_array(), second.get_array())
    assert set(first.get_array()) == set(values.to_numpy()[(network.downstream != 0).to_numpy()])


def test_map_colourbar_bears_name_and_units(network):
    ax = plot_network(network, values_of(network))
    assert [a.get_ylabel() for a in ax.figure.axes] == ["", "Mean flow [m³ s⁻¹]"]


def test_map_scale_is_logarithmic_only_for_positive_values_of_wide_range(network):
    values = values_of(network)
    assert isinstance(plot_network(network, values).collections[0].norm, LogNorm)
    assert not isinstance(plot_network(network, values + 100).collections[0].norm, LogNorm)
    assert not isinstance(plot_network(network, values - 5).collections[0].norm, LogNorm)


def test_map_draws_on_given_axes(network):
    ax = pyplot.subplots()[1]
    assert plot_network(network, ax=ax) is ax


def test_wide_rivers_lie_on_top(network):
    width = plot_network(network, values_of(network), width="values").collections[0].get_linewidths()
    assert (np.diff(width) >= 0).all() and width[-1] > width[0]


def test_map_of_bifurcations_edgeless_and_empty_networks():
    parts = xr.Dataset(
        {
            "upstream_reach": ("link", [1, 1, 2, 3]),
            "downstream_reach": ("link", [2, 3, 4, 4]),
            "fraction": ("link", [0.6, 0.4, 1.0, 1.0]),
        },
        {"reach": [1, 2, 3, 4], "lon": ("reach", [0.0, -1, 1, 0]), "lat": ("reach", [3.0, 2, 2, 1])},
    )
    assert len(plot_network(parts).collections[0].get_segments()) == 4
    alone = scheidegger(1, 5)
    plot_network(alone, values_of(alone), width="values").figure.canvas.draw()


def far_north() -> xr.Dataset:
    """Three reaches in a row about 60 degrees north, across the meridian of Greenwich."""
    return xr.Dataset(
        {"downstream": ("reach", [2, 3, 0])},
        {"reach": [1, 2, 3], "lon": ("reach", [-2.0, 0.0, 2.0]), "lat": ("reach", [59.0, 61.0, 61.0])},
    )


def test_a_map_is_as_wide_as_the_earth_is_there():
    """A degree of longitude at 60 degrees north is half as long as one of latitude."""
    ax = plot_network(far_north())
    ax.figure.canvas.draw()
    corner, east, north = ax.transData.transform([(0.0, 60.0), (1.0, 60.0), (0.0, 61.0)])
    np.testing.assert_allclose((east - corner)[0] / (north - corner)[1], 0.5, rtol=1e-6)


def test_a_map_names_degrees_east_and_west_north_and_south():
    south = far_north().assign_coords(lat=("reach", [-2.0, 0.5, 2.0]))
    ax = plot_network(south)
    ax.figure.canvas.draw()
    for axis, (plus, minus) in ((ax.xaxis, "EW"), (ax.yaxis, "NS")):
        texts = [label.get_text() for label in axis.get_majorticklabels()]
        assert {text[-2:] for text in texts} == {f"°{plus}", f"°{minus}"}
        degrees = [float(text[:-2]) * (-1 if text[-1] == minus else 1) for text in texts]
        np.testing.assert_allclose(degrees, axis.get_majorticklocs(), atol=1e-9)


def halfway(a, b):
    return (np.asarray(a) + np.asarray(b)) / 2


def test_rivers_bend_round_their_reaches():
    """From the source straight to the middle of the first link; from middle to middle a parabola whose tangents are the links."""
    one, two, three = np.array([[-2.0, 59.0], [0.0, 61.0], [2.0, 61.0]])
    upper, lower = plot_network(far_north()).collections[0].get_segments()
    begin, end = halfway(one, two), halfway(two, three)
    np.testing.assert_allclose(upper[0], one)
    np.testing.assert_allclose(upper[1], begin)
    np.testing.assert_allclose(upper[-1], end)
    np.testing.assert_allclose(upper[len(upper) // 2], halfway(halfway(begin, two), halfway(two, end)))
    np.testing.assert_allclose(lower[0], end)
    np.testing.assert_allclose(lower[-1], three)


def test_a_river_that_splits_bends_along_its_larger_arm():
    parts = xr.Dataset(
        {
            "upstream_reach": ("link", [1, 2, 2]),
            "downstream_reach": ("link", [2, 3, 4]),
            "fraction": ("link", [1.0, 0.7, 0.3]),
        },
        {"reach": [1, 2, 3, 4], "lon": ("reach", [5.0, 6, 7, 8]), "lat": ("reach", [5.0, 4, 4, 2])},
    )
    lines = plot_network(parts).collections[0].get_segments()
    from_source = next(line for line in lines if np.allclose(line[0], [5.0, 5.0]))
    np.testing.assert_allclose(from_source[-1], halfway([6, 4], [7, 4]))


def test_no_river_leaves_the_land_that_its_reaches_span(network):
    network = network.copy(deep=True)
    del network["lon"].attrs["period"]  # on a plane: over the seam of a cylinder the land goes on
    segments = np.concatenate(plot_network(network).collections[0].get_segments())
    for points, values in zip(segments.T, (network.lon, network.lat), strict=True):
        assert points.min() >= values.min() - 1e-9 and points.max() <= values.max() + 1e-9


@pytest.mark.parametrize("name", ["lon", "lat"])
def test_map_needs_places(network, name):
    with pytest.raises(ParameterError, match=f"no {name}"):
        plot_network(network.drop_vars(name))


def test_map_refuses_values_that_do_not_match(network):
    values = values_of(network)
    with pytest.raises(AlignmentError, match="lack reaches.*: 1, 2"):
        plot_network(network, values[2:])
    with pytest.raises(AlignmentError, match="time"):
        plot_network(network, values.expand_dims(time=2))
    with pytest.raises(ParameterError, match="needs values"):
        plot_network(network, width="values")


def test_hydrographs_draw_the_gauge_named(network):
    runoff = storm_runoff(network, 48)
    ax = plot_hydrographs(runoff, {7: "Bridge", 3: "Weir"})
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), runoff.sel(reach=7))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Bridge", "Weir"]
    assert ax.get_ylabel() == "Runoff into the reach [m³ s⁻¹]"


def test_hydrographs_of_an_ensemble_show_median_and_band(network):
    runoff = storm_runoff(network, 48, members=5)
    ax = plot_hydrographs(runoff, [7])
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), runoff.sel(reach=7).median("member"))
    assert len(ax.collections) == 1


def test_hydrographs_mark_the_peak(network):
    runoff = storm_runoff(network, 48)
    ax = plot_hydrographs(runoff, [7], mark_peak=True)
    assert ax.get_lines()[1].get_ydata() == [runoff.sel(reach=7).max()]


def test_hydrographs_name_unknown_gauges(network):
    with pytest.raises(AlignmentError, match="no such reach.*: 999"):
        plot_hydrographs(storm_runoff(network, 5), [7, 999])


def test_hydrographs_keep_negative_values_in_view(network):
    runoff = storm_runoff(network, 48)
    assert plot_hydrographs(runoff - runoff.max(), [7]).get_ylim()[0] < 0
    assert plot_hydrographs(runoff, [7]).get_ylim()[0] == 0


def test_overview_has_a_map_and_three_hydrographs(tmp_path):
    network, forcing = tutorial()
    figure = overview(network, forcing.runoff, runoff=forcing.runoff, title="A river")
    assert len(figure.axes) == 1 + 1 + 1 + 3
    figure.savefig(tmp_path / "overview.png", dpi=40)
    assert (tmp_path / "overview.png").stat().st_size > 10_000


def test_overview_hangs_the_mean_runoff_from_the_top():
    network, forcing = tutorial()
    runoff = forcing.runoff.isel(time=slice(0, 60))
    figure = overview(network, runoff, runoff=runoff)
    ax = next(ax for ax in figure.axes if ax.get_ylabel().startswith("Runoff\n"))
    assert ax.get_ylabel() == "Runoff\n[mm h⁻¹]" and runoff.attrs["units"] == "mm h-1"
    (bars,) = ax.collections
    (outline,) = bars.get_paths()
    mean = runoff.values.mean(axis=runoff.get_axis_num("reach"))
    days = matplotlib.dates.date2num(runoff.time.values)
    for k in range(len(days) - 1):  # a bar lasts as long as its step and is as long as its runoff
        inside, outside = outline.contains_points([((days[k] + days[k + 1]) / 2, share * mean[k]) for share in (0.9, 1.1)])
        assert not outside and (inside or mean[k] < 1e-9)
    assert mean.max() > 0.5 and bars.get_facecolor()[0, 3] > 0
    bottom, top = ax.get_ylim()
    assert top == 0 and bottom > mean.max()


def test_chosen_gauges_run_from_large_to_small():
    network = Network(tutorial()[0])
    gauges = list(choose_gauges(network))
    size = network.n_upstream.sel(reach=gauges).to_numpy()
    assert gauges[0] == 1 and size[0] > size[1] > size[2] > 1


def test_chosen_gauges_of_tiny_networks():
    assert len(choose_gauges(scheidegger(1, 1))) == 1
    assert list(choose_gauges(scheidegger(2, 1))) == [2, 1]


def test_demo_tells_how_long_after_the_runoff_the_flood_comes():
    from xroute.demo import gauge_table

    time = np.datetime64("2001-01-01T00", "ns") + np.arange(12) * np.timedelta64(1, "h")
    network = xr.Dataset(
        {"downstream": ("reach", [2, 0]), "area": ("reach", [30.0, 10.0], {"units": "km2"})}, {"reach": [1, 2]}
    )
    runoff = xr.DataArray(np.zeros((2, 12)), {"reach": [1, 2], "time": time}, attrs={"units": "mm"})
    discharge = runoff.copy(data=np.zeros((2, 12))).assign_attrs(units="m3 s-1")
    runoff[0, 2], runoff[1, 3], discharge[1, 9] = 8.0, 20.0, 77.0  # over all of the basin 6 mm, then 5
    (row,) = gauge_table(Network(network), runoff, discharge, {2: "Mouth"}).to_dict("records")
    assert row == {
        "gauge": "Mouth (2)", "area [km2]": "40", "runoff [mm]": "11.0", "peak [m3 s-1]": "77",
        "at": "01 Jan 09:00", "lag [h]": "7",
    }  # fmt: skip


def test_demo_saves_what_it_names_and_closes_the_balance(tmp_path, capsys):
    from xroute.demo import run

    pytest.importorskip("netCDF4")
    run(tmp_path / "out")
    told = capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["discharge.nc", "discharge.png"]
    assert str(tmp_path / "out" / "discharge.png") in told.splitlines()[-1]
    assert float(told.split(" of it unaccounted")[0].split()[-1]) < 1e-6
    discharge = xr.open_dataset(tmp_path / "out" / "discharge.nc")["discharge"]
    assert f"{float(discharge.max()):,.0f}" in told  # the mouth's peak


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_hydrographs_of_other_calendars(calendar):
    network, ds = tutorial()
    discharge = ds.runoff.isel(time=slice(0, 48))
    start = "2001-02-28" if calendar != "360_day" else "2001-02-30"
    time = xr.date_range(start, periods=48, freq="h", calendar=calendar, use_cftime=True)
    discharge = discharge.assign_coords(time=time).expand_dims(member=2)
    figure = overview(network, discharge, runoff=discharge.isel(member=0))
    figure.canvas.draw()
    ax = figure.axes[-1]
    labels = [t.get_text() for t in ax.get_xticklabels()]
    turn = {"noleap": "03-01 00:00", "standard": "03-01 00:00", "360_day": "03-01 00:00"}[calendar]
    assert turn in labels, labels
    pyplot.close(figure)


@pytest.mark.parametrize("name", ["valid_time", "date"])
def test_time_of_any_name_is_drawn_as_time_is(network, name):
    runoff = storm_runoff(network, 48)
    plain = plot_hydrographs(runoff, [7], mark_peak=True)
    named = runoff.rename(time=name)
    named = named.assign_coords(time=np.datetime64("1999-01-01", "ns"))  # of the forecast, as GRIB's readers call it
    ax = plot_hydrographs(named, [7], mark_peak=True)
    for drawn, wanted in zip(ax.get_lines(), plain.get_lines(), strict=True):
        np.testing.assert_array_equal(drawn.get_xydata(), wanted.get_xydata())
    figure = overview(network, named, runoff=named)
    figure.canvas.draw()
    (bars,) = next(ax for ax in figure.axes if ax.get_ylabel().startswith("Runoff\n")).collections
    assert bars.get_paths()[0].vertices[:, 0].min() == matplotlib.dates.date2num(runoff.time.values[0])


def test_leads_of_a_forecast_are_drawn_in_hours(network):
    runoff = storm_runoff(network, 8, "3h", members=3).rename(time="step", member="number")
    leads = np.arange(3, 27, 3)
    runoff = runoff.assign_coords(step=leads * np.timedelta64(1, "h"))
    ax = plot_hydrographs(runoff, [7])
    np.testing.assert_array_equal(ax.get_lines()[0].get_xdata(), leads)
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), runoff.sel(reach=7).median("number"))
    assert ax.get_xlabel() == "Lead time [h]"
    overview(network, runoff).canvas.draw()


def test_hydrographs_say_that_a_time_cannot_be_told(network):
    with pytest.raises(TimeAxisError, match="no dimension 'time'"):
        plot_hydrographs(storm_runoff(network, 5).isel(time=0), [7])


# ---------------------------------------------------------------- footprints


def a_footprint(network, **options):
    runoff = storm_runoff(network, 60, dtype=float)
    gauge = int(Network(network).outlets[0])
    return runoff, xroute.footprint(network, gauge, runoff, window=slice(runoff.time[20], runoff.time[30]), **options)


def test_footprint_draws_sums_by_reach_and_by_time(network):
    runoff, water = a_footprint(network)
    figure = plot_footprint(network, water, title="a flood")
    on_map, bar, when, ages = figure.axes
    assert bar.get_ylabel() == "Water that passed the gauge [m³]" and figure.get_suptitle() == "a flood"
    shown = on_map.collections[1].get_array()
    outlet = water.gauge.item()
    assert sorted(shown) == pytest.approx(sorted(water.sum("time").drop_sel(reach=outlet).values))
    gauge = on_map.lines[0].get_xydata()[0]
    np.testing.assert_allclose(gauge, [network[n].sel(reach=outlet) for n in ("lon", "lat")])
    heights = when.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(water.sum("reach").max().item())
    shade = when.patches[0].get_extents().transformed(when.transData.inverted())
    assert shade.x1 - shade.x0 == pytest.approx(11 / 24)  # eleven hours, in days
    last = plot_footprint(network, xroute.footprint(network, outlet, runoff, window=runoff.time.values[-1])).axes[2]
    shade = last.patches[0].get_extents().transformed(last.transData.inverted())
    assert shade.x1 - shade.x0 == pytest.approx(1 / 24)  # the last step has its width, too
    age, share = ages.lines[0].get_data()
    values = water.sum("reach").values[:31]
    assert share[0] == 0.0 and share[-1] == pytest.approx(1.0) and age[-1] == 31
    assert share[5] == pytest.approx(values[-5:].sum() / values.sum())


def test_footprint_is_drawn_by_id_lazily_and_of_members(network):
    runoff, water = a_footprint(network)
    expected = plot_footprint(network, water).axes[0].collections[1].get_array()
    shuffled = water.isel(reach=np.random.default_rng(0).permutation(water.sizes["reach"])).transpose("time", "reach")
    np.testing.assert_allclose(plot_footprint(network, shuffled).axes[0].collections[1].get_array(), expected)
    members = xr.concat([0.5 * water, 1.5 * water], "member").chunk(time=7)
    np.testing.assert_allclose(plot_footprint(network, members).axes[0].collections[1].get_array(), expected)
    for other in (water.rename(reach="comid"), water.rename(reach="river").rename(time="valid_time")):
        np.testing.assert_allclose(plot_footprint(network, other).axes[0].collections[1].get_array(), expected)
    leads = water.assign_coords(time=water.time - water.time[0])
    assert "Lead time" in plot_footprint(network, leads).axes[2].get_xlabel()
    plot_footprint(network, water.drop_vars("time"))
    plot_footprint(network, 0 * water)


def test_footprint_of_next_to_nothing_does_not_take_the_colours(network):
    _, water = a_footprint(network)
    water = water.where(water > 0, 1e-30)
    water.loc[{"reach": water.reach.values[0]}] = 1e-30
    scale = plot_footprint(network, water).axes[0].collections[1].norm
    assert scale.vmax == pytest.approx(water.sum("time").max().item()) and scale.vmin == pytest.approx(scale.vmax / 1e4)
    bare = plot_footprint(network, water.assign_attrs(units="")).axes[2].get_ylabel()
    assert bare.endswith("of runoff")


def test_footprint_names_mistakes(network):
    _, water = a_footprint(network)
    with pytest.raises(AlignmentError, match="of 1 gauges: choose one"):
        plot_footprint(network, water.expand_dims("gauge"))
    with pytest.raises(AlignmentError, match="does not have: 999"):
        plot_footprint(network, water.assign_coords(reach=[*water.reach.values[:-1], 999]))
    with pytest.raises(ParameterError, match="lon"):
        plot_footprint(network.drop_vars("lon"), water)


def test_overview_of_an_ensemble_with_observations_and_thresholds():
    network = scheidegger(5, 4)
    runs = storm_runoff(network, 24, dtype=float, members=3).route(network)
    observed = (2 * runs.isel(member=0, drop=True)).sel(reach=[20, 7]).assign_attrs(runs.attrs)
    figure = overview(network, runs, observed=observed, members=True, quantiles=(0.25, 0.5, 0.75), thresholds={"alert": 2.0})
    rows = figure.axes[2:]
    assert len(rows) == 2  # hydrographs at the gauges that are observed, and nowhere else
    for ax in rows:
        name = int(ax.get_title(loc="left").split()[-1])
        curves = [line.get_ydata() for line in ax.lines]
        at = runs.sel(reach=name)
        for wanted in (2 * at.isel(member=0), at.median("member"), *(at.isel(member=k) for k in range(3))):
            assert any(len(c) == 24 and np.allclose(np.asarray(c, float), wanted.values, rtol=1e-5) for c in curves)
        assert "alert" in [text.get_text() for text in ax.texts]
    pyplot.close(figure)
    with pytest.raises(ParameterError, match="empty"):
        overview(network, runs.isel(time=slice(0, 0)))
