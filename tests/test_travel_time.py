"""Travel time: mass and mean of every scheme in every mode, and responses, against truths that share no code with them."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from reference_schemes import TRUTH, hayami, impulse_response, mean_steps, reference_filter
from scipy.integrate import solve_ivp
from strategies import (
    DT,
    INTERVAL,
    SCHEMES,
    UNITS,
    chain,
    draw_parameters,
    impulse,
    make_ids,
    network_dataset,
    runoff_array,
    topology,
)

import xroute
from xroute.schemes import SCHEMES as REGISTRY
from xroute.schemes import make_filter
from xroute.volumes import storage

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")  # reaches are shorter than the step, on purpose


MODES = [(s, lateral) for s in SCHEMES for lateral in ("head", "interval", "outlet") if s in INTERVAL or lateral != "interval"]
"""Schemes, and where runoff may join."""


def tolerance(scheme: str) -> float:
    return 1e-9 if scheme in INTERVAL else 1e-6


def with_units(parameters: dict[str, float]) -> dict[str, tuple[float, str]]:
    return {name: (value, UNITS[name]) for name, value in parameters.items()}


def test_every_scheme_is_here():
    assert set(TRUTH) == set(SCHEMES)


# ---------------------------------------------------------------- mass and mean


def mean_over_interval(scheme: str, step: float, duration: float) -> float:
    """Mean of what runoff over the interval does in its own reach, in routing steps.

    It is put in at the ends of its steps with a weight of 1 - pole, and the outflow falls by the pole from there.
    """
    pole = reference_filter(scheme, step, **TRUTH[scheme].of_duration(duration))[1]
    return pole / (1 - pole)


def fine_response(scheme: str, lateral: str, step: float, duration: float, n_steps: int) -> np.ndarray:
    """What leaves the last of three reaches in routing steps after runoff of 1 into the first, in one routing step."""
    parameters = TRUTH[scheme].of_duration(duration)
    one = impulse_response(scheme, step, n_steps, **parameters)
    own = one
    if lateral == "outlet":
        own = np.eye(1, n_steps)[0]
    if lateral == "interval":
        pole = reference_filter(scheme, step, **parameters)[1]
        own = (1 - pole) * pole ** np.arange(n_steps)
    for _ in range(2):
        own = np.convolve(own, one)[:n_steps]
    return own


@pytest.mark.parametrize("steps_a_reach", [0.15, 4.0])
@pytest.mark.parametrize(
    ("scheme", "lateral"),
    MODES,
)
def test_mass_and_mean_travel_time(scheme, lateral, steps_a_reach):
    duration, n_time = steps_a_reach * DT, 320
    network = chain(3, scheme, **with_units(TRUTH[scheme].of_duration(duration)))
    runoff = impulse(network.reach.values, 1, n_time)
    for substeps in (1, 4, 24):
        step = DT / substeps
        whole = mean_steps(scheme, step, **TRUTH[scheme].of_duration(duration))
        own = {"head": whole, "outlet": 0.0}.get(lateral)
        mean = 2 * whole + (mean_over_interval(scheme, step, duration) if own is None else own)
        late = fine_response(scheme, lateral, step, duration, n_time * substeps)
        centroid = {
            "mean": mean / substeps,  # what enters in each of n substeps is seen in the mean of n
            "start-mean": (mean + 1) / substeps,  # a substep later
            "last": (late * (np.arange(late.size) // substeps)).sum(),  # of n that enter, one is seen: the last that can be
        }
        for sampling, expected in centroid.items():
            routed = xroute.route(runoff, network, substeps=substeps, lateral=lateral, sampling=sampling).values[-1]
            assert routed.sum() == pytest.approx(1.0, rel=1e-9), (substeps, sampling)
            found = (routed * np.arange(n_time)).sum()
            assert found == pytest.approx(expected, rel=tolerance(scheme)), (substeps, sampling)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_thousand_short_reaches_lose_no_time(scheme):
    """Ten minutes each in hourly steps: 166.7 h."""
    network = chain(1000, scheme, **with_units(TRUTH[scheme].of_duration(600.0)))
    routed = xroute.route(impulse(network.reach.values, 1, 700), network).sel(reach=1000).values
    assert routed.sum() == pytest.approx(1.0, rel=1e-9)
    centroid = (routed * np.arange(700)).sum()
    assert centroid == pytest.approx(1000 * 600 / 3600, rel=tolerance(scheme))


EXTREMES = [
    ("hayami", 3600.0, {"length": 1e-3, "diffusivity": 100.0, "celerity": 1.0}),
    ("hayami", 3600.0, {"length": 1.0, "diffusivity": 1e5, "celerity": 0.01}),
    ("hayami", 86400.0, {"length": 1.0, "diffusivity": 1e-3, "celerity": 10.0}),
    ("hayami", 60.0, {"length": 20.0, "diffusivity": 10.0, "celerity": 1.0}),
    ("hayami", 3600.0, {"length": 1e6, "diffusivity": 1e-3, "celerity": 10.0}),
    ("hayami", 3600.0, {"length": 1e6, "diffusivity": 1e5, "celerity": 1.0}),
    ("hayami", 864000.0, {"length": 1e6, "diffusivity": 1e5, "celerity": 0.5}),
    ("hayami", 1.0, {"length": 1.0, "diffusivity": 1e-3, "celerity": 0.01}),
    ("hayami", 3600.0, {"length": 18000.0, "diffusivity": 1e-3, "celerity": 1.0}),
    ("nash_cascade", 3600.0, {"tau": 1e-4, "n": 0.5}),
    ("nash_cascade", 3600.0, {"tau": 36000.0, "n": 3.0}),
    ("nash_cascade", 3600.0, {"tau": 100.0, "n": 1e-3}),
    ("nash_cascade", 3600.0, {"tau": 3600.0, "n": 200.0}),
    ("linear_storage", 3600.0, {"tau": 1e-3}),
    ("linear_storage", 60.0, {"tau": 1e7}),
    ("muskingum_exact", 86400.0, {"k": 37.6, "x": 0.2}),
    ("muskingum_exact", 86400.0, {"k": 1e-3, "x": 0.5}),
    ("muskingum_exact", 60.0, {"k": 1e6, "x": 0.0}),
    ("muskingum", 60.0, {"k": 1e6, "x": 0.5}),
]


@pytest.mark.parametrize(("scheme", "dt", "parameters"), EXTREMES)
def test_mass_and_mean_of_filters_at_the_extremes(scheme, dt, parameters):
    """Relative, where the mean is a ten-millionth of a step too."""
    arrays = {name: np.array([value]) for name, value in parameters.items()}
    taps, _, pole, _ = make_filter({scheme: (np.arange(1), arrays)}, dt, 1).arrays()
    assert taps.sum() / (1 - pole[0]) == pytest.approx(1.0, rel=1e-10)
    found = (taps * np.arange(taps.size)).sum() / taps.sum() + pole[0] / (1 - pole[0])
    assert found == pytest.approx(mean_steps(scheme, dt, **parameters), rel=1e-9)
    assert REGISTRY[scheme].step_range is not None or taps.min() >= 0.0


# ---------------------------------------------------------------- what a scheme says of itself


@pytest.mark.parametrize("scheme", SCHEMES)
def test_its_travel_time_is_the_formula_that_it_says(scheme):
    parameters = {name: values[0] for name, values in draw_parameters(scheme, 1, np.random.default_rng(2)).items()}
    said = eval(REGISTRY[scheme].travel_time, {}, parameters)
    assert said == pytest.approx(TRUTH[scheme].mean(**parameters), rel=1e-14)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_reach_of_synthetic_rivers_has_the_travel_time_of_its_wave(scheme):
    length, celerity, weight = np.array([6000.0, 300.0]), np.array([1.2, 2.0]), np.array([0.2, 0.0])
    made = REGISTRY[scheme].of_reach(length=length, celerity=celerity, weight=weight)
    for i in range(2):
        assert TRUTH[scheme].mean(**{name: float(v[i]) for name, v in made.items()}) == pytest.approx((length / celerity)[i])


@pytest.mark.parametrize(
    ("scheme", "lateral"),
    [*MODES, ("mixed", "head"), ("mixed", "outlet")],
)
@pytest.mark.parametrize("substeps", [1, 3])
def test_what_a_river_stores_is_what_came_in_and_did_not_leave(scheme, lateral, substeps):
    rng = np.random.default_rng(4)
    schemes = rng.permutation(np.resize(SCHEMES, 12)) if scheme == "mixed" else scheme
    network = network_dataset(topology("tree", 12, rng), make_ids("small", 12, rng), schemes, rng)
    runoff = runoff_array(network.reach.values, 12, rng, batch={"member": 2}, units="ft3 s-1")
    river, options = xroute.Network(network), {"substeps": substeps, "lateral": lateral}
    _, start = xroute.route(runoff.isel(time=slice(0, 5)), network, return_state=True, **options)
    runoff = (runoff.isel(time=slice(5, None)) * 3.0).assign_attrs(units="ft3 s-1")
    discharge, end = xroute.route(runoff, network, initial_state=start, return_state=True, **options)
    stored = storage(river, end.isel(reach=rng.permutation(12))) - storage(river, start)
    left = discharge.sel(reach=river.outlets).sum(("reach", "time"))
    expected = (runoff.sum(("reach", "time")) - left) * DT * 0.3048**3
    np.testing.assert_allclose(stored.sum("reach").values, expected.values, rtol=0, atol=1e-13 * float(runoff.sum()) * DT)
    assert np.abs(expected).min() > 1.0


# ---------------------------------------------------------------- responses


@pytest.mark.parametrize("peclet", [0.3, 4.0, 100.0, 1e4])
@pytest.mark.parametrize("steps", [0.02, 0.7, 1.0, 5.0, 12.3])
def test_hayami_is_the_inverse_gaussian_averaged_twice(peclet, steps):
    """Against Gauss-Legendre quadrature of scipy's distribution."""
    celerity, length = 1.3, 1.3 * steps * DT
    parameters = {"length": length, "diffusivity": celerity * length / peclet, "celerity": celerity}
    arrays = {name: np.array([value]) for name, value in parameters.items()}
    taps = make_filter({"hayami": (np.arange(1), arrays)}, DT, 1).arrays()[0]
    expected, _ = hayami(DT, **parameters, n_taps=taps.size)
    # what is given back moves a millionth, the more the wider the response is for its mean
    np.testing.assert_allclose(taps, expected, rtol=0, atol=2e-6 if peclet > 1 else 4e-6)
    moved = taps[-1] - expected[-1]  # and leaves the others in proportion
    np.testing.assert_allclose(taps[:-1] / taps[:-1].sum(), expected[:-1] / expected[:-1].sum(), rtol=0, atol=1e-12)
    assert -1e-12 < moved < 4e-6


