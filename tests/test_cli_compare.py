"""`xroute compare`: what it prints and writes is what `xroute.scores` says, of netCDF, Zarr and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_cli import run
from test_scores import IDS, flows, on_gauges, pair

import xroute
from xroute.io import write


@pytest.fixture
def files(tmp_path: Path) -> Path:
    simulated, observed = pair()
    write(simulated.to_dataset(name="discharge"), tmp_path / "q.nc")
    write((1.5 * simulated).assign_attrs(simulated.attrs).to_dataset(name="discharge"), tmp_path / "old.zarr")
    gauges = on_gauges(observed, [3, 0, 2], ["c", "a", "b"])
    write(gauges.to_dataset(name="discharge"), tmp_path / "observed.nc")
    observed.isel(reach=[3, 0]).to_pandas().to_csv(tmp_path / "observed.csv")
    return tmp_path


def test_a_row_a_gauge_and_a_median(files: Path) -> None:
    simulated, observed = pair()
    expected = xroute.scores(simulated, on_gauges(observed, [3, 0, 2], ["c", "a", "b"]))
    lines = run("compare", files / "q.nc", files / "observed.nc").output.splitlines()
    assert lines[0].split()[:4] == ["gauge", "reach", "nse", "kge"] and len(lines) == 5
    assert lines[1].split()[:3] == ["c", "12", f"{expected['nse'].values[0]:.3f}"]
    assert lines[4].split()[:2] == ["median", f"{np.median(expected['nse']):.3f}"]
    few = run("compare", files / "q.nc", files / "observed.nc", "--metrics", "kge,n", "--rows", 1).output.splitlines()
    assert few[0].split() == ["gauge", "reach", "kge", "n"] and len(few) == 4 and "2 other gauges" in few[3]
    every = run("compare", files / "q.nc", files / "observed.nc", "--metrics", "all").output
    assert "flv" in every.splitlines()[0]


def test_what_is_written_is_all_of_it(files: Path) -> None:
    simulated, observed = pair()
    expected = xroute.scores(simulated, on_gauges(observed, [3, 0, 2], ["c", "a", "b"]))
    run("compare", files / "q.nc", files / "observed.nc", "--output", files / "scores.csv", "--rows", 1)
    table = pd.read_csv(files / "scores.csv", index_col="gauge")
    for name in expected:
        np.testing.assert_allclose(table[name], expected[name], rtol=1e-12)
    run("compare", files / "q.nc", files / "observed.nc", "--output", files / "scores.nc")
    with xr.open_dataset(files / "scores.nc") as found:
        xr.testing.assert_allclose(found, expected)
    for name in ("scores.csv", "scores.nc"):
        assert "exists" in run("compare", files / "q.nc", files / "observed.nc", "--output", files / name, code=1).output
        run("compare", files / "q.nc", files / "observed.nc", "--output", files / name, "--overwrite")
    both = files / "q.nc", files / "observed.csv"
    assert "input" in run("compare", *both, "--output", files / "observed.csv", "--overwrite", code=2).output
    assert "scores.txt" in run("compare", *both, "--output", files / "scores.txt", code=2).output


def test_tables_are_read_and_runs_set_beside_one_another(files: Path) -> None:
    output = run(
        "compare", files / "q.nc", files / "observed.csv",
        "--benchmark", files / "old.zarr", "--benchmark", f"same={files / 'q.nc'}",
        "--climatology", "month", "--period", "train=2001-01/2001-06", "--period", "test=2001-07/", "--metrics", "nse,n",
        "--output", files / "scores.csv", "--observed-units", "m3 s-1",
    ).output  # fmt: skip
    table = pd.read_csv(files / "scores.csv", index_col=["period", "run", "reach"])
    assert set(table.index.get_level_values("run")) == {"simulated", "old", "same", "climatology"}
    assert set(table.index.get_level_values("period")) == {"train", "test"}
    simulated, observed = pair()
    one = table.loc[("train", "simulated", 12)]
    months = xroute.scores.climatology(observed.isel(reach=[3, 0]), "month", period=slice("2001-01", "2001-06"))
    expected = xroute.scores(
        simulated, observed.isel(reach=[3, 0]), benchmarks={"m": months}, periods={"train": slice("2001-01", "2001-06")}
    ).sel(run="simulated", period="train", reach=12)  # fmt: skip
    assert one["nse"] == pytest.approx(expected["nse"].item()) and one["n"] == expected["n"].item()
    assert "skill" in output.splitlines()[0] and table.loc[("train", "same", 12), "skill"] == 0


def test_unrouted_runoff_is_a_benchmark(tmp_path: Path) -> None:
    network, ds = xroute.datasets.tutorial()
    write(network, tmp_path / "network.zarr")
    write(ds, tmp_path / "runoff.zarr")
    q = ds.runoff.route(network)
    write(q.to_dataset(name="discharge"), tmp_path / "q.zarr")
    observed = (1.1 * q.isel(reach=[-1, 2])).assign_attrs(q.attrs)
    write(observed.to_dataset(name="discharge"), tmp_path / "observed.nc")
    run("compare", tmp_path / "q.zarr", tmp_path / "observed.nc", "--output", tmp_path / "scores.nc",
        "--unrouted", tmp_path / "runoff.zarr", tmp_path / "network.zarr")  # fmt: skip
    expected = xroute.scores(q, observed, benchmarks={"unrouted": xroute.scores.unrouted(ds.runoff, network, at=observed)})
    with xr.open_dataset(tmp_path / "scores.nc") as found:
        xr.testing.assert_allclose(found, expected)
        assert (found["nse"].sel(run="unrouted") < found["nse"].sel(run="simulated")).all()
    beyond = xr.concat([observed, observed.isel(reach=[0]).assign_coords(reach=[10**9])], "reach")
    write(beyond.to_dataset(name="discharge"), tmp_path / "beyond.nc")
    beside = "--unrouted", tmp_path / "runoff.zarr", tmp_path / "network.zarr"
    command = "compare", tmp_path / "q.zarr", tmp_path / "beyond.nc", *beside
    assert "--extra drop" in run(*command, code=1).output
    run(*command, "--extra", "drop", "--output", tmp_path / "dropped.nc")
    with xr.open_dataset(tmp_path / "dropped.nc") as found:
        xr.testing.assert_allclose(found, expected)


def test_units_and_ids_that_a_table_does_not_tell(files: Path) -> None:
    simulated, observed = pair()
    cubic_feet = observed.isel(reach=[3, 0]).to_pandas() / 0.3048**3
    cubic_feet.to_csv(files / "cfs.csv")
    write(simulated.assign_coords(reach=IDS.astype(str)).to_dataset(name="discharge"), files / "text.nc")
    told = run("compare", files / "text.nc", files / "cfs.csv", "--metrics", "pbias").output
    assert "taken in 'm3 s-1', as the simulated discharge is. --observed-units says" in told
    done = run("compare", files / "text.nc", files / "cfs.csv", "--observed-units", "ft3/s", "--climatology", "month",
               "--output", files / "scores.csv")  # fmt: skip
    assert "no units" not in done.output
    found = pd.read_csv(files / "scores.csv", index_col=["run", "reach"]).loc["simulated"]
    expected = xroute.scores(simulated, observed.isel(reach=[3, 0]))
    np.testing.assert_allclose(found["pbias"], expected["pbias"], rtol=1e-9)
    again = run("compare", files / "q.nc", files / "observed.nc", "--observed-units", "L/s").output
    assert "says that it is in 'm3 s-1'; it is read in 'L/s'" in again


def test_errors_name_options(files: Path) -> None:
    flows(ids=IDS[:2]).to_dataset(name="a").assign(b=flows(ids=IDS[:2])).to_netcdf(files / "two.nc")
    assert "--variable" in run("compare", files / "two.nc", files / "observed.nc", code=1).output
    assert "--observed-variable" in run("compare", files / "q.nc", files / "two.nc", code=1).output
    output = run("compare", files / "two.nc", files / "observed.nc", "--variable", "a", code=1).output
    assert "--extra drop" in output and "12" in output
    assert run("compare", files / "two.nc", files / "observed.nc", "--variable", "a", "--extra", "drop").exit_code == 0
    assert "nsee" in run("compare", files / "q.nc", files / "observed.nc", "--metrics", "nsee", code=1).output
    assert "NAME=FROM/TO" in run("compare", files / "q.nc", files / "observed.nc", "--period", "2001", code=2).output
    rows = flows(5).to_series().rename("discharge").reset_index()
    pd.concat([rows, rows.tail(1)]).to_csv(files / "twice.csv", index=False)
    assert "1 values twice, first reach 12 at" in run("compare", files / "q.nc", files / "twice.csv", code=1).output
    assert run("compare", files / "none.nc", files / "observed.nc", code=1).output.startswith("Error: ")
