"""``xroute plot``: pictures of files, what is asked for and no more; mistakes in a line that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import xroute
from xroute.cli import main, plot

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("netCDF4")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from PIL import Image  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plot")
    network = xroute.datasets.scheidegger(5, 4)
    runoff = xroute.datasets.storm_runoff(network, 24, dtype=float, members=3)
    discharge = runoff.isel(member=0, drop=True).route(network)
    discharge.to_netcdf(folder / "q.nc")
    runoff.route(network).to_netcdf(folder / "ensemble.nc")
    runoff.isel(member=0, drop=True).to_dataset(name="runoff").to_netcdf(folder / "runoff.nc")
    network.to_netcdf(folder / "network.nc")
    (2 * discharge.sel(reach=[7, 20])).transpose("time", "reach").to_pandas().to_csv(folder / "gauges.csv")
    for k, part in enumerate((slice(0, 12), slice(12, 24))):
        discharge.isel(time=part).to_netcdf(folder / f"part_{k}.nc")
    return folder, discharge


@pytest.fixture
def run(files, tmp_path, monkeypatch):
    """Run the command in the folder of the files; outputs, which begin with ``out``, go to a folder of the test's own."""
    monkeypatch.chdir(files[0])
    made = []
    savefig = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda f, *a, **o: (made.append(f), savefig(f, *a, **o))[1])

    def call(words):
        given = [str(tmp_path / w) if w.startswith("out") else w for w in words.split()]
        result = CliRunner().invoke(main, ["plot", *given])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        lines = [line for line in result.output.splitlines() if line.strip()]
        return result.exit_code, lines, made[-1] if made else None

    call.folder = tmp_path
    return call


def test_an_overview_by_default(run):
    code, lines, figure = run("q.nc network.nc -o out.png --title Flood --runoff runoff.nc")
    assert code == 0 and lines[-1] == f"Saved {run.folder / 'out.png'}"
    with Image.open(run.folder / "out.png") as image:
        assert image.size[0] > 1000
    assert figure.get_suptitle() == "Flood" and len(figure.axes) == 6


def test_hydrographs_without_a_network(run, files):
    words = "q.nc -o out.png --reach 7=Weir --reach 20 --observed gauges.csv --observed-units m3/s"
    code, lines, figure = run(f"{words} --thresholds alert=2 --thresholds 3")
    assert code == 0, lines
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), files[1].sel(reach=7), rtol=1e-6)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Weir", "reach 20", "observed"]
    assert [t.get_text() for t in ax.texts] == ["alert", "3"]
    observed = next(line for line in ax.lines if line.get_label() == "observed")
    np.testing.assert_allclose(observed.get_ydata(), 2 * files[1].sel(reach=7), rtol=1e-6)


def test_a_map_of_an_ensemble_says_that_it_is_the_largest(run):
    code, _, figure = run("ensemble.nc network.nc -o out.png --kind map")
    assert code == 0 and figure.axes[1].get_ylabel().startswith("Peak discharge, largest of 3 members [")
    _, _, figure = run("q.nc network.nc -o out2.png --kind map")
    assert figure.axes[1].get_ylabel().startswith("Peak discharge [")


def test_an_ensemble_with_members_and_quantiles_and_runoff_upstream(run):
    code, lines, figure = run(
        "ensemble.nc network.nc -o out.svg --kind hydrograph --reach 7 --members --quantiles 0.1,0.5,0.9 --runoff runoff.nc --log"
    )
    assert code == 0, lines
    said = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert said == ["reach 7, median", "10–90 %", "3 members", "runoff upstream, sum"]
    assert figure.axes[0].get_yscale() == "log"


def test_maps_of_a_time_and_of_peaks(run, files):
    when = str(files[1].time.values[9].astype("datetime64[m]"))
    code, lines, figure = run(f"q.nc network.nc -o out.png --kind map --time {when} --dpi 40")
    assert code == 0, lines
    shown = figure.axes[0].collections[0].get_array()
    assert figure.axes[0].get_title(loc="left") == when.replace("T", " ")
    now = files[1].isel(time=9)
    assert np.isin(np.round(np.asarray(shown), 6), np.round(now.values, 6)).all()
    _, _, peaks = run("q.nc network.nc -o out2.png --kind map --dpi 40")
    assert peaks.axes[1].get_ylabel().startswith("Peak discharge")


