"""Files of other systems written from ours: in the layout that they read, all or none, and read again without loss."""

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
from xroute.exceptions import (
    AlignmentError,
    NetworkError,
    ParameterError,
    StateError,
    TimeAxisError,
    UnitsError,
    XRouteError,
)
from xroute.files.folders import filled_folder
from xroute.io import WRITERS, export, rapid

netCDF4 = pytest.importorskip("netCDF4")

BIG = 2**31 + 5
IDS = [40, BIG, 10, 30, 20]  # 10 and 20 -> 30 -> BIG -> the sea; 40 -> BIG
DOWN = [BIG, 0, 30, BIG, 30]


def river(**others: Any) -> xr.Dataset:
    values = {"downstream": ("reach", DOWN), "k": ("reach", [1.0, 2.0, 3.0, 1.5, 0.1], {"units": "h"}),
              "x": ("reach", [0.1, 0.2, 0.3, 0.0, 0.25]), "lon": ("reach", [1.0, 2, 3, 4, np.nan]),
              "lat": ("reach", [-1.0, 2, 3, 4, 5]), "area": ("reach", [1.0, 2, 3, 4, 5], {"units": "km2"})}  # fmt: skip
    attrs = {"scheme": "muskingum", "routing_step": 900.0, "sampling": "start-mean", "lateral": "interval"}
    return xr.Dataset(values, {"reach": IDS}, attrs).assign(others)


def series(units: str = "m3 s-1", dtype: str = "f8", n: int = 4) -> xr.DataArray:
    time = pd.date_range("2001-01-01", periods=n, freq="3h")
    values = np.arange(5.0 * n, dtype=dtype).reshape(n, 5) / 7
    return xr.DataArray(values, {"time": time, "reach": IDS}, ["time", "reach"], "runoff", {"units": units})


# ── the folder and the command ────────────────────────────────────────────────────────────────────────────────────────


def test_all_files_come_or_none(tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text("mine\n")
    with pytest.raises(FileExistsError, match="k.csv"):
        export("rapid", tmp_path, network=river(), runoff=series())
    assert [p.name for p in tmp_path.iterdir()] == ["k.csv"] and (tmp_path / "k.csv").read_text() == "mine\n"
    with pytest.raises(UnitsError):
        export("rapid", tmp_path / "new", network=river(), runoff=series().drop_attrs(), overwrite=True)
    assert not (tmp_path / "new").exists() and len(list(tmp_path.iterdir())) == 1  # no draft is left
    (tmp_path / "notes.txt").write_text("mine")
    export("rapid", tmp_path, network=river(), overwrite=True)
    assert (tmp_path / "notes.txt").exists() and (tmp_path / "k.csv").read_text().startswith("3600.0\n")


def test_what_stood_there_stays_if_a_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    target = tmp_path / "out"
    target.mkdir()
    (target / "b").write_text("old")
    real = shutil.move

    def move(source: Any, goal: Any) -> Any:
        if Path(source).name == "c":
            raise OSError("disk full")
        return real(source, goal)

    monkeypatch.setattr("xroute.files.folders.shutil.move", move)
    with pytest.raises(OSError, match="disk full"), filled_folder(target, True) as draft:  # noqa: PT012
        for name in "abc":
            (draft / name).write_text("new")
    assert [p.name for p in target.iterdir()] == ["b"] and (target / "b").read_text() == "old"


def test_a_zarr_store_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with filled_folder(tmp_path / "out", True) as draft:
            (draft / "a.zarr" / name).mkdir(parents=True)
            (draft / "a.zarr" / "zarr.json").write_text("{}")
            (draft / "a.zarr" / name / "0").write_text(name)
    assert sorted(p.name for p in (tmp_path / "out" / "a.zarr").iterdir()) == ["two", "zarr.json"]


def test_a_network_that_is_routed_otherwise_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "xroute"):
        export("rapid2", tmp_path / "a", network=own_river())
        assert not [record for record in caplog.records if "will differ" in record.message]
        export("rapid2", tmp_path / "b", network=own_river().assign_attrs(lateral="head"))
    assert "lateral head" in next(record.message for record in caplog.records if "will differ" in record.message)


