"""What the model exchanges with others: its variables by name, with their arrays, types and units.

Runoff goes in, discharge and storage come out; their names are CSDMS's, and runoff's follows from its units. Besides these the
model answers to a few names that it does not list: the ids of its reaches, and what NextGen's engine asks for to keep checkpoints
(https://github.com/NOAA-OWP/ngen, doc/BMI_SERIALIZATION_PROTOCOL.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.bmi.config import BmiConfig
from xroute.bmi.snapshot import restore, snapshot
from xroute.bmi.stepper import Stepper
from xroute.exceptions import ParameterError, some
from xroute.units import runoff_units

__all__ = ["Variables"]

RUNOFF = {
    # of a depth, of a mass, an amount in each step
    (False, False, False): "land_surface_water_source__volume_flow_rate",
    (False, False, True): "land_surface_water_source__volume",
    (False, True, False): "land_surface_water_source__mass_flow_rate",
    (False, True, True): "land_surface_water_source__mass",
    (True, False, False): "land_surface_water__runoff_volume_flux",
    (True, False, True): "land_surface_water__runoff_depth",
    (True, True, False): "land_surface_water__runoff_mass_flux",
    (True, True, True): "land_surface_water__runoff_mass-per-area_density",
}
"""Names of runoff by what its units mean."""
DISCHARGE = "channel_exit_water_x-section__volume_flow_rate"
STORAGE = "channel_water__volume"
ID = "channel_water__id"
CREATE, FREE, SIZE, STATE = (f"ngen::serialization_{name}" for name in ("create", "free", "size", "state"))
UNLISTED = {
    CREATE: ("int32", "ngen::trigger"), FREE: ("int32", "ngen::trigger"), SIZE: ("int32", "bytes"),
    STATE: ("uint8", "ngen::opaque"),
}  # fmt: skip
"""Type and units of what checkpoints are made by."""


class Variables:
    """The variables of a river that is routed step by step.

    Attributes
    ----------
    runoff, discharge, storage
        Their names.
    """

    def __init__(self, stepper: Stepper, config: BmiConfig) -> None:
        units = runoff_units(config.units)
        self._stepper = stepper
        self.runoff = config.runoff_name or RUNOFF[units.is_depth, units.is_mass, units.per_step]
        self.discharge = config.discharge_name or DISCHARGE
        self.storage = STORAGE
        ids, n = stepper.network.ids, stepper.network.n_reaches
        if len({self.runoff, self.discharge, STORAGE, ID, *UNLISTED}) < 4 + len(UNLISTED):
            raise ParameterError(
                f"runoff is called {self.runoff!r} and discharge {self.discharge!r}: another variable has that name, so choose "
                "another runoff_name or discharge_name"
            )
        dtype = np.dtype(config.dtype)
        self._arrays = {self.runoff: np.zeros(n, dtype), self.discharge: np.zeros(n, dtype), STORAGE: np.zeros(n), ID: ids}
        self._units = {self.runoff: config.units, self.discharge: str(stepper.run.units), STORAGE: "m3", ID: "1"}
        self._views = {name: _read_only(array) for name, array in self._arrays.items()}
        self._storage_is_seen = False
        self._bytes = np.empty(0, np.uint8)
        self.show()

    def advance(self, n: int = 1) -> None:
        """Route ``n`` steps, with runoff as it is."""
        if n:
            self._arrays[self.discharge][:] = self._stepper.advance(self._arrays[self.runoff], n)
            self._show_storage()

    def show(self) -> None:
        """Show what a state says of this moment, before a step is routed: what flows out of each reach, and what it holds."""
        self._arrays[self.discharge][:] = self._stepper.outflow()
        self._show_storage()

    def _show_storage(self) -> None:
        if self._storage_is_seen:
            self._arrays[STORAGE][:] = self._stepper.storage()

    # ── what others ask ─────────────────────────────────────────────────────────────────────────────────────────────────

    def on_reaches(self, name: str) -> NDArray[Any]:
        """Array of a variable with an entry a reach.

        Raises
        ------
        ParameterError
            If there is none of that name.
        """
        if name not in self._arrays:
            others = [known for known in self._arrays if known != ID]
            raise ParameterError(f"there is no variable {name!r} on reaches; there are {some(others)}")
        return self._arrays[name]

    def dtype(self, name: str) -> str:
        """Type of a variable, as numpy names it."""
        if name in UNLISTED:
            return UNLISTED[name][0]
        dtype = self.on_reaches(name).dtype
        return dtype.str if dtype.kind == "U" else dtype.name

    def units(self, name: str) -> str:
        """Units of a variable."""
        if name in UNLISTED:
            return UNLISTED[name][1]
        self.on_reaches(name)
        return self._units[name]

    def size(self, name: str) -> int:
        """How many entries a variable has."""
        if name == STATE:
            return self._bytes.size or len(self._snapshot())
        return 1 if name in UNLISTED else self.on_reaches(name).size

    def values(self, name: str) -> NDArray[Any]:
        """Values of a variable now, not to be changed."""
        if name == STATE:
            return self._bytes if self._bytes.size else np.frombuffer(self._snapshot(), np.uint8)
        if name in UNLISTED:
            return np.array([self._bytes.size if name == SIZE else 0], UNLISTED[name][0])
        if name == STORAGE and not self._storage_is_seen:
            return self._stepper.storage()
        return self.on_reaches(name)

    def pointer(self, name: str) -> NDArray[Any]:
        """The array of a variable, that always has its values of now; only runoff may be written to."""
        if name in UNLISTED:
            return _read_only(self.values(name))
        if name == STORAGE and not self._storage_is_seen:
            self._storage_is_seen = True
            self._show_storage()
        array = self.on_reaches(name)
        return array if name == self.runoff else self._views[name]

    # ── what others set ─────────────────────────────────────────────────────────────────────────────────────────────────

    def set(self, name: str, src: Any) -> None:
        """Set runoff of all reaches, or do what checkpoints ask for.

        Raises
        ------
        ParameterError
            For a variable that is not set, and values that are of another size or none.
        StateError
            For bytes that are not a state of this river.
        """
        if name in UNLISTED:
            self._checkpoint(name, src)
            return
        array = self._to_be_set(name)
        array[:] = _numbers(name, src, array.size, "reaches")

    def set_at(self, name: str, inds: Any, src: Any) -> None:
        """Set runoff of the reaches at some positions.

        Raises
        ------
        ParameterError
            As `set`, and for positions that are none.
        """
        array = self._to_be_set(name)
        at = self.positions(inds, array.size)
        array[at] = _numbers(name, src, at.size, "positions")

    def _to_be_set(self, name: str) -> NDArray[Any]:
        array = self.on_reaches(name)
        if name != self.runoff:
            raise ParameterError(f"{name} comes out of the model and cannot be set; {self.runoff} can")
        return array

    @staticmethod
    def positions(inds: Any, size: int) -> NDArray[np.int64]:
        """Positions of reaches, as they are given.

        Raises
        ------
        ParameterError
            If they are no whole numbers, or beyond the reaches.
        """
        at = np.asarray(inds).reshape(-1)
        if at.size and at.dtype.kind not in "iu":
            raise ParameterError(f"positions of reaches are whole numbers, not {at.dtype}: {some(at, 3)}")
        at = at.astype(np.int64)
        bad = at[(at < 0) | (at >= size)]
        if bad.size:
            raise ParameterError(f"{bad.size} positions of reaches are not among 0 to {size - 1}: {some(bad)}")
        return at

    # ── checkpoints ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _exchanged(self) -> list[NDArray[Any]]:
        return [self._arrays[self.runoff], self._arrays[self.discharge]]

    def _snapshot(self) -> bytes:
        return snapshot(self._stepper, self._exchanged())

    def _checkpoint(self, name: str, src: Any) -> None:
        if name == SIZE:
            raise ParameterError(f"{SIZE} is told by the model and cannot be set")
        if name == STATE:
            given = np.asarray(src) if not isinstance(src, (bytes, bytearray, memoryview)) else np.frombuffer(src, np.uint8)
            if given.dtype.itemsize != 1:
                raise ParameterError(f"{STATE} is bytes, uint8, not {given.dtype}")
            restore(self._stepper, self._exchanged(), given.tobytes())
            self._show_storage()
        self._bytes = np.frombuffer(self._snapshot(), np.uint8) if name == CREATE else np.empty(0, np.uint8)


def _numbers(name: str, src: Any, size: int, of: str) -> NDArray[Any]:
    """Values that a caller gives, flat; positions count, and labels would be ignored."""
    if isinstance(src, xr.DataArray):
        raise ParameterError(
            f"{name} is set by position, and this is a DataArray with labels: bring it into the model's order, "
            "values.sel(reach=model.reach).to_numpy()"
        )
    if np.ma.is_masked(src):
        n = int(np.ma.count_masked(src))
        raise ParameterError(f"{name} has {n} masked values: fill them, with zero where there is no water")
    values = np.asarray(src)
    if values.dtype.kind not in "iuf":
        raise ParameterError(f"values of {name} are numbers, not {values.dtype}")
    if values.size != size:
        raise ParameterError(f"{values.size} values were given for {name}, and there are {size} {of}")
    return values.reshape(-1)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
