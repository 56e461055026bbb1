"""What other systems' layouts have no place for is refused, and a folder that was exported is read again by one command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

from xroute.cli import main
from xroute.exceptions import TimeAxisError, UnitsError
from xroute.io import ddr, export, nwm, rapid, rapid2, troute


def river(ids, to):
    size = len(ids)
    return xr.Dataset(
        {
            "downstream": ("reach", to), "k": ("reach", np.full(size, 3600.0), {"units": "s"}),
            "x": ("reach", np.full(size, 0.2)),
            "area": ("reach", 1e6 * np.arange(1, size + 1), {"units": "m2"}),
        },
        {"reach": ids},
        {"scheme": "muskingum"},
    )  # fmt: skip


def flow(network, units="m3 s-1", times=None):
    times = pd.date_range("2001-02-27", periods=3, freq="h") if times is None else times
    values = np.arange(3.0 * network.sizes["reach"]).reshape(3, -1)
    attrs = {"units": units, "time_label": "start"}
    return xr.DataArray(values, {"time": times, "reach": network.reach.values}, ("time", "reach"), "discharge", attrs)


@pytest.mark.parametrize("writer, name", [
    (rapid, "Qout.nc"), (rapid2, "Qout.nc4"), (ddr, "chrout.zarr"), (nwm, "output"), (troute, "out.nc"),
])  # fmt: skip
def test_discharge_as_a_depth_is_refused(writer, name, tmp_path: Path):
    # It is of the whole area upstream: the network's areas, of each reach alone, would make something else of it in silence.
    network = river([11, 12, 13], [13, 13, 0])
    given = () if writer is troute else (network,)
    with pytest.raises(UnitsError, match="a depth.*whole area"):
        writer.write_discharge(flow(network, "mm/h"), tmp_path / name, *given)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_water_model_is_read_back_by_one_command(tmp_path: Path):
    network = river([3000000012, 3000000011, 3000000013], [3000000013, 3000000013, 0])
    runoff, discharge = flow(network).rename("runoff"), flow(network) + 7.0
    export("nwm", tmp_path / "nwm", network=network, runoff=runoff, discharge=discharge.assign_attrs(runoff.attrs))
    files = {name: tmp_path / f"{name}.nc" for name in ("network", "runoff", "discharge")}
    options = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    result = CliRunner().invoke(main, ["convert", "nwm", str(tmp_path / "nwm"), *options])
    assert result.exit_code == 0, result.output
    for name, truth in (("runoff", runoff), ("discharge", discharge)):
        with xr.open_dataset(files[name]) as found:
            got = found[name].sel(reach=network.reach.values).transpose("time", "reach")
            np.testing.assert_array_equal(got.values, truth.values)


def test_counted_columns_have_no_place_for_days_that_a_calendar_lacks(tmp_path: Path):
    network = river([11], [0])
    times = xr.date_range("2000-02-27", periods=3, freq="D", calendar="noleap", use_cftime=True)  # no 29 February
    with pytest.raises(TimeAxisError, match="counted.*stream"):
        troute.write_discharge(flow(network, times=times), tmp_path / "flowveldepth.csv")
    assert not list(tmp_path.iterdir())
