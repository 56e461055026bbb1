"""Calibrate travel times to twelve gauges with noise and gaps: `python examples/calibrate_gauges.py [PICTURE]`.

The river is invented, and so the truth is known: the larger the river, the faster its floods. The network that is calibrated has
one celerity for all, a guess. Put your own runoff, network and gauges in their place.
"""

import sys

import numpy as np

import xroute

# A river whose floods run at 0.4 to 1.1 m s-1, by stream order, the same as we guess it, and a year of its runoff
river = xroute.Network(xroute.datasets.tutorial()[0]).basin(25)
celerity = (0.4 * 1.4 ** (river.strahler - 1)).assign_attrs(units="m s-1")
truth = xroute.estimate_parameters(river, "muskingum_exact", celerity=celerity, x=0.3, overwrite=True)
guess = xroute.estimate_parameters(river, "muskingum_exact", celerity=1.2, x=0.1, overwrite=True)
runoff = xroute.datasets.storm_runoff(river, 8 * 365, "3h", seed=4)

# What twelve gauges see of it: wrong by 10 %, and three steps in ten are missing
random = np.random.default_rng(0)
sites = np.sort(random.choice(river.ids[river.n_upstream > 6], 12, replace=False))
seen = runoff.route(truth).sel(reach=sites).rename(reach="gauge")
seen = seen.assign_coords(reach=("gauge", sites), gauge=[f"G{number}" for number in range(1, 13)])
observed = (seen * random.normal(1.0, 0.1, seen.shape)).where(random.uniform(size=seen.shape) > 0.3)

result = xroute.calibrate(
    runoff, guess, observed, parameters={"k": "scale", "x": "value"}, groups="strahler", spinup="10D",
    train=slice("2000-01", "2000-08"), test=slice("2000-09", None),
)  # fmt: skip

print(result)
held_out = result.scores[["nse", "kge", "peak_timing"]].sel(period="test", drop=True)
print(held_out.median("gauge").to_dataframe().round(3))
table = result.curvature.to_dataframe()[["value", "standard_error", "determined", "n_reaches"]]
table["truth"] = np.append(1.2 / (0.4 * 1.4 ** np.arange(4)), np.full(4, 0.3))
print(table.round(3))

picture = sys.argv[1] if len(sys.argv) > 1 else "calibration.png"
result.plot().savefig(picture, dpi=120)
print(f"Saved {picture}")
