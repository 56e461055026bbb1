"""Compiled kernels: said once when they are made, and made anew in each run, with one warning, where they cannot be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xroute.engine import kernels

ROUTE = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import xroute
    import xroute.engine.cpu.adjoint
import xarray as xr
network = xroute.Network(xr.Dataset({"downstream": ("reach", [2, 0])}, {"reach": [1, 2]}))
print(*(f"{w.filename}|{w.message}" for w in caught if "kernels" in str(w.message)), sep="\\n")
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )


def test_where_nothing_can_be_written_kernels_are_compiled_with_one_warning():
    unwritable = "import numba.core.caching as c; getattr(c, \"CacheImpl\", None)._locator_classes = []\n"
    done = run(unwritable + ROUTE)
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("<string>|")
    assert "__pycache__ cannot be written" in lines[0] and "NUMBA_CACHE_DIR" in lines[0]
    assert done.stderr.count("compiling kernels") == 1 and "in every run" in done.stderr


def test_the_first_use_says_that_it_compiles_and_the_second_does_not(tmp_path):
    first, second = (run(ROUTE, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stdout.strip() == second.stdout.strip() == ""
    assert first.stderr.count("compiling kernels") == 1 and "kept for later runs" in first.stderr
    assert "compiling" not in second.stderr


def test_another_error_of_a_kernel_is_not_taken_for_a_read_only_folder(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("something else")

    monkeypatch.setattr(kernels.nb, "njit", broken)
    with pytest.raises(RuntimeError, match="something else"):
        kernels.kernel(lambda: None)


def test_triton_gets_a_folder_of_its_own_where_it_has_none(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(kernels, "_shown", set())
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="TRITON_CACHE_DIR to a folder"):
        kernels.keep_triton_kernels()
    assert Path(os.environ["TRITON_CACHE_DIR"]).is_dir()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "new"))
    kernels.keep_triton_kernels()
    assert os.environ["TRITON_CACHE_DIR"] == str(tmp_path / "new")
