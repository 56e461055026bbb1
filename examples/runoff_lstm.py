"""Train an LSTM that conserves water, through the river, by what six gauges saw: `python examples/runoff_lstm.py [PICTURE]`.

It sees the weather of each catchment, and says each day which share of the water there runs off and which evaporates; the river
carries what runs off to the gauges. Then another, which is trained without the river, by runoff that is summed up.
"""

import sys

import numpy as np
import torch
from matplotlib import pyplot

import xroute
from xroute.losses import nse, spread_of


class Lstm(torch.nn.Module):
    """Rain and potential evaporation [mm d-1] to runoff and evaporation [mm d-1] and what is stored [mm]."""

    def __init__(self, hidden=16):
        super().__init__()
        self.lstm, self.head = torch.nn.LSTM(2, hidden, batch_first=True), torch.nn.Linear(hidden, 3)

    def forward(self, rain, demand):
        hidden, _ = self.lstm(torch.stack([rain / 10, demand / 3], -1).flatten(0, -3))
        shares = (self.head(hidden) + torch.tensor([-3.0, -3.0, 0.0])).softmax(-1).unflatten(0, rain.shape[:-1])
        store, days = torch.full_like(rain[..., 0], 50.0), []
        for fell, share in zip(rain.unbind(-1), shares.unbind(-2), strict=True):
            days.append((store + fell) * share.movedim(-1, 0))
            store = days[-1][2]
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
true = xroute.datasets.storm_runoff(tutorial, 3 * 365, "1D", seed=1).sel(reach=network.ids)  # half of the same rain
observed = true.route(network, substeps="auto").sel(reach=gauges)
observed = (observed * np.exp(random.normal(0.0, 0.1, observed.shape))).where(random.uniform(size=observed.shape) > 0.2)
seen = torch.tensor(observed.transpose("reach", "time").values)
at, above = network.position(gauges), np.array([np.isin(network.ids, network.upstream(gauge)) for gauge in gauges])
ways = {"river": lambda runoff: router(runoff)[..., at, :], "no river": lambda runoff: torch.tensor(above).float() @ runoff}
found = {}
for way, carry in ways.items():
    torch.manual_seed(0)
    model = Lstm()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(45):
        optimizer.zero_grad()
        runoff, *_ = model(windows(rain), windows(demand))
        nse(carry(flow * runoff)[..., 90:], windows(seen)[..., 90:], spread=spread_of(seen)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        runoff, evaporated, stored = model(rain, demand)
        found[way] = router.array(router(flow * runoff), like=weather.precipitation)
    lost = (rain - runoff - evaporated)[:, 1:].sum(1) - (stored[:, -1] - stored[:, 0])
    fell, ran_off = rain.sum(1).mean(), runoff.sum(1).mean()
    print(f"{way}: of {fell:,.0f} mm of rain {ran_off:,.0f} ran off, {lost.abs().max():.3f} mm are lost")

scores = xroute.scores(found, observed, periods={"third year": slice("2002", None)}, metrics=["nse", "kge", "pbias"])
print(scores.mean("reach").squeeze("period", drop=True).to_dataframe().drop(columns="skill").round(3))

figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.2), layout="constrained", width_ratios=(3, 1))
days = dict(reach=gauges[0], time=slice("2002-04", "2002-07"))
observed.sel(days).plot.line("k.", label="observed", ax=left)
for (way, discharge), color in zip(found.items(), ("#0072B2", "#E69F00"), strict=True):
    discharge.sel(days).plot(color=color, label=f"trained, {way}", ax=left)
    right.plot(scores.nse.sel(run=way).squeeze(), range(len(gauges)), "o", color=color)
left.set(title=f"Gauge {gauges[0]}, in a year that was not trained on", xlabel="")
figure.legend(loc="outside lower left", ncols=3)
right.set(title="NSE in that year", yticks=range(len(gauges)), yticklabels=gauges, ylabel="Gauge", xlim=(None, 1))
figure.savefig(picture := sys.argv[1] if len(sys.argv) > 1 else "runoff-lstm.png", dpi=120)
print(f"Saved {picture}")
