"""`BmiXroute`: a river network behind the Basic Model Interface, version 2 (Hutton et al. 2020).

What a method is for and takes, the interface says (https://bmi.csdms.io); here stands what it is of a river. All values are flat
arrays with an entry a reach, in the network's order.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import xarray as xr
from bmipy import Bmi
from numpy.typing import NDArray

from xroute.bmi.config import ENTRIES, BmiConfig, read_config
from xroute.bmi.grid import RiverGrid, fill
from xroute.bmi.stepper import Stepper
from xroute.bmi.variables import Variables
from xroute.exceptions import ParameterError, XRouteError
from xroute.files.writing import write
from xroute.wording import speaking

__all__ = ["BmiXroute"]

Array = NDArray[Any]
GRID = 0
"""The only grid."""


class BmiXroute(Bmi):
    """A river network as a model with the Basic Model Interface (BMI) 2.0.

    A step takes the runoff of each reach, and gives its discharge, which has the bits that `xroute.route` gives for the whole
    series. `initialize` reads a file in YAML: ``network`` is a path; ``dt``, ``scheme``, ``substeps``, ``sampling``,
    ``lateral``, ``hillslope`` and ``nan`` are those of `xroute.route`; ``units`` and ``dtype`` are the runoff's;
    ``start_time``, ``calendar`` and ``end_time`` say when it is; ``initial_state`` is the path of a state; ``runoff_name``,
    ``discharge_name`` and ``device`` may be chosen. Paths are relative to the file.

    Besides the methods of the BMI there are a few for labels and states. Variables have an entry a reach, in the order of
    `reach`: runoff goes in, and discharge and storage [m3] come out.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, xroute
    >>> from xroute.bmi import BmiXroute
    >>> folder = Path(tempfile.mkdtemp())
    >>> river = xroute.Network.from_links([1, 2], [2, 3], parameters={"tau": 7200.0}, attrs={"scheme": "linear_storage"})
    >>> xroute.io.write(river.dataset, folder / "river.nc")
    >>> _ = (folder / "xroute.yml").write_text("{network: river.nc, dt: 1h}")
    >>> model = BmiXroute()
    >>> model.initialize(str(folder / "xroute.yml"))
    >>> runoff, discharge, storage = *model.get_input_var_names(), *model.get_output_var_names()
    >>> runoff, discharge, model.get_var_units(discharge)
    ('land_surface_water_source__volume_flow_rate', 'channel_exit_water_x-section__volume_flow_rate', 'm3 s-1')
    >>> model.set_value(runoff, np.array([3.0, 0.0, 0.0]))
    >>> model.update()
    >>> model.get_value(discharge, np.empty(3)).round(3)
    array([1.   , 0.333, 0.111])
    >>> model.finalize()
    """

    def __init__(self) -> None:
        self._stepper: Stepper | None = None
        self._variables: Variables | None = None
        self._grid: RiverGrid | None = None

    # ── control ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def initialize(self, config_file: str | os.PathLike[str]) -> None:
        """Read the configuration file and the network, check all, and start from the state that is named, or dry."""
        self.finalize()
        with speaking(ENTRIES):
            config: BmiConfig = read_config(config_file)
            try:
                stepper = Stepper(config)
                grid = RiverGrid(stepper.network)
            except XRouteError as error:
                raise type(error)(f"{config_file}: {error}") from error
        self._stepper, self._grid, self._variables = stepper, grid, Variables(stepper, config)

    def update(self) -> None:
        """Route the runoff that was set through one step."""
        self._of().advance()

    def update_until(self, time: float) -> None:
        """Route the runoff that was set through the steps until ``time`` [s], where a step must end."""
        self._of().advance(self._river().steps_until(time))

    def finalize(self) -> None:
        """Let go of all."""
        self._stepper = self._variables = self._grid = None

    # ── the model ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_component_name(self) -> str:
        """Name of the model."""
        return "xroute"

    def get_input_item_count(self) -> int:
        """One: runoff."""
        return len(self.get_input_var_names())

    def get_output_item_count(self) -> int:
        """Two: discharge and storage."""
        return len(self.get_output_var_names())

    def get_input_var_names(self) -> tuple[str]:
        """Name of runoff: by its units, or as the configuration file says."""
        return (self._of().runoff,)

    def get_output_var_names(self) -> tuple[str, ...]:  # type: ignore[override]  # it says tuple[str], and means any length
        """Names of discharge and storage."""
        variables = self._of()
        return (variables.discharge, variables.storage)

    # ── variables ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_var_grid(self, name: str) -> int:
        """The grid of reaches, 0."""
        self._of().on_reaches(name)
        return GRID

    def get_var_type(self, name: str) -> str:
        """Type of numpy, by its name."""
        return self._of().dtype(name)

    def get_var_units(self, name: str) -> str:
        """Units as UDUNITS writes them."""
        return self._of().units(name)

    def get_var_itemsize(self, name: str) -> int:
        """Bytes of an entry."""
        return np.dtype(self.get_var_type(name)).itemsize

    def get_var_nbytes(self, name: str) -> int:
        """Bytes of all entries."""
        return self._of().size(name) * self.get_var_itemsize(name)

    def get_var_location(self, name: str) -> str:
        """Reaches are the nodes of their grid."""
        self._of().on_reaches(name)
        return "node"

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_current_time(self) -> float:
        """Seconds since the start."""
        return float(self._river().time)

    def get_start_time(self) -> float:
        """Zero, whatever the date."""
        return 0.0

    def get_end_time(self) -> float:
        """Seconds from start to end; the largest number where the run does not end."""
        river = self._river()
        return sys.float_info.max if river.n_steps is None else float(river.n_steps * river.step)

    def get_time_units(self) -> str:
        """Seconds."""
        return "s"

    def get_time_step(self) -> float:
        """Length of a step of runoff [s], in which there may be several routing steps."""
        return float(self._river().step)

    # ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_value(self, name: str, dest: Array) -> Array:
        """Copy the values of a variable to ``dest``."""
        return fill(dest, self._of().values(name), name)

    def get_value_ptr(self, name: str) -> Array:
        """The model's own array: runoff may be written to, the others only read."""
        return self._of().pointer(name)

    def get_value_at_indices(self, name: str, dest: Array, inds: Array) -> Array:
        """Copy the values of some reaches, by their positions, to ``dest``."""
        values = self._of().values(name)
        return fill(dest, values[self._of().positions(inds, values.size)], name)

    def set_value(self, name: str, src: Array) -> None:
        """Set runoff of all reaches, which holds until it is set again."""
        self._of().set(name, src)

    def set_value_at_indices(self, name: str, inds: Array, src: Array) -> None:
        """Set runoff of some reaches, by their positions."""
        self._of().set_at(name, inds, src)

    # ── the grid ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_grid_rank(self, grid: int) -> int:
        """Two, or none without coordinates."""
        return self._at(grid).rank

    def get_grid_size(self, grid: int) -> int:
        """How many reaches there are."""
        return self._at(grid).size

    def get_grid_type(self, grid: int) -> str:
        """``unstructured``, or ``none`` without coordinates."""
        return self._at(grid).kind

    def get_grid_shape(self, grid: int, shape: Array) -> Array:
        """Not of this grid."""
        raise self._without("shape", grid)

    def get_grid_spacing(self, grid: int, spacing: Array) -> Array:
        """Not of this grid."""
        raise self._without("spacing", grid)

    def get_grid_origin(self, grid: int, origin: Array) -> Array:
        """Not of this grid."""
        raise self._without("origin", grid)

    def get_grid_x(self, grid: int, x: Array) -> Array:
        """Longitude [degrees], or easting, of each reach."""
        return fill(x, self._at(grid).coordinate(0), "x")

    def get_grid_y(self, grid: int, y: Array) -> Array:
        """Latitude [degrees], or northing, of each reach."""
        return fill(y, self._at(grid).coordinate(1), "y")

    def get_grid_z(self, grid: int, z: Array) -> Array:
        """Not of this grid."""
        raise self._without("z", grid)

    def get_grid_node_count(self, grid: int) -> int:
        """How many reaches there are."""
        return self._at(grid).size

    def get_grid_edge_count(self, grid: int) -> int:
        """How many links there are."""
        return self._at(grid).n_edges

    def get_grid_face_count(self, grid: int) -> int:
        """None."""
        self._at(grid)
        return 0

    def get_grid_edge_nodes(self, grid: int, edge_nodes: Array) -> Array:
        """Positions of the reaches that each link joins: upstream, downstream, upstream, ..."""
        return fill(edge_nodes, self._at(grid).edge_nodes, "edge_nodes")

    def get_grid_face_edges(self, grid: int, face_edges: Array) -> Array:
        """Nothing, for there are no faces."""
        return self._no_faces(grid, face_edges)

    def get_grid_face_nodes(self, grid: int, face_nodes: Array) -> Array:
        """Nothing, for there are no faces."""
        return self._no_faces(grid, face_nodes)

    def get_grid_nodes_per_face(self, grid: int, nodes_per_face: Array) -> Array:
        """Nothing, for there are no faces."""
        return self._no_faces(grid, nodes_per_face)

    # ── besides the interface: labels and states ────────────────────────────────────────────────────────────────────────

    @property
    def reach(self) -> Array:
        """Ids of the reaches [reach], in the order of all values."""
        return self._river().network.ids

    @property
    def state(self) -> xr.Dataset:
        """What the river holds now: a state with labels, as `xroute.route` gives it, a copy."""
        return self._river().dataset()

    def save_state(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write what the river holds now, to go on from in another run.

        Parameters
        ----------
        path
            ``*.nc`` or ``*.zarr``; for ``initial_state`` of a configuration file, or of `xroute.route`.
        overwrite
            Replace what is at the path.

        Raises
        ------
        XRouteError
            Before `initialize`, and for another suffix.
        FileExistsError
            There is something at the path and ``overwrite`` is False.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xroute
        >>> from xroute.bmi import BmiXroute
        >>> folder = Path(tempfile.mkdtemp())
        >>> xroute.io.write(xroute.datasets.tutorial()[0], folder / "river.nc")
        >>> _ = (folder / "xroute.yml").write_text("{network: river.nc, dt: 1h, start_time: 2001-01-01}")
        >>> model = BmiXroute()
        >>> model.initialize(folder / "xroute.yml")
        >>> model.update()
        >>> model.save_state(folder / "state.nc")
        >>> xroute.io.open_dataset(folder / "state.nc").attrs["time"]
        '2001-01-01T01:00:00'
        """
        write(self.state, path, overwrite=overwrite)

    def load_state(self, state: xr.Dataset | str | os.PathLike[str]) -> None:
        """Go on from what a river held, now: the model's time stays what it is.

        Parameters
        ----------
        state
            A Dataset, as `state` gives it, or the path of one. Reaches are matched by id.

        Raises
        ------
        StateError
            For the state of another network, scheme or routing step.
        XRouteError
            Before `initialize`.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import xroute
        >>> from xroute.bmi import BmiXroute
        >>> folder = Path(tempfile.mkdtemp())
        >>> river, ds = xroute.datasets.tutorial()
        >>> xroute.io.write(river, folder / "river.nc")
        >>> _ = (folder / "xroute.yml").write_text("{network: river.nc, dt: 1h}")
        >>> model = BmiXroute()
        >>> model.initialize(folder / "xroute.yml")
        >>> discharge, state = ds.runoff.route(river, return_state=True)
        >>> model.load_state(state)
        >>> bool((model.get_value_ptr("channel_exit_water_x-section__volume_flow_rate") > 0).all())
        True
        """
        self._river().load(state)
        self._of().show()

    # ── ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _of(self) -> Variables:
        if self._variables is None:
            raise self._not_yet()
        return self._variables

    def _river(self) -> Stepper:
        if self._stepper is None:
            raise self._not_yet()
        return self._stepper

    def _at(self, grid: int) -> RiverGrid:
        if self._grid is None:
            raise self._not_yet()
        if grid != GRID:
            raise ParameterError(f"there is no grid {grid!r}: the grid of reaches is {GRID}")
        return self._grid

    def _not_yet(self) -> XRouteError:
        return XRouteError("the model is not initialized, or was finalized: call initialize(config_file) first")

    def _without(self, what: str, grid: int) -> NotImplementedError:
        return NotImplementedError(f"a grid of the type {self._at(grid).kind!r} has no {what}")

    def _no_faces(self, grid: int, dest: Array) -> Array:
        self._at(grid)
        return dest
