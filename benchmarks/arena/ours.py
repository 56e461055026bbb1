"""xroute's side: a function for each case, given the same as the peer, which returns discharge (time, reach)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import xroute
from arena.problems import DT, Problem
from arena.truth import Convention
from xroute.block import route_block
from xroute.io import open_dataset, write_discharge
from xroute.parameters import read_parameters
from xroute.schemes import make_filter
from xroute.scores import unrouted
from xroute.settings import RoutingSettings

OUTPUT = "xroute-out.nc"


def quietly() -> None:
    """What xroute says of these rivers is known: reaches of the sample are too short for a quarter of an hour."""
    logging.getLogger("xroute").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", UserWarning)


class Ours:
    """xroute in a peer's convention."""

    def __init__(self, problem: Problem, convention: Convention, *, gpu: bool = False) -> None:
        self.problem, self.convention, self.gpu = problem, convention, gpu
        self.how = {**convention.options, "substeps": problem.substeps}
        self._runoff: xr.DataArray | None = None
        self._device: Any = None

    def prepare(self, case: str) -> None:
        """What is not timed: runoff is read where a case has it in memory, and no old output stands in the way."""
        (self.problem.folder / OUTPUT).unlink(missing_ok=True)
        if case == "files":
            self._runoff = None
        elif self._runoff is None:
            with xr.open_dataset(self.problem.folder / "runoff.nc") as file:
                self._runoff = file["runoff"].load()

    def run(self, case: str) -> Any:
        """Discharge (time, reach); None where it is in the file."""
        return self._cases()[case]()

    def found(self, case: str, discharge: Any) -> NDArray[Any]:
        """Discharge of the last run."""
        if case != "files":
            return np.asarray(discharge)
        with open_dataset(self.problem.folder / OUTPUT) as file:
            return np.asarray(file["unrouted" if self.convention.sums else "discharge"].transpose("time", "reach").values)

    def _cases(self) -> dict[str, Callable[[], Any]]:
        return {"kernel": self._kernel_on_gpu if self.gpu else self._kernel, "call": self._call, "files": self._files}

    def _filter(self) -> Any:
        """The filter of the reaches, made before a kernel is timed, as the peers' coefficients are."""
        network = self.problem.network
        if self.convention.sums:
            at_once = {"pure_lag": (np.arange(self.problem.n), {"delay": np.zeros(self.problem.n)})}
            return make_filter(at_once, float(DT), self.problem.n)
        lateral = self.how["lateral"]
        return make_filter(read_parameters(network), float(DT), self.problem.n, lateral=lateral, ids=network.ids)

    def _settings(self) -> RoutingSettings:
        if self.convention.sums:
            return RoutingSettings()
        return RoutingSettings(None, self.how["substeps"], self.how["sampling"], self.how["lateral"])

    def _kernel(self) -> NDArray[Any]:
        assert self._runoff is not None
        if self._device is None:
            self._device = self._filter(), self._settings()
        made, settings = self._device
        return route_block(self._runoff.values.T[None], self.problem.network.plan, made, None, settings)[0][0].T

    def _kernel_on_gpu(self) -> Any:
        import torch

        from xroute.engine.gpu.host import route_gpu
        from xroute.engine.gpu.layout import prepare_filter

        assert self._runoff is not None
        if self._device is None:
            cuda = torch.device("cuda")
            runoff = torch.from_numpy(np.ascontiguousarray(self._runoff.values.T))[None].to(cuda)
            self._device = runoff, prepare_filter(self.problem.network.plan, self._filter(), cuda, torch.float32)
        runoff, made = self._device
        discharge = route_gpu(runoff, self.problem.network.plan, made, keep_state=False)[0]
        torch.cuda.synchronize()
        return _OnDevice(discharge)

    def _call(self) -> NDArray[Any]:
        assert self._runoff is not None
        return np.asarray(self._routed(self._runoff, self.problem.network).transpose("time", "reach").values)

    def _files(self) -> None:
        folder = self.problem.folder
        with xr.open_dataset(folder / "runoff.nc") as file, xr.open_dataset(folder / self.problem.network_file) as rivers:
            network = xroute.Network(rivers, missing_downstream="outlet")
            write_discharge(self._routed(file["runoff"], network), folder / OUTPUT, network=network)

    def _routed(self, runoff: xr.DataArray, network: Any) -> xr.DataArray:
        return unrouted(runoff, network) if self.convention.sums else runoff.route(network, **self.how)


class _OnDevice:
    """Discharge [batch, reach, time] of a GPU, brought to the host when it is asked for, which is not timed."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.tensor[0].cpu().numpy().T, dtype)


__all__ = ["Ours", "quietly"]