def test_systems_products_and_options_that_there_are_not(tmp_path: Path) -> None:
    for message, arguments in (
        ("no writer 'rapids'", {"system": "rapids", "network": river()}),
        ("nothing to write", {"system": "rapid"}),
        ("the runoff is written beside the 'network'", {"system": "rapid", "runoff": series()}),
        ("no option 'naem'", {"system": "rapid", "network": river(), "naem": "x"}),
    ):
        with pytest.raises(XRouteError, match=message):
            export(folder=tmp_path / "x", **arguments)
    assert not (tmp_path / "x").exists()


def test_the_command_writes_what_the_function_writes(tmp_path: Path) -> None:
    network = river()
    discharge, state = series().route(network, return_state=True)
    xroute.io.write(network, tmp_path / "network.nc")
    xroute.io.write(series().to_dataset(), tmp_path / "runoff.nc")
    xroute.io.write_discharge(discharge, tmp_path / "discharge.nc")
    xroute.io.write(state, tmp_path / "state.nc")
    given = [word for p in ("network", "runoff", "discharge", "state") for word in (f"--{p}", str(tmp_path / f"{p}.nc"))]
    result = CliRunner().invoke(main, ["export", "rapid", str(tmp_path / "made"), *given, "--name", "basin"])
    assert result.exception is None, result.output
    parts = {"network": network, "runoff": series(), "discharge": discharge, "state": state}
    with pytest.warns(UserWarning, match="64 bits"):
        names = export("rapid", tmp_path / "same", **parts, name="basin")
    assert all(name in result.stdout for name in names)
    for name in names:
        mine, theirs = ((tmp_path / folder / name) for folder in ("made", "same"))
        if name.endswith(".nc"):
            xr.testing.assert_identical(xr.open_dataset(mine), xr.open_dataset(theirs))
        else:
            assert mine.read_bytes() == theirs.read_bytes()
    usage = CliRunner().invoke(main, ["export", "rapid", str(tmp_path / "x"), "--runoff", str(tmp_path / "runoff.nc")])
    assert usage.exit_code == 2 and "network" in usage.output
    over = CliRunner().invoke(main, ["export", "rapid", str(tmp_path / "network.nc"), *given])
    assert over.exit_code == 2 and "would replace the input" in over.output


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_writer_says_what_it_writes(name: str) -> None:
    writer = WRITERS[name]
    assert writer.summary.endswith(".") and set(writer.products) <= {"network", "runoff", "discharge", "state"}
    assert CliRunner().invoke(main, ["export", name, "--help"]).exit_code == 0


# ── RAPID ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tables_as_rapid_reads_them(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="64 bits"):
        rapid.write_network(river(), tmp_path)
    connect = [[int(cell) for cell in line.split(",")] for line in (tmp_path / "rapid_connect.csv").read_text().splitlines()]
    assert connect == [[40, BIG, 0, 0, 0], [BIG, 0, 2, 40, 30], [10, 30, 0, 0, 0], [30, BIG, 2, 10, 20], [20, 30, 0, 0, 0]]
    assert [float(v) for v in (tmp_path / "k.csv").read_text().split()] == [3600, 7200, 10800, 5400, 0.1 * 3600]
    assert [float(v) for v in (tmp_path / "x.csv").read_text().split()] == [0.1, 0.2, 0.3, 0.0, 0.25]
    basin = [int(v) for v in (tmp_path / "riv_bas_id.csv").read_text().split()]
    place = {one: basin.index(one) for one in IDS}
    assert sorted(basin) == sorted(IDS) and all(place[a] < place[b] for a, b in zip(IDS, DOWN, strict=True) if b)
    assert (tmp_path / "coords.csv").read_text().splitlines()[0] == "40,1.0,-1.0"
    assert not any(line.startswith("20,") for line in (tmp_path / "coords.csv").read_text().splitlines())


