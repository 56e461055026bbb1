"""Schemes: coefficients against the literature, responses against closed forms, parameters checked by name."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_schemes import TRUTH, impulse_response, mean_steps, pure_lag, reference_filter, windowed
from strategies import (
    DT,
    INTERVAL,
    PARAMETERS,
    SCHEMES,
    UNITS,
    chain,
    draw_parameters,
    impulse,
    make_ids,
    network_dataset,
    rngs,
    runoff_array,
    small_network,
    topology,
)

import xroute
from xroute.exceptions import ParameterError
from xroute.inspection import inspect_network
from xroute.schemes import SCHEMES as REGISTRY
from xroute.volumes import storage

unstable = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")  # drawn parameters need not be stable ones


def one_reach(scheme: str, **parameters) -> xr.Dataset:
    return chain(1, scheme, **{name: (value, UNITS[name]) for name, value in parameters.items()})


def response(network: xr.Dataset, n_time: int, **options) -> np.ndarray:
    """What leaves the only reach after 1 entered in the first step."""
    return xroute.route(impulse(network.reach.values, 1, n_time), network, **options).values[0]


# ---------------------------------------------------------------- closed forms


@unstable
@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=20, deadline=None)
@given(rng=rngs)
def test_impulse_response_is_the_closed_form(scheme, rng):
    parameters = {name: float(values[0]) for name, values in draw_parameters(scheme, 1, rng).items()}
    expected = impulse_response(scheme, DT, 60, **parameters)
    np.testing.assert_allclose(response(one_reach(scheme, **parameters), 60), expected, rtol=0, atol=1e-13)


@unstable
@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=10, deadline=None)
@given(rng=rngs)
def test_mass_of_every_filter_is_one(scheme, rng):
    """sum(taps) / (1 - pole) = 1: what runs in for ever runs out for ever."""
    parameters = {name: float(values[0]) for name, values in draw_parameters(scheme, 1, rng).items()}
    taps, pole = reference_filter(scheme, DT, **parameters)
    assert taps.sum() / (1.0 - pole) == pytest.approx(1.0, abs=1e-13)
    network = one_reach(scheme, **parameters)
    for lateral in ("head", "interval", "outlet") if scheme in INTERVAL else ("head", "outlet"):
        steady = runoff_array(network.reach.values, 600, rng) * 0.0 + 1.0
        steady.attrs["units"] = "m3 s-1"
        assert float(xroute.route(steady, network, lateral=lateral)[0, -1]) == pytest.approx(1.0, abs=1e-9)


def test_muskingum_is_the_textbook_one():
    """Coefficients worked out by hand for K = 2 h, x = 0.1, dt = 1 h."""
    network = one_reach("muskingum", k=7200.0, x=0.1)
    c0, c1, c2 = 0.3 / 2.3, 0.7 / 2.3, 1.3 / 2.3
    np.testing.assert_allclose(response(network, 3), [c0, c1 + c2 * c0, c2 * (c1 + c2 * c0)], rtol=1e-14)


def test_a_slow_reservoir_has_no_window():
    network = one_reach("linear_storage", tau=DT * 5000.0)
    expected = impulse_response("linear_storage", DT, 20_000, tau=DT * 5000.0)
    np.testing.assert_allclose(response(network, 20_000), expected, rtol=1e-10)


def test_hayami_is_integrated_not_sampled():
    """A travel time far shorter than the step: sampling the density would lose or invent water, or the travel time."""
    short = response(one_reach("hayami", length=10.0, diffusivity=10.0, celerity=2.0), 3)
    np.testing.assert_allclose(short, [1 - 5 / DT, 5 / DT, 0], rtol=1e-12)
    sharp = response(one_reach("hayami", length=5.5 * DT, diffusivity=1e-3, celerity=1.0), 8)
    np.testing.assert_allclose(sharp, [0, 0, 0, 0, 0, 0.5, 0.5, 0], atol=1e-12)


@pytest.mark.parametrize(("length", "diffusivity"), [(60_000.0, 3.0), (200_000.0, 1.0), (1_000.0, 1e4)])
def test_hayami_at_extreme_peclet_numbers_neither_overflows_nor_loses_water(length, diffusivity):
    """The closed form holds exp(celerity length / diffusivity), which overflows if it is taken by itself."""
    network = one_reach("hayami", length=length, diffusivity=diffusivity, celerity=1.0)
    routed = response(network, 2000)
    assert np.isfinite(routed).all() and routed.min() >= 0.0
    assert routed.sum() == pytest.approx(1.0, abs=1e-9)
    mean = (routed * np.arange(2000)).sum() * DT
    assert mean == pytest.approx(length, rel=1e-9)


def test_nash_n_defaults_to_three_and_may_be_real_and_vary():
    """A peer fixes n at 3 whatever it is given."""
    by_default = one_reach("nash_cascade", tau=2 * DT)
    np.testing.assert_allclose(
        response(by_default, 80), impulse_response("nash_cascade", DT, 80, tau=2 * DT, n=3.0), atol=1e-13
    )
    network = small_network({1: 0, 2: 0, 3: 0}, "nash_cascade", tau=(DT, "s"), n=[1.0, 2.5, 7.0])
    ones = runoff_array(network.reach.values, 50, np.random.default_rng(0)) * 0.0
    ones[:, 0] = 1.0
    routed = xroute.route(ones.assign_attrs(units="m3 s-1"), network)
    for reach, n in ((1, 1.0), (2, 2.5), (3, 7.0)):
        expected = impulse_response("nash_cascade", DT, 50, tau=DT, n=n)
        np.testing.assert_allclose(routed.sel(reach=reach).values, expected, atol=1e-13)


def test_pure_lag_interpolates_between_steps():
    assert response(one_reach("pure_lag", delay=0.0), 4).tolist() == [1, 0, 0, 0]
    assert response(one_reach("pure_lag", delay=2 * DT), 4).tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(response(one_reach("pure_lag", delay=1.25 * DT), 4), [0, 0.75, 0.25, 0])


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("scheme", "parameters"),
    [
        ("nash_cascade", {"tau": 20 * DT, "n": 2.0}),
        ("nash_cascade", {"tau": 0.3 * DT, "n": 0.5}),
        ("hayami", {"length": 30_000.0, "diffusivity": 2_000.0, "celerity": 1.2}),
    ],
)
def test_windows_keep_all_but_a_millionth(scheme, parameters):
    whole, _ = TRUTH[scheme].filter(DT, **parameters, n_taps=2500)
    expected = windowed(whole, mean_steps(scheme, DT, **parameters))
    routed = response(one_reach(scheme, **parameters), expected.size + 5)
    assert routed[expected.size :].max() == 0.0  # it ends there
    assert routed[expected.size - 1] > 0.0  # and not before
    assert whole[: expected.size].sum() >= 1 - 1e-6 > whole[: expected.size - 1].sum()
    np.testing.assert_allclose(routed[: expected.size], expected, atol=1e-13)
    assert np.abs(routed[: expected.size] - whole[: expected.size]).max() < 2e-6  # and hardly changes what it keeps
    assert routed.sum() == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme not in INTERVAL])
def test_a_kernel_too_long_raises_and_says_what_else(scheme):
    long, short = (TRUTH[scheme].of_duration(steps * DT) for steps in (30_000.0, 1.0))
    values = {name: ([long[name], short[name]], UNITS[name]) for name in long}
    network = small_network({77123: 78123, 78123: 0}, scheme, **values)
    with pytest.raises(ParameterError) as error:
        xroute.route(impulse([77123, 78123], 77123, 3), network)
    message = str(error.value)
    assert "77123" in message and "78123" not in message
    assert "2048" in message and "max_taps" in message
    assert "linear_storage" in message or "muskingum" in message  # what to use instead


# ---------------------------------------------------------------- parameters


def outside(parameter: xroute.Parameter):
    """Values that are none of a parameter's, and what is said of them."""
    yield np.inf, "inf|finite"
    if np.isfinite(parameter.low):
        yield parameter.low - 0.1, f"{parameter.low:g}"
        if parameter.low_open:
            yield parameter.low, f"{parameter.low:g}"
    if np.isfinite(parameter.high):
        yield parameter.high + 0.1, f"{parameter.high:g}"


