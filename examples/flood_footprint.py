"""Where and when the water of a flood's peak came from: `python examples/flood_footprint.py [PICTURE]`.

The river and its two storms are invented; put your own network, runoff and gauge in their place.
"""

import sys

import numpy as np

import xroute
from xroute.plotting import plot_footprint

tutorial, ds = xroute.datasets.tutorial()
network = xroute.Network(tutorial)
runoff = ds.runoff.astype(float)  # mm h-1
gauge = network.outlets[0]
discharge = runoff.route(network).sel(reach=gauge)  # m3 s-1

peak = discharge.idxmax("time").values
window = slice(peak - np.timedelta64(11, "h"), peak + np.timedelta64(12, "h"))
water = xroute.footprint(network, gauge, runoff, window=window)  # m3 of each reach's runoff in each hour

passed = float(discharge.sel(time=window).sum()) * 3600
print(f"{passed / 1e6:.1f} million m3 passed reach {gauge} in the day about {np.datetime_as_string(peak, 'm')};")
print(f"the footprint adds up to {float(water.sum()) / passed:.4%} of that")

by_hour = water.sum("reach")
age = (peak - by_hour["time"]) / np.timedelta64(1, "h")
mean = float((age * by_hour).sum() / by_hour.sum())
young = float(by_hour.where(age <= 48, 0.0).sum() / by_hour.sum())
print(f"it had run off the land {mean:.0f} hours before the peak on average, {young:.0%} of it in the last two days")

volume = water.sum("time").sortby(water.sum("time"), ascending=False)
area = network["area"].sel(reach=volume["reach"])
half = int((volume.cumsum() < 0.5 * volume.sum()).sum()) + 1
print(f"half of it came from {half} of {network.n_reaches} reaches, {float(area[:half].sum() / area.sum()):.0%} of the basin")

picture = sys.argv[1] if len(sys.argv) > 1 else "flood-footprint.png"
plot_footprint(network, water, title=f"Where the peak of {np.datetime_as_string(peak, 'D')} came from").savefig(picture, dpi=120)
print(f"Saved {picture}")
