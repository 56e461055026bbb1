"""The files that README.md speaks of, made in a folder, so that its code and commands can be run as they stand there.

| name | what it is |
|---|---|
| `network.zarr`, `network.nc` | a basin of 35 reaches: scheme `muskingum_exact`, areas, `lon` and `lat` |
| `runoff.nc`, `runoff.zarr` | its `runoff(time, reach)` [mm h-1], a value a day from 1990 to 2009 |
| `gauges.csv` | discharge [m3 s-1] that was observed at three of its reaches: `time`, and a column a reach |
| `era5-land.nc`, `rivers.gpkg`, `catchments.gpkg` | as `xroute.datasets.land_surface` writes them |
| `RAPID_FOLDER`, `NWM_FOLDER` | as `xroute.datasets.rapid_folder` and `nwm_folder` write them |
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr

import xroute

OUTLET = 146  # of 35 reaches
STEPS = 7305  # days of twenty years


def write_readme_files(folder: Path) -> None:
    """Write them all."""
    network = basin()
    runoff = xroute.datasets.storm_runoff(network, STEPS, "1D", start="1990-01-01", units="mm h-1").to_dataset()
    for name, dataset in (("network", network), ("runoff", runoff)):
        dataset.to_netcdf(folder / f"{name}.nc")
        dataset.to_zarr(folder / f"{name}.zarr")
    slower = network.assign(k=1.4 * network["k"])  # what a calibration is to find
    observed = runoff["runoff"].route(slower).sel(reach=list(gauges(network)))
    observed.transpose("time", "reach").to_pandas().to_csv(folder / "gauges.csv", index_label="time")
    xroute.datasets.land_surface(folder, days=2)
    xroute.datasets.rapid_folder(folder / "RAPID_FOLDER")
    xroute.datasets.nwm_folder(folder / "NWM_FOLDER")


def basin() -> xr.Dataset:
    """A part of the tutorial's river that is small enough for calibrations."""
    network = xroute.Network(xroute.datasets.tutorial()[0])
    return network.basin(OUTLET).dataset.assign_attrs(scheme="muskingum_exact")  # which days are not too long for


def gauges(network: xr.Dataset) -> list[int]:
    """Outlet, and two reaches further up."""
    return network["reach"].values[[0, 3, 8]].tolist()