OUTSIDE = [
    (scheme, name, *bad) for scheme, parameters in PARAMETERS.items() for name, p in parameters.items() for bad in outside(p)
]


def test_ranges_of_the_built_in_schemes():
    """In the parameters' own words, whatever the list above is made from."""
    assert {
        ("muskingum", "x", 0.6), ("muskingum", "x", -0.1), ("muskingum", "k", 0.0), ("muskingum", "k", -0.1),
        ("linear_storage", "tau", 0.0), ("nash_cascade", "tau", 0.0), ("nash_cascade", "n", 0.0), ("pure_lag", "delay", -0.1),
        ("hayami", "length", 0.0), ("hayami", "diffusivity", 0.0), ("hayami", "celerity", -0.1),
    } < {row[:3] for row in OUTSIDE}  # fmt: skip


@pytest.mark.parametrize(("scheme", "name", "bad", "bounds"), OUTSIDE)
def test_a_parameter_out_of_range_names_reaches_and_range(scheme, name, bad, bounds):
    rng = np.random.default_rng(0)
    drawn = draw_parameters(scheme, 3, rng)
    drawn[name][1] = bad
    network = small_network({5: 6, 4096: 6, 6: 0}, scheme, **{k: (v, UNITS[k]) for k, v in drawn.items()})
    with pytest.raises(ParameterError, match=rf"\b{name}\b") as error:
        xroute.route(impulse([5, 4096, 6], 5, 3), network)
    assert "4096" in str(error.value)
    assert re.search(bounds, str(error.value))


