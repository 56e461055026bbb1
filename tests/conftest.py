"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets: XROUTE_TEST_DATA, by default ../shared/data beside the repository."""
    folder = Path(os.environ.get("XROUTE_TEST_DATA") or REPOSITORY / ".." / "shared" / "data")
    if not folder.is_absolute():
        folder = REPOSITORY / folder
    if not (folder / "nasa_lis_4168" / "rapid_connect.csv").exists():
        message = f"no test data in {folder}: set XROUTE_TEST_DATA"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
