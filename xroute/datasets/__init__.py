"""Rivers and weather made in code: Scheidegger networks of any size, storm-driven runoff, and a small tutorial basin.

`land_surface` makes what users arrive with instead: a land model's grid, rivers as lines and catchments as polygons;
`land_forecast` an ensemble forecast on the same grid. `forcing` makes rain and potential evaporation, for models of runoff, and
`attributes` what maps say of reaches, to learn parameters from. `rapid_folder`, `nwm_folder` and `mizuroute_folder` write
whole set-ups in the files of RAPID, RAPID2, the National Water Model and mizuRoute.

Nothing is downloaded and nothing is read from a file; the same seed gives the same river. The hydrology is plausible,
not observed: enough to learn with, to test and to measure.
"""

from xroute.datasets.basin import tutorial
from xroute.datasets.forcing import attributes, forcing
from xroute.datasets.land import LandSurface, land_forecast, land_surface
from xroute.datasets.mizuroute_folders import mizuroute_folder
from xroute.datasets.nwm_folders import nwm_folder
from xroute.datasets.rapid_folders import rapid_folder
from xroute.datasets.rivers import scheidegger
from xroute.datasets.storms import Storm, storm_runoff

__all__ = [
    "LandSurface", "Storm", "attributes", "forcing", "land_forecast", "land_surface", "mizuroute_folder", "nwm_folder",
    "rapid_folder", "scheidegger", "storm_runoff", "tutorial",
]  # fmt: skip
