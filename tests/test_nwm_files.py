"""Files of the National Water Model both ways; inputs are laid out here with netCDF4 and pandas, not by xroute's writers."""

from __future__ import annotations

from collections.abc import Callable
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
from xroute.exceptions import (
    AlignmentError,
    NetworkError,
    ParameterError,
    StateError,
    TimeAxisError,
    UnitsError,
    XRouteError,
)
from xroute.io import nwm

BIG = 2**31 + 7
"""An id that 32 bits do not hold."""
IDS = [BIG, 30, 10, 2**53 + 1]
TO = [30, 10, 0, 10]


def route_link(path: Path, ids: list[int] = IDS, to: list[int] = TO, **columns: list[float]) -> Path:
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("feature_id", len(ids))
        file.createDimension("IDLength", 15)
        whole = {"link": ids, "from": [0] * len(ids), "to": to, "order": [1, 2, 3, 1], "ascendingIndex": [2, 1, 0, 3]}
        for name, values in whole.items():
            file.createVariable(name, "i8", "feature_id")[:] = values
        given = {"MusK": [900, 1800, 2700, 600], "MusX": [0.1, 0.2, 0.3, 0.25], "Length": [1000, 2000, 3000.5, 4000], **columns}
        for name, values in given.items():
            variable = file.createVariable(name, "f4", "feature_id", fill_value=np.nan)
            variable[:] = values
            variable.setncattr("coordinates", "lat lon")
        lakes = file.createVariable("NHDWaterbodyComID", "i4", "feature_id")
        lakes[:] = [-9999, 77, -9999, -9999]
        gages = file.createVariable("gages", "S1", ("feature_id", "IDLength"))
        gages[:] = netCDF4.stringtochar(np.array([b" " * 15, b"       08159000", b" " * 15, b" " * 15], "S15"))
        strange = file.createVariable("quality", "i2", "feature_id")
        strange[:] = [5, 6, 7, 8]
        file.createVariable("time", "f4", ())[:] = 0.0
    return path


def chrtout(path: Path, hour: int, ids: list[int], packed: list[int]) -> Path:
    """An hour of streamflow in units of 0.01 m3 s-1, stamped with its end, as the model packs it."""
    with netCDF4.Dataset(path, "w") as file:
        for name in ("time", "reference_time"):
            file.createDimension(name, 1)
            time = file.createVariable(name, "i4", name)
            time.units, time.standard_name = "minutes since 1970-01-01 00:00:00 UTC", "time"
            time[:] = 60 * hour if name == "time" else 0
        file["reference_time"].standard_name = "forecast_reference_time"
        file.createDimension("feature_id", len(ids))
        file.createVariable("feature_id", "i8", "feature_id")[:] = ids
        flow = file.createVariable("streamflow", "i4", "feature_id", fill_value=-999900)
        flow.setncatts({"scale_factor": np.float32(0.01), "add_offset": np.float32(0), "units": "m3 s-1"})
        flow.set_auto_maskandscale(False)
        flow[:] = packed
    return path


def discharge_of(values: Any, ids: list[Any] = IDS, **attrs: Any) -> xr.DataArray:
    times = pd.date_range("2024-05-01", periods=len(values), freq="h")
    return xr.DataArray(values, {"time": times, "reach": ids}, ("time", "reach"), "discharge", {"units": "m3 s-1", **attrs})


# ── CHRTOUT ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_streamflow_is_unpacked_matched_by_id_and_stamped_at_the_end(tmp_path: Path) -> None:
    chrtout(tmp_path / "b.CHRTOUT_DOMAIN1", 1, [10, BIG, 30, 2**53 + 1, 99], [1234, -999900, 100, 7, 1])
    chrtout(tmp_path / "a.CHRTOUT_DOMAIN1", 2, [99, 2**53 + 1, 30, 10, BIG], [1, 8, 200, 2345, 5])
    found = nwm.read_discharge(tmp_path, xr.Dataset(coords={"reach": IDS}))
    assert found.name == "discharge" and found.attrs["time_label"] == "end" and found.attrs["units"] == "m3 s-1"
    assert found["reach"].values.tolist() == IDS
    assert found["time"].values.astype("datetime64[h]").astype(int).tolist() == [1, 2]
    np.testing.assert_allclose(found, [[np.nan, 1, 12.34, 0.07], [0.05, 2, 23.45, 0.08]], rtol=1e-6)
    with pytest.raises(XRouteError, match="no variable 'streamflow_troute'"):
        nwm.read_discharge(tmp_path, variable="streamflow_troute")


