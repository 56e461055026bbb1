"""What an inspection says: what a file holds, and the memory that a run of it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import xroute
from xroute.cli import main
from xroute.inspection import inspect_catchments, inspect_network, inspect_other, kind

NETWORK = xr.Dataset(
    {"downstream": ("reach", [30, 30, 0]), "tau": ("reach", [3600.0] * 3, {"units": "s"})},
    {"reach": [10, 20, 30]},
    {"scheme": "linear_storage"},
)


def runoff(members: int | None = None) -> xr.DataArray:
    time = pd.date_range("2001-01-01", periods=5, freq="h")
    array = xr.DataArray(np.ones((5, 3)), {"time": time, "reach": [10, 20, 30]}, name="runoff", attrs={"units": "m3 s-1"})
    return array if members is None else array.expand_dims(member=members)


@pytest.mark.parametrize(
    ("members", "dtype", "memory"), [(None, "float64", "240 B"), (4, "float64", "960 B"), (250, "float32", "30 kB")]
)
def test_memory_is_of_runoff_and_discharge_of_all_members(members: int | None, dtype: str, memory: str) -> None:
    facts = dict(inspect_network(NETWORK, runoff=runoff(members), dtype=dtype).facts)
    assert facts["memory"].startswith(f"{memory} for 5 steps in one go (runoff and discharge, {dtype})")


def test_a_file_is_known_by_what_it_holds() -> None:
    discharge, state = runoff().route(NETWORK, return_state=True)
    grid = xr.Dataset({"ro": (("time", "lat", "lon"), np.ones((2, 3, 4)))}, {"lat": [1.0, 2, 3], "lon": [1.0, 2, 3, 4]})
    held = {
        "network": NETWORK, "state": state, "discharge": discharge.to_dataset(), "runoff": runoff().to_dataset(),
        "grid": grid, "other": xr.Dataset({"a": ("b", [1.0, 2.0])}),
    }  # fmt: skip
    assert {what: kind(dataset) for what, dataset in held.items()} == {what: what for what in held}
    for what, dataset in held.items():
        if what != "network":
            report = inspect_other(dataset, what)
            assert report.facts[0][0] == "holds" and "no problems found" not in report.text()


def test_problems_are_all_reported_and_not_the_first_alone() -> None:
    damaged = NETWORK.assign(downstream=("reach", [30, 77, 0]), tau=("reach", [3600.0, np.nan, -1.0], {"units": "s"}))
    report = inspect_network(damaged, runoff=runoff().isel(reach=[0, 1]).where(lambda x: x.time > x.time[0]))
    for words in ("77", "NaN", "must be", "2 values of the runoff are missing", "1 reaches have no runoff"):
        assert any(words in problem for problem in report.problems), (words, report.problems)
    with pytest.raises(xroute.NetworkError):
        xroute.Network(damaged)


# ── catchments ────────────────────────────────────────────────────────────────────────────────────────────────────────


def catchments_file(path: Path, kind: str, crs: str | None = "EPSG:4326", column: str = "COMID") -> Path:
    """Two squares of a degree, the first in two parts, or the middle of each part."""
    geopandas = pytest.importorskip("geopandas")
    shapely = pytest.importorskip("shapely")
    squares = [shapely.box(west, 50, west + 0.5, 51) for west in (7.0, 7.5, 8.0)]
    geometry = squares if kind == "polygons" else [square.centroid for square in squares[1:]]
    ids = [2**53 + 1, 2**53 + 1, 5][-len(geometry) :]
    table = geopandas.GeoDataFrame({column: ids}, geometry=geometry, crs="EPSG:4326")
    (table.to_crs(crs) if crs is not None else table.set_crs(None, allow_override=True)).to_file(path)
    return path


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035"])
def test_polygons_are_said_to_be_catchments(tmp_path: Path, crs: str) -> None:
    report = inspect_catchments(catchments_file(tmp_path / "polygons.gpkg", "polygons", crs))
    assert report is not None and not report.problems
    facts = dict(report.facts)
    assert "polygons" in facts["holds"] and "grid_weights" in facts["holds"]
    assert facts["catchments"] == "2, such as 5, 9007199254740993"
    assert facts["longitude"] == "7 to 8.5 degrees" and facts["latitude"].startswith(("50 to 51", "49.99"))
    assert any("1 catchments have several polygons" in note for note in report.notes)


def test_points_are_said_to_lack_areas(tmp_path: Path) -> None:
    report = inspect_catchments(catchments_file(tmp_path / "points.gpkg", "points"))
    assert report is not None
    facts = dict(report.facts)
    assert "points" in facts["holds"] and facts["areas"].startswith("not known")
    assert facts["longitude"] == "7.75 to 8.25 degrees"


def test_catchments_that_are_not_on_the_globe_are_a_problem(tmp_path: Path) -> None:
    path = catchments_file(tmp_path / "metres.gpkg", "polygons", "EPSG:3035")
    geopandas = pytest.importorskip("geopandas")
    geopandas.read_file(path).set_crs("EPSG:4326", allow_override=True).to_file(tmp_path / "wrong.gpkg")
    report = inspect_catchments(tmp_path / "wrong.gpkg")
    assert report is not None and "not on the globe" in report.problems[0]


def test_what_is_no_file_of_catchments_is_none(tmp_path: Path) -> None:
    assert inspect_catchments(catchments_file(tmp_path / "unknown.gpkg", "polygons", column="name_of_it")) is None
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert inspect_catchments(tmp_path / "table.csv") is None


def test_a_grid_that_says_that_it_accumulates_is_told_so() -> None:
    ro = xr.DataArray(np.zeros((3, 2, 2)), {"lat": [1.0, 2.0], "lon": [3.0, 4.0]}, ("time", "lat", "lon"), "ro")
    for step_type, told in (("accum", True), ("instant", False)):
        dataset = ro.assign_attrs(units="m", GRIB_stepType=step_type).to_dataset()
        notes = inspect_other(dataset, kind(dataset)).notes
        assert any("deaccumulate" in note for note in notes) is told


@pytest.mark.parametrize(("name", "attrs", "what"), [
    ("flwdir", {}, "d8"), ("DIR", {}, "d8"), ("band_data", {"long_name": "D8 flow direction"}, "d8"),
    ("landuse", {}, "grid"), ("nextx", {}, "nextxy"),
])  # fmt: skip
def test_grids_of_flow_directions_are_told_from_runoff(tmp_path: Path, name: str, attrs: dict[str, str], what: str) -> None:
    axes = {"lat": [47.25, 46.75], "lon": [7.25, 7.75, 8.25]}
    field = xr.DataArray(np.array([[1, 1, 4], [1, 1, 247]], np.uint8), axes, ("lat", "lon"), name, attrs)
    dataset = field.to_dataset()
    if what == "nextxy":
        dataset["nexty"] = field
    path = tmp_path / "grid.nc"
    dataset.to_netcdf(path, encoding={name: {"_FillValue": 247}})  # xarray makes floats of it, and knows that they were whole
    told = CliRunner().invoke(main, ["info", str(path)])
    assert told.exit_code == 0 and ("xroute weights" in told.output) is (what == "grid")
    if what != "grid":
        assert f"`xroute convert {what} FILE --network network.zarr` makes a network of it" in told.output
        routed = CliRunner().invoke(main, ["route", str(path), str(path), str(tmp_path / "q.zarr")])
        assert routed.exit_code == 1 and f"xroute convert {what}" in routed.output


def test_a_wind_direction_is_no_grid_of_flow_directions() -> None:
    wind = xr.DataArray(np.ones((2, 2)), {"lat": [1.0, 2.0], "lon": [3.0, 4.0]}, ("lat", "lon"), "wind_direction")
    assert kind(wind.to_dataset()) == "grid"


SCORES = pd.DataFrame(
    {"reach": [10, 20, 30] * 2, "run": ["a"] * 3 + ["b"] * 3, "nse": [0.1, 0.9, 0.4, 0.5, None, 0.7], "n": [9, 9, 9, 9, 0, 9]}
)


@pytest.mark.parametrize("name", ["scores.csv", "scores.nc"])
def test_scores_are_told_as_scores(tmp_path: Path, name: str) -> None:
    if name.endswith("csv"):
        SCORES.to_csv(tmp_path / name, index=False)
    else:
        SCORES.set_index(["reach", "run"]).to_xarray().to_netcdf(tmp_path / name)
    told = CliRunner().invoke(main, ["info", str(tmp_path / name)])
    assert told.exit_code == 0, told.output
    lines = " ".join(told.output.split())
    assert "holds scores of simulated against observed discharge" in lines and "gauges 3, by 'reach': 10, 20, 30" in lines
    assert "median a nse 0.4 median b nse 0.6" in lines  # by hand: the middle of 0.1, 0.4, 0.9, and of 0.5, 0.7
    assert "1 of 6 rows have no score" in lines and "network can be made" not in lines


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Date,10,20\n13/01/2000,1,2\n14/01/2000,2,3\n", "dayfirst=True"),
        ("Datum;10;20\n2000-01-01;1,5;2\n2000-01-02;2,5;3\n", "2 cells are none, first '1,5' in row 1"),
        ("time,10,20\n2000-01-01,1,2\n2000-01-02,Ice,3\n", "1 cells are none, first 'Ice' in row 2"),
        ("time,10,20\n2000-01-01,1,2\n2000-01-02,-999,3\n", "-999 in 1 rows"),
        ("time,10,20\n2000-01-01,1,2\n2000-01-01,2,3\n", "1 times stand more than once, first 2000-01-01"),
    ],
)
def test_a_messy_table_of_gauges_is_told_its_problem_not_the_columns_of_networks(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gauges.csv").write_text(text)
    told = CliRunner().invoke(main, ["info", str(tmp_path / "gauges.csv")])
    assert told.exit_code == 1 and said in told.output and "problem: " in told.output
    assert "preset" not in told.output


def test_a_table_that_is_neither_network_nor_series_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    told = CliRunner().invoke(main, ["info", str(tmp_path / "table.csv")])
    assert told.exit_code != 0 and "no network can be made of this table" in told.output
