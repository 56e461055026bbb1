"""Pictures of scores: lines are the shares of gauges, dots are at the gauges' reaches, and what cannot be drawn is named."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute import AlignmentError, NetworkError, ParameterError
from xroute.datasets import scheidegger

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from xroute.plotting import plot_score_map, plot_scores  # noqa: E402

BEST = {"best": 1.0, "long_name": "efficiency", "units": "1"}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def found() -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = rng.uniform(-3, 1, (2, 2, 9))
    values[0, 1, 3] = np.nan
    coords = {"period": ["train", "test"], "run": ["new", "old"], "gauge": [f"g{k}" for k in range(9)]}
    return xr.Dataset({"nse": (("period", "run", "gauge"), values, BEST)}, coords)


def test_lines_are_shares_of_gauges():
    scores = found()
    ax = plot_scores(scores)
    assert [line.get_label().split(" (")[0] for line in ax.lines] == ["train, new", "train, old", "test, new", "test, old"]
    for line, values in zip(ax.lines, scores["nse"].values.reshape(4, 9), strict=True):
        known = values[np.isfinite(values)]
        x, y = line.get_xdata(), line.get_ydata()
        for at in (-2.0, -0.3, 0.5):
            share = y[x <= at].max(initial=0.0)
            assert share == pytest.approx((known <= at).mean())
        assert f"{np.median(known):.3g}" in line.get_label()
    assert ax.get_xlim()[0] == -1.0 and ax.get_xlabel() == "Efficiency [1]" and ax.get_ylabel() == "Share of gauges"
    on_reaches = scores.rename(gauge="reach")
    assert plot_scores(on_reaches).get_ylabel() == "Share of reaches"
    assert plot_scores(scores, lowest=-5).get_xlim()[0] == -5
    assert len(plot_scores(scores.sel(period="test", run="new")).lines) == 1
    with pytest.raises(ParameterError, match="kge.*nse"):
        plot_scores(scores, "kge")
    with pytest.raises(ParameterError, match="NaN"):
        plot_scores(scores * np.nan)


def test_dots_are_where_the_gauges_are():
    network = scheidegger(8, 6)
    ids = network.reach.values[[17, 3, 30]]
    values = xr.Dataset({"nse": ("gauge", [0.5, np.nan, -0.2], BEST)}, {"reach": ("gauge", ids), "gauge": list("abc")})
    ax = plot_score_map(network, values)
    unknown, dots = ax.collections[-2:]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], network.lon.values[[17, 30]])
    np.testing.assert_allclose(dots.get_offsets()[:, 1], network.lat.values[[17, 30]])
    np.testing.assert_allclose(unknown.get_offsets()[:, 0], network.lon.values[[3]])
    assert dots.get_array().tolist() == [0.5, -0.2] and dots.get_clim() == (-1.0, 1.0)
    bias = values.nse.assign_attrs(best=0.0, units="%").to_dataset(name="pbias")
    assert plot_score_map(network, bias, "pbias").collections[-1].get_clim() == (-0.5, 0.5)
    one = plot_score_map(network, values.isel(gauge=2)).collections[-1].get_offsets()
    np.testing.assert_allclose(one, [[network[n].values[30] for n in ("lon", "lat")]])
    for name in ("comid", "COMID"):  # whatever ids are called along gauges
        drawn = plot_score_map(network, values.rename(reach=name)).collections[-1].get_offsets()
        np.testing.assert_allclose(drawn[:, 0], network.lon.values[[17, 30]])
    with pytest.raises(AlignmentError, match="reach"):
        plot_score_map(network, values.drop_vars("reach"))
    with pytest.raises(NetworkError, match="99999"):
        plot_score_map(network, values.assign_coords(reach=("gauge", [99999, *ids[1:]])))
    with pytest.raises(ParameterError, match="run"):
        plot_score_map(network, xr.concat([values, values], "run"))


def test_scores_of_a_run_are_drawn():
    network, ds = xroute.datasets.tutorial()
    q = ds.runoff.isel(time=slice(0, 48)).astype(float).route(network)
    scores = xroute.scores(q, (1.2 * q.isel(reach=slice(0, 40))).assign_attrs(q.attrs), benchmarks={"late": q.shift(time=3)})
    assert len(plot_scores(scores, "kge").lines) == 2
    assert len(plot_score_map(network, scores.sel(run="late"), "peak_timing").collections[-1].get_offsets()) > 20


def line_at(line, x: float) -> float:
    """Share that a line of steps shows at a score."""
    return line.get_ydata()[line.get_xdata() <= x].max(initial=0.0)


@pytest.mark.parametrize("values", [[-5.0], [-5.0, -7.0], [-1.0]])
def test_scores_that_are_all_bad_are_within_an_axis_that_grows_rightwards(values):
    ax = plot_scores(xr.Dataset({"nse": ("gauge", values, BEST)}))
    low, high = ax.get_xlim()
    assert low < min(values) and high > max(values)


def test_an_axis_that_would_begin_beyond_all_scores_is_refused():
    with pytest.raises(ParameterError, match=r"lowest.*0\.5"):
        plot_scores(xr.Dataset({"nse": ("gauge", [0.3, 0.5], BEST)}), lowest=0.9)


def test_infinite_scores_are_counted_and_lost_ones_are_told():
    values = [[-np.inf, 0.2, 0.4, np.inf], [np.nan, np.nan, 0.1, 0.3], [np.nan] * 4]
    ax = plot_scores(xr.Dataset({"nse": (("run", "gauge"), values, BEST)}, {"run": ["a", "b", "c"]}))
    infinite, partly, none = ax.lines
    assert [line_at(infinite, x) for x in (0.1, 0.2, 0.4)] == [0.0, 0.5, 0.75]
    assert infinite.get_ydata()[0] == 0.25
    assert infinite.get_label() == "a (median 0.3)"
    assert partly.get_label() == "b (median 0.2, 2 of 4 without a score)"
    assert none.get_label() == "c (no score)" and none.get_xdata().size == 0


def test_many_runs_are_told_apart_and_named_beside_the_axes():
    runs = [f"run {k}" for k in range(20)]
    values = np.random.default_rng(1).uniform(0, 1, (20, 30))
    ax = plot_scores(xr.Dataset({"nse": (("run", "gauge"), values, BEST)}, {"run": runs}))
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 20
    ax.figure.canvas.draw()
    axes, legend = ax.get_window_extent(), ax.get_legend().get_window_extent()
    assert legend.x0 >= axes.x1 and legend.x1 <= ax.figure.bbox.x1 and legend.y0 >= ax.figure.bbox.y0
    assert axes.width > 300


def test_a_map_of_one_run_names_rings_and_scores_beyond_its_colours():
    network = scheidegger(8, 6)
    ids = network.reach.values[[17, 3, 30]]
    values = xr.Dataset({"nse": (("run", "gauge"), [[0.5, np.nan, -9.0]], BEST)}, {"reach": ("gauge", ids), "run": ["a"]})
    ax = plot_score_map(network, values)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no score (1 of 3)"]
    assert ax.collections[-1].colorbar.extend == "min"
    whole = plot_score_map(network, values.isel(gauge=[0]))
    assert whole.get_legend() is None and whole.collections[-1].colorbar.extend == "neither"


def test_ratios_are_coloured_about_one():
    network = scheidegger(8, 6)
    ids = network.reach.values[[17, 3]]
    values = xr.Dataset({"beta": ("gauge", [1.3, 0.9], {"best": 1.0, "units": "1"})}, {"reach": ("gauge", ids)})
    dots = plot_score_map(network, values, "beta").collections[-1]
    assert dots.get_clim() == pytest.approx((0.7, 1.3)) and dots.cmap.name == "RdBu"
