"""Hillslopes: their responses against closed forms; they and the channel in one are the two one after the other.

The truth is written here once more, from distribution functions integrated by quadrature, and convolutions of numpy.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import kills
import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from problems import equal_but_on_a_gpu
from scipy import integrate, stats

import xroute
from xroute.block import route_block
from xroute.block_state import BlockState, Stage
from xroute.cli import main
from xroute.engine.arrays import Exchange, Hillslopes, Rows
from xroute.engine.backends import backend_of
from xroute.engine.slopes import one_after_the_other
from xroute.parameters import read_parameters
from xroute.schemes import Filter, make_filter
from xroute.settings import HILLSLOPE, LATERAL, SAMPLING, RoutingSettings

HOUR = 3600.0
SCS = {  # time over time to peak: flow over peak flow (NRCS, table 16-1)
    0.0: 0.0, 0.1: 0.03, 0.2: 0.1, 0.3: 0.19, 0.4: 0.31, 0.5: 0.47, 0.6: 0.66, 0.7: 0.82, 0.8: 0.93, 0.9: 0.99, 1.0: 1.0,
    1.1: 0.99, 1.2: 0.93, 1.3: 0.86, 1.4: 0.78, 1.5: 0.68, 1.6: 0.56, 1.7: 0.46, 1.8: 0.39, 1.9: 0.33, 2.0: 0.28,
    2.2: 0.207, 2.4: 0.147, 2.6: 0.107, 2.8: 0.077, 3.0: 0.055, 3.2: 0.04, 3.4: 0.029, 3.6: 0.021, 3.8: 0.015, 4.0: 0.011,
    4.5: 0.005, 5.0: 0.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="at a routing step")
        yield


def river(seed: int = 2, **variables: Any) -> xr.Dataset:
    """A network with hillslopes of many kinds and lengths."""
    network = xroute.datasets.scheidegger(6, 9, seed=seed)
    n, rng = network.sizes["reach"], np.random.default_rng(seed)
    network["fshape"] = "reach", rng.uniform(0.6, 4.0, n)
    network["tscale"] = "reach", rng.uniform(0.1, 3.0, n), {"units": "h"}
    network["tlag"] = "reach", rng.uniform(600.0, 20_000.0, n)
    network["tpeak"] = "reach", rng.uniform(600.0, 20_000.0, n)
    return network.assign(variables)


def rain(network: xr.Dataset, steps: int = 60, dtype: Any = float) -> xr.DataArray:
    return xroute.datasets.storm_runoff(network, steps, dtype=dtype)


def line(density_at: dict[float, float]) -> tuple[Callable[[float], float], float, float]:
    """Distribution function, mean and end of a density of straight lines of some area."""
    time, flow = np.array(list(density_at)), np.array(list(density_at.values()))
    area = integrate.trapezoid(flow, time)

    def passed(t: float) -> float:
        inside = np.union1d(time[time < t], [min(t, time[-1])])
        return integrate.trapezoid(np.interp(inside, time, flow), inside) / area if t > 0 else 0.0

    between = [(a, b) for a, b in zip(time, time[1:], strict=False)]
    mean = sum(integrate.quad(lambda s: s * np.interp(s, time, flow), *ab)[0] for ab in between) / area
    return passed, mean, time[-1]


def truth(passed: Callable[[float], float], dt: float, n: int, points: Any = ()) -> np.ndarray:
    """Means over steps of what arrives of runoff that is one in the first step: differences of means of the distribution."""
    means = [0.0]
    for k in range(n):
        inside = [p for p in points if k * dt < p < (k + 1) * dt]
        how: dict[str, Any] = {"points": inside or None, "epsabs": 1e-14 * dt, "epsrel": 1e-12, "limit": 400}
        means.append(integrate.quad(passed, k * dt, (k + 1) * dt, **how)[0] / dt)
    return np.diff(means)


def closed_form(name: str, dt: float, n: int, **p: float) -> tuple[np.ndarray, float]:
    """Truth and mean travel time [s] of a hillslope."""
    if name == "gamma":
        of = stats.gamma(p["fshape"], scale=p["tscale"])
        return truth(of.cdf, dt, n), of.mean()
    if name == "scs":
        lag = p["tlag"] if "tlag" in p else 0.6 * p["tc"]
        table = {t * lag: q for t, q in SCS.items()}
    else:
        peak = p.get("tpeak", p.get("tlag", 0.6 * p.get("tc", np.nan)))
        table = {0.0: 0.0, peak: 1.0, p.get("tbase", 8 / 3 * peak): 0.0}
    passed, mean, _ = line(table)
    return truth(passed, dt, n, list(table)), mean


def one_reach(**parameters: float) -> xroute.Network:
    return xroute.Network.from_links([7], [0], parameters={"k": 1.0, "x": 0.0, **parameters}, attrs={"scheme": "muskingum"})


# ── the response ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dt", [900.0, HOUR, 86_400.0])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gamma", {"fshape": 2.5, "tscale": 3600.0}),
        ("gamma", {"fshape": 0.5, "tscale": 9000.0}),
        ("gamma", {"fshape": 1.0, "tscale": 60.0}),
        ("gamma", {"fshape": 60.0, "tscale": 700.0}),
        ("scs", {"tlag": 5000.0}),
        ("scs", {"tc": 30_000.0}),
        ("triangular", {"tpeak": 5000.0, "tbase": 20_000.0}),
        ("triangular", {"tpeak": 19_000.0, "tbase": 20_000.0}),
        ("triangular", {"tpeak": 4000.0}),
        ("triangular", {"tlag": 300.0}),
        ("triangular", {"tc": 9000.0}),
    ],
)
def test_the_response_is_the_closed_form(name: str, parameters: dict[str, float], dt: float) -> None:
    found = xroute.unit_hydrograph(one_reach(**parameters), name, dt=dt).values[0]
    expected, mean = closed_form(name, dt, found.size, **parameters)
    # but for the millionth that is given back: in the last ordinate, and in proportion
    assert np.abs(found[:-1] - expected[:-1]).max() < 1e-6
    assert np.abs(found[:-1] / found[:-1].sum() * expected[:-1].sum() - expected[:-1]).max() < 1e-11
    assert abs(found.sum() - 1) < 1e-13
    assert abs((found * np.arange(found.size)).sum() * dt - mean) < 1e-10 * max(mean, dt)
    assert (found >= 0).all()


def test_runoff_of_an_impulse_leaves_by_the_response() -> None:
    """Through `route`, with a channel that passes on at once: what leaves is the hydrograph."""
    network = one_reach(fshape=2.5, tscale=5400.0, delay=0.0)
    runoff = xr.DataArray(np.eye(40)[[0]], {"reach": [7]}, ("reach", "time"), attrs={"units": "m3 s-1"})
    found = runoff.route(network, scheme="pure_lag", hillslope="gamma", dt=HOUR).values[0]
    expected, _ = closed_form("gamma", HOUR, 40, fshape=2.5, tscale=5400.0)
    assert np.abs(found - expected).max() < 1e-6


def mizuroute(dt: float, fshape: float, tscale: float) -> np.ndarray:
    """The fractions of mizuRoute's basinUH, by a loop."""
    low, high = 1.0, 1000.0
    bins = 0.5 * (low + high)
    if stats.gamma.cdf(dt, fshape, scale=tscale) > 0.999:
        bins = 1.999
    else:
        while not 0.99 < (inside := stats.gamma.cdf(dt * bins, fshape, scale=tscale)) < 0.999:
            low, high = (bins, high) if inside < 0.99 else (low, bins)
            bins = 0.5 * (low + high)
    fractions = np.diff(stats.gamma.cdf(np.arange(int(np.ceil(bins)) + 1) * dt, fshape, scale=tscale))
    return fractions / fractions.sum()


