"""Traps: what happens on machines that are not ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# ── it installs anywhere ────────────────────────────────────────────────────────────────────────────────────────────────

BARE = """
import os, sys
for name in {names}:
    sys.modules[name] = None  # importing it raises ImportError, as where it is not installed
if hasattr(os, "sched_getaffinity"):
    del os.sched_getaffinity
    os.process_cpu_count = os.cpu_count  # as Python 3.13 has it where there is no such call
import numpy as np, torch, xarray as xr
import xroute
network = xroute.Network(xr.Dataset(
    {{"downstream": ("reach", [2, 0]), "tau": ("reach", [3600.0, 3600.0])}}, {{"reach": [1, 2]}}, {{"scheme": "linear_storage"}}
))
hours = np.datetime64("2001-01-01") + np.arange(400) * np.timedelta64(1, "h")
runoff = xr.DataArray(np.zeros((400, 2)), {{"time": hours, "reach": [1, 2]}}, ("time", "reach"), attrs={{"units": "m3 s-1"}})
runoff[0, 0] = 1.0
discharge = runoff.route(network)
print(float(discharge.sel(reach=2).sum()))
router = xroute.Router(network, dt="1h", learnable=("tau",))
router(torch.as_tensor(runoff.values.T[None])).sum().backward()
print(sorted(name for name in {names} if sys.modules[name] is not None))
"""


def without(*names: str) -> list[str]:
    """What a process that cannot import ``names`` prints: the water that leaves a river of two reaches, and ``[]``."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BARE.format(names=names)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert not run.returncode, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize(
    "names",
    [
        ("triton",),
        ("netCDF4", "h5netcdf", "h5py", "cftime", "zarr", "pyarrow", "dask", "distributed", "matplotlib", "networkx"),
        ("fcntl", "pwd", "grp", "resource"),
    ],
    ids=["on a Mac", "no extras", "on Windows"],
)
def test_a_bare_machine_routes_and_learns(names):
    water, imported = without(*names)
    assert float(water) == pytest.approx(1.0, abs=1e-12)
    assert imported == "[]"
