"""Runoff on a grid brought to catchments: against sums written out in float64, and by what must not matter."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xroute
from xroute import AlignmentError, ParameterError, UnitsError, XRouteError
from xroute.grids import select_weights
from xroute.grids.form import check_weights, grid_identity, weights_dataset
from xroute.grids.pieces import make_pieces

NY, NX, NT = 7, 9, 30
IDS = np.array([51, 748, 2**53 + 1, 64, 510, 209, 882])
DEVICE = os.environ.get("XROUTE_TEST_DEVICE", "cpu")
LAT, LON = np.linspace(60.0, 30.0, NY), np.linspace(0.0, 8.0, NX)


def a_grid(rng: np.random.Generator, units: str = "mm h-1", dtype: Any = float, members: int = 0) -> xr.DataArray:
    dims = ("member", "time", "lat", "lon") if members else ("time", "lat", "lon")
    sizes = {"member": members, "time": NT, "lat": NY, "lon": NX}
    coords: dict[str, Any] = {"time": pd.date_range("2000-01-01", periods=NT, freq="h"), "lat": LAT, "lon": LON, "height": 2.0}
    if members:
        coords["member"] = np.arange(members)
    values = rng.random([sizes[d] for d in dims]).astype(dtype)
    return xr.DataArray(values, coords, dims, name="ro", attrs={"units": units, "long_name": "runoff", "time_label": "end"})


def overlaps(rng: np.random.Generator, n: int = 40, columns: int = NX) -> tuple[np.ndarray, ...]:
    """Catchment, row, column and area of overlaps, those of a catchment here and there; each catchment has some."""
    k = np.concatenate([np.arange(IDS.size), rng.integers(0, IDS.size, n)])
    return k, rng.integers(0, NY, k.size), rng.integers(0, columns, k.size), rng.random(k.size) * 1e7 + 1.0


def made(grid: xr.DataArray, table: tuple[np.ndarray, ...], **more: Any) -> xr.Dataset:
    k, y, x, area = table
    return weights_dataset(IDS[k], (y, x), area, catchment=IDS, attrs=grid_identity(grid, ("lat", "lon")), **more)


def sums(values: np.ndarray, table: tuple[np.ndarray, ...], weight: np.ndarray | None = None) -> np.ndarray:
    """The sum over overlaps of weight times value, one by one, of values [..., row, column]."""
    k, y, x, area = table
    total = np.zeros((*values.shape[:-2], IDS.size))
    for j in range(k.size):
        total[..., k[j]] += (area if weight is None else weight)[j] * values[..., y[j], x[j]].astype(float)
    return total


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("units", "factor", "result"),
    [
        ("mm h-1", 1e-3 / 3600, "m3 s-1"), ("kg m-2 s-1", 1e-3, "m3 s-1"), ("m s-1", 1.0, "m3 s-1"),
        ("mm d-1", 1e-3 / 86400, "m3 s-1"),
        ("inches per day", 0.0254 / 86400, "m3 s-1"), ("m", 1.0, "m3"), ("kg m**-2", 1e-3, "m3"), ("mm", 1e-3, "m3"),
        ("mm per step", 1e-3, "m3"),
    ],
)  # fmt: skip
def test_depths_become_volumes(rng: np.random.Generator, units: str, factor: float, result: str) -> None:
    grid, table = a_grid(rng, units), overlaps(rng)
    found = xroute.remap(grid, made(grid, table))
    np.testing.assert_allclose(found.values, sums(grid.values, table) * factor, rtol=1e-13)
    assert found.attrs["units"] == result and found.dims == ("time", "reach") and found.name == "ro"
    assert found.reach.values.tolist() == IDS.tolist() and found.dtype == np.float64


@pytest.mark.parametrize("units", ["m3 s-1", "ft3 s-1", "m3", "kg s-1"])
def test_volumes_of_cells_are_shared_out(rng: np.random.Generator, units: str) -> None:
    grid, table = a_grid(rng, units), overlaps(rng)
    cell_area = table[3] * (1 + rng.random(table[3].size))
    found = xroute.remap(grid, made(grid, table, cell_area=cell_area))
    np.testing.assert_allclose(found.values, sums(grid.values, table, table[3] / cell_area), rtol=1e-13)
    assert found.attrs["units"] == units
    with pytest.raises(ParameterError, match="cell_area"):
        xroute.remap(grid, made(grid, table))


def test_all_water_of_the_grid_arrives(rng: np.random.Generator) -> None:
    """Cells that are wholly shared out between catchments: what falls on them is what arrives, to 1e-12."""
    grid = a_grid(rng, "mm d-1")
    cell_area = 1e8 * np.cos(np.radians(LAT))
    cuts = np.sort(rng.random((NY, NX, 2)), axis=-1)
    parts = np.diff(np.concatenate([np.zeros((NY, NX, 1)), cuts, np.ones((NY, NX, 1))], -1))
    y, x, k = (a.ravel() for a in np.meshgrid(np.arange(NY), np.arange(NX), np.arange(3), indexing="ij"))
    table = rng.permutation(IDS.size)[(3 * x + k + y) % IDS.size], y, x, parts.ravel() * cell_area[y]
    found = xroute.remap(grid, made(grid, table))
    fallen = (grid.values * cell_area[:, None]).sum(axis=(1, 2)) * 1e-3 / 86400
    np.testing.assert_allclose(found.sum("reach").values, fallen, rtol=1e-12)


def test_a_mean_is_that_of_what_is_covered(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng, "K"), overlaps(rng)
    found = xroute.remap(grid, made(grid, table), to="mean")
    np.testing.assert_allclose(found.values, sums(grid.values, table) / np.bincount(table[0], table[3]), rtol=1e-13)
    assert found.attrs["units"] == "K"
    np.testing.assert_allclose(xroute.remap(xr.full_like(grid, 3.7), made(grid, table), to="mean"), 3.7, rtol=1e-14)
    network = xr.Dataset({"downstream": ("reach", [0] * 7), "area": ("reach", np.bincount(table[0], table[3]), {"units": "m2"})},
                         {"reach": IDS}, {"scheme": "pure_lag"}).assign(delay=("reach", np.zeros(7)))  # fmt: skip
    depth = grid.assign_attrs(units="mm h-1")
    by_mean = xroute.remap(depth, made(grid, table), to="mean").route(network, scheme="pure_lag")
    np.testing.assert_allclose(by_mean, xroute.remap(depth, made(grid, table)).route(network, scheme="pure_lag"), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", ">f4", ">f8", "int64"])
def test_types(rng: np.random.Generator, dtype: str) -> None:
    grid, table = a_grid(rng), overlaps(rng)
    grid = grid.copy(data=(grid.values * 100).astype(dtype))
    found = xroute.remap(grid, made(grid, table))
    expected = sums(grid.values.astype(float), table) * 1e-3 / 3600
    halves = np.dtype(dtype).kind == "f" and np.dtype(dtype).itemsize <= 4
    assert found.dtype == (np.float32 if halves else np.float64)
    np.testing.assert_allclose(found.values, expected, rtol=1e-7 if halves else 1e-13)
    if halves:  # summed in float64, and rounded once
        assert (found.values == expected.astype(np.float32)).mean() > 0.99


def test_what_is_kept(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng, members=2), overlaps(rng)
    grid = grid.assign_coords(
        day=("time", grid.time.dt.day.values), slope=(("lat", "lon"), np.zeros((NY, NX))), cut=("lat", LAT)
    )
    grid.attrs |= {"GRIB_stepType": "accum", "standard_name": "runoff_flux", "grid_mapping": "crs", "history": "before"}
    found = xroute.remap(grid, made(grid, table))
    assert set(found.coords) == {"member", "time", "day", "height", "reach"}
    assert (
        found.attrs["GRIB_stepType"] == "accum" and found.attrs["time_label"] == "end" and found.attrs["long_name"] == "runoff"
    )
    assert "standard_name" not in found.attrs and "grid_mapping" not in found.attrs  # a volume flux is no runoff_flux
    assert found.attrs["history"].startswith("before\n")
    assert xroute.remap(grid, made(grid, table), to="mean").attrs["standard_name"] == "runoff_flux"
    for name in ("day", "time", "member"):
        assert found[name].identical(grid[name].drop_vars(["height"], errors="ignore").assign_coords(height=2.0)[name]) or (
            found[name].variable.identical(grid[name].variable)
        )


# ── what must not matter ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_in_any_order_of_dimensions_and_any_chunks(rng: np.random.Generator, dtype: Any) -> None:
    grid, table = a_grid(rng, members=3, dtype=dtype), overlaps(rng)
    weights = made(grid, table)
    expected = xroute.remap(grid, weights)
    ways = itertools.cycle(({"member": 2, "time": 7, "lat": 3, "lon": 2}, {"time": 1}, {"lat": 1, "lon": 4}))
    for dims, chunks in zip(itertools.permutations(grid.dims), ways, strict=False):  # each way on eight of the orders
        turned = grid.transpose(*dims)
        turned = turned.copy(data=np.ascontiguousarray(turned.values))
        found = xroute.remap(turned, weights)
        first = min(dims.index("lat"), dims.index("lon"))
        assert found.dims == tuple(
            "reach" if i == first else d for i, d in enumerate(dims) if i == first or d not in ("lat", "lon")
        )
        assert (found.transpose(*expected.dims).values == expected.values).all()
        lazy = xroute.remap(turned.chunk(chunks), weights, reach_chunks=3)
        assert (lazy.compute(scheduler="sync").values == found.values).all()


def test_threads_and_permutations(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng), overlaps(rng, 20_000)
    weights = made(grid, table)
    with xroute.set_options(threads=1):
        one = xroute.remap(grid, weights)
    with xroute.set_options(threads=3):
        assert (xroute.remap(grid, weights).values == one.values).all()
    order = np.argsort(
        rng.permutation(IDS.size)[table[0]], kind="stable"
    )  # catchments in another order, overlaps within them not
    moved = weights.isel(overlap=order, catchment=rng.permutation(IDS.size))
    assert (xroute.remap(grid, moved).sel(reach=IDS).values == one.values).all()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["raise", "zero", "others"]),
    st.integers(1, 40),
    st.integers(1, 8),
    st.integers(1, 10),
)
def test_drawn_chunks_gaps_and_layouts(seed: int, nan: str, time: int, lat: int, lon: int) -> None:
    rng = np.random.default_rng(seed)
    grid, table = a_grid(rng, members=int(rng.integers(0, 3))), overlaps(rng)
    if nan != "raise":
        grid = grid.where(rng.random(grid.shape) > 0.1)
    k, y, x, area = table
    every = np.arange(IDS.size)
    grid[..., y[every], x[every]] = grid[..., y[every], x[every]].fillna(0.5)  # each has a cell that is none of the gaps
    weights = made(grid, table)
    has = (~np.isnan(grid.values)).astype(float)
    expected = sums(np.nan_to_num(grid.values), table) * 1e-3 / 3600
    if nan == "others":
        expected = expected * np.bincount(k, area) / sums(has, table)
    found = xroute.remap(grid, weights, nan=nan)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    order = rng.permutation(list(grid.dims)).tolist()
    lazy = xroute.remap(grid.transpose(*order).chunk(time=time, lat=lat, lon=lon), weights, nan=nan)  # type: ignore[arg-type]
    assert (lazy.compute(scheduler="sync").transpose(*found.dims).values == found.values).all()


def test_cells_along_one_dimension(rng: np.random.Generator) -> None:
    values = rng.random((NT, 50))
    grid = xr.DataArray(
        values, {"time": pd.date_range("2000", periods=NT, freq="h")}, ("time", "cell"), attrs={"units": "m s-1"}
    )
    grid = grid.assign_coords(lat=("cell", rng.random(50)), lon=("cell", rng.random(50)))
    k, cell, area = np.array([0, 0, 1]), np.array([3, 49, 7]), np.array([1.0, 2.0, 3.0])
    weights = weights_dataset(
        np.array(["a", "a", "b"]), (cell,), area, catchment=np.array(["a", "b"]), attrs=grid_identity(grid, ("cell",))
    )
    expected = np.stack([values[:, 3] + 2 * values[:, 49], 3 * values[:, 7]], 1)
    assert k.size == 3
    for one in (grid, grid.T, grid.chunk(cell=8, time=4), grid.rename(cell="ncells").chunk(ncells=50)):
        np.testing.assert_allclose(xroute.remap(one, weights).transpose("time", "reach").values, expected, rtol=1e-14)
    with pytest.raises(AlignmentError, match="another grid"):
        xroute.remap(grid.isel(cell=slice(None, None, -1)), weights)


def test_a_curvilinear_grid(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng).rename(lat="y", lon="x").drop_vars(["y", "x"]), overlaps(rng)
    lat, lon = LAT[:, None] + 0.1 * np.arange(NX), LON + 0.2 * np.arange(NY)[:, None]
    grid = grid.assign_coords(nav_lat=(("y", "x"), lat), nav_lon=(("y", "x"), lon))
    k, y, x, area = table
    weights = weights_dataset(IDS[k], (y, x), area, catchment=IDS, attrs=grid_identity(grid, ("y", "x")))
    np.testing.assert_allclose(xroute.remap(grid, weights).values, sums(grid.values, table) * 1e-3 / 3600, rtol=1e-13)
    for other in (grid.isel(x=slice(None, None, -1)), grid.assign_coords(nav_lon=grid.nav_lon + 1)):
        with pytest.raises(AlignmentError, match="another grid"):
            xroute.remap(other, weights)


def test_places_that_are_noted_for_each_time_are_known_again(rng: np.random.Generator) -> None:
    """WRF writes XLAT and XLONG for each time."""
    grid, table = a_grid(rng).rename(lat="south_north", lon="west_east").drop_vars(["south_north", "west_east"]), overlaps(rng)
    lat, lon = LAT[:, None] + 0.1 * np.arange(NX), LON + 0.2 * np.arange(NY)[:, None]
    spatial = ("south_north", "west_east")
    still = grid.assign_coords(XLAT=(spatial, lat), XLONG=(spatial, lon))
    each = ("time", *spatial)
    n = grid.sizes["time"]
    moving = grid.assign_coords(XLAT=(each, np.stack([lat] * n)), XLONG=(each, np.stack([lon] * n)))
    k, y, x, area = table
    expected = sums(grid.values, table) * 1e-3 / 3600
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for made in (still, moving):
            weights = weights_dataset(IDS[k], (y, x), area, catchment=IDS, attrs=grid_identity(made, spatial))
            assert weights.attrs["grid_coords"] == "XLAT XLONG"
            for used in (still, moving, moving.isel(time=slice(1, 3))):
                got = xroute.remap(used, weights).transpose("time", "reach").values
                np.testing.assert_allclose(got, expected[1:3] if used.sizes["time"] == 2 else expected, rtol=1e-13)
    for other in (moving.isel(west_east=slice(None, None, -1)), moving.assign_coords(XLONG=moving.XLONG + 1)):
        with pytest.raises(AlignmentError, match="another grid"):
            xroute.remap(other, weights)


def test_counts_of_rows_do_not_place_cells(rng: np.random.Generator) -> None:
    """Rows in another order with new counts beside them are another grid, which latitudes on both dimensions tell."""
    grid, table = a_grid(rng).rename(lat="y", lon="x"), overlaps(rng)
    grid = grid.assign_coords(y=np.arange(NY), x=np.arange(NX))
    lat, lon = LAT[:, None] + 0.1 * np.arange(NX), LON + 0.2 * np.arange(NY)[:, None]
    placed = grid.assign_coords(XLAT=(("y", "x"), lat), XLONG=(("y", "x"), lon))
    k, y, x, area = table
    weights = weights_dataset(IDS[k], (y, x), area, catchment=IDS, attrs=grid_identity(placed, ("y", "x")))
    assert weights.attrs["grid_coords"] == "XLAT XLONG"
    turned = placed.isel(y=slice(None, None, -1)).assign_coords(y=np.arange(NY))
    with pytest.raises(AlignmentError, match="another grid"):
        xroute.remap(turned, weights)
    assert grid_identity(grid, ("y", "x"))["grid_coords"] == "y x"


# ── lazily ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def no_compute(*_: Any, **__: Any) -> Any:
    raise AssertionError("computed")


def test_dask_computes_nothing_before_it_is_asked(rng: np.random.Generator) -> None:
    import dask

    grid, table = a_grid(rng, members=2), overlaps(rng, columns=4)  # chunks of the columns from 4 on have no cells
    weights = made(grid, table)
    seen: set[tuple[int, ...]] = set()

    def noted(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        seen.add(tuple(block_info[0]["chunk-location"]))
        return block

    chunked = grid.chunk(time=10, lat=2, lon=4, member=1)
    watched = chunked.copy(data=chunked.data.map_blocks(noted, dtype=float, meta=np.empty((0,) * 4)))
    seen.clear()
    with dask.config.set(scheduler=no_compute):
        found = xroute.remap(watched, weights)
    assert found.chunksizes["time"] == (10, 10, 10) and found.chunksizes["reach"] == (7,) and not seen
    assert (found.compute(scheduler="sync").values == xroute.remap(grid, weights).values).all()
    assert {column for *_, column in seen} == {0}
    of_remap = [n for n, layer in found.data.dask.layers.items() if n.startswith("xroute-remap")]
    assert len(of_remap) == 1
    assert len(found.data.dask.layers[of_remap[0]]) <= 1 + 6 * (4 + 1)  # shared, and by chunk its pieces and the product


class CountingArray(xr.backends.BackendArray):
    """An array that notes which steps are read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.reads: list[tuple[Any, ...]] = []

    def __getitem__(self, key: Any) -> Any:
        indexing = xr.core.indexing
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        self.reads.append(key)
        taken = self.values
        for axis, k in enumerate(key):
            taken = np.take(taken, np.atleast_1d(np.arange(self.shape[axis])[k]), axis)
        return taken.reshape([np.size(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True) if not np.isscalar(k)])