@pytest.mark.parametrize("dt", [HOUR, 86_400.0])
@pytest.mark.parametrize(("fshape", "tscale"), [(2.5, 86_400.0), (2.5, 3600.0), (0.7, 20_000.0), (1.0, 60.0)])
def test_the_numbers_of_mizuroute(fshape: float, tscale: float, dt: float) -> None:
    found = xroute.unit_hydrograph(one_reach(fshape=fshape, tscale=tscale), "gamma-mizuroute", dt=dt).values[0]
    np.testing.assert_allclose(found, mizuroute(dt, fshape, tscale), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("tc", [600.0, 9000.0, 90_000.0])
def test_the_numbers_of_river_route(tc: float) -> None:
    """tl = 0.6 tc, tp = tl + dt/2; the integral of the hydrograph over each step from its beginning."""
    peak = 0.6 * tc + HOUR / 2
    table = {0.0: 0.0, peak: 1.0, 2.67 * peak: 0.0}
    passed, _, end = line(table)
    found = xroute.unit_hydrograph(one_reach(tc=tc), "triangular-river-route", dt=HOUR).values[0]
    expected = np.diff([passed(k * HOUR) for k in range(int(np.ceil(end / HOUR)) + 1)])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)
    curved = xroute.unit_hydrograph(one_reach(tc=tc), "scs-river-route", dt=HOUR).values[0]
    assert curved.size == int(np.ceil(5 * peak / HOUR)) and abs(curved.sum() - 1) < 1e-13


