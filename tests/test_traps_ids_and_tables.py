"""Situations in which a user walks in with an ordinary file or table: each has its right value, or its message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, UnitsError, XRouteError
from xroute.io import nwm, open_dataset, rapid
from xroute.io.common import open_runoff
from xroute.tables import dataset_from_dataframe, read_table

IDS = np.array([101, 102, 103, 104])
BIG = 2**60 + 1  # not a double


def network(ids: Any = IDS, down: Any = (103, 103, 104, 0)) -> xr.Dataset:
    return xr.Dataset(
        {"downstream": ("reach", np.asarray(down)), "tau": ("reach", np.full(4, 7200.0), {"units": "s"})},
        {"reach": np.asarray(ids)},
        {"scheme": "linear_storage"},
    )


def runoff(**coords: Any) -> xr.DataArray:
    """On (time, hru), the first reach gets 1, the second 2, ..., so that an exchange is seen."""
    time = pd.date_range("2000-01-01", periods=200, freq="h")
    values = np.ones((200, 1)) * np.array([1.0, 2.0, 3.0, 4.0])
    return xr.DataArray(
        values, dims=("time", "hru"), coords={"time": time, **coords}, attrs={"units": "m3 s-1"}, name="runoff"
    )


def last(discharge: xr.DataArray) -> list[float]:
    """At the end the storages are in equilibrium: discharge is the sum of what is upstream."""
    return [round(float(v), 6) for v in discharge.isel(time=-1)]


IN_ORDER = [1.0, 2.0, 6.0, 10.0]  # 101 and 102 drain to 103, 103 to 104

# ---------------------------------------------------------------- ids beside the dimension


@pytest.mark.parametrize("options", [{}, {"reach_dim": "hru"}])
@pytest.mark.parametrize("index", [None, np.arange(4), np.arange(1, 5)])
def test_ids_in_hru_id_beside_an_index(index: Any, options: dict[str, Any]) -> None:
    given = runoff(hruId=("hru", IDS), **({} if index is None else {"hru": index}))
    routed = given.route(network(), **options)
    assert last(routed) == IN_ORDER
    assert list(routed.coords) == list(given.coords) and routed.dims == given.dims


def test_ids_beside_the_dimension_in_another_order() -> None:
    routed = runoff(hru=np.arange(4), hruId=("hru", IDS[[2, 0, 3, 1]])).route(network())
    assert last(routed) == [7.0, 2.0, 10.0, 4.0]  # 103 = 2 + 4 + 1, 101, 104 = 7 + 3, 102


def test_a_dimension_called_reach_that_counts_rows() -> None:
    assert (
        last(runoff().rename(hru="reach").assign_coords(reach=np.arange(4), COMID=("reach", IDS)).route(network()))
        == IN_ORDER
    )


def test_an_index_that_could_be_small_ids_beside_other_ids_is_not_taken_silently() -> None:
    small = network(np.arange(1, 5), (3, 3, 4, 0))
    with pytest.raises(AlignmentError, match="'hru' and on 'hruId'.*disagree: 1 and 3 at position 0"):
        runoff(hru=np.arange(1, 5), hruId=("hru", [3, 1, 4, 2])).route(small)
    assert last(runoff(hru=np.arange(4), hruId=("hru", [1, 2, 3, 4])).route(small)) == IN_ORDER


def test_part_of_the_ids_beside_an_index_that_could_be_ids() -> None:
    small = network(np.arange(1, 5), (3, 3, 4, 0))
    with pytest.raises(AlignmentError, match="'hru' and on 'hruId'"):
        runoff(hru=np.arange(1, 5), hruId=("hru", [4, 99, 3, 2]))[:, :2].route(small, missing="zero", extra="drop")
    with pytest.raises(AlignmentError, match="'hruId'.* are text"):
        runoff(hru=np.arange(4), hruId=("hru", ["3", "1", "4", "2"])).route(small, missing="zero", extra="drop")


def test_two_coordinates_of_ids_that_disagree() -> None:
    with pytest.raises(AlignmentError, match="'a' and on 'b'") as error:
        runoff(a=("hru", IDS), b=("hru", IDS[::-1])).route(network())
    assert "position 0" in str(error.value)
    assert last(runoff(a=("hru", IDS), b=("hru", IDS)).route(network())) == IN_ORDER


@pytest.mark.parametrize(
    ("ids", "how"),
    [
        (IDS.astype(str), '.astype("int64")'),
        (IDS.astype("S8"), '.astype("int64")'),
        (np.array([f"{i}   " for i in IDS]), '.astype("int64")'),
        (IDS.astype(float).astype(str), '.astype("float64").astype("int64")'),
    ],
)
def test_ids_of_another_kind_say_the_conversion_that_works(ids: Any, how: str) -> None:
    given = runoff(hru=ids)
    with pytest.raises(AlignmentError, match="are text") as error:
        given.route(network())
    advice = str(error.value).partition("convert them: ")[2]
    assert how in advice
    assert last(eval(advice, {"runoff": given}).route(network())) == IN_ORDER


def test_leading_zeros_are_part_of_an_id() -> None:
    with pytest.raises(AlignmentError, match="leading zeros") as error:
        runoff(hru=[f"00{i}" for i in IDS]).route(network())
    assert "astype" not in str(error.value)


def test_capitals_differ() -> None:
    names = np.array(["wb-1", "wb-2", "wb-3", "wb-4"])
    rivers = network(names, ["wb-3", "wb-3", "wb-4", ""])
    with pytest.raises(AlignmentError, match="capital and small letters") as error:
        runoff(hru=np.char.upper(names)).route(rivers)
    assert "extra" not in str(error.value)
    assert last(runoff(hru=[f"{n}  " for n in names]).route(rivers)) == IN_ORDER  # blanks are no part of an id


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint64", "int32", object])
def test_ids_of_other_types(dtype: Any) -> None:
    routed = runoff(hruId=("hru", IDS.astype(dtype))).route(network())
    assert last(routed) == IN_ORDER and routed["hruId"].dtype == np.dtype(dtype)


def test_stacked_dimensions() -> None:
    stacked = runoff(basin=("hru", ["a", "a", "b", "b"]), comid=("hru", IDS)).set_index(hru=["basin", "comid"])
    assert last(stacked.route(network())) == IN_ORDER


def test_a_fill_value_among_ids_is_named_by_position() -> None:
    with pytest.raises(AlignmentError, match="fill value -9999.*position 2"):
        runoff(hru=("hru", [101, 102, -9999, 104], {"_FillValue": -9999})).route(network())


# ---------------------------------------------------------------- ids in files


@pytest.mark.parametrize("name", ["rivid", "feature_id", "COMID", "link", "hruId", "LINKNO", "river_id", "x"])
@pytest.mark.parametrize(
    "declared", [{"_FillValue": -9999}, {"missing_value": -1}, {"_FillValue": 0, "_Unsigned": "false"}]
)
def test_integer_ids_stay_integers(tmp_path: Path, name: str, declared: dict[str, Any]) -> None:
    pytest.importorskip("netCDF4")
    ids = np.array([BIG, BIG + 2])
    attrs = {k: np.int64(v) if k != "_Unsigned" else v for k, v in declared.items()}
    xr.Dataset({"q": (("time", name), np.ones((2, 2)))}, {name: (name, ids, attrs)}).to_netcdf(tmp_path / "r.nc")
    with open_dataset(tmp_path / "r.nc") as back:
        assert back[name].dtype == np.int64 and back[name].values.tolist() == ids.tolist()


def test_packed_ids_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    packed = xr.Dataset(coords={"rivid": ("rivid", np.array([1, 2], "i4"), {"scale_factor": 0.1})})
    packed.to_netcdf(tmp_path / "r.nc")
    with pytest.raises(XRouteError, match="'rivid' holds ids packed with scale_factor=0.1"):
        open_dataset(tmp_path / "r.nc")


def test_float32_ids_that_are_not_exact_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    ids = np.array([25765433, 25765435], "f4")  # ...432 and ...436
    data = xr.Dataset({"m3_riv": (("time", "rivid"), np.ones((2, 2)))}, {"rivid": ids, "time": [0, 1]})
    data.to_netcdf(tmp_path / "m3.nc")
    with pytest.raises(AlignmentError, match="rivid of .*stored as float32 and are too large to be exact"):
        rapid.read_runoff(tmp_path / "m3.nc", dt=3600)
    xr.Dataset({"link": ("feature_id", ids), "to": ("feature_id", [0, 0])}).to_netcdf(tmp_path / "RouteLink.nc")
    with pytest.raises(NetworkError, match="link of .*stored as float32"):
        nwm.read_network(tmp_path)


def test_a_fill_value_among_the_ids_of_another_model(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    data = xr.Dataset({"m3_riv": (("time", "rivid"), np.ones((2, 2)))}, {"rivid": np.array([7, -9999], "i4"), "time": [0, 1]})
    data["rivid"].attrs["_FillValue"] = np.int32(-9999)
    data.to_netcdf(tmp_path / "m3.nc")
    with pytest.raises(AlignmentError, match="rivid of .*m3.nc: 1 id is missing .the fill value -9999., at position 1"):
        rapid.read_runoff(tmp_path / "m3.nc", dt=3600)


# ---------------------------------------------------------------- outlets


def test_missing_downstream_beside_a_reach_called_minus_one() -> None:
    table = pd.DataFrame({"id": [-1, 5, 6], "toid": [np.nan, -1, 5]})
    rivers = xroute.Network.from_dataframe(table)
    assert rivers.outlets.tolist() == [-1] and rivers.links[0].size == 2


def test_a_declared_fill_value_downstream_is_an_outlet() -> None:
    rivers = xroute.Network(xr.Dataset({"downstream": ("reach", [2, 9999], {"_FillValue": 9999})}, {"reach": [1, 2]}))
    assert rivers.outlets.tolist() == [2]


def test_an_outlet_marker_of_another_kind() -> None:
    with pytest.raises(NetworkError, match="outlet.*is text"):
        xroute.Network(xr.Dataset({"downstream": ("reach", [2, 0], {"outlet": "0"})}, {"reach": [1, 2]}))


def test_outlet_for_every_link_is_refused() -> None:
    with pytest.raises(NetworkError, match="without a link"):
        xroute.Network.from_dataframe(pd.DataFrame({"id": [1, 2], "toid": [77, 78]}), missing_downstream="outlet")
    with pytest.raises(NetworkError) as error:
        xroute.Network.from_dataframe(pd.DataFrame({"id": [1, 2], "toid": [77, 78]}))
    assert "missing_downstream" not in str(error.value)  # it would cut every link


# ---------------------------------------------------------------- tables

FLOWPATHS = pd.DataFrame(
    {"id": ["wb-1", "wb-2", "wb-3"], "toid": ["nex-3", "nex-3", "tnx-9"], "MusK": 3600.0, "MusX": 0.2}
)
NEXUS = pd.DataFrame({"id": ["nex-3", "tnx-9"], "toid": ["wb-3", "wb-0"]})


@pytest.mark.parametrize("option", ["raise", "outlet"])
def test_flowpaths_of_nextgen_alone(option: Any) -> None:
    with pytest.raises(NetworkError, match="1 nexuses .'nex-3'.*nexus layer.*pandas.concat"):
        xroute.Network.from_dataframe(FLOWPATHS, missing_downstream=option)


def test_flowpaths_and_nexuses_of_nextgen() -> None:
    rivers = xroute.Network.from_dataframe(pd.concat([NEXUS, FLOWPATHS]))
    assert rivers.ids.tolist() == ["wb-1", "wb-2", "wb-3"] and rivers.outlets.tolist() == ["wb-3"]
    assert rivers.dataset["k"].values.tolist() == [3600.0] * 3
    catchments = NEXUS.assign(toid=["cat-3", "cat-0"])  # of the same numbers
    assert xroute.Network.from_dataframe(pd.concat([FLOWPATHS, catchments])).outlets.tolist() == ["wb-3"]


def test_a_geopackage_of_nextgen(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    shapely = pytest.importorskip("shapely")
    pyogrio = pytest.importorskip("pyogrio")
    path = tmp_path / "hydrofabric.gpkg"
    flowpaths = FLOWPATHS[["id", "toid"]].assign(lengthkm=[1.0, 2.0, 3.0], hl_id=pd.array([7, None, 9], "Int64"))
    line = shapely.LineString([(0, 0), (1000, 0)])
    geopandas.GeoDataFrame(flowpaths, geometry=[line] * 3, crs=5070).to_file(path, layer="flowpaths")
    with pytest.raises(NetworkError, match="nexus"):
        read_table(path)
    geopandas.GeoDataFrame(NEXUS, geometry=[shapely.Point(0, 0)] * 2, crs=5070).to_file(path, layer="nexus")
    attributes = FLOWPATHS.iloc[::-1].assign(Length_m=1.0, MusK=[3.0, 2.0, 1.0]).drop(columns="toid")
    pyogrio.write_dataframe(attributes, path, layer="flowpath-attributes")
    dataset = read_table(path)
    assert dataset["downstream"].values.tolist() == ["wb-3", "wb-3", ""]
    assert dataset["k"].values.tolist() == [1.0, 2.0, 3.0] and dataset["length"].values.tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_allclose([dataset["lon"][0], dataset["lat"][0]], [-96, 23], atol=0.01)  # the origin of EPSG:5070
    with pytest.raises(XRouteError, match="no layer 'rivers'; it has 'flowpaths', 'nexus'"):
        read_table(path, layer="rivers")


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_geometry_under_any_name(tmp_path: Path, suffix: str) -> None:
    geopandas = pytest.importorskip("geopandas")
    shapely = pytest.importorskip("shapely")
    pytest.importorskip("pyarrow")
    lines = geopandas.GeoSeries([shapely.LineString([(0, 0), (0, 2)]), shapely.LineString([(4, 4), (6, 4)])], crs=4326)
    table = {"COMID": [BIG, 2], "NextDownID": pd.array([2, None], "Int64")}
    frame = geopandas.GeoDataFrame(table, geometry=lines.to_crs(3857)).rename_geometry("reach_line")
    getattr(frame, f"to_{suffix}")(tmp_path / f"r.{suffix}")
    dataset = read_table(tmp_path / f"r.{suffix}")
    assert set(dataset.variables) == {"reach", "downstream", "lon", "lat"} and dataset["reach"].values[0] == BIG
    np.testing.assert_allclose(dataset["lon"], [0, 5], atol=1.01)  # on the lines
    np.testing.assert_allclose(dataset["lat"], [1, 4], atol=1.01)
    by_pandas = pd.DataFrame({**table, "wkb": lines.to_wkb(), "text": lines.to_wkt()})
    assert set(dataset_from_dataframe(by_pandas).variables) == {"reach", "downstream", "lon", "lat"}


def test_columns_that_nothing_can_be_made_of_are_named() -> None:
    table = pd.DataFrame({"id": [1, 2], "toid": [2, 0], "blob": [b"\x93NUMPY", b"..."], "list": [[1], [2]]})
    with pytest.warns(UserWarning, match="'blob', 'list' hold no numbers"):
        assert set(dataset_from_dataframe(table).variables) == {"reach", "downstream"}


@pytest.mark.parametrize(("sep", "encoding"), [(";", "utf-8"), ("\t", "utf-8-sig"), (",", "utf-16"), ("|", "utf-8")])
def test_csv_of_a_spreadsheet(tmp_path: Path, sep: str, encoding: str) -> None:
    decimal = "," if sep == ";" else "."
    rows = [["comid", "nextdownid", "lengthkm"], ["1", "2", f"0{decimal}5"], ["2", "", f"1{decimal}5"]]
    (tmp_path / "r.csv").write_bytes("\r\n".join(sep.join(row) for row in rows).encode(encoding))
    dataset = read_table(tmp_path / "r.csv")
    assert dataset["reach"].values.tolist() == [1, 2] and dataset["length"].values.tolist() == [0.5, 1.5]
    assert dataset["length"].attrs["units"] == "km"


def test_csv_with_ids_of_leading_zeros(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("COMID , NextDownID\n00101, 00102\n00102, 0\n")
    dataset = read_table(tmp_path / "r.csv")
    assert dataset["reach"].values.tolist() == ["00101", "00102"] and dataset["downstream"].values.tolist() == [
        "00102",
        "",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"COMID,NextDownID\n", "no rows"),
        (b"COMID,NextDownID,name\n1,0,M\xfcnchen\n", "encoding="),
        (b"COMID,COMID,NextDownID\n1,1,0\n", "stand twice"),
        (b"a,b\n1,0\n", "no preset fits"),
    ],
)
def test_csv_that_is_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(XRouteError, match=message):
        read_table(tmp_path / "r.csv")


@pytest.mark.parametrize("suffix", ["parquet", "feather", "gpkg"])
def test_files_that_are_not_what_they_are_called(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("geopandas")
    (tmp_path / f"r.{suffix}").write_text("nonsense")
    with pytest.raises(XRouteError, match="cannot be read"):
        read_table(tmp_path / f"r.{suffix}")


def test_sword_names_several_reaches_downstream() -> None:
    table = {"reach_id": [11, 12, 13], "rch_id_dn": ["12 13", "NA", None], "x": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0]}
    with pytest.warns(UserWarning, match="1 reaches drain to several.*11"):
        rivers = xroute.Network.from_dataframe(pd.DataFrame(table))
    assert rivers.links[2].tolist() == [0.5, 0.5] and rivers.dataset["lon"].values.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "links",
    [
        ([1, 2], [3]),
        ([1, np.nan], [2, 0]),
        ([1, "a"], [2, 0]),
        ([1, 2], ["a", "b"]),
        ([], []),
        ([[1, 2]], [[2, 0]]),
        ([[1, 2], [3]], [1, 2]),
        ([1j, 2], [2, 0]),
        ([1, 2], [2, 0], ["half", "all"]),
        ([1, 2], [2, 0], [1.0]),
    ],
)
def test_links_that_are_none(links: Any) -> None:
    with pytest.raises(NetworkError):
        xroute.Network.from_links(*links)


@pytest.mark.parametrize("ids", [None, np.nan, "a", [1, "a"], [[1], [2, 3]], 99, 1.5, True, object(), 1j, [1, None]])
@pytest.mark.parametrize("question", ["position", "upstream", "basin"])
def test_questions_about_reaches_that_are_none(question: str, ids: Any) -> None:
    with pytest.raises(NetworkError):
        getattr(xroute.Network.from_links([1, 2, 3], [3, 3, 0]), question)(ids)


# ---------------------------------------------------------------- several files, several variables, gaps


def hours(path: Path, first: int, ids: Any, n: int = 3, **attrs: Any) -> Path:
    pytest.importorskip("netCDF4")
    time = pd.date_range("2000-01-01", periods=24, freq="h")[first : first + n]
    values = np.array(ids) * 10.0 + np.arange(first, first + n)[:, None]
    surface = {"units": "m3 s-1", **attrs}
    data = {"Qs": (("time", "hru"), values, surface), "Qb": (("time", "hru"), np.ones(values.shape), {"units": "m3/s"})}
    xr.Dataset({**data, "hruId": ("hru", np.array(ids))}, {"time": time}).to_netcdf(path)
    return path


def test_files_in_any_order_with_reaches_in_any_order(tmp_path: Path) -> None:
    files = [hours(tmp_path / "b.nc", 3, [7, 5, 6]), hours(tmp_path / "a.nc", 0, [5, 6, 7])]
    joined = open_runoff(files, ["Qs", "Qb"])
    assert joined["hruId"].values.tolist() == [7, 5, 6] and joined.attrs["source_variables"] == "Qs + Qb"
    np.testing.assert_array_equal(joined, np.array([70.0, 50.0, 60.0]) + 1 + np.arange(6)[:, None])
    xr.testing.assert_equal(open_runoff(tmp_path, "Qs").sortby("hruId"), open_runoff(str(tmp_path / "*.nc"), "Qs"))


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    first = hours(tmp_path / "a.nc", 0, [5, 6, 7])
    with pytest.raises(TimeAxisError, match=r"time 2000-01-01T02.* is in .*a.nc and in .*b.nc"):
        open_runoff([first, hours(tmp_path / "b.nc", 2, [5, 6, 7])], "Qs")
    with pytest.raises(AlignmentError, match="2 ids are in one of them only: 7, 8"):
        open_runoff([first, hours(tmp_path / "c.nc", 3, [5, 6, 8])], "Qs")
    with pytest.raises(UnitsError, match="mm"):
        open_runoff([first, hours(tmp_path / "d.nc", 3, [5, 6, 7], units="mm")], "Qs")
    with pytest.raises(UnitsError, match="Qs and Qb"):
        open_runoff(tmp_path / "d.nc", ["Qs", "Qb"])
    with pytest.raises(XRouteError, match="named twice"):
        open_runoff([first, first], "Qs")
    with pytest.raises(XRouteError, match="several variables .'Qs', 'Qb'.*variables="):
        open_runoff(first)
    with pytest.raises(FileNotFoundError, match="no runoff files"):
        open_runoff(str(tmp_path / "*.grib"))


@pytest.mark.parametrize("dim", ["time", "valid_time"])
def test_records_that_were_never_written_are_missing(dim: str, tmp_path: Path) -> None:
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "r.nc", "w") as file:
        file.createDimension(dim, None)
        file.createDimension("rivid", 4)
        file.createVariable("rivid", "i8", ("rivid",))[:] = IDS
        time = file.createVariable(dim, "f8", (dim,))
        time.units = "hours since 2000-01-01"
        time[:] = np.arange(3)
        variable = file.createVariable("runoff", "f4", (dim, "rivid"))
        variable.units = "m3 s-1"
        variable[0] = 1.0
    with pytest.warns(UserWarning, match="never written"):
        opened = open_runoff(tmp_path / "r.nc")
    assert np.isnan(opened.values[1:]).all() and opened.dtype == np.float32
    with pytest.raises(XRouteError, match="NaN"):
        opened.route(network())


def test_nwm_forcing_says_that_it_is_stamped_at_the_end(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    hour = {"feature_id": [1, 2], "time": ("time", [np.datetime64("2020-01-01T01")])}
    xr.Dataset({"q_lateral": ("feature_id", [1.0, 2.0], {"units": "m3 s-1"})}, hour).to_netcdf(
        tmp_path / "1.CHRTOUT_DOMAIN1"
    )
    assert nwm.read_forcing(tmp_path).attrs["time_label"] == "end"


# ---------------------------------------------------------------- another network


@pytest.mark.parametrize("options", [{"extra": "drop"}, {"missing": "zero"}, {"missing": "zero", "extra": "drop"}])
def test_runoff_of_another_network_is_no_river_of_zeros(options: Any) -> None:
    with pytest.raises(AlignmentError, match="No id is in both: is this the right network") as caught:
        runoff(hru=IDS + 1000).route(network(), **options)
    assert "Take it as zero" not in str(caught.value) and "Leave them out" not in str(caught.value)


def test_a_table_of_tabs_is_a_network_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "rivers.tsv"
    path.write_text("id\tto\n" + "".join(f"{i}\t{d}\n" for i, d in zip(IDS, (103, 103, 104, 0), strict=True)))
    table = read_table(path, "id", "to")
    assert table["downstream"].values.tolist() == [103, 103, 104, 0]
    from xroute.network_files import open_any

    assert open_any(path, reach="id", downstream="to").identical(table)
