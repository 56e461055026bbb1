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
from problems import write_region

from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, XRouteError
from xroute.io import rapid

BIG = 9_007_199_254_740_993  # 2**53 + 1: not a double


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
    assert rapid.read_runoff(region, network, dt=3600).equals(runoff)
    for dt in (900, 3599):
        with pytest.raises(TimeAxisError, match=f"dt={dt} s was given, but the times of .* are 3600 s apart"):
            rapid.read_runoff(region, network, dt=dt)
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


# ── value files ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,3600\n2,3601\n3,3602\n4,3603\n", r"k.csv, row 1: '1,3600' is not one number: .* nothing beside it"),
        ("3600,0\n3601,0\n3602,0\n3603,0\n", "decimals are written with a point"),
        ("3600\n3601;0\n3602\n3603\n", "row 2: '3601;0' is not one number: there must be one"),
        ("3600\n3601\n3 602\n3603\n", "row 3: '3 602'"),
        ("0\t3600\n1\t3601\n2\t3602\n3\t3603\n", "row 1: .* nothing beside it"),
        ("3600,\n3601,\n3602,\n3603,\n", "row 1: '3600,'"),
        ("k\n3600\n3601\n3602\n3603\n", r"row 1: 'k' is not one number \(the file has no header\)"),
        ("# k\n3600\n3601\n3602\n3603\n", "row 1: '# k'"),
        ("3600\n\n3601\n3602\n3603\n", "row 2 is blank and others follow"),
        ("\n3600\n3601\n3602\n3603\n", "row 1 is blank and others follow"),
        ("3_600\n3601\n3602\n3603\n", "row 1: '3_600'"),
        ("0xE10\n3601\n3602\n3603\n", "row 1: '0xE10'"),
        ("3600\n3601\n3602\n3603", None),
        ("3600\r\n3601\r\n3602\r\n3603\r\n\r\n  \r\n", None),
        ("3600\r3601\r3602\r3603\r", None),
        ("\ufeff3600\n3601\n3602\n3603\n", None),
        (" 3600 \n+3601\n3.602e3\n3.603D+03\n", None),
        ("", "k.csv has 0 values and .* has 4 rows"),
    ],
)
def test_value_files_have_one_number_a_row(region: Path, text: str, message: str | None) -> None:
    (region / "k.csv").write_bytes(text.encode())
    if message is None:
        assert rapid.read_network(region)["k"].values.tolist() == [3600, 3601, 3602, 3603]
        return
    with pytest.raises(NetworkError, match=message):
        rapid.read_network(region)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_files_of_windows_are_read(region: Path, encoding: str) -> None:
    wanted = rapid.read_network(region)
    for name in ("rapid_connect.csv", "k.csv", "x.csv"):
        text = (region / name).read_text().replace("\n", "\r\n")
        (region / name).write_bytes(text.encode(encoding))
    xr.testing.assert_identical(rapid.read_network(region), wanted)


@pytest.mark.parametrize("content", [b"\xff\xfe0", "3600\n".encode("utf-16-le") * 4, b"36\xe9\n" * 4])
def test_what_is_no_text_is_refused(region: Path, content: bytes) -> None:
    (region / "k.csv").write_bytes(content)
    with pytest.raises(NetworkError, match="k.csv"):
        rapid.read_network(region)


def test_ids_to_route_have_one_column(region: Path) -> None:
    (region / "riv_bas_id.csv").write_text("9,1\n7,2\n")
    with pytest.raises(NetworkError, match="riv_bas_id.csv, row 1: '9,1' is not a whole number .* nothing beside it"):
        rapid.read_network(region)


def test_an_empty_list_of_ids_is_not_all_of_them(region: Path) -> None:
    (region / "riv_bas_id.csv").write_text("\n\n")
    with pytest.raises(NetworkError, match="riv_bas_id.csv is empty"):
        rapid.read_network(region)


