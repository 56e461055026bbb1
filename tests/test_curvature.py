"""What is said of how well values are determined, against normal equations, many noises, and groups that nothing determines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute

QUIET: dict[str, Any] = {"progress": False, "device": "cpu", "spinup": "2D"}


def river() -> tuple[xr.DataArray, xroute.Network]:
    rng = np.random.default_rng(0)
    network = xroute.Network(xroute.datasets.scheidegger(7, 4, seed=2)).assign(k=5400.0, x=0.3)
    times = pd.date_range("2000-01-01", periods=480, freq="h")
    values = (rng.random((480, 28)) * rng.random((480, 1))) ** 8
    return xr.DataArray(
        values, {"time": times, "reach": network.ids}, ("time", "reach"), attrs={"units": "m3 s-1"}
    ), network


def noisy(q: xr.DataArray, seed: int, by: float = 0.1) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    return (q * (1 + by * rng.standard_normal(q.shape))).where(rng.random(q.shape) > 0.3).assign_attrs(q.attrs)


def test_errors_are_those_of_many_noises() -> None:
    """The spread of what is found in repeated observations is what each of them says of itself."""
    runoff, network = river()
    q = runoff.route(network).isel(reach=[-1, -2, -3])
    found = [
        xroute.calibrate(runoff, network, noisy(q, seed), groups="all", **QUIET).curvature.isel(group=0)
        for seed in range(24)
    ]
    for name, truth in (("k", 5400.0), ("x", 0.3)):
        values = np.array([float(c["value"].sel(parameter=name)) for c in found])
        errors = np.array([float(c["standard_error"].sel(parameter=name)) for c in found])
        assert 0.6 < errors.mean() / values.std(ddof=1) < 1.9  # the larger of two estimates is taken
        assert (abs(values - truth) < 3.5 * errors).all()
        assert all(bool(c["determined"].sel(parameter=name)) for c in found)


def test_curvature_is_that_of_the_loss() -> None:
    """Second differences of the loss at a perfect fit, where the Gauss-Newton approximation is exact."""
    runoff, network = river()
    q = runoff.route(network).isel(reach=[-1, -2, -3])
    found = xroute.calibrate(runoff, network.assign(k=6000.0), q, groups="all", **QUIET).curvature.isel(group=0)

    def loss(**values: float) -> float:
        run = runoff.route(network.assign(**values)).sel(reach=q.reach).isel(time=slice(48, None))
        kept = q.isel(time=slice(48, None))
        return float((((run - kept) ** 2).sum("time") / ((kept - kept.mean("time")) ** 2).sum("time")).mean())

    step = 1e-2
    of_k = (loss(k=5400 * np.exp(step)) + loss(k=5400 * np.exp(-step))) / step**2
    of_x = (loss(x=0.3 + step / 2) + loss(x=0.3 - step / 2)) / step**2  # x lies between 0 and 0.5
    assert float(found["curvature"].sel(parameter="k")) == pytest.approx(of_k, rel=0.01)
    assert float(found["curvature"].sel(parameter="x")) == pytest.approx(of_x, rel=0.01)


def test_values_that_nothing_determines_are_called_so() -> None:
    runoff, network = river()
    largest = network.ids[int(network.n_upstream.argmax())]
    dry = np.intersect1d(network.upstream(largest), network.headwaters)[:2]  # no water, hence nothing to see of them
    runoff = runoff.where(~runoff.reach.isin(dry), 0.0).assign_attrs(runoff.attrs)
    head = [i for i in network.headwaters if i not in set(network.upstream(largest))][:1]
    kind = np.where(np.isin(network.ids, dry), "dry", np.where(np.isin(network.ids, head), "elsewhere", "wet"))
    grouped = network.assign(kind=("reach", kind))
    q = noisy(runoff.route(network).sel(reach=[largest]), 0)
    found = xroute.calibrate(runoff, grouped.assign(k=7000.0), q, groups="kind", **QUIET)
    said = found.curvature["determined"].to_pandas()
    assert said["wet"].all() and not said["dry"].any()
    assert "k of dry" in found.undetermined()
    assert not said["elsewhere"].any() and (found.curvature["curvature"].sel(group="elsewhere") == 0).all()
    assert float(found.network["k"].sel(reach=head[0])) == 7000.0
    assert (found.curvature["standard_error"].sel(group="dry") > 0.05 * found.curvature["value"].sel(group="dry")).all()


def test_a_pair_that_only_its_sum_is_known_of() -> None:
    """Two reaches in a row without water of their own: the sum of their travel times is known, and neither of the two."""
    network = xroute.Network(
        xr.Dataset({"downstream": ("reach", [2, 3, 0])}, {"reach": [1, 2, 3]}, {"scheme": "muskingum"})
    ).assign(k=5400.0, x=0.3, kind=("reach", ["a", "b", "c"]))
    rng = np.random.default_rng(0)
    times = pd.date_range("2000-01-01", periods=480, freq="h")
    values = np.stack([rng.random(480) ** 8, np.zeros(480), np.zeros(480)], axis=1)
    runoff = xr.DataArray(values, {"time": times, "reach": [1, 2, 3]}, ("time", "reach"), attrs={"units": "m3 s-1"})
    q = noisy(runoff.route(network).sel(reach=[3]), 1)
    found = xroute.calibrate(runoff, network.assign(k=5000.0), q, parameters="k", groups="kind", **QUIET)
    assert not found.curvature["determined"].any()
    one = xroute.calibrate(runoff, network.assign(k=5000.0), q, parameters="k", groups="all", **QUIET)
    assert one.curvature["determined"].all() and float(one.network["k"][0]) == pytest.approx(5400, rel=0.02)


def test_a_weight_on_its_bound_is_not_said_to_be_exact() -> None:
    runoff, network = river()
    q = runoff.route(network.assign(x=0.0)).isel(reach=[-1, -2, -3])
    found = (
        xroute.calibrate(runoff, network, noisy(q, 0), groups="all", **QUIET).curvature.sel(parameter="x").isel(group=0)
    )
    assert float(found["value"]) < 0.05 and float(found["standard_error"]) > 1e-3


def test_free_values_are_told_by_order() -> None:
    runoff, network = river()
    q = noisy(runoff.route(network), 0)
    found = xroute.calibrate(runoff, network.assign(k=6000.0), q, optimizer="adam", epochs=20, **QUIET)
    assert found.curvature["group"].attrs["long_name"] == "strahler"
    orders = sorted(set(network.strahler.values.tolist()))
    assert found.curvature["group"].values.tolist() == orders
    assert found.curvature["n_reaches"].sel(parameter="k").values.tolist() == [
        int((network.strahler == o).sum()) for o in orders
    ]
    assert all(name.partition(" of ")[2].startswith("strahler ") for name in found.undetermined())
    unknown = replace(found, curvature=found.curvature.assign(determined=found.curvature["determined"] & False))
    assert unknown.undetermined()[0] == f"k of strahler {orders[0]}"
    assert not any("{" in v.attrs["long_name"] for v in found.curvature.data_vars.values())


def test_a_factor_at_its_limit_is_looked_at_from_one_side() -> None:
    network = xroute.Network(xroute.datasets.scheidegger(4, 3)).assign(k=5400.0, x=0.5)
    rng = np.random.default_rng(0)
    values = (rng.random((300, 12)) * rng.random((300, 1))) ** 8
    times = pd.date_range("2000-01-01", periods=300, freq="h")
    runoff = xr.DataArray(values, {"time": times, "reach": network.ids}, ("time", "reach"), attrs={"units": "m3 s-1"})
    observed = runoff.route(network).isel(reach=[9, 10, 11])
    found = xroute.calibrate(
        runoff, network.assign(x=0.4), observed, parameters={"x": ("scale", "all")}, progress=False, device="cpu"
    )
    assert float(found.network["x"][0]) == pytest.approx(0.5, abs=1e-3)  # whose factor can grow no further
    assert found.curvature["curvature"].item() > 0 and found.curvature["determined"].item()
    assert "4% of the distance" in found.curvature["determined"].attrs["long_name"]
