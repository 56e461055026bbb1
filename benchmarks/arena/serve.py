"""The peers of `benchmarks/peers.py`, each in a process of its own and, where it needs one, an interpreter of its own.

    python benchmarks/arena/serve.py NAME FOLDER

Nothing of xroute is imported here. FOLDER holds the problem in the peer's own files (`arena.problems` wrote them). Commands come
in on standard input, one a line, and each is answered by a line of JSON:

prepare CASE     what the case is given is read, and outputs that stand in its way are removed; not timed
run CASE         the case; answered with the seconds and the seconds of processor time that it took
save CASE        what the last run found, (time, reach), goes to FOLDER/peer-CASE.npy
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np


class Peer:
    """A peer: what it is called, and a method for each of its cases."""

    package = ""
    """Whose version is told."""
    cases: tuple[str, ...] = ("kernel", "files")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problem = json.loads((folder / "problem.json").read_text())
        self.discharge: Any = None

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.package)

    def prepare(self, case: str) -> None:
        """Read what a case is given; what is a part of its own work is not done here."""
        self.discharge = None

    def found(self, case: str) -> np.ndarray:
        """Discharge (time, reach) of the last run."""
        return np.asarray(self.discharge)

    def _from_file(self, name: str, variable: str) -> np.ndarray:
        import netCDF4

        with netCDF4.Dataset(self.folder / name) as file:
            return np.asarray(np.ma.filled(file[variable][:], np.nan))

    def _fresh(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


class RiverRoute(Peer):
    """river-route 2 (Hales and others), `RapidMuskingum`: float32, the mean of the ends of its steps, at least zero."""

    package = "river-route"
    cases = ("kernel", "call", "files")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import river_route  # noqa: F401
        from river_route.routers._numba_kernels import rapid_route

        self._route = rapid_route

    def _new_router(self) -> Any:
        from river_route import RapidMuskingum

        dt, substeps = self.problem["dt"], self.problem["substeps"]
        return RapidMuskingum(
            params_file=str(self.folder / "river-route.parquet"), qlateral_files=[str(self.folder / "river-route.nc")],
            discharge_files=[str(self.folder / "river-route-out.nc")], dt_routing=dt, dt_runoff=dt * substeps, log=False,
            progress_bar=False,
        )  # fmt: skip

    def prepare(self, case: str) -> None:
        super().prepare(case)
        self._fresh("river-route-out.nc")
        if case == "files" or getattr(self, "_router", None) is not None:
            if case == "files":
                self._router = self.volume = None
            return
        import xarray as xr

        with xr.open_dataset(self.folder / "river-route.nc") as file:
            self.dates, self.volume = file["time"].values.astype("datetime64[s]"), file["qlateral"].values
        self._router = self._new_router()
        self._router._set_network_dependent_vectors()
        self._router._set_network_and_time_dependent_vectors(self.dates)

    def kernel(self) -> None:
        r = self._router
        self.discharge = np.zeros_like(self.volume)
        self._route(
            r._csc_indptr, r._csc_indices, r._lhs_off_data, r.c2, r.c3, r.c4 / r.dt_runoff,
            np.zeros(r.A.shape[0], np.float32), self.volume, self.discharge, r.num_routing_steps_per_runoff,
        )  # fmt: skip

    def call(self) -> None:
        r = self._router
        r.channel_state = np.zeros(r.A.shape[0], np.float32)
        r._qlateral_generator = lambda: iter([(self.dates, self.volume, "", "")])
        r.set_write_discharges(lambda dates, discharge, *_: setattr(self, "discharge", discharge))
        r._execute_routing()

    def files(self) -> None:
        self._new_router().route()

    def found(self, case: str) -> np.ndarray:
        return self._from_file("river-route-out.nc", "Q") if case == "files" else super().found(case)


class Rapid2(Peer):
    """RAPID2 (David and others), `rapid2.core.run`: float64, discharge the mean of the starts of its steps, stored in float32."""

    package = "rapid2"

    def prepare(self, case: str) -> None:
        super().prepare(case)
        self._fresh("rapid2-Qout.nc4", "rapid2-Qfinal.nc4")
        if case != "kernel" or hasattr(self, "_matrices"):
            return
        from rapid2 import base

        f = self.folder
        riv, dwn = base.read_con_vec(str(f / "rapid2-con.parquet"))
        bas = base.read_riv_vec(str(f / "rapid2-bas.parquet"))
        of_all, of_basin, self._at = base.make_0bi_tbl(riv, bas)
        net = base.make_Net_mat(dwn, of_all, bas, of_basin)
        _, k = base.read_kpr_vec(str(f / "rapid2-kpr.parquet"), self._at)
        _, x = base.read_xpr_vec(str(f / "rapid2-xpr.parquet"), self._at)
        self._matrices = base.make_Msk_mat(net, *base.make_CCC_mat(k, x, np.int32(self.problem["dt"])))
        self._step = base.updt_Mus_Qou
        self._inflow = self._from_file("rapid2-Qext.nc4", "Qext")

    def kernel(self) -> None:
        flow = np.zeros(len(self._at))
        self.discharge = np.empty_like(self._inflow)
        for k, inflow in enumerate(self._inflow):
            self.discharge[k], flow = self._step(*self._matrices, self.problem["substeps"], flow, inflow[self._at])

    def files(self) -> None:
        from rapid2.core import run

        f = self.folder
        run(
            str(f / "rapid2-Q00.nc4"), str(f / "rapid2-Qext.nc4"), str(f / "rapid2-con.parquet"),
            str(f / "rapid2-kpr.parquet"), str(f / "rapid2-xpr.parquet"), str(f / "rapid2-bas.parquet"),
            np.int32(self.problem["dt"]), str(f / "rapid2-Qout.nc4"), str(f / "rapid2-Qfinal.nc4"),
        )  # fmt: skip

    def found(self, case: str) -> np.ndarray:
        return self._from_file("rapid2-Qout.nc4", "Qout") if case == "files" else super().found(case)


class EarthkitHydro(Peer):
    """earthkit-hydro (ECMWF), `upstream.sum`: it routes nothing in time, and sums runoff over all that lies upstream."""

    package = "earthkit-hydro"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from earthkit.hydro._readers._core import create_network
        from earthkit.hydro.data_structures import RiverNetwork

        with np.load(folder / "links.npz") as links:
            below = links["below"]
        above = np.flatnonzero(below >= 0)
        self._network = RiverNetwork(create_network(above, below[above], np.ones(below.size, bool), (1, below.size)))
        self._network.export(str(folder / "earthkit-hydro.joblib"))  # its own form of a network's file

    def prepare(self, case: str) -> None:
        super().prepare(case)
        self._fresh("earthkit-hydro-out.nc")
        self._runoff = self._from_file("runoff.nc", "runoff") if case == "kernel" else None

    def _sum(self, network: Any, runoff: np.ndarray) -> np.ndarray:
        import earthkit.hydro as ekh

        return np.asarray(ekh.upstream.array.sum(network, runoff, return_type="masked"))

    def kernel(self) -> None:
        assert self._runoff is not None
        self.discharge = self._sum(self._network, self._runoff)

    def files(self) -> None:
        import earthkit.hydro as ekh
        import xarray as xr

        network = ekh.river_network.create(str(self.folder / "earthkit-hydro.joblib"), "precomputed", use_cache=False)
        with xr.open_dataset(self.folder / "runoff.nc") as file:
            runoff = file["runoff"]
            sums = runoff.copy(data=self._sum(network, runoff.values))
        sums.to_netcdf(self.folder / "earthkit-hydro-out.nc")

    def found(self, case: str) -> np.ndarray:
        return self._from_file("earthkit-hydro-out.nc", "runoff") if case == "files" else super().found(case)


class DiffRoute(Peer):
    """DiffRoute (Hascoet and others) on a GPU: responses of paths, cut to a window and scaled; so it is near the exact answer."""

    package = "diffroute"
    cases = ("kernel",)
    WINDOW = 100
    """Steps of its path kernels."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("it needs a GPU, and torch sees none")
        import tqdm.auto
        import tqdm.notebook

        plain: Any = lambda iterable, *_, **__: iterable  # noqa: E731  (in place of bars, which want a notebook)
        tqdm.auto.tqdm = tqdm.notebook.tqdm = plain
        import networkx as nx
        import pandas as pd
        from diffroute import LTIStagedRouter, RivTreeCluster
        from diffroute.graph_utils import define_schedule

        with np.load(folder / "links.npz") as links:
            below, k, x = links["below"], links["k"], links["x"]
        above = np.flatnonzero(below >= 0)
        graph = nx.DiGraph(zip(above.tolist(), below[above].tolist(), strict=True))
        graph.add_nodes_from(range(below.size))
        table = pd.DataFrame({"x": x, "k": k / (self.problem["dt"] * self.problem["substeps"])}, index=np.arange(below.size))
        parts = define_schedule(graph, plength_thr=10**4, node_thr=10**4)
        self._trees = RivTreeCluster(*parts, irf_fn="muskingum", param_df=table).to("cuda")
        self._router = LTIStagedRouter(max_delay=self.WINDOW, dt=1).to("cuda")
        self._order = pd.Index(np.arange(below.size)).get_indexer(self._trees.nodes_idx.index)

    def prepare(self, case: str) -> None:
        super().prepare(case)
        import torch

        by_reach = np.ascontiguousarray(self._from_file("runoff.nc", "runoff").T[self._order])
        self._runoff = torch.from_numpy(by_reach)[None].cuda()
        torch.cuda.synchronize()

    def kernel(self) -> None:
        import torch

        with torch.no_grad():
            self.discharge = self._router(self._runoff, self._trees)
        torch.cuda.synchronize()

    def found(self, case: str) -> np.ndarray:
        by_reach = np.empty(self.discharge.shape[1:], np.float32)
        by_reach[self._order] = self.discharge[0].cpu().numpy()
        return by_reach.T


