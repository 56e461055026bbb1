r"""Lakes: reaches that hold water back as a linear reservoir does, from a table of lakes.

A lake is a reach of the scheme ``linear_storage``, :math:`S = \tau Q`. Its ``tau`` is given, or comes from what is known of its
outlet: for a level pool of area :math:`A` behind an outlet :math:`Q = c\,h^b` it is the slope of storage over outflow,

.. math::  \tau = \frac{dS}{dQ} = A \frac{dh}{dQ} = \frac{A\,h_0}{b\,Q_0} \qquad h_0 = (Q_0 / c)^{1/b}

at the outflow :math:`Q_0` that it is made linear around (Chow, Maidment and Mays 1988, level pool routing). What is not linear
about a lake (gates, rules, a flood far above :math:`Q_0`) it does not know: where releases are known, give them as ``known=``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, ParameterError, some
from xroute.ids import exact_ids, repeated
from xroute.network import Network
from xroute.network_files import as_network
from xroute.parameters import schemes_of
from xroute.units import to_si

__all__ = ["lakes"]

SCHEME = "linear_storage"
UNITS = {"tau": "s", "storage": "m3", "discharge": "m3 s-1", "area": "m2", "coefficient": "1", "exponent": "1"}
"""Columns of a table of lakes, and the units that they are in where nothing else is said."""
Float = NDArray[np.float64]


def lakes(
    network: xr.Dataset | Network,
    table: pd.DataFrame | xr.Dataset | Mapping[str, Any],
    *,
    scheme: str | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset | Network:
    """Make lakes of some reaches: linear reservoirs, with the time that a table says or from what it says of their outlets.

    Parameters
    ----------
    network
        Network Dataset, or a `Network`.
    table
        A row a lake: a DataFrame, a Dataset whose variables have ``units``, or columns by name. ``reach`` is the id of the reach
        that is the lake (a column or the index), and beside it stand, for all lakes,

        - ``tau`` [s], the mean time that water stays, or
        - ``storage`` [m3] and ``discharge`` [m3 s-1], whose ratio that time is, or
        - ``area`` [m2], ``coefficient`` and ``exponent`` of the outlet, outflow [m3 s-1] = coefficient x (height [m] above
          it) ** exponent, and ``discharge`` [m3 s-1] that it is made linear around. A broad weir has the exponent 1.5.
    scheme
        Scheme of the other reaches; by default what the network says.
    units
        Units of the table's columns where they are others, such as ``{"tau": "d", "area": "km2"}``.

    Returns
    -------
    xarray.Dataset or Network
        As was given: with ``scheme`` (reach), ``linear_storage`` on lakes, and ``tau`` (reach), NaN on reaches without it.

    Raises
    ------
    NetworkError
        For lakes on reaches that the network does not have, and for several on one reach.
    ParameterError
        For columns that are lacking or contradict each other, and values that are not positive; the reaches are named.

    Notes
    -----
    A lake is a linear reservoir (Zoch 1934), around its discharge where the outlet is given by its law. Water is kept: the mean
    residence time is ``tau`` at any step. Rain on a lake and evaporation from it are its runoff.

    References
    ----------
    Zoch, R. T. (1934). On the relation between rainfall and stream flow. Monthly Weather Review, 62, 315-322.

    Examples
    --------
    >>> import xarray as xr, xroute
    >>> network = xr.Dataset(
    ...     {"downstream": ("reach", [2, 3, 0]), "k": 3600.0, "x": 0.2}, {"reach": [1, 2, 3]}, {"scheme": "muskingum"}
    ... )
    >>> made = xroute.lakes(network, {"reach": [2], "tau": [12.0]}, units={"tau": "d"})
    >>> made["scheme"].values.tolist(), float(made["tau"].sel(reach=2))
    (['muskingum', 'linear_storage', 'muskingum'], 1036800.0)
    """
    rivers = as_network(network)
    columns = _columns(table, units or {})
    ids = exact_ids(columns.pop("reach"), "lakes", NetworkError)
    twice = repeated(ids)
    if twice.size:
        raise NetworkError(f"{twice.size} reaches have several lakes: {some(twice)}. Add them up, or give each its own reach")
    at = rivers.position(ids)
    tau = _tau({name: _si(values, name) for name, values in columns.items()})
    bad = ~(np.isfinite(tau) & (tau > 0))
    if bad.any():
        raise ParameterError(f"tau is NaN, infinite or not positive on {int(bad.sum())} lakes: {some(ids[bad])}")
    schemes = np.empty(rivers.n_reaches, dtype=object)
    if at.size < rivers.n_reaches:
        for name, where in schemes_of(rivers, scheme).items():
            schemes[where] = name
    schemes[at] = SCHEME
    whole = np.full(rivers.n_reaches, np.nan)
    if "tau" in rivers.dataset.variables:
        whole[:] = to_si(rivers.dataset["tau"], "s", "parameter 'tau'")
    whole[at] = tau
    attrs = {"units": "s", "long_name": "mean residence time"}
    made = rivers.dataset.assign(scheme=("reach", schemes.astype(str)), tau=("reach", whole, attrs))
    made.attrs = {name: value for name, value in made.attrs.items() if name != "scheme"}
    return Network(made) if isinstance(network, Network) else made


def _columns(table: Any, units: Mapping[str, str]) -> dict[str, xr.DataArray]:
    """Columns of a table by name, with their units."""
    if isinstance(table, xr.Dataset):
        found = {str(n): table[n] for n in table.variables}
    else:
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(dict(table))
        frame = frame if "reach" in frame.columns else frame.reset_index(names="reach")
        found = {str(n): xr.DataArray(frame[n].to_numpy(), dims="lake") for n in frame.columns}
    if "reach" not in found:
        raise ParameterError(f"a table of lakes has the ids of their reaches in 'reach'; this one has {some(found)}")
    unknown = set(units) - set(found)
    if unknown:
        raise ParameterError(f"units are of columns, and the table has none called {some(sorted(unknown))}")
    return {n: v.assign_attrs(units=units[n]) if n in units else v for n, v in found.items() if n in UNITS or n == "reach"}


def _si(values: xr.DataArray, name: str) -> Float:
    return to_si(values.assign_attrs(units=values.attrs.get("units", UNITS[name])), UNITS[name], f"{name!r} of lakes")


def _tau(columns: Mapping[str, Float]) -> Float:
    """Mean residence time [s] of what a table says."""
    ways = (("tau",), ("storage", "discharge"), ("area", "coefficient", "exponent", "discharge"))
    said = [way for way in ways if all(name in columns for name in way)]
    if len(said) != 1:
        wanted = "; or ".join(" and ".join(map(repr, way)) for way in ways)
        how = "says in several ways" if said else "does not say"
        raise ParameterError(f"a table of lakes has {wanted}: this one {how} how long water stays ({some(columns) or 'nothing'})")
    with np.errstate(divide="ignore", invalid="ignore"):
        if said[0] == ("tau",):
            return columns["tau"]
        flow = columns["discharge"]
        if "storage" in said[0]:
            return columns["storage"] / flow
        area, coefficient, exponent = (columns[name] for name in ("area", "coefficient", "exponent"))
        height = (flow / coefficient) ** (1 / exponent)
        return area * height / (exponent * flow)
