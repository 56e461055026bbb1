"""What simulations are set beside: climatology by counting, unrouted runoff by walking downstream, skill by its formula."""

from __future__ import annotations

import warnings
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_scores import IDS, M3, flows, on_gauges, pair, refuse

import xroute
from xroute import AlignmentError, NetworkError, ParameterError, TimeAxisError
from xroute.scores import climatology, kge, mae, nse, rmse, scores_text, skill, unrouted

# ── climatology ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def counted(observed: xr.DataArray, by: str, train: Any, own: bool) -> np.ndarray:
    """The mean of the same day or month, one step at a time."""
    values, found = observed.transpose("time", ...).values, np.full(observed.transpose("time", ...).shape, np.nan)
    day, year = (getattr(observed.time.dt, name).values for name in (by, "year"))
    taken = np.zeros(len(day), bool)
    taken[slice(None) if train is None else train] = True
    for k in range(len(day)):
        alike = taken & (day == day[k]) & (own | (year != year[k]))
        for g in range(values.shape[1]):
            known = values[alike, g][~np.isnan(values[alike, g])]
            found[k, g] = known.mean() if known.size else np.nan
    return found


@pytest.mark.parametrize("by", ["dayofyear", "month"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("train", [None, slice(100, 500)])
def test_climatology_is_counted(by: Any, own: bool, train: Any) -> None:
    observed = flows(900, gaps=0.3)
    period = None if train is None else slice(observed.time.values[100], observed.time.values[499])
    found = climatology(observed.transpose("reach", "time"), by, period=period, leave_one_out=not own)
    assert found.dims == ("reach", "time") and found.attrs["units"] == "m3 s-1" and found.name == "climatology"
    np.testing.assert_allclose(found.transpose("time", "reach"), counted(observed, by, train, own), rtol=1e-11)
    if own and train is None:
        grouped = observed.groupby(f"time.{by}").mean()
        one = found.isel(time=37).values
        np.testing.assert_allclose(one, grouped.sel({by: getattr(observed.time.dt, by).values[37]}))


def test_a_climatology_knows_no_more_than_its_period() -> None:
    observed = flows(800)
    later = observed.copy()
    later[400:] = 1e9
    period = slice("2001-01-01", observed.time.values[399])
    xr.testing.assert_identical(climatology(observed, period=period), climatology(later, period=period))
    gauges = climatology(on_gauges(observed, [2, 0], ["a", "b"]), "month")
    assert gauges["reach"].values.tolist() == IDS[[2, 0]].tolist()
    with pytest.raises(TimeAxisError, match="no times in common"):
        climatology(observed, period=slice("1990", "1999"))
    for wrong in (("2001-01", "2001-02"), "soon", slice(3, 5)):
        with pytest.raises(TimeAxisError, match=r"among times from 2001-01-01.*slice\(first, last\)"):
            climatology(observed, period=wrong)
        with pytest.raises(TimeAxisError, match=r"period 'test'.*among times from 2001-01-01.*slice\(first, last\)"):
            xroute.scores(observed, observed, periods={"test": wrong})
    with pytest.raises(ParameterError, match="dayofyear.*month"):
        climatology(observed, "week")  # type: ignore[arg-type]
    with pytest.raises(TimeAxisError, match="no dates"):
        climatology(observed.assign_coords(time=np.arange(800)))
    np.testing.assert_array_equal(climatology(observed.to_pandas()), climatology(observed))
    cf = climatology(observed.convert_calendar("noleap"), "month")
    np.testing.assert_allclose(cf, climatology(observed, "month"), rtol=1e-11)


# ── unrouted ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rivers() -> tuple[xroute.Network, dict[Any, list[tuple[Any, float]]]]:
    """Links with a bifurcation, of a network that bears no parameters; and whom each reach drains to."""
    links = [(2**60 + 1, 7, 1.0), (7, 12, 0.25), (7, 9, 0.7), (3, 9, 1.0), (9, 12, 1.0), (8, 5, 1.0)]
    up, down, fraction = (list(v) for v in zip(*links, strict=True))
    drains: dict[Any, list[tuple[Any, float]]] = {}
    for a, b, f in links:
        drains.setdefault(a, []).append((b, f))
    return xroute.Network.from_links(up, down, fraction), drains


def summed(runoff: dict[Any, float], drains: dict[Any, list[tuple[Any, float]]], order: list[Any]) -> dict[Any, float]:
    total = dict(runoff)
    for reach in order:
        for below, fraction in drains.get(reach, []):
            total[below] += fraction * total[reach]
    return total


@pytest.mark.filterwarnings("ignore:.*fractions")
def test_unrouted_is_the_sum_of_all_that_lies_upstream() -> None:
    network, drains = rivers()
    rng = np.random.default_rng(0)
    ids = rng.permutation(network.ids)
    time = pd.date_range("2001-01-01", periods=6, freq="h")
    coords = {"member": [4, 2], "reach": ids, "time": time}
    runoff = xr.DataArray(rng.gamma(2, 3, (2, len(ids), 6)), coords, ("member", "reach", "time"), attrs=M3)
    found = unrouted(runoff, network)
    assert found.dims == runoff.dims and found.name == "unrouted" and found.attrs["units"] == "m3 s-1"
    order = [2**60 + 1, 7, 3, 9, 12, 8, 5]
    for member in (4, 2):
        for step in range(6):
            one = runoff.sel(member=member).isel(time=step)
            expected = summed({i: one.sel(reach=i).item() for i in ids.tolist()}, drains, order)
            got = found.sel(member=member).isel(time=step)
            for i, value in expected.items():
                assert got.sel(reach=i).item() == pytest.approx(value, rel=1e-12)
    some = unrouted(runoff, network, at=[12, 5])
    xr.testing.assert_identical(some.drop_attrs(), found.sel(reach=[12, 5]).drop_attrs())
    gauges = xr.DataArray(np.zeros((2, 3)), {"gauge": ["b", "a"], "reach": ("gauge", [5, 12])}, ("gauge", "date"))
    at = unrouted(runoff, network, at=gauges.assign_coords(date=time[:3]))
    assert at.dims == ("member", "gauge", "time") and at["reach"].values.tolist() == [5, 12]
    np.testing.assert_array_equal(at.sel(gauge="a"), found.sel(reach=12))
    with dask.config.set(scheduler=refuse):
        lazy = unrouted(runoff.chunk(time=2), network, at=[12, 5])
    xr.testing.assert_allclose(lazy.compute(scheduler="synchronous"), some)
    with pytest.raises(NetworkError, match="99"):
        unrouted(runoff, network, at=[12, 99])
    with pytest.raises(AlignmentError, match="12"):
        unrouted(runoff.drop_sel(reach=12), network)
    assert unrouted(runoff.drop_sel(reach=12), network, missing="zero").sizes["reach"] == len(ids)
    with pytest.raises(ParameterError, match="substeps"):
        unrouted(runoff, network, substeps=3)
    beyond = xr.concat([gauges, gauges.isel(gauge=[0]).assign_coords(gauge=["c"], reach=("gauge", [99]))], "gauge")
    with pytest.raises(AlignmentError, match="99"):
        unrouted(runoff, network, at=beyond)
    with pytest.warns(UserWarning, match="99"):
        left = unrouted(runoff, network, at=beyond, extra="drop")
    np.testing.assert_array_equal(left, at)
    table = pd.DataFrame(np.zeros((3, 2)), time[:3], [5, 12])
    np.testing.assert_array_equal(unrouted(runoff, network, at=table), found.sel(reach=[5, 12]))


def test_unrouted_ignores_how_the_network_wants_to_be_routed() -> None:
    network, ds = xroute.datasets.tutorial()
    runoff = ds.runoff.isel(time=slice(0, 48)).astype(float)
    wants = network.assign_attrs(routing_step=900.0, sampling="start-mean", lateral="interval")
    plain = unrouted(runoff, network)
    np.testing.assert_array_equal(unrouted(runoff, wants), plain)
    np.testing.assert_array_equal(unrouted(runoff, network.drop_vars(["k", "x"], errors="ignore")), plain)
    outlets = xroute.Network(network).outlets
    np.testing.assert_allclose(plain.sel(reach=outlets).sum("reach"), runoff_volume(runoff, network), rtol=1e-10)


def runoff_volume(runoff: xr.DataArray, network: xr.Dataset) -> Any:
    """Runoff of all reaches, as routing takes it: what a river of no delay lets through at once."""
    none = np.zeros(network.sizes["reach"], np.int64)
    one = xr.Dataset({"downstream": ("reach", none), "delay": ("reach", 1.0 * none)}, {"reach": network["reach"].values})
    if "area" in network:
        one["area"] = network["area"]
    return runoff.route(one, scheme="pure_lag").sum("reach")


# ── skill, and runs beside one another ──────────────────────────────────────────────────────────────────────────────────


def test_skill_is_the_part_of_the_error_that_goes() -> None:
    simulated, observed = pair()
    both = observed.where(simulated.notnull())
    mean = both.mean("time").expand_dims(time=observed.time)
    xr.testing.assert_allclose(skill(simulated, observed, mean).drop_attrs(), nse(simulated, observed).drop_attrs())
    other = (simulated * 1.4 + 1).where(flows(seed=8) > 1)
    three = observed.where(simulated.notnull() & other.notnull())
    scores = {"mse": lambda a: rmse(a, three) ** 2, "rmse": lambda a: rmse(a, three), "mae": lambda a: mae(a, three)}
    for metric, score in scores.items():
        expected = 1 - score(simulated) / score(other)
        np.testing.assert_allclose(skill(simulated, observed, other, metric=metric), expected, rtol=1e-10)
    expected = (kge(simulated, three) - kge(other, three)) / (1 - kge(other, three))
    np.testing.assert_allclose(skill(simulated, observed, other, metric="kge"), expected, rtol=1e-10)
    assert (skill(observed, observed, other) == 1).all() and (skill(other, observed, other) == 0).all()
    assert np.isnan(skill(simulated, observed, observed)).all(), "beside a perfect one there is none"
    with pytest.raises(ParameterError, match="pbias"):
        skill(simulated, observed, other, metric="pbias")


@pytest.mark.parametrize("metrics", [["nse"], ["pbias", "rmse", "nse"], None])
def test_observations_that_say_nothing_are_named_beside_benchmarks_too(metrics: Any) -> None:
    simulated, observed = pair(0.0)
    options = {"benchmarks": {"late": simulated.shift(time=1)}, "metrics": metrics}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xroute.scores(observed, observed, **options)
    assert (found["nse"].sel(run="simulated") == 1).all()
    flat, silent = observed.copy(), observed.copy()
    flat[:, 1], silent[2:, 3] = 4.0, np.nan
    with pytest.warns(UserWarning, match=r"of 1 reach \(7\) do not vary"):
        xroute.scores(simulated, flat, **options)
    with pytest.warns(UserWarning, match=r"of 1 reach \(12\) have fewer than two"):
        xroute.scores(simulated, silent, **options)


def test_runs_are_scored_in_the_steps_of_all() -> None:
    simulated, observed = pair()
    other = (simulated * 1.4 + 1).where(flows(seed=8) > 2).isel(time=slice(30, 380))
    litres = (other * 1000).assign_attrs(units="L/s").transpose("reach", "time")
    found = xroute.scores(simulated, observed, benchmarks={"other": litres})
    assert found["run"].values.tolist() == ["simulated", "other"] and found["nse"].dims == ("run", "reach")
    known = (simulated + other).notnull()
    alone = {"simulated": xroute.scores(simulated, observed.where(known)), "other": xroute.scores(other, observed.where(known))}
    for run, expected in alone.items():
        for name in expected:
            np.testing.assert_allclose(found[name].sel(run=run), expected[name], rtol=1e-9, err_msg=str(name))
    np.testing.assert_allclose(found["skill"].sel(run="other"), skill(simulated, observed, other), rtol=1e-9)
    assert (found["skill"].sel(run="simulated") == 0).all()
    named = xroute.scores({"a": simulated, "b": litres}, observed)
    xr.testing.assert_allclose(named.assign_coords(run=found.run), found)
    dataset = xr.Dataset({"a": simulated, "b": other})
    xr.testing.assert_allclose(xroute.scores(dataset, observed), named)
    with pytest.raises(ParameterError, match="name"):
        xroute.scores(simulated, observed, benchmarks={"simulated": other})
    with pytest.raises(ParameterError, match="by name"):
        xroute.scores(simulated, observed, benchmarks=other)  # type: ignore[arg-type]


def test_periods_are_scored_apart() -> None:
    simulated, observed = pair()
    periods = {"train": slice("2001-01", "2001-06"), "test": slice("2001-07", None)}
    bench = {"climatology": climatology(observed, "month", period=periods["train"])}
    with pytest.warns(UserWarning, match="fewer than two"):  # of months that were not trained on, but for the next January
        found = xroute.scores(simulated, observed, periods={**periods, "none": slice("2001-08", "2001-10")}, benchmarks=bench)
    assert found["nse"].dims == ("period", "run", "reach") and found["period"].values.tolist() == ["train", "test", "none"]
    for name, period in periods.items():
        part = xroute.scores(simulated.sel(time=period), observed.sel(time=period), benchmarks=bench)
        for score in part:
            np.testing.assert_allclose(found[score].sel(period=name), part[score], rtol=1e-12, err_msg=str(score))
    assert (found["n"].sel(period="none") == 0).all()
    with pytest.raises(TimeAxisError, match="'test'.*no times in common"):
        xroute.scores(simulated, observed, periods={"test": slice("1990", "1999")})
    with pytest.raises(ParameterError, match="by name"):
        xroute.scores(simulated, observed, periods=slice("2001-01", "2001-06"))  # type: ignore[arg-type]
    text = scores_text(found, ["nse", "skill"])
    assert len(text.splitlines()) == 1 + 3 * 2 * 5 and "train" in text and "climatology" in text
