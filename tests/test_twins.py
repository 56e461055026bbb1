"""Calibration against twins: known parameters are found again from noisy gauges with gaps, and what is not determined is said."""

from __future__ import annotations

import numpy as np
import pytest
import twin_rivers as twins
import xarray as xr

import xroute


def groups_of(twin: twins.Twin) -> xr.DataArray:
    return xr.DataArray(twin.groups, {"reach": twin.true["reach"].values}, ("reach",), "order")


def calibrated(twin: twins.Twin, **options):
    options = {"train": twin.train, "test": twin.test, "spinup": "5D", "progress": False, **twin.options, **options}
    return xroute.calibrate(twin.runoff, twin.wrong, twin.observed, **options)


@pytest.mark.parametrize("seed", [0, 1])
def test_values_by_group_are_found_again(seed: int) -> None:
    """k within 5% and x within 0.05, of all groups that gauges see, from a start that is off by up to three."""
    twin = twins.grouped_twin(seed, 20, 25, 60 * 24)
    result = calibrated(twin, groups=groups_of(twin))
    for name, allowed in (("k", 0.05 * twin.truth_of("k")), ("x", 0.05)):
        error = np.abs(twin.found_in(result.network, name) - twin.truth_of(name))
        sure = result.curvature["determined"].sel(parameter=name).values
        assert sure.any() and (error <= allowed)[sure].all(), f"{name}: {error} of {twin.truth_of(name)}, determined: {sure}"


def test_a_standard_error_is_the_spread_of_what_is_found() -> None:
    """Errors in standard errors are of the size of one: neither boasts nor fears, over noise drawn anew."""
    z = []
    for seed in range(6):
        twin = twins.grouped_twin(3, 8, 10, 30 * 24, gauges=6)
        on_reach = twin.discharge.swap_dims(gauge="reach").drop_vars("gauge")
        twin.observed = twins.gauged(on_reach, 0.1, 0.3, seed)
        result = calibrated(twin, groups=groups_of(twin), train=None, test=None)
        for name in ("k", "x"):
            curvature = result.curvature.sel(parameter=name)
            error = twin.found_in(result.network, name) - twin.truth_of(name)
            z.append((error / curvature["standard_error"].values)[curvature["determined"].values])
    z = np.concatenate(z)
    assert z.size >= 12
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6, z


def test_groups_that_no_gauge_sees_are_not_determined_and_stay() -> None:
    """Half of the river is not upstream of the gauge: its group keeps its values, and is told."""
    twin = twins.grouped_twin(5, 12, 6, 20 * 24, gauges="outlet", gaps=0.0)
    inside = np.isin(twin.true["reach"].values, xroute.Network(twin.true).basin(twin.observed["reach"].values).ids)
    assert 0.1 < inside.mean() < 0.9
    twin.groups = inside.astype(np.int64)
    k, x = np.array([5000.0, 4000.0]), np.array([0.2, 0.3])
    twin.true = twin.true.assign(k=("reach", k[twin.groups], {"units": "s"}), x=("reach", x[twin.groups]))
    twin.wrong = twin.true.assign(k=twin.true["k"] * 1.7, x=twin.true["x"] * 0.6)
    twin.wrong["k"].attrs = {"units": "s"}
    discharge = twins.quiet_route(twin.runoff, twin.true).sel(reach=twin.observed["reach"].values)
    twin.observed = twins.gauged(discharge, 0.02, 0.1, 0)
    result = calibrated(twin, groups=groups_of(twin))
    found = twin.found_in(result.network, "k")
    assert found[0] == pytest.approx(1.7 * 5000.0, rel=1e-12)
    assert found[1] == pytest.approx(4000.0, rel=0.05)
    determined = result.curvature["determined"].sel(parameter="k")
    assert determined.sel(group=1) and not determined.sel(group=0)
    assert (result.curvature["curvature"].sel(group=0) == 0).all()