def test_ranges_in_words():
    for limits, words in (
        ({"low": 0.0, "high": 0.5}, "0 <= x <= 0.5"),
        ({"low": 0.0, "high": 0.5, "low_open": True}, "0 < x <= 0.5"),
        ({"low": 1.5}, ">= 1.5"),
        ({"low": 0.0, "low_open": True}, "> 0"),
        ({"high": -2.0}, "<= -2"),
        ({}, "finite"),
    ):
        assert xroute.Parameter("x", **limits).range == words


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_nan_parameter_names_its_reaches(scheme):
    rng = np.random.default_rng(0)
    for name in PARAMETERS[scheme]:
        drawn = draw_parameters(scheme, 3, rng)
        drawn[name][2] = np.nan
        network = small_network({5: 6, 6: 4097, 4097: 0}, scheme, **{k: (v, UNITS[k]) for k, v in drawn.items()})
        with pytest.raises(ParameterError, match=rf"\b{name}\b") as error:
            xroute.route(impulse([5, 6, 4097], 5, 3), network)
        assert "NaN" in str(error.value) and "4097" in str(error.value)


def test_many_bad_reaches_are_counted_and_ten_named():
    n = 40
    network = chain(n, "muskingum", k=(np.full(n, 3600.0), "s"), x=np.full(n, 0.7))
    with pytest.raises(ParameterError) as error:
        xroute.route(impulse(network.reach.values, 1, 3), network)
    message = str(error.value)
    assert "40" in message and " 10" in message and " 11" not in message and "0.7" in message


def test_a_missing_parameter_is_named_and_never_zero():
    """A peer takes missing parameters as 0."""
    network = chain(3, "muskingum", k=(3600.0, "s"))
    with pytest.raises(ParameterError, match=r"\bx\b.*muskingum|muskingum.*\bx\b"):
        xroute.route(impulse([1, 2, 3], 1, 3), network)
    with pytest.raises(ParameterError, match="length|diffusivity|celerity"):
        xroute.route(impulse([1, 2, 3], 1, 3), network, scheme="hayami")


def test_no_scheme_and_an_unknown_scheme():
    network = chain(2, "linear_storage", tau=(1.0, "h"))
    del network.attrs["scheme"]
    with pytest.raises(ParameterError, match="scheme") as error:
        xroute.route(impulse([1, 2], 1, 3), network)
    assert "muskingum" in str(error.value)  # the ones there are
    with pytest.raises(ParameterError, match="kinematic") as error:
        xroute.route(impulse([1, 2], 1, 3), network, scheme="kinematic")
    assert "linear_storage" in str(error.value)
    network["scheme"] = ("reach", ["linear_storage", "dynamic"])
    with pytest.raises(ParameterError, match="dynamic"):
        xroute.route(impulse([1, 2], 1, 3), network)


