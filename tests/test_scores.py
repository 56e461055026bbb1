"""`xroute.scores`: each score against HydroErr or a closed form; gaps, labels, units and steps; nothing computed unasked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import HydroErr
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute import AlignmentError, ParameterError, TimeAxisError, UnitsError, XRouteError
from xroute.scores import (
    correlation,
    fhv,
    flow_duration,
    flv,
    kge,
    log_nse,
    mae,
    nse,
    pbias,
    peak_error,
    peak_timing,
    rmse,
    scores_text,
)

M3 = {"units": "m3 s-1"}
DAY = np.timedelta64(1, "D")
IDS = np.array([2**60 + 1, 7, 2**60, 12])
SINGLE: dict[str, Callable[..., xr.DataArray]] = {
    "nse": nse, "kge": kge, "pbias": pbias, "rmse": rmse, "mae": mae, "correlation": correlation, "log_nse": log_nse,
    "fhv": fhv, "flv": flv, "peak_timing": peak_timing, "peak_error": peak_error,
    "kge_2012": lambda *a, **k: kge(*a, method="2012", **k),
}  # fmt: skip
ORACLE = {
    "nse": HydroErr.nse, "kge": HydroErr.kge_2009, "kge_2012": HydroErr.kge_2012, "rmse": HydroErr.rmse, "mae": HydroErr.mae,
    "correlation": HydroErr.pearson_r,
}  # fmt: skip


def flows(n: int = 400, ids: Any = IDS, seed: int = 0, gaps: float = 0.0, freq: str = "D") -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = rng.gamma(2.0, 3.0, (n, len(ids)))
    values[rng.random(values.shape) < gaps] = np.nan
    time = pd.date_range("2001-01-01", periods=n, freq=freq)
    return xr.DataArray(values, {"time": time, "reach": ids}, ("time", "reach"), attrs=M3, name="discharge")


def pair(gaps: float = 0.3, seed: int = 1) -> tuple[xr.DataArray, xr.DataArray]:
    """A simulation, and observations that differ from it, both with gaps."""
    rng = np.random.default_rng(seed)
    simulated = flows(seed=seed)
    observed = simulated * rng.lognormal(0.1, 0.4, simulated.shape)
    observed = observed.where(rng.random(observed.shape) >= gaps).assign_attrs(M3)
    return simulated.where(rng.random(observed.shape) >= gaps / 3), observed


def without_gaps(simulated: Any, observed: Any) -> tuple[np.ndarray, np.ndarray]:
    s, o = np.asarray(simulated), np.asarray(observed)
    both = ~np.isnan(s) & ~np.isnan(o)
    return s[both], o[both]


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("something was computed")


# ── each score ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("gaps", [0.0, 0.3, 0.9])
def test_scores_are_those_of_hydroerr(name: str, gaps: float) -> None:
    simulated, observed = pair(gaps)
    found = SINGLE[name](simulated, observed)
    whole = xroute.scores(simulated, observed)[name]
    for k, reach in enumerate(IDS):
        s, o = without_gaps(simulated.values[:, k], observed.values[:, k])
        expected = ORACLE[name](s, o)
        assert found.sel(reach=reach).item() == pytest.approx(expected, rel=1e-11, abs=1e-12)
        assert whole.sel(reach=reach).item() == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_scores_are_those_of_the_package_on_the_same_vectors() -> None:
    import scores.continuous as package
    from scores.continuous.correlation import pearsonr

    simulated, observed = pair()
    both = simulated.notnull() & observed.notnull()
    s, o = simulated.where(both), observed.where(both)
    found = xroute.scores(simulated, observed)
    expected = {name: getattr(package, name)(s, o, reduce_dims="time") for name in ("nse", "kge", "pbias", "rmse", "mae")}
    expected["kge_2012"] = package.kge(s, o, reduce_dims="time", method="2012")
    expected["correlation"] = pearsonr(s, o, reduce_dims="time")
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


def test_every_score_is_its_formula() -> None:
    simulated, observed = pair()
    found = xroute.scores(simulated, observed)
    for k, reach in enumerate(IDS):
        s, o = without_gaps(simulated.values[:, k], observed.values[:, k])
        row = {name: values.sel(reach=reach).item() for name, values in found.data_vars.items()}
        eps = o.mean() / 100
        ls, lo = np.log(s + eps), np.log(o + eps)
        high, low = round(0.02 * s.size), round(0.3 * s.size)
        high_s, high_o = (sorted(q.tolist(), reverse=True)[:high] for q in (s, o))
        low_s, low_o = (np.log(sorted(q.tolist())[:low]) for q in (s, o))
        low_s, low_o = (low_s - low_s.min()).sum(), (low_o - low_o.min()).sum()
        expected = {
            "alpha": s.std() / o.std(), "beta": s.mean() / o.mean(),
            "gamma": (s.std() / s.mean()) / (o.std() / o.mean()),
            "pbias": 100 * (s.sum() - o.sum()) / o.sum(),
            "log_nse": 1 - ((ls - lo) ** 2).sum() / ((lo - lo.mean()) ** 2).sum(),
            "fhv": 100 * (sum(high_s) - sum(high_o)) / sum(high_o),
            "flv": -100 * (low_s - low_o) / low_o,
            "n": s.size,
        }  # fmt: skip
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-10), name


def test_a_perfect_simulation_has_the_best_scores() -> None:
    observed = flows()
    found = xroute.scores(observed, observed)
    for name, values in found.data_vars.items():
        if name != "n":
            np.testing.assert_allclose(values, values.attrs["best"], atol=1e-12, err_msg=str(name))
    assert (found["n"] == 400).all() and found["n"].dtype == np.int64


def test_kge_tells_its_parts() -> None:
    simulated, observed = pair()
    for method, oracle, variability in (("2009", HydroErr.kge_2009, "alpha"), ("2012", HydroErr.kge_2012, "gamma")):
        found = kge(simulated, observed, method=method, components=True)
        assert list(found) == ["kge", "r", variability, "beta"]
        s, o = without_gaps(simulated.values[:, 1], observed.values[:, 1])
        expected = oracle(s, o, return_all=True)  # r, variability, beta, kge
        got = found.sel(reach=7)
        np.testing.assert_allclose(
            [got["r"], got[variability], got["beta"], got["kge"]], [float(v) for v in expected], rtol=1e-11
        )
        r, a, b = (got[n].item() for n in ("r", variability, "beta"))
        assert got["kge"].item() == pytest.approx(1 - np.sqrt((r - 1) ** 2 + (a - 1) ** 2 + (b - 1) ** 2))
    with pytest.raises(ParameterError, match="2009.*2012"):
        kge(simulated, observed, method="2021")


def test_a_gap_on_either_side_counts_for_no_score() -> None:
    """Each side's own moments, taken over its own gaps, would differ: a score of the pairs alone is the same."""
    simulated, observed = pair()
    both = simulated.notnull() & observed.notnull()
    a = xroute.scores(simulated, observed)
    b = xroute.scores(simulated.where(both), observed.where(both))
    xr.testing.assert_identical(a, b)
    worse = simulated.where(observed.notnull(), 1e6)  # where nothing was observed anything may be simulated
    xr.testing.assert_identical(a, xroute.scores(worse.where(simulated.notnull()), observed))


