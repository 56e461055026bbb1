"""Maps and trees: what artists hold is what the data say, by id; scales, widths, places, gauges and legends."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings

import xroute
from tests.strategies import networks
from xroute.datasets import scheidegger
from xroute.exceptions import AlignmentError, NetworkError, ParameterError
from xroute.network import Network

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.collections import LineCollection, PathCollection, PolyCollection  # noqa: E402
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize, to_hex, to_rgb  # noqa: E402

from xroute.plotting import plot_network, plot_score_map  # noqa: E402
from xroute.plotting.layout import layout_points  # noqa: E402
from xroute.plotting.lines import FAST_LIMIT, river_lines  # noqa: E402
from xroute.plotting.scales import red_to_blue, water  # noqa: E402
from xroute.plotting.style import CATEGORY_COLOURS, PALE  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def network():
    return scheidegger(8, 6)


def small(**coords) -> xr.Dataset:
    """Four reaches: 10 and 20 join in 30, which drains to 40."""
    placed = {"lon": [0.0, 2.0, 1.0, 1.0], "lat": [3.0, 3.0, 2.0, 1.0], **coords}
    return xr.Dataset(
        {
            "downstream": ("reach", [30, 30, 40, 0]),
            "k": ("reach", [1.0, 2.0, 3.0, 4.0], {"units": "h", "long_name": "travel time"}),
        },
        {"reach": [10, 20, 30, 40], **{n: ("reach", v) for n, v in placed.items() if v is not None}},
    )


def on(ids, values, **attrs) -> xr.DataArray:
    return xr.DataArray(values, {"reach": ids}, name="q", attrs=attrs)


def lines_of(ax) -> LineCollection:
    return next(c for c in ax.collections if isinstance(c, LineCollection))


def dots_of(ax) -> PathCollection:
    return next(c for c in ax.collections if isinstance(c, PathCollection))


def drawn(ax) -> dict:
    """Values that are drawn, by where the reach lies that bears them: lines by their upper end, dots by their place."""
    found = {}
    for collection in ax.collections:
        values = np.ma.filled(collection.get_array(), np.nan)
        if isinstance(collection, LineCollection):
            places = [tuple(np.round(s[0], 9)) for s in collection.get_segments()]
        else:
            places = [tuple(np.round(p, 9)) for p in np.asarray(collection.get_offsets())]
        found.update(zip(places, values, strict=True))
    return found


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_reach_is_drawn_in_its_own_colour():
    """Sources as lines from their own place, the outlet as a dot at its own; by id, in whatever order values come."""
    ax = plot_network(small(), on([40, 30, 20, 10], [4.0, 3.0, 2.0, 1.0]))
    found = drawn(ax)
    assert found[0.0, 3.0] == 1.0 and found[2.0, 3.0] == 2.0 and found[1.0, 1.0] == 4.0
    assert 3.0 in found.values() and len(found) == 4


@pytest.mark.parametrize("kind", ["name", "array", "series", "mapping", "numpy", "comid", "dask", "size one"])
def test_values_come_in_any_form(kind):
    expected = {10: 7.0, 20: 5.0, 30: 9.0, 40: 8.0}
    ids, values = list(expected), list(expected.values())
    given_values = {
        "name": "extra",
        "array": on(ids[::-1], values[::-1]),
        "series": pd.Series(expected).iloc[::-1],
        "mapping": expected,
        "numpy": np.array(values),
        "comid": on(ids, values).rename(reach="comid"),
        "dask": on(ids, values).chunk(reach=2),
        "size one": on(ids, values).expand_dims(time=1),
    }[kind]
    found = drawn(small().assign(extra=("reach", values)).river.plot(given_values))
    assert found[0.0, 3.0] == 7.0 and found[2.0, 3.0] == 5.0 and found[1.0, 1.0] == 8.0


def test_lazy_values_are_computed_once():
    computed = []
    values = on([10, 20, 30, 40], [1.0, 2.0, 3.0, 4.0]).chunk(reach=-1)

    def count(block):
        computed.append(1)
        return block

    plot_network(small(), values.map_blocks(count, template=values), width="values")
    assert len(computed) == 1


def test_what_every_network_knows_has_a_name(network):
    of = Network(network)
    for name, expected in (("strahler", of.strahler), ("n_upstream", of.n_upstream)):
        lines = lines_of(network.river.plot(name))
        up = (network.downstream != 0).values
        assert sorted(np.asarray(lines.get_array())) == sorted(expected.values[up])


def test_mistakes_in_values_are_named(network):
    q = on(network.reach.values, np.arange(48.0))
    with pytest.raises(ParameterError, match="no variable 'K'.*'k'.*strahler"):
        network.river.plot("K")
    with pytest.raises(AlignmentError, match=r"max\('time'\)"):
        network.river.plot(q.expand_dims(time=3))
    with pytest.raises(AlignmentError, match=r"max\(\['member', 'time'\]\)"):
        network.river.plot(q.expand_dims(member=2, time=3))
    with pytest.raises(AlignmentError, match="lack reaches of the network: 1, 2.*reindex"):
        network.river.plot(q[2:])
    with pytest.raises(ParameterError, match="not a Dataset.*'q'"):
        network.river.plot(q.to_dataset())
    with pytest.raises(ParameterError, match="none of the 48 values is a number"):
        network.river.plot(q * np.nan)
    with pytest.raises(ParameterError, match="layout"):
        network.river.plot(layout="circle")
    with pytest.raises(ParameterError, match="scale is a factor"):
        network.river.plot(scale=0)
    with pytest.raises(TypeError, match="colour"):
        network.river.plot(colour="red")


def test_durations_are_drawn_in_hours_and_dates_as_dates():
    ids = [10, 20, 30, 40]
    ax = plot_network(small(), on(ids, np.array([1, 2, 3, 4]) * np.timedelta64(90, "m"), long_name="lag"))
    assert drawn(ax)[0.0, 3.0] == 1.5 and ax.figure.axes[1].get_ylabel() == "Lag [h]"
    when = np.array(["2001-03-01", "2001-03-02", "2001-03-05", "NaT"], "datetime64[ns]")
    ax = plot_network(small(), on(ids, when, long_name="time of the peak"))
    ax.figure.canvas.draw()
    assert drawn(ax)[2.0, 3.0] - drawn(ax)[0.0, 3.0] == 1.0 and np.isnan(drawn(ax)[1.0, 1.0])
    labels = [t.get_text() for t in ax.figure.axes[1].get_yticklabels()]
    assert any("Mar" in t or "02" in t for t in labels)


def test_no_value_is_grey_and_counted():
    ax = plot_network(small(), on([10, 20, 30, 40], [1.0, np.nan, np.inf, 4.0]))
    assert to_hex(lines_of(ax).cmap.get_bad()) == PALE
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["no value (2)"]
    assert lines_of(ax).get_clim() == (1.0, 4.0)


# ── scales ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

IDS = [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("values", "options", "kind", "limits"),
    [
        ([1.0, 2.0, 3.0, 4.0], {}, Normalize, (1.0, 4.0)),
        ([1.0, 2.0, 3.0, 400.0], {}, LogNorm, (1.0, 400.0)),
        ([0.0, 2.0, 3.0, 400.0], {}, LogNorm, (2.0, 400.0)),
        ([1e-12, 2.0, 3.0, 400.0], {}, LogNorm, (4e-4, 400.0)),
        ([-1.0, 2.0, 3.0, 4.0], {}, Normalize, (-4.0, 4.0)),
        ([-1e-9, 2.0, 3.0, 4.0], {}, Normalize, (-1e-9, 4.0)),  # a rounding error is no other side
        ([-1.0, 2.0, 3.0, 4.0], {"center": False}, Normalize, (-1.0, 4.0)),
        ([1.0, 2.0, 3.0, 4.0], {"center": 2.0}, Normalize, (0.0, 4.0)),
        ([1.0, 2.0, 3.0, 400.0], {"norm": "linear"}, Normalize, (1.0, 400.0)),
        ([1.0, 2.0, 3.0, 4.0], {"norm": "log"}, LogNorm, (1.0, 4.0)),
        ([1.0, 2.0, 3.0, 4.0], {"vmin": 2.0, "vmax": 3.0}, Normalize, (2.0, 3.0)),
        ([1.0, 2.0, 3.0, 400.0], {"vmin": 0.0}, Normalize, (0.0, 400.0)),
        ([1.0, 2.0, 3.0, 400.0], {"vmin": 10.0}, LogNorm, (10.0, 400.0)),
        ([5.0, 5.0, 5.0, 5.0], {}, Normalize, (0.0, 5.0)),
        ([0.0, 0.0, 0.0, 0.0], {}, Normalize, (0.0, 1.0)),
        ([-5.0, -5.0, -5.0, -5.0], {}, Normalize, (-5.0, 0.0)),
        ([1.0, 2.0, 3.0, 4.0], {"norm": Normalize(-7.0, 7.0)}, Normalize, (-7.0, 7.0)),
        ([1.0, 2.0, 3.0, 4.0], {"levels": [0.0, 2.0, 5.0]}, BoundaryNorm, (0.0, 5.0)),
    ],
)
def test_a_scale_fits_its_values(values, options, kind, limits):
    lines = lines_of(plot_network(small(), on(IDS, values), **options))
    assert type(lines.norm) is kind and lines.get_clim() == pytest.approx(limits)
    lines.figure.canvas.draw()


def test_values_on_both_sides_of_zero_have_a_diverging_colour_map_and_others_do_not():
    assert lines_of(plot_network(small(), on(IDS, [-1.0, 2.0, 3.0, 4.0]))).cmap.name == "RdBu"
    assert lines_of(plot_network(small(), on(IDS, [1.0, 2.0, 3.0, 4.0]))).cmap.name == "water"
    assert lines_of(plot_network(small(), on(IDS, [-1.0, 2.0, 3.0, 4.0]), cmap="PuOr")).cmap.name == "PuOr"


def test_zeros_on_a_logarithmic_scale_are_palest_and_told():
    ax = plot_network(small(), on(IDS, [0.0, 2.0, 3.0, 400.0], long_name="discharge", units="m3 s-1"))
    bar = next(a for a in ax.figure.axes if a is not ax)
    assert bar.get_ylabel() == "Discharge [m³ s⁻¹]; palest: 0"
    lines = lines_of(ax)
    ax.figure.canvas.draw()
    source = next(k for k, s in enumerate(lines.get_segments()) if np.allclose(s[0], (0.0, 3.0)))
    np.testing.assert_allclose(lines.get_edgecolors()[source], lines.cmap(0.0))
    assert not np.allclose(lines.get_edgecolors()[source][:3], to_rgb(PALE))


def test_levels_are_steps_and_what_is_beyond_is_pointed():
    ax = plot_network(small(), on(IDS, [1.0, 2.0, 3.0, 40.0]), levels=[2.0, 5.0, 10.0])
    assert lines_of(ax).norm.extend == "both" and list(lines_of(ax).norm.boundaries) == [2.0, 5.0, 10.0]
    counted = lines_of(plot_network(small(), on(IDS, [1.0, 2.0, 3.0, 40.0]), levels=6)).norm
    assert 3 <= len(counted.boundaries) <= 8 and counted.boundaries[0] <= 1 and counted.boundaries[-1] >= 40
    assert lines_of(plot_network(small(), on(IDS, np.arange(4.0)), vmax=2.0)).colorbar.extend == "max"


def test_robust_leaves_outliers_out(network):
    values = np.linspace(10.0, 20.0, 48)
    values[5] = 900.0
    low, high = lines_of(network.river.plot(on(network.reach.values, values), robust=True)).get_clim()
    np.testing.assert_allclose((low, high), np.percentile(values, [2, 98]))
    assert high < 500.0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"norm": Normalize(0, 1), "vmin": 0.5}, "limits of its own"),
        ({"vmin": 3.0, "vmax": 2.0}, "not below"),
        ({"vmin": np.nan}, "vmin is a number"),
        ({"norm": "square"}, "'log', 'linear'"),
        ({"cmap": "no such map"}, "no colour map"),
        ({"levels": 1}, "at least 2"),
        ({"levels": [3.0, 2.0]}, "increase"),
        ({"norm": "log", "vmin": -1.0}, "needs positive"),
    ],
)
def test_options_that_cannot_be_are_named(options, match):
    with pytest.raises(ParameterError, match=match):
        plot_network(small(), on(IDS, [1.0, 2.0, 3.0, 4.0]), **options)


def test_a_colour_bar_says_name_and_units():
    ax = small().river.plot("k")
    assert ax.figure.axes[1].get_ylabel() == "Travel time [h]"
    assert len(small().river.plot("k", colorbar=False).figure.axes) == 1
    assert small().river.plot("k", label="hours").figure.axes[1].get_ylabel() == "hours"


# ── categories and basins ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_is_drawn_in_categories_with_a_legend():
    ax = small().assign(rock=("reach", ["lime", "granite", "lime", "lime"])).river.plot("rock")
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    colours = [to_hex(line.get_color()) for line in ax.get_legend().get_lines()]
    assert texts == ["lime", "granite"] and len(set(colours)) == 2 and len(ax.figure.axes) == 1
    ax.figure.canvas.draw()
    lines = lines_of(ax)
    source = next(k for k, s in enumerate(lines.get_segments()) if np.allclose(s[0], (2.0, 3.0)))
    assert to_hex(lines.get_edgecolors()[source]) == colours[1]


def test_many_categories_share_a_colour_and_are_counted(network):
    names = np.array([f"c{k:05d}" for k in range(48)])
    names[:20] = "common"
    ax = network.assign(c=("reach", names)).river.plot("c")
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    n = len(CATEGORY_COLOURS)
    assert texts[0] == "common" and texts[-1] == f"{28 - (n - 2)} others" and len(texts) == n


def test_basins_have_a_colour_each(network):
    ax = network.river.plot(basins=True)
    of = Network(network)
    sizes = pd.Series(of.basins.values).value_counts()
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts[: len(sizes)] == [str(i) for i in sorted(sizes.index, key=lambda i: (-sizes[i], str(i)))]
    by_basin = {}
    up = (network.downstream != 0).values
    where = zip(network.lon.values.round(9), network.lat.values.round(9), strict=True)
    places = dict(zip(where, of.basins.values, strict=True))
    for place, colour in drawn(ax).items():
        if place in places:
            by_basin.setdefault(places[place], set()).add(colour)
    assert up.any() and all(len(c) == 1 for c in by_basin.values()) and len(by_basin) == len(sizes)


def test_parts_that_drain_through_reaches_are_coloured_and_the_rest_is_grey():
    ax = small().river.plot(basins=[30])
    found = drawn(ax)
    assert found[0.0, 3.0] == found[2.0, 3.0] == 0.0 and np.isnan(found[1.0, 1.0])
    nested = drawn(small().river.plot(basins=[30, 10]))
    assert nested[0.0, 3.0] != nested[2.0, 3.0]
    with pytest.raises(NetworkError, match="99"):
        small().river.plot(basins=[99])


def test_hulls_hold_their_basins(network):
    from matplotlib.path import Path

    ax = network.river.plot("k", basins=True)
    hulls = next(c for c in ax.collections if isinstance(c, PolyCollection))
    of = Network(network).basins.values
    paths = [Path(p.vertices) for p in hulls.get_paths()]
    for basin in np.unique(of):
        inside = np.column_stack([network.lon, network.lat])[of == basin]
        flat = len(inside) < 3 or np.linalg.matrix_rank(inside - inside[0]) < 2
        assert flat or any(p.contains_points(inside, radius=r).all() for p in paths for r in (1e-6, -1e-6))
    assert len(paths) == len(np.unique(of)) and hulls.get_zorder() < lines_of(ax).get_zorder()


# ── widths ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def widths_by(ax, network, values) -> list:
    """Widths of sources' lines with their values, from small to large values."""
    lines = lines_of(ax)
    of = {(round(x, 9), round(y, 9)): v for x, y, v in zip(network.lon.values, network.lat.values, values, strict=True)}
    pairs = [(of[tuple(np.round(s[0], 9))], w) for s, w in zip(lines.get_segments(), lines.get_linewidths(), strict=True)
             if tuple(np.round(s[0], 9)) in of]  # fmt: skip
    return sorted(pairs)


