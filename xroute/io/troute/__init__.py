"""t-route, the router of the National Water Model and of NextGen: its configuration, and its results, read and written.

Its networks, inflow and restarts are those of `xroute.io.nwm` (RouteLink) or of `xroute.io.nextgen` (hydrofabric). What it
computes is nonlinear (Muskingum-Cunge, lakes, observations put in): to compare with, and not what xroute gives.
"""

from __future__ import annotations

from xroute.io.troute.config import read_config
from xroute.io.troute.series import read_discharge
from xroute.io.troute.writing import write_discharge

__all__ = ["read_config", "read_discharge", "write_discharge"]