def test_flow_duration_is_weibulls() -> None:
    rng = np.random.default_rng(3)
    q = xr.DataArray(rng.gamma(2, 3, (7, 99)), dims=("reach", "time"), attrs=M3)
    q = q.where(rng.random(q.shape) > 0.2)
    shares = [0.0, 0.01, 0.05, 0.37, 0.5, 0.95, 1.0]
    found = flow_duration(q, shares)
    assert found.dims == ("exceedance", "reach") and found.attrs["units"] == "m3 s-1"
    for k in range(7):
        known = q.values[k][~np.isnan(q.values[k])]
        np.testing.assert_allclose(found.isel(reach=k), np.quantile(known, 1 - np.array(shares), method="weibull"), rtol=1e-13)
    assert flow_duration(q, 0.5).dims == ("reach",)
    assert np.isnan(flow_duration(q * np.nan)).all()
    with pytest.raises(ParameterError, match="1.5"):
        flow_duration(q, [0.5, 1.5])


@pytest.mark.parametrize("lag", [-5, 0, 3])
def test_peaks_come_late_and_high_by_as_much_as_they_are_moved(lag: int) -> None:
    time = pd.date_range("2001-01-01", periods=2000, freq="3h")
    steps = np.arange(2000.0)
    wave = xr.DataArray(1 + 9 * np.exp(-(((steps - 700) / 9) ** 2)), {"time": time}, attrs=M3)
    later = wave.copy(data=1 + 9 * np.exp(-(((steps - 700 - lag) / 9) ** 2)))
    assert peak_timing(1.5 * later, wave).item() == 3.0 * lag
    assert peak_error(1.5 * later, wave).item() == pytest.approx(50.0)
    assert peak_timing(later, wave).attrs["units"] == "h"
    # a higher flood of another month is another flood, unless the window is open
    flood = later.copy(data=later.values + 30 * np.exp(-(((steps - 1700) / 9) ** 2)))
    assert peak_timing(flood, wave).item() == 3.0 * lag
    assert peak_timing(flood, wave, window=None).item() == 3.0 * 1000
    bare = wave.drop_vars("time")  # without dates, in steps
    assert peak_timing(later.drop_vars("time"), bare).item() == lag
    assert peak_timing(later.drop_vars("time"), bare).attrs["units"] == "1"


