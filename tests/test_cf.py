"""Discharge as CF files, and any Dataset to disk and back with its ids intact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, XRouteError
from xroute.files.writing import replacing
from xroute.io import open_dataset, write
from xroute.io.cf import cf_dataset, write_discharge

BIG = 9_007_199_254_740_993  # 2**53 + 1: not a double
IDS = [np.array([BIG, BIG + 1, 5]), np.array(["a", "Ü-27", "cc"])]
SUFFIXES = [".nc", ".zarr"]


def make_discharge(ids: Any = IDS[0], n_times: int = 4, dtype: Any = "f8", time: Any = None) -> xr.DataArray:
    time = pd.date_range("2001-02-03", periods=n_times, freq="3h") if time is None else time
    return xr.DataArray(
        np.arange(n_times * len(ids), dtype=dtype).reshape(n_times, len(ids)) / 7,
        dims=("time", "reach"),
        coords={"time": time, "reach": ids},
        name="discharge",
        attrs={"units": "m3 s-1", "cell_methods": "time: mean", "history": "routed by xroute"},
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("ids", IDS, ids=["int64", "str"])
def test_discharge_comes_back(tmp_path: Path, suffix: str, ids: np.ndarray) -> None:
    discharge = make_discharge(ids)
    path = tmp_path / f"discharge{suffix}"
    write_discharge(discharge, path)
    with open_dataset(path) as back:
        assert back["reach"].dtype.kind == ids.dtype.kind and back["reach"].values.tolist() == ids.tolist()
        np.testing.assert_array_equal(back["discharge"], discharge)
        np.testing.assert_array_equal(back["time"], discharge["time"])
        assert back.attrs["featureType"] == "timeSeries" and back.attrs["Conventions"] == "CF-1.11"
        assert back["reach"].attrs["cf_role"] == "timeseries_id"
        assert back["discharge"].attrs["units"] == "m3 s-1" and back["discharge"].attrs["cell_methods"] == "time: mean"
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]  # nothing temporary is left
    assert "bounds" not in discharge["time"].attrs and "grid_mapping" not in discharge.attrs  # nor changed


def test_what_was_there_is_given_up_only_for_what_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New discharge, which can be routed again, is not waited for; what replaces a file is, and so is all else."""
    synced: list[int] = []
    monkeypatch.setattr("xroute.files.writing.os.fsync", synced.append)
    write_discharge(make_discharge(), tmp_path / "q.nc")
    assert not synced
    write_discharge(make_discharge(), tmp_path / "q.nc", overwrite=True)
    assert len(synced) == 1
    write(make_discharge().to_dataset(), tmp_path / "any.nc")
    assert len(synced) == 2


def test_bounds_start_at_the_timestamp(tmp_path: Path) -> None:
    write_discharge(make_discharge(), tmp_path / "q.nc")
    with open_dataset(tmp_path / "q.nc") as back:
        bounds, time = back["time_bnds"].values, back["time"].values
    np.testing.assert_array_equal(bounds[:, 0], time)
    assert (bounds[:, 1] - bounds[:, 0] == np.timedelta64(3, "h")).all()
    with xr.open_dataset(tmp_path / "q.nc", decode_cf=False) as raw:
        assert raw["time"].attrs["bounds"] == "time_bnds" and raw["discharge"].attrs["grid_mapping"] == "crs"
        assert "units" not in raw["time_bnds"].attrs or raw["time_bnds"].attrs["units"] == raw["time"].attrs["units"]
        assert "_FillValue" not in raw["reach"].attrs and raw["reach"].dtype == np.int64