# ── hillslope, then channel ─────────────────────────────────────────────────────────────────────────────────────────────


def by_hand(runoff: xr.DataArray, network: xr.Dataset, hillslope: Any) -> xr.DataArray:
    """Runoff (time, reach) through the hillslopes, by convolutions."""
    ordinates = xroute.unit_hydrograph(network, hillslope, dt=HOUR)
    series = runoff.transpose("reach", ...)
    ids = series["reach"].values
    made = [np.convolve(series.sel(reach=i).values, ordinates.sel(reach=i).values)[: series.shape[1]] for i in ids]
    return series.copy(data=np.array(made))


@pytest.mark.parametrize("name", ["gamma", "scs", "triangular", "gamma-mizuroute"])
@pytest.mark.parametrize("lateral", LATERAL)
@pytest.mark.parametrize("substeps", [1, 3])
def test_both_in_one_are_one_after_the_other(name: str, lateral: Any, substeps: int) -> None:
    network = river().drop_vars("tlag") if name == "triangular" else river()
    runoff, how = rain(network), {"lateral": lateral, "substeps": substeps}
    expected = by_hand(runoff, network, name).route(network, **how)
    found = runoff.route(network, hillslope=name, **how)
    np.testing.assert_allclose(found.transpose(*expected.dims), expected, rtol=0, atol=1e-13 * float(expected.max()))
    assert "hillslope" in found.attrs["history"] and found.dims == runoff.dims
    none = runoff.route(network, **how)
    assert abs(found - none).max() > 1e-3 * none.max()  # it does something


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lateral", LATERAL)
def test_the_engine_in_one_is_the_engine_twice(sampling: Any, dtype: Any, lateral: Any) -> None:
    """Rows in any order, some without runoff, a factor on each, windows of one tap and of many, members, a warm start."""
    network, rng = xroute.Network(river()), np.random.default_rng(3)
    n = network.n_reaches
    pointer = np.concatenate([[0], np.cumsum(rng.integers(1, 40, n))])
    none = torch.zeros(n, dtype=torch.float64)
    slopes = Filter(torch.from_numpy(rng.random(pointer[-1]) / 20), pointer, none, none)
    settings = RoutingSettings(HOUR, 2, sampling, lateral)
    made = make_filter(read_parameters(network), HOUR / 2, n, lateral=lateral)
    runoff = rng.random((3, n + 4, 37)).astype(dtype)
    rows = Rows(np.where(rng.random(n) < 0.2, -1, rng.permutation(n + 4)[:n]), rng.permutation(n), n, rng.random(n))
    size = int(pointer[-1]) - n
    state = BlockState({
        "hillslope": Stage(rng.random((3, size)), rng.random((3, n))), "channel": Stage(rng.random((3, n)), rng.random((3, n)))
    })  # fmt: skip
    found, end, _ = route_block(runoff, network.plan, made, state, settings, rows, hillslope=slopes)
    given = Hillslopes(slopes, state.stages["hillslope"])
    expected, channel, slope, _ = one_after_the_other(
        backend_of("cpu"), runoff, network.plan, made, state.channel, settings, rows, Exchange(), None, given
    )
    allowed = 1e-6 if dtype == np.float32 else 1e-14
    assert np.abs(found - expected).max() < allowed * expected.max()
    for a, b in ((end.channel, channel), (end.stages["hillslope"], slope)):
        for one, two in zip(a, b, strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=allowed * expected.max())