@pytest.mark.parametrize("lag", [-40, 7, 51])
def test_a_peak_is_late_by_whole_hours_exactly(lag: int) -> None:
    at = np.arange(60, 12_000, 100)  # of each reach another
    observed = flows(12_100, at, freq="h")
    observed = observed.assign_coords(time=observed.time.astype("datetime64[ns]"))
    observed = observed.copy(data=np.exp(-(((np.arange(12_100)[:, None] - at) / 9) ** 2)))
    late = observed.copy(data=np.roll(observed.values, lag, axis=0))
    assert (peak_timing(late, observed) == lag).all()  # and no -39.999999999999744


def test_several_events_are_the_highest_ones_apart() -> None:
    time = pd.date_range("2001-01-01", periods=600, freq="D")
    observed, simulated = np.ones(600), np.ones(600)
    for day, height, lag in ((100, 9.0, 2), (200, 7.0, 4), (400, 8.0, -3), (500, 3.0, 8)):
        observed[day - 1 : day + 2] = height / 2
        observed[day], simulated[day + lag] = height, height * 1.1
    a, b = (xr.DataArray(v, {"time": time}) for v in (simulated, observed))
    assert peak_timing(a, b).item() == 2 * 24
    assert peak_timing(a, b, events=np.int64(2)).item() == 24 * (2 - 3) / 2
    assert peak_timing(a, b, events=3).item() == 24 * (2 - 3 + 4) / 3
    assert peak_timing(a, b, events=9).item() == pytest.approx(24 * (2 - 3 + 4 + 8) / 4)  # there are no more
    assert peak_error(a, b, events=9).item() == pytest.approx(10.0)
    with pytest.raises(ParameterError, match="window"):
        peak_timing(a, b, events=2, window=None)


def test_low_flows_of_zero_have_no_logarithm_unless_one_is_given() -> None:
    observed = xr.DataArray(np.arange(100.0), dims="time")
    assert np.isnan(flv(observed + 1, observed)) and np.isfinite(log_nse(observed + 1, observed))
    q = np.arange(100.0)
    e = 0.01 * q.mean()
    low = [np.log(v[:30] + e) for v in (q + 1, q)]
    s, o = ((v - v.min()).sum() for v in low)
    assert flv(observed + 1, observed, epsilon=0.01).item() == pytest.approx(-100 * (s - o) / o)
    assert np.isnan(log_nse(observed - 5, observed)), "below zero there is no logarithm"


def test_scores_that_have_no_meaning_are_nan_and_named() -> None:
    observed = flows().where(flows().time < np.datetime64("2001-12-01"))
    observed[:, 1] = 0.1  # of which the mean is not 0.1 by rounding
    observed[:, 2] = np.nan
    observed[5:, 3] = np.nan
    observed[1:5, 3] = np.nan
    simulated = flows(seed=4)
    with pytest.warns(UserWarning) as caught:
        found = xroute.scores(simulated, observed)
    said = " / ".join(str(w.message) for w in caught)
    assert "do not vary" in said and "(7)" in said and f"({2**60}, 12)" in said and "fewer than two" in said
    assert found["n"].values.tolist() == [334, 400, 0, 1]
    flat = found.sel(reach=7)
    for name in ("nse", "kge", "kge_2012", "correlation", "alpha", "log_nse", "peak_timing"):
        assert np.isnan(flat[name]), name
    for name in ("rmse", "mae", "pbias", "beta", "fhv"):
        assert np.isfinite(flat[name]), name
    for name in found:
        assert name == "n" or np.isnan(found[name].sel(reach=[2**60, 12])).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(xroute.scores(simulated, observed.isel(reach=[0])).to_array()).all()
        constant = xroute.scores(xr.ones_like(simulated), observed.isel(reach=[0])).isel(reach=0)
    assert np.isnan(constant["kge"]) and np.isnan(constant["correlation"]) and constant["nse"] < 0 and constant["beta"] > 0


@pytest.mark.filterwarnings("error")
def test_nothing_is_told_of_good_observations_whatever_scores_are_asked_for() -> None:
    values = np.random.default_rng(5).gamma(2.0, size=(30, 3))
    observed = xr.DataArray(values, {"reach": [1, 2, 3]}, ("time", "reach"), attrs=M3).assign_coords(
        time=np.datetime64("2000-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D")
    )
    more, less = ((observed * factor).assign_attrs(M3) for factor in (1.1, 0.9))
    found = xroute.scores(more, observed, metrics=["nse"], benchmarks={"less": less})
    assert found["nse"].notnull().all() and found["skill"].notnull().all()


@pytest.mark.filterwarnings("ignore:.*do not vary")
@pytest.mark.parametrize("n", [7, 333, 1001])
def test_what_does_not_vary_is_told_in_spite_of_rounding(n: int) -> None:
    constants = [0.1, 1 / 3, 1.1, 7.7e-5]
    flat = xr.DataArray(np.tile(constants, (n, 1)), {"reach": IDS}, ("time", "reach"), attrs=M3)
    assert (np.std(flat.values.T, axis=1) > 0).any(), "by rounding"
    simulated = flows(n).drop_vars("time")
    assert np.isnan(nse(simulated, flat)).all() and np.isnan(kge(simulated, flat)).all()
    assert np.isnan(kge(flat, simulated)).all() and np.isnan(correlation(flat, simulated)).all()


