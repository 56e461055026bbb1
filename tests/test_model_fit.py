"""`ParameterModel.fit`: laws that truths were made by are found from gauges, also on rivers that were not trained on."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import xroute
from xroute import Network, ParameterError, ParameterModel, StateError
from xroute.schemes import SCHEMES

ATTRIBUTES = ["slope", "length", "uparea"]
RAPID = {"substeps": 12, "sampling": "start-mean", "lateral": "interval"}


def truth_of(seed: int, rows: int = 10, columns: int = 8, scheme: str = "muskingum") -> Network:
    """A river whose celerity is a power law of slope and area, and whose x follows the slope."""
    rng = np.random.default_rng(seed + 5)
    network = Network(xroute.datasets.scheidegger(rows, columns, seed))
    n = network.n_reaches
    area = network.n_upstream.values * 25.0
    slope = 10 ** rng.uniform(-3.5, -1.5, n)
    length = 10 ** rng.uniform(3.3, 4.1, n)
    celerity = np.clip((slope / 0.003) ** 0.3 * (area / 500) ** 0.12, 0.15, 8.0)
    return network.assign(
        length=("reach", length, {"units": "m"}),
        slope=slope,
        uparea=("reach", area, {"units": "km2"}),
        k=("reach", length / celerity, {"units": "s"}),
        x=0.05 + 0.35 / (1 + np.exp(-(np.log10(slope) + 2.5) * 1.5)),
    ).assign_attrs(scheme=scheme)


def wrong_of(network: Network) -> Network:
    return network.assign(k=("reach", np.full(network.n_reaches, 9000.0), {"units": "s"}), x=0.3)


def bursts(network: Network, steps: int = 240, seed: int = 0) -> xr.DataArray:
    """Runoff [m3 s-1] of short storms here and there, every three hours."""
    rng = np.random.default_rng(seed)
    starts = rng.random((steps, network.n_reaches)) < 0.04
    found, now = np.empty((steps, network.n_reaches)), np.full(network.n_reaches, 0.5)
    for t in range(steps):
        now = 0.6 * now + starts[t] * rng.exponential(5.0, network.n_reaches) + 0.05
        found[t] = now
    times = xr.date_range("2001-01-01", periods=steps, freq="3h")
    return xr.DataArray(found, {"time": times, "reach": network.ids}, ("time", "reach"), attrs={"units": "m3 s-1"})


def nse(network: Network, runoff: xr.DataArray, expected: xr.DataArray, **options) -> np.ndarray:
    error = ((runoff.route(network, **options) - expected) ** 2).sum("time")
    return (1 - error / ((expected - expected.mean("time")) ** 2).sum("time")).values


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="at a routing step")
        yield


def test_a_law_is_learned_from_one_region_and_holds_in_another():
    """From a free run with a wrong k and x; the other region's gauges are never seen."""
    here, there = truth_of(0), truth_of(1)
    runoff, elsewhere = bursts(here, seed=2), bursts(there, seed=3)
    observed, expected = runoff.route(here, **RAPID), elsewhere.route(there, **RAPID)
    model = ParameterModel(ATTRIBUTES, hidden=(12,))
    result = model.fit(runoff, wrong_of(here), observed, spinup="1D", progress=False, epochs=80, **RAPID)
    before = np.median(nse(wrong_of(there), elsewhere, expected, **RAPID))
    after = np.median(nse(model.predict(wrong_of(there)), elsewhere, expected, **RAPID))
    assert before < 0.99 and after >= 0.9998, (before, after)
    assert float(result.history["loss"][-1]) < 1e-4 < float(result.history["loss"][0])
    scores = result.scores["nse"].sel(period="train")
    assert float(scores.sel(run="calibrated").median()) > 0.9998 > float(scores.sel(run="before").median())
    error = np.abs(np.log(model.predict(wrong_of(there))["k"].values / there["k"].values))
    assert np.median(error) < 0.02


