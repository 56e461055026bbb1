"""Network: what the Dataset must hold, what bad ones get, and what can be asked of a good one."""

from __future__ import annotations

import pickle
import re

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import ID_KINDS, chain, make_ids, network_dataset, networks, runoff_array, small_network, topology

import xroute
from xroute import Network
from xroute.exceptions import NetworkError, XRouteError


@pytest.fixture
def basin() -> xr.Dataset:
    r"""Two rivers and an island.

    1   2   3        7
     \ /   /         |
      4   /          8      9
       \ /
        5
        |
        6
    """
    network = small_network({6: 0, 3: 5, 1: 4, 9: 0, 5: 6, 4: 5, 2: 4, 8: 0, 7: 8}, "muskingum", k=(1.0, "h"), x=0.1)
    network["length"] = ("reach", network.reach.values * 100.0, {"units": "m"})
    return network


def links_dataset(reaches, links, **fraction) -> xr.Dataset:
    upstream, downstream = zip(*links, strict=True)
    shares = fraction.get("fraction", [1.0] * len(links))
    return xr.Dataset(
        {
            "upstream_reach": ("link", list(upstream)),
            "downstream_reach": ("link", list(downstream)),
            "fraction": ("link", shares),
            "tau": ("reach", [1.0] * len(reaches), {"units": "h"}),
        },
        coords={"reach": list(reaches)},
        attrs={"scheme": "linear_storage"},
    )


def named_links(network: Network) -> set:
    upstream, downstream, fraction = network.links
    return set(zip(network.ids[upstream].tolist(), network.ids[downstream].tolist(), fraction.tolist(), strict=True))


# ---------------------------------------------------------------- outlets


@pytest.mark.parametrize(
    ("downstream", "attrs"),
    [
        ([2, 3, 0], {}),
        ([2, 3, -1], {}),
        ([2, 3, -9999], {}),
        ([2.0, 3.0, np.nan], {}),
        ([2, 3, 777], {"outlet": 777}),
        (np.array([2, 3, 0], dtype="int32"), {}),
    ],
)
def test_outlet_markers(downstream, attrs):
    network = chain(3)
    network["downstream"] = ("reach", downstream, attrs)
    assert Network(network).outlets.tolist() == [3]
    assert named_links(Network(network)) == {(1, 2, 1.0), (2, 3, 1.0)}


@pytest.mark.parametrize("marker", ["", "0"])
def test_outlet_markers_of_strings(marker):
    network = xr.Dataset({"downstream": ("reach", ["b", "c", marker])}, coords={"reach": ["a", "b", "c"]})
    if marker:
        with pytest.raises(NetworkError, match="'0'"):
            Network(network)
        network["downstream"].attrs["outlet"] = "0"
    assert Network(network).outlets.tolist() == ["c"]


def test_objects_with_none_and_nan_are_outlets():
    for missing in (None, np.nan):
        downstream = np.array(["b", missing, missing], dtype=object)
        network = xr.Dataset({"downstream": ("reach", downstream)}, coords={"reach": ["a", "b", "c"]})
        assert set(Network(network).outlets.tolist()) == {"b", "c"}


def test_negative_numbers_and_zero_can_be_ids():
    network = small_network({-5: -3, -3: 0, 0: 7, 7: -1}, "linear_storage", tau=1.0)
    built = Network(network)
    assert built.outlets.tolist() == [7]
    assert named_links(built) == {(-5, -3, 1.0), (-3, 0, 1.0), (0, 7, 1.0)}


def test_a_marker_that_is_given_is_the_only_one():
    network = chain(3)
    network["downstream"] = ("reach", [2, 777, 0], {"outlet": 777})
    with pytest.raises(NetworkError, match=r"\b0\b"):
        Network(network)


# ---------------------------------------------------------------- what is refused


