"""A river that is routed a step at a time: what `xroute.route` does with a series, for those who do not know the series yet.

The run is made once, by the same `xroute.run.make_run`, of runoff without values. A step is a block of one step, and hands its
state to the next: on the CPU the bits of discharge do not depend on how a series is cut into blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.block import route_block
from xroute.block_state import BlockState
from xroute.bmi.config import ENTRIES, BmiConfig
from xroute.bmi.dates import Dates
from xroute.census import check_finite
from xroute.exceptions import StateError, TimeAxisError
from xroute.network import Network
from xroute.network_files import as_network
from xroute.options import find_device
from xroute.request import RouteRequest
from xroute.run import Run, make_run
from xroute.state import load_state
from xroute.volumes import stored_water
from xroute.wording import speaking

__all__ = ["Stepper"]

VALUES = 2**22
"""Values of runoff, steps times reaches, that are routed at once."""
WHOLE = 1e-6
"""How far from a whole number of steps, in parts of a step, a time may be."""


class Stepper:
    """A network, what it holds, and how many steps have been routed.

    Attributes
    ----------
    run
        All that the steps have in common.
    step
        Length of a step [s].
    n_steps, n_done
        Steps of the run, None where it does not end; and those that are done.
    state
        What the river holds now.
    dates
        Dates of the steps.
    """

    def __init__(self, config: BmiConfig) -> None:
        network = as_network(config.network)
        self.dates = Dates(config.start_time, config.calendar)
        self._dtype = np.dtype(config.dtype)
        self._units = config.units
        self._device = None if config.device == "cpu" else find_device(config.device)
        request = RouteRequest(
            scheme=config.scheme, substeps=config.substeps, sampling=config.sampling, lateral=config.lateral,
            hillslope=config.hillslope, nan=config.nan, dt=config.dt, label="start",
        )  # fmt: skip
        self.n_done = 0
        self.run: Run = make_run(self._nothing(network, 0.0), network, request, with_state=True)
        assert self.run.settings.step is not None
        self.step = self.run.settings.step
        self.n_steps = None if config.end_time is None else self.dates.until(config.end_time, self.step)
        self.state = BlockState.dry(self.run.n_lags, 1)
        if config.initial_state is not None:
            self.load(config.initial_state)

    @property
    def network(self) -> Network:
        """What routes."""
        return self.run.network

    @property
    def time(self) -> float:
        """Time since the start [s]."""
        return self.n_done * self.step

    def advance(self, runoff: NDArray[Any], n: int = 1) -> NDArray[Any]:
        """Route runoff [reach] that holds for ``n`` steps, one or more: discharge of the last of them [reach].

        Raises
        ------
        XRouteError
            For runoff that is not finite, before anything is changed; and for discharge that overflows.
        TimeAxisError
            If the run ends before, and then nothing is changed.
        """
        if self.n_steps is not None and self.n_done + n > self.n_steps:
            end = self.n_steps * self.step
            raise TimeAxisError(
                f"the run ends at {self.dates.label(end)}, {end:g} s after its start, and nothing is routed beyond: give a later "
                "end_time in the configuration file, or none"
            )
        discharge = self._block(runoff, 1)
        while n > 1:  # a block of many steps is much faster than as many of one
            size = min(n - 1, max(1, VALUES // max(1, runoff.size)))
            discharge = self._block(runoff, size)
            n -= size
        return discharge

    def _block(self, runoff: NDArray[Any], n: int) -> NDArray[Any]:
        """Route a block of so many steps; after an error all is as it was."""
        run, block = self.run, np.repeat(runoff[None, :, None], n, axis=2)
        discharge, state, n_bad = route_block(
            block, run.network.plan, run.filter, self.state, run.settings, run.rows, device=self._device, hillslope=run.slopes
        )
        if any(n_bad):
            with speaking(ENTRIES):
                check_finite(n_bad, run.settings, block, discharge, run.network.ids, run.rows, lambda: self._labels(n))
        self.state = state
        self.n_done += n
        last: NDArray[Any] = discharge[0, :, -1]
        return last

    def _labels(self, n: int) -> NDArray[Any]:
        """When the next steps begin."""
        return np.array([self.dates.label((self.n_done + k) * self.step) for k in range(n)])

    def steps_until(self, time: float) -> int:
        """Steps from now until a time [s] since the start.

        Raises
        ------
        TimeAxisError
            For a time that has passed, or at which no step ends.
        """
        try:
            left = float(time) / self.step - self.n_done
        except (TypeError, ValueError) as error:
            raise TimeAxisError(f"a time is a number of seconds since the start, not {time!r}") from error
        if not np.isfinite(left) or abs(left - round(left)) > WHOLE:
            raise TimeAxisError(
                f"no step ends at {time!r} s: steps of {self.step:g} s are done until {self.time:g} s. Choose a time that is a "
                "multiple of the step, or a step (dt in the configuration file) that fits the coupling's"
            )
        if round(left) < 0:
            raise TimeAxisError(f"{time:g} s has passed: the model is at {self.time:g} s, and does not go back")
        return round(left)

    # ── what the river holds ────────────────────────────────────────────────────────────────────────────────────────

    def outflow(self) -> NDArray[np.float64]:
        """What flows out of each reach at this moment [reach], by the state."""
        return self.state.channel.outflow[0]

    def storage(self) -> NDArray[np.float64]:
        """Water that each reach holds [reach], in m3, that on its hillslope too."""
        stored: NDArray[np.float64] = stored_water(self.run, self.state)[0]
        return stored

    def dataset(self) -> xr.Dataset:
        """The state with labels, as ``return_state=True`` gives it."""
        before = self._nothing(self.network, self.time - self.step)
        return self.run.finish(self.state, before).copy(deep=True)

    def load(self, state: Any) -> None:
        """Go on from a state: a Dataset, or the path of one.

        Raises
        ------
        StateError
            For the state of another run.
        """
        if state is None:
            raise StateError("there is no state to go on from: give a Dataset, or the path of one")
        table = self.run.start(state, self._nothing(self.network, self.time))
        assert table is not None
        self.state = load_state(table, self.run.n_lags, self.network.ids)

    def _nothing(self, network: Network, time: float) -> xr.DataArray:
        """A step of runoff that begins at a time [s]: its labels alone count."""
        coords: dict[str, Any] = {"reach": network.ids}
        date = self.dates.at(time)
        if date is not None:
            coords["time"] = [date]
        nothing = np.zeros((network.n_reaches, 1), self._dtype)
        return xr.DataArray(nothing, coords, ("reach", "time"), attrs={"units": self._units})