def test_invariances() -> None:
    """Order of reaches and of dimensions, members side by side, and time in pieces of any length, bit for bit."""
    network, rng = river(), np.random.default_rng(0)
    runoff = rain(network)
    expected, end = runoff.route(network, hillslope="gamma", return_state=True)
    order = rng.permutation(network.sizes["reach"])
    moved = runoff.route(network.isel(reach=order), hillslope="gamma")  # whose ordinates are vectorised by other fours
    np.testing.assert_allclose(moved, expected, rtol=1e-13, atol=1e-15)
    assert runoff.isel(reach=order).T.route(network, hillslope="gamma").equals(expected.isel(reach=order).T)
    members = xr.concat([runoff, 2 * runoff], "member").assign_attrs(runoff.attrs)
    assert members.route(network, hillslope="gamma").isel(member=0).drop_vars("member", errors="ignore").equals(expected)
    state, pieces = None, []
    for first, last in ((0, 1), (1, 4), (4, 33), (33, 60)):
        part = runoff.isel(time=slice(first, last))
        piece, state = part.route(network, hillslope="gamma", dt=HOUR, initial_state=state, return_state=True)
        pieces.append(piece)
    assert xr.concat(pieces, "time").equals(expected)
    assert state.equals(end)


def test_all_water_arrives() -> None:
    """What fell is in the rivers' mouths, on the hillslopes or in the channels."""
    network = xroute.Network(river())
    runoff = rain(network.dataset).assign_attrs(units="m3 s-1")
    discharge, state = runoff.route(network, hillslope="gamma", return_state=True)
    out = float(discharge.sel(reach=network.outlets).sum())
    ordinates = xroute.unit_hydrograph(network, "gamma", dt=HOUR).values
    left = np.flip(np.cumsum(np.flip(ordinates, 1), 1), 1)[:, 1:]
    on_slopes = float((left * state["hillslope_inflow"].values).sum())
    channel = xroute.volumes.storage(network, state[["outflow", "inflow", "n_lags"]]).sum() / HOUR
    assert abs(out + on_slopes + float(channel) - float(runoff.sum())) < 1e-12 * float(runoff.sum())


# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_states_through_files(tmp_path: Path, suffix: str) -> None:
    network = river()
    runoff = rain(network)
    whole = runoff.route(network, hillslope="gamma")
    _, state = runoff.isel(time=slice(0, 31)).route(network, hillslope="gamma", return_state=True)
    path = tmp_path / f"state.{suffix}"
    xroute.io.write(state, path)
    order = np.random.default_rng(0).permutation(network.sizes["reach"])
    for start in (path, state.isel(reach=order), state.isel(hillslope_lag=slice(None, None, -1))):
        then = runoff.isel(time=slice(31, None)).route(network, hillslope="gamma", initial_state=start)
        assert then.equals(whole.isel(time=slice(31, None)))


def test_states_that_do_not_fit() -> None:
    network = river()
    runoff = rain(network)
    _, both = runoff.route(network, hillslope="gamma", return_state=True)
    _, alone = runoff.route(network, return_state=True)
    with pytest.raises(xroute.StateError, match="water on hillslopes.*'?gamma"):
        runoff.route(network, initial_state=both)
    with pytest.raises(xroute.StateError, match="made without hillslope=.gamma.. Make one"):
        runoff.route(network, hillslope="gamma", initial_state=alone)
    with pytest.raises(xroute.StateError, match="another hillslope: 'gamma', and this run has 'scs'"):
        runoff.route(network, hillslope="scs", initial_state=both)
    with pytest.raises(xroute.StateError, match="window of another length"):
        runoff.route(network.assign(tscale=2 * network.tscale.assign_attrs(units="h")), hillslope="gamma", initial_state=both)
    slow = runoff.coarsen(time=2).mean().assign_attrs(runoff.attrs)
    with pytest.raises(xroute.StateError, match="'hillslope' is of another step.*3600 s.*7200 s"):
        slow.route(network, hillslope="gamma", substeps=2, initial_state=both)  # the same routing step
    with pytest.raises(xroute.StateError, match="no 'hillslope_inflow'"):
        runoff.route(network, hillslope="gamma", initial_state=both.drop_vars("hillslope_inflow"))
    assert np.isfinite(slow.route(network, substeps=2, initial_state=alone)).all()


