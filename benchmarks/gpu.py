"""GPU engine: checked against the float64 reference, then timed beside a device copy in the same run.

    python benchmarks/gpu.py [--quick]

Share is of copy bandwidth, counting runoff read and discharge written. No figure is reported for a variant whose result
was not first compared with the reference.
"""

from __future__ import annotations

import argparse
import itertools
import warnings

import numpy as np
import torch
import triton
import xarray as xr

import xroute
from xroute.engine.gpu import DeviceFilter, prepare_filter, route_gpu
from xroute.engine.reference import route_reference
from xroute.parameters import read_parameters
from xroute.schemes import Filter, make_filter

DT = 3600.0


def network_of(rows: int, columns: int) -> xroute.Network:
    dataset = xroute.datasets.scheidegger(rows, columns)
    rng = np.random.default_rng(5)
    n = dataset.sizes["reach"]
    for name, low, high, units in (
        ("tau", 2e3, 2e4, "s"),
        ("diffusivity", 500.0, 2000.0, "m2 s-1"),
        ("celerity", 0.5, 2.0, "m s-1"),
        ("delay", 0.0, 2e4, "s"),
    ):
        dataset[name] = ("reach", rng.uniform(low, high, n), {"units": units})
    return xroute.Network(dataset)


def chains(n: int, length: int) -> xroute.Network:
    """Rivers without tributaries: what the depth of a network costs, apart from its joins."""
    ids = np.arange(1, n + 1)
    downstream = ids + 1
    downstream[length - 1 :: length] = 0
    parameters = {"k": ("reach", np.random.default_rng(0).uniform(2000, 9000, n)), "x": ("reach", np.full(n, 0.2))}
    return xroute.Network(xr.Dataset({"downstream": ("reach", downstream), **parameters}, {"reach": ids}))


def filter_of(network: xroute.Network, scheme: str, substeps: int, lateral: str = "head") -> Filter:
    parameters = read_parameters(network, scheme)
    return make_filter(parameters, DT / substeps, network.n_reaches, lateral=lateral)  # type: ignore[arg-type]


def on_device(network: xroute.Network, made: Filter, dtype: torch.dtype) -> DeviceFilter:
    arithmetic = torch.float64 if dtype == torch.float64 else torch.float32
    return prepare_filter(network.plan, made.taps, made.pointer, made.pole, made.gain, torch.device("cuda"), arithmetic)


def windowed(network: xroute.Network, taps: int) -> Filter:
    """A response of exactly ``taps`` steps on every reach."""
    n = network.n_reaches
    kernel = torch.rand(n, taps, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).reshape(-1)
    none = torch.zeros(n, dtype=torch.float64)
    return Filter(kernel, np.arange(n + 1) * taps, none, none)


def check() -> int:
    """Compare every mode with the reference on small networks; returns the number of failures."""
    failures = 0
    network = network_of(12, 9)
    n = network.n_reaches
    rng = np.random.default_rng(0)
    tolerance = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
    cases = [
        (scheme, lateral, sampling, substeps, steps, torch.float64, 16)
        for scheme, lateral in (
            ("muskingum", "head"), ("muskingum", "interval"), ("muskingum", "outlet"), ("linear_storage", "head"),
            ("hayami", "head"), ("hayami", "outlet"), ("pure_lag", "head"),
        )
        for sampling, substeps in itertools.product(("mean", "last", "start-mean"), (1, 3, 4))
        for steps in (37,)
    ]  # fmt: skip
    cases += [
        ("muskingum", "head", "mean", 1, steps, dtype, None) for steps in (1, 31, 63, 365, 3000) for dtype in tolerance
    ]
    for scheme, lateral, sampling, substeps, steps, dtype, lanes in cases:
        made = filter_of(network, scheme, substeps, lateral)
        taps, pointer, pole, gain = made.arrays()
        kernels = np.split(taps, pointer[1:-1])
        runoff = torch.from_numpy(rng.random((3, n, steps))).to(dtype)
        history = rng.random((3, int(pointer[-1]) - n))
        outflow = rng.random((3, n))
        lags = np.zeros((3, n, max(map(len, kernels)) - 1))
        for i, kernel in enumerate(kernels):
            lags[:, i, : len(kernel) - 1] = history[:, pointer[i] - i : pointer[i + 1] - i - 1]
        expected, _, last = route_reference(
            runoff.double().numpy(), network.links, kernels, pole, gain, substeps=substeps, sampling=sampling,
            lateral=lateral, inflow_history=lags, outflow=outflow,
        )  # fmt: skip
        got, _, end = route_gpu(
            runoff.cuda(), network.plan, on_device(network, made, dtype), torch.from_numpy(history),
            torch.from_numpy(outflow), substeps=substeps, sampling=sampling, lateral=lateral, lanes=lanes,
        )  # fmt: skip
        assert end is not None
        peak = np.abs(expected).max()
        error = float(np.abs(got.double().cpu().numpy() - expected).max() / peak)
        error = max(error, float(np.abs(end.double().cpu().numpy() - last).max() / peak) if dtype.itemsize > 2 else 0.0)
        if not error < tolerance[dtype]:
            failures += 1
            print("WRONG", scheme, lateral, sampling, substeps, steps, dtype, f"{error:.1e}")
    print(f"{len(cases)} cases compared with the reference, {failures} wrong", flush=True)
    return failures