def test_unknown_downstream_is_counted_and_ten_named():
    network = small_network({**{i: 1000 + i for i in range(1, 31)}, 31: 30}, "linear_storage", tau=1.0)
    with pytest.raises(NetworkError) as error:
        Network(network)
    message = str(error.value)
    assert "30" in message and "1001" in message and "1010" in message and "1011" not in message
    assert "missing_downstream" in message
    accepted = Network(network, missing_downstream="outlet")
    assert accepted.outlets.size == 30 and accepted.links[0].size == 1
    with pytest.raises(ValueError, match="missing_downstream"):
        Network(network, missing_downstream="ignore")


def test_unknown_ids_of_links():
    for links in ([(1, 2), (2, 99)], [(99, 2), (1, 2)]):
        with pytest.raises(NetworkError, match="99"):
            Network(links_dataset([1, 2], links))


def test_cycles_name_the_ids_around_one():
    network = small_network({101: 102, 102: 130, 130: 140, 140: 102, 555: 101, 666: 0}, "linear_storage", tau=1.0)
    with pytest.raises(NetworkError, match="(?i)cycle") as error:
        Network(network)
    named = re.findall(r"\b(\d{3})\b", str(error.value))
    start = named.index("102")
    assert set(named) == {"102", "130", "140"}  # not what merely drains to it
    assert (named[start:] + named[:start])[:3] == ["102", "130", "140"]  # in the direction of flow


def test_a_reach_that_drains_to_itself():
    with pytest.raises(NetworkError, match="(?i)cycle|itself") as error:
        Network(small_network({1: 2, 2: 2}, "linear_storage", tau=1.0))
    assert "2" in str(error.value)


def test_cycles_among_links():
    with pytest.raises(NetworkError, match="(?i)cycle"):
        Network(links_dataset([1, 2, 3], [(1, 2), (2, 3), (3, 2)], fraction=[1.0, 0.5, 1.0]))


def test_a_long_cycle_is_shortened_in_the_message():
    n = 5000
    network = small_network({i: i % n + 1 for i in range(1, n + 1)}, "linear_storage", tau=1.0)
    with pytest.raises(NetworkError, match="(?i)cycle") as error:
        Network(network)
    assert len(str(error.value)) < 1000 and "5000" in str(error.value)


def test_duplicate_ids():
    network = chain(4).assign_coords(reach=[1, 2, 2, 4])
    with pytest.raises(NetworkError, match="(?i)duplicate|more than once|unique|twice") as error:
        Network(network)
    assert "2" in str(error.value)


def test_fractions_beyond_one():
    with pytest.raises(NetworkError, match="(?i)fraction") as error:
        Network(links_dataset([11, 12, 13], [(11, 12), (11, 13)], fraction=[0.7, 0.4]))
    assert "11" in str(error.value) and "1.1" in str(error.value)
    Network(links_dataset([11, 12, 13], [(11, 12), (11, 13)], fraction=[0.7, 0.3 + 1e-15]))


@pytest.mark.parametrize("share", [-0.1, np.nan, np.inf, 1.5])
def test_impossible_fractions(share):
    with pytest.raises(NetworkError, match="(?i)fraction") as error:
        Network(links_dataset([11, 12], [(11, 12)], fraction=[share]))
    assert "11" in str(error.value)


def test_the_same_link_twice():
    links = links_dataset([11, 12], [(11, 12), (11, 12)], fraction=[0.5, 0.5])
    try:
        assert named_links(Network(links)) == {(11, 12, 1.0)} or Network(links).links[2].sum() == 1.0
    except NetworkError as error:
        assert "11" in str(error)


