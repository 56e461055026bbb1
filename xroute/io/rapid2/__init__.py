"""Read and write the files of RAPID2, the RAPID of Python: tables in Parquet, series and states in netCDF, a namelist in YAML.

Tables bear ids: ``con`` (riv, dwn; 0 at outlets), ``kpr`` (riv, kpr [s]), ``xpr`` (riv, xpr), ``bas`` (riv: what to route),
``crd`` (riv, lon, lat). ``Qext(time, rivid)`` is the mean inflow of a step [m3 s-1], stamped at its start and with bounds;
``Q00`` and ``Qfi`` hold ``Qout(time, rivid)`` of one instant. It routes as RAPID does: the namelist's IS_dtR is the routing
step, and the step of Qext is that of its bounds.
"""

from __future__ import annotations

from xroute.io.rapid2.folder import find_files, is_rapid2, read_namelist, resolve
from xroute.io.rapid2.network import read_network
from xroute.io.rapid2.series import read_discharge, read_runoff, read_state
from xroute.io.rapid2.writing import write_discharge, write_network, write_runoff, write_state

__all__ = [
    "find_files", "is_rapid2", "read_discharge", "read_namelist", "read_network", "read_runoff", "read_state", "resolve",
    "write_discharge", "write_network", "write_runoff", "write_state",
]  # fmt: skip
