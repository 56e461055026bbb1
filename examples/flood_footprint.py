"""Where and when the water of a flood's peak came from: `python examples/flood_footprint.py [PICTURE]`.

The river and its two storms are invented; put your own network, runoff and gauge in their place.
"""

import sys

import numpy as np
from matplotlib import pyplot

import xroute
from xroute.plotting import plot_network

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

depth = 1e-3 * water.sum("time") / network["area"]  # m3 on km2 are so many mm
depth = depth.rename("depth").assign_attrs(long_name="runoff that was part of the peak", units="mm")
heart = depth.sortby(depth, ascending=False)
area = network["area"].sel(reach=heart["reach"]).cumsum() / network["area"].sum()
share = (heart * network["area"].sel(reach=heart["reach"])).cumsum() / (depth * network["area"]).sum()
print(f"half of it came from {float(area[share > 0.5][0]):.0%} of the basin")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.8), layout="constrained", width_ratios=(1, 1.3))
plot_network(network, depth, ax=left)
left.set_title("Where it came from")
(by_hour / 1e6).plot(drawstyle="steps-mid", color="#0072B2", label="runoff that became part of the peak", ax=right)
right.set(title="When it ran off the land", xlabel="", ylabel="Runoff [million m³ per hour]")
flood = right.twinx()
discharge.plot(color="#30383f", label="discharge", ax=flood)
flood.axvspan(window.start, window.stop, color="#D55E00", alpha=0.15, label="day of the peak")
flood.set(title="", ylabel="Discharge [m³ s⁻¹]", ylim=(0, None))
right.legend(loc="upper right")
flood.legend(loc="center right")
picture = sys.argv[1] if len(sys.argv) > 1 else "flood-footprint.png"
figure.savefig(picture, dpi=120)
print(f"Saved {picture}")
