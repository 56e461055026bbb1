"""Scheidegger's lattice: random river networks of any size."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.rivers import make_river, number_generator, whole_number
from xroute.exceptions import ParameterError
from xroute.schemes import DEFAULT_SCHEME

__all__ = ["scheidegger"]

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
    return make_river(
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
