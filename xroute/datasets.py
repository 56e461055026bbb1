"""Rivers and weather made in code: Scheidegger networks of any size, storm-driven runoff, and a small tutorial basin.

Nothing is downloaded and nothing is read from a file; the same seed gives the same river. The hydrology is plausible,
not observed: enough to learn with, to test and to measure.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import coo_array, csgraph
from scipy.spatial import Delaunay

from xroute.exceptions import ParameterError
from xroute.storms import KM_PER_DEGREE, Storm, generator, storm_runoff, whole_number

__all__ = ["scheidegger", "storm_runoff", "tutorial"]

Float = NDArray[np.float64]

MANY = 10**9
"""Reaches that a lattice may have: more than all rivers of the Earth, and more than memory holds."""


def scheidegger(
    rows: int,
    columns: int,
    seed: int = 0,
    *,
    scheme: str = "muskingum",
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
        One of the built-in schemes, whose parameters the Dataset bears. Travel times are one to two hours a reach, and
        Muskingum is stable in hourly steps.
    ids
        Integers from 1, or strings such as ``"R0001"``, row by row.

    Returns
    -------
    xarray.Dataset
        Network Dataset on ``reach``: ``downstream``, the scheme's parameters, ``length`` [m], ``area`` [km2], ``lon``
        and ``lat`` [degrees].

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
    >>> network = scheidegger(3, 4)
    >>> dict(network.sizes), network.attrs["scheme"]
    ({'reach': 12}, 'muskingum')
    >>> network.downstream.values[-4:]
    array([0, 0, 0, 0])
    """
    for name, value in (("rows", rows), ("columns", columns)):
        whole_number(name, value)
    rng = generator(seed)
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
    x = rng.uniform(0.1, 0.25, n)
    spacing = min(0.05, 120.0 / max(rows, columns))  # degrees; 5 km until the lattice would no longer fit on the globe
    coordinates = {
        "lon": (((column - 0.5 * row) % columns) - 0.5 * columns) * spacing,  # a cell leans half a column a row
        "lat": (0.5 * rows - row) * spacing,
    }
    return _network(
        ids=_make_ids(n, ids),
        downstream_position=np.where(is_outlet, -1, position),
        length=length,
        celerity=celerity,
        x=x,
        area=rng.uniform(20.0, 30.0, n),
        scheme=scheme,
        title=f"Scheidegger network, {rows} rows x {columns} columns, seed {seed}",
        **coordinates,
    )


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


def _parameters(scheme: str, length: Float, celerity: Float, x: Float) -> dict[str, tuple[Float, dict[str, str]]]:
    """Parameters of a scheme for reaches of one travel time, and (Cunge 1969) of one attenuation where it has any."""
    k = length / celerity
    second = {"units": "s"}
    if scheme in ("muskingum", "muskingum_exact"):
        weight = {"units": "1", "long_name": "Muskingum weight of inflow against outflow"}
        return {"k": (k, second | {"long_name": "Muskingum travel time"}), "x": (x, weight)}
    if scheme == "linear_storage":
        return {"tau": (k, second | {"long_name": "residence time"})}
    if scheme == "nash_cascade":
        count = {"units": "1", "long_name": "number of reservoirs in series"}
        each = second | {"long_name": "residence time of one reservoir"}
        return {"tau": (k / 3, each), "n": (np.full(k.size, 3.0), count)}
    if scheme == "pure_lag":
        return {"delay": (k, second | {"long_name": "travel time"})}
    if scheme == "hayami":
        diffusivity = celerity * length * (0.5 - x)
        return {
            "celerity": (celerity, {"units": "m s-1", "long_name": "celerity of the flood wave"}),
            "diffusivity": (diffusivity, {"units": "m2 s-1", "long_name": "diffusivity of the flood wave"}),
        }
    known = "muskingum, muskingum_exact, linear_storage, nash_cascade, pure_lag, hayami"
    raise ParameterError(f"no parameters are made for scheme {scheme!r}: choose one of {known}")


def _network(
    *,
    ids: NDArray[Any],
    downstream_position: NDArray[np.int64],
    length: Float,
    celerity: Float,
    x: Float,
    area: Float,
    lon: Float,
    lat: Float,
    scheme: str,
    title: str,
) -> xr.Dataset:
    marker = ids.dtype.type()  # 0 or ""
    downstream = np.where(downstream_position < 0, marker, ids[downstream_position])
    variables: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "downstream": (downstream, {"long_name": "id of the reach downstream", "outlet": marker}),
        **_parameters(scheme, length, celerity, x),
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


# ── the tutorial

TUTORIAL_LON, TUTORIAL_LAT = 24.0, 48.0  # where the invented basin is put on the map


