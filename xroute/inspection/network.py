"""Inspection of a network Dataset, with or without its runoff: as many problems as there are, not the first alone."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from scipy.sparse import coo_array, csgraph

from xroute.exceptions import NetworkError, ParameterError, TimeAxisError, UnitsError, some
from xroute.inspection.report import Report
from xroute.inspection.runoff import inspect_as_routed, inspect_memory, inspect_runoff
from xroute.network import Network
from xroute.parameters import check_steps, schemes_of
from xroute.placeholders import find_placeholders, how_to_estimate
from xroute.recipe import recipe_in_words, resolve_recipe, resolve_step
from xroute.schemes import SCHEMES, Parameter, Scheme
from xroute.settings import MissingDownstream
from xroute.time_dims import find_time_dim
from xroute.times import time_step
from xroute.topology import read_ids, read_links
from xroute.units import dataset_without_pint, to_si, without_pint

__all__ = ["inspect_network"]


def inspect_network(
    dataset: xr.Dataset,
    *,
    runoff: xr.DataArray | None = None,
    dt: float | None = None,
    substeps: int | None = None,
    steps: int | None = None,
    dtype: Any = "float32",
    scheme: str | None = None,
    missing_downstream: MissingDownstream = "raise",
    reach_dim: Hashable | None = None,
    time_dim: Hashable | None = None,
) -> Report:
    """Say what a network Dataset is, and find its problems.

    Parameters
    ----------
    dataset
        The network.
    runoff
        Runoff to check against it (ids, time axis, missing values).
    dt
        Runoff step [s], for the reaches that would oscillate or dip below zero.
    substeps
        Routing steps in a step; by default the network's own.
    steps
        Steps of the run that memory is estimated for; by default those of the runoff.
    dtype
        Type of runoff and discharge in memory.
    scheme, missing_downstream, reach_dim, time_dim
        As for `xroute.route` and `xroute.Network`.

    Returns
    -------
    Report
    """
    report = Report()
    dataset, runoff = dataset_without_pint(dataset), None if runoff is None else without_pint(runoff)
    step = dt
    if dt is None and runoff is not None:
        with contextlib.suppress(TimeAxisError):  # what is wrong with it is reported with the runoff
            step = time_step(runoff, find_time_dim(runoff, time_dim))
    dataset = without_repeated(dataset, report)
    network = inspect_topology(dataset, report, missing_downstream)
    reaches = reaches_alone(dataset) if network is None else network
    if reaches is not None:
        inspect_parameters(reaches, report, *inspect_steps(reaches, report, step, substeps), scheme)
    if runoff is not None:
        runoff = inspect_runoff(runoff, network, dt, report, reach_dim, time_dim)
    if runoff is not None and network is not None and not report.problems:
        inspect_as_routed(runoff, network, report, dt=dt, scheme=scheme, substeps=substeps)
    if runoff is not None and steps is None:
        steps = runoff.sizes["time"]
    if steps is not None:
        inspect_memory(network.n_reaches if network else dataset.sizes.get("reach", 0), runoff, steps, np.dtype(dtype), report)
    return report


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


def inspect_steps(network: Network, report: Report, dt: float | None, substeps: int | None) -> tuple[float | None, int]:
    """Report how the network wants to be routed, and return the step of runoff [s] and its substeps."""
    try:
        recipe = recipe_in_words(network)
        if recipe is not None:
            report.facts.append(("recipe", recipe))
            if dt is None and "runoff_step" in network.attrs:
                dt = resolve_step(network)
        return dt, 1 if dt is None else resolve_recipe(network, dt, substeps).substeps
    except ParameterError as error:
        report.problems.append(str(error))
        return dt, substeps or 1


def inspect_parameters(network: Network, report: Report, dt: float | None, substeps: int, scheme: str | None) -> None:
    """Add facts and problems of the schemes' parameters."""
    try:
        schemes = schemes_of(network, scheme)
    except ParameterError as error:
        report.problems.append(str(error))
        return
    for name, at in schemes.items():
        report.facts.append(("scheme", f"{name} on {at.size:,} reaches"))
        here = np.zeros(network.n_reaches, bool)
        here[at] = True
        values = {}
        for parameter in SCHEMES[name].parameters:
            array = _parameter(network.dataset, parameter, name, report)
            if array is not None:
                values[parameter.name] = array
                _range(array, network.dataset[parameter.name], parameter, here, network.ids, name, report)
        if SCHEMES[name].step_range is not None and dt is not None and len(values) == len(SCHEMES[name].parameters):
            _stability(SCHEMES[name], values, here, dt, substeps, report)
    report.notes.extend(one.text for one in find_placeholders(network.dataset, schemes))


def _parameter(dataset: xr.Dataset, parameter: Parameter, scheme: str, report: Report) -> np.ndarray | None:
    """Values [reach] in SI units."""
    if parameter.name not in dataset.variables:
        if parameter.default is None:
            made = f". {how_to_estimate()}" if SCHEMES[scheme].of_reach is not None else ""
            report.problems.append(f"{scheme} needs {parameter.name!r} [{parameter.units}], and the network has none{made}")
        return None
    try:
        values = to_si(dataset[parameter.name], parameter.units, f"parameter {parameter.name!r}")
    except UnitsError as error:
        report.problems.append(str(error))
        return None
    return np.broadcast_to(values, dataset.sizes.get("reach", 0))


def _range(
    values: np.ndarray,
    variable: xr.DataArray,
    parameter: Parameter,
    here: np.ndarray,
    ids: np.ndarray,
    scheme: str,
    report: Report,
) -> None:
    finite = values[here & np.isfinite(values)]
    if finite.size:
        units = "" if parameter.units == "1" else f" {parameter.units}"
        given = str(variable.attrs.get("units", ""))
        given = f" (given in {given})" if given not in ("", parameter.units) else ""
        text = f"{finite.min():.6g}{units} everywhere{given}"
        if finite.min() < finite.max():
            text = f"{finite.min():.6g} to {finite.max():.6g}{units}, median {np.median(finite):.6g}{units}{given}"
        report.facts.append((f"  {parameter.name}", text))
    missing = here & ~np.isfinite(values)
    outside = here & ~missing & ~parameter.allows(values)
    for wrong, what in ((missing, "is NaN or infinite"), (outside, f"must be {parameter.range}, and is not,")):
        if wrong.any():
            report.problems.append(
                f"{scheme}: {parameter.name!r} {what} on {int(wrong.sum())} reaches: {some(ids[wrong])}"
            )


def _stability(
    scheme: Scheme, values: dict[str, np.ndarray], here: np.ndarray, dt: float, substeps: int, report: Report
) -> None:
    """Say what routing would warn of."""
    good = here.copy()
    for parameter in scheme.parameters:
        good &= parameter.allows(values[parameter.name])
    parameters = {scheme.name: (np.flatnonzero(good), {name: array[good] for name, array in values.items()})}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_steps(parameters, dt, substeps)
    if not caught:
        step = dt / substeps
        report.facts.append(("  stability", f"no reach oscillates or dips below zero at a routing step of {step:g} s"))
    report.notes.extend(str(warning.message) for warning in caught)
