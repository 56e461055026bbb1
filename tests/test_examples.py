"""Examples run as a user runs them, end in a picture, and find what they say: figures that they print have a stated quality."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from xroute.datasets import rapid_folder

ROOT = Path(__file__).resolve().parent.parent
LINES, SECONDS = 90, 90


def run(name: str, folder: Path, *words: str) -> str:
    """What an example prints, run in a folder of its own."""
    for module in ("matplotlib", "netCDF4"):
        pytest.importorskip(module)
    known = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *words]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr, done.stderr
    assert after.ru_utime - before.ru_utime < SECONDS  # of one core, with kernels that are compiled at first use
    return done.stdout


def picture(said: str, folder: Path) -> Path:
    """The picture that an example says it has saved, and that is one."""
    (path,) = re.findall(r"^Saved (.*\.png)", said, re.M)
    found = folder / path
    assert found.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and found.stat().st_size > 20_000
    return found


def row(said: str, name: str) -> list[float]:
    """Numbers of the row of a printed table that bears this name."""
    (line,) = re.findall(rf"^{re.escape(name)} +((?:[-+.\deinfa%]+ *)+)$", said, re.M)
    return [float(word) for word in line.split()]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_it_is_run(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LINES
    assert f"`python examples/{path.name}" in text.partition("\n")[0]


def test_the_quickstart_ends_in_a_picture(tmp_path: Path) -> None:
    said = run("quickstart", tmp_path)
    ((day, peak),) = re.findall(r"on (\d\d) May, .*\n([\d,]+) m3 s-1$", said, re.M)
    assert 2 < int(day) < 8 and 1000 < float(peak.replace(",", "")) < 10_000  # the storms cross on the 1st to the 5th
    picture(said, tmp_path)


@pytest.mark.parametrize("version", [None, 1, 2])
def test_a_rapid_folder_is_replaced_and_compared(version: int | None, tmp_path: Path) -> None:
    if version == 2:
        pytest.importorskip("pyarrow")
    words = [] if version is None else [str(rapid_folder(tmp_path / "mine", version=version, days=3))]
    said = run("rapid_replacement", tmp_path, *words)
    (part,) = re.findall(r"a part of (\S+)$", said, re.M)
    assert float(part) < 1e-6  # of float32
    picture(said, tmp_path)
    assert (tmp_path / "discharge.nc").stat().st_size > 100_000


def test_a_rapid_folder_that_differs_or_has_no_discharge(tmp_path: Path) -> None:
    folder = rapid_folder(tmp_path / "mine", days=2)
    k = (folder / "k.csv").read_text().split()
    (folder / "k.csv").write_text("\n".join(str(0.9 * float(value)) for value in k))
    said = run("rapid_replacement", tmp_path, str(folder))
    assert float(re.findall(r"a part of (\S+)$", said, re.M)[0]) > 0.01  # travel times that are not those of its Qout
    next(folder.glob("Qout*")).unlink()
    said = run("rapid_replacement", tmp_path, str(folder))
    assert "no Qout" in said and "dots" not in said
    picture(said, tmp_path)


def test_a_first_river_runs_from_grid_to_sea(tmp_path: Path) -> None:
    pytest.importorskip("geopandas")
    said = run("first_river", tmp_path)
    ((fell, left),) = re.findall(r"([\d,]+) million m3 of runoff, of which (\d+)% have reached the sea", said)
    assert 500 < float(fell.replace(",", "")) < 2000 and 80 < int(left) < 100
    picture(said, tmp_path)


@pytest.mark.slow
def test_buckets_find_their_numbers_through_the_river(tmp_path: Path) -> None:
    said = run("runoff_buckets", tmp_path)
    found = {way: [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) \(([\d.]+)\)", line)]
             for way, line in re.findall(r"^(river|no river): (.*);", said, re.M)}  # fmt: skip
    error = {way: [abs(value / true - 1) for value, true in pairs] for way, pairs in found.items()}
    assert len(error["river"]) == 4 and max(error["river"]) < 0.15 < max(error["no river"])
    (nse, *_), (unrouted, *_) = row(said, "river"), row(said, "no river")
    assert nse > 0.95 and unrouted < nse - 0.1
    assert all(float(lost) < 0.01 for lost in re.findall(r"([\d.]+) mm are lost", said))
    picture(said, tmp_path)


@pytest.mark.slow
def test_an_lstm_learns_runoff_through_the_river(tmp_path: Path) -> None:
    said = run("runoff_lstm", tmp_path, "lstm.png")
    (nse, *_), (unrouted, *_) = row(said, "river"), row(said, "no river")
    assert nse > 0.95 and unrouted < nse - 0.2
    plain = said.replace(",", "")
    ((rain, ran_off, lost),) = re.findall(r"^river: of (\d+) mm of rain (\d+) ran off ([\d.]+) mm are lost", plain, re.M)
    assert 0.4 < float(ran_off) / float(rain) < 0.6 and float(lost) < 0.01  # half of the rain became runoff
    assert picture(said, tmp_path).name == "lstm.png"


@pytest.mark.slow
def test_a_calibration_finds_travel_times_by_stream_order(tmp_path: Path) -> None:
    said = run("calibrate_gauges", tmp_path)
    rows = re.findall(r"^(?:[kx] )? +\d +([\d.]+) +([\d.]+) +(True|False) +\d+ +([\d.]+)$", said, re.M)
    assert len(rows) == 8  # k and x of four stream orders
    for value, error, determined, truth in rows:
        off = abs(float(value) - float(truth))
        assert off < 4 * float(error) and (determined == "False" or off < 0.1 * float(truth))
    assert rows[2][2] == rows[3][2] == "True" and rows[4][2] == "False"  # k of large rivers; x of brooks that no gauge sees
    nse, before, unrouted = (row(said, name)[0] for name in ("calibrated", "before", "unrouted"))
    assert nse > 0.98 > 0.9 > before > unrouted
    picture(said, tmp_path)


@pytest.mark.slow
def test_learned_parameters_serve_a_basin_that_was_never_seen(tmp_path: Path) -> None:
    said = run("learn_parameters", tmp_path)
    (nse, _), (guessed, _) = row(said, "learned"), row(said, "one celerity")
    assert nse > 0.995 and guessed < 0.98
    error = {name: float(value) for name, value in re.findall(r"^(.*): travel times are wrong by (\d+)%", said, re.M)}
    assert error["learned"] < 15 < 35 < error["one celerity"]
    picture(said, tmp_path)


@pytest.mark.slow
def test_a_footprint_of_a_flood_adds_up(tmp_path: Path) -> None:
    said = run("flood_footprint", tmp_path)
    assert re.search(r"adds up to 100\.0000%", said)
    (part,) = re.findall(r"half of it came from \d+ of 2312 reaches, (\d+)% of the basin", said)
    assert 5 < int(part) < 40
    picture(said, tmp_path)


@pytest.mark.slow
def test_ten_thousand_reaches_are_learned_to_a_percent(tmp_path: Path) -> None:
    said = run("train", tmp_path)
    largest = re.findall(r"^([kx]): mean error [\d.]+%, largest ([\d.]+)%$", said, re.M)
    assert [name for name, _ in largest] == ["k", "x"] and all(float(value) < 1 for _, value in largest)
    picture(said, tmp_path)


def test_an_ensemble_forecast_starts_from_the_rivers_and_tells_a_chance(tmp_path: Path) -> None:
    import xarray as xr

    said = run("ensemble_forecast", tmp_path)
    chance = {name: int(share) for name, share in re.findall(r"flow of (\d+ years): (\d+)% of members", said)}
    assert 0 < chance["20 years"] < chance["2 years"] < 100
    (n, of) = re.findall(r"^(\d+) of (\d+) reaches", said, re.M)[0]
    assert 0 < int(n) < int(of) == 2312
    with xr.open_dataset(tmp_path / "state-tomorrow.nc") as state:
        assert state.sizes["number"] == 50 and state.attrs["time"].startswith("2024-05-05")
    picture(said, tmp_path)


def test_a_cluster_gives_the_bits_of_one_process(tmp_path: Path) -> None:
    for module in ("distributed", "zarr"):
        pytest.importorskip(module)
    said = run("cluster", tmp_path)
    assert "2 workers routed {'member': 20, 'time': 480, 'reach': 2312}" in said
    assert "the same bits as without a cluster: True" in said
    picture(said, tmp_path)