def copy_bandwidth() -> float:
    """Bytes per second of a device copy, read and written."""
    source = torch.rand(500_000_000, device="cuda")
    target = torch.empty_like(source)
    seconds = triton.testing.do_bench(lambda: target.copy_(source), return_mode="median") / 1e3
    return 2 * source.numel() * 4 / seconds


def timed(
    label: str, network: xroute.Network, made: Filter, shape: tuple[int, ...], copy: float, **options: object
) -> float:
    n_batch, n, steps = shape
    runoff = torch.rand(shape, device="cuda", dtype=torch.float32)
    device = on_device(network, made, runoff.dtype)

    def run() -> torch.Tensor:
        return route_gpu(runoff, network.plan, device, keep_state=False, **options)[0]

    run()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = run()
    torch.cuda.synchronize()
    peak = (torch.cuda.max_memory_allocated() - before) / (runoff.numel() * 4) + 1
    same = all(torch.equal(result, run()) for _ in range(3))
    milliseconds = triton.testing.do_bench(run, return_mode="median", warmup=20, rep=150)
    share = 2 * runoff.numel() * 4 / (milliseconds / 1e3) / copy
    print(
        f"{label:46s}{milliseconds:9.2f} ms {share:6.1%} of copy  memory {peak / 2:4.2f} x (in + out)"
        f"{'' if same else '  NOT REPEATABLE'}",
        flush=True,
    )
    del result
    torch.cuda.empty_cache()
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the check and the main case")
    parser.add_argument("--tune", action="store_true", help="lanes and warps of the main case too")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    if check():
        raise SystemExit("the engine is wrong; no figure is reported")
    copy = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}: device copy {copy / 1e12:.2f} TB/s")
    million = network_of(1000, 1000)
    muskingum = filter_of(million, "muskingum", 1)
    shape = (1, million.n_reaches, 365)
    timed("muskingum, 1,000,000 x 365", million, muskingum, shape, copy)
    if options.tune:
        for lanes, warps in ((256, 2), (512, 1), (512, 2), (512, 4), (512, 8)):
            timed(f"  lanes {lanes}, warps {warps}", million, muskingum, shape, copy, lanes=lanes, num_warps=warps)
    if options.quick:
        return
    timed("linear_storage, 1,000,000 x 365", million, filter_of(million, "linear_storage", 1), shape, copy)
    timed("K = 32, 1,000,000 x 365", million, windowed(million, 32), shape, copy)
    timed(
        "muskingum, 24 substeps, 1,000,000 x 365",
        million,
        filter_of(million, "muskingum", 24),
        shape,
        copy,
        substeps=24,
    )
    timed("muskingum, 1,000,000 x 8760", million, muskingum, (1, million.n_reaches, 8760), copy)
    small = network_of(100, 100)
    timed("muskingum, 10,000 x 365 x 64", small, filter_of(small, "muskingum", 1), (64, small.n_reaches, 365), copy)
    middle = network_of(334, 300)
    timed("muskingum, 100,200 x 365", middle, filter_of(middle, "muskingum", 1), (1, middle.n_reaches, 365), copy)
    for length in (100, 1000):
        network = chains(1_000_000, length)
        made = filter_of(network, "muskingum", 1)
        timed(f"muskingum, chains of {length}, 1,000,000 x 365", network, made, (1, network.n_reaches, 365), copy)


if __name__ == "__main__":
    main()