def opened(grid: xr.DataArray, chunks: dict[str, int]) -> tuple[xr.DataArray, CountingArray]:
    source = CountingArray(grid.values)
    variable = xr.Variable(grid.dims, xr.core.indexing.LazilyIndexedArray(source), grid.attrs, {"preferred_chunks": chunks})
    lazy = xr.DataArray(variable, grid.coords, name=grid.name)
    lazy.encoding = variable.encoding
    return lazy, source


def test_what_was_opened_lazily_stays_lazy(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng, members=2), overlaps(rng)
    weights = made(grid, table)
    expected = xroute.remap(grid, weights)
    lazy, source = opened(grid, {"member": 1, "time": 10, "lat": 7, "lon": 9})
    found = xroute.remap(lazy, weights)
    assert not found.variable._in_memory and not source.reads and found.encoding["preferred_chunks"]["time"] == 10
    for key in (
        {"time": slice(3, 17)}, {"time": 4}, {"time": [9, 2, 29], "member": -1}, {"reach": 3},
        {"reach": [6, 0], "time": slice(None, None, -2)},
        {"member": 0, "time": 0, "reach": 0}, {"time": slice(0, 0)},
    ):  # fmt: skip
        part = found.isel(key)
        assert not part.variable._in_memory and part.identical(expected.isel(key).assign_attrs(history=part.attrs["history"]))
    source.reads.clear()
    found.isel(time=slice(10, 20)).load()
    steps = {int(t) for key in source.reads for t in np.atleast_1d(np.arange(NT)[key[1]])}
    assert steps == set(range(10, 20)) and len(source.reads) == 2
    assert found.transpose("reach", ...).load().transpose(*expected.dims).values.tolist() == expected.values.tolist()