def test_scores_are_never_infinite() -> None:
    simulated, observed = flows(), flows(seed=1)
    observed[:, 0] -= observed[:, 0].mean()  # a tide, without a mean
    found = xroute.scores(simulated, observed)
    assert not np.isinf(found.to_array()).any()
    zero = observed.copy(data=np.zeros(observed.shape))
    with pytest.warns(UserWarning, match="do not vary"):
        found = xroute.scores(simulated, zero)
    assert not np.isinf(found.to_array()).any() and np.isnan(found["pbias"]).all() and np.isfinite(found["rmse"]).all()


# ── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def on_gauges(observed: xr.DataArray, order: list[int], names: Any) -> xr.DataArray:
    part = observed.isel(reach=order)
    ids = part["reach"].values
    return part.drop_vars("reach").rename(reach="gauge").assign_coords(gauge=names, reach=("gauge", ids))


def test_gauges_are_found_by_id_whatever_the_order() -> None:
    simulated, observed = pair()
    whole = xroute.scores(simulated, observed)
    order = [3, 0, 2]
    shuffled = observed.isel(reach=order).transpose("reach", "time")
    xr.testing.assert_allclose(xroute.scores(simulated, shuffled), whole.isel(reach=order), rtol=1e-12)
    gauges = on_gauges(observed, order, ["c", "a", "b"])
    found = xroute.scores(simulated, gauges)
    assert found["nse"].dims == ("gauge",) and found["gauge"].values.tolist() == ["c", "a", "b"]
    assert found["reach"].values.tolist() == IDS[order].tolist()
    for name in whole:
        np.testing.assert_allclose(found[name], whole[name].isel(reach=order), rtol=1e-12)
    swapped = xroute.scores(simulated.rename(reach="rivid"), gauges)  # called otherwise, with the same ids
    np.testing.assert_allclose(swapped["kge"], found["kge"])
    at_gauges = on_gauges(simulated, [2, 3, 0, 1], ["b", "c", "a", "d"])
    xr.testing.assert_allclose(xroute.scores(at_gauges, gauges), found)
    both = on_gauges(observed, [1, 1], ["old", "new"])  # two gauges on one reach
    np.testing.assert_allclose(xroute.scores(simulated, both)["nse"], whole["nse"].values[[1, 1]])


@pytest.mark.filterwarnings("ignore:.*has no units")
def test_ids_of_a_table_are_text_or_numbers_as_those_of_the_other_are() -> None:
    simulated, observed = pair()
    expected = xroute.scores(simulated, observed)
    text = simulated.assign_coords(reach=simulated.reach.values.astype(str))
    for table in (observed.to_pandas(), observed.to_series().rename("discharge").reset_index()):
        for given in (table, table.rename(columns=str) if "reach" not in table else table.astype({"reach": str})):
            for run in (simulated, text):
                found = xroute.scores(run, given, benchmarks={"again": text, "clim": xroute.scores.climatology(given)})
                assert found["reach"].dtype.kind == run["reach"].dtype.kind
                its = found["nse"].sel(run="again").assign_coords(reach=found["reach"].astype(np.int64))
                np.testing.assert_allclose(its.sel(reach=expected.reach), expected["nse"], rtol=1e-12)
    swapped = xroute.scores(simulated.to_pandas(), observed.assign_coords(reach=IDS.astype(str)))  # or it is the simulation
    np.testing.assert_allclose(swapped["nse"], expected["nse"], rtol=1e-12)
    with pytest.raises(AlignmentError, match="text.*and integers"):  # arrays have the ids that they have
        xroute.scores(text, observed)
    with pytest.raises(AlignmentError, match="gauges are called 'b', 'a'.*whole numbers"):
        xroute.scores(simulated, observed.to_pandas().iloc[:, :2].set_axis(["b", "a"], axis=1))


def test_tables_serve_wherever_observations_do(tmp_path: Path) -> None:
    simulated, observed = pair()
    table = observed.to_pandas()
    table.to_csv(tmp_path / "observed.csv")
    frame = table.set_axis(table.columns.astype(str), axis=1)
    curve = flow_duration(observed, [0.1, 0.5])
    months = xroute.scores.climatology(observed, "month")
    river = xroute.Network.from_links(IDS, [7, 2**60, 12, 0])
    runoff = simulated.fillna(1.0)
    expected = xroute.scores.unrouted(runoff, river, at=observed)
    for given in (table, frame, observed.to_dataset(name="q"), tmp_path / "observed.csv"):
        np.testing.assert_allclose(flow_duration(given, [0.1, 0.5]), curve, rtol=1e-12)
        np.testing.assert_allclose(xroute.scores.climatology(given, "month"), months, rtol=1e-12)
        xr.testing.assert_allclose(xroute.scores.unrouted(runoff, river, at=given), expected)
    only = xroute.scores.unrouted(runoff, river, at=table[12])
    np.testing.assert_array_equal(only.squeeze(), expected.sel(reach=12))
    ids = xroute.scores.unrouted(runoff, river, at=pd.Series([12, 7]))  # ids in a Series are ids
    assert ids["reach"].values.tolist() == [12, 7]
    in_text = xroute.Network.from_links(IDS.astype(str), ["7", str(2**60), "12", ""])
    its = runoff.assign_coords(reach=IDS.astype(str))
    np.testing.assert_array_equal(xroute.scores.unrouted(its, in_text, at=table), expected)