def test_a_few_gauges_with_noise_and_gaps_teach_the_region():
    here = truth_of(0)
    runoff = bursts(here, seed=2)
    true = runoff.route(here, **RAPID)
    rng = np.random.default_rng(1)
    at = rng.choice(here.n_reaches, 12, replace=False)
    observed = true.isel(reach=at) * np.exp(0.1 * rng.standard_normal((240, 12)))
    observed = observed.where(rng.random(observed.shape) > 0.3).assign_attrs(units="m3 s-1")
    model = ParameterModel(["slope", "uparea"], hidden=())
    result = model.fit(
        runoff,
        wrong_of(here),
        observed,
        spinup="1D",
        progress=False,
        test=slice("2001-01-24", None),
        epochs=40,
        **RAPID,
    )
    quality = nse(result.network, runoff, true, **RAPID)
    assert np.median(quality) > 0.995 > np.median(nse(wrong_of(here), runoff, true, **RAPID))
    assert {"train", "test"} == set(result.scores["period"].values.tolist())


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if not SCHEMES[s].from_user])
def test_every_scheme_is_learned(scheme):
    network = Network(xroute.datasets.scheidegger(5, 4, 1, scheme=scheme))
    names = [p.name for p in SCHEMES[scheme].parameters if p.name != "length"]
    slope = np.exp(np.random.default_rng(0).normal(size=network.n_reaches))
    network = network.assign(slope=slope)
    celerity = 1.2 * slope**0.3
    of_reach = SCHEMES[scheme].of_reach(length=network["length"].values, celerity=celerity, weight=np.full(20, 0.2))
    truth = network.assign({n: ("reach", v, network[n].attrs) for n, v in of_reach.items() if n in names})
    runoff = bursts(network, 120)
    observed = runoff.route(truth)
    model = ParameterModel(["slope", "length"], names, hidden=(6,))
    result = model.fit(runoff, network, observed, spinup="1D", progress=False, epochs=25)
    loss = result.history["loss"].values
    assert loss[-1] < 0.1 * loss[0], loss
    for p in SCHEMES[scheme].parameters:
        assert (
            bool(p.allows(torch.from_numpy(result.network[p.name].values)).all()) if p.name in result.network else True
        )


def test_only_the_network_upstream_of_gauges_is_routed_and_all_of_it_is_predicted():
    here = truth_of(0)
    runoff = bursts(here, 120)
    reach = here.ids[[45]]
    observed = runoff.route(here).sel(reach=reach)
    below = runoff.where(np.isin(here.ids, here.upstream(reach)))  # NaN elsewhere would be an error, if it were read
    model = ParameterModel(["slope"], hidden=())
    result = model.fit(below, wrong_of(here), observed, spinup="1D", progress=False, epochs=5)
    assert bool(result.network["calibrated"].all())
    np.testing.assert_array_equal(result.network["k"].values, model.predict(wrong_of(here))["k"].values)


def test_a_network_without_parameters_can_be_trained():
    here = truth_of(0, 5, 4)
    runoff = bursts(here, 120)
    observed = runoff.route(here, **RAPID)
    bare = here.dataset.drop_vars(["k", "x"])
    model = ParameterModel(ATTRIBUTES, hidden=())
    result = model.fit(runoff, bare, observed, spinup="1D", progress=False, epochs=20, **RAPID)
    assert np.median(nse(result.network, runoff, observed, **RAPID)) > 0.999


def test_the_same_seed_gives_the_same_bits_and_a_model_goes_on_from_where_it_is():
    here = truth_of(0, 5, 4)
    runoff = bursts(here, 120)
    observed = runoff.route(here).isel(reach=[3, 17, 19])
    options = {"spinup": "1D", "progress": False, "epochs": 6}
    one, two, other = (ParameterModel(ATTRIBUTES, hidden=(5,), seed=s) for s in (3, 3, 4))
    results = [m.fit(runoff, wrong_of(here), observed, **options) for m in (one, two, other)]
    np.testing.assert_array_equal(results[0].network["k"].values, results[1].network["k"].values)
    assert (results[0].network["k"].values != results[2].network["k"].values).any()
    more = one.fit(runoff, wrong_of(here), observed, **options)
    assert float(more.history["loss"][0]) == pytest.approx(float(results[0].history["loss"][-1]), rel=1e-9)
    assert float(more.history["loss"][-1]) <= float(more.history["loss"][0])