def test_only_pieces_with_cells_are_read(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng), overlaps(rng, columns=9)
    k, y, x, area = table
    x = np.where(x < 5, 0, 8)  # the first and the last column
    y = np.where(y < 4, 0, 6)
    lazy, source = opened(grid, {"time": 5, "lat": 1, "lon": 1})
    found = xroute.remap(lazy, made(grid, (k, y, x, area)))
    np.testing.assert_allclose(found.values, sums(grid.values, (k, y, x, area)) * 1e-3 / 3600, rtol=1e-13)
    read = {(int(r), int(c)) for key in source.reads for r in np.arange(NY)[key[1]] for c in np.arange(NX)[key[2]]}
    assert read <= {(0, 0), (0, 8), (6, 0), (6, 8)}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_files_of_grid_and_weights(rng: np.random.Generator, tmp_path: Path, suffix: str) -> None:
    grid, table = a_grid(rng, dtype=np.float32), overlaps(rng)
    weights = made(grid, table, cell_area=table[3] * 2)
    expected = xroute.remap(grid, weights)
    if suffix == ".nc":
        grid.to_dataset().to_netcdf(tmp_path / "grid.nc", encoding={"ro": {"chunksizes": (6, 3, 4)}})
        weights.to_netcdf(tmp_path / "weights.nc")
        ds = xr.open_dataset(tmp_path / "grid.nc")
    else:
        grid.chunk(time=6, lat=3).to_dataset().to_zarr(tmp_path / "grid.zarr", consolidated=False)
        weights.to_zarr(tmp_path / "weights.zarr", consolidated=False)
        ds = xr.open_zarr(tmp_path / "grid.zarr", chunks=None, consolidated=False)
    with ds:
        found = xroute.remap(ds.ro, tmp_path / f"weights{suffix}")
        assert not found.variable._in_memory and found.encoding["preferred_chunks"]["time"] == 6
        assert (found.isel(time=slice(5, 13)).values == expected.isel(time=slice(5, 13)).values).all()
        assert (found.chunk(time=6).compute().values == expected.values).all()
    back = xroute.grids.read_weights(tmp_path / f"weights{suffix}")
    check_weights(back)
    assert back.reach.dtype == np.int64 and back.catchment.values.tolist() == IDS.tolist()