def test_observations_without_units_are_told_once() -> None:
    simulated, observed = pair()
    with pytest.warns(UserWarning, match="has no units.*'m3 s-1'.*attrs") as told:
        found = xroute.scores(simulated, observed.drop_attrs(), benchmarks={"b": simulated})
    assert len([w for w in told if "no units" in str(w.message)]) == 1
    np.testing.assert_array_equal(found["nse"].sel(run="simulated"), xroute.scores(simulated, observed)["nse"])


def test_one_series_is_of_the_reach_that_it_says() -> None:
    simulated, observed = pair()
    expected = xroute.scores(simulated, observed)["nse"].sel(reach=7).item()
    assert xroute.scores(simulated, observed.sel(reach=7))["nse"].item() == expected
    assert xroute.scores(simulated.sel(reach=7), observed)["nse"].item() == expected
    assert xroute.scores(simulated.sel(reach=7), observed.sel(reach=7, drop=True))["nse"].item() == expected
    with pytest.raises(AlignmentError, match="7.*12"):
        nse(simulated.sel(reach=7), observed.sel(reach=12))
    found = nse(simulated.sel(reach=7, drop=True), observed.sel(reach=7, drop=True))
    assert found.ndim == 0 and found.item() == expected
    with pytest.raises(AlignmentError, match="of which of the 4"):
        xroute.scores(simulated, observed.sel(reach=7, drop=True))
    with pytest.raises(AlignmentError, match="of which of the 4"):
        xroute.scores(simulated.sel(reach=7, drop=True), observed)


def test_gauges_that_nobody_simulates_raise_or_are_dropped() -> None:
    simulated, observed = pair()
    with pytest.raises(AlignmentError, match=r"1 of 4 .*12"):
        xroute.scores(simulated.isel(reach=slice(0, 3)), observed)
    with pytest.warns(UserWarning, match="12"):
        found = xroute.scores(simulated.isel(reach=slice(0, 3)), observed, extra="drop")
    xr.testing.assert_allclose(found, xroute.scores(simulated, observed).isel(reach=slice(0, 3)))
    with pytest.warns(UserWarning, match="1 gauges of .* are not in the simulated discharge and left out: 12"):
        xroute.scores(simulated.isel(reach=slice(0, 3)), on_gauges(observed, [0, 3], ["a", "b"]), extra="drop")
    gauges = on_gauges(observed, [0, 3], ["a", "b"])
    with pytest.raises(AlignmentError, match="12"):
        nse(simulated.isel(reach=slice(0, 3)), gauges)
    with pytest.warns(UserWarning, match="12"):
        assert nse(simulated.isel(reach=slice(0, 3)), gauges, extra="drop")["gauge"].values.tolist() == ["a"]
    with pytest.raises(AlignmentError, match="in common|No gauge"):
        xroute.scores(simulated, observed.assign_coords(reach=[1, 2, 3, 4]))


@pytest.mark.parametrize("name", ["reach", "COMID", "HYRIV_ID", "segid", "nhdplusid", "gage_id", "basin"])
def test_a_table_of_a_value_a_row_calls_reaches_whatever_people_do(tmp_path: Any, name: str) -> None:
    simulated, observed = pair(0.0)
    table = observed.isel(reach=[3, 0]).to_series().rename("flow").reset_index().rename(columns={"reach": name})
    table.to_csv(tmp_path / "long.csv", index=False)
    expected = nse(simulated, observed.isel(reach=[3, 0]))
    for given in (table, tmp_path / "long.csv"):
        found = nse(simulated.assign_attrs(M3), given)
        np.testing.assert_allclose(found.sel(reach=expected.reach), expected, rtol=1e-12)


def test_a_file_as_models_write_it_is_one_simulation() -> None:
    """Places, bounds of times and a mapping of the grid beside discharge are no other runs; several series are."""
    simulated, observed = pair()
    dataset = simulated.to_dataset(name="Qout").assign(
        lat=("reach", np.zeros(4)), crs=0, time_bnds=(("time", "nv"), np.stack([simulated.time, simulated.time + DAY], axis=1)),
    )  # fmt: skip
    dataset["time"].attrs["bounds"] = "time_bnds"
    expected = nse(simulated, observed)
    xr.testing.assert_allclose(xroute.scores(dataset, observed)["nse"].drop_attrs(), expected.drop_attrs())
    two = xroute.scores(dataset.assign(doubled=2 * dataset["Qout"]), observed, metrics=["nse"])
    assert two["run"].values.tolist() == ["Qout", "doubled"]
    np.testing.assert_allclose(two["nse"].sel(run="doubled"), nse(2 * simulated, observed), rtol=1e-12)
    with pytest.raises(ParameterError, match="no simulation"):
        xroute.scores({}, observed)


