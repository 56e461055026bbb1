"""Progress bars in notebooks and terminals."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest

import xroute
from xroute.bars import progress_bar


def test_text_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(shown=True, total=4, unit="step") as bar:
        bar.update(4)
    assert "4/4" in stream.getvalue() and "step" in stream.getvalue()


def test_nothing_where_none_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(shown=False, total=4) as bar:
        bar.update(4)
        bar.set_postfix(loss=1)
    assert capsys.readouterr() == ("", "")


IN_A_NOTEBOOK = """
import sys, types, warnings
kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")  # as tqdm knows a notebook
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: kernel)
sys.modules["ipywidgets"] = WIDGETS
warnings.simplefilter("always")
from xroute.bars import progress_bar
bar = progress_bar(shown=True, total=2)
bar.update(2)
bar.close()
"""


def test_no_warning_in_a_notebook_without_widgets() -> None:
    """Where `from tqdm.auto import tqdm` by itself warns."""
    script = IN_A_NOTEBOOK.replace("WIDGETS", "None")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "2/2" in run.stderr and "IProgress" not in run.stderr
    bare = script.replace("from xroute.bars import progress_bar", "from tqdm.auto import tqdm\nbar = tqdm(total=2)\nsys.exit()")
    planted = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, check=True)
    assert "IProgress not found" in planted.stderr


@pytest.mark.parametrize("what", ["stream", "weights", "calibration"])
def test_all_bars_are_made_here(what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    made: list[bool] = []

    def counted(*, shown: bool, **options: Any) -> Any:
        made.append(shown)
        return progress_bar(shown=False, **options)

    for module in ("xroute.streaming", "xroute.grids.weights", "xroute.learning.training"):
        __import__(module)
        monkeypatch.setattr(f"{module}.progress_bar", counted)
    network = xroute.Network(xroute.datasets.scheidegger(3, 3))
    runoff = xroute.datasets.storm_runoff(network, 72, dtype=float)
    if what == "stream":
        xroute.route_to_zarr(runoff, network, tmp_path / "q.zarr", progress=True)
    elif what == "calibration":
        gauges = runoff.route(network).isel(reach=[7, 8])
        xroute.calibrate(runoff, network.assign(k=5000.0), gauges, parameters=["k"], groups="all", epochs=1, progress=True)
    else:
        pytest.importorskip("geopandas")
        land = xroute.datasets.land_surface(days=1)
        xroute.grid_weights(land.runoff.ro, land.catchments, progress=True)
    assert made == [True]
