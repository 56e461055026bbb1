"""Files of plain numbers, byte for byte of their content what xarray itself writes, and what is not plain left to it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.engine.cpu import transpose
from xroute.files import plain, writing
from xroute.files.plain import write_plain
from xroute.files.writing import plain_dataset
from xroute.io.cf import cf_dataset

netCDF4 = pytest.importorskip("netCDF4")


def content(path: Path) -> dict[str, Any]:
    """All that a file holds, as it is stored, in its order."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        found: dict[str, Any] = {"": {k: (type(v), v) for k, v in file.__dict__.items()}}
        found["dims"] = [(name, len(dim), dim.isunlimited()) for name, dim in file.dimensions.items()]
        for name, variable in file.variables.items():
            attrs = {k: (type(v), str(v)) for k, v in variable.__dict__.items()}
            stored = variable.filters(), variable.chunking(), variable[...].tobytes()
            found[name] = variable.dtype, variable.dimensions, attrs, stored
        return found


def discharge(freq: str = "3h", n: int = 5, dtype: str = "f4", start: str = "2001-02-03") -> xr.DataArray:
    time = pd.date_range(start, periods=n, freq=freq)
    values = np.random.default_rng(0).random((n, 3)).astype(dtype)
    values[1, 2] = np.nan
    coords = {"time": time, "reach": np.array([2**53 + 1, 7, 5])}
    attrs = {"units": "m3 s-1", "history": "löschen", "time_label": "end"}
    return xr.DataArray(values, coords, ("time", "reach"), "discharge", attrs)


def several() -> dict[str, xr.Dataset]:
    q = discharge()
    network = xroute.datasets.scheidegger(3, 4).assign_attrs(routing_step=900.0)
    member = xr.concat([q, 2 * q], pd.Index([4, 2], name="member")).transpose("time", "member", "reach")
    snapshot = q.isel(time=0, drop=True).to_dataset()
    return {
        "discharge": cf_dataset(q), "halves of seconds": cf_dataset(discharge("500ms", start="2001-02-03 00:00:00.250")),
        "with places": cf_dataset(q.assign_coords(lon=("reach", [1.0, 2, 3]), name=("reach", [1, 2, 3]))),
        "members, not contiguous": cf_dataset(member), "double": cf_dataset(discharge(dtype="f8", start="1601-01-01")),
        "before 1970, nanoseconds": cf_dataset(discharge("1ns", start="1931-05-06 07:08:09.123456789")),
        "network": network, "snapshot": snapshot,
        "numbers": xr.Dataset({"z": 1.5}, attrs={"a": np.float32(0.1), "b": 3, "c": np.int64(2**40), "d": 0.1}),
        "nothing": xr.Dataset({"q": (("time", "reach"), np.empty((0, 3), "f4"))}, {"reach": [1, 2, 3]}),
        "odd names": xr.Dataset({"a b": ("löschen", np.arange(3, dtype="u1"), {"ü": "ä"})}),
        "global coordinates": xr.Dataset(coords={"a": 3, "b": ("x", [1.5, 2.5])}),
    }  # fmt: skip


PLAIN = several()


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("compression", [0, 4])
def test_it_is_the_file_that_xarray_writes(tmp_path: Path, name: str, compression: int, monkeypatch: pytest.MonkeyPatch) -> None:
    writing.write(PLAIN[name], tmp_path / "ours.nc", compression=compression)
    monkeypatch.setattr(writing, "write_plain", lambda *_: False)
    writing.write(PLAIN[name], tmp_path / "its.nc", compression=compression)
    assert content(tmp_path / "ours.nc") == content(tmp_path / "its.nc")
    dataset, encoding = plain_dataset(PLAIN[name])
    assert write_plain(dataset, tmp_path / "again.nc", encoding)
    with xroute.io.open_dataset(tmp_path / "ours.nc") as ours, xroute.io.open_dataset(tmp_path / "its.nc") as its:
        xr.testing.assert_identical(ours.load(), its.load())


@pytest.mark.parametrize("members", [0, 3])
def test_what_lies_with_time_last_is_turned_over(tmp_path: Path, members: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "LARGE", 100)
    lies = np.random.default_rng(1).random((*[members][:members], 13, 29)).astype("f4")
    lies.flat[3] = np.nan
    given = xr.Dataset({"q": (("member", "time", "reach")[not members :], lies.swapaxes(-1, -2))})
    seen: list[bool] = []
    turn = transpose.laid_out
    monkeypatch.setattr(transpose, "laid_out", lambda *a: seen.append(True) or turn(*a))
    writing.write(given, tmp_path / "q.nc")
    with netCDF4.Dataset(tmp_path / "q.nc") as file:
        file.set_auto_maskandscale(False)
        assert file["q"][...].tobytes() == np.ascontiguousarray(lies.swapaxes(-1, -2)).tobytes() and seen == [True]


@pytest.mark.parametrize(
    "given",
    [
        xr.Dataset({"a": ("x", ["text", "ü"])}), xr.Dataset({"a": ("x", [True, False])}),
        xr.Dataset({"a": ("x", pd.date_range("2001", periods=2))}), xr.Dataset({"a": ("x", [1.0, 2.0], {"missing_value": 1.0})}),
        xr.Dataset({"a": ("x", np.array([1, 2], ">i4"))}), xr.Dataset({"a": ("x", np.array([1, 2], "f2"))}),
        xr.Dataset({"a": ("x", [1, 2])}, attrs={"list": ["a", "b"]}), xr.Dataset({"a": ("x", np.array([1, 2], "m8[s]"))}),
        xr.Dataset({"a": ("x", [1.0, 2.0])}).chunk(x=1), xr.Dataset(),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_xarray(tmp_path: Path, given: xr.Dataset) -> None:
    dataset, encoding = plain_dataset(given)
    assert not write_plain(dataset, tmp_path / "file.nc", encoding) and not any(tmp_path.iterdir())


def test_what_cannot_be_written_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    wrong = xr.Dataset({"a": ("x", [1.0, 2.0], {"none": None})})
    with pytest.raises(xroute.XRouteError, match="file.nc.*none"):
        writing.write(wrong, tmp_path / "file.nc")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_byte_order_that_is_spelled_out_neither_warns_nor_changes_numbers(order: str, tmp_path: Path) -> None:
    reach, value = np.array([2**62 + 1, 7], order + "i8"), np.array([0.5, 3.0], order + "f8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Zarr gives such arrays, and netCDF4 warns of them
        writing.write(xr.Dataset({"a": ("reach", value)}, {"reach": reach}), tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as again:
        assert again.reach.values.tolist() == [2**62 + 1, 7]
        assert again.a.values.tolist() == [0.5, 3.0]