@pytest.mark.parametrize(
    ("dataset", "word"),
    [
        (xr.Dataset({"downstream": ("reach", [2, 0])}), "reach"),  # no ids
        (xr.Dataset(coords={"reach": [1, 2]}), "downstream"),
        (xr.Dataset({"downstream": ("node", [2, 0])}, coords={"node": [1, 2]}), "reach"),
        (xr.Dataset({"downstream": ("reach", [2.0, 0.5])}, coords={"reach": [1, 2]}), "0.5"),
        (xr.Dataset({"downstream": ("reach", ["2", ""])}, coords={"reach": [1, 2]}), "downstream"),
        (xr.Dataset({"downstream": ("reach", [2, 0])}, coords={"reach": ["1", "2"]}), "downstream"),
        (xr.Dataset({"downstream": ("reach", [2, 0])}, coords={"reach": [1.5, 2.0]}), "reach"),
        (xr.Dataset({"downstream": ("reach", [2, 0])}, coords={"reach": [1.0, np.nan]}), "reach"),
        (xr.Dataset({"upstream_reach": ("link", [1])}, coords={"reach": [1, 2]}), "downstream_reach"),
    ],
)
def test_what_is_no_network(dataset, word):
    with pytest.raises(NetworkError) as error:
        Network(dataset)
    assert word in str(error.value)


def test_a_network_is_a_dataset():
    for other in (pd.DataFrame({"a": [1]}), 3, None, np.zeros(3)):
        with pytest.raises((TypeError, XRouteError), match="Dataset"):
            Network(other)


def test_ids_beyond_2_53_do_not_pass_through_floats():
    """NaN makes a column float, and a float cannot tell these ids apart; to guess would be to misroute."""
    ids = np.array([2**53, 2**53 + 1, 2**53 + 2])
    network = xr.Dataset({"downstream": ("reach", [float(2**53), np.nan, float(2**53)])}, coords={"reach": ids})
    with pytest.raises(NetworkError, match="float"):
        Network(network)
    network["downstream"] = ("reach", [2**53 + 1, 0, 2**53 + 1])
    assert named_links(Network(network)) == {(2**53, 2**53 + 1, 1.0), (2**53 + 2, 2**53 + 1, 1.0)}


def test_unsigned_ids_beyond_int64():
    ids = np.array([2**63 + 1, 5], dtype="uint64")
    network = xr.Dataset({"downstream": ("reach", np.array([5, 0], "uint64"))}, coords={"reach": ids})
    with pytest.raises(NetworkError, match="int64|63"):
        Network(network)


# ---------------------------------------------------------------- what can be asked


def test_topology(basin):
    network = Network(basin)
    assert network.n_reaches == 9 and network.depth == 4
    assert network.ids.tolist() == basin.reach.values.tolist()
    assert set(network.outlets.tolist()) == {6, 8, 9}
    assert set(network.headwaters.tolist()) == {1, 2, 3, 7, 9}
    assert not network.has_bifurcations
    strahler = network.strahler
    assert strahler.dims == ("reach",)
    assert strahler.sel(reach=[1, 2, 3, 4, 5, 6, 7, 8, 9]).values.tolist() == [1, 1, 1, 2, 2, 2, 1, 1, 1]
    assert network.basins.sel(reach=[1, 2, 3, 4, 5, 6, 7, 8, 9]).values.tolist() == [6] * 6 + [8, 8, 9]
    assert sorted(network.upstream(5).tolist()) == [1, 2, 3, 4, 5]
    assert network.upstream(9).tolist() == [9]
    assert network.position([4, 6]).tolist() == [5, 0]
    for call in (network.upstream, network.basin, network.subset, lambda i: network.position([i])):
        with pytest.raises(XRouteError, match="404"):
            call(404)


def test_basin_and_subset(basin):
    network = Network(basin)
    part = network.basin(5)
    assert sorted(part.ids.tolist()) == [1, 2, 3, 4, 5] and part.outlets.tolist() == [5]
    assert part.dataset.sel(reach=4)["length"].item() == 400.0 and part.dataset.attrs["scheme"] == "muskingum"
    two = network.subset([4, 8])
    assert sorted(two.ids.tolist()) == [1, 2, 4, 7, 8] and set(two.outlets.tolist()) == {4, 8}
    runoff = runoff_array(network.ids, 6, np.random.default_rng(0))
    whole = xroute.route(runoff, network)
    np.testing.assert_array_equal(
        xroute.route(runoff, part, extra="drop").sel(reach=5).values, whole.sel(reach=5).values
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 14), st.integers(0, 2**32 - 1), st.sampled_from(ID_KINDS))
def test_basins_follow_the_largest_fraction(n, seed, kind):
    """However links and reaches are ordered; found by walking down from each reach."""
    rng = np.random.default_rng(seed)
    drawn = topology("bifurcating", n, rng)
    ids = make_ids(kind, drawn.n_reaches, rng)
    basins = Network(network_dataset(drawn, ids, "linear_storage", rng)).basins
    for start in range(drawn.n_reaches):
        here = start
        while (out := np.flatnonzero(drawn.upstream == here)).size:
            here = drawn.downstream[out[drawn.fraction[out].argmax()]]
        assert basins.sel(reach=ids[start]).item() == ids[here]


