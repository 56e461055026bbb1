"""``xroute calibrate`` and the picture of a calibration: what goes in, what is written, said and drawn, and what is refused.

The truth is a river with other parameters, routed by `xroute.route`; what comes out is set against that.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import xroute
from xroute.cli import main
from xroute.cli.calibrate import history_table, score_table
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError
from xroute.io import open_dataset, write

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
pytest.importorskip("zarr")
pytest.importorskip("netCDF4")
from matplotlib import pyplot  # noqa: E402

from xroute.plotting import plot_calibration  # noqa: E402
from xroute.plotting.calibration import _shown  # noqa: E402

FACTOR = 1.6  # of the truth's k to the network's


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(w) for w in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output and "bug" not in result.output
    return result


def truth() -> tuple[xroute.Network, xr.DataArray, xr.DataArray]:
    """A river, runoff of 20 days, and discharge of the river with longer travel times."""
    network = xroute.Network(xroute.datasets.scheidegger(6, 5, seed=3))
    runoff = xroute.datasets.storm_runoff(network, 480, dtype=float, seed=3)
    true = runoff.route(network.assign(k=FACTOR * network.dataset["k"]))
    return network, runoff, true


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Network, runoff, and gauges in a table, as someone has them."""
    place = tmp_path_factory.mktemp("files")
    network, runoff, true = truth()
    write(network.dataset, place / "network.zarr")
    write(runoff.to_dataset(name="runoff"), place / "runoff.zarr")
    gauges = true.sel(reach=mouths(network)).drop_vars(["lon", "lat"], errors="ignore")
    gauges = gauges.where(np.random.default_rng(0).random(gauges.shape) > 0.2)
    gauges.transpose("time", "reach").to_pandas().to_csv(place / "gauges.csv")
    (gauges / 0.3048**3).transpose("time", "reach").to_pandas().to_csv(place / "cfs.csv")
    gauges.assign_attrs(units="m3 s-1").to_dataset(name="flow").to_netcdf(place / "gauges.nc")
    daily = true.sel(reach=mouths(network)).drop_vars(["lon", "lat"], errors="ignore").resample(time="1D").mean()
    daily = daily.assign_attrs(units="m3 s-1").rename(reach="gauge")
    daily = daily.assign_coords(gauge=["upper", "lower"], reach=("gauge", gauges["reach"].values))
    daily.to_dataset(name="flow").to_netcdf(place / "daily.nc")
    return place


def mouths(network: xroute.Network) -> list[int]:
    """The two reaches that drain most."""
    return network.n_upstream.sortby(network.n_upstream)["reach"].values[-2:].tolist()


QUICK = ("--parameters", "k=scale:all", "--no-progress")


def files(folder: Path, output: Path, observed: str = "gauges.nc") -> tuple[Path, ...]:
    return folder / "runoff.zarr", folder / "network.zarr", folder / observed, output


