"""Estimates as variables of a network: which parameters a scheme lacks, what they depend on, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some, warn
from xroute.hydrography import channel
from xroute.hydrography.inputs import Inputs, Reader
from xroute.network import Network
from xroute.placeholders import DECLARED
from xroute.reach_values import ESTIMATED
from xroute.schemes import SCHEMES, Parameter, Scheme
from xroute.settings import Estimate
from xroute.units import to_si
from xroute.wording import phrase

__all__ = ["lacking", "with_estimates"]

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]

WEIGHT = 0.2
"""Muskingum's x where nothing else is said: natural streams have 0 to 0.3, about 0.2 in the mean (Chow et al. 1988, 8.4)."""


class Reach(NamedTuple):
    """What a scheme is told of reaches, each float64 [reach]."""

    length: Float
    celerity: Float
    weight: Float


def lacking(
    network: Network, scheme: Scheme, at: NDArray[np.int64], overwrite: bool, min_length: float | None
) -> dict[str, Mask]:
    """Parameters that a scheme lacks, or that are to be made anew, and on which reaches [reach].

    Raises
    ------
    ParameterError
        If the scheme lacks some, and does not say what a reach has of it.
    """
    dataset, found = network.dataset, {}
    here = np.zeros(network.n_reaches, bool)
    here[at] = True
    for parameter in scheme.parameters:
        wanted = here
        if parameter.name in dataset.variables:
            values = np.broadcast_to(to_si(dataset[parameter.name], parameter.units, repr(parameter.name)), here.shape)
            if (
                parameter.name == "length"
            ):  # what others are made of is never made anew, but for what a floor has lifted
                wanted = here & (np.isnan(values) | (False if min_length is None else values < min_length))
            elif not overwrite and DECLARED not in dataset[parameter.name].attrs:
                wanted = here & np.isnan(values)
        elif scheme.of_reach is None and parameter.default is not None:
            continue
        if parameter.name in dataset.variables and parameter.name != "length":
            bad = here & ~wanted & ~parameter.allows(values)
            if bad.any():
                raise ParameterError(
                    f"the network has {parameter.name!r}, which {scheme.name} needs to be {parameter.range}, and it is not on "
                    f"{int(bad.sum())} reaches: {some(network.ids[bad])} (values {some(values[bad], 3)}). If it is "
                    "another thing, "
                    "rename it; " + phrase("estimate anew", "overwrite=True makes them anew")
                )
        if wanted.any():
            found[parameter.name] = wanted
    if found and scheme.of_reach is None:
        raise ParameterError(
            f"{scheme.name} lacks {some(found)}, and does not say what a reach of some length and celerity has of it: give it "
            "of_reach= (xroute.register_scheme), or the network its parameters, network.assign(...)"
        )
    return found


def with_estimates(
    network: Network, wanted: Mapping[str, Mapping[str, Mask]], method: Estimate, inputs: Inputs
) -> xr.Dataset:
    """The network's Dataset with the parameters that its schemes want, by scheme and name, where they want them [reach]."""
    dataset, clipped = network.dataset, 0
    lifted: dict[str, None] = {}  # each once, in order
    for name, parameters in wanted.items():
        if not parameters:
            continue
        scheme = SCHEMES[name]
        here = np.logical_or.reduce(list(parameters.values()))
        reader = Reader(network, inputs, here)
        reach = _read(reader, scheme, list(parameters), method)
        made, n_clipped = _made(scheme, list(parameters), reach, here)
        told = f"method {method!r}, of {', '.join(reader.told.values())}" + f" (0 on {n_clipped} reaches)" * (
            n_clipped > 0
        )
        for parameter in scheme.parameters:
            if parameter.name in parameters and parameter.name in made:
                parameter.check(made[parameter.name][here], network.ids[here], f"{name}, as estimated")
                dataset = _put(dataset, parameter, parameters[parameter.name], made[parameter.name], told)
        lifted |= dict.fromkeys(reader.lifted)
        clipped += n_clipped
    if clipped:
        lifted[
            f"{clipped} of {network.n_reaches} reaches are too short to attenuate as much as the flood wave does: the weight x "
            "would be negative there, and is 0"
        ] = None
    if lifted:
        warn("; ".join(lifted))
    return dataset


