"""Hydrographs: lines, bands, observations, runoff and thresholds are those of the data, by label, in its units."""

from __future__ import annotations

import inspect

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, UnitsError, XRouteError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.dates import date2num  # noqa: E402

from xroute.plotting import plot_hydrographs  # noqa: E402

HOURS = pd.date_range("2001-03-01", periods=48, freq="h")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def flow(n_members=0, times=HOURS, ids=(30, 10, 20)):
    """Discharge whose values say which reach, time and member they are of."""
    reach, time, member = np.arange(len(ids)), np.arange(len(times)), np.arange(max(n_members, 1))
    values = 1.0 + 100.0 * reach[:, None, None] + time[None, :, None] + member**2 / 7.0
    array = xr.DataArray(
        values, {"reach": list(ids), "time": times, "member": member}, name="discharge",
        attrs={"units": "m3 s-1", "long_name": "river discharge"},
    )  # fmt: skip
    return array if n_members else array.isel(member=0, drop=True)


def texts(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


def labelled(ax, label):
    found = [line for line in ax.lines if line.get_label() == label]
    assert len(found) == 1, [line.get_label() for line in ax.lines]
    return found[0]


def test_the_accessor_is_the_function_and_says_so():
    q = flow()
    ax = q.route.hydrograph(10)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), 101.0 + np.arange(48))
    parameters = inspect.signature(q.route.hydrograph).parameters
    assert list(parameters)[:2] == ["reaches", "ax"]
    assert {"observed", "runoff", "members", "quantiles", "thresholds"} <= set(parameters)
    assert "\nreaches\n" in q.route.hydrograph.__doc__
    with pytest.raises(TypeError, match="observd"):
        q.route.hydrograph(10, observd=q)


@pytest.mark.parametrize("reaches", [20, np.int64(20), [20], np.array([20]), {20: None}, (20,), pd.Index([20])])
def test_reaches_in_any_form(reaches):
    ax = flow().route.hydrograph(reaches=reaches)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), 201.0 + np.arange(48))
    assert texts(ax) == ["reach 20"]


def test_all_reaches_of_a_small_discharge_and_text_ids():
    q = flow(ids=("a", "b", "c"))
    assert texts(q.route.hydrograph()) == ["reach a", "reach b", "reach c"]
    assert texts(q.route.hydrograph("b")) == ["reach b"]
    assert texts(q.sel(reach="c").route.hydrograph()) == ["reach c"]


def test_dims_in_any_order_and_reaches_of_any_name():
    q = flow(5).transpose("member", "time", "reach").rename(reach="rivid", time="valid_time")
    ax = q.route.hydrograph(10)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 101.0 + np.arange(48) + 4 / 7)


def test_quantiles_make_nested_bands_with_their_names():
    q = flow(50)
    ax = q.route.hydrograph(10, quantiles=(0.75, 0.05, 0.5, 0.25, 0.95))
    assert texts(ax) == ["reach 10, median", "5–95 %", "25–75 %"]
    members = np.arange(50) ** 2 / 7.0
    for band, (low, high) in zip(ax.collections, ((0.05, 0.95), (0.25, 0.75)), strict=True):
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() == pytest.approx(101 + np.quantile(members, low))
        assert heights.max() == pytest.approx(148 + np.quantile(members, high))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 101 + np.arange(48) + np.median(members))
    assert len(q.route.hydrograph(10, quantiles=(0.1, 0.9)).collections) == 1
    alone = q.route.hydrograph(10, quantiles=(0.9,))
    assert texts(alone) == ["reach 10, 90 % quantile"] and not alone.collections


@pytest.mark.parametrize("quantiles", [(0.1, 1.2), (-0.1, 0.5), (0.5, 0.5), ("a",)])
def test_quantiles_that_are_none(quantiles):
    with pytest.raises((ParameterError, ValueError)):
        flow(3).route.hydrograph(10, quantiles=quantiles)