@pytest.mark.parametrize("lateral", LATERAL)
def test_a_steady_state_stays(lateral: Any) -> None:
    network = river()
    constant = rain(network).mean("time")
    state = xroute.steady_state(network, constant.assign_attrs(units="mm h-1"), dt=HOUR, lateral=lateral, hillslope="gamma")
    runoff = constant.expand_dims(time=10).assign_attrs(units="mm h-1")
    found = runoff.route(network, hillslope="gamma", lateral=lateral, dt=HOUR, initial_state=state)
    assert np.abs(found - found.isel(time=0)).max() < 1e-12 * found.max()
    snapshot = xroute.initial_state(network, found.isel(time=0), dt=HOUR, lateral=lateral, hillslope="gamma")
    again = runoff.route(network, hillslope="gamma", lateral=lateral, dt=HOUR, initial_state=snapshot)
    if lateral != "outlet":  # which cannot tell what joins there, but by runoff
        assert np.abs(again - found).max() < 1e-9 * found.max()
    given = xroute.initial_state(
        network, found.isel(time=0), dt=HOUR, lateral=lateral, hillslope="gamma", runoff=constant.assign_attrs(units="mm h-1")
    )
    known = runoff.route(network, hillslope="gamma", lateral=lateral, dt=HOUR, initial_state=given)
    assert np.abs(known - found).max() < 1e-9 * found.max()


# ── Dask, streams, the command line ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("partitions", [1, 3])
def test_on_dask(partitions: int) -> None:
    network = river()
    runoff = rain(network)
    half = runoff.isel(time=slice(0, 20))
    _, start = half.route(network, hillslope="gamma", return_state=True)
    rest = runoff.isel(time=slice(20, None))
    expected, end = rest.route(network, hillslope="gamma", initial_state=start, return_state=True)
    lazy, state = rest.chunk(time=7, reach=25).route(
        network, hillslope="gamma", partitions=partitions, initial_state=start, return_state=True
    )
    same = (lambda a, b: a.equals(b)) if partitions == 1 else equal_but_on_a_gpu
    assert lazy.chunks is not None and same(lazy.compute(), expected)
    assert same(state.compute(), end)


def test_streamed(tmp_path: Path) -> None:
    network = river()
    runoff = rain(network, dtype=np.float32)
    expected, end = runoff.route(network, hillslope="gamma", return_state=True)
    stream = partial(xroute.route_to_zarr, runoff, network, time_chunk=13, progress=False, return_state=True)
    found, state = stream(tmp_path / "q.zarr", hillslope="gamma")
    assert found.equals(expected) and state.equals(end)
    with pytest.raises(FileExistsError, match="hillslope 'gamma' instead of 'scs'"):
        stream(tmp_path / "q.zarr", hillslope="scs")
    with pytest.raises(FileExistsError, match="other parameters"):
        other = network.assign(fshape=network.fshape * 1.001)
        xroute.route_to_zarr(runoff, other, tmp_path / "q.zarr", hillslope="gamma", time_chunk=13, progress=False)


def _killed(folder: Path, moments: list[int]) -> list[tuple[bool, list[str]]]:
    """Whether a run was killed before a change of the disk, and what differs when it has gone on."""
    network, runoff = kills.series()
    torch.set_num_threads(1)  # its threads do not outlive a fork
    river = xroute.Network(network.dataset.assign(fshape=2.5, tscale=5400.0))
    kills.warm()
    runoff.isel(time=slice(0, 2)).route(river, hillslope="gamma", device="cpu")

    def run(store: Path) -> None:
        xroute.route_to_zarr(runoff, river, store, hillslope="gamma", time_chunk=50, progress=False, device="cpu")

    kills.forked(partial(run, folder / "whole.zarr"))
    found = []
    for number, before in enumerate(moments):
        store = folder / f"store{number}.zarr"
        killed = kills.forked(partial(run, store), before=before)
        kills.forked(partial(run, store))
        found.append((killed, kills.differences(store, folder / "whole.zarr")))
    return found


