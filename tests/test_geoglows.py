"""Stores of GEOGLOWS v2, made here with xarray as its workflow makes them (netcdf_to_zarr.py), and read as pygeoglows does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

from xroute.cli import main
from xroute.exceptions import AlignmentError, NetworkError, UnitsError, XRouteError
from xroute.io import geoglows, open_dataset

pytest.importorskip("zarr")
RIVERS = np.array([760021611, 110000007, 430000001], np.int32)


def store(dataset: xr.Dataset, path: Path) -> Path:
    dataset.to_zarr(path, zarr_format=2, consolidated=True)
    return path


@pytest.fixture
def retrospective(tmp_path: Path) -> Path:
    time = pd.date_range("1940-01-01", periods=4, freq="D")
    q = np.arange(12, dtype="f4").reshape(4, 3)
    made = xr.Dataset({"Q": (("time", "river_id"), q, {"units": "m3/s"})}, {"time": time, "river_id": RIVERS})
    return store(made.chunk({"time": 2, "river_id": 2}), tmp_path / "daily.zarr")


@pytest.fixture
def forecast(tmp_path: Path) -> Path:
    """Members 1 and 2 every three hours and then every six, and member 52 by the hour, put together by their times."""
    start = pd.Timestamp("2024-06-01")
    coarse = start + pd.to_timedelta([0, 3, 6, 12], "h")
    fine = start + pd.to_timedelta([0, 1, 2, 3, 4], "h")
    base = {"rivid": RIVERS}
    of = {"dims": ("ensemble", "time", "rivid"), "name": "Qout"}
    many = xr.DataArray(np.arange(24, dtype="f4").reshape(2, 4, 3), {"ensemble": [1, 2], "time": coarse, **base}, **of)
    one = xr.DataArray(100 + np.arange(15, dtype="f4").reshape(1, 5, 3), {"ensemble": [52], "time": fine, **base}, **of)
    both = xr.concat([many.to_dataset(), one.to_dataset()], dim="ensemble", join="outer")
    both["lat"] = ("rivid", [1.0, 2.0, 3.0])
    return store(both, tmp_path / "2024060100.zarr")


def network(ids: Any = (430000001, 760021611)) -> xr.Dataset:
    ids = np.array(ids)
    return xr.Dataset({"downstream": ("reach", np.append(ids[1:], 0))}, {"reach": ids})


def test_the_simulation_is_opened_by_id_and_not_read(retrospective: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = geoglows.read_discharge(retrospective, network())
    assert not found.variable._in_memory
    assert found.dims == ("time", "reach") and found.name == "discharge" and found.dtype == "f4"
    assert found.attrs["units"] == "m3 s-1" and found.attrs["time_label"] == "start"
    assert found.reach.values.tolist() == [430000001, 760021611] and found.reach.dtype == np.int64
    np.testing.assert_array_equal(found, [[2, 0], [5, 3], [8, 6], [11, 9]])
    with pytest.raises(AlignmentError, match="lacks 1 of 2 reaches of the network: 5"):
        geoglows.read_discharge(retrospective, network([5, 430000001]))


def test_ids_beyond_32_bits_and_other_orders(tmp_path: Path) -> None:
    big = np.array([2**53 + 1, 2**31], np.int64)
    time = pd.date_range("2001", periods=2, freq="h")
    made = xr.Dataset({"Qout": (("rivid", "time"), [[1.0, 2.0], [3.0, 4.0]]), "rivid": ("rivid", big)}, {"time": time})
    found = geoglows.read_discharge(store(made, tmp_path / "q.zarr"))
    assert found.sel(reach=2**53 + 1).values.tolist() == [1, 2]
    geoglows.write_discharge(found, tmp_path / "again.zarr")
    assert geoglows.read_discharge(tmp_path / "again.zarr").equals(found)


def test_members_at_times_of_their_own(forecast: Path) -> None:
    everything = geoglows.read_forecast(forecast)
    assert everything.dims == ("member", "time", "reach") and everything.sizes["time"] == 7
    assert not everything.variable._in_memory and everything.member.values.tolist() == [1, 2, 52]
    assert everything.forecast_reference_time.values == np.datetime64("2024-06-01T00:00")
    many = geoglows.read_forecast(forecast, network(), which="ensemble")
    assert many.member.values.tolist() == [1, 2] and many.notnull().all()
    assert many.time.dt.hour.values.tolist() == [0, 3, 6, 12]
    assert many.sel(member=2, reach=760021611).values.tolist() == [12, 15, 18, 21]
    one = geoglows.read_forecast(forecast, which="high_resolution")
    assert one.member.values.tolist() == [52] and one.time.dt.hour.values.tolist() == [0, 1, 2, 3, 4]
    assert one.sel(reach=430000001).values.ravel().tolist() == [102, 105, 108, 111, 114]
    with pytest.raises(XRouteError, match="read_forecast opens forecasts"):
        geoglows.read_discharge(forecast)
    with pytest.raises(XRouteError, match="which is one of"):
        geoglows.read_forecast(forecast, which="52")  # type: ignore[arg-type]


def test_a_forecast_comes_back_with_its_gaps(forecast: Path, tmp_path: Path) -> None:
    everything = geoglows.read_forecast(forecast)
    geoglows.write_forecast(everything.transpose("reach", "time", "member"), tmp_path / "again.zarr")
    with xr.open_zarr(tmp_path / "again.zarr", zarr_format=2) as mine, xr.open_zarr(forecast, zarr_format=2) as theirs:
        xr.testing.assert_equal(mine.Qout.load(), theirs.Qout.drop_vars("lat", errors="ignore").load())
        assert mine.Qout.dims == ("ensemble", "time", "rivid") and mine.rivid.dtype == np.int32
        frame = mine.sel(rivid=110000007).to_dataframe().reset_index()  # as pygeoglows does
        table = frame.pivot(index="time", columns="ensemble", values="Qout")
        assert table[52].dropna().tolist() == [101, 104, 107, 110, 113] and len(table) == 7


def test_the_simulation_as_pygeoglows_reads_it(tmp_path: Path) -> None:
    time = pd.date_range("2001-01-01 01:00", periods=3, freq="h")
    ended = xr.DataArray([[1.0, 2], [3, 4], [5, 6]], {"time": time, "reach": [220, 110]})
    ended.attrs = {"units": "m3 s-1", "time_label": "end"}
    geoglows.write_discharge(ended, tmp_path / "hourly.zarr", network([110, 220]))
    with xr.open_zarr(tmp_path / "hourly.zarr", zarr_format=2) as made:
        table = made.sel(river_id=[110, 220]).to_dataframe().reset_index().pivot(columns="river_id", values="Q", index="time")
        assert made.river_id.values.tolist() == [110, 220]
    assert table[110].tolist() == [2, 4, 6] and table.index[0] == pd.Timestamp("2001-01-01")


def test_return_periods(tmp_path: Path) -> None:
    values = (("river_id", "return_period"), np.arange(6.0).reshape(3, 2))
    made = xr.Dataset({"gumbel": values, "logpearson3": values}, {"river_id": RIVERS, "return_period": [2, 100]})
    found = geoglows.read_return_periods(store(made, tmp_path / "rp.zarr"), network())
    assert found.gumbel.dims == ("return_period", "reach") and found.gumbel.attrs["units"] == "m3 s-1"
    assert found.logpearson3.sel(return_period=100).values.tolist() == [5, 1]


def test_what_the_layout_has_no_place_for(tmp_path: Path, retrospective: Path) -> None:
    found = geoglows.read_discharge(retrospective)
    for error, given, message in (
        (NetworkError, found.assign_coords(reach=["a", "b", "c"]), "text"),
        (AlignmentError, found.expand_dims(member=[1, 2]), "member"),
        (UnitsError, found.drop_attrs(), "no units"),
        (UnitsError, found.assign_attrs(units="mm d-1"), "area"),
    ):
        with pytest.raises(error, match=message):
            geoglows.write_discharge(given, tmp_path / "x.zarr")
    for given, message in (
        (found, "on members"),
        (found.expand_dims(member=["a", "b"]), "numbers"),
        (found.expand_dims(member=[1, 1]), "more than once"),
    ):
        with pytest.raises(AlignmentError, match=message):
            geoglows.write_forecast(given, tmp_path / "x.zarr")
    with pytest.raises(XRouteError, match="none of the variables"):
        geoglows.read_discharge(store(xr.Dataset({"a": ("time", [1.0])}), tmp_path / "a.zarr"))
    assert not (tmp_path / "x.zarr").exists()


def test_the_commands(retrospective: Path, forecast: Path, tmp_path: Path) -> None:
    columns = {"LINKNO": [430000001, 760021611], "DSLINKNO": [760021611, -1], "musk_k": [3600.0, 7200], "musk_x": 0.25}
    table = pd.DataFrame(columns)
    table.to_csv(tmp_path / "model.csv", index=False)
    stores = {"retrospective": retrospective, "forecast": forecast}
    for option, path in stores.items():
        outputs = ["--network", tmp_path / "n.nc", "--discharge", tmp_path / "q.nc", "--overwrite"]
        given = ["convert", "geoglows", tmp_path / "model.csv", *outputs, f"--{option}", path]
        result = CliRunner().invoke(main, [str(word) for word in given])
        assert result.exception is None, result.output
        with open_dataset(tmp_path / "q.nc") as made, open_dataset(tmp_path / "n.nc") as rivers:
            assert made.reach.values.tolist() == rivers.reach.values.tolist() == [430000001, 760021611]
            assert ("member" in made.dims) == (option == "forecast")
        home = CliRunner().invoke(main, ["export", "geoglows", str(tmp_path / option), "--discharge", str(tmp_path / "q.nc")])
        assert home.exception is None, home.output
        with xr.open_zarr(tmp_path / option / "hourly.zarr", zarr_format=2) as mine, xr.open_zarr(path, zarr_format=2) as theirs:
            name, dim = ("Qout", "rivid") if option == "forecast" else ("Q", "river_id")
            rows = theirs[name].sel({dim: [430000001, 760021611]}).drop_vars("lat", errors="ignore")
            xr.testing.assert_equal(mine[name].load(), rows.load())
    usage = CliRunner().invoke(main, ["convert", "geoglows", str(tmp_path / "model.csv"), "--discharge", str(tmp_path / "y.nc")])
    assert usage.exit_code == 2 and "--retrospective" in usage.output