def test_widths_grow_with_order_or_with_what_is_named(network):
    order = Network(network).strahler
    lines = lines_of(network.river.plot(color="red"))
    widths = np.asarray(lines.get_linewidths())
    assert (np.diff(widths) >= 0).all() and len(np.unique(widths)) == len(np.unique(order[network.downstream != 0]))
    q = on(network.reach.values, np.random.default_rng(0).uniform(1, 100, 48), long_name="discharge", units="m3 s-1")
    for width in ("q", "values", "discharge"):
        values = q if width in ("values", "discharge") else "k"
        drawn_on = network.assign(q=q).river.plot(values, width=width)
        pairs = widths_by(drawn_on, network, q.values)
        assert len(pairs) > 5 and (np.diff([w for _, w in pairs]) > 0).all()
    of_array = network.river.plot("k", width=q)
    assert widths_by(of_array, network, q.values) == pairs
    ratio = np.array([(w - 0.35) / np.sqrt(v) for v, w in pairs])
    np.testing.assert_allclose(ratio, ratio[0])
    assert set(lines_of(network.river.plot(width=2.0)).get_linewidths()) == {2.0}
    assert max(lines_of(network.river.plot(scale=2.0)).get_linewidths()) == 2 * widths.max()


def test_widths_that_show_something_else_have_a_legend(network):
    q = on(network.reach.values, np.linspace(1, 470, 48), long_name="discharge", units="m3 s-1")
    ax = network.river.plot("k", width=q)
    legend = ax.get_legend()
    assert legend.get_title().get_text() == "Width: Discharge [m³ s⁻¹]"
    values = [float(t.get_text()) for t in legend.get_texts()]
    assert values == [4.0, 40.0, 400.0]
    drawn_widths = [line.get_linewidth() for line in legend.get_lines()]
    np.testing.assert_allclose(drawn_widths, 0.35 + 3.4 * np.sqrt(np.array(values) / 470))
    assert network.river.plot(q, width="values").get_legend() is None
    assert network.river.plot("k", width=q, legend=False).get_legend() is None