# ── from files to files ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_in_files_out(folder: Path, tmp_path: Path) -> None:
    """All that can be written is; the network has the truth's travel times, and routes as any does."""
    outputs = ["--picture", tmp_path / "p.png", "--scores", tmp_path / "s.csv", "--history", tmp_path / "h.csv"]
    outputs += ["--save-discharge", tmp_path / "q.nc", "--checkpoint", tmp_path / "c.npz"]
    done = run("calibrate", *files(folder, tmp_path / "out.zarr"), *QUICK, *outputs)
    network, runoff, true = truth()
    with open_dataset(tmp_path / "out.zarr") as made:
        seen = made["calibrated"].values.astype(bool)
        np.testing.assert_allclose(made["k"].values, FACTOR * network.dataset["k"].values, rtol=1e-3)  # the group is all reaches
        assert seen.all() and "k (factor by all)" in made.attrs["calibrated"]
    run("route", folder / "runoff.zarr", tmp_path / "out.zarr", tmp_path / "q.zarr", "--no-progress")
    with open_dataset(tmp_path / "q.zarr") as routed:
        found = routed["discharge"].transpose(*true.dims).values
    np.testing.assert_allclose(found, true.values, rtol=5e-3, atol=1e-3 * float(true.max()))
    scores = pd.read_csv(tmp_path / "s.csv")
    best = scores[scores["run"] == "calibrated"]
    assert set(best["reach"]) == set(mouths(network)) and (best["nse"] > 0.9999).all()
    assert (scores[scores["run"] == "before"]["nse"] < 0.97).all()
    history = pd.read_csv(tmp_path / "h.csv")
    assert {"epoch", "loss", "k all"} <= set(history) and abs(history["k all"].iloc[-1] / FACTOR - 1) < 1e-3
    assert history["k all"].iloc[0] == pytest.approx(1.0)
    with open_dataset(tmp_path / "q.nc") as discharge:
        assert {"observed", "calibrated", "before", "unrouted"} <= set(discharge.data_vars)
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert xroute.learning.open_calibration(tmp_path / "c.npz").summary() in done.output
    last = [line for line in done.output.splitlines() if line.startswith("median")]
    assert len(last) == 1 and last[0].split()[-1] == "1.000"
    assert "placeholder" not in done.output  # of what is routed without rivers, nobody needs to know
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.npz", "h.csv", "out.zarr", "p.png", "q.nc", "q.zarr", "s.csv"]


@pytest.mark.parametrize(
    ("observed", "options"),
    [("gauges.csv", ["--observed-units", "m3 s-1"]), ("cfs.csv", ["--observed-units", "ft3/s"]), ("daily.nc", [])],
)
def test_observations_of_every_kind(folder: Path, tmp_path: Path, observed: str, options: list[str]) -> None:
    done = run("calibrate", *files(folder, tmp_path / "out.nc", observed), *QUICK, *options)
    assert "no units" not in done.output
    with open_dataset(tmp_path / "out.nc") as made, open_dataset(folder / "network.zarr") as network:
        np.testing.assert_allclose(made["k"].values, FACTOR * network["k"].values, rtol=5e-3)
    assert ("upper" in done.output) == (observed == "daily.nc")
    assert [p.name for p in tmp_path.iterdir()] == ["out.nc"]  # the progress is gone with the end


def test_a_table_without_units_is_told_of_in_options(folder: Path, tmp_path: Path) -> None:
    done = run("calibrate", *files(folder, tmp_path / "out.zarr", "gauges.csv"), *QUICK, "--epochs", 2)
    assert "--observed-units says in which it is" in done.output


def test_periods_and_what_is_calibrated(folder: Path, tmp_path: Path) -> None:
    first = str(truth()[1]["time"].values[0])[:10]
    day = np.datetime64(first)
    options = ["--train", f"{day + 3}/{day + 12}", "--test", f"{day + 13}/", "--spinup", "2D", "--epochs", 4]
    options += ["--parameters", "k=scale:strahler,x", "--groups", "all", "--scores", tmp_path / "s.nc"]
    done = run("calibrate", *files(folder, tmp_path / "out.zarr"), *options, "--no-progress")
    with open_dataset(tmp_path / "s.nc") as scores:
        assert scores["period"].values.tolist() == ["train", "test"]
        assert int(scores["n"].sel(period="train", run="before").max()) <= 240
    assert "k (factor by strahler), x (by all)" in open_dataset(tmp_path / "out.zarr").attrs["calibrated"]
    assert "test" in done.output