def test_streamed_and_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["xroute", "xroute.engine.cpu.backend", "zarr", "dask.array", "kills"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(_killed, tmp_path, [30, 60, 75, 90]).result(timeout=120)
    assert sum(killed for killed, _ in found) >= 3
    assert all(not different for _, different in found)


def test_on_the_command_line(tmp_path: Path) -> None:
    network = river()
    runoff = rain(network)
    network.to_netcdf(tmp_path / "network.nc")
    runoff.to_dataset(name="runoff").to_netcdf(tmp_path / "runoff.nc")
    xroute.unit_hydrograph(network, "scs", dt=HOUR).to_netcdf(tmp_path / "ordinates.nc")
    files = [str(tmp_path / name) for name in ("runoff.nc", "network.nc")]
    for name, given in (("gamma", "gamma"), ("scs", str(tmp_path / "ordinates.nc"))):
        out = tmp_path / f"{name}.nc"
        result = CliRunner().invoke(main, ["route", *files, str(out), "--hillslope", given], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        with xr.open_dataset(out) as found:
            values = found["discharge"].transpose(*runoff.dims)
            np.testing.assert_allclose(values, runoff.route(network, hillslope=name), rtol=1e-12)
    result = CliRunner().invoke(main, ["route", *files, str(tmp_path / "no.nc"), "--hillslope", "gama"])
    assert result.exit_code != 0 and "--hillslope is one of none, gamma" in result.output


# ── what is given, and by whom ──────────────────────────────────────────────────────────────────────────────────────────


def test_ordinates() -> None:
    network, rng = river(), np.random.default_rng(0)
    runoff = rain(network)
    expected = runoff.route(network, hillslope="scs")
    own = xroute.unit_hydrograph(network, "scs", dt=HOUR)
    assert runoff.route(network, hillslope=own.isel(reach=rng.permutation(own.sizes["reach"])).T).equals(expected)
    same = [0.1, 0.6, 0.3, 0.0]
    each = xr.DataArray(np.tile(same, (own.sizes["reach"], 1)), {"reach": own.reach}, ("reach", "lag"))
    shared = runoff.route(network, hillslope=np.array(same))
    assert runoff.route(network, hillslope=each).equals(shared)
    assert runoff.route(network, hillslope=xr.DataArray(same, dims="lag")).equals(shared)
    assert runoff.route(network, hillslope=[1.0]).equals(runoff.route(network))
    more = xr.concat([own, own.isel(reach=[0]).assign_coords(reach=[99_999])], "reach").assign_attrs(own.attrs)
    assert runoff.route(network, hillslope=more, extra="drop").equals(expected)


def _labelled(network: xr.Dataset, values: Any, **attrs: Any) -> xr.DataArray:
    table = np.tile(values, (network.sizes["reach"], 1))
    return xr.DataArray(table, {"reach": network.reach.values}, ("reach", "lag"), attrs=attrs)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda network: [0.5, 0.4], xroute.ParameterError, r"do not sum to one.*0\.9"),
        (lambda network: [1.5, -0.5], xroute.ParameterError, "negative"),
        (lambda network: [0.5, np.nan], xroute.ParameterError, "NaN"),
        (lambda network: [], xroute.ParameterError, "no ordinates"),
        (lambda network: 3.0, xroute.ParameterError, "one series"),
        (lambda network: object(), xroute.ParameterError, "not object"),
        (lambda network: [[0.5, 0.5]], xroute.ParameterError, "labels"),
        (lambda network: "gama", xroute.ParameterError, "triangular.*not 'gama'"),
        (lambda network: _labelled(network, [0.5, 0.5]).drop_vars("reach"), xroute.AlignmentError, "no ids"),
        (lambda network: _labelled(network, [0.5, 0.5]).isel(reach=slice(3, None)), xroute.AlignmentError, "3 reaches"),
        (lambda network: _labelled(network, [0.5, 0.5], dt=1800.0), xroute.TimeAxisError, "1800 s apart.*3600 s"),
        (
            lambda network: xr.DataArray([0.5, 0.5], {"lag": ("lag", [0.0, 2.0], {"units": "h"})}, ("lag",)),
            xroute.TimeAxisError, "7200 s apart",
        ),
        (
            lambda network: xr.DataArray([0.2, 0.8], {"lag": np.array([0, 2], "timedelta64[h]")}, ("lag",)),
            xroute.TimeAxisError, "7200 s apart",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(make: Any, error: type[Exception], says: str) -> None:
    network = river()
    with pytest.raises(error, match=says):
        rain(network).route(network, hillslope=make(network))


def test_ids_that_are_alien_or_double() -> None:
    network = river()
    own = _labelled(network, [0.5, 0.5])
    alien = xr.concat([own, own.isel(reach=[0]).assign_coords(reach=[99_999])], "reach")
    with pytest.raises(xroute.AlignmentError, match="1 ids of the ordinates are not in the network: 99999"):
        rain(network).route(network, hillslope=alien)
    with pytest.raises(xroute.AlignmentError, match="more than once"):
        rain(network).route(network, hillslope=xr.concat([own, own.isel(reach=[0])], "reach"))


def test_parameters_that_are_missing_or_wrong() -> None:
    network = river()
    runoff = rain(network)
    with pytest.raises(xroute.ParameterError, match="'fshape'.* and 'tscale'"):
        runoff.route(network.drop_vars("tscale"), hillslope="gamma")
    with pytest.raises(xroute.ParameterError, match="'tlag'.*, or 'tc'"):
        runoff.route(network.drop_vars("tlag"), hillslope="scs")
    with pytest.raises(xroute.ParameterError, match="tlag, tpeak, and which of them counts"):
        runoff.route(network, hillslope="triangular")
    bad = network.copy(deep=True)
    bad["tscale"][3] = -1.0
    with pytest.raises(xroute.ParameterError, match=f"'tscale' must be > 0; 1 reaches.*{int(bad.reach[3])}"):
        runoff.route(bad, hillslope="gamma")
    with pytest.raises(xroute.ParameterError, match="units|convert"):
        runoff.route(network.assign(tscale=network.tscale.assign_attrs(units="m")), hillslope="gamma")
    with pytest.raises(xroute.ParameterError, match="tpeak = 5.*tbase = 4"):
        runoff.route(network.drop_vars("tlag").assign(tpeak=5.0, tbase=4.0), hillslope="triangular")
    with pytest.raises(xroute.ParameterError, match="longer than max_taps"):
        runoff.route(network.assign(tscale=1e7), hillslope="gamma")


def test_the_network_may_say_it() -> None:
    network = river().assign_attrs(hillslope="gamma", scheme="muskingum")
    runoff = rain(network)
    plain = network.copy()
    del plain.attrs["hillslope"]
    assert runoff.route(network).equals(runoff.route(plain, hillslope="gamma"))
    assert runoff.route(network, hillslope="none").equals(runoff.route(plain))
    assert "hillslope gamma" in str(xroute.recipe.recipe_in_words(xroute.Network(network)))
    with pytest.raises(xroute.ParameterError, match="attribute 'hillslope' is"):
        runoff.route(network.assign_attrs(hillslope="gama"))
    assert HILLSLOPE[0] == "none"


# ── Router ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def small(**options: Any) -> tuple[xroute.Router, torch.Tensor]:
    network = xroute.datasets.scheidegger(2, 3, seed=2)
    n, rng = network.sizes["reach"], np.random.default_rng(0)
    network["fshape"] = "reach", rng.uniform(0.8, 3.0, n)
    network["tscale"] = "reach", rng.uniform(1000.0, 3000.0, n)
    network["tlag"] = 3000.0
    router = xroute.Router(network, dt=HOUR, **options)
    return router, torch.rand(2, n, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("lateral", LATERAL)
def test_router_is_route(lateral: Any) -> None:
    router, runoff = small(hillslope="gamma", lateral=lateral, substeps=2)
    labelled = xr.DataArray(runoff.numpy(), {"reach": router.ids}, ("member", "reach", "time"), attrs={"units": "m3 s-1"})
    expected = labelled.route(router.network, hillslope="gamma", lateral=lateral, substeps=2, dt=HOUR)
    np.testing.assert_allclose(router(runoff), expected, rtol=0, atol=1e-13)
    first, state = router(runoff[..., :4], return_state=True)
    assert torch.equal(torch.cat([first, router(runoff[..., 4:], state=state)], -1), router(runoff))


def test_gradients_of_router() -> None:
    """To runoff, parameters of both, and both stages of the state, from discharge and the state at the end."""
    router, runoff = small(hillslope="gamma", learnable=("k", "x", "fshape", "tscale"))
    assert len(list(router.parameters())) == 4
    values = {name: router.parameters_si[name].detach().clone().requires_grad_() for name in ("k", "x", "fshape", "tscale")}
    state = router(runoff, return_state=True)[1].detach()
    assert state.hillslope is not None
    held = [t.clone().requires_grad_() for t in (state.history, state.outflow, state.hillslope.history)]

    def run(series: Any, history: Any, outflow: Any, slopes: Any, *given: torch.Tensor) -> Any:
        start = dataclasses.replace(
            state, history=history, outflow=outflow, hillslope=dataclasses.replace(state.hillslope, history=slopes)
        )
        discharge, end = router(series, dict(zip(values, given, strict=True)), start, return_state=True)
        return discharge, end.history, end.outflow, end.hillslope.history

    leaves = (runoff.requires_grad_(), *held, *values.values())
    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, atol=1e-7, rtol=1e-4)
    router(runoff).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in router.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gamma", {"fshape": [0.4, 2.5, 30.0], "tscale": [9000.0, 5000.0, 600.0]}),
        ("scs", {"tlag": [700.0, 5000.0]}),
        ("triangular", {"tpeak": [700.0, 5000.0], "tbase": [900.0, 30_000.0]}),
        ("gamma-mizuroute", {"fshape": [0.4, 2.5], "tscale": [9000.0, 5000.0]}),
        ("scs-river-route", {"tc": [700.0, 5000.0]}),
    ],
)
def test_gradients_of_ordinates(name: str, parameters: dict[str, list[float]]) -> None:
    n = len(next(iter(parameters.values())))
    network = xroute.Network.from_links(
        np.arange(1, n + 1), np.zeros(n, int), parameters={"k": 3600.0, "x": 0.1, **parameters}, attrs={"scheme": "muskingum"}
    )
    router = xroute.Router(network, dt=HOUR, hillslope=name, learnable=tuple(parameters))
    assert router.hillslope is not None
    values = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in parameters.values()]

    def ordinates(*learned: torch.Tensor) -> torch.Tensor:
        return router.hillslope(dict(zip(parameters, learned, strict=True))).taps

    assert torch.autograd.gradcheck(ordinates, values, eps=1e-5, atol=1e-9, rtol=1e-4)