def tutorial(seed: int = 3) -> tuple[xr.Dataset, xr.Dataset]:
    """Small river basin, invented, and ten days of hourly runoff from two storms that cross it.

    Parameters
    ----------
    seed
        Seed of the river's course.

    Returns
    -------
    network : xarray.Dataset
        About 2,300 reaches that drain 32,000 km2 to one outlet, with Muskingum parameters; ids are integers, and 1 is
        the outlet.
    runoff : xarray.Dataset
        ``runoff(time, reach)`` [mm h-1].

    Notes
    -----
    The river is a stream-power landscape at rest (Whipple and Tucker, 1999; Rinaldo et al., 1992): water takes the
    way of least climb through a mesh of random points, where a link climbs by its length over the root of its
    drainage area, and the area follows from the ways taken. A dozen repetitions make a tree that looks like a river.

    Examples
    --------
    >>> network, dataset = tutorial()
    >>> int((network.downstream == 0).sum()), dict(dataset.runoff.sizes)["time"], dataset.runoff.attrs["units"]
    (1, 240, 'mm h-1')
    """
    rng = generator(seed)
    spacing = 4.0
    x, y, downstream, n_upstream = _grow_river(rng, *_scatter(rng, spacing), spacing)

    straight = np.hypot(x - x[downstream], y - y[downstream])
    straight[0] = spacing
    length = 1000.0 * straight * rng.uniform(1.15, 1.35, x.size)  # rivers wind more than the map's straight lines
    celerity = 0.7 * n_upstream**0.08  # larger rivers are deeper and faster
    half_step = 1800.0 * celerity / length  # of an hourly step, in travel times: bounds of a stable weight
    network = _network(
        ids=np.arange(1, x.size + 1),
        downstream_position=downstream,
        length=length,
        celerity=celerity,
        x=np.minimum(0.25, 0.95 * np.minimum(half_step, 1.0 - half_step)),
        area=spacing**2 * np.sqrt(0.75) * rng.uniform(0.8, 1.2, x.size),
        lon=TUTORIAL_LON + x / (KM_PER_DEGREE * np.cos(np.radians(TUTORIAL_LAT))),
        lat=TUTORIAL_LAT + y / KM_PER_DEGREE,
        scheme="muskingum",
        title="Tutorial basin of xroute, invented",
    )
    crossing = Storm(start=14.0, duration=40.0, x=-10.0, y=45.0, speed_x=4.5, speed_y=-1.5, radius=110.0, peak=7.0)
    shower = Storm(start=84.0, duration=20.0, x=-30.0, y=-40.0, speed_x=5.0, speed_y=2.5, radius=70.0, peak=6.0)
    runoff = storm_runoff(network, 240, "1h", start="2024-05-01", storms=[crossing, shower], units="mm h-1")
    return network, runoff.to_dataset()


def _scatter(rng: np.random.Generator, spacing: float) -> tuple[Float, Float]:
    """Points [km] of a shaken hexagonal lattice inside the outline of a leaf."""
    row, column = np.mgrid[-40:41, -40:41].reshape(2, -1)
    x = (column + 0.5 * (row % 2)) * spacing + rng.uniform(-0.3, 0.3, row.size) * spacing
    y = row * np.sqrt(0.75) * spacing + rng.uniform(-0.3, 0.3, row.size) * spacing
    angle = np.arctan2(y, x)
    bumps = sum(rng.normal(0.0, 0.22) / k * np.sin(k * angle + rng.uniform(0.0, 2 * np.pi)) for k in range(2, 9))
    inside = np.hypot(x / 0.86, y / 1.12) < 102.0 * (1.0 + 0.5 * bumps - 0.08 * np.sin(angle))
    return x[inside], y[inside]


def _grow_river(
    rng: np.random.Generator, x: Float, y: Float, spacing: float
) -> tuple[Float, Float, NDArray[np.int64], Float]:
    """The points from the outlet upwards, each one's downstream position (-1 at the outlet) and points upstream."""
    corner = Delaunay(np.column_stack([x, y])).simplices
    link = np.unique(np.sort(np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]], corner[:, [2, 0]]]), axis=1), axis=0)
    distance = np.hypot(x[link[:, 0]] - x[link[:, 1]], y[link[:, 0]] - y[link[:, 1]])
    short = distance < 1.9 * spacing  # the mesh also spans the bays of the outline
    hardness = np.tile(distance[short] * rng.lognormal(0.0, 0.35, short.sum()), 2)
    below, above = np.concatenate([link[short], link[short, ::-1]]).T
    outlet = int(np.argmin(y))

    n_upstream = np.ones(x.size)
    for _ in range(12):
        climb = coo_array((hardness / np.sqrt(n_upstream[above]), (below, above)), shape=(x.size, x.size)).tocsr()
        height, downstream = csgraph.dijkstra(climb, indices=outlet, return_predecessors=True)
        order = np.argsort(height, kind="stable")
        n_upstream = np.ones(x.size)
        for i in order[:0:-1]:
            n_upstream[downstream[i]] += n_upstream[i]

    place = np.empty(x.size, np.int64)
    place[order] = np.arange(x.size)
    position = np.concatenate([[-1], place[downstream[order[1:]]]])  # the outlet is the first
    return x[order], y[order], position, n_upstream[order]
