"""Hydrographies without parameters: estimates against closed forms and hand-worked reaches, local areas, assignment by id."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import xroute
from xroute import AlignmentError, Network, NetworkError, ParameterError
from xroute.cli import main
from xroute.io import open_dataset
from xroute.schemes import SCHEMES

IDS = [10, 20, 30, 40]
SCHEME_NAMES = ("muskingum", "muskingum_exact", "linear_storage", "nash_cascade", "pure_lag", "hayami")


def rivers(**variables: Any) -> xr.Dataset:
    """10 and 20 drain to 30, and 30 to 40."""
    dataset = xr.Dataset({"downstream": ("reach", [30, 30, 40, 0])}, {"reach": IDS})
    dataset["length"] = "reach", [3.6, 7.2, 1.8, 12.0], {"units": "km"}
    for name, (values, units) in variables.items():
        dataset[name] = "reach", values, {"units": units}
    return dataset


MANNING = {
    "mean_discharge": ([0.5, 20.0, 21.0, 300.0], "m3 s-1"), "slope": ([2.0, 0.5, 1.1, 0.3], "m km-1"),
    "width": ([4.0, 35.0, 36.0, 150.0], "m"), "roughness": ([0.05, 0.03, 0.035, 0.025], ""),
}  # fmt: skip


def normal_flow(discharge: float, slope: float, width: float, roughness: float) -> tuple[float, float]:
    """Celerity and diffusivity of the flood wave, by bisection of Manning's formula and its numerical derivative."""

    def flow(depth: float) -> float:
        return width * depth ** (5 / 3) * slope**0.5 / roughness

    low, high = 1e-9, 1e3
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if flow(middle) < discharge else (low, middle)
    step = 1e-6 * low
    return (flow(low + step) - flow(low - step)) / (2 * step * width), discharge / (2 * width * slope)


