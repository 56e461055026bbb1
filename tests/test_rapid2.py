"""RAPID2's set-ups, written by hand after its documentation, against the matrix form of Muskingum in float64."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from xroute.exceptions import AlignmentError, NetworkError, ParameterError, TimeAxisError, XRouteError
from xroute.io import rapid2
from xroute.io.rapid_setup import find_setup, read_setup

pytest.importorskip("yaml")
netCDF4 = pytest.importorskip("netCDF4")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

RIV = np.array([10, 20, 30, 40, 50, 60], np.int32)  # 60 is not routed
DWN = np.array([30, 30, 50, 50, 0, 0], np.int32)
BAS = np.array([20, 10, 40, 30, 50], np.int32)
KPR = np.array([9000.0, 7000, 8000, 5000, 6000, 9000])
XPR = np.array([0.25, 0.1, 0.2, 0.0, 0.3, 0.2])
QEXT = np.random.default_rng(2).random((9, 6)) * 5
Q00 = np.array([4.0, 1, 2, 0, 7, np.nan])
DT, DT_ROUTING = 10800, 900


def table(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def netcdf(path: Path, name: str, values: np.ndarray, times: Any, bounds: Any = None, dtype: str = "f8") -> Path:
    """A file as RAPID2's own writer lays it out; NaN are its fill value."""
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createDimension("rivid", RIV.size)
        time = file.createVariable("time", "i4", ("time",))
        time.setncatts({"units": "seconds since 1970-01-01 00:00:00 +00:00", "calendar": "gregorian"})
        time[:] = times
        for variable, numbers, kind in (
            ("rivid", RIV, "i4"), ("lon", RIV / 10.0, "f8"), ("lat", -RIV / 10.0, "f8"),
        ):  # fmt: skip
            file.createVariable(variable, kind, ("rivid",))[:] = numbers
        main = file.createVariable(name, dtype, ("time", "rivid"), fill_value=1e20)
        main.units = "m3 s-1"
        main[:] = np.where(np.isnan(values), 1e20, values)
        if bounds is not None:
            time.bounds = "time_bnds"
            file.createDimension("nv", 2)
            file.createVariable("time_bnds", "i4", ("time", "nv"))[:] = bounds
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    times = np.arange(len(QEXT)) * DT + 86400
    table(tmp_path / "con_A.parquet", riv=RIV, dwn=DWN)
    table(tmp_path / "kpr_A.parquet", riv=RIV, kpr=KPR)
    table(tmp_path / "xpr_A.parquet", riv=RIV, xpr=XPR)
    table(tmp_path / "bas_A.parquet", riv=BAS)
    netcdf(tmp_path / "Qext_A.nc4", "Qext", QEXT, times, np.stack([times, times + DT], axis=1))
    netcdf(tmp_path / "Qinit_A.nc4", "Qout", Q00[None], times[:1])
    (tmp_path / "nml_A.yml").write_text(
        "# RAPID2\nQ00_ncf: './input/A/Qinit_A.nc4'\nQex_ncf: \"/home/else/input/A/Qext_A.nc4\"\ncon_pqt: con_A.parquet\n"
        "kpr_pqt: kpr_A.parquet\nxpr_pqt: xpr_A.parquet\nbas_pqt: bas_A.parquet\nIS_dtR: 900\n"
        "Qou_ncf: ./output/Qou.nc4\nQfi_ncf: ./output/Qfi.nc4\n"
    )
    return tmp_path


