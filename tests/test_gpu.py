"""The GPU kernel against the reference: on a GPU where there is one, else through Triton's interpreter on tiny networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

CASES = [  # scheme, lateral, sampling, substeps, steps, lanes, dtype
    ("muskingum", "head", "mean", 1, 7, 4, "float64"),  # two blocks of time in one launch
    ("muskingum", "interval", "start-mean", 3, 5, 8, "float64"),
    ("muskingum", "outlet", "last", 1, 1, 4, "float32"),
    ("linear_storage", "head", "mean", 1, 5, 4, "float32"),
    ("hayami", "outlet", "mean", 2, 5, 4, "float64"),  # windows longer than a block
    ("mixed", "head", "last", 1, 6, 4, "float64"),
    ("muskingum", "head", "mean", 1, 4, 4, "float16"),
]
TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3}


def errors(scheme: str, lateral: str, sampling: str, substeps: int, steps: int, lanes: int, dtype: str) -> list[float]:
    """Largest errors of discharge, outflow and lags relative to the peak, on a tiny bifurcating network."""
    from xroute.engine.gpu import prepare_filter, route_gpu
    from xroute.engine.reference import route_reference
    from xroute.plan import make_plan
    from xroute.schemes import make_filter

    upstream = np.array([0, 1, 2, 3, 3, 4, 5, 6, 8])  # 3 parts into 4 and 5, which meet again in 6; 9 stands alone
    downstream = np.array([2, 2, 3, 4, 5, 6, 6, 7, 7])
    weight = np.array([1, 1, 1, 0.7, 0.2, 1, 1, 1, 1.0])
    n = 10
    plan = make_plan(upstream, downstream, weight, n)
    rng = np.random.default_rng(0)
    parameters = {
        "muskingum": {"k": rng.uniform(1000, 5000, n), "x": rng.uniform(0, 0.3, n)},
        "linear_storage": {"tau": rng.uniform(1000, 9000, n)},
        "hayami": {"length": np.full(n, 2e3), "diffusivity": np.full(n, 900.0), "celerity": rng.uniform(1, 2, n)},
    }
    everywhere = np.arange(n)
    if scheme == "mixed":
        chosen = {
            name: (everywhere[k::3], {p: v[k::3] for p, v in parameters[name].items()})
            for k, name in enumerate(parameters)
        }
    else:
        chosen = {scheme: (everywhere, parameters[scheme])}
    made = make_filter(chosen, 3600 / substeps, n, lateral=lateral)  # type: ignore[arg-type]
    taps, pointer, pole, gain = made.arrays()
    kernels = np.split(taps, pointer[1:-1])
    number = getattr(torch, dtype)
    runoff = torch.from_numpy(rng.random((2, n, steps))).to(number)
    outflow = rng.random((2, n))
    history = rng.random((2, int(pointer[-1]) - n))
    lags = np.zeros((2, n, max(map(len, kernels)) - 1))
    for i, kernel in enumerate(kernels):
        lags[:, i, : len(kernel) - 1] = history[:, pointer[i] - i : pointer[i + 1] - i - 1]
    expected, expected_lags, expected_last = route_reference(
        runoff.double().numpy(), (upstream, downstream, weight), kernels, pole, gain, substeps=substeps,
        sampling=sampling, lateral=lateral, inflow_history=lags, outflow=outflow,
    )  # fmt: skip
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arithmetic = torch.float64 if dtype == "float64" else torch.float32
    prepared = prepare_filter(plan, made.taps, made.pointer, made.pole, made.gain, device, arithmetic)
    got, got_lags, got_last = route_gpu(
        runoff.to(device), plan, prepared, torch.from_numpy(history), torch.from_numpy(outflow), substeps=substeps,
        sampling=sampling, lateral=lateral, lanes=lanes,
    )  # fmt: skip
    assert got.dtype == number and got_lags is not None and got_last is not None
    flat = np.concatenate([expected_lags[:, i, : len(k) - 1] for i, k in enumerate(kernels)], axis=1)
    pairs = [(got, expected), (got_last, expected_last), (got_lags, flat)]
    peak = np.abs(expected).max()
    return [float(np.abs(a.double().cpu().numpy() - b).max(initial=0) / peak) for a, b in pairs]


@pytest.fixture(scope="module")
def found() -> dict[str, list[float]]:
    """Errors of every case; on a machine without a GPU from one process in which Triton interprets its kernels."""
    if torch.cuda.is_available():
        return {str(case): errors(*case) for case in CASES}
    code = "import json, test_gpu as t; print(json.dumps({str(c): t.errors(*c) for c in t.CASES}))"
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.xdist_group("gpu")
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_kernel_equals_reference(found, case):
    assert max(found[str(case)]) < TOLERANCE[case[-1]]
