"""Remap a global grid to a million reaches, lazily: time, memory, and the water that arrives.

python benchmarks/remap.py [steps] [reaches]         --small: few of them, to try it
    365 steps of a grid of 0.1 degrees (6.5 million cells, float64, made on the fly), opened lazily and on Dask, to 1,000,000
    catchments of six cells each. Prints the processor time of a step (all threads) beside that of a plain copy of its cells, the
    peak of memory, and how far the volume is from that of the cells, summed by itself.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

import xroute
from xroute.grids.form import grid_identity, weights_dataset

NY, NX, BLOCK = 1801, 3600, 8


class Made(BackendArray):
    """A grid whose steps are made when they are read: one field, turned and scaled."""

    def __init__(self, n_steps: int) -> None:
        self.field = np.random.default_rng(0).random((NY, NX))
        self.shape, self.dtype = (n_steps, NY, NX), np.dtype(float)
        self.seconds = 0.0

    def step(self, t: int) -> np.ndarray:
        return np.roll(self.field, 37 * t, axis=1) * (1.0 + t % 24)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        begin = time.process_time()
        steps = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        values = np.empty((steps.size, NY, NX))
        for k, t in enumerate(steps):
            values[k] = self.step(int(t))
        self.seconds += time.process_time() - begin
        return values[:, key[1], key[2]]


def problem(n_steps: int, n_reaches: int) -> tuple[xr.DataArray, Made, xr.Dataset]:
    """The grid, what makes its values, and weights."""
    made = Made(n_steps)
    variable = xr.Variable(
        ("time", "lat", "lon"), indexing.LazilyIndexedArray(made), {"units": "m s-1"}, {"preferred_chunks": {"time": 1}}
    )
    coords = {
        "time": pd.date_range("2000-01-01", periods=n_steps, freq="D"),
        "lat": np.linspace(90, -90, NY), "lon": np.arange(NX) * 0.1,
    }  # fmt: skip
    grid = xr.DataArray(variable, coords, name="ro")
    grid.encoding = variable.encoding
    rng = np.random.default_rng(1)
    row, column = np.sort(rng.integers(0, NY - 1, n_reaches)), rng.integers(0, NX - 2, n_reaches)
    dy, dx = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    y, x = (row[:, None] + dy).ravel(), (column[:, None] + dx).ravel()
    ids = rng.permutation(n_reaches) + 1
    weights = weights_dataset(
        np.repeat(ids, 6), (y, x), rng.random(y.size) * 1e7, catchment=ids, attrs=grid_identity(grid, ("lat", "lon"))
    )
    return grid, made, weights


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="?", type=int, default=365)
    parser.add_argument("reaches", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--small", action="store_true", help="16 steps to 1,000 reaches, to try it")
    options = parser.parse_args(words)
    if options.small:
        options.steps, options.reaches = 2 * BLOCK, 1000
    return options


def main() -> None:
    options = parse()
    n_steps, n_reaches = options.steps, options.reaches
    grid, made, weights = problem(n_steps, n_reaches)
    begin = time.process_time()
    runoff = xroute.remap(grid, weights)
    print(f"remap() of {n_steps} steps to {n_reaches:,} reaches, nothing read: {time.process_time() - begin:.2f} s")
    weight_of_cell = np.zeros((NY, NX))
    np.add.at(weight_of_cell, (weights.y_index.values, weights.x_index.values), weights.area.values)
    runoff.isel(time=slice(0, 1)).load()  # compiles
    whole, worst, made.seconds = 0.0, 0.0, 0.0
    for first in range(0, n_steps, BLOCK):
        begin = time.process_time()
        found = runoff.isel(time=slice(first, first + BLOCK)).load()
        whole += time.process_time() - begin
        for k in range(found.sizes["time"]):
            field = made.step(first + k)
            fallen = float((field * weight_of_cell).sum())
            worst = max(worst, abs(float(found[k].sum()) - fallen) / fallen)
    begin = time.process_time()
    for _ in range(5):
        made.field.copy()
    copy = (time.process_time() - begin) / 5
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"lazily: {(whole - made.seconds) / n_steps * 1e3:.1f} ms a step beside making it "
        f"({made.seconds / n_steps * 1e3:.1f} ms); a copy of its cells: {copy * 1e3:.1f} ms; volume off by at most {worst:.1e}; "
        f"peak {peak:.2f} GB"
    )
    chunked = grid.chunk(time=BLOCK, lat=601)  # a chunk makes its whole steps
    begin = time.process_time()
    lazy = xroute.remap(chunked, weights)
    print(f"on Dask, nothing computed: {time.process_time() - begin:.2f} s, {len(lazy.data.dask):,} keys")
    begin = time.process_time()
    total = lazy.isel(time=slice(0, 2 * BLOCK)).sum("reach").compute(num_workers=2)
    spent = (time.process_time() - begin) / total.size
    worst = max(abs(float(total[k]) / float((made.step(k) * weight_of_cell).sum()) - 1) for k in range(total.size))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"on Dask: {spent * 1e3:.1f} ms a step with making it; volume off by at most {worst:.1e}; peak {peak:.2f} GB")


if __name__ == "__main__":
    main()