# ── gaps ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def with_a_gap(rng: np.random.Generator, value: float = np.nan) -> tuple[xr.DataArray, xr.Dataset]:
    """Catchment 51 has cells (0, 0) of 1 m2 and (0, 1) of 3 m2, of which the first is a gap from step 4 on; 748 is in (0, 2)."""
    grid = a_grid(rng, "m s-1")
    grid[4:, 0, 0] = value
    weights = weights_dataset(
        np.array([51, 51, 748]), (np.array([0, 0, 0]), np.array([0, 1, 2])), np.array([1.0, 3.0, 2.0]),
        catchment=np.array([51, 748]), attrs=grid_identity(grid, ("lat", "lon")),
    )  # fmt: skip
    return grid, weights


def kinds(grid: xr.DataArray) -> dict[str, xr.DataArray]:
    return {"memory": grid, "dask": grid.chunk(time=5, lon=2), "lazy": opened(grid, {"time": 5, "lat": 7, "lon": 9})[0]}


@pytest.mark.parametrize("kind", ["memory", "dask", "lazy"])
def test_gaps_raise_and_are_named(rng: np.random.Generator, kind: str) -> None:
    grid, weights = with_a_gap(rng)
    message = r"NaN.*first at time 2000-01-0\dT.*1 catchments.*51 \(0\.25 of its area\).*nan=\"others\".*nan=\"zero\""
    with pytest.raises(XRouteError, match=message):
        xroute.remap(kinds(grid)[kind], weights).load()
    grid[:, 3, 3] = np.nan  # no catchment has a cell there
    np.testing.assert_array_equal(xroute.remap(kinds(grid)[kind], weights, nan="zero").sel(reach=748).load(), 2 * grid[:, 0, 2])


@pytest.mark.parametrize("kind", ["dask", "lazy"])
def test_the_step_of_a_part_is_named_by_its_own_label(rng: np.random.Generator, kind: str) -> None:
    grid, weights = with_a_gap(rng)
    lazy = grid.chunk(time=10) if kind == "dask" else kinds(grid)[kind]
    with pytest.raises(XRouteError, match="first at time 2000-01-01T21"):
        part = xroute.remap(lazy, weights).isel(time=slice(21, 29))
        part.compute(scheduler="sync") if kind == "lazy" else xroute.remap(lazy.isel(time=slice(21, 29)), weights).compute()


