"""Parameters that nobody measured or calibrated: estimates, what a file calls a placeholder, and one value on all reaches.

They are as good as any to route with, but whoever reads the result should know: `xroute info`, `xroute convert` and
`xroute.route` say it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import UnitsError, warn
from xroute.reach_values import ESTIMATED
from xroute.schemes import SCHEMES, Parameter
from xroute.units import to_si
from xroute.wording import phrase

__all__ = ["DECLARED", "Placeholder", "find_placeholders", "how_to_estimate", "tell_placeholders"]

DECLARED = "placeholder"
"""Attribute with which a file says of a variable that it stands for something that is not known, and why."""
logger = logging.getLogger("xroute")


class Placeholder(NamedTuple):
    """A parameter that is no more than a guess, and what there is to say of it."""

    kind: Literal["estimated", "declared", "constant"]
    text: str


def how_to_estimate() -> str:
    """Where parameters come from that a hydrography lacks, for whoever reads a message."""
    return phrase(
        "estimate",
        "xroute.estimate_parameters(network, celerity=1.0) makes them of the lengths of reaches, method='manning' of slopes "
        "and flows",
    )


def find_placeholders(dataset: xr.Dataset, schemes: Mapping[str, NDArray[np.int64]]) -> list[Placeholder]:
    """Parameters of a network that are guesses.

    Parameters
    ----------
    dataset
        Of the network.
    schemes
        Positions of the reaches of each scheme, by name.
    """
    found: dict[str, Placeholder] = {}
    for name, at in schemes.items():
        for parameter in SCHEMES[name].parameters:
            if parameter.name in dataset.variables and parameter.name not in found:
                one = _look(dataset[parameter.name], parameter, at)
                if one is not None:
                    found[parameter.name] = one
    by_text: dict[Placeholder, list[str]] = {}
    for name, one in found.items():
        by_text.setdefault(one, []).append(name)
    return [one._replace(text=f"{', '.join(names)}: {one.text}") for one, names in by_text.items()]


def _look(variable: xr.DataArray, parameter: Parameter, at: NDArray[np.int64]) -> Placeholder | None:
    if ESTIMATED in variable.attrs:
        return Placeholder("estimated", f"estimated ({variable.attrs[ESTIMATED]})")
    if DECLARED in variable.attrs:
        why = variable.attrs[DECLARED]
        if not why:  # which says that it is none
            return None
        return Placeholder("declared", "a placeholder" + (f" ({why})" if isinstance(why, str) and why else ""))
    if parameter.units == "1" or at.size < 2:  # a weight, or a number of reservoirs, is often one for all by intent
        return None
    try:
        values = to_si(variable, parameter.units, parameter.name)
    except UnitsError:  # which is said elsewhere
        return None
    values = values[at] if variable.dims == ("reach",) else values.ravel()
    if not values.size or not (values == values[0]).all():
        return None
    return Placeholder(
        "constant", f"one value on all {at.size:,} reaches ({values[0]:g} {parameter.units}): a placeholder?"
    )


def tell_placeholders(dataset: xr.Dataset, schemes: Mapping[str, NDArray[np.int64]]) -> None:
    """Say which parameters are guesses: in the log, or with a warning where a file calls them placeholders itself."""
    for one in find_placeholders(dataset, schemes):
        if one.kind == "declared":
            warn(f"{one.text}: discharge follows from it; {how_to_estimate()}")
        else:
            logger.info("parameters: %s", one.text)
