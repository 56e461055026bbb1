"""DDR's Zarr stores, made here with zarr alone after its documentation (docs/engine/binsparse.md, docs/datasets.md)."""

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
from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, XRouteError
from xroute.io import ddr, open_dataset

zarr = pytest.importorskip("zarr")

LINKS = ([1, 2, 3, 4, 4], [0, 1, 2, 2, 3])  # rows and columns of the documentation's own example
TREE = ([2, 2, 4, 4], [0, 1, 2, 3])
BIG = 2**53 + 1


def matrix(path: Path, links: Any, order: Any, group: str | None = None, **attrs: Any) -> Path:
    """A group as ``coo_to_zarr`` and ``coo_to_zarr_group`` make it."""
    root = zarr.open_group(path, mode="a", zarr_format=3)
    root = root if group is None else root.create_group(group)
    arrays = {"indices_0": np.array(links[0], np.int32), "indices_1": np.array(links[1], np.int32),
              "values": np.array(links[2] if len(links) > 2 else np.ones(len(links[0]), np.uint8))}  # fmt: skip
    arrays["order"] = np.asarray(order)
    for name, data in arrays.items():
        array = root.create_array(name=name, shape=data.shape, dtype=str if data.dtype.kind == "U" else data.dtype)
        array[:] = data.astype(object) if data.dtype.kind == "U" else data
    root.attrs.update({"format": "COO", "shape": [len(order)] * 2, **attrs})
    return path


@pytest.mark.parametrize(
    ("order", "geodataset", "ids"),
    [
        (np.array([77, 12, 30, 41, 50], np.int32), "merit", [77, 12, 30, 41, 50]),
        (np.array([BIG, 12, 30, 41, BIG + 2], np.int64), "merit", [BIG, 12, 30, 41, BIG + 2]),
        (np.array([7, 12, 30, 41, 50], np.int32), "lynker", ["wb-7", "wb-12", "wb-30", "wb-41", "wb-50"]),
        (np.array([7, 12, 30, 41, 50], np.int32), "hydrofabric_v2.2", ["wb-7", "wb-12", "wb-30", "wb-41", "wb-50"]),
        (np.array(["a", "b", "c/d", "é", "0041"]), None, ["a", "b", "c/d", "é", "0041"]),
        (np.array([-1, 0, 30, 41, 50], np.int32), None, [-1, 0, 30, 41, 50]),
    ],
)
def test_a_river_with_its_exact_ids_and_back(order: Any, geodataset: Any, ids: list[Any], tmp_path: Path) -> None:
    path = matrix(tmp_path / "a.zarr", TREE, order, **({} if geodataset is None else {"geodataset": geodataset}))
    network = xroute.Network(ddr.read_network(path))
    assert network.ids.tolist() == ids
    up, down, _ = network.links
    assert {(ids[u], ids[d]) for u, d in zip(up, down, strict=True)} == {(ids[c], ids[r]) for r, c in zip(*TREE, strict=True)}
    ddr.write_network(network, tmp_path / "b.zarr", geodataset=geodataset)
    mine, theirs = zarr.open_group(tmp_path / "b.zarr", mode="r"), zarr.open_group(path, mode="r")
    for name in ("indices_0", "indices_1", "values", "order"):
        np.testing.assert_array_equal(mine[name][:], theirs[name][:])
        assert mine[name].dtype == theirs[name].dtype and mine[name].metadata.zarr_format == 3
    assert mine.attrs["shape"] == [5, 5] and mine.attrs["format"] == "COO" and mine.attrs.get("geodataset") == geodataset
    assert mine.attrs["data_types"] == {"indices_0": "int32", "indices_1": "int32", "values": "uint8"}
    assert ddr.read_network(tmp_path / "b.zarr").equals(ddr.read_network(path))


def test_a_matrix_that_seems_to_be_turned_is_warned_of(tmp_path: Path) -> None:
    """A chain whose rows are those upstream: by its order, water would begin at the mouth."""
    matrix(tmp_path / "a.zarr", ([0, 1, 2], [1, 2, 3]), [11, 12, 13, 14])
    with pytest.warns(UserWarning, match="all 3 links.*flows backwards.*11"):
        found = ddr.read_network(tmp_path / "a.zarr")
    assert found["downstream"].values.tolist() == [-1, 11, 12, 13]  # as the layout says it


