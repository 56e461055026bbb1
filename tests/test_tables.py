"""Tables: the hydrographies' column names, exact ids, and no geometry objects in the Dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import NetworkError, ParameterError, XRouteError
from xroute.tables import PRESETS, dataset_from_dataframe, geometry, read_table

BIG = 9_007_199_254_740_993  # 2**53 + 1: not a double


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_told_from_the_columns(name: str) -> None:
    preset = PRESETS[name]
    table = pd.DataFrame({preset.reach: [11, 12, 13], preset.downstream: [12, 13, 0], "other": [1.0, 2.0, 3.0]})
    if preset.key is not None:
        table[preset.key], table[preset.downstream] = [1, 2, 3], [2, 3, 0]
    for column in preset.columns:
        if preset.columns[column][0] not in {preset.columns[c][0] for c in table.columns if c in preset.columns}:
            table[column] = [0.1, 0.2, 0.3]
    dataset = dataset_from_dataframe(table)
    assert dataset["reach"].values.tolist() == [11, 12, 13] and dataset["reach"].dtype == np.int64
    assert dataset["downstream"].values.tolist() == [12, 13, 0]
    assert dataset["other"].values.tolist() == [1.0, 2.0, 3.0]
    for column in set(preset.columns) & set(table.columns):
        ours, units = preset.columns[column]
        assert dataset[ours].attrs["units"] == units and dataset[ours].values.tolist() == [0.1, 0.2, 0.3]
    assert ("scheme" in dataset.attrs) == ({"k", "x"} <= set(dataset))


FROM_DOCUMENTATION = {
    # What the columns mean and in SI units one of each, as the makers say: Lin et al. (2019), GEOGLOWS, Lehner and Grill
    # (2013) and its technical documentation, NOAA's hydrofabric 2.2, mizuRoute's manual, SWORD's product description (v16),
    # river-route 3. Discharge and the like are as they are.
    "merit-basins": {"lengthkm": ("length", 1000.0), "unitarea": ("area", 1e6), "uparea": ("upstream_area", 1e6),
                     "slope": ("slope", 1.0), "order": ("stream_order", 1.0)},
    "tdx-hydro": {"Length": ("length", 1.0), "Slope": ("slope", 1.0), "strmOrder": ("stream_order", 1.0),
                  "DSContArea": ("upstream_area", 1.0), "musk_k": ("k", 1.0), "musk_x": ("x", 1.0),
                  "LengthGeodesicMeters": ("length", 1.0)},
    "hydrorivers": {"LENGTH_KM": ("length", 1000.0), "CATCH_SKM": ("area", 1e6), "UPLAND_SKM": ("upstream_area", 1e6),
                    "ORD_STRA": ("stream_order", 1.0), "DIS_AV_CMS": ("mean_discharge", 1.0),
                    "sgr_dk_rav": ("slope", 1e-4)},
    "nwm-hydrofabric": {"lengthkm": ("length", 1000.0), "Length_m": ("length", 1.0), "areasqkm": ("area", 1e6),
                        "tot_drainage_areasqkm": ("upstream_area", 1e6), "So": ("slope", 1.0), "slope": ("slope", 1.0),
                        "order": ("stream_order", 1.0), "MusK": ("k", 1.0), "MusX": ("x", 1.0), "TopWdth": ("width", 1.0)},
    **dict.fromkeys(("nhdplus", "nhdplus-hydroseq", "nhdplus-hr"), {
        "LENGTHKM": ("length", 1000.0), "AreaSqKM": ("area", 1e6), "TotDASqKM": ("upstream_area", 1e6), "SLOPE": ("slope", 1.0),
        "StreamOrde": ("stream_order", 1.0), "QE_MA": ("mean_discharge", 0.3048**3),
    }),
    "mizuroute": {"length": ("length", 1.0), "slope": ("slope", 1.0), "area": ("area", 1.0)},
    "mizuroute-tosegment": {"length": ("length", 1.0), "slope": ("slope", 1.0), "area": ("area", 1.0)},
    "sword": {"reach_len": ("length", 1.0), "reach_length": ("length", 1.0), "slope": ("slope", 0.001),
              "facc": ("upstream_area", 1e6), "width": ("width", 1.0), "x": ("lon", None), "y": ("lat", None)},
    "river-route-3": {"muskingumK": ("k", 1.0), "muskingumX": ("x", 1.0), "lengthMeters": ("length", 1.0),
                      "areaM2": ("area", 1.0), "catchment_area": ("area", 1.0), "strahlerOrder": ("stream_order", 1.0)},
    "river-route": {"k": ("k", 1.0), "x": ("x", 1.0)},
    "rapid2": {"kpr": ("k", 1.0), "xpr": ("x", 1.0)},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_columns_mean_what_their_makers_say(name: str) -> None:
    import pint

    registry: Any = pint.UnitRegistry()
    preset, truth = PRESETS[name], FROM_DOCUMENTATION[name]
    assert set(preset.columns) == set(truth)
    for column, (ours, size) in truth.items():
        table = pd.DataFrame({preset.reach: [1, 2], preset.downstream: [2, 0], column: [4.0, 3.0]})
        if preset.key is not None:
            table[preset.key] = [1, 2]
        variable = dataset_from_dataframe(table, preset=name)[ours]
        assert variable.values.tolist() == [4.0, 3.0]
        if size is not None:
            units = re.sub(r"([a-z])(-?\d)", r"\1**\2", variable.attrs["units"]).replace(" ", " * ")
            found = registry.Quantity(f"4.0 * {units}").to_base_units()
            assert found.magnitude == pytest.approx(4.0 * size), f"{column} in {variable.attrs['units']}"


def test_a_river_is_as_long_and_as_wide_in_every_hydrography() -> None:
    """Hayami's travel time over 3.5 km, and runoff off 20 km2, whatever a table calls them: 1 mm in an hour is 5.56 m3/s."""
    rivers = {
        "merit-basins": ("COMID", "NextDownID", {"lengthkm": 3.5, "unitarea": 20.0}),
        "hydrorivers": ("HYRIV_ID", "NEXT_DOWN", {"LENGTH_KM": 3.5, "CATCH_SKM": 20.0}),
        "mizuroute": ("segId", "downSegId", {"length": 3500.0, "area": 20e6}),
        "river-route-3": ("riverId", "nextRiverId", {"lengthMeters": 3500.0, "areaM2": 20e6}),
    }
    runoff = xr.DataArray([[1.0] + [0.0] * 11], dims=("reach", "time"), coords={"reach": [1]}, attrs={"units": "mm"})
    for name, (reach, downstream, columns) in rivers.items():
        table = pd.DataFrame({reach: [1], downstream: [0]} | {column: [value] for column, value in columns.items()})
        network = dataset_from_dataframe(table, preset=name).assign_attrs(scheme="hayami")
        network = network.assign(celerity=((), 1.0, {"units": "m s-1"}), diffusivity=((), 500.0, {"units": "m2 s-1"}))
        discharge = xroute.route(runoff, network, dt="1h").values[0]
        assert discharge.sum() == pytest.approx(20e6 * 1e-3 / 3600), name
        assert (discharge * (np.arange(12) * 3600)).sum() / discharge.sum() == pytest.approx(3500.0, rel=1e-6), name


