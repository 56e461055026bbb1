"""Find the numbers of a runoff model through the river, by what six gauges saw: `python examples/runoff_buckets.py [PICTURE]`.

Two buckets, soil and groundwater, make runoff of rain and potential evaporation; the river carries it to the gauges. They find
the numbers that the runoff was made with. Without the river, trained by runoff that is summed up, they do not.
"""

import sys

import numpy as np
import torch
from matplotlib import pyplot

import xroute
from xroute.losses import nse, spread_of

START = {"capacity": 250.0, "shape": 1.0, "soil": 15.0, "ground": 15.0}  # mm, 1, days, days
TRUE = {"capacity": 120.0, "shape": 3.0, "soil": 8.0, "ground": 25.0}


class Buckets(torch.nn.Module):
    """Rain and potential evaporation [mm d-1] to runoff and evaporation [mm d-1] and water stored [mm]."""

    def __init__(self, numbers):
        super().__init__()
        self.logs = torch.nn.ParameterDict({name: torch.tensor(value).log() for name, value in numbers.items()})

    def forward(self, rain, demand):
        capacity, shape, soil, ground = (self.logs[name].exp() for name in START)
        wet, deep, days = capacity.expand(rain.shape[:-1]) / 2, torch.zeros_like(rain[..., 0]), []
        for fell, wanted in zip(rain.unbind(-1), demand.unbind(-1), strict=True):
            share = (wet / capacity).clamp(1e-6, 1.0)
            quick, dried = fell * share**shape, torch.minimum(wanted * share, wet)  # a wet soil sheds more, and evaporates more
            wet = wet + fell - quick - dried
            spilt = (wet - capacity).clamp(min=0.0)
            drained = (wet - spilt) * (1 - torch.exp(-1 / soil))
            slow = (deep + drained) * (1 - torch.exp(-1 / ground))
            wet, deep = wet - spilt - drained, deep + drained - slow
            days.append(torch.stack([quick + spilt + slow, dried, wet + deep]))
        return torch.stack(days, -1)


def windows(series):
    """Windows of 230 days of the first two years: [window, reach or gauge, day]. Their first 90 days only fill the stores."""
    return series[..., :730].unfold(-1, 230, 125).movedim(-2, 0)


# A slow river, its weather, and what six gauges see: a day in five is missing, and the others are wrong by 10 %.
tutorial, _ = xroute.datasets.tutorial()
network = xroute.Network(tutorial).basin(145)
network = network.assign(k=4 * network.dataset.k)
weather = xroute.datasets.forcing(tutorial, 3 * 365, "1D", seed=1).sel(reach=network.ids)
gauges = network.ids[np.argsort(-network.n_upstream.values)[[0, 5, 12, 20, 30, 40]]]
rain, demand = (torch.tensor(24 * weather[name].transpose("reach", "time").values) for name in weather)  # mm d-1
flow = torch.tensor(network.dataset.area.values[:, None] / 86.4, dtype=torch.float32)  # m3 s-1 that 1 mm d-1 makes
router, random = xroute.Router(network, dt="1D", substeps="auto"), np.random.default_rng(0)
with torch.no_grad():
    observed = router.array(router(flow * Buckets(TRUE)(rain, demand)[0]), like=weather.precipitation).sel(reach=gauges)
observed = (observed * np.exp(random.normal(0.0, 0.1, observed.shape))).where(random.uniform(size=observed.shape) > 0.2)
seen, at = torch.tensor(observed.transpose("reach", "time").values), network.position(gauges)
above = np.array([np.isin(network.ids, network.upstream(gauge)) for gauge in gauges])
ways = {"river": lambda runoff: router(runoff)[..., at, :], "no river": lambda runoff: torch.tensor(above).float() @ runoff}
found = {}
for way, carry in ways.items():
    model = Buckets(START)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.12)
    for _ in range(60):
        optimizer.zero_grad()
        runoff, *_ = model(windows(rain), windows(demand))
        nse(carry(flow * runoff)[..., 90:], windows(seen)[..., 90:], spread=spread_of(seen)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        runoff, evaporated, stored = model(rain, demand)
        found[way] = router.array(router(flow * runoff), like=weather.precipitation)
    lost = (rain - runoff - evaporated)[:, 1:].sum(1) - (stored[:, -1] - stored[:, 0])
    numbers = ", ".join(f"{name} {model.logs[name].exp().item():.3g} ({true:g})" for name, true in TRUE.items())
    print(f"{way}: {numbers}; of {rain.sum(1).mean():,.0f} mm of rain {lost.abs().max():.3f} mm are lost")
scores = xroute.scores(found, observed, periods={"third year": slice("2002", None)}, metrics=["nse", "kge", "pbias"])
print(scores.mean("reach").squeeze("period", drop=True).to_dataframe().drop(columns="skill").round(3))

days = dict(reach=gauges[0], time=slice("2002-04", "2002-07"))
figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.2), layout="constrained", width_ratios=(3, 1))
observed.sel(days).plot.line("k.", label="observed", ax=left)
for (way, discharge), color in zip(found.items(), ("#0072B2", "#E69F00"), strict=True):
    discharge.sel(days).plot(color=color, label=f"trained, {way}", ax=left)
    right.plot(scores.nse.sel(run=way).squeeze(), range(len(gauges)), "o", color=color)
left.set(title=f"Gauge {gauges[0]}, in a year that was not trained on", xlabel="")
figure.legend(loc="outside lower left", ncols=3)
right.set(title="NSE in that year", yticks=range(len(gauges)), yticklabels=gauges, ylabel="Gauge", xlim=(None, 1))
figure.savefig(picture := sys.argv[1] if len(sys.argv) > 1 else "runoff-buckets.png", dpi=120)
print(f"Saved {picture}")