def test_legends_are_beneath_the_map(network):
    q = on(network.reach.values, np.linspace(1, 470, 48), long_name="discharge", units="m3 s-1")
    ax = network.assign(soil=("reach", np.resize(["clay", "sand"], 48))).river.plot("soil", width=q)
    ax.figure.canvas.draw()
    legends = [a for a in ax.get_children() if isinstance(a, matplotlib.legend.Legend)]
    assert len(legends) == 2
    below = min(label.get_window_extent().y0 for label in ax.get_xticklabels() if label.get_text())
    for legend in legends:
        assert legend.get_window_extent().y1 <= below + 1
    a, b = (legend.get_window_extent() for legend in legends)
    assert not a.overlaps(b)


@pytest.mark.parametrize(
    ("width", "match"),
    [("soil", "categories"), ("nothing", "no variable 'nothing' for width"), (0.0, "above 0"), ("gone", "none of the 48 values")],
)
def test_widths_that_cannot_be_are_named(network, width, match):
    odd = network.assign(soil=("reach", np.resize(["clay", "sand"], 48)), gone=("reach", np.full(48, np.nan)))
    with pytest.raises(ParameterError, match=match):
        odd.river.plot("k", width=width)


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shift", [0.0, 180.0, 359.0])
@pytest.mark.parametrize("written", ["0-360", "-180-180"])
def test_no_line_goes_across_the_map(shift, written):
    """Wherever a network of 0.6 degrees lies, and however its longitudes are written, its map is as wide."""
    network = scheidegger(6, 12)
    inside = network.downstream.values > 0
    x = dict(zip(network.reach.values, network.lon.values, strict=True))
    longest = max(abs(x[i] - x[d]) for i, d in zip(network.reach.values[inside], network.downstream.values[inside], strict=True))
    lon = (network.lon.values + shift) % 360.0
    lon = np.where(lon > 180, lon - 360, lon) if written == "-180-180" else lon
    ax = network.assign_coords(lon=("reach", lon)).river.plot()
    across = np.concatenate([np.abs(np.diff(s[:, 0])) for s in lines_of(ax).get_segments()])
    assert across.max() <= longest + 1e-9
    assert np.ptp(ax.get_xlim()) < 1.0