@pytest.mark.parametrize("kind", ["memory", "dask", "lazy"])
def test_gaps_are_no_water_or_what_others_have(rng: np.random.Generator, kind: str) -> None:
    grid, weights = with_a_gap(rng)
    second = grid.values[:, 0, 1]
    zero = xroute.remap(kinds(grid)[kind], weights, nan="zero").sel(reach=51).values
    np.testing.assert_allclose(zero[4:], 3 * second[4:], rtol=1e-15)
    others = xroute.remap(kinds(grid)[kind], weights, nan="others").sel(reach=51).values
    np.testing.assert_allclose(others[4:], 4 * second[4:], rtol=1e-15)
    np.testing.assert_allclose(others[:4], grid.values[:4, 0, 0] + 3 * second[:4], rtol=1e-15)
    mean = xroute.remap(kinds(grid)[kind], weights, nan="others", to="mean").sel(reach=51).values
    np.testing.assert_allclose(mean[4:], second[4:], rtol=1e-15)


@pytest.mark.parametrize("kind", ["memory", "dask", "lazy"])
def test_what_has_no_others_raises(rng: np.random.Generator, kind: str) -> None:
    grid, weights = with_a_gap(rng)
    grid[7, 0, 1] = np.nan
    with pytest.raises(XRouteError, match=r"all cells of 1 catchments are NaN.*T07.*51"):
        xroute.remap(kinds(grid)[kind], weights, nan="others").load()


@pytest.mark.parametrize("kind", ["memory", "dask", "lazy"])
@pytest.mark.parametrize("nan", ["raise", "zero", "others"])
def test_infinite_values_raise_always(rng: np.random.Generator, kind: str, nan: Any) -> None:
    grid, weights = with_a_gap(rng, -np.inf)
    with pytest.raises(XRouteError, match=r"infinite.*first at time 2000.*51 \(0\.25 of its area\)"):
        xroute.remap(kinds(grid)[kind], weights, nan=nan).load()


def test_an_overflow_is_told_apart(rng: np.random.Generator) -> None:
    grid, weights = with_a_gap(rng, 1.0)
    huge = (grid * 0 + 3e38).astype(np.float32).assign_attrs(units="m s-1")
    with pytest.raises(XRouteError, match="overflows float32"):
        xroute.remap(huge, weights)


def test_a_catchment_without_cells(rng: np.random.Generator) -> None:
    grid = a_grid(rng)
    weights = weights_dataset(
        np.array([1]), (np.array([0]), np.array([0])), np.array([5.0]), catchment=np.array([1, 2]),
        catchment_area=np.array([5.0, 9.0]), attrs=grid_identity(grid, ("lat", "lon")),
    )  # fmt: skip
    assert weights.covered.values.tolist() == [1.0, 0.0]
    with pytest.warns(UserWarning, match="1 catchments have no cell of the grid, and have no volume: 2"):
        assert (xroute.remap(grid, weights).sel(reach=2) == 0).all()
    with pytest.warns(UserWarning, match="are NaN: 2"):
        assert xroute.remap(grid, weights, to="mean").sel(reach=2).isnull().all()


# ── another grid ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_grid_is_refused(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng), overlaps(rng)
    weights = made(grid, table)
    wrong = {
        "other way round": grid.isel(lat=slice(None, None, -1)), "part of that grid": grid.isel(lat=slice(0, 5)),
        "another grid": grid.assign_coords(lon=grid.lon + 0.5), "grid_weights": grid.roll(lon=4, roll_coords=True),
        "7 x 8": grid.isel(lon=slice(1, None)), "dimensions": grid.rename(lat="a", lon="b"),
    }  # fmt: skip
    for message, other in wrong.items():
        with pytest.raises(AlignmentError, match=message):
            xroute.remap(other, weights)
    middle = grid.assign_coords(lon=np.concatenate([LON[:3], LON[3:6] + 0.5, LON[6:]]))
    with pytest.raises(AlignmentError, match="another grid"):
        xroute.remap(middle, weights)
    with pytest.raises(AlignmentError, match="dimensions"):
        xroute.remap(grid.isel(lat=0), weights)


def test_the_same_grid_by_other_names_is_taken(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng), overlaps(rng)
    weights = made(grid, table)
    expected = xroute.remap(grid, weights).values
    same = [
        grid.rename(lat="latitude", lon="longitude"), grid.assign_coords(lon=grid.lon.astype(np.float32) + 360),
        grid.assign_coords(lat=(grid.lat + 1e-6).astype(np.float32)),
        grid.transpose("lon", "lat", "time").rename(lat="y", lon="x"),
    ]  # fmt: skip
    for one in same:
        assert (xroute.remap(one, weights).transpose("time", "reach").values == expected).all()
    with pytest.warns(UserWarning, match="bears no coordinates"):
        assert (xroute.remap(grid.drop_vars(["lat", "lon"]), weights).values == expected).all()


def test_wrong_weights_are_refused(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng), overlaps(rng)
    weights = made(grid, table)
    for wrong, message in (
        (weights.drop_vars("area"), "Dataset of"), (grid, "DataArray"), (weights.assign(area=-weights.area), "negative"),
        (weights.assign(area=weights.area * np.nan), "NaN"), (weights.assign(y_index=weights.y_index + 5), "out of range"),
        (weights.isel(catchment=slice(0, 3)), "none of their catchments"),
        (weights.isel(catchment=[0, 0, *range(1, 7)]), "more than once"),
        (weights.assign(x_index=weights.x_index + 0.5), "positions"),
    ):  # fmt: skip
        with pytest.raises(XRouteError, match=message):
            xroute.remap(grid, wrong)
    for options, message in (
        ({"to": "sum"}, "to is one of"),
        ({"nan": "drop"}, "nan is one of"),
        ({"reach_chunks": 0}, "reach_chunks"),
    ):
        with pytest.raises(ParameterError, match=message):
            xroute.remap(grid, weights, **options)  # type: ignore[arg-type]
    for units, message in (
        (None, "no units"),
        ("", "no units"),
        ("K", "no runoff"),
        ("mm month-1", "per month"),
        ("bananas", "not understood"),
    ):
        with pytest.raises(UnitsError, match=message):
            xroute.remap(grid.assign_attrs(units=units), weights)
    with pytest.raises(UnitsError, match="no mean over an area"):
        xroute.remap(grid.assign_attrs(units="m3 s-1"), weights, to="mean")
    with pytest.raises(XRouteError, match="numbers"):
        xroute.remap(grid > 0.5, weights)
    with pytest.raises(AlignmentError, match="'reach' of its own"):
        xroute.remap(grid.assign_coords(reach=1), weights)
    with pytest.raises(FileNotFoundError):
        xroute.remap(grid, "nowhere.nc")


