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
FEW = 5
"""Of so many modes one is looked at more closely: all samplings, and substeps of both kinds, are among them."""


def river(shape: str, scheme: str, seed: int = 0, n: int = 12) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    drawn = topology(shape, n, rng)
    ids = make_ids("beyond_2_53", drawn.n_reaches, rng)
    schemes = rng.choice(np.array(SCHEMES), drawn.n_reaches) if scheme == "mixed" else scheme
    return network_dataset(drawn, ids, schemes, rng)


def warm(
    network: xr.Dataset, rng: np.random.Generator, dtype: str = "float64", **options: Any
) -> tuple[xr.DataArray, xr.Dataset]:
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
    for k, options in enumerate(modes(scheme)[:: 1 if dtype == "float64" else FEW]):
        drawn = river("bifurcating" if k % 2 else SHAPES[k % 5], scheme, seed=k)
        network = Network(drawn)  # which keeps its filters
        runoff, before = warm(drawn, rng, dtype, **options)
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


@pytest.mark.parametrize("scheme", INTERVAL)
@pytest.mark.parametrize("lateral", LATERAL)
def test_it_closes_below_lakes_that_keep_their_water_for_decades(scheme: str, lateral: str) -> None:
    years = [1e6, 1e8, 1e9]
    parameters = {"tau": years} if scheme == "linear_storage" else {"k": years, "x": 0.2}
    if scheme == "river_route_3":
        parameters["own_step"] = 1000.0
    lakes = Network.from_links([1, 2], [2, 3], parameters=parameters, attrs={"scheme": scheme})
    runoff = runoff_array(lakes.ids, 240, np.random.default_rng(0))
    for substeps in (1, 12):
        options: dict[str, Any] = {"lateral": lateral, "substeps": substeps}
        discharge, after = runoff.route(lakes, return_state=True, **options)
        found = xroute.budget(runoff, discharge, lakes, final_state=after)
        assert abs(found.residual).max() <= 1e-12 * scale(found)


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
    ends = network.upstream_reach.values.tolist(), network.downstream_reach.values.tolist()
    for up, down, share in zip(*ends, network.fraction.values.tolist(), strict=True):
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
    lateral = options["lateral"]
    every, state = fine.route(network, dt=DT / substeps, lateral=lateral, return_state=True)  # each routing step's value
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
    drained = xroute.budget(dry, dry.route(network, dt=DT / substeps, initial_state=state, lateral=lateral), network,
                            dt=DT / substeps, initial_state=state, lateral=lateral)  # fmt: skip
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


def test_how_it_was_routed_is_told_by_the_discharge_before_the_network() -> None:
    network = chain(4, "muskingum_exact", k=(3.0, "h"), x=0.2).assign(fshape=2.5, tscale=9000.0)
    network.attrs["hillslope"] = "gamma"
    runoff = runoff_array(network.reach.values, 6, np.random.default_rng(0))
    for hillslope in ("none", None, "gamma-mizuroute"):
        discharge = runoff.route(network, hillslope=hillslope)
        found = xroute.budget(runoff, discharge, network)
        assert abs(found.residual_total) < 1e-12 * found.inflow_total, hillslope
    ordinates = [0.5, 0.5]
    discharge = runoff.route(network, hillslope=ordinates)
    with pytest.raises(ParameterError, match="routed with ordinates of hillslopes: give them, hillslope="):
        xroute.budget(runoff, discharge, network)
    assert abs(xroute.budget(runoff, discharge, network, hillslope=ordinates).residual_total) < 1e-9
    known = runoff.isel(reach=[2]) * 2
    discharge = runoff.route(network, known=known)
    with pytest.warns(UserWarning, match="known on 1 reaches.*residual unless it is given, known="):
        assert abs(xroute.budget(runoff, discharge, network).residual_total) > 1.0
    assert abs(xroute.budget(runoff, discharge, network, known=known).residual_total) < 1e-9


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


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sampling", SAMPLING)
def test_a_stream_writes_it_whatever_befalls(tmp_path: Any, sampling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from xroute.sinks import ZarrSink

    network = river("bifurcating", "mixed", seed=7)
    options: dict[str, Any] = {"sampling": sampling, "substeps": 2}
    runoff, before = warm(network, np.random.default_rng(5), **options)
    options |= {"initial_state": before, "progress": False, "time_chunk": 3, "budget": True}
    discharge, after = xroute.route_to_zarr(runoff, network, tmp_path / "q.zarr", return_state=True, **options)
    with xr.open_zarr(tmp_path / "q.zarr", group="budget") as stored:
        found = stored.load()
    given = {"initial_state": before, "final_state": after}
    expected = xroute.budget(runoff, discharge.load(), network, **given)
    assert set(found.variables) == set(expected.variables) and found.residual.dims == expected.residual.dims
    xr.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale(expected))
    assert abs(found.residual).max() < 1e-12 * scale(found)

    blocks, commit = [], ZarrSink.commit

    def killed(self: ZarrSink, *arguments: Any) -> None:
        if len(blocks) == 2:
            raise KeyboardInterrupt
        blocks.append(0)
        commit(self, *arguments)

    monkeypatch.setattr(ZarrSink, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        xroute.route_to_zarr(runoff, network, tmp_path / "killed.zarr", **options)
    monkeypatch.undo()
    with pytest.raises(FileExistsError, match="water budget"):
        xroute.route_to_zarr(runoff, network, tmp_path / "killed.zarr", **options | {"budget": False})
    monkeypatch.setattr(ZarrSink, "attach", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))  # all is routed by then
    with pytest.raises(KeyboardInterrupt):
        xroute.route_to_zarr(runoff, network, tmp_path / "killed.zarr", **options)
    monkeypatch.undo()
    for _ in range(2):
        xroute.route_to_zarr(runoff, network, tmp_path / "killed.zarr", **options)
        with xr.open_zarr(tmp_path / "killed.zarr", group="budget") as stored:
            xr.testing.assert_identical(stored.load(), found)  # to the bit
    xroute.route_to_zarr(runoff.chunk(reach=5), network, tmp_path / "workers.zarr", partitions=2, **options)
    with xr.open_zarr(tmp_path / "workers.zarr", group="budget") as stored:
        xr.testing.assert_allclose(stored.load(), found, rtol=1e-12, atol=1e-12 * scale(found))