def test_degrees_beyond_the_date_line_are_named_as_people_do():
    ax = small(lon=[179.0, -179.0, 180.0, 179.9]).river.plot()
    ax.figure.canvas.draw()
    texts = {t.get_text() for t in ax.get_xticklabels()}
    assert "180°" in texts and any(t.endswith("E") for t in texts) and any(t.endswith("W") for t in texts)
    assert all(float(t.rstrip("°EW")) <= 180 for t in texts)


@pytest.mark.parametrize("wide", [2.2, 3.0, 6.0])
def test_labels_of_longitudes_keep_apart(wide):
    ax = small(lon=[24.31, 24.52, 24.41, 24.4], lat=[49.0, 46.0, 47.0, 48.0]).river.plot(figsize=(wide, 6.0))
    ax.set_aspect("auto")
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    shown = [t for t, at in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True) if low <= at <= high]
    boxes = [t.get_window_extent() for t in shown]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes)) and (len(boxes) >= 2)


def test_reaches_without_a_place_are_counted_and_rivers_cross_the_gap():
    gap = small(lon=[0.0, 2.0, np.nan, 1.0])
    with pytest.warns(UserWarning, match="1 of 4 reaches has no place.*: 30") as caught:
        ax = gap.river.plot("k")
    assert len(caught) == 1
    segments = lines_of(ax).get_segments()
    ends = sorted((tuple(s[0]), tuple(s[-1])) for s in segments)
    assert ends == [((0.0, 3.0), (1.0, 1.0)), ((2.0, 3.0), (1.0, 1.0))]
    assert 3.0 not in drawn(ax).values()
    with pytest.warns(UserWarning, match="1 of 4 reaches has no place.*: 40"):
        assert len(lines_of(small(lon=[0.0, 2.0, 1.0, -9999.0]).river.plot("k")).get_segments()) == 2
    with pytest.raises(ParameterError, match="none of the 4 reaches has a place.*layout"):
        small(lon=[np.nan] * 4).river.plot()


