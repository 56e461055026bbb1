"""Read and write the files of river-route, versions 2 and 3: network, runoff, weights, states, discharge, configurations.

The network is a Parquet table: ``river_id``, ``downstream_river_id``, ``k`` [s], ``x`` (2), or ``riverId``, ``nextRiverId``,
``muskingumK``, ``muskingumX`` and the order of rows, ``riverIndex`` and ``upstreamCount`` (3); -1 marks outlets. Runoff is
``qlateral(time, river_id)`` [m3 per step] or ``catchment_runoff(riverId, time)``, or a grid with weights; discharge is
``Q(time, river_id)`` in netCDF or ``Q(riverId, time)`` in Zarr, states are Parquet, and configurations YAML (2) or JSON. It
routes by Muskingum with runoff flowing in evenly (``lateral="interval"``): version 2 gives the means of the ends of routing
steps, version 3 the discharge at the end of each step of runoff.
"""

from __future__ import annotations

from xroute.io.river_route.config import find_files, read_config
from xroute.io.river_route.hillslope import read_hillslope
from xroute.io.river_route.network import read_network, write_network
from xroute.io.river_route.series import read_discharge, read_runoff
from xroute.io.river_route.state import read_state, write_state
from xroute.io.river_route.weights import write_weights
from xroute.io.river_route.writing import write_discharge, write_runoff

__all__ = [
    "find_files", "read_config", "read_discharge", "read_hillslope", "read_network", "read_runoff", "read_state",
    "write_discharge", "write_network", "write_runoff", "write_state", "write_weights",
]  # fmt: skip
