"""Reaches and links of a network Dataset: facts, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.sparse import coo_array, csgraph

from xroute.exceptions import NetworkError, some
from xroute.inspection.report import Report
from xroute.network import Network
from xroute.settings import MissingDownstream
from xroute.topology import read_ids, read_links

__all__ = ["inspect_topology", "reaches_alone", "without_repeated"]


def without_repeated(dataset: xr.Dataset, report: Report) -> xr.Dataset:
    """Report reaches that stand more than once, and go on with the first of each."""
    index = dataset.indexes.get("reach")
    if index is None or index.is_unique:
        return dataset
    repeated = index[index.duplicated()].unique()
    report.problems.append(f"{len(repeated)} reach ids stand more than once: {some(repeated)}")
    return dataset.isel(reach=~index.duplicated())


def reaches_alone(dataset: xr.Dataset) -> Network | None:
    """The reaches alone, of a network whose links cannot be mended, so that the rest is inspected; None without ids."""
    if "reach" not in dataset.coords:
        return None
    nowhere = ("no_link", dataset["reach"].to_numpy()[:0])
    dataset = dataset.drop_vars(["downstream", "upstream_reach", "downstream_reach", "fraction"], errors="ignore")
    try:
        return Network(dataset.assign(upstream_reach=nowhere, downstream_reach=nowhere))
    except NetworkError:  # of the ids, and reported already
        return None


def inspect_topology(dataset: xr.Dataset, report: Report, missing_downstream: MissingDownstream) -> Network | None:
    """Add facts and problems of reaches and links, and return the Network as far as it can be mended."""
    try:
        network = Network(dataset, missing_downstream=missing_downstream)
    except NetworkError as error:
        report.problems.append(str(error))
        try:
            network = Network(dataset, missing_downstream="outlet")
        except NetworkError as second:
            if str(second) != str(error):
                report.problems.append(str(second))
            _cycles(dataset, report)
            report.facts.append(("reaches", f"{dataset.sizes.get('reach', 0):,}"))
            return None
    if not network.n_reaches:
        report.problems.append("the network is empty: it has no reaches")
    outlets = network.outlets
    report.facts.append(("reaches", f"{network.n_reaches:,} ({network.headwaters.size:,} headwaters)"))
    report.facts.append(("links", f"{network.links[0].size:,}{', with bifurcations' * network.has_bifurcations}"))
    report.facts.append(("outlets", f"{outlets.size:,}"))
    if network.n_reaches:
        basins, sizes = np.unique(network.basins.values, return_counts=True)
        largest = int(sizes.argmax())
        share = sizes[largest] / network.n_reaches
        report.facts.append(
            (
                "basins",
                f"{basins.size:,}, the largest at {basins[largest]} with {sizes[largest]:,} reaches ({share:.0%})",
            )
        )
    report.facts.append(("longest path", f"{network.depth:,} reaches"))
    orders, counts = np.unique(network.strahler.values, return_counts=True)
    report.facts.append(
        ("Strahler orders", ", ".join(f"{order}: {count:,}" for order, count in zip(orders, counts, strict=True)))
    )
    return network


def _cycles(dataset: xr.Dataset, report: Report) -> None:
    """Add how many cycles there are, when it is more than the one that an error names."""
    try:
        ids = read_ids(dataset)
        links = read_links(dataset, ids, "outlet")
    except NetworkError:  # reported already
        return
    graph = coo_array((np.ones(links.upstream.size), (links.upstream, links.downstream)), (ids.size, ids.size))
    _, label = csgraph.connected_components(graph.tocsr(), connection="strong")
    sizes = np.bincount(label)
    if (sizes > 1).sum() > 1:
        first = ids[np.unique(label, return_index=True)[1][sizes > 1]]
        report.problems.append(f"there are {first.size} cycles in all; a reach of each: {some(first)}")