def test_a_projection_is_drawn_in_its_units():
    metre = {"units": "m"}
    plane = small(lon=None, lat=None).assign_coords(
        easting=("reach", [0.0, 2e3, 1e3, 1e3], metre), northing=("reach", [3e3, 3e3, 2e3, 1e3], metre)
    )
    ax = plane.river.plot()
    assert ax.get_xlabel() == "Easting [m]" and ax.get_ylabel() == "Northing [m]" and ax.get_aspect() == 1.0
    assert layout_points(Network(plane)).x.tolist() == [0.0, 2e3, 1e3, 1e3]


def test_one_reach_is_a_dot():
    one = scheidegger(1, 1)
    ax = one.river.plot(on([1], [0.0]))
    offsets = dots_of(ax).get_offsets()
    np.testing.assert_allclose(offsets, [[one.lon.item(), one.lat.item()]])
    assert dots_of(ax).get_sizes().min() >= 9.0 and dots_of(ax).get_array().tolist() == [0.0]
    ax.figure.canvas.draw()
    assert ax.get_xlim()[0] < one.lon.item() < ax.get_xlim()[1]
    assert len(dots_of(one.drop_vars(["lon", "lat"]).river.plot()).get_offsets()) == 1


def test_two_pictures_on_one_axes_are_both_in_view():
    ax = small().river.plot()
    small(lon=[10.0, 12.0, 11.0, 11.0]).river.plot(ax=ax)
    assert ax.get_xlim()[0] <= 0.0 and ax.get_xlim()[1] >= 12.0