def test_what_a_gauge_tells_together_only_is_not_determined() -> None:
    """Reaches in a row, runoff into the first only: of their travel times the gauge at the end knows the sum, not the shares."""
    river = xr.Dataset(
        {"downstream": ("reach", [2, 3, 0]), "k": ("reach", [5000.0] * 3, {"units": "s"}), "x": ("reach", [0.2] * 3)},
        {"reach": [1, 2, 3]},
        {"scheme": "muskingum"},
    )
    runoff = twins.weather(river.assign(area=("reach", [25.0] * 3)), "showers", 600, "1h", 0)
    runoff = runoff.where(runoff["reach"] == 1, 0.0)
    discharge = twins.quiet_route(runoff, river)
    observed = twins.gauged(discharge.sel(reach=[3]), 0.1, 0.1, 0)
    wrong = river.assign(k=("reach", [3000.0, 9000.0, 3600.0], {"units": "s"}))
    options = {"parameters": ("k",), "spinup": "1D", "progress": False}
    options["groups"] = xr.DataArray([1, 2, 3], {"reach": [1, 2, 3]}, ("reach",))
    blind = xroute.calibrate(runoff, wrong, observed, **options)
    assert float(blind.network.dataset["k"].sum()) == pytest.approx(15000.0, rel=0.02)
    assert not blind.curvature["determined"].any()
    more = twins.gauged(discharge.sel(reach=[1, 2, 3]), 0.03, 0.1, 0)
    sighted = xroute.calibrate(runoff, wrong, more, **options)
    np.testing.assert_allclose(sighted.network.dataset["k"].sel(reach=[1, 2, 3]), 5000.0, rtol=0.05)
    assert sighted.curvature["determined"].all()


def test_free_parameters_fit_times_that_were_held_out() -> None:
    """k and x of each reach from noisy gauges: NSE of 0.999 against the truth without noise, in the test period."""
    twin = twins.grouped_twin(0, 10, 12, 60 * 24, gauges=6, noise=0.1, of="spread", kind="storms")
    result = calibrated(twin)
    before, after = (
        twins.nse_by_reach(twins.routed_at(twin, network), twin.discharge, twin.test, "gauge")
        for network in (twin.wrong, result.network)
    )
    assert np.median(before) < 0.99 and before.min() < 0.95
    assert np.median(after) >= 0.999 and after.min() > 0.99, after
    told = result.scores["nse"].sel(period="test", run="calibrated").values  # against what has noise: 1% of the variance
    assert (told < after).all() and (told > 0.7).all()


def test_free_parameters_without_noise() -> None:
    """Gaps alone are no hindrance: NSE of 0.9999 at all gauges."""
    twin = twins.grouped_twin(0, 10, 12, 40 * 24, gauges=6, noise=0.0)
    result = calibrated(twin)
    after = twins.nse_by_reach(twins.routed_at(twin, result.network), twin.discharge, twin.test, "gauge")
    assert after.min() >= 0.999, after


def test_stored_discharge_of_all_reaches_gives_it_again() -> None:
    """As of GEOGLOWS: RAPID's recipe, float32, discharge stored everywhere, wrong k and x of each reach."""
    twin = twins.free_twin(0, 12, 15, 160, "3h", "showers", substeps=12, lateral="interval", sampling="start-mean")
    result = calibrated(twin, spinup="1D")
    before, after = (
        twins.nse_by_reach(twins.routed(twin, network), twin.discharge, twin.test) for network in (twin.wrong, result.network)
    )
    assert np.median(before) < 0.99 < 0.99995 <= np.median(after), (np.median(before), np.median(after))
    told = result.scores["nse"].sel(period="test", run="calibrated")
    assert float(told.median()) == pytest.approx(np.median(after), abs=1e-5)


def test_a_loss_that_trips_over_gaps_is_told_so() -> None:
    """Not NaN parameters, and not a network as it was."""
    twin = twins.grouped_twin(0, 4, 5, 10 * 24, gauges=2)
    with pytest.raises(xroute.ParameterError, match="gaps"), pytest.warns(UserWarning):
        calibrated(twin, loss=lambda simulated, observed: (simulated - observed).square().mean(), spinup="1D", epochs=3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(20))
def test_any_run_gets_better_or_says_why_not(seed: int) -> None:
    """Networks, schemes, starts, gauges, losses, optimisers, rates, windows at random: nothing NaN, nothing out of its range."""
    what, outcome = twins.random_run(seed)
    assert outcome in ("better", "no better, and says why"), f"{what}: {outcome}"
