"""Learn k and x of 10,000 reaches from the discharge of a true river: `python examples/train.py [device]`."""

import sys

import torch

import xroute
from xroute.router import Router

device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
network = xroute.datasets.scheidegger(100, 100)
truth = Router(network, dt="1h").to(device)
runoff = torch.rand(10_000, 240, device=device) ** 8  # m3 s-1: bursts, which tell more of a river than drizzle
observed = truth(runoff)

router = Router(network.assign(k=0 * network.k + 5000.0, x=0 * network.x + 0.2), dt="1h", learnable=("k", "x"))
optimizer = torch.optim.Adam(router.to(device).parameters(), lr=0.05)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=400)
for _ in range(400):
    optimizer.zero_grad()
    ((router(runoff) - observed) / observed.mean(dim=1, keepdim=True)).square().mean().backward()
    optimizer.step()
    schedule.step()
    if _ % 50 == 49:
        for name, value in router.parameters_si.items():
            error = (value / truth.parameters_si[name] - 1).abs()
            print(f"{name}: mean error {error.mean():.3%}, largest {error.max():.3%}")