@pytest.mark.parametrize("members", [True, "member", ["member"]])
def test_members_as_lines(members):
    ax = flow(50).route.hydrograph([10], members=members)
    thin = [line for line in ax.lines if line.get_linewidth() < 1]
    assert len(thin) == 50 and "50 members" in texts(ax)
    np.testing.assert_allclose(thin[7].get_ydata(), 101 + np.arange(48) + 7.0)
    assert len(ax.collections) == 1  # and the band


def test_an_ensemble_beside_a_discharge():
    ax = (flow() * 2).assign_attrs(flow().attrs).route.hydrograph(10, members=flow(50).assign_attrs(units="L s-1"))
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), 2 * (101.0 + np.arange(48)))
    assert texts(ax) == ["reach 10", "median of members", "5–95 %"]
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert 0.1 < heights.max() < 1.0


def test_members_that_are_none_are_named():
    with pytest.raises(ParameterError, match="'number'.*'member'"):
        flow(3).route.hydrograph(10, members="number")
    with pytest.raises(ParameterError, match="members"):
        flow().route.hydrograph(10, members=True)


def test_members_that_are_nan_do_not_count():
    q = flow(3)
    q[{"member": 2}] = np.nan
    ax = q.route.hydrograph(10)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 101 + np.arange(48) + 0.5 / 7)


def observations(scale=1.0, units="m3 s-1"):
    values = np.stack([np.full(48, 55.0), 7.0 + np.arange(48)], axis=1) * scale
    values[10:14] = np.nan
    return xr.DataArray(values, {"time": HOURS, "reach": [20, 10]}, name="q", attrs={"units": units})


@pytest.mark.parametrize("form", ["array", "dataset", "frame", "csv", "gauges", "shuffled", "litres"])
def test_observations_by_label_in_any_form(form, tmp_path):
    given = observations()
    if form == "dataset":
        given = given.to_dataset(name="discharge")
    elif form in ("frame", "csv"):
        given = given.to_pandas()
        given.attrs["units"] = "m3 s-1"
        if form == "csv":
            given.to_csv(tmp_path / "gauges.csv")
            given = tmp_path / "gauges.csv"
    elif form == "gauges":
        given = given.rename(reach="gauge").assign_coords(reach=("gauge", [20, 10]), gauge=["b", "a"])
    elif form == "shuffled":
        given = given.isel(time=np.random.default_rng(0).permutation(48), reach=[1, 0])
    elif form == "litres":
        given = observations(1000.0, "L s-1")
    if form == "csv":
        with pytest.warns(UserWarning, match="no units"):
            ax = flow().route.hydrograph(10, observed=given)
    else:
        ax = flow().route.hydrograph(10, observed=given)
    dots = labelled(ax, "observed")
    expected = 7.0 + np.arange(48)
    expected[10:14] = np.nan
    np.testing.assert_allclose(dots.get_ydata(), expected)
    np.testing.assert_allclose(dots.get_xdata(), date2num(HOURS))
    assert dots.get_marker() == "o" and "observed" in texts(ax)


def test_observations_of_absent_steps_have_a_gap_and_outside_ones_no_place():
    longer = observations().reindex(time=pd.date_range("2001-02-27", periods=200, freq="h"), fill_value=3.0)
    given = longer.drop_sel(time=HOURS[20:30])
    ax = flow().route.hydrograph(10, observed=given)
    dots = labelled(ax, "observed")
    at, values = np.asarray(dots.get_xdata()), np.asarray(dots.get_ydata())
    inside = (at > date2num(HOURS[19])) & (at < date2num(HOURS[30]))
    assert np.isnan(values[inside]).all() and inside.any()
    assert ax.get_xlim() == pytest.approx(date2num(HOURS[[0, -1]]))


def test_means_of_days_are_drawn_as_steps_of_days():
    daily = flow().resample(time="1D").mean()
    ax = flow().route.hydrograph(10, observed=daily)
    line = labelled(ax, "observed")
    assert line.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(line.get_xdata(), date2num(pd.date_range("2001-03-01", periods=3)))
    np.testing.assert_allclose(line.get_ydata(), [101 + 11.5, 101 + 35.5, 101 + 35.5])
    ended = daily.assign_coords(time=daily.time + np.timedelta64(1, "D")).assign_attrs(time_label="end")
    same = labelled(flow().route.hydrograph(10, observed=ended), "observed")
    np.testing.assert_allclose(same.get_xdata(), line.get_xdata())