def test_rows_are_sorted_where_the_network_is_not(tmp_path: Path) -> None:
    network = xroute.Network(xr.Dataset({"downstream": ("reach", [0, 5, 5, 7])}, {"reach": [5, 7, 9, 3]}))
    ddr.write_network(network, tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    order = group["order"][:].tolist()
    assert (group["indices_0"][:] > group["indices_1"][:]).all()  # lower triangular
    links = {(order[c], order[r]) for r, c in zip(group["indices_0"][:], group["indices_1"][:], strict=True)}
    assert links == {(7, 5), (9, 5), (3, 7)} and group.attrs["geodataset"] == "merit"
    assert xroute.Network(ddr.read_network(tmp_path / "a.zarr")).fingerprint == network.fingerprint


def test_shares_below_one_are_bifurcations(tmp_path: Path) -> None:
    path = matrix(tmp_path / "a.zarr", (*LINKS, [1.0, 1.0, 0.25, 0.75, 1.0]), [10, 20, 30, 40, 50])
    network = xroute.Network(ddr.read_network(path))
    assert network.has_bifurcations and sorted(network.dataset.fraction.values.tolist()) == [0.25, 0.75, 1, 1, 1]
    ddr.write_network(network, tmp_path / "b.zarr")
    assert xroute.Network(ddr.read_network(tmp_path / "b.zarr")).fingerprint == network.fingerprint


def test_gauges_of_a_domain(tmp_path: Path) -> None:
    """Rows of a gauge's group are those of the whole domain, and its order has its own reaches alone."""
    order = np.array([70, 71, 72, 73, 74], np.int32)
    whole = matrix(tmp_path / "all.zarr", TREE, order, geodataset="lynker")
    gauges = tmp_path / "gauges.zarr"
    matrix(gauges, ([2, 2], [0, 1]), order[[0, 1, 2]], "01570500", geodataset="lynker", shape=[5, 5], gage_catchment="wb-72")
    matrix(gauges, ([], []), order[[3]], "01", geodataset="lynker", shape=[5, 5], gage_catchment="wb-73", gage_idx=3)
    network = ddr.read_network(gauges, "01570500", adjacency=whole)
    assert network.reach.values.tolist() == ["wb-70", "wb-71", "wb-72"] and network.attrs["gage_catchment"] == "wb-72"
    assert network.downstream.values.tolist() == ["wb-72", "wb-72", ""]
    assert ddr.read_network(gauges, "01", adjacency=whole).downstream.values.tolist() == [""]
    with pytest.raises(NetworkError, match="01570500"):
        ddr.read_network(gauges)
    with pytest.raises(NetworkError, match="adjacency"):
        ddr.read_network(gauges, "01570500")
    with pytest.raises(NetworkError, match="no group '99'"):
        ddr.read_network(gauges, "99")
    domain = xroute.Network(ddr.read_network(whole))
    ddr.write_gauges(domain, {"01570500": "wb-72", "01": "wb-73"}, tmp_path / "made.zarr")
    for name in ("01570500", "01"):
        mine, theirs = (zarr.open_group(p, mode="r")[name] for p in (tmp_path / "made.zarr", gauges))
        for array in ("indices_0", "indices_1", "order"):
            np.testing.assert_array_equal(mine[array][:], theirs[array][:])
        assert mine.attrs["gage_catchment"] == theirs.attrs["gage_catchment"] and mine.attrs["shape"] == [5, 5]
    assert zarr.open_group(tmp_path / "made.zarr", mode="r")["01"].attrs["gage_idx"] == 3


@pytest.mark.parametrize(
    ("links", "order", "attrs", "message"),
    [
        (([5], [0]), [1, 2, 3], {}, "off the matrix of 3 rows"),
        (([-1], [0]), [1, 2, 3], {}, "off the matrix"),
        (([1], [1]), [1, 2, 3], {}, "drain to themselves: 2"),
        (([1, 1], [0, 0]), [1, 2, 3], {}, "stand twice, first 1"),
        (([1, 2], [0, 0]), [1, 2, 3], {}, "1 reaches drain to several, each with all of its water: 1"),
        (([1], [0], [7]), [1, 2, 3], {}, "not 7"),
        (([1], [0], [np.nan]), [1, 2, 3], {}, "not nan"),
        (([1], [0]), [1, 2, 2], {}, "stand twice in order: 2"),
        (([1], [0]), [1, 2, 3], {"shape": [3, 4]}, "square"),
        (([1], [0]), [1, 2, 3], {"format": "CSR"}, "'CSR'"),
        (([1], [0]), np.array([1.5, 2, 3]), {}, "not whole"),
    ],
)
def test_matrices_that_are_no_rivers(links: Any, order: Any, attrs: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=message):
        ddr.read_network(matrix(tmp_path / "a.zarr", links, order, **attrs))


def test_stores_that_are_no_matrices(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(NetworkError, match="no 'indices_0'"):
        ddr.read_network(tmp_path / "empty.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NetworkError, match="no Zarr group"):
        ddr.read_network(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        ddr.read_network(tmp_path / "nothing.zarr")
    (tmp_path / "ice" / "snapshots").mkdir(parents=True)
    with pytest.raises(XRouteError, match="Icechunk"):
        ddr.read_runoff(tmp_path / "ice")


def test_ids_that_would_be_others_are_refused(tmp_path: Path) -> None:
    for one in ("wb-007", "wb-x", "cat-7", "wb-٣"):
        network = xroute.Network(xr.Dataset({"downstream": ("reach", [""])}, {"reach": [one]}))
        with pytest.raises(NetworkError, match="would be others"):
            ddr.write_network(network, tmp_path / "a.zarr", geodataset="lynker")
    assert not list(tmp_path.iterdir())


def inflow(n: int = 3, freq: str = "D") -> xr.DataArray:
    time = pd.date_range("1981-10-01", periods=n, freq=freq)
    values = np.arange(5.0 * n, dtype="f4").reshape(5, n)
    coords = {"divide_id": [f"cat-{i}" for i in (74, 73, 70, 71, 72)], "time": time}
    return xr.DataArray(values, coords, ("divide_id", "time"), "Qr")


def test_the_command_takes_the_stores_as_they_are(tmp_path: Path) -> None:
    matrix(tmp_path / "conus_adjacency.zarr", TREE, np.array([70, 71, 72, 73, 74], np.int32), geodataset="lynker")
    inflow().to_dataset().assign_attrs(units="m^3/s").to_zarr(tmp_path / "streamflow.zarr")
    predicted = inflow().rename("predictions").rename(divide_id="catchment_ids").isel(catchment_ids=[1, 4])
    predicted.attrs["units"] = "m3/s"
    predicted.to_dataset().to_zarr(tmp_path / "chrout.zarr")
    names = {name: tmp_path / f"{name}.nc" for name in ("network", "runoff", "discharge")}
    given = [word for name, path in names.items() for word in (f"--{name}", str(path))]
    stores = ["--streamflow", str(tmp_path / "streamflow.zarr"), "--predictions", str(tmp_path / "chrout.zarr")]
    for source in (tmp_path / "conus_adjacency.zarr",):
        result = CliRunner().invoke(main, ["convert", "ddr", str(source), *given, *stores, "--overwrite"])
        assert result.exception is None, result.output
    with open_dataset(names["network"]) as network, open_dataset(names["runoff"]) as runoff:
        river = network.assign(k=("reach", [7200.0] * 5), x=("reach", [0.2] * 5)).assign_attrs(scheme="muskingum")
        flow = runoff.runoff.route(river)
        assert flow.sizes == {"time": 3, "reach": 5} and flow.attrs["units"] == "m3 s-1"
        np.testing.assert_array_equal(runoff.runoff.sel(reach="wb-70"), inflow().sel(divide_id="cat-70"))
    with open_dataset(names["discharge"]) as discharge:
        assert discharge.reach.values.tolist() == ["wb-72", "wb-73"]
        np.testing.assert_array_equal(discharge.discharge.sel(reach="wb-73"), inflow().sel(divide_id="cat-73"))
    usage = CliRunner().invoke(main, ["convert", "ddr", str(source), "--runoff", str(tmp_path / "x.nc")])
    assert usage.exit_code == 2 and "--streamflow" in usage.output
    back = CliRunner().invoke(main, ["export", "ddr", str(tmp_path / "home"), *given, "--name", "conus"])
    assert back.exception is None, back.output
    with xr.open_zarr(tmp_path / "home" / "conus_streamflow.zarr") as made:
        assert made.Qr.dims == ("divide_id", "time") and made.Qr.dtype == "f4"
        xr.testing.assert_equal(made.Qr.sel(divide_id=inflow().divide_id).load().drop_attrs(), inflow())
    with xr.open_zarr(tmp_path / "home" / "chrout.zarr") as made:
        xr.testing.assert_equal(made.predictions.sel(catchment_ids=predicted.catchment_ids).load(), predicted)
        assert made.predictions.dims == ("catchment_ids", "time") and made.predictions.attrs["units"] == "m3 s-1"


def test_series_that_lack_reaches_or_have_other_steps(tmp_path: Path) -> None:
    network = ddr.read_network(matrix(tmp_path / "a.zarr", TREE, np.array([70, 71, 72, 73, 74]), geodataset="lynker"))
    inflow().isel(divide_id=slice(1, None)).to_dataset().to_zarr(tmp_path / "short.zarr")
    with pytest.raises(AlignmentError, match="wb-74"):
        ddr.read_runoff(tmp_path / "short.zarr", network)
    runoff = inflow(freq="3h").rename(divide_id="reach").assign_attrs(units="m3 s-1")
    runoff = runoff.assign_coords(reach=[one.replace("cat", "wb") for one in runoff.reach.values])
    with pytest.raises(TimeAxisError, match="by day or by hour"):
        ddr.write_runoff(runoff, tmp_path / "b.zarr", network)
    with pytest.raises(XRouteError, match="no variable 'Qr'"):
        ddr.read_runoff(_other(tmp_path), network)


def _other(folder: Path) -> Path:
    xr.Dataset({"q": ("time", [1.0])}).to_zarr(folder / "other.zarr")
    return folder / "other.zarr"
