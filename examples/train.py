"""Learn k and x of 10,000 reaches from discharge, to within 1 % on every one: `python examples/train.py [device]`."""

import sys

import torch

import xroute
from xroute.router import Router

device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
network = xroute.datasets.scheidegger(100, 100)
truth = Router(network, dt="1h").to(device)
runoff = (torch.rand(10_000, 240) * torch.rand(240)).pow(8).double().to(device)  # bursts, many of them at the same time
observed = truth(runoff)
weight = 1 / observed.std(dim=1, keepdim=True)

router = Router(network.assign(k=0 * network.k + 5000.0, x=0 * network.x + 0.2), dt="1h", learnable=("k", "x"))
optimizer = torch.optim.Adam(router.to(device).parameters(), lr=0.05, betas=(0.9, 0.9))
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
for _ in range(200):
    optimizer.zero_grad()
    error = (router(runoff) - observed) * weight
    error.diff(dim=1).square().sum().backward()  # differences in time: a large river's own share stands out in them
    optimizer.step()
    schedule.step()

for name, value in router.parameters_si.items():
    error = (value / truth.parameters_si[name] - 1).abs()
    print(f"{name}: mean error {error.mean():.3%}, largest {error.max():.3%}")