def test_observations_of_several_reaches_and_of_several_gauges_on_one():
    both = flow().route.hydrograph([10, 20], observed=observations())
    assert texts(both).count("observed") == 1
    colours = [line.get_color() for line in both.lines]
    assert colours[:2] == colours[2:] and colours[0] != colours[1]
    two = observations().rename(reach="gauge").assign_coords(reach=("gauge", [10, 10]), gauge=["up", "down"])
    assert texts(flow().route.hydrograph(10, observed=two))[1:] == ["observed, up", "observed, down"]


def test_observations_that_do_not_fit_are_named():
    q = flow()
    with pytest.raises(AlignmentError, match="30.*20, 10"):
        q.route.hydrograph(30, observed=observations())
    with pytest.raises(TimeAxisError, match="no time in common.*2031"):
        q.route.hydrograph(10, observed=observations().assign_coords(time=HOURS + pd.Timedelta("10958D")))
    with pytest.raises(UnitsError, match="cannot be converted"):
        q.route.hydrograph(10, observed=observations(units="mm"))
    with pytest.raises(XRouteError, match="-999"):
        q.route.hydrograph(10, observed=observations().fillna(-999.0))
    with pytest.raises(TimeAxisError, match="calendar|kind"):
        noleap = xr.date_range("2001-03-01", periods=48, freq="h", calendar="noleap", use_cftime=True)
        q.route.hydrograph(10, observed=observations().assign_coords(time=noleap))


def test_runoff_hangs_from_the_top_in_its_units_and_covers_no_curve():
    runoff = flow().assign_attrs(units="mm h-1", long_name="runoff") / 50
    runoff.attrs = {"units": "mm h-1"}
    ax = flow().route.hydrograph(10, runoff=runoff)
    twin = next(a for a in ax.figure.axes if a is not ax)
    assert twin.get_ylabel() == "Runoff\n[mm h⁻¹]" and twin.get_ylim()[1] == 0 < twin.get_ylim()[0]
    (bars,) = twin.collections
    outline = bars.get_paths()[0]
    days = date2num(HOURS)
    for k in (0, 20, 47):  # a bar is as long as its step, the last one too
        value = (101.0 + k) / 50
        middle = days[k] + 0.5 / 24
        assert outline.contains_point((middle, 0.99 * value)) and not outline.contains_point((middle, 1.01 * value))
    lowest_bar = twin.transData.transform((0, (101 + 47) / 50))[1]
    highest_point = ax.transData.transform((0, 148.0))[1]
    assert lowest_bar > highest_point
    assert texts(ax) == ["reach 10", "runoff"]


def test_areas_that_are_missing_are_named():
    network = xr.Dataset(
        {"downstream": ("reach", [20, 20, 0]), "area": ("reach", [3.0, np.nan, 4.0], {"units": "km2"})}, {"reach": [30, 10, 20]}
    )
    depth = flow().assign_attrs(units="mm h-1")
    with pytest.raises(ParameterError, match="1 of 3 reaches upstream have none: 10"):
        plot_hydrographs(flow(), 20, runoff=depth, network=network)


def test_runoff_upstream_is_weighted_by_area_or_summed():
    network = xr.Dataset(
        {"downstream": ("reach", [20, 20, 0]), "area": ("reach", [3.0, 1.0, 4.0], {"units": "km2"})}, {"reach": [30, 10, 20]}
    )
    depth = flow().assign_attrs(units="mm h-1")
    for units, name, value in (("mm h-1", "mean by area", (3 * 1 + 101 + 4 * 201) / 8), ("m3 s-1", "sum", 1 + 101 + 201)):
        ax = flow().route.hydrograph(20, runoff=depth.assign_attrs(units=units), network=network)
        twin = next(a for a in ax.figure.axes if a is not ax)
        assert texts(ax)[1] == f"runoff upstream, {name}"
        heights = twin.collections[0].get_paths()[0].vertices[:, 1]
        assert heights.max() == pytest.approx(value + (47 if units == "mm h-1" else 3 * 47))
    mean = flow().route.hydrograph([10, 20], runoff=depth)
    assert texts(mean)[-1] == "runoff, mean of 2 reaches"
    with pytest.raises(AlignmentError, match="lacks 1 reaches.*20"):
        flow().route.hydrograph([10, 20], runoff=depth.sel(reach=[10]))