def test_the_scheme_argument_overrules_the_dataset():
    network = chain(2, "muskingum", k=(1.0, "h"), x=0.2, tau=(2.0, "h"))
    by_argument = xroute.route(impulse([1, 2], 1, 8), network, scheme="linear_storage")
    network.attrs["scheme"] = "linear_storage"
    np.testing.assert_array_equal(by_argument.values, xroute.route(impulse([1, 2], 1, 8), network).values)


@pytest.mark.parametrize(
    ("value", "units"), [(2.0, "h"), (120.0, "minutes"), (7200.0, "s"), (7200.0, None), (1 / 12, "days")]
)
def test_parameter_units_are_converted(value, units):
    expected = response(one_reach("linear_storage", tau=7200.0), 30)
    network = chain(1, "linear_storage", tau=(value, units))
    np.testing.assert_allclose(response(network, 30), expected, rtol=1e-13)


def test_lengths_and_speeds_are_converted():
    expected = response(one_reach("hayami", length=9000.0, diffusivity=800.0, celerity=1.5), 30)
    network = chain(1, "hayami", length=(9.0, "km"), diffusivity=(800.0, "m**2/s"), celerity=(5.4, "km h-1"))
    np.testing.assert_allclose(response(network, 30), expected, rtol=0, atol=1e-12)


def test_timedelta_parameters():
    """xarray decodes a variable with units of time into timedelta64."""
    expected = response(one_reach("linear_storage", tau=7200.0), 30)
    network = chain(1, "linear_storage", tau=np.array([7200], "timedelta64[s]").astype("timedelta64[ns]"))
    np.testing.assert_array_equal(response(network, 30), expected)
    network = chain(1, "linear_storage", tau=np.array(["NaT"], "timedelta64[ns]"))
    with pytest.raises(ParameterError, match="tau"):
        response(network, 3)


def test_units_of_another_kind_are_refused():
    for units in ("m", "mm d-1", "bananas"):
        network = chain(1, "linear_storage", tau=(3.0, units))
        with pytest.raises(xroute.exceptions.XRouteError, match="tau") as error:
            response(network, 3)
        assert units in str(error.value)


def test_a_parameter_on_other_dims_or_of_another_type_is_refused():
    network = chain(2, "linear_storage", tau=(1.0, "h"))
    network["tau"] = ("reach", ["fast", "slow"])
    with pytest.raises(ParameterError, match="tau"):
        xroute.route(impulse([1, 2], 1, 3), network)
    network["tau"] = (("reach", "level"), np.ones((2, 2)))
    with pytest.raises(ParameterError, match="tau"):
        xroute.route(impulse([1, 2], 1, 3), network)


def test_a_scalar_parameter_holds_for_all_reaches():
    network = chain(2, "linear_storage", tau=(2.0, "h"))
    expected = xroute.route(impulse([1, 2], 1, 5), network)
    network["tau"] = ((), 2.0, {"units": "h"})
    try:
        routed = xroute.route(impulse([1, 2], 1, 5), network)
    except ParameterError as error:  # refusing it by name is as good as taking it
        assert "tau" in str(error)
    else:
        np.testing.assert_array_equal(routed.values, expected.values)


# ---------------------------------------------------------------- Muskingum's range of steps


def test_muskingum_warns_once_and_names_the_substeps_that_help():
    network = chain(5, "muskingum", k=([900.0, 900.0, 3600.0, 3600.0, 3600.0], "s"), x=0.1)
    with pytest.warns(UserWarning, match="(?i)muskingum") as caught:
        xroute.route(impulse(network.reach.values, 1, 3), network)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "2 of 5" in message and "2 too short" in message and "substeps=3" in message  # 720 <= 3600 / 3 <= 1620
    assert message.index("muskingum_exact") < message.index("substeps=3")