def test_the_command_prints_and_writes_it(tmp_path: Any) -> None:
    from click.testing import CliRunner

    from xroute.cli import main

    network = chain(3, "linear_storage", tau=(3.0, "h"))
    network["downstream"] = ("reach", [3, 0, 0])  # two basins
    runoff = runoff_array(network.reach.values, 6, np.random.default_rng(0))
    xroute.io.write(network, tmp_path / "network.nc")
    xroute.io.write(runoff.to_dataset(), tmp_path / "runoff.nc")
    first = [*map(str, (tmp_path / "runoff.nc", tmp_path / "network.nc"))]
    for name in ("q.nc", "q.zarr"):
        state, again = tmp_path / f"state-{name}", tmp_path / f"again-{name}"
        told = CliRunner().invoke(main, ["route", *first, str(tmp_path / name), "--budget", "--save-state", str(state)])
        assert told.exit_code == 0, told.output
        discharge, end = runoff.route(network, return_state=True)
        expected = xroute.budget(runoff, discharge, network, final_state=end)
        _, line, header, whole, *basins = told.stdout.splitlines()
        came, out, stored = (float(expected[f"{term}_total"]) for term in ("inflow", "outflow", "storage_end"))
        told_of = f"in {came:.6g} m3, out {out:.6g} m3 ({out / came:.1%}), stored {stored:.6g} m3 ({stored / came:.1%}), "
        assert told_of in line and "unaccounted" not in line
        assert header.split()[:4] == ["[m3]", "inflow", "outflow", "storage"]
        assert whole.split()[:3] == ["in", "all", f"{came:.6g}"]
        assert sorted(basin.split()[1] for basin in basins) == ["2", "3"]
        with xr.open_dataset(tmp_path / name, group="budget", engine="zarr" if name == "q.zarr" else None) as opened:
            xr.testing.assert_allclose(opened.drop_attrs(), expected.drop_attrs(), rtol=1e-12, atol=1e-9)
        later = CliRunner().invoke(main, ["route", *first, str(again), "--initial-state", str(state)])
        assert f"in {came:.6g} m3, stored {stored:.6g} m3 at the start, out " in later.stdout, later.output


def test_the_closing_line_is_of_the_whole_run_and_says_what_is_amiss() -> None:
    from xroute.summary import Summary

    water = dict.fromkeys(TERMS, 0.0) | {"inflow": 100.0, "outflow": 40.0, "left_by_fractions": 1.0, "storage_end": 58.0}
    text = str(Summary(3, 4, 1, 1.0, water | {"residual": 1.0, "negative_steps": 2.0, "negative_volume": 0.5}))
    assert "in 100 m3, out 41 m3 (41.0%), 1 m3 of it where fractions sum to less than one, stored 58 m3 (58.0%), " in text
    assert "1 m3 unaccounted for (0.01), 2 values of discharge negative (0.5 m3)" in text
    known = str(Summary(3, 4, 1, 1.0, water | {"known_gain": -1.0, "storage_start": 10.0}))
    assert "in 100 m3, stored 10 m3 at the start, known discharge took 1 m3, out 41 m3" in known and "unaccounted" not in known
    assert "out about 41 m3" in str(Summary(3, 4, 1, 1.0, water, is_exact=False))
    assert "m3" not in str(Summary(3, 4, 1, 1.0))


# ── known discharge ───────────────────────────────────────────────────────────────────────────────────────────────────


def gauges(runoff: xr.DataArray, *reaches: Any, members: bool = True) -> xr.DataArray:
    """Discharge known on some reaches, with gaps."""
    rng = np.random.default_rng(11)
    known = 3.0 * runoff.sel(reach=list(reaches)).copy(data=rng.random((2, len(reaches), STEPS)))
    known = known.where(rng.random(known.shape) < 0.6).assign_attrs(units="m3 s-1")
    return known if members else known.isel(member=0, drop=True)