def test_runoff_stamped_at_the_end_of_its_steps_hangs_before():
    runoff = flow().assign_attrs(units="mm h-1", time_label="end")
    ax = flow().route.hydrograph(10, runoff=runoff)
    twin = next(a for a in ax.figure.axes if a is not ax)
    assert twin.collections[0].get_paths()[0].vertices[:, 0].min() == pytest.approx(date2num(HOURS[0]) - 1 / 24)


def test_thresholds_are_dashed_lines_named_at_the_right():
    ax = flow().route.hydrograph(10, thresholds={"alert": 60.0, "flood": 400.0})
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [60.0, 400.0]
    assert ax.get_ylim()[1] > 400
    named = {t.get_text(): t for t in ax.texts}
    assert set(named) == {"alert", "flood"}
    ax.figure.canvas.draw()
    assert all(t.get_window_extent().x0 > ax.get_window_extent().x1 for t in named.values())


def test_thresholds_by_reach_in_their_units_and_by_period():
    limits = xr.DataArray(
        [[1e4, 2e4], [3e4, 4e4]], {"reach": [10, 20], "return_period": [2, 10]}, attrs={"units": "L s-1"}
    )
    ax = flow().route.hydrograph(20, thresholds=limits)
    assert [line.get_ydata()[0] for line in ax.lines[1:]] == pytest.approx([30.0, 40.0])
    assert [t.get_text() for t in ax.texts] == ["return period 2", "return period 10"]
    both = flow().route.hydrograph([20, 10], thresholds=limits.isel(return_period=0, drop=True))
    lines = {round(float(line.get_ydata()[0]), 6): line.get_color() for line in both.lines[2:]}
    assert lines == {30.0: both.lines[0].get_color(), 10.0: both.lines[1].get_color()}
    with pytest.raises(AlignmentError, match="30"):
        flow().route.hydrograph(30, thresholds=limits)


def test_names_of_near_thresholds_lie_apart():
    ax = flow().route.hydrograph(10, thresholds={"one": 100.0, "two": 100.5, "three": 101.0})
    ax.figure.canvas.draw()
    boxes = sorted((t.get_window_extent() for t in ax.texts), key=lambda b: b.y0)
    assert all(a.y1 <= b.y0 + 2 for a, b in zip(boxes, boxes[1:], strict=False))


def test_many_reaches_have_panels_with_one_legend():
    q = flow(4, ids=range(1, 9))
    axes = q.route.hydrograph(range(1, 9), thresholds=5.0)
    assert len(axes) == 8
    for k, ax in enumerate(axes):
        np.testing.assert_allclose(ax.lines[0].get_ydata()[0], 1 + 100 * k + 2.5 / 7)
        assert ax.get_title(loc="left") == f"reach {k + 1}" and ax.get_legend() is None
    figure = axes[0].figure
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["median", "5–95 %"]
    assert figure.get_supylabel() == "River discharge [m³ s⁻¹]"
    assert len(q.route.hydrograph([1, 2], col_wrap=1)) == 2
    with pytest.raises(ParameterError, match="col_wrap"):
        q.route.hydrograph([1, 2], ax=axes[0], col_wrap=1)
    with pytest.raises(ParameterError, match="col_wrap"):
        q.route.hydrograph([1, 2], col_wrap=0)


def test_a_log_axis_leaves_out_what_is_not_positive():
    q = flow()
    q[{"time": slice(0, 5)}] = 0.0
    ax = q.route.hydrograph(30, log=True)
    assert ax.get_yscale() == "log" and 0 < ax.get_ylim()[0] < 6 and ax.get_ylim()[1] > 48
    assert (q * 0).route.hydrograph(30, log=True).get_yscale() == "linear"


