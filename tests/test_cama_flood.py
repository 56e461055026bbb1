"""CaMa-Flood's maps and discharge, and direction grids, written out by hand with numpy and netCDF4, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import xroute
from xroute.cli import main
from xroute.directions.codes import CODES
from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, XRouteError
from xroute.io import cama_flood, d8, open_dataset

netCDF4 = pytest.importorskip("netCDF4")

NX, NY = 4, 3
#: Columns and rows of the next cells from 1 in the north-west: a jump over two columns, a mouth, an inland end, and sea.
NEXT_X = np.array([[2, 4, -9999, -9], [1, 2, -10, 4], [-9999, 3, -9999, -9999]], "i4")
NEXT_Y = np.array([[1, 1, -9999, -9], [1, 1, -10, 1], [-9999, 2, -9999, -9999]], "i4")
LAND = NEXT_X != -9999
AREA = np.where(LAND, np.arange(12.0).reshape(NY, NX) * 1e7 + 1e6, -9999).astype("f4")
LENGTH = np.where(LAND, np.arange(12.0).reshape(NY, NX) * 1000 + 500, -9999).astype("f4")
WIDTH = np.where(LAND, LENGTH / 10, -9999).astype("f4")


def maps(folder: Path, order: str = "<", ctl: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    np.stack([NEXT_X, NEXT_Y]).astype(f"{order}i4").tofile(folder / "nextxy.bin")
    for name, values in (("ctmare", AREA), ("rivlen", LENGTH), ("elevtn", AREA / 1e6), ("rivwth", WIDTH)):
        values.astype(f"{order}f4").tofile(folder / f"{name}.bin")
    if ctl:
        (folder / "nextxy.ctl").write_text(
            f"dset ^nextxy.bin\nundef -9999\noptions yrev {'big' if order == '>' else 'little'}_endian\n"
            f"xdef {NX} linear 7.25 0.5\nydef {NY} linear 45.25 0.5\ntdef 1 linear 00Z01jan2000 1yr\nzdef 2 linear 1 1\n"
            "vars 2\nx 1 99 ** next x\ny 1 99 ** next y\nENDVARS\n"
        )
    else:
        numbers = (NX, NY, 10, 0.5, 7.0, 9.0, 45.0, 46.5)
        (folder / "params.txt").write_text("".join(f"   {number}    !! what it is\n" for number in numbers))
    return folder


def links(network: xroute.Network) -> set[tuple[int, int]]:
    up, down, _ = network.links
    return {(int(network.ids[a]), int(network.ids[b])) for a, b in zip(up, down, strict=True)}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ctl", [False, True])
def test_a_folder_of_maps_as_it_is_and_back(order: str, ctl: bool, tmp_path: Path) -> None:
    network = xroute.Network.from_nextxy(maps(tmp_path / "map", order, ctl))
    assert links(network) == {(0, 1), (1, 3), (4, 0), (5, 1), (7, 3), (9, 6)}
    assert network.dataset.inland.sel(reach=6) == 1 and network.dataset.inland.sum() == 1
    assert network.dataset.grid_x.values.tolist() == [7.25, 7.75, 8.25, 8.75] and network.dataset.grid_y.values[0] == 46.25
    np.testing.assert_array_equal(network.dataset.area, AREA[LAND])
    cama_flood.write_network(network, tmp_path / "made")
    for name, values in (("nextxy", np.stack([NEXT_X, NEXT_Y])), ("ctmare", AREA), ("rivlen", LENGTH), ("rivwth", WIDTH)):
        mine = np.fromfile(tmp_path / "made" / f"{name}.bin", values.dtype).reshape(values.shape)
        np.testing.assert_array_equal(mine, values)
    params = [float(line.split()[0]) for line in (tmp_path / "made" / "params.txt").read_text().splitlines()]
    assert params == [NX, NY, 10, 0.5, 7.0, 9.0, 45.0, 46.5]
    again = xroute.Network.from_nextxy(tmp_path / "made")
    xr.testing.assert_equal(again.dataset, network.dataset)


def test_grids_that_rise_northwards_are_turned(tmp_path: Path) -> None:
    direction = xr.DataArray(np.array([[0, 0, 16], [2, 1, 4]], "i2"), {"lat": [45.25, 45.75], "lon": [7.25, 7.75, 8.25]})
    network = xroute.Network.from_d8(direction)
    cama_flood.write_network(network, tmp_path)
    again = xroute.Network.from_nextxy(tmp_path)

    def places(river: xroute.Network) -> set[tuple[float, ...]]:
        return {tuple(river.dataset[c].sel(reach=i).item() for i in pair for c in ("lon", "lat")) for pair in links(river)}

    assert places(again) == places(network) and len(places(network)) == 4
    rows = again.dataset.grid_y.values[again.dataset.y_index.values]
    np.testing.assert_array_equal(rows, again.dataset.lat)  # the cell lies where its row says
    assert again.dataset.grid_y.values.tolist() == [45.75, 45.25]


@pytest.mark.parametrize("convention", list(CODES))
@pytest.mark.parametrize("rising", [False, True])
def test_directions_come_back_in_each_convention(convention: Any, rising: bool, tmp_path: Path) -> None:
    codes = CODES[convention]
    rng = np.random.default_rng(1)
    height = rng.random((5, 6))
    ways = np.full(height.shape, codes.pits[0], np.int16)
    north, east = [1, 1, 0, -1, -1, -1, 0, 1], [0, 1, 1, 1, 0, -1, -1, -1]
    for i, j in np.ndindex(height.shape):  # to the lowest neighbour
        around = [(i - n, j + e, k) for k, (n, e) in enumerate(zip(north, east, strict=True))]
        lowest, k = min((height[y, x], k) for y, x, k in around if 0 <= y < 5 and 0 <= x < 6)
        if lowest < height[i, j]:
            ways[i, j] = codes.ways[k]
    nodata = next(number for number in (247, *codes.nodata) if number in codes.nodata)
    ways[2, 2] = nodata
    field = xr.DataArray(ways, {"lat": 50 - np.arange(5.0), "lon": np.arange(6.0)}, ("lat", "lon"))
    field = field.isel(lat=slice(None, None, -1)) if rising else field
    network = xroute.Network.from_d8(field, convention=convention)
    d8.write_network(network, tmp_path / "d8.nc", convention=convention)
    with open_dataset(tmp_path / "d8.nc") as made:
        into_nothing = network.to_grid(xr.DataArray(np.isin(network.ids, network.outlets), {"reach": network.ids}), False)
        kept = ~into_nothing.astype(bool) | (field == codes.pits[0])
        assert (made.direction == field).where(kept, True).all()
        assert xroute.Network.from_d8(made.direction.load(), convention=convention).fingerprint == network.fingerprint


def test_round_the_globe(tmp_path: Path) -> None:
    lon = np.arange(-179.5, 180)
    ways = np.zeros((2, 360), np.int16)
    ways[0, 359], ways[1, 0], ways[1, 359] = 1, 16, 64
    network = xroute.Network.from_d8(xr.DataArray(ways, {"lat": [0.5, -0.5], "lon": lon}, ("lat", "lon")))
    d8.write_network(network, tmp_path / "d8.nc")
    with open_dataset(tmp_path / "d8.nc") as made:
        assert xroute.Network.from_d8(made.direction.load()).fingerprint == network.fingerprint


def test_what_a_grid_cannot_say(tmp_path: Path) -> None:
    jump = xroute.Network.from_nextxy(maps(tmp_path / "map"))
    with pytest.raises(NetworkError, match="past their neighbours, which a direction cannot say: 1"):
        d8.write_network(jump, tmp_path / "x.nc")
    plain = xroute.Network.from_links([1, 2], [2, 0])
    for write in (lambda: d8.write_network(plain, tmp_path / "x.nc"), lambda: cama_flood.write_network(plain, tmp_path / "x")):
        with pytest.raises(NetworkError, match="no cells of"):
            write()
    wide = xroute.Network.from_d8(xr.DataArray([[1, 0], [0, 0]], {"lat": [50.0, 49.0], "lon": [7.0, 7.5]}, ("lat", "lon")))
    with pytest.raises(NetworkError, match="as wide as they are high"):
        cama_flood.write_network(wide, tmp_path / "x")
    assert not (tmp_path / "x").exists() and not (tmp_path / "x.nc").exists()


FLOW = np.where(LAND, np.arange(36.0).reshape(3, NY, NX), 1e20).astype("f4")


def outflw(path: Path) -> Path:
    """As cmf_ctrl_output_mod.F90 writes it: stamped in seconds of the run, at the ends of the steps."""
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", None), ("lat", NY), ("lon", NX)):
            file.createDimension(name, size)
        file.createVariable("lat", "f4", ("lat",))[:] = [46.25, 45.75, 45.25]
        file.createVariable("lon", "f4", ("lon",))[:] = [7.25, 7.75, 8.25, 8.75]
        time = file.createVariable("time", "f8", ("time",))
        time.units = "seconds since 2000-01-01 00:00"
        time[:] = np.arange(1, 4) * 86400
        flow = file.createVariable("outflw", "f4", ("time", "lat", "lon"), fill_value=np.float32(1e20))
        flow.units = "m3/s"
        flow[:] = FLOW
    return path


def test_discharge_of_all_forms(tmp_path: Path) -> None:
    folder = maps(tmp_path / "map")
    network = xroute.Network.from_nextxy(folder)
    expected = FLOW[:, LAND]
    found = cama_flood.read_discharge(outflw(tmp_path / "o_outflw2000.nc"), network)
    np.testing.assert_array_equal(found, expected)
    assert found.attrs["time_label"] == "end" and found.time.values[0] == np.datetime64("2000-01-02")
    FLOW.tofile(tmp_path / "outflw2000.bin")
    binary = cama_flood.read_discharge(tmp_path / "outflw2000.bin", network, start="2000-01-01", dt="1D")
    np.testing.assert_array_equal(binary, expected)
    for day in range(3):
        FLOW[day, ::-1].astype(">f4").tofile(tmp_path / f"day2000010{day + 1}.bin")
    (tmp_path / "q.ctl").write_text(
        f"dset ^day%y4%m2%d2.bin\nundef 1e+20\noptions big_endian template\nxdef {NX} linear 7.25 0.5\n"
        f"ydef {NY} linear 45.25 0.5\n"
        "tdef 3 linear 00Z01jan2000 1dy\nzdef 1 linear 1 1\nvars 1\noutflw 0 99 ** m3/s\nENDVARS\n"
    )
    control = cama_flood.read_discharge(tmp_path / "q.ctl", network)
    np.testing.assert_array_equal(control, expected)
    assert control.time.values[2] == np.datetime64("2000-01-03") and control.attrs["time_label"] == "start"
    text = (tmp_path / "q.ctl").read_text().replace("big_endian template", "yrev little_endian")
    (tmp_path / "north.ctl").write_text(text.replace("day%y4%m2%d2", "outflw2000"))
    np.testing.assert_array_equal(cama_flood.read_discharge(tmp_path / "north.ctl", network), expected)
    cama_flood.write_discharge(found, tmp_path / "o_again.nc", network)
    with netCDF4.Dataset(tmp_path / "o_again.nc") as mine, netCDF4.Dataset(tmp_path / "o_outflw2000.nc") as theirs:
        for file in (mine, theirs):
            file.set_auto_mask(False)
        for name in ("outflw", "lat", "lon"):
            np.testing.assert_array_equal(mine[name][:], theirs[name][:])
        dates = [netCDF4.num2date(f["time"][:], f["time"].units).tolist() for f in (mine, theirs)]
        assert dates[0] == dates[1] and mine["outflw"].dimensions == ("time", "lat", "lon")
    cama_flood.write_discharge(control, tmp_path / "again.bin", network)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "again.bin", "f4").reshape(FLOW.shape), FLOW)


def test_discharge_that_does_not_fit(tmp_path: Path) -> None:
    network = xroute.Network.from_nextxy(maps(tmp_path / "map"))
    FLOW[0, :2].tofile(tmp_path / "short.bin")
    with pytest.raises(XRouteError, match="not maps of 3 x 4"):
        cama_flood.read_discharge(tmp_path / "short.bin", network, start="2000", dt=86400)
    with pytest.raises(TimeAxisError, match="start="):
        cama_flood.read_discharge(tmp_path / "short.bin", network)
    (tmp_path / "x.ctl").write_text("dset ^short.bin\nxdef 4 gauss 1 1\nydef 3 linear 1 1\n")
    with pytest.raises(XRouteError, match="no axis such as"):
        cama_flood.read_discharge(tmp_path / "x.ctl", network)
    with pytest.raises(FileNotFoundError):
        cama_flood.read_discharge(tmp_path / "nothing*.nc", network)
    far = xr.DataArray(np.ones((2, 1)), {"time": pd.date_range("2000", periods=2), "reach": [99]}, attrs={"units": "m3 s-1"})
    with pytest.raises(AlignmentError, match="99"):
        cama_flood.write_discharge(far, tmp_path / "q.nc", network)


def test_the_commands(tmp_path: Path) -> None:
    folder = maps(tmp_path / "map")
    given = ["convert", "nextxy", folder, "--network", tmp_path / "n.nc", "--discharge", tmp_path / "q.nc",
             "--outflw", outflw(tmp_path / "o_outflw2000.nc")]  # fmt: skip
    result = CliRunner().invoke(main, [str(word) for word in given])
    assert result.exception is None, result.output
    given = ["export", "nextxy", tmp_path / "home", *given[3:7], "--name", "2000"]
    result = CliRunner().invoke(main, [str(word) for word in given])
    assert result.exception is None, result.output
    assert (tmp_path / "home" / "nextxy.bin").read_bytes() == (folder / "nextxy.bin").read_bytes()
    with open_dataset(tmp_path / "home" / "o_outflw2000.nc") as mine, open_dataset(tmp_path / "o_outflw2000.nc") as theirs:
        np.testing.assert_array_equal(mine.outflw, theirs.outflw)
    usage = CliRunner().invoke(main, ["convert", "nextxy", str(folder), "--discharge", str(tmp_path / "x.nc")])
    assert usage.exit_code == 2 and "--outflw" in usage.output