def test_what_is_not_determined_is_said(folder: Path, tmp_path: Path) -> None:
    """x of each stream order at two gauges of the same river: something is lost."""
    done = run("calibrate", *files(folder, tmp_path / "out.zarr"), "--groups", "strahler", "--epochs", 3, "--no-progress")
    assert "not determined by these observations: " in done.output and "--groups" in done.output


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--parameters", "q"], "q", 1),
        (["--parameters", ","], "such as k,x", 2),
        (["--parameters", "k=half:all"], "before a colon stands one of value, scale", 2),
        (["--groups", "catchment"], "catchment", 1),
        (["--train", "1990"], "BEGIN/END", 2),
        (["--train", "1980/1981"], "no observations", 1),
        (["--patience", "3"], "give --test", 1),
        (["--carry"], "give --window", 1),
        (["--picture", "p.bmp"], "ends in none of .png", 2),
        (["--picture", "nowhere/p.png"], "no folder", 1),
        (["--scores", "s.txt"], "ends in none of .csv", 2),
        (["--observed-units", "mm"], "observed discharge is in 'mm'", 1),
        (["--observed-variable", "q"], "has no variable 'q'", 1),
        (["--observed-label", "noon"], "noon", 2),
    ],
)
def test_options_that_are_refused(folder: Path, tmp_path: Path, options: list[str], message: str, code: int) -> None:
    options = [str(tmp_path / o) if "/p." in o or o[:2] in ("p.", "s.") else o for o in options]
    done = run("calibrate", *files(folder, tmp_path / "out.zarr"), "--no-progress", *options, code=code)
    assert message in done.output
    assert list(tmp_path.iterdir()) == []  # and nothing stands in the way of the next command


def test_data_that_are_refused_are_said_in_options(folder: Path, tmp_path: Path) -> None:
    network, _, true = truth()
    out = tmp_path / "out.zarr"
    gauge = true.sel(reach=mouths(network)[-1:])

    def refused(observed: xr.DataArray, *options: str) -> str:
        observed.to_dataset(name="flow").to_netcdf(tmp_path / "g.nc", mode="w")
        runoff, rivers, *_ = files(folder, out)
        text = run("calibrate", runoff, rivers, tmp_path / "g.nc", out, *QUICK, *options, code=1).output
        (tmp_path / "g.nc").unlink()
        assert list(tmp_path.iterdir()) == []
        return " ".join(text.split())

    assert "network does not have: 99999" in refused(gauge.assign_coords(reach=[99999]))
    two = xr.concat([gauge, gauge.assign_coords(reach=[99999])], "reach")
    assert "--extra drop" in refused(two)
    assert "no time in common" in refused(gauge.assign_coords(time=gauge["time"] + np.timedelta64(9000, "D")))
    assert "do not vary" in refused((gauge * 0 + 1).assign_attrs(gauge.attrs))
    fine = gauge["time"].values[0] + np.arange(480) * np.timedelta64(600, "s")
    assert "finer than the runoff's" in refused(gauge.assign_coords(time=fine))
    assert "Leave them out of the file" in refused((gauge * 0 + 1).assign_attrs(gauge.attrs))
    assert "'member'" in refused(gauge.expand_dims(member=[0, 1]))


def test_outputs_that_are_there_are_kept(folder: Path, tmp_path: Path) -> None:
    inputs = files(folder, tmp_path / "out.zarr")
    run("calibrate", *inputs, *QUICK, "--epochs", 2)
    for extra in ([], ["--scores", tmp_path / "s.csv"]):
        assert "exists; --overwrite replaces it" in run("calibrate", *inputs, *QUICK, *extra, code=1).output
    (tmp_path / "s.csv").write_text("mine")
    other = (*inputs[:3], tmp_path / "other.zarr")
    assert "--overwrite" in run("calibrate", *other, *QUICK, "--scores", tmp_path / "s.csv", code=1).output
    assert (tmp_path / "s.csv").read_text() == "mine"
    run("calibrate", *inputs, *QUICK, "--epochs", 2, "--scores", tmp_path / "s.csv", "--overwrite")
    assert run("calibrate", *inputs[:3], folder / "network.zarr", *QUICK, "--overwrite", code=2).output
    same = run("calibrate", *other, *QUICK, "--scores", tmp_path / "x.csv", "--history", tmp_path / "x.csv", code=2)
    assert "two outputs have the same path" in same.output