@pytest.mark.parametrize("packed", [True, False])
def test_chrtout_is_written_as_the_model_names_and_packs_it(tmp_path: Path, packed: bool) -> None:
    values = np.array([[1.234, 0.0, np.nan, 3.0], [4.0, 5.005, 6.0, 7.0]])
    network = xr.Dataset({"lat": ("reach", [1.0, 2, 3, 4]), "lon": ("reach", [5.0, 6, 7, 8])}, {"reach": IDS[::-1]})
    nwm.write_discharge(discharge_of(values), tmp_path / "out", network, packed=packed)  # stamps are starts
    names = ["202405010100.CHRTOUT_DOMAIN1", "202405010200.CHRTOUT_DOMAIN1"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    with netCDF4.Dataset(tmp_path / "out" / names[0]) as file:
        assert file.model_output_valid_time == "2024-05-01_01:00:00" and file.model_initialization_time == "2024-05-01_00:00:00"
        assert file["feature_id"][:].tolist() == IDS and file["latitude"][:].tolist() == [4, 3, 2, 1]
        assert netCDF4.num2date(file["time"][0], file["time"].units).isoformat() == "2024-05-01T01:00:00"
        flow = file["streamflow"]
        assert flow[:].mask.tolist() == [False, False, True, False] and flow.units == "m3 s-1"
        flow.set_auto_maskandscale(False)
        if packed:
            assert flow.dtype == "i4" and flow[:].tolist() == [123, 0, -999900, 300] and flow.scale_factor == np.float32(0.01)
        else:
            assert flow[:].tolist() == [1.234, 0.0, -9999.0, 3.0]
    again = nwm.read_discharge(tmp_path / "out", network)
    np.testing.assert_allclose(again.sel(reach=IDS), values, atol=0.005 if packed else 0, rtol=1e-6 if packed else 0)
    assert (again["time"].values == discharge_of(values)["time"].values + np.timedelta64(1, "h")).all()


def test_a_file_without_times_is_of_its_valid_time(tmp_path: Path) -> None:
    file = chrtout(tmp_path / "a.CHRTOUT_DOMAIN1", 1, [10, 30], [100, 200])
    with xr.open_dataset(file, decode_cf=False) as opened:
        timeless = opened.load().drop_dims(["time", "reference_time"])
    for text, match in (("2020-08-26_01:00:00", ""), ("soon", "no date")):
        timeless.assign_attrs(model_output_valid_time=text).to_netcdf(tmp_path / "b.nc", engine="netcdf4")
        if match:
            with pytest.raises(TimeAxisError, match=match):
                nwm.read_discharge(tmp_path / "b.nc")
        else:
            assert nwm.read_discharge(tmp_path / "b.nc")["time"].values[0] == np.datetime64("2020-08-26T01:00")


def test_each_chunk_of_lazy_discharge_is_computed_once(tmp_path: Path) -> None:
    import dask.array

    made: list[int] = []

    def block(block_info: Any = None) -> np.ndarray:
        first = block_info[None]["array-location"][0][0]
        made.append(first)
        return np.arange(first, first + 3.0)[:, None] * np.ones(4)

    lazy = dask.array.map_blocks(block, chunks=((3, 3), (4,)), dtype=float, meta=np.empty((0, 0)))
    times = pd.date_range("2024-05-01", periods=6, freq="h")
    discharge = xr.DataArray(lazy, {"time": times, "reach": IDS}, ("time", "reach"), attrs={"units": "m3 s-1"})
    nwm.write_discharge(discharge, tmp_path / "out")
    assert sorted(made) == [0, 3]
    np.testing.assert_array_equal(nwm.read_discharge(tmp_path / "out")[:, 0], np.arange(6))


def test_what_cannot_be_chrtout_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    good = discharge_of(np.ones((2, 4)))
    for bad, error, match in (
        (good.assign_coords(reach=list("abcd")), AlignmentError, "integers in these files"),
        (good.expand_dims(member=2), AlignmentError, "a member at a time"),
        (good.isel(time=[0]), TimeAxisError, "dt"),
        (good.assign_attrs(units="mm"), UnitsError, "area"),
        (good.assign_coords(time=[0, 1]), TimeAxisError, "no dates"),
        (good.assign_coords(time=good.time + np.timedelta64(30, "s")), TimeAxisError, "by the minute"),
    ):
        with pytest.raises(error, match=match):
            nwm.write_discharge(bad, tmp_path / "out")
    with pytest.raises(ParameterError, match="do not hold"):
        nwm.write_discharge(good * 3e7, tmp_path / "out", packed=True)
    other = xr.date_range("2020-02-29", periods=2, freq="D", calendar="360_day", use_cftime=True)
    with pytest.raises(TimeAxisError, match="360_day"):
        nwm.write_discharge(good.assign_coords(time=other), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        nwm.write_discharge(good, tmp_path / "file")
    nwm.write_discharge(good, tmp_path / "out")
    with pytest.raises(FileExistsError):
        nwm.write_discharge(good * 2, tmp_path / "out")
    assert float(nwm.read_discharge(tmp_path / "out").max()) == 1.0
    nwm.write_discharge(good * 2, tmp_path / "out", overwrite=True)
    assert float(nwm.read_discharge(tmp_path / "out").max()) == 2.0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_runoff_goes_out_as_forcing_and_comes_back(tmp_path: Path) -> None:
    network = xr.Dataset({"area": ("reach", [1.0, 2.0, 3.0, 4.0], {"units": "km2"})}, {"reach": IDS})
    depth = discharge_of(np.full((3, 4), 3.6)).assign_attrs(units="mm h-1").rename("runoff")
    nwm.write_runoff(depth, tmp_path / "hours", network)
    found = nwm.read_runoff(tmp_path / "hours", network)
    np.testing.assert_allclose(found, np.tile([1.0, 2.0, 3.0, 4.0], (3, 1)), rtol=1e-12)
    assert found.attrs["time_label"] == "end" and found["time"].values[0] == np.datetime64("2024-05-01T01:00")
    flow = discharge_of(np.array([[0.1, 1 / 3, np.nan, 4.0], [5.0, 6.0, 7.0, 8.0]]))
    for suffix in ("csv", "parquet"):
        nwm.write_runoff(flow, tmp_path / f"f.{suffix}", layout=suffix)
        again = nwm.read_runoff(tmp_path / f"f.{suffix}")
        np.testing.assert_array_equal(again, flow)
        assert again["reach"].values.tolist() == IDS and again.attrs["time_label"] == "start"
        assert (again["time"].values == flow["time"].values).all()


# ── tables of version 4 ───────────────────────────────────────────────────────────────────────────────────────────────


def test_tables_of_version_4_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "202304010000.CHRTOUT_DOMAIN1.csv").write_text(f"feature_id,202304010000\n30,1.5\n{BIG},2\n10,\n")
    (tmp_path / "202304010100.CHRTOUT_DOMAIN1.csv").write_text(f"feature_id,202304010100\n{BIG},4\n10,5.25\n30,3\n")
    found = nwm.read_runoff(tmp_path, xr.Dataset(coords={"reach": [10, BIG, 30]}))
    np.testing.assert_array_equal(found, [[np.nan, 2, 1.5], [5.25, 4, 3]])
    assert found.attrs["time_label"] == "start"  # t-route applies a column to the step that begins there
    assert found["time"].values[1] == np.datetime64("2023-04-01T01:00")
    assert nwm.read_runoff(tmp_path, label="end").attrs["time_label"] == "end"
    table = pd.DataFrame({"202304010000": [1.0, 2.0], "2023-04-01 01:00:00": [3.0, 4.0]}, pd.Index([7, BIG], name="feature_id"))
    table.to_parquet(tmp_path / "all.parquet")
    np.testing.assert_array_equal(nwm.read_runoff(tmp_path / "all.parquet").sel(reach=BIG), [2, 4])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("feature_id,202304010000\n1,wet\n", "no number: 'wet', first at line 2"),
        ("feature_id,202304010000,202304010000\n1,1,2\n", "stand twice"),
        ("feature_id,202304010100,202304010000\n1,1,2\n", "not in order"),
        ("feature_id,0,1\n1,1,2\n", "counted.*start=.*dt="),
        ("feature_id,tomorrow\n1,1\n", "named by their times"),
        ("feature_id,202304010000\n1,1\n1,2\n", "duplicate feature ids"),
        ("feature_id\n1\n", "no columns of times"),
        ("feature_id,202304010000\n", "no rows"),
        ("feature_id,202304010000\n1,2,9\n", "loss of data"),  # of which pandas would make an index
        ("feature_id,202313010000\n1,2\n", "named by their times"),
        ("feature_id,202304010000\n,1\n", "no id, first line 2"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "q.csv").write_text(text)
    with pytest.raises(XRouteError, match=match):
        nwm.read_runoff(tmp_path / "q.csv")


def test_counted_columns_with_a_start(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(",0,1\n5,1,2\n4,3,4\n")
    found = nwm.read_runoff(tmp_path / "q.csv", start="2020-08-26_00:00:00", dt="1h")
    assert found["time"].values[1] == np.datetime64("2020-08-26T01:00") and found.sel(reach=4).values.tolist() == [3, 4]


# ── the retrospective ─────────────────────────────────────────────────────────────────────────────────────────────────


def retrospective(path: Path) -> np.ndarray:
    """A store as the retrospective's: 32-bit integers with a scale, time before features, chunks of months and many links."""
    values = np.arange(12, dtype="i4").reshape(3, 4) * 100
    values[0, 0] = -999900
    about = {"scale_factor": 0.009999999776482582, "add_offset": 0.0, "_FillValue": -999900, "units": "m3 s-1"}
    xr.Dataset(
        {
            "streamflow": (("time", "feature_id"), values, about),
            "qSfcLatRunoff": (("time", "feature_id"), values, about), "qBucket": (("time", "feature_id"), values, about),
            "order": ("feature_id", np.array([1, 2, 3, 1], "i4")),
            "gage_id": ("feature_id", np.array([b"  01", b"", b"", b""], "S15")),
        },
        {"time": ("time", [0, 60, 120], {"units": "minutes since 1979-02-01"}), "feature_id": ("feature_id", IDS)},
    ).to_zarr(
        path, zarr_format=2, encoding={n: {"chunks": (2, 3)} for n in ("streamflow", "qSfcLatRunoff", "qBucket")}
    )  # fmt: skip
    return np.where(values == -999900, np.nan, values * 0.009999999776482582)


def test_the_retrospective_is_read_when_it_is_needed(tmp_path: Path) -> None:
    truth = retrospective(tmp_path / "chrtout.zarr")
    network = xr.Dataset(coords={"reach": IDS[::-1][:3]})
    flow = nwm.read_discharge(tmp_path / "chrtout.zarr", network)
    assert not flow.variable._in_memory and flow.dims == ("time", "reach")
    assert flow.chunks == ((2, 1), (3,))  # as long as the store's, and all reaches: each of its chunks is read once
    np.testing.assert_allclose(flow, truth[:, ::-1][:, :3])
    assert flow["time"].values[0] == np.datetime64("1979-02-01") and flow["reach"].values.tolist() == IDS[::-1][:3]
    runoff = nwm.read_runoff(tmp_path / "chrtout.zarr", network)
    assert runoff.chunks is not None and runoff.attrs["source_variables"] == "qSfcLatRunoff + qBucket"
    np.testing.assert_allclose(runoff, 2 * truth[:, ::-1][:, :3])


# ── RouteLink ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_route_link_comes_back_as_it_was(tmp_path: Path) -> None:
    network = nwm.read_network(route_link(tmp_path / "RouteLink.nc"))
    shuffled = network.isel(reach=[2, 0, 3, 1])
    nwm.write_network(shuffled, tmp_path / "again.nc")
    with netCDF4.Dataset(tmp_path / "RouteLink.nc") as first, netCDF4.Dataset(tmp_path / "again.nc") as second:
        for name in set(first.variables) - {"time"}:  # in the first order, by which restarts are ordered
            one, other = (np.ma.getdata(file[name][:]) for file in (first, second))
            np.testing.assert_array_equal(one, other, err_msg=name)
        assert second["MusK"].dtype == "f4" and second["link"].dtype == "i8" and second.dimensions["IDLength"].size == 15
    xr.testing.assert_identical(nwm.read_network(tmp_path / "again.nc").drop_attrs(), network.drop_attrs())
    assert network["quality"].values.tolist() == [5, 6, 7, 8]  # what has no name here keeps its own


def test_a_clipped_domain_keeps_what_it_drained_to(tmp_path: Path) -> None:
    network = nwm.read_network(route_link(tmp_path / "RouteLink.nc", to=[30, 10, 555, 10]))
    assert network["downstream"].sel(reach=10) == 0 and network["downstream_id"].sel(reach=10) == 555
    hours = network.assign(k=network["k"].assign_attrs(units="h") / 3600)  # other units than RouteLink's
    nwm.write_network(hours, tmp_path / "again.nc")
    again = nwm.read_network(tmp_path / "again.nc")
    assert again["downstream_id"].values.tolist() == [30, 10, 555, 10]
    np.testing.assert_allclose(again["k"], network["k"], rtol=1e-7)
    cut = network.assign(downstream=network["downstream"].where(network["reach"] != 30, 0))  # stale: 30 drained to 10
    nwm.write_network(cut, tmp_path / "cut.nc")
    assert nwm.read_network(tmp_path / "cut.nc")["downstream_id"].values.tolist() == [30, 0, 555, 10]


def test_what_route_link_has_no_place_for(tmp_path: Path) -> None:
    text = xr.Dataset({"downstream": ("reach", ["b", ""])}, {"reach": ["a", "b"]})
    with pytest.raises(NetworkError, match="integers for ids"):
        nwm.write_network(text, tmp_path / "r.nc")
    fork = xr.Dataset(
        {"upstream_reach": ("link", [1, 1]), "downstream_reach": ("link", [2, 3]), "fraction": ("link", [0.5, 0.5])},
        {"reach": [1, 2, 3]},
    )
    with pytest.raises(NetworkError, match="one reach downstream of each"):
        nwm.write_network(fork, tmp_path / "r.nc")
    assert not list(tmp_path.iterdir())


# ── restarts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def restart(path: Path, flow: list[float]) -> Path:
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("links", len(flow))
        file.createDimension("lakes", 1)
        for name, values in {"hlink": [0.5] * len(flow), "qlink1": [9.0] * len(flow), "qlink2": flow}.items():
            file.createVariable(name, "f4", "links", fill_value=np.nan)[:] = values
        file.createVariable("resht", "f4", "lakes")[:] = [47.5]
        file.Restart_Time, file.his_out_counts = "2020-08-26_00:00:00", np.int32(12)
    return path


def test_a_restart_is_in_the_order_of_route_link(tmp_path: Path) -> None:
    route_link(tmp_path / "RouteLink.nc")
    file = restart(tmp_path / "HYDRO_RST.2020-08-26_00:00_DOMAIN1", [1.0, 2.0, 3.0, 4.0])
    network = nwm.read_network(tmp_path)
    part = network.isel(reach=[3, 1])  # another order, and a part
    state = nwm.read_state(file, part)
    assert state["reach"].values.tolist() == [2**53 + 1, 30] and state.values.tolist() == [4.0, 2.0]
    assert state.attrs["time"] == "2020-08-26T00:00:00" and state.attrs["units"] == "m3 s-1"
    assert nwm.read_state(file, tmp_path / "RouteLink.nc").values.tolist() == [1, 2, 3, 4]
    with pytest.raises(AlignmentError, match="no ids"):
        nwm.read_state(file, network.drop_vars("link_row"))
    with pytest.raises(AlignmentError, match="5 links, and RouteLink 4"):
        nwm.read_state(restart(tmp_path / "other", [1.0] * 5), network)
    begin = xroute.initial_state(network, nwm.read_state(file, network), dt="1h")
    assert begin["outflow"].sel(reach=30) == 2.0


def test_restarts_are_written_with_and_without_a_template(tmp_path: Path) -> None:
    network = nwm.read_network(route_link(tmp_path / "RouteLink.nc"))
    flow = xr.DataArray([8.0, 6.0, 7.0, 5.0], {"reach": [IDS[k] for k in (3, 1, 2, 0)]}, attrs={"units": "m3 s-1"})
    nwm.write_state(flow, tmp_path, network, time="2024-05-01 06:00")
    file = tmp_path / "HYDRO_RST.2024-05-01_06:00_DOMAIN1"
    with netCDF4.Dataset(file) as made:
        assert made["qlink1"][:].tolist() == made["qlink2"][:].tolist() == [5, 6, 7, 8] and "hlink" not in made.variables
        assert made.Restart_Time == "2024-05-01_06:00:00" and made["qlink2"].dimensions == ("links",)
    xr.testing.assert_equal(nwm.read_state(file, network).sel(reach=flow.reach), flow)
    old = restart(tmp_path / "old", [1.0, 2.0, 3.0, 4.0])
    part = flow.isel(reach=[0]).assign_attrs(time="2024-05-01T06:00:00")
    nwm.write_state(part, tmp_path / "new", network, template=old)
    with netCDF4.Dataset(tmp_path / "new") as made:
        assert made["qlink2"][:].tolist() == [1, 2, 3, 8] and made["resht"][:].tolist() == [47.5] and made.his_out_counts == 12
        assert made["hlink"][:].tolist() == [0.5] * 4
    for bad, error, match in (
        (flow, TimeAxisError, "of which instant"),
        (part, AlignmentError, "no flow for 3 of the 4 links"),
        (flow.assign_coords(reach=[1, 2, 3, 4]), AlignmentError, "not in the network"),
        (flow * np.nan, StateError, "not finite"),
        (flow.expand_dims(time=2), StateError, "isel"),
    ):
        time = None if "instant" in match else "2024-05-01"
        with pytest.raises(error, match=match):
            nwm.write_state(bad.assign_attrs(units="m3 s-1"), tmp_path / "none", network, time=time)
    assert not (tmp_path / "none").exists()


# ── lakes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

LAKE = {
    "LkArea": 2.0, "LkMxE": 12.0, "OrificeE": 8.0, "OrificeC": 0.1, "OrificeA": 1.0, "WeirE": 11.0, "WeirC": 0.4, "WeirL": 10.0,
    "Dam_Length": 10.0,
}  # fmt: skip


def lakeparm(path: Path, **changes: float) -> Path:
    columns = {name: ("feature_id", [1.0, value]) for name, value in (LAKE | changes).items()}
    xr.Dataset({"lake_id": ("feature_id", [5, 77]), **columns}).to_netcdf(path, engine="netcdf4")
    return path


@pytest.mark.parametrize(
    ("head", "flow"), [(2.0, 0.1 * np.sqrt(2 * 9.81 * 2)), (3.5, 0.1 * np.sqrt(2 * 9.81 * 3.5) + 4 * 0.5**1.5)]
)
def test_lakes_stay_as_long_as_their_outlets_say(tmp_path: Path, head: float, flow: float) -> None:
    """At a height the model's outflow is known, and the time is area / (dQ/dH), here by differences."""
    network = nwm.read_network(route_link(tmp_path / "RouteLink.nc"))
    outflow = xr.DataArray(np.full(4, flow), {"reach": IDS}, attrs={"units": "m3 s-1"})
    lakes = nwm.read_lakes(lakeparm(tmp_path / "LAKEPARM.nc"), network, outflow)
    assert lakes["lake"].values.tolist() == [77] and lakes["reach"].values.tolist() == [30]

    def law(height: float) -> float:
        return 0.1 * np.sqrt(2 * 9.81 * height) + 4 * max(height - 3, 0) ** 1.5

    slope = (law(head + 1e-6) - law(head - 1e-6)) / 2e-6
    assert float(lakes["tau"][0]) == pytest.approx(2e6 / slope, rel=1e-5)
    made = xroute.lakes(network, lakes[["reach", "tau"]])
    assert made["scheme"].sel(reach=30) == "linear_storage"


def test_lakes_that_cannot_be_told(tmp_path: Path) -> None:
    network = nwm.read_network(route_link(tmp_path / "RouteLink.nc"))
    two = network.assign(waterbody=("reach", [77, -9999, 77, -9999]))
    with pytest.raises(NetworkError, match="several links that leave them.*77"):
        nwm.read_lakes(lakeparm(tmp_path / "LAKEPARM.nc"), two)
    dry = xr.DataArray([0.0] * 4, {"reach": IDS}, attrs={"units": "m3 s-1"})
    with pytest.raises(ParameterError, match="not positive at 1 outlets of lakes: 30"):
        nwm.read_lakes(tmp_path, network, dry)
    with pytest.raises(ParameterError, match="neither orifice nor weir: 77"):
        nwm.read_lakes(lakeparm(tmp_path / "none.nc", OrificeC=0.0, WeirC=0.0), network, dry + 1)


# ── a whole folder ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_is_converted_by_one_command(tmp_path: Path) -> None:
    folder = tmp_path / "nwm"
    for name in ("domain", "channel_forcing", "restart"):
        (folder / name).mkdir(parents=True)
    route_link(folder / "domain" / "RouteLink.nc")
    restart(folder / "restart" / "HYDRO_RST.2020-08-26_00:00_DOMAIN1", [1.0, 2.0, 3.0, 4.0])
    for hour in (1, 2):
        file = chrtout(folder / "channel_forcing" / f"2020082600{hour:02}.CHRTOUT_DOMAIN1", hour, IDS[::-1], [100 * hour] * 4)
        with netCDF4.Dataset(file, "a") as opened:
            opened.createVariable("q_lateral", "f4", "feature_id")[:] = [0.5] * 4
    outputs = {name: tmp_path / f"{name}.nc" for name in ("network", "runoff", "state", "discharge")}
    options = [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    result = CliRunner().invoke(main, ["convert", "nwm", str(folder), *options])
    assert result.exit_code == 0, result.output
    read = {name: xroute.io.open_dataset(path) for name, path in outputs.items()}
    assert read["discharge"]["discharge"].sel(reach=BIG).values.tolist() == pytest.approx([1.0, 2.0], rel=1e-6)
    assert read["state"]["outflow"].sel(reach=10) == 3.0 and read["state"].attrs["time"] == "2020-08-26T00:00:00"
    routed = read["runoff"]["runoff"].route(read["network"], initial_state=read["state"])
    assert routed.attrs["time_label"] == "end" and np.isfinite(routed).all()


def test_real_restarts_and_streamflow(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("LowerColorado_TX")
    network = nwm.read_network(folder)
    files = sorted((folder / "channel_forcing").glob("*.CHRTOUT_DOMAIN1"))[:2]
    found = nwm.read_discharge(files, network)
    with netCDF4.Dataset(files[1]) as file:
        flow = pd.Series(np.ma.filled(file["streamflow"][:].squeeze(), np.nan), file["feature_id"][:].filled())
    np.testing.assert_allclose(found[1], flow[network["reach"].values], rtol=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_no_flow_is_masked_by_the_range_that_a_file_states(tmp_path: Path, packed: bool) -> None:
    usual, odd = discharge_of([[0.0, 700.0, 40_000.0, 3.0]]), discharge_of([[-2.0, 700.0, 90_000.0, 3.0]])
    for name, flow in (("usual", usual), ("odd", odd)):
        nwm.write_discharge(flow, tmp_path / name, packed=packed, dt="1h")
        with netCDF4.Dataset(next((tmp_path / name).iterdir())) as file:  # which masks what is out of valid_range
            values = file["streamflow"][:]
            assert ("valid_range" in file["streamflow"].ncattrs()) == (name == "usual")
            if packed and name == "usual":
                assert file["streamflow"].valid_range.tolist() == [0, 5_000_000]
        assert not np.ma.is_masked(values)
        np.testing.assert_allclose(values, flow.values[0], rtol=1e-6)


def test_whole_numbers_of_a_network_are_brought_to_the_units_of_route_link(tmp_path: Path) -> None:
    network = xr.Dataset({"downstream": ("reach", [2, 0]), "k": ("reach", [1, 2], {"units": "h"})}, {"reach": [1, 2]})
    nwm.write_network(network, tmp_path / "RouteLink.nc")
    with netCDF4.Dataset(tmp_path / "RouteLink.nc") as file:
        assert file["MusK"][:].tolist() == [3600.0, 7200.0]


def test_water_on_hillslopes_is_not_left_out_of_a_restart(tmp_path: Path) -> None:
    network = nwm.read_network(route_link(tmp_path / "RouteLink.nc"))
    ids = network["reach"].values
    runoff = xr.DataArray(np.ones((3, ids.size)), {"time": pd.date_range("2024", periods=3, freq="h"), "reach": ids})
    slow = xr.DataArray([0.5, 0.5], dims="ordinate", attrs={"dt": 3600.0})
    _, state = runoff.assign_attrs(units="m3 s-1").route(network, hillslope=slow, return_state=True)
    with pytest.raises(StateError, match="not reached its river"):
        nwm.write_state(state, tmp_path / "HYDRO_RST.nc", network)


def test_series_without_units_or_with_a_reach_twice_are_not_written(tmp_path: Path) -> None:
    flow = discharge_of([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    with pytest.raises(UnitsError, match="has no units"):
        nwm.write_discharge(flow.drop_attrs(), tmp_path / "none")
    with pytest.raises(AlignmentError, match="more than once"):
        nwm.write_discharge(flow.isel(reach=[0, 0]), tmp_path / "twice")
    old = flow.assign_coords(time=np.array(["1500-01-01T00", "1500-01-01T01"], "datetime64[s]"))
    with pytest.raises(TimeAxisError, match="before 1678"):
        nwm.write_discharge(old, tmp_path / "old")
    assert not list(tmp_path.iterdir())


def test_columns_that_are_dates_with_a_zone_are_in_utc(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    times = pd.DatetimeIndex(["2024-05-01 02:00", "2024-05-01 03:00"], tz="Europe/Berlin")
    table = pd.DataFrame([[1.0, 2.0]], columns=times, index=pd.Index([7], name="feature_id"))
    table.to_parquet(tmp_path / "forcing.parquet")
    found = nwm.read_runoff(tmp_path / "forcing.parquet")
    assert found["time"].values.astype("datetime64[h]").astype(str).tolist() == ["2024-05-01T00", "2024-05-01T01"]


def test_folders_of_wrf_hydro_are_in_upper_case(tmp_path: Path) -> None:
    for name in ("DOMAIN/Route_Link.nc", "DOMAIN/LAKEPARM.nc", "RESTART/HYDRO_RST.2020-01-02_00:00_DOMAIN1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = nwm.find_files(tmp_path)
    assert {part: file.name for part, file in found.items()} == {
        "network": "Route_Link.nc", "lakes": "LAKEPARM.nc", "state": "HYDRO_RST.2020-01-02_00:00_DOMAIN1"
    }  # fmt: skip