def test_series_by_position_and_by_id(tmp_path: Path) -> None:
    """RAPID takes runoff by position, in the rows of rapid_connect.csv, and checks that stamps are ZS_TauR apart."""
    network = rapid_network(tmp_path)
    runoff = series("mm", "f4").isel(reach=[3, 1, 0, 4, 2])
    ended = runoff.assign_coords(time=runoff.time + np.timedelta64(3, "h")).assign_attrs(time_label="end")
    counted = series().round().astype("i4").assign_attrs(units="m3 s-1")
    rapid.write_discharge(counted, tmp_path / "counted.nc", network)
    assert rapid.read_discharge(tmp_path / "counted.nc").dtype == np.float64
    for given in (runoff, ended, runoff.chunk(time=1), runoff.T.expand_dims(member=1)):
        rapid.write_runoff(given, tmp_path / "m3_riv.nc", network, overwrite=True)
        with netCDF4.Dataset(tmp_path / "m3_riv.nc") as file:
            file.set_auto_mask(False)
            rows = [int(line.split(",")[0]) for line in (tmp_path / "rapid_connect.csv").read_text().splitlines()]
            assert file["rivid"][:].tolist() == rows and file["m3_riv"].dimensions == ("time", "rivid")
            area = dict(zip(IDS, [1e6, 2e6, 3e6, 4e6, 5e6], strict=True))
            expected = np.stack([series("mm", "f4").sel(reach=one).values * area[one] / 1000 for one in rows], axis=1)
            np.testing.assert_allclose(file["m3_riv"][:], expected, rtol=1e-6)
            start = 978_307_200  # 2001-01-01
            assert file["time"][:].tolist() == [start + 10800 * i for i in range(4)]
            assert file["time_bnds"][:].tolist() == [[start + 10800 * i, start + 10800 * (i + 1)] for i in range(4)]
            assert file["time"].units == "seconds since 1970-01-01 00:00:00 +00:00" and file["time"].dtype == "i4"
            assert file["m3_riv"].dtype == "f4" and file["m3_riv"].units == "m3"
            assert file["crs"].semi_major_axis == 6378137.0 and file.dimensions["time"].isunlimited()
            assert {"title", "institution", "comment"} <= set(file.ncattrs())  # rapid_meta_Vlat_file.F90 asks for them


def rapid_network(folder: Path) -> xr.Dataset:
    """The river as RAPID's files give it, whose rows are in another order than its reaches."""
    order = [1, 4, 0, 2, 3]
    lines = [f"{IDS[i]},{DOWN[i]}" for i in order]
    (folder / "rapid_connect.csv").write_text("\n".join(lines) + "\n")
    for name in ("k", "x"):
        values = river()[name].values * (3600 if name == "k" else 1)
        (folder / f"{name}.csv").write_text("\n".join(map(str, values[order])) + "\n")
    (folder / "riv_bas_id.csv").write_text("\n".join(map(str, [10, 20, 30, 40, BIG])) + "\n")
    network = rapid.read_network(folder, routing_step=900)
    return network.assign(area=river().area.sel(reach=network.reach.values))


