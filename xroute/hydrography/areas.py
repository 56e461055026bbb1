"""Local areas: what drains to a reach itself, of the areas upstream of it and of its tributaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, one_of, some, warn
from xroute.network import Network
from xroute.network_files import as_network
from xroute.reach_values import by_reach
from xroute.settings import NEGATIVE_AREA, NegativeArea
from xroute.units import to_si
from xroute.wording import argument, phrase

__all__ = ["local_area"]

Float = NDArray[np.float64]

DECIMALS = 6
"""Most decimals that areas of tables are looked at for: how finely they are rounded says how far below zero is rounding."""
FLOAT32 = 4 * float(np.finfo(np.float32).eps)
"""Relative error of areas that passed through float32, and of differences of them."""


def local_area(
    network: Any, upstream_area: Any = None, *, negative: NegativeArea = "raise", overwrite: bool = False
) -> Network:
    """Area of each reach's own catchment: the area upstream of it, less that of its direct tributaries.

    Where a river parts, each branch takes its fraction of the area upstream of the parting.

    Parameters
    ----------
    network : xarray.Dataset, Network or path
        Network.
    upstream_area : optional
        Area upstream of each reach's end, itself included [m2, or in the units of its attributes]: values by reach, or the name
        of a variable. By default the variable ``upstream_area``.
    negative : {"raise", "zero"}
        What becomes of areas that are negative by more than rounding: an error that names the reaches, or zero, with a warning
        that says how many and how large. Those that are negative by rounding are zero in either case, and counted in a warning.
    overwrite
        Replace ``area`` where the network has it; by default it keeps its own.

    Returns
    -------
    Network
        With ``area`` (reach) [m2].

    Raises
    ------
    ParameterError
        No upstream areas; some that are NaN, infinite or negative; or tributaries with more area than what they drain to, as
        where areas are of another network, or a part of one whose links were cut.
    AlignmentError
        Labelled values without the ids of the network.

    Examples
    --------
    >>> import xarray as xr, xroute
    >>> rivers = xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]})
    >>> rivers["upstream_area"] = "reach", [5.0, 7.0, 14.0], {"units": "km2"}
    >>> xroute.local_area(rivers).dataset.area.values / 1e6
    array([5., 7., 2.])
    """
    one_of("negative", negative, NEGATIVE_AREA)
    network = as_network(network)
    if "area" in network.dataset.variables and not overwrite:
        warn("the network has 'area' already, and keeps it; " + phrase("area anew", "overwrite=True makes it anew"))
        return network
    upstream, decimals = _upstream(network, upstream_area)
    up, down, fraction = network.links
    from_tributaries = np.bincount(down, upstream[up] * fraction, network.n_reaches)
    n_tributaries = np.bincount(down, minlength=network.n_reaches)
    area = upstream - from_tributaries
    slack = decimals * (1 + n_tributaries) / 2 + FLOAT32 * (upstream + from_tributaries)
    below, far = area < 0, area < -slack
    if far.any() and negative == "raise":
        worst = np.flatnonzero(far)
        worst = worst[np.argsort(area[worst], kind="stable")][:3]
        raise ParameterError(
            f"{int(far.sum())} of {network.n_reaches} reaches have less area upstream than their tributaries have: "
            f"{some(network.ids[far])} (the worst lack {some(np.round(-area[worst] / 1e6, 6), 3)} km2, at "
            f"{some(network.ids[worst])}). "
            f"Are the areas of this network, and the links right? {argument('negative', 'zero')} takes none for them"
        )
    if below.any():
        warn(
            f"{int(below.sum())} reaches have less area upstream than their tributaries, by {-area[below].sum() / 1e6:.6g} km2 "
            f"in all{', within rounding' * (not far.any())}: their own area is 0, at {some(network.ids[below], 3)}"
        )
    attrs = {
        "units": "m2", "standard_name": "area", "long_name": "area of the reach's own catchment",
        "comment": "area upstream less that of the direct tributaries",
    }  # fmt: skip
    return network.assign(area=("reach", np.where(below, 0.0, area), attrs))


def _upstream(network: Network, given: Any) -> tuple[Float, float]:
    """Upstream areas [reach] in m2, and one of the last decimal that they have."""
    dataset = network.dataset
    if given is None or isinstance(given, str):
        name = "upstream_area" if given is None else given
        if name not in dataset.variables:
            raise ParameterError(
                f"the network has no variable {name!r} (reach) with the areas upstream: give {argument('upstream_area')}; its "
                f"variables are {some(dataset.variables)}"
            )
        variable = dataset[name].variable
        if variable.dims != ("reach",):
            raise ParameterError(f"{name!r} has dimensions {variable.dims}, not ('reach',)")
    else:
        name, variable = "upstream_area", by_reach(given, network.ids, "upstream_area")
    values = to_si(xr.DataArray(variable), "m2", repr(name))
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ParameterError(
            f"{name!r} is NaN, infinite or negative on {int(bad.sum())} reaches: {some(network.ids[bad])}"
        )
    plain = np.asarray(variable.values, np.float64)
    unit = float(to_si(xr.DataArray(1.0, attrs=variable.attrs), "m2", repr(name)))
    return values, unit * _last_decimal(plain)


def _last_decimal(values: Float) -> float:
    """One of the last decimal that numbers of a table have; 0 where they are whole, and may be exact, or are not rounded."""
    single = values.astype(np.float32)  # which many tables have passed through
    for n in range(1, DECIMALS + 1):
        told = np.abs(values) < 2.0**22 * 10.0**-n  # where float32 has such decimals
        if (values[told] != np.round(values[told])).any() and (np.round(values, n).astype(np.float32) == single)[
            told
        ].all():
            return float(10.0**-n)
    return 0.0
