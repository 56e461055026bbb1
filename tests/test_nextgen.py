"""NextGen's hydrofabric and t-route's runs, laid out here by hand: layers with geopandas, series as text and netCDF4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import xroute
from xroute.cli import main
from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, XRouteError
from xroute.io import nextgen, troute

geopandas = pytest.importorskip("geopandas")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

WB = ["wb-3000000001", "wb-4", "wb-2", "wb-9"]
"""Three meet at a nexus; ids are no line numbers, and not sorted."""
TO = ["nex-9", "nex-9", "nex-9", "nex-50"]


def hydrofabric(path: Path, below: str = "wb-50", *, nexuses: str = "nexus", areas: bool = True) -> Path:
    """A hydrofabric of version 2, clipped: the last nexus drains to a flowpath that is not there."""
    lines = [shapely.MultiLineString([[(1000.0 * k, 0), (1000.0 * k, 900)]]) for k in range(4)]
    flowpaths = {"id": WB, "toid": TO, "lengthkm": [1.5, 2.5, 3.5, 4.5], "order": [1.0, 1.0, 1.0, 2.0]}
    geopandas.GeoDataFrame(flowpaths, geometry=lines, crs=5070).to_file(path, layer="flowpaths")
    edges = pd.DataFrame({"id": ["nex-9", "nex-50"], "toid": ["wb-9", below]})
    if nexuses == "nexus":
        points = [shapely.Point(0, 0), shapely.Point(1, 1)]
        geopandas.GeoDataFrame(edges, geometry=points, crs=5070).to_file(path, layer="nexus")
    else:  # early ones: a list of edges, of flowpaths too
        edges = pd.concat([pd.DataFrame({"id": WB, "toid": TO}), edges])
        pyogrio.write_dataframe(edges, path, layer=nexuses, append=True, driver="GPKG")
    attributes = pd.DataFrame({
        "id": WB[::-1], "rl_gages": [None, None, "01069700", None], "rl_NHDWaterbodyComID": [None, "5,6", None, None],
        "MusK": [3600.0] * 4, "MusX": [0.2] * 4, "n": [0.06, 0.05, 0.055, 0.05], "So": [0.01] * 4, "BtmWdth": [1.0, 2, 3, 4],
        "TopWdth": [5.0, 6, 7, 8], "time": [0.0] * 4, "length_m": [4500.0, 3500, 2500, 1500],
    })  # fmt: skip
    pyogrio.write_dataframe(attributes, path, layer="flowpath_attributes", append=True, driver="GPKG")
    if areas:
        divides = {"divide_id": ["cat-2", "cat-4", "cat-9", "cat-3000000001", "cat-77"], "areasqkm": [2.0, 1.0, 5.0, 3.0, 8.0]}
        divides["id"] = ["wb-2", "wb-4", "wb-9", "wb-3000000001", None]  # one at the coast, without a flowpath
        square = [shapely.box(0, 0, 1, 1)] * 5
        geopandas.GeoDataFrame(divides, geometry=square, crs=5070).to_file(path, layer="divides")
    return path


def nexus_file(folder: Path, name: str, flow: list[float]) -> None:
    rows = (f"{k}, 2015-12-01 {k:02}:00:00, {value:g}\n" for k, value in enumerate(flow))
    (folder / f"{name}_output.csv").write_text("".join(rows))


def test_nexuses_are_collapsed_and_a_clipped_tree_has_one_outlet(tmp_path: Path) -> None:
    network = nextgen.read_network(hydrofabric(tmp_path / "basin.gpkg"))
    rivers = xroute.Network(network)
    assert rivers.outlets.tolist() == ["wb-9"] and network["reach"].values.tolist() == WB
    assert network["downstream"].values.tolist() == ["wb-9"] * 3 + [""]
    assert network["nexus"].values.tolist() == TO and network["downstream_id"].values[-1] == "wb-50"
    assert network["area"].values.tolist() == [3, 1, 2, 5] and network["area"].attrs["units"] == "km2"
    assert network["manning_n"].values.tolist() == [0.05, 0.055, 0.05, 0.06]  # attributes stand in another order
    assert network["gage"].values.tolist() == ["", "01069700", "", ""]
    assert network["waterbody"].values.tolist() == ["", "", "5,6", ""]
    assert network["length"].attrs["units"] == "km" and network["top_width"].values[0] == 8
    assert "time" not in network.variables and network.attrs["scheme"] == "muskingum"
    assert "placeholder" in network["k"].attrs


@pytest.mark.parametrize("terminal", ["tnex-1000000001", "tnx-1000000001"])
def test_early_hydrofabrics_have_a_list_of_edges(tmp_path: Path, terminal: str) -> None:
    path = hydrofabric(tmp_path / "old.gpkg", nexuses="flowpath_edge_list", areas=False)
    with pytest.raises(NetworkError, match="'nex-50'"):  # a nexus that stands nowhere
        pyogrio.write_dataframe(pd.DataFrame({"id": ["nex-9"], "toid": ["wb-9"]}), path, layer="flowpath_edge_list")
        nextgen.read_network(path)
    lines = geopandas.read_file(path, layer="flowpaths").assign(toid=[*TO[:3], terminal])
    lines.to_file(path, layer="flowpaths")
    network = nextgen.read_network(path)
    assert xroute.Network(network).outlets.tolist() == ["wb-9"] and "area" not in network.variables
    assert network["nexus"].values[-1] == terminal


def test_what_is_no_hydrofabric(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no \\*.gpkg"):
        nextgen.read_network(tmp_path)
    (tmp_path / "text.gpkg").write_text("no")
    with pytest.raises(XRouteError, match="text.gpkg"):
        nextgen.read_network(tmp_path / "text.gpkg")
    table = geopandas.GeoDataFrame({"id": [1, 2], "toid": [2, 0]}, geometry=[shapely.Point(0, 0)] * 2, crs=4326)
    table.to_file(tmp_path / "rivers.gpkg", layer="flowpaths")
    with pytest.raises(NetworkError, match="no hydrofabric of NextGen"):
        nextgen.read_network(tmp_path / "rivers.gpkg")


def test_the_water_of_a_nexus_is_shared_by_area(tmp_path: Path) -> None:
    network = nextgen.read_network(hydrofabric(tmp_path / "basin.gpkg"))
    nexus_file(tmp_path, "nex-9", [12.0, 6.0])
    nexus_file(tmp_path, "nex-50", [1.5, 0.25])
    (tmp_path / "cat-2.csv").write_text("Time Step,Time,Q_OUT\n0,2015-12-01 00:00:00,0.001\n1,2015-12-01 01:00:00,0.002\n")
    runoff = nextgen.read_runoff(tmp_path, network)  # of both, nexuses
    np.testing.assert_allclose(runoff, [[6, 2, 4, 1.5], [3, 1, 2, 0.25]])
    assert runoff.attrs["units"] == "m3 s-1" and runoff.attrs["time_label"] == "start" and runoff["reach"].values.tolist() == WB
    assert runoff["time"].values[1] == np.datetime64("2015-12-01T01:00")
    last = nextgen.read_runoff(tmp_path, network, share="last")
    np.testing.assert_allclose(last[0], [0, 0, 12, 1.5])  # as t-route
    np.testing.assert_allclose(nextgen.read_runoff(tmp_path, network.drop_vars("area"))[0], [4, 4, 4, 1.5])
    shuffled = network.isel(reach=[3, 1, 0, 2])
    xr.testing.assert_equal(nextgen.read_runoff(tmp_path, shuffled), runoff.isel(reach=[3, 1, 0, 2]))
    catchments = nextgen.read_runoff(tmp_path, network, by="catchment", missing="zero")
    np.testing.assert_allclose(catchments, [[0, 0, 0.001, 0], [0, 0, 0.002, 0]])
    routed = catchments.route(network.assign(k=network.k * 1e-9, x=network.x * 0))  # a depth of a step, on the divide
    assert catchments.attrs["units"] == "m" and float(routed.sel(reach="wb-2")[1]) == pytest.approx(0.002 * 2e6 / 3600, rel=1e-6)


def test_tables_of_nexuses_a_step(tmp_path: Path) -> None:
    network = nextgen.read_network(hydrofabric(tmp_path / "basin.gpkg"))
    (tmp_path / "201512010000NEXOUT.csv").write_text("feature_id,201512010000\n50,1.5\n9,12\n")
    (tmp_path / "201512010100NEXOUT.csv").write_text("feature_id,201512010100\nnex-9,6\nnex-50,0.25\n")
    expected = [[6, 2, 4, 1.5], [3, 1, 2, 0.25]]
    np.testing.assert_allclose(nextgen.read_runoff(tmp_path, network), expected)  # numbers in one file, and text in the other
    (tmp_path / "201512010100NEXOUT.csv").write_text("feature_id,201512010100\n9,6\n50,0.25\n")
    np.testing.assert_allclose(nextgen.read_runoff(tmp_path, network), expected)


def test_what_is_wrong_with_inflow_is_said(tmp_path: Path) -> None:
    network = nextgen.read_network(hydrofabric(tmp_path / "basin.gpkg"))
    nexus_file(tmp_path, "nex-9", [12.0, 6.0])
    with pytest.raises(AlignmentError, match="1 nexuses of the network have no series: 'nex-50'"):
        nextgen.read_runoff(tmp_path, network)
    assert float(nextgen.read_runoff(tmp_path, network, missing="zero").sel(reach="wb-9").max()) == 0
    nexus_file(tmp_path, "nex-50", [1.0])
    with pytest.raises(TimeAxisError, match="nex-9_output.csv are not those of .*nex-50"):
        nextgen.read_runoff(tmp_path, network)
    nexus_file(tmp_path, "nex-50", [1.0, 2.0])
    nexus_file(tmp_path, "nex-60", [1.0, 2.0])
    with pytest.raises(AlignmentError, match="1 nexuses of the files are not in the network: 'nex-60'"):
        nextgen.read_runoff(tmp_path, network)
    assert nextgen.read_runoff(tmp_path, network, extra="drop").sizes == {"time": 2, "reach": 4}
    (tmp_path / "nex-60_output.csv").write_text("0, 2015-12-01 00:00:00, wet\n")
    with pytest.raises(XRouteError, match="no number: 'wet'"):
        nextgen.read_runoff(tmp_path, network)
    with pytest.raises(FileNotFoundError, match="by catchment"):
        nextgen.read_runoff(tmp_path, network, by="catchment")


def test_hydrofabric_and_inflow_go_out_and_come_back(tmp_path: Path) -> None:
    network = nextgen.read_network(hydrofabric(tmp_path / "basin.gpkg"))
    nextgen.write_network(network, tmp_path / "again.gpkg")
    nexus = geopandas.read_file(tmp_path / "again.gpkg", layer="nexus")
    assert dict(zip(nexus["id"], nexus["toid"], strict=True)) == {"nex-9": "wb-9", "nex-50": "wb-50"}
    attributes = geopandas.read_file(tmp_path / "again.gpkg", layer="flowpath-attributes").set_index("id")
    assert attributes.loc["wb-4", "length_m"] == 2500 and attributes.loc["wb-4", "MusK"] == 3600
    again = nextgen.read_network(tmp_path / "again.gpkg")
    for name in network.variables:
        xr.testing.assert_allclose(again[name].drop_vars(("lon", "lat")), network[name].drop_vars(("lon", "lat")), rtol=1e-12)
        assert again[name].dtype.kind == network[name].dtype.kind, name
    coords = {"time": pd.date_range("2015-12-01", periods=2, freq="h"), "reach": WB}
    runoff = xr.DataArray(np.arange(8.0).reshape(2, 4) / 3, coords, ("time", "reach"), attrs={"units": "m3 s-1"})
    (tmp_path / "n").mkdir()
    nextgen.write_runoff(runoff.isel(reach=[2, 0, 3, 1]), tmp_path / "n", network)
    assert (tmp_path / "n" / "nex-9_output.csv").read_text().splitlines()[1] == "1, 2015-12-01 01:00:00, 5.0"
    back = nextgen.read_runoff(tmp_path / "n", network)
    np.testing.assert_allclose(back.isel(reach=slice(3)).sum("reach"), runoff.isel(reach=slice(3)).sum("reach"))
    nextgen.write_runoff(runoff, tmp_path / "n", network, by="catchment")
    depth = nextgen.read_runoff(tmp_path / "n", network, by="catchment")
    np.testing.assert_allclose(depth * network["area"] * 1e6 / 3600, runoff, rtol=1e-14)
    integers = xr.Dataset({"downstream": ("reach", [7, 7, 0])}, {"reach": [5, 6, 7]})
    nextgen.write_network(integers, tmp_path / "made.gpkg")
    made = nextgen.read_network(tmp_path / "made.gpkg")
    assert made["downstream"].values.tolist() == ["wb-7", "wb-7", ""]
    assert made["nexus"].values.tolist() == ["nex-7", "nex-7", "tnx-7"]
    with pytest.raises(NetworkError, match="number of their own"):
        nextgen.write_network(xr.Dataset({"downstream": ("reach", ["b", ""])}, {"reach": ["a", "b"]}), tmp_path / "x.gpkg")


def test_lakes_of_a_hydrofabric(tmp_path: Path) -> None:
    path = hydrofabric(tmp_path / "basin.gpkg")
    network = nextgen.read_network(path)
    assert nextgen.read_lakes(path, network).sizes["lake"] == 0
    rows = {
        "id": ["wb-4", "wb-4", "nex-50", "wb-77"], "hl_link": ["120053052", "120053052", "5", "6"],
        "hl_reference": ["WBIn", "WBOut", "WBOut", "WBOut"], "LkArea": [1.0, 2.0, 2.0, 2.0], "LkMxE": 12.0, "OrificeE": 8.0,
        "OrificeC": 0.0, "OrificeA": 1.0, "WeirE": 9.0, "WeirC": 0.4, "WeirL": 10.0,
    }  # fmt: skip
    pyogrio.write_dataframe(pd.DataFrame(rows), path, layer="lakes", append=True, driver="GPKG")
    flow = xr.DataArray([1.0, 4.0, 3.0, 4.0], {"reach": WB}, attrs={"units": "m3 s-1"})
    lakes = nextgen.read_lakes(path, network, flow)
    assert dict(zip(lakes["lake"].values.tolist(), lakes["reach"].values.tolist(), strict=True)) == {120053052: "wb-4", 5: "wb-9"}
    np.testing.assert_allclose(lakes["tau"], 2e6 / (1.5 * 4))  # a weir of 4 h**1.5 at a height of 1: dQ/dH = 6
    assert xroute.lakes(network, lakes[["reach", "tau"]])["scheme"].sel(reach="wb-9") == "linear_storage"


# ── t-route's results ─────────────────────────────────────────────────────────────────────────────────────────────────

FLOW = np.array([[1.25, 2.5, 3.75], [4.5, 5.5, 6.5]])  # (time, wb)


def stream_output(path: Path) -> Path:
    """stream_output in netCDF: features before times, with a nexus of the same number as a flowpath."""
    with netCDF4.Dataset(path, "w") as file:
        for name, size in {"feature_id": 4, "time": 2, "type_strlen": 3}.items():
            file.createDimension(name, size)
        time = file.createVariable("time", "f8", "time", fill_value=-9999.0)
        time[:], time.units = [300.0, 600.0], "seconds since 2015-12-01 00:00:00"
        file.createVariable("feature_id", "i8", "feature_id")[:] = [4, 3000000001, 9, 9]
        kind = file.createVariable("type", "S1", ("feature_id", "type_strlen"))
        kind[:] = netCDF4.stringtochar(np.array([b"wb", b"wb", b"wb", b"nex"], "S3"))
        flow = file.createVariable("flow", "f4", ("feature_id", "time"), fill_value=-9999.0)
        flow[:] = np.vstack([FLOW.T, [[77, 77]]])
    return path


def test_every_layout_of_t_route_is_read(tmp_path: Path) -> None:
    network = xr.Dataset(coords={"reach": ["wb-9", "wb-4", "wb-3000000001"]})
    expected = FLOW[:, [2, 0, 1]]
    stream_output(tmp_path / "troute_output_201512010000.nc")
    times = pd.to_datetime(["2015-12-01 00:05", "2015-12-01 00:10"])
    rows = [
        f"{i},{kind},{t},{FLOW[k, j] if kind == 'wb' else 77},0.1,0.2,-9999.0\n"
        for k, t in enumerate(times) for j, (i, kind) in enumerate([(4, "wb"), (3000000001, "wb"), (9, "wb"), (9, "nex")])
    ]  # fmt: skip
    (tmp_path / "stream.csv").write_text("featureID,Type,current_time,flow,velocity,depth,nudge\n" + "".join(rows[::-1]))
    wide = pd.DataFrame(
        np.insert(np.zeros((3, 4)), [0, 2], FLOW.T, axis=1), index=[4, 3000000001, 9],
        columns=pd.MultiIndex.from_product([range(2), ["q", "v", "d"]]).to_flat_index(),
    )  # fmt: skip
    wide.to_csv(tmp_path / "flowveldepth_run.csv")
    pd.DataFrame({
        "location_id": ["wb-4", "wb-3000000001", "wb-9"] * 2 + ["wb-9"],
        "value": [*FLOW.ravel(), 0.1], "value_time": [*times.repeat(3), times[0]],
        "variable_name": ["streamflow"] * 6 + ["depth"], "units": ["m3/s"] * 6 + ["m"], "reference_time": times[0].date(),
        "configuration": "short_range",
    }).to_parquet(tmp_path / "fvd.parquet")  # fmt: skip
    for name in ("troute_output_201512010000.nc", "stream.csv", "flowveldepth_run.csv", "fvd.parquet"):
        found = troute.read_discharge(tmp_path / name, network, start="2015-12-01_00:00", dt="5min")
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert (found["time"].values == times.to_numpy()).all() and found.attrs["time_label"] == "end", name
        assert found["reach"].values.tolist() == network["reach"].values.tolist()
    with pytest.raises(TimeAxisError, match="counted.*start=.*dt="):
        troute.read_discharge(tmp_path / "flowveldepth_run.csv")
    with pytest.raises(XRouteError, match="pickle"):
        (tmp_path / "a.pkl").write_bytes(b"")
        troute.read_discharge(tmp_path / "a.pkl")
    with pytest.raises(AlignmentError, match="1 of the 4 reaches.*'wb-8'"):
        troute.read_discharge(tmp_path / "stream.csv", xr.Dataset(coords={"reach": ["wb-8", *network.reach.values]}))
    (tmp_path / "twice.csv").write_text("featureID,Type,current_time,flow\n" + "4,wb,2015-12-01 00:05,1\n" * 2)
    with pytest.raises(AlignmentError, match="several values of '4'"):
        troute.read_discharge(tmp_path / "twice.csv")


def test_gauges_whose_time_bears_the_name_of_another(tmp_path: Path) -> None:
    """chanobs_output calls its times those of the forecast's reference."""
    with netCDF4.Dataset(tmp_path / "chanobs.nc", "w") as file:
        file.createDimension("time", None)
        file.createDimension("feature_id", 2)
        time = file.createVariable("time", "i4", "time")
        time.standard_name, time.units = "forecast_reference_time", "minutes since 1970-01-01 00:00:00 UTC"
        time[:] = [5, 10]
        file.createVariable("feature_id", "i8", "feature_id")[:] = [7, 5]
        file.createVariable("streamflow", "f4", ("time", "feature_id"), fill_value=np.nan)[:] = [[1, 2], [3, np.nan]]
    found = troute.read_discharge(tmp_path / "chanobs.nc")
    np.testing.assert_array_equal(found, [[1, 2], [3, np.nan]])
    assert found["time"].values[0] == np.datetime64("1970-01-01T00:05")


