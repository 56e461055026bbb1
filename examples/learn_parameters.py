"""Learn travel times from what maps say, and take them to another basin: `python examples/learn_parameters.py [PICTURE]`.

Both rivers are invented: celerity follows slope, size and forest by a law that the model is not told. It is trained on one basin,
by twelve gauges with noise and gaps, and says what the parameters of another are, which it has never seen.
"""

import sys

import numpy as np
from matplotlib import pyplot

import xroute


def river(seed, outlet):
    """A river as it is, and the same with one celerity for all, as one has to guess it: Networks with attributes."""
    network = xroute.Network(xroute.datasets.tutorial(seed)[0]).basin(outlet)
    network = network.assign(xroute.datasets.attributes(network, seed))
    size, steepness = network["uparea"] / 100, network["slope"] / 0.005
    celerity = 1.2 * size**0.15 * steepness**0.4 * (1 - 0.5 * network["forest"])
    celerity = celerity.assign_attrs(units="m s-1")
    made = [xroute.estimate_parameters(network, "muskingum_exact", celerity=c, x=0.2, overwrite=True) for c in (celerity, 1.0)]
    return made


truth, guess = river(seed=3, outlet=145)
unseen_truth, unseen_guess = river(seed=5, outlet=18)

random = np.random.default_rng(0)
gauges = np.sort(random.choice(truth.ids, 12, replace=False))
runoff = xroute.datasets.storm_runoff(truth, 8 * 180, "3h", seed=2)
seen = runoff.route(truth).sel(reach=gauges)
observed = (seen * random.normal(1.0, 0.1, seen.shape)).where(random.uniform(size=seen.shape) > 0.2)

model = xroute.ParameterModel(["uparea", "slope", "forest", "width"], parameters=["k"], hidden=(16,))
model.fit(runoff, guess, observed, spinup="10D", train=slice(None, "2000-04"), test=slice("2000-05", None), epochs=100)
learned = model.predict(unseen_guess)

flood = xroute.datasets.storm_runoff(unseen_truth, 8 * 60, "3h", seed=9)
true_flood = flood.route(unseen_truth)
runs = {"learned": flood.route(learned), "one celerity": flood.route(unseen_guess)}
inner = unseen_truth.ids[unseen_truth.n_upstream > 4]
scores = xroute.scores(runs, true_flood.sel(reach=inner), metrics=["nse", "peak_timing"])
print(scores[["nse", "peak_timing"]].median("reach").to_dataframe().round(3))

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.4), layout="constrained", width_ratios=(1, 1.8))
for name, network, color in (("one celerity", unseen_guess, "#E69F00"), ("learned", learned, "#0072B2")):
    hours = [values["k"] / 3600 for values in (unseen_truth, network)]
    error = float(np.exp(np.abs(np.log(hours[1] / hours[0])).median()) - 1)
    print(f"{name}: travel times are wrong by {error:.0%} (median)")
    left.plot(*hours, ".", color=color, label=f"{name}: wrong by {error:.0%}")
    runs[name].sel(reach=unseen_truth.outlets[0]).plot(color=color, label=name, ax=right)
left.axline((1, 1), slope=1, color="k", lw=0.8)
left.set(title="Basin that was never seen", xlabel="True travel time of a reach [h]", ylabel="Travel time [h]")
left.legend()
true_flood.sel(reach=unseen_truth.outlets[0]).plot(color="k", ls=":", label="truth", ax=right)
right.set(title="Discharge at its mouth", xlabel="")
right.legend()
picture = sys.argv[1] if len(sys.argv) > 1 else "learned-parameters.png"
figure.savefig(picture, dpi=120)
print(f"Saved {picture}")
