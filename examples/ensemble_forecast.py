"""Route a forecast of 50 members from the state of the rivers: `python examples/ensemble_forecast.py [PICTURE]`.

The river and its storms are invented. Put your own network, analysis, forecast and flood flows in their place.
"""

import sys

import numpy as np
import pandas as pd
from matplotlib import pyplot

import xroute

network = xroute.datasets.tutorial()[0].assign_attrs(scheme="muskingum_exact")
rivers = xroute.Network(network)  # keeps what is made of it from run to run

# Three days of analysed runoff, then five days of forecast, laid out as weather services do: number, step, and when it was made
storms = xroute.datasets.storm_runoff(network, 8 * 24, members=50, start="2024-05-01", seed=5)
analysis = storms.isel(member=0, time=slice(0, 72), drop=True)
leads = pd.timedelta_range("0h", periods=120, freq="h")
forecast = (2.5 * storms.isel(time=slice(72, None))).rename(member="number", time="step").assign_attrs(storms.attrs)
forecast = forecast.assign_coords(number=np.arange(1, 51), step=leads, time=storms.time[72].values)
forecast.time.attrs["standard_name"] = "forecast_reference_time"

past, now = analysis.route(rivers, return_state=True)  # the rivers as they are: all members start from here
discharge = forecast.route(rivers, initial_state=now)
_, tomorrow = forecast.isel(step=slice(0, 24)).route(rivers, initial_state=now, return_state=True)  # for the next forecast
tomorrow.to_netcdf("state-tomorrow.nc")

# Flows of 2 and 20 years: Gumbel's distribution, from the mean and the spread of yearly maxima; here of ten years of other storms
years = xroute.datasets.storm_runoff(rivers, 10 * 365, "1D", seed=1).route(rivers).groupby("time.year").max()
spread, floods = years.std("year") * 6**0.5 / np.pi, {}
for period in (2, 20):
    flow = years.mean("year") - spread * (0.5772 + np.log(-np.log(1 - 1 / period)))
    floods[f"{period} years"] = flow.assign_attrs(units="m3 s-1")
chance = xroute.exceedance(discharge, floods, dim="number").max("step")  # the highest of the coming days, reach by reach

mouth = rivers.outlets[0]
for name in floods:
    print(f"at the mouth, more than the flow of {name}: {float(chance.sel(reach=mouth, threshold=name)):.0%} of members")
n_likely = int((chance.sel(threshold="20 years") > 0.5).sum())
print(f"{n_likely} of {rivers.n_reaches} reaches: more likely than not above that of 20 years")

figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.5), layout="constrained", width_ratios=(1.5, 1))
here = {name: float(flow.sel(reach=mouth)) for name, flow in floods.items()}
discharge.route.hydrograph({mouth: "mouth"}, left, members=True, thresholds=here)
likely = chance.sel(threshold="20 years", drop=True).assign_attrs(long_name="chance of more than the flow of 20 years", units="1")
network.river.plot(likely, ax=right)
picture = sys.argv[1] if len(sys.argv) > 1 else "ensemble-forecast.png"
figure.suptitle("A forecast of 50 members, from the state of the rivers")
figure.savefig(picture, dpi=120)
print(f"Saved {picture} and state-tomorrow.nc")