def test_initial_flow_has_one_column(region: Path) -> None:
    network = rapid.read_network(region)
    (region / "Qinit.csv").write_text(f"{BIG},1.0\n5,2.0\n7,3.0\n9,4.0\n")
    with pytest.raises(NetworkError, match="Qinit.csv, row 1"):
        rapid.read_state(region / "Qinit.csv", network)


@pytest.mark.parametrize(
    ("connect", "message"),
    [
        ("1,2,0\n2", "row 2 has 1 column; it needs id, downstream"),
        ("1,2,0\n2,0", "row 2 has 2 columns, and those before it at least 3"),
        ("1,2\n2,0,1,1", "row 2 has 4 columns, and those before it 2"),
        ("1,2,0\n2,,1,1", "row 2, column 2: '' is not a whole number that fits 64 bits: the cell is empty"),
        ("1,2,0\n2,0,1,1,7", "reach 2 has 1 reaches upstream, and 1 more ids follow, 7 for one"),
        ("1,2,0\n2,0,2,1,", "number of upstream reaches, 2, does not fit the 1 columns"),
        ("1e3,2,0\n2,0,1,1", "row 1, column 1: '1e3' is not a whole number"),
        ("0x1,2,0\n2,0,1,1", "row 1, column 1: '0x1'"),
        ("1_0,2,0\n2,0,1,1", "row 1, column 1: '1_0'"),
        ("9223372036854775808,2,0\n2,0,0", "row 1, column 1: '9223372036854775808' is not a whole number that fits"),
        ("1;2;0\n2;0;1;1", "row 1, column 1: '1;2;0'"),
        ("1,2,0\n\n2,0,1,1", "row 2 is blank"),
    ],
)
def test_rows_that_are_no_connectivity(region: Path, connect: str, message: str) -> None:
    (region / "rapid_connect.csv").write_text(connect)
    with pytest.raises(NetworkError, match=message):
        rapid.read_network(region)


def test_a_row_of_a_million_commas_ends_at_once(region: Path) -> None:
    import time
    import tracemalloc

    for name in ("rapid_connect.csv", "k.csv", "riv_bas_id.csv"):
        before = (region / name).read_text() if (region / name).exists() else None
        (region / name).write_text("1" + "," * 1_000_000 + "\n")
        tracemalloc.start()
        begin = time.process_time()
        with pytest.raises(NetworkError, match=rf"{name}, row 1 has more than 65,536 characters"):
            rapid.read_network(region)
        assert time.process_time() - begin < 5 and tracemalloc.get_traced_memory()[1] < 2e7
        tracemalloc.stop()
        (region / name).unlink() if before is None else (region / name).write_text(before)
    zeros = ",0" * 20_000  # wide, and still a row
    (region / "rapid_connect.csv").write_text(f"{BIG},7,0{zeros}\n5,7,0\n7,9,2,{BIG},5\n9,0,1,7{',' * 30_000}\n")
    assert rapid.read_network(region)["downstream"].values.tolist() == [7, 7, 9, -1]


# ── namelist ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_namelists_are_read_as_fortran_reads_them(tmp_path: Path) -> None:
    (tmp_path / "rapid_namelist").write_text(
        "&NL_namelist\n! ZS_dtR = 1 'not this\nzs_taur = 1.08D4 , ZS_DTR=9d2 !=7\n"
        " BS_opt_Qinit = .TRUE., k_file = 'it''s k.csv'\n"
        "x_file\n =\n \"x!.csv\"\nQinit_file=''\nIS_max_up = 4\nlist = 1, 2,\n 3\nempty =\nVlat_file = ../m3.nc\n"
        "ZS_dtM = 1\nZS_dtM = 2\n/\nafter = 1\n"
    )
    assert rapid.read_namelist(tmp_path / "rapid_namelist") == {
        "ZS_TauR": 10800, "ZS_dtR": 900, "BS_opt_Qinit": True, "k_file": "it's k.csv", "x_file": "x!.csv", "Qinit_file": "",
        "IS_max_up": 4, "list": [1, 2, 3], "Vlat_file": "../m3.nc", "ZS_dtM": 2,
    }  # fmt: skip
    (tmp_path / "rapid_namelist").write_text("&NL\nk_file = 'k.csv\nx_file = 'x.csv'\n/\n")
    with pytest.raises(NetworkError, match="line 2: a quote is opened and not closed: 'k.csv"):
        rapid.read_namelist(tmp_path / "rapid_namelist")


