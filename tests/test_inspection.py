"""What an inspection says: what a file holds, and the memory that a run of it takes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.inspection import inspect_network, inspect_other, kind

NETWORK = xr.Dataset(
    {"downstream": ("reach", [30, 30, 0]), "tau": ("reach", [3600.0] * 3, {"units": "s"})},
    {"reach": [10, 20, 30]},
    {"scheme": "linear_storage"},
)


def runoff(members: int | None = None) -> xr.DataArray:
    time = pd.date_range("2001-01-01", periods=5, freq="h")
    array = xr.DataArray(np.ones((5, 3)), {"time": time, "reach": [10, 20, 30]}, name="runoff", attrs={"units": "m3 s-1"})
    return array if members is None else array.expand_dims(member=members)


@pytest.mark.parametrize(
    ("members", "dtype", "memory"), [(None, "float64", "240 B"), (4, "float64", "960 B"), (250, "float32", "30 kB")]
)
def test_memory_is_of_runoff_and_discharge_of_all_members(members: int | None, dtype: str, memory: str) -> None:
    facts = dict(inspect_network(NETWORK, runoff=runoff(members), dtype=dtype).facts)
    assert facts["memory"].startswith(f"{memory} for 5 steps in one go (runoff and discharge, {dtype})")


def test_a_file_is_known_by_what_it_holds() -> None:
    discharge, state = runoff().route(NETWORK, return_state=True)
    grid = xr.Dataset({"ro": (("time", "lat", "lon"), np.ones((2, 3, 4)))}, {"lat": [1.0, 2, 3], "lon": [1.0, 2, 3, 4]})
    held = {
        "network": NETWORK, "state": state, "discharge": discharge.to_dataset(), "runoff": runoff().to_dataset(),
        "grid": grid, "other": xr.Dataset({"a": ("b", [1.0, 2.0])}),
    }  # fmt: skip
    assert {what: kind(dataset) for what, dataset in held.items()} == {what: what for what in held}
    for what, dataset in held.items():
        if what != "network":
            report = inspect_other(dataset, what)
            assert report.facts[0][0] == "holds" and "no problems found" not in report.text()


def test_problems_are_all_reported_and_not_the_first_alone() -> None:
    damaged = NETWORK.assign(downstream=("reach", [30, 77, 0]), tau=("reach", [3600.0, np.nan, -1.0], {"units": "s"}))
    report = inspect_network(damaged, runoff=runoff().isel(reach=[0, 1]).where(lambda x: x.time > x.time[0]))
    for words in ("77", "NaN", "must be", "2 values of the runoff are missing", "1 reaches have no runoff"):
        assert any(words in problem for problem in report.problems), (words, report.problems)
    with pytest.raises(xroute.NetworkError):
        xroute.Network(damaged)
