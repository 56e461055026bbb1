"""Readers and writers of the files that our users come from, one module a system.

`rapid` (Fortran RAPID), `nwm` (National Water Model RouteLink and CHRTOUT), and `cf` (discharge as CF netCDF, and any
Dataset to and from Zarr or netCDF). Readers return plain xarray objects in xroute's data model with ids kept exact;
nothing here routes. Tables of the known hydrographies are read by `xroute.tables`.
"""

from __future__ import annotations

from xroute.io import cf, nwm, rapid
from xroute.io.cf import write_discharge
from xroute.io.files import open_dataset, write

__all__ = ["cf", "nwm", "open_dataset", "rapid", "write", "write_discharge"]