def test_weights_of_some_reaches(rng: np.random.Generator) -> None:
    grid, table = a_grid(rng), overlaps(rng)
    weights = made(grid, table)
    few = select_weights(weights, [510, 51])
    found = xroute.remap(grid, few)
    assert found.identical(xroute.remap(grid, weights).sel(reach=[510, 51]).assign_attrs(history=found.attrs["history"]))
    for ids, message in (([1], "have no weights"), ([51, 51], "more than once")):
        with pytest.raises(AlignmentError, match=message):
            select_weights(weights, ids)


def test_pieces_are_those_with_cells(rng: np.random.Generator) -> None:
    from xroute.grids.apply import Product
    from xroute.grids.table import table_of

    grid, table = a_grid(rng), overlaps(rng, columns=3)
    product = Product.of(table_of(made(grid, table)), shared=False, mean=False, factor=1.0, nan="raise")
    pieces = make_pieces(product, (NY, NX), [(3, 4), (3, 3, 3)], whole=True)
    assert {p.number[1] for p in pieces.pieces} == {0}
    assert sum(p.row.size for p in pieces.pieces) == len(set(zip(table[1].tolist(), table[2].tolist(), strict=True)))


# ── then routed ───────────────────────────────────────────────────────────────────────────────────────────────────────


def a_basin(rng: np.random.Generator, units: str = "mm") -> tuple[xr.DataArray, xr.Dataset, xr.Dataset]:
    """A grid, a network and weights of its reaches in another order."""
    network = xroute.datasets.scheidegger(4, 5)
    ids = rng.permutation(network.reach.values)
    grid = a_grid(rng, units)
    k = np.concatenate([np.arange(ids.size), rng.integers(0, ids.size, 60)])
    weights = weights_dataset(
        ids[k], (rng.integers(0, NY, k.size), rng.integers(0, NX, k.size)), rng.random(k.size) * 1e7,
        catchment=rng.permutation(ids),
        attrs=grid_identity(grid, ("lat", "lon")),
    )  # fmt: skip
    return grid, network, weights


def test_routing_a_grid_is_to_remap_and_to_route(rng: np.random.Generator, tmp_path: Path) -> None:
    grid, network, weights = a_basin(rng)
    expected, end = xroute.remap(grid, weights).route(network, return_state=True)
    expected = expected.sel(reach=network.reach)
    found, state = grid.route(network, weights=weights, return_state=True)
    assert found.dims == ("time", "reach") and found.reach.values.tolist() == network.reach.values.tolist()
    assert (found.values == expected.values).all() and found.attrs["units"] == "m3 s-1" and found.attrs["time_label"] == "end"
    xr.testing.assert_equal(state, end)
    weights.to_netcdf(tmp_path / "weights.nc")
    for kind, one in kinds(grid).items():
        lazy, last = one.route(network, weights=str(tmp_path / "weights.nc"), return_state=True)
        assert (lazy.chunks is not None) == (kind == "dask")
        assert (lazy.values == expected.values).all() and (last.outflow.values == end.outflow.values).all()
        stored = xroute.route_to_zarr(one, network, tmp_path / f"{kind}.zarr", weights=weights, time_chunk=7, progress=False)
        assert (stored.values == expected.values).all()


def test_a_stream_from_a_grid_goes_on_after_a_crash(rng: np.random.Generator, tmp_path: Path) -> None:
    grid, network, weights = a_basin(rng)
    expected = grid.route(network, weights=weights)
    damaged = grid.copy(deep=True)
    damaged[17] = np.nan
    options: dict[str, Any] = {"weights": weights, "time_chunk": 5, "progress": False}
    for kind in ("lazy", "dask"):
        store = tmp_path / f"{kind}.zarr"
        with pytest.raises(XRouteError, match="NaN"):
            xroute.route_to_zarr(kinds(damaged)[kind], network, store, **options)
        other = weights.assign(area=weights.area * 2)
        with pytest.raises((XRouteError, FileExistsError)):  # what was begun with other weights is not gone on with
            xroute.route_to_zarr(kinds(grid)[kind], network, store, **{**options, "weights": other})
        lazy, source = opened(grid, {"time": 5, "lat": 7, "lon": 9})
        stored = xroute.route_to_zarr(lazy if kind == "lazy" else kinds(grid)[kind], network, store, **options)
        assert (stored.values == expected.values).all()
        if kind == "lazy":
            steps = [int(t) for key in source.reads for t in np.atleast_1d(np.arange(NT)[key[0]])]
            assert sorted(steps) == list(range(15, NT))  # each once, and none of those that were done


def test_reaches_and_weights_that_do_not_meet(rng: np.random.Generator) -> None:
    grid, network, weights = a_basin(rng)
    ids = network.reach.values
    few = select_weights(weights, ids[:5])
    with pytest.raises(AlignmentError, match="15 reaches of the network have no weights"):
        grid.route(network, weights=few)
    found = grid.route(network, weights=few, missing="zero")
    expected = xroute.remap(grid, few).route(network, missing="zero").sel(reach=network.reach)
    assert found.reach.values.tolist() == ids.tolist() and (found.values == expected.values).all()
    part = network.river.upstream(ids[-1])
    smaller = network.river.basin(ids[-1])
    if len(part) < ids.size:
        with pytest.raises(AlignmentError, match="are not in the network"):
            grid.route(smaller, weights=weights)
        assert grid.route(smaller, weights=weights, extra="drop").sizes["reach"] == len(part)


