"""A calibration that is killed goes on from its file, and ends with the same bits; files of another one are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.learning import Calibration, progress_file
from xroute.learning.progress_file import ProgressFile

OPTIONS: dict[str, Any] = {"progress": False, "device": "cpu", "spinup": "1D"}
HOW: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "epochs": 30},
    "windows": {"optimizer": "adam", "epochs": 12, "window": "3D", "seed": 5},
    "carry": {"optimizer": "adam", "epochs": 12, "window": "3D", "carry": True},
    "lbfgs": {"groups": "strahler", "epochs": 12},
}


def setup() -> tuple[xr.DataArray, xroute.Network, xr.DataArray]:
    rng = np.random.default_rng(0)
    network = xroute.Network(xroute.datasets.scheidegger(5, 4, seed=2)).assign(k=5400.0, x=0.3)
    times = pd.date_range("2000-01-01", periods=300, freq="h")
    values = (rng.random((300, 20)) * rng.random((300, 1))) ** 8
    runoff = xr.DataArray(values, {"time": times, "reach": network.ids}, ("time", "reach"), attrs={"units": "m3 s-1"})
    q = runoff.route(network).isel(reach=[-1, -2, 12])
    noisy = (q * (1 + 0.1 * rng.standard_normal(q.shape))).where(rng.random(q.shape) > 0.2)
    return runoff, network.assign(k=8000.0, x=0.2), noisy.assign_attrs(q.attrs)


def same(a: Calibration, b: Calibration) -> None:
    for name in ("history", "scores", "curvature", "discharge"):
        xr.testing.assert_identical(getattr(a, name), getattr(b, name))
    xr.testing.assert_identical(a.network.dataset, b.network.dataset)
    assert (a.epochs, a.reason) == (b.epochs, b.reason)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("how", sorted(HOW))
def test_it_ends_with_the_same_bits_wherever_it_is_cut(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runoff, network, observed = setup()
    expected = xroute.calibrate(runoff, network, observed, **HOW[how], **OPTIONS)
    monkeypatch.setattr(progress_file, "EVERY", 0.0)
    monkeypatch.setattr(progress_file, "PART", 0.0)
    write = ProgressFile.write
    left = 0

    def killed(self: ProgressFile, progress: Any) -> None:
        nonlocal left
        write(self, progress)
        left -= 1
        if left <= 0:
            raise Killed

    path = tmp_path / "run.npz"
    monkeypatch.setattr(ProgressFile, "write", killed)
    for left in (1, 2, 5):  # noqa: B007 (it counts down in `killed`)
        with pytest.raises(Killed):
            xroute.calibrate(runoff, network, observed, checkpoint=path, **HOW[how], **OPTIONS)
    monkeypatch.setattr(ProgressFile, "write", write)
    found = xroute.calibrate(runoff, network, observed, checkpoint=path, **HOW[how], **OPTIONS)
    same(found, expected)
    same(Calibration.load(path), expected)
    same(xroute.calibrate(runoff, network, observed, checkpoint=path, **HOW[how], **OPTIONS), expected)  # it is done
    assert os.listdir(tmp_path) == ["run.npz"]


@pytest.mark.parametrize("stages", [None, "gauge"])
def test_drafts_of_runs_that_were_killed_are_removed(stages: Any, tmp_path: Path) -> None:
    """A kill in the middle of a writing leaves a draft beside the file; other files of like names are not touched."""
    runoff, network, observed = setup()
    options: dict[str, Any] = {"groups": "all", "epochs": 2, "stages": stages, "checkpoint": tmp_path / "run.npz", **OPTIONS}
    drafts = [".run.0123abcd.npz"] + ([".run.stage-1.89abcdef.npz", "run.stage-2.npz"] if stages else [])
    others = [".run.0123abcd.nc", ".run.notahexa.npz", "other.npz", ".run.0123abcd4.npz"]
    for done in (False, True):
        for name in (*drafts, *others):
            if done or name.startswith(".") or name == "other.npz":
                (tmp_path / name).write_bytes(b"draft")
        xroute.calibrate(runoff, network, observed, **options)
        assert sorted(os.listdir(tmp_path)) == sorted(["run.npz", *others])


SCRIPT = """
import sys, xroute
sys.path.insert(0, {tests!r})
from test_calibrate_resume import OPTIONS, setup
from xroute.learning import progress_file
progress_file.EVERY = progress_file.PART = 0.0
runoff, network, observed = setup()
xroute.calibrate(runoff, network, observed, optimizer="adam", epochs=4000, checkpoint={path!r}, **OPTIONS)
"""


def test_a_process_is_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    code = SCRIPT.format(tests=str(Path(__file__).parent), path=str(path))
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
    tree = ProgressFile(path, {}, resume=True)
    with pytest.raises(xroute.XRouteError, match="has not ended"):
        Calibration.load(path)
    runoff, network, observed = setup()
    progress = progress_file.read_archive(path, progress_file.KIND, "")["progress"]
    assert 0 < progress["done"] < 4000
    # what is there is what an uninterrupted run had after as many epochs
    for row, other in zip(progress["history"], _history(runoff, network, observed, progress["done"]), strict=False):
        assert row["loss"] == other
    assert tree.path == path


def _history(runoff: xr.DataArray, network: xroute.Network, observed: xr.DataArray, done: int) -> list[float]:
    from xroute.learning.learnable import learnable_of
    from xroute.learning.problem import make_problem
    from xroute.learning.request import CalibrationRequest
    from xroute.learning.training import _Training

    request = CalibrationRequest(optimizer="adam", epochs=4000, **OPTIONS)
    problem = make_problem(runoff, network, observed, request)
    router = problem.router(learnable_of(request, network, problem.observations.reach_ids))
    training = _Training(problem, router, None, router, None, request, None)
    training._begin()
    for _ in range(min(done, 60)):
        training._epoch()
    return [row["loss"] for row in training.history.rows]


def test_a_saved_result_goes_on_with_more_epochs(tmp_path: Path) -> None:
    runoff, network, observed = setup()
    first = xroute.calibrate(runoff, network, observed, optimizer="adam", epochs=10, **OPTIONS)
    first.save(tmp_path / "first.npz")
    more = xroute.calibrate(
        runoff, network, observed, optimizer="adam", epochs=40, checkpoint=tmp_path / "first.npz", **OPTIONS
    )
    assert more.epochs == 40 and more.history.sizes["epoch"] == 41
    np.testing.assert_array_equal(more.history.loss[:10], first.history.loss[:10])
    assert float(more.history.loss[-1]) < float(first.history.loss[-1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": "kge"}, r"loss \(nse instead of kge\)"),
        ({"seed": 1}, "seed"),
        ({"learning_rate": 0.01}, "learning_rate"),
        ({"parameters": ("k",)}, "what is learned"),
        ({"groups": "strahler"}, "what is learned"),
        ({"spinup": "2D"}, "periods"),
        ({"penalty": 0.5}, "penalty"),
        ({"sampling": "last"}, r"sampling \(mean instead of last\)"),
        ({"lateral": "outlet"}, "lateral"),
    ],
)
def test_another_calibration_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    runoff, network, observed = setup()
    path = tmp_path / "run.npz"
    options = {"optimizer": "adam", "epochs": 2, "checkpoint": path, **OPTIONS}
    xroute.calibrate(runoff, network, observed, **options)
    with pytest.raises(xroute.StateError, match=words):
        xroute.calibrate(runoff, network, observed, **{**options, **change})
    with pytest.raises(xroute.StateError, match="observations"):
        xroute.calibrate(runoff, network, 2 * observed.assign_attrs(observed.attrs).copy(), **options)
    for step in (70, 299):
        other = runoff.copy(data=runoff.values * np.where(np.arange(300) == step, 2.0, 1.0)[:, None])
        with pytest.raises(xroute.StateError, match="differs in runoff"):
            xroute.calibrate(other, network, observed, **options)
    with pytest.raises(xroute.StateError, match="differs in parameters of the network"):
        xroute.calibrate(runoff, network.assign(k=8001.0), observed, **options)
    anew = xroute.calibrate(runoff, network, observed, resume=False, **{**options, **change})
    same(Calibration.load(path), anew)


def test_priors_are_known_again_in_whatever_form(tmp_path: Path) -> None:
    runoff, network, observed = setup()
    options: dict[str, Any] = {"groups": "all", "epochs": 2, "penalty": 0.1, "checkpoint": tmp_path / "run.npz", **OPTIONS}
    prior = dict.fromkeys(network.ids.tolist(), 6000.0)
    first = xroute.calibrate(runoff, network, observed, priors={"k": prior}, **options)
    same(first, xroute.calibrate(runoff, network, observed, priors={"k": dict(prior)}, **options))
    same(first, xroute.calibrate(runoff, network, observed, priors={"k": pd.Series(prior)[::-1]}, **options))
    with pytest.raises(xroute.StateError, match="differs in priors"):
        xroute.calibrate(runoff, network, observed, priors={"k": pd.Series(prior) + 1.0}, **options)


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    runoff, network, observed = setup()
    path = tmp_path / "notes.txt"
    path.write_text("not to be lost")
    for resume in (True, False):
        with pytest.raises(xroute.XRouteError, match="is no file of a calibration"):
            xroute.calibrate(runoff, network, observed, epochs=1, checkpoint=path, resume=resume, **OPTIONS)
    assert path.read_text() == "not to be lost"
    with pytest.raises(FileNotFoundError, match="no folder"):
        xroute.calibrate(runoff, network, observed, epochs=1, checkpoint=tmp_path / "none" / "run.npz", **OPTIONS)
    whole = tmp_path / "run.npz"
    xroute.calibrate(runoff, network, observed, epochs=1, groups="all", checkpoint=whole, **OPTIONS)
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    with pytest.raises(xroute.XRouteError):
        Calibration.load(whole)
