"""National Water Model files: forcing meets network by id, never by position."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from problems import write_hour

from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, XRouteError
from xroute.io import nwm


def test_lower_colorado_network(shared_data: Callable[[str], Path]) -> None:
    network = nwm.read_network(shared_data("LowerColorado_TX") / "domain" / "RouteLink.nc")
    assert network.sizes == {"reach": 11248} and network["reach"].dtype == np.int64
    assert network.attrs["scheme"] == "muskingum" and network.attrs["n_outlets"] == 1
    assert network["k"].attrs["units"] == "s" and set(np.unique(network["k"])) == {3600.0}
    assert network["length"].attrs["units"] == "m" and {"lon", "lat"} <= set(network.coords)
    gages = network["gage"].values
    assert gages.dtype.kind == "U" and "08159000" in gages and "" in gages
    assert not any(gage != gage.strip() for gage in gages)
    assert int((network["downstream"] == 0).sum()) == 1


def test_hurricane_laura(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("HurricaneLaura")
    network = nwm.read_network(folder)  # RouteLink_NWMv2.1.nc in its domain folder
    assert network.sizes == {"reach": 18}
    outlets = network["downstream"].values == 0
    assert sorted(network["downstream_id"].values[outlets].tolist()) == [1622723, 5781963]
    assert network.attrs["n_downstream_ids_not_routed"] == 2
    forcing = nwm.read_forcing(folder, network)
    assert forcing.dims == ("time", "reach") and forcing.sizes["time"] == 24
    assert forcing["time"].values[0] == np.datetime64("2020-08-26T01:00")
    assert forcing.attrs["source_variables"] == "qSfcLatRunoff + qBucket" and forcing.attrs["units"] == "m3 s-1"
    assert forcing.attrs["time_label"] == "end"  # of the hour that the inflow is of


def test_forcing_is_matched_by_id(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("LowerColorado_TX")
    network = nwm.read_network(folder)
    files = sorted((folder / "channel_forcing").glob("*.CHRTOUT_DOMAIN1"))[:3]
    with xr.open_dataset(files[0], engine="netcdf4") as first:
        assert not np.array_equal(first["feature_id"], network["reach"])  # the trap
        expected = (first["qSfcLatRunoff"] + first["qBucket"]).sel(feature_id=network["reach"].values).values
    forcing = nwm.read_forcing(files[::-1], network)
    np.testing.assert_array_equal(forcing["reach"], network["reach"])
    np.testing.assert_array_equal(forcing[0], expected)
    assert (np.diff(forcing["time"]) == np.timedelta64(1, "h")).all()

    shuffled = network.isel(reach=np.random.default_rng(1).permutation(network.sizes["reach"]))
    xr.testing.assert_identical(nwm.read_forcing(files, shuffled), forcing.sel(reach=shuffled["reach"].values))


def test_coarsely_packed_lateral_inflow_is_not_preferred(
    shared_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = shared_data("LowerColorado_TX")
    file = sorted((folder / "channel_forcing").iterdir())[0]
    with caplog.at_level(logging.WARNING, "xroute"):
        fine = nwm.read_forcing(file)
    assert "q_lateral is packed in units of 0.1" in caplog.text
    coarse = nwm.read_forcing(file, variable="q_lateral")
    assert coarse.attrs["source_variables"] == "q_lateral"
    assert float(abs(fine - coarse).max()) <= 0.05 + 1e-6  # packing rounds to the nearest 0.1
    assert float(coarse.sum()) < 0.6 * float(fine.sum())  # and loses half of the water


def test_order_may_differ_between_files(tmp_path: Path) -> None:
    write_hour(tmp_path / "b.CHRTOUT_DOMAIN1", 1, [3, 1, 2], q_lateral=[30, 10, 20])
    write_hour(tmp_path / "a.CHRTOUT_DOMAIN1", 2, [1, 2, 3], q_lateral=[11, 21, 31])
    forcing = nwm.read_forcing(tmp_path)
    assert forcing["time"].dt.hour.values.tolist() == [1, 2]  # by the files' own time, not by name
    assert forcing.sel(reach=[1, 2, 3]).values.tolist() == [[10, 20, 30], [11, 21, 31]]
    by_glob = nwm.read_forcing(str(tmp_path / "*.CHRTOUT_DOMAIN1"))
    xr.testing.assert_identical(by_glob, forcing)


def test_files_must_hold_the_same_features(tmp_path: Path) -> None:
    write_hour(tmp_path / "a.CHRTOUT_DOMAIN1", 1, [1, 2], q_lateral=[1, 2])
    write_hour(tmp_path / "b.CHRTOUT_DOMAIN1", 2, [1, 5], q_lateral=[1, 2])
    with pytest.raises(AlignmentError, match="2 ids are in one of them only: 2, 5"):
        nwm.read_forcing(tmp_path)


def test_duplicate_times_and_features(tmp_path: Path) -> None:
    write_hour(tmp_path / "a.CHRTOUT_DOMAIN1", 1, [1, 2], q_lateral=[1, 2])
    write_hour(tmp_path / "b.CHRTOUT_DOMAIN1", 1, [1, 2], q_lateral=[1, 2])
    with pytest.raises(TimeAxisError, match="2020-01-01T01.* is in .*a.CHRTOUT.* and in .*b.CHRTOUT"):
        nwm.read_forcing(tmp_path)
    double = write_hour(tmp_path / "c", 1, [2, 2], q_lateral=[1, 2])
    with pytest.raises(AlignmentError, match="duplicate feature ids in .*: 2"):
        nwm.read_forcing(double)


def test_network_selects_and_missing_reaches_are_named(tmp_path: Path) -> None:
    file = write_hour(tmp_path / "a.CHRTOUT_DOMAIN1", 1, [1, 2, 3], qSfcLatRunoff=[1, 2, 3], qBucket=[0.5, 0.5, 0.5])
    network = xr.Dataset(coords={"reach": [3, 1]})
    assert nwm.read_forcing(file, network).values.tolist() == [[3.5, 1.5]]
    with pytest.raises(AlignmentError, match="1 of the 2 reaches of the network are not in .*: 9"):
        nwm.read_forcing(file, xr.Dataset(coords={"reach": [3, 9]}))


def test_packed_fill_values_are_missing_not_zero(tmp_path: Path) -> None:
    dataset = xr.Dataset(
        {"q_lateral": ("feature_id", np.array([10, 0, -99990], "i4"))},
        coords={"feature_id": [1, 2, 3], "time": ("time", [np.datetime64("2020-01-01")])},
    )
    dataset["q_lateral"].attrs.update(_FillValue=np.int32(-99990), scale_factor=0.1, add_offset=0.0, units="m3 s-1")
    dataset.to_netcdf(tmp_path / "a.CHRTOUT_DOMAIN1", engine="netcdf4")
    np.testing.assert_allclose(nwm.read_forcing(tmp_path), [[1.0, 0.0, np.nan]])


def test_messages_for_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no CHRTOUT files"):
        nwm.read_forcing(tmp_path)
    file = write_hour(tmp_path / "a", 1, [1], streamflow=[1])
    with pytest.raises(XRouteError, match="neither q_lateral nor qSfcLatRunoff and qBucket; it has 'streamflow'"):
        nwm.read_forcing(file)
    with pytest.raises(NetworkError, match="not a RouteLink file: it has no variable 'link'"):
        nwm.read_network(file)
    with pytest.raises(FileNotFoundError, match="no RouteLink"):
        nwm.read_network(tmp_path)
    (tmp_path / "text.nc").write_text("not netCDF")
    with pytest.raises(XRouteError, match="is not a netCDF file"):
        nwm.read_network(tmp_path / "text.nc")


def test_duplicate_links(tmp_path: Path) -> None:
    links = xr.Dataset({"link": ("feature_id", [1, 1]), "to": ("feature_id", [0, 0])})
    links.to_netcdf(tmp_path / "RouteLink.nc", engine="netcdf4")
    with pytest.raises(NetworkError, match="1 duplicate links in .*: 1"):
        nwm.read_network(tmp_path)
