"""Tables of weights of other systems: small files of each, and the sums that they mean, written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute import AlignmentError, ParameterError, XRouteError
from xroute.grids import read_weights

NY, NX, NT = 4, 5, 6
LAT, LON = np.array([40.0, 30.0, 20.0, 10.0]), np.array([0.0, 10.0, 20.0, 30.0, 40.0])
BIG = 2**53 + 1
RADIUS = 6371007.181


@pytest.fixture
def grid() -> xr.DataArray:
    values = np.random.default_rng(3).random((NT, NY, NX))
    coords = {"time": pd.date_range("2000-01-01", periods=NT, freq="h"), "lat": LAT, "lon": LON}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name="ro", attrs={"units": "m s-1"})


# reach, row, column, area: reach 30 has no cell
ROWS = [(BIG, 0, 1, 2.0), (BIG, 3, 4, 5.0), (20, 1, 1, 7.0), (20, 1, 2, 0.5), (20, 2, 2, 1.5), (10, 3, 0, 4.0)]


def expected(grid: xr.DataArray, reach: int) -> np.ndarray:
    total = np.zeros(NT)
    for r, y, x, area in ROWS:
        if r == reach:
            total += area * grid.values[:, y, x]
    return total


def check(weights: xr.Dataset, grid: xr.DataArray, runoff: xr.DataArray | None = None) -> None:
    """Remapped runoff is what the rows give on a grid; ``runoff`` is the same in another form."""
    found = xroute.remap(grid if runoff is None else runoff, weights)
    for reach in (BIG, 20, 10):
        np.testing.assert_allclose(found.sel(reach=reach), expected(grid, reach), rtol=1e-12)


# ── RAPID ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rapid(header: str, places: bool, dummy: str) -> str:
    lines = [header]
    for reach, y, x, area in ROWS:
        n = sum(r[0] == reach for r in ROWS)
        lines.append(f"{reach},{area},{x},{y},{n}" + (f",{LON[x] - 360 * (x > 2):.4f},{LAT[y]:.4f}" if places else ""))
    return "\n".join([*lines, f"30,0{dummy}"]) + "\n"


@pytest.mark.parametrize(
    ("header", "places", "dummy"),
    [
        ("rivid,area_sqm,lon_index,lat_index,npoints", False, ",0,0,1"),
        ("rivid,area_sqm,lon_index,lat_index,npoints,lsm_grid_lon,lsm_grid_lat", True, ",-9999,-9999,-9999,-9999,-9999"),
        ("COMID, area_sqm, lon_index, lat_index, npoints, Lon, Lat", True, ",1,0,1,10,40"),
        ("TDXHydroLinkNo,area_sqm,lon_index,lat_index,npoints,lon,lat", True, ",-1,-1,1,0,0"),
    ],
)
def test_rapid(tmp_path: Path, grid: xr.DataArray, header: str, places: bool, dummy: str) -> None:
    (tmp_path / "weight.csv").write_text(rapid(header, places, dummy))
    for more in ({}, {"kind": "rapid"}, {"grid": grid}):
        weights = read_weights(tmp_path / "weight.csv", **more)  # type: ignore[arg-type]
        assert weights.catchment.values.tolist() == [BIG, 20, 10, 30]
        np.testing.assert_allclose(weights.catchment_area, [7.0, 9.0, 4.0, 0.0])
        with pytest.warns(UserWarning, match="no cell of the grid"):
            check(weights, grid)
    if places:  # rows counted from the other end are seen
        with pytest.raises(AlignmentError, match="elsewhere"):
            xroute.remap(grid.isel(lat=slice(None, None, -1)), read_weights(tmp_path / "weight.csv"))
    with pytest.raises(AlignmentError, match="other way round"):
        xroute.remap(grid.isel(lat=slice(None, None, -1)), read_weights(tmp_path / "weight.csv", grid=grid))


def test_rapid_that_does_not_say_its_grid_warns(tmp_path: Path, grid: xr.DataArray) -> None:
    (tmp_path / "weight.csv").write_text(rapid("rivid,area_sqm,lon_index,lat_index,npoints", False, ",0,0,1"))
    with pytest.warns(UserWarning, match="do not say which grid they are of"):
        xroute.remap(grid, tmp_path / "weight.csv")
    with pytest.raises(AlignmentError, match="another grid"):
        xroute.remap(grid.isel(lat=slice(0, 3)), tmp_path / "weight.csv")


def test_broken_rapid_tables(tmp_path: Path, grid: xr.DataArray) -> None:
    text = rapid("rivid,area_sqm,lon_index,lat_index,npoints", False, ",0,0,1")
    for wrong, message in (
        (text.replace("20,0.5,2,1,3\n", ""), "npoints"), (text.replace(",4,3,2", ",-4,3,2"), "no position"),
        (text.replace(",4,3,2", ",4.5,3,2"), "no position"), ("a,b\n1,2\n", "no table of weights"), ("a,b,c\n1,2,3\n", "known"),
        (text.replace("5.0,4", "-5.0,4"), "negative"),
    ):  # fmt: skip
        (tmp_path / "weight.csv").write_text(wrong)
        with pytest.raises(XRouteError, match=message):
            read_weights(tmp_path / "weight.csv")
    (tmp_path / "weight.csv").write_text(text.replace(",4,3,2", ",9,3,2"))
    with pytest.raises((AlignmentError, ParameterError), match=r"x_index"):
        read_weights(tmp_path / "weight.csv", grid=grid)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(XRouteError):
        read_weights(tmp_path / "empty.csv")


# ── river-route ───────────────────────────────────────────────────────────────────────────────────────────────────────


def river_route(total: bool = True, area: bool = True) -> pd.DataFrame:
    table = pd.DataFrame(ROWS, columns=["river_id", "y_index", "x_index", "area_sqm"])
    table["x"], table["y"] = LON[table.x_index], LAT[table.y_index]
    if total:
        table["area_sqm_total"] = table.groupby("river_id").area_sqm.transform("sum")
        table["proportion"] = table.area_sqm / table.area_sqm_total
    return table if area else table.drop(columns="area_sqm")


@pytest.mark.parametrize("suffix", [".nc", ".csv", ".parquet"])
@pytest.mark.parametrize("area", [True, False])
@pytest.mark.parametrize("name", ["river_id", "LINKNO", "riverId"])
def test_river_route(tmp_path: Path, grid: xr.DataArray, suffix: str, area: bool, name: str) -> None:
    table, path = river_route(area=area).rename(columns={"river_id": name}), tmp_path / f"weights{suffix}"
    if suffix == ".nc":
        table.to_xarray().to_netcdf(path)
    elif suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    weights = read_weights(path)
    assert weights.catchment.values.tolist() == [BIG, 20, 10]
    check(weights, grid)
    with pytest.raises(AlignmentError, match="elsewhere"):
        xroute.remap(grid.isel(lon=slice(None, None, -1)), weights)


def test_parts_need_areas(grid: xr.DataArray) -> None:
    table = river_route(area=False).drop(columns="area_sqm_total")
    with pytest.raises(ParameterError, match="areas="):
        read_weights(table)
    network = xr.Dataset({"area": ("reach", [9e-6, 7e-6, 4e-6, 1.0], {"units": "km2"})}, {"reach": [20, BIG, 10, 3]})
    for areas in (network, network.area, {20: 9.0, BIG: 7.0, 10: 4.0}, pd.Series([9.0, 7.0, 4.0], [20, BIG, 10])):
        check(read_weights(table, areas=areas), grid)
    with pytest.raises(AlignmentError, match="no area: 10"):
        read_weights(table, areas={20: 9.0, BIG: 7.0})


# ── mizuRoute ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def mapping(dummy: bool = False, order: tuple[int, ...] = (20, 30, BIG, 10)) -> xr.Dataset:
    whole = {BIG: 8.0, 20: 9.0, 10: 4.0, 30: 1.0}
    data, count = [], []
    for reach in order:
        own = [(y, x, area / whole[reach]) for r, y, x, area in ROWS if r == reach]
        count.append(len(own))
        data += own or ([(-10000, -10000, 0.0)] if dummy else [])
    y, x, part = (np.array(v) for v in zip(*data, strict=True))
    return xr.Dataset({
        "polyid": ("polyid", np.array(order)), "overlaps": ("polyid", count), "weight": ("data", part),
        "i_index": ("data", x.astype("i4") + 1), "j_index": ("data", y.astype("i4") + 1),
    }).reset_coords()  # fmt: skip


AREAS = {BIG: 8.0, 20: 9.0, 10: 4.0, 30: 1.0}


@pytest.mark.parametrize("dummy", [True, False])
@pytest.mark.parametrize("count", ["overlaps", "nOverlaps"])
def test_mizuroute_on_a_grid(tmp_path: Path, grid: xr.DataArray, dummy: bool, count: str) -> None:
    table = mapping(dummy).rename(overlaps=count)
    table["weight"] = table.weight.where(table.i_index > 0)  # no weight of no cell
    table.to_netcdf(tmp_path / "map.nc")
    weights = read_weights(tmp_path / "map.nc", areas=AREAS, grid=grid)
    assert weights.catchment.values.tolist() == [20, 30, BIG, 10]
    np.testing.assert_allclose(weights.covered, [1.0, 0.0, 7 / 8, 1.0])
    with pytest.warns(UserWarning, match="no cell"):
        check(weights, grid)
    with pytest.raises(ParameterError, match="how large catchments are"):
        read_weights(tmp_path / "map.nc")


def test_spatial_weights_of_the_national_water_model(grid: xr.DataArray) -> None:
    table = mapping(order=(20, BIG, 10))
    table["IDmask"] = "data", np.repeat([20, BIG, 10], [3, 2, 1])
    check(read_weights(table, areas=AREAS), grid)
    check(read_weights(table.drop_vars("overlaps"), areas=AREAS), grid)
    table["IDmask"] = "data", np.repeat([BIG, 20, 10], [2, 3, 1])
    with pytest.raises(ParameterError, match="say of other overlaps"):
        read_weights(table, areas=AREAS)


def test_broken_mappings(grid: xr.DataArray) -> None:
    for wrong, message in (
        (mapping().isel(data=slice(1, None)), "cut off"), (mapping().assign(j_index=mapping().j_index - 1), "counts from 1"),
        (mapping().drop_vars(["i_index", "j_index"]), "known"),
        (mapping().assign(weight=mapping().weight.where(mapping().weight != 0.25)), f"NaN in 1 overlaps, of catchments {BIG}"),
    ):  # fmt: skip
        with pytest.raises(XRouteError, match=message):
            read_weights(wrong, areas=AREAS)
    with pytest.raises(XRouteError, match="out of range"):
        read_weights(mapping().assign(i_index=mapping().i_index + 3), areas=AREAS, grid=grid)


def units_of_a_model(grid: xr.DataArray) -> tuple[xr.DataArray, np.ndarray]:
    """The cells of the grid as units of a model, each with an id."""
    names = 1000 + np.random.default_rng(1).permutation(NY * NX)
    flat = grid.stack(unit=("lat", "lon")).drop_vars(["unit", "lat", "lon"]).rename(unit="hru")
    return flat.assign_coords(hruId=("hru", names)), names.reshape(NY, NX)


def test_mizuroute_on_units(tmp_path: Path, grid: xr.DataArray) -> None:
    runoff, names = units_of_a_model(grid)
    table = mapping()
    cells = names[table.j_index.values - 1, table.i_index.values - 1]
    table = table.drop_vars(["i_index", "j_index"]).assign(overlapPolyId=("data", cells))
    table.to_netcdf(tmp_path / "map.nc")
    weights = read_weights(tmp_path / "map.nc", areas=AREAS, grid=runoff)
    with pytest.warns(UserWarning, match="no cell"):
        check(weights, grid, runoff)
    with pytest.warns(UserWarning, match="no cell"):
        found = xroute.remap(runoff.chunk(hru=7, time=2), weights)
        np.testing.assert_allclose(found.sel(reach=20), np.asarray([expected(grid, 20)])[0], rtol=1e-12)
    with pytest.raises(AlignmentError, match="are elsewhere along 'hru'"):
        xroute.remap(runoff.isel(hru=slice(None, None, -1)), weights)
    with pytest.raises(ParameterError, match="grid="):
        read_weights(tmp_path / "map.nc", areas=AREAS)
    with pytest.raises(AlignmentError, match="not on 'hru'"):
        read_weights(tmp_path / "map.nc", areas=AREAS, grid=runoff.isel(hru=slice(0, 10)))


def test_units_that_drain_to_segments(tmp_path: Path, grid: xr.DataArray) -> None:
    """Several units to one segment, one to several, and ids that are others."""
    weights = read_weights(mapping(order=(20, BIG, 10)), areas=AREAS, segments={20: 7, BIG: 7, 10: 8})
    found = xroute.remap(grid, weights)
    np.testing.assert_allclose(found.sel(reach=7), expected(grid, 20) + expected(grid, BIG), rtol=1e-12)
    np.testing.assert_allclose(found.sel(reach=8), expected(grid, 10), rtol=1e-12)
    np.testing.assert_allclose(weights.catchment_area, [17.0, 4.0])
    np.testing.assert_allclose(weights.covered, [16 / 17, 1.0])
    rows = {"hruId": [10, 20, BIG, 20], "hruToSegId": [8, 7, 7, 8], "fraction": [1.0, 0.25, 1.0, 0.75]}
    pd.DataFrame(rows).to_csv(tmp_path / "segments.csv", index=False)
    for segments in (pd.DataFrame(rows), tmp_path / "segments.csv"):
        found = xroute.remap(grid, read_weights(mapping(order=(20, BIG, 10)), areas=AREAS, segments=segments))
        np.testing.assert_allclose(found.sel(reach=7), 0.25 * expected(grid, 20) + expected(grid, BIG), rtol=1e-12)
        np.testing.assert_allclose(found.sel(reach=8), 0.75 * expected(grid, 20) + expected(grid, 10), rtol=1e-12)
    for wrong, message in (
        ({20: 7, BIG: 7}, "drain to no segment"), (pd.DataFrame(rows).drop(columns="fraction"), "no fractions"),
        (pd.DataFrame(rows).assign(fraction=0.9), "do not sum up to one"), (pd.DataFrame({"a": [1], "b": [2]}), "hruToSegId"),
    ):  # fmt: skip
        with pytest.raises(XRouteError, match=message):
            read_weights(mapping(order=(20, BIG, 10)), areas=AREAS, segments=wrong)


def test_a_topology_whose_units_bear_runoff(tmp_path: Path, grid: xr.DataArray) -> None:
    runoff, names = units_of_a_model(grid)
    area = np.random.default_rng(5).random(NY * NX)
    segment = np.where(np.arange(NY * NX) % 7 == 0, -1, 1 + np.arange(NY * NX) % 3)
    order = np.random.default_rng(6).permutation(NY * NX)
    topology = xr.Dataset(
        {
            "hruId": ("hru", names.ravel()[order]), "hruToSegId": ("hru", segment[order]),
            "area": ("hru", area[order], {"units": "km2"}),
            "segId": ("seg", [1, 2, 3]), "downSegId": ("seg", [2, 3, 0]),
        }
    )  # fmt: skip
    topology.to_netcdf(tmp_path / "topology.nc")
    weights = read_weights(tmp_path / "topology.nc", grid=runoff)
    found = xroute.remap(runoff, weights)
    for s in (1, 2, 3):
        total = sum(1e6 * area[k] * runoff.values[:, k] for k in range(NY * NX) if segment[k] == s)
        np.testing.assert_allclose(found.sel(reach=s), total, rtol=1e-12)
    volumes = runoff.assign_attrs(units="m3 s-1")  # of each unit
    np.testing.assert_allclose(xroute.remap(volumes, weights).sel(reach=2), volumes.values[:, segment == 2].sum(1), rtol=1e-12)


# ── SCRIP, ESMF, xESMF ────────────────────────────────────────────────────────────────────────────────────────────────


def matrix(kind: str, fraction: bool = False) -> xr.Dataset:
    ids = [10, 20, BIG]
    whole = {BIG: 8.0, 20: 9.0, 10: 4.0}
    covered = {BIG: 7 / 8, 20: 1.0, 10: 1.0}
    row = np.array([1 + ids.index(r) for r, *_ in ROWS])
    col = np.array([1 + y * NX + x for _, y, x, _ in ROWS])
    part = np.array([area / whole[r] / (covered[r] if fraction else 1.0) for r, _, _, area in ROWS])
    areas = np.array([whole[r] for r in ids]) / RADIUS**2
    if kind == "xesmf":
        return xr.Dataset({"row": ("n_s", row), "col": ("n_s", col), "S": ("n_s", part)})
    yc, xc = (a.ravel() for a in np.meshgrid(LAT, LON, indexing="ij"))
    attrs = {"normalization": "fracarea" if fraction else "destarea"}
    frac = np.array([covered[r] for r in ids])
    if kind == "esmf":
        return xr.Dataset(
            {
                "row": ("n_s", row), "col": ("n_s", col), "S": ("n_s", part), "src_grid_dims": ("src_grid_rank", [NX, NY]),
                "dst_grid_dims": ("dst_grid_rank", [3]), "area_b": ("n_b", areas),
                "area_a": ("n_a", np.full(NX * NY, 20 / RADIUS**2)),
                "frac_b": ("n_b", frac), "yc_a": ("n_a", yc, {"units": "degrees"}), "xc_a": ("n_a", xc, {"units": "degrees"}),
            }, attrs=attrs,
        )  # fmt: skip
    return xr.Dataset(
        {
            "dst_address": ("num_links", row), "src_address": ("num_links", col),
            "remap_matrix": (("num_links", "num_wgts"), np.stack([part, part * 7, part * 0], 1)),
            "src_grid_dims": ("src_grid_rank", [NX, NY]), "dst_grid_dims": ("dst_grid_rank", [3]),
            "dst_grid_area": ("dst_grid_size", areas, {"units": "square radians"}), "dst_grid_frac": ("dst_grid_size", frac),
            "src_grid_center_lat": ("src_grid_size", np.radians(yc), {"units": "radians"}),
            "src_grid_center_lon": ("src_grid_size", np.radians(xc), {"units": "radians"}),
        }, attrs=attrs,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["esmf", "scrip"])
@pytest.mark.parametrize("fraction", [True, False])
def test_sparse_matrices(tmp_path: Path, grid: xr.DataArray, kind: str, fraction: bool) -> None:
    matrix(kind, fraction).to_netcdf(tmp_path / "map.nc")
    weights = read_weights(tmp_path / "map.nc", ids=[10, 20, BIG])
    assert weights.catchment.values.tolist() == [10, 20, BIG]
    np.testing.assert_allclose(weights.covered, [1.0, 1.0, 7 / 8])
    check(weights, grid)
    for other in (grid.isel(lat=slice(None, None, -1)), grid.isel(lon=slice(1, None)), grid.assign_coords(lon=grid.lon + 5)):
        with pytest.raises(AlignmentError, match="another grid"):
            xroute.remap(other, weights)
    if kind == "esmf":
        found = xroute.remap(grid.assign_attrs(units="m3 s-1"), weights)
        np.testing.assert_allclose(found.sel(reach=20), expected(grid, 20) / 20, rtol=1e-12)
    with pytest.raises(ParameterError, match="ids="):
        read_weights(tmp_path / "map.nc")
    with pytest.raises(AlignmentError, match="3 rows, and there are 2 ids"):
        read_weights(tmp_path / "map.nc", ids=[10, 20])


def test_xesmf(tmp_path: Path, grid: xr.DataArray) -> None:
    matrix("xesmf").to_netcdf(tmp_path / "map.nc")
    options: dict[str, Any] = {"ids": [10, 20, BIG], "grid": grid, "areas": AREAS}
    check(read_weights(tmp_path / "map.nc", **options), grid)
    check(read_weights(tmp_path / "map.nc", **options), grid.assign_coords(lon=grid.lon - 360))
    for lacking, message in (("grid", "how large its grid is"), ("areas", "areas="), ("ids", "ids=")):
        with pytest.raises(ParameterError, match=message):
            read_weights(tmp_path / "map.nc", **{k: v for k, v in options.items() if k != lacking})
    bilinear = matrix("esmf").assign_attrs(map_method="Bilinear remapping")
    with pytest.raises(ParameterError, match="conserves no water"):
        read_weights(bilinear, ids=[10, 20, BIG])
    for unknown in ("none", "dstfrac"):  # SCRIP's "none" has areas of overlaps, no parts of catchments
        with pytest.raises(ParameterError, match=f"normalised by {unknown!r}"):
            read_weights(matrix("scrip").assign_attrs(normalization=unknown), ids=[10, 20, BIG])
    with pytest.raises(ParameterError, match="areas are NaN, infinite or negative for 1 catchments: 20"):
        read_weights(matrix("esmf").assign(area_b=matrix("esmf").area_b.where(matrix("esmf").n_b != 1)), ids=[10, 20, BIG])
    with pytest.raises(ParameterError, match="columns count cells"):
        read_weights(matrix("esmf").assign(col=matrix("esmf").col + 5), ids=[10, 20, BIG])


def test_cells_of_a_mesh(grid: xr.DataArray) -> None:
    mesh = grid.stack(cell=("lat", "lon")).drop_vars(["cell", "lat", "lon"])
    table = matrix("esmf").assign(src_grid_dims=("src_grid_rank", [NX * NY]))
    mesh = mesh.assign_coords(lat=("cell", table.yc_a.values), lon=("cell", table.xc_a.values))
    check(read_weights(table, ids=[10, 20, BIG]), grid, mesh)


# ── what is common ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_kinds_and_other_files(tmp_path: Path, grid: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="kind is one of"):
        read_weights(river_route(), kind="raven")  # type: ignore[arg-type]
    with pytest.raises(XRouteError):
        read_weights(river_route(), kind="mizuroute")
    grid.to_dataset().to_netcdf(tmp_path / "grid.nc")
    with pytest.raises(XRouteError, match="no weights that are known"):
        read_weights(tmp_path / "grid.nc")
    with pytest.raises(XRouteError, match="not a list"):
        read_weights([1, 2])
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "nothing.csv")
    (tmp_path / "junk.nc").write_bytes(b"junk")
    with pytest.raises(XRouteError, match="not a netCDF"):
        read_weights(tmp_path / "junk.nc")


def test_tables_of_others_route_by_their_path(tmp_path: Path, grid: xr.DataArray) -> None:
    river_route().to_csv(tmp_path / "weights.csv", index=False)
    network = xroute.Network.from_links([BIG, 20], [20, 10], parameters={"tau": 7200.0}, attrs={"scheme": "linear_storage"})
    found = grid.route(network, weights=tmp_path / "weights.csv")
    by_hand = xroute.remap(grid, read_weights(tmp_path / "weights.csv")).route(network)
    assert (found.values == by_hand.sel(reach=found.reach).values).all()
    saved = tmp_path / "own.nc"
    read_weights(tmp_path / "weights.csv", grid=grid).to_netcdf(saved)
    assert (grid.route(network, weights=saved).values == found.values).all()