def test_members_stay_and_units_are_converted() -> None:
    simulated, observed = pair()
    members = xr.concat([simulated, 1.3 * simulated], pd.Index([5, 2], name="member")).transpose("reach", "member", "time")
    litres = (observed * 1000).assign_attrs(units="L/s")
    found = xroute.scores(members, litres)
    assert set(found["rmse"].dims) == {"reach", "member"} and found["rmse"].attrs["units"] == "m3 s-1"
    for member, factor in ((5, 1.0), (2, 1.3)):
        alone = xroute.scores(factor * simulated, observed)
        for name in alone:
            np.testing.assert_allclose(found[name].sel(member=member), alone[name], rtol=1e-9, err_msg=str(name))
    both = xr.concat([observed, 2 * observed], pd.Index([2, 5], name="member"))  # of each member its own
    np.testing.assert_allclose(nse(members, both).sel(member=5), nse(simulated, 2 * observed))
    with pytest.raises(AlignmentError, match="member"):
        nse(members, both.assign_coords(member=[1, 2]))
    with pytest.raises(UnitsError, match="mm"):
        nse(simulated, observed.assign_attrs(units="mm"))
    depth = nse(simulated.assign_attrs(units="mm d-1"), observed.assign_attrs(units="mm d-1"))
    np.testing.assert_array_equal(depth, nse(simulated, observed))
    with pytest.warns(UserWarning, match="no units"):
        nse(simulated.drop_attrs(), observed)


def test_coordinates_and_attributes_are_kept() -> None:
    simulated, observed = pair()
    observed = observed.assign_coords(name=("reach", list("abcd")), country="X")
    simulated = simulated.assign_coords(lon=("reach", [1.0, 2.0, 3.0, 4.0]))
    found = xroute.scores(simulated, observed)
    assert found["name"].values.tolist() == list("abcd") and found["lon"].values.tolist() == [1, 2, 3, 4]
    assert "time" not in found.coords and found["country"].item() == "X"
    assert found["nse"].attrs == {"long_name": "Nash-Sutcliffe efficiency", "units": "1", "best": 1.0}
    assert list(xroute.scores(simulated, observed, metrics=["rmse", "nse"])) == ["rmse", "nse"]
    with pytest.raises(ParameterError, match="nsee.*nse, kge"):
        xroute.scores(simulated, observed, metrics="nsee")
    frame = found.to_dataframe()
    assert frame.shape[0] == 4 and {"nse", "kge", "n"} <= set(frame)
    assert xroute.scores.nse is nse  # what is in the package is to be had from the function that fronts it


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_times_are_matched_by_label() -> None:
    simulated, observed = pair()
    expected = xroute.scores(simulated.isel(time=slice(50, 300)), observed.isel(time=slice(50, 300)))
    found = xroute.scores(simulated.isel(time=slice(20, 300)), observed.isel(time=slice(50, None)))
    xr.testing.assert_identical(found, expected)
    rng = np.random.default_rng(0)
    order = rng.permutation(250) + 50
    xr.testing.assert_allclose(xroute.scores(simulated, observed.isel(time=order)), expected, rtol=1e-12)
    xr.testing.assert_allclose(xroute.scores(simulated.isel(time=order), observed), expected, rtol=1e-12)
    some_days = np.sort(rng.choice(order, 100, replace=False))
    xr.testing.assert_allclose(
        xroute.scores(simulated, observed.isel(time=some_days)),
        xroute.scores(simulated, observed.where(observed.time.isin(observed.time[some_days]))), rtol=1e-12,
    )  # fmt: skip
    renamed = observed.rename(time="date")
    xr.testing.assert_allclose(xroute.scores(simulated, renamed), xroute.scores(simulated, observed))
    with pytest.raises(TimeAxisError, match="no time in common.*2032"):
        xroute.scores(simulated, observed.assign_coords(time=observed.time + np.timedelta64(30 * 365, "D")))
    with pytest.raises(TimeAxisError, match="more than once"):
        xroute.scores(simulated, xr.concat([observed, observed.isel(time=[3])], "time"))
    with pytest.raises(TimeAxisError, match="more than once"):
        xroute.scores(xr.concat([simulated, simulated.isel(time=[3])], "time"), observed)