def test_round_trip_keeps_bits_ids_and_rows(tmp_path: Path) -> None:
    network = rapid_network(tmp_path)
    runoff, path = series(), tmp_path / "again"
    discharge, state = runoff.route(network, return_state=True)
    with pytest.warns(UserWarning, match="64 bits"):
        export("rapid", path, network=network, runoff=runoff, discharge=discharge, state=state)
    back = rapid.read_network(path)
    for name in ("downstream", "downstream_id", "k", "x", "connect_row"):
        np.testing.assert_array_equal(back[name].values, network[name].values)
    np.testing.assert_array_equal(back.reach.values, network.reach.values)
    assert {n: back.attrs[n] for n in ("routing_step", "runoff_step", "sampling", "lateral")} == {
        "routing_step": 900.0, "runoff_step": 10800.0, "sampling": "start-mean", "lateral": "interval"}  # fmt: skip
    read = rapid.read_discharge(path, back)
    xr.testing.assert_equal(read, discharge.sel(reach=back.reach).rename("discharge"))
    assert read.dtype == np.float64
    np.testing.assert_allclose(rapid.read_runoff(path, back), runoff.sel(reach=back.reach) * 10800, rtol=1e-15)
    assert rapid.read_namelist(path / "rapid_namelist")["BS_opt_Qinit"] is False
    last = rapid.read_state(path / "Qfinal_xroute.nc", back)
    np.testing.assert_array_equal(last.values, state.outflow.sel(reach=back.reach).values)
    with pytest.warns(UserWarning, match="64 bits"):
        export("rapid", tmp_path / "next", network=network, state=state, name="day2")
    assert rapid.find_files(tmp_path / "next")["state"].name == "Qinit_day2.nc"
    rapid.write_state(state, tmp_path / "Qinit.csv", network)
    np.testing.assert_array_equal(rapid.read_state(tmp_path / "Qinit.csv", network), last)


def test_rapid_files_of_a_real_basin_come_back(shared_data: Any, tmp_path: Path) -> None:
    network = rapid.read_network(shared_data("nasa_lis_4168"))
    rapid.write_network(network, tmp_path)
    back = rapid.read_network(tmp_path)
    for name in ("reach", "downstream", "downstream_id", "k", "x"):
        np.testing.assert_array_equal(back[name].sel(reach=network.reach), network[name])


def test_noleap_years_keep_their_calendar(tmp_path: Path) -> None:
    runoff = series().isel(reach=[0])
    noleap = xr.date_range("2004-02-28", periods=4, freq="D", calendar="noleap", use_cftime=True)
    rapid.write_discharge(runoff.assign_coords(time=noleap), tmp_path / "Qout.nc")
    with netCDF4.Dataset(tmp_path / "Qout.nc") as file:
        assert file["time"].calendar == "noleap"
    assert rapid.read_discharge(tmp_path / "Qout.nc").time.values[1].isoformat() == "2004-03-01T00:00:00"


def renamed(reach: list[Any], downstream: list[Any]) -> xr.Dataset:
    return river().assign_coords(reach=reach).assign(downstream=("reach", downstream))


