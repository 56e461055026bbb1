"""The tutorial basin: a small river that looks like one, and two storms that cross it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.rivers import KM_PER_DEGREE, make_river, number_generator
from xroute.datasets.storms import Storm, storm_runoff
from xroute.schemes import DEFAULT_SCHEME

__all__ = ["grow_river", "scatter", "tutorial"]

Float = NDArray[np.float64]

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

    Raises
    ------
    ParameterError
        If the seed is none.

    Notes
    -----
    The river is a stream-power landscape at rest (Whipple and Tucker, 1999; Rinaldo et al., 1992): water takes the
    way of least climb through a mesh of random points, where a link climbs by its length over the root of its
    drainage area, and the area follows from the ways taken. A dozen repetitions make a tree that looks like a river.

    Examples
    --------
    >>> from xroute.datasets import tutorial
    >>> network, dataset = tutorial()
    >>> int((network.downstream == 0).sum()), dict(dataset.runoff.sizes)["time"], dataset.runoff.attrs["units"]
    (1, 240, 'mm h-1')
    """
    rng = number_generator(seed)
    spacing = 4.0
    x, y, inside = scatter(rng, spacing)
    x, y, downstream, n_upstream = grow_river(rng, x[inside], y[inside], spacing)

    straight = np.hypot(x - x[downstream], y - y[downstream])
    straight[0] = spacing
    length = 1000.0 * straight * rng.uniform(1.15, 1.35, x.size)  # rivers wind more than the map's straight lines
    celerity = 0.7 * n_upstream**0.08  # larger rivers are deeper and faster
    half_step = 1800.0 * celerity / length  # of an hourly step, in travel times: bounds of a stable weight
    network = make_river(
        ids=np.arange(1, x.size + 1),
        downstream_position=downstream,
        length=length,
        celerity=celerity,
        weight=np.minimum(0.25, 0.95 * np.minimum(half_step, 1.0 - half_step)),
        area=spacing**2 * np.sqrt(0.75) * rng.uniform(0.8, 1.2, x.size),
        lon=TUTORIAL_LON + x / (KM_PER_DEGREE * np.cos(np.radians(TUTORIAL_LAT))),
        lat=TUTORIAL_LAT + y / KM_PER_DEGREE,
        scheme=DEFAULT_SCHEME,
        title="Tutorial basin of xroute, invented",
    )
    crossing = Storm(start=14.0, duration=40.0, x=-10.0, y=45.0, speed_x=4.5, speed_y=-1.5, radius=110.0, peak=7.0)
    shower = Storm(start=84.0, duration=20.0, x=-30.0, y=-40.0, speed_x=5.0, speed_y=2.5, radius=70.0, peak=6.0)
    runoff = storm_runoff(network, 240, "1h", start="2024-05-01", storms=[crossing, shower], units="mm h-1")
    return network, runoff.to_dataset()


def scatter(rng: np.random.Generator, spacing: float) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Points [km] of a shaken hexagonal lattice, and whether they are inside the outline of a leaf."""
    row, column = np.mgrid[-40:41, -40:41].reshape(2, -1)
    x = (column + 0.5 * (row % 2)) * spacing + rng.uniform(-0.3, 0.3, row.size) * spacing
    y = row * np.sqrt(0.75) * spacing + rng.uniform(-0.3, 0.3, row.size) * spacing
    angle = np.arctan2(y, x)
    bumps = sum(rng.normal(0.0, 0.22) / k * np.sin(k * angle + rng.uniform(0.0, 2 * np.pi)) for k in range(2, 9))
    inside = np.hypot(x / 0.86, y / 1.12) < 102.0 * (1.0 + 0.5 * bumps - 0.08 * np.sin(angle))
    return x, y, inside


def grow_river(
    rng: np.random.Generator, x: Float, y: Float, spacing: float
) -> tuple[Float, Float, NDArray[np.int64], Float]:
    """The points from the outlet upwards, each one's downstream position (-1 at the outlet) and points upstream."""
    # Imported here, for `import xroute` is to be quick, and few programs invent rivers.
    from scipy.sparse import coo_array, csgraph
    from scipy.spatial import Delaunay

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