def test_arguments_in_another_order_are_told_of(folder: Path, tmp_path: Path) -> None:
    runoff, network, observed, out = files(folder, tmp_path / "out.zarr")
    done = run("calibrate", network, runoff, observed, out, code=1)
    assert "RUNOFF, NETWORK, OBSERVED, OUTPUT is the order" in done.output


def test_info_tells_gauges_in_a_table(folder: Path, tmp_path: Path) -> None:
    told = " ".join(run("info", folder / "gauges.csv").output.split())
    table = pd.read_csv(folder / "gauges.csv", index_col=0)
    known = int(table.notna().to_numpy().sum())
    assert "xroute calibrate RUNOFF NETWORK GAUGES OUTPUT" in told and "--observed-units" in told
    assert f"gauges 2, on reaches such as {', '.join(table.columns)}" in told and f"{known} of {table.size} values" in told
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "no network can be made of this table" in run("info", tmp_path / "other.csv", code=1).output


# ── interrupted ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_command_goes_on_and_ends_with_the_same_bits(folder: Path, tmp_path: Path) -> None:
    options = ["--parameters", "k=scale:strahler,x=strahler", "--optimizer", "adam", "--epochs", "300", "--no-progress"]
    (tmp_path / "killed").mkdir()
    out = tmp_path / "killed" / "out.zarr"
    words = [sys.executable, "-m", "xroute", "calibrate", *map(str, files(folder, out)), *options]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    progress = out.with_name("out.calibration.npz")
    end = time.monotonic() + 100
    while not progress.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert process.poll() is None and progress.exists()
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143 and f"the same command goes on from {progress}" in told
    assert not out.exists() and progress.exists()
    run("calibrate", *files(folder, out), *options)
    assert [p.name for p in out.parent.iterdir()] == ["out.zarr"]
    run("calibrate", *files(folder, tmp_path / "whole.zarr"), *options)
    with open_dataset(out) as found, open_dataset(tmp_path / "whole.zarr") as expected:
        for name in ("k", "x"):
            np.testing.assert_array_equal(found[name].values, expected[name].values)


