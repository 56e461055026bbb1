"""Readers and writers of the files that our users come from, one module a system.

`rapid` (Fortran RAPID), `nwm` (National Water Model RouteLink and CHRTOUT), `tables` (hydrographies as data frames)
and `cf` (discharge as CF netCDF, and any Dataset to and from Zarr or netCDF). Readers return plain xarray objects in
xroute's data model with ids kept exact; nothing here routes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xroute.io import nwm, rapid, tables
from xroute.io.files import open_dataset, write

if TYPE_CHECKING:
    from xroute.io import cf
    from xroute.io.cf import write_discharge

__all__ = ["cf", "nwm", "open_dataset", "rapid", "tables", "write", "write_discharge"]


def __getattr__(name: str) -> Any:
    """Import `cf` when it is asked for: it stands on labels and so on the network, which reads tables from here."""
    if name not in ("cf", "write_discharge"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module("xroute.io.cf")
    return module if name == "cf" else module.write_discharge
