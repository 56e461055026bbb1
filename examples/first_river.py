"""From a land model's grid, rivers and catchments to discharge and a picture: `python examples/first_river.py [FOLDER]`.

The three files are invented, and look like ERA5-Land's, HydroRIVERS' and a set of catchments; put your own in their place.
"""

import sys
from pathlib import Path

import xarray as xr

import xroute
from xroute.io import write_discharge
from xroute.plotting import choose_gauges, overview

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "first-river")
xroute.datasets.land_surface(folder, overwrite=True)  # era5-land.nc, rivers.gpkg, catchments.gpkg

ds = xr.open_dataset(folder / "era5-land.nc").isel(valid_time=slice(1, None))  # the first value is of the day before
network = xroute.estimate_parameters(folder / "rivers.gpkg", celerity=1.0)  # floods travel at 1 m s-1
weights = xroute.grid_weights(ds.ro, folder / "catchments.gpkg")  # how much of each cell lies in each catchment
hourly = xroute.deaccumulate(ds.ro, "day")  # ERA5-Land's values climb through the day
runoff = xroute.remap(hourly, weights, nan="others")  # m3 of each hour; cells of the sea have none
discharge = runoff.route(network)  # m3 s-1

fell, left = float(runoff.sum()), float(3600.0 * discharge.sel(reach=network.outlets).sum())
gauges = choose_gauges(network)
print(f"{len(network.ids)} reaches: {fell / 1e6:,.0f} million m3 of runoff, of which {left / fell:.0%} have reached the sea.")
for gauge, name in gauges.items():
    flood = discharge.sel(reach=gauge)
    print(f"{name}: {float(flood.max()):,.0f} m3 s-1 on {flood.idxmax('valid_time').dt.strftime('%d %B, %H UTC').item()}")

figure = overview(network, discharge, gauges, runoff=runoff, title="Two storms over an invented basin")
figure.savefig(folder / "discharge.png", dpi=150)
write_discharge(discharge, folder / "discharge.nc", network=network, overwrite=True)
print(f"Saved {folder / 'discharge.png'} and {folder / 'discharge.nc'}")