def test_muskingum_warns_when_no_substeps_help():
    network = chain(2, "muskingum", k=([100.0, 36000.0], "s"), x=0.4)
    with pytest.warns(UserWarning, match="(?i)muskingum") as caught:
        xroute.route(impulse(network.reach.values, 1, 3), network)
    assert len(caught) == 1 and "no number of substeps puts all reaches inside; reaches that are too long can be split" in str(
        caught[0].message
    )


@pytest.mark.filterwarnings("error")
def test_stable_muskingum_does_not_warn():
    network = chain(2, "muskingum", k=(3600.0, "s"), x=0.2)
    xroute.route(impulse([1, 2], 1, 3), network)


@pytest.mark.filterwarnings("error")
def test_automatic_substeps_are_the_smallest_that_are_stable():
    network = chain(3, "muskingum", k=(900.0, "s"), x=0.1)
    runoff = impulse([1, 2, 3], 1, 9)
    automatic = xroute.route(runoff, network, substeps="auto")
    np.testing.assert_array_equal(automatic.values, xroute.route(runoff, network, substeps=3).values)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme not in INTERVAL])
def test_lateral_interval_is_not_for_windows(scheme):
    parameters = {k: (v, UNITS[k]) for k, v in draw_parameters(scheme, 2, np.random.default_rng(0)).items()}
    network = chain(2, scheme, **parameters)
    with pytest.raises(ParameterError, match="interval") as error:
        xroute.route(impulse([1, 2], 1, 3), network, lateral="interval")
    assert scheme in str(error.value) and 'lateral="head"' in str(error.value)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_range_of_steps_is_where_no_response_is_negative(scheme):
    """Of the truth's responses: a dip where a step is too short, an oscillation where it is too long."""
    drawn = draw_parameters(scheme, 12, np.random.default_rng(3))
    limits = REGISTRY[scheme].limits(drawn, 12)
    for i in range(12):
        parameters = {name: float(values[i]) for name, values in drawn.items()}
        low, high = (float(limit[i]) for limit in limits)
        inside = np.clip(np.array([60.0, 600.0, DT, 24 * DT]), low * 1.001, high * 0.999) if low < high else []
        assert all(impulse_response(scheme, step, 30, **parameters).min() > -1e-12 for step in inside)
        outside = [*([low * 0.999] if low > 60.0 else []), *([high * 1.001] if np.isfinite(high) else [])]
        assert all(impulse_response(scheme, step, 30, **parameters).min() < 0.0 for step in outside)


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if REGISTRY[scheme].instead])
def test_what_is_named_instead_has_the_same_travel_time_and_needs_no_short_steps(scheme):
    instead, drawn = REGISTRY[scheme].instead, draw_parameters(scheme, 12, np.random.default_rng(3))
    assert np.isinf(REGISTRY[instead].limits(drawn, 12)[1]).all()
    for i in range(12):
        parameters = {name: float(values[i]) for name, values in drawn.items()}
        assert TRUTH[scheme].mean(**parameters) == TRUTH[instead].mean(**parameters)


# ---------------------------------------------------------------- mixtures


def test_lakes_and_rivers_in_one_network():
    """Each reach's response is its own scheme's; parameters of other schemes may be NaN there."""
    network = small_network(
        {10: 20, 20: 30, 30: 0},
        ["muskingum", "linear_storage", "pure_lag"],
        k=([3600.0, np.nan, np.nan], "s"),
        x=[0.2, np.nan, np.nan],
        tau=([np.nan, 10.0, np.nan], "h"),
        delay=([np.nan, np.nan, 1800.0], "s"),
    )
    runoff = impulse([10, 20, 30], 10, 40)
    routed = xroute.route(runoff, network)
    after_river = impulse_response("muskingum", DT, 40, k=3600.0, x=0.2)
    after_lake = np.convolve(after_river, impulse_response("linear_storage", DT, 40, tau=36_000.0))[:40]
    after_lag = np.convolve(after_lake, pure_lag(DT, delay=1800.0)[0])[:40]
    for reach, expected in ((10, after_river), (20, after_lake), (30, after_lag)):
        np.testing.assert_allclose(routed.sel(reach=reach).values, expected, atol=1e-14)
    network["tau"].values[1] = np.nan  # but not where it counts
    with pytest.raises(ParameterError, match=r"\btau\b") as error:
        xroute.route(runoff, network)
    assert "20" in str(error.value)


