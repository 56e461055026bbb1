"""From a RAPID folder to a comparison with RAPID's own discharge, on commands, and what is said after a slip on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from xroute.cli import main
from xroute.datasets import mizuroute_folder, nwm_folder, rapid_folder
from xroute.exceptions import TimeAxisError
from xroute.inspection import inspect_folder
from xroute.io import rapid


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rapid_folder(tmp_path_factory.mktemp("rapid") / "set-up", days=1)


@pytest.fixture
def undated(folder: Path, tmp_path: Path) -> Path:
    """A folder whose discharge has times that RAPID never set, as old versions left them."""
    copy = tmp_path / "undated"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    qout = next(copy.glob("Qout*.nc"))
    with xr.open_dataset(qout, decode_cf=False) as stored:
        own = stored.load()
    own = own.drop_vars([n for n in own.variables if "time" in own[n].dims and n != "Qout"])
    own["time"] = ("time", np.full(own.sizes["time"], -2147483647, "i4"))
    own["Qout"].attrs.pop("coordinates", None)
    own.to_netcdf(qout)
    return copy


def test_own_discharge_is_converted(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.nc"
    code, said = run("convert", "rapid", folder, "--discharge", own)
    assert code == 0 and "wrote" in said
    with xr.open_dataset(next(folder.glob("Qout*.nc"))) as raw, xr.open_dataset(own) as made:
        reach = raw["rivid"].to_numpy()
        np.testing.assert_array_equal(made["discharge"].sel(reach=reach).transpose("time", "reach"), raw["Qout"])
        np.testing.assert_array_equal(made["time"], raw["time"])
        assert made["discharge"].attrs["units"] == "m3 s-1"


def test_own_discharge_of_rapid2(tmp_path: Path) -> None:
    place = rapid_folder(tmp_path / "set-up", version=2, days=1)
    assert run("convert", "rapid", place, "--discharge", tmp_path / "own.nc")[0] == 0
    with xr.open_dataset(next(place.glob("Qout*.nc4"))) as raw, xr.open_dataset(tmp_path / "own.nc") as own:
        np.testing.assert_array_equal(
            own["discharge"].sel(reach=raw["rivid"].to_numpy()).transpose("time", "reach"), raw["Qout"].transpose("time", ...)
        )


def test_own_discharge_without_dates_gets_them(undated: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.nc"
    assert run("convert", "rapid", undated, "--discharge", own, "--start", "2002-08-30")[0] == 0
    with xr.open_dataset(own) as made:
        assert made["time"].to_numpy()[0] == np.datetime64("2002-08-30")
        assert np.unique(np.diff(made["time"])) == np.timedelta64(3, "h")  # ZS_TauR of the namelist


def test_own_discharge_that_is_not_there(undated: Path, tmp_path: Path) -> None:
    moved = next(undated.glob("Qout*.nc")).rename(tmp_path / "elsewhere.nc")
    words = ("convert", "rapid", undated, "--discharge", tmp_path / "own.nc")
    code, said = run(*words)
    assert code == 1 and "no discharge of RAPID's own (Qout)" in said and "--discharge-file" in said
    assert run(*words, "--discharge-file", moved)[0] == 0


def test_times_that_were_never_set(undated: Path, tmp_path: Path) -> None:
    network = rapid.read_network(undated)
    discharge = rapid.read_runoff(undated, network).route(network)
    simulated = tmp_path / "q.nc"
    discharge.to_netcdf(simulated)
    qout = next(undated.glob("Qout*.nc"))
    n, reach = discharge.sizes["time"], int(network["reach"][0])
    for words in (
        ("compare", simulated, qout),
        ("plot", simulated, "-o", tmp_path / "h.png", "--reach", str(reach), "--observed", qout),
    ):
        code, said = run(*words)
        assert code == 1 and f"never set: all {n} are -2147483647" in said
        assert "xroute convert rapid FOLDER --discharge" in said
    with pytest.raises(TimeAxisError, match="never set.*xroute.io.rapid.read_discharge"), xr.open_dataset(qout) as raw:
        discharge.route.hydrograph([reach], observed=raw["Qout"])


def test_steps_and_starts_as_text(undated: Path) -> None:
    network = rapid.read_network(undated)
    for dt in ("3h", 10800, np.timedelta64(3, "h")):
        own = rapid.read_discharge(undated, network, dt=dt, start="2002-08-30")
        assert own["time"].to_numpy()[1] == np.datetime64("2002-08-30T03:00")
    with pytest.raises(TimeAxisError, match="dt is a number of seconds"):
        rapid.read_discharge(undated, network, dt="three")
    for start in ("30/08/2002", "yesterday", "NaT"):
        with pytest.raises(TimeAxisError, match=r"a date such as 2002-08-30.*start="):
            rapid.read_discharge(undated, network, start=start)


def test_info_of_a_folder_says_what_converts_it(folder: Path, tmp_path: Path) -> None:
    code, said = run("info", folder)
    assert code == 0 and "`xroute convert rapid FOLDER --network network.zarr --runoff runoff.zarr`" in said
    assert "rapid_connect.csv" in said
    nwm = nwm_folder(tmp_path / "nwm", hours=2)
    code, said = run("info", nwm)
    assert code == 0 and "xroute convert nwm FOLDER" in said and "2 files" in said
    code, said = run("info", mizuroute_folder(tmp_path / "mizuroute"))
    assert code == 0 and "xroute convert mizuroute FOLDER" in said and "tutorial.control" in said
    empty = tmp_path / "empty"
    empty.mkdir()
    assert inspect_folder(empty) is None
    code, said = run("info", empty)
    assert code == 1 and "not a Zarr store" in said