def test_basin_of_a_bifurcating_network():
    links = links_dataset([1, 2, 3, 4], [(1, 2), (1, 3), (2, 4)], fraction=[0.5, 0.5, 1.0])
    network = Network(links)
    assert network.has_bifurcations
    assert sorted(network.upstream(4).tolist()) == [1, 2, 4]
    assert network.basins.sel(reach=4).item() == 4 and network.basins.sel(reach=3).item() == 3
    part = network.basin(4)
    assert named_links(part) == {(1, 2, 0.5), (2, 4, 1.0)}  # what went to 3 now leaves the network
    runoff = runoff_array(network.ids, 6, np.random.default_rng(0))
    np.testing.assert_array_equal(
        xroute.route(runoff, part, extra="drop").sel(reach=4).values, xroute.route(runoff, network).sel(reach=4).values
    )


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_sort_puts_upstream_first(data):
    dataset, drawn = data.draw(networks())
    network = Network(dataset)
    ordered = network.sort()
    upstream, downstream, _ = ordered.links
    assert (upstream < downstream).all()
    assert named_links(ordered) == named_links(network)
    assert sorted(ordered.ids.tolist()) == sorted(network.ids.tolist())
    assert ordered.depth == network.depth
    assert set(ordered.outlets.tolist()) == set(network.outlets.tolist())
    np.testing.assert_array_equal(ordered.strahler.sel(reach=network.ids).values, network.strahler.values)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_topology_against_networkx(data):
    dataset, drawn = data.draw(networks())
    network = Network(dataset)
    graph = nx.DiGraph()
    graph.add_nodes_from(network.ids.tolist())
    graph.add_edges_from([(u, d) for u, d, _ in named_links(network)])
    assert network.depth == nx.dag_longest_path_length(graph) + 1
    assert set(network.outlets.tolist()) == {node for node in graph if graph.out_degree(node) == 0}
    assert set(network.headwaters.tolist()) == {node for node in graph if graph.in_degree(node) == 0}
    for node in list(graph)[:4]:
        assert set(network.upstream(node).tolist()) == nx.ancestors(graph, node) | {node}
    assert network.has_bifurcations == any(graph.out_degree(node) > 1 for node in graph)


# ---------------------------------------------------------------- conversions


def test_edges_without_a_fraction_take_the_whole_flow():
    graph = nx.DiGraph([(3, 4)])
    graph.add_edge(1, 2, fraction=0.25)
    graph.add_edge(1, 3, fraction=0.5)
    assert named_links(Network.from_networkx(graph)) == {(1, 2, 0.25), (1, 3, 0.5), (3, 4, 1.0)}


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_networkx_round_trip(data):
    dataset, _ = data.draw(networks())
    network = Network(dataset)
    back = Network.from_networkx(network.to_networkx())
    assert named_links(back) == named_links(network)
    assert set(back.ids.tolist()) == set(network.ids.tolist())
    for name, variable in dataset.data_vars.items():
        if variable.dims == ("reach",) and variable.dtype.kind == "f":
            np.testing.assert_array_equal(back.dataset[name].sel(reach=network.ids).values, variable.values)


