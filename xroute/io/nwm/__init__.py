"""Files of the National Water Model, read and written: RouteLink, CHRTOUT, restarts (HYDRO_RST) and LAKEPARM.

The order of features differs from file to file: everything is matched by id. The model's own routing is nonlinear, so it is
topology, parameters, inflow and what it computed that are read here. `xroute.io.troute` reads what t-route writes besides, and
`xroute.io.nextgen` the hydrofabric of NextGen.
"""

from __future__ import annotations

from xroute.io.nwm.files import find_files
from xroute.io.nwm.lakes import read_lakes
from xroute.io.nwm.network import read_network, write_network
from xroute.io.nwm.series import read_discharge, read_forcing, read_runoff
from xroute.io.nwm.setup import READER
from xroute.io.nwm.state import read_state, write_state
from xroute.io.nwm.writing import write_discharge, write_runoff

__all__ = [
    "READER", "find_files", "read_discharge", "read_lakes", "read_network", "read_runoff", "read_forcing", "read_state",
    "write_discharge", "write_network", "write_runoff", "write_state",
]  # fmt: skip
