"""Evaluation tables: Parquet in TEEHR's schema, made here with pyarrow, and what comes back of ours."""

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
from xroute.exceptions import AlignmentError, TimeAxisError, UnitsError, XRouteError
from xroute.io import teehr

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

BIG = 2**53 + 1


def rows(**columns: Any) -> dict[str, Any]:
    """Rows in no order, of two gauges by the hour; one value is not there."""
    base = {
        "reference_time": pa.array([None] * 3, pa.timestamp("ms")),
        "value_time": pa.array(np.array(["2001-01-01T01", "2001-01-01T00", "2001-01-01T00"], "M8[ms]")),
        "value": pa.array([2.5, 1.0, 7.0], pa.float32()),
        "variable_name": ["streamflow_hourly_inst"] * 3, "configuration_name": ["usgs_observations"] * 3,
        "unit_name": ["m^3/s"] * 3, "location_id": ["usgs-0101", "usgs-0101", "usgs-02"],
    }  # fmt: skip
    return base | columns


def table(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(rows(**columns)), path)
    return path


def discharge(ids: Any = (7, BIG), n: int = 3, freq: str = "h", **dims: Any) -> xr.DataArray:
    time = pd.date_range("2001-01-01", periods=n, freq=freq)
    shape = (*(len(v) for v in dims.values()), n, len(ids))
    values = np.arange(float(np.prod(shape))).reshape(shape) + 0.1
    coords = {**dims, "time": time, "reach": list(ids)}
    return xr.DataArray(values, coords, tuple(coords), "discharge", {"units": "m3 s-1"})


def test_a_table_of_theirs(tmp_path: Path) -> None:
    found = teehr.read_discharge(table(tmp_path / "obs.parquet"))
    assert found.dims == ("time", "reach") and found.dtype == np.float32 and found.attrs["units"] == "m^3/s"
    assert found.reach.values.tolist() == ["usgs-0101", "usgs-02"]
    np.testing.assert_array_equal(found, [[1, 7], [2.5, np.nan]])
    bare = teehr.read_discharge(tmp_path / "obs.parquet", location_prefix="usgs-")
    assert bare.reach.values.tolist() == ["0101", "02"]  # leading zeros are a part of an id
    table(tmp_path / "big.parquet", location_id=["a-9007199254740993", "a-9007199254740993", "a-3"])
    assert teehr.read_discharge(tmp_path / "big.parquet", location_prefix="a-").reach.values.tolist() == [BIG, 3]
    hours = np.array(["2001-01-01T06", "2001-01-01T05", "2001-01-01T05"], "M8[ms]")
    zone = pa.array(hours).cast(pa.timestamp("ms", "Etc/GMT+5"))
    found = teehr.read_discharge(table(tmp_path / "zone.parquet", value_time=zone))
    assert found.time.values[0] == np.datetime64("2001-01-01T05")


def test_their_columns_of_ours(tmp_path: Path) -> None:
    given = discharge().astype("f4")
    given[1, 0] = np.nan
    teehr.write_discharge(given, tmp_path / "sim.parquet", location_prefix="xr-", configuration_name="run_1")
    made = parquet.read_table(tmp_path / "sim.parquet")
    assert made.schema.names == ["reference_time", "value_time", "value", "variable_name", "configuration_name", "unit_name",
                                 "location_id", "member"]  # fmt: skip
    assert made.schema.field("value_time").type == pa.timestamp("ms") and made.schema.field("value").type == pa.float32()
    frame = made.to_pandas()
    assert len(frame) == 5 and frame[["reference_time", "member"]].isna().all(None)
    assert set(frame.location_id) == {"xr-7", f"xr-{BIG}"} and set(frame.unit_name) == {"m^3/s"}
    assert set(frame.variable_name) == {"streamflow_hourly_mean"} and set(frame.configuration_name) == {"run_1"}
    assert frame[(frame.location_id == f"xr-{BIG}") & (frame.value_time == "2001-01-01 02:00")].value.item() == np.float32(5.1)
    back = teehr.read_discharge(tmp_path / "sim.parquet", location_prefix="xr-")
    xr.testing.assert_equal(back, given)


