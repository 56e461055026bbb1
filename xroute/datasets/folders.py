"""What makers of whole set-ups share: the tutorial basin with ids as hydrographies have, and folders written whole or not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.datasets.basin import tutorial
from xroute.datasets.rivers import number_generator
from xroute.exceptions import some
from xroute.network import Network
from xroute.wording import argument

__all__ = ["Basin", "filled_folder", "invented_basin"]


class Basin(NamedTuple):
    """The tutorial basin in the order that its files have, which means nothing.

    Attributes
    ----------
    rivers
        The network of `tutorial` under other ids, and on ``reach`` ``order`` (Strahler's) and ``upstream_area`` [km2].
    upwards
        Rows of ``rivers`` from the mouth upwards: each stands after the one that it drains to.
    inflow
        ``(time, reach)`` [m3 s-1], the mean of the hour that begins at its time.
    """

    rivers: xr.Dataset
    upwards: NDArray[np.int64]
    inflow: xr.DataArray


def invented_basin(seed: int, first_id: int) -> Basin:
    """`tutorial`'s basin and storms, with ids from ``first_id`` on, and its reaches in no order."""
    network, weather = tutorial(seed)
    rng = number_generator(seed)
    n = network.sizes["reach"]
    ids, rows = first_id + rng.permutation(n), rng.permutation(n)
    below = network["downstream"].to_numpy() - 1  # ids of `tutorial` are 1 ... n, from the mouth upwards
    area = network["area"].to_numpy()
    upstream = area.copy()
    for i in range(n - 1, 0, -1):
        upstream[below[i]] += upstream[i]
    rivers = network.assign(
        downstream=("reach", np.where(below < 0, 0, ids[below])),
        order=("reach", Network(network).strahler.to_numpy()),
        upstream_area=("reach", upstream),
    )
    inflow = weather["runoff"].transpose("time", "reach").astype(np.float64) * area / 3.6  # mm h-1 of km2
    of_file = {"reach": rows}
    return Basin(
        rivers.assign_coords(reach=ids).isel(of_file), np.argsort(rows), inflow.assign_coords(reach=ids).isel(of_file)
    )


@contextmanager
def filled_folder(folder: str | os.PathLike[str], overwrite: bool, series: str = "") -> Iterator[Path]:
    """Yield a draft folder, whose files come into ``folder`` all of them, when the block ends well, or none.

    Files of a ``series``, a pattern, belong together: with ``overwrite`` those of an older one go.

    Raises
    ------
    FileExistsError
        If one of the files is there already and ``overwrite`` is False.
    """
    target = Path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as made:
        draft = Path(made)
        yield draft
        files = sorted(path.relative_to(draft) for path in draft.rglob("*") if path.is_file())
        there = sorted(
            {file.as_posix() for file in files if (target / file).exists()}
            | {old.relative_to(target).as_posix() for old in (target.glob(series) if series else ())}
        )
        if there and not overwrite:
            raise FileExistsError(f"{target} has {some(there)} already; {argument('overwrite', True)} replaces them")
        for old in there:
            (target / old).unlink()
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(draft / file, target / file)
