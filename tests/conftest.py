"""Fixtures that several test files share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import dask
import pytest
from hypothesis import settings

import xroute

settings.register_profile("xroute", deadline=None)  # a first call compiles
settings.load_profile("xroute")
# Workers that start on a busy machine may be silent for longer than distributed waits.
dask.config.set({"distributed.comm.timeouts.connect": "300s", "distributed.comm.timeouts.tcp": "300s"})

REPOSITORY = Path(__file__).resolve().parent.parent
TRITON = re.compile(r"^(import|from) (triton|xroute\.engine\.(gpu|lanes))\b", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    """Ask no examples of the modules that import Triton where there is none (it is for Linux), or bmipy."""
    if find_spec("triton") is None:
        engine = (REPOSITORY / "xroute" / "engine").rglob("*.py")
        without = [str(path) for path in engine if TRITON.search(path.read_text("utf-8"))]
        config.option.ignore = [*(config.option.ignore or []), *without]
    if find_spec("bmipy") is None:
        config.option.ignore = [*(config.option.ignore or []), str(REPOSITORY / "xroute" / "bmi")]


def find_data(name: str) -> Path:
    """Folder of a real data set, in XROUTE_TEST_DATA or ../shared/data beside the repository; "none": there is none here."""
    where = os.environ.get("XROUTE_TEST_DATA") or "../shared/data"
    if where == "none":
        pytest.skip(f"no {name}: XROUTE_TEST_DATA=none says that there are no test data here")
    folder = REPOSITORY / where / name
    if not folder.is_dir():
        message = f"no test data in {folder}: set XROUTE_TEST_DATA"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """The folder of a real data set, by its name; without it the test is skipped, and fails on CI, but not where it is "none"."""
    return find_data


@pytest.fixture(autouse=True)
def cpu_unless_asked() -> Iterator[None]:
    """Tests compute on the CPU, also where there is a GPU, unless they say otherwise or XROUTE_TEST_DEVICE does."""
    with xroute.set_options(device=os.environ.get("XROUTE_TEST_DEVICE", "cpu")):
        yield
