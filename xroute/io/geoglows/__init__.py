"""Read and write the discharge of GEOGLOWS v2: the retrospective simulation, forecasts with members, and return periods.

Its stores are Zarr (format 2): ``Q(time, river_id)`` of the retrospective simulation, ``Qout(ensemble, time, rivid)`` of a
forecast, and levels on ``(return_period, river_id)``; all in m3 s-1. They are opened here, not read, with xroute's names and
exact ids, to be compared with discharge or with one another; what is written here is read by GEOGLOWS' own tools. Its rivers are
TDX-Hydro: `xroute.tables` reads the model table (LINKNO, DSLINKNO), and `xroute.io.rapid` the tables that its routing takes.
"""

from __future__ import annotations

from xroute.io.geoglows.reading import read_discharge, read_forecast, read_return_periods
from xroute.io.geoglows.writing import write_discharge, write_forecast

__all__ = ["read_discharge", "read_forecast", "read_return_periods", "write_discharge", "write_forecast"]