@pytest.mark.parametrize(
    ("error", "message", "network", "runoff"),
    [
        (NetworkError, "whole numbers", renamed(list("abcde"), ["b", "", "d", "b", "d"]), None),
        (NetworkError, "outlets", renamed([0, *IDS[1:]], [-1] * 5), None),
        (ParameterError, "linear_storage", river(tau=("reach", np.ones(5))).assign_attrs(scheme="linear_storage"), None),
        (AlignmentError, "40", river(), series().isel(reach=slice(1, None))),
        (AlignmentError, "member", river(), series().expand_dims(member=2)),
        (TimeAxisError, "dates", river(), series().assign_coords(time=range(4))),
        (TimeAxisError, "single time", river(), series().isel(time=[0])),
        (TimeAxisError, "no times", river(), series().isel(time=[])),
        (UnitsError, "no units", river(), series().drop_attrs()),
        (UnitsError, "area", river().drop_vars("area"), series("mm")),
    ],
)  # fmt: skip
def test_what_the_layout_has_no_place_for(
    error: type[Exception], message: str, network: xr.Dataset, runoff: Any, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        export("rapid", tmp_path / "x", network=network, runoff=runoff)
    assert not (tmp_path / "x").exists()


def test_links_in_parts_and_states_of_others(tmp_path: Path) -> None:
    split = xroute.Network.from_links([1, 1], [2, 3], fraction=[0.5, 0.5], reach=[1, 2, 3])
    with pytest.raises(NetworkError, match="fractions"):
        rapid.write_network(split, tmp_path / "x")
    network = river()
    _, state = series().route(network, return_state=True)
    with pytest.raises(StateError, match="another network"):
        rapid.write_state(state.isel(reach=slice(3)), tmp_path / "q.nc", network)
    with pytest.raises(StateError, match="members"):
        rapid.write_state(state.outflow.expand_dims(member=2), tmp_path / "q.nc", network)
    with pytest.raises(StateError, match="outlet"):
        rapid.write_state(series().route(network, lateral="outlet", return_state=True)[1], tmp_path / "q.nc", network)
    with pytest.raises(StateError, match="2009"):
        export("rapid", tmp_path / "x", network=network, runoff=series(), state=state.assign_attrs(time="2009-01-01T00:00:00"))
    del state.attrs["time"]
    with pytest.raises(TimeAxisError, match="time="):
        rapid.write_state(state, tmp_path / "q.nc", network)
    assert not list(tmp_path.iterdir())


# ── RAPID2 ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def own_river() -> xr.Dataset:
    """Ids that RAPID2 reads itself, and rows that are not from upstream to downstream."""
    network = river().drop_vars(["lon", "lat"])
    small = [41 if i == BIG else i for i in IDS]
    return network.assign_coords(reach=small).assign(downstream=("reach", [41 if i == BIG else i for i in DOWN]))


def as_rapid2_does(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, mean discharge of each step and the last flow, by RAPID2's algorithm on its files: positions, checks, matrices."""
    import yaml
    from pyarrow import parquet

    namelist = yaml.safe_load((folder / f"nml_{name}.yml").read_text())
    needed = {"Q00_ncf", "Qex_ncf", "con_pqt", "kpr_pqt", "xpr_pqt", "bas_pqt", "IS_dtR", "Qou_ncf", "Qfi_ncf"}
    assert needed <= set(namelist) and isinstance(namelist["IS_dtR"], int)
    tables = {key: parquet.read_table(folder / namelist[key]).to_pydict() for key in ("con_pqt", "kpr_pqt", "xpr_pqt", "bas_pqt")}
    riv, dwn = tables["con_pqt"]["riv"], tables["con_pqt"]["dwn"]
    basin = tables["bas_pqt"]["riv"]
    at = [riv.index(one) for one in basin]
    assert tables["kpr_pqt"]["riv"] == tables["xpr_pqt"]["riv"] == riv
    for one in basin:  # chck_bas
        down = dwn[riv.index(one)]
        assert down == 0 or basin.index(down) > basin.index(one)
    link = np.array([[float(dwn[riv.index(up)] == one) for up in basin] for one in basin])
    k, x = np.array(tables["kpr_pqt"]["kpr"])[at], np.array(tables["xpr_pqt"]["xpr"])[at]
    half = namelist["IS_dtR"] / 2
    c1, c2, c3 = (value / (half + k * (1 - x)) for value in (half - k * x, half + k * x, k * (1 - x) - half))
    with netCDF4.Dataset(folder / namelist["Qex_ncf"]) as inflow, netCDF4.Dataset(folder / namelist["Q00_ncf"]) as first:
        assert inflow["rivid"][:].tolist() == first["rivid"][:].tolist() == riv and inflow["time"][0] == first["time"][0]
        assert first["Qout"].dtype == np.float64 and {"lon", "lat"} <= set(first.variables)
        bounds = inflow["time_bnds"][:]
        n = int(bounds[0, 1] - bounds[0, 0]) // namelist["IS_dtR"]
        flow, means = np.asarray(first["Qout"][0])[at], []
        for step in np.asarray(inflow["Qext"][:])[:, at]:
            total = 0
            for _ in range(n):
                total = total + flow
                flow = np.linalg.solve(np.eye(len(at)) - c1[:, None] * link, (c1 + c2) * step + c3 * flow + c2 * (link @ flow))
            means.append(total / n)
    return np.array(basin), np.array(means), flow


@pytest.mark.filterwarnings("ignore:at a routing step")
def test_rapid2_routes_our_files_to_our_discharge(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    from xroute.io import rapid2

    network = own_river()
    runoff = series("mm").assign_coords(reach=network.reach)
    spun = runoff.route(network, return_state=True)[1].assign_attrs(time="2001-01-01T00:00:00")
    for state in (None, spun):
        discharge, last = runoff.route(network, initial_state=state, return_state=True)
        folder = tmp_path / ("dry" if state is None else "wet")
        export("rapid2", folder, network=network, runoff=runoff, discharge=discharge, state=state, name="basin")
        ids, means, flow = as_rapid2_does(folder, "basin")
        np.testing.assert_allclose(discharge.sel(reach=ids).values, means, rtol=1e-12)
        np.testing.assert_allclose(last.outflow.sel(reach=ids).values, flow, rtol=1e-12)
        with netCDF4.Dataset(folder / "Qex_basin.nc4") as file:  # places: RAPID2 copies what it finds
            assert np.isnan(np.ma.filled(file["lon"][:])).all() and "_FillValue" not in file["lon"].ncattrs()
        back = rapid2.read_network(folder)
        xr.testing.assert_equal(rapid2.read_discharge(folder, back), discharge.sel(reach=back.reach).rename("discharge"))
        np.testing.assert_array_equal(back.k.sel(reach=network.reach), network.k * 3600)
        assert back.attrs["routing_step"] == 900 and back.attrs["runoff_step"] == 10800
    export("rapid2", tmp_path / "end", network=network, runoff=runoff, state=last, name="basin")
    assert not rapid2.read_state(tmp_path / "end").any()  # Q00 is dry, and the state is of the end
    np.testing.assert_array_equal(rapid2.read_state(tmp_path / "end" / "Qfi_basin.nc4", network), last.outflow)


def test_rapid2_keeps_ids_of_64_bits_and_says_so(tmp_path: Path) -> None:
    from xroute.io import rapid2

    with pytest.warns(UserWarning, match="32 bits"):
        rapid2.write_network(river(), tmp_path)
    back = rapid2.read_network(tmp_path, routing_step=900)
    assert sorted(back.reach.values.tolist()) == sorted(IDS) and back.downstream.sel(reach=40).item() == BIG
    with pytest.raises(NetworkError, match="text"):
        rapid2.write_network(renamed(list("abcde"), ["b", "", "d", "b", "d"]), tmp_path / "x")
    with pytest.raises(ParameterError, match="whole seconds"):
        export("rapid2", tmp_path / "x", network=own_river().assign_attrs(routing_step=0.5))


# ── the National Water Model and its kin ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:at a routing step")
def test_set_ups_of_the_national_water_model(tmp_path: Path) -> None:
    from xroute.io import nwm, troute

    network = river()
    runoff = series().assign_coords(time=pd.date_range("2001-01-01", periods=4, freq="h"))
    discharge, state = runoff.route(network.assign_attrs(routing_step=900.0), return_state=True)
    names = export("nwm", tmp_path / "nwm", network=network, runoff=runoff, discharge=discharge, state=state)
    assert "RouteLink.nc" in names and "channel_forcing" in names and any(name.startswith("HYDRO_RST") for name in names)
    back = nwm.read_network(tmp_path / "nwm" / "RouteLink.nc")
    assert back.reach.values.tolist() == IDS and back.downstream.sel(reach=40).item() == BIG
    np.testing.assert_allclose(nwm.read_runoff(tmp_path / "nwm" / "channel_forcing").sel(reach=IDS), runoff, rtol=1e-15)
    export("troute", tmp_path / "troute", discharge=discharge, layout="parquet")
    found = troute.read_discharge(tmp_path / "troute" / "troute_output.parquet")
    np.testing.assert_allclose(found.sel(reach=[f"wb-{one}" for one in IDS]), discharge, rtol=1e-6)
    again = xroute.io.teehr.read_discharge(tmp_path / "troute" / "troute_output.parquet", location_prefix="wb-")
    np.testing.assert_allclose(again.sel(reach=IDS), discharge, rtol=1e-6)
    assert again.attrs["units"] == "m3/s" and again.forecast_reference_time.values == np.datetime64("2001-01-01")


def test_set_ups_of_nextgen(tmp_path: Path) -> None:
    pytest.importorskip("geopandas")
    from xroute.io import nextgen

    runoff = series().assign_coords(time=pd.date_range("2001-01-01", periods=4, freq="h"))
    names = export("nextgen", tmp_path / "ngen", network=river(), runoff=runoff, by="catchment")
    assert names == ["forcing", "hydrofabric.gpkg"]
    back = xroute.Network(nextgen.read_network(tmp_path / "ngen" / "hydrofabric.gpkg"))
    assert sorted(back.ids.tolist()) == sorted(f"wb-{one}" for one in IDS) and back.outlets.tolist() == [f"wb-{BIG}"]


def test_set_ups_of_mizuroute(tmp_path: Path) -> None:
    from xroute.datasets import mizuroute_folder
    from xroute.io import mizuroute

    setup = mizuroute.read_setup(mizuroute_folder(tmp_path / "theirs", days=1))
    runoff = setup.runoff["runoff"]
    discharge = runoff.route(setup.network)
    names = export("mizuroute", tmp_path / "home", network=setup.network, runoff=runoff, discharge=discharge)
    assert {"run.control", "param.nml", "topology.nc", "runoff.nc", "xroute.h.nc"} <= set(names)
    again = mizuroute.read_setup(tmp_path / "home" / "run.control")
    routed = again.runoff["runoff"].route(again.network)
    np.testing.assert_allclose(routed.sel(reach=discharge.reach), discharge, rtol=1e-5, atol=1e-5 * float(discharge.max()))
    back = mizuroute.read_discharge(tmp_path / "home" / "xroute.h.nc")
    np.testing.assert_allclose(back.sel(reach=discharge.reach), discharge, rtol=1e-6)


@pytest.mark.parametrize("system", ["rapid", "river-route", "mizuroute", "nwm", "troute", "ddr", "geoglows", "teehr"])
def test_discharge_without_units_is_not_written(system: str, tmp_path: Path) -> None:
    discharge = series().drop_attrs(deep=False).assign_attrs(time_label="start")
    with pytest.raises(UnitsError, match="no units"):
        export(system, tmp_path / "x", discharge=discharge)
    assert not (tmp_path / "x").exists() or not list((tmp_path / "x").iterdir())


def test_whole_numbers_of_discharge_are_written_for_rapid(tmp_path: Path) -> None:
    whole = series().round().astype(int).assign_attrs(units="m3 s-1", time_label="start")
    rapid.write_discharge(whole, tmp_path / "Qout.nc")
    np.testing.assert_array_equal(rapid.read_discharge(tmp_path / "Qout.nc"), whole)


def test_dates_before_1678_and_before_the_gregorian_calendar(tmp_path: Path) -> None:
    for year, calendar in ((1500, "proleptic_gregorian"), (1600, "gregorian")):
        time = np.array([f"{year}-01-01T00", f"{year}-01-01T03"], "datetime64[s]")
        flow = xr.DataArray([[1.0], [2.0]], {"time": time, "reach": [7]}, attrs={"units": "m3 s-1", "time_label": "start"})
        rapid.write_discharge(flow, tmp_path / f"Qout{year}.nc")
        with netCDF4.Dataset(tmp_path / f"Qout{year}.nc") as file:
            assert file["time"].calendar == calendar
            date = netCDF4.num2date(file["time"][0], file["time"].units, calendar)
        assert (date.year, date.month, date.day) == (year, 1, 1)
