"""Traps of travel time, schemes and filters: what a user runs into, each with its right value or its message."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from strategies import DT, chain, impulse, runoff_array, small_network

import xroute
from xroute.exceptions import ParameterError
from xroute.router import Router
from xroute.schemes import SCHEMES, make_filter


@pytest.fixture
def registry():
    before = dict(SCHEMES)
    yield
    SCHEMES.clear()
    SCHEMES.update(before)


def routed(network, n_time: int = 5, **options):
    return xroute.route(impulse(network.reach.values, network.reach.values[0], n_time), network, **options)


# ---------------------------------------------------------------- travel time


def test_a_chain_of_reaches_shorter_than_the_step_keeps_its_hours():
    """It was 0.005 h instead of 16.7."""
    network = chain(100, "hayami", length=600.0, diffusivity=100.0, celerity=1.0)
    outflow = routed(network, 200).sel(reach=100).values
    assert (outflow * np.arange(200)).sum() == pytest.approx(100 * 600 / 3600, rel=1e-6)


def test_what_a_window_cuts_off_comes_back_with_its_travel_time():
    outflow = routed(chain(1, "nash_cascade", tau=(700.0, "s"), n=2.5), 60).values[0]
    assert outflow.sum() == pytest.approx(1.0, rel=1e-12)
    assert (outflow * np.arange(60)).sum() == pytest.approx(1750 / 3600, rel=1e-9)


def test_a_reach_of_a_millimetre_is_not_rounded_away():
    outflow = routed(chain(1, "hayami", length=1e-3, diffusivity=100.0, celerity=1.0), 5).values[0]
    assert (outflow * np.arange(5)).sum() == pytest.approx(1e-3 / 3600, rel=1e-9)


def test_a_reach_too_short_for_the_step_is_told_of_the_exact_scheme_before_substeps():
    """205 substeps for a whole network are a dear cure for one reach of 38 s."""
    network = chain(2, "muskingum", k=([37.6, 3600.0], "s"), x=0.2)
    with pytest.warns(UserWarning, match="1 of 2 muskingum reaches .* 1 too short.*muskingum_exact") as caught:
        routed(network)
    assert "substeps=" not in str(caught[0].message)  # with so many, the other reach would dip below zero
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert routed(network, scheme="muskingum_exact").values.min() >= 0


def test_a_reach_too_long_for_the_step_is_not_told_to_take_more_substeps():
    with pytest.warns(UserWarning, match=r"1 too long \(outflow may dip below zero") as caught:
        routed(chain(1, "muskingum", k=(36000.0, "s"), x=0.4))
    assert "substeps=" not in str(caught[0].message) and "muskingum_exact" not in str(caught[0].message)


def test_automatic_substeps_for_a_reach_of_a_second_name_the_scheme_that_needs_none():
    network = chain(2, "muskingum", k=([0.1, 3600.0], "s"), x=0.2)
    with pytest.raises(ParameterError, match="1 muskingum reaches: 1. Give them the scheme muskingum_exact"):
        routed(network, substeps="auto")
    assert routed(network, substeps="auto", scheme="muskingum_exact").values.min() >= 0


def test_a_network_of_k_and_x_without_a_name_is_still_muskingum():
    network = chain(2, "muskingum", k=(3600.0, "s"), x=0.2)
    expected = routed(network).values
    del network.attrs["scheme"]
    np.testing.assert_array_equal(routed(network).values, expected)


# ---------------------------------------------------------------- runoff over the interval


@pytest.mark.parametrize(
    ("scheme", "parameters", "at_once"),
    [
        ("linear_storage", {"tau": 3600.0}, 0.5),
        ("muskingum", {"k": 3600.0, "x": 0.25}, 1 / 1.25),
        ("muskingum_exact", {"k": 3600.0, "x": 0.0}, 1 - np.exp(-1)),
    ],
)
def test_runoff_over_the_interval_of_every_scheme_with_a_pole(scheme, parameters, at_once):
    outflow = routed(chain(1, scheme, **parameters), 60, lateral="interval").values[0]
    assert outflow[0] == pytest.approx(at_once, rel=1e-12) and outflow.sum() == pytest.approx(1.0, rel=1e-9)


def test_runoff_over_the_interval_of_a_window_is_refused_by_name():
    network = small_network({7: 8, 8: 0}, ["muskingum", "nash_cascade"], k=3600.0, x=0.2, tau=3600.0, n=2.0)
    with pytest.raises(ParameterError, match='1 reaches are nash_cascade: 8. .*lateral="head" is what'):
        routed(network, lateral="interval")


# ---------------------------------------------------------------- schemes of one's own


def copy_of_muskingum() -> None:
    xroute.register_scheme(
        "mine", {p.name: p for p in SCHEMES["muskingum"].parameters}, instead="muskingum_exact",
        filter=lambda dt, k, x: SCHEMES["muskingum"].filter(dt, 0, k=k, x=x),
        step_range=lambda k, x: (2 * k * x, 2 * k * (1 - x)),
    )  # fmt: skip


@pytest.mark.parametrize("lateral", ["head", "interval", "outlet"])
@pytest.mark.parametrize("substeps", [1, 3, "auto"])
def test_a_copy_of_muskingum_is_muskingum_in_every_mode(registry, lateral, substeps):
    copy_of_muskingum()
    network = chain(4, "muskingum", k=([900.0, 3600.0, 1800.0, 500.0], "s"), x=0.1)
    runoff = runoff_array(network.reach.values, 12, np.random.default_rng(0))
    found = []
    for scheme in ("muskingum", "mine"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values = xroute.route(runoff, network, scheme=scheme, lateral=lateral, substeps=substeps).values
        told = [str(w.message).replace("mine", "muskingum") for w in caught]
        found.append((values, [t.replace("2kx <= dt <= 2k(1-x)", "their range of steps") for t in told]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1] and bool(found[0][1]) == (substeps in (1, 3))


NONSENSE = {
    "None": (lambda dt, a: None, "returned taps that are NoneType"),
    "a list": (lambda dt, a: [[1.0]], "returned taps that are list"),
    "text": (lambda dt, a: "taps", "returned taps that are str"),
    "an array": (lambda dt, a: np.ones((2, 1)), "returned taps that are ndarray"),
    "integers": (lambda dt, a: torch.ones(2, 1, dtype=torch.int64), "returned taps that are torch.int64"),
    "complex": (lambda dt, a: torch.ones(2, 1, dtype=torch.complex128), "returned taps that are torch.complex128"),
    "one axis": (lambda dt, a: a, r"taps of shape \(2,\)"),
    "too few": (lambda dt, a: torch.ones(3, 1), r"taps of shape \(3, 1\)"),
    "no taps": (lambda dt, a: torch.ones(2, 0), r"taps of shape \(2, 0\)"),
    "NaN": (lambda dt, a: a[:, None] * torch.nan, r"2 reaches have no filter.* taps are NaN.*reaches 1, 2, with a = 1.0, 1.0"),
    "an error of its own": (lambda dt, a: 1 / 0, "raised ZeroDivisionError"),
    "other arguments": (lambda dt: None, "raised TypeError"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_a_scheme_that_returns_nonsense_is_named(registry, what):
    taps, message = NONSENSE[what]
    xroute.register_scheme("odd", ["a"], taps=taps)
    with pytest.raises(ParameterError, match=f"odd.*{message}"):
        routed(chain(2, "odd", a=1.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda dt, a: a[:, None], "filter of scheme 'odd' returned Tensor"),
        (lambda dt, a: None, "filter of scheme 'odd' returned NoneType"),
        (lambda dt, a: (a[:, None], 0.5), "returned poles that are float"),
        (lambda dt, a: (a[:, None], a[:, None]), r"poles of shape \(2, 1\)"),
        (lambda dt, a: (a[:, None], a * torch.nan), "a pole is not between -1 and 1"),
        (lambda dt, a: (a[:, None], -a), "odd: 2 reaches have no filter.* a pole is not between -1 and 1"),
    ],
)
def test_a_filter_that_returns_nonsense_is_named(registry, given, message):
    xroute.register_scheme("odd", ["a"], filter=given)
    with pytest.raises(ParameterError, match=message):
        routed(chain(2, "odd", a=1.0))


@pytest.mark.parametrize(
    "limits", [lambda a: None, lambda a: (a, "x"), lambda a: (a, a * np.nan), lambda a: 1 / 0, lambda: (0, 1)]
)
def test_a_range_of_steps_that_is_nonsense_is_named(registry, limits):
    xroute.register_scheme("odd", ["a"], taps=lambda dt, a: a[:, None], step_range=limits)
    with pytest.raises(ParameterError, match="step_range of scheme 'odd'"):
        routed(chain(2, "odd", a=1.0))


@pytest.mark.parametrize(
    ("name", "parameters", "options", "message"),
    [
        (5, ["a"], {}, "name is text, not 5"),
        ("", ["a"], {}, "name is text"),
        (None, ["a"], {}, "name is text, not None"),
        ("odd", "tau", {}, "parameters= is a list of names"),
        ("odd", 3, {}, "parameters= is a list of names"),
        ("odd", [3], {}, "parameters= is a list of names.*; 3"),
        ("odd", {"a": 3}, {}, "'a' with units 3"),
        ("odd", ["a", "a"], {}, "of the same name: 'a'"),
        ("odd", ["dt"], {}, "another name"),
        ("odd", {"a": xroute.Parameter("b")}, {}, "under 'a' have other names"),
        ("odd", ["a"], {"taps": "taps"}, "taps= is a function, not 'taps'"),
        ("odd", ["a"], {"step_range": (0, 1)}, "step_range= is a function"),
        ("odd", ["a"], {"instead": "muskingum_exact"}, "instead= is a scheme of the same parameters"),
    ],
)
def test_nonsense_is_not_registered(registry, name, parameters, options, message):
    with pytest.raises(ParameterError, match=message):
        xroute.register_scheme(name, parameters, **{"taps": lambda dt, **values: None} | options)
    assert name not in SCHEMES


# ---------------------------------------------------------------- filters that are none


@pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")
@pytest.mark.parametrize(
    ("scheme", "parameters", "message"),
    [
        ("muskingum", {"k": [3600.0, 1e-310], "x": 0.2}, "muskingum: 1 reaches.* a pole .*reaches 2, with k = 1e-310; x = 0.2"),
        ("muskingum", {"k": [3600.0, 1e308], "x": 0.2}, "muskingum: 1 reaches.* pole .*reaches 2, with k = 1e.308"),
        ("linear_storage", {"tau": [1e300, 3600.0]}, "linear_storage: 1 reaches.* pole .*reaches 1, with tau = 1e.300"),
        ("muskingum_exact", {"k": [3600.0, 1e300], "x": 0.2}, "muskingum_exact: 1 reaches.*reaches 2"),
        ("nash_cascade", {"tau": [3600.0, 1e-310], "n": 2.0}, "nash_cascade: 1 reaches.* NaN .*reaches 2, with tau = 1e-310"),
        ("hayami", {"length": 3600.0, "diffusivity": 1e3, "celerity": [1.0, 1e-310]}, "hayami: .*longer than max_taps.*: 2"),
    ],
)
def test_parameters_without_a_filter_are_named(scheme, parameters, message):
    """k = 1e-310 gave a pole of -1, with which water sways for ever."""
    with pytest.raises(ParameterError, match=message):
        routed(chain(2, scheme, **parameters))


@pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")
def test_a_router_refuses_such_parameters_too():
    network = chain(2, "muskingum", k=[3600.0, 1e-310], x=0.2)
    with pytest.raises(ParameterError, match="reaches 2, with k = 1e-310"):
        Router(network, dt=DT)
    good = Router(chain(2, "muskingum", k=3600.0, x=0.2), dt=DT)
    with pytest.raises(ParameterError, match="reaches 2, with k = 1e-310"):
        good(torch.ones(2, 3), {"k": torch.tensor([3600.0, 1e-310], dtype=torch.float64)})


@pytest.mark.parametrize("substeps", [0, -1, True, 1.0, "4", 10**9, 2**70, 10**400, np.int64(2**40), np.nan])
def test_substeps_beyond_reason_are_refused(substeps):
    with pytest.raises(ParameterError, match="substeps is (a positive whole number|at most 100,000)"):
        routed(chain(1, "linear_storage", tau=3600.0), substeps=substeps)


def test_substeps_of_numpy_are_numbers():
    network = chain(1, "linear_storage", tau=3600.0)
    np.testing.assert_array_equal(routed(network, substeps=np.int16(3)).values, routed(network, substeps=3).values)


@pytest.mark.parametrize("max_taps", [0, -1, True, 2.0, None, "2", 2**40])
def test_windows_beyond_reason_are_refused(max_taps):
    with pytest.raises(ParameterError, match="max_taps is a whole number from 1"):
        make_filter({"pure_lag": (np.arange(1), {"delay": np.ones(1)})}, DT, 1, max_taps=max_taps)
