"""`xroute.exceedance`: shares by counting, labels, units, gaps, and nothing computed before it is asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute import AlignmentError, ParameterError, UnitsError

IDS = np.array([2**60 + 1, 7, 2**60, -3])
M3 = {"units": "m3 s-1"}


def ensemble(n: int = 5, gaps: float = 0.0, seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 10, (3, n, 4)).astype(float)  # many stand at a threshold
    values[rng.random(values.shape) < gaps] = np.nan
    time = pd.date_range("2001-01-01", periods=3, freq="D")
    coords = {"time": time, "member": np.arange(n), "reach": IDS, "name": ("reach", list("abcd"))}
    return xr.DataArray(values, coords, ("time", "member", "reach"), attrs=M3, name="discharge")


def counted(values: np.ndarray, limit: float, strict: bool) -> float:
    """Share of some values, one by one."""
    known = [v for v in values.tolist() if not np.isnan(v)]
    if not known or np.isnan(limit):
        return np.nan
    return sum(v > limit if strict else v >= limit for v in known) / len(known)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("gaps", [0.0, 0.6])
def test_shares_are_counts_by_label(strict: bool, gaps: float) -> None:
    q = ensemble(3, gaps)
    flows = {int(i): limit for i, limit in zip(IDS, (3.0, 5.0, np.nan, 0.0), strict=True)}
    order = [IDS[2], IDS[0], IDS[3], IDS[1], 99]  # another order, and one more
    limits = xr.DataArray([flows.get(int(i), 1.0) for i in order], {"reach": order}, attrs=M3)
    found = xroute.exceedance(q, limits, strict=strict)
    assert found.dims == ("time", "reach") and found.name == "exceedance" and found.attrs["units"] == "1"
    assert found["name"].values.tolist() == list("abcd") and found["reach"].values.tolist() == IDS.tolist()
    for t in range(3):
        for k, i in enumerate(IDS):
            expected = counted(q.values[t, :, k], flows[int(i)], strict)
            np.testing.assert_equal(found.values[t, k], expected)


def test_several_thresholds_and_dimensions() -> None:
    q = ensemble()
    named = xroute.exceedance(q, {"low": 2.0, "high": xr.DataArray([8.0, 1.0, 8.0, 8.0], {"reach": IDS})}, ["member", "time"])
    assert named.dims == ("reach", "threshold") and named.threshold.values.tolist() == ["low", "high"]
    assert named.sel(reach=7, threshold="high") == (q.sel(reach=7) > 1.0).mean()
    numbers = xroute.exceedance(q, [2, 8], "time")
    assert numbers.dims == ("member", "reach", "threshold") and numbers.threshold.attrs == M3
    np.testing.assert_array_equal(numbers.sel(threshold=8), (q > 8).mean("time"))
    periods = xr.DataArray(np.arange(8.0).reshape(2, 4), {"return_period": [2, 20], "reach": IDS}, ("return_period", "reach"))
    found = xroute.exceedance(q, periods)
    assert found.dims == ("time", "reach", "return_period") and found.return_period.values.tolist() == [2, 20]
    np.testing.assert_array_equal(found.sel(return_period=20), (q > periods.sel(return_period=20)).mean("member"))
    table = xr.Dataset({"q2": periods[0].drop_vars("return_period"), "q20": periods[1].drop_vars("return_period")})
    np.testing.assert_array_equal(xroute.exceedance(q, table).values, found.values)
    each = xroute.exceedance(q, xr.DataArray([0.0, np.nan, 9.0, 9.0, 9.0], {"member": np.arange(5)}))  # a climatology a member
    np.testing.assert_array_equal(each, (q.sel(member=0) > 0.0) / 4)


def test_units_are_converted_or_refused() -> None:
    pint = pytest.importorskip("pint")
    q = ensemble()
    expected = xroute.exceedance(q, 4.0)
    for limit in (xr.DataArray(4000.0, attrs={"units": "L/s"}), pint.Quantity(4000.0, "L/s"), {"a": xr.DataArray(4.0, attrs=M3)}):
        np.testing.assert_array_equal(xroute.exceedance(q, limit).squeeze(), expected)
    quantity = q.copy(data=pint.Quantity(q.values, "m3/s")).drop_attrs()
    np.testing.assert_array_equal(xroute.exceedance(quantity, pint.Quantity(4.0, "m3/s")), expected)
    with pytest.raises(UnitsError, match="'mm'.*'m3 s-1'"):
        xroute.exceedance(q, xr.DataArray(4.0, attrs={"units": "mm"}))
    with pytest.warns(UserWarning, match="discharge has no units"):
        xroute.exceedance(q.drop_attrs(), xr.DataArray(4.0, attrs=M3))


def test_what_is_refused() -> None:
    q = ensemble()
    with pytest.raises(AlignmentError, match="'number'.*'time', 'member', 'reach'"):
        xroute.exceedance(q, 1.0, "number")
    with pytest.raises(AlignmentError, match=f"lack 2 of the 4 labels of 'reach'.*{2**60}, -3"):
        xroute.exceedance(q, xr.DataArray([1.0, 2.0], {"reach": IDS[:2]}))
    with pytest.raises(AlignmentError, match="'reach' has labels on one side only"):
        xroute.exceedance(q, xr.DataArray(np.ones(4), dims="reach"))
    with pytest.raises(AlignmentError, match="integers in discharge, and text"):
        xroute.exceedance(q, xr.DataArray(np.ones(4), {"reach": IDS.astype(str)}))
    with pytest.raises(AlignmentError, match="exact|whole|large"):
        xroute.exceedance(q, xr.DataArray(np.ones(4), {"reach": IDS.astype(float)}))
    with pytest.raises(AlignmentError, match="more than once: 7"):
        xroute.exceedance(q, xr.DataArray(np.ones(5), {"reach": [*IDS, 7]}))
    with pytest.raises(ParameterError, match="need names"):
        xroute.exceedance(q, np.ones((2, 2)))
    with pytest.raises(ParameterError, match="are numbers"):
        xroute.exceedance(q, "high")
    with pytest.raises(ParameterError, match="no thresholds"):
        xroute.exceedance(q, {})


def test_lazy_stays_lazy() -> None:
    dask = pytest.importorskip("dask")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    q, limits = ensemble(6, 0.3), xr.DataArray([1.0, 2.0, 3.0, 4.0], {"reach": IDS[::-1]})
    with dask.config.set(scheduler=refuse):
        found = xroute.exceedance(q.chunk(member=2, reach=3), {"a": limits.chunk(), "b": 3.0})
    assert found.chunks is not None
    xr.testing.assert_identical(found.compute(scheduler="synchronous"), xroute.exceedance(q, {"a": limits, "b": 3.0}))