def test_a_profile_and_an_animation(run):
    code, lines, figure = run("q.nc network.nc -o out.pdf --kind profile --relative --title Wave")
    assert code == 0, lines
    assert figure.axes[0].get_xlabel().startswith("Distance") and figure.get_suptitle() == "Wave"
    code, lines, _ = run("q.nc network.nc -o out.gif --every 8 --fps 4 --dpi 40")
    assert code == 0, lines
    with Image.open(run.folder / "out.gif") as image:
        assert image.n_frames == 3 and image.info["duration"] == 250


def test_several_files_by_a_pattern(run, files):
    _, lines, figure = run("part_*.nc -o out.png --reach 7")
    assert figure.axes[0].lines[0].get_xdata().size == 24, lines


def test_only_what_is_drawn_is_read(run, files, monkeypatch):
    monkeypatch.setattr(plot, "LARGE", 1)
    monkeypatch.setattr(plot, "BLOCK", 20 * 8 * 5)
    code, lines, figure = run("q.nc network.nc -o out.png --kind map --dpi 40")
    assert code == 0, lines
    largest = max(float(np.max(c.get_array())) for c in figure.axes[0].collections if c.get_array() is not None)
    assert largest == pytest.approx(float(files[1].max()), rel=1e-5)


def test_a_picture_that_exists_is_kept_unless_said(run):
    (run.folder / "out.png").write_text("older")
    code, lines, _ = run("q.nc -o out.png --reach 7")
    assert code == 1 and "--overwrite" in lines[-2] and (run.folder / "out.png").read_text() == "older"
    assert run("q.nc -o out.png --reach 7 --overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("q.nc -o out.png --kind map", 2, "NETWORK"), ("q.nc network.nc -o out.doc", 2, ".png"),
        ("q.nc network.nc -o out.png --kind animation", 2, ".gif"), ("q.nc network.nc -o out.png --fps 3", 2, "animation"),
        ("q.nc network.nc -o out.png --to 3", 2, "profile"), ("q.nc -o out.png --reach a", 2, "whole numbers"),
        ("q.nc network.nc -o out.png --kind profile --reach 1 --reach 2", 2, "--to"),
        ("q.nc -o out.png --reach 7 --quantiles a,b", 2, "quantiles"),
        ("q.nc -o out.png --reach 7 --thresholds a=b", 2, "alert=120"),
        ("q.nc -o out.png --reach 7 --time /", 2, "FROM/TO"), ("q.nc", 2, "output"),
        ("q.nc -o out.png --reach 99", 1, "no such reach in the discharge: 99"),
        ("q.nc -o out.png --reach 7 --time 2531", 1, "goes from"),
        ("q.nc -o out.png --reach 7 --members", 1, "--members"), ("none.nc -o out.png", 1, "none.nc"),
        ("network.nc q.nc -o out.png", 1, "DISCHARGE, NETWORK"), ("q.nc -o nowhere/a.png --reach 7", 1, "no folder"),
        ("q.nc network.nc -o q.nc", 2, ".png"),
        ("q.nc -o out.png --reach 3 --observed gauges.csv --observed-units m3/s", 1, "no gauge"),
    ],
)  # fmt: skip
def test_mistakes_are_answered_in_two_lines(run, words, code, said):
    found, lines, _ = run(words)
    assert found == code and lines[-2].startswith("Error: ") and said in " ".join(lines[-2:]), lines
    assert not any("Traceback" in line for line in lines) and not list(run.folder.iterdir())


def test_leads_are_times_of_a_forecast(run, files, tmp_path):
    q = files[1].assign_coords(time=np.arange(24) * np.timedelta64(1, "h")).rename(time="step")
    q.attrs = {"units": "m3 s-1"}
    q.to_netcdf(run.folder / "out_leads.nc")
    code, lines, figure = run("out_leads.nc -o out.png --reach 7 --time 3h/6h")
    assert code == 0, lines
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), [3, 4, 5, 6])
    assert isinstance(q, xr.DataArray)


def test_an_overview_beside_observations(run, files):
    words = "ensemble.nc network.nc -o out.png --observed gauges.csv --observed-units m3/s --members --thresholds alert=2"
    code, lines, figure = run(words)
    assert code == 0, lines
    rows = [ax for ax in figure.axes if ax.get_title(loc="left").startswith("reach") or ax.get_title(loc="left").isdigit()]
    assert len(rows) == 2
    for ax in rows:
        observed = 2 * files[1].sel(reach=int(ax.get_title(loc="left").split()[-1]))
        curves = [np.asarray(line.get_ydata(), float) for line in ax.lines if len(line.get_ydata()) == 24]
        assert any(np.allclose(curve, observed, rtol=1e-5) for curve in curves)
        assert "alert" in [text.get_text() for text in ax.texts]