class MizuRoute(Peer):
    """mizuRoute (Mizukami and others), a program: its impulse responses (``route_opt`` 1), without its hillslopes."""

    cases = ("files",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if "mizuroute" not in self.problem:
            raise RuntimeError("it is a program: name it with --mizuroute")

    @property
    def version(self) -> str:
        return Path(self.problem["mizuroute"]).name

    def prepare(self, case: str) -> None:
        super().prepare(case)
        for old in self._outputs():
            old.unlink()

    def _outputs(self) -> list[Path]:
        return sorted(self.folder.glob("mizuroute/*.h.*.nc"))

    def files(self) -> None:
        words = [self.problem["mizuroute"], str(self.folder / "mizuroute" / "run.control")]
        done = subprocess.run(words, cwd=self.folder / "mizuroute", capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{words[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-1000:]}")

    def found(self, case: str) -> np.ndarray:
        import netCDF4

        parts, ids = [], None
        for path in self._outputs():
            with netCDF4.Dataset(path) as file:
                parts.append(np.asarray(file["IRFroutedRunoff"][:]))
                ids = np.asarray(file["reachID"][:])
        with np.load(self.folder / "links.npz") as links:
            at = {reach: k for k, reach in enumerate(ids.tolist() if ids is not None else [])}
            return np.concatenate(parts)[:, [at[reach] for reach in links["reach"].tolist()]]


class SciPy(Peer):
    """Muskingum as the papers write it, in the matrices of SciPy, one solution a step: what a script of one's own would do."""

    package = "scipy"

    def prepare(self, case: str) -> None:
        super().prepare(case)
        self._fresh("scipy-out.nc")
        if case == "kernel":
            self._matrices, self._inflow = self._make_matrices(), self._from_file("runoff.nc", "runoff")

    def _make_matrices(self) -> Any:
        from scipy.sparse import csc_array, diags_array, eye_array
        from scipy.sparse.linalg import splu

        with np.load(self.folder / "links.npz") as links:
            below, k, x = links["below"], links["k"], links["x"]
        n, half, above = below.size, self.problem["dt"] / 2, np.flatnonzero(below >= 0)
        net = csc_array((np.ones(above.size), (below[above], above)), shape=(n, n))
        c1, c2, c3 = (c / (k * (1 - x) + half) for c in (half - k * x, half + k * x, k * (1 - x) - half))
        solve = splu((eye_array(n) - diags_array(c1) @ net).tocsc(), permc_spec="NATURAL").solve
        return solve, (diags_array(c3) + diags_array(c2) @ net).tocsr(), c1 + c2

    def _route(self, matrices: Any, runoff: np.ndarray) -> np.ndarray:
        (solve, past, own), substeps = matrices, self.problem["substeps"]
        flow, discharge = np.zeros(runoff.shape[1]), np.zeros_like(runoff)
        for k, inflow in enumerate(runoff):
            lateral, total = own * inflow, np.zeros_like(flow)
            for _ in range(substeps):
                flow = solve(past @ flow + lateral)
                total += flow
            discharge[k] = total / substeps
        return discharge

    def kernel(self) -> None:
        self.discharge = self._route(self._matrices, self._inflow)

    def files(self) -> None:
        import xarray as xr

        with xr.open_dataset(self.folder / "runoff.nc") as file:
            runoff = file["runoff"].load()
        runoff.copy(data=self._route(self._make_matrices(), runoff.values)).to_netcdf(self.folder / "scipy-out.nc")

    def found(self, case: str) -> np.ndarray:
        return self._from_file("scipy-out.nc", "runoff") if case == "files" else super().found(case)


PEERS = {
    "river-route": RiverRoute, "rapid2": Rapid2, "earthkit-hydro": EarthkitHydro, "diffroute": DiffRoute, "mizuroute": MizuRoute,
    "scipy": SciPy,
}  # fmt: skip


def processor_time() -> float:
    """Seconds of processor time of this process, its threads, and programs that it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def main(name: str, folder: Path) -> None:
    """Answer until there are no more commands; what goes wrong is an answer, too."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer prints is not taken for an answer

    def say(**words: Any) -> None:
        print(json.dumps(words), file=out, flush=True)

    warnings.simplefilter("ignore")
    try:
        peer = PEERS[name](folder)
        say(version=peer.version, cases=peer.cases)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
        return
    for line in sys.stdin:
        what, case = line.split()
        try:
            if what == "prepare":
                peer.prepare(case)
                say()
            elif what == "save":
                np.save(folder / f"peer-{case}.npy", peer.found(case))
                say()
            else:
                began, processor = time.perf_counter(), processor_time()
                getattr(peer, case)()
                say(seconds=time.perf_counter() - began, processor=processor_time() - processor)
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
