"""`Network.response` and `Network.travel_time`, against impulses that the reference routes, closed forms, all ways by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_schemes import TRUTH, reference_filters
from strategies import (
    DT,
    INTERVAL,
    SCHEMES,
    UNITS,
    chain,
    impulse,
    make_ids,
    network_dataset,
    networks,
    small_network,
    topology,
)

import xroute
from xroute import responses
from xroute.engine.reference import route_reference

pytestmark = pytest.mark.filterwarnings("ignore:.*[Mm]uskingum")  # reaches are shorter than the step, on purpose

SAMPLING = ("mean", "last", "start-mean")


def truth(network: xr.Dataset, links, source: int, n_steps: int, *, substeps=1, slopes=(1.0,), **modes) -> np.ndarray:
    """Discharge [reach, time] for runoff of one into one reach in the first step, by the reference and the literature."""
    n = network.sizes["reach"]
    schemes = network["scheme"].values if "scheme" in network else [network.attrs["scheme"]] * n
    parameters = {str(p): network[p].values for p in network.data_vars if p in UNITS}
    filters = reference_filters(schemes, parameters, DT / substeps, modes.get("lateral", "head"))
    runoff = np.zeros((1, n, n_steps))
    runoff[0, source, : len(slopes)] = slopes[:n_steps]
    return route_reference(runoff, links, *filters, substeps=substeps, **modes)[0][0]


def laterals(scheme: object) -> tuple[str, ...]:
    return ("head", "interval", "outlet") if scheme in INTERVAL else ("head", "outlet")


CASES = [(s, lateral) for s in (*SCHEMES, "mixed") for lateral in laterals(s)]


@pytest.mark.parametrize(("scheme", "lateral"), CASES)
@pytest.mark.parametrize(("substeps", "sampling"), [(1, "mean"), (1, "start-mean"), (3, "mean"), (3, "last"), (4, "start-mean")])
def test_any_pair_is_an_impulse_routed_and_its_moments_the_travel_time(scheme, lateral, substeps, sampling):
    """Down branches that part and meet again; response against the reference, travel time against both."""
    rng = np.random.default_rng(CASES.index((scheme, lateral)))
    drawn = topology("bifurcating", 8, rng)
    schemes = rng.permutation(np.resize(SCHEMES, 8)) if scheme == "mixed" else scheme
    dataset = network_dataset(drawn, make_ids("beyond_2_53", 8, rng), schemes, rng)
    slopes = [0.25, 0.5, 0.0, 0.25]
    options = {"substeps": substeps, "sampling": sampling, "lateral": lateral}
    network, ids = xroute.Network(dataset), dataset.reach.values
    found = network.response(list(ids), list(ids), "1h", hillslope=slopes, **options)
    n = found.sizes["time"]
    expected = np.stack([truth(dataset, drawn.links, s, n, slopes=slopes, **options) for s in range(8)])
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-9)  # windows are cut at the same tap, and scaled alike
    routed = xr.concat(
        [xroute.route(impulse(ids, i, n), network, dt="1h", hillslope=slopes, **options) for i in ids], "source"
    )
    np.testing.assert_allclose(found.values, routed.sel(reach=ids).transpose("source", "reach", "time"), rtol=0, atol=1e-12)

    times = network.travel_time(list(ids), "1h", hillslope=slopes, **options).transpose("reach", "target")
    step, share = np.arange(n), found.sum("time").values
    np.testing.assert_allclose(times["share"], share, rtol=1e-12, atol=1e-15)
    got = share != 0
    mean = (found.values * step).sum(-1)[got] / share[got]
    np.testing.assert_allclose(times["mean"].values[got], mean * DT, rtol=1e-9, atol=1e-6)
    variance = (found.values[got] * (step - mean[:, None]) ** 2).sum(-1) / share[got]
    np.testing.assert_allclose(times["spread"].values[got] ** 2, variance * DT**2, rtol=1e-9, atol=1e-6 * DT)
    assert got.sum() > 12 and np.isnan(times["mean"].values[~got]).all() and np.isnan(times["spread"].values[~got]).all()


@settings(max_examples=25)
@given(networks(max_size=9), st.sampled_from(SAMPLING), st.integers(1, 3), st.data())
def test_all_sources_of_one_target_at_once_are_each_by_itself(drawn, sampling, substeps, data):
    dataset, _ = drawn
    network, ids = xroute.Network(dataset), dataset.reach.values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = data.draw(st.sampled_from(ids.tolist()))
        sources = data.draw(st.permutations(ids.tolist()))
        options = {"sampling": sampling, "substeps": substeps}
        together = network.response(sources, target, DT, **options)
        assert together.dims == ("source", "time") and together.source.values.tolist() == sources
        for source in sources:
            alone = network.response(source, target, DT, **options)
            assert alone.dims == ("time",) and alone.source.item() == source and alone.target.item() == target
            both = xr.align(together.sel(source=source), alone, join="outer", fill_value=0.0)
            np.testing.assert_allclose(both[0], both[1], rtol=0, atol=1e-14)


# ---------------------------------------------------------------- lengths and labels


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_ends_when_all_is_over_and_sums_to_one(scheme):
    river = xroute.Network(chain(4, scheme, **{n: (v, UNITS[n]) for n, v in TRUTH[scheme].of_duration(2.5 * DT).items()}))
    found = river.response(1, 4, "1h")
    assert found.sum().item() == pytest.approx(1.0, rel=1e-12)
    n = found.sizes["time"]
    longer = river.response(1, 4, "1h", n_steps=2 * n)
    np.testing.assert_array_equal(found, longer[:n])
    assert 0 < np.abs(found[-1]) and np.abs(longer[n:]).sum() <= 1.1e-15  # not one step too many
    short = river.response(1, 4, "1h", n_steps=3)
    np.testing.assert_array_equal(short, found[:3])


def test_labels_units_and_lags():
    river = xroute.Network(chain(3, "pure_lag", delay=([1.0, 2.0, 3.0], "h")))
    found = river.response([3, 1], [3, 2], dt=pd.Timedelta("30min"))
    assert found.dims == ("source", "target", "time") and found.name == "response" and found.attrs["units"] == "1"
    assert found.source.values.tolist() == [3, 1] and found.target.values.tolist() == [3, 2]
    assert found.time.dtype.kind == "m" and found.time.values[1] == np.timedelta64(30, "m")
    assert found.sel(source=1, target=3).idxmax().values == np.timedelta64(6, "h")
    assert (found.sel(source=3, target=2) == 0).all()  # upstream of it
    one = river.response([1], 3, dt=1800)
    assert one.dims == ("source", "time")
    np.testing.assert_array_equal(one[0], river.response(xr.DataArray(1), np.int64(3), dt=1800))
    again = river.response([1, 1], [2, 2], "1h")
    assert again.shape[:2] == (2, 2) and (again[0, 0] == again[1, 1]).all()
    frame = chain(3, "pure_lag", delay=([1.0, 2.0, 3.0], "h"))
    xr.testing.assert_identical(frame.river.response(1, 3, "1h"), river.response(1, 3, "1h"))
    xr.testing.assert_identical(frame.river.travel_time(dt="1h"), river.travel_time(dt="1h"))


def test_lags_of_centuries_are_durations_still():
    river = xroute.Network(chain(1, "pure_lag", delay=(1e10, "s")))
    found = river.response(1, 1, dt=1e9, n_steps=20)
    assert found.argmax("time").item() == 10 and found.time.values[19] == np.timedelta64(19 * 10**9, "s")
    river = xroute.Network(chain(1, "pure_lag", delay=(1.0, "s")))
    assert river.response(1, 1, dt=0.25, n_steps=3).time.values[2] == np.timedelta64(500, "ms")


def test_text_ids_and_the_networks_own_recipe():
    ids = ["Aare", "Rhein", "Nordsee"]
    river = xroute.Network.from_links(
        ids[:2], ids[1:], parameters={"k": 5400.0, "x": 0.1},
        attrs={"scheme": "muskingum", "runoff_step": 10800.0, "routing_step": 3600.0, "sampling": "last", "lateral": "interval"},
    )  # fmt: skip
    found = river.response("Aare", "Nordsee")
    assert found.dims == ("time",) and found.attrs["substeps"] == 3 and found.attrs["lateral"] == "interval"
    routed = xroute.route(impulse(np.array(ids), "Aare", found.size, 10800.0), river)
    np.testing.assert_allclose(found, routed.sel(reach="Nordsee"), rtol=0, atol=1e-13)
    assert river.travel_time("Nordsee")["mean"].sel(reach="Aare").item() == pytest.approx(
        (found.values * np.arange(found.size)).sum() * 10800.0, rel=1e-9
    )


def test_only_what_lies_between_is_routed(monkeypatch):
    """A million reaches beside the way cost nothing: they are not in the part that is routed."""
    rng = np.random.default_rng(1)
    river = xroute.Network(network_dataset(topology("tree", 400, rng), make_ids("small", 400, rng), "linear_storage", rng))
    sizes = []
    whole = responses.route_block
    monkeypatch.setattr(responses, "route_block", lambda *a, **k: sizes.append(a[1].n_reaches) or whole(*a, **k))
    outlet = river.outlets[0]
    source = river.headwaters[0]
    river.response(source, outlet, "1h")
    assert 1 < max(sizes) < 60


def test_convolutions_with_responses_are_routing():
    rng = np.random.default_rng(5)
    drawn = topology("tree", 12, rng)
    river = xroute.Network(network_dataset(drawn, make_ids("small", 12, rng), "muskingum_exact", rng))
    runoff = xr.DataArray(
        rng.random((12, 60)), {"reach": river.ids, "time": pd.date_range("2001", periods=60, freq="h")}, attrs={"units": "m3 s-1"}
    )
    outlet = river.outlets[0]
    unit = river.response(river.ids, outlet, "1h", n_steps=60)
    found = sum(np.convolve(runoff.sel(reach=i), unit.sel(source=i))[:60] for i in river.ids)
    np.testing.assert_allclose(found, runoff.route(river).sel(reach=outlet), rtol=1e-12)


# ---------------------------------------------------------------- travel times in closed form


@pytest.mark.parametrize("substeps", [1, 6])
def test_closed_forms(substeps):
    """Sums of n equal reaches: implicit reservoirs have tau^2 + tau h, Muskingum k^2 (1 - 2x), at any step h."""
    h = DT / substeps
    storage = xroute.Network(chain(5, "linear_storage", tau=(7200.0, "s"))).travel_time(5, "1h", substeps=substeps)
    np.testing.assert_allclose(storage["mean"], 7200.0 * np.arange(5, 0, -1), rtol=1e-13)
    wedge = xroute.Network(chain(5, "muskingum", k=(5000.0, "s"), x=0.2)).travel_time(5, "1h", substeps=substeps)
    np.testing.assert_allclose(wedge["mean"], 5000.0 * np.arange(5, 0, -1), rtol=1e-13)
    if substeps == 1:
        np.testing.assert_allclose(storage["spread"] ** 2, (7200.0**2 + 7200.0 * h) * np.arange(5, 0, -1), rtol=1e-12)
        np.testing.assert_allclose(wedge["spread"] ** 2, 5000.0**2 * 0.6 * np.arange(5, 0, -1), rtol=1e-12)
    lag = xroute.Network(chain(2, "pure_lag", delay=([1.0, 4.0], "h"))).travel_time(2, "1h", substeps=substeps)
    np.testing.assert_allclose(lag["mean"], [5 * DT, 4 * DT], rtol=1e-14)
    np.testing.assert_allclose(lag["spread"], 0.0, atol=1e-4)


def ways(network: xroute.Network, reach: int, ends: set[int]) -> Iterator[tuple[float, list[int]]]:
    """All ways from a reach to where it ends, with their shares."""
    if reach in ends:
        yield 1.0, [reach]
        return
    up, down, fraction = network.links
    for link in np.flatnonzero(up == reach):
        yield from ((fraction[link] * share, [reach, *way]) for share, way in ways(network, int(down[link]), ends))


@pytest.mark.parametrize("seed", range(5))
def test_branches_are_mixtures_of_all_ways(seed):
    rng = np.random.default_rng(seed)
    drawn = topology("bifurcating", 10, rng)
    dataset = network_dataset(drawn, make_ids("small", 10, rng), "linear_storage", rng)
    network = xroute.Network(dataset)
    ends = set(network.position(network.outlets).tolist())
    tau = dataset["tau"].values
    found = network.travel_time(dt="1h")
    assert found["mean"].dims == ("reach",)
    for i in range(10):
        shares, paths = zip(*ways(network, i, ends), strict=True) if list(ways(network, i, ends)) else ((), ())
        share = np.array(shares)
        mean = np.array([tau[way].sum() for way in paths])
        square = np.array([(tau[way] ** 2 + tau[way] * DT).sum() for way in paths]) + mean**2
        assert found["share"][i].item() == pytest.approx(share.sum(), abs=1e-14)
        if share.sum():
            middle = (share * mean).sum() / share.sum()
            assert found["mean"][i].item() == pytest.approx(middle, rel=1e-12)
            assert found["spread"][i].item() ** 2 == pytest.approx((share * square).sum() / share.sum() - middle**2, rel=1e-9)


def test_a_long_river_and_a_lake_in_one_pass():
    """A thousand reaches, and a lake of a year, whose response would be hundreds of thousands of steps long."""
    river = chain(1001, "linear_storage", tau=([600.0] * 1000 + [365 * 86400.0], "s"))
    found = xroute.Network(river).travel_time(dt="1h")
    assert found["mean"][0].item() == pytest.approx(600e3 + 365 * 86400.0, rel=1e-12)
    lake = 365 * 86400.0
    assert found["spread"][0].item() ** 2 == pytest.approx(1000 * (600.0**2 + 600.0 * DT) + lake**2 + lake * DT, rel=1e-10)


def test_other_order_other_bits_none():
    rng = np.random.default_rng(3)
    dataset = network_dataset(topology("bifurcating", 30, rng), make_ids("string", 30, rng), "hayami", rng)
    one = xroute.Network(dataset).travel_time(dt="1h", substeps=2)
    other = xroute.Network(dataset.isel(reach=rng.permutation(30))).travel_time(dt="1h", substeps=2)
    for name in ("mean", "spread", "share"):
        np.testing.assert_allclose(other[name].sel(reach=one.reach), one[name], rtol=1e-12)


# ---------------------------------------------------------------- errors


def test_what_cannot_be_answered_says_so():
    river = xroute.Network(chain(3, "linear_storage", tau=(1e9, "s")))
    with pytest.raises(xroute.NetworkError, match="not in the network: 7"):
        river.response(7, 3, "1h")
    with pytest.raises(xroute.NetworkError, match="not in the network: 7"):
        river.travel_time(7, "1h")
    with pytest.raises(xroute.TimeAxisError, match="dt="):
        river.response(1, 3)
    with pytest.raises(xroute.TimeAxisError, match="dt="):
        river.travel_time()
    with pytest.raises(xroute.ParameterError, match="longer than 4,194,304 steps.*n_steps="):
        river.response(3, 3, "1h")
    assert river.response(1, 3, "1h", n_steps=5).sizes["time"] == 5
    for wrong in (0, 1.5, True, "3"):
        with pytest.raises(xroute.ParameterError, match="n_steps"):
            river.response(1, 3, "1h", n_steps=wrong)
    with pytest.raises(xroute.ParameterError, match="no reach"):
        river.response([], 3, "1h")
    with pytest.raises(xroute.ParameterError, match="sampling"):
        river.response(1, 3, "1h", sampling="first")


def test_reaches_that_oscillate_are_told_of_as_in_routing():
    river = xroute.Network(chain(3, "muskingum", k=(600.0, "s"), x=0.3))
    with pytest.warns(UserWarning, match="muskingum reaches are outside"):
        found = river.response(1, 3, "1h")
    assert found.min() < 0 and found.sum().item() == pytest.approx(1.0, rel=1e-12)


def test_links_of_no_share_lead_nowhere():
    dataset = small_network({1: 0, 2: 0, 3: 0}, "linear_storage", tau=(3600.0, "s")).drop_vars("downstream")
    dataset["upstream_reach"], dataset["downstream_reach"] = ("link", [1, 1]), ("link", [2, 3])
    dataset["fraction"] = ("link", [0.0, 1.0])
    river = xroute.Network(dataset)
    assert river.response(1, [2, 3], "1h").sum("time").values == pytest.approx([0.0, 1.0])
    times = river.travel_time([2, 3], "1h").sel(reach=1)
    assert times["share"].values.tolist() == [0.0, 1.0] and np.isnan(times["mean"][0])