def test_from_links_and_from_dataframe(basin):
    expected = named_links(Network(basin))
    upstream, downstream, _ = zip(*expected, strict=True)
    from_links = Network.from_links(np.array(upstream), np.array(downstream))
    assert named_links(from_links) == expected
    frame = pd.DataFrame({"id": basin.reach.values, "to": basin.downstream.values, "k": 3600.0, "x": 0.1})
    from_frame = Network.from_dataframe(frame, reach="id", downstream="to")
    assert named_links(from_frame) == expected
    assert from_frame.dataset["k"].sel(reach=4).item() == 3600.0
    back = Network(basin).to_dataframe()
    assert len(back) == 9 and {"k", "x"} <= set(back.columns)


@pytest.mark.parametrize(
    ("reach", "downstream", "outlet"),
    [("COMID", "NextDownID", 0), ("LINKNO", "DSLINKNO", -1), ("HYRIV_ID", "NEXT_DOWN", 0), ("id", "toid", 0)],
)
def test_presets_of_the_common_hydrographies(reach, downstream, outlet):
    frame = pd.DataFrame({reach: [71000001, 71000002, 71000003], downstream: [71000002, 71000003, outlet]})
    network = Network.from_dataframe(frame)
    assert network.outlets.tolist() == [71000003]
    assert network.ids.tolist() == [71000001, 71000002, 71000003]


def test_a_data_frame_without_known_columns_says_which_it_has(basin):
    with pytest.raises(XRouteError, match="number") as error:
        Network.from_dataframe(pd.DataFrame({"number": [1], "next": [0]}))
    assert "reach" in str(error.value)
    with pytest.raises(XRouteError, match="nowhere"):
        Network.from_dataframe(pd.DataFrame({"number": [1], "next": [0]}), reach="number", downstream="nowhere")


# ---------------------------------------------------------------- snapshots and caches


def test_the_dataset_is_neither_changed_nor_watched(basin):
    before = basin.copy(deep=True)
    network = Network(basin)
    _ = network.strahler, network.depth, network.basins, network.upstream(6), network.sort()
    runoff = runoff_array(basin.reach.values, 5, np.random.default_rng(0))
    expected = xroute.route(runoff, network)
    xr.testing.assert_identical(basin, before)
    basin["downstream"].values[:] = 0
    basin["k"].values[:] = 100.0
    basin.attrs["scheme"] = "pure_lag"
    np.testing.assert_array_equal(xroute.route(runoff, network).values, expected.values)  # a snapshot
    assert set(network.outlets.tolist()) == {6, 8, 9}


def test_the_networks_arrays_are_read_only(basin):
    network = Network(basin)
    for values in (network.ids, *network.links, network.dataset["k"].values, network.dataset["downstream"].values):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = values[1]


def test_river_gives_no_stale_answers(basin):
    assert set(basin.river.outlets.tolist()) == {6, 8, 9}
    basin["downstream"].values[basin.reach.values == 5] = 0
    assert set(basin.river.outlets.tolist()) == {5, 6, 8, 9}
    basin["downstream"] = ("reach", np.zeros(9, int))
    assert basin.river.outlets.size == 9
    assert basin.river.strahler.values.tolist() == [1] * 9


def test_routing_a_dataset_follows_its_changes(basin):
    runoff = runoff_array(basin.reach.values, 5, np.random.default_rng(0))
    slow = xroute.route(runoff, basin)
    basin["k"].values[:] = 0.6
    assert not np.array_equal(xroute.route(runoff, basin).values, slow.values)


@pytest.mark.parametrize("kind", ID_KINDS)
def test_pickling_leaves_caches_behind(kind):
    rng = np.random.default_rng(0)
    drawn = topology("tree", 500, rng)
    dataset = network_dataset(drawn, make_ids(kind, 500, rng), "linear_storage", rng)
    fresh = Network(dataset)
    size = len(pickle.dumps(fresh))
    runoff = runoff_array(dataset.reach.values, 5, rng)
    expected = xroute.route(runoff, fresh)
    _ = fresh.strahler, fresh.depth, fresh.basins, fresh.upstream(fresh.ids[0])
    assert len(pickle.dumps(fresh)) == size
    again = pickle.loads(pickle.dumps(fresh))
    assert again.ids.tolist() == fresh.ids.tolist() and named_links(again) == named_links(fresh)
    np.testing.assert_array_equal(xroute.route(runoff, again).values, expected.values)


