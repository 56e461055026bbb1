"""Kernels that move rows through shared memory, emulated: they are for GPUs, and this is how they are tested without one.

`tests/test_gpu.py` has them on a GPU, in all cases of float32. Here Triton interprets them in a process of their own, with
`emulated_ptx` in place of the assembly that no interpreter knows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from problems import Case, check_case, check_row_before

CASES = {
    "several tiles, rows that begin anywhere": Case("bifurcating", 9, "muskingum", 39, 2, dtype="float32"),
    "whole vectors": Case("tree", 9, "muskingum", 40, dtype="float32", start="dry"),
    "through links between patches": Case("chain", 40, "linear_storage", 13, dtype="float32"),
    "more links than a lane's first": Case("star", 41, "muskingum", 3, dtype="float32"),
    "lateral interval": Case("tree", 9, "muskingum", 18, lateral="interval", dtype="float32"),
    "rows of another pitch": Case("tree", 9, "muskingum", 55, dtype="float32", block=38),
    "windows in shared memory": Case("tree", 7, "K40", 29, 2, dtype="float32"),
    "windows that have no room there": Case("tree", 5, "K41", 21, dtype="float32"),
    "one step": Case("tree", 5, "muskingum", 1, 2, dtype="float32"),
}
MORE = {
    "a NaN at the end of the row before": {},
    "a NaN where runoff joins below": {"outlet": True},
}
"""Of `problems.check_row_before`."""


def print_found() -> None:
    """Print the errors of all cases, as JSON; called in a process that interprets."""
    from emulated_ptx import emulate

    from xroute.engine.gpu import adjoint_rows, forward_rows, launch, memory, rows

    emulate(adjoint_rows, forward_rows, rows)
    memory.in_rows = launch.in_rows = lambda runoff: runoff.element_size() == 4  # there is no GPU to ask
    of_nan = {name: check_row_before("float32", **options) for name, options in MORE.items()}
    print(json.dumps({name: check_case(case) for name, case in CASES.items()} | of_nan))


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, tuple[float, float]]]:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import test_rows; test_rows.print_found()"],
        capture_output=True, text=True, env=environment, timeout=600,
    )  # fmt: skip
    assert not run.returncode, run.stderr[-3000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.skipif(find_spec("triton") is None, reason="no triton here: it is for Linux")
@pytest.mark.parametrize("name", [*CASES, *MORE])
def test_emulated_kernels(name, found):
    wrong = {quantity: (value, allowed) for quantity, (value, allowed) in found[name].items() if not value <= allowed}
    assert not wrong, wrong
