"""`xroute.calibrate`: what it finds in rivers whose parameters are known, what it tells, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import xroute
from xroute.learning import Calibration
from xroute.learning.problem import make_problem
from xroute.learning.request import CalibrationRequest
from xroute.learning.simulation import Gauged, simulated

K, X = 5400.0, 0.3
QUIET: dict[str, Any] = {"progress": False, "device": "cpu"}


def river(rows: int = 6, columns: int = 4, **values: Any) -> xroute.Network:
    return xroute.Network(xroute.datasets.scheidegger(rows, columns, seed=2)).assign(**({"k": K, "x": X} | values))


def bursts(network: xroute.Network, n_steps: int = 480, seed: int = 0, step: str = "1h") -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = (rng.random((n_steps, network.n_reaches)) * rng.random(n_steps)[:, None]) ** 8
    times = pd.date_range("2000-01-01", periods=n_steps, freq=step)
    return xr.DataArray(values, {"time": times, "reach": network.ids}, ("time", "reach"), "runoff", {"units": "m3 s-1"})


@pytest.fixture(scope="module")
def network() -> xroute.Network:
    return river()


@pytest.fixture(scope="module")
def runoff(network: xroute.Network) -> xr.DataArray:
    return bursts(network)


@pytest.fixture(scope="module")
def observed(network: xroute.Network, runoff: xr.DataArray) -> xr.DataArray:
    rng = np.random.default_rng(1)
    found = runoff.route(network).isel(reach=[-1, -2, 12, 15])
    return found.where(rng.random(found.shape) > 0.3).assign_attrs(found.attrs)


@pytest.fixture(scope="module")
def result(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> Calibration:
    wrong = network.assign(k=("reach", np.full(network.n_reaches, 2.2), {"units": "h"}), x=0.15)
    return xroute.calibrate(
        runoff, wrong, observed, groups="all", train=slice("2000-01-01", "2000-01-14"), test=slice("2000-01-15", None),
        spinup="2D", **QUIET,
    )  # fmt: skip


# ── what it finds ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_truth_is_found(result: Calibration, network: xroute.Network) -> None:
    k, x = result.network["k"], result.network["x"]
    seen = result.network["calibrated"].values
    assert k.attrs["units"] == "h"
    np.testing.assert_allclose(k.values[seen], K / 3600, rtol=1e-4)
    np.testing.assert_allclose(x.values[seen], X, atol=1e-4)
    assert seen.all()  # the group's value holds for all of its reaches
    assert result.network.ids.tolist() == network.ids.tolist()
    assert "k" in result.network.attrs["calibrated"] and "4 gauges" in result.network.attrs["calibrated"]


def test_the_network_routes_as_the_result_says(
    result: Calibration, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    discharge = runoff.route(result.network).sel(reach=observed.reach)
    found = result.discharge["calibrated"]
    kept = discharge.sel(time=found.time).transpose(*found.dims)
    late = found.time > found.time[0] + np.timedelta64(2, "D")
    np.testing.assert_allclose(found.values[:, late], kept.values[:, late], rtol=1e-4, atol=1e-9)


def test_scores_and_history(result: Calibration, observed: xr.DataArray) -> None:
    scores = result.scores
    assert scores["run"].values.tolist() == ["calibrated", "before", "unrouted"]
    assert scores["period"].values.tolist() == ["train", "test"]
    assert (scores["nse"].sel(run="calibrated") > 0.99999).all()
    assert (scores["nse"].sel(run="before") < 0.99).all()
    test = observed.sel(time=slice("2000-01-15", None))
    q = result.discharge["unrouted"].sel(time=test.time).transpose("time", "reach")
    o = test.sel(reach=q.reach)
    there = np.isfinite(o.values)
    error = np.where(there, q.values - o.values, 0.0) ** 2
    mean = np.nanmean(o.values, axis=0)
    expected = 1 - error.sum(axis=0) / np.where(there, (o.values - mean) ** 2, 0).sum(axis=0)
    np.testing.assert_allclose(scores["nse"].sel(run="unrouted", period="test"), expected, rtol=1e-9)
    history = result.history
    assert {"loss", "test_loss", "nse", "test_nse", "k", "x", "learning_rate"} <= set(history.data_vars)
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(history["k"].values[[0, -1], 0], [2.2 * 3600, K], rtol=1e-4)
    assert history["nse"].dims == ("epoch", "reach")
    np.testing.assert_allclose(
        history["loss"], 1 - history["nse"].mean("reach"), rtol=1e-9, atol=1e-14
    )  # gauges count alike
    assert "k of all" not in result.undetermined() and "loss" in repr(result)


def test_unrouted_is_the_runoff_of_all_that_is_upstream(
    result: Calibration, runoff: xr.DataArray, network: xroute.Network
) -> None:
    for reach in result.discharge["reach"].values:
        above = runoff.sel(reach=network.upstream(reach)).sum("reach").sel(time=result.discharge.time)
        np.testing.assert_allclose(result.discharge["unrouted"].sel(reach=reach), above, rtol=1e-12)


def test_nothing_better_is_told(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    far = observed.isel(reach=[2]).copy(data=np.random.default_rng(3).random((480, 1)))
    with pytest.warns(UserWarning, match="no parameters were found that are better"):
        xroute.calibrate(runoff, network, far, groups="all", epochs=1, learning_rate=1e-300, optimizer="adam", **QUIET)
    found = xroute.calibrate(runoff, network, observed, groups="all", epochs=3, **QUIET)  # it is right already
    np.testing.assert_allclose(found.network["k"], K, rtol=1e-6)
    assert float(found.history.loss[-1]) <= float(found.history.loss[0])


def test_the_test_period_is_looked_at_as_scores_are(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    # a spin-up of an hour fills no river: the test period does not begin with an empty one for that, what was before it is routed
    found = xroute.calibrate(
        runoff, network.assign(k=1.4 * K), observed, parameters={"k": "scale"}, groups="all", window="3D",
        train=slice("2000-01-03", "2000-01-08"), test=[slice("2000-01-11", "2000-01-13"), slice("2000-01-17", None)],
        spinup="1h", epochs=3, optimizer="adam", **QUIET,
    )  # fmt: skip
    of_history = found.history["test_nse"].isel(epoch=-1)
    of_scores = found.scores["nse"].sel(period="test", run="calibrated")
    np.testing.assert_allclose(of_history.values, of_scores.transpose(*of_history.dims).values, rtol=1e-9)


def test_whoever_routes_after_a_calibration_is_told_as_ever(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    short = network.assign(k=1800.0, x=0.3)
    xroute.calibrate(runoff, short, observed, parameters={"k": "scale"}, groups="all", epochs=2, **QUIET)
    with pytest.warns(UserWarning, match="too short"):
        runoff.route(short)


def test_the_progress_of_a_search_that_converges_ends_whole(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, how = network.assign(k=1.2 * K), {"parameters": {"k": "scale"}, "groups": "all"}
    found = xroute.calibrate(runoff, wrong, observed, progress=True, device="cpu", **how)
    last = capsys.readouterr().err.strip().split("\r")[-1]
    assert found.reason.startswith("converged") and f"{found.epochs}/{found.epochs}" in last and "100%" in last


def test_a_network_that_was_better_before_is_told_of(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    k = np.random.default_rng(4).uniform(0.4, 4.0, network.n_reaches) * K
    true = network.assign(k=("reach", k, {"units": "s"}))  # each reach has its own, which one for all cannot be
    seen = runoff.route(true, device="cpu").sel(reach=observed.reach)
    with pytest.warns(UserWarning, match=r'was fits .* better .*in train 0\.9\d+, 1\.000 before.*"scale"'):
        xroute.calibrate(runoff, true, seen, parameters={"k": "all"}, epochs=20, **QUIET)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*fits the gauges better")
        warnings.filterwarnings("ignore", message=".*no parameters were found")
        xroute.calibrate(runoff, true, seen, parameters={"k": "scale"}, groups="all", epochs=3, **QUIET)


def test_only_what_is_upstream_is_routed_and_changed(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    gauge = observed.isel(reach=[2])
    problem = make_problem(runoff, network, gauge, CalibrationRequest(**QUIET))
    above = network.upstream(gauge.reach.values)
    assert set(problem.network.ids) == set(above) and problem.network.n_reaches < network.n_reaches
    wrong = network.assign(k=4000.0)
    with pytest.warns(UserWarning, match="are to determine|no parameters"):
        found = xroute.calibrate(
            runoff.isel(time=slice(0, 60)), wrong, gauge.isel(time=slice(0, 60)), epochs=4, optimizer="adam", **QUIET
        )
        xroute.calibrate(runoff, network, gauge, epochs=1, **QUIET)
    changed = found.network["k"].values != 4000.0
    assert set(network.ids[changed]) <= set(above) and changed.any()
    np.testing.assert_array_equal(found.network["calibrated"].values, np.isin(network.ids, above))


@pytest.mark.parametrize("loss", ["kge", "rmse", "log", "mine", "one number"])
def test_every_loss(loss: Any, network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    def mine(simulated: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        return torch.nan_to_num(simulated - observed).abs().mean(dim=1)

    given = {"mine": mine, "one number": lambda s, o: mine(s, o).mean()}.get(loss, loss)
    found = xroute.calibrate(
        runoff, network.assign(k=9000.0), observed, parameters="k", groups="all", loss=given, **QUIET
    )
    np.testing.assert_allclose(found.network["k"], K, rtol=5e-3)


def test_a_loss_that_is_none() -> None:
    network = river(2, 2)
    runoff = bursts(network, 60)
    with pytest.raises(xroute.ParameterError, match="loss= gives"):
        xroute.calibrate(runoff, network, runoff.route(network), loss=lambda s, o: s, **QUIET)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("how", [{"window": "4D"}, {"window": "4D", "carry": True}])
def test_windows(
    optimizer: Any, how: Any, network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    found = xroute.calibrate(
        runoff,
        network.assign(k=8000.0, x=0.2),
        observed,
        groups="all",
        spinup="2D",
        optimizer=optimizer,
        epochs=40,
        **how,
        **QUIET,
    )
    np.testing.assert_allclose(found.network["k"], K, rtol=0.01)
    np.testing.assert_allclose(found.network["x"], X, atol=0.02)


def test_windows_add_up_to_the_whole(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    """With a spin-up that is long enough, the loss of windows is that of the whole, whatever they are cut into."""
    found = [
        float(
            xroute.calibrate(
                runoff, network.assign(k=8000.0), observed, groups="all", optimizer="lbfgs", epochs=1, spinup="5D", window=w,
                loss=loss, **QUIET,
            ).history.loss[0]
        )
        for loss in ("nse", "log")
        for w in (None, "3D")
    ]  # fmt: skip
    np.testing.assert_allclose(found[1::2], found[::2], rtol=1e-6)


def test_daily_gauges_and_hourly_runoff(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    whole = runoff.route(network).isel(reach=[-1, -2])
    daily = whole.resample(time="1D").mean().assign_attrs(whole.attrs)
    found = xroute.calibrate(
        runoff, network.assign(k=9000.0), daily, parameters="k", groups="all", spinup="2D", **QUIET
    )
    np.testing.assert_allclose(found.network["k"], K, rtol=1e-3)
    assert found.discharge.sizes["time"] == daily.sizes["time"] - 2


def test_gauges_of_their_own_names_in_other_units_and_order(network: xroute.Network, runoff: xr.DataArray) -> None:
    whole = runoff.route(network).isel(reach=[-1, 12, -1])
    gauges = (
        (whole * 35.3146667)
        .rename(reach="gauge")
        .assign_coords(reach=("gauge", whole.reach.values), gauge=["b", "a", "c"])
    )
    gauges = gauges.isel(time=np.random.default_rng(0).permutation(gauges.sizes["time"])).transpose("gauge", "time")
    gauges.attrs["units"] = "ft3 s-1"
    found = xroute.calibrate(
        runoff,
        network.assign(k=9000.0),
        gauges,
        parameters="k",
        groups="all",
        gauge_weights={"a": 1.0, "b": 2.0, "c": 0.0},
        **QUIET,
    )
    np.testing.assert_allclose(found.network["k"], K, rtol=1e-3)
    assert found.scores["nse"].sel(gauge="a", run="calibrated", period="train") > 0.9999
    assert found.history["nse"].dims == ("epoch", "gauge")


def test_scale_keeps_the_pattern_of_a_prior(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    pattern = np.random.default_rng(0).uniform(0.5, 1.5, network.n_reaches)
    truth = network.assign(k=K * pattern)
    gauges = runoff.route(truth).sel(reach=observed.reach)
    found = xroute.calibrate(
        runoff, network.assign(k=2 * K * pattern), gauges, parameters={"k": ("scale", "all")}, **QUIET
    )
    np.testing.assert_allclose(found.network["k"], K * pattern, rtol=1e-4)
    assert float(found.history.k[-1, 0]) == pytest.approx(0.5, rel=1e-4)
    other = xroute.calibrate(
        runoff,
        network.assign(k=9000.0),
        gauges,
        parameters={"k": ("scale", "all")},
        priors={"k": 3 * K * pattern},
        **QUIET,
    )
    np.testing.assert_allclose(other.network["k"], K * pattern, rtol=1e-4)
    assert float(other.history.loss[0]) > 0


def test_a_penalty_pulls_to_the_prior(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    wrong = network.assign(k=9000.0)
    free, held = (
        float(
            xroute.calibrate(runoff, wrong, observed, parameters="k", groups="all", penalty=p, **QUIET).network["k"][0]
        )
        for p in (0.0, 1e4)
    )
    assert free == pytest.approx(K, rel=1e-3) and held == pytest.approx(9000.0, rel=1e-2)
    pulled = xroute.calibrate(
        runoff, wrong, observed, parameters="k", groups="all", penalty=1e4, priors={"k": 7000.0}, **QUIET
    )
    assert float(pulled.network["k"][0]) == pytest.approx(7000.0, rel=1e-2)


@pytest.mark.parametrize("groups", [None, "gauge"])
def test_reaches_that_no_gauge_sees_do_not_take_the_prior(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray, groups: Any
) -> None:
    found = xroute.calibrate(
        runoff, network, observed.isel(reach=[2]), parameters={"k": ("scale", groups)}, priors={"k": 7000.0}, epochs=2, **QUIET
    )
    unseen = ~found.network["calibrated"].values
    assert unseen.any() and (found.network["k"].values[unseen] == K).all()


@pytest.mark.parametrize("factor, told", [(35.3, True), (24.0, True), (1 / 35.3, True), (2.0, False)])
def test_volumes_that_no_river_makes_are_told(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray, factor: float, told: bool
) -> None:
    gauges = xr.where(observed.reach == observed.reach[0], factor, 1.0) * observed
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        xroute.calibrate(runoff, network, gauges.assign_attrs(observed.attrs), parameters="k", groups="all", epochs=2, **QUIET)
    texts = [str(w.message) for w in found if "the runoff upstream" in str(w.message)]
    assert len(texts) == told
    assert all(f"at 1 gauges: {int(observed.reach[0])}." in text for text in texts)


def test_gauges_on_reaches_of_known_discharge_are_told(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    known = runoff.route(network).sel(reach=observed.reach[:1])
    with pytest.warns(UserWarning, match=f"known.*nothing is learned from {int(known.reach[0])}"):
        xroute.calibrate(runoff, network, observed, parameters="k", groups="all", epochs=2, known=known, **QUIET)


def test_reaches_that_dip_are_told_once_before_and_once_after(observed: xr.DataArray, runoff: xr.DataArray) -> None:
    network = river(k=np.where(np.arange(24) % 2, 1e5, K))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        xroute.calibrate(runoff, network, observed, parameters={"k": "scale"}, groups="all", epochs=2, **QUIET)
    assert len([w for w in found if "at a routing step" in str(w.message)]) == 2


def test_priors_of_every_form_are_in_the_units_of_the_network(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    wrong = network.assign(k=("reach", np.full(network.n_reaches, 2.5), {"units": "h"}), mine=("reach", np.full(24, 2.0)))
    array = xr.DataArray(np.full(24, 2.0), {"reach": network.ids[::-1]}, ("reach",))
    given = (2.0, array, array.to_series(), dict(zip(network.ids.tolist(), [2.0] * 24, strict=True)), "mine", np.full(24, 2.0),
             (3600 * array).assign_attrs(units="s"), np.timedelta64(2, "h"))  # fmt: skip
    for prior in given:
        held = xroute.calibrate(
            runoff, wrong, observed, parameters="k", groups="all", priors={"k": prior}, penalty=1e6, epochs=30, **QUIET
        )
        np.testing.assert_allclose(held.network["k"].values[held.network["calibrated"].values], 2.0, rtol=1e-3)


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "adam", "window": "2D", "carry": True, "epochs": 30}], ids=["lbfgs", "carried windows"]
)
def test_a_loss_that_skips_gaps_by_nanmean_learns_though_its_gradient_is_nan_there(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray, options: dict[str, Any]
) -> None:
    def mean_square(simulated: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        return (simulated - observed).square().nanmean()

    silent = observed.where((observed.time < observed.time[200]) | (observed.time > observed.time[300]))  # windows of gaps alone
    found = xroute.calibrate(
        runoff, network.assign(k=1.5 * K), silent, parameters="k", groups="all", loss=mean_square, **QUIET, **options
    )
    np.testing.assert_allclose(found.network["k"][0], K, rtol=0.02)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_on_whatever_the_caller_is_in(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray, mode: Any
) -> None:
    with mode():
        found = xroute.calibrate(runoff, river(k=1.5 * K), observed, parameters="k", groups="all", epochs=2, **QUIET)
    assert found.history.loss[-1] < found.history.loss[0]
    model = xroute.ParameterModel(["length"], ["k"], hidden=())
    with mode():
        fit = model.fit(runoff, river(k=1.5 * K), observed, epochs=2, **QUIET)
    assert fit.history.loss[-1] < fit.history.loss[0]


def test_gauges_that_have_no_logarithm_are_told(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    reach = int(observed.reach[0])
    tidal = observed.where(observed.reach != reach, -observed)
    with pytest.warns(UserWarning, match=f'1 gauges have no positive mean.*loss="log": {reach}'):
        found = xroute.calibrate(
            runoff, network.assign(k=1.5 * K), tidal, parameters="k", groups="all", loss="log", **QUIET
        )
    np.testing.assert_allclose(found.network["k"][0], K, rtol=0.01)
    with pytest.raises(xroute.ParameterError, match="another loss="), pytest.warns(UserWarning, match="no positive mean"):
        xroute.calibrate(runoff, network, -observed.assign_attrs(observed.attrs), parameters="k", loss="log", **QUIET)


def test_steps_that_are_too_long_are_said_to_be(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    model = xroute.ParameterModel(["length", "area"], ["k"], hidden=())
    with pytest.warns(UserWarning, match="smaller learning_rate="):
        model.fit(runoff, network, observed, optimizer="adam", learning_rate=1e4, epochs=5, **QUIET)


def test_groups_by_gauge_and_unseen_groups(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    gauge = observed.isel(reach=[2, 3])
    wrong = network.assign(
        k=9000.0, kind=("reach", np.where(np.isin(network.ids, network.upstream(gauge.reach.values)), "a", "b"))
    )
    found = xroute.calibrate(runoff, wrong, gauge, parameters="k", groups="kind", **QUIET)
    seen = wrong["kind"].values == "a"
    np.testing.assert_allclose(found.network["k"].values[seen], K, rtol=1e-3)
    np.testing.assert_array_equal(found.network["k"].values[~seen], 9000.0)
    assert found.curvature["determined"].sel(parameter="k").to_series().to_dict() == {"a": True, "b": False}
    assert float(found.curvature["curvature"].sel(parameter="k", group="b")) == 0
    by_gauge = xroute.calibrate(runoff, wrong, gauge, parameters="k", groups="gauge", **QUIET)
    np.testing.assert_allclose(by_gauge.network["k"].values[seen], K, rtol=1e-2)
    assert by_gauge.curvature["group"].values.tolist() == sorted(gauge.reach.values.tolist())  # none of what is below them


def test_a_state_that_is_free_by_reach(network: xroute.Network) -> None:
    runoff = bursts(network, 400)
    rng = np.random.default_rng(5)
    truth = network.assign(k=rng.uniform(3600, 9000, network.n_reaches), x=rng.uniform(0.1, 0.4, network.n_reaches))
    q = runoff.route(truth)
    found = xroute.calibrate(
        runoff, network, q, optimizer="adam", train=slice(None, "2000-01-12"), test=slice("2000-01-13", None), **QUIET
    )
    assert (found.scores["nse"].sel(run="calibrated", period="test") > 0.999).all()
    assert found.history["k"].dims == ("epoch", "quantile")


def test_known_discharge_and_hillslopes(network: xroute.Network, runoff: xr.DataArray) -> None:
    known = runoff.route(network).isel(reach=[12]) * 0 + 3.0
    known.attrs["units"] = "m3 s-1"
    river = network.assign(fshape=2.5, tscale=7200.0)
    options: dict[str, Any] = {"known": known, "hillslope": "gamma"}
    q = runoff.route(river, **options).isel(reach=[-1, -2, -3])
    found = xroute.calibrate(
        runoff, river.assign(tscale=20_000.0), q, parameters="tscale", groups="all", **options, **QUIET
    )
    np.testing.assert_allclose(found.network["tscale"], 7200.0, rtol=1e-3)


def test_other_schemes(network: xroute.Network) -> None:
    for scheme, name in (("linear_storage", "tau"), ("hayami", "celerity"), ("nash_cascade", "tau")):
        river = xroute.Network(xroute.datasets.scheidegger(6, 4, seed=2, scheme=scheme))
        runoff = bursts(river, 300)
        q = runoff.route(river).isel(reach=[-1, -2])
        found = xroute.calibrate(
            runoff, river.assign({name: river[name] * 1.3}), q, parameters={name: ("scale", "all")}, **QUIET
        )
        assert float(found.scores["nse"].sel(run="calibrated").min()) > 0.995, scheme


def test_scores_of_many_gauges_are_those_of_a_few(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xroute.learning import judging

    options: dict[str, Any] = {"groups": "all", "epochs": 1, "test": slice("2000-01-15", None), **QUIET}
    few = xroute.calibrate(runoff, network.assign(k=7000.0), observed, **options).scores
    monkeypatch.setattr(judging, "MANY_GAUGES", 1)
    monkeypatch.setattr(judging, "AT_A_TIME", 500)
    many = xroute.calibrate(runoff, network.assign(k=7000.0), observed, **options).scores
    for name in ("nse", "kge"):
        np.testing.assert_allclose(many[name].transpose(*few[name].dims), few[name], rtol=1e-8)


# ── what is the same each time ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_bits(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    def run(seed: int) -> xr.Dataset:
        return xroute.calibrate(
            runoff,
            network.assign(k=7000.0),
            observed,
            window="4D",
            epochs=5,
            optimizer="adam",
            seed=seed,
            spinup="1D",
            **QUIET,
        ).history

    first, again, other = run(3), run(3), run(4)
    xr.testing.assert_identical(first, again)
    assert (first.loss != other.loss).any()


def test_order_of_dimensions_and_reaches_does_not_matter(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    wrong = network.assign(k=8000.0)
    options: dict[str, Any] = {"groups": "all", "epochs": 6, **QUIET}
    first = xroute.calibrate(runoff, wrong, observed, **options)
    mixed = runoff.isel(reach=np.random.default_rng(0).permutation(runoff.sizes["reach"])).transpose("reach", "time")
    again = xroute.calibrate(mixed, wrong, observed.transpose("reach", "time").isel(reach=[2, 0, 3, 1]), **options)
    np.testing.assert_allclose(again.network["k"], first.network["k"], rtol=1e-9)
    lazy = xroute.calibrate(mixed.chunk(time=100, reach=7), wrong, observed.chunk(), **options)
    np.testing.assert_allclose(lazy.network["k"], again.network["k"], rtol=1e-9)


def test_rows_that_are_picked_twice_have_both_gradients() -> None:
    reach = np.array([2, 0, 2, 2, 1])
    values = torch.rand(1, 4, 6, dtype=torch.float64, requires_grad=True)
    gauged = Gauged(reach, 4, torch.device("cpu"))
    found = simulated(values, gauged, 2, 2, 2)
    expected = values[0, reach, 2:6].reshape(5, 2, 2).mean(-1)
    assert torch.equal(found, expected)
    weight = torch.rand(5, 2, dtype=torch.float64)
    (mine,) = torch.autograd.grad((found * weight).sum(), values)
    (its,) = torch.autograd.grad((expected * weight).sum(), values)
    torch.testing.assert_close(mine, its)


def test_gradients_of_the_loss_are_finite_differences(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    from xroute.learning.learnable import learnable_of
    from xroute.learning.objective import Objective

    for loss in ("nse", "kge", "log", "rmse"):
        request = CalibrationRequest(groups="strahler", loss=loss, **QUIET)
        problem = make_problem(runoff, network.assign(k=7000.0), observed, request)
        router = problem.router(learnable_of(request, problem.whole, problem.observations.reach_ids))
        objective, (window,) = Objective(problem, problem.train), problem.windows

        def value() -> torch.Tensor:
            q = problem.route(router, window.begin, window.stop)  # noqa: B023
            return objective.part(problem.at_gauges(q, window.begin, window.steps), window.steps).loss  # noqa: B023

        value().backward()
        for parameter in router.parameters():
            assert parameter.grad is not None
            for k in range(parameter.numel()):
                ends = []
                for by in (-1e-5, 1e-5):
                    with torch.no_grad():
                        parameter[k] += by
                        ends.append(float(value()))
                        parameter[k] -= by
                slope = (ends[1] - ends[0]) / 2e-5
                assert float(parameter.grad[k]) == pytest.approx(slope, rel=2e-4, abs=1e-9), (loss, k)


# ── patience, periods, and what is refused ──────────────────────────────────────────────────────────────────────────────


def test_patience_stops_and_keeps_what_was_best_in_the_test_period(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    noisy = observed * (1 + 0.5 * np.random.default_rng(0).standard_normal(observed.shape))
    noisy.attrs = observed.attrs
    found = xroute.calibrate(
        runoff, network.assign(k=7000.0), noisy, train=slice(None, "2000-01-06"), test=slice("2000-01-10", None),
        patience=5, epochs=150,
        optimizer="adam", learning_rate=0.2, **QUIET,
    )  # fmt: skip
    assert found.epochs < 150 and "not got better" in found.reason
    tested = found.history["test_loss"]
    np.testing.assert_allclose(tested[-1], tested.min(), rtol=1e-6)


def test_patience_compares_the_test_period_with_itself(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    noise = np.random.default_rng(0).standard_normal(observed.shape) * float(observed.std())
    noisy = observed + noise * (np.arange(observed.sizes["time"]) >= 300)[:, None]  # tested on what cannot be fitted well
    noisy.attrs = observed.attrs
    found = xroute.calibrate(
        runoff, network.assign(k=6500.0), noisy, groups="all", train=slice(None, "2000-01-12"), test=slice("2000-01-14", None),
        spinup="1D", window="3D", patience=3, epochs=12, optimizer="adam", learning_rate=0.01, **QUIET,
    )  # fmt: skip
    tested = found.history["test_loss"].values
    assert tested[0] > 2 * found.history["loss"].values[0]  # at the start it is worse than what is trained on
    assert (np.diff(tested[:5]) < 0).all() and found.epochs == 12  # and gets better all the while


def test_loss_before_is_that_of_the_start(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    wrong = network.assign(k=8000.0)
    options: dict[str, Any] = {"groups": "all", "epochs": 1, "optimizer": "adam", "penalty": 0.1, **QUIET}
    whole = xroute.calibrate(runoff, wrong, observed, **options)
    parts = xroute.calibrate(runoff, wrong, observed, window="4D", carry=True, **options)  # a step a window, within an epoch
    before = [r.network.attrs["calibrated"].split(": nse ")[1].split(" to ")[0] for r in (whole, parts)]
    assert before[0] == before[1] == f"{float(whole.history['loss'][0]):.4g}"


def test_parameters_that_are_left_as_they_are(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    wrong = network.assign(k=8000.0)
    found = xroute.calibrate(runoff, wrong, observed, parameters={"k": True, "x": False}, groups="all", **QUIET)
    np.testing.assert_allclose(found.network["k"], K, rtol=1e-4)
    np.testing.assert_array_equal(found.network["x"], X)
    with pytest.raises(xroute.ParameterError, match="names none"):
        xroute.calibrate(runoff, wrong, observed, parameters={"x": False}, **QUIET)


def test_several_periods_and_test_alone(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    train = [slice("2000-01-05", "2000-01-07"), slice("2000-01-12", "2000-01-14")]
    found = xroute.calibrate(
        runoff, network.assign(k=8000.0), observed, groups="all", train=train, spinup="2D", **QUIET
    )
    np.testing.assert_allclose(found.network["k"], K, rtol=1e-3)
    request = CalibrationRequest(test=slice("2000-01-10", "2000-01-12"), spinup=0, **QUIET)
    problem = make_problem(runoff, network, observed, request)
    taken = np.concatenate([np.arange(p.start, p.stop) for p in (*problem.train, *problem.test)])
    assert np.sort(taken).tolist() == list(range(480)) and len(problem.train) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parameters": ()}, "names none"),
        ({"parameters": ("k", "celerity")}, "celerity"),
        ({"groups": "colour"}, "colour"),
        ({"loss": "mse"}, "nse"),
        ({"optimizer": "sgd"}, "lbfgs"),
        ({"epochs": 0}, "epochs="),
        ({"learning_rate": -1.0}, "learning_rate="),
        ({"penalty": -1.0}, "penalty="),
        ({"priors": 3600.0}, "priors="),
        ({"gauge_weights": "many"}, "gauge_weights="),
        ({"loss": lambda simulated, observed: simulated.detach().sum(dim=1)}, "without gradients"),
        ({"patience": 3}, "test="),
        ({"carry": True}, "window="),
        ({"window": "10min"}, "window="),
        ({"spinup": "a while"}, "spinup="),
        ({"spinup": "40D"}, "spin-up"),
        ({"train": "1990"}, "slice"),
        ({"train": slice("1990", "1991")}, "no observations"),
        ({"train": slice("1990", "1991")}, "2000-01-01"),
        ({"gauge_weights": [1.0, 2.0]}, "4 gauges"),
        ({"gauge_weights": [1.0, -2.0, 1.0, 1.0]}, "from 0 on"),
        ({"gauge_weights": [0.0] * 4}, "all zero"),
        ({"priors": {"tau": 3.0}}, "tau"),
        ({"priors": {"k": -3.0}, "penalty": 1.0}, "priors=: .*'k' must be > 0"),
        ({"loss": lambda simulated, observed: (simulated - observed).detach().square().nanmean()}, "without gradients"),
        ({"groups": xr.DataArray([1, 1], {"reach": [1, 2]}, ("reach",))}, "22 of the network's 24 reaches.*Give it for each"),
        ({"seed": -1}, "seed="),
    ],
)
def test_what_is_refused(
    change: Any, words: str, network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    with pytest.raises(xroute.XRouteError, match=words):
        xroute.calibrate(runoff, network, observed, **change, **QUIET)


def test_members_are_refused(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    with pytest.raises(xroute.AlignmentError, match="isel"):
        xroute.calibrate(xr.concat([runoff, runoff], "member"), network, observed, **QUIET)
    one = xroute.calibrate(
        runoff.expand_dims(member=[3]), network.assign(k=7000.0), observed, groups="all", epochs=2, **QUIET
    )
    assert "member" not in one.discharge.dims


def test_runoff_that_is_not_finite(network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray) -> None:
    bad = runoff.copy(deep=True)
    bad[100, 5] = np.nan
    with pytest.raises(xroute.XRouteError, match="nan="):
        xroute.calibrate(bad, network, observed, **QUIET)
    xroute.calibrate(bad, network.assign(k=7000.0), observed, groups="all", nan="zero", epochs=2, **QUIET)


def test_fewer_observations_than_values_is_told(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    few = observed.isel(reach=[2]).where(observed.time.dt.hour == 0)
    few.attrs = observed.attrs
    with pytest.warns(UserWarning, match="observations are to determine"):
        xroute.calibrate(runoff, network.assign(k=7000.0), few, epochs=2, **QUIET)


def test_a_gauge_that_is_silent_in_training_is_told_and_tested(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    late = observed.copy(deep=True)
    late[:240, 1] = np.nan
    with pytest.warns(UserWarning, match="do not count there"):
        found = xroute.calibrate(
            runoff,
            network.assign(k=7000.0),
            late,
            groups="all",
            train=slice(None, "2000-01-10"),
            test=slice("2000-01-11", None),
            **QUIET,
        )
    assert float(found.scores["nse"].isel(reach=1).sel(run="calibrated", period="test")) > 0.999
    assert np.isnan(float(found.scores["nse"].isel(reach=1).sel(run="calibrated", period="train")))


def test_a_hopeless_learning_rate_is_told(
    network: xroute.Network, runoff: xr.DataArray, observed: xr.DataArray
) -> None:
    import warnings

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = xroute.calibrate(
            runoff, network.assign(k=7000.0), observed, optimizer="adam", learning_rate=1e6, epochs=4, **QUIET
        )
    assert float(found.history.loss[-1]) <= float(found.history.loss[0])
    assert np.isfinite(found.network["k"]).all() and (found.network["k"] > 0).all()
    assert float(found.history.loss[-1]) < float(found.history.loss[0]) or any("better" in str(w.message) for w in told)


# ── what is kept ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_saved_and_loaded(result: Calibration, tmp_path: Any) -> None:
    path = tmp_path / "calibration.npz"
    result.save(path)
    found = Calibration.load(path)
    for name in ("history", "scores", "curvature", "discharge", "before"):
        xr.testing.assert_identical(getattr(found, name), getattr(result, name))
    xr.testing.assert_identical(found.network.dataset, result.network.dataset)
    assert repr(found) == repr(result)
    (tmp_path / "other.npz").write_bytes(b"no")
    with pytest.raises(xroute.XRouteError, match="is no file of a calibration"):
        Calibration.load(tmp_path / "other.npz")


def test_names_that_gauges_lack_are_missing_in_files_too(result: Calibration, tmp_path: Any) -> None:
    dim = str(result.scores["nse"].dims[-1])
    names = np.array(["mouth", None, np.nan, "nan"][: result.scores.sizes[dim]], dtype=object)
    names = np.concatenate([names, np.full(result.scores.sizes[dim] - names.size, "more", dtype=object)])
    named = replace(result, scores=result.scores.assign_coords(station=(dim, names)))
    named.save(tmp_path / "calibration.npz")
    found = Calibration.load(tmp_path / "calibration.npz").scores["station"]
    assert found.isnull().values.tolist() == [name is None or name != name for name in names]
    assert [n for n in found.values.tolist() if isinstance(n, str)] == [n for n in names if isinstance(n, str)]


def test_import_is_light_and_offers_all_there_is() -> None:
    code = (
        "import sys, xroute, xroute.learning; print('torch' in sys.modules, 'scores' in sys.modules);"
        "print(set(xroute.__all__) - set(dir(xroute)), set(xroute.learning.__all__) - set(dir(xroute.learning)));"
        "print('torch' in sys.modules); print(*(getattr(xroute, name) is None for name in xroute.__all__))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert found[:3] == ["False False", "set() set()", "False"] and set(found[3].split()) == {"False"}
