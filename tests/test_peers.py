"""The arena of `benchmarks/peers.py`: what is off is not reported, what a peer lacks is said, and tables go where they belong."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xroute

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("netCDF4")
pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def arena() -> Any:
    """Modules of the arena, by name."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        names = ("peers", "arena.problems", "arena.truth", "arena.tables", "arena.ours")
        return {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def problem(arena: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return arena["problems"].make_problem("small", True, 3, tmp_path_factory.mktemp("problem"))


def test_it_runs_small_beside_a_peer_in_another_process(tmp_path: Path) -> None:
    words = ["--small", "--sizes", "small", "middle", "--peers", "scipy", "diffroute", "--repeats", "1"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "peers.py"), *words], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line for line in done.stdout.splitlines() if line.startswith("| scipy ")]
    assert len(rows) == 2 * 2 + 2  # kernel and files: small with 1 and 12 substeps, middle with 1
    assert all(float(row.split("|")[-2]) < 2e-5 for row in rows) and "diffroute is not compared: " in done.stdout


def matrix_form(problem: Any, runoff: np.ndarray, sampling: str) -> np.ndarray:
    """David and others (2011), equations 3 and 4, with dense matrices."""
    n, half, k, x = problem.n, 450.0, problem.k.astype(float), problem.x.astype(float)
    net = np.zeros((n, n))
    above = np.flatnonzero(problem.below >= 0)
    net[problem.below[above], above] = 1
    c1, c2, c3 = (np.diag(c / (k * (1 - x) + half)) for c in (half - k * x, half + k * x, k * (1 - x) - half))
    inverse, flow, means = np.linalg.inv(np.eye(n) - c1 @ net), np.zeros(n), []
    for lateral in runoff.astype(float):
        flows = [flow]
        for _ in range(problem.substeps):
            flows.append(inverse @ ((c1 + c2) @ lateral + (c3 + c2 @ net) @ flows[-1]))
        means.append(np.mean(flows[1:] if sampling == "mean" else flows[:-1], axis=0))
        flow = flows[-1]
    return np.array(means)


@pytest.mark.parametrize("name", ["river-route", "rapid2"])
def test_the_truth_is_that_of_the_papers_and_sees_what_is_off(arena: Any, problem: Any, name: str) -> None:
    convention, differences = arena["truth"].CONVENTIONS[name], arena["truth"].differences
    runoff = arena["problems"].runoff_of(problem, slice(0, problem.steps))
    expected = np.maximum(matrix_form(problem, runoff, convention.options["sampling"]), convention.floor)
    other = np.maximum(matrix_form(problem, runoff, "start-mean" if name == "river-route" else "mean"), convention.floor)
    moved = expected.copy()
    moved[5, 7] += 1e-3 * expected.max()
    holes = expected.copy()
    holes[2, 3] = np.nan
    found = {"exact": expected, "other": other, "moved": moved, "holes": holes, "short": expected[:-1]}
    off = differences(problem, convention, found)
    assert off["exact"] < 1e-12 and off["moved"] == pytest.approx(1e-3, rel=1e-6) and off["other"] > 1e-4
    assert math.isnan(off["holes"]) and math.isnan(off["short"])


def test_sums_are_over_all_that_lies_upstream(arena: Any, problem: Any) -> None:
    runoff = arena["problems"].runoff_of(problem, slice(0, problem.steps)).astype(float)
    sums = runoff.copy()
    for i in range(problem.n):
        j = problem.below[i]
        while j >= 0:
            sums[:, j] += runoff[:, i]
            j = problem.below[j]
    off = arena["truth"].differences(problem, arena["truth"].CONVENTIONS["earthkit-hydro"], {"sums": sums})
    assert off["sums"] < 1e-12