def _read(reader: Reader, scheme: Scheme, names: list[str], method: Estimate) -> Reach:
    """Length, celerity and weight of reaches, as far as the parameters that are wanted depend on them; 1 otherwise."""
    nothing = np.ones(reader.at.size)
    depends = {which: _depends(scheme, which, names) for which in Reach._fields}
    cunge = (
        depends["weight"] and reader.inputs.x is None and (method == "manning" or reader.inputs.diffusivity is not None)
    )
    length = reader.read("length") if depends["length"] or cunge else nothing
    if method == "manning" and (depends["celerity"] or cunge):
        discharge = reader.read("discharge")
        slope = reader.read("slope")
        width = reader.read("width") if reader.has("width") else channel.regime_width(discharge)
        reader.told.setdefault("width", f"width {channel.WIDTH_COEFFICIENT:g} Q^{channel.WIDTH_EXPONENT:g}")
        roughness = reader.read("roughness") if reader.has("roughness") else np.full(nothing.shape, channel.ROUGHNESS)
        reader.told.setdefault("roughness", f"roughness {channel.ROUGHNESS:g} (the default)")
        celerity = channel.flood_celerity(discharge, slope, width, roughness)
        diffusivity = channel.diffusivity(discharge, slope, width)
    else:
        needed = depends["celerity"] or cunge
        celerity = reader.read("celerity", " or a method that works it out, method='manning'") if needed else nothing
        diffusivity = reader.read("diffusivity") if cunge else nothing
    if cunge:
        reader.told["x"] = "Cunge's x"
        return Reach(length, celerity, channel.cunge_weight(diffusivity, celerity, length))
    if not depends["weight"]:
        return Reach(length, celerity, np.full(nothing.shape, WEIGHT))
    if reader.inputs.x is None and ("x" in names or not reader.has("x")):
        reader.told["x"] = f"x {WEIGHT:g} (the default)"
        return Reach(length, celerity, np.full(nothing.shape, WEIGHT))
    weight = np.where(reader.at, reader.read("x"), WEIGHT)
    bad = ~((weight >= 0) & (weight <= 0.5))
    if bad.any():
        raise ParameterError(
            f"x must be 0 <= x <= 0.5; {int(bad.sum())} reaches are outside it: {some(reader.network.ids[bad])} (values "
            f"{some(weight[bad], 3)})"
        )
    return Reach(length, celerity, weight)


def _depends(scheme: Scheme, which: str, names: list[str]) -> bool:
    """Whether any of these parameters depends on the length, the celerity or the weight of a reach."""
    one = np.ones(1)
    reach = Reach(1000.0 * one, one, WEIGHT * one)._replace(**{which: np.nan * one})
    try:
        with np.errstate(all="ignore"):
            made = _of_reach(scheme, reach)
    except ParameterError:  # a user's may refuse NaN, and so does depend on it
        return True
    return any(name in made and not np.isfinite(made[name]).all() for name in names)


def _made(scheme: Scheme, names: list[str], reach: Reach, here: Mask) -> tuple[dict[str, Float], int]:
    """Parameters [reach] by name, and on how many reaches the weight had to be taken for one that Muskingum may have."""
    made = _of_reach(scheme, reach)
    lost = [p.name for p in scheme.parameters if p.name in names and p.name not in made and p.default is None]
    if lost:
        raise ParameterError(f"of_reach of scheme {scheme.name!r} gives {some(made)}, and not {some(lost)}")
    outside = np.zeros(here.shape, bool)
    for parameter in scheme.parameters:
        if parameter.name in names and parameter.name in made:
            outside |= here & ~parameter.allows(made[parameter.name])
    if not outside.any():
        return made, 0
    weight = np.clip(reach.weight, 0.0, 0.5)
    other = _of_reach(scheme, reach._replace(weight=weight))
    return {n: np.where(outside, other[n], made[n]) for n in made}, int((outside & (weight != reach.weight)).sum())


def _of_reach(scheme: Scheme, reach: Reach) -> dict[str, Float]:
    """Parameters [reach] by name, as a scheme says them; what a user's raises becomes a `ParameterError`."""
    assert scheme.of_reach is not None
    if not scheme.from_user:
        return {name: np.broadcast_to(v, reach.length.shape) for name, v in scheme.of_reach(**reach._asdict()).items()}
    try:
        found = scheme.of_reach(**reach._asdict())
        return {name: np.broadcast_to(np.asarray(v, np.float64), reach.length.shape) for name, v in found.items()}
    except Exception as error:  # whatever their code may raise
        raise ParameterError(
            f"of_reach of scheme {scheme.name!r} does not give parameters by name, each a number a reach in numpy: "
            f"{type(error).__name__}: {error}"
        ) from error


def _put(dataset: xr.Dataset, parameter: Parameter, where: Mask, values: Float, told: str) -> xr.Dataset:
    """The Dataset with values [reach], in SI units, in the place of a variable's, or as a new variable that is NaN elsewhere."""
    if parameter.name in dataset.variables:
        old = dataset[parameter.name]
        attrs, factor = {name: value for name, value in old.attrs.items() if name != DECLARED}, 1.0
        if old.dtype.kind == "m":
            before = to_si(old, parameter.units, parameter.name)
            attrs["units"] = parameter.units
        else:
            before = np.asarray(old.values, np.float64)
            factor = float(to_si(xr.DataArray(1.0, attrs=old.attrs), parameter.units, parameter.name))
        values = np.where(where, values / factor, before)
    else:
        values = np.where(where, values, np.nan)
        attrs = {"units": parameter.units} | ({"long_name": parameter.long_name} if parameter.long_name else {})
    values.setflags(write=False)
    return dataset.assign({parameter.name: ("reach", values, attrs | {ESTIMATED: told})})
