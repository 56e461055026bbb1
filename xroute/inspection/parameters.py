"""Recipe, schemes and parameters of a network: facts, and what is wrong with them."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, UnitsError, some
from xroute.inspection.report import Report
from xroute.network import Network
from xroute.parameters import check_steps, schemes_of
from xroute.recipe import recipe_in_words, resolve_recipe, resolve_step
from xroute.schemes import SCHEMES, Parameter, Scheme
from xroute.units import to_si

__all__ = ["inspect_parameters", "inspect_steps"]


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


def _parameter(dataset: xr.Dataset, parameter: Parameter, scheme: str, report: Report) -> np.ndarray | None:
    """Values [reach] in SI units."""
    if parameter.name not in dataset.variables:
        if parameter.default is None:
            report.problems.append(f"{scheme} needs {parameter.name!r} [{parameter.units}], and the network has none")
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