@pytest.mark.parametrize("label", [None, "end"])
def test_daily_observations_are_compared_with_means(label: str | None) -> None:
    hourly = flows(24 * 40, freq="h")
    days = hourly.values.reshape(40, 24, 4).mean(axis=1)
    rng = np.random.default_rng(5)
    time = pd.date_range("2001-01-01", periods=40)
    if label == "end":  # both stamp ends: the same steps, of other stamps
        hourly = hourly.assign_coords(time=hourly.time + np.timedelta64(1, "h")).assign_attrs(time_label="end")
        time = time + pd.Timedelta("1D")
    observed = xr.DataArray(
        days * rng.lognormal(0, 0.2, days.shape), {"time": time, "reach": IDS}, ("time", "reach"), attrs=M3
    )
    if label is not None:
        observed.attrs["time_label"] = label
    daily = observed.copy(data=days)
    expected = xroute.scores(daily, observed)
    xr.testing.assert_allclose(xroute.scores(hourly, observed), expected, rtol=1e-12)
    gap = observed.isel(time=[0, 1, 2, 7, 8, 30, 31, 32, 39])
    xr.testing.assert_allclose(xroute.scores(hourly, gap), xroute.scores(daily, gap), rtol=1e-12)
    lacking = hourly.copy()
    lacking[24 * 3 + 5] = np.nan  # the day has no mean, and is no pair
    assert (xroute.scores(lacking, observed)["n"] == 39).all()
    cut = hourly.isel(time=slice(5, None))  # nor has the first day, of which hours are lacking
    np.testing.assert_allclose(xroute.scores(cut, observed)["nse"], xroute.scores(daily[1:], observed)["nse"], rtol=1e-12)
    with pytest.raises(TimeAxisError, match="finer.*resample"):
        xroute.scores(daily, hourly.assign_attrs(M3))


def test_months_are_compared_with_months() -> None:
    time = pd.date_range("2001-01-01", periods=36, freq="MS")
    a, b = (flows(36, seed=s).assign_coords(time=time) for s in (0, 1))
    found = xroute.scores(a, b.isel(time=slice(3, None)))
    np.testing.assert_allclose(found["nse"], [HydroErr.nse(a.values[3:, k], b.values[3:, k]) for k in range(4)])
    with pytest.raises(TimeAxisError, match="by months.*resample"):
        xroute.scores(a, flows(400))


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
@pytest.mark.parametrize("stamp", ["first", "middle", "last", "end"])
def test_months_are_compared_with_the_means_of_their_days(stamp: str, calendar: str) -> None:
    daily = flows(366 + 365, freq="D").assign_coords(time=pd.date_range("2000-01-01", periods=731))
    if calendar == "noleap":
        daily = daily.convert_calendar("noleap")
    month = daily.time.dt.year.values * 12 + daily.time.dt.month.values
    means = np.array([daily.values[month == m].mean(axis=0) for m in np.unique(month)])
    rng = np.random.default_rng(0)
    first = pd.date_range("2000-01-01", periods=24, freq="MS")
    time = {"first": first, "middle": first + pd.Timedelta("14D"), "last": first + pd.offsets.MonthEnd(),
            "end": first + pd.DateOffset(months=1)}[stamp]  # fmt: skip
    observed = xr.DataArray(
        means * rng.lognormal(0, 0.3, means.shape), {"time": time, "reach": IDS}, ("time", "reach"), attrs=M3
    )
    if stamp == "end":
        observed.attrs["time_label"] = "end"
    expected = [HydroErr.nse(means[:, k], observed.values[:, k]) for k in range(4)]
    if calendar == "noleap" and stamp == "last":
        observed = observed.assign_coords(time=time.where(time != "2000-02-29", pd.Timestamp("2000-02-28")))
    if calendar == "noleap":
        observed = observed.convert_calendar("noleap")
    np.testing.assert_allclose(nse(daily, observed), expected, rtol=1e-11)
    cut = daily.isel(time=slice(3, 700))  # in which the first and the last month are not whole
    np.testing.assert_allclose(nse(cut, observed), [HydroErr.nse(means[1:-1, k], observed.values[1:-1, k]) for k in range(4)])
    with dask.config.set(scheduler=refuse):
        lazy = nse(daily.chunk(time=100), observed)
    np.testing.assert_allclose(lazy.compute(scheduler="synchronous"), expected, rtol=1e-11)
    gap = daily.where(daily.time != daily.time[40])  # a day is lacking in February
    some = np.delete(np.arange(24), 1)
    np.testing.assert_allclose(nse(gap, observed), [HydroErr.nse(means[some, k], observed.values[some, k]) for k in range(4)])
    np.testing.assert_allclose(nse(daily, observed.isel(time=some)), nse(gap, observed))