def test_interval_in_a_mixture_names_the_reaches_that_cannot():
    network = small_network({10: 20, 20: 0}, ["muskingum", "pure_lag"], k=3600.0, x=0.2, delay=7200.0)
    with pytest.raises(ParameterError, match="interval.*1 reaches are pure_lag: 20"):
        xroute.route(impulse([10, 20], 10, 4), network, lateral="interval")


# ---------------------------------------------------------------- the registry


def test_the_table_of_the_README_is_that_of_the_registry():
    def described(parameter) -> str:
        units = "" if parameter.units == "1" else f" [{parameter.units}]"
        return f"`{parameter.name}`{units}" + ("" if parameter.default is None else f" ({parameter.default:g})")

    rows = [
        f"| `{s.name}` | {', '.join(described(p) for p in s.parameters)} | `{s.travel_time}` | {s.summary} |"
        for s in (REGISTRY[name] for name in SCHEMES)
    ]
    lines = (Path(__file__).parents[1] / "README.md").read_text().splitlines()
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows
    assert lines[first - 2] == "| scheme | parameters | mean travel time | what it is |"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_says_all_that_is_asked_of_it(scheme):
    """A row of `xroute.schemes.builtin` that lacks something would be missed by tests and synthetic rivers."""
    row = REGISTRY[scheme]
    assert row.summary and row.travel_time and row.of_reach is not None and not row.from_user
    for parameter in row.parameters:
        assert parameter.long_name and parameter.usual is not None
        assert parameter.allows(np.array(parameter.usual)).all()
    assert {p.name for p in row.parameters} == set(TRUTH[scheme].parameters)


# ---------------------------------------------------------------- custom schemes


@pytest.fixture
def registry():
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def test_register_a_scheme_of_taps(registry):
    """A triangle: rises to its peak at ``peak`` and falls to 2 ``peak``."""

    def triangle(dt, peak):
        steps = torch.arange(8, dtype=peak.dtype, device=peak.device)
        height = torch.clamp(1 - torch.abs((steps + 0.5) * dt / peak[:, None] - 1), min=0.0)
        return height / height.sum(-1, keepdim=True)

    xroute.register_scheme("triangle", {"peak": "s"}, taps=triangle)
    network = chain(2, "triangle", peak=(2.0, "h"))
    routed = xroute.route(impulse([1, 2], 1, 20), network)
    kernel = np.clip(1 - np.abs((np.arange(8) + 0.5) / 2.0 - 1), 0, None)
    kernel /= kernel.sum()
    expected = np.zeros(20)
    expected[:8] = kernel
    np.testing.assert_allclose(routed.sel(reach=1).values, expected, atol=1e-14)
    np.testing.assert_allclose(routed.sel(reach=2).values, np.convolve(expected, expected)[:20], atol=1e-14)
    network["peak"].values[1] = np.nan
    with pytest.raises(ParameterError, match="peak"):
        xroute.route(impulse([1, 2], 1, 20), network)


def test_register_a_scheme_with_a_pole(registry):
    """A linear storage behind a lag of one step."""

    def lagged_lake(dt, tau):
        a = 1 / (1 + tau / dt)
        return torch.stack([torch.zeros_like(a), a], dim=-1), 1 - a

    xroute.register_scheme("lagged_lake", {"tau": "s"}, filter=lagged_lake)
    routed = xroute.route(impulse([1], 1, 12), chain(1, "lagged_lake", tau=(3.0, "h"))).values[0]
    expected = np.concatenate([[0.0], impulse_response("linear_storage", DT, 11, tau=3 * DT)])
    np.testing.assert_allclose(routed, expected, atol=1e-15)


def test_a_custom_scheme_mixes_with_built_in_ones(registry):
    xroute.register_scheme("twice", {"share": "1"}, taps=lambda dt, share: torch.stack([share, 1 - share], -1))
    network = small_network({1: 2, 2: 0}, ["twice", "linear_storage"], share=[0.25, np.nan], tau=([np.nan, 1.0], "h"))
    routed = xroute.route(impulse([1, 2], 1, 10), network)
    np.testing.assert_allclose(routed.sel(reach=1).values[:3], [0.25, 0.75, 0.0])
    lake = impulse_response("linear_storage", DT, 10, tau=DT)
    np.testing.assert_allclose(routed.sel(reach=2).values, np.convolve([0.25, 0.75], lake)[:10])