def mean_travel_time(network: Network, reach: int) -> float:
    """First moment of the response of a headwater reach to a pulse, in seconds."""
    runoff = xr.DataArray(np.zeros((1, 6000)), {"reach": [reach]}, ("reach", "time"), attrs={"units": "m3 s-1"})
    runoff[0, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        response = runoff.route(network, dt=600.0, missing="zero").sel(reach=reach).values
    assert response.sum() == pytest.approx(1.0, rel=1e-6)
    return float((response * np.arange(6000) * 600.0).sum() / response.sum())


# ── method "celerity" ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", SCHEME_NAMES)
def test_each_scheme_takes_length_by_celerity(scheme: str) -> None:
    network = xroute.estimate_parameters(rivers(), scheme, celerity=1.5, x=0.1)
    assert network.attrs["scheme"] == scheme
    for reach, length in ((10, 3600.0), (20, 7200.0)):
        assert mean_travel_time(network, reach) == pytest.approx(length / 1.5, rel=1e-6)
    for parameter in SCHEMES[scheme].parameters:
        variable = network.dataset[parameter.name]
        assert variable.dims == ("reach",) and variable.dtype == np.float64
        if parameter.name != "length":
            assert variable.attrs["units"] == parameter.units and variable.attrs["long_name"] == parameter.long_name
            assert "celerity 1.5 m s-1" in variable.attrs["estimated"]
    assert "method 'celerity'" in network.attrs["estimated"]


def test_numbers_by_hand() -> None:
    network = xroute.estimate_parameters(rivers(), celerity=2.0).dataset
    assert network.k.values.tolist() == [1800.0, 3600.0, 900.0, 6000.0]
    assert network.x.values.tolist() == [0.2] * 4
    hayami = xroute.estimate_parameters(rivers(), "hayami", celerity=2.0, x=0.3).dataset
    np.testing.assert_allclose(hayami.diffusivity, 2.0 * np.array([3600.0, 7200.0, 1800.0, 12000.0]) * 0.2)
    assert hayami["length"].attrs["units"] == "km" and hayami["length"].values.tolist() == [3.6, 7.2, 1.8, 12.0]


def test_diffusivity_in_place_of_x() -> None:
    muskingum = xroute.estimate_parameters(rivers(), celerity=1.0, diffusivity=360.0).dataset
    np.testing.assert_allclose(muskingum.x, [0.4, 0.45, 0.3, 0.47])
    hayami = xroute.estimate_parameters(rivers(), "hayami", celerity=1.0, diffusivity=5000.0).dataset
    np.testing.assert_allclose(hayami.diffusivity, 5000.0)  # x would be negative: what Muskingum cannot do, hayami can
    with pytest.warns(UserWarning, match="3 of 4 reaches are too short to attenuate"):
        muskingum = xroute.estimate_parameters(rivers(), celerity=1.0, diffusivity=5000.0).dataset
    np.testing.assert_allclose(muskingum.x, [0.0, 0.0, 0.0, 0.5 - 5000 / 12000])


@pytest.mark.parametrize(
    "celerity",
    [
        [1.0, 2.0, 3.0, 4.0], np.array([1.0, 2.0, 3.0, 4.0]), "speed", pd.Series([4.0, 3.0, 2.0, 1.0], [40, 30, 20, 10]),
        xr.DataArray([14.4, 3.6, 10.8, 7.2], {"reach": [40, 10, 30, 20]}, attrs={"units": "km h-1"}),
    ],
    ids=["list", "array", "name", "series", "labelled"],
)  # fmt: skip
def test_values_in_any_form(celerity: Any) -> None:
    network = xroute.estimate_parameters(rivers(speed=([3.6, 7.2, 10.8, 14.4], "km h-1")), celerity=celerity)
    np.testing.assert_allclose(network.dataset.k, np.array([3600.0, 7200, 1800, 12000]) / [1, 2, 3, 4])


def test_what_the_network_has_keeps() -> None:
    dataset = rivers(k=([1.0, np.nan, 3.0, 4.0], "h"))
    network = xroute.estimate_parameters(dataset, celerity=1.0, x=0.3)
    assert network.dataset.k.attrs["units"] == "h"
    assert network.dataset.k.values.tolist() == [1.0, 2.0, 3.0, 4.0]  # 7.2 km at 1 m/s is two hours
    with pytest.warns(UserWarning, match="nothing is estimated.*keeps them.*overwrite=True"):
        again = xroute.estimate_parameters(network, celerity=5.0)
    assert again.dataset.identical(network.dataset)
    anew = xroute.estimate_parameters(network, celerity=5.0, overwrite=True)
    np.testing.assert_allclose(anew.dataset.k, np.array([3.6, 7.2, 1.8, 12.0]) / 5 / 3.6)
    # x alone asks for no celerity
    assert xroute.estimate_parameters(rivers(k=([1.0] * 4, "h")), x=0.1).dataset.x.values.tolist() == [0.1] * 4


def test_schemes_by_reach() -> None:
    dataset = rivers().assign(
        scheme=("reach", ["muskingum", "linear_storage", "muskingum", "hayami"]),
        tau=("reach", [np.nan, 9.0, np.nan, np.nan], {"units": "day"}),
    )
    found = xroute.estimate_parameters(dataset, celerity=1.0).dataset
    np.testing.assert_array_equal(found.k, [3600.0, np.nan, 1800.0, np.nan])
    np.testing.assert_array_equal(found.tau, [np.nan, 9.0, np.nan, np.nan])  # a lake's, which is its own
    np.testing.assert_array_equal(found.celerity, [np.nan, np.nan, np.nan, 1.0])
    runoff = xr.DataArray(np.ones((4, 3)), {"reach": IDS}, ("reach", "time"), attrs={"units": "m3 s-1"})
    assert np.isfinite(runoff.route(found, dt="1h")).all()


def test_registered_schemes() -> None:
    name = "hydrography_lag"
    xroute.register_scheme(
        name, {"wait": "s"}, taps=lambda dt, wait: SCHEMES["pure_lag"].filter(dt, 50, delay=wait)[0],
        of_reach=lambda length, celerity, weight: {"wait": length / celerity}, replace=True,
    )  # fmt: skip
    assert xroute.estimate_parameters(rivers(), name, celerity=2.0).dataset.wait.values.tolist() == [
        1800.0,
        3600.0,
        900.0,
        6000.0,
    ]
    xroute.register_scheme("hydrography_none", {"wait": "s"}, taps=lambda dt, wait: wait[:, None], replace=True)
    with pytest.raises(ParameterError, match="hydrography_none lacks 'wait', and does not say .*of_reach"):
        xroute.estimate_parameters(rivers(), "hydrography_none", celerity=2.0)


def test_what_a_registered_scheme_says_of_a_reach_may_fail() -> None:
    """Who refuses NaN depends on what is NaN; what is wrong with a user's function is told by the scheme's name."""

    def picky(length: Any, celerity: Any, weight: Any) -> dict[str, Any]:
        if np.isnan(length).any() or np.isnan(celerity).any():
            raise ValueError("NaN")
        return {"wait": length / celerity}

    def register(of_reach: Any) -> None:
        xroute.register_scheme(
            "hydrography_picky", {"wait": "s"}, taps=lambda dt, wait: wait[:, None], of_reach=of_reach, replace=True
        )

    register(picky)
    found = xroute.estimate_parameters(rivers(), "hydrography_picky", celerity=2.0)
    assert found.dataset.wait.values.tolist() == [1800.0, 3600.0, 900.0, 6000.0]
    register(lambda length, celerity, weight: length / celerity)
    with pytest.raises(ParameterError, match="of_reach of scheme 'hydrography_picky' does not give parameters by name"):
        xroute.estimate_parameters(rivers(), "hydrography_picky", celerity=2.0)


# ── method "manning" ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["muskingum", "hayami", "linear_storage"])
def test_manning_solves_normal_flow(scheme: str) -> None:
    network = xroute.estimate_parameters(rivers(**MANNING), scheme, method="manning").dataset
    length = np.array([3600.0, 7200.0, 1800.0, 12000.0])
    truth = [normal_flow(q, s / 1000, b, n) for q, s, b, n in zip(*(MANNING[v][0] for v in MANNING), strict=True)]
    celerity, diffusivity = np.array(truth).T
    if scheme == "hayami":
        np.testing.assert_allclose(network.celerity, celerity, rtol=1e-7)
        np.testing.assert_allclose(network.diffusivity, diffusivity, rtol=1e-12)
    elif scheme == "linear_storage":
        np.testing.assert_allclose(network.tau, length / celerity, rtol=1e-7)
    else:
        np.testing.assert_allclose(network.k, length / celerity, rtol=1e-7)
        weight = 0.5 * (1 - np.array(MANNING["mean_discharge"][0]) / (np.array(MANNING["width"][0]) * celerity
                        * np.array(MANNING["slope"][0]) / 1000 * length))  # fmt: skip
        assert weight.min() > 0
        np.testing.assert_allclose(network.x, weight, rtol=1e-7)


def test_widths_and_roughness_by_default() -> None:
    dataset = rivers(**{name: MANNING[name] for name in ("mean_discharge", "slope")})
    found = xroute.estimate_parameters(dataset, "hayami", method="manning")
    for q, s, c in zip(MANNING["mean_discharge"][0], MANNING["slope"][0], found.dataset.celerity.values, strict=True):
        assert c == pytest.approx(normal_flow(q, s / 1000, 7.2 * q**0.5, 0.035)[0], rel=1e-7)
    assert "width 7.2 Q^0.5, roughness 0.035 (the default)" in found.attrs["estimated"]


def test_units_and_names_of_flows() -> None:
    """Cubic feet and per cent, under names of the user's: the same numbers."""
    reference = xroute.estimate_parameters(rivers(**MANNING), method="manning").dataset
    other = rivers(q=(np.array(MANNING["mean_discharge"][0]) / 0.3048**3, "cfs"), width=MANNING["width"])
    given = {"slope": np.array(MANNING["slope"][0]) / 1000, "roughness": MANNING["roughness"][0], "discharge": "q"}
    found = xroute.estimate_parameters(other, method="manning", **given).dataset
    np.testing.assert_allclose(found.k, reference.k, rtol=1e-12)


def test_x_of_short_reaches_is_counted() -> None:
    dataset = rivers(**MANNING)
    dataset["length"] = dataset["length"] / [1, 1000, 1, 1]
    dataset["length"].attrs["units"] = "km"
    with pytest.warns(UserWarning, match="1 of 4 reaches are too short to attenuate"):
        found = xroute.estimate_parameters(dataset, method="manning")
    assert found.dataset.x.values[1] == 0.0 and "(0 on 1 reaches)" in found.attrs["estimated"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xroute.estimate_parameters(dataset, method="manning", x=0.2)  # which is as it is given


def test_least_values_are_asked_for_and_counted() -> None:
    dataset = rivers(**MANNING)
    dataset["slope"][:] = [-9998.0, 0.0, np.nan, 0.3]
    with pytest.raises(ParameterError, match=r"'slope' is missing, .*on 3 of 4 reaches: 10, 20, 30 .*min_slope=1e-05"):
        xroute.estimate_parameters(dataset, "hayami", method="manning")
    with pytest.warns(UserWarning, match="slope is below min_slope=0.0001 on 3 reaches, 1 of them missing"):
        found = xroute.estimate_parameters(dataset, "hayami", method="manning", min_slope=1e-4)
    for position in range(3):
        q, b, n = (MANNING[name][0][position] for name in ("mean_discharge", "width", "roughness"))
        assert found.dataset.celerity.values[position] == pytest.approx(normal_flow(q, 1e-4, b, n)[0], rel=1e-7)
    assert "at least 0.0001, which 3 reaches" in found.attrs["estimated"]
    assert found.dataset["slope"].identical(dataset["slope"])  # what was read is not changed
    zero = rivers()
    zero["length"][1] = 0.0
    with pytest.warns(UserWarning, match="length is below min_length=50"):
        assert xroute.estimate_parameters(zero, celerity=1.0, min_length=50).dataset.k.values[1] == 50.0
    with pytest.warns(UserWarning, match="length is below"):
        lifted = xroute.estimate_parameters(zero, "hayami", celerity=1.0, min_length=50).dataset["length"]
    assert lifted.values.tolist() == [3.6, 0.05, 1.8, 12.0] and lifted.attrs["units"] == "km"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "celerity of the flood wave is not known.*give celerity="),
        ({"celerity": 0.0}, r"celerity=\) is missing, infinite, zero or negative on 4 of 4 reaches: 10, 20, 30, 40"),
        ({"celerity": [1.0, np.inf, 1.0, -2.0]}, "on 2 of 4 reaches: 20, 40"),
        ({"celerity": "speed"}, "no such variable"),
        ({"celerity": [1.0, 2.0]}, r"shape \(2,\), and the network 4 reaches"),
        ({"celerity": xr.DataArray([1.0] * 4, dims="reach")}, "without the ids"),
        ({"celerity": xr.DataArray([1.0] * 3, {"reach": IDS[:3]})}, "lacks 1 of the network's 4 reaches: 40"),
        ({"celerity": xr.DataArray([1.0] * 5, {"reach": [*IDS, 7]})}, "1 reaches that the network has not: 7"),
        ({"celerity": xr.DataArray([1.0] * 4, {"reach": list("abcd")})}, "are text .* integers"),
        ({"celerity": xr.DataArray(1.0, attrs={"units": "m"})}, "units like 'm s-1' are wanted"),
        ({"celerity": 1.0, "x": 0.7}, r"x must be 0 <= x <= 0.5; 4 reaches"),
        ({"celerity": 1.0, "x": 0.1, "diffusivity": 1.0}, "not both"),
        ({"celerity": 1.0, "slope": 0.1}, 'method="celerity" has no use for slope='),
        ({"celerity": 1.0, "min_length": 0}, "min_length is a positive number"),
        ({"method": "manning", "celerity": 1.0}, 'method="manning" has no use for celerity='),
        ({"method": "manning"}, "mean discharge is not known.*'mean_discharge'.*give discharge="),
        ({"method": "manning", "discharge": 1.0}, "slope of the bed is not known.*give slope="),
        ({"method": "manning", "discharge": 1.0, "slope": 0.001, "roughness": 30.0}, "Strickler"),
        ({"method": "chezy"}, "one of 'celerity', 'manning'"),
        ({"celerity": 1.0, "scheme": "musk"}, "musk"),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated(given: dict[str, Any], message: str) -> None:
    with pytest.raises((ParameterError, AlignmentError, xroute.UnitsError), match=message):
        xroute.estimate_parameters(rivers(), **given)


def test_the_signature_names_its_keywords() -> None:
    assert {"celerity", "slope", "min_slope", "overwrite"} <= set(
        inspect.signature(xroute.estimate_parameters).parameters
    )
    with pytest.raises(TypeError, match="'celerty'"):
        xroute.estimate_parameters(rivers(), celerty=1.0)  # type: ignore[call-arg]


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_reaches_does_not_matter(order: list[int]) -> None:
    dataset = rivers(**MANNING)
    found = xroute.estimate_parameters(dataset.isel(reach=order), method="manning").dataset
    expected = xroute.estimate_parameters(dataset, method="manning").dataset
    xr.testing.assert_equal(found.sel(reach=IDS)[["k", "x"]], expected[["k", "x"]])


# ── local areas ───────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 10_000), st.sampled_from(["m2", "km2"]))
@settings(max_examples=20, deadline=None)
def test_local_areas_give_the_upstream_areas_again(seed: int, units: str) -> None:
    """By brute force: each reach's area goes down the river, in whole square metres."""
    rng = np.random.default_rng(seed)
    n = 30
    ids = rng.permutation(np.arange(100, 100 + n))
    to = np.array([0 if i == n - 1 or rng.random() < 0.1 else ids[rng.integers(i + 1, n)] for i in range(n)])
    own = rng.integers(0, 10**7, n).astype(float)
    upstream = np.zeros(n)
    for start in range(n):
        at = start
        while True:
            upstream[at] += own[start]
            if to[at] == 0:
                break
            at = int(np.flatnonzero(ids == to[at])[0])
    order = rng.permutation(n)
    size = {"m2": 1.0, "km2": 1e6}[units]
    dataset = xr.Dataset(
        {"downstream": ("reach", to), "upstream_area": ("reach", upstream / size, {"units": units})}, {"reach": ids}
    )
    found = xroute.local_area(dataset.isel(reach=order)).dataset["area"]
    assert found.attrs["units"] == "m2"
    np.testing.assert_allclose(found.sel(reach=ids), own, atol=1.0)


def test_local_areas_below_a_parting() -> None:
    network = Network.from_links([1, 1, 2, 3], [2, 3, 4, 4], [0.25, 0.75, 1.0, 1.0])
    found = xroute.local_area(network, xr.DataArray([150.0, 80.0, 30.0, 100.0], {"reach": [4, 3, 2, 1]}))
    assert found.dataset["area"].values.tolist() == [100.0, 5.0, 5.0, 40.0]


def test_areas_that_cannot_be() -> None:
    dataset = rivers(upstream_area=([5.0, 7.0, 11.0, 30.0], "km2"))
    with pytest.raises(
        ParameterError, match='1 of 4 reaches have less area .*: 30 .*the worst lack 1.0 km2, at 30.*negative="zero"'
    ):
        xroute.local_area(dataset)
    with pytest.warns(
        UserWarning, match="1 reaches have less area upstream than their tributaries, by 1 km2 in all: .*30"
    ):
        found = xroute.local_area(dataset, negative="zero").dataset["area"]
    assert found.values.tolist() == [5e6, 7e6, 0.0, 19e6]
    rounded = rivers(upstream_area=([5.1, 7.1, 12.1, 30.0], "km2"))  # one of a decimal, of numbers that were rounded
    with pytest.warns(UserWarning, match="within rounding"):
        assert xroute.local_area(rounded).dataset["area"].values[2] == 0.0
    with pytest.raises(ParameterError, match="'upstream_area' is NaN, infinite or negative on 1 reaches: 20"):
        xroute.local_area(rivers(upstream_area=([5.0, np.nan, 13.0, 30.0], "km2")))
    with pytest.raises(ParameterError, match="no variable 'upstream_area'"):
        xroute.local_area(rivers())
    with pytest.warns(UserWarning, match="has 'area' already"):
        kept = xroute.local_area(rivers(area=([1.0] * 4, "km2"), upstream_area=([5.0, 7.0, 13.0, 30.0], "km2")))
    assert kept.dataset["area"].values.tolist() == [1.0] * 4


# ── assignment ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_assign_by_id_never_by_position() -> None:
    network = Network(rivers())
    k = xr.DataArray([4.0, 1.0, 3.0, 2.0], {"reach": [40, 10, 30, 20]}, attrs={"units": "h"})
    found = network.assign({"x": 0.2}, k=k, name="Elbe", since=np.timedelta64(1, "h"), half=lambda ds: ds["length"] / 2)
    assert found.dataset["k"].values.tolist() == [1.0, 2.0, 3.0, 4.0] and found.dataset["k"].attrs == {"units": "h"}
    assert found["k"].identical(found.dataset["k"]) and "k" in found and "q" not in found
    assert found.dataset["name"].values.tolist() == ["Elbe"] * 4 and found.dataset["x"].values.tolist() == [0.2] * 4
    assert "k" not in network.dataset and found.fingerprint == network.fingerprint
    runoff = xr.DataArray(np.ones((4, 3)), {"reach": IDS}, ("reach", "time"), attrs={"units": "m3 s-1"})
    first, second = (runoff.route(found.assign(k=v), dt="1h") for v in (k, 2 * k.assign_attrs(units="h")))
    assert not np.allclose(first, second)  # nothing that was made of other parameters is taken for these
    with pytest.raises(ValueError, match="read-only"):
        found.dataset["k"].values[:] = 0.0
    k[:] = 0.0
    assert found.dataset["k"].values.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_ids_under_another_name() -> None:
    flow = xr.DataArray(
        [4.0, 1.0, 3.0, 2.0], dims="rivid", coords={"rivid": [40, 10, 30, 20]}, attrs={"units": "m s-1"}
    )
    beside = (
        flow.rename(rivid="index").rename(index="row").assign_coords(comid=("row", [40, 10, 30, 20])).drop_vars("row")
    )
    for values in (flow, beside):
        network = Network(rivers()).assign(speed=values)
        assert network.dataset["speed"].dims == ("reach",) and network.dataset["speed"].values.tolist() == [
            1.0,
            2.0,
            3.0,
            4.0,
        ]


def test_a_variable_that_is_another_thing() -> None:
    dataset = rivers(x=([7.1, 7.2, 7.3, 7.4], "degrees"), y=([50.0] * 4, "degrees"))
    dataset["x"].attrs.clear()
    with pytest.raises(
        ParameterError, match="the network has 'x', which muskingum needs to be 0 <= x <= 0.5, .* on 4 reaches"
    ):
        xroute.estimate_parameters(dataset, celerity=1.0)
    assert xroute.estimate_parameters(dataset, celerity=1.0, overwrite=True).dataset["x"].values.tolist() == [0.2] * 4


def test_what_cannot_be_assigned() -> None:
    network = Network(rivers())
    for name in ("reach", "downstream", "fraction"):
        with pytest.raises(NetworkError, match=f"'{name}' says which reach drains to which"):
            network.assign({name: 1})
    with pytest.raises(AlignmentError, match="more than once: 10"):
        network.assign(k=xr.DataArray([1.0] * 5, {"reach": [*IDS, 10]}))
    with pytest.raises(ParameterError, match="not None"):
        network.assign(k=None)
    with pytest.warns(UserWarning, match="'length' was in 'km', and what takes its place has no units"):
        network.assign(length=3.0)


def test_estimates_are_forgotten_where_they_are_replaced() -> None:
    network = xroute.estimate_parameters(rivers(), celerity=1.0)
    network = network.assign(k=3600.0)
    assert network.attrs["estimated"].startswith("x: ")
    assert "estimated" not in network.assign(x=0.1).attrs


# ── placeholders ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_placeholders_are_called_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runoff = xr.DataArray(np.ones((4, 3)), {"reach": IDS}, ("reach", "time"), attrs={"units": "m3 s-1"})
    estimated = xroute.estimate_parameters(rivers(), celerity=1.0)
    assert "parameters estimated: k, x: method 'celerity'" in runoff.route(estimated, dt="1h").attrs["history"]
    constant = Network(rivers(k=([3600.0] * 4, "s"), x=([0.2] * 4, "1")).assign_attrs(scheme="muskingum"))
    with caplog.at_level("INFO", "xroute"):
        discharge = runoff.route(constant, dt="1h")
        runoff.route(constant, dt="1h")
    told = [r.getMessage() for r in caplog.records if "placeholder" in r.getMessage()]
    assert told == ["parameters: k: one value on all 4 reaches (3600 s): a placeholder?"]
    assert "estimated" not in discharge.attrs["history"]
    declared = constant.dataset
    declared["k"] = declared["k"].assign_attrs(placeholder="not known")
    with pytest.warns(UserWarning, match=r"k: a placeholder \(not known\).*estimate_parameters"):
        runoff.route(declared, dt="1h")
    known = xroute.estimate_parameters(declared, celerity=2.0).dataset[
        "k"
    ]  # what is declared to be unknown is not kept
    assert known.values.tolist() == [1800.0, 3600.0, 900.0, 6000.0] and "placeholder" not in known.attrs
    for name, network, text in (
        ("e", estimated.dataset, "k, x: estimated (method 'celerity'"), ("c", constant.dataset, "k: one value on all 4 reaches"),
        ("d", declared, "k: a placeholder (not known)"),
    ):  # fmt: skip
        network.to_netcdf(tmp_path / f"{name}.nc")
        report = CliRunner().invoke(main, ["info", str(tmp_path / f"{name}.nc")])
        assert report.exit_code == 0 and f"note: {text}" in report.output


def test_schemes_that_lack_parameters_say_what_makes_them() -> None:
    runoff = xr.DataArray(np.ones((4, 3)), {"reach": IDS}, ("reach", "time"), attrs={"units": "m3 s-1"})
    for options in ({}, {"scheme": "muskingum"}):
        with pytest.raises(ParameterError, match=r"xroute.estimate_parameters\(network, celerity=1.0\)"):
            runoff.route(rivers(), dt="1h", **options)


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def table(path: Path) -> Path:
    # fmt: off
    pd.DataFrame({"HYRIV_ID": IDS, "NEXT_DOWN": [30, 30, 40, 99], "LENGTH_KM": [3.6, 7.2, 1.8, 0.0],
                  "UPLAND_SKM": [5.0, 7.0, 13.0, 30.0], "DIS_AV_CMS": [0.1, 0.2, 0.3, 0.6]}).to_csv(path, index=False)
    # fmt: on
    return path


def test_convert_table(tmp_path: Path) -> None:
    source, target = table(tmp_path / "rivers.csv"), tmp_path / "network.zarr"

    def convert(*options: str) -> Any:
        return CliRunner().invoke(
            main, ["convert", "table", str(source), "--network", str(target), "--overwrite", *options]
        )

    failed = convert("--celerity", "1.0")
    assert failed.exit_code == 1 and "--missing-downstream outlet" in failed.output
    failed = convert("--celerity", "1.0", "--missing-downstream", "outlet")
    assert failed.exit_code == 1 and "--min-length" in failed.output and "40" in failed.output
    done = convert(
        "--celerity", "1.0", "--missing-downstream", "outlet", "--min-length", "50", "--upstream-area", "upstream_area"
    )
    assert done.exit_code == 0, done.output
    assert "k, x: estimated" in done.output and "--min-length 50" in done.output
    with open_dataset(target) as network:
        assert network["k"].values.tolist() == [3600.0, 7200.0, 1800.0, 50.0]
        assert network["area"].values.tolist() == [5e6, 7e6, 1e6, 17e6]
        assert Network(network).outlets.tolist() == [40]  # and without an option from here on
    done = convert("--missing-downstream", "outlet")
    assert (
        done.exit_code == 0 and "no parameters of a routing scheme yet" in done.output and "--celerity" in done.output
    )
    done = convert(
        "--missing-downstream",
        "outlet",
        "--method",
        "manning",
        "--slope",
        "0.001",
        "--min-length",
        "50",
        "--scheme",
        "hayami",
    )
    assert done.exit_code == 0, done.output
    again = CliRunner().invoke(main, ["convert", "table", str(target), "--network", str(target), "--overwrite"])
    assert again.exit_code == 2 and "would replace the input" in again.output
    other = tmp_path / "other.nc"
    again = CliRunner().invoke(
        main,
        ["convert", "table", str(target), "--network", str(other), "--scheme", "muskingum", "--celerity", "DIS_AV"],
    )
    assert again.exit_code == 1 and "--celerity DIS_AV: the network has no such variable" in again.output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--missing-downstream", "drop"], "'raise', 'outlet'"),
        (["--method", "guess"], "'celerity', 'manning'"),
        (["--min-length", "short"], "'short' is not a valid float"),
        (["--column-units", "LENGTH_KM"], "'LENGTH_KM' is not NAME=UNITS"),
    ],
)
def test_convert_table_says_what_may_be_given(tmp_path: Path, options: list[str], told: str) -> None:
    source, target = table(tmp_path / "rivers.csv"), tmp_path / "network.zarr"
    result = CliRunner().invoke(main, ["convert", "table", str(source), "--network", str(target), *options])
    assert result.exit_code == 2 and told in result.output and not target.exists()