def test_in_stages_the_outputs_are_the_same_and_no_files_stay(folder: Path, tmp_path: Path) -> None:
    outputs = ["--picture", tmp_path / "p.png", "--history", tmp_path / "h.csv", "--scores", tmp_path / "s.csv"]
    run("calibrate", *files(folder, tmp_path / "out.zarr"), *QUICK, "--stages", "gauge", *outputs)
    network, _, _ = truth()
    with open_dataset(tmp_path / "out.zarr") as made:
        seen = made["calibrated"].values.astype(bool)
        assert seen.tolist() == np.isin(network.ids, network.upstream(mouths(network))).tolist()
        np.testing.assert_allclose(made["k"].values, np.where(seen, FACTOR, 1.0) * network.dataset["k"].values, rtol=2e-3)
        assert "in stages" in made.attrs["calibrated"]
    assert set(pd.read_csv(tmp_path / "h.csv")["stage"]) <= {1, 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.csv", "out.zarr", "p.png", "s.csv"]


def test_progress_of_another_calibration_is_not_taken(folder: Path, tmp_path: Path) -> None:
    inputs = files(folder, tmp_path / "out.zarr")
    run("calibrate", *inputs, *QUICK, "--epochs", 2, "--checkpoint", tmp_path / "c.npz")
    again = (*QUICK, "--overwrite", "--checkpoint", tmp_path / "c.npz")
    done = run("calibrate", *inputs, *again, "--loss", "kge", code=1)
    assert "another calibration" in done.output and "--no-resume" in done.output
    run("calibrate", *inputs, *again, "--loss", "kge", "--epochs", 2, "--no-resume")


# ── what is printed ─────────────────────────────────────────────────────────────────────────────────────────────────────


def a_table_of(n: int, periods: tuple[str, ...] = ("train",)) -> xr.Dataset:
    runs = ["calibrated", "before", "unrouted"]
    values = np.linspace(0.1, 0.9, n)[:, None, None] * np.array([1.0, 0.5, -2.0]) + np.zeros((1, len(periods), 1))
    coords = {"gauge": [f"g{i}" for i in range(n)], "period": list(periods), "run": runs}
    data = xr.DataArray(values, coords, ("gauge", "period", "run"))
    return xr.Dataset({"nse": data, "kge": data - 0.05})


def test_the_table_of_scores() -> None:
    lines = score_table(a_table_of(3)).splitlines()
    assert lines[0].split() == ["NSE", "KGE"] and lines[1].split() == ["train", "train"]
    assert lines[2].split() == ["gauge", "unrouted", "before", "calibrated", "before", "calibrated"]
    assert lines[3].split() == ["g0", "-0.200", "0.050", "0.100", "0.000", "0.050"]
    assert lines[-1].split()[:4] == ["median", "-1.000", "0.250", "0.500"]
    assert len({len(line) for line in lines[2:]}) == 1
    two = score_table(a_table_of(3, ("train", "test"))).splitlines()
    assert two[1].split() == ["train", "test"] and len(two[2].split()) == 7
    gap = a_table_of(2)
    gap["nse"][0] = np.nan
    assert score_table(gap).splitlines()[3].split()[1:4] == ["-", "-", "-"]


def test_of_many_gauges_the_extremes_are_shown() -> None:
    """Those that gained least and most; the median is that of all."""
    lines = score_table(a_table_of(101), rows=4).splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["g0", "g1", "g99", "g100"]
    assert lines[-2].startswith("... 97 more gauges") and lines[-1].split()[3] == "0.500"


def test_the_table_of_a_history() -> None:
    history = xr.Dataset(
        {
            "loss": ("epoch", [3.0, 2.0]), "nse": (("epoch", "gauge"), [[0.0, 1.0, 5.0], [1.0, 2.0, 9.0]]),
            "k": (("epoch", "group"), [[1.0, 2.0], [3.0, 4.0]]),
        },
        {"epoch": [0, 1], "group": ["a", "b"]},
    )  # fmt: skip
    table = history_table(history)
    assert table.columns.tolist() == ["epoch", "loss", "nse median", "k a", "k b"]
    assert table.iloc[1].tolist() == [1, 2.0, 2.0, 3.0, 4.0]


# ── the picture ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def result() -> Any:
    network, runoff, true = truth()
    ids = mouths(network)
    gauges = true.sel(reach=ids).rename(reach="gauge").assign_coords(gauge=["upper", "lower"], reach=("gauge", ids))
    first = runoff["time"].values[0]
    held_out = slice(first + np.timedelta64(14, "D"), None)
    return xroute.calibrate(runoff, network, gauges, parameters={"k": ("scale", "all")}, progress=False, test=held_out)


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def test_the_picture_draws_what_was_observed_and_routed(result: Any) -> None:
    figure = result.plot()
    hydrographs = [ax for ax in figure.axes if "NSE" in ax.get_title("left")]
    assert len(hydrographs) == 2
    for ax in hydrographs:
        label = ax.get_title("left").split(" ")[0]
        drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
        for name in ("before", "calibrated", "observed"):
            np.testing.assert_array_equal(drawn[name], result.discharge[name].sel(gauge=label).values)
        assert ax.get_ylim()[1] > max(np.nanmax(values) for values in drawn.values())  # nothing is cut off
        before, after = (float(result.scores["nse"].sel(gauge=label, period="test", run=run)) for run in ("before", "calibrated"))
        assert f"NSE {before:.3f} → {after:.3f} (test)" in ax.get_title("left")
    assert any(ax.get_ylabel() == "Discharge [m³ s⁻¹]" for ax in hydrographs)


def test_the_bars_are_the_scores(result: Any) -> None:
    ax = next(a for a in result.plot().axes if a.get_ylabel() == "NSE in test")
    for bars, run_name in zip(ax.containers, ("unrouted", "before", "calibrated"), strict=True):
        expected = result.scores["nse"].sel(run=run_name, period="test").values
        np.testing.assert_allclose([bar.get_height() for bar in bars], expected)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["upper", "lower"]


def test_the_map_is_of_what_was_changed(result: Any) -> None:
    bar = next(a for a in result.plot().axes if "calibrated / before" in a.get_ylabel())
    lines = next(a for a in bar.figure.axes if a.collections and a.collections[0].get_array() is not None).collections[0]
    np.testing.assert_allclose(lines.get_array(), FACTOR, rtol=1e-3)
    assert bar.get_ylabel() == "k, calibrated / before"


def test_without_places_the_loss_is_drawn(result: Any) -> None:
    flat = replace(result, network=xroute.Network(result.network.dataset.drop_vars(["lon", "lat"])))
    ax = next(a for a in plot_calibration(flat).axes if a.get_xlabel() == "Epoch")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), result.history["loss"].values)