def test_a_network_accepts_a_network(basin):
    network = Network(basin)
    assert named_links(Network(network)) == named_links(network)


def test_the_accessor_delegates(basin):
    river = basin.river
    assert sorted(river.upstream(5).tolist()) == [1, 2, 3, 4, 5]
    assert river.strahler.sel(reach=5).item() == 2
    for part in (river.basin(5), river.subset(5)):
        ids = part.reach.values if isinstance(part, xr.Dataset) else part.ids
        assert sorted(ids.tolist()) == [1, 2, 3, 4, 5]
    assert isinstance(river.to_networkx(), nx.DiGraph) and isinstance(river.to_dataframe(), pd.DataFrame)


def test_repr_says_what_it_is(basin):
    text = repr(Network(basin))
    assert "9 reaches" in text and "3 outlets" in text


def test_survives_zarr(tmp_path, basin):
    basin.to_zarr(tmp_path / "network.zarr")
    with xr.open_zarr(tmp_path / "network.zarr") as stored:
        network = Network(stored)
    assert named_links(network) == named_links(Network(basin))
    runoff = runoff_array(basin.reach.values, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(xroute.route(runoff, network).values, xroute.route(runoff, basin).values)


def test_encoded_fill_values_and_times_of_netcdf(tmp_path, basin):
    """netCDF turns k in hours into timedelta64 and ids with a fill value into floats; both still mean the same."""
    basin.to_netcdf(tmp_path / "network.nc")
    with xr.open_dataset(tmp_path / "network.nc", decode_timedelta=True) as stored:
        network = Network(stored)
    runoff = runoff_array(basin.reach.values, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(xroute.route(runoff, network).values, xroute.route(runoff, basin).values)


def test_a_large_network_is_planned_at_once():
    """Neither recursion nor a walk in Python: a chain of 200,000 reaches in random order."""
    rng = np.random.default_rng(0)
    n = 200_000
    ids = rng.permutation(n) + 1
    network = chain(n).isel(reach=ids - 1)
    built = Network(network)
    assert built.depth == n and built.outlets.tolist() == [n] and built.upstream(n).size == n


@pytest.mark.parametrize("marker", [0, -1, np.nan])
def test_from_links_makes_no_reaches_of_outlet_markers(marker):
    network = Network.from_links([1, 2], [2, marker])
    assert network.ids.tolist() == [1, 2] and network.outlets.tolist() == [2]
    assert named_links(network) == {(1, 2, 1.0)}
    assert named_links(Network.from_links([1, 2], [2, marker], reach=[2, 1])) == {(1, 2, 1.0)}
    assert Network.from_links([1, 2], [2, marker]).basin(2).ids.tolist() == [1, 2]
    half = Network.from_links([1, 1], [2, marker], [0.25, 0.75])  # three quarters leave
    assert named_links(half) == {(1, 2, 0.25)}


def test_from_links_with_markers_that_are_reaches_or_text():
    network = Network.from_links([-1, 0], [0, 5])
    assert network.ids.tolist() == [-1, 0, 5] and named_links(network) == {(-1, 0, 1.0), (0, 5, 1.0)}
    assert Network.from_links(["a", "b"], ["b", ""]).ids.tolist() == ["a", "b"]
    assert Network.from_links([1], np.array([None])).ids.tolist() == [1]


def test_the_outlet_marker_of_links_may_be_given():
    links = links_dataset([1, 2], [(1, 2), (2, 777)])
    links["downstream_reach"].attrs["outlet"] = 777
    assert Network(links).outlets.tolist() == [2] and Network(links).sort().outlets.tolist() == [2]
    links["downstream_reach"].attrs["outlet"] = 999
    with pytest.raises(NetworkError, match="777"):
        Network(links)


@pytest.mark.parametrize("attrs", [{}, {"outlet": np.nan}])
def test_parts_of_networks_whose_downstream_cannot_hold_the_marker(attrs):
    unsigned = xr.Dataset(
        {"downstream": ("reach", np.array([2, 9, 2], "uint64"))}, coords={"reach": np.array([0, 2, 5], "uint64")}
    )
    network = Network(unsigned, missing_downstream="outlet")
    assert network.basin(2).outlets.tolist() == [2] and network.basin(0).outlets.tolist() == [0]
    text = xr.Dataset(
        {"downstream": ("reach", ["b", "c", "c"], {"outlet": "the sea"})}, coords={"reach": ["a", "b", "d"]}
    )
    part = Network(text, missing_downstream="outlet").basin("b")
    assert part.dataset["downstream"].values.tolist() == ["b", "the sea"] and part.outlets.tolist() == ["b"]
    floats = xr.Dataset({"downstream": ("reach", [2.0, np.nan], attrs)}, coords={"reach": [1, 2]})
    assert named_links(Network(floats).sort()) == {(1, 2, 1.0)}


def test_answers_that_are_kept_cannot_be_spoilt(basin):
    network = Network(basin)
    for answer in (network.strahler, network.n_upstream, network.basins):
        before = answer.values.copy()
        with pytest.raises(ValueError, match="read-only"):
            answer.values[0] = 99
        np.testing.assert_array_equal(answer.values, before)
    assert network.plan.n_upstream.max() < 99


def test_an_undirected_graph_is_refused():
    with pytest.raises(NetworkError, match="undirected"):
        Network.from_networkx(nx.Graph([(1, 2), (2, 3)]))


def test_ids_are_compared_as_numpy_does_without_its_slow_hashes():
    from xroute.ids import distinct, is_positional, repeated, within

    rng = np.random.default_rng(0)
    for ids in (rng.integers(-50, 50, 200), rng.integers(-50, 50, 200).astype(str), np.zeros(0, np.int64)):
        among = ids[:70]
        assert distinct(ids).tolist() == sorted(set(ids.tolist()))
        assert repeated(ids).tolist() == sorted({i for i in ids.tolist() if ids.tolist().count(i) > 1})
        assert within(ids, among).tolist() == [i in set(among.tolist()) for i in ids.tolist()]
    assert all(is_positional(np.array(v)) for v in ([0, 1, 2], [1, 2], [1.0, 2.0]))
    assert not any(is_positional(np.array(v)) for v in ([2, 3], [0, 2], ["0", "1"], []))


def test_networks_of_links_do_not_ask_for_numpys_slow_hashes(monkeypatch):
    unique = np.unique

    def sorting(values, **options):  # a million ids take five seconds otherwise
        assert options or np.size(values) < 10
        return unique(values, **options)

    monkeypatch.setattr(np, "unique", sorting)
    ids = np.arange(1, 1000) * 1000
    assert Network.from_links(ids[:-1], ids[1:]).n_reaches == 999


def test_a_variable_that_is_asked_for_as_an_attribute_is_pointed_at(basin):
    network = Network(basin.assign(slope=("reach", np.full(basin.sizes["reach"], 0.01))))
    with pytest.raises(AttributeError, match=r"no attribute 'slope': the variable is network\['slope'\]"):
        _ = network.slope
    with pytest.raises(AttributeError, match=r"no attribute 'slopes'$"):
        _ = network.slopes
    assert not hasattr(network, "slope") and pickle.loads(pickle.dumps(network)).ids.tolist() == network.ids.tolist()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("plot", "network.dataset.river.plot"), ("river", "network.dataset.river"), ("to_netcdf", "network.dataset.to_netcdf"),
        ("downstream", "network['downstream']"),
    ],
)  # fmt: skip
def test_what_a_dataset_has_and_a_network_has_not_is_pointed_at(name, place):
    network = Network(xr.Dataset({"downstream": ("reach", [2, 0])}, {"reach": [1, 2]}))
    with pytest.raises(AttributeError, match=rf"a Network has no attribute '{name}': .*{re.escape(place)}$"):
        getattr(network, name)
    assert not hasattr(network, "nothing_of_that_name") and not hasattr(network, "__array__")