@pytest.mark.parametrize("x", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("k", [0.1 * DT, 1.5 * DT, 30 * DT])
def test_muskingum_exact_solves_its_equation(k, x):
    """k(1-x) dQ/dt + Q = I - kx dI/dt for inflow that is linear between the ends of steps, by a Runge-Kutta method."""
    inflow = np.concatenate([[0.0], runoff_array(np.arange(1), 12, np.random.default_rng(3)).values[0]])
    found = xroute.route(
        runoff_array(np.arange(1, 2), 12, np.random.default_rng(3)).copy(data=inflow[None, 1:]),
        chain(1, "muskingum_exact", k=(k, "s"), x=x),
    ).values[0]
    outflow = 0.0
    for t in range(12):
        slope = (inflow[t + 1] - inflow[t]) / DT

        def rate(s, q, t=t, slope=slope):
            return (inflow[t] + slope * s - k * x * slope - q) / (k * (1 - x))

        outflow = solve_ivp(rate, (0.0, DT), [outflow], method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
        assert found[t] == pytest.approx(outflow, abs=1e-9)


@pytest.mark.parametrize("steps_per_k", [1e-9, 1e-6, 1e-3, 0.4, 0.5, 0.6, 3.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("x", [0.0, 0.1, 0.5])
def test_muskingum_exact_is_well_conditioned(steps_per_k, x):
    """Coefficients to 60 digits, where C0 and C1 are small differences of large numbers."""
    k = DT / steps_per_k
    taps, _, pole, _ = make_filter({"muskingum_exact": (np.arange(1), {"k": np.array([k]), "x": np.array([x])})}, DT, 1).arrays()
    with localcontext() as context:
        context.prec = 60
        k_over_dt, storage = Decimal(k) / Decimal(DT), Decimal(k) * (1 - Decimal(x))
        p = (-Decimal(DT) / storage).exp()
        c0, c1 = 1 - k_over_dt * (1 - p), k_over_dt * (1 - p) - p
    condition = max(1.0, x / abs(float(c0)))  # of C0 itself, near where it changes its sign
    assert taps[0] == pytest.approx(float(c0), rel=2e-14 * condition)
    assert taps[1] == pytest.approx(float(c1), rel=2e-14)
    assert pole[0] == pytest.approx(float(p), rel=1e-12, abs=1e-300)


def test_muskingum_exact_warns_of_what_can_dip_below_zero_and_of_nothing_else():
    x = np.concatenate([[0.0, 1e-9, 1e-4, 9e-4, 1.1e-3], np.linspace(0.01, 0.5, 9)])
    k = np.full(x.size, 2 * DT)
    lowest, highest = REGISTRY["muskingum_exact"].limits({"k": k, "x": x}, x.size)
    assert np.isinf(highest).all() and lowest[0] == 0.0
    for i in range(1, x.size):
        for factor, sign in ((1 - 1e-6, -1), (1 + 1e-6, 1)):
            taps, _ = reference_filter("muskingum_exact", lowest[i] * factor, k=k[i], x=x[i])
            if x[i] > 1e-3:  # the reference cannot tell below
                assert np.sign(taps[0]) == sign
    assert lowest[4] / k[4] == pytest.approx(lowest[3] / k[3] * 11 / 9, rel=1e-3)  # series and Lambert's function meet


@pytest.mark.filterwarnings("error")
def test_muskingum_exact_needs_no_substeps():
    network = chain(3, "muskingum_exact", k=([10.0, 600.0, 3600.0], "s"), x=0.1)
    runoff = runoff_array(network.reach.values, 20, np.random.default_rng(0))
    routed = xroute.route(runoff, network, substeps="auto")
    np.testing.assert_array_equal(routed.values, xroute.route(runoff, network).values)
    assert routed.values.min() >= 0.0


def test_muskingum_exact_of_a_long_reach_may_dip_and_says_so():
    network = chain(2, "muskingum_exact", k=([36000.0, 3600.0], "s"), x=0.4)
    runoff = impulse(network.reach.values, 1, 5)
    with pytest.warns(UserWarning, match="1 of 2 muskingum_exact reaches .* 1 too long") as caught:
        routed = xroute.route(runoff, network)
    assert len(caught) == 1 and "oscillate" not in str(caught[0].message) and routed.values.min() < 0.0


# ---------------------------------------------------------------- gradients


GRADIENTS = {
    "muskingum_exact": {"k": [10.0, 600.0, 4500.0, 9000.0, 3e4, 3e7], "x": [0.1, 0.2, 0.2, 0.2, 0.5, 0.3]},
    "hayami": {
        "length": [600.0, 67.0, 1.0, 3600.0, 2e5, 18900.0, 18000.0, 7200.0, 1e5],
        "diffusivity": [100.0, 100.0, 1e3, 400.0, 800.0, 1e-3, 200.0, 300.0, 1e5],
        "celerity": [1.0, 1.0, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0, 1.0],
    },
    "nash_cascade": {"tau": [700.0, 36000.0, 1.0], "n": [2.5, 3.0, 0.5]},
}


@pytest.mark.parametrize("scheme", GRADIENTS)
def test_gradients_of_filters_at_the_extremes(scheme):
    """A mean of whole steps too, where the parts of which taps are made have kinks that cancel."""
    values = {name: torch.tensor(v, dtype=torch.float64) for name, v in GRADIENTS[scheme].items()}
    n = len(next(iter(values.values())))
    factors = [torch.ones(n, dtype=torch.float64, requires_grad=True) for _ in values]

    def function(*factors):
        own = {name: v * f for (name, v), f in zip(values.items(), factors, strict=True)}
        made = make_filter({scheme: (np.arange(n), own)}, DT, n)
        return made.taps, made.pole

    assert torch.autograd.gradcheck(function, factors, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("diffusivity", [1e-3, 1.0, 1e3, 1e5])
def test_gradients_of_hayami_are_numbers_far_from_its_mean(diffusivity):
    leaves = {"length": torch.logspace(0, 6, 13), "celerity": torch.full((13,), 2.0)}
    leaves["diffusivity"] = torch.full((13,), diffusivity)
    leaves = {name: v.double().requires_grad_() for name, v in leaves.items()}
    for dt in (60.0, 3600.0, 86400.0):
        here = np.flatnonzero(leaves["length"].detach().numpy() < 1000 * dt)
        own = {name: v[torch.from_numpy(here)] for name, v in leaves.items()}
        taps, pole = REGISTRY["hayami"].filter(dt, 800, **own)
        assert taps.isfinite().all() and pole is None
        for grad in torch.autograd.grad((taps * torch.linspace(1, 2, 800)).sum(), list(leaves.values())):
            assert grad.isfinite().all()