def test_register_scheme_checks_what_it_is_given(registry):
    with pytest.raises(ValueError, match="taps.*filter|filter.*taps"):
        xroute.register_scheme("nothing", {"a": "s"})
    with pytest.raises(ValueError, match="taps.*filter|filter.*taps"):
        xroute.register_scheme("both", {"a": "s"}, taps=lambda dt, a: a[:, None], filter=lambda dt, a: (a[:, None], a))
    with pytest.raises(ValueError, match="muskingum"):
        xroute.register_scheme("muskingum", {"a": "s"}, taps=lambda dt, a: a[:, None])
    xroute.register_scheme("broken", {"a": "s"}, taps=lambda dt, a: a)
    with pytest.raises(ParameterError, match="broken"):
        xroute.route(impulse([1, 2], 1, 3), chain(2, "broken", a=1.0))
    xroute.register_scheme("not_finite", {"a": "s"}, taps=lambda dt, a: a[:, None] * np.nan)
    with pytest.raises(ParameterError, match="not_finite"):
        xroute.route(impulse([1, 2], 1, 3), chain(2, "not_finite", a=1.0))


@settings(max_examples=10, deadline=None)
@given(rng=rngs, scheme=st.sampled_from([s for s in SCHEMES if REGISTRY[s].step_range is None]))
def test_no_scheme_but_muskingum_makes_negative_water(rng, scheme):
    parameters = {k: (v, UNITS[k]) for k, v in draw_parameters(scheme, 6, rng).items()}
    network = chain(6, scheme, **parameters)
    assert xroute.route(runoff_array(network.reach.values, 20, rng), network).values.min() >= 0.0


def test_automatic_substeps_have_a_limit_and_name_the_reaches():
    network = chain(3, "muskingum", k=[3600.0, 0.01, 3600.0], x=0.1)
    runoff = runoff_array(network.reach.values, 3, np.random.default_rng(0))
    with pytest.raises(ParameterError, match=r"10,000.* 1 muskingum reaches: 2\. .*muskingum_exact") as error:
        xroute.route(runoff, network, substeps="auto")
    assert "2e+05" in str(error.value)


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("options", [{}, {"substeps": 3, "sampling": "last"}, {"substeps": "auto"}, {"lateral": "interval"}])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_copy_is_what_it_copies(registry, scheme, options):
    """The same bits, warnings and refusals, whoever asks."""
    xroute.register_scheme(replace(REGISTRY[scheme], name="twin"))
    rng = np.random.default_rng(7)
    network = network_dataset(topology("tree", 14, rng), make_ids("small", 14, rng), scheme, rng)
    for name, p in PARAMETERS[scheme].items():
        network[name] = network[name] + 60.0 * (p.units == "s")  # off its bound, and not too short for automatic substeps
    runoff = runoff_array(network.reach.values, 8, rng)
    found = []
    for name in (scheme, "twin"):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                found.append([*everything(runoff, network, name, options), *(str(w.message) for w in warned)])
            except ParameterError as error:
                found.append([str(error)])
    assert len(found[0]) > 5 or (options == {"lateral": "interval"} and scheme not in INTERVAL)
    for mine, its in zip(*found, strict=True):
        np.testing.assert_array_equal(mine, its.replace("twin", scheme) if isinstance(its, str) else its)