def test_presets_can_be_named_and_overridden() -> None:
    table = pd.DataFrame({"COMID": [1, 2], "NextDownID": [2, 0], "id": [7, 8], "toid": [8, 0], "lengthkm": [1.0, 2.0]})
    with pytest.raises(NetworkError, match="several presets fit the columns .*merit-basins.*nwm-hydrofabric"):
        dataset_from_dataframe(table)
    assert dataset_from_dataframe(table, preset="merit-basins")["reach"].values.tolist() == [1, 2]
    named = dataset_from_dataframe(table, reach="id", downstream="toid", units={"lengthkm": "km"})
    assert named["reach"].values.tolist() == [7, 8] and named["lengthkm"].attrs["units"] == "km"


def test_errors_list_what_there_is() -> None:
    table = pd.DataFrame({"a": [1], "b": [0]})
    with pytest.raises(NetworkError, match="no preset fits the columns 'a', 'b'.*hydrorivers: HYRIV_ID/NEXT_DOWN"):
        dataset_from_dataframe(table)
    with pytest.raises(NetworkError, match="no preset 'merit'; there are .*merit-basins"):
        dataset_from_dataframe(table, preset="merit")
    with pytest.raises(NetworkError, match="both reach= and downstream="):
        dataset_from_dataframe(table, reach="a")
    with pytest.raises(NetworkError, match="no column 'c'; it has 'a', 'b'"):
        dataset_from_dataframe(table, reach="a", downstream="c")
    with pytest.raises(ParameterError, match="units are given for 'k'"):
        dataset_from_dataframe(table, reach="a", downstream="b", units={"k": "h"})
    with pytest.raises(ParameterError, match="'Length_m', 'lengthkm' all mean 'length'"):
        dataset_from_dataframe(pd.DataFrame({"id": [1], "toid": [0], "Length_m": [1.0], "lengthkm": [2.0]}))


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        (pd.Series([BIG, BIG + 1]), np.int64),
        (pd.Series([BIG, BIG + 1], dtype="Int64"), np.int64),
        (pd.Series([BIG, BIG + 1], dtype="uint64"), np.int64),
        (pd.Series([BIG, BIG + 1], dtype=object), np.int64),
        (pd.Series([7.0, 8.0]), np.int64),
        (pd.Series(["wb-1", "wb-2"]), np.dtype("<U4")),
    ],
)
def test_ids_stay_exact(ids: pd.Series[Any], dtype: Any) -> None:
    dataset = dataset_from_dataframe(pd.DataFrame({"id": ids, "toid": ids[::-1].to_numpy()}))
    assert dataset["reach"].dtype == dtype
    assert dataset["reach"].values.tolist() == list(ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.5, 2.0], "column 'id': ids are not whole numbers: 1.5"),
        ([float(2**53), 2.0], "too large to be exact"),
        ([np.nan, 2.0], "1 rows have no id in column 'id', first row 0"),
        (["a", 2], "column 'id': ids must be integers or text"),
        (np.array([2**63, 1], dtype="uint64"), r"column 'id': ids above 2\*\*63 - 1 do not fit int64"),
    ],
)
def test_ids_that_are_none(ids: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        dataset_from_dataframe(pd.DataFrame({"id": ids, "toid": [0, 0]}))


def test_missing_downstream_is_an_outlet() -> None:
    numbers = dataset_from_dataframe(pd.DataFrame({"id": [1, 2], "toid": [2.0, np.nan]}))
    assert numbers["downstream"].values.tolist() == [2, -1]
    text = dataset_from_dataframe(pd.DataFrame({"id": ["a", "b"], "toid": ["b", None]}))
    assert text["downstream"].values.tolist() == ["b", ""]
    exact = pd.DataFrame({"id": pd.Series([1, BIG]), "toid": pd.Series([BIG, None], dtype="Int64")})
    assert dataset_from_dataframe(exact)["downstream"].values.tolist() == [BIG, -1]


def test_index_and_odd_columns() -> None:
    table = pd.DataFrame(
        {
            "toid": [2, 0],
            "name": ["Elbe", None],
            "lake": [True, False],
            "n": pd.array([1, None], dtype="Int64"),
            "lon": [1.0, 2],
        },
        index=pd.Index([1, 2], name="id"),
    )
    dataset = dataset_from_dataframe(table)
    assert dataset["reach"].values.tolist() == [1, 2]
    assert dataset["name"].values.tolist() == ["Elbe", ""] and dataset["lake"].dtype == bool
    assert np.isnan(dataset["n"].values[1]) and "lon" in dataset.coords


def test_geometry_gives_places() -> None:
    geopandas = pytest.importorskip("geopandas")  # of the group test, so that CI has it
    import shapely

    lines = [shapely.LineString([(0, 0), (0, 2)]), shapely.LineString([(4, 4), (6, 4)])]
    frame = geopandas.GeoDataFrame({"COMID": [1, 2], "NextDownID": [2, 0]}, geometry=lines, crs="EPSG:4326")
    dataset = dataset_from_dataframe(frame)
    assert "geometry" not in dataset.variables
    np.testing.assert_allclose(dataset["lon"].values[0], 0)
    np.testing.assert_allclose(dataset["lat"].values[1], 4)


class Points:
    """The part of a GeoSeries that is used, for where GeoPandas is not installed."""

    def __init__(self, x: list[float], y: list[float]) -> None:
        self.x, self.y = pd.Series(x), pd.Series(y)
        self.crs = None

    def representative_point(self) -> Points:
        return self


def test_places_without_geopandas() -> None:
    dataset = dataset_from_dataframe(pd.DataFrame({"COMID": [1, 2], "NextDownID": [2, 0]}))
    placed = geometry.add_places(dataset, Points([1.0, 2.0], [3.0, 4.0]))
    assert placed["lon"].values.tolist() == [1.0, 2.0] and placed["lat"].attrs["units"] == "degrees_north"
    assert geometry.add_places(placed, Points([9.0, 9.0], [9.0, 9.0]))["lon"].values.tolist() == [1.0, 2.0]
    for x, y in ((500.0, 50.0), (5.0, 91.0)):  # metres, or so
        with pytest.warns(UserWarning, match="no coordinate system and is not in degrees"):
            assert "lon" not in geometry.add_places(dataset, Points([1.0, x], [3.0, y])).variables


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather"])
def test_read_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rivers{suffix}"
    table = pd.DataFrame(
        {
            "river_id": [BIG, 5],
            "downstream_river_id": pd.array([5, None], dtype="Int64"),
            "k": [3600.0, 7200.0],
            "x": [0.1, 0.2],
        }
    )
    if suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        pytest.importorskip("pyarrow")
        (table.to_parquet if suffix == ".parquet" else table.to_feather)(path)
    dataset = read_table(path)
    assert dataset["reach"].values.tolist() == [BIG, 5] and dataset["downstream"].values.tolist() == [5, -1]
    assert dataset.attrs["scheme"] == "muskingum" and dataset["k"].attrs["units"] == "s"


def test_read_table_says_what_it_reads(tmp_path: Path) -> None:
    (tmp_path / "rivers.xls").write_text("")
    with pytest.raises(XRouteError, match="use .csv, .parquet, .feather or .gpkg"):
        read_table(tmp_path / "rivers.xls")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_table(tmp_path / "rivers.csv")


def test_numbers_that_are_not_ids_lead_downstream() -> None:
    """NHDPlus says the hydrologic sequence number of the next flowline, not its COMID."""
    table = pd.DataFrame({"COMID": [501, 502, BIG], "Hydroseq": [30, 20, 10], "DnHydroseq": [20, 10, 0], "LENGTHKM": 1.0})
    dataset = dataset_from_dataframe(table)
    assert dataset["downstream"].values.tolist() == [502, BIG, 0] and dataset["length"].attrs["units"] == "km"
    part = dataset_from_dataframe(table.iloc[:2])
    with pytest.raises(NetworkError, match="1 ids that are not in the network: 10"):
        xroute.Network(part)
    assert xroute.Network(part, missing_downstream="outlet").outlets.tolist() == [502]
    with pytest.raises(NetworkError, match="stand more than once in column 'Hydroseq': 20"):
        dataset_from_dataframe(table.assign(Hydroseq=[20, 20, 10]))
    with pytest.raises(NetworkError, match="drain to numbers that column 'Hydroseq' does not hold: 501"):
        dataset_from_dataframe(table.assign(DnHydroseq=[501, 10, 0]))
    both = dataset_from_dataframe(table.assign(tocomid=[BIG, BIG, 0]))  # ids themselves go first
    assert both["downstream"].values.tolist() == [BIG, BIG, 0]


def test_a_better_length_goes_first() -> None:
    table = pd.DataFrame({"LINKNO": [1, 2], "DSLINKNO": [2, -1], "Length": [9.0, 8.0], "LengthGeodesicMeters": [7.0, 6.0]})
    dataset = dataset_from_dataframe(table)
    assert dataset["length"].values.tolist() == [7.0, 6.0] and dataset["Length"].values.tolist() == [9.0, 8.0]


@pytest.mark.parametrize(
    ("columns", "k"),
    [
        ({"HYRIV_ID": [1, 2], "NEXT_DOWN": [2, 0], "LENGTH_KM": [3.6, 1.8]}, [1800.0, 900.0]),
        ({"COMID": [1, 2], "NextDownID": [2, 0], "lengthkm": [3.6, 1.8]}, [1800.0, 900.0]),
        ({"LINKNO": [1, 2], "DSLINKNO": [2, -1], "Length": [3600.0, 1800.0]}, [1800.0, 900.0]),
        ({"reach_id": [1, 2], "rch_id_dn": ["2", ""], "reach_len": [3600.0, 1800.0]}, [1800.0, 900.0]),
        ({"COMID": [1, 2], "tocomid": [2, 0], "LENGTHKM": [3.6, 1.8]}, [1800.0, 900.0]),
        ({"id": ["wb-1", "wb-2", "nex-2"], "toid": ["nex-2", "tnx-1", "wb-2"], "lengthkm": [3.6, 1.8, None]},
         [1800.0, 900.0]),
    ],
)  # fmt: skip
def test_each_hydrography_gets_what_it_lacks(columns: dict[str, Any], k: list[float]) -> None:
    network = xroute.estimate_parameters(xroute.Network.from_dataframe(pd.DataFrame(columns)), celerity=2.0)
    assert network.dataset["k"].values.tolist() == k and network.outlets.size == 1