def test_one_step_needs_dt() -> None:
    one = make_discharge(n_times=1)
    with pytest.raises(TimeAxisError, match="give dt="):
        cf_dataset(one)
    for dt in (3600, np.timedelta64(1, "h"), pd.Timedelta("1h"), "1h"):
        bounds = cf_dataset(one, dt=dt)["time_bnds"].values
        assert bounds[0, 1] - bounds[0, 0] == np.timedelta64(1, "h")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_calendars(tmp_path: Path, calendar: str, suffix: str) -> None:
    pytest.importorskip("cftime")
    time = xr.date_range("2001-02-27", periods=4, freq="D", calendar=calendar, use_cftime=True)
    discharge = make_discharge(time=time)
    write_discharge(discharge, tmp_path / f"q{suffix}")
    with open_dataset(tmp_path / f"q{suffix}") as back:
        np.testing.assert_array_equal(back["time"], discharge["time"])
        assert back["time"].dt.calendar == calendar
        assert back["time_bnds"].values[-1, 1] == time[-1] + (time[1] - time[0])
    bounds = cf_dataset(discharge[:1], dt=86400)["time_bnds"].values
    assert bounds[0, 1] == time[1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_places_and_members(tmp_path: Path, suffix: str) -> None:
    discharge = make_discharge(dtype="f4").expand_dims(member=[10, 20])
    network = xr.Dataset(
        {"lon": ("reach", [3.0, 1.0, 2.0]), "lat": ("reach", [30.0, 10.0, 20.0])},
        coords={"reach": [5, BIG, BIG + 1]},
    )
    write_discharge(discharge, tmp_path / f"q{suffix}", network)
    with open_dataset(tmp_path / f"q{suffix}") as back:
        assert back["discharge"].dims == ("member", "time", "reach") and back["discharge"].dtype == np.float32
        assert back["lon"].values.tolist() == [1.0, 2.0, 3.0]  # by id
        assert back["lat"].attrs["standard_name"] == "latitude"
        assert "lon" in back.coords
    with pytest.raises(AlignmentError, match="1 reaches are not in the network: 5"):
        write_discharge(discharge, tmp_path / f"p{suffix}", network.isel(reach=[1, 2]))


def test_float32_and_compression(tmp_path: Path) -> None:
    discharge = make_discharge(np.arange(500), n_times=50)
    write_discharge(discharge * 0, tmp_path / "small.nc", dtype="float32", compression=4)
    write_discharge(discharge * 0, tmp_path / "large.nc")
    assert (tmp_path / "small.nc").stat().st_size < (tmp_path / "large.nc").stat().st_size / 2
    with open_dataset(tmp_path / "small.nc") as back:
        assert back["discharge"].dtype == np.float32


def test_stale_encoding_is_not_kept(tmp_path: Path) -> None:
    discharge = make_discharge()
    discharge.encoding = {"dtype": "int16", "scale_factor": 10.0, "_FillValue": -1, "chunks": (1, 1)}
    discharge["time"].encoding = {"units": "days since 2001-01-01", "dtype": "int64"}
    write_discharge(discharge, tmp_path / "q.nc")
    with open_dataset(tmp_path / "q.nc") as back:
        np.testing.assert_array_equal(back["discharge"], discharge)
        np.testing.assert_array_equal(back["time"], discharge["time"])


def test_existing_files_are_kept(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"q{suffix}"
        write_discharge(make_discharge(), path)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            write_discharge(make_discharge() * 2, path)
        write_discharge(make_discharge() * 2, path, overwrite=True)
        with open_dataset(path) as back:
            np.testing.assert_array_equal(back["discharge"], make_discharge() * 2)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_crash_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "q.nc"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.filterwarnings("error")
def test_networks_and_their_units_come_back(tmp_path: Path, suffix: str) -> None:
    network = xr.Dataset(
        {
            "downstream": ("reach", [BIG + 1, -1], {"outlet": -1}),
            "k": ("reach", [1.5, 2.0], {"units": "h"}),
            "scheme": ("reach", ["muskingum", "linear_storage"]),
        },
        coords={"reach": [BIG, BIG + 1]},
        attrs={"connect_rows": [2]},
    )
    write(network, tmp_path / f"n{suffix}")
    with open_dataset(tmp_path / f"n{suffix}") as back:
        assert back["k"].dtype == np.float64 and back["k"].attrs["units"] == "h"  # not a timedelta
        assert back["scheme"].values.tolist() == ["muskingum", "linear_storage"]
        assert back["downstream"].values.tolist() == [BIG + 1, -1]
        assert np.atleast_1d(back.attrs["connect_rows"]).tolist() == [2]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ids_with_a_fill_value_do_not_pass_through_floating_point(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"n{suffix}"
    network = xr.Dataset(
        {"downstream": ("reach", [BIG, -999]), "area": ("reach", np.array([1.0, np.nan]))}, coords={"reach": [5, BIG]}
    )
    encoding: Any = {"downstream": {"_FillValue": -999}, "reach": {"_FillValue": -999}, "area": {"_FillValue": -1.0}}
    if suffix == ".nc":
        network.to_netcdf(path, encoding=encoding)
    else:
        network.to_zarr(path, encoding=encoding)
    with open_dataset(path) as back:
        assert back["downstream"].values.tolist() == [BIG, -999] and back["reach"].values.tolist() == [5, BIG]
        assert np.isnan(back["area"].values[1])
        write(back, tmp_path / f"again{suffix}")


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(XRouteError, match="use .zarr for Zarr or .nc for netCDF"):
        write(xr.Dataset(), tmp_path / "network.txt")
    with pytest.raises(FileNotFoundError, match="no folder .*missing"):
        write(xr.Dataset(), tmp_path / "missing" / "network.nc")
    with pytest.raises(FileNotFoundError, match="no file"):
        open_dataset(tmp_path / "network.nc")
    with pytest.raises(XRouteError, match="a folder, but not a Zarr store"):
        open_dataset(tmp_path)
    with pytest.raises(AlignmentError, match="no coordinate 'reach'"):
        cf_dataset(xr.DataArray(np.zeros(2), dims="river"))


def test_steps_that_are_counted_have_no_bounds() -> None:
    dataset = cf_dataset(make_discharge(time=[0, 1, 2, 3]))
    assert "time_bnds" not in dataset and "bounds" not in dataset["time"].attrs


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_optional_libraries_are_named(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import importlib.util

    real_import, real_find = importlib.import_module, importlib.util.find_spec

    def no_import(name: str, *args: Any) -> Any:
        if name in ("netCDF4", "zarr"):
            raise ImportError(name)
        return real_import(name, *args)

    monkeypatch.setattr(importlib, "import_module", no_import)
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if "netcdf" in n.lower() else real_find(n, *a))
    with pytest.raises(ImportError, match=r'writing .* needs .*: pip install "xroute\[io\]"'):
        write(xr.Dataset(), tmp_path / f"n{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("label", "before"), [("start", 0.0), ("middle", 0.5), ("end", 1.0)])
@pytest.mark.parametrize(  # nanoseconds need a type that has them
    ("step", "calendar"),
    [(s, c) for s in ("1s", "1h") for c in ("datetime64[ns]", "datetime64[s]", "noleap")] + [("333333334ns", "datetime64[ns]")],
)
def test_bounds_follow_from_the_label(tmp_path: Path, suffix, label, before, step, calendar) -> None:
    """Half steps are held exactly, whatever the unit that stamps have in memory."""
    time: Any = pd.date_range("2001-02-28T23:00", periods=4, freq=step)
    if calendar == "noleap":
        pytest.importorskip("cftime")
        time = xr.date_range("2001-02-28T23:00", periods=4, freq=step, calendar=calendar, use_cftime=True)
    else:
        time = time.values.astype(calendar)
    discharge = make_discharge(time=time).assign_attrs(time_label=label)
    write_discharge(discharge, tmp_path / f"q{suffix}")
    with open_dataset(tmp_path / f"q{suffix}") as back:
        np.testing.assert_array_equal(back["time"], discharge["time"])
        assert back["time"].attrs["long_name"] == f"{label} of the step"
        low, high = back["time_bnds"].transpose("time", "bnds").values.T
        nanoseconds = round(pd.Timedelta(step) / pd.Timedelta("1ns"))
        off = [pd.Timedelta(t - a) / pd.Timedelta("1ns") for t, a in zip(back["time"].values, low, strict=True)]
        assert off == [before * nanoseconds] * 4 and (low[1:] == high[:-1]).all() and (high > low).all()


def test_the_label_may_be_given_and_must_not_contradict() -> None:
    discharge = make_discharge()
    bounds = cf_dataset(discharge, label="end")["time_bnds"].values
    np.testing.assert_array_equal(bounds[:, 1], discharge["time"])
    with pytest.raises(TimeAxisError, match="label is one of"):
        cf_dataset(discharge, label="right")  # type: ignore[arg-type]


def test_bounds_of_which_nothing_is_known_are_not_made_up() -> None:
    discharge = make_discharge()
    discharge["time"].attrs["bounds"] = "time_bnds"
    dataset = cf_dataset(discharge)
    assert "time_bnds" not in dataset and "bounds" not in dataset["time"].attrs
    assert "long_name" not in dataset["time"].attrs
    assert cf_dataset(discharge, label="middle")["time"].attrs["bounds"] == "time_bnds"


def test_stamps_rounded_in_storage_have_bounds_without_cracks() -> None:
    days = np.round(np.arange(9) / 72, 6)
    time = xr.decode_cf(xr.Dataset(coords={"time": ("time", days, {"units": "days since 2000-01-01"})})).time.values
    for label in ("start", "middle", "end"):
        bounds = cf_dataset(make_discharge(time=time, n_times=9), label=label)["time_bnds"].values
        assert (bounds[1:, 0] == bounds[:-1, 1]).all()
        np.testing.assert_allclose((bounds[:, 1] - bounds[:, 0]) / np.timedelta64(1, "s"), 1200, atol=0.09)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_leads_and_numbers_have_bounds_of_their_own_kind(tmp_path: Path, suffix: str) -> None:
    leads = make_discharge(time=pd.timedelta_range("1h", periods=4, freq="h")).rename(time="step")
    write_discharge(leads.assign_attrs(time_label="end"), tmp_path / f"s{suffix}")
    with open_dataset(tmp_path / f"s{suffix}") as back:
        assert back["step"].attrs["bounds"] == "step_bnds" and back["step_bnds"].values[0].tolist() == [0, 3600]
    numbers = make_discharge(time=("time", np.arange(4), {"units": "hours since 2001-01-01"}))
    write_discharge(numbers.assign_attrs(time_label="middle"), tmp_path / f"n{suffix}")
    with open_dataset(tmp_path / f"n{suffix}") as back:
        assert back["time_bnds"].values[0].tolist() == np.array(["2000-12-31T23:30", "2001-01-01T00:30"], "M8[ns]").tolist()


def test_what_was_never_written_is_missing_and_nothing_else(tmp_path: Path) -> None:
    """The library's own fill value, and one that is declared; values are NaN however they are read, and again when closed."""
    netCDF4 = pytest.importorskip("netCDF4")
    stored = np.arange(20, dtype="f4").reshape(5, 4)
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("time", 5)
        file.createDimension("reach", 4)
        file.createVariable("never", "f4", ("time", "reach"))[:3] = stored[:3]
        declared = file.createVariable("declared", "f8", ("time", "reach"), fill_value=-9999.0)
        declared.set_auto_maskandscale(False)
        declared[:] = stored
        declared[1, 2] = -9999
        file.createVariable("nan", "f4", ("time", "reach"), fill_value=np.nan)[:] = stored
    expected = {name: stored.astype(dtype) for name, dtype in (("never", "f4"), ("declared", "f8"), ("nan", "f4"))}
    expected["never"][3:] = np.nan
    expected["declared"][1, 2] = np.nan
    with open_dataset(tmp_path / "a.nc") as opened, xr.open_dataset(tmp_path / "a.nc") as its:
        for name, values in expected.items():
            array = opened[name]
            assert array.dtype == values.dtype and "_FillValue" not in array.attrs
            np.testing.assert_array_equal(array.isel(time=[4, 1], reach=2), values[[4, 1], 2])
            np.testing.assert_array_equal(array.transpose("reach", "time"), values.T)
            np.testing.assert_array_equal(array.chunk(time=2).sum("time", skipna=False), values.sum(axis=0))
            np.testing.assert_array_equal(array[:, xr.DataArray([0, 1], dims="x")], values[:, :2])
            np.testing.assert_array_equal(array, values)
        assert opened["declared"].encoding["_FillValue"] == -9999
        np.testing.assert_array_equal(opened["declared"], its["declared"])
    np.testing.assert_array_equal(opened["never"], expected["never"])