def test_a_namelist_names_unusual_files(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = rapid.read_network(region)
    for old, new in (("rapid_connect.csv", "links.csv"), ("k.csv", "kfac_2.csv"), ("x.csv", "weights.txt")):
        (region / old).rename(region / new)
    (region / "Qstart.csv").write_text("1\n2\n3\n4\n")
    (region / "rapid_namelist").write_text(
        "&NL\nrapid_connect_file='/other/machine/links.csv', k_file='..\\in\\kfac_2.csv'\nx_file='weights.txt'\n"
        "BS_opt_Qinit=.true. Qinit_file='Qstart.csv' ZS_dtR=900 ZS_TauR=3600\n/\n"
    )
    with caplog.at_level(logging.INFO, "xroute"):
        network = rapid.read_network(region)
    xr.testing.assert_equal(network, wanted)
    assert "k_file is the file kfac_2.csv of the folder" in caplog.text
    assert network.attrs["routing_step"] == 900 and network.attrs["runoff_step"] == 3600
    assert rapid.find_files(region)["state"].name == "Qstart.csv"
    namelist = region / "rapid_namelist"
    namelist.write_text(namelist.read_text().replace(".true.", ".false."))
    assert "state" not in rapid.find_files(region)  # RAPID would not read it


def test_a_namelist_decides_between_two(region: Path) -> None:
    (region / "k_2.csv").write_text("7200\n" * 4)
    assert rapid.read_network(region)["k"].values[0] == 3600
    (region / "rapid_namelist").write_text("&NL\nk_file='k_2.csv'\n/\n")
    assert rapid.read_network(region)["k"].values.tolist() == [7200] * 4
    (region / "rapid_namelist_b").write_text("&NL\nk_file='k.csv' ZS_dtR=300\n/\n")
    assert rapid.read_network(region, namelist=region / "rapid_namelist_b").attrs["routing_step"] == 300


def test_a_file_that_the_namelist_names_is_not_there(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    (region / "rapid_namelist").write_text("&NL\nk_file='in/k_calibrated.csv' x_file='x.csv'\n/\n")
    with caplog.at_level(logging.WARNING, "xroute"):
        rapid.read_network(region)
    told = [r.getMessage() for r in caplog.records if "no such file" in r.getMessage()]
    assert len(told) == 1 and "in/k_calibrated.csv as k" in told[0] and "k.csv is read instead" in told[0]


def test_without_a_namelist_the_routing_step_is_asked_for(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = rapid.read_network(region)
    assert "the routing step is not known" in caplog.text and "give routing_step=" in caplog.text
    assert "routing_step" not in network.attrs and network.attrs["lateral"] == "interval"
    assert rapid.read_network(region, routing_step="15min").attrs["routing_step"] == 900
    topology = rapid.read_network(region / "rapid_connect.csv")
    assert not {"routing_step", "sampling", "lateral"} & set(topology.attrs)  # nothing to route with


@pytest.mark.parametrize("step", ["'900'", "-900", "0", "3600*24", ".true."])
def test_steps_of_a_namelist_that_are_none(region: Path, step: str) -> None:
    (region / "rapid_namelist").write_text(f"&NL\nZS_dtR = {step}\n/\n")
    with pytest.raises(NetworkError, match="rapid_namelist: ZS_dtR is a positive number of seconds"):
        rapid.read_network(region)


def test_regions_of_different_steps(tmp_path: Path) -> None:
    folders = [write_region(tmp_path / name, f"{i},0,0") for i, name in ((1, "a"), (2, "b"))]
    for folder, step in zip(folders, (900, 300), strict=True):
        (folder / "rapid_namelist").write_text(f"&NL\nZS_dtR = {step}\n/\n")
    with pytest.raises(NetworkError, match="different steps.*ZS_dtR is 900 s in .*300 s in .*routing_step= gives one"):
        rapid.read_network(folders)
    assert rapid.read_network(folders, routing_step=300).attrs["routing_step"] == 300


def test_rapid_without_options_is_rapid(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """``xroute convert rapid FOLDER`` and ``xroute route`` with no options give Fortran RAPID's discharge."""
    from click.testing import CliRunner

    from xroute.cli import main

    folder = shared_data("nasa_lis_4168")
    network, runoff, q = (str(tmp_path / f"{name}.zarr") for name in ("network", "runoff", "q"))
    for command in (("convert", "rapid", str(folder), "--network", network, "--runoff", runoff), ("route", runoff, network, q)):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    assert "routed as RAPID does: substeps 12 of 900 s, sampling start-mean, lateral interval" in done.output
    fortran = rapid.read_discharge(folder, xr.open_zarr(network, chunks=None))
    with xr.open_zarr(q, chunks=None) as routed:
        assert float(abs(routed["discharge"] - fortran).max()) < 5e-5  # float32 of 34.3 m3/s



# ── coordinates, and several files ────────────────────────────────────────────────────────────────────────────────────


def test_coordinates_are_read_by_id(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    (region / "coords_a.csv").write_text(f"9,-95.5,30,12\n7,-95,31,1\n77,0,0,0\n{BIG},-94,32,5\n")
    with caplog.at_level(logging.INFO, "xroute"):
        network = rapid.read_network(region)
    np.testing.assert_array_equal(network["lon"], [-94, np.nan, -95, -95.5])
    np.testing.assert_array_equal(network["lat"], [32, np.nan, 31, 30])
    assert network["lat"].attrs["units"] == "degrees_north"
    assert "1 reaches have no coordinates in coords_a.csv: 5" in caplog.text
    assert "1 coordinates in coords_a.csv are of no reach" in caplog.text
    (region / "coords_a.csv").write_text(f"COMID,Lat,Lon\n{BIG},32,-94\n5,30,-96\n")
    assert rapid.read_network(region)["lon"].values[:2].tolist() == [-94, -96]
    (region / "coords_a.csv").rename(region / "comid_lat_lon_z.csv")
    (region / "comid_lat_lon_z.csv").write_text(f"{BIG},32,-94,7\n5,30,-96,8\n")
    assert rapid.read_network(region)["lat"].values[:2].tolist() == [32, 30]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9,30,-95\n", "1 places are off the globe: reach 9 at longitude 30, latitude -95"),
        ("9;-95;30\n", "row 1: '9;-95;30' is not id, longitude, latitude"),
        ("9,-95\n", "row 1"),
        ("9,-95,30\n9,-95,31\n", "several places to reaches 9"),
        ("id,lon,elevation\n9,-95,30\n", "the header has 0 columns of lat"),
    ],
)
def test_coordinates_that_are_none(region: Path, text: str, message: str) -> None:
    (region / "coords.csv").write_text(text.replace("30,-95", "30,-95") if "off" in message else text)
    with pytest.raises(NetworkError, match=message):
        rapid.read_network(region)


def test_coordinates_of_regions_and_of_netcdf(tmp_path: Path) -> None:
    upper, lower = write_region(tmp_path / "upper", "1,2,0"), write_region(tmp_path / "lower", "2,0,1,1")
    (upper / "coords.csv").write_text("1,10,50\n")
    values = {"Qout": (("time", "rivid"), np.zeros((1, 1), "f4")), "lon": ("rivid", [11.0]), "lat": ("rivid", [51.0])}
    xr.Dataset(values, {"rivid": [2]}).to_netcdf(lower / "Qout_a.nc", engine="netcdf4")
    network = rapid.read_network([upper, lower])
    assert network["lon"].values.tolist() == [10, 11] and network["lat"].values.tolist() == [50, 51]


def test_several_tables_of_coordinates_are_said(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("coords_a.csv", "coords_b.csv"):
        (region / name).write_text("9,-95,30\n")
    assert "lon" not in rapid.read_network(region)
    assert "several files in" in caplog.text and "coordinates= names one" in caplog.text
    assert rapid.read_network(region, coordinates=region / "coords_b.csv")["lon"].values[3] == -95


def part(path: Path, hours: list[int], first: float, ids: list[int] | None = None) -> Path:
    values = first + np.arange(len(hours) * 4.0).reshape(-1, 4)
    dataset = xr.Dataset({"m3_riv": (("time", "rivid"), values, {"units": "m3"})}, {"rivid": ids or [9, 7, 5, BIG]})
    dataset["time"] = ("time", np.array(hours, "i4"), {"units": "hours since 2001-01-01"})
    dataset.to_netcdf(path, engine="netcdf4")
    return path


def test_files_of_one_network_follow_each_other_in_time(region: Path) -> None:
    network = rapid.read_network(region)
    files = [part(region / "b.nc", [2, 3], 8, [7, 9, 5, BIG]), part(region / "a.nc", [0, 1], 0)]
    runoff = rapid.read_runoff(files, network)
    assert runoff.sel(reach=7).values.tolist() == [1, 5, 8, 12] and runoff.sel(reach=9).values.tolist() == [0, 4, 9, 13]
    assert (np.diff(runoff["time"].values) == np.timedelta64(1, "h")).all()
    part(region / "b.nc", [3, 4], 8)
    with pytest.raises(TimeAxisError, match="a.nc, b.nc do not follow each other in time: .* a gap"):
        rapid.read_runoff(files, network)
    part(region / "b.nc", [1, 2], 8)
    with pytest.raises(TimeAxisError, match=r"time 2001-01-01T01\S* is in \S*a.nc and in \S*b.nc"):
        rapid.read_runoff(files, network)
    part(region / "b.nc", [2, 3], 8, [7, 9, 5, 77])
    with pytest.raises(AlignmentError, match="hold different reaches: 2 ids .*77"):
        rapid.read_runoff(files, network)
    with xr.open_dataset(part(region / "b.nc", [2, 3], 8)) as late:  # the ends of its steps, where the other file has the starts
        ends = late.load()
    ends["time_bnds"] = (("time", "nv"), ends["time"].values[:, None] + np.array([-1, 0], "m8[h]"))
    ends["time"].attrs["bounds"] = "time_bnds"
    ends.to_netcdf(region / "b.nc", engine="netcdf4")
    with pytest.raises(TimeAxisError, match="time_label of .*a.nc are None, and of .*b.nc 'end'"):
        rapid.read_runoff(files, network)
    for name in ("a.nc", "b.nc"):
        xr.Dataset({"m3_riv": (("Time", "DrainLnID"), np.zeros((2, 4), "f4"))}).to_netcdf(region / name, engine="scipy")
    with pytest.raises(TimeAxisError, match="has no dates, so nobody knows where it stands among 2 files"):
        rapid.read_runoff(files, network, dt=3600)


def test_times_that_cannot_be_decoded(region: Path) -> None:
    network = rapid.read_network(region)
    raw = xr.Dataset({"m3_riv": (("time", "rivid"), np.zeros((2, 4)))}, {"rivid": [9, 7, 5, BIG], "time": np.array([0, 1], "i4")})
    raw["time"].attrs["units"] = "hours since the simulation began"
    raw.to_netcdf(region / "m3.nc", engine="netcdf4")
    with pytest.raises(TimeAxisError, match=r"m3.nc \(time, 'hours since the simulation began'.*dt= and start="):
        rapid.read_runoff(region, network)


def test_the_step_that_the_network_states_serves_files_without_dates(region: Path, tmp_path: Path) -> None:
    network = rapid.read_network(region).assign_attrs(runoff_step=7200.0)
    path = tmp_path / "m3.nc"  # no namelist lies beside it
    xr.Dataset({"m3_riv": (("Time", "DrainLnID"), np.zeros((2, 4), "f4"))}).to_netcdf(path, engine="scipy")
    times = rapid.read_runoff(path, network, start="2001-01-01")["time"].values
    assert times.tolist() == np.array(["2001-01-01T00", "2001-01-01T02"], "M8[ns]").tolist()
    assert np.diff(rapid.read_runoff(path, network, dt=60)["time"].values) == np.timedelta64(60, "s")
    with pytest.raises(TimeAxisError, match=r"m3.nc has no usable time axis, and no namelist with ZS_TauR .*dt="):
        rapid.read_runoff(path, network.drop_attrs(deep=False).assign_attrs(connect_rows=network.attrs["connect_rows"]))


def test_bounds_say_what_a_time_is(region: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = rapid.read_network(region)
    raw = xr.Dataset({"m3_riv": (("time", "rivid"), np.zeros((2, 4)))}, {"rivid": [9, 7, 5, BIG], "time": np.array([1, 2], "i4")})
    raw["time"].attrs.update(units="hours since 2001-01-01", bounds="time_bnds")
    for bounds, label in (([[1, 2], [2, 3]], "start"), ([[0, 1], [1, 2]], "end"), ([[0, 0], [0, 0]], None)):
        raw["time_bnds"] = (("time", "nv"), np.array(bounds, "i4"))
        raw.to_netcdf(region / "m3.nc", engine="netcdf4")
        assert rapid.read_runoff(region, network).attrs.get("time_label") == label
    assert "bounds" not in caplog.text  # of none of these, nor of bounds that were never written
    raw["time_bnds"] = (("time", "nv"), np.array([[5, 6], [6, 7]], "i4"))
    raw.to_netcdf(region / "m3.nc", engine="netcdf4")
    assert "time_label" not in rapid.read_runoff(region, network).attrs
    assert "the bounds of the times of" in caplog.text and "do not fit them" in caplog.text


def test_nothing_is_written_when_the_second_half_fails(region: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from xroute.cli import main

    part(region / "m3.nc", [0, 1], 0, [9, 7, 5, 77])
    outputs = [tmp_path / "n.zarr", tmp_path / "r.zarr"]
    arguments = ["convert", "rapid", str(region), "--network", str(outputs[0]), "--runoff", str(outputs[1])]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1 and f"not in {region / 'm3.nc'}: {BIG}" in done.output
    assert not any(path.exists() for path in outputs)


def test_qinit_becomes_a_state(region: Path, tmp_path: Path) -> None:
    """The state that the command writes holds Qinit, and the run starts from it as RAPID's does: its mean begins with Qinit."""
    from click.testing import CliRunner

    from xroute.cli import main

    (region / "Qinit.csv").write_text("1.0\n2.0\n3.0\n4.0\n")
    (region / "rapid_namelist").write_text("&NL\nBS_opt_Qinit=.true. Qinit_file='Qinit.csv' ZS_dtR=3600 ZS_TauR=3600\n/\n")
    part(region / "m3.nc", [0, 1], 0)
    n, r, s, q = (str(tmp_path / f"{name}.zarr") for name in "nrsq")
    for command in (
        ("convert", "rapid", str(region), "--network", n, "--runoff", r, "--state", s),
        ("route", r, n, q, "--initial-state", s),
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    with xr.open_zarr(s, chunks=None) as state, xr.open_zarr(q, chunks=None) as routed:
        assert state["outflow"].values.tolist() == [1, 2, 3, 4]
        assert routed["discharge"].isel(time=0).values.tolist() == [1, 2, 3, 4]  # one substep, sampled at its start
