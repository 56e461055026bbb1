"""Which scheme each reach of a network follows, and its parameters in SI units, checked."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, UnitsError, some, warn
from xroute.network import Network
from xroute.schemes import SCHEMES, Scheme, every, is_every
from xroute.units import to_si

__all__ = ["SchemeParameters", "auto_substeps", "check_muskingum", "read_parameters", "resolve_substeps", "schemes_of"]

MOST_SUBSTEPS = 10_000
"""More than these are not chosen automatically: a reach so short wants merging, not a finer step."""

SchemeParameters = dict[str, tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]]
"""By scheme name: positions of its reaches, and parameters by name (float64 [its reaches], SI units)."""


def schemes_of(network: Network, scheme: str | None = None) -> dict[str, NDArray[np.int64]]:
    """Positions of the reaches of each scheme, by name.

    Parameters
    ----------
    network : Network
    scheme
        One scheme for all reaches, in place of what the network says.

    Raises
    ------
    ParameterError
        If the network names none, or one that does not exist.
    """
    dataset = network.dataset
    everywhere = every(network.n_reaches)
    if scheme is not None:
        found = {scheme: everywhere}
    elif "scheme" in dataset.variables:
        if dataset["scheme"].dims != ("reach",):
            raise ParameterError(f"'scheme' has dimensions {dataset['scheme'].dims}, not ('reach',)")
        names, which = np.unique(np.asarray(dataset["scheme"].values).astype(str), return_inverse=True)
        found = {str(name): np.flatnonzero(which == k) for k, name in enumerate(names)}
        if names.size == 1:
            found = {str(names[0]): everywhere}
    elif "scheme" in dataset.attrs:
        found = {str(dataset.attrs["scheme"]): everywhere}
    else:
        found = {_only_fit(set(dataset.variables)): everywhere}
    for name, at in found.items():
        if name not in SCHEMES:
            where = f" (reaches {some(network.ids[at])})" if at.size < network.n_reaches else ""
            raise ParameterError(
                f"no scheme {name!r}{where}; there are {', '.join(sorted(SCHEMES))}. Add yours with register_scheme"
            )
    return found


def _only_fit(variables: set[Hashable]) -> str:
    """Name of the only scheme that these variables are parameters of."""
    fits = [
        s.name
        for s in SCHEMES.values()
        if any(p.name in variables for p in s.parameters)
        and all(p.name in variables or p.default is not None for p in s.parameters)
    ]
    if len(fits) != 1:
        raise ParameterError(
            "the network names no routing scheme"
            + (f", and its variables fit several: {some(fits)}" if fits else "")
            + '. Pass scheme=, or set network.attrs["scheme"], or a variable scheme (reach); there are '
            + ", ".join(sorted(SCHEMES))
        )
    return fits[0]


def read_parameters(network: Network, scheme: str | None = None) -> SchemeParameters:
    """Parameters of every reach by scheme.

    Raises
    ------
    ParameterError
        If a parameter is missing, NaN, out of range or of other units; the reaches and the range are named.
    """
    return {name: (at, _read(network, SCHEMES[name], at)) for name, at in schemes_of(network, scheme).items()}


def _read(network: Network, scheme: Scheme, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    dataset = network.dataset
    found = {}
    for parameter in scheme.parameters:
        if parameter.name not in dataset.variables:
            if parameter.default is None:
                raise ParameterError(
                    f"{scheme.name} needs the variable {parameter.name!r} (reach) [{parameter.units}]; the network has "
                    f"{some(dataset.data_vars)}"
                )
            found[parameter.name] = np.full(at.size, parameter.default)
            continue
        variable = dataset[parameter.name]
        if variable.dims not in ((), ("reach",)):
            raise ParameterError(f"parameter {parameter.name!r} has dimensions {variable.dims}, not ('reach',)")
        try:
            values = np.broadcast_to(
                to_si(variable, parameter.units, f"parameter {parameter.name!r}"), network.n_reaches
            )
        except UnitsError as error:
            raise ParameterError(str(error)) from error
        values = np.array(values) if is_every(at, network.n_reaches) else values[at]
        if not parameter.allows(values).all():
            parameter.check(values, network.ids[at], scheme.name)
        found[parameter.name] = values
    return found


def resolve_substeps(substeps: Any, parameters: SchemeParameters, dt: float, ids: NDArray[Any]) -> int:
    """Number of substeps, checked; ``"auto"`` is worked out (`auto_substeps`).

    Raises
    ------
    ParameterError
        If it is neither a positive whole number nor ``"auto"``.
    """
    if isinstance(substeps, str) and substeps == "auto":
        return auto_substeps(parameters, dt, ids)
    if isinstance(substeps, bool) or not isinstance(substeps, (int, np.integer)) or substeps < 1:
        raise ParameterError(f"substeps is a positive whole number or 'auto', not {substeps!r}")
    return int(substeps)


def auto_substeps(parameters: SchemeParameters, dt: float, ids: NDArray[Any] | None = None) -> int:
    """Fewest substeps that keep every Muskingum reach stable: dt <= 2 k (1 - x) (Cunge 1969).

    Raises
    ------
    ParameterError
        If that takes more than `MOST_SUBSTEPS`; the reaches are named, by position if ``ids`` are not given.
    """
    if "muskingum" not in parameters:
        return 1
    at, values = parameters["muskingum"]
    with np.errstate(over="ignore"):
        needed = dt / (2 * values["k"] * (1 - values["x"])) * (1 - 1e-12)
    over = needed > MOST_SUBSTEPS
    if over.any():
        named = at[over] if ids is None else ids[at[over]]
        raise ParameterError(
            f'substeps="auto" would take {needed.max():.3g} substeps, more than {MOST_SUBSTEPS:,}, because 2k(1-x) is so '
            f"short on {int(over.sum())} reaches: {some(named)}. Check their k, merge them, or give substeps as a number"
        )
    return max(1, int(np.ceil(needed.max(initial=0.0))))


def check_muskingum(parameters: SchemeParameters, dt: float, substeps: int) -> bool:
    """Warn once where ``2kx <= dt <= 2k(1-x)`` does not hold, and name substeps that would help, if any would.

    Returns whether it holds.
    """
    if "muskingum" not in parameters:
        return True
    k, x = parameters["muskingum"][1]["k"], parameters["muskingum"][1]["x"]
    step, slack = dt / substeps, 1e-9
    kx = k * x
    if step <= 2 * (k - kx).min(initial=np.inf) and step >= 2 * kx.max(initial=0.0):  # the usual case, in a few passes
        return True
    long, short = step > 2 * (k - kx) * (1 + slack), step < 2 * kx * (1 - slack)
    if not (long.any() or short.any()):
        return True
    at_least = np.ceil(dt / (2 * k * (1 - x)).min() * (1 - slack))
    with np.errstate(over="ignore"):  # where all x are zero, any number will do
        at_most = np.floor(dt / max((2 * kx).max(), np.finfo(float).tiny) * (1 + slack))
    if at_least <= at_most:
        advice = f"substeps={int(max(at_least, 1))} would put all of them inside"
    else:
        advice = "no number of substeps puts all reaches inside"
        if long.any():
            advice += f"; substeps={int(at_least)} ends the oscillation of those that are too short for the step"
    warn(
        f"{int((long | short).sum())} of {k.size} Muskingum reaches are outside 2kx <= dt <= 2k(1-x) at a routing step of "
        f"{step:g} s, {int(long.sum())} too short (they may oscillate) and {int(short.sum())} too long (outflow may dip "
        f"below zero): {advice}"
    )
    return False
