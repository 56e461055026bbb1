"""Stored runs: the bits of discharge, states and gradients on the CPU, written before a change and compared after it.

    python benchmarks/bits.py write bits.json      before
    python benchmarks/bits.py check bits.json      after, on the same machine: names each run that differs

The runs go over schemes, modes, chunkings, states and ways in, through the public interface alone, so that they outlive what is
inside. Another processor or another version of torch may round otherwise: bits are compared with those of one machine only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

import xroute

STEPS = 150
DT = 3600.0
PARAMETERS: dict[str, dict[str, tuple[float, float]]] = {
    "linear_storage": {"tau": (900.0, 20000.0)},
    "muskingum": {"k": (1800.0, 5400.0), "x": (0.0, 0.3)},
    "muskingum_exact": {"k": (60.0, 20000.0), "x": (0.0, 0.4)},
    "pure_lag": {"delay": (0.0, 30000.0)},
    "nash_cascade": {"tau": (600.0, 4000.0), "n": (0.8, 4.0)},
    "hayami": {"length": (500.0, 20000.0), "diffusivity": (200.0, 3000.0), "celerity": (0.4, 2.0)},
}


def river(*schemes: str, rows: int = 15, columns: int = 12, seed: int = 3) -> xr.Dataset:
    """A random river whose reaches have the schemes in turn, with areas."""
    links = xroute.datasets.scheidegger(rows, columns, seed=seed)
    rng = np.random.default_rng(seed)
    n = links.sizes["reach"]
    owner = np.array(schemes)[np.arange(n) % len(schemes)]
    kept = links[["downstream"]]
    for scheme in schemes:
        for name, (low, high) in PARAMETERS[scheme].items():
            values = kept[name].values if name in kept else np.full(n, np.nan)
            values[owner == scheme] = rng.uniform(low, high, int((owner == scheme).sum()))
            kept[name] = "reach", values
    kept["area"] = "reach", rng.uniform(1e6, 5e7, n), {"units": "m2"}
    if len(schemes) == 1:
        return kept.assign_attrs(scheme=schemes[0])
    return kept.assign(scheme=("reach", owner))


def rain(network: xr.Dataset, dtype: str = "float32", units: str = "m3 s-1", members: int = 0, seed: int = 5) -> xr.DataArray:
    """Random runoff (time, reach) or (member, time, reach)."""
    n = network.sizes["reach"]
    shape = (*((members,) * bool(members)), STEPS, n)
    data = np.random.default_rng(seed).gamma(0.5, 2.0, shape).astype(dtype)
    times = pd.date_range("2001-01-01", periods=STEPS, freq="h")
    dims = (*(("member",) * bool(members)), "time", "reach")
    return xr.DataArray(data, coords={"time": times, "reach": network.reach.values}, dims=dims, attrs={"units": units})


def runs() -> Iterator[tuple[str, Callable[[], list[Any]]]]:
    """Runs by name; each gives what is hashed."""
    for scheme in PARAMETERS:
        network = river(scheme)
        yield f"{scheme}, float32", lambda w=network: [xroute.route(rain(w), w)]
        yield f"{scheme}, float64, with state", lambda w=network: with_state(rain(w, "float64"), w)
    mixed = river(*PARAMETERS)
    yield "all schemes, a network", lambda: with_state(rain(mixed), mixed)
    poles = river("muskingum", "linear_storage", "muskingum_exact")
    for sampling in ("mean", "last", "start-mean"):
        for lateral in ("head", "interval", "outlet"):
            options = {"substeps": 3, "sampling": sampling, "lateral": lateral}
            yield f"substeps 3, {sampling}, {lateral}", lambda o=options: with_state(rain(poles, members=2), poles, **o)
    yield "substeps auto", lambda: [xroute.route(rain(poles), poles, substeps="auto")]
    yield "depth in mm, missing and extra", lambda: [missing(poles)]
    yield "time last, reaches shuffled", lambda: [shuffled(mixed)]
    for chunks in ({"time": 40, "reach": 50}, {"time": STEPS, "reach": 7}, {"time": 1}):
        for partitions in (1, 3):
            yield f"lazy, {chunks}, {partitions} partitions", lambda c=chunks, p=partitions: lazily(mixed, c, p)
    yield "streamed, 33 steps at a time", lambda: streamed(mixed)
    yield "two halves, the state between them", lambda: halves(mixed)
    yield "steady state and initial state", lambda: states(mixed)
    yield "float16 and integers", lambda: [
        xroute.route(rain(poles, "float16"), poles), xroute.route(rain(poles, "float64").astype(int), poles)
    ]  # fmt: skip
    yield "Router, gradients", lambda: gradients(river("muskingum"))
    yield "Router, gradients, windows and substeps", lambda: gradients(river("hayami", "nash_cascade"), substeps=2)


def with_state(runoff: xr.DataArray, network: xr.Dataset, **options: Any) -> list[Any]:
    return list(xroute.route(runoff, network, return_state=True, **options))


def missing(network: xr.Dataset) -> xr.DataArray:
    runoff = rain(network, units="mm")
    runoff[3, 4] = np.nan
    other = runoff.isel(reach=slice(20, None)).assign_coords(reach=[*network.reach.values[20:-1], 10**9])
    return xroute.route(other, network, missing="zero", extra="drop", nan="zero")


def shuffled(network: xr.Dataset) -> xr.DataArray:
    runoff = rain(network).transpose("reach", "time")
    return xroute.route(runoff.isel(reach=np.random.default_rng(1).permutation(runoff.sizes["reach"])), network)


def lazily(network: xr.Dataset, chunks: dict[str, int], partitions: int) -> list[Any]:
    found, state = xroute.route(rain(network).chunk(chunks), network, partitions=partitions, return_state=True)
    return [found.compute(scheduler="synchronous"), state.compute(scheduler="synchronous")]


def streamed(network: xr.Dataset) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        found, state = xroute.route_to_zarr(
            rain(network), network, f"{folder}/q.zarr", time_chunk=33, progress=False, return_state=True
        )
        return [found.load(), state.load()]


def halves(network: xr.Dataset) -> list[Any]:
    runoff = rain(network)
    first, state = xroute.route(runoff[:70], network, return_state=True)
    return [first, xroute.route(runoff[70:], network, initial_state=state)]


def states(network: xr.Dataset) -> list[Any]:
    mean = rain(network).mean("time", keep_attrs=True)
    steady = xroute.steady_state(network, mean, dt=DT)
    flows = xr.full_like(mean, 3.0)
    return [steady, xroute.initial_state(network, flows, dt=DT), xroute.route(rain(network), network, initial_state=steady)]


def gradients(network: xr.Dataset, **options: Any) -> list[Any]:
    learned = [n for scheme in PARAMETERS.values() for n in scheme if n in network]
    router = xroute.Router(network, dt=DT, learnable=learned, **options)
    runoff = torch.from_numpy(rain(network, "float64").values.T.copy()).requires_grad_()
    router(runoff).square().mean().backward()
    return [runoff.grad, *(p.grad for _, p in sorted(router.named_parameters()))]


def digest(thing: Any) -> str:
    """Hash of the values of a tensor, an array or a Dataset, and of their shape and type."""
    if isinstance(thing, xr.Dataset):
        return " ".join(f"{name}={digest(thing[name].values)}" for name in sorted(map(str, thing.data_vars)))
    array = np.asarray(thing.detach() if isinstance(thing, torch.Tensor) else thing)
    words = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=12)
    words.update(f"{array.shape} {array.dtype}".encode())
    return words.hexdigest()


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "check"))
    parser.add_argument("file", type=Path)
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    warnings.simplefilter("ignore")
    with xroute.set_options(device="cpu"):
        found = {name: [digest(part) for part in run()] for name, run in runs()}
    if options.what == "write":
        options.file.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} runs written to {options.file}")
        return
    stored = json.loads(options.file.read_text())
    different = [name for name in {**stored, **found} if stored.get(name) != found.get(name)]
    for name in different:
        print(f"differs: {name}")
    print(f"{len(found) - len(different)} of {len(found)} runs have the stored bits")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