# ── trees ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_tree(dataset: xr.Dataset) -> None:
    """Parents under their children and between the outermost, leaves apart, no subtree within another, nothing overlaps."""
    network = Network(dataset)
    points = layout_points(network, "tree")
    below = xroute.topology.drains_to(network.links, network.n_reaches)
    x, y = points.x, points.y
    children = {i: np.flatnonzero(below == i) for i in range(network.n_reaches)}
    leaves = [i for i, own in children.items() if not own.size]
    assert len({x[i] for i in leaves}) == len(leaves) and min(np.diff(sorted(x[leaves])), default=1.0) >= 1.0
    spans = {}
    for i in np.argsort(-y, kind="stable"):
        own = children[int(i)]
        if own.size:
            assert (y[own] == y[i] + 1).all()
            assert x[own].min() - 1e-9 <= x[i] <= x[own].max() + 1e-9
            parts = sorted(spans[int(c)] for c in own)
            assert all(a[1] < b[0] for a, b in itertools.pairwise(parts))
            spans[int(i)] = (parts[0][0], parts[-1][1])
        else:
            spans[int(i)] = (x[i], x[i])
    roots = sorted(spans[int(i)] for i in np.flatnonzero(below < 0))
    assert (y[below < 0] == 0).all() and all(a[1] < b[0] for a, b in itertools.pairwise(roots))


@settings(max_examples=40, deadline=None)
@given(networks())
def test_trees_are_tidy(dataset):
    check_tree(dataset[0])


def test_a_forest_and_a_long_river_are_tidy():
    check_tree(scheidegger(20, 15))
    chain = xr.Dataset({"downstream": ("reach", [*range(2, 101), 0])}, {"reach": np.arange(1, 101)})
    points = layout_points(Network(chain), "tree")
    assert set(points.x) == {0.0} and points.y.tolist() == list(range(99, -1, -1))


def test_without_coordinates_a_tree_is_drawn(network):
    bare = network.drop_vars(["lon", "lat"])
    ax = bare.river.plot("k")
    assert ax.get_ylabel() == "Links to the outlet" and not ax.get_xticks().size
    for segment in lines_of(ax).get_segments():
        assert segment[0][1] > segment[-1][1]  # down to the outlet
    assert len(lines_of(ax).get_segments()) == (network.downstream != 0).sum()
    assert network.river.plot(layout="tree").get_ylabel() == "Links to the outlet"
    assert network.river.plot().get_ylabel() == ""
    with pytest.raises(ParameterError, match="no lon and no lat.*layout"):
        bare.river.plot(layout="map")


def test_arms_of_a_river_that_parts_are_drawn_over_the_tree():
    parts = xr.Dataset(
        {
            "upstream_reach": ("link", [1, 1, 2, 3]),
            "downstream_reach": ("link", [2, 3, 4, 4]),
            "fraction": ("link", [0.6, 0.4, 1.0, 1.0]),
        },
        {"reach": [1, 2, 3, 4]},
    )
    assert len(lines_of(parts.river.plot()).get_segments()) == 4


# ── gauges ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def gauge_dots(ax):
    return next(line for line in ax.lines if line.get_label() == "_gauges").get_xydata()