@pytest.mark.parametrize(
    "given",
    [
        discharge(), discharge(["7", "x y", "é,1"]), discharge([3], 1, "D"), discharge(member=[3, 1, 52]),
        discharge(reference_time=pd.date_range("2001", periods=2, freq="6h"), member=["a", "1"]), discharge(freq="100ms"),
    ],
)  # fmt: skip
def test_round_trip_without_loss(given: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xroute.io.teehr.ROWS", 4)  # in pieces
    teehr.write_discharge(given.transpose(*reversed(given.dims)), tmp_path / "q.parquet")
    found = teehr.read_discharge(tmp_path / "q.parquet")
    xr.testing.assert_equal(found, given)
    assert found.reach.dtype.kind == given.reach.dtype.kind and found.dtype == given.dtype


def test_names_units_and_the_one_start_of_a_forecast(tmp_path: Path) -> None:
    daily = discharge(freq="D").assign_attrs(units="ft3 s-1", cell_methods="time: point").assign_coords(
        forecast_reference_time=np.datetime64("2001-01-01", "ns"))  # fmt: skip
    teehr.write_discharge(daily, tmp_path / "q.parquet")
    frame = pd.read_parquet(tmp_path / "q.parquet")
    assert set(frame.variable_name) == {"streamflow_daily_inst"} and set(frame.reference_time) == {pd.Timestamp("2001-01-01")}
    found = teehr.read_discharge(tmp_path / "q.parquet")
    np.testing.assert_allclose(found, daily * 0.3048**3)
    assert found.forecast_reference_time.values == np.datetime64("2001-01-01") and found.dims == ("time", "reach")


def test_leads_become_times(tmp_path: Path) -> None:
    starts = pd.date_range("2001-01-01", periods=2, freq="6h")
    given = discharge(reference_time=starts)
    leads = given.assign_coords(time=pd.to_timedelta([1, 2, 3], "h")).rename(time="step")
    leads.reference_time.attrs["standard_name"] = "forecast_reference_time"
    leads.step.attrs["standard_name"] = "forecast_period"
    teehr.write_discharge(leads, tmp_path / "many.parquet")
    frame = pd.read_parquet(tmp_path / "many.parquet")
    assert ((frame.value_time - frame.reference_time) / pd.Timedelta("1h")).unique().tolist() == [1, 2, 3]
    found = teehr.read_discharge(tmp_path / "many.parquet")
    assert found.sel(reference_time=starts[1], time=starts[1] + pd.Timedelta("2h"), reach=7) == leads[1, 1, 0]
    one = leads.isel(reference_time=0)
    teehr.write_discharge(one, tmp_path / "one.parquet")
    np.testing.assert_array_equal(teehr.read_discharge(tmp_path / "one.parquet").time, starts[0] + one.step.values)


@pytest.mark.parametrize(
    ("error", "columns", "message"),
    [
        (UnitsError, {"unit_name": ["m^3/s", "ft^3/s", "m^3/s"]}, "several units"),
        (XRouteError, {"configuration_name": ["a", "b", "b"]}, "several configurations"),
        (XRouteError, {"location_id": ["a", "a", "a"]}, "values twice, first time 2001-01-01T00:00:00.000000000, reach a"),
        (AlignmentError, {"location_id": ["a", None, "b"]}, "empty in 1 rows"),
        (TimeAxisError, {"value_time": pa.array([None, 1, 2], pa.timestamp("ms"))}, "first in row 1"),
        (XRouteError, {"value": ["x", "1", "2"]}, "not all numbers"),
        (XRouteError, {"member": ["1", None, "2"]}, "without a member"),
    ],
)  # fmt: skip
def test_tables_that_are_no_series(error: type[Exception], columns: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        teehr.read_discharge(table(tmp_path / "x.parquet", **columns))


def test_what_is_chosen_and_what_is_lacking(tmp_path: Path) -> None:
    table(tmp_path / "x.parquet", configuration_name=["a", "b", "b"], variable_name=["p", "q", "q"])
    assert teehr.read_discharge(tmp_path / "x.parquet", configuration_name="b").sizes == {"time": 1, "reach": 2}
    with pytest.raises(XRouteError, match="no rows with configuration_name 'c'; it has 'a', 'b'"):
        teehr.read_discharge(tmp_path / "x.parquet", configuration_name="c")
    parquet.write_table(pa.table({"value": [1.0]}), tmp_path / "y.parquet")
    with pytest.raises(XRouteError, match="no columns 'value_time', 'location_id'"):
        teehr.read_discharge(tmp_path / "y.parquet")
    (tmp_path / "z.parquet").write_bytes(b"PAR1")
    with pytest.raises(XRouteError, match="cannot be read as Parquet"):
        teehr.read_discharge(tmp_path / "z.parquet")
    for given, error, message in (
        (discharge().drop_attrs(), UnitsError, "no units"),
        (discharge().assign_attrs(units="mm"), UnitsError, "'mm'"),
        (discharge(model=[1, 2]), AlignmentError, "model"),
        (discharge([1, 1]), AlignmentError, "more than once"),
        (discharge().assign_coords(time=range(3)), TimeAxisError, "no dates"),
    ):
        with pytest.raises(error, match=message):
            teehr.write_discharge(given, tmp_path / "no.parquet")
    with pytest.raises(XRouteError, match="'a-b'"):
        teehr.write_discharge(discharge(), tmp_path / "no.parquet", configuration_name="a-b")
    assert not (tmp_path / "no.parquet").exists()


def test_scores_and_commands_take_the_tables(tmp_path: Path) -> None:
    simulated, observed = discharge(n=30), discharge(n=30) * 1.25
    observed.attrs = simulated.attrs
    teehr.write_discharge(observed, tmp_path / "obs.parquet")
    xroute.io.write_discharge(simulated, tmp_path / "sim.nc")
    found = CliRunner().invoke(main, ["compare", str(tmp_path / "sim.nc"), str(tmp_path / "obs.parquet"), "--output",
                                      str(tmp_path / "s.nc")])  # fmt: skip
    assert found.exception is None, found.output
    with xroute.io.open_dataset(tmp_path / "s.nc") as scores:
        np.testing.assert_allclose(scores["percent_bias"] if "percent_bias" in scores else scores["pbias"], -20.0, rtol=1e-6)
    made = CliRunner().invoke(main, ["export", "teehr", str(tmp_path / "home"), "--discharge", str(tmp_path / "sim.nc"),
                                     "--location-prefix", "nwm30-"])  # fmt: skip
    assert made.exception is None, made.output
    back = teehr.read_discharge(tmp_path / "home" / "timeseries.parquet", location_prefix="nwm30-")
    xr.testing.assert_equal(back.drop_attrs(), simulated.drop_attrs())
    wide = pd.DataFrame({"time": simulated.time.values, "7": simulated.values[:, 0]})
    wide.to_parquet(tmp_path / "wide.parquet")
    assert xroute.io.open_known(tmp_path / "wide.parquet").sel(reach=7).values[1] == simulated.values[1, 0]