def test_gaps_of_a_grid_that_is_routed(rng: np.random.Generator) -> None:
    grid, network, weights = a_basin(rng)
    gaps = grid.where((grid.lon > 0) | (grid.lat < 60))
    with pytest.raises(XRouteError, match='nan="others"'):
        gaps.route(network, weights=weights)
    for nan in ("zero", "others"):
        expected = xroute.remap(gaps, weights, nan=nan).route(network).sel(reach=network.reach)  # type: ignore[arg-type]
        assert (gaps.route(network, weights=weights, nan=nan).values == expected.values).all()
    on_reaches = xroute.remap(grid, weights)
    with pytest.raises(ParameterError, match="weights="):
        on_reaches.route(network, nan="others")
    with pytest.raises(ParameterError, match="reach_dim"):
        grid.route(network, weights=weights, reach_dim="lat")
    with pytest.raises(AlignmentError, match="weights are of the grid"):
        on_reaches.route(network, weights=weights)


def test_a_grid_without_weights_says_what_to_do(rng: np.random.Generator) -> None:
    grid, network, _ = a_basin(rng)
    with pytest.raises(AlignmentError, match=r"xroute\.grid_weights\(grid, catchments\).*weights=weights"):
        grid.route(network)


def test_accumulated_grids_are_taken_apart_before_or_after(rng: np.random.Generator) -> None:
    grid, _, weights = a_basin(rng, "m")
    hour = (np.arange(NT) + 23) % 24
    total = np.zeros(grid.shape)
    for t in range(NT):
        total[t] = grid.values[t] + (total[t - 1] if t and hour[t] else 0.0)
    climbing = grid.copy(data=total).assign_attrs(GRIB_stepType="accum")
    before = xroute.remap(xroute.deaccumulate(climbing, "day"), weights)
    after = xroute.deaccumulate(xroute.remap(climbing, weights), "day")
    np.testing.assert_allclose(before, after, rtol=1e-12, atol=1e-9)
    assert before.time.equals(after.time) and after.attrs["units"] == before.attrs["units"] == "m3"
    network = xroute.datasets.scheidegger(4, 5)
    days = xr.concat(
        [climbing.isel(time=slice(1, 25)).assign_coords(time=climbing.time[1:25] + pd.Timedelta(days=d)) for d in range(3)],
        "time",
    )
    with pytest.raises(XRouteError, match="accumulates"):
        days.route(network, weights=weights)


def test_pint(rng: np.random.Generator) -> None:
    import pint

    grid, network, weights = a_basin(rng)
    registry = pint.UnitRegistry()
    quantity = grid.copy(data=registry.Quantity(grid.values, "mm/hour"))
    quantity.attrs.pop("units")
    plain = grid.assign_attrs(units="mm h-1")
    found = xroute.remap(quantity, weights)
    assert found.data.units == registry.Unit("m**3/s")
    np.testing.assert_allclose(found.data.magnitude, xroute.remap(plain, weights).values, rtol=1e-12)
    routed = quantity.route(network, weights=weights)
    np.testing.assert_allclose(routed.data.magnitude, plain.route(network, weights=weights).values, rtol=1e-12)


def test_on_workers(rng: np.random.Generator, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    grid, network, weights = a_basin(rng)
    expected = grid.route(network, weights=weights)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        with distributed.Client(cluster):
            chunked = grid.chunk(time=10, lat=4)
            assert (chunked.route(network, weights=weights, partitions=2).compute().values == expected.values).all()
            stored = xroute.route_to_zarr(chunked, network, tmp_path / "q.zarr", weights=weights, progress=False)
            assert (stored.values == expected.values).all()


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_line_routes_a_grid(rng: np.random.Generator, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from xroute.cli import main

    grid, network, weights = a_basin(rng)
    gaps = grid.where((grid.lon > 0) | (grid.lat < 60))
    gaps.rename(time="valid_time").to_dataset().to_netcdf(tmp_path / "grid.nc", encoding={"ro": {"chunksizes": (6, 3, 4)}})
    network.to_zarr(tmp_path / "network.zarr", consolidated=False)
    weights.to_netcdf(tmp_path / "weights.nc")
    names = [str(tmp_path / n) for n in ("grid.nc", "network.zarr", "q.zarr")]

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, list(arguments))

    told = run("route", *names)
    assert told.exit_code == 1 and "`xroute weights GRID CATCHMENTS weights.nc`" in told.output
    told = run("route", *names[:2], str(tmp_path / "q.nc"), "--weights", str(tmp_path / "weights.nc"))
    assert told.exit_code == 1 and "--nan others" in told.output
    told = run("route", *names, "--weights", str(tmp_path / "weights.nc"), "--nan", "others", "--time-chunk", "7")
    assert told.exit_code == 0, told.output
    expected = gaps.route(network, weights=weights, nan="others")
    found = xr.open_zarr(tmp_path / "q.zarr", consolidated=False).discharge.transpose("time", "reach")
    assert (found.values == expected.values).all() and found.reach.values.tolist() == network.reach.values.tolist()
    told = run("route", *names[:2], names[0], "--weights", names[0])
    assert told.exit_code != 0
    told = run("route", names[0], str(tmp_path / "weights.nc"), str(tmp_path / "x.zarr"))
    assert told.exit_code == 1 and "holds weights, and no network" in told.output
    told = run("info", str(tmp_path / "weights.nc"))
    assert told.exit_code == 0 and "--weights" in told.output and "7 lat x 9 lon" in told.output
    told = run("info", names[0])
    assert told.exit_code == 0 and "xroute weights" in told.output


def test_the_command_line_takes_an_accumulated_grid(rng: np.random.Generator, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from xroute.cli import main

    grid, network, weights = a_basin(rng, "m")
    grid = grid.assign_coords(time=grid.time + pd.Timedelta("1h")) * 1e-3
    grid.attrs["units"] = "m"
    day = (grid.time.values - np.timedelta64(1, "m")).astype("datetime64[D]")
    total = grid.copy(data=np.concatenate([np.cumsum(grid.values[day == d], axis=0) for d in np.unique(day)]))
    total.attrs["GRIB_stepType"] = "accum"
    total.to_dataset().to_netcdf(tmp_path / "grid.nc")
    network.to_zarr(tmp_path / "network.zarr", consolidated=False)
    weights.to_netcdf(tmp_path / "weights.nc")
    command = ["route", *(str(tmp_path / n) for n in ("grid.nc", "network.zarr", "q.zarr"))]
    command += ["--weights", str(tmp_path / "weights.nc"), "--deaccumulate", "day"]
    told = CliRunner().invoke(main, command)
    assert told.exit_code == 0, told.output
    found = xr.open_zarr(tmp_path / "q.zarr", consolidated=False).discharge.transpose("time", "reach")
    expected = grid.route(network, weights=weights)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9, atol=1e-9 * float(expected.max()))


# ── on a device ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("nan", ["raise", "zero", "others"])
@pytest.mark.parametrize("mean", [True, False])
def test_the_product_in_torch(rng: np.random.Generator, nan: str, mean: bool) -> None:
    from xroute.grids.apply import Product, Steps
    from xroute.grids.device import multiply_tensor
    from xroute.grids.table import table_of

    grid, table = a_grid(rng), overlaps(rng)
    values = grid.values.copy()
    if nan != "raise":
        values[3:, table[1][0], table[2][0]] = np.nan
    product = Product.of(table_of(made(grid, table)), shared=False, mean=mean, factor=0.1, nan=nan)
    expected = product(values, (1, 2), Steps(("time",), (None,), (0,)))
    device = torch.device(DEVICE)
    found = multiply_tensor(product, torch.from_numpy(values.reshape(NT, -1)).to(device), NX)
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-12)