@pytest.mark.parametrize("kind", ["ids", "one", "mapping", "series", "array", "dataset", "on reach"])
def test_gauges_stand_at_their_reaches_with_their_names(kind):
    labelled = xr.DataArray([1.0, 2.0], {"gauge": ["Weir", "Bridge"], "reach": ("gauge", [20, 40])}, dims="gauge", name="q")
    gauges, names = {
        "ids": ([20, 40], ["20", "40"]),
        "one": (20, ["20"]),
        "mapping": ({20: "Weir", 40: "Bridge"}, ["Weir", "Bridge"]),
        "series": (pd.Series({20: "Weir", 40: "Bridge"}), ["Weir", "Bridge"]),
        "array": (labelled, ["Weir", "Bridge"]),
        "dataset": (labelled.to_dataset(), ["Weir", "Bridge"]),
        "on reach": (on([20, 40], [1.0, 2.0]), ["20", "40"]),
    }[kind]
    ax = small().river.plot(gauges=gauges)
    assert [t.get_text() for t in ax.texts] == names
    np.testing.assert_allclose(gauge_dots(ax), [[2.0, 3.0], [1.0, 1.0]][: len(names)])
    with pytest.raises(NetworkError, match="99"):
        small().river.plot(gauges=[99])
    with pytest.raises(AlignmentError, match="no coordinate 'reach'"):
        small().river.plot(gauges=labelled.drop_vars("reach"))


def visible_boxes(ax):
    from matplotlib.text import Text

    renderer = ax.figure.canvas.get_renderer()
    names = [t for t in ax.texts if t.get_visible() and not t.get_text().startswith("no room")]
    return [Text.get_window_extent(t, renderer) for t in names]


def test_names_of_gauges_keep_clear_of_each_other_and_stay_inside(network):
    ids = network.reach.values[::3]
    ax = network.river.plot(gauges={int(i): f"Gauge {i}" for i in ids})
    ax.figure.canvas.draw()
    boxes = visible_boxes(ax)
    frame = ax.get_window_extent()
    hidden = len(ids) - len(boxes)
    assert len(boxes) > 8
    for box in boxes:
        assert box.x0 >= frame.x0 - 1 and box.x1 <= frame.x1 + 1 and box.y0 >= frame.y0 - 1 and box.y1 <= frame.y1 + 1
    for a, b in itertools.combinations(boxes, 2):
        assert not (a.x0 < b.x1 - 1 and b.x0 < a.x1 - 1 and a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1)
    said = [t.get_text() for t in ax.texts if t.get_text().startswith("no room")]
    assert said == ([f"no room for {hidden} of {len(ids)} names"] if hidden else [])


def test_names_for_which_there_is_no_room_are_counted():
    crowd = scheidegger(20, 20)
    ax = crowd.river.plot(gauges={int(i): f"A rather long name {i}" for i in crowd.reach.values}, figsize=(3, 3))
    ax.figure.canvas.draw()
    hidden = sum(not t.get_visible() for t in ax.texts)
    assert hidden > 100
    assert ax.texts[-1].get_text() == f"no room for {hidden} of 400 names"
    assert len(gauge_dots(ax)) == 400


def test_gauges_without_a_place_are_told_of():
    with (
        pytest.warns(UserWarning, match="1 of 2 gauges are on reaches without a place.*: 30"),
        pytest.warns(UserWarning, match="1 of 4"),
    ):
        ax = small(lon=[0.0, 2.0, np.nan, 1.0]).river.plot(gauges=[30, 40])
    assert len(gauge_dots(ax)) == 1 and [t.get_text() for t in ax.texts] == ["40"]


# ── other pictures with the same places ───────────────────────────────────────────────────────────────────────────────────


def test_dots_of_scores_lie_on_their_rivers_across_the_date_line():
    network = small(lon=[179.5, -179.5, 180.0, -180.0])
    scores = xr.Dataset({"nse": ("gauge", [0.1, 0.9], {"best": 1.0})}, {"reach": ("gauge", [10, 20]), "gauge": ["a", "b"]})
    ax = plot_score_map(network, scores)
    np.testing.assert_allclose(ax.collections[-1].get_offsets()[:, 0] % 360.0, [179.5, 180.5])
    assert np.ptp(ax.collections[-1].get_offsets()[:, 0]) == 1.0 and np.ptp(ax.get_xlim()) < 2.0
    bare = plot_score_map(network.drop_vars(["lon", "lat"]), scores)
    points = layout_points(Network(network), "tree")
    np.testing.assert_allclose(bare.collections[-1].get_offsets()[:, 0], points.x[:2])


def test_a_footprint_lies_where_its_network_does():
    """A part of a network is wrapped with the whole, not about its own middle."""
    network = scheidegger(6, 12)
    network = network.assign_coords(lon=("reach", (network.lon.values + 180.0) % 360.0))
    runoff = xroute.datasets.storm_runoff(network, 24, dtype=float)
    for outlet in Network(network).outlets[:4]:
        water = xroute.footprint(network, int(outlet), runoff, window=runoff.time.values[-1])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ax = xroute.plotting.plot_footprint(network, water).axes[0]
        assert np.ptp(ax.get_xlim()) < 1.5