def test_what_becomes_of_negative_areas_needs_areas(tmp_path: Path) -> None:
    options = ["--network", str(tmp_path / "n.zarr"), "--missing-downstream", "outlet", "--negative-area", "zero"]
    result = CliRunner().invoke(main, ["convert", "table", str(table(tmp_path / "rivers.csv")), *options])
    assert result.exit_code == 1 and "--upstream-area: give it too" in result.output
    assert not (tmp_path / "n.zarr").exists()


def test_a_network_that_loses_all_its_links_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"HYRIV_ID": [1, 2], "NEXT_DOWN": [7, 8], "LENGTH_KM": [1.0, 1.0]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    options = ["--network", str(tmp_path / "n.nc"), "--celerity", "1", "--missing-downstream", "outlet"]
    result = CliRunner().invoke(main, ["convert", "table", str(tmp_path / "t.csv"), *options])
    assert result.exit_code == 1 and "without a link" in result.output and not (tmp_path / "n.nc").exists()


def test_a_table_or_a_dataset_is_assigned_by_its_ids():
    network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
    table = pd.DataFrame({"k": [3.0, 1.0, 2.0], "x": [0.3, 0.1, 0.2]}, index=[30, 10, 20])
    dataset = xr.Dataset({n: ("reach", table[n].values) for n in table}, {"reach": table.index.values})
    for variables in (table, dataset, dict(table)):
        made = network.assign(variables, x=0.25).dataset
        assert made.k.values.tolist() == [1.0, 2.0, 3.0]
        assert made.x.values.tolist() == [0.25] * 3
    with pytest.raises(xroute.AlignmentError, match="lacks 1 of the network's 3 reaches: 20"):
        network.assign(table.drop(index=20))