def matrix_form(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean discharge of each step and the final state, in the order of BAS (David et al. 2011, eqs. 3 and 4)."""
    at = np.array([np.flatnonzero(RIV == i)[0] for i in BAS])
    network = (DWN[at][None, :] == BAS[:, None]).astype(float)
    k, x = KPR[at], XPR[at]
    below = k * (1 - x) + DT_ROUTING / 2
    c1 = np.diag((DT_ROUTING / 2 - k * x) / below)
    c2 = np.diag((DT_ROUTING / 2 + k * x) / below)
    c3 = np.diag((k * (1 - x) - DT_ROUTING / 2) / below)
    flow, means = first[at], []
    for inflow in QEXT[:, at]:
        total = np.zeros(BAS.size)
        for _ in range(DT // DT_ROUTING):
            total += flow
            right = (c1 + c2) @ inflow + c3 @ flow + c2 @ network @ flow
            flow = np.linalg.solve(np.eye(BAS.size) - c1 @ network, right)
        means.append(total / (DT // DT_ROUTING))
    return np.array(means), flow


def test_discharge_and_final_state_are_the_matrix_forms(folder: Path) -> None:
    setup = read_setup([folder], state=True)
    assert setup.runoff is not None and setup.state is not None
    discharge, state = setup.runoff["runoff"].route(setup.network, initial_state=setup.state, return_state=True)
    means, final = matrix_form(Q00)
    assert discharge["reach"].values.tolist() == BAS.tolist() and discharge.dtype == np.float64
    np.testing.assert_allclose(discharge.transpose("time", "reach"), means, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(state["outflow"], final, rtol=1e-12)
    assert state.attrs["time"] == "1970-01-03T03:00:00"  # the end of the last bounds, as RAPID2 stamps Qfi


def test_network_and_its_recipe(folder: Path) -> None:
    network = rapid2.read_network(folder)
    assert network["reach"].values.tolist() == BAS.tolist() and network["reach"].dtype == np.int64
    assert network["downstream"].values.tolist() == [30, 30, 50, 50, -1]
    assert network["k"].values.tolist() == [7000, 9000, 5000, 8000, 6000]
    assert network["lon"].values.tolist() == [2, 1, 4, 3, 5] and network["lat"].values[0] == -2
    recipe = {n: network.attrs[n] for n in ("routing_step", "runoff_step", "sampling", "lateral")}
    assert recipe == {"routing_step": 900, "runoff_step": 10800, "sampling": "start-mean", "lateral": "interval"}


def test_the_command_converts_and_routes(folder: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from xroute.cli import main

    (out := tmp_path / "out").mkdir()
    network, runoff, state, q, end = (str(out / n) for n in ("n.zarr", "r.zarr", "s.nc", "q.zarr", "end.nc"))
    run = CliRunner()
    done = run.invoke(
        main, ["convert", "rapid", str(folder), "--network", network, "--runoff", runoff, "--state", state]
    )
    assert done.exit_code == 0, done.output
    assert "connect con_A.parquet" in done.output and "namelist nml_A.yml" in done.output
    done = run.invoke(main, ["route", runoff, network, q, "--initial-state", state, "--save-state", end])
    assert done.exit_code == 0, done.output
    assert "as RAPID does: substeps 12 of 900 s, sampling start-mean, lateral interval" in done.output
    means, final = matrix_form(Q00)
    with xr.open_zarr(q) as routed:
        np.testing.assert_allclose(routed["discharge"].transpose("time", "reach"), means, rtol=1e-12, atol=1e-12)
    with xr.open_dataset(end) as stored:
        np.testing.assert_allclose(stored["outflow"], final, rtol=1e-12)


def test_qfi_goes_on(folder: Path) -> None:
    setup = read_setup([folder])
    assert setup.runoff is not None
    _, final = matrix_form(Q00)
    whole = np.full(RIV.size, np.nan)
    whole[[list(RIV).index(i) for i in BAS]] = final
    file = netcdf(folder / "Qfi_A.nc4", "Qout", whole[None], [183600])
    snapshot = rapid2.read_state(file, setup.network)
    np.testing.assert_array_equal(snapshot, final)
    assert snapshot.attrs["time"] == "1970-01-03T03:00:00" and snapshot.attrs["units"] == "m3 s-1"
    assert rapid2.find_files(folder)["final"] == file


def test_without_a_namelist_content_tells(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    named = find_setup(folder)
    (folder / "nml_A.yml").unlink()
    for role, name in {"connect": "links", "k": "one", "x": "two", "basin_ids": "three"}.items():
        named[role].rename(folder / f"{name}.parquet")
    found = find_setup(folder)
    assert {r: p.name for r, p in found.items()} == {
        "connect": "links.parquet", "k": "one.parquet", "x": "two.parquet", "basin_ids": "three.parquet",
        "runoff": "Qext_A.nc4", "state": "Qinit_A.nc4",
    }  # fmt: skip
    with caplog.at_level(logging.WARNING, "xroute"):
        network = rapid2.read_network(folder)
    assert "no namelist says IS_dtR" in caplog.text and "routing_step" not in network.attrs
    assert rapid2.read_network(folder, routing_step="15min").attrs["routing_step"] == 900
    table(folder / "other.parquet", riv=RIV, kpr=KPR)
    with pytest.raises(XRouteError, match="several files in .* could be the k: 'one.parquet', 'other.parquet'"):
        find_setup(folder)


def test_rows_in_another_order_are_matched_by_id(folder: Path) -> None:
    wanted = rapid2.read_network(folder)
    table(folder / "kpr_A.parquet", riv=RIV[::-1], kpr=KPR[::-1])
    np.testing.assert_array_equal(rapid2.read_network(folder)["k"], wanted["k"])


def test_a_single_step_has_the_step_of_its_bounds(folder: Path) -> None:
    netcdf(folder / "Qext_A.nc4", "Qext", QEXT[:1], [86400], [[86400, 97200]], "f4")
    setup = read_setup([folder], state=True)
    assert setup.runoff is not None
    routed = setup.runoff["runoff"].route(setup.network, initial_state=setup.state)
    np.testing.assert_allclose(routed[0], matrix_form(Q00)[0][0], rtol=1e-6)


def test_fill_values_are_missing(folder: Path) -> None:
    values = QEXT.copy()
    values[3, 1] = np.nan
    times = np.arange(len(QEXT)) * DT + 86400
    netcdf(folder / "Qext_A.nc4", "Qext", values, times, np.stack([times, times + DT], axis=1), "f4")
    runoff = rapid2.read_runoff(folder, rapid2.read_network(folder))
    assert int(runoff.isnull().sum()) == 1 and bool(runoff.sel(reach=20)[3].isnull())
    assert runoff.attrs["time_label"] == "start" and runoff.attrs["units"] == "m3 s-1"


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("con_A", {"riv": RIV}, "no column 'dwn'; it has 'riv'"),
        ("con_A", {"riv": [10, 10, 20, 30, 40, 50], "dwn": DWN}, "1 duplicate reach ids"),
        ("con_A", {"riv": [10, None, 30, 40, 50, 60], "dwn": DWN}, "1 entries of 'riv' are missing"),
        ("con_A", {"riv": [str(i) for i in RIV], "dwn": DWN}, "'riv' holds text"),
        ("kpr_A", {"riv": RIV[:3], "kpr": KPR[:3]}, "no kpr of 2 reaches of .*con_A.parquet: 40, 50"),
        ("kpr_A", {"riv": [10, 10, 20, 30, 40, 50], "kpr": KPR}, "several values of reaches 10"),
        ("xpr_A", {"riv": RIV, "xpr": [str(v) for v in XPR]}, "not numbers"),
        ("bas_A", {"riv": [10, 77]}, "1 ids of .*bas_A.parquet are not in .*con_A.parquet: 77"),
        ("bas_A", {"riv": [10, 10]}, "duplicate ids in .*bas_A.parquet: 10"),
    ],
)
def test_tables_that_cannot_be_right(folder: Path, name: str, columns: dict[str, Any], message: str) -> None:
    table(folder / f"{name}.parquet", **columns)
    with pytest.raises(NetworkError, match=message):
        rapid2.read_network(folder)


def test_broken_files_are_named(folder: Path) -> None:
    (folder / "kpr_A.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(NetworkError, match="kpr_A.parquet is not readable as Parquet"):
        rapid2.read_network(folder)
    (folder / "nml_A.yml").write_text("con_pqt: [unclosed\n")
    with pytest.raises(XRouteError, match="nml_A.yml is not YAML"):
        find_setup(folder)


@pytest.mark.parametrize("step", ["'900'", "-900", "true", "[900]", ".nan"])
def test_a_routing_step_that_is_none(folder: Path, step: str) -> None:
    text = (folder / "nml_A.yml").read_text()
    (folder / "nml_A.yml").write_text(text.replace("IS_dtR: 900", f"IS_dtR: {step}"))
    with pytest.raises(NetworkError, match="nml_A.yml: IS_dtR is a positive number of seconds"):
        rapid2.read_network(folder)


def test_a_routing_step_that_does_not_fit(folder: Path) -> None:
    text = (folder / "nml_A.yml").read_text()
    (folder / "nml_A.yml").write_text(text.replace("IS_dtR: 900", "IS_dtR: 7000"))
    setup = read_setup([folder])
    assert setup.runoff is not None
    with pytest.raises(ParameterError, match="10800 s is not a whole number of the network's routing steps of 7000 s"):
        setup.runoff["runoff"].route(setup.network)


def test_several_namelists(folder: Path) -> None:
    (folder / "nml_B.yml").write_text((folder / "nml_A.yml").read_text().replace("900", "1800"))
    (folder / "other.yml").write_text("a: 1\n")  # no namelist, and no obstacle
    with pytest.raises(XRouteError, match="several namelists in .*: 'nml_A.yml', 'nml_B.yml'; give the one"):
        rapid2.read_network(folder)
    assert rapid2.read_network(folder / "nml_B.yml").attrs["routing_step"] == 1800


def test_states_of_several_times_and_bounds_of_several_steps(folder: Path) -> None:
    with pytest.raises(XRouteError, match="holds 9 times, and a state is of one"):
        rapid2.read_state(folder / "Qext_A.nc4", variable="Qext")
    times = np.arange(len(QEXT)) * DT
    netcdf(folder / "Qext_A.nc4", "Qext", QEXT, times, np.stack([times, times + DT + (times == 0)], axis=1))
    with pytest.raises(TimeAxisError, match="not all of a length"):
        rapid2.read_network(folder)


def test_steps_of_bounds_in_hours(folder: Path) -> None:
    hours = np.arange(len(QEXT)) * (DT // 3600)
    path = netcdf(folder / "Qext_A.nc4", "Qext", QEXT, hours, np.stack([hours, hours + DT // 3600], axis=1))
    with netCDF4.Dataset(path, "a") as file:
        file["time"].units = "hours since 1970-01-01 00:00:00 +00:00"
    assert rapid2.read_network(folder).attrs["runoff_step"] == DT


def test_reaches_without_a_state_or_runoff_are_named(folder: Path) -> None:
    netcdf(folder / "Qinit_A.nc4", "Qout", np.where(RIV == 30, np.nan, 1.0)[None], [86400])
    with pytest.raises(XRouteError, match="discharge is not finite on 1 reaches: 30"):
        read_setup([folder], state=True)
    table(folder / "con_A.parquet", riv=[*RIV, 70], dwn=[*DWN, 0])
    table(folder / "bas_A.parquet", riv=[*BAS, 70])
    for name, values in (("kpr", KPR), ("xpr", XPR)):
        table(folder / f"{name}_A.parquet", riv=[*RIV, 70], **{name: [*values, values[0]]})
    with pytest.raises(AlignmentError, match="1 reaches of the network are not in .*Qext_A.nc4: 70"):
        read_setup([folder])


def test_in_a_folder_of_both_the_namelist_tells(folder: Path) -> None:
    (folder / "rapid_connect.csv").write_text("1,0\n")
    assert find_setup(folder)["connect"].name == "con_A.parquet"
    (folder / "rapid_namelist").write_text("&NL\nZS_dtR = 900\n/\n")
    assert find_setup(folder)["connect"].name == "rapid_connect.csv"
    assert find_setup(folder / "nml_A.yml")["connect"].name == "con_A.parquet"
    (folder / "nml_A.yml").unlink()
    assert find_setup(folder)["connect"].name == "rapid_connect.csv"


def test_an_empty_list_of_ids_is_not_all_of_them(folder: Path) -> None:
    table(folder / "bas_A.parquet", riv=BAS[:0])
    with pytest.raises(NetworkError, match="bas_A.parquet is empty"):
        rapid2.read_network(folder)


def test_a_fill_value_copied_as_a_place_is_none(folder: Path) -> None:
    """RAPID2 writes the longitudes of Qext into Qout as they are read, fill values too, and declares none there."""
    with netCDF4.Dataset(folder / "Qext_A.nc4", "a") as file:
        file["lon"][:] = file["lat"][:] = 1e20
    with netCDF4.Dataset(folder / "Qinit_A.nc4", "a") as file:
        file["lon"][:] = file["lat"][:] = 1e20
    assert "lon" not in rapid2.read_network(folder)