@pytest.mark.parametrize("name", ["troute_output_1.nc", "troute_output_1.csv", "flowveldepth_1.csv", "flowveldepth_1.parquet"])
@pytest.mark.parametrize("ids", [[3000000001, 4], ["wb-3000000001", "wb-4"]])
def test_every_layout_of_t_route_is_written_without_loss(tmp_path: Path, name: str, ids: list[Any]) -> None:
    times = pd.date_range("2015-12-01", periods=3, freq="h")
    values = np.array([[0.1, 1 / 3], [np.nan, 4.0], [5.0, 1e-9]])
    discharge = xr.DataArray(values, {"time": times, "reach": ids}, ("time", "reach"), attrs={"units": "m3 s-1"})
    troute.write_discharge(discharge, tmp_path / name)
    found = troute.read_discharge(tmp_path / name, discharge.to_dataset(name="q"), start="2015-12-01", dt="1h")
    np.testing.assert_array_equal(found, values)
    assert (found["time"].values == times + pd.Timedelta("1h")).all() and found["reach"].values.tolist() == ids
    if name.endswith(".nc"):
        with netCDF4.Dataset(tmp_path / name) as file:
            assert file["flow"].dimensions == ("feature_id", "time") and file["time"].units == "seconds since 2015-12-01 00:00:00"
            assert file["feature_id"][:].tolist() == [3000000001, 4] and file["velocity"][:].mask.all()
    if name.endswith(".parquet"):
        table = pd.read_parquet(tmp_path / name)
        assert list(table.columns) == [
            "location_id", "value", "value_time", "variable_name", "units", "reference_time", "configuration",
        ]  # fmt: skip
        assert table["location_id"].iloc[0] == "wb-3000000001" and set(table["units"]) == {"m3/s"}
    with pytest.raises(FileExistsError):
        troute.write_discharge(discharge, tmp_path / name)


