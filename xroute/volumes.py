"""Volumes of water: what comes in as runoff and leaves a network, block by block; what a state holds; a run in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xroute.block_state import Stage, StageTable
from xroute.labels import Layout
from xroute.network import Network
from xroute.parameters import read_parameters
from xroute.schemes import SCHEMES, make_filter
from xroute.settings import RoutingSettings
from xroute.units import flux_in_si, to_si

if TYPE_CHECKING:
    from xroute.block_state import BlockState
    from xroute.run import Run

__all__ = ["Summary", "Volumes", "needs_means", "storage", "stored_water"]


@dataclass
class Summary:
    """What a run did."""

    n_reaches: int
    n_steps: int
    n_series: int
    seconds: float
    volume_in: float | None
    volume_out: float | None
    n_negative: int = 0

    def __str__(self) -> str:
        """One line."""
        rate = self.n_reaches * self.n_steps * self.n_series / max(self.seconds, 1e-9)
        text = f"{self.n_reaches:,} reaches x {self.n_steps:,} steps"
        text += f" x {self.n_series:,}" if self.n_series != 1 else ""
        if self.volume_in is not None and self.volume_out is not None:
            text += f", in {self.volume_in:.6g} m3, out {self.volume_out:.6g} m3"
            text += f" ({self.volume_out / self.volume_in:.1%})" if self.volume_in else ""
        if self.n_negative:
            text += f", {self.n_negative:,} values of discharge negative"
        return f"{text}, {self.seconds:.2f} s ({rate:.3g} reach-steps/s)"


def storage(network: Network, state: xr.Dataset) -> xr.DataArray:
    """Water that a state holds in each reach, on its way to the outlets.

    Parameters
    ----------
    network : Network
    state
        A state of it, as ``return_state=True`` gives it. Without units it is taken to be in m3/s.

    Returns
    -------
    xarray.DataArray
        Storage (..., reach) [m3].

    Examples
    --------
    >>> import xroute
    >>> from xroute.volumes import storage
    >>> river = xroute.Network.from_links([1, 2], [2, 3], parameters={"tau": 7200.0}, attrs={"scheme": "linear_storage"})
    >>> runoff = xr.DataArray([1.0, 0.0, 0.0], {"reach": [1, 2, 3]}, attrs={"units": "m3 s-1"})
    >>> storage(river, xroute.steady_state(river, runoff, dt="1h")).values
    array([7200., 7200., 7200.])
    """
    step = float(state.attrs["dt"]) / float(state.attrs["substeps"])
    scheme = str(state.attrs["scheme"])
    parameters = read_parameters(network, scheme if scheme in SCHEMES else None)  # of several schemes, the network's own
    made = make_filter(parameters, step, network.n_reaches, ids=network.ids)
    state = state.sel(reach=network.ids)
    outflow = state["outflow"].transpose(..., "reach")
    inflow = state["inflow"].sortby("lag").transpose(*outflow.dims, "lag").values if "inflow" in state else None
    stage = Stage.of_table(StageTable(outflow.values, inflow), made.n_taps - 1)
    units = outflow.attrs.get("units")
    water = made.storage(step, stage.history, stage.outflow) * (1.0 if units is None else flux_in_si(units, "the state"))
    stored = outflow.copy(data=water.reshape(outflow.shape)).rename("storage")
    stored.attrs = {"long_name": "water stored in the reach", "units": "m3"}
    return stored


def stored_water(run: Run, state: BlockState) -> Any:
    """Water that the state of a run holds in each reach [batch, reach], in all its stages together [m3]."""
    assert run.settings.routing_step is not None
    to_si = 1.0 if run.units is None else flux_in_si(run.units, "the state")
    return run.filter.storage(run.settings.routing_step, *state.channel) * to_si


def needs_means(settings: RoutingSettings) -> bool:
    """Whether samples of discharge, and states, do not tell how much water flowed: the last value of several."""
    return settings.sampling == "last" and settings.substeps > 1


class Volumes:
    """Sums of the water that enters as runoff and leaves the network [m3]; ``total`` is None where units do not tell.

    ``n_negative`` counts values of discharge that are negative, of the blocks that this run has routed.
    """

    def __init__(
        self, network: Network, layout: Layout, scale: Any, step: float | None, units: str | None,
        total: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        """Begin with what has been counted before: of a `Run`, its step of runoff [s], and its units of discharge."""
        self.total: tuple[float, float] | None = None
        self.n_negative = 0
        if step is None or not units:
            return
        self.total = total or (0.0, 0.0)
        self._to_m3 = step * float(to_si(xr.DataArray(1.0, attrs={"units": units}), "m3 s-1", "runoff"))
        factor = np.broadcast_to(1.0 if scale is None else np.asarray(scale, float), network.n_reaches)
        upstream, _, fraction = network.links
        leaves = 1.0 - np.bincount(upstream, fraction, network.n_reaches)  # share of a reach's water
        self._into = factor, layout.row
        self._out = leaves, layout.result_row

    def add(self, runoff: Any, discharge: Any) -> None:
        """Count a block: sums over members and time of runoff and discharge, float64 [row]."""
        if self.total is None:
            return
        into, out = (_weighted(sums, *of) for sums, of in ((runoff, self._into), (discharge, self._out)))
        self.total = self.total[0] + into * self._to_m3, self.total[1] + out * self._to_m3


def _weighted(sums: Any, weight: Any, row: Any) -> float:
    if row is None:
        return float(sums @ weight)
    has = row >= 0
    return float(sums[row[has]] @ weight[has])