def everything(runoff: xr.DataArray, network: xr.Dataset, scheme: str, options: dict):
    """What is made of a scheme, from a state in equilibrium: eagerly, lazily, in a Router with its gradients, and in words."""
    steady = {name: value for name, value in options.items() if name != "sampling"}
    start = xroute.steady_state(network, runoff.isel(time=0), dt=DT, scheme=scheme, **steady)
    yield xroute.route(runoff, network, scheme=scheme, initial_state=start, **options).values
    yield xroute.route(runoff.chunk(reach=5, time=3), network, scheme=scheme, partitions=2, **options).values
    learnable = [p.name for p in REGISTRY[scheme].parameters]
    router = xroute.Router(network, dt=DT, scheme=scheme, learnable=learnable, **options)
    discharge = router(torch.from_numpy(runoff.values))
    yield discharge.detach().numpy()
    discharge.square().sum().backward()
    yield np.concatenate([p.grad.numpy() for p in router.parameters()])
    yield inspect_network(network, scheme=scheme, dt=DT).text()
    yield xroute.datasets.scheidegger(4, 3, scheme=scheme).drop_attrs().to_dataframe().values
    yield storage(xroute.Network(network), start).values


def test_a_scheme_given_whole_has_nothing_beside_it(registry):
    twin = replace(REGISTRY["muskingum"], name="twin")
    for more in ({"parameters": ["a"]}, {"taps": lambda dt, a: a}, {"instead": "hayami"}):
        with pytest.raises(ParameterError, match="scheme 'twin' is given as a whole"):
            xroute.register_scheme(twin, **more)
    with pytest.raises(ParameterError, match="scheme 'muskingum' already"):
        xroute.register_scheme(REGISTRY["muskingum"])
    with pytest.raises(ParameterError, match="scheme 'twin': filter= is a function"):
        xroute.register_scheme(replace(twin, filter="taps"))


@pytest.mark.parametrize(
    ("taps", "pole", "message"),
    [
        (lambda a, n: torch.ones(len(a), n - 1), None, r"taps of shape \(2, \d+\), not \(2, K\) with K = \d+"),
        (lambda a, n: torch.ones(len(a), n), torch.tensor(0.5), r"poles of shape \(\), not None"),
        (lambda a, n: a[:, None] * torch.nan, None, "taps of shape"),
    ],
)
def test_a_cut_off_scheme_that_returns_nonsense_is_named(registry, taps, pole, message):
    lag = REGISTRY["pure_lag"]
    xroute.register_scheme(replace(lag, name="odd", filter=lambda dt, n_taps, delay: (taps(delay, n_taps), pole)))
    with pytest.raises(ParameterError, match=f"odd.*{message}"):
        xroute.route(impulse([1, 2], 1, 3), chain(2, "odd", delay=7200.0))


def test_synthetic_rivers_of_a_scheme_of_ones_own(registry):
    xroute.register_scheme(
        "own", [xroute.Parameter("lag", "s", long_name="lag of a reach")], taps=lambda dt, lag: lag[:, None] * 0.0 + 1.0,
        of_reach=lambda length, celerity, weight: {"lag": length / celerity},
    )  # fmt: skip
    network = xroute.datasets.scheidegger(3, 3, scheme="own")
    assert network.lag.attrs == {"units": "s", "long_name": "lag of a reach"}
    np.testing.assert_array_equal(network.lag.values, xroute.datasets.scheidegger(3, 3).k.values)
    xroute.register_scheme("dumb", ["lag"], taps=lambda dt, lag: lag[:, None])
    with pytest.raises(ParameterError, match="no parameters are made for scheme 'dumb': choose one of muskingum.*, own"):
        xroute.datasets.scheidegger(3, 3, scheme="dumb")


def test_the_order_of_parameters_stays():  # an optimiser's saved state knows a Router's parameters by their numbers
    orders = {s.name: [p.name for p in s.parameters] for s in REGISTRY.values() if not s.from_user}
    assert orders == {
        "muskingum": ["k", "x"],
        "muskingum_exact": ["k", "x"],
        "linear_storage": ["tau"],
        "nash_cascade": ["tau", "n"],
        "pure_lag": ["delay"],
        "hayami": ["length", "diffusivity", "celerity"],
        "river_route_3": ["k", "x", "own_step"],
        "mizuroute_irf": ["length", "diffusivity", "celerity"],
    }


def test_a_scheme_says_that_it_has_no_parameters():
    """Forgotten, they would be missed where its function is called, in words that name no scheme."""
    with pytest.raises(ParameterError, match="scheme 'forgetful': parameters= is a list"):
        xroute.register_scheme("forgetful", taps=lambda dt: torch.ones(1, 1))
    assert "forgetful" not in REGISTRY