def test_of_a_long_series_the_highest_flow_is_shown_whoever_is_silent() -> None:
    flow = np.ones((2, 900))
    flow[0, 700], flow[1] = 5.0, np.nan
    time = np.arange(900).astype("timedelta64[h]")
    discharge = xr.Dataset({"observed": (("gauge", "time"), flow)}, {"gauge": ["a", "silent"], "time": time})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = _shown(discharge, "gauge", None)["time"].values
    assert shown[0] <= time[700] <= shown[-1] and shown.size < 900


def test_losses_far_apart_are_drawn_on_a_logarithmic_axis(result: Any) -> None:
    history = result.history.assign(loss=("epoch", np.full(result.history.sizes["epoch"], 0.01)))
    flat = replace(result, network=xroute.Network(result.network.dataset.drop_vars(["lon", "lat"])))
    for tested, scale in ((0.02, "linear"), (3.0, "log")):
        own = history.assign(test_loss=("epoch", np.full(history.sizes["epoch"], tested)))
        ax = next(a for a in plot_calibration(replace(flat, history=own)).axes if a.get_xlabel() == "Epoch")
        assert ax.get_yscale() == scale


def test_a_gauge_without_a_score_keeps_its_place(result: Any) -> None:
    scores = result.scores.copy(deep=True)
    scores["nse"].loc[{"gauge": "lower", "period": "test"}] = np.nan
    figure = plot_calibration(replace(result, scores=scores))
    titles = [ax.get_title("left") for ax in figure.axes]
    assert any(title.startswith("lower") and title.endswith("no NSE in test") for title in titles)
    assert "the 1 of 2 gauges that have one" in figure.get_suptitle() and "nan" not in "".join([figure.get_suptitle(), *titles])
    bars = next(a for a in figure.axes if a.get_ylabel() == "NSE in test")
    assert bars.get_xlim()[0] < -0.5 and bars.get_xlim()[1] > 1.5


def test_gauges_that_are_chosen(result: Any) -> None:
    figure = plot_calibration(result, {"lower": "At the mouth"}, title="Mine", score="kge")
    assert [a.get_title("left") for a in figure.axes if a.get_title("left")] == ["At the mouth"]
    assert figure.get_suptitle() == "Mine" and any(a.get_ylabel() == "KGE in test" for a in figure.axes)
    assert len([a for a in plot_calibration(result, ["upper"]).axes if a.get_title("left")]) == 1
    with pytest.raises(AlignmentError, match="no such gauge.*'sea'; there are 'upper', 'lower'"):
        plot_calibration(result, ["sea"])
    with pytest.raises(ParameterError, match="no score 'beauty'"):
        plot_calibration(result, score="beauty")
    with pytest.raises(ParameterError, match="'x' was not calibrated; what was: 'k'"):
        plot_calibration(result, parameter="x")


