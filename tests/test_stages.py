"""Training in stages: which reaches are whose, what is given from above, and that errors upstream do not spoil what is below.

What is expected is worked out here: sub-basins by walking up the river, means with numpy, rivers routed with known discharge.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from strategies import topology

import xroute
from xroute import Network, ParameterError, ParameterModel, StateError
from xroute.learning import stages
from xroute.learning.problem import make_problem
from xroute.learning.request import CalibrationRequest
from xroute.learning.stages import _series, _stage_problem, stages_of

HOURS = 24 * 20


def bursts(network: Network, steps: int = HOURS, seed: int = 0, freq: str = "1h") -> xr.DataArray:
    """Runoff [m3 s-1] of short storms here and there."""
    rng = np.random.default_rng(seed)
    starts = rng.random((steps, network.n_reaches)) < 0.03
    pulses, now = np.empty((steps, network.n_reaches)), np.full(network.n_reaches, 0.5)
    for t in range(steps):
        now = 0.7 * now + starts[t] * rng.exponential(5.0, network.n_reaches) + 0.05
        pulses[t] = now
    times = xr.date_range("2001-01-01", periods=steps, freq=freq)
    return xr.DataArray(pulses, {"time": times, "reach": network.ids}, ("time", "reach"), attrs={"units": "m3 s-1"})


def chain(n: int = 9) -> Network:
    """Reaches 1, 2, ..., one into the next."""
    ids = np.arange(1, n + 1)
    dataset = xr.Dataset(
        {
            "downstream": ("reach", np.r_[ids[1:], 0]),
            "k": ("reach", np.full(n, 4000.0), {"units": "s"}),
            "x": ("reach", np.full(n, 0.2)),
        },
        {"reach": ids},
        {"scheme": "muskingum_exact"},
    )
    return Network(dataset)


# ── which reaches are whose ─────────────────────────────────────────────────────────────────────────────────────────────


def upstream_until(links, start: int, stops: set[int]) -> tuple[set[int], set[int]]:
    """Reaches upstream of one, itself included, up to those that water comes from as it is given; and these."""
    own, given, waiting = {start}, set(), [start]
    while waiting:
        reach = waiting.pop()
        for up in links.upstream[links.downstream == reach].tolist():
            if up in stops:
                given.add(up)
            elif up not in own:
                own.add(up)
                waiting.append(up)
    return own, given


def rank_of(links, reach: int, gauges: set[int]) -> int:
    """Gauges one above the other, upstream of a reach."""
    ranks = [rank_of(links, up, gauges) + (up in gauges) for up in links.upstream[links.downstream == reach].tolist()]
    return max(ranks, default=0)


@pytest.mark.parametrize("shape", ["tree", "forest", "bifurcating", "chain", "single"])
@pytest.mark.parametrize("seed", range(3))
def test_stages_are_the_sub_basins_between_gauges_from_the_headwaters_down(shape, seed):
    rng = np.random.default_rng(seed)
    links = topology(shape, 25, rng)
    n = links.n_reaches
    network = _network(links)
    reach = rng.choice(n, size=min(6, n), replace=False)
    reach = np.r_[reach, reach[:1]]  # two gauges on one
    gauges = set(reach.tolist())
    stages = stages_of(network, reach)
    assert sorted(np.concatenate([s.gauges for s in stages]).tolist()) == list(range(reach.size))
    for level, stage in enumerate(stages):
        mine = set(reach[stage.gauges].tolist())
        assert {rank_of(links, r, gauges) for r in mine} == {level}
        stops = {g for g in gauges if rank_of(links, g, gauges) < level}
        own, given = set(), set()
        for r in mine:
            one = upstream_until(links, r, stops)
            own |= one[0]
            given |= one[1]
        assert set(stage.own.tolist()) == own and set(stage.given.tolist()) == given


def _network(links) -> Network:
    up, down, fraction = links.links
    return Network(
        xr.Dataset(
            {"upstream_reach": ("link", up + 1), "downstream_reach": ("link", down + 1), "fraction": ("link", fraction)},
            {"reach": np.arange(links.n_reaches) + 1},
        )
    )


# ── what is given from above ──────────────────────────────────────────────────────────────────────────────────────────────


def problem_of(network: Network, runoff: xr.DataArray, observed: xr.DataArray, **options):
    return make_problem(runoff, network, observed, CalibrationRequest(progress=False, spinup="6h", **options))


def test_above_is_given_as_it_was_observed_and_in_gaps_as_it_is_simulated():
    network = chain()
    runoff = bursts(network)
    truth = runoff.route(network)
    observed = (truth.sel(reach=[3, 6, 9]) * 1.5).where(np.arange(HOURS)[:, None] % 5 != 2)
    problem = problem_of(network, runoff, observed)
    first, second, _ = stages_of(problem.network, problem.observations.reach)
    part = _stage_problem(problem, first, {})
    (above,) = _series(part, part.router(), None)
    begin = problem.source.steps.start
    gap = np.isnan(observed.sel(reach=3).values)[begin:]
    np.testing.assert_allclose(above[~gap], observed.sel(reach=3).values[begin:][~gap], rtol=1e-12)
    np.testing.assert_allclose(above[gap], truth.sel(reach=3).values[begin:][gap], rtol=1e-9)

    part = _stage_problem(problem, second, {2: above})
    assert part.network.ids.tolist() == [3, 4, 5, 6]
    (below,) = part.simulate(part.router(), part.train)
    labels = {"time": runoff["time"][begin:], "reach": [3]}
    known = xr.DataArray(above.numpy()[:, None], labels, ("time", "reach"), attrs={"units": "m3 s-1"})
    expected = runoff.isel(time=slice(begin, None)).route(network, known=known).sel(reach=6)
    np.testing.assert_allclose(below[0], expected.values[-below.shape[1] :], rtol=1e-9)


def test_daily_observations_scale_hourly_discharge_to_their_means():
    network = chain(6)
    runoff = bursts(network)
    truth = runoff.route(network)
    daily = (2.0 * truth.sel(reach=[3, 6])).resample(time="1D").mean().assign_attrs(units="m3 s-1", time_label="start")
    daily[4] = np.nan
    problem = problem_of(network, runoff, daily, observed_label="start")
    assert problem.observations.every == 24
    first = _stage_problem(problem, stages_of(problem.network, problem.observations.reach)[0], {})
    (above,) = _series(first, first.router(), None)
    begin = problem.source.steps.start
    hourly = np.r_[np.full(begin, np.nan), above.numpy()].reshape(-1, 24)
    own = truth.sel(reach=3).values.reshape(-1, 24)
    whole = ~np.isnan(hourly).any(axis=1)
    whole[4] = False
    np.testing.assert_allclose(hourly[whole].mean(axis=1), daily.sel(reach=3).values[whole], rtol=1e-9)
    np.testing.assert_allclose((hourly / own)[whole][1:], 2.0, rtol=1e-6)  # its course is what is simulated, once it is wet
    np.testing.assert_allclose(hourly[4], own[4], rtol=1e-9)


# ── what is learned ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_of_runoff_upstream_does_not_spoil_what_is_below():
    """Truth: k of 3,000, 5,000 and 8,000 s in three sub-basins; runoff of the uppermost is given wrong, gauges are right."""
    network = chain()
    k = np.repeat([3000.0, 5000.0, 8000.0], 3)
    truth = network.assign(k=("reach", k, {"units": "s"}))
    runoff = bursts(network)
    observed = runoff.route(truth).sel(reach=[3, 6, 9])
    wrong = runoff.where(runoff["reach"] > 3, 0.2 * runoff.roll(time=30).mean("reach")).assign_attrs(units="m3 s-1")
    options = {"parameters": "k", "groups": "gauge", "spinup": "12h", "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        staged = xroute.calibrate(wrong, network, observed, stages="gauge", **options)
        at_once = xroute.calibrate(wrong, network, observed, **options)
    error = {name: np.abs(r.network["k"].values / k - 1)[3:].max() for name, r in (("staged", staged), ("at once", at_once))}
    assert error["staged"] < 1e-3, error
    assert error["at once"] > 0.02, error
    assert staged.history["stage"].values.max() == 3 and (np.diff(staged.history["stage"]) >= 0).all()
    assert bool(staged.network["calibrated"].all()) and "stages" in staged.network.attrs["calibrated"]
    assert set(staged.curvature.dims) >= {"stage"}


def test_free_values_of_a_bifurcating_river_are_found_stage_by_stage_and_the_rest_stays():
    network = Network(xroute.datasets.scheidegger(8, 4, 2)).assign_attrs(scheme="muskingum_exact")
    runoff = bursts(network, seed=3)
    truth = network.assign(k=network["k"] * 0.5)
    gauges = network.ids[[13, 22, 25]]
    observed = runoff.route(truth).sel(reach=gauges)
    start = network.assign(k=network["k"] * 0.7)
    result = xroute.calibrate(
        runoff, start, observed, parameters="k", stages="gauge", epochs=40, spinup="12h", progress=False, optimizer="adam"
    )
    seen = np.isin(network.ids, network.upstream(gauges))
    np.testing.assert_array_equal(result.network["k"].values[~seen], start["k"].values[~seen])
    assert (result.network["calibrated"].values == seen).all()
    nse = result.scores["nse"].sel(period="train")
    assert float(nse.sel(run="calibrated").min()) > 0.999 > float(nse.sel(run="before").max())


def attributed(rows: int, columns: int, seed: int) -> tuple[Network, Network]:
    """A network with attributes and k by a power law of these, and the same with a wrong k."""
    rng = np.random.default_rng(seed)
    network = Network(xroute.datasets.scheidegger(rows, columns, seed)).assign_attrs(scheme="muskingum_exact")
    slope = 10.0 ** rng.uniform(-3.5, -1.5, network.n_reaches)
    celerity = 1.2 * (slope / 0.003) ** 0.3
    truth = network.assign(slope=slope, k=("reach", network["length"].values / celerity, {"units": "s"}))
    return truth, truth.assign(k=("reach", np.full(network.n_reaches, 9000.0), {"units": "s"}), x=0.3)


def test_a_model_trained_in_stages_learns_the_law_and_says_how_it_went():
    truth, wrong = attributed(8, 5, 0)
    runoff = bursts(truth)
    reach = truth.ids[np.argsort(truth.n_upstream.values)[[-1, -3, -6, -9, -14]]]
    observed = runoff.route(truth).sel(reach=reach).where(np.arange(HOURS)[:, None] % 7 != 3)
    model = ParameterModel(["slope"], hidden=(6,))
    result = model.fit(runoff, wrong, observed, stages="gauge", spinup="12h", progress=False, epochs=40)
    assert result.history["stage"].values.max() > 1
    loss = result.history["loss"].values
    assert np.isfinite(loss).all()
    routed, expected = runoff.route(result.network), runoff.route(truth)
    nse = 1 - ((routed - expected) ** 2).sum("time") / ((expected - expected.mean("time")) ** 2).sum("time")
    assert float(nse.median()) > 0.99
    assert "stages" in result.reason


def test_a_checkpoint_of_stages_ends_with_the_same_bits(tmp_path, monkeypatch):
    network = chain(6)
    runoff = bursts(network, 240)
    observed = runoff.route(network.assign(k=("reach", np.full(6, 2500.0), {"units": "s"}))).sel(reach=[3, 6])
    options = {"parameters": "k", "stages": "gauge", "groups": "all", "spinup": "12h", "progress": False, "epochs": 12}
    plain = xroute.calibrate(runoff, network, observed, **options)
    path = tmp_path / "run.npz"
    series, count = stages._series, [0]

    def dying(*args):
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        return series(*args)

    monkeypatch.setattr(stages, "_series", dying)
    with pytest.raises(KeyboardInterrupt):
        xroute.calibrate(runoff, network, observed, checkpoint=path, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.stage-1.npz", "run.stage-2.npz"]
    (tmp_path / "run.stage-2.npz").unlink()  # as if it had been killed earlier
    whole = xroute.calibrate(runoff, network, observed, checkpoint=path, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    count[0] = 0
    again = xroute.calibrate(runoff, network, observed, checkpoint=path, **options)
    assert not count[0]  # all of it is in the file
    for one in (whole, again):
        np.testing.assert_array_equal(one.network["k"].values, plain.network["k"].values)
        xr.testing.assert_identical(one.history, plain.history)
    with pytest.raises(StateError, match="seed"):
        xroute.calibrate(runoff, network, observed, checkpoint=path, **{**options, "seed": 3})


def test_priors_and_groups_of_stages_are_those_of_their_own_reaches():
    network = Network(xroute.datasets.scheidegger(5, 4, 2)).assign_attrs(scheme="muskingum_exact")
    runoff = bursts(network, 240)
    gauges = network.ids[[13, 18, 19]]
    observed = runoff.route(network).sel(reach=gauges)
    wrong = network.assign(k=1.5 * network["k"])
    options = {"stages": "gauge", "epochs": 4, "spinup": "12h", "progress": False}
    held = xroute.calibrate(
        runoff, wrong, observed, parameters="k", priors={"k": network["k"]}, penalty=1e6, optimizer="adam", **options
    )
    free = xroute.calibrate(runoff, wrong, observed, parameters={"k": "scale"}, groups="gauge", **options)
    mine = held.network["calibrated"].values
    nearer = np.abs(np.log(held.network["k"] / network["k"]))[mine] < np.log(1.5)
    assert nearer.all()
    told = free.curvature.sel(parameter="k")
    seen = told["value"].notnull()
    assert (seen.sum("stage").sel(group=gauges) == 1).all()  # each sub-basin in its own stage, and told of in no other
    assert (told["n_reaches"].where(~seen, 0).sel(group=gauges) == 0).all()


def test_stages_that_are_done_take_no_more_epochs(tmp_path):
    network = chain(4)
    runoff = bursts(network, 120)
    observed = runoff.route(network).sel(reach=[2, 4])
    options = {"stages": "gauge", "groups": "all", "spinup": "12h", "progress": False, "checkpoint": tmp_path / "run.npz"}
    xroute.calibrate(runoff, network.assign(k=5000.0), observed, parameters="k", epochs=2, **options)
    with pytest.raises(StateError, match="epochs of each stage"):
        xroute.calibrate(runoff, network.assign(k=5000.0), observed, parameters="k", epochs=3, **options)


def test_a_model_that_was_trained_in_stages_comes_back_from_its_file(tmp_path):
    truth, wrong = attributed(5, 3, 0)
    runoff = bursts(truth, 240)
    observed = runoff.route(truth).isel(reach=[7, 10, 13])
    options = {"stages": "gauge", "spinup": "12h", "progress": False, "epochs": 5, "checkpoint": tmp_path / "fit.npz"}
    one, two = (ParameterModel(["slope"], hidden=(3,)) for _ in range(2))
    results = [model.fit(runoff, wrong, observed, **options) for model in (one, two)]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    np.testing.assert_array_equal(results[0].network["k"].values, results[1].network["k"].values)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.npz"]


def test_a_gauge_that_says_nothing_is_passed_by():
    network = chain()
    runoff = bursts(network, 240)
    observed = runoff.route(network.assign(k=("reach", np.full(9, 2500.0), {"units": "s"}))).sel(reach=[3, 6, 9]).copy()
    observed[20:, 0] = np.nan
    test = slice("2001-01-01 00:00", "2001-01-01 23:00")
    with pytest.warns(UserWarning, match="do not count"), pytest.warns(UserWarning, match="stage 1 is not trained"):
        result = xroute.calibrate(
            runoff, network, observed, parameters="k", groups="all", stages="gauge", test=test, spinup="12h", progress=False
        )
    k = result.network["k"].values
    np.testing.assert_array_equal(k[:3], 4000.0)
    assert not result.network["calibrated"].values[:3].any()
    assert (k[3:] < 3600).all()


def test_other_stages_are_refused():
    with pytest.raises(ParameterError, match="stages is one of 'gauge'"):
        CalibrationRequest(stages="reach")
    assert torch.is_grad_enabled()


def test_priors_are_of_the_stages_own_reaches():
    network = chain(6)
    runoff = bursts(network)
    observed = runoff.route(network).isel(reach=[2, 5])
    wrong = network.assign(k=("reach", np.full(6, 6000.0), {"units": "s"}))
    options = {"parameters": "k", "stages": "gauge", "progress": False, "device": "cpu"}
    free = xroute.calibrate(runoff, wrong, observed, **options)
    np.testing.assert_allclose(free.network["k"], 4000.0, rtol=1e-3)
    held = xroute.calibrate(runoff, wrong, observed, priors={"k": 5000.0}, penalty=1e4, **options)
    np.testing.assert_allclose(held.network["k"], 5000.0, rtol=0.01)


def test_a_stage_without_the_parameters_is_passed_by():
    schemes = np.array(["pure_lag"] * 3 + ["muskingum_exact"] * 3)
    dataset = chain(6).dataset.drop_attrs(deep=False)
    network = Network(dataset.assign(scheme=("reach", schemes), delay=("reach", np.full(6, 3600.0), {"units": "s"})))
    runoff = bursts(network)
    observed = runoff.route(network).isel(reach=[2, 5])
    wrong = network.assign(k=("reach", np.full(6, 6000.0), {"units": "s"}))
    with pytest.warns(UserWarning, match="stage 1 is not trained: its reaches have none of the parameters 'k'"):
        found = xroute.calibrate(
            runoff, wrong, observed, parameters="k", groups="all", stages="gauge", progress=False, device="cpu"
        )
    np.testing.assert_allclose(found.network["k"][3:], 4000.0, rtol=1e-3)
    assert found.network["calibrated"].values.tolist() == [False] * 3 + [True] * 3
    assert set(found.history["stage"].values) == {2}


def test_groups_of_other_stages_are_not_said_to_be_undetermined():
    network = chain(9)  # reach 9 is below all gauges
    runoff = bursts(network)
    observed = runoff.route(network).isel(reach=[2, 5])
    found = xroute.calibrate(
        runoff, network.assign(k=("reach", np.full(9, 6000.0), {"units": "s"})), observed, parameters="k", groups="gauge",
        stages="gauge", progress=False, device="cpu",
    )  # fmt: skip
    assert found.undetermined() == []
    assert not found.summary().startswith("loss")  # of stages, the first and the last loss are of different gauges
