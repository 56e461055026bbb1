"""Train models of runoff through the river, by what six gauges saw and nothing else: `python examples/runoff_models.py [PICTURE]`.

Two buckets, whose four numbers mean something, and an LSTM, which knows nothing but that water is conserved, make runoff of rain and
potential evaporation; the river carries it to the gauges. Then once more without the river, by runoff that is summed up instead.
"""

import sys

import numpy as np
import torch
import xarray as xr
from matplotlib import pyplot

import xroute
from xroute.losses import nse, spread_of


class Buckets(torch.nn.Module):
    """Rain and potential evaporation [mm d-1] to runoff and evaporation [mm d-1] and what is stored [mm]: soil, groundwater below."""

    def __init__(self, capacity=250.0, shape=1.0, soil=15.0, ground=15.0):  # mm, 1, days, days
        super().__init__()
        start = {"capacity": capacity, "shape": shape, "soil": soil, "ground": ground}
        self.logs = torch.nn.ParameterDict({name: torch.tensor(value).log() for name, value in start.items()})

    def forward(self, rain, demand):
        capacity, shape, soil, ground = (self.logs[name].exp() for name in ("capacity", "shape", "soil", "ground"))
        wet, deep, days = 0.5 * capacity.expand(rain.shape[:-1]), torch.zeros_like(rain[..., 0]), []
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


class Lstm(torch.nn.Module):
    """The same of one store: an LSTM says each day which share of it runs off, which evaporates, and which stays."""

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


def fit(model, carry, epochs, rate):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(epochs):
        optimizer.zero_grad()
        found = carry(model(*train)[0] * flow)[..., WARM:]
        nse(found, seen, spread=spread_of(seen.movedim(0,1).flatten(1))).mean().backward()
        optimizer.step()
    return model

import time
torch.manual_seed(0); torch.set_num_threads(1)
T0=time.time()
tutorial, _ = xroute.datasets.tutorial()
network = xroute.Network(tutorial).basin(145)
network = network.assign(k=4 * network.dataset.k)  # a slow river of the lowlands
weather = xroute.datasets.forcing(tutorial, 3 * 365, "1D", seed=1).sel(reach=network.ids)
gauges = network.ids[np.argsort(-network.n_upstream.values)[[0, 5, 12, 20, 30, 40]]]
print(network, network.n_upstream.sel(reach=gauges).values, weather.sum('time').mean()*24/3)
rain, demand = (torch.from_numpy(24 * weather[v].transpose("reach", "time").values) for v in ("precipitation", "potential_evaporation"))
flow = torch.tensor(network.dataset.area.values[:, None] / 86.4, dtype=torch.float32)  # km2 mm d-1 in m3 s-1
router = xroute.Router(network, dt="1D", substeps="auto")
at = torch.from_numpy(network.position(gauges))
upstream = torch.from_numpy(np.array([np.isin(network.ids, network.upstream(gauge)) for gauge in gauges])).float()
river, no_river = (lambda r: router(r)[..., at, :]), (lambda r: upstream @ r)
with torch.no_grad():
    true = Buckets(120.0, 3.0, 8.0, 25.0)(rain, demand)
    true_q=river(true[0]*flow)
observed = true_q * torch.exp(0.1 * torch.randn(true_q.shape))
observed[torch.rand(observed.shape) < 0.2] = torch.nan
WARM=90
cut = lambda v: v[..., :730].unfold(-1, 230, 125).movedim(-2, 0)
train = cut(rain), cut(demand)
print(train[0].shape, 'balance', (rain.sum(1)-true[0].sum(1)-true[1].sum(1)-true[2][...,-1]).mean(), 'runoff', true[0].sum(1).mean()/3, true[0].max(), time.time()-T0)
seen = cut(observed)[..., WARM:]
for kind, epochs, rate in ((Buckets, int(sys.argv[1]), 0.1), (Lstm, int(sys.argv[2]), 0.02)):
    for carry in river, no_river:
        t=time.time()
        torch.manual_seed(0)
        m = fit(kind(), carry, epochs, rate)
        with torch.no_grad():
            mm=m(rain,demand); q=river(mm[0]*flow)
            qc=carry(mm[0]*flow)
            print(kind.__name__, carry is river, 'test routed',1-nse(q[:,730:],true_q[:,730:]).numpy().round(3), 'carry', 1-nse(qc[:,730:],true_q[:,730:]).mean(), 'runoff nse',float(1-nse(mm[0][:,730:],true[0][:,730:]).mean()),time.time()-t)
            if kind is Buckets: print({k:float(v.exp()) for k,v in m.logs.items()})