def test_router_finds_its_parameters_again(tmp_path: Path) -> None:
    router, runoff = small(hillslope="gamma", learnable=("tscale",))
    with torch.no_grad():
        router.hillslope.values["tscale"].raw += 0.3  # type: ignore[union-attr, index, operator]
    torch.save(router.state_dict(), tmp_path / "router.pt")
    other, _ = small(hillslope="gamma", learnable=("tscale",))
    assert not torch.equal(other(runoff), router(runoff))
    other.load_state_dict(torch.load(tmp_path / "router.pt"))
    assert torch.equal(other(runoff), router(runoff))


def test_router_refuses() -> None:
    router, runoff = small(hillslope="gamma")
    plain, _ = small()
    _, both = router(runoff, return_state=True)
    _, alone = plain(runoff, return_state=True)
    with pytest.raises(xroute.StateError, match="hillslope='gamma', and this one has hillslope=None"):
        plain(runoff, state=both)
    with pytest.raises(xroute.StateError, match="hillslope=None, and this one has hillslope='gamma'"):
        router(runoff, state=alone)
    with pytest.raises(xroute.StateError, match="hillslope='gamma', and this one has hillslope='scs'"):
        small(hillslope="scs")[0](runoff, state=both)
    with pytest.raises(xroute.ParameterError, match="learnable names 'tlag'"):
        small(hillslope="gamma", learnable="tlag")
    with pytest.raises(xroute.ParameterError, match="'fshape' must be > 0"):
        router(runoff, {"fshape": -torch.ones(router.n_reaches)})
    with pytest.raises(xroute.ParameterError, match="no scheme of this network has the parameters 'fshape'"):
        plain(runoff, {"fshape": torch.ones(router.n_reaches)})


def test_without_a_step_long_windows_are_not_what_is_amiss() -> None:
    """One time tells no step; that is what an error is about, not windows at some step that nobody gave."""
    river = xroute.Network.from_links(
        [1], [2], parameters={"tlag": 864e3, "length": 5e3, "celerity": 1.0, "diffusivity": 500.0}, attrs={"scheme": "hayami"}
    )
    runoff = xr.DataArray([[1.0], [1.0]], {"reach": [1, 2], "time": [np.datetime64("2001-01-01", "ns")]}, ("reach", "time"),
                          attrs={"units": "m3 s-1"})  # fmt: skip
    for hillslope in (None, "scs"):
        with pytest.raises(xroute.TimeAxisError, match="give dt="):
            runoff.route(river, hillslope=hillslope)
        assert runoff.isel(time=slice(0)).route(river, hillslope=hillslope).shape == (2, 0)
