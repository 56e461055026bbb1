"""Budgets: bars and steps are the terms of the budget, in units that fit, and a residual shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import AlignmentError, ParameterError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from xroute.plotting import plot_budget  # noqa: E402

ZERO = ("known_gain", "from_other_basins", "left_by_fractions")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def a_budget(scale=1.0, lost=0.0, dims=("basin",), **coords):
    shape = tuple({"basin": 3, **{d: len(c) for d, c in coords.items()}}[d] for d in dims)
    size = np.array([1.0, 5.0, 2.0]).reshape([3 if d == "basin" else 1 for d in dims]) * np.ones(shape) * scale
    terms = {
        "inflow": 10 * size, "storage_start": 1 * size, "outflow": (8 - lost) * size, "storage_end": 3 * size,
        "residual": lost * size, **{name: 0 * size for name in ZERO},
    }  # fmt: skip
    return xr.Dataset({n: (dims, v, {"units": "m3"}) for n, v in terms.items()}, {"basin": [11, 12, 13], **coords})


def bars(ax, label):
    (found,) = [c for c in ax.containers if c.get_label() == label]
    return [(b.get_x(), b.get_width()) for b in found.patches]


def test_bars_are_the_terms_one_after_the_other_by_basin():
    ax = plot_budget(a_budget(1e9))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["in all", "basin 12", "basin 13", "basin 11"]
    sizes = np.array([8.0, 5.0, 2.0, 1.0])
    np.testing.assert_allclose(bars(ax, "in: runoff"), np.stack([0 * sizes, 10 * sizes], 1))
    np.testing.assert_allclose(bars(ax, "in: stored at the start"), np.stack([10 * sizes, sizes], 1))
    np.testing.assert_allclose(bars(ax, "out: stored at the end"), np.stack([8 * sizes, 3 * sizes], 1))
    assert ax.get_xlabel() == "Volume [km³]" and len(ax.containers) == 4  # what is nowhere is not in the legend


@pytest.mark.parametrize(("scale", "units"), [(1e9, "km³"), (1e5, "10⁶ m³"), (1.0, "m³")])
def test_units_fit_the_volumes(scale, units):
    ax = plot_budget(a_budget(scale))
    assert ax.get_xlabel() == f"Volume [{units}]"
    unit = {"km³": 1e9, "10⁶ m³": 1e6, "m³": 1.0}[units]
    assert bars(ax, "in: runoff")[0][1] == pytest.approx(80 * scale / unit)


def test_what_is_lost_or_made_has_a_bar_and_rounding_none():
    lost = plot_budget(a_budget(lost=2.0))
    np.testing.assert_allclose(bars(lost, "unexplained: lost")[0], (6 * 8 + 3 * 8, 2 * 8))
    made = plot_budget(a_budget(lost=-2.0))
    np.testing.assert_allclose(bars(made, "unexplained: made")[0], (11 * 8, 2 * 8))
    assert len(plot_budget(a_budget(lost=1e-14)).containers) == 4
    assert "0.18" in lost.get_title(loc="right")  # 2 of 11


def test_what_goes_elsewhere_has_a_bar_on_its_own_side():
    budget = a_budget()
    budget["from_other_basins"] = budget.inflow * 0 + xr.DataArray([-1.0, 1.0, 0.0], dims="basin")
    ax = plot_budget(budget)
    assert [w for _, w in bars(ax, "in: from other basins")] == [0, 1, 0, 0]  # in all, 12, 13, 11
    assert [w for _, w in bars(ax, "out: to other basins")] == [0, 0, 0, 1]


def test_basins_that_are_chosen_named_and_left_over():
    ax = plot_budget(a_budget(), basins={13: "Aare"})
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Aare"] and bars(ax, "in: runoff")[0][1] == 20
    others = plot_budget(a_budget(), most=1)
    assert [t.get_text() for t in others.get_yticklabels()] == ["in all", "basin 12", "2 others"]
    assert [w for _, w in bars(others, "in: runoff")] == [80, 50, 30]
    with pytest.raises(AlignmentError, match="no basin 99; it has 11"):
        plot_budget(a_budget(), basins=[99])


def test_members_are_meant_and_told():
    budget = a_budget(dims=("member", "basin"), member=[1, 2]) * xr.DataArray([1.0, 3.0], dims="member")
    for name in budget:
        budget[name].attrs["units"] = "m3"
    ax = plot_budget(budget.chunk(member=1))
    assert ax.get_xlabel() == "Volume, mean of 2 members [m³]" and bars(ax, "in: runoff")[0][1] == 160


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
def test_steps_are_lines_over_time(calendar):
    times = pd.date_range("2001-01-01", periods=5, freq="D")
    if calendar == "noleap":
        times = xr.date_range("2001-01-01", periods=5, freq="D", calendar="noleap", use_cftime=True)
    budget = a_budget(1e6, dims=("time", "basin"), time=times)
    budget["inflow"] = budget.inflow * xr.DataArray(np.arange(5.0), dims="time")
    budget["inflow"].attrs["units"] = "m3"
    flows, stored, unexplained = plot_budget(budget)
    runoff = next(p for p in flows.patches if p.get_label() == "in: runoff").get_data()
    np.testing.assert_allclose(runoff.values, 80 * np.arange(5.0))
    assert np.diff(runoff.edges) == pytest.approx(1.0) and runoff.edges.size == 6
    np.testing.assert_allclose(stored.patches[0].get_data().values, 24)
    assert [ax.get_ylabel() for ax in (flows, stored, unexplained)] == [
        "Volume in a step [10⁶ m³]", "Stored [10⁶ m³]", "Residual [m³]",
    ]  # fmt: skip
    one = plot_budget(budget, basins=[12])
    np.testing.assert_allclose(one[1].patches[0].get_data().values, 15)
    flows.figure.canvas.draw()
    with pytest.raises(ParameterError, match="ax"):
        plot_budget(budget, flows)


def test_a_real_budget_of_nothing_and_of_what_is_none():
    network = xroute.datasets.scheidegger(4, 3)
    runoff = xroute.datasets.storm_runoff(network, 12, dtype=float)
    for water in (runoff, runoff * 0):
        water.attrs = runoff.attrs
        discharge, state = water.route(network, return_state=True)
        plot_budget(xroute.budget(water, discharge, network, final_state=state)).figure.canvas.draw()
    with pytest.raises(ParameterError, match="inflow"):
        plot_budget(discharge.to_dataset())
    ax = pyplot.subplots()[1]
    assert plot_budget(a_budget(), ax) is ax and ax.get_legend() is not None
