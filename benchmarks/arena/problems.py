"""The problems: three sizes of network and runoff, and the files that xroute and each peer read of them.

All get the same numbers. Parameters and runoff are float32, which is what river-route computes in; reaches stand upstream first,
which river-route and RAPID2 ask for.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import xroute
from xroute.io import rapid

DT = 900
"""Routing step [s], RAPID's usual one."""
START = "2002-08-30"
SIZES = {"small": (4_168, 960), "middle": (100_000, 365), "large": (1_000_000, 240)}
"""Reaches and steps of runoff."""
TINY = {"small": (300, 24), "middle": (1_000, 12), "large": (2_000, 10)}
"""The same, to try it."""
PIECE = 50_000_000
"""Values that are made, or compared, at a time."""


@dataclass(frozen=True)
class Problem:
    """A network in memory, and runoff in a file."""

    size: str
    network: xroute.Network
    below: NDArray[np.int64]
    """Row that a reach drains to, -1 if none; always a later one."""
    k: NDArray[np.float32]
    x: NDArray[np.float32]
    steps: int
    substeps: int
    folder: Path
    network_file: str = "network.nc"

    @property
    def n(self) -> int:
        """Reaches."""
        return self.network.n_reaches

    @property
    def text(self) -> str:
        """As it is told in a table."""
        return f"{self.n:,} x {self.steps}" + f" x {self.substeps} substeps" * (self.substeps > 1)

    def pieces(self) -> list[slice]:
        """Steps that are taken at a time."""
        length = max(1, PIECE // self.n)
        return [slice(a, min(a + length, self.steps)) for a in range(0, self.steps, length)]


def sample_folder() -> Path | None:
    """Where the sample of RAPID is, if it is anywhere."""
    data = Path(os.environ.get("XROUTE_TEST_DATA", Path(__file__).resolve().parents[3] / "shared/data"), "nasa_lis_4168")
    return data if data.is_dir() else None


def make_problem(size: str, tiny: bool, substeps: int, folder: Path) -> Problem:
    """Network and runoff of a size: RAPID's sample, over and over in time, where it has that size and is there; else made ones.

    Written to the folder: ``network.nc`` and ``runoff.nc`` [m3 s-1], ``links.npz`` and ``problem.json``.
    """
    n, steps = (TINY if tiny else SIZES)[size]
    sample = sample_folder() if (n, steps) == SIZES["small"] else None
    network, piece = _of_sample(sample) if sample is not None else _made(n)
    place = {"k": network["k"].values.astype(np.float32), "x": network["x"].values.astype(np.float32)}
    below = np.full(n, -1)
    up, down, _ = network.links
    below[up] = down
    attrs = {name: network.dataset[name].attrs for name in ("k", "x")}
    dataset = network.dataset.assign({name: ("reach", values, attrs[name]) for name, values in place.items()})
    network = xroute.Network(dataset, missing_downstream="outlet")
    problem = Problem(size, network, below, place["k"], place["x"], steps, substeps, folder)
    network.dataset.to_netcdf(folder / "network.nc")
    np.savez(folder / "links.npz", below=below, k=place["k"].astype(float), x=place["x"].astype(float), reach=network.ids)
    (folder / "problem.json").write_text(json.dumps({"dt": DT, "substeps": substeps, "steps": steps}))
    times = pd.date_range(START, periods=steps, freq=f"{DT * substeps}s")
    attrs = {"units": "m3 s-1"}
    write_series(folder / "runoff.nc", "runoff", attrs, problem, times, "reach", network.ids, lambda s: piece(s, steps))
    return problem


def _of_sample(folder: Path) -> tuple[xroute.Network, Any]:
    """RAPID's sample, upstream first, and pieces of its runoff [m3 s-1], which is begun again at its end."""
    logging.getLogger("xroute").setLevel(logging.ERROR)  # what its files lack is known
    dataset = rapid.read_network(folder)
    for name in ("runoff_step", "routing_step", "sampling", "lateral"):
        dataset.attrs.pop(name, None)  # here the peer's convention counts
    network = xroute.Network(dataset).sort()
    volume = rapid.read_runoff(folder, dataset).sel(reach=network.ids).values / np.float32(10_800)
    return network, lambda s, steps: volume[np.arange(s.start, s.stop) % len(volume)]


def _made(n: int) -> tuple[xroute.Network, Any]:
    """A random network of so many reaches, upstream first, and pieces of its runoff: rain that passes over."""
    columns = max(1, round(n**0.5))
    whole = xroute.Network(xroute.datasets.scheidegger(-(-n // columns), columns))
    order = whole.sort().ids[:n]  # of which the last, if any, were outlets and what flows into them
    dataset = whole.dataset.sel(reach=order)
    rng = np.random.default_rng(0)
    dataset["k"] = ("reach", rng.uniform(600, 1500, n), {"units": "s"})  # stable at the routing step
    dataset["x"] = ("reach", rng.uniform(0.05, 0.25, n))
    phase, size = rng.random(n, np.float32), rng.gamma(2, 0.05, n).astype(np.float32)

    def piece(steps: slice, _: int) -> NDArray[np.float32]:
        hour = np.arange(steps.start, steps.stop, dtype=np.float32)[:, None] / 48
        return size * np.square(np.sin(np.pi * (hour + phase), dtype=np.float32))

    return xroute.Network(dataset, missing_downstream="outlet"), piece


def write_series(
    path: Path, name: str, attrs: dict[str, Any], problem: Problem, times: Any, dim: str, ids: Any, piece: Any
) -> None:
    """A netCDF file of a series (time, reach) in float32, written in pieces, contiguous and not compressed, as xarray would."""
    import netCDF4

    ids = np.asarray(ids)
    with netCDF4.Dataset(path, "w") as file:
        file.set_auto_maskandscale(False)
        file.createDimension("time", problem.steps)
        file.createDimension(dim, problem.n)
        time = file.createVariable("time", "i8", ("time",))
        time.setncatts({"units": f"seconds since {START} 00:00:00", "calendar": "proleptic_gregorian"})
        time[:] = ((times - times[0]) // pd.Timedelta("1s")).to_numpy()
        file.createVariable(dim, ids.dtype.str[1:], (dim,))[:] = ids
        main = file.createVariable(name, "f4", ("time", dim), fill_value=np.float32(np.nan))
        main.setncatts(attrs)
        for steps in problem.pieces():
            main[steps] = piece(steps)


def runoff_of(problem: Problem, steps: slice) -> NDArray[np.float32]:
    """Some steps of runoff [m3 s-1]."""
    with xr.open_dataset(problem.folder / "runoff.nc") as file:
        return file["runoff"].isel(time=steps).to_numpy()


# ── files of the peers ──────────────────────────────────────────────────────────────────────────────────────────────────


def write_for(peer: str, problem: Problem) -> Problem:
    """The problem in a peer's own files; the problem for xroute, whose network may need what only this peer asks for."""
    return {"river-route": _river_route, "rapid2": _rapid2, "mizuroute": _mizuroute}.get(peer, lambda given: given)(problem)


def _river_route(problem: Problem) -> Problem:
    ids = problem.network.ids
    downstream = np.where(problem.below < 0, -1, ids[problem.below])
    table = {"river_id": ids, "downstream_river_id": downstream, "k": problem.k, "x": problem.x}
    pd.DataFrame(table).to_parquet(problem.folder / "river-route.parquet")
    seconds = np.float32(DT * problem.substeps)
    times = pd.date_range(START, periods=problem.steps, freq=f"{DT * problem.substeps}s")

    def volumes(steps: slice) -> NDArray[np.float32]:
        return runoff_of(problem, steps) * seconds

    path = problem.folder / "river-route.nc"
    write_series(path, "qlateral", {"units": "m3"}, problem, times, "river_id", ids, volumes)
    return problem


def _mizuroute(problem: Problem) -> Problem:
    """A folder with control file, namelist, network and runoff, for its impulse responses without hillslopes."""
    from xroute.io import mizuroute

    n = problem.n
    values = {"length": (5 * problem.k.astype(float), "m"), "slope": (np.full(n, 1e-3), "1"), "area": (np.full(n, 1e7), "m2")}
    values |= {"celerity": (np.full(n, 1.5), "m s-1"), "diffusivity": (np.full(n, 5000.0), "m2 s-1")}
    dataset = problem.network.dataset.drop_vars(["k", "x", *values], errors="ignore")
    dataset = dataset.assign({name: ("reach", v, {"units": units}) for name, (v, units) in values.items()})
    network = xroute.Network(dataset.assign_attrs(scheme="mizuroute_irf", lateral="outlet"), missing_downstream="outlet")
    with xr.open_dataset(problem.folder / "runoff.nc") as file:
        mizuroute.write_setup(problem.folder / "mizuroute", network, file["runoff"].load())
    network.dataset.to_netcdf(problem.folder / "mizuroute.nc")
    return replace(problem, network=network, network_file="mizuroute.nc")


def _rapid2(problem: Problem) -> Problem:
    import netCDF4

    folder, ids = problem.folder, problem.network.ids.astype(np.int32)
    downstream = np.where(problem.below < 0, 0, ids[problem.below])
    for name, columns in (
        ("con", {"riv": ids, "dwn": downstream.astype(np.int32)}), ("kpr", {"riv": ids, "kpr": problem.k.astype(float)}),
        ("xpr", {"riv": ids, "xpr": problem.x.astype(float)}), ("bas", {"riv": ids}),
    ):  # fmt: skip
        pd.DataFrame(columns).to_parquet(folder / f"rapid2-{name}.parquet")
    step = DT * problem.substeps
    for file_name, variable, steps in (("Qext", "Qext", problem.steps), ("Q00", "Qout", 1)):
        with netCDF4.Dataset(folder / f"rapid2-{file_name}.nc4", "w") as file:
            for dim, length in (("time", None), ("rivid", problem.n), ("nv", 2)):
                file.createDimension(dim, length)
            file.createVariable("rivid", "i4", ("rivid",))[:] = ids
            for place in ("lon", "lat"):
                file.createVariable(place, "f8", ("rivid",))[:] = 0.0
            time = file.createVariable("time", "i4", ("time",))
            time.setncatts({"units": "seconds since 1970-01-01 00:00:00 +00:00", "bounds": "time_bnds"})
            bounds = file.createVariable("time_bnds", "i4", ("time", "nv"))
            main = file.createVariable(variable, "f4", ("time", "rivid"), fill_value=np.float32(1e20), chunksizes=(1, problem.n))
            main.units = "m3 s-1"
            time[:] = np.arange(steps) * step
            bounds[:] = (np.arange(steps) * step)[:, None] + np.array([0, step])
            if file_name == "Q00":
                main[0] = 0.0
                continue
            for part in problem.pieces():
                main[part] = runoff_of(problem, part)
    return problem