def test_what_is_wrong_is_not_reported(arena: Any, problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = arena["peers"].parse(["--small", "--peers", "scipy"])
    (problem.folder / "problem.json").write_text(json.dumps({"dt": 900, "substeps": 2, "steps": problem.steps}))  # one less
    try:
        with pytest.raises(SystemExit, match=r"WRONG: peer-kernel beside scipy.*no figure is reported"):
            arena["peers"].measure("scipy", sys.executable, problem, options)
    finally:
        (problem.folder / "problem.json").write_text(json.dumps({"dt": 900, "substeps": 3, "steps": problem.steps}))


def test_a_peer_that_takes_too_long_is_stopped_and_said(arena: Any, problem: Any, capsys: pytest.CaptureFixture[str]) -> None:
    slow = problem.folder / "slow.py"
    slow.write_text(
        "import json, sys, time\nprint(json.dumps({'version': '1', 'cases': ['kernel', 'files']}), flush=True)\n"
        "for line in sys.stdin:\n    time.sleep(60 * line.startswith('run'))\n    print('{}', flush=True)\n"
    )
    wrapper = problem.folder / "python"
    wrapper.write_text(f"#!/bin/sh\nexec {sys.executable} {slow}\n")
    wrapper.chmod(0o755)
    options = arena["peers"].parse(["--small", "--peers", "scipy", "--limit", "1.5"])
    (row,) = arena["peers"].measure("scipy", str(wrapper), problem, options)
    assert row.case == "kernel" and row.ratio.startswith("> ") and "stopped after 2 s" in capsys.readouterr().out
    with pytest.raises(arena["peers"].Refused, match="no-such-python"):
        arena["peers"].measure("scipy", "no-such-python", problem, options)


def test_a_program_that_is_named_is_given_a_folder_and_its_output_is_read(arena: Any, tmp_path: Path) -> None:
    """In mizuRoute's place stands a script, which takes the control file alone and answers as mizuRoute does."""
    pytest.importorskip("xroute.io.mizuroute")
    problem = arena["problems"].make_problem("small", True, 1, tmp_path)
    program = problem.folder / "mizuroute.exe"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(xroute.__file__).parents[1])!r})\n"
        "import pathlib\nimport xarray as xr\nfrom xroute.io import mizuroute\n"
        "setup = mizuroute.read_setup(sys.argv[1])\nq = setup.runoff['runoff'].route(setup.network)\n"
        "q = q.transpose('time', 'reach')[:, ::-1].rename(reach='seg').drop_vars('seg', errors='ignore')\n"
        "ids = setup.network['reach'].values[::-1]\n"
        "made = xr.Dataset({'IRFroutedRunoff': (('time', 'seg'), q.values), 'reachID': ('seg', ids)})\n"
        "made.to_netcdf(pathlib.Path(sys.argv[1]).with_name('xroute.h.2002.nc'))\n"
    )
    program.chmod(0o755)
    where = problem.folder / "problem.json"
    where.write_text(json.dumps({**json.loads(where.read_text()), "mizuroute": str(program)}))
    options = arena["peers"].parse(["--small", "--mizuroute", str(program), "--peers", "mizuroute", "--repeats", "1"])
    (row,) = arena["peers"].measure("mizuroute", sys.executable, problem, options)
    assert row.case == "files" and row.version == "mizuroute.exe" and row.difference < 2e-5


def test_tables_go_between_the_marks(arena: Any, tmp_path: Path) -> None:
    tables = arena["tables"]
    row = tables.Row("river-route", "9.9", "kernel", "4,168 x 960", "small", 1, [(0.002, 0.002)])
    row.theirs = [(0.005, 0.005), (0.007, 0.007)]
    other = tables.Row("rapid2", "2", "files", "100,000 x 365", "middle", 1, [(0.002, 0.002)], gave_up=300.0)
    long, short = tables.long_table([row, other]), tables.short_table([row, other])
    assert "| river-route 9.9 | kernel, 4,168 x 960 | 2.0 (2.0) | 5.0 (6.0) | 3.00 | 2.50 | 3.00 |" in long
    assert "| river-route 9.9 | kernel | 3.00 | – |" in short and "| rapid2 2 | files | – | > 150000 |" in short
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    tables.write_between(page, "new")
    assert page.read_text() == f"before\n{tables.BEGIN}\n\nnew\n\n{tables.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="marks"):
        tables.write_between(page, "new")
    for name in ("README.md", "docs/performance.md"):
        assert all((ROOT / name).read_text("utf-8").count(mark) == 1 for mark in (tables.BEGIN, tables.END)), name


def test_words_that_mean_nothing_are_refused(arena: Any) -> None:
    for words in (["--python", "rapid2"], ["--python", "nobody=python"], ["--small", "--write"]):
        with pytest.raises(SystemExit):
            arena["peers"].parse(words)
