"""The water budget: it closes, its terms are those that a loop over reaches and routing steps finds, and errors show up in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from strategies import DT, INTERVAL, SCHEMES, SHAPES, chain, make_ids, network_dataset, runoff_array, topology

import xroute
from xroute import AlignmentError, Network, ParameterError, StateError, TimeAxisError, XRouteError
from xroute.budget.accounts import TERMS
from xroute.settings import LATERAL, SAMPLING

pytestmark = pytest.mark.filterwarnings("ignore:at a routing step of")
STEPS = 10


def river(shape: str, scheme: str, seed: int = 0, n: int = 12) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    drawn = topology(shape, n, rng)
    ids = make_ids("beyond_2_53", drawn.n_reaches, rng)
    schemes = rng.choice(np.array(SCHEMES), drawn.n_reaches) if scheme == "mixed" else scheme
    return network_dataset(drawn, ids, schemes, rng)


def warm(network: xr.Dataset, rng: np.random.Generator, dtype: str = "float64", **options: Any) -> tuple[xr.DataArray, xr.Dataset]:
    """Runoff of two members, and a state at its start."""
    runoff = runoff_array(network.reach.values, 2 * STEPS, rng, batch={"member": 2}, dtype=dtype)
    first, later = (runoff.isel(time=part) for part in (slice(STEPS), slice(STEPS, None)))
    _, state = first.route(network, return_state=True, **options)
    return later, state


def scale(found: xr.Dataset) -> float:
    """Largest amount of water that a budget is about."""
    return float((found.inflow_total + found.storage_start_total).max())


def modes(scheme: str) -> list[dict[str, Any]]:
    return [
        {"lateral": lateral, "sampling": sampling, "substeps": substeps}
        for lateral in LATERAL if lateral != "interval" or scheme in INTERVAL
        for sampling in SAMPLING for substeps in (1, 3)
    ]  # fmt: skip


# ── it closes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scheme", [*SCHEMES, "mixed"])
def test_it_closes_in_every_mode_without_being_told_which(scheme: str, dtype: str) -> None:
    tolerance, rng = {"float64": 1e-12, "float32": 1e-6}[dtype], np.random.default_rng(1)
    for k, options in enumerate(modes(scheme)):
        network = river("bifurcating" if k % 2 else SHAPES[k % 5], scheme, seed=k)
        runoff, before = warm(network, rng, dtype, **options)
        discharge, after = runoff.route(network, initial_state=before, return_state=True, **options)
        found = xroute.budget(runoff, discharge, network, initial_state=before, final_state=after)
        assert abs(found.residual).max() <= tolerance * scale(found), options
        assert abs(found.residual_total).max() <= tolerance * scale(found), options
        again = xroute.budget(runoff, discharge, network, initial_state=before)  # the end is found by routing again
        xr.testing.assert_allclose(again, found, rtol=1e-12, atol=1e-12 * scale(found))
        steps = xroute.budget(runoff, discharge, network, initial_state=before, per="step")
        assert abs(steps.residual).max() <= tolerance * scale(found), options
        for name in set(TERMS) - {"storage_start", "storage_end"}:
            np.testing.assert_allclose(steps[name].sum("time"), found[name], atol=tolerance * scale(found))
        np.testing.assert_allclose(steps.storage_start[:, 1:], steps.storage_end[:, :-1].values)
        np.testing.assert_allclose(steps.storage_end[:, -1], found.storage_end, rtol=1e-12, atol=1e-12 * scale(found))


@pytest.mark.parametrize("lateral", LATERAL)
def test_it_closes_to_rounding_in_float32_on_a_real_basin(lateral: str, shared_data: Any) -> None:
    from xroute.io import nwm

    folder = shared_data("LowerColorado_TX")
    network = nwm.read_network(folder / "domain" / "RouteLink.nc")
    network.attrs["scheme"] = "muskingum_exact"
    rng = np.random.default_rng(0)
    values = rng.gamma(0.3, 0.2, (48, network.sizes["reach"])).astype("f4")
    time = np.datetime64("2001-01-01") + np.arange(48) * np.timedelta64(1, "h")
    runoff = xr.DataArray(values, {"time": time, "reach": network.reach}, attrs={"units": "m3 s-1"})
    for sampling, substeps in (("mean", 1), ("last", 4), ("start-mean", 4)):
        options = {"lateral": lateral, "sampling": sampling, "substeps": substeps}
        discharge, after = runoff.route(network, return_state=True, **options)
        found = xroute.budget(runoff, discharge, network, final_state=after)
        assert discharge.dtype == np.float32
        assert abs(found.residual_total) < 1e-6 * found.inflow_total
        assert (abs(found.residual) < 1e-5 * found.inflow).all()


# ── its terms ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def basins_of(network: xr.Dataset) -> dict[int, int]:
    """Outlet of each reach along the largest fraction, by walking down."""
    below: dict[int, tuple[float, int]] = {}
    fractions = network.fraction.values if "fraction" in network else np.ones(network.sizes["link"])
    for up, down, share in zip(network.upstream_reach.values.tolist(), network.downstream_reach.values.tolist(), fractions, strict=True):
        if down in network.reach.values and share > below.get(up, (-1.0, 0))[0]:
            below[up] = share, down
    found = {}
    for reach in network.reach.values.tolist():
        at = reach
        while at in below:
            at = below[at][1]
        found[reach] = at
    return found


@pytest.mark.parametrize("options", modes("linear_storage")[::2] + modes("hayami")[1::3], ids=str)
def test_terms_are_those_of_a_loop_over_reaches_and_routing_steps(options: dict[str, Any]) -> None:
    network = river("bifurcating", "linear_storage" if options["lateral"] == "interval" else "mixed", seed=5, n=16)
    substeps, ids = options["substeps"], network.reach.values
    runoff = runoff_array(ids, STEPS, np.random.default_rng(3))
    discharge, after = runoff.route(network, return_state=True, **options)
    found = xroute.budget(runoff, discharge, network, final_state=after)

    fine = xr.DataArray(np.repeat(runoff.values, substeps, -1), {"reach": ids}, ("reach", "time"), attrs=runoff.attrs)
    every, state = fine.route(network, dt=DT / substeps, lateral=options["lateral"], return_state=True)  # each routing step's value
    volume = {i: float(every.sel(reach=i).sum()) * DT / substeps for i in ids.tolist()}
    basin, n_links = basins_of(network), {i: 0 for i in ids.tolist()}
    expected = {name: dict.fromkeys(found.basin.values.tolist(), 0.0) for name in TERMS}
    left = dict(volume)
    for up, down, share in zip(network.upstream_reach.values.tolist(), network.downstream_reach.values.tolist(),
                               network.fraction.values.tolist(), strict=True):  # fmt: skip
        n_links[up] += 1
        left[up] -= share * volume[up]
        if basin[up] != basin[down]:
            expected["from_other_basins"][basin[down]] += share * volume[up]
            expected["from_other_basins"][basin[up]] -= share * volume[up]
    for i in ids.tolist():
        expected["inflow"][basin[i]] += float(runoff.sel(reach=i).sum()) * DT
        expected["left_by_fractions" if n_links[i] else "outflow"][basin[i]] += left[i]
    for name in ("inflow", "outflow", "left_by_fractions", "from_other_basins"):
        values = [expected[name][i] for i in found.basin.values.tolist()]
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-12 * scale(found), err_msg=name)
    dry = xr.DataArray(np.zeros((ids.size, 5000)), {"reach": ids}, ("reach", "time"), attrs=runoff.attrs)
    drained = xroute.budget(dry, dry.route(network, dt=DT / substeps, initial_state=state, lateral=options["lateral"]), network,
                            dt=DT / substeps, initial_state=state, lateral=options["lateral"])  # fmt: skip
    ran_out = drained.outflow_total + drained.left_by_fractions_total
    np.testing.assert_allclose(found.storage_end_total, ran_out, rtol=1e-9, atol=1e-9 * scale(found))
    assert found.basin.values.tolist() == Network(network).outlets.tolist()
    assert found.attrs["balance"].startswith("residual = inflow + known_gain")


def test_negative_discharge_is_counted() -> None:
    network = chain(5, "muskingum", k=(9.0, "h"), x=0.45)
    runoff = runoff_array(network.reach.values, 20, np.random.default_rng(0), batch={"member": 3})
    discharge = runoff.route(network)
    found = xroute.budget(runoff, discharge, network)
    below = [[v for v in member.values.ravel().tolist() if v < 0] for member in discharge]
    assert found.negative_steps_total.values.tolist() == [len(b) for b in below] and len(below[0]) > 0
    assert found.negative_steps.dtype.kind == "i" and found.negative_steps.attrs["units"] == "1"
    np.testing.assert_allclose(found.negative_volume_total, [-DT * sum(b) for b in below])
    steps = xroute.budget(runoff, discharge, network, per="step")
    np.testing.assert_array_equal(steps.negative_steps.sum("basin"), (discharge < 0).sum("reach"))


# ── errors show ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", modes("muskingum"), ids=str)
def test_an_error_in_discharge_shows(options: dict[str, Any]) -> None:
    network = river("forest", "muskingum_exact", seed=2)
    runoff, before = warm(network, np.random.default_rng(4), **options)
    discharge, after = runoff.route(network, initial_state=before, return_state=True, **options)
    outlet = Network(network).outlets[0]
    planted = discharge.copy(deep=True)
    planted.loc[{"reach": outlet, "time": planted.time[4]}] *= 1 + 1e-6
    error = -1e-6 * DT * discharge.sel(reach=outlet).isel(time=4)
    for per in ("run", "step"):
        found = xroute.budget(runoff, planted, network, initial_state=before, final_state=after, per=per)
        residual = found.residual.isel(time=4) if per == "step" else found.residual
        np.testing.assert_allclose(residual.sel(basin=outlet), error, rtol=1e-5)
        assert (abs(residual.drop_sel(basin=outlet)) < 1e-12 * scale(found.sum("time") if per == "step" else found)).all()


@pytest.mark.parametrize("what", ["runoff", "initial_state", "final_state", "sampling", "k"])
def test_other_errors_show(what: str) -> None:
    network = chain(6, "muskingum_exact", k=(3.0, "h"), x=0.2)
    options = {"sampling": "start-mean", "substeps": 2}
    runoff, before = warm(network, np.random.default_rng(4), **options)
    discharge, after = runoff.route(network, initial_state=before, return_state=True, **options)
    given: dict[str, Any] = {"initial_state": before, "final_state": after}
    if what == "runoff":
        runoff = runoff * (1 + 1e-6)
        runoff.attrs["units"] = "m3 s-1"
    elif what == "sampling":
        given["sampling"] = "mean"
    elif what == "k":
        network = network.assign(k=network.k * 1.001)
    else:
        given[what] = given[what].assign(inflow=given[what].inflow * (1 + 1e-6))
    found = xroute.budget(runoff, discharge, network, **given)
    assert (abs(found.residual_total) > 1e-9 * scale(found)).all()


# ── labels, units, policies ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def case() -> tuple[xr.Dataset, xr.DataArray, xr.DataArray, xr.Dataset, xr.Dataset]:
    network = river("bifurcating", "mixed", seed=7)
    runoff, before = warm(network, np.random.default_rng(5), substeps=2)
    discharge, after = runoff.route(network, initial_state=before, substeps=2, return_state=True)
    return network, runoff, discharge, before, after


def test_any_order_gives_the_same(case: Any) -> None:
    network, runoff, discharge, before, after = case
    expected = xroute.budget(runoff, discharge, network, initial_state=before, final_state=after)
    rng = np.random.default_rng(6)
    turned = network.isel(reach=rng.permutation(network.sizes["reach"]), link=rng.permutation(network.sizes["link"]))
    found = xroute.budget(
        runoff.isel(reach=rng.permutation(network.sizes["reach"]), member=[1, 0]).transpose("time", "reach", "member"),
        discharge.isel(reach=slice(None, None, -1), time=slice(None, None, -1)).transpose("reach", "member", "time"),
        turned, initial_state=before.isel(member=[1, 0]), final_state=after,
    ).sel(member=[1, 2], basin=expected.basin)  # fmt: skip
    xr.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale(expected))
    assert set(found.attrs) == {"title", "balance", "history"} and found.inflow.attrs["units"] == "m3"
    np.testing.assert_allclose(expected.sum("basin").outflow, expected.outflow_total)


def test_lazy_stays_lazy_and_gives_the_same(case: Any) -> None:
    dask = pytest.importorskip("dask")
    network, runoff, discharge, before, after = case

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    chunks = {"member": 1, "reach": 5, "time": 4}
    for sampling in SAMPLING:
        options = {"sampling": sampling, "substeps": 2}
        discharge = runoff.route(network, initial_state=before, **options)
        for per in ("run", "step"):
            for lazy in (runoff.chunk(chunks), runoff):
                start = before.assign(outflow=before.outflow.chunk(), inflow=before.inflow.chunk(member=1))
                given = {"initial_state": before if lazy is runoff else start, "per": per, **options}
                with dask.config.set(scheduler=refuse):
                    found = xroute.budget(lazy, discharge.chunk(time=3), network, **given)
                assert all(v.chunks is not None for v in found.data_vars.values()), (sampling, per)
                expected = xroute.budget(runoff, discharge, network, initial_state=before, per=per, **options)
                computed = found.compute(scheduler="synchronous")
                xr.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-12 * scale(expected))
                assert computed.inflow.dims == expected.inflow.dims and list(computed.coords) == list(expected.coords)


def test_depths_and_policies(tmp_path: Any) -> None:
    network = chain(4, "linear_storage", tau=(2.0, "h"))
    network["area"] = ("reach", [10.0, 20.0, 30.0, 40.0], {"units": "km2"})
    runoff = runoff_array(np.array([3, 1, 9, 2]), 8, np.random.default_rng(0), units="mm")
    runoff[0, 2] = np.nan
    policies = {"missing": "zero", "extra": "drop", "nan": "zero"}
    discharge, after = runoff.route(network, return_state=True, **policies)
    found = xroute.budget(runoff, discharge, network, final_state=after, **policies)
    depth = runoff.fillna(0.0).sum("time")
    expected = float(depth[0] * 30 + depth[1] * 10 + depth[3] * 20) * 1e3  # 1 mm on 1 km2 is 1000 m3
    np.testing.assert_allclose(found.inflow_total, expected)
    assert abs(found.residual_total) < 1e-12 * expected
    with pytest.raises(XRouteError, match="NaN or infinite on 1 reaches: 3"):
        xroute.budget(runoff, discharge, network, final_state=after, missing="zero", extra="drop")
    with pytest.raises(AlignmentError, match="9"):
        xroute.budget(runoff, discharge, network, final_state=after, missing="zero")
    feet = xroute.budget(runoff, (discharge / 0.3048**3).assign_attrs(units="ft3 s-1"), network, final_state=after, **policies)
    np.testing.assert_allclose(feet.outflow, found.outflow)
    mouth = xroute.budget(runoff, discharge.sel(reach=[4]), network, final_state=after, **policies)
    np.testing.assert_allclose(mouth.residual, found.residual, atol=1e-9)
    xroute.io.write(after, tmp_path / "state.nc")
    np.testing.assert_array_equal(
        xroute.budget(runoff, discharge, network, final_state=tmp_path / "state.nc", **policies).residual, found.residual
    )


def test_what_is_refused(case: Any) -> None:
    network, runoff, discharge, before, after = case
    outlet = Network(network).outlets[0]
    with pytest.raises(AlignmentError, match=f"discharge lacks 1 reaches.*{outlet}"):
        xroute.budget(runoff, discharge.drop_sel(reach=outlet), network)
    with pytest.raises(TimeAxisError, match="9 entries along 'time'"):
        xroute.budget(runoff, discharge.isel(time=slice(9)), network)
    with pytest.raises(TimeAxisError, match="other labels along 'time'"):
        xroute.budget(runoff, discharge.assign_coords(time=discharge.time + np.timedelta64(1, "h")), network)
    with pytest.raises(AlignmentError, match="'member'"):
        xroute.budget(runoff, discharge.assign_coords(member=[1, 3]), network)
    with pytest.raises(AlignmentError, match="dimensions"):
        xroute.budget(runoff, discharge.isel(member=0), network)
    with pytest.raises(StateError, match="the final state holds at .* and runoff ends at"):
        xroute.budget(runoff, discharge, network, initial_state=before, final_state=before)
    with pytest.raises(StateError, match="another"):
        other = river("tree", "muskingum")
        xroute.budget(runoff, discharge, network, final_state=runoff_array(other.reach.values, 3, np.random.default_rng()).route(
            other, return_state=True)[1].drop_attrs(deep=False).assign_attrs(after.attrs))  # fmt: skip
    with pytest.raises(ParameterError, match="per is one of 'run', 'step'"):
        xroute.budget(runoff, discharge, network, per="day")
    with pytest.raises(ParameterError, match="no state to return"):
        xroute.budget(runoff, discharge, network, return_state=True)
    with pytest.raises(XRouteError, match="DataArray"):
        xroute.budget(runoff, discharge.to_dataset(), network)
