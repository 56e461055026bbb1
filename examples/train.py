"""Learn k and x of 10,000 reaches from discharge, to within 1 % on every one: `python examples/train.py [DEVICE] [PICTURE]`."""

import sys

import torch
from matplotlib import pyplot

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

figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
for ax, (name, value), start in zip(axes, router.parameters_si.items(), (5000.0, 0.2), strict=True):
    true, found = (p.detach().cpu() for p in (truth.parameters_si[name], value))
    error = (found / true - 1).abs()
    print(f"{name}: mean error {error.mean():.3%}, largest {error.max():.3%}")
    unit = 3600 if name == "k" else 1  # hours
    ax.axhline(start / unit, color="#E69F00", label="before: one value for all")
    label = f"learned: wrong by {error.max():.2%} at most"
    ax.plot(true / unit, found / unit, ".", color="#0072B2", ms=3, rasterized=True, label=label)
    ax.axline((true.mean() / unit,) * 2, slope=1, color="k", lw=0.8, label="truth")
    label = "travel time k [h]" if name == "k" else "weighting x [1]"
    ax.set(xlabel=f"True {label}", ylabel=f"Learned {label}")
    ax.legend(loc="upper left")
figure.suptitle("Parameters of 10,000 reaches, learned from discharge")
figure.savefig(picture := sys.argv[2] if len(sys.argv) > 2 else "train.png", dpi=120)
print(f"Saved {picture}")
