"""Rivers made in code: Scheidegger's lattice of any size, and what synthetic rivers have in common."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError
from xroute.schemes import DEFAULT_SCHEME, SCHEMES

__all__ = ["KM_PER_DEGREE", "make_river", "number_generator", "scheidegger", "whole_number"]

MANY = 10**9
"""Reaches that a lattice may have: more than all rivers of the Earth, and more than memory holds."""


def scheidegger(
    rows: int,
    columns: int,
    seed: int = 0,
    *,
    scheme: str = DEFAULT_SCHEME,
    ids: Literal["int", "str"] = "int",
) -> xr.Dataset:
    """Directed random lattice of Scheidegger (1967): each cell drains down to one of two neighbours, at random.

    Cell (r, c) drains to (r + 1, c) or (r + 1, c + 1), columns taken round a cylinder; the last row are outlets. Basin
    sizes and stream lengths follow power laws near those of real rivers, and a network of any size takes no time to
    make, which is why the benchmarks use it.

    Parameters
    ----------
    rows, columns
        Size of the lattice; there are ``rows * columns`` reaches, and the longest path has ``rows``.
    seed
        Seed of the random directions and parameters.
    scheme
        Scheme whose parameters the Dataset bears: any built-in one, and any registered one that says what a reach has of it
        (`xroute.register_scheme`). Travel times are one to two hours a reach, and Muskingum is stable in hourly steps.
    ids
        Integers from 1, or strings such as ``"R0001"``, row by row.

    Returns
    -------
    xarray.Dataset
        Network Dataset on ``reach``: ``downstream``, the scheme's parameters, ``length`` [m], ``area`` [km2], ``lon``
        and ``lat`` [degrees]; the attribute ``period`` of ``lon`` is how many degrees the cylinder is round.

    Raises
    ------
    ParameterError
        If the lattice is empty, or the scheme or kind of id unknown.

    References
    ----------
    Scheidegger, A. E. (1967). A stochastic model for drainage patterns into an intramontane trench. Bulletin of the
    International Association of Scientific Hydrology, 12(1), 15-20.

    Examples
    --------
    >>> from xroute.datasets import scheidegger
    >>> network = scheidegger(3, 4)
    >>> dict(network.sizes), network.attrs["scheme"]
    ({'reach': 12}, 'muskingum')
    >>> network.downstream.values[-4:]
    array([0, 0, 0, 0])
    """
    for name, value in (("rows", rows), ("columns", columns)):
        whole_number(name, value)
    rng = number_generator(seed)
    if rows < 1 or columns < 1:
        raise ParameterError(f"a lattice of {rows} rows x {columns} columns has no reaches: both must be at least 1")
    n = rows * columns
    if n > MANY:
        raise ParameterError(f"a lattice of {rows} rows x {columns} columns has {n:,} reaches, more than {MANY:,}")
    row, column = np.divmod(np.arange(n), columns)
    position = (row + 1) * columns + (column + rng.integers(0, 2, n)) % columns
    is_outlet = row == rows - 1

    length = rng.uniform(5500.0, 7000.0, n)  # a lattice of 5 km, links at 45 degrees or straight, and a little winding
    celerity = rng.uniform(1.0, 1.4, n)
    weight = rng.uniform(0.1, 0.25, n)
    spacing = min(0.05, 120.0 / max(rows, columns))  # degrees; 5 km until the lattice would no longer fit on the globe
    coordinates = {
        "lon": (((column - 0.5 * row) % columns) - 0.5 * columns) * spacing,  # a cell leans half a column a row
        "lat": (0.5 * rows - row) * spacing,
    }
    network = make_river(
        ids=_make_ids(n, ids),
        downstream_position=np.where(is_outlet, -1, position),
        length=length,
        celerity=celerity,
        weight=weight,
        area=rng.uniform(20.0, 30.0, n),
        scheme=scheme,
        title=f"Scheidegger network, {rows} rows x {columns} columns, seed {seed}",
        **coordinates,
    )
    network["lon"].attrs["period"] = columns * spacing  # degrees round the cylinder: the map closes it as it does the Earth
    return network


def _make_ids(n: int, kind: str) -> NDArray[Any]:
    number = np.arange(1, n + 1, dtype=np.int64)
    if kind == "int":
        return number
    if kind == "str":
        width = len(str(n))
        character = np.empty((n, width + 1), np.uint32)  # code points, as numpy's unicode arrays hold them
        character[:, 0] = ord("R")
        for place in range(width):
            character[:, width - place] = number // 10**place % 10 + ord("0")
        return character.view(f"U{width + 1}")[:, 0]
    raise ParameterError(f"ids={kind!r} is unknown: choose 'int' or 'str'")


Float = NDArray[np.float64]

KM_PER_DEGREE = 111.2
"""Of latitude."""


def make_river(
    *,
    ids: NDArray[Any],
    downstream_position: NDArray[np.int64],
    length: Float,
    celerity: Float,
    weight: Float,
    area: Float,
    lon: Float,
    lat: Float,
    scheme: str,
    title: str,
) -> xr.Dataset:
    """Network Dataset of reaches with these places and sizes, and with the parameters that their scheme gives them.

    Parameters
    ----------
    ids
        Ids of the reaches.
    downstream_position
        Position of the reach downstream, negative for none.
    length, celerity, weight
        Length [m], celerity of the flood wave [m s-1] and Muskingum weight, from which the parameters follow
        (`xroute.schemes.Scheme.of_reach`).
    area
        Area of the reach's own catchment [km2].
    lon, lat
        Place [degrees].
    scheme, title
        As the attributes have them.
    """
    marker = ids.dtype.type()  # 0 or ""
    downstream = np.where(downstream_position < 0, marker, ids[downstream_position])
    variables: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "downstream": (downstream, {"long_name": "id of the reach downstream", "outlet": marker}),
        **_parameters(scheme, length=length, celerity=celerity, weight=weight),
        "length": (length, {"units": "m", "long_name": "reach length"}),
        "area": (area, {"units": "km2", "long_name": "area of the reach's own catchment"}),
    }
    coordinates: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "reach": (ids, {"cf_role": "timeseries_id", "long_name": "reach id"}),
        "lon": (lon, {"standard_name": "longitude", "units": "degrees_east"}),
        "lat": (lat, {"standard_name": "latitude", "units": "degrees_north"}),
    }
    return xr.Dataset(
        {name: ("reach", values, attrs) for name, (values, attrs) in variables.items()},
        {name: ("reach", values, attrs) for name, (values, attrs) in coordinates.items()},
        {"Conventions": "CF-1.11", "title": title, "scheme": scheme},
    )


def _parameters(name: str, **reach: Float) -> dict[str, tuple[Float, dict[str, str]]]:
    """Values and attributes of a scheme's parameters, for reaches of one travel time and, where it has any, one attenuation."""
    scheme = SCHEMES.get(name)
    if scheme is None or scheme.of_reach is None:
        made = ", ".join(s.name for s in SCHEMES.values() if s.of_reach is not None)
        raise ParameterError(f"no parameters are made for scheme {name!r}: choose one of {made}")
    units = {p.name: {"units": p.units} | ({"long_name": p.long_name} if p.long_name else {}) for p in scheme.parameters}
    return {name: (values, units[name]) for name, values in scheme.of_reach(**reach).items()}


def whole_number(name: str, value: Any) -> None:
    """Refuse what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ParameterError(f"{name} is a whole number, not {value!r}")


def number_generator(seed: Any) -> np.random.Generator:
    """Random numbers of a seed."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"seed is a whole number, not negative, and not {seed!r}") from error
