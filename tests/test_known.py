"""Known discharge: labels, halves of a basin that equal the whole, gaps, states, Dask, streams, Router and the command.

The truth is a whole basin routed plainly, or the reference of one number after another; never what is judged.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from problems import equal_but_on_a_gpu
from reference_schemes import TRUTH

import xroute
from xroute.cli import main
from xroute.engine.reference import route_reference
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, UnitsError, XRouteError
from xroute.io import open_known
from xroute.router import Router
from xroute.settings import LATERAL, SAMPLING

SCHEMES = tuple(TRUTH)


def basin(scheme="muskingum", rows=20, columns=100, steps=60, seed=0):
    """A network of rows x columns reaches, and runoff of float64 into it."""
    network = xroute.Network(xroute.datasets.scheidegger(rows, columns, seed=seed, scheme=scheme))
    return network, xroute.datasets.storm_runoff(network, steps, dtype=float, seed=seed)


def cut(network, share=0.5):
    """Reaches of the lower part of a network (a set of ids closed downstream), and those of the upper that drain to it."""
    length = network.dataset["reach"].copy(data=depth(network))
    lower = network.ids[length.values > share * length.values.max()]
    downstream = dict(zip(network.ids.tolist(), network.dataset["downstream"].values.tolist(), strict=True))
    inside = set(lower.tolist())
    heads = [i for i in network.ids.tolist() if i not in inside and downstream[i] in inside]
    return lower, np.array(heads)


def depth(network):
    """Longest way down to each reach, by going down from each."""
    upstream, downstream, _ = network.links
    longest = np.ones(network.n_reaches, int)
    for _ in range(network.n_reaches):
        before = longest.copy()
        np.maximum.at(longest, downstream, longest[upstream] + 1)
        if (before == longest).all():
            return longest
    raise AssertionError("a cycle")


def equal(found, expected, tolerance=1e-12):
    scale = float(abs(expected).max())
    np.testing.assert_allclose(found.values, expected.transpose(*found.dims).values, rtol=tolerance, atol=tolerance * scale)


def plain(array):
    return array.drop_attrs() if hasattr(array, "drop_attrs") else array


# ── halves of a basin ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("lateral", LATERAL)
def test_the_lower_half_equals_the_whole(scheme, lateral):
    """2,000 reaches: the lower half with the upper's discharge as known, in the whole network and alone."""
    if lateral == "interval" and xroute.schemes.SCHEMES[scheme].windowed:
        pytest.skip("means nothing for windows")
    network, runoff = basin(scheme)
    lower, heads = cut(network)
    assert network.n_reaches == 2000 and 20 < heads.size and 300 < lower.size < 1500
    whole = runoff.route(network, lateral=lateral)
    known = whole.sel(reach=heads)
    equal(runoff.route(network, lateral=lateral, known=known), whole)
    # nothing is taken from above: with other runoff there, the lower half is the same
    elsewhere = runoff * xr.where(runoff["reach"].isin(lower), 1.0, 7.0)
    again = elsewhere.assign_attrs(runoff.attrs).route(network, lateral=lateral, known=known)
    equal(again.sel(reach=lower), whole.sel(reach=lower))
    assert float(abs(again - whole).max()) > 1e-3 * float(whole.max())
    ids = np.concatenate([lower, heads])
    alone = xroute.Network(network.dataset.sel(reach=ids), missing_downstream="outlet")
    nothing = (runoff.sel(reach=ids) * ~runoff["reach"].sel(reach=ids).isin(heads)).assign_attrs(runoff.attrs)
    equal(nothing.route(alone, lateral=lateral, known=known).sel(reach=lower), whole.sel(reach=lower))


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("sampling", SAMPLING)
def test_gaps(substeps, sampling):
    """Where it is not known, discharge is routed: from known values that are those routed, with gaps, comes the whole."""
    network, runoff = basin(rows=10, columns=40, steps=50)
    rng = np.random.default_rng(1)
    options = {"substeps": substeps, "sampling": sampling}
    whole = runoff.route(network, **options)
    known = whole.sel(reach=rng.choice(network.ids, 60, replace=False))
    known = known.where(rng.random(known.shape) < 0.5)
    nothing = runoff.route(network, **options, known=known.where(False))
    assert nothing.equals(whole)  # bit for bit
    if substeps == 1 and sampling != "start-mean":  # else a step's discharge is not what is passed on in each of its substeps
        equal(runoff.route(network, **options, known=known), whole)