# ── whole runs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_converted_from_its_configuration(tmp_path: Path) -> None:
    for folder in ("config", "domain", "forcing", "output"):
        (tmp_path / folder).mkdir()
    hydrofabric(tmp_path / "domain" / "basin.gpkg")
    nexus_file(tmp_path / "forcing", "nex-9", [12.0, 6.0])
    nexus_file(tmp_path / "forcing", "nex-50", [1.0, 2.0])
    with netCDF4.Dataset(stream_output(tmp_path / "output" / "troute_output_201512010000.nc"), "a") as file:
        file["feature_id"][:] = [4, 3000000001, 9, 2]
        file["type"][3] = list("wb") + [""]
    content = {
        "network_topology_parameters": {
            "supernetwork_parameters": {"geo_file_path": "domain/basin.gpkg", "mask_file_path": None},
        },
        "compute_parameters": {
            "restart_parameters": {"start_datetime": "2015-12-01_00:00:00"},
            "forcing_parameters": {"dt": 300, "nts": 24, "qlat_input_folder": "forcing/", "qlat_file_pattern_filter": "nex-*"},
        },
        "output_parameters": {"stream_output": {"stream_output_directory": "output/"}},
    }
    (tmp_path / "config" / "run.yaml").write_text(json.dumps(content))  # which is YAML
    found = troute.read_config(tmp_path)
    assert found["hours"] == 2 and found["dt"] == 300 and found["network"].name == "basin.gpkg" and len(found["forcing"]) == 2
    outputs = {name: tmp_path / f"{name}.nc" for name in ("network", "runoff", "discharge")}
    options = [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    result = CliRunner().invoke(main, ["convert", "troute", str(tmp_path / "config"), *options])
    assert result.exit_code == 0, result.output
    with xroute.io.open_dataset(outputs["runoff"]) as runoff, xroute.io.open_dataset(outputs["discharge"]) as discharge:
        assert runoff["runoff"].sel(reach="wb-9").values.tolist() == [1, 2]
        assert discharge["discharge"].sel(reach="wb-3000000001").values.tolist() == [2.5, 5.5]
    content["compute_parameters"]["forcing_parameters"]["qlat_input_folder"] = "/ngen/ngen/data/forcing/"  # of a container
    (tmp_path / "config" / "run.yaml").write_text(json.dumps(content))
    assert troute.read_config(tmp_path)["forcing"] == found["forcing"]
    content["compute_parameters"]["forcing_parameters"]["qlat_input_folder"] = "elsewhere"
    (tmp_path / "config" / "run.yaml").write_text(json.dumps(content))
    with pytest.raises(XRouteError, match="names 'elsewhere' for the forcing"):
        troute.read_config(tmp_path)
    (tmp_path / "config" / "run.yaml").write_text("a: 1\n")
    with pytest.raises(XRouteError, match="no configuration of t-route"):
        troute.read_config(tmp_path / "config" / "run.yaml")


def test_a_folder_of_nextgen_is_converted_by_one_command(tmp_path: Path) -> None:
    for folder in ("config", "outputs/ngen"):
        (tmp_path / folder).mkdir(parents=True)
    hydrofabric(tmp_path / "config" / "basin.gpkg")
    nexus_file(tmp_path / "outputs" / "ngen", "nex-9", [12.0, 6.0])
    nexus_file(tmp_path / "outputs" / "ngen", "nex-50", [1.0, 2.0])
    options = ["--network", str(tmp_path / "n.nc"), "--runoff", str(tmp_path / "r.nc")]
    result = CliRunner().invoke(main, ["convert", "nextgen", str(tmp_path), *options])
    assert result.exit_code == 0, result.output
    with xroute.io.open_dataset(tmp_path / "r.nc") as runoff:
        assert runoff["runoff"].sel(reach="wb-3000000001").values.tolist() == [6, 3]
    assert "another model" in CliRunner().invoke(main, ["info", str(tmp_path)]).output
    refused = CliRunner().invoke(main, ["convert", "nextgen", str(tmp_path / "config"), "--runoff", str(tmp_path / "x.nc")])
    assert refused.exit_code == 2 and "--forcing" in refused.output


def test_the_mask_of_a_run_leaves_links_out(tmp_path: Path) -> None:
    xr.Dataset({"link": ("feature_id", [1, 2, 3]), "to": ("feature_id", [2, 3, 0])}).to_netcdf(tmp_path / "RouteLink.nc")
    (tmp_path / "mask.txt").write_text("2\n1\n")
    content = {
        "network_topology_parameters": {
            "supernetwork_parameters": {"geo_file_path": "RouteLink.nc", "mask_file_path": "mask.txt"},
        },
        "compute_parameters": {},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(content))
    result = CliRunner().invoke(main, ["convert", "troute", str(tmp_path / "run.yaml"), "--network", str(tmp_path / "n.nc")])
    assert result.exit_code == 0, result.output
    with xroute.io.open_dataset(tmp_path / "n.nc") as network:
        assert network["reach"].values.tolist() == [1, 2] and network["downstream"].values.tolist() == [2, 0]
        assert network["downstream_id"].values.tolist() == [2, 3] and network.attrs["n_links"] == 3
    words = ["--runoff", str(tmp_path / "r.nc"), "--forcing", str(tmp_path), "--missing", "zero"]
    refused = CliRunner().invoke(main, ["convert", "troute", str(tmp_path / "run.yaml"), *words])
    assert refused.exit_code == 2 and "--missing zero: for a hydrofabric" in refused.output


@pytest.mark.parametrize("area", [[10, 20], [1e7, 2e7], [10_000_000, 20_000_000]], ids=["whole km2", "no units", "whole m2"])
def test_areas_and_lengths_are_written_in_kilometres(tmp_path: Path, area: list[float]) -> None:
    units = {10: {"units": "km2"}, 10_000_000: {"units": "m2"} if isinstance(area[0], int) else {}}[int(area[0])]
    network = xr.Dataset(
        {"downstream": ("reach", [2, 0]), "area": ("reach", area, units), "length": ("reach", [1500.0, 500.0])}, {"reach": [1, 2]}
    )
    nextgen.write_network(network, tmp_path / "made.gpkg")
    layers = {name: pyogrio.read_dataframe(tmp_path / "made.gpkg", layer=name) for name in ("flowpaths", "divides")}
    assert layers["flowpaths"]["lengthkm"].tolist() == [1.5, 0.5]
    assert layers["divides"]["areasqkm"].tolist() == layers["flowpaths"]["areasqkm"].tolist() == [10.0, 20.0]


def test_a_mask_and_tables_keep_ids_of_64_bits(tmp_path: Path) -> None:
    ids = [2**53 + 1, 2**53 + 2, 2**62 + 1]
    xr.Dataset({"link": ("feature_id", ids), "to": ("feature_id", [ids[1], ids[2], 0])}).to_netcdf(tmp_path / "RouteLink.nc")
    (tmp_path / "mask.txt").write_text(f"{ids[0]}\n{ids[2]}\n")
    supernetwork = {"geo_file_path": "RouteLink.nc", "mask_file_path": "mask.txt"}
    content = {"network_topology_parameters": {"supernetwork_parameters": supernetwork}, "compute_parameters": {}}
    (tmp_path / "run.yaml").write_text(json.dumps(content))
    convert = ["convert", "troute", str(tmp_path / "run.yaml"), "--network", str(tmp_path / "n.nc")]
    result = CliRunner().invoke(main, convert)
    assert result.exit_code == 0, result.output
    with xroute.io.open_dataset(tmp_path / "n.nc") as network:
        assert network["reach"].values.tolist() == [ids[0], ids[2]]
    (tmp_path / "mask.txt").write_text("wb-1\n")
    refused = CliRunner().invoke(main, [*convert, "--overwrite"])
    assert refused.exit_code and "whole numbers" in refused.output
    (tmp_path / "flow.csv").write_text(f"feature_id,202405010000,202405010100\n{ids[2]},1.0,2.0\n")
    assert xroute.io.nwm.read_runoff(tmp_path / "flow.csv")["reach"].values.tolist() == [ids[2]]