def test_a_killed_training_goes_on_from_its_file_and_ends_with_the_same_bits(tmp_path, monkeypatch):
    from xroute.learning import progress_file, training

    here = truth_of(0, 5, 4)
    runoff = bursts(here, 120)
    observed = runoff.route(here).isel(reach=[3, 17, 19])
    options = {"spinup": "1D", "progress": False, "epochs": 10}

    def model():
        return ParameterModel(ATTRIBUTES, hidden=(5,), seed=3)

    expected = model()
    expected.fit(runoff, wrong_of(here), observed, **options)
    monkeypatch.setattr(progress_file, "EVERY", 0.0)
    monkeypatch.setattr(progress_file, "PART", 0.0)
    epoch, count = training._Training._epoch, [0]

    def dying(self):
        count[0] += 1
        if count[0] == 5:
            raise KeyboardInterrupt
        epoch(self)

    monkeypatch.setattr(training._Training, "_epoch", dying)
    path = tmp_path / "fit.npz"
    with pytest.raises(KeyboardInterrupt):
        model().fit(runoff, wrong_of(here), observed, checkpoint=path, **options)
    found = model()
    result = found.fit(runoff, wrong_of(here), observed, checkpoint=path, **options)
    assert count[0] < 5 + 10  # not from the beginning
    for name, weight in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name
    again = model()
    same = again.fit(runoff, wrong_of(here), observed, checkpoint=path, **options)
    assert torch.equal(again.layers.straight.weight, found.layers.straight.weight)
    np.testing.assert_array_equal(same.network["k"].values, result.network["k"].values)
    with pytest.raises(StateError, match="model"):
        ParameterModel(ATTRIBUTES, hidden=(5,), seed=4).fit(
            runoff, wrong_of(here), observed, checkpoint=path, **options
        )


def test_options_that_a_model_has_of_its_own_are_refused():
    here = truth_of(0, 5, 4)
    runoff = bursts(here, 60)
    observed = runoff.route(here).isel(reach=[19])
    for options in ({"parameters": "k"}, {"groups": "all"}, {"groups": here.strahler}, {"priors": {"k": 3.0}}):
        with pytest.raises(ParameterError, match=next(iter(options))):
            ParameterModel(["slope"]).fit(runoff, here, observed, **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        ParameterModel(["slope"]).fit(runoff, here, observed, epoch=3)


def test_a_penalty_holds_parameters_where_they_start():
    here = truth_of(0, 5, 4)
    runoff = bursts(here, 120)
    observed = runoff.route(here).isel(reach=[3, 17, 19])
    options = {"spinup": "1D", "progress": False, "epochs": 10}
    moved = []
    for penalty in (0.0, 100.0):
        model = ParameterModel(["slope"], hidden=(4,))
        start = model.prepare(wrong_of(here)).predict(wrong_of(here))["k"].values
        result = model.fit(runoff, wrong_of(here), observed, penalty=penalty, **options)
        moved.append(np.abs(np.log(result.network["k"].values / start)).max())
    assert moved[1] < 0.1 * moved[0]


@pytest.mark.parametrize("seed", range(24))
def test_whatever_it_is_made_with_parameters_stay_in_range_and_it_improves_or_says_why(seed):
    rng = np.random.default_rng(seed)
    here = truth_of(seed, int(rng.integers(1, 7)), int(rng.integers(1, 5)))
    runoff = bursts(here, 60, seed)
    n_gauges = int(rng.integers(1, min(4, here.n_reaches) + 1))
    observed = runoff.route(here).isel(reach=rng.choice(here.n_reaches, n_gauges, replace=False))
    hidden = tuple(rng.integers(1, 20, rng.integers(0, 4)).tolist())
    rate = float(10.0 ** rng.uniform(-4, 4))
    start = here.assign(k=here["k"] * rng.uniform(0.1, 3.0), x=rng.uniform(0, 0.5))
    model = ParameterModel(
        ATTRIBUTES[: int(rng.integers(1, 4))], hidden=hidden, physics=rng.choice([None, False]), seed=seed
    )
    before = copy.deepcopy(model)
    optimizer = str(rng.choice(["adam", "lbfgs"]))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = model.fit(
            runoff, start, observed, spinup="6h", progress=False, epochs=8, optimizer=optimizer, learning_rate=rate
        )
    for name in ("k", "x"):
        parameter = next(p for p in SCHEMES["muskingum"].parameters if p.name == name)
        assert bool(parameter.allows(torch.from_numpy(result.network[name].values)).all())
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    loss = result.history["loss"].values
    said = [str(w.message) for w in told]
    assert loss[-1] < loss[0] or any("no parameters were found" in text for text in said), (loss, said)
    assert loss[-1] <= loss[0]
    assert not before.is_prepared
