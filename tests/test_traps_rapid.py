"""Traps: what happens to a user of RAPID's files, by kind, each with its right value or its message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute.exceptions import NetworkError, ParameterError, TimeAxisError, XRouteError
from xroute.io import rapid, rapid2

IDS = [101, 102, 103, 104]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rapid_connect.csv").write_text("101,103,0\n102,103,0\n103,104,2,101,102\n104,0,1,103\n")
    (tmp_path / "k.csv").write_text("7200\n" * 4)
    (tmp_path / "x.csv").write_text("0.1\n" * 4)
    (tmp_path / "rapid_namelist").write_text("&NL\nZS_TauR = 10800\nZS_dtR = 1800\n/\n")
    return tmp_path


def volumes(path: Path, time: dict[str, object] | None = None, **extra: object) -> Path:
    values = np.arange(12.0).reshape(3, 4)
    dataset = xr.Dataset({"m3_riv": (("time", "rivid"), values, {"units": "m3"}), **extra}, {"rivid": IDS})
    if time is not None:
        dataset["time"] = ("time", np.array([0, 3, 6], "i4"), time)
    dataset.to_netcdf(path, engine="netcdf4")
    return path


# ── values beside others, or none at all ──────────────────────────────────────────────────────────────────────────────


def test_ids_written_beside_k_are_not_taken_for_k(folder: Path) -> None:
    (folder / "k.csv").write_text("".join(f"{i},7200\n" for i in IDS))
    with pytest.raises(NetworkError, match="k.csv, row 1: '101,7200' is not one number"):
        rapid.read_network(folder)


def test_decimal_commas_of_a_spreadsheet_are_not_cut_to_zero(folder: Path) -> None:
    (folder / "x.csv").write_text("0,3\n" * 4)
    with pytest.raises(NetworkError, match="x.csv, row 1: '0,3'.*decimals are written with a point"):
        rapid.read_network(folder)


def test_a_k_that_was_left_blank_does_not_shift_the_others(folder: Path) -> None:
    (folder / "k.csv").write_text("7200\n\n7200\n7200\n7200\n")
    with pytest.raises(NetworkError, match="row 2 is blank"):
        rapid.read_network(folder)


def test_thousands_separators_in_ids(folder: Path) -> None:
    (folder / "riv_bas_id.csv").write_text("25,765,433\n")
    with pytest.raises(NetworkError, match="riv_bas_id.csv, row 1: '25,765,433' is not a whole number"):
        rapid.read_network(folder)


def test_a_row_that_was_cut_off_is_no_outlet(folder: Path) -> None:
    (folder / "rapid_connect.csv").write_text("101,103,0\n102\n103,104,2,101,102\n104,0,1,103\n")
    with pytest.raises(NetworkError, match="row 2 has 1 column"):
        rapid.read_network(folder)


def test_ids_in_floating_point_notation(folder: Path) -> None:
    (folder / "riv_bas_id.csv").write_text("1.01e2\n102\n")
    with pytest.raises(NetworkError, match="row 1: '1.01e2' is not a whole number"):
        rapid.read_network(folder)


def test_a_file_saved_as_unicode_text_is_read(folder: Path) -> None:
    (folder / "k.csv").write_bytes("\ufeff".encode("utf-16-le") + "7200\r\n".encode("utf-16-le") * 4)
    assert rapid.read_network(folder)["k"].values.tolist() == [7200] * 4


# ── how RAPID routes ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_user_who_knows_no_options_gets_rapids_discharge(folder: Path) -> None:
    network = rapid.read_network(folder)
    runoff = rapid.read_runoff(volumes(folder / "m3_riv.nc"), network)
    wanted = runoff.route(network, substeps=6, sampling="start-mean", lateral="interval")
    np.testing.assert_array_equal(runoff.route(network), wanted)
    bare = network.copy()
    for name in ("routing_step", "sampling", "lateral"):
        del bare.attrs[name]
    assert float(abs(runoff.route(bare) - wanted).max()) > 1e-6


def test_a_namelist_in_other_capitals_counts_too(folder: Path) -> None:
    (folder / "rapid_namelist").write_text("&nl zs_taur=1.08d4, zs_dtr=1.8D3 /\n")
    assert rapid.read_network(folder).attrs["routing_step"] == 1800


def test_a_commented_namelist_entry_does_not_count(folder: Path) -> None:
    (folder / "rapid_namelist").write_text("&NL\n!ZS_dtR = 60\nZS_dtR = 1800 ! not 900\n/\nZS_dtR = 60\n")
    assert rapid.read_network(folder).attrs["routing_step"] == 1800


def test_runoff_that_does_not_divide_into_routing_steps(folder: Path) -> None:
    network = rapid.read_network(folder)
    time = np.datetime64("2001-01-01", "ns") + np.arange(3) * np.timedelta64(2700, "s")
    runoff = xr.DataArray(np.ones((3, 4)), {"time": time, "reach": IDS}, ("time", "reach"), attrs={"units": "m3 s-1"})
    with pytest.raises(ParameterError, match="2700 s is not a whole number of the network's routing steps of 1800 s"):
        runoff.route(network)


def test_a_network_whose_attributes_were_edited_by_hand(folder: Path) -> None:
    network = rapid.read_network(folder).assign_attrs(routing_step="15 minutes")
    runoff = xr.DataArray(np.ones((3, 4)), {"reach": IDS}, ("time", "reach"), attrs={"units": "m3 s-1"})
    with pytest.raises(ParameterError, match="attribute 'routing_step' must be a positive number of seconds"):
        runoff.route(network)


# ── files that are not what they seem ─────────────────────────────────────────────────────────────────────────────────


def test_two_months_of_runoff_with_one_missing_between(folder: Path) -> None:
    network = rapid.read_network(folder)
    files = [volumes(folder / f"m3_{m}.nc", {"units": f"hours since 2001-0{m}-01"}) for m in (1, 3)]
    with pytest.raises(TimeAxisError, match="m3_1.nc, m3_3.nc do not follow each other in time"):
        rapid.read_runoff(files, network)


def test_coordinates_with_latitude_first(folder: Path) -> None:
    (folder / "coords.csv").write_text("101,30,-95\n102,31,-96\n")
    with pytest.raises(NetworkError, match="2 places are off the globe: reach 101 at longitude 30, latitude -95"):
        rapid.read_network(folder)


def test_a_result_is_not_taken_for_an_initial_state(tmp_path: Path) -> None:
    values = {"Qout": (("time", "rivid"), np.ones((3, 4)))}
    xr.Dataset(values, {"rivid": IDS}).to_netcdf(tmp_path / "Qout.nc", engine="netcdf4")
    with pytest.raises(XRouteError, match="holds 3 times, and a state is of one"):
        rapid2.read_state(tmp_path / "Qout.nc")


def test_a_state_starts_in_equilibrium_with_qinit(folder: Path) -> None:
    network = rapid.read_network(folder)
    (folder / "Qinit.csv").write_text("1\n2\n4\n5\n")
    state = xroute.initial_state(network, rapid.read_state(folder / "Qinit.csv", network))
    assert state["inflow"].isel(lag=0).values.tolist() == [0, 0, 3, 4] and state["outflow"].values.tolist() == [1, 2, 4, 5]
