"""Routes runoff down river networks, inside xarray.

    discharge = ds.runoff.route(network)

Importing the package registers the accessors ``DataArray.route`` and ``Dataset.river``.
"""

import importlib
from typing import TYPE_CHECKING

import xroute.startup as _startup  # noqa: F401 (first, since what follows takes long)
from xroute import accessors as _accessors  # noqa: F401 (registers them)
from xroute import datasets, grids
from xroute.accumulations import deaccumulate
from xroute.budget import budget
from xroute.cells import to_grid, to_reaches
from xroute.exceedance import exceedance
from xroute.exceptions import (
    AlignmentError,
    NetworkError,
    ParameterError,
    StateError,
    TimeAxisError,
    UnitsError,
    XRouteError,
)
from xroute.footprints import footprint
from xroute.grids.remapping import remap
from xroute.groups import reach_groups
from xroute.hydrography import estimate_parameters, local_area
from xroute.lakes import lakes
from xroute.network import Network
from xroute.options import set_options
from xroute.routing import route
from xroute.schemes import Parameter, register_scheme
from xroute.scores import scores
from xroute.spinup import initial_state, steady_state
from xroute.streaming import route_to_zarr
from xroute.times import with_bounds
from xroute.unit_hydrographs import unit_hydrograph
from xroute.version import __version__

if TYPE_CHECKING:
    from xroute import losses, tables
    from xroute.grids.weights import grid_weights
    from xroute.learning.calibration import calibrate
    from xroute.learning.parameter_model import ParameterModel
    from xroute.router import Router

__all__ = [
    "AlignmentError", "Network", "NetworkError", "Parameter", "ParameterError", "ParameterModel", "Router", "StateError",
    "TimeAxisError", "UnitsError", "XRouteError", "__version__", "budget", "calibrate", "datasets", "deaccumulate",
    "estimate_parameters", "exceedance", "footprint", "grid_weights", "grids", "initial_state", "lakes", "local_area",
    "losses", "reach_groups", "register_scheme", "remap", "route", "route_to_zarr", "scores", "set_options",
    "steady_state", "tables", "to_grid", "to_reaches", "unit_hydrograph", "with_bounds",
]  # fmt: skip


# Only for those who ask: reading tables and files, pictures, and torch for those who train.
_ROOMS = ("io", "learning", "losses", "plotting", "tables")
_ASIDE = ("bmi",)  # a room that cannot be entered without its extra, and so is offered to nobody who looks around
_IN_ROOM = {
    "ParameterModel": "learning.parameter_model", "Router": "router", "calibrate": "learning.calibration",
    "grid_weights": "grids.weights",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name in (*_ROOMS, *_ASIDE):
        return importlib.import_module(f"xroute.{name}")
    if name in _IN_ROOM:
        return getattr(importlib.import_module(f"xroute.{_IN_ROOM[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names only, so that completion offers them whether loaded yet or not, and no rooms of the house."""
    return sorted({*__all__, *_ROOMS})