def test_the_test_period_is_shaded_and_a_long_series_is_seen_about_its_flood(result: Any) -> None:
    ax = next(a for a in result.plot().axes if a.get_title("left"))
    shade = next(p for p in ax.patches if p.get_label() == "test")
    tested = result.discharge["time"].values[result.discharge["period"].values == "test"]
    n = result.discharge.sizes["time"] - tested.size
    assert result.discharge["period"].values.tolist() == ["train"] * n + ["test"] * tested.size
    begin = matplotlib.dates.num2date(shade.get_x()).replace(tzinfo=None)
    assert abs(np.datetime64(begin, "s") - tested[0].astype("datetime64[s]")) <= np.timedelta64(1, "s")
    long = result.discharge.pad(time=(0, 400), constant_values=1.0)
    long = long.assign_coords(time=result.discharge["time"].values[0] + np.arange(long.sizes["time"]) * np.timedelta64(1, "h"))
    long["observed"][:, -60] = 1e5
    long = long.assign_coords(period=("time", np.array(["train"] * 300 + ["test"] * (long.sizes["time"] - 300))))
    drawn = [line for a in plot_calibration(replace(result, discharge=long)).axes for line in a.lines]
    dots = next(line for line in drawn if line.get_label() == "observed")
    assert dots.get_ydata().size == 150 and dots.get_ydata().max() == 1e5
    part = slice(long["time"].values[10], long["time"].values[20])
    figure = plot_calibration(replace(result, discharge=long), time=part)
    assert all(line.get_ydata().size == 11 for a in figure.axes if a.get_title("left") for line in a.lines)
    with pytest.raises(TimeAxisError, match="no discharge"):
        plot_calibration(result, time=slice("1900", "1901"))


def test_scores_of_many_gauges_are_a_distribution(result: Any) -> None:
    from xroute.plotting.calibration import draw_scores

    _, ax = pyplot.subplots()
    draw_scores(ax, a_table_of(40), "gauge", "nse")
    drawn = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(drawn["calibrated"].get_xdata(), np.linspace(0.1, 0.9, 40))
    assert drawn["calibrated"].get_ydata()[-1] == 1.0


# ── the new user's way ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_from_a_rapid_folder_and_three_gauges(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """A RAPID folder, three gauges in a csv, and nothing else: two commands to a calibrated network and a picture."""
    source = shared_data("nasa_lis_4168")
    made = run("convert", "rapid", source, "--network", tmp_path / "network.zarr", "--runoff", tmp_path / "runoff.zarr")
    assert made.output.count("there is no such file") == 1  # although both, network and runoff, are read by the namelist
    with open_dataset(tmp_path / "network.zarr") as network, open_dataset(tmp_path / "runoff.zarr") as ds:
        river, runoff = xroute.Network(network.load()), ds["runoff"].load()
    with pytest.warns(UserWarning, match="routing step"):
        true = runoff.route(river.assign(k=0.6 * river.dataset["k"]))
    size = river.n_upstream
    gauges = true.sel(reach=size.sortby(size)["reach"].values[[-1, -20, -45]])
    noisy = gauges * (1 + 0.02 * np.random.default_rng(0).standard_normal(gauges.shape))
    noisy.transpose("time", "reach").to_pandas().to_csv(tmp_path / "gauges.csv")
    words = (tmp_path / "runoff.zarr", tmp_path / "network.zarr", tmp_path / "gauges.csv", tmp_path / "calibrated.zarr")
    done = run("calibrate", *words, "--parameters", "k=scale:all", "--picture", tmp_path / "before_after.png", "--no-progress")
    with open_dataset(tmp_path / "calibrated.zarr") as made:
        ratio = made["k"].values / river.dataset["k"].values
        assert abs(np.median(ratio) / 0.6 - 1) < 0.03
        assert made.attrs["routing_step"] == 900.0 and made["downstream"].equals(river.dataset["downstream"])
    assert "substeps 12 of 900 s" in done.output and "median" in done.output
    assert (tmp_path / "before_after.png").stat().st_size > 20_000
