"""Lakes from tables: each way to their residence time against a closed form, units, and what a table may not say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import NetworkError, ParameterError, UnitsError

RIVER = xr.Dataset(
    {"downstream": ("reach", [2, 3, 0]), "k": ("reach", [1.0, 2.0, 3.0], {"units": "h"}), "x": ("reach", [0.1, 0.2, 0.3])},
    {"reach": [1, 2, 3]}, {"scheme": "muskingum"},
)  # fmt: skip


def test_a_level_pool_is_linear_around_its_discharge():
    """tau is the slope of storage over outflow, here by differences: Q = c h^b, S = A h."""
    area, c, b, flow = 3e6, 25.0, 1.5, 80.0
    made = xroute.lakes(RIVER, pd.DataFrame({"reach": [2], "area": area, "coefficient": c, "exponent": b, "discharge": flow}))
    heights = [((flow + step) / c) ** (1 / b) for step in (-1e-3, 1e-3)]
    assert float(made["tau"].sel(reach=2)) == pytest.approx(area * (heights[1] - heights[0]) / 2e-3, rel=1e-7)
    assert np.isnan(made["tau"].sel(reach=[1, 3])).all()
    assert made["scheme"].values.tolist() == ["muskingum", "linear_storage", "muskingum"]


def test_ways_and_units():
    days = xroute.lakes(RIVER, pd.Series({2: 10.0, 3: 20.0}, name="tau").rename_axis("reach").to_frame(), units={"tau": "d"})
    volumes = {"reach": [3, 2], "storage": [172.8, 86.4], "discharge": [100.0, 100.0]}
    ratio = xroute.lakes(RIVER, volumes, units={"storage": "1e6 m3"})
    dataset = xr.Dataset({"tau": ("reach", [240.0, 480.0], {"units": "h"})}, {"reach": [2, 3]})
    for made in (days, ratio, xroute.lakes(RIVER, dataset)):
        np.testing.assert_allclose(made["tau"].values[1:], [864000.0, 1728000.0])
    assert isinstance(xroute.lakes(xroute.Network(RIVER), dataset), xroute.Network)


def test_routed():
    """A lake's response to a pulse decays by its residence time; the reaches above and below go on as they were."""
    time = pd.date_range("2001-01-01", periods=400, freq="h")
    pulse = np.zeros((400, 3))
    pulse[0, 1] = 1.0
    runoff = xr.DataArray(pulse, {"time": time, "reach": [1, 2, 3]}, ("time", "reach"), attrs={"units": "m3 s-1"})
    made = xroute.lakes(RIVER, {"reach": [2], "tau": [36000.0]})
    q = runoff.route(made).sel(reach=2).values
    assert q.sum() == pytest.approx(1.0, rel=1e-12) and (q @ np.arange(400)) == pytest.approx(10.0, rel=1e-6)
    rain = runoff.copy(data=np.roll(pulse, -1, axis=1))
    np.testing.assert_array_equal(rain.route(made).sel(reach=1), rain.route(RIVER).sel(reach=1))


@pytest.mark.parametrize(("table", "error", "match"), [
    ({"reach": [7], "tau": [1.0]}, NetworkError, "not in the network: 7"),
    ({"reach": [2, 2], "tau": [1.0, 2.0]}, NetworkError, "several lakes: 2"),
    ({"reach": [2], "tau": [-1.0]}, ParameterError, "not positive on 1 lakes: 2"),
    ({"reach": [2], "storage": [1.0], "discharge": [0.0]}, ParameterError, "infinite"),
    ({"reach": [2], "area": [1.0]}, ParameterError, "does not say"),
    ({"reach": [2], "tau": [1.0], "storage": [1.0], "discharge": [1.0]}, ParameterError, "several ways"),
    (xr.Dataset({"tau": ("reach", [1.0], {"units": "m"})}, {"reach": [2]}), UnitsError, "'tau' of lakes"),
])  # fmt: skip
def test_refused(table, error, match):
    with pytest.raises(error, match=match):
        xroute.lakes(RIVER, table)
