"""Runoff of a calibration, as tensors on its device: kept there whole where it fits, and else read anew for each window."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.census import check_finite, step_labels
from xroute.engine.arrays import NotFinite, Rows, compute_type
from xroute.engine.backends import on_host
from xroute.exceptions import AlignmentError, some
from xroute.guards import reading
from xroute.known import KnownDischarge
from xroute.labels import in_order
from xroute.memory import available_memory
from xroute.run import Run

__all__ = ["RunoffSource", "free_memory"]

Tensor = torch.Tensor
SHARE = 0.25
"""Part of the free memory that runoff may take to be kept whole."""


def free_memory(device: torch.device) -> float:
    """Bytes that are free on a device; infinite where nobody tells."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    free = available_memory()
    return float("inf") if free is None else float(free)


class RunoffSource:
    """Runoff of some of a run's reaches, as a volume flux.

    Parameters
    ----------
    array
        Runoff, whose labels the run has matched.
    run
        The run.
    reaches : int64 [reach of the part]
        Positions of the reaches in the run's network.
    steps
        Which steps of runoff will be asked for.
    device
        Where to.

    Raises
    ------
    AlignmentError
        For more than one member.
    """

    def __init__(
        self, array: xr.DataArray, run: Run, reaches: NDArray[np.int64], steps: slice, device: torch.device
    ) -> None:
        several = [d for d in run.layout.batch_dims if run.layout.sizes[d] != 1]
        if several:
            raise AlignmentError(
                f"runoff has the dimension{'s' * (len(several) > 1)} {some(several)} beside reach and time, and a calibration is "
                f"of one series: choose an entry, runoff.isel({several[0]}=0), or a mean, runoff.mean({str(several[0])!r})"
            )
        self.array = array.isel(dict.fromkeys(run.layout.batch_dims, 0)) if run.layout.batch_dims else array
        self.run, self.device, self.steps = run, device, steps
        self.dtype = compute_type(array.dtype)
        row = run.layout.row
        self.row = reaches if row is None else row[reaches]
        self.ids = run.network.ids[reaches]
        scale = None if run.scale is None else np.asarray(run.scale, np.float64)
        self.scale = scale if scale is None or scale.ndim == 0 else scale[reaches]
        n_bytes = reaches.size * (steps.stop - steps.start) * self.dtype.itemsize
        self.keeps = n_bytes <= SHARE * free_memory(device)
        self._kept: Tensor | None = None
        self._last: tuple[tuple[int, int], Tensor] | None = None
        self._looked = False

    def block(self, begin: int, stop: int) -> Tensor:
        """Runoff [1, reach, time] of some steps.

        Raises
        ------
        XRouteError
            For values that are not finite, unless they are taken as zero.
        """
        if self.keeps:
            if self._kept is None:
                self._kept = self._read(self.steps.start, self.steps.stop)
            whole = self._kept[..., begin - self.steps.start : stop - self.steps.start]
            return whole
        if self._last is None or self._last[0] != (begin, stop):
            self._last = None  # two blocks at a time would be one too many
            self._last = (begin, stop), self._read(begin, stop)
        return self._last[1]

    def _read(self, begin: int, stop: int) -> Tensor:
        dim, time_dim = self.run.layout.reach_dim, self.run.clock.dim
        part = self.array.isel({time_dim: slice(begin, stop)})
        row = self.row
        there = row >= 0
        wanted = np.unique(row[there])
        if part.chunks is None and wanted.size > 0.2 * part.sizes[dim]:
            wanted = np.arange(part.sizes[dim])
        part = _select(part, dim, wanted)
        with reading("the runoff"):
            data = np.asarray(on_host(in_order(part, (dim, time_dim)).data), self.dtype)
        values = np.zeros((row.size, stop - begin), self.dtype)
        values[there] = data[np.searchsorted(wanted, row[there])]
        if self.run.watch is not None and not self._looked:
            self.run.watch.at(begin).look(values[None], at_start=begin == 0)
            self._looked = True
        bad = ~np.isfinite(values)
        if bad.any():
            n_bad, labels = NotFinite(int(bad.sum()), 0), step_labels(self.array, time_dim)[begin:stop]
            check_finite(n_bad, self.run.settings, values[None], None, self.ids, Rows(), lambda: labels)
            values[bad] = 0.0
        if self.scale is not None:
            values *= np.asarray(self.scale if self.scale.ndim == 0 else self.scale[:, None], self.dtype)
        return torch.from_numpy(values)[None].to(self.device)


class KnownSource:
    """Discharge that is known on some of the reaches, for each window; of none, None."""

    def __init__(self, known: KnownDischarge | None, position: NDArray[np.int64], device: torch.device) -> None:
        self._known, self.device = known, device
        at = np.empty(0, np.int64) if known is None else position[known.reach]
        self._rows = np.flatnonzero(at >= 0)
        self.reach = at[self._rows]
        """Positions of the reaches in the part."""

    def block(self, begin: int, stop: int) -> Tensor | None:
        """Known discharge [1, known, time] of some steps."""
        if self._known is None or not self.reach.size:
            return None
        values = np.asarray(self._known.block(begin, stop - begin).values)[:, self._rows]
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)


def _select(part: xr.DataArray, dim: Hashable, wanted: NDArray[np.int64]) -> Any:
    return part if wanted.size == part.sizes[dim] else part.isel({dim: wanted})