@pytest.mark.parametrize(("substeps", "sampling", "lateral"), itertools.product((1, 4), SAMPLING, LATERAL))
def test_against_the_reference(substeps, sampling, lateral):
    """Reach by reach with the reference: above a known reach as ever, below it from the values that are known."""
    network = bifurcating()
    rng = np.random.default_rng(2)
    steps, dt = 12, 3600.0
    runoff = xr.DataArray(
        rng.gamma(1.0, 5.0, (network.n_reaches, steps)),
        {"reach": network.ids, "time": pd.date_range("2001-01-01", periods=steps, freq="h")}, ("reach", "time"),
        attrs={"units": "m3 s-1"},
    )  # fmt: skip
    values = np.where(rng.random(steps) < 0.5, np.nan, rng.gamma(2.0, 9.0, steps))
    known = xr.DataArray(values[None], {"reach": [3], "time": runoff["time"]}, ("reach", "time"), attrs={"units": "m3 s-1"})
    found, state = runoff.route(
        network, substeps=substeps, sampling=sampling, lateral=lateral, known=known, return_state=True
    )
    expected, history, last = brute_force(network, runoff.values, {3: values}, dt, substeps, sampling, lateral)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(state["outflow"].values, last, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(state["inflow"].values[..., 0], history, rtol=1e-12, atol=1e-12)


def bifurcating():
    """Reaches 1 and 2 join in 3, which parts into 4 (0.7) and 5 (0.25), 0.05 being lost."""
    return xroute.Network.from_links(
        [1, 2, 3, 3, 4, 5], [3, 3, 4, 5, 0, 0], [1.0, 1.0, 0.7, 0.25, 1.0, 1.0],
        parameters={"k": [3000.0, 5000.0, 4000.0, 2000.0, 9000.0], "x": [0.1, 0.2, 0.3, 0.1, 0.0]},
        attrs={"scheme": "muskingum"},
    )  # fmt: skip


def brute_force(network, runoff, known, dt, substeps, sampling, lateral):
    """Each reach alone by the reference, its inflow from upstream being that of what is passed on; discharge and state."""
    upstream, downstream, fraction = network.links
    n, steps = runoff.shape
    fine, h = steps * substeps, dt / substeps
    passed, discharge = np.zeros((n, fine)), np.zeros((n, steps))
    history, last = np.zeros(n), np.zeros(n)
    for i in np.argsort(depth(network), kind="stable"):
        k, x = (float(network.dataset[name].values[i]) for name in ("k", "x"))
        down = 2 * k * (1 - x) + h
        taps, pole = np.array([(h - 2 * k * x) / down, (h + 2 * k * x) / down]), (2 * k * (1 - x) - h) / down
        inflow = sum((f * passed[u] for u, d, f in zip(upstream, downstream, fraction, strict=True) if d == i), np.zeros(fine))
        r = np.repeat(runoff[i], substeps)
        inflow = inflow + (r if lateral == "head" else 0)
        y = np.zeros(fine + 1)
        for f in range(fine):
            y[f + 1] = taps[0] * inflow[f] + taps[1] * (inflow[f - 1] if f else 0.0) + pole * y[f]
            y[f + 1] += taps.sum() * r[f] if lateral == "interval" else 0
        q = y[1:] + (r if lateral == "outlet" else 0)
        at = q.reshape(steps, substeps)
        if sampling == "start-mean":
            discharge[i] = y[:-1].reshape(steps, substeps).mean(axis=1) + (runoff[i] if lateral == "outlet" else 0)
        else:
            discharge[i] = at[:, -1] if sampling == "last" else at.mean(axis=1)
        passed[i], history[i], last[i] = q, inflow[-1], y[-1]
        series = known.get(int(network.ids[i]))
        if series is not None:
            there = ~np.isnan(series)
            discharge[i][there] = series[there]
            passed[i] = np.where(np.repeat(there, substeps), np.repeat(series, substeps), passed[i])
    return discharge, history, last


def test_brute_force_is_the_reference_where_nothing_is_known():
    network = bifurcating()
    runoff = np.random.default_rng(0).random((5, 7))
    found, *_ = brute_force(network, runoff, {}, 3600.0, 2, "mean", "head")
    filters = [TRUTH["muskingum"].filter(1800.0, k=float(k), x=float(x))
               for k, x in zip(network.dataset["k"].values, network.dataset["x"].values, strict=True)]  # fmt: skip
    taps, pole = [f[0] for f in filters], [f[1] for f in filters]
    expected, *_ = route_reference(runoff[None], network.links, taps, pole, [0.0] * 5, substeps=2)
    np.testing.assert_allclose(found, expected[0], rtol=1e-12)


# ── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def small():
    network, runoff = basin(rows=8, columns=20, steps=36)
    rng = np.random.default_rng(3)
    known = xr.DataArray(
        rng.gamma(2.0, 3.0, (36, 4)), {"time": runoff["time"], "reach": rng.choice(network.ids, 4, replace=False)},
        ("time", "reach"), attrs={"units": "m3 s-1"},
    ).where(lambda k: rng.random(k.shape) < 0.7)  # fmt: skip
    known.attrs["units"] = "m3 s-1"
    return network, runoff, known, runoff.route(network, known=known)


def test_result(small):
    network, runoff, known, discharge = small
    there = known.notnull().transpose(*discharge.dims)
    at = discharge.sel(reach=known["reach"])
    assert at.where(there).equals(known.transpose(*at.dims).where(there))  # the very values
    assert discharge.dims == runoff.dims and discharge.attrs["known_reaches"] == 4
    assert "discharge known on 4 reaches" in discharge.attrs["history"]
    assert "known_reaches" not in runoff.route(network).attrs


def test_order_and_units_mean_nothing(small):
    network, runoff, known, discharge = small
    order = np.random.default_rng(0).permutation(36)
    feet = (known / 0.3048**3).assign_attrs(units="ft3/s")
    liters = (known * 1000).assign_attrs(units="L s-1")
    for other in (known.T, known[:, ::-1], known.isel(time=order), known.chunk(time=5)):
        assert plain(runoff.route(network, known=other)).equals(plain(discharge))
    for other in (feet, liters):
        equal(runoff.route(network, known=other), discharge)
    assert plain(runoff.route(network, known=known.drop_attrs())).equals(plain(discharge))
    renamed = known.rename(time="date", reach="gauge")
    assert plain(runoff.route(network, known=renamed)).equals(plain(discharge))
    assert plain(runoff.transpose().route(network, known=known)).transpose(*discharge.dims).equals(plain(discharge))


def test_series_that_begin_or_end_elsewhere(small):
    network, runoff, known, _ = small
    part = known.isel(time=slice(5, 20))
    expected = runoff.route(network, known=known.where(known["time"].isin(part["time"])))
    assert plain(runoff.route(network, known=part)).equals(plain(expected))
    before = known.assign_coords(time=known["time"] - np.timedelta64(48, "h"))
    longer = xr.concat([before, known], "time")
    assert plain(runoff.route(network, known=longer)).equals(plain(runoff.route(network, known=known)))


def test_one_reach_and_constant_releases(small):
    network, runoff, known, _ = small
    one = known.isel(reach=0)
    expected = runoff.route(network, known=known.isel(reach=[0]))
    assert plain(runoff.route(network, known=one)).equals(plain(expected))
    constant = xr.DataArray([2.0, 3.0], {"reach": known["reach"].values[:2]}, ("reach",), attrs={"units": "m3 s-1"})
    held = runoff.route(network, known=constant).sel(reach=constant["reach"])
    assert (held == constant).all()
    with pytest.raises(TimeAxisError, match="one time"):
        runoff.route(network, known=known.isel(time=3))
    nobody = known.isel(reach=[])
    assert plain(runoff.route(network, known=nobody)).equals(plain(runoff.route(network)))


def test_members(small):
    network, runoff, known, discharge = small
    members = xr.concat([runoff, 2 * runoff, 3 * runoff], pd.Index([10, 20, 30], name="member")).assign_attrs(runoff.attrs)
    for_all = members.route(network, known=known)
    equal(for_all.sel(member=10), discharge)
    each = xr.concat([known, known + 1, known * 2], pd.Index([30, 10, 20], name="member"))
    each.attrs = known.attrs
    found = members.route(network, known=each)
    for label in (10, 20, 30):
        alone = members.sel(member=label).route(network, known=each.sel(member=label))
        equal(found.sel(member=label), alone)
        lazy = members.chunk(member=2, time=7, reach=50).route(network, known=each, partitions=2)
        equal(lazy.sel(member=label).compute(), alone)
    both = members.expand_dims(model=["a", "b"]).assign_attrs(runoff.attrs)
    equal(both.chunk(model=1, member=1).route(network, known=each).sel(model="b"), found)
    with pytest.raises(AlignmentError, match="'member'"):
        members.route(network, known=each.sel(member=[10, 20]))
    with pytest.raises(AlignmentError, match="'member'"):
        runoff.route(network, known=each)
    with pytest.raises(AlignmentError, match="labels"):
        members.route(network, known=each.drop_vars("member"))


def test_forecast_leads(small):
    """Dates that are known, and runoff on leads from a reference time."""
    network, runoff, known, discharge = small
    begin = runoff["time"].values[0]
    leads = runoff.rename(time="step").assign_coords(step=runoff["time"].values - begin, time=begin)
    found = leads.route(network, known=known)
    np.testing.assert_array_equal(found.transpose(..., "step").values, discharge.transpose(..., "time").values)


@pytest.mark.parametrize(("change", "error", "match"), [
    (lambda k: k.assign_coords(reach=k["reach"] + 10**6), AlignmentError, "not in the network: 100"),
    (lambda k: xr.concat([k, k], "reach"), AlignmentError, "4 ids of the known discharge .* more than once"),
    (lambda k: k.assign_coords(time=k["time"] + np.timedelta64(30, "m")), TimeAxisError, "between the runoff's"),
    (lambda k: k.assign_coords(time=k["time"] + np.timedelta64(4000, "D")), TimeAxisError, "no time in common"),
    (lambda k: xr.concat([k, k], "time"), TimeAxisError, "more than once"),
    (lambda k: k.drop_vars("time"), TimeAxisError, "runoff has times"),
    (lambda k: k.where(k.notnull(), np.inf), XRouteError, "infinite, on reaches"),
    (lambda k: k.fillna(-999.0), XRouteError, "are -999, which is no discharge, on reaches .* Where it is not known, it is NaN"),
    (lambda k: k.fillna(-99.0).assign_attrs(units="ft3 s-1"), XRouteError, "are -99, which is no discharge"),
    (lambda k: k.assign_attrs(units="mm d-1"), UnitsError, "known discharge"),
    (lambda k: k.assign_attrs(time_label="end"), TimeAxisError, "time_label"),
    (lambda k: k.expand_dims(model=2), AlignmentError, "model"),
    (lambda k: k.astype(str), ParameterError, "known discharge must be real numbers"),
    (lambda k: k.values, XRouteError, "known discharge is an xarray.DataArray"),
    (lambda k: k.to_dataset(name="q"), XRouteError, "choose one of 'q'"),
    (lambda k: k.drop_vars("reach"), AlignmentError, "no ids along 'reach'"),
])  # fmt: skip
def test_refused(small, change, error, match):
    network, runoff, known, _ = small
    for series in (runoff, runoff.chunk(time=9)):
        with pytest.raises(error, match=match):
            series.route(network, known=change(known)).compute()


def test_daily_values_on_hourly_runoff_are_told(small):
    network, runoff, known, _ = small
    with pytest.warns(UserWarning, match="one of 12 steps"):
        runoff.route(network, known=known.isel(time=slice(None, None, 12)))


# ── time: states, chunks, streams ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("substeps", [1, 2])
def test_states(small, substeps):
    network, runoff, known, _ = small
    whole, end = runoff.route(network, known=known, substeps=substeps, return_state=True)
    first, state = runoff.isel(time=slice(0, 15)).route(network, known=known, substeps=substeps, return_state=True)
    rest, last = runoff.isel(time=slice(15, None)).route(
        network, known=known, substeps=substeps, initial_state=state, return_state=True
    )
    assert plain(xr.concat([first, rest], "time")).equals(plain(whole)) and last.equals(end)


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("lazy", [False, True])
def test_dask(small, partitions, lazy):
    network, runoff, known, discharge = small
    _, end = runoff.route(network, known=known, return_state=True)
    given = known.chunk(time=11, reach=3) if lazy else known
    chunked = runoff.chunk(time=7, reach=33)

    def refuse(*_, **__):
        raise AssertionError("something was computed")

    import dask

    with dask.config.set(scheduler=refuse):
        found, state = chunked.route(network, known=given, partitions=partitions, return_state=True)
    same = (lambda a, b: a.equals(b)) if partitions == 1 else equal_but_on_a_gpu
    assert same(plain(found.compute(scheduler="threads")), plain(discharge))
    assert same(state.compute(scheduler="threads"), end)


def test_streams(small, tmp_path):
    network, runoff, known, discharge = small
    known.to_dataset(name="q").to_zarr(tmp_path / "known.zarr")
    opened = xr.open_zarr(tmp_path / "known.zarr", chunks=None)["q"]
    options = {"time_chunk": 5, "progress": False}
    stored = xroute.route_to_zarr(runoff, network, tmp_path / "a.zarr", known=opened, **options)
    assert plain(stored.load()).equals(plain(discharge)) and stored.attrs["known_reaches"] == 4
    # on workers' way, too
    stored = xroute.route_to_zarr(runoff.chunk(time=5), network, tmp_path / "b.zarr", known=known, partitions=2, **options)
    assert equal_but_on_a_gpu(plain(stored.load()), plain(discharge))
    with pytest.raises(FileExistsError, match="known on other"):
        xroute.route_to_zarr(runoff, network, tmp_path / "a.zarr", known=known.isel(reach=[0]), **options)
    with pytest.raises(FileExistsError, match="known on other"):
        xroute.route_to_zarr(runoff, network, tmp_path / "a.zarr", **options)


def test_a_stream_that_was_interrupted_goes_on(small, tmp_path):
    network, runoff, known, discharge = small
    bad = runoff.copy()
    bad[{"time": 20}] = np.inf
    options = {"time_chunk": 5, "progress": False}
    with pytest.raises(XRouteError, match="infinite"):
        xroute.route_to_zarr(bad, network, tmp_path / "a.zarr", known=known, **options)
    stored = xroute.route_to_zarr(runoff, network, tmp_path / "a.zarr", known=known, **options)
    assert plain(stored.load()).equals(plain(discharge))


# ── Router ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("substeps", "lateral"), [(1, "head"), (2, "interval"), (3, "outlet")])
def test_router(small, substeps, lateral):
    network, runoff, known, _ = small
    expected, end = runoff.route(network, known=known, substeps=substeps, lateral=lateral, return_state=True)
    router = Router(network, dt="1h", substeps=substeps, lateral=lateral, known=known["reach"].values, learnable=("k", "x"))
    tensor = torch.from_numpy(runoff.sel(reach=router.ids).transpose("reach", "time").values)
    series = torch.from_numpy(known.transpose("reach", "time").values).requires_grad_()
    found, state = router(tensor, known=series, return_state=True)
    np.testing.assert_allclose(
        found.detach(), expected.sel(reach=router.ids).transpose("reach", "time").values, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(state.outflow[0].detach(), end["outflow"].sel(reach=router.ids), rtol=1e-12, atol=1e-12)
    first, between = router(tensor[:, :10], known=series[:, :10], return_state=True)
    rest = router(tensor[:, 10:], known=series[:, 10:], state=between)
    np.testing.assert_allclose(torch.cat([first, rest], 1).detach(), found.detach(), rtol=1e-12, atol=1e-12)
    found.sum().backward()
    gaps = torch.from_numpy(known.transpose("reach", "time").isnull().values)
    assert not series.grad[gaps].any() and (series.grad[~gaps] >= 1 - 1e-12).all()  # itself, and what it is downstream


def test_no_gradient_flows_past_what_is_known():
    network = xroute.Network.from_links([1, 2, 3], [2, 3, 0], parameters={"tau": 5000.0}, attrs={"scheme": "linear_storage"})
    router = Router(network, dt=3600.0, known=[2])
    runoff = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    router(runoff, known=torch.full((1, 6), 2.0, dtype=torch.float64))[2].sum().backward()
    assert not runoff.grad[:2].any() and runoff.grad[2].all()
    runoff.grad = None
    known = torch.full((1, 6), torch.nan, dtype=torch.float64)
    known[0, 2] = 1.0
    router(runoff, known=known)[2].sum().backward()
    assert runoff.grad[:2].any()


def test_router_refuses(small):
    network, _, known, _ = small
    with pytest.raises(AlignmentError, match="not in the network"):
        Router(network, dt="1h", known=[10**7])
    router = Router(network, dt="1h", known=known["reach"].values)
    runoff = torch.rand(network.n_reaches, 6)
    with pytest.raises(ParameterError, match="4 reaches of known discharge"):
        router(runoff)
    with pytest.raises(ParameterError, match="known has shape"):
        router(runoff, known=torch.rand(3, 6))
    with pytest.raises(ParameterError, match="infinite"):
        router(runoff, known=torch.full((4, 6), torch.inf))
    with pytest.raises(ParameterError, match="-999 or alike: where it is not known, it is NaN"):
        router(runoff, known=torch.tensor([1.0, torch.nan, 2.0, 3.0, -9999.0, 4.0]).expand(4, 6))
    with pytest.raises(ParameterError, match=r"Router\(\.\.\., known=ids\)"):
        Router(network, dt="1h")(runoff, known=torch.rand(4, 6))


# ── files and the command ───────────────────────────────────────────────────────────────────────────────────────────────


def test_command(small, tmp_path):
    network, runoff, known, discharge = small
    network.dataset.to_netcdf(tmp_path / "network.nc")
    runoff.to_dataset(name="runoff").to_netcdf(tmp_path / "runoff.nc")
    known.to_dataset(name="q").to_netcdf(tmp_path / "known.nc")
    known.to_pandas().to_csv(tmp_path / "wide.csv")
    long = known.to_dataframe("discharge").reset_index()
    long[["time", "reach", "discharge"]].sample(frac=1, random_state=0).to_csv(tmp_path / "long.csv", index=False)
    for k, given in enumerate(("known.nc", "wide.csv", "long.csv")):
        out = tmp_path / f"q{k}.zarr"
        paths = [str(tmp_path / "runoff.nc"), str(tmp_path / "network.nc"), str(out), "--known", str(tmp_path / given)]
        result = CliRunner().invoke(main, ["route", *paths, "--no-progress"])
        assert result.exception is None, result.output
        with xr.open_zarr(out) as stored:
            equal(stored["discharge"].load(), discharge)
    (tmp_path / "two.csv").write_text("time,reach,flow,other\n2001-01-01,1,2,3\n")
    paths[-1] = str(tmp_path / "two.csv")
    assert CliRunner().invoke(main, ["route", *paths, "--known-variable", "nothing"]).exit_code


@pytest.mark.parametrize(("text", "match"), [
    ("time,reach,a,b\n2001-01-01,1,2,3\n", "name that of the discharge"),
    ("time,reach,q\nyesterday,1,2\n", "no times"),
    ("time,reach,q\n2001-01-01,1,two\n", "not all numbers"),
    ("time,reach,q\n2001-01-01,1,2\n2001-01-01,1,3\n", "1 values twice"),
])  # fmt: skip
def test_tables_refused(tmp_path, text, match):
    file = tmp_path / "known.csv"
    file.write_text(text)
    with pytest.raises(XRouteError, match=match):
        open_known(file)


def test_ids_of_tables_are_exact(tmp_path):
    big = 2**53 + 1
    (tmp_path / "a.csv").write_text(f"time;{big};7\n2001-01-01;1;\n2001-01-02;2;5\n")
    found = open_known(tmp_path / "a.csv")
    assert found["reach"].values.tolist() == [big, 7] and np.isnan(found.sel(reach=7)[0])
    (tmp_path / "b.csv").write_text("date,station,release\n2001-01-01T00:00Z,007,1.5\n")
    assert open_known(tmp_path / "b.csv")["reach"].values.tolist() == ["007"]