def test_blocks_of_one_product_share_their_matrix(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    from xroute.grids import device
    from xroute.grids.apply import Product
    from xroute.grids.table import table_of

    n_made, sums = [], device.Sums
    monkeypatch.setattr(device, "Sums", lambda *args: n_made.append(1) or sums(*args))
    product = Product.of(table_of(made(a_grid(rng), overlaps(rng))), shared=False, mean=False, factor=1.0, nan="others")
    values = torch.rand(3, NY * NX, dtype=torch.float64)
    blocks = [device.multiply_tensor(product, values[k : k + 1], NX) for k in range(3)]
    assert torch.equal(torch.cat(blocks), device.multiply_tensor(product, values, NX))
    assert len(n_made) == 2  # of weights, and of areas
    pickle.dumps(product)  # what a worker gets has none of them
    del product, blocks
    gc.collect()
    assert not device._MATRICES


# ── Router ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_router_takes_the_grid(rng: np.random.Generator) -> None:
    grid, network, weights = a_basin(rng, "mm h-1")
    expected = grid.route(network, weights=weights).transpose("reach", "time").values
    router = xroute.Router(network, dt="1h", weights=weights, units="mm h-1").to(DEVICE)
    values = torch.from_numpy(grid.transpose("lat", "lon", "time").values.copy()).to(DEVICE)
    flat = values.reshape(-1, NT)
    for one, batch in ((values, False), (flat, False), (values[None], True), (flat[None], True)):
        found = router(one)
        np.testing.assert_allclose((found[0] if batch else found).cpu(), expected, rtol=1e-9, atol=1e-12)
    assert router(torch.stack([values, 2 * values])).shape == (2, 20, NT)
    depth = xroute.Router(network, dt="1h", weights=weights, units="mm")(values * 1.0)
    np.testing.assert_allclose(depth.cpu(), expected, rtol=1e-9, atol=1e-12)  # of an hour's step
    metres = xroute.Router(network, dt="1h", weights=weights)(values / 3.6e6)
    np.testing.assert_allclose(metres.cpu(), expected, rtol=1e-9, atol=1e-12)
    assert router(values.float()).dtype == torch.float32


def test_gradients_flow_to_the_cells(rng: np.random.Generator) -> None:
    from xroute.grids.device import Sums, bring

    pointer, column, weight = np.array([0, 2, 2, 5]), np.array([3, 0, 1, 1, 2]), rng.random(5)
    matrix = np.zeros((3, 4))
    for r in range(3):
        for k in range(pointer[r], pointer[r + 1]):
            matrix[r, column[k]] += weight[k]
    sums = Sums(pointer, column, weight, 4)
    values = torch.rand(2, 4, 5, dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(bring(values, sums).detach(), matrix @ values.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(sums.times_sparse(values.detach()), matrix @ values.detach().numpy(), rtol=1e-14)
    assert torch.autograd.gradcheck(lambda v: bring(v, sums), values)
    assert torch.autograd.gradgradcheck(lambda v: bring(v, sums) ** 2, values)
    grid, network, weights = a_basin(rng, "m s-1")
    router = xroute.Router(network, dt="1h", weights=weights)
    cells = (torch.rand(NY, NX, 4, dtype=torch.float64) * 1e-6).requires_grad_()
    assert torch.autograd.gradcheck(router, cells, eps=1e-9, atol=1e-2, rtol=1e-5)


def test_a_router_refuses_what_does_not_fit(rng: np.random.Generator) -> None:
    grid, network, weights = a_basin(rng)
    router = xroute.Router(network, dt="1h", weights=weights)
    with pytest.raises(ParameterError, match="weights are of a grid of 7, 9"):
        router(torch.rand(9, 7, 3))
    with pytest.raises(AlignmentError, match="15 reaches of the network have no weights"):
        xroute.Router(network, dt="1h", weights=select_weights(weights, network.reach.values[:5]))
    part = network.river.basin(network.river.headwaters[:1])
    with pytest.raises(AlignmentError, match="select_weights"):
        xroute.Router(part, dt="1h", weights=weights)
    xroute.Router(part, dt="1h", weights=select_weights(weights, part.reach.values))
    with pytest.raises(UnitsError):
        xroute.Router(network, dt="1h", weights=weights, units="K")
    with pytest.raises(ParameterError, match="cell_area"):
        xroute.Router(network, dt="1h", weights=weights, units="m3 s-1")
    with pytest.raises(ParameterError, match="weights="):
        xroute.Router(network, dt="1h", units="mm")


def test_no_warning_is_given_for_nothing(rng: np.random.Generator) -> None:
    grid, network, weights = a_basin(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid.route(network, weights=weights)
        xroute.remap(grid.chunk(time=3), weights).compute()