@pytest.mark.parametrize("n_members", [0, 3])
def test_one_step_can_be_seen(n_members):
    ax = flow(n_members).isel(time=[5]).route.hydrograph(10)
    ax.figure.canvas.draw()
    assert ax.lines[0].get_marker() == "o"
    low, high = ax.get_xlim()
    assert high - low == pytest.approx(1.0)  # day


def test_a_value_alone_between_gaps_can_be_seen():
    q = flow().where(lambda a: a.time.isin(HOURS[[3, 10, 11]]))
    line = q.route.hydrograph(10).lines[0]
    assert line.get_markevery() == [3] and line.get_marker() == "o"


def test_no_values_are_told():
    assert texts((flow() * np.nan).route.hydrograph([10, 20])) == ["reach 10 (no values)", "reach 20 (no values)"]
    ax = (flow(3) * np.nan).route.hydrograph(10)
    assert texts(ax)[0] == "reach 10, median (no values)"


def test_no_water_is_a_line_at_zero():
    ax = (flow() * 0).route.hydrograph(10)
    bottom, top = ax.get_ylim()
    assert bottom == 0 and top == 1 and ax.lines[0].get_zorder() > 2.5  # above the spine


def test_only_what_is_drawn_is_computed_and_once():
    q = flow(3, ids=range(100)).chunk(reach=1, member=-1, time=-1)
    counted = []
    lazy = q.map_blocks(lambda block: counted.append(block.size) or block, template=q)
    with dask.config.set(scheduler="synchronous"):
        lazy.route.hydrograph([5, 50])
    assert len([size for size in counted if size == 48 * 3]) == 2


@pytest.mark.parametrize(
    ("calendar", "periods", "freq", "ticks"),
    [
        ("noleap", 365 * 30, "D", {"1975", "1980"}), ("360_day", 720, "D", {"1970-07", "1971-01"}),
        ("noleap", 40, "D", {"1970-01-11", "1970-02-01"}), ("360_day", 24, "h", {"01-01 12:00", "01-01 18:00"}),
    ],
)  # fmt: skip
def test_ticks_of_other_calendars_stand_at_the_starts_of_their_units(calendar, periods, freq, ticks):
    times = xr.date_range("1970-01-01", periods=periods, freq=freq, calendar=calendar, use_cftime=True)
    ax = flow(times=times).route.hydrograph(10)
    ax.figure.canvas.draw()
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert ticks <= set(labels) and len(labels) <= 9, labels


def test_leads_have_ticks_at_whole_days_and_meet_dates_of_observations():
    leads = flow().assign_coords(time=np.arange(1, 49) * np.timedelta64(2, "h")).rename(time="step")
    leads = leads.assign_coords(time=np.datetime64("2001-03-01", "ns"))
    ax = leads.route.hydrograph(10, observed=observations())
    ax.figure.canvas.draw()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["12", "24", "36", "48", "60", "72", "84", "96"]
    assert ax.get_xlabel() == "Lead time [h]"
    np.testing.assert_allclose(labelled(ax, "observed").get_xdata(), np.arange(48.0), atol=1e-6)


def test_numbers_of_steps_have_a_label():
    counted = flow().drop_vars("time")
    assert counted.route.hydrograph(10).get_xlabel() == "Time step"


def test_what_is_unknown_is_named():
    with pytest.raises(AlignmentError, match="no such reach in the discharge: 99; it has 30, 10, 20"):
        flow().route.hydrograph([10, 99])
    with pytest.raises(AlignmentError, match="text|integers"):
        flow().route.hydrograph("10")
    with pytest.raises(AlignmentError, match="61 reaches"):
        flow(ids=range(61)).route.hydrograph()
    with pytest.raises(AlignmentError, match="no ids"):
        flow().drop_vars("reach").route.hydrograph(1)


def test_plain_functions_keep_their_old_words():
    ax = pyplot.subplots()[1]
    assert plot_hydrographs(flow(), {10: "Bridge"}, ax, colors=["#000000"], mark_peak=True, legend=False) is ax
    assert ax.get_legend() is None and ax.lines[1].get_ydata() == [148.0]
    assert xroute.plotting.plot_hydrographs is plot_hydrographs