def test_an_overview_marks_its_gauges_on_the_tree_where_there_is_no_map(network):
    runoff = xroute.datasets.storm_runoff(network, 24, dtype=float)
    bare = network.drop_vars(["lon", "lat"])
    ax = xroute.plotting.overview(bare, runoff, {20: "Weir"}).axes[0]
    points = layout_points(Network(bare), "tree")
    assert ax.lines[0].get_xydata()[0].tolist() == [points.x[19], points.y[19]]


# ── very many ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_very_many_lines_are_one_artist_drawn_in_bundles():
    n = FAST_LIMIT + 1
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 1, (n, 1, 2))
    paths = np.concatenate([start, start + rng.normal(0, 0.01, (n, 1, 2))], axis=1)
    widths = np.sort(rng.choice([0.5, 1.0, 2.0], n))
    values = rng.integers(0, 10, n).astype(float)
    lines = river_lines(paths, widths)
    lines.set_array(values)
    ax = pyplot.subplots()[1]
    ax.add_collection(lines)
    ax.autoscale_view()
    np.testing.assert_allclose(lines.get_datalim(ax.transData).extents, [*paths.min((0, 1)), *paths.max((0, 1))])
    drawn_paths = []
    renderer = ax.figure.canvas.get_renderer()
    renderer.draw_path_collection = lambda gc, transform, paths, *rest, **more: drawn_paths.extend(paths)
    lines.draw(renderer)
    assert lines._paths is None and 30 <= len(drawn_paths) < 100
    assert sum(len(p.vertices) for p in drawn_paths) == 2 * n
    np.testing.assert_array_equal(lines.get_array(), values)
    assert len(lines.get_segments()) == n and len(lines.get_linewidths()) == n


def test_bundles_paint_the_same_picture():
    """A few lines, drawn both ways, give nearly the same pixels."""
    from xroute.plotting.lines import _bundled

    rng = np.random.default_rng(1)
    paths, widths = rng.uniform(0, 1, (60, 2, 2)), np.sort(rng.choice([1.0, 3.0], 60))
    images = []
    for kind in (LineCollection, _bundled()):
        figure, ax = pyplot.subplots(figsize=(3, 3), dpi=60)
        lines = kind(paths, linewidths=widths, capstyle="round", joinstyle="round", colors="k")
        ax.add_collection(lines)
        ax.set_axis_off()
        figure.canvas.draw()
        images.append(np.asarray(figure.canvas.buffer_rgba())[..., 0].astype(float))
    assert images[0].min() < 50 and np.abs(images[0] - images[1]).mean() < 2.0


def test_crowded_pictures_have_thinner_lines():
    many, few = (lines_of(scheidegger(n, n).river.plot()).get_linewidths() for n in (200, 100))
    assert max(many) == pytest.approx(max(few) * 0.5**0.25, rel=1e-6)


# ── colours ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

DEUTERANOPIA = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
PROTANOPIA = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])
"""Machado, Oliveira and Fernandes (2009), severity 1: what is seen of linear RGB."""


def seen(colours, matrix):
    """Lightness and two opponents (CIELAB) of colours as somebody sees them."""
    rgb = np.array([to_rgb(c) for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ matrix.T
    xyz = np.clip(linear, 0, 1) @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])


@pytest.mark.parametrize("matrix", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deuteranopia", "protanopia"])
def test_colours_are_told_apart_by_everybody(matrix):
    lab = seen(CATEGORY_COLOURS, matrix)
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)]
    assert min(apart) > 10.0
    lightness = seen([tuple(c[:3]) for c in water()(np.linspace(0, 1, 12))], matrix)[:, 0]
    assert (np.diff(lightness) < 0).all() and lightness[0] < 88.0  # paler to darker, and never as white as paper
    ends = seen([tuple(red_to_blue()(x)[:3]) for x in (0.1, 0.5, 0.9)], matrix)
    assert np.linalg.norm(ends[0] - ends[2]) > 30.0 and ends[1][0] < 86.0


def test_an_invented_world_closes_round_its_own_cylinder() -> None:
    """Links over the seam of the lattice go the short way; of a network that says nothing, the way across the map."""
    network = xroute.datasets.scheidegger(40, 12, seed=1)
    apart = [float(np.ptp(path[:, 0])) for path in network.river.plot().collections[0].get_segments()]
    assert max(apart) < 0.11  # two cells of a twentieth of a degree
    del network["lon"].attrs["period"]
    apart = [float(np.ptp(path[:, 0])) for path in network.river.plot().collections[0].get_segments()]
    assert max(apart) > 0.4
