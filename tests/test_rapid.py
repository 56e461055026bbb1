"""RAPID's files: what is stored by position comes out by id, and nothing is dropped or filled in silence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, XRouteError
from xroute.io import rapid

BIG = 9_007_199_254_740_993  # 2**53 + 1: not a double


def write_region(
    folder: Path,
    connect: str,
    k: list[float] | None = None,
    x: list[float] | None = None,
    basin: list[int] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    n = len(connect.split())
    (folder / "rapid_connect.csv").write_text("\n".join(connect.split()) + "\n")
    (folder / "k.csv").write_text("\n".join(map(repr, k or [3600.0 + i for i in range(n)])) + "\n")
    (folder / "x.csv").write_text("\n".join(map(repr, x or [0.2] * n)) + "\n")
    if basin is not None:
        (folder / "riv_bas_id.csv").write_text("\r\n".join(map(str, basin)) + "\r\n")
    return folder


@pytest.fixture
def region(tmp_path: Path) -> Path:
    return write_region(tmp_path / "a", f"{BIG},7,0,0,0 5,7,0,0,0 7,9,2,{BIG},5 9,0,1,7,0")


def test_sample_network(shared_data: Callable[[str], Path]) -> None:
    network = rapid.read_network(shared_data("nasa_lis_4168"))
    assert network.sizes == {"reach": 4168}
    assert network["reach"].dtype == np.int64 and network["downstream"].dtype == np.int64
    assert network.attrs["scheme"] == "muskingum" and network["k"].attrs["units"] == "s"
    assert network.attrs["n_outlets"] == 146
    assert network.attrs["n_downstream_ids_not_routed"] == 12
    outlets = network["downstream"] == network["downstream"].attrs["outlet"]
    assert int(outlets.sum()) == 146
    kept = np.unique(network["downstream_id"].values[outlets.values])
    assert kept.size == 13 and 0 in kept
    assert not np.isin(kept, network["reach"]).any()
    assert float(network["k"].min()) == pytest.approx(37.6, abs=0.1)
    np.testing.assert_allclose(network["x"], 0.3, rtol=1e-15)


def test_sample_runoff_keeps_its_zeros(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("nasa_lis_4168")
    network = rapid.read_network(folder)
    runoff = rapid.read_runoff(folder / "m3_nasa_lis_3hr_20020830.nc", network)
    assert runoff.name == "runoff" and runoff.dims == ("time", "reach") and runoff.attrs["units"] == "m3"
    assert runoff.dtype == np.float32
    assert int((runoff == 0).sum()) == 9408 and not runoff.isnull().any()
    np.testing.assert_array_equal(runoff["reach"], network["reach"])
    assert (np.diff(runoff["time"].values) == np.timedelta64(10800, "s")).all()  # the namelist's ZS_TauR
    assert "1970" in runoff["time"].attrs["comment"]


def test_sample_discharge(shared_data: Callable[[str], Path]) -> None:
    discharge = rapid.read_discharge(shared_data("nasa_lis_4168"))
    assert discharge.dims == ("time", "reach") and discharge.sizes == {"time": 16, "reach": 4168}
    assert discharge.attrs["units"] == "m3 s-1"
    assert int((discharge < 0).sum()) == 47 and float(discharge.min()) == pytest.approx(-0.00297, abs=1e-5)
    assert float(discharge.max()) == pytest.approx(34.3, abs=0.05)


def test_fortran_discharge_is_reproduced(shared_data: Callable[[str], Path]) -> None:
    """The recipe of interop.md, from Python and in any order of reaches, whole and in parts."""
    import xroute

    folder = shared_data("nasa_lis_4168")
    network = rapid.read_network(folder)
    runoff = rapid.read_runoff(folder, network)
    fortran = rapid.read_discharge(folder, network)
    recipe: dict[str, Any] = {"lateral": "interval", "substeps": 12, "sampling": "start-mean"}
    routed = runoff.route(network, **recipe)
    assert float(abs(routed - fortran).max()) < 5e-5
    assert routed.attrs["units"] == "m3 s-1"

    shuffled = network.isel(reach=np.random.default_rng(2).permutation(network.sizes["reach"]))
    xr.testing.assert_equal(xroute.route(runoff, shuffled, **recipe), routed)
    state = None
    for start, stop in ((0, 1), (1, 9), (9, 16)):
        part, state = runoff[start:stop].route(network, initial_state=state, return_state=True, dt=10800, **recipe)
        np.testing.assert_array_equal(part.values, routed[start:stop].values)


def test_sample_namelist(shared_data: Callable[[str], Path]) -> None:
    values = rapid.read_namelist(shared_data("nasa_lis_4168") / "rapid_namelist_valid")
    assert values["ZS_TauR"] == 10800 and values["ZS_dtR"] == 900
    assert values["BS_opt_Qinit"] is False and values["Qinit_file"] == ""
    assert values["k_file"].endswith("/k.csv")


def test_namelist_values(tmp_path: Path) -> None:
    path = tmp_path / "rapid_namelist"
    path.write_text("&NL\nA =.True. ! yes\nB=1.5d3\nC = 'a ! b'\n!D = 4\nE=7, \n/\n")
    assert rapid.read_namelist(path) == {"A": True, "B": 1500.0, "C": "a ! b", "E": 7}


def test_ids_are_exact_and_parameters_follow_the_connect_rows(region: Path) -> None:
    network = rapid.read_network(region)
    assert network["reach"].values.tolist() == [BIG, 5, 7, 9]
    assert network["downstream"].values.tolist() == [7, 7, 9, -1]
    assert network["downstream_id"].values.tolist() == [7, 7, 9, 0]
    assert network["k"].values.tolist() == [3600.0, 3601.0, 3602.0, 3603.0]


def test_explicit_files_and_topology_alone(region: Path) -> None:
    named = rapid.read_network(region / "rapid_connect.csv", region / "k.csv", region / "x.csv")
    xr.testing.assert_identical(named, rapid.read_network(region))
    bare = rapid.read_network(region / "rapid_connect.csv")
    assert "k" not in bare and "scheme" not in bare.attrs


def test_basin_ids_select_and_order(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    (region / "riv_bas_id.csv").write_text(f"7\n{BIG}\n5\n")
    with caplog.at_level(logging.INFO, "xroute"):
        network = rapid.read_network(region)
    assert network["reach"].values.tolist() == [7, BIG, 5]
    assert network["k"].values.tolist() == [3602.0, 3600.0, 3601.0]
    assert network["downstream"].values.tolist() == [-1, 7, 7]
    assert network["downstream_id"].values.tolist() == [9, 7, 7]
    assert "1 reaches are not in riv_bas_id" in caplog.text and "9" in caplog.text


def test_basin_ids_that_cut_off_water_warn(region: Path) -> None:
    (region / "riv_bas_id.csv").write_text("7\n9\n5\n")
    with pytest.warns(UserWarning, match=rf"their water is missing: {BIG}"):
        rapid.read_network(region)


def test_unknown_and_duplicate_basin_ids(region: Path) -> None:
    (region / "riv_bas_id.csv").write_text("7\n8\n")
    with pytest.raises(NetworkError, match="1 ids of .* are not in .*: 8"):
        rapid.read_network(region)
    (region / "riv_bas_id.csv").write_text("7\n7\n")
    with pytest.raises(NetworkError, match="duplicate ids in .*: 7"):
        rapid.read_network(region)


def test_lengths_must_agree(region: Path) -> None:
    (region / "k.csv").write_text("1.0\n2.0\n3.0\n")
    with pytest.raises(NetworkError, match="k.csv has 3 values and .* has 4 rows"):
        rapid.read_network(region)


@pytest.mark.parametrize(
    ("connect", "message"),
    [
        ("1,2,0,0 2,0,0,0", "1 links: 1 -> 2"),  # the upstream column forgets reach 1
        ("1,0,0,0 2,0,1,1", "1 links: 1 -> 2"),  # the downstream column forgets it
        ("1,2,0,0 2,0,3,1", "does not fit the 1 columns"),
        ("1,0,0,0 1,0,0,0", "1 duplicate reach ids in .*: 1"),
        ("1.5,0,0,0", "row 1, column 1: '1.5' is not a whole number"),
        ("id,down,n,up 1,0,0,0", "row 1, column 1: 'id'"),
        ("-1,0,0,0", "-1 is an id"),
        ("1", "1 column"),
    ],
)
def test_connectivity_that_contradicts_itself(tmp_path: Path, connect: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        rapid.read_network(write_region(tmp_path, connect))


def test_rows_of_different_length(tmp_path: Path) -> None:
    network = rapid.read_network(write_region(tmp_path, f"{BIG},7,0 5,7,0 7,0,2,{BIG},5"))
    assert network["reach"].values.tolist() == [BIG, 5, 7]


def test_missing_files_are_named(tmp_path: Path, region: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        rapid.read_network(tmp_path / "nowhere")
    (region / "x.csv").unlink()
    with pytest.raises(NetworkError, match="no x.csv"):
        rapid.read_network(region)
    (region / "x_1.csv").write_text("0.2\n")
    (region / "x_2.csv").write_text("0.2\n")
    with pytest.raises(XRouteError, match="several files in .* could be the x .*x_1.csv.*x_2.csv"):
        rapid.read_network(region)


def test_regions_are_joined_and_links_between_them_kept(tmp_path: Path) -> None:
    upper = write_region(tmp_path / "upper", "1,2,0,0 2,10,1,1")
    lower = write_region(tmp_path / "lower", "11,0,1,10 10,11,1,2", basin=[10, 11])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 2 drains into 10, and both are routed: no water is missing
        network = rapid.read_network([upper, lower])
    assert network["reach"].values.tolist() == [1, 2, 10, 11]
    assert network["downstream"].values.tolist() == [2, 10, 11, -1]
    assert network["k"].values.tolist() == [3600.0, 3601.0, 3601.0, 3600.0]
    assert network["region"].values.tolist() == [0, 0, 1, 1]

    for folder, n, offset in ((upper, 2, 0), (lower, 2, 100)):
        values = np.arange(2 * n, dtype="f4").reshape(2, n) + offset
        xr.Dataset({"m3_riv": (("Time", "DrainLnID"), values)}).to_netcdf(folder / "m3.nc", engine="scipy")
    runoff = rapid.read_runoff([upper, lower], network, dt=3600)
    assert runoff["reach"].values.tolist() == [1, 2, 10, 11]
    assert runoff.values.tolist() == [[0, 1, 101, 100], [2, 3, 103, 102]]
    with pytest.raises(AlignmentError, match="has 2 regions, and 1 files"):
        rapid.read_runoff(upper, network, dt=3600)


def test_duplicate_ids_between_regions(tmp_path: Path) -> None:
    first, second = write_region(tmp_path / "a", "1,0,0"), write_region(tmp_path / "b", "1,0,0")
    with pytest.raises(NetworkError, match="1 duplicate reach ids in .*a.* and .*b.*: 1"):
        rapid.read_network([first, second])


@pytest.mark.parametrize("engine", ["scipy", "netcdf4"])
def test_runoff_without_ids_follows_the_connect_rows(region: Path, engine: str) -> None:
    (region / "riv_bas_id.csv").write_text(f"9\n7\n{BIG}\n5\n")
    network = rapid.read_network(region)
    values = np.array([[0, 1, 2, 3], [4, 0, 6, np.nan]], "f4")
    raw = xr.Dataset({"m3_riv": (("Time", "DrainLnID"), values)})
    raw.to_netcdf(region / "m3.nc", engine=engine, encoding={"m3_riv": {"_FillValue": None}})
    runoff = rapid.read_runoff(region, network, dt=900, start="2001-02-03")
    assert runoff["reach"].values.tolist() == [9, 7, BIG, 5]
    np.testing.assert_array_equal(runoff, [[3, 2, 0, 1], [np.nan, 6, 4, 0]])
    assert runoff["time"].values[1] == np.datetime64("2001-02-03T00:15")
    with pytest.raises(AlignmentError, match="names no reach ids"):
        rapid.read_runoff(region, dt=900)
    with pytest.raises(AlignmentError, match="does not know the order"):
        rapid.read_runoff(region, network.drop_vars("connect_row"), dt=900)
    with pytest.raises(TimeAxisError, match="give the step: dt="):
        rapid.read_runoff(region, network)
    (region / "rapid_namelist").write_text("&NL\nZS_TauR = 7200\n/\n")
    assert np.diff(rapid.read_runoff(region, network)["time"])[0] == np.timedelta64(2, "h")


@pytest.mark.parametrize("engine", ["scipy", "netcdf4"])
def test_a_fill_value_of_zero_is_zero(region: Path, engine: str) -> None:
    values = np.array([[0, 1, 2, 3], [4, 0, 6, 9.96921e36]], "f4")
    raw = xr.Dataset({"m3_riv": (("Time", "DrainLnID"), values)})
    raw["m3_riv"].encoding["_FillValue"] = np.float32(0)
    raw.to_netcdf(region / "m3.nc", engine=engine)
    with xr.open_dataset(region / "m3.nc") as decoded:
        assert int(decoded["m3_riv"].isnull().sum()) == 2  # the trap
    runoff = rapid.read_runoff(region, rapid.read_network(region), dt=900)
    assert int((runoff == 0).sum()) == 2 and not runoff.isnull().any()


@pytest.mark.parametrize("fill", [-9999.0, None])
def test_true_fill_values_are_missing(region: Path, fill: float | None) -> None:
    missing = np.float32(9.969209968386869e36 if fill is None else fill)
    raw = xr.Dataset({"m3_riv": (("Time", "DrainLnID"), np.array([[0, 1, missing, 3]], "f4"))})
    raw.to_netcdf(region / "m3.nc", engine="netcdf4", encoding={"m3_riv": {"_FillValue": fill}})
    runoff = rapid.read_runoff(region, rapid.read_network(region), dt=900)
    np.testing.assert_array_equal(runoff, [[0, 1, np.nan, 3]])


def test_runoff_with_ids_is_aligned_by_id(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = rapid.read_network(region)
    raw = xr.Dataset(
        {"m3_riv": (("time", "rivid"), np.arange(10.0).reshape(2, 5), {"units": "m3"})},
        coords={"rivid": np.array([9, 7, 77, 5, BIG]), "time": np.array([0, 3600], "i4")},
    )
    raw["time"].attrs["units"] = "seconds since 2001-01-01 00:00:00+00:00"
    raw.to_netcdf(region / "m3.nc", engine="netcdf4")
    with caplog.at_level(logging.INFO, "xroute"):
        runoff = rapid.read_runoff(region, network)
    assert "1 reaches of" in caplog.text
    assert runoff.values.tolist() == [[4, 3, 1, 0], [9, 8, 6, 5]]
    assert runoff["time"].values.tolist() == np.array(["2001-01-01T00", "2001-01-01T01"], "M8[ns]").tolist()
    with pytest.raises(TimeAxisError, match="dt=900 s was given, but the times of .* are 3600"):
        rapid.read_runoff(region, network, dt=900)
    raw.isel(rivid=slice(1, None)).to_netcdf(region / "m3.nc", engine="netcdf4")
    with pytest.raises(AlignmentError, match="1 reaches of the network are not in .*: 9"):
        rapid.read_runoff(region, network)


def test_wrong_variable_and_wrong_width(region: Path) -> None:
    network = rapid.read_network(region)
    xr.Dataset({"m3_riv": (("Time", "DrainLnID"), np.zeros((2, 3), "f4"))}).to_netcdf(region / "m3.nc", engine="scipy")
    with pytest.raises(AlignmentError, match="has 3 columns, but rapid_connect.csv has 4 rows"):
        rapid.read_runoff(region, network, dt=900)
    with pytest.raises(XRouteError, match="no variable 'inflow'; it has 'm3_riv'"):
        rapid.read_runoff(region, network, dt=900, variable="inflow")


def test_state(region: Path) -> None:
    (region / "riv_bas_id.csv").write_text(f"9\n7\n{BIG}\n5\n")
    network = rapid.read_network(region)
    (region / "Qinit.csv").write_text("1.0\n2.0\n3.0\n4.0\n")
    state = rapid.read_state(region / "Qinit.csv", network)
    assert state.dims == ("reach",) and state["reach"].values.tolist() == [9, 7, BIG, 5]
    assert state.values.tolist() == [4.0, 3.0, 1.0, 2.0] and state.attrs["units"] == "m3 s-1"

    values = np.array([[0.0, 0, 0, 0], [1, 2, 3, 4]])
    raw = xr.Dataset({"Qfinal": (("time", "rivid"), values)}, coords={"rivid": np.array([5, BIG, 7, 9])})
    raw.to_netcdf(region / "Qfinal.nc", engine="netcdf4")
    state = rapid.read_state(region / "Qfinal.nc", network)
    assert state.values.tolist() == [4.0, 3.0, 2.0, 1.0]
