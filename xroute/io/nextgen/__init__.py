"""Files of NextGen (the Next Generation Water Resources Modeling Framework), read and written: hydrofabric and inflow.

A hydrofabric has flowpaths, and nexuses between them, which are collapsed here. Inflow comes by nexus or by catchment. What
t-route makes of it is read by `xroute.io.troute`.
"""

from __future__ import annotations

from xroute.io.nextgen.forcing import read_runoff
from xroute.io.nextgen.lakes import read_lakes
from xroute.io.nextgen.network import read_network, write_network
from xroute.io.nextgen.writing import write_runoff

__all__ = ["read_lakes", "read_network", "read_runoff", "write_network", "write_runoff"]