def test_gaps_of_a_simulation_are_gaps() -> None:
    """Steps that are not there: no pairs, and days of which hours are lacking have no mean."""
    hourly = flows(24 * 40, freq="h")
    observed = flows(40, seed=2)
    there = np.r_[0:500, 600:960]
    expected = xroute.scores(hourly.where(xr.DataArray(np.isin(np.arange(960), there), dims="time")), observed)
    xr.testing.assert_allclose(xroute.scores(hourly.isel(time=there), observed), expected, rtol=1e-12)
    assert (expected["n"] == 20 + 15).all()
    irregular = hourly.isel(time=[0, 1, 5, 26, 27, 100, 300]).assign_coords(
        time=hourly.time.values[[0, 1, 5, 26, 27, 100, 300]] + np.array([0, 0, 0, 17, 0, 0, 0], "m8[m]")
    )
    with pytest.raises(TimeAxisError, match="not of one step.*resample"):
        xroute.scores(irregular, observed)
    point = hourly.isel(time=[0, 5, 27, 99]).assign_attrs(cell_methods="time: point")
    assert xroute.scores(irregular, point)["n"].values.tolist() == [3] * 4


def test_calendars_and_series_without_times() -> None:
    simulated, observed = pair()
    a, b = (q.convert_calendar("noleap") for q in (simulated, observed))
    xr.testing.assert_allclose(xroute.scores(a, b), xroute.scores(simulated, observed))
    bare = xroute.scores(simulated.drop_vars("time"), observed.drop_vars("time"))
    np.testing.assert_allclose(bare["kge"], xroute.scores(simulated, observed)["kge"])
    with pytest.raises(TimeAxisError, match="neither has times.*399.*400"):
        xroute.scores(simulated.drop_vars("time"), observed.drop_vars("time").isel(time=slice(399)))
    with pytest.raises(TimeAxisError, match="has times"):
        xroute.scores(simulated, observed.drop_vars("time"))
    with pytest.raises(TimeAxisError, match="cannot tell"):
        nse(simulated.isel(time=0), observed.isel(time=0))


def test_what_stands_for_missing_is_refused() -> None:
    simulated, observed = pair(0.0)
    with pytest.raises(XRouteError, match="3 values .*-999"):
        xroute.scores(simulated, observed.where(observed.time > observed.time[2], -999.0).where(observed.reach == 7))
    with pytest.raises(XRouteError, match="infinite"):
        xroute.scores(simulated, observed.where(observed.time > observed.time[2], np.inf))
    with pytest.raises(XRouteError, match="simulated.*infinite"):
        xroute.scores(simulated.where(observed.time > observed.time[2], -np.inf), observed)
    lazy = xroute.scores(simulated, observed.where(observed.time > observed.time[2], -9999.0).chunk(time=100))
    with pytest.raises(XRouteError, match="12 values .*-9999"):
        lazy.compute()
    with pytest.raises(XRouteError, match="DataArray"):
        xroute.scores(simulated.values, observed)  # type: ignore[arg-type]
    one = xroute.scores(simulated.to_dataset(), observed.to_dataset(name="q"))  # a Dataset of one variable is that
    xr.testing.assert_identical(one, xroute.scores(simulated, observed))


# ── Dask ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    simulated, observed = pair()
    gauges = on_gauges(observed, [3, 0, 2], ["c", "a", "b"])
    expected = xroute.scores(simulated, gauges, benchmarks={"climatology": xroute.scores.climatology(gauges, "month")})
    lazy, theirs = simulated.chunk(time=70, reach=3), gauges.chunk(time=90)
    made: dict[str, Any] = {}
    with dask.config.set(scheduler=refuse):
        for a, b in ((lazy, gauges), (simulated, theirs), (lazy, theirs)):
            climatology = xroute.scores.climatology(b, "month")
            found = xroute.scores(a, b, benchmarks={"climatology": climatology})
            assert all(v.chunks is not None for v in found.data_vars.values())
            made[f"{len(made)}"] = found
            for name, function in SINGLE.items():
                assert function(a, b).chunks is not None, name
            assert xroute.scores.skill(a, b, climatology).chunks is not None
        curve = flow_duration(lazy)
        hourly = flows(24 * 40, freq="h").chunk(time=100)
        daily = xroute.scores(hourly, flows(40))
    for found in made.values():
        xr.testing.assert_allclose(found.compute(scheduler="synchronous"), expected, rtol=1e-10)
    xr.testing.assert_allclose(curve.compute(scheduler="synchronous"), flow_duration(simulated))
    xr.testing.assert_allclose(daily.compute(scheduler="threads"), xroute.scores(flows(24 * 40, freq="h"), flows(40)))


def test_text_has_a_row_a_gauge_and_their_median() -> None:
    simulated, observed = pair()
    found = xroute.scores(simulated, on_gauges(observed, [0, 1, 2, 3], list("abcd")))
    lines = scores_text(found, ["nse", "n"], most=3).splitlines()
    assert lines[0].split() == ["gauge", "reach", "nse", "n"] and len(lines) == 6
    assert lines[1].split() == ["a", str(IDS[0]), f"{found['nse'].values[0]:.3f}", str(found["n"].values[0])]
    assert lines[4].split() == ["median", f"{np.median(found['nse']):.3f}", f"{np.median(found['n']):.0f}"]
    assert "1 other gauges" in lines[5]
    assert len(scores_text(xroute.scores(simulated.sel(reach=7), observed.sel(reach=7))).splitlines()) == 2