@pytest.mark.parametrize("scheme", ["muskingum_exact", "hayami", "mixed"])
def test_known_discharge_is_accounted_for(scheme: str, tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    every = modes("muskingum" if scheme == "muskingum_exact" else "hayami")
    for k, options in enumerate(every if scheme == "muskingum_exact" else every[1::2]):
        drawn = river("bifurcating", scheme, seed=k, n=14)
        network = Network(drawn)
        below = network.links.downstream[np.argmax(np.bincount(network.links.downstream, minlength=14)[network.links.downstream])]
        upper, lower = network.ids[network.links.upstream[network.links.downstream == below][0]], network.ids[below]
        runoff, before = warm(drawn, rng, **options)
        known = gauges(runoff, lower, upper, members=bool(k % 2))
        given = {"initial_state": before, "known": known}
        discharge, after = runoff.route(network, return_state=True, **given, **options)
        found = xroute.budget(runoff, discharge, network, final_state=after, **given)
        assert abs(found.residual).max() <= 1e-12 * scale(found), options
        steps = xroute.budget(runoff, discharge, network, per="step", **given)
        assert abs(steps.residual).max() <= 1e-12 * scale(found), options
        np.testing.assert_allclose(steps.known_gain.sum("time"), found.known_gain, atol=1e-11 * scale(found))

        free = options | {"sampling": "mean", "initial_state": before}  # what would be routed at each, the other known or not
        routed = {upper: runoff.route(network, **free), lower: runoff.route(network, known=known.sel(reach=[upper]), **free)}
        gain = sum((known.sel(reach=i) - routed[i].sel(reach=i)).sum(["time"]) * DT for i in (upper, lower))
        np.testing.assert_allclose(found.known_gain_total, gain, rtol=1e-9, atol=1e-11 * scale(found))

        if k % FEW:
            continue
        store = tmp_path / f"q{k}.zarr"
        xroute.route_to_zarr(runoff, network, store, **given, **options, progress=False, time_chunk=4, budget=True)
        with xr.open_zarr(store, group="budget") as stored:
            xr.testing.assert_allclose(stored.load(), found, rtol=1e-12, atol=1e-12 * scale(found))
        for per, expected in (("run", found), ("step", steps)):
            lazy = runoff.chunk(member=1, time=3), discharge.chunk(time=5), network
            dask_known = given | {"known": known.chunk(time=3)}
            computed = xroute.budget(*lazy, final_state=after, per=per, **dask_known).compute(scheduler="synchronous")
            xr.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-12 * scale(found))
    wrong = known.copy(data=known.values * (1 + 1e-6))
    amiss = xroute.budget(runoff, discharge, network, final_state=after, **given | {"known": wrong})
    assert (abs(amiss.residual_total) > 1e-9 * scale(found)).all()  # discharge is not what is said to be known


# ── hillslopes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hillslope", ["gamma", "ordinates"])
def test_hillslopes_store_water_too(hillslope: str, tmp_path: Any) -> None:
    from xroute.volumes import storage

    for k, options in enumerate(modes("muskingum")[:: 1 if hillslope == "gamma" else FEW]):
        drawn = river("bifurcating", "muskingum_exact", seed=k)
        drawn = drawn.assign(fshape=2.5, tscale=xr.DataArray(9000.0, attrs={"units": "s"}))
        network = Network(drawn)
        slopes = "gamma" if hillslope == "gamma" else np.array([0.1, 0.5, 0.25, 0.15])
        runoff, before = warm(drawn, np.random.default_rng(k), hillslope=slopes, **options)
        known = gauges(runoff, network.outlets[0])
        route = {"initial_state": before, "hillslope": slopes, "known": known}
        discharge, after = runoff.route(network, return_state=True, **route, **options)
        if hillslope == "gamma":
            del route["hillslope"]  # which the discharge's history says
        found = xroute.budget(runoff, discharge, network, final_state=after, **route)
        assert abs(found.residual).max() <= 1e-12 * scale(found), options
        given = {} if hillslope == "gamma" else {"hillslope": slopes}
        held = storage(network, after, **given).sum("reach")
        np.testing.assert_allclose(found.storage_end_total, held)
        channel = after.drop_vars([name for name in after.variables if str(name).startswith("hillslope")])
        assert (found.storage_end_total > 1.01 * storage(network, channel).sum("reach")).all()  # and some is on hillslopes
        if hillslope == "gamma" and k % FEW:
            continue
        steps = xroute.budget(runoff, discharge, network, per="step", **route)
        assert abs(steps.residual).max() <= 1e-12 * scale(found), options
        again = xroute.budget(runoff, discharge, network, **route)
        xr.testing.assert_allclose(again, found, rtol=1e-12, atol=1e-12 * scale(found))
        xroute.route_to_zarr(runoff, network, tmp_path / f"{k}.zarr", **route | given | {"hillslope": slopes}, **options,
                             progress=False, budget=True, time_chunk=3)  # fmt: skip
        with xr.open_zarr(tmp_path / f"{k}.zarr", group="budget") as stored:
            xr.testing.assert_allclose(stored.load(), found, rtol=1e-12, atol=1e-12 * scale(found))
