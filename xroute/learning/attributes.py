"""What reaches are like, as a network of neurons takes it: attributes in SI units, standardised, and where they are missing.

How they are standardised is of the network that was trained on, and serves on every other: a slope has the same meaning there,
whatever unit it is in. What becomes of the numbers is left to `xroute.learning.parameter_model`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.census import FILLS
from xroute.exceptions import ParameterError, UnitsError, some, warn
from xroute.network import Network
from xroute.unit_text import read_unit_text
from xroute.units import to_si, without_pint

__all__ = ["Attribute", "encode", "lengths_of", "read_attribute", "standardise"]

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

SKEWED = 1.0
"""Skewness from which on an attribute without negative values is known by its logarithm, if that is less skewed."""
FAR = 1.0
"""Standard deviations beyond the values that were trained on from which on a value is called outside of them."""


@dataclass(frozen=True)
class Attribute:
    """How an attribute is standardised: ``(t - mean) / spread``, with ``t`` its value or its logarithm.

    Attributes
    ----------
    name, units
        Variable of the network, and its units there; None where it had none.
    floor
        Of a logarithm, which is ``asinh(value / floor)``: that of ``2 value / floor`` for values well above it, and finite at
        zero and below. None where the value itself is taken.
    mean, spread
        Of ``t`` over the reaches that have a value. A spread of zero says that nothing can be learned from it.
    least, most
        Range of the standardised values.
    """

    name: str
    units: str | None
    floor: float | None
    mean: float
    spread: float
    least: float
    most: float

    def standard(self, values: Float) -> Float:
        """Standardised values [reach] of those in SI units; NaN stays NaN."""
        if self.spread == 0:
            return np.where(np.isnan(values), np.nan, 0.0)
        return np.asarray((_transformed(values, self.floor) - self.mean) / self.spread)


def _transformed(values: Float, floor: float | None) -> Float:
    return values if floor is None else np.arcsinh(values / floor)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_attribute(network: Network, name: str) -> tuple[Float, str | None]:
    """An attribute of a network's reaches.

    Returns
    -------
    values : float64 [reach]
        In SI units where its units are understood (without units it is in SI already), NaN where it is missing.
    units : str or None
        Units of the network's variable.

    Raises
    ------
    ParameterError
        If there is no such variable, or it is no number a reach, infinite, or -999 or alike; reaches are named.
    """
    dataset = network.dataset
    if name not in dataset.variables:
        raise ParameterError(_lacking(network, name))
    variable = without_pint(dataset[name], f"attribute {name!r}")
    if variable.dims not in ((), ("reach",)):
        raise ParameterError(f"attribute {name!r} has the dimensions {variable.dims}, not ('reach',)")
    data = variable.values
    units = variable.attrs.get("units")
    units = units if isinstance(units, str) and units.strip() else None
    if data.dtype.kind == "m":
        values = np.where(np.isnat(data), np.nan, data / np.timedelta64(1, "ns") / 1e9)
        units = "s"
    elif data.dtype.kind in "biuf":
        values = data.astype(np.float64) * (1.0 if units is None else _in_si(units, name))
    else:
        kind = "text" if data.dtype.kind in "UO" else str(data.dtype)
        raise ParameterError(
            f"attribute {name!r} is {kind}, and a number is wanted: of kinds make one attribute each, "
            f'network.assign(is_karst=(network["{name}"] == "karst").astype(float))'
        )
    values = np.array(np.broadcast_to(values, network.n_reaches))
    _refuse(values, np.broadcast_to(data, network.n_reaches), name, network.ids)
    return values, units


def _refuse(values: Float, data: NDArray[Any], name: str, ids: NDArray[Any]) -> None:
    bad = np.isinf(values)
    if bad.any():
        raise ParameterError(
            f"attribute {name!r} is infinite on {int(bad.sum())} reaches: {some(ids[bad])}. Correct it, or make it NaN, which is "
            "taken as missing"
        )
    # -99 may be an attribute, such as a longitude
    fill = np.isin(data, FILLS[1:]) if data.dtype.kind in "iuf" else bad
    if fill.any():
        kept = f"network[{name!r}].where(network[{name!r}] > {data[fill].max():g})"
        raise ParameterError(
            f"attribute {name!r} is {some(np.unique(data[fill]))} on {int(fill.sum())} reaches, which stands for what "
            f"is missing: {some(ids[fill])}. Make it NaN, network.assign({name}={kept})"
        )


def _lacking(network: Network, name: str) -> str:
    dataset = network.dataset
    numbers = [n for n, v in dataset.variables.items() if v.dims == ("reach",) and v.dtype.kind in "biuf"]
    text = f"the network has no attribute {name!r} (reach); the numbers that it has on its reaches are {some(numbers)}"
    if name in ("strahler", "n_upstream"):  # which a Network knows of itself
        return f"{text}. Assign it: network.assign({name}=network.{name})"
    return f"{text}. Assign it, network.assign({name}=...), or choose other attributes"


def _understood(units: str) -> tuple[float, dict[str, float]] | None:
    """One of a unit in SI, and its dimensions; None where it is not understood, or has a zero of its own, as degrees have."""
    try:
        read = read_unit_text(units, "attribute")
    except UnitsError:
        return None
    return None if "[temperature]" in read.dimensions else (read.in_si, read.dimensions)


def _in_si(units: str, name: str) -> float:
    """Factor to SI units; 1 for units that are not understood, which are compared as they are written."""
    known = _understood(units)
    return 1.0 if known is None else known[0]


def _compare_units(attribute: Attribute, units: str | None) -> None:
    """Refuse units of another kind than those that were trained on; what has none is in SI units."""
    if units is None or attribute.units is None or units.strip() == attribute.units.strip():
        return
    here, there = _understood(units), _understood(attribute.units)
    if here is None or there is None or here[1] != there[1]:
        raise UnitsError(
            f"attribute {attribute.name!r} is in {units!r}, and was in {attribute.units!r} on the network that was trained on: "
            "the one cannot be converted to the other"
        )


# ── standardising ───────────────────────────────────────────────────────────────────────────────────────────────────────


def standardise(network: Network, names: Sequence[str], log: Iterable[str] | None = None) -> tuple[Attribute, ...]:
    """How the attributes of a network are standardised.

    Parameters
    ----------
    network : Network
        The network to train on.
    names
        Its variables.
    log
        Those that are known by their logarithm; None for those without negative values that are skewed, and less so in it.

    Raises
    ------
    ParameterError
        As `read_attribute`, and for attributes that have no value on any reach, or that have no logarithm and are to be known
        by it.
    """
    found = []
    constant = []
    for name in names:
        values, units = read_attribute(network, name)
        there = values[~np.isnan(values)]
        if not there.size:
            raise ParameterError(
                f"attribute {name!r} is missing (NaN) on all {network.n_reaches} reaches: leave it out"
            )
        if log is not None and name in log and (there < 0).any():
            raise ParameterError(
                f"attribute {name!r} is negative on {int((values < 0).sum())} reaches, and has no logarithm there: "
                f"{some(network.ids[values < 0])}"
            )
        floor = _floor_of(there)
        if floor is not None and (not _skewed(there, floor) if log is None else name not in log):
            floor = None
        t = _transformed(there, floor)
        mean, spread = float(t.mean()), float(t.std())
        size = float(np.abs(there).max()) if floor is None else max(1.0, abs(mean))  # a logarithm may be about zero
        if not spread > 1e-9 * size:
            constant.append(name)
            spread = 0.0
        z = (t - mean) / spread if spread else np.zeros(1)
        found.append(Attribute(name, units, floor, mean, spread, float(z.min()), float(z.max())))
    if constant:
        warn(f"nothing is learned from {some(constant)}: on all reaches of the network it is the same")
    return tuple(found)


def _floor_of(values: Float) -> float | None:
    """A tenth of the least positive value, at least 1e-7 of the median; None where values are negative or all zero."""
    positive = values[values > 0]
    if not positive.size or (values < 0).any():
        return None
    return float(max(positive.min(), 1e-6 * np.median(positive)) / 10)


def _skewed(values: Float, floor: float) -> bool:
    """Whether values are skewed, and less so as logarithms."""
    plain, logarithm = _skewness(values), _skewness(_transformed(values, floor))
    return plain > SKEWED and abs(logarithm) < plain


def _skewness(values: Float) -> float:
    """Third standardised moment."""
    scale = float(np.abs(values).max(initial=0.0)) or 1.0  # cubes of large values overflow
    d = values / scale - np.mean(values / scale)
    spread = float(np.sqrt(np.mean(d**2)))
    return float(np.mean((d / spread) ** 3)) if spread > 1e-12 else 0.0


def encode(network: Network, attributes: Sequence[Attribute]) -> tuple[Float, Mask]:
    """Attributes of a network as they are put in: standardised, zero where they are missing, and where that is.

    Returns
    -------
    values : float64 [reach, attribute]
    missing : bool [reach, attribute]

    Raises
    ------
    ParameterError, UnitsError
        As `read_attribute`, and for units of another kind than the network had that was trained on.
    """
    n = network.n_reaches
    values, missing = np.zeros((n, len(attributes))), np.zeros((n, len(attributes)), bool)
    outside, absent = [], []
    for column, attribute in enumerate(attributes):
        given, units = read_attribute(network, attribute.name)
        _compare_units(attribute, units)
        z = attribute.standard(given)
        missing[:, column] = np.isnan(z)
        values[:, column] = np.where(missing[:, column], 0.0, z)
        if missing[:, column].any():
            where = network.ids[missing[:, column]]
            absent.append(f"{attribute.name!r} on {where.size} of {n} reaches ({some(where, 3)})")
        far = (z < attribute.least - FAR) | (z > attribute.most + FAR)
        if far.any():
            outside.append(f"{attribute.name!r} on {int(far.sum())} of {n} reaches ({some(network.ids[far], 3)})")
    if absent:
        warn(f"missing, and taken as the mean with a note that it is missing: {'; '.join(absent)}")
    if outside:
        warn(
            f"far outside of what was trained on: {'; '.join(outside)}. Are the units right? Parameters of such reaches are "
            "extrapolated, within their bounds"
        )
    return values, missing


def lengths_of(network: Network) -> Float:
    """Lengths [m] of a network's reaches, for travel times.

    Raises
    ------
    ParameterError
        If it has none, or some are missing, zero or negative; reaches are named.
    """
    otherwise = "physics=False learns travel times without lengths"
    if "length" not in network:
        raise ParameterError(
            f"travel times are length / celerity, and the network has no variable 'length' (reach) [m]: assign it, or {otherwise}"
        )
    variable: xr.DataArray = network["length"]
    if variable.dims not in ((), ("reach",)):
        raise ParameterError(f"'length' has the dimensions {variable.dims}, not ('reach',)")
    values = np.array(np.broadcast_to(to_si(variable, "m", "length"), network.n_reaches))
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        raise ParameterError(
            f"travel times are length / celerity, and 'length' is missing, infinite, zero or negative on "
            f"{int(bad.sum())} reaches: {some(network.ids[bad])}. Correct it, or {otherwise}"
        )
    return values
